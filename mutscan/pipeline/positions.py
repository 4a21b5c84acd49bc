"""Results of a scan for each position: positions.csv to read, scan.parquet to draw a heat map."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.calling.naming import point_name
from mutscan.calling.sites import KINDS
from mutscan.files import replacing
from mutscan.residues import STANDARD
from mutscan.results import format_cell
from mutscan.structures import ca_by_position, plddt_by_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.results import RunFolder
    from mutscan.structures import WildType

TOLERATED_PERCENTILE: Final = 10.0
"""`lddt_percentile` from which a substitution counts as tolerated: not among the most disruptive tenth."""

POSITION_COLUMNS: Final = (
    "position", "wild_type", "structure_number", "plddt", "n_substitutions",
    "tolerance", "z_score_mean", "z_score_min", "worst",
    "lddt_predicted_mean", "lddt_predicted_min", "tm_predicted_mean", "tm_predicted_min",
    "p_deleterious_mean", "p_deleterious_max",
    "best", "tolerated", "uncertain", "nearest_site", "distance_to_site", "site_context",
)  # fmt: skip
"""Columns of positions.csv.

With a calibrated model ``tolerance`` is the share of the substitutions that are not flagged
``deleterious``, ``worst`` the one with the highest ``p_deleterious`` (of equal ones that with the lowest
``z_score``), ``best`` the one at the other end, and ``tolerated`` and ``uncertain`` hold the letters with
these flags, the best first. Without one ``tolerance`` is the share with an ``lddt_percentile`` of at least
`TOLERATED_PERCENTILE`, ``tolerated`` holds their letters, and ``z_score`` alone decides on best and worst.
``lddt_predicted_*`` and ``tm_predicted_*`` are taken over the substitutions' ``lddt_predicted_mean`` and
``tm_predicted``. ``distance_to_site`` is the smallest C-alpha distance, Å, to the ``nearest_site`` among
UniProt's active and binding sites; ``site_context`` is that of each of the substitutions.
"""

SCORES: Final = (
    "z_score",
    "lddt_percentile",
    "tm_percentile",
    "lddt_predicted_mean",
    "tm_predicted",
    "p_deleterious",
)
"""Scores in scan.parquet: columns of variants.csv."""

SCAN_SCHEMA: Final = pa.schema(
    [("position", pa.int32()), ("wild_type", pa.string()), ("mutant", pa.string())]
    + [(name, pa.float32()) for name in SCORES]
)
"""Schema of scan.parquet: 20 rows for each position, in the order of `mutscan.residues.STANDARD`; the
wild type's own row holds nulls. A column reshaped to (positions, 20) is the matrix of a heat map."""


