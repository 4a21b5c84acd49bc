"""Evidence that the wild type's C-alpha atoms give: burial, contacts, secondary structure, confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.residue_properties import HYDROPHOBICITY, VOLUME

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

STRUCTURE_EVIDENCE: Final[dict[str, str]] = {
    "neighbours": "residues with C-alpha within 10 Å of the site's",
    "contact_number": "sum of 1 / squared C-alpha distance to all residues but ± 2, 1 / Å²",
    "burial_rank": "share of the structure's residues with a lower contact number",
    "side_chain_neighbours": "C-alphas within 13 Å in the half-sphere the side chain points to",
    "helix": "1 in a helix, by C-alpha distances",
    "strand": "1 in a strand, by C-alpha distances",
    "plddt": "confidence of the structure model at the site, 0-100",
    "buried_volume_change": "burial_rank × |change of volume|, Å³",
    "buried_hydrophobicity_loss": "burial_rank × loss of Kyte-Doolittle hydrophobicity",
}
"""Evidence of a structure and what it means."""


def structure_evidence(
    protein: ProteinView, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence `STRUCTURE_EVIDENCE` of n substitutions of a protein with a structure.

    Parameters
    ----------
    protein : ProteinView
        With `ca`.
    index : int array, shape (n,)
        Replaced residues, 0-based.
    mutant : int array, shape (n,)
        What replaces them, places in `STANDARD`.

    Returns
    -------
    dict of name -> float array, shape (n,)
        NaN at residues without coordinates.

    Raises
    ------
    ValueError
        The protein has no coordinates.
    """
    if protein.ca is None:
        raise ValueError("a protein without coordinates has no structure evidence")
    atoms: NDArray[np.float64] = protein.ca.astype(np.float64)
    length = len(atoms)
    there = np.asarray(np.isfinite(atoms).all(axis=1))
    found = {name: np.full(length, np.nan) for name in STRUCTURE_EVIDENCE}
    contact = np.full(length, np.nan)
    toward = _side_chain_direction(atoms)
    place = np.arange(length)
    for first in range(0, length, 256):  # blocks keep memory flat in L
        rows = place[first : first + 256]
        apart = atoms[None, :] - atoms[rows, None]  # (B, L, 3)
        squared = np.where(there[None, :] & (rows[:, None] != place), (apart**2).sum(axis=2), np.inf)
        squared[~np.isfinite(squared)] = np.inf
        found["neighbours"][rows] = (squared <= 100.0).sum(axis=1)
        remote = np.abs(rows[:, None] - place) > 2
        contact[rows] = np.where(remote, 1.0 / np.maximum(squared, 1.0), 0.0).sum(axis=1)
        ahead = np.einsum("blk,bk->bl", np.where(np.isfinite(apart), apart, 0.0), toward[rows]) > 0
        found["side_chain_neighbours"][rows] = ((squared <= 169.0) & ahead).sum(axis=1)
    contact[~there] = np.nan
    found["contact_number"] = contact
    known = np.sort(contact[there])
    burial = np.searchsorted(known, contact) / max(len(known), 1)
    found["burial_rank"] = burial
    found["side_chain_neighbours"][~np.isfinite(toward).all(axis=1)] = np.nan
    found["helix"], found["strand"] = _secondary_structure(atoms)
    if protein.plddt is not None:
        found["plddt"] = protein.plddt.astype(np.float64)
    for values in found.values():
        values[~there] = np.nan
    here = {name: values[index] for name, values in found.items()}
    wild_type = protein.codes[index]
    there &= protein.codes >= 0
    here["buried_volume_change"] = burial[index] * np.abs(VOLUME[mutant] - VOLUME[wild_type])
    here["buried_hydrophobicity_loss"] = burial[index] * (HYDROPHOBICITY[wild_type] - HYDROPHOBICITY[mutant])
    for name in ("buried_volume_change", "buried_hydrophobicity_loss"):
        here[name][~there[index]] = np.nan
    return here


def _side_chain_direction(ca: NDArray[np.float64]) -> NDArray[np.float64]:
    """Away from the mean of both neighbours, shape (L, 3) (Hamelryck 2005); NaN at ends and breaks."""
    direction = np.full(ca.shape, np.nan)
    direction[1:-1] = 2 * ca[1:-1] - ca[:-2] - ca[2:]
    return direction


def _secondary_structure(ca: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Helix and strand, 0 or 1, shape (L,) each, by distances i..i+2 and i..i+3 (as P-SEA, Labesse 1997)."""
    length = len(ca)
    helix, strand = np.zeros(length), np.zeros(length)
    if length >= 4:
        second = np.linalg.norm(ca[2:-1] - ca[:-3], axis=1)
        third = np.linalg.norm(ca[3:] - ca[:-3], axis=1)
        turns = (np.abs(second - 5.5) <= 0.6) & (np.abs(third - 5.3) <= 0.7)
        straight = (np.abs(second - 6.7) <= 0.6) & (np.abs(third - 9.9) <= 0.9)
        for kind, hit in ((helix, turns), (strand, straight)):
            for start in np.flatnonzero(hit).tolist():
                kind[start : start + 4] = 1.0
        strand[helix > 0] = 0.0
    return helix, strand
