"""A saved scan, read back, and its compact report: one row for each position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jinja2
import pandas as pd

from mutscan import __version__
from mutscan.errors import UsageError
from mutscan.report.digest import UNCALIBRATED, facts_of, number
from mutscan.report.saved import read_run
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOP: Final = 5
"""Positions named as the most and the least tolerant."""

COLUMNS: Final = (
    ("tolerance", "Tolerance", 2),
    ("z_score_mean", "z, mean", 2),
    ("z_score_min", "z, lowest", 2),
    ("lddt_predicted_mean", "lDDT predicted, mean", 4),
    ("lddt_predicted_min", "lDDT predicted, lowest", 4),
    ("tm_predicted_mean", "TM predicted, mean", 4),
    ("p_deleterious_mean", "P(deleterious), mean", 2),
    ("plddt", "pLDDT", 0),
)
"""Number columns of the report's table: column of positions.csv, heading, decimals."""

_TEXT: Final = {"wild_type": str, "structure_number": str, "worst": str}


@dataclass(frozen=True, eq=False)
class SavedScan:
    """What the folder of a scan says, its single substitutions aside.

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
            f"{directory}: run.json says nothing of a scan; expected the folder of 'mutscan scan'"
        )
    try:
        table = pd.read_csv(path, dtype=_TEXT)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); run mutscan scan again") from error
    missing = {"position", "worst", *_TEXT, *(column for column, _, _ in COLUMNS)} - {*table.columns}
    if missing:
        raise UsageError(f"{path}: lacks the columns {', '.join(sorted(missing))}; run mutscan scan again")
    return SavedScan(directory, table, facts_of(run), run.provenance)


def render_scan(directory: Path) -> str:
    """HTML of the report of a saved scan: a complete page that needs no other file.

    Raises
    ------
    UsageError
        As `read_scan`.
    """
    scan = read_scan(directory)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mutscan.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("scan.html.j2").render(
        version=__version__,
        name=str(scan.provenance.get("wild_type", {}).get("name", directory.name)),
        scan=scan,
        uncalibrated=UNCALIBRATED,
        headings=[heading for _, heading, _ in COLUMNS],
        extremes=[
            ("Least tolerant", _rows(scan.least_tolerant())),
            ("Most tolerant", _rows(scan.most_tolerant())),
        ],
        rows=_rows(scan.positions),
    )


def _rows(positions: pd.DataFrame) -> list[tuple[str, str, tuple[str, ...], str]]:
    """Residue, its number in the structure, numbers, worst substitution of some positions."""
    return [
        (
            f"{row['wild_type']}{row['position']}",
            row["structure_number"] if isinstance(row["structure_number"], str) else "",
            tuple(number(row[column], decimals) for column, _, decimals in COLUMNS),
            row["worst"] if isinstance(row["worst"], str) else "",
        )
        for row in positions.to_dict(orient="records")
    ]
