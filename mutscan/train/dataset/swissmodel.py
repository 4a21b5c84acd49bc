"""Pairs of the public SWISS-MODEL list: a random sample of its rows, and the models of their chains.

The list names UniProt accessions; the models are in the SWISS-MODEL repository, which is
queried gently: a few connections, a pause after every answer, and when it answers "too many
requests" all of them wait as long as it asks. Models change over time, so every answer is recorded:

    <folder>/P04637.pdb       the model, byte for byte
    <folder>/manifest.jsonl   a line for each answer: accession, url, status, date, sha256, size, residues
    <folder>/pairs.csv        chain_1, chain_2, tm_listed of the sampled pairs with both models
    <folder>/failures.csv     id1, id2, reason of the others

Recorded answers are not requested again, including "no such model" (404); a file that differs from its
record is. The list's TM-scores are kept as ``tm_listed`` but not used: some differ from those of TM-align.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import filelock
import numpy as np

from mutscan.errors import FetchError, RunFolderError, StructureError, UsageError
from mutscan.fetch.http import Patience, download
from mutscan.fetch.uniprot import is_accession
from mutscan.files import replacing, write_errors
from mutscan.hashes import bytes_sha256, file_sha256
from mutscan.progress import Silent
from mutscan.structures.assemble import assemble
from mutscan.structures.read import read_table
from mutscan.train.dataset.sampling import sample_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from pathlib import Path

    from mutscan.progress import Progress

URL: Final = "https://swissmodel.expasy.org/repository/uniprot/{accession}.pdb?provider=swissmodel"
"""Address of a model; ``provider`` excludes experimental structures."""

MANIFEST: Final = "manifest.jsonl"
PAIRS: Final = "pairs.csv"
FAILURES: Final = "failures.csv"

PATIENCE: Final = Patience(retries=4, total=900.0, first_delay=2.0, longest_delay=120.0)
"""A busy server stays busy for minutes."""

_GIVE_UP: Final = 10  # failed models in a row: the service is down or refuses us
_SHORTEST: Final = 3  # residues TM-align needs


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of the repository for one accession, a line of the manifest.

    Parameters
    ----------
    accession, url : str
    status : int
        200, or 404 where there is no model.
    date : str
        ISO 8601, UTC.
    sha256 : str, optional
        Of the file, hexadecimal; None without one.
    size : int
        Bytes.
    residues : int
        Residues with C-alpha in the chain; 0 where no chain can be read.
    reason : str
        Why the model cannot be used, apart from its length; empty when it can.
    replaced : str, optional
        sha256 of the file recorded before, if it differs.
    """

    accession: str
    url: str
    status: int
    date: str
    sha256: str | None
    size: int
    residues: int
    reason: str
    replaced: str | None = None

    def objection(self, max_length: int) -> str:
        """Why the model is not used; empty when it is."""
        if self.reason or self.residues <= max_length:
            return self.reason
        return f"the model has {self.residues} residues; the limit is {max_length}"


