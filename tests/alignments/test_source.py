"""Where a protein's relatives come from: a file, or AlphaFold DB, which is never an error."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutscan.alignments import source
from mutscan.alignments.profile import MOST_ROWS
from mutscan.alignments.read import read_alignment
from mutscan.alignments.source import Relatives, fetched_relatives, relatives_for
from mutscan.fetch import fetcher, list_cache
from mutscan.files import cache_dir
from mutscan.residues import STANDARD
from mutscan.structures import WildType
from tests import fake_services as fake
from tests.fake_services import ACCESSION, ISOFORM, SEQUENCE, Reply, Service

FILE = f"/files/msa/AF-{ACCESSION}-F1-msa_v6.a3m"
LISTED = f"/api/prediction/{ACCESSION}"
WILD_TYPE = WildType(ACCESSION, SEQUENCE, records=({"kind": "uniprot"},))


def a3m(rows: int = 30, sequence: str = SEQUENCE) -> bytes:
    """As AlphaFold DB's: the query, then rows of UniRef with insertions in lower case."""
    generator = np.random.default_rng(5)
    lines = [f">{ACCESSION}", sequence]
    for number in range(rows):
        row = list(sequence)
        for place in generator.choice(len(row), 12, replace=False):
            row[place] = generator.choice(list(STANDARD + "-"))
        row[20] += "gs" * (number % 3)
        lines += [f">UniRef90_A0A{number:06d} Tax=Escherichia coli TaxID=562", "".join(row)]
    return "\n".join([*lines, ""]).encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with fake.running() as running:
        monkeypatch.setenv("MUTSCAN_UNIPROT_URL", running.url)
        monkeypatch.setenv("MUTSCAN_AFDB_URL", running.url)
        monkeypatch.setattr(fetcher, "BRIEFLY", {"timeout": 0.5, "retries": 0, "total": 1.0})
        monkeypatch.setattr(fetcher, "ALIGNED_PATIENCE", {"timeout": 0.5, "retries": 0, "total": 1.0})
        yield running


def entry(service: Service, *, file: str = FILE, **changes: Any) -> dict[str, Any]:
    return fake.prediction(service.url, msaUrl=f"{service.url}{file}", **changes)


def serve(service: Service, reply: Reply, file: str = FILE) -> None:
    service.json(LISTED, [entry(service, file=file)])
    service.on(file, reply)


def found(wild_type: WildType = WILD_TYPE, *, offline: bool = False) -> Relatives:
    relatives, note = fetched_relatives(wild_type, offline=offline)
    assert relatives is not None, note
    assert note == ""
    return relatives


def refused(wild_type: WildType = WILD_TYPE, *, offline: bool = False) -> str:
    relatives, note = fetched_relatives(wild_type, offline=offline)
    assert relatives is None
    return note


def test_the_same_as_from_the_file_fetched_once_and_kept_small(service: Service, tmp_path: Any) -> None:
    path = tmp_path / "whole.a3m"
    path.write_bytes(a3m(4000))
    read = read_alignment(path, SEQUENCE)
    serve(service, Reply(200, a3m(4000)))
    first = found()
    assert (first.facts.source, first.facts.version, first.facts.licence) == (
        "AlphaFold DB",
        "6",
        "CC BY 4.0",
    )
    assert first.facts.sha256 == read.sha256
    assert (first.facts.rows_read, first.facts.rows_kept) == (4001, MOST_ROWS + 1)
    assert first.facts.url.endswith(FILE)
    assert first.facts.date
    assert str(first) == "AlphaFold DB"
    (kept,) = (record for record in list_cache(cache_dir()) if record.kind == "alignments")
    assert kept.path.suffix == ".npz"
    assert kept.size < len(a3m(4000)) / 4
    asked = len(service.requests)
    for offline in (False, True):
        again = found(offline=offline)
        assert again.describe() == first.describe()
        np.testing.assert_array_equal(again.profile.counts, first.profile.counts)
    assert len(service.requests) == asked


