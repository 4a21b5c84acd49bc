"""Names of domains from InterPro and TED: welcome, and never missed."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mutscan.calling import Namer
from mutscan.fetch import Fetcher
from mutscan.fetch.domains import read_interpro, read_ted
from mutscan.fetch.http import Patience
from mutscan.structures import Feature
from tests import fake_services as fake
from tests.fake_services import ACCESSION, SEQUENCE, Service

BASE = f"/api/entry/interpro/protein/uniprot/{ACCESSION}"
INTERPRO = f"{BASE}?page_size=200"
TED = f"/api/v1/uniprot/summary/{ACCESSION}?skip=0&limit=100"


def interpro_entry(
    accession: str, name: object, kind: str, *places: list[tuple[int, int]], length: int = len(SEQUENCE)
) -> dict[str, Any]:
    return {
        "metadata": {"accession": accession, "name": name, "type": kind, "source_database": "interpro"},
        "proteins": [
            {
                "accession": ACCESSION.lower(),
                "protein_length": length,
                "entry_protein_locations": [
                    {"fragments": [{"start": a, "end": b} for a, b in place]} for place in places
                ],
            }
        ],
    }


def interpro_page(*entries: dict[str, Any], after: str | None = None) -> dict[str, Any]:
    return {"count": len(entries), "next": after, "previous": None, "results": list(entries)}


def ted_page(*choppings: tuple[str, str]) -> dict[str, Any]:
    return {
        "count": len(choppings),
        "data": [
            {
                "ted_id": f"AF-{ACCESSION}-F1-model_v4_TED{number:02d}",
                "uniprot_acc": ACCESSION,
                "chopping": chopping,
                "cath_label": label,
                "consensus_level": "high",
            }
            for number, (chopping, label) in enumerate(choppings, start=1)
        ],
    }


@pytest.fixture
def service() -> Iterator[Service]:
    with fake.running() as running:
        running.protein(model=False)
        yield running


def fetcher(service: Service, cache: Path, **options: Any) -> Fetcher:
    given = {
        "uniprot_url": service.url,
        "afdb_url": service.url,
        "interpro_url": service.url,
        "ted_url": service.url,
        "patience": Patience(timeout=5.0, sleep=lambda seconds: None),
        **options,
    }
    return Fetcher(cache, **given)


def test_names_come_with_source_and_coordinates(service: Service, tmp_path: Path) -> None:
    service.json(
        INTERPRO,
        interpro_page(
            interpro_entry("IPR000001", "SH3 domain", "domain", [(12, 20), (30, 45)]),
            interpro_entry("IPR000009", "Whole family", "family", [(1, 60)]),
            after=f"https://www.ebi.ac.uk:443/interpro{BASE}?cursor=abc&page_size=200",
        ),
    )
    service.json(
        f"{BASE}?cursor=abc&page_size=200",
        interpro_page(
            interpro_entry(
                "IPR000002", {"name": "WD40 repeat", "short": "WD"}, "repeat", [(2, 9)], [(50, 58)]
            )
        ),
    )
    service.json(TED, ted_page(("5-25_40-58", "2.60.40.720"), ("26-39", "-")))
    wild_type = fetcher(service, tmp_path).wild_type(ACCESSION, structure=False)
    named = [(f.source, f.description, f.start, f.end) for f in wild_type.features if f.source != "UniProt"]
    assert sorted(named) == [
        ("InterPro", "SH3 domain [IPR000001]", 12, 20),
        ("InterPro", "SH3 domain [IPR000001]", 30, 45),
        ("InterPro", "WD40 repeat 1 of 2 [IPR000002]", 2, 9),
        ("InterPro", "WD40 repeat 2 of 2 [IPR000002]", 50, 58),
        ("TED", "TED01 domain [CATH 2.60.40.720]", 5, 25),
        ("TED", "TED01 domain [CATH 2.60.40.720]", 40, 58),
        ("TED", "TED02 domain", 26, 39),
    ]
    assert [record["source"] for record in wild_type.records] == ["UniProt", "InterPro", "InterPro", "TED"]
    # what was fetched once is not asked for again, and serves without a network
    asked = len(service.paths)
    again = fetcher(service, tmp_path, offline=True).wild_type(ACCESSION, structure=False)
    assert again.features == wild_type.features
    assert len(service.paths) == asked


def test_uniprot_goes_before_ted_before_interpro(service: Service, tmp_path: Path) -> None:
    service.json(INTERPRO, interpro_page(interpro_entry("IPR000001", "Small", "domain", [(52, 57)])))
    service.json(TED, ted_page(("45-60", "2.60.40.720")))
    features = fetcher(service, tmp_path).wild_type(ACCESSION, structure=False).features

    def homes(of: Sequence[Feature]) -> list[tuple[str, str]]:
        return [(home.name, home.source) for home in Namer(len(SEQUENCE), of).homes(53)]

    assert homes(features)[0][1] == "TED"  # the first that knows a domain
    assert homes(features)[1] == ("WD 1 repeat", "UniProt")
    assert homes([f for f in features if f.source == "InterPro"]) == [("Small [IPR000001]", "InterPro")]


@pytest.mark.parametrize(
    "reply",
    [
        fake.Reply(503, b"busy"),
        fake.Reply(408, b"query timed out"),
        fake.Reply(200, b"<html>login</html>"),
        fake.Reply(200, b"[]"),
        fake.Reply(200, b'{"results": [1]}'),
        fake.json_reply({"results": [{"metadata": {"type": "domain"}, "proteins": ["x"]}]}),
        fake.json_reply(interpro_page(interpro_entry("IPR1", "x", "domain", [(5, 70)]))),
        fake.json_reply(interpro_page(interpro_entry("IPR1", "x", "domain", [(5, 9)], length=90))),
    ],
)
def test_a_service_that_fails_is_a_note_and_no_error(
    service: Service, tmp_path: Path, reply: fake.Reply
) -> None:
    service.on(INTERPRO, reply)
    service.json(TED, ted_page(("5-58", "-")))
    wild_type = fetcher(service, tmp_path).wild_type(ACCESSION, structure=False)
    assert {f.source for f in wild_type.features} == {"UniProt", "TED"}
    (note,) = [note for note in wild_type.notes if "InterPro" in note]
    assert note.startswith("no names of domains from InterPro: ")
    assert service.paths.count(INTERPRO) <= 2  # asked briefly


def test_none_there_is_an_answer(service: Service, tmp_path: Path) -> None:
    service.on(INTERPRO, fake.Reply(204))  # what InterPro says of a protein without entries
    wild_type = fetcher(service, tmp_path).wild_type(ACCESSION, structure=False)  # TED: 404
    assert {f.source for f in wild_type.features} == {"UniProt"}
    assert not any("without names" in note for note in wild_type.notes)


def test_offline_without_cached_names_is_a_note(service: Service, tmp_path: Path) -> None:
    fetcher(service, tmp_path, interpro_url=None, ted_url=None).wild_type(ACCESSION, structure=False)
    wild_type = fetcher(service, tmp_path, offline=True).wild_type(ACCESSION, structure=False)
    assert sum("no names of domains" in note for note in wild_type.notes) == 2


def test_a_mirror_of_uniprot_does_not_lead_to_the_public_services(tmp_path: Path) -> None:
    mirrored = Fetcher(tmp_path, uniprot_url="http://localhost:1")
    assert (mirrored.interpro_url, mirrored.ted_url) == ("", "")
    public = Fetcher(tmp_path, uniprot_url="https://rest.uniprot.org")
    assert public.interpro_url == "https://www.ebi.ac.uk/interpro"
    assert public.ted_url == "https://ted.cathdb.info"


def test_isoforms_get_the_names_where_they_have_the_residues(service: Service, tmp_path: Path) -> None:
    service.json(INTERPRO, interpro_page(interpro_entry("IPR000001", "SH3 domain", "domain", [(12, 45)])))
    service.json(TED, ted_page(("51-60", "-")))
    wild_type = fetcher(service, tmp_path).wild_type(f"{ACCESSION}-2", structure=False)
    (found,) = [f for f in wild_type.features if f.source == "InterPro"]
    assert wild_type.sequence[found.start - 1 : found.end] == SEQUENCE[11:45]
    assert not [f for f in wild_type.features if f.source == "TED"]  # isoform 2 ends before


def test_readers_say_what_they_cannot_read() -> None:
    with pytest.raises(ValueError, match="no data"):
        read_ted(b"{}", 10)
    with pytest.raises(ValueError, match="5-70 in a sequence of 60"):
        read_ted(json.dumps(ted_page(("5-70", "-"))).encode(), 60)
    with pytest.raises(ValueError, match="no results"):
        read_interpro(b"{}", ACCESSION, 10)
    other = interpro_entry("IPR1", "x", "domain", [(1, 5)])
    other["proteins"][0]["accession"] = "P04637"
    assert read_interpro(json.dumps(interpro_page(other)).encode(), ACCESSION, 60) == ((), "")
