"""AlphaMissense's values for the substitutions of a human protein, as AlphaFold DB serves them.

Cheng et al., Science 381, eadg7492 (2023); CC BY 4.0. The file of an accession is CSV with the columns
protein_variant (``M1A``), am_pathogenicity (0-1) and am_class.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLUMNS: Final = ("protein_variant", "am_pathogenicity")
_VARIANT: Final = re.compile(rf"([A-Z])([1-9][0-9]*)([{STANDARD}])")


def read_alphamissense(data: bytes, sequence: str) -> NDArray[np.float64]:
    """Read the file of a protein.

    Parameters
    ----------
    data : bytes
    sequence : str
        L residues.

    Returns
    -------
    float array, shape (L, 20)
        Value of each substitution, 0-1, in the order of `STANDARD`; NaN where the file has none.

    Raises
    ------
    ValueError
        Another form than documented, or of another sequence; says what it is.
    """
    table = csv.reader(io.StringIO(data.decode("utf-8", "replace")))
    if tuple(next(table, ()))[:2] != COLUMNS:
        raise ValueError(f"no table that begins with the columns {' and '.join(COLUMNS)}")
    values = np.full((len(sequence), len(STANDARD)), np.nan)
    for cells in table:
        match = _VARIANT.fullmatch(cells[0]) if len(cells) > 1 else None
        try:
            value = float(cells[1]) if match else np.nan
        except ValueError:
            value = np.nan
        if match is None or not 0.0 <= value <= 1.0:
            raise ValueError(f"line {table.line_num}: {','.join(cells)[:60]!r} instead of M1A,0.5321,LAmb")
        position = int(match[2])
        if position > len(sequence) or sequence[position - 1] != match[1]:
            raise ValueError(f"line {table.line_num}: {match[0]} is no substitution of this sequence")
        values[position - 1, STANDARD.index(match[3])] = value
    if np.isnan(values).all():
        raise ValueError("a table without values")
    return values
