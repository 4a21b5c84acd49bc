"""Results of a scan for each position: positions.csv to read, scan.parquet to draw a heat map."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.files import replacing
from mutscan.residues import STANDARD
from mutscan.results import format_cell
from mutscan.structures import plddt_by_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mutscan.results import RunFolder
    from mutscan.structures import WildType

TOLERATED_PERCENTILE: Final = 10.0
"""`lddt_percentile` from which a substitution counts as tolerated: not among the most disruptive tenth."""

POSITION_COLUMNS: Final = (
    "position", "wild_type", "structure_number", "plddt", "n_substitutions",
    "tolerance", "z_score_mean", "z_score_min", "worst",
    "lddt_predicted_mean", "lddt_predicted_min", "tm_predicted_mean", "tm_predicted_min",
    "p_deleterious_mean", "p_deleterious_max",
)  # fmt: skip
"""Columns of positions.csv.

With a calibrated model ``tolerance`` is the share of the substitutions that are not flagged
``deleterious`` and ``worst`` the one with the highest ``p_deleterious``; without one the share with an
``lddt_percentile`` of at least `TOLERATED_PERCENTILE`, and the one with the lowest ``z_score``.
``lddt_predicted_*`` and ``tm_predicted_*`` are taken over the substitutions' ``lddt_predicted_mean`` and
``tm_predicted``.
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
        self._summaries.append(self._summary(position, letters, scores, flags))

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
        if calibrated:
            tolerated = np.array([flag != "deleterious" for flag in flags])
        summary: dict[str, object] = {
            "position": position,
            "wild_type": own,
            "n_substitutions": len(letters),
            "tolerance": float(tolerated.mean()) if tolerated.size else math.nan,
            "plddt": math.nan if self._plddt is None else float(self._plddt[position - 1]),
        }
        if wild_type.structure is not None and wild_type.structure_index is not None:
            index = int(wild_type.structure_index[position - 1])
            summary["structure_number"] = wild_type.structure.numbers[index] if index >= 0 else None
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
            if name == ("p_deleterious" if calibrated else "z_score"):
                worst = np.nanargmax(values) if calibrated else np.nanargmin(values)
                summary["worst"] = f"{own}{position}{letters[int(worst)]}"
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


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | np.floating) else math.nan
