"""``mutscan cache``: list and remove downloaded files and stored results."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mutscan.cli.console import print_json, print_table
from mutscan.cli.options import JsonOption, Messages, command, flag

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = typer.Typer(invoke_without_command=True)

COMPUTED: Final = {"embeddings": ".safetensors", "nulls": ".npz"}
"""Folders of the cache with stored results, and the ending of their files; other files stay."""


class Kind(StrEnum):
    """A part of the cache."""

    all = "all"
    uniprot = "uniprot"
    afdb = "afdb"
    alignments = "alignments"
    interpro = "interpro"
    ted = "ted"
    viewer = "3dmol"
    embeddings = "embeddings"
    nulls = "nulls"


@app.callback()
def cache(context: typer.Context) -> None:
    """List or remove downloaded files and stored results; without a command, list them."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
@command()
def list_(*, json: JsonOption = False, messages: Messages) -> None:
    """List downloads with version, date and hash, and the number and size of stored results."""
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
    terminal = messages.terminal()
    terminal.say(f"{folder}: {len(rows)} downloads, {_megabytes(sum(int(str(row['size'])) for row in rows))}")
    for kind in COMPUTED:
        files = list(_computed(folder, kind))
        terminal.say(f"{kind}: {len(files)} files, {_megabytes(sum(path.stat().st_size for path in files))}")


@app.command("clear")
@command()
def clear(
    *, kind: Annotated[Kind, flag("Part of the cache to remove.")] = Kind.all, messages: Messages
) -> None:
    """Remove downloads and stored results; they are fetched or computed again when needed.

    Trained models and files of other programs are kept.
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
    messages.terminal().say(f"{folder}: {removed} files removed")


def _computed(folder: Path, kind: str) -> Iterator[Path]:
    yield from sorted((folder / kind).rglob(f"*{COMPUTED[kind]}"))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
