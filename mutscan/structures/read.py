"""Reading one protein chain from PDB and mmCIF, from files or downloaded bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mutscan.errors import StructureError
from mutscan.files import gunzip, read_file
from mutscan.structures.assemble import assemble
from mutscan.structures.files import EXPECTED, stem
from mutscan.structures.records import parse_mmcif, parse_pdb

if TYPE_CHECKING:
    from mutscan.structures.chain import Structure
    from mutscan.structures.records import AtomTable


def read_structure(path: str | Path, *, chain: str | None = None) -> Structure:
    """One protein chain from a PDB or mmCIF file.

    The first model is read. Of alternate locations the one with the highest
    occupancy is kept (then the first by name), waters, ligands and hydrogens
    are left out, and modified residues become their parents (MSE -> MET).
    `Structure.notes` lists these choices.

    Parameters
    ----------
    path : path
        A file with any of the endings in `STRUCTURE_ENDINGS`. The format is recognised by content.
    chain : str, optional
        The author's chain name. Without it the file must hold one protein; of identical copies
        the first is taken.

    Returns
    -------
    Structure

    Raises
    ------
    StructureError
        The file is not there (code ``structure_missing``), cannot be read, has no or several
        proteins, fewer than 3 residues, or coordinates that are not finite or of no protein.
    """
    path = Path(path)
    try:
        data = read_file(path)
    except FileNotFoundError as error:
        raise StructureError(
            f"{path}: no such file; expected a structure ({EXPECTED})",
            code="structure_missing",
        ) from error
    except OSError as error:
        raise StructureError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StructureError(f"{path}: {error}") from error
    return read_bytes(data, path.name, chain=chain)


def read_bytes(data: bytes, name: str, *, chain: str | None = None, plddt: bool = False) -> Structure:
    """As `read_structure`, from the bytes of a file.

    Parameters
    ----------
    data : bytes
        The file, gzip or plain.
    name : str
        Its file name, for messages and for `Structure.name` (without structure endings).
    chain : str, optional
    plddt : bool
        The B factors are pLDDT, 0-100 or 0-1, although the file may not say so; refused where they cannot be.
    """
    table = read_table(data, name)
    return assemble(table, stem(name), chain, plddt=plddt)


def read_table(data: bytes, name: str) -> AtomTable:
    """Read the atoms of the first model as the file has them."""
    text = _text(_unzip(data, name), name)
    head = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if head.lower().startswith("data_"):
        return parse_mmcif(text, name)
    if any(line.startswith(("ATOM  ", "HETATM")) for line in text.splitlines()):
        return parse_pdb(text, name)
    if head.lstrip().lower().startswith(("<!doctype", "<html", "<?xml", "{", "[")):
        raise StructureError(
            f"{name}: starts with {head.strip()[:30]!r}: a web page or other text, not a structure; "
            "expected PDB or mmCIF"
        )
    raise StructureError(f"{name}: no atoms found; expected PDB (ATOM lines) or mmCIF (data_ block)")


def _unzip(data: bytes, name: str) -> bytes:
    if not data:
        raise StructureError(f"{name}: is empty; expected PDB or mmCIF")
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gunzip(data)
    except ValueError as error:
        raise StructureError(f"{name}: {error}") from error


def _text(data: bytes, name: str) -> str:
    if data[257:262] == b"ustar":
        raise StructureError(f"{name}: is a tar archive of files; unpack it, and give one of its structures")
    if b"\x00" in data[:4096]:
        raise StructureError(
            f"{name}: is a binary file; expected PDB or mmCIF text (BinaryCIF and MMTF are not read)"
        )
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
