"""Build and measure mutant structures in worker processes, and store each result at once."""

from __future__ import annotations

import errno
import multiprocessing.resource_tracker
import os
import signal
import threading
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from loky import ProcessPoolExecutor
from loky.backend import resource_tracker

from mutscan.builders import Exchange
from mutscan.errors import BuildError, MutscanError, StructureError
from mutscan.results import read_arrays, write_arrays
from mutscan.scores import score_structures
from mutscan.structures import other_residue, write_structure
from mutscan.structures.write import MEASURED_LDDT
from mutscan.worker import interrupts_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mutscan.builders import MutantBuilder, Prepared
    from mutscan.scores import StructureScores
    from mutscan.structures import Structure, WildType
    from mutscan.variants import Variant

_CRASHES_ALLOWED: Final = 2
"""A variant whose worker died so often is failed, not tried again."""

END_OF_CIF: Final = b"\n#\n"
"""What `write_structure` ends a file with."""

SAME_FRAME: Final = 0.5
"""Å; a mutant whose C-alpha atoms lie this near to the wild type's, by the median, is superposed already."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores of a built mutant against the wild type, on the wild-type sequence.

    Parameters
    ----------
    tm_score : float
        Normalised by the wild-type structure.
    lddt : float array, shape (L,)
        Exponent 3; NaN where the wild type is unresolved.
    ca_shift : float array, shape (L,), Å
        C-alpha distance after the TM-score's superposition.
    builder : str
    seconds, control_seconds : float
    notes : tuple of str
    low_confidence : bool
    """

    tm_score: float
    lddt: NDArray[np.float64]
    ca_shift: NDArray[np.float64]
    builder: str
    seconds: float
    control_seconds: float
    notes: tuple[str, ...]
    low_confidence: bool


@dataclass(frozen=True, slots=True)
class BuildTask:
    """One mutant to build: where its result goes and which residues change."""

    key: str
    exchanges: tuple[Exchange, ...]
    part: Path
    structure: Path


def exchanges_of(wild_type: WildType, variant: Variant) -> tuple[Exchange, ...]:
    """Which structure residues a variant changes.

    Raises
    ------
    BuildError
        ``indel_not_built`` for an indel, ``structure_missing`` for an unresolved residue,
        ``structure_mismatch`` where the structure has another residue than the sequence.
    """
    if variant.indel is not None:
        raise BuildError(
            f"{variant}: insertions and deletions are scored on sequence only, no structure is built",
            code="indel_not_built",
        )
    assert wild_type.structure is not None
    assert wild_type.structure_index is not None
    exchanges = []
    for substitution in variant.substitutions:
        index = int(wild_type.structure_index[substitution.position - 1])
        if index < 0:
            other = other_residue(wild_type, substitution.position)
            if other:
                raise BuildError(f"{variant}: {other}; no mutant is built there", code="structure_mismatch")
            raise BuildError(
                f"{variant}: position {substitution.position} has no coordinates "
                f"in {wild_type.structure.name}",
                code="structure_missing",
            )
        exchanges.append(Exchange(index, substitution.mutant))
    return tuple(exchanges)


