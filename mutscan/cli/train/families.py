"""``mutscan train families``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal, print_json_object
from mutscan.cli.options import JsonOption, QuietOption, VerboseOption
from mutscan.cli.train.tables import expand, expand_all


def families(
    sequences: Annotated[
        list[Path],
        typer.Option(
            "--sequences",
            metavar="FILE|DIR",
            help="Parquet (sequence) or FASTA, also .gz; may be given several times.",
            callback=expand_all,
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE",
            help="families.npz; it belongs into the model's folder.",
            callback=expand,
            show_default=False,
        ),
    ],
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="For MMseqs2's files, removed at the end (default: OUT.work).",
            callback=expand,
        ),
    ] = None,
    identity: Annotated[
        float, typer.Option(metavar="X", min=0.0, max=1.0, help="Least sequence identity in a family.")
    ] = 0.3,
    coverage: Annotated[
        float, typer.Option(metavar="X", min=0.0, max=1.0, help="Share of both sequences that is aligned.")
    ] = 0.6,
    fewest: Annotated[int, typer.Option(metavar="N", min=1, help="Leave smaller families out.")] = 3,
    codebook: Annotated[
        int, typer.Option(metavar="N", min=1, max=65_535, help="Different columns that are told apart.")
    ] = 8192,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the codebook.")] = 0,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads (default: cores).")
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Make a model's library of protein families: what relatives say of a site.

    Sequences are clustered and aligned by MMseqs2, which has to be installed (`mmseqs`). A calibration
    holds for one library: run `mutscan train calibrate` afterwards.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from loky import cpu_count

    from mutscan.train.families.make import FamilySettings, make_families

    facts = make_families(
        sequences,
        out,
        FamilySettings(identity=identity, coverage=coverage, fewest=fewest, codebook=codebook, seed=seed),
        work=work or out.with_name(f"{out.name}.work"),
        threads=threads or cpu_count(),
        progress=terminal.progress(),
    )
    if json:
        print_json_object(facts)
        return
    terminal.say(
        f"{facts['families']:,} families of {facts['sequences']:,} sequences, {facts['columns']:,} columns, "
        f"{facts['bytes'] / 1e6:.1f} MB, written to {out}"
    )
