"""What calibration.json says of a tier: its thresholds, and how it does on rows it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.calibrate.additive import match_share
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Spearman, with_interval
from mutscan.train.statistics.classifier import (
    average_precision,
    calibration_error,
    protein_weights,
    threshold_facts,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mutscan.train.calibrate.rows import Rows

SPECIFICITY: Final = 0.92
"""Asked of the ``deleterious`` threshold out of fold; 0.90 is promised."""

SENSITIVITY: Final = 0.92
"""Share of deleterious variants that stay above the ``tolerated`` threshold."""

_FEWEST_RANKED: Final = 50  # substitutions of a protein for a rank correlation of its own
_FEWEST_WITHIN: Final = 10  # variants of a protein for an AUROC of its own
_FEWEST_OF_CLASS: Final = 2
_RESAMPLES: Final = 300


def gain_facts(
    after: NDArray[np.float64],
    before: NDArray[np.float64],
    label: NDArray[np.float64],
    group: NDArray[np.int64],
    weight: NDArray[np.float64],
    seed: int,
) -> dict[str, Any]:
    """AUROC with built mutants and by the structure tier, of the same rows, and what they add."""
    one, other = Auroc(after, label > 0), Auroc(before, label > 0)
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)
    drawn = bootstrap.each(np.arange(len(label)), lambda w: one(w * weight) - other(w * weight))
    facts: dict[str, object] = {"auroc": one(weight), "auroc_structure": other(weight)}
    facts |= with_interval("auroc_gain", one(weight) - other(weight), drawn)
    return {key: _rounded(value) for key, value in facts.items()}


def labelled_facts(
    p: NDArray[np.float64],
    rows: Rows,
    test: NDArray[np.bool_],
    lines: list[float],
    share: float,
    seed: int,
) -> dict[str, Any]:
    """Numbers on the test groups, each with a 95 % interval over groups.

    No protein counts for more than `PROTEIN_CAP` variants, else one of them (p53 has two in five of the
    rows of a fold) decides, and rows are weighted so that `share` of the weight is deleterious, as where
    the probability was made; ``auroc_all_rows`` and ``ece_all_rows`` are without either.
    """
    label, group = rows.target[test], rows.linked[test]
    cap = match_share(label, protein_weights(rows.protein[test]), share)
    positive, above, below = label > 0, p >= lines[0], p <= lines[1]
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)

    def portion(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], float]:
        return lambda w: float(w[hit & of].sum() / w[of].sum()) if w[of].sum() else float("nan")

    facts: dict[str, Any] = {
        "n": len(p),
        "n_deleterious": int(positive.sum()),
        "n_proteins": len(np.unique(rows.protein[test])),
        "n_groups": len(np.unique(group)),
    }
    statistics: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "auroc": Auroc(p, positive),
        "auprc": average_precision(p, positive),
        "ece": lambda w: calibration_error(p, label, w),
        "blosum62_auroc": Auroc(-rows.evidence["blosum62"][test], positive),
        "specificity": portion(~above, ~positive),
        "sensitivity": portion(above, positive),
        "precision": portion(positive, above),
        "npv": portion(~positive, below),
        "share_uncertain": portion(~above & ~below, np.ones(len(p), np.bool_)),
    }
    for name, statistic in statistics.items():

        def capped(w: NDArray[np.float64], of: Callable[..., float] = statistic) -> float:
            return of(w * cap)

        facts |= with_interval(name, capped(np.ones(len(p))), bootstrap.each(np.arange(len(p)), capped))
    for name in ("auroc", "ece"):
        facts[f"{name}_all_rows"] = statistics[name](np.ones(len(p)))
    facts |= _within(p, positive, rows.protein[test], group, seed)
    return {key: _rounded(value) for key, value in facts.items()}


def _within(
    p: NDArray[np.float64],
    positive: NDArray[np.bool_],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
    seed: int,
) -> dict[str, object]:
    """Average AUROC inside proteins with enough variants of both classes, with an interval over groups."""
    areas, owners = [], []
    for one in np.unique(protein).tolist():
        here = protein == one
        hits = int(positive[here].sum())
        if here.sum() >= _FEWEST_WITHIN and _FEWEST_OF_CLASS <= hits <= here.sum() - _FEWEST_OF_CLASS:
            areas.append(Auroc(p[here], positive[here])(np.ones(int(here.sum()))))
            owners.append(int(group[here][0]))
    if not areas:
        return {"n_within": 0}
    values = np.array(areas)
    bootstrap = ClusterBootstrap(np.array(owners), seed=seed)
    drawn = bootstrap.each(np.arange(len(values)), lambda w: float(w @ values / w.sum()))
    return {
        **with_interval("auroc_per_protein_mean", float(values.mean()), drawn),
        "n_within": len(values),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value


def ranked_facts(
    rows: Rows, fit: NDArray[np.bool_], p: NDArray[np.float64], assays: dict[int, str]
) -> dict[str, Any]:
    """Rank correlations with scans and stabilities, each protein by models that saw none of its relatives."""
    facts: dict[str, Any] = {}
    for kind in ("dms", "stability"):
        here = rows.kind[fit] == kind
        if not here.any():
            continue
        protein, truth, score = rows.protein[fit][here], rows.truth[fit][here], p[here]
        each = {}
        for one in np.unique(protein).tolist():
            mine = protein == one
            if mine.sum() >= _FEWEST_RANKED:
                each[one] = Spearman(score[mine], truth[mine])(np.ones(int(mine.sum())))
        if kind == "dms":
            facts["dms_spearman"] = {assays[one]: round(value, 3) for one, value in each.items()}
            facts["dms_mean_abs_spearman"] = round(float(np.mean(np.abs(list(each.values())))), 4)
        else:
            facts["stability_spearman"] = round(Spearman(score, truth)(np.ones(len(truth))), 4)
            if each:
                facts["stability_spearman_per_protein"] = round(float(np.mean(list(each.values()))), 4)
                facts["stability_proteins"] = len(each)
    return facts


def choose_thresholds(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Draw both lines on probabilities of groups the model had not seen.

    ``deleterious`` from the lowest p with specificity `SPECIFICITY`; ``tolerated`` up to the p that
    leaves `SENSITIVITY` of the deleterious above it, and never above the other line. Precision and
    specificity get 95 % intervals over groups.
    """
    upper = _weighted_quantile(p[label == 0], weight[label == 0], SPECIFICITY)
    lower = min(_weighted_quantile(p[label == 1], weight[label == 1], 1.0 - SENSITIVITY), upper)
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=_RESAMPLES)
    lines: dict[str, dict[str, Any]] = {}
    for kind, line in (("deleterious", round(upper, 4)), ("tolerated", round(lower, 4))):
        facts: dict[str, Any] = dict(threshold_facts(p, label, weight, line, kind))
        for what in ("specificity", "sensitivity", "precision", "npv"):

            def drawn(
                w: NDArray[np.float64], what: str = what, line: float = line, kind: str = kind
            ) -> float:
                return threshold_facts(p, label, weight * w, line, kind)[what]

            values = bootstrap.each(np.arange(len(p)), drawn)
            facts[f"{what}_ci"] = [round(float(x), 4) for x in np.quantile(values, (0.025, 0.975))]
        lines[kind] = facts
    return lines


def _weighted_quantile(values: NDArray[np.float64], weight: NDArray[np.float64], q: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, q)), len(values) - 1)])