class MutantFactory:
    """Builds, measures and stores mutants of one wild type in a pool of processes.

    Parameters
    ----------
    wild_type : WildType
        With structure.
    builders : sequence of MutantBuilder
        Tried in turn for each mutant.
    scratch : Path
        Folder for the backends' own caches.
    jobs : int
        Worker processes.
    log : callable
        Receives the traceback of a failed build.
    """

    def __init__(
        self,
        wild_type: WildType,
        builders: Sequence[MutantBuilder],
        scratch: Path,
        *,
        jobs: int,
        log: Callable[[str], None],
    ) -> None:
        assert wild_type.structure is not None
        self._structure = wild_type.structure
        self._builders = builders
        self._scratch = scratch
        self._jobs = jobs
        self._log = log

    def run(self, tasks: Sequence[BuildTask]) -> Iterator[tuple[BuildTask, BuildError | None]]:
        """Build all tasks; yields each as it finishes, with its error or None (result stored)."""
        if not tasks:
            return
        prepared, refusals = self._prepare()
        if not prepared:
            for task in tasks:
                yield task, refusals[0]
            return
        waiting = list(tasks)[::-1]
        crashes = dict.fromkeys((task.key for task in tasks), 0)
        while waiting:
            yield from self._run_pool(waiting, crashes, prepared)

    def _prepare(self) -> tuple[list[tuple[str, Prepared]], list[BuildError]]:
        prepared: list[tuple[str, Prepared]] = []
        refusals: list[BuildError] = []
        for builder in self._builders:
            folder = self._scratch / builder.name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                prepared.append((builder.name, builder.prepare(self._structure, folder)))
            except (BuildError, StructureError) as error:
                self._log(f"{builder.name} cannot use {self._structure.name}: {error}")
                refusals.append(
                    BuildError(
                        f"{builder.name} cannot use {self._structure.name}: {error.message}", code=error.code
                    )
                )
        return prepared, refusals

    def _run_pool(
        self, waiting: list[BuildTask], crashes: dict[str, int], prepared: list[tuple[str, Prepared]]
    ) -> Iterator[tuple[BuildTask, BuildError | None]]:
        """Work through `waiting` with one pool; returns early, the rest still waiting, when a worker dies."""
        pool = ProcessPoolExecutor(
            max_workers=min(self._jobs, len(waiting)),
            initializer=_start_worker,
            initargs=(os.getpid(), self._structure, prepared),
            env={"OMP_NUM_THREADS": "1", "OPENMM_CPU_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        running: dict[Any, BuildTask] = {}
        clean = False
        # Started with the first worker, multiprocessing's would let Ctrl-C through again.
        for tracker in (multiprocessing.resource_tracker, resource_tracker):
            tracker.ensure_running()
        try:
            while waiting or running:
                # Few tasks in flight: when a worker dies, only these are suspect.
                with interrupts_held():
                    while waiting and len(running) < self._jobs:
                        task = waiting.pop()
                        running[pool.submit(_build_and_measure, task)] = task
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    task = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:
                        crashes[task.key] += 1
                        suspects = [task, *running.values()]
                        running.clear()
                        for suspect in suspects[1:]:
                            crashes[suspect.key] += 1
                        for suspect in suspects:
                            if crashes[suspect.key] >= _CRASHES_ALLOWED:
                                yield (
                                    suspect,
                                    BuildError("the builder process died (out of memory?); see log.txt"),
                                )
                            else:
                                waiting.append(suspect)
                        self._log(f"a builder process died while building {[s.key for s in suspects]}")
                        return
                    if outcome.trace:
                        self._log(f"{task.key}: {outcome.trace}")
                    yield task, outcome.error
            clean = True
        finally:
            pool.shutdown(wait=clean, kill_workers=not clean)


@dataclass(frozen=True, slots=True)
class _Outcome:
    error: BuildError | None
    trace: str


_worker: dict[str, Any] = {}


def _start_worker(parent: int, structure: Structure, prepared: list[tuple[str, Prepared]]) -> None:
    # The parent alone answers Ctrl-C; and a worker whose parent was killed must not build on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with, args=(parent,), daemon=True).start()
    _worker["structure"] = structure
    _worker["prepared"] = prepared


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _build_and_measure(task: BuildTask) -> _Outcome:
    """Build in a worker process: with the first backend that can; score; write structure and part."""
    structure: Structure = _worker["structure"]
    notes: list[str] = []
    traces: list[str] = []
    error: BuildError | None = None
    for name, prepared in _worker["prepared"]:
        try:
            built = prepared.build(task.exchanges)
            scores = score_structures(reference_ca=structure.ca, model_ca=built.structure.ca)
        except MutscanError as failure:
            error = BuildError(failure.message, code=failure.code)
            traces.append(traceback.format_exc())
        except Exception as failure:  # the other mutants continue
            if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # but a full disk is the run's trouble, not the mutant's
            error = BuildError(f"{name} failed: {type(failure).__name__}: {failure}")
            traces.append(traceback.format_exc())
        else:
            mutant = on_wild_type(built.structure, structure, scores)
            write_structure(mutant, task.structure, b_factor=scores.lddt, metric=MEASURED_LDDT)
            write_arrays(
                task.part,
                tm_score=np.array(scores.tm_score),
                lddt=scores.lddt,
                ca_shift=scores.ca_shift,
                seconds=np.array([built.seconds, built.control_seconds]),
                text=np.array([name, *notes, *built.notes], dtype=np.str_),
                low_confidence=np.array(built.low_confidence or bool(notes)),
            )
            return _Outcome(None, "\n".join(traces))
        notes.append(f"{name} could not build it ({error.message})")
    assert error is not None
    return _Outcome(error, "\n".join(traces))


def on_wild_type(mutant: Structure, wild_type: Structure, scores: StructureScores) -> Structure:
    """Return the mutant superposed on the wild type: moved only where its frame is another.

    Models of our own builders share the wild type's frame, and what they left alone stays where it is.
    """
    away = np.linalg.norm(mutant.ca - wild_type.ca, axis=1)
    if np.nanmedian(away) <= SAME_FRAME:
        return mutant
    return replace(mutant, coord=mutant.coord @ scores.rotation.T + scores.translation)


def is_whole(path: Path) -> bool:
    """Whether a structure that was written here is there to its last line."""
    try:
        with path.open("rb") as stream:
            stream.seek(-len(END_OF_CIF), os.SEEK_END)
            return stream.read() == END_OF_CIF
    except OSError:
        return False


def read_measured(task: BuildTask, wild_type: WildType) -> Measured | None:
    """Read a finished task's scores, laid out on the wild-type sequence; None when not finished."""
    index, structure = wild_type.structure_index, wild_type.structure
    assert index is not None
    assert structure is not None
    if not is_whole(task.structure):
        return None
    resolved_shape = (len(structure),)
    arrays = read_arrays(
        task.part, tm_score=(), lddt=resolved_shape, ca_shift=resolved_shape, seconds=(2,), low_confidence=()
    )
    if arrays is None or not arrays.get("text", np.empty(0)).size:
        return None
    resolved = index >= 0
    lddt = np.full(len(index), np.nan)
    lddt[resolved] = arrays["lddt"][index[resolved]]
    ca_shift = np.full(len(index), np.nan)
    ca_shift[resolved] = arrays["ca_shift"][index[resolved]]
    name, *notes = arrays["text"].tolist()
    seconds, control_seconds = arrays["seconds"].tolist()
    return Measured(
        tm_score=float(arrays["tm_score"]),
        lddt=lddt,
        ca_shift=ca_shift,
        builder=name,
        seconds=seconds,
        control_seconds=control_seconds,
        notes=tuple(notes),
        low_confidence=bool(arrays["low_confidence"]),
    )
