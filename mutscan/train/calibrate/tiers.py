"""Fit one tier of calibration.json and measure it on rows it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from mutscan.train.calibrate.additive import fit_additive
from mutscan.train.calibrate.built import BUILT_CAP, WEIGHED, fit_built
from mutscan.train.calibrate.facts import choose_thresholds, gain_facts, labelled_facts, ranked_facts
from mutscan.train.calibrate.rows import RANKED_WEIGHT
from mutscan.train.statistics.bootstrap import Auroc
from mutscan.train.statistics.classifier import calibration_error, match_share, protein_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.calibrate.rows import Rows


def fewest_of_class(rows: Rows, judged: NDArray[np.bool_]) -> int:
    """Count the labelled rows to fit in the smaller class, among those in the mask `judged`."""
    usable = judged & rows.labelled & ~rows.kept_out
    return int(min((usable & (rows.truth == label)).sum() for label in (0, 1)))


def additive_tier(
    pieces: Sequence[str], rows: Rows, judged: NDArray[np.bool_], seed: int, assays: Mapping[int, str]
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Fit a tier of evidence that needs no mutant structure.

    Parameters
    ----------
    pieces : sequence of str
        Evidence to weigh.
    rows : Rows
    judged : bool array, shape (n,)
        Labelled rows that the tier is calibrated on and measured with.
    seed : int
        Random seed of the folds and the bootstrap.
    assays : mapping of int -> str
        Names of the scans.

    Returns
    -------
    facts : dict
        Entry of calibration.json.
    log_odds : float array, shape (n,)
        Log-odds of each row by a model that has not seen its group; NaN for rows that are neither fitted
        nor tested.
    """
    fit, test = ~rows.kept_out, judged & rows.is_test
    unit = rows.unit[fit]
    fitted = fit_additive(
        {n: rows.evidence[n][fit] for n in pieces}, {n: v[fit] for n, v in rows.views.items()},
        rows.target[fit], rows.weight[fit], rows.linked[fit],
        unit=unit, calibrated_on=judged[fit], seed=seed,
    )  # fmt: skip
    target, labelled = rows.target[fit], unit < 0
    share = float(np.average(target[labelled], weights=rows.weight[fit][labelled]))
    here = np.flatnonzero(fit)[judged[fit]]
    p, label = fitted.p[judged[fit]], rows.target[here]
    weight = match_share(label, rows.weight[here], share)
    thresholds = choose_thresholds(p, label, weight, rows.linked[here], seed)
    facts: dict[str, Any] = {
        **_counts(rows, here, int((~labelled).sum())),
        "share_deleterious": round(share, 4),
        "thresholds": thresholds,
        "cross_fitted": {
            "auroc": round(Auroc(p, label > 0)(np.ones(len(p))), 4),
            "auroc_capped": round(Auroc(p, label > 0)(weight), 4),
            "ece": round(calibration_error(p, label, weight), 4),
            "ece_all_rows": round(calibration_error(p, label), 4),
            **ranked_facts(rows, fit, fitted.p, assays),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    log_odds = np.full(len(fit), np.nan)
    log_odds[fit] = logit(fitted.p)
    if test.any():
        log_odds[test] = fitted.model.logit(
            {n: rows.evidence[n][test] for n in pieces},
            {n: v[test].astype(np.float64) for n, v in rows.views.items()},
        )
        lines = [line["p"] for line in thresholds.values()]
        facts["test"] = labelled_facts(expit(log_odds[test]), rows, test, lines, share, seed)
    return facts, log_odds


def built_tier(
    rows: Rows,
    base: NDArray[np.float64],
    evidence: Mapping[str, NDArray[np.float64]],
    judged: NDArray[np.bool_],
    share: float,
    builder: str,
    seed: int,
) -> dict[str, Any]:
    """Fit the tier of built mutants on top of the structure tier.

    Parameters
    ----------
    rows : Rows
    base : float array, shape (n,)
        Log-odds of the structure tier.
    evidence : mapping of name -> float array, shape (n,)
        Evidence of built mutants.
    judged : bool array, shape (n,)
        Rows with a built mutant and coordinates at the site.
    share : float
        Share of deleterious variants that the probability assumes.
    builder : str
        Backend that built the mutants.
    seed : int
        Random seed of the folds and the bootstrap.
    """
    fit, test = judged & ~rows.kept_out, judged & rows.is_test
    weighed = {name: evidence[name] for name in WEIGHED}
    unit = rows.unit[fit]
    weight = protein_weights(rows.protein[fit], BUILT_CAP) * np.where(unit < 0, 1.0, RANKED_WEIGHT)
    fitted = fit_built(
        base[fit], {name: x[fit] for name, x in weighed.items()}, rows.target[fit], weight,
        rows.linked[fit], unit=unit, share=share, seed=seed,
    )  # fmt: skip
    labelled = unit < 0
    here = np.flatnonzero(fit)[labelled]
    p, label, group = fitted.p[labelled], rows.target[here], rows.linked[here]
    capped = match_share(label, weight[labelled], share)
    thresholds = choose_thresholds(p, label, capped, group, seed)
    before = expit(base)
    facts: dict[str, Any] = {
        **_counts(rows, here, int((~labelled).sum())),
        "share_deleterious": share,
        "builder": builder,
        "base": {"tier": "structure", "slope": round(fitted.slope, 5)},
        "thresholds": thresholds,
        "cross_fitted": {
            **gain_facts(p, before[here], label, group, capped, seed),
            "ece": round(calibration_error(p, label, capped), 4),
            "ece_structure": round(calibration_error(before[here], label, capped), 4),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    if test.any():
        after = expit(fitted.logit(base[test], {name: x[test] for name, x in weighed.items()}))
        lines = [line["p"] for line in thresholds.values()]
        label, group = rows.target[test], rows.linked[test]
        capped = match_share(label, protein_weights(rows.protein[test]), share)
        facts["test"] = {
            **labelled_facts(after, rows, test, lines, share, seed),
            **gain_facts(after, before[test], label, group, capped, seed),
            "ece_structure": round(calibration_error(before[test], label, capped), 4),
        }
    return facts


def _counts(rows: Rows, here: NDArray[np.int64], n_ranked: int) -> dict[str, int]:
    return {
        "n": len(here),
        "n_deleterious": int(rows.target[here].sum()),
        "n_proteins": len(np.unique(rows.protein[here])),
        "n_groups": len(np.unique(rows.linked[here])),
        "n_ranked": n_ranked,
    }
