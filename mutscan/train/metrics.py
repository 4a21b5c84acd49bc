"""Numbers of an evaluation over pairs, with bootstrap intervals that resample clusters, not pairs.

Pairs of one family are no independent witnesses. An interval is therefore
drawn over families: whole clusters of reference chains are resampled, with
all their pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

N_BOOTSTRAP: Final = 1000
"""Resamples behind an interval."""

SIMILAR: Final = 0.7
"""lDDT is evaluated on pairs with at least this TM-score."""

_BANDS: Final = 5
_SAME_FOLD: Final = 0.5


@dataclass(frozen=True, eq=False)
class PairPredictions:
    """Labels and predictions of n evaluated pairs.

    Parameters
    ----------
    group : int array, shape (n,)
        What is resampled together: the cluster of chain 1, or chain 1 where clusters are not known.
    protein : int array, shape (n,)
        Chain 1.
    tm_score, tm_predicted, identity : float array, shape (n,)
        Label and prediction, normalised by chain 1; sequence identity over the same length.
    lddt, lddt_predicted : tuple of float arrays, length n
        Aligned residues of each similar pair that have a label; empty for the others.
    """

    group: NDArray[np.int64]
    protein: NDArray[np.int64]
    tm_score: NDArray[np.float64]
    tm_predicted: NDArray[np.float64]
    identity: NDArray[np.float64]
    lddt: tuple[NDArray[np.float64], ...]
    lddt_predicted: tuple[NDArray[np.float64], ...]


def pair_metrics(
    predictions: PairPredictions, *, tm_constant: float, lddt_constant: float, seed: int = 0
) -> dict[str, object]:
    """All metrics of the ``pairs`` section of metrics.json, each with its 95 % interval (``*_ci``).

    Parameters
    ----------
    predictions : PairPredictions
    tm_constant, lddt_constant : float
        Medians of the labels the model was trained on: the constant baselines.
    seed : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``n``, ``n_lddt_pairs``, ``n_lddt_residues``, ``n_groups``, ``tm``, ``lddt``. A number that
        does not exist (AUROC of one class, correlation of a constant, no similar pair) is None.
    """
    samples = _resamples(predictions.group, seed)
    tm_values, tm_names = _tm_statistics(predictions, tm_constant)
    lddt_values, lddt_names = _lddt_statistics(predictions, lddt_constant)
    everything = np.arange(len(predictions.group))
    return {
        "n": len(everything),
        "n_groups": len(np.unique(predictions.group)),
        "n_lddt_pairs": sum(len(part) > 0 for part in predictions.lddt),
        "n_lddt_residues": sum(len(part) for part in predictions.lddt),
        "tm": _with_intervals(tm_names, tm_values, everything, samples) | {"constant": tm_constant},
        "lddt": _with_intervals(lddt_names, lddt_values, everything, samples) | {"constant": lddt_constant},
    }


def _resamples(group: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Rows of each bootstrap sample: as many groups as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    order = np.argsort(group, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    if len(members) < 2:
        return []
    return [
        np.concatenate([members[m] for m in rng.integers(len(members), size=len(members)).tolist()])
        for _ in range(N_BOOTSTRAP)
    ]


def _with_intervals(
    names: tuple[str, ...],
    statistics: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    everything: NDArray[np.int64],
    samples: list[NDArray[np.int64]],
) -> dict[str, object]:
    values = statistics(everything)
    drawn = np.array([statistics(rows) for rows in samples]).reshape(len(samples), len(names))
    result: dict[str, object] = {}
    for column, name in enumerate(names):
        result[name] = None if np.isnan(values[column]) else float(values[column])
        defined = drawn[~np.isnan(drawn[:, column]), column]
        known = result[name] is not None and len(defined) > 0
        result[f"{name}_ci"] = [float(end) for end in np.percentile(defined, [2.5, 97.5])] if known else None
    return result


def _tm_statistics(
    predictions: PairPredictions, constant: float
) -> tuple[Callable[[NDArray[np.int64]], NDArray[np.float64]], tuple[str, ...]]:
    truth, predicted = predictions.tm_score, predictions.tm_predicted
    error = np.abs(predicted - truth)
    constant_error = np.abs(constant - truth)
    identity_error = np.abs(predictions.identity - truth)
    band = np.clip((truth * _BANDS).astype(int), 0, _BANDS - 1)

    def statistics(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        totals = np.bincount(band[rows], weights=error[rows], minlength=_BANDS)
        counts = np.bincount(band[rows], minlength=_BANDS)
        return np.array(
            [
                error[rows].mean(),
                (totals[counts > 0] / counts[counts > 0]).mean(),
                _pearson(predicted[rows], truth[rows]),
                _pearson(rankdata(predicted[rows]), rankdata(truth[rows])),
                _auroc(predicted[rows], truth[rows] >= _SAME_FOLD),
                constant_error[rows].mean(),
                identity_error[rows].mean(),
            ]
        )

    return statistics, (
        "mae",
        "macro_mae",
        "pearson",
        "spearman",
        f"auroc_{_SAME_FOLD}",
        "constant_mae",
        "identity_mae",
    )


def _lddt_statistics(
    predictions: PairPredictions, constant: float
) -> tuple[Callable[[NDArray[np.int64]], NDArray[np.float64]], tuple[str, ...]]:
    # Sums over the residues of a pair: a resample of pairs is then a sum of rows.
    sums = np.zeros((len(predictions.lddt), 8))
    for row, (truth, predicted) in enumerate(zip(predictions.lddt, predictions.lddt_predicted, strict=True)):
        sums[row] = (
            len(truth),
            np.abs(predicted - truth).sum(),
            np.abs(constant - truth).sum(),
            truth.sum(),
            predicted.sum(),
            (truth * truth).sum(),
            (predicted * predicted).sum(),
            (truth * predicted).sum(),
        )
    # All pairs of a protein are in one group and are drawn together, so that its mean never changes:
    # one row stands for the protein.
    similar = np.flatnonzero(sums[:, 0] > 0)
    _, leaders, place = np.unique(predictions.protein[similar], return_index=True, return_inverse=True)
    of_protein = np.full(len(sums), np.nan)
    of_protein[similar[leaders]] = np.bincount(place, weights=sums[similar, 1]) / np.bincount(
        place, weights=sums[similar, 0]
    )

    def statistics(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        rows = rows[sums[rows, 0] > 0]
        if not len(rows):
            return np.full(4, np.nan)
        n, error, constant_error, x, y, xx, yy, xy = sums[rows].sum(axis=0)
        spread = (n * xx - x * x) * (n * yy - y * y)
        return np.array(
            [
                error / n,
                float(np.nanmean(of_protein[rows])),
                (n * xy - x * y) / np.sqrt(spread) if spread > 1e-9 * n**4 else np.nan,
                constant_error / n,
            ]
        )

    return statistics, ("mae", "mae_per_protein", "pearson", "constant_mae")


def _pearson(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _auroc(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive has the higher score, ties counted half."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = rankdata(score)[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))
