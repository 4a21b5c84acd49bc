"""The named regions of a protein: UniProt's, TED's, InterPro's, and those the structure itself shows.

Every name carries its source. Databases name domains, motifs and functional sites; the structure gives
helices, strands, the loops between them, and compact domains where there is more than one.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.structures.segments import compact_domains, describe_stretches, runs, secondary_structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Feature
    from mutscan.structures.segments import Element

STRUCTURE: Final = "structure"
"""Source of regions read from the structure's own shape."""

SEQUENCE: Final = "sequence"
"""Source of the segments of a protein without a structure."""

SOURCES: Final = ("UniProt", "TED", "InterPro")
"""Databases in the order in which they are asked; others come after them."""

WORKING: Final = frozenset({"Active site", "Binding site", "Metal binding", "Disulfide bond", "Site"})
"""Kinds of residues that do the work; with all that lies within 5 Å they are a region."""

MARKS: Final = frozenset({"Modified residue", "Glycosylation", "Lipidation", "Cross-link"})
"""Kinds of single residues that are no region: being modified says little about a place."""

SITES: Final = WORKING | MARKS | {
    "Motif", "Active site signature", "Binding site signature", "Conserved site",
}  # fmt: skip
"""Kinds of places that are sites whatever their size."""

BODIES: Final = frozenset({"Domain", "DNA binding"})
"""Kinds of places that are bodies, which a residue of another one may touch."""

SHORT: Final = 20
"""Residues up to which a DNA-binding stretch or a region with a purpose is a site too."""

MOTIFS: Final = frozenset({"Zinc finger", "Repeat"})
"""Kinds of stretches that are smaller than a domain."""

WHOLE: Final = frozenset({"Chain", "Helix", "Beta strand", "Turn"})
"""Kinds that name the whole chain, or what the structure shows itself."""

LISTED: Final = 3
"""Domains and stretches that one residue is said to lie in."""

LEAST_LOOP: Final = 4
"""Residues of the shortest loop that is a region."""

SEGMENT: Final = 20
"""Residues of the segments that a protein is cut into where nothing else is known of it."""

LOW_PLDDT: Final = 70.0
"""Confidence below which a model's residues move arbitrarily (AlphaFold DB's own boundary)."""


@dataclass(frozen=True, eq=False, slots=True)
class Region:
    """A named region of a protein.

    Parameters
    ----------
    name, kind, source : str
        `kind` is ``domain``, ``region``, ``motif``, ``site``, ``helix``, ``strand``, ``loop``, ``compact
        domain`` or ``segment``.
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive, ascending.
    low_confidence : bool
        Mean pLDDT below 70.
    """

    name: str
    kind: str
    source: str
    stretches: tuple[tuple[int, int], ...]
    low_confidence: bool = False

    @property
    def indices(self) -> NDArray[np.int64]:
        """Residues, 0-based, ascending."""
        return np.concatenate([np.arange(first - 1, last) for first, last in self.stretches])

    @property
    def size(self) -> int:
        """Count the residues."""
        return sum(last - first + 1 for first, last in self.stretches)

    def holds(self, index: int) -> bool:
        """Whether a residue (0-based) is part of it."""
        return any(first <= index + 1 <= last for first, last in self.stretches)

    @property
    def positions(self) -> str:
        """Text of the stretches: ``3-60,141-220``."""
        return describe_stretches(self.stretches)


