"""Scripts that open a run's structures in PyMOL and ChimeraX, coloured by measured lDDT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutscan.files import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def write_views(structures: Path, mutants: Sequence[str]) -> None:
    """Write ``view.pml`` and ``view.cxc`` beside the structures.

    The B-factor column of a mutant holds its measured lDDT (0-1); red is lost, blue is kept.

    Parameters
    ----------
    structures : Path
        Folder with ``wild_type.cif`` and ``<mutant>.cif``.
    mutants : sequence of str
        File stems.
    """
    pymol = ["load wild_type.cif, wild_type", "color grey70, wild_type"]
    chimerax = ["open wild_type.cif name wild_type", "color #1 lightgrey"]
    for number, mutant in enumerate(mutants, start=2):
        # PyMOL object names take letters, digits, _ . + - only; so do the file stems, by construction.
        pymol += [f"load {mutant}.cif, {mutant}", f"spectrum b, red_white_blue, {mutant}, 0.8, 1.0"]
        chimerax += [
            f"open {mutant}.cif name {mutant}",
            f"color byattribute bfactor #{number} palette red:white:blue range 0.8,1.0",
        ]
    pymol += ["hide everything", "show cartoon", "orient"]
    chimerax += ["hide atoms", "cartoon", "view"]
    for name, lines in (("view.pml", pymol), ("view.cxc", chimerax)):
        with replacing(structures / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
