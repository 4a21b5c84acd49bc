"""Make a model's calibration.json from labelled variants, one tier of evidence after the other."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan import __version__
from mutscan.errors import UsageError
from mutscan.evidence import EVIDENCE, STRUCTURE_EVIDENCE
from mutscan.evidence.calibration import FORMAT
from mutscan.evidence.sequence import sequence_hash
from mutscan.pipeline.network import load_model
from mutscan.pipeline.progress import Silent
from mutscan.train.additive_fit import FitSettings, fit_additive, folds_of
from mutscan.train.bootstrap import Auroc
from mutscan.train.variant_evidence import gather, head_of
from mutscan.train.variant_metrics import calibration_error, threshold_facts
from mutscan.train.variant_tables import read_variants, structure_files
from mutscan.train.word_sketches import word_sketch

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.progress import Progress
    from mutscan.train.variant_evidence import Gathered
    from mutscan.train.variant_tables import VariantTable

TEST_FOLDS: Final = 5
"""One in so many parts of the groups is kept for testing."""

PROTEIN_CAP: Final = 100
"""Variants of one protein weigh no more than so many of a protein with fewer."""

SPECIFICITY: Final = 0.92
"""Asked of the ``deleterious`` threshold out of fold; 0.90 is promised."""

SENSITIVITY: Final = 0.92
"""Share of deleterious variants that stay above the ``tolerated`` threshold."""

_FEWEST: Final = 200  # variants of each class that a tier is calibrated on


def calibrate(
    model: str,
    proteins: Path,
    variants: Path,
    *,
    structures_dir: Path | None = None,
    work: Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Fit every tier that the tables have evidence for.

    A fifth of the protein groups is kept for testing and used for nothing here but the numbers under
    ``test``.

    Returns
    -------
    dict
        Contents of calibration.json.

    Raises
    ------
    UsageError
        The tables do not fit, or are too small.
    """
    progress = progress if progress is not None else Silent()
    table = read_variants(proteins, variants, column="label")
    loaded = load_model(model, device=device, precision=precision, offline=offline)
    head = head_of(loaded, offline=offline)
    files = structure_files(proteins, structures_dir)
    gathered = gather(loaded.encoder, head, table, files, progress, work=work)
    is_test = folds_of(table.group, TEST_FOLDS, seed) == 0
    tiers = {}
    for name, rows in (("sequence", np.ones(len(table), np.bool_)), ("structure", gathered.structured)):
        fewest = min((rows & ~is_test & (table.value == label)).sum() for label in (0, 1))
        if fewest < _FEWEST:
            if name == "sequence":
                raise UsageError(
                    f"{variants}: {fewest} variants of one class to fit, expected at least {_FEWEST}"
                )
            progress.note(f"tier {name} left out: {fewest} variants of one class, {_FEWEST} are needed")
            continue
        tiers[name] = _tier(name, table, gathered, rows, is_test, seed)
        facts = tiers[name]
        progress.note(f"tier {name}: AUROC {facts['test'].get('auroc')} on test groups")
    split = np.zeros(len(table.proteins), dtype=np.bool_)
    split[table.protein[is_test]] = True
    group = table.proteins["group"] if "group" in table.proteins else np.arange(len(table.proteins))
    entries = {
        str(name): [sequence_hash(str(sequence)), int(number), "test" if test else "fit"]
        for name, sequence, number, test in zip(
            table.proteins["protein"], table.proteins["sequence"], group, split.tolist(), strict=True
        )
    }
    return {
        "format": FORMAT,
        "mutscan": __version__,
        "model": {
            "name": loaded.config.name,
            "weights_sha256": _sha256(loaded.path / "model.safetensors"),
            "encoder_revision": loaded.encoder.revision,
            "precision": loaded.encoder.precision,
        },
        "data": {
            "proteins_sha256": _sha256(proteins),
            "variants_sha256": _sha256(variants),
            "n": len(table),
            "longest": int(table.proteins["sequence"].str.len().max()),
            "seed": seed,
            "protein_cap": PROTEIN_CAP,
            "split": "a fifth of the groups is `test`: used for no choice",
        },
        "evidence": {
            **EVIDENCE,
            **STRUCTURE_EVIDENCE,
            **{
                f"context_{view}": f"linear map of the encoder's embedding ({text}), weights in the tier"
                for view, text in (
                    ("site", "of the site"),
                    ("near", "mean of site and ± 7 neighbours"),
                )
            },
        },
        "tiers": tiers,
        "proteins": entries,
        # By which `mutscan train evaluate` knows relatives of what was fitted.
        "words": {
            str(name): word_sketch(str(sequence))
            for name, sequence, test in zip(
                table.proteins["protein"], table.proteins["sequence"], split.tolist(), strict=True
            )
            if not test
        },
    }


