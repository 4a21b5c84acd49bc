"""``mutscan score``: the main job."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from mutscan.cli.console import print_json
from mutscan.cli.merge import end_part
from mutscan.cli.options import (
    PROTEIN,
    JsonOption,
    Messages,
    RunOptions,
    StrictOption,
    WildTypeArgument,
    argument,
    command,
    option,
)
from mutscan.cli.version import VersionOption


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
