"""From a name to a wild type, against a server that answers as UniProt and the PDB do, and as they fail."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gemmi
import pytest

from mutscan.errors import FetchError, MutscanError, StructureError, UsageError
from mutscan.fetch import Fetcher, Patience, read_name
from mutscan.fetch.names import choose_gene, read_hits
from mutscan.pipeline.comparison import compare
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.proteins import ProteinSources
from mutscan.structures import WildType
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE, Reply, Service, hit

ENTRY = f"/uniprotkb/{ACCESSION}.json"
OWN = hit(ACCESSION, "TEST_HUMAN", "TST1", synonyms=("TSTA", "OLD1"))
OTHER = hit("P04637", "OTHER_HUMAN", "OTH1", synonyms=("TST1", "OLD1"))


@pytest.fixture
def service() -> Iterator[Service]:
    with fake.running() as service:
        service.protein()
        yield service


@pytest.fixture
def fetcher(service: Service, tmp_path: Path) -> Fetcher:
    return make(service, tmp_path)


def make(service: Service, cache: Path, *, offline: bool = False) -> Fetcher:
    return Fetcher(
        cache,
        uniprot_url=service.url,
        afdb_url=service.url,
        rcsb_url=service.url,
        rcsb_data_url=service.url,
        patience=Patience(timeout=5.0, sleep=lambda _: None),
        offline=offline,
    )


def find(fetcher: Fetcher, text: str, organism: str = "human") -> WildType:
    name = read_name(text)
    assert name is not None
    return fetcher.protein(name, organism=organism)


def gene(symbol: str, where: str = "organism_id:9606", *, reviewed: bool = True) -> str:
    return f"(gene_exact:{symbol}) AND ({where}) AND (reviewed:{str(reviewed).lower()})"


def refused(fetcher: Fetcher, text: str, organism: str = "human") -> MutscanError:
    with pytest.raises(MutscanError) as caught:
        find(fetcher, text, organism)
    assert "\n" not in caught.value.message
    return caught.value


# What a text is


@pytest.mark.parametrize(
    ("text", "kind", "spelled"),
    [
        ("P04637", "accession", "P04637"),
        ("p04637-2", "accession", "P04637-2"),
        ("A0A024R161", "accession", "A0A024R161"),
        ("P53_HUMAN", "entry", "P53_HUMAN"),
        ("p53_human", "entry", "P53_HUMAN"),
        ("A0A024R161_HUMAN", "entry", "A0A024R161_HUMAN"),
        ("NP_000537.3", "refseq", "NP_000537.3"),
        ("np_000537", "refseq", "NP_000537"),
        ("XP_011522345.1", "refseq", "XP_011522345.1"),
        ("NM_000546.6", "refseq", "NM_000546.6"),
        ("ENSP00000269305.4", "ensembl", "ENSP00000269305.4"),
        ("ENSMUSP00000104298", "ensembl", "ENSMUSP00000104298"),
        ("ENST00000269305", "ensembl", "ENST00000269305"),
        ("TP53", "gene", "TP53"),
        ("HLA-A", "gene", "HLA-A"),
        ("C1S", "gene", "C1S"),
        ("nkx2.5", "gene", "nkx2.5"),
        ("AT1G01010.1", "gene", "AT1G01010.1"),
        ("P2RX7", "gene", "P2RX7"),
    ],
)
def test_kinds(text: str, kind: str, spelled: str) -> None:
    name = read_name(text)
    assert name is not None
    assert (name.kind, name.text, name.typed) == (kind, spelled, text)


@pytest.mark.parametrize(
    "text", ["", "12345", "two words", "P04637:p.R175H", "protein.txt", "a|b", "αβ", "R*"]
)
def test_no_name(text: str) -> None:
    assert read_name(text) is None


@pytest.mark.parametrize(
    ("text", "entry", "chain"),
    [("pdb:1TUP:A", "1TUP", "A"), ("PDB:1tup", "1TUP", None), ("pdb:pdb_00001tup:a1", "1TUP", "a1")],
)
def test_pdb_names(text: str, entry: str, chain: str | None) -> None:
    name = read_name(text)
    assert name is not None
    assert (name.kind, name.text, name.chain) == ("pdb", entry, chain)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1TUP", "written pdb:1TUP:A"),
        ("pdb:TP53", "expected pdb:ID:CHAIN"),
        ("pdb:1TUP:A:B", "expected pdb:ID:CHAIN"),
        ("ENSG00000141510", "is a gene"),
    ],
)
def test_names_that_need_another_spelling(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_name(text)


# Accessions and entry names


def test_lower_case_accession_is_noted(fetcher: Fetcher) -> None:
    found = find(fetcher, ACCESSION.lower())
    assert (found.name, found.notes[0]) == (ACCESSION, f"{ACCESSION.lower()} was read as {ACCESSION}")
    assert not any("was read as" in note for note in find(fetcher, ACCESSION).notes)


def test_secondary_accession_is_followed_with_a_note(service: Service, fetcher: Fetcher) -> None:
    service.on("/uniprotkb/P12345.json", Reply(303, b"", {"Location": f"{ENTRY}?from=P12345"}))
    service.json(f"{ENTRY}?from=P12345", fake.entry(secondaryAccessions=["Q5H8T5", "P12345"]))
    found = find(fetcher, "P12345")
    assert (found.name, found.sequence) == (ACCESSION, SEQUENCE)
    assert found.structure is not None
    assert any(f"P12345 is now a secondary accession of {ACCESSION}" in note for note in found.notes)
    error = refused(fetcher, "P12345-2")
    assert (error.code, f"use {ACCESSION}-1, {ACCESSION}-2" in error.message) == ("inactive_entry", True)


@pytest.mark.parametrize("known", [True, False])
def test_split_entry_lists_its_successors(service: Service, fetcher: Fetcher, known: bool) -> None:
    reason = {"inactiveReasonType": "DEMERGED", "mergeDemergeTo": [ACCESSION, "P04637"]}
    page = {"entryType": "Inactive", "primaryAccession": "P12345", "inactiveReason": reason}
    service.json("/uniprotkb/P12345.json", page)
    if known:
        service.search(f"(accession:{ACCESSION}) OR (accession:P04637)", OTHER, OWN)
    error = refused(fetcher, "P12345")
    assert error.code == "inactive_entry"
    assert f"use {ACCESSION} or P04637" in error.message
    described = f"{ACCESSION} (TEST_HUMAN, Protein of TEST_HUMAN, 60 residues), P04637 (OTHER_HUMAN"
    assert (described in error.message) is known


def test_entry_name(service: Service, fetcher: Fetcher, tmp_path: Path) -> None:
    service.on("/uniprotkb/TEST_HUMAN.json", Reply(303, b"", {"Location": ENTRY}))
    found = find(fetcher, "test_human")
    assert (found.name, found.sequence) == (ACCESSION, SEQUENCE)
    assert found.notes[0] == f"test_human: UniProt {ACCESSION} (TEST_HUMAN), Homo sapiens"
    asked = len(service.requests)
    assert find(make(service, tmp_path, offline=True), "TEST_HUMAN").sequence == SEQUENCE
    assert len(service.requests) == asked


def test_entry_name_that_has_changed(service: Service, fetcher: Fetcher) -> None:
    service.json("/uniprotkb/OLD_HUMAN.json", fake.entry())
    assert "UniProt now calls the entry OLD_HUMAN TEST_HUMAN" in find(fetcher, "OLD_HUMAN").notes


def test_unknown_entry_name(fetcher: Fetcher) -> None:
    error = refused(fetcher, "NOBODY_HUMAN")
    assert (error.code, error.exit_code) == ("not_found", 5)
    assert "UniProt has no such entry" in error.message
    assert "P53_HUMAN" in error.message


# Genes


def test_gene(service: Service, fetcher: Fetcher, tmp_path: Path) -> None:
    service.search(gene("TST1"), OTHER, OWN)
    found = find(fetcher, "TST1")
    assert (found.name, found.sequence) == (ACCESSION, SEQUENCE)
    assert found.structure is not None
    assert found.notes[:2] == (
        f"TST1: UniProt {ACCESSION} (TEST_HUMAN, Protein of TEST_HUMAN, 60 residues), Homo sapiens",
        "TST1 is also another name of OTH1, which is not meant",
    )
    assert found.records[-1]["url"] == service.url + service.paths[0]
    asked = len(service.requests)
    again = find(make(service, tmp_path, offline=True), "TST1")
    assert (again.sequence, again.records) == (found.sequence, found.records)
    assert len(service.requests) == asked


def test_gene_in_lower_case_and_by_its_synonym(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("tst1"), OWN)
    assert "tst1 was read as the gene TST1" in find(fetcher, "tst1").notes
    service.search(gene("TSTA"), OWN)
    assert "TSTA is another name of TST1" in find(fetcher, "TSTA").notes


def test_symbols_are_quoted_where_they_must_be(service: Service, fetcher: Fetcher) -> None:
    service.search(gene('"TST-1"'), hit(ACCESSION, "TEST_HUMAN", "TST-1"))
    assert find(fetcher, "TST-1").name == ACCESSION


def test_synonym_of_several_genes(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("OLD1"), OWN, OTHER)
    error = refused(fetcher, "OLD1")
    assert (error.code, error.exit_code) == ("ambiguous_protein", 2)
    assert "2 reviewed entries of this synonym" in error.message
    assert f"{ACCESSION} (TEST_HUMAN, Protein of TEST_HUMAN, 60 residues); P04637 (OTHER_" in error.message


def test_gene_with_two_proteins(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("TST1"), OWN, hit("Q8N726", "ARF_HUMAN", "TST1"))
    error = refused(fetcher, "TST1")
    assert (error.code, "2 reviewed entries of this gene" in error.message) == ("ambiguous_protein", True)
    assert "give the accession of the one that is meant" in error.message


def test_gene_with_unreviewed_entries_only(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("TST1"))
    many = [hit(f"A0A0{i:02}R161", f"A0A0{i:02}R161_HUMAN", "TST1", reviewed=False) for i in range(12)]
    service.search(gene("TST1", reviewed=False), *many)
    error = refused(fetcher, "TST1")
    assert error.code == "ambiguous_protein"
    assert (
        "A0A000R161 (A0A000R161_HUMAN, Protein of A0A000R161_HUMAN, 60 residues, unreviewed)" in error.message
    )
    assert "A0A009R161" in error.message
    assert "A0A010R161" not in error.message
    assert "and 2 more" in error.message


def test_unknown_gene_is_asked_for_again_once_it_may_be_known(
    service: Service, fetcher: Fetcher, tmp_path: Path
) -> None:
    service.search(gene("TST1"))
    service.search(gene("TST1", reviewed=False))
    error = refused(fetcher, "TST1")
    assert (error.code, error.exit_code) == ("not_found", 5)
    assert "UniProt knows no gene TST1 of human" in error.message
    assert len(service.requests) == 2
    assert refused(make(service, tmp_path, offline=True), "TST1").code == "not_found"
    service.search(gene("TST1"), OWN)
    assert find(make(service, tmp_path), "TST1").name == ACCESSION


def test_answer_that_goes_on_decides_nothing(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("TST1"), OWN, *[OTHER] * 499)
    assert "500 or more reviewed entries" in refused(fetcher, "TST1").message


MOUSE = ("Mus musculus", "Mouse", 10090)
OF_MOUSE = hit(ACCESSION, "TEST_MOUSE", "Tst1", organism=MOUSE)
OF_VIRUS = hit("P04637", "TEST_MHV", "TST1", organism=("Mouse hepatitis virus", "MHV", 11138))


@pytest.mark.parametrize("organism", ["mouse", "Mus musculus", "MOUSE"])
def test_organism_by_name(service: Service, fetcher: Fetcher, organism: str) -> None:
    service.search(gene("TST1", f'organism_name:"{organism}"'), OF_VIRUS, OF_MOUSE)
    found = find(fetcher, "TST1", organism)
    assert found.name == ACCESSION
    assert "TST1 was read as the gene Tst1" in found.notes


def test_organism_by_taxon(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("TST1", "organism_id:10090"), OF_MOUSE)
    assert find(fetcher, "TST1", "10090").name == ACCESSION


def test_strains_are_organisms_of_the_species(service: Service, fetcher: Fetcher) -> None:
    strains = [
        hit("P12345", "TST_ECOLI", "tst", organism=("Escherichia coli (strain K12)", "", 83333)),
        hit("P12346", "TST_ECO57", "tst", organism=("Escherichia coli O157:H7", "", 83334)),
    ]
    service.search(gene("tst", 'organism_name:"Escherichia coli"'), *strains)
    service.protein()
    service.json("/uniprotkb/P12345.json", fake.entry(primaryAccession="P12345"))
    assert find(fetcher, "tst", "Escherichia coli").name == "P12345"


def test_organism_that_is_none_lists_those_with_the_gene(service: Service, fetcher: Fetcher) -> None:
    service.search(gene("TST1", 'organism_name:"mice"'), OF_MOUSE, OF_VIRUS)
    error = refused(fetcher, "TST1", "mice")
    assert error.code == "not_found"
    assert "Mus musculus (10090), Mouse hepatitis virus (11138); give one of them with" in error.message


# RefSeq and Ensembl

REFERENCES = (
    fake.refseq("NP_000537.3", "NM_000546.5", f"{ACCESSION}-1"),
    fake.refseq("NP_001119586.1", "NM_001126114.2", f"{ACCESSION}-2"),
    fake.refseq("XP_011522345.1", "XM_011522345.1"),
    fake.ensembl("ENSP00000269305.4", "ENST00000269305.9", "ENSG00000141510.19", f"{ACCESSION}-1"),
    fake.ensembl("ENSP00000391127.2", "ENST00000420246.6", "ENSG00000141510.19", f"{ACCESSION}-2"),
)
REFERRED = hit(ACCESSION, "TEST_HUMAN", "TST1", references=REFERENCES)


def xref(kind: str, *names: str) -> str:
    return " OR ".join(f"(xref:{kind}-{name})" for name in names)


@pytest.mark.parametrize(
    ("text", "kind", "base", "isoform"),
    [
        ("NP_000537.3", "refseq", "NP_000537", 1),
        ("np_001119586.1", "refseq", "NP_001119586", 2),
        ("NM_001126114.2", "refseq", "NM_001126114", 2),
        ("ENSP00000269305.4", "ensembl", "ENSP00000269305", 1),
        ("ENST00000420246.6", "ensembl", "ENST00000420246", 2),
    ],
)
def test_reference_gives_the_isoform_that_it_names(
    service: Service, fetcher: Fetcher, tmp_path: Path, text: str, kind: str, base: str, isoform: int
) -> None:
    trembl = hit("A0A024R161", "A0A024R161_HUMAN", "TST1", reviewed=False, references=REFERENCES)
    service.search(xref(kind, text.upper(), base), trembl, REFERRED)
    found = find(fetcher, text)
    assert (found.name, found.sequence) == [(ACCESSION, SEQUENCE), (f"{ACCESSION}-2", ISOFORM)][isoform - 1]
    assert f"isoform {ACCESSION}-{isoform}, by UniProt's cross-reference" in found.notes[0]
    asked = len(service.requests)
    assert find(make(service, tmp_path, offline=True), text).sequence == found.sequence
    assert len(service.requests) == asked


def test_reference_without_a_version(service: Service, fetcher: Fetcher) -> None:
    service.search(xref("refseq", "NP_000537"), REFERRED)
    assert "NP_000537 was given without a version: NP_000537.3 is used" in find(fetcher, "NP_000537").notes


def test_reference_to_another_version_is_refused(service: Service, fetcher: Fetcher) -> None:
    service.search(xref("refseq", "NP_000537.2", "NP_000537"), REFERRED)
    error = refused(fetcher, "NP_000537.2")
    assert (error.exit_code, "UniProt refers to NP_000537.3, a version with" in error.message) == (2, True)


def test_reference_whose_version_is_not_stated(service: Service, fetcher: Fetcher) -> None:
    reference = fake.ensembl("ENSP00000269305", "ENST00000269305", "ENSG00000141510", f"{ACCESSION}-1")
    service.search(
        xref("ensembl", "ENSP00000269305.4", "ENSP00000269305"),
        hit(ACCESSION, "TEST_HUMAN", "TST1", references=(reference,)),
    )
    found = find(fetcher, "ENSP00000269305.4")
    assert any("does not say which version" in note for note in found.notes)


def test_reference_that_names_no_isoform(service: Service, fetcher: Fetcher) -> None:
    service.search(xref("refseq", "XP_011522345.1", "XP_011522345"), REFERRED)
    error = refused(fetcher, "XP_011522345.1")
    assert error.code == "ambiguous_protein"
    assert f"give one of {ACCESSION}-1, {ACCESSION}-2" in error.message
    service.json(ENTRY, fake.entry(comments=[]))
    fetcher.cache.path(service.url + ENTRY, "uniprot").unlink()
    assert find(fetcher, "XP_011522345.1").name == ACCESSION


def test_reference_of_an_unreviewed_entry(service: Service, fetcher: Fetcher) -> None:
    only = hit(ACCESSION, "TEST_HUMAN", "TST1", reviewed=False, references=REFERENCES)
    service.search(xref("refseq", "NP_000537.3", "NP_000537"), only)
    assert "60 residues, unreviewed)" in find(fetcher, "NP_000537.3").notes[0]


def test_reference_of_several_entries(service: Service, fetcher: Fetcher) -> None:
    other = hit("P0DP24", "CALM2_HUMAN", "CALM2", references=(fake.refseq("NP_000537.3", "NM_1.1"),))
    service.search(xref("refseq", "NP_000537.3", "NP_000537"), REFERRED, other)
    error = refused(fetcher, "NP_000537.3")
    assert (error.code, "P0DP24 (CALM2_HUMAN" in error.message) == ("ambiguous_protein", True)


def test_gene_identifier_beside_the_protein_is_no_match(service: Service, fetcher: Fetcher) -> None:
    service.search(xref("refseq", "NP_999999.1", "NP_999999"), REFERRED)
    error = refused(fetcher, "NP_999999.1")
    assert (error.code, error.exit_code) == ("not_found", 5)
    assert "no UniProt entry refers to this identifier" in error.message


# RefSeq's and Ensembl's own sequences

REFSEQ = "/entrez/eutils/efetch.fcgi?db=protein&id=NP_000537.3&rettype=fasta&retmode=text&tool=mutscan"
SECOND = REFSEQ.replace("NP_000537.3", "NP_001119586.1")
ENSEMBL = "/sequence/id/ENSP00000269305?type=protein;content-type=application/json"


def refseq_fasta(sequence: str, identifier: str = "NP_000537.3") -> Reply:
    """NCBI's answer: lines of 70 letters, an empty line at the end."""
    lines = "\n".join(sequence[i : i + 70] for i in range(0, len(sequence), 70))
    return Reply(200, f">{identifier} test protein isoform a [Homo sapiens]\n{lines}\n\n".encode())


