"""Reading UniProt's answers, and moving features to where they are on an isoform."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutscan.fetch import is_accession
from mutscan.fetch.features import isoform_map, place_features, splice
from mutscan.fetch.uniprot import Entry, Segment, read_entry, read_isoform, split_accession
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE, ensembl, feature, refseq


def read(**changes: object) -> Entry:
    return read_entry(json.dumps(fake.entry(**changes)).encode())


@pytest.mark.parametrize(
    "text",
    [
        "P04637",
        "Q9TST0",
        "O15350",
        "A2BC19",
        "A0A024R161",
        "A0A023GPI8",
        "P04637-2",
        "Q8WZ42-13",
        "p04637",
        " P1AAA1\n",
    ],
)
def test_accessions(text: str) -> None:
    assert is_accession(text)
    entry, number = split_accession(text)
    assert text.strip().upper() == (entry if number is None else f"{entry}-{number}")


@pytest.mark.parametrize(
    "text",
    ["", "P0463", "P046377", "P53_HUMAN", "1TUP", "TP53", "P04637-", "P04637-0", "P04637-x", "P04637.2",
     "A04637", "A0A024R16", "A0A024R161X", "R175H", "P04637-2-3", "P04637 P12345", "É04637"],
)  # fmt: skip
def test_no_accessions(text: str) -> None:
    assert not is_accession(text)
    with pytest.raises(ValueError, match="not a UniProt accession"):
        split_accession(text)


def test_names_of_an_entry() -> None:
    page = {
        "genes": [{"geneName": {"value": "TP53"}, "synonyms": [{"value": "LFS1"}, {"value": "P 53"}]}],
        "secondaryAccessions": ["Q15086"],
        "uniProtKBCrossReferences": [
            refseq("NP_000537.3", "NM_000546.5", f"{ACCESSION}-1"),
            refseq("NP_001119586.1", "NM_001126114.2", f"{ACCESSION}-2"),
            refseq("XP_011522345.1", "XM_011522345.1"),
            ensembl("ENSP00000269305.4", "ENST00000269305.9", "ENSG00000141510.19", f"{ACCESSION}-1"),
            ensembl("ENSP00000391127.2", "ENST00000420246.6", "ENSG00000141510.19", f"{ACCESSION}-2"),
            {"database": "PDB", "id": "1TUP"},
        ],
    }
    own = {"accession": ACCESSION, "entry": "TEST_HUMAN", "gene": "TP53 LFS1 P53"}
    entry = read(**page)
    assert entry.identifiers == own | {"others": "Q15086"}
    of_all = "XP_011522345.1 XM_011522345.1"
    first = "NP_000537.3 NM_000546.5"
    second = "NP_001119586.1 NM_001126114.2"
    first_ensembl, second_ensembl = (
        "ENST00000269305.9 ENSP00000269305.4",
        "ENST00000420246.6 ENSP00000391127.2",
    )
    gene = "ENSG00000141510.19"
    assert entry.identifiers_of([ACCESSION, f"{ACCESSION}-1"]) == own | {
        "others": f"Q15086 {first} {of_all} {first_ensembl} {gene}",
        "isoforms": " ".join(f"{name}={ACCESSION}-2" for name in f"{second} {second_ensembl}".split()),
    }
    assert entry.identifiers_of([f"{ACCESSION}-2"]) == own | {
        "others": f"Q15086 {second} {of_all} {gene} {second_ensembl}",
        "isoforms": " ".join(f"{name}={ACCESSION}-1" for name in f"{first} {first_ensembl}".split()),
    }
    assert read().identifiers_of([ACCESSION]) == {"accession": ACCESSION, "entry": "TEST_HUMAN"}


def test_entry() -> None:
    entry = read()
    assert (entry.accession, entry.sequence) == (ACCESSION, SEQUENCE)
    assert (entry.version, entry.sequence_version) == (310, 4)
    assert entry.isoform(f"{ACCESSION}-2") is not None
    assert entry.isoform(f"{ACCESSION}-3") is None
    assert entry.inactive is None
    assert not entry.fragment
    assert entry.unplaced == 1
    assert read(proteinDescription={"flag": "Fragment"}).fragment


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ([], "not a UniProtKB entry"),
        ("text", "not a UniProtKB entry"),
        ({"messages": ["Resource not found"]}, "not a UniProtKB entry"),
        ({"primaryAccession": 7}, "not a UniProtKB entry"),
        ({"primaryAccession": "P12345"}, "without a sequence"),
        (fake.entry(sequence={"value": ""}), "without a sequence"),
        (fake.entry(sequence={"value": None}), "without a sequence"),
        (fake.entry(sequence={"value": "MK T"}), "letters ' '"),
        (fake.entry(sequence={"value": "MKT", "length": 4}), "3 residues where it states 4"),
    ],
)
def test_no_entry(page: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_entry(json.dumps(page).encode())


@pytest.mark.parametrize(
    "oddity", [None, 5, "x", [], {}, [1, None], [{}], [{"type": "Domain", "location": 3}]]
)
def test_odd_optional_parts_do_no_harm(oddity: object) -> None:
    for key in (
        "features", "comments", "entryAudit", "proteinDescription", "genes", "secondaryAccessions",
        "uniProtKBCrossReferences",
    ):  # fmt: skip
        assert read(**{key: oddity}).sequence == SEQUENCE


def test_features_beyond_the_sequence_or_turned_round() -> None:
    entry = read(
        features=[
            feature("Domain", 50, 61),
            feature("Domain", 9, 8),
            feature("Domain", 0, 8),
            feature("Domain", 60, 60, "end"),
        ]
    )
    assert [a.description for a in entry.annotations] == ["end"]
    assert entry.unplaced == 3


def test_features_of_another_isoform_are_left_there() -> None:
    own = feature("Domain", 3, 40, "own")
    own["location"]["sequence"] = f"{ACCESSION}-2"
    entry = read(features=[own, feature("Domain", 12, 45, "canonical")])
    features, _ = place_features(entry, [ACCESSION, f"{ACCESSION}-1"], None)
    assert [(f.start, f.description) for f in features] == [(12, "canonical")]

    index, _ = isoform_map(entry, f"{ACCESSION}-2", ISOFORM)
    features, dropped = place_features(entry, [f"{ACCESSION}-2"], index)
    assert [(f.start, f.description) for f in features] == [(3, "own"), (6, "canonical")]
    assert dropped == ()


def test_a_bond_is_two_residues_not_a_stretch() -> None:
    entry = read(
        features=[feature("Disulfide bond", 5, 50), feature("Disulfide bond", 7, 7, "Interchain (with C-9)")]
    )
    features, _ = place_features(entry, [ACCESSION], None)
    assert [(f.start, f.end, f.description) for f in features] == [
        (5, 5, "to 50"),
        (7, 7, "Interchain (with C-9)"),
        (50, 50, "to 5"),
    ]


def test_what_an_isoform_keeps_of_a_stretch() -> None:
    """Half of a domain is still told as a part; half of a zinc finger, or less of a domain, is not."""
    kept = feature("DNA binding", 5, 22)  # 12 of 18 residues are left
    lost = [feature("Domain", 1, 13, "SH3"), feature("Zinc finger", 5, 22)]
    entry = read(features=[kept, *lost])
    index, _ = isoform_map(read(), f"{ACCESSION}-2", ISOFORM)
    features, dropped = place_features(entry, [f"{ACCESSION}-2"], index)
    assert [(f.kind, f.description, f.start, f.end) for f in features] == [
        ("DNA binding", f"part of 5-22 in {ACCESSION}", 5, 16)
    ]
    assert dropped == ("Domain 1-13 (SH3)", "Zinc finger 5-22")


def test_ligand_and_description() -> None:
    entry = read(features=[feature("Binding site", 4, 4, "catalytic", ligand={"name": "Zn(2+)"})])
    assert entry.annotations[0].description == "Zn(2+); catalytic"


# Isoforms


def test_map_by_the_list_of_segments() -> None:
    index, way = isoform_map(read(), f"{ACCESSION}-2", ISOFORM)
    assert way == "UniProt's list of spliced segments"
    assert index is not None
    assert index.tolist() == [0, 1, *[-1] * 8, *range(4, 43), *[-1] * 11]


@pytest.mark.parametrize("changes", [{"comments": []}, {"features": fake.entry()["features"][:-1]}])
def test_map_by_alignment(changes: dict[str, object]) -> None:
    index, way = isoform_map(read(**changes), f"{ACCESSION}-2", ISOFORM)
    assert way == "an alignment"
    assert index is not None
    assert index[12:49].tolist() == list(range(6, 43))
    for i, j in enumerate(index):
        assert j < 0 or SEQUENCE[i] == ISOFORM[j]


def test_too_long_to_align(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mutscan.fetch.features.MAX_ALIGNED", 100)
    assert isoform_map(read(comments=[]), f"{ACCESSION}-2", ISOFORM) == (None, "too long to be aligned")


@pytest.mark.parametrize(
    "segments",
    [
        [Segment(3, 5, "", ""), Segment(5, 6, "", "")],
        [Segment(60, 61, "", "")],
        [Segment(0, 2, "", "")],
        [Segment(4, 3, "", "")],
        [Segment(3, 5, "WWW", "")],
    ],
)
def test_segments_that_do_not_fit(segments: list[Segment]) -> None:
    assert splice(SEQUENCE, segments) is None


@given(st.data())
def test_spliced_residues_keep_letter_and_order(data: st.DataObject) -> None:
    letters = st.text(alphabet="ACDEFGHIKLMNPQRSTVWY", max_size=5)
    sequence = data.draw(letters.filter(bool).flatmap(lambda s: st.just(s * 6)))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sequence)), max_size=6)))
    segments = [
        Segment(start, end, sequence[start - 1 : end], data.draw(letters))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    spliced = splice(sequence, data.draw(st.permutations(segments)))
    assert spliced is not None
    isoform, index = spliced
    assert len(index) == len(sequence)
    kept = index >= 0
    assert "".join(isoform[i] for i in index[kept]) == "".join(np.array(list(sequence))[kept])
    assert (np.diff(index[kept]) > 0).all()
    cut = sum(segment.end - segment.start + 1 for segment in segments)
    assert kept.sum() == len(sequence) - cut
    assert len(isoform) == len(sequence) - cut + sum(len(segment.replacement) for segment in segments)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "nothing instead of FASTA"),
        ("<!DOCTYPE html>", "a web page"),
        ("MKTAY", "'MKTAY' instead of FASTA"),
        (f">sp|{ACCESSION}-2|X\n", "it is empty"),
        (f">sp|{ACCESSION}-2|X\nMK1\n", "letters '1'"),
        (f">sp|{ACCESSION}|X\nMKT\n", f"instead of {ACCESSION}-2"),
        (">\nMKT\n", f"instead of {ACCESSION}-2"),
        (f">sp|{ACCESSION}-22|X\nMKT\n", f"instead of {ACCESSION}-2"),
        (f">sp|{ACCESSION}-2|X\nMKT\n>sp|{ACCESSION}-3|X\nMKT", "several FASTA records"),
    ],
)
def test_no_isoform(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_isoform(text.encode(), f"{ACCESSION}-2")


@pytest.mark.parametrize(
    "header", [f">sp|{ACCESSION}-2|TEST_HUMAN Isoform 2", f">{ACCESSION}-2 text", f"> {ACCESSION}-2"]
)
def test_isoform_fasta(header: str) -> None:
    assert read_isoform(f"{header}\r\nMKT\r\nAYI\r\n\r\n".encode(), f"{ACCESSION}-2") == "MKTAYI"
