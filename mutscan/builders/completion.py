"""The wild type with every heavy atom a force field expects: missing side chains and chain ends added.

Missing atoms are placed from ideal geometry and rotamers, so the result never
depends on a random start, and what is there is never moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders.assembly import atoms_by_residue, residue_label
from mutscan.builders.chemistry import ATOMS, SIDE_CHAIN, element_of
from mutscan.builders.geometry import dihedral, extend
from mutscan.builders.rotamers import library, search_side_chain
from mutscan.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.structures import Structure

PEPTIDE_BOND: Final = 2.0
"""Å; a C and the next residue's N further apart than this are not bonded: the chain is broken there."""
DISULFIDE_BOND: Final = 2.5
"""Å; two SG nearer than this form a disulfide bridge."""


@dataclass(frozen=True, eq=False)
class CompleteChain:
    """All residues a force field can treat, with all their heavy atoms.

    Parameters
    ----------
    sequence : str
        One letter per residue of the structure, as there.
    labels : tuple of str
        Each residue in the file's own numbering, for messages.
    atoms : tuple of mapping, length L
        Atom name to (3,), Å; empty where the residue cannot be modelled (`unusable` says why).
    bonded_to_next : bool array, shape (L,)
        Whether a peptide bond joins a residue to the next one.
    disulfides : tuple of (int, int)
        Pairs of residues, ascending.
    completed : mapping residue index -> tuple of atom names that were added
    unusable : mapping residue index -> reason
    """

    sequence: str
    labels: tuple[str, ...]
    atoms: tuple[Mapping[str, NDArray[np.float64]], ...]
    bonded_to_next: NDArray[np.bool_]
    disulfides: tuple[tuple[int, int], ...]
    completed: Mapping[int, tuple[str, ...]]
    unusable: Mapping[int, str]

    def __len__(self) -> int:
        """Count all residues, the unusable ones included."""
        return len(self.sequence)

    def at_chain_end(self, index: int) -> bool:
        """Whether a residue lacks a neighbour on one side."""
        after = bool(self.bonded_to_next[index])
        before = index > 0 and bool(self.bonded_to_next[index - 1])
        return not (before and after)


def complete(structure: Structure) -> CompleteChain:
    """Add what is missing.

    Raises
    ------
    BuildError
        A coordinate is not finite, or no residue has a complete backbone (a CA-only trace).
    """
    bad = np.flatnonzero(~np.isfinite(structure.coord).all(axis=1))
    if len(bad):
        where = residue_label(structure, int(structure.residue_index[bad[0]]))
        raise BuildError(
            f"{structure.name}: the coordinates of {where} are not finite; correct or remove the residue"
        )
    raw = atoms_by_residue(structure)
    labels = tuple(residue_label(structure, i) for i in range(len(structure)))
    unusable: dict[int, str] = {}
    for i, atoms in enumerate(raw):
        missing = [name for name in ("N", "CA", "C") if name not in atoms]
        if structure.sequence[i] not in ATOMS:
            unusable[i] = f"{labels[i]} is not one of the 20 standard residues"
        elif missing:
            unusable[i] = f"{labels[i]} has no {' and no '.join(missing)} atom"
    if len(unusable) == len(structure):
        raise BuildError(
            f"{structure.name}: no residue has N, CA and C ({next(iter(unusable.values()))}); "
            "building mutants needs more than a CA trace: give an all-atom structure or use --builder none"
        )
    bonded = _peptide_bonds(raw, unusable)
    for i in range(len(raw)):
        alone = not bonded[i] and not (i > 0 and bonded[i - 1])
        if alone and i not in unusable:
            unusable[i] = f"{labels[i]} is bonded to no other residue"
    heavy: list[dict[str, NDArray[np.float64]]] = [
        {
            name: xyz
            for name, xyz in atoms.items()
            if i not in unusable and name in ATOMS[structure.sequence[i]]
        }
        for i, atoms in enumerate(raw)
    ]
    completed: dict[int, list[str]] = {}
    for i, atoms in enumerate(heavy):
        if not atoms:
            continue
        if "O" not in atoms:
            after = heavy[i + 1]["N"] if bonded[i] else None
            atoms["O"] = carbonyl_oxygen(structure.sequence[i], atoms, after)
            completed[i] = ["O"]
        if not bonded[i]:
            if "OXT" in raw[i]:
                atoms["OXT"] = raw[i]["OXT"]
            else:
                atoms["OXT"] = extend(
                    atoms["N"], atoms["CA"], atoms["C"], 1.25, 117.0, _turn(atoms) + 180.0
                )  # not reported: every chain end lacks it
    for i, atoms in enumerate(heavy):
        missing = [name for name in SIDE_CHAIN[structure.sequence[i]] if name not in atoms] if atoms else []
        if not missing:
            continue
        known = {name: xyz for name, xyz in atoms.items() if name in SIDE_CHAIN[structure.sequence[i]]}
        around, elements = surroundings(heavy, {i}, near=atoms["CA"])
        placed = search_side_chain(structure.sequence[i], atoms, around, elements, known=known).atoms
        atoms.update({name: placed[name] for name in missing})
        completed.setdefault(i, []).extend(missing)
    return CompleteChain(
        sequence=structure.sequence,
        labels=labels,
        atoms=tuple(heavy),
        bonded_to_next=bonded,
        disulfides=_disulfides(structure.sequence, heavy),
        completed={i: tuple(names) for i, names in completed.items()},
        unusable=unusable,
    )


