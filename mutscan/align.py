"""TM-align of two chains whose correspondence is not known, through tmtools.

The C++ code runs in a worker process, which is kept for the next call: it never returns on some
input, and only a process can be stopped.
"""

from __future__ import annotations

import atexit
import importlib.util
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mutscan.errors import MissingDependencyError, StructureError
from mutscan.residues import UNKNOWN
from mutscan.structures import Structure
from mutscan.worker import PipedProcess, serve_pipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray


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
    columns = np.frombuffer("".join((row_1, markers, row_2)).encode("latin-1", "replace"), np.uint8)
    first, marks, second = columns.reshape(3, -1)
    in_1, in_2 = first != ord("-"), second != ord("-")
    aligned = in_1 & in_2 & ((marks == ord(":")) | (marks == ord(".")))
    pairs: NDArray[np.int64] = np.stack([np.cumsum(in_1), np.cumsum(in_2)], axis=1)[aligned] - 1
    return pairs


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
    return np.ascontiguousarray(ca, dtype=np.float64), aligner_letters(sequence)


def aligner_letters(sequence: str) -> str:
    """Return `sequence` with X for what is not a letter, which TM-align could take for a gap."""
    if sequence.isascii() and sequence.isalpha():
        return sequence
    return "".join(letter if letter.isalpha() and letter.isascii() else UNKNOWN for letter in sequence)


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


class _Worker(PipedProcess):
    """The process of `tm_align`, replaced when it had to be stopped."""

    def __init__(self) -> None:
        super().__init__("mutscan.align:serve")
        self._lock = threading.Lock()

    def ask(self, task: _Task, timeout: float) -> _Answer:
        with self._lock:
            process = self.start()
            try:
                # The worker ends itself a little later, should this process be gone by then.
                self.send((task, timeout + 5.0))
                answer: _Answer | str = self.receive(timeout)
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


_worker = _Worker()
atexit.register(_worker.stop)


def serve() -> None:
    """Run the worker of `tm_align`."""
    serve_pipe(_align, needs="tmtools")


def _align(message: tuple[_Task, float], answer: Callable[[object], None]) -> None:
    from tmtools import tm_align as run

    task, limit = message
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        result = run(*task)
    except (RuntimeError, ValueError, TypeError) as error:
        answer(f"{error}")
    else:
        answer(
            _Answer(
                float(result.tm_norm_chain1),
                float(result.tm_norm_chain2),
                float(result.rmsd),
                np.asarray(result.u, dtype=np.float64),
                np.asarray(result.t, dtype=np.float64),
                result.seqxA,
                result.seqM,
                result.seqyA,
            )
        )
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)
