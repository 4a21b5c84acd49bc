"""Per-residue tracks as SVG paths: small, sharp at any width, on one scale for all variants."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

WIDTH: Final = 1000.0
"""Width of a drawing in its own units; the page stretches it."""

HEIGHT: Final = 100.0

MAX_POINTS: Final = 600
"""Points a line is drawn with; longer proteins show the lowest value of each stretch."""

TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """The value axis: from `low` at the bottom to 1 at the top."""

    low: float

    def y(self, value: float) -> float:
        """Height in the drawing, 0 = top; what lies below the axis is drawn at its foot."""
        share = (value - self.low) / (1.0 - self.low)
        return HEIGHT * (1.0 - min(max(share, 0.0), 1.0))


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on an axis, `percent` of its length from the left or the top."""

    label: str
    percent: float


@dataclass(frozen=True, slots=True)
class Track:
    """A drawing for the template: numbers and paths only, no text from outside.

    Parameters
    ----------
    title, kind : str
        Heading, and the CSS class that colours the line.
    line : str
        Path data of the profile.
    bands : tuple of (x, width)
        Affected residues.
    sites : tuple of float
        Changed positions.
    x_ticks, y_ticks : tuple of Tick
    binned : int
        Residues for each point drawn.
    summary : str
        What a screen reader says.
    """

    title: str
    kind: str
    line: str
    bands: tuple[tuple[str, str], ...]
    sites: tuple[str, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    binned: int
    summary: str


def common_scale(lowest: float) -> Scale:
    """Return a scale that holds every value from `lowest` (lDDT) to 1, with a round lower end.

    Examples
    --------
    >>> common_scale(0.973).low, common_scale(0.42).low, common_scale(math.inf).low
    (0.95, 0.4, 0.0)
    """
    if not math.isfinite(lowest):
        return Scale(0.0)
    step = 0.05 if lowest >= 0.9 else 0.1
    low = math.floor(min(lowest, 1.0) / step + 1e-9) * step
    return Scale(round(min(max(low, 0.0), 1.0 - step), 2))


def draw_track(
    title: str,
    kind: str,
    *,
    positions: NDArray[np.int64],
    values: NDArray[np.float64],
    affected: NDArray[np.bool_],
    sites: Sequence[int],
    scale: Scale,
) -> Track | None:
    """Draw one profile; None when no value is known.

    Parameters
    ----------
    title, kind : str
    positions : int array, shape (L,)
        1-based, ascending.
    values : float array, shape (L,)
        lDDT, NaN where not known: the line has a gap there.
    affected : bool array, shape (L,)
    sites : sequence of int
        Changed positions.
    scale : Scale
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    first, last = int(positions[0]), int(positions[-1])
    span = max(last - first, 1)

    def x(position: float) -> float:
        return WIDTH * (position - first) / span

    size = max(1, math.ceil(len(values) / MAX_POINTS))
    lowest = int(np.nanargmin(values))
    return Track(
        title=title,
        kind=kind,
        line=_line(positions, values, size, x, scale),
        bands=tuple(_bands(positions, affected, x)),
        sites=tuple(f"{x(site):.1f}" for site in sites if first <= site <= last),
        x_ticks=_x_ticks(first, last),
        y_ticks=tuple(Tick(f"{v:.3g}", scale.y(v)) for v in (1.0, (1 + scale.low) / 2, scale.low)),
        binned=size,
        summary=(
            f"{title} along residues {first} to {last}: mean {np.nanmean(values):.4f}, "
            f"lowest {values[lowest]:.4f} at {positions[lowest]}"
        ),
    )


def _line(
    positions: NDArray[np.int64],
    values: NDArray[np.float64],
    size: int,
    x: Callable[[float], float],
    scale: Scale,
) -> str:
    """Path through the lowest known value of every `size` residues; a gap where none is known."""
    padded = np.full(-(-len(values) // size) * size, np.inf)
    padded[: len(values)] = np.where(np.isfinite(values), values, np.inf)
    stretches = padded.reshape(-1, size)
    places = np.arange(len(stretches)) * size + stretches.argmin(axis=1)
    pieces: list[str] = []
    pen_down = False
    for place, value in zip(places.tolist(), stretches.min(axis=1).tolist(), strict=True):
        if value == math.inf:
            pen_down = False
            continue
        here = f"{x(int(positions[place])):.1f} {scale.y(value):.1f}"
        # A residue alone between gaps shows as a dot: a line of no length with round ends.
        pieces.append(f"L{here}" if pen_down else f"M{here}h0")
        pen_down = True
    return "".join(pieces)


def _bands(
    positions: NDArray[np.int64], affected: NDArray[np.bool_], x: Callable[[float], float]
) -> list[tuple[str, str]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], affected, [False]]).astype(np.int8)))
    bands = []
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        left, right = x(positions[first] - 0.5), x(positions[stop - 1] + 0.5)
        bands.append((f"{left:.1f}", f"{right - left:.1f}"))
    return bands


def _x_ticks(first: int, last: int) -> tuple[Tick, ...]:
    """Round positions, at most about `TICKS` of them."""
    span = max(last - first, 1)
    rough = span / TICKS
    power = 10 ** math.floor(math.log10(rough)) if rough >= 1 else 1
    step = int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))
    inside = [p for p in range(-(-first // step) * step, last + 1, step) if first < p < last]
    # The ends are always named; a neighbour that would run into their labels is not.
    kept = [p for p in inside if min(p - first, last - p) > 0.07 * span]
    return tuple(Tick(str(p), 100.0 * (p - first) / span) for p in sorted({first, *kept, last}))
