"""The page of a comparison: one self-contained file, every text escaped.

Tracks are SVG, matrices small PNGs within the page, the alignment is text that
wraps with the window; so it prints, and works on a phone and without a mouse.
Scripts draw the superposition and switch to dark colours; all else is there without them.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.image import imsave

from mutscan.reports.block import Block
from mutscan.reports.changes import largest_change, reach_of
from mutscan.reports.compared import compared_facts, compared_headline, compared_scores
from mutscan.reports.coordinates import distances
from mutscan.reports.drawing import CHANGE
from mutscan.reports.html import fill_page, in_script, shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.colors import Colormap
    from numpy.typing import NDArray

    from mutscan.reports.compared import Compared

SCRIPTS: Final = (
    "elements.js", "theme.js", "data.js", "trace.js", "stage.js", "colouring.js", "compare.js",
)  # fmt: skip

LDDT_STEP: Final = 1 / 65534

UNIT: Final = 10
"""Alignment columns that stay together when the text wraps."""

PIXELS: Final = 500
"""Rows of a matrix at most; longer proteins show the mean of neighbouring residues."""

WIDTH, HEIGHT = 1000.0, 120.0
"""Drawing units of the track; the page stretches it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the alignment: letters, ``|`` where identical, and the class of its colour."""

    a: str
    b: str
    mark: str
    shade: str


@dataclass(frozen=True, slots=True)
class Unit:
    """Some columns that stay together; positions of its first residues, empty where it has none."""

    start_a: str
    start_b: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A profile of the track: CSS class, name, path."""

    kind: str
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """A picture of residue pairs: heading, words, data URI, ends of its axes, numbers of its colours."""

    title: str
    words: str
    image: str
    last: int
    axis: str
    low: str
    middle: str
    high: str
    scale: str


def render_comparison(comparison: Compared) -> str:
    """HTML of the page of a comparison; it needs no other file and may ask for none."""
    residues = comparison.residues
    measured = bool(residues["lddt_measured"].notna().any())
    lowest = _foot(residues[["lddt_predicted", "lddt_measured"]].to_numpy(dtype=float))
    data, block = _scene(comparison)
    return fill_page(
        "compare.html.j2",
        SCRIPTS,
        {},
        data=in_script(data),
        block=Markup(block),
        solid="atoms" in data,
        comparison=comparison,
        headline=compared_headline(comparison),
        scores=compared_scores(comparison),
        facts=compared_facts(comparison),
        measured=measured,
        units=tuple(_units(comparison, "lddt_measured" if measured else "lddt_predicted")),
        shades=_shades(),
        lines=tuple(_lines(comparison, lowest)),
        lowest=f"{lowest:g}",
        middle=f"{(1 + lowest) / 2:g}",
        ticks=_ticks(comparison.length_a),
        gaps=tuple(_gaps(comparison)),
        matrices=tuple(_matrices(comparison)),
    )


