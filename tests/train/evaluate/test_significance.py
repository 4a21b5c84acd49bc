"""Comparisons of two predictors: against scipy, and by what each test must and must not see."""

import numpy as np
import pytest
from scipy import stats

from mutscan.train.evaluate.significance import MARGINS, Errors, compare_errors, equivalence, welch, wilcoxon


def made_up(n: int = 400, n_groups: int = 40, shift: float = 0.0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    shared = rng.normal(scale=0.1, size=n)  # both err alike: paired tests see through it
    first = truth + shared
    second = truth + shared * (1 + shift) + rng.normal(scale=0.004, size=n)
    return Errors.of_pairs(first, truth), Errors.of_pairs(second, truth), np.arange(n) % n_groups


def test_welch_is_scipys_and_the_formula() -> None:
    first, second, _ = made_up(shift=0.3)
    x, y = first.absolute, second.absolute
    result = welch(x, y)
    assert result is not None
    v1, v2 = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    assert result["t"] == pytest.approx((x.mean() - y.mean()) / np.sqrt(v1 + v2))
    assert result["df"] == pytest.approx((v1 + v2) ** 2 / (v1**2 / (len(x) - 1) + v2**2 / (len(y) - 1)))
    assert result["p"] == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)


def test_paired_tests_see_what_welch_does_not() -> None:
    first, second, group = made_up(shift=0.08)
    result = compare_errors(first, second, group, margin=MARGINS["tm"])
    assert result["welch_abs_error"]["p"] > 0.05, "the preprint's test does not tell them apart"
    assert result["wilcoxon"]["p"] < 1e-4
    assert result["wilcoxon_groups"]["p"] < 1e-4
    low, high = result["mean_difference_ci"]
    assert low < result["mean_difference"] < high < 0
    assert result["verdict"] == "slightly better", "surely better, but by less than a hundredth"
    assert result["equivalence"]["equivalent"] is True


def test_a_large_difference_is_worse_and_not_equivalent() -> None:
    first, second, group = made_up(shift=1.0)
    result = compare_errors(second, first, group, margin=0.01)
    assert result["verdict"] == "worse"
    assert result["equivalence"]["equivalent"] is False
    assert result["equivalence"]["p"] > 0.9
    assert compare_errors(first, second, group, margin=0.01)["verdict"] == "better"


def test_no_difference_is_equivalent_only_with_enough_pairs() -> None:
    first, second, group = made_up(n=4000, n_groups=400)
    assert compare_errors(first, second, group, margin=0.01)["verdict"] in ("equivalent", "slightly better")
    rng = np.random.default_rng(0)
    truth = rng.random(8)
    few = [Errors.of_pairs(truth + rng.normal(scale=0.1, size=8), truth) for _ in range(2)]
    result = compare_errors(*few, np.arange(8), margin=0.01)
    assert result["verdict"] == "undecided", "a test that sees nothing is no proof of equivalence"


def test_differences_and_intervals_are_clustered() -> None:
    first, second, group = made_up(n=300, n_groups=30, shift=0.2)
    result = compare_errors(first, second, group, margin=0.01)
    difference = first.absolute - second.absolute
    assert result["mean_difference"] == pytest.approx(difference.mean())
    copies = np.repeat(np.arange(300), 5)
    many = compare_errors(
        Errors(first.absolute[copies], first.signed[copies]),
        Errors(second.absolute[copies], second.signed[copies]),
        group[copies],
        margin=0.01,
    )
    assert many["mean_difference_ci"] == pytest.approx(result["mean_difference_ci"])
    assert many["equivalence"]["p"] == pytest.approx(result["equivalence"]["p"])
    assert many["wilcoxon_groups"] == pytest.approx(result["wilcoxon_groups"])


def test_tost_with_every_pair_its_own_cluster_is_the_plain_one() -> None:
    rng = np.random.default_rng(2)
    difference = rng.normal(0.002, 0.05, 200)
    result = equivalence(difference.mean(), difference - difference.mean(), 200, 0.01)
    above = stats.ttest_1samp(difference, -0.01, alternative="greater").pvalue
    below = stats.ttest_1samp(difference, 0.01, alternative="less").pvalue
    assert result["p"] == pytest.approx(max(above, below))
    assert result["margin"] == 0.01


def test_wilcoxon_leaves_out_zeros() -> None:
    difference = np.array([0.0, 0.1, -0.2, 0.3, 0.4, 0.0, 0.25])
    result = wilcoxon(difference)
    assert result is not None
    assert result["p"] == pytest.approx(stats.wilcoxon(difference[difference != 0]).pvalue)


def test_identical_predictors() -> None:
    first, _, group = made_up()
    result = compare_errors(first, first, group, margin=0.01)
    assert result["mean_difference"] == 0.0
    assert result["wilcoxon"] is None
    assert result["verdict"] == "equivalent"


def test_tests_that_do_not_exist_are_none() -> None:
    one = Errors(np.array([0.1]), np.array([0.1]))
    result = compare_errors(one, one, np.array([0]), margin=0.01)
    assert result["welch_error"] is None
    assert result["wilcoxon"] is None
    assert result["mean_difference_ci"] is None
    assert result["equivalence"]["equivalent"] is None
    assert result["verdict"] == "undecided"
    constant = np.full(5, 0.2)
    assert welch(constant, constant) is None


def test_errors_of_residues_are_means_over_pairs() -> None:
    truth = np.array([0.9, 0.8, 0.7, 1.0])
    predicted = np.array([1.0, 0.7, 0.9, 0.9])
    found = Errors.of_residues(predicted, truth, np.array([1, 1, 1, 4]))
    assert found.absolute == pytest.approx([0.4 / 3, 0.1])
    assert found.signed == pytest.approx([0.2 / 3, -0.1])
