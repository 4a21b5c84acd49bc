"""The open default backend: place the new side chain, relax around it, take off what the wild type does.

Around the exchanged residues whole residues are cut out, given hydrogens and minimised
with amber14 in implicit solvent (`mutscan.builders.relax`); the same is done to the unchanged
wild type. The mutant that comes out is wild type + (minimised mutant - minimised wild type):
what the exchange does, without what the force field does to any structure. The control
depends on the sites only and is kept in the scratch folder.

No step is random and OpenMM runs with one thread and deterministic forces, so the same
wild type and exchanges give the same bits in any process and order.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders import BuiltMutant, Exchange
from mutscan.builders.assembly import assemble, check_exchanges, residue_label
from mutscan.builders.chemistry import BACKBONE, SIDE_CHAIN
from mutscan.builders.completion import CompleteChain, complete, surroundings
from mutscan.builders.geometry import dihedral, superposition, wrap
from mutscan.builders.relax import (
    CUTOFF,
    FORCE_FIELD,
    ITERATIONS,
    TOLERANCE,
    Relaxed,
    load_relaxed,
    minimise,
    save_relaxed,
)
from mutscan.builders.rotamers import library, search_side_chain
from mutscan.builders.subsystem import (
    CONTACT,
    INCLUDE_RADIUS,
    MOVE_RADIUS,
    Molecule,
    Zone,
    cut_out,
    zone_around,
)
from mutscan.errors import BuildError
from mutscan.hashes import text_sha256

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Structure

STRAIN_LIMIT: Final = 400.0
"""kJ/mol in bonds, angles and dihedrals; a mutant this far above its control has kept a clash."""
STRAIN_REFUSED: Final = 20000.0
"""kJ/mol; beyond this, bonds are torn or rings pierced, and the coordinates mean nothing."""
CONTACT_LIMIT: Final = {True: 2.2, False: 2.7}
"""Å; heavy atoms of the new side chain nearer than this to another residue clash (both polar, or not)."""
SELF_CLASH: Final = 5000.0
"""kJ/mol; a wild type that stays above this overlaps with itself at the site."""
PROLINE_PHI: Final = (-105.0, -35.0)
"""Degrees; a ring forces phi into this range."""
JITTER: Final = 0.02
"""Å; how far a seed other than 0 moves the start."""


@dataclass(frozen=True)
class OpenMMBuilder:
    """Side-chain placement and minimisation of the surroundings, wild-type control at the same site.

    Parameters
    ----------
    control : bool
        Subtract what the same protocol does to the wild type; without, the mutant is the
        minimised structure itself.
    seed : int
        0 starts from the structure as it is; any other seed moves the start by 0.02 Å
        (mutant and control alike), for estimates of the minimiser's own scatter.
    """

    control: bool = True
    seed: int = 0

    name = "openmm"

    def settings(self) -> Mapping[str, object]:
        """All that changes the output."""
        return {
            "method": 1,  # counts changes of protocol that no number below shows
            "control": self.control,
            "seed": self.seed,
            "force_field": FORCE_FIELD,
            "solvent": "GBSA-OBC",
            "iterations": ITERATIONS,
            "tolerance_kj_mol_nm": TOLERANCE,
            "cutoff_nm": CUTOFF,
            "move_radius": MOVE_RADIUS,
            "contact": CONTACT,
            "include_radius": INCLUDE_RADIUS,
            "rotamers_sha256": str(library().about["data_sha256"]),
        }

    def prepare(self, wild_type: Structure, scratch: Path) -> PreparedOpenMM:
        """Complete the wild type's heavy atoms; hydrogens come later, around each site only.

        Raises
        ------
        BuildError
            No residue has N, CA and C, or a coordinate is not finite.
        """
        chain = complete(wild_type)
        digest = hashlib.sha256(json.dumps(dict(self.settings()), sort_keys=True).encode())
        digest.update(wild_type.sequence.encode())
        digest.update("\n".join(wild_type.atom_name).encode())
        digest.update(np.ascontiguousarray(wild_type.residue_index, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(wild_type.coord, dtype="<f8").tobytes())
        return PreparedOpenMM(self, wild_type, chain, Path(scratch), digest.hexdigest()[:16])


@dataclass(frozen=True, eq=False)
class PreparedOpenMM:
    """A wild type ready for mutants; picklable, workers share `scratch`."""

    builder: OpenMMBuilder
    wild_type: Structure
    chain: CompleteChain
    scratch: Path
    digest: str

    def build(self, exchanges: Sequence[Exchange]) -> BuiltMutant:
        """Build one mutant; several exchanges are modelled together.

        Raises
        ------
        BuildError
            The residue cannot be modelled (unknown type, incomplete backbone), the force field
            has no parameters for the surroundings, or the energy is not finite.
        """
        start = time.perf_counter()
        check_exchanges(self.wild_type, exchanges)
        for exchange in exchanges:
            self._check(exchange)
        changed = {e.index: e.residue for e in exchanges if e.residue != self.wild_type.sequence[e.index]}
        if not changed:
            return BuiltMutant(
                self.wild_type, time.perf_counter() - start, energy=0.0 if self.builder.control else None
            )
        zone = zone_around(self.chain, tuple(changed))
        control_seconds = 0.0
        control: Relaxed | None = None
        if self.builder.control:
            control, control_seconds = self._control(zone)
        exchanged = place_exchanged(self.chain, changed)
        mutant = self._relax(cut_out(self.chain, zone, exchanged), self._name(changed))
        strain = mutant.strain - (control.strain if control else 0.0)
        if strain > STRAIN_REFUSED:
            raise BuildError(
                f"{self.wild_type.name}, {self._name(changed)}: minimisation left {strain:.0f} kJ/mol of "
                "strain, atoms still lie inside each other; check the structure around the site"
            )
        structure = self._response(zone, exchanged, mutant, control)
        notes = self._notes(zone, changed)
        doubts = self._doubts(changed, structure, strain if control else 0.0, control)
        return BuiltMutant(
            structure=structure,
            seconds=time.perf_counter() - start - control_seconds,
            control_seconds=control_seconds,
            energy=mutant.energy - control.energy if control else None,
            notes=(*doubts, *notes),
            low_confidence=bool(doubts),
        )

    def _name(self, changed: Mapping[int, str]) -> str:
        return ", ".join(f"{self.chain.labels[i]} -> {residue}" for i, residue in sorted(changed.items()))

    def _check(self, exchange: Exchange) -> None:
        if exchange.residue not in SIDE_CHAIN:
            raise BuildError(
                f"{self.chain.labels[exchange.index]} -> {exchange.residue}: "
                "not one of the 20 standard residues"
            )
        if exchange.index in self.chain.unusable:
            raise BuildError(
                f"{self.chain.unusable[exchange.index]}, so it cannot be exchanged; "
                "complete the structure or leave this variant out"
            )

    def _control(self, zone: Zone) -> tuple[Relaxed, float]:
        """Relax the unchanged wild type, or take it from the cache; and the seconds that took."""
        start = time.perf_counter()
        name = "-".join(str(site) for site in zone.sites)
        if len(name) > 80:  # many exchanges in one mutant: file names have limits
            name = text_sha256(name)[:20]
        path = self.scratch / f"control-{self.digest}-{name}.npz"
        kept = load_relaxed(path)
        if kept is not None:
            return kept, 0.0
        relaxed = self._relax(cut_out(self.chain, zone, {}), "the wild type")
        save_relaxed(path, relaxed)
        return relaxed, time.perf_counter() - start

    def _relax(self, molecule: Molecule, what: str) -> Relaxed:
        coord = molecule.coord
        if self.builder.seed:
            coord = coord.copy()
            for owner in np.unique(molecule.owner):
                # One stream per residue, so that an exchange changes no other residue's start.
                rows = np.flatnonzero((molecule.owner == owner) & molecule.movable)
                stream = np.random.default_rng((self.builder.seed, int(owner) + 1))
                coord[rows] += stream.normal(scale=JITTER, size=(len(rows), 3))
        final, energy, strain = minimise(molecule, coord, f"{self.wild_type.name}, {what}")
        return Relaxed(molecule.heavy(final), energy, strain)

    def _response(
        self,
        zone: Zone,
        exchanged: Mapping[int, tuple[str, Mapping[str, NDArray[np.float64]]]],
        mutant: Relaxed,
        control: Relaxed | None,
    ) -> Structure:
        """Wild type + (mutant - control); a new side chain rides on its backbone as minimised."""

        def moved(index: int, name: str, origin: NDArray[np.float64]) -> NDArray[np.float64]:
            if control is None:
                return mutant.coord[index, name]
            return origin + (mutant.coord[index, name] - control.coord[index, name])

        wild_type = self.wild_type
        coord = wild_type.coord.copy()
        for index in sorted(zone.movable - set(exchanged)):
            rows = wild_type.atoms_of(index)
            for row in range(rows.start, rows.stop):
                if (index, wild_type.atom_name[row]) in mutant.coord:
                    coord[row] = moved(index, wild_type.atom_name[row], wild_type.coord[row])
        final: dict[int, tuple[str, dict[str, NDArray[np.float64]]]] = {}
        for index, (letter, _) in exchanged.items():
            origin = self.chain.atoms[index]
            backbone = {name: moved(index, name, origin[name]) for name in BACKBONE}
            frame = ("N", "CA", "C")
            rotation, translation = superposition(
                np.array([mutant.coord[index, name] for name in frame]),
                np.array([backbone[name] for name in frame]),
            )
            side_chain = {
                name: mutant.coord[index, name] @ rotation + translation for name in SIDE_CHAIN[letter]
            }
            end = {}
            if "OXT" in wild_type.atom_name[wild_type.atoms_of(index)]:
                end["OXT"] = moved(index, "OXT", origin["OXT"])
            final[index] = (letter, backbone | side_chain | end)
        return assemble(wild_type, coord, final)

    def _notes(self, zone: Zone, changed: Mapping[int, str]) -> list[str]:
        chain = self.chain
        notes = []
        added = sorted(i for i in chain.completed if i in zone.movable and i not in changed)
        if added:
            notes.append(f"missing atoms were modelled near the site: {_some(chain, added)}")
        near = {j for i in zone.movable for j in (i - 1, i + 1)}
        left_out = sorted(i for i in chain.unusable if i in near)
        if left_out:
            notes.append(f"left out of the force field near the site: {_some(chain, left_out)}")
        opened = [pair for pair in chain.disulfides if set(pair) & set(changed)]
        for first, second in opened:
            notes.append(f"opens the disulfide bridge {chain.labels[first]}-{chain.labels[second]}")
        return notes

    def _doubts(
        self,
        changed: Mapping[int, str],
        mutant: Structure,
        strain: float,
        control: Relaxed | None,
    ) -> list[str]:
        """Reasons to trust this build less than others."""
        chain = self.chain
        doubts = []
        for index, residue in sorted(changed.items()):
            if chain.at_chain_end(index):
                doubts.append(f"{chain.labels[index]} is at an end or a break of the chain")
            phi = _phi(chain, index)
            if residue == "P" and phi is not None and not PROLINE_PHI[0] <= phi <= PROLINE_PHI[1]:
                doubts.append(f"{chain.labels[index]} has phi {phi:.0f}, which proline cannot adopt")
            clash = _clash(mutant, index)
            if clash is not None:
                doubts.append(clash)
        if strain > STRAIN_LIMIT:
            doubts.append(f"the surroundings stay strained ({strain:.0f} kJ/mol above the wild type)")
        if control is not None and control.energy > SELF_CLASH:
            doubts.append(f"the wild type overlaps with itself around the site ({control.energy:.0f} kJ/mol)")
        return doubts


def _clash(mutant: Structure, index: int) -> str | None:
    """Nearest contact of a new side chain with another residue, where it is nearer than atoms can be."""
    rows = mutant.atoms_of(index)
    own = [k for k in range(rows.start, rows.stop) if mutant.atom_name[k] not in (*BACKBONE, "CB", "OXT")]
    others = np.flatnonzero(np.abs(mutant.residue_index - index) > 1)
    if not own or not len(others):
        return None
    distance = np.linalg.norm(mutant.coord[own][:, None] - mutant.coord[others][None], axis=2)
    polar = np.array([e in ("N", "O") for e in mutant.element])
    limit = np.where(polar[own][:, None] & polar[others][None], CONTACT_LIMIT[True], CONTACT_LIMIT[False])
    sulfur = np.array([e == "S" for e in mutant.element])
    limit = np.where(sulfur[own][:, None] & sulfur[others][None], 2.0, limit)  # a new bridge may form
    worst = np.unravel_index(int((distance - limit).argmin()), distance.shape)
    if distance[worst] >= limit[worst]:
        return None
    mine, other = own[int(worst[0])], int(others[worst[1]])
    where = f"{residue_label(mutant, int(mutant.residue_index[other]))} {mutant.atom_name[other]}"
    return (
        f"a clash remains: {residue_label(mutant, index)} {mutant.atom_name[mine]} is "
        f"{distance[worst]:.1f} Å from {where}"
    )


def _some(chain: CompleteChain, indices: Sequence[int]) -> str:
    shown = ", ".join(chain.labels[i] for i in indices[:5])
    return shown + (f" and {len(indices) - 5} more" if len(indices) > 5 else "")


def _phi(chain: CompleteChain, index: int) -> float | None:
    if index == 0 or not chain.bonded_to_next[index - 1]:
        return None
    here = chain.atoms[index]
    return float(wrap(dihedral(chain.atoms[index - 1]["C"], here["N"], here["CA"], here["C"])))


def place_exchanged(
    chain: CompleteChain, changed: Mapping[int, str]
) -> dict[int, tuple[str, dict[str, NDArray[np.float64]]]]:
    """Put the new side chains in, each seeing the others.

    Several are placed in turn, first without those still to come, until none changes.
    """
    atoms = [dict(residue) for residue in chain.atoms]
    for index in changed:
        atoms[index] = {name: xyz for name, xyz in atoms[index].items() if name in (*BACKBONE, "OXT")}
    backbones = {index: dict(atoms[index]) for index in changed}
    for _ in range(1 if len(changed) == 1 else 4):
        before = {index: atoms[index] for index in changed}
        for index, residue in sorted(changed.items()):
            around, elements = surroundings(atoms, {index}, near=backbones[index]["CA"])
            placed = search_side_chain(residue, backbones[index], around, elements)
            atoms[index] = {**placed.atoms}
            if "OXT" in backbones[index]:
                atoms[index]["OXT"] = backbones[index]["OXT"]
        if all(
            before[i].keys() == atoms[i].keys()
            and all(np.array_equal(before[i][name], atoms[i][name]) for name in atoms[i])
            for i in changed
        ):
            break
    return {index: (residue, atoms[index]) for index, residue in changed.items()}
