"""A model's calibration.json: an additive model for each tier of evidence, its thresholds and its metrics."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.errors import CheckpointError
from mutscan.evidence.additive import AdditiveModel
from mutscan.evidence.aligned import substitutions_of
from mutscan.evidence.ddg import DdgModel, read_ddg
from mutscan.evidence.sequence import encoder_views, sequence_hash
from mutscan.evidence.sources import covered_by, protein_evidence
from mutscan.evidence.structural import StructuralRule, read_rule
from mutscan.evidence.wording import COUPLINGS, describe, group_of

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

PRIORS: Final = ("clinical", "scan")
"""Lists that a probability may hold for: variants that clinics report, or all substitutions of a protein."""


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

    def flag(self, log_odds: float) -> str:
        """Flag of log-odds before the shift of a prior; empty for NaN."""
        if math.isnan(log_odds):
            return ""
        if log_odds >= self.deleterious:
            return "deleterious"
        return "tolerated" if log_odds <= self.tolerated else "uncertain"

    def threshold(self, flag: str, prior: str) -> float:
        """Probability at the threshold of ``deleterious`` or ``tolerated`` under a prior."""
        line = self.deleterious if flag == "deleterious" else self.tolerated
        return round(1.0 / (1.0 + math.exp(-(line + self.shift[prior]))), 6)

    def rule(self, flag: str, prior: str) -> str:
        """Explain a flag: its threshold, where that was calibrated, and how often it was right there."""
        upper, lower = (self.threshold(kind, prior) for kind in ("deleterious", "tolerated"))
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


@dataclass(frozen=True, eq=False)
class Typical:
    """What all 19 x L substitutions of a protein get in one tier.

    Parameters
    ----------
    groups : mapping of group -> float
        Mean contribution of each group of evidence.
    log_odds, together : float array, shape (m,)
        Ascending, of the substitutions that a deep alignment covers: the log-odds of harm, and the sum of
        their ranks in log-odds and in the alignment. Empty without one.
    """

    groups: Mapping[str, float]
    log_odds: NDArray[np.float64]
    together: NDArray[np.float64]

    def reordered(self, log_odds: NDArray[np.float64], deep_rank: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log-odds after the alignment has had its say in the order of the protein's substitutions.

        Tiers are fitted with shallow alignments and trust a deep one as little. So the ranks in log-odds and
        in the alignment count alike, and each place in the new order gets the log-odds that stood there: all
        substitutions together keep theirs, and the share above any threshold stays.

        Parameters
        ----------
        log_odds : float array, shape (n,)
        deep_rank : float array, shape (n,)
            Where it is NaN, the log-odds stay.
        """
        if not self.log_odds.size:
            return log_odds
        place = np.interp(_ranks(log_odds, self.log_odds) + 1.0 - deep_rank, self.together, self.log_odds)
        return np.where(np.isfinite(deep_rank), place, log_odds)


