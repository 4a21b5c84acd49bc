"""Draw report.html from a saved run: one file, no request leaves the page, every text escaped.

Only the run folder is read: no model, no network. The page draws itself, each variant when it is
opened, from one block of data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mutscan.reports.digest import digest
from mutscan.reports.findings import short_context, structure_finding, verdict
from mutscan.reports.html import cells_of, file_name, render_page, shorten
from mutscan.reports.payload import score_payload
from mutscan.reports.population import is_human, population
from mutscan.reports.saved import read_run
from mutscan.reports.scan import is_scan, render_scan
from mutscan.reports.sentences import VERDICTS, confidence_reason, is_scored, number

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from mutscan.reports.findings import StructureFinding
    from mutscan.reports.saved import SavedRun

PROBABILITY: Final = (
    ("p_deleterious", "Probability", 2, "Calibrated probability that the variant is deleterious"),
)

TABLE_NUMBERS: Final = (
    ("drop_z", "Drop z", 2, "lDDT drop against other substitutions: positive = worse (minus z_score)"),
    ("lddt_percentile", "Percentile", 1, "0: more disruptive than all other substitutions, 100: milder"),
    ("tm_predicted", "TM predicted", 4, "TM-score: similarity of the whole folds, 1 is identical"),
    ("lddt_predicted_mean", "lDDT predicted", 4, "lDDT: share of local distances kept, mean over residues"),
    ("tm_measured", "TM measured", 4, "From the built mutant structure"),
    ("lddt_measured_mean", "lDDT measured", 4, "From the built mutant structure, mean over residues"),
    ("lddt_measured_site", "lDDT at site", 4, "From the built mutant structure, at the changed residue"),
    ("ca_shift_max", "Largest Cα shift, Å", 2, "Largest movement of a Cα atom"),
    ("ddg_predicted", "Predicted ΔΔG, kcal/mol", 2, "Positive: the mutant is less stable"),
    (
        "alphamissense",
        "AlphaMissense",
        3,
        "Another method's value (AlphaFold DB), no part of the verdict",
    ),
)
"""Number columns of the report's table that stand behind the switch: column, heading, decimals, meaning."""

UNCHANGED: Final = "1.0000"
"""Text of a score that does not differ from 1."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input line in the report's table; `variant` is empty where there is nothing to open."""

    number: int
    name: str
    typed: str
    status: str
    variant: str
    verdict: str
    chip: tuple[str, str]
    probability: tuple[tuple[str, str], ...]
    structure: StructureFinding
    context: str
    full_context: str
    region: str
    disturbed: bool
    confidence: str
    reason: str
    remark: str
    cells: tuple[tuple[str, str], ...]
    carried: tuple[str, ...]


def render_report(run_dir: Path, *, viewer: str = "", viewer_note: str = "") -> str:
    """HTML of the report of a saved run.

    Parameters
    ----------
    run_dir : Path
        Folder with variants.csv, residues.parquet and run.json.
    viewer : str
        3Dmol.js (`mutscan.fetch.get_viewer`), to turn structures with; without it the page draws
        a trace of its own.
    viewer_note : str
        Its origin, or why it is missing, for the page.

    Returns
    -------
    str
        A complete page that needs no other file.

    Raises
    ------
    UsageError
        It is no run folder, or a damaged one.
    """
    if is_scan(run_dir):
        return render_scan(run_dir, viewer=viewer, viewer_note=viewer_note)
    run = read_run(run_dir)
    data, block = score_payload(run)
    table = run.variants.assign(drop_z=-run.variants["z_score"])
    shown, unchanged = _columns(table)
    judged = bool(table["p_deleterious"].notna().any())
    detailed = {variant["name"] for variant in data["variants"]}
    rows = [
        _table_row(place, row, run, PROBABILITY * judged, shown, detailed)
        for place, row in enumerate(table.to_dict(orient="records"), start=1)
    ]
    contexts = any(row.context for row in rows)
    return render_page(
        "report.html.j2",
        data,
        block,
        run.provenance,
        viewer=viewer,
        viewer_note=viewer_note,
        digest=digest(run),
        population=population(run.provenance),
        human=is_human(run.provenance),
        file_name=file_name(run.name),
        headings=[
            ("Variant", False, "", ""),
            ("Verdict" if run.judged else "Status", False, "Learned from labelled variants", ""),
            *((heading, True, hint, "") for _, heading, _, hint in PROBABILITY * judged),
            ("Structure", False, "Predicted structure against that of other substitutions", ""),
            *[("Site", False, "Where the changed residue sits", "")] * contexts,
            (
                "Region hit most",
                False,
                "Regions beyond background (bold) first, then by how likely their residues are to change",
                "",
            ),
            ("Confidence", False, "How reliable the inputs are, and why", ""),
            ("Notes", False, "What to know of the row, or what went wrong", ""),
            ("#", True, "Place in the input", "more"),
            ("Input", False, "As written in the input", "more"),
            *((heading, True, hint, "more") for _, heading, _, hint in shown),
            *((name, False, "Carried over from the input", "more") for name in run.carried),
        ],
        contexts=contexts,
        unchanged=unchanged,
        filters=[
            ("flag", "Verdict", sorted({row.verdict for row in rows if row.verdict})),
            ("structure", "Structure", sorted({row.structure.state for row in rows if row.structure.state})),
            ("status", "Status", sorted({row.status for row in rows})),
            ("confidence", "Confidence", sorted({row.confidence for row in rows if row.confidence})),
        ],
        rows=rows,
        left_out=data["left_out"],
        has_details=bool(data["variants"]),
    )


def _columns(table: pd.DataFrame) -> tuple[list[Any], list[str]]:
    """Return the number columns to show, and the headings of those that read 1.0000 in every row."""
    shown, unchanged = [], []
    for column in TABLE_NUMBERS:
        name, heading, decimals, _ = column
        texts = {number(value, decimals) for value in table[name].dropna()}
        if texts == {UNCHANGED}:
            unchanged.append(heading)
        elif texts:
            shown.append(column)
    return shown, unchanged


def _table_row(
    place: int, row: dict[Any, Any], run: SavedRun, probability: Any, shown: Any, detailed: set[str]
) -> TableRow:
    variant, typed = str(row["variant"]), str(row["input"])
    scored = is_scored(row)
    regions = run.regions_of(variant) if scored else ()
    flag = verdict(row, judged=run.judged) if scored else ""
    structure = structure_finding(row, regions)
    hit = regions[0] if regions else None
    reason = confidence_reason(row) if scored else ""
    remark = str(row["message"] or row["notes"])
    return TableRow(
        number=place,
        name=shorten(variant or typed),
        typed=shorten(typed) if variant and typed != variant else "",
        status=row["status"],
        variant=variant if variant in detailed else "",
        verdict=flag,
        chip=(flag.replace(" ", "-"), VERDICTS.get(flag, flag)) if flag else (row["status"], row["status"]),
        probability=cells_of(row, probability),
        structure=structure,
        context=shorten(short_context(row["site_context"])),
        full_context=shorten(row["site_context"], 600),
        region=""
        if hit is None
        else f"{hit.name} ({hit.positions}), z {number(hit.z, 1)}".replace("z -", "z −"),
        disturbed=hit is not None and hit.disturbed and structure.state == "disturbed",
        confidence=row["confidence"],
        reason=shorten(reason, 120),
        remark=shorten(
            "; ".join(note for note in remark.split("; ") if not (reason and note.endswith(f": {reason}"))),
            300,
        ),
        cells=cells_of(row, shown),
        carried=tuple(shorten(row[column]) for column in run.carried),
    )
