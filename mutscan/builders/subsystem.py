"""The surroundings of the exchanged residues, cut out as a molecule a force field can treat.

Whole residues around the sites, the cut ends of the chain capped with the neighbours' own
atoms (acetyl and N-methyl groups), all hydrogens. Residues near the sites move; of the others
and the caps only the hydrogens do.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders.chemistry import ATOMS, BONDS, element_of
from mutscan.builders.completion import surroundings
from mutscan.builders.hydrogens import HYDROGENS, add_hydrogens, histidine_nitrogen
from mutscan.residues import THREE_LETTER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.builders.completion import CompleteChain

MOVE_RADIUS: Final = 10.0
"""Å; residues whose CA is this near to a site's CA move."""
CONTACT: Final = 4.0
"""Å; so do residues with an atom this near to an atom of the site."""
INCLUDE_RADIUS: Final = 14.0
"""Å; residues this near are there, their heavy atoms holding still."""
GAP: Final = 2
"""Stretches of the chain up to this long that would be cut out between two caps are kept."""
CAP: Final = -1
"""Owner of the atoms of a cap."""


@dataclass(frozen=True)
class Zone:
    """Which residues take part.

    Parameters
    ----------
    sites : tuple of int
        Exchanged residues, ascending.
    movable, included : frozenset of int
        Residue indices; movable ones are included.
    """

    sites: tuple[int, ...]
    movable: frozenset[int]
    included: frozenset[int]


def zone_around(chain: CompleteChain, sites: Sequence[int]) -> Zone:
    """Find the residues around `sites`, from the wild type alone: all exchanges there share them."""
    usable = [i for i in range(len(chain)) if chain.atoms[i]]
    ca = np.array([chain.atoms[i]["CA"] for i in usable])
    owner = np.repeat(usable, [len(chain.atoms[i]) for i in usable])
    coord = np.concatenate([np.array(list(chain.atoms[i].values())) for i in usable])
    movable: set[int] = set()
    included: set[int] = set()
    for site in sites:
        to_ca = np.linalg.norm(ca - chain.atoms[site]["CA"], axis=1)
        movable.update(np.array(usable)[to_ca <= MOVE_RADIUS].tolist())
        included.update(np.array(usable)[to_ca <= INCLUDE_RADIUS].tolist())
        for xyz in chain.atoms[site].values():
            movable.update(owner[np.linalg.norm(coord - xyz, axis=1) <= CONTACT].tolist())
    included |= movable
    size = 0
    while size != len(included):
        size = len(included)
        # A bridge is one unit: half of it would be a wrong residue.
        for first, second in chain.disulfides:
            if {first, second} & included:
                included |= {first, second}
        # Two caps must not share or touch atoms, so short stretches between included ones stay.
        for before, after in pairwise(sorted(included)):
            if 1 < after - before <= GAP + 1 and all(chain.bonded_to_next[before:after]):
                included.update(range(before + 1, after))
    return Zone(tuple(sorted(sites)), frozenset(movable), frozenset(included))


@dataclass(frozen=True, eq=False)
class Molecule:
    """The cut-out with its hydrogens; atoms sorted by residue, heavy ones first within each.

    Parameters
    ----------
    residue_names : tuple of str
        Three-letter names of the r residues, caps (``ACE``, ``NME``) included.
    residue : int array, shape (n,)
        For each atom its residue, 0 to r - 1.
    owner : int array, shape (n,)
        For each atom the wild type's residue it belongs to, `CAP` for a cap.
    atom_names, elements : tuple of str, length n
    coord : float array, shape (n, 3), Å
    movable : bool array, shape (n,)
    bonds : tuple of (int, int)
    """

    residue_names: tuple[str, ...]
    residue: NDArray[np.int64]
    owner: NDArray[np.int64]
    atom_names: tuple[str, ...]
    elements: tuple[str, ...]
    coord: NDArray[np.float64]
    movable: NDArray[np.bool_]
    bonds: tuple[tuple[int, int], ...]

    def heavy(self, coord: NDArray[np.float64]) -> dict[tuple[int, str], NDArray[np.float64]]:
        """Coordinates of the movable heavy atoms, by residue index of the wild type and atom name."""
        return {
            (int(self.owner[k]), self.atom_names[k]): coord[k]
            for k in range(len(self.elements))
            if self.movable[k] and self.elements[k] != "H"
        }


class _Assembly:
    """Heavy atoms and bonds as they are collected, residue by residue."""

    def __init__(self) -> None:
        self.residue_names: list[str] = []
        self.residue: list[int] = []
        self.owner: list[int] = []
        self.names: list[str] = []
        self.coord: list[NDArray[np.float64]] = []
        self.movable: list[bool] = []
        self.hydrogens: list[int] = []
        self.planar: list[bool] = []
        self.bonds: list[tuple[int, int]] = []

    def add(
        self,
        name: str,
        atoms: Mapping[str, NDArray[np.float64]],
        bonds: Sequence[tuple[str, str]],
        hydrogens: Mapping[str, int],
        owner: int,
        movable: bool,
    ) -> dict[str, int]:
        """Add one residue; gives the place of each of its atoms."""
        places = {atom: len(self.names) + k for k, atom in enumerate(atoms)}
        self.residue.extend([len(self.residue_names)] * len(atoms))
        self.residue_names.append(name)
        self.owner.extend([owner] * len(atoms))
        self.names.extend(atoms)
        self.coord.extend(atoms.values())
        self.movable.extend([movable] * len(atoms))
        self.hydrogens.extend(hydrogens.get(atom, 0) for atom in atoms)
        self.planar.extend(atom in ("ND2", "NE2", "NH1", "NH2", "OH") for atom in atoms)
        self.bonds.extend((places[a], places[b]) for a, b in bonds)
        return places


