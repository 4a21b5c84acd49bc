"""`Structure`, one protein chain with all its heavy atoms, and `WildType`, the protein a run is about.

A `Structure` is a struct of arrays: n atoms, L residues, atoms sorted by
residue. Coordinates are in Å. Residues carry the file's own numbering
(`res_id`, `ins_code`); positions and indices count residues as they are here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Structure:
    """One protein chain.

    Parameters
    ----------
    name : str
        Where it came from: a file's stem or a database id.
    chain_id : str
        The file's own (author) chain name.
    sequence : str
        L one-letter codes of the residues that have coordinates; ``X`` for an unknown residue.
    res_id : int array, shape (L,)
        The file's own residue numbers.
    ins_code : tuple of str, length L
        Insertion codes, ``""`` for none.
    residue_index : int array, shape (n,)
        For each atom its residue, 0-based, ascending.
    atom_name : tuple of str, length n
    element : tuple of str, length n
        Element symbols (``"C"``).
    coord : float array, shape (n, 3), Å
    b_factor : float array, shape (n,)
    plddt : float array, shape (L,), optional
        Predicted confidence, 0-100, when the structure is a model that says so.
    full_sequence : str, optional
        The sequence the file states for the chain (SEQRES / entity), unresolved residues included.
    full_index : int array, shape (L,), optional
        For each residue its 0-based place in `full_sequence`.
    notes : tuple of str
        What the reader had to decide (dropped ligands, altlocs, MSE -> MET ...), in plain words.
    modified : tuple of (int, str)
        Residues, 0-based, that are none of the 20 in the file, and their names there, such as ``"MSE"``.
    """

    name: str
    chain_id: str
    sequence: str
    res_id: NDArray[np.int64]
    ins_code: tuple[str, ...]
    residue_index: NDArray[np.int64]
    atom_name: tuple[str, ...]
    element: tuple[str, ...]
    coord: NDArray[np.float64]
    b_factor: NDArray[np.float64]
    plddt: NDArray[np.float64] | None = None
    full_sequence: str | None = None
    notes: tuple[str, ...] = ()
    full_index: NDArray[np.int64] | None = None
    modified: tuple[tuple[int, str], ...] = ()

    def __post_init__(self) -> None:
        n, length = len(self.atom_name), len(self.sequence)
        if not (
            self.coord.shape == (n, 3)
            and len(self.element) == n
            and self.residue_index.shape == self.b_factor.shape == (n,)
        ):
            raise ValueError(f"{self.name}: atom arrays of different length")
        if len(self.ins_code) != length or self.res_id.shape != (length,):
            raise ValueError(f"{self.name}: residue arrays of different length")
        if n and (
            self.residue_index[0] < 0
            or self.residue_index[-1] >= length
            or np.any(np.diff(self.residue_index) < 0)
        ):
            raise ValueError(f"{self.name}: residue_index must ascend from 0 to {length - 1}")

    def __repr__(self) -> str:
        """Name it and count its residues and atoms."""
        return (
            f"<Structure {self.name}, chain {self.chain_id}: {len(self)} residues, {len(self.coord)} atoms>"
        )

    def __len__(self) -> int:
        """Count the residues with coordinates."""
        return len(self.sequence)

    @cached_property
    def ca(self) -> NDArray[np.float64]:
        """C-alpha coordinates, shape (L, 3), Å; NaN where a residue has none."""
        return self.atom_coord("CA")

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """The file's own residue numbers with insertion codes, such as ``"82A"``."""
        return tuple(f"{number}{code}" for number, code in zip(self.res_id, self.ins_code, strict=True))

    @cached_property
    def has_backbone(self) -> NDArray[np.bool_]:
        """Residues with all of N, CA and C, shape (L,)."""
        every: NDArray[np.bool_] = np.ones(len(self), dtype=np.bool_)
        for name in ("N", "CA", "C"):
            every &= np.isfinite(self.atom_coord(name)).all(axis=1)
        return every

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.searchsorted(self.residue_index, np.arange(len(self) + 1)).astype(np.int64)

    def atoms_of(self, index: int) -> slice:
        """Where the atoms of residue `index` (0-based) lie in the atom arrays."""
        if not 0 <= index < len(self):
            raise IndexError(f"residue index {index} outside 0..{len(self) - 1}")
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    def atom_coord(self, name: str) -> NDArray[np.float64]:
        """Coordinates of the atom `name` in each residue, shape (L, 3), Å; NaN where there is none."""
        coord = np.full((len(self), 3), np.nan)
        here = np.fromiter((one == name for one in self.atom_name), dtype=np.bool_, count=len(self.atom_name))
        coord[self.residue_index[here]] = self.coord[here]
        return coord


@dataclass(frozen=True, slots=True)
class Feature:
    """An annotated stretch of the wild type.

    `start` and `end` are 1-based, inclusive, on the wild-type sequence.
    """

    kind: str
    description: str
    start: int
    end: int
    source: str


@dataclass(frozen=True, eq=False)
class WildType:
    """The reference protein: its sequence and, where there is one, its structure.

    Parameters
    ----------
    name : str
        Accession, FASTA id or file stem; names the run folder.
    sequence : str
        L one-letter codes. Position p of the user is ``sequence[p - 1]``.
    structure : Structure, optional
    structure_index : int array, shape (L,), optional
        For each residue of `sequence` its 0-based residue in `structure`, -1 where unresolved.
    differences : tuple of (int, int)
        Where the structure has another residue than `sequence`: 0-based place in `sequence`, and the
        residue of the structure. `structure_index` is -1 there.
    features : tuple of Feature
    records : tuple of mapping
        Provenance of each file used: source, url or path, version, date, sha256.
    notes : tuple of str
    identifiers : mapping of str to str
        What databases call the protein, where that is known: ``accession`` (UniProt's), ``entry``
        (UniProt's entry name), ``gene`` (the symbol; synonyms may follow it, with blanks between them),
        ``others`` (secondary accessions, RefSeq's and Ensembl's, with blanks between them), ``isoforms``
        (those of RefSeq and Ensembl that are of other isoforms: ``NP_001119586.1=P04637-2``, with blanks
        between them).
    """

    name: str
    sequence: str
    structure: Structure | None = None
    structure_index: NDArray[np.int64] | None = None
    differences: tuple[tuple[int, int], ...] = ()
    features: tuple[Feature, ...] = ()
    records: tuple[Mapping[str, object], ...] = field(default=())
    notes: tuple[str, ...] = ()
    identifiers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Name it and count its residues."""
        structure = "no structure" if self.structure is None else f"structure {self.structure.name}"
        return f"<WildType {self.name}: {len(self.sequence)} residues, {structure}>"

    @cached_property
    def structure_numbers(self) -> tuple[str | None, ...]:
        """Number of each residue in the structure's file, with insertion code; None without coordinates.

        A residue that differs from that of the sequence counts too.
        """
        numbers: list[str | None] = [None] * len(self.sequence)
        if self.structure is not None and self.structure_index is not None:
            for place, residue in (*enumerate(self.structure_index.tolist()), *self.differences):
                if residue >= 0:
                    numbers[place] = self.structure.numbers[residue]
        return tuple(numbers)

    @property
    def is_entry(self) -> bool:
        """Whether it is a UniProt entry, which AlphaFold DB may know."""
        return any(record.get("kind") == "uniprot" for record in self.records)
