"""The SWISS-MODEL list and the models of its chains, from a real HTTP server on localhost."""

import csv
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mutscan.errors import FetchError, RunFolderError, UsageError
from mutscan.fetch.http import Patience
from mutscan.progress import Silent
from mutscan.structures import read_structure
from mutscan.train.dataset.sampling import sample_rows
from mutscan.train.dataset.swissmodel import FAILURES, MANIFEST, PAIRS, download_swiss_model
from tests.fake_services import HTML, Reply, Service, pdb_reply, pdb_text, running

SEQUENCES = {
    "P00001": "MKTAYIAKQRQISFVKSHFSRQ",
    "P00002": "MGSSHHHHHHSSGLVPRGSHMASM",
    "P00003": "GAVLIMFWPSTCYNQDEKRH",
    "P00004": "MKVLAAGIVGLCAKAEQPDE" * 3,
}
HASTE = Patience(timeout=5, retries=3, total=30, first_delay=0.01, longest_delay=0.05)


def route(accession: str) -> str:
    return f"/repository/uniprot/{accession}.pdb?provider=swissmodel"


@pytest.fixture
def service() -> Iterator[Service]:
    with running() as service:
        for accession, sequence in SEQUENCES.items():
            service.on(route(accession), pdb_reply(sequence, start=7))
        yield service


@pytest.fixture
def fetch(service: Service, tmp_path: Path) -> Callable[..., Path]:
    def call(*pairs: tuple[str, str], out: str = "models", **changes: object) -> Path:
        table = tmp_path / "list.csv"
        table.write_text("chain_1,chain_2,tmscore\n" + "".join(f"{a},{b},0.485\n" for a, b in pairs))
        arguments = {"limit": None, "max_length": 300, "seed": 0, "delay": 0.0, "patience": HASTE}
        return download_swiss_model(
            table,
            tmp_path / out,
            url=service.url + "/repository/uniprot/{accession}.pdb?provider=swissmodel",
            **(arguments | changes),
        )

    return call


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / MANIFEST).read_text().splitlines()]


# The draw ------------------------------------------------------------------------------------------


def write_list(path: Path, n: int, end: str = "\n") -> Path:
    text = end.join(["chain_1,chain_2,tm", *(f"A{k},B{k},{k / n}" for k in range(n))])
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.encode())
    return path


def test_every_row_is_as_likely(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.csv", 50)
    counts = np.zeros(50)
    for seed in range(800):
        drawn = sample_rows(path, 5, seed=seed)
        numbers = [int(row[0][1:]) for row in drawn.rows]
        assert len(set(numbers)) == 5
        assert drawn.total == 50
        assert drawn.lines == [k + 2 for k in numbers]
        counts[numbers] += 1
    expected = 800 * 5 / 50
    assert ((counts - expected) ** 2 / expected).sum() < 85  # chi², 49 degrees of freedom: p = 0.001


def test_a_draw_depends_on_seed_and_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sample_rows(write_list(tmp_path / "list.csv", 300), 40, seed=3)
    assert sample_rows(write_list(tmp_path / "list.csv.gz", 300), 40, seed=3) == plain
    assert sample_rows(write_list(tmp_path / "dos.csv", 300, end="\r\n"), 40, seed=3) == plain
    assert sample_rows(tmp_path / "list.csv", 40, seed=4).rows != plain.rows
    assert sample_rows(tmp_path / "list.csv", 15, seed=3).rows == plain.rows[:15]
    monkeypatch.setattr("mutscan.train.dataset.sampling._BLOCK", 7)
    assert sample_rows(tmp_path / "list.csv", 40, seed=3) == plain
    everything = sample_rows(tmp_path / "list.csv", None, seed=3)
    assert [row[0] for row in everything.rows] == [f"A{k}" for k in range(300)]
    assert sample_rows(tmp_path / "list.csv", 300, seed=3) == everything


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("\ufeffchain_1,chain_2\na,b\n\nc,d\n\n")
    drawn = sample_rows(path, None, seed=0)
    assert drawn.columns == ("chain_1", "chain_2")
    assert drawn.rows == [["a", "b"], ["c", "d"]]
    assert drawn.lines == [2, 4]
    assert drawn.total == 2


def test_what_is_no_list(tmp_path: Path, fetch: Callable[..., Path]) -> None:
    short = tmp_path / "short.csv"
    short.write_text("chain_1,chain_2,tm\nA,B,0.5\nC,D\n")
    with pytest.raises(UsageError, match=r"line 3: 2 columns, but the header names 3"):
        sample_rows(short, None, seed=0)
    with pytest.raises(UsageError, match="no such file"):
        sample_rows(tmp_path / "none.csv", 3, seed=0)
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"chain_1,chain_2\n" + os.urandom(20_000).hex().encode())[:-300])
    with pytest.raises(UsageError, match="cannot be read as text"):
        sample_rows(cut, 3, seed=0)
    other = tmp_path / "other.csv"
    other.write_text("first,second\nA,B\n")
    with pytest.raises(UsageError, match=r"no column chain_1 or chain_2; there are first, second"):
        download_swiss_model(other, tmp_path / "x", limit=2, max_length=300, seed=0)
    with pytest.raises(UsageError, match="lists no pair"):
        fetch()
    with pytest.raises(UsageError, match="at least 1 pair"):
        fetch(("P00001", "P00002"), limit=0)


