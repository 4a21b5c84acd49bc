"""Helices and strands from the hydrogen bonds of the backbone, as DSSP defines them [1]_.

References
----------
.. [1] Kabsch and Sander, Biopolymers 22, 2577 (1983).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOND: Final = -0.5
"""kcal/mol; a hydrogen bond is at least as strong."""

COUPLING: Final = 0.42 * 0.20 * 332.0
"""Å kcal/mol; product of the partial charges of C=O and N-H."""

REACH: Final = 9.0
"""Å; residues whose C-alpha atoms are further apart have no hydrogen bond."""

PEPTIDE: Final = 2.5
"""Å; a longer C-N distance is a break of the chain."""

BULGE: Final = (2, 5)
"""Steps on one strand and on the other from bridge to bridge of one ladder: one extra residue, and four."""


def helices_and_strands(backbone: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Residues of alpha helices (H) and of extended strands (E).

    3-10 and pi helices and bridges of two residues alone are neither.

    Parameters
    ----------
    backbone : float array, shape (L, 4, 3), Å
        N, CA, C and O; NaN where there is none.

    Returns
    -------
    helix, strand : bool array, shape (L,)
    """
    length = len(backbone)
    step = np.linalg.norm(backbone[1:, 0] - backbone[:-1, 2], axis=1)
    linked = np.nan_to_num(step, nan=np.inf) < PEPTIDE  # i to i + 1
    piece = np.concatenate([[0], np.cumsum(~linked)])[:length]
    bonds = _hydrogen_bonds(backbone, linked)
    helix, strand = np.zeros(length, dtype=bool), np.zeros(length, dtype=bool)
    for acceptor, donor in bonds:
        # Two turns in a row make a helix of the residues between.
        if (
            donor - acceptor == 4
            and piece[acceptor - 1] == piece[donor]
            and (acceptor - 1, donor - 1) in bonds
        ):
            helix[acceptor:donor] = True
    parallel, antiparallel = _bridges(bonds, piece)
    for bridges, way in ((parallel, 1), (antiparallel, -1)):
        for i, j in bridges:
            for next_i, next_j in _next_bridges(bridges, i, j, way):
                if piece[i] == piece[next_i] and piece[j] == piece[next_j]:
                    strand[i : next_i + 1] = True
                    strand[min(j, next_j) : max(j, next_j) + 1] = True
    return helix, strand & ~helix


def _hydrogen_bonds(backbone: NDArray[np.float64], linked: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Residues whose C=O and whose N-H are bonded."""
    n, ca, c, o = (backbone[:, place] for place in range(4))
    known = np.flatnonzero(np.isfinite(backbone).all(axis=(1, 2)))
    if len(known) < 2:
        return set()
    hydrogen = np.full_like(n, np.nan)  # 1 Å from N, against the C=O before it
    towards = c[:-1] - o[:-1]
    towards = towards / np.linalg.norm(towards, axis=1)[:, None]
    hydrogen[1:] = np.where(linked[:, None], n[1:] + towards, np.nan)
    pairs = known[cKDTree(ca[known]).query_pairs(REACH, output_type="ndarray")]
    acceptor, donor = np.concatenate([pairs, pairs[:, ::-1]]).T
    able = (donor - acceptor != 1) & np.isfinite(hydrogen[donor]).all(axis=1)
    acceptor, donor = acceptor[able], donor[able]

    def inverse(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = 1.0 / np.maximum(np.linalg.norm(one - other, axis=1), 0.5)
        return found

    energy = COUPLING * (
        inverse(o[acceptor], n[donor])
        + inverse(c[acceptor], hydrogen[donor])
        - inverse(o[acceptor], hydrogen[donor])
        - inverse(c[acceptor], n[donor])
    )
    strong = energy < BOND
    return set(zip(acceptor[strong].tolist(), donor[strong].tolist(), strict=True))


def _bridges(
    bonds: set[tuple[int, int]], piece: NDArray[np.int64]
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Parallel and antiparallel bridges (i, j), i < j."""

    def inner(i: int) -> bool:
        return 0 < i < len(piece) - 1 and piece[i - 1] == piece[i + 1]

    parallel, antiparallel = set(), set()
    near = {(min(i, j), max(i, j)) for a, b in bonds for i in (a - 1, a, a + 1) for j in (b - 1, b, b + 1)}
    for i, j in near:
        if j - i < 3 or not (inner(i) and inner(j)):
            continue
        if {(i - 1, j), (j, i + 1)} <= bonds or {(j - 1, i), (i, j + 1)} <= bonds:
            parallel.add((i, j))
        if {(i, j), (j, i)} <= bonds or {(i - 1, j + 1), (j - 1, i + 1)} <= bonds:
            antiparallel.add((i, j))
    return parallel, antiparallel


def _next_bridges(bridges: set[tuple[int, int]], i: int, j: int, way: int) -> list[tuple[int, int]]:
    """Bridges that continue the ladder of (i, j), at most a bulge away."""
    few, many = BULGE
    steps = [(a, b) for a in range(1, many + 1) for b in range(1, many + 1) if min(a, b) <= few]
    return [(i + a, j + way * b) for a, b in steps if (i + a, j + way * b) in bridges]