def cut_out(
    chain: CompleteChain, zone: Zone, exchanged: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]]
) -> Molecule:
    """Make the molecule: the wild type's residues of `zone`, those in `exchanged` replaced.

    Parameters
    ----------
    exchanged : mapping
        Residue index to its new one-letter code and heavy atoms; empty for the wild type itself.
    """
    letters = {i: exchanged[i][0] if i in exchanged else chain.sequence[i] for i in zone.included}
    atoms_of = {i: exchanged[i][1] if i in exchanged else chain.atoms[i] for i in zone.included}
    bridges = [
        pair
        for pair in chain.disulfides
        if pair[0] in zone.included and not any(i in exchanged for i in pair)
    ]
    bridged = {i for pair in bridges for i in pair}
    parts = _Assembly()
    places: dict[int, dict[str, int]] = {}
    carbonyl: int | None = None  # the C the next residue's N is bonded to
    for i in sorted(zone.included):
        joined = i > 0 and bool(chain.bonded_to_next[i - 1])
        if joined and i - 1 not in zone.included:
            before = chain.atoms[i - 1]
            cap = {"CH3": before["CA"], "C": before["C"], "O": before["O"]}
            carbonyl = parts.add("ACE", cap, (("CH3", "C"), ("C", "O")), HYDROGENS["ACE"], CAP, False)["C"]
        atoms = {
            name: atoms_of[i][name]
            for name in (*ATOMS[letters[i]], *(("OXT",) if "OXT" in atoms_of[i] else ()))
        }
        bonds = [*BONDS[letters[i]], *((("C", "OXT"),) if "OXT" in atoms else ())]
        here = parts.add(
            THREE_LETTER[letters[i]],
            atoms,
            bonds,
            _hydrogens(chain, exchanged, i, letters[i], atoms, starts=not joined, bridged=i in bridged),
            i,
            i in zone.movable,
        )
        places[i] = here
        if joined:
            assert carbonyl is not None
            parts.bonds.append((carbonyl, here["N"]))
        carbonyl = here["C"]
        if chain.bonded_to_next[i] and i + 1 not in zone.included:
            after = chain.atoms[i + 1]
            cap = {"N": after["N"], "CH3": after["CA"]}
            end = parts.add("NME", cap, (("N", "CH3"),), HYDROGENS["NME"], CAP, False)
            parts.bonds.append((carbonyl, end["N"]))
    parts.bonds.extend((places[a]["SG"], places[b]["SG"]) for a, b in bridges)
    return _with_hydrogens(parts)


def _hydrogens(
    chain: CompleteChain,
    exchanged: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]],
    index: int,
    letter: str,
    atoms: Mapping[str, NDArray[np.float64]],
    *,
    starts: bool,
    bridged: bool,
) -> dict[str, int]:
    counts = dict(HYDROGENS[letter])
    if starts:
        counts["N"] = 2 if letter == "P" else 3
    if bridged:
        counts.pop("SG")
    if letter == "H":
        # An unchanged histidine keeps the wild type's tautomer, whatever stands beside it now.
        around, elements = surroundings(chain.atoms, {index}, near=atoms["CA"], reach=16.0)
        counts[histidine_nitrogen(atoms, around, elements)] = 1
    return counts


def _with_hydrogens(parts: _Assembly) -> Molecule:
    heavy = np.array(parts.coord)
    elements = [element_of(name) for name in parts.names]
    hydrogens, parents = add_hydrogens(heavy, elements, parts.bonds, parts.hydrogens, parts.planar)
    residue = np.array(parts.residue + [parts.residue[k] for k in parents])
    order = np.argsort(residue, kind="stable")  # a residue's hydrogens right behind its heavy atoms
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    n = len(heavy)
    names = [*parts.names, *(f"H{k}" for k in range(len(parents)))]
    all_elements = [*elements, *("H" for _ in parents)]
    owner = np.array(parts.owner + [parts.owner[k] for k in parents])
    # Hydrogens were put where geometry wants them: all may give way, also where heavy atoms hold still.
    movable = np.array(parts.movable + [True] * len(parents), dtype=np.bool_)
    bonds = [*parts.bonds, *((int(parent), n + k) for k, parent in enumerate(parents))]
    return Molecule(
        residue_names=tuple(parts.residue_names),
        residue=residue[order],
        owner=owner[order],
        atom_names=tuple(names[k] for k in order),
        elements=tuple(all_elements[k] for k in order),
        coord=np.concatenate([heavy, hydrogens])[order],
        movable=movable[order],
        bonds=tuple((int(place[a]), int(place[b])) for a, b in bonds),
    )
