"""Scans of many proteins end to end: the rows of single scans, bad proteins, interruption, shards, JSON."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mutscan
from mutscan.cli.app import app
from mutscan.pipeline import tasks
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.reports.sentences import account
from mutscan.results import VARIANT_COLUMNS, VARIANT_SCHEMA, format_cell
from tests.made_up_calibration import calibrate_tiny_model
from tests.places import GLOBIN

pytestmark = pytest.mark.timeout(180)

TABLES = ("variants.parquet", "proteins.csv")


@pytest.fixture(scope="module")
def sequence() -> str:
    return resolve_wild_type(str(GLOBIN / "wild_type.cif"), offline=True).sequence


@pytest.fixture(scope="module")
def model(tiny_model: Path, sequence: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("m") / "tiny", family=sequence[:120])


@pytest.fixture(scope="module")
def proteins(sequence: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("proteins") / "some.fasta"
    texts = {
        "one": sequence[:30],
        "none": "X" * 9,
        "same": sequence[:30],
        "bad": "MK1",
        "last": sequence[20:90],
    }
    path.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return path


def scan(proteins: Path, model: Path, out: Path, **more: object) -> Path:
    run = mutscan.scan(str(proteins), out=out, model=str(model), offline=True, predict="probability", **more)  # type: ignore[arg-type]
    return run.directory


@pytest.fixture(scope="module")
def whole(proteins: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scan(proteins, model, tmp_path_factory.mktemp("run") / "out")


def test_rows_are_those_of_single_scans_and_bad_proteins_cost_their_own(
    whole: Path, model: Path, sequence: str, tmp_path: Path
) -> None:
    file = pq.ParquetFile(whole / "variants.parquet")
    assert file.schema_arrow == VARIANT_SCHEMA
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2470]
    with (whole / "proteins.csv").open(newline="") as stream:
        told = {row["name"]: row for row in csv.DictReader(stream)}
    assert [*told] == ["one", "none", "same", "bad", "last"]
    assert [row["status"] for row in told.values()] == ["ok", "failed", "ok", "failed", "ok"]
    assert "no standard residue" in told["none"]["message"]
    assert "'1' is not an amino-acid code" in told["bad"]["message"]
    (tmp_path / "last.fasta").write_text(f">last\n{sequence[20:90]}\n")
    single = scan(tmp_path / "last.fasta", model, tmp_path / "single")
    with (single / "variants.csv").open(newline="", encoding="utf-8") as stream:
        rows = [[row[name] for name in VARIANT_COLUMNS] for row in csv.DictReader(stream)]
    table = file.read_row_group(0).to_pylist()[-len(rows) :]
    assert [[format_cell(name, row[name]) for name in VARIANT_COLUMNS] for row in table] == rows
    flags = [row["flag"] for row in table]
    assert [int(told["last"][f]) for f in ("deleterious", "uncertain", "tolerated")] == [
        flags.count(f) for f in ("deleterious", "uncertain", "tolerated")
    ]


def test_an_interrupted_run_ends_with_the_same_bytes(
    whole: Path, proteins: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    original = tasks.scan_protein

    def interrupted(model: object, wild_type: object, options: object) -> object:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(wild_type.name)  # type: ignore[attr-defined]
        return original(model, wild_type, options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "scan_protein", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(proteins, model, tmp_path / "out")
    assert not (tmp_path / "out" / "variants.parquet").exists()
    again: list[str] = []

    def counted(model: object, wild_type: object, options: object) -> object:
        again.append(wild_type.name)  # type: ignore[attr-defined]
        return original(model, wild_type, options)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "scan_protein", counted)
    scan(proteins, model, tmp_path / "out")
    assert "one" not in again
    assert "last" in again
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_merged_parts_have_the_same_bytes(whole: Path, proteins: Path, model: Path, tmp_path: Path) -> None:
    parts = [scan(proteins, model, tmp_path / f"part{i}", shard=f"{i}/3") for i in (1, 2, 3)]
    mutscan.merge(parts, out=tmp_path / "joined")
    for name in TABLES:
        assert (tmp_path / "joined" / name).read_bytes() == (whole / name).read_bytes()


def test_the_command_prints_all_rows_as_json(proteins: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["scan", str(proteins), "--model", str(model), "--offline", "--predict", "probability"]
    done = CliRunner().invoke(app, [*arguments, "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 3, done.output
    rows = json.loads(done.stdout)
    stored = pq.read_table(tmp_path / "out" / "variants.parquet").to_pylist()
    assert rows == [row | account(row) for row in stored]
    assert {row["sentence"] is None for row in rows if row["status"] == "ok"} == {False}
    assert "in 3 of 5 proteins" in done.stderr
