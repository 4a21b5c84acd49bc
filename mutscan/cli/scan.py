"""``mutscan scan``: every substitution of a protein."""

from __future__ import annotations

import json as json_text
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from mutscan.builders import NO_BUILDER
from mutscan.cli.merge import end_part
from mutscan.cli.options import (
    PROTEIN,
    BuilderOption,
    JsonOption,
    Messages,
    RunOptions,
    VersionOption,
    WildTypeArgument,
    command,
    option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


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
        end_part(run.directory, terminal)
    if json:
        _print_rows(run.directory)
    if (run.directory / "variants.parquet").is_file():
        counts = run.metadata["proteins"]
        told = ", ".join(f"{number:,} {status}" for status, number in counts.items())
        terminal.say(f"{run.directory}: {sum(counts.values()):,} proteins ({told})")
    elif not messages.quiet:
        from mutscan.cli.summary import print_scan_summary
        from mutscan.report.scan import read_scan

        print_scan_summary(read_scan(run.directory), terminal.err)
    raise typer.Exit(run.exit_code)


def _print_rows(directory: Path) -> None:
    """Print the rows on stdout as one JSON array, a row a line, some rows in memory at a time."""
    separator = "[\n"
    for block in _blocks(directory):
        for row in block:
            sys.stdout.write(separator + json_text.dumps(row))
            separator = ",\n"
    sys.stdout.write("\n]\n" if separator == ",\n" else "[]\n")


def _blocks(directory: Path) -> Iterator[Sequence[Mapping[str, object]]]:
    import pyarrow.parquet as pq

    from mutscan.report.saved import row_blocks

    many = directory / "variants.parquet"
    if many.is_file():
        with pq.ParquetFile(many) as table:
            for batch in table.iter_batches():
                yield batch.to_pylist()
    else:
        for block in row_blocks(directory):
            yield block.json_rows()
