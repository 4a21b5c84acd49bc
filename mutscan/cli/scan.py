"""``mutscan scan``: every substitution of a protein."""

from __future__ import annotations

import json as json_text
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mutscan.cli.console import Terminal
from mutscan.cli.options import (
    PROTEIN,
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
    VerboseOption,
    VersionOption,
    WildTypeArgument,
)
from mutscan.pipeline.options import DEFAULTS

if TYPE_CHECKING:
    from pathlib import Path


def scan(
    wild_type: WildTypeArgument,
    positions: Annotated[
        str | None,
        typer.Option(
            "--positions",
            metavar="94-292,305",
            help="Positions and ranges, 1-based on the wild-type sequence (default: all).",
            rich_help_panel=PROTEIN,
            show_default=False,
        ),
    ] = None,
    structure: StructureOption = None,
    chain: ChainOption = None,
    builder: BuilderOption = "none",
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
    """Score all 19 substitutions of every residue, to see what the protein tolerates and where.

    Writes the files of score, positions.csv (a summary of each position) and
    scan.parquet (the data of a heat map). Scores are predicted; structures are
    built and measured only with --builder. Run the same command again to
    continue an interrupted scan.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.scan(
            wild_type,
            positions=positions,
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
        )
    finally:
        progress.finish()
    if json:
        _print_rows(run.directory)
    if not quiet:
        from mutscan.cli.summary import print_scan_summary
        from mutscan.report.scan import read_scan

        print_scan_summary(read_scan(run.directory), terminal.err)
    raise typer.Exit(run.exit_code)


def _print_rows(directory: Path) -> None:
    """Print variants.csv on stdout as one JSON array, a row a line, some rows in memory at a time."""
    from mutscan.report.saved import row_blocks

    separator = "[\n"
    for block in row_blocks(directory):
        for row in block.json_rows():
            sys.stdout.write(separator + json_text.dumps(row))
            separator = ",\n"
    sys.stdout.write("\n]\n")
