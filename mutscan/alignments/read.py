"""Reading a protein's relatives from a3m, a2m, aligned FASTA, Stockholm and CLUSTAL files.

A file is read twice, line by line: first the wild type's row, which says which columns matter, then all rows
in blocks, of which the closest are kept. Memory does not grow with the number of rows, except for interleaved
files (Stockholm and CLUSTAL in several blocks), of which the columns of the wild type are held.
"""

from __future__ import annotations

import gzip
import io
import itertools
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, cast

import numpy as np

from mutscan.alignments.profile import (
    GAP,
    LEAST_COVER,
    LEAST_IDENTITY,
    MOST_ROWS,
    UNKNOWN_CODE,
    identity_and_cover,
    select_rows,
)
from mutscan.errors import UsageError
from mutscan.hashes import file_sha256
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

LONGEST_ROW: Final = 1_000_000
"""Characters of a row or line, insertions and gaps among them."""

MOST_HELD: Final = 600_000_000
"""Bytes of an interleaved file that are held."""

MOST_EMPTY: Final = 1_000_000
"""Lines in a row that hold next to nothing; a small archive could hold hundreds of millions."""

LEAST_AGREEING: Final = 0.99
"""Share of the wild type's row that must agree with the protein; alleles differ in a residue."""

_NEARLY_EMPTY: Final = 4  # characters of a line, its end among them
_BLOCK: Final = 4_000_000  # bytes of the rows that are looked at together
_EXPECTED: Final = "expected an alignment: a3m, a2m, aligned FASTA, Stockholm or CLUSTAL, also .gz"
_BLANK: Final = b" \t\r\n\0"
_INSERTED: Final = b"abcdefghijklmnopqrstuvwxyz."  # in a3m
_GAPS: Final = b"-.~*"
_ILLEGAL: Final = 255
_CODES: Final = np.full(256, _ILLEGAL, dtype=np.uint8)
for _letter in range(ord("A"), ord("Z") + 1):
    _place = STANDARD.find(chr(_letter))
    _CODES[[_letter, _letter + 32]] = _place if _place >= 0 else UNKNOWN_CODE
_CODES[list(_GAPS)] = GAP


@dataclass(frozen=True, eq=False)
class Alignment:
    """What was kept of an alignment file.

    Parameters
    ----------
    name : str
        Of the file.
    sha256 : str
        Of the file.
    rows : uint8 array, shape (n, L)
        The wild type, then relatives from the closest on (`mutscan.alignments.profile`).
    n_read : int
        Rows of the file, the wild type among them.
    n_short, n_distant : int
        Rows left out for their cover, and of the others for their identity.
    first, last : int
        Positions of the wild type that the file covers, 1-based, both included.
    differing : tuple of int
        Positions where the file's wild type has another residue, as another allele may.
    """

    name: str
    sha256: str
    rows: NDArray[np.uint8]
    n_read: int
    n_short: int
    n_distant: int
    first: int
    last: int
    differing: tuple[int, ...]


class _Row(NamedTuple):
    line: int
    name: bytes
    letters: bytes


