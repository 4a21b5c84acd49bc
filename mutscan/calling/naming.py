"""Names for places in a protein: UniProt's, TED's, InterPro's, else what the structure itself shows.

Every name carries its source. UniProt comes first, then TED, then InterPro;
where none of them has a word for a place, it is named after the helices,
strands and compact domains found in the structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.structures.segments import compact_domains, describe_stretches, runs, secondary_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Feature
    from mutscan.structures.segments import Element

STRUCTURE: Final = "structure"
"""Source of names made from the structure's own shape."""

SOURCES: Final = ("UniProt", "TED", "InterPro")
"""Databases in the order in which they are asked; others come after them."""

POINTS: Final = frozenset({"Active site", "Binding site", "Disulfide bond"})
"""Kinds of residues that do the work; they name a place that has them and lies in nothing larger."""

NAMELESS: Final = frozenset({"Site", "Modified residue", "Glycosylation", "Lipidation", "Cross-link"})
"""Kinds of single residues that give no name: being modified says little about a place."""

SITES: Final = POINTS | NAMELESS | {
    "Motif", "Active site signature", "Binding site signature", "Conserved site",
}  # fmt: skip
"""Kinds of places that are sites whatever their size; the names of others are those of domains."""

BODIES: Final = frozenset({"Domain", "DNA binding"})
"""Kinds of places that are bodies, which a residue of another one may touch."""

SHORT: Final = 20
"""Residues up to which a DNA-binding stretch or a region with a purpose is a site too."""

LONG_LOOP: Final = 25
"""Residues between two helices or strands from which what lies there is named by the nearer of them."""

LISTED: Final = 3
"""Helices and strands named one by one; of more, the first and the last are."""


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """A named part of a protein of L residues: its stretches (1-based, inclusive) and mask, shape (L,)."""

    name: str
    kind: str
    source: str
    stretches: tuple[tuple[int, int], ...]
    mask: NDArray[np.bool_]
    size: int


