"""The rotamer library, side-chain placement, and how the library is measured."""

import importlib.util
import json
import re
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mutscan.builders.chemistry import ATOMS, BACKBONE, BONDS, CHI, FLIPPED_CHI, SIDE_CHAIN, SYMMETRIC_CHI
from mutscan.builders.geometry import angle, dihedral, extend, superposition, wrap
from mutscan.builders.rotamers import (
    IDEAL,
    RotamerLibrary,
    ideal_side_chain,
    library,
    place_side_chain,
    search_side_chain,
)
from mutscan.errors import UsageError
from mutscan.residues import STANDARD
from mutscan.structures import Structure, read_structure
from tests.peptides import helix, residues_of
from tests.places import ROOT

WITH_CHI = [r for r in STANDARD if CHI[r]]
angles = st.floats(-180.0, 180.0)


def chi_of(residue: str, atoms: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([dihedral(*(atoms[name] for name in quad)) for quad in CHI[residue]])


def scene(structure: Structure, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[str]]:
    rows = structure.residue_index != index
    elements = [e for e, keep in zip(structure.element, rows, strict=True) if keep]
    return residues_of(structure)[index], structure.coord[rows], elements


# --- geometry


@given(angles, st.floats(0.9, 2.0), st.floats(60.0, 150.0))
def test_an_atom_goes_where_its_length_and_angles_say(torsion: float, length: float, bend: float) -> None:
    a, b, c = np.array([[1.0, 0.2, 0.1], [0.0, 0.0, 0.0], [0.3, 1.4, 0.5]])
    d = extend(a, b, c, length, bend, torsion)
    assert np.linalg.norm(d - c) == pytest.approx(length)
    assert float(angle(b, c, d)) == pytest.approx(bend)
    assert abs(float(wrap(dihedral(a, b, c, d) - torsion))) < 1e-6


def test_superposition_undoes_a_rigid_motion() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(6, 3))
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    Q *= np.sign(np.linalg.det(Q))
    rotation, translation = superposition(x, x @ Q + 5.0)
    np.testing.assert_allclose(x @ rotation + translation, x @ Q + 5.0, atol=1e-9)


# --- the library


def test_the_data_file_is_small_and_says_where_it_comes_from() -> None:
    text = files("mutscan.builders").joinpath("rotamers.json").read_bytes()
    assert len(text) < 200_000
    about = json.loads(text)["about"]
    assert "CC0" in about["source"]
    assert "Dunbrack" in about["method"]
    assert len(about["chains"]) > 100
    assert about["residues"] > 15_000
    assert re.fullmatch("[0-9a-f]{64}", about["data_sha256"])
    # None of the eleven wild types of Ssym, on which placement is judged.
    ssym = "1AMQ 1BNI 1CEY 1IHB 1IOB 1L63 1LZ1 1RN1 2LZM 2RN2 5PTI".split()
    assert not [name for name in about["chains"] if name[:4] in ssym]


def test_every_residue_has_sane_geometry() -> None:
    assert set(IDEAL) == set(STANDARD)
    for residue, atoms in IDEAL.items():
        assert set(atoms) == set(ATOMS[residue])
        for a, b in BONDS[residue]:
            length = np.linalg.norm(atoms[a] - atoms[b])
            limits = (1.70, 1.90) if "S" in a[0] + b[0] else (1.20, 1.58)
            assert limits[0] < length < limits[1], (residue, a, b, length)
        bonded = {frozenset(bond) for bond in BONDS[residue]}
        names = list(atoms)
        for k, a in enumerate(names):
            for b in names[k + 1 :]:
                if frozenset((a, b)) not in bonded:
                    assert np.linalg.norm(atoms[a] - atoms[b]) > 2.0, (residue, a, b)
        if residue != "G":  # L amino acids
            assert float(dihedral(atoms["C"], atoms["N"], atoms["CA"], atoms["CB"])) == pytest.approx(
                -122, abs=4
            )


def test_isoleucine_and_threonine_have_the_right_hand() -> None:
    for residue, one, other in (("I", "CG1", "CG2"), ("T", "OG1", "CG2")):
        atoms = IDEAL[residue]
        turn = wrap(
            dihedral(atoms["N"], atoms["CA"], atoms["CB"], atoms[other])
            - dihedral(atoms["N"], atoms["CA"], atoms["CB"], atoms[one])
        )
        assert float(turn) == pytest.approx(-122, abs=5)


