"""Batches for masked-language training, packed by length to limit padding.

Sequences of many steps (a pool) are drawn at once, sorted by length and cut into chunks;
each step gets random chunks of all lengths. Nothing depends on earlier draws:
pool, crops and masks are seeded by (seed, pool), so that any step can be made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.embed.tokens import ESM_VOCABULARY
from mutscan.errors import CheckpointError, UsageError
from mutscan.train.chains.corpus import RESIDUES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.embed.tokens import Tokens
    from mutscan.train.chains.corpus import Corpus

MASKED: Final = 0.15
"""Share of residues to predict; of these 80 % are masked, 10 % exchanged and 10 % unchanged (BERT, ESM)."""

_WIDTH_STEP: Final = 8  # widths are multiples of this: fewer shapes, and what GPU kernels like
_POOL_CHUNKS: Final = 128  # chunks that are sorted together
_SPECIAL: Final = 2  # <cls> and <eos>
_POOL, _MASK, _VALIDATION = 1, 2, 3  # keep the streams of random numbers apart


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token numbers of one ESM encoder.

    Parameters
    ----------
    residues : int array, shape (21,)
        Token of each code of `mutscan.train.chains.corpus.RESIDUES`; the last is X, which is never predicted.
    before, behind, pad, mask : int
        ``<cls>``, ``<eos>``, ``<pad>``, ``<mask>``.
    """

    residues: NDArray[np.int64]
    before: int
    behind: int
    pad: int
    mask: int

    @classmethod
    def standard(cls) -> Vocabulary:
        """ESM-2's."""
        before, behind, pad, mask = map(ESM_VOCABULARY.index, ("<cls>", "<eos>", "<pad>", "<mask>"))
        residues = np.array([ESM_VOCABULARY.index(letter) for letter in RESIDUES])
        return cls(residues, before, behind, pad, mask)

    @classmethod
    def of(cls, tokens: Tokens, mask: int | None) -> Vocabulary:
        """Take an encoder's `Tokens` and the ``mask_token_id`` of its config."""
        if mask is None:
            raise CheckpointError("the encoder's config.json names no mask_token_id; expected an ESM model's")
        residues = tokens.ids[np.frombuffer(RESIDUES.encode(), np.uint8)]
        return cls(residues, tokens.before[0], tokens.behind[0], tokens.pad, mask)


