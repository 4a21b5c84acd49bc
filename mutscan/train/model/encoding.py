"""Encode the chains of a batch, in chunks of chains of similar length to limit padding."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mutscan.embed.device import even_width
from mutscan.model.packing import Packing
from mutscan.model.vectors import ChainVectors
from mutscan.train.loop.processes import gather_pieces, shares
from mutscan.train.loop.steps import autocast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutscan.model.siamese import SiameseNet
    from mutscan.train.loop.processes import Ranks
    from mutscan.train.model.batches import PairBatch
    from mutscan.train.model.config import TrainConfig
    from mutscan.train.model.inputs import ChainInputs

# Fixed cost of a chunk, in residues: the overhead of many small operations.
_CHUNK_COST: Final = {"cpu": 200, "mps": 2000, "cuda": 4000}


def chunks(lengths: Sequence[int], limit: int, cost: int) -> list[tuple[int, int]]:
    """Cut chains, ascending in length, into runs that are padded together, at the least cost.

    Parameters
    ----------
    lengths : sequence of int
        Ascending.
    limit : int
        Residues of a chunk padded to its longest chain, at most (one chain alone may be longer).
    cost : int
        Fixed cost of a chunk, in padded residues.

    Returns
    -------
    list of (start, end)
        Half-open.

    Examples
    --------
    >>> chunks([50, 50, 300, 310], limit=4000, cost=100)
    [(0, 2), (2, 4)]
    """
    n = len(lengths)
    least = np.zeros(n + 1)  # cost of the first k chains
    begin = np.zeros(n + 1, dtype=np.int64)  # of their last chunk
    for end in range(1, n + 1):
        longest = lengths[end - 1]
        first = max(0, end - max(1, limit // longest))
        sizes = range(end - first, 0, -1)
        costs = least[first:end] + cost + np.array([size * even_width(size, longest) for size in sizes])
        best = int(np.argmin(costs))
        least[end], begin[end] = costs[best], first + best
    cuts = []
    end = n
    while end:
        cuts.append((int(begin[end]), end))
        end = int(begin[end])
    return cuts[::-1]


def even_cuts(lengths: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Cut chains into runs of about equal size, of `limit` residues at most but for one long chain.

    Examples
    --------
    >>> even_cuts([50, 50, 300, 310], limit=400)
    [(0, 3), (3, 4)]
    """
    ends = np.cumsum(lengths)
    wanted = ends[-1] / -(-ends[-1] // limit)
    cuts = [0]
    for end in range(1, len(lengths) + 1):
        before = ends[cuts[-1] - 1] if cuts[-1] else 0
        full = end < len(lengths) and ends[end] - before > limit
        if end == len(lengths) or full or ends[end - 1] - before >= wanted:
            cuts.append(end)
    return list(itertools.pairwise(cuts))


class ChainEncoder:
    """Residue vectors and global vectors of a batch's chains.

    Parameters
    ----------
    net : SiameseNet
    inputs : ChainInputs
    config : TrainConfig
    device : torch.device
    ranks : Ranks
        Processes that share the chunks.
    """

    def __init__(
        self, net: SiameseNet, inputs: ChainInputs, config: TrainConfig, device: torch.device, ranks: Ranks
    ) -> None:
        self.net = net
        self.inputs = inputs
        self.config = config
        self.device = device
        self.ranks = ranks

    def __call__(self, batch: PairBatch, *, seed: int | None = None) -> ChainVectors:
        """Encode all chains of a batch.

        Parameters
        ----------
        batch : PairBatch
        seed : int, optional
            Of dropout, in training; without a seed nothing is dropped.

        Returns
        -------
        ChainVectors
            On the device.
        """
        keep: Tensor | None = None
        if seed is not None and self.config.channel_dropout:
            # One mask for the whole batch: with two, equal residues of the two chains would differ.
            torch.manual_seed(seed)
            p = self.config.channel_dropout
            keep = ((torch.rand(self.inputs.dim) >= p) / (1 - p)).to(self.device)
        lengths = batch.lengths.tolist()
        cost = _CHUNK_COST[self.device.type]
        if self.device.type == "cpu":
            cuts = even_cuts(lengths, self.config.chunk_residues)
        else:
            cuts = chunks(lengths, self.config.chunk_residues, cost)
        widths = [even_width(end - start, lengths[end - 1]) for start, end in cuts]
        costs = [cost + (end - start) * width for (start, end), width in zip(cuts, widths, strict=True)]
        divided = shares(self.ranks, costs)
        found: list[tuple[Tensor, Tensor, Tensor | None]] = []
        for number in divided[self.ranks.rank]:
            start, end = cuts[number]
            if seed is not None:  # the dropout of a chunk does not depend on the process
                torch.manual_seed(1_000 * (seed + 1) + number)
            chunk = batch.chains[start:end].tolist(), batch.lengths[start:end], widths[number], keep
            if seed is not None and self.config.recompute:
                found.append(checkpoint(self._chunk, *chunk, use_reentrant=False))
            else:
                found.append(self._chunk(*chunk))
        if not found:  # no chunk for this process: empty rows, which still take part in the gathering
            found.append(self._nothing(learning=seed is not None))
        rows = [sum(lengths[start:end]) for start, end in cuts]
        residues, pooled, matching = zip(*found, strict=True)
        return ChainVectors(
            residues=gather_pieces(self.ranks, residues, divided, rows),
            pooled=gather_pieces(self.ranks, pooled, divided, [end - start for start, end in cuts]),
            matching=(
                gather_pieces(self.ranks, matching, divided, rows) if self.net.pair_head is not None else None
            ),
            letters=batch.letters.to(self.device),
            lengths=batch.lengths.to(self.device),
        )

    def _nothing(self, *, learning: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        config = self.net.config
        none = torch.zeros(0, config.d_model, device=self.device, requires_grad=learning)
        matching = torch.zeros(0, 2, config.d_match, device=self.device, requires_grad=learning)
        return none, none, matching if self.net.pair_head is not None else None

    def flops(self, batch: PairBatch) -> float:
        """Floating-point operations of a training step, without comparing pairs and without padding."""
        lengths = batch.lengths.tolist()
        weights = sum(p.numel() for p in self.net.parameters() if p.dim() == 2)
        squares = float(sum(n * n for n in lengths))
        total: float = (
            6.0 * weights * sum(lengths) + 12.0 * self.net.config.d_model * len(self.net.layers) * squares
        )
        if self.inputs.encoder is not None:
            total += self.inputs.encoder.flops(lengths)
        return total

    def _chunk(
        self, chains: list[int], lengths: Tensor, width: int, keep: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        with autocast(self.device, self.config.precision):
            if self.device.type == "cpu":
                packing = Packing.of(lengths.tolist(), self.device)
                x = self.inputs.packed(chains, packing)
                return self.net.encode_packed(x if keep is None else x * keep, packing)
            mask = (torch.arange(width) < lengths[:, None]).to(self.device)
            x = self.inputs.padded(chains, width, self.device)
            if keep is not None:
                x = x * keep
            y, z = self.net(x, mask)
            matching = self.net.matching(y, mask)
        return y.float()[mask], z.float(), None if matching is None else matching[mask]