def ensembl_json(sequence: str, version: int = 4, **changes: object) -> Reply:
    stable = "ENSP00000269305"
    page = {"query": stable, "id": stable, "version": version, "molecule": "protein", "desc": None}
    return fake.json_reply(page | {"seq": sequence} | changes)


@pytest.fixture
def comparing(service: Service, tmp_path: Path) -> Fetcher:
    for text in ("NP_000537.3", "NP_000537", "NM_000546.5", "NP_001119586.1"):
        service.search(xref("refseq", *dict.fromkeys((text, text.partition(".")[0]))), REFERRED)
    service.search(xref("ensembl", "ENSP00000269305.4", "ENSP00000269305"), REFERRED)
    return Fetcher(
        tmp_path,
        uniprot_url=service.url,
        afdb_url=service.url,
        ncbi_url=service.url,
        ensembl_url=service.url,
        patience=Patience(timeout=5.0, sleep=lambda _: None),
    )


@pytest.mark.parametrize(
    ("text", "path", "reply", "stated"),
    [
        ("NP_000537.3", REFSEQ, refseq_fasta(SEQUENCE), "RefSeq's own sequence of NP_000537.3"),
        ("NP_000537", REFSEQ, refseq_fasta(SEQUENCE), "RefSeq's own sequence of NP_000537.3"),
        ("NM_000546.5", REFSEQ, refseq_fasta(SEQUENCE), "RefSeq's own sequence of NP_000537.3"),
        ("NP_001119586.1", SECOND, refseq_fasta(ISOFORM, "NP_001119586.1"), "sequence of NP_001119586.1"),
        ("ENSP00000269305.4", ENSEMBL, ensembl_json(SEQUENCE), "Ensembl's own sequence of ENSP00000269305.4"),
        ("ENSP00000269305.4", ENSEMBL, ensembl_json(SEQUENCE, 5), "own sequence of ENSP00000269305.5"),
    ],
)
def test_sequence_of_a_reference_is_compared(
    service: Service, comparing: Fetcher, text: str, path: str, reply: Reply, stated: str
) -> None:
    service.on(path, reply)
    found = find(comparing, text)
    assert any(f"{stated} is the same, letter by letter" in note for note in found.notes)
    assert any(path in str(record["url"]) for record in found.records)
    asked = len(service.requests)
    comparing.offline = True
    assert find(comparing, text).notes == found.notes
    assert len(service.requests) == asked


