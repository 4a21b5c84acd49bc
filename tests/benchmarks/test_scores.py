"""How fast lDDT and TM-score are beside a loop over residues, biotite and tmtools: ratios, printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tmtools
from biotite import structure as biotite_structure

from mutscan.scores import Neighbourhood, lddt, tm_score

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.benchmark

LENGTH = 300


def chain(n: int = LENGTH) -> np.ndarray:
    """A trace winding through a cube, packed about as densely as a protein (5.2 Å steps)."""
    side = np.arange(int(np.ceil(n ** (1 / 3)))) * 5.2
    layers = [(x, y if i % 2 == 0 else side[-1] - y) for i, x in enumerate(side) for y in side]
    points = [(x, y, z if i % 2 == 0 else side[-1] - z) for i, (x, y) in enumerate(layers) for z in side]
    return np.array(points[:n])


def best_of(call: Callable[[], object], repeats: int = 7) -> float:
    """Shortest time of several, seconds: what the machine can do when nothing else runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def lddt_by_residue(reference: np.ndarray, model: np.ndarray) -> np.ndarray:
    """The usual way: a Python loop over residues, numpy for the neighbours of each."""
    scores = np.full(len(reference), np.nan)
    for i in range(len(reference)):
        distance = np.sqrt(((reference - reference[i]) ** 2).sum(axis=1))
        near = (distance > 0) & (distance <= 15.0)
        if not near.any():
            continue
        weight = (distance[near] + 1e-6) ** -3.0
        off = np.abs(distance[near] - np.sqrt(((model[near] - model[i]) ** 2).sum(axis=1)))
        kept = sum((off <= threshold).astype(float) for threshold in (0.5, 1.0, 2.0, 4.0)) / 4
        scores[i] = (weight * kept).sum() / weight.sum()
    return scores


def lddt_by_pair(reference: np.ndarray, model: np.ndarray) -> np.ndarray:
    """A Python loop over residues and, inside, over their neighbours: the formula as it is written."""
    first, second = reference.tolist(), model.tolist()
    n = len(first)
    scores = np.full(n, np.nan)
    for i in range(n):
        won = total = 0.0
        for j in range(n):
            if i == j:
                continue
            distance = sum((a - b) ** 2 for a, b in zip(first[i], first[j], strict=True)) ** 0.5
            if not 0 < distance <= 15.0:
                continue
            other = sum((a - b) ** 2 for a, b in zip(second[i], second[j], strict=True)) ** 0.5
            weight = (distance + 1e-6) ** -3.0
            total += weight
            won += weight * sum(abs(distance - other) <= t for t in (0.5, 1.0, 2.0, 4.0)) / 4
        if total:
            scores[i] = won / total
    return scores


def test_lddt_is_far_faster_than_a_loop(capsys: pytest.CaptureFixture[str]) -> None:
    reference = chain()
    model = reference + np.random.default_rng(0).normal(scale=0.7, size=reference.shape)
    np.testing.assert_allclose(lddt(reference, model), lddt_by_residue(reference, model), atol=1e-12)
    np.testing.assert_allclose(lddt(reference, model), lddt_by_pair(reference, model), atol=1e-12)
    atoms = biotite_structure.AtomArray(LENGTH)
    atoms.coord, atoms.res_id = reference.astype(np.float32), np.arange(1, LENGTH + 1)
    other = atoms.copy()
    other.coord = model.astype(np.float32)
    near = Neighbourhood(reference)
    ours = best_of(lambda: lddt(reference, model), 21)
    kept = best_of(lambda: near.score(model), 21)
    rows = {
        "numpy loop over residues": best_of(lambda: lddt_by_residue(reference, model)),
        "plain loop over pairs": best_of(lambda: lddt_by_pair(reference, model), 2),
        "biotite (plain lDDT)": best_of(lambda: biotite_structure.lddt(atoms, other, aggregation="residue")),
    }
    with capsys.disabled():
        print(f"\nlDDT, {LENGTH} residues: {ours * 1e3:.2f} ms; same reference again: {kept * 1e3:.2f} ms")
        for name, seconds in rows.items():
            print(f"  {name}: {seconds * 1e3:.1f} ms, {seconds / ours:.0f} times ({seconds / kept:.0f})")
    assert rows["plain loop over pairs"] >= 20 * ours
    assert rows["numpy loop over residues"] >= 20 * kept
    assert rows["numpy loop over residues"] >= 12 * ours


def test_tm_score_beside_tmtools(capsys: pytest.CaptureFixture[str]) -> None:
    reference = chain()
    letters = "A" * LENGTH
    with capsys.disabled():
        print(f"\nTM-score of a given correspondence, {LENGTH} residues")
        for name, noise in (("point mutant", 0.1), ("homologue", 2.0), ("other fold", 10.0)):
            model = reference + np.random.default_rng(0).normal(scale=noise, size=reference.shape)
            ours = best_of(lambda model=model: tm_score(reference, model), 3)
            theirs = best_of(
                lambda model=model: tmtools.tm_align(
                    reference, model, letters, letters, alignment=[letters, letters]
                ),
                3,
            )
            score = tm_score(reference, model).tm_score
            expected = tmtools.tm_align(
                reference, model, letters, letters, alignment=[letters, letters]
            ).tm_norm_chain1
            print(
                f"  {name}: {ours * 1e3:.1f} ms, tmtools {theirs * 1e3:.1f} ms ({theirs / ours:.1f} times); "
                f"{score:.6f} and {expected:.6f}"
            )
            assert score >= expected - 1e-6
            assert ours < 5 * theirs
