"""Sequence alignment of two chains with BLOSUM62, an input of the pair head beside what the net learns.

Two affine-gap alignments (Smith-Waterman, and global with free end gaps): their
scores, divided by those of the sequences with themselves, and how much of each
chain the local one covers. A millisecond for 200 residues, and it carries most of
what tells relatives apart from strangers. Where the local alignment breaks,
structures differ: `AlignmentPaths` tells the lDDT of a residue how far off the
alignment's path its surroundings are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from Bio.Align import PairwiseAligner
    from numpy.typing import NDArray

LETTERS: Final = "ACDEFGHIKLMNPQRSTVWYX"
"""Rows of `substitution_scores`; all other letters count as X."""

N_ALIGNMENT: Final = 8
"""Length of `AlignmentScores.distances`."""

NEAR: Final = 4
FAR: Final = 12
"""Reach, in residues to each side, of the windows in which pairs are looked at around an aligned residue."""

REACHES: Final = (0, NEAR, FAR)
"""Windows of `AlignmentPaths.departures`."""

_UNKNOWN_SELF: Final = 4.0  # X with X: about the mean of the standard residues, so that equal is equal
_GAP_OPEN: Final = -11.0  # BLASTP's costs
_GAP_EXTEND: Final = -1.0

_PLACES = np.full(256, LETTERS.index("X"), dtype=np.int64)
_PLACES[np.frombuffer(LETTERS.encode(), np.uint8)] = np.arange(len(LETTERS))
_PLACES[[ord("U"), ord("O")]] = LETTERS.index("C"), LETTERS.index("K")


def letter_places(sequence: str) -> NDArray[np.int64]:
    """Index of each residue in `LETTERS`, shape (L,); selenocysteine as C, pyrrolysine as K."""
    return _PLACES[np.frombuffer(sequence.encode("ascii", "replace"), np.uint8)]


@cache
def substitution_scores() -> NDArray[np.float64]:
    """BLOSUM62 over `LETTERS`, shape (21, 21)."""
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")
    scores = np.array([[matrix[a][b] for b in LETTERS] for a in LETTERS], dtype=np.float64)
    scores[-1, -1] = _UNKNOWN_SELF
    return scores


def residue_distances() -> NDArray[np.float32]:
    """1 - s(a, b) / sqrt(s(a, a) s(b, b)) over `LETTERS`, shape (21, 21): 0 for equal residues."""
    scores = substitution_scores()
    own = scores.diagonal()
    distances: NDArray[np.float32] = (1.0 - scores / np.sqrt(own[:, None] * own)).astype(np.float32)
    return distances


@dataclass(frozen=True, slots=True)
class AlignmentScores:
    """Scores of two sequences against each other, and of each with itself.

    Parameters
    ----------
    local, overall : float
        Smith-Waterman score; score of the global alignment with free end gaps.
    own_1, own_2 : float
        Self-scores, both positive.
    length_1, length_2 : int
    aligned, identical : int
        Residue pairs of the local alignment, and those of equal residues.
    blocks : tuple of (int, int, int)
        Runs of the local alignment without a gap: first residue in one, in two (0-based), length. For
        sequences compared residue by residue, the one run of all residues.
    """

    local: float
    overall: float
    own_1: float
    own_2: float
    length_1: int
    length_2: int
    aligned: int
    identical: int
    blocks: tuple[tuple[int, int, int], ...]

    def swapped(self) -> AlignmentScores:
        """Swap the two sequences."""
        return replace(
            self,
            own_1=self.own_2,
            own_2=self.own_1,
            length_1=self.length_2,
            length_2=self.length_1,
            blocks=tuple((two, one, size) for one, two, size in self.blocks),
        )

    def distances(self) -> NDArray[np.float32]:
        """How far the two are from aligning as well as each does with itself.

        Returns
        -------
        float32 array, shape (8,)
            1 - share, in [0, 1], 0 for equal sequences. The shares: the local score over the lower
            self-score, over the first's, over the second's; the global one over the lower, over the
            first's; residues in the local alignment of those of the first, of the second; identical
            residues of these.
        """
        lower = min(self.own_1, self.own_2)
        shares = (
            self.local / lower,
            self.local / self.own_1,
            self.local / self.own_2,
            self.overall / lower,
            self.overall / self.own_1,
            self.aligned / self.length_1,
            self.aligned / self.length_2,
            self.identical / max(self.aligned, 1),
        )
        return np.clip(1.0 - np.array(shares), 0.0, 1.0).astype(np.float32)


@dataclass(frozen=True, eq=False)
class AlignmentPaths:
    """Local alignments of P pairs: where each runs without a gap.

    Parameters
    ----------
    blocks : int array, shape (B, 3)
        First residue in chain 1 and chain 2 (0-based) and length of each run, pair after pair.
    starts : int array, shape (P + 1,)
        Runs of pair k: ``blocks[starts[k]:starts[k + 1]]``.
    """

    blocks: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, alignments: Sequence[AlignmentScores]) -> AlignmentPaths:
        """Paths of some alignments, in their order."""
        blocks = [block for one in alignments for block in one.blocks]
        counts = [len(one.blocks) for one in alignments]
        return cls(
            np.array(blocks, dtype=np.int64).reshape(-1, 3),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
        )

    def take(self, chosen: NDArray[np.int64]) -> AlignmentPaths:
        """Paths of the pairs `chosen`, in their order."""
        counts = np.diff(self.starts)[chosen]
        return AlignmentPaths(
            self.blocks[ragged_rows(self.starts, chosen)], np.concatenate([[0], np.cumsum(counts)])
        )

    def departures(
        self,
        residues: tuple[NDArray[np.int64], NDArray[np.int64]],
        pair_of: NDArray[np.int64],
        lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
    ) -> NDArray[np.float32]:
        """How far the alignment departs from laying residue i on residue j, around them.

        Parameters
        ----------
        residues : two int arrays, shape (R,)
            i in chain 1 and j in chain 2, 0-based; any residues, whether the alignment pairs them or not.
        pair_of : int array, shape (R,)
        lengths : two int arrays, shape (R,)
            Of chain 1 and of chain 2.

        Returns
        -------
        float32 array, shape (R, 3)
            Share of the residues i + k (-n <= k <= n, both i + k and j + k inside their chains; one
            column for each n of `REACHES`) that the alignment does not lay on j + k: 0 where both
            run side by side, 1 where the alignment is elsewhere.
        """
        one, two = residues
        shift = two - one
        which = np.repeat(np.arange(len(one)), np.diff(self.starts)[pair_of])
        blocks = self.blocks[ragged_rows(self.starts, pair_of)]
        beside = blocks[:, 1] - blocks[:, 0] == shift[which]
        which, begin, size = which[beside], blocks[beside, 0], blocks[beside, 2]
        shares = np.empty((len(one), len(REACHES)), dtype=np.float32)
        for column, reach in enumerate(REACHES):
            low = np.maximum(one - np.minimum(np.minimum(one, two), reach), 0)
            high = one + np.minimum(np.minimum(lengths[0] - one, lengths[1] - two) - 1, reach) + 1
            shared = np.minimum(high[which], begin + size) - np.maximum(low[which], begin)
            on_path = np.bincount(which, np.maximum(shared, 0), minlength=len(one))
            shares[:, column] = 1.0 - on_path / (high - low)
        return shares


def ragged_rows(starts: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the parts `chosen`, in their order; part k is ``starts[k]:starts[k + 1]``.

    Examples
    --------
    >>> ragged_rows(np.array([0, 2, 2, 5]), np.array([2, 0])).tolist()
    [2, 3, 4, 0, 1]
    """
    counts = np.diff(starts)[chosen]
    skipped = starts[chosen] - (np.cumsum(counts) - counts)
    rows: NDArray[np.int64] = np.arange(int(counts.sum())) + np.repeat(skipped, counts)
    return rows


