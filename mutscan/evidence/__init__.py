"""Evidence that a substitution harms, and the additive model that weighs it.

`substitution`, `surroundings`, `language` and `structure` turn one protein and its
substitutions into named numbers; `Calibration` (calibration.json of a model) turns these into a
probability whose logit is a sum over the pieces of evidence. Nothing here knows a network: what a
network said comes in as arrays.
"""

from mutscan.evidence.additive import AdditiveModel, Contribution
from mutscan.evidence.calibration import (
    CALIBRATION_FILE,
    Assessment,
    Calibration,
    Tier,
    load_calibration,
)
from mutscan.evidence.sequence import EVIDENCE, ProteinView, sequence_evidence
from mutscan.evidence.structure import STRUCTURE_EVIDENCE, structure_evidence

__all__ = [
    "CALIBRATION_FILE",
    "EVIDENCE",
    "STRUCTURE_EVIDENCE",
    "AdditiveModel",
    "Assessment",
    "Calibration",
    "Contribution",
    "ProteinView",
    "Tier",
    "load_calibration",
    "sequence_evidence",
    "structure_evidence",
]
