"""``mutscan cache``: what was downloaded, and what was computed and kept."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mutscan.cli.console import Terminal, print_json, print_table
from mutscan.cli.options import JsonOption, QuietOption, VerboseOption

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = typer.Typer(help="What was downloaded, and what was computed and kept.", invoke_without_command=True)

COMPUTED: Final = {"embeddings": ".safetensors", "nulls": ".npz"}
"""Folders of the cache that hold computed things, and how their files end: nothing else there is ours."""


class Kind(StrEnum):
    """What of the cache is meant."""

    all = "all"
    uniprot = "uniprot"
    afdb = "afdb"
    interpro = "interpro"
    ted = "ted"
    viewer = "3dmol"
    embeddings = "embeddings"
    nulls = "nulls"


@app.callback()
def cache(context: typer.Context) -> None:
    """Show what was downloaded, and what was computed and kept; without a command: list it."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(json: JsonOption = False, quiet: QuietOption = False, verbose: VerboseOption = False) -> None:
    """List downloads with their version, date and hash, and sum up what was computed."""
    from mutscan.fetch import list_cache
    from mutscan.files import cache_dir

    folder = cache_dir()
    rows: list[dict[str, object]] = [record.to_dict() for record in list_cache(folder)]
    if json:
        print_json(rows)
    else:
        columns = ("kind", "version", "date", "size", "sha256", "url")
        print_table(
            columns,
            ([f"{row[c]}"[:12] if c == "sha256" else row[c] for c in columns] for row in rows),
        )
    terminal = Terminal(quiet=quiet)
    terminal.say(f"{folder}: {len(rows)} downloads, {_megabytes(sum(int(str(row['size'])) for row in rows))}")
    for kind in COMPUTED:
        files = list(_computed(folder, kind))
        terminal.say(f"{kind}: {len(files)} files, {_megabytes(sum(path.stat().st_size for path in files))}")


@app.command("clear")
def clear(
    kind: Annotated[Kind, typer.Option("--kind", help="What to remove.")] = Kind.all,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Remove downloads and computed things; they are made or fetched again when needed.

    Trained models and files that mutscan did not put there stay.
    """
    from mutscan.fetch import clear_cache
    from mutscan.files import cache_dir

    folder = cache_dir()
    removed = 0
    if kind not in COMPUTED:
        removed += clear_cache(folder, None if kind is Kind.all else kind.value)
    for name in COMPUTED:
        if kind in (Kind.all, name):
            for path in list(_computed(folder, name)):
                path.unlink(missing_ok=True)
                removed += 1
    Terminal(quiet=quiet).say(f"{folder}: {removed} files removed")


def _computed(folder: Path, kind: str) -> Iterator[Path]:
    yield from sorted((folder / kind).rglob(f"*{COMPUTED[kind]}"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
