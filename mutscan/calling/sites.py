"""Residues that do the work and single residues of note, and what lies near them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.calling.naming import is_site
from mutscan.structures import BACKBONE, ca_by_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.structures import Feature, WildType

KINDS: Final = ("Active site", "Binding site")
"""Kinds of sites that are told before the others near a residue."""

CONTACT: Final = 5.0
"""Å between heavy atoms of side chains (C-alpha for glycine)."""

CONTACT_CA: Final = 8.0
"""Å between C-alpha atoms where a side chain is not there."""


class FunctionalSites:
    """The sites of one wild type: catalytic and binding residues, motifs, bonds, modified residues.

    Parameters
    ----------
    wild_type : WildType
    """

    def __init__(self, wild_type: WildType) -> None:
        self.atoms = PlacedAtoms(wild_type)
        self._features = [feature for feature in wild_type.features if is_site(feature)]
        self._reach: dict[int, dict[int, float]] = {}

    @property
    def shells(self) -> list[tuple[Feature, NDArray[np.int64]]]:
        """Each site of any kind with itself and all residues near it, 0-based."""
        return [
            (feature, np.array(sorted(self._distances(number))))
            for number, feature in enumerate(self._features)
        ]

    def around(self, index: int) -> list[tuple[Feature, float]]:
        """Sites of all kinds that hold a residue (0-based; distance 0) or lie near it (Å).

        Near is a side chain within 5 Å, or a C-alpha atom within 8 Å where a side chain is not there.
        """
        return [
            (feature, reach[index])
            for number, feature in enumerate(self._features)
            if index in (reach := self._distances(number))
        ]

    def beside(self, index: int, reach: int = 2) -> list[Feature]:
        """Sites within `reach` residues in sequence of a residue whose distance to them is not known."""
        known = self.atoms.known
        return [
            feature
            for feature in self._features
            if max(feature.start - 1 - index, index - feature.end + 1) in range(1, reach + 1)
            and not (known[index] and known[feature.start - 1 : feature.end].any())
        ]

    def _distances(self, number: int) -> dict[int, float]:
        """Distance in Å of each residue that is part of a site or near it."""
        if number not in self._reach:
            feature = self._features[number]
            self._reach[number] = self.atoms.around(np.arange(feature.start - 1, feature.end))
        return self._reach[number]


class PlacedAtoms:
    """The heavy atoms of a wild type's structure, laid out on its sequence of L residues.

    Parameters
    ----------
    wild_type : WildType

    Attributes
    ----------
    known : bool array, shape (L,)
        Residues with a C-alpha atom.
    """

    def __init__(self, wild_type: WildType) -> None:
        self._wild_type = wild_type
        ca = ca_by_position(wild_type)
        self.ca = np.full((len(wild_type.sequence), 3), np.nan) if ca is None else ca
        self.known: NDArray[np.bool_] = np.asarray(np.isfinite(self.ca).all(axis=1))

    @cached_property
    def coord(self) -> NDArray[np.float64]:
        """Of n atoms, shape (n, 3), Å; those of residues without a place in the sequence are left out."""
        return self._placed[0]

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """Index of each atom's residue in the sequence, shape (n,)."""
        return self._placed[1]

    @cached_property
    def side(self) -> NDArray[np.bool_]:
        """Which atoms are of a side chain, shape (n,); for glycine its C-alpha atom."""
        return self._placed[2]

    @cached_property
    def tree(self) -> cKDTree:
        """Of all n atoms."""
        return cKDTree(self.coord)

    @cached_property
    def has_side(self) -> NDArray[np.bool_]:
        """Residues with atoms of a side chain, shape (L,)."""
        has: NDArray[np.bool_] = np.zeros(len(self.ca), dtype=np.bool_)
        has[self.owner[self.side]] = True
        return has

    @cached_property
    def _placed(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        structure, index = self._wild_type.structure, self._wild_type.structure_index
        if structure is None or index is None:
            return np.empty((0, 3)), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
        place = np.full(len(structure), -1)  # structure residue to index on the sequence
        place[index[index >= 0]] = np.flatnonzero(index >= 0)
        name = np.array(structure.atom_name)
        side = ~np.isin(name, (*BACKBONE, "OXT"))
        if side.any():
            glycine = np.array([letter == "G" for letter in structure.sequence])
            side |= (name == "CA") & glycine[structure.residue_index]
        owner = place[structure.residue_index]
        kept = (owner >= 0) & (np.array(structure.element) != "H")
        return structure.coord[kept], owner[kept], side[kept]

    def around(self, own: NDArray[np.int64]) -> dict[int, float]:
        """Distances, Å, of the residues that touch the residues `own`, which have 0 themselves."""
        near: dict[int, float] = {}
        mine = self.coord[self.side & np.isin(self.owner, own)]
        for atom, found in zip(mine, self.tree.query_ball_point(mine, CONTACT), strict=True):
            there = np.asarray(found, dtype=np.int64)
            there = there[self.side[there]]
            for residue, apart in zip(
                self.owner[there].tolist(),
                np.linalg.norm(self.coord[there] - atom, axis=1).tolist(),
                strict=True,
            ):
                near[residue] = min(apart, near.get(residue, np.inf))
        for residue in own.tolist():
            apart = np.linalg.norm(self.ca - self.ca[residue], axis=1)
            # A pair with both side chains was judged by them.
            judged = self.has_side & self.has_side[residue]
            for other in np.flatnonzero((apart <= CONTACT_CA) & ~judged).tolist():
                near[other] = min(float(apart[other]), near.get(other, np.inf))
        return near | dict.fromkeys(own.tolist(), 0.0)
