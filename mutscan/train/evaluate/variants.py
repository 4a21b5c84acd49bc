"""Evaluate a model on variants of known effect: labels, deep mutational scans, changes of stability.

There are two passes. Each wild type goes through the encoder once, which gives the evidence and the
probability of all its variants. A seeded sample of the variants goes through encoder and Siamese net as
mutants. Finished proteins are kept on disk, so an interrupted run resumes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from mutscan.errors import UsageError
from mutscan.files import cache_dir
from mutscan.hashes import file_sha256
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.train.chains.splits import SPLITS
from mutscan.train.evaluate.beside import COMPARED, beside_section, match_others, read_others
from mutscan.train.evaluate.choice import choose_variants
from mutscan.train.evaluate.overlap import Overlap
from mutscan.train.evaluate.reference import read_reference, reference_section
from mutscan.train.evaluate.result import DEFAULTS, Clock, Settings, describe_model
from mutscan.train.evaluate.scan_flags import FLAG_MEASURES
from mutscan.train.evaluate.scores import Scored
from mutscan.train.evaluate.sources import sources_section
from mutscan.train.evaluate.variant_metrics import dms_section, labelled_section, stability_section
from mutscan.train.labelled.evidence import EvidenceReader
from mutscan.train.labelled.relatives import AlignmentFiles
from mutscan.train.labelled.settings import EVALUATED
from mutscan.train.labelled.siamese import LOW_TM, WINDOW, SiameseScorer, draw_variants, score_drawn
from mutscan.train.labelled.structures import NamedStructures
from mutscan.train.labelled.tables import COLUMNS
from mutscan.train.statistics.classifier import PROTEIN_CAP, RESAMPLES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence import Calibration
    from mutscan.pipeline.network import LoadedModel
    from mutscan.train.evaluate.choice import VariantInput
    from mutscan.train.evaluate.overlap import Overlap
    from mutscan.train.labelled.tables import Kind


@dataclass(frozen=True)
class VariantRivals:
    """Other methods to measure on the same variants.

    Parameters
    ----------
    beside : sequence of Path
        Files of their scores, as `read_others` takes them.
    higher : sequence of {"deleterious", "tolerated"}
        What a higher score means: one for all files, or one for each.
    reference : Path, optional
        Published correlations on scans, as `read_reference` takes them.
    """

    beside: Sequence[Path] = ()
    higher: Sequence[str] = ("deleterious",)
    reference: Path | None = None


NO_VARIANT_RIVALS: Final = VariantRivals()


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

    def skipped(self) -> pd.DataFrame | None:
        """Contents of skipped.csv: the proteins that were left out; None if they were not asked for."""
        if "skipped" not in self.metrics:
            return None
        rows = [
            (kind, name, entry["reason"], entry["n_variants"])
            for kind, entries in self.metrics["skipped"].items()
            for name, entry in entries.items()
        ]
        return pd.DataFrame(rows, columns=["table", "protein", "reason", "n_variants"])


def evaluate_variants(
    model: str,
    tables: list[VariantInput],
    settings: Settings = DEFAULTS,
    *,
    structures_dir: Path | None = None,
    work: Path | None = None,
    siamese: int | None = EVALUATED,
    skip_overlap: bool = False,
    rivals: VariantRivals = NO_VARIANT_RIVALS,
    alignments_dir: Path | None = None,
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
    skip_overlap : bool
        Leave out, and list, the proteins that the calibration was fitted on, on labels of any kind, and their
        relatives.
    rivals : VariantRivals
    alignments_dir : Path, optional
        Folder of alignments, files named as the proteins; they are weighed as `mutscan score --alignment`
        does.

    Raises
    ------
    UsageError
        The tables do not fit, nothing is left to evaluate, or the labels were fitted.
    """
    split, seed, progress = settings.split, settings.seed, settings.progress
    if split not in (None, "train", "test"):
        words = f"a calibration has no {split} part; " if split in SPLITS else ""
        raise UsageError(f"--split {split}: {words}expected train or test")
    if split is not None and skip_overlap:
        raise UsageError("--skip-overlap and --split both choose the proteins; give one of them")
    clock = Clock()
    others = read_others(rivals.beside, rivals.higher)
    published = None if rivals.reference is None else read_reference(rivals.reference)
    loaded = settings.load(model)
    calibration, reason = _usable_calibration(loaded)
    if calibration is None:
        if split is not None:
            raise UsageError(f"--split {split} asks for a part of the model's calibration, but {reason}")
        progress.note(f"{reason}: metrics that need p_deleterious are left empty")
    work = work if work is not None else cache_dir() / "evaluation"
    alignments = None
    if alignments_dir is not None:
        _check_alignments(calibration, loaded)
        alignments = AlignmentFiles(alignments_dir, work)
    reader = EvidenceReader(loaded, work, offline=settings.offline, alignments=alignments)
    scorer = SiameseScorer(loaded, work, file_sha256(loaded.path / WEIGHTS_FILE), seed=seed)
    chosen = [choose_variants(given, loaded, calibration, settings, skip_overlap) for given in tables]
    comparable = {one.given.kind: one.table for one in chosen if one.given.kind in COMPARED}
    compared = match_others(others, comparable)
    if alignments is not None:
        alignments.check(name for one in chosen for name in one.table.proteins["protein"].astype(str))
    clock("read tables")
    metrics: dict[str, Any] = {}
    if skip_overlap:
        metrics["skipped"] = {one.given.kind: one.skipped for one in chosen}
    facts: dict[str, Any] = {"split": split or "all given"}
    parts = []
    for one in chosen:
        kind, table = one.given.kind, one.table
        finder = NamedStructures(one.given.proteins, structures_dir)
        evidence = reader.assess(table, finder, calibration, progress)
        clock(f"wild types of {kind}")
        drawn = np.ones(len(table), np.bool_) if siamese is None else draw_variants(table, siamese, seed=seed)
        scores = score_drawn(scorer, table, drawn, progress)
        clock(f"Siamese scores of {kind}")
        scored = Scored(table, one.group, evidence, scores, calibration is not None)
        progress.start("statistics", 1)
        metrics |= _sections(kind, scored, one.overlap, seed, reason)
        if compared.get(kind):
            metrics.setdefault("beside", {})[kind] = beside_section(scored, kind, compared[kind], seed=seed)
        if alignments is not None and kind in COMPARED:
            metrics.setdefault("sources", {})[kind] = sources_section(scored, kind, seed=seed)
        if published is not None and kind == "dms":
            metrics["reference"] = reference_section(published, scored, metrics["dms"], seed=seed)
        progress.finish()
        facts[kind] = one.describe(loaded.path) | {
            "without_structure": list(evidence.without_structure),
            **({"without_alignment": list(evidence.without_alignment)} if alignments is not None else {}),
            "n_siamese": int(scored.drawn.sum()),
        }
        parts.append(_predictions(kind, scored))
        clock(f"statistics of {kind}")
    metrics |= {
        "model": describe_model(loaded) | {"calibrated": calibration is not None},
        "data": facts,
        "definitions": variant_definitions(),
    }
    return VariantEvaluation(metrics, pa.concat_tables(parts, promote_options="default"), clock.seconds)


