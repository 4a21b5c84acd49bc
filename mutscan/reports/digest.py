"""The most important results of a run in a few lines, for the top of the report and for the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mutscan.calling.regions import ALPHA, MEASURED_Z, MIN_DROP
from mutscan.calling.residue_model import NO_AFFECTED
from mutscan.evidence.limits import FITTED
from mutscan.evidence.structural import DISTURBED, DROPS, SINGLES_ONLY
from mutscan.reports.affected import in_words, join_stretches
from mutscan.reports.saved import SavedRun, missing_note
from mutscan.reports.sentences import (
    NOT_ASSESSED,
    SUBSTITUTED,
    VERDICTS,
    number,
    sentence,
    structure_disturbed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd


TOP: Final = 5
"""Variants named as the most disruptive."""

UNMOVED: Final = 0.99995
"""Measured mean lDDT from which a variant prints as 1.0000 and does not stand out."""

UNCALIBRATED: Final = (
    "Not calibrated: no calibration was available for this model, so the columns 'flag' and 'p_deleterious' "
    "are empty. Ranks, percentiles and z compare a variant with other substitutions of the same protein; "
    "they do not say whether it is deleterious. 'mutscan train calibrate' makes the calibration, and "
    "'mutscan train affected' that of the affected residues; put both files into the model's folder."
)


@dataclass(frozen=True, slots=True)
class Standout:
    """One variant among the most disruptive: its number in the table (1-based) and its values."""

    number: int
    variant: str
    label: str
    values: tuple[tuple[str, str], ...]
    stretches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One variant that matters, and its account.

    Parameters
    ----------
    number : int
        Its row in the table, 1-based.
    variant : str
    flag : str
        ``deleterious``, ``tolerated``, ``uncertain``, or empty.
    sentence : str
        What follows the variant's name and a colon, without the last full stop.
    label : str
        The variant for people; in a run in the file's numbers, as it was written, and in positions.
    """

    number: int
    variant: str
    flag: str
    sentence: str
    label: str


@dataclass(frozen=True, slots=True)
class Digest:
    """The short account of a run.

    Parameters
    ----------
    headline : str
        The main result in one sentence.
    remainder : str
        Counts of the other rows; empty where there are none.
    findings : tuple of Finding
        The variants that matter most, the worst first.
    facts : tuple of (str, str)
        Name and value: protein, structure, model, builder ...
    counts : mapping
        Rows by status.
    predicted, measured : tuple of Standout
        The most disruptive variants by prediction (z below 0) and by measured lDDT (below 1).
    warnings : tuple of str
        What the model lacks, decisions made when the wild type was read, and what is not known of it.
    notice : str
        Why no row has a verdict, where the model has no calibration to give one.
    """

    protein: str
    headline: str
    remainder: str
    findings: tuple[Finding, ...]
    facts: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]
    predicted: tuple[Standout, ...]
    measured: tuple[Standout, ...]
    warnings: tuple[str, ...]
    notice: str


def digest(run: SavedRun) -> Digest:
    """Boil a saved run down."""
    # Where no row was scored, or none could get a verdict, the model is not the reason.
    uncalibrated = len(run.scored) and not (run.judged or run.provenance.get("calibration"))
    return Digest(
        protein=run.name,
        headline=headline(run),
        remainder=remainder(run),
        findings=findings(run),
        facts=facts_of(run),
        counts=run.counts,
        predicted=_standouts(run, "z_score", "lddt_predicted_mean", 0.0, _predicted_values),
        measured=_standouts(run, "lddt_measured_mean", "lddt_measured_site", UNMOVED, _measured_values),
        warnings=(
            *model_notes(run.provenance),
            *_texts(section(run.provenance, "wild_type").get("notes")),
            *_unknown(run.provenance),
            *filter(None, [fitted(run), missing_note(run.directory, run.provenance)]),
        ),
        notice=UNCALIBRATED if uncalibrated else "",
    )


