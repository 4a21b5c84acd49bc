"""Damaged and odd structure files: each gives a structure that can be written again, or one clear line."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mutscan.errors import StructureError
from mutscan.structures import read_bytes, read_structure, wild_type_from_structure, write_structure
from tests.peptides import helix

SEQUENCE = "MKTAYIAKQRQISFVK"
FIELDS = st.sampled_from(
    [
        "nan", "inf", "-0", "1e400", "********", "9" * 400, "", " ", "?", ".", "'", '"', ";", "#", "_", "\\",
        "CYS2", "DTY", "SEP", "UNK", "HOH", "ACE", "NH2", "A", "AB", "0", "-1", "A000", "zzzz", "é",
        "\x00", "\ud800", "\u202e", "\t", "\r", "TER", "END", "MODEL", "ENDMDL", "data_", "loop_",
        "ATOM", "HETATM", "=1+1",
    ]
).map(lambda text: text.encode("utf-8", "surrogatepass"))  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("x.pdb", "x.cif"):
        write_structure(helix(SEQUENCE), folder / name)
    return {name: (folder / name).read_bytes() for name in ("x.pdb", "x.cif")}


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[str, float, bytes, int]]:
    """Some edits: what is done, where (as a share of the file), with what, over how many bytes."""
    what = st.sampled_from(["replace", "insert", "delete", "cut", "swap", "repeat"])
    edit = st.tuples(what, st.floats(0, 1), FIELDS | st.binary(max_size=6), st.integers(1, 300))
    return draw(st.lists(edit, min_size=1, max_size=4))


def damaged(data: bytes, edits: list[tuple[str, float, bytes, int]]) -> bytes:
    for what, share, text, size in edits:
        place = int(share * len(data))
        before, here, after = data[:place], data[place : place + size], data[place + size :]
        if what == "replace":
            data = before + text + data[place + len(text) :]
        elif what == "insert":
            data = before + text + here + after
        elif what == "delete":
            data = before + after
        elif what == "cut":
            data = before
        elif what == "swap":
            data = after + here + before
        else:
            data = before + here * 2 + after
    return data


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", ["x.pdb", "x.cif"])
@given(edits=damage(), plddt=st.booleans())
def test_damaged_files(
    files: dict[str, bytes],
    tmp_path: Path,
    name: str,
    edits: list[tuple[str, float, bytes, int]],
    plddt: bool,
) -> None:
    structure, refusal = None, ""
    try:
        structure = read_bytes(damaged(files[name], edits), name, plddt=plddt)
    except StructureError as error:
        refusal = error.message
    assert "\n" not in refusal
    if structure is None:
        assert refusal
        return
    assert len(structure) >= 3
    assert np.isfinite(structure.coord).all()
    assert structure.chain_id.isprintable()
    assert all(re.fullmatch("-?[0-9]+[A-Za-z0-9]?", number) for number in structure.numbers)
    wild_type_from_structure(structure)
    write_structure(structure, tmp_path / "again.cif")
    again = read_structure(tmp_path / "again.cif")
    assert (again.sequence, again.numbers) == (structure.sequence, structure.numbers)
