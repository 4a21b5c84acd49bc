"""``mutscan train encoder``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal, print_json_object, print_table
from mutscan.cli.options import DeviceOption, JsonOption, Precision, QuietOption, VerboseOption
from mutscan.cli.train.tables import expand, expand_all

_SIZE = "Size, instead of the preset's"


class Stored(StrEnum):
    """Precision of the stored weights."""

    fp16 = "fp16"
    fp32 = "fp32"


def encoder(
    sequences: Annotated[
        list[Path],
        typer.Option(
            "--sequences",
            metavar="FILE|DIR",
            help="Parquet (sequence, perhaps cluster) or FASTA, also .gz; may be given several times.",
            callback=expand_all,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The encoder folder.", callback=expand, show_default=False),
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings as TOML; they change the preset.", callback=expand),
    ] = None,
    preset: Annotated[str, typer.Option(metavar="8m|35m|tiny", help="Settings to begin with.")] = "8m",
    init: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on from this ESM encoder; its size is kept.", callback=expand),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For state and log (default: OUT.work).", callback=expand),
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Steps of the optimiser.")] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="For all that is drawn at random.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="X", help="AdamW's peak rate.")] = None,
    max_length: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Crop longer sequences, residues.")
    ] = None,
    batch_tokens: Annotated[int | None, typer.Option(metavar="N", min=1, help="Tokens of a step.")] = None,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tokens that go through the network at a time."),
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Steps between validations; the state is saved then."),
    ] = None,
    structures: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Learn distances, too: Parquet table of chains (sequence, ca, cluster25).",
            callback=expand,
        ),
    ] = None,
    structure_weight: Annotated[
        float | None, typer.Option(metavar="X", help="Weight of the distances' loss.")
    ] = None,
    layers: Annotated[int | None, typer.Option(metavar="N", min=1, rich_help_panel=_SIZE)] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, rich_help_panel=_SIZE)] = None,
    heads: Annotated[int | None, typer.Option(metavar="N", min=1, rich_help_panel=_SIZE)] = None,
    feed_forward: Annotated[int | None, typer.Option(metavar="N", min=1, rich_help_panel=_SIZE)] = None,
    store: Annotated[Stored, typer.Option(help="Precision of the weights on disk.")] = Stored.fp16,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads (default: cores).")
    ] = None,
    device: DeviceOption = "auto",
    precision: Annotated[
        Precision, typer.Option(help="Of the forward pass: bf16 or fp32 (auto: the preset's, bf16).")
    ] = Precision.auto,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the network (CUDA).")] = False,
    peak_tflops: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.001, help="Of all devices together; the log then holds the share used."
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew (default: go on where it was stopped).")
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Pretrain a protein encoder as a masked-language model, in transformers' ESM format.

    Stopped at any time, the same command goes on where the state was last saved. On several GPUs:
    torchrun --nproc-per-node N -m mutscan train encoder ...
    """
    from mutscan.errors import UsageError
    from mutscan.train.encoder.config import read_pretrain_config
    from mutscan.train.encoder.make import train_encoder
    from mutscan.train.loop.processes import is_follower

    terminal = Terminal(quiet=quiet or is_follower(), verbose=verbose)
    terminal.start_log()

    size = {"layers": layers, "width": width, "heads": heads, "feed_forward": feed_forward}
    if init is not None and any(value is not None for value in size.values()):
        raise UsageError(
            f"--init {init}: the size is that encoder's; leave out --layers, --width, --heads and "
            "--feed-forward"
        )
    settings = read_pretrain_config(
        config,
        preset,
        shape=size,
        steps=steps,
        seed=seed,
        learning_rate=learning_rate,
        max_length=max_length,
        batch_tokens=batch_tokens,
        chunk_tokens=chunk_tokens,
        validate_every=validate_every,
        structure_weight=structure_weight,
        precision=None if precision is Precision.auto else precision.value,
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
    print_table(("on held-out clusters", "value"), rows)
