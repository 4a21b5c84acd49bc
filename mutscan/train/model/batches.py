"""Training batches: groups of pairs that share chains, or independent pairs.

Encoding a chain costs thousands of times more than comparing two encoded
ones. A *connected* batch is therefore a set of chains drawn along the pair graph
(a hub and some of its partners, several times over), with all labelled pairs among
them: each encoded chain serves several pairs. The preprint uses batches of
independent pairs. Every batch depends only on the seed and its step, so that a run can
resume at any step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Required, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from mutscan.model.sequence_alignment import letter_places
from mutscan.model.vectors import PairRows
from mutscan.train.model.alignments import PairAlignments

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.train.chains.tables import Chains, Pairs


MUTANTS_OF_ONE: Final = 4
"""Mutants of one wild type in a batch."""


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Chains to encode and the labelled pairs among them.

    Parameters
    ----------
    chains : int array, shape (C,)
        Indices of the chains, ascending by length.
    lengths : int64 Tensor, shape (C,)
    first, second : int64 Tensor, shape (P,)
        Chain 1 and chain 2 of each pair, as places in `chains`.
    tm_score, weight : float32 Tensor, shape (P,)
        Label (normalised by chain 1) and weight in the loss.
    residue_1, residue_2 : int64 Tensor, shape (R,)
        Aligned residues of the pairs that carry lDDT labels, as rows of the residues of all chains
        of the batch, one chain after the other.
    pair_of : int64 Tensor, shape (R,)
        The pair each of these belongs to.
    lddt : float32 Tensor, shape (R,)
        Label; NaN where a residue has none.
    response : float32 Tensor, shape (R,)
        Drop of a fine lDDT at the residues of mutants (`response_labels`); NaN everywhere else.
    alignment : float32 Tensor, shape (P, 8)
        Distances of the two sequences by their alignment (`AlignmentScores.distances`).
    departures : float32 Tensor, shape (R, 3)
        `AlignmentPaths.departures` of the aligned residues.
    letters : int64 Tensor, shape (N,)
        Residues of all chains of the batch, as places in ``sequence_alignment.LETTERS``.
    """

    chains: NDArray[np.int64]
    lengths: Tensor
    first: Tensor
    second: Tensor
    tm_score: Tensor
    weight: Tensor
    residue_1: Tensor
    residue_2: Tensor
    pair_of: Tensor
    lddt: Tensor
    response: Tensor
    alignment: Tensor
    departures: Tensor
    letters: Tensor

    def rows(self, device: torch.device) -> PairRows:
        """Lay out the pairs for `SiameseNet.compare`."""
        return PairRows(
            first=self.first.to(device),
            second=self.second.to(device),
            alignment=self.alignment.to(device),
            row_1=self.residue_1.to(device),
            row_2=self.residue_2.to(device),
            pair_of=self.pair_of.to(device),
            departures=self.departures.to(device),
        )


@dataclass(frozen=True, eq=False)
class MemoryPairs:
    """Labelled pairs of an encoded chain and a chain whose global vector is kept from an earlier step.

    Parameters
    ----------
    place : int64 Tensor, shape (M,)
        The encoded chain, as place in the batch.
    partner : int64 Tensor, shape (M,)
        Index of the remembered chain.
    length_1, length_2 : int64 Tensor, shape (M,)
        Lengths of the pair's chain 1 and chain 2, whichever of them is encoded.
    tm_score, weight : float32 Tensor, shape (M,)
    """

    place: Tensor
    partner: Tensor
    length_1: Tensor
    length_2: Tensor
    tm_score: Tensor
    weight: Tensor


