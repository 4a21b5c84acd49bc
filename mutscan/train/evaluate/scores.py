"""All the ways to rank a table's variants, each measured on the rows it is known for.

Every score is turned so that higher means more harmful.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.evidence import CONSERVATION_EVIDENCE, EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.evidence.sequence import LETTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.evaluate.evidence import Evidence
    from mutscan.train.labelled.tables import VariantTable

LOW_TM: Final = 0.5
"""TM-score below which two folds are said to differ: as a rule for variants it flags nothing."""

_FALLING: Final = frozenset(
    ("blosum62", "log_odds", "log_odds_rank", "log_p_mutant", "entropy", "entropy_near", "entropy_protein",
     "loop_near", "charged_near", "family_log_odds", "family_log_p_mutant", "family_entropy",
     "family_entropy_relative")
)  # fmt: skip
"""Evidence of which less is more harmful; fixed beforehand, not by what is evaluated."""

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
        Higher is more harmful; NaN where not known.
    tables : tuple of str
        Of `TABLES`: the rows it is measured on.
    """

    key: str
    label: str
    kind: str
    values: NDArray[np.float64]
    tables: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Scored:
    """A table of variants with all that is known of them.

    Parameters
    ----------
    table : VariantTable
    group : int array, shape (n,)
        Variants of related proteins share a number.
    evidence : Evidence
    siamese : dict of name -> float array, shape (n,)
        NaN where a variant was not drawn.
    calibrated : bool
    """

    table: VariantTable
    group: NDArray[np.int64]
    evidence: Evidence
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
        """What ranks the variants: the probability, else the z of the lDDT."""
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
            if (e.tier == "structure").any():
                p = np.where(e.tier == "structure", e.p, np.nan)
                found.append(Score("tier_structure", "tier structure", "model", p, (STRUCTURE,)))
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
        words = {**EVIDENCE, **CONSERVATION_EVIDENCE, **STRUCTURE_EVIDENCE}
        for name, values in e.pieces.items():
            if name in LETTERS or name == "blosum62" or not np.isfinite(values).any():
                continue
            sign = -1.0 if name in _FALLING else 1.0
            rows = (STRUCTURE,) if name in STRUCTURE_EVIDENCE else (ALL,)
            label = f"{'-' if sign < 0 else ''}{name}: {words.get(name, 'read off the embedding')}"
            found.append(Score(name, label, "single", sign * values, rows))
        return found


def evidence_tables(
    scored: Scored,
    extra: Callable[[NDArray[np.int64]], Sequence[Score]],
    measure: Callable[[NDArray[np.float64], NDArray[np.int64]], dict[str, Any]],
) -> dict[str, Any]:
    """Measure every score on the rows it is known for: ``{table: {n, n_proteins, rows: {score: numbers}}}``.

    Parameters
    ----------
    scored : Scored
    extra : callable
        Combinations to add on the rows with Siamese scores.
    measure : callable
        From values and their rows to numbers.
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
