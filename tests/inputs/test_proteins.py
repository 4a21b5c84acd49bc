from pathlib import Path

import pytest

from mutscan.errors import UsageError
from mutscan.inputs import ProteinTable, read_protein_table


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def pairs(table: ProteinTable) -> list[tuple[str, str]]:
    return [(row.protein, row.row.text) for row in table.rows]


# --- plain tables ----------------------------------------------------------------------------------------


def test_a_table_with_protein_and_variant(write) -> None:
    path = write("list.csv", "protein,variant,note\nP04637,R175H,hot\nQ9Y6K9,p.Lys277del,\nP04637,R248Q,\n")
    table = read_protein_table(path)
    assert pairs(table) == [("P04637", "R175H"), ("Q9Y6K9", "p.Lys277del"), ("P04637", "R248Q")]
    assert [row.row.number for row in table.rows] == [2, 3, 4]
    assert table.carried_columns == ("protein", "note")
    assert dict(table.rows[0].row.carried) == {"protein": "P04637", "note": "hot"}
    assert table.words == (
        "list.csv: table, 3 rows; proteins in column 'protein', variants in column 'variant'"
    )


def test_lines_that_name_their_protein(write) -> None:
    table = read_protein_table(write("list.txt", "# hot spots\nP04637:p.R175H\nBRCA1:p.Cys61Gly # RING\n"))
    assert pairs(table) == [("P04637", "P04637:p.R175H"), ("BRCA1", "BRCA1:p.Cys61Gly")]
    assert [row.row.number for row in table.rows] == [2, 3]


def test_columns_that_are_named_or_cannot_be_guessed(write) -> None:
    path = write("list.csv", "uniprot_id,accession,variant,other\nP04637,X,R175H,A2G\n")
    with pytest.raises(UsageError, match=r"'uniprot_id', 'accession'; name the one to use \(--protein-col"):
        read_protein_table(path)
    table = read_protein_table(path, protein_column="Accession", variant_column="other")
    assert pairs(table) == [("X", "A2G")]
    with pytest.raises(UsageError, match="has no column 'gene'"):
        read_protein_table(path, protein_column="gene")


def test_a_table_without_proteins(write) -> None:
    path = write("list.csv", "variant\nR175H\n")
    assert pairs(read_protein_table(path, target="TP53")) == [("TP53", "R175H")]
    with pytest.raises(UsageError, match="does not say which protein"):
        read_protein_table(path)
