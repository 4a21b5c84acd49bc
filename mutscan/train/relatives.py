"""Which known proteins a sequence is related to, without any outside program.

For a handful of sequences against some thousands: candidates by shared words of three residues, then
local alignments, judged as BLAST judges them. Far less sensitive than MMseqs2 below about 30 % identity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices

from mutscan.residues import STANDARD, UNKNOWN
from mutscan.train.clusters import stable_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LETTERS: Final = len(STANDARD) + 1
_CANDIDATES: Final = 25
_MAX_E_VALUE: Final = 1e-3

# Karlin-Altschul parameters of BLOSUM62 with gaps of 11 + 1 per residue (Altschul et al. 1997).
_LAMBDA: Final = 0.267
_K: Final = 0.041


def adopt_clusters(
    sequences: Sequence[str], known: Sequence[str], clusters: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cluster of the closest known relative of each sequence; a number of its own where there is none.

    Parameters
    ----------
    sequences : sequence of str, length n
    known : sequence of str, length m
    clusters : int array, shape (m,)

    Returns
    -------
    int array, shape (n,)
        Sequences that are related to each other, but to no known one, may get numbers of their own.
    """
    adopted = np.array([stable_number(sequence) for sequence in sequences], dtype=np.int64)
    if not len(known):
        return adopted
    words = WordIndex(known)
    same = {sequence: place for place, sequence in reversed(list(enumerate(known)))}
    for row, sequence in enumerate(sequences):
        place = same.get(sequence)
        if place is None:
            place = words.closest(sequence)
        if place is not None:
            adopted[row] = clusters[place]
    return adopted


class WordIndex:
    """Sequences to be searched.

    Parameters
    ----------
    sequences : sequence of str
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        words = [_words(sequence) for sequence in sequences]
        self._words = np.concatenate([np.empty(0, np.int64), *words])
        self._owner = np.repeat(np.arange(len(sequences)), [len(part) for part in words])
        self._counts = np.array([len(part) for part in words], dtype=np.float64)
        self._residues = sum(map(len, sequences))
        self._aligner = PairwiseAligner(
            mode="local",
            substitution_matrix=substitution_matrices.load("BLOSUM62"),
            open_gap_score=-12.0,
            extend_gap_score=-1.0,
        )

    def closest(self, sequence: str) -> int | None:
        """Place of the sequence that aligns best, None when none does with an E-value of 0.001 or less."""
        mine = np.zeros(_LETTERS**3, dtype=np.bool_)
        mine[_words(sequence)] = True
        shared = np.bincount(self._owner[mine[self._words]], minlength=len(self._sequences))
        expected = self._counts * mine.mean() + 1.0
        surprise = (shared - expected) / np.sqrt(expected)
        candidates = np.argsort(-surprise, kind="stable")[:_CANDIDATES]
        scores = [self._aligner.score(_clean(sequence), _clean(self._sequences[c])) for c in candidates]
        best = int(np.argmax(scores))
        e_value = _K * len(sequence) * self._residues * np.exp(-_LAMBDA * scores[best])
        return int(candidates[best]) if e_value <= _MAX_E_VALUE else None


def _words(sequence: str) -> NDArray[np.int64]:
    """Every three residues in a row as one number."""
    table = np.full(256, _LETTERS - 1, dtype=np.int64)
    table[np.frombuffer(STANDARD.encode(), np.uint8)] = np.arange(_LETTERS - 1)
    codes = table[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]
    words: NDArray[np.int64] = codes[:-2] * _LETTERS**2 + codes[1:-1] * _LETTERS + codes[2:]
    return words


def _clean(sequence: str) -> str:
    return "".join(letter if letter in STANDARD else UNKNOWN for letter in sequence)
