"""Metrics of a classifier of variants: precision and recall, calibration, thresholds; all under weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.train.statistics.bootstrap import Auroc, mean_of_groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Statistic = Callable[[NDArray[np.float64]], float]

PROTEIN_CAP: Final = 100
"""All variants of one protein together weigh at most as much as this many variants."""

FEWEST_WITHIN: Final = 10
"""A protein needs this many variants for a metric of its own."""

FEWEST_OF_CLASS: Final = 2
"""It needs this many of each class for an AUROC of its own."""

RESAMPLES: Final = 300
"""Resamples behind an interval of a rank statistic, which costs more than a sum."""


def protein_weights(protein: NDArray[np.int64], cap: float = PROTEIN_CAP) -> NDArray[np.float64]:
    """Weight of each variant, shape (n,), so that no protein counts for more than `cap`."""
    _, place, count = np.unique(protein, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = np.minimum(1.0, cap / count)[place.reshape(-1)]
    return weights


def match_share(label: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Rescale weights of labelled rows, shape (n,), so that deleterious rows carry a given share of them."""
    here = float(weight @ label / weight.sum())
    if not 0.0 < here < 1.0:
        return weight
    scaled: NDArray[np.float64] = weight * np.where(label > 0, share / here, (1 - share) / (1 - here))
    return scaled


def rows_of_each(protein: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Rows of each protein, ascending, by the protein's number."""
    order = np.argsort(protein, kind="stable")
    used, starts = np.unique(protein[order], return_index=True)
    return dict(zip(used.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}


def calibration_error(
    p: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> float:
    """Compute the expected calibration error over 10 bins of equal weight."""
    weight = np.ones(len(p)) if weight is None else weight
    order = np.argsort(p, kind="stable")
    w, gap = weight[order], (p - label)[order]
    total = w.sum()
    if total == 0:
        return float("nan")
    middle = (np.cumsum(w) - w / 2) / total
    which = np.minimum((middle * 10).astype(int), 9)
    return float(np.abs(np.bincount(which, w * gap, 10)).sum() / total)


def average_precision(score: NDArray[np.float64], positive: NDArray[np.bool_]) -> Statistic:
    """Area under the precision-recall curve (average precision), as a function of the rows' weights."""
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


def portion(hit: NDArray[np.bool_], of: NDArray[np.bool_] | None = None) -> Statistic:
    """Weight of the rows in both masks over the weight of those in `of` (all rows when not given)."""
    of = np.ones(len(hit), dtype=np.bool_) if of is None else of

    def share(weight: NDArray[np.float64]) -> float:
        whole = weight[of].sum()
        return float(weight[hit & of].sum() / whole) if whole else float("nan")

    return share


def areas_within(
    score: NDArray[np.float64],
    positive: NDArray[np.bool_],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """AUROC inside each protein of 10 variants or more, 2 of each class, and the protein's group."""
    areas, of_group = [], []
    for rows in rows_of_each(protein).values():
        n, hits = len(rows), int(positive[rows].sum())
        if n >= FEWEST_WITHIN and FEWEST_OF_CLASS <= hits <= n - FEWEST_OF_CLASS:
            areas.append(Auroc(score[rows], positive[rows])(np.ones(n)))
            of_group.append(int(group[rows][0]))
    return np.array(areas), np.array(of_group, dtype=np.int64)


def within_proteins(
    score: NDArray[np.float64],
    positive: NDArray[np.bool_],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
    *,
    seed: int = 0,
) -> dict[str, object]:
    """Average the AUROC inside proteins, as `areas_within` gives it; interval over groups."""
    areas, of_group = areas_within(score, positive, protein, group)
    found = mean_of_groups("auroc_per_protein_mean", areas, of_group, seed=seed)
    return {**found, "n_within": len(areas)}


def weighted_quantile(values: NDArray[np.float64], weight: NDArray[np.float64], q: float) -> float:
    """Lowest value that, together with all lower ones, carries the share `q` of the weight."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, q)), len(values) - 1)])


def threshold_facts(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    threshold: float,
    kind: str,
) -> dict[str, float]:
    """Specificity, sensitivity, precision and negative predictive value of a threshold.

    A threshold of kind ``deleterious`` flags what lies at or above it; one of kind ``tolerated`` what
    lies strictly above it.
    """
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
