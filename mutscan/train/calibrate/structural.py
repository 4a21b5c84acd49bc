"""The structural flag's threshold: from which predicted drop on, chosen on labelled variants.

A drop means something only against what other substitutions do to the same protein, so the candidates are
robust z and percentiles against each protein's null. Each candidate's threshold leaves the asked share of
the neutral variants below it; the candidate that then finds the most deleterious ones is taken. All that is
decided on groups of proteins used for fitting; the groups kept for testing are only measured on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.evidence.structural import DROPS, STEP, turned
from mutscan.files import cache_dir
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.train.calibrate.additive import match_share
from mutscan.train.evaluate.result import content_hash
from mutscan.train.evaluate.scores import LOW_TM
from mutscan.train.labelled.siamese import SIAMESE, WINDOW, SiameseScorer, draw_variants
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, with_interval
from mutscan.train.statistics.classifier import PROTEIN_CAP, protein_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable

SIAMESE_VARIANTS: Final = 2000
"""Variants that the threshold is chosen on, when not said otherwise; half as many are measured on."""

_RESAMPLES: Final = 300
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

    def known(self) -> Drawn:
        """Those of which every score is known: a null without spread gives no z."""
        rows = np.all([np.isfinite(self.scores[name]) for name in DROPS], axis=0)
        return Drawn(
            {name: values[rows] for name, values in self.scores.items()},
            self.positive[rows],
            self.protein[rows],
            self.group[rows],
            self.length[rows],
        )


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
        Variants of the groups kept for testing; these and all that is related to them.
    progress : Progress
    wanted : int
        Variants to choose the threshold on, drawn in whole proteins, and half as many of the test groups to
        measure on. Each costs a pass of the encoder, each protein 64 more. 0: no rule.
    specificity : float
        Share of neutral variants that the threshold leaves below it.
    work : Path, optional
        Keeps predictions, so that a broken run continues; the user's cache when not given.
    seed : int
        Of the draw, the nulls and the bootstrap.

    Returns
    -------
    dict
        ``threshold`` is None, and ``why`` says why, where there is no rule.
    """
    if not wanted:
        return _none("no variant was put through the Siamese net (--siamese 0)")
    work = work / "siamese" if work is not None else cache_dir() / "evaluation"
    work.mkdir(parents=True, exist_ok=True)
    net = content_hash([loaded.path / WEIGHTS_FILE])
    scorer = SiameseScorer(loaded, work, net, seed=seed)
    rows = [
        _draw(table, ~kept_out, wanted, seed),
        _draw(table, is_test, -(-wanted // 2), seed),
    ]
    fit, test = _predict(scorer, table, linked, rows, progress)
    usual = protein_weights(table.protein[~kept_out])
    share = float(np.average(table.value[~kept_out], weights=usual)) if usual.size else 0.0
    facts = structural_facts(fit, test, share, specificity, seed)
    return facts | {"net_sha256": net, "encoder_precision": loaded.encoder.precision, "seed": seed}


def _draw(table: VariantTable, eligible: NDArray[np.bool_], wanted: int, seed: int) -> NDArray[np.int64]:
    """Rows of `draw_variants` among the eligible ones, whatever the order of the file."""
    ordered = table.take(eligible).in_order()
    drawn = ordered.line[draw_variants(ordered, wanted, seed=seed)]
    return np.flatnonzero(np.isin(table.line, drawn))


def _predict(
    scorer: SiameseScorer,
    table: VariantTable,
    linked: NDArray[np.int64],
    draws: list[NDArray[np.int64]],
    progress: Progress,
) -> list[Drawn]:
    sequences = table.proteins["sequence"].astype(str).tolist()
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    todo = [
        (draw, protein, draw[table.protein[draw] == protein])
        for draw in draws
        for protein in np.unique(table.protein[draw]).tolist()
    ]
    values = {name: np.full(len(table), np.nan) for name in SIAMESE}
    total = sum(scorer.count(sequences[p], table.index[rows], table.mutant[rows]) for _, p, rows in todo)
    progress.start("mutants through the Siamese net", total)
    for _, protein, rows in todo:
        scores = scorer.score(sequences[protein], table.index[rows], table.mutant[rows], progress)
        for name in SIAMESE:
            values[name][rows] = scores[name]
    progress.finish()
    return [
        Drawn(
            {name: values[name][draw] for name in SIAMESE},
            table.value[draw] > 0,
            table.protein[draw],
            linked[draw],
            lengths[table.protein[draw]],
        )
        for draw in draws
    ]


def structural_facts(fit: Drawn, test: Drawn, share: float, specificity: float, seed: int) -> dict[str, Any]:
    """Choose score and threshold on `fit`, measure them on both.

    Parameters
    ----------
    fit, test : Drawn
    share : float
        Of deleterious variants among those that precision is told for.
    specificity : float
    seed : int
        Of the bootstrap over groups.

    Returns
    -------
    dict
        Without what the predictions were made with.
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
        # A rule that chance may have made is no rule.
        facts["threshold"] = None
        facts["why"] = "no candidate tells deleterious from neutral variants better than chance (youden_ci)"
    return facts


def threshold_at(neutral: NDArray[np.float64], weight: NDArray[np.float64], specificity: float) -> float:
    """Lowest multiple of `STEP` that leaves so much of the neutral variants' weight below it.

    Examples
    --------
    >>> threshold_at(np.array([0.5, 1.0, 1.5, 9.0]), np.ones(4), 0.75)
    1.51
    """
    order = np.argsort(neutral, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    last = int(np.searchsorted(share, specificity - 1e-9))  # the highest that has to stay below
    value = float(neutral[order][min(last, len(neutral) - 1)])
    return round((math.floor(round(value / STEP, 6)) + 1) * STEP, 2)


class _Measure:
    """Numbers of rules on one draw, with 95 % intervals over groups."""

    def __init__(self, drawn: Drawn, share: float, seed: int) -> None:
        self._drawn = drawn
        self.weight = match_share(drawn.positive.astype(np.float64), protein_weights(drawn.protein), share)
        self._bootstrap = ClusterBootstrap(drawn.group, seed=seed, n_resamples=_RESAMPLES)

    def counts(self) -> dict[str, int]:
        """Say how much there is."""
        drawn = self._drawn
        return {
            "n": len(drawn),
            "n_deleterious": int(drawn.positive.sum()),
            "n_proteins": len(np.unique(drawn.protein)),
            "n_groups": len(np.unique(drawn.group)),
            "n_in_windows": int((drawn.length > WINDOW).sum()),
        }

    def rule(self, flagged: NDArray[np.bool_]) -> dict[str, Any]:
        """Specificity, sensitivity, precision and Youden's J of what is flagged."""
        positive, everything = self._drawn.positive, np.ones(len(flagged), dtype=np.bool_)

        def portion(hit: NDArray[np.bool_], of: NDArray[np.bool_], w: NDArray[np.float64]) -> float:
            whole = w[of].sum()
            return float(w[hit & of].sum() / whole) if whole else float("nan")

        return {
            "n_flagged": int(flagged.sum()),
            **self._told("specificity", lambda w: portion(~flagged, ~positive, w)),
            **self._told("sensitivity", lambda w: portion(flagged, positive, w)),
            **self._told("precision", lambda w: portion(positive, flagged, w)),
            **self._told("youden", lambda w: portion(flagged, positive, w) - portion(flagged, ~positive, w)),
            **self._told("share_flagged", lambda w: portion(flagged, everything, w)),
        }

    def area(self, drop: NDArray[np.float64]) -> dict[str, Any]:
        """AUROC of a drop."""
        return self._told("auroc", Auroc(drop, self._drawn.positive))

    def low_tm(self) -> dict[str, Any]:
        """Measure the rule predicted TM-score below 0.5."""
        tm = self._drawn.scores["tm"]
        return {"n": len(tm), "lowest_tm": round(float(tm.min()), 4), **self.rule(tm < LOW_TM)}

    def _told(self, name: str, statistic: Callable[[NDArray[np.float64]], float]) -> dict[str, Any]:
        def weighed(w: NDArray[np.float64]) -> float:
            return statistic(w * self.weight)

        drawn = self._bootstrap.each(np.arange(len(self.weight)), weighed)
        found = with_interval(name, weighed(np.ones(len(self.weight))), drawn)
        return {key: _rounded(value) for key, value in found.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [round(one, 4) for one in value]
    return None if value is None else round(value, 4)


def _none(why: str) -> dict[str, Any]:
    return {"threshold": None, "why": why}
