"""All evidence of a protein, whatever sources there are, and which sites each source covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.aligned import aligned_evidence, deep_evidence
from mutscan.evidence.inverse_folding import inverse_folding_evidence
from mutscan.evidence.sequence import sequence_evidence
from mutscan.evidence.structure import structure_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

SOURCES: Final = {"structure": "contact_number", "folding": "folding_entropy", "alignment": "aligned_gaps"}
"""Sources of evidence beside the sequence, and a piece that is known at the sites that each covers."""


def protein_evidence(
    protein: ProteinView, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """All evidence of n substitutions of one protein, shape (n,) each, from every source that is there."""
    evidence = sequence_evidence(protein, index, mutant)
    if protein.aligned is not None:
        evidence |= aligned_evidence(protein.aligned, protein.sequence, index, mutant)
        evidence |= deep_evidence(protein.aligned, protein.sequence, index, mutant)
    if protein.ca is not None:
        evidence |= structure_evidence(protein, index, mutant)
    if protein.folded is not None:
        evidence |= inverse_folding_evidence(protein.folded, protein.sequence, index, mutant)
    return evidence


def covered_by(evidence: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.bool_]]:
    """Rows that each of `SOURCES` covers, bool arrays of shape (n,)."""
    nothing = np.full(len(evidence["blosum62"]), np.nan)
    return {source: np.isfinite(evidence.get(piece, nothing)) for source, piece in SOURCES.items()}
