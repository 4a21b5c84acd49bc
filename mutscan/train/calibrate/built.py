"""Fit the tier of built mutants: short curves that are added to the structure tier's log-odds.

Built mutants are few and expensive, so this tier does not fit the structure tier's evidence again: it
takes that tier's log-odds as an offset and adds a curve for each piece of `mutscan.evidence.built`. The
fit is a penalised logistic regression. As in `mutscan.train.calibrate.additive`, rows of scans and
stability tables are compared within their protein. Platt scaling turns the sum into a probability.
(Fitting a slope of the log-odds together with the curves cost 0.005 to 0.01 of AUROC: there are few
groups, and the folds disagreed about it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import expit

from mutscan.evidence.additive import AdditiveModel
from mutscan.train.statistics.classifier import match_share
from mutscan.train.statistics.fits import (
    N_FOLDS,
    Blocks,
    curve_of,
    curve_penalty,
    folds_of,
    knots_of,
    logistic,
    platt,
    put_curve,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BUILT_CAP: Final = 12
"""All built mutants of one protein together weigh at most as much as this many."""

WEIGHED: Final = (
    "built_lddt_drop",
    "built_site_shift",
    "built_room",
    "built_contacts_change",
)
"""Pieces of `BUILT_EVIDENCE` that are weighed.

One or two of each kind: movement, fit, contacts. All pieces together overfit the proteins. The drop of
the TM-score is a mean over the protein, so it is larger in smaller proteins. Contacts and accessibility
of the wild type need no mutant.
"""


@dataclass(frozen=True, slots=True)
class BuiltSettings:
    """Knots and penalties of the fit; penalties in units of rows.

    Parameters
    ----------
    knots : int
        Knots of each curve.
    bend : float
        Penalty on second differences of a curve.
    size : float
        Penalty on the values of a curve.
    """

    knots: int = 4
    bend: float = 10.0
    size: float = 10.0


@dataclass(frozen=True, eq=False)
class FittedBuilt:
    """A fitted tier.

    Parameters
    ----------
    slope : float
        Factor of the structure tier's log-odds.
    model : AdditiveModel
        What is added to them.
    p : float array, shape (n,)
        Probability of each row by models that have not seen its group.
    """

    slope: float
    model: AdditiveModel
    p: NDArray[np.float64]

    def logit(
        self, base: NDArray[np.float64], evidence: Mapping[str, NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Log-odds of harm, shape (n,), from the structure tier's and the evidence of built mutants."""
        return self.slope * base + self.model.logit(evidence, {})


def fit_built(
    base: NDArray[np.float64],
    evidence: Mapping[str, NDArray[np.float64]],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    *,
    unit: NDArray[np.int64],
    share: float,
    settings: BuiltSettings | None = None,
    seed: int = 0,
) -> FittedBuilt:
    """Fit slope, curves and calibration.

    Parameters
    ----------
    base : float array, shape (n,)
        The structure tier's log-odds, each by a model that has not seen the row's group.
    evidence : mapping of name -> float array, shape (n,)
        Evidence of built mutants; NaN where not known.
    target : float array, shape (n,)
        1 for deleterious, 0 for neutral; inside a unit any number from 0 to 1, higher is worse.
    weight : float array, shape (n,)
    group : int array, shape (n,)
        Rows of a group stay in one fold.
    unit : int array, shape (n,)
        Rows of one number are compared only with each other; -1 for labelled rows.
    share : float
        Share of deleterious variants that the probability assumes.
    settings : BuiltSettings, optional
    seed : int
        Of the folds.
    """
    settings = settings or BuiltSettings()
    labelled = unit < 0
    weight = weight.copy()
    weight[labelled] = match_share(target[labelled], weight[labelled], share)
    design = _Design(evidence, unit, settings)
    x = design.columns(evidence, unit)

    def fit(rows: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Coefficients of the curves, and the mean of their columns over labelled rows."""
        beta = logistic(x[rows], target[rows], weight[rows], design.penalty, offset=base[rows])
        w = weight * (rows & labelled)
        return beta[: design.constant], w @ x[:, : design.constant] / w.sum()

    fold = folds_of(group, N_FOLDS, seed)
    held_out = np.empty(len(base))
    for f in range(N_FOLDS):
        out = fold == f
        beta, mean = fit(~out)
        # Constants are left to the Platt scaling; units are compared within and need none.
        held_out[out] = base[out] + (x[out, : design.constant] - mean) @ beta
    # Platt scaling keeps the sum over the evidence a sum.
    slope, shift = platt(held_out[labelled], target[labelled], weight[labelled])
    beta, mean = fit(np.ones(len(base), dtype=np.bool_))
    model = design.model(slope * beta, mean, shift)
    return FittedBuilt(slope, model, expit(slope * held_out + shift))


class _Design:
    """Columns: hat functions of each piece, a constant for labelled rows, and one for each unit."""

    def __init__(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        unit: NDArray[np.int64],
        settings: BuiltSettings,
    ) -> None:
        self.knots = {name: knots_of(x, settings.knots) for name, x in evidence.items()}
        self.units = np.unique(unit[unit >= 0])
        self.blocks = Blocks()
        for name, knots in self.knots.items():
            self.blocks.add(name, curve_penalty(len(knots), settings.size, settings.bend))
        self.constant = self.blocks.width
        self.penalty = self.blocks.penalty(np.full(1 + len(self.units), 1e-3))

    def columns(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        unit: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        x = np.zeros((len(unit), len(self.penalty)))
        for name, knots in self.knots.items():
            put_curve(x[:, self.blocks.of[name]], evidence[name], knots)
        ranked = np.flatnonzero(unit >= 0)
        x[ranked, self.constant + 1 + np.searchsorted(self.units, unit[ranked])] = 1.0
        x[unit < 0, self.constant] = 1.0
        return x

    def model(self, beta: NDArray[np.float64], mean: NDArray[np.float64], shift: float) -> AdditiveModel:
        """Curves, each centred on its mean over the labelled rows."""
        curves = {}
        for name, knots in self.knots.items():
            part = self.blocks.of[name]
            curves[name] = curve_of(knots, beta[part], float(beta[part] @ mean[part]))
        return AdditiveModel(shift, curves, {})
