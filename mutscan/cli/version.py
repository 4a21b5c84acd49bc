"""``--version``, which the root command and others have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mutscan.version import __version__


def _print(value: bool) -> None:
    if value:
        typer.echo(f"mutscan {__version__}")
        raise typer.Exit


VersionOption: Any = Annotated[
    bool,
    typer.Option(
        "--version",
        help="Print the version and exit.",
        rich_help_panel="Output",
        callback=_print,
        is_eager=True,
    ),
]
