"""Heavy-atom chemistry of the 20 residues: bonds, chi angles, and which atoms hang on which.

Constants only; lengths, angles and preferred chi values are measured from
crystal structures and live in the rotamer library (`mutscan.builders.rotamers`).
Atom names are the PDB's.
"""

from __future__ import annotations

from typing import Final, NamedTuple

BACKBONE: Final = ("N", "CA", "C", "O")


class Placement(NamedTuple):
    """How one side-chain atom hangs on three earlier ones (a row of a Z-matrix).

    The bond is to `third`, the angle at `third` towards `second`, the dihedral
    runs `first`-`second`-`third`-`atom`. `chi` is the 0-based chi angle that turns
    the atom, or -1; the measured dihedral is then an offset to it (0 for the atom
    that defines the chi, about 180 or +-120 for its siblings).
    """

    atom: str
    first: str
    second: str
    third: str
    chi: int = -1


def _row(text: str) -> Placement:
    atom, first, second, third, *chi = text.split()
    return Placement(atom, first, second, third, int(chi[0]) if chi else -1)


def _rows(*texts: str) -> tuple[Placement, ...]:
    return tuple(_row(text) for text in ("CB C N CA", *texts))


_RING: Final = (
    "CG N CA CB 0", "CD1 CA CB CG 1", "CD2 CA CB CG 1", "CE1 CB CG CD1", "CE2 CB CG CD2", "CZ CG CD1 CE1",
)  # fmt: skip

TREE: Final[dict[str, tuple[Placement, ...]]] = {
    "G": (),
    "A": _rows(),
    "S": _rows("OG N CA CB 0"),
    "C": _rows("SG N CA CB 0"),
    "T": _rows("OG1 N CA CB 0", "CG2 N CA CB 0"),
    "V": _rows("CG1 N CA CB 0", "CG2 N CA CB 0"),
    "I": _rows("CG1 N CA CB 0", "CG2 N CA CB 0", "CD1 CA CB CG1 1"),
    "L": _rows("CG N CA CB 0", "CD1 CA CB CG 1", "CD2 CA CB CG 1"),
    "P": _rows("CG N CA CB 0", "CD CA CB CG 1"),
    "M": _rows("CG N CA CB 0", "SD CA CB CG 1", "CE CB CG SD 2"),
    "D": _rows("CG N CA CB 0", "OD1 CA CB CG 1", "OD2 CA CB CG 1"),
    "N": _rows("CG N CA CB 0", "OD1 CA CB CG 1", "ND2 CA CB CG 1"),
    "E": _rows("CG N CA CB 0", "CD CA CB CG 1", "OE1 CB CG CD 2", "OE2 CB CG CD 2"),
    "Q": _rows("CG N CA CB 0", "CD CA CB CG 1", "OE1 CB CG CD 2", "NE2 CB CG CD 2"),
    "K": _rows("CG N CA CB 0", "CD CA CB CG 1", "CE CB CG CD 2", "NZ CG CD CE 3"),
    "R": _rows(
        "CG N CA CB 0", "CD CA CB CG 1", "NE CB CG CD 2", "CZ CG CD NE 3", "NH1 CD NE CZ", "NH2 CD NE CZ",
    ),
    "H": _rows("CG N CA CB 0", "ND1 CA CB CG 1", "CD2 CA CB CG 1", "CE1 CB CG ND1", "NE2 CB CG CD2"),
    "F": _rows(*_RING),
    "Y": _rows(*_RING, "OH CD1 CE1 CZ"),
    "W": _rows(
        "CG N CA CB 0", "CD1 CA CB CG 1", "CD2 CA CB CG 1", "NE1 CB CG CD1", "CE2 CB CG CD2",
        "CE3 CB CG CD2", "CZ2 CG CD2 CE2", "CZ3 CG CD2 CE3", "CH2 CD2 CE2 CZ2",
    ),
}  # fmt: skip
"""Side-chain atoms of each residue in building order."""

_CLOSURES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "P": (("CD", "N"),),
    "H": (("CE1", "NE2"),),
    "F": (("CZ", "CE2"),),
    "Y": (("CZ", "CE2"),),
    "W": (("NE1", "CE2"), ("CH2", "CZ3")),
}

SIDE_CHAIN: Final[dict[str, tuple[str, ...]]] = {
    r: tuple(row.atom for row in rows) for r, rows in TREE.items()
}
"""Names of the side-chain heavy atoms, building order."""

ATOMS: Final[dict[str, tuple[str, ...]]] = {r: BACKBONE + names for r, names in SIDE_CHAIN.items()}
"""Names of all heavy atoms (no OXT), backbone first."""

BONDS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    residue: (
        ("N", "CA"),
        ("CA", "C"),
        ("C", "O"),
        *((row.third, row.atom) for row in rows),
        *_CLOSURES.get(residue, ()),
    )
    for residue, rows in TREE.items()
}
"""Heavy-atom bonds inside a residue."""

CHI: Final[dict[str, tuple[tuple[str, str, str, str], ...]]] = {
    residue: tuple(
        next((row.first, row.second, row.third, row.atom) for row in rows if row.chi == k)
        for k in range(1 + max((row.chi for row in rows), default=-1))
    )
    for residue, rows in TREE.items()
}
"""The four atoms of each chi angle."""

SYMMETRIC_CHI: Final[dict[str, int]] = {"F": 1, "Y": 1, "D": 1, "E": 2}
"""0-based chi that looks the same after 180 degrees: the two far atoms are chemically equal."""

FLIPPED_CHI: Final[dict[str, int]] = {"N": 1, "Q": 2, "H": 1}
"""0-based chi that electron density shows only up to 180 degrees: O and N (C and N) look alike."""

RADII: Final[dict[str, float]] = {"C": 1.9, "N": 1.65, "O": 1.5, "S": 1.9, "SE": 1.95, "H": 1.1}
"""Contact radii of atoms, Å; half the distance of least energy between two such atoms, hydrogens included."""


def element_of(atom_name: str) -> str:
    """Element of a heavy atom of the 20 residues, from its PDB name."""
    return atom_name[0]
