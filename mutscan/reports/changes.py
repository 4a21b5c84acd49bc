"""What a matrix of changed distances shows: the scale of its colours, and where to look, in one sentence.

``matrix.js`` does the same in the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

QUIET: Final = 0.5
"""Å; a distance that changes by no more stands still. The scale of the colours is never finer."""

COLOURS: Final = ("#00568a", "#5ba7d6", "#e9ecef", "#eda566", "#b8430b")
"""From closer together to farther apart; the middle is no change. ``gainLoss`` of data.js."""


def reach_of(change: NDArray[np.float64]) -> float:
    """Change at the ends of the colours, Å: what 99.9 % of the distances stay within, at least `QUIET`.

    Parameters
    ----------
    change : float array, shape (L, L), Å
        NaN where unknown.
    """
    sizes = np.abs(change[np.isfinite(change)])
    return max(float(np.quantile(sizes, 0.999)), QUIET) if sizes.size else QUIET


def largest_change(change: NDArray[np.float64]) -> str:
    """State between which residues a distance changes most.

    Parameters
    ----------
    change : float array, shape (L, L), Å
        Symmetric; positive where residues are farther apart; NaN where unknown.

    Examples
    --------
    >>> change = np.zeros((30, 30))
    >>> change[3:7, 20:23] = change[20:23, 3:7] = 1.4
    >>> largest_change(change)
    'Largest change: residues 4-7 against 21-23, 1.4 Å farther apart.'
    >>> largest_change(np.zeros((30, 30)))
    'No distance changes by more than 0.5 Å.'
    """
    sizes = np.nan_to_num(np.abs(change))
    i, j = sorted(divmod(int(sizes.argmax()), len(change)))
    most = float(np.nan_to_num(change[i, j]))
    if abs(most) <= QUIET:
        where = f"; the largest change is {abs(most):.2f} Å, between residues {i + 1} and {j + 1}"
        return f"No distance changes by more than {QUIET:g} Å{where if abs(most) >= 0.005 else ''}."
    # Neighbours on either side that change the same way, at least half as much.
    first = _around(i, 0, max(i, j - 1), lambda k: change[k, j] / most)
    second = _around(j, min(first[1] + 1, j), len(change) - 1, lambda k: change[i, k] / most)
    said = "farther apart" if most > 0 else "closer together"
    one, other = (f"{a + 1}-{b + 1}" if a < b else f"{a + 1}" for a, b in (first, second))
    return f"Largest change: residues {one} against {other}, {abs(most):.1f} Å {said}."


def _around(start: int, low: int, high: int, share: Callable[[int], float]) -> tuple[int, int]:
    first = last = start
    while first > low and share(first - 1) >= 0.5:
        first -= 1
    while last < high and share(last + 1) >= 0.5:
        last += 1
    return first, last
