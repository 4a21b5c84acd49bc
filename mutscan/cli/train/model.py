"""``mutscan train model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import (
    RUNNING,
    DeviceOption,
    JsonOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    QuietOption,
    VerboseOption,
    expand,
)
from mutscan.cli.train.metrics import print_metrics
from mutscan.cli.train.options import (
    ConfigOption,
    PairsListOption,
    PeakOption,
    RestartTrainingOption,
    StepsOption,
    StructuresListOption,
    ThreadsOption,
    TrainingSeedOption,
)

if TYPE_CHECKING:
    from mutscan.progress import Progress
    from mutscan.train.model.make import TrainedModel


def model(
    structures: StructuresListOption,
    pairs: PairsListOption,
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR",
            help="Encoder: a folder, or a name on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="DIR", help="Folder of the new model.", callback=expand, show_default=False
        ),
    ],
    config: ConfigOption = None,
    preset: Annotated[
        str, typer.Option(metavar="mini|paper|repo2025", help="Preset of the settings.")
    ] = "mini",
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for embeddings, labels, state and log (default: OUT.work).",
            callback=expand,
            rich_help_panel=RUNNING,
        ),
    ] = None,
    steps: StepsOption = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.0, help="Passes over all pairs; only for batches of independent pairs."
        ),
    ] = None,
    encoder_rate: Annotated[
        float | None,
        typer.Option(metavar="X", min=0.0, help="Learning rate of the encoder; 0 freezes it."),
    ] = None,
    mutant_weight: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            help="Weight of mutant pairs (picked_as = mutant) against 1 of natural pairs.",
        ),
    ] = None,
    seed: TrainingSeedOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    peak_tflops: PeakOption = None,
    restart: RestartTrainingOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Train a Siamese net, optionally with its encoder, and evaluate it once on the test split.

    The splits are those of the data set (splits.csv beside --structures). For other tables they are drawn
    with --seed. An interrupted command resumes from the last saved state when it is run again. On several
    GPUs: torchrun --nproc-per-node N -m mutscan train model ...
    """
    from mutscan.train.loop.processes import is_follower, own_device
    from mutscan.train.model.config import read_config
    from mutscan.train.model.make import train_model

    terminal = Terminal(quiet=quiet or is_follower(), verbose=verbose)
    terminal.start_log()

    changes = {
        "steps": steps,
        "epochs": epochs,
        "seed": seed,
        "encoder_rate": encoder_rate,
        "mutant_weight": mutant_weight,
    }
    progress = terminal.progress()
    trained = train_model(
        structures,
        pairs,
        encoder,
        out,
        read_config(config, preset, **changes),
        work=work,
        device=device,
        precision=precision.value,
        threads=threads,
        offline=offline,
        restart=restart,
        peak_tflops=peak_tflops,
        progress=progress,
    )
    if is_follower():
        return
    terminal.say(f"model written to {trained.path} (weights of step {trained.best_step})")
    metrics = _evaluate(trained, own_device(device), precision.value, offline, progress)
    print_metrics(metrics, json)


def _evaluate(
    trained: TrainedModel, device: str, precision: str, offline: bool, progress: Progress
) -> dict[str, Any]:
    """Evaluate on the test pairs of each table; those of the first one make the model's metrics.json."""
    from mutscan.files import write_json
    from mutscan.train.evaluate.pairs import evaluate_pairs

    metrics: dict[str, Any] = {}
    for number, tables in trained.test_tables.items():
        evaluation = evaluate_pairs(
            str(trained.path.resolve()),
            *tables,
            split="test",
            device=device,
            precision=precision,
            offline=offline,
            progress=progress,
        )
        evaluation.write(trained.work / ("test" if number == 1 else f"test-{number}"))
        if number == 1:
            metrics = evaluation.metrics
            write_json(trained.path / "metrics.json", metrics)
    return metrics
