"""From predictions and measurements to the rows of variants.csv and residues.parquet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.calling import LOW_PLDDT, mean_away_from_site, percentile, robust_z
from mutscan.calling.residue_model import NO_AFFECTED
from mutscan.errors import BuildError
from mutscan.evidence.structural import DROPS
from mutscan.pipeline.numbering import FileNumbers
from mutscan.structures import plddt_by_position, site_notes, structure_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.builders.pool import Measured
    from mutscan.calling import Null, SiteContexts
    from mutscan.pipeline.alphamissense import AlphaMissense
    from mutscan.pipeline.plan import PlannedRow
    from mutscan.pipeline.subdomains import Affected
    from mutscan.pipeline.verdict import Verdict
    from mutscan.structures import WildType
    from mutscan.variants import Variant


@dataclass(frozen=True, eq=False, slots=True)
class VariantResult:
    """All that is known of one scored variant, on the wild type's residues.

    Without a prediction TM-score and lDDT are NaN.
    """

    variant: Variant
    tm: float
    tm_raw: float
    lddt: NDArray[np.float64]
    affected: Affected
    measured: Measured | None
    verdict: Verdict


def unscored_row(planned: PlannedRow) -> dict[str, object]:
    """Row of a line that names no variant to score."""
    assert planned.error is not None
    return {
        "input": planned.source.text,
        "status": planned.status,
        "error_code": planned.error.code,
        "message": f"{planned.source.source} line {planned.source.number}: {planned.error.message}",
    }


class Assembler:
    """Turns results into rows, against one wild type and, where mutants are predicted, its null."""

    def __init__(
        self, wild_type: WildType, null: Null | None, alphamissense: AlphaMissense, contexts: SiteContexts
    ) -> None:
        self.wild_type = wild_type
        self.null = null
        self._contexts = contexts
        self._alphamissense = alphamissense
        self._plddt = plddt_by_position(wild_type)
        self._numbers = FileNumbers.of(wild_type)

    def row(self, result: VariantResult, error: BuildError | None) -> dict[str, object]:
        """Row of a scored variant without its input; `error` is why its structure could not be built."""
        variant = result.variant
        if error is None and variant.indel is not None:
            error = BuildError(
                f"{variant}: insertions and deletions are scored on sequence only", code="indel_not_built"
            )
        return self._head(variant, error) | self._scores(result)

    def judged_row(self, variant: Variant, verdict: Verdict) -> dict[str, object]:
        """Row of a substitution whose mutant was neither predicted nor built, without its input."""
        return self._head(variant, None) | self._judged(variant, verdict, None, verdict.notes)

    def _head(self, variant: Variant, error: BuildError | None) -> dict[str, object]:
        return {
            "status": "ok" if error is None else "partial",
            "error_code": None if error is None else error.code,
            "message": None if error is None else error.message,
            "variant": str(variant),
            "hgvs": variant.hgvs,
            "n_substitutions": variant.n_substitutions,
            "positions": ";".join(map(str, variant.positions)),
            "structure_number": structure_number(self.wild_type, variant.positions),
        }

    def _judged(
        self, variant: Variant, verdict: Verdict, measured: Measured | None, remarks: tuple[str, ...]
    ) -> dict[str, object]:
        """Cells of a verdict, of the wild type's site, and of what both leave uncertain."""
        plddt_site = math.nan if self._plddt is None else _least(self._plddt[_sites(variant)])
        doubts: list[tuple[str, str]] = []
        if self.wild_type.structure is None:
            doubts.append(("medium", "sequence only, no structure was given or found"))
        elif measured is None:
            doubts.append(("medium", "no mutant was built"))
        elif measured.low_confidence:
            doubts.append(("low", "the built mutant is doubtful"))
        if plddt_site < LOW_PLDDT:
            doubts.append(("low", f"pLDDT {plddt_site:.0f} at the site"))
        if variant.indel is not None:
            doubts.append(("low", "the model and its background were made for substitutions"))
        confidence = min((level for level, _ in doubts), default="high")  # "low" before "medium"
        reasons = ", ".join(why for level, why in doubts if level == confidence)
        notes = [f"confidence {confidence}: {reasons}"] if reasons else []
        notes.append(self._numbers.told(variant))
        if measured is not None:
            numbering = " (the file's numbering)" if self._numbers.differ else ""
            notes.extend(f"{note}{numbering}" for note in measured.notes)
        if variant.indel is None:
            notes.extend(site_notes(self.wild_type, variant.positions))
        notes.extend(remarks)
        return {
            "flag": verdict.flag,
            "flag_rule": verdict.rule,
            "p_deleterious": verdict.p,
            "plddt_site": plddt_site,
            "confidence": confidence,
            "notes": "; ".join(filter(None, dict.fromkeys(notes))),
            "evidence": verdict.words,
            "ddg_predicted": verdict.ddg,
            "site_context": self._contexts.of(variant),
            "alignment": verdict.alignment,
            "alphamissense": self._alphamissense.of(variant),
        }

    def _scores(self, result: VariantResult) -> dict[str, object]:
        variant, measured, affected = result.variant, result.measured, result.affected
        sites = _sites(variant)
        against_null = self._against_null(result)
        verdict = result.verdict.with_structure(against_null)
        uncalled = self.null is not None and variant.indel is None and affected.residues is None
        remarks = (*verdict.notes, NO_AFFECTED) if uncalled else verdict.notes
        scores: dict[str, object] = {
            "tm_predicted": result.tm,
            "lddt_predicted_mean": _mean(result.lddt),
            "lddt_predicted_min": _least(result.lddt),
            "lddt_predicted_site": _least(result.lddt[sites]),
            "tm_percentile": against_null["tm_percentile"],
            "lddt_percentile": against_null["lddt_percentile"],
            "z_score": against_null["lddt_z"],
            "n_residues_affected": None if affected.residues is None else int(affected.residues.sum()),
            "affected_regions": "; ".join(map(str, affected.told)),
            **self._judged(variant, verdict, measured, remarks),
        }
        if measured is not None:
            scores.update(
                tm_measured=measured.tm_score,
                lddt_measured_mean=_mean(measured.lddt),
                lddt_measured_min=_least(measured.lddt),
                lddt_measured_site=_least(measured.lddt[sites]),
                ca_shift_site=_greatest(measured.ca_shift[sites]),
                ca_shift_max=_greatest(measured.ca_shift),
            )
        return scores

    def _against_null(self, result: VariantResult) -> dict[str, float]:
        """Compare the drops of the prediction with the null; NaN where nothing was predicted."""
        null = self.null
        if null is None:
            return dict.fromkeys((*DROPS, "tm_percentile"), math.nan)
        away = mean_away_from_site(result.lddt, result.variant.positions)
        drops = {
            "lddt_z": robust_z(away, null.lddt),
            "lddt_percentile": percentile(away, null.lddt),
            "tm_percentile": percentile(result.tm_raw, null.tm),
        }
        rule = result.verdict.structural
        if rule is not None and rule.score == "tm_z":  # has no column: computed where it decides
            drops["tm_z"] = robust_z(result.tm_raw, null.tm)
        return drops

    def residues(self, result: VariantResult) -> dict[str, Any]:
        """Block of residues.parquet for one variant."""
        wild_type, variant = self.wild_type, result.variant
        length = len(wild_type.sequence)
        mutant = variant.apply(wild_type.sequence)
        letters = np.full(length, "-")
        pairs = variant.alignment(length)
        letters[pairs[:, 0]] = np.array(list(mutant))[pairs[:, 1]]
        labels: dict[int, list[str]] = {}
        for hit in result.affected.regions:
            if hit.disturbed:
                for index in hit.region.indices.tolist():
                    labels.setdefault(index, []).append(f"{hit.region.name}, {hit.region.source}")
        regions = ["; ".join(labels[i]) if i in labels else None for i in range(length)]
        unknown = np.full(length, np.nan)
        measured = result.measured
        return {
            "variant": [str(variant)] * length,
            "position": np.arange(1, length + 1, dtype=np.int32),
            "wild_type": list(wild_type.sequence),
            "mutant": letters.tolist(),
            "structure_number": wild_type.structure_numbers,
            "plddt": unknown if self._plddt is None else self._plddt,
            "lddt_predicted": result.lddt,
            "lddt_measured": unknown if measured is None else measured.lddt,
            "lddt_drop_z": result.affected.z,
            "ca_shift": unknown if measured is None else measured.ca_shift,
            "affected": [None] * length if result.affected.residues is None else result.affected.residues,
            "region": regions,
            "p_affected": result.affected.p,
        }

    def regions(self, result: VariantResult) -> dict[str, Any]:
        """Block of regions.parquet for one variant."""
        hits = result.affected.regions
        return {
            "variant": [str(result.variant)] * len(hits),
            "region": [hit.region.name for hit in hits],
            "kind": [hit.region.kind for hit in hits],
            "source": [hit.region.source for hit in hits],
            "positions": [hit.region.positions for hit in hits],
            "lddt_drop_predicted": [hit.drop for hit in hits],
            "z": [hit.z for hit in hits],
            "lddt_drop_measured": [hit.measured_drop for hit in hits],
            "distance_to_site": [hit.distance for hit in hits],
            "disturbed": [hit.disturbed for hit in hits],
        }


def _sites(variant: Variant) -> NDArray[np.int64]:
    """Substituted residues, 0-based; none of an indel."""
    return np.array([p - 1 for p in variant.positions if variant.indel is None], dtype=np.int64)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan


def _least(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if known.size else math.nan


def _greatest(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if known.size else math.nan
