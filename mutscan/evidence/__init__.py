"""Evidence that a substitution harms, and the additive model that weighs it.

One way in: `load_calibration(folder of a model)`, then `assess(ProteinView, index, mutant)` gives an
`Assessment`: probability, flag, rule, and `explain(row)` what each group of evidence adds. `warnings_for`
says what lies outside of what was calibrated. Nothing here knows a network: what one said comes in as
arrays.
"""

from mutscan.additive import AdditiveModel
from mutscan.evidence.aligned import (
    ALIGNED_EVIDENCE,
    DEEP_EVIDENCE,
    AlignedProfile,
    aligned_evidence,
    deep_evidence,
)
from mutscan.evidence.calibration import (
    CALIBRATION_FILE,
    TIERS,
    Assessment,
    Calibration,
    Contribution,
    Tier,
    best_tiers,
    load_calibration,
    usable,
)
from mutscan.evidence.conservation import CONSERVATION_EVIDENCE, FamilyProfile
from mutscan.evidence.ddg import DDG_EVIDENCE, DdgModel
from mutscan.evidence.inverse_folding import INVERSE_FOLDING_EVIDENCE, inverse_folding_evidence
from mutscan.evidence.limits import warnings_for
from mutscan.evidence.sequence import EVIDENCE, ProteinView, sequence_evidence
from mutscan.evidence.sources import covered_by, protein_evidence
from mutscan.evidence.structural import DROPS, StructuralRule
from mutscan.evidence.structure import REPEATED, STRUCTURE_EVIDENCE, structure_evidence
from mutscan.evidence.whole import WholeScan

__all__ = [
    "ALIGNED_EVIDENCE",
    "CALIBRATION_FILE",
    "CONSERVATION_EVIDENCE",
    "DDG_EVIDENCE",
    "DEEP_EVIDENCE",
    "DROPS",
    "EVIDENCE",
    "INVERSE_FOLDING_EVIDENCE",
    "REPEATED",
    "STRUCTURE_EVIDENCE",
    "TIERS",
    "AdditiveModel",
    "AlignedProfile",
    "Assessment",
    "Calibration",
    "Contribution",
    "DdgModel",
    "FamilyProfile",
    "ProteinView",
    "StructuralRule",
    "Tier",
    "WholeScan",
    "aligned_evidence",
    "best_tiers",
    "covered_by",
    "deep_evidence",
    "inverse_folding_evidence",
    "load_calibration",
    "protein_evidence",
    "sequence_evidence",
    "structure_evidence",
    "usable",
    "warnings_for",
]