def pair_weights(
    chains: Chains,
    pairs: Pairs,
    *,
    balance_bands: bool,
    balance_clusters: bool,
    mutant: NDArray[np.bool_] | None = None,
    mutant_weight: float = 1.0,
) -> NDArray[np.float32]:
    """Weight of each pair in the loss; the mean of the natural pairs is 1.

    Parameters
    ----------
    chains, pairs : Chains, Pairs
    mutant : bool array, shape (n,), optional
        Pairs of a wild type and its mutant. They are not balanced.
    mutant_weight : float
        Weight of each of these pairs.
    balance_bands : bool
        Weight pairs by the inverse square root of the number of pairs in their tenth of the TM-score.
    balance_clusters : bool
        Weight pairs by the inverse square root of the number of pairs between the same two clusters.
    """
    if mutant is not None and mutant.any():
        all_weights = np.full(len(pairs), mutant_weight, dtype=np.float32)
        natural = np.flatnonzero(~mutant)
        if len(natural):
            all_weights[natural] = pair_weights(
                chains, pairs.take(natural), balance_bands=balance_bands, balance_clusters=balance_clusters
            )
        return all_weights
    weights = np.ones(len(pairs))
    if balance_bands:
        band = np.clip((pairs.tm_score * 10).astype(int), 0, 9)
        weights /= np.sqrt(np.bincount(band, minlength=10)[band])
    if balance_clusters and chains.clusters is not None:
        first, second = chains.clusters[pairs.chain_1], chains.clusters[pairs.chain_2]
        key = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
        _, place, counts = np.unique(key, axis=0, return_inverse=True, return_counts=True)
        weights /= np.sqrt(counts[place.reshape(-1)])
    scaled: NDArray[np.float32] = (weights / weights.mean()).astype(np.float32)
    return scaled


class GraphOptions(TypedDict, total=False):
    """Keywords of `PairGraph`."""

    lddt_from: Required[float]
    alignments: PairAlignments | None
    mutant: NDArray[np.bool_] | None
    response: NDArray[np.float32] | None


def few_of_each_family(chains: Chains, pairs: Pairs, most: int, *, seed: int) -> NDArray[np.int64]:
    """Draw at most `most` pairs between the same two clusters (0: all), in the order of the table."""
    if not most or chains.clusters is None:
        return np.arange(len(pairs))
    ends = np.sort(np.stack([chains.clusters[pairs.chain_1], chains.clusters[pairs.chain_2]], axis=1), axis=1)
    _, family, counts = np.unique(ends, axis=0, return_inverse=True, return_counts=True)
    family = family.reshape(-1)
    drawn = np.lexsort((np.random.default_rng([seed, 3]).random(len(pairs)), family))
    rank = np.empty(len(pairs), dtype=np.int64)
    rank[drawn] = np.arange(len(pairs)) - (np.cumsum(counts) - counts)[family[drawn]]
    return np.flatnonzero(rank < most)


def all_pairs(
    chains: Chains,
    pairs: Pairs,
    lddt: NDArray[np.float32],
    **graph: Unpack[GraphOptions],
) -> PairBatch:
    """Put every pair and all their chains into one batch, equally weighted; for validation."""
    weights = np.ones(len(pairs), dtype=np.float32)
    return PairGraph(chains, pairs, lddt, weights, **graph).of_pairs(np.arange(len(pairs)))


