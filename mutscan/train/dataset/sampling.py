"""A random sample of the rows of a list too large for memory, in one pass.

Every row gets a random number, in the order of the file, and the rows with the smallest ones are kept.
That is a uniform sample without repeats; it depends on the seed and the file alone, and a larger
one begins with the smaller one, so that work done for the first is not lost for the second.
"""

from __future__ import annotations

import csv
import gzip
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from mutscan.errors import UsageError
from mutscan.train.chains.pairlists import present, separator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedIOBase
    from pathlib import Path

_BLOCK: Final = 1 << 24  # bytes read at a time
_NEWLINE: Final = 10


class SampledRows(NamedTuple):
    """Rows of a list.

    Parameters
    ----------
    columns : tuple of str
        Of the list, as its first line names them.
    rows : list of list of str
        In random order when they are a sample, else in that of the list.
    lines : list of int
        Where each row stands in the list, from 2: line 1 is the header.
    total : int
        Rows of the whole list.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    total: int


def sample_rows(path: Path, limit: int | None, *, seed: int) -> SampledRows:
    """Draw `limit` rows of a CSV or TSV list (also .gz) uniformly.

    Parameters
    ----------
    path : Path
        One row per line; blank lines are skipped. Read once, block by block.
    limit : int, optional
        None, or more than there are: all rows, in the order of the list.
    seed : int

    Raises
    ------
    UsageError
        No such file, not UTF-8 text, or a drawn row with another number of columns than the header.
    """
    between = separator(present(path))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.readline().decode("utf-8-sig")
            columns = tuple(name.strip() for name in next(csv.reader([header], delimiter=between), []))
            kept, total = _smallest(stream, limit, np.random.default_rng(seed))
            text = [(line, raw.decode("utf-8")) for _, line, raw in kept]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({error}); download it again") from error
    rows = []
    for line, row in zip(
        (line for line, _ in text), csv.reader((row for _, row in text), delimiter=between), strict=True
    ):
        if len(row) != len(columns):
            raise UsageError(
                f"{path}, line {line}: {len(row)} columns, but the header names {len(columns)} "
                f"({', '.join(columns)}); the file may be incomplete, download it again"
            )
        rows.append(row)
    return SampledRows(columns, rows, [line for line, _ in text], total)


def _smallest(
    stream: BufferedIOBase | gzip.GzipFile, limit: int | None, rng: np.random.Generator
) -> tuple[list[tuple[float, int, bytes]], int]:
    """Key, line number and text of the rows with the smallest keys, and how many rows there are."""
    kept: list[tuple[float, int, bytes]] = []
    bound = np.inf
    total, line = 0, 2
    for block in _blocks(stream):
        ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
        starts = np.concatenate([[0], ends[:-1] + 1])
        filled = np.flatnonzero(ends - starts > 1)  # one byte is no row, but may be a carriage return
        keys = rng.random(len(filled))
        for k in np.flatnonzero(keys < bound).tolist():
            row = filled[k]
            kept.append((float(keys[k]), line + int(row), block[starts[row] : ends[row]].rstrip(b"\r")))
        line += len(ends)
        total += len(filled)
        if limit is not None and len(kept) > 2 * limit:
            kept, bound = _prune(kept, limit)
    if limit is None or total <= limit:
        return kept, total
    return _prune(kept, limit)[0], total


def _prune(kept: list[tuple[float, int, bytes]], limit: int) -> tuple[list[tuple[float, int, bytes]], float]:
    kept = sorted(kept)[:limit]
    return kept, kept[-1][0] if kept else 0.0


def _blocks(stream: BufferedIOBase | gzip.GzipFile) -> Iterator[bytes]:
    """Read blocks of whole lines; the last line gets an end if it has none."""
    rest = b""
    while block := stream.read(_BLOCK):
        whole, found, tail = block.rpartition(b"\n")
        if found:
            yield rest + whole + found
            rest = tail
        else:
            rest += tail
    if rest:
        yield rest + b"\n"
