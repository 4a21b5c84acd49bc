"""One variant's structure in a notebook: a py3Dmol view, coloured as the viewer scripts are.

py3Dmol asks for 3Dmol.js when the notebook shows it; the report, which must work without a
network, has the script in its page instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutscan.errors import UsageError
from mutscan.reports.saved import read_run, site_positions
from mutscan.reports.views import KEPT, LOST, WILD_TYPE, by_severity, structure_numbers
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import py3Dmol

SITE = "#cc79a7"
"""Side chains at the substitution, after Okabe and Ito."""


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
    for number, path in enumerate((folder.structures / "wild_type.cif", folder.structure_of(chosen))):
        view.addModel(path.read_text(encoding="utf-8"), "cif")
        view.setStyle({"model": number}, {"cartoon": {"color": (WILD_TYPE, KEPT)[number]}})
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
