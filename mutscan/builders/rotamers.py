"""Side-chain placement from a rotamer library: pure numpy, milliseconds, always the same answer.

The library (``rotamers.json`` beside this file) was measured from crystal
structures of the Protein Data Bank (CC0) by ``training/rotamers/derive.py``; the file
itself says which, how many and how. It follows the methods of [1]_ (rotamers as
clusters of chi angles, ambiguous amide and ring flips treated as such), [2]_ and [3]_
(probabilities depend on the backbone's phi and psi, shrunk towards the average).

References
----------
.. [1] Lovell et al., Proteins 40, 389 (2000), "The penultimate rotamer library".
.. [2] Dunbrack & Cohen, Protein Sci. 6, 1661 (1997), Bayesian backbone dependence.
.. [3] Shapovalov & Dunbrack, Structure 19, 844 (2011), kernels over phi and psi.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.builders.chemistry import (
    ATOMS,
    BACKBONE,
    BONDS,
    CHI,
    FLIPPED_CHI,
    RADII,
    SIDE_CHAIN,
    TREE,
    element_of,
)
from mutscan.builders.geometry import dihedral, extend, superposition, wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ATOMS",
    "BONDS",
    "IDEAL",
    "RADII",
    "Placed",
    "RotamerLibrary",
    "ideal_side_chain",
    "library",
    "place_side_chain",
    "search_side_chain",
]

LJ_DEPTH: Final = 0.12
"""Depth of the contact energy of one atom pair, kcal/mol."""
LJ_CEILING: Final = 10.0
"""A clash counts at most this much per atom pair: the minimiser afterwards can open small ones."""
HYDROGEN_BOND: Final = 1.0
"""Gain of an N or O whose nearest polar atom is a possible partner (cost of a like one: half)."""
LIBRARY_WEIGHT: Final = 1.0
"""Energy of a rotamer is minus this times the logarithm of its probability."""
SEARCH_RADII: Final[dict[str, float]] = {"C": 2.0, "N": 1.75, "O": 1.6, "S": 2.0, "SE": 2.0, "H": 1.2}
"""Radii of the contact energy, Å. These and the weights above were chosen by taking single side chains
out of the library's own crystal structures and putting them back (chi1 within 40 degrees: 83 %, 1,350
residues, exposed ones included), not on pairs of wild type and mutant."""
KNOWN_WEIGHT: Final = 20.0
"""Energy per Å² of deviation from atoms whose place is known (completion of partial side chains)."""
COARSE: Final = 16
"""How many rotamers are refined around their centre in 12 degree steps ..."""
FINE: Final = 6
"""... and of these how many in 5 degree steps."""


@dataclass(frozen=True, eq=False)
class RotamerLibrary:
    """What the data file holds, as arrays.

    Parameters
    ----------
    about : mapping
        Method, sources, counts and the hash of the data.
    geometry : residue -> float array, shape (atoms, 3)
        Rows follow `chemistry.TREE`: length (Å), angle and dihedral (or offset to its chi; degrees).
    backbone : residue -> mapping
        ``N-CA CA-C C-O`` (Å), ``N-CA-C CA-C-O`` (degrees).
    chi, spread : residue -> float array, shape (rotamers, chi angles), degrees
    weight : residue -> float array, shape (rotamers,)
        Probability of the rotamer among those of its chi1 bin.
    chi1_bin : residue -> int array, shape (rotamers,)
        0, 1, 2: chi1 in [0, 120), [120, 240), [240, 360).
    chi1 : residue -> float array, shape (n, n, 3)
        Probability of each chi1 bin on a grid of phi and psi, first centre at -180 degrees.
    """

    about: Mapping[str, Any]
    geometry: Mapping[str, NDArray[np.float64]]
    backbone: Mapping[str, Mapping[str, float]]
    chi: Mapping[str, NDArray[np.float64]]
    spread: Mapping[str, NDArray[np.float64]]
    weight: Mapping[str, NDArray[np.float64]]
    chi1_bin: Mapping[str, NDArray[np.int64]]
    chi1: Mapping[str, NDArray[np.float64]]

    @classmethod
    def from_json(cls, text: str | bytes) -> RotamerLibrary:
        """Read the data file's text."""
        raw = json.loads(text)
        residues = raw["residues"]
        rotameric = {r: entry for r, entry in residues.items() if entry.get("rotamers")}
        table = {r: np.array(entry["rotamers"], float) for r, entry in rotameric.items()}
        n_chi = {r: len(CHI[r]) for r in table}
        grid = int(raw["grid"])
        return cls(
            about=raw["about"],
            geometry={r: np.array(entry["geometry"], float).reshape(-1, 3) for r, entry in residues.items()},
            backbone={r: entry["backbone"] for r, entry in residues.items()},
            chi={r: t[:, 2 : 2 + n_chi[r]] for r, t in table.items()},
            spread={r: t[:, 2 + n_chi[r] :] for r, t in table.items()},
            weight={r: t[:, 1] for r, t in table.items()},
            chi1_bin={r: t[:, 0].astype(np.int64) for r, t in table.items()},
            chi1={
                r: np.array(entry["chi1"], float).reshape(grid, grid, 3) / 1000.0
                for r, entry in rotameric.items()
            },
        )

    def probabilities(self, residue: str, phi: float | None, psi: float | None) -> NDArray[np.float64]:
        """Probability of each rotamer of `residue`, given the backbone where it is known (else averaged)."""
        table = self.chi1[residue]
        n = len(table)
        columns = table
        for value in (phi, psi):  # linear between neighbouring grid points, round the circle
            if value is None:
                columns = columns.mean(axis=0)
                continue
            low = int(np.floor((value + 180.0) / 360.0 * n))
            share = (value + 180.0) / 360.0 * n - low
            columns = (1.0 - share) * columns[low % n] + share * columns[(low + 1) % n]
        probability = columns[self.chi1_bin[residue]] * self.weight[residue]
        return np.asarray(probability / probability.sum())  # the rarest are left out of the file


