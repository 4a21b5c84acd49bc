"""Options that training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mutscan.cli.options import RUNNING, expand

VARIANTS = "Variants of known effect"


def expand_all(values: list[Path]) -> list[Path]:
    return [value.expanduser() for value in values]


def path_option(name: str, metavar: str, words: str, panel: str | None = None) -> Any:
    """Option that takes a path."""
    return typer.Option(
        name, metavar=metavar, help=words, callback=expand, rich_help_panel=panel, show_default=False
    )


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
StructuresDirOption = Annotated[
    Path | None,
    path_option(
        "--structures-dir",
        "DIR",
        "Folder of the structures that tables name (default: the proteins table's folder and subfolders).",
        VARIANTS,
    ),
]
WorkOption = Annotated[
    Path | None,
    path_option(
        "--work",
        "DIR",
        "Folder that keeps finished proteins, so that interrupted commands resume (default: the cache).",
        VARIANTS,
    ),
]
DmsOption = Annotated[
    Path | None,
    path_option("--dms", "FILE", "CSV of scans: assay, variant, score (higher = fitter).", VARIANTS),
]
StabilityOption = Annotated[
    Path | None,
    path_option(
        "--stability", "FILE", "CSV: protein, variant, ddG (positive = destabilising), source.", VARIANTS
    ),
]
LABELLED = path_option("--variants", "FILE", "CSV: protein, variant, label (deleterious, neutral).", VARIANTS)
