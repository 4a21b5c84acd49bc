"""Fit the tiers of calibration.json, draw their lines, and measure them on rows they were not fitted on.

Every tier is fitted to all rows. Evidence that a row lacks is "missing" in its curves, so a tier for
structures also learns from proteins without one. Tiers share their lines and the prior of scans, since a
verdict must not change only because a structure is given: these are chosen on rows that are each judged by
the best tier that covers them. Tiers with an alignment have lines of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from mutscan.evidence import TIERS, best_tiers, usable
from mutscan.train.calibrate.additive import AdditiveFit
from mutscan.train.calibrate.facts import choose_lines, labelled_facts, line_facts, ranked_facts
from mutscan.train.calibrate.scans import Scans
from mutscan.train.statistics.bootstrap import Auroc
from mutscan.train.statistics.classifier import calibration_error, match_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from mutscan.train.calibrate.additive import Fitted
    from mutscan.train.calibrate.rows import Rows


@dataclass(frozen=True)
class Lines:
    """Log-odds where flags start and end, and what scans add to the log-odds of clinical lists.

    Parameters
    ----------
    deleterious, tolerated : float
    shift : float, optional
        None without scans.
    """

    deleterious: float
    tolerated: float
    shift: float | None


def fewest_of_class(rows: Rows, judged: NDArray[np.bool_]) -> int:
    """Count the labelled rows to fit in the smaller class, among those in the mask `judged`."""
    here = judged & rows.labelled & ~rows.kept_out
    return int(min((here & (rows.truth == label)).sum() for label in (0, 1)))


def additive_fit(pieces: Iterable[str], rows: Rows, seed: int) -> AdditiveFit:
    """Sum up the evidence `pieces` over all rows that are not kept out; `seed` draws the folds."""
    return AdditiveFit(
        {n: rows.evidence[n] for n in pieces}, rows.views, rows.target, rows.weight, rows.linked,
        protein=rows.protein, background=rows.background, fitted=~rows.kept_out, unit=rows.unit, seed=seed,
    )  # fmt: skip


def share_deleterious(rows: Rows) -> float:
    """Share of deleterious variants among the fitted labelled rows, every protein capped."""
    labelled = ~rows.kept_out & rows.labelled
    return float(np.average(rows.target[labelled], weights=rows.weight[labelled]))


def shared_lines(tiers: Mapping[str, Fitted], rows: Rows, assays: Mapping[int, str]) -> dict[str, Lines]:
    """Lines of each tier; tiers with an alignment share theirs, and so do those without."""
    lines: dict[str, Lines] = {}
    for aligned in (False, True):
        names = [name for name in tiers if ("alignment" in TIERS[name]) == aligned]
        if not names:
            continue
        tier_of = best_tiers(names, rows.covered)
        log_odds = np.full(len(tier_of), np.nan)
        for name in names:
            here = tier_of == name
            log_odds[here] = tiers[name].log_odds[here]
        fit = ~rows.kept_out & np.isfinite(log_odds)
        here = np.flatnonzero(fit & rows.labelled)
        label = rows.target[here]
        weight = match_share(label, rows.weight[here], share_deleterious(rows))
        scans = Scans(rows, log_odds, assays)
        upper, lower = choose_lines(log_odds[here], label, weight, scans.safe(fit))
        one = Lines(upper, lower, scans.shift(fit) if scans.known(fit) else None)
        lines |= dict.fromkeys(names, one)
    return lines


def tier_facts(
    name: str, fitted: Fitted, lines: Lines, rows: Rows, assays: Mapping[int, str], seed: int
) -> dict[str, Any]:
    """Entry of a tier in calibration.json: its model and lines, and metrics on the rows that it judges.

    Parameters
    ----------
    name : str
    fitted : Fitted
    lines : Lines
    rows : Rows
    assays : mapping of int -> str
        Names of the scans.
    seed : int
        Random seed of the bootstrap.
    """
    fit, judged = ~rows.kept_out, usable(name, rows.covered) & rows.labelled
    share, test = share_deleterious(rows), judged & rows.is_test
    here = np.flatnonzero(fit & judged)
    p, label = expit(fitted.log_odds[here]), rows.target[here]
    weight = match_share(label, rows.weight[here], share)
    at = {"deleterious": expit(lines.deleterious), "tolerated": expit(lines.tolerated)}
    facts: dict[str, Any] = {
        "n": len(here),
        "n_deleterious": int(label.sum()),
        "n_proteins": len(np.unique(rows.protein[here])),
        "n_groups": len(np.unique(rows.linked[here])),
        "n_ranked": int((fit & ~rows.labelled).sum()),
        "share_deleterious": round(share, 4),
        "thresholds": line_facts(p, label, weight, rows.linked[here], at, seed),
        "cross_fitted": {
            "auroc": round(Auroc(p, label > 0)(np.ones(len(p))), 4),
            "auroc_capped": round(Auroc(p, label > 0)(weight), 4),
            "ece": round(calibration_error(p, label, weight), 4),
            "ece_all_rows": round(calibration_error(p, label), 4),
            **ranked_facts(rows, fit, fitted.log_odds[fit], assays),
        },
        "test": {},
        "model": fitted.model.to_dict(),
    }
    if lines.shift is not None:
        scans = Scans(rows, fitted.log_odds, assays)
        facts["scan"] = scans.facts(fit, lines.deleterious, lines.tolerated, lines.shift)
    if test.any():
        p_test = expit(fitted.log_odds[test])
        facts["test"] = labelled_facts(p_test, rows, test, list(at.values()), share, seed)
    return facts
