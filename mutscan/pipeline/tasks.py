"""Runs over many proteins: what is to be done for each, and the worker that does it.

A worker loads the model once. What it does for a protein leaves a run folder in ``proteins/`` (or, for a
scan that predicts probabilities alone, a table in ``.state/scans``) and an outcome in ``.state/outcomes``.
Nothing is kept in memory between proteins, so that workers may be many processes, here or elsewhere, and
each may be killed at any time.
"""

from __future__ import annotations

import csv
import logging
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

import pyarrow.parquet as pq

from mutscan.calling import NULL_SIZE
from mutscan.errors import CheckpointError, MissingDependencyError, MutscanError, RunFolderError, UsageError
from mutscan.files import any_length, file_name, read_json, replacing, write_errors, write_json
from mutscan.hashes import json_sha256, text_sha256
from mutscan.inputs import InputTable
from mutscan.model.inverse_folding import WEIGHTS_SHA256, installed_weights
from mutscan.pipeline.job import Request, finish_job, loaded_model
from mutscan.pipeline.options import Options, Shard
from mutscan.pipeline.plan import make_plan
from mutscan.pipeline.proteome import prepared, scan_protein
from mutscan.pipeline.run import exit_code_of
from mutscan.pipeline.scanning import ScanJob, scanned_positions
from mutscan.pipeline.scoring import ScoreJob
from mutscan.progress import Silent
from mutscan.results import RunFolder
from mutscan.structures import WildType
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from mutscan.inputs import InputRow
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.proteins import ProteinSources

_log = logging.getLogger("mutscan")

UNIT_SECONDS: Final = 30.0
"""Planned work of a unit: long against the overhead of sending it, short against what a lost worker costs."""

UNITS_A_WORKER: Final = 8
"""Units of each worker at least, where there are so many proteins."""

UNIT_PROTEINS: Final = 64
"""Most proteins of a unit."""

SECONDS_A_RESIDUE: Final = 2e-4
"""Planned time of one residue of a predicted mutant, on one core with the shipped model."""

SECONDS_A_WILD_TYPE: Final = 1.5e-3
"""Planned time of one residue of a wild type, whose relatives are searched and which is embedded."""

SECONDS_A_PROTEIN: Final = 0.15
"""Planned time that each protein takes besides."""

_LENGTH: Final = 400
"""Planned for a protein whose length is not known before it is fetched."""

_STATUS: Final = {0: "ok", 3: "partial", 4: "failed"}
"""Status of a protein by the exit code of a run on it alone."""

_STOPS: Final = (RunFolderError, CheckpointError, MissingDependencyError)
"""Errors that end the run: they would meet every protein."""


@dataclass(frozen=True)
class Task:
    """One protein and what is asked about it.

    Parameters
    ----------
    name : str
        As the table or the list writes it.
    rows : tuple of InputRow, optional
        Lines of variants; None for a scan of all substitutions.
    carried_columns : tuple of str
    source : str
        Identity of the files that the protein is read from (`ProteinSources.identity`).
    stem : str
        Name of its folder, and of its files.
    """

    name: str
    rows: tuple[InputRow, ...] | None = None
    carried_columns: tuple[str, ...] = ()
    source: str = ""
    stem: str = ""

    @cached_property
    def key(self) -> str:
        """Hash of what is asked."""
        rows = [(row.text, row.sequence, row.problem, [*row.carried.values()]) for row in self.rows or ()]
        return json_sha256([self.name, self.source, self.rows is None, rows, self.carried_columns])

    def __len__(self) -> int:
        """Count its lines."""
        return 0 if self.rows is None else len(self.rows)


def placed(tasks: Iterable[Task], sources: ProteinSources, alignment: str) -> list[Task]:
    """Give each task the identity of its files, and a folder that no other has, whatever the file system."""
    found: list[Task] = []
    taken: set[str] = set()
    for task in tasks:
        stem, digits = file_name(task.name), 8
        while stem.casefold() in taken:
            stem = f"{file_name(task.name)[:60]}-{text_sha256(task.name)[:digits]}"
            digits += 8
        taken.add(stem.casefold())
        found.append(replace(task, stem=stem, source=sources.identity(task.name, alignment)))
    return found


