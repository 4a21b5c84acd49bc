"""Read tables of variants of many proteins: which protein each line is about, and its variant.

The layouts of the usual sources are known by their headers: AlphaMissense, ClinVar, MAVISp, MaveDB,
ProteinGym and VCF files annotated by Ensembl VEP. Each input line becomes one `ProteinRow`; what is wrong
with a line is the `problem` of its row, so that it costs no other.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError, VariantError
from mutscan.inputs.layout import MISSING, Table, listed, named_column, plain
from mutscan.inputs.rows import InputRow
from mutscan.inputs.spreadsheet import damage, is_serial
from mutscan.inputs.text import is_blank, lines_of, open_bytes, read_text
from mutscan.inputs.variants import is_table_file, plain_rows
from mutscan.inputs.vep import is_vcf, read_vep
from mutscan.structures.fasta import is_fasta_file
from mutscan.variants import split_reference

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence
    from typing import TextIO

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
_MAVISP_FILE: Final = re.compile(r"([A-Za-z0-9-]+)-(?:simple|ensemble)_mode\b")


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


@dataclass(frozen=True)
class _Kind:
    """A source of tables, known by its headers as `plain` spells them."""

    words: str
    headers: tuple[str, ...]
    of_one_protein: bool = False
    """A table is about one protein, which it does not name; a column `accession` is none of a protein."""


_KINDS: Final = (
    _Kind("ProteinGym assay", ("mutant", "mutatedsequence", "dmsscore"), of_one_protein=True),
    _Kind("MaveDB score set", ("hgvsnt", "hgvspro"), of_one_protein=True),
    _Kind("MAVISp table", ("mutation", "mutationsources"), of_one_protein=True),
    _Kind("AlphaMissense table", ("proteinvariant", "ampathogenicity")),
    _Kind("ClinVar table", ("name", "clinicalsignificance")),
)
_TABLE: Final = _Kind("table", ())


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
    `target`. Tables of one protein (MaveDB, ProteinGym, MAVISp) are about `target` whatever identifier
    stands before their variants, unless these name several. Lines without a header name the protein before
    the variant. Of a VCF file, each protein change that VEP gives is a row. Text is UTF-8, or UTF-16 with
    a byte order mark, plain or gzipped.

    Parameters
    ----------
    source : path or ``"-"``
        ``"-"`` is stdin.
    protein_column, variant_column : str, optional
        Headers, or fields of VEP's annotation; guessed from the usual ones (`PROTEIN_COLUMNS`,
        `VARIANT_COLUMNS`) otherwise.
    target : str, optional
        The protein of lines that name none.
    stdin : text stream, optional
        Read instead of the process's own.

    Raises
    ------
    UsageError
        No such file, not text, nothing in it, no such column, several columns that may be the protein's,
        or no line that can be used.
    """
    name, stream = open_bytes(source, stdin)
    if is_vcf(stream):
        with stream:
            annotated = read_vep(stream, name, protein_field=protein_column, variant_field=variant_column)
        found = [(sys.intern(protein), row) for protein, row in annotated.rows]
        return _finished(name, found, annotated.carried_columns, "VCF file annotated by VEP", annotated.words)
    text = read_text(stream, name)
    first = next((line for line in lines_of(text) if not is_blank(line)), None)
    if first is None:
        raise UsageError(f"{name}: contains no variants; {_EXPECTED}")
    if first.startswith(">") or is_fasta_file(name):
        raise UsageError(f"{name}: is FASTA; {_EXPECTED}; sequences go in with --sequences")
    if "DMS_id" in first and "target_seq" in first:
        raise UsageError(
            f"{name}: is ProteinGym's list of assays and holds no variants; give the file of an assay, "
            "and its target_seq as a FASTA file with --sequences"
        )
    table = Table.find(
        text,
        name,
        variant_column,
        surely=is_table_file(name) or protein_column is not None,
        example="protein,variant",
    )
    if table is None:
        found = [(_protein("", row.text) or target or "", row) for row in plain_rows(text, name)]
        return _finished(name, found, (), "list of variants", "proteins before the variants")
    return _read_table(table, protein_column, target)


