"""`mutscan.compare` on structures: what it divides by, what it notes, where it lays the second protein."""

from pathlib import Path

import gemmi
import numpy as np
import pytest

import mutscan
from mutscan.align import Alignment
from mutscan.pipeline import comparison
from mutscan.reports.compared import compared_facts, compared_headline, compared_scores
from tests.places import GLOBIN

WILD_TYPE = str(GLOBIN / "wild_type.cif")


@pytest.fixture
def globin():
    structure = gemmi.read_structure(WILD_TYPE)
    structure.setup_entities()
    return structure


@pytest.fixture
def compared(tiny_model: Path, tmp_path: Path):
    def compare(structure: gemmi.Structure, **settings: object) -> mutscan.pipeline.Comparison:
        path = tmp_path / "other.pdb"
        path.write_text(structure.make_pdb_string(gemmi.PdbWriteOptions(seqres_records=True)))
        return mutscan.compare(WILD_TYPE, str(path), model=str(tiny_model), offline=True, **settings)

    return compare


def cut(structure: gemmi.Structure, keep: slice) -> gemmi.Structure:
    chain = structure[0][0]
    for place in sorted(set(range(len(chain))) - set(range(len(chain))[keep]), reverse=True):
        del chain[place]
    return structure


def test_three_residues_are_no_fold(globin, compared):
    for entity in globin.entities:
        entity.full_sequence = []
    found = compared(cut(globin, slice(45, 48)))
    assert (found.length_a, found.resolved_a, found.length_b, found.resolved_b) == (147, 147, 3, 3)
    assert found.tm_measured == pytest.approx(3 / 147, abs=1e-4)
    assert found.tm_measured_b == pytest.approx(1.0, abs=1e-3)
    headline = compared_headline(found)
    assert headline.startswith(
        "No fold is judged for wild_type and other, because other has only 3 residues: "
    )
    assert (
        "TM-score 0.02 by the length of wild_type (147 residues), 1.00 by the length of other (3)" in headline
    )


def test_a_partly_resolved_chain_is_divided_by_what_is_resolved(globin, compared):
    globin.entities[0].full_sequence = [residue.name for residue in globin[0][0]]
    del globin[0][0][60:80]
    found = compared(globin)
    assert (found.length_b, found.resolved_b, found.n_aligned) == (147, 127, 127)
    assert found.tm_measured == pytest.approx(127 / 147, abs=1e-4)
    assert found.tm_measured_b == pytest.approx(1.0, abs=1e-4)
    assert ("TM-score, by the 127 resolved residues of other", "—", "1.000") in compared_scores(found)
    assert "1.00 by the length of other (127)" in compared_headline(found)
    facts = compared_facts(found)
    assert facts[0].startswith("127 pairs of residues aligned, out of 147 of wild_type and 127 of other")
    assert "127 of 147 residues of other have coordinates" in facts


def test_what_a_file_is_read_as_is_noted_for_each_protein(globin, compared):
    copy = globin[0][0].clone()
    copy.name = "B"
    globin[0].add_chain(copy)
    for atom in globin[0][0][20]:  # one residue on top of its neighbour
        before = globin[0][0][19].find_atom(atom.name, "*")
        if before:
            atom.pos = before.pos + gemmi.Position(0.5, 0, 0)
    found = compared(globin)
    text = "\n".join(found.notes)
    assert "other: chain A is read; B hold the same protein" in text
    assert "other: neighbours closer than 2 Å (overlapping residues)" in text
    assert "wild_type: positions count from 1 on the sequence: position 1 is residue 5" in text


def test_the_second_protein_is_laid_on_the_first(globin, compared):
    turn = gemmi.Transform()
    turn.mat.fromlist([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turn.vec.fromlist([30, -20, 10])
    globin[0].transform_pos_and_adp(turn)
    found = compared(globin)
    np.testing.assert_allclose(found.ca_b, found.ca_a, atol=0.01)
    assert found.elements_a == found.elements_b
    assert [element.kind for element in found.elements_b][:2] == ["helix", "helix"]


def test_too_few_pairs_leave_lddt_unmeasured(globin, compared, monkeypatch):
    lone = Alignment(np.array([[5, 9]]), 0.01, 0.01, 0.0, np.eye(3), np.zeros(3))
    monkeypatch.setattr(comparison, "tm_align", lambda *_: lone)
    found = compared(globin)
    assert found.lddt_measured_mean is None
    assert found.residues["lddt_measured"].isna().all()
    assert "TM-align pairs 1 of 147 and 147 residues: too few to measure lDDT on" in found.notes
    assert compared_facts(found)[0].startswith("1 pair of residues aligned, out of 147 of wild_type and 147")
    assert "are no more similar than random proteins" in compared_headline(found)
