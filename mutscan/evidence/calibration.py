"""A model's calibration.json: an additive model for each tier of evidence, its thresholds and its metrics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.errors import CheckpointError
from mutscan.evidence.additive import AdditiveModel
from mutscan.evidence.sequence import encoder_views, sequence_evidence, sequence_hash
from mutscan.evidence.structural import StructuralRule, read_rule
from mutscan.evidence.structure import structure_evidence
from mutscan.evidence.wording import describe, group_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

CALIBRATION_FILE: Final = "calibration.json"
FORMAT: Final = 1
"""Version of the layout; a reader refuses a newer one."""

TIERS: Final = ("sequence", "structure", "built")
"""From the least evidence to the most; each is calibrated on its own."""


@dataclass(frozen=True, eq=False)
class Tier:
    """One tier: what is weighed, and where lines are drawn.

    Parameters
    ----------
    name : {"sequence", "structure", "built"}
    model : AdditiveModel
    deleterious, tolerated : float
        Probabilities from which up, and up to which, there is a flag; between them is ``uncertain``.
    facts : mapping
        Thresholds with precision, specificity and sensitivity, counts and metrics, as written.
    base : Tier, optional
        Tier whose log-odds this one adds to, times `slope`.
    slope : float
    """

    name: str
    model: AdditiveModel
    deleterious: float
    tolerated: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    base: Tier | None = None
    slope: float = 1.0

    @property
    def intercept(self) -> float:
        """Log-odds of harm before any evidence."""
        return self.model.intercept + (0.0 if self.base is None else self.slope * self.base.intercept)

    def grouped(
        self, evidence: Mapping[str, NDArray[np.float64]], views: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[np.float64]]:
        """Give what each group of evidence adds to the log-odds of harm, shape (n,) each."""
        added = grouped(self.model.pieces(evidence, views))
        if self.base is None:
            return added
        below = {group: self.slope * x for group, x in self.base.grouped(evidence, views).items()}
        return below | {group: x + below.get(group, 0.0) for group, x in added.items()}

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
        share = self.facts.get("share_deleterious")
        prior = "" if share is None else f" assuming that {100 * share:.0f} % of variants are deleterious"
        if flag == "deleterious":
            part = thresholds["deleterious"]
            return (
                f"p >= {self.deleterious:.3f} (specificity {part['specificity']:.2f}, "
                f"precision {part['precision']:.2f}{prior}; {where})"
            )
        if flag == "tolerated":
            part = thresholds["tolerated"]
            return (
                f"p <= {self.tolerated:.3f} (sensitivity {part['sensitivity']:.2f}, "
                f"negative predictive value {part['npv']:.2f}{prior}; {where})"
            )
        return f"{self.tolerated:.3f} < p < {self.deleterious:.3f} ({where})"


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one group of evidence says of one substitution.

    Parameters
    ----------
    evidence : str
        Name of the group, such as ``burial``.
    value : str
        What was seen, in words.
    log_odds : float
        What it adds to the log-odds of harm, in comparison with an average labelled variant; positive
        is more harmful.
    """

    evidence: str
    value: str
    log_odds: float


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the evidence says of n substitutions of one protein.

    Parameters
    ----------
    tiers : mapping of name -> Tier
        Those in use.
    tier_of : str array, shape (n,)
        By which tier each was judged.
    p_deleterious : float array, shape (n,)
        NaN where the wild-type residue is none of the 20.
    evidence : mapping of name -> float array, shape (n,)
    groups : list of str
    contributions : float array, shape (n, groups)
        To the log-odds; with the tier's intercept they add up to it. NaN: not weighed in that tier.
    """

    tiers: Mapping[str, Tier]
    tier_of: NDArray[np.str_]
    p_deleterious: NDArray[np.float64]
    evidence: Mapping[str, NDArray[np.float64]]
    groups: list[str]
    contributions: NDArray[np.float64]

    def __len__(self) -> int:
        """Count substitutions."""
        return len(self.p_deleterious)

    def flag(self, row: int) -> str:
        """``deleterious``, ``tolerated`` or ``uncertain``; empty where there is no probability."""
        return self._tier(row).flag(float(self.p_deleterious[row]))

    def flags(self) -> NDArray[np.str_]:
        """All flags, shape (n,)."""
        flags = np.full(len(self), "", dtype="<U11")
        for name, tier in self.tiers.items():
            rows = (self.tier_of == name) & np.isfinite(self.p_deleterious)
            p = self.p_deleterious[rows]
            flags[rows] = np.select(
                [p >= tier.deleterious, p <= tier.tolerated], ["deleterious", "tolerated"], "uncertain"
            )
        return flags

    def rule(self, row: int) -> str:
        """By which rule and threshold, and on what that was calibrated."""
        return self._tier(row).rule(float(self.p_deleterious[row]))

    def explain(self, row: int) -> list[Contribution]:
        """Evidence of one substitution in groups, the strongest first."""
        seen = {name: float(values[row]) for name, values in self.evidence.items()}
        here = self.contributions[row]
        order = np.argsort(-np.abs(here), kind="stable").tolist()
        return [
            Contribution(self.groups[i], describe(self.groups[i], seen), float(here[i]))
            for i in order
            if math.isfinite(here[i])
        ]

    def worst(self, rows: Sequence[int]) -> int:
        """Row with the highest probability: what a joint mutant is at least judged by."""
        return max(rows, key=lambda row: (np.nan_to_num(self.p_deleterious[row], nan=-1.0), -row))

    def _tier(self, row: int) -> Tier:
        return self.tiers[str(self.tier_of[row])]


@dataclass(frozen=True, eq=False)
class Calibration:
    """All tiers of one model.

    Parameters
    ----------
    tiers : mapping of name -> Tier
    encoder : str
        Revision of the encoder whose embeddings are read.
    families : str
        sha256 of the library of families that profiles are made with; empty for none.
    longest : int
        Residues of the longest protein it was calibrated on.
    splits : mapping of sequence hash -> split
        ``fit`` for proteins whose variants were fitted, ``test`` for those kept out.
    document : mapping
        calibration.json as it is.
    structural : StructuralRule, optional
        From which predicted drop on a structure is disturbed.
    """

    tiers: Mapping[str, Tier]
    encoder: str
    families: str
    longest: int
    splits: Mapping[str, str]
    document: Mapping[str, Any]
    structural: StructuralRule | None = None

    def split_of(self, sequence: str) -> str:
        """``fit``, ``test`` or, for a protein the calibration never met, an empty string."""
        return self.splits.get(sequence_hash(sequence), "")

    def mismatch(self, encoder: str, families: str) -> str:
        """Explain why this calibration does not fit an encoder revision and a library; empty if it does."""
        made = "the model's calibration was made with"
        if self.encoder != encoder:
            return f"{made} encoder revision {self.encoder}, this one is {encoder}"
        if self.families != families:
            ours, theirs = (text[:12] or "none" for text in (families, self.families))
            return f"{made} family library {theirs}, this one is {ours}"
        return ""

    @property
    def share_deleterious(self) -> float | None:
        """Share of deleterious variants that the probabilities assume, the same in all tiers."""
        return next((tier.facts.get("share_deleterious") for tier in self.tiers.values()), None)

    @property
    def weighs_built(self) -> str:
        """Backend whose mutants the ``built`` tier was calibrated on; empty where there is no such tier."""
        return str(self.tiers["built"].facts["builder"]) if "built" in self.tiers else ""

    def assess(
        self,
        protein: ProteinView,
        index: NDArray[np.int64],
        mutant: NDArray[np.int64],
        built: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> Assessment:
        """Weigh the evidence of n single substitutions of one protein.

        A site with coordinates is judged by the ``structure`` tier where there is one, and by ``built``
        where its mutant was built and there is that tier; any other by ``sequence``.

        Parameters
        ----------
        protein : ProteinView
        index : int array, shape (n,)
            Replaced residues, 0-based.
        mutant : int array, shape (n,)
            What replaces them, places in `mutscan.residues.STANDARD`.
        built : mapping of name -> float array, shape (n,), optional
            `BUILT_EVIDENCE`; all NaN where no mutant was built.
        """
        evidence = sequence_evidence(protein, index, mutant)
        tier_of = np.full(len(index), "sequence", dtype="<U9")
        if protein.ca is not None and "structure" in self.tiers:
            evidence |= structure_evidence(protein, index, mutant)
            tier_of[np.isfinite(evidence["contact_number"])] = "structure"
            if built is not None and "built" in self.tiers:
                evidence |= built
                known = np.any([np.isfinite(values) for values in built.values()], axis=0)
                tier_of[known & (tier_of == "structure")] = "built"
        views = encoder_views(protein, index)
        groups: list[str] = []
        parts: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]] = []
        logit = np.full(len(index), np.nan)
        for name in np.unique(tier_of).tolist():
            rows = np.flatnonzero(tier_of == name)
            tier = self.tiers[name]
            added = tier.grouped(
                {n: v[rows] for n, v in evidence.items()}, {n: v[rows] for n, v in views.items()}
            )
            groups += [group for group in added if group not in groups]
            parts.append((rows, added))
            logit[rows] = tier.intercept + sum(added.values())
        contributions = np.full((len(index), len(groups)), np.nan)
        for rows, added in parts:
            for group, values in added.items():
                contributions[rows, groups.index(group)] = values
        p = 1.0 / (1.0 + np.exp(-logit))
        p[protein.codes[index] < 0] = np.nan
        used = {name: self.tiers[name] for name in np.unique(tier_of).tolist()}
        return Assessment(used, tier_of, p, evidence, groups, contributions)


def grouped(pieces: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Contributions of single pieces, shape (n,) each, summed by group."""
    summed: dict[str, NDArray[np.float64]] = {}
    for name, values in pieces.items():
        group = group_of(name)
        summed[group] = summed[group] + values if group in summed else values
    return summed


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
        tiers: dict[str, Tier] = {}
        # A tier may stand on one of less evidence, so these come first.
        for name, part in sorted(document["tiers"].items(), key=lambda entry: TIERS.index(entry[0])):
            tiers[name] = Tier(
                name,
                AdditiveModel.from_dict(part["model"]),
                float(part["thresholds"]["deleterious"]["p"]),
                float(part["thresholds"]["tolerated"]["p"]),
                part,
                tiers[part["base"]["tier"]] if "base" in part else None,
                float(part["base"]["slope"]) if "base" in part else 1.0,
            )
        if "built" in tiers and not isinstance(tiers["built"].facts["builder"], str):
            raise ValueError("the built tier names no builder")
        splits = {str(entry[0]): str(entry[2]) for entry in document["proteins"].values()}
        structural = read_rule(document.get("structural", {}))
        alone = not tiers and structural is not None
        if not alone and ("sequence" not in tiers or not set(tiers) <= set(TIERS)):
            raise ValueError(f"tiers are {sorted(tiers)}, expected sequence and perhaps others of {TIERS}")
        return Calibration(
            tiers,
            str(document["model"]["encoder_revision"]),
            str(document["model"].get("families_sha256") or ""),
            int(document["data"]["longest"]),
            splits,
            document,
            structural,
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: is no calibration of mutscan ({type(error).__name__}: {error}); "
            "make one with `mutscan train calibrate`"
        ) from error
