"""An additive model of evidence: curves, tables of two pieces, and linear maps of embeddings add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Curve:
    """Piecewise linear, flat beyond its ends.

    Parameters
    ----------
    knots : float array, shape (k,)
        Ascending. For a residue its places in `STANDARD`.
    logits : float array, shape (k,)
    missing : float
        Where the evidence is not known.
    """

    knots: NDArray[np.float64]
    logits: NDArray[np.float64]
    missing: float

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits of values, shape (n,)."""
        known = np.isfinite(values)
        read = np.interp(np.where(known, values, self.knots[0]), self.knots, self.logits)
        return np.where(known, read, self.missing)


@dataclass(frozen=True, eq=False)
class Table:
    """What two pieces of evidence add together, beyond what each adds alone; bilinear between knots.

    Parameters
    ----------
    first, second : str
        The pieces.
    first_knots : float array, shape (a,)
    second_knots : float array, shape (b,)
    logits : float array, shape (a, b)
    missing : float
        Where one of them is not known.
    """

    first: str
    second: str
    first_knots: NDArray[np.float64]
    second_knots: NDArray[np.float64]
    logits: NDArray[np.float64]
    missing: float

    def __call__(self, evidence: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.float64]:
        """Logits, shape (n,)."""
        unknown = np.full(n, np.nan)
        one, other = evidence.get(self.first, unknown), evidence.get(self.second, unknown)
        (low, share), (left, part) = between(one, self.first_knots), between(other, self.second_knots)
        high = np.minimum(low + 1, len(self.first_knots) - 1)
        right = np.minimum(left + 1, len(self.second_knots) - 1)
        read = (1 - share) * ((1 - part) * self.logits[low, left] + part * self.logits[low, right])
        read += share * ((1 - part) * self.logits[high, left] + part * self.logits[high, right])
        return np.where(np.isfinite(one) & np.isfinite(other), read, self.missing)


def between(
    values: NDArray[np.float64], knots: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Knot at or below each value and how far it is to the next, 0-1; anything for NaN."""
    if len(knots) == 1:
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values))
    x = np.clip(np.where(np.isfinite(values), values, knots[0]), knots[0], knots[-1])
    low = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    return low, (x - knots[low]) / (knots[low + 1] - knots[low])


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A fixed linear map of an embedding vector, in logits; perhaps times a property of the exchange.

    Parameters
    ----------
    view : str
        Which vector: ``site``, ``near`` or ``protein`` (`encoder_views`).
    weights : float array, shape (d,)
    offset : float
    times : str
        Evidence it is multiplied with, after `centre` is taken off; empty for none.
    centre : float
    """

    view: str
    weights: NDArray[np.float64]
    offset: float
    times: str = ""
    centre: float = 0.0

    def __call__(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.float64]],
        site: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Read the map, shape (n,); 0 without an embedding, or where the property is not known."""
        n = len(site)
        if self.view not in views:
            return np.zeros(n)
        vectors = views[self.view]
        if vectors.shape[1] != len(self.weights):
            raise CheckpointError(
                f"calibration.json reads embeddings of {len(self.weights)} numbers, the encoder gives "
                f"{vectors.shape[1]}; it was made for another encoder, run `mutscan train calibrate`"
            )
        read: NDArray[np.float64] = (vectors @ self.weights + self.offset)[site]
        if self.times:
            read = read * np.nan_to_num(evidence.get(self.times, np.full(n, np.nan)) - self.centre)
        return read


@dataclass(frozen=True, eq=False)
class AdditiveModel:
    """Logit = intercept + what each curve, table and map adds.

    Parameters
    ----------
    intercept : float
    curves : mapping of evidence -> Curve
    maps : mapping of name -> LinearMap
    tables : mapping of name -> Table
    """

    intercept: float
    curves: Mapping[str, Curve]
    maps: Mapping[str, LinearMap]
    tables: Mapping[str, Table] = field(default_factory=dict)

    def pieces(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.float64]],
        site: NDArray[np.int64],
    ) -> dict[str, NDArray[np.float64]]:
        """Contribution of each piece to the logit, shape (n,) each; evidence not given is not known.

        Parameters
        ----------
        evidence : mapping of name -> float array, shape (n,)
        views : mapping of name -> float array, shape (sites, d)
            Embedding vectors, one for each site.
        site : int array, shape (n,)
            Row of `views` that each substitution reads.
        """
        n = len(site)
        unknown = np.full(n, np.nan)
        return {
            **{name: curve(evidence.get(name, unknown)) for name, curve in self.curves.items()},
            **{name: table(evidence, n) for name, table in self.tables.items()},
            **{name: linear(evidence, views, site) for name, linear in self.maps.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "intercept": round(self.intercept, 6),
            "curves": {
                name: {
                    "knots": _short(curve.knots, 6),
                    "logits": [round(float(y), 5) for y in curve.logits],
                    "missing": round(curve.missing, 5),
                }
                for name, curve in self.curves.items()
            },
            "tables": {
                name: {
                    "first": table.first,
                    "second": table.second,
                    "first_knots": _short(table.first_knots, 6),
                    "second_knots": _short(table.second_knots, 6),
                    "logits": [[round(float(y), 5) for y in row] for row in table.logits],
                    "missing": round(table.missing, 5),
                }
                for name, table in self.tables.items()
            },
            "maps": {
                name: {
                    "view": linear.view,
                    "offset": float(f"{linear.offset:.7g}"),
                    "times": linear.times,
                    "centre": float(f"{linear.centre:.7g}"),
                    "weights": _short(linear.weights, 4),
                }
                for name, linear in self.maps.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AdditiveModel:
        """Undo `to_dict`; KeyError, TypeError or ValueError for anything else."""
        curves = {}
        for name, part in document["curves"].items():
            knots = _knots(name, part["knots"])
            logits = np.asarray(part["logits"], dtype=np.float64)
            if logits.shape != knots.shape:
                raise ValueError(f"{name}: {len(knots)} knots, logits of shape {logits.shape}")
            curves[name] = Curve(knots, logits, float(part["missing"]))
        tables = {}
        for name, part in document.get("tables", {}).items():
            first, second = (_knots(name, part[key]) for key in ("first_knots", "second_knots"))
            logits = np.asarray(part["logits"], dtype=np.float64)
            if logits.shape != (len(first), len(second)):
                raise ValueError(f"{name}: {len(first)} x {len(second)} knots, logits {logits.shape}")
            tables[name] = Table(
                str(part["first"]), str(part["second"]), first, second, logits, float(part["missing"])
            )
        maps = {
            name: LinearMap(
                str(part["view"]),
                np.asarray(part["weights"], dtype=np.float64),
                float(part["offset"]),
                str(part.get("times", "")),
                float(part.get("centre", 0.0)),
            )
            for name, part in document.get("maps", {}).items()
        }
        return cls(float(document["intercept"]), curves, maps, tables)


def _short(values: NDArray[np.float64], digits: int) -> list[float]:
    return [float(f"{x:.{digits}g}") for x in values]


def _knots(name: str, values: Any) -> NDArray[np.float64]:
    knots = np.asarray(values, dtype=np.float64)
    if knots.ndim != 1 or not len(knots) or (np.diff(knots) <= 0).any():
        raise ValueError(f"{name}: knots must ascend")
    return knots
