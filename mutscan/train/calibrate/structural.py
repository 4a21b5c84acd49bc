"""Choose the structural flag's threshold on the predicted drop, with labelled variants.

A drop has a meaning only in comparison with other substitutions of the same protein, so the candidates are
robust z and percentiles against each protein's null. Each candidate's threshold leaves the requested share
of the neutral variants below it; the candidate that then finds the most deleterious variants is chosen.
Everything is decided on groups of proteins used for fitting; the test groups are only measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.evidence.structural import DROPS, STEP, turned
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.train.labelled.siamese import LOW_TM, WINDOW, SiameseScorer, draw_variants, score_drawn
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, rounded
from mutscan.train.statistics.classifier import (
    PROTEIN_CAP,
    RESAMPLES,
    match_share,
    portion,
    protein_weights,
    weighted_quantile,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable
    from mutscan.train.statistics.classifier import Statistic

SPECIFICITY: Final = 0.92
"""Specificity of the threshold on fitted variants; 0.90 is promised."""

_FEWEST: Final = 100  # variants of each class that a threshold is chosen on


@dataclass(frozen=True, eq=False)
class Drawn:
    """Labelled variants that went through the Siamese net.

    Parameters
    ----------
    scores : dict of name -> float array, shape (n,)
        `SIAMESE`.
    positive : bool array, shape (n,)
        Deleterious.
    protein, group : int array, shape (n,)
        Protein, and group of related ones.
    length : int array, shape (n,)
        Residues of the protein.
    """

    scores: dict[str, NDArray[np.float64]]
    positive: NDArray[np.bool_]
    protein: NDArray[np.int64]
    group: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        """Count variants."""
        return len(self.positive)

    def take(self, rows: NDArray[np.bool_]) -> Drawn:
        """Choose variants by a mask."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return Drawn(scores, self.positive[rows], self.protein[rows], self.group[rows], self.length[rows])

    def known(self) -> Drawn:
        """Choose the variants with every score; a null without spread gives no z."""
        return self.take(np.all([np.isfinite(self.scores[name]) for name in DROPS], axis=0))


