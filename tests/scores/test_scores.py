"""lDDT and TM-score: laws, hand-made values, and the numbers of other programs."""

from __future__ import annotations

import numpy as np
import pytest
import tmtools
from biotite import structure as biotite_structure
from hypothesis import given, settings
from hypothesis import strategies as st
from tmtools.testing import get_pdb_path

from mutscan.errors import StructureError
from mutscan.scores import (
    Neighbourhood,
    coordinates,
    lddt,
    local,
    score_structures,
    superpose,
    superposition,
    tm_d0,
    tm_score,
)
from mutscan.structures import Structure, read_structure

TOY = np.zeros((5, 3))
TOY[:, 0] = (0.0, 3.8, 7.6, 11.4, 15.2)
TOY_MOVED = TOY.copy()
TOY_MOVED[3:, 0] += 1.5


@pytest.fixture(scope="module")
def globins() -> tuple[Structure, Structure]:
    """Chains A and B of PDB entry 2GTL, shipped with tmtools."""
    path = f"{get_pdb_path('2gtl')}"
    return read_structure(path, chain="A"), read_structure(path, chain="B")


def walk(n: int, seed: int = 0) -> np.ndarray:
    """A compact random chain with 3.8 Å steps: a smoothed walk, drawn to its centre."""
    rng = np.random.default_rng(seed)
    coord = np.zeros((n, 3))
    for k in range(1, n):
        step = rng.normal(size=3) - 0.06 * coord[k - 1]
        coord[k] = coord[k - 1] + 3.8 * step / np.linalg.norm(step)
    return coord


def rotation(seed: int = 0) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def loop_lddt(reference, model, exponent=3, radius=15.0, thresholds=(0.5, 1, 2, 4), min_separation=1):
    """The preprint's Algorithm 2 word for word, one residue and one neighbour after the other."""
    n = len(reference)
    scores = np.full(n, np.nan)
    for i in range(n):
        weights, kept = [], []
        for j in range(n):
            distance = float(np.linalg.norm(reference[i] - reference[j]))
            if j == i or abs(i - j) < min_separation or not 0 < distance <= radius:
                continue
            other = float(np.linalg.norm(model[i] - model[j]))
            if not np.isfinite(other):
                continue
            weights.append((distance + 1e-6) ** -exponent)
            kept.append(sum(abs(distance - other) <= t for t in thresholds) / len(thresholds))
        if weights:
            scores[i] = sum(w * k for w, k in zip(weights, kept, strict=True)) / sum(weights)
    return scores


