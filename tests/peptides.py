"""Small made-up chains for builder tests: an ideal helix with rotamers, in the sequence asked for."""

import numpy as np

from mutscan.builders.geometry import extend
from mutscan.builders.rotamers import place_side_chain
from mutscan.structures import Structure

PHI, PSI, OMEGA = -63.0, -42.0, 180.0


def helix_backbone(length: int) -> list[dict[str, np.ndarray]]:
    atoms = [np.array([0.0, 0.0, 0.0]), np.array([1.458, 0.0, 0.0]), np.array([2.009, 1.42, 0.0])]
    for _ in range(length):
        atoms.append(extend(*atoms[-3:], 1.329, 116.2, PSI))
        atoms.append(extend(*atoms[-3:], 1.458, 121.7, OMEGA))
        atoms.append(extend(*atoms[-3:], 1.525, 111.0, PHI))
    residues = []
    for i in range(length):
        n, ca, c, following = atoms[3 * i : 3 * i + 4]
        o = extend(n, ca, c, 1.231, 120.5, PSI + 180.0)
        assert np.linalg.norm(following - c) < 1.4
        residues.append({"N": n, "CA": ca, "C": c, "O": o})
    return residues


def helix(sequence: str, *, first: int = 1, chain_id: str = "A", name: str = "helix") -> Structure:
    """A helix of `sequence`, residue numbers from `first` on; ``X`` becomes a residue of five odd atoms."""
    backbone = helix_backbone(len(sequence))
    environment = np.array([xyz for residue in backbone for xyz in residue.values()])
    elements = [atom[0] for residue in backbone for atom in residue]
    residues: list[dict[str, np.ndarray]] = []
    for i, letter in enumerate(sequence):
        if letter == "X":
            odd = place_side_chain("A", backbone[i], environment, elements)
            residues.append({**odd, "PX": odd["CB"] + 1.6 * (odd["CB"] - odd["CA"]) / 1.53})
            continue
        others = [k for k in range(len(elements)) if k // 4 != i]
        residues.append(
            place_side_chain(letter, backbone[i], environment[others], [elements[k] for k in others])
        )
    return chain(sequence, residues, first=first, chain_id=chain_id, name=name)


def chain(
    sequence: str,
    residues: list[dict[str, np.ndarray]],
    *,
    first: int = 1,
    chain_id: str = "A",
    name: str = "helix",
) -> Structure:
    names = [atom for residue in residues for atom in residue]
    return Structure(
        name=name,
        chain_id=chain_id,
        sequence=sequence,
        res_id=np.arange(first, first + len(sequence)),
        ins_code=("",) * len(sequence),
        residue_index=np.array([i for i, residue in enumerate(residues) for _ in residue]),
        atom_name=tuple(names),
        element=tuple(atom[0] for atom in names),
        coord=np.array([xyz for residue in residues for xyz in residue.values()]),
        b_factor=np.full(len(names), 20.0),
    )


def residues_of(structure: Structure) -> list[dict[str, np.ndarray]]:
    found: list[dict[str, np.ndarray]] = [{} for _ in range(len(structure))]
    for i, atom, xyz in zip(structure.residue_index, structure.atom_name, structure.coord, strict=True):
        found[i][atom] = xyz
    return found


def without(structure: Structure, drop: set[tuple[int, str]]) -> Structure:
    """The same chain without some (residue, atom)s."""
    residues = [
        {atom: xyz for atom, xyz in residue.items() if (i, atom) not in drop}
        for i, residue in enumerate(residues_of(structure))
    ]
    return chain(structure.sequence, residues, first=int(structure.res_id[0]), name=structure.name)


def part(structure: Structure, keep: list[int]) -> Structure:
    """Only these residues, with their own numbers."""
    residues = residues_of(structure)
    picked = chain("".join(structure.sequence[i] for i in keep), [residues[i] for i in keep])
    object.__setattr__(picked, "res_id", structure.res_id[keep])
    return picked
