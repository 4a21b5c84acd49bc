"""Options of the tables that training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def expand(value: Path | None) -> Path | None:
    return value.expanduser() if value is not None else None


def expand_all(values: list[Path]) -> list[Path]:
    return [value.expanduser() for value in values]


StructuresListOption = Annotated[
    list[Path],
    typer.Option(
        "--structures",
        metavar="FILE",
        help="Parquet table of chains: id, sequence, ca, cluster25. May be given several times.",
        callback=expand_all,
        show_default=False,
    ),
]
PairsListOption = Annotated[
    list[Path],
    typer.Option(
        "--pairs",
        metavar="FILE|DIR",
        help="Parquet table of pairs, or a folder of its shards; one for each --structures, in order.",
        callback=expand_all,
        show_default=False,
    ),
]
