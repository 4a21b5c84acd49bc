"""TM-align of two chains whose correspondence is not known, through tmtools.

The C++ code runs in a worker process of its own, kept for the next call: it
loops for ever on some input, and only a process can be stopped.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import numpy as np

from mutscan.errors import MissingDependencyError, StructureError
from mutscan.residues import UNKNOWN
from mutscan.structures import Structure

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

START_LIMIT = 120.0
"""Seconds the worker may take to start; a cold disk and a busy machine are slow."""


@dataclass(frozen=True, eq=False)
class Alignment:
    """Two chains aligned by structure.

    Parameters
    ----------
    pairs : int array, shape (n, 2)
        Aligned residues, 0-based, ascending: reference, model.
    tm_score_1, tm_score_2 : float
        TM-score normalised by the length of the reference, and of the model.
    rmsd : float, Å
        Of the aligned pairs after their least-squares superposition.
    rotation : float array, shape (3, 3)
    translation : float array, shape (3,), Å
        ``model @ rotation.T + translation`` lies on the reference, in the superposition of `tm_score_2`.
    """

    pairs: NDArray[np.int64]
    tm_score_1: float
    tm_score_2: float
    rmsd: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


def tm_align(
    reference: Structure | tuple[ArrayLike, str],
    model: Structure | tuple[ArrayLike, str],
    *,
    timeout: float = 60.0,
) -> Alignment:
    """Align two chains by their C-alpha trace [1]_.

    Parameters
    ----------
    reference, model : Structure or (coordinates (L, 3) in Å, sequence)
    timeout : float, s
        Aligning takes about a second for 500 residues and grows with the product of the lengths.

    Returns
    -------
    Alignment

    Raises
    ------
    StructureError
        A chain has fewer than 3 residues or a coordinate that is not finite, its sequence another length,
        or TM-align did not finish in time.

    References
    ----------
    .. [1] Zhang & Skolnick, Nucleic Acids Res. 33, 2302 (2005).
    """
    ca_1, sequence_1 = _chain(reference, "the reference")
    ca_2, sequence_2 = _chain(model, "the model")
    if importlib.util.find_spec("tmtools") is None:
        raise MissingDependencyError("TM-align needs the package tmtools: pip install tmtools")
    answer = _worker.ask((ca_1, ca_2, sequence_1, sequence_2), timeout)
    # tmtools moves chain 1 onto chain 2; the reference stays where it is.
    rotation = np.ascontiguousarray(answer.u.T)
    return Alignment(
        pairs=alignment_pairs(answer.row_1, answer.markers, answer.row_2),
        tm_score_1=answer.tm_score_1,
        tm_score_2=answer.tm_score_2,
        rmsd=answer.rmsd,
        rotation=rotation,
        translation=-rotation @ answer.t,
    )


def alignment_pairs(row_1: str, markers: str, row_2: str) -> NDArray[np.int64]:
    """Read the aligned residues off the three rows that TM-align prints.

    Parameters
    ----------
    row_1, row_2 : str
        The two sequences with ``-`` for gaps.
    markers : str
        ``:`` (closer than 5 Å) or ``.`` where two residues are aligned.

    Returns
    -------
    int array, shape (n, 2)
        0-based residues of the two sequences, not alignment columns.

    Examples
    --------
    >>> alignment_pairs("AC-DE", ":  .:", "A-GDE").tolist()
    [[0, 0], [2, 2], [3, 3]]
    """
    if not len(row_1) == len(markers) == len(row_2):
        raise ValueError(f"alignment rows of {len(row_1)}, {len(markers)} and {len(row_2)} columns")
    pairs = []
    first = second = 0
    for letter_1, marker, letter_2 in zip(row_1, markers, row_2, strict=True):
        in_1, in_2 = letter_1 != "-", letter_2 != "-"
        if in_1 and in_2 and marker in ":.":
            pairs.append((first, second))
        first += in_1
        second += in_2
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _chain(chain: Structure | tuple[ArrayLike, str], role: str) -> tuple[NDArray[np.float64], str]:
    if isinstance(chain, Structure):
        ca, sequence, name = chain.ca, chain.sequence, f"{chain.name} ({role})"
    else:
        ca, sequence, name = np.asarray(chain[0], dtype=np.float64), chain[1], role
    if ca.ndim != 2 or ca.shape[1] != 3 or len(ca) != len(sequence):
        raise StructureError(
            f"{name} has coordinates of shape {ca.shape} and a sequence of {len(sequence)}; "
            "expected one C-alpha for each residue"
        )
    if len(ca) < 3:
        raise StructureError(f"{name} has {len(ca)} residues; TM-align needs at least 3")
    bad = np.flatnonzero(~np.isfinite(ca).all(axis=1))
    if bad.size:
        raise StructureError(
            f"{name} has no finite C-alpha coordinates at residue {bad[0] + 1} "
            f"({bad.size} in all); leave such residues out"
        )
    letters = "".join(letter if letter.isalpha() and letter.isascii() else UNKNOWN for letter in sequence)
    return np.ascontiguousarray(ca, dtype=np.float64), letters


# The worker ----------------------------------------------------------------------------------------

_Task = tuple["NDArray[np.float64]", "NDArray[np.float64]", str, str]


@dataclass(frozen=True)
class _Answer:
    tm_score_1: float
    tm_score_2: float
    rmsd: float
    u: NDArray[np.float64]
    t: NDArray[np.float64]
    row_1: str
    markers: str
    row_2: str


class _Worker:
    """One process, started when first needed, replaced when it had to be stopped.

    A plain interpreter and two pipes, not multiprocessing: that would run the caller's main module again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, task: _Task, timeout: float) -> _Answer:
        with self._lock:
            process = self._started()
            try:
                # The worker ends itself a little later, should this process be gone by then.
                self._send(process, (task, timeout + 5.0))
                answer = self._receive(process, timeout)
            except TimeoutError as error:
                self.stop()
                raise StructureError(
                    f"TM-align of {len(task[2])} and {len(task[3])} residues did not end in {timeout:g} s; "
                    "compare single domains, or raise timeout in Python"
                ) from error
            except (EOFError, OSError) as error:
                status = process.poll()
                self.stop()
                raise StructureError(f"TM-align stopped without a result (exit status {status})") from error
            except BaseException:
                # Interrupted in the middle of an exchange: an answer may still come, so start afresh.
                self.stop()
                raise
        if isinstance(answer, str):
            raise StructureError(f"TM-align failed: {answer}")
        return answer

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        if self._owner == os.getpid():
            self.stop()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
        process = subprocess.Popen(
            [sys.executable, "-c", "from mutscan.align import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._process, self._owner = process, os.getpid()
        try:
            ready = self._receive(process, START_LIMIT)
        except (TimeoutError, EOFError, OSError) as error:
            self.stop()
            raise MissingDependencyError(
                f"the TM-align worker ({sys.executable}) did not start; run 'mutscan doctor'"
            ) from error
        if ready != "ready":
            self.stop()
            raise MissingDependencyError(f"tmtools cannot be loaded: {ready}")
        return process

    @staticmethod
    def _send(process: subprocess.Popen[bytes], message: object) -> None:
        assert process.stdin is not None
        _write(process.stdin, message)

    @staticmethod
    def _receive(process: subprocess.Popen[bytes], timeout: float) -> _Answer | str:
        """Wait for a message; a thread reads, as pipes cannot be waited for on every system."""
        assert process.stdout is not None
        stream = process.stdout
        box: list[_Answer | str] = []

        def read() -> None:
            with contextlib.suppress(EOFError, OSError, ValueError):
                box.append(_read(stream))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(timeout)
        if reader.is_alive():
            process.kill()
            reader.join()
            raise TimeoutError
        if not box:
            process.wait()
            raise EOFError
        return box[0]

    def stop(self) -> None:
        """End the worker, if this process has one."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


_worker = _Worker()
atexit.register(_worker.stop)


def _write(stream: IO[bytes], message: object) -> None:
    data = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def _read(stream: IO[bytes]) -> _Answer | str:
    (size,) = struct.unpack("<Q", _exactly(stream, 8))
    message: _Answer | str = pickle.loads(_exactly(stream, size))
    return message


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def serve() -> None:
    """Run the worker's side: alignments from stdin, answers to stdout, until stdin closes."""
    # Whatever the C++ code prints must not mix with the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        from tmtools import tm_align as run
    except ImportError as error:
        _write(out, str(error))
        return
    _write(out, "ready")
    while True:
        try:
            (size,) = struct.unpack("<Q", _exactly(sys.stdin.buffer, 8))
            task, limit = pickle.loads(_exactly(sys.stdin.buffer, size))
        except EOFError:
            return
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            result = run(*task)
        except (RuntimeError, ValueError, TypeError) as error:
            _write(out, f"{error}")
        else:
            _write(
                out,
                _Answer(
                    float(result.tm_norm_chain1),
                    float(result.tm_norm_chain2),
                    float(result.rmsd),
                    np.asarray(result.u, dtype=np.float64),
                    np.asarray(result.t, dtype=np.float64),
                    result.seqxA,
                    result.seqM,
                    result.seqyA,
                ),
            )
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
