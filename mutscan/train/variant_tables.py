"""Tables of proteins and of their single substitutions: labels, assay scores, stabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mutscan.errors import UsageError, VariantError
from mutscan.evidence.residue_properties import CODE
from mutscan.structures import read_structure
from mutscan.structures.mapping import map_sequence
from mutscan.structures.read import stem
from mutscan.variants.notation import parse_variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LABELS = {"deleterious": 1.0, "neutral": 0.0}
_STRUCTURE_ENDINGS = (".pdb", ".ent", ".cif", ".pdb.gz", ".ent.gz", ".cif.gz")


@dataclass(frozen=True, eq=False)
class VariantTable:
    """Single substitutions of a table of proteins.

    Parameters
    ----------
    proteins : DataFrame
        ``protein``, ``sequence``, and where given ``group`` and ``structure``; one row each.
    protein : int array, shape (n,)
        Row of each variant's protein in `proteins`.
    variant : str array, shape (n,)
    index : int array, shape (n,)
        Replaced residue, 0-based.
    mutant : int array, shape (n,)
        What replaces it, its place in `STANDARD`.
    value : float array, shape (n,)
        1 for deleterious and 0 for neutral, or a score, or ddG.
    """

    proteins: pd.DataFrame
    protein: NDArray[np.int64]
    variant: NDArray[np.str_]
    index: NDArray[np.int64]
    mutant: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        """Count variants."""
        return len(self.protein)

    @property
    def group(self) -> NDArray[np.int64]:
        """Group of each variant's protein, shape (n,); the protein itself where the table has none."""
        if "group" not in self.proteins:
            return self.protein
        codes, _ = pd.factorize(self.proteins["group"].astype(str))
        return np.asarray(codes, dtype=np.int64)[self.protein]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> VariantTable:
        """Choose variants; all proteins stay."""
        return VariantTable(
            self.proteins, self.protein[rows], self.variant[rows], self.index[rows], self.mutant[rows],
            self.value[rows],
        )  # fmt: skip


def read_variants(
    proteins: Path, variants: Path, *, column: str, protein_column: str = "protein"
) -> VariantTable:
    """Read and check both tables.

    Parameters
    ----------
    proteins, variants : Path
        CSV, gzip or plain.
    column : {"label", "score", "ddG"}
        What is known of a variant.
    protein_column : str
        Column that names the protein (or assay) in both tables.

    Raises
    ------
    UsageError
        A column is missing, a protein is unknown, a wild-type letter does not match, or a value is none.
    """
    known = _read(proteins, (protein_column, "sequence"))
    table = _read(variants, (protein_column, "variant", column))
    known = known.rename(columns={protein_column: "protein"}) if protein_column != "protein" else known
    known = known.loc[:, ~known.columns.duplicated(keep="last")].reset_index(drop=True)
    if known["protein"].duplicated().any():
        twice = known["protein"][known["protein"].duplicated()].iloc[0]
        raise UsageError(f"{proteins}: {twice} is there twice; expected one row for each protein")
    place = pd.Series(np.arange(len(known)), index=known["protein"].astype(str))
    rows = table[protein_column].astype(str).map(place)
    if rows.isna().any():
        raise UsageError(f"{variants}: {table[protein_column][rows.isna()].iloc[0]} is not in {proteins}")
    if column == "label":
        value = table[column].map(LABELS)
        if value.isna().any():
            raise UsageError(
                f"{variants}: label {table[column][value.isna()].iloc[0]!r}; expected deleterious or neutral"
            )
    else:
        value = pd.to_numeric(table[column], errors="coerce")
        if value.isna().any():
            raise UsageError(f"{variants}: {column} {table[column][value.isna()].iloc[0]!r} is no number")
    protein = rows.to_numpy(dtype=np.int64)
    sequences = known["sequence"].astype(str).tolist()
    index, mutant = _substitutions(table["variant"].astype(str).tolist(), protein, sequences, variants)
    return VariantTable(
        known, protein, table["variant"].astype(str).to_numpy(dtype=np.str_), index, mutant,
        np.asarray(value, dtype=np.float64),
    )  # fmt: skip


def _read(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})") from error
    missing = [name for name in needed if name not in table]
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}; expected {', '.join(needed)}")
    return table


def _substitutions(
    texts: Sequence[str], protein: NDArray[np.int64], sequences: Sequence[str], path: Path
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    index, mutant = np.empty(len(texts), dtype=np.int64), np.empty(len(texts), dtype=np.int64)
    for row, (text, which) in enumerate(zip(texts, protein.tolist(), strict=True)):
        try:
            variant = parse_variant(text)
            variant.check(sequences[which])
            (one,) = variant.substitutions
        except VariantError as error:
            raise UsageError(f"{path}, row {row + 2}: {error.message}") from error
        except ValueError as error:
            raise UsageError(f"{path}, row {row + 2}: {text} is no single substitution") from error
        index[row], mutant[row] = one.position - 1, CODE[ord(one.mutant)]
    return index, mutant


def structure_files(table: Path, folder: Path | None) -> dict[str, Path]:
    """Structure files by stem: in `folder`, else in the table's own folder, and those below."""
    root = folder if folder is not None else table.resolve().parent
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--structures-dir {folder}: no such folder")
    return {
        stem(path.name): path
        for path in sorted(root.rglob("*"))
        if path.name.lower().endswith(_STRUCTURE_ENDINGS) and path.is_file()
    }


def structure_on_sequence(
    path: Path, sequence: str
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """C-alpha atoms (L, 3) and pLDDT (L,) of a structure, laid out on a sequence; NaN where unresolved.

    Raises
    ------
    StructureError
        The file is no structure, or not of this sequence.
    """
    structure = read_structure(path)
    index = map_sequence(structure, sequence)
    ca = np.where((index >= 0)[:, None], structure.ca[np.maximum(index, 0)], np.nan)
    if structure.plddt is None:
        return ca, None
    return ca, np.where(index >= 0, structure.plddt[np.maximum(index, 0)], np.nan)
