"""Metrics on mutants: Table 3 of the preprint, and the rank correlation of predicted and measured drops.

A wild type and its mutant differ in one residue, so TM-score and lDDT are
nearly 1, and a constant prediction of 1 has a small absolute error. Users need
the order of the variants, so predicted and measured drops of the lDDT are
compared by rank correlation, over all mutants and within each wild type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.evaluate.baselines import Baseline, significance
from mutscan.train.evaluate.pair_metrics import errors, lddt_errors
from mutscan.train.evaluate.predictions import identical_residues
from mutscan.train.evaluate.significance import MUTANT_MARGINS
from mutscan.train.statistics.bootstrap import ClusterBootstrap, Ranks, Spearman

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.train.chains.tables import Chains, Pairs
    from mutscan.train.evaluate.pair_metrics import PairPredictions

DROPS: Final = {
    "chain": "mean over the chain",
    "site": "at the substituted residue, the worst where there are several",
    "outside": "mean over the chain without the substituted residues and their neighbours",
}
"""Residues over which a drop (1 - lDDT) is taken."""

_FEWEST: Final = 3  # mutants of a wild type that can be ranked


@dataclass(frozen=True, eq=False)
class Drops:
    """1 - lDDT of n mutants; NaN where no labelled residue is left.

    Parameters
    ----------
    measured, predicted : dict of float arrays, shape (n,)
        Drops by the names of `DROPS`.
    """

    measured: dict[str, NDArray[np.float64]]
    predicted: dict[str, NDArray[np.float64]]


def substituted_residues(chains: Chains, pairs: Pairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the residues that differ between wild type and mutant.

    Returns
    -------
    pair, residue : int array, shape (s,)
        The pair, and the residue of chain 1 (0-based).
    """
    changed = np.flatnonzero(identical_residues(chains, pairs) == 0)
    rows = np.repeat(np.arange(len(pairs)), pairs.n_aligned)
    return rows[changed], pairs.aligned[changed, 0].astype(np.int64)


def lddt_drops(predictions: PairPredictions, sites: tuple[NDArray[np.int64], NDArray[np.int64]]) -> Drops:
    """Measure the drops of the mutants, over their labelled residues.

    Parameters
    ----------
    predictions : PairPredictions
        Predictions for mutants only.
    sites : pair, residue
        As `substituted_residues` gives them, with the pair numbers of `predictions`.
    """
    p = predictions
    width = int(p.lengths[:, 0].max(initial=0)) + 2
    key = p.pair_of * width + p.residue
    site_key = sites[0] * width + sites[1]
    at_site = np.isin(key, site_key)
    near = np.isin(key, np.concatenate([site_key - 1, site_key, site_key + 1]))
    everywhere = np.ones(len(key), dtype=np.bool_)
    drops = []
    for lddt in (p.lddt, p.lddt_predicted):
        worst = np.full(len(p), -np.inf)
        np.maximum.at(worst, p.pair_of[at_site], 1 - lddt[at_site])
        drops.append(
            {
                "chain": _mean(1 - lddt, p.pair_of, everywhere, len(p)),
                "site": np.where(np.isfinite(worst), worst, np.nan),
                "outside": _mean(1 - lddt, p.pair_of, ~near, len(p)),
            }
        )
    return Drops(*drops)


def _mean(
    values: NDArray[np.float64], pair_of: NDArray[np.int64], mask: NDArray[np.bool_], n: int
) -> NDArray[np.float64]:
    counts = np.bincount(pair_of[mask], minlength=n)
    total = np.bincount(pair_of[mask], values[mask], n)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def mutant_metrics(predictions: PairPredictions, drops: Drops, *, seed: int = 0) -> dict[str, Any]:
    """Compute the ``mutants`` section of metrics.json; intervals resample wild types.

    Returns
    -------
    dict
        ``n n_wild_types n_residues``; ``tm`` and ``lddt``: rows of Table 3, with ``constant_1``, the
        errors of a constant 1, and ``against_constant_1`` (`compare_errors`); ``drops``: for each of
        `DROPS` the rank correlation ``spearman`` over all mutants and ``spearman_within``, the mean over
        wild types with at least three mutants.
    """
    p = predictions.by_protein()
    bootstrap = ClusterBootstrap(p.group, seed=seed)
    rows = np.arange(len(p))
    constant = Baseline("constant_1", "constant 1", np.ones(len(p)), np.ones(len(p.lddt)))
    compared = significance(p, [constant], margins=MUTANT_MARGINS, seed=seed)
    tm = errors(bootstrap, rows, p.tm_score, p.tm_predicted, ranks=True)
    lddt = lddt_errors(bootstrap, p, p.lddt_predicted)
    tm |= {
        "constant_1": errors(bootstrap, rows, p.tm_score, np.ones(len(p))),
        "against_constant_1": compared["tm"]["constant_1"],
    }
    lddt |= {
        "constant_1": lddt_errors(bootstrap, p, np.ones(len(p.lddt))),
        "against_constant_1": compared["lddt"].get("constant_1"),
    }
    return {
        "n": len(p),
        "n_wild_types": bootstrap.n_groups,
        "n_residues": len(p.lddt),
        "tm": tm,
        "lddt": lddt,
        "drops": {name: _ranking(bootstrap, p, drops, name) for name in DROPS},
    }


def _ranking(bootstrap: ClusterBootstrap, p: PairPredictions, drops: Drops, name: str) -> dict[str, Any]:
    measured, predicted = drops.measured[name], drops.predicted[name]
    known = np.flatnonzero(~np.isnan(measured) & ~np.isnan(predicted))
    measured, predicted = measured[known], predicted[known]
    result: dict[str, Any] = {"n": len(known)}
    for side, values in (("measured", measured), ("predicted", predicted)):
        result[f"mean_{side}"] = float(values.mean()) if len(values) else None
    result |= bootstrap.measure("spearman", Spearman(measured, predicted), rows=known)
    proteins, within = _within(p.protein[known], measured, predicted)
    ranked = ~np.isnan(within)
    # One row of each wild type gives its group: all its mutants are resampled together.
    first = {protein: row for row, protein in zip(known[::-1], p.protein[known][::-1], strict=True)}
    leaders = np.array([first[protein] for protein in proteins[ranked]], dtype=np.int64)
    sums = bootstrap.sums(leaders, np.stack([np.ones(len(leaders)), within[ranked]]))
    result |= sums.apply(lambda s: {"spearman_within": s[1] / s[0]})
    return result | {"n_ranked_wild_types": len(leaders)}


def _within(
    protein: NDArray[np.int64], measured: NDArray[np.float64], predicted: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rank correlation inside each protein; NaN for fewer than three mutants or no variation."""
    proteins, place, counts = np.unique(protein, return_inverse=True, return_counts=True)
    place = place.reshape(-1)

    def centred_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
        # After a shift that separates proteins, ranks over all rows are ranks inside each plus an offset.
        order = Ranks(values).of(np.ones(len(values)))
        ranks = Ranks(place * (2.0 * len(values) + 1.0) + order).of(np.ones(len(values)))
        return ranks - (np.bincount(place, ranks) / counts)[place]

    x, y = centred_ranks(measured), centred_ranks(predicted)
    spread = np.bincount(place, x * x) * np.bincount(place, y * y)
    defined = (counts >= _FEWEST) & (spread > 0)
    values = np.bincount(place, x * y) / np.sqrt(np.where(defined, spread, 1.0))
    return proteins, np.where(defined, values, np.nan)
