"""Choose the figures of an evaluation: model and rival, and the example pair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.scores import tm_score
from mutscan.train.chains.tables import SIMILAR
from mutscan.train.evaluate.example import ExamplePair, draw_example
from mutscan.train.evaluate.figures import (
    Series,
    box_plots,
    drop_scatter,
    error_histogram,
    scatter,
    trend,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.reports.drawing import Drawing
    from mutscan.train.evaluate.baselines import Baseline
    from mutscan.train.evaluate.result import PairEvaluation

_RIVALS: Final = ("tm_vec", "against", "encoder_cosine_calibrated", "encoder_cosine")
"""The rival in the figures: the first of these with predictions."""

_FEWEST: Final = 3  # aligned residues that can be superposed


def draw_evaluation(evaluation: PairEvaluation) -> list[Drawing]:
    """Draw all figures of an evaluation, in the order of the report."""
    rows = evaluation.predictions.natural
    there = evaluation.predictions.residues_of(rows)
    p = evaluation.predictions.take(rows)
    baselines = [baseline.take(rows, there) for baseline in evaluation.baselines]
    name = str(evaluation.metrics["model"]["name"])
    section = evaluation.metrics["pairs"]
    model, other = Series(name, p.tm_predicted - p.tm_score), _rival(baselines, "tm_score", p.tm_score)
    drawings = [
        error_histogram("errors_tm", "TM-score", "pairs", model, other, bins=30),
        box_plots("errors_by_band", p.tm_score, model, other),
        scatter("scatter_tm", "TM-score", p.tm_score, p.tm_predicted, points="pairs"),
        trend(
            "calibration",
            "Calibration",
            section["calibration"],
            "mean_true",
            ("mean predicted TM-score", "mean true TM-score"),
            "Pairs grouped by tenths of the prediction, with 95 % intervals: is the mean true score of pairs "
            "predicted at 0.4 also 0.4? Below the dotted line the prediction is too high.",
        ),
        trend(
            "length_bias",
            "Bias by ratio of lengths",
            section["length_ratio"],
            "bias",
            ("length of chain 2 / length of chain 1", "mean of predicted − true"),
            "Mean TM error where chain 2 is shorter or longer than chain 1, with 95 % intervals; 0 means no "
            "bias.",
        ),
    ]
    if len(p.lddt):
        model, other = Series(name, p.lddt_predicted - p.lddt), _rival(baselines, "lddt", p.lddt)
        drawings += [
            error_histogram("errors_lddt", "lDDT", "residues", model, other, bins=100),
            scatter("scatter_lddt", "lDDT", p.lddt, p.lddt_predicted, points="residues"),
        ]
    if evaluation.drops is not None:
        measured, predicted = evaluation.drops.measured, evaluation.drops.predicted
        drawings += [
            drop_scatter(f"drops_{what}", measured[what], predicted[what], words)
            for what, words in (("chain", "mean over the chain"), ("outside", "outside the site"))
        ]
    example = choose_example(evaluation, rows)
    return drawings + (draw_example(example) if example is not None else [])


def _rival(baselines: list[Baseline], what: str, truth: NDArray[np.float64]) -> Series | None:
    """Errors of the first of `_RIVALS` that predicts a score."""
    there = {baseline.name: baseline for baseline in baselines if getattr(baseline, what) is not None}
    rival = next((there[name] for name in _RIVALS if name in there), None)
    return None if rival is None else Series(rival.label, getattr(rival, what) - truth)


def choose_example(evaluation: PairEvaluation, rows: NDArray[np.int64]) -> ExamplePair | None:
    """Find the pair with TM >= 0.7 whose TM error is nearest the median error; ties by the ids."""
    p, pairs, chains = evaluation.predictions, evaluation.pairs, evaluation.chains
    similar = rows[(p.tm_score[rows] >= SIMILAR) & (pairs.n_aligned[rows] >= _FEWEST)]
    if not len(similar):
        return None
    error = np.abs(p.tm_predicted - p.tm_score)[similar]
    off = np.abs(error - np.median(error))
    nearest = similar[off <= off.min() + 1e-12].tolist()
    row = min(nearest, key=lambda k: (chains.ids[pairs.chain_1[k]], chains.ids[pairs.chain_2[k]]))
    first, second = int(pairs.chain_1[row]), int(pairs.chain_2[row])
    aligned = pairs.aligned[pairs.starts[row] : pairs.starts[row + 1]].astype(np.int64)
    ca_1, ca_2 = chains.ca[first].astype(np.float64), chains.ca[second].astype(np.float64)
    laid = tm_score(ca_1[aligned[:, 0]], ca_2[aligned[:, 1]], normalise_by=len(ca_1), model_length=len(ca_2))
    return ExamplePair(
        chains.ids[first], chains.ids[second], ca_1, ca_2, aligned, laid.rotation, laid.translation
    )
