"""Metrics of a tier for calibration.json: its thresholds, and how it does on rows it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Spearman, rounded
from mutscan.train.statistics.classifier import (
    RESAMPLES,
    average_precision,
    calibration_error,
    match_share,
    portion,
    protein_weights,
    rows_of_each,
    threshold_facts,
    weighted_quantile,
    within_proteins,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.train.calibrate.rows import Rows
    from mutscan.train.statistics.classifier import Statistic

SPECIFICITY: Final = 0.93
"""Specificity of the ``deleterious`` threshold on cross-fitted rows: the highest with which the share of a
scan that is flagged stays within 0.15 of the share that is harmful, mean over scans."""

SENSITIVITY: Final = 0.92
"""Share of deleterious variants that stay above the ``tolerated`` threshold."""

_FEWEST_RANKED: Final = 50  # substitutions of a protein for a rank correlation of its own


def labelled_facts(
    p: NDArray[np.float64],
    rows: Rows,
    test: NDArray[np.bool_],
    lines: list[float],
    share: float,
    seed: int,
) -> dict[str, Any]:
    """Metrics on the test groups, each with a 95 % interval over groups.

    All variants of a protein together weigh at most as much as `PROTEIN_CAP` variants, otherwise one protein
    decides (p53 has two in five rows of a fold). Rows are weighted so that `share` of the weight is
    deleterious, as where the probability was made; ``auroc_all_rows`` and ``ece_all_rows`` use no weights.
    """
    label, group = rows.target[test], rows.linked[test]
    cap = match_share(label, protein_weights(rows.protein[test]), share)
    positive, above, below = label > 0, p >= lines[0], p <= lines[1]
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=RESAMPLES)
    facts: dict[str, Any] = {
        "n": len(p),
        "n_deleterious": int(positive.sum()),
        "n_proteins": len(np.unique(rows.protein[test])),
        "n_groups": len(np.unique(group)),
    }
    statistics: dict[str, Statistic] = {
        "auroc": Auroc(p, positive),
        "auprc": average_precision(p, positive),
        "ece": lambda w: calibration_error(p, label, w),
        "blosum62_auroc": Auroc(-rows.evidence["blosum62"][test], positive),
        "specificity": portion(~above, ~positive),
        "sensitivity": portion(above, positive),
        "precision": portion(positive, above),
        "npv": portion(~positive, below),
        "share_uncertain": portion(~above & ~below),
    }
    for name, statistic in statistics.items():
        facts |= bootstrap.measure(name, statistic, weight=cap)
    for name in ("auroc", "ece"):
        facts[f"{name}_all_rows"] = statistics[name](np.ones(len(p)))
    within = within_proteins(p, positive, rows.protein[test], group, seed=seed)
    facts |= within if within["n_within"] else {"n_within": 0}
    return {key: rounded(value) for key, value in facts.items()}


def ranked_facts(
    rows: Rows, fit: NDArray[np.bool_], p: NDArray[np.float64], assays: Mapping[int, str]
) -> dict[str, Any]:
    """Rank correlations with scans and stabilities; no row's model has seen a relative of its protein."""
    facts: dict[str, Any] = {}
    for kind in ("dms", "stability"):
        here = rows.kind[fit] == kind
        if not here.any():
            continue
        protein, truth, score = rows.protein[fit][here], rows.truth[fit][here], p[here]
        each = {
            one: Spearman(score[mine], truth[mine])(np.ones(len(mine)))
            for one, mine in rows_of_each(protein).items()
            if len(mine) >= _FEWEST_RANKED
        }
        if kind == "dms":
            facts["dms_spearman"] = {assays[one]: round(value, 3) for one, value in each.items()}
            facts["dms_mean_abs_spearman"] = round(float(np.mean(np.abs(list(each.values())))), 4)
        else:
            facts["stability_spearman"] = round(Spearman(score, truth)(np.ones(len(truth))), 4)
            if each:
                facts["stability_spearman_per_protein"] = round(float(np.mean(list(each.values()))), 4)
                facts["stability_proteins"] = len(each)
    return facts


def choose_lines(
    log_odds: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64], safe: float
) -> tuple[float, float]:
    """Log-odds where ``deleterious`` starts and where ``tolerated`` ends, of rows the model had not seen.

    The first is the lowest with specificity `SPECIFICITY`; the second leaves `SENSITIVITY` of the deleterious
    variants above it, and is never above the other line nor above `safe`.
    """
    upper = weighted_quantile(log_odds[label == 0], weight[label == 0], SPECIFICITY)
    lower = weighted_quantile(log_odds[label == 1], weight[label == 1], 1.0 - SENSITIVITY)
    return upper, min(lower, upper, safe)


def line_facts(
    p: NDArray[np.float64],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    at: Mapping[str, float],
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Probability at each line, and its metrics on labelled rows with 95 % intervals over groups."""
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=RESAMPLES)
    lines: dict[str, dict[str, Any]] = {}
    for kind, exact in at.items():
        line = round(exact, 4)
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
