"""Fit the predicted ddG: curves of inverse folding, residue types and burial, by penalised least squares.

The rows of the benchmarks S669 [1]_ and Ssym [2]_ are kept for testing, and no protein related to
theirs is fitted.

References
----------
.. [1] Pancotti et al., Predicting protein stability changes upon single-point mutation: a thorough comparison
   of the available tools on a new dataset, Brief. Bioinform. 23, bbab555 (2022).
.. [2] Pucci et al., Quantification of biases in predictions of protein stability changes upon mutations,
   Bioinformatics 34, 3659 (2018).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.linalg import solve

from mutscan.evidence import DDG_EVIDENCE, DdgModel
from mutscan.model.inverse_folding import WEIGHTS_SHA256, describe_inverse_folding
from mutscan.train.calibrate.additive import Design, FitSettings
from mutscan.train.chains.relatives import WordIndex, link_clusters
from mutscan.train.statistics.bootstrap import ClusterBootstrap, Spearman, rounded
from mutscan.train.statistics.fits import N_FOLDS, folds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable
    from mutscan.train.statistics.classifier import Statistic

HELD_OUT: Final = ("S669", "SSYM")
"""Sources that are tested on and never fitted."""

PUBLISHED: Final = "ThermoMPNN (Dieckhaus et al., PNAS 121, e2314853121 (2024)): S669 Pearson 0.43"

_FEWEST: Final = 100  # rows of a fit


def fit_ddg(
    table: VariantTable, evidence: Mapping[str, NDArray[np.float64]], *, seed: int, progress: Progress
) -> dict[str, Any] | None:
    """Fit the model of ddG and test it.

    Parameters
    ----------
    table : VariantTable
        ddG, kcal/mol, positive = destabilising. Repeats of a substitution are averaged.
    evidence : mapping of name -> float array, shape (n,)
        At least `DDG_EVIDENCE` of the table's rows. Rows without a backbone take no part.
    seed : int
        Draws the folds and the bootstrap.
    progress : Progress

    Returns
    -------
    dict or None
        Entry ``ddg`` of calibration.json: the model, how it does on proteins that it was not fitted on, and
        what simpler predictions do there. None where too few substitutions are in structures with a
        backbone.
    """
    sequences = table.proteins["sequence"].astype(str).tolist()
    held = np.isin(table.source, HELD_OUT)
    unknown = np.full(len(table), np.nan)
    known = np.isfinite(evidence.get("folding_log_odds", unknown))
    linked = link_clusters(sequences, np.arange(len(sequences)))
    related = _related(sequences, linked, np.unique(table.protein[held]))
    chosen = known & ~held & ~related[table.protein]
    rows, ddg = _averaged(table, chosen)
    if len(rows) < _FEWEST:
        progress.note(
            f"ddG left out: {len(rows)} substitutions in structures with a backbone, {_FEWEST} are needed"
        )
        return None
    group = linked[table.protein]
    fitted = {name: evidence[name][rows] for name in DDG_EVIDENCE}
    every, crossed = np.ones(len(rows), np.bool_), np.empty(len(rows))
    fold = folds_of(group[rows], N_FOLDS, seed)
    for one in np.unique(fold).tolist():
        out = fold == one
        crossed[out] = _fit(fitted, ddg, ~out).sum({name: x[out] for name, x in fitted.items()})
    model, simple = _fit(fitted, ddg, every), _fit({name: fitted[name] for name in _SIMPLE}, ddg, every)
    progress.note(f"ddG: {len(rows):,} substitutions fitted, RMSE {_rmse(crossed, ddg):.2f} kcal/mol")
    test = {}
    for source in HELD_OUT:
        at, truth = _averaged(table, known & (table.source == source))
        if not len(at):
            continue
        here = {name: evidence[name][at] for name in DDG_EVIDENCE}
        predictions = {
            "": model.sum(here),
            "types_and_burial_": simple.sum(here),
            "blosum62_": -evidence["blosum62"][at],
            "constant_": np.full(len(at), ddg.mean()),
        }
        test[source] = _measured(predictions, truth, group[at], table.protein[at], seed)
    return {
        "model": model.model.to_dict(),
        **describe_inverse_folding(),
        "unit": "kcal/mol, positive = destabilising",
        "limits": "single substitutions of the wild type; not antisymmetric, so not for the way back",
        "sources": sorted(set(table.source[chosen].tolist())),
        "cross_fitted": _measured({"": crossed}, ddg, group[rows], table.protein[rows], seed),
        "test": test,
        "published": PUBLISHED,
    }


_SIMPLE: Final = ("wild_type_residue", "mutant_residue", "burial_rank")


def _related(sequences: list[str], linked: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Proteins related to one of `held`, by shared words or by a local alignment, shape (n,)."""
    related = np.isin(linked, linked[held])
    if held.size:
        index = WordIndex([sequences[p] for p in held.tolist()])
        for p in np.flatnonzero(~related).tolist():
            related[p] = index.closest(sequences[p]) is not None
    return related


def _averaged(
    table: VariantTable, chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First row of each distinct substitution, shape (n,), and the mean of its values."""
    rows = np.flatnonzero(chosen)
    keys = np.stack([table.protein[rows], table.index[rows], table.mutant[rows]], axis=1)
    _, first, place = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    return rows[first], np.bincount(place, table.value[rows]) / np.bincount(place)


def _fit(
    evidence: Mapping[str, NDArray[np.float64]], ddg: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> DdgModel:
    part = {name: x[chosen] for name, x in evidence.items()}
    design = Design(part, {}, FitSettings())
    x = design.columns(part, {}, np.arange(int(chosen.sum()))).astype(np.float64)
    beta = solve(x.T @ x + design.penalty, x.T @ ddg[chosen], assume_a="pos")
    return DdgModel(design.model(beta, design.blocks.of), WEIGHTS_SHA256)


def _measured(
    predictions: Mapping[str, NDArray[np.float64]],
    truth: NDArray[np.float64],
    group: NDArray[np.int64],
    protein: NDArray[np.int64],
    seed: int,
) -> dict[str, Any]:
    """Correlations and error of each prediction, with 95 % intervals over groups of related proteins."""
    bootstrap = ClusterBootstrap(group, seed=seed)
    facts: dict[str, Any] = {
        "n": len(truth),
        "n_proteins": len(np.unique(protein)),
        "n_groups": len(np.unique(group)),
    }
    for name, predicted in predictions.items():
        statistics: dict[str, Statistic] = {}
        if np.ptp(predicted) > 0:
            statistics = {
                "pearson": partial(_pearson, predicted, truth),
                "spearman": Spearman(predicted, truth),
            }
        if name != "blosum62_":  # in half-bits
            statistics["rmse"] = partial(_rmse, predicted, truth)
        for what, statistic in statistics.items():
            facts |= bootstrap.measure(f"{name}{what}", statistic)
    return {name: rounded(value) for name, value in facts.items()}


def _pearson(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    (xx, xy), (_, yy) = np.cov(x, y, aweights=w)
    return float(xy / np.sqrt(xx * yy))


def _rmse(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64] | None = None) -> float:
    return float(np.sqrt(np.average((x - y) ** 2, weights=w)))