def planned_seconds(task: Task, length: int | None, *, predicts: bool) -> float:
    """Plan the work on a protein, roughly in seconds of one core; shards and units are balanced by it."""
    residues = _LENGTH if length is None else length
    seconds = SECONDS_A_PROTEIN + SECONDS_A_WILD_TYPE * residues
    if predicts:
        mutants = 19 * residues if task.rows is None else NULL_SIZE + len(task.rows)
        seconds += SECONDS_A_RESIDUE * residues * mutants
    return seconds


@dataclass(frozen=True)
class Unit:
    """What a worker does at a time: some proteins to the end, or a share of the work on a large one.

    Parameters
    ----------
    tasks : tuple of Task
    share : Shard, optional
        Of the only task's first stage.
    seconds : float
        Planned.
    """

    tasks: tuple[Task, ...]
    share: Shard | None = None
    seconds: float = 0.0


def units_of(
    tasks: Sequence[Task], lengths: Mapping[str, int], options: Options, *, divide: bool, workers: int = 1
) -> tuple[list[Unit], list[Unit]]:
    """Cut a run into units.

    Parameters
    ----------
    tasks : sequence of Task
    lengths : mapping of name -> int
        Residues of the proteins whose sequences are at hand.
    options : Options
        Its `part` is picked.
    divide : bool
        Whether large proteins are cut into shares.
    workers : int
        How many work side by side; units of a short run are smaller, so that each gets some.

    Returns
    -------
    list of Unit
        Proteins to the end, and shares of large ones.
    list of Unit
        Large proteins, to be finished when all their shares are done.
    """
    pieces: list[Unit] = []
    large: list[Unit] = []
    for task in tasks:
        seconds = planned_seconds(task, lengths.get(task.name), predicts=options.predicts)
        shares = round(seconds / UNIT_SECONDS) if divide and options.predicts else 1
        if shares < 2:
            pieces.append(Unit((task,), None, seconds))
            continue
        pieces += [Unit((task,), Shard(k, shares), seconds / shares) for k in range(1, shares + 1)]
        large.append(Unit((task,), None, 0.0))
    # Dealt from the largest to the smallest, the parts are alike.
    dealt = sorted(range(len(pieces)), key=lambda place: (-pieces[place].seconds, place))
    mine = sorted(options.part.pick(dealt))
    limit = UNIT_SECONDS
    if workers > 1:
        limit = min(limit, sum(piece.seconds for piece in pieces) / (UNITS_A_WORKER * workers))
    return list(_bundled((pieces[place] for place in mine), limit)), large


def _bundled(pieces: Iterable[Unit], limit: float) -> Iterator[Unit]:
    """Join whole proteins to units of at most `limit` seconds."""
    waiting: list[Task] = []
    seconds = 0.0
    for piece in pieces:
        if piece.share is not None:
            yield piece
            continue
        if waiting and (seconds + piece.seconds > limit or len(waiting) == UNIT_PROTEINS):
            yield Unit(tuple(waiting), None, seconds)
            waiting, seconds = [], 0.0
        waiting += piece.tasks
        seconds += piece.seconds
    if waiting:
        yield Unit(tuple(waiting), None, seconds)


