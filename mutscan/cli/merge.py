"""``mutscan merge``: join the parts of a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from mutscan.cli.options import RUNNING, Messages, argument, command, path
from mutscan.cli.version import VersionOption

if TYPE_CHECKING:
    from mutscan.cli.console import Terminal
    from mutscan.pipeline import BatchRun, Run


def end_part(run: Run | BatchRun, terminal: Terminal) -> NoReturn:
    """Say that a part of a job is done and how to join the parts, and end the command."""
    described = run.metadata
    terminal.say(
        f"{run.directory}: part {described['shard']} is done, {described['items_done']:,} of "
        f"{described['items']:,} pieces of work. When all parts are: mutscan merge RUN ... --out DIR"
    )
    raise typer.Exit


@command()
def merge(
    runs: Annotated[
        list[Path], argument(metavar="RUN", help="Run folders of all parts of one job, in any order.")
    ],
    *,
    out: Annotated[Path, path("DIR", "Run folder of the whole.", RUNNING)],
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Join the parts of one job of score, scan or batch, made with --shard I/N.

    Writes what one undivided run would have written. Refuses parts of another
    job, model, version or seed, and names missing parts. Input files must be
    where they were. Exit code: that of the undivided run.
    """
    terminal = messages.terminal()
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.merge(runs, out=out, progress=progress)
    finally:
        progress.finish()
    terminal.say(f"{run.directory}: {len(runs)} parts joined")
    raise typer.Exit(run.exit_code)
