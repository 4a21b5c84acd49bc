"""From aligned rows to the profile of a protein: which rows count, and what they say.

Rows are uint8 arrays of shape (n, L), a column for each residue of the protein: places in `STANDARD`,
`UNKNOWN_CODE` or `GAP`. Row 0 is the wild type, with gaps where the alignment does not reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.alignments.couplings import LEAST_DEPTH, coupling_energies
from mutscan.evidence import AlignedProfile
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN_CODE: Final = len(STANDARD)
"""A residue that is none of the 20."""

GAP: Final = UNKNOWN_CODE + 1
"""No residue."""

MOST_ROWS: Final = 3000
"""Relatives that are kept, the closest; more say nothing new."""

LEAST_COVER: Final = 0.5
"""Share of the wild type's residues in the alignment that a relative covers."""

LEAST_IDENTITY: Final = 0.3
"""Share of the aligned residues that a relative has in common with the wild type."""

SAME_SEQUENCE: Final = 0.8
"""Identity from which rows count as one sequence together (Hopf et al., Nat. Biotechnol. 35, 128 (2017))."""

_CLOSEST: Final = 10
_TOGETHER: Final = (16, 4096)  # rows compared at a time; the buffers fit into a processor's cache


def identity_and_cover(
    rows: NDArray[np.uint8], wild_type: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compare rows with the wild type.

    Parameters
    ----------
    rows : uint8 array, shape (n, L)
    wild_type : uint8 array, shape (L,)

    Returns
    -------
    identity : float32 array, shape (n,)
        Share of equal residues among those that are known in both; 0 without any.
    cover : float32 array, shape (n,)
        Share of the wild type's residues that the row covers.
    """
    reached, known = wild_type < GAP, wild_type < UNKNOWN_CODE
    compared = ((rows < UNKNOWN_CODE) & known).sum(axis=1, dtype=np.float32)
    equal = ((rows == wild_type) & known).sum(axis=1, dtype=np.float32)
    covered = ((rows < GAP) & reached).sum(axis=1, dtype=np.float32)
    return equal / np.maximum(compared, 1), covered / max(int(reached.sum()), 1)


def select_rows(rows: NDArray[np.uint8], *, most: int = MOST_ROWS) -> NDArray[np.int64]:
    """Choose the rows that a profile is made of.

    Relatives cover at least half of the wild type's residues in the alignment with at least 30 % identity;
    of equal rows the first counts.

    Parameters
    ----------
    rows : uint8 array, shape (n, L)
        The wild type first.
    most : int
        Relatives kept.

    Returns
    -------
    int array
        The wild type, then relatives from the closest on; of equally close ones the first come first.
    """
    identity, cover = identity_and_cover(rows, rows[0])
    good = (identity >= LEAST_IDENTITY) & (cover >= LEAST_COVER)
    good[0] = True
    there = np.flatnonzero(good)
    whole = np.ascontiguousarray(rows[there]).view(np.dtype((np.void, rows.shape[1])))[:, 0]
    there = np.sort(there[np.unique(whole, return_index=True)[1]])
    order = np.argsort(-identity[there[1:]], kind="stable")[:most]
    return np.concatenate([there[:1], there[1:][order]])


def sequence_weights(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Weight of each row: 1 / rows, itself among them, that share at least 80 % of its residues.

    A fragment counts little beside a longer row that contains it, but not the other way round.

    Parameters
    ----------
    rows : uint8 array, shape (n, L)

    Returns
    -------
    float array, shape (n,)
    """
    n, length = rows.shape
    needed = SAME_SEQUENCE * (rows < UNKNOWN_CODE).sum(axis=1)
    # Five bits tell 20 residues apart: 64 columns are compared in five steps. What is no residue differs
    # between the two sides, and so equals nothing.
    left, right = (_bit_planes(np.where(rows < UNKNOWN_CODE, rows, other)) for other in (30, 31))
    neighbours = np.zeros(n)
    height, width = _TOGETHER
    for start in range(0, n, height):
        own = slice(start, min(start + height, n))
        for first in range(start, n, width):
            other = slice(first, min(first + width, n))
            shared = length - _differences(left[..., own, None], right[..., None, other])
            neighbours[own] += (shared >= needed[own, None]).sum(axis=1)
            # Rows of the block itself have met each other from both sides.
            late = slice(max(first, own.stop), other.stop)
            if late.start < late.stop:
                close = shared[:, late.start - first :] >= needed[late]
                neighbours[late] += close.sum(axis=0)
    return 1.0 / neighbours


def _bit_planes(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Bits of all codes, shape (words, 5, n): each word holds one bit of 64 columns."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 64)))
    planes = [np.packbits((padded >> bit) & 1, axis=1).view(np.uint64) for bit in range(5)]
    return np.ascontiguousarray(np.stack(planes).transpose(2, 0, 1))


def _differences(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Count columns that differ between all rows of two blocks."""
    found = np.zeros(np.broadcast_shapes(left.shape[2:], right.shape[2:]), dtype=np.int32)
    differs, bit = np.empty(found.shape, np.uint64), np.empty(found.shape, np.uint64)
    for one, other in zip(left, right, strict=True):
        np.bitwise_xor(one[0], other[0], out=differs)
        for place in range(1, 5):
            differs |= np.bitwise_xor(one[place], other[place], out=bit)
        found += np.bitwise_count(differs)
    return found


def profile_of(rows: NDArray[np.uint8]) -> AlignedProfile:
    """Sum up aligned rows, all of them; `select_rows` chooses. Deep ones get couplings.

    Parameters
    ----------
    rows : uint8 array, shape (n, L)
        The wild type first.
    """
    rows = np.where(rows[0] < GAP, rows, np.uint8(GAP))
    n, length = rows.shape
    covered = rows < GAP
    weights = sequence_weights(rows)
    site = np.arange(length) * (GAP + 1)
    each = np.repeat(weights, length)
    tally = np.bincount((rows + site).ravel(), each, length * (GAP + 1)).reshape(length, GAP + 1)
    identity = identity_and_cover(rows, rows[0])[0][1:]
    order = np.argsort(identity, kind="stable") + 1
    nearest = np.zeros((length, GAP + 1), dtype=np.float32)
    # Of several relatives with a residue the last to be written stays: the closest.
    nearest[np.arange(length), rows[order]] = identity[order - 1, None]
    back = order[::-1]
    counted = covered[back] & (np.cumsum(covered[back], axis=0) <= _CLOSEST)
    number = counted.sum(axis=0)
    closest = np.full(length, np.nan)
    np.divide(identity[back - 1] @ counted, number, out=closest, where=number > 0)
    sequences = covered.sum(axis=0).astype(np.float64)
    reached = sequences > 0
    deep = weights.sum() >= LEAST_DEPTH * reached.sum()
    return AlignedProfile(
        counts=tally[:, :UNKNOWN_CODE].astype(np.float64),
        sequences=sequences,
        effective=weights @ covered,
        gaps=np.where(reached, n - sequences, 0.0) / max(n - 1, 1),
        nearest=nearest[:, :UNKNOWN_CODE].astype(np.float64),
        closest=closest,
        n_rows=n,
        n_effective=float(weights.sum()),
        couplings=coupling_energies(rows, weights) if deep else None,
    )
