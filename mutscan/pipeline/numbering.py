"""Two numberings of one protein: positions on the sequence, and the residue numbers of its structure file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import bdtrc

from mutscan.variants import Variant, suggest_offset

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from mutscan.structures import WildType

EXPLAINED: Final = 0.8
"""A shift that makes this share of the sites fit is the numbering of the list."""

LUCK: Final = 0.1
"""A shift that fits fewer of the sites is told if unrelated sites would fit one as well less often."""

DOUBTFUL_SITES: Final = 3
"""So many sites that fail as written and fit a shift cast doubt on those that fit as written."""

_SHOWN: Final = 5


@dataclass(frozen=True)
class FileNumbers:
    """Residue numbers of a structure file, with insertion codes, and the positions they stand for.

    Parameters
    ----------
    positions : mapping of str to int
        1-based position of each number, in the order of positions.
    """

    positions: Mapping[str, int]

    @classmethod
    def of(cls, wild_type: WildType) -> FileNumbers:
        """Take them from a protein's structure; those of a gap follow where its ends agree on them."""
        numbers = enumerate(wild_type.structure_numbers, start=1)
        named = [(position, number) for position, number in numbers if number is not None]
        found = {number: position for position, number in named[:1]}
        for (before, first), (after, last) in pairwise(named):
            if _is_plain(first) and _is_plain(last) and int(last) - int(first) == after - before:
                for step in range(1, after - before):
                    found.setdefault(str(int(first) + step), before + step)
            found.setdefault(last, after)
        return cls(found)

    @cached_property
    def number_of(self) -> dict[int, str]:
        """Number of each position that has one."""
        return {position: number for number, position in self.positions.items()}

    @cached_property
    def differ(self) -> bool:
        """Whether a number is not its position."""
        return any(number != str(position) for number, position in self.positions.items())

    @property
    def starts_protein(self) -> bool:
        """Whether position 1 may be the protein's first residue, as far as the file's numbers tell."""
        first = self.number_of.get(1, "1")
        return not _is_plain(first) or int(first) <= 1

    def told(self, variant: Variant) -> str:
        """Say which residues of the file a variant is about; empty where the numbers are the positions."""
        number_of = self.number_of
        sites = dict.fromkeys(position for position, _ in variant.sites)
        pairs = [(number_of[p], str(p)) for p in sites if number_of.get(p, str(p)) != str(p)]
        if not pairs:
            return ""
        numbers, positions = (_listed([pair[side] for pair in pairs]) for side in (0, 1))
        if len(pairs) == 1:
            return f"residue {numbers} of the file is position {positions}"
        return f"residues {numbers} of the file are positions {positions}"

    def reading(self, variant: Variant) -> tuple[int, ...] | None:
        """Positions of the sites if the variant is written in the file's numbers; None where one is none."""
        found = [self.positions.get(str(position)) for position, _ in variant.sites]
        return None if None in found else tuple(p for p in found if p is not None)

    def fits(self, variant: Variant, sequence: str) -> bool:
        """Whether the variant fits the wild type if it is written in the file's numbers."""
        read = self.reading(variant)
        return read is not None and all(
            sequence[place - 1] == letter for place, (_, letter) in zip(read, variant.sites, strict=True)
        )

    def other_reading(self, variant: Variant, sequence: str) -> str:
        """Say what else a variant that fits by position could mean; empty if nothing."""
        read, written = self.reading(variant), [position for position, _ in variant.sites]
        if read is None or [*read] == written or not self.fits(variant, sequence):
            return ""
        other = [(w, letter, p) for (w, letter), p in zip(variant.sites, read, strict=True) if w != p]
        told = ", ".join(f"residue {w} is also {letter} (position {p})" for w, letter, p in other[:_SHOWN])
        return (
            f"read as position {_listed([str(p) for p in written])}, but the file's own {told}: use "
            "--numbering author for the file's numbers"
        )


@dataclass(frozen=True)
class Shift:
    """How a list of variants seems to be numbered, where that is not as it is read.

    Parameters
    ----------
    words : str
        For the rows that do not fit.
    doubtful : frozenset of Variant
        Variants as written that fit by chance: as the others say, another residue is meant.
    doubt : str
        For these.
    """

    words: str
    doubtful: frozenset[Variant] = frozenset()
    doubt: str = ""


