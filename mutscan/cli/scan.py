"""``mutscan scan``: every substitution of a protein."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from mutscan.builders import NO_BUILDER
from mutscan.cli.console import print_rows
from mutscan.cli.merge import end_part
from mutscan.cli.options import (
    PROTEIN,
    BuilderOption,
    JsonOption,
    Messages,
    RunOptions,
    WildTypeArgument,
    command,
    option,
)
from mutscan.cli.version import VersionOption


@dataclass(frozen=True)
class ScanOptions(RunOptions):
    """Options of a run whose mutants are not built unless a builder is named."""

    builder: BuilderOption = NO_BUILDER


@command()
def scan(
    wild_type: WildTypeArgument,
    *,
    positions: Annotated[
        str | None,
        option(
            "94-292,305", "Positions and ranges, 1-based on the wild-type sequence (default: all).", PROTEIN
        ),
    ] = None,
    options: ScanOptions,
    json: JsonOption = False,
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Score all 19 substitutions of every residue, to see what the protein tolerates and where.

    Writes the files of score, positions.csv (a summary of each position) and
    scan.parquet (the data of a heat map). Scores are predicted; structures are
    built and measured only with --builder. Of many proteins (a FASTA file of
    several, or @FILE with a name on each line) it writes variants.parquet,
    proteins.csv and report.html; --predict probability takes hours for a
    proteome. Run the same command again to continue an interrupted scan.
    """
    terminal = messages.terminal()
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.scan(wild_type, positions=positions, **options.named(), progress=progress)
    finally:
        progress.finish()
    if options.shard is not None:
        end_part(run, terminal)
    if json:
        print_rows(run.directory)
    if not messages.quiet:
        from mutscan.cli.summary import print_batch_summary, print_scan_summary
        from mutscan.reports.batch import is_batch
        from mutscan.reports.scan import read_scan

        if is_batch(run.directory):
            print_batch_summary(run.directory, terminal.err)
        else:
            print_scan_summary(read_scan(run.directory), terminal.err)
    raise typer.Exit(run.exit_code)
