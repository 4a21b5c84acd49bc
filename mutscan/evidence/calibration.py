"""A model's calibration.json: for each tier of evidence an additive model, its thresholds and how it did."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.errors import CheckpointError
from mutscan.evidence.additive import AdditiveModel, Contribution

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

CALIBRATION_FILE: Final = "calibration.json"
FORMAT: Final = 1
"""Version of the layout; a reader refuses a newer one."""

TIERS: Final = ("sequence", "structure", "mutant")
"""From the least evidence to the most; each is calibrated on its own."""


@dataclass(frozen=True, eq=False)
class Tier:
    """One tier: what is weighed, and where lines are drawn.

    Parameters
    ----------
    name : {"sequence", "structure", "mutant"}
    model : AdditiveModel
    deleterious, tolerated : float
        Probabilities from which up, and up to which, there is a flag; between them is ``uncertain``.
    facts : mapping
        Thresholds with precision, specificity and sensitivity, counts and metrics, as written.
    """

    name: str
    model: AdditiveModel
    deleterious: float
    tolerated: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    def flag(self, p: float) -> str:
        """Flag of one probability; empty for NaN."""
        if math.isnan(p):
            return ""
        if p >= self.deleterious:
            return "deleterious"
        return "tolerated" if p <= self.tolerated else "uncertain"

    def rule(self, p: float) -> str:
        """By which rule and threshold, and where that was calibrated."""
        flag = self.flag(p)
        thresholds = self.facts["thresholds"]
        where = f"{self.name} evidence; calibrated on {self.facts['n']:,} variants of "
        where += f"{self.facts['n_groups']:,} protein groups"
        if flag == "deleterious":
            part = thresholds["deleterious"]
            return (
                f"p >= {self.deleterious:.3f} (specificity {part['specificity']:.2f}, "
                f"precision {part['precision']:.2f}; {where})"
            )
        if flag == "tolerated":
            part = thresholds["tolerated"]
            return (
                f"p <= {self.tolerated:.3f} (sensitivity {part['sensitivity']:.2f}, "
                f"negative predictive value {part['npv']:.2f}; {where})"
            )
        return f"{self.tolerated:.3f} < p < {self.deleterious:.3f} ({where})"


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the evidence says of n substitutions.

    Parameters
    ----------
    tier : Tier
    evidence : mapping of name -> float array, shape (n,)
    contributions : float array, shape (n, evidence)
        To the logit; with the intercept they add up to it.
    p_deleterious : float array, shape (n,)
    """

    tier: Tier
    evidence: Mapping[str, NDArray[np.float64]]
    contributions: NDArray[np.float64]
    p_deleterious: NDArray[np.float64]

    def flag(self, row: int) -> str:
        """Flag of one substitution."""
        return self.tier.flag(float(self.p_deleterious[row]))

    def rule(self, row: int) -> str:
        """Rule behind it."""
        return self.tier.rule(float(self.p_deleterious[row]))

    def explain(self, row: int) -> list[Contribution]:
        """Contributions of one substitution, the largest first."""
        names = list(self.evidence)
        order = np.argsort(-np.abs(self.contributions[row]), kind="stable").tolist()
        return [
            Contribution(names[i], float(self.evidence[names[i]][row]), float(self.contributions[row, i]))
            for i in order
        ]


@dataclass(frozen=True, eq=False)
class Calibration:
    """All tiers of one model.

    Parameters
    ----------
    tiers : mapping of name -> Tier
    encoder : str
        Revision of the encoder whose embeddings are read.
    proteins : mapping of id -> (sequence hash, group, split)
        What was fitted on, and what was kept for testing.
    document : mapping
        calibration.json as it is.
    """

    tiers: Mapping[str, Tier]
    encoder: str
    proteins: Mapping[str, tuple[str, int, str]]
    document: Mapping[str, Any]

    def best_tier(self, *, structure: bool) -> Tier:
        """Tier for the evidence at hand."""
        return self.tiers["structure" if structure and "structure" in self.tiers else "sequence"]

    def assess(
        self,
        tier: Tier,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.float64]],
    ) -> Assessment:
        """Weigh the evidence of n substitutions."""
        complete = tier.model.complete(evidence, views)
        contributions = tier.model.contributions(complete)
        logit = tier.model.intercept + contributions.sum(axis=1)
        return Assessment(tier, complete, contributions, 1.0 / (1.0 + np.exp(-logit)))


def load_calibration(folder: Path) -> Calibration | None:
    """Read calibration.json of a model folder; None where it has none.

    Raises
    ------
    CheckpointError
        It is no calibration, or of a newer mutscan.
    """
    path = folder / CALIBRATION_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    try:
        if document["format"] > FORMAT:
            raise CheckpointError(
                f"{path}: format {document['format']}, this mutscan reads up to {FORMAT}; update mutscan"
            )
        tiers = {
            name: Tier(
                name,
                AdditiveModel.from_dict(part["model"]),
                float(part["thresholds"]["deleterious"]["p"]),
                float(part["thresholds"]["tolerated"]["p"]),
                part,
            )
            for name, part in document["tiers"].items()
        }
        proteins = {
            name: (str(entry[0]), int(entry[1]), str(entry[2]))
            for name, entry in document["proteins"].items()
        }
        if "sequence" not in tiers or not set(tiers) <= set(TIERS):
            raise ValueError(f"tiers are {sorted(tiers)}, expected sequence and perhaps structure, mutant")
        return Calibration(tiers, str(document["model"]["encoder_revision"]), proteins, document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: is no calibration of mutscan ({type(error).__name__}: {error}); "
            "make one with `mutscan train calibrate`"
        ) from error
