import gzip
import io
import tracemalloc
from pathlib import Path

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from mutscan.errors import UsageError, VariantError
from mutscan.inputs import ProteinTable, read_protein_table
from mutscan.variants import parse_variant


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


# --- the usual sources -----------------------------------------------------------------------------------
# Headers and rows as the sources give them, shortened to a few rows.

ALPHAMISSENSE_GENOME = (
    "# Copyright 2023 DeepMind Technologies Limited\n#\n# Licensed under CC BY-NC-SA 4.0 license\n"
    "#CHROM\tPOS\tREF\tALT\tgenome\tuniprot_id\ttranscript_id\tprotein_variant\tam_pathogenicity\tam_class\n"
    "chr1\t69094\tG\tT\thg38\tQ8NH21\tENST00000335137.4\tV2L\t0.2937\tlikely_benign\n"
    "chr1\t69095\tT\tC\thg38\tQ8NH21\tENST00000335137.4\tV2A\t0.2609\tlikely_benign\n"
)
ALPHAMISSENSE_PROTEIN = (
    "# Copyright 2023 DeepMind Technologies Limited\n#\n# Licensed under CC BY-NC-SA 4.0 license\n"
    "uniprot_id\tprotein_variant\tam_pathogenicity\tam_class\n"
    "A0A024R1R8\tM1A\t0.4673\tambiguous\nP04637\tR175H\t0.9818\tpathogenic\n"
)


@pytest.mark.parametrize(
    "pack", [str.encode, lambda text: gzip.compress(text.encode(), mtime=0)], ids=["plain", "gz"]
)
def test_alphamissense(write, pack) -> None:
    genome = read_protein_table(write("AlphaMissense_hg38.tsv.gz", pack(ALPHAMISSENSE_GENOME)))
    assert pairs(genome) == [("Q8NH21", "V2L"), ("Q8NH21", "V2A")]
    assert genome.rows[0].row.number == 5
    assert genome.rows[0].row.carried["POS"] == "69094"
    assert "AlphaMissense table, 2 rows; proteins in column 'uniprot_id'" in genome.words
    protein = read_protein_table(write("AlphaMissense_aa_substitutions.tsv.gz", pack(ALPHAMISSENSE_PROTEIN)))
    assert pairs(protein) == [("A0A024R1R8", "M1A"), ("P04637", "R175H")]
    assert protein.carried_columns == ("uniprot_id", "am_pathogenicity", "am_class")


MAVISP = (
    "Mutation,HGVSp,HGVSg,gnomAD genome allele frequency,gnomAD exome allele frequency,REVEL score,"
    'Mutation sources,Pfam domain classification,"Stability (FoldX5, xray, kcal/mol)"\n'
    "W86A,NP_000534:p.Trp86Ala,,,,,saturation,,0.46228\n"
    'W86C,NP_000534:p.Trp86Cys,"hg19,11:g.6412086G>T, hg38,11:g.6390856G>T",,,0.703,'
    '"cBioPortal,COSMIC,saturation",,0.2465\n'
)


def test_mavisp(write) -> None:
    path = write("SMPD1-simple_mode.csv", MAVISP)
    table = read_protein_table(path)
    assert pairs(table) == [("SMPD1", "W86A"), ("SMPD1", "W86C")]
    assert "MAVISp table, 2 rows; protein SMPD1 by the file's name, variants in column 'Mut" in table.words
    assert table.rows[1].row.carried["Mutation sources"] == "cBioPortal,COSMIC,saturation"
    assert pairs(read_protein_table(path, target="P17405"))[0] == ("P17405", "W86A")
    with pytest.raises(UsageError, match="does not say which protein"):
        read_protein_table(write("mavisp.csv", MAVISP))
    several = write(
        "all.csv", MAVISP.replace("\nW", "\nSMPD1,W").replace("Mutation,", "Protein,Mutation,", 1)
    )
    assert pairs(read_protein_table(several)) == [("SMPD1", "W86A"), ("SMPD1", "W86C")]


MAVEDB = (
    "accession,hgvs_nt,hgvs_splice,hgvs_pro,score\n"
    "urn:mavedb:00000068-a-1#1,NA,NA,p.Ala2Cys,0.5\n"
    "urn:mavedb:00000068-a-1#2,NA,NA,p.Ala2=,0.1\n"
    "urn:mavedb:00000068-a-1#3,NA,NA,p.=,0\n"
    "urn:mavedb:00000068-a-1#4,NA,NA,_wt,0\n"
    "urn:mavedb:00000068-a-1#5,c.6A>G,NA,_sy,0\n"
    "urn:mavedb:00000068-a-1#6,c.4G>T,NA,NA,0.3\n"
    "urn:mavedb:00000068-a-1#7,NA,NA,p.[Ala2Cys;Gly3Val],-2.5\n"
    "urn:mavedb:00000068-a-1#8,NA,NA,p.Ala2Ter,-3\n"
    "urn:mavedb:00000068-a-1#9,NA,NA,p.[Ala2Cys;Gly3=],-1\n"
)


