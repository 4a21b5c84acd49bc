"""``mutscan report``: draw the report of a saved run again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mutscan.cli.options import Messages, OfflineOption, argument, command, expand, flag, path
from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mutscan.cli.console import Terminal


class Format(StrEnum):
    """What a report can be drawn as."""

    html = "html"
    pymol = "pymol"
    chimerax = "chimerax"
    figures = "figures"
    json = "json"


@command(
    format="html: the page. pymol, chimerax: a script that opens the structures. "
    "figures: SVG and PNG of each figure. json: the whole run as one file.",
    out="Where to write it: a file, for figures a folder. Default: RUN/report.html, "
    "RUN/structures/view.pml or view.cxc, RUN/figures, RUN/report.json.",
)
def report(
    run: Annotated[
        Path, argument(metavar="RUN", help="A run folder of score, scan or batch.", callback=expand)
    ],
    *,
    format: Annotated[Format, flag()] = Format.html,
    out: Annotated[Path | None, path("PATH")] = None,
    offline: OfflineOption = False,
    messages: Messages,
) -> None:
    """Draw the report of a saved run again.

    No model is needed. The network is used at most once, to fetch 3Dmol.js.
    """
    from mutscan.report.batch import is_batch

    terminal = messages.terminal()
    if format is not Format.html and is_batch(run):
        raise UsageError(
            f"{run} is a run of many proteins, drawn as html only; for {format.value} give the folder of "
            f"one of them: {run / 'proteins'}/NAME"
        )
    if format is Format.figures:
        _write_figures(run, out, terminal)
        return
    pieces, file, note = _content(run, format, offline=offline)
    size = _write(out or file, pieces)
    script = format in (Format.pymol, Format.chimerax)
    if script and out and out.parent.resolve() != file.parent.resolve():
        note = f"the script opens the files beside it: move it to {file.parent}"
    if note:
        terminal.say(f"note: {note}")
    terminal.say(f"{format.value} report written to {out or file} ({size / 1e6:.1f} MB)")


def _content(directory: Path, format: Format, *, offline: bool) -> tuple[Iterable[str], Path, str]:
    """Text of one file, its default path, and a note for the user."""
    from mutscan.report.batch import is_batch
    from mutscan.results import RunFolder

    folder = RunFolder(directory)
    if is_batch(directory):
        from mutscan.report.batch_page import render_many

        return [render_many(directory)], folder.report_html, ""
    if format is Format.html:
        from mutscan.fetch import get_viewer
        from mutscan.report.render import render_report

        found = get_viewer(offline=offline)
        page = render_report(directory, viewer=found.script, viewer_note=found.note)
        note = "" if found.script else f"{found.note}; the page draws a simple trace instead"
        return [page], folder.report_html, note
    if format is Format.json:
        from mutscan.report.export import run_json

        return run_json(directory), directory / "report.json", ""
    from mutscan.report.views import view_script

    name = "view.pml" if format is Format.pymol else "view.cxc"
    path = folder.structures / name
    script = view_script(directory, format.value)
    return [script], path, ""


def _write(path: Path, pieces: Iterable[str]) -> int:
    from mutscan.files import replacing, write_errors

    if path.is_dir() or not path.parent.is_dir():
        # An error in the run folder is more useful to the user, so it is raised first.
        for _ in pieces:
            break
        raise UsageError(f"--out {path}: expected a file name in an existing folder")
    with write_errors(path.parent), replacing(path) as temporary:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(pieces)
        return temporary.stat().st_size


def _write_figures(directory: Path, out: Path | None, terminal: Terminal) -> None:
    from mutscan.files import write_errors
    from mutscan.report.figures import draw_run

    drawings = draw_run(directory)
    folder = out or directory / "figures"
    written = 0
    for drawing in drawings:
        with write_errors(folder):
            if folder.exists() and not folder.is_dir():
                raise UsageError(
                    f"--out {folder} is a file; expected a folder for the figures (it may be new)"
                )
            folder.mkdir(exist_ok=True)
            drawing.write(folder)
        written += 1
    terminal.say(f"{written} figures, each as SVG and PNG, written to {folder}/")
