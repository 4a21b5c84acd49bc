"""Structure files that carry commands: no field reaches a file of ours as more than a value."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import StructureError, UsageError
from mutscan.reports.views import view_script, write_views
from mutscan.structures import Structure, read_bytes, read_structure, write_structure
from tests import built_run
from tests.peptides import helix

TAGS = (
    "group_PDB", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
    "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
    "B_iso_or_equiv", "auth_seq_id", "auth_comp_id", "auth_asym_id", "pdbx_PDB_model_num",
)  # fmt: skip
VALUES = (
    "A\nimport os\nos.system('touch pwned')",
    "python\nprint(1)\npython end",
    "@evil.pml",
    'A"; quit; "',
    "`touch pwned`",
    "A B",
    "\x1b[31mA",
    "1,A; open evil.cxc",
    "\u202eA",
)


def mmcif(tmp_path: Path, tag: str, value: str) -> bytes:
    """The helix of the made-up run as mmCIF, one field of every atom replaced."""
    write_structure(built_run.wild_type_structure(), tmp_path / "wt.cif")
    head, _, rows = (tmp_path / "wt.cif").read_text().rpartition("_atom_site.pdbx_PDB_model_num\n")
    tags = head.rpartition("loop_\n")[2].replace("_atom_site.", "").split()
    written = [*tags, "pdbx_PDB_model_num"]
    lines = ["data_x", "loop_", *(f"_atom_site.{name}" for name in TAGS)]
    for row in rows.splitlines()[:-1]:
        cells = dict(zip(written, row.split(), strict=True)) | {"group_PDB": "ATOM"}
        cells["auth_comp_id"] = cells["label_comp_id"]
        lines += [f"\n;{value}\n;\n" if name == tag else cells[name] for name in TAGS]
    return "\n".join(lines).replace("\n\n", "\n").encode()


def first_words(script: str) -> set[str]:
    return {line.split()[0] for line in script.splitlines() if line.strip()}


def scripts_of(structure: Structure, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(built_run, "wild_type_structure", lambda: structure)
    built_run.made_up_run(folder)
    return [path.read_text() for path in write_views(folder)]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    with pytest.MonkeyPatch.context() as patch:
        return scripts_of(built_run.wild_type_structure(), tmp_path_factory.mktemp("plain") / "run", patch)


@pytest.mark.parametrize("value", VALUES, ids=ascii)
@pytest.mark.parametrize("tag", TAGS)
def test_every_field_of_mmcif(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: list[str], tag: str, value: str
) -> None:
    data = mmcif(tmp_path, tag, value)
    structure, refusal = None, ""
    try:
        structure = read_bytes(data, "wt.cif")
    except StructureError as error:
        refusal = error.message
    assert refusal.isprintable()
    if structure is None:
        return
    assert tag != "pdbx_PDB_ins_code"
    assert structure.chain_id.isprintable()
    assert all(re.fullmatch("-?[0-9]+[A-Za-z0-9]?", number) for number in structure.numbers)
    if structure.sequence != built_run.SEQUENCE:
        assert set(structure.sequence) == {"X"}
    again = tmp_path / "again.cif"
    write_structure(structure, again)
    assert first_words(again.read_text()) <= first_words((tmp_path / "wt.cif").read_text())
    assert read_structure(again).numbers == structure.numbers
    if structure.chain_id != "A":  # of what is read only it, the numbers and the name can be unusual
        for script, usual in zip(scripts_of(structure, tmp_path / "run", monkeypatch), plain, strict=True):
            assert first_words(script) == first_words(usual)


@pytest.mark.parametrize("code", ["AB", "A B", "*", "é", "１", "A\nquit", "-"])
def test_an_insertion_code_is_one_letter_or_digit(tmp_path: Path, code: str) -> None:
    with pytest.raises(StructureError, match=r"wt\.cif: insertion code .* is not one letter or digit"):
        read_bytes(mmcif(tmp_path, "pdbx_PDB_ins_code", code), "wt.cif")
    assert read_bytes(mmcif(tmp_path, "pdbx_PDB_ins_code", "A"), "wt.cif").numbers[0] == "-3A"


@pytest.mark.parametrize(
    ("column", "value"),
    [(26, "*"), (26, "\x0b\x1b"[1]), (21, "\x1b"), (19, "\x07"), (13, "\x1b")],
)
def test_fields_of_pdb(tmp_path: Path, column: int, value: str) -> None:
    write_structure(helix("ACDEFGHIK"), tmp_path / "wt.pdb")
    rows = [
        line[:column] + value + line[column + 1 :] if line.startswith("ATOM") else line
        for line in (tmp_path / "wt.pdb").read_text().split("\n")
    ]
    with pytest.raises(StructureError, match=r"is not one letter or digit|cannot be printed") as caught:
        read_bytes("\n".join(rows).encode(), "wt.pdb")
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("value", VALUES, ids=ascii)
def test_a_file_name_and_the_numbers_of_a_saved_run(tmp_path: Path, value: str) -> None:
    folder = built_run.made_up_run(tmp_path / "run")
    usual = {viewer: first_words(view_script(folder, viewer)) for viewer in ("pymol", "chimerax")}
    (folder / "run.json").write_text(json.dumps({"wild_type": {"name": value, "chain": value}}))
    assert {v: first_words(view_script(folder, v)) for v in usual} == usual
    saved = pd.read_parquet(folder / "residues.parquet")
    saved["structure_number"] = np.where(saved["position"] == 6, value, saved["structure_number"])
    saved.to_parquet(folder / "residues.parquet", row_group_size=len(built_run.SEQUENCE))
    for viewer in usual:
        with pytest.raises(UsageError, match="is no residue number") as caught:
            view_script(folder, viewer)
        assert caught.value.message.isprintable()


def test_a_structure_with_a_hostile_name_is_written_as_one_title(tmp_path: Path) -> None:
    for ending in (".cif", ".pdb"):
        write_structure(helix("ACDEFGHIK", name="a\n;x\ndata_y\nATOM"), tmp_path / f"x{ending}")
        assert read_structure(tmp_path / f"x{ending}").sequence == "ACDEFGHIK"