OTHER_LETTER = SEQUENCE[:19] + "W" + SEQUENCE[20:]


@pytest.mark.parametrize(
    ("text", "path", "reply", "said"),
    [
        (
            "NP_000537.3",
            REFSEQ,
            refseq_fasta(OTHER_LETTER),
            "position 20 is W there and S at UniProt, 1 diff",
        ),
        ("NM_000546.5", REFSEQ, refseq_fasta(SEQUENCE[1:]), "it has 59 residues there and 60 at UniProt"),
        (
            "ENSP00000269305.4",
            ENSEMBL,
            ensembl_json(OTHER_LETTER),
            "at Ensembl is not that of Q9TST0, by which",
        ),
    ],
)
def test_reference_with_another_sequence_is_refused(
    service: Service, comparing: Fetcher, text: str, path: str, reply: Reply, said: str
) -> None:
    service.on(path, reply)
    error = refused(comparing, text)
    assert (error.code, error.exit_code) == ("unknown_protein", 2)
    assert said in error.message


@pytest.mark.parametrize(
    ("text", "path", "reply", "said"),
    [
        ("NP_000537.3", REFSEQ, Reply(400, b"Error : Failed to understand id: NP_000537.3"), "answered 400"),
        ("NP_000537.3", REFSEQ, Reply(200, b"\n"), "contains no sequence"),
        ("NP_000537.3", REFSEQ, Reply(200, b"<!DOCTYPE html><html>"), "expected a header line"),
        (
            "NP_000537.3",
            REFSEQ,
            refseq_fasta(SEQUENCE, "NP_000305.3"),
            "'NP_000305.3', instead of NP_000537.3",
        ),
        (
            "NP_000537.3",
            REFSEQ,
            fake.json_reply({"error": "API rate limit exceeded", "count": "4", "limit": "3"}, status=429),
            "answered 429",
        ),
        (
            "ENSP00000269305.4",
            ENSEMBL,
            fake.json_reply({"error": "ID 'ENSP00000269305' not found"}, status=400),
            "answered 400",
        ),
        ("ENSP00000269305.4", ENSEMBL, fake.json_reply({"error": "busy"}), "JSON without the sequence"),
        (
            "ENSP00000269305.4",
            ENSEMBL,
            ensembl_json(SEQUENCE, id="ENSP00000361021"),
            "'ENSP00000361021' instead",
        ),
        ("ENSP00000269305.4", ENSEMBL, ensembl_json("ATGGAG", molecule="dna"), "JSON without the sequence"),
        ("ENSP00000269305.4", ENSEMBL, ensembl_json(OTHER_LETTER, 5), "is now that of ENSP00000269305.5 and"),
    ],
)
def test_sequence_that_cannot_be_compared_is_noted(
    service: Service, comparing: Fetcher, text: str, path: str, reply: Reply, said: str
) -> None:
    service.on(path, reply)
    found = find(comparing, text)
    assert found.sequence == SEQUENCE
    (note,) = (note for note in found.notes if "was not compared with" in note)
    assert said in note


