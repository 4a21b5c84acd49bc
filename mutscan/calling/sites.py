"""Catalytic and binding residues, and what lies next to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.calling.naming import point_name
from mutscan.structures.atoms import BACKBONE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Feature, WildType

KINDS: Final = ("Active site", "Binding site")
"""UniProt's kinds of residues that do the work."""

CONTACT: Final = 5.0
"""Å between heavy atoms of side chains (C-alpha for glycine)."""

CONTACT_CA: Final = 8.0
"""Å between C-alpha atoms where a side chain is not there."""

NAMED: Final = 4
"""Sites named; the rest are counted."""


class FunctionalSites:
    """The catalytic and binding residues of one wild type.

    Parameters
    ----------
    wild_type : WildType
    """

    def __init__(self, wild_type: WildType) -> None:
        self._sites: list[tuple[Feature, NDArray[np.int64]]] = []
        wanted = [f for f in wild_type.features if f.kind in KINDS]
        atoms = _Atoms(wild_type) if wanted else None
        for feature in wanted:
            own = np.arange(feature.start - 1, feature.end)
            self._sites.append((feature, own if atoms is None else atoms.around(own)))

    @property
    def shells(self) -> list[tuple[Feature, NDArray[np.int64]]]:
        """Each site with itself and all residues within 5 Å of it, 0-based."""
        return self._sites

    def near(self, indices: NDArray[np.int64] | Sequence[int]) -> tuple[str, ...]:
        """Sites that are among residues (0-based) or within 5 Å of one, in order of position.

        Examples
        --------
        >>> from mutscan.structures import Feature, WildType
        >>> features = (Feature("Active site", "", 3, 3, "UniProt"),)
        >>> sites = FunctionalSites(WildType("x", "MKTA", features=features))
        >>> sites.near([2]), sites.near([0])
        (('active site 3',), ())
        """
        found = [
            point_name(feature)
            for feature, around in self._sites
            if np.isin(np.asarray(indices), around).any()
        ]
        found = list(dict.fromkeys(found))
        rest = [f"{len(found) - NAMED} more"] if len(found) > NAMED else []
        return (*found[:NAMED], *rest)


class _Atoms:
    """Which residues touch which, in a wild type's structure."""

    def __init__(self, wild_type: WildType) -> None:
        structure, index = wild_type.structure, wild_type.structure_index
        self.known = structure is not None and index is not None
        if structure is None or index is None:
            return
        place = np.full(len(structure), -1)  # structure residue to index on the sequence
        place[index[index >= 0]] = np.flatnonzero(index >= 0)
        side = np.array([name not in BACKBONE for name in structure.atom_name])
        side &= np.array([element != "H" for element in structure.element])
        glycine = np.array([letter == "G" for letter in structure.sequence])
        if side.any():
            alpha = np.array([name == "CA" for name in structure.atom_name])
            side |= alpha & glycine[structure.residue_index]
        owner = place[structure.residue_index]
        kept = side & (owner >= 0)
        self.owner, self.coord = owner[kept], structure.coord[kept]
        self.has_side = np.zeros(len(index), dtype=bool)
        self.has_side[self.owner] = True
        self.ca = np.full((len(index), 3), np.nan)
        self.ca[index >= 0] = structure.ca[index[index >= 0]]

    def around(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Find the residues `own` and all that touch them."""
        if not self.known:
            return own
        found = [own]
        mine = self.coord[np.isin(self.owner, own)]
        if len(mine):
            distance, _ = cKDTree(mine).query(self.coord, distance_upper_bound=CONTACT)
            found.append(np.unique(self.owner[np.isfinite(distance)]))
        bare = ~self.has_side & np.isfinite(self.ca).all(axis=1)
        for residue in own.tolist():
            with np.errstate(invalid="ignore"):
                near = np.linalg.norm(self.ca - self.ca[residue], axis=1) <= CONTACT_CA
            # A pair with both side chains was judged by them.
            found.append(np.flatnonzero(near & (bare | ~self.has_side[residue])))
        return np.unique(np.concatenate(found))
