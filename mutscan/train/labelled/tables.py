"""Read tables of proteins and of their single substitutions: labels, scores of scans, stabilities."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pandas as pd

from mutscan.errors import UsageError, VariantError
from mutscan.residue_properties import CODE
from mutscan.variants.notation import parse_variant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Kind = Literal["variants", "dms", "stability"]
"""Labelled variants, deep mutational scans, or changes of stability."""

COLUMNS: Final[dict[Kind, str]] = {"variants": "label", "dms": "score", "stability": "ddG"}
"""Column with the known effect of a variant, by the kind of table."""

LABELS: Final = {"deleterious": 1.0, "neutral": 0.0}
_NAMED: Final = 5  # rows or proteins named in a message


@dataclass(frozen=True, eq=False)
class VariantTable:
    """Single substitutions of a table of proteins.

    Parameters
    ----------
    proteins : DataFrame
        ``protein``, ``sequence``, optionally ``group`` and ``structure``; one row for each protein.
    protein : int array, shape (n,)
        Row of each variant's protein in `proteins`.
    variant : str array, shape (n,)
    index : int array, shape (n,)
        Replaced residue, 0-based.
    mutant : int array, shape (n,)
        New residue, as its place in `STANDARD`.
    value : float array, shape (n,)
        1 for deleterious and 0 for neutral, or a score, or ddG.
    source : str array, shape (n,)
        Source of each row; empty where the table gives none.
    line : int array, shape (n,)
        Line of each row in the file, the header being line 1.
    left_out : tuple of str
        Descriptions of rows that do not fit their protein.
    """

    proteins: pd.DataFrame
    protein: NDArray[np.int64]
    variant: NDArray[np.str_]
    index: NDArray[np.int64]
    mutant: NDArray[np.int64]
    value: NDArray[np.float64]
    source: NDArray[np.str_]
    line: NDArray[np.int64]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Count variants."""
        return len(self.protein)

    @property
    def group(self) -> NDArray[np.int64]:
        """Group of each variant's protein, shape (n,); the protein itself where the table has no groups."""
        if "group" not in self.proteins:
            return self.protein
        codes, _ = pd.factorize(self.proteins["group"].astype(str), sort=True)
        return np.asarray(codes, dtype=np.int64)[self.protein]

    @property
    def names(self) -> NDArray[np.str_]:
        """Name of each row's protein (or assay), shape (n,)."""
        return self.proteins["protein"].astype(str).to_numpy(dtype=np.str_)[self.protein]

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> VariantTable:
        """Choose variants; all proteins stay."""
        return VariantTable(
            self.proteins, self.protein[rows], self.variant[rows], self.index[rows], self.mutant[rows],
            self.value[rows], self.source[rows], self.line[rows], self.left_out,
        )  # fmt: skip

    def in_order(self) -> VariantTable:
        """Sort proteins and variants, so that the order of the files does not matter.

        Proteins without variants are dropped.
        """
        used = np.unique(self.protein)
        names = self.proteins["protein"].astype(str).to_numpy(dtype=np.str_)[used]
        order = used[np.argsort(names, kind="stable")]
        place = np.full(len(self.proteins), -1, dtype=np.int64)
        place[order] = np.arange(len(order))
        protein = place[self.protein]
        rows = np.lexsort((self.value, self.source, self.mutant, self.index, protein))
        taken = self.take(rows)
        return replace(
            taken, proteins=self.proteins.iloc[order].reset_index(drop=True), protein=protein[rows]
        )


