"""Input of `mutscan train dataset`: tables, folders of structures, lists of pairs; pairs made besides."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tmtools.testing import get_pdb_path
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.progress import Silent
from mutscan.structures import read_structure, write_structure
from mutscan.train.chains.clusters import ClusterColumn
from mutscan.train.chains.pairlists import read_pair_list
from mutscan.train.chains.tables import read_tables
from mutscan.train.dataset import sources
from mutscan.train.dataset.make import make_dataset
from mutscan.train.dataset.plan import Extras, PairingSettings
from mutscan.train.dataset.sources import StructureFiles, Tables, read_chains
from tests.fake_services import Reply, running
from tests.made_up_pairs import write_tables
from tests.peptides import helix

BY_COLUMN = ClusterColumn("cluster25")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tables(tmp_path_factory.mktemp("tables"), families=6, members=2)


@pytest.fixture(scope="module")
def globins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of structures: chains A and B of 2GTL in three formats, and files that cannot be used."""
    folder = tmp_path_factory.mktemp("globins")
    chains = [read_structure(get_pdb_path("2gtl"), chain=name) for name in "AB"]
    write_structure(chains[0], folder / "one.pdb")
    write_structure(chains[1], folder / "two.cif")
    (folder / "deep").mkdir()
    (folder / "deep" / "three.pdb.gz").write_bytes(gzip.compress((folder / "one.pdb").read_bytes()))
    lines = (folder / "one.pdb").read_text().splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    residues = {line[22:26] for line in atoms[:12]}
    (folder / "short.pdb").write_text("\n".join(a for a in atoms if a[22:26] in residues) + "\nEND\n")
    (folder / "nan.pdb").write_text("\n".join(a[:30] + "     nan" + a[38:] for a in atoms) + "\nEND\n")
    (folder / "text.pdb").write_text("no structure at all\n")
    (folder / "notes.txt").write_text("no structure, and not named like one\n")
    return folder


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["train", "dataset", *map(str, arguments)])


def write_list(path: Path, rows: list[tuple[str, str]], header: str = "chain_1,chain_2") -> Path:
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    return path


# A folder of structures


@pytest.fixture(autouse=True)
def _without_mmseqs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters come from the tables' column, whether or not MMseqs2 is installed here."""
    monkeypatch.setattr("mutscan.train.chains.clusters.shutil.which", lambda name: None)


