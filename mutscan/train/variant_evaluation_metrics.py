"""Numbers of an evaluation on variants: labels, deep mutational scans, stabilities; each beside its evidence.

Every score is turned so that higher means more harmful, and so that a good score has a positive rank
correlation: with the loss of fitness, with ddG.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.evidence import EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.evidence.sequence import LETTERS
from mutscan.train.additive_fit import folds_of
from mutscan.train.bootstrap import Auroc, ClusterBootstrap, Ranks, Spearman, with_interval
from mutscan.train.variant_metrics import average_precision, calibration_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.variant_evaluation_evidence import Evidence
    from mutscan.train.variant_tables import VariantTable

RESAMPLES: Final = 300
"""Resamples behind an interval here: ranks of thousands of variants cost more than sums."""

LOW_TM: Final = 0.5
"""TM-score below which two folds are said to differ: as a rule for variants it flags nothing."""

FEWEST_WITHIN: Final = 10
"""Variants of a protein from which it has a number of its own."""

_FEWEST_OF_CLASS: Final = 2
_FEWEST_RANKED: Final = 3
_FALLING: Final = frozenset(
    ("blosum62", "log_odds", "log_odds_rank", "log_p_mutant", "entropy", "entropy_near", "entropy_protein",
     "loop_near", "charged_near")
)  # fmt: skip
"""Evidence of which less is more harmful; fixed beforehand, not by what is evaluated."""

ALL, STRUCTURE, SIAMESE = "all", "structure", "siamese"
TABLES: Final = {
    ALL: "all variants",
    STRUCTURE: "sites with coordinates",
    SIAMESE: "drawn variants that went through the Siamese net",
}


@dataclass(frozen=True, eq=False)
class Score:
    """One way to rank variants.

    Parameters
    ----------
    key, label : str
    kind : {"model", "siamese", "group", "single"}
    values : float array, shape (n,)
        Higher is more harmful; NaN where not known.
    tables : tuple of str
        Of `TABLES`: the rows it is measured on.
    """

    key: str
    label: str
    kind: str
    values: NDArray[np.float64]
    tables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """A table of variants with all that is known of them.

    Parameters
    ----------
    table : VariantTable
    group : int array, shape (n,)
        Variants of related proteins share a number.
    evidence : Evidence
    siamese : dict of name -> float array, shape (n,)
        NaN where a variant was not drawn.
    calibrated : bool
    """

    table: VariantTable
    group: NDArray[np.int64]
    evidence: Evidence
    siamese: Mapping[str, NDArray[np.float64]]
    calibrated: bool

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Variants that went through the Siamese net, shape (n,)."""
        return np.isfinite(self.siamese["tm"])

    def rows_of(self, name: str) -> NDArray[np.int64]:
        """Rows of one of `TABLES`."""
        masks = {ALL: np.ones(len(self.table), np.bool_), STRUCTURE: self.evidence.structured}
        return np.flatnonzero(masks.get(name, self.drawn))

    @property
    def main(self) -> Score:
        """What ranks the variants: the probability, else the z of the lDDT."""
        if self.calibrated:
            return Score("p_deleterious", "p_deleterious", "model", self.evidence.p, tuple(TABLES))
        return Score("z_score", "z of predicted lDDT", "siamese", -self.siamese["lddt_z"], (SIAMESE,))

    def scores(self) -> list[Score]:
        """All scores, the model's first."""
        e, s = self.evidence, self.siamese
        everywhere = tuple(TABLES)
        found = []
        if self.calibrated:
            found.append(self.main)
            found.append(Score("tier_sequence", "tier sequence alone", "model", e.p_sequence, everywhere))
            if (e.tier == "structure").any():
                p = np.where(e.tier == "structure", e.p, np.nan)
                found.append(Score("tier_structure", "tier structure", "model", p, (STRUCTURE,)))
        found.append(
            Score("blosum62", "BLOSUM62 of the exchange", "single", -e.pieces["blosum62"], everywhere)
        )
        found += [
            Score("lddt_z", "predicted lDDT drop, z against the null", "siamese", -s["lddt_z"], (SIAMESE,)),
            Score("lddt_drop", "predicted lDDT drop", "siamese", 1.0 - s["lddt_mean"], (SIAMESE,)),
            Score("lddt_site_drop", "predicted lDDT drop at the site", "siamese", 1.0 - s["lddt_site"],
                  (SIAMESE,)),
            Score("tm_z", "predicted TM drop, z against the null", "siamese", -s["tm_z"], (SIAMESE,)),
            Score("tm_drop", "predicted TM drop", "siamese", 1.0 - s["tm"], (SIAMESE,)),
            Score("low_tm", f"rule predicted TM < {LOW_TM}", "siamese",
                  np.where(np.isfinite(s["tm"]), (s["tm"] < LOW_TM).astype(np.float64), np.nan), (SIAMESE,)),
        ]  # fmt: skip
        for name, values in e.groups.items():
            rows = (STRUCTURE,) if not np.isfinite(values[~e.structured]).any() else (ALL,)
            found.append(
                Score(f"group_{name.replace(' ', '_')}", f"{name}, as weighed", "group", values, rows)
            )
        words = {**EVIDENCE, **STRUCTURE_EVIDENCE}
        for name, values in e.pieces.items():
            if name in LETTERS or name == "blosum62" or not np.isfinite(values).any():
                continue
            sign = -1.0 if name in _FALLING else 1.0
            rows = (STRUCTURE,) if name in STRUCTURE_EVIDENCE else (ALL,)
            label = f"{'-' if sign < 0 else ''}{name}: {words.get(name, 'read off the embedding')}"
            found.append(Score(name, label, "single", sign * values, rows))
        return found