@cache
def library() -> RotamerLibrary:
    """Read the shipped library, once per process."""
    return RotamerLibrary.from_json(files("mutscan.builders").joinpath("rotamers.json").read_bytes())


class _Ideal(Mapping[str, Mapping[str, "NDArray[np.float64]"]]):
    """Residue -> atom -> coordinates, read from the library when first asked for."""

    def __getitem__(self, residue: str) -> Mapping[str, NDArray[np.float64]]:
        if residue not in TREE:
            raise KeyError(residue)
        return _ideal(residue)

    def __iter__(self) -> Iterator[str]:
        return iter(TREE)

    def __len__(self) -> int:
        return len(TREE)


IDEAL: Final[Mapping[str, Mapping[str, NDArray[np.float64]]]] = _Ideal()
"""Heavy atoms of each residue in its commonest conformation, Å; CA at the origin."""


@cache
def _ideal(residue: str) -> Mapping[str, NDArray[np.float64]]:
    lib = library()
    measured = lib.backbone[residue]
    tau = np.radians(measured["N-CA-C"])
    ca = np.zeros(3)
    n = np.array([measured["N-CA"], 0.0, 0.0])
    c = measured["CA-C"] * np.array([np.cos(tau), np.sin(tau), 0.0])
    o = extend(n, ca, c, measured["C-O"], measured["CA-C-O"], -40.0)  # psi of a helix
    atoms = {"N": n, "CA": ca, "C": c, "O": o}
    if residue in lib.chi:
        best = int(np.argmax(lib.probabilities(residue, None, None)))
        chi = lib.chi[residue][best]
    else:
        chi = np.zeros(0)
    return atoms | _grow(residue, atoms, chi[None], 0)


