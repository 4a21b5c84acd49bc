"""Restrained rebuild: at rest without an exchange, local and bitwise reproducible with one."""

import gzip
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mutscan.builders import Exchange, MutantBuilder
from mutscan.builders.chemistry import ATOMS, BONDS
from mutscan.builders.geometry import dihedral
from mutscan.builders.restraints import Atoms, derive, find_bonds, stray_forces
from mutscan.builders.template import TemplateBuilder
from mutscan.errors import BuildError, UsageError
from mutscan.structures import Structure, read_structure
from tests.peptides import chain, helix, part, residues_of, without
from tests.places import ROOT

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLEDW"
SITE = 9  # R


def prepare(structure: Structure, tmp_path: Path, **options):
    return TemplateBuilder(**options).prepare(structure, tmp_path)


def atoms_at(structure: Structure, index: int) -> dict[str, np.ndarray]:
    rows = structure.atoms_of(index)
    return dict(zip(structure.atom_name[rows], structure.coord[rows], strict=True))


def wild_type_atoms(structure: Structure) -> Atoms:
    n = len(structure.coord)
    return Atoms(
        residue=structure.residue_index,
        name=structure.atom_name,
        element=structure.element,
        start=structure.coord,
        rest=structure.coord,
        row=np.arange(n),
        moves=np.ones(n, dtype=bool),
    )


@pytest.fixture(scope="module")
def peptide():
    return helix(SEQUENCE, first=101)


@pytest.fixture(scope="module")
def globin():
    """Chain A of PDB entry 2GTL, 147 residues, from the installed tmtools."""
    tmtools = pytest.importorskip("tmtools")
    return read_structure(Path(tmtools.__file__).parent / "data" / "2gtl.pdb", chain="A")


def test_protocol(peptide, tmp_path):
    builder = TemplateBuilder()
    assert isinstance(builder, MutantBuilder)
    assert builder.name == "template"
    assert json.loads(json.dumps(builder.settings())) == builder.settings()
    json.dumps(TemplateBuilder(sphere=np.inf).settings(), allow_nan=False)
    prepared = pickle.loads(pickle.dumps(builder.prepare(peptide, tmp_path)))
    built = prepared.build([Exchange(SITE, "W")])
    assert built.structure.sequence == SEQUENCE[:SITE] + "W" + SEQUENCE[SITE + 1 :]
    assert built.structure.numbers == peptide.numbers
    assert built.structure.chain_id == peptide.chain_id
    assert built.control_seconds == 0.0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sphere", [25.0, 9.0, np.inf])
def test_wild_type_to_wild_type_moves_nothing(globin, tmp_path, sphere):
    prepared = prepare(globin, tmp_path, sphere=sphere)
    for index in (0, 40, 100, len(globin) - 1):
        built = prepared.build([Exchange(index, globin.sequence[index])])
        np.testing.assert_array_equal(built.structure.coord, globin.coord)
        assert built.structure.atom_name == globin.atom_name
        # OpenMM's forces are single precision.
        assert built.energy == pytest.approx(0.0, abs=1e-3)


def test_wild_type_is_a_minimum_and_not_just_where_nothing_was_tried(globin, tmp_path, monkeypatch):
    """Started elsewhere, an unmutated protein goes back to the wild type."""
    from mutscan.builders import template

    prepared = prepare(globin, tmp_path, sphere=np.inf)
    atoms = wild_type_atoms(globin)
    rng = np.random.default_rng(3)
    shaken = Atoms(
        atoms.residue,
        atoms.name,
        atoms.element,
        globin.coord + rng.normal(0.0, 0.05, globin.coord.shape),
        atoms.rest,
        atoms.row,
        atoms.moves,
    )
    coord, strain = template._relax(shaken, derive(shaken, globin.sequence, []), prepared.stray)
    before = np.sqrt(((shaken.start - globin.coord) ** 2).sum(axis=1).mean())
    after = np.sqrt(((coord - globin.coord) ** 2).sum(axis=1).mean())
    assert after < 0.5 * before
    assert strain < 5.0


