"""Residue embeddings of all chains of a table, in one memory-mapped float16 array."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mutscan.files import write_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.embed import Encoder
    from mutscan.train.chains.tables import Chains


@dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """Embeddings of chains, in the order of their table.

    Parameters
    ----------
    values : float16 array, shape (all residues, d)
    starts : int array, shape (n + 1,)
        Chain c owns ``values[starts[c]:starts[c + 1]]``.
    """

    values: NDArray[np.float16]
    starts: NDArray[np.int64]

    @property
    def dim(self) -> int:
        """Width of the embeddings."""
        return int(self.values.shape[1])

    def __getitem__(self, chain: int) -> NDArray[np.float16]:
        """Embedding of one chain, shape (L, d)."""
        return self.values[self.starts[chain] : self.starts[chain + 1]]


def build_store(
    folder: Path, chains: Chains, encoder: Encoder, *, advance: Callable[[int], None] = lambda n: None
) -> EmbeddingStore:
    """Embed every chain once, or open the embeddings of an earlier run.

    An interrupted run continues with the chains it has not embedded. The
    files are written again when the encoder or the chains have changed.

    Parameters
    ----------
    folder : Path
        Holds ``embeddings.npy``, ``embeddings.json`` and, while incomplete, ``embeddings.done.npy``.
    chains : Chains
    encoder : Encoder
    advance : callable
        Called with the number of chains done since the last call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    array_path, key_path, done_path = (
        folder / name for name in ("embeddings.npy", "embeddings.json", "embeddings.done.npy")
    )
    starts = np.concatenate([[0], np.cumsum(chains.lengths)]).astype(np.int64)
    key = {"encoder": encoder.key, "dim": encoder.dim, "sequences": list(chains.digests)}
    known = key_path.is_file() and json.loads(key_path.read_text(encoding="utf-8")) == key
    if not (known and array_path.is_file() and done_path.is_file()):
        key_path.unlink(missing_ok=True)
        shape = (int(starts[-1]), encoder.dim)
        np.lib.format.open_memmap(array_path, "w+", np.float16, shape).flush()
        np.lib.format.open_memmap(done_path, "w+", np.bool_, (len(chains),)).flush()
        write_json(key_path, key)

    done = np.lib.format.open_memmap(done_path, "r+")
    left = np.flatnonzero(~done)
    advance(len(chains) - len(left))
    if len(left):
        values = np.lib.format.open_memmap(array_path, "r+")
        for place, embedding in encoder.embed([chains.sequences[c] for c in left.tolist()]):
            chain = left[place]
            values[starts[chain] : starts[chain + 1]] = embedding
            done[chain] = True
            advance(1)
        values.flush()
        done.flush()
    return EmbeddingStore(np.load(array_path, mmap_mode="r"), starts)
