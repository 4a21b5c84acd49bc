"""What a calibrated probability does not cover: inputs unlike those it was calibrated on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutscan.evidence.calibration import Calibration
    from mutscan.evidence.sequence import ProteinView

UNSURE_PLDDT: Final = 70.0
"""Below it a residue of a structure model is not placed with confidence (AlphaFold DB's own words)."""

TERMINAL: Final = 5
"""Residues at each end that calibration data hardly cover."""

FITTED: Final = "variants of this protein were used to calibrate the probability"
"""Note on a row whose protein the calibration knows."""


def warnings_for(
    calibration: Calibration, protein: ProteinView, index: Sequence[int], *, indel: bool = False
) -> list[str]:
    """Warn where one variant lies outside the calibration; empty for an ordinary one.

    Parameters
    ----------
    calibration : Calibration
    protein : ProteinView
    index : sequence of int
        Replaced residues of the variant, 0-based; several for a joint mutant.
    indel : bool
        In-frame insertion or deletion.

    Returns
    -------
    list of str
        For the notes of a row.
    """
    said = []
    if indel:
        return ["no probability: the calibration covers substitutions, not insertions or deletions"]
    if len(index) > 1:
        said.append(
            "joint mutant: the calibration covers single substitutions; p_deleterious is the highest of the "
            f"{len(index)} single values and ignores how they combine"
        )
    length = len(protein.sequence)
    terminal = [i + 1 for i in index if i < TERMINAL or i >= length - TERMINAL]
    if terminal:
        where = ", ".join(map(str, terminal))
        said.append(
            f"position {where} is within {TERMINAL} residues of an end, where few variants are labelled"
        )
    if protein.plddt is not None:
        here = [float(protein.plddt[i]) for i in index if np.isfinite(protein.plddt[i])]
        if here and min(here) < UNSURE_PLDDT:
            said.append(f"pLDDT {min(here):.0f} at the site: structural evidence is uncertain there")
    if protein.ca is not None:
        unseen = [i + 1 for i in index if not np.isfinite(protein.ca[i]).all()]
        if unseen:
            where = ", ".join(map(str, unseen))
            said.append(
                f"position {where} has no coordinates of its residue: judged by sequence evidence alone"
            )
    if length > calibration.longest:
        said.append(f"{length:,} residues: the calibration covers proteins of up to {calibration.longest:,}")
    known = calibration.split_of(protein.sequence)
    if known == "fit":
        said.append(FITTED)
    return said
