import csv
import gzip
import io
from pathlib import Path

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from mutscan.errors import UsageError, VariantError
from mutscan.inputs import (
    InputRow,
    InputTable,
    join_tables,
    read_arguments,
    read_protein_table,
    read_variants,
)
from mutscan.variants import parse_variant

WILD_TYPE = "MKLLERWDNS"


def texts(table: InputTable) -> list[str]:
    return [row.text for row in table.rows]


def numbers(table: InputTable) -> list[int]:
    return [row.number for row in table.rows]


# --- arguments -------------------------------------------------------------------------------------------


def test_arguments_are_rows_in_order() -> None:
    table = read_arguments(["R175H", " p.Arg248Gln ", "nonsense", ""])
    assert table.rows[1] == InputRow(2, "p.Arg248Gln", source="arguments")
    assert texts(table) == ["R175H", "p.Arg248Gln", "nonsense", ""]
    assert table.carried_columns == ()


def test_one_string_is_one_argument() -> None:
    assert texts(read_arguments("R175H")) == ["R175H"]


# --- plain text ------------------------------------------------------------------------------------------

PLAIN = "# hot spots\n\nR175H\n  R248Q;R273H  # two at once\n\t\nwhat is this?\np.Lys120del\n"


def test_plain_text(write) -> None:
    table = read_variants(write("list.txt", PLAIN))
    assert texts(table) == ["R175H", "R248Q;R273H", "what is this?", "p.Lys120del"]
    assert numbers(table) == [3, 4, 6, 7]
    assert {row.source for row in table.rows} == {"list.txt"}
    assert all(row.sequence is None and row.carried == {} and row.problem is None for row in table.rows)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        b"\xef\xbb\xbf" + PLAIN.encode(),
        PLAIN.encode("utf-16"),
        gzip.compress(PLAIN.encode(), mtime=0),
        gzip.compress(b"\xef\xbb\xbf" + PLAIN.encode(), mtime=0),
        PLAIN.removesuffix("\n").encode(),
    ],
    ids=["lf", "crlf", "cr", "bom", "utf16", "gz", "gz-bom", "no-end"],
)
def test_plain_text_however_encoded(write, data: bytes) -> None:
    table = read_variants(write("list", data))
    assert texts(table) == ["R175H", "R248Q;R273H", "what is this?", "p.Lys120del"]
    assert numbers(table) == [3, 4, 6, 7]


@pytest.mark.parametrize("first", ["R175H,R248Q", "R175H\tnote", "A, B and C", "R175H;R248Q", "what?"])
def test_a_bad_first_line_is_a_row_not_the_end(write, first: str) -> None:
    table = read_variants(write("list.txt", f"{first}\nR175H\n"))
    assert texts(table) == [first, "R175H"]


def test_a_list_called_csv(write) -> None:
    assert texts(read_variants(write("list.csv", "R175H\nR248Q;R273H\n"))) == ["R175H", "R248Q;R273H"]
    assert texts(read_variants(write("stop.csv", "R175*\nR248Q\n"))) == ["R175*", "R248Q"]


def test_a_headed_list(write) -> None:
    table = read_variants(write("list.txt", "Variant\nR175H # hot\n# none\nR248Q\n"))
    assert texts(table) == ["R175H", "R248Q"]
    assert numbers(table) == [2, 4]


@given(
    st.lists(st.text(alphabet="RKHp.175;:/+,\t #>x\x0c\x85\u2028'\"", max_size=12), min_size=1, max_size=8)
)
def test_each_plain_line_that_is_not_blank_is_a_row(lines: list[str]) -> None:
    expected = [(i, line.partition("#")[0].strip()) for i, line in enumerate(lines, start=2)]
    expected = [(i, text) for i, text in expected if text]
    stream = io.StringIO("R1H\n" + "\n".join(lines))
    table = read_variants("-", stdin=stream)
    assert [(row.number, row.text) for row in table.rows] == [(1, "R1H"), *expected]


# --- tables ----------------------------------------------------------------------------------------------