def _foot(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(np.floor(known.min() * 10) / 10) if len(known) and known.min() < 1 else 0.0


def _shade(value: float) -> str:
    """Class of an lDDT: a tenth; ``n`` where not known."""
    return f"q{min(int(value * 10), 9)}" if np.isfinite(value) else "n"


def _shades() -> tuple[tuple[str, str, str], ...]:
    """Class, colour and the colour of text on it for each tenth of lDDT; cividis, as everywhere."""
    shades = []
    for tenth in range(10):
        red, green, blue, _ = colormaps["cividis"](0.1 + 0.9 * tenth / 9, bytes=True)
        light = 0.299 * red + 0.587 * green + 0.114 * blue > 128
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        shades.append((f"q{tenth}", colour, "#111" if light else "#fff"))
    return tuple(shades)


def _units(comparison: Compared, column: str) -> Iterator[Unit]:
    columns = list(_columns(comparison, column))
    a = b = 0
    for start in range(0, len(columns), UNIT):
        part = columns[start : start + UNIT]
        in_a, in_b = (sum(getattr(c, row) != "-" for c in part) for row in ("a", "b"))
        yield Unit(str(a + 1) if in_a else "", str(b + 1) if in_b else "", tuple(part))
        a, b = a + in_a, b + in_b


def _columns(comparison: Compared, column: str) -> Iterator[Column]:
    """Every residue of both proteins once: aligned pairs, and what is left out between them."""
    first, second = comparison.sequence_a, comparison.sequence_b
    residues = comparison.residues
    a = b = 0
    pairs = zip(
        residues["position_a"].tolist(),
        residues["position_b"].tolist(),
        residues[column].tolist(),
        strict=True,
    )
    for position_a, position_b, value in (*pairs, (len(first) + 1, len(second) + 1, float("nan"))):
        yield from (Column(letter, "-", " ", "") for letter in first[a : position_a - 1])
        yield from (Column("-", letter, " ", "") for letter in second[b : position_b - 1])
        if position_a > len(first):
            return
        one, other = first[position_a - 1], second[position_b - 1]
        yield Column(one, other, "|" if one == other else "·", _shade(value))
        a, b = position_a, position_b


def _x(position: float, length: int) -> float:
    return WIDTH * (position - 0.5) / length


def _lines(comparison: Compared, lowest: float) -> Iterator[Line]:
    positions = comparison.residues["position_a"].to_numpy(dtype=int)
    for kind in ("predicted", "measured"):
        values = comparison.residues[f"lddt_{kind}"].to_numpy(dtype=float)
        known = np.isfinite(values)
        if not known.any():
            continue
        path, before = [], None
        for position, value in zip(positions[known].tolist(), values[known].tolist(), strict=True):
            height = HEIGHT * (1 - value) / (1 - lowest)
            here = f"{_x(position, comparison.length_a):.1f} {height:.1f}"
            # A residue alone between gaps shows as a dot: a line of no length with round ends.
            path.append(f"L{here}" if before == position - 1 else f"M{here}h0")
            before = position
        yield Line(kind, f"{kind} lDDT", "".join(path))


def _gaps(comparison: Compared) -> Iterator[tuple[str, str]]:
    """Start and width of the stretches of A that have no partner."""
    aligned = np.zeros(comparison.length_a + 2, dtype=bool)
    aligned[0] = aligned[-1] = True
    aligned[comparison.residues["position_a"].to_numpy(dtype=int)] = True
    edges = np.flatnonzero(np.diff(aligned.astype(np.int8)))
    for last, first in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start, stop = _x(last + 0.5, comparison.length_a), _x(first + 0.5, comparison.length_a)
        yield f"{start:.1f}", f"{stop - start:.1f}"


def _ticks(length: int) -> tuple[tuple[str, str], ...]:
    """Label and percent of round positions, about six."""
    step = next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if length / s <= 8), 1000)
    places = [1, *(p for p in range(step, length + 1, step) if p > 0.06 * length)]
    return tuple((str(place), f"{_x(place, length) / WIDTH * 100:.2f}") for place in places)


