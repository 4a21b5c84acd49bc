"""The decision: the evidence of a wild type's variants, weighed by the model's calibration."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import UsageError
from mutscan.evidence import ProteinView, WholeScan, warnings_for
from mutscan.model.inverse_folding import WEIGHTS_SHA256, folded_log_probabilities
from mutscan.pipeline.options import DEFAULTS
from mutscan.residues import STANDARD
from mutscan.structures import ca_by_position, plddt_by_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.alignments.source import Relatives
    from mutscan.evidence import Assessment, Calibration, Contribution, StructuralRule
    from mutscan.evidence.ddg import DdgModel
    from mutscan.model.inverse_folding import InverseFolding
    from mutscan.pipeline.network import LoadedModel, WildTypePredictor
    from mutscan.structures import WildType
    from mutscan.variants import Substitution, Variant

_log = logging.getLogger(__name__)

NO_FLAG: Final = "no flag: the model has no calibrated rule (mutscan train calibrate makes it)"
"""Note on every scored row of a model without calibration.json."""

UNKNOWN_RESIDUE: Final = "no probability: the wild-type residue is not one of the 20 standard residues"

OTHER_NET: Final = "no structural flag: its threshold was calibrated with other network weights"

NO_TIERS: Final = "no probability: the model has only a structural rule"

ALONE: Final = "no probability; judged by the predicted structure alone"
"""Stands before a structural rule that decides."""

NOT_ASSESSED: Final = "not assessed: "
"""Begins the rule of a variant for which nothing is calibrated."""

INDEL: Final = f"{NOT_ASSESSED}nothing is calibrated for insertions and deletions"
JOINT: Final = f"{NOT_ASSESSED}without probabilities nothing is calibrated for joint mutants"

NO_BACKBONE: Final = "no inverse folding and no ddg_predicted: N, CA, C or O is missing at the site"
UNUSED: Final = "the model has no tier for alignments; the alignment was not used"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one variant, and its grounds.

    Parameters
    ----------
    p : float
        Probability that it is deleterious; NaN where there is none.
    flag, rule : str
        Without a probability the flag is empty until `with_structure` is asked; without any calibrated rule
        the rule starts with `NOT_ASSESSED`.
    words : str
        The strongest evidence: ``burial +1.2; exchange -0.3``; of a joint mutant that of its worst
        substitution.
    notes : tuple of str
        Why there is no flag, and warnings about the one there is.
    structural : StructuralRule, optional
        The rule that judges the predicted drop of this variant.
    ddg : float, kcal/mol
        Predicted change of the folding free energy, positive = destabilising; NaN where there is none.
    alignment : str
        Source of the relatives that were weighed, and their number at the site.
    assessment : Assessment, optional
        What it rests on.
    row : int
        The variant's place there.
    """

    p: float = math.nan
    flag: str = ""
    rule: str = ""
    words: str = ""
    notes: tuple[str, ...] = (NO_FLAG,)
    structural: StructuralRule | None = None
    ddg: float = math.nan
    alignment: str = ""
    assessment: Assessment | None = None
    row: int = 0

    def with_structure(self, scores: Mapping[str, float]) -> Verdict:
        """Apply the structural rule to the variant's predicted scores.

        Where there is a probability the flag stays: the drop adds no information to it. Where there is
        none, the drop of a single substitution decides; a small drop does not show that the variant is
        harmless, so the flag is never ``tolerated``. On a joint mutant nothing is decided then.

        Parameters
        ----------
        scores : mapping of name -> float
            Those of `mutscan.evidence.DROPS`, as in the row.
        """
        said = "" if self.structural is None else self.structural.words(scores)
        if self.structural is None or not said:
            return self
        if self.rule:
            return replace(self, rule=f"{self.rule}; {said}")
        if self.structural.beyond:
            return replace(self, rule=JOINT)
        flag = "deleterious" if self.structural.disturbed(scores) else "uncertain"
        return replace(self, flag=flag, rule=f"{ALONE}: {said}")

    def explain(self, most: int | None = None) -> list[Contribution]:
        """Evidence of `Assessment.explain`; none without a probability."""
        return [] if self.assessment is None else self.assessment.explain(self.row, most)


