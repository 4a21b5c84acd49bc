"""``mutscan report``: draw again from a saved run, no model needed."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import OfflineOption, QuietOption, VerboseOption
from mutscan.errors import UsageError


class Format(StrEnum):
    """What a report can be drawn as."""

    html = "html"


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, as score left it.", show_default=False)
    ],
    format: Annotated[Format, typer.Option("--format", help="What to draw.")] = Format.html,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it (default: RUN/report.html)."),
    ] = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Draw the report of a saved run again; no model needed, and the network once for 3Dmol.js at most."""
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.fetch import get_viewer
    from mutscan.files import replacing, write_errors
    from mutscan.report.render import render_report
    from mutscan.results import RunFolder

    directory = run.expanduser()
    found = get_viewer(offline=offline)
    page = render_report(directory, viewer=found.script, viewer_note=found.note)
    path = out.expanduser() if out is not None else RunFolder(directory).report_html
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"--out {path}: expected a file name in an existing folder")
    with write_errors(path.parent), replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if not found.script:
        terminal.say(f"note: {found.note}; the page draws a simple trace instead")
    terminal.say(f"{format.value} report written to {path} ({len(page.encode()) / 1e6:.1f} MB)")
