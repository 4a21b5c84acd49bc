"""The structural flag: a predicted drop compared with a calibrated threshold.

The drop is measured against the protein's own null, because a single substitution leaves the scores
themselves near 1 whatever it does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    _Values = TypeVar("_Values", float, NDArray[np.float64])

DROPS: Final = {
    "lddt_z": "lDDT drop z",
    "tm_z": "TM drop z",
    "lddt_percentile": "lDDT drop percentile",
    "tm_percentile": "TM drop percentile",
}
"""Scores a rule may read, and what they are called once turned so that more is worse."""

STEP: Final = 0.01
"""Thresholds are multiples of it, so that what is printed is what is compared."""


DISTURBED: Final = "structure disturbed: "
"""In `flag_rule` where the rule finds the structure disturbed."""

UNDISTURBED: Final = "structure not disturbed: "

SINGLES_ONLY: Final = "the threshold is calibrated for single substitutions only"
"""In `flag_rule` of a joint mutant, on which the rule decides nothing."""


def turned(score: str, value: _Values) -> _Values:
    """Turn a score, of which less is worse, into a drop, of which more is worse.

    Parameters
    ----------
    score : str
        Of `DROPS`.
    value : float or float array
        Robust z, or percentile from 0 (the most disruptive) to 100.

    Examples
    --------
    >>> turned("lddt_z", -3.4), turned("tm_percentile", 1.5)
    (3.4, 98.5)
    """
    return 100.0 - value if score.endswith("percentile") else -value


@dataclass(frozen=True, eq=False)
class StructuralRule:
    """From which predicted drop on a structure counts as disturbed.

    Parameters
    ----------
    score : str
        Of `DROPS`.
    threshold : float
        The drop from which up it is disturbed; a multiple of `STEP`.
    net : str
        sha256 of the weights of the Siamese net whose predictions it was calibrated on.
    facts : mapping
        The whole entry of calibration.json: specificity, precision, counts ...
    beyond : bool
        It is applied to a joint mutant, for which nothing is calibrated: most random pairs of substitutions
        exceed a threshold for single ones.
    """

    score: str
    threshold: float
    net: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    beyond: bool = False

    def disturbed(self, scores: Mapping[str, float]) -> bool | None:
        """Whether the structure is disturbed; None where the score is not known.

        Parameters
        ----------
        scores : mapping of name -> float
            Those of `DROPS` that are known, as in the row: less is worse.
        """
        drop = turned(self.score, scores[self.score])
        return None if math.isnan(drop) else drop >= self.threshold

    def words(self, scores: Mapping[str, float]) -> str:
        """Apply the rule to one variant, in words; empty where the score is not known."""
        disturbed = self.disturbed(scores)
        if disturbed is None:
            return ""
        # Rounded down, a drop never seems to reach a threshold that it does not reach.
        drop = math.floor(round(turned(self.score, scores[self.score]) / STEP, 6)) * STEP
        sign = ">=" if disturbed else "<"
        said = f"{DISTURBED if disturbed else UNDISTURBED}{DROPS[self.score]} {drop:.2f} {sign} "
        said += f"{self.threshold:.2f}"
        if self.beyond:
            return f"{said} ({SINGLES_ONLY})"
        if not disturbed:
            return said
        return (
            f"{said} (specificity {self.facts['specificity']:.2f}, precision {self.facts['precision']:.2f}; "
            f"calibrated on {self.facts['n']:,} substitutions of {self.facts['n_groups']:,} groups)"
        )


def read_rule(entry: Mapping[str, Any]) -> StructuralRule | None:
    """Read the ``structural`` entry of calibration.json; None where it holds no threshold.

    Raises
    ------
    KeyError, TypeError, ValueError
        It is no such entry.
    """
    if entry.get("threshold") is None:
        return None
    rule = StructuralRule(
        str(entry["score"]), float(entry["threshold"]), str(entry["net_sha256"]), dict(entry)
    )
    if rule.score not in DROPS or not math.isfinite(rule.threshold):
        raise ValueError(f"structural rule {rule.score} >= {rule.threshold}")
    for name in ("specificity", "precision", "n", "n_groups"):
        float(entry[name])
    return rule