class TestLddt:
    @pytest.mark.parametrize(
        ("exponent", "expected"),
        [
            (0, [0.833333, 0.75, 0.75, 0.625, 0.666667]),
            (3, [0.984064, 0.962527, 0.75, 0.731263, 0.930279]),
            (5, [0.998013, 0.991312, 0.75, 0.745656, 0.982921]),
        ],
    )
    def test_toy_of_the_specification(self, exponent: float, expected: list[float]) -> None:
        assert lddt(TOY, TOY_MOVED, exponent=exponent) == pytest.approx(expected, abs=1e-6)

    def test_toy_with_roles_exchanged(self) -> None:
        expected = [0.988892, 0.976559, 0.859106, 0.840843, 0.955217]
        assert lddt(TOY_MOVED, TOY) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("options", [{}, {"exponent": 0}, {"exponent": 1.7}, {"min_separation": 3}])
    @pytest.mark.parametrize("n", [2, 3, 40, 131])
    def test_equals_the_formula_written_as_loops(self, n: int, options: dict[str, float]) -> None:
        reference = walk(n)
        model = reference + np.random.default_rng(n).normal(scale=0.8, size=(n, 3))
        np.testing.assert_allclose(
            lddt(reference, model, **options), loop_lddt(reference, model, **options), rtol=0, atol=1e-12
        )

    def test_plain_equals_biotite(self, globins: tuple[Structure, Structure]) -> None:
        reference = globins[0].ca.astype(np.float32)
        model = (reference + np.random.default_rng(1).normal(size=reference.shape)).astype(np.float32)
        atoms = biotite_structure.AtomArray(len(reference))
        atoms.coord, atoms.res_id = reference, np.arange(1, len(reference) + 1)
        other = atoms.copy()
        other.coord = model
        theirs = biotite_structure.lddt(atoms, other, aggregation="residue")
        np.testing.assert_allclose(lddt(reference, model, exponent=0), theirs, rtol=0, atol=1e-12)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(2, 60), st.integers(0, 10_000), st.sampled_from([0, 3, 5, 0.5]))
    def test_identical_is_exactly_one_moved_or_not(self, n: int, seed: int, exponent: float) -> None:
        coord = walk(n, seed)
        assert (lddt(coord, coord, exponent=exponent) == 1.0).all()
        moved = coord @ rotation(seed).T + [100.0, -3.0, 7.0]
        assert (lddt(coord, moved, exponent=exponent) == 1.0).all()
        assert (lddt(coord, moved * [1, 1, -1], exponent=exponent) == 1.0).all()  # blind to handedness

    def test_bounds_and_repeat(self) -> None:
        reference, model = walk(200), walk(200, 1)
        scores = lddt(reference, model)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores.tobytes() == lddt(reference, model).tobytes()

    def test_radius_and_thresholds_are_inclusive(self) -> None:
        reference = np.array([[0.0, 0, 0], [15.0, 0, 0]])
        for longer, expected in ((0.5, 1.0), (1.0, 0.75), (2.0, 0.5), (4.0, 0.25), (4.0001, 0.0)):
            model = np.array([[0.0, 0, 0], [15.0 + longer, 0, 0]])
            assert lddt(reference, model).tolist() == [expected, expected]
        assert np.isnan(lddt(reference * 1.0001, reference)).all()
        assert lddt(reference * 1.0001, reference, radius=16).tolist() == [1.0, 1.0]

    def test_points_in_one_place_are_no_neighbours(self) -> None:
        reference = np.array([[0.0, 0, 0], [0.0, 0, 0], [5.0, 0, 0]])
        assert lddt(reference, reference, exponent=5).tolist() == [1.0, 1.0, 1.0]
        assert np.isnan(lddt(reference[:2], reference[:2])).all()

    def test_lonely_and_missing_residues_are_nan_and_no_neighbours(self) -> None:
        reference = walk(60)
        model = reference + np.random.default_rng(3).normal(size=reference.shape)
        gone = [0, 17, 18, 59]
        here = np.setdiff1d(np.arange(60), gone)
        for hole in (np.nan, np.inf, -np.inf):
            for side in ("model", "reference"):
                holed = {"reference": reference.copy(), "model": model.copy()}
                holed[side][gone, 1] = hole
                scores = lddt(**holed)
                assert np.isnan(scores[gone]).all()
                np.testing.assert_allclose(scores[here], lddt(reference[here], model[here]), atol=1e-14)
        far = reference.copy()
        far[30] += 1000.0
        assert np.isnan(lddt(far, model)[30])
        assert np.isfinite(lddt(reference, far)).all()  # lost, not lonely: the reference decides

    def test_missing_can_count_as_lost(self) -> None:
        reference = walk(60)
        model = reference.copy()
        model[20:23] = np.nan
        scores = lddt(reference, model, missing="lost")
        assert (scores[20:23] == 0).all()
        assert scores[19] < 1
        assert (lddt(reference, model)[[19, 23]] == 1).all()

    def test_min_separation_takes_out_chain_neighbours(self) -> None:
        reference, model = walk(80), walk(80, 1)  # two folds: only the steps along the chain are the same
        assert (lddt(reference, model, min_separation=2) < lddt(reference, model)).all()
        straight = np.arange(4.0)[:, None] * [[3.8, 0, 0]]
        assert np.isnan(lddt(straight, straight, min_separation=4)).all()
        assert np.isnan(lddt(straight, straight, min_separation=9)).all()

    def test_one_neighbourhood_serves_many_models(self) -> None:
        reference, model = walk(90), walk(90, 5)
        near = Neighbourhood(reference)
        both = near.scores(model, exponents=(3.0, 0.0))
        assert both[0].tobytes() == lddt(reference, model).tobytes()
        assert both[1].tobytes() == lddt(reference, model, exponent=0).tobytes()

    def test_blocks_change_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reference, model = walk(150), walk(150, 2)
        whole = lddt(reference, model)
        for rows in (1, 7, 64, 1000):
            monkeypatch.setattr(local, "_ROWS", rows)
            assert lddt(reference, model).tobytes() == whole.tobytes()
        monkeypatch.setattr(local, "BLOCK", 1)
        assert lddt(reference, model).tobytes() == whole.tobytes()

    def test_far_from_the_origin(self) -> None:
        reference, model = walk(60), walk(60, 2)
        away = np.array([9000.0, -900.0, 5000.0])
        np.testing.assert_allclose(lddt(reference + away, model - away), lddt(reference, model), atol=1e-9)

    def test_float32_integers_lists_and_empty(self) -> None:
        assert lddt(TOY.tolist(), TOY_MOVED.tolist()) == pytest.approx(lddt(TOY, TOY_MOVED))
        assert lddt(np.eye(3, dtype=int), np.eye(3, dtype=np.float32)).tolist() == [1.0, 1.0, 1.0]
        assert lddt(np.empty((0, 3)), np.empty((0, 3))).shape == (0,)
        assert np.isnan(lddt(np.zeros((1, 3)), np.zeros((1, 3)))).all()

    def test_inputs_are_left_alone(self) -> None:
        reference = walk(30)
        reference[4, 2] = np.inf
        before = reference.copy()
        lddt(reference, reference)
        np.testing.assert_array_equal(reference, before)

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((TOY, TOY[:4]), {}, "5 residues, the model 4"),
            ((TOY[:, :2], TOY), {}, r"shape \(L, 3\), not \(5, 2\)"),
            ((TOY, TOY), {"radius": 0}, "radius"),
            ((TOY, TOY), {"min_separation": 0}, "min_separation"),
            ((TOY, TOY), {"thresholds": ()}, "thresholds"),
            ((TOY, TOY), {"missing": "zero"}, "missing"),
        ],
    )
    def test_bad_calls(self, arguments: tuple, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            lddt(*arguments, **options)


class TestSuperpose:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(3, 50), st.integers(0, 10_000))
    def test_finds_a_rigid_motion_back(self, n: int, seed: int) -> None:
        coord = walk(n, seed)
        turn, shift = rotation(seed + 1), np.array([3.0, -40.0, 0.5])
        found, moved = superpose(coord, coord @ turn.T + shift)
        np.testing.assert_allclose(coord @ found.T + moved, coord @ turn.T + shift, atol=1e-9)
        assert np.linalg.det(found) == pytest.approx(1.0)

    def test_never_a_reflection(self) -> None:
        coord = walk(30)
        found, _ = superpose(coord, coord * [1, 1, -1])
        assert np.linalg.det(found) == pytest.approx(1.0)

    @pytest.mark.parametrize("shape", [TOY, np.zeros((4, 3)), np.eye(3)[:2], np.ones((1, 3))])
    def test_degenerate_shapes_still_give_a_rotation(self, shape: np.ndarray) -> None:
        found, moved = superpose(shape, shape + 1.0)
        assert np.linalg.det(found) == pytest.approx(1.0)
        np.testing.assert_allclose(shape @ found.T + moved, shape + 1.0, atol=1e-9)

    def test_weights_decide(self) -> None:
        target = walk(20)
        mobile = target @ rotation(2).T
        mobile[10:] += 25.0
        weights = np.where(np.arange(20) < 10, 1.0, 0.0)
        found, moved = superpose(mobile, target, weights=weights)
        np.testing.assert_allclose((mobile @ found.T + moved)[:10], target[:10], atol=1e-9)

    def test_refuses_holes_and_other_shapes(self) -> None:
        with pytest.raises(ValueError, match="finite"):
            superpose(TOY, np.where(TOY == 3.8, np.nan, TOY))
        with pytest.raises(ValueError, match="same shape"):
            superpose(TOY, TOY[:4])


