"""Figures of an evaluation: the preprint's 4, 5 and 6, scatter plots, calibration, length, mutants.

Every figure is one panel, so that a page can lay panels out for its width.
The same evaluation gives the same bytes: SVG ids are salted with a constant
and no date is written. Colours are those of Okabe and Ito, which colour-blind
readers can distinguish; matrices keep the preprint's viridis and Reds.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.cbook import boxplot_stats
from matplotlib.ticker import StrMethodFormatter

from mutscan.reports.drawing import INK, MODEL, RIVAL, Drawing, colour_bar, drawing, legend, panel
from mutscan.train.evaluate.pair_metrics import BANDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MANY: Final = 600  # points; more are drawn as hexagons


@dataclass(frozen=True, eq=False)
class Series:
    """Errors or predictions of one predictor, with its name for the legend."""

    label: str
    values: NDArray[np.float64]


def error_histogram(
    name: str, what: str, unit: str, model: Series, rival: Series | None, *, bins: int
) -> Drawing:
    """Figures 4 and 6: distribution of predicted - true, for the model and a rival.

    The range holds 99.5 % of all errors; the caption counts the others.
    """
    shown = [model] if rival is None else [model, rival]
    limit = nice_limit(np.concatenate([series.values for series in shown]))
    edges = np.linspace(-limit, limit, bins + 1)
    outside = []
    with panel() as (figure, axes):
        for series, colour in zip(shown, (MODEL, RIVAL), strict=False):
            counts, _ = np.histogram(series.values, edges)
            fill = series is model
            axes.stairs(
                counts, edges, fill=fill, color=colour, alpha=0.55 if fill else 1.0, label=series.label
            )
            outside.append(f"{series.label} {int((np.abs(series.values) > limit).sum()):,}")
        axes.axvline(0.0, color=INK, linewidth=0.7, linestyle=":")
        axes.set(xlabel=f"predicted − true {what}", ylabel=unit, xlim=(-limit, limit))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.locator_params(axis="x", nbins=5)
        legend(axes)
        caption = (
            f"{len(model.values):,} {unit}; a good predictor has a narrow peak at 0. Left of 0 the "
            f"prediction is too low, right of it too high. Outside the range shown: {', '.join(outside)}."
        )
        return drawing(figure, name, f"Errors of the predicted {what}", caption)


def nice_limit(errors: NDArray[np.float64]) -> float:
    """Half width of a range that holds 99.5 % of the errors: 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> nice_limit(np.array([0.013, -0.002])), nice_limit(np.zeros(3))
    (0.02, 0.01)
    """
    reach = float(np.quantile(np.abs(errors), 0.995)) if len(errors) else 0.0
    for exponent in range(-4, 1):
        for factor in (1.0, 2.0, 5.0):
            limit = float(round(factor * 10.0**exponent, -exponent))
            if 0 < reach <= limit:
                return limit
    return 0.01 if reach == 0 else 1.0


def box_plots(name: str, truth: NDArray[np.float64], model: Series, rival: Series | None) -> Drawing:
    """Figure 5: signed TM errors in five intervals of the true TM-score, the last closed."""
    place = np.clip(np.searchsorted(BANDS, truth, side="right") - 1, 0, len(BANDS) - 2)
    shown = [model] if rival is None else [model, rival]
    width = 0.8 / len(shown)
    with panel() as (figure, axes):
        for number, (series, colour) in enumerate(zip(shown, (MODEL, RIVAL), strict=False)):
            filled = [band for band in range(len(BANDS) - 1) if (place == band).any()]
            centres = [band + (number - (len(shown) - 1) / 2) * width for band in filled]
            axes.bxp(
                [boxplot_stats(series.values[place == band])[0] for band in filled],
                positions=centres,
                widths=0.85 * width,
                showfliers=False,
                patch_artist=True,
                manage_ticks=False,
                boxprops={"facecolor": colour, "edgecolor": INK, "alpha": 0.75, "linewidth": 0.8},
                medianprops={"color": INK, "linewidth": 1.4},
                whiskerprops={"color": INK, "linewidth": 0.8},
                capprops={"color": INK, "linewidth": 0.8},
            )
            axes.plot([], [], color=colour, linewidth=6, alpha=0.75, label=series.label)
        axes.axhline(0.0, color=INK, linewidth=0.7, linestyle=":")
        labels = [
            f"{low:g}-{high:g}\nn = {int((place == band).sum()):,}"
            for band, (low, high) in enumerate(pairwise(BANDS))
        ]
        axes.set_xticks(range(len(labels)), labels)
        axes.set(xlabel="true TM-score", ylabel="predicted − true", xlim=(-0.6, len(labels) - 0.4))
        legend(axes)
        caption = (
            "A box holds the middle half of the errors, its line is the median, whiskers reach 1.5 box "
            "heights; outliers are not drawn. A box at 0 is right on average, a box above 0 is too high."
        )
        return drawing(figure, name, "TM errors by true TM-score", caption)


def scatter(
    name: str, what: str, truth: NDArray[np.float64], predicted: NDArray[np.float64], *, points: str
) -> Drawing:
    """Predicted against true, as hexagons where there are many."""
    low = float(min(truth.min(), predicted.min()))
    low = 0.0 if low < 0.5 else np.floor(low * 20) / 20
    with panel() as (figure, axes):
        if len(truth) > _MANY:
            extent = (low, 1, low, 1)
            hexagons = axes.hexbin(truth, predicted, gridsize=32, bins="log", extent=extent, linewidths=0)
            colour_bar(figure, axes, hexagons, points)
        else:
            axes.plot(truth, predicted, "o", color=MODEL, markersize=3.5, alpha=0.6, markeredgewidth=0)
        axes.plot([low, 1], [low, 1], color=INK, linewidth=0.7, linestyle=":")
        axes.set(xlabel=f"true {what}", ylabel=f"predicted {what}", xlim=(low, 1.01), ylim=(low, 1.01))
        caption = f"{len(truth):,} {points}; on the dotted line prediction and truth agree."
        return drawing(figure, name, f"Predicted against true {what}", caption)


def trend(
    name: str, title: str, bins: Sequence[dict[str, Any]], value: str, axis: tuple[str, str], caption: str
) -> Drawing:
    """Draw a number by bin with its interval: calibration (``mean_true``) or bias by length."""
    diagonal = value == "mean_true"
    shown = [entry for entry in bins if entry["n"] > 0]
    heights = np.array([entry[value] for entry in shown])
    ends = np.array([entry[f"{value}_ci"] or [entry[value]] * 2 for entry in shown]).reshape(-1, 2)
    places = (
        np.array([entry["mean_predicted"] for entry in shown])
        if diagonal
        else np.arange(len(shown), dtype=float)
    )
    with panel() as (figure, axes):
        if diagonal:
            axes.plot([0, 1], [0, 1], color=INK, linewidth=0.7, linestyle=":")
            axes.set(xlim=(0, 1.01), ylim=(0, 1.01))
        else:
            axes.axhline(0.0, color=INK, linewidth=0.7, linestyle=":")
            axes.set_xticks(places, [_bin_name(entry) for entry in shown], fontsize=7.5)
            axes.set_xlim(-0.5, len(shown) - 0.5)
        spread = np.abs(ends - heights[:, None]).T
        axes.errorbar(
            places, heights, yerr=spread, fmt="o", color=MODEL, markersize=5, capsize=2, linewidth=1
        )
        axes.set(xlabel=axis[0], ylabel=axis[1])
        return drawing(figure, name, title, caption)


def _bin_name(entry: dict[str, Any]) -> str:
    span = f"≥ {entry['from']:g}" if entry["to"] is None else f"{entry['from']:g}-{entry['to']:g}"
    return f"{span}\nn = {entry['n']:,}"


def drop_scatter(
    name: str, measured: NDArray[np.float64], predicted: NDArray[np.float64], what: str
) -> Drawing:
    """Predicted against measured drop of the lDDT of mutants."""
    known = ~np.isnan(measured) & ~np.isnan(predicted)
    with panel() as (figure, axes):
        axes.plot(
            measured[known], predicted[known], "o", color=MODEL, markersize=3.5, alpha=0.5, markeredgewidth=0
        )
        axes.set(xlabel=f"measured drop, {what}", ylabel=f"predicted drop, {what}")
        axes.locator_params(axis="x", nbins=5)
        caption = (
            f"{int(known.sum()):,} mutants. If the model knows which mutants disturb their protein more, the "
            "points rise to the right; the scales may differ."
        )
        return drawing(figure, name, f"lDDT drops of mutants, {what}", caption)
