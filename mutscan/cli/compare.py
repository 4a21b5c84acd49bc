"""``mutscan compare``: two proteins side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal, print_json_object, print_table
from mutscan.cli.options import (
    BatchResiduesOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    Precision,
    PrecisionOption,
    QuietOption,
    VerboseOption,
)
from mutscan.errors import UsageError
from mutscan.pipeline.options import DEFAULTS

_PROTEIN = "UniProt accession, structure file or FASTA file."


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The reference: {_PROTEIN}", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help=_PROTEIN, show_default=False)],
    chain_a: Annotated[str | None, typer.Option("--chain-a", metavar="ID", help="Chain of A.")] = None,
    chain_b: Annotated[str | None, typer.Option("--chain-b", metavar="ID", help="Chain of B.")] = None,
    residues: Annotated[
        Path | None,
        typer.Option("--residues", metavar="FILE", help="Write the aligned residues and their lDDT as CSV."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page: scores, alignment, track, matrices."),
    ] = None,
    model: ModelOption = DEFAULTS.model,
    offline: OfflineOption = False,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare two proteins: predicted and, with structures, measured TM-score and lDDT.

    TM-scores are normalised by A, those ending in _b by B.
    The result goes to stdout, on a terminal as a summary; --json holds the residues too.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan import pipeline
    from mutscan.cli.summary import print_comparison
    from mutscan.files import replacing, write_errors

    page = None if html is None else html.expanduser()
    if page is not None and (page.is_dir() or not page.parent.is_dir()):
        raise UsageError(f"--html {page}: expected a file name in an existing folder")
    comparison = pipeline.compare(
        a,
        b,
        chain_a=chain_a,
        chain_b=chain_b,
        model=model,
        device=device,
        precision=precision.value,
        batch_residues=batch_residues,
        offline=offline,
    )
    account = comparison.to_dict()
    if residues is not None:
        path = residues.expanduser()
        with write_errors(path), replacing(path) as temporary:
            comparison.residues.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
        terminal.say(f"{len(comparison.residues)} aligned residues written to {path}")
    if page is not None:
        comparison.to_html(page)
        terminal.say(f"page written to {page}")
    if json:
        print_json_object(account)
    elif quiet or not sys.stdout.isatty():
        print_table(
            ("key", "value"),
            (
                (key, f"{value:.6f}" if isinstance(value, float) else value)
                for key, value in account.items()
                if key not in ("residues", "notes")
            ),
        )
    if not quiet:
        # For people; the same numbers for programs are on stdout, unless that is a terminal too.
        print_comparison(comparison, terminal.err)