class _File:
    """An alignment file and its messages."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.kind = self._kind()

    def wrong(self, line: int, text: str) -> NoReturn:
        raise UsageError(f"{self.name}, line {line}: {text}")

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield lines with their numbers; without ends, and without NUL, which separates parts of databases.

        Raises
        ------
        UsageError
            It cannot be read, or has a line that no alignment has.
        """
        try:
            with self.path.open("rb") as plain:
                stream = plain
                if plain.peek(2)[:2] == b"\x1f\x8b":
                    # Lines are much faster to take from a buffer than from the archive.
                    stream = io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=plain)))
                number = empty = 0
                while line := stream.readline(LONGEST_ROW):
                    number += 1
                    empty = empty + 1 if len(line) < _NEARLY_EMPTY else 0
                    if empty == MOST_EMPTY:
                        self.wrong(number, f"{MOST_EMPTY:,} lines hold next to nothing; {_EXPECTED}")
                    if number == 1:
                        line = line.removeprefix(b"\xef\xbb\xbf")
                    start = line.lstrip(b"\0")
                    if len(line) >= LONGEST_ROW:
                        if start[:1] not in (b">", b"#"):
                            self.wrong(number, f"over {LONGEST_ROW:,} characters in a line; {_EXPECTED}")
                        while line[-1:] != b"\n" and (line := stream.readline(LONGEST_ROW)):
                            pass
                    yield number, start.rstrip(_BLANK)
        except FileNotFoundError as error:
            raise UsageError(f"{self.path}: no such file; {_EXPECTED}") from error
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"{self.path}: cannot be read ({reason}); {_EXPECTED}") from error

    def _kind(self) -> str:
        for number, line in self.lines():
            if line.startswith(b"# STOCKHOLM"):
                return "Stockholm"
            if re.match(rb"(CLUSTAL|MUSCLE|PROBCONS|MSAPROBS)\b", line, re.IGNORECASE):
                return "CLUSTAL"
            if line.startswith(b">"):
                return "FASTA"
            if line and not line.startswith((b"#", b";")):
                self.wrong(number, f"read {_shown(line)!r}; {_EXPECTED}")
        raise UsageError(f"{self.name}: is empty; {_EXPECTED}")

    def whole_rows(self) -> Iterator[_Row]:
        """Yield the rows of a file of the FASTA kind."""
        header: tuple[int, bytes] | None = None
        parts: list[bytes] = []
        size = 0
        for number, line in self.lines():
            if line[:1] == b">":
                if header is not None:
                    yield _Row(*header, b"".join(parts))
                words = line[1:].split(maxsplit=1)
                header, parts, size = (number, words[0] if words else b""), [], 0
            elif line and not line.startswith((b"#", b";")):
                if header is None:
                    self.wrong(number, f"read {_shown(line)!r}, expected a header line starting with '>'")
                parts.append(line.translate(None, b" \t"))
                size += len(line)
                if size > LONGEST_ROW:
                    self.wrong(number, f"a row of over {LONGEST_ROW:,} characters; {_EXPECTED}")
        if header is not None:
            yield _Row(*header, b"".join(parts))

    def pieces(self) -> Iterator[tuple[int, _Row]]:
        """Yield the pieces of a Stockholm or CLUSTAL file with the number of their row, 0-based.

        Rows are known by their order, which is that of the first block, since names may repeat.
        """
        names: list[bytes] = []
        row, growing, blank, number = 0, True, False, 0
        lines = self.lines()
        next(lines)
        for number, line in lines:
            if line.startswith(b"//"):
                break
            if not line or line[:1] in (b"#", b" ", b"\t"):  # of CLUSTAL the marks of conservation
                blank = blank or not line
                continue
            words = line.split()
            if len(words) == 3 and words[2].isdigit() and self.kind == "CLUSTAL":
                words.pop()
            if len(words) != 2:
                self.wrong(number, f"read {_shown(line)!r}, expected a name and a piece of its row")
            name, letters = words
            if growing and names and blank and name == names[0]:
                growing, row = False, 0
            if growing:
                names.append(name)
            elif row == len(names):
                row = 0
            if name != names[row]:
                self.wrong(
                    number, f"read row {_shown(name)}, expected {_shown(names[row])} as in the first block"
                )
            yield row, _Row(number, name, letters)
            row, blank = row + 1, False
        if row != len(names):
            self.wrong(number, f"the last block has {row} rows, expected {len(names)}; the file is cut short")