def test_stray_forces_are_those_of_openmm(peptide):
    """The forces taken off are what OpenMM would compute for the same contacts."""
    import openmm
    from openmm import unit

    from mutscan.builders import template

    atoms = wild_type_atoms(peptide)
    terms = derive(atoms, peptide.sequence, [])
    system = openmm.System()
    for _ in range(len(atoms)):
        system.addParticle(14.0)
    system.addForce(template._contacts(openmm, atoms, terms))
    context = openmm.Context(
        system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    context.setPositions(peptide.coord / 10.0)
    forces = context.getState(getForces=True).getForces(asNumpy=True)
    expected = forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    np.testing.assert_allclose(stray_forces(peptide), expected, atol=1e-6 + 1e-9 * np.abs(expected).max())
    np.testing.assert_allclose(stray_forces(peptide).sum(axis=0), 0.0, atol=1e-9)


def test_stray_forces_of_a_part_add_up(peptide):
    rows = np.flatnonzero(peptide.residue_index == SITE)
    left = np.flatnonzero(peptide.residue_index != SITE)
    rest = stray_forces(peptide) - stray_forces(peptide, rows)
    np.testing.assert_allclose(rest[rows], 0.0, atol=1e-10)
    alone = part(peptide, [i for i in range(len(peptide)) if i != SITE])
    np.testing.assert_allclose(rest[left], stray_forces(alone), atol=1e-10)


@pytest.mark.parametrize("residue", sorted(set(ATOMS) - {"R"}))
def test_every_residue_is_built_whole_and_with_sound_geometry(peptide, tmp_path, residue):
    built = prepare(peptide, tmp_path).build([Exchange(SITE, residue)])
    site = atoms_at(built.structure, SITE)
    assert sorted(site) == sorted(ATOMS[residue])
    for a, b in BONDS[residue]:
        assert 1.1 < np.linalg.norm(site[a] - site[b]) < 1.95, (a, b)
    if residue != "G":
        # L, not D, as before.
        old = atoms_at(peptide, SITE)
        handedness = [np.sign(dihedral(r["N"], r["C"], r["CB"], r["CA"])) for r in (old, site)]
        assert handedness[0] == handedness[1]
    previous, following = (atoms_at(built.structure, i) for i in (SITE - 1, SITE + 1))
    assert np.linalg.norm(previous["C"] - site["N"]) == pytest.approx(1.33, abs=0.08)
    assert np.linalg.norm(site["C"] - following["N"]) == pytest.approx(1.33, abs=0.08)
    omega = dihedral(previous["CA"], previous["C"], site["N"], site["CA"])
    assert abs(omega) > 150.0


def test_bitwise_reproducible(globin, tmp_path):
    first = prepare(globin, tmp_path).build([Exchange(60, "W")])
    other = prepare(globin, tmp_path)
    other.build([Exchange(20, "P")])
    second = other.build([Exchange(60, "W")])
    np.testing.assert_array_equal(first.structure.coord, second.structure.coord)
    assert first.energy == second.energy


def test_reproducible_in_another_process_with_other_threads(peptide, tmp_path):
    here = prepare(peptide, tmp_path).build([Exchange(SITE, "W")])
    program = (
        "import sys, pickle, hashlib\n"
        "from mutscan.builders import Exchange\n"
        "prepared = pickle.load(open(sys.argv[1], 'rb'))\n"
        f"built = prepared.build([Exchange({SITE}, 'W')])\n"
        "print(built.structure.coord.tobytes().hex()[:4000])\n"
    )
    path = tmp_path / "prepared.pickle"
    path.write_bytes(pickle.dumps(prepare(peptide, tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "OPENMM_CPU_THREADS": "3", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == here.structure.coord.tobytes().hex()[:4000]


def test_response_is_local_and_hardly_depends_on_the_sphere(globin, tmp_path):
    whole = prepare(globin, tmp_path, sphere=np.inf)
    small = prepare(globin, tmp_path, sphere=18.0)
    for index, residue in ((35, "W"), (27, "P")):
        a = whole.build([Exchange(index, residue)]).structure.ca - globin.ca
        b = small.build([Exchange(index, residue)]).structure.ca - globin.ca
        distance = np.linalg.norm(globin.ca - globin.ca[index], axis=1)
        assert (b[distance > 18.0] == 0.0).all()
        assert np.linalg.norm(a - b, axis=1).max() < 0.08
        assert np.linalg.norm(a, axis=1)[distance > 18.0].max() < 0.05
        assert np.linalg.norm(a[index]) > 0.02


def test_frame_does_not_drift_without_an_anchor(globin, tmp_path):
    built = prepare(globin, tmp_path, sphere=np.inf).build([Exchange(27, "P")])
    shift = built.structure.ca - globin.ca
    assert np.linalg.norm(shift.mean(axis=0)) < 0.02


def test_severity_orders_the_response(globin, tmp_path):
    prepared = prepare(globin, tmp_path)

    def largest(index: int, residue: str) -> float:
        moved = prepared.build([Exchange(index, residue)]).structure.ca
        return float(np.linalg.norm(moved - globin.ca, axis=1).max())

    buried = [i for i in _burial(globin) if globin.sequence[i] in "AGSV"][:2]
    exposed = [i for i in _burial(globin)[::-1] if globin.sequence[i] in "KED"][:3]
    severe = [largest(i, residue) for i in buried for residue in "WP"]
    mild = [largest(i, {"K": "R", "E": "Q", "D": "N"}[globin.sequence[i]]) for i in exposed]
    assert np.median(severe) > 2.0 * np.median(mild)
    assert max(*severe, *mild) < 1.5


def _burial(structure: Structure) -> list[int]:
    near = np.linalg.norm(structure.ca[:, None] - structure.ca[None], axis=2) < 10.0
    return np.argsort(-near.sum(axis=1), kind="stable").tolist()


def test_several_exchanges_are_built_jointly(peptide, tmp_path):
    prepared = prepare(peptide, tmp_path)
    pair = [Exchange(SITE, "W"), Exchange(SITE + 4, "W")]
    built = prepared.build(pair)
    assert built.structure.sequence[SITE] == built.structure.sequence[SITE + 4] == "W"
    assert built.structure.coord.tobytes() == prepared.build(pair[::-1]).structure.coord.tobytes()
    one, two = atoms_at(built.structure, SITE), atoms_at(built.structure, SITE + 4)
    side = [
        np.array([x for name, x in atoms.items() if name not in "N CA C O".split()]) for atoms in (one, two)
    ]
    assert np.linalg.norm(side[0][:, None] - side[1][None], axis=2).min() > 2.8


def test_unknown_residue_keeps_its_shape(tmp_path):
    odd = helix("MKTAYIAKXRQISFVKSH")
    built = prepare(odd, tmp_path).build([Exchange(9, "W")])
    before, after = (np.array(list(atoms_at(s, 8).values())) for s in (odd, built.structure))
    distances = [np.linalg.norm(x[:, None] - x[None], axis=2) for x in (before, after)]
    np.testing.assert_allclose(distances[0], distances[1], atol=0.02)
    assert built.structure.sequence[8] == "X"
    same = prepare(odd, tmp_path).build([Exchange(9, "R")])
    np.testing.assert_array_equal(same.structure.coord, odd.coord)


def test_unknown_residue_can_be_exchanged(tmp_path):
    built = prepare(helix("MKTAYIAKXRQISFVKSH"), tmp_path).build([Exchange(8, "L")])
    assert sorted(atoms_at(built.structure, 8)) == sorted(ATOMS["L"])


def test_missing_atoms_and_gaps_are_no_obstacle(peptide, tmp_path):
    torn = without(peptide, {(7, "CE"), (7, "NZ"), (8, "O"), (10, "CB"), (11, "N"), (12, "C")})
    torn = part(torn, [i for i in range(len(torn)) if i not in (3, 4)])
    index = SITE - 2
    assert torn.sequence[index] == "R"
    prepared = prepare(torn, tmp_path)
    built = prepared.build([Exchange(index, "W")])
    assert np.isfinite(built.structure.coord).all()
    assert np.linalg.norm(built.structure.ca - torn.ca, axis=1).max() < 1.0
    same = prepared.build([Exchange(index, "R")])
    np.testing.assert_array_equal(same.structure.coord, torn.coord)


def test_a_gap_is_not_bridged(peptide):
    torn = part(peptide, [i for i in range(len(peptide)) if i not in (3, 4)])
    atoms = wild_type_atoms(torn)
    bonds = find_bonds(atoms, torn.sequence)
    assert not any({atoms.residue[a], atoms.residue[b]} == {2, 3} for a, b in bonds)
    assert any({atoms.residue[a], atoms.residue[b]} == {3, 4} for a, b in bonds)


def test_ca_only_residues_are_carried_along(peptide, tmp_path):
    residues = residues_of(peptide)
    thin = chain(
        SEQUENCE, [{"CA": r["CA"]} if i in (5, 6, 14) else r for i, r in enumerate(residues)], first=101
    )
    built = prepare(thin, tmp_path).build([Exchange(SITE, "W")])
    assert np.isfinite(built.structure.ca).all()
    with pytest.raises(BuildError, match=r"residue I106 .* has no N, C; expected N, CA and C"):
        prepare(thin, tmp_path).build([Exchange(5, "W")])
    trace = chain(SEQUENCE, [{"CA": r["CA"]} for r in residues])
    with pytest.raises(BuildError, match="expected backbone atoms"):
        prepare(trace, tmp_path)


def test_disulfide_holds_until_its_cysteine_is_exchanged(peptide, tmp_path):
    residues = residues_of(helix("MKTAYCAKQCQISFVKSH"))
    middle = (residues[5]["SG"] + residues[9]["SG"]) / 2.0
    axis = residues[9]["SG"] - residues[5]["SG"]
    axis /= np.linalg.norm(axis)
    residues[5]["SG"], residues[9]["SG"] = middle - 1.03 * axis, middle + 1.03 * axis
    bridged = chain("MKTAYCAKQCQISFVKSH", residues)
    atoms = wild_type_atoms(bridged)
    named = {
        (atoms.name[a], atoms.name[b], int(atoms.residue[a]), int(atoms.residue[b]))
        for a, b in find_bonds(atoms, bridged.sequence)
    }
    assert ("SG", "SG", 5, 9) in named
    prepared = prepare(bridged, tmp_path)
    kept = prepared.build([Exchange(13, "W")]).structure
    assert np.linalg.norm(atoms_at(kept, 5)["SG"] - atoms_at(kept, 9)["SG"]) == pytest.approx(2.06, abs=0.05)
    assert "SG" not in atoms_at(prepared.build([Exchange(9, "S")]).structure, 9)


def test_ends_of_the_chain(peptide, tmp_path):
    residues = residues_of(peptide)
    last = residues[-1]
    last["OXT"] = last["C"] + (last["C"] - last["CA"]) * 0.8
    ended = chain(SEQUENCE, residues)
    prepared = prepare(ended, tmp_path)
    for index, residue in ((0, "W"), (0, "P"), (len(SEQUENCE) - 1, "A")):
        built = prepared.build([Exchange(index, residue)])
        assert built.structure.sequence[index] == residue
        assert np.isfinite(built.structure.coord).all()
    assert "OXT" in atoms_at(built.structure, len(SEQUENCE) - 1)


def test_impossible_exchanges_are_refused(peptide, tmp_path):
    prepared = prepare(peptide, tmp_path)
    for wrong in ([], [Exchange(99, "A")], [Exchange(1, "A"), Exchange(1, "G")], [Exchange(1, "X")]):
        with pytest.raises(BuildError):
            prepared.build(wrong)
    with pytest.raises(UsageError, match="sphere"):
        TemplateBuilder(sphere=0.0)


def test_a_clash_that_stays_is_told(peptide, tmp_path, monkeypatch):
    from mutscan.builders import template

    relax = template._relax

    def into_a_neighbour(atoms, terms, stray):
        coord, strain = relax(atoms, terms, stray)
        tip = np.flatnonzero((atoms.residue == SITE) & (np.array(atoms.name) == "CH2"))
        other = np.flatnonzero((atoms.residue == SITE + 4) & (np.array(atoms.name) == "CB"))
        coord[tip] = coord[other] + [1.5, 0.0, 0.0]
        return coord, strain

    prepared = prepare(peptide, tmp_path)
    sound = prepared.build([Exchange(SITE, "W")])
    assert not sound.low_confidence
    assert sound.notes == ()
    monkeypatch.setattr(template, "_relax", into_a_neighbour)
    built = prepared.build([Exchange(SITE, "W")])
    assert built.low_confidence
    assert any("Å from another atom" in note for note in built.notes)


def test_result_that_is_no_number_is_refused(peptide, tmp_path, monkeypatch):
    from mutscan.builders import template

    monkeypatch.setattr(template, "_relax", lambda atoms, terms, stray: (atoms.start * np.nan, 0.0))
    with pytest.raises(BuildError, match="finite"):
        prepare(peptide, tmp_path).build([Exchange(SITE, "W")])


def test_place_in_space_does_not_matter(peptide, tmp_path):
    """Files far from the origin are as good as others."""
    away = np.array([900.0, -900.0, 900.0])
    far = chain(SEQUENCE, [{n: x + away for n, x in r.items()} for r in residues_of(peptide)])
    near = prepare(peptide, tmp_path).build([Exchange(SITE, "W")]).structure.ca
    moved = prepare(far, tmp_path).build([Exchange(SITE, "W")]).structure.ca
    np.testing.assert_allclose(moved - away, near, atol=0.05)
    same = prepare(far, tmp_path).build([Exchange(SITE, SEQUENCE[SITE])]).structure
    np.testing.assert_array_equal(same.coord, far.coord)


@pytest.mark.slow
def test_cost_hardly_grows_with_length(shared, tmp_path):
    seconds = {}
    for name in ("1BTA_A", "E9PWF9"):
        with gzip.open(shared / "data" / "wild_types" / f"{name}.pdb.gz") as stream:
            (tmp_path / f"{name}.pdb").write_bytes(stream.read())
        structure = read_structure(tmp_path / f"{name}.pdb")
        prepared = prepare(structure, tmp_path)
        site = _burial(structure)[0]
        prepared.build([Exchange(site, "F")])
        start = time.process_time()
        prepared.build([Exchange(site, "W")])
        seconds[len(structure)] = time.process_time() - start
    (short, fast), (long, slow) = sorted(seconds.items())
    assert slow / fast < long / short
