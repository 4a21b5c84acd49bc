"""The library of protein families: file, search, profile, and how one is made."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import CheckpointError, MissingDependencyError, UsageError
from mutscan.evidence import CONSERVATION_EVIDENCE, FamilyProfile, ProteinView, sequence_evidence
from mutscan.evidence.wording import describe
from mutscan.families import FAMILIES_FILE, FamilyLibrary, FamilySearch, load_library, write_library
from mutscan.progress import Silent
from mutscan.residues import STANDARD
from mutscan.train.families.make import (
    column_frequencies,
    make_codebook,
    make_families,
    nearest,
)
from mutscan.train.families.settings import FamilySettings
from mutscan.train.labelled.profiles import FamilyProfiles

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ONE_HOT = np.eye(20, dtype=np.float32)


def drawn(length: int, seed: int) -> str:
    codes = np.random.default_rng(seed).integers(0, 20, length)
    return "".join(STANDARD[code] for code in codes)


def library_of(*families: str, sequences: int = 9) -> FamilyLibrary:
    """Families in which every column is one residue."""
    codes = np.array([STANDARD.index(letter) for letter in "".join(families)], dtype=np.uint16)
    lengths = np.array([len(family) for family in families], dtype=np.int64)
    return FamilyLibrary(ONE_HOT, codes, np.full(len(codes), sequences, np.uint16), lengths, "0" * 64)


# the file


def test_a_library_comes_back_as_it_was_and_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    library = library_of(drawn(40, 1), drawn(60, 2))
    write_library(tmp_path / FAMILIES_FILE, library)
    first = (tmp_path / FAMILIES_FILE).read_bytes()
    write_library(tmp_path / FAMILIES_FILE, library)
    assert (tmp_path / FAMILIES_FILE).read_bytes() == first
    found = load_library(tmp_path)
    assert found is not None
    assert len(found) == 2
    assert found.starts.tolist() == [0, 40, 100]
    assert np.array_equal(found.codes, library.codes)
    assert np.array_equal(found.sequences, library.sequences)
    assert np.allclose(found.codebook, ONE_HOT)
    assert len(found.sha256) == 64


def test_a_folder_without_a_library_has_none(tmp_path: Path) -> None:
    assert load_library(tmp_path) is None


@pytest.mark.parametrize("data", [b"", b"not a zip file", b"PK\x03\x04 broken"])
def test_a_damaged_library_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FAMILIES_FILE).write_bytes(data)
    with pytest.raises(CheckpointError, match=r"families\.npz: is not a library of families"):
        load_library(tmp_path)


def test_a_library_of_a_newer_layout_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / FAMILIES_FILE, format=np.array(99))
    with pytest.raises(CheckpointError, match="format 99, this mutscan reads up to 1"):
        load_library(tmp_path)


def test_lengths_that_do_not_fit_the_columns_are_refused(tmp_path: Path) -> None:
    library = library_of(drawn(40, 1))
    wrong = FamilyLibrary(library.codebook, library.codes, library.sequences, np.array([39]))
    write_library(tmp_path / FAMILIES_FILE, wrong)
    with pytest.raises(CheckpointError, match="40 columns, 39 by the families' lengths"):
        load_library(tmp_path)


# the search


def test_a_relative_is_found_and_laid_on_the_right_residues() -> None:
    family, other = drawn(80, 3), drawn(70, 4)
    letters = list(family)
    letters[10], letters[50] = "W", "A" if family[50] != "A" else "G"
    del letters[30:32]  # the protein lacks two columns
    protein = "MKTAYIAK" + "".join(letters)
    ((_, matches),) = FamilySearch(library_of(other, family), threads=1).search([protein])
    assert len(matches) == 1
    match = matches[0]
    column = match.columns - len(other)  # of the second family
    before, after = match.residues < 8 + 25, match.residues > 8 + 35
    assert (match.residues - column)[before].tolist() == [8] * int(before.sum())
    assert (match.residues - column)[after].tolist() == [6] * int(after.sum())
    assert before.sum() > 15
    assert after.sum() > 25


def test_residues_that_a_family_lacks_are_said() -> None:
    family = drawn(90, 5)
    protein = family[:45] + "GSGSG" + family[45:]
    search = FamilySearch(library_of(family), threads=1)
    (profile,) = search.profiles([protein])
    middle = profile.gaps[46:49]
    assert middle.tolist() == [1.0, 1.0, 1.0]
    assert profile.families[46:49].tolist() == [0.0, 0.0, 0.0]
    assert profile.gaps[:40].max() == 0.0


def test_an_unrelated_protein_has_itself_alone() -> None:
    protein = drawn(100, 7)
    (profile,) = FamilySearch(library_of(drawn(80, 3)), threads=1).profiles([protein])
    assert profile.families.max() == 0
    assert profile.sequences.tolist() == [1.0] * 100
    assert [STANDARD[i] for i in profile.frequencies.argmax(axis=1)] == list(protein)
    assert profile.diversity == pytest.approx(np.zeros(100))


def test_relatives_weigh_as_the_root_of_their_sequences() -> None:
    family = drawn(80, 3)
    protein = ("A" if family[40] != "A" else "G").join([family[:40], family[41:]])
    (profile,) = FamilySearch(library_of(family, sequences=9), threads=1).profiles([protein])
    there, own = STANDARD.index(family[40]), STANDARD.index(protein[40])
    assert profile.frequencies[40, there] == pytest.approx(0.75)  # 3 : 1
    assert profile.frequencies[40, own] == pytest.approx(0.25)
    assert profile.sequences[40] == 10
    assert profile.frequencies.sum(axis=1) == pytest.approx(np.ones(80))


def test_a_profile_does_not_depend_on_the_other_sequences_or_on_threads() -> None:
    families = [drawn(80, seed) for seed in range(20, 26)]
    library = library_of(*families)
    queries = [families[2][5:75], families[4], drawn(60, 99)]
    together = list(FamilySearch(library, threads=2).profiles(queries))
    for query, profile in zip(queries, together, strict=True):
        (alone,) = FamilySearch(library, threads=1).profiles([query])
        for name in ("frequencies", "sequences", "families", "gaps"):
            assert np.array_equal(getattr(alone, name), getattr(profile, name))
    assert together[0].families.max() == 1


def test_odd_letters_and_an_empty_library_do_no_harm() -> None:
    family = drawn(80, 3)
    protein = family[:20] + "X" + family[21:]
    (profile,) = FamilySearch(library_of(family), threads=1).profiles([protein])
    assert profile.families[30] == 1
    empty = FamilyLibrary(ONE_HOT, np.zeros(0, np.uint16), np.zeros(0, np.uint16), np.zeros(0, np.int64))
    (nothing,) = FamilySearch(empty).profiles(["MKX"])
    assert nothing.frequencies[2].sum() == 0.0
    assert np.isfinite(nothing.log_probabilities).all()


# evidence


def profile_with(columns: NDArray[np.float64], sequences: float = 50.0) -> FamilyProfile:
    n = len(columns)
    return FamilyProfile(columns, np.full(n, sequences), np.full(n, 3.0), np.zeros(n))


def test_a_conserved_site_speaks_louder_than_a_varied_one() -> None:
    length, a, v = 40, STANDARD.index("A"), STANDARD.index("V")
    columns = np.full((length, 20), 0.05)
    columns[20] = ONE_HOT[a]
    view = ProteinView("A" * length, family=profile_with(columns))
    index, mutant = np.array([20, 5]), np.array([v, v])
    found = sequence_evidence(view, index, mutant)
    assert set(CONSERVATION_EVIDENCE) <= set(found)
    kept, varied = found["family_log_odds"]
    assert kept < varied < 0.5
    assert found["family_entropy"][0] < found["family_entropy"][1]
    assert found["family_entropy_relative"][0] < 0
    assert found["family_sequences"] == pytest.approx(np.log1p([50, 50]))
    # By hand: diversity at site 20 is the mean of 2 x (types - 1) over 11 residues, ten of which have 20.
    assert found["family_diversity"][0] == pytest.approx(2 * 19 * 10 / 11)


def test_probabilities_with_pseudocounts_sum_to_one() -> None:
    columns = np.zeros((12, 20))
    columns[:6] = ONE_HOT[3]  # the rest stays empty: nothing known
    profile = profile_with(columns)
    assert np.exp(profile.log_probabilities).sum(axis=1) == pytest.approx(np.ones(12))


def test_without_a_profile_nothing_is_known_and_the_rest_stays() -> None:
    bare = sequence_evidence(ProteinView("MKV"), np.array([1]), np.array([0]))
    assert all(np.isnan(bare[name]).all() for name in CONSERVATION_EVIDENCE)
    assert bare["blosum62"][0] == -1.0


def test_conservation_in_words() -> None:
    seen = {
        "family_sequences": float(np.log1p(1201)), "families": float(np.log1p(2)),
        "family_entropy_relative": -0.8, "family_log_odds": -3.0,
    }  # fmt: skip
    words = describe("conservation", seen)
    assert words == (
        "1,200 related sequences of 2 families; site more conserved than its surroundings, "
        "mutant residue 20 times rarer than the wild type"
    )
    nobody = {**seen, "family_sequences": float(np.log1p(1)), "families": 0.0}
    assert describe("conservation", nobody) == "no relatives in the library cover the site"
    assert describe("conservation", {}) == "not known"


# profiles on disk


def test_profiles_are_searched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = drawn(80, 3)
    profiles = FamilyProfiles(library_of(family), tmp_path / "work")
    profiles.look_up([family, family, drawn(50, 8)], Silent())
    first = profiles.of(family)
    monkeypatch.setattr(FamilySearch, "profiles", lambda self, some: pytest.fail("searched again"))
    again = FamilyProfiles(library_of(family), tmp_path / "work")
    again.look_up([family], Silent())
    second = again.of(family)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.frequencies, second.frequencies)
    assert FamilyProfiles(None, tmp_path).of(family) is None


# making one


def test_two_alike_weigh_as_one_that_differs() -> None:
    rows = np.array([[0, 1, 20], [0, 1, 21], [0, 2, 21]], dtype=np.uint8)
    found = column_frequencies(rows)
    # Weights by position: (1/3 + 1/4) / 2 for the two alike, (1/3 + 1/2) / 2 for the third.
    assert found[1, 1] == pytest.approx((7 / 12) / (7 / 12 + 5 / 12))
    assert found[0, 0] == 1.0
    assert found[2].sum() == 0.0


def test_few_different_columns_are_kept_exactly() -> None:
    columns = np.repeat(ONE_HOT[:5], 30, axis=0)
    codebook = make_codebook(columns, 16, seed=0)
    codes = nearest(columns, codebook)
    assert codebook[codes] == pytest.approx(columns)


def test_without_mmseqs_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependencyError, match="conda install -c bioconda mmseqs2"):
        make_families([tmp_path / "s.parquet"], tmp_path / "f.npz", work=tmp_path / "work")


def test_too_large_a_codebook_is_refused(tmp_path: Path) -> None:
    settings = FamilySettings(codebook=70_000)
    with pytest.raises(UsageError, match="codebook of 70000 entries"):
        make_families([tmp_path / "s.parquet"], tmp_path / "f.npz", settings, work=tmp_path / "work")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("mmseqs") is None, reason="MMseqs2 is not installed")
def test_planted_families_are_found_again(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    sequences = []
    for seed in range(3):
        parent = drawn(120, 100 + seed)
        for _ in range(6):
            letters = list(parent)
            for site in generator.choice(np.arange(1, 120), 40, replace=False):
                letters[site] = STANDARD[generator.integers(20)]
            letters[0] = "W"  # what all keep
            sequences.append("".join(letters))
    sequences += [drawn(120, 300 + seed) for seed in range(4)]
    pd.DataFrame({"sequence": sequences}).to_parquet(tmp_path / "s.parquet")
    facts = make_families(
        [tmp_path / "s.parquet"], tmp_path / FAMILIES_FILE, FamilySettings(codebook=256), work=tmp_path / "w"
    )
    assert facts["families"] == 3
    assert not (tmp_path / "w").exists()
    library = load_library(tmp_path)
    assert library is not None
    (profile,) = FamilySearch(library, threads=1).profiles([sequences[0]])
    assert profile.families[60] == 1
    assert profile.sequences[60] == 7  # the six, and the protein itself once more
    assert profile.frequencies[5:110].max(axis=1).mean() < 0.9
    make_families(
        [tmp_path / "s.parquet"], tmp_path / "again.npz", FamilySettings(codebook=256), work=tmp_path / "w"
    )
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / FAMILIES_FILE).read_bytes()
