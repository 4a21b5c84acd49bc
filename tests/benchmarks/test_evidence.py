"""Evidence and probability of a whole scan, processor time: pytest -m benchmark -s."""

import time
from pathlib import Path

import numpy as np
import pytest

from mutscan.evidence import ProteinView, load_calibration
from mutscan.residues import STANDARD

MODEL = Path(__file__).parents[2] / "models" / "mutscan-mini"
LENGTH = 400
MOST = 0.2
"""Seconds for 19 x 400 substitutions with a structure. Measured: 0.08."""

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(120)]


def test_a_scan_is_judged_in_a_moment() -> None:
    calibration = load_calibration(MODEL)
    assert calibration is not None
    rng = np.random.default_rng(0)
    width = len(calibration.tiers["sequence"].model.maps["context_site"].weights)
    turn = np.arange(LENGTH) * np.deg2rad(100.0)
    ca = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(LENGTH)], axis=1)
    protein = ProteinView(
        "".join(rng.choice(list(STANDARD), LENGTH)),
        np.log(rng.dirichlet(np.ones(20), LENGTH)),
        rng.normal(size=(LENGTH, width)).astype(np.float32),
        ca,
    )
    index, mutant = np.repeat(np.arange(LENGTH), 19), np.tile(np.arange(19), LENGTH)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        assessed = calibration.assess(protein, index, mutant)
        assessed.flags()
        seconds.append(time.process_time() - start)
    print(f"{len(index):,} substitutions judged in {min(seconds):.3f} s")
    assert np.isfinite(assessed.p_deleterious).all()
    assert min(seconds) < MOST