def test_addresses_of_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    public = Fetcher()
    assert (public.ncbi_url, public.ensembl_url) == (
        "https://eutils.ncbi.nlm.nih.gov",
        "https://rest.ensembl.org",
    )
    monkeypatch.setenv("MUTSCAN_UNIPROT_URL", "http://mirror/")
    assert (Fetcher().ncbi_url, Fetcher().ensembl_url) == ("", "")
    monkeypatch.setenv("MUTSCAN_ENSEMBL_URL", "http://other/")
    assert Fetcher().ensembl_url == "http://other"


# Faults of the search


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (
            fake.json_reply(
                {"url": "", "messages": ["'gene_exact' is not a valid search field"]}, status=400
            ),
            "fetch_failed",
            "is not a valid search field",
        ),
        (Reply(429, b"", {"Retry-After": "1"}), "fetch_failed", "answered 429"),
        (Reply(503), "fetch_failed", "answered 503"),
        (fake.HTML, "fetch_failed", "a web page"),
        (fake.json_reply([]), "fetch_failed", "no results"),
        (fake.json_reply({"results": [{"entryType": 1}]}), "fetch_failed", "another shape"),
    ],
)
def test_faults_say_what_was_tried(
    service: Service, fetcher: Fetcher, fault: Reply, code: str, said: str
) -> None:
    service.on(service.search(gene("TST1")), fault)
    error = refused(fetcher, "TST1")
    assert (error.code, error.exit_code) == (code, 5)
    assert error.message.startswith("TST1: cannot be looked up as a gene symbol: ")
    assert said in error.message