def find_shift(
    fitting: Sequence[Variant], failing: Sequence[Variant], sequence: str, numbers: FileNumbers
) -> Shift | None:
    """Find out whether variants are written in another numbering than that of the sequence.

    Parameters
    ----------
    fitting, failing : sequence of Variant
        As written: those that fit the wild type, and those that do not or are past its end.
    sequence : str
        The wild type.
    numbers : FileNumbers
        Of its structure file.
    """
    everyone = [*fitting, *failing]
    failed_sites = _sites(failing)
    offset = suggest_offset(everyone, sequence, share=EXPLAINED)
    if offset is None:  # unrelated rows among them may hide it
        offset = suggest_offset(failing, sequence, share=0)
        fitted = 0 if offset is None else len(_sites(v for v in failing if _fits(v, sequence, offset)))
        if len(sequence) * _luck(failed_sites, fitted, sequence) >= LUCK:
            offset = None
    shifted = set() if offset is None else {v for v in everyone if _fits(v, sequence, offset)}
    in_file = {v for v in everyone if numbers.fits(v, sequence)}
    own = [variant for variant in failing if variant in in_file]
    as_file = numbers.differ and (
        len(own) == len(failing)
        or (
            len(in_file) > len(fitting)
            and len(in_file) >= len(shifted)
            and _luck(failed_sites, len(_sites(own)), sequence) < LUCK
        )
    )
    moved = {v for v in fitting if as_file and v in in_file and not _stays(v, numbers)}
    if as_file and len(failed_sites) + len(moved) > 1:
        # Another shift may fit a few letters by chance.
        moves = {numbers.positions.get(str(p), 0) - p for variant in own for p, _ in variant.sites}
        shift = f" (shifted by {offset:+d})" if offset is not None and moves == {offset} else ""
        which = "all variants" if len(moved) == len(fitting) else "all variants that fail"
        if len(own) < len(failing):
            which = f"{len(in_file)} of {len(everyone)} variants"
        words = f"{which} would match as the structure file's own residue numbers{shift}"
        hint = f"; {words}: use --numbering author"
        against = sum(variant not in in_file for variant in fitting)
        sure = len(_sites(own)) > 1 and against <= (1 - EXPLAINED) * len(everyone)
    elif as_file and own:
        ((position, letter),) = failed_sites
        return Shift(
            f"; the file's own residue {position} is {letter}: use --numbering author if that is meant"
        )
    elif offset is not None:
        which = "all" if len(shifted) == len(everyone) else f"{len(shifted)} of {len(everyone)}"
        moved = {v for v in fitting if v in shifted}
        words = f"{which} variants would match with their positions shifted by {offset:+d}"
        hint = f"; {words}: are they numbered on another isoform, a precursor or a structure file?"
        failed_sites = _sites(variant for variant in failing if variant in shifted)
        sure = len(failed_sites) >= DOUBTFUL_SITES and len(shifted) > len(fitting)
    else:
        return None
    doubt = f"matches as written, but perhaps by chance, since {words}"
    return Shift(hint, frozenset(moved) if sure else frozenset(), doubt)


def _sites(variants: Iterable[Variant]) -> set[tuple[int, str]]:
    return {site for variant in variants for site in variant.sites}


def _luck(sites: Collection[tuple[int, str]], fitted: int, sequence: str) -> float:
    """Probability that so many of some sites, or more, fit a place of the sequence taken at random."""
    share = np.mean([sequence.count(letter) for _, letter in sites]) / len(sequence)
    return float(bdtrc(fitted - 1, len(sites), share))


def _stays(variant: Variant, numbers: FileNumbers) -> bool:
    return numbers.reading(variant) == tuple(position for position, _ in variant.sites)


def _fits(variant: Variant, sequence: str, offset: int) -> bool:
    return all(
        0 <= position - 1 + offset < len(sequence) and sequence[position - 1 + offset] == letter
        for position, letter in variant.sites
    )


def _is_plain(number: str) -> bool:
    return number.removeprefix("-").isdigit()


def _listed(texts: Sequence[str]) -> str:
    shown = [*texts[:_SHOWN], "..."] if len(texts) > _SHOWN else [*texts]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
