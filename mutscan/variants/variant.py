"""`Substitution`, `InFrameIndel` and `Variant`: what changes in the protein, and its two spellings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import VariantError
from mutscan.hashes import text_sha256
from mutscan.residues import AMBIGUOUS, STANDARD, THREE_LETTER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

THREE_LETTER_NAMES: Final[dict[str, str]] = {
    **{one: three.capitalize() for one, three in THREE_LETTER.items()},
    "U": "Sec", "O": "Pyl", "B": "Asx", "Z": "Glx", "J": "Xle", "X": "Xaa",
}  # fmt: skip
"""HGVS spelling of each letter a wild type can hold."""

NOT_STATED: Final = "."
"""A deleted or duplicated residue that the notation does not name (only its range's ends are)."""

_WILD_TYPE_LETTERS: Final = frozenset(STANDARD) | AMBIGUOUS
_LONGEST_STEM: Final = 150  # file names end at 255 bytes; suffixes and temporary names need room too
_SHOWN_MISMATCHES: Final = 5


@dataclass(frozen=True, order=True, slots=True)
class Substitution:
    """One residue exchanged: ``R175H`` in text, ``p.Arg175His`` in HGVS.

    Parameters
    ----------
    position : int
        1-based on the wild-type sequence.
    wild_type : str
        One letter, also one of ``UOBZJX``, which sequences may hold.
    mutant : str
        One of the 20 standard letters, another than `wild_type`.
    """

    position: int
    wild_type: str
    mutant: str

    def __post_init__(self) -> None:
        if self.position < 1:
            raise ValueError(f"positions count from 1, not {self.position}")
        if self.wild_type not in _WILD_TYPE_LETTERS or self.mutant not in THREE_LETTER:
            raise ValueError(f"not a substitution of residues: {self.wild_type!r} to {self.mutant!r}")
        if self.wild_type == self.mutant:
            raise ValueError(f"{self} changes nothing")

    def __str__(self) -> str:
        return f"{self.wild_type}{self.position}{self.mutant}"

    @property
    def hgvs(self) -> str:
        """HGVS without the leading ``p.``: ``Arg175His``."""
        return f"{THREE_LETTER_NAMES[self.wild_type]}{self.position}{THREE_LETTER_NAMES[self.mutant]}"


@dataclass(frozen=True, eq=False, slots=True)
class InFrameIndel:
    """Residues `start`..`end` (1-based, inclusive) replaced by `inserted`.

    A pure insertion has ``end == start - 1``: it goes in before `start`. Two
    indels are equal when they read the same.

    Parameters
    ----------
    start, end : int
        1-based on the wild-type sequence.
    deleted : str
        ``end - start + 1`` letters. The notation names only the ends of a longer
        range: residues it leaves out are ``"."``, and taken as they are.
    inserted : str
        Standard letters. Of a duplication: the duplicated residues, with ``"."`` as in `deleted`.
    ends : str
        The two residues the notation names: the neighbours of an insertion (to be given),
        otherwise the ends of the deleted or duplicated range (filled in).
    duplication : bool
        `inserted` repeats the residues just before `start`.
    """

    start: int
    end: int
    deleted: str
    inserted: str
    ends: str = ""
    duplication: bool = False

    def __post_init__(self) -> None:
        if self.start < 1 or len(self.deleted) != self.end - self.start + 1:
            raise ValueError(f"{self.deleted!r} are not the residues {self.start} to {self.end}")
        if not self.deleted and not self.inserted:
            raise ValueError("an indel deletes or inserts something")
        named = self.deleted
        if self.duplication:
            named = self.inserted
            if self.deleted or len(self.inserted) > self.end:
                raise ValueError(f"{self.inserted!r} is not a copy of residues before {self.start}")
        elif not set(self.inserted) <= set(STANDARD):
            raise ValueError(f"not standard residues: {self.inserted!r}")
        if named:
            object.__setattr__(self, "ends", named[0] + named[-1])
        if len(self.ends) != 2 or not set(self.ends) <= _WILD_TYPE_LETTERS or self.end < 0:
            raise ValueError(f"the residues at both sides of an indel are named, read {self.ends!r}")
        if not set(named[1:-1]) <= _WILD_TYPE_LETTERS | {NOT_STATED}:
            raise ValueError(f"not residues: {named!r}")
        if not self.deleted and self.end < 1:
            raise ValueError("an insertion goes between two residues")

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, InFrameIndel) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self._spell(str)

    @property
    def hgvs(self) -> str:
        """HGVS without the leading ``p.``: ``Lys120_Ser121insAla``."""
        return self._spell(THREE_LETTER_NAMES.__getitem__)

    @property
    def first(self) -> int:
        """First position the notation names."""
        if self.duplication:
            return self.start - len(self.inserted)
        return self.start if self.deleted else self.end

    @property
    def last(self) -> int:
        """Last position the notation names."""
        return self.end if self.deleted or self.duplication else self.start

    @property
    def sites(self) -> tuple[tuple[int, str], ...]:
        """Position and wild-type letter of each residue the notation names."""
        if self.deleted or self.duplication:
            named = enumerate(self.deleted or self.inserted, start=self.first)
            return tuple((position, letter) for position, letter in named if letter != NOT_STATED)
        return ((self.end, self.ends[0]), (self.start, self.ends[1]))

    def _spell(self, name: Callable[[str], str]) -> str:
        where = f"{name(self.ends[0])}{self.first}"
        if self.last != self.first:
            where += f"_{name(self.ends[1])}{self.last}"
        if self.duplication:
            return f"{where}dup"
        what = "del" if self.deleted else ""
        if self.inserted:
            what += "ins" + "".join(map(name, self.inserted))
        return where + what