class PairGraph:
    """Labelled pairs as edges between chains, and batches out of any of them.

    Parameters
    ----------
    chains, pairs : Chains, Pairs
        The training pairs only.
    lddt : float32 array, shape (m,)
        lDDT label of each row of ``pairs.aligned``; NaN where there is none.
    weights : float32 array, shape (n,)
        From `pair_weights`.
    lddt_from : float
        Pairs with a TM-score from here on carry their lDDT labels.
    alignments : PairAlignments, optional
        Needed for a net with a pair head.
    mutant : bool array, shape (n,), optional
        Pairs of a wild type and its mutant.
    response : float32 array, shape (m,), optional
        From `response_labels`.
    """

    def __init__(
        self,
        chains: Chains,
        pairs: Pairs,
        lddt: NDArray[np.float32],
        weights: NDArray[np.float32],
        *,
        lddt_from: float,
        alignments: PairAlignments | None = None,
        mutant: NDArray[np.bool_] | None = None,
        response: NDArray[np.float32] | None = None,
    ) -> None:
        self.sequences = chains.sequences
        self.alignments = alignments if alignments is not None else PairAlignments.unknown(len(pairs))
        self.mutant = mutant if mutant is not None else np.zeros(len(pairs), dtype=np.bool_)
        self.response = response if response is not None else np.full(len(lddt), np.nan, dtype=np.float32)
        self.pairs = pairs
        self.lddt = lddt
        self.weights = weights
        self.lengths = chains.lengths
        self.lddt_from = lddt_from
        ends = np.concatenate([pairs.chain_1, pairs.chain_2])
        order = np.argsort(ends, kind="stable")
        self._edge = np.tile(np.arange(len(pairs)), 2)[order]  # pairs of chain c, both directions:
        self._partner = np.concatenate([pairs.chain_2, pairs.chain_1])[order]
        self._begin = np.concatenate(
            [[0], np.cumsum(np.bincount(ends, minlength=len(chains)))]
        )  # [begin[c], begin[c+1])

    def among(self, chosen: NDArray[np.int64]) -> PairBatch:
        """All pairs among the chains `chosen`."""
        inside = np.zeros(len(self.lengths), dtype=np.bool_)
        inside[chosen] = True
        slots = self._slots(chosen)
        return self._batch(chosen, np.unique(self._edge[slots[inside[self._partner[slots]]]]))

    def of_pairs(self, edges: NDArray[np.int64]) -> PairBatch:
        """Exactly the pairs `edges`, in that order."""
        return self._batch(
            np.unique(np.concatenate([self.pairs.chain_1[edges], self.pairs.chain_2[edges]])), edges
        )

    def _slots(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """Places of the chains' pairs in the edge list, chain by chain."""
        counts = self._begin[chosen + 1] - self._begin[chosen]
        skipped = self._begin[chosen] - (np.cumsum(counts) - counts)
        slots: NDArray[np.int64] = np.arange(int(counts.sum())) + np.repeat(skipped, counts)
        return slots

    def _batch(self, chosen: NDArray[np.int64], edges: NDArray[np.int64]) -> PairBatch:
        chosen = chosen[np.argsort(self.lengths[chosen], kind="stable")]
        place = np.full(len(self.lengths), -1)
        place[chosen] = np.arange(len(chosen))
        first, second = place[self.pairs.chain_1[edges]], place[self.pairs.chain_2[edges]]

        labelled = np.flatnonzero(self.pairs.tm_score[edges] >= self.lddt_from)
        rows = self.pairs.rows(edges[labelled])
        pair_of = np.repeat(labelled, self.pairs.n_aligned[edges[labelled]])
        lengths = self.lengths[chosen]
        offset = np.cumsum(lengths) - lengths
        residue_1, residue_2 = self.pairs.aligned[rows].T.astype(np.int64)
        departures = self.alignments.paths.take(edges).departures(
            (residue_1, residue_2), pair_of, (lengths[first[pair_of]], lengths[second[pair_of]])
        )
        return PairBatch(
            chains=chosen,
            lengths=torch.from_numpy(lengths),
            first=torch.from_numpy(first),
            second=torch.from_numpy(second),
            tm_score=torch.from_numpy(self.pairs.tm_score[edges]),
            weight=torch.from_numpy(self.weights[edges]),
            residue_1=torch.from_numpy(offset[first[pair_of]] + residue_1),
            residue_2=torch.from_numpy(offset[second[pair_of]] + residue_2),
            pair_of=torch.from_numpy(pair_of),
            lddt=torch.from_numpy(self.lddt[rows]),
            response=torch.from_numpy(self.response[rows]),
            alignment=torch.from_numpy(self.alignments.distances[edges]),
            departures=torch.from_numpy(departures),
            letters=torch.from_numpy(letter_places("".join(self.sequences[c] for c in chosen.tolist()))),
        )

    def with_memory(self, chosen: NDArray[np.int64], remembered: NDArray[np.bool_]) -> MemoryPairs:
        """All pairs of a chain of `chosen` with a remembered one outside (mask over all chains)."""
        outside = remembered.copy()
        outside[chosen] = False
        counts = self._begin[chosen + 1] - self._begin[chosen]
        slots = self._slots(chosen)
        place = np.repeat(np.arange(len(chosen)), counts)
        known = outside[self._partner[slots]]
        slots, place = slots[known], place[known]
        edges = self._edge[slots]
        return MemoryPairs(
            place=torch.from_numpy(place),
            partner=torch.from_numpy(self._partner[slots]),
            length_1=torch.from_numpy(self.lengths[self.pairs.chain_1[edges]]),
            length_2=torch.from_numpy(self.lengths[self.pairs.chain_2[edges]]),
            tm_score=torch.from_numpy(self.pairs.tm_score[edges]),
            weight=torch.from_numpy(self.weights[edges]),
        )


class ConnectedBatches(PairGraph):
    """Draws training batches along the pair graph.

    Parameters
    ----------
    *labelled, **graph
        Chains, pairs, labels, weights and the keywords of `PairGraph`.
    residues : int
        Approximate size of a batch: chains are added until it has so many residues.
    neighbours : int
        Partners drawn for each hub.
    mutants : int
        Mutants added to a batch, `MUTANTS_OF_ONE` of each wild type; this is the only way pairs of
        mutants are drawn.
    seed : int
    """

    def __init__(
        self,
        *labelled: *tuple[Chains, Pairs, NDArray[np.float32], NDArray[np.float32]],
        residues: int,
        neighbours: int,
        mutants: int = 0,
        seed: int,
        **graph: Unpack[GraphOptions],
    ) -> None:
        super().__init__(*labelled, **graph)
        chains, pairs, *_ = labelled
        self.mutants = mutants
        self.wild_types = np.unique(pairs.chain_1[self.mutant])
        self.residues = residues
        self.neighbours = neighbours
        self.seed = seed
        natural = ~self.mutant
        self._natural = natural[self._edge]
        self._hubs = np.unique(np.concatenate([pairs.chain_1[natural], pairs.chain_2[natural]]))
        if chains.clusters is None:
            share = np.ones(len(self._hubs))
        else:  # a large family is drawn more often than a small one, but not in proportion
            _, place, counts = np.unique(chains.clusters[self._hubs], return_inverse=True, return_counts=True)
            share = 1 / np.sqrt(counts[place])
        self._hub_share = np.cumsum(share) / share.sum()

    def __call__(self, step: int) -> PairBatch:
        """Batch number `step`."""
        rng = np.random.default_rng([self.seed, step])
        chosen: set[int] = set()
        total = 0
        while total < self.residues and len(self._hubs):
            hub = self._hubs[np.searchsorted(self._hub_share, rng.random(), side="right")]
            slots = slice(self._begin[hub], self._begin[hub + 1])
            partners = self._partner[slots][self._natural[slots]]
            drawn = rng.choice(partners, min(self.neighbours, len(partners)), replace=False)
            added = {int(hub), *drawn.tolist()} - chosen
            chosen |= added
            total += int(self.lengths[list(added)].sum()) if added else self.residues // 8
        for wild_type in self._some_wild_types(rng):
            slots = slice(self._begin[wild_type], self._begin[wild_type + 1])
            of_it = self._partner[slots][~self._natural[slots]]
            drawn = rng.choice(of_it, min(MUTANTS_OF_ONE, len(of_it)), replace=False)
            chosen |= {wild_type, *drawn.tolist()}
        return self.among(np.array(sorted(chosen), dtype=np.int64))

    def _some_wild_types(self, rng: np.random.Generator) -> list[int]:
        wanted = min(-(-self.mutants // MUTANTS_OF_ONE), len(self.wild_types))
        return rng.choice(self.wild_types, wanted, replace=False).tolist() if wanted else []


class PairBatches(PairGraph):
    """Draws batches of independent pairs: every pair once per epoch, in a new order each time.

    Parameters
    ----------
    *labelled, **graph
        Chains, pairs, labels, weights and the keywords of `PairGraph`.
    size : int
        Pairs of a batch; the last batch of an epoch is filled from the next epoch.
    seed : int
    """

    def __init__(
        self,
        *labelled: *tuple[Chains, Pairs, NDArray[np.float32], NDArray[np.float32]],
        size: int,
        seed: int,
        **graph: Unpack[GraphOptions],
    ) -> None:
        super().__init__(*labelled, **graph)
        self.size = size
        self.seed = seed
        self._orders: dict[int, NDArray[np.int64]] = {}

    def __call__(self, step: int) -> PairBatch:
        """Batch number `step`."""
        places = np.arange(step * self.size, (step + 1) * self.size)
        epochs, rows = np.divmod(places, len(self.pairs))
        return self.of_pairs(
            np.array([self._order(e)[r] for e, r in zip(epochs.tolist(), rows, strict=True)])
        )

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._orders:
            rng = np.random.default_rng([self.seed, epoch, 1])
            while len(self._orders) > 1:  # a batch needs two epochs at most
                del self._orders[min(self._orders)]
            self._orders[epoch] = rng.permutation(len(self.pairs))
        return self._orders[epoch]
