"""Tiers share their lines: a verdict must not change only because a structure is given."""

import numpy as np
import pytest

from mutscan.evidence import AdditiveModel
from mutscan.train.calibrate.additive import AdditiveFit, Fitted
from mutscan.train.calibrate.facts import SPECIFICITY
from mutscan.train.calibrate.rows import Rows
from mutscan.train.calibrate.tiers import shared_lines
from tests.made_up_calibration import one_protein


def made_up_rows(n: int, structured: np.ndarray, rng: np.random.Generator) -> Rows:
    """Labelled variants of 40 proteins, harmful more often where there is a structure."""
    truth = (rng.random(n) < np.where(structured, 0.85, 0.4)).astype(float)
    protein = np.arange(n) % 40
    evidence = {"blosum62": np.zeros(n), "contact_number": np.where(structured, 1.0, np.nan)}
    return Rows(
        evidence=evidence, views={}, target=truth, weight=np.ones(n), truth=truth, protein=protein,
        linked=protein, kind=np.full(n, "variants"), is_test=protein == 0, background={}, cutoff={},
    )  # fmt: skip


def test_tiers_share_lines_that_are_drawn_with_the_best_tier_of_each_row() -> None:
    rng = np.random.default_rng(0)
    structured = np.arange(8000) < 2000
    rows = made_up_rows(8000, structured, rng)
    noise = rng.normal(size=(2, 8000))
    model = AdditiveModel(0.0, {}, {})
    tiers = {
        "sequence": Fitted(model, 1.5 * rows.truth + noise[0]),
        "structure": Fitted(model, 2.5 * rows.truth + noise[1] + structured),
    }
    lines = shared_lines(tiers, rows, {})
    assert lines["sequence"] == lines["structure"]
    assert lines["sequence"].shift is None
    best = np.where(structured, tiers["structure"].log_odds, tiers["sequence"].log_odds)
    harmless = (rows.truth == 0) & ~rows.is_test
    below = (best < lines["sequence"].deleterious)[harmless]
    assert below.mean() == pytest.approx(SPECIFICITY, abs=0.002)
    alone = shared_lines({"sequence": tiers["sequence"]}, rows, {})
    assert alone["sequence"].deleterious < lines["sequence"].deleterious


def test_a_choice_of_evidence_is_fitted_as_if_there_were_no_other() -> None:
    rng = np.random.default_rng(1)
    n = 3000
    evidence = {"blosum62": rng.integers(-4, 5, n).astype(float), "burial_rank": rng.random(n)}
    evidence |= {"hydrophobicity_change": rng.normal(size=n), "volume_change": rng.normal(size=n)}
    views = {"site": rng.normal(size=(n, 5)).astype(np.float32)}
    label = (rng.random(n) < 1 / (1 + np.exp(evidence["blosum62"]))).astype(float)
    some = {name: evidence[name] for name in ("blosum62", "volume_change")}
    rows = (views, label, np.ones(n), np.arange(n) // 10)
    both = AdditiveFit(evidence, *rows, **one_protein(evidence, views)).of(some)
    alone = AdditiveFit(some, *rows, **one_protein(some, views)).of(some)
    np.testing.assert_allclose(both.log_odds, alone.log_odds, atol=1e-4)
    assert [*both.model.curves] == [*alone.model.curves] == [*some]
    assert both.model.tables == alone.model.tables == {}
    assert [*both.model.maps] == [*alone.model.maps]
