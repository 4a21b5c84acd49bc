"""``mutscan train evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mutscan.cli.options import (
    BatchResiduesOption,
    DeviceOption,
    JsonOption,
    Messages,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    SeedOption,
    command,
    flag,
    option,
    path,
)
from mutscan.cli.train.metrics import print_metrics
from mutscan.cli.train.options import (
    LABELLED,
    VARIANTS,
    DmsOption,
    StabilityOption,
    StructuresDirOption,
    WorkOption,
)
from mutscan.errors import UsageError
from mutscan.model.names import DEFAULT_MODEL
from mutscan.train.labelled.settings import EVALUATED

PAIRS = "Pairs of proteins"
BASELINES = "Baselines"
BESIDE = "Other methods on the same variants"


@command(
    pairs="Parquet table of pairs: id1, id2, tm_norm1, tm_norm2, alignment; or a folder of its shards.",
    proteins="CSV of proteins: protein (or assay), sequence; optional: group, structure. With several "
    "tables of variants, give one for all, or one for each in the order variants, dms, stability.",
    siamese="Variants of each table that get Siamese scores, drawn by --seed as whole proteins. Each "
    "variant needs a pass of the encoder, each protein 64 more. 0: none.",
    split="Evaluate only pairs inside this split of the model's training, and only labelled variants "
    "of proteins that its calibration was fitted on (train) or kept for testing (test). Default: "
    "all tables in full.",
    alignments_dir="Folder of alignments of relatives, a file named as each protein (or assay): a3m, a2m, "
    "Stockholm, aligned FASTA or CLUSTAL, also .gz. The model is then measured without relatives, with its "
    "library and with the alignments.",
    skip_overlap="Skip, and list in skipped.csv, proteins of the tables of variants that the calibration was "
    "fitted on and their relatives, instead of refusing the table.",
    beside="Scores of another method for --variants or --dms: CSV, TSV (also .gz) or Parquet with the "
    "columns protein (or assay), variant, score. Further columns of numbers are further methods. May be "
    "given several times.",
    beside_higher="What a higher score of --beside means. Give one for all files, or one for each, in order "
    "(default: deleterious). It is never read off the labels.",
    reference="CSV of published Spearman correlations on the scans of --dms: assay, then a column for each "
    "model, as in ProteinGym's summaries.",
    tm_vec="Folder with the weights of TM-Vec (scikit-bio/tmvec-swissmodel).",
    tm_vec_encoder="ProtT5 for TM-Vec (default: Rostlab's half-precision encoder).",
)
def evaluate(
    out: Annotated[Path, path("DIR", "For metrics.json, predictions.parquet, report.html and figures.")],
    *,
    structures: Annotated[
        Path | None, path("FILE", "Parquet table of chains: id, sequence, ca, cluster25.", PAIRS)
    ] = None,
    pairs: Annotated[Path | None, path("FILE|DIR", panel=PAIRS)] = None,
    proteins: Annotated[list[Path] | None, path("FILE", panel=VARIANTS)] = None,
    variants: Annotated[Path | None, LABELLED] = None,
    dms: DmsOption = None,
    stability: StabilityOption = None,
    structures_dir: StructuresDirOption = None,
    alignments_dir: Annotated[Path | None, path("DIR", panel=VARIANTS)] = None,
    siamese: Annotated[str, option("N|all", panel=VARIANTS)] = str(EVALUATED),
    skip_overlap: Annotated[bool, flag("", VARIANTS, "--skip-overlap")] = False,
    beside: Annotated[list[Path] | None, path("FILE", panel=BESIDE)] = None,
    beside_higher: Annotated[list[str] | None, option("deleterious|tolerated", panel=BESIDE)] = None,
    reference: Annotated[Path | None, path("FILE", panel=BESIDE)] = None,
    work: WorkOption = None,
    model: ModelOption = DEFAULT_MODEL,
    split: Annotated[str | None, option("train|validation|test")] = None,
    against: Annotated[
        str | None, option("NAME|DIR", "A second model to compare with, on the same pairs.", BASELINES)
    ] = None,
    tm_vec: Annotated[Path | None, path("DIR", panel=BASELINES)] = None,
    tm_vec_encoder: Annotated[str | None, option("NAME|DIR", panel=BASELINES)] = None,
    report: Annotated[bool, flag("Draw figures and write the HTML report.")] = True,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    offline: OfflineOption = False,
    messages: Messages,
    json: JsonOption = False,
) -> None:
    """Evaluate a model on pairs of proteins or on variants of known effect, with 95 % intervals.

    Give --structures and --pairs; or --proteins with --variants, --dms or --stability; or all of them. The
    command refuses pairs of proteins that the model was trained on, variants of proteins that its
    calibration was fitted on, and their relatives. Pairs with picked_as "mutant" get metrics of their own.
    """
    terminal = messages.terminal()
    from mutscan.train.chains.splits import SPLITS
    from mutscan.train.evaluate.make import evaluate as run
    from mutscan.train.evaluate.pairs import Rivals
    from mutscan.train.evaluate.result import Settings
    from mutscan.train.evaluate.variants import VariantRivals

    if split is not None and split not in SPLITS:
        raise UsageError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    evaluation = run(
        model,
        Settings(split, device, precision.value, batch_residues, offline, seed, progress=terminal.progress()),
        structures=structures,
        pairs=pairs,
        proteins=proteins or [],
        tables={"variants": variants, "dms": dms, "stability": stability},
        rivals=Rivals(against, tm_vec, tm_vec_encoder),
        structures_dir=structures_dir,
        work=work,
        siamese=_count(siamese),
        alignments_dir=alignments_dir,
        skip_overlap=skip_overlap,
        variant_rivals=VariantRivals(beside or (), beside_higher or ("deleterious",), reference),
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
