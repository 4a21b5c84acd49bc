"""Align and label many pairs in worker processes, each pair with a time limit.

A worker gets the coordinates of a chunk of pairs in one message and answers pair by pair, so that
finished pairs are not lost when it is stopped: TM-align never returns for some input, and only a
process can be stopped. A worker ends itself when a pair has used up its CPU time; one that hangs
without using any is killed from here.
"""

from __future__ import annotations

import queue
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.align import aligner_letters, alignment_pairs
from mutscan.scores import lddt
from mutscan.worker import PipedProcess, serve_pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

CHUNK: Final = 16
"""Pairs per message: enough to make messages cheap, few enough to share the work evenly."""

_PATIENCE: Final = 10.0
"""Wall time a pair may take, in units of its CPU time limit: on a busy machine workers wait."""

_TICK: Final = 0.5
"""Seconds between checks for hanging workers."""

_CA_SCALE: Final = np.float32(100.0)


@dataclass(frozen=True, eq=False, slots=True)
class PairTask:
    """Two chains to align, by their places in the list of chains, or to label with a given alignment.

    Parameters
    ----------
    first, second : int
    given : (float, float, int array of shape (n, 2)), optional
        Both TM-scores and the aligned residues, if they are known.
    """

    first: int
    second: int
    given: tuple[float, float, NDArray[np.int32]] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class AlignedPair:
    """Result of TM-align and the lDDT labels of a pair.

    Parameters
    ----------
    tm_score, tm_score_2 : float
        Normalised by the length of chain 1 / chain 2.
    aligned : int32 array, shape (n, 2)
    lddt : float32 array, shape (n,)
        Chain 1 as reference, among aligned residues; NaN for a residue without neighbours.
    """

    tm_score: float
    tm_score_2: float
    aligned: NDArray[np.int32]
    lddt: NDArray[np.float32]


class Aligners:
    """A number of worker processes.

    Parameters
    ----------
    chains : sequence of (bytes, str)
        Coordinates (little-endian int16, L x 3, 0.01 Å) and sequence of each chain.
    jobs : int
        Processes.
    time_limit : float, s
        CPU time a pair may take.
    exponent, radius : float
        Of the lDDT labels.
    """

    def __init__(
        self,
        chains: Sequence[tuple[bytes, str]],
        *,
        jobs: int,
        time_limit: float,
        exponent: float,
        radius: float,
    ) -> None:
        self._chains = chains
        self._jobs = jobs
        self._limit = time_limit
        self._settings = (exponent, radius)

    def run(
        self, chunks: Iterable[Sequence[PairTask]], *, advance: Callable[[int], None] | None = None
    ) -> Iterator[tuple[int, list[AlignedPair | str]]]:
        """Align `chunks`, started in their order.

        Yields the place of a chunk and an outcome for each of its pairs (the reason, for one that
        failed), as they finish.

        Raises
        ------
        MissingDependencyError
            A worker cannot be started.
        """
        results: queue.Queue[tuple[int, list[AlignedPair | str]] | BaseException | None] = queue.Queue()
        work = _Work(iter(chunks))
        lanes = [
            _Lane(self._chains, self._limit, self._settings, work, results, advance)
            for _ in range(self._jobs)
        ]
        for lane in lanes:
            lane.start()
        running = len(lanes)
        checked = time.monotonic()
        try:
            while running:
                if time.monotonic() - checked > _TICK:
                    checked = time.monotonic()
                    for lane in lanes:
                        lane.check()
                try:
                    result = results.get(timeout=_TICK)
                except queue.Empty:
                    continue
                if result is None:
                    running -= 1
                elif isinstance(result, BaseException):
                    raise result
                else:
                    yield result
        finally:
            work.stop.set()
            for lane in lanes:
                lane.process.kill()
            for lane in lanes:
                lane.join()
                lane.process.stop()


class _Work:
    """Chunks handed out one after the other to the lanes."""

    def __init__(self, chunks: Iterator[Sequence[PairTask]]) -> None:
        self._chunks = enumerate(chunks)
        self._lock = threading.Lock()
        self.stop = threading.Event()

    def take(self) -> tuple[int, Sequence[PairTask]] | None:
        with self._lock:
            return None if self.stop.is_set() else next(self._chunks, None)