def test_a_folder_of_structures_with_bad_files(globins: Path, tmp_path: Path) -> None:
    rows = [
        ("one", "two"),
        ("two", "three"),
        ("one", "short"),
        ("nan", "one"),
        ("text", "two"),
        ("one", "none"),
    ]
    write_list(tmp_path / "pairs.csv", rows)
    (tmp_path / "clusters.tsv").write_text("g\tone\ng\ttwo\ng\tthree\n")
    done = run(
        "--structures", globins, "--pairs", tmp_path / "pairs.csv", "--clusters", tmp_path / "clusters.tsv",
        "--jobs", 1, "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 3, done.stderr
    with (tmp_path / "out" / "failures.csv").open(newline="") as lines:
        reasons = {(row["id1"], row["id2"]): row["reason"] for row in csv.DictReader(lines)}
    assert set(reasons) == set(rows[2:])
    assert "short: " in reasons["one", "short"]
    assert "at least 3" in reasons["one", "short"]
    assert "not finite" in reasons["nan", "one"] or "finite" in reasons["nan", "one"]
    assert reasons["text", "two"].startswith("text: ")
    assert reasons["one", "none"].startswith("none: no structure file")
    made = pd.read_parquet(tmp_path / "out" / "pairs").set_index("id1")
    # Stored coordinates are rounded to 0.01 Å.
    assert made.loc["one", "tm_norm1"] == pytest.approx(0.884730, abs=2e-5)
    assert made.loc["one", "tm_norm2"] == pytest.approx(0.895950, abs=2e-5)
    assert (made.loc["one", "len1"], made.loc["one", "len2"], made.loc["one", "n_aligned"]) == (147, 145, 143)
    assert np.nanmean(made.loc["one", "lddt"]) == pytest.approx(0.9136, abs=1e-3)
    chains = pd.read_parquet(tmp_path / "out" / "structures.parquet").set_index("id")
    assert sorted(chains.index) == ["one", "three", "two"]
    assert chains.loc["three", "source"] == "three.pdb.gz"
    assert chains["cluster25"].nunique() == 1
    assert json.loads(done.stdout)["counts"]["failed"] == 4
    read_tables(tmp_path / "out" / "structures.parquet", tmp_path / "out")


def test_none_of_the_files_can_be_read(globins: Path, tmp_path: Path) -> None:
    write_list(tmp_path / "pairs.csv", [("text", "absent")])
    with pytest.raises(UsageError, match=r"none of the 2 chains .*absent: no structure file"):
        StructureFiles(globins, tmp_path / "pairs.csv").read(tmp_path, jobs=1, progress=Silent())


def test_two_files_of_one_name_are_refused(globins: Path, tmp_path: Path) -> None:
    for name in ("x.pdb", "x.ent"):
        (tmp_path / name).write_bytes((globins / "one.pdb").read_bytes())
    with pytest.raises(UsageError, match="both named x; keep one"):
        StructureFiles(tmp_path, write_list(tmp_path / "p.csv", [("x", "x")])).describe()


def test_many_files_are_read_by_several_processes(globins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [("one", globins / "one.pdb"), ("text", globins / "text.pdb"), ("two", globins / "two.cif")]
    alone = read_chains(files, 1, Silent())
    monkeypatch.setattr(sources, "_ALONE", 1)
    assert read_chains(files, 2, Silent()) == alone
    assert [row["id"] for row in alone[0]] == ["one", "two"]
    assert list(alone[1]) == ["text"]


def test_a_change_in_the_folder_is_another_data_set(globins: Path, tmp_path: Path) -> None:
    source = StructureFiles(tmp_path / "files", write_list(tmp_path / "p.csv", [("one", "two")]))
    (tmp_path / "files").mkdir()
    for name in ("one.pdb", "two.cif"):
        (tmp_path / "files" / name).write_bytes((globins / name).read_bytes())
    before = source.describe()
    assert source.describe() == before
    with (tmp_path / "files" / "one.pdb").open("a") as file:
        file.write("REMARK\n")
    assert source.describe() != before


# Tables and lists


def test_a_pair_of_an_unknown_chain_is_named_by_its_line(tables: tuple[Path, Path], tmp_path: Path) -> None:
    rows = [("f0m0", "f0m1"), ("f0m0", "1XYZ_Q"), ("f1m0", "1XYZ_Q")]
    pairs = write_list(tmp_path / "p.csv", rows, "id1,id2")
    done = run("--structures", tables[0], "--pairs", pairs, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "p.csv: line 3 names the chain 1XYZ_Q, which" in done.stderr
    assert "(2 such lines)" in done.stderr
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_lists_as_text(tmp_path: Path) -> None:
    text = "chain_2\tpicked_as\tchain_1\nB\trand\tA\n\nNA\t\tA\n"
    (tmp_path / "p.tsv.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    table = read_pair_list(tmp_path / "p.tsv.gz")
    assert table[["id1", "id2", "line", "picked_as", "source"]].to_numpy().tolist() == [
        ["A", "B", 2, "rand", "p.tsv.gz"],
        ["A", "NA", 4, "list", "p.tsv.gz"],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,2\n", "has no columns id1 and id2, nor chain_1 and chain_2; there are a, b"),
        (b"id1,id2\nA,B\nA,\n", "line 3 names no chain as id2"),
        (b"", "cannot be read"),
        (b"\xff\xfe\x00id1", "cannot be read as text"),
        (b"id1,id2\nA,B,C\nA,B\n", "cannot be read as a table"),
        (b"id1,id2\nA,B\nA,B,C\n", "cannot be read as a table .*line 3"),
        (None, "no such file"),
    ],
)
def test_a_list_that_cannot_be_used(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_pair_list(path)


def test_pairs_listed_twice_are_aligned_once(tables: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = write_list(tmp_path / "p.csv", [("f0m0", "f0m1"), ("f0m1", "f0m0"), ("f0m0", "f0m1")])
    made = make_dataset(tmp_path / "out", Tables(tables[0], pairs), BY_COLUMN)
    assert made.contents["counts"] == {
        "pairs": 2, "failed": 0, "left_out": 0, "repeated": 1, "chains": 2, "shards": 1,
    }  # fmt: skip


def test_other_columns_are_carried_along(tables: tuple[Path, Path], tmp_path: Path) -> None:
    chains = pd.read_parquet(tables[0]).assign(kind="designed", cluster=np.arange(12, dtype=np.int32))
    chains.to_parquet(tmp_path / "s.parquet")
    pairs = pd.read_parquet(tables[1]).head(4).assign(picked_as="struct")
    pairs.to_parquet(tmp_path / "p.parquet")
    make_dataset(tmp_path / "out", Tables(tmp_path / "s.parquet", tmp_path / "p.parquet"), BY_COLUMN)
    written = pd.read_parquet(tmp_path / "out" / "structures.parquet").set_index("id")
    assert set(written["kind"]) == {"designed"}
    assert written["cluster"].to_dict() == chains.set_index("id")["cluster"][written.index].to_dict()
    assert set(pd.read_parquet(tmp_path / "out" / "pairs")["picked_as"]) == {"struct"}


def test_alignments_can_be_kept(tables: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(
        "--structures", tables[0], "--pairs", tables[1], "--keep-alignments", "--lddt-exponent", 0,
        "--jobs", 1, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    given = pd.read_parquet(tables[1]).set_index(["id1", "id2"])
    made = pd.read_parquet(tmp_path / "out" / "pairs").set_index(["id1", "id2"])
    assert len(made) == len(given)
    for ends, row in made.iterrows():
        assert (row["tm_norm1"], row["tm_norm2"]) == tuple(given.loc[ends, ["tm_norm1", "tm_norm2"]])
        alignment = np.frombuffer(given.loc[ends, "alignment"], "<i2").reshape(-1, 2)
        assert np.stack([row["i1"], row["i2"]], axis=1).tolist() == alignment.tolist()
    assert set(made["aligner"]) == {"as given"}
    assert set(made["lddt_exponent"]) == {0.0}
    # What was made can be made again from itself.
    again = Tables(tmp_path / "out" / "structures.parquet", tmp_path / "out", keep_alignments=True)
    second = make_dataset(tmp_path / "again", again, BY_COLUMN, PairingSettings(lddt_exponent=0.0))
    copy = pd.read_parquet(tmp_path / "again" / "pairs").set_index(["id1", "id2"]).loc[made.index]
    assert second.contents["counts"]["pairs"] == len(made)
    for name in ("i1", "i2", "lddt"):
        assert [one.tolist() for one in copy[name]] == [one.tolist() for one in made[name]]


def test_kept_alignments_must_fit(tables: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = pd.read_parquet(tables[1])
    pairs.loc[3, "alignment"] = np.array([[0, 0], [90, 1]], "<i2").tobytes()
    pairs.to_parquet(tmp_path / "p.parquet")
    source = Tables(tables[0], tmp_path / "p.parquet", keep_alignments=True)
    with pytest.raises(UsageError, match=r"line 4 of the pairs aligns residue 90 \(from 0\) of f"):
        make_dataset(tmp_path / "out", source, BY_COLUMN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--structures", "S"], "expected --structures with --pairs, --mine or --mutants; or --swiss-model"),
        (["--structures", ".", "--mine", "5"], "without --pairs, --structures must be a table"),
        (["--structures", "S", "--pairs", "P", "--limit", "3"], "--limit works only with --swiss-model"),
        (["--swiss-model", "P", "--pairs", "P"], "--swiss-model cannot be combined"),
        (["--structures", ".", "--pairs", "P", "--keep-alignments"], "--keep-alignments needs a table"),
        (["--structures", "S", "--pairs", "P", "--mutants", "3"], "mutant pairs need both"),
        (["--structures", "S", "--pairs", "P", "--cluster-column", "fold"], "have no column fold; there are"),
        (["--structures", "S", "--pairs", "gone.csv"], "gone.csv: no such file"),
        (["--structures", "gone.parquet", "--pairs", "P"], "gone.parquet: no such file"),
    ],
)
def test_what_does_not_go_together(
    arguments: list[str], message: str, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    names = {"S": tables[0], "P": tables[1]}
    done = run(*(names.get(word, word) for word in arguments), "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr


# Pairs made besides


def test_mutants_come_as_further_shards(tables: tuple[Path, Path], tmp_path: Path) -> None:
    wild_types = tmp_path / "wild"
    wild_types.mkdir()
    write_structure(helix("MKTAYIAKQRLEALAREGVEQLSKR", name="peptide"), wild_types / "peptide.pdb")
    # A relative of a known chain, whose name it bears, too.
    chains = pd.read_parquet(tables[0]).set_index("id")
    known = chains.loc["f3m0", "sequence"]
    write_structure(helix(known, name="f3m0"), wild_types / "f3m0.pdb")
    pairs = write_list(tmp_path / "p.csv", [("f0m0", "f0m1"), ("f3m0", "f3m1"), ("f1m0", "f2m0")])
    command = [
        "--structures", tables[0], "--pairs", pairs, "--mutants", 3, "--wild-types", wild_types,
        "--builder", "template", "--shard-size", 4, "--jobs", 1, "--cluster-column", "cluster25",
    ]  # fmt: skip
    done = run(*command, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    shards = [pd.read_parquet(path) for path in sorted((tmp_path / "out" / "pairs").iterdir())]
    assert [len(shard) for shard in shards] == [3, 4, 2]
    made = pd.concat(shards[1:])
    assert set(made["picked_as"]) == {"mutant"}
    assert set(made["id1"]) == {"peptide", "f3m0~wild"}
    assert (made["tm_norm1"] > 0.9).all()
    structures = pd.read_parquet(tmp_path / "out" / "structures.parquet").set_index("id")
    assert structures["cluster25"].dtype == np.int64
    for row in made.itertuples():
        one, two = structures.loc[row.id1], structures.loc[row.id2]
        assert sum(a != b for a, b in zip(one["sequence"], two["sequence"], strict=True)) == 1
        assert one["cluster25"] == two["cluster25"]
        assert row.split != "across"
    assert structures.loc["f3m0~wild", "cluster25"] == chains.loc["f3m0", "cluster25"]
    assert structures.loc["peptide", "cluster25"] not in set(chains["cluster25"])
    data = read_tables(tmp_path / "out" / "structures.parquet", tmp_path / "out" / "pairs")[1]
    assert data.stored_labels(3.0, 15.0) is not None
    refused = run(*command, "--lddt-exponent", 5, "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "exponent 3 and radius 15, but the settings are 5 and 15" in refused.stderr


@pytest.mark.parametrize("listed", [True, False])
def test_mined_pairs_lie_inside_splits(listed: bool, tables: tuple[Path, Path], tmp_path: Path) -> None:
    chains = pd.read_parquet(tables[0])
    rng = np.random.default_rng(0)
    # Forty copies of one trace, each a little different and of another cluster: all pairs are candidates.
    trace = np.frombuffer(chains["ca"][0], "<i2").reshape(-1, 3)
    compact = np.round(trace * 0.6).astype("<i2")
    rows = [
        {
            "id": f"c{k}",
            "sequence": "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), len(trace))),
            "ca": (compact + rng.integers(-120, 120, compact.shape)).astype("<i2").tobytes(),
            "cluster25": k,
        }
        for k in range(40)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "s.parquet")
    pairs = write_list(tmp_path / "p.csv", [("c0", "c1")]) if listed else None
    made = make_dataset(
        tmp_path / "out", Tables(tmp_path / "s.parquet", pairs), BY_COLUMN, extras=Extras(mine=20)
    )
    assert (made.contents["picked_as"].keys() == {"mined"}) is not listed
    table = pd.read_parquet(tmp_path / "out" / "pairs")
    mined = table[table["picked_as"] == "mined"]
    assert 5 <= len(mined) <= 21
    assert made.contents["picked_as"]["mined"] == len(mined)
    assert "across" not in set(mined["split"])
    assert (mined["id1"] != mined["id2"]).all()


def test_the_swiss_model_list_is_downloaded_and_read(
    globins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accessions = {"P00001": globins / "one.pdb", "P00002": globins / "two.pdb"}
    write_structure(read_structure(globins / "two.cif"), accessions["P00002"])
    rows = [("P00001", "P00002"), ("P00002", "P00003")]
    pairs = write_list(tmp_path / "list.csv", rows)
    (tmp_path / "clusters.tsv").write_text("g\tP00001\ng\tP00002\n")
    command = [
        "--swiss-model", pairs, "--seed", 4, "--max-length", 300, "--clusters", tmp_path / "clusters.tsv",
        "--jobs", 1, "--out", tmp_path / "out",
    ]  # fmt: skip
    with running() as service:
        for accession, path in accessions.items():
            service.on(f"/models/{accession}.pdb", Reply(body=path.read_bytes()))
        monkeypatch.setenv(sources.SWISS_MODEL_URL, service.url + "/models/{accession}.pdb")
        done = run(*command)
        assert done.exit_code == 3, done.stderr
        asked = len(service.requests)
        # Not even a restart asks again for what has come.
        assert run(*command, "--restart").exit_code == 3
        assert [path for path, _ in service.requests[asked:]] in ([], ["/models/P00003.pdb"])
    made = pd.read_parquet(tmp_path / "out" / "pairs")
    assert made["tm_norm1"].tolist() == pytest.approx([0.884730], abs=2e-5)
    assert set(made["source"]) == {"SWISS-MODEL"}
    with (tmp_path / "out" / "failures.csv").open(newline="") as lines:
        (failure,) = csv.DictReader(lines)
    assert (failure["id1"], failure["id2"]) == rows[1]
    assert "P00003" in failure["reason"]


def test_a_data_set_that_could_not_be_planned_can_be_asked_for_otherwise(
    tables: tuple[Path, Path], tmp_path: Path
) -> None:
    command = ["--structures", tables[0], "--pairs", tables[1], "--jobs", 1, "--out", tmp_path / "out"]
    assert run(*command, "--min-length", 900).exit_code == 2
    assert run(*command).exit_code == 0
