"""From an accession to a wild type, against a server that answers as the services do, and as they fail."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mutscan.errors import FetchError, UsageError
from mutscan.fetch import Fetcher, Patience, list_cache
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE, Reply, Service

ENTRY = f"/uniprotkb/{ACCESSION}.json"
LIST = f"/api/prediction/{ACCESSION}"
CIF = f"/files/AF-{ACCESSION}-F1-model_v6.cif"


@pytest.fixture
def service() -> Iterator[Service]:
    with fake.running() as service:
        yield service


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def fetcher(service: Service, tmp_path: Path, waits: list[float]) -> Fetcher:
    return make(service, tmp_path, waits)


def make(service: Service, cache: Path, waits: list[float] | None = None, **options: bool) -> Fetcher:
    patience = Patience(timeout=5.0, sleep=(waits if waits is not None else []).append)
    return Fetcher(
        cache,
        uniprot_url=service.url,
        afdb_url=service.url,
        patience=patience,
        offline=options.get("offline", False),
    )


def test_accession(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    wild_type = fetcher.wild_type(ACCESSION)

    assert wild_type.name == ACCESSION
    assert wild_type.sequence == SEQUENCE
    assert wild_type.structure is not None
    assert wild_type.structure.sequence == SEQUENCE
    assert wild_type.structure_index is not None
    assert wild_type.structure_index.tolist() == list(range(len(SEQUENCE)))
    assert wild_type.structure.plddt is not None
    assert np.allclose(wild_type.structure.plddt, [60 + i % 40 for i in range(len(SEQUENCE))])

    assert [
        (f.kind, f.description, f.start, f.end, f.source) for f in wild_type.features if f.kind == "Domain"
    ] == [("Domain", "SH3", 12, 45, "UniProt")]
    assert "Natural variant" not in {f.kind for f in wild_type.features}
    assert any("1 UniProt feature without a definite position" in note for note in wild_type.notes)


def test_records_say_where_everything_came_from(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    entry, listing, model = fetcher.wild_type(ACCESSION).records
    assert entry["organism"] == "Homo sapiens"

    assert (entry["source"], entry["version"], entry["entry_version"], entry["sequence_version"]) == (
        "UniProt",
        fake.RELEASE,
        310,
        4,
    )
    assert entry["sequence_sha256"] == hashlib.sha256(SEQUENCE.encode()).hexdigest()
    assert (listing["source"], listing["url"]) == ("AlphaFold DB", service.url + LIST)
    assert (model["model"], model["version"], model["etag"]) == (f"AF-{ACCESSION}-F1", "6", '"abc123"')
    data = Path(str(model["path"])).read_bytes()
    assert (model["size"], model["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert str(model["date"]).endswith("Z")
    json.dumps([entry, listing, model])


def test_says_who_asks(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    fetcher.wild_type(ACCESSION)
    assert all(headers["User-Agent"].startswith("mutscan/") for _, headers in service.requests)


def test_second_time_asks_nobody(service: Service, fetcher: Fetcher, tmp_path: Path) -> None:
    service.protein()
    first = fetcher.wild_type(ACCESSION)
    asked = len(service.requests)
    assert asked == 3

    for again in (fetcher, make(service, tmp_path), make(service, tmp_path, offline=True)):
        second = again.wild_type(ACCESSION)
        assert second.sequence == first.sequence
        assert second.records == first.records
        assert second.features == first.features
    assert len(service.requests) == asked


def test_without_structure_alphafold_is_not_asked(service: Service, fetcher: Fetcher) -> None:
    service.protein(model=False)
    assert fetcher.wild_type(ACCESSION, structure=False).structure is None
    assert service.paths == [ENTRY]


def test_lower_case_accession(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    assert fetcher.wild_type(ACCESSION.lower()).name == ACCESSION


def test_not_an_accession(fetcher: Fetcher) -> None:
    with pytest.raises(UsageError, match="P53_HUMAN: not a UniProt accession"):
        fetcher.wild_type("P53_HUMAN")


# Which model


def test_of_a_protein_in_fragments_the_first_is_used(service: Service, fetcher: Fetcher) -> None:
    service.protein(model=False)
    items = [
        fake.prediction(
            service.url,
            SEQUENCE[first - 1 : first + 39],
            modelEntityId=f"AF-{ACCESSION}-F{number}",
            sequenceStart=first,
            sequenceEnd=first + 39,
            cifUrl=f"{service.url}/files/F{number}.cif",
        )
        for number, first in ((1, 1), (2, 21))
    ]
    service.json(f"/api/prediction/{ACCESSION}", items)
    service.on("/files/F1.cif", fake.cif_reply(SEQUENCE[:40]))
    protein = fetcher.wild_type(ACCESSION)
    assert protein.structure_index is not None
    assert protein.structure_index.tolist() == [*range(40), *[-1] * 20]
    words = (
        f"in fragments: AF-{ACCESSION}-F1 is used, a model of residues 1-40 of 60; the rest is scored without"
    )
    assert [note for note in protein.notes if words in note]


def test_chooses_by_name_fragment_and_sequence(service: Service, fetcher: Fetcher) -> None:
    """The canonical model stands last, behind all that has been taken for it elsewhere."""
    service.protein()
    url = service.url
    isoform = fake.prediction(url, ISOFORM, accession=f"{ACCESSION}-2")
    unmarked = fake.prediction(
        url,
        ISOFORM,
        uniprotAccession=ACCESSION,
        modelEntityId=f"AF-{ACCESSION}-3-F1",
        cifUrl=f"{url}/files/no.cif",
    )
    stale = fake.prediction(url, SEQUENCE[:-1] + "A", version=5)
    second = fake.prediction(
        url, modelEntityId=f"AF-{ACCESSION}-F2", cifUrl=f"{url}/files/AF-{ACCESSION}-F2.cif"
    )
    other = fake.prediction(url, accession="P12345")
    complex_ = fake.prediction(url, isComplex=True, modelEntityId="AF-0000000066503175")
    no_file = {"modelEntityId": f"AF-{ACCESSION}-F1", "sequence": SEQUENCE}
    service.json(LIST, [isoform, unmarked, stale, second, other, complex_, no_file, fake.prediction(url)])

    wild_type = fetcher.wild_type(ACCESSION)
    assert wild_type.structure is not None
    assert wild_type.structure.sequence == SEQUENCE
    assert service.paths[-1] == CIF


def test_newest_version_whatever_the_order(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    new = fake.prediction(service.url, version=11)
    service.json(
        LIST, [fake.prediction(service.url, version=9), new, fake.prediction(service.url, version=10)]
    )
    service.on(CIF.replace("v6", "v11"), fake.cif_reply(SEQUENCE))
    assert fetcher.wild_type(ACCESSION).records[-1]["version"] == "11"


def test_old_key_names_and_pdb_only(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    service.json(LIST, [fake.old_prediction(service.url)])
    service.on(f"/files/AF-{ACCESSION}-F1-model_v4.pdb", fake.pdb_reply(SEQUENCE))
    wild_type = fetcher.wild_type(ACCESSION)
    assert wild_type.structure is not None
    assert wild_type.records[-1]["version"] == "4"


def test_nothing_but_a_url(service: Service, fetcher: Fetcher) -> None:
    """All keys but the URL are optional; the file's own sequence then decides."""
    service.protein()
    service.json(LIST, [{"cifUrl": CIF}])
    wild_type = fetcher.wild_type(ACCESSION)
    assert wild_type.structure is not None
    assert wild_type.records[-1]["version"] == "6"


