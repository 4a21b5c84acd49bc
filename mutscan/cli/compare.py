"""``mutscan compare``: two proteins side by side."""

from __future__ import annotations

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
    model: ModelOption = "mutscan-mini",
    offline: OfflineOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare two proteins: predicted and, with structures, measured TM-score and lDDT.

    TM-scores are normalised by A, those ending in _b by B.
    The result goes to stdout; --json holds the residues too.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from mutscan import pipeline
    from mutscan.files import replacing, write_errors

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
    if json:
        print_json_object(account)
    else:
        print_table(
            ("key", "value"),
            (
                (key, f"{value:.6f}" if isinstance(value, float) else value)
                for key, value in account.items()
                if key not in ("residues", "notes")
            ),
        )
    for note in comparison.notes:
        terminal.say(f"note: {note}")
