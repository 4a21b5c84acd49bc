"""Numbers of a classifier of variants: area under precision and recall, calibration, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


PROTEIN_CAP: Final = 100
"""Variants of one protein weigh no more than so many of a protein with fewer."""


def protein_weights(protein: NDArray[np.int64], cap: float = PROTEIN_CAP) -> NDArray[np.float64]:
    """Weight of each variant, shape (n,), so that no protein counts for more than `cap`."""
    _, place, count = np.unique(protein, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = np.minimum(1.0, cap / count)[place.reshape(-1)]
    return weights


def calibration_error(
    p: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> float:
    """Compute the expected calibration error, 10 bins of equal count; rows may weigh any number of times."""
    weight = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    w, gap = weight[order], (p - label)[order]
    total = w.sum()
    if total == 0:
        return float("nan")
    middle = (np.cumsum(w) - w / 2) / total
    which = np.minimum((middle * 10).astype(int), 9)
    return float(np.abs(np.bincount(which, w * gap, 10)).sum() / total)


def average_precision(
    score: NDArray[np.float64], positive: NDArray[np.bool_]
) -> Callable[[NDArray[np.float64]], float]:
    """Area under precision and recall (average precision), as a function of the rows' weights."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(-score[order]) != 0, True)  # ties share one threshold

    def area(weight: NDArray[np.float64]) -> float:
        w = weight[order]
        hit = np.cumsum(w * positive[order])
        every = np.cumsum(w)
        if not hit[-1]:
            return float("nan")
        precision = (hit / np.maximum(every, 1e-12))[last]
        return float((np.diff(hit[last], prepend=0.0) * precision).sum() / hit[-1])

    return area


def threshold_facts(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    threshold: float,
    kind: str,
) -> dict[str, float]:
    """How a threshold does: specificity and precision above it, or sensitivity and NPV below it."""
    positive = label > 0
    above = p >= threshold if kind == "deleterious" else p > threshold
    tp, fp = weight[above & positive].sum(), weight[above & ~positive].sum()
    fn, tn = weight[~above & positive].sum(), weight[~above & ~positive].sum()
    return {
        "p": float(threshold),
        "specificity": _ratio(tn, tn + fp),
        "sensitivity": _ratio(tp, tp + fn),
        "precision": _ratio(tp, tp + fp),
        "npv": _ratio(tn, tn + fn),
    }


def _ratio(part: float, whole: float) -> float:
    return round(float(part / whole), 4) if whole > 0 else 0.0
