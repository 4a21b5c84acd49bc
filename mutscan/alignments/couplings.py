"""Couplings of pairs of sites in a deep alignment: how well a residue goes with the others of the protein.

Mean-field direct coupling analysis (Morcos et al., PNAS 108, E1293 (2011)). Its matrix over all sites and
residues is a constant block for each site plus one rank for each row, so a matrix over the rows is solved
instead (Woodbury); time and memory do not grow with the square of the length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_DEPTH: Final = 5.0
"""Effective sequences for each site, from which couplings say more than noise."""

PSEUDOCOUNT: Final = 0.5
"""Share of the uniform distribution in the frequencies of sites and pairs, as Morcos et al."""

_STATES: Final = len(STANDARD) + 1  # a gap and an unknown residue are one state
_BLOCK: Final = 4_000_000  # numbers of one-hot rows that are held at a time


def coupling_energies(rows: NDArray[np.uint8], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Energy that couplings to the rest of the wild type give each residue, less that of its own.

    Parameters
    ----------
    rows : uint8 array, shape (n, L)
        The wild type first, as `mutscan.alignments.profile`; a column that it lacks is no site.
    weights : float array, shape (n,)

    Returns
    -------
    float array, shape (L, 20)
        Higher is better; NaN where the wild type has none of the 20 residues.
    """
    n, length = rows.shape
    wild_type, known = rows[0], rows < len(STANDARD)
    sites = np.flatnonzero(known[0])
    stiff = _STATES / PSEUDOCOUNT
    # Covariances are D + U B (1 - v v') B U': D of what pseudocounts add at each site, with inverse
    # stiff (1 + ones), U of the rows one-hot and one more for the uniform distribution.
    root = np.sqrt(np.append((1.0 - PSEUDOCOUNT) * weights / weights.sum(), PSEUDOCOUNT / _STATES**2))
    mean = np.append(np.sqrt((1.0 - PSEUDOCOUNT) * weights / weights.sum()), np.sqrt(PSEUDOCOUNT))
    inner = np.empty((n + 1, n + 1))
    inner[:n, :n] = _shared(rows[:, sites]) + _both(known[:, sites])
    inner[:n, n] = inner[n, :n] = _STATES * known[:, sites].sum(axis=1)
    inner[n, n] = _STATES * len(STANDARD) * len(sites)
    inner *= stiff * np.outer(root, root)
    _project(inner, mean)
    _project(inner.T, mean)
    inner[np.diag_indices(n + 1)] += 1.0
    own = np.empty((n + 1, len(sites)))
    own[:n] = (rows[:, sites] == wild_type[sites]).astype(np.float64) + known[:, sites]
    own[n] = _STATES
    own *= stiff * root[:, None]
    _project(own, mean)
    solved = np.linalg.solve(inner, own)
    _project(solved, mean)
    # A site is coupled to all others, not to itself.
    pull = stiff * root[:n, None] * (solved.sum(axis=1, keepdims=True) - solved)[:n]
    energies = np.full((length, len(STANDARD)), np.nan)
    for column, site in enumerate(sites.tolist()):
        there = known[:, site]
        sums = np.bincount(rows[there, site], pull[there, column], len(STANDARD))
        energies[site] = sums - sums[wild_type[site]]
    return energies


def _shared(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Columns in which each two rows have the same residue, shape (n, n)."""
    shared = np.zeros((len(rows), len(rows)))
    step = max(1, _BLOCK // (len(rows) * len(STANDARD)))
    for first in range(0, rows.shape[1], step):
        some = rows[:, first : first + step, None] == np.arange(len(STANDARD), dtype=np.uint8)
        one_hot = some.reshape(len(rows), -1).astype(np.float32)
        shared += one_hot @ one_hot.T
    return shared


def _both(known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Columns in which each two rows have a residue, shape (n, n)."""
    there = known.astype(np.float32)
    return there @ there.T


def _project(columns: NDArray[np.float64], mean: NDArray[np.float64]) -> None:
    """Take the mean direction off each column, in place."""
    columns -= np.outer(mean, mean @ columns)
