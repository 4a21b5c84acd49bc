"""Draw report.html from a saved run: one file, no request leaves the page, every text escaped.

Only the run folder is read: no model, no network. The page draws itself, each variant when it is
opened, from one block of data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mutscan.reports.digest import digest
from mutscan.reports.html import cells_of, file_name, render_page, shorten
from mutscan.reports.payload import score_payload
from mutscan.reports.saved import read_run
from mutscan.reports.scan import is_scan, render_scan

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from mutscan.reports.saved import SavedRun

TABLE_NUMBERS: Final = (
    ("p_deleterious", "P(deleterious)", 2, "Calibrated probability that the variant is deleterious"),
    ("z_score", "z", 2, "Against other substitutions of this protein; lower is more disruptive"),
    ("lddt_percentile", "Percentile", 1, "0: more disruptive than all other substitutions, 100: milder"),
    ("tm_predicted", "TM predicted", 4, "TM-score: similarity of the whole folds, 1 is identical"),
    ("lddt_predicted_mean", "lDDT predicted", 4, "lDDT: share of local distances kept, mean over residues"),
    ("tm_measured", "TM measured", 4, "From the built mutant structure"),
    ("lddt_measured_mean", "lDDT measured", 4, "From the built mutant structure, mean over residues"),
    ("lddt_measured_site", "lDDT at site", 3, "From the built mutant structure, at the changed residue"),
    ("ca_shift_max", "Largest Cα shift, Å", 2, "Largest movement of a Cα atom"),
    (
        "alphamissense",
        "AlphaMissense",
        3,
        "Another method's value (AlphaFold DB), no part of the verdict",
    ),
)
"""Number columns of the report's table: column, heading, decimals, what it means."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input line in the report's table; `variant` is empty where there is nothing to open."""

    number: int
    text: str
    status: str
    variant: str
    flag: str
    confidence: str
    cells: tuple[tuple[str, str], ...]
    remark: str
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
    shown = [column for column in TABLE_NUMBERS if run.variants[column[0]].notna().any()]
    detailed = {variant["name"] for variant in data["variants"]}
    rows = [
        _table_row(place, row, run, shown, detailed)
        for place, (_, row) in enumerate(run.variants.iterrows(), start=1)
    ]
    return render_page(
        "report.html.j2",
        data,
        block,
        run.provenance,
        viewer=viewer,
        viewer_note=viewer_note,
        digest=digest(run),
        file_name=file_name(run.name),
        headings=[
            ("#", True, "Place in the input"),
            ("Input", False, ""),
            ("Verdict" if run.judged else "Status", False, ""),
            *((heading, True, hint) for _, heading, _, hint in shown),
            ("Confidence", False, "How reliable the inputs are"),
            ("Affected regions, or what went wrong", False, ""),
            *((name, False, "Carried over from the input") for name in run.carried),
        ],
        filters=[
            ("flag", "Verdict", sorted({row.flag for row in rows if row.flag})),
            ("status", "Status", sorted({row.status for row in rows})),
            ("confidence", "Confidence", sorted({row.confidence for row in rows if row.confidence})),
        ],
        rows=rows,
        left_out=data["left_out"],
        has_details=bool(data["variants"]),
    )


def _table_row(place: int, row: pd.Series[Any], run: SavedRun, shown: Any, detailed: set[str]) -> TableRow:
    variant = str(row["variant"])
    return TableRow(
        number=place,
        text=shorten(row["input"]),
        status=row["status"],
        variant=variant if variant in detailed else "",
        flag=row["flag"],
        confidence=row["confidence"],
        cells=cells_of(row.to_dict(), shown),
        remark=shorten(row["message"] or row["affected_regions"], 400),
        carried=tuple(shorten(row[column]) for column in run.carried),
    )
