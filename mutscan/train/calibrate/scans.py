"""How log-odds do on whole scans: the prior of a scan, and the share of substitutions that are flagged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.statistics.fits import logistic

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.train.calibrate.rows import Rows

TOLERATED_HARM: Final = 0.05
"""Largest mean share of a scan's harmful substitutions that may lie at or below the line of ``tolerated``."""


class Scans:
    """Scans with a cut-off between harmful and harmless substitutions; each counts as much as any other.

    Parameters
    ----------
    rows : Rows
    log_odds : float array, shape (n,)
        Of each row, by a model that has not seen its protein's group.
    assays : mapping of protein -> name
    """

    def __init__(self, rows: Rows, log_odds: NDArray[np.float64], assays: Mapping[int, str]) -> None:
        self._rows = rows
        self._assays = assays
        self._scans = {
            protein: (here, log_odds[here], rows.truth[here] < cutoff)
            for protein, cutoff in rows.cutoff.items()
            if (here := np.flatnonzero((rows.protein == protein) & (rows.kind == "dms"))).size
        }

    def known(self, fit: NDArray[np.bool_]) -> bool:
        """Whether a scan with harmful and harmless substitutions is among the rows of a mask."""
        return any(fit[here[0]] and 0 < harm.sum() < len(harm) for here, _, harm in self._scans.values())

    def safe(self, fit: NDArray[np.bool_]) -> float:
        """Log-odds that leave all but `TOLERATED_HARM` of the harmful substitutions above them."""
        parts = [
            (x[harm], harm.sum()) for here, x, harm in self._scans.values() if fit[here[0]] and harm.any()
        ]
        if not parts:
            return np.inf
        values = np.concatenate([x for x, _ in parts])
        weight = np.concatenate([np.full(n, 1.0 / n) for _, n in parts])
        order = np.argsort(values, kind="stable")
        place = np.searchsorted(np.cumsum(weight[order]), TOLERATED_HARM * len(parts))
        return float(values[order][min(int(place), len(values) - 1)])

    def shift(self, fit: NDArray[np.bool_]) -> float:
        """Log-odds to add so that probabilities hold for whole scans, fitted to those in the mask `fit`."""
        kept = [one for one in self._scans.values() if fit[one[0][0]]]
        offset = np.concatenate([x for _, x, _ in kept])
        harmful = np.concatenate([harm for *_, harm in kept]).astype(np.float64)
        weight = np.concatenate([np.full(len(x), 1.0 / len(x)) for _, x, _ in kept])
        constant, free = np.ones((len(offset), 1)), np.zeros((1, 1))
        (shift,) = logistic(constant, harmful, weight, free, offset=offset).tolist()
        return float(shift)

    def facts(self, fit: NDArray[np.bool_], upper: float, lower: float, shift: float) -> dict[str, Any]:
        """Entry ``scan`` of a tier: the shift, and what its lines flag in each scan.

        The means are over the scans among the rows in the mask `fit`. A scan outside (``left_out``) was used
        for nothing.
        """
        assays: dict[str, Any] = {}
        left_out: dict[str, Any] = {}
        for protein, (here, x, harm) in self._scans.items():
            flagged, tolerated = x >= upper, x <= lower
            into = assays if fit[here[0]] else left_out
            into[self._assays[protein]] = {
                "n": len(x),
                "harmful": _mean(harm),
                "flagged": _mean(flagged),
                "precision": _mean(harm[flagged]),
                "recall": _mean(flagged[harm]),
                "harmful_tolerated": _mean(tolerated[harm]),
                "share_tolerated": _mean(tolerated),
            }
        every = list(assays.values())
        means = {
            key: round(float(np.nanmean([one[key] for one in every])), 4) for key in every[0] if key != "n"
        }
        apart = [abs(one["flagged"] - one["harmful"]) for one in every]
        return {
            "shift": round(shift, 5),
            "n_scans": len(every),
            **means,
            "flagged_minus_harmful": round(float(np.mean(apart)), 4),
            "assays": assays,
            "left_out": left_out,
        }


def _mean(mask: NDArray[np.bool_]) -> float:
    return round(float(mask.mean()), 4) if mask.size else float("nan")
