"""The default backend: what it builds, that it always builds the same, and what it refuses."""

import dataclasses
import json
import pickle
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from mutscan.builders import Exchange, MutantBuilder
from mutscan.builders.chemistry import ATOMS, BONDS
from mutscan.builders.completion import CompleteChain, complete
from mutscan.builders.hydrogens import HYDROGENS, add_hydrogens, histidine_nitrogen
from mutscan.builders.openmm import OpenMMBuilder, PreparedOpenMM
from mutscan.builders.relax import load_relaxed
from mutscan.builders.subsystem import CAP, cut_out, zone_around
from mutscan.errors import BuildError, RunFolderError
from mutscan.residues import STANDARD, THREE_LETTER
from mutscan.structures import Structure, read_structure
from tests.peptides import chain, helix, part, residues_of, without
from tests.places import ROOT

SEQUENCE = "AEAALKAKLVSFAEMAKQHAT"


@pytest.fixture(scope="module")
def peptide() -> Structure:
    return helix(SEQUENCE, first=5)


@pytest.fixture(scope="module")
def prepared(peptide: Structure, tmp_path_factory: pytest.TempPathFactory) -> PreparedOpenMM:
    return OpenMMBuilder().prepare(peptide, tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def globin() -> Structure:
    """Chain A of 2GTL, 147 residues."""
    return read_structure(ROOT / "examples" / "globin" / "wild_type.cif")


@pytest.fixture(scope="module")
def prepared_globin(globin: Structure, tmp_path_factory: pytest.TempPathFactory) -> PreparedOpenMM:
    return OpenMMBuilder().prepare(globin, tmp_path_factory.mktemp("globin"))


def bonded_pair(apart: float = 2.05) -> Structure:
    """Two helices side by side, the sulfurs of their cysteines `apart` Å from each other."""
    one = helix("AAAACAAAA")
    residues = residues_of(one)
    sulfur = residues[4]["SG"]
    centre = np.mean([r["CA"] for r in residues], axis=0)
    outward = (sulfur - centre) / np.linalg.norm(sulfur - centre)
    pivot = sulfur + apart / 2.0 * outward
    # Half a turn about an axis across: the second helix looks back at the first.
    across = np.cross(outward, [0.3, 0.5, 0.81])
    across /= np.linalg.norm(across)

    def turned(xyz: np.ndarray) -> np.ndarray:
        x = xyz - pivot
        return pivot + 2.0 * (x @ across) * across - x

    other = [{name: turned(xyz) for name, xyz in residue.items()} for residue in residues]
    return chain("AAAACAAAA" * 2, [*residues, *other], name="bridge")


def same(a: Structure, b: Structure) -> bool:
    return a.sequence == b.sequence and a.atom_name == b.atom_name and np.array_equal(a.coord, b.coord)


# --- the contract


def test_it_is_a_builder(prepared: PreparedOpenMM) -> None:
    builder = OpenMMBuilder()
    assert isinstance(builder, MutantBuilder)
    assert builder.name == "openmm"
    assert json.loads(json.dumps(dict(builder.settings()))) == dict(builder.settings())
    assert builder.settings() != OpenMMBuilder(control=False).settings()
    assert pickle.loads(pickle.dumps(builder)) == builder
    assert pickle.loads(pickle.dumps(prepared)).digest == prepared.digest


def test_importing_it_loads_no_force_field_library() -> None:
    code = "import sys, mutscan.builders.openmm; print({'openmm', 'pdbfixer', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "set()"


def test_the_mutant_is_the_wild_type_but_for_the_response(
    globin: Structure, prepared_globin: PreparedOpenMM
) -> None:
    site = 65
    built = prepared_globin.build([Exchange(site, "W")])
    mutant = built.structure
    assert mutant.sequence == globin.sequence[:site] + "W" + globin.sequence[site + 1 :]
    assert mutant.numbers == globin.numbers
    assert mutant.chain_id == globin.chain_id
    assert set(mutant.element) <= {"C", "N", "O", "S"}
    before, after = residues_of(globin), residues_of(mutant)
    zone = zone_around(prepared_globin.chain, (site,))
    moved = 0
    for i in range(len(globin)):
        if i == site:
            assert list(after[i]) == list(ATOMS["W"])
            continue
        assert list(after[i]) == list(before[i])
        shift = max(np.linalg.norm(after[i][a] - before[i][a]) for a in before[i])
        moved += shift > 0
        if i not in zone.movable:
            assert shift == 0.0
    assert 5 < moved <= len(zone.movable)
    assert np.linalg.norm(mutant.ca - globin.ca, axis=1).max() < 1.5
    assert built.energy is not None
    assert built.seconds > 0
    assert built.control_seconds > 0
    check_bonds(mutant, site)


def check_bonds(mutant: Structure, index: int) -> None:
    atoms = residues_of(mutant)
    for a, b in BONDS[mutant.sequence[index]]:
        limits = (1.70, 1.95) if "S" in (a[0], b[0]) else (1.15, 1.65)
        length = np.linalg.norm(atoms[index][a] - atoms[index][b])
        assert limits[0] < length < limits[1], (mutant.sequence[index], a, b, length)
    for i, j in ((index - 1, index), (index, index + 1)):
        if i >= 0 and j < len(atoms):
            assert 1.2 < np.linalg.norm(atoms[i]["C"] - atoms[j]["N"]) < 1.5


@pytest.mark.parametrize("residue", sorted(set(STANDARD) - {SEQUENCE[10]}))
def test_every_residue_can_be_built(prepared: PreparedOpenMM, residue: str) -> None:
    built = prepared.build([Exchange(10, residue)])
    assert np.isfinite(built.structure.coord).all()
    check_bonds(built.structure, 10)
    assert not built.low_confidence, built.notes


@pytest.mark.parametrize("index", range(0, len(SEQUENCE), 2))
def test_every_residue_can_be_replaced(prepared: PreparedOpenMM, index: int) -> None:
    residue = "G" if SEQUENCE[index] != "G" else "A"
    built = prepared.build([Exchange(index, residue)])
    check_bonds(built.structure, index)


def test_an_exchange_for_itself_changes_nothing(prepared: PreparedOpenMM, peptide: Structure) -> None:
    built = prepared.build([Exchange(4, SEQUENCE[4])])
    assert same(built.structure, peptide)
    assert built.energy == 0.0


def test_the_wild_type_run_as_a_mutant_moves_nothing(prepared: PreparedOpenMM) -> None:
    """The control of the control: the same molecule twice gives the same bits."""
    zone = zone_around(prepared.chain, (10,))
    one, two = (prepared._relax(cut_out(prepared.chain, zone, {}), "twice") for _ in range(2))
    assert one.energy == two.energy
    assert all(np.array_equal(one.coord[key], two.coord[key]) for key in one.coord)
    assert prepared._response(zone, {}, one, two).coord.tobytes() == prepared.wild_type.coord.tobytes()


# --- always the same


def build_in_worker(prepared: PreparedOpenMM) -> bytes:
    return prepared.build([Exchange(10, "F")]).structure.coord.tobytes()


def test_mutants_do_not_depend_on_order_cache_or_process(peptide: Structure, tmp_path: Path) -> None:
    alone = OpenMMBuilder().prepare(peptide, tmp_path / "a").build([Exchange(10, "F")])
    second = OpenMMBuilder().prepare(peptide, tmp_path / "b")
    second.build([Exchange(4, "W")])
    second.build([Exchange(10, "D")])
    later = second.build([Exchange(10, "F")])
    assert later.control_seconds == 0.0 < alone.control_seconds
    assert same(alone.structure, later.structure)
    assert alone.energy == later.energy
    with get_context("spawn").Pool(1) as pool:
        fresh = OpenMMBuilder().prepare(peptide, tmp_path / "c")
        assert pool.apply(build_in_worker, (fresh,)) == alone.structure.coord.tobytes()


def test_controls_are_kept_by_site(peptide: Structure, tmp_path: Path) -> None:
    prepared = OpenMMBuilder().prepare(peptide, tmp_path)
    first = prepared.build([Exchange(10, "F")])
    files = list(tmp_path.iterdir())
    assert [f.suffix for f in files] == [".npz"]  # and no temporary file beside it
    assert prepared.build([Exchange(10, "D")]).control_seconds == 0.0
    assert len(list(tmp_path.iterdir())) == 1
    files[0].write_bytes(files[0].read_bytes()[:200])  # cut short
    assert load_relaxed(files[0]) is None
    again = prepared.build([Exchange(10, "F")])
    assert again.control_seconds > 0
    assert same(first.structure, again.structure)
    # Another start or structure has another control.
    assert OpenMMBuilder(seed=1).prepare(peptide, tmp_path).digest != prepared.digest
    moved = dataclasses.replace(peptide, coord=peptide.coord + 1e-6)
    assert OpenMMBuilder().prepare(moved, tmp_path).digest != prepared.digest


def test_a_scratch_folder_that_cannot_be_written_is_named(peptide: Structure, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RunFolderError, match="cannot keep the wild-type control"):
        OpenMMBuilder().prepare(peptide, blocked).build([Exchange(10, "F")])


def test_a_seed_moves_the_start_a_little(
    peptide: Structure, prepared: PreparedOpenMM, tmp_path: Path
) -> None:
    plain = prepared.build([Exchange(10, "F")]).structure
    one, again, two = (
        OpenMMBuilder(seed=seed).prepare(peptide, tmp_path / name).build([Exchange(10, "F")]).structure
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert same(one, again)
    assert not same(one, plain)
    assert not same(one, two)
    assert np.abs(one.ca - plain.ca).max() < 0.5


def test_without_control_the_minimised_structure_comes_out(peptide: Structure, tmp_path: Path) -> None:
    prepared = OpenMMBuilder(control=False).prepare(peptide, tmp_path)
    built = prepared.build([Exchange(10, "A")])
    assert built.energy is None
    assert built.control_seconds == 0.0
    assert not list(tmp_path.iterdir())
    # The force field moves any structure: this is what the control takes off.
    raw = np.linalg.norm(built.structure.ca - peptide.ca, axis=1)
    response = OpenMMBuilder().prepare(peptide, tmp_path).build([Exchange(10, "A")]).structure
    assert np.median(raw) > np.median(np.linalg.norm(response.ca - peptide.ca, axis=1))


# --- several exchanges


def test_several_exchanges_are_modelled_together(prepared: PreparedOpenMM, tmp_path: Path) -> None:
    both = prepared.build([Exchange(6, "F"), Exchange(10, "W")])
    reversed_order = prepared.build([Exchange(10, "W"), Exchange(6, "F")])
    assert same(both.structure, reversed_order.structure)
    assert reversed_order.control_seconds == 0.0
    assert both.structure.sequence == SEQUENCE[:6] + "F" + SEQUENCE[7:10] + "W" + SEQUENCE[11:]
    alone = prepared.build([Exchange(10, "W")]).structure
    assert not np.array_equal(
        alone.coord[alone.atoms_of(10)], both.structure.coord[both.structure.atoms_of(10)]
    )
    for index in (6, 10):
        check_bonds(both.structure, index)


def test_far_exchanges_and_many_exchanges(globin: Structure, prepared_globin: PreparedOpenMM) -> None:
    built = prepared_globin.build([Exchange(5, "A"), Exchange(100, "A")])
    assert built.structure.sequence[5] == built.structure.sequence[100] == "A"
    zone = zone_around(prepared_globin.chain, (5, 100))
    for site in (5, 100):
        assert zone_around(prepared_globin.chain, (site,)).included <= zone.included


def test_many_exchanges_in_one_mutant(prepared: PreparedOpenMM) -> None:
    many = prepared.build([Exchange(i, "G") for i in range(1, len(SEQUENCE))])
    assert many.structure.sequence == "A" + "G" * (len(SEQUENCE) - 1)
    assert all(len(f.name) < 120 for f in prepared.scratch.iterdir())


# --- what is taken in


def test_bad_requests_are_refused(prepared: PreparedOpenMM) -> None:
    with pytest.raises(BuildError, match="not one of the 20"):
        prepared.build([Exchange(3, "X")])
    with pytest.raises(BuildError, match="outside"):
        prepared.build([Exchange(99, "A")])
    with pytest.raises(BuildError, match="twice"):
        prepared.build([Exchange(3, "G"), Exchange(3, "V")])
    with pytest.raises(BuildError, match="no residue"):
        prepared.build([])


def test_a_ca_trace_is_refused_by_name(tmp_path: Path) -> None:
    trace = chain("AAAA", [{"CA": r["CA"]} for r in residues_of(helix("AAAA"))], name="trace")
    with pytest.raises(BuildError, match=r"trace: no residue has N, CA and C \(A1 has no N and no C atom\)"):
        OpenMMBuilder().prepare(trace, tmp_path)


def test_coordinates_that_are_no_numbers_are_refused_by_name(peptide: Structure, tmp_path: Path) -> None:
    coord = peptide.coord.copy()
    coord[peptide.atoms_of(4).start] = np.nan
    with pytest.raises(BuildError, match="L9 are not finite"):
        OpenMMBuilder().prepare(dataclasses.replace(peptide, coord=coord), tmp_path)


def test_an_incomplete_backbone_stops_only_its_own_residue(peptide: Structure, tmp_path: Path) -> None:
    broken = without(peptide, {(8, "N")})
    prepared = OpenMMBuilder().prepare(broken, tmp_path)
    with pytest.raises(BuildError, match="L13 has no N atom"):
        prepared.build([Exchange(8, "A")])
    built = prepared.build([Exchange(12, "V")])
    assert len(built.structure) == len(broken)
    assert any("left out" in note and "L13" in note for note in built.notes)
    # The residue that could not be modelled is still there, untouched.
    rows = built.structure.atoms_of(8)
    np.testing.assert_array_equal(built.structure.coord[rows], broken.coord[broken.atoms_of(8)])
    beside = prepared.build([Exchange(9, "A")])
    assert beside.low_confidence
    assert any("break of the chain" in note for note in beside.notes)


def test_unknown_residues_are_worked_around(tmp_path: Path) -> None:
    prepared = OpenMMBuilder().prepare(helix("AAKAAXAALAAEAA"), tmp_path)
    with pytest.raises(BuildError, match="X6 is not one of the 20"):
        prepared.build([Exchange(5, "A")])
    assert "X6" in " ".join(prepared.build([Exchange(8, "V")]).notes)


def test_a_residue_on_its_own_cannot_be_modelled(peptide: Structure, tmp_path: Path) -> None:
    alone = part(peptide, [0, 1, 2, 3, 4, 8, 12, 13, 14, 15])
    prepared = OpenMMBuilder().prepare(alone, tmp_path)
    with pytest.raises(BuildError, match="L13 is bonded to no other"):
        prepared.build([Exchange(5, "A")])
    assert prepared.build([Exchange(2, "L")]).structure.sequence[2] == "L"


def test_breaks_in_the_chain_are_not_bonded_over(peptide: Structure, tmp_path: Path) -> None:
    gapped = part(peptide, [*range(8), *range(12, len(SEQUENCE))])
    prepared = OpenMMBuilder().prepare(gapped, tmp_path)
    assert np.flatnonzero(~prepared.chain.bonded_to_next).tolist() == [7, len(gapped) - 1]
    built = prepared.build([Exchange(7, "V")])
    assert built.low_confidence
    assert not prepared.build([Exchange(4, "V")]).low_confidence
    assert np.linalg.norm(built.structure.ca - gapped.ca, axis=1).max() < 1.5


def test_missing_atoms_are_modelled_but_not_handed_out(peptide: Structure, tmp_path: Path) -> None:
    drop = {(8, a) for a in ("CG", "CD1", "CD2")} | {(14, a) for a in ("SD", "CE")} | {(9, "O")}
    ragged = without(peptide, drop)
    filled = complete(ragged)
    assert {i: set(names) for i, names in filled.completed.items()} == {
        8: {"CG", "CD1", "CD2"},
        14: {"SD", "CE"},
        9: {"O"},
    }
    whole = residues_of(peptide)
    assert np.linalg.norm(filled.atoms[9]["O"] - whole[9]["O"]) < 0.2
    np.testing.assert_array_equal(filled.atoms[14]["CG"], whole[14]["CG"])
    prepared = OpenMMBuilder().prepare(ragged, tmp_path)
    built = prepared.build([Exchange(12, "V")])
    assert any("missing atoms were modelled" in note and "L13" in note for note in built.notes)
    for i in set(range(len(ragged))) - {12}:
        assert list(residues_of(built.structure)[i]) == list(residues_of(ragged)[i])
    # An exchanged residue gets all its atoms, whatever the wild type lacked.
    assert set(residues_of(prepared.build([Exchange(9, "T")]).structure)[9]) == set(ATOMS["T"])


def test_insertion_codes_and_gaps_in_the_numbering_do_not_matter(peptide: Structure, tmp_path: Path) -> None:
    renumbered = dataclasses.replace(
        peptide,
        res_id=np.array([-2, -1, 5, 5, 5, *range(100, 100 + len(SEQUENCE) - 5)]),
        ins_code=("", "", "", "A", "B", *("" for _ in range(len(SEQUENCE) - 5))),
    )
    one = OpenMMBuilder().prepare(renumbered, tmp_path / "a").build([Exchange(4, "W")]).structure
    two = OpenMMBuilder().prepare(peptide, tmp_path / "b").build([Exchange(4, "W")]).structure
    assert one.numbers[4] == "5B"
    np.testing.assert_array_equal(one.coord, two.coord)


def test_chain_ends_are_of_low_confidence(prepared: PreparedOpenMM) -> None:
    for index in (0, len(SEQUENCE) - 1):
        for residue in "WP":
            built = prepared.build([Exchange(index, residue)])
            assert built.low_confidence
            assert any("at an end" in note for note in built.notes)
            assert np.isfinite(built.structure.coord).all()


def test_prolines_come_and_go(tmp_path: Path) -> None:
    prepared = OpenMMBuilder().prepare(helix("AAKAAPAALAAEAA"), tmp_path)
    gone = prepared.build([Exchange(5, "A")])
    check_bonds(gone.structure, 5)
    come = prepared.build([Exchange(9, "P")])
    check_bonds(come.structure, 9)
    # Proline's ring stands where the N-H of the helix pointed to the carbonyl a turn before.
    assert np.linalg.norm(come.structure.ca - prepared.wild_type.ca, axis=1).max() > 0.1


def test_proline_where_phi_forbids_it_is_of_low_confidence(shared: Path, tmp_path: Path) -> None:
    wild_type = read_structure(shared / "data" / "wild_types" / "A2RU54.pdb.gz")
    built = OpenMMBuilder().prepare(wild_type, tmp_path).build([Exchange(58, "P")])
    assert built.low_confidence
    assert any("phi 84" in note for note in built.notes)


# --- disulfide bridges


def test_bridges_are_seen_and_opened(tmp_path: Path) -> None:
    structure = bonded_pair()
    prepared = OpenMMBuilder().prepare(structure, tmp_path)
    assert prepared.chain.disulfides == ((4, 13),)
    zone = zone_around(prepared.chain, (4,))
    assert 13 in zone.included

    def hydrogens_on_sulfur(exchanged: dict[int, tuple[str, dict[str, np.ndarray]]]) -> list[int]:
        molecule = cut_out(prepared.chain, zone, exchanged)
        bonds = [{molecule.elements[a], molecule.elements[b]} for a, b in molecule.bonds]
        return [bonds.count({"S", "H"}), bonds.count({"S"})]

    assert hydrogens_on_sulfur({}) == [0, 1]
    alanine = {name: xyz for name, xyz in prepared.chain.atoms[4].items() if name != "SG"}
    assert hydrogens_on_sulfur({4: ("A", alanine)}) == [1, 0]
    built = prepared.build([Exchange(4, "A")])
    assert "opens the disulfide bridge C5-C14" in built.notes
    assert np.isfinite(built.structure.coord).all()
    both = prepared.build([Exchange(4, "S"), Exchange(13, "S")])
    assert both.structure.sequence[4] == both.structure.sequence[13] == "S"
    # Somewhere else in the first helix the bridge stays shut.
    kept = residues_of(prepared.build([Exchange(6, "L")]).structure)
    assert np.linalg.norm(kept[4]["SG"] - kept[13]["SG"]) == pytest.approx(2.05, abs=0.2)


def test_a_new_cysteine_or_a_far_sulfur_makes_no_bridge(tmp_path: Path) -> None:
    assert complete(bonded_pair(apart=3.5)).disulfides == ()


def test_both_halves_of_a_bridge_come_along_and_their_surroundings_close(
    shared: Path, tmp_path: Path
) -> None:
    """Lysozyme: a stretch kept to avoid touching caps brought in half a bridge."""
    wild_type = read_structure(shared / "data" / "wild_types" / "P00698.pdb.gz")
    prepared = OpenMMBuilder().prepare(wild_type, tmp_path)
    assert len(prepared.chain.disulfides) == 4
    for site in range(0, len(wild_type), 5):
        included = zone_around(prepared.chain, (site,)).included
        for a, b in prepared.chain.disulfides:
            assert (a in included) == (b in included)
    assert prepared.build([Exchange(75, "G")]).structure.sequence[75] == "G"


# --- the cut-out


def made_up_chain(ca: np.ndarray) -> CompleteChain:
    bonded = np.ones(len(ca), bool)
    bonded[-1] = False
    return CompleteChain(
        sequence="G" * len(ca),
        labels=tuple(f"G{i + 1}" for i in range(len(ca))),
        atoms=tuple({"CA": xyz} for xyz in ca),
        bonded_to_next=bonded,
        disulfides=(),
        completed={},
        unusable={},
    )


def test_gaps_of_one_and_two_residues_are_filled() -> None:
    """Two caps made from one residue would sit on top of each other: energy NaN."""
    x = np.array([0.0, 5.0, 13.0, 20.0, 13.0, 20.0, 21.0, 13.0, 20.0, 21.0, 22.0, 13.0])
    zone = zone_around(made_up_chain(np.stack([x, x * 0, x * 0], axis=1)), (0,))
    assert sorted(zone.included) == [0, 1, 2, 3, 4, 5, 6, 7, 11]
    assert sorted(zone.movable) == [0, 1]
    broken = made_up_chain(np.stack([x, x * 0, x * 0], axis=1))
    broken.bonded_to_next[2] = False
    assert sorted(zone_around(broken, (0,)).included) == [0, 1, 2, 4, 5, 6, 7, 11]


def test_cut_ends_are_capped_with_the_neighbours_atoms(prepared_globin: PreparedOpenMM) -> None:
    model = prepared_globin.chain
    zone = zone_around(model, (65,))
    molecule = cut_out(model, zone, {})
    starts = [i for i in zone.included if i and model.bonded_to_next[i - 1] and i - 1 not in zone.included]
    ends = [i for i in zone.included if model.bonded_to_next[i] and i + 1 not in zone.included]
    assert molecule.residue_names.count("ACE") == len(starts) > 0
    assert molecule.residue_names.count("NME") == len(ends) > 0
    caps = molecule.owner == CAP
    heavy = np.array([e != "H" for e in molecule.elements])
    assert not molecule.movable[caps & heavy].any()
    assert (np.diff(molecule.residue) >= 0).all()
    # Every atom of a cap lies on an atom of the wild type.
    everything = np.concatenate([np.array(list(a.values())) for a in model.atoms])
    for xyz in molecule.coord[caps & heavy]:
        assert (np.abs(everything - xyz).sum(axis=1) < 1e-12).any()


@pytest.mark.parametrize("residue", STANDARD)
def test_hydrogens_are_where_chemistry_puts_them(residue: str, tmp_path: Path) -> None:
    """All templates of the force field match, at each end and inside; nothing touches."""
    sequence = f"{residue}A{residue}A{residue}"
    model = complete(helix(sequence))
    molecule = cut_out(model, zone_around(model, (2,)), {})
    per_residue = {
        i: int(sum(e == "H" and r == i for e, r in zip(molecule.elements, molecule.residue, strict=True)))
        for i in (0, 2, 4)
    }
    inside = sum(HYDROGENS[residue].values()) + (residue == "H")
    assert per_residue == {0: inside + 2, 2: inside, 4: inside}
    position = {k: set() for k in range(len(molecule.elements))}
    for a, b in molecule.bonds:
        position[a].add(b)
        position[b].add(a)
    for k, element in enumerate(molecule.elements):
        if element != "H":
            continue
        (parent,) = position[k]
        assert 0.9 < np.linalg.norm(molecule.coord[k] - molecule.coord[parent]) < 1.4
        siblings = position[parent] - {k}
        for other in siblings:
            gap = np.linalg.norm(molecule.coord[k] - molecule.coord[other])
            assert gap > 1.5, (residue, molecule.atom_names[parent], gap)
    assert OpenMMBuilder().prepare(helix(sequence), tmp_path).build([Exchange(1, "G")])


def test_two_hydroxyls_do_not_share_a_place() -> None:
    """C-O...O-C head to head: both hydrogens want the line between the oxygens."""
    coord = np.array(
        [
            [-1.2, 1.9, 0.0],
            [-1.2, 0.6, 0.4],
            [-1.3, -0.2, -0.7],
            [1.2, 1.9, 0.0],
            [1.2, 0.6, 0.4],
            [1.3, -0.2, -0.7],
        ]
    )
    hydrogens, parents = add_hydrogens(
        coord, list("CCOCCO"), [(0, 1), (1, 2), (3, 4), (4, 5)], [0, 0, 1, 0, 0, 1], [False] * 6
    )
    assert parents.tolist() == [2, 5]
    assert np.linalg.norm(hydrogens[0] - hydrogens[1]) > 1.6
    oxygen_to_other = np.linalg.norm(hydrogens - coord[[5, 2]], axis=1)
    assert oxygen_to_other.min() > 1.4


def test_histidine_binds_the_nearer_oxygen() -> None:
    ring = {"ND1": np.array([0.0, 0.0, 0.0]), "NE2": np.array([2.2, 0.0, 0.0])}
    assert histidine_nitrogen(ring, np.array([[-2.8, 0.0, 0.0]]), ["O"]) == "ND1"
    assert histidine_nitrogen(ring, np.array([[-2.8, 0.0, 0.0]]), ["N"]) == "NE2"
    assert histidine_nitrogen(ring, np.array([[5.0, 0.0, 0.0]]), ["O"]) == "NE2"
    assert histidine_nitrogen(ring, np.empty((0, 3)), []) == "NE2"


def test_names_of_the_force_field_are_the_pdbs() -> None:
    assert set(HYDROGENS) == {*THREE_LETTER, "ACE", "NME"}


# --- impossible surroundings


def test_atoms_on_top_of_each_other_are_an_error_not_a_structure(tmp_path: Path) -> None:
    residues = residues_of(helix("AAALAAAAA"))
    twice = chain("AAALAAAAA" * 2, [*residues, *residues], name="double")
    with pytest.raises(BuildError, match=r"double, .*(not finite|minimisation failed|strain)"):
        OpenMMBuilder(control=False).prepare(twice, tmp_path).build([Exchange(3, "W")])


def test_a_wild_type_that_overlaps_with_itself_is_of_low_confidence(tmp_path: Path) -> None:
    residues = residues_of(helix("AAALAAAAA"))
    shifted = [{a: xyz + np.array([1.1, 0.7, 0.2]) for a, xyz in r.items()} for r in residues]
    crowded = chain("AAALAAAAA" * 2, [*residues, *shifted], name="crowded")
    prepared = OpenMMBuilder().prepare(crowded, tmp_path)
    built = prepared.build([Exchange(3, "V")])
    assert built.low_confidence
    assert "overlaps with itself" in " ".join(built.notes)


def test_a_side_chain_without_room_is_of_low_confidence(tmp_path: Path) -> None:
    """A glycine between two helices that touch: no tryptophan fits."""
    residues = residues_of(helix("AAAAGAAAA"))
    centre = np.mean([r["CA"] for r in residues], axis=0)
    outward = residues[4]["CA"] - centre
    outward /= np.linalg.norm(outward)
    axis = residues[-1]["CA"] - residues[0]["CA"]
    outward -= (outward @ axis) / (axis @ axis) * axis
    outward /= np.linalg.norm(outward)
    beside = [
        [
            {
                a: xyz
                + 6.5 * (np.cos(t) * outward + np.sin(t) * np.cross(axis, outward) / np.linalg.norm(axis))
                for a, xyz in r.items()
            }
            for r in residues
        ]
        for t in np.radians([-70.0, 0.0, 70.0])
    ]
    packed = chain("AAAAGAAAA" * 4, [*residues, *(r for b in beside for r in b)], name="packed")
    built = OpenMMBuilder().prepare(packed, tmp_path).build([Exchange(4, "W")])
    assert built.low_confidence
    assert built.notes
