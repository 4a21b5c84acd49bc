"""``mutscan train families``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mutscan.cli.console import Terminal, print_json_object
from mutscan.cli.options import JsonOption, QuietOption, SeedOption, VerboseOption
from mutscan.cli.train.options import expand_all, path_option
from mutscan.train.families.settings import FamilySettings

DEFAULTS = FamilySettings()


def families(
    sequences: Annotated[
        list[Path],
        typer.Option(
            "--sequences",
            metavar="FILE|DIR",
            help="Parquet (column sequence) or FASTA, also .gz; may be given several times.",
            callback=expand_all,
            show_default=False,
        ),
    ],
    out: Annotated[Path, path_option("--out", "FILE", "families.npz; put it into the model's folder.")],
    work: Annotated[
        Path | None,
        path_option(
            "--work", "DIR", "Folder for the files of MMseqs2, removed at the end (default: OUT.work)."
        ),
    ] = None,
    identity: Annotated[
        float, typer.Option(metavar="X", min=0.0, max=1.0, help="Lowest sequence identity in a family.")
    ] = DEFAULTS.identity,
    coverage: Annotated[
        float,
        typer.Option(metavar="X", min=0.0, max=1.0, help="Lowest aligned share of both sequences."),
    ] = DEFAULTS.coverage,
    fewest: Annotated[
        int, typer.Option(metavar="N", min=1, help="Smallest family that is kept.")
    ] = DEFAULTS.fewest,
    codebook: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=65_535, help="Entries of the codebook of alignment columns."),
    ] = DEFAULTS.codebook,
    seed: SeedOption = DEFAULTS.seed,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="CPU threads (default: cores).")
    ] = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Make a model's library of protein families, which gives the residues of relatives at each site.

    MMseqs2 clusters and aligns the sequences; it has to be installed (`mmseqs`). A calibration is valid for
    one library only: run `mutscan train calibrate` afterwards.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from loky import cpu_count

    from mutscan.train.families.make import make_families

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
