"""Numbers of a classifier of variants: areas, calibration, thresholds; and of assays: rank correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.train.bootstrap import Auroc, ClusterBootstrap, Spearman, with_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_FEWEST_OF_CLASS = 2  # variants of each class for an AUROC within a protein
_FEWEST_WITHIN = 10
_RESAMPLES = 300


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


def labelled_metrics(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    group: NDArray[np.int64],
    protein: NDArray[np.int64],
    flags: NDArray[np.str_],
    singles: Mapping[str, NDArray[np.float64]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Section ``variants`` of metrics.json, each number with an interval over protein groups.

    Parameters
    ----------
    p, label : float array, shape (n,)
    group, protein : int array, shape (n,)
    flags : str array, shape (n,)
    singles : mapping of name -> float array, shape (n,)
        Scores to set beside it; higher = more deleterious, NaN = not known.
    seed : int
    """
    positive = label > 0
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)
    rows = np.arange(len(p))
    harmful, uncertain = flags == "deleterious", flags == "uncertain"

    def number(name: str, statistic: Callable[[NDArray[np.float64]], float]) -> dict[str, object]:
        return with_interval(name, statistic(np.ones(len(p))), bootstrap.each(rows, statistic))

    def share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], float]:
        return lambda w: float(w[hit & of].sum() / w[of].sum()) if w[of].sum() else float("nan")

    everything = np.ones(len(p), np.bool_)
    section: dict[str, Any] = {
        "n": len(p),
        "n_proteins": len(np.unique(protein)),
        "n_groups": bootstrap.n_groups,
        "n_deleterious": int(positive.sum()),
        **number("auroc", Auroc(p, positive)),
        **number("auprc", average_precision(p, positive)),
        **number("ece", lambda w: calibration_error(p, label, w)),
        **within_proteins(p, positive, protein, group, seed=seed),
        **number("blosum62_auroc", Auroc(singles["blosum62"], positive)),
        **number("specificity", share(~harmful, ~positive)),
        **number("sensitivity", share(harmful, positive)),
        **number("share_uncertain", share(uncertain, everything)),
    }
    section["single"] = {}
    for name, score in singles.items():
        known = np.isfinite(score)
        if known.sum() < _FEWEST_WITHIN or len(np.unique(positive[known])) < 2:
            section["single"][name] = {"n": int(known.sum()), "auroc": None, "auprc": None}
            continue
        ones = np.ones(int(known.sum()))
        section["single"][name] = {
            "n": int(known.sum()),
            "auroc": Auroc(score[known], positive[known])(ones),
            "auprc": average_precision(score[known], positive[known])(ones),
            **within_proteins(score[known], positive[known], protein[known], group[known], seed=seed),
        }
    return section


def within_proteins(
    score: NDArray[np.float64],
    positive: NDArray[np.bool_],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
    *,
    seed: int = 0,
) -> dict[str, object]:
    """Average AUROC inside proteins of 10 variants or more, 2 of each class; interval over groups."""
    areas, of_group = [], []
    for one in np.unique(protein).tolist():
        here = protein == one
        n, hits = int(here.sum()), int(positive[here].sum())
        if n >= _FEWEST_WITHIN and _FEWEST_OF_CLASS <= hits <= n - _FEWEST_OF_CLASS:
            areas.append(Auroc(score[here], positive[here])(np.ones(n)))
            of_group.append(int(group[here][0]))
    if not areas:
        return {"auroc_per_protein_mean": None, "auroc_per_protein_mean_ci": None, "n_within": 0}
    values = np.array(areas)
    bootstrap = ClusterBootstrap(np.array(of_group), seed=seed)
    mean = with_interval(
        "auroc_per_protein_mean",
        float(values.mean()),
        bootstrap.each(np.arange(len(values)), lambda w: float(w @ values / w.sum())),
    )
    return {**mean, "n_within": len(values)}


def rank_metrics(
    score: NDArray[np.float64], truth: NDArray[np.float64], name: str, *, seed: int = 0
) -> dict[str, object]:
    """Spearman correlation with an interval over variants; None where it does not exist."""
    known = np.isfinite(score) & np.isfinite(truth)
    if known.sum() < 3:
        return {name: None, f"{name}_ci": None}
    correlation = Spearman(score[known], truth[known])
    rows = np.arange(int(known.sum()))
    bootstrap = ClusterBootstrap(rows, seed=seed, n_resamples=_RESAMPLES)
    return with_interval(name, correlation(np.ones(len(rows))), bootstrap.each(rows, correlation))
