"""`mutscan train families`: cluster and align sequences with MMseqs2, compress the alignment columns."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import torch

from mutscan.alignments.mmseqs import mmseqs_program, run_mmseqs
from mutscan.errors import MissingDependencyError, UsageError
from mutscan.families import FamilyLibrary, write_library
from mutscan.files import write_errors
from mutscan.progress import Silent
from mutscan.residue_properties import CODE
from mutscan.train.chains.corpus import read_corpus
from mutscan.train.families.settings import FamilySettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.corpus import Corpus

_OUTSIDE: Final = 21  # beyond the ends of an alignment
_GAP: Final = 20  # a gap, or a residue other than the standard 20
_ALIGNED: Final = np.where(CODE >= 0, CODE, _GAP).astype(np.uint8)

_SAMPLE: Final = 400_000  # columns the codebook is made on
_ROUNDS: Final = 12  # of k-means
_BLOCK: Final = 1024  # columns compared with the codebook at a time; distances stay in the CPU's cache


def make_families(
    sequences: Sequence[Path],
    out: Path,
    settings: FamilySettings | None = None,
    *,
    work: Path,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make families.npz.

    A family is a cluster of MMseqs2; its columns are the residues of its representative. Members are
    weighted by position (Henikoff and Henikoff, J. Mol. Biol. 243, 574 (1994)).

    Parameters
    ----------
    sequences : sequence of Path
        Parquet with a column ``sequence``, or FASTA.
    out : Path
    settings : FamilySettings, optional
    work : Path
        Folder for MMseqs2's files, about three times the size of the sequences; emptied and removed.
    threads : int
    progress : Progress, optional

    Returns
    -------
    dict
        Counts, and the sha256 of the sequences.

    Raises
    ------
    MissingDependencyError
        MMseqs2 is not installed, or fails.
    UsageError
        The sequences cannot be read, or form no family of the smallest size.
    """
    settings = settings or FamilySettings()
    progress = progress if progress is not None else Silent()
    if not 1 <= settings.codebook <= 65_535:
        raise UsageError(f"a codebook of {settings.codebook} entries; expected 1 to 65,535")
    executable = mmseqs_program()
    if executable is None:
        raise MissingDependencyError(
            "MMseqs2, which finds the families, is not installed: there is no `mmseqs` on the PATH; install "
            "it (conda install -c bioconda mmseqs2, or your system's package mmseqs2)"
        )
    corpus = read_corpus(sequences)
    progress.note(f"{len(corpus):,} sequences, {len(corpus.codes):,} residues; clustering")
    alignments = _align(executable, corpus, settings, work, threads)
    frequencies, covered, lengths = [], [], []
    progress.start("families", alignments["family"].nunique())
    for _, members in alignments.groupby("family", sort=True):
        progress.advance()
        if len(members) < settings.fewest:
            continue
        rows = _alignment(corpus.letters(int(members["family"].iloc[0])), members, settings.most)
        frequencies.append(column_frequencies(rows).astype(np.float32))
        covered.append((rows != _OUTSIDE).sum(axis=0).astype(np.uint16))
        lengths.append(rows.shape[1])
    progress.finish()
    if not lengths:
        raise UsageError(
            f"{len(corpus):,} sequences form no family of {settings.fewest} or more; give more sequences"
        )
    columns = np.concatenate(frequencies)
    progress.note(f"{len(lengths):,} families, {len(columns):,} columns; making the codebook")
    codebook = make_codebook(columns, settings.codebook, settings.seed)
    library = FamilyLibrary(
        codebook, nearest(columns, codebook), np.concatenate(covered), np.array(lengths, dtype=np.int64)
    )
    with write_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_library(out, library)
    error = np.abs(codebook[library.codes] - columns).sum(axis=1) / 2
    return {
        "sequences": len(corpus),
        "sequences_sha256": corpus.digest,
        "families": len(lengths),
        "columns": len(columns),
        "codebook_error": round(float(error.mean()), 4),
        "bytes": out.stat().st_size,
    }


