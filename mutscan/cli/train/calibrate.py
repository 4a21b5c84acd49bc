"""``mutscan train calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import (
    DeviceOption,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    QuietOption,
    VerboseOption,
)
from mutscan.cli.train.tables import expand
from mutscan.errors import UsageError
from mutscan.model.names import DEFAULT_MODEL


def calibrate(
    proteins: Annotated[
        Path,
        typer.Option(
            "--proteins",
            metavar="FILE",
            help="CSV of proteins: protein, sequence, and perhaps group and structure.",
            callback=expand,
            show_default=False,
        ),
    ],
    variants: Annotated[
        Path,
        typer.Option(
            "--variants",
            metavar="FILE",
            help="CSV of single substitutions: protein, variant, label (deleterious or neutral).",
            callback=expand,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="calibration.json; it belongs into the model's folder.",
            callback=expand,
            show_default=False,
        ),
    ],
    model: ModelOption = DEFAULT_MODEL,
    stability: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV of stabilities to learn from as well: protein, variant, ddG (positive destabilises).",
            callback=expand,
        ),
    ] = None,
    stability_proteins: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of the proteins of --stability.", callback=expand),
    ] = None,
    dms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV of deep mutational scans to learn from: assay, variant, score (higher is fitter).",
            callback=expand,
        ),
    ] = None,
    dms_proteins: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV of the assays of --dms: assay, sequence.", callback=expand),
    ] = None,
    chains: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Parquet of chains, for structures of proteins that name none.",
            callback=expand,
        ),
    ] = None,
    structures_dir: Annotated[
        Path | None,
        typer.Option(
            "--structures-dir",
            metavar="DIR",
            help="Where structures are (default: the proteins table's folder and those below).",
            callback=expand,
        ),
    ] = None,
    built: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Mutants to build, about 2 s each, for a tier that weighs built mutants too.",
        ),
    ] = 0,
    builder: Annotated[
        str, typer.Option(metavar="NAME", help="Backend for --built: openmm, template or modeller.")
    ] = "openmm",
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Builder processes (cores).")] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keeps what is known of finished proteins; a broken run continues (default: the cache).",
            callback=expand,
        ),
    ] = None,
    siamese: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Labelled variants, drawn by --seed in whole proteins, that the threshold of the structural "
            "flag is chosen on, and half as many of the test groups: each costs a pass of the encoder, each "
            "protein 64 more (the default: about 10 minutes). 0: no structural flag.",
        ),
    ] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the split, the folds and draws.")] = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    offline: OfflineOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Fit a probability of harm to labelled variants, for sequence and for structure evidence.

    An additive model: what each piece of evidence adds can be read from calibration.json. A fifth of
    the protein groups is kept for testing; the file says which, and how the model does there. Scans and
    stability tables may teach it which substitutions of a protein are the worse ones.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan.builders.choose import default_jobs
    from mutscan.files import write_errors, write_json
    from mutscan.train.calibrate.make import calibrate as fit

    document = fit(
        model,
        proteins,
        variants,
        stability=_both("--stability", stability_proteins, stability),
        dms=_both("--dms", dms_proteins, dms),
        chains=chains,
        structures_dir=structures_dir,
        built=built,
        builder=builder,
        jobs=jobs or default_jobs(),
        work=work,
        device=device,
        precision=precision.value,
        offline=offline,
        seed=seed,
        siamese=siamese,
        progress=terminal.progress(),
    )
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, document)
    for name, tier in document["tiers"].items():
        test, line = tier["test"], tier["thresholds"]["deleterious"]
        terminal.say(
            f"{name}: {tier['n']:,} variants of {tier['n_groups']:,} groups; cross-fitted AUROC "
            f"{tier['cross_fitted']['auroc']}, ECE {tier['cross_fitted']['ece']}; test AUROC "
            f"{test.get('auroc', 'not measured')}; deleterious from p = {line['p']} "
            f"(specificity {line['specificity']}, precision {line['precision']})"
        )
    rule = document["structural"]
    if rule["threshold"] is None:
        terminal.say(f"structural flag: none, {rule['why']}")
    else:
        terminal.say(
            f"structural flag: {rule['n']:,} variants of {rule['n_groups']:,} groups; disturbed from a drop "
            f"of {rule['score']} = {rule['threshold']} (specificity {rule['specificity']}, sensitivity "
            f"{rule['sensitivity']}, precision {rule['precision']}); test specificity "
            f"{rule['test'].get('specificity', 'not measured')}"
        )
    terminal.say(f"written to {out}")


def _both(option: str, proteins: Path | None, table: Path | None) -> tuple[Path, Path] | None:
    if (proteins is None) != (table is None):
        raise UsageError(f"{option} and {option}-proteins go together; give both or neither")
    return None if proteins is None or table is None else (proteins, table)
