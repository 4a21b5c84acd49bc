"""Fit the additive model: linear maps of embeddings by ridge, then curves by penalised logistic regression.

Everything that a later stage learns from is read out of fold: a map is applied to proteins it has not
seen, and so is the whole model before its probabilities are calibrated and its thresholds chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.linalg import solve

from mutscan.evidence.additive import AdditiveModel, Curve, LinearMap
from mutscan.evidence.sequence import LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

N_FOLDS: Final = 5
_KNOTS: Final = 7
_NEWTON_STEPS: Final = 30


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How much is let vary.

    Parameters
    ----------
    bend : float
        Penalty on second differences of a curve.
    size : float
        Penalty on the curves' logits themselves.
    ridge : float
        Of the maps, as a share of the mean variance of an embedding's numbers, times the rows' weight.
    """

    bend: float = 20.0
    size: float = 2.0
    ridge: float = 1.0


def folds_of(group: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row, shape (n,): whole groups, as even in rows as groups allow, drawn by `seed`."""
    groups, place, counts = np.unique(group, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(groups))
    order = drawn[np.argsort(-counts[drawn], kind="stable")]
    filled = np.zeros(n_folds)
    fold = np.empty(len(groups), dtype=np.int64)
    for one in order.tolist():
        fold[one] = int(np.argmin(filled))
        filled[fold[one]] += counts[one]
    return fold[place.reshape(-1)]


@dataclass(frozen=True, eq=False)
class _Moments:
    """Weighted sums that a ridge fit needs; those of folds add up."""

    weight: float
    x: NDArray[np.float64]
    y: float
    xx: NDArray[np.float64]
    xy: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[np.floating], y: NDArray[np.float64], w: NDArray[np.float64]) -> _Moments:
        weighted = (x * w[:, None]).astype(np.float32)
        xx = (weighted.T @ x.astype(np.float32)).astype(np.float64)
        return cls(float(w.sum()), weighted.sum(axis=0, dtype=np.float64), float(w @ y), xx, weighted.T @ y)

    @classmethod
    def total(cls, parts: Sequence[_Moments]) -> _Moments:
        return cls(
            sum(p.weight for p in parts),
            np.sum([p.x for p in parts], axis=0),
            sum(p.y for p in parts),
            np.sum([p.xx for p in parts], axis=0),
            np.sum([p.xy for p in parts], axis=0),
        )

    def solve(self, ridge: float) -> tuple[NDArray[np.float64], float]:
        """Weights (d,) and offset of the line that predicts the label, in units of a logit's order."""
        mean, rate = self.x / self.weight, self.y / self.weight
        covariance = self.xx / self.weight - np.outer(mean, mean)
        penalty = ridge * float(np.trace(covariance)) / len(mean)
        beta = solve(
            covariance + penalty * np.eye(len(mean)), self.xy / self.weight - rate * mean, assume_a="pos"
        )
        beta = beta / max(rate * (1 - rate), 1e-6)  # linear discriminant: slope of the logit at the mean
        return beta, -float(mean @ beta)


def fit_maps(
    views: Mapping[str, NDArray[np.floating]],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    fold: NDArray[np.int64],
    ridge: float,
) -> tuple[dict[str, LinearMap], dict[str, NDArray[np.float64]]]:
    """Fit one linear map to each view of the embedding.

    Returns
    -------
    maps : dict of name -> LinearMap
        ``context_<view>``, from all rows.
    read : dict of name -> float array, shape (n,)
        Each row by the map of the other folds.
    """
    maps, read = {}, {}
    for view, x in views.items():
        parts = {f: _Moments.of(x[fold == f], label[fold == f], weight[fold == f]) for f in np.unique(fold)}
        values = np.empty(len(label))
        for f in parts:
            beta, offset = _Moments.total([p for g, p in parts.items() if g != f]).solve(ridge)
            values[fold == f] = x[fold == f] @ beta + offset
        beta, offset = _Moments.total(list(parts.values())).solve(ridge)
        maps[f"context_{view}"] = LinearMap(view, beta, offset)
        read[f"context_{view}"] = values
    return maps, read


class _Basis:
    """Columns of the design: hat functions of each piece of evidence, and one for what is missing."""

    def __init__(self, evidence: Mapping[str, NDArray[np.float64]], settings: FitSettings) -> None:
        self.knots = {name: _knots(name, values) for name, values in evidence.items()}
        widths = [len(knots) + 1 for knots in self.knots.values()]
        self.starts = np.concatenate([[0], np.cumsum(widths)])
        penalty = np.zeros((self.starts[-1] + 1, self.starts[-1] + 1))
        for start, (name, knots) in zip(self.starts[:-1], self.knots.items(), strict=True):
            k = len(knots)
            block = settings.size * np.eye(k + 1)
            if name not in LETTERS and k > 2:
                step = np.diff(np.eye(k), 2, axis=0)
                block[:k, :k] += settings.bend * step.T @ step
            penalty[start : start + k + 1, start : start + k + 1] = block
        self.penalty = penalty  # last row: the intercept, free

    def design(self, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float32]:
        n = len(next(iter(evidence.values())))
        columns = np.zeros((n, self.starts[-1] + 1), dtype=np.float32)
        columns[:, -1] = 1.0
        rows = np.arange(n)
        for start, (name, knots) in zip(self.starts[:-1], self.knots.items(), strict=True):
            values = evidence[name]
            known = np.isfinite(values)
            k = len(knots)
            columns[~known, start + k] = 1.0
            if k == 1:
                columns[known, start] = 1.0
                continue
            x = np.clip(np.where(known, values, knots[0]), knots[0], knots[-1])
            left = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, k - 2)
            share = (x - knots[left]) / (knots[left + 1] - knots[left])
            columns[rows[known], start + left[known]] = (1.0 - share)[known]
            columns[rows[known], start + left[known] + 1] = share[known]
        return columns

    def model(
        self,
        beta: NDArray[np.float64],
        maps: Mapping[str, LinearMap],
        mean: NDArray[np.float64],
    ) -> AdditiveModel:
        """Put coefficients into curves, each centred on its mean over the fitted rows."""
        intercept = float(beta[-1])
        curves = {}
        for start, (name, knots) in zip(self.starts[:-1], self.knots.items(), strict=True):
            k = len(knots)
            part = beta[start : start + k + 1]
            centre = float(part @ mean[start : start + k + 1])
            intercept += centre
            curves[name] = Curve(knots, part[:k] - centre, float(part[k]) - centre)
        return AdditiveModel(intercept, curves, {n: m for n, m in maps.items() if n in curves})