def test_unknown_residues_have_no_geometry() -> None:
    with pytest.raises(KeyError):
        IDEAL["X"]


@given(st.sampled_from(WITH_CHI), st.none() | angles, st.none() | angles)
def test_probabilities_add_up(residue: str, phi: float | None, psi: float | None) -> None:
    p = library().probabilities(residue, phi, psi)
    assert (p > 0).all()
    assert p.sum() == pytest.approx(1.0)
    left_out = [1.0 - library().weight[residue][library().chi1_bin[residue] == b].sum() for b in range(3)]
    assert max(share for share in left_out if share < 1.0) < 0.03


def test_rotamers_follow_the_backbone_as_known() -> None:
    def chi1(residue: str, phi: float, psi: float) -> np.ndarray:
        p, bins = library().probabilities(residue, phi, psi), library().chi1_bin[residue]
        return np.array([p[bins == b].sum() for b in range(3)])

    # Valine in a helix: trans (CG1), and hardly ever the other two (Lovell 2000, Fig. 6).
    assert chi1("V", -63, -42)[1] > 0.75
    # Leucine: gauche- with trans chi2 and trans with gauche+ chi2 make up nearly everything.
    lib = library()
    p = lib.probabilities("L", None, None)
    main = [(-65, 175), (-177, 65)]
    share = sum(p[(np.abs(wrap(lib.chi["L"] - np.array(target))) < 30).all(axis=1)].sum() for target in main)
    assert share > 0.8
    # Phenylalanine in a helix avoids gauche+, which would run into the turn before.
    assert chi1("F", -63, -42)[0] < 0.1 < chi1("F", -120, 130)[0]


def test_symmetric_rings_and_carboxylates_are_counted_once() -> None:
    for residue, k in SYMMETRIC_CHI.items():
        chi = library().chi[residue][:, k]
        assert ((chi >= -16) & (chi < 166)).all()


def test_flips_share_their_shape() -> None:
    lib = library()
    for residue in FLIPPED_CHI:
        last = np.floor((lib.chi[residue][:, -1] + 15.0) % 360.0 / 30.0).astype(int)
        before = np.floor(lib.chi[residue][:, :-1] % 360.0 / 120.0).astype(int)
        weight = {
            (*a, b): w for a, b, w in zip(before.tolist(), last.tolist(), lib.weight[residue], strict=True)
        }
        for half in range(6):
            # How often the flip occurs depends on the last chi alone.
            ratio = [
                weight[(*key[:-1], half + 6)] / w
                for key, w in weight.items()
                if key[-1] == half and w > 0.01 and (*key[:-1], half + 6) in weight
            ]
            assert ratio, (residue, half)
            assert max(ratio) < 4.0 * min(ratio), (residue, half, ratio)


# --- placement


@pytest.fixture(scope="module")
def peptide() -> Structure:
    return helix("AAKLVFAEAW")


@pytest.mark.parametrize("residue", STANDARD)
def test_placed_residues_are_complete_and_ideal(peptide: Structure, residue: str) -> None:
    backbone, around, elements = scene(peptide, 4)
    placed = place_side_chain(residue, backbone, around, elements)
    assert set(placed) == set(ATOMS[residue])
    for name in BACKBONE:
        np.testing.assert_array_equal(placed[name], backbone[name])
    for a, b in BONDS[residue]:
        expected = np.linalg.norm(IDEAL[residue][a] - IDEAL[residue][b])
        # The ring of proline is closed by rotamers' means, hence not exactly.
        slack = 0.15 if residue == "P" else 0.05
        assert np.linalg.norm(placed[a] - placed[b]) == pytest.approx(expected, abs=slack), (a, b)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from("VLSKWN"), st.integers(0, 2**32 - 1))
def test_placement_moves_with_the_protein(residue: str, seed: int) -> None:
    peptide = helix("AAAAAAA")
    backbone, around, elements = scene(peptide, 3)
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    Q *= np.sign(np.linalg.det(Q))
    here = place_side_chain(residue, backbone, around, elements)
    there = place_side_chain(
        residue, {k: v @ Q + 7.0 for k, v in backbone.items()}, around @ Q + 7.0, elements
    )
    for name, xyz in here.items():
        np.testing.assert_allclose(xyz @ Q + 7.0, there[name], atol=1e-6)