class Namer:
    """Finds names for places in one wild type.

    Parameters
    ----------
    length : int
        Residues L of the wild-type sequence.
    features : sequence of Feature
        On the wild-type sequence. Features of one database other than UniProt that share kind and
        description are the stretches of one place.
    ca : float array, shape (L, 3), Å, optional
        C-alpha coordinates laid out on the sequence, NaN where unresolved.
    plddt : float array, shape (L,), optional
    """

    def __init__(
        self,
        length: int,
        features: Sequence[Feature] = (),
        *,
        ca: NDArray[np.float64] | None = None,
        plddt: NDArray[np.float64] | None = None,
    ) -> None:
        self._length = length
        self._ca = ca
        self._plddt = plddt
        whole = [feature for feature in features if feature.kind not in NAMELESS]
        self._points = [feature for feature in whole if feature.kind in POINTS]
        self._places = _places([feature for feature in whole if feature.kind not in POINTS], length)
        self._larger = _places([feature for feature in features if not is_site(feature)], length)
        self._used: dict[tuple[str, str], str] = {}

    @property
    def used(self) -> list[dict[str, str]]:
        """Every name given so far: name, source, and the positions that carry it."""
        return [
            {"name": name, "source": source, "positions": positions}
            for (name, source), positions in sorted(self._used.items())
        ]

    def name(self, indices: NDArray[np.int64]) -> tuple[str, str]:
        """Name and source of a place; both empty where nothing is known of it.

        The smallest place that holds at least half of the residues, of the first database that has
        one; else, of UniProt's single residues, those within; else helices, strands and domain of the
        structure.

        Parameters
        ----------
        indices : int array
            0-based, ascending.
        """
        found = self._from_databases(indices) or self._from_structure(indices)
        if found is None:
            return "", ""
        name, source, positions = found
        self._used[name, source] = positions
        return name, source

    @cached_property
    def bodies(self) -> tuple[Place, ...]:
        """Domains in the order of the databases, the smallest first.

        Where no database names any: the compact domains of the structure, if there are several.
        """
        named = [place for place in self._larger if place.kind in BODIES]
        named.sort(key=lambda place: (_rank(place.source), place.size, place.stretches, place.name))
        if named or len(self.domains) < 2:
            return tuple(named)
        return tuple(
            _place(f"domain {number}", "compact domain", STRUCTURE, stretches, self._length)
            for number, stretches in enumerate(self.domains, start=1)
        )

    def body(self, index: int) -> Place | None:
        """First of the `bodies` that holds a residue (0-based)."""
        return next((place for place in self.bodies if place.mask[index]), None)

    def homes(self, index: int) -> list[Place]:
        """Domain of a residue (0-based) and the smallest of the other stretches that hold it.

        Other stretches are UniProt's; without a domain, those of the first database that has any.
        """
        body = self.body(index)
        others = [place for place in self._larger if place.kind not in BODIES and place.mask[index]]
        others.sort(key=lambda place: (_rank(place.source), place.size, place.stretches, place.name))
        if body is None:
            return [place for place in others if place.source == others[0].source][:LISTED]
        return [body, *(place for place in others if place.source == SOURCES[0])][:LISTED]

    def _from_databases(self, indices: NDArray[np.int64]) -> tuple[str, str, str] | None:
        for source in dict.fromkeys((*SOURCES, *(place.source for place in self._places))):
            covering = [
                place
                for place in self._places
                if place.source == source and 2 * int(place.mask[indices].sum()) >= len(indices)
            ]
            if covering:
                best = min(covering, key=lambda p: (p.size, p.stretches, p.name))
                return best.name, source, describe_stretches(best.stretches)
            inside = [
                feature
                for feature in self._points
                if feature.source == source
                and np.isin(np.arange(feature.start - 1, feature.end), indices).any()
            ]
            if inside:
                told = list(dict.fromkeys(point_name(feature) for feature in inside))
                more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
                spans = [(feature.start, feature.end) for feature in inside]
                return f"around {', '.join(told[:LISTED])}{more}", source, describe_stretches(spans)
        return None

    # From the structure

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """Helices and strands, indices on the sequence."""
        return () if self._ca is None else secondary_structure(self._ca)

    @cached_property
    def domains(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Stretches (1-based) of each compact domain; empty where none was found."""
        if self._ca is None:
            return ()
        return tuple(
            tuple((first + 1, last + 1) for first, last in domain.stretches)
            for domain in compact_domains(self._ca, self._plddt)
        )

    def _from_structure(self, indices: NDArray[np.int64]) -> tuple[str, str, str] | None:
        if self._ca is None or not np.isfinite(self._ca[indices]).all(axis=1).any():
            return None
        inside = set(indices.tolist())
        touched = [
            element
            for element in self.elements
            # Two residues at an element's end are no reason to name it.
            if len(inside.intersection(range(element.first, element.last + 1))) >= 3
        ]
        if touched:
            words = [element_name(element) for element in touched]
            name = " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
            if len(touched) > LISTED:
                name = f"{len(touched)} helices and strands from {words[0]} to {words[-1]}"
                if len({element.kind for element in touched}) == 1:
                    plural = "helices" if touched[0].kind == "helix" else "strands"
                    name = f"{len(touched)} {plural} from {words[0]} to {words[-1]}"
            spans = [(element.first + 1, element.last + 1) for element in touched]
        else:
            held = np.zeros(self._length, dtype=bool)
            held[indices] = True
            loops = list(dict.fromkeys(self._loop(first, last) for first, last in runs(held)))
            more = f" and {len(loops) - LISTED} more" if len(loops) > LISTED else ""
            name = " and ".join(loops[:LISTED]) + more
            spans = [(first + 1, last + 1) for first, last in runs(held)]
        home = self._home(inside)
        return f"{name}{home}", STRUCTURE, describe_stretches(spans)

    def _loop(self, first: int, last: int) -> str:
        before = [element for element in self.elements if (element.first + element.last) / 2 < first]
        after = [element for element in self.elements if (element.first + element.last) / 2 > last]
        if before and after:
            start, end = before[-1], after[0]
            if end.first - start.last > LONG_LOOP:  # naming both ends would place it nowhere
                near_start = first - start.last <= end.first - last
                return (
                    f"coil after {element_name(start)}" if near_start else f"coil before {element_name(end)}"
                )
            return f"loop from {element_name(start)} to {element_name(end)}"
        if before:
            return f"loop after {element_name(before[-1])}"
        return f"loop before {element_name(after[0])}" if after else "coil"

    def _home(self, inside: set[int]) -> str:
        """Name the compact domain that holds most of it, where there are several."""
        if len(self.domains) < 2:
            return ""
        shares = [
            sum(len(inside.intersection(range(first - 1, last))) for first, last in stretches)
            for stretches in self.domains
        ]
        most = int(np.argmax(shares))
        if 2 * shares[most] < len(inside):
            return ""
        return f" of domain {most + 1} [{describe_stretches(self.domains[most])}]"


def is_site(feature: Feature) -> bool:
    """Whether a feature is a site: a residue of note, a motif, or another short stretch with a purpose."""
    if feature.kind in SITES:
        return True
    short = feature.end - feature.start < SHORT and feature.description != "Disordered"
    return short and feature.kind in ("DNA binding", "Region")


def point_name(feature: Feature) -> str:
    """Call a site by kind, position and what UniProt says of it.

    Examples
    --------
    >>> from mutscan.structures import Feature
    >>> point_name(Feature("Binding site", "Zn(2+); catalytic", 94, 94, "UniProt"))
    'binding site 94 (Zn(2+), catalytic)'
    """
    where = describe_stretches([(feature.start, feature.end)])
    said = _clean(feature.description)
    return f"{feature.kind.lower()} {where}" + (f" ({said})" if said else "")


def _clean(text: str) -> str:
    """Text without the semicolons that part a region from the next."""
    return ", ".join(part.strip() for part in text.split(";") if part.strip())


def element_name(element: Element) -> str:
    """Call a helix or strand by kind, number and positions: ``helix 2 (24-41)``."""
    return f"{element.kind} {element.number} ({element.first + 1}-{element.last + 1})"


def _places(features: Sequence[Feature], length: int) -> list[Place]:
    parts: dict[tuple[object, ...], list[Feature]] = {}
    for number, feature in enumerate(features):
        alone = number if feature.source == "UniProt" else -1
        parts.setdefault((feature.source, feature.kind, feature.description, alone), []).append(feature)
    return [
        _place(
            _place_name(group[0]),
            group[0].kind,
            group[0].source,
            tuple(sorted((feature.start, feature.end) for feature in group)),
            length,
        )
        for group in parts.values()
    ]


def _place(name: str, kind: str, source: str, stretches: tuple[tuple[int, int], ...], length: int) -> Place:
    mask = np.zeros(length, dtype=bool)
    for first, last in stretches:
        mask[first - 1 : last] = True
    return Place(name, kind, source, stretches, mask, int(mask.sum()))


def _rank(source: str) -> int:
    return SOURCES.index(source) if source in SOURCES else len(SOURCES)


def _place_name(feature: Feature) -> str:
    """Join description and kind: ``SH3 domain``, ``Helical transmembrane``."""
    said = _clean(feature.description)
    kind = "DNA-binding region" if feature.kind == "DNA binding" else feature.kind
    if not said:
        return kind
    # A word such as "SH3" or "WD 1" says little without its kind.
    # Other databases name their domains in full.
    if feature.source != "UniProt" or kind == "Region" or kind.lower() in said.lower():
        return said
    return f"{said} {kind[0].lower() if kind[1].islower() else kind[0]}{kind[1:]}"
