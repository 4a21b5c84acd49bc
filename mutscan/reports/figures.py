"""Figures of a saved run, one file each: overview, tracks, matrices, evidence, heat map."""

from __future__ import annotations

import textwrap
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib import colormaps

from mutscan.errors import MutscanError
from mutscan.files import file_name
from mutscan.reports.changes import largest_change, reach_of
from mutscan.reports.coordinates import distances, read_frame
from mutscan.reports.digest import label
from mutscan.reports.drawing import (
    CHANGE,
    GREY,
    INK,
    MODEL,
    RIVAL,
    colour_bar,
    drawing,
    legend,
    matrix,
    panel,
)
from mutscan.reports.html import shorten
from mutscan.reports.saved import read_null, read_run, site_positions
from mutscan.reports.scan import ROWS, is_scan, read_cells
from mutscan.reports.views import by_severity
from mutscan.residues import STANDARD
from mutscan.results import RunFolder
from mutscan.structures import read_structure
from mutscan.structures.segments import runs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mutscan.reports.coordinates import Frame
    from mutscan.reports.drawing import Drawing
    from mutscan.reports.saved import SavedRun

DRAWN: Final = 30
"""Variants that get figures of their own, those that matter most."""

BAND: Final = 3.0
"""Robust standard deviations of the null on either side of its median."""

FLAGS: Final = {"deleterious": RIVAL, "tolerated": MODEL, "uncertain": "#e69f00", "": "#5b6570"}
SHAPES: Final = {"deleterious": "v", "tolerated": "^", "uncertain": "D", "": "o"}
"""Colour and shape of each flag: neither alone has to be told apart."""

AFFECTED, SITE, NULL = "#e69f00", "#a3246b", "#9fb8c8"

_WIDE: Final = (7.2, 3.0)
_LONGEST: Final = 60


def draw_run(directory: Path) -> Iterator[Drawing]:
    """Draw the figures of a saved run, one after the other.

    Raises
    ------
    UsageError
        It is no run folder, or a damaged one.
    """
    if is_scan(directory):
        yield from _scan_figures(directory)
        return
    run = read_run(directory)
    chosen = by_severity(run).head(DRAWN)
    if len(chosen):
        yield _overview(run, chosen, [label(run, row) for _, row in chosen.iterrows()])
    rows = {str(row["variant"]): row for _, row in chosen.iterrows()}
    stems = _stems(run, rows)
    null, evidence = read_null(directory), run.evidence()
    folder = RunFolder(directory)
    frame: Frame | None = None
    for variant, block in run.residues():
        if variant not in rows:
            continue
        path = folder.structure_of(variant)
        name, stem = label(run, rows[variant]), stems[variant]
        yield _track(f"{stem}_track", name, block, rows[variant], null)
        if evidence.get(variant):
            yield _evidence(f"{stem}_evidence", name, evidence[variant])
        if frame is None:
            frame = read_frame(folder.structures, block["structure_number"].tolist())
            if frame is None:
                continue
            yield matrix(
                "wild_type_distances",
                distances(frame.ca),
                f"Distances within {run.name}",
                "How far apart each two C-alpha atoms are: the fold as a map. Grey: no coordinates.",
                colours="cividis_r",
                ends=(0.0, float(np.nanmax(distances(frame.ca)))),
                label="distance, Å",
            )
        change = _change(path, frame)
        if change is not None:
            yield _difference(f"{stem}_difference", name, change)


def _stems(run: SavedRun, rows: Mapping[str, pd.Series[Any]]) -> dict[str, str]:
    """Begin the file names of each variant's figures with what its row is called: `label`, or its input."""
    stems = {}
    for variant, row in rows.items():
        called = variant if label(run, row) == variant else str(row["input"])
        stems[variant] = file_name(called.replace(";", "_"))
    # Insertion codes may differ in case alone, which some file systems do not tell apart.
    taken = Counter(stem.lower() for stem in stems.values())
    return {
        variant: stem if taken[stem.lower()] == 1 else file_name(f"{stem}-{variant.replace(';', '_')}")
        for variant, stem in stems.items()
    }


