"""What a row finds, in the few words of a table: verdict, structure, confidence, place, protein."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mutscan.reports.sentences import NOT_ASSESSED, is_scored, structure_disturbed, verdict_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutscan.reports.affected import AffectedRegion

_UNIPROT: Final = re.compile(r"(?:sp|tr)\|[^|]*\|(\w+?)_\w+")
_RULE: Final = re.compile(r"structure (?:not )?disturbed: ([^;(]*[^;( ])")
_SITE: Final = re.compile(r"at |next to |[\d.]+ Å from ")


class StructureFinding(NamedTuple):
    """Whether a variant disturbs the structure.

    Parameters
    ----------
    state : str
        ``disturbed``, ``not disturbed``, ``not assessed``; empty for a row that was not scored.
    why : str
    """

    state: str
    why: str


def display_name(name: str) -> str:
    """Name of a protein for people: of a FASTA header of UniProt the entry name without its organism.

    Examples
    --------
    >>> display_name("sp|P60484|PTEN_HUMAN"), display_name("P53_HUMAN"), display_name("my protein")
    ('PTEN', 'P53_HUMAN', 'my protein')
    """
    header = _UNIPROT.fullmatch(name)
    return name if header is None else header[1]


def verdict(row: Mapping[Any, Any], *, judged: bool) -> str:
    """Return the flag of a scored row, or that it was not assessed; empty in a run without a calibration.

    Parameters
    ----------
    row : mapping
        Of variants.csv.
    judged : bool
        Whether any row of the run has a flag.
    """
    unassessed = judged or verdict_words("", row["flag_rule"]) == NOT_ASSESSED
    return row["flag"] or (NOT_ASSESSED if unassessed else "")


def structure_finding(row: Mapping[Any, Any], regions: Sequence[AffectedRegion]) -> StructureFinding:
    """Tell what `structure_disturbed` finds, with the rule and the regions it rests on.

    Parameters
    ----------
    row : mapping
        Of variants.csv.
    regions : sequence of AffectedRegion
        All of the variant's.
    """
    if not is_scored(row):
        return StructureFinding("", "")
    hit = [region for region in regions if region.disturbed]
    found = structure_disturbed(row, hit)
    if found is None:
        return StructureFinding(NOT_ASSESSED, "no background of such variants, or nothing was predicted")
    rule = _RULE.search(row["flag_rule"])
    reasons = [] if rule is None else [rule[1]]
    named = ", ".join(region.name for region in hit)
    reasons.append(f"beyond background: {named}" if hit else "no region beyond background")
    return StructureFinding("disturbed" if found else "not disturbed", "; ".join(reasons))


def short_context(cell: str) -> str:
    """Shorten a `site_context` cell: element, burial, the nearest site, else the domain.

    Examples
    --------
    >>> short_context("helix 2 (24-41), last turn; buried (4 % accessible); in Globin domain (UniProt); "
    ...               "6 Å from binding site 93 (heme) (UniProt); touches helix 5 (82-95)")
    'helix 2 (24-41), last turn; buried; 6 Å from binding site 93 (heme)'
    """
    return " | ".join(_short(part) for part in cell.split(" | ") if part)


def _short(context: str) -> str:
    facts = context.split("; ")
    told = [fact.partition(" (")[0] if "% accessible" in fact else fact for fact in facts[:2]]
    told = [fact for fact in told if not fact.startswith(("touches ", "in ")) and not _SITE.match(fact)]
    near = [fact for fact in facts if _SITE.match(fact)] or [fact for fact in facts if fact.startswith("in ")]
    return "; ".join(told + [fact.rpartition(" (")[0] or fact for fact in near[:1]])
