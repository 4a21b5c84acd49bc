"""Evidence of substitutions, the additive model that weighs it, and calibration.json."""

from __future__ import annotations

import json

import numpy as np
import pytest
from Bio.Align import substitution_matrices

from mutscan.errors import CheckpointError
from mutscan.evidence import (
    EVIDENCE,
    STRUCTURE_EVIDENCE,
    ProteinView,
    load_calibration,
    sequence_evidence,
    structure_evidence,
)
from mutscan.evidence.residue_properties import BLOSUM62, CODE, GRANTHAM
from mutscan.residues import STANDARD
from mutscan.train.additive_fit import fit_additive, folds_of

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQ"


def code(letters: str) -> np.ndarray:
    return CODE[np.frombuffer(letters.encode(), dtype=np.uint8)]


def test_tables_are_the_published_ones():
    matrix = substitution_matrices.load("BLOSUM62")
    expected = [[matrix[a][b] for b in STANDARD] for a in STANDARD]
    np.testing.assert_array_equal(BLOSUM62, expected)
    of = dict(zip(STANDARD, range(20), strict=True))
    for pair, distance in (("LI", 5), ("CW", 215), ("DE", 45), ("RK", 26), ("ST", 58), ("GA", 60)):
        assert GRANTHAM[of[pair[0]], of[pair[1]]] == pytest.approx(distance, abs=1.5)


def test_sequence_evidence_is_named_complete_and_right():
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.ones(20), len(SEQUENCE)))
    index = np.array([0, 12, 55])
    found = sequence_evidence(ProteinView(SEQUENCE, log_p), index, code("VPL"))
    assert list(found) == list(EVIDENCE)
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in found.values())
    assert found["blosum62"].tolist() == [1, -1, -2]  # M1V, S13P, Q56L
    assert found["end_distance"].tolist() == [0, 12, 0]
    np.testing.assert_allclose(found["log_odds"][1], log_p[12, code("P")[0]] - log_p[12, code("S")[0]])
    near = SEQUENCE[5:12] + SEQUENCE[13:20]
    assert found["charged_near"][1] == pytest.approx(sum(letter in "DEKR" for letter in near) / len(near))
    blind = sequence_evidence(ProteinView(SEQUENCE), index, code("VPL"))
    assert np.isnan(blind["log_odds"]).all()
    assert np.isfinite(blind["blosum62"]).all()


def test_an_unknown_residue_is_not_known_rather_than_wrong():
    found = sequence_evidence(ProteinView("MKXLA"), np.array([2]), code("A"))
    assert np.isnan(found["blosum62"][0])
    assert np.isnan(found["wild_type_residue"][0])


def test_structure_evidence_knows_a_helix_and_its_core():
    turn = np.arange(30) * np.deg2rad(100.0)
    ca = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(30)], axis=1)
    ca[20] = np.nan
    index = np.array([0, 12, 20])
    found = structure_evidence(ca, None, index, code("LLL"), code("DDD"))
    assert set(found) == set(STRUCTURE_EVIDENCE)
    assert found["helix"][1] == 1
    assert found["strand"][1] == 0
    assert found["neighbours"][1] > found["neighbours"][0]
    assert found["buried_hydrophobicity_loss"][1] > found["buried_hydrophobicity_loss"][0] >= 0
    assert all(np.isnan(values[2]) for values in found.values())
    assert np.isnan(found["plddt"]).all()


def test_folds_keep_groups_together_and_are_even():
    group = np.random.default_rng(0).integers(40, size=1000)
    fold = folds_of(group, 5, seed=3)
    assert all(len(np.unique(fold[group == one])) == 1 for one in range(40))
    assert np.bincount(fold).min() > 150
    np.testing.assert_array_equal(fold, folds_of(group, 5, seed=3))


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(1)
    n = 3000
    evidence = {"blosum62": rng.integers(-4, 5, n).astype(float), "entropy": rng.normal(size=n)}
    evidence["entropy"][::7] = np.nan
    views = {"site": rng.normal(size=(n, 8)).astype(np.float32)}
    logit = -0.5 * evidence["blosum62"] + views["site"][:, 0] + 0.5 * np.isnan(evidence["entropy"])
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    model = fit_additive(evidence, views, label, np.ones(n), rng.integers(60, size=n))
    return evidence, views, label, model


def test_the_fit_finds_what_is_there_and_is_calibrated(fitted):
    evidence, views, label, found = fitted
    complete = found.model.complete(evidence, {"site": views["site"].astype(float)})
    curve = found.model.curves["blosum62"]
    assert curve.logits[0] - curve.logits[-1] == pytest.approx(4.0, abs=0.8)
    assert np.abs(found.model.curves["entropy"].logits).max() < 0.25
    assert found.p.mean() == pytest.approx(label.mean(), abs=0.01)
    order = np.argsort(found.p)
    for part in np.array_split(order, 5):
        assert found.p[part].mean() == pytest.approx(label[part].mean(), abs=0.06)
    logit = found.model.intercept + found.model.contributions(complete).sum(axis=1)
    np.testing.assert_allclose(logit, found.model.logit(complete))


def test_calibration_json_gives_the_same_numbers_and_explains_them(fitted, tmp_path):
    evidence, views, _, found = fitted
    line = {"p": 0.8, "specificity": 0.92, "sensitivity": 0.5, "precision": 0.9, "npv": 0.5}
    document = {
        "format": 1,
        "model": {"encoder_revision": "sha256:0"},
        "tiers": {
            "sequence": {
                "n": 3000,
                "n_groups": 60,
                "thresholds": {"deleterious": line, "tolerated": {**line, "p": 0.2}},
                "model": found.model.to_dict(),
            }
        },
        "proteins": {"P1": ["abc", 1, "fit"]},
    }
    assert load_calibration(tmp_path) is None
    (tmp_path / "calibration.json").write_text(json.dumps(document), encoding="utf-8")
    calibration = load_calibration(tmp_path)
    assert calibration is not None
    given = {"site": views["site"].astype(float)}
    tier = calibration.best_tier(structure=True)
    assert tier.name == "sequence"
    assessed = calibration.assess(tier, evidence, given)
    expected = found.model.logit(found.model.complete(evidence, given))
    logit = np.log(assessed.p_deleterious / (1 - assessed.p_deleterious))
    np.testing.assert_allclose(logit, expected, atol=1e-3)
    parts = assessed.explain(5)
    assert tier.model.intercept + sum(part.logit for part in parts) == pytest.approx(logit[5])
    assert abs(parts[0].logit) >= abs(parts[-1].logit)
    assert [tier.flag(p) for p in (0.9, 0.5, 0.1, float("nan"))] == [
        "deleterious",
        "uncertain",
        "tolerated",
        "",
    ]
    assert "specificity 0.92" in tier.rule(0.9)
    with pytest.raises(CheckpointError, match="embeddings of 8 numbers"):
        calibration.assess(tier, evidence, {"site": np.zeros((3000, 9))})
    document["format"] = 2
    (tmp_path / "calibration.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CheckpointError, match="update mutscan"):
        load_calibration(tmp_path)
