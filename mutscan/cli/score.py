"""``mutscan score`` and ``mutscan check``: the main job, and its dry run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from mutscan.cli.console import Terminal, print_json, print_table
from mutscan.cli.options import (
    BatchResiduesOption,
    BuilderOption,
    ChainOption,
    DeviceOption,
    JobsOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    OutOption,
    Precision,
    PrecisionOption,
    QuietOption,
    RestartOption,
    SeedOption,
    StructureOption,
    VariantColumnOption,
    VariantsArgument,
    VariantsFileOption,
    VerboseOption,
    VersionOption,
    WildTypeArgument,
)
from mutscan.pipeline.options import DEFAULTS

if TYPE_CHECKING:
    from mutscan.pipeline import PlannedRow
    from mutscan.structures import WildType

CHECK_COLUMNS = (
    "input",
    "status",
    "error_code",
    "message",
    "wild_type",
    "variant",
    "hgvs",
    "n_substitutions",
    "positions",
    "structure_numbers",
    "action",
)
"""Columns of ``mutscan check``: those of variants.csv it can know, and what score would do."""


def score(
    wild_type: WildTypeArgument,
    variants: VariantsArgument = None,
    variants_file: VariantsFileOption = None,
    variant_column: VariantColumnOption = None,
    structure: StructureOption = None,
    chain: ChainOption = None,
    builder: BuilderOption = DEFAULTS.builder,
    model: ModelOption = DEFAULTS.model,
    out: OutOption = None,
    restart: RestartOption = False,
    offline: OfflineOption = False,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    jobs: JobsOption = None,
    seed: SeedOption = DEFAULTS.seed,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    version: VersionOption = False,
) -> None:
    """Score variants of one protein: predicted and measured TM-score and lDDT, one row each.

    Writes variants.csv, residues.parquet, run.json, report.html, structures/ and
    log.txt into the run folder. Run the same command again to continue an
    interrupted run. Exit code: 0 all rows scored, 3 some not, 4 none.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    # The workflow brings in the network's libraries: not before it is needed.
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.score(
            wild_type,
            tuple(variants or ()),
            variants_file=variants_file,
            variant_column=variant_column,
            out=out,
            model=model,
            builder=builder,
            structure=structure,
            chain=chain,
            device=device,
            precision=precision.value,
            batch_residues=batch_residues,
            jobs=jobs,
            offline=offline,
            restart=restart,
            seed=seed,
            progress=progress,
            stdin=sys.stdin,
        )
    finally:
        progress.finish()
    from mutscan.cli.summary import print_summary
    from mutscan.report.saved import read_run

    saved = read_run(run.directory)
    if json:
        print_json(saved.json_rows())
    if not quiet:
        print_summary(saved, terminal.err)
    raise typer.Exit(run.exit_code)


def check(
    wild_type: WildTypeArgument,
    variants: VariantsArgument = None,
    variants_file: VariantsFileOption = None,
    variant_column: VariantColumnOption = None,
    structure: StructureOption = None,
    chain: ChainOption = None,
    builder: BuilderOption = DEFAULTS.builder,
    model: ModelOption = DEFAULTS.model,
    out: OutOption = None,
    restart: RestartOption = False,
    offline: OfflineOption = False,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    jobs: JobsOption = None,
    seed: SeedOption = DEFAULTS.seed,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    version: VersionOption = False,
) -> None:
    """Dry run of score: read everything, verify wild-type letters, print what would be done.

    Takes the arguments of score; computes and writes nothing.
    One line for each variant goes to stdout, tab-separated in a pipe.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan import pipeline

    plan = pipeline.check(
        wild_type,
        tuple(variants or ()),
        variants_file=variants_file,
        variant_column=variant_column,
        model=model,
        builder=builder,
        structure=structure,
        chain=chain,
        offline=offline,
        stdin=sys.stdin,
    )
    builders = plan.builders
    rows = [_check_row(row, plan.wild_type, builders[0] if builders else None) for row in plan.rows]
    if json:
        print_json(rows)
    else:
        print_table(CHECK_COLUMNS, ([row[column] for column in CHECK_COLUMNS] for row in rows))
    protein = plan.wild_type
    terminal.say(
        f"{protein.name}: {len(protein.sequence)} residues, "
        + (f"structure {protein.structure.name}" if protein.structure is not None else "no structure")
        + f"; model {model}; builder {' then '.join(builders) or 'none'}"
    )
    for note in protein.notes:
        terminal.say(f"note: {note}")
    good = sum(row["status"] in ("ok", "partial") for row in rows)
    terminal.say(f"{good} of {len(rows)} rows would be scored")
    raise typer.Exit(_check_exit_code(rows))


def _check_row(row: PlannedRow, wild_type: WildType, builder: str | None) -> dict[str, object]:
    """One line of the dry run."""
    cells: dict[str, object] = dict.fromkeys(CHECK_COLUMNS)
    cells |= {"input": row.source.text, "status": row.status, "wild_type": wild_type.name, "action": "none"}
    if row.error is not None:
        return cells | {"error_code": row.error.code, "message": row.error.message}
    variant = row.variant
    assert variant is not None
    numbers, action = [], ""
    if variant.indel is not None:
        action = "predict; no structure is built for an insertion or deletion"
    elif wild_type.structure is None or wild_type.structure_index is None:
        action = "predict; no structure to build on"
    else:
        for position in variant.positions:
            index = int(wild_type.structure_index[position - 1])
            numbers.append(wild_type.structure.numbers[index] if index >= 0 else "?")
        if "?" in numbers:
            action = "predict; a changed residue has no coordinates"
        elif builder is None:
            action = "predict"
    return cells | {
        "status": "partial" if action and action != "predict" else "ok",
        "variant": str(variant),
        "hgvs": variant.hgvs,
        "n_substitutions": variant.n_substitutions,
        "positions": ";".join(map(str, variant.positions)),
        "structure_numbers": ";".join(numbers),
        "action": action or f"predict, build with {builder}, measure",
    }


def _check_exit_code(rows: list[dict[str, object]]) -> int:
    """Predict the exit code of score, as far as it can be known: 0, 3 or 4."""
    good = sum(row["status"] == "ok" for row in rows)
    if good == len(rows):
        return 0
    return 3 if any(row["status"] in ("ok", "partial") for row in rows) else 4
