"""Restrained rebuild on the wild type as template: the open analogue of what MODELLER does.

The new side chain is placed from the rotamer library, then all heavy atoms near
it are relaxed while homology-like restraints hold them to the wild type
(`mutscan.builders.restraints`). No hydrogens, no force-field templates: it works
where those fail (unknown residues, missing atoms, gaps), on proteins of any size,
and gives the same bits each time. Its responses are smaller than those of a
force field.

Restraints follow [1]_; the wild type is at rest in them by construction, so that
an exchange of a residue for itself moves nothing.

.. [1] Sali & Blundell, J. Mol. Biol. 234, 779 (1993).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.builders import BuiltMutant
from mutscan.builders.assembly import assemble, atoms_by_residue, check_exchanges, residue_label
from mutscan.builders.restraints import (
    ANGLE,
    BOND,
    CA_RANGE,
    CHI,
    CUTOFF,
    EPSILON,
    SWITCH,
    Atoms,
    Restraints,
    contact_radii,
    derive,
    stray_forces,
)
from mutscan.builders.rotamers import place_side_chain
from mutscan.errors import BuildError, UsageError
from mutscan.residues import is_standard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.builders import Exchange
    from mutscan.structures import Structure

SPHERE: Final = 25.0
"""Å; what lies farther from every exchanged residue does not move. Makes the cost flat in length."""

# Norm of all forces, kJ/mol/nm, at which minimisation ends. OpenMM asks for the root mean square,
# which would let the same perturbation go the less far the larger the protein.
_REMAINING_FORCE: Final = 10.0
_ITERATIONS: Final = 1000
_STRAIN_GROUP: Final = 1
_PLACING_RANGE: Final = 12.0
_CLASH: Final = 2.2
_MASS: Final = 14.0
_BACKBONE: Final[tuple[str, ...]] = ("N", "CA", "C", "O", "OXT")
_KEPT_BETA: Final = frozenset("ACDEFHIKLMNQRSTVWY")


@dataclass(frozen=True)
class TemplateBuilder:
    """Restrained heavy-atom rebuild.

    Parameters
    ----------
    sphere : float, Å
        Only residues with their CA this close to an exchanged one's move; ``inf``: all do.
    seed : int
        Taken as other backends do; nothing here is random.

    Raises
    ------
    UsageError
        A sphere not above 0.
    """

    sphere: float = SPHERE
    seed: int = 0

    name = "template"

    def __post_init__(self) -> None:
        if not self.sphere > 0.0:
            raise UsageError(f"template sphere {self.sphere}: expected a radius in Å above 0")

    def settings(self) -> Mapping[str, object]:
        """All that changes the mutants."""
        # JSON has no infinity.
        return {"sphere": self.sphere if np.isfinite(self.sphere) else "whole protein", "method": 1}

    def prepare(self, wild_type: Structure, scratch: Path) -> PreparedTemplate:
        """Check the wild type and work out what holds it at rest.

        Raises
        ------
        BuildError
            No residue has N, CA and C: side chains cannot be placed on a CA trace.
        """
        if not wild_type.has_backbone.any():
            raise BuildError(
                f"{wild_type.name} has no residue with N, CA and C; expected backbone atoms to build on"
            )
        return PreparedTemplate(wild_type, self.sphere, stray_forces(wild_type))


@dataclass(frozen=True, eq=False)
class PreparedTemplate:
    """The wild type as template; `stray` are the forces taken off its atoms (kJ/mol/nm)."""

    wild_type: Structure
    sphere: float
    stray: NDArray[np.float64]

    def build(self, exchanges: Sequence[Exchange]) -> BuiltMutant:
        """Place the new side chains, relax, and return the mutant in the wild type's frame.

        `BuiltMutant.energy` is the strain left in bonds, angles, dihedrals and CA-CA distances; the
        wild type's is zero.

        Raises
        ------
        BuildError
            An exchanged residue lacks N, CA or C, is to become none of the 20, or the result is
            not finite.
        """
        start = time.perf_counter()
        check_exchanges(self.wild_type, exchanges)
        placed = self._place(exchanges)
        letters = list(self.wild_type.sequence)
        for index, (residue, _) in placed.items():
            letters[index] = residue
        sequence = "".join(letters)
        atoms = self._atoms(placed, [exchange.index for exchange in exchanges])
        coord, strain = _relax(atoms, derive(atoms, sequence, sorted(placed)), self._stray_of(atoms, placed))
        if not (np.isfinite(coord).all() and np.isfinite(strain)):
            raise BuildError(
                "the restrained rebuild did not end in finite coordinates; "
                "atoms of the wild type may lie on top of each other"
            )
        structure = self._mutant(atoms, coord, placed)
        closest = _closest_contact(atoms, coord, placed)
        notes = []
        if closest < _CLASH:
            notes.append(f"template: the new side chain is {closest:.1f} Å from another atom")
        return BuiltMutant(
            structure,
            time.perf_counter() - start,
            energy=strain,
            notes=tuple(notes),
            low_confidence=closest < _CLASH,
        )

    def _place(self, exchanges: Sequence[Exchange]) -> dict[int, tuple[str, dict[str, NDArray[np.float64]]]]:
        """Put new residues on their old backbones; an exchange of a residue for itself is none."""
        wild_type = self.wild_type
        new = {}
        for index, residue in sorted(exchanges):
            if not is_standard(residue):
                raise BuildError(
                    f"cannot build residue {residue!r} at {residue_label(wild_type, index)}: "
                    "expected one of the 20 standard residues"
                )
            if residue != wild_type.sequence[index]:
                new[index] = residue
        residues = atoms_by_residue(wild_type)
        for index in new:
            missing = [name for name in ("N", "CA", "C") if name not in residues[index]]
            if missing:
                raise BuildError(
                    f"residue {residue_label(wild_type, index)} of {wild_type.name} has no "
                    f"{', '.join(missing)}; expected N, CA and C to put a side chain on"
                )
        others = np.array(
            [
                i not in new or atom in _BACKBONE
                for i, atom in zip(wild_type.residue_index.tolist(), wild_type.atom_name, strict=True)
            ],
            dtype=np.bool_,
        )
        placed: dict[int, tuple[str, dict[str, NDArray[np.float64]]]] = {}
        # Twice, so that the first of several sees where the others went.
        for _ in range(1 if len(new) == 1 else 2):
            for index, residue in new.items():
                backbone = {atom: residues[index][atom] for atom in _BACKBONE if atom in residues[index]}
                mine = wild_type.residue_index == index
                coord = [wild_type.coord[others & ~mine]]
                element = [e for e, use in zip(wild_type.element, others & ~mine, strict=True) if use]
                for other, (_, atoms) in placed.items():
                    side_chain = [atom for atom in atoms if atom not in _BACKBONE]
                    if other != index and side_chain:
                        coord.append(np.array([atoms[atom] for atom in side_chain]))
                        element += [atom[0] for atom in side_chain]
                around = np.concatenate(coord)
                near = np.linalg.norm(around - backbone["CA"], axis=1) < _PLACING_RANGE
                elements = [e for e, use in zip(element, near, strict=True) if use]
                side = place_side_chain(residue, backbone, around[near], elements)
                placed[index] = (residue, {**backbone, **side})
        return placed

    def _atoms(
        self,
        placed: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]],
        sites: Sequence[int],
    ) -> Atoms:
        """Collect the mutant's atoms that move or that moving ones can feel."""
        wild_type = self.wild_type
        residue: list[int] = []
        name: list[str] = []
        element: list[str] = []
        begin: list[NDArray[np.float64]] = []
        row: list[int] = []
        keeps_beta = {
            i: letter in _KEPT_BETA and wild_type.sequence[i] in _KEPT_BETA
            for i, (letter, _) in placed.items()
        }
        for index in range(len(wild_type)):
            rows = wild_type.atoms_of(index)
            old = dict(zip(wild_type.atom_name[rows], range(rows.start, rows.stop), strict=True))
            if index not in placed:
                residue += [index] * len(old)
                name += old
                element += wild_type.element[rows]
                begin += list(wild_type.coord[rows])
                row += old.values()
                continue
            for atom, xyz in placed[index][1].items():
                stays = atom in _BACKBONE or (atom == "CB" and keeps_beta[index])
                residue.append(index)
                name.append(atom)
                element.append(atom[0])
                begin.append(xyz)
                row.append(old[atom] if stays and atom in old else -1)
        coord = np.array(begin)
        origin = np.array(row, dtype=np.int64)
        rest = np.where(origin[:, None] >= 0, wild_type.coord[origin], np.nan)
        number = np.array(residue, dtype=np.int64)
        ca = wild_type.ca
        distance = np.linalg.norm(ca[:, None] - ca[list(sites)][None], axis=2).min(axis=1)
        moves = (distance <= self.sphere)[number]
        is_ca = np.array([atom == "CA" for atom in name], dtype=np.bool_)
        # Rest places decide, so that mutants of one site keep the same frozen shell.
        there = np.where(np.isfinite(rest), rest, coord)
        felt = cKDTree(there[moves]).query(there, distance_upper_bound=CUTOFF + 1.0)[0]
        felt_ca = cKDTree(there[moves & is_ca]).query(there, distance_upper_bound=CA_RANGE)[0]
        use = moves | np.isfinite(felt) | (is_ca & np.isfinite(felt_ca))
        picked = np.flatnonzero(use).tolist()
        return Atoms(
            number[use],
            tuple(name[k] for k in picked),
            tuple(element[k] for k in picked),
            coord[use],
            rest[use],
            origin[use],
            moves[use],
        )

    def _stray_of(self, atoms: Atoms, placed: Mapping[int, object]) -> NDArray[np.float64]:
        """Stray forces of the wild-type atoms that are left, among themselves."""
        here = np.isin(self.wild_type.residue_index, list(placed))
        here[atoms.row[atoms.row >= 0]] = False
        stray = self.stray - stray_forces(self.wild_type, np.flatnonzero(here))
        return np.where(atoms.row[:, None] >= 0, stray[atoms.row], 0.0)

    def _mutant(
        self,
        atoms: Atoms,
        coord: NDArray[np.float64],
        placed: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]],
    ) -> Structure:
        moved = self.wild_type.coord.copy()
        old = atoms.row >= 0
        moved[atoms.row[old]] = coord[old]
        exchanged: dict[int, tuple[str, dict[str, NDArray[np.float64]]]] = {
            index: (residue, {}) for index, (residue, _) in placed.items()
        }
        for residue, name, xyz in zip(atoms.residue.tolist(), atoms.name, coord, strict=True):
            if residue in exchanged:
                exchanged[residue][1][name] = xyz
        return assemble(self.wild_type, moved, exchanged)