def test_mavedb(write) -> None:
    path = write("urn_mavedb_00000068-a-1_scores.csv", MAVEDB)
    table = read_protein_table(path, target="P04637")
    assert {row.protein for row in table.rows} == {"P04637"}
    assert table.carried_columns == ("accession", "hgvs_nt", "hgvs_splice", "score")
    assert "MaveDB score set, 9 rows; protein P04637, variants in column 'hgvs_pro'" in table.words
    outcomes = []
    for row in table.rows:
        try:
            outcomes.append(str(row.row.variant("MAGK")))
        except VariantError as error:
            outcomes.append(error.code)
    assert outcomes == [
        "A2C", "synonymous", "synonymous", "synonymous", "synonymous", "unsupported_variant", "A2C;G3V",
        "unsupported_variant", "A2C",
    ]  # fmt: skip
    assert "names no change of the protein: read 'NA'" in table.rows[5].row.problem
    with pytest.raises(UsageError, match=r"does not say which protein .*--sequences"):
        read_protein_table(path)


def test_mavedb_with_identifiers_before_the_variants(write) -> None:
    one = MAVEDB.replace("p.Ala2Cys,", "NP_000537.3:p.Ala2Cys,")
    table = read_protein_table(write("one.csv", one), target="P04637")
    assert pairs(table)[:2] == [("P04637", "NP_000537.3:p.Ala2Cys"), ("P04637", "p.Ala2=")]
    assert pairs(read_protein_table(write("one.csv", one)))[0][0] == "NP_000537.3"
    two = one.replace("p.Ala2Ter", "NP_009225.1:p.Ala2Ter")
    proteins = [row.protein for row in read_protein_table(write("two.csv", two), target="P04637").rows]
    assert proteins[0] == "NP_000537.3"
    assert proteins[7] == "NP_009225.1"


def test_proteingym(write) -> None:
    path = write(
        "CCDB_ECOLI_Tripathi_2016.csv",
        "mutant,mutated_sequence,DMS_score,DMS_score_bin\n"
        "M1A,AQFK,-6.0,0\nQ2A:K4R,MAFR,-2.0,1\nMQAFKAAAAAAAAAAAAAAAAAAAA,MQAFKAAAAAAAAAAAAAAAAAAAA,1,1\n",
    )
    table = read_protein_table(path, target="CCDB_ECOLI")
    assert pairs(table)[:2] == [("CCDB_ECOLI", "M1A"), ("CCDB_ECOLI", "Q2A:K4R")]
    assert str(table.rows[1].row.variant("MQFK")) == "Q2A;K4R"
    assert str(table.rows[2].row.variant("MQFKAAAAAAAAAAAAAAAAAAAA")) == "Q2_F3insA"
    assert "ProteinGym assay, 3 rows; protein CCDB_ECOLI" in table.words
    with pytest.raises(UsageError, match="does not say which protein"):
        read_protein_table(path)
    with pytest.raises(UsageError, match="list of assays and holds no variants"):
        read_protein_table(
            write("DMS_substitutions.csv", "DMS_id,DMS_filename,UniProt_ID,target_seq\nA,A.csv,P1,MK\n")
        )


CLINVAR = (
    "#AlleleID\tType\tName\tGeneID\tGeneSymbol\tHGNC_ID\tClinicalSignificance\n"
    "15041\tIndel\tNM_014855.3(AP5Z1):c.80_83delinsTGCTGTAAACTGTAACTGTAAA (p.Arg27_Ile28delinsLeuLeuTer)\t"
    "9907\tAP5Z1\tHGNC:22197\tPathogenic\n"
    "15045\tsingle nucleotide variant\tNM_017547.4(FOXRED1):c.1289A>G (p.Asn430Ser)\t55572\tFOXRED1\t"
    "HGNC:26927\tPathogenic\n"
    "27390\tsingle nucleotide variant\tNM_000546.6(TP53):c.524G>A (p.Arg175His)\t7157\tWRAP53;TP53\t"
    "HGNC:11998\tPathogenic\n"
    "99\tsingle nucleotide variant\tNM_000546.6(TP53):c.375+1G>A\t7157\tTP53\tHGNC:11998\tPathogenic\n"
    "98\tDeletion\tNC_000017.11:g.(?_7668402)_(7687538_?)del\t-1\t-\t-\tPathogenic\n"
)