def _usable_calibration(loaded: LoadedModel) -> tuple[Calibration | None, str]:
    """Calibration of a model, or None and the reason why it cannot be used."""
    calibration = loaded.calibration
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


def _check_alignments(calibration: Calibration | None, loaded: LoadedModel) -> None:
    if calibration is None or "alignment" not in calibration.sources:
        raise UsageError(
            f"--alignments-dir: the calibration of {loaded.config.name} weighs no alignment; make one with "
            "`mutscan train calibrate --sequences`"
        )


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
        "p_deleterious": "as `mutscan score` gives it: by the last of the model's tiers whose evidence "
        "covers the site",
        "auroc_per_protein_mean": "mean AUROC inside proteins of 10 variants or more, 2 of each class",
        "ece": "expected calibration error of p_deleterious, 10 equal-count bins",
        "capped": f"variants of a protein with more than {PROTEIN_CAP} weigh as {PROTEIN_CAP} together",
        "specificity, sensitivity": "of the flag deleterious; share_uncertain: rows between both thresholds",
        "dms": "Spearman correlation of p_deleterious with the loss of fitness (- score): positive is good. "
        "mean_abs_spearman: mean of absolute values over all assays; _unseen: over those on whose protein, "
        "or a relative, the calibration was not fitted",
        "stability": "Spearman correlation of p_deleterious with ddG (positive = destabilising): positive is "
        "good; a variant of several sources counts once, with its mean",
        "flags of scans": "; ".join(f"{name}: {words}" for name, words in FLAG_MEASURES.items())
        + "; mean_ of assays that have a cutoff; intervals resample positions, of means related assays",
        "beside": "another method and the model on the same variants; _difference: the model minus the "
        "other, from the same resamples (of |Spearman| for scans); scores are turned as --beside-higher "
        "says, never by the labels",
        "sources": "the model without relatives, with its library, and with the alignment beside it, on "
        "proteins that have both; _difference: deep minus the source",
        "reference": "published Spearman correlations; _difference: the model minus the other, over the "
        "assays that both have",
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
