"""Affected regions of a saved run, and their positions in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class AffectedRegion:
    """One affected region of a variant, a row of affected.parquet.

    Parameters
    ----------
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive.
    name, source : str
        What it lies in and who says so; empty where nobody does.
    drop : float
        Mean lDDT drop.
    evidence : str
        ``predicted`` or ``measured``.
    remarks : tuple of str
        What else to know: low pLDDT, functional residues nearby.
    """

    stretches: tuple[tuple[int, int], ...]
    name: str
    source: str
    drop: float
    evidence: str
    remarks: tuple[str, ...] = ()


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
    """Write positions as ``residues 170-178 and 241-245``; of many stretches the first ones.

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
