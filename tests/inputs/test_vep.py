import gzip
import io

import pytest

from mutscan.errors import UsageError, VariantError
from mutscan.inputs import ProteinTable, read_protein_table
from mutscan.variants import parse_variant

VEP_FIELDS = (
    "Allele|Consequence|IMPACT|SYMBOL|Gene|Feature_type|Feature|BIOTYPE|EXON|INTRON|HGVSc|HGVSp|cDNA_position|"
    "CDS_position|Protein_position|Amino_acids|Codons|Existing_variation|DISTANCE|STRAND|FLAGS|SYMBOL_SOURCE|"
    "HGNC_ID|ENSP|SWISSPROT|TREMBL|UNIPARC|UNIPROT_ISOFORM"
)


def annotation(fields: str = VEP_FIELDS, **values: str) -> str:
    return "|".join(values.get(field, "") for field in fields.split("|"))


def vcf(*lines: str, fields: str = VEP_FIELDS, key: str = "CSQ") -> str:
    return "\n".join(
        [
            "##fileformat=VCFv4.2",
            '##VEP="v110" time="2024-01-01 10:00:00" cache="homo_sapiens/110_GRCh38"',
            f'##INFO=<ID={key},Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. '
            f'Format: {fields}">',
            '##INFO=<ID=AC,Number=A,Type=Integer,Description="Allele count">',
            "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS1",
            *lines,
            "",
        ]
    )


def vcf_line(place: str, ref: str, alt: str, *annotations: str, key: str = "CSQ") -> str:
    info = f"AC=1;{key}={','.join(annotations)};AN=2" if annotations else "AC=1"
    return f"17\t{place}\t.\t{ref}\t{alt}\t50\tPASS\t{info}\tGT\t0/1"


CANONICAL = {
    "SYMBOL": "TP53", "Feature": "ENST00000269305", "HGVSc": "ENST00000269305.9:c.524G>A",
    "ENSP": "ENSP00000269305", "SWISSPROT": "P04637.312", "UNIPROT_ISOFORM": "P04637-1",
}  # fmt: skip
SECOND = {"SYMBOL": "TP53", "Feature": "ENST00000420246", "ENSP": "ENSP00000391127"}
FOUR_LINES = (
    vcf_line(
        "7675088", "C", "A,T",
        annotation(Allele="T", HGVSp="ENSP00000269305.4:p.Arg175His", **CANONICAL),
        annotation(Allele="A", HGVSp="ENSP00000269305.4:p.Arg175Leu", **CANONICAL),
        annotation(Allele="T", HGVSp="ENSP00000391127.2:p.Arg175His", UNIPROT_ISOFORM="P04637-2", **SECOND),
        annotation(Allele="T", Consequence="upstream_gene_variant", Feature="ENST00000571370"),
    ),
    vcf_line("7675000", "C", "G", annotation(Consequence="intron_variant", Feature="ENST00000269305")),
    vcf_line(
        "7674220", "C", "T",
        annotation(HGVSp="ENSP00000269305.4:p.Arg248%3D", SWISSPROT="P04637.312"),
        annotation(HGVSp="ENSP00000391127.2:p.Arg248Gln", TREMBL="A0A087WXZ1.80&H2EHT1.77"),
        annotation(HGVSp="ENSP00000398846.2:p.Arg248Gln"),
        annotation(HGVSp="ENSP00000398846.2:p.Arg248Gln", Feature="ENST00000455263"),
    ),
    vcf_line("7670000", "C", "T"),
)  # fmt: skip


def pairs(table: ProteinTable) -> list[tuple[str, str]]:
    return [(row.protein, row.row.text) for row in table.rows]


