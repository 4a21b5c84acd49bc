"""Evidence of an alignment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mutscan.evidence import (
    ALIGNED_EVIDENCE,
    DEEP_EVIDENCE,
    AlignedProfile,
    ProteinView,
    aligned_evidence,
    deep_evidence,
    protein_evidence,
)
from mutscan.evidence.conservation import EXPECTED
from mutscan.residues import STANDARD

SEQUENCE = "MKTAYIAKQRQI"
LENGTH = len(SEQUENCE)


def profile(counts: np.ndarray) -> AlignedProfile:
    sequences = counts.sum(axis=1)
    return AlignedProfile(
        counts=counts,
        sequences=sequences,
        effective=sequences / 2,
        gaps=np.linspace(0, 0.5, len(counts)),
        nearest=np.where(counts > 0, 0.7, 0.0),
        closest=np.full(len(counts), 0.6),
        n_rows=40,
        n_effective=20.0,
    )


@pytest.fixture
def some() -> AlignedProfile:
    counts = np.random.default_rng(0).integers(0, 4, (LENGTH, 20)).astype(float)
    counts[np.arange(LENGTH), [STANDARD.index(letter) for letter in SEQUENCE]] += 5
    return profile(counts)


def everything() -> tuple[np.ndarray, np.ndarray]:
    pairs = [(i, m) for i, own in enumerate(SEQUENCE) for m in range(20) if STANDARD[m] != own]
    index, mutant = np.array(pairs).T
    return index, mutant


def test_probabilities_are_counts_with_pseudocounts(some: AlignedProfile) -> None:
    p = np.exp(some.log_probabilities)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    total = some.counts[3].sum()
    expected = (some.counts[3] / total) @ EXPECTED
    np.testing.assert_allclose(p[3], (some.counts[3] + 5 * expected) / (total + 5))


def test_ranks_and_z_are_those_of_the_definition(some: AlignedProfile) -> None:
    index, mutant = everything()
    found = aligned_evidence(some, SEQUENCE, index, mutant)
    assert list(found) == list(ALIGNED_EVIDENCE)
    log_p = some.log_probabilities
    odds = np.array(
        [log_p[i, m] - log_p[i, STANDARD.index(SEQUENCE[i])] for i, m in zip(index, mutant, strict=True)]
    )
    entropy = -(np.exp(log_p) * log_p).sum(axis=1)
    np.testing.assert_allclose(found["aligned_rank"], [(odds < one).mean() for one in odds])
    np.testing.assert_allclose(found["aligned_z"], (odds - odds.mean()) / odds.std())
    np.testing.assert_allclose(found["aligned_entropy_rank"], [(entropy < entropy[i]).mean() for i in index])
    np.testing.assert_allclose(
        found["aligned_entropy_z"], ((entropy - entropy.mean()) / entropy.std())[index]
    )
    np.testing.assert_array_equal(found["aligned_nearest"], some.nearest[index, mutant])
    np.testing.assert_array_equal(found["aligned_gaps"], some.gaps[index])


def test_a_site_beyond_the_alignment_is_not_known_and_moves_no_other(some: AlignedProfile) -> None:
    counts = some.counts.copy()
    counts[:3] = 0
    partial = profile(counts)
    index, mutant = everything()
    found = aligned_evidence(partial, SEQUENCE, index, mutant)
    for values in found.values():
        assert np.isnan(values[index < 3]).all()
        assert np.isfinite(values[index >= 3]).all()
    inside = index >= 3
    cut = replace(
        profile(counts[3:]), gaps=partial.gaps[3:], closest=partial.closest[3:], nearest=partial.nearest[3:]
    )
    alone = aligned_evidence(cut, SEQUENCE[3:], index[inside] - 3, mutant[inside])
    for name, values in alone.items():
        np.testing.assert_allclose(found[name][inside], values, err_msg=name)


def test_an_unknown_wild_type_residue_has_a_site_but_no_substitution(some: AlignedProfile) -> None:
    found = aligned_evidence(some, "X" + SEQUENCE[1:], np.array([0, 1]), np.array([0, 0]))
    assert np.isnan(found["aligned_rank"][0])
    assert np.isnan(found["aligned_z"][0])
    assert np.isfinite(found["aligned_entropy_rank"]).all()
    assert np.isfinite(found["aligned_rank"][1])


def test_it_joins_the_evidence_of_a_sequence_where_there_is_an_alignment(some: AlignedProfile) -> None:
    index, mutant = np.array([1, 5]), np.array([3, 4])
    without = protein_evidence(ProteinView(SEQUENCE), index, mutant)
    assert not set(ALIGNED_EVIDENCE) & set(without)
    with_it = protein_evidence(ProteinView(SEQUENCE, aligned=some), index, mutant)
    assert np.isfinite(with_it["aligned_rank"]).all()
    none = aligned_evidence(None, SEQUENCE, index, mutant)
    assert list(none) == list(ALIGNED_EVIDENCE)
    assert all(np.isnan(values).all() and values.shape == (2,) for values in none.values())


def test_couplings_and_residues_of_a_deep_alignment_count_alike(some: AlignedProfile) -> None:
    index, mutant = everything()
    assert deep_evidence(some, SEQUENCE, index, mutant) == {}
    energies = np.random.default_rng(1).normal(size=(LENGTH, 20))
    energies[4] = np.nan
    found = deep_evidence(replace(some, couplings=energies), SEQUENCE, index, mutant)
    assert list(found) == list(DEEP_EVIDENCE)
    assert all(np.isnan(values[index == 4]).all() for values in found.values())
    known = index != 4
    of = energies[index, mutant][known]
    coupled = np.array([(of < one).mean() for one in of])
    np.testing.assert_allclose(found["deep_couplings"][known], coupled)
    together = coupled + aligned_evidence(some, SEQUENCE, index, mutant)["aligned_rank"][known]
    np.testing.assert_allclose(found["deep_rank"][known], [(together < one).mean() for one in together])
    few = deep_evidence(replace(some, couplings=energies), SEQUENCE, index[50:60], mutant[50:60])
    np.testing.assert_array_equal(few["deep_rank"], found["deep_rank"][50:60])