class Namer:
    """Finds the named regions of one wild type.

    Parameters
    ----------
    length : int
        Residues L of the wild-type sequence.
    features : sequence of Feature
        On the wild-type sequence. Features of one database that share kind and description are one region,
        except UniProt's domains, regions and repeats, which are one each.
    ca : float array, shape (L, 3), Å, optional
        C-alpha coordinates laid out on the sequence, NaN where unresolved.
    backbone : float array, shape (L, 4, 3), Å, optional
        N, CA, C and O in the same way; with them, hydrogen bonds tell helices and strands.
    plddt : float array, shape (L,), optional
    """

    def __init__(
        self,
        length: int,
        features: Sequence[Feature] = (),
        *,
        ca: NDArray[np.float64] | None = None,
        backbone: NDArray[np.float64] | None = None,
        plddt: NDArray[np.float64] | None = None,
    ) -> None:
        self._length = length
        self._features = features
        self._ca = ca
        self._backbone = backbone
        self._plddt = plddt

    @cached_property
    def elements(self) -> tuple[Element, ...]:
        """Helices and strands, indices on the sequence."""
        return () if self._ca is None else secondary_structure(self._ca, self._backbone)

    @cached_property
    def domains(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """Stretches (1-based) of each compact domain; empty where none was found."""
        if self._ca is None:
            return ()
        return tuple(
            tuple((first + 1, last + 1) for first, last in domain.stretches)
            for domain in compact_domains(self._ca, self._plddt)
        )

    @cached_property
    def bodies(self) -> tuple[Region, ...]:
        """Domains in the order of the databases, the smallest first.

        Where no database names any: the compact domains of the structure, if there are several.
        """
        named = [region for region in self._larger if region.kind == "domain"]
        return tuple(sorted(named, key=_order)) or self._compact

    def body(self, index: int) -> Region | None:
        """First of the `bodies` that holds a residue (0-based)."""
        return next((body for body in self.bodies if body.holds(index)), None)

    def homes(self, index: int) -> list[Region]:
        """Domain of a residue (0-based) and the smallest of the other stretches that hold it.

        Other stretches are UniProt's; without a domain, those of the first database that has any.
        """
        body = self.body(index)
        others = [region for region in self._larger if region.kind != "domain" and region.holds(index)]
        others.sort(key=_order)
        if body is None:
            return [region for region in others if region.source == others[0].source][:LISTED]
        return [body, *(region for region in others if region.source == SOURCES[0])][:LISTED]

    @cached_property
    def _compact(self) -> tuple[Region, ...]:
        """Compact domains of the structure, where there are several."""
        if len(self.domains) < 2:
            return ()
        return tuple(
            Region(f"compact domain {number}", "compact domain", STRUCTURE, stretches)
            for number, stretches in enumerate(self.domains, start=1)
        )

    @cached_property
    def _larger(self) -> list[Region]:
        """Named stretches that are no sites."""
        return [*_named([feature for feature in self._features if not is_site(feature)])]

    def regions(self, shells: Iterable[tuple[Feature, NDArray[np.int64]]] = ()) -> tuple[Region, ...]:
        """All named regions, those of databases first; never empty.

        Parameters
        ----------
        shells : iterable of (Feature, int array)
            Functional residues, each with itself and all residues within 5 Å of it, 0-based.
        """
        found = [*_named(self._features), *_sites(shells), *self._of_structure(), *self._compact]
        if self._ca is None:
            held = np.zeros(self._length, dtype=bool)
            for region in found:
                held[region.indices] |= region.kind != "site"
            found += [
                Region(f"residues {start}-{end}", "segment", SEQUENCE, ((start, end),))
                for first, last in runs(~held)
                for start, end in _segments(first + 1, last + 1)
            ]
        distinct = {(region.kind, region.source, region.name, region.stretches): region for region in found}
        return tuple(map(self._with_confidence, distinct.values()))

    def _with_confidence(self, region: Region) -> Region:
        if self._plddt is None:
            return region
        known = self._plddt[region.indices]
        known = known[np.isfinite(known)]
        low = bool(known.size and known.mean() < LOW_PLDDT)
        return Region(region.name, region.kind, region.source, region.stretches, low)

    def _of_structure(self) -> Iterator[Region]:
        elements = self.elements
        for element in elements:
            stretch = (element.first + 1, element.last + 1)
            yield Region(f"{element.kind} {element.number}", element.kind, STRUCTURE, (stretch,))
        if self._ca is not None:
            resolved: NDArray[np.bool_] = np.asarray(np.isfinite(self._ca).all(axis=1))
            between = itertools.pairwise([None, *elements, None])
            for before, after in between:
                first = 0 if before is None else before.last + 1
                last = self._length - 1 if after is None else after.first - 1
                known = np.flatnonzero(resolved[first : last + 1]) + first
                if len(known) >= LEAST_LOOP:
                    stretch = (int(known[0]) + 1, int(known[-1]) + 1)
                    yield Region(_loop_name(before, after), "loop", STRUCTURE, (stretch,))


def _named(features: Sequence[Feature]) -> Iterator[Region]:
    """Stretches that databases name; those of several parts are one region."""
    parts: dict[tuple[object, ...], list[Feature]] = {}
    for number, feature in enumerate(features):
        if feature.kind in WORKING | MARKS | WHOLE:
            continue
        alone = number if feature.source == "UniProt" else -1
        parts.setdefault((feature.source, feature.kind, feature.description, alone), []).append(feature)
    for group in parts.values():
        first = group[0]
        kind = "domain" if first.kind in BODIES else "region"
        kind = "motif" if is_site(first) or first.kind in MOTIFS else kind
        stretches = tuple(sorted((feature.start, feature.end) for feature in group))
        yield Region(feature_name(first), kind, first.source, stretches)


def _order(region: Region) -> tuple[int, int, tuple[tuple[int, int], ...], str]:
    """Order of the databases, then the smallest first."""
    rank = SOURCES.index(region.source) if region.source in SOURCES else len(SOURCES)
    return rank, region.size, region.stretches, region.name


def is_site(feature: Feature) -> bool:
    """Whether a feature is a site: a residue of note, a motif, or another short stretch with a purpose."""
    if feature.kind in SITES:
        return True
    short = feature.end - feature.start < SHORT and feature.description != "Disordered"
    return short and feature.kind in ("DNA binding", "Region")


def element_name(element: Element) -> str:
    """Call a helix or strand by kind, number and positions: ``helix 2 (24-41)``."""
    return f"{element.kind} {element.number} ({element.first + 1}-{element.last + 1})"


def _loop_name(before: Element | None, after: Element | None) -> str:
    def named(element: Element) -> str:
        return f"{element.kind} {element.number}"

    if before is not None and after is not None:
        return f"loop from {named(before)} to {named(after)}"
    if before is not None:
        return f"C-terminal end after {named(before)}"
    return "coil" if after is None else f"N-terminal end before {named(after)}"


def _segments(first: int, last: int) -> list[tuple[int, int]]:
    """Cut positions into segments of about `SEGMENT` residues."""
    count = max(round((last - first + 1) / SEGMENT), 1)
    edges = np.linspace(first, last + 1, count + 1).round().astype(int).tolist()
    return [(start, end - 1) for start, end in itertools.pairwise(edges)]


def _sites(shells: Iterable[tuple[Feature, NDArray[np.int64]]]) -> Iterator[Region]:
    """One region for the residues that bind the same thing, with all that lies around them."""
    groups: dict[tuple[str, str, str], list[tuple[Feature, NDArray[np.int64]]]] = {}
    for feature, around in shells:
        if feature.kind in WORKING:
            what = _clean(feature.description.partition(";")[0])
            # Bonds and catalytic residues are told by their positions.
            alone = f"{feature.start}" if feature.kind == "Disulfide bond" or not what else what
            groups.setdefault((feature.source, feature.kind, alone), []).append((feature, around))
    for (source, kind, what), group in groups.items():
        name = point_name(group[0][0])
        if len(group) > 1:
            listed = ", ".join(str(feature.start) for feature, _ in group[:4])
            name = f"{kind.lower()} ({what}) at {listed}{' and more' if len(group) > 4 else ''}"
        held = np.unique(np.concatenate([around for _, around in group]))
        mask = np.zeros(int(held[-1]) + 1, dtype=bool)
        mask[held] = True
        stretches = tuple((first + 1, last + 1) for first, last in runs(mask))
        yield Region(f"{name} and 5 Å around", "site", source, stretches)


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


def feature_name(feature: Feature) -> str:
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
