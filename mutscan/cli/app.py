"""The `mutscan` command and its subcommands, in the order a new user meets them."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import typer

from mutscan.cli.errors import MutscanGroup
from mutscan.cli.version import VersionOption
from mutscan.errors import ROW_CODES

SUMMARIES: Final = {
    "score": "Score variants of one protein: predicted and measured TM-score and lDDT, one row each.",
    "scan": "Score all 19 substitutions of every residue, to see what the protein tolerates and where.",
    "check": "Dry run of score: read everything, verify wild-type letters, print what would be done.",
    "compare": "Compare two proteins: predicted and, with structures, measured TM-score and lDDT.",
    "batch": "Score variants of many proteins in one run.",
    "merge": "Join the parts of one job of score, scan or batch, made with --shard I/N.",
    "align": "Search your own sequence file for relatives of a protein, and write an alignment.",
    "report": "Draw the report of a saved run again.",
    "cite": "Print what to cite: mutscan, or all that a run used.",
    "mcp": "Serve check, score, explain and list_runs to an assistant, by the Model Context Protocol.",
    "models": "List, describe and verify the installed models; without a command, list them.",
    "cache": "List or remove downloaded files and stored results; without a command, list them.",
    "doctor": "Check the installation: GPU, OpenMM, MODELLER and its key, models, cache, disk, network.",
    "train": "Train and evaluate models; 'mutscan train --help' lists the steps.",
}
"""What the help says of each command; the command itself is imported only when it runs."""

_CODES = "\n\n".join(["Error codes of rows:", *(f"{code}: {meaning}" for code, meaning in ROW_CODES.items())])
_EPILOGS: Final = {"score": _CODES, "batch": _CODES}


class _Commands(MutscanGroup):
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command to run, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest


def load(name: str) -> Any:
    """Import the command called `name`, from the module of that name."""
    module = import_module(f"mutscan.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_group(module.app)
    alone = typer.Typer(add_completion=False)
    alone.command(name, epilog=_EPILOGS.get(name))(getattr(module, name))
    return typer.main.get_command(alone)


# Boxes of the help are drawn by a part of rich that takes as long to import as all the rest.
app = typer.Typer(
    name="mutscan",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: mutscan score examples/globin/wild_type.cif H97A 'E10K;K144E' --out globin-run",
)


@app.callback()
def root(version: VersionOption = False) -> None:
    """Predict which variants disturb a protein's structure, and where."""


for _name, _summary in SUMMARIES.items():
    app.command(_name, short_help=_summary)(lambda: None)
