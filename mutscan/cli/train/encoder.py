"""``mutscan train encoder``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from mutscan.cli.console import print_json_object, print_table
from mutscan.cli.options import (
    RUNNING,
    DeviceOption,
    JsonOption,
    Messages,
    Precision,
    command,
    count,
    flag,
    option,
    path,
)
from mutscan.cli.train.options import (
    ConfigOption,
    PeakOption,
    RestartTrainingOption,
    StepsOption,
    ThreadsOption,
    TrainingSeedOption,
)

_SIZE = "Size of the encoder (default: the preset's)"


@dataclass(frozen=True)
class Size:
    """Size of the encoder, by the fields of `EncoderShape`."""

    layers: Annotated[int | None, count("Transformer layers.", _SIZE)] = None
    width: Annotated[int | None, count("Width of an embedding.", _SIZE)] = None
    heads: Annotated[int | None, count("Attention heads.", _SIZE)] = None
    feed_forward: Annotated[int | None, count("Width inside the feed-forward layers.", _SIZE)] = None


@dataclass(frozen=True)
class Changes:
    """Settings that the command line changes, by the fields of `PretrainConfig`."""

    steps: StepsOption = None
    seed: TrainingSeedOption = None
    learning_rate: Annotated[float | None, option("X", "Peak learning rate of AdamW.")] = None
    max_length: Annotated[int | None, count("Crop longer sequences to N residues.")] = None
    batch_tokens: Annotated[int | None, count("Tokens per optimiser step.")] = None
    chunk_tokens: Annotated[int | None, count("Tokens per forward pass; less memory with fewer.")] = None
    validate_every: Annotated[int | None, count()] = None
    structure_weight: Annotated[float | None, option("X", "Weight of the distance loss.")] = None


class Stored(StrEnum):
    """Precision of the stored weights."""

    fp16 = "fp16"
    fp32 = "fp32"


@command(
    sequences="Protein sequences: Parquet (sequence, optionally cluster) or FASTA (also .gz), or a folder "
    "of these. May be given several times.",
    validate_every="Steps between validations; the state is saved at each.",
    structures="Parquet table of chains (sequence, ca, cluster25): also learn to predict distances. The "
    "train split is used; in the folder of a data set, as its splits.csv says.",
    precision="Numerical precision of the forward pass: bf16 or fp32 (auto: the settings', bf16).",
)
def encoder(
    sequences: Annotated[list[Path], path("FILE|DIR")],
    out: Annotated[Path, path("DIR", "Folder of the new encoder.")],
    *,
    config: ConfigOption = None,
    preset: Annotated[str, option("8m|35m|tiny", "Preset of the settings.")] = "8m",
    init: Annotated[Path | None, path("DIR", "Continue from this ESM encoder and keep its size.")] = None,
    work: Annotated[
        Path | None, path("DIR", "Folder for state and log (default: OUT.work).", RUNNING)
    ] = None,
    changes: Changes,
    structures: Annotated[Path | None, path("FILE")] = None,
    size: Size,
    store: Annotated[Stored, flag("Numerical precision of the stored weights.")] = Stored.fp16,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    precision: Annotated[Precision, flag(panel=RUNNING)] = Precision.auto,
    compile: Annotated[bool, flag("Compile the network (CUDA only).", RUNNING, "--compile")] = False,
    peak_tflops: PeakOption = None,
    restart: RestartTrainingOption = False,
    messages: Messages,
    json: JsonOption = False,
) -> None:
    """Pretrain a protein encoder as a masked-language model, in transformers' ESM format.

    An interrupted command resumes from the last saved state when it is run again. On several GPUs:
    torchrun --nproc-per-node N -m mutscan train encoder ...
    """
    from mutscan.errors import UsageError
    from mutscan.train.encoder.config import read_pretrain_config
    from mutscan.train.encoder.make import train_encoder
    from mutscan.train.loop.processes import is_follower

    terminal = messages.terminal(follower=is_follower())

    if init is not None and size != Size():
        raise UsageError(
            f"--init {init}: the new encoder has the size of this one; leave out --layers, --width, --heads "
            "and --feed-forward"
        )
    settings = read_pretrain_config(
        config,
        preset,
        shape=vars(size),
        precision=None if precision is Precision.auto else precision.value,
        **vars(changes),
    )
    trained = train_encoder(
        sequences,
        out,
        settings,
        init=init,
        structures=structures,
        work=work,
        dtype=store.value,
        device=device,
        threads=threads,
        compiled=compile,
        peak_tflops=peak_tflops,
        restart=restart,
        progress=terminal.progress(),
    )
    terminal.say(f"encoder written to {trained.path} (weights of step {trained.metrics['best_step']})")
    if is_follower():
        return
    if json:
        print_json_object(trained.metrics)
        return
    held = trained.metrics["validation"]
    rows = [(name.replace("_", " "), f"{value:.4f}") for name, value in held.items()]
    print_table(("held-out clusters", "value"), rows)
