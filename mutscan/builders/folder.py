"""Mutant structures that were built elsewhere: a folder with one file for each variant, named by it."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.builders import BuiltMutant
from mutscan.builders.assembly import check_exchanges, residue_label
from mutscan.errors import BuildError, StructureError, UsageError
from mutscan.hashes import file_sha256, json_sha256
from mutscan.residues import UNKNOWN, is_standard
from mutscan.structures import is_structure_file, read_structure
from mutscan.structures.files import EXPECTED, stem
from mutscan.structures.mapping import place_residues
from mutscan.variants import Substitution, Variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.builders import Exchange
    from mutscan.structures import Structure

MIN_SHARED: Final = 0.5
"""A file with less than this share of the wild type's residues is not scored."""


@dataclass(frozen=True)
class FolderBuilder:
    """A folder of mutant structures, such as ``R175H.pdb`` and ``R175H_R248Q.cif.gz``.

    No wild-type control is subtracted, because it is unknown how the files were made.

    Parameters
    ----------
    directory : Path
    position_of : mapping of int to int
        For each residue of the wild-type structure (0-based) its position in the wild-type
        sequence (1-based), which is what file names count by.

    Raises
    ------
    UsageError
        There is no such folder.
    """

    directory: Path
    position_of: Mapping[int, int]

    name = "folder"

    def __post_init__(self) -> None:
        if not Path(self.directory).is_dir():
            raise UsageError(f"{self.directory}: expected a folder of mutant structures, one file each")

    def settings(self) -> Mapping[str, object]:
        """Name of the folder, and a hash over names and contents of its structure files."""
        files = sorted(p for p in Path(self.directory).iterdir() if is_structure_file(p) and p.is_file())
        return {
            "directory": Path(self.directory).resolve().name,
            "sha256": json_sha256([[path.name, file_sha256(path)] for path in files]),
            "control": "none",
        }

    def prepare(self, wild_type: Structure, scratch: Path) -> PreparedFolder:
        """Remember the wild type; the file of a variant is read when the variant is built."""
        return PreparedFolder(Path(self.directory).resolve(), dict(self.position_of), wild_type)