def test_fault_that_passes(service: Service, fetcher: Fetcher) -> None:
    path = service.search(gene("TST1"), OWN)
    service.routes[path].insert(0, Reply(429, b"", {"Retry-After": "1"}))
    assert find(fetcher, "TST1").name == ACCESSION


def test_offline_names_what_is_missing(service: Service, tmp_path: Path) -> None:
    error = refused(make(service, tmp_path, offline=True), "TST1")
    assert (error.code, error.exit_code) == ("offline", 5)
    assert "not in the cache" in error.message
    assert service.requests == []


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"results": 1}', b'{"results": [1]}', b'{"results": [{}]}'])
def test_no_answer_of_the_search(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"results|shape"):
        read_hits(data)


def test_entry_without_names() -> None:
    (bare,) = read_hits(
        b'{"results": [{"entryType": "UniProtKB unreviewed (TrEMBL)", "primaryAccession": "A0A024R161", '
        b'"uniProtkbId": "A0A024R161_9VIRU", "genes": [{"orfNames": [{"value": "ORF1"}]}]}]}'
    )
    assert (str(bare), bare.others) == ("A0A024R161 (A0A024R161_9VIRU, no name, unreviewed)", ("ORF1",))
    name = read_name("ORF1")
    assert name is not None
    with pytest.raises(FetchError, match="in no organism called 'human'"):
        choose_gene(name, "human", lambda _: (bare,))


