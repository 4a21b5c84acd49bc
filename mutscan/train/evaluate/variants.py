"""Evaluate a model on variants of known effect: labels, deep mutational scans, changes of stability.

There are two passes. Each wild type goes through the encoder once, which gives the evidence and the
probability of all its variants. A seeded sample of the variants goes through encoder and Siamese net as
mutants. Finished proteins are kept on disk, so an interrupted run resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from mutscan.errors import UsageError
from mutscan.evidence import load_calibration
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.chains.splits import SPLITS
from mutscan.train.evaluate.overlap import Overlap, find_overlap, named, refuse_overlap, seen_in_training
from mutscan.train.evaluate.result import DEFAULTS, Clock, Settings, describe_model
from mutscan.train.evaluate.scores import Scored
from mutscan.train.evaluate.variant_metrics import dms_section, labelled_section, stability_section
from mutscan.train.labelled.evidence import EvidenceReader
from mutscan.train.labelled.settings import EVALUATED
from mutscan.train.labelled.siamese import LOW_TM, WINDOW, SiameseScorer, draw_variants, score_drawn
from mutscan.train.labelled.structures import NamedStructures
from mutscan.train.labelled.tables import COLUMNS, first_lines, read_variants
from mutscan.train.statistics.classifier import PROTEIN_CAP, RESAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence import Calibration
    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import Kind, VariantTable


@dataclass(frozen=True, slots=True)
class VariantInput:
    """A table of variants and the table of its proteins."""

    kind: Kind
    proteins: Path
    variants: Path


@dataclass(frozen=True, eq=False)
class VariantEvaluation:
    """Result of an evaluation on variants.

    Parameters
    ----------
    metrics : dict
        Contents of metrics.json.
    predictions : pyarrow.Table
        Contents of predictions.parquet.
    seconds : dict
        Wall time of each stage; not written, because it differs between runs.
    """

    metrics: dict[str, Any]
    predictions: pa.Table
    seconds: dict[str, float]

    def table(self) -> pa.Table:
        """Contents of predictions.parquet."""
        return self.predictions


def evaluate_variants(
    model: str,
    tables: list[VariantInput],
    settings: Settings = DEFAULTS,
    *,
    structures_dir: Path | None = None,
    work: Path | None = None,
    siamese: int | None = EVALUATED,
) -> VariantEvaluation:
    """Evaluate a model on tables of variants.

    Parameters
    ----------
    model : str
        Name or folder. Without a calibration, metrics that need a probability are None.
    tables : list of VariantInput
        At most one of each kind.
    settings : Settings
        Split ``train``: only proteins that the model's calibration was fitted on. ``test``: of labelled
        variants the proteins kept for testing; of scans and stabilities those without a fitted relative.
        Without it all are evaluated, and refused if labels of this kind were fitted for one of the
        proteins or a relative.
    structures_dir : Path, optional
        Folder of the structures; by default those of the proteins tables and their subfolders.
    work : Path, optional
        Keeps finished proteins; the user's cache when not given.
    siamese : int, optional
        Number of variants of each table that get Siamese scores, drawn by the seed; None for all.

    Raises
    ------
    UsageError
        The tables do not fit, nothing is left to evaluate, or the labels were fitted.
    """
    split, seed, progress = settings.split, settings.seed, settings.progress
    if split not in (None, "train", "test"):
        words = f"a calibration has no {split} part; " if split in SPLITS else ""
        raise UsageError(f"--split {split}: {words}expected train or test")
    clock = Clock()
    loaded = settings.load(model)
    calibration, reason = _usable_calibration(loaded)
    if calibration is None:
        if split is not None:
            raise UsageError(f"--split {split} asks for a part of the model's calibration, but {reason}")
        progress.note(f"{reason}: metrics that need p_deleterious are left empty")
    work = work if work is not None else cache_dir() / "evaluation"
    reader = EvidenceReader(loaded, work, offline=settings.offline)
    scorer = SiameseScorer(loaded, work, file_sha256(loaded.path / WEIGHTS_FILE), seed=seed)
    metrics: dict[str, Any] = {}
    facts: dict[str, Any] = {"split": split or "all given"}
    parts = []
    for given in tables:
        table, overlap, about = _read(given, loaded, calibration, split, progress)
        clock(f"read {given.kind}")
        finder = NamedStructures(given.proteins, structures_dir)
        evidence = reader.assess(table, finder, calibration, progress)
        clock(f"wild types of {given.kind}")
        drawn = np.ones(len(table), np.bool_) if siamese is None else draw_variants(table, siamese, seed=seed)
        scores = score_drawn(scorer, table, drawn, progress)
        clock(f"Siamese scores of {given.kind}")
        scored = Scored(table, _groups(table), evidence, scores, calibration is not None)
        progress.start("statistics", 1)
        metrics |= _sections(given.kind, scored, overlap, seed, reason)
        progress.finish()
        facts[given.kind] = about | {
            "without_structure": list(evidence.without_structure),
            "n_siamese": int(scored.drawn.sum()),
        }
        parts.append(_predictions(given.kind, scored))
        clock(f"statistics of {given.kind}")
    metrics |= {
        "model": describe_model(loaded) | {"calibrated": calibration is not None},
        "data": facts,
        "definitions": variant_definitions(),
    }
    return VariantEvaluation(metrics, pa.concat_tables(parts, promote_options="default"), clock.seconds)


def _usable_calibration(loaded: LoadedModel) -> tuple[Calibration | None, str]:
    """Calibration of a model, or None and the reason why it cannot be used."""
    calibration = load_calibration(loaded.path)
    if calibration is None:
        return None, (
            f"{loaded.config.name} has no calibration.json; make one with `mutscan train calibrate` and put "
            "it into the model's folder"
        )
    if not calibration.tiers:
        return None, f"the calibration of {loaded.config.name} holds only a structural rule"
    families = "" if loaded.families is None else loaded.families.sha256
    wrong = calibration.mismatch(loaded.encoder.revision, families)
    if wrong:
        return None, f"{loaded.config.name}: {wrong}; run `mutscan train calibrate` again"
    return calibration, ""


def _read(
    given: VariantInput,
    loaded: LoadedModel,
    calibration: Calibration | None,
    split: str | None,
    progress: Progress,
) -> tuple[VariantTable, Overlap, dict[str, Any]]:
    """Read a table, leave out rows that may not or cannot be evaluated, and describe them."""
    table = read_variants(
        given.proteins,
        given.variants,
        column=COLUMNS[given.kind],
        protein_column=_key_column(given),
        leave_out=True,
    ).in_order()
    if table.left_out:
        progress.note(
            f"{given.variants}: {len(table.left_out)} rows do not fit their protein and are left out: "
            f"{first_lines(table.left_out)}"
        )
    overlap = find_overlap(table.proteins, calibration, loaded.path, given.kind)
    names = table.proteins["protein"].astype(str)
    if split is None:
        refuse_overlap(overlap, len(names), given.variants)
        if overlap.fitted:
            progress.note(
                f"{given.variants}: the calibration was fitted on labels of another kind of "
                f"{len(overlap.fitted)} of these proteins or of relatives ({named(overlap.fitted)})"
            )
    else:
        test = overlap.kept_out if given.kind == "variants" else frozenset(names) - set(overlap.fitted)
        wanted = test if split == "test" else frozenset(overlap.fitted)
        table = table.take(names.isin(wanted).to_numpy()[table.protein]).in_order()
    if not len(table):
        where = f" of the calibration's {split} part" if split else " that fits its protein"
        raise UsageError(f"{given.variants}: holds no variant{where}; nothing can be evaluated")
    return table, overlap, {
        "compared_with_calibration": overlap.describe(),
        "compared_with_training": seen_in_training(table.proteins, loaded.path),
        "n_left_out": len(table.left_out),
        "left_out": list(table.left_out[:100]),
        "proteins_sha256": file_sha256(given.proteins),
        "variants_sha256": file_sha256(given.variants),
    }  # fmt: skip


def _key_column(given: VariantInput) -> str:
    """Choose the column of names: the assay for scans, because a protein may have several."""
    if given.kind != "dms":
        return "protein"
    try:
        both = [set(pd.read_csv(path, nrows=0).columns) for path in (given.proteins, given.variants)]
    except (OSError, ValueError, EOFError):
        return "protein"  # the reader reports the error
    return "assay" if all("assay" in columns for columns in both) else "protein"


def _groups(table: VariantTable) -> NDArray[np.int64]:
    """Group of each variant: that of the table, otherwise proteins with shared words form a group."""
    if "group" in table.proteins:
        return table.group
    sequences = table.proteins["sequence"].astype(str).tolist()
    return link_clusters(sequences, np.arange(len(sequences)))[table.protein]


def _sections(kind: Kind, scored: Scored, overlap: Overlap, seed: int, reason: str) -> dict[str, Any]:
    if kind == "variants":
        return {"variants": labelled_section(scored, seed=seed, reason=reason)}
    if kind == "stability":
        return {"stability": stability_section(scored, seed=seed)}
    section, evidence = dms_section(scored, overlap.fitted, seed=seed)
    return {"dms": section, "dms_evidence": evidence}


def _predictions(kind: Kind, scored: Scored) -> pa.Table:
    """Rows of predictions.parquet, in the order of the file."""
    table, evidence, siamese = scored.table, scored.evidence, scored.siamese
    lengths = table.proteins["sequence"].str.len().to_numpy(dtype=np.int64)
    truth: NDArray[Any] = table.value
    if kind == "variants":
        truth = np.where(table.value > 0, "deleterious", "neutral")
    columns: dict[str, Any] = {
        "table": np.full(len(table), kind),
        "line": table.line,
        "assay" if kind == "dms" else "protein": table.names,
        "variant": table.variant,
        COLUMNS[kind]: truth,
        "source": table.source,
        "group": scored.group,
        "length": lengths[table.protein],
        "with_structure": evidence.structured,
        "p_deleterious": evidence.p,
        "flag": evidence.flag,
        "tier": evidence.tier,
        "p_sequence_tier": evidence.p_sequence,
        "tm_predicted": siamese["tm"],
        "lddt_predicted_mean": siamese["lddt_mean"],
        "lddt_predicted_site": siamese["lddt_site"],
        "tm_z": siamese["tm_z"],
        "z_score": siamese["lddt_z"],
        **{f"log_odds_{name.replace(' ', '_')}": v.astype(np.float32) for name, v in evidence.groups.items()},
        **{f"evidence_{name}": v.astype(np.float32) for name, v in evidence.pieces.items()},
    }
    rows = np.argsort(table.line, kind="stable")
    return pa.table({name: pa.array(values[rows], from_pandas=True) for name, values in columns.items()})


def variant_definitions() -> dict[str, str]:
    """Definitions of the metrics on variants, for metrics.json."""
    return {
        "p_deleterious": "as `mutscan score` gives it: tier structure where the site has coordinates, else "
        "tier sequence",
        "auroc_per_protein_mean": "mean AUROC inside proteins of 10 variants or more, 2 of each class",
        "ece": "expected calibration error of p_deleterious, 10 equal-count bins",
        "capped": f"variants of a protein with more than {PROTEIN_CAP} weigh as {PROTEIN_CAP} together",
        "specificity, sensitivity": "of the flag deleterious; share_uncertain: rows between both thresholds",
        "dms": "Spearman correlation of p_deleterious with the loss of fitness (- score): positive is good. "
        "mean_abs_spearman: mean of absolute values over all assays; _unseen: over those on whose protein, "
        "or a relative, the calibration was not fitted",
        "stability": "Spearman correlation of p_deleterious with ddG (positive = destabilising): positive is "
        "good; a variant of several sources counts once, with its mean",
        "scored_by": "p_deleterious, or z_score for a model without calibration",
        "z_score": "robust z of the mean predicted lDDT outside site ± 1 against 64 seeded substitutions of "
        f"the protein. Proteins over {WINDOW} residues: in windows of {WINDOW} that begin every "
        f"{WINDOW // 2}, each site in the one whose middle is nearest; shorter ones in full",
        "siamese": "on a seeded draw of variants, whole proteins at a time; auroc_gain: AUROC of "
        "p_deleterious with the Siamese scores minus without, both by cross-fitted logistic regression",
        "low_tm_rule": f"predicted TM-score below {LOW_TM}",
        "single evidence": "each turned by what was known beforehand so that higher is more harmful (- in "
        "its name: turned); AUROC below 0.5: it points the other way",
        "as weighed": "what a group of evidence adds to the log-odds",
        "ci of variants": f"95 % percentile bootstrap, {RESAMPLES} resamples of groups of proteins (inside "
        "an assay: of positions; means of assays or proteins: of related ones together)",
    }
