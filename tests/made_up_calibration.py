"""A calibration.json as `mutscan train calibrate` writes it, fitted to made-up labels in a moment."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from mutscan.additive import AdditiveModel, Curve
from mutscan.embed.source import find_encoder
from mutscan.evidence.calibration import CALIBRATION_FILE, FORMAT
from mutscan.families import FAMILIES_FILE, FamilyLibrary, load_library, write_library
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.residues import STANDARD
from mutscan.train.calibrate.additive import AdditiveFit, Fitted
from mutscan.train.labelled.evidence import Background

DELETERIOUS, TOLERATED = 0.7, 0.3
"""Probabilities where the lines are drawn."""


def fit_additive(evidence: dict[str, np.ndarray], *rest: object, **options: object) -> Fitted:
    """Fit all the evidence."""
    return AdditiveFit(evidence, *rest, **options).of(evidence)  # type: ignore[arg-type]


def one_protein(evidence: dict[str, np.ndarray], views: dict[str, np.ndarray]) -> dict[str, object]:
    """All rows as the substitutions of one protein, for `fit_additive`."""
    n = len(next(iter(evidence.values())))
    background = Background(evidence, views, np.arange(n))
    return {"protein": np.zeros(n, np.int64), "background": {0: background}}


def _tier(
    evidence: dict[str, np.ndarray], label: np.ndarray, views: dict[str, np.ndarray]
) -> dict[str, object]:
    group, rows = np.arange(len(label)) % 50, one_protein(evidence, views)
    fitted = fit_additive(evidence, views, label, np.ones(len(label)), group, **rows)
    line = {"specificity": 0.92, "sensitivity": 0.92, "precision": 0.9, "npv": 0.9}
    return {
        "n": len(label),
        "n_groups": 50,
        "share_deleterious": 0.56,
        "thresholds": {
            "deleterious": {"p": DELETERIOUS, **line},
            "tolerated": {"p": TOLERATED, **line},
        },
        "scan": {"shift": -1.0, "harmful": 0.37, "n_scans": 18, "precision": 0.65, "recall": 0.5,
                 "harmful_tolerated": 0.04},
        "model": fitted.model.to_dict(),
    }  # fmt: skip


def structural_entry(model: Path, threshold: float, *, score: str = "lddt_z") -> dict[str, object]:
    """Entry of a structural rule made for a model's own weights."""
    net = hashlib.sha256((model / WEIGHTS_FILE).read_bytes()).hexdigest()
    numbers = {"specificity": 0.92, "precision": 0.66, "n": 3000, "n_groups": 110}
    return {"score": score, "threshold": threshold, "net_sha256": net, **numbers}


def ddg_entry(weights: str) -> dict[str, object]:
    """Entry ``ddg``: half of how much better the wild type fits its backbone, and 1 for every mutant."""
    line = Curve(np.array([-20.0, 20.0]), np.array([10.0, -10.0]), 0.0)
    return {"model": AdditiveModel(1.0, {"folding_log_odds": line}, {}).to_dict(), "weights_sha256": weights}


def calibrate_tiny_model(
    model: Path,
    target: Path,
    *,
    revision: str | None = None,
    longest: int = 400,
    family: str = "",
    structural: dict[str, object] | None = None,
    tiers: bool = True,
    aligned: bool = False,
    ddg: dict[str, object] | None = None,
) -> Path:
    """Copy a model to `target` and give it a calibration with a tier for sequence and one for structure.

    With `family`, a library of that one family, too: conservation counts. With `aligned`, a tier with an
    alignment, too, in which substitutions that relatives carry are tolerated.
    """
    shutil.copytree(model, target)
    width = json.loads((model / "encoder" / "config.json").read_text())["hidden_size"]
    rng = np.random.default_rng(0)
    n = 1000
    families = ""
    if family:
        codes = np.array([STANDARD.index(letter) for letter in family], dtype=np.uint16)
        covered = np.full(len(codes), 99, dtype=np.uint16)
        codebook = np.eye(20, dtype=np.float32)
        write_library(target / FAMILIES_FILE, FamilyLibrary(codebook, codes, covered, np.array([len(codes)])))
        library = load_library(target)
        assert library is not None
        families = library.sha256
    evidence = {"blosum62": rng.integers(-4, 5, n).astype(float), "end_distance": rng.uniform(0, 100, n)}
    if family:
        evidence["family_log_odds"] = rng.uniform(-6, 0, n)
    burial = {"burial_rank": rng.random(n)}
    views = {"site": rng.normal(size=(n, width)).astype(np.float32)}
    logit = (
        -0.7 * evidence["blosum62"] - 0.5 + 4.0 * (burial["burial_rank"] - 0.5) + 0.3 * views["site"][:, 0]
    )
    if family:
        logit -= 1.5 * (evidence["family_log_odds"] + 3.0)
    rank = np.random.default_rng(1).random(n)
    if aligned:
        logit -= 4.0 * (rank - 0.5)
    label = (rng.random(n) < 1 / (1 + np.exp(-logit))).astype(float)
    document = {
        "format": FORMAT,
        "model": {
            "encoder_revision": revision or find_encoder(str(model / "encoder")).revision,
            "families_sha256": families or None,
        },
        "data": {"n": n, "longest": longest},
        "tiers": {
            "sequence": _tier(evidence, label, views),
            "structure": _tier(evidence | burial, label, views),
            **({"aligned": _tier(evidence | {"aligned_rank": rank}, label, views)} if aligned else {}),
        }
        if tiers
        else {},
        "structural": structural or {"threshold": None, "why": "made up without"},
        "proteins": {"P1": ["0" * 16, 1, "fit"]},
        **({} if ddg is None else {"ddg": ddg}),
    }
    (target / CALIBRATION_FILE).write_text(json.dumps(document), encoding="utf-8")
    return target
