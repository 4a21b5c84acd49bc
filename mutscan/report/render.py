"""Draw report.html from a saved run: one file, no request leaves the page, every text escaped.

Only variants.csv, residues.parquet and run.json are read: no model, no network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jinja2

from mutscan import __version__
from mutscan.report.digest import UNCALIBRATED, digest, number
from mutscan.report.saved import SCORED, read_run, site_positions
from mutscan.report.scan import is_scan, render_scan
from mutscan.report.tracks import Scale, Track, common_scale, draw_track

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from mutscan.report.saved import SavedRun

OPEN_SECTIONS: Final = 40
"""Up to so many variants all sections are unfolded."""

LONGEST: Final = 160
"""Letters of a user's text shown in a heading or a cell; the files hold it in full."""

TABLE_NUMBERS: Final = (
    ("tm_predicted", "TM predicted", 4),
    ("lddt_predicted_mean", "lDDT predicted", 4),
    ("lddt_percentile", "Percentile", 1),
    ("z_score", "z", 2),
    ("tm_measured", "TM measured", 4),
    ("lddt_measured_mean", "lDDT measured", 4),
    ("lddt_measured_site", "lDDT at site", 3),
    ("ca_shift_max", "Max. Cα shift, Å", 2),
)
"""Number columns of the report's table: column, heading, decimals."""

DETAILS: Final = (
    ("TM-score", "tm_predicted", "tm_measured", 4),
    ("lDDT, mean", "lddt_predicted_mean", "lddt_measured_mean", 4),
    ("lDDT, lowest", "lddt_predicted_min", "lddt_measured_min", 4),
    ("lDDT at the site", "lddt_predicted_site", "lddt_measured_site", 4),
)
"""Rows of a variant's own table: name, predicted column, measured column, decimals."""

BACKGROUND: Final = (
    ("z_score", "z of the predicted lDDT", 2),
    ("lddt_percentile", "lDDT percentile", 1),
    ("tm_percentile", "TM percentile", 1),
    ("ca_shift_site", "Cα shift at the site, Å", 2),
    ("ca_shift_max", "Largest Cα shift, Å", 2),
    ("n_residues_affected", "Residues affected", 0),
    ("plddt_site", "pLDDT at the site", 0),
    ("p_deleterious", "P(deleterious)", 2),
)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One input line in the report's table."""

    number: int
    text: str
    status: str
    anchor: int | None
    cells: tuple[str, ...]
    remark: str
    carried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One scored variant: its numbers and its tracks."""

    number: int
    variant: str
    hgvs: str
    status: str
    scores: tuple[tuple[str, str, str], ...]
    background: tuple[tuple[str, str], ...]
    words: tuple[tuple[str, str], ...]
    tracks: tuple[Track, ...]
    unfolded: bool


def render_report(run_dir: Path) -> str:
    """HTML of the report of a saved run.

    Parameters
    ----------
    run_dir : Path
        Folder with variants.csv, residues.parquet and run.json.

    Returns
    -------
    str
        A complete page that needs no other file.

    Raises
    ------
    UsageError
        It is no run folder, or a damaged one.
    """
    if is_scan(run_dir):
        return render_scan(run_dir)
    run = read_run(run_dir)
    scored = run.scored
    anchors = {variant: index + 1 for variant, index in zip(scored["variant"], scored.index, strict=True)}
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mutscan.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = shorten
    return environment.get_template("report.html.j2").render(
        version=__version__,
        digest=digest(run),
        uncalibrated=UNCALIBRATED,
        headings=[heading for _, heading, _ in TABLE_NUMBERS],
        carried=run.carried,
        rows=[
            _table_row(place, row, run, anchors)
            for place, (_, row) in enumerate(run.variants.iterrows(), start=1)
        ],
        sections=_sections(run, anchors),
        provenance=run.provenance,
        exponent=_exponent(run.provenance),
    )


def _exponent(provenance: Mapping[str, Any]) -> str:
    model = provenance.get("model")
    value = model.get("lddt_exponent") if isinstance(model, dict) else None
    return f"{value:g}" if isinstance(value, int | float) else "3"


def shorten(text: object, limit: int = LONGEST) -> str:
    """At most `limit` letters of a text.

    Examples
    --------
    >>> shorten("R175H"), shorten("AAAAAAAA", 4)
    ('R175H', 'AAA…')
    """
    words = str(text)
    return words if len(words) <= limit else words[: limit - 1] + "…"


def _table_row(place: int, row: pd.Series[Any], run: SavedRun, anchors: Mapping[str, int]) -> TableRow:
    scored = row["status"] in SCORED
    return TableRow(
        number=place,
        text=shorten(row["input"]),
        status=row["status"],
        anchor=anchors.get(row["variant"]) if scored else None,
        cells=tuple(number(row[column], decimals) for column, _, decimals in TABLE_NUMBERS),
        remark=shorten(row["message"] or row["affected_regions"], 400),
        carried=tuple(shorten(row[column]) for column in run.carried),
    )


def _sections(run: SavedRun, anchors: Mapping[str, int]) -> list[Section]:
    scales = _scales(run)
    rows = {str(row["variant"]): row for _, row in run.scored.iterrows()}
    tracks = {
        variant: _tracks(block, rows[variant], scales) for variant, block in run.residues() if variant in rows
    }
    return [
        _section(anchors[variant], row, tracks.get(variant, ()), unfolded=len(rows) <= OPEN_SECTIONS)
        for variant, row in rows.items()
    ]


def _scales(run: SavedRun) -> dict[str, Scale]:
    """One scale for each kind of track, so that variants can be compared by eye."""
    lowest = {"lddt_predicted": math.inf, "lddt_measured": math.inf}
    for _, block in run.residues():
        for column in lowest:
            least = block[column].min()
            if least == least:
                lowest[column] = min(lowest[column], float(least))
    return {column: common_scale(least) for column, least in lowest.items()}


def _tracks(block: pd.DataFrame, row: pd.Series[Any], scales: Mapping[str, Scale]) -> tuple[Track, ...]:
    drawn = (
        draw_track(
            title,
            kind,
            positions=block["position"].to_numpy(dtype=int),
            values=block[column].to_numpy(dtype=float),
            affected=block["affected"].fillna(False).to_numpy(dtype=bool),
            sites=site_positions(row["positions"]),
            scale=scales[column],
        )
        for title, kind, column in (
            ("Predicted lDDT", "predicted", "lddt_predicted"),
            ("Measured lDDT", "measured", "lddt_measured"),
        )
    )
    return tuple(track for track in drawn if track is not None)


def _section(place: int, row: pd.Series[Any], tracks: tuple[Track, ...], *, unfolded: bool) -> Section:
    words = (
        ("Affected regions", row["affected_regions"] or "none beyond the site itself"),
        ("Flag", " ".join(filter(None, (row["flag"], row["flag_rule"])))),
        ("Confidence", row["confidence"]),
        ("Why no structure", row["message"]),
        ("Notes", row["notes"]),
    )
    return Section(
        number=place,
        variant=shorten(row["variant"]),
        hgvs=shorten(row["hgvs"]),
        status=row["status"],
        scores=tuple(
            (name, number(row[predicted], decimals), number(row[measured], decimals))
            for name, predicted, measured, decimals in DETAILS
        ),
        background=tuple(
            (name, text)
            for column, name, decimals in BACKGROUND
            if (text := number(row[column], decimals)) != "—"
        ),
        words=tuple((name, text) for name, text in words if text),
        tracks=tracks,
        unfolded=unfolded,
    )
