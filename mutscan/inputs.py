"""Read variants from arguments, plain text, CSV and TSV, FASTA of mutants, and stdin.

Each input line becomes one `InputRow`. Whether it names a variant is decided later, by
`mutscan.variants`; only a file that cannot be read at all is an error here.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError, VariantError
from mutscan.structures.fasta import is_fasta_file
from mutscan.structures.files import without_gz
from mutscan.variants import Variant, difference, normalise, parse_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

VARIANT_COLUMNS: Final = (
    "variant", "variants", "proteinvariant", "mutant", "mutants", "mutation", "mutations", "hgvspro", "hgvsp",
    "proteinchange", "aachange", "aminoacidchange", "aasubstitution", "aminoacidsubstitution", "substitution",
    "substitutions", "mutname", "hgvs",
)  # fmt: skip
"""Headers taken for the variant column, best first, as `_plain` spells them."""

_TABLE_ENDINGS: Final = (".csv", ".tsv", ".tab")
_DELIMITERS: Final = ("\t", ",", ";")
# Not str.splitlines: that also breaks at form feeds and Unicode separators, which cells may hold.
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")
_FOREIGN: Final = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True, slots=True)
class InputRow:
    """One input line.

    Parameters
    ----------
    number : int
        1-based: the line of its file where it begins (of a FASTA record its ``>`` line), or its place
        among the arguments.
    text : str
        The variant as read, without blanks around it; of a FASTA record its title.
    carried : mapping of str to str
        Cells of the other columns, untouched.
    sequence : str, optional
        A full mutant sequence, upper case, from FASTA; as read otherwise.
    source : str
        ``arguments``, a file's name, or ``stdin``.
    problem : str, optional
        Why the line cannot be trusted although it was read; `variant` then refuses it.
    """

    number: int
    text: str
    carried: Mapping[str, str] = field(default_factory=dict)
    sequence: str | None = None
    source: str = "arguments"
    problem: str | None = None

    def variant(self, wild_type: str, written: Variant | None = None) -> Variant:
        """Read the line as a variant of a wild type, checked and in canonical form.

        Parameters
        ----------
        wild_type : str
            Its sequence.
        written : Variant, optional
            `text` as `parse_variant` reads it, where that is known already.

        Raises
        ------
        VariantError
            When the line names no variant, or none that fits.
        """
        if self.problem is not None:
            raise VariantError(self.problem)
        if self.sequence is not None:
            return difference(wild_type, self.sequence)
        return normalise(written or parse_variant(self.text), wild_type)


@dataclass(frozen=True, slots=True)
class InputTable:
    """All input lines in order, and the columns to carry to the output."""

    rows: tuple[InputRow, ...]
    carried_columns: tuple[str, ...] = ()


def read_arguments(texts: Sequence[str]) -> InputTable:
    """Take variants from the command line or a call, one row each."""
    if isinstance(texts, str):  # a str is a sequence too, of the wrong things
        texts = [texts]
    return InputTable(tuple(InputRow(number, text.strip()) for number, text in enumerate(texts, start=1)))


def read_variants(
    source: str | os.PathLike[str], *, column: str | None = None, stdin: TextIO | None = None
) -> InputTable:
    """Read a file of variants; its kind is recognised by its name and first lines.

    Plain text has one variant a line; blank lines and what follows ``#`` are skipped. Tables (comma, tab
    or semicolon) have a header, and comments before it or at the start of a line's variant; the variant
    column is `column`, or the first one known by its name (`VARIANT_COLUMNS`), or the only one. FASTA
    holds whole mutant sequences. Text is UTF-8, or UTF-16 with a byte order mark, plain or gzipped.

    Parameters
    ----------
    source : path or ``"-"``
        ``"-"`` is stdin.
    column : str, optional
        Header of the variant column; makes the file a table.
    stdin : text stream, optional
        Read instead of the process's own.

    Raises
    ------
    UsageError
        No such file, not text, nothing in it, no such column, or a table whose lines cannot be told apart.
    """
    name, data = _read_bytes(source, stdin)
    text = data if isinstance(data, str) else _decode(data, name)
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise UsageError(f"{name}: is not text (zero bytes); expected plain text, CSV, TSV or FASTA")
    lines = _LINE.findall(text)
    first = next((line for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    if first is None:
        raise UsageError(f"{name}: contains no variants; expected one per line, or a CSV, TSV or FASTA file")
    if first.startswith(">") or is_fasta_file(name):
        if column is not None:
            raise UsageError(f"{name}: is FASTA, which has no column {column!r}; leave the column out")
        return InputTable(tuple(_fasta_rows(lines, name)))
    table = _Table.find(lines, name, column, surely=without_gz(name).lower().endswith(_TABLE_ENDINGS))
    read = table.read() if table else InputTable(tuple(_plain_rows(lines, name)))
    if not read.rows:
        raise UsageError(f"{name}: contains a header but no variants; expected one per line")
    return read


def join_tables(*tables: InputTable) -> InputTable:
    """Concatenate tables; columns that a table lacks are empty in its rows."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.carried_columns))
    rows = tuple(
        InputRow(
            row.number,
            row.text,
            {name: row.carried.get(name, "") for name in columns},
            row.sequence,
            row.source,
            row.problem,
        )
        for table in tables
        for row in table.rows
    )
    return InputTable(rows, columns)


