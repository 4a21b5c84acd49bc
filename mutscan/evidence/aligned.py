"""Evidence of an alignment of relatives, on a scale that alignments of all depths share.

Log-odds and entropies depend on how many relatives are known; their ranks within the protein much less.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.conservation import EXPECTED
from mutscan.residue_properties import BACKGROUND, codes_of, entropy_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNED_EVIDENCE: Final[dict[str, str]] = {
    "aligned_rank": "share of all 19 × L substitutions of the protein with lower log-odds in the alignment",
    "aligned_z": "log-odds in the alignment, standard deviations from their mean over these substitutions",
    "aligned_entropy_rank": "share of the sites with lower entropy of the aligned residues",
    "aligned_entropy_z": "that entropy, standard deviations from its mean over the sites",
    "aligned_nearest": "identity of the closest relative that carries the mutant at the site; 0 for none",
    "aligned_closest": "mean identity of the ten closest relatives that cover the site",
    "aligned_gaps": "share of the relatives that lack the site",
}
"""Evidence of an alignment and what it means; identities are to the wild type, 0-1."""

DEEP_EVIDENCE: Final[dict[str, str]] = {
    "deep_couplings": "share of all 19 × L substitutions that go worse with the rest of the protein",
    "deep_rank": "share of them with a lower sum of this share and of aligned_rank",
}
"""Evidence of an alignment that is deep enough for couplings. Few are, so no curve is fitted to it: it
changes the order of a protein's substitutions (`WholeScan.grouped`)."""

PSEUDOCOUNTS: Final = 5.0
"""Weight of what BLOSUM62 expects, in effective sequences."""


@dataclass(frozen=True, eq=False)
class AlignedProfile:
    """What stands at each residue of a protein in an alignment of its relatives.

    A site that the alignment does not reach has 0 sequences.

    Parameters
    ----------
    counts : float array, shape (L, 20)
        Weight of the rows that carry each residue, in the order of `STANDARD`, the wild type among them.
    sequences : float array, shape (L,)
        Rows that cover the site, the wild type among them.
    effective : float array, shape (L,)
        The same, a row weighing 1 / (rows that are at least 80 % identical to it).
    gaps : float array, shape (L,)
        Share of the relatives that lack the site; 0 without relatives.
    nearest : float array, shape (L, 20)
        Highest identity to the wild type, 0-1, of a relative that carries the residue; 0 for none.
    closest : float array, shape (L,)
        Mean identity to the wild type of the ten closest relatives that cover the site; NaN for none.
    n_rows : int
        Rows, the wild type among them.
    n_effective : float
        Sum of their weights.
    couplings : float array, shape (L, 20), optional
        Energy that couplings to the rest of the wild type give each residue, less that of its own; higher is
        better. None where the alignment is too shallow.
    """

    counts: NDArray[np.floating]
    sequences: NDArray[np.floating]
    effective: NDArray[np.floating]
    gaps: NDArray[np.floating]
    nearest: NDArray[np.floating]
    closest: NDArray[np.floating]
    n_rows: int
    n_effective: float
    couplings: NDArray[np.floating] | None = None

    @cached_property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithms of the relatives' residues with pseudocounts, shape (L, 20).

        (counts + 5 × BLOSUM62's expectation) / (residues + 5).
        """
        counts = self.counts.astype(np.float64)
        residues = counts.sum(axis=1, keepdims=True)
        observed = np.where(residues > 0, counts / np.maximum(residues, 1.0), BACKGROUND)
        logs: NDArray[np.float64] = np.log(
            (counts + PSEUDOCOUNTS * (observed @ EXPECTED)) / (residues + PSEUDOCOUNTS)
        )
        return logs


def aligned_evidence(
    profile: AlignedProfile | None, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence `ALIGNED_EVIDENCE` of n substitutions of one protein.

    Parameters
    ----------
    profile : AlignedProfile, optional
    sequence : str
        L residues.
    index : int array, shape (n,)
        Replaced residues, 0-based.
    mutant : int array, shape (n,)
        What replaces them, places in `STANDARD`.

    Returns
    -------
    dict of name -> float array, shape (n,)
        NaN without a profile and at sites that it does not reach; rank and z too where the wild-type
        residue is none of the 20. Means and ranks are over the sites that the profile reaches.
    """
    if profile is None:
        return {name: np.full(len(index), np.nan) for name in ALIGNED_EVIDENCE}
    codes = codes_of(sequence)
    reached = profile.sequences > 0
    log_p = profile.log_probabilities
    entropy = entropy_of(log_p)
    own = np.where(codes >= 0, log_p[np.arange(len(codes)), np.maximum(codes, 0)], np.nan)
    odds = log_p - own[:, None]  # (L, 20)
    others = (np.arange(20) != codes[:, None]) & (reached & (codes >= 0))[:, None]
    rank, z = _placed(odds[index, mutant], odds[others])
    entropy_rank, entropy_z = _placed(entropy[index], entropy[reached])
    found = {
        "aligned_rank": rank,
        "aligned_z": z,
        "aligned_entropy_rank": entropy_rank,
        "aligned_entropy_z": entropy_z,
        "aligned_nearest": profile.nearest[index, mutant].astype(np.float64),
        "aligned_closest": profile.closest[index].astype(np.float64),
        "aligned_gaps": profile.gaps[index].astype(np.float64),
    }
    for values in found.values():
        values[~reached[index]] = np.nan
    return found


def deep_evidence(
    profile: AlignedProfile, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence `DEEP_EVIDENCE` of n substitutions, as `aligned_evidence`; empty without couplings."""
    if profile.couplings is None:
        return {}
    site, other = _substitutions(sequence)
    every = np.column_stack(
        [profile.couplings[site, other], aligned_evidence(profile, sequence, site, other)["aligned_rank"]]
    )
    every = every[np.isfinite(every).all(axis=1)]
    coupled, _ = _placed(profile.couplings[index, mutant].astype(np.float64), every[:, 0])
    aligned = aligned_evidence(profile, sequence, index, mutant)["aligned_rank"]
    together = _placed(every[:, 0], every[:, 0])[0] + every[:, 1]
    return {"deep_couplings": coupled, "deep_rank": _placed(coupled + aligned, together)[0]}


def _substitutions(sequence: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All 19 × L substitutions: replaced residues, 0-based, of the 20, and places in `STANDARD`."""
    codes = codes_of(sequence)
    residues = np.flatnonzero(codes >= 0)
    index = np.repeat(residues, 19)
    return index, (codes[index] + 1 + np.tile(np.arange(19), len(residues))) % 20


def _placed(
    asked: NDArray[np.float64], among: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of `among` below each value, and how many standard deviations it lies above their mean."""
    if not among.size:
        unknown = np.full(len(asked), np.nan)
        return unknown, unknown.copy()
    below = np.searchsorted(np.sort(among), asked) / len(among)
    spread = max(float(among.std()), 1e-9)
    return np.where(np.isfinite(asked), below, np.nan), (asked - among.mean()) / spread
