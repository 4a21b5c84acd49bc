"""What a substitution does where it sits, in words: from its two residues and the context of its site."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mutscan.residue_properties import BLOSUM62, VOLUME
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mutscan.calling.context import SiteContext
    from mutscan.variants import Substitution

NAMES: Final = {
    "G": "glycine", "A": "alanine", "S": "serine", "T": "threonine", "C": "cysteine", "V": "valine",
    "I": "isoleucine", "L": "leucine", "M": "methionine", "F": "phenylalanine", "Y": "tyrosine",
    "W": "tryptophan", "P": "proline", "D": "aspartate", "E": "glutamate", "N": "asparagine",
    "Q": "glutamine", "K": "lysine", "R": "arginine", "H": "histidine",
}  # fmt: skip

POSITIVE: Final = frozenset("KR")
NEGATIVE: Final = frozenset("DE")
CHARGED: Final = POSITIVE | NEGATIVE
POLAR: Final = frozenset("STNQH")
GREASY: Final = frozenset("AVILMFWYC")

NOTICED: Final = 20.0
"""Å³ from which a side chain is called larger or smaller."""

MUCH: Final = 45.0
"""Å³ that a packed place can hardly take up or lose: two methyl groups and more."""

CLOSE: Final = 8.0
"""Å up to which a functional site is named as near."""

LONG: Final = 25
"""Residues from which a stretch between helices and strands is more than a loop."""

NO_ROOM: Final = ", where it has little room"
CAVITY: Final = " and leaves a cavity"

SITE: Final = "site"
PACKING: Final = "packing"

WORKING: Final = ("active site", "binding site", "metal binding", "site", "zinc finger", "dna binding")
"""Kinds of sites that are named as near."""

_SITE: Final = re.compile(r"(?P<kind>[a-z -]+?) (?P<place>\d+(?:-\d+)?)(?: \((?P<what>.*)\))?")


@dataclass(frozen=True, slots=True)
class Change:
    """What a substitution does.

    Parameters
    ----------
    fact : str
        True whatever the verdict: ``puts a proline into helix 2 (24-41)``.
    harm : str
        What follows where it is harmful: ``, which it kinks or breaks``; perhaps empty.
    weight : {0, 1, 2}
        How much it explains of harm: nothing, something, all.
    against : str
        What the side chain touches, where it is packed: ``, against helices 5 and 7``.
    kind : str
        `SITE`: the residue is itself part of a functional site. `PACKING`: the side chain is packed.
    """

    fact: str
    harm: str = ""
    weight: int = 0
    against: str = ""
    kind: str = ""


def change_of(substitution: Substitution, context: SiteContext) -> Change:
    """Find the first mechanism that the residues and the site allow, the gravest first."""
    old, new = substitution.wild_type, substitution.mutant
    if old not in STANDARD:
        return Change(f"replaces a residue of unknown kind by {NAMES[new]}")
    found = (find(old, new, context) for find in _MECHANISMS)
    change = next(filter(None, found), None) or _chemistry(old, new, context)
    return replace(change, against=_against(context)) if change.kind == PACKING and change.weight else change


def alike(substitution: Substitution) -> bool:
    """Whether proteins often exchange the two residues (BLOSUM62 above 0)."""
    old, new = substitution.wild_type, substitution.mutant
    # A charge that comes, goes or turns is the news.
    return old in STANDARD and (old in CHARGED) == (new in CHARGED) and _alike(old, new)


def unlike(substitution: Substitution) -> bool:
    """Whether proteins hardly ever exchange the two residues (BLOSUM62 of -2 or less)."""
    known = substitution.wild_type in STANDARD
    return known and _blosum(substitution.wild_type, substitution.mutant) <= -2


def near_site(context: SiteContext) -> str:
    """Name the nearest functional site that the residue is no part of; empty without one nearby."""
    for site in context.sites:
        kind = _SITE.fullmatch(site.name)
        if kind is None or kind["kind"] not in WORKING or not site.distance or site.distance > CLOSE:
            continue
        if site.distance != site.distance:
            return f"next to {_plain(site.name)} in the sequence"
        return f"{_plain(site.name)} {site.distance:.0f} Å away"
    return ""


def _plain(name: str) -> str:
    """Leave out of a site's name what UniProt adds to its first word: ``binding site 92 (Zn(2+))``."""
    first, more, _ = name.partition(" / ")
    return f"{first})" if more else name


def _function(old: str, new: str, context: SiteContext) -> Change | None:
    for site in context.sites:
        kind = _SITE.fullmatch(site.name)
        if site.distance or kind is None:
            continue
        said = _of_site(kind["kind"], kind["place"], kind["what"] or "", old)
        if said:
            return Change(said, "", 2, kind=SITE)
    return None


