"""AlphaMissense's values from AlphaFold DB: the right file, and every fault."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutscan.errors import FetchError
from mutscan.fetch import Fetcher, list_cache
from mutscan.fetch.alphamissense import read_alphamissense
from mutscan.fetch.http import Patience
from mutscan.residues import STANDARD
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE, Reply, Service

HEADER = "protein_variant,am_pathogenicity,am_class\n"
FILE = f"/files/AF-{ACCESSION}-F1-aa-substitutions.csv"
LISTED = f"/api/prediction/{ACCESSION}"


def test_every_substitution_has_its_value() -> None:
    values = read_alphamissense(fake.alphamissense_text(SEQUENCE).encode(), SEQUENCE)
    assert values.shape == (60, 20)
    own = [STANDARD.index(letter) for letter in SEQUENCE]
    assert np.isnan(values[np.arange(60), own]).all()
    assert np.isfinite(values).sum() == 60 * 19
    assert values[1, STANDARD.index("R")] == pytest.approx(0.763)  # K2R


def test_what_is_missing_is_not_known() -> None:
    values = read_alphamissense((HEADER + "M1A,0.5321,Amb\r\n").encode(), "MX")
    assert values[0, 0] == 0.5321
    assert np.isfinite(values).sum() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no table that begins with the columns"),
        ("<html>", "no table that begins"),
        ("variant,score\nM1A,0.5\n", "no table that begins"),
        (HEADER, "a table without values"),
        (HEADER + "M1A,0.5321,Amb\nM1", "line 3: 'M1' instead of M1A"),
        (HEADER + "M1A,high,Amb\n", "line 2: 'M1A,high,Amb'"),
        (HEADER + "M1A,nan,Amb\n", "line 2"),
        (HEADER + "M1A,1.5,Amb\n", "line 2"),
        (HEADER + "M1*,0.5,Amb\n", "line 2"),
        (HEADER + "K1A,0.5,Amb\n", "K1A is no substitution of this sequence"),
        (HEADER + "M61A,0.5,Amb\n", "M61A is no substitution of this sequence"),
    ],
)
def test_another_form_or_sequence_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_alphamissense(text.encode(), SEQUENCE)


@pytest.fixture
def service() -> Iterator[Service]:
    with fake.running() as running:
        yield running


def entry(service: Service, *, file: str = FILE, **changes: Any) -> dict[str, Any]:
    return fake.prediction(service.url, amAnnotationsUrl=f"{service.url}{file}", **changes)


def fetcher(service: Service, cache: Path, *, offline: bool = False) -> Fetcher:
    return Fetcher(
        cache,
        offline=offline,
        uniprot_url=service.url,
        afdb_url=service.url,
        patience=Patience(timeout=0.5, retries=1, total=2.0, first_delay=0.001),
    )


def table(sequence: str = SEQUENCE) -> Reply:
    return Reply(200, fake.alphamissense_text(sequence).encode(), {"Content-Type": "text/csv"})


def test_fetched_once_and_kept(service: Service, tmp_path: Path) -> None:
    service.json(LISTED, [entry(service)])
    service.on(FILE, table())
    found = fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE)
    assert found is not None
    record, values = found
    assert values[1, STANDARD.index("R")] == pytest.approx(0.763)
    assert (record.source, record.version, record.url) == ("AlphaFold DB", "6", f"{service.url}{FILE}")
    assert FILE.rpartition("/")[2] in {one.url.rpartition("/")[2] for one in list_cache(tmp_path)}
    asked = len(service.requests)
    for offline in (False, True):
        again = fetcher(service, tmp_path, offline=offline).alphamissense(ACCESSION, SEQUENCE)
        assert again is not None
        np.testing.assert_array_equal(again[1], values)
        assert again[0] == record
    assert len(service.requests) == asked


def test_the_record_of_the_very_sequence_in_any_order(service: Service, tmp_path: Path) -> None:
    other = "/files/isoform.csv"
    isoform = entry(service, file=other, sequence=ISOFORM, accession=f"{ACCESSION}-2")
    service.on(FILE, table())
    service.on(other, table(ISOFORM))
    for place, items in enumerate(([isoform, entry(service)], [entry(service), isoform])):
        service.json(LISTED, items)
        cache = tmp_path / str(place)
        for name, sequence in ((ACCESSION, SEQUENCE), (f"{ACCESSION}-2", ISOFORM)):
            found = fetcher(service, cache).alphamissense(name, sequence)
            assert found is not None
            assert len(found[1]) == len(sequence)


@pytest.mark.parametrize(
    "change",
    [
        {"amAnnotationsUrl": None},
        {"sequence": SEQUENCE[:-1] + "A"},
        {"sequence": SEQUENCE[:-1] + "X"},  # would do for a structure
        {"modelEntityId": f"AF-{ACCESSION}-F2"},
    ],
)
def test_no_values_for_this_sequence(service: Service, tmp_path: Path, change: dict[str, Any]) -> None:
    service.json(LISTED, [{**entry(service), **change}])
    assert fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE) is None
    assert FILE not in service.paths


def test_no_list_and_no_file_are_none(service: Service, tmp_path: Path) -> None:
    assert fetcher(service, tmp_path / "a").alphamissense(ACCESSION, SEQUENCE) is None
    service.json(LISTED, [entry(service)])
    assert fetcher(service, tmp_path / "b").alphamissense(ACCESSION, SEQUENCE) is None


def test_a_list_from_the_cache_may_be_out_of_date(service: Service, tmp_path: Path) -> None:
    service.json(LISTED, [entry(service, file="/files/old.csv", version=5)])
    assert fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE) is None
    service.json(LISTED, [entry(service)])
    service.on(FILE, table())
    found = fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE)
    assert found is not None
    assert found[0].version == "6"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(500), "answered 500"),
        (Reply(403), "answered 403"),
        (fake.HTML, "not what was expected: no table"),
        (Reply(200, fake.alphamissense_text(SEQUENCE).encode(), cut=300), "connection broke|cut off"),
        (Reply(200, fake.alphamissense_text(ISOFORM).encode()), "no substitution of this sequence"),
        (Reply(200, b"", wait=3.0), "no answer within"),
        (Reply(200, fake.alphamissense_text(SEQUENCE).encode(), drip=0.1), "not finished|no answer"),
    ],
)
def test_faults_are_one_error(service: Service, tmp_path: Path, reply: Reply, said: str) -> None:
    service.json(LISTED, [entry(service)])
    service.on(FILE, reply)
    with pytest.raises(FetchError, match=said):
        fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE)


def test_offline_names_what_is_missing(service: Service, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=LISTED) as caught:
        fetcher(service, tmp_path, offline=True).alphamissense(ACCESSION, SEQUENCE)
    assert caught.value.code == "offline"
    assert service.paths == []


def test_a_damaged_file_in_the_cache_is_fetched_again(service: Service, tmp_path: Path) -> None:
    service.json(LISTED, [entry(service)])
    service.on(FILE, table())
    first = fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE)
    assert first is not None
    first[0].path.write_text(json.dumps("damaged"))
    again = fetcher(service, tmp_path).alphamissense(ACCESSION, SEQUENCE)
    assert again is not None
    assert again[0].sha256 == first[0].sha256
