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

BESIDE = "What it is set beside"


def evaluate(
    structures: StructuresOption,
    pairs: PairsOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="For metrics.json, predictions.parquet, report.html and figures.",
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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="A second model, evaluated and compared on the same pairs.",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    tm_vec: Annotated[
        Path | None,
        typer.Option(
            "--tm-vec",
            metavar="DIR",
            help="A local copy of TM-Vec's weights (scikit-bio/tmvec-swissmodel).",
            callback=expand,
            rich_help_panel=BESIDE,
        ),
    ] = None,
    tm_vec_encoder: Annotated[
        str | None,
        typer.Option(
            "--tm-vec-encoder",
            metavar="NAME|DIR",
            help="ProtT5, which TM-Vec reads (default: Rostlab's half-precision encoder).",
            rich_help_panel=BESIDE,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw the figures and the HTML report.")
    ] = True,
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

    Refused when the model was trained on one of the proteins, or on a relative (cluster25). Pairs with
    picked_as "mutant" are evaluated on their own.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.errors import UsageError
    from mutscan.train.evaluate import Rivals, evaluate_pairs
    from mutscan.train.splits import SPLITS

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    if tm_vec_encoder is not None and tm_vec is None:
        raise UsageError("--tm-vec-encoder says what TM-Vec reads; give its weights with --tm-vec, too")
    evaluation = evaluate_pairs(
        model,
        structures,
        pairs,
        split=split,
        rivals=Rivals(against, tm_vec, tm_vec_encoder),
        device=device,
        precision=precision.value,
        batch_residues=batch_residues,
        offline=offline,
        seed=seed,
        progress=terminal.progress(),
    )
    evaluation.write(out)
    written = "metrics.json and predictions.parquet"
    if report:
        from mutscan.train.evaluation_report import write_report

        write_report(evaluation, out)
        written = "metrics.json, predictions.parquet, figures and report.html"
    terminal.say(f"{written} written to {out}")
    for baseline in evaluation.baselines:
        if baseline.not_run:
            terminal.say(f"{baseline.label} not run: {baseline.not_run}")
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in evaluation.seconds.items())
    terminal.say(f"time: {spent}")
    print_metrics(evaluation.metrics, json)
