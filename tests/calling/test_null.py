"""The null and percentiles."""

import math

import numpy as np
import pytest

from mutscan.calling import (
    Null,
    away_from_site,
    build_null,
    drop_z,
    mean_away_from_site,
    percentile,
    robust_z,
    sample_null,
)
from mutscan.variants import Substitution, Variant

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQFEVV"


def test_null_is_seeded_distinct_and_spread() -> None:
    sample = sample_null(SEQUENCE, size=32, seed=3)
    assert sample == sample_null(SEQUENCE, size=32, seed=3)
    assert sample != sample_null(SEQUENCE, size=32, seed=4)
    assert len(set(sample)) == 32
    positions = [v.substitutions[0].position for v in sample]
    # one position in each of 32 equal stretches: no half of the protein can be missed
    assert sum(p <= len(SEQUENCE) // 2 for p in positions) == 16
    for variant in sample:
        (substitution,) = variant.substitutions
        assert SEQUENCE[substitution.position - 1] == substitution.wild_type != substitution.mutant


def test_null_of_a_tiny_protein_takes_what_there_is() -> None:
    assert len(sample_null("MKX", size=64)) == 38
    assert len(sample_null("M" * 5, size=64)) == 64


def test_site_margin_is_left_out() -> None:
    assert away_from_site(6, [1]).tolist() == [False, False, True, True, True, True]
    assert away_from_site(6, [6, 3]).tolist() == [True, False, False, False, False, False]
    profile = np.array([0.0, 0.0, 1.0, 0.5, np.nan])
    assert mean_away_from_site(profile, [1]) == 0.75
    assert math.isnan(mean_away_from_site(profile[:2], [1]))


def test_percentile_and_z_have_the_documented_ends() -> None:
    null = np.linspace(0.9, 1.0, 65)
    assert percentile(0.1, null) == 0.0
    assert percentile(2.0, null) == 100.0
    assert percentile(0.95, null) == pytest.approx(50.0)
    assert robust_z(0.95, null) == pytest.approx(0.0, abs=1e-9)
    assert robust_z(0.9, null) < -1 < 1 < robust_z(1.0, null)
    assert math.isnan(robust_z(0.9, np.ones(10)))
    assert math.isnan(percentile(math.nan, null))


def _null(length: int, m: int = 64) -> tuple[tuple[Variant, ...], np.ndarray]:
    rng = np.random.default_rng(0)
    sequence = "A" * length
    variants = sample_null(sequence, size=m)
    return variants, 0.98 + 0.005 * rng.standard_normal((m, length))


def test_null_per_residue_ignores_each_substitutions_own_site() -> None:
    variants, profiles = _null(60)
    spoilt = profiles.copy()
    for row, variant in zip(spoilt, variants, strict=True):
        row[~away_from_site(60, variant.positions)] = -5.0
    clean, same = (build_null(variants, np.ones(len(variants)), p) for p in (profiles, spoilt))
    np.testing.assert_array_equal(clean.residue_median, same.residue_median)
    np.testing.assert_array_equal(clean.lddt, same.lddt)


def test_null_keeps_z_finite_for_a_constant_residue() -> None:
    variants = tuple(Variant((Substitution(i + 1, "A", "G"),)) for i in range(0, 40, 2))
    profiles = np.full((20, 60), 0.97)
    profiles[:, 30:] += np.linspace(-0.01, 0.01, 20)[:, None]
    null = build_null(variants, np.ones(20), profiles)
    assert isinstance(null, Null)
    assert np.isfinite(drop_z(np.full(60, 0.97), null, [3])[30:]).all()