def _overview(run: SavedRun, chosen: pd.DataFrame, names: Sequence[str]) -> Drawing:
    """Every variant on one axis: probability where the model is calibrated, else drop z."""
    calibrated = bool(chosen["p_deleterious"].notna().any())
    column = "p_deleterious" if calibrated else "z_score"
    rows = chosen.iloc[::-1]
    values = rows[column].to_numpy(dtype=float) * (1 if calibrated else -1)
    places = np.arange(len(rows))
    flags = rows["flag"].to_numpy(dtype=object)
    with panel((_WIDE[0], 0.9 + 0.22 * max(len(rows), 4))) as (figure, axes):
        for flag, colour in FLAGS.items():
            here = flags == flag
            if here.any():
                axes.plot(
                    values[here],
                    places[here],
                    SHAPES[flag],
                    color=colour,
                    markersize=6,
                    markeredgewidth=0,
                    label=flag or "no verdict",
                )
        axes.set_yticks(places, [shorten(name, _LONGEST) for name in reversed(names)], fontsize=8)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        axes.grid(axis="x", color=GREY, linewidth=0.5)
        axes.tick_params(axis="y", length=0)
        if calibrated:
            axes.set(xlim=(-0.02, 1.02), xlabel="P(deleterious)")
        else:
            axes.axvline(0.0, color=INK, linewidth=0.7, linestyle=":")
            axes.set(xlabel="drop z of the predicted lDDT against other substitutions (positive: worse)")
        legend(axes, 4, handletextpad=0.2)
        scored = len(run.scored)
        more = "" if len(rows) == scored else f" The {len(rows)} of {scored} that matter most are shown."
        caption = f"{scored} scored variants of {run.name}, the most disruptive on top.{more}"
        return drawing(figure, "overview", f"Variants of {run.name}", caption)


def _track(
    name: str, variant: str, block: pd.DataFrame, row: pd.Series[Any], null: pd.DataFrame | None
) -> Drawing:
    """Predicted and measured lDDT along the sequence, the null's band behind."""
    positions = block["position"].to_numpy(dtype=int)
    predicted = block["lddt_predicted"].to_numpy(dtype=float)
    measured = block["lddt_measured"].to_numpy(dtype=float)
    affected = block["affected"].fillna(False).to_numpy(dtype=bool)
    with panel(_WIDE) as (figure, axes):
        low = np.nanmin(np.concatenate([predicted, measured, [0.99]]))
        if null is not None and len(null) == len(block):
            middle = null["residue_median"].to_numpy(dtype=float)
            half = BAND * null["residue_scale"].to_numpy(dtype=float)
            axes.fill_between(
                positions,
                np.minimum(middle - half, 1),
                np.minimum(middle + half, 1),
                color=NULL,
                alpha=0.55,
                linewidth=0,
                label=f"null, median ± {BAND:g} robust s.d.",
            )
        for first, last in runs(affected):
            axes.axvspan(
                positions[first] - 0.5, positions[last] + 0.5, color=AFFECTED, alpha=0.28, linewidth=0
            )
        if affected.any():
            axes.fill_between([], [], color=AFFECTED, alpha=0.28, linewidth=0, label="affected")
        axes.plot(positions, predicted, color=MODEL, linewidth=1.2, label="predicted")
        if np.isfinite(measured).any():
            axes.plot(positions, measured, color=RIVAL, linewidth=1.0, linestyle="--", label="measured")
        for site in site_positions(str(row["positions"])):
            axes.axvline(site, color=SITE, linewidth=1.0, linestyle=":")
        axes.set(
            xlabel="position", ylabel="lDDT", xlim=(positions[0] - 1, positions[-1] + 1),
            ylim=(low - 0.02 * (1 - low) - 0.002, 1 + 0.02 * (1 - low) + 0.001),
        )  # fmt: skip
        legend(axes, 4)
        caption = (
            f"{variant}: lDDT of each residue, 1 is as in the wild type; dotted: the changed residue. "
            f"Affected: {row['affected_regions'] or 'no stretch of residues'}."
        )
        return drawing(figure, name, f"{shorten(variant, _LONGEST)} along the sequence", caption)


