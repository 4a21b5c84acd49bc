"""`mutscan train dataset`: shards with true labels, killed and continued, failures that are named."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from mutscan.align import tm_align
from mutscan.cli.app import app
from mutscan.errors import MissingDependencyError, UsageError, WrongFolderError
from mutscan.scores import lddt
from mutscan.train.chains.clusters import ClusterColumn
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.splits import assign_splits, read_splits
from mutscan.train.chains.tables import read_tables
from mutscan.train.dataset import aligners
from mutscan.train.dataset.aligners import AlignedPair, Aligners, PairTask
from mutscan.train.dataset.make import SHARD_SCHEMA, make_dataset
from mutscan.train.dataset.plan import PairingSettings
from mutscan.train.dataset.sources import Tables
from mutscan.worker import PipedProcess
from tests.made_up_pairs import write_tables

N_PAIRS = 61
BY_COLUMN = ClusterColumn("cluster25")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Chains of 24 to 39 residues and a CSV of pairs of them."""
    folder = tmp_path_factory.mktemp("tables")
    structures, pairs = write_tables(folder, families=16, members=2)
    table = pd.read_parquet(pairs)[["id1", "id2"]]
    assert len(table) == N_PAIRS
    table.to_csv(folder / "pairs.csv", index=False)
    return structures, folder / "pairs.csv"