class TestTMScore:
    @pytest.mark.parametrize(
        ("length", "d0"),
        [(3, 0.5), (21, 0.5), (22, 0.572), (30, 1.258), (50, 2.256), (100, 3.652), (150, 4.561),
         (200, 5.266), (300, 6.360), (500, 7.942), (1000, 10.538)],
    )  # fmt: skip
    def test_d0(self, length: int, d0: float) -> None:
        assert tm_d0(length) == pytest.approx(d0, abs=5e-4)

    @settings(max_examples=25, deadline=None)
    @given(st.integers(3, 80), st.integers(0, 10_000))
    def test_identical_is_exactly_one_moved_or_not(self, n: int, seed: int) -> None:
        coord = walk(n, seed)
        same = tm_score(coord, coord)
        assert (same.tm_score, same.tm_score_model, same.rmsd) == (1.0, 1.0, 0.0)
        moved = tm_score(coord, coord @ rotation(seed).T + [100.0, -3.0, 7.0])
        assert (moved.tm_score, moved.tm_score_model) == (1.0, 1.0)
        assert moved.rmsd == pytest.approx(0.0, abs=1e-6)

    @pytest.mark.parametrize("n", [3, 4, 5, 9, 21, 22, 60, 147])
    @pytest.mark.parametrize("noise", [0.3, 2.0, 6.0])
    def test_matches_tmtools_for_a_given_correspondence(self, n: int, noise: float) -> None:
        reference = walk(n, n)
        model = reference + np.random.default_rng(n).normal(scale=noise, size=(n, 3))
        model = model @ rotation(n).T + 30.0
        letters = "A" * n
        theirs = tmtools.tm_align(reference, model, letters, letters, alignment=[letters, letters])
        ours = tm_score(reference, model)
        # Never below; their search leaves out some starts that ours has. (Of 3 points they keep one.)
        assert ours.tm_score >= theirs.tm_norm_chain1 - (1e-6 if n > 3 else 1e-3)
        assert ours.tm_score <= theirs.tm_norm_chain1 + 5e-3
        assert ours.rmsd == pytest.approx(theirs.rmsd, abs=1e-4)

    def test_matches_tm_align_on_its_own_pairs(self, globins: tuple[Structure, Structure]) -> None:
        reference, model = globins
        k = np.arange(144)  # residue k of A to k + 1 of B: nearly their structural alignment
        rows = ["-" + reference.sequence, model.sequence + "-" * 3]
        theirs = tmtools.tm_align(reference.ca, model.ca, reference.sequence, model.sequence, alignment=rows)
        ours = tm_score(reference.ca[k], model.ca[k + 1], normalise_by=147, model_length=145)
        assert ours.tm_score == pytest.approx(theirs.tm_norm_chain1, abs=2e-6)
        assert ours.tm_score_model == pytest.approx(theirs.tm_norm_chain2, abs=2e-6)

    def test_the_superposition_gives_the_score(self) -> None:
        reference = walk(120)
        model = reference @ rotation(4).T + np.random.default_rng(0).normal(scale=2, size=(120, 3)) - 9.0
        result = tm_score(reference, model, normalise_by=130)
        placed = model @ result.rotation.T + result.translation
        square = ((placed - reference) ** 2).sum(axis=1)
        assert (1 / (1 + square / tm_d0(130) ** 2)).sum() / 130 == pytest.approx(result.tm_score, abs=1e-12)
        # And no small turn of it is much better: it is close to a maximum.
        for seed in range(20):
            rng = np.random.default_rng(seed)
            angle = rng.normal(scale=0.02, size=3)
            turned = (placed - placed.mean(0)) @ _small_rotation(angle).T + placed.mean(0)
            turned += rng.normal(scale=0.1, size=3)
            square = ((turned - reference) ** 2).sum(axis=1)
            assert (1 / (1 + square / tm_d0(130) ** 2)).sum() / 130 < result.tm_score + 1e-3

    def test_a_moved_tail_leaves_the_rest_superposed(self, globins: tuple[Structure, Structure]) -> None:
        reference = globins[0].ca
        model = reference.copy()
        model[-15:] += 30.0
        result = tm_score(reference, model)
        assert result.tm_score == pytest.approx(0.900, abs=1.5e-3)  # as tmtools for this correspondence
        placed = model @ result.rotation.T + result.translation
        assert np.abs(placed[:-15] - reference[:-15]).max() < 0.05
        assert result.rmsd > 5

    def test_mirror_image_scores_low(self, globins: tuple[Structure, Structure]) -> None:
        reference = globins[0].ca
        mirror = reference * [1, 1, -1]
        assert (lddt(reference, mirror) == 1.0).all()
        # TM-align of the two gives 0.3188; the given correspondence is searched more closely.
        assert tm_score(reference, mirror).tm_score == pytest.approx(0.3231, abs=1e-3)

    def test_refine_never_loses_and_is_a_maximum(self) -> None:
        for n, noise in ((14, 3.0), (60, 4.0), (150, 1.0)):
            reference = walk(n, n)
            model = reference + np.random.default_rng(n).normal(scale=noise, size=(n, 3))
            plain, fine = tm_score(reference, model), tm_score(reference, model, refine=True)
            assert plain.tm_score <= fine.tm_score <= 1
            placed = model @ fine.rotation.T + fine.translation
            for seed in range(20):
                rng = np.random.default_rng(seed)
                turned = placed @ _small_rotation(rng.normal(scale=1e-3, size=3)).T
                turned += rng.normal(scale=1e-3, size=3)
                square = ((turned - reference) ** 2).sum(axis=1)
                assert (1 / (1 + square / tm_d0(n) ** 2)).mean() <= fine.tm_score + 1e-7

    def test_normalisation(self) -> None:
        reference = walk(100)
        half = tm_score(reference[:50], reference[:50], normalise_by=100, model_length=50)
        assert (half.tm_score, half.tm_score_model) == (0.5, 1.0)

    def test_pairs_without_coordinates_count_as_far_apart(self) -> None:
        reference = walk(100)
        model = reference @ rotation(1).T
        model[:25] = np.nan
        result = tm_score(reference, model)
        assert result.tm_score == pytest.approx(0.75, abs=1e-9)
        assert result.rmsd == pytest.approx(0.0, abs=1e-6)

    def test_is_the_same_each_time_and_in_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reference, model = walk(90), walk(90, 3)
        whole = tm_score(reference, model)
        again = tm_score(reference, model)
        assert (again.tm_score, again.rotation.tobytes()) == (whole.tm_score, whole.rotation.tobytes())
        monkeypatch.setattr(superposition, "BLOCK", 900)
        assert tm_score(reference, model).tm_score == pytest.approx(whole.tm_score, abs=1e-9)

    @pytest.mark.parametrize("n", [0, 1, 2])
    def test_needs_three_pairs(self, n: int) -> None:
        with pytest.raises(
            StructureError, match=f"coordinates in both structures: {n} of {n} residue pairs; .* at least 3"
        ):
            tm_score(TOY[:n], TOY[:n])

    def test_bad_calls(self) -> None:
        with pytest.raises(ValueError, match="matching pairs"):
            tm_score(TOY, TOY[:4])
        with pytest.raises(ValueError, match="5 pairs, more than the length 4"):
            tm_score(TOY, TOY, normalise_by=4)

    @pytest.mark.slow
    def test_five_thousand_residues_need_little_memory(self) -> None:
        import tracemalloc

        # A chain winding through a cube, packed about as densely as a protein.
        side = np.arange(18) * 5.2
        layers = [(x, y if i % 2 == 0 else side[-1] - y) for i, x in enumerate(side) for y in side]
        rows = [(x, y, z if i % 2 == 0 else side[-1] - z) for i, (x, y) in enumerate(layers) for z in side]
        reference = np.array(rows[:5000])
        model = reference + np.random.default_rng(0).normal(scale=0.5, size=reference.shape)
        tracemalloc.start()
        try:
            score_structures(reference, model)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 400e6


