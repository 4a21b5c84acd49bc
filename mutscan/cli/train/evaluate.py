"""``mutscan train evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mutscan.cli.console import Terminal, print_json_object
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
from mutscan.cli.train.tables import expand, expand_all
from mutscan.cli.train.variants import print_variants
from mutscan.model.names import DEFAULT_MODEL

if TYPE_CHECKING:
    from mutscan.train.evaluate.result import PairEvaluation
    from mutscan.train.evaluate.variants import VariantEvaluation, VariantInput

BESIDE = "What it is set beside"
PAIRS = "Pairs of proteins"
VARIANTS = "Variants of known effect"


def _table(name: str, metavar: str, words: str, panel: str) -> Any:
    return typer.Option(
        name, metavar=metavar, help=words, callback=expand, rich_help_panel=panel, show_default=False
    )


def evaluate(
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
    structures: Annotated[
        Path | None,
        _table("--structures", "FILE", "Parquet table of chains: id, sequence, ca, cluster25.", PAIRS),
    ] = None,
    pairs: Annotated[
        Path | None,
        _table(
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
            help="CSV of proteins: protein (or assay), sequence, perhaps group and structure. With several "
            "tables of variants one for all, or one for each in the order variants, dms, stability.",
            callback=lambda paths: expand_all(paths or []),
            rich_help_panel=VARIANTS,
            show_default=False,
        ),
    ] = None,
    variants: Annotated[
        Path | None,
        _table("--variants", "FILE", "CSV: protein, variant, label (deleterious or neutral).", VARIANTS),
    ] = None,
    dms: Annotated[
        Path | None,
        _table(
            "--dms",
            "FILE",
            "CSV of deep mutational scans: assay, variant, score (higher = fitter).",
            VARIANTS,
        ),
    ] = None,
    stability: Annotated[
        Path | None,
        _table(
            "--stability", "FILE", "CSV: protein, variant, ddG (positive = destabilising), source.", VARIANTS
        ),
    ] = None,
    structures_dir: Annotated[
        Path | None,
        _table(
            "--structures-dir",
            "DIR",
            "Where structures lie that tables name (default: the proteins table's folder and those below).",
            VARIANTS,
        ),
    ] = None,
    siamese: Annotated[
        str,
        typer.Option(
            metavar="N|all",
            help="Variants of each table, drawn by --seed in whole proteins, that get Siamese scores: "
            "each costs a pass of the encoder, each protein 64 more. 0: none.",
            rich_help_panel=VARIANTS,
        ),
    ] = "3000",
    work: Annotated[
        Path | None,
        _table(
            "--work", "DIR", "Keeps finished proteins; a broken run continues (default: the cache).", VARIANTS
        ),
    ] = None,
    model: ModelOption = DEFAULT_MODEL,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="train|validation|test",
            help="Only pairs inside this split of the model's own training; only labelled variants of "
            "proteins its calibration was fitted on (train) or kept for testing (test); "
            "default: all that are given.",
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
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the bootstrap and the draws.")] = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Measure a model on pairs of proteins or on variants of known effect, with 95 % intervals.

    Give --structures and --pairs, or --proteins with --variants, --dms or --stability, or several of
    these. Refused when the model was trained on one of the pairs' proteins or on a relative (cluster25), or
    when its calibration was fitted on labels of one of the variants' proteins or of a relative. Pairs with
    picked_as "mutant" are evaluated on their own.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.errors import UsageError
    from mutscan.files import write_errors
    from mutscan.train.chains.splits import SPLITS

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    if tm_vec_encoder is not None and tm_vec is None:
        raise UsageError("--tm-vec-encoder says what TM-Vec reads; give its weights with --tm-vec, too")
    if (structures is None) != (pairs is None):
        raise UsageError("--structures and --pairs belong together: chains, and which of them are compared")
    tables = _tables(proteins or [], {"variants": variants, "dms": dms, "stability": stability})
    if pairs is None and not tables:
        raise UsageError(
            "nothing to evaluate: give --structures and --pairs, or --proteins with --variants, --dms or "
            "--stability"
        )
    if pairs is None and (against is not None or tm_vec is not None):
        raise UsageError("--against and --tm-vec are compared on pairs; give --structures and --pairs, too")
    running: dict[str, Any] = {
        "split": split,
        "device": device,
        "precision": precision.value,
        "batch_residues": batch_residues,
        "offline": offline,
        "seed": seed,
        "progress": terminal.progress(),
    }
    on_pairs: PairEvaluation | None = None
    if structures is not None and pairs is not None:
        from mutscan.train.evaluate.pairs import Rivals, evaluate_pairs

        on_pairs = evaluate_pairs(
            model, structures, pairs, rivals=Rivals(against, tm_vec, tm_vec_encoder), **running
        )
    on_variants: VariantEvaluation | None = None
    if tables:
        from mutscan.train.evaluate.variants import evaluate_variants

        on_variants = evaluate_variants(
            model, tables, structures_dir=structures_dir, work=work, siamese=_count(siamese), **running
        )
    from mutscan.train.evaluate.result import join_evaluations, write_evaluation

    metrics, predictions = join_evaluations(on_pairs, on_variants)
    written = "metrics.json and predictions.parquet"
    with write_errors(out):
        write_evaluation(out, metrics, predictions)
        if report:
            from mutscan.train.evaluate.report import write_report

            write_report(metrics, on_pairs, out)
            figures = ", figures" if on_pairs is not None else ""
            written = f"metrics.json, predictions.parquet{figures} and report.html"
    terminal.say(f"{written} written to {out}")
    for baseline in on_pairs.baselines if on_pairs is not None else ():
        if baseline.not_run:
            terminal.say(f"{baseline.label} not run: {baseline.not_run}")
    seconds = {
        stage: spent
        for part in (on_pairs, on_variants)
        if part is not None
        for stage, spent in part.seconds.items()
    }
    terminal.say(f"time: {', '.join(f'{stage} {spent:.1f} s' for stage, spent in seconds.items())}")
    if json:
        print_json_object(metrics)
        return
    if on_pairs is not None:
        print_metrics(metrics, json)
    if on_variants is not None:
        print_variants(metrics)


def _tables(proteins: list[Path], given: dict[str, Path | None]) -> list[VariantInput]:
    """Put each table of variants beside its table of proteins."""
    from mutscan.errors import UsageError
    from mutscan.train.evaluate.variants import COLUMNS, VariantInput

    asked = [(kind, path) for kind in COLUMNS if (path := given[kind]) is not None]
    if not asked and not proteins:
        return []
    words = ", ".join(f"--{kind}" for kind in COLUMNS)
    if not asked:
        raise UsageError(f"--proteins: expected a table of their variants beside it ({words})")
    if len(proteins) not in (1, len(asked)):
        raise UsageError(
            f"--proteins is given {len(proteins)} times for {len(asked)} tables of variants; expected one "
            f"for all, or one for each in the order {words}"
        )
    of_each = proteins if len(proteins) == len(asked) else proteins * len(asked)
    return [VariantInput(kind, of, path) for (kind, path), of in zip(asked, of_each, strict=True)]


def _count(text: str) -> int | None:
    """Read ``--siamese``: a number, or None for all."""
    from mutscan.errors import UsageError

    if text.strip().lower() == "all":
        return None
    if not text.strip().isdecimal():
        raise UsageError(f"--siamese {text}: expected a number of variants, or all")
    return int(text)