def download_swiss_model(
    pairs_csv: Path,
    folder: Path,
    *,
    limit: int | None,
    max_length: int,
    seed: int,
    url: str = URL,
    workers: int = 4,
    delay: float = 1.0,
    patience: Patience = PATIENCE,
    progress: Progress | None = None,
) -> Path:
    """Draw pairs of the list and download the models of their chains; the same call again resumes.

    Parameters
    ----------
    pairs_csv : Path
        CSV or TSV (also .gz) with columns chain_1 and chain_2; read as a stream, of any size.
    folder : Path
        Folder for models and records; created if necessary.
    limit : int, optional
        Rows to draw; None for all (the whole list has 141 million). A larger draw with the same seed begins
        with the smaller one.
    max_length : int
        Longer models stay on disk but their pairs are left out.
    seed : int
        Of the draw.
    url : str
        Address of a model, ``{accession}`` in the place of the accession.
    workers : int
        Connections at a time.
    delay : float, s
        Pause of each connection after every answer.
    patience : Patience
        Retries for one model; the wait after a refusal applies to all connections.
    progress : Progress, optional

    Returns
    -------
    Path
        Of the pairs.

    Raises
    ------
    UsageError
        The list cannot be read or has no such columns.
    FetchError
        The service does not answer, or no pair has both models. Downloaded models are kept.
    RunFolderError
        The folder is in use or cannot be written.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: at least 1 pair was expected")
    progress = progress if progress is not None else Silent()
    sampled = _sample(pairs_csv, limit, seed)
    with write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock", blocking=False)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunFolderError(f"{folder} is in use by another download; wait for it to end") from None
        try:
            archive = Archive(folder)
            wanted = dict.fromkeys(name for one in sampled for name in one.ends if is_accession(name))
            problems = _complete(archive, list(wanted), url, workers, delay, patience, progress)
            return _write_lists(folder, sampled, archive, problems, max_length)
        finally:
            lock.release()


# The list ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listed:
    ends: tuple[str, str]
    tm: str


def _sample(path: Path, limit: int | None, seed: int) -> list[_Listed]:
    sampled = sample_rows(path, limit, seed=seed)
    columns = [name.lower() for name in sampled.columns]
    missing = [name for name in ("chain_1", "chain_2") if name not in columns]
    if missing:
        raise UsageError(
            f"{path}: has no column {' or '.join(missing)}; there are {', '.join(sampled.columns)}"
        )
    if not sampled.rows:
        raise UsageError(f"{path}: lists no pair")
    first, second = columns.index("chain_1"), columns.index("chain_2")
    # The list's documentation does not name the column: take the first whose name contains "tm".
    tm = next((k for k, name in enumerate(columns) if "tm" in name and k not in (first, second)), None)
    return [
        _Listed((row[first].strip(), row[second].strip()), "" if tm is None else row[tm].strip())
        for row in sampled.rows
    ]


def _write_lists(
    folder: Path, sampled: Sequence[_Listed], archive: Archive, problems: dict[str, str], max_length: int
) -> Path:
    def objection(name: str) -> str:
        if not is_accession(name):
            return f"{name!r} is not a UniProt accession"
        if name in problems:
            return problems[name]
        said = archive.answers[name].objection(max_length)
        return f"{name}: {said}" if said else ""

    good: list[tuple[str, ...]] = []
    bad: list[tuple[str, ...]] = []
    for one in sampled:
        reasons = [said for name in dict.fromkeys(one.ends) if (said := objection(name))]
        if reasons:
            bad.append((*one.ends, "; ".join(reasons)))
        else:
            good.append((*one.ends, one.tm))
    _write_csv(folder / FAILURES, ("id1", "id2", "reason"), bad)
    _write_csv(folder / PAIRS, ("chain_1", "chain_2", "tm_listed"), good)
    if not good:
        raise FetchError(
            f"none of the {len(sampled)} sampled pairs has models of both chains, such as {bad[0][2]}; "
            f"see {folder / FAILURES}",
            code="not_found",
        )
    return folder / PAIRS


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


# The archive ---------------------------------------------------------------------------------------


class Archive:
    """Downloaded models and their records.

    The manifest is append-only: one line for each answer, written when its file is in place; of several
    lines for one accession the last counts. An incomplete last line of an interrupted run is dropped.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answers: dict[str, Answer] = {}
        self._path = folder / MANIFEST
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
        if not self._path.is_file():
            return
        text = self._path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with replacing(self._path) as temporary:
                temporary.write_bytes(whole)
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                answer = Answer(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise RunFolderError(
                    f"{self._path}, line {number}: not a record of a download ({error}); delete the line, "
                    "and its model is requested again"
                ) from error
            self.answers[answer.accession] = answer

    def path(self, accession: str) -> Path:
        """Path of a model."""
        return self.folder / f"{accession}.pdb"

    def holds(self, accession: str) -> bool:
        """Whether the file of a recorded answer is unchanged (or the answer had none)."""
        answer = self.answers[accession]
        if answer.sha256 is None:
            return True
        try:
            return file_sha256(self.path(accession)) == answer.sha256
        except FileNotFoundError:
            return False

    def keep(self, answer: Answer) -> None:
        """Record an answer whose file is in place."""
        before = self.answers.get(answer.accession)
        if before is not None and before.sha256 not in (None, answer.sha256):
            answer = replace(answer, replaced=before.sha256)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(answer)) + "\n")
        self.answers[answer.accession] = answer


