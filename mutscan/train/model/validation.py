"""Errors on the validation pairs, and the number by which the best weights are chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors on the validation pairs, with the averaged weights.

    Parameters
    ----------
    tm_mae, macro_mae : float
        Mean absolute error of the TM-score; mean over its five bands.
    tm_pearson : float
    lddt_mae, lddt_pearson : float
        Both over aligned residues of the similar pairs; NaN when there is none.
    """

    tm_mae: float
    macro_mae: float
    tm_pearson: float
    lddt_mae: float
    lddt_pearson: float

    @property
    def score(self) -> float:
        """Number by which the best weights are chosen; lower is better."""
        parts = np.array([self.tm_mae, self.macro_mae, self.lddt_mae])
        return float(np.nansum(parts * [0.5, 0.5, 1.0]))

    def to_dict(self) -> dict[str, float]:
        """Errors by their names."""
        return asdict(self)


def measure(
    tm_predicted: NDArray[np.float32],
    tm_score: NDArray[np.float32],
    lddt_predicted: NDArray[np.float32],
    lddt: NDArray[np.float32],
) -> Validation:
    """Compare predictions, clipped to [0, 1], with labels; NaN among `lddt` is ignored."""
    error = np.abs(tm_predicted.clip(0, 1) - tm_score)
    band = np.clip((tm_score * 5).astype(int), 0, 4)
    known = ~np.isnan(lddt)
    local = lddt_predicted.clip(0, 1)[known], lddt[known]
    lddt_error = np.abs(local[0] - local[1])
    return Validation(
        float(error.mean()),
        float(np.mean([error[band == b].mean() for b in np.unique(band)])),
        _pearson(tm_predicted, tm_score),
        float(lddt_error.mean()) if len(lddt_error) else float("nan"),
        _pearson(*local),
    )


def _pearson(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    if not len(one) or one.std() == 0 or two.std() == 0:
        return float("nan")
    return float(np.corrcoef(one, two)[0, 1])
