"""A user's sequence file of any size, read record by record and checked on the way."""

from __future__ import annotations

import array
import gzip
import io
import itertools
import tempfile
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO, Final, TextIO, cast

import numpy as np

from mutscan.errors import UsageError
from mutscan.structures.fasta import iterate_fasta

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.structures import FastaRecord

LOOKED_AT: Final = 100
"""Records from which nucleotides are recognised."""

_NUCLEOTIDES: Final = frozenset("ACGTUNX")
_MEGABYTE: Final = 1_000_000
_TOGETHER: Final = 1_000_000  # names of which hashes are compared at a time


class SequenceDatabase:
    """Protein sequences in a FASTA file, plain or gzip; memory does not grow with the file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    UsageError
        The file cannot be read, or is binary.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream:
                start = stream.read(4096)
            self._size = path.stat().st_size
        except FileNotFoundError as error:
            raise UsageError(f"{path}: no such file; expected FASTA") from error
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
        self._packed = start[:2] == b"\x1f\x8b"
        if not self._packed and b"\x00" in start:
            raise UsageError(f"{path}: is a binary file; expected FASTA")
        self._checked = False

    def records(self, progress: Progress, stage: str) -> Iterator[FastaRecord]:
        """Read all sequences; the first time with every check.

        Raises
        ------
        UsageError
            As `mutscan.structures.read_fasta`; the sequences are nucleotides, or two have the same name
            (which is known at the end). The message names the line.
        """
        progress.start(stage, -(-self._size // _MEGABYTE))
        try:
            with self.path.open("rb") as raw, self._text(raw) as text:
                numbered = iterate_fasta(text, self.path.name)
                done = 0
                for record in self._check(numbered) if not self._checked else (each[1] for each in numbered):
                    yield record
                    now = raw.tell() // _MEGABYTE
                    if now > done:
                        progress.advance(now - done)
                        done = now
            self._checked = True
        except (OSError, EOFError, zlib.error) as error:
            what = "damaged gzip file" if self._packed else "cannot be read"
            raise UsageError(f"{self.path}: {what} ({error})") from error
        finally:
            progress.finish()

    def _text(self, raw: BinaryIO) -> TextIO:
        stream = gzip.open(raw) if self._packed else raw
        return io.TextIOWrapper(cast("BinaryIO", stream), encoding="utf-8-sig", errors="replace")

    def _check(self, numbered: Iterator[tuple[int, FastaRecord]]) -> Iterator[FastaRecord]:
        first = list(itertools.islice(numbered, LOOKED_AT))
        self._refuse_nucleotides(first)
        # On disk, since there may be hundreds of millions.
        with tempfile.TemporaryFile() as hashes:
            held = array.array("q")
            for _, record in itertools.chain(first, numbered):
                held.append(hash(record.id))
                if len(held) == _TOGETHER:
                    held.tofile(hashes)
                    held = array.array("q")
                yield record
            held.tofile(hashes)
            hashes.flush()
            repeated = _repeated(hashes)
        if repeated:
            self._refuse_repeated(repeated)

    def _refuse_nucleotides(self, first: list[tuple[int, FastaRecord]]) -> None:
        found = [(line, record) for line, record in first if _NUCLEOTIDES.issuperset(record.sequence)]
        # Short proteins of A, C, G and T alone exist.
        if 2 * len(found) > len(first):
            line, record = found[0]
            raise UsageError(
                f"{self.path.name}, line {line}: {record.id} is a nucleotide sequence; expected proteins, "
                "translate the sequences first"
            )

    def _refuse_repeated(self, hashes: frozenset[int]) -> None:
        lines: dict[str, int] = {}
        with self.path.open("rb") as raw, self._text(raw) as text:
            for number, record in iterate_fasta(text, self.path.name):
                if hash(record.id) not in hashes:
                    continue
                if record.id in lines:
                    raise UsageError(
                        f"{self.path.name}, line {number}: {record.id} is also the name of the sequence in "
                        f"line {lines[record.id]}; give each sequence a name of its own"
                    )
                lines[record.id] = number


def _repeated(stream: IO[bytes]) -> frozenset[int]:
    """Find numbers that come more than once in a file of int64; the file is sorted in place."""
    if not stream.tell():
        return frozenset()
    numbers: NDArray[np.int64] = np.memmap(stream, dtype=np.int64, mode="r+")
    numbers.sort()
    found: set[int] = set()
    for start in range(0, len(numbers), _TOGETHER):
        some = numbers[start : start + _TOGETHER + 1]
        found.update(some[1:][some[1:] == some[:-1]].tolist())
    return frozenset(found)