# --- bytes and lines -----------------------------------------------------------------------------------


def _read_bytes(source: str | os.PathLike[str], stdin: TextIO | None) -> tuple[str, bytes | str]:
    if os.fspath(source) == "-":
        stream = sys.stdin if stdin is None else stdin
        if stream is None:  # pythonw, daemons
            raise UsageError("stdin: is closed; give a file of variants")
        try:
            # Bytes if possible, so that gzip and encodings are recognised as in files.
            return "stdin", stream.buffer.read() if hasattr(stream, "buffer") else stream.read()
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin: is not {error.encoding} text; send it as UTF-8") from error
    path = Path(source).expanduser()
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file of variants")
    try:
        return path.name, path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}; give a file of variants, or - for stdin") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _decode(data: bytes, name: str) -> str:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{name}: damaged gzip file ({error}); make or download it again") from error
    for magic, kind in _FOREIGN.items():
        if data.startswith(magic):
            raise UsageError(f"{name}: is {kind}; expected text, save it as CSV, TSV or plain text")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(_LINE.findall(data[: error.start].decode(encoding, "replace") + "."))
        raise UsageError(
            f"{name}: is not {encoding.upper()} text (byte 0x{data[error.start]:02x} in line {line}); "
            "save it as CSV or text with encoding UTF-8"
        ) from error


def _plain_rows(lines: Iterable[str], name: str) -> Iterator[InputRow]:
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if text:
            yield InputRow(number, text, source=name)


def _fasta_rows(lines: Sequence[str], name: str) -> Iterator[InputRow]:
    records: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if line.startswith(">"):
            records.append((number, line[1:].strip(), []))
        elif line and records:
            records[-1][2].append(line)
        elif line and not line.startswith(("#", ";")):
            raise UsageError(
                f"{name}, line {number}: read {line[:40]!r}, "
                "expected a title such as '>R175H' before the sequence"
            )
    if not records:
        raise UsageError(f"{name}: contains no FASTA record; expected '>R175H' and the mutant's sequence")
    for number, title, parts in records:
        sequence = re.sub(r"[\s-]", "", "".join(parts)).upper().removesuffix("*")
        yield InputRow(number, title, sequence=sequence, source=name)


