"""``mutscan score`` and ``mutscan check``: the main job, and its dry run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mutscan.cli.console import plain, print_json, print_table
from mutscan.cli.merge import end_part
from mutscan.cli.options import (
    PROTEIN,
    JsonOption,
    Messages,
    RunOptions,
    StrictOption,
    VersionOption,
    WildTypeArgument,
    argument,
    command,
    option,
)
from mutscan.structures import other_residue

if TYPE_CHECKING:
    from mutscan.pipeline import Plan, PlannedRow
    from mutscan.pipeline.numbering import FileNumbers
    from mutscan.structures import WildType

CHECK_COLUMNS = (
    "input", "status", "error_code", "message", "wild_type", "variant", "hgvs", "n_substitutions",
    "positions", "structure_numbers", "action", "notes",
)  # fmt: skip
"""Columns of ``mutscan check``: those of variants.csv it can know, and what score would do."""


@dataclass(frozen=True)
class Variants:
    """Where the variants are written."""

    variants: Annotated[
        list[str] | None,
        argument(
            metavar="VARIANT",
            help="R175H, p.Arg175His, P04637:p.R175H or p.Lys120del; one mutant with several: 'R175H;R248Q'.",
        ),
    ] = None
    variants_file: Annotated[
        str | None,
        option(
            "FILE|-",
            "File of variants: text, CSV, TSV or FASTA of mutant sequences; - reads stdin.",
            PROTEIN,
            "--variants",
        ),
    ] = None
    variant_column: Annotated[
        str | None,
        option(
            "NAME",
            "Column of the CSV or TSV file with the variants; the other columns are copied to the output.",
            PROTEIN,
        ),
    ] = None
    strict: StrictOption = False


@command()
def score(
    wild_type: WildTypeArgument,
    *,
    given: Variants,
    options: RunOptions,
    json: JsonOption = False,
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Score variants of one protein: predicted and measured TM-score and lDDT, one row each.

    Writes variants.csv, residues.parquet, run.json, report.html, structures/ and
    log.txt into the run folder. Run the same command again to continue an
    interrupted run. Exit code: 0 all rows scored, 3 some not, 4 none.
    """
    terminal = messages.terminal()
    # The workflow brings in the network's libraries: not before it is needed.
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.score(
            wild_type,
            tuple(given.variants or ()),
            variants_file=given.variants_file,
            variant_column=given.variant_column,
            strict=given.strict,
            **options.named(),
            progress=progress,
            stdin=sys.stdin,
        )
    finally:
        progress.finish()
    if options.shard is not None:
        end_part(run, terminal)
    from mutscan.cli.summary import print_summary
    from mutscan.reports.saved import read_run

    saved = read_run(run.directory)
    if json:
        print_json(saved.json_rows())
    if not messages.quiet:
        print_summary(saved, terminal.err)
    raise typer.Exit(run.exit_code)


@command()
def check(
    wild_type: WildTypeArgument,
    *,
    given: Variants,
    options: RunOptions,
    json: JsonOption = False,
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Dry run of score: read everything, verify wild-type letters, print what would be done.

    Takes the arguments of score; computes and writes nothing.
    One line for each variant goes to stdout; in a pipe with all columns, tab-separated.
    """
    terminal = messages.terminal()
    from mutscan import pipeline

    plan = pipeline.check(
        wild_type,
        tuple(given.variants or ()),
        variants_file=given.variants_file,
        variant_column=given.variant_column,
        model=options.model,
        builder=options.builder,
        structure=options.structure,
        chain=options.chain,
        plddt=options.plddt,
        alignment=options.alignment,
        inverse_folding=options.inverse_folding,
        numbering=options.numbering,
        organism=options.organism,
        strict=given.strict,
        offline=options.offline,
        stdin=sys.stdin,
    )
    builders = plan.builders
    rows = check_rows(plan)
    if json:
        print_json(rows)
    elif sys.stdout.isatty():
        told = (
            (plain(row["input"], limit=24), row["error_code"] or row["status"], _told(row)) for row in rows
        )
        print_table(("input", "status", "what would be done, or why not"), told)
    else:
        print_table(CHECK_COLUMNS, ([row[column] for column in CHECK_COLUMNS] for row in rows))
    protein = plan.wild_type
    terminal.say(
        f"{protein.name}: {len(protein.sequence)} residues, "
        + (f"structure {protein.structure.name}" if protein.structure is not None else "no structure")
        + f"; model {options.model}; builder {' then '.join(builders) or 'none'}"
        + ("; inverse folding" if plan.inverse_folding else "")
    )
    if plan.relatives is not None:
        terminal.say(plan.relatives.words)
    for note in protein.notes:
        terminal.say(f"note: {note}")
    good = sum(row["status"] in ("ok", "partial") for row in rows)
    terminal.say(f"{good} of {len(rows)} rows would be scored")
    raise typer.Exit(_check_exit_code(rows))


def check_rows(plan: Plan) -> list[dict[str, object]]:
    """Lines of the dry run."""
    from mutscan.pipeline.numbering import FileNumbers

    numbers = FileNumbers.of(plan.wild_type)
    builder = plan.builders[0] if plan.builders else None
    return [_check_row(row, plan.wild_type, numbers, builder) for row in plan.rows]


def _check_row(
    row: PlannedRow, wild_type: WildType, file_numbers: FileNumbers, builder: str | None
) -> dict[str, object]:
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
            others = [other_residue(wild_type, position) for position in variant.positions]
            action = f"predict; {next(filter(None, others), 'a changed residue has no coordinates')}"
        elif builder is None:
            action = "predict"
    notes = (row.doubt and f"doubtful: {row.doubt}", file_numbers.told(variant), *row.notes)
    return cells | {
        "status": "partial" if action and action != "predict" else "ok",
        "variant": str(variant),
        "hgvs": variant.hgvs,
        "n_substitutions": variant.n_substitutions,
        "positions": ";".join(map(str, variant.positions)),
        "structure_numbers": ";".join(numbers),
        "action": action or f"predict, build with {builder}, measure",
        "notes": "; ".join(filter(None, notes)),
    }


def _told(row: dict[str, object]) -> str:
    """Sum up a line of the dry run for a terminal, where its columns have no room."""
    if row["error_code"]:
        return str(row["message"])
    named = "" if row["variant"] == row["input"] else f"{row['variant']}: "
    return named + "; ".join(str(row[column]) for column in ("action", "notes") if row[column])


def _check_exit_code(rows: list[dict[str, object]]) -> int:
    """Predict the exit code of score, as far as it can be known: 0, 3 or 4."""
    good = sum(row["status"] == "ok" for row in rows)
    if good == len(rows):
        return 0
    return 3 if any(row["status"] in ("ok", "partial") for row in rows) else 4
