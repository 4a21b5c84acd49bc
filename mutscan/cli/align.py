"""``mutscan align``: relatives of a protein in the user's own sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mutscan.cli.options import (
    RUNNING,
    Messages,
    OfflineOption,
    OrganismOption,
    WildTypeArgument,
    command,
    count,
    option,
    path,
)
from mutscan.errors import UsageError
from mutscan.pipeline.options import DEFAULTS


@command()
def align(
    wild_type: WildTypeArgument,
    *,
    database: Annotated[
        Path, path("FASTA", "Protein sequences to search, such as Swiss-Prot or UniRef; also .gz.")
    ],
    out: Annotated[Path | None, path("FILE", "Alignment to write, a3m (default: <wild type>.a3m).")] = None,
    chain: Annotated[str | None, option("ID", "Chain of a structure with several.")] = None,
    tool: Annotated[
        str,
        option(
            "auto|hmmer|mmseqs",
            "Program that searches; auto: MMseqs2 where it is installed, else HMMER.",
            RUNNING,
        ),
    ] = "auto",
    iterations: Annotated[
        int, count("Searches: 1 as phmmer, more with a profile of what was found, as jackhmmer.", RUNNING)
    ] = 1,
    e_value: Annotated[
        float, option("X", "E-value up to which a sequence counts as related.", RUNNING, "--evalue")
    ] = 1e-3,
    jobs: Annotated[int | None, count("CPU threads (default: cores).", RUNNING)] = None,
    organism: OrganismOption = DEFAULTS.organism,
    offline: OfflineOption = False,
    messages: Messages,
) -> None:
    """Search your own sequence file for relatives of a protein, and write an alignment.

    The alignment has the protein in its first row; give it to 'mutscan score' with --alignment.
    """
    terminal = messages.terminal()
    import tempfile

    from loky import cpu_count

    from mutscan.alignments.database import SequenceDatabase
    from mutscan.alignments.search import search_relatives, write_a3m
    from mutscan.files import file_name, write_errors
    from mutscan.pipeline.plan import resolve_wild_type

    if not e_value > 0:
        raise UsageError(f"--evalue {e_value:g}: expected more than 0")
    sequences = SequenceDatabase(database)
    protein = resolve_wild_type(wild_type, chain=chain, offline=offline, organism=organism, coordinates=False)
    out = out if out is not None else Path(f"{file_name(protein.name)}.a3m")
    if out.is_dir() or not out.parent.is_dir():
        raise UsageError(f"--out {out}: expected a file name in an existing folder")
    # MMseqs2 copies the database; where the alignment goes there is more room than in a temporary folder.
    with write_errors(out), tempfile.TemporaryDirectory(prefix=".mutscan-align-", dir=out.parent) as work:
        relatives = search_relatives(
            protein.sequence,
            sequences,
            Path(work),
            tool=tool,
            iterations=iterations,
            e_value=e_value,
            threads=jobs or cpu_count(),
            progress=terminal.progress(),
        )
        write_a3m(out, protein.name, protein.sequence, relatives)
    names = len({relative.name for relative in relatives})
    counted = "1 relative" if names == 1 else f"{names} relatives"
    terminal.say(f"{counted} of {protein.name}, aligned with it in {out}")
    if not relatives:
        terminal.say("note: a file without relatives is of no use to --alignment; search a larger database")
