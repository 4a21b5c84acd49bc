"""Which protein and which residues the rows of a list mean: numberings, shifts, names of proteins."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gemmi
import pytest

from mutscan.errors import ROW_CODES, UsageError
from mutscan.inputs import InputRow, InputTable, read_arguments
from mutscan.pipeline.identity import Identity
from mutscan.pipeline.numbering import FileNumbers
from mutscan.pipeline.plan import Plan, make_plan, resolve_wild_type
from mutscan.structures import WildType
from mutscan.variants import parse_variant
from tests.places import GLOBIN

WILD_TYPE = str(GLOBIN / "wild_type.cif")  # position 1 is residue 5 of the file


@pytest.fixture(scope="module")
def globin() -> WildType:
    return resolve_wild_type(WILD_TYPE, offline=True)


def planned(wild_type: WildType, texts: Sequence[str], **options: object) -> Plan:
    return make_plan(wild_type, read_arguments(texts), **options)  # type: ignore[arg-type]


def outcome(plan: Plan) -> list[str]:
    return [str(row.variant) if row.error is None else row.error.code for row in plan.rows]


@pytest.fixture(scope="module")
def renumbered(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., WildType]:
    """The globin with other residue numbers in its file."""

    def make(number: Callable[[int], tuple[int, str]], name: str = "other") -> WildType:
        structure = gemmi.read_structure(WILD_TYPE)
        structure.setup_entities()
        for place, residue in enumerate(structure[0][0], start=1):
            residue.seqid = gemmi.SeqId(*number(place))
        path = tmp_path_factory.mktemp("renumbered") / f"{name}.pdb"
        structure.write_pdb(str(path))
        return resolve_wild_type(str(path), offline=True)

    return make


# --- the numbers of a structure file ---------------------------------------------------------------------


def test_author_numbers_are_the_file_s(globin: WildType) -> None:
    plan = planned(globin, ["L42D", "H101A", "p.Ile18Val", "E14K;K148E"], numbering="author")
    assert outcome(plan) == ["L38D", "H97A", "I14V", "E10K;K144E"]
    numbers = FileNumbers.of(globin)
    told = [numbers.told(row.variant) for row in plan.rows if row.variant is not None]
    assert told[0] == "residue 42 of the file is position 38"
    assert told[3] == "residues 14 and 148 of the file are positions 10 and 144"


def test_author_numbers_that_do_not_fit_are_told_in_both_numberings(globin: WildType) -> None:
    wrong, absent = planned(globin, ["W42D", "L1D"], numbering="author").rows
    assert wrong.error is not None
    assert wrong.error.code == "wild_type_mismatch"
    assert wrong.error.message == (
        "W42D: expected W at residue 42 (as written), the wild type has L; check the numbering and the "
        "isoform; residue 42 of the file is position 38"
    )
    assert absent.error is not None
    assert absent.error.code == "position_out_of_range"
    assert "1 is no residue number of the structure file; they go from 5 to 151" in absent.error.message


def test_insertion_codes(renumbered: Callable[..., WildType], globin: WildType) -> None:
    """Residues 30, 31 and 32 of the globin are 30, 30A and 30B of the file."""
    other = renumbered(lambda p: (min(p, 30), " AB"[p - 30]) if 30 <= p <= 32 else (p - 2 * (p > 32), " "))
    letters = globin.sequence[29:33]
    texts = [f"{letters[0]}30W", f"{letters[1]}30aW", f"{letters[2]}30BW", f"{letters[3]}31W"]
    assert outcome(planned(other, texts, numbering="author")) == [
        f"{letter}{p}W" for p, letter in enumerate(letters, start=30)
    ]
    told = FileNumbers.of(other).told(parse_variant(f"{letters[1]}31W"))
    assert told == "residue 30A of the file is position 31"


def test_numbers_in_a_gap_follow_where_its_ends_agree(globin: WildType) -> None:
    assert globin.structure_index is not None
    index = globin.structure_index.copy()
    index[36:39] = -1
    assert outcome(planned(replace(globin, structure_index=index), ["L42D"], numbering="author")) == ["L38D"]


def test_author_numbers_need_a_structure() -> None:
    with pytest.raises(UsageError, match="--numbering author needs a structure") as caught:
        planned(WildType("p", "MKLLE"), ["K2A"], numbering="author")
    assert caught.value.code in ROW_CODES


def test_a_row_that_reads_both_ways_says_so(renumbered: Callable[..., WildType], globin: WildType) -> None:
    """Numbered with gaps, as chymotrypsin: S195A means another serine in the file's numbers."""
    first, *_, last = (place for place, letter in enumerate(globin.sequence, start=1) if letter == "S")
    other = renumbered(lambda p: (p, " ") if p < first else (p + last - first, " "))
    (row,) = planned(other, [f"S{last}A"]).rows
    assert str(row.variant) == f"S{last}A"
    assert not row.doubt
    assert row.notes[-1] == (
        f"read as position {last}, but the file's own residue {last} is also S (position {first}): use "
        "--numbering author for the file's numbers"
    )
    (row,) = planned(other, [f"S{last}A"], numbering="author").rows
    assert str(row.variant) == f"S{first}A"
    assert row.notes == ()
    assert FileNumbers.of(other).told(row.variant) == f"residue {last} of the file is position {first}"


