"""A saved scan, read back, and its compact report: one row for each position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.reports.affected import in_words, join_stretches, read_stretches
from mutscan.reports.block import Block
from mutscan.reports.coordinates import wild_type_residues
from mutscan.reports.design import burial_of, contexts, design_csv, element_of
from mutscan.reports.digest import UNCALIBRATED, facts_of, fitted, model_notes, section
from mutscan.reports.html import cells_of, file_name, render_page
from mutscan.reports.payload import add_wild_type, clip
from mutscan.reports.population import is_human, population
from mutscan.reports.saved import missing_note, read_run, reading, row_blocks
from mutscan.reports.sentences import probability, sentence
from mutscan.residues import STANDARD
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.reports.saved import SavedRun

TOP: Final = 5
"""Positions named as the most and the least tolerant."""

COLUMNS: Final = (
    ("p_deleterious_mean", "P(deleterious), mean", 2, "Calibrated probability, mean over the substitutions"),
    (
        "tolerance",
        "Tolerance",
        2,
        "Share of the substitutions that count as tolerated; see the note below the table",
    ),
    (
        "drop_z_mean",
        "Drop z, mean",
        2,
        "lDDT drop against other substitutions; higher is more disruptive",
    ),
    ("drop_z_max", "Drop z, largest", 2, "Of the most disruptive substitution"),
    ("plddt", "pLDDT", 0, "The structure model's own confidence"),
    ("distance_to_site", "To site, Å", 1, "Cα distance to the nearest active or binding site"),
)
"""Number columns of the report's table: column, heading, decimals, what it means. Drop z is minus z."""

INTOLERANT: Final = 0.5
"""Tolerance up to which a position counts as tolerating few substitutions."""

NUMBERS: Final = (
    "position", "plddt", "tolerance", "z_score_mean", "z_score_min", "lddt_predicted_mean",
    "tm_predicted_mean", "p_deleterious_mean", "distance_to_site",
)  # fmt: skip
"""Number columns that are read from positions.csv."""

CELLS: Final = (
    ("rank", "f4", 1.0, 0.0),
    ("p_deleterious", "u2", 0.0001, 0.0),
    ("drop_z", "i2", 0.01, 0.0),
    ("lddt_percentile", "u2", 0.01, 0.0),
    ("lddt_predicted_mean", "u2", 1 / 65534, 0.0),
)
"""Scores of the heat map, and how each is stored in the page; all but the first two are read as they are
from scan.parquet, drop z is minus its z_score."""

BELOW_ONE: Final = 0.9999
"""Largest probability below 1 that a page holds, so that none is drawn as 1."""

MOST_TOLD: Final = 20_000
"""Substitutions whose sentences a page holds, the worst ones; each adds about 10 bytes."""

ROWS: Final = "GAVLIMCPFYWSTNQHDEKR"
"""Residues in groups of like chemistry, so that neighbouring rows of a heat map mean something."""

LETTERS: Final = (
    ("tolerated", "Tolerated", "Residues that count as tolerated, the best first"),
    ("uncertain", "Uncertain", "Residues between tolerated and deleterious, the best first"),
)
TEXTS: Final = (
    ("best", "Best", "The mildest substitution"),
    ("worst", "Worst", "The most harmful substitution"),
    ("element", "Element", "Helix, strand or loop"),
    ("burial", "Burial", "And accessible surface"),
    ("nearest_site", "Nearest site", "Active or binding site"),
    ("structure_number", "In the structure", "The structure file's own number"),
)
"""Text columns of the report's table: column, heading, what it means; element and burial are those of
`site_context`."""