def test_clinvar(write) -> None:
    table = read_protein_table(write("variant_summary.txt", CLINVAR))
    assert [row.protein for row in table.rows] == ["AP5Z1", "FOXRED1", "TP53", "TP53", "NC_000017.11"]
    assert table.rows[1].row.text == "NM_017547.4(FOXRED1):c.1289A>G (p.Asn430Ser)"
    assert str(parse_variant(table.rows[2].row.text)) == "R175H"
    assert "ClinVar table, 5 rows; proteins in column 'GeneSymbol', variants in column 'Name'" in table.words


def test_clinvar_names_without_a_column_of_proteins(write) -> None:
    table = read_protein_table(
        write(
            "names.csv",
            "Name\nNM_000546.6(TP53):c.524G>A (p.Arg175His)\nNM_000059.4:c.7397T>C (p.Val2466Ala)\n",
        )
    )
    assert [row.protein for row in table.rows] == ["TP53", "NM_000059.4"]


def test_a_column_called_name_is_not_taken_otherwise(write) -> None:
    with pytest.raises(UsageError, match="no column is called 'variant'"):
        read_protein_table(write("list.csv", "protein,name\nP04637,R175H\n"))


# --- spreadsheets and other damage -----------------------------------------------------------------------

SHEET = "gene;variant;note\nTP53;R175H;ü\nBRCA1;C61G;\n"


@pytest.mark.parametrize(
    "data",
    [
        SHEET.encode(),
        b"\xef\xbb\xbf" + SHEET.encode(),
        SHEET.encode("utf-16"),
        SHEET.replace("\n", "\r\n").replace(";", "\t").encode("utf-16"),
        SHEET.replace("\n", ";;\r\n").encode(),
        gzip.compress(SHEET.encode(), mtime=0),
    ],
    ids=["semicolons", "bom", "utf16", "unicode-text", "trailing", "gz"],
)
def test_tables_as_spreadsheets_write_them(write, data: bytes) -> None:
    table = read_protein_table(write("list.csv", data))
    assert pairs(table) == [("TP53", "R175H"), ("BRCA1", "C61G")]
    assert table.carried_columns == ("gene", "note")
    assert table.rows[0].row.carried["note"] == "ü"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("2-Mar", "a date"), ("1-Sep", "a date"), ("01-Sep-2024", "a date"), ("Mar-01", "a date"),
        ("2.Mrz", "a date"), ("2006/09/02", "a date"), ("2024-03-01 00:00:00", "a date"),
        ("3/1/2024", "a date"), ("01.03.2024", "a date"), ("2.31E+13", "a rounded number"),
        ("2,31E+13", "a rounded number"), ("02. Mrz", "a date"),
        ("#NAME?", "a spreadsheet's error"), ("44256", "the number of a day"),
        ("44256.0", "the number of a day"),
    ],
)  # fmt: skip
def test_what_spreadsheets_make_of_names_is_refused(write, cell: str, words: str) -> None:
    table = read_protein_table(write("list.tsv", f"variant\tgene\nR175H\tTP53\nR1H\t{cell}\n"))
    assert table.rows[0].row.problem is None
    problem = table.rows[1].row.problem
    assert f"line 3 of list.tsv: the protein {cell!r} is {words}" in problem
    with pytest.raises(VariantError, match="restore the name"):
        table.rows[1].row.variant("R")
    with pytest.raises(UsageError, match="no line can be used"):
        read_protein_table(write("list.tsv", "variant\tgene\nR175H\t2-Mar\nR1H\t1-Sep\n"))


@pytest.mark.parametrize(
    "cell",
    ["SEPTIN2", "MARCHF1", "1MAR_A", "7157", "DEC1", "Q9NVA2-2", "pdb:1E05:A", "NM_000546.6", "2310009E13"],
)
def test_names_that_only_look_like_dates(write, cell: str) -> None:
    table = read_protein_table(write("list.csv", f"protein,variant\nTP53,R1H\n{cell},R1H\n"))
    assert table.rows[1].row.problem is None
    assert table.rows[1].protein == cell


def test_proteins_called_by_numbers(write) -> None:
    table = read_protein_table(write("list.csv", "protein,variant\n44256,R1H\n1,R1H\n"))
    assert pairs(table) == [("44256", "R1H"), ("1", "R1H")]
    assert [row.row.problem for row in table.rows] == [None, None]