def test_public_address_is_fetched_from_the_mirror(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    service.json(LIST, [fake.prediction("https://alphafold.ebi.ac.uk")])
    assert fetcher.wild_type(ACCESSION).structure is not None


@pytest.mark.parametrize(
    ("modelled", "said"),
    [
        (SEQUENCE[:9] + "W" + SEQUENCE[10:], r"position 10 \(W in the model, R in UniProt\)"),
        (
            SEQUENCE[:-4],
            r"56 residues against 60, first difference at position 57 \(no residue in the model, V",
        ),
        (SEQUENCE + "AA", r"62 residues against 60, .* \(A in the model, no residue in UniProt\)"),
    ],
)
def test_listed_sequence_differs(service: Service, fetcher: Fetcher, modelled: str, said: str) -> None:
    service.protein()
    service.json(LIST, [fake.prediction(service.url, modelled)])
    with pytest.raises(FetchError, match=said) as caught:
        fetcher.wild_type(ACCESSION)
    assert (caught.value.code, caught.value.exit_code) == ("structure_mismatch", 5)
    message = caught.value.message
    assert f"AF-{ACCESSION}-F1 (version 6)" in message
    assert "--structure" in message
    assert CIF not in service.paths


@pytest.mark.parametrize("left_out", [[], ["sequence"], ["sequence", "sequenceStart"]])
def test_sequence_of_the_file_differs(service: Service, fetcher: Fetcher, left_out: list[str]) -> None:
    service.protein()
    model = fake.prediction(service.url)
    for key in left_out:
        del model[key]
    service.json(LIST, [model])
    service.on(CIF, fake.cif_reply("W" + SEQUENCE[1:]))
    with pytest.raises(FetchError, match="first difference at position 1 ") as caught:
        fetcher.wild_type(ACCESSION)
    assert (caught.value.code, caught.value.exit_code) == ("structure_mismatch", 5)


@pytest.mark.parametrize(
    "reply",
    [
        fake.json_reply([]),
        fake.json_reply({"error": "No prediction"}, status=404),
        Reply(404, b"<html>Not found</html>"),
        fake.json_reply([fake.prediction("http://x", accession="P12345")]),
    ],
)
def test_no_model(service: Service, tmp_path: Path, reply: Reply) -> None:
    service.protein(model=False)
    service.on(LIST, reply)
    for offline in (False, True):  # what is not there is remembered for offline runs
        wild_type = make(service, tmp_path, offline=offline).wild_type(ACCESSION)
        assert wild_type.sequence == SEQUENCE
        assert wild_type.structure is None
        assert any("AlphaFold DB has no model of Q9TST0" in note for note in wild_type.notes)


def test_a_model_that_came_later_is_found(service: Service, tmp_path: Path) -> None:
    service.protein(model=False)
    assert make(service, tmp_path).wild_type(ACCESSION).structure is None
    service.protein()
    assert make(service, tmp_path).wild_type(ACCESSION).structure is not None


def test_list_from_the_cache_names_a_file_that_is_gone(service: Service, tmp_path: Path) -> None:
    """A run that stopped between list and file, taken up after a release of AlphaFold DB."""
    service.protein()
    service.on(CIF, fake.json_reply({}, status=404))
    with pytest.raises(FetchError, match=r"AF-Q9TST0-F1-model_v6\.cif: the server answered 404"):
        make(service, tmp_path).wild_type(ACCESSION)
    service.json(LIST, [fake.prediction(service.url, version=7)])
    service.on(CIF.replace("v6", "v7"), fake.cif_reply(SEQUENCE))
    assert make(service, tmp_path).wild_type(ACCESSION).records[-1]["version"] == "7"


# Isoforms


def test_isoform(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    name = f"{ACCESSION}-2"
    model = fake.prediction(service.url, ISOFORM, accession=name)
    service.json(LIST, [fake.prediction(service.url), model])
    service.on(f"/files/AF-{name}-F1-model_v6.cif", fake.cif_reply(ISOFORM))

    wild_type = fetcher.wild_type(name)
    assert wild_type.name == name
    assert wild_type.sequence == ISOFORM
    assert wild_type.structure is not None
    assert wild_type.structure.sequence == ISOFORM
    assert service.paths == [ENTRY, f"/uniprotkb/{name}.fasta", LIST, f"/files/AF-{name}-F1-model_v6.cif"]

    features = {(f.kind, f.start, f.end): f.description for f in wild_type.features}
    assert features == {
        ("Domain", 6, 39): "SH3",
        ("Region", 5, 24): "Disordered; part of 5-30 in Q9TST0",
        ("DNA binding", 8, 19): "",
        ("Binding site", 14, 14): "Zn(2+)",
        ("Disulfide bond", 9, 9): "to 29",
        ("Disulfide bond", 29, 29): "to 9",
        ("Disulfide bond", 35, 35): "Interchain",
    }
    for feature in wild_type.features:  # same residue, other number
        if feature.kind == "Binding site":
            assert ISOFORM[feature.start - 1] == SEQUENCE[20 - 1]
    left_out = next(note for note in wild_type.notes if "does not have" in note)
    assert "Motif 8-12 (Nuclear localization signal)" in left_out
    assert "Modified residue 6 (Phosphotyrosine)" in left_out
    assert "Repeat 40-60 (WD 1)" in left_out
    assert any("list of spliced segments" in note for note in wild_type.notes)


def test_isoform_model_in_a_list_of_its_own(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    name = f"{ACCESSION}-2"
    service.json(f"/api/prediction/{name}", [fake.prediction(service.url, ISOFORM, accession=name)])
    service.on(f"/files/AF-{name}-F1-model_v6.cif", fake.cif_reply(ISOFORM))
    assert fetcher.wild_type(name).structure is not None


def test_isoform_is_not_given_the_canonical_model(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    wild_type = fetcher.wild_type(f"{ACCESSION}-2")
    assert wild_type.structure is None
    assert any(f"no model of {ACCESSION}-2" in note for note in wild_type.notes)


def test_isoform_model_of_another_sequence(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    name = f"{ACCESSION}-2"
    service.json(
        LIST, [fake.prediction(service.url), fake.prediction(service.url, ISOFORM[:-3], accession=name)]
    )
    with pytest.raises(FetchError, match="40 residues against 43") as caught:
        fetcher.wild_type(name)
    assert (caught.value.code, caught.value.exit_code) == ("structure_mismatch", 5)


def test_displayed_isoform_is_the_entry(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    wild_type = fetcher.wild_type(f"{ACCESSION}-1")
    assert wild_type.name == f"{ACCESSION}-1"
    assert wild_type.sequence == SEQUENCE
    assert wild_type.structure is not None
    assert service.paths == [ENTRY, LIST, CIF]


def test_displayed_isoform_need_not_be_number_one(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    page = fake.entry()
    first, second = page["comments"][0]["isoforms"]
    first["isoformIds"], second["isoformIds"] = [f"{ACCESSION}-2"], [f"{ACCESSION}-1"]
    service.json(ENTRY, page)
    service.on(f"/uniprotkb/{ACCESSION}-1.fasta", fake.fasta_reply(f"{ACCESSION}-1", ISOFORM))
    assert fetcher.wild_type(f"{ACCESSION}-2", structure=False).sequence == SEQUENCE
    assert fetcher.wild_type(f"{ACCESSION}-1", structure=False).sequence == ISOFORM


def test_model_of_an_isoform_that_became_canonical(service: Service, fetcher: Fetcher) -> None:
    """UniProt changed which isoform is displayed; AlphaFold DB still files its model under the isoform."""
    service.protein()
    model = fake.prediction(service.url, accession=f"{ACCESSION}-5")
    service.json(LIST, [fake.prediction(service.url, ISOFORM), model])
    service.on(f"/files/AF-{ACCESSION}-5-F1-model_v6.cif", fake.cif_reply(SEQUENCE))
    wild_type = fetcher.wild_type(ACCESSION)
    assert wild_type.structure is not None
    assert wild_type.structure.sequence == SEQUENCE
    assert any(f"AF-{ACCESSION}-5-F1, a model of this sequence" in note for note in wild_type.notes)


def test_unknown_isoform_names_the_known_ones(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    with pytest.raises(FetchError, match="UniProt lists Q9TST0-1, Q9TST0-2") as caught:
        fetcher.wild_type(f"{ACCESSION}-9")
    assert caught.value.code == "not_found"


def test_isoform_answer_of_another_protein(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    service.on(f"/uniprotkb/{ACCESSION}-2.fasta", fake.fasta_reply(ACCESSION, SEQUENCE))
    with pytest.raises(FetchError, match="instead of Q9TST0-2"):
        fetcher.wild_type(f"{ACCESSION}-2")


# Entries that are none


def test_unknown_accession(service: Service, fetcher: Fetcher, waits: list[float]) -> None:
    with pytest.raises(FetchError, match="P99999: UniProt has no such entry") as caught:
        fetcher.wild_type("P99999")
    assert (caught.value.code, caught.value.exit_code) == ("not_found", 5)
    assert waits == []
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ({"inactiveReasonType": "MERGED", "mergeDemergeTo": ["P12345"]}, "merged into P12345; use P12345,"),
        (
            {"inactiveReasonType": "DEMERGED", "mergeDemergeTo": ["P99998", "P99999"]},
            "split into P99998, P99999; use P99998 or P99999,",
        ),
        (
            {"inactiveReasonType": "DELETED", "deletedReason": "Redundant sequence"},
            r"deleted \(Redundant sequence\) and has no successor",
        ),
        ({"inactiveReasonType": "DELETED"}, "deleted and has no successor"),
    ],
)
def test_inactive_entry(service: Service, fetcher: Fetcher, reason: dict[str, object], said: str) -> None:
    page = {
        "entryType": "Inactive",
        "primaryAccession": ACCESSION,
        "uniProtkbId": "TEST_HUMAN",
        "annotationScore": 0.0,
        "inactiveReason": reason,
        "extraAttributes": {"uniParcId": "UPI0000128BBF"},
    }
    service.json(ENTRY, page)
    with pytest.raises(FetchError, match=said) as caught:
        fetcher.wild_type(ACCESSION)
    assert caught.value.code == "inactive_entry"


def test_merged_entry_answers_with_a_redirect(service: Service, fetcher: Fetcher) -> None:
    """303 See Other to the successor, as rest.uniprot.org does; nobody's positions are moved silently."""
    service.protein()
    service.on("/uniprotkb/P12345.json", Reply(303, b"", {"Location": f"{ENTRY}?from=P12345"}))
    service.json(f"{ENTRY}?from=P12345", fake.entry())
    with pytest.raises(FetchError, match=r"P12345: .* use Q9TST0") as caught:
        fetcher.wild_type("P12345")
    assert caught.value.code == "inactive_entry"


# Offline


def test_offline_without_cache(service: Service, tmp_path: Path) -> None:
    service.protein()
    with pytest.raises(FetchError) as caught:
        make(service, tmp_path, offline=True).wild_type(ACCESSION)
    assert caught.value.code == "offline"
    assert caught.value.exit_code == 5
    assert service.url + ENTRY in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "without --offline" in caught.value.message
    assert service.requests == []


@pytest.mark.parametrize("lost", [1, 2])
def test_offline_names_the_one_file_that_is_missing(service: Service, tmp_path: Path, lost: int) -> None:
    service.protein()
    record = make(service, tmp_path).wild_type(ACCESSION).records[lost]
    path = Path(str(record["path"]))
    path.unlink()
    path.with_name(path.name + ".record.json").unlink()
    with pytest.raises(FetchError) as caught:
        make(service, tmp_path, offline=True).wild_type(ACCESSION)
    assert str(record["url"]) in caught.value.message
    assert len(service.requests) == 3


# A damaged cache


def damage_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7] + b"garbage")


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def damage_remove(path: Path) -> None:
    path.unlink()


def damage_record(path: Path) -> None:
    path.with_name(path.name + ".record.json").write_text('{"url": "')


@pytest.mark.parametrize("damage", [damage_bytes, damage_truncate, damage_remove, damage_record])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_damaged_file(
    service: Service, tmp_path: Path, damage, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    service.protein()
    records = make(service, tmp_path).wild_type(ACCESSION).records
    path = Path(str(records[which]["path"]))
    sound = path.read_bytes()
    damage(path)

    with pytest.raises(FetchError, match="damaged in the cache") as caught:
        make(service, tmp_path, offline=True).wild_type(ACCESSION)
    assert caught.value.code == "offline"
    assert str(path) in caught.value.message
    assert len(service.requests) == 3

    again = make(service, tmp_path).wild_type(ACCESSION)
    assert again.structure is not None
    assert path.read_bytes() == sound
    assert [record["sha256"] for record in again.records] == [record["sha256"] for record in records]
    assert len(service.requests) == 4
    assert "downloading it again" in caplog.text


def test_nothing_bad_is_ever_kept(service: Service, tmp_path: Path) -> None:
    service.on(ENTRY, fake.HTML)
    with pytest.raises(FetchError):
        make(service, tmp_path).wild_type(ACCESSION)
    assert list_cache(tmp_path) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_cache_that_cannot_be_written(service: Service, tmp_path: Path) -> None:
    service.protein()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchError, match="MUTSCAN_CACHE_DIR") as caught:
        make(service, tmp_path / "file").wild_type(ACCESSION)
    assert str(tmp_path / "file") in caught.value.message


# Faults, at each of the three files


@pytest.mark.parametrize("path", [ENTRY, LIST, CIF])
@pytest.mark.parametrize(
    "fault",
    [
        Reply(500),
        Reply(503, b"", {"Retry-After": "2"}),
        Reply(429, b"", {"Retry-After": "2"}),
        fake.HTML,
        Reply(200, b""),
    ],
)
def test_fault_that_passes(
    service: Service, fetcher: Fetcher, waits: list[float], path: str, fault: Reply
) -> None:
    service.protein()
    service.routes[path].insert(0, fault)
    assert fetcher.wild_type(ACCESSION).structure is not None
    assert len(service.requests) == 4
    assert len(waits) == 1
    assert waits[0] >= float(fault.headers.get("Retry-After", 0))


@pytest.mark.parametrize("path", [ENTRY, LIST, CIF])
@pytest.mark.parametrize("length", [True, False])
def test_cut_off_file_that_comes_whole_the_second_time(
    service: Service, fetcher: Fetcher, path: str, length: bool
) -> None:
    """Without a stated length only the content tells; a cut between two rows of coordinates still parses."""
    service.protein()
    (whole,) = service.routes[path]
    lines = whole.body.splitlines(keepends=True)
    cut = sum(map(len, lines[: len(lines) // 2])) if path == CIF else len(whole.body) // 2
    service.routes[path].insert(0, Reply(200, whole.body, cut=cut, no_length=not length))
    wild_type = fetcher.wild_type(ACCESSION)
    assert wild_type.structure is not None
    assert wild_type.structure.sequence == SEQUENCE
    assert len(service.requests) == 4


@pytest.mark.parametrize("path", [ENTRY, LIST, CIF])
@pytest.mark.parametrize(
    ("fault", "said"),
    [(Reply(502), "answered 502"), (fake.HTML, "a web page"), (Reply(403), "answered 403")],
)
def test_fault_that_stays_names_the_address(
    service: Service, fetcher: Fetcher, path: str, fault: Reply, said: str
) -> None:
    service.protein()
    service.on(path, fault)
    with pytest.raises(FetchError, match=said) as caught:
        fetcher.wild_type(ACCESSION)
    assert service.url + path in caught.value.message
    assert caught.value.exit_code == 5
    assert "\n" not in caught.value.message


def test_list_that_is_an_error_message(service: Service, fetcher: Fetcher) -> None:
    service.protein()
    service.json(LIST, {"error": "Invalid identifier format."})
    with pytest.raises(FetchError, match="Invalid identifier format"):
        fetcher.wild_type(ACCESSION)


def test_get_and_refresh(service: Service, fetcher: Fetcher) -> None:
    service.on("/table", Reply(200, b"old"), Reply(200, b"new"))
    url = service.url + "/table"
    assert fetcher.get(url, kind="tables", check=len).path.read_bytes() == b"old"
    assert fetcher.get(url, kind="tables", check=len).path.read_bytes() == b"old"
    record = fetcher.get(url, kind="tables", check=len, refresh=True)
    assert record.path.read_bytes() == b"new"
    assert (record.source, record.size, record.url) == ("tables", 3, url)
    assert len(service.requests) == 2


# Addresses


def test_addresses_from_the_environment(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.protein()
    monkeypatch.setenv("MUTSCAN_UNIPROT_URL", service.url + "/")
    monkeypatch.setenv("MUTSCAN_AFDB_URL", service.url)
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "elsewhere"))
    fetcher = Fetcher()
    assert fetcher.wild_type(ACCESSION).structure is not None
    assert {record.kind for record in list_cache(tmp_path / "elsewhere")} == {"uniprot", "afdb"}


def test_public_services_by_default() -> None:
    fetcher = Fetcher()
    assert (fetcher.uniprot_url, fetcher.afdb_url) == (
        "https://rest.uniprot.org",
        "https://alphafold.ebi.ac.uk",
    )


def test_local_server_is_reached_beside_a_proxy(
    service: Service, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.protein()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetcher.wild_type(ACCESSION).structure is not None


def test_unusable_proxy_settings(service: Service, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://nowhere:70")
    with pytest.raises(FetchError, match="ALL_PROXY"):
        fetcher.wild_type(ACCESSION)


@pytest.mark.network
def test_the_real_services(tmp_path: Path) -> None:
    wild_type = Fetcher(tmp_path).wild_type("P04637")
    assert len(wild_type.sequence) == 393
    assert wild_type.structure is not None
