"""Options for files and folders of the commands on labelled variants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mutscan.cli.train.tables import expand

VARIANTS = "Variants of known effect"


def path_option(name: str, metavar: str, words: str, panel: str | None = None) -> Any:
    """Option that takes a path."""
    return typer.Option(
        name, metavar=metavar, help=words, callback=expand, rich_help_panel=panel, show_default=False
    )


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
