"""Which heavy atoms a residue has, and the other names residues and atoms go by in files."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import gemmi

from mutscan.residues import ONE_LETTER, STANDARD, THREE_LETTER, UNKNOWN

BACKBONE: Final = ("N", "CA", "C", "O")
"""Backbone heavy atoms, in the order they are kept."""

TERMINAL_OXYGEN: Final = "OXT"

_SIDE_CHAIN: Final = {
    "A": "CB", "C": "CB SG", "D": "CB CG OD1 OD2", "E": "CB CG CD OE1 OE2",
    "F": "CB CG CD1 CD2 CE1 CE2 CZ", "G": "", "H": "CB CG ND1 CD2 CE1 NE2",
    "I": "CB CG1 CG2 CD1", "K": "CB CG CD CE NZ", "L": "CB CG CD1 CD2", "M": "CB CG SD CE",
    "N": "CB CG OD1 ND2", "P": "CB CG CD", "Q": "CB CG CD OE1 NE2",
    "R": "CB CG CD NE CZ NH1 NH2", "S": "CB OG", "T": "CB OG1 CG2", "V": "CB CG1 CG2",
    "W": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "Y": "CB CG CD1 CD2 CE1 CE2 CZ OH",
}  # fmt: skip

HEAVY_ATOMS: Final[dict[str, tuple[str, ...]]] = {
    one: BACKBONE + tuple(_SIDE_CHAIN[one].split()) for one in STANDARD
}
"""One-letter code -> heavy atom names in the order of the PDB, without the terminal OXT."""

_ORDER: Final = {one: {name: k for k, name in enumerate((*HEAVY_ATOMS[one], "OXT"))} for one in STANDARD}

# Names force fields give to protonation states and bonded forms of standard residues.
_THREE_LETTERS: Final = {
    "HID": "H", "HIE": "H", "HIP": "H", "HSD": "H", "HSE": "H", "HSP": "H", "HSC": "H",
    "CYX": "C", "CYM": "C", "CYN": "C", "CY1": "C", "ASH": "D", "GLH": "E", "LYN": "K", "LYP": "K",
    "LSN": "K", "TYM": "Y", "ARN": "R",
}  # fmt: skip
_FOUR_LETTERS: Final = {
    # GROMOS and OPLS as GROMACS writes them
    "ARGN": "R", "ASN1": "N", "ASPH": "D", "CYS1": "C", "CYS2": "C", "CYSH": "C", "GLUH": "E",
    "HIS1": "H", "HIS2": "H", "HISA": "H", "HISB": "H", "HISD": "H", "HISE": "H", "HISH": "H",
    "LYSH": "K", "LYSN": "K",
    # CHARMM
    "ASPP": "D", "GLUP": "E", "HISP": "H", "CYSX": "C",
    # residues at chain ends in AMBER
    **{end + name: one for end in "NC" for name, one in {**ONE_LETTER, **_THREE_LETTERS}.items()},
}  # fmt: skip
_FORCE_FIELD_NAMES: Final = _THREE_LETTERS | _FOUR_LETTERS

FOUR_LETTER_NAMES: Final = frozenset(_FOUR_LETTERS)
"""Residue names that fill columns 18-21 of a PDB line."""

# Parents that the CCD's one-letter code names loosely or not at all.
_PARENTS: Final = {"SEC": UNKNOWN, "PYL": UNKNOWN, "ASX": UNKNOWN, "GLX": UNKNOWN, "UNK": UNKNOWN}

# Other names of the same atom (CHARMM, GROMACS, old PDB).
_ATOM_ALIASES: Final = {"OT1": "O", "OT2": "OXT", "OC1": "O", "OC2": "OXT", "OT": "O"}


@lru_cache(maxsize=4096)
def letter_of(name: str) -> str | None:
    """One-letter code of a residue name; ``X`` for an amino acid that has none, None for anything else.

    A modified residue gives its parent (``MSE`` -> ``M``), as the PDB's chemical component table has it.
    """
    name = name.strip().upper()
    if name in ONE_LETTER:
        return ONE_LETTER[name]
    if name in _PARENTS:
        return _PARENTS[name]
    if name in _FORCE_FIELD_NAMES:
        return _FORCE_FIELD_NAMES[name]
    info = gemmi.find_tabulated_residue(name)
    if not info.is_amino_acid():
        return None
    one = info.one_letter_code.upper()
    return one if one in THREE_LETTER else UNKNOWN


@lru_cache(maxsize=4096)
def is_d_residue(name: str) -> bool:
    """Whether a residue name is that of a D-amino acid, the mirror image of a usual one."""
    return gemmi.find_tabulated_residue(name).kind == gemmi.ResidueKind.AAD


def is_standard_name(name: str) -> bool:
    """Whether `name` is one of the 20, under its own name or a force field's."""
    return name in ONE_LETTER or name in _FORCE_FIELD_NAMES


@lru_cache(maxsize=65536)
def standard_atom(residue: str, residue_name: str, atom: str) -> str | None:
    """Give the standard name of a heavy atom of a residue read as `residue`, None where it has no such atom.

    Hydrogens and the extra atoms of modified residues give None.
    """
    known = _ORDER[residue]
    if residue_name == "MSE" and atom == "SE":
        return "SD"
    if atom in known:
        return atom
    if residue == "I" and atom == "CD":
        return "CD1"
    alias = _ATOM_ALIASES.get(atom)
    return alias if alias in known else None


def atom_rank(residue: str, atom: str) -> int:
    """Place of an atom in the canonical order of its residue (backbone first, OXT last)."""
    if residue in _ORDER:
        return _ORDER[residue].get(atom, 90)
    return BACKBONE.index(atom) if atom in BACKBONE else 98 if atom == TERMINAL_OXYGEN else 50