def _turn(atoms: Mapping[str, NDArray[np.float64]]) -> float:
    return float(dihedral(atoms["N"], atoms["CA"], atoms["C"], atoms["O"]))


def _peptide_bonds(
    atoms: list[dict[str, NDArray[np.float64]]], unusable: Mapping[int, str]
) -> NDArray[np.bool_]:
    bonded = np.zeros(len(atoms), dtype=np.bool_)
    for i in range(len(atoms) - 1):
        if i not in unusable and i + 1 not in unusable:
            bonded[i] = np.linalg.norm(atoms[i]["C"] - atoms[i + 1]["N"]) < PEPTIDE_BOND
    return bonded


def carbonyl_oxygen(
    residue: str, atoms: Mapping[str, NDArray[np.float64]], next_nitrogen: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """O of a residue that lacks it: opposite the next residue's N, else as in a strand."""
    ideal = library().backbone[residue]
    psi = 140.0
    if next_nitrogen is not None:
        psi = float(dihedral(atoms["N"], atoms["CA"], atoms["C"], next_nitrogen))
    return extend(atoms["N"], atoms["CA"], atoms["C"], ideal["C-O"], ideal["CA-C-O"], psi + 180.0)


def surroundings(
    atoms: list[dict[str, NDArray[np.float64]]] | tuple[Mapping[str, NDArray[np.float64]], ...],
    without: set[int],
    *,
    near: NDArray[np.float64],
    reach: float = 20.0,
) -> tuple[NDArray[np.float64], list[str]]:
    """Coordinates and elements of heavy atoms: residues with CA within `reach` Å, but not `without`."""
    coord: list[NDArray[np.float64]] = []
    elements: list[str] = []
    for i, residue in enumerate(atoms):
        if i in without or not residue or np.linalg.norm(residue["CA"] - near) > reach:
            continue
        coord.extend(residue.values())
        elements.extend(element_of(name) for name in residue)
    return np.array(coord).reshape(-1, 3), elements


def _disulfides(sequence: str, atoms: list[dict[str, NDArray[np.float64]]]) -> tuple[tuple[int, int], ...]:
    """Nearest pairs first, so that a sulfur takes part in one bridge at most."""
    sulfurs = [i for i, letter in enumerate(sequence) if letter == "C" and atoms[i]]
    candidates = sorted(
        (float(np.linalg.norm(atoms[i]["SG"] - atoms[j]["SG"])), i, j)
        for k, i in enumerate(sulfurs)
        for j in sulfurs[k + 1 :]
    )
    taken: set[int] = set()
    bridges = []
    for distance, i, j in candidates:
        if distance < DISULFIDE_BOND and not {i, j} & taken:
            taken |= {i, j}
            bridges.append((i, j))
    return tuple(sorted(bridges))
