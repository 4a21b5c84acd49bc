"""The probability and the Siamese scores together: what the latter add.

On labels by logistic regressions fitted to other groups of proteins; on scans and stabilities by a mean of
ranks, which needs no fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mutscan.train.calibrate.additive import folds_of
from mutscan.train.evaluate.scores import SIAMESE, Score, Scored
from mutscan.train.statistics.bootstrap import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def with_siamese(scored: Scored, rows: NDArray[np.int64], seed: int) -> list[Score]:
    """Logistic regressions, cross-fitted over groups, with the Siamese scores and without."""
    y, group = scored.table.value[rows], scored.group[rows]
    n_folds = min(5, len(np.unique(group)))
    if not scored.calibrated or n_folds < 2:
        return []
    fold = folds_of(group, n_folds, seed)
    p = np.clip(np.nan_to_num(scored.evidence.p[rows], nan=0.5), 1e-6, 1 - 1e-6)
    logit = np.log(p / (1 - p))
    z = [
        np.clip(np.nan_to_num(-scored.siamese[name][rows]), -6, 6)
        for name in ("lddt_z", "tm_z")
    ]  # fmt: skip
    site = np.log(np.maximum(1.0 - scored.siamese["lddt_site"][rows], 1e-6))
    found = []
    for key, label, columns in (
        ("p_and_siamese", "p_deleterious and Siamese scores, cross-fitted", [logit, *z, site]),
        ("p_cross_fitted", "p_deleterious, cross-fitted alike", [logit]),
    ):
        fitted = np.full(len(scored.table), np.nan)
        x = np.stack(columns, axis=1)
        for one in range(n_folds):
            if len(np.unique(y[fold != one])) < 2:
                return []
            fitted[rows[fold == one]] = _logistic(x[fold != one], y[fold != one])(x[fold == one])
        found.append(Score(key, label, "model", fitted, (SIAMESE,)))
    return found


def _logistic(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Logistic regression with a little ridge, by Newton's method; returns the log-odds it gives."""
    mean, scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)

    def design(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([np.ones(len(values)), (values - mean) / scale])

    a = design(x)
    weights = np.zeros(a.shape[1])
    ridge = np.diag([0.0, *np.ones(a.shape[1] - 1)])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-a @ weights))
        curvature = (a * (p * (1 - p))[:, None]).T @ a + ridge + 1e-9 * np.eye(len(weights))
        step = np.linalg.solve(curvature, a.T @ (y - p) - ridge @ weights)
        weights += np.clip(step, -5.0, 5.0)
        if np.abs(step).max() < 1e-9:
            break
    return lambda values: design(values) @ weights


def mean_rank(scored: Scored, rows: NDArray[np.int64]) -> list[Score]:
    """Mean of the ranks, inside each protein, by probability and by the lDDT's z: nothing is fitted."""
    if not scored.calibrated:
        return []
    values = np.full(len(scored.table), np.nan)
    for part in rows_of_each(scored.table.protein[rows]):
        at = rows[part]
        ranks = [
            Ranks(column).of(np.ones(len(at))) / len(at)
            for column in (scored.evidence.p[at], np.nan_to_num(-scored.siamese["lddt_z"][at]))
        ]
        values[at] = ranks[0] + ranks[1]
    return [Score("p_and_siamese", "mean rank of p_deleterious and lDDT z", "model", values, (SIAMESE,))]


def rows_of_each(protein: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows of each protein, as `protein` numbers them."""
    order = np.argsort(protein, kind="stable")
    _, starts = np.unique(protein[order], return_index=True)
    return np.split(order, starts[1:]) if len(order) else []
