"""Hydrogens from geometry: where bonds and hybridisation put them, without a force field or a random start.

Hydroxyl and thiol hydrogens turn towards an acceptor and away from all else; a histidine carries its
hydrogen where an acceptor is nearer. Asp, Glu, Lys, Arg and chain ends are charged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders.geometry import extend, unit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


_SIDE: Final[dict[str, str]] = {
    "G": "", "A": "CB=3", "S": "CB=2 OG=1", "C": "CB=2 SG=1", "T": "CB=1 OG1=1 CG2=3",
    "V": "CB=1 CG1=3 CG2=3", "I": "CB=1 CG1=2 CG2=3 CD1=3", "L": "CB=2 CG=1 CD1=3 CD2=3",
    "P": "CB=2 CG=2 CD=2", "M": "CB=2 CG=2 CE=3", "D": "CB=2", "N": "CB=2 ND2=2",
    "E": "CB=2 CG=2", "Q": "CB=2 CG=2 NE2=2", "K": "CB=2 CG=2 CD=2 CE=2 NZ=3",
    "R": "CB=2 CG=2 CD=2 NE=1 NH1=2 NH2=2", "H": "CB=2 CD2=1 CE1=1",
    "F": "CB=2 CD1=1 CD2=1 CE1=1 CE2=1 CZ=1", "Y": "CB=2 CD1=1 CD2=1 CE1=1 CE2=1 OH=1",
    "W": "CB=2 CD1=1 NE1=1 CE3=1 CZ2=1 CZ3=1 CH2=1",
}  # fmt: skip

HYDROGENS: Final[dict[str, dict[str, int]]] = {
    residue: {"CA": 2 if residue == "G" else 1}
    | ({} if residue == "P" else {"N": 1})
    | {name: int(number) for name, number in (part.split("=") for part in text.split())}
    for residue, text in _SIDE.items()
} | {"ACE": {"CH3": 3}, "NME": {"N": 1, "CH3": 3}}
"""How many hydrogens each heavy atom carries inside a chain (His: without the one on its ring's N)."""

BOND_LENGTH: Final[dict[str, float]] = {"C": 1.09, "N": 1.01, "O": 0.96, "S": 1.34}
TETRAHEDRAL_HALF: Final = np.radians(54.0)
"""Half the angle between the two hydrogens of a CH2."""
ACCEPTOR_REACH: Final = 2.6
"""Å from a trial hydrogen to an O that would bind it."""
TWIST: Final = 0.1
"""Cost of an eclipsed hydroxyl, in the Å by which an acceptor would have to be nearer."""
CROWDING: Final = 3.0
"""Cost of each Å that a trial hydrogen is too near to another atom."""


def histidine_nitrogen(
    atoms: Mapping[str, NDArray[np.float64]], around: NDArray[np.float64], elements: Sequence[str]
) -> str:
    """Ring nitrogen of a neutral histidine with the hydrogen: ``NE2`` unless an O is nearer to ``ND1``."""
    oxygens = around[np.array([e == "O" for e in elements], dtype=np.bool_)] if len(around) else around
    if not len(oxygens):
        return "NE2"
    delta, epsilon = (float(np.linalg.norm(oxygens - atoms[name], axis=1).min()) for name in ("ND1", "NE2"))
    return "ND1" if delta < 3.3 and delta < epsilon else "NE2"


def add_hydrogens(
    coord: NDArray[np.float64],
    elements: Sequence[str],
    bonds: Sequence[tuple[int, int]],
    counts: Sequence[int],
    planar: Sequence[bool],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Place the hydrogens of a molecule given as heavy atoms.

    Parameters
    ----------
    coord : float array, shape (n, 3), Å
    elements : sequence of str, length n
    bonds : sequence of (int, int)
        Between heavy atoms.
    counts : sequence of int, length n
        Hydrogens on each heavy atom.
    planar : sequence of bool, length n
        Atoms with one heavy neighbour whose hydrogens lie in the neighbour's plane (NH2 of amides and
        guanidinium, the hydroxyl of tyrosine).

    Returns
    -------
    hydrogens : float array, shape (h, 3), Å
    parents : int array, shape (h,)
        The heavy atom each is bonded to, ascending.
    """
    neighbours: list[list[int]] = [[] for _ in counts]
    for a, b in bonds:
        neighbours[a].append(b)
        neighbours[b].append(a)
    placed: dict[int, NDArray[np.float64]] = {}
    rotors = []
    for atom, count in enumerate(counts):
        if not count:
            continue
        length = BOND_LENGTH[elements[atom]]
        around = neighbours[atom]
        arms = unit(coord[around] - coord[atom])
        if len(around) == 1 and count == 1:
            rotors.append(atom)  # OH and SH: when all other hydrogens are there
        elif len(around) == 1:
            turns = (0.0, 180.0) if planar[atom] else (180.0, 60.0, -60.0)
            placed[atom] = _turned(coord, neighbours, atom, length, 119.0 if planar[atom] else 109.5, turns)
        elif count == 1:
            placed[atom] = coord[atom] - length * _direction(arms)[None]
        elif count == 2 and len(around) == 2:
            away = -_direction(arms)
            aside = unit(np.cross(arms[0], arms[1]))
            sides = np.array([[1.0], [-1.0]])
            placed[atom] = coord[atom] + length * (
                np.cos(TETRAHEDRAL_HALF) * away + sides * np.sin(TETRAHEDRAL_HALF) * aside
            )
        else:
            raise ValueError(f"{count} hydrogens on {elements[atom]} with {len(around)} heavy neighbours")
    for atom in rotors:
        placed[atom] = _rotor(coord, elements, neighbours, placed, atom, bool(planar[atom]))
    parents = [atom for atom, count in enumerate(counts) for _ in range(count)]
    return np.concatenate([placed[atom] for atom in sorted(placed)]), np.array(parents, dtype=np.int64)


def _direction(arms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean direction of the bonds; any perpendicular one where they cancel out (a distorted atom)."""
    total = arms.sum(axis=0)
    if np.linalg.norm(total) < 1e-3:
        total = np.cross(arms[0], np.eye(3)[int(np.argmin(np.abs(arms[0])))])
    return unit(total)


def _turned(
    coord: NDArray[np.float64],
    neighbours: list[list[int]],
    atom: int,
    length: float,
    angle: float,
    turns: Sequence[float],
) -> NDArray[np.float64]:
    """Places around the only bond of `atom`, at dihedrals `turns` to a neighbour of its neighbour."""
    anchor = neighbours[atom][0]
    reference = next(k for k in neighbours[anchor] if k != atom)
    return extend(coord[reference], coord[anchor], coord[atom], length, angle, np.array(turns))


def _rotor(
    coord: NDArray[np.float64],
    elements: Sequence[str],
    neighbours: list[list[int]],
    placed: Mapping[int, NDArray[np.float64]],
    atom: int,
    planar: bool,
) -> NDArray[np.float64]:
    """Hydrogen of a hydroxyl or thiol: towards an acceptor, away from everything else, best staggered."""
    anchor = neighbours[atom][0]
    turns = np.arange(-180.0, 180.0, 30.0)
    angle = 96.0 if elements[atom] == "S" else 109.5
    trial = _turned(coord, neighbours, atom, BOND_LENGTH[elements[atom]], angle, turns.tolist())
    fold = 2.0 if planar else 3.0
    cost = TWIST * (1.0 - np.cos(np.radians(fold * (turns - 180.0))))
    others = np.ones(len(coord), dtype=np.bool_)
    others[[atom, anchor, *neighbours[anchor]]] = False
    heavy = np.linalg.norm(trial[:, None] - coord[others][None], axis=2)
    acceptor = np.array([e == "O" for e in elements], dtype=np.bool_)[others]
    bond = heavy[:, acceptor].min(axis=1, initial=np.inf)
    cost -= np.where((bond > 1.5) & (bond < ACCEPTOR_REACH), ACCEPTOR_REACH - bond, 0.0)
    cost += CROWDING * np.maximum(0.0, np.where(acceptor, 1.6, 2.3) - heavy).sum(axis=1)
    hydrogens = np.concatenate(
        [xyz for parent, xyz in placed.items() if parent not in (atom, anchor)] or [np.empty((0, 3))]
    )
    apart = np.linalg.norm(trial[:, None] - hydrogens[None], axis=2)
    cost += CROWDING * np.maximum(0.0, 2.0 - apart).sum(axis=1)
    best = int(cost.argmin())
    return trial[best : best + 1]