def read_alignment(
    path: str | os.PathLike[str],
    sequence: str,
    *,
    name: str = "",
    most: int = MOST_ROWS,
    alone_ok: bool = False,
) -> Alignment:
    """Read the relatives of a protein.

    The format is told by the contents. The wild type is the first row, or else one of its name; it may be a
    part of the protein. Case has no meaning in files whose rows are equally long; in others (a3m) lower case
    marks insertions.

    Parameters
    ----------
    path : path
    sequence : str
        The wild type, L residues.
    name : str
        Of the wild type; a row may be named ``P53_HUMAN/24-286`` or ``sp|P04637|P53_HUMAN``.
    most : int
        Relatives kept (`select_rows`).
    alone_ok : bool
        Take a file without relatives.

    Raises
    ------
    UsageError
        The file cannot be read, has another wild type, or no relative.
    """
    file = _File(Path(path))
    wild_type, start = _find_wild_type(file, sequence, name)
    layout = _layout(file, wild_type, start)
    own = np.full(len(sequence), GAP, dtype=np.uint8)
    letters = np.frombuffer(wild_type.letters, dtype=np.uint8)
    own[layout.sites] = _CODES[letters[layout.of_wild_type]]
    differing = _differences(own, sequence)
    own[differing] = _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)[differing]]
    kept = own[None]
    n_read = n_short = n_distant = 0
    rows = _full_rows(file, layout) if file.kind == "FASTA" else _joined_rows(file, layout)
    while some := list(itertools.islice(rows, max(1, _BLOCK // max(layout.width, len(sequence))))):
        n_read += len(some)
        block = np.full((len(some), len(sequence)), GAP, dtype=np.uint8)
        block[:, layout.sites] = _codes(file, some, layout.width)[:, layout.columns]
        identity, cover = identity_and_cover(block, own)
        short, distant = cover < LEAST_COVER, identity < LEAST_IDENTITY
        n_short += int(short.sum())
        n_distant += int((distant & ~short).sum())
        kept = np.concatenate([kept, block[~short & ~distant]])
        kept = kept[select_rows(kept, most=most)]
    if len(kept) == 1 and not alone_ok:
        raise UsageError(
            f"{file.name}: of {n_read:,} rows none but the wild type covers half of it with "
            f"{100 * LEAST_IDENTITY:.0f} % identity or more; search more widely, or use --alignment library"
        )
    first, last = int(layout.sites[0]) + 1, int(layout.sites[-1]) + 1
    differing = (differing + 1).tolist()
    return Alignment(
        file.name, file_sha256(file.path), kept, n_read, n_short, n_distant, first, last, tuple(differing)
    )


# The wild type


def _differences(own: NDArray[np.uint8], sequence: str) -> NDArray[np.int64]:
    """Sites where the file and the protein have different known residues."""
    codes = _CODES[np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)]
    return np.flatnonzero((own < UNKNOWN_CODE) & (codes < UNKNOWN_CODE) & (own != codes))


def _find_wild_type(file: _File, sequence: str, name: str) -> tuple[_Row, int]:
    """Find the row of the wild type, and the site of the protein that it starts at."""
    wanted = _words(name)
    problem = None
    for row in _candidates(file, wanted):
        placed = _place_row(row, sequence)
        if isinstance(placed, int):
            return row, placed
        problem = (row, placed)
    assert problem is not None, "a file without rows is refused before"
    row, text = problem
    either = f", or one named {name}," if name else ""
    file.wrong(
        row.line,
        f"row {_shown(row.name)} is not the wild type: {text}; the first row{either} must be a part or "
        f"all of it, with at least {LEAST_AGREEING:.0%} of its letters",
    )


def _candidates(file: _File, wanted: set[str]) -> Iterator[_Row]:
    """Yield the rows that may be the wild type: the first, and those of its name."""

    def may_be(place: int, name: bytes) -> bool:
        return place == 0 or bool(wanted & _words(name.decode("ascii", "replace")))

    if file.kind == "FASTA":
        yield from (row for place, row in enumerate(file.whole_rows()) if may_be(place, row.name))
        return
    found: dict[int, _Row] = {}
    for place, piece in file.pieces():
        if may_be(place, piece.name):
            before = found.get(place, piece._replace(letters=b""))
            found[place] = before._replace(letters=before.letters + piece.letters)
            if len(found[place].letters) > LONGEST_ROW:
                file.wrong(piece.line, f"a row of over {LONGEST_ROW:,} characters; {_EXPECTED}")
    if not found:
        raise UsageError(f"{file.name}: holds no row; {_EXPECTED}")
    yield from found.values()


def _words(name: str) -> set[str]:
    """Words of a row's name that may be the protein's, without a range of positions."""
    whole = re.sub(r"/\d+-\d+$", "", name)
    return {whole, *(word for word in whole.split("|") if len(word) > 3)} - {""}


def _place_row(row: _Row, sequence: str) -> int | str:
    """Site of the protein that the row starts at, 0-based, or why it fits nowhere.

    Letters that are none of the 20 residues fit any. One residue in a hundred may differ, as between alleles.
    """
    letters = np.frombuffer(row.letters.translate(None, _GAPS).upper(), dtype=np.uint8)
    own = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    m = len(letters)
    if not 0 < m <= len(own):
        return f"it has {m:,} residues, the wild type {len(own):,}"
    windows = np.lib.stride_tricks.sliding_window_view(own, m)
    fits = (windows == letters) | (_CODES[windows] >= UNKNOWN_CODE) | (_CODES[letters] >= UNKNOWN_CODE)
    agreeing = fits.sum(axis=1)
    start = int(agreeing.argmax())
    stated = re.search(rb"/(\d+)-\d+$", row.name)
    if stated is not None and int(stated[1]) - 1 < len(agreeing) and agreeing[int(stated[1]) - 1] == m:
        start = int(stated[1]) - 1
    if agreeing[start] >= LEAST_AGREEING * m:
        return start
    site = int(np.flatnonzero(~fits[start])[0])
    return (
        f"read {chr(letters[site])} at position {start + site + 1}, expected {sequence[start + site]} "
        f"({agreeing[start]:,} of {m:,} residues agree)"
    )


# The other rows


@dataclass(frozen=True, eq=False)
class _Layout:
    """Which letters of a row stand at which sites.

    Parameters
    ----------
    width : int
        Columns of a row, insertions left out.
    columns, sites : int array, shape (m,)
        Columns that hold residues of the wild type, and its residues, 0-based.
    of_wild_type : int array, shape (m,)
        The same columns as places in the wild type's row, insertions counted.
    insertions : bool
        Lower case is an insertion in every row, also in those of the full width.
    """

    width: int
    columns: NDArray[np.int64]
    sites: NDArray[np.int64]
    of_wild_type: NDArray[np.int64]
    insertions: bool = False


def _layout(file: _File, wild_type: _Row, start: int) -> _Layout:
    letters = np.frombuffer(wild_type.letters, dtype=np.uint8)
    residue = ~np.isin(letters, list(_GAPS))
    site = start - 1 + np.cumsum(residue)
    column = np.ones(len(letters), dtype=np.bool_)
    inserted = np.isin(letters, list(_INSERTED))
    # Lower case in the wild type's own row: of columns with many gaps where all rows are equally long.
    insertions = (
        file.kind == "FASTA"
        and bool(inserted.any())
        and any(len(row.letters) != len(letters) for row in file.whole_rows())
    )
    if insertions:
        column = ~inserted
    used = np.flatnonzero(column & residue)
    if not used.size:
        file.wrong(wild_type.line, "the wild type's row has insertions only, expected capital letters")
    if file.kind != "FASTA":  # rows come with the columns of the wild type only
        return _Layout(len(used), np.arange(len(used)), site[used], used)
    return _Layout(int(column.sum()), (np.cumsum(column) - 1)[used], site[used], used, insertions)


def _full_rows(file: _File, layout: _Layout) -> Iterator[_Row]:
    """Yield all rows of a file of the FASTA kind, without insertions."""
    for row in file.whole_rows():
        letters = row.letters
        if layout.insertions or len(letters) != layout.width:
            letters = letters.translate(None, _INSERTED)
        if len(letters) != layout.width:
            file.wrong(
                row.line,
                f"row {_shown(row.name)} has {len(letters):,} columns (lower case left out), expected "
                f"{layout.width:,} as in the wild type's row; {_EXPECTED}",
            )
        yield row._replace(letters=letters)


def _joined_rows(file: _File, layout: _Layout) -> Iterator[_Row]:
    """Yield all rows of a Stockholm or CLUSTAL file, with the columns of the wild type only."""
    rows: list[tuple[int, bytes, bytearray]] = []
    used = layout.of_wild_type
    offset = size = held = 0
    at_once = False
    for place, piece in file.pieces():
        if place == 0:
            offset += size
            size = len(piece.letters)
            columns = used[np.searchsorted(used, offset) : np.searchsorted(used, offset + size)] - offset
            at_once = at_once or len(columns) == len(used)
        if len(piece.letters) != size:
            file.wrong(
                piece.line,
                f"row {_shown(piece.name)} has {len(piece.letters):,} columns, expected {size:,} as in the "
                "first row",
            )
        if not len(columns):
            continue
        letters = np.frombuffer(piece.letters, dtype=np.uint8)[columns].tobytes()
        if at_once:
            yield piece._replace(letters=letters)
            continue
        held += len(letters)
        if held > MOST_HELD:
            file.wrong(piece.line, "the file is too large to be joined from its blocks; write it as a3m")
        if place == len(rows):
            rows.append((piece.line, piece.name, bytearray()))
        rows[place][2].extend(letters)
    for line, name, joined in rows:
        yield _Row(line, name, bytes(joined))


def _codes(file: _File, rows: Sequence[_Row], width: int) -> NDArray[np.uint8]:
    """Codes of rows, shape (n, width)."""
    letters = np.frombuffer(b"".join(row.letters for row in rows), dtype=np.uint8).reshape(-1, width)
    codes = _CODES[letters]
    if (codes == _ILLEGAL).any():
        row, column = np.argwhere(codes == _ILLEGAL)[0]
        at = rows[row]
        file.wrong(at.line, f"row {_shown(at.name)}: {chr(letters[row, column])!r} is no residue and no gap")
    return codes


def _shown(text: bytes) -> str:
    return text[:40].decode("ascii", "backslashreplace")
