"""The house style of figures: one panel each, the same bytes each time, as SVG and PNG.

SVG ids are salted with a constant and no date is written. Colours are those
of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from mutscan.files import replacing
from mutscan.reports.changes import COLOURS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

INK: Final = "#1d2329"
"""Text and axes; a page may put its own colour in its place, as for the next two."""

MODEL: Final = "#0072b2"
RIVAL: Final = "#d55e00"
GREY: Final = "#c9ced3"

CHANGE: Final = LinearSegmentedColormap.from_list("change", COLOURS)
"""Changed distances: blue is closer together, orange farther apart."""

SIZE: Final = (4.6, 3.4)
"""Inches."""

_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "mutscan",
    "svg.fonttype": "none",
    "text.parse_math": False,  # ids of chains may hold a dollar sign
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    **{key: INK for key in ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")},
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """One panel.

    Parameters
    ----------
    name : str
        Stem of its files.
    title : str
        What it shows, for people.
    caption : str
        How to read it, with the numbers that belong to it.
    svg, png : bytes
        Contents of the files.
    """

    name: str
    title: str
    caption: str
    svg: bytes
    png: bytes

    def write(self, folder: Path) -> None:
        """Write ``NAME.svg`` and ``NAME.png`` into `folder`."""
        for suffix, content in (("svg", self.svg), ("png", self.png)):
            with replacing(folder / f"{self.name}.{suffix}") as temporary:
                temporary.write_bytes(content)


@contextmanager
def panel(size: tuple[float, float] = SIZE) -> Iterator[tuple[Figure, Axes]]:
    """Open a figure of one panel in the house style; `size` in inches."""
    # A figure of its own, not pyplot's: nothing is kept, no window system is asked for.
    with rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots()


def colour_bar(figure: Figure, axes: Axes, mappable: Any, label: str) -> None:
    """Draw the scale of the colours."""
    counts = isinstance(mappable.norm, LogNorm)
    bar = figure.colorbar(
        mappable, ax=axes, shrink=0.85, label=label, format=StrMethodFormatter("{x:,.0f}") if counts else None
    )
    bar.outline.set_visible(False)


def legend(axes: Axes, columns: int = 1, **more: Any) -> None:
    """Draw the legend above the axes: never over the data."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, borderaxespad=0.2, fontsize=8, **more
    )


def matrix(
    name: str,
    values: NDArray[np.float64],
    title: str,
    caption: str,
    *,
    colours: str | Colormap,
    ends: tuple[float | None, float | None] = (None, None),
    label: str = "Å",
    axis: str = "position",
) -> Drawing:
    """Draw values of residue pairs, shape (L, L); unknown ones are grey.

    Parameters
    ----------
    colours, ends, label
        Colour map, the values at its ends (by default the least and the largest), and its label.
    axis : str
        Label of both axes.
    """
    size = len(values) + 0.5
    with panel() as (figure, axes):
        image = axes.imshow(
            np.ma.masked_invalid(values), cmap=colormaps.get_cmap(colours).with_extremes(bad=GREY),
            vmin=ends[0], vmax=ends[1], origin="lower", extent=(0.5, size, 0.5, size), interpolation="none",
        )  # fmt: skip
        colour_bar(figure, axes, image, label)
        axes.set(xlabel=axis, ylabel=axis)
        return drawing(figure, name, title, caption)


def drawing(figure: Figure, name: str, title: str, caption: str) -> Drawing:
    """Save a finished figure in both formats."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "mutscan"})
    figure.set_layout_engine("none")  # it is laid out now, and need not be again
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Drawing(name, title, caption, svg.getvalue(), png.getvalue())
