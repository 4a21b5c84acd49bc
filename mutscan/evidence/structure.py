"""Evidence that the wild type's C-alpha atoms give: burial, contacts, flexibility, secondary structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.residue_properties import CHARGE, CODE, HYDROPHOBICITY
from mutscan.structures.packing import flexibility, network_parts, side_chain_direction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

STRUCTURE_EVIDENCE: Final[dict[str, str]] = {
    "neighbours": "residues with C-alpha within 10 Å of the site's",
    "contact_number": "sum of 1 / squared C-alpha distance to all residues but ± 2, 1 / Å²",
    "burial_rank": "share of the structure's residues with a lower contact number",
    "contact_number_near": "mean contact number of the site and ± 3 residues, 1 / Å²",
    "side_chain_neighbours": "C-alphas within 13 Å in the half-sphere the side chain points to",
    "side_chain_rank": "share of the structure's residues with fewer of these",
    "back_neighbours": "C-alphas within 13 Å in the other half-sphere",
    "packing": "side-chain positions (2.4 Å out from C-alpha) within about 8.5 Å of the site's, smoothed",
    "far_contacts": "residues within 10 Å that are 12 or more apart in sequence",
    "contact_span": "mean distance in sequence of the residues within 10 Å",
    "flexibility": "ln of the mean square fluctuation in a Gaussian network model (10 Å), 0 = median",
    "depth": "distance from the centre of the structure, in radii of gyration",
    "hydrophobicity_around": "mean Kyte-Doolittle of the residues within 10 Å",
    "positive_around": "K and R within 10 Å",
    "negative_around": "D and E within 10 Å",
    "aromatic_around": "F, W and Y within 10 Å",
    "helix": "1 in a helix, by C-alpha distances",
    "strand": "1 in a strand, by C-alpha distances",
    "handedness": "triple product of three C-alpha steps at the site / 50 Å³: positive turns right",
    "plddt": "confidence of the structure model at the site, 0-100",
}
"""Evidence of a structure and what it means."""

REPEATED: Final = frozenset({
    "neighbours", "contact_number", "contact_number_near", "side_chain_neighbours", "side_chain_rank",
    "back_neighbours", "depth",
})  # fmt: skip
"""Evidence that repeats burial_rank and packing. It is shown but not weighed: together, such pieces pull
against each other, and what burial adds can no longer be read from their sum."""


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
        What replaces them; not looked at, since the structure is the wild type's.

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
    return {name: values[index] for name, values in protein.residues.items()}


def residue_evidence(
    ca: NDArray[np.floating], codes: NDArray[np.int64], plddt: NDArray[np.floating] | None
) -> dict[str, NDArray[np.float64]]:
    """Evidence `STRUCTURE_EVIDENCE` of all L residues, shape (L,) each, NaN without coordinates.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
    codes : int array, shape (L,)
        Places in `STANDARD`.
    plddt : float array, shape (L,), optional
    """
    atoms: NDArray[np.float64] = ca.astype(np.float64)
    there = np.flatnonzero(np.asarray(np.isfinite(atoms).all(axis=1)))
    found = {name: np.full(len(atoms), np.nan) for name in STRUCTURE_EVIDENCE}
    if not there.size:
        return found
    seen = _residues(atoms[there], there, np.maximum(codes[there], 0))
    helix, strand = _secondary_structure(atoms)
    seen |= {"helix": helix[there], "strand": strand[there]}
    if plddt is not None:
        seen["plddt"] = plddt[there].astype(np.float64)
    for name, values in seen.items():
        found[name][there] = values
    return found


def _residues(
    ca: NDArray[np.float64], place: NDArray[np.int64], codes: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence of all resolved residues, shape (m,) each; `place` is theirs in the sequence."""
    m = len(ca)
    toward = side_chain_direction(ca, place)
    sided: NDArray[np.bool_] = np.asarray(np.isfinite(toward).all(axis=1))
    toward = np.where(sided[:, None], toward, 0.0)
    side_chain = ca + 2.4 * toward
    near = np.zeros((m, m), dtype=np.bool_)
    found = {
        name: np.empty(m)
        for name in ("contact_number", "side_chain_neighbours", "back_neighbours", "packing")
    }
    for first in range(0, m, 256):  # blocks keep memory low
        rows = slice(first, min(first + 256, m))
        apart = ca[None, :] - ca[rows, None]  # (B, m, 3)
        squared = (apart**2).sum(axis=2)
        squared[np.arange(squared.shape[0]), np.arange(first, first + squared.shape[0])] = np.inf
        near[rows] = squared <= 100.0
        remote = np.abs(place[rows, None] - place[None, :]) > 2
        found["contact_number"][rows] = np.where(remote, 1.0 / np.maximum(squared, 1.0), 0.0).sum(axis=1)
        ahead = np.einsum("bmk,bk->bm", apart, toward[rows]) > 0
        close = squared <= 169.0
        found["side_chain_neighbours"][rows] = (close & ahead).sum(axis=1)
        found["back_neighbours"][rows] = (close & ~ahead).sum(axis=1)
        between = np.sqrt(((side_chain[None, :] - side_chain[rows, None]) ** 2).sum(axis=2))
        between[~np.isfinite(squared)] = np.inf
        found["packing"][rows] = (1.0 / (1.0 + np.exp(np.minimum(between - 8.5, 50.0)))).sum(axis=1)
    toward_count = found["side_chain_neighbours"]
    middle = float(np.median(toward_count[sided])) if sided.any() else 0.0
    found["side_chain_rank"] = _rank(np.where(sided, toward_count, middle))
    for name in ("side_chain_neighbours", "back_neighbours"):
        found[name][~sided] = np.nan
    contact = found["contact_number"]
    running = np.concatenate([[0.0], np.cumsum(contact)])
    left, right = np.maximum(np.arange(m) - 3, 0), np.minimum(np.arange(m) + 4, m)
    count = np.maximum(near.sum(axis=1), 1)
    span = np.abs(place[:, None] - place[None, :])
    centre = ca - ca.mean(axis=0)
    radius = max(float(np.sqrt((centre**2).sum(axis=1).mean())), 1e-6)
    aromatic = np.isin(codes, CODE[np.frombuffer(b"FWY", np.uint8)])
    return {
        **found,
        "neighbours": near.sum(axis=1).astype(np.float64),
        "burial_rank": _rank(contact),
        "contact_number_near": (running[right] - running[left]) / (right - left),
        "far_contacts": (near & (span >= 12)).sum(axis=1).astype(np.float64),
        "contact_span": (near * span).sum(axis=1) / count,
        "flexibility": flexibility(network_parts(near), m),
        "depth": np.linalg.norm(centre, axis=1) / radius,
        "hydrophobicity_around": near @ HYDROPHOBICITY[codes] / count,
        "positive_around": near @ (CHARGE[codes] > 0.5).astype(np.float64),
        "negative_around": near @ (CHARGE[codes] < -0.5).astype(np.float64),
        "aromatic_around": near @ aromatic.astype(np.float64),
        "handedness": _handedness(ca, place),
    }


def _rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(values)
    return np.searchsorted(ordered, values) / max(len(values), 1)


def _handedness(ca: NDArray[np.float64], place: NDArray[np.int64]) -> NDArray[np.float64]:
    found = np.full(len(ca), np.nan)
    if len(ca) >= 4:
        step = np.diff(ca, axis=0)
        product = np.einsum("ij,ij->i", np.cross(step[:-2], step[1:-1]), step[2:]) / 50.0
        whole = place[3:] - place[:-3] == 3
        found[1:-2] = np.where(whole, product, np.nan)
    return found


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
