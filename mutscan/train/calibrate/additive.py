"""Fit the additive model: one penalised least-squares fit, and two numbers that make it a probability.

Least squares needs of the rows only sums of products, so cross-fitting costs one pass: the sums of a fold
are taken off. Rows may be of two kinds. Labelled ones say harmful or not; rows of a scan or of a stability
table say which substitution of the same protein is worse: they are compared within their protein alone, by
taking the protein's mean off, and so teach nothing about how harmful anything is in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.linalg import solve

from mutscan.evidence.additive import AdditiveModel, Curve, LinearMap, Table, between
from mutscan.evidence.sequence import LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

N_FOLDS: Final = 5
_KNOTS: Final = 7
_TABLE_KNOTS: Final = 4
_NEWTON_STEPS: Final = 30

CONTEXT: Final = {"site": 24, "near": 8}
"""Directions of each view (its principal components) that the exchange may matter along."""

EXCHANGE: Final = (
    "blosum62",
    "grantham",
    "hydrophobicity_change",
    "volume_change",
    "charge_change",
    "helix_change",
)
"""What of the exchange these directions are multiplied with."""

_BURIED: Final = ("burial_rank", "side_chain_rank")
TABLES: Final = (
    ("wild_type_residue", "mutant_residue"),
    *((burial, what) for burial in _BURIED for what in (
        "wild_type_residue", "mutant_residue", "hydrophobicity_change", "volume_change", "charge_change",
    )),
    ("helix", "mutant_residue"),
    ("strand", "mutant_residue"),
    ("handedness", "wild_type_residue"),
)  # fmt: skip
"""Pieces of evidence that are also weighed together, where both are there."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How much is let vary; penalties in units of rows.

    Parameters
    ----------
    bend : float
        Penalty on second differences of a curve.
    size : float
        On a curve's values themselves.
    table : float
        On a table's values.
    map : float
        On a map's weights, for embeddings of variance 1.
    """

    bend: float = 30.0
    size: float = 10.0
    table: float = 200.0
    map: float = 6000.0


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


class _Design:
    """Columns: hat functions of each piece, products of them for tables, embeddings, and a constant."""

    def __init__(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.floating]],
        settings: FitSettings,
    ) -> None:
        self.knots = {name: _knots(name, values, _KNOTS) for name, values in evidence.items()}
        self.tables = {
            f"{first} x {second}": (
                first, second, _knots(first, evidence[first], _TABLE_KNOTS),
                _knots(second, evidence[second], _TABLE_KNOTS),
            )
            for first, second in TABLES
            if first in evidence and second in evidence
        }  # fmt: skip
        self.exchange = {
            name: (float(np.nanmean(evidence[name])), float(np.nanstd(evidence[name])) or 1.0)
            for name in EXCHANGE
            if name in evidence and np.isfinite(evidence[name]).any()
        }
        self.views = {}
        for view, x in views.items():
            mean = x.mean(axis=0, dtype=np.float64)
            centred = (x - mean).astype(np.float32)
            covariance = (centred.T @ centred).astype(np.float64) / len(x)
            scale = float(np.sqrt(np.trace(covariance) / len(mean))) or 1.0
            values, vectors = np.linalg.eigh(covariance)
            k = min(CONTEXT.get(view, 0), len(mean))
            axes = vectors[:, -k:] / np.sqrt(np.maximum(values[-k:], 1e-12)) if k else vectors[:, :0]
            # An eigenvector's sign is free; fixed, so that the same rows give the same bytes.
            axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
            self.views[view] = (mean, scale, axes)
        blocks = []
        self.starts: dict[str, int] = {}
        width = 0

        def add(name: str, penalty: NDArray[np.float64]) -> None:
            nonlocal width
            self.starts[name] = width
            width += len(penalty)
            blocks.append(penalty)

        for name, knots in self.knots.items():
            k = len(knots)
            block = settings.size * np.eye(k + 1)
            if name not in LETTERS and k > 2:
                step = np.diff(np.eye(k), 2, axis=0)
                block[:k, :k] += settings.bend * step.T @ step
            add(name, block)
        for name, (_, _, one, other) in self.tables.items():
            add(name, settings.table * np.eye(len(one) * len(other) + 1))
        for view, (mean, _, axes) in self.views.items():
            add(f"context_{view}", settings.map * np.eye(len(mean)))
            for name in self.exchange:
                add(f"context_{view} x {name}", settings.map * np.eye(axes.shape[1]))
        self.width = width + 1  # the last is the constant, free
        self.penalty = np.zeros((self.width, self.width))
        for start, block in zip(self.starts.values(), blocks, strict=True):
            self.penalty[start : start + len(block), start : start + len(block)] = block

    def columns(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.floating]],
        rows: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        n = len(rows)
        out = np.zeros((n, self.width), dtype=np.float32)
        out[:, -1] = 1.0
        for name, knots in self.knots.items():
            start, values = self.starts[name], evidence[name][rows]
            out[:, start : start + len(knots)] = _hats(values, knots)
            out[~np.isfinite(values), start + len(knots)] = 1.0
        for name, (first, second, one, other) in self.tables.items():
            a, b = evidence[first][rows], evidence[second][rows]
            product = _hats(a, one)[:, :, None] * _hats(b, other)[:, None, :]
            start, size = self.starts[name], len(one) * len(other)
            out[:, start : start + size] = product.reshape(n, -1)
            out[~(np.isfinite(a) & np.isfinite(b)), start + size] = 1.0
        for view, (mean, scale, axes) in self.views.items():
            start = self.starts[f"context_{view}"]
            centred = (views[view][rows] - mean).astype(np.float32)
            out[:, start : start + len(mean)] = centred / np.float32(scale)
            along = centred @ axes.astype(np.float32)
            for name, (centre, spread) in self.exchange.items():
                start = self.starts[f"context_{view} x {name}"]
                what = np.nan_to_num((evidence[name][rows] - centre) / spread).astype(np.float32)
                out[:, start : start + along.shape[1]] = along * what[:, None]
        return out

    def model(self, beta: NDArray[np.float64], mean: NDArray[np.float64]) -> AdditiveModel:
        """Put coefficients into pieces, each centred on its mean over the labelled rows."""
        intercept = float(beta[-1])

        def part(name: str, size: int) -> tuple[NDArray[np.float64], float]:
            nonlocal intercept
            start = self.starts[name]
            centre = float(beta[start : start + size] @ mean[start : start + size])
            intercept += centre
            return beta[start : start + size], centre

        curves = {}
        for name, knots in self.knots.items():
            values, centre = part(name, len(knots) + 1)
            curves[name] = Curve(knots, values[:-1] - centre, float(values[-1]) - centre)
        tables = {}
        for name, (first, second, one, other) in self.tables.items():
            values, centre = part(name, len(one) * len(other) + 1)
            logits = values[:-1].reshape(len(one), len(other)) - centre
            tables[name] = Table(first, second, one, other, logits, float(values[-1]) - centre)
        maps = {}
        for view, (middle, scale, axes) in self.views.items():
            values, centre = part(f"context_{view}", len(middle))
            weights = values / scale
            maps[f"context_{view}"] = LinearMap(view, weights, -float(weights @ middle) - centre)
            for name, (about, spread) in self.exchange.items():
                start = self.starts[f"context_{view} x {name}"]
                weights = axes @ beta[start : start + axes.shape[1]] / spread
                maps[f"context_{view} x {name}"] = LinearMap(
                    view, weights, -float(weights @ middle), name, about
                )
        return AdditiveModel(intercept, curves, maps, tables)


def _knots(name: str, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    if name in LETTERS:
        return np.arange(20, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(1)
    unique = np.unique(known)
    if len(unique) <= count:
        return unique
    return np.unique(np.quantile(known, np.linspace(0.02, 0.98, count)))


def _hats(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float32]:
    out = np.zeros((len(values), len(knots)), dtype=np.float32)
    known = np.flatnonzero(np.isfinite(values))
    low, share = between(values[known], knots)
    out[known, low] = 1.0 - share
    if len(knots) > 1:
        out[known, low + 1] += share.astype(np.float32)
    return out


def _logistic(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of a weighted logistic regression, by Newton's method."""
    rate = float(w @ y / w.sum())
    design = np.stack([x, np.ones(len(x))], axis=1)
    beta = np.array([0.0, np.log(rate / (1 - rate))])
    for _ in range(_NEWTON_STEPS):
        p = 1.0 / (1.0 + np.exp(-(design @ beta)))
        hessian = (design * (w * p * (1 - p))[:, None]).T @ design
        step = solve(hessian + 1e-9 * np.eye(2), design.T @ (w * (p - y)), assume_a="pos")
        beta -= step
        if float(np.abs(step).max()) < 1e-6:
            break
    return float(beta[0]), float(beta[1])


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
    unit: NDArray[np.int64] | None = None,
    calibrated_on: NDArray[np.bool_] | None = None,
    settings: FitSettings | None = None,
    seed: int = 0,
) -> Fitted:
    """Fit pieces and calibration.

    Parameters
    ----------
    evidence : mapping of name -> float array, shape (n,)
    views : mapping of name -> float array, shape (n, d)
        What maps are fitted to; may be empty.
    label : float array, shape (n,)
        1 for deleterious, 0 for neutral; in a unit anything between, higher = worse.
    weight : float array, shape (n,)
    group : int array, shape (n,)
        Rows of a group stay in one fold.
    unit : int array, shape (n,), optional
        Rows of one number are compared with each other only; -1 (the default) for labelled rows.
    calibrated_on : bool array, shape (n,), optional
        Labelled rows that make the score a probability; all of them when not given. They are weighted so
        that the share of harm is that of all labelled rows: tables differ in which proteins have
        structures, and a probability is not to rise because a structure was given.
    settings : FitSettings, optional
    seed : int
        Of the folds.
    """
    settings = settings or FitSettings()
    unit = np.full(len(label), -1) if unit is None else unit
    labelled = unit < 0
    chosen = labelled if calibrated_on is None else labelled & calibrated_on
    fold = folds_of(group, N_FOLDS, seed)
    design = _Design(evidence, views, settings)
    xx, xy = np.zeros((N_FOLDS, design.width, design.width)), np.zeros((N_FOLDS, design.width))
    mean = np.zeros(design.width)
    kept = {}
    for f in range(N_FOLDS):
        rows = np.flatnonzero(fold == f)
        x = design.columns(evidence, views, rows)
        kept[f] = (rows, x)
        for centred in (False, True):
            here = np.flatnonzero(labelled[rows] != centred)
            if not here.size:
                continue
            part, w, y = x[here], weight[rows[here]], label[rows[here]]
            if centred:
                part, y = _within_units(part, y, w, unit[rows[here]])
            else:
                mean += w @ part
            weighted = part * w[:, None].astype(np.float32)
            xx[f] += weighted.T @ part
            xy[f] += weighted.T @ y
    mean /= weight[labelled].sum()
    total, aim = xx.sum(axis=0) + design.penalty + 1e-6 * np.eye(design.width), xy.sum(axis=0)
    held_out = np.empty(len(label))
    for f, (rows, x) in kept.items():
        held_out[rows] = x @ solve(total - xx[f], aim - xy[f], assume_a="pos")
    # Platt: two numbers, so the sum over the evidence stays a sum.
    share = float(weight[labelled] @ label[labelled] / weight[labelled].sum())
    matched = match_share(label[chosen], weight[chosen], share)
    slope, shift = _logistic(held_out[chosen], label[chosen], matched)
    beta = slope * solve(total, aim, assume_a="pos")
    beta[-1] += shift
    return Fitted(design.model(beta, mean), 1.0 / (1.0 + np.exp(-(slope * held_out + shift))))


def match_share(label: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Weights of labelled rows, shape (n,), of which a given share lies on the deleterious ones."""
    here = float(weight @ label / weight.sum())
    if not 0.0 < here < 1.0:
        return weight
    scaled: NDArray[np.float64] = weight * np.where(label > 0, share / here, (1 - share) / (1 - here))
    return scaled


def _within_units(
    x: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64], unit: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Take each unit's weighted mean off its rows."""
    _, place = np.unique(unit, return_inverse=True)
    place = place.reshape(-1)
    share = w / np.bincount(place, w)[place]
    averaging = sparse.csr_array((share, (place, np.arange(len(place)))))
    return x - np.asarray(averaging @ x)[place].astype(np.float32), y - np.asarray(averaging @ y)[place]
