"""`mutscan train evaluate`: evaluate a model on pairs of proteins, on variants of known effect, or both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from mutscan.errors import UsageError
from mutscan.files import replacing, write_errors
from mutscan.train.evaluate.beside import COMPARED
from mutscan.train.evaluate.choice import VariantInput
from mutscan.train.evaluate.pairs import NO_RIVALS, Rivals, evaluate_pairs
from mutscan.train.evaluate.report import write_report
from mutscan.train.evaluate.result import DEFAULTS, Settings, write_evaluation
from mutscan.train.evaluate.variants import (
    NO_VARIANT_RIVALS,
    VariantRivals,
    evaluate_variants,
)
from mutscan.train.labelled.settings import EVALUATED
from mutscan.train.labelled.tables import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mutscan.train.evaluate.result import PairEvaluation
    from mutscan.train.evaluate.variants import VariantEvaluation
    from mutscan.train.labelled.tables import Kind


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Results on pairs, on variants, or on both."""

    pairs: PairEvaluation | None
    variants: VariantEvaluation | None

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage."""
        parts = [part.seconds for part in (self.pairs, self.variants) if part is not None]
        return {stage: spent for part in parts for stage, spent in part.items()}

    def joined(self) -> tuple[dict[str, Any], pa.Table]:
        """Contents of metrics.json and predictions.parquet.

        The rows of pairs and of variants have few columns in common; the column ``table`` tells them apart.
        """
        if self.pairs is None or self.variants is None:
            only = self.pairs or self.variants
            assert only is not None, "something was evaluated"
            return only.metrics, only.table()
        metrics = {**self.variants.metrics, **self.pairs.metrics}
        for part in ("model", "data", "definitions"):
            metrics[part] = {**self.variants.metrics[part], **self.pairs.metrics[part]}
        rows = self.pairs.table()
        rows = rows.add_column(0, "table", pa.array(["pairs"] * len(rows)))
        # Pairs and variants number groups of proteins differently.
        others = self.variants.table().rename_columns({"group": "protein_group"})
        return metrics, pa.concat_tables([rows, others], promote_options="default")

    def write(self, folder: Path, *, report: bool = True) -> list[str]:
        """Write metrics.json and predictions.parquet, and with `report` the figures and report.html.

        Where proteins that the model knows were to be skipped, skipped.csv lists them.

        Returns
        -------
        list of str
            Names of what was written.
        """
        metrics, rows = self.joined()
        skipped = None if self.variants is None else self.variants.skipped()
        with write_errors(folder):
            write_evaluation(folder, metrics, rows)
            if report:
                write_report(metrics, self.pairs, folder)
            if skipped is not None:
                with replacing(folder / "skipped.csv") as temporary:
                    skipped.to_csv(temporary, index=False)
        drawn = (["figures"] if self.pairs is not None else []) + ["report.html"]
        listed = [] if skipped is None else ["skipped.csv"]
        return ["metrics.json", "predictions.parquet", *listed, *(drawn if report else [])]


def evaluate(
    model: str,
    settings: Settings = DEFAULTS,
    *,
    structures: Path | None = None,
    pairs: Path | None = None,
    proteins: Sequence[Path] = (),
    tables: Mapping[Kind, Path | None] | None = None,
    rivals: Rivals = NO_RIVALS,
    structures_dir: Path | None = None,
    work: Path | None = None,
    siamese: int | None = EVALUATED,
    skip_overlap: bool = False,
    variant_rivals: VariantRivals = NO_VARIANT_RIVALS,
    alignments_dir: Path | None = None,
) -> Evaluation:
    """Evaluate a model on the tables that are given.

    Parameters
    ----------
    model : str
        Name or folder.
    settings : Settings
    structures, pairs : Path, optional
        Pairs of proteins, as `evaluate_pairs`.
    proteins : sequence of Path
        Proteins of all tables of variants: one for all, or one for each in the order of `COLUMNS`.
    tables : mapping of kind -> Path, optional
        Tables of variants.
    rivals : Rivals
        As `evaluate_pairs`.
    structures_dir, work, siamese, skip_overlap, variant_rivals, alignments_dir
        As `evaluate_variants`.

    Raises
    ------
    UsageError
        The tables do not fit each other, or nothing can be evaluated.
    CheckpointError
        The model cannot be evaluated on pairs.
    """
    if (structures is None) != (pairs is None):
        raise UsageError("--structures and --pairs go together: the chains, and which of them are compared")
    inputs = _inputs(proteins, tables or {})
    if pairs is None and not inputs:
        raise UsageError(
            "nothing to evaluate: give --structures and --pairs, or --proteins with --variants, --dms or "
            "--stability"
        )
    if rivals.tm_vec_encoder is not None and rivals.tm_vec is None:
        raise UsageError("--tm-vec-encoder is the encoder of TM-Vec; give its weights with --tm-vec, too")
    if pairs is None and (rivals.model is not None or rivals.tm_vec is not None):
        raise UsageError("--against and --tm-vec are compared on pairs; give --structures and --pairs, too")
    _check_rivals(variant_rivals, skip_overlap, {given.kind for given in inputs})
    if alignments_dir is not None and not inputs:
        raise UsageError("--alignments-dir is for --variants, --dms or --stability; give one")
    on_pairs = on_variants = None
    if structures is not None and pairs is not None:
        on_pairs = evaluate_pairs(model, structures, pairs, settings, rivals)
    if inputs:
        on_variants = evaluate_variants(
            model,
            inputs,
            settings,
            structures_dir=structures_dir,
            work=work,
            siamese=siamese,
            skip_overlap=skip_overlap,
            rivals=variant_rivals,
            alignments_dir=alignments_dir,
        )
    return Evaluation(on_pairs, on_variants)


def _check_rivals(rivals: VariantRivals, skip_overlap: bool, kinds: set[Kind]) -> None:
    if rivals.beside and kinds.isdisjoint(COMPARED):
        raise UsageError("--beside: its scores are compared on --variants or --dms; give one of them, too")
    if rivals.reference is not None and "dms" not in kinds:
        raise UsageError("--reference: its numbers are those of scans; give --dms, too")
    if skip_overlap and not kinds:
        raise UsageError("--skip-overlap is for proteins of --variants, --dms or --stability; give one")


def _inputs(proteins: Sequence[Path], tables: Mapping[Kind, Path | None]) -> list[VariantInput]:
    """Pair each table of variants with its table of proteins."""
    given = [(kind, path) for kind in COLUMNS if (path := tables.get(kind)) is not None]
    if not given and not proteins:
        return []
    words = ", ".join(f"--{kind}" for kind in COLUMNS)
    if not given:
        raise UsageError(f"--proteins: expected a table of their variants beside it ({words})")
    if len(proteins) not in (1, len(given)):
        raise UsageError(
            f"--proteins is given {len(proteins)} times for {len(given)} tables of variants; expected one "
            f"for all, or one for each in the order {words}"
        )
    of_each = proteins if len(proteins) == len(given) else [proteins[0]] * len(given)
    return [VariantInput(kind, of, path) for (kind, path), of in zip(given, of_each, strict=True)]
