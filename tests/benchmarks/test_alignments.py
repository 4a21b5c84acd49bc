"""Sequence weights against the obvious loop, processor time: pytest -m benchmark -s."""

import time

import numpy as np
import pytest

from mutscan.alignments.profile import UNKNOWN_CODE, sequence_weights

ROWS, LENGTH = 4000, 300
LOOPED = 200
"""Rows that the loop does; it takes as long for each."""

LEAST = 5.0
"""Times as fast as the loop. Measured: 14."""

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(120)]


def looped(rows: np.ndarray, n: int) -> np.ndarray:
    known = rows < UNKNOWN_CODE
    return np.array(
        [
            1 / (((rows == row) & own).sum(axis=1) >= 0.8 * own.sum()).sum()
            for row, own in zip(rows[:n], known[:n], strict=True)
        ]
    )


def test_weights_are_faster_than_a_loop_over_rows() -> None:
    rng = np.random.default_rng(0)
    rows = np.tile(rng.integers(0, 22, LENGTH), (ROWS, 1)).astype(np.uint8)
    changed = rng.random(rows.shape) < rng.random((ROWS, 1))
    rows[changed] = rng.integers(0, 22, int(changed.sum()))
    start = time.process_time()
    expected = looped(rows, LOOPED)
    loop = (time.process_time() - start) * ROWS / LOOPED
    seconds = []
    for _ in range(3):
        start = time.process_time()
        weights = sequence_weights(rows)
        seconds.append(time.process_time() - start)
    print(f"{ROWS:,} rows in {min(seconds):.2f} s, {loop / min(seconds):.0f} times as fast as a loop")
    np.testing.assert_allclose(weights[:LOOPED], expected)
    assert loop / min(seconds) > LEAST