def test_csv_carries_the_other_columns_untouched(write) -> None:
    path = write(
        "list.csv",
        "gene,variant,score,note\n"
        'TP53,R175H,007,"a, b"\n'
        "TP53, p.Arg248Gln ,NA,  two blanks\n"
        "\n"
        ",,,\n"
        'TP53,,1e3,"two\nlines"\n'
        "TP53,R273H\n",
    )
    table = read_variants(path)
    assert table.carried_columns == ("gene", "score", "note")
    assert texts(table) == ["R175H", "p.Arg248Gln", "", "R273H"]
    assert numbers(table) == [2, 3, 6, 8]
    assert [dict(row.carried) for row in table.rows] == [
        {"gene": "TP53", "score": "007", "note": "a, b"},
        {"gene": "TP53", "score": "NA", "note": "  two blanks"},
        {"gene": "TP53", "score": "1e3", "note": "two\nlines"},
        {"gene": "TP53", "score": "", "note": ""},
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.tsv", "id\tmutant\nx,1\tR175H;R248Q\n"),
        ("list.tab", "id\tmutant\nx,1\tR175H;R248Q\n"),
        ("list.tsv.gz", gzip.compress(b"id\tmutant\nx,1\tR175H;R248Q\n", mtime=0)),
        ("list.txt", "id\tmutant\nx,1\tR175H;R248Q\n"),
        ("list", 'id,mutant\n"x,1",R175H;R248Q\n'),
        ("list.csv", 'id;mutant\nx,1;"R175H;R248Q"\n'),
        ("list.csv", '# made by hand\n\nid,mutant\n"x,1",R175H;R248Q\n'),
        ("list.tsv", "# made by hand\n#id\tmutant\nx,1\tR175H;R248Q\n"),
        ("list.csv", '"id","mutant"\r\n"x,1","R175H;R248Q"\r\n'),
        ("list.csv", b"\xef\xbb\xbf" + b'id,mutant\n"x,1",R175H;R248Q\n'),
        ("list.txt", 'id\tmutant\nx,1\tR175H;R248Q\n'.encode("utf-16")),
        ("list.csv", 'id,mutant,,\n"x,1",R175H;R248Q,,\n'),
    ],
)  # fmt: skip
def test_tables_of_all_kinds(write, name: str, content: str | bytes) -> None:
    table = read_variants(write(name, content))
    assert texts(table) == ["R175H;R248Q"]
    assert table.carried_columns == ("id",)
    assert dict(table.rows[0].carried) == {"id": "x,1"}
    assert table.rows[0].source == name


@pytest.mark.parametrize(
    "header",
    ["variant", "Variant", "VARIANTS", "mutation", "Mutation", "HGVSp", "hgvs_pro", "protein_variant",
     "Protein Change", "AA change", "mut_name", "mutant"],
)  # fmt: skip
def test_known_headers(write, header: str) -> None:
    table = read_variants(write("list.csv", f"id,{header}\n1,R175H\n"))
    assert texts(table) == ["R175H"]


def test_two_headers_are_not_read_as_one(write) -> None:
    table = read_variants(write("list.csv", "protein,variant\nP04637,R175H\n"))  # 'proteinvariant' is known
    assert texts(table) == ["R175H"]
    assert table.carried_columns == ("protein",)


def test_the_better_known_header_wins(write) -> None:
    table = read_variants(write("list.csv", "hgvs_pro,variant\np.Arg175His,R175H\n"))
    assert texts(table) == ["R175H"]
    assert table.carried_columns == ("hgvs_pro",)


def test_the_column_that_can_be_read_wins(write) -> None:
    """ClinVar's table lists short names of several transcripts; VariantValidator's has DNA first."""
    clinvar = (
        "Name\tGene(s)\tProtein change\tCanonical SPDI\n"
        "NM_000546.6(TP53):c.524G>A (p.Arg175His)\tTP53\tR175H, R43H, R82H\tNC_000017.11:7675087:C:T\n"
        "NM_000546.6(TP53):c.743G>A (p.Arg248Gln)\tTP53\tR248Q, R89Q\tNC_000017.11:7674219:C:T\n"
    )
    table = read_variants(write("clinvar.txt", clinvar))
    assert texts(table)[0] == "NM_000546.6(TP53):c.524G>A (p.Arg175His)"
    assert str(parse_variant(texts(table)[1])) == "R248Q"
    dna = "Variant,Protein change\nc.524G>A,p.Arg175His\nc.743G>A,R248Q\n"
    assert texts(read_variants(write("list.csv", dna))) == ["p.Arg175His", "R248Q"]
    stops = "Variant,Protein change\nwhat,p.Arg175Ter\n"
    assert texts(read_variants(write("list.csv", stops))) == ["p.Arg175Ter"]


