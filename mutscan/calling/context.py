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
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.calling.naming import LOW_PLDDT, element_name, point_name
from mutscan.calling.sites import CONTACT_CA, KINDS, FunctionalSites
from mutscan.residues import THREE_LETTER
from mutscan.structures import HEAVY_ATOMS, plddt_by_position
from mutscan.structures.segments import runs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.calling.naming import Namer
    from mutscan.structures import Feature, Structure, WildType
    from mutscan.structures.segments import Element
    from mutscan.variants import Variant

BURIED: Final = 0.05
"""Relative accessibility below which a residue is buried (Miller et al., J. Mol. Biol. 196, 641 (1987))."""

EXPOSED: Final = 0.25
"""Relative accessibility from which it is exposed (Levy, J. Mol. Biol. 403, 660 (2010))."""

BONDS: Final = ("Disulfide bond", "Cross-link")
"""Kinds that join two residues, each of which has a feature that names the other."""

PACKED: Final = (25, 18)
"""C-alpha atoms within 10 Å of where a C-beta atom points (2.4 Å out), from which a residue is buried,
and half buried. Of 8,245 residues of experimental chains, 75 % fall into the class that `BURIED` and
`EXPOSED` give, 0.5 % are buried by one and exposed by the other."""

TOUCH: Final = 4.5
"""Å between heavy atoms of a side chain and of what it touches."""

NEIGHBOURS: Final = 3
"""Residues in sequence that do not count as touched."""

TURN: Final = 4
"""Residues of a helix's first and last turn (3.6 a turn)."""

NEAR_END: Final = 5
"""Residues from an end of the chain, up to which that is said."""

LISTED: Final = 4
"""Near sites, and touched elements, that are named."""

_APART: Final = 0.1
"""Share of a chain's residues whose surfaces are worked out one by one before all are at once, which takes
about as long."""

_REACH: Final = 6.8
"""Å; atoms further apart hide nothing of each other's surface (radii at most 2.0, probe 1.4)."""

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


class SiteContexts:
    """Says where residues of one wild type sit.

    The structure is one chain without ligands, ions, water, membrane and partner chains: a residue at
    an interface counts as exposed, and what binds is seen by the sites that UniProt knows alone. Contacts
    are those of side chains; glycine has its C-alpha atom for one. Secondary structure and compact
    domains are the namer's; 3-10 helices and strands of two residues are loops there.

    Accessibility is Shrake-Rupley's (Bio.PDB, 100 points) over the maxima of Tien et al., PLoS ONE 8,
    e80635 (2013); a residue whose side chain is missing or incomplete is judged by how many C-alpha
    atoms surround it.

    Parameters
    ----------
    wild_type : WildType
    namer : Namer
        Of the same wild type.

    Attributes
    ----------
    sites : FunctionalSites
    """

    def __init__(self, wild_type: WildType, namer: Namer) -> None:
        self._wild_type = wild_type
        self._namer = namer
        self.sites = FunctionalSites(wild_type)
        self._atoms = self.sites.atoms
        self._plddt = plddt_by_position(wild_type)
        self._found: dict[int, SiteContext] = {}

    def of(self, variant: Variant) -> str:
        """Cell of a variant; empty for an indel and where nothing is known."""
        if variant.indel is not None:
            return ""
        return write_contexts({position: self.at(position) for position in variant.positions})

    def at(self, position: int) -> SiteContext:
        """Context of a residue (1-based); kept, so that asking again costs nothing."""
        if position not in self._found:
            self._found[position] = self._context(position - 1)
        return self._found[position]

    def _context(self, index: int) -> SiteContext:
        homes = tuple((_plain(place.name), place.source) for place in self._namer.homes(index))
        sites = self._near_sites(index)
        end = self._end(index) if self._wild_type.structure is not None else ""
        if not self._atoms.known[index]:
            return SiteContext(domains=homes, sites=sites, end=end)
        plddt = math.nan if self._plddt is None else float(np.rint(self._plddt[index]))
        accessibility = self._accessibility(index)
        return SiteContext(
            *self._element(index),
            burial=self._burial(index, accessibility),
            accessibility=accessibility,
            domains=homes,
            sites=sites,
            touches=self._touches(index),
            end=end,
            plddt=plddt if plddt < LOW_PLDDT else math.nan,
        )

    def _end(self, index: int) -> str:
        before, after = index, len(self._wild_type.sequence) - 1 - index
        count, end = min((before, "N"), (after, "C"))
        if count > NEAR_END:
            return ""
        return (
            f"{count} residue{'s' if count > 1 else ''} from the {end}-terminus"
            if count
            else f"{end}-terminal residue"
        )

    # Sites

    def _near_sites(self, index: int) -> tuple[NearSite, ...]:
        around = self.sites.around(index)
        at = [feature for feature, distance in around if distance == 0.0]
        own = {_purpose(feature) for feature in at}
        near: dict[tuple[str, str], tuple[Feature, float]] = {}
        for feature, distance in sorted(around, key=lambda one: (one[0].kind not in KINDS, one[1])):
            if _purpose(feature) not in own:
                near.setdefault(_purpose(feature), (feature, distance))
        told = [(feature, 0.0) for feature in at]
        told += sorted(list(near.values())[:LISTED], key=lambda one: one[1])
        told += [(feature, math.nan) for feature in self.sites.beside(index)[:LISTED]]
        return tuple(
            NearSite(_plain(point_name(feature)), feature.source, round(distance, 1))
            for feature, distance in told
        )

    # Secondary structure

    def _element(self, index: int) -> tuple[str, int, int, int, str]:
        """Kind, number, first and last position, and turn."""
        element = self._element_of[index]
        if element is None:
            first, last = next(run for run in self._loops if run[0] <= index <= run[1])
            return "loop", 0, first + 1, last + 1, ""
        turn = ""
        if element.kind == "helix":
            before, after = index - element.first, element.last - index
            if min(before, after) < TURN:
                turn = "first turn" if before <= after else "last turn"
        return element.kind, element.number, element.first + 1, element.last + 1, turn

    @cached_property
    def _element_of(self) -> list[Element | None]:
        of: list[Element | None] = [None] * len(self._wild_type.sequence)
        for element in self._namer.elements:
            of[element.first : element.last + 1] = [element] * (element.last - element.first + 1)
        return of

    @cached_property
    def _loops(self) -> list[tuple[int, int]]:
        return runs(self._atoms.known & np.array([element is None for element in self._element_of]))

    # Burial

    def _burial(self, index: int, accessibility: float) -> str:
        if math.isnan(accessibility):
            ca = self._atoms.ca
            outward = np.zeros(3)
            if 0 < index < len(ca) - 1:
                outward = 2 * ca[index] - ca[index - 1] - ca[index + 1]
            size = float(np.linalg.norm(outward))
            toward = outward / size if 0.0 < size else np.zeros(3)
            around = len(self._ca_tree.query_ball_point(ca[index] + 2.4 * np.nan_to_num(toward), 10.0))
            return "buried" if around >= PACKED[0] else "half buried" if around >= PACKED[1] else "exposed"
        return "buried" if accessibility < BURIED else "half buried" if accessibility < EXPOSED else "exposed"

    @cached_property
    def _ca_tree(self) -> cKDTree:
        return cKDTree(self._atoms.ca[self._atoms.known])

    def _accessibility(self, index: int) -> float:
        """Relative accessibility to 0.01; NaN where the side chain is not whole."""
        from Bio.Data.PDBData import residue_sasa_scales

        structure, place = self._wild_type.structure, self._wild_type.structure_index
        assert structure is not None
        assert place is not None  # asked of resolved residues only
        residue = int(place[index])
        letter = structure.sequence[residue]
        if not {*HEAVY_ATOMS.get(letter, ("?",))} <= {*structure.atom_name[structure.atoms_of(residue)]}:
            return math.nan
        largest = float(residue_sasa_scales["Wilke"][THREE_LETTER[letter]])
        return round(min(self._surfaces.of(residue) / largest, 1.0), 2)

    @cached_property
    def _surfaces(self) -> _Surfaces:
        assert self._wild_type.structure is not None
        return _Surfaces(self._wild_type.structure)

    # Contacts

    def _touches(self, index: int) -> tuple[str, ...]:
        atoms = self._atoms
        if atoms.has_side[index]:
            mine = atoms.coord[atoms.side & (atoms.owner == index)]
            pairs = [pair for found in atoms.tree.query_ball_point(mine, TOUCH) for pair in found]
            touched = atoms.owner[pairs]
        else:
            apart = np.linalg.norm(atoms.ca - atoms.ca[index], axis=1)
            touched = np.flatnonzero(apart <= CONTACT_CA)
        touched = touched[np.abs(touched - index) > NEIGHBOURS]
        own = self._element_of[index]
        count: Counter[tuple[int, str]] = Counter()
        for other, atoms_there in Counter(touched.tolist()).items():
            element, body = self._element_of[other], self._namer.body(other)
            if element is not None and element is not own:
                count[element.first, element_name(element)] += atoms_there
            if body is not None and not body.holds(index):
                count[len(atoms.ca), _plain(body.name)] += atoms_there
        most = sorted(count, key=lambda key: (-count[key], key))[:LISTED]
        return tuple(name for _, name in sorted(most))


