"""Baselines on the same rows: constants, sequence identity, the encoder alone, TM-Vec."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.evaluate.pair_metrics import errors, lddt_errors, macro_mae, with_intervals
from mutscan.train.evaluate.predictions import compare_by_cosine, identical_residues
from mutscan.train.evaluate.significance import MARGINS, Errors, compare_errors
from mutscan.train.statistics.bootstrap import ClusterBootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.chains.tables import Chains, Pairs
    from mutscan.train.evaluate.pair_metrics import PairPredictions
    from mutscan.train.evaluate.predictions import LabelledResidues, VectorTable

CALIBRATION_CHAINS: Final = 200
"""Number of chains of training pairs that calibrate the encoder's cosines."""

_SHOWN: Final = ("mae", "rmse", "bias", "pearson")


@dataclass(frozen=True, eq=False)
class Baseline:
    """A predictor that the model is compared with.

    Parameters
    ----------
    name : str
        Key in metrics.json, suffix of its columns in predictions.parquet.
    label : str
        Name in tables and figures.
    tm_score : float array, shape (n,), optional
        Predictions for the pairs; None if it predicts no TM-score.
    lddt : float array, shape (m,), optional
        Predictions for the labelled residues.
    not_run : str
        Reason why there are no predictions.
    about : dict, optional
        Its constants or coefficients.
    """

    name: str
    label: str
    tm_score: NDArray[np.float64] | None = None
    lddt: NDArray[np.float64] | None = None
    not_run: str = ""
    about: dict[str, Any] | None = None

    def take(self, pairs: NDArray[np.int64], residues: NDArray[np.int64]) -> Baseline:
        """Choose pairs and residues."""
        return replace(
            self,
            tm_score=None if self.tm_score is None else self.tm_score[pairs],
            lddt=None if self.lddt is None else self.lddt[residues],
        )


def trivial_baselines(
    chains: Chains, pairs: Pairs, residues: LabelledResidues, *, tm_constant: float, lddt_constant: float
) -> list[Baseline]:
    """Constant 1, the constant medians of the training labels, sequence identity.

    As prediction of the TM-score, identity is divided by the length of chain 1; as prediction of the lDDT
    of all residues of a pair, by the number of aligned residues.
    """
    n, m = len(pairs), len(residues.lddt)
    same = identical_residues(chains, pairs)
    counts = np.bincount(np.repeat(np.arange(n), pairs.n_aligned), same, n)
    over_chain = counts / chains.lengths[pairs.chain_1]
    over_aligned = counts / np.maximum(pairs.n_aligned, 1)
    medians = {"tm": tm_constant, "lddt": lddt_constant}
    return [
        Baseline("constant_1", "constant 1", np.ones(n), np.ones(m), about={"tm": 1.0, "lddt": 1.0}),
        Baseline(
            "constant_median",
            "constant, training median",
            np.full(n, tm_constant),
            np.full(m, lddt_constant),
            about=medians,
        ),
        Baseline("identity", "sequence identity", over_chain, over_aligned[residues.pair_of]),
    ]


