"""Fit the additive model: one penalised least-squares fit, then Platt scaling to a probability.

Least squares needs only sums of products over the rows, so cross-fitting takes one pass: the sums of a
fold are subtracted. There are two kinds of rows. Labelled rows say whether a variant is harmful. Rows of
a scan or of a stability table say which substitution of the same protein is worse: the protein's mean is
subtracted, so that they say nothing about the overall level of harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.linalg import solve

from mutscan.additive import AdditiveModel, LinearMap, Table
from mutscan.evidence.sequence import LETTERS
from mutscan.train.statistics.fits import (
    N_FOLDS,
    Blocks,
    curve_of,
    curve_penalty,
    folds_of,
    hats,
    knots_of,
    platt,
    put_curve,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from mutscan.train.labelled.evidence import Background

_KNOTS: Final = 7
_TABLE_KNOTS: Final = 4

CONTEXT: Final = {"site": 24, "near": 8}
"""Principal components of each view that are multiplied with properties of the exchange."""

EXCHANGE: Final = (
    "blosum62",
    "grantham",
    "hydrophobicity_change",
    "volume_change",
    "charge_change",
    "helix_change",
)
"""Properties of the exchange that the principal components are multiplied with."""

TABLES: Final = (
    ("wild_type_residue", "mutant_residue"),
    *(("burial_rank", what) for what in (
        "wild_type_residue", "mutant_residue", "hydrophobicity_change", "volume_change", "charge_change",
    )),
    ("helix", "mutant_residue"),
    ("strand", "mutant_residue"),
    ("handedness", "wild_type_residue"),
    ("burial_rank", "aligned_rank"),
    ("burial_rank", "aligned_entropy_rank"),
)  # fmt: skip
"""Pairs of evidence that also get a joint table."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """Penalties of the additive fit, in units of rows.

    Parameters
    ----------
    bend : float
        Penalty on second differences of a curve.
    size : float
        Penalty on the values of a curve.
    table : float
        Penalty on the values of a table.
    map : float
        Penalty on the weights of a map, for embeddings of variance 1.
    """

    bend: float = 30.0
    size: float = 10.0
    table: float = 200.0
    map: float = 6000.0


class Design:
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
        self.blocks = Blocks()
        for name, knots in self.knots.items():
            bend = 0.0 if name in LETTERS else settings.bend
            self.blocks.add(name, curve_penalty(len(knots), settings.size, bend))
        for name, (_, _, one, other) in self.tables.items():
            self.blocks.add(name, settings.table * np.eye(len(one) * len(other) + 1))
        for view, (mean, _, axes) in self.views.items():
            self.blocks.add(f"context_{view}", settings.map * np.eye(len(mean)))
            for name in self.exchange:
                self.blocks.add(f"context_{view} x {name}", settings.map * np.eye(axes.shape[1]))
        self.width = self.blocks.width + 1  # the last column is the constant, without a penalty
        self.penalty = self.blocks.penalty(np.zeros(1))

    def columns(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.floating]],
        rows: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        n, of = len(rows), self.blocks.of
        out = np.zeros((n, self.width), dtype=np.float32)
        out[:, -1] = 1.0
        for name, knots in self.knots.items():
            put_curve(out[:, of[name]], evidence[name][rows], knots)
        for name, (first, second, one, other) in self.tables.items():
            a, b = evidence[first][rows], evidence[second][rows]
            product = hats(a, one, np.float32)[:, :, None] * hats(b, other, np.float32)[:, None, :]
            part = out[:, of[name]]
            part[:, :-1] = product.reshape(n, -1)
            part[~(np.isfinite(a) & np.isfinite(b)), -1] = 1.0
        for view, (mean, scale, axes) in self.views.items():
            centred = (views[view][rows] - mean).astype(np.float32)
            out[:, of[f"context_{view}"]] = centred / np.float32(scale)
            along = centred @ axes.astype(np.float32)
            for name, (centre, spread) in self.exchange.items():
                what = np.nan_to_num((evidence[name][rows] - centre) / spread).astype(np.float32)
                out[:, of[f"context_{view} x {name}"]] = along * what[:, None]
        return out

    def typical(self, background: Background) -> NDArray[np.float64]:
        """Mean of each column over the sampled substitutions of a protein, shape (width,); constant 0."""
        views = {name: vectors[background.site] for name, vectors in background.views.items()}
        n = len(background.site)
        unknown = np.full(n, np.nan)
        evidence = {name: background.evidence.get(name, unknown) for name in self.knots}
        columns = self.columns(evidence, views, np.arange(n))
        mean: NDArray[np.float64] = columns.mean(axis=0, dtype=np.float64)
        mean[-1] = 0.0
        return mean

    def blocks_of(self, pieces: Collection[str]) -> list[str]:
        """Names of the blocks that need no other evidence than `pieces`."""
        every = {*self.knots}
        return [name for name in self.blocks.of if not (every - {*pieces}) & {*name.split(" x ")}]

    def model(self, beta: NDArray[np.float64], chosen: Collection[str]) -> AdditiveModel:
        """Put coefficients of the chosen blocks into pieces; only differences inside a protein count."""
        of = self.blocks.of
        curves = {
            name: curve_of(knots, beta[of[name]]) for name, knots in self.knots.items() if name in chosen
        }
        tables = {}
        for name, (first, second, one, other) in self.tables.items():
            if name not in chosen:
                continue
            values = beta[of[name]]
            logits = values[:-1].reshape(len(one), len(other))
            tables[name] = Table(first, second, one, other, logits, float(values[-1]))
        maps = {}
        for view, (middle, scale, axes) in self.views.items():
            weights = beta[of[f"context_{view}"]] / scale
            maps[f"context_{view}"] = LinearMap(view, weights, -float(weights @ middle))
            for name, (about, spread) in self.exchange.items():
                if f"context_{view} x {name}" not in chosen:
                    continue
                weights = axes @ beta[of[f"context_{view} x {name}"]] / spread
                maps[f"context_{view} x {name}"] = LinearMap(
                    view, weights, -float(weights @ middle), name, about
                )
        return AdditiveModel(float(beta[-1]), curves, maps, tables)


def _knots(name: str, values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    return np.arange(20, dtype=np.float64) if name in LETTERS else knots_of(values, count)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted tier.

    Parameters
    ----------
    model : AdditiveModel
        With the mean over a protein's substitutions subtracted, its logits are calibrated.
    log_odds : float array, shape (n,)
        Of each row, by a model that has not seen its group.
    """

    model: AdditiveModel
    log_odds: NDArray[np.float64]


