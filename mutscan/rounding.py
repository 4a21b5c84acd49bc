"""Numbers rounded as text rounds them, many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rounded(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Round to the number that ``float(f"{x:.{decimals}f}")`` gives, never ``-0.0``; NaN stays.

    `numpy.round` multiplies first, and so may round a number next to a half the other way.

    Parameters
    ----------
    values : float array
        Below 10^4 in size.
    decimals : int
        Up to 6.

    Examples
    --------
    >>> rounded(np.array([0.15, -0.04]), 1)
    array([0.1, 0. ])
    """
    scale = 10.0**decimals
    scaled = values * scale
    whole = np.rint(scaled)
    near = np.abs(np.abs(scaled - whole) - 0.5) < 1e-5
    whole[near] = [round(float(f"{x:.{decimals}f}") * scale) for x in values[near].tolist()]
    found: NDArray[np.float64] = whole / scale + 0.0
    return found
