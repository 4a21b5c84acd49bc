"""Minimise a cut-out molecule with a force field, and keep the outcome in a file.

OpenMM [1]_ with amber14 (ff14SB [2]_) and implicit solvent (OBC [3]_, radii of the mbondi2
set), one thread, deterministic forces: the same molecule gives the same bits.

References
----------
.. [1] Eastman et al., J. Phys. Chem. B 128, 109 (2024), OpenMM 8.
.. [2] Maier et al., J. Chem. Theory Comput. 11, 3696 (2015), ff14SB.
.. [3] Onufriev, Bashford & Case, Proteins 55, 383 (2004), OBC.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.errors import BuildError, RunFolderError
from mutscan.results import write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.builders.subsystem import Molecule

FORCE_FIELD: Final = "amber14/protein.ff14SB.xml"
ITERATIONS: Final = 60
"""Steps of L-BFGS, for mutant and control alike."""
TOLERANCE: Final = 20.0
"""kJ/mol/nm."""
CUTOFF: Final = 1.2
"""nm."""
BARE_HYDROGEN: Final = (0.04, 0.1925)
"""nm, kJ/mol; ff14SB gives hydroxyl hydrogens no size, so from a bad start one can fall into an oxygen.
CHARMM36's polar hydrogen keeps it out and is hardly felt at hydrogen-bond lengths."""
OVERLAP: Final = 2.0
"""Å; unbonded heavy atoms nearer than this lie inside each other."""
GB_RADIUS: Final = {"H": 0.12, "C": 0.17, "N": 0.155, "O": 0.15, "S": 0.18}
"""nm of OBC; a hydrogen on N has 0.13."""
GB_SCALE: Final = {"H": 0.85, "C": 0.72, "N": 0.79, "O": 0.85, "S": 0.96}


@dataclass(frozen=True, eq=False)
class Relaxed:
    """Where minimisation took the movable heavy atoms, residue index and atom name to Å.

    `energy` is the whole force field's, `strain` that of bonds, angles and dihedrals alone, which no
    change of charge disturbs; kJ/mol.
    """

    coord: Mapping[tuple[int, str], NDArray[np.float64]]
    energy: float
    strain: float


@cache
def _force_field() -> Any:
    from openmm import app

    return app.ForceField(FORCE_FIELD)


def _topology(molecule: Molecule) -> Any:
    from openmm import app

    topology = app.Topology()
    strand = topology.addChain()
    residues = [topology.addResidue(name, strand) for name in molecule.residue_names]
    elements = {symbol: app.Element.getBySymbol(symbol) for symbol in set(molecule.elements)}
    atoms = [
        topology.addAtom(name, elements[element], residues[residue])
        for name, element, residue in zip(
            molecule.atom_names, molecule.elements, molecule.residue.tolist(), strict=True
        )
    ]
    for a, b in molecule.bonds:
        topology.addBond(atoms[a], atoms[b])
    return topology


def _solvent(molecule: Molecule, charges: Sequence[float]) -> Any:
    """Native GBSA: on a CPU several times faster than the custom force of OpenMM's ``implicit/obc2.xml``."""
    import openmm

    on_nitrogen = {
        k
        for a, b in molecule.bonds
        for k, other in ((a, b), (b, a))
        if molecule.elements[k] == "H" and molecule.elements[other] == "N"
    }
    force = openmm.GBSAOBCForce()
    force.setNonbondedMethod(openmm.GBSAOBCForce.CutoffNonPeriodic)
    force.setCutoffDistance(CUTOFF)
    for k, (element, charge) in enumerate(zip(molecule.elements, charges, strict=True)):
        force.addParticle(charge, 0.13 if k in on_nitrogen else GB_RADIUS[element], GB_SCALE[element])
    return force


def _still_overlaps(molecule: Molecule) -> list[tuple[int, int]]:
    """Pairs of atoms that hold still and lie inside each other (poor models have such).

    Their energy is the same in mutant and control, but so large that nothing else would be left of
    either in floating point.
    """
    still = np.flatnonzero(~molecule.movable)
    if not len(still):
        return []
    near = cKDTree(molecule.coord[still]).query_pairs(OVERLAP, output_type="ndarray")
    bonded = {frozenset(bond) for bond in molecule.bonds}
    pairs = ((int(a), int(b)) for a, b in still[near])
    return sorted(pair for pair in pairs if frozenset(pair) not in bonded)


