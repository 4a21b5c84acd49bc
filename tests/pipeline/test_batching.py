"""Runs over many proteins: the bytes of single runs, bad proteins, resuming, parts and their merging."""

import csv
import errno
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mutscan
from mutscan.errors import RunFolderError, UsageError, WrongFolderError
from mutscan.pipeline import batching as room
from mutscan.pipeline import tasks
from mutscan.pipeline.options import Options, Shard
from mutscan.pipeline.tasks import Outcome, Task, units_of
from mutscan.results import VARIANT_SCHEMA, variant_blocks
from tests.made_up_calibration import calibrate_tiny_model
from tests.places import GLOBIN

pytestmark = pytest.mark.timeout(240)

ALPHA = "MVLSPADKTNVKAAWGKVGAHAGEYGAEALERMFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKL"
BETA = "MVHLTPEEKSAVTALWGKVNVDEVGGEALGRLLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHC"
FASTA = f">alpha\n{ALPHA}\n>beta of two\n{BETA}\n>bad\nMKV1\n>twice\nMKTAYIAK\n>twice\nMKTAYIAR\n"
TABLE = """protein,variant,note
alpha,V2A,=1+1
nobody,V2A,
beta,p.His3Arg,two
alpha,K999A,far
bad,M1A,
beta,V2A;H3R,both
twice,M1A,
alpha,A6del,
wild_type,H97A,of a structure
beta,V2=,
"""
NAMES = ("variants.csv", "proteins.csv")
TABLES = ("variants.csv", "residues.parquet", "evidence.parquet", "regions.parquet", "null.parquet")


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "table.csv").write_text(TABLE)
    (folder / "proteins.fasta").write_text(FASTA)
    (folder / "structures").mkdir()
    shutil.copy(GLOBIN / "wild_type.cif", folder / "structures")
    return folder


def arguments_of(inputs: Path, model: Path) -> dict[str, object]:
    return {
        "sequences": inputs / "proteins.fasta",
        "structures_dir": inputs / "structures",
        "model": str(model),
        "offline": True,
    }


