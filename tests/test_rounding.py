"""Rounding of arrays against Python's own, which is exact."""

import numpy as np
import pytest

from mutscan.rounding import rounded


@pytest.mark.parametrize("decimals", [1, 2, 4, 6])
def test_arrays_round_as_text_does(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    halves = (rng.integers(-(10**4), 10**4, 2000) + 0.5) / 10**decimals
    values = np.concatenate(
        [rng.normal(scale=30.0, size=2000), halves, np.nextafter(halves, 0.0), [0.0, -0.0]]
    )
    found = rounded(values, decimals)
    assert found.tolist() == [float(f"{x:.{decimals}f}") for x in values.tolist()]
    assert not np.signbit(found[found == 0.0]).any()


def test_what_is_not_known_stays_so() -> None:
    assert np.isnan(rounded(np.array([np.nan]), 2)).all()