STANDS_OUT: Final = -2.0
"""z up to which a variant stands out, where there is no calibrated verdict."""


def matter_most(run: SavedRun) -> pd.DataFrame:
    """Return the scored rows that matter, the worst first.

    With a calibrated verdict those flagged deleterious, by probability; without any, those that
    stand out from other substitutions of the protein (z at most `STANDS_OUT`).
    """
    scored = run.scored
    if run.judged:
        flagged = scored[scored["flag"] == "deleterious"]
        return flagged.sort_values(["p_deleterious", "variant"], ascending=[False, True], kind="stable")
    low = scored[scored["z_score"] <= STANDS_OUT]
    return low.sort_values(["z_score", "variant"], kind="stable")


def headline(run: SavedRun) -> str:
    """State in one sentence how many variants are likely deleterious, and how many disturb the structure.

    ``3 of 10 variants of P04637 are likely deleterious; 1 is predicted to disturb the structure beyond
    background: residues 170-178.``
    """
    scored = run.scored
    if not len(scored):
        return "No row could be scored."
    if len(scored) == 1:
        return f"The variant of {run.name} {_alone(run, scored.iloc[0])}."
    bad = len(matter_most(run))
    many = f"{bad or 'None'} of {len(scored)} variants" if bad < len(scored) else f"All {bad} variants"
    one = bad < 2
    if run.judged:
        said = f"of {run.name} {'is' if one else 'are'} likely deleterious"
    else:
        said = f"{'stands' if one else 'stand'} out from other substitutions of {run.name}"
    return f"{many} {said}{_disturbing(run)}."


def _disturbing(run: SavedRun) -> str:
    """Count the variants that disturb the structure, and say where; empty where none was assessed."""
    assessed, disturbed = structural_findings(run)
    count = int(disturbed.sum())
    if not assessed.any():
        return ""
    if not count:
        return "; none is predicted to disturb the structure beyond background"
    # Where several are, a region of one of them would read as a region of all.
    stretches = _stretches(run, run.scored["variant"][disturbed]) if count == 1 else ()
    where = f": {in_words(stretches)}" if stretches else ""
    verb = "is" if count == 1 else "are"
    return f"; {count} {verb} predicted to disturb the structure beyond background{where}"


def structural_findings(run: SavedRun) -> tuple[pd.Series[bool], pd.Series[bool]]:
    """Which scored rows were assessed for a disturbed structure, and which have one.

    The same as `structure_disturbed` of each row, for all rows at once.
    """
    scored = run.scored
    rule = scored["flag_rule"]
    substituted = scored["variant"].str.fullmatch(SUBSTITUTED.pattern)
    ruled = rule.str.contains(DISTURBED, regex=False) & ~rule.str.contains(SINGLES_ONLY, regex=False)
    hit = ruled | scored["variant"].map(lambda variant: bool(run.disturbed_by(variant)))
    predicted = scored["lddt_predicted_mean"].notna() & (scored["n_substitutions"] == 1)
    return substituted & (hit | predicted), substituted & hit


def _stretches(run: SavedRun, variants: Iterable[str]) -> list[tuple[int, int]]:
    """Stretches of all disturbed regions of some variants, merged and ascending."""
    regions = (region for variant in variants for region in run.disturbed_by(variant))
    return join_stretches(stretch for region in regions for stretch in region.stretches)


def _alone(run: SavedRun, row: pd.Series[Any]) -> str:
    """Say both findings on the only variant."""
    if run.judged:
        said = f"is {VERDICTS[row['flag']]}"
    elif row["flag_rule"].startswith(NOT_ASSESSED):
        return f"is {NOT_ASSESSED}"
    else:
        stands = row["z_score"] <= STANDS_OUT
        said = f"{'stands' if stands else 'does not stand'} out from other substitutions"
    regions = run.disturbed_by(row["variant"])
    found = structure_disturbed(row.to_dict(), regions)
    if found is None:
        return said
    if not found:
        return f"{said}; it is not predicted to disturb the structure beyond background"
    stretches = join_stretches(stretch for region in regions for stretch in region.stretches)
    where = f": {in_words(stretches)}" if stretches else ""
    return f"{said}; it is predicted to disturb the structure beyond background{where}"