def test_a_date_in_the_column_of_variants(write) -> None:
    table = read_protein_table(write("list.csv", "protein,variant\nP04637,R175H\nP04637,2-Mar\n"))
    assert "the variant '2-Mar' is a date" in table.rows[1].row.problem


def test_a_bad_line_costs_its_row_only(write) -> None:
    table = read_protein_table(
        write(
            "list.csv",
            "protein,variant,note\nP04637,R175H,a, b\n,R248Q,\nP04637,,x\nP04637,what?,\n,TP53:p.R1H,\n",
        )
    )
    problems = [row.row.problem or "" for row in table.rows]
    assert "line 2 of list.csv has 4 cells, its header 3" in problems[0]
    assert "line 3 of list.csv names no protein" in problems[1]
    assert "line 4 of list.csv names no change" in problems[2]
    assert problems[3:] == ["", ""]
    assert [row.protein for row in table.rows] == ["P04637", "", "P04637", "P04637", "TP53"]
    lines = read_protein_table(write("list.txt", "P04637:p.R175H\nR248Q\nP04637 R249S\n"))
    assert "line 2 of list.txt names no protein" in lines.rows[1].row.problem
    assert [row.protein for row in lines.rows] == ["P04637", "", "P04637"]


def test_an_identifier_before_the_variant_does_not_matter(write) -> None:
    table = read_protein_table(
        write("list.csv", "uniprot,hgvsp\nP04637,ENSP00000269305.4:p.Arg175His\nP04637,p.Arg248Gln\n")
    )
    assert pairs(table)[0] == ("P04637", "ENSP00000269305.4:p.Arg175His")
    assert [row.row.problem for row in table.rows] == [None, None]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", "", "contains no variants; expected a table with the columns protein and variant"),
        ("comments.csv", "# nothing\n", "contains no variants"),
        ("header.csv", "protein,variant\n", "a header but no variants"),
        ("proteins.fasta", ">P04637\nMEEP\n", "is FASTA; .* sequences go in with --sequences"),
        ("book.xlsx", b"PK\x03\x04rest", "is an Excel workbook .* save it as CSV"),
        ("list.csv", "protein,score\nP04637,1\n", "no column is called 'variant'"),
        ("list.csv", "P04637,R175H\nP04637,R248Q\n", "add one, such as 'protein,variant'"),
        (
            "list.csv",
            "gene,symbol,variant\nTP53,TP53,R1H\n",
            "several columns .* 'gene', 'symbol'; name the one",
        ),
        ("list.csv", "protein,variant\nNA,R175H\n", "does not say which protein"),
    ],
)
def test_files_that_cannot_be_read(write, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_protein_table(write(name, content))
    assert caught.value.message.startswith(name)
    assert "\n" not in caught.value.message


def test_one_column_cannot_be_both(write) -> None:
    with pytest.raises(UsageError, match="cannot hold both"):
        read_protein_table(write("list.csv", "protein,variant\nP04637,R1H\n"), protein_column="variant")


@given(st.binary(max_size=200), st.sampled_from([b"", b"##fileformat=VCF\n", b"protein,variant\n"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused_with_words(tmp_path: Path, data: bytes, before: bytes) -> None:
    path = tmp_path / "any.csv"
    path.write_bytes(before + data)
    try:
        table = read_protein_table(path)
    except UsageError as error:
        words = error.message
    else:
        words = table.words
        assert all(row.protein or row.row.problem for row in table.rows)
    assert "any.csv" in words


def test_stdin() -> None:
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(SHEET.encode(), mtime=0)), encoding="utf-8")
    assert len(read_protein_table("-", stdin=packed).rows) == 2
    assert pairs(read_protein_table("-", stdin=io.StringIO("P04637:p.R175H\n"))) == [
        ("P04637", "P04637:p.R175H")
    ]


def test_a_large_table_is_read_in_little_memory(write) -> None:
    rows = 50_000
    text = "uniprot_id,protein_variant,score,a,b,c,d\n" + "".join(
        f"P{i % 5000:05d},A{i % 900 + 1}C,0.{i},left,right,{i},\n" for i in range(rows)
    )
    path = write("large.csv", text)
    tracemalloc.start()
    table = read_protein_table(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(table.rows) == rows
    assert table.rows[-1].row.carried["c"] == str(rows - 1)
    assert peak / rows < 800  # bytes; a dict of the cells alone takes about as much


def test_labelled_variants(shared: Path) -> None:
    path = shared / "data" / "variants" / "labelled_variants.csv.gz"
    table = read_protein_table(path)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert pairs(table) == list(zip(frame["protein"], frame["variant"], strict=True))
    assert all(row.row.problem is None for row in table.rows)