def test_maf_columns(write) -> None:
    maf = "#version 2.4\nHugo_Symbol\tVariant_Classification\tHGVSp_Short\nTP53\tMissense_Mutation\tp.R175H\n"
    table = read_variants(write("cohort.maf", maf))
    assert texts(table) == ["p.R175H"]
    assert table.carried_columns == ("Hugo_Symbol", "Variant_Classification")


MAF = """Hugo_Symbol\tVariant_Classification\tHGVSp_Short
TP53\tMissense_Mutation\tp.R175H
TP53\tIntron\t
TP53\tSplice_Site\tp.X125_splice
TP53\tSplice_Region\t.
TP53\tSilent\tp.L188=
TP53\t3'UTR\tNA
TP53\tMissense_Mutation\twhat?
"""
UNCHANGED = "synonymous"
NONE = "unsupported_variant"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("cohort.maf", MAF),
        ("list.csv", MAF.replace("\t", ",").replace("HGVSp_Short", "variant")),
        ("clinvar.tsv", MAF.replace("HGVSp_Short", "Protein change")),
        ("mavedb.csv", MAF.replace("\t", ",").replace("HGVSp_Short", "hgvs_pro")),
    ],
)
def test_rows_without_a_change_of_the_protein(write, name: str, text: str) -> None:
    """Known kinds of tables agree: such a row is understood, and there is nothing to score."""
    path = write(name, text)
    for rows in (read_variants(path).rows, [one.row for one in read_protein_table(path).rows]):
        found = []
        for row in rows:
            try:
                found.append(str(row.variant("M" * 174 + "R" + "L" * 30)))
            except VariantError as error:
                found.append(error.code)
        assert found == ["R175H", NONE, NONE, NONE, UNCHANGED, NONE, "bad_variant"]
        assert f"line 3 of {name} names no change of the protein: read '' in column" in rows[1].problem
    assert "3 rows are skipped, without a change of the protein" in read_protein_table(path).words


