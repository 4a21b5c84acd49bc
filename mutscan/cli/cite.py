"""``mutscan cite``: what to cite."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.options import argument, command, flag, read_path
from mutscan.cli.version import VersionOption


class CiteFormat(StrEnum):
    """What citations can be written as."""

    text = "text"
    bibtex = "bibtex"


@command(format="text: one line each. bibtex: entries for LaTeX.")
def cite(
    run: Annotated[
        Path | None,
        argument(
            metavar="[RUN]", help="A run folder of score, scan or batch: what it used.", parser=read_path
        ),
    ] = None,
    *,
    format: Annotated[CiteFormat, flag()] = CiteFormat.text,
    version: VersionOption = False,
) -> None:
    """Print what to cite: mutscan, or all that a run used.

    Of a run: mutscan, the model and its encoder, the builder, databases with the versions of their
    records, and the methods. Read from run.json.
    """
    from mutscan.reports.citing import cite as cited

    typer.echo(cited(run, format=format.value))