def _relax(atoms: Atoms, terms: Restraints, stray: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Minimise; gives coordinates (n, 3) in Å and the strain energy in kJ/mol."""
    import openmm
    from openmm import unit

    system = openmm.System()
    for moves in atoms.moves.tolist():
        system.addParticle(_MASS if moves else 0.0)
    for force in (*_bonded(openmm, terms), _distances(openmm, terms)):
        force.setForceGroup(_STRAIN_GROUP)
        system.addForce(force)
    system.addForce(_contacts(openmm, atoms, terms))
    system.addForce(_counter(openmm, atoms, stray))
    # Near the origin single precision is at its best.
    begin = (atoms.start - atoms.start[atoms.moves].mean(axis=0)) / 10.0
    root_mean_square = _REMAINING_FORCE / np.sqrt(3 * len(atoms))
    # One thread: sums always in the same order, and jobs share the machine by processes.
    properties = {"Threads": "1", "DeterministicForces": "true"}
    try:
        platform = openmm.Platform.getPlatformByName("CPU")
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform, properties)
        context.setPositions(begin)
        openmm.LocalEnergyMinimizer.minimize(context, root_mean_square, _ITERATIONS)
        end = context.getState(getPositions=True).getPositions(asNumpy=True)
        strain = context.getState(getEnergy=True, groups={_STRAIN_GROUP}).getPotentialEnergy()
    except openmm.OpenMMException as error:
        raise BuildError(f"the restrained rebuild failed: {error}") from error
    moved = np.asarray(end.value_in_unit(unit.nanometer), dtype=np.float64) - begin
    moved[~atoms.moves] = 0.0
    return atoms.start + 10.0 * moved, float(strain.value_in_unit(unit.kilojoule_per_mole))


def _bonded(openmm: Any, terms: Restraints) -> tuple[Any, Any, Any, Any]:
    bonds = openmm.HarmonicBondForce()
    for (a, b), length in zip(terms.bonds.tolist(), (terms.bond_length / 10.0).tolist(), strict=True):
        bonds.addBond(a, b, length, BOND)
    angles = openmm.HarmonicAngleForce()
    for (a, b, c), value in zip(terms.angles.tolist(), terms.angle.tolist(), strict=True):
        angles.addAngle(a, b, c, value, ANGLE)
    impropers = openmm.CustomTorsionForce(
        "0.5*k*d*d; d=min(abs(theta-rest), 6.283185307179586-abs(theta-rest))"
    )
    impropers.addGlobalParameter("k", ANGLE)
    impropers.addPerTorsionParameter("rest")
    for (a, b, c, d), value in zip(terms.impropers.tolist(), terms.improper.tolist(), strict=True):
        impropers.addTorsion(a, b, c, d, [value])
    torsions = openmm.PeriodicTorsionForce()
    for (a, b, c, d), value, k, threefold in zip(
        terms.torsions.tolist(),
        terms.torsion.tolist(),
        terms.torsion_k.tolist(),
        terms.threefold.tolist(),
        strict=True,
    ):
        torsions.addTorsion(a, b, c, d, 1, value - np.pi, k)
        if threefold:
            torsions.addTorsion(a, b, c, d, 3, 3.0 * value - np.pi, CHI / 2.0)
    return bonds, angles, impropers, torsions


def _distances(openmm: Any, terms: Restraints) -> Any:
    force = openmm.HarmonicBondForce()
    for (a, b), length, k in zip(
        terms.ca.tolist(), (terms.ca_length / 10.0).tolist(), terms.ca_k.tolist(), strict=True
    ):
        force.addBond(a, b, length, k)
    return force


def _contacts(openmm: Any, atoms: Atoms, terms: Restraints) -> Any:
    """Lennard-Jones contacts; native ones have their minimum where the wild type has them."""
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    force.setCutoffDistance(CUTOFF / 10.0)
    force.setUseSwitchingFunction(True)
    force.setSwitchingDistance(SWITCH / 10.0)
    scale = 1.0 / 10.0 / 2 ** (1 / 6)
    for sigma in (2.0 * contact_radii(atoms.element) * scale).tolist():
        force.addParticle(0.0, sigma, EPSILON)
    for a, b in terms.excluded.tolist():
        force.addException(a, b, 0.0, 1.0, 0.0)
    for (a, b), sigma in zip(terms.native.tolist(), (terms.native_length * scale).tolist(), strict=True):
        force.addException(a, b, 0.0, sigma, EPSILON)
    return force


def _counter(openmm: Any, atoms: Atoms, stray: NDArray[np.float64]) -> Any:
    """Constant forces that cancel the wild type's stray ones."""
    force = openmm.CustomExternalForce("fx*x+fy*y+fz*z")
    for name in ("fx", "fy", "fz"):
        force.addPerParticleParameter(name)
    for row in np.flatnonzero(atoms.moves & (atoms.row >= 0)).tolist():
        force.addParticle(row, stray[row].tolist())
    return force


def _closest_contact(
    atoms: Atoms,
    coord: NDArray[np.float64],
    placed: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]],
) -> float:
    """Measure the shortest distance from a new side-chain atom to another residue, Å.

    The backbones of its neighbours in sequence, which are always close, are left out.
    """
    new = np.flatnonzero(np.isin(atoms.residue, list(placed)) & (atoms.row < 0))
    if not new.size:
        return np.inf
    tree = cKDTree(coord)
    closest = np.inf
    for row in new.tolist():
        for other in tree.query_ball_point(coord[row], _CLASH + 0.5):
            apart = abs(int(atoms.residue[row] - atoms.residue[other]))
            if apart > 1 or (apart == 1 and atoms.name[other] not in _BACKBONE):
                closest = min(closest, float(np.linalg.norm(coord[row] - coord[other])))
    return closest


__all__ = ["SPHERE", "PreparedTemplate", "TemplateBuilder"]
