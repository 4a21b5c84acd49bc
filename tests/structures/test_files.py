"""One rule for names of structure and FASTA files: every place that reads them accepts every ending."""

import gzip
from pathlib import Path

import pytest

from mutscan.builders import Exchange
from mutscan.builders.folder import FolderBuilder
from mutscan.errors import StructureError, UsageError
from mutscan.inputs import read_variants
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.progress import Silent
from mutscan.structures import read_structure, structures_in, unique_structures_in, write_structure
from mutscan.structures.fasta import FASTA_ENDINGS
from mutscan.structures.files import STRUCTURE_ENDINGS, StructureFinder
from mutscan.train.chains.corpus import read_corpus
from mutscan.train.dataset.plan import Extras
from mutscan.train.dataset.sources import StructureFiles
from mutscan.train.labelled.structures import NamedStructures
from tests.peptides import helix

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY"
STRUCTURE = [f"{ending}{more}" for ending in (*STRUCTURE_ENDINGS, ".PDB") for more in ("", ".gz")]
FASTA = [f"{ending}{more}" for ending in (*FASTA_ENDINGS, ".FA") for more in ("", ".gz")]


@pytest.fixture(scope="module")
def chain():
    return helix(SEQUENCE)


def test_the_endings_users_were_promised():
    assert {".pdb", ".ent", ".cif", ".mmcif"} == set(STRUCTURE_ENDINGS)
    assert {".fasta", ".fa", ".faa", ".fas"} < set(FASTA_ENDINGS)


@pytest.mark.parametrize("ending", STRUCTURE)
def test_every_place_takes_every_structure_ending(tmp_path: Path, chain, ending: str) -> None:
    folder = tmp_path / "structures"
    folder.mkdir()
    file = folder / f"R15W{ending}"
    mutant = helix(SEQUENCE.replace("R", "W"))
    write_structure(mutant, file)
    assert file.read_bytes().startswith(b"\x1f\x8b") == ending.endswith(".gz")
    assert read_structure(file).name == "R15W"
    assert resolve_wild_type(str(file), offline=True).sequence == mutant.sequence
    assert structures_in(tmp_path) == {"R15W": [file]}
    assert Extras(mutants=1, wild_types=folder).files() == [file]
    for named in (NamedStructures(tmp_path / "proteins.csv"), NamedStructures(tmp_path / "p.csv", folder)):
        found, _ = named.find("elsewhere/R15W.pdb", mutant.sequence)
        assert found is not None
        assert found.path == file
    (tmp_path / "pairs.csv").write_text("id1,id2\nR15W,R15W\n")
    listed = StructureFiles(folder, tmp_path / "pairs.csv").read(tmp_path, jobs=1, progress=Silent())
    assert listed.chains["source"].tolist() == [file.name]
    prepared = FolderBuilder(folder, {i: i + 1 for i in range(len(chain))}).prepare(chain, tmp_path)
    assert prepared.build([Exchange(14, "W")]).structure.sequence == mutant.sequence


@pytest.mark.parametrize("ending", FASTA)
def test_every_place_takes_every_fasta_ending(tmp_path: Path, ending: str) -> None:
    text = f">A1C\n{SEQUENCE}\n".encode()
    file = tmp_path / f"one{ending}"
    file.write_bytes(gzip.compress(text) if ending.endswith(".gz") else text)
    assert resolve_wild_type(str(file), offline=True).sequence == SEQUENCE
    assert [row.sequence for row in read_variants(file).rows] == [SEQUENCE]
    assert len(read_corpus([tmp_path])) == 1
    # A file of another kind in it shows that the name counts, not the content.
    plain = tmp_path / f"bad{ending}"
    plain.write_text("A1C\n")
    with pytest.raises(UsageError, match="expected a title"):
        read_variants(plain)


def test_other_names_are_refused_and_left_out(tmp_path: Path, chain) -> None:
    with pytest.raises(StructureError, match=r"names no structure format; expected \.pdb, \.ent, \.cif"):
        write_structure(chain, tmp_path / "one.txt")
    for name in ("notes.txt", "pdb", "._one.pdb", ".old/one.pdb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert structures_in(tmp_path) == {}


def test_files_are_found_below_and_two_of_one_stem_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "P1.cif", tmp_path / "b" / "P1.pdb.gz", tmp_path / "P2.ent"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert structures_in(tmp_path) == {"P1": paths[:2], "P2": paths[2:]}
    with pytest.raises(UsageError, match="both named P1"):
        unique_structures_in(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        unique_structures_in(tmp_path / "absent")


def test_the_file_that_lies_where_the_cell_says_comes_first(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "P1.cif" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("")
    finder = StructureFinder(tmp_path)
    assert finder.candidates("b/P1.pdb") == paths[::-1]
    assert finder.candidates(r"b\P1") == paths[::-1]
    assert finder.candidates("P1") == paths
    assert [finder.candidates(cell) for cell in ("", " ", None, float("nan"), "P9")] == [[]] * 5
