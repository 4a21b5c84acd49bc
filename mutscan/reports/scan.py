"""A saved scan, read back, and its compact report: one row for each position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.reports.affected import in_words, join_stretches
from mutscan.reports.block import Block
from mutscan.reports.digest import UNCALIBRATED, facts_of, section
from mutscan.reports.html import cells_of, file_name, render_page
from mutscan.reports.payload import add_wild_type, clip
from mutscan.reports.saved import read_run, reading
from mutscan.residues import STANDARD
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TOP: Final = 5
"""Positions named as the most and the least tolerant."""

COLUMNS: Final = (
    (
        "tolerance",
        "Tolerance",
        2,
        "Share of the substitutions that count as tolerated; see the note below the table",
    ),
    ("p_deleterious_mean", "P(deleterious), mean", 2, "Calibrated probability, mean over the substitutions"),
    ("z_score_mean", "z, mean", 2, "Against all other substitutions; lower is more disruptive"),
    ("z_score_min", "z, lowest", 2, "Of the worst substitution"),
    ("lddt_predicted_mean", "lDDT predicted, mean", 4, "Share of local distances kept"),
    ("lddt_predicted_min", "lDDT predicted, lowest", 4, "Of the worst substitution"),
    ("tm_predicted_mean", "TM predicted, mean", 4, "Similarity of the whole folds"),
    ("plddt", "pLDDT", 0, "The structure model's own confidence"),
)
"""Number columns of the report's table: column of positions.csv, heading, decimals, what it means."""

INTOLERANT: Final = 0.5
"""Tolerance up to which a position counts as tolerating few substitutions."""

CELLS: Final = (
    ("p_deleterious", "u1", 1 / 250, 0.0),
    ("z_score", "i2", 0.01, 0.0),
    ("lddt_percentile", "u2", 0.01, 0.0),
    ("lddt_predicted_mean", "u2", 1 / 65534, 0.0),
)
"""Scores of the heat map: column of scan.parquet, and how it is stored in the page."""

_TEXT: Final = {"wild_type": str, "structure_number": str, "worst": str}


