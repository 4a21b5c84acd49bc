"""Read tables of variants of many proteins: which protein each line is about, and its variant.

The layouts of the usual sources are known by their headers: AlphaMissense, ClinVar, MAVISp, MaveDB,
ProteinGym and VCF files annotated by Ensembl VEP. Each input line becomes one `ProteinRow`; what a line
says wrong is the `problem` of its row, so that it costs no other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError, VariantError
from mutscan.inputs.layout import Table, listed, named_column, plain
from mutscan.inputs.text import is_blank, lines_of, read_bytes, read_text
from mutscan.inputs.variants import is_table_file, plain_rows
from mutscan.structures.fasta import is_fasta_file
from mutscan.variants import split_reference

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import TextIO

    from mutscan.inputs.rows import InputRow

PROTEIN_COLUMNS: Final = (
    ("protein", "proteinid", "proteinname", "proteinaccession", "wildtype"),
    ("uniprot", "uniprotid", "uniprotac", "uniprotacc", "uniprotaccession", "uniprotkb", "uniprotkbac",
     "uniprotkbid", "uniprotisoform", "uniprotname", "swissprot", "accession", "acc", "entry"),
    ("refseq", "refseqid", "refseqprotein", "npid", "ensp", "ensemblprotein", "ensemblproteinid"),
    ("gene", "genesymbol", "genename", "symbol", "hugosymbol", "hgncsymbol"),
)  # fmt: skip
"""Headers taken for the protein column, as `plain` spells them; those of an earlier group are better."""

_EXPECTED: Final = (
    "expected a table with the columns protein and variant, lines such as P04637:p.R175H, "
    "or a VCF file annotated by Ensembl VEP"
)
_MISSING: Final = frozenset({"", "na", "nan", "n/a", "none", "null", "-", "."})


@dataclass(frozen=True, slots=True)
class ProteinRow:
    """One input line and the protein it is about.

    Parameters
    ----------
    protein : str
        As written; empty only if `row` has a problem.
    row : InputRow
        As in a table of one protein.
    """

    protein: str
    row: InputRow


@dataclass(frozen=True, slots=True)
class ProteinTable:
    """All input lines in order.

    Parameters
    ----------
    rows : tuple of ProteinRow
    carried_columns : tuple of str
        Columns to carry to the output, that of the proteins among them.
    words : str
        What kind of table was read, and which columns were taken; one line for the user.
    """

    rows: tuple[ProteinRow, ...]
    carried_columns: tuple[str, ...]
    words: str


def read_protein_table(
    source: str | os.PathLike[str],
    *,
    protein_column: str | None = None,
    variant_column: str | None = None,
    target: str | None = None,
    stdin: TextIO | None = None,
) -> ProteinTable:
    """Read variants of many proteins; the kind of the file is recognised by its first lines.

    Tables (comma, tab or semicolon) have a header. The protein of a line stands in the protein column,
    else before its variant (``P04637:p.R175H``, ``NM_000546.6(TP53):c.524G>A (p.Arg175His)``), else it is
    `target`. Lines without a header name the protein before the variant. Text is UTF-8, or UTF-16 with a
    byte order mark, plain or gzipped.

    Parameters
    ----------
    source : path or ``"-"``
        ``"-"`` is stdin.
    protein_column, variant_column : str, optional
        Headers; guessed from the usual ones (`PROTEIN_COLUMNS`, `VARIANT_COLUMNS`) otherwise.
    target : str, optional
        The protein of lines that name none.
    stdin : text stream, optional
        Read instead of the process's own.

    Raises
    ------
    UsageError
        No such file, not text, nothing in it, no such column, several columns that may be the protein's,
        or no line that names its protein.
    """
    name, data = read_bytes(source, stdin)
    text = read_text(data, name)
    del data  # a large table would be held twice
    first = next((line for line in lines_of(text) if not is_blank(line)), None)
    if first is None:
        raise UsageError(f"{name}: contains no variants; {_EXPECTED}")
    if first.startswith(">") or is_fasta_file(name):
        raise UsageError(f"{name}: is FASTA; {_EXPECTED}; sequences go in with --sequences")
    surely = is_table_file(name) or protein_column is not None
    table = Table.find(text, name, variant_column, surely=surely, example="protein,variant")
    if table is None:
        rows = [_named(row, "", target) for row in plain_rows(text, name)]
        return _checked(name, rows, (), "lines of variants, each with its protein before it")
    carried = table.carried()
    protein = _protein_column(table, protein_column)
    rows = [
        _named(row, "" if protein is None else cells[protein], target) for row, cells in table.rows(carried)
    ]
    where = "named before each variant" if protein is None else f"in column {table.header[protein]!r}"
    words = f"proteins {where}, variants in column {table.header[table.variant]!r}"
    return _checked(name, rows, tuple(carried), words)


def _protein_column(table: Table, column: str | None) -> int | None:
    """Index of the protein column, None if there is none."""
    header = table.header
    if column is not None:
        found = named_column(header, column)
        if found is None:
            raise UsageError(f"{table.name}: has no column {column!r}; its columns are {listed(header)}")
        if found == table.variant:
            raise UsageError(f"{table.name}: column {header[found]!r} cannot hold both protein and variant")
        return found
    spelled = [plain(cell) for cell in header]
    for group in PROTEIN_COLUMNS:
        places = [i for i, cell in enumerate(spelled) if cell in group and i != table.variant]
        if len(places) > 1:
            raise UsageError(
                f"{table.name}: several columns may name the protein: {listed([header[i] for i in places])}; "
                "name the one to use (--protein-column)"
            )
        if places:
            return places[0]
    return None


def _named(row: InputRow, cell: str, target: str | None) -> ProteinRow:
    """Find the protein of a line: in its cell, else before its variant, else the target."""
    protein = cell.strip()
    if protein.casefold() in _MISSING:
        protein = _before(row.text) or target or ""
    if not protein and row.problem is None:
        row = replace(
            row,
            problem=f"line {row.number} of {row.source} names no protein; "
            "expected one in its column or before the variant, as in P04637:p.R175H",
        )
    return ProteinRow(protein, row)


def _before(text: str) -> str:
    """Find the protein before a variant: the gene in parentheses, else the accession, else nothing."""
    try:
        reference = split_reference(text)[0] or ""
    except VariantError:
        return ""
    gene = re.search(r"\(([^()]+)\)$", reference)
    return gene[1] if gene else reference


def _checked(name: str, rows: Sequence[ProteinRow], carried: tuple[str, ...], words: str) -> ProteinTable:
    if not rows:
        raise UsageError(f"{name}: contains a header but no variants; expected one per line")
    if not any(row.protein for row in rows):
        raise UsageError(
            f"{name}: does not say which protein its variants belong to; add a column 'protein', name the "
            "column that has it (--protein-column), write P04637:p.R175H, or give the one sequence that all "
            "variants belong to (--sequences)"
        )
    return ProteinTable(tuple(rows), carried, f"{name}: {len(rows)} rows, {words}")
