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
    SeedOption,
    VerboseOption,
)
from mutscan.cli.train.metrics import print_metrics
from mutscan.cli.train.options import (
    LABELLED,
    VARIANTS,
    DmsOption,
    StabilityOption,
    StructuresDirOption,
    WorkOption,
    expand_all,
    path_option,
)
from mutscan.errors import UsageError
from mutscan.model.names import DEFAULT_MODEL
from mutscan.train.labelled.settings import EVALUATED

PAIRS = "Pairs of proteins"
BASELINES = "Baselines"


def evaluate(
    out: Annotated[
        Path,
        path_option("--out", "DIR", "For metrics.json, predictions.parquet, report.html and figures."),
    ],
    structures: Annotated[
        Path | None,
        path_option("--structures", "FILE", "Parquet table of chains: id, sequence, ca, cluster25.", PAIRS),
    ] = None,
    pairs: Annotated[
        Path | None,
        path_option(
            "--pairs",
            "FILE|DIR",
            "Parquet table of pairs: id1, id2, tm_norm1, tm_norm2, alignment; or a folder of its shards.",
            PAIRS,
        ),
    ] = None,
    proteins: Annotated[
        list[Path] | None,
        typer.Option(
            "--proteins",
            metavar="FILE",
            help="CSV of proteins: protein (or assay), sequence; optional: group, structure. With several "
            "tables of variants, give one for all, or one for each in the order variants, dms, stability.",
            callback=lambda paths: expand_all(paths or []),
            rich_help_panel=VARIANTS,
            show_default=False,
        ),
    ] = None,
    variants: Annotated[Path | None, LABELLED] = None,
    dms: DmsOption = None,
    stability: StabilityOption = None,
    structures_dir: StructuresDirOption = None,
    siamese: Annotated[
        str,
        typer.Option(
            metavar="N|all",
            help="Variants of each table that get Siamese scores, drawn by --seed as whole proteins. Each "
            "variant needs a pass of the encoder, each protein 64 more. 0: none.",
            rich_help_panel=VARIANTS,
        ),
    ] = str(EVALUATED),
    work: WorkOption = None,
    model: ModelOption = DEFAULT_MODEL,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="train|validation|test",
            help="Evaluate only pairs inside this split of the model's training, and only labelled variants "
            "of proteins that its calibration was fitted on (train) or kept for testing (test). Default: "
            "all tables in full.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="A second model to compare with, on the same pairs.",
            rich_help_panel=BASELINES,
        ),
    ] = None,
    tm_vec: Annotated[
        Path | None,
        path_option(
            "--tm-vec", "DIR", "Folder with the weights of TM-Vec (scikit-bio/tmvec-swissmodel).", BASELINES
        ),
    ] = None,
    tm_vec_encoder: Annotated[
        str | None,
        typer.Option(
            "--tm-vec-encoder",
            metavar="NAME|DIR",
            help="ProtT5 for TM-Vec (default: Rostlab's half-precision encoder).",
            rich_help_panel=BASELINES,
        ),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Draw figures and write the HTML report.")
    ] = True,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Evaluate a model on pairs of proteins or on variants of known effect, with 95 % intervals.

    Give --structures and --pairs; or --proteins with --variants, --dms or --stability; or all of them. The
    command refuses pairs of proteins that the model was trained on, variants of proteins that its
    calibration was fitted on, and their relatives. Pairs with picked_as "mutant" get metrics of their own.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.train.chains.splits import SPLITS
    from mutscan.train.evaluate.make import evaluate as run
    from mutscan.train.evaluate.pairs import Rivals

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    evaluation = run(
        model,
        structures=structures,
        pairs=pairs,
        proteins=proteins or [],
        tables={"variants": variants, "dms": dms, "stability": stability},
        split=split,
        rivals=Rivals(against, tm_vec, tm_vec_encoder),
        structures_dir=structures_dir,
        work=work,
        siamese=_count(siamese),
        device=device,
        precision=precision.value,
        batch_residues=batch_residues,
        offline=offline,
        seed=seed,
        progress=terminal.progress(),
    )
    written = evaluation.write(out, report=report)
    terminal.say(f"{', '.join(written[:-1])} and {written[-1]} written to {out}")
    for baseline in evaluation.pairs.baselines if evaluation.pairs is not None else ():
        if baseline.not_run:
            terminal.say(f"{baseline.label} not run: {baseline.not_run}")
    terminal.say(
        f"time: {', '.join(f'{stage} {spent:.1f} s' for stage, spent in evaluation.seconds.items())}"
    )
    print_metrics(evaluation.joined()[0], json)


def _count(text: str) -> int | None:
    """Read ``--siamese``: a number, or None for all."""
    if text.strip().lower() == "all":
        return None
    if not text.strip().isdecimal():
        raise UsageError(f"--siamese {text}: expected a number of variants, or all")
    return int(text)
