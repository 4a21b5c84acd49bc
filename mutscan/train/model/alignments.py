"""Sequence alignments of labelled pairs, for nets with a pair head; computed once and stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mutscan.model.sequence_alignment import N_ALIGNMENT, AlignmentPaths, align_scores
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.tables import Chains, Pairs


@dataclass(frozen=True, eq=False)
class PairAlignments:
    """Alignments of the sequences of n pairs.

    Parameters
    ----------
    distances : float32 array, shape (n, 8)
        `AlignmentScores.distances` of each pair.
    paths : AlignmentPaths
    """

    distances: NDArray[np.float32]
    paths: AlignmentPaths

    @classmethod
    def unknown(cls, n: int) -> PairAlignments:
        """Make alignments of pairs that were not aligned: no distance, no path."""
        return cls(
            np.zeros((n, N_ALIGNMENT), dtype=np.float32),
            AlignmentPaths(np.empty((0, 3), dtype=np.int64), np.zeros(n + 1, dtype=np.int64)),
        )


def pair_alignments(
    chains: Chains,
    pairs: Pairs,
    mutant: NDArray[np.bool_] | None = None,
    *,
    progress: Progress,
    work: Path | None = None,
    name: str = "pairs",
) -> PairAlignments:
    """Align the two sequences of each pair.

    Parameters
    ----------
    chains, pairs : Chains, Pairs
    mutant : bool array, shape (n,), optional
        Pairs of a wild type and its substitutions; these are compared residue by residue, without gaps.
    progress : Progress
    work : Path, optional
        Folder in which the alignments are stored for the next run.
    name : str
        Name of the stored alignments.

    Returns
    -------
    PairAlignments
    """
    ungapped = mutant if mutant is not None else np.zeros(len(pairs), dtype=np.bool_)
    key = _key(chains, pairs, ungapped)
    path = work / f"alignments-{name}.npz" if work is not None else None
    kept = read_arrays(path) if path is not None else None
    if kept is not None and str(kept["key"]) == key:
        return PairAlignments(kept["distances"], AlignmentPaths(kept["blocks"], kept["starts"]))
    found = []
    progress.start("align sequences", len(pairs))
    ends = zip(pairs.chain_1.tolist(), pairs.chain_2.tolist(), ungapped.tolist(), strict=True)
    for k, (first, second, alike) in enumerate(ends):
        found.append(align_scores(chains.sequences[first], chains.sequences[second], ungapped=alike))
        if k % 100 == 99 or k + 1 == len(pairs):
            progress.advance(k % 100 + 1)
    progress.finish()
    distances = np.array([one.distances() for one in found], dtype=np.float32).reshape(-1, N_ALIGNMENT)
    paths = AlignmentPaths.of(found)
    if path is not None:
        write_arrays(path, key=np.array(key), distances=distances, blocks=paths.blocks, starts=paths.starts)
    return PairAlignments(distances, paths)


def _key(chains: Chains, pairs: Pairs, ungapped: NDArray[np.bool_]) -> str:
    digest = hashlib.sha256("\n".join(("paths", str(N_ALIGNMENT), *chains.sequences)).encode())
    for array in (pairs.chain_1, pairs.chain_2, ungapped):
        digest.update(array.tobytes())
    return digest.hexdigest()