def _align(
    executable: str, corpus: Corpus, settings: FamilySettings, work: Path, threads: int
) -> pd.DataFrame:
    """Align cluster members with their representative: columns family, member, start, own, other."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    corpus.write_fasta(work / "sequences.fasta")
    spread = ["--threads", str(threads)]
    fields = "query,target,qstart,qaln,taln"
    for step in (
        ["createdb", "sequences.fasta", "db"],
        ["cluster", "db", "clusters", "scratch", "--min-seq-id", f"{settings.identity:g}",
         "-c", f"{settings.coverage:g}", "--cov-mode", "0", "-s", f"{settings.sensitivity:g}", *spread],
        ["align", "db", "db", "clusters", "alignments", "-a", "-e", "10", *spread],
        ["convertalis", "db", "db", "alignments", "alignments.tsv", "--format-output", fields, *spread],
    ):  # fmt: skip
        run_mmseqs(executable, *step, advice=f"its files are in {work}", folder=work)
    table = pd.read_csv(
        work / "alignments.tsv", sep="\t", header=None, names=["family", "member", "start", "own", "other"]
    )
    shutil.rmtree(work)
    return table.sort_values(["family", "member"], ignore_index=True)


def _alignment(representative: str, members: pd.DataFrame, most: int) -> NDArray[np.uint8]:
    """Members on the representative's residues, shape (n, L): places in `STANDARD`, `_GAP`, `_OUTSIDE`."""
    members = members[members["member"] != members["family"]].head(most - 1)
    rows = np.full((len(members) + 1, len(representative)), _OUTSIDE, dtype=np.uint8)
    rows[0] = _ALIGNED[np.frombuffer(representative.encode(), dtype=np.uint8)]
    aligned: Iterator[tuple[int, str, str]] = zip(
        members["start"].tolist(), members["own"].tolist(), members["other"].tolist(), strict=True
    )
    for row, (start, own, other) in zip(rows[1:], aligned, strict=True):
        here = np.frombuffer(own.encode(), dtype=np.uint8) != ord("-")
        there = _ALIGNED[np.frombuffer(other.encode(), dtype=np.uint8)][here]
        row[start - 1 : start - 1 + len(there)] = there
    return rows


def column_frequencies(rows: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Residue frequencies of each column, members weighted by position, shape (L, 20).

    Parameters
    ----------
    rows : uint8 array, shape (n, L)
        Residue types 0-19; higher numbers are gaps.

    Returns
    -------
    float array, shape (L, 20)
        Each row sums to 1; a column without residues is all 0.

    Examples
    --------
    >>> column_frequencies(np.array([[0, 1], [0, 1], [0, 2]], dtype=np.uint8))[:, :3].round(2)
    array([[1.  , 0.  , 0.  ],
           [0.  , 0.58, 0.42]])
    """
    counts = np.stack([(rows == residue).sum(axis=0) for residue in range(20)], axis=1)  # (L, 20)
    types = np.maximum((counts > 0).sum(axis=1), 1)
    valid = rows < 20
    place = np.where(valid, rows, 0)
    shared = np.maximum(counts[np.arange(rows.shape[1]), place], 1)
    share = np.where(valid, 1.0 / (types * shared), 0.0)
    weight = share.sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
    found = np.stack([weight @ (rows == residue) for residue in range(20)], axis=1)
    total = found.sum(axis=1, keepdims=True)
    frequencies: NDArray[np.float64] = found / np.where(total > 0, total, 1.0)
    return frequencies


def make_codebook(columns: NDArray[np.float32], size: int, seed: int) -> NDArray[np.float32]:
    """Choose representative columns by k-means on square roots (Hellinger's distance), shape (k, 20).

    Parameters
    ----------
    columns : float32 array, shape (n, 20)
    size : int
        Entries; fewer if there are fewer different columns.
    seed : int
    """
    generator = np.random.default_rng(seed)
    sample = columns
    if len(columns) > _SAMPLE:
        sample = columns[np.sort(generator.choice(len(columns), _SAMPLE, replace=False))]
    distinct = np.unique(sample.round(4), axis=0)
    chosen = generator.permutation(len(distinct))[:size]
    centres = np.sqrt(distinct[np.sort(chosen)])
    roots = np.sqrt(sample)
    for _ in range(_ROUNDS):
        owner = _nearest(roots, centres)
        counts = np.bincount(owner, minlength=len(centres))
        order = np.argsort(owner, kind="stable")
        used = np.flatnonzero(counts)
        ends = np.concatenate([[0], np.cumsum(counts[used])[:-1]])
        centres[used] = np.add.reduceat(roots[order], ends, axis=0) / counts[used, None]
    codebook = centres**2
    # The most frequent first: small numbers compress better.
    codebook = codebook[np.argsort(-np.bincount(owner, minlength=len(centres)), kind="stable")]
    shares: NDArray[np.float32] = codebook / np.maximum(codebook.sum(axis=1, keepdims=True), 1e-9)
    return shares.astype(np.float32)


def nearest(columns: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Closest entry of the codebook for each column, shape (n,)."""
    return _nearest(np.sqrt(columns), np.sqrt(codebook)).astype(np.uint16)


def _nearest(points: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    found = np.empty(len(points), dtype=np.int64)
    weights = torch.from_numpy(np.ascontiguousarray(centres.T))
    half = 0.5 * (weights * weights).sum(dim=0)
    for first in range(0, len(points), _BLOCK):
        block = torch.from_numpy(np.ascontiguousarray(points[first : first + _BLOCK]))
        found[first : first + _BLOCK] = (block @ weights - half).argmax(dim=1).numpy()
    return found
