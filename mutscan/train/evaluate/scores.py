"""All scores that rank a table's variants, each measured on the rows where it is known.

Every score is oriented so that higher means more harmful. What the Siamese scores add to the probability is
measured by combining both: on labels by logistic regressions fitted to other groups of proteins, on scans
and stabilities by a mean of ranks, which needs no fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.evidence import (
    ALIGNED_EVIDENCE,
    CONSERVATION_EVIDENCE,
    DEEP_EVIDENCE,
    EVIDENCE,
    INVERSE_FOLDING_EVIDENCE,
    STRUCTURE_EVIDENCE,
)
from mutscan.evidence.calibration import TIERS
from mutscan.evidence.sequence import LETTERS
from mutscan.train.labelled.siamese import LOW_TM
from mutscan.train.statistics.bootstrap import Ranks
from mutscan.train.statistics.classifier import rows_of_each
from mutscan.train.statistics.fits import folds_of, logistic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.labelled.evidence import Assessed
    from mutscan.train.labelled.tables import VariantTable

_FALLING: Final = frozenset(
    ("blosum62", "log_odds", "log_odds_rank", "log_p_mutant", "entropy", "entropy_near", "entropy_protein",
     "loop_near", "charged_near", "family_log_odds", "family_log_p_mutant", "family_entropy",
     "family_entropy_relative", "aligned_rank", "aligned_z", "aligned_entropy_rank", "aligned_entropy_z",
     "aligned_nearest", "deep_couplings", "deep_rank", "folding_log_odds", "folding_log_p_mutant",
     "folding_entropy")
)  # fmt: skip
"""Evidence of which less is more harmful; fixed in advance, not chosen on the evaluated data."""

ALL, STRUCTURE, SIAMESE = "all", "structure", "siamese"
TABLES: Final = {
    ALL: "all variants",
    STRUCTURE: "sites with coordinates",
    SIAMESE: "drawn variants that went through the Siamese net",
}


@dataclass(frozen=True, eq=False)
class Score:
    """One way to rank variants.

    Parameters
    ----------
    key, label : str
    kind : {"model", "siamese", "group", "single"}
    values : float array, shape (n,)
        Higher is more harmful; NaN where unknown.
    tables : tuple of str
        The `TABLES`, and so the rows, it is measured on.
    """

    key: str
    label: str
    kind: str
    values: NDArray[np.float64]
    tables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """A table of variants with their evidence and Siamese scores.

    Parameters
    ----------
    table : VariantTable
    group : int array, shape (n,)
        Variants of related proteins share a number.
    evidence : Assessed
    siamese : dict of name -> float array, shape (n,)
        NaN where a variant was not drawn.
    calibrated : bool
    """

    table: VariantTable
    group: NDArray[np.int64]
    evidence: Assessed
    siamese: Mapping[str, NDArray[np.float64]]
    calibrated: bool

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Variants that went through the Siamese net, shape (n,)."""
        return np.isfinite(self.siamese["tm"])

    def rows_of(self, name: str) -> NDArray[np.int64]:
        """Rows of one of `TABLES`."""
        masks = {ALL: np.ones(len(self.table), np.bool_), STRUCTURE: self.evidence.structured}
        return np.flatnonzero(masks.get(name, self.drawn))

    @property
    def main(self) -> Score:
        """The score that ranks the variants: the probability, else the z of the lDDT."""
        if self.calibrated:
            return Score("p_deleterious", "p_deleterious", "model", self.evidence.p, tuple(TABLES))
        return Score("z_score", "z of predicted lDDT", "siamese", -self.siamese["lddt_z"], (SIAMESE,))

    def scores(self) -> list[Score]:
        """All scores, the model's first."""
        e, s = self.evidence, self.siamese
        everywhere = tuple(TABLES)
        found = []
        if self.calibrated:
            found.append(self.main)
            found.append(Score("tier_sequence", "tier sequence alone", "model", e.p_sequence, everywhere))
            for tier, sources in TIERS.items():
                if sources and (e.tier == tier).any():
                    p, where = np.where(e.tier == tier, e.p, np.nan), ALL
                    if "structure" in sources:
                        where = STRUCTURE
                    found.append(
                        Score(f"tier_{tier}", f"tier {tier.replace('_', ' ')}", "model", p, (where,))
                    )
        found.append(
            Score("blosum62", "BLOSUM62 of the exchange", "single", -e.pieces["blosum62"], everywhere)
        )
        found += [
            Score("lddt_z", "predicted lDDT drop, z against the null", "siamese", -s["lddt_z"], (SIAMESE,)),
            Score("lddt_drop", "predicted lDDT drop", "siamese", 1.0 - s["lddt_mean"], (SIAMESE,)),
            Score("lddt_site_drop", "predicted lDDT drop at the site", "siamese", 1.0 - s["lddt_site"],
                  (SIAMESE,)),
            Score("tm_z", "predicted TM drop, z against the null", "siamese", -s["tm_z"], (SIAMESE,)),
            Score("tm_drop", "predicted TM drop", "siamese", 1.0 - s["tm"], (SIAMESE,)),
            Score("low_tm", f"rule predicted TM < {LOW_TM}", "siamese",
                  np.where(np.isfinite(s["tm"]), (s["tm"] < LOW_TM).astype(np.float64), np.nan), (SIAMESE,)),
        ]  # fmt: skip
        for name, values in e.groups.items():
            rows = (STRUCTURE,) if not np.isfinite(values[~e.structured]).any() else (ALL,)
            found.append(
                Score(f"group_{name.replace(' ', '_')}", f"{name}, as weighed", "group", values, rows)
            )
        of_structure = {**STRUCTURE_EVIDENCE, **INVERSE_FOLDING_EVIDENCE}
        words = {**EVIDENCE, **CONSERVATION_EVIDENCE, **ALIGNED_EVIDENCE, **DEEP_EVIDENCE, **of_structure}
        for name, values in e.pieces.items():
            if name in LETTERS or name == "blosum62" or not np.isfinite(values).any():
                continue
            sign = -1.0 if name in _FALLING else 1.0
            rows = (STRUCTURE,) if name in of_structure else (ALL,)
            label = f"{'-' if sign < 0 else ''}{name}: {words.get(name, 'read off the embedding')}"
            found.append(Score(name, label, "single", sign * values, rows))
        return found


