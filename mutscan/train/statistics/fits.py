"""Pieces that all fits share: folds, knots and hat functions of curves, penalties, the logistic regression.

The logistic regression takes an offset, fractional targets and a full penalty matrix, none of which
scikit-learn's takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.linalg import solve

from mutscan.additive import Curve, between

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

N_FOLDS: Final = 5
"""Folds of a cross-fitted tier of the calibration."""

_STEPS: Final = 50
_TOLERANCE: Final = 1e-6


def folds_of(group: NDArray[np.int64], n_folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each row, shape (n,), drawn by `seed`: whole groups, folds as even in rows as possible."""
    groups, place, counts = np.unique(group, return_inverse=True, return_counts=True)
    drawn = np.random.default_rng(seed).permutation(len(groups))
    order = drawn[np.argsort(-counts[drawn], kind="stable")]
    filled = np.zeros(n_folds)
    fold = np.empty(len(groups), dtype=np.int64)
    for one in order.tolist():
        fold[one] = int(np.argmin(filled))
        filled[fold[one]] += counts[one]
    return fold[place.reshape(-1)]


def knots_of(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Choose at most `count` knots of a curve: all values where they are few, else their quantiles."""
    unique = np.unique(values[np.isfinite(values)])
    if not unique.size:
        return np.zeros(1)
    if len(unique) <= count:
        return unique
    return np.unique(np.quantile(values[np.isfinite(values)], np.linspace(0.02, 0.98, count)))


def hats(values: NDArray[np.float64], knots: NDArray[np.float64], dtype: DTypeLike) -> NDArray[Any]:
    """Piecewise linear basis on `knots`, shape (n, k): each row sums to 1; all 0 for NaN."""
    out = np.zeros((len(values), len(knots)), dtype=dtype)
    known = np.flatnonzero(np.isfinite(values))
    low, share = between(values[known], knots)
    out[known, low] = 1.0 - share
    if len(knots) > 1:
        out[known, low + 1] += share.astype(dtype)
    return out


def curve_penalty(k: int, size: float, bend: float) -> NDArray[np.float64]:
    """Penalty of a curve's k values and of its value for missing evidence, shape (k + 1, k + 1).

    Parameters
    ----------
    k : int
    size : float
        Penalty on squared values.
    bend : float
        Penalty on squared second differences of the values.
    """
    penalty = size * np.eye(k + 1)
    if k > 2:
        step = np.diff(np.eye(k), 2, axis=0)
        penalty[:k, :k] += bend * step.T @ step
    return penalty


def curve_of(knots: NDArray[np.float64], values: NDArray[np.float64]) -> Curve:
    """Curve of fitted values, the last of them for missing evidence."""
    return Curve(knots, values[:-1], float(values[-1]))


class Blocks:
    """Columns of a design matrix, piece after piece, each piece with a penalty of its own."""

    def __init__(self) -> None:
        self.of: dict[str, slice] = {}
        self.width = 0
        self._penalties: list[NDArray[np.float64]] = []

    def add(self, name: str, penalty: NDArray[np.float64]) -> None:
        """Append the columns of a piece."""
        self.of[name] = slice(self.width, self.width + len(penalty))
        self.width += len(penalty)
        self._penalties.append(penalty)

    def penalty(self, further: NDArray[np.float64]) -> NDArray[np.float64]:
        """Penalty matrix of all pieces, and behind them of columns with the diagonal `further`."""
        whole = np.diag(np.concatenate([np.zeros(self.width), further]))
        for columns, block in zip(self.of.values(), self._penalties, strict=True):
            whole[columns, columns] = block
        return whole


def put_curve(out: NDArray[Any], values: NDArray[np.float64], knots: NDArray[np.float64]) -> None:
    """Fill a curve's columns, shape (n, k + 1): its hat functions, and 1 in the last where NaN."""
    out[:, :-1] = hats(values, knots, out.dtype)
    out[~np.isfinite(values), -1] = 1.0


def logistic(
    x: NDArray[np.float64],
    target: NDArray[np.float64],
    weight: NDArray[np.float64],
    penalty: NDArray[np.float64],
    *,
    offset: NDArray[np.float64] | float = 0.0,
    start: NDArray[np.float64] | None = None,
    longest_step: float = 5.0,
) -> NDArray[np.float64]:
    """Coefficients of a penalised logistic regression, shape (k,), by Newton's method.

    Parameters
    ----------
    x : float array, shape (n, k)
    target : float array, shape (n,)
        0 to 1; fractions are allowed.
    weight : float array, shape (n,)
    penalty : float array, shape (k, k)
    offset : float array, shape (n,), or float
        Log-odds that are added as they are.
    start : float array, shape (k,), optional
        First guess; 0 when not given.
    longest_step : float
        Longest step of a coefficient; for columns of about unit size.
    """
    beta = np.zeros(x.shape[1]) if start is None else start.copy()
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-(offset + x @ beta)))
        slope = x.T @ (weight * (p - target)) + penalty @ beta
        spread = np.maximum(weight * p * (1 - p), 1e-4 * weight)
        curvature = (x * spread[:, None]).T @ x + penalty + 1e-9 * np.eye(len(beta))
        step = solve(curvature, slope, assume_a="pos")
        beta -= np.clip(step, -longest_step, longest_step)
        if float(np.abs(step).max()) < _TOLERANCE:
            break
    return beta


def platt(
    score: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and shift that turn a score into calibrated log-odds (Platt scaling)."""
    rate = float(weight @ label / weight.sum())
    design = np.stack([score, np.ones(len(score))], axis=1)
    start = np.array([0.0, np.log(rate / (1 - rate))])
    # A score may vary little and so need a steep slope: steps are not limited.
    fitted = logistic(design, label, weight, np.zeros((2, 2)), start=start, longest_step=np.inf)
    slope, shift = fitted.tolist()
    return slope, shift