def align_scores(first: str, second: str, *, ungapped: bool = False) -> AlignmentScores:
    """Score two sequences against each other.

    Parameters
    ----------
    first, second : str
    ungapped : bool
        Residue k belongs to residue k, as between a protein and its substitutions: no alignment is
        searched for. Needs equal lengths.
    """
    scores = substitution_scores()
    place_1, place_2 = letter_places(first), letter_places(second)
    own_1, own_2 = (float(scores[place, place].sum()) for place in (place_1, place_2))
    if ungapped:
        sums = np.concatenate([[0.0], np.cumsum(scores[place_1, place_2])])
        gains = sums - np.minimum.accumulate(sums)  # of the best stretch that ends here
        end = int(np.argmax(gains))
        start = int(np.argmin(sums[: end + 1]))
        blocks = [(start, start, end - start)]
        path = [(0, 0, len(first))]
        local, overall = float(gains[end]), float(sums[-1])
    else:
        one, two = _written(first), _written(second)
        overall = float(_aligner("global").score(one, two))
        local, blocks = _local(one, two)
        path = blocks
    return AlignmentScores(
        local,
        overall,
        own_1,
        own_2,
        len(first),
        len(second),
        sum(size for _, _, size in blocks),
        sum(int((place_1[a : a + n] == place_2[b : b + n]).sum()) for a, b, n in blocks),
        tuple(path),
    )


def _local(one: str, two: str) -> tuple[float, list[tuple[int, int, int]]]:
    """Smith-Waterman score, and the runs without gaps: start in one, start in two, length."""
    alignments = _aligner("local").align(one, two)
    if not alignments.score > 0:
        return 0.0, []
    path = alignments[0].coordinates  # (2, corners)
    steps = np.diff(path, axis=1)
    return float(alignments.score), [
        (int(path[0, k]), int(path[1, k]), int(steps[0, k])) for k in np.flatnonzero((steps > 0).all(axis=0))
    ]


def _written(sequence: str) -> str:
    return "".join(LETTERS[place] for place in letter_places(sequence).tolist())


@cache
def _aligner(mode: str) -> PairwiseAligner:
    from Bio.Align import PairwiseAligner, substitution_matrices

    matrix = substitution_matrices.Array(LETTERS, dims=2, data=substitution_scores())
    aligner = PairwiseAligner(
        mode=mode,
        substitution_matrix=matrix,
        open_gap_score=_GAP_OPEN,
        extend_gap_score=_GAP_EXTEND,
    )
    if mode == "global":
        aligner.end_gap_score = 0.0
    return aligner
