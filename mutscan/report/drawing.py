"""The house style of figures: one panel each, the same bytes each time, as SVG and PNG.

SVG ids are salted with a constant and no date is written. Colours are those
of Okabe and Ito, which colour-blind readers tell apart.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from mutscan.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from matplotlib.axes import Axes

INK: Final = "#1d2329"
"""Text and axes; a page may put its own colour in its place, as for the next two."""

MODEL: Final = "#0072b2"
RIVAL: Final = "#d55e00"

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


def drawing(figure: Figure, name: str, title: str, caption: str) -> Drawing:
    """Save a finished figure in both formats."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": "mutscan"})
    figure.set_layout_engine("none")  # it is laid out now, and need not be again
    figure.savefig(png, format="png", dpi=160, metadata={"Software": None})
    return Drawing(name, title, caption, svg.getvalue(), png.getvalue())