def _small_rotation(angle: np.ndarray) -> np.ndarray:
    x, y, z = angle
    generator = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    q, _ = np.linalg.qr(np.eye(3) + generator)
    return q * np.sign(np.diag(q))


class TestScoreStructures:
    def test_wild_type_against_itself(self) -> None:
        coord = walk(80)
        scores = score_structures(coord, coord)
        assert (scores.tm_score, scores.tm_score_mutant, scores.rmsd, scores.coverage) == (1, 1, 0, 1)
        assert (scores.lddt == 1).all()
        assert (scores.lddt_plain == 1).all()
        assert (scores.ca_shift == 0).all()

    def test_a_local_shift_stays_local(self) -> None:
        coord = walk(100)
        mutant = coord.copy()
        mutant[50] += [0.0, 2.5, 0.0]
        scores = score_structures(coord, mutant @ rotation(3).T)
        assert scores.tm_score > 0.99
        assert scores.ca_shift.argmax() == 50
        assert scores.ca_shift[50] == pytest.approx(2.5, abs=0.1)
        assert np.delete(scores.ca_shift, 50).max() < 0.15
        assert scores.lddt.argmin() == 50
        np.testing.assert_array_equal(scores.lddt_plain, lddt(coord, mutant @ rotation(3).T, exponent=0))

    def test_deletion_with_pairs(self) -> None:
        coord = walk(100)
        left = np.r_[0:40, 45:100]
        scores = score_structures(coord, coord[left], pairs=np.stack([left, np.arange(95)], axis=1))
        assert (scores.tm_score, scores.tm_score_mutant, scores.coverage) == (0.95, 1.0, 0.95)
        assert np.isnan(scores.lddt[40:45]).all()
        assert np.isnan(scores.ca_shift[40:45]).all()
        assert (scores.lddt[left] == 1).all()

    def test_specification_values_of_2gtl(self, globins: tuple[Structure, Structure]) -> None:
        reference, model = globins
        theirs = tmtools.tm_align(reference.ca, model.ca, reference.sequence, model.sequence)
        from mutscan.align import alignment_pairs

        pairs = alignment_pairs(theirs.seqxA, theirs.seqM, theirs.seqyA)
        scores = score_structures(reference.ca, model.ca, pairs)
        assert scores.tm_score == pytest.approx(0.884730, abs=1e-6)
        assert scores.tm_score_mutant == pytest.approx(0.895950, abs=1e-6)
        assert scores.rmsd == pytest.approx(1.7008, abs=1e-4)
        assert np.nanmean(scores.lddt) == pytest.approx(0.9136, abs=5e-5)
        assert np.nanmean(scores.lddt_plain) == pytest.approx(0.8111, abs=5e-5)
        one, two = reference.ca[pairs[:, 0]], model.ca[pairs[:, 1]]
        assert lddt(one, two, exponent=5).mean() == pytest.approx(0.9599, abs=5e-5)
        assert lddt(two, one).mean() == pytest.approx(0.9015, abs=5e-5)
        assert np.abs(lddt(one, two) - lddt(two, one)).max() == pytest.approx(0.17, abs=0.005)

    def test_bad_calls(self) -> None:
        with pytest.raises(ValueError, match="give their pairs"):
            score_structures(TOY, TOY[:4])
        with pytest.raises(ValueError, match="beyond"):
            score_structures(TOY, TOY, pairs=[[0, 5]])
        with pytest.raises(ValueError, match="twice"):
            score_structures(TOY, TOY, pairs=[[0, 0], [1, 0]])
        with pytest.raises(StructureError, match="at least 3"):
            score_structures(TOY, TOY, pairs=[[0, 0], [1, 1]])


def test_block_is_small() -> None:
    assert coordinates.BLOCK * 8 <= 64e6  # bytes of one matrix
