"""Searches sequence files for relatives of a protein, and aligns them with it.

By MMseqs2 (Steinegger and Söding, Nat. Biotechnol. 35, 1026 (2017)), also for many proteins at a time; and by
HMMER's phmmer and jackhmmer (Eddy, PLoS Comput. Biol. 7, e1002195 (2011)) through pyhmmer.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyhmmer

from mutscan.alignments.mmseqs import mmseqs_program, run_mmseqs
from mutscan.alignments.profile import GAP, UNKNOWN_CODE
from mutscan.errors import MissingDependencyError, UsageError
from mutscan.files import replacing
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyhmmer.easel import AA

    from mutscan.alignments.database import SequenceDatabase
    from mutscan.progress import Progress

    Hits = pyhmmer.plan7.TopHits[Any]

_log = logging.getLogger(__name__)

TOOLS: Final = ("auto", "hmmer", "mmseqs")
"""Programs that search; ``auto`` is MMseqs2 where it is installed, else HMMER."""

E_VALUE: Final = 1e-3
"""E-value up to which a sequence counts as related."""

MOST: Final = 20_000
"""Relatives that MMseqs2 keeps of a protein."""

MEMORY: Final = "8G"
"""Memory that MMseqs2 may use for an index; it splits a larger database."""

LONGEST: Final = 100_000
"""Longest sequence that HMMER takes, residues."""

_BLOCK: Final = 2_000_000  # residues that a thread of HMMER searches at a time
_SEED: Final = 42
_ALPHABET: Final = pyhmmer.easel.Alphabet.amino()

_CODES: Final = np.full(256, UNKNOWN_CODE, dtype=np.uint8)
_CODES[np.frombuffer(STANDARD.encode(), dtype=np.uint8)] = np.arange(len(STANDARD))
_CODES[[ord("-"), ord(".")]] = GAP

_COLUMNS: Final = "qstart,tstart,tend,qaln,taln,theader"


@dataclass(frozen=True, slots=True)
class Relative:
    """A stretch of a sequence, aligned with the query.

    Parameters
    ----------
    name : str
        First word of its header.
    first, last : int
        Ends of the stretch in the sequence, 1-based.
    row : str
        Its line of an a3m file: L upper-case letters and gaps, lower-case letters where the query has no
        residue.
    """

    name: str
    first: int
    last: int
    row: str


def search_relatives(
    sequence: str,
    database: SequenceDatabase,
    work: Path,
    *,
    tool: str,
    iterations: int,
    e_value: float,
    threads: int,
    progress: Progress,
) -> list[Relative]:
    """Search for the relatives of one protein.

    Parameters
    ----------
    sequence : str
        L residues.
    database : SequenceDatabase
    work : Path
        Folder for MMseqs2's files; it is emptied first and removed at the end.
    tool : {"auto", "hmmer", "mmseqs"}
    iterations : int
        Searches; from the second on with a profile of what was found.
    e_value : float
        Up to which a sequence counts as related.
    threads : int
    progress : Progress

    Returns
    -------
    list of Relative
        The best first.

    Raises
    ------
    UsageError
        No such tool, a file that is no FASTA of proteins, or a protein that is too long.
    MissingDependencyError
        MMseqs2 is not installed, or fails.
    """
    if tool not in TOOLS:
        raise UsageError(f"--tool {tool}: expected {', '.join(TOOLS)}")
    if tool == "mmseqs" or (tool == "auto" and mmseqs_program() is not None):
        deque(database.records(progress, "reading the database"), maxlen=0)
        found = mmseqs_relatives(
            {"query": sequence}, database.path, work, threads, e_value=e_value, iterations=iterations
        )
        ((_, relatives),) = found
        return relatives
    if len(sequence) > LONGEST:
        raise UsageError(f"the protein has {len(sequence)} residues; HMMER takes up to {LONGEST:,}")
    return _hmmer_relatives(sequence, database, iterations, e_value, threads, progress)


def _hmmer_relatives(
    sequence: str,
    database: SequenceDatabase,
    iterations: int,
    e_value: float,
    threads: int,
    progress: Progress,
) -> list[Relative]:
    query = _digital("query", sequence)
    background = pyhmmer.plan7.Background(_ALPHABET)
    # Columns of a model made by hand are those of the reference line: the residues of the query.
    builder = pyhmmer.plan7.Builder(_ALPHABET, architecture="hand", seed=_SEED)
    model = builder.build(query, background)[0]
    found: list[Relative] = []
    known: set[str] = set()
    for iteration in range(1, iterations + 1):
        stage = f"searching, iteration {iteration}" if iterations > 1 else "searching"
        hits = _search(model, database, e_value, threads, progress, stage)
        found = list(_included(hits, len(sequence)))
        names = {relative.name for relative in found}
        if names <= known or iteration == iterations:
            break
        known |= names
        traces = [pyhmmer.plan7.Trace.from_sequence(query)]
        rows = hits.to_msa(_ALPHABET, [query], traces, trim=True, digitize=True, all_consensus_cols=True)
        assert isinstance(rows, pyhmmer.easel.DigitalMSA)
        rows.name = model.name
        model = builder.build_msa(rows, background)[0]
    return found


def _search(
    model: pyhmmer.plan7.HMM[AA],
    database: SequenceDatabase,
    e_value: float,
    threads: int,
    progress: Progress,
    stage: str,
) -> Hits:
    """Search a database block by block; E-values are for all of it."""

    def search(block: pyhmmer.easel.DigitalSequenceBlock[AA]) -> Hits:
        pipeline = pyhmmer.plan7.Pipeline(
            _ALPHABET, seed=_SEED, E=e_value, domE=e_value, incE=e_value, incdomE=e_value
        )
        return pipeline.search_hmm(model, block)

    parts: list[Hits] = []
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Hits]] = deque()
        for block in _blocks(database, progress, stage):
            waiting.append(pool.submit(search, block))
            if len(waiting) > 2 * threads:
                parts.append(waiting.popleft().result())
        parts += [each.result() for each in waiting]
    return parts[0].merge(*parts[1:])


def _blocks(
    database: SequenceDatabase, progress: Progress, stage: str
) -> Iterator[pyhmmer.easel.DigitalSequenceBlock[AA]]:
    block, residues = pyhmmer.easel.DigitalSequenceBlock(_ALPHABET), 0
    for record in database.records(progress, stage):
        if len(record.sequence) > LONGEST:
            _log.warning("%s: longer than %d residues, left out", record.id, LONGEST)
            continue
        block.append(_digital(record.id, record.sequence))
        residues += len(record.sequence)
        if residues >= _BLOCK:
            yield block
            block, residues = pyhmmer.easel.DigitalSequenceBlock(_ALPHABET), 0
    yield block


def _included(hits: Hits, length: int) -> Iterator[Relative]:
    # Hits of equal score come in no promised order.
    for hit in sorted((hit for hit in hits if hit.included), key=lambda hit: (-hit.score, hit.name)):
        for domain in hit.domains:
            if domain.included:
                part = domain.alignment
                row = a3m_row(part.hmm_sequence, part.target_sequence, part.hmm_from, length)
                yield Relative(_text(hit.name), part.target_from, part.target_to, row)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _digital(name: str, letters: str) -> pyhmmer.easel.DigitalSequence[AA]:
    return pyhmmer.easel.TextSequence(name=name.encode(), sequence=letters).digitize(_ALPHABET)


def mmseqs_relatives(
    queries: Mapping[str, str],
    database: Path,
    work: Path,
    threads: int,
    *,
    sensitivity: float = 7.5,
    e_value: float = E_VALUE,
    most: int = MOST,
    iterations: int = 1,
) -> Iterator[tuple[str, list[Relative]]]:
    """Search a FASTA file for the relatives of many proteins in one call of MMseqs2.

    Parameters
    ----------
    queries : mapping of str to str
        Sequences of L residues by name.
    database : Path
        FASTA, plain or gzip.
    work : Path
        Folder for MMseqs2's files; it is emptied first and removed when all answers were read.
    threads : int
    sensitivity, e_value, most : float, float, int
        ``-s``, ``-e`` and ``--max-seqs`` of ``mmseqs search``.
    iterations : int
        From the second on, the search is with a profile of what was found.

    Yields
    ------
    str
        Name of a query, in their order.
    list of Relative
        The lowest E-value first. A query that is in the database is among them.

    Raises
    ------
    MissingDependencyError
        MMseqs2 is not installed, or fails.
    """
    program = mmseqs_program()
    if program is None:
        raise MissingDependencyError(
            "MMseqs2 is not installed: there is no `mmseqs` on the PATH; install it (conda install -c "
            "bioconda mmseqs2, or your system's package mmseqs2)"
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    names = list(queries)
    numbered = (f">{number}\n{queries[name]}\n" for number, name in enumerate(names))
    (work / "queries.fasta").write_text("".join(numbered), encoding="ascii")
    with database.open("rb") as stream:
        ending = ".fasta.gz" if stream.read(2) == b"\x1f\x8b" else ".fasta"
    # MMseqs2 cannot have blanks in paths, and recognises gzip by the ending.
    (work / f"database{ending}").symlink_to(database.resolve())
    plain = ("--dbtype", "1", "--shuffle", "0")
    for step in (
        ("createdb", "queries.fasta", "queries", *plain),
        ("createdb", f"database{ending}", "targets", *plain),
        ("search", "queries", "targets", "found", "scratch", "-a", "1", "-s", f"{sensitivity:g}",
         "-e", f"{e_value:g}", "--max-seqs", str(most), "--num-iterations", str(iterations),
         "--split-memory-limit", MEMORY, "--threads", str(threads)),
        # A database and not a text file, because its index lists the queries in their order.
        ("convertalis", "queries", "targets", "found", "answers", "--db-output", "1",
         "--format-output", _COLUMNS, "--threads", str(threads)),
    ):  # fmt: skip
        advice = f"look at {work}, and reinstall MMseqs2 if it is damaged"
        run_mmseqs(program, *step, "-v", "1", advice=advice, folder=work)
    with (work / "answers").open("rb") as answers, (work / "answers.index").open("rb") as index:
        for name, (_, offset, size) in zip(names, (map(int, line.split()) for line in index), strict=True):
            answers.seek(offset)
            lines = answers.read(size).decode("utf-8", "replace").rstrip("\0\n").split("\n")
            cells = (line.split("\t", 5) for line in lines if line)
            yield name, [_relative(each, len(queries[name])) for each in cells]
    shutil.rmtree(work)


def _relative(cells: Sequence[str], length: int) -> Relative:
    start, first, last, own, other, header = cells
    return Relative(
        (header.split() or [""])[0], int(first), int(last), a3m_row(own, other, int(start), length)
    )


def a3m_row(own: str, other: str, start: int, length: int) -> str:
    """Write an alignment of two sequences as the second one's row of an a3m file.

    Parameters
    ----------
    own, other : str
        Aligned stretches of the query and of the other sequence, with gaps.
    start : int
        Where the query's stretch begins, 1-based.
    length : int
        Residues of the query.

    Examples
    --------
    >>> a3m_row("KT-AY", "RTG-Y", 2, 8)
    '-RTg-Y---'
    """
    middle = "".join(
        (b.lower() if a in "-." else b) for a, b in zip(own, other.upper().replace(".", "-"), strict=True)
    )
    covered = sum(letter not in "-." for letter in own)
    return "-" * (start - 1) + middle + "-" * (length - covered - start + 1)


def write_a3m(path: Path, name: str, sequence: str, relatives: Sequence[Relative]) -> None:
    """Write an a3m file, atomically: the protein, then its relatives as ``name/first-last``."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(f">{name}\n{sequence}\n")
        stream.writelines(f">{each.name}/{each.first}-{each.last}\n{each.row}\n" for each in relatives)


def encoded(rows: Sequence[str], length: int) -> NDArray[np.uint8]:
    """Encode rows of an a3m file without their inserted residues.

    Parameters
    ----------
    rows : sequence of str
    length : int
        Residues of the query.

    Returns
    -------
    uint8 array, shape (n, L)
        Places in `STANDARD`, `UNKNOWN_CODE` or `GAP`.
    """
    letters = np.frombuffer("".join(rows).encode("ascii"), dtype=np.uint8)
    return _CODES[letters[letters < ord("a")]].reshape(len(rows), length)
