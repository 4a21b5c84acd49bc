"""``mutscan check``: the dry run of score."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from mutscan.cli.console import print_json, print_table
from mutscan.cli.options import JsonOption, Messages, RunOptions, WildTypeArgument, command
from mutscan.cli.score import Variants
from mutscan.cli.text import plain
from mutscan.cli.version import VersionOption
from mutscan.structures import other_residue, structure_number

if TYPE_CHECKING:
    from mutscan.pipeline import Plan, PlannedRow
    from mutscan.pipeline.numbering import FileNumbers
    from mutscan.structures import WildType

CHECK_COLUMNS = (
    "input", "status", "error_code", "message", "wild_type", "variant", "hgvs", "n_substitutions",
    "positions", "structure_number", "action", "notes",
)  # fmt: skip
"""Columns of ``mutscan check``: those of variants.csv it can know, and what score would do."""


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
    action, partial = "", variant.indel is not None
    if variant.indel is not None:
        action = "predict; no structure is built for an insertion or deletion"
    elif wild_type.structure is None or wild_type.structure_index is None:
        action = "predict; no structure to build on"
    elif min(wild_type.structure_index[position - 1] for position in variant.positions) < 0:
        partial = builder is not None
        others = [other_residue(wild_type, position) for position in variant.positions]
        action = f"predict; {next(filter(None, others), 'a changed residue has no coordinates')}"
    elif builder is None:
        action = "predict"
    notes = (row.doubt and f"doubtful: {row.doubt}", file_numbers.told(variant), *row.notes)
    return cells | {
        "status": "partial" if partial else "ok",
        "variant": str(variant),
        "hgvs": variant.hgvs,
        "n_substitutions": variant.n_substitutions,
        "positions": ";".join(map(str, variant.positions)),
        "structure_number": structure_number(wild_type, variant.positions),
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