@dataclass(frozen=True, eq=False)
class PreparedFolder:
    """A folder of mutants and the wild type they belong to."""

    directory: Path
    position_of: Mapping[int, int]
    wild_type: Structure

    def build(self, exchanges: Sequence[Exchange]) -> BuiltMutant:
        """Read the mutant's file and lay it out residue by residue as the wild type.

        Residues are matched by number and insertion code; where that does not fit the sequence, by
        sequence. Residues the file lacks keep their place and letter but have no atoms, so that
        their CA is NaN and scores leave them out. The frame is the file's own.

        Raises
        ------
        BuildError
            Code ``structure_missing``: no file of the expected name. Code ``structure_mismatch``: the
            file holds another sequence than the mutant's. Code ``bad_structure``: it cannot be read.
        """
        start = time.perf_counter()
        check_exchanges(self.wild_type, exchanges)
        path = self._find(exchanges)
        model = self._read(path)
        expected = list(self.wild_type.sequence)
        for index, residue in exchanges:
            expected[index] = residue
        sequence = "".join(expected)
        match, by_sequence = self._match(model, sequence, path)
        notes = [f"structure from {path.name}, no wild-type control"]
        if by_sequence:
            notes.append(f"residues of {path.name} matched by sequence, because its numbering differs")
        absent = int((match < 0).sum())
        if absent:
            notes.append(f"{path.name} lacks {absent} of the wild type's {len(match)} residues")
        missing = [self._label(index) for index, _ in exchanges if match[index] < 0]
        if missing:
            raise BuildError(
                f"{path.name} has no coordinates for the exchanged residue {missing[0]}; "
                "expected at least its CA",
                code="structure_missing",
            )
        for index, residue in exchanges:
            if model.sequence[match[index]] != residue:
                raise BuildError(
                    f"{path.name}: residue {model.numbers[match[index]]} is unknown, "
                    f"expected {residue} at {self._label(index)}",
                    code="structure_mismatch",
                )
        structure = _laid_out(self.wild_type, model, match, sequence)
        return BuiltMutant(structure, time.perf_counter() - start, notes=(*notes, *model.notes))

    def _label(self, index: int) -> str:
        position = self.position_of.get(index)
        label = residue_label(self.wild_type, index)
        return label if position is None else f"{self.wild_type.sequence[index]}{position}"

    def _stem(self, exchanges: Sequence[Exchange]) -> str:
        """File name of a mutant without ending: the canonical variant, ``_`` for ``;``."""
        substitutions = []
        for index, residue in exchanges:
            if index not in self.position_of:
                raise BuildError(
                    f"residue {residue_label(self.wild_type, index)} of {self.wild_type.name} has no "
                    "position in the wild-type sequence, so no file can be named by it"
                )
            if not is_standard(residue):
                raise BuildError(f"{residue!r} is none of the 20 standard residues")
            substitutions.append(
                Substitution(self.position_of[index], self.wild_type.sequence[index], residue)
            )
        return Variant(tuple(sorted(substitutions))).file_stem

    def _find(self, exchanges: Sequence[Exchange]) -> Path:
        wanted = self._stem(exchanges)
        try:
            names = sorted(filter(is_structure_file, os.listdir(self.directory)))
        except OSError as error:
            raise BuildError(
                f"{self.directory}: cannot be read: {error.strerror or error}", code="structure_missing"
            ) from error
        found = [self.directory / name for name in names if name.startswith(wanted) and stem(name) == wanted]
        if len(found) > 1:
            raise BuildError(
                f"{self.directory}: contains both {found[0].name} and {found[1].name}; keep one of them",
                code="structure_missing",
            )
        if found:
            return found[0]
        parts = sorted(wanted.lower().split("_"))
        near = [name for name in names if sorted(name.split(".")[0].lower().split("_")) == parts]
        hint = f"; rename {near[0]}" if near else ""
        raise BuildError(
            f"{self.directory} has no structure of this mutant: expected a file named {wanted} "
            f"({EXPECTED}){hint}",
            code="structure_missing",
        )

    def _read(self, path: Path) -> Structure:
        try:
            return read_structure(path)
        except StructureError as error:
            first = error
        try:
            # Several proteins in the file: the one that has the wild type's chain name.
            return read_structure(path, chain=self.wild_type.chain_id)
        except StructureError:
            raise BuildError(f"{path.name}: {first.message}", code=first.code) from first

    def _match(self, model: Structure, sequence: str, path: Path) -> tuple[NDArray[np.int64], bool]:
        """For each wild-type residue the model's, -1 where it has none; and whether numbers did not help."""
        by_number = _by_number(self.wild_type, model)
        wrong = _differences(model, sequence, by_number)
        if not wrong and (by_number >= 0).mean() >= MIN_SHARED:
            return by_number, False
        places = place_residues(model.sequence, model.res_id, model.ca, sequence)
        by_sequence = np.full(len(sequence), -1, dtype=np.int64)
        placed = np.flatnonzero(places >= 0)
        by_sequence[places[placed]] = placed
        wrong_too = _differences(model, sequence, by_sequence)
        if not wrong_too and (by_sequence >= 0).mean() >= MIN_SHARED:
            return by_sequence, True
        match, wrong = min(((by_sequence, wrong_too), (by_number, wrong)), key=lambda pair: len(pair[1]))
        shared = int((match >= 0).sum())
        if wrong:
            examples = ", ".join(
                f"{model.sequence[match[i]]} at residue {model.numbers[match[i]]}, expected {sequence[i]}"
                for i in wrong[:3]
            )
            problem = f"{len(wrong)} of {shared} shared residues differ ({examples})"
        else:
            problem = f"it has {shared} of the wild type's {len(sequence)} residues, expected at least half"
        raise BuildError(
            f"{path.name} is not this mutant of {self.wild_type.name}: {problem}", code="structure_mismatch"
        )


def _by_number(wild_type: Structure, model: Structure) -> NDArray[np.int64]:
    of_number = {number: index for index, number in enumerate(model.numbers)}
    return np.array([of_number.get(number, -1) for number in wild_type.numbers], dtype=np.int64)


def _differences(model: Structure, sequence: str, match: NDArray[np.int64]) -> list[int]:
    """Residues whose letter is not the mutant's; an unknown one is no difference."""
    return [
        i
        for i, k in enumerate(match.tolist())
        if k >= 0 and model.sequence[k] != sequence[i] and UNKNOWN not in (model.sequence[k], sequence[i])
    ]


def _laid_out(wild_type: Structure, model: Structure, match: NDArray[np.int64], sequence: str) -> Structure:
    """Atoms of `model` in the residues, order and numbering of `wild_type`."""
    place = np.full(len(model), -1, dtype=np.int64)
    place[match[match >= 0]] = np.flatnonzero(match >= 0)
    residue = place[model.residue_index]
    rows = np.flatnonzero(residue >= 0)
    rows = rows[np.argsort(residue[rows], kind="stable")]
    return dataclasses.replace(
        wild_type,
        name=model.name,
        sequence=sequence,
        residue_index=residue[rows],
        atom_name=tuple(model.atom_name[row] for row in rows),
        element=tuple(model.element[row] for row in rows),
        coord=model.coord[rows],
        b_factor=model.b_factor[rows],
        plddt=None,
        full_sequence=None,
        full_index=None,
        notes=(),
    )


__all__ = ["MIN_SHARED", "FolderBuilder", "PreparedFolder"]
