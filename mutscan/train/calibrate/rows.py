"""Rows of labelled variants, scans and stability tables, put together to learn a calibration from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from scipy.special import expit

from mutscan.evidence import CONSERVATION_EVIDENCE, EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.statistics.classifier import protein_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.train.labelled.tables import VariantTable

RANKED_WEIGHT: Final = 0.4
"""Of a row of a scan or stability table, against a labelled one."""

ASSAY_CAP: Final = 1000
"""Substitutions of one scan weigh no more than so many of a smaller one."""


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows to learn from, of every table.

    Parameters
    ----------
    evidence, views : mapping of name -> float array, shape (n,) or (n, d)
    target, weight : float array, shape (n,)
        The label; for ranked rows how bad, between 0 and 1.
    truth : float array, shape (n,)
        The value of the table.
    protein, linked : int array, shape (n,)
        Protein, numbered through all tables, and group of relatives over all of them.
    kind : str array, shape (n,)
        ``variants``, ``stability`` or ``dms``.
    structured : bool array, shape (n,)
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    truth: NDArray[np.float64]
    protein: NDArray[np.int64]
    linked: NDArray[np.int64]
    kind: NDArray[np.str_]
    structured: NDArray[np.bool_]


def join_tables(tables: dict[str, VariantTable], found: dict[str, Any]) -> tuple[Rows, dict[str, int]]:
    """Put the rows of all tables one after the other; and the number of each table's first protein."""
    sequences: list[str] = []
    clusters: list[int] = []
    first, parts = {}, []
    for kind, table in tables.items():
        first[kind] = len(sequences)
        groups = (
            table.proteins["group"].astype(str) if "group" in table.proteins else table.proteins["protein"]
        )
        codes, _ = pd.factorize(groups.astype(str))
        clusters += (codes + len(sequences)).tolist()
        sequences += table.proteins["sequence"].astype(str).tolist()
        target: NDArray[np.float64] = table.value
        weight: NDArray[np.floating] = protein_weights(table.protein)
        if kind == "dms":
            ranks = pd.Series(table.value).groupby(table.protein).rank(pct=True)
            target = 1.0 - np.asarray(ranks, np.float64)
            weight = RANKED_WEIGHT * protein_weights(table.protein, ASSAY_CAP)
        elif kind == "stability":
            target = np.asarray(expit((table.value - 1.0) / 0.8), np.float64)  # half way at 1 kcal/mol
            weight = np.full(len(table), RANKED_WEIGHT)
        parts.append((kind, table, found[kind], target, weight))
    linked = link_clusters(sequences, np.array(clusters, dtype=np.int64))
    names = [*EVIDENCE, *CONSERVATION_EVIDENCE, *STRUCTURE_EVIDENCE]
    protein = np.concatenate([table.protein + first[kind] for kind, table, *_ in parts])
    rows = Rows(
        {
            name: np.concatenate(
                [one.evidence.get(name, np.full(len(table), np.nan)) for _, table, one, *_ in parts]
            )
            for name in names
        },
        {name: np.concatenate([one.views[name] for _, _, one, *_ in parts]) for name in ("site", "near")},
        np.concatenate([target for *_, target, _ in parts]),
        np.concatenate([weight for *_, weight in parts]),
        np.concatenate([table.value for _, table, *_ in parts]),
        protein,
        linked[protein],
        np.concatenate([np.full(len(table), kind) for kind, table, *_ in parts]),
        np.concatenate([one.structured for _, _, one, *_ in parts]),
    )
    return rows, first


def assay_names(tables: dict[str, VariantTable], first: dict[str, int]) -> dict[int, str]:
    if "dms" not in tables:
        return {}
    names = tables["dms"].proteins["protein"].astype(str).tolist()
    return {first["dms"] + row: name for row, name in enumerate(names)}
