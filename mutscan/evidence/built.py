"""Evidence that a built mutant gives beyond its wild type: what moved, what touches what, what was lost."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.scores import Neighbourhood

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.structures import Structure

BUILT_EVIDENCE: Final[dict[str, str]] = {
    "built_lddt_drop": "1 - lowest C-alpha lDDT of any residue, mutant against wild type",
    "built_lddt_drop_site": "1 - C-alpha lDDT of the site",
    "built_tm_drop": "1 - 1 / (1 + (d / d0)^2), mean over residues, in the frame the mutant is given in",
    "built_site_shift": "how far the site's C-alpha moved, Å",
    "built_near_shift": "mean shift of the C-alphas within 10 Å of the site's, the site left out, Å",
    "built_max_shift": "largest shift of a C-alpha, Å",
    "built_side_chain_shift": "mean shift of the side-chain atoms of residues that touch the site, Å",
    "built_accessibility": "share of the wild type's side-chain surface at the site that water reaches, 0-1",
    "built_area_change": "side-chain surface of the site that water reaches, mutant less wild type, Å²",
    "built_buried_change": "side-chain surface of the site that water does not reach, the same, Å²",
    "built_contacts": "pairs of atoms within 5 Å, side chain of the wild type's site to residues beyond ± 1",
    "built_contacts_change": "the same pairs, mutant less wild type",
    "built_contacts_lost": "residues beyond ± 1 that the site's side chain touched (5 Å) and no longer does",
    "built_clash": "overlap of atoms of the site's side chain with others, mutant less wild type, Å",
    "built_room": "overlap of the mutant's side chain with the wild type's surroundings as they were, Å",
    "built_polar_change": "polar contacts (3.5 Å) of the site's side chain, mutant less wild type",
    "built_salt_change": "salt bridges (4 Å) of the site's side chain, mutant less wild type",
    "built_phi_misfit": "degrees by which the site's phi is outside of what the new residue adopts",
}
"""Evidence of a built mutant and what it means."""

NEAR: Final = 10.0
"""Å between C-alphas: the surroundings of a site."""
TOUCH: Final = 5.0
"""Å between heavy atoms of residues that touch."""
POLAR: Final = 3.5
SALT: Final = 4.0
_BACKBONE: Final = frozenset({"N", "CA", "C", "O", "OXT"})
_RADIUS: Final = {"C": 1.75, "N": 1.6, "O": 1.5, "S": 1.8}
_PROBE: Final = 1.4
_SLACK: Final = 0.3  # Å; atoms packed tightly come so much nearer than their radii
_POINTS: Final = 120
_POSITIVE: Final = frozenset({("K", "NZ"), ("R", "NH1"), ("R", "NH2"), ("R", "NE")})
_NEGATIVE: Final = frozenset({("D", "OD1"), ("D", "OD2"), ("E", "OE1"), ("E", "OE2")})
_ALLOWED_PHI: Final = {"P": (-105.0, -35.0), "G": (-180.0, 180.0), "N": (-180.0, 80.0), "D": (-180.0, 80.0)}
_OTHER_PHI: Final = (-180.0, -35.0)


def built_evidence(wild_type: Structure, mutant: Structure, index: int) -> dict[str, float]:
    """Evidence `BUILT_EVIDENCE` of one single substitution.

    Parameters
    ----------
    wild_type, mutant : Structure
        The same residues in the same frame, as builders give them.
    index : int
        Replaced residue, 0-based, of both.

    Returns
    -------
    dict of name -> float
        NaN where it is not known, as where atoms are missing.

    Raises
    ------
    ValueError
        The structures are not laid out alike.
    """
    if len(wild_type) != len(mutant):
        raise ValueError(f"{len(wild_type)} residues in the wild type, {len(mutant)} in the mutant")
    found = dict.fromkeys(BUILT_EVIDENCE, math.nan)
    if not (np.isfinite(wild_type.ca[index]).all() and np.isfinite(mutant.ca[index]).all()):
        return found
    found |= _moved(wild_type, mutant, index)
    before, after = _Site(wild_type, index), _Site(mutant, index)
    if before.complete and after.complete:
        reached, all_of_it = before.surface()
        reached_after, all_after = after.surface()
        found["built_accessibility"] = reached / all_of_it if all_of_it else math.nan
        found["built_area_change"] = reached_after - reached
        found["built_buried_change"] = (all_after - reached_after) - (all_of_it - reached)
        pairs, residues = before.contacts()
        pairs_after, residues_after = after.contacts()
        found["built_contacts"] = float(pairs)
        found["built_contacts_change"] = float(pairs_after - pairs)
        found["built_contacts_lost"] = float(len(residues - residues_after))
        overlap = before.overlap(before)
        found["built_clash"] = after.overlap(after) - overlap
        found["built_room"] = after.overlap(before) - overlap
        found["built_polar_change"] = float(after.polar() - before.polar())
        found["built_salt_change"] = float(after.salt() - before.salt())
        moved = _side_chains_moved(wild_type, mutant, residues | residues_after)
        found["built_side_chain_shift"] = moved
    found["built_phi_misfit"] = _phi_misfit(wild_type, index, mutant.sequence[index])
    return found


def _moved(wild_type: Structure, mutant: Structure, index: int) -> dict[str, float]:
    ca, moved = wild_type.ca, mutant.ca
    shift = np.linalg.norm(moved - ca, axis=1)
    there = np.isfinite(shift)
    near = there & (np.linalg.norm(ca - ca[index], axis=1) <= NEAR)
    near[index] = False
    d0 = max(1.24 * np.cbrt(max(int(there.sum()), 19) - 15) - 1.8, 0.5)
    # lDDT of what did not move is 1; pairs far from anything that did need not be looked at.
    touched = there & (np.linalg.norm(ca - ca[index], axis=1) <= 40.0)
    rows = np.flatnonzero(touched)
    lddt = Neighbourhood(ca[rows]).score(moved[rows])
    known = lddt[np.isfinite(lddt)]
    own = float(lddt[np.searchsorted(rows, index)])
    return {
        "built_lddt_drop": 1.0 - float(known.min()) if known.size else math.nan,
        "built_lddt_drop_site": 1.0 - own,
        "built_tm_drop": float(np.mean(1.0 - 1.0 / (1.0 + (shift[there] / d0) ** 2))),
        "built_site_shift": float(shift[index]),
        "built_near_shift": float(shift[near].mean()) if near.any() else math.nan,
        "built_max_shift": float(shift[there].max()),
    }


def _side_chains_moved(wild_type: Structure, mutant: Structure, residues: set[int]) -> float:
    shifts: list[float] = []
    for residue in residues:
        before, after = (
            {
                s.atom_name[k]: s.coord[k]
                for k in range(*s.atoms_of(residue).indices(len(s.atom_name)))
                if s.atom_name[k] not in _BACKBONE
            }
            for s in (wild_type, mutant)
        )
        shifts += [float(np.linalg.norm(after[name] - before[name])) for name in before if name in after]
    return float(np.mean(shifts)) if shifts else 0.0


class _Site:
    """A residue's side chain and the atoms around it; those bonded to it through ± 1 are told apart."""

    def __init__(self, structure: Structure, index: int) -> None:
        rows = structure.atoms_of(index)
        near = np.flatnonzero(np.linalg.norm(structure.coord - structure.ca[index], axis=1) <= 20.0)
        outside = near[(near < rows.start) | (near >= rows.stop)]
        own = [k for k in range(rows.start, rows.stop) if structure.atom_name[k] not in _BACKBONE]
        self.letter = structure.sequence[index]
        # A side chain of no atoms is glycine's alone.
        self.complete = bool(own) or self.letter == "G"
        self.names = [structure.atom_name[k] for k in own]
        self.coord = structure.coord[own].reshape(-1, 3)
        self.radius = _radii(structure, own)
        backbone = [k for k in range(rows.start, rows.stop) if k not in own]
        self.backbone, self.backbone_radius = structure.coord[backbone], _radii(structure, backbone)
        self.others, self.other_radius = structure.coord[outside], _radii(structure, outside.tolist())
        self.residue = structure.residue_index[outside]
        self.remote = np.abs(self.residue - index) > 1
        self.other_names = [
            (structure.sequence[structure.residue_index[k]], structure.atom_name[k]) for k in outside.tolist()
        ]

    def _distances(self, other: _Site) -> NDArray[np.float64]:
        """Of own side-chain atoms to the remote atoms around `other`, Å."""
        apart = self.coord[:, None] - other.others[other.remote][None]
        return np.asarray(np.sqrt((apart**2).sum(axis=2)))

    def surface(self) -> tuple[float, float]:
        """Side-chain surface that water reaches, and all of it in the bare residue, Å² (Shrake 1973)."""
        reached = whole = 0.0
        if not len(self.coord):
            return reached, whole
        own = np.concatenate([self.coord, self.backbone])
        own_radius = np.concatenate([self.radius, self.backbone_radius]) + _PROBE
        around, radius = self.others, self.other_radius + _PROBE
        tree = cKDTree(around) if len(around) else None
        for k in range(len(self.coord)):
            points = self.coord[k] + own_radius[k] * _sphere()
            bare = np.ones(len(points), dtype=np.bool_)
            for j in range(len(own)):
                if j != k:
                    bare &= ((points - own[j]) ** 2).sum(axis=1) >= own_radius[j] ** 2
            free = bare.copy()
            close = tree.query_ball_point(self.coord[k], own_radius[k] + 1.8 + _PROBE) if tree else []
            for j in close:
                free &= ((points - around[j]) ** 2).sum(axis=1) >= radius[j] ** 2
            area = 4.0 * np.pi * own_radius[k] ** 2 / len(points)
            reached += area * float(free.sum())
            whole += area * float(bare.sum())
        return reached, whole

    def contacts(self) -> tuple[int, set[int]]:
        """Pairs of atoms that touch, and the residues they are of."""
        touching = self._distances(self) <= TOUCH
        return int(touching.sum()), set(self.residue[self.remote][touching.any(axis=0)].tolist())

    def overlap(self, around: _Site) -> float:
        """Sum of how much nearer atoms are than their radii allow, Å; CB, which hardly moves, included."""
        limit = self.radius[:, None] + around.other_radius[around.remote][None] - _SLACK
        names = [name for name, remote in zip(around.other_names, around.remote, strict=True) if remote]
        bridge = np.array([n == ("C", "SG") for n in names], dtype=np.bool_)
        mine = np.array([self.letter == "C" and n == "SG" for n in self.names], dtype=np.bool_)
        limit[np.ix_(mine, bridge)] = 0.0
        return float(np.maximum(limit - self._distances(around), 0.0).sum())

    def polar(self) -> int:
        """Count pairs of nitrogen, oxygen within `POLAR`, own side chain to remote atoms."""
        mine = np.array([n[0] in "NO" for n in self.names], dtype=np.bool_)
        other = np.array([n[1][0] in "NO" for n in self.other_names], dtype=np.bool_)[self.remote]
        return int((self._distances(self)[np.ix_(mine, other)] <= POLAR).sum())

    def salt(self) -> int:
        """Count residues of the other charge within `SALT` of the side chain's charge."""
        count = 0
        remote = np.flatnonzero(self.remote)
        distance = self._distances(self)
        for own, theirs in ((_POSITIVE, _NEGATIVE), (_NEGATIVE, _POSITIVE)):
            mine = np.array([(self.letter, n) in own for n in self.names], dtype=np.bool_)
            other = np.array([self.other_names[k] in theirs for k in remote.tolist()], dtype=np.bool_)
            hit = (distance[np.ix_(mine, other)] <= SALT).any(axis=0)
            count += len(set(self.residue[remote][other][hit].tolist()))
        return count