# Downloads -----------------------------------------------------------------------------------------


def test_models_records_and_pairs(service: Service, fetch: Callable[..., Path], tmp_path: Path) -> None:
    chosen = fetch(("P00001", "P00002"), ("P00002", "P00003"), ("P00001", "P00003"))
    folder = tmp_path / "models"
    assert chosen == folder / PAIRS
    assert rows(chosen) == [
        {"chain_1": a, "chain_2": b, "tm_listed": "0.485"}
        for a, b in (("P00001", "P00002"), ("P00002", "P00003"), ("P00001", "P00003"))
    ]
    assert Counter(service.paths) == {route(name): 1 for name in ("P00001", "P00002", "P00003")}
    assert all("mutscan" in headers["User-Agent"] for _, headers in service.requests)
    for record in manifest(folder):
        data = (folder / f"{record['accession']}.pdb").read_bytes()
        sequence = SEQUENCES[record["accession"]]
        assert data.decode() == pdb_text(sequence, start=7)
        assert record["sha256"] == hashlib.sha256(data).hexdigest()
        assert record["url"] == service.url + route(record["accession"])
        assert (record["status"], record["size"], record["residues"]) == (200, len(data), len(sequence))
        assert record["date"].endswith("+00:00")
        assert read_structure(folder / f"{record['accession']}.pdb").sequence == sequence
    assert rows(folder / FAILURES) == []


def test_a_second_call_asks_for_nothing(service: Service, fetch: Callable[..., Path], tmp_path: Path) -> None:
    pairs = [("P00001", "P00002"), ("P00001", "P99999")]
    before = fetch(*pairs).read_bytes()
    failures = (tmp_path / "models" / FAILURES).read_text()
    assert "P99999: SWISS-MODEL has no model (404)" in failures
    assert service.paths.count(route("P99999")) == 1  # "there is none" is not asked again ...
    asked = len(service.requests)
    assert fetch(*pairs).read_bytes() == before  # ... in a later call either
    assert len(service.requests) == asked
    assert (tmp_path / "models" / FAILURES).read_text() == failures
    fetch(*pairs, ("P00002", "P00003"))
    assert service.paths[asked:] == [route("P00003")]


def test_the_tm_column_is_found_by_name_and_not_trusted(
    service: Service, tmp_path: Path, fetch: Callable[..., Path]
) -> None:
    fetch(("P00001", "P00002"))
    table = tmp_path / "named.tsv"
    table.write_text("pair\tchain_2\tTM_max\tchain_1\n1\tP00002\tnot a number\tP00001\n")
    chosen = download_swiss_model(table, tmp_path / "models", limit=None, max_length=300, seed=0)
    assert rows(chosen) == [{"chain_1": "P00001", "chain_2": "P00002", "tm_listed": "not a number"}]


