"""The column of AlphaMissense: beside our own scores, of this very protein, never an error."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

import mutscan
from mutscan.pipeline.alphamissense import alphamissense_of
from mutscan.structures import WildType
from mutscan.variants import parse_variant
from tests import fake_services as fake
from tests.fake_services import ACCESSION, SEQUENCE, Reply, Service
from tests.made_up_calibration import calibrate_tiny_model

FILE = f"/files/AF-{ACCESSION}-F1-aa-substitutions.csv"
VARIANTS = ["K2R", "K2R;T3A", "p.Lys8del", "K8X"]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with fake.running() as running:
        running.protein()
        monkeypatch.setenv("MUTSCAN_UNIPROT_URL", running.url)
        monkeypatch.setenv("MUTSCAN_AFDB_URL", running.url)
        yield running


def serve(service: Service, reply: Reply) -> None:
    page = fake.prediction(service.url, amAnnotationsUrl=f"{service.url}{FILE}")
    service.json(f"/api/prediction/{ACCESSION}", [page])
    service.on(FILE, reply)


def rows_of(run: mutscan.Run) -> list[dict[str, str]]:
    with (run.directory / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.slow
def test_the_column_stands_beside_and_changes_nothing(
    service: Service, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = calibrate_tiny_model(tiny_model, tmp_path / "model")

    def score(out: str, *, offline: bool = False) -> mutscan.Run:
        return mutscan.score(
            ACCESSION, VARIANTS, out=tmp_path / out, model=str(model), builder="none", offline=offline
        )

    without = score("without")
    assert without.metadata["alphamissense"] == {
        "note": f"AlphaFold DB has no values of AlphaMissense for {ACCESSION}"
    }
    assert {row["alphamissense"] for row in rows_of(without)} == {""}
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
    serve(service, Reply(200, fake.alphamissense_text(SEQUENCE).encode()))
    run = score("with")
    rows = rows_of(run)
    assert [row["alphamissense"] for row in rows] == ["0.7630", "", "", ""]
    for ours, theirs in zip(rows, rows_of(without), strict=True):
        assert {**ours, "alphamissense": ""} == theirs
    about = run.metadata["alphamissense"]
    assert (about["source"], about["version"], about["licence"]) == ("AlphaFold DB", "6", "CC BY 4.0")
    assert len(about["sha256"]) == 64
    assert about["date"]
    assert "/" not in about["path"]
    assert run.variants["alphamissense"].tolist()[0] == pytest.approx(0.763)
    page = (run.directory / "report.html").read_text(encoding="utf-8")
    assert "Another method's value" in page or "Another method&#39;s value" in page
    assert "licence CC BY 4.0" in page
    assert "licence CC BY 4.0" not in (without.directory / "report.html").read_text(encoding="utf-8")
    service.routes.clear()
    assert rows_of(score("again", offline=True)) == rows


@pytest.mark.parametrize(
    "reply", [Reply(404), Reply(403), fake.HTML, Reply(200, fake.alphamissense_text("M" + SEQUENCE).encode())]
)
def test_faults_are_one_note(service: Service, reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    serve(service, reply)
    wild_type = WildType(ACCESSION, SEQUENCE, records=({"kind": "uniprot"},))
    room = "mutscan.pipeline.alphamissense"
    with caplog.at_level("INFO", logger=room):
        found = alphamissense_of(wild_type, offline=False)
    assert found.facts is not None
    said = [record.getMessage() for record in caplog.records if record.name == room]
    assert said == [found.facts["note"]]
    assert found.of(parse_variant("K2R")) != found.of(parse_variant("K2R"))  # NaN


def test_only_an_entry_of_uniprot_is_asked_for(service: Service) -> None:
    found = alphamissense_of(WildType(ACCESSION, SEQUENCE), offline=False)
    assert (found.values, found.facts) == (None, None)
    assert service.paths == []
