"""Metrics of an evaluation on pairs, with bootstrap intervals that resample clusters, not pairs.

Tables 2 and 3 of the preprint, and errors by true TM-score, by length and by
the way a pair was picked.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.chains.tables import MUTANT
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Spearman

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BANDS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the five true-TM bands; the last is closed."""

RATIOS: Final = (0.0, 0.5, 0.7, 0.9, 1.1, 1.43, 2.0, np.inf)
"""Edges of the ratio of lengths, chain 2 to chain 1."""

LENGTHS: Final = (0.0, 100.0, 200.0, 300.0, 500.0, np.inf)
"""Edges of the length of chain 1."""

_TENTHS: Final = tuple(np.arange(11) / 10)
_SAME_FOLD: Final = 0.5
_COLLAPSED: Final = 0.1  # spread of the predictions, as a share of the truth's


@dataclass(frozen=True, eq=False)
class PairPredictions:
    """Labels and predictions of n evaluated pairs, with m labelled residues in all.

    Parameters
    ----------
    group : int array, shape (n,)
        Unit of resampling: the cluster of chain 1, or chain 1 where clusters are unknown.
    protein : int array, shape (n,)
        Chain 1.
    lengths : int array, shape (n, 2)
        Residues of chain 1 and chain 2.
    picked_as : str array, shape (n,)
        How the pair was picked; empty where unknown.
    tm_score, tm_predicted : float array, shape (n,)
        Label and prediction, normalised by chain 1.
    tm_score_2, tm_predicted_2 : float array, shape (n,)
        Normalised by chain 2.
    starts : int array, shape (n + 1,)
        Pair k owns the residues ``starts[k]:starts[k + 1]``.
    residue : int array, shape (m,)
        Index in chain 1 of each residue with an lDDT label.
    lddt, lddt_predicted : float array, shape (m,)
    """

    group: NDArray[np.int64]
    protein: NDArray[np.int64]
    lengths: NDArray[np.int64]
    picked_as: NDArray[np.str_]
    tm_score: NDArray[np.float64]
    tm_predicted: NDArray[np.float64]
    tm_score_2: NDArray[np.float64]
    tm_predicted_2: NDArray[np.float64]
    starts: NDArray[np.int64]
    residue: NDArray[np.int64]
    lddt: NDArray[np.float64]
    lddt_predicted: NDArray[np.float64]

    def __len__(self) -> int:
        """Count pairs."""
        return len(self.group)

    @cached_property
    def n_residues(self) -> NDArray[np.int64]:
        """Labelled residues of each pair, shape (n,)."""
        counts: NDArray[np.int64] = np.diff(self.starts)
        return counts

    @cached_property
    def pair_of(self) -> NDArray[np.int64]:
        """The pair each labelled residue belongs to, shape (m,)."""
        return np.repeat(np.arange(len(self)), self.n_residues)

    def residues_of(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labelled residues of the pairs at `pairs` (ascending), as places in `lddt`."""
        chosen = np.zeros(len(self), dtype=np.bool_)
        chosen[pairs] = True
        return np.flatnonzero(chosen[self.pair_of])

    def take(self, pairs: NDArray[np.int64]) -> PairPredictions:
        """Choose the pairs at `pairs`, ascending."""
        residues = self.residues_of(pairs)
        starts = np.concatenate([[0], np.cumsum(self.n_residues[pairs])]).astype(np.int64)
        of_residues = {name: getattr(self, name)[residues] for name in ("residue", "lddt", "lddt_predicted")}
        of_pairs = {
            field.name: getattr(self, field.name)[pairs]
            for field in fields(self)
            if field.name not in ("starts", *of_residues)
        }
        return PairPredictions(**of_pairs, starts=starts, **of_residues)

    @property
    def natural(self) -> NDArray[np.int64]:
        """Rows of the ``pairs`` section: all but mutants, or all if all are mutants."""
        rows = np.flatnonzero(self.picked_as != MUTANT)
        return rows if len(rows) else np.arange(len(self))

    def by_protein(self) -> PairPredictions:
        """Resample reference proteins instead of clusters."""
        return replace(self, group=self.protein)


def pair_metrics(
    predictions: PairPredictions,
    *,
    tm_constant: float,
    lddt_constant: float,
    identity: NDArray[np.float64],
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the ``pairs`` section of metrics.json without baselines; intervals are under ``*_ci``.

    Parameters
    ----------
    predictions : PairPredictions
    tm_constant, lddt_constant : float
        Medians of the labels the model was trained on: the constant baselines.
    identity : float array, shape (n,)
        Sequence identity over the length of chain 1.
    seed : int
        Random seed of the bootstrap.

    Returns
    -------
    dict
        An undefined number (AUROC of one class, correlation of a constant, no similar pair) is None.
    """
    p = predictions
    bootstrap = ClusterBootstrap(p.group, seed=seed)
    rows = np.arange(len(p))
    larger = np.maximum(p.tm_score, p.tm_score_2), np.maximum(p.tm_predicted, p.tm_predicted_2)
    table = {
        "tm": errors(bootstrap, rows, p.tm_score, p.tm_predicted, ranks=True),
        "tm_norm2": errors(bootstrap, rows, p.tm_score_2, p.tm_predicted_2),
        "tm_max": errors(bootstrap, rows, *larger),
        "lddt": lddt_errors(bootstrap, p, p.lddt_predicted, ranks=True),
    }
    bins = partial(binned, bootstrap, rows, p.tm_score, p.tm_predicted)
    tm = with_intervals(table["tm"], "mae", "pearson", "spearman")
    tm |= macro_mae(bootstrap, p.tm_score, p.tm_predicted)
    tm |= bootstrap.measure(f"auroc_{_SAME_FOLD}", Auroc(p.tm_predicted, p.tm_score >= _SAME_FOLD))
    for name, other in (("constant", np.full(len(p), tm_constant)), ("identity", identity)):
        tm |= _renamed(errors(bootstrap, rows, p.tm_score, other), name)
    lddt = with_intervals(table["lddt"], "mae", "mae_per_protein", "pearson")
    lddt |= _renamed(lddt_errors(bootstrap, p, np.full(len(p.lddt), lddt_constant)), "constant")
    return {
        "n": len(p),
        "n_groups": bootstrap.n_groups,
        "n_lddt_pairs": int((p.n_residues > 0).sum()),
        "n_lddt_residues": len(p.lddt),
        "tm": tm | {"constant": tm_constant},
        "lddt": lddt | {"constant": lddt_constant},
        "table": table,
        "bands": bins(p.tm_score, BANDS),
        "calibration": bins(p.tm_predicted, _TENTHS),
        "length_ratio": bins(p.lengths[:, 1] / p.lengths[:, 0], RATIOS),
        "length": bins(p.lengths[:, 0], LENGTHS),
        "picked_as": {str(name): _part(p, str(name), seed) for name in np.unique(p.picked_as) if name},
    }


def with_intervals(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """Choose numbers and their intervals."""
    return {key: values[key] for name in names for key in (name, f"{name}_ci")}


def _renamed(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {f"{name}_mae": values["mae"], f"{name}_mae_ci": values["mae_ci"]}


def _part(predictions: PairPredictions, name: str, seed: int) -> dict[str, Any]:
    """Errors of the pairs that were picked in a given way."""
    p = predictions.take(np.flatnonzero(predictions.picked_as == name))
    bootstrap = ClusterBootstrap(p.group, seed=seed)
    return {
        "n": len(p),
        "n_groups": bootstrap.n_groups,
        "n_lddt_residues": len(p.lddt),
        "tm": errors(bootstrap, np.arange(len(p)), p.tm_score, p.tm_predicted),
        "lddt": lddt_errors(bootstrap, p, p.lddt_predicted),
    }


def errors(
    bootstrap: ClusterBootstrap,
    rows: NDArray[np.int64],
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    *,
    ranks: bool = False,
) -> dict[str, Any]:
    """Rows of the preprint's Tables 2 and 3 for one quantity; an error is predicted - true.

    Parameters
    ----------
    bootstrap : ClusterBootstrap
    rows : int array, shape (m,)
        Row of `bootstrap` each value belongs to.
    truth, predicted : float array, shape (m,)
    ranks : bool
        Also compute Spearman's correlation, which takes longer.

    Returns
    -------
    dict
        ``n``; ``mae mse rmse sd_error sd_abs_error bias pearson r2 spearman`` with intervals (SDs are
        those of the population, ``r2`` is against predicting the mean); ``sd_true sd_predicted
        collapsed``, the last when the predictions spread less than a tenth of the truth.
    """
    error = predicted - truth
    # Centred, because sums of squares of numbers near 1 would lose the digits that matter.
    x = truth - (truth.mean() if len(truth) else 0.0)
    y = predicted - (predicted.mean() if len(truth) else 0.0)
    columns = np.stack([np.ones(len(x)), np.abs(error), error, error**2, x, y, x * x, y * y, x * y])
    result: dict[str, Any] = {"n": len(x)}
    result |= bootstrap.sums(rows, columns).apply(_moments)
    if ranks:
        result |= bootstrap.measure("spearman", Spearman(truth, predicted), rows=rows)
    sd_true, sd_predicted = (float(v.std()) if len(v) else None for v in (x, y))
    result |= {"sd_true": sd_true, "sd_predicted": sd_predicted, "collapsed": None}
    if sd_true is not None and sd_predicted is not None and sd_true > 0:
        result["collapsed"] = sd_predicted < _COLLAPSED * sd_true
    return result


def _moments(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    n, absolute, error, square, x, y, xx, yy, xy = sums
    mae, mse, bias = absolute / n, square / n, error / n
    var_x, var_y, covariance = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2, xy / n - x * y / n**2
    varied = (var_x > 1e-16) & (var_y > 1e-16)
    return {
        "mae": mae,
        "mse": mse,
        "rmse": np.sqrt(mse),
        "sd_error": np.sqrt(np.maximum(mse - bias**2, 0.0)),
        "sd_abs_error": np.sqrt(np.maximum(mse - mae**2, 0.0)),
        "bias": bias,
        "pearson": np.where(varied, covariance / np.sqrt(var_x * var_y), np.nan),
        "r2": np.where(var_x > 1e-16, 1 - mse / var_x, np.nan),
    }


def lddt_errors(
    bootstrap: ClusterBootstrap,
    predictions: PairPredictions,
    predicted: NDArray[np.float64],
    *,
    ranks: bool = False,
) -> dict[str, Any]:
    """`errors` of the lDDT pooled over residues, and ``mae_per_protein``.

    The latter is the mean over reference proteins of the mean over all their residues.
    """
    p = predictions
    result = errors(bootstrap, p.pair_of, p.lddt, predicted, ranks=ranks)
    of_pair = np.bincount(p.pair_of, np.abs(predicted - p.lddt), len(p))
    labelled = np.flatnonzero(p.n_residues)
    proteins, first, place = np.unique(p.protein[labelled], return_index=True, return_inverse=True)
    total, count = (
        np.bincount(place.reshape(-1), values[labelled], len(proteins)) for values in (of_pair, p.n_residues)
    )
    # All pairs of a protein are in one group, so one of its rows gives the group.
    columns = np.stack([np.ones(len(proteins)), total / count])
    sums = bootstrap.sums(labelled[first], columns)
    return result | sums.apply(lambda s: {"mae_per_protein": s[1] / s[0]}) | {"n_proteins": len(proteins)}


def macro_mae(
    bootstrap: ClusterBootstrap, truth: NDArray[np.float64], predicted: NDArray[np.float64]
) -> dict[str, Any]:
    """Mean of the MAEs in the true-TM bands that have pairs; a value for each row of `bootstrap`."""
    inside = one_hot(truth, BANDS)
    sums = bootstrap.sums(np.arange(len(truth)), np.concatenate([inside, inside * np.abs(predicted - truth)]))

    def macro(s: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        count, total = np.split(s, 2)
        return {"macro_mae": np.nansum(total / count, axis=0) / (count > 0).sum(axis=0)}

    return sums.apply(macro)


def binned(
    bootstrap: ClusterBootstrap,
    rows: NDArray[np.int64],
    truth: NDArray[np.float64],
    predicted: NDArray[np.float64],
    by: NDArray[Any],
    edges: Sequence[float],
) -> list[dict[str, Any]]:
    """Errors and means in bins of a third variable; the last bin is closed.

    Returns
    -------
    list of dict
        For each bin ``from to n``, and with intervals ``mae bias mean_true mean_predicted``.
    """
    error = predicted - truth
    columns = np.stack([np.ones(len(error)), np.abs(error), error, truth, predicted])
    result = []
    for low, high, inside in zip(edges, edges[1:], one_hot(by, edges), strict=False):
        sums = bootstrap.sums(rows, columns * inside)
        numbers = sums.apply(
            lambda s: dict(zip(("mae", "bias", "mean_true", "mean_predicted"), s[1:] / s[0], strict=True))
        )
        result.append(
            {"from": low, "to": high if np.isfinite(high) else None, "n": int(inside.sum())} | numbers
        )
    return result


def one_hot(values: NDArray[Any], edges: Sequence[float]) -> NDArray[np.float64]:
    """Mark the bin of each value, shape (bins, n); values outside go to the first or last bin."""
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    marks: NDArray[np.float64] = (place == np.arange(len(edges) - 1)[:, None]).astype(np.float64)
    return marks
