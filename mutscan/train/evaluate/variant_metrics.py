"""Metrics of an evaluation on variants: labels, deep mutational scans, stabilities.

Every score is oriented so that higher means more harmful; a good score then has a positive rank correlation
with the loss of fitness and with ddG.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.evaluate.scan_flags import FLAG_MEASURES, assay_flags
from mutscan.train.evaluate.scores import SIAMESE, Scored, evidence_tables, mean_rank, with_siamese
from mutscan.train.labelled.siamese import LOW_TM
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Spearman, mean_of_groups
from mutscan.train.statistics.classifier import (
    FEWEST_WITHIN,
    RESAMPLES,
    average_precision,
    calibration_error,
    portion,
    protein_weights,
    rows_of_each,
    within_proteins,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.train.statistics.classifier import Statistic

_FEWEST_RANKED: Final = 3


def labelled_section(scored: Scored, *, seed: int = 0, reason: str = "") -> dict[str, Any]:
    """Section ``variants`` of metrics.json; intervals resample groups of proteins.

    Parameters
    ----------
    scored : Scored
        The table's values are 1 for deleterious, 0 for neutral.
    seed : int
    reason : str
        Why there are no probabilities; metrics that need them are then None.
    """
    table, evidence = scored.table, scored.evidence
    label, positive = table.value, table.value > 0
    bootstrap = ClusterBootstrap(scored.group, seed=seed, n_resamples=RESAMPLES)
    rows = np.flatnonzero(np.isfinite(evidence.p)) if scored.calibrated else np.arange(len(table))
    flags = evidence.flag

    def number(
        name: str, statistic: Statistic, weight: NDArray[np.float64] | None = None
    ) -> dict[str, object]:
        return bootstrap.measure(name, statistic, rows=rows, weight=weight)

    section: dict[str, Any] = {
        "n": len(table),
        "n_proteins": len(np.unique(table.protein)),
        "n_groups": bootstrap.n_groups,
        "n_deleterious": int(positive.sum()),
        "n_with_structure": int(evidence.structured.sum()),
    }
    if scored.calibrated:
        p, y = evidence.p[rows], positive[rows]
        harmful, uncertain = flags[rows] == "deleterious", flags[rows] == "uncertain"
        statistics: dict[str, Statistic] = {
            "auroc": Auroc(p, y),
            "auprc": average_precision(p, y),
            "ece": lambda w: calibration_error(p, label[rows], w),
        }
        capped = protein_weights(table.protein)[rows]
        for name, statistic in statistics.items():
            section |= number(name, statistic)
        section |= within_proteins(p, y, table.protein[rows], scored.group[rows], seed=seed)
        for name, statistic in statistics.items():
            section |= number(f"{name}_capped", statistic, capped)
        section |= {
            **number("specificity", portion(~harmful, ~y)),
            **number("sensitivity", portion(harmful, y)),
            **number("share_uncertain", portion(uncertain)),
            **number("precision", portion(y, harmful)),
            **number("npv", portion(~y, flags[rows] == "tolerated")),
            "by_tier": {
                tier: {
                    "n": int((evidence.tier[rows] == tier).sum()),
                    **{flag: int(((evidence.tier[rows] == tier) & (flags[rows] == flag)).sum())
                       for flag in ("deleterious", "uncertain", "tolerated")},
                }
                for tier in np.unique(evidence.tier[rows]).tolist()
            },
        }  # fmt: skip
    else:
        named = "auroc auprc ece auroc_per_protein_mean specificity sensitivity share_uncertain".split()
        section |= {key: None for name in named for key in (name, f"{name}_ci")} | {"reason": reason}
    blosum62 = -evidence.pieces["blosum62"][rows]
    section |= number("blosum62_auroc", Auroc(blosum62, positive[rows]))

    def measure(values: NDArray[np.float64], at: NDArray[np.int64]) -> dict[str, Any]:
        if len(np.unique(positive[at])) < 2:
            return dict.fromkeys(("auroc", "auroc_ci", "auprc", "auprc_ci", "auroc_per_protein_mean"))
        own = ClusterBootstrap(scored.group[at], seed=seed, n_resamples=RESAMPLES)
        return {
            **own.measure("auroc", Auroc(values, positive[at])),
            **own.measure("auprc", average_precision(values, positive[at])),
            **within_proteins(values, positive[at], table.protein[at], scored.group[at], seed=seed),
        }

    section["evidence"] = evidence_tables(scored, lambda at: with_siamese(scored, at, seed), measure)
    if SIAMESE in section["evidence"]:
        section["siamese"] = _siamese_facts(scored, positive, section["evidence"][SIAMESE], seed)
    return section


def _siamese_facts(
    scored: Scored, positive: NDArray[np.bool_], table: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Measure what the Siamese scores add, and the rule of a low TM-score alone."""
    rows = scored.rows_of(SIAMESE)
    low = scored.siamese["tm"][rows] < LOW_TM
    y = positive[rows]
    facts: dict[str, Any] = {
        "n": len(rows),
        "n_proteins": table["n_proteins"],
        "tm_lowest": float(scored.siamese["tm"][rows].min()),
        "tm_median": float(np.median(scored.siamese["tm"][rows])),
        "low_tm_rule": {
            "threshold": LOW_TM,
            "n_flagged": int(low.sum()),
            "sensitivity": float(low[y].mean()) if y.any() else None,
            "specificity": float((~low[~y]).mean()) if (~y).any() else None,
        },
    }
    combined = with_siamese(scored, rows, seed)
    if combined and scored.calibrated:
        more, less = (Auroc(score.values[rows], y) for score in combined)
        own = ClusterBootstrap(scored.group[rows], seed=seed, n_resamples=RESAMPLES)
        facts |= own.measure("auroc_gain", lambda w: more(w) - less(w))
    return facts


