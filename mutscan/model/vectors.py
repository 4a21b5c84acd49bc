"""Encoded chains, and the pairs of them to compare."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ChainVectors:
    """Encoded chains, C of them with N residues in all.

    Parameters
    ----------
    residues : Tensor, shape (N, d)
        Residue vectors of all chains, end to end.
    pooled : Tensor, shape (C, d)
        Global vectors.
    matching : Tensor, shape (N, 2, d_match), optional
        Vectors for best matches; for a net with a pair head only.
    letters : int64 Tensor, shape (N,)
        Places of the residues in ``sequence_alignment.LETTERS``.
    lengths : int64 Tensor, shape (C,)
    """

    residues: Tensor
    pooled: Tensor
    matching: Tensor | None
    letters: Tensor
    lengths: Tensor

    @property
    def starts(self) -> Tensor:
        """Row of each chain's first residue, shape (C,)."""
        return self.lengths.cumsum(0) - self.lengths


@dataclass(frozen=True, eq=False)
class PairRows:
    """Pairs of encoded chains, P of them, and R residue pairs whose lDDT is wanted.

    Parameters
    ----------
    first, second : int64 Tensor, shape (P,)
        Chain 1 and chain 2, as places among the chains.
    alignment : Tensor, shape (P, 8)
        `AlignmentScores.distances` of the two sequences; used by a pair head only.
    row_1, row_2 : int64 Tensor, shape (R,)
        Aligned residues, as rows of all residues.
    pair_of : int64 Tensor, shape (R,)
        The pair each of these belongs to.
    departures : Tensor, shape (R, 3)
        `AlignmentPaths.departures` of these residues; used by a pair head only.
    """

    first: Tensor
    second: Tensor
    alignment: Tensor
    row_1: Tensor
    row_2: Tensor
    pair_of: Tensor
    departures: Tensor


def groups_of_like_size(sizes: Tensor, elements: int) -> list[Tensor]:
    """Cut pairs into groups that are padded together: n pairs of size s count n * s * s elements.

    Returns
    -------
    list of int64 Tensors
        Places in `sizes`, all of them, ascending in size; a group holds at most `elements`, or one pair.
    """
    order = torch.argsort(sizes, stable=True)
    ascending = sizes[order].tolist()
    groups, start = [], 0
    while start < len(ascending):
        end = start + 1
        while end < len(ascending) and (end + 1 - start) * ascending[end] ** 2 <= elements:
            end += 1
        groups.append(order[start:end])
        start = end
    return groups
