"""Predictions for pairs: each chain passes encoder and net once, then pairs are compared in blocks.

Encoding takes thousands of times longer than comparing, and a chain is in many
pairs. So chains are encoded first, each alone and in full as in `mutscan score`,
and pairs are compared by rows of the resulting vectors. Residue vectors are kept
only for chains with labelled residues, on disk where there are many.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn import functional

from mutscan.model.sequence_alignment import (
    N_ALIGNMENT,
    REACHES,
    AlignmentPaths,
    align_scores,
    letter_places,
    ragged_rows,
)
from mutscan.model.vectors import ChainVectors, PairRows
from mutscan.train.chains.labels import lddt_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mutscan.model.sequence_alignment import AlignmentScores
    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.chains.tables import Chains, Pairs

_IN_MEMORY: Final = 2_000_000_000  # bytes of one table of residue vectors; larger ones are files
_BLOCK: Final = 1 << 14  # vectors compared at a time by their cosine
_BLOCK_RESIDUES: Final = 1 << 16  # residues of the pairs a net compares at a time


@dataclass(frozen=True, eq=False)
class LabelledResidues:
    """Residues of the pairs that carry an lDDT label, m in all, pair after pair.

    Parameters
    ----------
    starts : int array, shape (n + 1,)
        Pair k owns ``starts[k]:starts[k + 1]``.
    aligned : int array, shape (m, 2)
        Residue of chain 1 and of chain 2, 0-based.
    lddt : float64 array, shape (m,)
    """

    starts: NDArray[np.int64]
    aligned: NDArray[np.int64]
    lddt: NDArray[np.float64]

    @property
    def pair_of(self) -> NDArray[np.int64]:
        """The pair each residue belongs to, shape (m,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def label_residues(
    chains: Chains, pairs: Pairs, wanted: NDArray[np.bool_], *, exponent: float, radius: float
) -> LabelledResidues:
    """Labels of the pairs in the mask `wanted`: those stored in the table, otherwise computed.

    Residues without neighbours have no label and are left out.

    Raises
    ------
    UsageError
        The stored labels have another exponent or radius.
    """
    labels = pairs.stored_labels(exponent, radius)
    chosen = np.flatnonzero(wanted)
    values = np.full(len(pairs.aligned), np.nan, dtype=np.float32)
    rows = pairs.rows(chosen)
    if labels is not None:
        values[rows] = labels[rows]
    else:
        values[rows] = lddt_labels(chains, pairs.take(chosen), exponent=exponent, radius=radius)
    known = np.flatnonzero(~np.isnan(values))
    counts = np.bincount(np.repeat(np.arange(len(pairs)), pairs.n_aligned)[known], minlength=len(pairs))
    return LabelledResidues(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pairs.aligned[known].astype(np.int64),
        values[known].astype(np.float64),
    )


def identical_residues(chains: Chains, pairs: Pairs) -> NDArray[np.int64]:
    """Mark the aligned residues that are identical, shape (m,) for the m rows of ``pairs.aligned``."""
    letters = np.frombuffer("".join(chains.sequences).encode(), np.uint8)
    starts = np.cumsum(chains.lengths) - chains.lengths
    first = letters[np.repeat(starts[pairs.chain_1], pairs.n_aligned) + pairs.aligned[:, 0]]
    second = letters[np.repeat(starts[pairs.chain_2], pairs.n_aligned) + pairs.aligned[:, 1]]
    marks: NDArray[np.int64] = (first == second).astype(np.int64)
    return marks


class VectorTable:
    """One vector for each chain, and for some chains one for each residue.

    Parameters
    ----------
    lengths : int array, shape (c,)
        Lengths of all chains of the table.
    with_residues : int array
        Chains whose residue vectors are kept.
    """

    def __init__(self, lengths: NDArray[np.int64], with_residues: NDArray[np.int64]) -> None:
        self._lengths = lengths
        counts = np.zeros(len(lengths), dtype=np.int64)
        counts[with_residues] = lengths[with_residues]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._kept = counts > 0
        self._residues: NDArray[np.float32] | None = None
        self.pooled: NDArray[np.float32] | None = None

    def put(self, chain: int, pooled: NDArray[np.float32], residues: NDArray[np.float32]) -> None:
        """Keep the vectors of a chain: shapes (d,) and (L, d)."""
        if self.pooled is None or self._residues is None:
            self.pooled = np.zeros((len(self._lengths), len(pooled)), dtype=np.float32)
            self._residues = _table(int(self._starts[-1]), residues.shape[1])
        self.pooled[chain] = pooled
        if self._kept[chain]:
            self._residues[self._starts[chain] : self._starts[chain + 1]] = residues

    def chain_vectors(self, chains: NDArray[np.int64]) -> torch.Tensor:
        """Global vectors, shape (n, d)."""
        assert self.pooled is not None, "a table is filled before it is read"
        return torch.from_numpy(self.pooled[chains])

    def of_chains(self, chains: NDArray[np.int64]) -> torch.Tensor:
        """Vectors of all residues of the chains, end to end, shape (N, d)."""
        assert self._residues is not None, "a table is filled before it is read"
        return torch.from_numpy(self._residues[ragged_rows(self._starts, chains)])

    def residue_vectors(self, chains: NDArray[np.int64], residues: NDArray[np.int64]) -> torch.Tensor:
        """Vectors of one residue of each of `chains`, shape (m, d)."""
        assert self._residues is not None, "a table is filled before it is read"
        return torch.from_numpy(self._residues[self._starts[chains] + residues])


def _table(rows: int, width: int) -> NDArray[np.float32]:
    if 4 * rows * width <= _IN_MEMORY:
        return np.empty((rows, width), dtype=np.float32)
    with tempfile.TemporaryFile() as file:  # the mapping outlives the file's name and handle
        return np.memmap(file, np.float32, "w+", shape=(rows, width))


@dataclass(frozen=True, eq=False)
class EncodedChains:
    """Vectors of the chains, from the net and from the encoder.

    Parameters
    ----------
    net : VectorTable
        Residue and global vectors of the Siamese net, of all chains.
    matching : VectorTable
        Residue vectors a pair head matches, flattened; empty for a net without one.
    raw : VectorTable
        The encoder's embeddings and their mean over the chain; embeddings of some chains only.
    """

    net: VectorTable
    matching: VectorTable
    raw: VectorTable


def encode_chains(
    loaded: LoadedModel,
    chains: Chains,
    used: NDArray[np.int64],
    with_residues: NDArray[np.int64],
    progress: Progress,
) -> EncodedChains:
    """Encode the chains at `used`, each once; embeddings are kept of the chains at `with_residues`."""
    lengths = chains.lengths
    head = loaded.predictor.net.pair_head is not None
    encoded = EncodedChains(
        VectorTable(lengths, used),
        VectorTable(lengths, used if head else used[:0]),
        VectorTable(lengths, with_residues),
    )
    progress.start("encode chains", len(used))
    for place, embedding in loaded.encoder.embed([chains.sequences[c] for c in used.tolist()]):
        chain = int(used[place])
        vectors = loaded.predictor.encode(embedding, chains.sequences[chain])
        pooled = vectors.pooled.float().cpu().numpy()
        encoded.net.put(chain, pooled, vectors.residues.float().cpu().numpy())
        if vectors.matching is not None:
            encoded.matching.put(chain, pooled, vectors.matching.flatten(1).float().cpu().numpy())
        encoded.raw.put(chain, embedding.mean(axis=0), embedding)
        progress.advance()
    progress.finish()
    return encoded


@dataclass(frozen=True, eq=False)
class Compared:
    """Predictions for n pairs and their m labelled residues.

    Parameters
    ----------
    tm_score, tm_score_2 : float64 array, shape (n,)
        Normalised by chain 1 and by chain 2.
    lddt : float64 array, shape (m,)
    """

    tm_score: NDArray[np.float64]
    tm_score_2: NDArray[np.float64]
    lddt: NDArray[np.float64]


@torch.inference_mode()
def compare_by_model(
    loaded: LoadedModel,
    encoded: EncodedChains,
    chains: Chains,
    pairs: Pairs,
    residues: LabelledResidues,
    is_mutant: NDArray[np.bool_],
    progress: Progress,
) -> Compared:
    """Predict as `Predictor.compare` does, clipped to [0, 1], for many pairs at a time.

    Pairs that share chains are compared together. Mutants are aligned residue by residue, as in
    `mutscan score`.
    """
    net, device = loaded.predictor.net, loaded.predictor.device
    lengths = chains.lengths
    scores = np.empty((2, len(pairs)))
    local = np.empty(len(residues.lddt))
    order = np.argsort(pairs.chain_1, kind="stable")
    progress.start("compare pairs", len(pairs))
    for block in blocks_by_size((lengths[pairs.chain_1] + lengths[pairs.chain_2])[order], _BLOCK_RESIDUES):
        rows = order[block]
        ends = np.stack([pairs.chain_1[rows], pairs.chain_2[rows]])
        here, place = np.unique(ends, return_inverse=True)
        place = place.reshape(2, -1)
        starts = np.cumsum(lengths[here]) - lengths[here]
        wanted = ragged_rows(residues.starts, rows)
        of = np.repeat(np.arange(len(rows)), np.diff(residues.starts)[rows])
        matching = encoded.matching.of_chains(here) if net.pair_head is not None else None
        letters = letter_places("".join(chains.sequences[c] for c in here.tolist()))
        vectors = ChainVectors(
            residues=encoded.net.of_chains(here).to(device),
            pooled=encoded.net.chain_vectors(here).to(device),
            matching=None if matching is None else matching.view(len(matching), 2, -1).to(device),
            letters=torch.from_numpy(letters).to(device),
            lengths=torch.from_numpy(lengths[here]).to(device),
        )
        alignment = np.zeros((2, len(rows), N_ALIGNMENT), dtype=np.float32)
        departures = np.zeros((len(of), len(REACHES)), dtype=np.float32)
        one, two = residues.aligned[wanted].T.astype(np.int64)
        if net.pair_head is not None:
            found_alignments = _alignments(chains, ends, is_mutant[rows])
            swapped = [each.swapped() for each in found_alignments]
            alignment = np.stack([[s.distances() for s in side] for side in (found_alignments, swapped)])
            departures = AlignmentPaths.of(found_alignments).departures(
                (one, two), of, (chains.lengths[ends[0][of]], chains.lengths[ends[1][of]])
            )
        numbers = [
            np.concatenate([place[0], place[1]]),
            np.concatenate([place[1], place[0]]),
            starts[place[0][of]] + one,
            starts[place[1][of]] + two,
            of,
            departures,
        ]
        first, second, row_1, row_2, pair_of, off_path = (torch.from_numpy(n).to(device) for n in numbers)
        both_ways = torch.from_numpy(alignment.reshape(-1, N_ALIGNMENT)).to(device)
        found, lddt = net.compare(
            vectors, PairRows(first, second, both_ways, row_1, row_2, pair_of, off_path)
        )
        scores[:, rows] = found.cpu().numpy().reshape(2, -1)
        local[wanted] = lddt.cpu().numpy()
        progress.advance(len(rows))
    progress.finish()
    scores.clip(0.0, 1.0, out=scores)
    return Compared(scores[0], scores[1], local.clip(0.0, 1.0))


def _alignments(
    chains: Chains, ends: NDArray[np.int64], is_mutant: NDArray[np.bool_]
) -> list[AlignmentScores]:
    """Sequence alignment of each pair; mutants residue by residue."""
    return [
        align_scores(chains.sequences[a], chains.sequences[b], ungapped=same)
        for a, b, same in zip(*ends.tolist(), is_mutant.tolist(), strict=True)
    ]


def blocks_by_size(sizes: NDArray[np.int64], most: int) -> Iterator[slice]:
    """Cut a list of items into runs whose sizes add up to about `most`.

    Examples
    --------
    >>> list(blocks_by_size(np.array([4, 4, 4, 9, 1]), 8))
    [slice(0, 2, None), slice(2, 3, None), slice(3, 5, None)]
    """
    number = (np.cumsum(sizes) - 1) // most
    edges = np.concatenate([[0], np.flatnonzero(np.diff(number)) + 1, [len(sizes)]])
    return (slice(int(a), int(b)) for a, b in pairwise(edges) if b > a)


def compare_by_cosine(vectors: VectorTable, pairs: Pairs, residues: LabelledResidues) -> Compared:
    """Cosines of the vectors of chains and of aligned residues; not clipped."""
    scores = np.empty(len(pairs))
    for block in _blocks(len(pairs)):
        first, second = (vectors.chain_vectors(end[block]) for end in (pairs.chain_1, pairs.chain_2))
        scores[block] = functional.cosine_similarity(first, second, dim=-1).numpy()
    local = np.empty(len(residues.lddt))
    pair_of = residues.pair_of
    for block in _blocks(len(local)):
        first, second = (
            vectors.residue_vectors(end[pair_of[block]], residues.aligned[block, side])
            for side, end in enumerate((pairs.chain_1, pairs.chain_2))
        )
        local[block] = functional.cosine_similarity(first, second, dim=-1).numpy()
    return Compared(scores, scores, local)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(count, start + _BLOCK)) for start in range(0, count, _BLOCK))
