"""Rows of labelled variants, scans and stability tables, joined to fit a calibration to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import expit

from mutscan.evidence import (
    ALIGNED_EVIDENCE,
    CONSERVATION_EVIDENCE,
    EVIDENCE,
    INVERSE_FOLDING_EVIDENCE,
    REPEATED,
    STRUCTURE_EVIDENCE,
    covered_by,
)
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.statistics.classifier import protein_weights
from mutscan.train.statistics.fits import folds_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.train.labelled.evidence import Background, Gathered
    from mutscan.train.labelled.tables import Kind, VariantTable

PIECES: Final = {
    "structure": {name: text for name, text in STRUCTURE_EVIDENCE.items() if name not in REPEATED},
    "folding": INVERSE_FOLDING_EVIDENCE,
    "alignment": ALIGNED_EVIDENCE,
}
"""Evidence of the sources that only some rows have, and what it means."""

TEST_FOLDS: Final = 5
"""One in this many parts of the groups of labelled proteins is kept for testing."""

RANKED_WEIGHT: Final = 0.4
"""Weight of a row of a scan or stability table; a labelled row has at most 1."""

ASSAY_CAP: Final = 1000
"""All substitutions of one scan together weigh at most as much as this many."""


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows of every table.

    Parameters
    ----------
    evidence, views : mapping of name -> float array, shape (n,) or (n, d)
    target, weight : float array, shape (n,)
        The label; for rows of scans and stability tables a rank or logistic of the value, 0 to 1.
    truth : float array, shape (n,)
        The value of the table.
    protein, linked : int array, shape (n,)
        Protein, numbered through all tables, and group of related proteins over all tables.
    kind : str array, shape (n,)
        ``variants``, ``stability`` or ``dms``.
    is_test : bool array, shape (n,)
        Labelled rows of the test groups.
    background : mapping of protein -> Background
    cutoff : mapping of protein -> float
        Score of a scan below which a substitution is harmful.
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    truth: NDArray[np.float64]
    protein: NDArray[np.int64]
    linked: NDArray[np.int64]
    kind: NDArray[np.str_]
    is_test: NDArray[np.bool_]
    background: dict[int, Background]
    cutoff: dict[int, float]

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Rows with a label, shape (n,)."""
        return np.asarray(self.kind == "variants")

    @cached_property
    def covered(self) -> dict[str, NDArray[np.bool_]]:
        """Rows that each source of evidence covers, shape (n,) each."""
        return covered_by(self.evidence)

    @cached_property
    def kept_out(self) -> NDArray[np.bool_]:
        """Rows that no fit uses: those of the test groups and of their relatives in any table, shape (n,)."""
        return np.isin(self.linked, self.linked[self.is_test])

    @cached_property
    def unit(self) -> NDArray[np.int64]:
        """Protein of a ranked row, whose rows are compared only with each other; -1 for a labelled row."""
        return np.where(self.labelled, -1, self.protein)


def join_tables(
    tables: Mapping[Kind, VariantTable], found: Mapping[Kind, Gathered], seed: int
) -> tuple[Rows, dict[str, int]]:
    """Put the rows of all tables one after the other; also give the number of each table's first protein.

    The test groups are drawn by `seed` among the groups of labelled proteins.
    """
    sequences: list[str] = []
    clusters: list[int] = []
    first: dict[str, int] = {}
    parts: dict[str, list[NDArray[Any]]] = {}
    for kind, table in tables.items():
        first[kind] = len(sequences)
        groups = table.proteins["group" if "group" in table.proteins else "protein"]
        codes, _ = pd.factorize(groups.astype(str))
        clusters += (codes + len(sequences)).tolist()
        sequences += table.proteins["sequence"].astype(str).tolist()
        target, weight = table.value, protein_weights(table.protein)
        is_test = np.zeros(len(table), dtype=np.bool_)
        if kind == "variants":
            is_test = folds_of(table.group, TEST_FOLDS, seed) == 0
        elif kind == "dms":
            ranks = pd.Series(table.value).groupby(table.protein).rank(pct=True)
            target = 1.0 - np.asarray(ranks, np.float64)
            weight = RANKED_WEIGHT * protein_weights(table.protein, ASSAY_CAP)
        else:
            target = np.asarray(expit((table.value - 1.0) / 0.8), np.float64)  # half way at 1 kcal/mol
            weight = np.full(len(table), RANKED_WEIGHT)
        columns = {
            "target": target,
            "weight": weight,
            "truth": table.value,
            "protein": table.protein + first[kind],
            "kind": np.full(len(table), kind),
            "is_test": is_test,
        }
        for name, values in columns.items():
            parts.setdefault(name, []).append(values)
    joined = {name: np.concatenate(values) for name, values in parts.items()}
    evidence = {
        name: np.concatenate(
            [found[k].evidence.get(name, np.full(len(table), np.nan)) for k, table in tables.items()]
        )
        for name in (
            *EVIDENCE,
            *CONSERVATION_EVIDENCE,
            *STRUCTURE_EVIDENCE,
            *INVERSE_FOLDING_EVIDENCE,
            *ALIGNED_EVIDENCE,
        )
    }
    views = {name: np.concatenate([found[kind].views[name] for kind in tables]) for name in ("site", "near")}
    linked = link_clusters(sequences, np.array(clusters, dtype=np.int64))[joined["protein"]]
    background = {first[k] + p: sample for k in tables for p, sample in found[k].background.items()}
    cutoff = {}
    if "dms" in tables and "cutoff" in tables["dms"].proteins:
        cutoff = {first["dms"] + p: x for p, x in enumerate(tables["dms"].proteins["cutoff"].astype(float))}
    cutoff = {protein: x for protein, x in cutoff.items() if np.isfinite(x)}
    rows = Rows(evidence=evidence, views=views, linked=linked, background=background, cutoff=cutoff, **joined)
    return rows, first


def assay_names(tables: Mapping[Kind, VariantTable], first: Mapping[str, int]) -> dict[int, str]:
    """Name of each assay, by its protein number in `Rows`."""
    if "dms" not in tables:
        return {}
    names = tables["dms"].proteins["protein"].astype(str).tolist()
    return {first["dms"] + row: name for row, name in enumerate(names)}