def _radii(structure: Structure, rows: list[int]) -> NDArray[np.float64]:
    return np.array([_RADIUS.get(structure.element[k], 1.7) for k in rows], dtype=np.float64)


@lru_cache(maxsize=1)
def _sphere() -> NDArray[np.float64]:
    """Points even on a unit sphere (golden spiral), shape (n, 3)."""
    k = np.arange(_POINTS) + 0.5
    z = 1.0 - 2.0 * k / _POINTS
    angle = np.pi * (1.0 + np.sqrt(5.0)) * k
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


def _phi_misfit(structure: Structure, index: int, residue: str) -> float:
    if index == 0:
        return math.nan
    atoms = [structure.atom_coord("C")[index - 1]]
    atoms += [structure.atom_coord(name)[index] for name in ("N", "CA", "C")]
    a, b, c, d = atoms
    if not np.isfinite(atoms).all() or np.linalg.norm(b - a) > 2.0:
        return math.nan
    first, second = np.cross(b - a, c - b), np.cross(c - b, d - c)
    y = float(np.dot(np.cross(first, second), (c - b) / np.linalg.norm(c - b)))
    phi = math.degrees(math.atan2(y, float(np.dot(first, second))))
    low, high = _ALLOWED_PHI.get(residue, _OTHER_PHI)
    return max(low - phi, phi - high, 0.0)
