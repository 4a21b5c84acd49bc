"""Find related proteins by their sequences, without an external program.

Shared words of five residues find copies, point mutants, fragments and close homologues
among many thousands of sequences in seconds: at 80 % identity a third of the words are shared, at 60 %
a twelfth, and unrelated proteins share almost none. For a few sequences, local alignments with BLAST's
E-values find more distant relatives; below about 30 % identity MMseqs2 finds far more than both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from mutscan.residue_properties import CODE
from mutscan.residues import STANDARD, UNKNOWN
from mutscan.train.chains.clusters import stable_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LINKED: Final = 0.3
"""Smallest share of the words of the shorter chain that links two chains: about 80 % identity."""

_LONG_WORD: Final = 5
_BLOCK: Final = 2000  # sequences compared with all others at a time
_COMMON: Final = 1000  # a word of more sequences is not specific, and its cost is quadratic

_LETTERS: Final = len(STANDARD) + 1
_CANDIDATES: Final = 25
_MAX_E_VALUE: Final = 1e-3

# Karlin-Altschul parameters of BLOSUM62 with gaps of 11 + 1 per residue (Altschul et al. 1997).
_LAMBDA: Final = 0.267
_K: Final = 0.041


def link_clusters(
    sequences: Sequence[str], clusters: NDArray[np.int64], *, share: float = LINKED
) -> NDArray[np.int64]:
    """Merge clusters that contain parts of one protein.

    Clusters from alignments that must cover both sequences separate chains that must stay together in
    training or test: a domain and the chain that contains it, a monomer and a chain of two copies.

    Parameters
    ----------
    sequences : sequence of str, length n
    clusters : int array, shape (n,)
    share : float
        Smallest share of the words of the shorter sequence that links two chains.

    Returns
    -------
    int array, shape (n,)
        A merged cluster has the smallest of its numbers.
    """
    numbers, place = np.unique(clusters, return_inverse=True)
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows, others, found in shared_words(sequences):
        close = found >= share
        firsts.append(place[rows[close]])
        seconds.append(place[others[close]])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    links = sparse.coo_matrix((np.ones(len(first)), (first, second)), shape=(len(numbers),) * 2)
    _, component = connected_components(links, directed=False)
    smallest = np.full(component.max(initial=0) + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, component, numbers)
    linked: NDArray[np.int64] = smallest[component][place]
    return linked


def shared_words(
    sequences: Sequence[str], known: Sequence[str] | None = None
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Pairs of sequences with words in common, block by block.

    Parameters
    ----------
    sequences : sequence of str
    known : sequence of str, optional
        Sequences to compare with; `sequences` by default.

    Yields
    ------
    rows, others : int array, shape (k,)
        Places in `sequences` and `known`.
    share : float array, shape (k,)
        Words in common, as a share of those of the shorter one.
    """
    everyone = [*sequences, *(known if known is not None else ())]
    words = [np.unique(words_of(sequence, _LONG_WORD)) for sequence in everyone]
    counts = np.array([len(part) for part in words], dtype=np.int64)
    distinct, codes = np.unique(np.concatenate([np.empty(0, np.int64), *words]), return_inverse=True)
    owners = np.repeat(np.arange(len(everyone)), counts)
    kept = np.bincount(codes, minlength=len(distinct))[codes] <= _COMMON
    table = sparse.csr_matrix(
        (np.ones(int(kept.sum()), np.int32), (owners[kept], codes[kept])),
        shape=(len(everyone), len(distinct)),
    )
    others = table if known is None else table[len(sequences) :]
    transposed = others.T.tocsr()
    offset = 0 if known is None else len(sequences)
    for start in range(0, len(sequences), _BLOCK):
        block = (table[start : min(start + _BLOCK, len(sequences))] @ transposed).tocoo()
        rows, columns = block.row.astype(np.int64) + start, block.col.astype(np.int64)
        shorter = np.maximum(np.minimum(counts[rows], counts[columns + offset]), 1)
        yield rows, columns, block.data / shorter


def adopt_clusters(
    sequences: Sequence[str], known: Sequence[str], clusters: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Cluster of the closest known relative of each sequence, or a new number where there is none.

    Parameters
    ----------
    sequences : sequence of str, length n
    known : sequence of str, length m
    clusters : int array, shape (m,)

    Returns
    -------
    int array, shape (n,)
        Sequences that are related to each other but to no known one may get different numbers.
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
    """Index of sequences for searching.

    Parameters
    ----------
    sequences : sequence of str
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        words = [words_of(sequence) for sequence in sequences]
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
        """Place of the sequence that aligns best; None if none has an E-value of 0.001 or less."""
        mine = np.zeros(_LETTERS**3, dtype=np.bool_)
        mine[words_of(sequence)] = True
        shared = np.bincount(self._owner[mine[self._words]], minlength=len(self._sequences))
        expected = self._counts * mine.mean() + 1.0
        surprise = (shared - expected) / np.sqrt(expected)
        candidates = np.argsort(-surprise, kind="stable")[:_CANDIDATES]
        scores = [self._aligner.score(_clean(sequence), _clean(self._sequences[c])) for c in candidates]
        best = int(np.argmax(scores))
        e_value = _K * len(sequence) * self._residues * np.exp(-_LAMBDA * scores[best])
        return int(candidates[best]) if e_value <= _MAX_E_VALUE else None


def words_of(sequence: str, size: int = 3) -> NDArray[np.int64]:
    """All words of `size` consecutive residues, as numbers."""
    codes = _codes(sequence)
    words = np.zeros(max(len(codes) - size + 1, 0), dtype=np.int64)
    for place in range(size):
        words = words * _LETTERS + codes[place : place + len(words)]
    return words


def _codes(sequence: str) -> NDArray[np.int64]:
    """Places of the residues in `STANDARD`; every other letter is one residue more."""
    codes: NDArray[np.int64] = CODE[np.frombuffer(sequence.encode("latin-1", "replace"), np.uint8)]
    return np.where(codes >= 0, codes, _LETTERS - 1)


def _clean(sequence: str) -> str:
    return "".join((STANDARD + UNKNOWN)[code] for code in _codes(sequence).tolist())
