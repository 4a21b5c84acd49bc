"""Chains and labelled pairs: the tables that training and evaluation read.

A *chain* is one protein chain with C-alpha coordinates; a *pair* is two chains
with both TM-scores and TM-align's residue alignment. Residue alignments are
ragged: one array of all aligned residues, and the start of each pair's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.hashes import text_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SIMILAR: Final = 0.7
"""Lowest TM-score of a pair whose lDDT is trained on and evaluated."""

MUTANT: Final = "mutant"
"""``picked_as`` of a wild type (chain 1) and its mutant (chain 2), aligned residue by residue."""

_CA_SCALE: Final = 100.0  # coordinates are stored in 0.01 Å


@dataclass(frozen=True, eq=False)
class Chains:
    """Protein chains, in the order of their table.

    Parameters
    ----------
    ids, sequences : tuple of str, length n
    ca : tuple of float32 arrays, shape (L, 3), Å
    clusters : int array, shape (n,), optional
        Sequence cluster of each chain (``cluster25``); None when the table has none.
    """

    ids: tuple[str, ...]
    sequences: tuple[str, ...]
    ca: tuple[NDArray[np.float32], ...]
    clusters: NDArray[np.int64] | None

    def __len__(self) -> int:
        """Count chains."""
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Residues of each chain, shape (n,)."""
        return np.array([len(sequence) for sequence in self.sequences], dtype=np.int64)

    @property
    def digests(self) -> tuple[str, ...]:
        """A short sha256 of each sequence: the identity of a protein, whatever its name."""
        return tuple(map(sequence_digest, self.sequences))

    def take(self, indices: NDArray[np.int64]) -> Chains:
        """Choose the chains at `indices`, in that order."""
        return Chains(
            tuple(self.ids[i] for i in indices),
            tuple(self.sequences[i] for i in indices),
            tuple(self.ca[i] for i in indices),
            None if self.clusters is None else self.clusters[indices],
        )


@dataclass(frozen=True, eq=False)
class Pairs:
    """Labelled pairs of chains; chain 1 is the reference.

    Parameters
    ----------
    chain_1, chain_2 : int array, shape (n,)
        Indices into a `Chains`.
    tm_score, tm_score_2 : float32 array, shape (n,)
        TM-score normalised by the length of chain 1 / chain 2.
    aligned : int32 array, shape (m, 2)
        Aligned residue indices (chain 1, chain 2) of all pairs, one pair after the other.
    starts : int array, shape (n + 1,)
        Pair k owns ``aligned[starts[k]:starts[k + 1]]``.
    lddt : float32 array, shape (m,), optional
        Stored labels, one for each row of `aligned`, NaN for a residue without neighbours; None when the
        tables hold none. Ask `stored_labels` for them: they fit one exponent and radius only.
    lddt_exponent, lddt_radius : float, optional
        What `lddt` was computed with.
    """

    chain_1: NDArray[np.int64]
    chain_2: NDArray[np.int64]
    tm_score: NDArray[np.float32]
    tm_score_2: NDArray[np.float32]
    aligned: NDArray[np.int32]
    starts: NDArray[np.int64]
    lddt: NDArray[np.float32] | None = None
    lddt_exponent: float | None = None
    lddt_radius: float | None = None

    def __len__(self) -> int:
        """Count pairs."""
        return len(self.chain_1)

    @property
    def n_aligned(self) -> NDArray[np.int64]:
        """Aligned residues of each pair, shape (n,)."""
        return np.diff(self.starts)

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of `aligned` (or of its labels) that belong to the pairs at `indices`, in their order."""
        counts = self.n_aligned[indices]
        skipped = self.starts[indices] - (np.cumsum(counts) - counts)
        rows: NDArray[np.int64] = np.arange(int(counts.sum())) + np.repeat(skipped, counts)
        return rows

    def take(self, indices: NDArray[np.int64]) -> Pairs:
        """Choose the pairs at `indices`, in that order."""
        rows = self.rows(indices)
        return Pairs(
            self.chain_1[indices],
            self.chain_2[indices],
            self.tm_score[indices],
            self.tm_score_2[indices],
            self.aligned[rows],
            np.concatenate([[0], np.cumsum(self.n_aligned[indices])]).astype(np.int64),
            None if self.lddt is None else self.lddt[rows],
            self.lddt_exponent,
            self.lddt_radius,
        )

    def stored_labels(self, exponent: float, radius: float) -> NDArray[np.float32] | None:
        """Give the stored lDDT labels of these settings; None when the tables hold no labels at all.

        Raises
        ------
        UsageError
            They hold labels of another exponent or radius: the two are never mixed.
        """
        if self.lddt is None:
            return None
        if (self.lddt_exponent, self.lddt_radius) != (exponent, radius):
            raise UsageError(
                f"the pairs hold lDDT labels of exponent {self.lddt_exponent:g} and radius "
                f"{self.lddt_radius:g}, asked for are exponent {exponent:g} and radius {radius:g}; "
                "make the data set anew with `mutscan train dataset --lddt-exponent "
                f"{exponent:g} --lddt-radius {radius:g}`, or use a model with the labels' settings"
            )
        return self.lddt


def sequence_digest(sequence: str) -> str:
    """Short sha256 of a sequence: a protein's identity, whatever its name."""
    return text_sha256(sequence)[:16]


