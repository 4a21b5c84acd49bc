"""Mutants built elsewhere: found by name, checked, laid out as the wild type."""

import gzip
import pickle
from dataclasses import replace

import numpy as np
import pytest

from mutscan.builders import Exchange, MutantBuilder
from mutscan.builders.folder import FolderBuilder
from mutscan.builders.pool import on_wild_type
from mutscan.errors import BuildError, UsageError
from mutscan.scores import lddt, score_structures
from mutscan.structures import write_structure
from tests.peptides import chain, helix, part, residues_of

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLE"
FIRST = 101  # residue number of index 0
OFFSET = 20  # position of index 0 is 21
SITE = 9  # R30, residue 110


def mutate(sequence: str, *exchanges: tuple[int, str]) -> str:
    letters = list(sequence)
    for index, residue in exchanges:
        letters[index] = residue
    return "".join(letters)


@pytest.fixture(scope="module")
def wild_type():
    return helix(SEQUENCE, first=FIRST, name="wt")


@pytest.fixture(scope="module")
def mutant():
    moved = helix(mutate(SEQUENCE, (SITE, "W")), first=FIRST, name="mutant")
    moved.coord[moved.residue_index == SITE] += [0.0, 0.0, 0.7]
    return moved


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mutants"
    made.mkdir()
    return made


def prepared(folder, wild_type):
    builder = FolderBuilder(folder, {i: i + 1 + OFFSET for i in range(len(wild_type))})
    assert isinstance(builder, MutantBuilder)
    assert builder.name == "folder"
    return pickle.loads(pickle.dumps(builder.prepare(wild_type, folder)))


@pytest.mark.parametrize("ending", [".pdb", ".cif.gz"])  # all others: tests/structures/test_files.py
def test_file_is_found_and_read(folder, wild_type, mutant, ending):
    write_structure(mutant, folder / f"R30W{ending}")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert built.structure.sequence == mutant.sequence
    assert built.structure.numbers == wild_type.numbers
    np.testing.assert_allclose(built.structure.ca, mutant.ca, atol=6e-4)
    assert built.control_seconds == 0.0
    assert f"structure from R30W{ending}, no wild-type control" in built.notes


def test_joint_mutant_is_named_by_position_order(folder, wild_type):
    double = helix(mutate(SEQUENCE, (2, "G"), (SITE, "W")), first=FIRST)
    write_structure(double, folder / "T23G_R30W.cif.gz")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W"), Exchange(2, "G")])
    assert built.structure.sequence == double.sequence


def test_missing_file_names_what_was_expected(folder, wild_type):
    with pytest.raises(BuildError, match=r"expected a file named R30W \(\.pdb, ") as caught:
        prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert caught.value.code == "structure_missing"
    assert str(folder) in caught.value.message


@pytest.mark.parametrize("name", ["R30W_T23G.pdb", "t23g_r30w.pdb"])
def test_near_miss_is_pointed_out(folder, wild_type, name):
    (folder / name).write_text("")
    with pytest.raises(BuildError, match=f"rename {name}"):
        prepared(folder, wild_type).build([Exchange(SITE, "W"), Exchange(2, "G")])


def test_two_files_of_one_variant_are_refused(folder, wild_type, mutant):
    write_structure(mutant, folder / "R30W.pdb")
    write_structure(mutant, folder / "R30W.cif")
    with pytest.raises(BuildError, match=r"contains both R30W\.cif and R30W\.pdb; keep one"):
        prepared(folder, wild_type).build([Exchange(SITE, "W")])


def test_wild_type_under_a_mutants_name_is_refused(folder, wild_type):
    write_structure(wild_type, folder / "R30W.pdb")
    with pytest.raises(BuildError, match=r"1 of 24 .*\(R at residue 110, expected W\)") as caught:
        prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert caught.value.code == "structure_mismatch"


def test_another_protein_is_refused(folder, wild_type):
    write_structure(helix("GGSGGSAEEWAEEWPPLGGS", first=FIRST), folder / "R30W.pdb")
    with pytest.raises(BuildError, match="is not this mutant of wt") as caught:
        prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert caught.value.code == "structure_mismatch"


def test_renumbered_from_one_is_matched_by_sequence(folder, wild_type, mutant):
    write_structure(helix(mutant.sequence, first=1), folder / "R30W.pdb")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert built.structure.numbers == wild_type.numbers
    assert np.isfinite(built.structure.ca).all()
    assert any("matched by sequence" in note for note in built.notes)


def test_numbers_that_overlap_but_are_shifted_are_matched_by_sequence(folder, wild_type, mutant):
    write_structure(helix(mutant.sequence, first=FIRST + 3), folder / "R30W.pdb")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    np.testing.assert_allclose(built.structure.ca, helix(mutant.sequence).ca, atol=6e-4)