def calibrate_structural(
    loaded: LoadedModel,
    table: VariantTable,
    linked: NDArray[np.int64],
    is_test: NDArray[np.bool_],
    kept_out: NDArray[np.bool_],
    progress: Progress,
    *,
    wanted: int,
    specificity: float,
    work: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Make the ``structural`` entry of calibration.json.

    Parameters
    ----------
    loaded : LoadedModel
    table : VariantTable
        Labelled variants, n of them.
    linked : int array, shape (n,)
        Group of related proteins of each variant.
    is_test, kept_out : bool array, shape (n,)
        Variants of the test groups; these and all variants of their relatives.
    progress : Progress
    wanted : int
        Variants for the choice of the threshold, drawn as whole proteins; half as many are drawn from the
        test groups. Each variant needs a pass of the encoder, each protein 64 more. 0: no rule.
    specificity : float
        Share of neutral variants that the threshold leaves below it.
    work : Path, optional
        Keeps predictions, so that an interrupted run resumes; the user's cache when not given.
    seed : int
        Random seed of the draw, the nulls and the bootstrap.

    Returns
    -------
    dict
        ``threshold`` is None where there is no rule; ``why`` then gives the reason.
    """
    if not wanted:
        return _none("no variant was put through the Siamese net (--siamese 0)")
    work = work / "siamese" if work is not None else cache_dir() / "evaluation"
    work.mkdir(parents=True, exist_ok=True)
    net = file_sha256(loaded.path / WEIGHTS_FILE)
    scorer = SiameseScorer(loaded, work, net, seed=seed)
    draws = [_draw(table, ~kept_out, wanted, seed), _draw(table, is_test, -(-wanted // 2), seed)]
    scores = score_drawn(scorer, table, draws[0] | draws[1], progress)
    lengths = table.proteins["sequence"].astype(str).str.len().to_numpy().astype(np.int64)[table.protein]
    everything = Drawn(scores, table.value > 0, table.protein, linked, lengths)
    usual = protein_weights(table.protein[~kept_out])
    share = float(np.average(table.value[~kept_out], weights=usual)) if usual.size else 0.0
    fit, test = (everything.take(draw) for draw in draws)
    facts = structural_facts(fit, test, share, specificity, seed)
    return facts | {"net_sha256": net, "encoder_precision": loaded.encoder.precision, "seed": seed}


def _draw(table: VariantTable, eligible: NDArray[np.bool_], wanted: int, seed: int) -> NDArray[np.bool_]:
    """Mark the rows that `draw_variants` takes of the eligible ones, whatever the order of the file."""
    ordered = table.take(eligible).in_order()
    return np.isin(table.line, ordered.line[draw_variants(ordered, wanted, seed=seed)])


def structural_facts(fit: Drawn, test: Drawn, share: float, specificity: float, seed: int) -> dict[str, Any]:
    """Choose score and threshold on `fit`, measure them on both.

    Parameters
    ----------
    fit, test : Drawn
    share : float
        Share of deleterious variants that precision assumes.
    specificity : float
    seed : int
        Random seed of the bootstrap over groups.

    Returns
    -------
    dict
        The entry without the hash of the net and the encoder's precision.
    """
    fit, test = fit.known(), test.known()
    fewest = min(int(fit.positive.sum()), int((~fit.positive).sum()))
    if fewest < _FEWEST:
        return _none(f"{fewest} variants of one class with predictions, {_FEWEST} are needed")
    judges = [_Measure(part, share, seed) for part in (fit, test)]
    candidates = {}
    for name in DROPS:
        drop = turned(name, fit.scores[name])
        line = threshold_at(drop[~fit.positive], judges[0].weight[~fit.positive], specificity)
        candidates[name] = {"threshold": line, **judges[0].rule(drop >= line), **judges[0].area(drop)}
    best = max(candidates, key=lambda name: candidates[name]["sensitivity"])
    chosen = candidates[best]
    facts: dict[str, Any] = {
        "score": best,
        "what": f"{DROPS[best]} of the prediction against the protein's own null of 64 substitutions; "
        "disturbed from the threshold up",
        **chosen,
        **judges[0].counts(),
        "share_deleterious": round(share, 4),
        "protein_cap": PROTEIN_CAP,
        "candidates": candidates,
        "test": {},
        "low_tm_rule": {"tm_below": LOW_TM, "fit": judges[0].low_tm(), "test": None},
    }
    if test.positive.any() and not test.positive.all():
        measured = {}
        for name, part in candidates.items():
            drop = turned(name, test.scores[name])
            measured[name] = judges[1].rule(drop >= part["threshold"]) | judges[1].area(drop)
        facts["test"] = {**measured[best], **judges[1].counts(), "candidates": measured}
        facts["low_tm_rule"]["test"] = judges[1].low_tm()
    if chosen["youden_ci"] is None or chosen["youden_ci"][0] <= 0.0:
        # A rule that is no better than chance is not used.
        facts["threshold"] = None
        facts["why"] = "no candidate tells deleterious from neutral variants better than chance (youden_ci)"
    return facts


def threshold_at(neutral: NDArray[np.float64], weight: NDArray[np.float64], specificity: float) -> float:
    """Lowest multiple of `STEP` with the share `specificity` of the neutral variants' weight below it.

    Examples
    --------
    >>> threshold_at(np.array([0.5, 1.0, 1.5, 9.0]), np.ones(4), 0.75)
    1.51
    """
    value = weighted_quantile(neutral, weight, specificity - 1e-9)  # the highest that has to stay below
    return round((math.floor(round(value / STEP, 6)) + 1) * STEP, 2)


class _Measure:
    """Metrics of rules on one draw of variants, with 95 % intervals over groups."""

    def __init__(self, drawn: Drawn, share: float, seed: int) -> None:
        self._drawn = drawn
        self.weight = match_share(drawn.positive.astype(np.float64), protein_weights(drawn.protein), share)
        self._bootstrap = ClusterBootstrap(drawn.group, seed=seed, n_resamples=RESAMPLES)

    def counts(self) -> dict[str, int]:
        """Count variants, proteins and groups."""
        drawn = self._drawn
        return {
            "n": len(drawn),
            "n_deleterious": int(drawn.positive.sum()),
            "n_proteins": len(np.unique(drawn.protein)),
            "n_groups": len(np.unique(drawn.group)),
            "n_in_windows": int((drawn.length > WINDOW).sum()),
        }

    def rule(self, flagged: NDArray[np.bool_]) -> dict[str, Any]:
        """Specificity, sensitivity, precision and Youden's J of the flagged variants."""
        positive = self._drawn.positive
        sensitivity, false_alarms = portion(flagged, positive), portion(flagged, ~positive)
        return {
            "n_flagged": int(flagged.sum()),
            **self._measure("specificity", portion(~flagged, ~positive)),
            **self._measure("sensitivity", sensitivity),
            **self._measure("precision", portion(positive, flagged)),
            **self._measure("youden", lambda w: sensitivity(w) - false_alarms(w)),
            **self._measure("share_flagged", portion(flagged)),
        }

    def area(self, drop: NDArray[np.float64]) -> dict[str, Any]:
        """AUROC of a drop."""
        return self._measure("auroc", Auroc(drop, self._drawn.positive))

    def low_tm(self) -> dict[str, Any]:
        """Measure the rule predicted TM-score below 0.5."""
        tm = self._drawn.scores["tm"]
        return {"n": len(tm), "lowest_tm": round(float(tm.min()), 4), **self.rule(tm < LOW_TM)}

    def _measure(self, name: str, statistic: Statistic) -> dict[str, Any]:
        found = self._bootstrap.measure(name, statistic, weight=self.weight)
        return {key: rounded(value) for key, value in found.items()}


def _none(why: str) -> dict[str, Any]:
    return {"threshold": None, "why": why}
