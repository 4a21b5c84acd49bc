"""How residues pack and move together, read from C-alpha atoms: side-chain directions, Gaussian network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.linalg import inv
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

CONTACT: Final = 10.0
"""Å; C-alpha atoms at most this far apart are linked in the Gaussian network."""

SIDE_CHAIN: Final = 2.4
"""Å from C-alpha to the middle of a side chain."""

LONGEST_NETWORK: Final = 1500
"""Residues up to which the Gaussian network's matrix is inverted; its cost grows with the cube."""


def side_chain_direction(ca: NDArray[np.float64], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """Point away from the mean of both neighbours (Hamelryck 2005), unit vectors (m, 3); NaN at breaks.

    Parameters
    ----------
    ca : float array, shape (m, 3), Å
        Of the resolved residues.
    place : int array, shape (m,)
        Their places in the sequence.
    """
    direction = np.full(ca.shape, np.nan)
    joined = np.diff(place) == 1
    middle = np.flatnonzero(joined[:-1] & joined[1:]) + 1
    bent = 2 * ca[middle] - ca[middle - 1] - ca[middle + 1]
    direction[middle] = bent / np.maximum(np.linalg.norm(bent, axis=1), 1e-6)[:, None]
    return direction


def network_parts(near: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Covariances of a Gaussian network (Bahar 1997): pseudo-inverse of the contact Laplacian.

    Parts without contact move against each other in ways no number is defined for: each is a network by
    itself. Parts of at most 3 or more than `LONGEST_NETWORK` residues are left out.

    Parameters
    ----------
    near : bool array, shape (m, m)
        Residues in contact, not with themselves.

    Returns
    -------
    list of (int array, shape (k,); float array, shape (k, k))
        Rows of a part, and their covariances.
    """
    _, part = connected_components(sparse.csr_matrix(near.astype(np.int8)), directed=False)
    found = []
    for one in range(int(part.max()) + 1):
        rows = np.flatnonzero(part == one)
        m = len(rows)
        if not 3 < m <= LONGEST_NETWORK:
            continue
        laplacian = -near[np.ix_(rows, rows)].astype(np.float64)
        laplacian[np.diag_indices(m)] = -laplacian.sum(axis=1)
        found.append((rows, inv(laplacian + 1.0 / m, check_finite=False) - 1.0 / m))
    return found


def flexibility(
    parts: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]], m: int
) -> NDArray[np.float64]:
    """Natural logarithm of each residue's mean square fluctuation, 0 = median, shape (m,); NaN outside."""
    moved = np.full(m, np.nan)
    for rows, covariance in parts:
        moved[rows] = np.diag(covariance)
    known = moved[np.isfinite(moved)]
    return np.log(moved / np.median(known)) if known.size else moved