def protein_weights(protein: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of each variant, shape (n,), so that no protein counts for more than `PROTEIN_CAP`."""
    _, place, count = np.unique(protein, return_inverse=True, return_counts=True)
    weights: NDArray[np.float64] = np.minimum(1.0, PROTEIN_CAP / count)[place.reshape(-1)]
    return weights


def _tier(
    name: str,
    table: VariantTable,
    gathered: Gathered,
    rows: NDArray[np.bool_],
    is_test: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    names = [*EVIDENCE, *(STRUCTURE_EVIDENCE if name == "structure" else ())]
    evidence = {n: gathered.evidence[n] for n in names if n in gathered.evidence}
    fit, test = rows & ~is_test, rows & is_test
    label, weight, group = table.value, protein_weights(table.protein), table.group
    # Few proteins have a structure: their maps would be noise, so they read fewer directions.
    settings = FitSettings() if name == "sequence" else FitSettings(bend=60.0, size=8.0, ridge=10.0)
    fitted = fit_additive(
        {n: v[fit] for n, v in evidence.items()},
        {n: v[fit] for n, v in gathered.views.items() if n != "protein"},
        label[fit], weight[fit], group[fit], settings=settings, seed=seed,
    )  # fmt: skip
    thresholds = choose_thresholds(fitted.p, label[fit], weight[fit])
    facts: dict[str, Any] = {
        "n": int(fit.sum()),
        "n_deleterious": int(label[fit].sum()),
        "n_proteins": len(np.unique(table.protein[fit])),
        "n_groups": len(np.unique(group[fit])),
        "thresholds": thresholds,
        "cross_fitted": _numbers(fitted.p, label[fit]),
        "test": {},
        "model": fitted.model.to_dict(),
    }
    if test.any():
        views = {n: v[test].astype(np.float64) for n, v in gathered.views.items()}
        complete = fitted.model.complete({n: v[test] for n, v in evidence.items()}, views)
        p = 1.0 / (1.0 + np.exp(-fitted.model.logit(complete)))
        facts["test"] = {
            **_numbers(p, label[test]),
            "n": int(test.sum()),
            "n_groups": len(np.unique(group[test])),
            **{
                key: threshold_facts(p, label[test], np.ones(len(p)), thresholds[key]["p"], key)
                for key in ("deleterious", "tolerated")
            },
        }
    return facts


def choose_thresholds(
    p: NDArray[np.float64], label: NDArray[np.float64], weight: NDArray[np.float64]
) -> dict[str, dict[str, float]]:
    """Draw both lines on probabilities of groups the model had not seen.

    ``deleterious`` from the lowest p with specificity `SPECIFICITY`; ``tolerated`` up to the p that
    leaves `SENSITIVITY` of the deleterious above it, and never above the other line.
    """
    upper = _weighted_quantile(p[label == 0], weight[label == 0], SPECIFICITY)
    lower = min(_weighted_quantile(p[label == 1], weight[label == 1], 1.0 - SENSITIVITY), upper)
    return {
        "deleterious": threshold_facts(p, label, weight, round(upper, 4), "deleterious"),
        "tolerated": threshold_facts(p, label, weight, round(lower, 4), "tolerated"),
    }


def _weighted_quantile(values: NDArray[np.float64], weight: NDArray[np.float64], q: float) -> float:
    order = np.argsort(values)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(values[order][min(int(np.searchsorted(share, q)), len(values) - 1)])


def _numbers(p: NDArray[np.float64], label: NDArray[np.float64]) -> dict[str, float]:
    return {
        "auroc": round(Auroc(p, label > 0)(np.ones(len(p))), 4),
        "ece": round(calibration_error(p, label), 4),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
