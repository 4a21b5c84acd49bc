"""Where a residue sits in its protein: as data (`SiteContext`) and as text (column `site_context`).

A cell of the column holds facts joined by ``"; "``, each in one form, in this order; what is not known
is left out:

===================================  =====================================================================
``helix 2 (24-41), last turn``       helix or strand, its number and positions; ``loop (42-49)``
``buried (4 % accessible)``          ``buried``, ``half buried`` or ``exposed``; relative accessibility
``in Globin domain (UniProt)``       a domain and its source; once for each
``at active site 70 (UniProt)``      a site that the residue is part of; once for each
``6 Å from motif 12-15 (UniProt)``   a site in its neighbourhood in space; once for each
``next to motif 12-15 (UniProt)``    a site in its neighbourhood in sequence; the distance is not known
``touches helix 5 (82-95), strand 2``  what its side chain touches
``3 residues from the N-terminus``   or the C-terminus; ``N-terminal residue``
``pLDDT 62``                         confidence of the structure model
===================================  =====================================================================

The cell of a joint mutant names the positions: ``175: ... | 248: ...``. Names hold no commas, semicolons
or pipes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ELEMENT: Final = re.compile(
    r"(?P<element>helix|strand|loop)(?: (?P<number>\d+))?(?: \((?P<first>\d+)(?:-(?P<last>\d+))?\))?"
    r"(?:, (?P<turn>first turn|last turn))?"
)
_BURIAL: Final = re.compile(r"(buried|half buried|exposed)(?: \((\d+) % accessible\))?")
_NAMED: Final = re.compile(r"(.*) \(([^()]*)\)")
_DISTANCE: Final = re.compile(r"(\d+(?:\.\d)?) Å from (.*)")
_END: Final = re.compile(r"\d+ residues? from the [NC]-terminus|[NC]-terminal residue")
_JOINT: Final = re.compile(r"(\d+): (.*)")


@dataclass(frozen=True, slots=True)
class NearSite:
    """A site of a residue's neighbourhood.

    Parameters
    ----------
    name, source : str
        Such as ``binding site 93 (heme)`` of ``UniProt``.
    distance : float
        Å, to 0.1; 0 where the residue is part of the site, NaN where only the sequence is known.
    """

    name: str
    source: str
    distance: float

    def __str__(self) -> str:
        what = f"{self.name} ({self.source})"
        if math.isnan(self.distance):
            return f"next to {what}"
        return f"{self.distance:g} Å from {what}" if self.distance else f"at {what}"


@dataclass(frozen=True, slots=True)
class SiteContext:
    """What is known of the place of a residue; ``str()`` is the cell of `variants.csv`.

    Parameters
    ----------
    element : str
        ``helix``, ``strand`` or ``loop``; empty where the residue has no coordinates.
    number : int
        Of the helix or strand among its kind, from 1; 0 for a loop.
    first, last : int
        Positions of the element or loop, 1-based, inclusive; 0 where unknown.
    turn : str
        ``first turn`` or ``last turn`` of a helix, else empty.
    burial : str
        ``buried``, ``half buried`` or ``exposed``.
    accessibility : float
        Accessible surface over the largest of its kind of residue, 0-1, to 0.01; NaN where unknown.
    domains : tuple of (str, str)
        Name and source.
    sites : tuple of NearSite
        Sites that it is part of, then the near ones, the nearest first.
    touches : tuple of str
        Elements and domains that its side chain touches.
    end : str
        Such as ``3 residues from the N-terminus``; empty further inside.
    plddt : float
        Below 70, to 1; NaN above, and where there is none.
    """

    element: str = ""
    number: int = 0
    first: int = 0
    last: int = 0
    turn: str = ""
    burial: str = ""
    accessibility: float = math.nan
    domains: tuple[tuple[str, str], ...] = ()
    sites: tuple[NearSite, ...] = ()
    touches: tuple[str, ...] = ()
    end: str = ""
    plddt: float = math.nan

    def __str__(self) -> str:
        facts = [
            self._place(),
            self._burial(),
            *(f"in {name} ({source})" for name, source in self.domains),
            *map(str, self.sites),
            f"touches {', '.join(self.touches)}" if self.touches else "",
            self.end,
            "" if math.isnan(self.plddt) else f"pLDDT {self.plddt:.0f}",
        ]
        return "; ".join(filter(None, facts))

    def _place(self) -> str:
        number = f" {self.number}" if self.number else ""
        span = f"{self.first}-{self.last}" if self.last != self.first else f"{self.first}"
        where = f" ({span})" if self.first else ""
        return f"{self.element}{number}{where}{f', {self.turn}' if self.turn else ''}"

    def _burial(self) -> str:
        share = "" if math.isnan(self.accessibility) else f" ({100 * self.accessibility:.0f} % accessible)"
        return f"{self.burial}{share}"


def read_context(text: str) -> SiteContext:
    """Read back what ``str(SiteContext)`` wrote.

    Raises
    ------
    ValueError
        A fact in none of the documented forms.

    Examples
    --------
    >>> context = read_context("helix 2 (24-41), last turn; buried (4 % accessible); pLDDT 62")
    >>> context.number, context.turn, context.accessibility, str(context)[-8:]
    (2, 'last turn', 0.04, 'pLDDT 62')
    """
    known: dict[str, object] = {}
    domains: list[tuple[str, str]] = []
    sites: list[NearSite] = []
    for fact in filter(None, text.split("; ")):
        lead, _, rest = fact.partition(" ")
        if found := _ELEMENT.fullmatch(fact):
            known |= {"element": found["element"], "turn": found["turn"] or ""}
            known |= {"number": int(found["number"] or 0), "first": int(found["first"] or 0)}
            known["last"] = int(found["last"] or found["first"] or 0)
        elif found := _BURIAL.fullmatch(fact):
            known |= {"burial": found[1], "accessibility": int(found[2]) / 100 if found[2] else math.nan}
        elif lead == "in":
            domains.append(_named(rest, fact))
        elif lead == "at":
            sites.append(NearSite(*_named(rest, fact), 0.0))
        elif fact.startswith("next to "):
            sites.append(NearSite(*_named(fact.removeprefix("next to "), fact), math.nan))
        elif found := _DISTANCE.fullmatch(fact):
            sites.append(NearSite(*_named(found[2], fact), float(found[1])))
        elif lead == "touches":
            known["touches"] = tuple(rest.split(", "))
        elif _END.fullmatch(fact):
            known["end"] = fact
        elif lead == "pLDDT" and rest.isdecimal():
            known["plddt"] = float(rest)
        else:
            raise ValueError(_unreadable(fact))
    return SiteContext(**known, domains=tuple(domains), sites=tuple(sites))  # type: ignore[arg-type]


def _named(text: str, fact: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(text)
    if found is None:
        raise ValueError(_unreadable(fact))
    return found[1], found[2]


def _unreadable(fact: str) -> str:
    return f"site_context: {fact!r} is in none of the documented forms; score the variants again"


def write_contexts(contexts: Mapping[int, SiteContext]) -> str:
    """Make the cell of a variant from the contexts of its positions; positions with none are left out."""
    told = {position: text for position, context in contexts.items() if (text := str(context))}
    if len(contexts) == 1:
        return next(iter(told.values()), "")
    return " | ".join(f"{position}: {text}" for position, text in told.items())


def read_contexts(cell: str, positions: Sequence[int] = ()) -> dict[int, SiteContext]:
    """Read the cell of a variant.

    Parameters
    ----------
    cell : str
    positions : sequence of int
        The variant's. The cell of a single substitution does not say its position.

    Raises
    ------
    ValueError
        A fact in none of the documented forms, or a cell without positions when not one is given.

    Examples
    --------
    >>> read_contexts("175: exposed | 248: buried", [175, 248])[248].burial
    'buried'
    >>> read_contexts("exposed", [175])[175].burial
    'exposed'
    """
    if not cell:
        return {}
    if not _JOINT.fullmatch(cell):
        if len(positions) != 1:
            raise ValueError(f"site_context: one position expected for {cell!r}, read {list(positions)}")
        return {positions[0]: read_context(cell)}
    found = {}
    for part in cell.split(" | "):
        joint = _JOINT.fullmatch(part)
        if joint is None:
            raise ValueError(_unreadable(part))
        found[int(joint[1])] = read_context(joint[2])
    return found
