"""An additive model of evidence: every number goes through a curve of its own, and the curves add up."""

from __future__ import annotations

from dataclasses import dataclass
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
class LinearMap:
    """Evidence that is a fixed linear map of an embedding vector.

    Parameters
    ----------
    view : str
        Which vector: ``site``, ``near`` or ``protein`` (`encoder_views`).
    weights : float array, shape (d,)
    offset : float
    """

    view: str
    weights: NDArray[np.float64]
    offset: float

    def __call__(self, views: Mapping[str, NDArray[np.float64]], n: int) -> NDArray[np.float64]:
        """Read the map, shape (n,); NaN without an embedding."""
        if self.view not in views:
            return np.full(n, np.nan)
        vectors = views[self.view]
        if vectors.shape[1] != len(self.weights):
            raise CheckpointError(
                f"calibration.json reads embeddings of {len(self.weights)} numbers, the encoder gives "
                f"{vectors.shape[1]}; it was made for another encoder, run `mutscan train calibrate`"
            )
        read: NDArray[np.float64] = vectors @ self.weights + self.offset
        return read


@dataclass(frozen=True, eq=False)
class AdditiveModel:
    """Logit = intercept + one curve for each piece of evidence.

    Parameters
    ----------
    intercept : float
    curves : mapping of evidence -> Curve
    maps : mapping of evidence -> LinearMap
        Evidence that is first read off an embedding.
    """

    intercept: float
    curves: Mapping[str, Curve]
    maps: Mapping[str, LinearMap]

    def complete(
        self, evidence: Mapping[str, NDArray[np.float64]], views: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Evidence this model weighs, read off embeddings where it is, NaN where it was not given."""
        n = len(next(iter(evidence.values())))
        read = {name: linear(views, n) for name, linear in self.maps.items()}
        unknown = np.full(n, np.nan)
        return {name: read.get(name, evidence.get(name, unknown)) for name in self.curves}

    def contributions(self, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Give what each piece of evidence adds, shape (n, evidence), in the order of `curves`."""
        return np.stack([curve(evidence[name]) for name, curve in self.curves.items()], axis=1)

    def logit(self, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Sum of intercept and contributions, shape (n,)."""
        total: NDArray[np.float64] = self.intercept + self.contributions(evidence).sum(axis=1)
        return total

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "intercept": round(self.intercept, 6),
            "curves": {
                name: {
                    "knots": [float(f"{x:.6g}") for x in curve.knots],
                    "logits": [round(float(y), 5) for y in curve.logits],
                    "missing": round(curve.missing, 5),
                }
                for name, curve in self.curves.items()
            },
            "maps": {
                name: {
                    "view": linear.view,
                    "offset": float(f"{linear.offset:.7g}"),
                    "weights": [float(f"{w:.5g}") for w in linear.weights],
                }
                for name, linear in self.maps.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> AdditiveModel:
        """Undo `to_dict`; KeyError, TypeError or ValueError for anything else."""
        curves = {}
        for name, part in document["curves"].items():
            knots, logits = (np.asarray(part[key], dtype=np.float64) for key in ("knots", "logits"))
            if (
                knots.ndim != 1
                or knots.shape != logits.shape
                or not len(knots)
                or (np.diff(knots) <= 0).any()
            ):
                raise ValueError(f"{name}: knots must ascend, with a logit for each")
            curves[name] = Curve(knots, logits, float(part["missing"]))
        maps = {
            name: LinearMap(
                str(part["view"]), np.asarray(part["weights"], dtype=np.float64), float(part["offset"])
            )
            for name, part in document.get("maps", {}).items()
        }
        return cls(float(document["intercept"]), curves, maps)