def remainder(run: SavedRun) -> str:
    """Count the variants that the headline leaves out."""
    scored, counts = run.scored, run.counts
    said = []
    if len(scored) > 1:
        for flag in ("uncertain", "tolerated"):
            if count := int((scored["flag"] == flag).sum()):
                said.append(f"{count} {VERDICTS[flag]}")
        bare = scored["flag_rule"][scored["flag"] == ""]
        if skipped := int(bare.str.startswith(NOT_ASSESSED).sum()):
            said.append(f"{skipped} {NOT_ASSESSED}")
        if run.judged and len(bare) > skipped:
            said.append(f"{len(bare) - skipped} without a verdict")
    lost = counts.get("failed", 0) + counts.get("skipped", 0)
    if lost:
        said.append(f"{lost} {'line' if lost == 1 else 'lines'} not scored")
    return f"{', '.join(said)}." if said else ""


def findings(run: SavedRun) -> tuple[Finding, ...]:
    """Return the variants that matter most, each with its sentence; at most `TOP`."""
    bad = matter_most(run).head(TOP)
    return tuple(
        Finding(
            index + 1,
            str(row["variant"]),
            str(row["flag"]),
            sentence(row.to_dict(), run.disturbed_by(row["variant"])),
            label(run, row),
        )
        for index, (_, row) in zip(bad.index.tolist(), bad.iterrows(), strict=True)
    )


LABEL: Final = 24
"""Letters of the written text in a name for people."""