def test_equal_numbers_need_no_note(renumbered: Callable[..., WildType]) -> None:
    (row,) = planned(renumbered(lambda p: (p, " ")), ["L38D"]).rows
    assert row.notes == ()


# --- shifted lists ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_file_numbers(globin: WildType) -> list[str]:
    """Eleven variants whose numbers are positions + 4, three of which match as positions, too."""
    sequence = globin.sequence
    places = range(1, len(sequence) - 3)
    chance = [p for p in places if sequence[p - 1] == sequence[p + 3] != "A"][:3]
    others = [p for p in places if sequence[p - 1] != sequence[p + 3] and sequence[p - 1] != "A"][:24:3]
    return [f"{sequence[p - 1]}{p + 4}A" for p in (*others, *chance)]


def test_rows_that_match_by_chance_in_a_shifted_list_are_doubtful(
    globin: WildType, in_file_numbers: list[str]
) -> None:
    plan = planned(globin, in_file_numbers)
    good = [row for row in plan.rows if row.error is None]
    bad = [row for row in plan.rows if row.error is not None]
    assert [row.source.text for row in good] == in_file_numbers[-3:]
    assert all(row.doubt for row in good)
    assert all(row.doubt.startswith("matches as written, but perhaps by chance") for row in good)
    assert all("--numbering author" in row.error.message for row in bad if row.error)
    assert all("shifted by -4" in row.error.message for row in bad if row.error)
    strict = planned(globin, in_file_numbers, strict=True)
    assert set(outcome(strict)) == {"wild_type_mismatch"}
    fitting = planned(globin, in_file_numbers, numbering="author", strict=True)
    assert "wild_type_mismatch" not in outcome(fitting)
    assert not any(row.doubt for row in fitting.rows)


PRECURSOR = "MKALWLLLLLCVLLVSSVQAAQATEVKRWGHPFYNCIMSTEEQLKDAPRV"


def mature(*positions: int, start: int = 20) -> list[str]:
    """Substitutions numbered on the mature chain."""
    chain = PRECURSOR[start:]
    return [f"{chain[p - 1]}{p}{'G' if chain[p - 1] != 'G' else 'W'}" for p in positions]


def test_mature_numbers_on_a_precursor() -> None:
    wild_type = WildType("p", PRECURSOR)
    chance = next(
        p for p in range(1, 30) if PRECURSOR[19 + p] == PRECURSOR[p - 1] and PRECURSOR[p - 1] != "G"
    )
    texts = mature(2, 4, 5, 7, 8, chance)
    plan = planned(wild_type, texts)
    assert outcome(plan)[:-1] == ["wild_type_mismatch"] * 5
    assert all("shifted by +20" in row.error.message for row in plan.rows if row.error)
    assert plan.rows[-1].doubt
    assert outcome(planned(wild_type, texts, strict=True)) == ["wild_type_mismatch"] * 6


def test_unrelated_rows_do_not_hide_a_shift() -> None:
    """Four rows in mature numbering beside rows of another protein, an unreadable one and a named one."""
    wild_type = WildType("p", PRECURSOR, identifiers={"accession": "P04637"})
    texts = [*mature(4, 5, 7, 8), "W30A", "H900A", "rs28934578", "P38398:p.C61G"]
    plan = planned(wild_type, texts)
    assert [code for code in outcome(plan) if code in ("bad_variant", "wrong_protein")] == [
        "bad_variant",
        "wrong_protein",
    ]
    for row in plan.rows[:6]:
        assert row.error is not None
        assert "4 of 6 variants would match with their positions shifted by +20" in row.error.message
    # Among rows that fit as written, too, whose numbers are then not in doubt.
    good = ["K2A", "L4A", "W5A", "L8A", "L10A", "C11A", "L13A"]
    plan = planned(wild_type, [*good, *texts[:6]])
    assert outcome(plan)[: len(good)] == good
    assert not any(row.doubt for row in plan.rows)
    assert plan.rows[-1].error is not None
    assert "4 of 13 variants would match with their positions shifted by +20" in plan.rows[-1].error.message