def test_placement_is_the_same_every_time(peptide: Structure) -> None:
    backbone, around, elements = scene(peptide, 4)
    first, second = (place_side_chain("R", backbone, around, elements) for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_an_obstacle_is_avoided(peptide: Structure) -> None:
    backbone, around, elements = scene(peptide, 4)
    free = search_side_chain("C", backbone, around, elements)
    blocked = search_side_chain("C", backbone, np.vstack([around, free.atoms["SG"]]), [*elements, "C"])
    assert abs(float(wrap(blocked.chi[0] - free.chi[0]))) > 60
    assert blocked.energy > free.energy


def test_amides_turn_their_nitrogen_to_an_oxygen() -> None:
    peptide = helix("AAAAAAA")
    backbone, around, elements = scene(peptide, 3)
    free = search_side_chain("N", backbone, around, elements).atoms
    # A lone partner on the line from CG through each of the two far atoms.
    spots = [
        free[name] + 1.9 * (free[name] - free["CG"]) / np.linalg.norm(free[name] - free["CG"])
        for name in ("OD1", "ND2")
    ]
    for kinds in (["N", "O"], ["O", "N"]):
        placed = place_side_chain("N", backbone, np.vstack([around, *spots]), [*elements, *kinds])
        oxygen, nitrogen = spots[kinds.index("O")], spots[kinds.index("N")]
        assert np.linalg.norm(placed["ND2"] - oxygen) < np.linalg.norm(placed["ND2"] - nitrogen), kinds


def test_known_atoms_stay(peptide: Structure) -> None:
    backbone, around, elements = scene(peptide, 2)
    whole = residues_of(peptide)[2]
    turned = search_side_chain("K", backbone, around, elements).atoms
    known = {name: whole[name] for name in ("CB", "CG", "CD")}
    placed = search_side_chain("K", backbone, around, elements, known=known).atoms
    assert set(placed) == set(ATOMS["K"])
    for name, xyz in known.items():
        np.testing.assert_array_equal(placed[name], xyz)
    assert np.linalg.norm(placed["CE"] - placed["CD"]) == pytest.approx(1.52, abs=0.1)
    assert set(turned) == set(placed)


def test_glycine_is_backbone_and_nothing_needs_the_oxygen(peptide: Structure) -> None:
    backbone, around, elements = scene(peptide, 4)
    assert set(place_side_chain("G", backbone, around, elements)) == set(BACKBONE)
    bare = {name: backbone[name] for name in ("N", "CA", "C")}
    assert set(place_side_chain("L", bare, around, elements)) == {*bare, *SIDE_CHAIN["L"]}
    assert set(place_side_chain("L", bare, np.empty((0, 3)), [])) == {*bare, *SIDE_CHAIN["L"]}


def test_ideal_side_chain_looks_at_nothing(peptide: Structure) -> None:
    backbone, _, _ = scene(peptide, 4)
    placed = ideal_side_chain("F", backbone)
    np.testing.assert_allclose(chi_of("F", placed), chi_of("F", dict(IDEAL["F"])), atol=5.0)


def test_side_chains_taken_out_of_crystals_go_back(shared: Path) -> None:
    good = []
    for name in ("1FKJ_A", "1SHGA", "2TRXA"):
        folder = shared / "data" / ("wild_types" if "_" in name else "variants/stability_structures")
        structure = read_structure(folder / f"{name}.pdb.gz")
        residues = residues_of(structure)
        for i in range(0, len(structure), 2):
            residue = structure.sequence[i]
            if residue in "AGP" or any(a not in residues[i] for a in ATOMS[residue]):
                continue
            placed = place_side_chain(residue, *scene(structure, i))
            good.append(abs(float(wrap(chi_of(residue, placed) - chi_of(residue, residues[i]))[0])) < 40)
    assert len(good) > 80
    assert np.mean(good) > 0.75


# --- derivation


def _load_derivation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive", ROOT / "training" / "rotamers" / "derive.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["derive"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


derivation = _load_derivation()


def fabricated_crystals(n: int = 12) -> list[Structure]:
    """Helices of shuffled sequences, so unrelated, with B factors that vary."""
    rng = np.random.default_rng(5)
    chains = []
    for k in range(n):
        sequence = "A" + "".join(rng.permutation(list(STANDARD))) + "A"
        structure = helix(sequence, name=f"{k + 1}ABCA")
        structure.b_factor[:] = np.linspace(10.0, 35.0, len(structure.b_factor))
        chains.append(structure)
    return chains


def test_the_library_is_measured_from_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivation, "MIN_SAMPLES", 5)
    monkeypatch.setattr(derivation, "UNRELATED_BITS", 40.0)
    crystals = fabricated_crystals()
    poor = helix("ACDEFGHIKLMNPQRSTVWY", name="9NMRA")  # constant B factors
    document = derivation.derive([*crystals, poor])
    text = derivation.to_text(document)
    assert text == derivation.to_text(derivation.derive([*reversed(crystals), poor]))
    measured = RotamerLibrary.from_json(text)
    assert "9NMRA" not in measured.about["chains"]
    assert measured.about["residues"] == sum(len(c) for c in crystals)
    # Helices were made with the shipped geometry, so that is what comes out.
    shipped = library()
    for residue in STANDARD:
        np.testing.assert_allclose(
            measured.geometry[residue][:, :2], shipped.geometry[residue][:, :2], atol=1.5
        )
    assert measured.probabilities("V", -63, -42).sum() == pytest.approx(1.0, abs=0.02)
    observed = [chi_of("L", residues_of(c)[c.sequence.index("L")])[0] for c in crystals]
    favoured = measured.chi["L"][int(np.argmax(measured.probabilities("L", -63, -42)))][0]
    assert np.median(np.abs(wrap(np.array(observed) - favoured))) < 40


def test_relatives_of_the_excluded_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    crystals = fabricated_crystals(4)
    monkeypatch.setattr(derivation, "UNRELATED_BITS", 40.0)
    kept, n_excluded = derivation.unrelated(crystals, [crystals[2].sequence])
    assert n_excluded == 1
    assert [c.name for c in kept] == ["1ABCA", "2ABCA", "4ABCA"]
    twice, _ = derivation.unrelated([*crystals, crystals[0]], [])
    assert len(twice) == 4


def test_too_few_residues_make_no_library() -> None:
    with pytest.raises(UsageError, match="too few"):
        derivation.derive(fabricated_crystals(2))
    with pytest.raises(UsageError, match="no crystal structure"):
        derivation.derive([])


def test_disordered_atoms_are_not_trusted() -> None:
    structure = fabricated_crystals(1)[0]
    structure.b_factor[structure.residue_index == 3] = 60.0
    assert len(derivation.samples_of(structure)) == len(structure) - 1


def test_angles_are_averaged_round_the_circle() -> None:
    assert abs(float(wrap(derivation.circular_mean(np.array([170.0, -170.0])) - 180.0))) < 1e-9


def test_symmetric_chi_are_folded() -> None:
    sample = derivation.samples_of(fabricated_crystals(1)[0])
    for residue, k in SYMMETRIC_CHI.items():
        chi = derivation.chi_angles(residue, [s for s in sample if s.residue == residue])[:, k]
        assert ((chi >= -15) & (chi < 165)).all()


@pytest.mark.slow
def test_the_shipped_library_is_what_the_data_give(shared: Path, tmp_path: Path) -> None:
    data = shared / "data"
    names = {
        line.split(",")[1] for line in (data / "variants" / "ssym_pairs.csv").read_text().splitlines()[1:]
    }
    derivation.main(
        [
            *(
                str(data / f)
                for f in ("wild_types", "variants/stability_structures", "variants/labelled_structures")
            ),
            "--exclude",
            *(str(data / "variants" / "ssym" / f"{name}.pdb.gz") for name in sorted(names)),
            "--out",
            str(tmp_path / "rotamers.json"),
        ]
    )
    shipped = files("mutscan.builders").joinpath("rotamers.json").read_text(encoding="utf-8")
    assert (tmp_path / "rotamers.json").read_text(encoding="utf-8") == shipped


def test_chi1_tables_are_probabilities() -> None:
    for table in library().chi1.values():
        assert table.shape == (12, 12, 3)
        np.testing.assert_allclose(table.sum(axis=2), 1.0, atol=2e-3)