# PDB


def pdb_entry(*chains: tuple[str, str]) -> bytes:
    """An entry as the PDB serves it: mmCIF, compressed; residues 3-5 of each chain have no coordinates."""
    whole = gemmi.Structure()
    model = gemmi.Model(1)
    for name, sequence in chains:
        model.add_chain(gemmi.read_pdb_string(fake.pdb_text(sequence))[0][0])
        model[-1].name = name
    whole.add_model(model)
    # Not setup_entities, which takes chains without a stated sequence for copies of one.
    whole.add_entity_types()
    whole.assign_subchains(force=True)
    whole.ensure_entities()
    for entity in whole.entities:
        chain = next(chain for chain in whole[0] if chain.name + "xp" in entity.subchains)
        entity.full_sequence = [residue.name for residue in chain]
    whole.assign_label_seq_id()
    for chain in whole[0]:
        del chain[2:5]
    return gzip.compress(whole.make_mmcif_document().as_string().encode(), mtime=0)


OTHER_SEQUENCE = SEQUENCE[::-1]
FILE = "/download/1TST.cif.gz"
REMOVED = "/rest/v1/holdings/removed/1TST"


def test_chain_of_a_pdb_entry(service: Service, fetcher: Fetcher, tmp_path: Path) -> None:
    service.on(FILE, Reply(200, pdb_entry(("A", SEQUENCE), ("B", OTHER_SEQUENCE))))
    found = fetcher.pdb("1TST", "B")
    assert (found.name, found.sequence) == ("pdb:1TST:B", OTHER_SEQUENCE)
    assert found.structure is not None
    assert len(found.structure) == len(SEQUENCE) - 3
    assert found.structure_index is not None
    assert found.structure_index.tolist()[:6] == [0, 1, -1, -1, -1, 2]
    assert (found.records[0]["source"], found.records[0]["chain"]) == ("RCSB PDB", "B")
    again = make(service, tmp_path, offline=True).pdb("1TST", "A")
    assert again.sequence == SEQUENCE
    assert service.paths == [FILE]


