"""The design table of a scan: what each position tolerates, and where it lies; for protein engineers."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Final

from mutscan.calling.context import read_context
from mutscan.errors import UsageError
from mutscan.reports.saved import reading
from mutscan.results import RunFolder, format_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from mutscan.calling.context import SiteContext
    from mutscan.reports.scan import SavedScan

DESIGN_COLUMNS: Final = (
    "position", "wild_type", "structure_number", "tolerated", "uncertain", "best", "worst",
    "p_deleterious_mean", "tolerance", "element", "burial", "accessibility", "nearest_site",
    "distance_to_site", "plddt",
)  # fmt: skip
"""Columns of the design table.

Those of positions.csv by the same name; ``element`` (``helix 2 (24-41)``), ``burial`` and ``accessibility``
(0-1) are read from its ``site_context``. Letters in ``tolerated`` and ``uncertain`` stand best first.
"""


def design_csv(scan: SavedScan) -> str:
    """Text of the design table, one row for each position.

    Raises
    ------
    UsageError
        positions.csv is damaged.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(DESIGN_COLUMNS)
    for row, context in zip(
        scan.positions.to_dict(orient="records"),
        contexts(scan.directory, scan.positions),
        strict=True,
    ):
        where = {
            "element": element_of(context),
            "burial": context.burial,
            "accessibility": context.accessibility,
        }
        cells = {str(name): value for name, value in row.items()} | where
        writer.writerow([format_cell(column, cells[column]) for column in DESIGN_COLUMNS])
    return stream.getvalue()


def contexts(directory: Path, positions: pd.DataFrame) -> Iterator[SiteContext]:
    """Yield where each position sits; raises as `design_csv`."""
    with reading(RunFolder(directory).positions_csv, "scan"):
        for cell in positions["site_context"]:
            yield read_context(cell)


def element_of(context: SiteContext) -> str:
    """Name the helix, strand or loop of a position, with its range.

    Examples
    --------
    >>> element_of(read_context("helix 2 (24-41), last turn; buried"))
    'helix 2 (24-41)'
    """
    number = f" {context.number}" if context.number else ""
    return f"{context.element}{number} ({context.first}-{context.last})" if context.first else context.element


def burial_of(context: SiteContext) -> str:
    r"""Say how buried a position is.

    Examples
    --------
    >>> burial_of(read_context("helix 2 (24-41); buried (4 % accessible)"))
    'buried, 4\xa0%'
    """
    share = "" if math.isnan(context.accessibility) else f", {100 * context.accessibility:.0f}\xa0%"
    return f"{context.burial}{share}"


def design_of(directory: Path) -> str:
    """Text of the design table of a scan's folder.

    Raises
    ------
    UsageError
        It is no scan, or a damaged one.
    """
    from mutscan.reports.scan import is_scan, read_scan

    if not is_scan(directory):
        raise UsageError(f"{directory} holds no scan; a design table needs the folder of 'mutscan scan'")
    return design_csv(read_scan(directory))
