"""``mutscan compare``: two proteins side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from mutscan.cli.console import print_json_object, print_table
from mutscan.cli.options import (
    BatchResiduesOption,
    DeviceOption,
    JsonOption,
    Messages,
    ModelOption,
    OfflineOption,
    OrganismOption,
    Precision,
    PrecisionOption,
    argument,
    command,
    option,
    path,
)
from mutscan.errors import UsageError
from mutscan.pipeline.options import DEFAULTS

_PROTEIN = "structure file, FASTA file, or a name as score takes it."


@command()
def compare(
    a: Annotated[str, argument(metavar="A", help=f"The reference: {_PROTEIN}")],
    b: Annotated[str, argument(metavar="B", help=_PROTEIN)],
    *,
    chain_a: Annotated[str | None, option("ID", "Chain of A.")] = None,
    chain_b: Annotated[str | None, option("ID", "Chain of B.")] = None,
    residues: Annotated[
        Path | None, path("FILE", "Write the aligned residues and their lDDT as CSV.")
    ] = None,
    html: Annotated[
        Path | None, path("FILE", "Write a page: scores, superposition in 3-D, alignment, matrices.")
    ] = None,
    model: ModelOption = DEFAULTS.model,
    organism: OrganismOption = DEFAULTS.organism,
    offline: OfflineOption = False,
    device: DeviceOption = DEFAULTS.device,
    precision: PrecisionOption = Precision.auto,
    batch_residues: BatchResiduesOption = None,
    json: JsonOption = False,
    messages: Messages,
) -> None:
    """Compare two proteins: predicted and, with structures, measured TM-score and lDDT.

    TM-scores are normalised by A, those ending in _b by B.
    The result goes to stdout, on a terminal as a summary; --json holds the residues too.
    """
    terminal = messages.terminal()
    from mutscan import pipeline
    from mutscan.cli.summary import print_comparison
    from mutscan.files import replacing, write_errors

    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UsageError(f"--html {html}: expected a file name in an existing folder")
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
        organism=organism,
    )
    account = comparison.to_dict()
    if residues is not None:
        with write_errors(residues), replacing(residues) as temporary:
            comparison.residues.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
        terminal.say(f"{len(comparison.residues)} aligned residues written to {residues}")
    if html is not None:
        comparison.to_html(html)
        terminal.say(f"page written to {html}")
    if json:
        print_json_object(account)
    elif messages.quiet or not sys.stdout.isatty():
        print_table(
            ("key", "value"),
            (
                (key, f"{value:.6f}" if isinstance(value, float) else value)
                for key, value in account.items()
                if key not in ("residues", "notes")
            ),
        )
    if not messages.quiet:
        # For people; the same numbers for programs are on stdout, unless that is a terminal too.
        print_comparison(comparison, terminal.err)
