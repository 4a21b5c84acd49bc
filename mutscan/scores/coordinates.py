"""Checks of coordinates that every score begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BLOCK = 1 << 20
"""Matrix elements worked on at a time: bounds the memory for long chains."""


def checked_coordinates(value: ArrayLike, name: str) -> NDArray[np.float64]:
    """Copy to float64; a residue with a coordinate that is not finite becomes NaN throughout."""
    coord = np.array(value, dtype=np.float64, order="C")
    if coord.ndim != 2 or coord.shape[1] != 3:
        raise ValueError(f"{name} must have shape (L, 3), not {coord.shape}")
    coord[~np.isfinite(coord).all(axis=1)] = np.nan
    return coord


def has_coordinates(coord: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each residue of checked coordinates has them, shape (L,)."""
    return np.isfinite(coord[:, 0])