def rank_correlation(
    score: NDArray[np.float64],
    truth: NDArray[np.float64],
    cluster: NDArray[np.int64],
    name: str = "spearman",
    *,
    seed: int = 0,
) -> dict[str, object]:
    """Spearman correlation with an interval that resamples clusters; None where it does not exist."""
    known = np.isfinite(score) & np.isfinite(truth)
    if known.sum() < _FEWEST_RANKED:
        return {name: None, f"{name}_ci": None}
    bootstrap = ClusterBootstrap(cluster[known], seed=seed, n_resamples=RESAMPLES)
    return bootstrap.measure(name, Spearman(score[known], truth[known]))


def interval_of_one(row: Mapping[str, Any], key: str, mean: str, mean_abs: str) -> dict[str, Any]:
    """Interval of a mean over one assay, and of its absolute value: those of the assay."""
    ends = row[f"{key}_ci"]
    turned = ends if ends is None or row[key] >= 0 else [-ends[1], -ends[0]]
    return {f"{mean}_ci": ends, f"{mean_abs}_ci": turned}


def dms_section(
    scored: Scored, fitted: Mapping[str, str], *, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sections ``dms`` and ``dms_evidence`` of metrics.json.

    The score of a scan is higher for fitter variants. Correlations are taken with its negative, so that they
    are positive where variants scored harmful are less fit. Intervals of an assay resample positions;
    intervals of means resample assays, those of related proteins together.

    Parameters
    ----------
    scored : Scored
        A "protein" of its table is an assay.
    fitted : mapping of assay -> str
        Assays of proteins that the calibration was fitted on, or of their relatives.
    """
    table = scored.table
    loss, main = -table.value, scored.main
    names = table.proteins["protein"].astype(str).tolist()
    section: dict[str, Any] = {}
    found, plain, unseen = [], [], []
    for protein, rows in rows_of_each(table.protein).items():
        name = names[protein]
        score = rank_correlation(main.values[rows], loss[rows], table.index[rows], seed=seed)
        blosum62 = rank_correlation(
            -scored.evidence.pieces["blosum62"][rows], loss[rows], table.index[rows], "blosum62_spearman",
            seed=seed,
        )  # fmt: skip
        section[name] = {
            "n": len(rows),
            "n_scored": int(np.isfinite(main.values[rows]).sum()),
            "n_with_structure": int(scored.evidence.structured[rows].sum()),
            **score,
            **blosum62,
            "known_to_calibration": fitted.get(name),
            **(assay_flags(scored, rows, seed=seed) if scored.calibrated else {}),
        }
        group = int(scored.group[rows[0]])
        found.append((_float(score["spearman"]), group))
        plain.append((_float(blosum62["blosum62_spearman"]), group))
        if name not in fitted:
            unseen.append((_float(score["spearman"]), group))
    assays = list(section.values())
    for key, values, turn in (
        ("mean_abs_spearman", found, abs),
        ("mean_spearman", found, float),
        ("blosum62_mean_abs_spearman", plain, abs),
        ("mean_abs_spearman_unseen", unseen, abs),
    ):
        section |= mean_of_groups(key, [turn(v) for v, _ in values], [g for _, g in values], seed=seed)
    groups = [group for _, group in found]
    for key in FLAG_MEASURES:
        section |= mean_of_groups(f"mean_{key}", [_float(row.get(key)) for row in assays], groups, seed=seed)
    section |= {
        "n_assays_with_cutoff": sum("cutoff" in row for row in assays),
        "n_assays": len(found),
        "n_assays_unseen": len(unseen),
        "n_variants": len(table),
        "scored_by": main.key,
    }
    if len(found) == 1 and section["mean_abs_spearman"] is not None:
        # There are no other assays to resample: take the interval of the one.
        (only,) = assays
        section |= interval_of_one(only, "spearman", "mean_spearman", "mean_abs_spearman")
        section |= {f"mean_{key}_ci": only.get(f"{key}_ci") for key in FLAG_MEASURES}

    def measure(values: NDArray[np.float64], at: NDArray[np.int64]) -> dict[str, Any]:
        each, groups = _within_ranks(values, loss[at], table.protein[at], scored.group[at])
        return {
            **mean_of_groups("mean_spearman", each, groups, seed=seed),
            **mean_of_groups("mean_abs_spearman", np.abs(each), groups, seed=seed),
            "n_assays": int(np.isfinite(each).sum()) if len(each) else 0,
        }

    return section, evidence_tables(scored, lambda at: mean_rank(scored, at), measure)


def stability_section(scored: Scored, *, seed: int = 0) -> dict[str, Any]:
    """Section ``stability`` of metrics.json: rank correlation with ddG, positive = destabilising.

    A variant that several sources measured counts once, with the mean of its ddG, except in the numbers of
    each source. Intervals resample groups of related proteins.
    """
    table, main = scored.table, scored.main
    blosum62 = -scored.evidence.pieces["blosum62"]
    key = np.stack([table.protein, table.index, table.mutant])
    _, first, place = np.unique(key, axis=1, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    ddg = np.bincount(place, table.value) / np.bincount(place)

    def numbers(at: NDArray[np.int64], truth: NDArray[np.float64]) -> dict[str, object]:
        cluster = scored.group[at]
        return {
            **rank_correlation(main.values[at], truth, cluster, seed=seed),
            **rank_correlation(blosum62[at], truth, cluster, "blosum62_spearman", seed=seed),
        }

    def inside(values: NDArray[np.float64], at: NDArray[np.int64], name: str) -> dict[str, object]:
        each, groups = _within_ranks(values, ddg[place[at]], table.protein[at], scored.group[at])
        return {**mean_of_groups(name, each, groups, seed=seed), "n_within": int(np.isfinite(each).sum())}

    section: dict[str, Any] = {
        "n": len(table),
        "n_distinct": len(first),
        "n_scored": int(np.isfinite(main.values[first]).sum()),
        "n_proteins": len(np.unique(table.protein)),
        "n_groups": len(np.unique(scored.group)),
        "n_with_structure": int(scored.evidence.structured[first].sum()),
        "scored_by": main.key,
        **numbers(first, ddg),
        **inside(main.values[first], first, "spearman_per_protein_mean"),
        "sources": {
            source: {"n": int((table.source == source).sum()), **numbers(at, table.value[at])}
            for source in np.unique(table.source).tolist()
            if len(at := np.flatnonzero(table.source == source))
        },
    }
    is_first = np.zeros(len(table), dtype=np.bool_)
    is_first[first] = True

    def measure(values: NDArray[np.float64], at: NDArray[np.int64]) -> dict[str, Any]:
        once = is_first[at]
        values, at = values[once], at[once]
        overall = rank_correlation(values, ddg[place[at]], scored.group[at], seed=seed)
        return {"n": len(at), **overall, **inside(values, at, "spearman_per_protein_mean")}

    section["evidence"] = evidence_tables(scored, lambda at: mean_rank(scored, at), measure)
    return section


def _within_ranks(
    score: NDArray[np.float64],
    truth: NDArray[np.float64],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
) -> tuple[list[float], list[int]]:
    """Spearman correlation inside each protein (or assay) of 10 variants or more, and its group."""
    each, groups = [], []
    for rows in rows_of_each(protein).values():
        rows = rows[np.isfinite(score[rows])]
        if len(rows) >= FEWEST_WITHIN:
            each.append(Spearman(score[rows], truth[rows])(np.ones(len(rows))))
            groups.append(int(group[rows[0]]))
    return each, groups


def _float(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]  # from with_interval