@pytest.mark.parametrize(
    ("cell", "made"),
    [
        ("Mar-12", "a date"), ("12-Mar", "a date"), ("2024-03-12", "a date"), ("1-Sep:p.R175H", "a date"),
        ("2024-03-12 00:00:00", "a date"), ("#NAME?", "a spreadsheet's error"),
        ("45363", "the number of a day"),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_made_of_a_variant(write, cell: str, made: str) -> None:
    told = f"the variant {cell!r} is {made}, as a spreadsheet makes of text"
    for table in (
        read_variants(write("list.csv", f"id,variant\n1,R175H\n2,{cell}\n")),
        read_variants(write("list.txt", f"R175H\n{cell}\n"))
        if "#" not in cell
        else read_arguments(["", cell]),
        read_arguments(["R175H", cell]),
    ):
        assert told in table.rows[1].problem
        with pytest.raises(VariantError, match="import the column as text") as caught:
            table.rows[1].variant("MKL")
        assert caught.value.code == "bad_variant"
        assert table.rows[0].problem is None


def test_two_columns_of_one_name_are_asked_about(write) -> None:
    path = write("list.csv", "id,Variant,variant\n1,R175H,R248Q\n")
    with pytest.raises(
        UsageError, match=r"several columns may hold the variants: 'Variant', 'variant'; .*--variant-column"
    ):
        read_variants(path)
    assert texts(read_variants(path, column="variant")) == ["R248Q"]
    assert texts(read_variants(path, column="Variant")) == ["R175H"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_headers_with_line_breaks(write, end: str) -> None:
    content = '"patient\nnumber","variant","what\nwas seen"\n1,R175H,"a\nb"\n2,R248Q,c\n'.replace("\n", end)
    table = read_variants(write("list.csv", content))
    assert texts(table) == ["R175H", "R248Q"]
    assert table.carried_columns == ("patient number", "what was seen")
    assert numbers(table) == [4, 6]
    protein = read_protein_table(write("p.csv", '"protein\nname","variant"\nP04637,R175H\n'))
    assert [(row.protein, row.row.text) for row in protein.rows] == [("P04637", "R175H")]


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [("sep=;", ";"), ('"sep=;"', ";"), ("SEP=,", ","), ("sep=\t", "\t"), ("sep=|", "|")],
)
def test_the_line_that_excel_writes_first(write, first: str, delimiter: str) -> None:
    content = "\r\n".join((first, f"id{delimiter}variant", f"1{delimiter}R175H", ""))
    table = read_variants(write("list.csv", content))
    assert texts(table) == ["R175H"]
    assert dict(table.rows[0].carried) == {"id": "1"}
    assert numbers(table) == [3]


def test_very_long_cells_cost_no_other_row(write) -> None:
    long = "x" * 300_000
    table = read_variants(write("list.csv", f"variant,abstract\nR175H,{long}\n{long},\nR248Q,\n"))
    assert texts(table) == ["R175H", long, "R248Q"]
    assert table.rows[0].carried["abstract"] == long
    with pytest.raises(VariantError, match="300000 characters are not a variant"):
        table.rows[1].variant(WILD_TYPE)


def test_vcf_files_belong_elsewhere(write) -> None:
    path = write("calls.vcf", "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n17\t7675088\t.\tC\tT\n")
    with pytest.raises(UsageError, match=r"is a VCF file.*annotate it with Ensembl VEP, then use"):
        read_variants(path)


def test_a_chosen_column(write) -> None:
    path = write("list.csv", "variant,change\nv1,R175H\nv2,R248Q\n")
    assert texts(read_variants(path, column="change")) == ["R175H", "R248Q"]
    assert texts(read_variants(path, column="Change")) == ["R175H", "R248Q"]
    assert read_variants(path, column="change").carried_columns == ("variant",)
    plain = write("list.txt", "what\thow\nR175H\tx\n")
    assert texts(read_variants(plain, column="what")) == ["R175H"]
    exact = write("cases.csv", "Change,change\nR1H,R2H\n")
    assert texts(read_variants(exact, column="change")) == ["R2H"]


def test_an_only_column_needs_no_name(write) -> None:
    assert texts(read_variants(write("list.csv", "my favourites\nR175H\nR248Q\n"))) == ["R175H", "R248Q"]


def test_repeated_and_nameless_columns_are_told_apart(write) -> None:
    table = read_variants(write("list.csv", "variant,score,score,,\nR175H,1,2,3,\n"))
    assert table.carried_columns == ("score", "score.1", "column_4")
    assert dict(table.rows[0].carried) == {"score": "1", "score.1": "2", "column_4": "3"}


def test_a_line_with_too_many_cells_is_refused_as_a_row(write) -> None:
    table = read_variants(write("list.csv", "variant,note\nK2A,fine\nL3A,not, fine\nL4A,good,\n"))
    assert texts(table) == ["K2A", "L3A", "L4A"]
    assert str(table.rows[0].variant(WILD_TYPE)) == "K2A"
    with pytest.raises(
        VariantError, match=r"line 3 of list\.csv has 3 cells, its header 2; put quotes around"
    ):
        table.rows[1].variant(WILD_TYPE)
    assert str(table.rows[2].variant(WILD_TYPE)) == "L4A"


def test_lines_commented_out_of_a_table(write) -> None:
    table = read_variants(write("list.csv", "variant,colour\nK2A,#ff0000\n#L3A,#00ff00\nL4A # why,x\n"))
    assert texts(table) == ["K2A", "L4A"]
    kept = read_variants(write("list.csv", "colour,variant\n#ff0000,K2A\n"))
    assert texts(kept) == ["K2A"]


cells = st.text(
    alphabet=st.characters(exclude_characters="\0\r\ufeff", exclude_categories=["Cs"]), max_size=8
)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6),
    st.sampled_from([",", "\t", ";"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_cells_come_back_as_pandas_reads_them(rows, delimiter: str, end: str, quoting: int) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(["note", "variant", "more"])
    writer.writerows(rows)
    stream = io.TextIOWrapper(io.BytesIO(buffer.getvalue().encode()), encoding="utf-8")
    if not any(cell.strip() for row in rows for cell in row):
        with pytest.raises(UsageError, match="no variants"):
            read_variants("-", stdin=stream)
        return
    table = read_variants("-", stdin=stream)
    expected = [row for row in rows if any(cell.strip() for cell in row)]
    assert [(r.carried["note"], r.text, r.carried["more"]) for r in table.rows] == [
        (note, text.strip(), more) for note, text, more in expected
    ]
    if not any("\n" in cell for row in rows for cell in row):
        frame = pd.read_csv(
            io.StringIO(buffer.getvalue()), sep=delimiter, dtype=str, keep_default_na=False,
            skip_blank_lines=False,
        )  # fmt: skip
        same = [row for row in frame.itertuples(index=False) if any(cell.strip() for cell in row)]
        assert [tuple(row.carried.values()) for row in table.rows] == [(a, c) for a, _, c in same]


# --- FASTA -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mutants.fasta", "mutants.fa", "mutants.txt", "mutants.faa"])
def test_fasta_of_mutants(write, name: str) -> None:
    content = (
        "\n>first mutant\nMALLE\nRWDNS*\n\n>deletion in an alignment\nmk-ller-dns\n>wild type\nMKLLERWDNS\n"
        ">empty\n>odd\nMKLL3RWDNS\n>\nMKLLERWDNA\n"
    )
    table = read_variants(write(name, content))
    assert texts(table) == ["first mutant", "deletion in an alignment", "wild type", "empty", "odd", ""]
    assert numbers(table) == [2, 6, 8, 10, 11, 13]
    assert table.rows[0].sequence == "MALLERWDNS"
    assert str(table.rows[0].variant(WILD_TYPE)) == "K2A"
    assert str(table.rows[1].variant(WILD_TYPE)) == "W7del"
    for row, code in zip(table.rows[2:5], ["synonymous", "bad_variant", "bad_variant"], strict=True):
        with pytest.raises(VariantError) as caught:
            row.variant(WILD_TYPE)
        assert caught.value.code == code
    assert str(table.rows[5].variant(WILD_TYPE)) == "S10A"


# --- stdin and joining -----------------------------------------------------------------------------------


def test_stdin(monkeypatch) -> None:
    table = read_variants("-", stdin=io.StringIO("R175H\n"))
    assert table.rows == (InputRow(1, "R175H", source="stdin"),)
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(b"variant,x\nR175H,1\n", mtime=0)), encoding="utf-8")
    assert dict(read_variants("-", stdin=packed).rows[0].carried) == {"x": "1"}
    monkeypatch.setattr("sys.stdin", io.StringIO("R248Q"))
    assert texts(read_variants("-")) == ["R248Q"]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="closed"):
        read_variants("-")


