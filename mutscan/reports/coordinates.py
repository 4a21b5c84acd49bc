"""Coordinates of a run for a page: the wild type, and of each mutant only what differs from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.errors import MutscanError
from mutscan.scores.superposition import superpose
from mutscan.structures import WildType, plddt_by_position, read_structure, with_structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.structures import Structure

BACKBONE: Final = frozenset({"N", "CA", "C", "O"})

MOVED: Final = 0.05
"""Å by which an atom has to move for its residue to be drawn twice."""

NEAR: Final = 12.0
"""Å from a changed residue (C-alpha atoms) within which side chains of the mutant are kept."""

APART: Final = 0.5
"""Å; median C-alpha distance above which a mutant was not laid over the wild type, and is."""


@dataclass(frozen=True, eq=False, slots=True)
class Atoms:
    """Heavy atoms: residue (0-based on the sequence), name, coordinates (n, 3) in Å."""

    residue: NDArray[np.int64]
    name: tuple[str, ...]
    xyz: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """The wild type's structure laid out on its sequence.

    Parameters
    ----------
    structure : Structure
    places : int array, shape (L,)
        For each position its 0-based residue in `structure`, -1 where unresolved.
    """

    structure: Structure
    places: NDArray[np.int64]

    @property
    def ca(self) -> NDArray[np.float64]:
        """C-alpha coordinates (L, 3), NaN where unresolved."""
        here = (self.places >= 0)[:, None]
        return np.where(here, self.structure.ca[np.maximum(self.places, 0)], np.nan)

    @property
    def backbone(self) -> NDArray[np.float64]:
        """Coordinates of N, CA, C and O (L, 4, 3), NaN where there is none."""
        atoms = np.stack([self.structure.atom_coord(name) for name in ("N", "CA", "C", "O")], axis=1)
        return np.where((self.places >= 0)[:, None, None], atoms[np.maximum(self.places, 0)], np.nan)

    @property
    def atoms(self) -> Atoms:
        """All heavy atoms."""
        return _atoms(self.structure, self._index(), np.ones(len(self.places), dtype=bool), ())

    def changes(self, mutant: Structure, sites: Sequence[int]) -> Atoms | None:
        """Atoms of the residues in which a mutant differs; None when it is no mutant of this structure.

        Parameters
        ----------
        mutant : Structure
            With the wild type's residues in the wild type's order.
        sites : sequence of int
            Changed positions, 1-based.
        """
        wild_type = self.structure
        if len(mutant) != len(wild_type):
            return None
        both = np.isfinite(mutant.ca).all(axis=1) & np.isfinite(wild_type.ca).all(axis=1)
        if not both.any():
            return None
        coord = mutant.coord
        if np.median(np.linalg.norm(mutant.ca[both] - wild_type.ca[both], axis=1)) > APART:
            rotation, translation = superpose(mutant.ca[both], wild_type.ca[both])
            coord = coord @ rotation.T + translation
        index = self._index()
        here, there = (
            zip(one.residue_index.tolist(), one.atom_name, strict=True) for one in (wild_type, mutant)
        )
        known = {atom: place for place, atom in enumerate(here)}
        partner = np.array([known.get(atom, -1) for atom in there])
        away = np.linalg.norm(coord - wild_type.coord[np.maximum(partner, 0)], axis=1)
        moved = np.zeros(len(mutant), dtype=bool)
        moved[mutant.residue_index[(partner < 0) | (away > MOVED)]] = True
        changed = np.zeros(len(self.places), dtype=bool)
        changed[index[moved]] = True
        near = [site - 1 for site in sites if 0 < site <= len(self.places)]
        changed[near] |= self.places[near] >= 0
        return _atoms(mutant, index, changed, near, coord=coord, ca=self.ca)

    def _index(self) -> NDArray[np.int64]:
        """Sequence index of each residue of the structure."""
        index = np.zeros(len(self.structure), dtype=np.int64)
        resolved = np.flatnonzero(self.places >= 0)
        index[self.places[resolved]] = resolved
        return index


def distances(ca: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances between all residues, (L, L) from C-alpha coordinates (L, 3), Å."""
    apart: NDArray[np.float64] = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    return apart


def _atoms(
    structure: Structure,
    index: NDArray[np.int64],
    wanted: NDArray[np.bool_],
    near: Sequence[int],
    *,
    coord: NDArray[np.float64] | None = None,
    ca: NDArray[np.float64] | None = None,
) -> Atoms:
    residue = index[structure.residue_index]
    keep = wanted[residue]
    if ca is not None and len(near):
        distance = np.linalg.norm(ca[:, None] - ca[list(near)][None], axis=2).min(axis=1)
        backbone = np.array([name in BACKBONE for name in structure.atom_name])
        keep &= backbone | (distance[residue] <= NEAR)
    keep &= np.array([element != "H" for element in structure.element])
    names = tuple(name for name, kept in zip(structure.atom_name, keep.tolist(), strict=True) if kept)
    return Atoms(residue[keep], names, (structure.coord if coord is None else coord)[keep])


def read_frame(structures: Path, numbers: Sequence[str | None]) -> Frame | None:
    """Read the wild type of a run; None where there is none that fits.

    Parameters
    ----------
    structures : Path
        The run's folder of structures.
    numbers : sequence of str or None, length L
        The structure's own number of each position.
    """
    path = structures / "wild_type.cif"
    if not path.is_file():
        return None
    structure = read_structure(path)
    place_of = {number: place for place, number in enumerate(structure.numbers)}
    places = np.array([-1 if n is None else place_of.get(n, -1) for n in numbers], dtype=np.int64)
    return Frame(structure, places) if (places >= 0).sum() == len(structure) else None


def wild_type_residues(structures: Path, sequence: str) -> pd.DataFrame:
    """Lay the structure of a run's wild type on its sequence: `plddt` and `structure_number` of each residue.

    For a run whose residues.parquet is empty. Unknown values are NaN and None.
    """
    path = structures / "wild_type.cif"
    laid = WildType("", sequence)
    if path.is_file():
        laid = with_structure(laid, read_structure(path))
    plddt = plddt_by_position(laid)
    unknown = np.full(len(sequence), np.nan)
    return pd.DataFrame(
        {"plddt": unknown if plddt is None else plddt, "structure_number": laid.structure_numbers}
    )


def read_changes(frame: Frame, path: Path, sites: Sequence[int]) -> Atoms | None:
    """Read what a built mutant changes; None where none was built."""
    if not path.is_file():
        return None
    try:
        mutant = read_structure(path)
    except MutscanError:
        # The file is foreign or damaged; the numbers of the variant stay valid.
        return None
    return frame.changes(mutant, sites)
