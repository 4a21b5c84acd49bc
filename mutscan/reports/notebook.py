"""A run in a notebook: its table and picture, and a variant's structure as a py3Dmol view.

The table and the picture need no network. py3Dmol asks for 3Dmol.js when the notebook shows it; the report,
which must work without a network, has the script in its page instead.
"""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Final

import pandas as pd

from mutscan.errors import UsageError
from mutscan.reports.compared import compared_headline, compared_scores
from mutscan.reports.digest import headline, remainder
from mutscan.reports.html import shorten
from mutscan.reports.saved import read_run, site_positions
from mutscan.reports.sentences import STRUCTURE_WORDS, number, probability, structure_disturbed, verdict_words
from mutscan.reports.views import KEPT, LOST, WILD_TYPE, by_severity, structure_numbers
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import py3Dmol

    from mutscan.reports.compared import Compared

SITE = "#cc79a7"
"""Side chains at the substitution, after Okabe and Ito."""


ROWS: Final = 10
"""Rows shown, the worst first; the whole is in `variants` and `proteins`."""

LONGEST: Final = 60
"""Characters of a cell."""

_PROTEIN_CELLS: Final = {
    "name": "protein", "length": "residues", "status": "status", "rows": "rows", "scored": "scored",
    "deleterious": "deleterious", "uncertain": "uncertain", "tolerated": "tolerated",
    "regions_hit_most": "regions hit most",
}  # fmt: skip


def run_html(directory: Path) -> str:
    """Show a run on one protein: its headline, the variants that matter most, and its first figure.

    One piece of HTML that asks for nothing outside; text of the user is escaped.

    Raises
    ------
    UsageError
        It is no run folder, or a damaged one.
    """
    # It draws with matplotlib, which takes a second to load and is not wanted otherwise.
    from mutscan.reports.figures import draw_run

    run = read_run(directory)
    rows = by_severity(run).head(ROWS).to_dict(orient="records")
    cells = pd.DataFrame(
        {
            "variant": row["variant"],
            "verdict": verdict_words(row["flag"], row["flag_rule"]) or "—",
            "P(deleterious)": probability(row["p_deleterious"]),
            "drop z": number(-row["z_score"], 2),
            "TM predicted": number(row["tm_predicted"]),
            "lDDT predicted": number(row["lddt_predicted_mean"]),
            "lDDT measured": number(row["lddt_measured_mean"]),
            "structure": STRUCTURE_WORDS[structure_disturbed(row)],
        }
        for row in rows
    )
    figure = next(draw_run(directory), None)
    picture = ""
    if figure is not None:
        picture = (
            f'<img alt="{escape(figure.caption)}" style="max-width:100%; max-height:32em; background:white" '
            f'src="data:image/png;base64,{base64.b64encode(figure.png).decode("ascii")}">'
        )
    told = " ".join(filter(None, (headline(run), remainder(run))))
    return _piece(told, cells, len(run.scored), "scored variants", "variants") + picture


def batch_html(directory: Path, proteins: pd.DataFrame) -> str:
    """Show a run over many proteins: those with the most deleterious variants first; as `run_html`.

    Parameters
    ----------
    directory : Path
    proteins : DataFrame
        Its proteins.csv.
    """
    worst = proteins.sort_values("deleterious", ascending=False, kind="stable").head(ROWS)
    cells = worst[[*_PROTEIN_CELLS]].rename(columns=_PROTEIN_CELLS)
    # Counts of a protein that failed are not known, which makes pandas show the others as fractions.
    cells = cells.astype({name: "Int64" for name in cells.select_dtypes("number")})
    counts = proteins["status"].value_counts()
    told = f"{directory.name}: {len(proteins)} proteins ({', '.join(f'{n} {s}' for s, n in counts.items())})"
    return _piece(told, cells, len(proteins), "proteins", "proteins")


def plan_html(told: str, rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Show what a dry run found: input, status, variant and remark of each row; as `run_html`."""
    cells = pd.DataFrame(rows[:ROWS], columns=["input", "status", "variant", "remark"])
    return _piece(told, cells, len(rows), "rows", "rows")


def comparison_html(comparison: Compared) -> str:
    """Show how similar two proteins are; as `run_html`."""
    cells = pd.DataFrame(compared_scores(comparison), columns=["score", "predicted", "measured"])
    return _piece(compared_headline(comparison), cells, len(cells), "scores", "to_dict()")


def _piece(told: str, cells: pd.DataFrame, total: int, things: str, attribute: str) -> str:
    table = ""
    if len(cells):
        short = cells.map(lambda cell: shorten(cell, LONGEST) if isinstance(cell, str) else cell)
        table = short.to_html(index=False, border=0, na_rep="", escape=True)
    more = ""
    if total > len(cells):
        more = f"<p>{len(cells)} of {total:,} {things} are shown; all are in <code>.{attribute}</code>.</p>"
    return f"<p>{escape(told)}</p>{table}{more}"


def notebook_view(
    directory: Path, variant: str | None = None, *, width: int = 800, height: int = 500
) -> py3Dmol.view:
    """Show a mutant on its wild type: affected residues in colour, the site as sticks.

    Parameters
    ----------
    directory : Path
        A run folder.
    variant : str, optional
        As in variants.csv; the one that matters most among those built when not given.
    width, height : int
        Pixels.

    Raises
    ------
    UsageError
        The run built no such mutant.
    """
    import py3Dmol

    run = read_run(directory)
    folder = RunFolder(directory)
    built = [name for name in by_severity(run)["variant"] if folder.structure_of(name).is_file()]
    if not built or (variant is not None and variant not in built):
        known = ", ".join(built[:5]) or "none"
        raise UsageError(f"{directory} holds no structure of {variant or 'any mutant'}; built: {known}")
    chosen = variant if variant is not None else built[0]
    residues = next(block for name, block in run.residues() if name == chosen)
    sites = site_positions(chosen)
    view = py3Dmol.view(width=width, height=height)
    for model, path in enumerate((folder.structures / "wild_type.cif", folder.structure_of(chosen))):
        view.addModel(path.read_text(encoding="utf-8"), "cif")
        view.setStyle({"model": model}, {"cartoon": {"color": (WILD_TYPE, KEPT)[model]}})
    affected = _selected(residues[residues["affected"].to_numpy(dtype=bool)])
    at_site = _selected(residues[residues["position"].isin(sites)])
    if affected:
        view.setStyle({"model": 1, "resi": affected}, {"cartoon": {"color": LOST}})
    view.addStyle({"model": 1, "resi": at_site}, {"stick": {"color": SITE}})
    view.addStyle({"model": 0, "resi": at_site}, {"stick": {"color": WILD_TYPE}})
    view.zoomTo()
    return view


def _selected(residues: pd.DataFrame) -> list[int | str]:
    """Residues as 3Dmol.js selects them: by number, with an insertion code by text."""
    return [int(number) if number.lstrip("-").isdigit() else number for number in structure_numbers(residues)]
