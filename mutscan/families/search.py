"""Search a library for the families of a protein, and make its profile.

The search is HMMER's phmmer (Eddy, PLoS Comput. Biol. 7, e1002195 (2011)) through pyhmmer, against the
families' consensus sequences.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyhmmer
from loky import cpu_count

from mutscan.evidence import FamilyProfile
from mutscan.residue_properties import CODE
from mutscan.residues import STANDARD, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from mutscan.families.store import FamilyLibrary

E_VALUE: Final = 1e-3
"""E-value up to which a family, and each stretch of it, counts as related."""

LONGEST: Final = 100_000
"""Longest sequence that HMMER takes, residues."""

_ALPHABET: Final = pyhmmer.easel.Alphabet.amino()
_CODES: Final = np.frombuffer(STANDARD.encode(), dtype=np.uint8)


@dataclass(frozen=True, eq=False)
class Match:
    """A stretch of a protein aligned with a stretch of a family.

    Parameters
    ----------
    residues, columns : int array, shape (m,)
        Aligned residues of the protein, 0-based, and columns of the library.
    skipped : int array, shape (g,)
        Residues in the stretch that the family lacks.
    """

    residues: NDArray[np.int64]
    columns: NDArray[np.int64]
    skipped: NDArray[np.int64]


class FamilySearch:
    """Searches a library.

    A profile depends on the sequence and the library alone, not on the other sequences of a call.

    Parameters
    ----------
    library : FamilyLibrary
    threads : int, optional
        Proteins that are looked up at a time; the cores of this process when not given.
    """

    def __init__(self, library: FamilyLibrary, *, threads: int | None = None) -> None:
        self._families = library
        self._threads = threads or cpu_count()
        letters = _CODES[library.consensus].tobytes().decode("ascii")
        starts = library.starts.tolist()
        self._targets = pyhmmer.easel.DigitalSequenceBlock(
            _ALPHABET,
            [
                _digital(str(family), letters[first:last])
                for family, (first, last) in enumerate(itertools.pairwise(starts))
            ],
        )

    def profiles(self, sequences: Iterable[str]) -> Iterator[FamilyProfile]:
        """Profile of each sequence, in their order."""
        for sequence, matches in self.search(sequences):
            yield profile_of(self._families, sequence, matches)

    def search(self, sequences: Iterable[str]) -> Iterator[tuple[str, list[Match]]]:
        """Related stretches of each sequence, in their order."""
        texts = list(sequences)
        queries = [
            _digital(str(row), _known(text)) if 0 < len(text) <= LONGEST else None
            for row, text in enumerate(texts)
        ]
        if not self._targets:
            yield from ((text, []) for text in texts)
            return
        answers = pyhmmer.hmmer.phmmer(
            [query for query in queries if query is not None],
            self._targets,
            cpus=min(self._threads, max(len(texts), 1)),
            E=E_VALUE,
            domE=E_VALUE,
            incE=E_VALUE,
            incdomE=E_VALUE,
            seed=42,
        )
        for text, query in zip(texts, queries, strict=True):
            yield text, [] if query is None else list(self._matches(next(answers)))

    def _matches(self, hits: Sequence[pyhmmer.plan7.Hit]) -> Iterator[Match]:
        starts = self._families.starts
        found = []
        for hit in hits:
            if not hit.included:
                continue
            family = int(hit.name)
            found += [
                (family, domain.alignment)
                for domain in hit.domains
                if domain.included and domain.i_evalue <= E_VALUE
            ]
        # Hits of equal score come in no promised order, and sums of floats keep the order.
        found.sort(key=lambda one: (one[0], one[1].hmm_from))
        for family, alignment in found:
            own = _residues(alignment.hmm_sequence)
            other = _residues(alignment.target_sequence)
            residue = alignment.hmm_from - 2 + np.cumsum(own)
            column = int(starts[family]) + alignment.target_from - 2 + np.cumsum(other)
            both = own & other
            yield Match(residue[both], column[both], residue[own & ~other])


def profile_of(library: FamilyLibrary, sequence: str, matches: Sequence[Match]) -> FamilyProfile:
    """Mean of the families' columns at each residue, weighted by the root of their sequences.

    Parameters
    ----------
    library : FamilyLibrary
    sequence : str
        L residues.
    matches : sequence of Match
    """
    length = len(sequence)
    frequencies = np.zeros((length, 20))
    own = CODE[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    known = np.flatnonzero(own >= 0)
    frequencies[known, own[known]] = 1.0
    sequences, families, lacking = np.ones(length), np.zeros(length), np.zeros(length)
    for match in matches:
        covered = library.sequences[match.columns].astype(np.float64)
        # A residue meets a column once in a match, so that no addition is lost.
        frequencies[match.residues] += (
            np.sqrt(covered)[:, None] * library.codebook[library.codes[match.columns]]
        )
        sequences[match.residues] += covered
        families[match.residues] += 1.0
        lacking[match.skipped] += 1.0
    total = frequencies.sum(axis=1, keepdims=True)
    return FamilyProfile(
        frequencies / np.where(total > 0, total, 1.0),
        sequences,
        families,
        lacking / np.maximum(lacking + families, 1.0),
    )


def _residues(aligned: str) -> NDArray[np.bool_]:
    """Mark the letters of an alignment row that are not gaps."""
    letters = np.frombuffer(aligned.encode("ascii"), dtype=np.uint8)
    residues: NDArray[np.bool_] = (letters != ord("-")) & (letters != ord("."))
    return residues


def _known(sequence: str) -> str:
    return "".join(letter if letter in STANDARD else UNKNOWN for letter in sequence)


def _digital(name: str, letters: str) -> pyhmmer.easel.DigitalSequence:
    return pyhmmer.easel.TextSequence(name=name.encode(), sequence=letters).digitize(_ALPHABET)
