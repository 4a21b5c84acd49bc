"""A model's calibration.json: an additive model for each tier of evidence, its thresholds and its metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.additive import AdditiveModel
from mutscan.errors import CheckpointError
from mutscan.evidence.ddg import DdgModel, read_ddg
from mutscan.evidence.sequence import sequence_hash
from mutscan.evidence.structural import StructuralRule, read_rule
from mutscan.evidence.whole import WholeScan
from mutscan.evidence.wording import (
    BASELINE,
    OTHER,
    baseline_words,
    describe,
    group_of,
    strongest_words,
)
from mutscan.files import read_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

CALIBRATION_FILE: Final = "calibration.json"
FORMAT: Final = 2
"""Version of the layout; a reader refuses a newer one."""

TIERS: Final[dict[str, tuple[str, ...]]] = {
    "sequence": (),
    "structure": ("structure",),
    "inverse_folding": ("structure", "folding"),
    "aligned": ("alignment",),
    "aligned_structure": ("alignment", "structure"),
    "aligned_inverse_folding": ("alignment", "structure", "folding"),
}
"""Tiers and the sources that each weighs, from the least evidence to the most."""


@dataclass(frozen=True, eq=False)
class Tier:
    """One tier: the evidence it weighs, and its thresholds.

    Parameters
    ----------
    name : str
        One of `TIERS`.
    model : AdditiveModel
    deleterious, tolerated : float
        Log-odds from which up, and up to which, there is a flag; between them is ``uncertain``.
    facts : mapping
        Thresholds with precision, specificity and sensitivity, counts and metrics, as written.
    shift : mapping of prior -> float
        Added to the log-odds of clinical lists under each prior that the tier knows; changes no rank or flag.
    """

    name: str
    model: AdditiveModel
    deleterious: float
    tolerated: float
    facts: Mapping[str, Any]
    shift: Mapping[str, float]

    @property
    def sources(self) -> tuple[str, ...]:
        """Those of `SOURCES` that it weighs."""
        return TIERS[self.name]

    def grouped(
        self,
        evidence: Mapping[str, NDArray[np.float64]],
        views: Mapping[str, NDArray[np.float64]],
        site: NDArray[np.int64],
    ) -> dict[str, NDArray[np.float64]]:
        """Contribution of each group of evidence to the log-odds, shape (n,) each; see `AdditiveModel`."""
        summed: dict[str, NDArray[np.float64]] = {}
        for name, values in self.model.pieces(evidence, views, site).items():
            group = group_of(name)
            summed[group] = summed[group] + values if group in summed else values
        return summed

    def flags(self, log_odds: NDArray[np.float64]) -> NDArray[np.str_]:
        """Give the flag of log-odds before the shift of a prior, shape (n,); empty for NaN."""
        return np.select(
            [np.isnan(log_odds), log_odds >= self.deleterious, log_odds <= self.tolerated],
            ["", "deleterious", "tolerated"],
            "uncertain",
        )

    def threshold(self, flag: str, prior: str) -> float:
        """Probability at the threshold of ``deleterious`` or ``tolerated`` under a prior."""
        line = self.deleterious if flag == "deleterious" else self.tolerated
        return round(1.0 / (1.0 + math.exp(-(line + self.shift[prior]))), 6)

    def rule(self, flag: str, prior: str) -> str:
        """Explain a flag: its threshold, where that was calibrated, and how often it was right there."""
        upper, lower = (self.threshold(kind, prior) for kind in ("deleterious", "tolerated"))
        if not flag:
            return ""
        facts = self.facts
        where = f"{tier_words(self.name)} evidence; calibrated on {facts['n']:,} variants of "
        where += f"{facts['n_groups']:,} protein groups"
        if flag == "uncertain":
            return f"{lower:.3f} < p < {upper:.3f} ({where})"
        if prior == "scan":
            scans = facts["scan"]
            right = f"precision {scans['precision']:.2f}, recall {scans['recall']:.2f}"
            if flag == "tolerated":
                right = f"{scans['harmful_tolerated']:.0%} of the harmful ones fall here".replace("%", " %")
            of = f"in {scans['n_scans']} deep mutational scans, {100 * scans['harmful']:.0f} % being harmful"
        else:
            part = facts["thresholds"][flag]
            right = f"specificity {part['specificity']:.2f}, precision {part['precision']:.2f}"
            if flag == "tolerated":
                right = f"sensitivity {part['sensitivity']:.2f}, negative predictive value {part['npv']:.2f}"
            of = (
                "in lists of labelled human variants, assuming that "
                f"{100 * facts['share_deleterious']:.0f} % are deleterious"
            )
        line = f"p >= {upper:.3f}" if flag == "deleterious" else f"p <= {lower:.3f}"
        return f"{line} ({right} {of}; {where})"


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
        What it adds to the log-odds of harm, in comparison with the average substitution of the protein;
        positive is more harmful.
    """

    evidence: str
    value: str
    log_odds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all substitutions of one tier and one flag have in common.

    Parameters
    ----------
    tier : Tier
    flag : str
        ``deleterious``, ``tolerated`` or ``uncertain``; empty where there is no probability.
    prior : {"clinical", "scan"}
    """

    tier: Tier
    flag: str
    prior: str

    @property
    def baseline(self) -> float:
        """Log-odds of the average substitution of a protein, under the prior."""
        return self.tier.model.intercept + self.tier.shift[self.prior]

    @property
    def rule(self) -> str:
        """Threshold, where that was calibrated, and how often the flag was right there."""
        return self.tier.rule(self.flag, self.prior)


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the evidence says of n substitutions of one protein.

    Parameters
    ----------
    tier_of : str array, shape (n,)
        Tier that judged each.
    log_odds : float array, shape (n,)
        Of harm in a clinical list; NaN where the wild-type residue is none of the 20.
    p_deleterious : float array, shape (n,)
        Under the prior asked for.
    outcomes : list of Outcome
    outcome_of : int array, shape (n,)
        Place of each in `outcomes`.
    groups : list of str
    contributions : float array, shape (n, groups)
        To the log-odds, in comparison with the average substitution of this protein; with the tier's
        intercept they add up to `log_odds`. NaN: not weighed in that tier.
    evidence : mapping of name -> float array, shape (N,)
        Of all substitutions of the protein.
    rows : int array, shape (n,)
        Place of each in `evidence`.
    """

    tier_of: NDArray[np.str_]
    log_odds: NDArray[np.float64]
    p_deleterious: NDArray[np.float64]
    outcomes: list[Outcome]
    outcome_of: NDArray[np.int64]
    groups: list[str]
    contributions: NDArray[np.float64]
    evidence: Mapping[str, NDArray[np.float64]]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        """Count substitutions."""
        return len(self.p_deleterious)

    def flag(self, row: int) -> str:
        """``deleterious``, ``tolerated`` or ``uncertain``; empty where there is no probability."""
        return self.outcomes[int(self.outcome_of[row])].flag

    def flags(self) -> NDArray[np.str_]:
        """All flags, shape (n,)."""
        return np.array([outcome.flag for outcome in self.outcomes], dtype="<U11")[self.outcome_of]

    def rule(self, row: int) -> str:
        """Explain the flag: threshold, where that was calibrated, and how often it was right there."""
        return self.outcomes[int(self.outcome_of[row])].rule

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Groups of each substitution, the strongest first, shape (n, groups)."""
        return np.argsort(-np.abs(self.contributions), axis=1, kind="stable")

    @cached_property
    def words(self) -> list[str]:
        """The strongest evidence of each substitution: ``burial +1.2; exchange -0.3``."""
        return strongest_words(self.groups, self.contributions, self._order)

    def explain(self, row: int, most: int | None = None) -> list[Contribution]:
        """Evidence of one substitution: the baseline, then groups, the strongest first.

        They add up to the log-odds of `p_deleterious`. With `most` the groups after so many are one piece.
        """
        seen = {name: float(values[self.rows[row]]) for name, values in self.evidence.items()}
        here = self.contributions[row]
        order = [i for i in self._order[row].tolist() if math.isfinite(here[i])]
        told, rest = order[:most], order[len(order[:most]) :]
        outcome = self.outcomes[int(self.outcome_of[row])]
        pieces = [Contribution(BASELINE, baseline_words(outcome.baseline, outcome.prior), outcome.baseline)]
        pieces += [Contribution(self.groups[i], describe(self.groups[i], seen), float(here[i])) for i in told]
        if rest:
            names = ", ".join(self.groups[i] for i in rest)
            pieces.append(Contribution(OTHER, names, float(here[rest].sum())))
        return pieces

    def worst(self, rows: Sequence[int]) -> int:
        """Row with the highest probability, which a joint mutant is judged by."""
        p = np.nan_to_num(self.p_deleterious[[*rows]], nan=-1.0)
        return max(zip(p.tolist(), rows, strict=True), key=lambda one: (one[0], -one[1]))[1]


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
    folding : str
        sha256 of the weights of inverse folding whose evidence the tiers weigh; empty for none.
    longest : int
        Residues of the longest protein it was calibrated on.
    splits : mapping of sequence hash -> split
        ``fit`` for proteins whose variants were fitted, ``test`` for those kept out.
    document : mapping
        calibration.json as it is.
    structural : StructuralRule, optional
        From which predicted drop on a structure is disturbed.
    ddg : DdgModel, optional
        Predicts the change of stability from inverse folding.
    """

    tiers: Mapping[str, Tier]
    encoder: str
    families: str
    folding: str
    longest: int
    splits: Mapping[str, str]
    document: Mapping[str, Any]
    structural: StructuralRule | None = None
    ddg: DdgModel | None = None

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

    def share_deleterious(self, prior: str) -> float | None:
        """Share of harmful variants that the probabilities assume under a prior; None without tiers."""
        for tier in self.tiers.values():
            share = tier.facts["scan"]["harmful"] if prior == "scan" else tier.facts["share_deleterious"]
            return float(share)
        return None

    @property
    def sources(self) -> frozenset[str]:
        """Those of `SOURCES` that a tier weighs."""
        return frozenset(source for name in self.tiers for source in TIERS[name])

    @property
    def priors(self) -> tuple[str, ...]:
        """Priors that every tier knows."""
        shifts = [tier.shift for tier in self.tiers.values()]
        return tuple(prior for prior in (shifts[0] if shifts else ()) if all(prior in one for one in shifts))

    def assess(
        self,
        protein: ProteinView | WholeScan,
        index: NDArray[np.int64],
        mutant: NDArray[np.int64],
        *,
        prior: str = "clinical",
    ) -> Assessment:
        """Weigh the evidence of n single substitutions of one protein.

        Each site is judged by the last of `TIERS` that the model has and whose sources cover the site.

        Parameters
        ----------
        protein : ProteinView or WholeScan
            A `WholeScan` gathers its evidence once, however often it is asked.
        index : int array, shape (n,)
            Replaced residues, 0-based.
        mutant : int array, shape (n,)
            What replaces them, places in `mutscan.residues.STANDARD`.
        prior : {"clinical", "scan"}
            Kind of list that the probability is to hold for; one of `priors`.
        """
        whole = protein if isinstance(protein, WholeScan) else WholeScan(protein)
        at = whole.rows(index, mutant)
        tier_of = best_tiers(self.tiers, {source: known[at] for source, known in whole.covered.items()})
        unknown = whole.protein.codes[index] < 0
        groups: list[str] = []
        outcomes: list[Outcome] = []
        outcome_of = np.zeros(len(at), dtype=np.int64)
        parts: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]] = []
        log_odds, shift = np.full(len(at), np.nan), np.zeros(len(at))
        for name in np.unique(tier_of).tolist():
            tier, rows = self.tiers[name], np.flatnonzero(tier_of == name)
            typical = whole.typical(tier)
            added = {group: x[at[rows]] - typical[group] for group, x in whole.grouped(tier).items()}
            groups += [group for group in added if group not in groups]
            parts.append((rows, added))
            odds = np.where(unknown[rows], np.nan, tier.model.intercept + sum(added.values()))
            log_odds[rows], shift[rows] = odds, tier.shift[prior]
            flags = tier.flags(odds)
            for flag in np.unique(flags).tolist():
                outcome_of[rows[flags == flag]] = len(outcomes)
                outcomes.append(Outcome(tier, flag, prior))
        contributions = np.full((len(at), len(groups)), np.nan)
        for rows, added in parts:
            for group, values in added.items():
                contributions[rows, groups.index(group)] = values
        p = 1.0 / (1.0 + np.exp(-(log_odds + shift)))
        return Assessment(
            tier_of, log_odds, p, outcomes, outcome_of, groups, contributions, whole.evidence, at
        )


