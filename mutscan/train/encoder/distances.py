"""An auxiliary loss of pretraining: C-alpha distances, predicted from pairs of residue vectors.

A head on top of the encoder predicts the interval of each distance of a cropped
chain (a distogram). The head is discarded after training. Only chains of the train split
are used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import Tensor, nn

from mutscan.errors import UsageError
from mutscan.residues import STANDARD
from mutscan.train.chains.corpus import RESIDUES
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.chains.splits import assign_splits, find_split_list, listed_splits
from mutscan.train.chains.tables import coordinates, read_columns
from mutscan.train.encoder.batches import widths_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.encoder.batches import Vocabulary

EDGES: Final = (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 16.0, 18.0, 20.0)
"""Å, between the intervals of the distogram."""

CONTACT: Final = 8.0
"""Å; residues whose C-alphas are closer are in contact."""

_NEAR: Final = 3  # distances between closer neighbours in sequence are not predicted
_FAR: Final = 24  # from here on a contact is called long-range (CASP)
_N_SEPARATIONS: Final = 64  # separations that the head distinguishes; the last includes all larger ones
_CHAIN, _CHECK = 11, 12  # keep the streams of random numbers apart from those of `batches`


@dataclass(frozen=True, eq=False)
class StructureBatch:
    """Cropped chains with the intervals of their distances.

    Parameters
    ----------
    tokens : int array, shape (B, T)
        Not masked.
    lengths : int array, shape (B,)
        Tokens of each row that are no padding.
    intervals : int8 array, shape (B, T - 2, T - 2)
        Interval of each distance; -1 for padding and close neighbours in sequence.
    """

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    intervals: NDArray[np.int8]


class StructureBatches:
    """Draws cropped chains, all clusters with equal probability.

    Parameters
    ----------
    codes : list of int arrays, shape (L,)
        Indices into `mutscan.train.chains.corpus.RESIDUES`.
    ca : list of float32 arrays, shape (L, 3), Å
    clusters : int array, shape (n,)
    splits : str array, shape (n,)
        train, validation or test.
    vocabulary : Vocabulary
    chains, crop : int
        Chains of a step; longest crop of one, residues.
    seed : int
    """

    def __init__(
        self,
        codes: list[NDArray[np.int64]],
        ca: list[NDArray[np.float32]],
        clusters: NDArray[np.int64],
        splits: NDArray[np.str_],
        vocabulary: Vocabulary,
        *,
        chains: int,
        crop: int,
        seed: int,
    ) -> None:
        self.codes = codes
        self.ca = ca
        self.clusters = clusters
        self.splits = splits
        self.vocabulary = vocabulary
        self.chains = chains
        self.crop = crop
        self.seed = seed
        self._members = _by_cluster(clusters, splits == "train")
        self._checked = _by_cluster(clusters, splits == "validation")
        if not self._members or not self._checked:
            raise UsageError(
                f"the structures have {len(self._members)} clusters in the train split and "
                f"{len(self._checked)} in the validation split; at least one in each was expected: give more "
                "structures, or none"
            )

    @property
    def digest(self) -> str:
        """sha256 of chains, coordinates, clusters and splits."""
        digest = hashlib.sha256(self.clusters.tobytes() + ",".join(self.splits.tolist()).encode())
        for codes, ca in zip(self.codes, self.ca, strict=True):
            digest.update(codes.tobytes() + ca.tobytes())
        return digest.hexdigest()

    def __call__(self, step: int) -> StructureBatch:
        """Chains of a step; they depend only on the seed and the step."""
        rng = np.random.default_rng([self.seed, _CHAIN, step])
        groups = rng.integers(0, len(self._members), self.chains).tolist()
        return self._batch([int(rng.choice(self._members[group])) for group in groups], rng)

    def check(self, most: int = 200) -> list[StructureBatch]:
        """One chain of each validation cluster (at most `most`), with a fixed crop."""
        rng = np.random.default_rng([self.seed, _CHECK])
        groups = rng.permutation(len(self._checked))[:most].tolist()
        chosen = [int(rng.choice(self._checked[group])) for group in groups]
        return [
            self._batch(chosen[start : start + self.chains], rng)
            for start in range(0, len(chosen), self.chains)
        ]

    def _batch(self, chains: list[int], rng: np.random.Generator) -> StructureBatch:
        lengths = np.array([min(len(self.codes[chain]), self.crop) for chain in chains])
        width = int(widths_of(lengths.max(keepdims=True))[0])
        tokens = np.full((len(chains), width), self.vocabulary.pad, dtype=np.int64)
        intervals = np.full((len(chains), width - 2, width - 2), -1, dtype=np.int8)
        tokens[:, 0] = self.vocabulary.before
        for row, (chain, n) in enumerate(zip(chains, lengths.tolist(), strict=True)):
            start = int(rng.integers(0, len(self.codes[chain]) - n + 1))
            tokens[row, 1 : 1 + n] = self.vocabulary.residues[self.codes[chain][start : start + n]]
            tokens[row, 1 + n] = self.vocabulary.behind
            ca = self.ca[chain][start : start + n]
            distance = np.linalg.norm(ca[:, None] - ca[None], axis=-1)  # (n, n)
            separation = np.abs(np.arange(n)[:, None] - np.arange(n))
            interval = np.searchsorted(EDGES, distance, side="right")
            intervals[row, :n, :n] = np.where(separation < _NEAR, -1, interval)
        return StructureBatch(tokens, lengths + 2, intervals)


def _by_cluster(clusters: NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    indices = np.flatnonzero(chosen)
    order = indices[np.argsort(clusters[indices], kind="stable")]
    bounds = np.flatnonzero(np.diff(clusters[order])) + 1
    return [group for group in np.split(order, bounds) if len(group)]


def read_structures(
    path: Path, vocabulary: Vocabulary, *, chains: int, crop: int, seed: int
) -> StructureBatches:
    """Read a table of chains and their splits.

    The splits are those of the data set that the table belongs to, so that a Siamese net trained on it is
    tested on chains whose structures the encoder has not seen. For another table they are drawn as
    `mutscan train model` draws them: linked clusters, by a seeded hash.

    Parameters
    ----------
    path : Path
        Parquet with columns sequence, ca (little-endian int16, L x 3, 0.01 Å) and cluster25.
    vocabulary, chains, crop, seed
        See `StructureBatches`.

    Raises
    ------
    UsageError
        The file or a column is missing, or a row does not fit together.
    """
    table = read_columns(path, ("sequence", "ca", "cluster25"))
    sequences = table["sequence"].to_pylist()
    codes, coords = [], []
    for row, (sequence, buffer) in enumerate(zip(sequences, table["ca"].to_pylist(), strict=True), start=1):
        if not sequence or set(sequence) - set(STANDARD):
            raise UsageError(f"{path}, row {row}: expected standard residues, read {sequence!r}")
        codes.append(np.array([RESIDUES.index(letter) for letter in sequence]))
        coords.append(coordinates(buffer or b"", sequence, f"in row {row}", path))
    clusters = table["cluster25"].to_numpy().astype(np.int64)
    listed = find_split_list(path)
    splits = (
        assign_splits(link_clusters(sequences, clusters), seed=seed)
        if listed is None
        else listed_splits(listed, sequences)
    )
    return StructureBatches(codes, coords, clusters, splits, vocabulary, chains=chains, crop=crop, seed=seed)


class DistanceHead(nn.Module):
    """Distogram from residue vectors: a symmetric bilinear form for each interval.

    Parameters
    ----------
    dim : int
        Width of the encoder.
    channels : int
        Products of two residues' projections from which the logits are computed.
    """

    def __init__(self, dim: int, channels: int = 64) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.left = nn.Linear(dim, channels)
        self.right = nn.Linear(dim, channels)
        self.read = nn.Linear(channels, len(EDGES) + 1)
        # Residues near in sequence are near in space; the head learns this, not the encoder.
        self.separation = nn.Embedding(_N_SEPARATIONS, len(EDGES) + 1)

    def forward(self, residues: Tensor) -> Tensor:
        """Logits of the intervals, shape (B, L, L, 14), from residue vectors, shape (B, L, d)."""
        x = self.norm(residues)
        left, right = self.left(x), self.right(x)  # (B, L, c)
        product = left[:, :, None] * right[:, None]  # (B, L, L, c)
        logits: Tensor = self.read(product + product.transpose(1, 2))
        n = residues.shape[1]
        place = torch.arange(n, device=residues.device)
        apart = (place[:, None] - place).abs().clamp(max=_N_SEPARATIONS - 1)
        prior: Tensor = self.separation(apart)
        return logits + prior


def distance_loss(logits: Tensor, intervals: Tensor) -> Tensor:
    """Mean cross-entropy of the distogram over all pairs of residues that count."""
    return nn.functional.cross_entropy(
        logits.float().flatten(0, -2), intervals.long().flatten(), ignore_index=-1
    )


def contact_precision(logits: Tensor, intervals: Tensor, lengths: Tensor) -> list[float]:
    """Share of true contacts among the L / 5 most probable long-range ones of each chain.

    Parameters
    ----------
    logits : Tensor, shape (B, L, L, 14)
    intervals : Tensor, shape (B, L, L)
    lengths : Tensor, shape (B,)
        Residues of each chain.

    Returns
    -------
    list of float
        One for each chain that has a pair at least 24 residues apart and is at least 5 residues long.
    """
    n_contact = EDGES.index(CONTACT) + 1
    sure = logits.float().softmax(-1)[..., :n_contact].sum(-1)  # (B, L, L)
    precisions = []
    for row, length in enumerate(lengths.tolist()):
        if length <= _FAR:
            continue
        first, second = torch.triu_indices(length, length, _FAR, device=logits.device)
        top = sure[row, first, second].topk(min(len(first), length // 5)).indices
        precisions.append(float((intervals[row, first[top], second[top]] < n_contact).float().mean()))
    return precisions
