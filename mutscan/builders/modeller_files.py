"""Files of MODELLER: template, alignment and models.

MODELLER counts the residues of its models from 1 and names chains A, B, ...
whatever the template says, so it gets the wild type numbered that way.
"""

from __future__ import annotations

import itertools
import re
from string import ascii_lowercase, ascii_uppercase, digits
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders.assembly import atoms_by_residue
from mutscan.errors import BuildError
from mutscan.residues import ONE_LETTER, THREE_LETTER

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.structures import Structure

CHAINS: Final = ascii_uppercase + digits + ascii_lowercase
"""MODELLER's chain names, in the order it gives them."""

_MAX_PEPTIDE_BOND: Final = 2.0
_MAX_CA_STEP: Final = 4.4
# HIS is HSD, HSE or HSP inside MODELLER.
_MODEL_CODES: Final = {**ONE_LETTER, "HSD": "H", "HSE": "H", "HSP": "H"}
# CHARMM's names for what the PDB calls otherwise.
_PDB_NAMES: Final = {("I", "CD"): "CD1", ("", "OT1"): "O", ("", "OT2"): "OXT"}


def segments(structure: Structure) -> NDArray[np.int64]:
    """Give each residue the number of its unbroken piece, from 0; MODELLER would close the gaps."""
    residues = atoms_by_residue(structure)
    breaks = np.zeros(len(residues), dtype=np.int64)
    for i, (left, right) in enumerate(itertools.pairwise(residues)):
        if "C" in left and "N" in right:
            breaks[i + 1] = np.linalg.norm(left["C"] - right["N"]) > _MAX_PEPTIDE_BOND
        else:
            breaks[i + 1] = np.linalg.norm(left["CA"] - right["CA"]) > _MAX_CA_STEP
    return np.asarray(np.cumsum(breaks))


def template_pdb(structure: Structure, segment: NDArray[np.int64]) -> str:
    """Write the wild type as MODELLER counts it: residues from 1 on, chains A, B, ... at gaps."""
    lines = []
    serial = 0
    for index, name, element, xyz in zip(
        structure.residue_index, structure.atom_name, structure.element, structure.coord, strict=True
    ):
        serial = serial % 99999 + 1
        shown = name if len(name) == 4 or len(element) == 2 else f" {name}"
        x, y, z = xyz
        lines.append(
            f"ATOM  {serial:5d} {shown:<4s} {THREE_LETTER[structure.sequence[index]]} "
            f"{CHAINS[segment[index]]}{index + 1:4d}    "
            f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {element:>2s}"
        )
    return "\n".join([*lines, "END", ""])


def alignment(template: str, sequence: str, segment: NDArray[np.int64]) -> str:
    """Align one-to-one in MODELLER's PIR format, ``/`` where the chain is broken."""
    last = f"{len(template)}:{CHAINS[segment[-1]]}"
    records = []
    for code, kind, text in (("wild_type", "structureX", template), ("mutant", "sequence", sequence)):
        broken = "".join(
            ("/" if i and segment[i] != segment[i - 1] else "") + letter for i, letter in enumerate(text)
        )
        rows = "\n".join(re.findall(".{1,75}", broken + "*"))
        records.append(f">P1;{code}\n{kind}:{code}:1:A:{last}:::-1.00:-1.00\n{rows}\n")
    return "\n".join(records)


def read_model(path: Path, sequence: str) -> list[dict[str, NDArray[np.float64]]]:
    """Read the heavy atoms of each residue of a model, in order; the residues must be those of `sequence`.

    Raises
    ------
    BuildError
        No such file, other residues than asked for, or a residue without CA.
    """
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise BuildError(f"MODELLER reported success but wrote no model {path.name} ({error})") from error
    residues: list[dict[str, NDArray[np.float64]]] = []
    found = []
    last = None
    for line in lines:
        if not line.startswith(("ATOM", "HETATM")):
            continue
        element = line[76:78].strip() or line[12:16].strip().lstrip(digits)[:1]
        if element in ("H", "D"):
            continue
        if line[21:27] != last:
            last = line[21:27]
            residues.append({})
            found.append(_MODEL_CODES.get(line[17:20].strip(), "X"))
        try:
            xyz = np.array([float(line[30:38]), float(line[38:46]), float(line[46:54])])
        except ValueError as error:
            raise BuildError(
                f"MODELLER's model {path.name} has a coordinate that is not a number: {line}"
            ) from error
        name = line[12:16].strip()
        name = _PDB_NAMES.get((found[-1], name), _PDB_NAMES.get(("", name), name))
        residues[-1].setdefault(name, xyz)
    if "".join(found) != sequence:
        differ = [
            f"{i} is {a}, expected {b}"
            for i, (a, b) in enumerate(zip(found, sequence, strict=False), 1)
            if a != b
        ]
        raise BuildError(
            f"MODELLER's model has {len(found)} residues, expected {len(sequence)} of the mutant's sequence"
            + (f"; residue {differ[0]}" if differ else "")
        )
    if any("CA" not in atoms for atoms in residues):
        raise BuildError(f"MODELLER's model {path.name} has a residue without CA")
    return residues
