"""The `affected_regions` cell of variants.csv, read back: stretches, name, drop, and how it is known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_DROP: Final = re.compile(r"mean lDDT drop (\S+)")
_STRETCH: Final = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, slots=True)
class AffectedRegion:
    """One affected region of a variant.

    Parameters
    ----------
    text : str
        As the cell has it.
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive.
    name, source : str
        What it lies in and who says so; empty where nobody does.
    drop : float or None
        Mean lDDT drop.
    evidence : str
        ``predicted`` or ``measured``; empty where not said.
    remarks : tuple of str
        Whatever else is said: low pLDDT, functional residues nearby.
    """

    text: str
    stretches: tuple[tuple[int, int], ...]
    name: str = ""
    source: str = ""
    drop: float | None = None
    evidence: str = ""
    remarks: tuple[str, ...] = ()


def read_regions(cell: str) -> tuple[AffectedRegion, ...]:
    """Read an `affected_regions` cell.

    Examples
    --------
    >>> cell = "41-43,50 (loop to helix 3 (59-79), structure; mean lDDT drop 0.015; predicted)"
    >>> (region,) = read_regions(cell)
    >>> region.stretches, region.name, region.source, region.drop, region.evidence
    (((41, 43), (50, 50)), 'loop to helix 3 (59-79)', 'structure', 0.015, 'predicted')
    """
    return tuple(_region(part) for part in _split(cell) if part)


def _region(text: str) -> AffectedRegion:
    where, bracket, rest = text.partition(" (")
    stretches = tuple(
        (int(match[1]), int(match[2] or match[1])) for match in _STRETCH.finditer(where if bracket else text)
    )
    name = source = evidence = ""
    drop: float | None = None
    remarks: list[str] = []
    for place, said in enumerate(_split(rest.removesuffix(")"))):
        found = _DROP.fullmatch(said)
        if found is not None:
            drop = _number(found[1])
        elif said in ("predicted", "measured"):
            evidence = said
        elif place == 0:
            name, _, source = said.rpartition(", ")
            name, source = (name, source) if name else (said, "")
        elif said:
            remarks.append(said)
    return AffectedRegion(text, stretches, name, source, drop, evidence, tuple(remarks))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _split(text: str) -> list[str]:
    """Split at semicolons that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += (letter in "([") - (letter in ")]")
        if letter == ";" and depth <= 0:
            parts.append(text[start:place].strip())
            start = place + 1
    parts.append(text[start:].strip())
    return parts


def join_stretches(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge stretches that overlap or touch, ascending.

    Examples
    --------
    >>> join_stretches([(5, 9), (1, 3), (8, 12), (4, 4)])
    [(1, 12)]
    """
    joined: list[tuple[int, int]] = []
    for first, last in sorted(stretches):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def in_words(stretches: Iterable[tuple[int, int]], most: int = 4) -> str:
    """Say positions as in ``residues 170-178 and 241-245``; of many stretches the first ones.

    Examples
    --------
    >>> in_words([(170, 178), (241, 245)]), in_words([(7, 7)])
    ('residues 170-178 and 241-245', 'residue 7')
    """
    spans = [f"{first}-{last}" if first != last else str(first) for first, last in stretches]
    if not spans:
        return ""
    single = len(spans) == 1 and "-" not in spans[0]
    if len(spans) > most:
        return f"residues {', '.join(spans[:most])} and {len(spans) - most} more stretches"
    listed = " and ".join(filter(None, (", ".join(spans[:-1]), spans[-1])))
    return f"residue{'' if single else 's'} {listed}"
