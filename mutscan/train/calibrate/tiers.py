"""Fit one tier of calibration.json and measure it on rows it was not fitted on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, logit

from mutscan.train.calibrate.additive import fit_additive
from mutscan.train.calibrate.facts import choose_thresholds, labelled_facts, ranked_facts
from mutscan.train.calibrate.scans import Scans
from mutscan.train.statistics.bootstrap import Auroc
from mutscan.train.statistics.classifier import calibration_error, match_share

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
) -> dict[str, Any]:
    """Fit a tier and measure it.

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
    dict
        Entry of calibration.json.
    """
    fit, test = ~rows.kept_out, judged & rows.is_test
    fitted = fit_additive(
        {n: rows.evidence[n] for n in pieces}, rows.views, rows.target, rows.weight, rows.linked,
        protein=rows.protein, background=rows.background, fitted=fit, unit=rows.unit,
        calibrated_on=judged, seed=seed,
    )  # fmt: skip
    labelled = fit & rows.labelled
    share = float(np.average(rows.target[labelled], weights=rows.weight[labelled]))
    here = np.flatnonzero(fit & judged)
    log_odds, label = fitted.log_odds[here], rows.target[here]
    weight = match_share(label, rows.weight[here], share)
    scans = Scans(rows, fitted.log_odds, assays)
    p = expit(log_odds)
    thresholds = choose_thresholds(p, label, weight, rows.linked[here], expit(scans.safe(fit)), seed)
    lines = [line["p"] for line in thresholds.values()]
    facts: dict[str, Any] = {
        **_counts(rows, here, int((fit & ~rows.labelled).sum())),
        "share_deleterious": round(share, 4),
        "thresholds": thresholds,
        "cross_fitted": {
            "auroc": round(Auroc(p, label > 0)(np.ones(len(p))), 4),
            "auroc_capped": round(Auroc(p, label > 0)(weight), 4),
            "ece": round(calibration_error(p, label, weight), 4),
            "ece_all_rows": round(calibration_error(p, label), 4),
            **ranked_facts(rows, fit, fitted.log_odds[fit], assays),
        },
        "test": {},
        **({"scan": scans.facts(fit, *logit(lines))} if scans.known(fit) else {}),
        "model": fitted.model.to_dict(),
    }
    if test.any():
        facts["test"] = labelled_facts(expit(fitted.log_odds[test]), rows, test, lines, share, seed)
    return facts


def _counts(rows: Rows, here: NDArray[np.int64], n_ranked: int) -> dict[str, int]:
    return {
        "n": len(here),
        "n_deleterious": int(rows.target[here].sum()),
        "n_proteins": len(np.unique(rows.protein[here])),
        "n_groups": len(np.unique(rows.linked[here])),
        "n_ranked": n_ranked,
    }
