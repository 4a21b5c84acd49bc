"""One plain account of a variant, for people: verdict, what the exchange does where it sits, what moves.

All of it comes from the cells of the variant's own row, so that the terminal, the report, JSON and the page
over many proteins say the same.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from mutscan.calling.context import SiteContext, read_contexts
from mutscan.evidence.structural import DISTURBED, SINGLES_ONLY
from mutscan.reports.affected import AffectedRegion, in_words, read_stretches
from mutscan.reports.mechanism import SITE, alike, change_of, near_site, region_words, unlike
from mutscan.variants import parse_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutscan.variants import Substitution

VERDICTS: Final = {
    "deleterious": "likely deleterious",
    "tolerated": "likely tolerated",
    "uncertain": "uncertain",
}
"""Flag of a row to the words for it."""

STRUCTURE_WORDS: Final = {None: "—", True: "disturbed", False: "not disturbed"}
"""`structure_disturbed` in the words of tables."""

NOT_ASSESSED: Final = "not assessed"
"""Verdict on what no rule was calibrated for, and the start of its `flag_rule`."""

UNDISTURBED: Final = "not beyond background"
"""Ends the cell `affected_regions` of a variant that disturbs none."""

NAMED_REGIONS: Final = 2
"""Regions named in a sentence."""

SUBSTITUTED: Final = re.compile(r"[A-Z]\d+[A-Z](?:;[A-Z]\d+[A-Z])*")
"""Name of a variant that is one or more substitutions."""

_REGION: Final = re.compile(r"([\d,-]+) \((.*?)\)(?:; (?=[\d,-]+ \()|$)")
_ALONE: Final = re.compile(r"(\S+) alone: ")
_PIECE: Final = re.compile(r"(.+) ([+-]\d+\.\d)")

_HARM: Final = {
    "conservation": "relatives keep this residue",
    "alignment": "relatives keep this residue",
    "couplings": "the new residue does not suit its partners in related sequences",
    "language model": "the sequence model does not expect the new residue",
    "inverse folding": "the new residue suits this backbone badly",
    "rigidity": "the site is rigid",
    "burial": "the site is tightly packed",
    "exchange": "the two residues differ much",
    "sequence context": "variants in such a sequence context are often harmful",
}
"""Evidence for harm, in words."""

_EASE: Final = {
    "conservation": "relatives vary here",
    "alignment": "relatives vary here",
    "couplings": "the new residue suits its partners in related sequences",
    "language model": "the sequence model accepts the new residue",
    "inverse folding": "the new residue suits this backbone",
    "rigidity": "the site is flexible",
    "exchange": "the two residues are alike",
    "sequence context": "variants in such a sequence context are mostly harmless",
}
"""Evidence against harm, in words."""

LEAST_TOLD: Final = 0.3
"""Log-odds from which a piece of evidence is said in a sentence."""

MORE: Final = 2
"""Things said after the mechanism at most."""

COSTLY: Final = 1.0
"""Predicted loss of stability that is said, kcal/mol."""


def number(value: object, decimals: int = 3) -> str:
    """Text of a value, an em dash where it is not known.

    Examples
    --------
    >>> number(0.98765), number(float("nan"))
    ('0.988', '—')
    """
    if not isinstance(value, int | float) or value != value:
        return "—"
    return f"{value:.{decimals}f}"


def probability(value: object, decimals: int = 2) -> str:
    """Text of a probability; one below 1 gets more decimals before it reads as 1.

    Examples
    --------
    >>> probability(0.934), probability(0.996), probability(0.9996, 3), probability(1.0)
    ('0.93', '0.996', '0.9996', '1.00')
    """
    text = number(value, decimals)
    while isinstance(value, float) and value < 1 and text.startswith("1"):
        decimals += 1
        text = number(value, decimals)
    return text


def read_affected(cell: str) -> tuple[AffectedRegion, ...]:
    """Regions that a cell of the column `affected_regions` says are disturbed.

    Examples
    --------
    >>> [region.name for region in read_affected("24-41 (helix 2, structure; mean lDDT drop 0.08)")]
    ['helix 2']
    >>> read_affected("24-41 (helix 2, structure; most affected, not beyond background)")
    ()
    """
    found = []
    for positions, inside in _REGION.findall(cell):
        first, *rest = inside.split("; ")
        if UNDISTURBED in inside:
            continue
        name, _, source = first.rpartition(", ") if rest or "lDDT drop" not in first else ("", "", "")
        unknown = (math.nan,) * 4
        found.append(AffectedRegion(name, "", source, read_stretches(positions), *unknown, disturbed=True))
    return tuple(found)


def structure_disturbed(
    row: Mapping[Any, Any], disturbed: Sequence[AffectedRegion] | None = None
) -> bool | None:
    """Whether a row says that the structure is disturbed; None where that was not assessed.

    It is where the structural rule says so, or a region moves beyond its background. Nothing is calibrated
    for insertions and deletions, and for joint mutants only what was measured counts.

    Parameters
    ----------
    row : mapping
        A row of variants.csv.
    disturbed : sequence of AffectedRegion, optional
        Regions beyond background; read from the cell `affected_regions` when not given.
    """
    rule = _text(row, "flag_rule")
    variant = _substitutions(_text(row, "variant"))
    if not variant:
        return None
    if disturbed is None:
        disturbed = read_affected(_text(row, "affected_regions"))
    ruled = DISTURBED in rule and SINGLES_ONLY not in rule
    predicted = len(variant) == 1 and not math.isnan(_number(row, "lddt_predicted_mean"))
    return ruled or bool(disturbed) if ruled or disturbed or predicted else None


def sentence(row: Mapping[Any, Any], disturbed: Sequence[AffectedRegion] | None = None) -> str:
    """Describe one scored variant in at most three sentences, without its name and without a full stop.

    ``likely deleterious (0.93). Puts a charge into the buried core of helix 2 (24-41), against helices 5
    and 7; binding site 93 (heme) 6 Å away. No wider stretch is predicted to move beyond background``

    Parameters
    ----------
    row : mapping
        A row of variants.csv.
    disturbed : sequence of AffectedRegion, optional
        Regions beyond background; read from the cell `affected_regions` when not given.

    Raises
    ------
    ValueError
        The cell `site_context` is in none of its documented forms.
    """
    if disturbed is None:
        disturbed = read_affected(_text(row, "affected_regions"))
    substitutions = _substitutions(_text(row, "variant"))
    parts = [verdict_sentence(row)]
    told = _told(row, substitutions)
    if told is not None:
        parts.append(_mechanism(row, told))
    parts.append(_stretches(row, disturbed))
    known = [part for part in parts if part]
    return ". ".join([known[0], *(part[0].upper() + part[1:] for part in known[1:])])


def account(row: Mapping[Any, Any], disturbed: Sequence[AffectedRegion] | None = None) -> dict[str, object]:
    """Give the keys that rows have in JSON beyond their columns: `structure_disturbed` and `sentence`."""
    said = f"{_text(row, 'variant')}: {sentence(row, disturbed)}." if is_scored(row) else None
    return {
        "structure_disturbed": structure_disturbed(row, disturbed) if is_scored(row) else None,
        "sentence": said,
    }


def is_scored(row: Mapping[Any, Any]) -> bool:
    """Whether a row has scores."""
    return _text(row, "status") in ("ok", "partial")


def verdict_words(flag: str, rule: str) -> str:
    """Words for a flag: ``likely deleterious``, ``not assessed``; empty where there is no verdict."""
    return VERDICTS.get(flag, flag) or (NOT_ASSESSED if rule.startswith(NOT_ASSESSED) else "")


def confidence_reason(row: Mapping[Any, Any]) -> str:
    """Why the confidence of a row is not high: the notes that lowered it; empty where it is high."""
    for note in _text(row, "notes").split("; "):
        if note.startswith("confidence "):
            return note.partition(": ")[2]
    return ""


def verdict_sentence(row: Mapping[Any, Any]) -> str:
    """Say the verdict on a variant, with its probability: ``likely deleterious (0.93)``."""
    substitutions = len(_substitutions(_text(row, "variant")))
    flag, rule = _text(row, "flag"), _text(row, "flag_rule")
    words, p = verdict_words(flag, rule), _number(row, "p_deleterious")
    if not words:
        return _standing(_number(row, "lddt_percentile"))
    if not flag:
        return f"{NOT_ASSESSED}{rule.removeprefix(NOT_ASSESSED)}"
    if math.isnan(p):
        return f"{words} by the predicted structure alone"
    alone = _ALONE.match(rule)
    joint = f", as {alone[1]} alone, the worst of {substitutions} substitutions" if alone else ""
    return f"{words} ({probability(p)}){joint}"


def _standing(percentile: float) -> str:
    if math.isnan(percentile):
        return "not compared with other substitutions"
    if percentile <= 50:
        return f"more disruptive than {100 - percentile:.0f} % of substitutions of this protein"
    return f"milder than {percentile:.0f} % of substitutions of this protein"


def _substitutions(variant: str) -> tuple[Substitution, ...]:
    """Substitutions of a variant; none of an insertion or a deletion."""
    return parse_variant(variant).substitutions if SUBSTITUTED.fullmatch(variant) else ()


def _told(row: Mapping[Any, Any], substitutions: Sequence[Substitution]) -> Substitution | None:
    """Substitution that the sentence is about: the only one, or the one that the rule names."""
    if len(substitutions) == 1:
        return substitutions[0]
    alone = _ALONE.match(_text(row, "flag_rule"))
    return next((one for one in substitutions if alone and str(one) == alone[1]), None)


def _mechanism(row: Mapping[Any, Any], told: Substitution) -> str:
    """Say what the exchange does where it sits, in words that fit the verdict."""
    contexts = read_contexts(_text(row, "site_context"), [told.position])
    context = contexts.get(told.position, SiteContext())
    change = change_of(told, context)
    flag = _text(row, "flag")
    pieces = [piece for piece in _pieces(_text(row, "evidence")) if _applies(piece, told, context)]
    if "similar" in change.fact:  # the fact tells the exchange already
        pieces = [piece for piece in pieces if piece[0] != "exchange"]
    harm, ease = _first(pieces, _HARM, 1), _first(pieces, _EASE, -1)
    if context.plddt == context.plddt:
        ease = f"the structure is not firm here (pLDDT {context.plddt:.0f})"
    elif context.end and context.burial != "buried":
        ease = f"it lies {context.end}" if " from " in context.end else f"it is the {context.end}"
    if flag == "tolerated":
        return f"{change.fact}{', but ' if change.weight else '; '}{ease}" if ease else change.fact
    near = "" if change.kind == SITE else near_site(context)
    if flag == "uncertain":
        weighed = f"{harm}, but {ease}" if harm and ease else harm or ease
        return "; ".join(filter(None, (change.fact, near, weighed)))
    if flag != "deleterious":
        return "; ".join(filter(None, (change.fact + change.against, near)))
    fact = change.fact + change.harm + change.against
    if context.burial == "exposed" and context.element and not change.weight and context.domains:
        fact += f", {region_words(context)}"
    kept = _first([piece for piece in pieces if piece[0] != "exchange"], _HARM, 1)
    ddg = _number(row, "ddg_predicted")
    more = (
        near,
        kept if change.weight < 2 else "",
        f"predicted to cost {ddg:.1f} kcal/mol of stability" if ddg >= COSTLY else "",
    )
    return "; ".join([fact, *filter(None, more)][: 1 + MORE])


def _applies(piece: tuple[str, float], told: Substitution, context: SiteContext) -> bool:
    """Whether the words for a piece of evidence are true here; its log-odds are relative to the protein."""
    name, odds = piece
    if name == "exchange":
        return alike(told) if odds < 0 else unlike(told)
    return name != "burial" or context.burial in ("buried", "half buried")


def _pieces(cell: str) -> list[tuple[str, float]]:
    """Evidence of a row, the strongest first: ``burial +1.2; exchange -0.3``."""
    read = (_PIECE.fullmatch(piece) for piece in cell.split("; "))
    return [(piece[1], float(piece[2])) for piece in read if piece]


def _first(pieces: Sequence[tuple[str, float]], words: Mapping[str, str], sign: int) -> str:
    """Words for the strongest piece of evidence of one sign that has any."""
    return next((words[name] for name, odds in pieces if sign * odds >= LEAST_TOLD and name in words), "")


def _stretches(row: Mapping[Any, Any], disturbed: Sequence[AffectedRegion]) -> str:
    """Regions beyond background, or that there is none; empty where that was not assessed."""
    found = structure_disturbed(row, disturbed)
    if found is None:
        return ""
    if not found:
        return "no wider stretch is predicted to move beyond background"
    if not disturbed:
        return "the predicted lDDT of the whole is beyond background, that of no single region is"
    named = [_named(region) for region in disturbed[:NAMED_REGIONS]]
    if rest := len(disturbed) - len(named):
        more = f"{rest} more region{'s' if rest > 1 else ''}"
        return f"predicted to disturb {', '.join(named)} and {more} beyond background"
    return f"predicted to disturb {' and '.join(named)} beyond background"


def _named(region: AffectedRegion) -> str:
    where = in_words(region.stretches)
    if not region.name or region.name == where:
        return where
    return f"{region.name} ({where.removeprefix('residues ').removeprefix('residue ')})"


def _text(row: Mapping[Any, Any], name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


def _number(row: Mapping[Any, Any], name: str) -> float:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
