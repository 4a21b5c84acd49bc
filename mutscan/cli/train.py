"""``mutscan train``: make a model from labelled pairs, and measure one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal, print_json_object, print_table
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

app = typer.Typer(
    help="Train and evaluate models. The order: model (a Siamese net on a frozen encoder), evaluate.",
    no_args_is_help=True,
)


def _expand(value: Path | None) -> Path | None:
    return value.expanduser() if value is not None else None


StructuresOption = Annotated[
    Path,
    typer.Option(
        "--structures",
        metavar="FILE",
        help="Parquet table of chains: id, sequence, ca, cluster25.",
        callback=_expand,
        show_default=False,
    ),
]
PairsOption = Annotated[
    Path,
    typer.Option(
        "--pairs",
        metavar="FILE",
        help="Parquet table of pairs: id1, id2, tm_norm1, tm_norm2, alignment.",
        callback=_expand,
        show_default=False,
    ),
]


@app.command("model")
def model(
    structures: StructuresOption,
    pairs: PairsOption,
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR",
            help="The frozen encoder: a folder, or a name on the Hugging Face hub.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The model folder.", callback=_expand, show_default=False),
    ],
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings as TOML; they change the preset.", callback=_expand),
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="mini|paper|repo2025", help="Settings to begin with.")
    ] = "mini",
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="For embeddings, labels, state and log (default: OUT.work).", callback=_expand
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
    """Train a Siamese net on a frozen encoder, and evaluate it once on the test split.

    Stopped at any time, the same command goes on where it was.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.train.recipe import read_config, train_model

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
    _print(trained.metrics, json)


@app.command("evaluate")
def evaluate(
    structures: StructuresOption,
    pairs: PairsOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="For metrics.json and predictions.parquet.",
            callback=_expand,
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
    _print(evaluation.metrics, json)


def _print(metrics: dict[str, object], json: bool) -> None:
    if json:
        print_json_object(metrics)
        return
    pairs = metrics["pairs"]
    assert isinstance(pairs, dict)
    rows = []
    for target in ("tm", "lddt"):
        for name, value in pairs[target].items():
            if name.endswith("_ci") or name == "constant":
                continue
            interval = pairs[target][f"{name}_ci"]
            spread = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else ""
            rows.append((f"{target} {name}", "" if value is None else f"{value:.4f}", spread))
    print_table((f"metric (n = {pairs['n']})", "value", "95 % interval"), rows)