def _read_table(table: Table, column: str | None, target: str | None) -> ProteinTable:
    spelled = [plain(cell) for cell in table.header]
    kind = next((kind for kind in _KINDS if set(kind.headers) <= set(spelled)), _TABLE)
    place = _protein_column(table, spelled, kind, column)
    # Of indels, ProteinGym gives the mutant sequence also where others have the substitutions.
    sequence = spelled.index("mutatedsequence") if "mutatedsequence" in spelled else table.variant
    carried = table.carried()
    found = []
    for row, cells in table.rows(carried):
        if sequence != table.variant and row.text and row.text == cells[sequence].strip():
            row = replace(row, sequence=row.text.upper())
        found.append((_protein("" if place is None else cells[place].strip(), row.text), row))
    where = "proteins before the variants" if place is None else f"proteins in column {table.header[place]!r}"
    if place is None:
        file = _MAVISP_FILE.match(table.name) if kind.of_one_protein and target is None else None
        one = target if file is None else file[1]
        if kind.of_one_protein and len({protein for protein, _ in found} - {""}) > 1:
            one = None
        if one is not None:
            found = [(one if kind.of_one_protein else protein or one, row) for protein, row in found]
            if all(protein == one for protein, _ in found):
                where = f"protein {one}" + ("" if file is None else " by the file's name")
    where += f", variants in column {table.header[table.variant]!r}"
    return _finished(table.name, found, tuple(carried), kind.words, where)


def _protein_column(table: Table, spelled: Sequence[str], kind: _Kind, column: str | None) -> int | None:
    """Index of the protein column, None if there is none."""
    header = table.header
    if column is not None:
        found = named_column(header, column)
        if found is None:
            raise UsageError(f"{table.name}: has no column {column!r}; its columns are {listed(header)}")
        if found == table.variant:
            raise UsageError(f"{table.name}: column {header[found]!r} cannot hold both protein and variant")
        return found
    for group in PROTEIN_COLUMNS:
        places = [
            i
            for i, cell in enumerate(spelled)
            if cell in group and i != table.variant and not (kind.of_one_protein and cell == "accession")
        ]
        if len(places) > 1:
            raise UsageError(
                f"{table.name}: several columns may name the protein: {listed([header[i] for i in places])}; "
                "name the one to use (--protein-column)"
            )
        if places:
            return places[0]
    return None


def _protein(cell: str, variant: str) -> str:
    """Find the protein of a line: in its cell, else before its variant; empty if nowhere."""
    missing = cell.casefold() in MISSING
    if not missing and ";" not in cell:
        return sys.intern(cell)
    try:
        reference = split_reference(variant)[0] or ""
    except VariantError:
        reference = ""
    gene = re.search(r"\(([^()]+)\)$", reference)
    before = gene[1] if gene else reference
    # ClinVar's column lists all genes at a place: 'TP53;WRAP53'.
    return sys.intern(before if missing or before in cell.split(";") else cell)


def _finished(
    name: str, found: Sequence[tuple[str, InputRow]], carried: tuple[str, ...], kind: str, where: str
) -> ProteinTable:
    """Mark the lines that cannot be used, and refuse a table where that is all of them."""
    if not found:
        raise UsageError(f"{name}: contains a header but no variants; expected one per line")
    if not any(protein for protein, _ in found):
        raise UsageError(
            f"{name}: does not say which protein its variants belong to; add a column 'protein', name the "
            "column that has it (--protein-column), write P04637:p.R175H, or give the one sequence that all "
            "variants belong to (--sequences)"
        )
    # Proteins may well be called by numbers, but not one of them by a number and the others by names.
    numbers = all(protein.replace(".", "").isdigit() for protein, _ in found if protein)
    rows = tuple(_checked(protein, row, serials=not numbers) for protein, row in found)
    if all(row.row.problem is not None for row in rows):
        raise UsageError(f"{rows[0].row.problem}; no line can be used")
    unchanged = sum(row.row.text.casefold() in MISSING for row in rows)
    skipped = (
        f"{unchanged} row{' is' if unchanged == 1 else 's are'} skipped, without a change of the protein"
    )
    told = f"; {skipped}" if unchanged else ""
    return ProteinTable(rows, carried, f"{name}: {kind}, {len(rows)} rows; {where}{told}")


def _checked(protein: str, row: InputRow, *, serials: bool) -> ProteinRow:
    problem = row.problem
    if problem is None:
        here = f"line {row.number} of {row.source}"
        made = damage(protein) or ("the number of a day" if serials and is_serial(protein) else None)
        if not protein:
            problem = (
                f"{here} names no protein; expected one in its column or before the variant (P04637:p.R175H)"
            )
        elif made:
            problem = (
                f"{here}: the protein {protein!r} is {made}, as a spreadsheet makes of names such as MARCH1 "
                "or SEPT2; restore the name, and import the column as text"
            )
    return ProteinRow(protein, row if problem is row.problem else replace(row, problem=problem))
