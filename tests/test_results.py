"""Tables, atomic writes, and the run folder."""

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mutscan.errors import RunFolderError, UsageError, WrongFolderError
from mutscan.files import read_json, replacing, write_errors
from mutscan.reports.views import view_script
from mutscan.results import (
    RESIDUE_COLUMNS,
    RESIDUE_SCHEMA,
    VARIANT_COLUMNS,
    RunFolder,
    block_writer,
    carried_names,
    escape_cell,
    format_cell,
    read_arrays,
    write_arrays,
    write_variants,
)
from tests.built_run import made_up_run

INTERFACE = (
    "input, status, error_code, message, wild_type, variant, hgvs, n_substitutions, positions, "
    "tm_predicted, lddt_predicted_mean, lddt_predicted_min, lddt_predicted_site, "
    "tm_measured, lddt_measured_mean, lddt_measured_min, lddt_measured_site, ca_shift_site, ca_shift_max, "
    "tm_percentile, lddt_percentile, z_score, flag, flag_rule, p_deleterious, "
    "n_residues_affected, affected_regions, plddt_site, confidence, notes, evidence, ddg_predicted, "
    "site_context, alignment, alphamissense, structure_number"
)


def test_columns_are_the_promised_ones() -> None:
    assert ", ".join(VARIANT_COLUMNS) == INTERFACE
    assert ", ".join(RESIDUE_COLUMNS) == (
        "variant, position, wild_type, mutant, structure_number, plddt, lddt_predicted, lddt_measured, "
        "lddt_drop_z, ca_shift, affected, region, p_affected"
    )


@pytest.mark.parametrize(
    "text",
    ["=SUM(A1)", "+cmd", "-2+3", "@x", "\tx", "\n=1", " =1", "\u00a0 =1", "\u200b=1", "\ufeff=1", "\x1b=1",
     "\uff1d1+1", "\uff0bx", "\uff0d2+3", "\uff20x", "\u22122+3", " \n\t-2+3"],
)  # fmt: skip
def test_formulas_are_defused(text: str) -> None:
    assert escape_cell(text) == "'" + text


def test_line_breaks_do_not_hide_a_formula() -> None:
    assert escape_cell("\r=1") == "'\n=1"
    assert escape_cell("\r\n=1") == "'\n=1"
    assert escape_cell("\x00=1") == "'=1"


@pytest.mark.parametrize("text", ["-1.5", " -1.5 ", "+3", "-2e-5", "R175H", "", "a=b", " x", "\nx"])
def test_plain_text_and_numbers_stay(text: str) -> None:
    assert escape_cell(text) == text


def test_unknown_is_empty_never_zero() -> None:
    assert format_cell("tm_predicted", None) == ""
    assert format_cell("tm_predicted", float("nan")) == ""
    assert format_cell("tm_predicted", 1.0) == "1.000000"
    assert format_cell("z_score", -0.0001) == "0.000"
    assert format_cell("n_residues_affected", np.int64(0)) == "0"


def test_residue_numbers_below_zero_are_no_formula() -> None:
    assert format_cell("structure_number", "-4;82A") == "-4;82A"
    assert format_cell("positions", "-4;82A") == "'-4;82A"


def test_colliding_carried_columns_are_renamed() -> None:
    assert carried_names(["gene", "status", "status_input"]) == ["gene", "status_input", "status_input_input"]


def test_variants_csv_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "variants.csv"
    write_variants(path, [{"input": '=1,"x"\n', "tm_predicted": 0.5, "gene": "α"}], ["gene"])
    with path.open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert row["input"] == '\'=1,"x"\n'
    assert row["tm_predicted"] == "0.500000"
    assert row["gene"] == "α"
    assert row["flag"] == ""


def test_residues_write_nan_as_null(tmp_path: Path) -> None:
    block = {name: [None] * 2 for name in RESIDUE_COLUMNS}
    block |= {
        "variant": ["A1G"] * 2,
        "position": [1, 2],
        "lddt_predicted": np.array([0.5, np.nan]),
        "affected": np.array([True, False]),
    }
    for name in ("r.parquet", "s.parquet"):
        with block_writer(tmp_path / name, RESIDUE_SCHEMA) as add:
            add(block)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table["lddt_predicted"].to_pylist() == [0.5, None]
    assert (tmp_path / "r.parquet").read_bytes() == (tmp_path / "s.parquet").read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"), replacing(path) as temporary:
        fail(temporary)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_damaged_arrays_read_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    assert read_arrays(path) is None
    write_arrays(path, a=np.arange(100.0))
    stored = read_arrays(path)
    assert stored is not None
    np.testing.assert_array_equal(stored["a"], np.arange(100.0))
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert read_arrays(path) is None