@dataclass(frozen=True, eq=False)
class SingleVerdicts:
    """What differs between the verdicts on n single substitutions, column by column.

    All else of a verdict depends on the site alone.

    Parameters
    ----------
    assessment : Assessment, optional
        None for a model that gives no probability.
    ddg : float array, shape (n,), kcal/mol
        NaN where there is none.
    """

    assessment: Assessment | None
    ddg: NDArray[np.float64]


UNDECIDED: Final = Verdict()
"""Of a model without calibration."""


class Judge:
    """Decides on variants of one wild type.

    A probability depends on the wild type and the variant alone, not on the other variants of a run.

    Parameters
    ----------
    model : LoadedModel
    predictor : WildTypePredictor
        Gives the wild type's embedding; it is not computed twice.
    wild_type : WildType
    prior : {"clinical", "scan"}
        List that probabilities hold for.
    folding : InverseFolding, optional
        Gives evidence of the wild type's structure.
    relatives : Relatives, optional
        Of the wild type, from an alignment; weighed by models with a tier for it.

    Raises
    ------
    CheckpointError
        The model's calibration.json is damaged.
    UsageError
        The model was not calibrated for this prior.
    """

    def __init__(
        self,
        model: LoadedModel,
        predictor: WildTypePredictor,
        wild_type: WildType,
        prior: str = DEFAULTS.prior,
        folding: InverseFolding | None = None,
        relatives: Relatives | None = None,
    ) -> None:
        self._prior = prior
        self._model = model
        self._predictor = predictor
        self._wild_type = wild_type
        self._folding = folding
        self._calibration = model.calibration
        self._ddg = self._usable_ddg()
        self._otherwise = UNDECIDED
        library = model.families
        families = "" if library is None else library.sha256
        calibration = self._calibration
        wrong = "" if calibration is None else calibration.mismatch(model.encoder.revision, families)
        if wrong:
            _log.warning("no flag: %s", wrong)
            self._otherwise = Verdict(notes=(f"no flag: {wrong}",))
            self._calibration = None
        self._structural = None if self._calibration is None else self._usable(self._calibration.structural)
        if self._calibration is not None and not self._calibration.tiers and self._structural is None:
            self._otherwise = Verdict(notes=(OTHER_NET,))
            self._calibration = None

        if (
            self._calibration is not None
            and self._calibration.tiers
            and prior not in self._calibration.priors
        ):
            raise UsageError(f"--prior {prior}: the model {model.path.name} was not calibrated on scans")
        self._relatives = relatives
        weighed = frozenset() if self._calibration is None else self._calibration.sources
        if relatives is not None and "alignment" not in weighed:
            _log.warning("%s", UNUSED)
            self._relatives = None
        self._unused = () if self._relatives is relatives else (UNUSED,)

    @property
    def calibrated(self) -> bool:
        """Whether there are probabilities at all."""
        return self._calibration is not None and bool(self._calibration.tiers)

    def _usable(self, rule: StructuralRule | None) -> StructuralRule | None:
        """Return the structural rule, if it was calibrated on predictions of these very weights."""
        if rule is None:
            return None
        if self._model.net_sha256 == rule.net:
            return rule
        _log.warning("%s; run `mutscan train calibrate` again", OTHER_NET)
        return None

    def _usable_ddg(self) -> DdgModel | None:
        """Return the model of ddG, if inverse folding runs here with the weights it was fitted with."""
        ddg = None if self._calibration is None else self._calibration.ddg
        if ddg is None or self._folding is None:
            return None
        if ddg.weights == WEIGHTS_SHA256:
            return ddg
        _log.warning("no ddg_predicted: the model was calibrated with other weights of inverse folding")
        return None

    @cached_property
    def _view(self) -> ProteinView:
        """The wild type after its one pass through the encoder, with its structure."""
        embedding = self._predictor.embedding
        head = self._model.head
        return ProteinView(
            self._wild_type.sequence,
            None if head is None else head.log_probabilities(embedding),
            embedding,
            ca_by_position(self._wild_type),
            plddt_by_position(self._wild_type),
            self._model.family_profile(self._wild_type.sequence),
            aligned=None if self._relatives is None else self._relatives.profile,
            folded=self._folded if self._weighs_folding else None,
        )

    @property
    def _weighs_folding(self) -> bool:
        """Whether tiers were calibrated with these very weights of inverse folding."""
        return self._calibration is not None and self._calibration.folding == WEIGHTS_SHA256

    @cached_property
    def _folded(self) -> NDArray[np.float64] | None:
        return None if self._folding is None else folded_log_probabilities(self._wild_type, self._folding)

    def judge(self, variants: Sequence[Variant]) -> list[Verdict]:
        """Decide on each variant.

        The caller, who has the predictions, adds `Verdict.with_structure`.

        Indels get no probability. The probability of a joint mutant is that of its worst substitution
        alone, and its notes say so. It is never ``tolerated``: several substitutions may harm together
        where none harms alone.

        Where there is inverse folding, single substitutions get a predicted ddG too.

        Parameters
        ----------
        variants : sequence of Variant
        """
        return [
            replace(verdict, notes=(*verdict.notes, *self._unused), alignment=self._alignment(variant))
            for variant, verdict in zip(
                variants, self._with_ddg(variants, self._decide(variants)), strict=True
            )
        ]

    def judge_singles(self, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> SingleVerdicts:
        """Decide on n single substitutions, all at once: the numbers of `judge`.

        Parameters
        ----------
        index : int array, shape (n,)
            Replaced residues, 0-based.
        mutant : int array, shape (n,)
            What replaces them, places in `STANDARD`.
        """
        assessment = self._assess(index, mutant) if self.calibrated else None
        return SingleVerdicts(assessment, self._predicted_ddg(index, mutant))

    def _with_ddg(self, variants: Sequence[Variant], verdicts: Sequence[Verdict]) -> list[Verdict]:
        rows = [row for row, v in enumerate(variants) if v.indel is None and v.n_substitutions == 1]
        found = [*verdicts]
        if not self._predicts_ddg or not rows:
            return found
        assert self._folded is not None
        index, mutant = _sites([variants[row].substitutions[0] for row in rows])
        ddg = self._predicted_ddg(index, mutant)
        known = np.isfinite(self._folded[index, 0])
        for row, value, there in zip(rows, ddg.tolist(), known.tolist(), strict=True):
            notes = found[row].notes if there else (*found[row].notes, NO_BACKBONE)
            found[row] = replace(found[row], ddg=value, notes=notes)
        return found

    @property
    def _predicts_ddg(self) -> bool:
        return self._ddg is not None and self._folded is not None

    def _predicted_ddg(self, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> NDArray[np.float64]:
        if self._ddg is None or self._folded is None:
            return np.full(len(index), np.nan)
        return self._ddg.predict(self._folded_whole, index, mutant)

    @cached_property
    def _whole(self) -> WholeScan:
        return WholeScan(self._view)

    @cached_property
    def _folded_whole(self) -> WholeScan:
        """All substitutions with evidence of inverse folding, also where no tier weighs it."""
        return self._whole if self._weighs_folding else WholeScan(replace(self._view, folded=self._folded))

    def _alignment(self, variant: Variant) -> str:
        """Source and number of the relatives at the site; of several sites the fewest."""
        sites = [substitution.position - 1 for substitution in variant.substitutions]
        if not sites or not self.calibrated:
            return ""
        view = self._view
        if view.aligned is not None and (effective := float(view.aligned.effective[sites].min())) > 0:
            return f"{self._relatives}, {effective:,.1f} sequences"
        if view.family is None:
            return ""
        number = round(float(view.family.sequences[sites].min()))
        return f"library, {number:,} sequence{'' if number == 1 else 's'}"

    def _decide(self, variants: Sequence[Variant]) -> list[Verdict]:
        calibration = self._calibration
        if calibration is None:
            return [self._otherwise] * len(variants)
        if not calibration.tiers:
            return [
                Verdict(rule=INDEL if v.indel else "", notes=(NO_TIERS,), structural=self._rule_for(v))
                for v in variants
            ]
        singles = {
            s: row for row, s in enumerate(dict.fromkeys(s for v in variants for s in v.substitutions))
        }
        assessment = self._assess(*_sites(list(singles)))
        return [
            self._verdict(calibration, assessment, variant, [singles[s] for s in variant.substitutions])
            for variant in variants
        ]

    def _assess(self, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> Assessment:
        assert self._calibration is not None
        return self._calibration.assess(self._whole, index, mutant, prior=self._prior)

    def _verdict(
        self, calibration: Calibration, assessment: Assessment, variant: Variant, rows: list[int]
    ) -> Verdict:
        index = [substitution.position - 1 for substitution in variant.substitutions]
        notes = tuple(warnings_for(calibration, self._view, index, indel=variant.indel is not None))
        if not rows:
            return Verdict(rule=INDEL, notes=notes)
        structural = self._rule_for(variant)
        p = assessment.p_deleterious[rows]
        if not np.isfinite(p).all():
            return Verdict(notes=(UNKNOWN_RESIDUE,), structural=structural)
        worst = rows[0] if len(rows) == 1 else assessment.worst(rows)
        flag, rule = assessment.flag(worst), assessment.rule(worst)
        if len(rows) > 1:
            rule = f"{variant.substitutions[rows.index(worst)]} alone: {rule}"
            flag = "uncertain" if flag == "tolerated" else flag
        words = assessment.words[worst]
        return Verdict(float(p.max()), flag, rule, words, notes, structural, assessment=assessment, row=worst)

    def _rule_for(self, variant: Variant) -> StructuralRule | None:
        """Rule for a variant: none for insertions and deletions, of which almost all exceed its threshold."""
        rule = self._structural
        if rule is None or variant.indel is not None:
            return None
        return rule if variant.n_substitutions == 1 else replace(rule, beyond=True)

    def describe(self) -> dict[str, object] | None:
        """Describe the calibration for run.json; None without one."""
        calibration = self._calibration
        if calibration is None:
            return None
        return {
            "encoder_revision": calibration.encoder,
            "families_sha256": calibration.families or None,
            "data": calibration.document.get("data"),
            "prior": self._prior,
            "share_deleterious": calibration.share_deleterious(self._prior),
            "tiers": {
                name: {
                    "deleterious": tier.threshold("deleterious", self._prior),
                    "tolerated": tier.threshold("tolerated", self._prior),
                    "n": tier.facts.get("n"),
                }
                for name, tier in calibration.tiers.items()
            },
            "structural": None
            if self._structural is None
            else {"score": self._structural.score, "threshold": self._structural.threshold},
        }


def _sites(singles: Sequence[Substitution]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give replaced residues, 0-based, and new ones as places in `STANDARD`, shape (n,) each."""
    index = np.array([single.position - 1 for single in singles], dtype=np.int64)
    return index, np.array([STANDARD.index(single.mutant) for single in singles], dtype=np.int64)


def evidence_block(
    variants: Sequence[Variant], verdicts: Sequence[Verdict], *, most: int | None = None
) -> dict[str, list[object]]:
    """Rows of evidence.parquet: one for each variant and piece; after `most` groups the rest is one piece."""
    told = [
        (str(variant), piece)
        for variant, verdict in zip(variants, verdicts, strict=True)
        for piece in verdict.explain(most)
    ]
    return {
        "variant": [name for name, _ in told],
        "evidence": [piece.evidence for _, piece in told],
        "value": [piece.value for _, piece in told],
        "contribution": [piece.log_odds for _, piece in told],
    }