def _cb(residue: str, backbone: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """CB by laying the ideal N, CA and C over the actual ones, which shares their deviations evenly."""
    ideal = _ideal(residue)
    rotation, translation = superposition(
        np.array([ideal[a] for a in ("N", "CA", "C")]), np.array([backbone[a] for a in ("N", "CA", "C")])
    )
    return np.asarray(ideal["CB"] @ rotation + translation)


def _conformers(
    residue: str, backbone: Mapping[str, NDArray[np.float64]], chi: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coordinates of the side chain for each row of `chi`; shape (rows, atoms, 3), atoms as SIDE_CHAIN."""
    rows = len(chi)
    placed: dict[str, NDArray[np.float64]] = {
        name: np.asarray(backbone[name], float) for name in BACKBONE[:3]
    }
    if residue not in "G":
        placed["CB"] = _cb(residue, placed)
    for row, (length, bond_angle, torsion) in zip(TREE[residue], library().geometry[residue], strict=True):
        if row.atom == "CB":
            continue
        turn = torsion + chi[:, row.chi] if row.chi >= 0 else np.full(rows, torsion)
        placed[row.atom] = extend(
            placed[row.first], placed[row.second], placed[row.third], length, bond_angle, turn
        )
    out = np.empty((rows, len(SIDE_CHAIN[residue]), 3))
    for k, name in enumerate(SIDE_CHAIN[residue]):
        out[:, k] = placed[name]
    return out


def _grow(
    residue: str, atoms: Mapping[str, NDArray[np.float64]], chi: NDArray[np.float64], row: int
) -> dict[str, NDArray[np.float64]]:
    """Side chain of one conformer as a mapping; CB from its own Z-matrix row (used for the ideal itself)."""
    placed = dict(atoms)
    for tree, (length, bond_angle, torsion) in zip(TREE[residue], library().geometry[residue], strict=True):
        turn = torsion + chi[row, tree.chi] if tree.chi >= 0 else torsion
        placed[tree.atom] = extend(
            placed[tree.first], placed[tree.second], placed[tree.third], length, bond_angle, turn
        )
    return {name: placed[name] for name in SIDE_CHAIN[residue]}


@dataclass(frozen=True, eq=False)
class Placed:
    """A side chain put onto a backbone.

    Parameters
    ----------
    atoms : mapping atom name -> float array, shape (3,), Å
        All heavy atoms of the residue, backbone as given.
    chi : float array, degrees
    energy : float
        Contacts + polar + library term, kcal/mol-like; comparable between conformers only.
    """

    atoms: Mapping[str, NDArray[np.float64]]
    chi: NDArray[np.float64]
    energy: float


def backbone_angles(
    backbone: Mapping[str, NDArray[np.float64]], environment: NDArray[np.float64], elements: NDArray[np.str_]
) -> tuple[float | None, float | None]:
    """Phi and psi, degrees, from the neighbours' C and N within bonding distance; None at a chain end."""
    n, ca, c = (np.asarray(backbone[a], float) for a in ("N", "CA", "C"))
    angles: list[float | None] = []
    for anchor, element in ((n, "C"), (c, "N")):
        candidates = environment[elements == element]
        distance = np.linalg.norm(candidates - anchor, axis=1)
        if len(distance) == 0 or distance.min() > 1.8:
            angles.append(None)
            continue
        neighbour = candidates[int(np.argmin(distance))]
        quad = (neighbour, n, ca, c) if element == "C" else (n, ca, c, neighbour)
        angles.append(float(dihedral(*quad)))
    return angles[0], angles[1]


def place_side_chain(
    residue: str,
    backbone: Mapping[str, ArrayLike],
    environment: ArrayLike,
    environment_elements: Sequence[str],
) -> dict[str, NDArray[np.float64]]:
    """Put the best rotamer of `residue` on a backbone.

    Parameters
    ----------
    residue : str
        One-letter code.
    backbone : mapping with N, CA, C and, where known, O; each (3,), Å
    environment : float array, shape (m, 3), Å
        Heavy atoms of all other residues, the chain neighbours' backbone included (phi and psi are
        read from it); none of the residue's own.
    environment_elements : sequence of str, length m

    Returns
    -------
    dict atom name -> float array, shape (3,), Å
        All heavy atoms of the residue, backbone as given.

    See Also
    --------
    search_side_chain : the same with energies, known atoms and fixed phi and psi.
    """
    return dict(search_side_chain(residue, backbone, environment, environment_elements).atoms)


def ideal_side_chain(residue: str, backbone: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """Put the commonest conformation of `residue` on a backbone without looking at any neighbour."""
    frame = {name: np.asarray(xyz, float) for name, xyz in backbone.items() if name in BACKBONE}
    ideal = _ideal(residue)
    rotation, translation = superposition(
        np.array([ideal[a] for a in ("N", "CA", "C")]), np.array([frame[a] for a in ("N", "CA", "C")])
    )
    return frame | {name: ideal[name] @ rotation + translation for name in SIDE_CHAIN[residue]}


def search_side_chain(
    residue: str,
    backbone: Mapping[str, ArrayLike],
    environment: ArrayLike,
    environment_elements: Sequence[str],
    *,
    known: Mapping[str, ArrayLike] | None = None,
) -> Placed:
    """Search the rotamers of `residue` for the one that fits best.

    Contacts are Lennard-Jones with a ceiling, N and O gain by a polar partner,
    and each rotamer costs -ln(probability given phi and psi). The best few
    are refined around their centres.

    Parameters
    ----------
    residue, backbone, environment, environment_elements
        As in `place_side_chain`.
    known : mapping atom name -> (3,), Å, optional
        Side-chain atoms whose place is known: the search stays close to them and they
        are returned unchanged.
    """
    frame = {name: np.asarray(xyz, float) for name, xyz in backbone.items() if name in BACKBONE}
    fixed = {
        name: np.asarray(xyz, float) for name, xyz in (known or {}).items() if name in SIDE_CHAIN[residue]
    }
    names = SIDE_CHAIN[residue]
    around = np.asarray(environment, float).reshape(-1, 3)
    elements = np.array([e.upper() for e in environment_elements], dtype=np.str_)
    if not names:
        return Placed(frame, np.zeros(0), 0.0)
    phi, psi = backbone_angles(frame, around, elements)
    scene = _Scene(residue, frame, around, elements, fixed)
    if residue not in library().chi:
        coord = _conformers(residue, frame, np.zeros((1, 0)))
        energy = scene.energy(coord)
        return _placed(residue, frame, fixed, coord[0], np.zeros(0), float(energy[0]))

    lib = library()
    probability = lib.probabilities(residue, phi, psi)
    centre, spread = lib.chi[residue], lib.spread[residue]
    prior = -LIBRARY_WEIGHT * np.log(np.maximum(probability, 1e-6))
    total = scene.energy(_conformers(residue, frame, centre)) + prior
    order = np.argsort(total, kind="stable")[:COARSE]
    chi, which, total = centre[order], order, total[order]
    for step, keep in ((12.0, FINE), (5.0, 1)):
        shifts = np.array(list(product((0.0, -step, step), repeat=min(chi.shape[1], 3))))
        shifts = np.pad(shifts, ((0, 0), (0, chi.shape[1] - shifts.shape[1])))
        trial = (chi[:, None] + shifts).reshape(-1, chi.shape[1])
        source = np.repeat(which, len(shifts))
        strain = (wrap(trial - centre[source]) / np.maximum(spread[source], 6.0)) ** 2
        trial_total = (
            scene.energy(_conformers(residue, frame, trial))
            + prior[source]
            + 0.5 * LIBRARY_WEIGHT * strain.sum(axis=1)
        )
        # The best conformer of each rotamer goes on, so that a good one is not crowded out.
        per_rotamer = trial_total.reshape(len(which), len(shifts))
        pick = per_rotamer.argmin(axis=1)
        rows = np.arange(len(which))
        total = per_rotamer[rows, pick]
        chi = trial.reshape(len(which), len(shifts), -1)[rows, pick]
        order = np.argsort(total, kind="stable")[:keep]
        chi, which, total = chi[order], which[order], total[order]
    coord = _conformers(residue, frame, chi[:1])
    return _placed(residue, frame, fixed, coord[0], wrap(chi[0]), float(total[0]))


def _placed(
    residue: str,
    frame: Mapping[str, NDArray[np.float64]],
    fixed: Mapping[str, NDArray[np.float64]],
    coord: NDArray[np.float64],
    chi: NDArray[np.float64],
    energy: float,
) -> Placed:
    atoms = dict(frame) | dict(zip(SIDE_CHAIN[residue], coord, strict=True)) | dict(fixed)
    return Placed(atoms, chi, energy)


class _Scene:
    """The surroundings of one site, cut to what its side chain can reach."""

    def __init__(
        self,
        residue: str,
        frame: Mapping[str, NDArray[np.float64]],
        around: NDArray[np.float64],
        elements: NDArray[np.str_],
        fixed: Mapping[str, NDArray[np.float64]],
    ) -> None:
        names = SIDE_CHAIN[residue]
        near = np.linalg.norm(around - frame["CA"], axis=1) < 13.0
        self._coord = around[near]
        self._radius = np.array([SEARCH_RADII.get(e, SEARCH_RADII["C"]) for e in elements[near]])
        self._polar = np.isin(elements[near], ["N", "O"])
        self._nitrogen = elements[near][self._polar] == "N"
        own = [element_of(name) for name in names]
        self._own_radius = np.array([SEARCH_RADII[e] for e in own])
        # CB is where the backbone puts it: its contacts say nothing about the rotamer.
        self._scored = np.array([name != "CB" for name in names]) if len(names) > 1 else np.ones(1, bool)
        self._own_polar = np.array([e in "NO" for e in own]) & self._scored
        self._own_nitrogen = np.array([e == "N" for e in own])
        # Neighbours in the chain are bonded to N or C: no contact term between 1-4 atoms or nearer.
        self._fixed = [(names.index(name), xyz) for name, xyz in fixed.items()]
        self._flip = residue in FLIPPED_CHI
        self._own_o = frame.get("O")
        self._proline = residue == "P"
        if residue == "P" and len(self._coord):
            # CD is bonded to N, so the residue before is its 1-3 neighbour.
            self._bonded = np.linalg.norm(self._coord - frame["N"], axis=1) < 2.6
        else:
            self._bonded = np.zeros(len(self._coord), bool)

    def energy(self, conformers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energy of each conformer, shape (rows,); the library term is the caller's."""
        rows, atoms, _ = conformers.shape
        total = np.zeros(rows)
        if len(self._coord):
            distance = self._distances(conformers)
            scored = distance[:, self._scored]
            radii = self._own_radius[self._scored][:, None] + self._radius[None]
            if self._proline:
                scored = np.where(self._bonded[None, None], 2.0 * radii[None], scored)
            q = (radii / np.maximum(scored, 0.6 * radii)) ** 6
            total += np.minimum(LJ_DEPTH * (q * q - 2.0 * q), LJ_CEILING).sum(axis=(1, 2))
            if self._own_polar.any() and self._polar.any():
                total += self._polar_energy(distance[:, self._own_polar][:, :, self._polar])
        if self._own_o is not None and atoms > 1:
            own = np.linalg.norm(conformers[:, self._scored] - self._own_o, axis=2)
            radii = self._own_radius[self._scored] + SEARCH_RADII["O"]
            q = (radii / np.maximum(own, 0.6 * radii)) ** 6
            total += np.minimum(LJ_DEPTH * (q * q - 2.0 * q), LJ_CEILING).sum(axis=1)
        for k, xyz in self._fixed:
            total += KNOWN_WEIGHT * ((conformers[:, k] - xyz) ** 2).sum(axis=1)
        return total

    def _polar_energy(self, distance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each polar atom is judged by its nearest polar neighbour at 2.5 to 3.3 Å.

        In amides and histidine, N wants O (or a carbonyl's O wants N): like pairs cost, which
        settles their flip. Elsewhere (hydroxyl, carboxylate, ammonium) any partner counts.
        """
        contact = np.where((distance > 2.5) & (distance < 3.3), distance, np.inf)
        nearest = contact.argmin(axis=2)
        bonded = np.isfinite(np.take_along_axis(contact, nearest[..., None], axis=2)[..., 0])
        like = self._nitrogen[nearest] == self._own_nitrogen[self._own_polar][None]
        gain = np.where(like & self._flip, 0.5 * HYDROGEN_BOND, -HYDROGEN_BOND)
        return np.asarray(np.where(bonded, gain, 0.0).sum(axis=1))

    def _distances(self, conformers: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.linalg.norm(conformers[:, :, None] - self._coord[None, None], axis=3))