def minimise(
    molecule: Molecule, coord: NDArray[np.float64], what: str
) -> tuple[NDArray[np.float64], float, float]:
    """Minimise the movable atoms of a molecule.

    Parameters
    ----------
    coord : float array, shape (n, 3), Å
        Where to start.
    what : str
        For messages.

    Returns
    -------
    coord : float array, shape (n, 3), Å
    energy, strain : float, kJ/mol
        Of everything; of bonds, angles and dihedrals.

    Raises
    ------
    BuildError
        No force-field template fits, or the energy is not finite.
    """
    import openmm
    from openmm import app, unit

    nanometer = unit.nanometer
    try:
        system = _force_field().createSystem(
            _topology(molecule), nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=CUTOFF * nanometer
        )
    except ValueError as error:  # OpenMM's way to say that a residue has no template
        raise BuildError(f"{what}: the force field does not fit ({error})") from error
    charged = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    # With implicit solvent the reaction field would screen charges a second time.
    charged.setReactionFieldDielectric(1.0)
    for k in range(charged.getNumParticles()):
        charge, _, depth = charged.getParticleParameters(k)
        if depth.value_in_unit(unit.kilojoule_per_mole) == 0.0:
            charged.setParticleParameters(k, charge, *BARE_HYDROGEN)
    for a, b in _still_overlaps(molecule):
        charged.addException(a, b, 0.0, 0.1, 0.0, True)
    charges = [
        charged.getParticleParameters(k)[0].value_in_unit(unit.elementary_charge)
        for k in range(charged.getNumParticles())
    ]
    system.addForce(_solvent(molecule, charges))
    for force in system.getForces():
        bonded = isinstance(
            force, (openmm.HarmonicBondForce, openmm.HarmonicAngleForce, openmm.PeriodicTorsionForce)
        )
        force.setForceGroup(1 if bonded else 0)
    for still in np.flatnonzero(~molecule.movable):
        system.setParticleMass(int(still), 0.0)
    try:
        context = openmm.Context(
            system,
            openmm.VerletIntegrator(0.001),
            openmm.Platform.getPlatformByName("CPU"),
            {"Threads": "1", "DeterministicForces": "true"},
        )
        context.setPositions(coord / 10.0)
        openmm.LocalEnergyMinimizer.minimize(context, TOLERANCE, ITERATIONS)
        state = context.getState(getPositions=True, getEnergy=True)
        bonded_state = context.getState(getEnergy=True, groups={1})
    except openmm.OpenMMException as error:
        raise BuildError(f"{what}: minimisation failed ({error})") from error
    energy, strain = (
        float(s.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)) for s in (state, bonded_state)
    )
    final = np.array(state.getPositions(asNumpy=True).value_in_unit(unit.angstrom), dtype=np.float64)
    if not (np.isfinite(energy) and np.isfinite(final).all()):
        raise BuildError(f"{what}: the energy is not finite, atoms lie on top of each other")
    final[~molecule.movable] = coord[~molecule.movable]
    return final, energy, strain


def save_relaxed(path: Path, relaxed: Relaxed) -> None:
    """Keep a control; other workers see all of it or nothing."""
    keys = list(relaxed.coord)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(
            path,
            residue=np.array([index for index, _ in keys], dtype=np.int64),
            atom=np.array([name for _, name in keys]),
            coord=np.array([relaxed.coord[key] for key in keys]),
            energy=np.array([relaxed.energy, relaxed.strain]),
        )
    except OSError as error:
        raise RunFolderError(
            f"{path.parent}: cannot keep the wild-type control ({error.strerror})"
        ) from error


def load_relaxed(path: Path) -> Relaxed | None:
    """Read a control; None where there is none yet, or where the file is no longer whole."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as kept:
            keys = zip(kept["residue"].tolist(), kept["atom"].tolist(), strict=True)
            coord = kept["coord"]
            energy, strain = kept["energy"].tolist()
            return Relaxed({(index, name): coord[k] for k, (index, name) in enumerate(keys)}, energy, strain)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError):
        return None  # cut short by a full disk or a crash: it is made again
