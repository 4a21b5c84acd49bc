"""Couplings of pairs of sites."""

from __future__ import annotations

import numpy as np

from mutscan.alignments.couplings import coupling_energies
from mutscan.alignments.profile import GAP, LEAST_DEPTH, UNKNOWN_CODE, profile_of, sequence_weights

STATES = 21


def obvious_energies(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Morcos et al. (2011), their covariance matrix inverted as a whole."""
    states = np.minimum(rows, STATES - 1).astype(int)
    n, length = states.shape
    one_hot = np.eye(STATES)[states].reshape(n, -1)
    share = weights / weights.sum()
    single = 0.5 * share @ one_hot + 0.5 / STATES
    pair = 0.5 * (one_hot * share[:, None]).T @ one_hot + 0.5 / STATES**2
    for site in range(length):
        block = slice(site * STATES, (site + 1) * STATES)
        pair[block, block] = np.diag(single[block])
    kept = np.tile(np.arange(STATES) < 20, length)
    covariance = (pair - np.outer(single, single))[np.ix_(kept, kept)]
    couplings = -np.linalg.inv(covariance).reshape(length, 20, length, 20)
    for site in range(length):
        couplings[site, :, site] = 0
    own = couplings[:, :, np.arange(length), states[0]].sum(axis=2)
    return own - own[np.arange(length), states[0]][:, None]


def test_energies_are_those_of_the_whole_matrix() -> None:
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 22, (60, 12)).astype(np.uint8)
    rows[0] = rng.integers(0, 20, 12)
    weights = rng.uniform(0.1, 1.0, 60)
    np.testing.assert_allclose(coupling_energies(rows, weights), obvious_energies(rows, weights), atol=1e-4)


def test_columns_that_the_wild_type_lacks_are_no_sites() -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 20, (40, 9)).astype(np.uint8)
    rows[0, [2, 7]] = GAP, UNKNOWN_CODE
    weights = np.ones(40)
    found = coupling_energies(rows, weights)
    sites = np.flatnonzero(rows[0] < UNKNOWN_CODE)
    assert np.isnan(found[[2, 7]]).all()
    np.testing.assert_allclose(found[sites], coupling_energies(rows[:, sites], weights), atol=1e-6)


def test_a_residue_that_its_partner_forbids_has_low_energy() -> None:
    """Sites 0 and 1 carry opposite charges, whichever way round; site 2 has both at random."""
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 20, (600, 10)).astype(np.uint8)
    charge = rng.integers(0, 2, 600).astype(np.uint8)
    rows[:, 0], rows[:, 1], rows[:, 2] = charge, 1 - charge, rng.integers(0, 2, 600)
    rows[0, :3] = 0, 1, 0
    found = coupling_energies(rows, np.ones(600))
    assert found[0, 1] < -1.0
    assert found[1, 0] < -1.0
    assert abs(found[2, 1]) < 0.1 * abs(found[0, 1])


def test_a_profile_has_couplings_from_five_effective_sequences_a_site() -> None:
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 20, (60, 12)).astype(np.uint8)
    assert sequence_weights(rows).sum() == 60 == LEAST_DEPTH * 12
    found = profile_of(rows).couplings
    assert found is not None
    np.testing.assert_array_equal(found, coupling_energies(rows, np.ones(60)))
    assert profile_of(rows[:59]).couplings is None
    rows[:, 0] = GAP
    assert profile_of(rows[:55]).couplings is not None, "the sites of the alignment count"
