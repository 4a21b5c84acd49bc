"""Structures of labelled proteins: files that a table names, and chains with a matching sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pandas as pd

from mutscan.errors import StructureError, UsageError
from mutscan.structures import WildType, read_structure
from mutscan.structures.files import StructureFinder
from mutscan.structures.mapping import MIN_IDENTITY, MIN_PLACED, map_sequence, place_residues
from mutscan.train.chains.relatives import shared_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.structures import Structure
    from mutscan.train.labelled.tables import VariantTable

_CANDIDATE: Final = 0.6  # share of a chain's words of five residues; allows for a few exchanges and gaps
_SHORTEST: Final = 30


class Shape(NamedTuple):
    """A structure on a sequence of L residues, NaN where unknown.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
    plddt : float array, shape (L,), optional
    folded : float array, shape (L, 20), optional
        Log-probabilities of inverse folding, for structures with whole backbones.
    """

    ca: NDArray[np.float64]
    plddt: NDArray[np.float64] | None = None
    folded: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class NamedStructure:
    """A structure file laid out on the sequence of its protein.

    Parameters
    ----------
    path : Path
    structure : Structure
    index : int array, shape (L,)
        Residue of the structure at each residue of the sequence, -1 where there is none.
    """

    path: Path
    structure: Structure
    index: NDArray[np.int64]

    @property
    def shape(self) -> Shape:
        """C-alpha atoms and pLDDT on the sequence."""
        there, row = self.index >= 0, np.maximum(self.index, 0)
        ca = np.where(there[:, None], self.structure.ca[row], np.nan)
        plddt = self.structure.plddt
        return Shape(ca, None if plddt is None else np.where(there, plddt[row], np.nan))

    def wild_type(self, sequence: str) -> WildType:
        """Return the protein of this sequence with this structure."""
        return WildType(self.path.stem, sequence, self.structure, self.index)


class NamedStructures:
    """Structures that the ``structure`` cells of a table name.

    Files are matched as by `mutscan.structures.files.StructureFinder`; of several, the first that fits the
    sequence is taken.

    Parameters
    ----------
    table : Path
        Table of proteins; its folder and those below are searched.
    folder : Path, optional
        Searched instead.

    Raises
    ------
    UsageError
        `folder` does not exist.
    """

    def __init__(self, table: Path, folder: Path | None = None) -> None:
        if folder is not None and not folder.is_dir():
            raise UsageError(f"--structures-dir {folder}: no such folder")
        self._finder = StructureFinder(folder if folder is not None else table.resolve().parent)

    def find(self, cell: str, sequence: str) -> tuple[NamedStructure | None, str]:
        """Structure that a cell names, or None and the reason."""
        reason = f"no file of the name {cell}"
        for path in self._finder.candidates(cell):
            try:
                structure = read_structure(path)
                return NamedStructure(path, structure, map_sequence(structure, sequence)), ""
            except StructureError as error:
                reason = error.message
        return None, reason

    def find_all(self, table: VariantTable) -> Iterator[tuple[int, NamedStructure | None, str]]:
        """Find the structure of each protein with variants that names one: row, structure or None, reason."""
        if "structure" not in table.proteins:
            return
        cells, sequences = (table.proteins[c].tolist() for c in ("structure", "sequence"))
        for p in np.unique(table.protein).tolist():
            if isinstance(cells[p], str) and cells[p].strip():
                yield (p, *self.find(cells[p], str(sequences[p])))


def chains_on_sequences(table: Path, sequences: Sequence[str]) -> dict[int, list[Shape]]:
    """Lay out the chains of a table (``sequence`` and ``ca`` as in structures.parquet) on matching sequences.

    Parameters
    ----------
    table : Path
        Parquet; a column ``kind`` may mark chains ``designed``, which are left out.
    sequences : sequence of str

    Returns
    -------
    dict of place in `sequences` -> list of (C-alpha, pLDDT)
        Those that cover the most residues first.

    Raises
    ------
    UsageError
        The table cannot be read or lacks a column.
    """
    try:
        chains = pd.read_parquet(table)
        letters, atoms = chains["sequence"].astype(str).tolist(), chains["ca"].tolist()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{table}: cannot be read as a table of chains ({error}); expected Parquet with sequence and ca"
        ) from error
    kinds = chains["kind"].tolist() if "kind" in chains else [""] * len(chains)
    confidence = chains["plddt"].tolist() if "plddt" in chains else [None] * len(chains)
    found: dict[int, list[Shape]] = {}
    for rows, others, share in shared_words(letters, list(sequences)):
        near = share >= _CANDIDATE
        for chain, place in zip(rows[near].tolist(), others[near].tolist(), strict=True):
            if kinds[chain] == "designed" or len(letters[chain]) < _SHORTEST:
                continue
            ca = np.frombuffer(atoms[chain], "<i2").reshape(-1, 3) / 100.0
            plddt = confidence[chain]
            values = None if plddt is None else np.frombuffer(plddt, np.uint8).astype(np.float64)
            shape = _laid_out(letters[chain], ca, values, sequences[place])
            if shape is not None:
                found.setdefault(place, []).append(shape)
    for shapes in found.values():
        shapes.sort(key=lambda shape: -int(np.isfinite(shape.ca[:, 0]).sum()))
    return found


def _laid_out(
    observed: str, ca: NDArray[np.float64], plddt: NDArray[np.float64] | None, sequence: str
) -> Shape | None:
    places = place_residues(observed, np.zeros(len(observed), dtype=np.int64), ca, sequence)
    placed = np.flatnonzero(places >= 0)
    if len(placed) < max(_SHORTEST, MIN_PLACED * len(observed)):
        return None
    own = np.frombuffer(observed.encode(), np.uint8)[placed]
    given = np.frombuffer(sequence.encode(), np.uint8)[places[placed]]
    if (own == given).mean() < MIN_IDENTITY:
        return None
    placed = placed[own == given]
    atoms = np.full((len(sequence), 3), np.nan)
    atoms[places[placed]] = ca[placed]
    if plddt is None:
        return Shape(atoms)
    confidence = np.full(len(sequence), np.nan)
    confidence[places[placed]] = plddt[placed]
    return Shape(atoms, confidence)
