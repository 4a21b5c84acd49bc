"""``mutscan train evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import (
    BatchResiduesOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    QuietOption,
    VerboseOption,
)
from mutscan.cli.train.metrics import print_metrics
from mutscan.cli.train.tables import PairsOption, StructuresOption, expand


def evaluate(
    structures: StructuresOption,
    pairs: PairsOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="For metrics.json and predictions.parquet.",
            callback=expand,
            show_default=False,
        ),
    ],
    model: ModelOption = "mutscan-mini",
    split: Annotated[
        str | None,
        typer.Option(
            metavar="train|validation|test",
            help="Only pairs inside this split of the model's own training (default: all that are given).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the bootstrap.")] = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Measure a model on pairs of proteins, beside its baselines, with 95 % intervals.

    Refused when the model was trained on one of the proteins, or on a relative (cluster25).
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.errors import UsageError
    from mutscan.train.evaluate import evaluate_pairs
    from mutscan.train.splits import SPLITS

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    evaluation = evaluate_pairs(
        model,
        structures,
        pairs,
        split=split,
        device=device,
        precision=precision.value,
        batch_residues=batch_residues,
        offline=offline,
        seed=seed,
        progress=terminal.progress(),
    )
    evaluation.write(out)
    terminal.say(f"metrics.json and predictions.parquet written to {out}")
    print_metrics(evaluation.metrics, json)
