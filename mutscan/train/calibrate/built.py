"""Fit the tier for built mutants: what they tell on top of the structure tier's log-odds.

Built mutants are few and dear beside rows that need a sequence alone, so this tier learns no evidence
anew that the structure tier has: it takes that tier's log-odds as they are, and adds a short curve for
each piece of `mutscan.evidence.built`. The fit is a penalised logistic regression; as in
`mutscan.train.calibrate.additive`, rows of scans and stability tables are compared within their protein.
Two numbers then make the sum a probability. (A slope of the log-odds fitted beside the curves cost 0.005 to
0.01 of AUROC: groups are few, and folds disagreed about it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.linalg import solve
from scipy.special import expit

from mutscan.evidence.additive import AdditiveModel, Curve, between
from mutscan.train.calibrate.additive import folds_of, match_share

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

BUILT_CAP: Final = 12
"""Built mutants of one protein weigh no more than so many of a protein with fewer."""

WEIGHED: Final = (
    "built_lddt_drop",
    "built_site_shift",
    "built_room",
    "built_contacts_change",
)
"""Pieces of `BUILT_EVIDENCE` that are weighed.

One or two of each kind: movement, fit, contacts. All of them at once learn the proteins by heart; the drop
of the TM-score, a mean over the protein, is the larger the smaller the protein is; and what the wild type's
atoms tell (contacts, accessibility) is told by no mutant.
"""

N_FOLDS: Final = 5
_STEPS: Final = 50


@dataclass(frozen=True, slots=True)
class BuiltSettings:
    """How much is let vary; penalties in units of rows.

    Parameters
    ----------
    knots : int
        Of each curve.
    bend : float
        Penalty on second differences of a curve.
    size : float
        On a curve's values.
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
        What the structure tier's log-odds count for.
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
        Of built mutants; NaN where not known.
    target : float array, shape (n,)
        1 for deleterious, 0 for neutral; in a unit anything between, higher = worse.
    weight : float array, shape (n,)
    group : int array, shape (n,)
        Rows of a group stay in one fold.
    unit : int array, shape (n,)
        Rows of one number are compared with each other only; -1 for labelled rows.
    share : float
        Share of harm among labelled rows, which the probability is to be made for.
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
        beta = _penalised(x[rows], base[rows], target[rows], weight[rows], design.penalty)
        w = weight * (rows & labelled)
        return beta[: design.constant], w @ x[:, : design.constant] / w.sum()

    fold = folds_of(group, N_FOLDS, seed)
    held_out = np.empty(len(base))
    for f in range(N_FOLDS):
        out = fold == f
        beta, mean = fit(~out)
        # Constants are left to the two numbers below; units are compared within, and need none.
        held_out[out] = base[out] + (x[out, : design.constant] - mean) @ beta
    # Platt: two numbers, so the sum over the evidence stays a sum.
    line = np.stack([held_out[labelled], np.ones(int(labelled.sum()))], axis=1)
    slope, shift = _penalised(
        line, np.zeros(len(line)), target[labelled], weight[labelled], 1e-9 * np.eye(2)
    ).tolist()
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
        self.knots = {name: _knots(x, settings.knots) for name, x in evidence.items()}
        self.units = np.unique(unit[unit >= 0])
        blocks = []
        self.starts: dict[str, int] = {}
        width = 0
        for name, knots in self.knots.items():
            k = len(knots)
            block = settings.size * np.eye(k + 1)
            if k > 2:
                step = np.diff(np.eye(k), 2, axis=0)
                block[:k, :k] += settings.bend * step.T @ step
            self.starts[name] = width
            width += k + 1
            blocks.append(block)
        self.constant = width
        width += 1 + len(self.units)
        self.penalty = np.full(width, 1e-3) * np.eye(width)
        at = 0
        for block in blocks:
            self.penalty[at : at + len(block), at : at + len(block)] = block
            at += len(block)

    def columns(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        unit: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        x = np.zeros((len(unit), len(self.penalty)))
        for name, knots in self.knots.items():
            start = self.starts[name]
            x[:, start : start + len(knots)] = _hats(evidence[name], knots)
            x[~np.isfinite(evidence[name]), start + len(knots)] = 1.0
        ranked = np.flatnonzero(unit >= 0)
        x[ranked, self.constant + 1 + np.searchsorted(self.units, unit[ranked])] = 1.0
        x[unit < 0, self.constant] = 1.0
        return x

    def model(self, beta: NDArray[np.float64], mean: NDArray[np.float64], shift: float) -> AdditiveModel:
        """Curves, each centred on its mean over the labelled rows."""
        curves = {}
        for name, knots in self.knots.items():
            part = slice(self.starts[name], self.starts[name] + len(knots) + 1)
            centre = float(beta[part] @ mean[part])
            curves[name] = Curve(knots, beta[part][:-1] - centre, float(beta[part][-1]) - centre)
        return AdditiveModel(shift, curves, {})


def _knots(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(1)
    return np.unique(np.quantile(known, np.linspace(0.02, 0.98, count)))


def _hats(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.zeros((len(values), len(knots)))
    known = np.flatnonzero(np.isfinite(values))
    low, share = between(values[known], knots)
    out[known, low] = 1.0 - share
    if len(knots) > 1:
        out[known, low + 1] += share
    return out


def _penalised(
    x: NDArray[np.float64],
    base: NDArray[np.float64],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    penalty: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Penalised logistic regression with an offset, by Newton's method; targets may be fractions."""
    beta = np.zeros(x.shape[1])
    for _ in range(_STEPS):
        p = expit(base + x @ beta)
        slope = x.T @ (weight * (p - target)) + penalty @ beta
        curvature = (x * (weight * np.maximum(p * (1 - p), 1e-4))[:, None]).T @ x + penalty
        step = solve(curvature, slope, assume_a="pos")
        beta -= np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < 1e-6:
            break
    return beta
