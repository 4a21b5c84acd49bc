"""``mutscan train dataset``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mutscan.builders import BUILDERS
from mutscan.cli.console import Terminal, print_json_object
from mutscan.cli.options import JsonOption, QuietOption, SeedOption, VerboseOption
from mutscan.cli.train.tables import expand

if TYPE_CHECKING:
    from mutscan.train.chains.clusters import Clustering
    from mutscan.train.dataset.make import Dataset
    from mutscan.train.dataset.sources import Source

INPUT = "Pairs and structures"
EXTRA = "Pairs made besides"
LABELS = "Alignment and labels"
SPLIT = "Splits"
RUNNING = "Where and how it runs"


def dataset(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="DIR",
            help="For structures.parquet, pairs/, failures.csv, splits.csv and dataset.json.",
            callback=expand,
            show_default=False,
        ),
    ],
    structures: Annotated[
        Path | None,
        typer.Option(
            "--structures",
            metavar="FILE|DIR",
            help="Parquet table of chains (id, sequence, ca), or a folder of PDB and mmCIF files named by "
            "chain (also .gz).",
            callback=expand,
            rich_help_panel=INPUT,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            "--pairs",
            metavar="FILE",
            help="Parquet, CSV or TSV with the columns id1, id2 or chain_1, chain_2; without it, only "
            "--mine and --mutants make pairs.",
            callback=expand,
            rich_help_panel=INPUT,
        ),
    ] = None,
    swiss_model: Annotated[
        Path | None,
        typer.Option(
            "--swiss-model",
            metavar="FILE",
            help="The public list of SWISS-MODEL pairs (CSV, chain_1, chain_2: UniProt accessions); the "
            "models are downloaded. Instead of --structures and --pairs.",
            callback=expand,
            rich_help_panel=INPUT,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="So many pairs of the SWISS-MODEL list.", rich_help_panel=INPUT
        ),
    ] = None,
    keep_alignments: Annotated[
        bool,
        typer.Option(
            "--keep-alignments",
            help="Keep TM-scores and alignments that --pairs holds (default: align again).",
            rich_help_panel=INPUT,
        ),
    ] = False,
    mine: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Look for so many more pairs of TM 0.5 to 0.8, across clusters.",
            rich_help_panel=EXTRA,
        ),
    ] = 0,
    mutants: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Build so many mutants of each wild type.", rich_help_panel=EXTRA
        ),
    ] = 0,
    wild_types: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Full-atom structures of the wild types.",
            callback=expand,
            rich_help_panel=EXTRA,
        ),
    ] = None,
    builder: Annotated[
        str,
        typer.Option(metavar="|".join(BUILDERS), help="Who builds the mutants.", rich_help_panel=EXTRA),
    ] = "auto",
    time_limit: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Processor time TM-align may take for a pair.",
            rich_help_panel=LABELS,
        ),
    ] = 60.0,
    min_length: Annotated[
        int,
        typer.Option(metavar="N", help="Leave out shorter chains.", rich_help_panel=LABELS),
    ] = 3,
    max_length: Annotated[
        int,
        typer.Option(metavar="N", help="Leave out longer chains (the paper: 300).", rich_help_panel=LABELS),
    ] = 1000,
    lddt_exponent: Annotated[
        float,
        typer.Option(metavar="P", help="Distance exponent of the custom lDDT.", rich_help_panel=LABELS),
    ] = 3.0,
    lddt_radius: Annotated[
        float, typer.Option(metavar="Å", help="Radius of the custom lDDT.", rich_help_panel=LABELS)
    ] = 15.0,
    cluster_column: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Column of --structures with sequence clusters (default: MMseqs2 where it is installed, "
            "else cluster25).",
            rich_help_panel=SPLIT,
        ),
    ] = None,
    clusters: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Sequence clusters as MMseqs2 writes them: representative, member.",
            callback=expand,
            rich_help_panel=SPLIT,
        ),
    ] = None,
    min_identity: Annotated[
        float,
        typer.Option(
            metavar="X", min=0.0, max=1.0, help="Identity of MMseqs2's clusters.", rich_help_panel=SPLIT
        ),
    ] = 0.25,
    link: Annotated[
        bool,
        typer.Option(
            help="Merge clusters that hold parts of one protein (a domain and its chain; copies).",
            rich_help_panel=SPLIT,
        ),
    ] = True,
    shard_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Pairs a shard.", rich_help_panel=RUNNING)
    ] = 2000,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", metavar="N", min=1, help="Worker processes (default: cores).", rich_help_panel=RUNNING
        ),
    ] = None,
    seed: SeedOption = 0,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="Throw the finished shards away (default: go on where it was stopped).",
            rich_help_panel=RUNNING,
        ),
    ] = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    json: JsonOption = False,
) -> None:
    """Align pairs of structures and label them, as shards that training reads.

    Stopped at any time, the same command goes on where it was, to the same files.
    Exit code: 0 every pair is there, 3 some could not be used (failures.csv), 4 none.
    """
    terminal = Terminal(quiet=quiet, verbose=verbose)
    terminal.start_log()
    from loky import cpu_count

    from mutscan.train.chains.clusters import choose_clustering
    from mutscan.train.dataset.make import make_dataset
    from mutscan.train.dataset.plan import Extras, PairingSettings

    settings = PairingSettings(
        seed=seed,
        shard_size=shard_size,
        time_limit=time_limit,
        min_length=min_length,
        max_length=max_length,
        lddt_exponent=lddt_exponent,
        lddt_radius=lddt_radius,
        link_clusters=link,
    )
    source = _source(
        structures,
        pairs,
        swiss_model,
        limit,
        keep_alignments,
        settings.max_length,
        seed,
        more=mine > 0 or mutants > 0,
    )
    clustering: Clustering = choose_clustering(
        source.columns(), column=cluster_column, file=clusters, min_identity=min_identity
    )
    progress = terminal.progress()
    try:
        made = make_dataset(
            out,
            source,
            clustering,
            settings,
            extras=Extras(mine=mine, mutants=mutants, wild_types=wild_types, builder=builder),
            jobs=jobs or cpu_count(),
            restart=restart,
            progress=progress,
        )
    except KeyboardInterrupt:
        progress.finish()
        terminal.say("finished shards are kept, the same command goes on there")
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
    max_length: int,
    seed: int,
    *,
    more: bool,
) -> Source:
    from mutscan.errors import UsageError
    from mutscan.train.dataset.sources import StructureFiles, SwissModelList, Tables

    if swiss_model is not None:
        if structures is not None or pairs is not None or keep_alignments:
            raise UsageError("--swiss-model stands alone: it brings its own pairs, and fetches structures")
        return SwissModelList(swiss_model, limit, max_length, seed)
    if structures is None or (pairs is None and not more):
        raise UsageError("expected --structures and --pairs, --mine or --mutants; or --swiss-model")
    if limit is not None:
        raise UsageError("--limit is for --swiss-model; give a shorter list as --pairs")
    if pairs is None and (keep_alignments or structures.is_dir()):
        raise UsageError("without --pairs, --structures has to be a table of chains, and nothing is kept")
    if not structures.is_dir():
        return Tables(structures, pairs, keep_alignments)
    if keep_alignments:
        raise UsageError("--keep-alignments needs a table of chains, to which the residue numbers belong")
    assert pairs is not None
    return StructureFiles(structures, pairs)


def _summary(made: Dataset) -> str:
    counts: dict[str, Any] = made.contents["counts"]
    tenths = made.contents["tm_tenths"]
    speed = f", {made.seconds / made.aligned_now:.3f} s a pair" if made.aligned_now else ""
    parts = [
        f"{counts['pairs']} pairs of {counts['chains']} chains in {counts['shards']} shards in {made.path}",
        f"by TM tenth {' '.join(map(str, tenths))}",
        f"{counts['failed']} failed" + (" (failures.csv)" if counts["failed"] else ""),
    ]
    if counts["left_out"]:
        parts.append(f"{counts['left_out']} left out by length")
    if counts["repeated"]:
        parts.append(f"{counts['repeated']} listed twice")
    parts.append(f"{made.aligned_now} aligned now{speed}")
    return "; ".join(parts)