def test_too_many_requests_holds_up_everyone(
    service: Service, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    refusal = Reply(429, b"slow down", {"Retry-After": "1"}, wait=0.4)
    service.on(route("P00001"), refusal, pdb_reply(SEQUENCES["P00001"]))
    for name in ("P00002", "P00003"):
        service.on(route(name), replace(pdb_reply(SEQUENCES[name]), wait=0.8))
    started = time.monotonic()
    # The other worker is answered after the refusal: what it would ask next has to wait, too.
    chosen = fetch(("P00001", "P00002"), ("P00003", "P00004"), workers=2)
    assert time.monotonic() - started >= 1.0
    assert len(rows(chosen)) == 2
    assert service.paths.count(route("P00001")) == 2
    assert len(service.paths) == 5


def test_delay_between_requests(service: Service, fetch: Callable[..., Path]) -> None:
    started = time.monotonic()
    fetch(("P00001", "P00002"), ("P00003", "P00004"), workers=1, delay=0.15)
    assert time.monotonic() - started >= 0.45  # three pauses lie between four requests


@pytest.mark.parametrize(
    "fault",
    [
        replace(pdb_reply(SEQUENCES["P00001"]), cut=700),
        Reply(503, b"busy"),
        HTML,
        Reply(200, b""),
        Reply(200, pdb_text(SEQUENCES["P00001"]).encode()[:725]),  # cut off in a coordinate, length and all
    ],
    ids=["cut", "busy", "html", "empty", "short"],
)
def test_passing_faults_pass(
    service: Service, fetch: Callable[..., Path], tmp_path: Path, fault: Reply
) -> None:
    service.on(route("P00001"), fault, pdb_reply(SEQUENCES["P00001"]))
    assert len(rows(fetch(("P00001", "P00002")))) == 1
    assert (tmp_path / "models/P00001.pdb").read_text() == pdb_text(SEQUENCES["P00001"])


def test_lasting_faults_fail_their_pairs_and_are_asked_again(
    service: Service, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    service.on(route("P00001"), replace(pdb_reply(SEQUENCES["P00001"]), cut=700))
    pairs = [("P00001", "P00002"), ("P00002", "P00003"), ("P53_HUMAN", "P00002"), ("../../x", "P00002")]
    assert [row["chain_1"] for row in rows(fetch(*pairs))] == ["P00002"]
    reasons = {row["id1"]: row["reason"] for row in rows(folder / FAILURES)}
    assert "received 700 bytes" in reasons["P00001"]
    assert "tried 4 times" in reasons["P00001"]
    assert reasons["P53_HUMAN"] == "'P53_HUMAN' is not a UniProt accession"
    assert reasons["../../x"] == "'../../x' is not a UniProt accession"
    assert not (folder / "P00001.pdb").exists()
    assert {record["accession"] for record in manifest(folder)} == {"P00002", "P00003"}
    service.on(route("P00001"), pdb_reply(SEQUENCES["P00001"]))
    assert [row["chain_1"] for row in rows(fetch(*pairs))] == ["P00001", "P00002"]


def test_models_that_do_not_fit(service: Service, fetch: Callable[..., Path], tmp_path: Path) -> None:
    two = pdb_text("GAVLIMFW") + pdb_text("DEKRHSTCYN").replace(" A ", " B ")
    service.on(
        route("P00002"), Reply(200, two.replace("ENDMDL\nEND\n", "").replace("MODEL  ", "REMARK ").encode())
    )
    pairs = [("P00001", "P00004"), ("P00001", "P00002"), ("P00001", "P00003")]
    assert [row["chain_2"] for row in rows(fetch(*pairs, max_length=40))] == ["P00003"]
    reasons = {row["id2"]: row["reason"] for row in rows(tmp_path / "models" / FAILURES)}
    assert reasons["P00004"] == "P00004: the model has 60 residues; the limit is 40"
    assert "several proteins" in reasons["P00002"]
    asked = len(service.requests)
    assert service.paths.count(route("P00002")) == 1
    assert [row["chain_2"] for row in rows(fetch(*pairs, max_length=60))] == ["P00004", "P00003"]
    assert len(service.requests) == asked


def test_changed_files_are_fetched_again(
    service: Service, fetch: Callable[..., Path], tmp_path: Path
) -> None:
    pairs = [("P00001", "P00002"), ("P00002", "P00003")]
    fetch(*pairs)
    folder = tmp_path / "models"
    first = {record["accession"]: record["sha256"] for record in manifest(folder)}
    (folder / "P00001.pdb").write_text(pdb_text("GGGGGGGG"))
    (folder / "P00003.pdb").unlink()
    newer = pdb_text(SEQUENCES["P00001"][:-2])
    service.on(route("P00001"), Reply(200, newer.encode()))
    asked = len(service.requests)
    notes: list[str] = []

    class Listener(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    assert len(rows(fetch(*pairs, progress=Listener()))) == 2
    assert sorted(service.paths[asked:]) == [route("P00001"), route("P00003")]
    assert notes == ["2 downloaded models are missing or have changed; they are downloaded again"]
    assert (folder / "P00001.pdb").read_text() == newer
    last = {record["accession"]: record for record in manifest(folder)}
    assert len(manifest(folder)) == 5
    assert last["P00001"]["replaced"] == first["P00001"]  # what the first results were made from is known
    assert last["P00001"]["sha256"] == hashlib.sha256(newer.encode()).hexdigest()
    assert last["P00003"]["replaced"] is None


def test_a_dead_service_is_left_alone(service: Service, fetch: Callable[..., Path], tmp_path: Path) -> None:
    names = [f"Q{k:05d}" for k in range(40)]
    for name in names:
        service.on(route(name), Reply(403, b"forbidden"))
    pairs = [("P00001", "P00002"), *zip(names[::2], names[1::2], strict=True)]
    with pytest.raises(FetchError, match=r"10 models in a row .* answered 403"):
        fetch(*pairs, workers=2)
    assert len(service.requests) < 20
    asked = len(service.requests)
    with pytest.raises(FetchError, match="10 models in a row"):
        fetch(*pairs, workers=2)
    assert not {route("P00001"), route("P00002")} & set(service.paths[asked:])


def test_no_pair_at_all(fetch: Callable[..., Path]) -> None:
    with pytest.raises(FetchError, match=r"none of the 1 sampled pairs .*P99998: SWISS-MODEL has no model"):
        fetch(("P99998", "P00001"))


def test_one_download_at_a_time_in_a_folder(fetch: Callable[..., Path], tmp_path: Path) -> None:
    import filelock

    fetch(("P00001", "P00002"))
    with (
        filelock.FileLock(tmp_path / "models" / ".lock"),
        pytest.raises(RunFolderError, match="in use by another download"),
    ):
        fetch(("P00001", "P00002"))


def test_a_damaged_manifest_is_named(fetch: Callable[..., Path], tmp_path: Path) -> None:
    fetch(("P00001", "P00002"))
    path = tmp_path / "models" / MANIFEST
    whole = path.read_text()
    path.write_text(whole + '{"accession": "P0')  # what a kill leaves
    fetch(("P00001", "P00002"))
    assert path.read_text() == whole
    path.write_text("nonsense\n" + whole)
    with pytest.raises(RunFolderError, match=r"manifest.jsonl, line 1: not a record"):
        fetch(("P00001", "P00002"))


SCRIPT = """
import sys
from pathlib import Path
from unittest.mock import Mock
from mutscan.train.dataset.swissmodel import download_swiss_model
table, folder, url = sys.argv[1:]
settings = dict(limit=12, max_length=300, seed=1, url=url, workers=2, delay=0.02)
download_swiss_model(Path(table), Path(folder), progress=Mock(), **settings)
"""


def test_killed_and_called_again(service: Service, tmp_path: Path) -> None:
    names = [f"Q{k:05d}" for k in range(30)]
    rng = np.random.default_rng(0)
    for name in names:
        sequence = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 30))
        service.on(route(name), replace(pdb_reply(sequence), wait=0.03))
    table = tmp_path / "list.csv"
    table.write_text(
        "chain_1,chain_2,tm\n" + "".join(f"{a},{b},0.5\n" for a in names for b in names if a < b)
    )
    url = service.url + "/repository/uniprot/{accession}.pdb?provider=swissmodel"

    def start(folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(table), str(tmp_path / folder), url])

    assert start("whole").wait(60) == 0
    wanted = Counter(service.paths)
    service.requests.clear()
    killed = tmp_path / "killed"
    process = start("killed")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if (killed / MANIFEST).exists() and (killed / MANIFEST).read_text().count("\n") >= 5:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert start("killed").wait(60) == 0
    for name in (PAIRS, FAILURES):
        assert (killed / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").glob("*.pdb")}
    assert {path.name: path.read_bytes() for path in killed.glob("*.pdb")} == files
    assert len(files) == len(wanted) > 12
    # Only what was on its way when the kill came is asked for twice.
    again = Counter(service.paths) - wanted
    assert sum(again.values()) <= 2
    assert not list(killed.glob(".*.tmp"))
