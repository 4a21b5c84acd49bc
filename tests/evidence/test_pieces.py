"""Evidence of substitutions, the additive model that weighs it, and calibration.json."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from Bio.Align import substitution_matrices
from scipy.special import expit, logit
from scipy.stats import rankdata, spearmanr

from mutscan.errors import CheckpointError
from mutscan.evidence import (
    CONSERVATION_EVIDENCE,
    EVIDENCE,
    STRUCTURE_EVIDENCE,
    AlignedProfile,
    ProteinView,
    load_calibration,
    protein_evidence,
    sequence_evidence,
    structure_evidence,
    warnings_for,
)
from mutscan.evidence.calibration import TIERS
from mutscan.evidence.sequence import encoder_views, sequence_hash
from mutscan.residue_properties import BLOSUM62, CODE, GRANTHAM
from mutscan.residues import STANDARD
from mutscan.train.statistics.fits import folds_of
from tests.made_up_calibration import fit_additive, one_protein

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
    assert list(found) == [*EVIDENCE, *CONSERVATION_EVIDENCE]
    assert all(values.shape == (3,) for values in found.values())
    assert all(np.isfinite(found[name]).all() for name in EVIDENCE)
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
    found = structure_evidence(ProteinView("L" * 30, ca=ca), index, code("DDD"))
    assert set(found) == set(STRUCTURE_EVIDENCE)
    assert found["helix"][1] == 1
    assert found["strand"][1] == 0
    assert found["neighbours"][1] > found["neighbours"][0]
    assert found["flexibility"][1] < 0 < found["flexibility"][0]
    assert found["handedness"][1] > 0
    assert all(np.isnan(values[2]) for values in found.values())
    assert np.isnan(found["plddt"]).all()


def test_parts_without_contact_are_each_a_network():
    rng = np.random.default_rng(5)
    part = _globule(60)
    ca = np.concatenate([part, part + 500.0])
    view = ProteinView("".join(rng.choice(list(STANDARD), 120)), ca=ca)
    found = structure_evidence(view, np.arange(120), np.zeros(120, np.int64))["flexibility"]
    np.testing.assert_allclose(found[:60], found[60:], atol=1e-6)
    assert np.isfinite(found).all()


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
    model = fit_additive(
        evidence, views, label, np.ones(n), rng.integers(60, size=n), **one_protein(evidence, views)
    )
    return evidence, views, label, model


def test_the_fit_finds_what_is_there_and_is_calibrated(fitted):
    evidence, views, label, found = fitted
    curve = found.model.curves["blosum62"]
    assert curve.logits[0] - curve.logits[-1] == pytest.approx(4.0, abs=0.8)
    assert np.abs(found.model.curves["entropy"].logits).max() < 0.25
    assert expit(found.log_odds).mean() == pytest.approx(label.mean(), abs=0.01)
    order = np.argsort(expit(found.log_odds))
    for part in np.array_split(order, 5):
        assert expit(found.log_odds)[part].mean() == pytest.approx(label[part].mean(), abs=0.06)
    parts = found.model.pieces(evidence, {"site": views["site"].astype(float)}, np.arange(len(label)))
    total = sum(parts.values())
    assert np.corrcoef(found.model.intercept + total - total.mean(), found.log_odds)[0, 1] > 0.98
    assert abs(np.corrcoef(parts["context_site"], views["site"][:, 0])[0, 1]) > 0.95


def test_a_unit_teaches_ranks_and_not_how_harmful_anything_is():
    rng = np.random.default_rng(3)
    n = 2000
    evidence = {"entropy": rng.normal(size=n)}
    unit = np.where(np.arange(n) < 1000, -1, 7)
    logit = np.where(unit < 0, 0.0, 2.0 * evidence["entropy"] + 50.0)
    label = np.where(unit < 0, rng.random(n) < 0.5, logit / 100.0).astype(float)
    fitted = fit_additive(
        evidence, {}, label, np.ones(n), rng.integers(50, size=n), unit=unit, **one_protein(evidence, {})
    )
    curve = fitted.model.curves["entropy"]
    assert curve.logits[-1] > curve.logits[0]
    assert expit(fitted.log_odds)[unit < 0].mean() == pytest.approx(label[unit < 0].mean(), abs=0.02)


def test_two_pieces_weighed_together_find_what_neither_says_alone():
    rng = np.random.default_rng(4)
    n = 4000
    evidence = {"burial_rank": rng.random(n), "charge_change": rng.choice([-1.0, 0.0, 1.0], n)}
    logit = 6 * (evidence["burial_rank"] - 0.5) * evidence["charge_change"]
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    model = fit_additive(
        evidence, {}, label, np.ones(n), np.arange(n) // 20, **one_protein(evidence, {})
    ).model
    corners = {
        "burial_rank": np.array([0.95, 0.95, 0.05, 0.05]), "charge_change": np.array([1.0, -1.0, 1.0, -1.0])
    }  # fmt: skip
    both = model.pieces(corners, {}, np.arange(4))["burial_rank x charge_change"]
    assert both[0] > 1 > -1 > both[1]
    assert both[3] > 1 > -1 > both[2]


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    """Two tiers fitted to made-up truth: exchanges matter, and more so where it is buried."""
    rng = np.random.default_rng(2)
    sequence = "".join(rng.choice(list(STANDARD), 400))
    protein = ProteinView(sequence, embedding=rng.normal(size=(400, 8)), ca=_globule(400))
    index, mutant = np.repeat(np.arange(400), 19), np.tile(np.arange(19), 400)
    evidence = sequence_evidence(protein, index, mutant)
    views = {"site": encoder_views(protein)["site"][index]}
    burial = structure_evidence(protein, index, mutant)
    logit = -0.5 * evidence["blosum62"] + views["site"][:, 0] + 4 * burial["burial_rank"] - 2
    label = (rng.random(len(index)) < 1 / (1 + np.exp(-logit))).astype(float)
    tiers = {}
    for name, pieces in (("sequence", evidence), ("structure", evidence | burial)):
        model = fit_additive(
            pieces, views, label, np.ones(len(index)), index // 20, **one_protein(pieces, views)
        ).model
        line = {"p": 0.8, "specificity": 0.92, "sensitivity": 0.5, "precision": 0.9, "npv": 0.5}
        tiers[name] = {
            "n": len(index), "n_groups": 20, "share_deleterious": 0.5, "model": model.to_dict(),
            "thresholds": {"deleterious": line, "tolerated": {**line, "p": 0.2}},
            "scan": {"shift": -1.2, "harmful": 0.37, "n_scans": 18, "precision": 0.65, "recall": 0.5},
        }  # fmt: skip
    document = {
        "format": 2, "model": {"encoder_revision": "sha256:0"}, "data": {"longest": 450}, "tiers": tiers,
        "proteins": {"P1": [sequence_hash(sequence), 1, "fit"]},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("calibration")
    (folder / "calibration.json").write_text(json.dumps(document), encoding="utf-8")
    found = load_calibration(folder)
    assert found is not None
    return found, protein, index, mutant


def _globule(length: int) -> np.ndarray:
    """C-alphas on a grid walked in snake lines: a core, a surface, no breaks."""
    side = int(np.ceil(length ** (1 / 3)))
    path = []
    for z in range(side):
        for y in range(side) if z % 2 == 0 else range(side - 1, -1, -1):
            xs = range(side) if (y + z) % 2 == 0 else range(side - 1, -1, -1)
            path += [(x, y, z) for x in xs]
    return 3.8 * np.array(path[:length], dtype=float) + 0.1 * np.random.default_rng(0).normal(
        size=(length, 3)
    )


def test_contributions_add_up_and_are_said_in_words(calibration):
    found, protein, index, mutant = calibration
    assessed = found.assess(protein, index, mutant)
    assert set(assessed.tier_of) == {"structure"}
    row = int(np.nanargmax(assessed.p_deleterious))
    parts = assessed.explain(row)
    assert abs(parts[1].log_odds) >= abs(parts[-1].log_odds)
    said = {part.evidence: part.value for part in parts}
    assert said["exchange"].startswith(
        f"{protein.sequence[index[row]]} to {STANDARD[mutant[row]]}, an exchange that is rare in nature"
    )
    assert "more tightly packed than" in said["burial"]
    assert " side chain" in said["burial"], "packing and what is put there are one piece of evidence"
    assert all(said.values())
    deep = structure_evidence(protein, index, mutant)["burial_rank"] > 0.9
    burial = assessed.contributions[:, assessed.groups.index("burial")]
    assert burial[deep].mean() > 0.5 > 0 > burial[~deep].mean()


@pytest.mark.parametrize("prior", ["clinical", "scan"])
@pytest.mark.parametrize("tier", TIERS)
def test_baseline_and_pieces_are_the_log_odds_of_the_probability(project, tier, prior):
    shipped = load_calibration(project / "models" / "mutscan-mini")
    assert shipped is not None
    rng = np.random.default_rng(5)
    sequence = "".join(rng.choice(list(STANDARD), 60))
    counts = rng.integers(0, 9, (60, 20)).astype(float)
    n = counts.sum(axis=1)
    protein = ProteinView(
        sequence,
        np.log(rng.dirichlet(np.ones(20), 60)),
        rng.normal(size=(60, 320)),
        _globule(60),
        aligned=AlignedProfile(counts, n, n, np.zeros(60), (counts > 0) * 0.5, np.full(60, 0.5), 90, 90.0),
        folded=np.log(rng.dirichlet(np.ones(20), 60)),
    )
    index, mutant = np.arange(60), (protein.codes + 1 + np.arange(60) % 19) % 20
    only = dataclasses.replace(shipped, tiers={tier: shipped.tiers[tier]})
    assessed = only.assess(protein, index, mutant, prior=prior)
    assert set(assessed.tier_of) == {tier}
    for row, p in enumerate(assessed.p_deleterious.tolist()):
        for most in (None, 5):
            parts = assessed.explain(row, most)
            assert parts[0].evidence == "baseline"
            assert parts[0].value.endswith(f"p {expit(parts[0].log_odds):.2f}")
            assert sum(part.log_odds for part in parts) == pytest.approx(logit(p), abs=1e-9)
            assert len({part.evidence for part in parts}) == len(parts)
            assert all(part.value for part in parts)
        assert parts[-1].evidence == "other evidence"
        assert len(parts) == 7


def test_what_is_the_same_for_a_whole_protein_moves_no_verdict(calibration):
    found, protein, *_ = calibration
    index = np.repeat(np.arange(400), 20)
    mutant = np.tile(np.arange(20), 400)
    real = mutant != protein.codes[index]
    assessed = found.assess(protein, index[real], mutant[real])
    assert np.abs(assessed.contributions.mean(axis=0)).max() < 1e-9
    assert assessed.log_odds.mean() == pytest.approx(found.tiers["structure"].model.intercept)


def test_a_deep_alignment_reorders_substitutions_and_keeps_their_log_odds(calibration):
    found, protein, *_ = calibration
    tiers = {**found.tiers, "aligned": dataclasses.replace(found.tiers["sequence"], name="aligned")}
    both = dataclasses.replace(found, tiers={name: tiers[name] for name in ("sequence", "aligned")})
    rng = np.random.default_rng(4)
    counts, energies = rng.integers(0, 9, (400, 20)).astype(float), rng.normal(size=(400, 20))
    counts[7], energies[7] = 0, np.nan
    n = counts.sum(axis=1)
    gaps, closest = np.zeros(400), np.full(400, 0.5)
    shallow = AlignedProfile(counts, n, n, gaps, (counts > 0) * 0.5, closest, 90, 90.0)
    flat, deep = (
        dataclasses.replace(protein, ca=None, aligned=dataclasses.replace(shallow, couplings=couplings))
        for couplings in (None, energies)
    )
    index = np.repeat(np.arange(400), 19)
    mutant = (protein.codes[index] + 1 + np.tile(np.arange(19), 400)) % 20
    before, after = (both.assess(view, index, mutant) for view in (flat, deep))
    assert "couplings" not in before.groups
    reached = index != 7
    np.testing.assert_array_equal(after.log_odds[~reached], before.log_odds[~reached])
    old, new = before.log_odds[reached], after.log_odds[reached]
    np.testing.assert_allclose(np.sort(new), np.sort(old), atol=1e-9, err_msg="the share above a line stays")
    deep_rank = protein_evidence(deep, index, mutant)["deep_rank"][reached]
    wanted = rankdata(old) / len(old) - deep_rank
    assert spearmanr(new, wanted).statistic > 0.9999
    moved = after.contributions[reached, after.groups.index("couplings")]
    np.testing.assert_allclose(moved, new - old, atol=1e-9)
    row = int(np.argmax(np.where(reached, after.log_odds, -9)))
    total = sum(part.log_odds for part in after.explain(row))
    assert total == pytest.approx(after.log_odds[row])
    assert all(part.value for part in after.explain(row))
    few = both.assess(deep, index[40:50], mutant[40:50])
    np.testing.assert_allclose(few.log_odds, after.log_odds[40:50])


def test_a_prior_shifts_probabilities_and_no_rank_or_flag(calibration):
    found, protein, index, mutant = calibration
    clinic, scan = (found.assess(protein, index, mutant, prior=prior) for prior in ("clinical", "scan"))
    known = np.isfinite(clinic.p_deleterious)
    np.testing.assert_allclose(logit(scan.p_deleterious[known]), logit(clinic.p_deleterious[known]) - 1.2)
    np.testing.assert_array_equal(scan.flags(), clinic.flags())
    row = int(np.argmax(scan.flags() == "deleterious"))
    assert "18 deep mutational scans" in scan.rule(row)
    assert "labelled human variants" in clinic.rule(row)


def test_a_site_without_coordinates_is_judged_on_sequence(calibration):
    found, protein, index, mutant = calibration
    ca = protein.ca.copy()
    ca[7] = np.nan
    mixed = found.assess(dataclasses.replace(protein, ca=ca), index, mutant)
    alone = found.assess(dataclasses.replace(protein, ca=None), index, mutant)
    assert set(alone.tier_of) == {"sequence"}
    np.testing.assert_array_equal(mixed.tier_of == "sequence", index == 7)
    np.testing.assert_allclose(mixed.p_deleterious[index == 7], alone.p_deleterious[index == 7])
    assert "burial" not in {part.evidence for part in mixed.explain(7 * 19)}
    assert "burial" in {part.evidence for part in mixed.explain(0)}
    with pytest.raises(ValueError, match="without coordinates"):
        structure_evidence(ProteinView("MKT"), np.array([0]), np.array([1]))


def test_flags_follow_the_thresholds_and_say_their_rule(calibration):
    found, protein, index, mutant = calibration
    assessed = found.assess(protein, index, mutant)
    flags = assessed.flags()
    assert set(flags) == {"deleterious", "uncertain", "tolerated"}
    assert [assessed.flag(row) for row in range(50)] == flags[:50].tolist()
    assert (assessed.p_deleterious[flags == "deleterious"] >= 0.8).all()
    assert (assessed.p_deleterious[flags == "tolerated"] <= 0.2).all()
    assert "specificity 0.92" in assessed.rule(int(np.argmax(flags == "deleterious")))
    unknown = dataclasses.replace(protein, sequence="X" + protein.sequence[1:])
    blank = found.assess(unknown, np.array([0, 1]), np.array([3, 3]))
    assert blank.flag(0) == "" == blank.flags()[0]
    assert np.isfinite(blank.p_deleterious[1])
    rows = [3, 40, 200]
    assert assessed.p_deleterious[assessed.worst(rows)] == max(assessed.p_deleterious[rows])


def test_warnings_name_what_was_not_calibrated(calibration):
    found, protein, *_ = calibration
    fresh = dataclasses.replace(protein, sequence=protein.sequence[::-1])
    assert warnings_for(found, fresh, [200]) == []
    assert "were used to calibrate" in warnings_for(found, protein, [200])[0]
    assert "joint mutant" in warnings_for(found, fresh, [200, 210])[0]
    assert "insertions" in warnings_for(found, fresh, [200], indel=True)[0]
    assert "position 2 " in warnings_for(found, fresh, [1])[0]
    plddt = np.full(400, 90.0)
    plddt[200] = 40.0
    assert "pLDDT 40" in warnings_for(found, dataclasses.replace(fresh, plddt=plddt), [200])[0]
    ca = protein.ca.copy()
    ca[200] = np.nan
    assert "no coordinates" in warnings_for(found, dataclasses.replace(fresh, ca=ca), [200])[0]
    assert "450" in warnings_for(found, ProteinView("A" * 451), [200])[0]


def test_a_calibration_for_another_encoder_or_a_newer_mutscan_is_refused(calibration, tmp_path):
    found, protein, index, mutant = calibration
    with pytest.raises(CheckpointError, match="embeddings of 8 numbers"):
        found.assess(dataclasses.replace(protein, embedding=np.zeros((400, 9))), index, mutant)
    assert load_calibration(tmp_path) is None
    document = {**found.document, "format": 3}
    (tmp_path / "calibration.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CheckpointError, match="update mutscan"):
        load_calibration(tmp_path)
