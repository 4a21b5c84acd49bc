"""Restraints that hold a mutant to its template: bonds, angles, dihedrals and contacts, as arrays.

Heavy atoms only, no force-field templates: rest values are the wild type's own,
so nothing has to be known about a residue beyond where its atoms are. Only the
exchanged residues, which have no wild-type geometry, rest at the mean geometry
of the rotamer library. Each term has its minimum, zero, at the wild type.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.builders.chemistry import BONDS, RADII
from mutscan.builders.geometry import angle, dihedral
from mutscan.builders.rotamers import IDEAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Structure

NATIVE: Final = 6.0
"""Å; atoms this close in the wild type keep their distance (wells of depth `EPSILON`)."""
CA_RANGE: Final = 14.0
"""Å; range of CA-CA distance restraints, as in MODELLER."""
CUTOFF: Final = 8.0
"""Å; range of contacts that are not native, switched off from `SWITCH` on."""
SWITCH: Final = 6.5
EPSILON: Final = 0.5
"""Depth of a contact, kJ/mol."""

BOND: Final = 80000.0
"""kJ/mol/nm²."""
ANGLE: Final = 400.0
"""kJ/mol/rad²; also of impropers."""
PLANE: Final = 60.0
"""kJ/mol, peptide bonds and rings."""
PHI_PSI: Final = 20.0
"""kJ/mol."""
CHI: Final = 4.0
"""kJ/mol; half of it again threefold."""
CA_DISTANCE: Final = 249.4
"""kJ/mol/nm²: kT at 300 K for a standard deviation of 1 Å, MODELLER's for CA-CA distances."""
SITE: Final = 0.25
"""Share of phi, psi and CA-CA restraints left at an exchanged residue: its backbone must be free."""

_MAX_PEPTIDE_BOND: Final = 2.0
_MAX_DISULFIDE: Final = 2.5
_RINGS: Final = frozenset("FYWHP")
_BACKBONE: Final = frozenset(("N", "CA", "C", "O", "OXT"))
_DEFAULT_RADIUS: Final = 1.9
# Bond lengths of unknown residues reach from C-N to metal-S.
_COVALENT: Final = {"H": 0.31, "C": 0.76, "N": 0.71, "O": 0.66, "S": 1.05, "P": 1.07, "SE": 1.20}


@dataclass(frozen=True, eq=False)
class Atoms:
    """The atoms of one mutant, n of them.

    Parameters
    ----------
    residue : int array, shape (n,)
        Index in the wild-type structure, ascending.
    name, element : tuple of str, length n
    start : float array, shape (n, 3), Å
        Where they are before minimisation.
    rest : float array, shape (n, 3), Å
        Where they are in the wild type; NaN for atoms it does not have.
    row : int array, shape (n,)
        Row in the wild type's atom arrays, -1 for atoms it does not have.
    moves : bool array, shape (n,)
    """

    residue: NDArray[np.int64]
    name: tuple[str, ...]
    element: tuple[str, ...]
    start: NDArray[np.float64]
    rest: NDArray[np.float64]
    row: NDArray[np.int64]
    moves: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.name)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Atoms that have a place in the wild type."""
        return np.isfinite(self.rest[:, 0])


@dataclass(frozen=True, eq=False)
class Restraints:
    """Terms of the energy; atoms by their row in `Atoms`, lengths in Å, angles in radians.

    `torsions` have a constant `torsion_k` (kJ/mol) and, where `threefold`, minima 120 degrees apart as
    well. `excluded` atom pairs do not touch; `native` ones keep their distance.
    """

    bonds: NDArray[np.int64]
    bond_length: NDArray[np.float64]
    angles: NDArray[np.int64]
    angle: NDArray[np.float64]
    impropers: NDArray[np.int64]
    improper: NDArray[np.float64]
    torsions: NDArray[np.int64]
    torsion: NDArray[np.float64]
    torsion_k: NDArray[np.float64]
    threefold: NDArray[np.bool_]
    excluded: NDArray[np.int64]
    native: NDArray[np.int64]
    native_length: NDArray[np.float64]
    ca: NDArray[np.int64]
    ca_length: NDArray[np.float64]
    ca_k: NDArray[np.float64]


def contact_radii(elements: Sequence[str]) -> NDArray[np.float64]:
    """Contact radius of each atom, Å; carbon's for elements not in the table."""
    return np.array([RADII.get(element.upper(), _DEFAULT_RADIUS) for element in elements])


