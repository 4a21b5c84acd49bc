"""Evidence of inverse folding, from log-probabilities that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from mutscan.evidence import (
    INVERSE_FOLDING_EVIDENCE,
    ProteinView,
    inverse_folding_evidence,
    protein_evidence,
)
from mutscan.evidence.wording import describe, group_of
from mutscan.residues import STANDARD

SEQUENCE = "MKXAY"


@pytest.fixture
def logs() -> np.ndarray:
    made = np.log(np.random.default_rng(0).dirichlet(np.ones(20), len(SEQUENCE)))
    made[3] = np.nan  # no backbone
    return made


def test_it_compares_the_mutant_with_the_wild_type(logs):
    index, mutant = np.array([0, 4, 3, 2]), np.array([STANDARD.index(letter) for letter in "LWGV"])
    found = inverse_folding_evidence(logs, SEQUENCE, index, mutant)
    assert list(found) == list(INVERSE_FOLDING_EVIDENCE)
    own = logs[0, STANDARD.index("M")]
    assert found["folding_log_p_wild_type"][0] == own
    assert found["folding_log_odds"][0] == logs[0, STANDARD.index("L")] - own
    assert found["folding_entropy"][1] == pytest.approx(-(np.exp(logs[4]) * logs[4]).sum())
    assert all(np.isnan(values[2]) for values in found.values())
    assert np.isnan(found["folding_log_odds"][3])  # X is replaced
    assert found["folding_log_p_mutant"][3] == logs[2, STANDARD.index("V")]


def test_without_log_probabilities_nothing_is_known_and_other_evidence_is_as_before(logs):
    index, mutant = np.array([0, 1]), np.array([3, 3])
    assert all(np.isnan(v).all() for v in inverse_folding_evidence(None, SEQUENCE, index, mutant).values())
    plain = protein_evidence(ProteinView(SEQUENCE), index, mutant)
    assert not set(plain) & set(INVERSE_FOLDING_EVIDENCE)
    folded = protein_evidence(ProteinView(SEQUENCE, folded=logs), index, mutant)
    assert list(folded) == [*plain, *INVERSE_FOLDING_EVIDENCE]


def test_it_is_told_in_words():
    assert {group_of(name) for name in INVERSE_FOLDING_EVIDENCE} == {"inverse folding"}
    told = describe("inverse folding", {"folding_log_odds": -np.log(4.0)})
    assert told == "mutant residue suits the backbone 4 times worse than the wild type"
    assert describe("inverse folding", {}) == "not known"
