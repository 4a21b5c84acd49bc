"""Sequence clusters, which must not be divided between training and test.

They come from MMseqs2 where it is installed, from a column of the chains, or from a file.
Cluster numbers are stable: they depend on the sequences or names, not on their order.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pandas as pd

from mutscan.alignments.mmseqs import mmseqs_program, run_mmseqs
from mutscan.errors import MissingDependencyError, UsageError
from mutscan.hashes import file_sha256, text_sha256
from mutscan.train.chains.pairlists import present, separator
from mutscan.train.chains.tables import sequence_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

DEFAULT_COLUMN: Final = "cluster25"
"""Default column of the chains with their clusters."""

MIN_IDENTITY: Final = 0.25
"""Smallest sequence identity of two chains in one MMseqs2 cluster."""

COVERAGE: Final = 0.8
"""Smallest share of both sequences that MMseqs2's alignment covers."""


class Clustering(Protocol):
    """A way to cluster chains."""

    def describe(self) -> Mapping[str, Any]:
        """Describe how chains are clustered."""

    def clusters(self, chains: pd.DataFrame, work: Path, *, jobs: int) -> NDArray[np.int64]:
        """Cluster of each chain, shape (n,); -1 where it is not known."""


def choose_clustering(
    columns: Sequence[str],
    *,
    column: str | None = None,
    file: Path | None = None,
    min_identity: float = MIN_IDENTITY,
) -> Clustering:
    """Choose how to cluster: by the given column or file, else with MMseqs2, else by `DEFAULT_COLUMN`.

    Parameters
    ----------
    columns : sequence of str
        Columns of the chains.
    column, file
        A column of the chains, or a file of clusters.
    min_identity : float
        Smallest sequence identity, for MMseqs2.

    Raises
    ------
    UsageError
        The column does not exist, or both a column and a file are given.
    MissingDependencyError
        Neither is given, MMseqs2 is not installed and the chains have no `DEFAULT_COLUMN`.
    """
    if column is not None and file is not None:
        raise UsageError("both a column and a file of clusters are given; give one of them")
    if file is not None:
        return ClusterFile(file)
    if column is not None:
        if column not in columns:
            raise UsageError(f"the chains have no column {column}; there are {', '.join(columns) or 'none'}")
        return ClusterColumn(column)
    executable = mmseqs_program()
    if executable is not None:
        return MMseqs(executable, min_identity)
    if DEFAULT_COLUMN in columns:
        return ClusterColumn(DEFAULT_COLUMN)
    raise MissingDependencyError(
        "sequence clusters are needed to separate training and test, and there are none: "
        "install MMseqs2 (conda install -c bioconda mmseqs2) so that `mmseqs` is found, or give the clusters "
        f"as a column of --structures ({DEFAULT_COLUMN}, or --cluster-column NAME) or as a file "
        "(--clusters FILE: representative, member)"
    )


_ADVICE: Final = "reinstall MMseqs2, or give the clusters with --cluster-column or --clusters"


@dataclass(frozen=True, slots=True)
class ClusterColumn:
    """Clusters in a column of the chains; whole numbers are kept, names are numbered."""

    column: str

    def describe(self) -> Mapping[str, Any]:
        """Name the column."""
        return {"clusters": f"column {self.column}"}

    def clusters(self, chains: pd.DataFrame, work: Path, *, jobs: int) -> NDArray[np.int64]:
        """Read the column."""
        return _numbers(chains[self.column])


@dataclass(frozen=True, slots=True)
class ClusterFile:
    """Clusters in a text file in MMseqs2's format (``*_cluster.tsv``): representative, member."""

    path: Path

    def describe(self) -> Mapping[str, Any]:
        """Give the sha256 of the file."""
        digest = file_sha256(present(self.path))
        return {"clusters": {"file": self.path.name, "sha256": digest}}

    def clusters(self, chains: pd.DataFrame, work: Path, *, jobs: int) -> NDArray[np.int64]:
        """Read the file."""
        table = read_cluster_file(self.path)
        return _numbers(chains["id"].map(table))


