"""From new coordinates to a mutant `Structure`: same residues, same order, some of them exchanged."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mutscan.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from mutscan.builders import Exchange
    from mutscan.structures import Structure


def residue_label(structure: Structure, index: int) -> str:
    """One residue in the structure file's own words: ``R175`` or ``K82A`` with an insertion code."""
    return f"{structure.sequence[index]}{structure.res_id[index]}{structure.ins_code[index]}"


def check_exchanges(structure: Structure, exchanges: Sequence[Exchange]) -> None:
    """Refuse what no backend can build.

    Raises
    ------
    BuildError
        No exchange at all, an index outside the structure, or one residue exchanged twice.
    """
    if not exchanges:
        raise BuildError("no residue to exchange was given")
    for exchange in exchanges:
        if not 0 <= exchange.index < len(structure):
            raise BuildError(
                f"residue index {exchange.index} lies outside {structure.name}, "
                f"which has {len(structure)} residues"
            )
    indices = [exchange.index for exchange in exchanges]
    if len(set(indices)) != len(indices):
        raise BuildError("one residue was to be exchanged twice in the same mutant")


def atoms_by_residue(structure: Structure) -> list[dict[str, NDArray[np.float64]]]:
    """Heavy atoms of each residue, name to coordinates (Å), in file order."""
    residues: list[dict[str, NDArray[np.float64]]] = [{} for _ in range(len(structure))]
    for index, name, xyz in zip(structure.residue_index, structure.atom_name, structure.coord, strict=True):
        residues[int(index)][name] = xyz
    return residues


def assemble(
    wild_type: Structure,
    coord: NDArray[np.float64],
    exchanged: Mapping[int, tuple[str, Mapping[str, ArrayLike]]],
    *,
    name: str | None = None,
) -> Structure:
    """Mutant structure from moved wild-type atoms and the exchanged residues' new atoms.

    Parameters
    ----------
    wild_type : Structure
    coord : float array, shape (n, 3), Å
        New place of each wild-type atom; rows of exchanged residues are not looked at.
    exchanged : mapping
        Residue index to its new one-letter code and all its heavy atoms by name.
    name : str, optional
        Of the mutant; the wild type's without.

    Returns
    -------
    Structure
        Same residues, order and numbering as `wild_type`. The new atoms carry their residue's
        mean B factor; pLDDT and the file's full sequence are not carried over, they were
        statements about the wild type.
    """
    index: list[NDArray[np.int64]] = []
    atom_name: list[str] = []
    element: list[str] = []
    xyz: list[NDArray[np.float64]] = []
    b_factor: list[NDArray[np.float64]] = []
    bounds = np.searchsorted(wild_type.residue_index, np.arange(len(wild_type) + 1))
    letters = list(wild_type.sequence)
    for residue in range(len(wild_type)):
        rows = slice(int(bounds[residue]), int(bounds[residue + 1]))
        if residue in exchanged:
            letters[residue], atoms = exchanged[residue]
            atom_name.extend(atoms)
            element.extend(atom[0] for atom in atoms)
            xyz.extend(np.asarray(place, dtype=np.float64).reshape(1, 3) for place in atoms.values())
            index.append(np.full(len(atoms), residue, dtype=np.int64))
            old = wild_type.b_factor[rows]
            b_factor.append(np.full(len(atoms), old.mean() if old.size else 0.0))
        else:
            atom_name.extend(wild_type.atom_name[rows])
            element.extend(wild_type.element[rows])
            xyz.append(coord[rows])
            index.append(wild_type.residue_index[rows])
            b_factor.append(wild_type.b_factor[rows])
    return dataclasses.replace(
        wild_type,
        name=name if name is not None else wild_type.name,
        sequence="".join(letters),
        residue_index=np.concatenate(index),
        atom_name=tuple(atom_name),
        element=tuple(element),
        coord=np.concatenate(xyz),
        b_factor=np.concatenate(b_factor),
        plddt=None,
        full_sequence=None,
        full_index=None,
        notes=(),
    )