def derive(atoms: Atoms, sequence: str, exchanged: Sequence[int]) -> Restraints:
    """Restraints of a mutant.

    Parameters
    ----------
    atoms : Atoms
    sequence : str
        The mutant's residues, indexed as `atoms.residue`; ``X`` keeps its shape as a whole.
    exchanged : sequence of int
        Residues that were exchanged, here meaning: whose side chain is new.

    Returns
    -------
    Restraints
        Without terms in which no atom moves.
    """
    geometry = _Geometry(atoms, sequence, exchanged)
    bonds = find_bonds(atoms, sequence)
    around: list[list[int]] = [[] for _ in range(len(atoms))]
    for a, b in bonds:
        around[a].append(b)
        around[b].append(a)
    rigid = [pair for members in _unknown_residues(atoms, sequence) for pair in combinations(members, 2)]

    angles = [(a, b, c) for b, near in enumerate(around) for a, c in combinations(near, 2)]
    impropers = [(near[0], b, near[1], near[2]) for b, near in enumerate(around) if len(near) == 3]
    torsions, far = _torsions(bonds, around)

    bond_index = geometry.moving(sorted({*bonds, *rigid}), 2)
    # All distances hold an unknown residue; angles in it, which may be straight, would only do harm.
    angle_index = geometry.flexible(geometry.moving(angles, 3))
    improper_index = geometry.flexible(geometry.moving(impropers, 4))
    bond_length = geometry.lengths(bond_index)
    improper, has_improper = geometry.impropers(improper_index)
    torsion_index = geometry.flexible(geometry.moving(torsions, 4))
    torsion, torsion_k, threefold = geometry.torsions(torsion_index)
    # Terms whose rest value nobody knows and that are weak or redundant are left out (k = 0).
    kept = torsion_k > 0.0

    near = [(min(a, c), max(a, c)) for a, _, c in angles]
    excluded = _unique_pairs([*bonds, *near, *far, *rigid], len(atoms))
    native, native_length = _native_pairs(atoms, excluded)
    ca, ca_length, ca_k = _ca_pairs(atoms, exchanged)
    return Restraints(
        bonds=bond_index,
        bond_length=bond_length,
        angles=angle_index,
        angle=geometry.angles(angle_index, around),
        impropers=improper_index[has_improper],
        improper=improper[has_improper],
        torsions=torsion_index[kept],
        torsion=torsion[kept],
        torsion_k=torsion_k[kept],
        threefold=threefold[kept],
        excluded=excluded,
        native=native,
        native_length=native_length,
        ca=ca,
        ca_length=ca_length,
        ca_k=ca_k,
    )