@pytest.fixture(scope="module")
def made(tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of all of them."""
    out = tmp_path_factory.mktemp("made") / "data"
    done = make_dataset(out, Tables(*tables), BY_COLUMN, PairingSettings(shard_size=20), jobs=2)
    assert (done.exit_code, done.aligned_now) == (0, N_PAIRS)
    return out


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["train", "dataset", *map(str, arguments)])


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything a data set shows, but for its state."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".state" not in path.parts
    }


def failures_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "failures.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


# What is written


@pytest.fixture(autouse=True)
def _without_mmseqs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters come from the tables' column, whether or not MMseqs2 is installed here."""
    monkeypatch.setattr("mutscan.train.chains.clusters.shutil.which", lambda name: None)


def test_shards_hold_what_tm_align_and_lddt_say(tables: tuple[Path, Path], made: Path) -> None:
    shards = sorted((made / "pairs").iterdir())
    assert [path.name for path in shards] == [f"part-0000{k}.parquet" for k in range(4)]
    assert [len(pq.read_table(path)) for path in shards] == [20, 20, 20, 1]
    assert all(pq.read_schema(path) == SHARD_SCHEMA for path in shards)
    rows = pd.concat([pd.read_parquet(path) for path in shards], ignore_index=True)
    wanted = pd.read_csv(tables[1])
    pairs = list(zip(rows["id1"], rows["id2"], strict=True))
    assert pairs != list(zip(wanted["id1"], wanted["id2"], strict=True)), "the order is shuffled"
    assert sorted(pairs) == sorted(zip(wanted["id1"], wanted["id2"], strict=True))
    chains = pd.read_parquet(tables[0]).set_index("id")
    for row in rows.iloc[::12].itertuples():
        one, two = chains.loc[row.id1], chains.loc[row.id2]
        ca_1, ca_2 = (np.frombuffer(chain["ca"], "<i2").reshape(-1, 3) / 100 for chain in (one, two))
        expected = tm_align((ca_1, one["sequence"]), (ca_2, two["sequence"]))
        assert (row.tm_norm1, row.tm_norm2) == pytest.approx(
            (expected.tm_score_1, expected.tm_score_2), abs=1e-5
        )
        assert (row.len1, row.len2) == (len(ca_1), len(ca_2))
        assert row.n_aligned == len(row.i1) == len(row.i2) == len(row.lddt)
        assert np.stack([row.i1, row.i2], axis=1).tolist() == expected.pairs.tolist()
        np.testing.assert_allclose(row.lddt, lddt(ca_1[row.i1], ca_2[row.i2], exponent=3), atol=1e-4)
    assert set(rows["lddt_exponent"]) == {3.0}
    assert set(rows["radius"]) == {15.0}
    assert set(rows["aligner"]) == {"tmtools 0.3.0"}
    assert (set(rows["picked_as"]), set(rows["source"])) == ({"list"}, {"pairs.csv"})


def test_training_reads_shards_and_their_labels(made: Path) -> None:
    chains, pairs = read_tables(made / "structures.parquet", made / "pairs")
    assert len(pairs) == N_PAIRS
    stored = pairs.stored_labels(3.0, 15.0)
    assert stored is not None
    np.testing.assert_allclose(stored, lddt_labels(chains, pairs), atol=1e-6)
    part = pairs.take(np.array([30, 2]))
    assert part.lddt is not None
    assert part.lddt.tolist() == stored[pairs.rows(np.array([30, 2]))].tolist()
    _, whole = read_tables(made / "structures.parquet", made)
    assert whole.aligned.tolist() == pairs.aligned.tolist()
    _, one = read_tables(made / "structures.parquet", made / "pairs" / "part-00003.parquet")
    assert len(one) == 1


def test_splits_follow_clusters(made: Path) -> None:
    chains = pd.read_parquet(made / "structures.parquet").set_index("id")
    splits = assign_splits(chains["cluster25"].to_numpy())
    split_of = dict(zip(chains.index, splits.tolist(), strict=True))
    entries = read_splits(made / "splits.csv")
    assert {name: entry.split for name, entry in entries.items()} == split_of
    rows = pd.read_parquet(made / "pairs")
    for row in rows.itertuples():
        both = {split_of[row.id1], split_of[row.id2]}
        assert row.split == (both.pop() if len(both) == 1 else "across")
    assert {"train", "across"} <= set(rows["split"])


def test_dataset_json_accounts_for_everything(made: Path) -> None:
    contents = json.loads((made / "dataset.json").read_text())
    rows = pd.read_parquet(made / "pairs")
    assert contents["counts"] == {
        "pairs": N_PAIRS, "failed": 0, "left_out": 0, "repeated": 0, "chains": 32, "shards": 4,
    }  # fmt: skip
    assert contents["tm_tenths"] == np.histogram(rows["tm_norm1"], 10, (0, 1))[0].tolist()
    assert sum(contents["splits"].values()) == N_PAIRS
    assert contents["settings"]["clusters"] == "column cluster25"
    assert contents["settings"]["aligner"] == "tmtools 0.3.0"
    assert set(contents["files"]) == set(files_of(made)) - {"dataset.json", "failures.csv"}
    assert failures_of(made) == []


# Continuing


def test_the_number_of_workers_changes_nothing(tables: tuple[Path, Path], made: Path, tmp_path: Path) -> None:
    settings = PairingSettings(shard_size=20)
    make_dataset(tmp_path / "one", Tables(*tables), BY_COLUMN, settings, jobs=1)
    assert files_of(tmp_path / "one") == files_of(made)


def test_finished_shards_are_not_made_again(tables: tuple[Path, Path], made: Path) -> None:
    before = files_of(made)
    (made / "pairs" / "part-00001.parquet").unlink()
    again = make_dataset(made, Tables(*tables), BY_COLUMN, PairingSettings(shard_size=20))
    assert again.aligned_now == 20
    assert files_of(made) == before
    assert make_dataset(made, Tables(*tables), BY_COLUMN, PairingSettings(shard_size=20)).aligned_now == 0


def test_other_settings_or_input_need_another_folder_or_a_restart(
    tables: tuple[Path, Path], made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data"
    arguments = ("--structures", tables[0], "--pairs", tables[1], "--out", out, "--jobs", 1)
    few = tmp_path / "few.csv"
    pd.read_csv(tables[1]).head(3).to_csv(few, index=False)
    assert run("--structures", tables[0], "--pairs", few, "--out", out, "--jobs", 1).exit_code == 0
    refused = run("--structures", tables[0], "--pairs", few, "--out", out, "--seed", 1)
    assert refused.exit_code == WrongFolderError.exit_code
    assert "seed: 0 there, 1 now" in refused.stderr
    assert "--restart" in refused.stderr
    assert "pairs: " in run(*arguments).stderr
    assert pd.read_parquet(out / "pairs").shape[0] == 3
    assert run(*arguments, "--shard-size", 20, "--restart").exit_code == 0
    assert files_of(out) == files_of(made)


def test_another_seed_shuffles_and_splits_otherwise(
    tables: tuple[Path, Path], made: Path, tmp_path: Path
) -> None:
    settings = PairingSettings(seed=5, shard_size=20)
    make_dataset(tmp_path / "data", Tables(*tables), BY_COLUMN, settings, jobs=2)
    one, other = (pd.read_parquet(folder / "pairs") for folder in (made, tmp_path / "data"))
    assert one["id1"].tolist() != other["id1"].tolist()
    assert sorted(one["tm_norm1"]) == sorted(other["tm_norm1"])
    assert (made / "splits.csv").read_text() != (tmp_path / "data" / "splits.csv").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_anywhere_and_repeated_gives_the_same(
    tables: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    chains, _ = tables
    ids = pd.read_parquet(chains)["id"][:15]
    pairs = pd.DataFrame([(a, b) for a in ids for b in ids], columns=["chain_1", "chain_2"])
    pairs.to_csv(folder / "pairs.csv", index=False)
    command = [
        sys.executable, "-m", "mutscan", "train", "dataset", "--structures", str(chains), "--pairs",
        str(folder / "pairs.csv"), "--shard-size", "15", "--jobs", "2", "--out",
    ]  # fmt: skip
    whole, broken = folder / "whole", folder / "broken"
    assert subprocess.run([*command, str(whole)], check=False, capture_output=True).returncode == 0
    assert len(list((whole / "pairs").iterdir())) == 15
    kills = 0
    for shards in (0, 4, 9):  # killed when so many were on disk: the first time while it still plans
        process = subprocess.Popen(
            [*command, str(broken)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            if (broken / ".state" / "job.json").exists() and len(
                list((broken / "pairs").glob("part-*"))
            ) >= shards:
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.002)
        assert len(list((broken / "pairs").glob("part-*"))) < 15
    assert kills == 3
    finished = subprocess.run([*command, str(broken)], check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert " aligned now" in finished.stderr
    assert files_of(broken) == files_of(whole)
    assert not [path for path in broken.rglob("*.tmp")]


# Failures


def long_chain(length: int, seed: int) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(size=(length, 3))
    return np.cumsum(2 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def stored(name: str, ca: np.ndarray) -> dict[str, object]:
    centred = np.round((ca - ca.mean(axis=0)) * 100).astype("<i2")
    return {"id": name, "sequence": "A" * len(ca), "ca": centred.tobytes(), "cluster25": 7}


def test_a_pair_that_takes_too_long_fails_alone(tmp_path: Path) -> None:
    chains = [stored(f"long{k}", long_chain(900, k)) for k in range(2)]
    chains += [stored(f"short{k}", long_chain(25, k)) for k in range(6)]
    pd.DataFrame(chains).to_parquet(tmp_path / "s.parquet")
    rows = [(f"short{a}", f"short{b}") for a in range(6) for b in range(a)] + [("long0", "long1")]
    pd.DataFrame(rows, columns=["id1", "id2"]).to_csv(tmp_path / "p.csv", index=False)
    done = run(
        "--structures", tmp_path / "s.parquet", "--pairs", tmp_path / "p.csv", "--cluster-column",
        "cluster25", "--time-limit", 0.3, "--jobs", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 3, done.stderr
    assert "15 pairs of 8 chains" in done.stderr
    assert "1 failed (failures.csv)" in done.stderr
    assert failures_of(tmp_path / "out") == [
        {"id1": "long0", "id2": "long1", "reason": "TM-align did not finish within 0.3 s"}
    ]
    made = pd.read_parquet(tmp_path / "out" / "pairs")
    assert sorted(zip(made["id1"], made["id2"], strict=True)) == sorted(rows[:-1])


def test_chains_outside_the_length_limits_are_left_out_and_listed(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    lengths = pd.read_parquet(tables[0]).set_index("id")["sequence"].str.len()
    done = run(
        "--structures", tables[0], "--pairs", tables[1], "--min-length", 28, "--max-length", 35,
        "--jobs", 1, "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0
    pairs = pd.read_csv(tables[1])
    fits = lengths.between(28, 35)
    inside = int((fits[pairs["id1"]].to_numpy() & fits[pairs["id2"]].to_numpy()).sum())
    counts = json.loads(done.stdout)["counts"]
    assert 0 < inside < N_PAIRS
    assert (counts["pairs"], counts["left_out"], counts["failed"]) == (inside, N_PAIRS - inside, 0)
    reasons = failures_of(tmp_path / "out")
    assert len(reasons) == N_PAIRS - inside
    assert all("residues, expected 28 to 35" in row["reason"] for row in reasons)


def test_nothing_left_is_said(tables: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no pair is left to align \(61 cannot be used, such as f0m0"):
        make_dataset(
            tmp_path / "out", Tables(*tables), BY_COLUMN, PairingSettings(min_length=500, max_length=600)
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_length": 2}, "at least 3"),
        ({"min_length": 50, "max_length": 40}, "50 to 40"),
        ({"shard_size": 0}, "must be positive"),
        ({"time_limit": 0.0}, "must be positive"),
        ({"lddt_radius": float("nan")}, "radius nan"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PairingSettings(**settings)  # type: ignore[arg-type]


# Workers


def some_chains(n: int = 4) -> list[tuple[bytes, str]]:
    return [
        (bytes(row["ca"]), str(row["sequence"])) for row in (stored("x", long_chain(30, k)) for k in range(n))
    ]


def all_of(chunks: list[list[PairTask]], **settings: float) -> dict[int, list[AlignedPair | str]]:
    given = {"jobs": 2, "time_limit": 20.0, "exponent": 3.0, "radius": 15.0} | settings
    return dict(Aligners(some_chains(), **given).run(chunks))  # type: ignore[arg-type]


def disturbed(monkeypatch: pytest.MonkeyPatch, by: signal.Signals, times: int) -> list[int]:
    """Let the first so many workers get a signal as they get their work; their process ids."""
    hit: list[int] = []
    lock = threading.Lock()

    class Disturbed(PipedProcess):
        def send(self, message: object) -> None:
            process = self.start()
            with lock:
                if len(hit) < times:
                    hit.append(process.pid)
                    process.send_signal(by)
                    if by == signal.SIGKILL:
                        process.wait()
            super().send(message)

    monkeypatch.setattr(aligners, "PipedProcess", Disturbed)
    return hit


needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs POSIX signals")


@needs_signals
def test_a_worker_that_stands_still_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aligners, "_PATIENCE", 1.5)
    hit = disturbed(monkeypatch, signal.SIGSTOP, 1)
    tasks = [PairTask(0, 1), PairTask(1, 2), PairTask(2, 3)]
    found = all_of([tasks, tasks], time_limit=1.0)
    outcomes = [one for number in sorted(found) for one in found[number]]
    assert len(outcomes) == 6
    assert [one for one in outcomes if isinstance(one, str)] == ["TM-align did not finish within 1 s"]
    for pid in hit:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@needs_signals
def test_a_worker_that_was_killed_is_replaced_and_its_pair_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = all_of([[PairTask(0, 1), PairTask(1, 2)]])[0]
    disturbed(monkeypatch, signal.SIGKILL, 1)
    found = all_of([[PairTask(0, 1), PairTask(1, 2)]], jobs=1)[0]
    for one, other in zip(found, expected, strict=True):
        assert isinstance(one, AlignedPair)
        assert isinstance(other, AlignedPair)
        assert one.tm_score == other.tm_score
        assert one.lddt.tolist() == other.lddt.tolist()


@needs_signals
def test_a_pair_that_kills_its_worker_twice_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed(monkeypatch, signal.SIGKILL, 2)
    found = all_of([[PairTask(0, 1), PairTask(1, 2)]], jobs=1)[0]
    assert found[0] == "TM-align stopped twice without a result (exit status -9)"
    assert isinstance(found[1], AlignedPair)


def test_a_worker_that_cannot_start_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        aligners, "PipedProcess", lambda server: PipedProcess("mutscan.train.dataset.aligners:no_such_thing")
    )
    with pytest.raises(MissingDependencyError, match="did not start"):
        all_of([[PairTask(0, 1)]])


def test_a_pair_of_nothing_aligned_fails() -> None:
    empty = np.empty((0, 2), np.int32)
    (outcome,) = all_of([[PairTask(0, 1, (0.4, 0.4, empty))]])[0]
    assert outcome == "TM-align found no alignment (TM-scores 0.4 and 0.4)"
    (one,) = all_of([[PairTask(0, 1, (0.4, 0.3, np.array([[3, 4]], np.int32)))]])[0]
    assert isinstance(one, AlignedPair)
    assert np.isnan(one.lddt).tolist() == [True], "a residue alone has no neighbour"
