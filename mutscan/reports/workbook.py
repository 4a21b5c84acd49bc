"""A saved run as an Excel workbook: rows with their accounts, regions and evidence, each on a sheet."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import MissingDependencyError, UsageError
from mutscan.reports.digest import facts_of, headline
from mutscan.results import EVIDENCE_SCHEMA, REGION_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from mutscan.reports.saved import SavedRun

MOST_ROWS: Final = 1_048_575
"""Rows of an Excel sheet below its heading."""

MOST_LETTERS: Final = 32_767
"""Letters of an Excel cell; longer texts are cut, variants.csv holds them in full."""

_WIDEST: Final = 48

_QUOTED: Final = re.compile(r"'(?=[=+\-@\t])")
"""What variants.csv writes before a text that a spreadsheet would run; a cell of text needs none."""


def write_workbook(run: SavedRun, path: Path) -> int:
    """Write the workbook of a saved run; returns its number of sheets.

    Texts stay texts, also where they start with ``=`` or look like numbers; unknown cells are empty. Of
    more regions than a sheet has rows, those stay that are hit most or beyond background.

    Parameters
    ----------
    run : SavedRun
    path : Path

    Raises
    ------
    MissingDependencyError
        XlsxWriter is not installed.
    UsageError
        A table of the run is damaged, or it has more rows than an Excel sheet holds.
    """
    try:
        import xlsxwriter
    except ImportError as error:
        raise MissingDependencyError(
            "the format xlsx needs the package XlsxWriter; install it: pip install 'mutscan[xlsx]'"
        ) from error
    if len(run.variants) > MOST_ROWS:
        raise UsageError(
            f"{run.directory}: {len(run.variants):,} rows do not fit an Excel sheet ({MOST_ROWS:,}); "
            "use variants.csv"
        )
    rows = run.json_rows()
    sheets: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
        "variants": ([*dict.fromkeys(key for row in rows for key in row)], [[*row.values()] for row in rows]),
        "regions": (REGION_SCHEMA.names, _regions(run)),
        "evidence": (EVIDENCE_SCHEMA.names, [*_evidence(run)]),
        "run": (["what", "value"], [("Result", headline(run)), *facts_of(run)]),
    }
    # Formulas and addresses in texts are never live.
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(str(path), options) as book:
        # The same run gives the same bytes: the clock is left out.
        book.set_properties({"title": run.name, "created": _finished(run)})
        bold = book.add_format({"bold": True, "bottom": 1})
        filled = {name: sheet for name, sheet in sheets.items() if sheet[1]}
        for name, (headings, cells) in filled.items():
            _write(book.add_worksheet(name), headings, cells, bold)
    return len(filled)


def _write(sheet: Any, headings: Sequence[str], rows: Iterable[Sequence[object]], bold: Any) -> None:
    widths = [len(str(heading)) for heading in headings]
    for column, heading in enumerate(headings):
        sheet.write_string(0, column, str(heading)[:MOST_LETTERS], bold)
    last = 0
    for last, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            if isinstance(value, bool):
                sheet.write_boolean(last, column, value)
            elif isinstance(value, int | float):
                if math.isfinite(value):
                    sheet.write_number(last, column, value)
            elif value:
                text = str(value)[:MOST_LETTERS]
                text = text[1:] if _QUOTED.match(text) else text
                sheet.write_string(last, column, text)
                widths[column] = max(widths[column], len(text))
    for column, width in enumerate(widths):
        sheet.set_column(column, column, min(width + 2, _WIDEST))
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, last, len(headings) - 1)


def _regions(run: SavedRun) -> list[tuple[object, ...]]:
    found = [
        (place, variant, region)
        for variant in run.scored["variant"]
        for place, region in enumerate(run.regions_of(variant))
    ]
    if len(found) > MOST_ROWS:
        found = [one for one in found if one[0] == 0 or one[2].disturbed][:MOST_ROWS]
    return [
        (
            variant,
            r.name,
            r.kind,
            r.source,
            r.positions,
            r.drop,
            r.z,
            r.measured_drop,
            r.distance,
            r.disturbed,
        )
        for _, variant, r in found
    ]


def _evidence(run: SavedRun) -> Iterator[tuple[object, ...]]:
    for variant, pieces in run.evidence().items():
        for piece in pieces:
            yield (variant, *piece)


def _finished(run: SavedRun) -> datetime:
    try:
        return datetime.fromisoformat(str(run.provenance.get("finished"))).replace(tzinfo=None)
    except ValueError:
        return datetime(2000, 1, 1)