class AdditiveFit:
    """Sums over the rows that any choice of evidence can be fitted from.

    The mean over a sample of all substitutions of a protein is subtracted from its rows, so that the fit
    learns which substitutions of a protein harm, and not which proteins.

    Parameters
    ----------
    evidence : mapping of name -> float array, shape (n,)
    views : mapping of name -> float array, shape (n, d)
        Embeddings that maps are fitted to; may be empty.
    label : float array, shape (n,)
        1 for deleterious, 0 for neutral; inside a unit any number from 0 to 1, higher is worse.
    weight : float array, shape (n,)
    group : int array, shape (n,)
        Rows of a group stay in one fold.
    protein : int array, shape (n,)
    background : mapping of protein -> Background
        Sample of its substitutions.
    fitted : bool array, shape (n,), optional
        Rows to fit; the others only get log-odds, by the model of all fitted rows.
    unit : int array, shape (n,), optional
        Rows of one number are compared only with each other; -1 (the default) for labelled rows.
    settings : FitSettings, optional
    seed : int
        Draws the folds.
    """

    def __init__(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.floating]],
        label: NDArray[np.float64],
        weight: NDArray[np.float64],
        group: NDArray[np.int64],
        *,
        protein: NDArray[np.int64],
        background: Mapping[int, Background],
        fitted: NDArray[np.bool_] | None = None,
        unit: NDArray[np.int64] | None = None,
        settings: FitSettings | None = None,
        seed: int = 0,
    ) -> None:
        fit = np.flatnonzero(np.ones(len(label), np.bool_) if fitted is None else fitted)
        unit = np.full(len(label), -1) if unit is None else unit
        labelled = unit < 0
        fold = np.full(len(label), N_FOLDS)  # of the rows not fitted
        fold[fit] = folds_of(group[fit], N_FOLDS, seed)
        self._known = fit[labelled[fit]]
        self._label, self._weight = label, weight
        self._design = design = Design(
            {n: v[fit] for n, v in evidence.items()}, {n: v[fit] for n, v in views.items()},
            settings or FitSettings(),
        )  # fmt: skip
        self._xx = np.zeros((N_FOLDS, design.width, design.width))
        self._xy = np.zeros((N_FOLDS, design.width))
        self._kept: dict[int, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for f in range(N_FOLDS + 1):
            rows = np.flatnonzero(fold == f)
            if not rows.size:
                continue
            proteins, place = np.unique(protein[rows], return_inverse=True)
            typical = np.stack([design.typical(background[p]) for p in proteins.tolist()])
            x = design.columns(evidence, views, rows)
            x -= typical.astype(np.float32)[place]
            self._kept[f] = (rows, x)
            for ranked in (False, True) if f < N_FOLDS else ():
                here = np.flatnonzero(labelled[rows] != ranked)
                if not here.size:
                    continue
                part, w, y = x[here], weight[rows[here]], label[rows[here]]
                if ranked:
                    part, y = _within_units(part, y, w, unit[rows[here]])
                weighted = part * w[:, None].astype(np.float32)
                self._xx[f] += weighted.T @ part
                self._xy[f] += weighted.T @ y

    def of(self, pieces: Collection[str]) -> Fitted:
        """Fit some of the evidence, and its calibration on the labelled rows."""
        design = self._design
        chosen = design.blocks_of(pieces)
        columns = np.concatenate(
            [*(np.arange(design.width)[design.blocks.of[name]] for name in chosen), [design.width - 1]]
        )
        square = np.ix_(columns, columns)
        total = self._xx.sum(axis=0)[square] + design.penalty[square] + 1e-6 * np.eye(len(columns))
        aim = self._xy.sum(axis=0)[columns]
        beta = solve(total, aim, assume_a="pos")
        label = self._label
        score = np.empty(len(label))
        for f, (rows, x) in self._kept.items():
            mine = beta
            if f < N_FOLDS:
                mine = solve(total - self._xx[f][square], aim - self._xy[f][columns], assume_a="pos")
            score[rows] = x @ _spread(mine, columns, design.width)
        # Platt scaling keeps the sum over the evidence a sum.
        known = self._known
        slope, shift = platt(score[known], label[known], self._weight[known])
        whole = _spread(slope * beta, columns, design.width)
        whole[-1] += shift
        return Fitted(design.model(whole, chosen), slope * score + shift)


def _spread(values: NDArray[np.float64], columns: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    whole = np.zeros(width)
    whole[columns] = values
    return whole


def _within_units(
    x: NDArray[np.float32], y: NDArray[np.float64], w: NDArray[np.float64], unit: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Subtract the weighted mean of each unit from its rows."""
    _, place = np.unique(unit, return_inverse=True)
    place = place.reshape(-1)
    share = w / np.bincount(place, w)[place]
    averaging = sparse.csr_array((share, (place, np.arange(len(place)))))
    return x - np.asarray(averaging @ x)[place].astype(np.float32), y - np.asarray(averaging @ y)[place]
