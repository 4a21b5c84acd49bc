"""The model of ddG that a calibration carries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mutscan.errors import CheckpointError
from mutscan.evidence import ProteinView, load_calibration
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.evidence.ddg import read_ddg
from mutscan.residues import STANDARD
from tests.made_up_calibration import calibrate_tiny_model, ddg_entry
from tests.peptides import helix

SEQUENCE = "MKXAYIAKQRQ"


@pytest.fixture
def protein() -> ProteinView:
    logs = np.log(np.random.default_rng(0).dirichlet(np.ones(20), len(SEQUENCE)))
    logs[5] = np.nan  # no backbone
    return ProteinView(SEQUENCE, ca=helix(SEQUENCE).ca, folded=logs)


def test_it_sums_what_the_evidence_adds(protein):
    model = read_ddg({"ddg": ddg_entry("f" * 64)}, Path("calibration.json"))
    assert model is not None
    assert model.weights == "f" * 64
    index, mutant = np.array([3, 5, 2]), np.array([0, 1, 2])
    odds = protein.folded[3, 0] - protein.folded[3, STANDARD.index("A")]
    found = model.predict(protein, index, mutant)
    assert found[0] == pytest.approx(1 - odds / 2, abs=1e-4)
    assert np.isnan(found[1:]).all()  # no backbone; none of the 20


def test_a_calibration_may_have_none(tiny_model, tmp_path):
    assert read_ddg({}, Path("calibration.json")) is None
    assert read_ddg({"ddg": None}, Path("calibration.json")) is None
    without = load_calibration(calibrate_tiny_model(tiny_model, tmp_path / "without"))
    assert without is not None
    assert without.ddg is None


def test_a_damaged_one_is_refused(tiny_model, tmp_path):
    folder = calibrate_tiny_model(tiny_model, tmp_path / "damaged", ddg=ddg_entry("f" * 64))
    loaded = load_calibration(folder)
    assert loaded is not None
    assert loaded.ddg is not None
    path = folder / CALIBRATION_FILE
    document = json.loads(path.read_text())
    del document["ddg"]["model"]["intercept"]
    path.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"ddg is no model of mutscan \(KeyError: 'intercept'\)"):
        load_calibration(folder)