@dataclass(frozen=True, slots=True)
class Line:
    """A linear calibration: ``intercept + slope * cosine``."""

    slope: float
    intercept: float

    def __call__(self, cosine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrate, and clip to [0, 1] as the model's own predictions are."""
        return np.clip(self.intercept + self.slope * cosine, 0.0, 1.0)


def fit_line(cosine: NDArray[np.float64], truth: NDArray[np.float64]) -> Line | None:
    """Least-squares line; None where the cosines do not vary."""
    if len(cosine) < 2 or float(np.std(cosine)) < 1e-9:
        return None
    slope, intercept = np.polyfit(cosine, truth, 1)
    return Line(float(slope), float(intercept))


def calibration_pairs(pairs: Pairs, training: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """Choose training pairs that use few chains: all pairs among the chains of the first drawn pairs.

    Parameters
    ----------
    pairs : Pairs
    training : int array
        Pairs whose chains are both in the model's training split.
    seed : int
    """
    order = np.random.default_rng(seed).permutation(training)
    ends = np.stack([pairs.chain_1[order], pairs.chain_2[order]], axis=1).reshape(-1)
    _, first = np.unique(ends, return_index=True)
    chosen = ends[np.sort(first)][:CALIBRATION_CHAINS]
    inside = np.isin(pairs.chain_1[training], chosen) & np.isin(pairs.chain_2[training], chosen)
    return training[inside]


def cosine_baselines(
    vectors: VectorTable,
    pairs: Pairs,
    residues: LabelledResidues,
    lines: tuple[Line | None, Line | None],
    not_calibrated: str,
) -> list[Baseline]:
    """Cosines of the encoder's own embeddings, as they are and calibrated on training pairs.

    Parameters
    ----------
    vectors : VectorTable
        Embeddings and their means.
    pairs, residues
        The evaluated pairs and labelled residues.
    lines : two Line, optional
        Calibrations for TM-score and lDDT.
    not_calibrated : str
        Reason why there is no calibration.
    """
    cosine = compare_by_cosine(vectors, pairs, residues)
    raw = Baseline("encoder_cosine", "encoder cosine, as it is", cosine.tm_score, cosine.lddt)
    label = "encoder cosine, calibrated"
    for_tm, for_lddt = lines
    if for_tm is None:
        return [raw, Baseline("encoder_cosine_calibrated", label, not_run=not_calibrated)]
    about = {
        name: {"slope": line.slope, "intercept": line.intercept}
        for name, line in (("tm", for_tm), ("lddt", for_lddt))
        if line is not None
    }
    local = None if for_lddt is None else for_lddt(cosine.lddt)
    return [raw, Baseline("encoder_cosine_calibrated", label, for_tm(cosine.tm_score), local, about=about)]


def baseline_metrics(
    predictions: PairPredictions, baselines: Sequence[Baseline], *, seed: int = 0
) -> dict[str, Any]:
    """Errors of each baseline: its label, ``tm`` and ``lddt``, or ``not_run`` and why."""
    p = predictions
    bootstrap = ClusterBootstrap(p.group, seed=seed)
    rows = np.arange(len(p))
    result: dict[str, Any] = {}
    for baseline in baselines:
        entry: dict[str, Any] = {"label": baseline.label}
        if baseline.not_run:
            entry["not_run"] = baseline.not_run
        if baseline.about is not None:
            entry["about"] = baseline.about
        if baseline.tm_score is not None:
            entry["tm"] = with_intervals(errors(bootstrap, rows, p.tm_score, baseline.tm_score), *_SHOWN)
            entry["tm"] |= macro_mae(bootstrap, p.tm_score, baseline.tm_score)
            larger = np.maximum(p.tm_score, p.tm_score_2)
            entry["tm_max"] = with_intervals(errors(bootstrap, rows, larger, baseline.tm_score), *_SHOWN)
        if baseline.lddt is not None:
            local = lddt_errors(bootstrap, p, baseline.lddt)
            entry["lddt"] = with_intervals(local, *_SHOWN, "mae_per_protein")
        result[baseline.name] = entry
    return result


def significance(
    predictions: PairPredictions,
    baselines: Sequence[Baseline],
    *,
    margins: Mapping[str, float] = MARGINS,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the model with each baseline by `compare_errors`: ``tm``, and ``lddt`` by means of pairs."""
    p = predictions
    tm = Errors.of_pairs(p.tm_predicted, p.tm_score)
    lddt = Errors.of_residues(p.lddt_predicted, p.lddt, p.pair_of)
    similar = p.group[p.n_residues > 0]
    result: dict[str, Any] = {"tm": {}, "lddt": {}}
    for baseline in baselines:
        if baseline.tm_score is not None:
            other = Errors.of_pairs(baseline.tm_score, p.tm_score)
            result["tm"][baseline.name] = compare_errors(tm, other, p.group, margin=margins["tm"], seed=seed)
        if baseline.lddt is not None and len(p.lddt):
            other = Errors.of_residues(baseline.lddt, p.lddt, p.pair_of)
            result["lddt"][baseline.name] = compare_errors(
                lddt, other, similar, margin=margins["lddt"], seed=seed
            )
    return result