def test_chain_that_is_missing_or_must_be_chosen(service: Service, fetcher: Fetcher) -> None:
    service.on(FILE, Reply(200, pdb_entry(("A", SEQUENCE), ("B", OTHER_SEQUENCE))))
    with pytest.raises(StructureError, match="chain 'C' is not in the file"):
        fetcher.pdb("1TST", "C")
    with pytest.raises(StructureError, match=r"A.*B"):
        fetcher.pdb("1TST", None)
    assert service.paths == [FILE]


def removed(**about: Any) -> dict[str, Any]:
    return {"rcsb_id": "1TST", "rcsb_repository_holdings_removed": {"title": "Test", **about}}


@pytest.mark.parametrize(
    ("page", "code", "said"),
    [
        (
            removed(id_codes_replaced_by=["2TST"], remove_date="2009-07-13T00:00:00+0000"),
            "inactive_entry",
            "removed on 2009-07-13 and replaced by 2TST; use pdb:2TST:A",
        ),
        (removed(), "inactive_entry", "has no successor"),
        (None, "not_found", "the PDB has no file of this entry"),
        ([], "not_found", "the PDB has no file of this entry"),
    ],
)
def test_pdb_entry_that_is_not_there(
    service: Service, fetcher: Fetcher, page: object, code: str, said: str
) -> None:
    if page is not None:
        service.json(REMOVED, page)
    with pytest.raises(FetchError, match=said) as caught:
        fetcher.pdb("1TST", "A")
    assert (caught.value.code, caught.value.exit_code) == (code, 5)


def test_pdb_entry_offline(service: Service, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"1TST\.cif\.gz: not in the cache") as caught:
        make(service, tmp_path, offline=True).pdb("1TST", "A")
    assert caught.value.code == "offline"


