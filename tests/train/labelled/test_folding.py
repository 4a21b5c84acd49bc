"""Backbones rebuilt from C-alpha atoms, and inverse folding of such chains."""

from __future__ import annotations

import numpy as np
import pytest

from mutscan.model import inverse_folding as room
from mutscan.progress import Silent
from mutscan.structures import backbone_by_position, read_structure, wild_type_from_structure
from mutscan.train.labelled.backbones import BackboneRebuilder
from mutscan.train.labelled.folding import fold_chains, learn_backbones
from mutscan.train.labelled.structures import Shape
from tests.peptides import helix_backbone

installed = pytest.mark.skipif(
    room.installed_weights() is None, reason=f"the extra mutscan[mpnn] ({room.PACKAGE}) is not installed"
)


@pytest.fixture(scope="module")
def turns() -> np.ndarray:
    """Backbone of a helix of 40 residues."""
    return np.stack([np.stack([*residue.values()]) for residue in helix_backbone(40)])


@pytest.fixture(scope="module")
def rebuild(turns) -> BackboneRebuilder:
    return BackboneRebuilder([turns])


def test_what_was_learned_is_rebuilt_wherever_it_lies(turns, rebuild):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))  # no mirror
    moved = turns @ turn + 50.0
    found = rebuild(moved[:, 1])
    np.testing.assert_array_equal(found[:, 1], moved[:, 1])
    inner = slice(2, -2)
    np.testing.assert_allclose(found[inner], moved[inner], atol=0.1)
    # The peptides at both ends have no neighbour on one side.
    assert np.isnan(found[[0, 1], 0]).all()
    assert np.isnan(found[[-1, -2], 2]).all()


def test_breaks_are_not_bridged(turns, rebuild):
    ca = turns[:, 1].copy()
    ca[20:] += 30.0
    found = rebuild(ca)
    assert np.isnan(found[19:21, 2]).any(axis=1).all()
    ca[10] = np.nan
    assert np.isnan(rebuild(ca)[10]).all()


def test_a_real_chain_is_rebuilt_from_others(shared):
    folder = shared / "data" / "variants" / "dms_structures"
    *others, last = (
        backbone_by_position(wild_type_from_structure(read_structure(path)))
        for path in sorted(folder.glob("*.pdb.gz"))[-5:]
    )
    found = BackboneRebuilder(others)(last[:, 1])
    off = np.sqrt(np.nanmean(((found - last) ** 2).sum(axis=2), axis=0))  # N, CA, C, O
    assert off[0] < 0.3
    assert off[2] < 0.3
    assert off[3] < 0.9


def test_tables_without_structures_teach_nothing():
    assert learn_backbones([]) is None


@installed
def test_the_first_chain_of_a_protein_is_folded_and_kept(turns, rebuild, tmp_path, monkeypatch):
    first, second = Shape(turns[:, 1]), Shape(turns[:, 1] + 1.0)
    sequence = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRV"
    found = fold_chains({3: [first, second]}, ["", "", "", sequence], rebuild, tmp_path, Silent())
    (folded, other) = found[3]
    assert folded.folded.shape == (40, 20)
    assert np.isfinite(folded.folded[2:-2]).all()
    assert other.folded is None
    assert len([*tmp_path.iterdir()]) == 1
    monkeypatch.setattr(room.InverseFolding, "log_probabilities", None)  # is not asked again
    again = fold_chains({3: [first, second]}, ["", "", "", sequence], rebuild, tmp_path, Silent())
    np.testing.assert_array_equal(again[3][0].folded, folded.folded)
