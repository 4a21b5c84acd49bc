"""``mutscan train model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mutscan.cli.options import (
    RUNNING,
    DeviceOption,
    JsonOption,
    Messages,
    OfflineOption,
    Precision,
    PrecisionOption,
    command,
    option,
    path,
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
    from mutscan.train.evaluate.result import Settings
    from mutscan.train.model.make import TrainedModel


@command(
    epochs="Passes over all pairs; only for batches of independent pairs.",
    mutant_weight="Weight of mutant pairs (picked_as = mutant) against 1 of natural pairs.",
)
def model(
    structures: StructuresListOption,
    pairs: PairsListOption,
    encoder: Annotated[str, option("NAME|DIR", "Encoder: a folder, or a name on the Hugging Face hub.")],
    out: Annotated[Path, path("DIR", "Folder of the new model.")],
    *,
    config: ConfigOption = None,
    preset: Annotated[str, option("mini|paper|repo2025", "Preset of the settings.")] = "mini",
    work: Annotated[
        Path | None,
        path("DIR", "Folder for embeddings, labels, state and log (default: OUT.work).", RUNNING),
    ] = None,
    steps: StepsOption = None,
    epochs: Annotated[float | None, option("X", min=0.0)] = None,
    encoder_rate: Annotated[
        float | None, option("X", "Learning rate of the encoder; 0 freezes it.", min=0.0)
    ] = None,
    mutant_weight: Annotated[float | None, option("X", min=0.0)] = None,
    seed: TrainingSeedOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    peak_tflops: PeakOption = None,
    restart: RestartTrainingOption = False,
    messages: Messages,
    json: JsonOption = False,
) -> None:
    """Train a Siamese net, optionally with its encoder, and evaluate it once on the test split.

    The splits are those of the data set (splits.csv beside --structures). For other tables they are drawn
    with --seed. An interrupted command resumes from the last saved state when it is run again. On several
    GPUs: torchrun --nproc-per-node N -m mutscan train model ...
    """
    from mutscan.train.evaluate.result import Settings
    from mutscan.train.loop.processes import is_follower, own_device
    from mutscan.train.model.config import read_config
    from mutscan.train.model.make import train_model

    terminal = messages.terminal(follower=is_follower())
    progress = terminal.progress()
    settings = read_config(
        config,
        preset,
        steps=steps,
        epochs=epochs,
        seed=seed,
        encoder_rate=encoder_rate,
        mutant_weight=mutant_weight,
    )
    trained = train_model(
        structures,
        pairs,
        encoder,
        out,
        settings,
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
    running = Settings("test", own_device(device), precision.value, offline=offline, progress=progress)
    print_metrics(_evaluate(trained, running), json)


def _evaluate(trained: TrainedModel, settings: Settings) -> dict[str, Any]:
    """Evaluate on the test pairs of each table; those of the first one make the model's metrics.json."""
    from mutscan.files import write_json
    from mutscan.train.evaluate.pairs import evaluate_pairs

    metrics: dict[str, Any] = {}
    for number, tables in trained.test_tables.items():
        evaluation = evaluate_pairs(str(trained.path.resolve()), *tables, settings)
        evaluation.write(trained.work / ("test" if number == 1 else f"test-{number}"))
        if number == 1:
            metrics = evaluation.metrics
            write_json(trained.path / "metrics.json", metrics)
    return metrics
