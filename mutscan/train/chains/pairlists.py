"""Read lists of pairs of chains, from text or Parquet."""

from __future__ import annotations

import gzip
import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.train.chains.tables import pair_files, read_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ENDS: Final = (("id1", "id2"), ("chain_1", "chain_2"))
_CARRIED: Final = ("picked_as", "source")


def read_pair_list(path: Path, *, keep_alignments: bool = False) -> pd.DataFrame:
    """Read a list of pairs.

    Parameters
    ----------
    path : path of a Parquet table (or a folder of them), or of CSV or TSV (also .gz)
        With columns id1 and id2, or chain_1 and chain_2; picked_as and source are kept, too.
    keep_alignments : bool
        Also read TM-scores and aligned residues.

    Returns
    -------
    DataFrame
        id1, id2, line (position of the row in its file), picked_as, source; with `keep_alignments`
        also tm_norm1, tm_norm2, i1, i2, aligner.

    Raises
    ------
    UsageError
        No such file, a column is missing, or a row names no chain.
    """
    if path.is_dir() or path.suffix.lower() == ".parquet":
        tables = [_read_table(file, keep_alignments) for file in pair_files(path)]
        return pd.concat(tables, ignore_index=True)
    if keep_alignments:
        raise UsageError(f"{path}: only Parquet tables hold alignments; leave out --keep-alignments")
    return _read_text(present(path))


def no_pairs() -> pd.DataFrame:
    """Make an empty list of pairs."""
    names = ("id1", "id2", "picked_as", "source")
    return pd.DataFrame({name: pd.Series(dtype=object) for name in names}).assign(
        line=pd.Series(dtype=np.int64)
    )


def present(path: Path) -> Path:
    """Return `path`; UsageError when there is no such file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file; a table was expected")
    return path


def separator(path: Path) -> str:
    """Find the separator of a text table by its first line: tab if it has any, else comma."""
    try:
        opened = gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(
            encoding="utf-8-sig"
        )  # fmt: skip
        with opened as lines:
            return "\t" if "\t" in lines.readline(100_000) else ","
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as text ({error})") from error


def _read_text(path: Path) -> pd.DataFrame:
    try:
        with warnings.catch_warnings():
            # Otherwise rows longer than the header are silently cut or shifted by a column.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # "NA" may be an id, and blank lines count in the line numbers of messages.
            table = pd.read_csv(
                path,
                sep=separator(path),
                dtype=str,
                index_col=False,
                na_filter=False,
                skip_blank_lines=False,
                encoding="utf-8-sig",
            )
    except (ValueError, OSError, EOFError, pd.errors.ParserWarning) as error:
        raise UsageError(f"{path}: cannot be read as a table ({error})") from error
    first, second = _ends(path, table.columns.tolist())
    table["line"] = np.arange(len(table)) + 2
    named = table[[first, second, *(name for name in _CARRIED if name in table), "line"]]
    blank = (table.drop(columns="line") == "").all(axis=1)
    return _complete(path, named[~blank].rename(columns={first: "id1", second: "id2"}))


def _read_table(path: Path, keep_alignments: bool) -> pd.DataFrame:
    read_columns(path, ())
    header = pq.read_schema(path).names
    first, second = _ends(path, header)
    carried = [name for name in _CARRIED if name in header]
    kept: list[str] = []
    if keep_alignments:
        kept = ["tm_norm1", "tm_norm2", *(("alignment",) if "alignment" in header else ("i1", "i2"))]
        carried += [name for name in ("aligner",) if name in header]
    table = read_columns(path, (first, second, *kept), carried).to_pandas(ignore_metadata=True)
    if "alignment" in kept:
        aligned = [np.frombuffer(buffer, "<i2").reshape(-1, 2) for buffer in table.pop("alignment")]
        table["i1"] = pd.Series([part[:, 0].astype(np.int32) for part in aligned], dtype=object)
        table["i2"] = pd.Series([part[:, 1].astype(np.int32) for part in aligned], dtype=object)
    if keep_alignments and "aligner" not in table:
        table["aligner"] = "as given"
    table["line"] = np.arange(len(table)) + 1
    return _complete(path, table.rename(columns={first: "id1", second: "id2"}))


def _ends(path: Path, header: Sequence[str]) -> tuple[str, str]:
    """Names of the two id columns."""
    for first, second in _ENDS:
        if first in header and second in header:
            return first, second
    raise UsageError(
        f"{path}: has no columns id1 and id2, nor chain_1 and chain_2; there are {', '.join(header)}"
    )


def _complete(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """Check that every row names two chains; fill in missing columns."""
    for name in ("id1", "id2"):
        empty = np.flatnonzero(table[name].isna() | (table[name] == ""))
        if len(empty):
            raise UsageError(f"{path}: line {table['line'].iloc[empty[0]]} names no chain as {name}")
    for name, default in zip(_CARRIED, ("list", path.name), strict=True):
        given = table[name].astype(object) if name in table else pd.Series(None, table.index, dtype=object)
        table[name] = given.where(given.notna() & (given != ""), default)
    return table.reset_index(drop=True)