def test_second_run_in_one_folder_is_refused(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mutscan.results import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with (
            pytest.raises(WrongFolderError, match=f"in use by process {other.pid}"),
            RunFolder(tmp_path / "run"),
        ):
            pass
        other.communicate("")
    with RunFolder(tmp_path / "run"):
        pass


def test_another_jobs_results_are_not_mixed(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 0, "model": "a"})
        write_arrays(folder.part("predicted", "A1G"), x=np.ones(1))
    with RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 0, "model": "a"})
        assert read_arrays(folder.part("predicted", "A1G")) is not None
        with pytest.raises(RunFolderError, match="seed: 0 there, 1 now"):
            folder.claim({"seed": 1, "model": "a"})
    with RunFolder(tmp_path / "run", restart=True) as folder:
        folder.claim({"seed": 1, "model": "a"})
        assert read_arrays(folder.part("predicted", "A1G")) is None


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(RunFolderError, match="not made by mutscan"), RunFolder(tmp_path, restart=True):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]
    with pytest.raises(RunFolderError, match="is a file"), RunFolder(tmp_path / "thesis.doc"):
        pass


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_the_systems_refusals_get_words(number: int, words: str) -> None:
    with pytest.raises(RunFolderError, match=words), write_errors(Path("run")):
        raise OSError(number, os.strerror(number), "run/variants.csv")
    with pytest.raises(OSError, match="stale"), write_errors(Path("run")):
        raise OSError(errno.ESTALE, "stale")


def test_a_folder_of_something_else_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError) as caught, RunFolder(tmp_path / "file"):
        pass
    assert caught.value.exit_code == 2
    with RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 0})
    with pytest.raises(RunFolderError) as caught, RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 1})
    assert caught.value.exit_code == 2


def test_a_path_through_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WrongFolderError, match="a part of the path is a file") as caught:
        RunFolder(tmp_path / "file" / "run").__enter__()
    assert caught.value.exit_code == 2


def test_json_nested_too_deeply_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(path)
    with RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 0})
    path.replace(tmp_path / "run" / ".state" / "job.json")
    with pytest.raises(RunFolderError, match="is damaged"), RunFolder(tmp_path / "run") as folder:
        folder.claim({"seed": 0})
    run = made_up_run(tmp_path / "saved")
    (run / "run.json").write_text("[" * 200_000)
    with pytest.raises(UsageError, match="damaged run folder"):
        view_script(run, "pymol")


def test_a_restart_deletes_what_runs_wrote_and_nothing_else(tmp_path: Path) -> None:
    with RunFolder(tmp_path) as folder:
        folder.claim({"seed": 0})
        for name in ("variants.csv", "run.json"):
            (tmp_path / name).write_text("{}")
        (folder.structures / "L38D.cif").write_text("ours")
        (folder.structures / "notes.txt").write_text("mine")
        (folder.structures / "overlay.cif").write_text("mine")
        (tmp_path / "mine.csv").write_text("mine")
    with RunFolder(tmp_path, restart=True) as folder:
        assert {path.name for path in tmp_path.iterdir()} == {".state", "structures", "mine.csv"}
        assert {path.name for path in folder.structures.iterdir()} == {"notes.txt", "overlay.cif"}


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", '{"name": "another tool"}'])
def test_a_run_json_of_another_tool_makes_no_folder_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    (tmp_path / "variants.csv").write_text("mine")
    for restart in (False, True):
        with pytest.raises(RunFolderError, match="not made by mutscan"), RunFolder(tmp_path, restart=restart):
            pass
    assert (tmp_path / "variants.csv").read_text() == "mine"


def test_arrays_of_another_shape_are_damaged(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.npz", tm=np.zeros(2), lddt=np.zeros(5))
    assert read_arrays(tmp_path / "a.npz", tm=(2,), lddt=(5,)) is not None
    assert read_arrays(tmp_path / "a.npz", tm=(2,), lddt=(6,)) is None
    assert read_arrays(tmp_path / "a.npz", shift=(2,)) is None


def test_a_link_to_nothing_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunFolderError, match="link to nothing"), RunFolder(tmp_path / "link"):
        pass


def test_a_folder_of_a_run_that_died_before_its_lock_is_ours(tmp_path: Path) -> None:
    (tmp_path / "run" / ".state").mkdir(parents=True)
    with RunFolder(tmp_path / "run"):
        pass
    (tmp_path / "other" / ".state").mkdir(parents=True)
    (tmp_path / "other" / "mine.txt").touch()
    with pytest.raises(WrongFolderError, match="was not made by mutscan"), RunFolder(tmp_path / "other"):
        pass


def test_what_a_killed_worker_had_begun_is_deleted_at_the_end(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run") as folder:
        begun = [
            folder.path / ".a.csv.1.tmp",
            folder.state / ".b.json.2.tmp",
            folder.structures / ".c.cif.3.tmp",
        ]
        for path in begun:
            path.touch()
    assert not any(path.exists() for path in begun)
