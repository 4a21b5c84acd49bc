"""Chains and labelled pairs: the tables training and evaluation read.

A *chain* is one protein chain with C-alpha coordinates, a *pair* two of them
with both TM-scores and TM-align's residue alignment. Residue alignments are
kept ragged: one array of all aligned residues and, for each pair, where its
part begins.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

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
        return tuple(hashlib.sha256(s.encode()).hexdigest()[:16] for s in self.sequences)

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
    """

    chain_1: NDArray[np.int64]
    chain_2: NDArray[np.int64]
    tm_score: NDArray[np.float32]
    tm_score_2: NDArray[np.float32]
    aligned: NDArray[np.int32]
    starts: NDArray[np.int64]

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
        return Pairs(
            self.chain_1[indices],
            self.chain_2[indices],
            self.tm_score[indices],
            self.tm_score_2[indices],
            self.aligned[self.rows(indices)],
            np.concatenate([[0], np.cumsum(self.n_aligned[indices])]).astype(np.int64),
        )


def read_tables(structures: Path, pairs: Path) -> tuple[Chains, Pairs]:
    """Read both tables; chains that are in no pair are left out.

    Parameters
    ----------
    structures : path of a Parquet table
        Columns id, sequence, ca (little-endian int16, L x 3, 0.01 Å), and cluster25 if there is one.
    pairs : path of a Parquet table
        Columns id1, id2, tm_norm1, tm_norm2, alignment (little-endian int16, n x 2).

    Raises
    ------
    UsageError
        A file or column is missing, a pair names an unknown chain, or a row does not fit its sequences.
    """
    chain_table = _read_parquet(structures, ("id", "sequence", "ca"), ("cluster25",))
    pair_table = _read_parquet(pairs, ("id1", "id2", "tm_norm1", "tm_norm2", "alignment"))
    if chain_table["id"].duplicated().any():
        repeated = chain_table["id"][chain_table["id"].duplicated()].iloc[0]
        raise UsageError(f"{structures}: the id {repeated} occurs more than once; ids must be unique")

    named = pd.concat([pair_table["id1"], pair_table["id2"]])
    unknown = named[~named.isin(chain_table["id"])]
    if len(unknown):
        raise UsageError(
            f"{pairs}: names the chain {unknown.iloc[0]}, which {structures} does not hold "
            f"({unknown.nunique()} such chains); give the structures the pairs were made from"
        )
    chain_table = chain_table[chain_table["id"].isin(named)].reset_index(drop=True)
    coords = tuple(
        _coordinates(buffer, sequence, str(name), structures)
        for name, sequence, buffer in zip(
            chain_table["id"], chain_table["sequence"], chain_table["ca"], strict=True
        )
    )
    clusters = chain_table["cluster25"].to_numpy(np.int64) if "cluster25" in chain_table else None
    chains = Chains(tuple(chain_table["id"]), tuple(chain_table["sequence"]), coords, clusters)

    index = pd.Series(np.arange(len(chains)), index=chain_table["id"])
    alignments = [np.frombuffer(buffer, "<i2").reshape(-1, 2) for buffer in pair_table["alignment"]]
    counts = np.array([len(alignment) for alignment in alignments], dtype=np.int64)
    result = Pairs(
        index[pair_table["id1"]].to_numpy(np.int64),
        index[pair_table["id2"]].to_numpy(np.int64),
        pair_table["tm_norm1"].to_numpy(np.float32),
        pair_table["tm_norm2"].to_numpy(np.float32),
        np.concatenate(alignments or [np.empty((0, 2), "<i2")]).astype(np.int32),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    _check_pairs(result, chains, pairs)
    return chains, result


def _read_parquet(path: Path, needed: Sequence[str], optional: Sequence[str] = ()) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise UsageError(f"{path}: no such file; a Parquet table was expected")
    try:
        there = pyarrow.parquet.read_schema(path).names
        missing = [name for name in needed if name not in there]
        if missing:
            raise UsageError(f"{path}: has no column {', '.join(missing)}; there are {', '.join(there)}")
        return pd.read_parquet(path, columns=[*needed, *(name for name in optional if name in there)])
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: cannot be read as a Parquet table ({error})") from error


def _coordinates(buffer: bytes, sequence: str, name: str, path: Path) -> NDArray[np.float32]:
    if len(buffer) != 6 * len(sequence):
        raise UsageError(
            f"{path}: chain {name} has {len(sequence)} residues but {len(buffer)} bytes of coordinates; "
            f"{6 * len(sequence)} were expected (int16, L x 3)"
        )
    return np.frombuffer(buffer, "<i2").reshape(-1, 3).astype(np.float32) / np.float32(_CA_SCALE)


def _check_pairs(pairs: Pairs, chains: Chains, path: Path) -> None:
    lengths = chains.lengths
    limits = np.stack([lengths[pairs.chain_1], lengths[pairs.chain_2]], axis=1)
    outside = (pairs.aligned < 0) | (pairs.aligned >= np.repeat(limits, pairs.n_aligned, axis=0))
    if outside.any():
        bad = int(np.searchsorted(pairs.starts, np.flatnonzero(outside.any(axis=1))[0], side="right")) - 1
        raise UsageError(f"{path}: row {bad + 1} aligns a residue outside its chains")
    wrong = ~((pairs.tm_score > 0) & (pairs.tm_score <= 1))
    if wrong.any():
        bad = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"{path}: row {bad + 1} has tm_norm1 = {pairs.tm_score[bad]}; 0 to 1 was expected")
