"""What a row finds, in the few words of a table: verdict, structure, confidence, place, protein."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutscan.reports.affected import AffectedRegion

NOT_ASSESSED: Final = "not assessed"
"""Verdict and structure of a variant that no calibrated rule covers, such as an insertion or a deletion."""

_UNIPROT: Final = re.compile(r"(?:sp|tr)\|[^|]*\|(\w+?)_\w+")
_RULE: Final = re.compile(r"structure (not )?disturbed: ([^;(]*[^;( ])")
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


def verdict(row: Mapping[Any, Any]) -> str:
    """Return the flag of a scored row; ``not assessed`` where there is neither a flag nor a calibrated rule.

    An insertion or a deletion has no probability, and its predicted drop nothing to be compared with.
    """
    flag = str(row["flag"])
    return flag if flag and row["n_substitutions"] != 0 else NOT_ASSESSED


def structure_finding(row: Mapping[Any, Any], regions: Sequence[AffectedRegion]) -> StructureFinding:
    """Whether the structure is disturbed: by the calibrated rule in `flag_rule`, or in any region.

    Parameters
    ----------
    row : mapping
        Of variants.csv.
    regions : sequence of AffectedRegion
        All of the variant's.
    """
    if row["status"] not in ("ok", "partial"):
        return StructureFinding("", "")
    if row["n_substitutions"] == 0:
        return StructureFinding(NOT_ASSESSED, "the background is made of substitutions only")
    rule = _RULE.search(str(row["flag_rule"]))
    if rule is None and not regions:
        return StructureFinding(NOT_ASSESSED, "the structure of the mutant was not predicted")
    hit = [region.name for region in regions if region.disturbed]
    reasons = [] if rule is None else [rule[2]]
    reasons.append(f"beyond background: {', '.join(hit)}" if hit else "no region beyond background")
    disturbed = bool(hit) or (rule is not None and not rule[1])
    return StructureFinding("disturbed" if disturbed else "not disturbed", "; ".join(reasons))


def confidence_reason(row: Mapping[Any, Any]) -> str:
    """Say why the confidence of a scored row is not high; empty where it is.

    The pipeline notes what lowers it before any other warning; a structure that could not be built is the
    row's message.
    """
    if row["confidence"] in ("", "high"):
        return ""
    notes = [note for note in str(row["notes"]).split("; ") if note]
    unsure = [note for note in notes if "pLDDT" in note]
    if unsure and row["confidence"] == "low":
        return unsure[0]
    if row["message"]:
        return str(row["message"])
    return notes[0] if notes else "no structure of the mutant was built"


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