def find_bonds(atoms: Atoms, sequence: str) -> list[tuple[int, int]]:
    """Pairs of bonded atoms: by chemistry inside residues, else by distance in the wild type."""
    of_residue: dict[int, dict[str, int]] = {}
    for row, (residue, name) in enumerate(zip(atoms.residue.tolist(), atoms.name, strict=True)):
        of_residue.setdefault(residue, {})[name] = row
    bonds = []
    for residue, rows in of_residue.items():
        if sequence[residue] in BONDS:
            pairs = (*BONDS[sequence[residue]], ("C", "OXT"))
            bonds += [(rows[a], rows[b]) for a, b in pairs if a in rows and b in rows]
        following = of_residue.get(residue + 1)
        if following and "C" in rows and "N" in following:
            pair = (rows["C"], following["N"])
            if np.linalg.norm(atoms.rest[pair[0]] - atoms.rest[pair[1]]) < _MAX_PEPTIDE_BOND:
                bonds.append(pair)
    for members in _unknown_residues(atoms, sequence):
        reach = [_COVALENT.get(atoms.element[m].upper(), 0.76) for m in members]
        for (a, r), (b, s) in combinations(zip(members, reach, strict=True), 2):
            if np.linalg.norm(atoms.rest[a] - atoms.rest[b]) < r + s + 0.4:
                bonds.append((a, b))
    sulfur = [
        row
        for row, name in enumerate(atoms.name)
        if name == "SG" and sequence[atoms.residue[row]] == "C" and np.isfinite(atoms.rest[row, 0])
    ]
    for a, b in combinations(sulfur, 2):
        if np.linalg.norm(atoms.rest[a] - atoms.rest[b]) < _MAX_DISULFIDE:
            bonds.append((a, b))
    return bonds