def _ranks(values: NDArray[np.float64], ascending: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of the ascending numbers that are below each value, shape (n,)."""
    return np.searchsorted(ascending, values) / len(ascending)


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


@dataclass(frozen=True, eq=False)
class Assessment:
    """What the evidence says of n substitutions of one protein.

    Parameters
    ----------
    tiers : mapping of name -> Tier
        Those in use.
    tier_of : str array, shape (n,)
        Tier that judged each.
    log_odds : float array, shape (n,)
        Of harm in a clinical list; NaN where the wild-type residue is none of the 20.
    p_deleterious : float array, shape (n,)
        Under `prior`.
    evidence : mapping of name -> float array, shape (n,)
    groups : list of str
    contributions : float array, shape (n, groups)
        To the log-odds, in comparison with the average substitution of this protein; with the tier's
        intercept they add up to `log_odds`. NaN: not weighed in that tier.
    prior : {"clinical", "scan"}
    """

    tiers: Mapping[str, Tier]
    tier_of: NDArray[np.str_]
    log_odds: NDArray[np.float64]
    p_deleterious: NDArray[np.float64]
    evidence: Mapping[str, NDArray[np.float64]]
    groups: list[str]
    contributions: NDArray[np.float64]
    prior: str = "clinical"

    def __len__(self) -> int:
        """Count substitutions."""
        return len(self.p_deleterious)

    def flag(self, row: int) -> str:
        """``deleterious``, ``tolerated`` or ``uncertain``; empty where there is no probability."""
        return self._tier(row).flag(float(self.log_odds[row]))

    def flags(self) -> NDArray[np.str_]:
        """All flags, shape (n,)."""
        return np.array([self.flag(row) for row in range(len(self))], dtype="<U11")

    def rule(self, row: int) -> str:
        """Explain the flag: threshold, where that was calibrated, and how often it was right there."""
        return self._tier(row).rule(self.flag(row), self.prior)

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
        """Row with the highest probability, which a joint mutant is judged by."""
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
        return tuple(prior for prior in PRIORS if all(prior in tier.shift for tier in self.tiers.values()))

    def typical(self, protein: ProteinView) -> dict[str, Typical]:
        """Weigh the evidence of all 19 x L substitutions of a protein in each tier.

        The mean of each group is subtracted from the contributions of single substitutions, so that evidence
        that only says which protein it is (length, number of relatives, ...) cannot move the verdict on all
        of them together.
        """
        index, mutant = substitutions_of(protein.sequence)
        if not index.size:
            return {name: Typical({}, np.empty(0), np.empty(0)) for name in self.tiers}
        evidence = protein_evidence(protein, index, mutant)
        covered = covered_by(evidence)
        views = encoder_views(protein)
        deep_rank = evidence.get("deep_rank", np.full(len(index), np.nan))
        deep = np.isfinite(deep_rank)
        found = {}
        for name, tier in self.tiers.items():
            if not usable(name, covered).any():
                continue
            added = tier.grouped(evidence, views, index)
            means = {group: float(x.mean()) for group, x in added.items()}
            weighed = deep if "alignment" in TIERS[name] else np.zeros_like(deep)
            log_odds = tier.model.intercept - sum(means.values()) + np.sum([*added.values()], axis=0)[weighed]
            ascending = np.sort(log_odds)
            together = np.sort(_ranks(log_odds, ascending) + 1.0 - deep_rank[weighed])
            found[name] = Typical(means, ascending, together)
        return found

    def assess(
        self,
        protein: ProteinView,
        index: NDArray[np.int64],
        mutant: NDArray[np.int64],
        *,
        prior: str = "clinical",
        typical: Mapping[str, Typical] | None = None,
    ) -> Assessment:
        """Weigh the evidence of n single substitutions of one protein.

        Each site is judged by the last of `TIERS` that the model has and whose sources cover the site.

        Parameters
        ----------
        protein : ProteinView
        index : int array, shape (n,)
            Replaced residues, 0-based.
        mutant : int array, shape (n,)
            What replaces them, places in `mutscan.residues.STANDARD`.
        prior : {"clinical", "scan"}
            Kind of list that the probability is to hold for; one of `priors`.
        typical : mapping, optional
            `typical` of the protein; computed when not given.
        """
        typical = self.typical(protein) if typical is None else typical
        evidence = protein_evidence(protein, index, mutant)
        tier_of = best_tiers(self.tiers, covered_by(evidence))
        views = encoder_views(protein)
        groups: list[str] = []
        parts: list[tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]] = []
        log_odds, shift = np.full(len(index), np.nan), np.zeros(len(index))
        used = {name: self.tiers[name] for name in np.unique(tier_of).tolist()}
        for name, tier in used.items():
            rows = np.flatnonzero(tier_of == name)
            added = tier.grouped({n: v[rows] for n, v in evidence.items()}, views, index[rows])
            added = {group: x - typical[name].groups.get(group, 0.0) for group, x in added.items()}
            log_odds[rows] = tier.model.intercept + sum(added.values())
            if typical[name].log_odds.size:
                ordered = typical[name].reordered(log_odds[rows], evidence["deep_rank"][rows])
                added[COUPLINGS] = ordered - log_odds[rows]
                log_odds[rows] = ordered
            groups += [group for group in added if group not in groups]
            parts.append((rows, added))
            shift[rows] = tier.shift[prior]
        contributions = np.full((len(index), len(groups)), np.nan)
        for rows, added in parts:
            for group, values in added.items():
                contributions[rows, groups.index(group)] = values
        log_odds[protein.codes[index] < 0] = np.nan
        p = 1.0 / (1.0 + np.exp(-(log_odds + shift)))
        return Assessment(used, tier_of, log_odds, p, evidence, groups, contributions, prior)


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
        document = json.loads(path.read_text(encoding="utf-8"))
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