def test_rows_of_another_protein_are_no_shift(globin: WildType) -> None:
    """Eight rows of p53, of which some shift or other fits three."""
    plan = planned(globin, ["R175H", "G245S", "R248Q", "R249S", "R273H", "R282W", "Y220C", "V143A"])
    assert not any("would match" in row.error.message for row in plan.rows if row.error)


def test_an_unrelated_row_does_not_hide_the_file_s_numbers(
    renumbered: Callable[..., WildType], globin: WildType
) -> None:
    """Numbers with a gap, which no shift explains."""
    other = renumbered(lambda p: (p + 10 if p < 60 else p + 40, " "))
    places = [p for p in range(20, 110, 9) if globin.sequence[p - 1] != "A"]
    texts = [f"{globin.sequence[p - 1]}{p + 10 if p < 60 else p + 40}A" for p in places]
    chance = [row for row in planned(other, texts).rows if row.error is None]
    plan = planned(other, [*texts, "W900A"])
    told = f"{len(texts)} of {len(texts) + 1} variants"
    hint = f"{told} would match as the structure file's own residue numbers"
    assert all(hint in row.error.message for row in plan.rows if row.error)
    assert [row.source.text for row in plan.rows if row.doubt] == [row.source.text for row in chance]


def test_positions_out_of_range_start_the_hint() -> None:
    """A domain numbered 501 to 550, as in the whole protein."""
    plan = planned(WildType("p", PRECURSOR), ["W529A", "Y534A", "E525K"])
    assert outcome(plan) == ["position_out_of_range"] * 3
    assert all("shifted by -500" in row.error.message for row in plan.rows if row.error)


def test_a_slip_among_good_rows_casts_no_doubt(globin: WildType) -> None:
    good = ["L38D", "H97A", "I14V", "E10K", "K144E", "A33P"]
    plan = planned(globin, [*good, "W39A"])
    assert outcome(plan) == [*good, "wild_type_mismatch"]
    assert not any(row.doubt for row in plan.rows)
    (slip,) = (row.error for row in plan.rows if row.error is not None)
    assert "would match" not in slip.message


def test_rows_that_fit_only_as_written_are_not_doubtful(globin: WildType) -> None:
    """Two lists in one: what fits no shift is left alone."""
    plan = planned(globin, ["R16A", "D21A", "L42D", "L38D", "H97A", "I14V", "K144E", "A33P", "E113K"])
    assert not any(row.doubt for row in plan.rows)


# --- names of proteins -----------------------------------------------------------------------------------

P53 = {
    "accession": "P04637",
    "entry": "P53_HUMAN",
    "gene": "TP53 LFS1",
    "others": "Q15086 NP_000537.3 NM_000546.5 ENST00000269305.9 ENSP00000269305.4",
}


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("P04637", False), ("p04637", False), ("P04637-1", False), ("P04637.4", False), ("P04637-2", True),
        ("P60484", True), ("Q9Y6K9", True), ("P53_HUMAN", False), ("PTEN_HUMAN", True),
        ("TP53", False), ("tp53", False), ("LFS1", False), ("P53", False), ("BRCA2", True),
        ("NM_000546.6(TP53)", False), ("NM_000314.8(PTEN)", True), ("NP_000537.3", False),
        ("NP_000537", False), ("NP_000305.3", True), ("NM_000546.6", False), ("NM_000314.8", True),
        ("ENSP00000269305.2", False), ("ENSP00000361021", True), ("ENSG00000141510", None),
        ("Q15086", False), ("NC_000017.11", None), ("1TUP", None), ("A", None),
    ],
)  # fmt: skip
def test_names_against_a_known_protein(name: str, verdict: bool | None) -> None:
    assert Identity(WildType("P04637", "MKL", identifiers=P53)).contradicts(name) is verdict


@pytest.mark.parametrize(
    ("wild_type", "name", "verdict"),
    [
        ("sp|P04637|P53_HUMAN", "P04637", False),
        ("sp|P04637|P53_HUMAN", "P38398", True),
        ("sp|P04637|P53_HUMAN", "BRCA2_HUMAN", True),
        ("sp|P04637|P53_HUMAN", "BRCA2", None),
        ("P04637-2", "P04637-2", False),
        ("P04637-2", "P04637", True),
        ("NP_000305.3", "NP_000305.2", False),
        ("NP_000305.3", "NP_000537.3", True),
        ("NP_000305.3", "ENSP00000269305", None),
        ("ENSP00000269305.4", "ENSP00000361021", True),
        ("TP53", "TP53", False),
        ("TP53", "NM_000546.6(TP53)", False),
        ("my protein", "BRCA2", None),
    ],
)
def test_names_against_the_name_of_a_file(wild_type: str, name: str, verdict: bool | None) -> None:
    assert Identity(WildType(wild_type, "MKL")).contradicts(name) is verdict