def stray_forces(structure: Structure, removed: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Net force of the contacts that are neither native nor excluded, on each wild-type atom.

    It is what would move the wild type although nothing was exchanged. Taken off every atom, it
    leaves the wild type exactly at rest, and a mutant with the response to its exchange alone: no
    control has to be minimised. What an exchange takes away must be taken off it too, or the rest
    would feel a net force.

    Parameters
    ----------
    structure : Structure
    removed : int array, optional
        Rows of atoms: only forces between them and any other atom, and each other, are counted.

    Returns
    -------
    float array, shape (n, 3), kJ/mol/nm
    """
    coord = structure.coord
    n = len(coord)
    tree = cKDTree(coord)
    if removed is None:
        pairs = tree.query_pairs(CUTOFF, output_type="ndarray").astype(np.int64).reshape(-1, 2)
    else:
        found = []
        for row in removed.tolist():
            near: list[int] = tree.query_ball_point(coord[row], CUTOFF)
            found += [(row, other) for other in near if other != row]
        pairs = _unique_pairs(found, n)
    length = np.linalg.norm(coord[pairs[:, 0]] - coord[pairs[:, 1]], axis=1)
    # Bonded neighbours are all closer than a native contact, but for a large unknown residue's atoms.
    unknown = np.array([letter not in BONDS for letter in structure.sequence], dtype=np.bool_)
    residue = structure.residue_index[pairs]
    stray = (length > NATIVE) & ~((residue[:, 0] == residue[:, 1]) & unknown[residue[:, 0]])
    pairs, length = pairs[stray], length[stray] / 10.0
    radii = contact_radii(structure.element)
    sigma = (radii[pairs[:, 0]] + radii[pairs[:, 1]]) / 10.0 / 2 ** (1 / 6)
    slope = _contact_slope(length, sigma)
    pull = (-slope / length)[:, None] * (coord[pairs[:, 0]] - coord[pairs[:, 1]]) / 10.0
    forces = np.empty((n, 3))
    for axis in range(3):
        on_first = np.bincount(pairs[:, 0], pull[:, axis], n)
        forces[:, axis] = on_first - np.bincount(pairs[:, 1], pull[:, axis], n)
    return forces


def _contact_slope(r: NDArray[np.float64], sigma: NDArray[np.float64]) -> NDArray[np.float64]:
    """dE/dr of a switched Lennard-Jones contact, kJ/mol/nm; lengths in nm. OpenMM's switching function."""
    sixth = (sigma / r) ** 6
    energy = 4.0 * EPSILON * (sixth**2 - sixth)
    slope = 4.0 * EPSILON * (-12.0 * sixth**2 + 6.0 * sixth) / r
    width = (CUTOFF - SWITCH) / 10.0
    x = np.clip((r - SWITCH / 10.0) / width, 0.0, 1.0)
    switch = 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    switch_slope = -30.0 * x**2 * (1.0 - x) ** 2 / width
    return np.asarray(slope * switch + energy * switch_slope)


class _Geometry:
    """Rest values of terms: the wild type's; for atoms it lacks the library's; else a textbook value."""

    def __init__(self, atoms: Atoms, sequence: str, exchanged: Sequence[int]) -> None:
        self.atoms = atoms
        self.sequence = sequence
        self.known = atoms.known
        self.unknown = np.array([letter not in BONDS for letter in sequence], dtype=np.bool_)
        self.is_site = np.isin(atoms.residue, np.asarray(exchanged, dtype=np.int64))
        self.ideal = np.full((len(atoms), 3), np.nan)
        for row in np.flatnonzero(self.is_site):
            ideal = IDEAL[sequence[atoms.residue[row]]]
            if atoms.name[row] in ideal:
                self.ideal[row] = ideal[atoms.name[row]]

    def moving(self, terms: Sequence[tuple[int, ...]], width: int) -> NDArray[np.int64]:
        """Terms in which at least one atom moves, shape (m, width)."""
        index = np.array(terms, dtype=np.int64).reshape(-1, width)
        return index[self.atoms.moves[index].any(axis=1)]

    def flexible(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """Terms that are not inside one unknown residue."""
        residue = self.atoms.residue[index]
        inside = (residue == residue[:, :1]).all(axis=1) & self.unknown[residue[:, 0]]
        return np.asarray(index[~inside])

    def _sources(self, index: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which terms the wild type, and which of the others the library, has all atoms of."""
        known: NDArray[np.bool_] = np.asarray(self.known[index].all(axis=1))
        residue = self.atoms.residue[index]
        one = (residue == residue[:, :1]).all(axis=1)
        from_library = np.isfinite(self.ideal[index, 0]).all(axis=1)
        ideal: NDArray[np.bool_] = np.asarray(~known & one & from_library)
        return known, ideal

    def lengths(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        value = np.full(len(index), 1.34)  # no such bond leaves its residue but a peptide bond
        for chosen, coord in zip(self._sources(index), (self.atoms.rest, self.ideal), strict=True):
            pair = coord[index[chosen]]
            value[chosen] = np.linalg.norm(pair[:, 0] - pair[:, 1], axis=1)
        return value

    def angles(self, index: NDArray[np.int64], around: list[list[int]]) -> NDArray[np.float64]:
        value = np.array([120.0 if len(around[b]) == 3 else 112.0 for b in index[:, 1].tolist()])
        for chosen, coord in zip(self._sources(index), (self.atoms.rest, self.ideal), strict=True):
            value[chosen] = angle(*coord[index[chosen]].swapaxes(0, 1))
        return np.asarray(np.radians(value))

    def impropers(self, index: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        value = np.full(len(index), np.nan)
        for chosen, coord in zip(self._sources(index), (self.atoms.rest, self.ideal), strict=True):
            value[chosen] = dihedral(*coord[index[chosen]].swapaxes(0, 1))
        # A new proline's nitrogen is planar: C of the residue before, CA and CD.
        nitrogen = np.array([self.atoms.name[b] == "N" for b in index[:, 1].tolist()], dtype=np.bool_)
        value[nitrogen & np.isnan(value)] = 180.0
        return np.radians(value), np.isfinite(value)

    def torsions(
        self, index: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Rest value, constant and threefoldness of each proper dihedral."""
        known, ideal = self._sources(index)
        now = dihedral(*self.atoms.start[index].swapaxes(0, 1)) if len(index) else np.zeros(0)
        value = np.where(known, 0.0, now)
        value[known] = dihedral(*self.atoms.rest[index[known]].swapaxes(0, 1))
        k = np.empty(len(index))
        threefold = np.zeros(len(index), dtype=np.bool_)
        name, residue = self.atoms.name, self.atoms.residue
        for row, (_, b, c, _) in enumerate(index.tolist()):
            inner = {name[b], name[c]}
            if inner <= _BACKBONE:
                if inner == {"C", "N"}:
                    k[row] = PLANE
                elif known[row]:
                    k[row] = PHI_PSI * (SITE if self.is_site[b] or self.is_site[c] else 1.0)
                else:
                    k[row] = 0.0
            elif self.sequence[residue[b]] in _RINGS and not inner & {"CA"}:
                k[row] = PLANE
                if ideal[row]:
                    value[row] = dihedral(*self.ideal[index[row]])
            else:
                # A new side chain stays near the rotamer it was placed in.
                k[row] = CHI
                threefold[row] = True
        return np.radians(value), k, threefold


def _torsions(
    bonds: list[tuple[int, int]], around: list[list[int]]
) -> tuple[list[tuple[int, int, int, int]], list[tuple[int, int]]]:
    """One proper dihedral for each bond, and all pairs of atoms three bonds apart."""
    torsions = []
    far = []
    for b, c in bonds:
        before = [a for a in around[b] if a != c]
        after = [d for d in around[c] if d != b]
        far += [(min(a, d), max(a, d)) for a in before for d in after if a != d]
        if before:
            last = next((d for d in after if d != before[0]), None)
            if last is not None:
                torsions.append((before[0], b, c, last))
    return torsions, far


def _unknown_residues(atoms: Atoms, sequence: str) -> list[list[int]]:
    """Rows of each residue that no chemistry is known of."""
    found: dict[int, list[int]] = {}
    for row, residue in enumerate(atoms.residue.tolist()):
        if sequence[residue] not in BONDS:
            found.setdefault(residue, []).append(row)
    return list(found.values())


def _unique_pairs(pairs: Sequence[tuple[int, int]], n: int) -> NDArray[np.int64]:
    index = np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1)
    keys = np.unique(index[:, 0] * n + index[:, 1])
    return np.stack((keys // n, keys % n), axis=1)


def _native_pairs(atoms: Atoms, excluded: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Contacts of the wild type, at least one atom of which moves, and their lengths."""
    n = len(atoms)
    known = np.flatnonzero(atoms.known)
    pairs = known[cKDTree(atoms.rest[known]).query_pairs(NATIVE, output_type="ndarray")]
    pairs = np.sort(pairs.reshape(-1, 2), axis=1)
    keys = np.setdiff1d(pairs[:, 0] * n + pairs[:, 1], excluded[:, 0] * n + excluded[:, 1])
    pairs = np.stack((keys // n, keys % n), axis=1)
    pairs = pairs[atoms.moves[pairs].any(axis=1)]
    return pairs, np.linalg.norm(atoms.rest[pairs[:, 0]] - atoms.rest[pairs[:, 1]], axis=1)


def _ca_pairs(
    atoms: Atoms, exchanged: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """CA-CA distances, neighbours in sequence left out, with their constants."""
    rows = np.array([row for row, name in enumerate(atoms.name) if name == "CA"], dtype=np.int64)
    rows = rows[atoms.known[rows]]
    pairs = cKDTree(atoms.rest[rows]).query_pairs(CA_RANGE, output_type="ndarray")
    pairs = np.sort(rows[pairs.reshape(-1, 2)], axis=1)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    residue = atoms.residue[pairs]
    pairs = pairs[(np.abs(residue[:, 0] - residue[:, 1]) >= 2) & atoms.moves[pairs].any(axis=1)]
    length = np.linalg.norm(atoms.rest[pairs[:, 0]] - atoms.rest[pairs[:, 1]], axis=1)
    at_site = np.isin(atoms.residue[pairs], np.asarray(exchanged, dtype=np.int64)).any(axis=1)
    return pairs, length, CA_DISTANCE * np.where(at_site, SITE, 1.0)
