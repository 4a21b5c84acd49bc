"""Chains end to end in one matrix, for CPUs: no work on padding, and few large products.

A GPU takes a padded batch of chains at once. A CPU gains nothing from that: its products over
rows are fastest in one piece, and attention is fastest one chain at a time, while its matrix is
in the cache. Some rows stay empty behind each chain, so that no window reaches into the next
one and sizes repeat (for each new one the CPU's bf16 library makes new machine code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP: Final = 4
"""Empty rows behind each chain, at least: what a window of the net reaches."""

_SLOT = 16  # a chain's rows, with its gap, come in multiples of this
_TOTAL = 256  # all rows do in multiples of this


@dataclass(frozen=True, eq=False)
class Packing:
    """Where each chain is, C of them with N residues in all.

    Parameters
    ----------
    slots : list of int
        Rows of each chain with what is empty behind it; a last one for the rest, where there is one.
    n_chains : int
    n_rows : int
        All rows, T.
    rows : int64 Tensor, shape (N,)
        Of each residue.
    chain_of : int64 Tensor, shape (N,)
    mask : bool Tensor, shape (T,)
        True = residue.
    """

    slots: list[int]
    n_chains: int
    n_rows: int
    rows: Tensor
    chain_of: Tensor
    mask: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Packing:
        """Lay out chains of these lengths."""
        slots = [-(-(length + GAP) // _SLOT) * _SLOT for length in lengths]
        filled = sum(slots)
        n_rows = -(-filled // _TOTAL) * _TOTAL
        sizes = torch.tensor(lengths)
        chain_of = torch.repeat_interleave(sizes)
        # A residue's row: its place among all residues, and all that is empty before its chain.
        empty = torch.tensor(slots) - sizes
        rows = torch.arange(len(chain_of)) + (empty.cumsum(0) - empty)[chain_of]
        mask = torch.zeros(n_rows, dtype=torch.bool)
        mask[rows] = True
        return cls(
            slots + [n_rows - filled] * (n_rows > filled),
            len(lengths),
            n_rows,
            rows.to(device),
            chain_of.to(device),
            mask.to(device),
        )

    def attend(self, query_key_value: Tensor, n_heads: int, dropout: float) -> Tensor:
        """Let the residues of each chain attend to each other: (T, 3 d) -> (T, d)."""
        n_rows, width = query_key_value.shape
        d = width // (3 * n_heads)
        parts = (
            query_key_value.view(n_rows, 3 * n_heads, d).transpose(0, 1).contiguous().chunk(3)
        )  # (H, T, d)
        bias = torch.zeros(n_rows, dtype=query_key_value.dtype, device=query_key_value.device)
        hidden = bias.masked_fill_(~self.mask, -torch.inf).split_with_sizes(self.slots)
        mixed = []
        for chain, (query, key, value) in enumerate(
            zip(*(p.split_with_sizes(self.slots, 1) for p in parts), strict=True)
        ):
            if chain == self.n_chains:  # the rest, without a residue
                mixed.append(torch.zeros_like(value))
                continue
            unseen = hidden[chain].expand(n_heads, query.shape[1], -1)
            weights = torch.baddbmm(unseen, query, key.transpose(1, 2), alpha=d**-0.5).softmax(-1)
            mixed.append(torch.bmm(functional.dropout(weights, dropout) if dropout else weights, value))
        return torch.cat(mixed, dim=1).transpose(0, 1).reshape(n_rows, n_heads * d)

    def pool(self, energy: Tensor, residues: Tensor) -> Tensor:
        """Mean of each chain's residues, weighed by a softmax: (N,), (N, d) -> (C, d)."""
        highest = energy.new_full((self.n_chains,), -torch.inf)
        highest = highest.scatter_reduce(0, self.chain_of, energy.detach(), "amax")
        weights = torch.exp(energy - highest[self.chain_of])
        sums = torch.zeros_like(highest).index_add(0, self.chain_of, weights)
        weights = weights / sums.index_select(0, self.chain_of)
        pooled = residues.new_zeros(self.n_chains, residues.shape[1])
        return pooled.index_add(0, self.chain_of, residues * weights[:, None])