def test_a_prefix_of_another_protein_is_not_scored(globin: WildType) -> None:
    known = replace(globin, identifiers={"accession": "P02218", "entry": "GLB_LUMTE", "gene": "HBA"})
    texts = ["P04637:p.L38D", "P02218:p.Leu38Asp", "BRCA2:p.L38D", "NM_000546.6(TP53):c.1A>G (p.Leu38Asp)"]
    plan = planned(known, texts)
    assert outcome(plan) == ["wrong_protein", "L38D", "wrong_protein", "wrong_protein"]
    assert "wrong_protein" in ROW_CODES
    (error, *_) = (row.error for row in plan.rows if row.error)
    assert error.message == (
        "P04637:p.L38D: names P04637, but this run scores wild_type (P02218, GLB_LUMTE, HBA)"
    )
    assert plan.wild_type.notes == known.notes


def test_another_chain_is_not_scored(globin: WildType) -> None:
    other, own = planned(globin, ["B:L38D", "A:L38D"]).rows
    assert other.error is not None
    assert other.error.code == "wrong_protein"
    assert "names chain B, but this run scores chain A of wild_type" in other.error.message
    assert str(own.variant) == "L38D"


def test_names_that_cannot_be_checked_are_noted_once(globin: WildType) -> None:
    plan = planned(globin, ["TP53:L38D", "TP53:p.H97A", "L38D"])
    assert outcome(plan) == ["L38D", "H97A", "L38D"]
    assert plan.wild_type.notes[len(globin.notes) :] == (
        "the variants name TP53; that this is the protein scored, wild_type, could not be checked",
    )


@pytest.mark.parametrize(
    ("texts", "apart"),
    [
        (["TP53:L38D", "TP53:H97A", "BRCA1:I14V"], {2: "names BRCA1, while 2 of 3 rows name TP53"}),
        (["P04637:L38D", "P04637-1:H97A", "P38398:I14V"], {2: "names P38398, while 2 of 3 rows name P04637"}),
        (["NM_1234.5(TP53):c.1A>G (p.Leu38Asp)", "TP53:H97A", "PTEN:I14V"], {2: "names PTEN, while 2 of 3"}),
        (
            ["TP53:L38D", "BRCA1:H97A", "L38D"],
            {0: "names TP53, while other rows name BRCA1", 1: "names BRCA1, while other rows name TP53"},
        ),
        (["MINE:L38D", "BRCA1:H97A", "BRCA1:I14V"], {1: "1 of 3 rows name MINE", 2: "1 of 3 rows"}),
        (["TP53:L38D", "tp53:H97A"], {}),
        (["NP_000537.3:L38D", "NP_001119584.1:H97A"], {}),  # one sequence may have several
        (["1TUP:L38D", "2OCJ:H97A"], {}),
    ],
)
def test_rows_of_several_proteins_on_one_bare_file(
    globin: WildType, texts: list[str], apart: dict[int, str]
) -> None:
    globin = replace(globin, name="MINE")
    plan = planned(globin, texts)
    assert {place for place, row in enumerate(plan.rows) if row.doubt} == {*apart}
    for place, told in apart.items():
        assert told in plan.rows[place].doubt
    strict = planned(globin, texts, strict=True)
    assert [code == "wrong_protein" for code in outcome(strict)] == [n in apart for n in range(len(texts))]


def by_columns(*columns: str) -> Callable[..., InputTable]:
    def make(*cells: tuple[str, ...]) -> InputTable:
        rows = (InputRow(n, "L38D", dict(zip(columns, one, strict=True))) for n, one in enumerate(cells, 1))
        return InputTable(tuple(rows), columns)

    return make


def test_genes_of_several_rows_in_a_column(globin: WildType) -> None:
    table = by_columns("gene")(("TP53",), ("TP53;WRAP53",), ("BRCA1",), ("NA",))
    plan = make_plan(globin, table)
    assert [bool(row.doubt) for row in plan.rows] == [False, False, True, False]
    assert "names BRCA1 in column 'gene', while 2 of 3 rows name TP53" in plan.rows[2].doubt


