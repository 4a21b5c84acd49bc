"""Helices and strands from hydrogen bonds."""

from pathlib import Path

import numpy as np
import pytest

from mutscan.structures import backbone_by_position, read_structure, wild_type_from_structure
from mutscan.structures.dssp import helices_and_strands
from mutscan.structures.segments import secondary_structure
from tests.places import GLOBIN

KNOWN = {
    # H and E as the PDB gives them for 1UBQ (DSSP), other states left out
    "stability_structures/1UBQA":
        "-EEEEEE----EEEEE------HHHHHHHHHHHH------EEEEE--EE----------------EEEEEE-----",
    # strands 18-24 and 29-35 and the C-terminal helix of BPTI; the N-terminal helix is a 3-10 helix
    "ssym/5PTIA": "-----------------EEEEEEE----EEEEEEE------------HHHHHHHH---",
}  # fmt: skip


def backbone(path: Path) -> np.ndarray:
    found = backbone_by_position(wild_type_from_structure(read_structure(path)))
    assert found is not None
    return found


def text(atoms: np.ndarray) -> str:
    helix, strand = helices_and_strands(atoms)
    return "".join("H" if h else "E" if e else "-" for h, e in zip(helix, strand, strict=True))


@pytest.mark.parametrize("name", KNOWN)
def test_well_known_structures(shared: Path, name: str) -> None:
    assert text(backbone(shared / "data/variants" / f"{name}.pdb.gz")) == KNOWN[name]


def test_breaks_and_gaps() -> None:
    atoms = backbone(GLOBIN / "wild_type.cif")
    whole = text(atoms)
    assert whole[23:40] == "H" * 17
    assert "E" not in whole
    cut = atoms.copy()
    cut[30:] += 50.0
    assert text(cut)[:27] + text(cut)[34:] == whole[:27] + whole[34:]
    assert "H" * 8 not in text(cut)[26:33]  # no helix passes the break
    cut = atoms.copy()
    cut[30, 3] = np.nan
    assert text(cut)[30] == text(cut)[26] == "H"  # a missing oxygen costs its own bond alone
    assert text(np.full((9, 4, 3), np.nan)) == "-" * 9
    assert text(atoms[:1]) == "-"


def test_trace_decides_where_the_backbone_is_not_there() -> None:
    atoms = backbone(GLOBIN / "wild_type.cif")
    ca = atoms[:, 1]
    bare = np.full_like(atoms, np.nan)
    bare[:, 1] = ca
    assert secondary_structure(ca, bare) == secondary_structure(ca)
    assert secondary_structure(ca, atoms) != secondary_structure(ca)
    helices = {len(secondary_structure(ca, atoms)), len(secondary_structure(ca))}
    assert helices <= {6, 7, 8}
