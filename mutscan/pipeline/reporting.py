"""``report``: draw a saved run again, as a page, figures, a script for a viewer, or one file of data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError
from mutscan.fetch import get_viewer
from mutscan.files import replacing, write_errors
from mutscan.reports.batch import is_batch
from mutscan.reports.batch_page import render_many
from mutscan.reports.design import design_of
from mutscan.reports.export import run_json
from mutscan.reports.figures import draw_run
from mutscan.reports.render import render_report
from mutscan.reports.saved import missing_note, read_run, refuse_part
from mutscan.reports.tables import mavedb_table, mavehgvs_list, proteingym_table, write_parquet, write_pdb
from mutscan.reports.views import view_script
from mutscan.reports.workbook import write_workbook
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMATS: Final = (
    "html", "pymol", "chimerax", "figures", "json", "xlsx", "design", "parquet", "proteingym", "mavedb",
    "mavehgvs", "pdb",
)  # fmt: skip
"""What a report can be drawn as."""

_OF_MANY: Final = ("html", "parquet")
"""Formats of a run of many proteins."""

_TABLES: Final = {
    "proteingym": ("proteingym.csv", proteingym_table),
    "mavedb": ("mavedb.csv", mavedb_table),
    "mavehgvs": ("mavehgvs.txt", mavehgvs_list),
}


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Parameters
    ----------
    path : Path
        A file; of figures and PDB the folder.
    size : int
        Bytes; of figures and PDB their number.
    note : str
        What the user should know; empty for nothing.
    """

    path: Path
    size: int
    note: str


def report(
    run: str | os.PathLike[str],
    *,
    format: str = "html",
    out: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Path:
    """Draw a saved run again; no model is needed.

    Parameters
    ----------
    run : path
        Run folder of `score`, `scan` or `batch`.
    format : {"html", "pymol", "chimerax", "figures", "json", "xlsx", "design", "parquet", "proteingym", \
    "mavedb", "mavehgvs", "pdb"}
        Of many proteins only ``html`` and ``parquet``; ``design`` only of a scan.
    out : path, optional
        Where to write it: a file, for figures and PDB a folder. In the run folder by default.
    offline : bool
        Use 3Dmol.js only where the cache holds it.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UsageError
        Not the folder of a finished run, a part of one, no such format, or no place to write to.
    MissingDependencyError
        ``xlsx`` without the extra `mutscan[xlsx]`.
    """
    target = None if out is None else Path(out).expanduser()
    return write_report(Path(run).expanduser(), format, target, offline=offline).path


def write_report(directory: Path, format: str, out: Path | None, *, offline: bool) -> Written:
    """As `report`, and tell what was written."""
    if format not in FORMATS:
        raise UsageError(f"format {format!r}: expected one of {', '.join(FORMATS)}")
    refuse_part(directory)
    if format not in _OF_MANY and is_batch(directory):
        raise UsageError(
            f"{directory} is a run of many proteins, drawn as {' and '.join(_OF_MANY)} only; for {format} "
            "give the folder of "
            f"one of them: {directory / 'proteins'}/NAME"
        )
    if format == "figures":
        folder = out or directory / "figures"
        return Written(folder, _write_figures(directory, folder), _missing(directory))
    if format == "pdb":
        folder = out or RunFolder(directory).structures
        _check_folder(folder, "structures")
        return Written(folder, write_pdb(directory, folder), "")
    if format == "parquet":
        path = out or directory / "variants.parquet"
        _check_place(path)
        write_parquet(directory, path)
        return Written(path, path.stat().st_size, "")
    if format == "xlsx":
        path, run = out or directory / "report.xlsx", read_run(directory)
        _check_place(path)
        with write_errors(path.parent), replacing(path) as temporary:
            write_workbook(run, temporary)
            return Written(path, temporary.stat().st_size, _missing(directory))
    pieces, file, note = _content(directory, format, offline=offline)
    path = out or file
    size = _write(path, pieces)
    if format in ("pymol", "chimerax") and path.parent.resolve() != file.parent.resolve():
        note = f"the script opens the files beside it: move it to {file.parent}"
    return Written(path, size, note)


def _content(directory: Path, format: str, *, offline: bool) -> tuple[Iterable[str], Path, str]:
    """Text of one file, its default path, and a note for the user."""
    folder = RunFolder(directory)
    if is_batch(directory):
        return [render_many(directory)], folder.report_html, ""
    if format == "html":
        found = get_viewer(offline=offline)
        page = render_report(directory, viewer=found.script, viewer_note=found.note)
        trace = "" if found.script else f"{found.note}; the page draws a simple trace instead"
        return [page], folder.report_html, "; ".join(filter(None, (_missing(directory), trace)))
    if format == "json":
        return run_json(directory), directory / "report.json", _missing(directory)
    if format in _TABLES:
        name, make = _TABLES[format]
        table = make(directory)
        return [table.text], directory / name, table.note
    if format == "design":
        return [design_of(directory)], directory / "design.csv", ""
    name = "view.pml" if format == "pymol" else "view.cxc"
    return [view_script(directory, format)], folder.structures / name, ""


def _missing(directory: Path) -> str:
    return missing_note(directory, read_run(directory, rows=0).provenance)


def _write(path: Path, pieces: Iterable[str]) -> int:
    if path.is_dir() or not path.parent.is_dir():
        # An error in the run folder is more useful to the user, so it is raised first.
        for _ in pieces:
            break
    _check_place(path)
    with write_errors(path.parent), replacing(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(pieces)
        return temporary.stat().st_size


def _check_place(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--out {path}: expected a file name in an existing folder")


def _write_figures(directory: Path, folder: Path) -> int:
    written = 0
    for drawing in draw_run(directory):
        _check_folder(folder, "figures")
        with write_errors(folder):
            drawing.write(folder)
        written += 1
    return written


def _check_folder(folder: Path, content: str) -> None:
    with write_errors(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"--out {folder} is a file; expected a folder for the {content} (it may be new)")
        folder.mkdir(exist_ok=True)
