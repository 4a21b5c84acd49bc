"""Read variants of one protein from arguments, plain text, CSV and TSV, FASTA of mutants, and stdin.

Each input line becomes one `InputRow`. Whether it names a variant is decided later, by
`mutscan.variants`; only a file that cannot be read at all is an error here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError
from mutscan.inputs.layout import Table, spreadsheet_problem
from mutscan.inputs.rows import InputRow, InputTable
from mutscan.inputs.text import is_blank, lines_of, open_bytes, read_text
from mutscan.inputs.vep import is_vcf
from mutscan.structures.fasta import is_fasta_file
from mutscan.structures.files import without_gz

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TextIO

_TABLE_ENDINGS: Final = (".csv", ".tsv", ".tab")


def read_arguments(texts: Sequence[str]) -> InputTable:
    """Take variants from the command line or a call, one row each."""
    if isinstance(texts, str):  # a str is a sequence too, of the wrong things
        texts = [texts]
    # Bytes that are no text come from a shell as halves of letters, which nothing can write.
    texts = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
    rows = (
        InputRow(number, text.strip(), problem=spreadsheet_problem(number, text.strip(), "the arguments"))
        for number, text in enumerate(texts, start=1)
    )
    return InputTable(tuple(rows))


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
    name, stream = open_bytes(source, stdin)
    if is_vcf(stream):
        stream.close()
        raise UsageError(
            f"{name}: is a VCF file, whose changes of DNA may concern many proteins; annotate it with "
            "Ensembl VEP, then use 'mutscan batch'"
        )
    text = read_text(stream, name)
    first = next((line for line in lines_of(text) if not is_blank(line)), None)
    if first is None:
        raise UsageError(f"{name}: contains no variants; expected one per line, or a CSV, TSV or FASTA file")
    if first.startswith(">") or is_fasta_file(name):
        if column is not None:
            raise UsageError(f"{name}: is FASTA, which has no column {column!r}; leave the column out")
        return InputTable(tuple(_fasta_rows(lines_of(text), name)))
    table = Table.find(text, name, column, surely=is_table_file(name))
    if table is None:
        return InputTable(tuple(plain_rows(text, name)))
    carried = table.carried()
    rows = tuple(row for row, _ in table.rows(carried))
    if not rows:
        raise UsageError(f"{name}: contains a header but no variants; expected one per line")
    return InputTable(rows, tuple(carried))


def is_table_file(name: str) -> bool:
    """Whether a file is a table by its name."""
    return without_gz(name).lower().endswith(_TABLE_ENDINGS)


def plain_rows(text: str, name: str) -> Iterator[InputRow]:
    """One row for each line of text that is not blank, without comments."""
    for number, line in enumerate(lines_of(text), start=1):
        text = line.partition("#")[0].strip()
        if text:
            yield InputRow(number, text, source=name, problem=spreadsheet_problem(number, text, name))


def _fasta_rows(lines: Iterable[str], name: str) -> Iterator[InputRow]:
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
