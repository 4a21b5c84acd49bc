"""Evidence of inverse folding: which residues fit the wild type's backbone at the site.

It tells stability rather than function: a residue that a binding site needs may fit its backbone badly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.residue_properties import codes_of, entropy_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

INVERSE_FOLDING_EVIDENCE: Final[dict[str, str]] = {
    "folding_log_odds": "inverse folding, all other residues known: ln p(mutant) - ln p(wild type)",
    "folding_log_p_mutant": "ln p(mutant) there",
    "folding_log_p_wild_type": "ln p(wild type) there",
    "folding_entropy": "entropy of inverse folding's 20 probabilities at the site, nats",
}
"""Evidence of a structure-conditioned model and what it means."""


def inverse_folding_evidence(
    log_probabilities: NDArray[np.floating] | None,
    sequence: str,
    index: NDArray[np.int64],
    mutant: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """Evidence `INVERSE_FOLDING_EVIDENCE` of n substitutions of one protein.

    Parameters
    ----------
    log_probabilities : float array, shape (L, 20), optional
        Natural logarithms in the order of `STANDARD`, NaN at residues without a backbone.
    sequence : str
        L residues.
    index : int array, shape (n,)
        Replaced residues, 0-based.
    mutant : int array, shape (n,)
        What replaces them, places in `STANDARD`.

    Returns
    -------
    dict of name -> float array, shape (n,)
        NaN without log-probabilities or a backbone at the site; log-odds and ln p(wild type) too where the
        wild-type residue is none of the 20.
    """
    if log_probabilities is None:
        return {name: np.full(len(index), np.nan) for name in INVERSE_FOLDING_EVIDENCE}
    wild_type = codes_of(sequence)[index]
    here = log_probabilities[index].astype(np.float64)  # (n, 20)
    row = np.arange(len(index))
    asked, own = here[row, mutant], np.where(wild_type >= 0, here[row, np.maximum(wild_type, 0)], np.nan)
    return {
        "folding_log_odds": asked - own,
        "folding_log_p_mutant": asked,
        "folding_log_p_wild_type": own,
        "folding_entropy": entropy_of(here),
    }