def read_variants(
    proteins: Path,
    variants: Path,
    *,
    column: str,
    protein_column: str = "protein",
    leave_out: bool = False,
) -> VariantTable:
    """Read and check both tables.

    Parameters
    ----------
    proteins, variants : Path
        CSV, gzip or plain.
    column : {"label", "score", "ddG"}
        Column with the known effect of a variant.
    protein_column : str
        Column that names the protein (or assay) in both tables.
    leave_out : bool
        Leave out rows that are not a single substitution of their protein (another wild-type letter, a
        position past the end, several substitutions) and list them in ``left_out``, instead of refusing
        the table.

    Raises
    ------
    UsageError
        A column is missing, a protein is unknown, a wild-type letter does not match, or a value is invalid.
    """
    known = _read(proteins, (protein_column, "sequence"))
    table = _read(variants, (protein_column, "variant", column))
    if protein_column != "protein":
        known = known.drop(columns="protein", errors="ignore").rename(columns={protein_column: "protein"})
    lines = known.index + 2
    known = known.reset_index(drop=True)
    names = known["protein"].astype(str)
    if names.duplicated().any():
        raise UsageError(
            f"{proteins}: {names[names.duplicated()].iloc[0]} is listed twice; expected one row for each "
            "protein"
        )
    sequences = known["sequence"].astype(str)
    wrong = ~sequences.str.fullmatch("[A-Z]+")
    if wrong.any():
        raise UsageError(
            f"{proteins}, line {lines[wrong][0]}: the sequence of {names[wrong].iloc[0]} holds "
            "other characters than upper-case letters"
        )
    place = pd.Series(np.arange(len(known)), index=names)
    rows = table[protein_column].astype(str).map(place)
    _refuse(variants, table[protein_column], rows.isna(), f"is not in {proteins}")
    if column == "label":
        value = table[column].map(LABELS)
        _refuse(variants, table[column], value.isna(), "is not a label; expected deleterious or neutral")
    else:
        value = pd.to_numeric(table[column], errors="coerce").where(lambda x: np.isfinite(x))
        _refuse(variants, table[column], value.isna(), f"is not a {column}; expected a number")
    protein = rows.to_numpy(dtype=np.int64)
    texts = table["variant"].astype(str).tolist()
    line = np.asarray(table.index, dtype=np.int64) + 2
    index, mutant, misfits = _substitutions(texts, protein, sequences.tolist(), line.tolist())
    if misfits and not leave_out:
        raise UsageError(f"{variants}, {misfits[0]}{_more(len(misfits))}")
    if "structure" in table and "structure" not in known:
        # The table of variants may name the structures instead.
        cells = table["structure"].where(table["structure"].notna(), None)
        named = pd.Series(cells.to_numpy(), index=protein).dropna()
        known["structure"] = pd.Series(named[~named.index.duplicated()]).reindex(range(len(known)))
    source = table["source"] if "source" in table else pd.Series("", index=table.index)
    everything = VariantTable(
        known, protein, np.array(texts, dtype=np.str_), index, mutant, np.asarray(value, dtype=np.float64),
        source.fillna("").astype(str).to_numpy(dtype=np.str_), line, tuple(misfits),
    )  # fmt: skip
    return everything.take(index >= 0)


def _read(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    try:
        # "NA" is a name, not a missing value; blank lines count, so that line numbers are right.
        table = pd.read_csv(
            path, keep_default_na=False, na_values=[""], skip_blank_lines=False, low_memory=False
        ).dropna(how="all")
    except (OSError, ValueError, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})") from error
    missing = [name for name in needed if name not in table]
    if missing:
        raise UsageError(f"{path}: no column {', '.join(missing)}; expected {', '.join(needed)}")
    return table


def _refuse(path: Path, values: pd.Series, wrong: pd.Series, words: str) -> None:
    """Refuse a file, naming the first invalid row."""
    if wrong.any():
        bad = values[wrong]
        raise UsageError(f"{path}, line {bad.index[0] + 2}: {bad.iloc[0]!r} {words}{_more(len(bad))}")


def _substitutions(
    texts: Sequence[str], protein: NDArray[np.int64], sequences: Sequence[str], lines: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Find the replaced and new residue of each row, -1 where it does not fit, and describe such rows."""
    index, mutant = (np.full(len(texts), -1, dtype=np.int64) for _ in range(2))
    misfits = []
    for row, (text, which) in enumerate(zip(texts, protein.tolist(), strict=True)):
        try:
            variant = parse_variant(text)
            variant.check(sequences[which])
        except VariantError as error:
            misfits.append(f"line {lines[row]}: {error.message}")
            continue
        if variant.indel is not None or len(variant.substitutions) != 1:
            misfits.append(f"line {lines[row]}: {text} is not a single substitution")
            continue
        (one,) = variant.substitutions
        index[row], mutant[row] = one.position - 1, CODE[ord(one.mutant)]
    return index, mutant, misfits


def _more(count: int) -> str:
    return f" ({count - 1} more such lines)" if count > 1 else ""


def first_lines(left_out: Sequence[str]) -> str:
    """List the first of some lines.

    Examples
    --------
    >>> first_lines(["line 2: a", "line 3: b"])
    'line 2: a; line 3: b'
    """
    return "; ".join(left_out[:_NAMED]) + (" ..." if len(left_out) > _NAMED else "")
