"""``mutscan train families``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mutscan.cli.console import print_json_object
from mutscan.cli.options import (
    JsonOption,
    Messages,
    SeedOption,
    command,
    count,
    option,
    path,
)
from mutscan.train.families.settings import FamilySettings

DEFAULTS = FamilySettings()


@command(
    sequences="Parquet (column sequence) or FASTA, also .gz; may be given several times.",
    work="Folder for the files of MMseqs2, removed at the end (default: OUT.work).",
)
def families(
    sequences: Annotated[list[Path], path("FILE|DIR")],
    out: Annotated[Path, path("FILE", "families.npz; put it into the model's folder.")],
    *,
    work: Annotated[Path | None, path("DIR")] = None,
    identity: Annotated[
        float, option("X", "Lowest sequence identity in a family.", min=0.0, max=1.0)
    ] = DEFAULTS.identity,
    coverage: Annotated[
        float, option("X", "Lowest aligned share of both sequences.", min=0.0, max=1.0)
    ] = DEFAULTS.coverage,
    fewest: Annotated[int, count("Smallest family that is kept.")] = DEFAULTS.fewest,
    codebook: Annotated[
        int, option("N", "Entries of the codebook of alignment columns.", min=1, max=65_535)
    ] = DEFAULTS.codebook,
    seed: SeedOption = DEFAULTS.seed,
    threads: Annotated[int | None, count("CPU threads (default: cores).")] = None,
    messages: Messages,
    json: JsonOption = False,
) -> None:
    """Make a model's library of protein families, which gives the residues of relatives at each site.

    MMseqs2 clusters and aligns the sequences; it has to be installed (`mmseqs`). A calibration is valid for
    one library only: run `mutscan train calibrate` afterwards.
    """
    terminal = messages.terminal()
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