@dataclass(frozen=True, slots=True)
class Variant:
    """One mutant: one or more substitutions, sorted by position, or one in-frame indel.

    ``str(variant)`` is its canonical text: ``R175H``, ``R175H;R248Q``, ``K120del``,
    ``K120_S121insA``, ``K120_R122delinsAG``, ``K120dup``; `mutscan.variants.parse_variant` reads it back.

    Examples
    --------
    >>> variant = Variant((Substitution(3, "L", "P"), Substitution(1, "M", "V")))
    >>> str(variant), variant.hgvs
    ('M1V;L3P', 'p.[Met1Val;Leu3Pro]')
    >>> variant.apply("MKLE")
    'VKPE'
    """

    substitutions: tuple[Substitution, ...] = ()
    indel: InFrameIndel | None = field(default=None)

    def __post_init__(self) -> None:
        if bool(self.substitutions) == (self.indel is not None):
            raise ValueError("a variant holds substitutions or one in-frame indel")
        ordered = tuple(sorted(self.substitutions))
        if len({substitution.position for substitution in ordered}) != len(ordered):
            raise ValueError(f"two substitutions at one position: {ordered}")
        object.__setattr__(self, "substitutions", ordered)

    def __str__(self) -> str:
        return str(self.indel) if self.indel else ";".join(map(str, self.substitutions))

    @property
    def hgvs(self) -> str:
        """HGVS: ``p.Arg175His``, ``p.[Arg175His;Arg248Gln]``, ``p.Lys120del``."""
        if self.indel:
            return f"p.{self.indel.hgvs}"
        text = ";".join(substitution.hgvs for substitution in self.substitutions)
        return f"p.{text}" if len(self.substitutions) == 1 else f"p.[{text}]"

    @property
    def file_stem(self) -> str:
        """The canonical text with ``_`` for ``;``, fit for a file name.

        Names too long for a file system end in a digest of the whole text.
        """
        stem = str(self).replace(";", "_")
        if len(stem) <= _LONGEST_STEM:
            return stem
        digest = text_sha256(str(self))[:16]
        return f"{stem[: _LONGEST_STEM - 17]}-{digest}"

    @property
    def positions(self) -> tuple[int, ...]:
        """Positions substituted, deleted or duplicated; an insertion's neighbours. 1-based, ascending."""
        if self.indel:
            return tuple(range(self.indel.first, self.indel.last + 1))
        return tuple(substitution.position for substitution in self.substitutions)

    @property
    def n_substitutions(self) -> int:
        """Number of substitutions, 0 for an indel."""
        return len(self.substitutions)

    @property
    def sites(self) -> tuple[tuple[int, str], ...]:
        """Position and wild-type letter of each residue the notation names."""
        if self.indel:
            return self.indel.sites
        return tuple((one.position, one.wild_type) for one in self.substitutions)

    @property
    def exchanges_start(self) -> bool:
        """Whether the methionine at position 1 is replaced or deleted: in a gene, loss of the start codon."""
        return (1, "M") in self.sites and (self.indel is None or self.indel.start == 1)

    def check(self, sequence: str, *, text: str = "", file_numbers: Mapping[int, str] | None = None) -> None:
        """Whether the variant fits the wild type.

        Parameters
        ----------
        sequence : str
            The wild type, one-letter codes.
        text : str
            The variant as errors name it; in positions when not given.
        file_numbers : mapping of int to str, optional
            Residue number of each position, where the variant was written in those of a structure file.

        Raises
        ------
        VariantError
            ``position_out_of_range``; ``wild_type_mismatch``, naming the residue expected and the one
            found; ``synonymous`` when the inserted residues are the deleted ones; ``unsupported_variant``
            when nothing is left of the protein.
        """
        sites, named, numbers = self.sites, text or _short(self), file_numbers or {}
        beyond = [position for position, _ in sites if position > len(sequence)]
        if beyond:
            raise VariantError(
                f"{named}: position {beyond[0]} is past the end of the wild type, which has "
                f"{len(sequence)} residues; check the numbering and the isoform",
                code="position_out_of_range",
            )
        wrong = [
            f"expected {letter} at {f'residue {numbers[position]}' if numbers else f'position {position}'} "
            f"(as written), the wild type has {sequence[position - 1]}"
            for position, letter in sites
            if sequence[position - 1] != letter
        ]
        if wrong:
            more = f"; and {len(wrong) - _SHOWN_MISMATCHES} more" if len(wrong) > _SHOWN_MISMATCHES else ""
            raise VariantError(
                f"{named}: {'; '.join(wrong[:_SHOWN_MISMATCHES])}{more}; check the numbering and the isoform",
                code="wild_type_mismatch",
            )
        if self.indel and self.indel.deleted:
            if sequence[self.indel.start - 1 : self.indel.end] == self.indel.inserted:
                raise VariantError(
                    f"{named} inserts what it deletes: there is nothing to score",
                    code="synonymous",
                )
            if len(self.indel.deleted) == len(sequence) and not self.indel.inserted:
                raise VariantError(
                    f"{named} deletes the whole protein: there is nothing to score",
                    code="unsupported_variant",
                )

    def apply(self, sequence: str) -> str:
        """Make the mutant's sequence from the wild type's.

        Raises
        ------
        VariantError
            When the variant does not fit the wild type, see `check`.
        """
        self.check(sequence)
        if self.indel:
            before, after = sequence[: self.indel.start - 1], sequence[self.indel.end :]
            inserted = self.indel.inserted
            if self.indel.duplication:
                inserted = before[len(before) - len(inserted) :]
            return before + inserted + after
        residues = list(sequence)
        for substitution in self.substitutions:
            residues[substitution.position - 1] = substitution.mutant
        return "".join(residues)

    def alignment(self, length: int) -> NDArray[np.int64]:
        """Which residue of the mutant is which of the wild type; follows from the edit alone.

        Parameters
        ----------
        length : int
            Residues of the wild type.

        Returns
        -------
        int array, shape (n, 2)
            0-based wild-type and mutant index of each pair, ascending. Substituted residues are
            paired; deleted and inserted ones are absent.

        Raises
        ------
        VariantError
            ``position_out_of_range``.
        """
        if self.positions[-1] > length:
            raise VariantError(
                f"{_short(self)}: position {self.positions[-1]} is past the end of the wild type, which has "
                f"{length} residues; check the numbering and the isoform",
                code="position_out_of_range",
            )
        wild_type = np.arange(length, dtype=np.int64)
        if not self.indel:
            return np.stack([wild_type, wild_type], axis=1)
        shift = len(self.indel.inserted) - len(self.indel.deleted)
        mutant = np.where(wild_type < self.indel.start - 1, wild_type, wild_type + shift)
        kept = (wild_type < self.indel.start - 1) | (wild_type >= self.indel.end)
        return np.stack([wild_type, mutant], axis=1)[kept]


def _short(variant: Variant) -> str:
    text = str(variant)
    return text if len(text) <= 80 else f"{text[:77]}..."