def test_a_file_in_another_frame_is_laid_on_the_wild_type(folder, wild_type, mutant):
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    write_structure(replace(mutant, coord=mutant.coord @ turn.T + 40.0), folder / "R30W.cif")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")]).structure
    scores = score_structures(wild_type.ca, built.ca)
    away = np.linalg.norm(on_wild_type(built, wild_type, scores).ca - wild_type.ca, axis=1)
    np.testing.assert_allclose(away, scores.ca_shift, atol=1e-6)
    assert np.median(away) < 0.1
    assert np.median(np.linalg.norm(built.ca - wild_type.ca, axis=1)) > 20
    # in the frame already: what did not move stays where it is, to the last digit
    assert on_wild_type(mutant, wild_type, score_structures(wild_type.ca, mutant.ca)) is mutant


def test_absent_residues_have_no_ca_and_no_score(folder, wild_type, mutant):
    kept = [i for i in range(len(mutant)) if i not in (0, 1, 14, 15)]
    write_structure(part(mutant, kept), folder / "R30W.pdb")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert built.structure.sequence == mutant.sequence
    assert len(built.structure) == len(wild_type)
    absent = np.isnan(built.structure.ca).all(axis=1)
    assert np.flatnonzero(absent).tolist() == [0, 1, 14, 15]
    assert np.isfinite(built.structure.coord).all()
    values = lddt(wild_type.ca, built.structure.ca)
    assert np.isnan(values[absent]).all()
    assert np.isfinite(values[~absent]).all()
    assert any("lacks 4 of the wild type's 24 residues" in note for note in built.notes)
    write_structure(built.structure, folder / "again.cif")
    write_structure(built.structure, folder / "again.pdb")


def test_exchanged_residue_must_be_there(folder, wild_type, mutant):
    write_structure(part(mutant, [i for i in range(len(mutant)) if i != SITE]), folder / "R30W.pdb")
    with pytest.raises(BuildError, match="no coordinates for the exchanged residue R30"):
        prepared(folder, wild_type).build([Exchange(SITE, "W")])


def test_a_stump_is_refused(folder, wild_type, mutant):
    write_structure(part(mutant, list(range(4, 13))), folder / "R30W.pdb")
    with pytest.raises(BuildError, match="9 of the wild type's 24 residues, expected at least half"):
        prepared(folder, wild_type).build([Exchange(SITE, "W")])


def test_ca_only_file_is_good_enough(folder, wild_type, mutant):
    atoms = [{"CA": residue["CA"]} for residue in residues_of(mutant)]
    write_structure(chain(mutant.sequence, atoms, first=FIRST), folder / "R30W.pdb")
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    np.testing.assert_allclose(built.structure.ca, mutant.ca, atol=6e-4)


def test_unknown_residues_match_anything(folder, mutant):
    odd = helix(mutate(SEQUENCE, (4, "X")), first=FIRST, name="wt")
    write_structure(mutant, folder / "R30W.pdb")
    built = prepared(folder, odd).build([Exchange(SITE, "W")])
    assert built.structure.sequence == mutate(SEQUENCE, (4, "X"), (SITE, "W"))


def test_unknown_residue_at_the_site_proves_nothing(folder, wild_type):
    write_structure(helix(mutate(SEQUENCE, (SITE, "X")), first=FIRST), folder / "R30W.pdb")
    with pytest.raises(BuildError, match="residue 110 is unknown, expected W at R30"):
        prepared(folder, wild_type).build([Exchange(SITE, "W")])


@pytest.mark.parametrize("content", [b"", b"nothing to see", b"\x1f\x8bcut off"])
def test_unreadable_file_is_a_build_error(folder, wild_type, content):
    (folder / "R30W.pdb").write_bytes(content)
    with pytest.raises(BuildError, match=r"R30W\.pdb") as caught:
        prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert caught.value.code == "bad_structure"


def test_chain_of_the_wild_types_name_is_taken_from_a_complex(folder, wild_type, mutant):
    write_structure(mutant, folder / "a.pdb")
    write_structure(helix("GGSGGSAEEWAEEWPPLGGS", chain_id="B"), folder / "b.pdb")
    atoms = [
        line
        for name in ("a.pdb", "b.pdb")
        for line in (folder / name).read_text().splitlines()
        if line.startswith("ATOM")
    ]
    (folder / "R30W.pdb.gz").write_bytes(gzip.compress("\n".join([*atoms, "END", ""]).encode()))
    built = prepared(folder, wild_type).build([Exchange(SITE, "W")])
    assert built.structure.sequence == mutant.sequence


def test_no_such_folder(tmp_path):
    with pytest.raises(UsageError, match="expected a folder"):
        FolderBuilder(tmp_path / "nowhere", {})


def test_impossible_exchanges_are_refused(folder, wild_type):
    ready = prepared(folder, wild_type)
    for wrong in ([], [Exchange(99, "A")], [Exchange(1, "A"), Exchange(1, "G")], [Exchange(1, "X")]):
        with pytest.raises(BuildError):
            ready.build(wrong)
    unplaced = FolderBuilder(folder, {}).prepare(wild_type, folder)
    with pytest.raises(BuildError, match="R110 of wt has no position"):
        unplaced.build([Exchange(SITE, "W")])