def label(run: SavedRun, row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """Name a row for people: its variant; in a run in the file's numbers, as written, and in positions."""
    author = section(run.provenance, "arguments").get("numbering") == "author"
    written, variant = str(row["input"]), str(row["variant"])
    if not author or written == variant:
        return variant
    return f"{written if len(written) <= LABEL else f'{written[: LABEL - 1]}…'} ({variant})"


NO_TEST: Final = (
    "verdicts may fit known labels better there than on other proteins, so they do not show how often "
    "mutscan is right"
)
"""What it means for rows that their protein was used in calibration."""


def fitted(run: SavedRun) -> str:
    """Say that the run's protein was used in calibration, and what that means; empty where it was not."""
    known = run.scored["notes"].str.contains(FITTED, regex=False).any()
    return f"{FITTED}; {NO_TEST.replace('there', 'on it')}" if known else ""


def facts_of(run: SavedRun) -> tuple[tuple[str, str], ...]:
    """Name and value of what is known of a run as a whole: protein, structure, model, builder ..."""
    return tuple((name, value) for name, value in _facts(run) if value)


def _facts(run: SavedRun) -> list[tuple[str, str]]:
    protein = section(run.provenance, "wild_type")
    length, resolved = protein.get("length"), protein.get("residues_with_coordinates")
    entry = _text(protein.get("name"))
    entry = "" if entry == run.name else entry
    structure = _text(protein.get("structure"))
    if structure:
        chain = _text(protein.get("chain"))
        structure += f", chain {chain}" if chain else ""
        structure += f", {resolved} of {length} residues with coordinates" if resolved else ""
    return [
        ("Protein", ", ".join(filter(None, (run.name, entry, length and f"{length} residues")))),
        ("Structure", structure or f"none; {_empty(run.provenance)}"),
        *job_facts(run.provenance),
    ]


def job_facts(said: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name and value of what run.json knows of a job, whatever its proteins: model, builder, device, date."""
    finished = _text(said.get("finished"))[:16].replace("T", " ")
    model = section(said, "model")
    sha256 = _text(model.get("sha256"))[:12]
    # A model with an encoder of its own keeps it in a folder of that name.
    encoder = _text(model.get("encoder"))
    if encoder:
        encoder = "own encoder" if Path(encoder).name == "encoder" else f"encoder {encoder}"
    named = ", ".join(filter(None, (_text(model.get("name")), encoder, sha256 and f"sha256 {sha256}…")))
    built = _builders(said.get("builder")) or f"none; {_empty(said)}"
    facts = [
        ("Model", named),
        ("Builder", built if "builder" in said else ""),
        ("Ran on", ", ".join(filter(None, (_text(said.get("device")), _text(said.get("precision")))))),
        ("Made", f"{finished} UTC by mutscan {_text(said.get('mutscan'))}" if finished else ""),
    ]
    return tuple((name, value) for name, value in facts if value)


def background(said: Mapping[str, Any]) -> str:
    """Say from which drop on the structure is disturbed beyond background; empty where none is predicted.

    Parameters
    ----------
    said : mapping
        run.json.
    """
    rule = section(section(said, "calibration"), "structural")
    line = said.get("region_z")
    if section(said, "arguments").get("predict") != "all" or not (rule or line):
        return ""
    above = f"drop z above {line:.2f}" if isinstance(line, float) else "drop z above the line of the protein"
    words = [
        f"{DROPS[rule['score']]} of the whole protein at least {rule['threshold']:.2f}" if rule else "",
        f"a region's {above}, which at most {ALPHA:.0%} of other substitutions pass, and mean drop at least "
        f"{MIN_DROP}".replace("%", " %"),
        f"a region's measured drop z at least {MEASURED_Z:g}" if said.get("builder") else "",
    ]
    return "; or ".join(filter(None, words))


def _empty(said: Mapping[str, Any]) -> str:
    """Name the scores that are empty where nothing is built."""
    predicted = section(said, "arguments").get("predict") != "probability"
    return f"measured {'' if predicted else 'and predicted '}scores are empty"


def section(provenance: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Read one object of run.json; it is empty where there is none."""
    value = provenance.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


NO_FEATURES: Final = (
    "no functional sites, domains or ligands are known of this protein: it is not a UniProt entry"
)
"""Note on a run whose sentences can speak of fold and chemistry alone."""


def _unknown(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    protein = section(provenance, "wild_type")
    return (NO_FEATURES,) if protein and not protein.get("features") else ()


def model_notes(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what a run's model lacks, of what all rows need, apart from a calibration."""
    lacks = section(provenance, "model").get("affected_residues") is False
    predicted = section(provenance, "arguments").get("predict") != "probability"
    return (NO_AFFECTED,) if lacks and predicted else ()


def _texts(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list) else ()


def _builders(value: object) -> str:
    """Names of the backends, in the order they were tried."""
    described = value if isinstance(value, list) else []
    return ", then ".join(_text(item.get("name")) for item in described if isinstance(item, dict))


def _predicted_values(row: pd.Series[Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("drop z", number(-row["z_score"], 2)),
        ("percentile", number(row["lddt_percentile"], 0)),
    )


def _measured_values(row: pd.Series[Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("lDDT site", number(row["lddt_measured_site"])),
        ("Cα shift Å", number(row["ca_shift_max"], 2)),
    )


def _standouts(run: SavedRun, first: str, then: str, below: float, values: Any) -> tuple[Standout, ...]:
    """Return the rows lowest in `first`, of those below `below`: never of the unknown or not assessed."""
    scored = run.scored
    compared = ~scored["flag_rule"].str.startswith(NOT_ASSESSED)
    known = (
        scored[(scored[first] < below) & compared]
        .sort_values([first, then, "variant"], kind="stable")
        .head(TOP)
    )
    return tuple(
        Standout(
            index + 1, row["variant"], label(run, row), values(row), tuple(_stretches(run, [row["variant"]]))
        )
        for index, (_, row) in zip(known.index.tolist(), known.iterrows(), strict=True)
    )