def evidence_tables(
    scored: Scored,
    extra: Callable[[NDArray[np.int64]], Sequence[Score]],
    measure: Callable[[NDArray[np.float64], NDArray[np.int64]], dict[str, Any]],
) -> dict[str, Any]:
    """Measure every score on the rows it is known for: ``{table: {n, n_proteins, rows: {score: numbers}}}``.

    Parameters
    ----------
    scored : Scored
    extra : callable
        Combinations to add on the rows with Siamese scores.
    measure : callable
        From values and their rows to numbers.
    """
    scores = scored.scores()
    tables: dict[str, Any] = {}
    for name, words in TABLES.items():
        rows = scored.rows_of(name)
        if not len(rows):
            continue
        measured = {}
        for score in [*scores, *(extra(rows) if name == SIAMESE else ())]:
            if name not in score.tables:
                continue
            known = rows[np.isfinite(score.values[rows])]
            numbers = {"label": score.label, "kind": score.kind, "n": len(known)}
            measured[score.key] = numbers | measure(score.values[known], known)
        tables[name] = {
            "what": words,
            "n": len(rows),
            "n_proteins": len(np.unique(scored.table.protein[rows])),
            "scores": measured,
        }
    return tables


def labelled_section(scored: Scored, *, seed: int = 0, reason: str = "") -> dict[str, Any]:
    """Section ``variants`` of metrics.json; intervals resample groups of proteins.

    Parameters
    ----------
    scored : Scored
        Its table's values are 1 for deleterious, 0 for neutral.
    seed : int
    reason : str
        Why there are no probabilities; numbers that need them are then None.
    """
    table, evidence = scored.table, scored.evidence
    label, positive = table.value, table.value > 0
    bootstrap = ClusterBootstrap(scored.group, seed=seed, n_resamples=RESAMPLES)
    rows = np.flatnonzero(np.isfinite(evidence.p)) if scored.calibrated else np.arange(len(table))
    flags = evidence.flag

    def number(name: str, statistic: Callable[[NDArray[np.float64]], float]) -> dict[str, object]:
        return with_interval(name, statistic(np.ones(len(rows))), bootstrap.each(rows, statistic))

    def share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], float]:
        def of_weights(w: NDArray[np.float64]) -> float:
            total = w[of].sum()
            return float(w[hit & of].sum() / total) if total else float("nan")

        return of_weights

    section: dict[str, Any] = {
        "n": len(table),
        "n_proteins": len(np.unique(table.protein)),
        "n_groups": bootstrap.n_groups,
        "n_deleterious": int(positive.sum()),
        "n_with_structure": int(evidence.structured.sum()),
    }
    named = (
        "auroc",
        "auprc",
        "ece",
        "auroc_per_protein_mean",
        "specificity",
        "sensitivity",
        "share_uncertain",
    )
    if scored.calibrated:
        p, y = evidence.p[rows], positive[rows]
        harmful, uncertain = flags[rows] == "deleterious", flags[rows] == "uncertain"
        section |= {
            **number("auroc", Auroc(p, y)),
            **number("auprc", average_precision(p, y)),
            **number("ece", lambda w: calibration_error(p, label[rows], w)),
            **within_proteins(p, y, table.protein[rows], scored.group[rows], seed=seed),
            **number("specificity", share(~harmful, ~y)),
            **number("sensitivity", share(harmful, y)),
            **number("share_uncertain", share(uncertain, np.ones(len(rows), np.bool_))),
            **number("precision", share(y, harmful)),
            **number("npv", share(~y, flags[rows] == "tolerated")),
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
        section |= {key: None for name in named for key in (name, f"{name}_ci")} | {"reason": reason}
    blosum62 = -evidence.pieces["blosum62"][rows]
    section |= number("blosum62_auroc", Auroc(blosum62, positive[rows]))

    def measure(values: NDArray[np.float64], at: NDArray[np.int64]) -> dict[str, Any]:
        if len(np.unique(positive[at])) < 2:
            return dict.fromkeys(("auroc", "auroc_ci", "auprc", "auprc_ci", "auroc_per_protein_mean"))
        own = ClusterBootstrap(scored.group[at], seed=seed, n_resamples=RESAMPLES)
        every, ones = np.arange(len(at)), np.ones(len(at))
        numbers: dict[str, Any] = {}
        for name, statistic in (
            ("auroc", Auroc(values, positive[at])),
            ("auprc", average_precision(values, positive[at])),
        ):
            numbers |= with_interval(name, statistic(ones), own.each(every, statistic))
        within = within_proteins(values, positive[at], table.protein[at], scored.group[at], seed=seed)
        return numbers | within

    section["evidence"] = evidence_tables(scored, lambda at: _with_siamese(scored, at, seed), measure)
    if SIAMESE in section["evidence"]:
        section["siamese"] = _siamese_facts(scored, positive, section["evidence"][SIAMESE], seed)
    return section


def _siamese_facts(
    scored: Scored, positive: NDArray[np.bool_], table: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Say what the Siamese scores add, and what the low-TM rule alone would do."""
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
    combined = _with_siamese(scored, rows, seed)
    if combined and scored.calibrated:
        with_it, without = combined[0].values[rows], combined[1].values[rows]
        more, less = Auroc(with_it, y), Auroc(without, y)
        own = ClusterBootstrap(scored.group[rows], seed=seed, n_resamples=RESAMPLES)

        def gain(w: NDArray[np.float64]) -> float:
            return more(w) - less(w)

        facts |= with_interval("auroc_gain", gain(np.ones(len(rows))), own.each(np.arange(len(rows)), gain))
    return facts


def _with_siamese(scored: Scored, rows: NDArray[np.int64], seed: int) -> list[Score]:
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
    for rows in _rows_of_each(protein):
        n, hits = len(rows), int(positive[rows].sum())
        if n >= FEWEST_WITHIN and _FEWEST_OF_CLASS <= hits <= n - _FEWEST_OF_CLASS:
            areas.append(Auroc(score[rows], positive[rows])(np.ones(n)))
            of_group.append(int(group[rows][0]))
    return {**_mean_of_groups("auroc_per_protein_mean", areas, of_group, seed), "n_within": len(areas)}


def _rows_of_each(protein: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(protein, kind="stable")
    _, starts = np.unique(protein[order], return_index=True)
    return np.split(order, starts[1:]) if len(order) else []


def _mean_of_groups(name: str, values: Sequence[float], group: Sequence[int], seed: int) -> dict[str, object]:
    """Average of values, with an interval that resamples their groups."""
    known = np.isfinite(values) if len(values) else np.zeros(0, np.bool_)
    v, g = np.array(values, dtype=np.float64)[known], np.array(group, dtype=np.int64)[known]
    if not len(v):
        return {name: None, f"{name}_ci": None}
    bootstrap = ClusterBootstrap(g, seed=seed)
    drawn = bootstrap.each(np.arange(len(v)), lambda w: float(w @ v / w.sum()))
    return with_interval(name, float(v.mean()), drawn)


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
    correlation = Spearman(score[known], truth[known])
    bootstrap = ClusterBootstrap(cluster[known], seed=seed, n_resamples=RESAMPLES)
    rows = np.arange(int(known.sum()))
    return with_interval(name, correlation(np.ones(len(rows))), bootstrap.each(rows, correlation))


def dms_section(
    scored: Scored, fitted: Mapping[str, str], *, seed: int = 0
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sections ``dms`` and ``dms_evidence`` of metrics.json.

    A scan's score is higher for fitter variants; correlations are with its negative, so that a harmful
    verdict on an unfit variant counts as positive. An assay's intervals resample positions, means resample
    assays, those of related proteins together.

    Parameters
    ----------
    scored : Scored
        A "protein" of its table is an assay.
    fitted : mapping of assay -> str
        Assays whose protein, or a relative, the calibration was fitted on.
    """
    table = scored.table
    loss, main = -table.value, scored.main
    names = table.proteins["protein"].astype(str).tolist()
    section: dict[str, Any] = {}
    found, plain, unseen = [], [], []
    for rows in _rows_of_each(table.protein):
        name = names[int(table.protein[rows[0]])]
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
        }
        group = int(scored.group[rows[0]])
        found.append((_float(score["spearman"]), group))
        plain.append((_float(blosum62["blosum62_spearman"]), group))
        if name not in fitted:
            unseen.append((_float(score["spearman"]), group))
    for key, values, turn in (
        ("mean_abs_spearman", found, abs),
        ("mean_spearman", found, float),
        ("blosum62_mean_abs_spearman", plain, abs),
        ("mean_abs_spearman_unseen", unseen, abs),
    ):
        section |= _mean_of_groups(key, [turn(v) for v, _ in values], [g for _, g in values], seed)
    section |= {
        "n_assays": len(found),
        "n_assays_unseen": len(unseen),
        "n_variants": len(table),
        "scored_by": main.key,
    }
    if len(found) == 1 and section["mean_abs_spearman"] is not None:
        # One assay has no others to be drawn from: its own interval is what is known.
        only = next(iter(section.values()))
        for key in ("mean_abs_spearman", "mean_spearman"):
            section[f"{key}_ci"] = only["spearman_ci"]

    def measure(values: NDArray[np.float64], at: NDArray[np.int64]) -> dict[str, Any]:
        each, groups = _within_ranks(values, loss[at], table.protein[at], scored.group[at])
        return {
            **_mean_of_groups("mean_spearman", each, groups, seed),
            **_mean_of_groups("mean_abs_spearman", np.abs(each).tolist(), groups, seed),
            "n_assays": int(np.isfinite(each).sum()) if len(each) else 0,
        }

    return section, evidence_tables(scored, lambda at: _mean_rank(scored, at), measure)


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
        return {**_mean_of_groups(name, each, groups, seed), "n_within": int(np.isfinite(each).sum())}

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
        return {**overall, **inside(values, at, "spearman_per_protein_mean")}

    section["evidence"] = evidence_tables(scored, lambda at: _mean_rank(scored, at), measure)
    return section


def _within_ranks(
    score: NDArray[np.float64],
    truth: NDArray[np.float64],
    protein: NDArray[np.int64],
    group: NDArray[np.int64],
) -> tuple[list[float], list[int]]:
    """Spearman correlation inside each protein (or assay) of 10 variants or more, and its group."""
    each, groups = [], []
    for rows in _rows_of_each(protein):
        rows = rows[np.isfinite(score[rows])]
        if len(rows) >= FEWEST_WITHIN:
            each.append(Spearman(score[rows], truth[rows])(np.ones(len(rows))))
            groups.append(int(group[rows[0]]))
    return each, groups


def _mean_rank(scored: Scored, rows: NDArray[np.int64]) -> list[Score]:
    """Mean of the ranks, inside each protein, by probability and by the lDDT's z: nothing is fitted."""
    if not scored.calibrated:
        return []
    values = np.full(len(scored.table), np.nan)
    for part in _rows_of_each(scored.table.protein[rows]):
        at = rows[part]
        ranks = [
            Ranks(column).of(np.ones(len(at))) / len(at)
            for column in (scored.evidence.p[at], np.nan_to_num(-scored.siamese["lddt_z"][at]))
        ]
        values[at] = ranks[0] + ranks[1]
    return [Score("p_and_siamese", "mean rank of p_deleterious and lDDT z", "model", values, (SIAMESE,))]


def _float(value: object) -> float:
    return float("nan") if value is None else float(value)  # type: ignore[arg-type]  # from with_interval
