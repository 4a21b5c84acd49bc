"""Whatever table is handed in is read or refused in words, and nothing in it becomes a formula."""

import csv
import io
import unicodedata

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from mutscan.errors import UsageError
from mutscan.files import any_length
from mutscan.inputs import InputTable, read_protein_table, read_variants
from mutscan.results import carried_names, escape_cell, write_variants
from tests.strategies import anything, tables

pytestmark = pytest.mark.fuzz

FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused(call, *arguments, **settings) -> InputTable | None:
    try:
        return call(*arguments, **settings)
    except UsageError as error:
        words = error.message
    assert len(words.splitlines()) == 1
    assert len(words) < 2000
    return None


@FIXTURES
@given(
    tables(),
    st.sampled_from(["list.csv", "list.txt", "list.tsv"]),
    st.sampled_from([None, "variant", "note"]),
)
@example(b'"patient\nnumber","variant"\n1,R175H\n', "list.csv", None)
@example(b"sep=;\nid;variant\n1;R175H\n", "list.csv", None)
@example(b"Variant,variant\nR1H,R2H\n", "list.csv", None)
@example(b"sep=;", "list.csv", None)
@example(b'"variant\nR175H\n', "list.csv", None)
@example(b"\xff\xfev\x00", "list.csv", None)
def test_any_table_of_variants(tmp_path, data: bytes, name: str, column: str | None) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    table = refused(read_variants, path, column=column)
    refused(read_protein_table, path, variant_column=column, target="TP53")
    if table is None:
        return
    numbers = [row.number for row in table.rows]
    assert numbers == sorted(set(numbers))
    out = tmp_path / "variants.csv"
    names = carried_names(table.carried_columns)
    rows = [{"input": row.text, **dict(zip(names, row.carried.values(), strict=True))} for row in table.rows]
    write_variants(out, rows, names)
    with any_length(), out.open(newline="", encoding="utf-8") as stream:
        written = list(csv.reader(stream))
    assert len(written) == len(rows) + 1
    assert len({len(cells) for cells in written}) == 1


@given(
    st.one_of(anything, st.text(st.sampled_from("=+-@＝－＋＠ \t\r\n\x00\u200b\ufeff\x1b1.a"), max_size=8))
)
@example("\r=1")
@example("\n=1")
@example(" ＝1")
@example("\u200b=1")
def test_no_cell_is_a_formula(text: str) -> None:
    cell = escape_cell(text)
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerow([cell, "end"])
    ((back, end),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert (back, end) == (cell, "end")
    visible = [
        letter for letter in cell if unicodedata.category(letter) not in ("Cc", "Cf", "Zs", "Zl", "Zp")
    ]
    if visible and unicodedata.normalize("NFKC", visible[0]) in "=+-@":
        float(cell)