@pytest.fixture(scope="module")
def whole(inputs: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.BatchRun:
    out = tmp_path_factory.mktemp("whole") / "out"
    return mutscan.batch(inputs / "table.csv", out=out, **arguments_of(inputs, model))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_rows_without_a_change_of_the_protein_are_skipped(inputs: Path, model: Path, tmp_path: Path) -> None:
    """A gene that has only such rows is not looked up."""
    maf = "Hugo_Symbol\tHGVSp_Short\nalpha\tp.V2A\nTTN\t\nalpha\t\nalpha\tp.X9_splice\n"
    (tmp_path / "cohort.maf").write_text(maf)
    arguments = arguments_of(inputs, model) | {"predict": "probability"}
    run = mutscan.batch(tmp_path / "cohort.maf", out=tmp_path / "out", **arguments)
    rows = rows_of(tmp_path / "out" / "variants.csv")
    assert [row["status"] for row in rows] == ["ok", "skipped", "skipped", "skipped"]
    assert [row["error_code"] for row in rows] == ["", *["unsupported_variant"] * 3]
    assert "line 3 of cohort.maf names no change of the protein" in rows[1]["message"]
    assert "is a change of splicing" in rows[3]["message"]
    assert run.metadata["counts"] == {"ok": 1, "skipped": 3}
    assert list(run.proteins["error_code"].fillna("")) == ["", "unsupported_variant"]


def test_each_line_has_its_row_in_order(whole: mutscan.BatchRun) -> None:
    rows = rows_of(whole.directory / "variants.csv")
    given = list(csv.DictReader(TABLE.splitlines()))
    assert [row["input"] for row in rows] == [line["variant"] for line in given]
    assert [row["wild_type"] for row in rows] == [line["protein"] for line in given]
    assert [row["protein"] for row in rows] == [line["protein"] for line in given]
    assert rows[0]["note"] == "'=1+1"
    assert [row["status"] for row in rows] == [
        *("ok", "failed", "ok", "failed", "failed", "ok", "failed", "partial", "ok", "skipped"),
    ]
    assert [row["error_code"] for row in rows if row["status"] == "failed"] == [
        *("unknown_protein", "position_out_of_range", "bad_sequence", "ambiguous_protein"),
    ]
    assert rows[1]["message"].startswith("table.csv line 3: nobody: is not in --sequences")
    assert "proteins.fasta, line 6: '1' is not an amino-acid code" in rows[4]["message"]
    assert whole.exit_code == 3
    assert len(whole.variants) == len(given)


def test_proteins_are_counted(whole: mutscan.BatchRun) -> None:
    rows = {row["name"]: row for row in rows_of(whole.directory / "proteins.csv")}
    assert list(rows) == ["alpha", "nobody", "beta", "bad", "twice", "wild_type"]
    assert [rows[name]["status"] for name in rows] == [
        *("partial", "failed", "partial", "failed", "failed", "ok"),
    ]
    assert rows["beta"]["length"] == str(len(BETA))
    assert (rows["alpha"]["rows"], rows["alpha"]["scored"]) == ("3", "2")
    assert rows["nobody"]["folder"] == ""
    assert rows["wild_type"]["folder"] == "proteins/wild_type"
    flags = [row["flag"] for row in rows_of(whole.directory / "variants.csv") if row["flag"]]
    counted = {flag: sum(int(row[flag]) for row in rows.values()) for flag in set(flags)}
    assert counted == {flag: flags.count(flag) for flag in set(flags)}
    assert not (whole.directory / "proteins" / "alpha" / "report.html").exists()


@pytest.mark.parametrize("name", ["beta", "wild_type"])
def test_a_protein_has_the_bytes_of_its_own_run(
    name: str, whole: mutscan.BatchRun, inputs: Path, model: Path, tmp_path: Path
) -> None:
    header, *lines = TABLE.splitlines()
    own = [line for line in lines if line.startswith(f"{name},")]
    (tmp_path / "table.csv").write_text("\n".join([header, *own]) + "\n")
    wild_type = inputs / "structures" / "wild_type.cif"
    if name == "beta":
        wild_type = tmp_path / "beta.fasta"
        wild_type.write_text(f">beta\n{BETA}\n")
    alone = mutscan.score(
        str(wild_type), variants_file=tmp_path / "table.csv", out=tmp_path / "out", builder="none",
        model=str(model), offline=True,
    )  # fmt: skip
    run = whole.run(name)
    for table in TABLES[1:]:
        assert (run.directory / table).read_bytes() == (alone.directory / table).read_bytes(), table
    ours, theirs = rows_of(run.directory / "variants.csv"), rows_of(alone.directory / "variants.csv")
    for one, other in zip(ours, theirs, strict=True):
        assert one == {**other, "message": one["message"]}  # names the line of the whole table


def test_probabilities_alone_are_those_of_a_whole_run(
    whole: mutscan.BatchRun, inputs: Path, model: Path, tmp_path: Path
) -> None:
    run = mutscan.batch(
        inputs / "table.csv", out=tmp_path / "out", predict="probability", **arguments_of(inputs, model)
    )
    for one, other in zip(
        rows_of(run.directory / "variants.csv"), rows_of(whole.directory / "variants.csv"), strict=True
    ):
        for column in ("status", "flag", "p_deleterious", "evidence", "alignment", "error_code"):
            assert one[column] == other[column]
        assert not any(one[column] for column in one if column.startswith(("tm_", "lddt_", "z_score")))
        assert one["n_residues_affected"] == ""
    assert other["tm_predicted"] == ""
    assert any(row["tm_predicted"] for row in rows_of(whole.directory / "variants.csv"))


def test_reports_of_single_proteins_on_request(inputs: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("alpha:p.V2A\n")
    run = mutscan.batch(tmp_path / "t.txt", out=tmp_path / "o", reports=True, **arguments_of(inputs, model))
    assert (run.directory / "proteins" / "alpha" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("of", [1, 2, 7, 12])
def test_parts_join_to_the_whole(
    of: int, whole: mutscan.BatchRun, inputs: Path, model: Path, tmp_path: Path
) -> None:
    parts = []
    for index in range(1, of + 1):
        out = tmp_path / f"part{index}"
        mutscan.batch(inputs / "table.csv", out=out, shard=f"{index}/{of}", **arguments_of(inputs, model))
        parts.append(out)
    joined = mutscan.merge(parts[::-1], out=tmp_path / "joined")
    for name in NAMES:
        assert (joined.directory / name).read_bytes() == (whole.directory / name).read_bytes()
    for name in ("alpha", "beta", "wild_type"):
        for table in TABLES:
            path = Path("proteins", name, table)
            assert (joined.directory / path).read_bytes() == (whole.directory / path).read_bytes()
    assert joined.exit_code == whole.exit_code


def test_a_large_protein_is_divided(
    whole: mutscan.BatchRun, inputs: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "UNIT_SECONDS", 0.5)  # each protein is large
    parts = []
    for index in (1, 2, 3):
        out = tmp_path / f"part{index}"
        mutscan.batch(inputs / "table.csv", out=out, shard=f"{index}/3", **arguments_of(inputs, model))
        parts.append(out)
        assert not (out / "proteins" / "beta" / "variants.csv").exists()
    done = [{path.name for path in (part / "proteins").rglob("*.npz")} for part in parts]
    assert sum(map(len, done)) == len(set.union(*done)) >= 4
    joined = mutscan.merge(parts, out=tmp_path / "joined")
    for name in NAMES:
        assert (joined.directory / name).read_bytes() == (whole.directory / name).read_bytes()


def test_units_hold_every_protein_once() -> None:
    proteins = [Task(f"p{place}", ()) for place in range(100)]
    lengths = {task.name: 100 + 7 * place for place, task in enumerate(proteins)}
    for of in (1, 3, 200):
        done: list[str] = []
        loads = []
        for index in range(1, of + 1):
            options = Options(predict="probability", shard=f"{index}/{of}")
            units, large = units_of(proteins, lengths, options, divide=True)
            assert not large
            done += [task.name for unit in units for task in unit.tasks]
            loads.append(sum(unit.seconds for unit in units))
        assert sorted(done) == sorted(task.name for task in proteins)
        if of == 3:
            assert max(loads) < 1.05 * min(loads)


DIES = """
import os, signal
from mutscan.__main__ import main
from mutscan.pipeline import tasks
finish, done = tasks.Worker._finish, []
def dying(*arguments):
    if done:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(finish(*arguments))
tasks.Worker._finish = dying
main()
"""


def test_a_killed_run_goes_on(inputs: Path, model: Path, tmp_path: Path, whole: mutscan.BatchRun) -> None:
    out = tmp_path / "out"
    arguments = [
        *("batch", str(inputs / "table.csv"), "--out", str(out)),
        *("--sequences", str(inputs / "proteins.fasta"), "--model", str(model), "--offline", "--quiet"),
        *("--structures-dir", str(inputs / "structures")),
    ]
    assert subprocess.run([sys.executable, "-c", DIES, *arguments], check=False).returncode == -signal.SIGKILL
    assert len(list(out.glob(".state/outcomes/*.json"))) == 1
    assert not (out / "run.json").exists()
    again = subprocess.run([sys.executable, "-m", "mutscan", *arguments], check=False)
    assert again.returncode == 3
    for name in NAMES:
        assert (out / name).read_bytes() == (whole.directory / name).read_bytes()


def test_a_second_run_does_nothing_twice_and_a_longer_table_only_what_is_new(
    inputs: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished: list[str] = []
    finish = tasks.Worker._finish

    def watched(self: tasks.Worker, task: Task, wild_type: object) -> None:
        finished.append(task.name)
        finish(self, task, wild_type)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks.Worker, "_finish", watched)
    table = tmp_path / "t.csv"
    text = "protein,variant\nalpha,V2A\nbeta,V2A\nnobody,V2A\n"
    for more, expected in (
        ("", ["alpha", "beta", "nobody"]),
        ("", ["nobody"]),  # it may be there by now
        ("beta,H3R\n", ["beta", "nobody"]),
    ):
        finished.clear()
        table.write_text(text + more)
        run = mutscan.batch(table, out=tmp_path / "o", predict="probability", **arguments_of(inputs, model))
        assert finished == expected
    assert [row["input"] for row in rows_of(run.directory / "variants.csv")] == ["V2A", "V2A", "V2A", "H3R"]


def test_another_job_is_refused(whole: mutscan.BatchRun, inputs: Path, model: Path) -> None:
    with pytest.raises(WrongFolderError, match="another job"):
        mutscan.batch(inputs / "table.csv", out=whole.directory, seed=1, **arguments_of(inputs, model))


def test_an_error_of_mutscan_itself_costs_one_protein(
    inputs: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tasks.make_plan

    def broken(wild_type: object, table: object, **options: object) -> object:
        if wild_type.name == "beta":  # type: ignore[attr-defined]
            raise ZeroDivisionError("seven")
        return make(wild_type, table, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(tasks, "make_plan", broken)
    run = mutscan.batch(
        inputs / "table.csv", out=tmp_path / "o", predict="probability", **arguments_of(inputs, model)
    )
    rows = rows_of(run.directory / "variants.csv")
    assert {row["error_code"] for row in rows if row["wild_type"] == "beta"} == {"internal"}
    assert rows[0]["status"] == "ok"
    assert "ZeroDivisionError: seven" in (run.directory / "log.txt").read_text()


@pytest.mark.parametrize("kind", ["batch", "scan"])
def test_a_full_disk_ends_the_run_and_loses_nothing(
    kind: str, inputs: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.fasta").write_text(f">a\n{ALPHA}\n>b\n{BETA}\n")
    (tmp_path / "t.txt").write_text("a:V2A\nb:V2A\n")
    options = {"predict": "probability", "model": str(model), "offline": True}

    def run(out: str) -> Path:
        if kind == "scan":
            found = mutscan.scan(str(tmp_path / "p.fasta"), out=tmp_path / out, **options)
        else:
            table, given = tmp_path / "t.txt", tmp_path / "p.fasta"
            found = mutscan.batch(table, sequences=given, out=tmp_path / out, **options)
        return found.directory

    whole = run("whole")
    write = tasks.Worker._scanned if kind == "scan" else tasks.Worker._scored

    def full(self: tasks.Worker, task: Task, wild_type: object) -> Outcome:
        if task.name == "b":
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "out" / "x"))
        return write(self, task, wild_type)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(tasks.Worker, write.__name__, full)
        with pytest.raises(RunFolderError, match="the disk is full"):
            run("out")
    assert [path.name for path in (tmp_path / "out").glob(".state/outcomes/*")] == ["a.json"]
    again = run("out")
    table = "variants.parquet" if kind == "scan" else "variants.csv"
    assert (again / table).read_bytes() == (whole / table).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alignment": "one.a3m"}, "give --alignments-dir a folder"),
        ({"predict": "probability", "builder": "openmm"}, "builds no mutants"),
        ({"shard": "4/3"}, "--shard 4/3: expected I/N"),
        ({"shard": "1/2", "engine": "ray"}, "give one of them"),
        ({"predict": "tm"}, "expected all or probability"),
        ({"ray_address": "auto"}, "needs --engine ray"),
        ({"sequences": "none.fasta"}, "no such file"),
        ({"structures_dir": "none"}, "no such folder"),
    ],
)
def test_what_cannot_be_done_is_refused(
    change: dict[str, str], message: str, inputs: Path, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        mutscan.batch(inputs / "table.csv", out=tmp_path / "o", **(arguments_of(inputs, model) | change))
    assert not (tmp_path / "o").exists()


def test_a_folder_of_mutants_is_refused(inputs: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one protein's mutants"):
        mutscan.batch(inputs / "table.csv", builder=str(tmp_path), **arguments_of(inputs, model))


def test_a_damaged_outcome_is_none(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    outcome = Outcome("k", "ok", length=3, counts={"ok": 1}, regions=("a", "b"))
    outcome.write(path)
    assert Outcome.read(path) == outcome
    path.write_text(path.read_text()[:20])
    assert Outcome.read(path) is None


@pytest.fixture(scope="module")
def scan_fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "three.fasta"
    path.write_text(f">a\n{ALPHA[:20]}\n>bad\nMK1\n>b\n{BETA[:15]}\n")
    return path


@pytest.mark.parametrize("predict", ["probability", "all"])
def test_scans_of_many_are_those_of_each(predict: str, scan_fasta: Path, model: Path, tmp_path: Path) -> None:
    options = {"model": str(model), "offline": True, "predict": predict}
    many = mutscan.scan(str(scan_fasta), out=tmp_path / "many", **options)
    assert isinstance(many, mutscan.BatchRun)
    assert many.exit_code == 3
    table = pq.read_table(many.directory / "variants.parquet")
    assert table.schema == VARIANT_SCHEMA
    assert list(many.proteins["status"]) == ["ok", "failed", "ok"]
    for name, sequence in (("a", ALPHA[:20]), ("b", BETA[:15])):
        (tmp_path / f"{name}.fasta").write_text(f">{name}\n{sequence}\n")
        alone = mutscan.scan(str(tmp_path / f"{name}.fasta"), out=tmp_path / name, **options)
        ours = table.filter([one == name for one in table["wild_type"].to_pylist()])
        theirs = pa.concat_tables(variant_blocks(alone.directory / "variants.csv"))
        assert ours.to_pylist() == theirs.to_pylist()
        assert len(ours) == 19 * (len(sequence) - sequence.startswith("M"))
    parts = []
    for index in (1, 2):
        mutscan.scan(str(scan_fasta), out=tmp_path / f"p{index}", shard=f"{index}/2", **options)
        parts.append(tmp_path / f"p{index}")
    joined = mutscan.merge(parts, out=tmp_path / "joined")
    for name in ("variants.parquet", "proteins.csv"):
        assert (joined.directory / name).read_bytes() == (many.directory / name).read_bytes()


def test_a_list_of_names_is_scanned(tmp_path: Path, model: Path) -> None:
    (tmp_path / "list.txt").write_text("# mine\nnobody\n\nnobody\nP00000 # none\n")
    run = mutscan.scan(
        f"@{tmp_path / 'list.txt'}", out=tmp_path / "o", model=str(model), offline=True, predict="probability"
    )
    assert isinstance(run, mutscan.BatchRun)
    assert run.exit_code == 4
    assert list(run.proteins["error_code"]) == ["unknown_protein", "offline"]
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(UsageError, match="names no protein"):
        mutscan.scan(f"@{tmp_path / 'empty.txt'}", model=str(model))
    with pytest.raises(UsageError, match="cannot be read"):
        mutscan.scan(f"@{tmp_path / 'missing.txt'}", model=str(model))


# Parts of a run on one protein


@pytest.fixture(scope="module")
def score(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., mutscan.Run]:
    def run(out: Path, **options: object) -> mutscan.Run:
        settings = {"builder": "template", "model": str(model), "offline": True, "jobs": 1} | options
        return mutscan.score(
            str(GLOBIN / "wild_type.cif"), ["H97A", "L38D", "nonsense", "K144E", "H97A", "E10del"],
            out=out, **settings,
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def undivided(score: Callable[..., mutscan.Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return score(tmp_path_factory.mktemp("undivided") / "out").directory


@pytest.fixture(scope="module")
def halves(score: Callable[..., mutscan.Run], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("halves")
    return [score(folder / str(index), shard=f"{index}/2").directory for index in (1, 2)]


def test_halves_of_a_score_join_to_the_whole(halves: list[Path], undivided: Path, tmp_path: Path) -> None:
    for half in halves:
        assert not (half / "variants.csv").exists()
        described = json.loads((half / "run.json").read_text())
        assert described["shard"] in ("1/2", "2/2")
        assert str(half.parent) not in (half / "run.json").read_text()
    joined = mutscan.merge([str(half) for half in halves], out=tmp_path / "joined").directory
    for name in TABLES:
        assert (joined / name).read_bytes() == (undivided / name).read_bytes(), name
    for path in (undivided / "structures").iterdir():
        assert (joined / "structures" / path.name).read_bytes() == path.read_bytes(), path.name
    # Again, into the same folder.
    assert mutscan.merge(halves, out=joined).exit_code == 3


@pytest.mark.slow
@pytest.mark.parametrize("of", [1, 3, 9])
def test_parts_of_a_scan_join_to_the_whole(of: int, model: Path, tmp_path: Path) -> None:
    def scan(out: str, shard: str | None = None) -> Path:
        return mutscan.scan(
            str(GLOBIN / "wild_type.cif"), positions="30-60", out=tmp_path / out, model=str(model),
            offline=True, shard=shard,
        ).directory  # fmt: skip

    undivided = scan("whole")
    parts = [scan(f"part{index}", f"{index}/{of}") for index in range(1, of + 1)]
    joined = mutscan.merge(parts, out=tmp_path / "joined").directory
    for name in (*TABLES, "positions.csv", "scan.parquet"):
        assert (joined / name).read_bytes() == (undivided / name).read_bytes(), name


def test_what_does_not_belong_together_is_refused(
    halves: list[Path], undivided: Path, score: Callable[..., mutscan.Run], tmp_path: Path
) -> None:
    one, two = halves
    out = tmp_path / "out"
    other = score(tmp_path / "other", shard="2/2", seed=5).directory
    third = score(tmp_path / "third", shard="2/3").directory
    for runs, message in (
        ([one], "missing part 2/2"),
        ([one, one], "both are part 1/2"),
        ([one, other], "seed is 5, there 0"),
        ([one, third], "2/3"),
        ([one, undivided], "is no part of a job"),
        ([one, tmp_path / "nothing"], "no such folder"),
        ([], "nothing to merge"),
    ):
        with pytest.raises(UsageError, match=message):
            mutscan.merge(runs, out=out)
    with pytest.raises(UsageError, match="is one of the parts"):
        mutscan.merge(halves, out=one)
    unfinished = tmp_path / "unfinished"
    shutil.copytree(two, unfinished)
    (unfinished / ".state" / "call.json").unlink()
    with pytest.raises(UsageError, match="part 2/2 is not finished"):
        mutscan.merge([one, unfinished], out=out)
    assert not out.exists()
    with pytest.raises(WrongFolderError):
        score(one, shard="2/2")
    with pytest.raises(UsageError, match="read the same list"):
        mutscan.score(str(GLOBIN / "wild_type.cif"), variants_file="-", shard="1/2")


def test_a_part_of_nothing(score: Callable[..., mutscan.Run], tmp_path: Path) -> None:
    described = score(tmp_path / "o", shard="11/11").metadata
    assert (described["items"], described["items_done"]) == (4, 0)


def test_shards_are_read() -> None:
    assert Shard.read(" 2/7 ") == Shard(2, 7)
    for text in ("0/3", "4/3", "1", "1/2/3", "-1/3", "a/b", ""):
        with pytest.raises(UsageError, match="expected I/N"):
            Shard.read(text)


# Faults that users found


@pytest.fixture
def small(tmp_path: Path, model: Path) -> Callable[..., mutscan.BatchRun]:
    """Run a small table of probabilities; ``fasta`` and ``table`` replace what is asked."""

    def run(out: str, fasta: str = f">a\n{ALPHA}\n>b\n{BETA}\n", table: str = "a:V2A\nb:V2A\n", **more):
        (tmp_path / "p.fasta").write_text(fasta)
        (tmp_path / "t.txt").write_text(table)
        options = {"predict": "probability", "model": str(model), "offline": True} | more
        given = tmp_path / "p.fasta"
        return mutscan.batch(tmp_path / "t.txt", sequences=given, out=tmp_path / out, **options)

    return run


CHANGED = f">a\n{ALPHA[:60]}WWWW{ALPHA[64:]}\n>b\n{BETA}\n"


def test_a_changed_sequence_is_noticed(small: Callable[..., mutscan.BatchRun]) -> None:
    small("out")
    with pytest.raises(WrongFolderError, match="sequence: "):
        small("out", CHANGED)


def test_parts_of_other_inputs_are_not_merged(small: Callable[..., mutscan.BatchRun], tmp_path: Path) -> None:
    one, two = (small(f"part{index}", shard=f"{index}/2").directory for index in (1, 2))
    other = small("other", CHANGED, shard="2/2").directory
    with pytest.raises(UsageError, match="variants and proteins is"):
        mutscan.merge([one, other], out=tmp_path / "m")
    # p.fasta is now another than the parts were made of.
    with pytest.raises(UsageError, match="input files are not those"):
        mutscan.merge([one, two], out=tmp_path / "n")


def test_a_merged_folder_is_that_of_an_ordinary_run(
    small: Callable[..., mutscan.BatchRun], tmp_path: Path
) -> None:
    parts = [small(f"part{index}", shard=f"{index}/2").directory for index in (1, 2)]
    joined = mutscan.merge(parts, out=tmp_path / "m").directory
    before = (joined / "variants.csv").read_bytes()
    for change in ({"prior": "scan"}, {"seed": 3}, {"shard": "1/2"}):
        with pytest.raises(WrongFolderError):
            small("m", **change)
    assert small("m").directory == joined
    assert (joined / "variants.csv").read_bytes() == before


def test_a_part_has_no_tables(small: Callable[..., mutscan.BatchRun]) -> None:
    part = small("part", shard="1/2")
    assert part.exit_code == 0
    for table in ("variants", "proteins"):
        with pytest.raises(UsageError, match="is part 1/2 of a job"):
            getattr(part, table)


def test_folders_named_as_options_do_not_spoil_a_part(
    small: Callable[..., mutscan.BatchRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("auto", "clinical", "none", "probability", "cpu", "t"):
        (tmp_path / name).mkdir()
    part = small("part", shard="1/1").directory
    monkeypatch.chdir("/")
    assert mutscan.merge([part], out=tmp_path / "m").exit_code == 0


def test_a_list_of_a_part_is_found_from_elsewhere(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("nobody\n")
    options = {"model": str(model), "offline": True, "predict": "probability"}
    mutscan.scan("@list.txt", out="part", shard="1/1", **options)
    monkeypatch.chdir("/")
    assert mutscan.merge([tmp_path / "part"], out=tmp_path / "m").exit_code == 4


def test_names_that_a_file_system_does_not_tell_apart(small: Callable[..., mutscan.BatchRun]) -> None:
    names = ["x/y", room.file_name("x/y"), "P53", "p53", "NA", "=x"]
    fasta = "".join(f">{name}\n{ALPHA[k:]}\n" for k, name in enumerate(names))
    run = small("out", fasta, "".join(f"{name},{ALPHA[k + 1]}2W\n" for k, name in enumerate(names)).replace(
        "x/y,", "protein,variant\nx/y,", 1
    ))  # fmt: skip
    assert list(run.proteins["name"]) == [*names[:4], "'=x"]
    folders = [*run.proteins["folder"]]
    assert len({folder.casefold() for folder in folders}) == len(folders)
    assert [run.run(name).exit_code for name in (*names[:4], "=x")] == [0] * 5
    with pytest.raises(UsageError, match="has no protein nobody"):
        run.run("nobody")
    reopened = mutscan.open_run(run.directory)
    assert isinstance(reopened, mutscan.BatchRun)
    assert reopened.to_html(run.directory / "again.html").stat().st_size > 10_000


def test_an_identifier_goes_before_a_part_of_another(small: Callable[..., mutscan.BatchRun]) -> None:
    fasta = f">sp|b|B_HUMAN\n{ALPHA}\n>b\n{BETA}\n>NP_1.2\n{BETA}\n>model\n{BETA}\n>Q8N158\n{BETA}\n"
    table = "b:V2A\nB_HUMAN:V2A\nNP_1.2:V2A\nmodel.7:V2A\nQ8N158-1:V2A\n"
    run = small("out", fasta, table)
    assert [*run.proteins["status"]] == ["ok", "ok", "ok", "failed", "ok"]
    assert [*run.proteins["length"].dropna()] == [len(BETA), len(ALPHA), len(BETA), len(BETA)]


def test_restarting_with_another_command_leaves_nothing_of_the_old(
    small: Callable[..., mutscan.BatchRun], model: Path, tmp_path: Path
) -> None:
    directory = small("out").directory
    (tmp_path / "one.fasta").write_text(f">one\n{ALPHA}\n")
    options = {"model": str(model), "offline": True, "predict": "probability", "out": directory}
    mutscan.score(str(tmp_path / "one.fasta"), ["V2A"], restart=True, **options)
    assert not (directory / "proteins.csv").exists()
    assert not (directory / "proteins").exists()
    small("out", restart=True)
    assert not (directory / "residues.parquet").exists()


@pytest.mark.parametrize("damage", ["gone", "cut", "longer"])
def test_a_damaged_table_is_made_again(damage: str, small: Callable[..., mutscan.BatchRun]) -> None:
    run = small("out")
    before = (run.directory / "variants.csv").read_bytes()
    table = run.directory / "proteins" / "a" / "variants.csv"
    if damage == "gone":
        shutil.rmtree(table.parent)
    else:
        data = table.read_bytes()
        table.write_bytes(data[:-20] if damage == "cut" else data + data[-20:])
    small("out")
    assert (run.directory / "variants.csv").read_bytes() == before


def test_damaged_state_is_told(small: Callable[..., mutscan.BatchRun], tmp_path: Path) -> None:
    part = small("part", shard="1/1").directory
    for text in ("{", "[]"):
        (part / ".state" / "job.json").write_text(text)
        with pytest.raises(WrongFolderError, match=r"job\.json: is damaged"):
            small("part", shard="1/1")
        with pytest.raises(WrongFolderError, match=r"job\.json: is damaged"):
            mutscan.merge([part], out=tmp_path / "m")
    (part / ".state" / "job.json").write_text("{}")
    with pytest.raises(UsageError, match="is no part of a job"):
        mutscan.merge([part], out=tmp_path / "m")


@pytest.mark.parametrize("name", ["lock", "owner.json", "job.json", "outcomes/a.json"])
def test_a_folder_in_place_of_a_file_of_the_state_is_named(
    small: Callable[..., mutscan.BatchRun], name: str
) -> None:
    file = small("out").directory / ".state" / name
    file.unlink()
    file.mkdir()
    (file / "mine").touch()
    with pytest.raises(WrongFolderError, match=rf"{name}: (is damaged|there is a folder where a file)"):
        small("out")


@pytest.mark.parametrize("name", [".state", ".state/outcomes"])
def test_a_file_in_place_of_a_folder_of_the_state_is_named(
    small: Callable[..., mutscan.BatchRun], name: str
) -> None:
    folder = small("out").directory / name
    shutil.rmtree(folder)
    folder.touch()
    with pytest.raises(WrongFolderError, match=rf"{name}: there is a file where a folder should be"):
        small("out")


def test_rows_of_interleaved_proteins_keep_their_order(
    small: Callable[..., mutscan.BatchRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_OPEN", 2)
    names = ["a", "b", "c", "d"]
    fasta = "".join(f">{name}\n{ALPHA}\n" for name in names)
    lines = [f"{name}:{ALPHA[k]}{k + 1}W" for k in range(3, 9) for name in names if ALPHA[k] != "W"]
    rows = rows_of(small("out", fasta, "\n".join(lines)).directory / "variants.csv")
    assert [row["input"] for row in rows] == lines
    assert [f"{row['wild_type']}:{row['variant']}" for row in rows] == lines


def test_a_protein_whose_lines_all_fail_says_why(small: Callable[..., mutscan.BatchRun]) -> None:
    run = small("out", table="a:W2A\nb:V2A\n")
    protein = run.proteins.iloc[0]
    assert (protein["status"], protein["error_code"]) == ("failed", "wild_type_mismatch")
    assert "no row was scored; the first: t.txt line 1" in protein["message"]
    assert run.exit_code == 3


def test_reports_may_be_asked_for_later(small: Callable[..., mutscan.BatchRun]) -> None:
    run = small("out")
    small("out", reports=True)
    assert (run.run("a").directory / "report.html").is_file()


@pytest.mark.parametrize("predict", ["all", "probability"])
def test_a_protein_without_a_standard_residue(predict: str, small: Callable[..., mutscan.BatchRun]) -> None:
    run = small("out", ">a\nXXXX\n>b\nX\n", "a:X2A\nb:X1A\n", predict=predict)
    assert list(run.variants["error_code"]) == ["bad_sequence", "bad_sequence"]


def test_a_cell_may_grow_beyond_what_csv_reads(small: Callable[..., mutscan.BatchRun]) -> None:
    note = "=" + "x" * (csv.field_size_limit() - 1)
    run = small("out", table=f"protein,variant,note\na,V2A,{note}\n")
    assert run.exit_code == 0


def test_another_builder_is_refused_at_once(small: Callable[..., mutscan.BatchRun], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of"):
        small("out", builder="foo", predict="all")
    assert not (tmp_path / "out").exists()