# The service ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Gate:
    """Time of the next request; a refusal of one request delays all."""

    stopped: threading.Event = field(default_factory=threading.Event)
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, seconds: float) -> None:
        """Delay all requests by `seconds`, and wait."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)
        self.wait()

    def wait(self) -> None:
        """Wait until requests may go out."""
        while not self.stopped.is_set() and (left := self._until - time.monotonic()) > 0:
            self.stopped.wait(left)
        if self.stopped.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """The download was stopped."""


def _complete(
    archive: Archive,
    accessions: Sequence[str],
    url: str,
    workers: int,
    delay: float,
    patience: Patience,
    progress: Progress,
) -> dict[str, str]:
    """Request every missing model; return those that failed this time, with the reason."""
    known = [accession for accession in accessions if accession in archive.answers]
    changed = set()
    progress.start("verify models", len(known))
    for accession in known:
        if not archive.holds(accession):
            changed.add(accession)
        progress.advance()
    progress.finish()
    if changed:
        progress.note(
            f"{len(changed)} downloaded models are missing or have changed; they are downloaded again"
        )
    todo = [one for one in accessions if one in changed or one not in archive.answers]
    gate = _Gate()
    ask = functools.partial(
        _ask, archive=archive, url=url, gate=gate, patience=replace(patience, sleep=gate.hold), delay=delay
    )
    problems: dict[str, str] = {}
    in_a_row = 0
    progress.start("download models", len(accessions))
    progress.advance(len(accessions) - len(todo))
    # Closed, so that no request is made when this ends early.
    with contextlib.closing(_in_threads(ask, todo, workers, gate.stopped)) as outcomes:
        for accession, outcome in outcomes:
            if isinstance(outcome, Answer):
                archive.keep(outcome)
                in_a_row = 0
            else:
                problems[accession] = outcome
                in_a_row += 1
            progress.advance()
            if in_a_row >= _GIVE_UP:
                raise FetchError(
                    f"{in_a_row} models in a row could not be downloaded, the last because {outcome}; the "
                    "others are kept, run the same command again later"
                )
    progress.finish()
    return problems


def _in_threads(
    ask: Callable[[str], Answer | str], accessions: Sequence[str], workers: int, stopped: threading.Event
) -> Generator[tuple[str, Answer | str]]:
    """Outcomes in the order they arrive, with few requests ahead of the caller."""
    waiting = iter(accessions)
    running: dict[Future[Answer | str], str] = {}
    with ThreadPoolExecutor(max_workers=workers) as threads:
        try:
            while True:
                for accession in waiting:
                    running[threads.submit(ask, accession)] = accession
                    if len(running) >= workers:
                        break
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            # However this ends, the threads stop waiting and requesting.
            stopped.set()


def _ask(
    accession: str, *, archive: Archive, url: str, gate: _Gate, patience: Patience, delay: float
) -> Answer | str:
    """Download one model; return the answer, or the reason why there is none this time."""
    address = url.format(accession=accession)
    gate.wait()
    try:
        got = download(
            address, functools.partial(_look, name=f"{accession}.pdb"), patience=patience, absent_ok=True
        )
    except FetchError as error:
        return error.message
    finally:
        gate.stopped.wait(delay)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    if got.value is None:
        reason = f"SWISS-MODEL has no model ({got.status})"
        return Answer(accession, address, got.status, date, None, 0, 0, reason)
    residues, reason = got.value
    with replacing(archive.path(accession)) as temporary:
        temporary.write_bytes(got.data)
    digest = bytes_sha256(got.data)
    return Answer(accession, address, got.status, date, digest, len(got.data), residues, reason)


def _look(data: bytes, *, name: str) -> tuple[int, str]:
    """Count residues; return why the chain cannot be used. StructureError: it is no structure file."""
    table = read_table(data, name)
    try:
        structure = assemble(table, name.removesuffix(".pdb"), None)
    except StructureError as error:
        # The file is complete, so a retry does not help: several proteins, too few residues ...
        return 0, error.message
    there = int(np.isfinite(structure.ca).all(axis=1).sum())
    return there, "" if there >= _SHORTEST else f"{there} residues have C-alpha coordinates"
