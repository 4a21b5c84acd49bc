"""``mutscan train model``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import (
    DeviceOption,
    JsonOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    QuietOption,
    VerboseOption,
)
from mutscan.cli.train.metrics import print_metrics
from mutscan.cli.train.tables import PairsOption, StructuresOption, expand


def model(
    structures: StructuresOption,
    pairs: PairsOption,
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR",
            help="The encoder: a folder, or a name on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The model folder.", callback=expand, show_default=False),
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings as TOML; they change the preset.", callback=expand),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="mini|paper|repo2025", help="Settings to begin with.")
    ] = "mini",
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="For embeddings, labels, state and log (default: OUT.work).", callback=expand
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps of the optimiser.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="For all that is drawn at random.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads of the net (default: cores).")
    ] = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew (default: go on where it was stopped).")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Train a Siamese net, with its encoder if wanted, and evaluate it once on the test split.

    Stopped at any time, the same command goes on where it was.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.train.config import read_config
    from mutscan.train.recipe import train_model

    trained = train_model(
        structures,
        pairs,
        encoder,
        out,
        read_config(config, preset, steps=steps, seed=seed),
        work=work,
        device=device,
        precision=precision.value,
        threads=threads,
        offline=offline,
        restart=restart,
        progress=terminal.progress(),
    )
    terminal.say(f"model written to {trained.path} (weights of step {trained.best_step})")
    print_metrics(trained.metrics, json)