def _evidence(name: str, variant: str, pieces: list[tuple[str, str, float]]) -> Drawing:
    shown = pieces[:12][::-1]
    weights = np.array([weight for _, _, weight in shown])
    labels = [
        "\n".join([shorten(what, _LONGEST), *textwrap.wrap(value, 46, max_lines=3, placeholder=" …")])
        for what, value, _ in shown
    ]
    height = 0.8 + sum(0.15 + 0.13 * (1 + label.count("\n")) for label in labels)
    with panel((_WIDE[0], max(height, 1.6))) as (figure, axes):
        # Letters are a little wider at the picture's resolution than where the layout is made.
        figure.set_layout_engine("constrained", w_pad=0.14)
        colours = [RIVAL if weight > 0 else MODEL for weight in weights]
        bars = axes.barh(np.arange(len(shown)), weights, color=colours, height=0.7)
        told = [f"{round(weight, 2) + 0.0:+.2f}" for weight in weights]
        axes.bar_label(bars, told, padding=3, fontsize=8)
        axes.set_yticks(np.arange(len(shown)), labels, fontsize=7)
        axes.axvline(0.0, color=INK, linewidth=0.7)
        axes.margins(x=0.15)
        axes.set_xlabel("log-odds added (right: speaks for deleterious)")
        caption = f"What speaks for and against {variant} being deleterious, the strongest on top."
        return drawing(figure, name, f"Evidence on {shorten(variant, _LONGEST)}", caption)


def _change(path: Path, frame: Frame) -> NDArray[np.float64] | None:
    """Distances in the mutant minus those in the wild type; None where no such mutant was built."""
    if not path.is_file():
        return None
    try:
        mutant = read_structure(path)
    except MutscanError:
        return None  # damaged or foreign: the numbers of the variant still stand
    if len(mutant) != len(frame.structure):
        return None
    here = (frame.places >= 0)[:, None]
    ca = np.where(here, mutant.ca[np.maximum(frame.places, 0)], np.nan)
    return distances(ca) - distances(frame.ca)


def _difference(name: str, variant: str, change: NDArray[np.float64]) -> Drawing:
    reach = reach_of(change)
    return matrix(
        name,
        change,
        f"Distances that {shorten(variant, _LONGEST)} changes",
        f"C-alpha distances of the built mutant {variant} minus the wild type's: blue is closer together, "
        f"orange farther apart. {largest_change(change)}",
        colours=CHANGE,
        ends=(-reach, reach),
        label="change of distance, Å",
    )


def _scan_figures(directory: Path) -> Iterator[Drawing]:
    cells = read_cells(directory)
    positions = cells["position"].to_numpy().reshape(-1, len(STANDARD))[:, 0]
    calibrated = bool(cells["p_deleterious"].notna().any())
    values = cells["rank"].to_numpy(dtype=float).reshape(-1, len(STANDARD)).T
    values = values[[STANDARD.index(letter) for letter in ROWS]]
    ranked = int(np.isfinite(values).sum())
    width = float(np.clip(1.6 + 0.06 * len(positions), 7.2, 60.0))
    with panel((width, 4.2)) as (figure, axes):
        image = axes.imshow(
            np.ma.masked_invalid(values), cmap=colormaps["cividis_r"].with_extremes(bad="white"),
            vmin=1, vmax=ranked, aspect="auto", interpolation="none",
            extent=(-0.5, len(positions) - 0.5, len(STANDARD) - 0.5, -0.5),
        )  # fmt: skip
        by = "P(deleterious)" if calibrated else "drop z"
        colour_bar(figure, axes, image, f"rank by {by} (1: most harmful)")
        axes.set_yticks(range(len(ROWS)), [*ROWS], fontsize=7)
        _position_ticks(axes, positions)
        axes.set(xlabel="position", ylabel="substituted by")
        name = read_run(directory, rows=1).name
        caption = (
            f"Every substitution of {name}, ranked among all {ranked}; residues of like chemistry are "
            "neighbours. White: the wild type's own residue, or not known."
        )
        yield drawing(figure, "heat_map", f"Scan of {name}", caption)


def _position_ticks(axes: Axes, positions: NDArray[np.int64]) -> None:
    """Name round positions; those scanned need not be all."""
    step = next((s for s in (1, 5, 10, 20, 50, 100, 200, 500) if len(positions) / s <= 40), 1000)
    places = [k for k, position in enumerate(positions.tolist()) if position % step == 0] or [0]
    axes.set_xticks(places, [str(positions[k]) for k in places], fontsize=7)