def test_pdb_file_cut_off_comes_whole_the_second_time(service: Service, fetcher: Fetcher) -> None:
    whole = pdb_entry(("A", SEQUENCE))
    service.on(FILE, Reply(200, whole[: len(whole) // 2]), Reply(200, whole))
    assert fetcher.pdb("1TST", "A").sequence == SEQUENCE
    assert service.paths == [FILE, FILE]


def test_addresses_of_the_pdb(monkeypatch: pytest.MonkeyPatch) -> None:
    public = Fetcher()
    assert (public.rcsb_url, public.rcsb_data_url) == ("https://files.rcsb.org", "https://data.rcsb.org")
    monkeypatch.setenv("MUTSCAN_RCSB_URL", "http://mirror/")
    assert (Fetcher().rcsb_url, Fetcher().rcsb_data_url) == ("http://mirror", "")
    monkeypatch.setenv("MUTSCAN_RCSB_DATA_URL", "http://data")
    assert Fetcher().rcsb_data_url == "http://data"


# The way from a command


@pytest.fixture
def services(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    for variable in ("UNIPROT", "AFDB", "RCSB", "RCSB_DATA"):
        monkeypatch.setenv(f"MUTSCAN_{variable}_URL", service.url)
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return service


def test_wild_types_by_name(services: Service) -> None:
    services.search(gene("TST1"), OWN)
    services.on(FILE, Reply(200, pdb_entry(("A", SEQUENCE), ("B", OTHER_SEQUENCE))))
    assert resolve_wild_type("TST1").name == ACCESSION
    assert resolve_wild_type("pdb:1TST:B").sequence == OTHER_SEQUENCE
    assert resolve_wild_type("pdb:1TST", chain="B", offline=True).sequence == OTHER_SEQUENCE
    with pytest.raises(UsageError, match="names chain A, --chain B another"):
        resolve_wild_type("pdb:1TST:A", chain="B")
    with pytest.raises(UsageError, match="is already a structure"):
        resolve_wild_type("pdb:1TST:A", structure="a.pdb")


def test_local_file_wins_over_a_name(services: Service, tmp_path: Path) -> None:
    services.search(gene("TST1"), OWN)
    (tmp_path / "TST1").write_text(">mine\nMKTAYIAK\n")
    assert resolve_wild_type("TST1").name == "mine"
    assert services.requests == []


@pytest.mark.parametrize("text", [ACCESSION, "TEST_HUMAN", "NP_000537.3", "pdb:1TST:A", "mine.fasta"])
def test_an_organism_without_a_gene_is_refused(services: Service, tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.fasta").write_text(">mine\nMKTAYIAK\n")
    with pytest.raises(UsageError, match=f"--organism mouse: belongs to a gene symbol .*read {text}, which"):
        resolve_wild_type(text, organism="mouse")
    with pytest.raises(UsageError, match=f"--organism mouse: .*read {text}, {text}, which"):
        compare(text, text, organism="mouse")
    with pytest.raises(UsageError, match=f"--organism mouse: .*read {text}, which"):
        ProteinSources(organism="mouse").check_organism([text])
    ProteinSources(organism="mouse").check_organism([text, "TST1"])
    (tmp_path / "own.fasta").write_text(">TST1\nMKTAYIAK\n")
    with pytest.raises(UsageError, match=r"--organism mouse: .*read TST1, which"):
        ProteinSources(tmp_path / "own.fasta", organism="mouse").check_organism(["TST1"])
    assert services.requests == []


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("two words", UsageError, "is neither a file nor a name that is known: expected a UniProt accession"),
        ("NOPE", FetchError, "NOPE: no such file, and UniProt knows no gene NOPE of human; give a UniProt"),
        ("UNASKED", FetchError, "UNASKED: no such file, and cannot be looked up as a gene symbol: http"),
    ],
)
def test_word_that_is_neither_says_what_was_tried(
    services: Service, text: str, error: type[MutscanError], said: str
) -> None:
    services.search(gene("NOPE"))
    services.search(gene("NOPE", reviewed=False))
    with pytest.raises(error) as caught:
        resolve_wild_type(text, offline=text == "UNASKED")
    assert said in caught.value.message
    assert caught.value.message.count(text) <= 3


def test_tables_name_proteins_the_same_way(services: Service, tmp_path: Path) -> None:
    services.search(gene("TST1", 'organism_name:"mouse"'), OF_MOUSE)
    services.on(FILE, Reply(200, pdb_entry(("A", SEQUENCE))))
    (tmp_path / "own.fasta").write_text(">TST1\nMKTAYIAK\n")
    names = ProteinSources(organism="mouse")
    assert names.wild_type("TST1").name == ACCESSION
    assert names.wild_type("pdb:1TST:A").sequence == SEQUENCE
    assert ProteinSources(tmp_path / "own.fasta").wild_type("TST1").sequence == "MKTAYIAK"
    assert names.identity("TST1", "auto") != ProteinSources().identity("TST1", "auto")


def test_table_names_that_are_nowhere(services: Service, tmp_path: Path) -> None:
    services.search(gene("NOPE"))
    services.search(gene("NOPE", reviewed=False))
    (tmp_path / "own.fasta").write_text(">mine\nMKTAYIAK\n")
    for offline, said in (
        (False, "UniProt knows no gene NOPE of human"),
        (True, "UniProt knows no gene NOPE"),
    ):
        with pytest.raises(UsageError, match=f"NOPE: is not in --sequences and {said}") as caught:
            ProteinSources(tmp_path / "own.fasta", offline=offline).wild_type("NOPE")
        assert caught.value.code == "unknown_protein"
    with pytest.raises(UsageError, match="UNASKED: --offline forbids looking it up as a gene; give its"):
        ProteinSources(offline=True).wild_type("UNASKED")
    with pytest.raises(UsageError, match="is no name that can be looked up"):
        ProteinSources().wild_type("two words")
    with pytest.raises(FetchError, match="P00000"):
        ProteinSources(offline=True).wild_type("P00000")
