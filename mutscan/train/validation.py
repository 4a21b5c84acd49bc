"""What a validation measures, and the one number by which the best weights are chosen."""

from __future__ import annotations

from dataclasses import dataclass
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
    lddt_mae : float
        Over aligned residues of the similar pairs; NaN when there is none.
    """

    tm_mae: float
    macro_mae: float
    tm_pearson: float
    lddt_mae: float

    @property
    def score(self) -> float:
        """What the best weights are chosen by; lower is better."""
        parts = np.array([self.tm_mae, self.macro_mae, self.lddt_mae])
        return float(np.nansum(parts * [0.5, 0.5, 1.0]))


def measure(
    tm_predicted: NDArray[np.float32],
    tm_score: NDArray[np.float32],
    lddt_predicted: NDArray[np.float32],
    lddt: NDArray[np.float32],
) -> Validation:
    """Compare predictions, clipped to [0, 1], with labels; a NaN among `lddt` counts for nothing."""
    error = np.abs(tm_predicted.clip(0, 1) - tm_score)
    band = np.clip((tm_score * 5).astype(int), 0, 4)
    known = ~np.isnan(lddt)
    lddt_error = np.abs(lddt_predicted.clip(0, 1) - lddt)[known]
    constant = tm_predicted.std() == 0 or tm_score.std() == 0
    return Validation(
        float(error.mean()),
        float(np.mean([error[band == b].mean() for b in np.unique(band)])),
        float("nan") if constant else float(np.corrcoef(tm_predicted, tm_score)[0, 1]),
        float(lddt_error.mean()) if len(lddt_error) else float("nan"),
    )
