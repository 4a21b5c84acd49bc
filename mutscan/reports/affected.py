"""Regions of a saved run, and their positions in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class AffectedRegion:
    """What a variant does to one named region: a row of regions.parquet.

    Parameters
    ----------
    name, kind, source : str
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive.
    drop, z, measured_drop : float
        Mean predicted lDDT drop, its z against the null, mean measured lDDT drop; NaN where not known.
    distance : float, Å
        Smallest C-alpha distance to a changed residue; NaN where not known.
    disturbed : bool
        The drop is beyond its background.
    """

    name: str
    kind: str
    source: str
    stretches: tuple[tuple[int, int], ...]
    drop: float
    z: float
    measured_drop: float
    distance: float
    disturbed: bool

    @property
    def positions(self) -> str:
        """Positions as text: ``3-60, 141``."""
        return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in self.stretches)


def read_stretches(positions: str) -> tuple[tuple[int, int], ...]:
    """Read positions as regions.parquet writes them.

    Examples
    --------
    >>> read_stretches("3-60,141")
    ((3, 60), (141, 141))
    """
    ends = (part.partition("-") for part in positions.split(","))
    return tuple((int(first), int(last or first)) for first, _, last in ends)


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
        more = "1 more stretch" if len(spans) == most + 1 else f"{len(spans) - most} more stretches"
        return f"residues {', '.join(spans[:most])} and {more}"
    listed = " and ".join(filter(None, (", ".join(spans[:-1]), spans[-1])))
    return f"residue{'' if single else 's'} {listed}"
