"""How many substitutions of a scan are flagged, how many are harmful, and how often a flag is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mutscan.errors import UsageError
from mutscan.train.statistics.bootstrap import ClusterBootstrap
from mutscan.train.statistics.classifier import RESAMPLES, portion

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.evaluate.scores import Scored
    from mutscan.train.labelled.tables import VariantTable

CUTOFF: Final = "cutoff"
"""Column of the table of assays: scores below it are harmful."""

FLAG_MEASURES: Final = {
    "share_below_cutoff": "share of the variants below the cut-off",
    "share_flagged": "share of the variants flagged deleterious",
    "precision": "share of the flagged below the cut-off",
    "recall": "share of those below the cut-off that are flagged",
    "harmful_tolerated": "share of those below the cut-off that are flagged tolerated",
}
"""Measures of an assay's flags and what they mean."""

FLAG_HEADS: Final = dict(
    zip(FLAG_MEASURES, ("below cut-off", "flagged", "precision", "recall", "harmful tolerated"), strict=True)
)
"""Heads of their columns."""


def with_cutoffs(proteins: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Read the cut-offs of a table of assays as numbers; a table without the column stays as it is.

    Raises
    ------
    UsageError
        A cut-off is not a number.
    """
    if CUTOFF not in proteins:
        return proteins
    cutoff = pd.to_numeric(proteins[CUTOFF], errors="coerce")
    wrong = proteins[cutoff.isna() & proteins[CUTOFF].notna()]
    if len(wrong):
        raise UsageError(
            f"{path}: the cutoff of {wrong['protein'].iloc[0]} is {wrong[CUTOFF].iloc[0]!r}; expected a "
            "number, or nothing"
        )
    return proteins.assign(**{CUTOFF: cutoff})


def below_cutoff(table: VariantTable) -> NDArray[np.float64]:
    """1 for scores below their assay's cut-off, 0 for others, NaN where there is none; shape (n,)."""
    if CUTOFF not in table.proteins:
        return np.full(len(table), np.nan)
    cutoff = table.proteins[CUTOFF].to_numpy(dtype=np.float64)[table.protein]
    return np.where(np.isfinite(cutoff), (table.value < cutoff).astype(np.float64), np.nan)


def assay_flags(scored: Scored, rows: NDArray[np.int64], *, seed: int = 0) -> dict[str, Any]:
    """`FLAG_MEASURES` of one assay's rows, with intervals that resample positions; empty without a cut-off.

    Variants without a probability are left out.
    """
    table, evidence = scored.table, scored.evidence
    rows = rows[np.isfinite(evidence.p[rows])]
    below = below_cutoff(table)[rows]
    if not len(rows) or not np.isfinite(below).all():
        return {}
    harmful, flag = below > 0, evidence.flag[rows]
    flagged = flag == "deleterious"
    bootstrap = ClusterBootstrap(table.index[rows], seed=seed, n_resamples=RESAMPLES)
    statistics = {
        "share_below_cutoff": portion(harmful),
        "share_flagged": portion(flagged),
        "precision": portion(harmful, flagged),
        "recall": portion(flagged, harmful),
        "harmful_tolerated": portion(flag == "tolerated", harmful),
    }
    found: dict[str, Any] = {CUTOFF: float(table.proteins[CUTOFF].iloc[table.protein[rows[0]]])}
    for name, statistic in statistics.items():
        found |= bootstrap.measure(name, statistic)
    return found