def _of_site(kind: str, place: str, what: str, old: str) -> str:
    what = what.partition(" / ")[0]
    if kind == "active site":
        return f"replaces a catalytic residue ({kind} {place})"
    if kind in ("binding site", "metal binding"):
        return f"replaces a residue that binds {what}" if what else f"replaces a residue of {kind} {place}"
    if kind == "disulfide bond" and old == "C":
        return f"removes a cysteine of the disulfide bond {place}"
    if kind in ("modified residue", "glycosylation", "lipidation", "cross-link"):
        said = f" ({what[0].lower()}{what[1:]})" if what else ""
        return f"removes a {'modified residue' if kind == 'modified residue' else f'site of {kind}'}{said}"
    if kind in ("zinc finger", "dna binding"):
        return f"changes the {kind.replace('dna', 'DNA')} {'region ' if kind == 'dna binding' else ''}{place}"
    return ""


def _proline(old: str, new: str, context: SiteContext) -> Change | None:
    if new != "P":
        return None
    place = _element(context)
    if context.element == "helix" and context.turn == "first turn":
        if context.burial == "exposed":
            return Change(f"puts a proline into the first turn of {place}, where one fits")
        room = CAVITY if _growth(old, new) <= -NOTICED else NO_ROOM if _growth(old, new) >= NOTICED else ""
        return Change(
            f"puts a proline in place of {NAMES[old]} into {_place(context)}", room, 2, kind=PACKING
        )
    if context.element == "helix":
        return Change(f"puts a proline into {place}", ", which it kinks or breaks", 2)
    if context.element == "strand":
        return Change(f"puts a proline into {place}", ", where it cannot join the sheet's hydrogen bonds", 2)
    where = f" into {_place(context)}" if place else f" in place of {NAMES[old]}"
    return Change(f"puts a proline{where}", ", which stiffens the backbone", 1)


def _cysteine(old: str, new: str, context: SiteContext) -> Change | None:
    if old != "C":
        return None
    return Change(f"removes a cysteine{_from(context)}", "", 1)


def _charge(old: str, new: str, context: SiteContext) -> Change | None:
    if context.burial not in ("buried", "half buried"):
        return None
    deep = 2 if context.burial == "buried" else 1
    if new in CHARGED and old not in CHARGED:
        return Change(f"puts a charge into {_place(context)}", "", deep, kind=PACKING)
    if old in CHARGED and new in CHARGED and (old in POSITIVE) != (new in POSITIVE):
        return Change(f"reverses a charge in {_place(context)}", "", deep, kind=PACKING)
    if old in CHARGED and new not in CHARGED:
        return Change(
            f"removes a charge from {_place(context)}", ", where it is likely paired", 1, kind=PACKING
        )
    return None


def region_words(context: SiteContext) -> str:
    """Name the domain or region that the residue is in: ``in the DNA-binding region``; perhaps empty."""
    return f"in the {context.domains[0][0]}" if context.domains else ""


def _special(old: str, new: str, context: SiteContext) -> Change | None:
    """Glycine and proline, whose backbones are like no other."""
    place = _place(context)
    if old == "G" and context.burial == "buried":
        return Change(f"puts {NAMES[new]} in place of a glycine into {place}", NO_ROOM, 2, kind=PACKING)
    if old == "G":
        harm = ", whose backbone may need the glycine" if context.element == "loop" else ""
        return Change(f"replaces a glycine by {NAMES[new]}{_in(context)}", harm, 1)
    if old == "P":
        harm = ", which it kept stiff" if context.element else ""
        return Change(f"removes a proline{_from(context)}", harm, 1)
    if new == "G" and context.element == "helix" and not context.turn:
        return Change(f"puts a glycine into {_element(context)}", ", which it loosens", 1)
    return None


def _polarity(old: str, new: str, context: SiteContext) -> Change | None:
    if old not in GREASY - {"A", "C"} or new not in POLAR or context.burial not in ("buried", "half buried"):
        return None
    deep = context.burial == "buried"
    smaller = _growth(old, new) <= -MUCH
    return Change(
        f"puts a {'smaller, ' if smaller else ''}polar side chain into {_place(context)}",
        CAVITY if smaller and deep else "",
        2 if deep else 1,
        kind=PACKING,
    )


def _size(old: str, new: str, context: SiteContext) -> Change | None:
    if context.burial not in ("buried", "half buried"):
        return None
    deep = context.burial == "buried"
    growth, place = _growth(old, new), _place(context)
    weight = 2 if deep and abs(growth) >= MUCH else 1
    if growth >= NOTICED:
        return Change(f"puts a larger side chain into {place}", NO_ROOM if deep else "", weight, kind=PACKING)
    if growth <= -NOTICED:
        return Change(f"puts a smaller side chain into {place}", CAVITY if deep else "", weight, kind=PACKING)
    if old in GREASY and new in GREASY:
        return Change(f"exchanges {NAMES[old]} for {NAMES[new]} of similar size in {place}")
    return Change(f"exchanges {NAMES[old]} for {NAMES[new]} in {place}")


