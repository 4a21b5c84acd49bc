"""Text tables: where the header and the variants are, and their lines as rows."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError, VariantError
from mutscan.files import any_length
from mutscan.inputs.rows import Cells, InputRow
from mutscan.inputs.spreadsheet import damaged_variant
from mutscan.inputs.text import is_blank, lines_of
from mutscan.variants import parse_variant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARIANT_COLUMNS: Final = (
    "variant", "variants", "proteinvariant", "mutant", "mutants", "mutation", "mutations", "hgvspro", "hgvsp",
    "proteinchange", "aachange", "aminoacidchange", "aasubstitution", "aminoacidsubstitution", "substitution",
    "substitutions", "mutname", "hgvs", "hgvspshort",
)  # fmt: skip
"""Headers taken for the variant column, best first, as `plain` spells them."""

MISSING: Final = frozenset({"", "na", "nan", "n/a", "none", "null", "-", "."})
"""What stands in an empty cell, in lower case."""

_DELIMITERS: Final = ("\t", ",", ";")
_SEPARATOR: Final = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""What Excel writes and reads before the header."""
# ClinVar's column of variants is called Name, and so are many that hold none.
_CLINVAR: Final = re.compile(r"[A-Z]{2}_[0-9]+\.[0-9]+(?:\([^()\s]+\))?:[cgmn]\.")
_SAMPLE: Final = 50  # lines that are looked at to tell what a table is
_HEADER_LINES: Final = 50


