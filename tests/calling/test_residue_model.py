"""Evidence and probabilities of affected residues, and affected.json."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mutscan.additive import AdditiveModel, Curve
from mutscan.calling.residue_model import (
    EVIDENCE,
    FORMAT,
    AffectedModel,
    Surroundings,
    read_affected,
    tier_of,
)
from mutscan.errors import CheckpointError
from mutscan.evidence.structure import residue_evidence
from mutscan.residue_properties import codes_of
from mutscan.structures import WildType, ca_by_position, wild_type_from_structure
from mutscan.variants import parse_variant
from tests.peptides import helix

SEQUENCE = "GSMKTAYIAKQRQISFVKSHFSRQLE"


@pytest.fixture(scope="module")
def wild_type() -> WildType:
    return wild_type_from_structure(helix(SEQUENCE))


@pytest.fixture(scope="module")
def surroundings(wild_type: WildType) -> Surroundings:
    return Surroundings(wild_type)


def told_apart() -> AffectedModel:
    """A model whose probability says which tier judged."""
    tiers = {"sequence": AdditiveModel(-1.0, {}, {}), "structure": AdditiveModel(1.0, {}, {})}
    return AffectedModel(tiers, 0.5, {})


def p_of(log_odds: float) -> float:
    return 1.0 / (1.0 + np.exp(-log_odds))


def test_evidence_is_that_of_the_structure(wild_type: WildType, surroundings: Surroundings) -> None:
    found = surroundings.evidence(parse_variant("Y7P"))
    assert [*found] == [*EVIDENCE]
    assert {values.shape for values in found.values()} == {(len(SEQUENCE),)}
    ca = ca_by_position(wild_type)
    assert ca is not None
    np.testing.assert_allclose(found["distance"], np.linalg.norm(ca - ca[6], axis=1))
    assert found["separation"].tolist() == np.abs(np.arange(len(SEQUENCE)) - 6).tolist()
    known = residue_evidence(ca, codes_of(SEQUENCE), None)
    np.testing.assert_array_equal(found["flexibility"], known["flexibility"])
    assert found["coupling"][6] == pytest.approx(1.0)
    assert np.abs(found["coupling"]).max() <= 1.0 + 1e-9
    assert found["coupling"][7] > found["coupling"][20]
    assert found["loop"][[6, 12]].tolist() == [0.0, 0.0]


def test_the_nearest_of_several_sites_counts(surroundings: Surroundings) -> None:
    one, other = (surroundings.evidence(parse_variant(text)) for text in ("K4D", "F21G"))
    both = surroundings.evidence(parse_variant("K4D;F21G"))
    nearer = one["distance"] <= other["distance"]
    assert 0 < nearer.sum() < len(nearer)
    for name in EVIDENCE:
        np.testing.assert_array_equal(both[name], np.where(nearer, one[name], other[name]))


def test_each_residue_is_judged_by_its_best_tier(wild_type: WildType, surroundings: Surroundings) -> None:
    model, variant = told_apart(), parse_variant("Y7P")
    np.testing.assert_allclose(model.probabilities(surroundings, variant), p_of(1.0))
    alone = Surroundings(WildType("x", SEQUENCE))
    np.testing.assert_allclose(model.probabilities(alone, variant), p_of(-1.0))
    assert wild_type.structure_index is not None
    index = wild_type.structure_index.copy()
    index[20:] = -1
    partly = Surroundings(replace(wild_type, structure_index=index))
    p = model.probabilities(partly, variant)
    np.testing.assert_allclose(p, np.where(index < 0, p_of(-1.0), p_of(1.0)))
    np.testing.assert_allclose(model.probabilities(partly, parse_variant("L25P")), p_of(-1.0))
    # Of an unresolved site and a resolved one, the resolved one is near in space.
    joint = partly.evidence(parse_variant("Y7P;L25A"))
    assert joint["separation"][7] == 1.0
    assert tier_of(joint).tolist() == ["structure"] * 20 + ["sequence"] * 6


def test_an_indel_is_not_assessed(surroundings: Surroundings) -> None:
    p = told_apart().probabilities(surroundings, parse_variant("p.Tyr7del"))
    assert p.shape == (len(SEQUENCE),)
    assert np.isnan(p).all()


def document() -> dict[str, object]:
    curve = Curve(np.array([0.0, 10.0]), np.array([1.0, -1.0]), 0.25)
    entry = {"model": AdditiveModel(-2.0, {"separation": curve}, {}).to_dict()}
    return {"format": FORMAT, "tiers": {"sequence": entry, "structure": entry}, "threshold": {"p": 0.3}}


def test_affected_json_is_read_back(tmp_path) -> None:
    path = tmp_path / "affected.json"
    path.write_text(json.dumps(document()))
    read = read_affected(path)
    assert read.threshold == 0.3
    p = read.probabilities(Surroundings(WildType("x", "M" * 12)), parse_variant("M1A"))
    np.testing.assert_allclose(p[[0, 5, 10, 11]], [p_of(-1.0), p_of(-2.0), p_of(-3.0), p_of(-3.0)])


def test_evidence_that_is_not_computed_is_refused(tmp_path) -> None:
    curve = Curve(np.array([0.0, 1.0]), np.array([1.0, -1.0]), 0.0)
    entry = {"model": AdditiveModel(-2.0, {"size_near": curve}, {}).to_dict()}
    path = tmp_path / "affected.json"
    path.write_text(json.dumps(document() | {"tiers": {"sequence": entry, "structure": entry}}))
    with pytest.raises(CheckpointError, match="weighs size_near, which is no evidence"):
        read_affected(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, "update mutscan"),
        ({"format": FORMAT - 1}, "run `mutscan train affected` again"),
        ({"tiers": {}}, "expected \\['sequence', 'structure'\\]"),
        ({"tiers": {"sequence": {"model": {"intercept": 0.0, "curves": {"z": {}}}}}}, "KeyError"),
        ({"threshold": {"p": 7.0}}, "expected a probability"),
        ({"threshold": {}}, "is no model of affected residues"),
    ],
)
def test_a_damaged_affected_json_is_refused(tmp_path, change, message) -> None:
    path = tmp_path / "affected.json"
    path.write_text(json.dumps(document() | change))
    with pytest.raises(CheckpointError, match=message):
        read_affected(path)


def test_text_that_is_no_json_is_refused(tmp_path) -> None:
    path = tmp_path / "affected.json"
    path.write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read as JSON"):
        read_affected(path)