class PositionTable:
    """Collects a scan's rows, position by position.

    Parameters
    ----------
    wild_type : WildType
    """

    def __init__(self, wild_type: WildType) -> None:
        self._wild_type = wild_type
        self._plddt = plddt_by_position(wild_type)
        self._sites = _nearest_sites(wild_type)
        self._positions: list[int] = []
        self._scores: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []
        self._summaries: list[dict[str, object]] = []

    def add(self, position: int, rows: Sequence[Mapping[str, object]]) -> None:
        """Take the rows of one position's substitutions."""
        letters = [str(row["variant"])[-1] for row in rows]
        scores = np.array([[_number(row.get(name)) for name in SCORES] for row in rows])  # (n, scores)
        matrix = np.full((len(STANDARD), len(SCORES)), np.nan, dtype=np.float32)
        matrix[[STANDARD.index(letter) for letter in letters]] = scores
        self._positions.append(position)
        self._scores.append(matrix)
        flags = [str(row.get("flag") or "") for row in rows]
        # A context is that of the residue, whatever replaces it.
        context = next((str(row["site_context"]) for row in rows if row.get("site_context")), None)
        summary = self._summary(position, letters, scores, flags)
        self._summaries.append(summary | {"site_context": context})

    def _summary(
        self,
        position: int,
        letters: Sequence[str],
        scores: np.ndarray[tuple[int, int], np.dtype[np.float64]],
        flags: Sequence[str],
    ) -> dict[str, object]:
        wild_type = self._wild_type
        column = dict(zip(SCORES, scores.T, strict=True))
        own = wild_type.sequence[position - 1]
        percentiles = column["lddt_percentile"][np.isfinite(column["lddt_percentile"])]
        tolerated = percentiles >= TOLERATED_PERCENTILE
        calibrated = any(flags)
        kept = {"tolerated": column["lddt_percentile"] >= TOLERATED_PERCENTILE}
        if calibrated:
            tolerated = np.array([flag != "deleterious" for flag in flags])
            kept = {name: np.array([flag == name for flag in flags]) for name in ("tolerated", "uncertain")}
        order = _best_first(column["p_deleterious"], column["z_score"])
        summary: dict[str, object] = {
            "position": position,
            "wild_type": own,
            "structure_number": wild_type.structure_numbers[position - 1],
            "n_substitutions": len(letters),
            "tolerance": float(tolerated.mean()) if tolerated.size else math.nan,
            "plddt": math.nan if self._plddt is None else float(self._plddt[position - 1]),
            **{name: "".join(letters[i] for i in order if mask[i]) for name, mask in kept.items()},
        }
        if order:
            summary |= {"best": f"{own}{position}{letters[order[0]]}"}
            summary |= {"worst": f"{own}{position}{letters[order[-1]]}"}
        if self._sites is not None:
            names, distances = self._sites
            nearest = int(np.argmin(np.nan_to_num(distances[:, position - 1], nan=math.inf)))
            if math.isfinite(distances[nearest, position - 1]):
                summary["nearest_site"] = names[nearest]
                summary["distance_to_site"] = round(float(distances[nearest, position - 1]), 1)
        for name, source, lowest in (
            ("z_score", "z_score", "min"),
            ("lddt_predicted", "lddt_predicted_mean", "min"),
            ("tm_predicted", "tm_predicted", "min"),
            ("p_deleterious", "p_deleterious", "max"),
        ):
            values = column[source]
            known = np.isfinite(values)
            if not known.any():
                continue
            summary[f"{name}_mean"] = float(values[known].mean())
            summary[f"{name}_{lowest}"] = float(getattr(values[known], lowest)())
        return summary

    def write(self, folder: RunFolder) -> None:
        """Write positions.csv and scan.parquet."""
        with (
            replacing(folder.positions_csv) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(POSITION_COLUMNS)
            for summary in self._summaries:
                writer.writerow([format_cell(column, summary.get(column)) for column in POSITION_COLUMNS])
        scores = np.concatenate(self._scores)  # (20 positions, scores)
        own = [self._wild_type.sequence[position - 1] for position in self._positions]
        columns = [
            pa.array(np.repeat(self._positions, len(STANDARD)), pa.int32()),
            pa.array([letter for letter in own for _ in STANDARD], pa.string()),
            pa.array(list(STANDARD) * len(own), pa.string()),
            *(pa.array(values, pa.float32(), from_pandas=True) for values in scores.T),
        ]
        with replacing(folder.scan_parquet) as temporary:
            pq.write_table(pa.Table.from_arrays(columns, schema=SCAN_SCHEMA), temporary, compression="zstd")


def _best_first(probability: NDArray[np.float64], z: NDArray[np.float64]) -> list[int]:
    """Order substitutions by falling tolerance; those of which nothing is known are left out."""
    harm = probability if np.isfinite(probability).any() else -z
    known = np.flatnonzero(np.isfinite(harm))
    order = np.lexsort((-np.nan_to_num(z[known], nan=0.0), harm[known]))
    return [int(index) for index in known[order]]


def _nearest_sites(wild_type: WildType) -> tuple[list[str], NDArray[np.float64]] | None:
    """Names of the active and binding sites, and the distance of each residue to each, shape (sites, L), Å.

    NaN where a residue or a site has no coordinates. None for a protein with no such site.
    """
    features = [feature for feature in wild_type.features if feature.kind in KINDS]
    if not features:
        return None
    ca = ca_by_position(wild_type)
    distances = np.full((len(features), len(wild_type.sequence)), np.nan)
    for row, feature in zip(distances, features, strict=True):
        own = slice(feature.start - 1, feature.end)
        if ca is not None:
            row[:] = np.fmin.reduce(np.linalg.norm(ca[None] - ca[own][:, None], axis=-1))
        row[own] = 0.0
    return [point_name(feature) for feature in features], distances


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | np.floating) else math.nan