def _scene(comparison: Compared) -> tuple[dict[str, Any], str]:
    """Both chains for the 3-D view, in the layout of a report's page: A as wild type, B as mutant."""
    block = Block()
    data: dict[str, Any] = {
        "kind": "compare",
        "sequence": comparison.sequence_a,
        "other": comparison.sequence_b,
        "names": [shorten(name, 40) for name in (comparison.name_a, comparison.name_b)],
        "viewer_note": "",
    }
    if comparison.ca_a is not None and comparison.ca_b is not None:
        chains = (comparison.ca_a, comparison.ca_b)
        centre = np.nanmean(comparison.ca_a, axis=0)
        reach = max(float(np.nanmax(np.abs(ca - centre))) for ca in chains)
        step = max(0.01, reach / 32000)
        data["atoms"] = {"names": ["CA"], "step": step, "centre": centre.round(3).tolist()}
        for kind, ca in zip(("wild_type", "mutant"), chains, strict=True):
            here = np.flatnonzero(np.isfinite(ca).all(axis=1))
            block.add(f"{kind}_residue", here, "u2")
            block.add(f"{kind}_name", np.zeros(len(here)), "u1")
            block.add(f"{kind}_xyz", (ca[here] - centre).ravel(), "i2", step=step)
        elements, data["other_elements"] = (
            [{"kind": e.kind, "start": e.first + 1, "end": e.last + 1} for e in found]
            for found in (comparison.elements_a, comparison.elements_b)
        )
        data["places"] = {"domains": [], "sites": [], "elements": elements}
        residues = comparison.residues
        for name, column in (("pair_a", "position_a"), ("pair_b", "position_b")):
            block.add(name, residues[column].to_numpy(dtype=float) - 1, "u2")
        for name in ("lddt_predicted", "lddt_measured"):
            block.add(name, residues[name].to_numpy(dtype=float), "u2", step=LDDT_STEP)
    data["arrays"] = block.index
    return data, block.text()


def _matrices(comparison: Compared) -> Iterator[Matrix]:
    if comparison.ca_a is None or comparison.ca_b is None:
        return
    a, b = distances(comparison.ca_a), distances(comparison.ca_b)
    top = max(float(np.nanmax(a)), float(np.nanmax(b)))
    near = colormaps["cividis_r"]
    for name, within in ((comparison.name_a, a), (comparison.name_b, b)):
        yield Matrix(
            f"Distances within {name}", "How far apart each two Cα atoms are: the fold as a map.",
            _picture(within, near, 0.0, top), len(within), "position", "0 Å, near", f"{top / 2:.0f} Å",
            f"{top:.0f} Å", _gradient(near),
        )  # fmt: skip
    place_a = comparison.residues["position_a"].to_numpy(dtype=int) - 1
    place_b = comparison.residues["position_b"].to_numpy(dtype=int) - 1
    change = np.full_like(a, np.nan)
    change[np.ix_(place_a, place_a)] = b[np.ix_(place_b, place_b)] - a[np.ix_(place_a, place_a)]
    if np.isfinite(change).any():
        reach = reach_of(change)
        yield Matrix(
            f"Difference, {shorten(comparison.name_b, 40)} − {shorten(comparison.name_a, 40)}",
            f"{largest_change(change)} Grey: not aligned, or no coordinates.",
            _picture(change, CHANGE, -reach, reach), len(change), f"position in {comparison.name_a}",
            f"−{reach:.1f} Å, closer", "0", f"+{reach:.1f} Å, farther", _gradient(CHANGE),
        )  # fmt: skip


def _picture(values: NDArray[np.float64], cmap: Colormap, low: float, high: float) -> str:
    """PNG of a matrix as a data URI; at most `PIXELS` rows, the same bytes each time."""
    size = -(-len(values) // PIXELS)
    if size > 1:
        rows = -(-len(values) // size)
        padded = np.full((rows * size, rows * size), np.nan)
        padded[: len(values), : len(values)] = values
        blocks = padded.reshape(rows, size, rows, size)
        known = np.isfinite(blocks).sum(axis=(1, 3))
        values = np.where(known > 0, np.nansum(blocks, axis=(1, 3)) / np.maximum(known, 1), np.nan)
    colours = cmap.with_extremes(bad=(0.5, 0.5, 0.5, 0.35))
    shown = np.ma.masked_invalid((values - low) / (high - low))
    stream = io.BytesIO()
    # matplotlib would write its version into the picture
    imsave(stream, colours(shown, bytes=True), format="png", origin="lower", metadata={"Software": "mutscan"})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _gradient(cmap: Colormap) -> str:
    stops = (cmap(step / 8, bytes=True)[:3] for step in range(9))
    return ",".join(f"rgb({red} {green} {blue})" for red, green, blue in stops)
