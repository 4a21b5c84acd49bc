"""How alike two structures are: per-residue lDDT and the TM-score of a known correspondence.

Everything here takes C-alpha coordinates, (n, 3) in Å, in matching order, and
gives the same numbers each time: identical coordinates score exactly 1.
"""

from __future__ import annotations

from mutscan.scores.local import EXPONENT, RADIUS, THRESHOLDS, Neighbourhood, lddt
from mutscan.scores.structure_scores import StructureScores, score_structures
from mutscan.scores.superposition import TMScore, superpose, tm_d0, tm_score

__all__ = [
    "EXPONENT",
    "RADIUS",
    "THRESHOLDS",
    "Neighbourhood",
    "StructureScores",
    "TMScore",
    "lddt",
    "score_structures",
    "superpose",
    "tm_d0",
    "tm_score",
]
