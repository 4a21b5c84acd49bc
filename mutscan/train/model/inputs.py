"""Inputs of the Siamese net: cached embeddings, or an encoder that learns with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mutscan.embed import TrainableEncoder
    from mutscan.model.packing import Packing
    from mutscan.train.model.embeddings import EmbeddingStore


class ChainInputs(Protocol):
    """Embeddings of chains, padded together."""

    @property
    def dim(self) -> int:
        """Width of an embedding."""

    @property
    def encoder(self) -> TrainableEncoder | None:
        """The encoder, where it learns."""

    def padded(self, chains: Sequence[int], width: int, device: torch.device) -> Tensor:
        """Embeddings of some chains, shape (B, width, d), zero behind each."""

    def packed(self, chains: Sequence[int], packing: Packing) -> Tensor:
        """Embeddings of some chains end to end, shape (T, d), zero between them."""


@dataclass(frozen=True, eq=False)
class CachedInputs:
    """Embeddings of a frozen encoder, computed in advance."""

    store: EmbeddingStore
    encoder: None = None

    @property
    def dim(self) -> int:
        return self.store.dim

    def padded(self, chains: Sequence[int], width: int, device: torch.device) -> Tensor:
        rows = [self.store[chain] for chain in chains]
        padded = np.zeros((len(rows), width, self.dim), dtype=np.float32)
        for place, row in enumerate(rows):
            padded[place, : len(row)] = row
        return torch.from_numpy(padded).to(device)

    def packed(self, chains: Sequence[int], packing: Packing) -> Tensor:
        packed = np.zeros((packing.n_rows, self.dim), dtype=np.float32)
        end = 0
        for chain, slot in zip(chains, packing.slots, strict=False):  # the last slot may be a rest
            row = self.store[chain]
            packed[end : end + len(row)] = row
            end += slot
        return torch.from_numpy(packed).to(packing.rows.device)


@dataclass(frozen=True, eq=False)
class EncodedInputs:
    """Embeddings of an encoder that learns, computed in every step.

    Parameters
    ----------
    encoder : TrainableEncoder
    sequences : sequence of str
        Of all chains, in the order of their table, cleaned.
    """

    encoder: TrainableEncoder
    sequences: Sequence[str]

    @property
    def dim(self) -> int:
        return self.encoder.dim

    def padded(self, chains: Sequence[int], width: int, device: torch.device) -> Tensor:
        embedded: Tensor = self.encoder([self.sequences[chain] for chain in chains]).to(device)
        return functional.pad(embedded, (0, 0, 0, width - embedded.shape[1]))

    def packed(self, chains: Sequence[int], packing: Packing) -> Tensor:
        sequences = [self.sequences[chain] for chain in chains]
        embedded: Tensor = self.encoder(sequences).to(packing.rows.device)
        lengths = torch.tensor([len(sequence) for sequence in sequences], device=embedded.device)
        real = torch.arange(embedded.shape[1], device=embedded.device) < lengths[:, None]
        return embedded.new_zeros(packing.n_rows, self.dim).index_copy(0, packing.rows, embedded[real])