@dataclass(frozen=True, eq=False)
class MicroBatch:
    """Some sequences of similar length, masked.

    Parameters
    ----------
    tokens : int array, shape (B, T)
        Input of the network.
    lengths : int array, shape (B,)
        Tokens of each row that are no padding.
    places : int array, shape (M,)
        Flat indices into `tokens` of the residues to predict.
    targets : int array, shape (M,)
        True tokens there.
    number : int
        Number among all micro-batches of the training; seeds dropout.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    number: int

    @property
    def n_tokens(self) -> int:
        """Tokens without padding."""
        return int(self.lengths.sum())

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """True = no padding, shape (B, T); None without any padding."""
        width = self.tokens.shape[1]
        if (self.lengths == width).all():
            return None
        mask: NDArray[np.bool_] = np.arange(width) < self.lengths[:, None]
        return mask


@dataclass(frozen=True, eq=False)
class _Crops:
    """Crops of sequences: sequence, offset and length; arrays of shape (n,)."""

    sequence: NDArray[np.int64]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64] | slice) -> _Crops:
        return _Crops(self.sequence[rows], self.offset[rows], self.length[rows])


def widths_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Columns that sequences of these lengths need, with both special tokens, rounded up to eights."""
    return -(-(lengths + _SPECIAL) // _WIDTH_STEP) * _WIDTH_STEP


def cut(widths: NDArray[np.int64], most: int) -> list[int]:
    """Cut rows into chunks of at most `most` tokens, padding included.

    Parameters
    ----------
    widths : int array, shape (n,), falling
        Columns each row needs; the first row of a chunk sets its width.
    most : int

    Returns
    -------
    list of int
        Starts of the chunks, and n.

    Examples
    --------
    >>> cut(np.array([16, 16, 8, 8, 8]), 32)
    [0, 2, 5]
    """
    starts = [0]
    while starts[-1] < len(widths):
        starts.append(min(len(widths), starts[-1] + max(1, most // int(widths[starts[-1]]))))
    return starts


class PackedBatches:
    """Draws the micro-batches of each step.

    Clusters are drawn with probabilities proportional to the square root of their sizes, then one
    sequence of each: large families count more, but less than in proportion to their size.

    Parameters
    ----------
    corpus : Corpus
    clusters : int array
        Clusters to draw from.
    vocabulary : Vocabulary
    max_length : int
        Longer sequences are cropped, at a random offset, residues.
    chunk_tokens : int
        Largest micro-batch, padding included.
    chunks : int
        Micro-batches of a step.
    seed : int

    Raises
    ------
    UsageError
        A crop does not fit into a micro-batch.
    """

    def __init__(
        self,
        corpus: Corpus,
        clusters: NDArray[np.int64],
        vocabulary: Vocabulary,
        *,
        max_length: int,
        chunk_tokens: int,
        chunks: int,
        seed: int,
    ) -> None:
        check_sizes(max_length, chunk_tokens)
        self.corpus = corpus
        self.clusters = clusters
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.chunk_tokens = chunk_tokens
        self.chunks = chunks
        self.seed = seed
        self.pool_steps = -(-_POOL_CHUNKS // chunks)
        shares = np.sqrt(corpus.cluster_sizes[clusters].astype(np.float64))
        self._bounds = np.cumsum(shares) / shares.sum()
        self._pool = lru_cache(maxsize=2)(self._draw_pool)

    def __call__(self, step: int) -> list[MicroBatch]:
        """Micro-batches of a step; they depend only on the seed and the step."""
        pool, place = divmod(step, self.pool_steps)
        chunks = self._pool(pool)
        numbers = range(place * self.chunks, (place + 1) * self.chunks)
        return [
            _micro_batch(
                self.corpus,
                chunks[k],
                self.vocabulary,
                np.random.default_rng([self.seed, _MASK, pool, k]),
                step * self.chunks + k - numbers.start,
            )
            for k in numbers
        ]

    def _draw_pool(self, pool: int) -> list[_Crops]:
        """Chunks of all steps of a pool, each nearly full, in random order."""
        wanted = self.pool_steps * self.chunks
        n = 4 * wanted
        while True:
            rng = np.random.default_rng([self.seed, _POOL, pool])
            crops = self._draw(rng.random((n, 3)))  # a longer table begins with the rows of a shorter one
            if len(self._cut(crops, n)[1]) - 1 > wanted:
                break
            n *= 2
        # The largest number of drawn sequences that makes no more chunks than wanted.
        enough, too_many = wanted, n
        while too_many - enough > 1:
            middle = (enough + too_many) // 2
            if len(self._cut(crops, middle)[1]) - 1 <= wanted:
                enough = middle
            else:
                too_many = middle
        order, starts = self._cut(crops, enough)
        chunks = [crops.take(order[a:b]) for a, b in pairwise(starts)]
        shuffled = np.random.default_rng([self.seed, _POOL, pool, 1]).permutation(wanted)
        return [chunks[k] for k in shuffled.tolist()]

    def _cut(self, crops: _Crops, n: int) -> tuple[NDArray[np.int64], list[int]]:
        order = np.argsort(-crops.length[:n], kind="stable")
        return order, cut(widths_of(crops.length[order]), self.chunk_tokens)

    def _draw(self, random: NDArray[np.float64]) -> _Crops:
        place = np.searchsorted(self._bounds, random[:, 0], side="right").clip(0, len(self.clusters) - 1)
        return _crops(self.corpus, self.clusters[place], random[:, 1:], self.max_length)


def check_sizes(max_length: int, chunk_tokens: int) -> None:
    """Refuse crops that do not fit into a micro-batch.

    Raises
    ------
    UsageError
    """
    needed = int(widths_of(np.array([max_length]))[0])
    if chunk_tokens < needed:
        raise UsageError(
            f"micro-batches of {chunk_tokens} tokens: a crop of --max-length {max_length} residues needs "
            f"{needed} tokens; increase --chunk-tokens and --batch-tokens, or reduce --max-length"
        )


def fixed_batches(
    corpus: Corpus,
    clusters: NDArray[np.int64],
    vocabulary: Vocabulary,
    *,
    max_length: int,
    chunk_tokens: int,
    seed: int,
) -> list[MicroBatch]:
    """One sequence of each cluster, with a fixed crop and mask, for validation."""
    random = np.random.default_rng([seed, _VALIDATION]).random((len(clusters), 2))
    crops = _crops(corpus, clusters, random, max_length)
    crops = crops.take(np.argsort(-crops.length, kind="stable"))
    starts = cut(widths_of(crops.length), chunk_tokens)
    return [
        _micro_batch(
            corpus,
            crops.take(slice(a, b)),
            vocabulary,
            np.random.default_rng([seed, _VALIDATION, number]),
            number,
        )
        for number, (a, b) in enumerate(pairwise(starts))
    ]


def _crops(
    corpus: Corpus, clusters: NDArray[np.int64], random: NDArray[np.float64], max_length: int
) -> _Crops:
    """One member of each cluster and an offset in it, from two random numbers in [0, 1) each."""
    member = (random[:, 0] * corpus.cluster_sizes[clusters]).astype(np.int64)
    sequence = corpus.members[corpus.cluster_starts[clusters] + member]
    full = corpus.lengths[sequence]
    length = np.minimum(full, max_length)
    return _Crops(sequence, (random[:, 1] * (full - length + 1)).astype(np.int64), length)


def _micro_batch(
    corpus: Corpus, crops: _Crops, vocabulary: Vocabulary, rng: np.random.Generator, number: int
) -> MicroBatch:
    n, width = len(crops.length), int(widths_of(crops.length.max(keepdims=True))[0])
    column = np.arange(width)
    inside = (column >= 1) & (column <= crops.length[:, None])  # (B, T)
    first = corpus.starts[crops.sequence] + crops.offset - 1
    codes = np.where(inside, corpus.codes[np.where(inside, first[:, None] + column, 0)], len(RESIDUES) - 1)
    tokens = np.where(inside, vocabulary.residues[codes], vocabulary.pad)
    tokens[:, 0] = vocabulary.before
    tokens[np.arange(n), crops.length + 1] = vocabulary.behind

    known = (inside & (codes < len(RESIDUES) - 1)).ravel()
    places = np.flatnonzero(known & (rng.random(known.size) < MASKED))
    targets = tokens.ravel()[places]
    fate = rng.random(len(places))
    exchanged = vocabulary.residues[rng.integers(0, len(RESIDUES) - 1, len(places))]
    tokens.ravel()[places] = np.where(fate < 0.8, vocabulary.mask, np.where(fate < 0.9, exchanged, targets))
    return MicroBatch(tokens, crops.length + _SPECIAL, places, targets, number)
