"""Sequences to pretrain an encoder on, in clusters, some of which are held out.

The residues of all sequences are stored end to end in one array of one-byte codes, so that a
hundred million of them take a hundred megabytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.embed.tokens import clean
from mutscan.errors import UsageError
from mutscan.residue_properties import CODE
from mutscan.residues import AMBIGUOUS, STANDARD, UNKNOWN
from mutscan.structures.fasta import FASTA_ENDINGS, is_fasta_file, read_fasta

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

RESIDUES: Final = STANDARD + UNKNOWN
"""Residue of each code."""

_PARQUET: Final = (".parquet", ".pq")
_ROWS: Final = 65_536  # of a Parquet file, at a time
_ODD: Final = 255


_CODES: Final = np.where(CODE >= 0, CODE, _ODD).astype(np.uint8)
_CODES[[ord(letter) for letter in AMBIGUOUS]] = RESIDUES.index(UNKNOWN)
_CODES[ord("a") : ord("z") + 1] = _CODES[ord("A") : ord("Z") + 1]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Cleaned sequences in clusters, without duplicates.

    Parameters
    ----------
    codes : uint8 array, shape (total residues,)
        Indices into `RESIDUES`, one sequence after the other.
    starts : int array, shape (n + 1,)
        Sequence i owns ``codes[starts[i]:starts[i + 1]]``.
    members : int array, shape (n,)
        Sequences, sorted by cluster.
    cluster_starts : int array, shape (k + 1,)
        Cluster c owns ``members[cluster_starts[c]:cluster_starts[c + 1]]``.
    keys : uint64 array, shape (k,), ascending
        A hash of each cluster's name, or of the sequence where a file names no clusters.
    """

    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    members: NDArray[np.int64]
    cluster_starts: NDArray[np.int64]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        """Count sequences."""
        return len(self.members)

    @property
    def n_clusters(self) -> int:
        """Number of clusters, k."""
        return len(self.keys)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Residues of each sequence, shape (n,)."""
        return np.diff(self.starts)

    @property
    def cluster_sizes(self) -> NDArray[np.int64]:
        """Sequences of each cluster, shape (k,)."""
        return np.diff(self.cluster_starts)

    @cached_property
    def digest(self) -> str:
        """sha256 of sequences and clusters, in their order."""
        digest = hashlib.sha256()
        for array in (self.codes, self.starts, self.members, self.cluster_starts, self.keys):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def letters(self, row: int) -> str:
        """Return one sequence."""
        codes = self.codes[self.starts[row] : self.starts[row + 1]]
        return np.frombuffer(RESIDUES.encode(), dtype=np.uint8)[codes].tobytes().decode("ascii")

    def write_fasta(self, path: Path) -> None:
        """Write all sequences to a FASTA file, named by their numbers."""
        with path.open("w", encoding="ascii") as stream:
            for row in range(len(self)):
                stream.write(f">{row}\n{self.letters(row)}\n")

    def held_out(self, *, seed: int, share: float, most: int) -> NDArray[np.bool_]:
        """Mark the clusters that are held out for validation, shape (k,).

        The clusters with the lowest seeded hashes of their keys are held out, whatever else is in the
        corpus.

        Parameters
        ----------
        share : float
            Share of all clusters; at least one is held out.
        most : int
            Largest number held out.

        Raises
        ------
        UsageError
            There are fewer than two clusters.
        """
        if self.n_clusters < 2:
            raise UsageError(
                f"the sequences form {self.n_clusters} cluster; at least two were expected, for training and "
                "validation: give more sequences, or a table with smaller clusters (column cluster)"
            )
        hashes = np.array([_hash(f"{seed}:{key}".encode(), b"held out") for key in self.keys.tolist()])
        n = int(np.clip(round(share * self.n_clusters), 1, min(most, self.n_clusters - 1)))
        marks = np.zeros(self.n_clusters, dtype=np.bool_)
        marks[np.argsort(hashes, kind="stable")[:n]] = True
        return marks


def read_corpus(paths: Sequence[Path]) -> Corpus:
    """Read sequences from Parquet tables and FASTA files.

    Letters are taken as `mutscan.embed.tokens.clean` does (``U Z O B J`` become X). Repeated
    sequences are dropped. One cluster name means one cluster, in all files; a sequence without one
    is a cluster of its own.

    Parameters
    ----------
    paths : sequence of Path
        Parquet with a column ``sequence`` and perhaps ``cluster``; FASTA, also gzip; folders of these,
        read in the order of the names.

    Raises
    ------
    UsageError
        A file is missing, empty or cannot be read, has no column ``sequence``, or holds what is no residue.
    """
    codes: list[NDArray[np.uint8]] = []
    lengths: list[NDArray[np.int64]] = []
    keys: list[int] = []
    digests: list[int] = []
    named: list[bool] = []
    for path in _files(paths):
        before = len(digests)
        for texts, clusters in _read(path):
            block, sizes = _encode(texts, path, len(digests) - before)
            codes.append(block)
            lengths.append(sizes)
            ends = np.cumsum(sizes).tolist()
            own = [_hash(block[e - s : e].tobytes(), b"sequence") for s, e in zip(sizes, ends, strict=True)]
            digests += own
            keys += own if clusters is None else [_hash(name.encode(), b"cluster") for name in clusters]
            named += [clusters is not None] * len(own)
        if len(digests) == before:
            raise UsageError(f"{path}: contains no sequence; expected at least one")
    return _assemble(
        np.concatenate(codes),
        np.concatenate(lengths),
        np.array(keys, np.uint64),
        np.array(digests, np.uint64),
        np.array(named),
    )


def _hash(data: bytes, kind: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8, person=kind).digest(), "big")


def _assemble(
    codes: NDArray[np.uint8],
    lengths: NDArray[np.int64],
    keys: NDArray[np.uint64],
    digests: NDArray[np.uint64],
    named: NDArray[np.bool_],
) -> Corpus:
    # Of equal sequences, keep one with a named cluster, so that it stays with its relatives.
    order = np.lexsort((np.arange(len(digests)), ~named, digests))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = digests[order][1:] != digests[order][:-1]
    kept = np.sort(order[first])
    if len(kept) < len(digests):
        inside = np.zeros(len(digests), dtype=np.bool_)
        inside[kept] = True
        codes = codes[np.repeat(inside, lengths)]
        lengths, keys = lengths[kept], keys[kept]
    unique, cluster = np.unique(keys, return_inverse=True)
    return Corpus(
        codes,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.argsort(cluster, kind="stable").astype(np.int64),
        np.concatenate([[0], np.cumsum(np.bincount(cluster))]).astype(np.int64),
        unique,
    )


# Files --------------------------------------------------------------------------------------------


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(
                file for file in path.iterdir() if file.suffix.lower() in _PARQUET or is_fasta_file(file.name)
            )
            if not inside:
                raise UsageError(
                    f"{path}: contains no Parquet or FASTA file ({', '.join(_PARQUET + FASTA_ENDINGS)}, "
                    "FASTA also .gz)"
                )
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise UsageError(f"{path}: no such file; sequences were expected, as Parquet or FASTA")
    if not files:
        raise UsageError("no file of sequences was given; expected Parquet or FASTA")
    return files


def _read(path: Path) -> Iterator[tuple[list[str], list[str] | None]]:
    """Blocks of sequences with the names of their clusters, if they have any."""
    if path.suffix.lower() not in _PARQUET:
        yield [record.sequence for record in read_fasta(path)], None
        return
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if "sequence" not in names:
                raise UsageError(f"{path}: has no column sequence; there are {', '.join(names)}")
            columns = ["sequence", *(["cluster"] if "cluster" in names else [])]
            for batch in file.iter_batches(_ROWS, columns=columns):
                for column in columns:
                    if batch[column].null_count:
                        raise UsageError(f"{path}: the column {column} has empty cells; fill or drop them")
                clusters = batch["cluster"].cast("string").to_pylist() if "cluster" in names else None
                yield batch["sequence"].cast("string").to_pylist(), clusters
    except pyarrow.ArrowException as error:
        first_line = str(error).partition("\n")[0]
        raise UsageError(f"{path}: cannot be read as a Parquet table ({first_line})") from error


def _encode(texts: list[str], path: Path, before: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Codes of all residues end to end, and lengths; `before` sequences of the file came earlier."""
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    codes = _CODES[np.frombuffer("".join(texts).encode("latin-1", "replace"), np.uint8)]
    odd = np.searchsorted(np.cumsum(sizes), np.flatnonzero(codes == _ODD), side="right")
    odd = np.union1d(odd, np.flatnonzero(sizes == 0))
    if not len(odd):
        return codes, sizes
    # Gaps, blanks and stops are rare: only sequences with them are cleaned one by one.
    texts = list(texts)
    for row in odd.tolist():
        try:
            texts[row] = clean(texts[row])
        except ValueError as error:
            raise UsageError(f"{path}: sequence {before + row + 1}: {error}; correct or drop it") from error
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    return _CODES[np.frombuffer("".join(texts).encode("ascii"), np.uint8)], sizes