def _surface(old: str, new: str, context: SiteContext) -> Change | None:
    if context.burial != "exposed":
        return None
    place = _place(context)
    if old in CHARGED and new in CHARGED and (old in POSITIVE) != (new in POSITIVE):
        return Change(f"reverses a charge {_on(context)} {place}")
    if old in CHARGED and new not in CHARGED:
        return Change(f"removes a charge from {place}")
    if new in CHARGED and old not in CHARGED:
        return Change(f"adds a charge to {place}")
    if new in GREASY - {"A", "C"} and old not in GREASY:
        return Change(f"puts a hydrophobic side chain {'onto' if _on(context) == 'on' else 'into'} {place}")
    return Change(
        f"exchanges {NAMES[old]} for {'similar ' * _alike(old, new)}{NAMES[new]} {_on(context)} {place}"
    )


def _chemistry(old: str, new: str, context: SiteContext) -> Change:
    """Describe the exchange alone, where the structure is not known."""
    where = _in(context)
    if old in CHARGED and new in CHARGED and (old in POSITIVE) != (new in POSITIVE):
        return Change(f"reverses a charge{where}")
    if old in CHARGED and new not in CHARGED:
        return Change(f"replaces charged {NAMES[old]} by {NAMES[new]}{where}")
    if new in CHARGED and old not in CHARGED:
        return Change(f"replaces {NAMES[old]} by charged {NAMES[new]}{where}")
    if old in GREASY and new in POLAR:
        return Change(f"replaces hydrophobic {NAMES[old]} by polar {NAMES[new]}{where}")
    alike = "similar " if _alike(old, new) else "larger " if _growth(old, new) >= MUCH else ""
    alike = alike or ("smaller " if _growth(old, new) <= -MUCH else "")
    return Change(f"replaces {NAMES[old]} by {alike}{NAMES[new]}{where}")


_MECHANISMS: Final = (_function, _proline, _cysteine, _charge, _special, _polarity, _size, _surface)


def _growth(old: str, new: str) -> float:
    """Å³ that the new side chain is larger."""
    return float(VOLUME[STANDARD.index(new)] - VOLUME[STANDARD.index(old)])


def _blosum(old: str, new: str) -> float:
    return float(BLOSUM62[STANDARD.index(old), STANDARD.index(new)])


def _alike(old: str, new: str) -> bool:
    return _blosum(old, new) > 0


def _element(context: SiteContext) -> str:
    """``helix 2 (24-41)``, ``the loop 42-49``; empty without coordinates."""
    span = f"{context.first}-{context.last}" if context.last != context.first else f"{context.first}"
    if context.element == "loop":
        return f"the loop {span}" if context.last - context.first < LONG else "the loop"
    return f"{context.element} {context.number} ({span})" if context.element else ""


def _place(context: SiteContext) -> str:
    """Name the place: ``the buried core of helix 2 (24-41)``, ``the exposed loop 42-49``."""
    element = _element(context)
    if element == "the loop":
        return f"{_OUTSIDE.get(context.burial, 'a place')} outside helices and strands"
    if context.element == "loop":
        return element.replace("loop", f"{context.burial.replace(' ', '-')} loop".lstrip())
    face = _FACES.get(context.burial, "")
    return f"{face} of {element}" if face and element else face or element


_OUTSIDE: Final = {
    "buried": "a buried place",
    "half buried": "a half-buried place",
    "exposed": "the surface",
}
_FACES: Final = {"buried": "the buried core", "half buried": "the half-buried side", "exposed": "the surface"}


def _in(context: SiteContext) -> str:
    """Name the place after "in", with a space before it; without a structure the domain."""
    place = _place(context)
    if place:
        return f" {_on(context)} {place}"
    return f" {region_words(context)}" if context.domains else ""


def _on(context: SiteContext) -> str:
    return "on" if _place(context).startswith("the surface") else "in"


def _from(context: SiteContext) -> str:
    return _in(context).replace(" in ", " from ", 1).replace(" on ", " from ", 1)


def _against(context: SiteContext) -> str:
    """Name what the side chain touches: ``, against helices 5 and 7``."""
    own = f"{context.element} {context.number}"
    groups: dict[str, list[str]] = {}
    for name in _named(context):
        if name != own:
            kind, _, number = name.rpartition(" ")
            groups.setdefault(kind, []).append(number)
    several = {"helix": "helices", "strand": "strands"}
    told = [
        f"{several.get(kind, f'{kind}s') if len(numbers) > 1 else kind} {_and(numbers)}"
        for kind, numbers in groups.items()
    ]
    return f", against {_and(told)}" if told else ""


def _named(context: SiteContext) -> Iterator[str]:
    for touched in context.touches:
        name = touched.partition(" (")[0]
        if re.fullmatch(r".+ \d+", name):
            yield name


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