def test_columns_that_contradict_each_other_are_noted(globin: WildType) -> None:
    """Where the gene of an accession is not known; it is refused where it is."""
    bare = replace(globin, name="P04637")
    table = by_columns("uniprot", "gene")(("P04637", "BRCA1"))
    (row,) = make_plan(bare, table).rows
    assert row.notes == (
        "names P04637, and BRCA1 in column 'gene': that they are one protein could not be checked",
    )
    assert not row.doubt
    assert outcome(make_plan(replace(bare, identifiers=P53), table)) == ["wrong_protein"]
    (row,) = make_plan(replace(bare, identifiers=P53), by_columns("uniprot", "gene")(("P04637", "TP53"))).rows
    assert row.notes == ()
    labels = by_columns("protein", "gene")(("EGFR", "KRAS"))
    (row,) = make_plan(replace(globin, name="EGFR"), labels).rows
    assert row.notes[0].startswith("names EGFR, and KRAS in column 'gene'")


def test_a_gene_that_a_spreadsheet_made_a_date_is_noted(globin: WildType) -> None:
    known = replace(globin, identifiers={"accession": "Q15019", "gene": "SEPTIN2"})
    table = by_columns("uniprot", "gene")(("Q15019", "2-Sep"))
    (row,) = make_plan(known, table).rows
    assert row.notes == (
        "'2-Sep' in column 'gene' is a date, which a spreadsheet made of a name: not checked",
    )


def test_an_identifier_of_another_isoform_is_not_scored(globin: WildType) -> None:
    known = replace(globin, identifiers=P53 | {"isoforms": "NP_001119586.1=P04637-2 NM_001126114.2=P04637-2"})
    texts = ["NP_000537.3:L38D", "NP_001119586.1:L38D", "NM_001126114.2(TP53):c.1A>G (p.Leu38Asp)"]
    plan = planned(known, texts)
    assert outcome(plan) == ["L38D", "wrong_protein", "wrong_protein"]
    assert plan.rows[1].error is not None
    assert plan.rows[1].error.message == (
        "NP_001119586.1:L38D: names NP_001119586.1, which belongs to isoform P04637-2, but this run scores "
        "wild_type (P04637, P53_HUMAN, TP53)"
    )


def test_columns_that_name_another_protein(globin: WildType) -> None:
    known = replace(globin, identifiers={"accession": "P02218", "gene": "HBA"})
    cells = [
        {"gene": "HBA", "protein": "hemoglobin A"},
        {"gene": "TP53", "protein": ""},
        {"gene": "", "protein": "P04637"},
        {"gene": "NA", "protein": "globin chain"},
        {"gene": "TP53;HBA", "protein": "P02218"},
        {"gene": "", "protein": "BRCA1"},
        {"score": "P04637", "wild_type": "L"},
    ]
    rows = tuple(InputRow(n, "L38D", carried) for n, carried in enumerate(cells, start=1))
    plan = make_plan(known, InputTable(rows, ("gene", "protein")))
    assert outcome(plan) == [
        "L38D",
        "wrong_protein",
        "wrong_protein",
        "L38D",
        "L38D",
        "wrong_protein",
        "L38D",
    ]
    assert plan.rows[1].error is not None
    assert "names TP53 in column 'gene'" in plan.rows[1].error.message


# --- the first methionine --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["M1V", "p.Met1Val", "M1V;K2A", "M1del", "M1_K2del"])
def test_a_lost_start_is_not_scored(text: str) -> None:
    (row,) = planned(WildType("p", PRECURSOR), [text]).rows
    assert row.status == "skipped"
    assert row.error is not None
    assert row.error.code == "unsupported_variant"
    assert "start codon is lost" in row.error.message


def test_a_methionine_that_starts_no_protein_is_scored(renumbered: Callable[..., WildType]) -> None:
    domain = renumbered(lambda p: (p + 500, " "))
    domain = replace(domain, sequence="M" + domain.sequence[1:])
    assert outcome(planned(domain, ["M1V"])) == ["M1V"]
    whole = renumbered(lambda p: (p, " "))
    whole = replace(whole, sequence="M" + whole.sequence[1:])
    assert outcome(planned(whole, ["M1V"])) == ["unsupported_variant"]


def test_paths_are_paths(tmp_path: Path) -> None:
    assert resolve_wild_type(Path(WILD_TYPE), offline=True).name == "wild_type"


def test_one_variant_in_the_file_s_numbers_names_the_file_s_residue(globin: WildType) -> None:
    (row,) = make_plan(globin, InputTable((InputRow(1, "H101A"),))).rows
    assert row.error is not None
    assert row.error.message.endswith(
        "; the file's own residue 101 is H: use --numbering author if that is meant"
    )
    (row,) = make_plan(globin, InputTable((InputRow(1, "W101A"),))).rows
    assert row.error is not None
    assert "own residue" not in row.error.message