_TEXT: Final = {
    name: str
    for name in (
        "wild_type", "structure_number", "worst", "best", "tolerated", "uncertain", "nearest_site",
        "site_context",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How sensitive one named region is.

    Parameters
    ----------
    name, kind, source : str
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive.
    harm : float
        Mean over its scanned positions: of the mean ``p_deleterious``, without a calibration of the share
        of substitutions that are not tolerated.
    """

    name: str
    kind: str
    source: str
    stretches: tuple[tuple[int, int], ...]
    harm: float

    @property
    def where(self) -> str:
        """Its positions: ``24-41``."""
        return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in self.stretches)


@dataclass(frozen=True, eq=False)
class SavedScan:
    """Contents of the folder of a scan, without its single substitutions.

    Parameters
    ----------
    directory : Path
    positions : DataFrame
        positions.csv.
    facts : tuple of (str, str)
        As of any run.
    provenance : mapping
        run.json.
    notes : tuple of str
        What the model lacks; decisions made when the wild type was read, how its file counts residues above
        all; and that the protein was used in calibration.
    """

    directory: Path
    positions: pd.DataFrame
    facts: tuple[tuple[str, str], ...]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]

    @property
    def about(self) -> Mapping[str, Any]:
        """What was scanned, and against which null."""
        stored: Mapping[str, Any] = self.provenance["scan"]
        return stored

    @property
    def counts(self) -> Mapping[str, int]:
        """Rows by status."""
        stored: Mapping[str, int] = self.provenance["counts"]
        return stored

    @property
    def calibrated(self) -> bool:
        """Whether the rows hold probabilities."""
        return bool(self.positions["p_deleterious_mean"].notna().any())

    def least_tolerant(self) -> pd.DataFrame:
        """Return the positions with the highest harm, of these with the lowest mean z."""
        return self._by_harm(ascending=False).head(TOP)

    def most_tolerant(self) -> pd.DataFrame:
        """Return the positions with the lowest harm, of these with the highest mean z."""
        return self._by_harm(ascending=True).head(TOP)

    def intolerant(self) -> pd.DataFrame:
        """Return the positions that tolerate few substitutions, in the order of `least_tolerant`."""
        table = self._by_harm(ascending=False)
        return table[table["tolerance"] <= INTOLERANT]

    def _by_harm(self, *, ascending: bool) -> pd.DataFrame:
        keys = ["harm", "z_score_mean", "position"]
        table = self.positions.assign(harm=self.harm)
        return table.sort_values(keys, ascending=[ascending, not ascending, True])

    @property
    def harm(self) -> pd.Series[float]:
        """Of each position, 0 to 1: mean ``p_deleterious``, without a calibration 1 - tolerance."""
        return self.positions["p_deleterious_mean"] if self.calibrated else 1 - self.positions["tolerance"]

    def regions(self) -> tuple[Sensitivity, ...]:
        """Return the named regions, the most sensitive first; those not scanned are left out."""
        harm = pd.Series(self.harm.to_numpy(), index=self.positions["position"])
        found = []
        for said in self.about.get("regions", []):
            stretches = read_stretches(said["positions"])
            inside = [position for first, last in stretches for position in range(first, last + 1)]
            known = harm.reindex(inside).dropna()
            if len(known):
                named = (said["name"], said["kind"], said["source"])
                found.append(Sensitivity(*named, stretches, float(known.mean())))
        return tuple(sorted(found, key=lambda region: (-region.harm, region.stretches)))

    @property
    def harmful(self) -> str:
        """What a substitution is that does not count as tolerated; positions.csv counts by the same."""
        tenth = "among the most disruptive tenth of the protein's"
        return "flagged deleterious" if self.calibrated else tenth


def is_scan(directory: Path) -> bool:
    """Whether a run folder is that of a scan; raises as `read_run`."""
    return isinstance(read_run(directory, rows=0).provenance.get("scan"), dict)


def read_scan(directory: Path) -> SavedScan:
    """Read run.json and positions.csv of a scan's folder.

    Raises
    ------
    UsageError
        It is no folder of a finished scan, or a damaged one.
    """
    run = read_run(directory, rows=1)
    path = RunFolder(directory).positions_csv
    if not isinstance(run.provenance.get("scan"), dict):
        raise UsageError(
            f"{directory}: run.json does not describe a scan; expected the folder of 'mutscan scan'"
        )
    with reading(path, "scan"):
        table = pd.read_csv(path, dtype=_TEXT)
    missing = {*NUMBERS, *_TEXT} - {*table.columns}
    if missing:
        raise UsageError(
            f"{path}: columns are missing ({', '.join(sorted(missing))}); run mutscan scan again"
        )
    table = table.fillna(dict.fromkeys(_TEXT, ""))
    notes = map(str, section(run.provenance, "wild_type").get("notes") or ())
    told = (
        *model_notes(run.provenance),
        *notes,
        *filter(None, [fitted(run), missing_note(directory, run.provenance)]),
    )
    return SavedScan(directory, table, facts_of(run), run.provenance, told)


NAMED: Final = 4
"""Positions that the headline names, those that tolerate the fewest substitutions."""


def headline(scan: SavedScan) -> str:
    """State in one sentence where the protein tolerates least."""
    name = str(scan.provenance.get("wild_type", {}).get("name", scan.directory.name))
    worst = scan.intolerant()
    if not len(worst):
        return f"Every position of {name} tolerates most of its substitutions."
    least = worst.head(NAMED)
    where = in_words(join_stretches((int(p), int(p)) for p in least["position"]))
    more = ", least of all" if len(worst) > len(least) else ":"
    return (
        f"{len(worst)} of {len(scan.positions)} positions of {name} tolerate few substitutions{more} {where}."
    )


def render_scan(directory: Path, *, viewer: str = "", viewer_note: str = "") -> str:
    """HTML of the report of a saved scan: a complete page that needs no other file.

    Parameters
    ----------
    directory : Path
    viewer, viewer_note : str
        As `mutscan.reports.render.render_report`.

    Raises
    ------
    UsageError
        As `read_scan`.
    """
    scan = read_scan(directory)
    run = read_run(directory, rows=1)
    about = section(scan.provenance, "wild_type")
    name = str(about.get("name", directory.name))
    block = Block()
    cells = read_cells(directory, len(scan.positions))
    regions = scan.regions()
    data: dict[str, Any] = {
        "kind": "scan",
        "name": clip(name),
        "sequence": str(about.get("sequence", "")),
        "positions": [int(p) for p in scan.positions["position"]],
        "letters": STANDARD,
        "rows": ROWS,
        "contexts": [*scan.positions["site_context"]],
        "regions": [[list(stretch) for stretch in region.stretches] for region in regions],
        "design_name": f"{file_name(name)}-design",
    }
    residues = next((frame for _, frame in run.residues()), None)
    if residues is None:  # no mutant was predicted
        residues = wild_type_residues(RunFolder(directory).structures, data["sequence"])
    add_wild_type(directory, scan.provenance, residues, data, block)
    for column, dtype, step, low in CELLS:
        block.add(f"scan_{column}", cells[column].to_numpy(dtype=float), dtype, step=step, low=low)
    for key, text in (("told", "\n".join(_told(run, cells))), ("design", design_csv(scan))):
        block.add(key, np.frombuffer(text.encode(), dtype=np.uint8), "u1")
    data["arrays"] = block.index
    sites = [*contexts(directory, scan.positions)]
    positions = scan.positions.assign(
        drop_z_mean=-scan.positions["z_score_mean"],
        drop_z_max=-scan.positions["z_score_min"],
        element=[element_of(site) for site in sites],
        burial=[burial_of(site) for site in sites],
    )
    if (positions["structure_number"] == positions["position"].astype(str)).all():
        positions["structure_number"] = ""
    shown = [column for column in COLUMNS if positions[column[0]].notna().any()]
    letters, texts = (
        [column for column in columns if positions[column[0]].astype(bool).any()]
        for columns in (LETTERS, TEXTS)
    )
    return render_page(
        "scan.html.j2",
        data,
        block.text(),
        scan.provenance,
        viewer=viewer,
        viewer_note=viewer_note,
        name=name,
        headline=headline(scan),
        remainder=remainder(scan),
        population=population(scan.provenance),
        notes=scan.notes,
        human=is_human(scan.provenance),
        calibrated=scan.calibrated,
        uncalibrated=UNCALIBRATED,
        harmful=scan.harmful,
        harm="Mean P(deleterious)" if scan.calibrated else "Share not tolerated",
        average=float(scan.harm.mean()),
        average_text=probability(float(scan.harm.mean())),
        regions=[(region, probability(region.harm)) for region in regions],
        facts=scan.facts,
        counts=scan.counts,
        about=scan.about,
        file_name=f"{file_name(name)}-positions",
        headings=[
            ("Residue", True, ""),
            *((heading, True, hint) for _, heading, _, hint in shown),
            *((heading, False, hint) for _, heading, hint in (*letters, *texts)),
        ],
        rows=[_row(row, shown, letters, texts) for row in positions.to_dict(orient="records")],
    )


def remainder(scan: SavedScan) -> str:
    """Say what few tolerated substitutions are, and which subdomain is the most sensitive."""
    few = (
        f"Few means that at least {100 - 100 * INTOLERANT:.0f} % of the substitutions of a position are "
        f"{scan.harmful}."
    )
    regions = scan.regions()
    if not regions:
        return few
    first = regions[0]
    scale = "mean P(deleterious)" if scan.calibrated else "share not tolerated"
    return (
        f"{few} The most sensitive subdomain is {first.name} ({in_words(first.stretches)}): {scale} "
        f"{probability(first.harm)}, against {probability(float(scan.harm.mean()))} for all positions."
    )


def read_cells(directory: Path, positions: int | None = None) -> pd.DataFrame:
    """Read the heat map of a scan: 20 rows for each position, with the scores of `CELLS`.

    ``rank`` is 1 for the most harmful of the N scanned substitutions and N for the mildest: by
    ``p_deleterious``, of equal ones by z; equal in both share a rank. Without probabilities z decides alone.

    Raises
    ------
    UsageError
        scan.parquet is missing, damaged, or not that of so many positions.
    """
    path = RunFolder(directory).scan_parquet
    columns = [
        "position", "wild_type", "mutant", "z_score", "p_deleterious", "lddt_percentile",
        "lddt_predicted_mean",
    ]  # fmt: skip
    with reading(path, "scan"), pq.ParquetFile(path) as stored:
        cells: pd.DataFrame = stored.read(columns=columns).to_pandas()[columns]
    if positions is not None and len(cells) != len(STANDARD) * positions:
        raise UsageError(
            f"{path}: {len(cells)} rows, expected {len(STANDARD)} for each of {positions} positions; "
            "run mutscan scan again"
        )
    p, z = (cells[column].to_numpy(dtype=float) for column in ("p_deleterious", "z_score"))
    return cells.assign(
        p_deleterious=np.where(p < 1, np.minimum(p, BELOW_ONE), p), drop_z=-z, rank=_ranks(p, -z)
    )


def _ranks(p: NDArray[np.float64], drop_z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank by falling probability, then falling drop z; NaN where the first of them is not known."""
    first = p if np.isfinite(p).any() else drop_z
    keys = np.stack([first, np.nan_to_num(drop_z, nan=-np.inf)])
    known = np.flatnonzero(np.isfinite(first))
    order = known[np.lexsort(-keys[::-1, known])]
    held = keys[:, order]
    new = np.append(True, (held[:, 1:] != held[:, :-1]).any(axis=0))[: len(order)]
    ranks = np.full(len(p), np.nan)
    ranks[order] = np.maximum.accumulate(np.where(new, np.arange(1, len(order) + 1), 1))
    return ranks


def _told(run: SavedRun, cells: pd.DataFrame) -> Iterator[str]:
    """Yield the sentence of each cell; empty for the wild type's own residue and beyond `MOST_TOLD`."""
    last = cells["rank"].nsmallest(MOST_TOLD).max()
    names = cells["wild_type"] + cells["position"].astype(str) + cells["mutant"]
    wanted = {*names[cells["rank"] <= last]}
    told: dict[str, str] = {}
    for block in row_blocks(run.directory):
        rows: list[Any] = block.variants[block.variants["variant"].isin(wanted)].to_dict(orient="records")
        for row in rows:
            told[row["variant"]] = sentence(row, run.disturbed_by(row["variant"]))
    yield from (told.get(name, "") for name in names)


def _row(row: Mapping[Any, Any], shown: Any, letters: Any, texts: Any) -> dict[str, Any]:
    """Cells of one position in the page's table."""
    return {
        "position": int(row["position"]),
        "residue": f"{row['wild_type']}{row['position']}",
        "cells": cells_of(row, shown),
        "letters": [row[name] for name, *_ in letters],
        "texts": [row[name] for name, *_ in texts],
    }
