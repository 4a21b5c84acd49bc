"""Options that training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.options import RUNNING


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
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file of settings that change the preset.", callback=expand
    ),
]
StepsOption = Annotated[
    int | None, typer.Option("--steps", metavar="N", min=1, help="Number of optimiser steps.")
]
TrainingSeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed", metavar="N", min=0, help="Random seed (default: the settings').", rich_help_panel=RUNNING
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        help="CPU threads (default: number of cores).",
        rich_help_panel=RUNNING,
    ),
]
PeakOption = Annotated[
    float | None,
    typer.Option(
        "--peak-tflops",
        metavar="X",
        min=0.001,
        help="Peak TFLOPS of all devices together, to log the share of it that is used.",
        rich_help_panel=RUNNING,
    ),
]
RestartTrainingOption = Annotated[
    bool,
    typer.Option(
        "--restart", help="Discard the saved state (default: resume from it).", rich_help_panel=RUNNING
    ),
]