@dataclass(frozen=True, eq=False)
class SavedScan:
    """Contents of the folder of a scan, without its single substitutions.

    Parameters
    ----------
    directory : Path
    positions : DataFrame
        positions.csv.
    facts : tuple of (str, str)
        As of any run.
    provenance : mapping
        run.json.
    """

    directory: Path
    positions: pd.DataFrame
    facts: tuple[tuple[str, str], ...]
    provenance: Mapping[str, Any]

    @property
    def about(self) -> Mapping[str, Any]:
        """What was scanned, and against which null."""
        stored: Mapping[str, Any] = self.provenance["scan"]
        return stored

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by status."""
        stored: Mapping[str, int] = self.provenance["counts"]
        return stored

    @property
    def calibrated(self) -> bool:
        """Whether the rows hold probabilities."""
        return bool(self.positions["p_deleterious_mean"].notna().any())

    def least_tolerant(self) -> pd.DataFrame:
        """Return the positions with the lowest tolerance, of these with the lowest mean z."""
        return self.positions.sort_values(["tolerance", "z_score_mean", "position"]).head(TOP)

    @property
    def harmful(self) -> str:
        """What a substitution is that does not count as tolerated; positions.csv counts by the same."""
        tenth = "among the most disruptive tenth of the protein's"
        return "flagged deleterious" if self.calibrated else tenth

    def most_tolerant(self) -> pd.DataFrame:
        """Return the positions with the highest tolerance, of these with the highest mean z."""
        return self.positions.sort_values(
            ["tolerance", "z_score_mean", "position"], ascending=[False, False, True]
        ).head(TOP)


def is_scan(directory: Path) -> bool:
    """Whether a run folder is that of a scan."""
    return RunFolder(directory).positions_csv.is_file()


def read_scan(directory: Path) -> SavedScan:
    """Read run.json and positions.csv of a scan's folder.

    Raises
    ------
    UsageError
        It is no folder of a finished scan, or a damaged one.
    """
    run = read_run(directory, rows=1)
    path = RunFolder(directory).positions_csv
    if not isinstance(run.provenance.get("scan"), dict):
        raise UsageError(
            f"{directory}: run.json does not describe a scan; expected the folder of 'mutscan scan'"
        )
    with reading(path, "scan"):
        table = pd.read_csv(path, dtype=_TEXT)
    missing = {"position", "worst", *_TEXT, *(column for column, *_ in COLUMNS)} - {*table.columns}
    if missing:
        raise UsageError(
            f"{path}: columns are missing ({', '.join(sorted(missing))}); run mutscan scan again"
        )
    return SavedScan(directory, table, facts_of(run), run.provenance)


def headline(scan: SavedScan) -> str:
    """State in one sentence where the protein tolerates least."""
    name = str(scan.provenance.get("wild_type", {}).get("name", scan.directory.name))
    worst = scan.positions[scan.positions["tolerance"] <= INTOLERANT]
    stretches = join_stretches((int(p), int(p)) for p in worst["position"])
    longest = sorted(sorted(stretches, key=lambda s: s[0] - s[1])[:4])
    if not stretches:
        return f"Every position of {name} tolerates most of its substitutions."
    where = in_words(longest)
    more = ", most of all" if len(stretches) > len(longest) else ":"
    return (
        f"{len(worst)} of {len(scan.positions)} positions of {name} tolerate few substitutions{more} {where}."
    )


def render_scan(directory: Path, *, viewer: str = "", viewer_note: str = "") -> str:
    """HTML of the report of a saved scan: a complete page that needs no other file.

    Parameters
    ----------
    directory : Path
    viewer, viewer_note : str
        As `mutscan.reports.render.render_report`.

    Raises
    ------
    UsageError
        As `read_scan`.
    """
    scan = read_scan(directory)
    run = read_run(directory, rows=1)
    about = section(scan.provenance, "wild_type")
    name = str(about.get("name", directory.name))
    block = Block()
    data: dict[str, Any] = {
        "kind": "scan",
        "name": clip(name),
        "sequence": str(about.get("sequence", "")),
        "positions": [int(p) for p in scan.positions["position"]],
        "letters": STANDARD,
    }
    residues = next((frame for _, frame in run.residues()), None)
    if residues is not None:
        add_wild_type(directory, scan.provenance, residues, data, block)
    _add_cells(directory, len(scan.positions), block)
    data["arrays"] = block.index
    shown = [column for column in COLUMNS if scan.positions[column[0]].notna().any()]
    return render_page(
        "scan.html.j2",
        data,
        block.text(),
        scan.provenance,
        viewer=viewer,
        viewer_note=viewer_note,
        name=name,
        headline=headline(scan),
        remainder=(
            f"Few means that at least {100 - 100 * INTOLERANT:.0f} % of the substitutions of a position are "
            f"{scan.harmful}."
        ),
        harmful=scan.harmful,
        calibrated=scan.calibrated,
        uncalibrated=UNCALIBRATED,
        facts=scan.facts,
        counts=scan.counts,
        about=scan.about,
        file_name=f"{file_name(name)}-positions",
        headings=[
            ("Residue", True, ""),
            ("In the structure", False, "The structure file's own number"),
            *((heading, True, hint) for _, heading, _, hint in shown),
            ("Worst", False, "The substitution with the lowest z"),
        ],
        rows=[_row(row, shown) for row in scan.positions.to_dict(orient="records")],
    )


def _add_cells(directory: Path, positions: int, block: Block) -> None:
    """Add the heat map: 20 values for each position and score."""
    path = RunFolder(directory).scan_parquet
    with reading(path, "scan"), pq.ParquetFile(path) as stored:
        table = stored.read(columns=[name for name, *_ in CELLS]).to_pandas()
    if len(table) != len(STANDARD) * positions:
        raise UsageError(
            f"{path}: {len(table)} rows, expected {len(STANDARD)} for each of {positions} positions; "
            "run mutscan scan again"
        )
    for name, dtype, step, low in CELLS:
        block.add(f"scan_{name}", table[name].to_numpy(dtype=float), dtype, step=step, low=low)


def _row(row: Mapping[Any, Any], shown: Sequence[tuple[str, str, int, str]]) -> dict[str, Any]:
    """Cells of one position in the page's table."""
    return {
        "position": int(row["position"]),
        "residue": f"{row['wild_type']}{row['position']}",
        "structure_number": row["structure_number"] if isinstance(row["structure_number"], str) else "",
        "cells": cells_of(row, shown),
        "worst": row["worst"] if isinstance(row["worst"], str) else "",
    }
