"""Options of the tables that training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.options import expand as expand


def expand_all(values: list[Path]) -> list[Path]:
    return [value.expanduser() for value in values]


StructuresOption = Annotated[
    Path,
    typer.Option(
        "--structures",
        metavar="FILE",
        help="Parquet table of chains: id, sequence, ca, cluster25.",
        callback=expand,
        show_default=False,
    ),
]
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
PairsOption = Annotated[
    Path,
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="Parquet table of pairs: id1, id2, tm_norm1, tm_norm2, alignment.",
        callback=expand,
        show_default=False,
    ),
]
