"""Evidence that relatives give: what stands at the site in the families a protein belongs to.

A substitution that no relative carries, at a site that none of them changes, is the oldest sign of harm
(Ng and Henikoff, Genome Res. 11, 863 (2001)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.windows import window_mean
from mutscan.residue_properties import BACKGROUND, BLOSUM62, codes_of, entropy_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONSERVATION_EVIDENCE: Final[dict[str, str]] = {
    "family_log_odds": "relatives at the site, with pseudocounts: ln p(mutant) - ln p(wild type)",
    "family_log_p_mutant": "ln p(mutant) there",
    "family_log_p_wild_type": "ln p(wild type) there",
    "family_entropy": "entropy of the relatives' 20 probabilities at the site, nats",
    "family_entropy_relative": "that entropy - its mean over ± 10 residues",
    "family_sequences": "ln(1 + sequences of the families that cover the site, the protein among them)",
    "families": "ln(1 + families that cover the site)",
    "family_diversity": "twice the residue types beyond one that relatives use, mean of ± 5 residues",
    "family_gaps": "share of the families there that lack the site",
}
"""Evidence of a protein's families and what it means."""

PSEUDOCOUNTS: Final = 8.0
"""Weight of what BLOSUM62 expects, against the diversity of the relatives (as PSI-BLAST's beta, Altschul
et al., Nucleic Acids Res. 25, 3389 (1997))."""

_DIVERSE: Final = 5  # residues to each side over which diversity is averaged
_BESIDE: Final = 10  # residues to each side that a site's entropy is compared with

_EXCHANGED: Final = BACKGROUND * 2.0 ** (BLOSUM62 / 2.0)
EXPECTED: Final = _EXCHANGED / _EXCHANGED.sum(axis=1, keepdims=True)
"""Probability of each residue (column) where another stood (row), shape (20, 20)."""


@dataclass(frozen=True, eq=False)
class FamilyProfile:
    """What stands at each residue of a protein in its relatives.

    Parameters
    ----------
    frequencies : float array, shape (L, 20)
        Of residues, in the order of `STANDARD`, the protein itself counted once; 0 throughout where
        it has none of the 20 and no relative covers the site.
    sequences : float array, shape (L,)
        Sequences that cover the residue, itself among them.
    families : float array, shape (L,)
        Families that cover it.
    gaps : float array, shape (L,)
        Share of the families there that lack it.
    """

    frequencies: NDArray[np.float64]
    sequences: NDArray[np.float64]
    families: NDArray[np.float64]
    gaps: NDArray[np.float64]

    @cached_property
    def diversity(self) -> NDArray[np.float64]:
        """Twice the number of residue types beyond one that stand at a site, mean of ± 5, shape (L,)."""
        logs = np.log(np.where(self.frequencies > 0, self.frequencies, 1.0))
        types = np.exp(-(self.frequencies * logs).sum(axis=1))
        return 2.0 * (window_mean(types[:, None], _DIVERSE)[:, 0] - 1.0)

    @cached_property
    def log_probabilities(self) -> NDArray[np.float64]:
        """Natural logarithms of the relatives' residues with pseudocounts, shape (L, 20)."""
        seen = self.frequencies.sum(axis=1, keepdims=True)
        observed = self.frequencies + (1.0 - seen) * BACKGROUND
        diversity = self.diversity[:, None]
        mixed = (diversity * observed + PSEUDOCOUNTS * (observed @ EXPECTED)) / (diversity + PSEUDOCOUNTS)
        logs: NDArray[np.float64] = np.log(mixed)
        return logs


def conservation_evidence(
    profile: FamilyProfile | None, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence `CONSERVATION_EVIDENCE` of n substitutions of one protein.

    Parameters
    ----------
    profile : FamilyProfile, optional
    sequence : str
        L residues.
    index : int array, shape (n,)
        Replaced residues, 0-based.
    mutant : int array, shape (n,)
        What replaces them, places in `STANDARD`.

    Returns
    -------
    dict of name -> float array, shape (n,)
        NaN without a profile; log-odds too where the wild-type residue is none of the 20.
    """
    if profile is None:
        return {name: np.full(len(index), np.nan) for name in CONSERVATION_EVIDENCE}
    wild_type = codes_of(sequence)[index]
    log_p = profile.log_probabilities
    entropy = entropy_of(log_p)
    own = np.where(wild_type >= 0, log_p[index, np.maximum(wild_type, 0)], np.nan)
    asked = log_p[index, mutant]
    return {
        "family_log_odds": asked - own,
        "family_log_p_mutant": asked,
        "family_log_p_wild_type": own,
        "family_entropy": entropy[index],
        "family_entropy_relative": (entropy - window_mean(entropy[:, None], _BESIDE)[:, 0])[index],
        "family_sequences": np.log1p(profile.sequences[index]),
        "families": np.log1p(profile.families[index]),
        "family_diversity": profile.diversity[index],
        "family_gaps": profile.gaps[index],
    }
