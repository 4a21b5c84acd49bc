"""``mutscan batch``: variants of many proteins."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.cli.console import print_rows
from mutscan.cli.merge import end_part
from mutscan.cli.options import (
    PROTEIN,
    RUNNING,
    JsonOption,
    Messages,
    SharedOptions,
    StrictOption,
    argument,
    command,
    flag,
    option,
    path,
)
from mutscan.cli.version import VersionOption
from mutscan.pipeline.options import DEFAULTS


@dataclass(frozen=True)
class BatchOptions(SharedOptions):
    """Options of a run over many proteins, whose mutants are not built unless a builder is named."""

    builder: Annotated[
        str, option("|".join((*BUILDERS, NO_BUILDER)), "Builder of mutant structures.", PROTEIN)
    ] = NO_BUILDER
    alignment: Annotated[
        str,
        option(
            "auto|library",
            "Relatives of proteins without a file in --alignments-dir; auto: AlphaFold DB's alignment of an "
            "accession, else the model's library; library: only that.",
            PROTEIN,
        ),
    ] = str(DEFAULTS.alignment)
    out: Annotated[Path | None, path("DIR", "Run folder (default: mutscan-<table>).", RUNNING)] = None
    strict: StrictOption = False


@dataclass(frozen=True)
class Proteins:
    """Where the proteins of a table are."""

    protein_column: Annotated[
        str | None, option("NAME", "Column of the table with the proteins (default: guessed).", PROTEIN)
    ] = None
    variant_column: Annotated[
        str | None, option("NAME", "Column of the table with the variants (default: guessed).", PROTEIN)
    ] = None
    sequences: Annotated[
        Path | None,
        path(
            "FASTA",
            "Sequences of the proteins, by name; a single one is that of a table without names.",
            PROTEIN,
        ),
    ] = None
    structures_dir: Annotated[
        Path | None, path("DIR", "Folder of structures, each file named as its protein.", PROTEIN)
    ] = None
    alignments_dir: Annotated[
        Path | None, path("DIR", "Folder of alignments, each file named as its protein.", PROTEIN)
    ] = None


@command()
def batch(
    table: Annotated[
        str,
        argument(
            metavar="TABLE",
            help="CSV or TSV with a protein and a variant column, lines such as P04637:p.R175H, a VCF file "
            "annotated by Ensembl VEP, or a table of AlphaMissense, ClinVar, MAVISp, MaveDB or ProteinGym; "
            "also .gz; - reads stdin.",
        ),
    ],
    *,
    given: Proteins,
    options: BatchOptions,
    reports: Annotated[bool, flag("Write the report of each protein, too.", RUNNING, "--reports")] = False,
    json: JsonOption = False,
    messages: Messages,
    version: VersionOption = False,
) -> None:
    """Score variants of many proteins in one run.

    Writes variants.csv (one row for each line, in order), proteins.csv,
    report.html over all proteins, and the run folder of each protein in
    proteins/. A protein that cannot be scored costs its own rows only. Run the
    same command again to continue an interrupted run. Exit code: 0 all rows
    scored, 3 some not, 4 none.
    """
    terminal = messages.terminal()
    from mutscan import pipeline

    progress = terminal.progress()
    try:
        run = pipeline.batch(
            table, **vars(given), **options.named(), reports=reports, progress=progress, stdin=sys.stdin
        )
    finally:
        progress.finish()
    if options.shard is not None:
        end_part(run, terminal)
    if json:
        print_rows(run.directory)
    if not messages.quiet:
        from mutscan.cli.summary import print_batch_summary

        print_batch_summary(run.directory, terminal.err)
    raise typer.Exit(run.exit_code)