def test_reading_stops_at_enough_rows_or_bytes(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = a3m(5000)
    service.json(LISTED, [entry(service)])
    service.on(FILE, Reply(200, whole))
    monkeypatch.setattr(fetcher, "ALIGNED_ROWS", 50)
    assert found().facts.rows_read == 50
    (cache_dir() / "downloads" / "alignments").rename(cache_dir() / "away")
    monkeypatch.setattr(fetcher, "ALIGNED_ROWS", 10**9)
    monkeypatch.setattr(fetcher, "ALIGNED_SIZE", 5000)
    # Whole rows only, and as many as fit.
    assert found().facts.rows_read == whole[:5000].count(b"\n>") + (whole[5000:5001] == b">")


def test_a_file_that_ends_at_the_limit_is_whole(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetcher, "ALIGNED_ROWS", 31)
    serve(service, Reply(200, a3m(30).rstrip(b"\n")))
    assert found().facts.rows_read == 31


def test_the_record_of_the_very_sequence_in_any_order(service: Service) -> None:
    other = "/files/msa/isoform.a3m"
    isoform = entry(service, file=other, sequence=ISOFORM, accession=f"{ACCESSION}-2")
    service.json(LISTED, [isoform, entry(service)])
    service.on(FILE, Reply(200, a3m()))
    service.on(other, Reply(200, a3m(sequence=ISOFORM)))
    assert len(found().profile.counts) == len(SEQUENCE)
    of_isoform = WildType(f"{ACCESSION}-2", ISOFORM, records=({"kind": "uniprot"},))
    assert len(found(of_isoform).profile.counts) == len(ISOFORM)


def test_only_an_entry_of_uniprot_is_asked_for(service: Service) -> None:
    assert refused(WildType(ACCESSION, SEQUENCE)) == ""
    assert service.paths == []


@pytest.mark.parametrize("change", [{"msaUrl": None}, {"sequence": "A" + SEQUENCE[1:]}, {"isComplex": True}])
def test_no_alignment_of_this_sequence(service: Service, change: dict[str, Any]) -> None:
    service.json(LISTED, [{**entry(service), **change}])
    assert refused() == f"AlphaFold DB has no alignment of {ACCESSION}, the library is used"
    assert FILE not in service.paths


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404), "AlphaFold DB has no alignment of"),
        (Reply(500), "answered 500"),
        (Reply(403), "answered 403"),
        (Reply(200, b""), "contains no sequence"),
        (fake.HTML, "expected a header line"),
        (Reply(200, a3m(0)), "has no close relatives"),
        (Reply(200, a3m(sequence="A" + SEQUENCE[1:])), "is not the sequence of"),
        (Reply(200, a3m(sequence=SEQUENCE[:-1])), "is not the sequence of"),
        (Reply(200, a3m(), cut=1500), "cut off|connection broke"),
        (Reply(200, a3m()[:1500], no_length=True), "columns"),
        (Reply(200, gzip.compress(a3m(), mtime=0), {"Content-Encoding": "gzip"}), "compressed as 'gzip'"),
        (Reply(200, a3m(), wait=2.0), "no answer within"),
        (Reply(200, a3m(), drip=0.01), "not finished after"),
        (Reply(200, b">x\n" + b"M" * 5000), "is not the sequence of"),
    ],
)
def test_faults_are_one_note_and_no_error(service: Service, reply: Reply, said: str) -> None:
    serve(service, reply)
    note = refused()
    assert note.count("\n") == 0
    assert "the library is used" in note
    assert re.search(said, note), note


def test_no_close_relatives_are_remembered(service: Service) -> None:
    serve(service, Reply(200, a3m(0)))
    assert refused() == refused(offline=True)
    assert service.paths.count(FILE) == 1


def test_no_server_and_offline(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not in the cache" in refused(offline=True)
    assert service.paths == []
    monkeypatch.setenv("MUTSCAN_AFDB_URL", "http://127.0.0.1:9")
    assert "cannot connect" in refused()


def test_a_damaged_file_in_the_cache_is_fetched_again(service: Service) -> None:
    serve(service, Reply(200, a3m()))
    first = found()
    (kept,) = (record for record in list_cache(cache_dir()) if record.kind == "alignments")
    data = kept.path.read_bytes()
    kept.path.write_bytes(data[:-20])
    assert found().describe()["sha256"] == first.facts.sha256
    assert kept.path.read_bytes() == data


def test_rows_that_were_chosen_otherwise_are_fetched_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(service, Reply(200, a3m()))
    with monkeypatch.context() as earlier:
        earlier.setattr(source, "_SETTINGS", (10, 0.5, 0.3))
        found()
    found()
    assert service.paths.count(FILE) == 2


PEPTIDE = WildType("protein", "MKTAYIAKQRQISFVKSHFS")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "some.a3m"
    path.write_text(">protein/3-20\nTAYIAKQRQISFVKSHFS\n>other\nTAYIAKQRQITFVKTHFT\n")
    return path


@pytest.mark.parametrize("name", ["auto", "library"])
def test_the_library_alone_is_no_alignment(name: str) -> None:
    assert relatives_for(PEPTIDE, name) is None


def test_a_file_is_told_by_its_name_or_another_and_the_part_it_covers(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = relatives_for(PEPTIDE, part)
    assert found is not None
    assert str(found) == "some.a3m 3-20"
    assert found.profile.sequences.tolist() == [0.0] * 2 + [2.0] * 18
    assert found.describe()["effective"] == 1.0
    monkeypatch.setenv("HOME", str(part.parent))
    assert str(relatives_for(PEPTIDE, "~/some.a3m")) == "some.a3m 3-20"
    whole = part.with_name("whole.fasta")
    whole.write_text(f">a\n{PEPTIDE.sequence}\n>b\n{PEPTIDE.sequence.replace('S', 'T')}\n")
    assert str(relatives_for(PEPTIDE, whole)) == "whole.fasta"