class _Surfaces:
    """Accessible surface of residues, Å²: the first one by one, then that of the whole chain at once."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        self._heavy = np.flatnonzero(np.array(structure.element) != "H")
        self._asked = 0

    def of(self, residue: int) -> float:
        self._asked += 1
        if self._asked > _APART * len(self._structure):
            return float(self._whole[residue])
        atoms = self._heavy[self._structure.residue_index[self._heavy] == residue]
        around = self._tree.query_ball_point(self._structure.coord[atoms], _REACH)
        return float(self._by_residue(self._heavy[sorted({k for found in around for k in found})])[residue])

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._structure.coord[self._heavy])

    @cached_property
    def _whole(self) -> NDArray[np.float64]:
        return self._by_residue(self._heavy)

    def _by_residue(self, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Surface of each residue, shape (L,), of a body made of some atoms."""
        from Bio.PDB.Atom import Atom
        from Bio.PDB.Residue import Residue
        from Bio.PDB.SASA import ShrakeRupley

        body = Residue((" ", 1, " "), "UNK", "")
        for number in atoms.tolist():
            element = self._structure.element[number].upper()
            body.add(
                Atom(str(number), self._structure.coord[number], 0.0, 1.0, " ", str(number), number, element)
            )
        ShrakeRupley().compute(body)
        surface = np.zeros(len(self._structure))
        np.add.at(surface, self._structure.residue_index[atoms], [atom.sasa for atom in body])
        return surface


def _purpose(feature: Feature) -> tuple[str, str]:
    """Equal for residues that do one thing together, of which the nearest stands for all."""
    if feature.kind in BONDS:
        partner = feature.description.rpartition("to ")[2]
        return feature.kind, "-".join(sorted((str(feature.start), partner)))
    return feature.kind, feature.description or str(feature.start)


def _plain(name: str) -> str:
    """Name without the marks that part facts and variants: ``Zn(2+), catalytic`` gets a slash."""
    return re.sub(r"\s*[,;|](\s*)", lambda mark: " / " if mark[1] else "/", name)
