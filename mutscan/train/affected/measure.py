"""Metrics of scores of residues inside pairs, beside their baselines, with intervals over groups."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, mean_of_groups, rounded
from mutscan.train.statistics.classifier import (
    average_precision,
    calibration_error,
    portion,
    rows_of_each,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mutscan.train.affected.fit import Rows

PRECISION: Final = 0.5
"""Share of the residues called affected that should really have changed."""

STEP: Final = 0.005
"""Thresholds are multiples of it, so that what is printed is what is compared."""

EDGES: Final = (0.0, 0.01, 0.02, 0.04, 0.075, 0.15, 0.25, 1.01)
"""Of probabilities, for tables of reliability."""

_RESAMPLES: Final = 200


def inside_pairs(score: NDArray[np.float64], rows: Rows, *, seed: int = 0) -> dict[str, Any]:
    """AUROC and average precision of the residues of each pair, averaged over pairs, then over groups.

    Pairs without a changed residue have neither and are left out; unknown scores count as the lowest.

    Parameters
    ----------
    score : float array, shape (n,)
        Higher for residues more likely to have changed.
    rows : Rows
    seed : int
        Random seed of the bootstrap over groups.
    """
    score = unknown_last(score)
    areas: dict[str, list[float]] = {"auroc": [], "average_precision": [], "share_changed": []}
    group = []
    for here in rows_of_each(rows.pair).values():
        changed = rows.changed[here]
        if not changed.any() or changed.all():
            continue
        every = np.ones(len(here))
        areas["auroc"].append(Auroc(score[here], changed)(every))
        areas["average_precision"].append(average_precision(score[here], changed)(every))
        areas["share_changed"].append(float(changed.mean()))
        group.append(int(rows.group[here[0]]))
    facts: dict[str, Any] = {"n_pairs": len(group), "n_groups": len({*group})}
    for name, values in areas.items():
        facts |= over_groups(name, values, group, seed=seed)
    return facts


def unknown_last(score: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put unknown scores below all others, tied; finite, because average precision subtracts neighbours.

    Examples
    --------
    >>> unknown_last(np.array([2.0, np.nan, -1.0])).tolist()
    [2.0, -2.0, -1.0]
    """
    known = score[np.isfinite(score)]
    return np.where(np.isfinite(score), score, known.min() - 1.0 if known.size else 0.0)


def over_groups(name: str, values: list[float], group: list[int], *, seed: int = 0) -> dict[str, Any]:
    """Average values over the pairs of each group, then over groups, with a 95 % interval."""
    groups = np.array(group)
    each = np.unique(groups)
    means = [float(np.mean(np.array(values)[groups == one])) for one in each]
    return {key: rounded(value) for key, value in mean_of_groups(name, means, each, seed=seed).items()}


def calibration_facts(p: NDArray[np.float64], rows: Rows, *, seed: int = 0) -> dict[str, Any]:
    """Calibration error (10 bins of equal weight), and its interval over groups."""
    target = rows.changed.astype(np.float64)
    return _measured("ece", lambda w: calibration_error(p, target, w), rows, seed)


def reliability(p: NDArray[np.float64], rows: Rows) -> list[dict[str, Any]]:
    """Mean probability and share of changed residues between the edges `EDGES`.

    The ten bins of the calibration error hold too few of the rare high probabilities to show them.
    """
    found = []
    for low, high in itertools.pairwise(EDGES):
        here = (p >= low) & (p < high)
        if here.any():
            weight = rows.weight[here]
            found.append(
                {
                    "p": [low, high],
                    "mean_p": round(float(np.average(p[here], weights=weight)), 4),
                    "changed": round(float(np.average(rows.changed[here], weights=weight)), 4),
                    "n_residues": int(here.sum()),
                    "n_groups": len(np.unique(rows.group[here])),
                }
            )
    return found


def threshold_facts(p: NDArray[np.float64], rows: Rows, threshold: float, *, seed: int = 0) -> dict[str, Any]:
    """Precision and recall of residues from a probability on, and how many pairs have one."""
    hit = p >= threshold
    pairs = np.unique(rows.pair)
    flagged = np.unique(rows.pair[hit])
    return {
        **_measured("precision", portion(rows.changed, hit), rows, seed),
        **_measured("recall", portion(hit, rows.changed), rows, seed),
        **_measured("recall_near", portion(hit, rows.changed & rows.near), rows, seed),
        "n_residues": int(hit.sum()),
        "n_groups": len(np.unique(rows.group[hit])),
        "share_of_pairs": round(len(flagged) / len(pairs), 4),
    }


def choose_threshold(p: NDArray[np.float64], rows: Rows, precision: float) -> tuple[float, bool]:
    """Choose the probability, a multiple of `STEP`, from which on a residue counts as affected.

    Parameters
    ----------
    p : float array, shape (n,)
        Cross-fitted.
    rows : Rows
    precision : float
        Wanted.

    Returns
    -------
    float
        The lowest with that precision, under the weights of the rows; where none has it, the one with the
        best F1 (harmonic mean of precision and recall).
    bool
        Whether the precision is reached.
    """
    weight, changed = rows.weight, rows.changed
    best, best_f1 = STEP, -1.0
    for step in range(1, int(p.max() / STEP) + 1):
        hit = p >= step * STEP
        right = float(weight[hit] @ changed[hit])
        if right >= precision * weight[hit].sum():
            return round(step * STEP, 6), True
        f1 = 2.0 * right / float(weight[hit].sum() + weight @ changed)
        if f1 > best_f1:
            best, best_f1 = round(step * STEP, 6), f1
    return best, False


def _measured(
    name: str, statistic: Callable[[NDArray[np.float64]], float], rows: Rows, seed: int
) -> dict[str, Any]:
    bootstrap = ClusterBootstrap(rows.group, seed=seed, n_resamples=_RESAMPLES)
    found = bootstrap.measure(name, statistic, weight=rows.weight)
    return {key: rounded(value) for key, value in found.items()}


def more_than(
    score: NDArray[np.float64], other: NDArray[np.float64], rows: Rows, *, seed: int = 0
) -> dict[str, Any]:
    """How much the AUROC inside pairs of one score exceeds that of another, pair by pair."""
    more, group = [], []
    for here in rows_of_each(rows.pair).values():
        changed, every = rows.changed[here], np.ones(len(here))
        if changed.any() and not changed.all():
            areas = [Auroc(unknown_last(one[here]), changed)(every) for one in (score, other)]
            more.append(areas[0] - areas[1])
            group.append(int(rows.group[here[0]]))
    return over_groups("auroc_over_distance", more, group, seed=seed)
