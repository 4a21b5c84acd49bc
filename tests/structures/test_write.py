"""What a written file says of its B factors, read back by other libraries."""

from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.PDB import MMCIFParser, PDBParser

from mutscan.structures import read_structure, write_structure
from mutscan.structures.read import read_bytes
from mutscan.structures.write import MEASURED_LDDT
from tests.peptides import helix

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY"
LDDT = np.linspace(0.9981, 1.0, len(SEQUENCE))


@pytest.mark.parametrize(("ending", "parser"), [(".cif", MMCIFParser), (".pdb", PDBParser)])
def test_measured_lddt_keeps_its_decimals(ending: str, parser: type, tmp_path: Path) -> None:
    path = tmp_path / f"mutant{ending}"
    write_structure(helix(SEQUENCE), path, b_factor=LDDT, metric=MEASURED_LDDT)
    assert "B factor: measured lDDT." in path.read_text()
    chain = next(parser(QUIET=True).get_structure("mutant", path).get_chains())
    assert [atom.bfactor for atom in chain.get_atoms() if atom.name == "CA"] == pytest.approx(LDDT, abs=6e-5)
    model = gemmi.read_structure(str(path))[0]
    assert [residue["CA"][0].b_iso for residue in model[0]] == pytest.approx(LDDT, abs=6e-5)


def test_modelcif_states_the_metric_and_an_unknown_value(tmp_path: Path) -> None:
    path = tmp_path / "mutant.cif"
    values = LDDT.copy()
    values[2] = np.nan
    write_structure(helix(SEQUENCE), path, b_factor=values, metric=MEASURED_LDDT)
    block = gemmi.cif.read(str(path)).sole_block()
    stated = {name: block.find_value(f"_ma_qa_metric.{name}") for name in ("id", "mode", "name", "type")}
    assert stated == {"id": "1", "mode": "local", "name": "'measured lDDT'", "type": "'normalized score'"}
    rows = block.find("_ma_qa_metric_local.", ["ordinal_id", "label_comp_id", "label_seq_id", "metric_value"])
    assert [*rows[1]] == ["2", "CYS", "2", f"{LDDT[1]:.4f}"]
    assert rows[2][3] == "?"
    assert len(rows) == len(SEQUENCE)
    assert read_structure(path).plddt is None, "measured lDDT is no confidence"


def test_plddt_is_stated_as_such(tmp_path: Path) -> None:
    path = tmp_path / "model.cif"
    values = np.linspace(60.25, 91.5, len(SEQUENCE))
    write_structure(helix(SEQUENCE), path, b_factor=values)
    assert "_ma_qa_metric" not in path.read_text()
    write_structure(read_bytes(path.read_bytes(), path.name, plddt=True), path)
    assert read_structure(path).plddt == pytest.approx(values, abs=6e-3)