# --- tables --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Layout of a text table: line of its header, delimiter, and column of the variants."""

    lines: Sequence[str]
    name: str
    header_line: int  # 0-based
    delimiter: str
    header: tuple[str, ...]
    variant: int  # column index

    @classmethod
    def find(cls, lines: Sequence[str], name: str, column: str | None, *, surely: bool) -> _Table | None:
        """Recognise a table in `lines`; `surely` if the file name says that it is one.

        Without `column` and `surely`, a table is recognised by a header with a known column name.
        """
        body = next(i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#"))
        # Some programs write their header as a comment: '#variant<TAB>score'.
        comment = lines[body - 1].lstrip().lstrip("#").strip() if body else ""
        for place, line in ((body - 1, comment), (body, lines[body])):
            for delimiter in _DELIMITERS:
                header = _cells(line, delimiter)
                if place != body and not 1 < len(header) == len(_cells(lines[body], delimiter)):
                    continue
                found = _variant_column(header, column)
                if found is not None:
                    if header.count(header[found]) > 1:
                        raise UsageError(f"{name}: has several columns {header[found]!r}; rename all but one")
                    return cls(lines, name, place, delimiter, tuple(header), found)
        if column is None and not surely:
            return None
        delimiter = next((one for one in _DELIMITERS if len(_cells(lines[body], one)) > 1), ",")
        header = _cells(lines[body], delimiter)
        there = ", ".join(repr(cell) for cell in header[:20]) + (", ..." if len(header) > 20 else "")
        if column is not None:
            raise UsageError(f"{name}: has no column {column!r}; its columns are {there}")
        if any(map(_is_variant, header)):
            if len(header) == 1:
                return None  # a list of variants that is called .csv
            raise UsageError(
                f"{name}: the first line ({there}) reads as a variant, expected a header; "
                "add one, such as 'variant'"
            )
        if len(header) == 1:
            return cls(lines, name, body, delimiter, tuple(header), 0)
        raise UsageError(
            f"{name}: no column is called 'variant', 'mutant' or the like; its columns are {there}; "
            "name the one to use (--variant-column)"
        )

    def read(self) -> InputTable:
        records = list(self.records())
        width = len(self.header)
        names = _distinct([cell or f"column_{i}" for i, cell in enumerate(self.header, start=1)])
        # Spreadsheets end lines in separators; such a nameless column is kept only if something is in it.
        carried = [
            (i, names[i])
            for i, cell in enumerate(self.header)
            if i != self.variant
            and (cell or any(len(cells) > i and cells[i].strip() for _, cells in records))
        ]
        rows = []
        for number, cells in records:
            text, problem = cells[self.variant].strip() if len(cells) > self.variant else "", None
            if self.variant == 0:  # '#' is in no variant: a line commented out, or a comment behind
                text = text.partition("#")[0].strip()
                if not text and cells[0].strip():
                    continue
            if any(cell.strip() for cell in cells[width:]):
                problem = (
                    f"line {number} of {self.name} has {len(cells)} cells, its header {width}; "
                    f"put quotes around a cell that contains {self.delimiter!r}"
                )
            cells = [*cells, *[""] * (width - len(cells))]
            rows.append(
                InputRow(
                    number, text, {name: cells[i] for i, name in carried}, source=self.name, problem=problem
                )
            )
        return InputTable(tuple(rows), tuple(name for _, name in carried))

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Line number (1-based) and cells of each record that is not blank."""
        text = "".join(self.lines[self.header_line + 1 :])
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        before = 0
        while True:
            number = self.header_line + 2 + before
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise UsageError(
                    f"{self.name}, line {number}: cannot be split into cells ({error}); "
                    "quotes around a cell come in pairs, quotes inside a cell are doubled"
                ) from error
            before = reader.line_num
            if any(cell.strip() for cell in cells):
                yield number, cells


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter), [""])
    except csv.Error:  # a cell beyond the csv module's limit: no header
        cells = [line]
    return [cell.strip() for cell in cells]


def _plain(header: str) -> str:
    """Spell a header without case, blanks and punctuation: ``HGVS_pro`` -> ``hgvspro``."""
    return re.sub(r"[\W_]", "", header).casefold()


def _variant_column(header: Sequence[str], column: str | None) -> int | None:
    if column is not None:
        for same in (str, str.strip, str.casefold, _plain):
            wanted = same(column)
            if wanted:
                found = [i for i, cell in enumerate(header) if same(cell) == wanted]
                if found:
                    return found[0]
        return None
    plain = [_plain(cell) for cell in header]
    return next((plain.index(known) for known in VARIANT_COLUMNS if known in plain), None)


def _distinct(header: Sequence[str]) -> tuple[str, ...]:
    """Add numbers to repeated column names, as pandas does: ``score``, ``score.1``."""
    names: list[str] = []
    for cell in header:
        name, count = cell, 0
        while name in names:
            count += 1
            name = f"{cell}.{count}"
        names.append(name)
    return tuple(names)


def _is_variant(text: str) -> bool:
    try:
        parse_variant(text)
    except VariantError as error:
        return error.code != "bad_variant"
    return True
