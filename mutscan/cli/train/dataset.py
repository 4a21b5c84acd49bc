"""``mutscan train dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mutscan.builders import BUILDERS
from mutscan.cli.console import print_json_object
from mutscan.cli.options import (
    RUNNING,
    JsonOption,
    Messages,
    SeedOption,
    command,
    count,
    flag,
    option,
    path,
)

if TYPE_CHECKING:
    from mutscan.train.dataset.make import Dataset
    from mutscan.train.dataset.plan import Extras, PairingSettings
    from mutscan.train.dataset.sources import Source

INPUT = "Pairs and structures"
EXTRA = "Additional pairs"
LABELS = "Alignment and labels"
SPLIT = "Splits"


@command(
    structures="Parquet table of chains (id, sequence, ca), or a folder of PDB and mmCIF files (also .gz) "
    "named by chain.",
    pairs="Pairs to align: Parquet, CSV or TSV with the columns id1, id2 or chain_1, chain_2. "
    "Optional with --mine or --mutants.",
    swiss_model="Public list of SWISS-MODEL pairs (CSV with chain_1, chain_2: UniProt accessions), instead "
    "of --structures and --pairs. The models are downloaded.",
    keep_alignments="Keep the TM-scores and alignments of --pairs (default: align again).",
    mine="Add N pairs with a TM-score of about 0.5 to 0.8, from different clusters.",
    cluster_column="Column of --structures with sequence clusters (default: MMseqs2 if it is installed, "
    "otherwise cluster25).",
    clusters="Sequence clusters in MMseqs2's format: representative, member.",
    min_identity="Minimum sequence identity of MMseqs2's clusters.",
    link="Merge clusters that share parts of one protein, such as a domain and its full chain.",
)
def dataset(
    out: Annotated[
        Path, path("DIR", "Data set: structures.parquet, pairs/, failures.csv, splits.csv and dataset.json.")
    ],
    *,
    structures: Annotated[Path | None, path("FILE|DIR", panel=INPUT)] = None,
    pairs: Annotated[Path | None, path("FILE", panel=INPUT)] = None,
    swiss_model: Annotated[Path | None, path("FILE", panel=INPUT)] = None,
    limit: Annotated[int | None, count("Draw N pairs of the SWISS-MODEL list.", INPUT)] = None,
    keep_alignments: Annotated[bool, flag("", INPUT, "--keep-alignments")] = False,
    mine: Annotated[int, count("", EXTRA, 0)] = 0,
    mutants: Annotated[int, count("Build N mutants of each wild type.", EXTRA, 0)] = 0,
    wild_types: Annotated[
        Path | None, path("DIR", "Folder with full-atom structures of the wild types.", EXTRA)
    ] = None,
    builder: Annotated[str, option("|".join(BUILDERS), "Builder of the mutants.", EXTRA)] = "auto",
    time_limit: Annotated[
        float, option("SECONDS", "CPU time limit of TM-align for one pair.", LABELS)
    ] = 60.0,
    min_length: Annotated[int, option("N", "Leave out chains with fewer residues.", LABELS)] = 3,
    max_length: Annotated[
        int, option("N", "Leave out chains with more residues (the paper: 300).", LABELS)
    ] = 1000,
    lddt_exponent: Annotated[float, option("P", "Distance exponent of the lDDT labels.", LABELS)] = 3.0,
    lddt_radius: Annotated[float, option("Å", "Radius of the lDDT labels.", LABELS)] = 15.0,
    cluster_column: Annotated[str | None, option("NAME", panel=SPLIT)] = None,
    clusters: Annotated[Path | None, path("FILE", panel=SPLIT)] = None,
    min_identity: Annotated[float, option("X", panel=SPLIT, min=0.0, max=1.0)] = 0.25,
    link: Annotated[bool, flag(panel=SPLIT)] = True,
    shard_size: Annotated[int, count("Pairs per shard.", RUNNING)] = 2000,
    jobs: Annotated[int | None, count("Worker processes (default: number of cores).", RUNNING)] = None,
    seed: SeedOption = 0,
    restart: Annotated[
        bool, flag("Discard the finished shards (default: resume).", RUNNING, "--restart")
    ] = False,
    messages: Messages,
    json: JsonOption = False,
) -> None:
    """Align pairs of structures, label them, and split them for training.

    An interrupted command resumes when it is run again. Exit code: 0 all pairs succeeded, 3 some failed
    (listed in failures.csv), 4 no pair succeeded.
    """
    terminal = messages.terminal()
    from loky import cpu_count

    from mutscan.train.chains.clusters import choose_clustering
    from mutscan.train.dataset.make import make_dataset
    from mutscan.train.dataset.plan import Extras, PairingSettings

    settings = PairingSettings(
        seed, shard_size, time_limit, min_length, max_length, lddt_exponent, lddt_radius, link
    )
    extras = Extras(mine, mutants, wild_types, builder)
    source = _source(structures, pairs, swiss_model, limit, keep_alignments, settings, extras)
    clustering = choose_clustering(
        source.columns(), column=cluster_column, file=clusters, min_identity=min_identity
    )
    progress = terminal.progress()
    try:
        made = make_dataset(
            out,
            source,
            clustering,
            settings,
            extras=extras,
            jobs=jobs or cpu_count(),
            restart=restart,
            progress=progress,
        )
    except KeyboardInterrupt:
        terminal.say("interrupted; finished shards are kept, run the same command again to resume")
        raise
    finally:
        progress.finish()
    if json:
        print_json_object(made.contents)
    terminal.say(_summary(made))
    raise typer.Exit(made.exit_code)


def _source(
    structures: Path | None,
    pairs: Path | None,
    swiss_model: Path | None,
    limit: int | None,
    keep_alignments: bool,
    settings: PairingSettings,
    extras: Extras,
) -> Source:
    from mutscan.errors import UsageError
    from mutscan.train.dataset.sources import StructureFiles, SwissModelList, Tables

    if swiss_model is not None:
        if structures is not None or pairs is not None or keep_alignments:
            raise UsageError(
                "--swiss-model cannot be combined with --structures, --pairs or --keep-alignments"
            )
        return SwissModelList(swiss_model, limit, settings.max_length, settings.seed)
    if structures is None or (pairs is None and not (extras.mine or extras.mutants)):
        raise UsageError("expected --structures with --pairs, --mine or --mutants; or --swiss-model")
    if limit is not None:
        raise UsageError("--limit works only with --swiss-model; shorten the --pairs list instead")
    if pairs is None and (keep_alignments or structures.is_dir()):
        raise UsageError(
            "without --pairs, --structures must be a table of chains and --keep-alignments must be left out"
        )
    if not structures.is_dir():
        return Tables(structures, pairs, keep_alignments)
    if keep_alignments:
        raise UsageError(
            "--keep-alignments needs a table of chains as --structures, which the residue numbers refer to"
        )
    assert pairs is not None
    return StructureFiles(structures, pairs)


def _summary(made: Dataset) -> str:
    counts: dict[str, Any] = made.contents["counts"]
    tenths = made.contents["tm_tenths"]
    speed = f", {made.seconds / made.aligned_now:.3f} s per pair" if made.aligned_now else ""
    parts = [
        f"{counts['pairs']} pairs of {counts['chains']} chains in {counts['shards']} shards in {made.path}",
        f"pairs per tenth of the TM-score: {' '.join(map(str, tenths))}",
        f"{counts['failed']} failed" + (" (failures.csv)" if counts["failed"] else ""),
    ]
    if counts["left_out"]:
        parts.append(f"{counts['left_out']} left out because of their lengths")
    if counts["repeated"]:
        parts.append(f"{counts['repeated']} listed twice")
    parts.append(f"{made.aligned_now} aligned now{speed}")
    return "; ".join(parts)