def evidence_tables(
    scored: Scored,
    extra: Callable[[NDArray[np.int64]], Sequence[Score]],
    measure: Callable[[NDArray[np.float64], NDArray[np.int64]], dict[str, Any]],
) -> dict[str, Any]:
    """Measure every score on the rows where it is known: ``{table: {what, n, n_proteins, scores}}``.

    Parameters
    ----------
    scored : Scored
    extra : callable
        Gives the combinations to add on the rows with Siamese scores.
    measure : callable
        Gives the metrics of values and their rows.
    """
    scores = scored.scores()
    tables: dict[str, Any] = {}
    for name, words in TABLES.items():
        rows = scored.rows_of(name)
        if not len(rows):
            continue
        measured = {}
        for score in [*scores, *(extra(rows) if name == SIAMESE else ())]:
            if name not in score.tables:
                continue
            known = rows[np.isfinite(score.values[rows])]
            numbers = {"label": score.label, "kind": score.kind, "n": len(known)}
            measured[score.key] = numbers | measure(score.values[known], known)
        tables[name] = {
            "what": words,
            "n": len(rows),
            "n_proteins": len(np.unique(scored.table.protein[rows])),
            "scores": measured,
        }
    return tables


def with_siamese(scored: Scored, rows: NDArray[np.int64], seed: int) -> list[Score]:
    """Fit logistic regressions with and without the Siamese scores, cross-fitted over groups."""
    y, group = scored.table.value[rows], scored.group[rows]
    n_folds = min(5, len(np.unique(group)))
    if not scored.calibrated or n_folds < 2:
        return []
    fold = folds_of(group, n_folds, seed)
    p = np.clip(np.nan_to_num(scored.evidence.p[rows], nan=0.5), 1e-6, 1 - 1e-6)
    logit = np.log(p / (1 - p))
    z = [np.clip(np.nan_to_num(-scored.siamese[name][rows]), -6, 6) for name in ("lddt_z", "tm_z")]
    site = np.log(np.maximum(1.0 - scored.siamese["lddt_site"][rows], 1e-6))
    found = []
    for key, label, columns in (
        ("p_and_siamese", "p_deleterious and Siamese scores, cross-fitted", [logit, *z, site]),
        ("p_cross_fitted", "p_deleterious, cross-fitted alike", [logit]),
    ):
        fitted = np.full(len(scored.table), np.nan)
        for one in range(n_folds):
            inside, outside = fold == one, fold != one
            if len(np.unique(y[outside])) < 2:
                return []
            x = np.stack(columns, axis=1)
            x = (x - x[outside].mean(axis=0)) / np.maximum(x[outside].std(axis=0), 1e-9)
            design = np.column_stack([np.ones(len(x)), x])
            ridge = np.diag([0.0, *np.ones(len(columns))])
            beta = logistic(design[outside], y[outside], np.ones(int(outside.sum())), ridge)
            fitted[rows[inside]] = design[inside] @ beta
        found.append(Score(key, label, "model", fitted, (SIAMESE,)))
    return found


def mean_rank(scored: Scored, rows: NDArray[np.int64]) -> list[Score]:
    """Mean of the ranks inside each protein by probability and by the z of the lDDT."""
    if not scored.calibrated:
        return []
    values = np.full(len(scored.table), np.nan)
    for part in rows_of_each(scored.table.protein[rows]).values():
        at = rows[part]
        ranks = [
            Ranks(column).of(np.ones(len(at))) / len(at)
            for column in (scored.evidence.p[at], np.nan_to_num(-scored.siamese["lddt_z"][at]))
        ]
        values[at] = ranks[0] + ranks[1]
    return [Score("p_and_siamese", "mean rank of p_deleterious and lDDT z", "model", values, (SIAMESE,))]