def _knots(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if name in LETTERS:
        return np.arange(20, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(1)
    unique = np.unique(known)
    if len(unique) <= _KNOTS:
        return unique
    return np.unique(np.quantile(known, np.linspace(0.02, 0.98, _KNOTS)))


def _logistic(
    x: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64], penalty: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Penalised weighted logistic regression by Newton's method."""
    rate = float(w @ y / w.sum())
    beta = np.zeros(x.shape[1])
    beta[-1] = np.log(rate / (1 - rate))
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-(x @ beta)))
        gradient = x.T @ (w * (p - y)) + penalty @ beta
        curvature = w * p * (1 - p)
        hessian = (x * curvature[:, None].astype(np.float32)).T @ x + penalty
        step = solve(hessian + 1e-4 * np.eye(len(beta)), gradient, assume_a="pos")
        beta -= step
        if float(np.abs(step).max()) < 1e-4:
            break
    return beta


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted tier.

    Parameters
    ----------
    model : AdditiveModel
        Its logits are calibrated.
    p : float array, shape (n,)
        Probability of each row by models that have not seen its group.
    """

    model: AdditiveModel
    p: NDArray[np.float64]


def fit_additive(
    evidence: Mapping[str, NDArray[np.float64]],
    views: Mapping[str, NDArray[np.floating]],
    label: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    *,
    settings: FitSettings | None = None,
    seed: int = 0,
) -> Fitted:
    """Fit maps, curves and calibration.

    Parameters
    ----------
    evidence : mapping of name -> float array, shape (n,)
    views : mapping of name -> float array, shape (n, d)
        What maps are fitted to; may be empty.
    label : float array, shape (n,)
        1 for deleterious, 0 for neutral.
    weight : float array, shape (n,)
    group : int array, shape (n,)
        Rows of a group stay in one fold.
    settings : FitSettings, optional
    seed : int
        Of the folds.
    """
    settings = settings or FitSettings()
    fold = folds_of(group, N_FOLDS, seed)
    maps, read = fit_maps(views, label, weight, fold, settings.ridge)
    everything = {**evidence, **read}
    basis = _Basis(everything, settings)
    x = basis.design(everything)
    held_out = np.empty(len(label))
    for f in range(N_FOLDS):
        rest = fold != f
        beta = _logistic(x[rest], label[rest], weight[rest], basis.penalty)
        held_out[~rest] = x[~rest] @ beta
    # Platt: two numbers, so the sum over the evidence stays a sum.
    line = np.stack([held_out, np.ones(len(label))], axis=1).astype(np.float32)
    slope, shift = _logistic(line, label, weight, np.zeros((2, 2)))
    beta = slope * _logistic(x, label, weight, basis.penalty)
    beta[-1] += shift
    mean = (weight @ x) / weight.sum()
    p = 1.0 / (1.0 + np.exp(-(slope * held_out + shift)))
    return Fitted(basis.model(beta, maps, mean.astype(np.float64)), p)
