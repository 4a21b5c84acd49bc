"""Tables of variants: reading them, and choosing the proteins that a model may be evaluated on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mutscan.errors import UsageError
from mutscan.hashes import file_sha256
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.evaluate.overlap import Overlap, find_overlap, named, refuse_overlap, seen_in_training
from mutscan.train.evaluate.scan_flags import with_cutoffs
from mutscan.train.labelled.tables import COLUMNS, first_lines, read_variants

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence import Calibration
    from mutscan.pipeline.network import LoadedModel
    from mutscan.train.evaluate.result import Settings
    from mutscan.train.labelled.tables import Kind, VariantTable


@dataclass(frozen=True, slots=True)
class VariantInput:
    """A table of variants and the table of its proteins."""

    kind: Kind
    proteins: Path
    variants: Path


@dataclass(frozen=True, eq=False)
class ChosenVariants:
    """The variants of a table that are evaluated.

    Parameters
    ----------
    given : VariantInput
    table : VariantTable
        n variants.
    overlap : Overlap
        Proteins of the whole table that the calibration knows.
    skipped : dict of name -> {"reason", "n_variants"}
        Proteins that were left out because of that.
    """

    given: VariantInput
    table: VariantTable
    overlap: Overlap
    skipped: dict[str, dict[str, Any]]

    @property
    def group(self) -> NDArray[np.int64]:
        """Group of each variant, shape (n,): that of the table, otherwise proteins with shared words."""
        if "group" in self.table.proteins:
            return self.table.group
        sequences = self.table.proteins["sequence"].astype(str).tolist()
        return link_clusters(sequences, np.arange(len(sequences)))[self.table.protein]

    def describe(self, model: Path) -> dict[str, Any]:
        """Describe the table for metrics.json, in comparison with the model's training."""
        return {
            "compared_with_calibration": self.overlap.describe(),
            "compared_with_training": seen_in_training(self.table.proteins, model),
            "n_left_out": len(self.table.left_out),
            "left_out": list(self.table.left_out[:100]),
            "proteins_sha256": file_sha256(self.given.proteins),
            "variants_sha256": file_sha256(self.given.variants),
        }


def choose_variants(
    given: VariantInput,
    loaded: LoadedModel,
    calibration: Calibration | None,
    settings: Settings,
    skip_overlap: bool,
) -> ChosenVariants:
    """Read a table and leave out what may not or cannot be evaluated.

    Parameters
    ----------
    given : VariantInput
    loaded : LoadedModel
    calibration : Calibration, optional
    settings : Settings
    skip_overlap : bool
        As `evaluate_variants`.

    Raises
    ------
    UsageError
        As `evaluate_variants`.
    """
    split, progress = settings.split, settings.progress
    table = read_variants(
        given.proteins,
        given.variants,
        column=COLUMNS[given.kind],
        protein_column=_key_column(given),
        leave_out=True,
    ).in_order()
    table = replace(table, proteins=with_cutoffs(table.proteins, given.proteins))
    if table.left_out:
        progress.note(
            f"{given.variants}: {len(table.left_out)} rows do not fit their protein and are left out: "
            f"{first_lines(table.left_out)}"
        )
    overlap = find_overlap(table.proteins, calibration, loaded.path, given.kind)
    names = table.proteins["protein"].astype(str)
    known, wanted = frozenset(overlap.fitted), frozenset(names)
    skipped: dict[str, dict[str, Any]] = {}
    if split is not None:
        test = overlap.kept_out if given.kind == "variants" else wanted - known
        wanted = test if split == "test" else known
    elif skip_overlap:
        wanted -= known
        if not wanted:
            raise UsageError(
                f"{given.variants}: --skip-overlap leaves nothing to evaluate; the calibration was fitted on "
                f"every protein or on relatives ({named(overlap.fitted)})"
            )
        skipped = _skipped(table, overlap)
    else:
        refuse_overlap(overlap, len(names), given.variants)
    if skipped:
        progress.note(
            f"{given.variants}: {len(skipped)} of {len(names)} proteins are skipped, because the "
            f"calibration was fitted on them or on relatives ({named(overlap.fitted)})"
        )
    elif known and split is None:
        progress.note(
            f"{given.variants}: the calibration was fitted on labels of another kind of {len(known)} of "
            f"these proteins or of relatives ({named(overlap.fitted)})"
        )
    table = table.take(names.isin(wanted).to_numpy()[table.protein]).in_order()
    if not len(table):
        where = f" of the calibration's {split} part" if split else " that fits its protein"
        raise UsageError(f"{given.variants}: holds no variant{where}; nothing can be evaluated")
    return ChosenVariants(given, table, overlap, skipped)


def _skipped(table: VariantTable, overlap: Overlap) -> dict[str, dict[str, Any]]:
    """Proteins that the calibration knows, why, and how many variants they have."""
    counts = np.bincount(table.protein, minlength=len(table.proteins)).tolist()
    of_each = dict(zip(table.proteins["protein"].astype(str), counts, strict=True))
    return {name: {"reason": how, "n_variants": of_each[name]} for name, how in overlap.fitted.items()}


def _key_column(given: VariantInput) -> str:
    """Choose the column of names: the assay for scans, because a protein may have several."""
    if given.kind != "dms":
        return "protein"
    try:
        both = [set(pd.read_csv(path, nrows=0).columns) for path in (given.proteins, given.variants)]
    except (OSError, ValueError, EOFError):
        return "protein"  # the reader reports the error
    return "assay" if all("assay" in columns for columns in both) else "protein"
