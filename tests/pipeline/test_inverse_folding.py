"""Inverse folding in runs: ddg_predicted, what is recorded, and that nothing changes without the extra."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import mutscan
from mutscan import pipeline
from mutscan.errors import RunFolderError, UsageError
from mutscan.evidence import inverse_folding_evidence
from mutscan.model import inverse_folding as room
from mutscan.pipeline.options import Options
from mutscan.pipeline.verdict import NO_BACKBONE
from mutscan.residues import STANDARD
from mutscan.structures import read_structure, wild_type_from_structure, write_structure
from tests.made_up_calibration import calibrate_tiny_model, ddg_entry
from tests.made_up_folding import made_up_package
from tests.peptides import chain
from tests.places import GLOBIN

WILD_TYPE = GLOBIN / "wild_type.cif"
VARIANTS = ("L38D", "L38V", "E10K;K144E", "K40del", "W38A")

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module", autouse=True)
def _package(tmp_path_factory: pytest.TempPathFactory):
    with made_up_package(tmp_path_factory.mktemp("package")):
        yield


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("calibrated") / "tiny"
    return calibrate_tiny_model(tiny_model, target, ddg=ddg_entry(room.WEIGHTS_SHA256))


def score(model: Path, out: Path, wild_type: Path = WILD_TYPE, **more: object) -> mutscan.Run:
    return mutscan.score(
        str(wild_type), VARIANTS, out=out, model=str(model), builder="none", offline=True, **more
    )


def cells(run: mutscan.Run, column: str) -> dict[str, str]:
    with (run.directory / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return {row["input"]: row[column] for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    return score(model, tmp_path_factory.mktemp("run") / "out")


def test_single_substitutions_get_a_ddg(run: mutscan.Run) -> None:
    wild_type = wild_type_from_structure(read_structure(WILD_TYPE))
    folded = room.folded_log_probabilities(wild_type, room.load_inverse_folding())
    index, mutant = np.array([37, 37]), np.array([STANDARD.index(letter) for letter in "DV"])
    odds = inverse_folding_evidence(folded, wild_type.sequence, index, mutant)["folding_log_odds"]
    found = cells(run, "ddg_predicted")
    assert found["L38D"] == f"{1 - odds[0] / 2:.2f}"
    assert found["L38V"] == f"{1 - odds[1] / 2:.2f}"
    assert found["L38D"] != found["L38V"]
    assert found["E10K;K144E"] == found["K40del"] == found["W38A"] == ""
    assert not any(NO_BACKBONE in note for note in cells(run, "notes").values())


def test_run_json_says_which_weights(run: mutscan.Run) -> None:
    said = json.loads((run.directory / "run.json").read_text())
    assert said["inverse_folding"]["weights_sha256"] == room.WEIGHTS_SHA256
    assert said["inverse_folding"]["version"] == "9.9"
    assert said["arguments"]["inverse_folding"] == "auto"


def test_scan_says_the_same(run: mutscan.Run, model: Path, tmp_path: Path) -> None:
    scan = mutscan.scan(str(WILD_TYPE), positions="38", out=tmp_path / "o", model=str(model), offline=True)
    ours, theirs = cells(run, "ddg_predicted"), cells(scan, "ddg_predicted")
    assert [ours[name] for name in ("L38D", "L38V")] == [theirs[name] for name in ("L38D", "L38V")]
    assert all(theirs.values())


def test_c_alpha_atoms_alone_give_no_ddg_and_a_note(model: Path, tmp_path: Path) -> None:
    whole = read_structure(WILD_TYPE)
    alone = chain(whole.sequence, [{"CA": xyz} for xyz in whole.ca], first=int(whole.res_id[0]))
    write_structure(alone, tmp_path / "alone.cif")
    found = score(model, tmp_path / "out", tmp_path / "alone.cif")
    assert set(cells(found, "ddg_predicted").values()) == {""}
    notes = cells(found, "notes")
    assert NO_BACKBONE in notes["L38D"]
    assert NO_BACKBONE not in notes["E10K;K144E"]
    assert cells(found, "p_deleterious")["L38D"]


def test_other_weights_than_those_of_the_calibration_give_none(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = calibrate_tiny_model(tiny_model, tmp_path / "other", ddg=ddg_entry("0" * 64))
    assert set(cells(score(other, tmp_path / "out"), "ddg_predicted").values()) == {""}
    assert "calibrated with other weights of inverse folding" in caplog.text


@pytest.mark.parametrize("how", ["off", "not installed"])
def test_without_it_everything_else_is_the_same(
    how: str, run: mutscan.Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "not installed":
        monkeypatch.setattr(room, "PACKAGE", "no-such-package-of-mutscan")
    plain = score(model, tmp_path / "out", inverse_folding="off" if how == "off" else "auto")
    assert json.loads((plain.directory / "run.json").read_text())["inverse_folding"] is None
    assert set(cells(plain, "ddg_predicted").values()) == {""}
    for column in ("status", "p_deleterious", "flag", "notes", "evidence", "message"):
        assert cells(plain, column) == cells(run, column), column


def test_a_run_folder_holds_one_kind_of_evidence(run: mutscan.Run, model: Path) -> None:
    with pytest.raises(RunFolderError, match="inverse folding"):
        score(model, run.directory, inverse_folding="off")


def test_another_word_is_refused() -> None:
    with pytest.raises(UsageError, match="--inverse-folding on: expected auto or off"):
        Options(inverse_folding="on")
    with pytest.raises(UsageError, match="--inverse-folding on"):
        pipeline.check(str(WILD_TYPE), ["L38D"], inverse_folding="on")


def test_check_says_whether_it_would_be_used() -> None:
    assert pipeline.check(str(WILD_TYPE), ["L38D"], builder="none").inverse_folding
    assert not pipeline.check(str(WILD_TYPE), ["L38D"], builder="none", inverse_folding="off").inverse_folding