@dataclass(frozen=True)
class Table:
    """Layout of a text table: its header, delimiter, and column of the variants."""

    text: str
    name: str
    start: int  # character of the text where the records begin
    header_line: int  # 0-based
    delimiter: str
    header: tuple[str, ...]
    variant: int  # column index

    @classmethod
    def find(
        cls,
        text: str,
        name: str,
        column: str | None,
        *,
        surely: bool,
        example: str = "variant",
    ) -> Table | None:
        """Recognise a table in `text`, which has a line that is not blank.

        Parameters
        ----------
        text : str
        name : str
            Of the file, for messages.
        column : str or None
            Header of the variant column.
        surely : bool
            The file name says that it is a table. Without it and without `column`, a table is recognised
            by a header with a known column name.
        example : str
            A header to propose where there is none.

        Raises
        ------
        UsageError
            It is a table, but its variants cannot be found.
        """
        before, first = "", ""
        start = body = 0  # of the first line that is not blank
        for first in lines_of(text):
            if not is_blank(first):
                break
            before, start, body = first, start + len(first), body + 1
        declared = _SEPARATOR.fullmatch(first.strip("\r\n "))
        delimiters = (declared[1],) if declared else _DELIMITERS
        if declared:
            before, start, body = "", start + len(first), body + 1
        first, n_lines = _header(text, start)
        # Some programs write their header as a comment: '#variant<TAB>score'.
        comment = before.lstrip().lstrip("#").strip()
        end, last = start + len(first), body + n_lines - 1
        for line, after, number in ((comment, start, body - 1), (first, end, last)):
            # Most cells first: 'protein,variant' without a tab in it is no column of protein variants.
            headers = ((_cells(line, delimiter), delimiter) for delimiter in delimiters)
            for header, delimiter in sorted(headers, key=lambda one: -len(one[0])):
                if after != end and not 1 < len(header) == len(_cells(first, delimiter)):
                    continue
                found = _variant_column(header, column, text, after, delimiter, name)
                if found is not None:
                    if header.count(header[found]) > 1:
                        raise UsageError(f"{name}: has several columns {header[found]!r}; rename all but one")
                    return cls(text, name, after, number, delimiter, tuple(header), found)
        if column is None and not surely:
            return None
        delimiter = next((one for one in delimiters if len(_cells(first, one)) > 1), ",")
        header = _cells(first, delimiter)
        if column is not None:
            raise UsageError(f"{name}: has no column {column!r}; its columns are {listed(header)}")
        if any(map(_is_variant, header)):
            if len(header) == 1:
                return None  # a list of variants that is called .csv
            raise UsageError(
                f"{name}: the first line ({listed(header)}) reads as a variant, expected a header; "
                f"add one, such as {example!r}"
            )
        if len(header) == 1:
            return cls(text, name, end, last, delimiter, tuple(header), 0)
        raise UsageError(
            f"{name}: no column is called 'variant', 'mutant' or the like; its columns are {listed(header)}; "
            "name the one to use (--variant-column)"
        )

    def carried(self) -> dict[str, int]:
        """Name and index of each column but that of the variants."""
        names = _distinct([cell or f"column_{i}" for i, cell in enumerate(self.header, start=1)])
        # Spreadsheets end lines in separators; such a nameless column is kept only if something is in it.
        empty = {i for i, cell in enumerate(self.header) if not cell}
        if empty:
            for _, cells in self._records():
                empty -= {i for i in empty if len(cells) > i and cells[i].strip()}
        return {name: i for i, name in enumerate(names) if i != self.variant and i not in empty}

    def rows(self, carried: dict[str, int]) -> Iterator[tuple[InputRow, list[str]]]:
        """Each line that is not blank or commented out as a row, with all its cells."""
        width, columns, places = len(self.header), tuple(carried), tuple(carried.values())
        for number, cells in self._records():
            text = cells[self.variant].strip() if len(cells) > self.variant else ""
            if self.variant == 0:  # '#' is in no variant: a line commented out, or a comment behind
                text = text.partition("#")[0].strip()
                if not text and cells[0].strip():
                    continue
            code, problem = "bad_variant", spreadsheet_problem(number, text, self.name)
            if text.casefold() in MISSING:
                code = "unsupported_variant"
                problem = (
                    f"line {number} of {self.name} names no change of the protein: read {text!r} in column "
                    f"{self.header[self.variant]!r}, as at splice sites and in introns; not scored"
                )
            if any(cell.strip() for cell in cells[width:]):
                code = "bad_variant"
                problem = (
                    f"line {number} of {self.name} has {len(cells)} cells, its header {width}; "
                    f"put quotes around a cell that contains {self.delimiter!r}"
                )
            cells += [""] * (width - len(cells))
            kept = Cells(columns, (cells[i] for i in places)) if places else {}
            yield InputRow(number, text, kept, source=self.name, problem=problem, code=code), cells

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line number (1-based) and cells of each record that is not blank."""
        reader = csv.reader(lines_of(self.text, self.start), delimiter=self.delimiter, strict=True)
        before = 0
        while True:
            number = self.header_line + 2 + before
            try:
                with any_length():
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


def spreadsheet_problem(number: int, text: str, name: str) -> str | None:
    """Say of the variant in a line of a file that a spreadsheet destroyed it; None if not."""
    made = damaged_variant(text)
    return made and (
        f"line {number} of {name}: the variant {text!r} is {made}, as a spreadsheet makes of text that looks "
        "like one and of names such as MARCH1 or SEPT2; restore it, and import the column as text"
    )


def _header(text: str, start: int) -> tuple[str, int]:
    """Take the first record of a table, which has a line break where quotes are open at a line's end.

    Returns
    -------
    str
    int
        Its lines.
    """
    record = first = ""
    for n_lines, line in enumerate(islice(lines_of(text, start), _HEADER_LINES), start=1):
        record += line
        first = first or line
        if record.count('"') % 2 == 0:
            return record, n_lines
    return first, 1


def _cells(record: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader(lines_of(record.rstrip("\r\n")), delimiter=delimiter), [""])
    except csv.Error:  # a cell beyond the csv module's limit: no header
        cells = [record]
    return [" ".join(cell.split()) if "\n" in cell or "\r" in cell else cell.strip() for cell in cells]


def plain(header: str) -> str:
    """Spell a header without case, blanks and punctuation: ``HGVS_pro`` -> ``hgvspro``."""
    return re.sub(r"[\W_]", "", header).casefold()


def named_column(header: Sequence[str], column: str) -> int | None:
    """Index of the column that a user names, as written or but for case, blanks and punctuation."""
    for same in (str, str.strip, str.casefold, plain):
        wanted = same(column)
        if wanted:
            found = [i for i, cell in enumerate(header) if same(cell) == wanted]
            if found:
                return found[0]
    return None


def listed(header: Sequence[str]) -> str:
    """Column names for a message, the first 20."""
    return ", ".join(repr(cell) for cell in header[:20]) + (", ..." if len(header) > 20 else "")


def _variant_column(
    header: Sequence[str], column: str | None, text: str, start: int, delimiter: str, name: str
) -> int | None:
    """Index of the variant column: that named, else that of the known ones that can be read best."""
    if column is not None:
        return named_column(header, column)
    spelled = [plain(cell) for cell in header]
    has_clinvar = any(map(_CLINVAR.search, islice(lines_of(text, start), _SAMPLE)))
    known = (*VARIANT_COLUMNS, "name") if has_clinvar else VARIANT_COLUMNS
    places = [spelled.index(one) for one in known if one in spelled]
    if not places:
        return None
    same = [cell for cell, one in zip(header, spelled, strict=True) if one == spelled[places[0]]]
    if len(places) > 1:
        sample = _sample(text, start, delimiter)
        cells = {place: [row[place] for row in sample if len(row) > place] for place in places}
        places.sort(key=lambda place: _unread(cells[place]))
        same = [cell for cell, one in zip(header, spelled, strict=True) if one == spelled[places[0]]]
        best = [place for place in places if _unread(cells[place]) == _unread(cells[places[0]])]
        if len({tuple(map(_meaning, cells[place])) for place in best}) > 1:
            same = [header[place] for place in best]
    if len({*same}) > 1:
        raise UsageError(
            f"{name}: several columns may hold the variants: {listed(same)}; name the one to use "
            "(--variant-column)"
        )
    return places[0]


def _sample(text: str, start: int, delimiter: str) -> list[list[str]]:
    """Cells of the first records; none where they cannot be split."""
    try:
        with any_length():
            return [*islice(csv.reader(lines_of(text, start), delimiter=delimiter), _SAMPLE)]
    except csv.Error:
        return []


def _unread(cells: Sequence[str]) -> tuple[int, int]:
    """Rank a column: how few of its cells name a change of the protein to score, or any."""
    codes = []
    for cell in cells:
        try:
            parse_variant(cell)
        except VariantError as error:
            codes.append(error.code)
        else:
            codes.append("")
    return -codes.count(""), codes.count("bad_variant")


def _meaning(cell: str) -> str:
    """Name of the variant in a cell, however it is written."""
    try:
        return str(parse_variant(cell))
    except VariantError:
        return cell


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