class _Lane(threading.Thread):
    """One worker process and the thread that communicates with it."""

    def __init__(
        self,
        chains: Sequence[tuple[bytes, str]],
        limit: float,
        settings: tuple[float, float],
        work: _Work,
        results: queue.Queue[Any],
        advance: Callable[[int], None] | None,
    ) -> None:
        super().__init__(daemon=True)
        self.process = PipedProcess("mutscan.train.dataset.aligners:serve")
        self._chains = chains
        self._limit = limit
        self._settings = settings
        self._work = work
        self._results = results
        self._advance = advance
        self._lock = threading.Lock()
        self._since: float | None = None
        self._late = False

    def run(self) -> None:
        try:
            while (chunk := self._work.take()) is not None:
                number, tasks = chunk
                self._results.put((number, self._align(tasks)))
        except BaseException as error:
            # Raised again where the results are awaited, unless the work was stopped on purpose.
            self._results.put(None if self._work.stop.is_set() else error)
        else:
            self._results.put(None)

    def check(self) -> None:
        """Kill the process if it has hung for too long."""
        with self._lock:
            if self._since is not None and time.monotonic() - self._since > _PATIENCE * self._limit:
                self._since, self._late = None, True
                self.process.kill()

    def _begin(self, now: float | None) -> None:
        with self._lock:
            self._since = now

    def _align(self, tasks: Sequence[PairTask]) -> list[AlignedPair | str]:
        outcomes: list[AlignedPair | str] = []
        died = False
        while len(outcomes) < len(tasks):
            rest = tasks[len(outcomes) :]
            try:
                self.process.start()
                self._begin(time.monotonic())
                self.process.send(self._message(rest))
                for _ in rest:
                    outcomes.append(self.process.receive())
                    died = False
                    self._begin(time.monotonic())
                    if self._advance is not None:
                        self._advance(1)
            except (EOFError, OSError):
                if self._work.stop.is_set():
                    raise
                self._begin(None)
                status = self.process.exit_status()
                self.process.stop()
                late, self._late = self._late, False
                if late or status == -getattr(signal, "SIGPROF", -1):
                    outcomes.append(f"TM-align did not finish within {self._limit:g} s")
                elif died:
                    outcomes.append(f"TM-align stopped twice without a result (exit status {status})")
                else:
                    died = True  # the cause may have nothing to do with the pair: retry once
                    continue
                died = False
                if self._advance is not None:
                    self._advance(1)
        self._begin(None)
        return outcomes

    def _message(self, tasks: Sequence[PairTask]) -> object:
        used = {index for task in tasks for index in (task.first, task.second)}
        return self._limit, *self._settings, {index: self._chains[index] for index in used}, list(tasks)


# The worker's side ---------------------------------------------------------------------------------


def serve() -> None:
    """Run a worker of `Aligners`."""
    serve_pipe(_answer_chunk, needs="tmtools")


def _answer_chunk(message: Any, answer: Callable[[object], None]) -> None:
    limit, exponent, radius, stored, tasks = message
    chains = {index: (_coordinates(ca), aligner_letters(letters)) for index, (ca, letters) in stored.items()}
    timed = hasattr(signal, "setitimer")
    for task in tasks:
        if timed:
            # The signal is not caught: it ends this process, even inside TM-align.
            signal.setitimer(signal.ITIMER_PROF, limit)
        outcome = _measure(chains[task.first], chains[task.second], task.given, exponent, radius)
        if timed:
            signal.setitimer(signal.ITIMER_PROF, 0)
        answer(outcome)


def _coordinates(buffer: bytes) -> NDArray[np.float64]:
    """Decode coordinates to exactly the numbers that `read_tables` returns."""
    return (np.frombuffer(buffer, "<i2").reshape(-1, 3) / _CA_SCALE).astype(np.float64)


def _measure(
    first: tuple[NDArray[np.float64], str],
    second: tuple[NDArray[np.float64], str],
    given: tuple[float, float, NDArray[np.int32]] | None,
    exponent: float,
    radius: float,
) -> AlignedPair | str:
    from tmtools import tm_align

    (ca_1, sequence_1), (ca_2, sequence_2) = first, second
    if given is not None:
        tm_score, tm_score_2, aligned = given
    else:
        try:
            found = tm_align(ca_1, ca_2, sequence_1, sequence_2)
        except (RuntimeError, ValueError) as error:
            return f"TM-align failed: {error}"
        tm_score, tm_score_2 = float(found.tm_norm_chain1), float(found.tm_norm_chain2)
        aligned = alignment_pairs(found.seqxA, found.seqM, found.seqyA).astype(np.int32)
        tm_score, tm_score_2 = min(tm_score, 1.0), min(tm_score_2, 1.0)  # 1 may come with a rounding error
    if not (0.0 < tm_score <= 1.0 and 0.0 < tm_score_2 <= 1.0 and len(aligned)):
        return f"TM-align found no alignment (TM-scores {tm_score:g} and {tm_score_2:g})"
    labels = lddt(ca_1[aligned[:, 0]], ca_2[aligned[:, 1]], exponent=exponent, radius=radius)
    return AlignedPair(tm_score, tm_score_2, aligned, labels.astype(np.float32))
