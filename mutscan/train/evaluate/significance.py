"""Compare two predictors on the same pairs: the preprint's test, paired tests and an equivalence test.

The preprint compares two methods by Welch's t-test, as if their errors came
from different pairs, and reads p > 0.05 as "no worse". Both methods are
evaluated on the same pairs, so paired tests detect far smaller differences.
Pairs of one family are related, so intervals resample families. "No worse"
is a claim of its own, which needs an equivalence test with a margin that was
fixed in advance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

from mutscan.train.statistics.bootstrap import ClusterBootstrap, with_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

MARGINS: Final = {"tm": 0.01, "lddt": 0.005}
"""Differences of mean absolute errors that do not matter, fixed before any model was compared."""

MUTANT_MARGINS: Final = {"tm": 0.001, "lddt": 0.0005}
"""The same for mutants, whose structures differ less."""

_LEVEL: Final = 0.05


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors of one predictor, a row for each pair.

    Parameters
    ----------
    absolute, signed : float array, shape (n,)
        |predicted - true| and predicted - true; for lDDT their means over the residues of the pair,
        because residues of one pair are not independent.
    """

    absolute: NDArray[np.float64]
    signed: NDArray[np.float64]

    @classmethod
    def of_pairs(cls, predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> Errors:
        """Errors of a score with one value for each pair."""
        return cls(np.abs(predicted - truth), predicted - truth)

    @classmethod
    def of_residues(
        cls, predicted: NDArray[np.float64], truth: NDArray[np.float64], pair_of: NDArray[np.int64]
    ) -> Errors:
        """Errors of m residues, averaged over each pair that has residues; pairs in ascending order."""
        counts = np.bincount(pair_of)
        some = counts > 0
        error = predicted - truth
        absolute, signed = (np.bincount(pair_of, e)[some] / counts[some] for e in (np.abs(error), error))
        return cls(absolute, signed)


def compare_errors(
    model: Errors, other: Errors, group: NDArray[np.int64], *, margin: float, seed: int = 0
) -> dict[str, Any]:
    """Compare the errors of two predictors on the same n pairs.

    Parameters
    ----------
    model, other : Errors
    group : int array, shape (n,)
        Cluster of each pair.
    margin : float
        Margin of the equivalence test.
    seed : int
        Random seed of the bootstrap.

    Returns
    -------
    dict
        ``mean_difference`` of the absolute errors, model - other, so that negative favours the model, with
        a 95 % interval over clusters; ``welch_abs_error`` and ``welch_error`` (``t df p``,
        two-sided); ``wilcoxon`` over pairs and ``wilcoxon_groups`` over the clusters' mean differences
        (``statistic p``); ``equivalence`` (``margin p interval_90 equivalent``); ``verdict``: better or
        worse (the interval excludes 0; slightly, where the margin holds too), equivalent (the margin
        holds) or undecided. None where a test is not defined.
    """
    difference = model.absolute - other.absolute
    n = len(difference)
    bootstrap = ClusterBootstrap(group, seed=seed)
    sums = bootstrap.sums(np.arange(n), np.stack([np.ones(n), difference]))
    mean = float(sums.everything[1] / sums.everything[0])
    drawn = sums.resampled[1] / sums.resampled[0]
    result: dict[str, Any] = {"n": n, "n_groups": bootstrap.n_groups}
    result |= with_interval("mean_difference", mean, drawn)
    counts = np.bincount(bootstrap.place)
    of_groups = np.bincount(bootstrap.place, difference)
    result["welch_abs_error"] = welch(model.absolute, other.absolute)
    result["welch_error"] = welch(model.signed, other.signed)
    result["wilcoxon"] = wilcoxon(difference)
    result["wilcoxon_groups"] = wilcoxon(of_groups / counts)
    result["equivalence"] = equivalence(mean, of_groups - mean * counts, n, margin) | {
        "interval_90": with_interval("mean", mean, drawn, level=0.9)["mean_ci"]
    }
    result["verdict"] = _verdict(result)
    return result


def _verdict(result: dict[str, Any]) -> str:
    interval = result["mean_difference_ci"]
    alike = result["equivalence"]["equivalent"]
    if interval is None or interval[0] <= 0 <= interval[1]:
        return "equivalent" if alike else "undecided"
    return ("slightly " if alike else "") + ("better" if interval[1] < 0 else "worse")


def welch(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[str, float] | None:
    """Welch's two-sided t-test, which treats the two samples as independent, as in the preprint."""
    if len(first) < 2 or not (np.ptp(first) > 0 or np.ptp(second) > 0):
        return None
    parts = [(float(x.mean()), float(x.std(ddof=1)), len(x)) for x in (first, second)]
    test = stats.ttest_ind_from_stats(*parts[0], *parts[1], equal_var=False)
    v_1, v_2 = (spread**2 / n for _, spread, n in parts)
    df = (v_1 + v_2) ** 2 / (v_1**2 / (len(first) - 1) + v_2**2 / (len(second) - 1))
    return {"t": float(test.statistic), "df": df, "p": float(test.pvalue)}


def wilcoxon(difference: NDArray[np.float64]) -> dict[str, float] | None:
    """Wilcoxon's signed-rank test of paired differences, zeros left out."""
    if np.count_nonzero(difference) < 2:
        return None
    test = stats.wilcoxon(difference[difference != 0])
    return {"statistic": float(test.statistic), "p": float(test.pvalue)}


def equivalence(
    mean: float, residuals: NDArray[np.float64], n: int, margin: float
) -> dict[str, float | bool | None]:
    """Two one-sided t-tests (TOST) of a mean difference against -margin and +margin, clustered.

    Parameters
    ----------
    mean : float
        Mean difference over n pairs.
    residuals : float array, shape (G,)
        Sum over each cluster of difference - mean; their squares give the clustered variance.
    n : int
    margin : float

    Returns
    -------
    dict
        ``margin``; ``p``, the larger of the two; ``equivalent``: p < 0.05.
    """
    n_groups = len(residuals)
    if n_groups < 2:
        return {"margin": margin, "p": None, "equivalent": None}
    error = float(np.sqrt(n_groups / (n_groups - 1) * (residuals**2).sum())) / n
    if error == 0.0:
        p = 0.0 if abs(mean) < margin else 1.0
    else:
        above = stats.t.sf((mean + margin) / error, n_groups - 1)
        below = stats.t.cdf((mean - margin) / error, n_groups - 1)
        p = float(max(above, below))
    return {"margin": margin, "p": p, "equivalent": p < _LEVEL}