def read_tables(structures: Path, pairs: Path) -> tuple[Chains, Pairs]:
    """Read both tables; chains without a pair are left out.

    Parameters
    ----------
    structures : path of a Parquet table
        Columns id, sequence, ca (little-endian int16, L x 3, 0.01 Å), and cluster25 if there is one.
    pairs : path of a Parquet table, or of a folder of them
        Columns id1, id2, tm_norm1, tm_norm2, and either alignment (little-endian int16, n x 2) or what
        ``mutscan train dataset`` writes: i1, i2, len1, len2, lddt, lddt_exponent, radius. A folder is
        read in the order of its files' names; the folder of a whole data set is one, too.

    Raises
    ------
    UsageError
        A file or column is missing, a pair names an unknown chain, a row does not fit its sequences, or
        labels of several exponents or radii are mixed.
    """
    chain_table = _pandas(read_columns(structures, ("id", "sequence", "ca"), ("cluster25",)))
    if chain_table["id"].duplicated().any():
        repeated = chain_table["id"][chain_table["id"].duplicated()].iloc[0]
        raise UsageError(f"{structures}: the id {repeated} occurs more than once; ids must be unique")
    table, rows_of = _read_pair_files(pairs)
    pair_table = _pandas(table.select(["id1", "id2", "tm_norm1", "tm_norm2"]))

    named = pd.concat([pair_table["id1"], pair_table["id2"]])
    unknown = named[~named.isin(chain_table["id"])]
    if len(unknown):
        raise UsageError(
            f"{pairs}: names the chain {unknown.iloc[0]}, which is not in {structures} "
            f"({unknown.nunique()} such chains); give the structures from which the pairs were made"
        )
    chain_table = chain_table[chain_table["id"].isin(named)].reset_index(drop=True)
    coords = tuple(
        coordinates(buffer, sequence, str(name), structures)
        for name, sequence, buffer in zip(
            chain_table["id"], chain_table["sequence"], chain_table["ca"], strict=True
        )
    )
    clusters = chain_table["cluster25"].to_numpy(np.int64) if "cluster25" in chain_table else None
    chains = Chains(tuple(chain_table["id"]), tuple(chain_table["sequence"]), coords, clusters)

    index = pd.Series(np.arange(len(chains)), index=chain_table["id"])
    aligned, starts, labels = _alignments(table, rows_of)
    exponent, radius = _label_settings(table, pairs) if labels is not None else (None, None)
    result = Pairs(
        index[pair_table["id1"]].to_numpy(np.int64),
        index[pair_table["id2"]].to_numpy(np.int64),
        pair_table["tm_norm1"].to_numpy(np.float32),
        pair_table["tm_norm2"].to_numpy(np.float32),
        aligned,
        starts,
        labels,
        exponent,
        radius,
    )
    _check_pairs(result, chains, rows_of)
    if "len1" in table.column_names:
        _check_lengths(table, result, chains, rows_of, structures)
    return chains, result