def test_joined_tables_share_their_columns() -> None:
    one = read_variants("-", stdin=io.StringIO("variant,a,b\nR1H,1,2\n"))
    other = read_variants("-", stdin=io.StringIO("variant,c,b\nR2H,3,4\n"))
    joined = join_tables(read_arguments(["R3H"]), one, other)
    assert joined.carried_columns == ("a", "b", "c")
    assert texts(joined) == ["R3H", "R1H", "R2H"]
    assert [dict(row.carried) for row in joined.rows] == [
        {"a": "", "b": "", "c": ""},
        {"a": "1", "b": "2", "c": ""},
        {"a": "", "b": "4", "c": "3"},
    ]
    assert [row.source for row in joined.rows] == ["arguments", "stdin", "stdin"]


def test_rows_are_read_as_canonical_variants() -> None:
    assert str(InputRow(1, "P12345:p.Leu3del").variant(WILD_TYPE)) == "L4del"
    with pytest.raises(VariantError) as caught:
        InputRow(1, "A2W").variant(WILD_TYPE)
    assert caught.value.code == "wild_type_mismatch"


# --- what cannot be read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.txt", "", "contains no variants"),
        ("blank.csv", "\n \n", "contains no variants"),
        ("comments.txt", "# R175H\n", "contains no variants"),
        ("header.csv", "variant,score\n", "a header but no variants"),
        ("book.xlsx", b"PK\x03\x04rest", "Excel workbook"),
        ("book.xls", b"\xd0\xcf\x11\xe0rest", "old Excel"),
        ("table.parquet", b"PAR1rest", "Parquet"),
        ("list.txt", b"R175H\0\n", "not text"),
        ("list.csv", b"variant,note\nR175H,ok\nR248Q,\xb5M\n", "not UTF-8 text (byte 0xb5 in line 3)"),
        ("list.txt.gz", gzip.compress(b"R175H\n" * 100, mtime=0)[:-12], "damaged gzip file"),
        ("list.csv", "id,value\n1,2\n", "no column is called 'variant', 'mutant' or the like"),
        ("list.csv", "R175H,1\nR248Q,2\n", "expected a header"),
        ("list.csv", "variant,x,variant\nR1H,2,R3H\n", "several columns 'variant'"),
        ("list.csv", 'variant,x\nR1H,1\nR2H,"open\nR3H,3\n', "line 3: cannot be split"),
        ("list.csv", 'variant,x\nR1H,"a"b\n', "line 2: cannot be split"),
        ("list.fasta", "R175H\n", "expected a title"),
        ("list.fasta", "# nothing\n; here\n;\n", "no FASTA record"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(write, name: str, content: str | bytes, words: str) -> None:
    path = write(name, content)
    with pytest.raises(UsageError) as caught:
        read_variants(path)
    assert words in caught.value.message
    assert name in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_missing_column_names_those_there_are(write) -> None:
    path = write("list.csv", "id,change,score\n1,R175H,2\n")
    with pytest.raises(UsageError, match=r"no column 'mut'; its columns are 'id', 'change', 'score'"):
        read_variants(path, column="mut")
    with pytest.raises(UsageError, match="is FASTA"):
        read_variants(write("list.fa", ">a\nMK\n"), column="mut")
    wide = write("wide.csv", ",".join(f"c{i}" for i in range(500)) + "\n" + "1," * 499 + "1\n")
    with pytest.raises(UsageError) as caught:
        read_variants(wide, column="mut")
    assert len(caught.value.message) < 400


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_variants(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a folder"):
        read_variants(tmp_path)


def test_stdin_that_is_not_text() -> None:
    latin = io.TextIOWrapper(io.BytesIO(b"R175H # \xb5\n"), encoding="utf-8")
    with pytest.raises(UsageError, match="stdin: is not UTF-8"):
        read_variants("-", stdin=latin)


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_with_words(tmp_path: Path, data: bytes) -> None:
    for name in ("any", "any.csv", "any.fasta"):
        path = tmp_path / name
        path.write_bytes(data)
        try:
            table = read_variants(path)
        except UsageError as error:
            words = error.message
        else:
            words = f"{name} was read"
            assert table.rows
        assert name in words


# --- reference data --------------------------------------------------------------------------------------


def test_reference_tables(shared: Path) -> None:
    folder = shared / "data" / "variants"
    labelled = read_variants(folder / "labelled_variants.csv.gz")
    frame = pd.read_csv(folder / "labelled_variants.csv.gz", dtype=str, keep_default_na=False)
    assert texts(labelled) == frame["variant"].tolist()
    assert labelled.carried_columns == tuple(column for column in frame.columns if column != "variant")
    assert [row.carried["source"] for row in labelled.rows] == frame["source"].tolist()
    assert texts(read_variants(folder / "ssym_pairs.csv"))[0] == "C180Y"


def test_two_known_columns_that_differ_are_asked_about(write) -> None:
    path = write("list.csv", "mutation,variant\nW15A,R9G\n")
    with pytest.raises(UsageError, match=r"several columns may hold the variants: .*'mutation'"):
        read_variants(path)
    assert texts(read_variants(path, column="mutation")) == ["W15A"]
    same = write("same.csv", "mutation,variant\np.Trp15Ala,W15A\n")
    assert len(read_variants(same).rows) == 1
