"""Choice of rows, sequence weights, and the profile of a protein."""

from __future__ import annotations

import numpy as np
import pytest

from mutscan.alignments import profile as module
from mutscan.alignments.profile import GAP, UNKNOWN_CODE, profile_of, select_rows, sequence_weights


def related(n: int, length: int, *, seed: int = 0) -> np.ndarray:
    """Wild type and relatives at all distances, with gaps at ends, fragments and unknown residues."""
    rng = np.random.default_rng(seed)
    wild_type = rng.integers(0, 20, length)
    rows = np.tile(wild_type, (n, 1))
    for row in rows[1:]:
        changed = rng.random(length) < rng.uniform(0, 0.9)
        row[changed] = rng.integers(0, 21, changed.sum())
        row[: rng.integers(0, length)] = GAP if rng.random() < 0.3 else row[0]
        row[rng.random(length) < 0.05] = GAP
    return rows.astype(np.uint8)


def obvious_weights(rows: np.ndarray) -> np.ndarray:
    known = rows < UNKNOWN_CODE
    return np.array(
        [
            1 / sum(((row == other) & k).sum() >= 0.8 * k.sum() for other in rows)
            for row, k in zip(rows, known, strict=True)
        ]
    )


@pytest.mark.parametrize(("n", "length"), [(1, 5), (90, 64), (75, 131)])
def test_weights_are_those_of_the_definition(n: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = related(n, length)
    rows[n // 2 :] = rows[: n - n // 2]
    expected = obvious_weights(rows)
    np.testing.assert_allclose(sequence_weights(rows), expected)
    monkeypatch.setattr(module, "_TOGETHER", (7, 11))
    np.testing.assert_allclose(sequence_weights(rows), expected)


def test_a_fragment_counts_little_beside_the_row_that_contains_it() -> None:
    rows = np.tile(np.arange(20, dtype=np.uint8), (2, 1))
    rows[1, :10] = GAP
    assert sequence_weights(rows).tolist() == [1.0, 0.5]


def test_rows_are_chosen_by_cover_identity_and_closeness() -> None:
    wild_type = np.arange(20, dtype=np.uint8)
    rows = np.tile(wild_type, (8, 1))
    rows[1, :15] = (rows[1, :15] + 1) % 20  # 25 % identical
    rows[2, :11] = GAP  # covers 45 %
    rows[3, :10] = GAP  # covers half, all of it identical
    rows[4, :12] = (rows[4, :12] + 1) % 20  # 40 % identical
    rows[5, :4] = (rows[5, :4] + 1) % 20  # 80 % identical
    rows[6] = rows[4]
    assert select_rows(rows).tolist() == [0, 3, 5, 4]  # 7 is the wild type again
    assert select_rows(rows, most=1).tolist() == [0, 3]


def test_a_wild_type_that_the_alignment_covers_in_part_asks_for_half_of_that_part() -> None:
    rows = np.tile(np.arange(20, dtype=np.uint8), (3, 1))
    rows[:, 8:] = GAP
    rows[1, :4] = GAP
    rows[2, :5] = GAP
    assert select_rows(rows).tolist() == [0, 1]
    found = profile_of(rows)
    assert found.sequences[8:].tolist() == [0] * 12
    assert found.effective[8:].tolist() == [0] * 12
    assert found.gaps[8:].tolist() == [0] * 12


def test_a_profile_counts_what_stands_at_each_site() -> None:
    rows = related(60, 40)
    found = profile_of(rows)
    weights = obvious_weights(rows)
    known = (rows[1:] < UNKNOWN_CODE) & (rows[0] < UNKNOWN_CODE)
    identity = ((rows[1:] == rows[0]) & known).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    for site in range(40):
        column = rows[:, site]
        counts = [weights[column == residue].sum() for residue in range(20)]
        assert found.counts[site] == pytest.approx(counts)
        covered = column < GAP
        assert found.sequences[site] == covered.sum()
        assert found.effective[site] == pytest.approx(weights[covered].sum())
        assert found.gaps[site] == pytest.approx((column[1:] == GAP).mean())
        for residue in range(20):
            carrying = identity[column[1:] == residue]
            assert found.nearest[site, residue] == pytest.approx(carrying.max(initial=0.0), abs=1e-6)
        closest = np.sort(identity[covered[1:]])[::-1][:10]
        assert found.closest[site] == pytest.approx(closest.mean(), abs=1e-6)
    assert found.n_rows == 60
    assert found.n_effective == pytest.approx(weights.sum())


def test_a_wild_type_without_relatives_has_a_profile() -> None:
    found = profile_of(np.arange(20, dtype=np.uint8)[None])
    assert found.sequences.tolist() == [1.0] * 20
    assert found.gaps.tolist() == [0.0] * 20
    assert not found.nearest.any()
    assert np.isnan(found.closest).all()
    assert np.isfinite(found.log_probabilities).all()
