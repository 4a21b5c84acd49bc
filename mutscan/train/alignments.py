"""Alignments of the sequences of labelled pairs, for nets with a pair head; made once and kept."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mutscan.model.sequence_alignment import N_ALIGNMENT, align_scores
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.progress import Progress
    from mutscan.train.dataset import Chains, Pairs


def pair_alignments(
    chains: Chains, pairs: Pairs, *, progress: Progress, work: Path | None = None, name: str = "pairs"
) -> NDArray[np.float32]:
    """How far the two sequences of each pair are from aligning like one with itself.

    Parameters
    ----------
    chains, pairs : Chains, Pairs
    progress : Progress
    work : Path, optional
        Folder in which the numbers are kept for the next run.
    name : str
        What they are kept as.

    Returns
    -------
    float32 array, shape (n, 8)
        `AlignmentScores.distances` of each pair.
    """
    key = _key(chains, pairs)
    path = work / f"alignments-{name}.npz" if work is not None else None
    kept = read_arrays(path) if path is not None else None
    if kept is not None and str(kept["key"]) == key:
        return kept["distances"]
    distances = np.empty((len(pairs), N_ALIGNMENT), dtype=np.float32)
    progress.start("align sequences", len(pairs))
    for k, (first, second) in enumerate(zip(pairs.chain_1.tolist(), pairs.chain_2.tolist(), strict=True)):
        distances[k] = align_scores(chains.sequences[first], chains.sequences[second]).distances()
        if k % 100 == 99 or k + 1 == len(pairs):
            progress.advance(k % 100 + 1)
    progress.finish()
    if path is not None:
        write_arrays(path, key=np.array(key), distances=distances)
    return distances


def _key(chains: Chains, pairs: Pairs) -> str:
    digest = hashlib.sha256("\n".join((str(N_ALIGNMENT), *chains.sequences)).encode())
    digest.update(pairs.chain_1.tobytes())
    digest.update(pairs.chain_2.tobytes())
    return digest.hexdigest()