@dataclass(frozen=True)
class Outcome:
    """How it went with one protein, as ``.state/outcomes`` keeps it.

    Parameters
    ----------
    key : str
        `Task.key`.
    status : str
        ``ok``, ``partial`` or ``failed``.
    error_code, message : str
        Why it failed.
    length : int, optional
    folder : bool
        Whether it has a run folder.
    counts, flags : mapping
        Rows by status, and scored rows by flag.
    regions : tuple of str
        Regions affected by most variants.
    size : int
        Bytes of the protein's table.
    """

    key: str
    status: str
    error_code: str = ""
    message: str = ""
    length: int | None = None
    folder: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, int] = field(default_factory=dict)
    regions: tuple[str, ...] = ()
    size: int = 0

    def write(self, path: Path) -> None:
        """Store it."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Outcome | None:
        """Read one back; None where there is none, or a damaged one."""
        try:
            stored = read_json(path)
            return cls(**{**stored, "regions": tuple(stored["regions"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Places:
    """Where the files of a run over many proteins lie.

    Parameters
    ----------
    directory : Path
        The run folder.
    """

    directory: Path

    def folder(self, task: Task) -> Path:
        """Run folder of a protein."""
        return self.directory / "proteins" / task.stem

    def scan(self, task: Task) -> Path:
        """Table of a scan that predicts probabilities alone."""
        return self._made("scans") / f"{task.stem}.parquet"

    def outcome(self, task: Task) -> Path:
        """Record of how it went."""
        return self._made("outcomes") / f"{task.stem}.json"

    def outcome_of(self, task: Task) -> Outcome | None:
        """How it went with a task, if it was done, is still asked the same, and left its table."""
        found = Outcome.read(self.outcome(task))
        if found is None or found.key != task.key:
            return None
        if found.status == "failed" and not found.folder:
            return found
        table = self.folder(task) / "variants.csv" if found.folder else self.scan(task)
        return found if table.is_file() and table.stat().st_size == found.size else None

    def _made(self, name: str) -> Path:
        path = self.directory / ".state" / name
        path.mkdir(parents=True, exist_ok=True)
        return path


class Worker:
    """Does tasks, one after the other, with a model that is loaded once.

    Parameters
    ----------
    directory : Path
        The run folder.
    options : Options
    sources : ProteinSources
    arguments : mapping
        Arguments of the command that are not in `options`, for the proteins' run.json.
    reports : bool
        Whether each protein gets a report of its own.
    patience : float
        Seconds to wait for another process that holds a protein's folder.
    """

    def __init__(
        self,
        directory: Path,
        options: Options,
        sources: ProteinSources,
        arguments: Mapping[str, object],
        *,
        reports: bool = False,
        patience: float = 0.0,
    ) -> None:
        self.places = Places(directory)
        self.options = options
        self.sources = sources
        self.arguments = arguments
        self.reports = reports
        self.patience = patience

    @cached_property
    def model(self) -> LoadedModel:
        """The model, loaded when it is needed."""
        return loaded_model(self.options)

    def claim(self, command: str) -> dict[str, object]:
        """Give everything that all proteins' numbers depend on, except the proteins."""
        model = self.model
        return self.asked(command, model.sha256) | {
            "encoder": model.encoder.key,
            "device": model.encoder.device.type,
        }

    def asked(self, command: str, model_sha256: str) -> dict[str, object]:
        """Give the part of `claim` that is known before the model is loaded."""
        options = self.options
        folds = options.inverse_folding == "auto" and installed_weights() is not None
        return {
            "mutscan": __version__,
            "proteins": command,
            "model_sha256": model_sha256,
            "builder": options.builders,
            "alignment": str(options.alignment),
            "prior": options.prior,
            "inverse_folding": options.inverse_folding,
            "predict": options.predict,
            "numbering": options.numbering,
            "strict": options.strict,
            "inverse_folding_weights": WEIGHTS_SHA256 if folds else None,
            "seed": options.seed,
        }

    def do(self, unit: Unit) -> Iterator[Task]:
        """Do a unit; yields the tasks that are finished, each when its files are there."""
        if unit.share is not None:
            self._do_share(unit.tasks[0], unit.share)
            return
        for task, wild_type in self._ready(unit.tasks):
            self._finish(task, wild_type)
            yield task

    def do_all(self, units: Sequence[Unit]) -> Iterator[Task]:
        """Do units, as `do`; whole proteins in one stream, so that some are always searched ahead."""
        whole = tuple(task for unit in units if unit.share is None for task in unit.tasks)
        for unit in units:
            if unit.share is not None:
                yield from self.do(unit)
        if whole:
            yield from self.do(Unit(whole))

    def _ready(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, WildType | Exception]]:
        """Yield proteins in order, each searched and embedded together with those that come next."""
        found = ((task, self._found(task)) for task in tasks)
        # Beside predictions, which keep all cores busy, a second pass of the encoder is no gain.
        return prepared(
            self.model,
            found,
            lambda pair: pair[1].sequence if isinstance(pair[1], WildType) else "",
            beside=not self.options.predicts,
        )

    def _found(self, task: Task) -> WildType | Exception:
        if task.rows and all(row.problem is not None for row in task.rows):
            # Tables of sequenced tumours name many genes with nothing to score: none is looked up.
            return UsageError("no row can be scored; see the reason in each", code=task.rows[0].code)
        try:
            return self.sources.wild_type(task.name)
        except _STOPS:
            raise
        except Exception as error:
            return error  # it is told where the protein is finished

    def _do_share(self, task: Task, share: Shard) -> None:
        wild_type = self._found(task)
        if isinstance(wild_type, Exception):
            return  # whoever finishes the protein meets and tells it
        try:
            request = self._request(task, wild_type)
            with (
                RunFolder(request.directory, shared=True) as folder,
                request.job(self.model, folder, whole=False) as job,
            ):
                job.work(share.pick(job.items))
        except _STOPS:
            raise
        except Exception as error:
            _log.warning("%s, share %s: %s", task.name, share, error)

    def _finish(self, task: Task, wild_type: WildType | Exception) -> None:
        try:
            if isinstance(wild_type, Exception):
                raise wild_type
            with write_errors(self.places.directory):
                if task.rows is None and not self.options.predicts:
                    outcome = self._scanned(task, wild_type)
                else:
                    outcome = self._scored(task, wild_type)
        except _STOPS:
            raise
        except MutscanError as error:
            outcome = Outcome(task.key, "failed", error.code, error.message)
        except Exception as error:
            _log.info("%s: %s", task.name, traceback.format_exc())
            _log.error("%s: internal error, %s: %s", task.name, type(error).__name__, error)
            outcome = Outcome(task.key, "failed", "internal", f"{type(error).__name__}: {error}; see log.txt")
        if outcome.length is None and isinstance(wild_type, WildType):
            outcome = replace(outcome, length=len(wild_type.sequence))
        outcome.write(self.places.outcome(task))

    def _request(self, task: Task, wild_type: WildType) -> Request:
        options = replace(
            self.options,
            out=self.places.folder(task),
            alignment=self.sources.alignment(task.name, str(self.options.alignment)),
            shard=None,
            engine="local",
            ray_address=None,
            ray_cores=None,
            restart=False,
            progress=Silent(),
            started=time.monotonic(),
        )
        arguments = {"wild_type": task.name, **self.arguments}
        if task.rows is None:
            positions = scanned_positions(wild_type, None)
            return Request("scan", wild_type, options, arguments, partial(ScanJob, wild_type, positions))
        table = InputTable(task.rows, task.carried_columns)
        plan = make_plan(wild_type, table, numbering=options.numbering, strict=options.strict)
        wild_type = plan.wild_type
        return Request("score", wild_type, options, arguments, partial(ScoreJob, plan))

    def _scored(self, task: Task, wild_type: WildType) -> Outcome:
        request = self._request(task, wild_type)
        with (
            RunFolder(request.directory, patience=self.patience) as folder,
            request.job(self.model, folder) as job,
        ):
            job.work(job.items)
            finish_job(request, job, report=self.reports)
        flags: Counter[str] = Counter()
        code = message = ""
        with any_length(), folder.variants_csv.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                flags[row["flag"]] += 1
                if row["status"] == "failed" and not code:
                    code, message = row["error_code"], f"no row was scored; the first: {row['message']}"
        del flags[""]
        status = _STATUS[exit_code_of(job.counts)]
        hit = pq.read_table(folder.regions_parquet, columns=["region"], filters=[("disturbed", "=", True)])
        regions = Counter(hit.column("region").to_pylist())
        return Outcome(
            task.key,
            status,
            code if status == "failed" else "",
            message if status == "failed" else "",
            length=len(wild_type.sequence),
            folder=True,
            size=folder.variants_csv.stat().st_size,
            counts=dict(sorted(job.counts.items())),
            flags=dict(sorted(flags.items())),
            regions=tuple(sorted(regions, key=lambda name: (-regions[name], name))[:3]),
        )

    def _scanned(self, task: Task, wild_type: WildType) -> Outcome:
        found = self.sources.alignment(task.name, str(self.options.alignment))
        table = scan_protein(self.model, wild_type, replace(self.options, alignment=found))
        with replacing(self.places.scan(task)) as temporary:
            pq.write_table(table, temporary, compression="zstd")
        flags = {
            str(pair["values"]): int(pair["counts"])
            for pair in table.column("flag").combine_chunks().value_counts().to_pylist()
            if pair["values"] is not None
        }
        return Outcome(
            task.key,
            "ok",
            length=len(wild_type.sequence),
            counts={"ok": len(table)},
            size=self.places.scan(task).stat().st_size,
            flags=dict(sorted(flags.items())),
        )