def tier_words(tier: str) -> str:
    """List the sources that a tier weighs: ``alignment, structure and inverse folding``."""
    names = [source.replace("folding", "inverse folding") for source in TIERS[tier]] or ["sequence"]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def usable(tier: str, covered: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Rows that all sources of a tier cover, shape (n,)."""
    masks = [covered[source] for source in TIERS[tier]]
    return np.logical_and.reduce(masks) if masks else np.ones(len(covered["structure"]), dtype=np.bool_)


def best_tiers(tiers: Collection[str], covered: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.str_]:
    """Tier of each row, shape (n,): the last of `TIERS` among `tiers` whose sources cover it."""
    best = np.full(len(covered["structure"]), "sequence", dtype="<U24")
    for name in TIERS:
        if name in tiers:
            best[usable(name, covered)] = name
    return best


def load_calibration(folder: Path) -> Calibration | None:
    """Read calibration.json of a model folder; None where it has none.

    Raises
    ------
    CheckpointError
        It is no calibration, or of a newer mutscan.
    """
    path = folder / CALIBRATION_FILE
    try:
        document = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    try:
        if document["format"] != FORMAT:
            what = "update mutscan" if document["format"] > FORMAT else "run `mutscan train calibrate` again"
            raise CheckpointError(f"{path}: format {document['format']}, this mutscan reads {FORMAT}; {what}")
        tiers: dict[str, Tier] = {}
        for name, part in document["tiers"].items():
            lines = [float(part["thresholds"][kind]["p"]) for kind in ("deleterious", "tolerated")]
            upper, lower = (math.log(p / (1.0 - p)) for p in lines)
            shift = {"clinical": 0.0} | ({"scan": float(part["scan"]["shift"])} if "scan" in part else {})
            tiers[name] = Tier(name, AdditiveModel.from_dict(part["model"]), upper, lower, part, shift)
        splits = {str(entry[0]): str(entry[2]) for entry in document["proteins"].values()}
        structural = read_rule(document.get("structural", {}))
        alone = not tiers and structural is not None
        if not alone and ("sequence" not in tiers or not set(tiers) <= set(TIERS)):
            raise ValueError(f"tiers are {sorted(tiers)}, expected sequence and perhaps others of {[*TIERS]}")
        return Calibration(
            tiers,
            str(document["model"]["encoder_revision"]),
            str(document["model"].get("families_sha256") or ""),
            str(document["model"].get("inverse_folding_sha256") or ""),
            int(document["data"]["longest"]),
            splits,
            document,
            structural,
            read_ddg(document, path),
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: is no calibration of mutscan ({type(error).__name__}: {error}); "
            "make one with `mutscan train calibrate`"
        ) from error
