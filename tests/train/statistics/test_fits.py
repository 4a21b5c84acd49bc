"""Fits that calibration and evaluation share: the logistic regression, knots, hats, penalties, quantiles."""

import numpy as np
import pytest
from scipy.optimize import minimize

from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, mean_of_groups
from mutscan.train.statistics.classifier import portion, rows_of_each, weighted_quantile
from mutscan.train.statistics.fits import Blocks, curve_penalty, hats, knots_of, logistic, platt


def test_the_logistic_regression_is_at_the_optimum_of_its_penalised_likelihood() -> None:
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=(300, 4)), rng.normal(size=300)
    target, weight = rng.random(300), rng.random(300)
    penalty = curve_penalty(3, 2.0, 5.0)

    def loss(beta: np.ndarray) -> float:
        z = offset + x @ beta
        return float(weight @ (np.logaddexp(0.0, z) - target * z) + beta @ penalty @ beta / 2)

    expected = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9}).x
    np.testing.assert_allclose(logistic(x, target, weight, penalty, offset=offset), expected, atol=1e-5)


def test_platt_scaling_finds_the_slope_and_shift_it_was_given() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=200_000)
    label = (rng.random(200_000) < 1 / (1 + np.exp(-(1.7 * score - 0.6)))).astype(float)
    assert platt(score, label, np.ones(200_000)) == pytest.approx((1.7, -0.6), abs=0.03)


def test_platt_scaling_is_calibrated_for_a_score_that_hardly_varies() -> None:
    rng = np.random.default_rng(4)
    score, label = 1e-3 * rng.normal(size=2000), (rng.random(2000) < 0.3).astype(float)
    slope, shift = platt(score, label, np.ones(2000))
    assert (1 / (1 + np.exp(-(slope * score + shift)))).mean() == pytest.approx(label.mean())


def test_few_values_are_knots_themselves_and_hats_interpolate_between_them() -> None:
    assert knots_of(np.array([2.0, 0.0, np.nan, 2.0]), 4).tolist() == [0.0, 2.0]
    assert knots_of(np.array([np.nan]), 4).tolist() == [0.0]
    many = knots_of(np.arange(1000.0), 5)
    assert len(many) == 5
    assert many[0] == pytest.approx(0.02 * 999)
    values = np.array([0.5, -3.0, np.nan])
    basis = hats(values, np.array([0.0, 2.0]), np.float64)
    assert basis.tolist() == [[0.75, 0.25], [1.0, 0.0], [0.0, 0.0]]


def test_blocks_stand_one_after_the_other() -> None:
    blocks = Blocks()
    blocks.add("a", np.full((2, 2), 3.0))
    blocks.add("b", np.eye(1))
    assert blocks.of == {"a": slice(0, 2), "b": slice(2, 3)}
    expected = np.zeros((4, 4))
    expected[:2, :2], expected[2, 2], expected[3, 3] = 3.0, 1.0, 7.0
    np.testing.assert_array_equal(blocks.penalty(np.array([7.0])), expected)


def test_a_measure_is_the_statistic_and_its_interval_under_weights() -> None:
    rng = np.random.default_rng(2)
    positive = rng.random(400) < 0.5
    score, weight = rng.normal(size=400) + positive, rng.random(400)
    bootstrap = ClusterBootstrap(np.arange(400) // 4, n_resamples=200)
    found = bootstrap.measure("auroc", Auroc(score, positive), weight=weight)
    assert found["auroc"] == Auroc(score, positive)(weight)
    low, high = found["auroc_ci"]  # type: ignore[misc]
    assert low < found["auroc"] < high  # type: ignore[operator]
    some = np.flatnonzero(positive)
    part = bootstrap.measure("share", portion(score[some] > 1), rows=some)
    assert part["share"] == pytest.approx((score[positive] > 1).mean())
    assert mean_of_groups("m", [np.nan], [1]) == {"m": None, "m_ci": None}
    assert mean_of_groups("m", [1.0, np.nan, 3.0], [1, 2, 3])["m"] == 2.0


def test_quantiles_by_weight_and_rows_by_protein() -> None:
    values, weight = np.array([3.0, 1.0, 2.0]), np.array([1.0, 8.0, 1.0])
    assert [weighted_quantile(values, weight, q) for q in (0.5, 0.81, 1.0)] == [1.0, 2.0, 3.0]
    rows = rows_of_each(np.array([5, 2, 5]))
    assert {protein: part.tolist() for protein, part in rows.items()} == {2: [1], 5: [0, 2]}
    assert rows_of_each(np.zeros(0, dtype=np.int64)) == {}