@dataclass(frozen=True, slots=True)
class MMseqs:
    """Clusters of MMseqs2: connected components, so that all relatives it finds stay together.

    Parameters
    ----------
    executable : str
    min_identity : float
        Over an alignment that covers 80 % of both sequences.
    """

    executable: str
    min_identity: float

    def describe(self) -> Mapping[str, Any]:
        """Give version and settings."""
        version = run_mmseqs(self.executable, "version", advice=_ADVICE).strip()
        return {"clusters": f"MMseqs2 {version}", "arguments": self._settings()}

    def _settings(self) -> list[str]:
        return [
            "--min-seq-id", f"{self.min_identity:g}", "-c", f"{COVERAGE:g}", "--cov-mode", "0",
            "--cluster-mode", "1", "-s", "7.5",
        ]  # fmt: skip

    def clusters(self, chains: pd.DataFrame, work: Path, *, jobs: int) -> NDArray[np.int64]:
        """Run ``mmseqs easy-cluster`` on the distinct sequences."""
        digests = np.array([sequence_digest(sequence) for sequence in chains["sequence"]])
        folder = work / "mmseqs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        distinct = dict(sorted(zip(digests.tolist(), chains["sequence"], strict=True)))
        fasta = folder / "chains.fasta"
        fasta.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in distinct.items()), "ascii")
        run_mmseqs(
            self.executable, "easy-cluster", fasta.name, "clusters", "scratch", *self._settings(),
            "--threads", str(jobs), "-v", "1", advice=_ADVICE, folder=folder,
        )  # fmt: skip
        table = read_cluster_file(folder / "clusters_cluster.tsv")
        found = pd.Series(digests).map(table)
        if found.isna().any():
            raise MissingDependencyError(
                f"{self.executable} gave no cluster for {int(found.isna().sum())} of {len(found)} chains; "
                f"see {folder}, or give the clusters with --cluster-column or --clusters"
            )
        # The representative may vary, so the first member names the component.
        numbers = _numbers(found.groupby(found).transform(lambda group: min(digests[group.index])))
        shutil.rmtree(folder)
        return numbers


def read_cluster_file(path: Path) -> dict[str, str]:
    """Read a file of clusters: member -> name of its cluster.

    Parameters
    ----------
    path : Path
        Two columns, tab- or comma-separated, no header: cluster (its representative), member.

    Raises
    ------
    UsageError
        The file is missing, has other columns, or puts a member into two clusters.
    """
    try:
        table = pd.read_csv(
            present(path), sep=separator(path), header=None, dtype=str, na_filter=False, encoding="utf-8-sig"
        )
    except ValueError as error:
        raise UsageError(f"{path}: cannot be read as a table ({error})") from error
    if table.shape[1] != 2:
        raise UsageError(f"{path}: has {table.shape[1]} columns; expected two, cluster and member")
    table = table.drop_duplicates()
    twice = table[1].duplicated()
    if twice.any():
        raise UsageError(f"{path}: {table[1][twice].iloc[0]} is in more than one cluster")
    return dict(zip(table[1], table[0], strict=True))


def stable_number(name: str) -> int:
    """48-bit number that depends only on a name."""
    return int(text_sha256(name)[:12], 16)


def _numbers(names: pd.Series) -> NDArray[np.int64]:
    """Cluster numbers of cluster names; -1 where there is none."""
    numbers = np.full(len(names), -1, dtype=np.int64)
    known = names.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(names) and (names[known] % 1 == 0).all() and (names[known] >= 0).all():
        numbers[known] = names[known].to_numpy(np.int64)
        return numbers
    codes, distinct = pd.factorize(names[known].astype(str))
    numbers[known] = np.array([stable_number(name) for name in distinct], dtype=np.int64)[codes]
    return numbers
