"""Options that training commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mutscan.cli.options import RUNNING, count, flag, option, path

VARIANTS = "Variants of known effect"

StructuresListOption = Annotated[
    list[Path],
    path("FILE", "Parquet table of chains: id, sequence, ca, cluster25. May be given several times."),
]
PairsListOption = Annotated[
    list[Path],
    path(
        "FILE|DIR",
        "Parquet table of pairs, or a folder of its shards; one for each --structures, in order.",
    ),
]
ConfigOption = Annotated[Path | None, path("FILE", "TOML file of settings that change the preset.")]
StepsOption = Annotated[int | None, count("Number of optimiser steps.")]
TrainingSeedOption = Annotated[int | None, count("Random seed (default: the settings').", RUNNING, 0)]
ThreadsOption = Annotated[int | None, count("CPU threads (default: number of cores).", RUNNING)]
PeakOption = Annotated[
    float | None,
    option(
        "X", "Peak TFLOPS of all devices together, to log the share of it that is used.", RUNNING, min=0.001
    ),
]
RestartTrainingOption = Annotated[
    bool, flag("Discard the saved state (default: resume from it).", RUNNING, "--restart")
]
StructuresDirOption = Annotated[
    Path | None,
    path(
        "DIR",
        "Folder of the structures that tables name (default: the proteins table's folder and subfolders).",
        VARIANTS,
    ),
]
WorkOption = Annotated[
    Path | None,
    path(
        "DIR",
        "Folder that keeps finished proteins, so that interrupted commands resume (default: the cache).",
        VARIANTS,
    ),
]
DmsOption = Annotated[
    Path | None, path("FILE", "CSV of scans: assay, variant, score (higher = fitter).", VARIANTS)
]
StabilityOption = Annotated[
    Path | None, path("FILE", "CSV: protein, variant, ddG (positive = destabilising), source.", VARIANTS)
]
LABELLED = path("FILE", "CSV: protein, variant, label (deleterious, neutral).", VARIANTS)