@pytest.mark.parametrize(
    "data",
    [
        vcf(*FOUR_LINES).encode(),
        vcf(*FOUR_LINES).replace("\n", "\r\n").encode(),
        b"\xef\xbb\xbf" + vcf(*FOUR_LINES).encode(),
        gzip.compress(vcf(*FOUR_LINES).encode(), mtime=0),
        # bgzip writes many members
        b"".join(gzip.compress(line.encode() + b"\n", mtime=0) for line in vcf(*FOUR_LINES).splitlines()),
    ],
    ids=["plain", "crlf", "bom", "gz", "bgzip"],
)
def test_vep(write, data: bytes) -> None:
    table = read_protein_table(write("calls.vcf", data))
    assert pairs(table) == [
        ("P04637-1", "17:7675088 C>A,T ENSP00000269305.4:p.Arg175His"),
        ("P04637-1", "17:7675088 C>A,T ENSP00000269305.4:p.Arg175Leu"),
        ("P04637-2", "17:7675088 C>A,T ENSP00000391127.2:p.Arg175His"),
        ("P04637", "17:7674220 C>T ENSP00000269305.4:p.Arg248="),
        ("A0A087WXZ1", "17:7674220 C>T ENSP00000391127.2:p.Arg248Gln"),
        ("ENSP00000398846.2", "17:7674220 C>T ENSP00000398846.2:p.Arg248Gln"),
    ]
    assert [row.row.number for row in table.rows] == [6, 6, 6, 8, 8, 8]
    assert dict(table.rows[0].row.carried) == {
        "CHROM": "17", "POS": "7675088", "ID": ".", "REF": "C", "ALT": "A,T", "Consequence": "",
        "SYMBOL": "TP53", "Feature": "ENST00000269305", "HGVSc": "ENST00000269305.9:c.524G>A",
        "HGVSp": "ENSP00000269305.4:p.Arg175His",
    }  # fmt: skip
    assert table.carried_columns == tuple(table.rows[0].row.carried)
    assert (
        "VCF file annotated by VEP, 6 rows; proteins in UNIPROT_ISOFORM or SWISSPROT or TREM" in table.words
    )
    assert "(4 lines, 9 annotations, 2 of them without a protein change)" in table.words
    codes = []
    for _, text in pairs(table):
        try:
            codes.append(str(parse_variant(text)))
        except VariantError as error:
            codes.append(error.code)
    assert codes == ["R175H", "R175L", "R175H", "synonymous", "R248Q", "R248Q"]


def test_vep_fields_in_another_order_and_under_another_key(write) -> None:
    fields = "HGVSp|Feature|Allele"
    line = vcf_line("5", "C", "T", annotation(fields, HGVSp="NP_000537.3:p.Arg175His"), key="vep")
    table = read_protein_table(write("gnomad.vcf", vcf(line, fields=fields, key="vep")))
    assert pairs(table) == [("NP_000537.3", "17:5 C>T NP_000537.3:p.Arg175His")]
    assert "proteins in HGVSp" in table.words


def test_vep_fields_that_are_named(write) -> None:
    path = write("calls.vcf", vcf(*FOUR_LINES))
    assert pairs(read_protein_table(path, protein_column="symbol"))[0][0] == "TP53"
    assert pairs(read_protein_table(path, protein_column="SWISSPROT"))[0][0] == "P04637"
    with pytest.raises(UsageError, match="VEP gave no field 'MANE'; its fields are 'Allele'"):
        read_protein_table(path, protein_column="MANE")


HEADER_ONLY = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (HEADER_ONLY + "1\t5\t.\tA\tG\t.\t.\tAC=1\n", "without annotations of Ensembl VEP (CSQ); run VEP as"),
        (HEADER_ONLY, "--vcf --hgvs --symbol --uniprot --protein"),
        ("#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t5\t.\tA\tG\t.\t.\tAC=1\n", "without annotations"),
        (vcf(), "no annotation has a protein change (0 lines, 0 annotations)"),
        (vcf(FOUR_LINES[1]), "no annotation has a protein change (1 lines, 1 annotations)"),
        (vcf(fields="Allele|SYMBOL"), "VEP gave no field 'HGVSp'"),
        (vcf("17\t5\t.\tA"), "line 6: has 4 columns, expected at least 8"),
        (vcf(vcf_line("5", "A", "G", "a|b")), "line 6: an annotation has 2 fields, 28 according"),
        (vcf(FOUR_LINES[0]).encode() + b"\xb5", "not UTF-8 text (byte 0xb5)"),
        (gzip.compress(vcf(*FOUR_LINES).encode(), mtime=0)[:-12], "damaged gzip file"),
    ],
)  # fmt: skip
def test_vcf_files_that_cannot_be_used(write, content: str | bytes, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_protein_table(write("calls.vcf", content))
    assert words in caught.value.message
    assert caught.value.message.startswith("calls.vcf")
    assert "\n" not in caught.value.message


def test_vep_from_stdin() -> None:
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(vcf(*FOUR_LINES).encode(), mtime=0)), encoding="utf-8")
    assert len(read_protein_table("-", stdin=packed).rows) == 6
