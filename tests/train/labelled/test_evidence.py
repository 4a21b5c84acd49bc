"""Evidence of labelled variants: one rule for structures, one reading for calibration and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from mutscan.evidence import STRUCTURE_EVIDENCE, ProteinView
from mutscan.families import FamilyLibrary, FamilySearch
from mutscan.pipeline.network import load_model
from mutscan.progress import Silent
from mutscan.residues import STANDARD
from mutscan.structures import write_structure
from mutscan.train.labelled import profiles as family_profiles
from mutscan.train.labelled.evidence import EvidenceReader, evidence_of
from mutscan.train.labelled.profiles import FamilyProfiles
from mutscan.train.labelled.structures import NamedStructures, Shape
from mutscan.train.labelled.tables import read_variants
from tests.peptides import helix

if TYPE_CHECKING:
    from pathlib import Path

SEQUENCES = ("MKTAYIAKQRQISFVKSHFSRQLEDW", "GSHMLEDPVRALWKEAFNKLTEQYRA", "ACDEFGHIKLMNPQRSTVWYACDEFG")


def write_helix(sequence: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_structure(helix(sequence, first=1), path)
    return path


def test_the_first_file_that_fits_is_taken_and_the_named_folder_is_tried_first(tmp_path: Path) -> None:
    right, wrong = SEQUENCES[:2]
    first = write_helix(right, tmp_path / "a" / "one.cif")
    named = write_helix(right, tmp_path / "z" / "one.pdb")
    write_helix(wrong, tmp_path / "a" / "two.pdb")
    fits = write_helix(right, tmp_path / "b" / "two.pdb")
    finder = NamedStructures(tmp_path / "proteins.csv")
    assert [finder.find(cell, right)[0].path for cell in ("one", "z/one.cif", "z\\one", "two.ent.gz")] == [
        first, named, named, fits,
    ]  # fmt: skip
    found, reason = finder.find("a/two.pdb", "W" * 30)
    assert found is None
    assert reason
    assert finder.find("three.pdb", right) == (None, "no file of the name three.pdb")


def test_every_ending_of_a_structure_counts(tmp_path: Path) -> None:
    """``.mmcif`` was passed over."""
    path = write_helix(SEQUENCES[0], tmp_path / "one.cif")
    path = path.rename(tmp_path / "one.mmcif")
    found, _ = NamedStructures(tmp_path / "proteins.csv").find("one", SEQUENCES[0])
    assert found is not None
    assert found.path == path
    assert found.shape.ca.shape == (len(SEQUENCES[0]), 3)


def test_each_site_takes_the_first_structure_with_coordinates_there() -> None:
    sequence = SEQUENCES[0]
    near = np.cumsum(np.full((len(sequence), 3), 2.2), axis=0)
    part, whole = near.copy(), near * 1.5
    part[10:] = np.nan
    index, mutant = np.array([3, 20]), np.array([0, 0])
    view = ProteinView(sequence)
    found, structured = evidence_of(view, [Shape(part), Shape(whole)], index, mutant)
    one, _ = evidence_of(view, [Shape(part)], index, mutant)
    other, _ = evidence_of(view, [Shape(whole)], index, mutant)
    none, bare = evidence_of(view, [], index, mutant)
    assert structured.all()
    assert not bare.any()
    assert not set(STRUCTURE_EVIDENCE) & set(none)
    assert (found["contact_number"][0], found["contact_number"][1]) == (
        one["contact_number"][0], other["contact_number"][1],
    )  # fmt: skip
    assert np.isnan(one["contact_number"][1])


def test_calibration_and_evaluation_read_the_same_evidence(tiny_model: Path, tmp_path: Path) -> None:
    write_helix(SEQUENCES[0], tmp_path / "shapes" / "S0.pdb")
    write_helix(SEQUENCES[1][4:], tmp_path / "shapes" / "S1.mmcif.cif")
    names = [f"P{i}" for i in range(3)]
    pd.DataFrame(
        {"protein": names, "sequence": SEQUENCES, "structure": ["S0", "S1.mmcif.cif", "gone.pdb"]}
    ).to_csv(tmp_path / "p.csv", index=False)
    pd.DataFrame(
        [
            (name, f"{old}{i + 1}{'A' if old != 'A' else 'G'}", "neutral")
            for name, sequence in zip(names, SEQUENCES, strict=True)
            for i, old in enumerate(sequence[:20])
        ],
        columns=["protein", "variant", "label"],
    ).to_csv(tmp_path / "v.csv", index=False)
    table = read_variants(tmp_path / "p.csv", tmp_path / "v.csv", column="label")
    finder = NamedStructures(tmp_path / "p.csv")
    reader = EvidenceReader(load_model(str(tiny_model), device="cpu"), tmp_path / "work")
    gathered = reader.gather(table, finder, Silent())
    assessed = reader.assess(table, finder, None, Silent())
    np.testing.assert_array_equal(gathered.structured, assessed.structured)
    assert gathered.structured.sum() == 20 + 16
    assert list(gathered.evidence) == list(assessed.pieces)
    for name, values in gathered.evidence.items():
        np.testing.assert_array_equal(values, assessed.pieces[name], err_msg=name)
    assert assessed.without_structure == ("P2 (no file of the name gone.pdb)",)


def test_a_profile_is_read_once_and_a_damaged_one_is_searched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequence = SEQUENCES[2] * 3
    codes = np.array([STANDARD.index(letter) for letter in sequence], dtype=np.uint16)
    library = FamilyLibrary(
        np.eye(20, dtype=np.float32),
        codes,
        np.full(len(codes), 9, np.uint16),
        np.array([len(codes)]),
        "0" * 64,
    )
    FamilyProfiles(library, tmp_path).look_up([sequence], Silent())
    reads = []
    read = family_profiles.read_arrays
    monkeypatch.setattr(family_profiles, "read_arrays", lambda path: (reads.append(path), read(path))[1])
    again = FamilyProfiles(library, tmp_path)
    again.look_up([sequence], Silent())
    first = again.of(sequence)
    assert len(reads) == 1
    reads[0].write_bytes(b"cut short")
    second = FamilyProfiles(library, tmp_path).of(sequence)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.frequencies, second.frequencies)
    monkeypatch.setattr(FamilySearch, "profiles", lambda self, some: pytest.fail("searched again"))
    assert FamilyProfiles(library, tmp_path).of(sequence) is not None
