"""Sums over stretches of a chain round each residue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def window_sum(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Sum over each residue and its neighbours up to `reach` away, as far as there are.

    Parameters
    ----------
    values : float array, shape (L, k)
    reach : int

    Returns
    -------
    float array, shape (L, k)
    """
    running = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    place = np.arange(len(values))
    summed: NDArray[np.float64] = (
        running[np.minimum(place + reach + 1, len(values))] - running[np.maximum(place - reach, 0)]
    )
    return summed


def window_mean(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Mean of `window_sum`'s residues, shape (L, k)."""
    mean: NDArray[np.float64] = window_sum(values, reach) / window_sum(np.ones((len(values), 1)), reach)
    return mean