def read_columns(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> pa.Table:
    """Columns of a Parquet file: those `needed`, and those of the `optional` ones it has.

    Raises
    ------
    UsageError
        No such file, no Parquet file, or a column is missing.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a Parquet table")
    try:
        there = pq.read_schema(path).names
        missing = [name for name in needed if name not in there]
        if missing:
            raise UsageError(f"{path}: has no column {', '.join(missing)}; there are {', '.join(there)}")
        return pq.read_table(path, columns=[*needed, *(name for name in optional if name in there)])
    except pa.ArrowException as error:
        raise UsageError(f"{path}: cannot be read as a Parquet table ({error})") from error


def pair_files(path: Path) -> list[Path]:
    """Parquet files of a pairs table: the file itself, or those of a folder in the order of their names.

    Raises
    ------
    UsageError
        The folder holds none.
    """
    if not path.is_dir():
        return [path]
    folder = path / "pairs" if (path / "pairs").is_dir() else path
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise UsageError(f"{folder}: contains no Parquet file; expected a pairs table or its shards")
    return files


def read_picked_as(path: Path) -> NDArray[np.str_]:
    """Read how each pair of a table (or a folder of them) was picked, shape (n,); empty where not said."""
    parts = []
    for file in pair_files(path):
        table = read_columns(file, ("id1",), ("picked_as",))
        if "picked_as" in table.column_names:
            parts.append(np.array([value or "" for value in table["picked_as"].to_pylist()], dtype=np.str_))
        else:
            parts.append(np.full(len(table), "", dtype=np.str_))
    return np.concatenate(parts)


_ENDS = ("id1", "id2", "tm_norm1", "tm_norm2")
_SHARD_COLUMNS = ("i1", "i2", "len1", "len2", "lddt", "lddt_exponent", "radius")


class _Rows:
    """File and row of each row of several concatenated tables, for messages."""

    def __init__(self, paths: Sequence[Path], counts: Sequence[int]) -> None:
        self._paths = paths
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def __call__(self, row: int) -> str:
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"{self._paths[part]}: row {row - int(self._starts[part]) + 1}"


def _read_pair_files(path: Path) -> tuple[pa.Table, _Rows]:
    tables, files = [], pair_files(path)
    for file in files:
        table = read_columns(file, _ENDS, ("alignment", *_SHARD_COLUMNS))
        stored = "alignment" if "alignment" in table.column_names else "i1"
        form = ("alignment",) if stored == "alignment" else _SHARD_COLUMNS
        tables.append(read_columns(file, (*_ENDS, *form)))
        if tables[-1].column_names != tables[0].column_names:
            raise UsageError(
                f"{file}: has the columns {', '.join(tables[-1].column_names)} but {files[0]} has "
                f"{', '.join(tables[0].column_names)}; all files of a folder must have the same columns"
            )
    table = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    return table, _Rows(files, [len(part) for part in tables])


def _alignments(
    table: pa.Table, rows_of: _Rows
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float32] | None]:
    """Aligned residues of all rows end to end, where each begins, and the labels where there are any."""
    if "alignment" in table.column_names:
        buffers = table["alignment"].to_pylist()
        counts = np.array([len(buffer) // 4 for buffer in buffers], dtype=np.int64)
        aligned = np.frombuffer(b"".join(buffers), "<i2").reshape(-1, 2).astype(np.int32)
        return aligned, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), None
    lists = {name: table[name].combine_chunks() for name in ("i1", "i2", "lddt")}
    counts = _list_lengths(lists["i1"])
    for name in ("i2", "lddt"):
        other = _list_lengths(lists[name])
        if (counts != other).any():
            bad = int(np.flatnonzero(counts != other)[0])
            raise UsageError(f"{rows_of(bad)} has {counts[bad]} values of i1 but {other[bad]} of {name}")
    flat = {name: column.flatten().to_numpy(zero_copy_only=False) for name, column in lists.items()}
    aligned = np.stack([flat["i1"], flat["i2"]], axis=1).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return aligned, starts, flat["lddt"].astype(np.float32)


def _list_lengths(column: pa.ListArray) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = (
        column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    return lengths


def _label_settings(table: pa.Table, path: Path) -> tuple[float | None, float | None]:
    """Exponent and radius of the stored labels; the table must have one of each."""
    settings = []
    for name in ("lddt_exponent", "radius"):
        values = sorted(set(table[name].unique().to_pylist()), key=str)
        if len(values) > 1:
            raise UsageError(
                f"{path}: mixes lDDT labels of {name} {' and '.join(map(str, values))}; "
                "a data set must have one; make it again with `mutscan train dataset`"
            )
        settings.append(float(values[0]) if values else None)
    return settings[0], settings[1]


def _pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    return frame


def coordinates(buffer: bytes, sequence: str, name: str, path: Path | str) -> NDArray[np.float32]:
    """C-alpha coordinates of a stored chain, shape (L, 3), Å; UsageError when its sequence has another L."""
    if len(buffer) != 6 * len(sequence):
        raise UsageError(
            f"{path}: chain {name} has {len(sequence)} residues but {len(buffer)} bytes of coordinates; "
            f"{6 * len(sequence)} were expected (int16, L x 3)"
        )
    return np.frombuffer(buffer, "<i2").reshape(-1, 3).astype(np.float32) / np.float32(_CA_SCALE)


def _check_pairs(pairs: Pairs, chains: Chains, rows_of: _Rows) -> None:
    lengths = chains.lengths
    limits = np.stack([lengths[pairs.chain_1], lengths[pairs.chain_2]], axis=1)
    outside = (pairs.aligned < 0) | (pairs.aligned >= np.repeat(limits, pairs.n_aligned, axis=0))
    if outside.any():
        bad = int(np.searchsorted(pairs.starts, np.flatnonzero(outside.any(axis=1))[0], side="right")) - 1
        raise UsageError(f"{rows_of(bad)} aligns a residue outside its chains")
    wrong = ~((pairs.tm_score > 0) & (pairs.tm_score <= 1))
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"{rows_of(bad)} has tm_norm1 = {pairs.tm_score[bad]}; 0 to 1 was expected")


def _check_lengths(table: pa.Table, pairs: Pairs, chains: Chains, rows_of: _Rows, structures: Path) -> None:
    lengths = chains.lengths
    for name, index in (("len1", pairs.chain_1), ("len2", pairs.chain_2)):
        wrong = table[name].to_numpy() != lengths[index]
        if wrong.any():
            bad = int(np.flatnonzero(wrong)[0])
            raise UsageError(
                f"{rows_of(bad)} has {name} = {table[name][bad]} but {structures} holds "
                f"{lengths[index[bad]]} residues of {chains.ids[index[bad]]}; "
                "give the structures the pairs were made from"
            )
