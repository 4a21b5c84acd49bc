"""What the Siamese net is fed: cached embeddings, or an encoder that learns with it."""

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
    from mutscan.train.store import EmbeddingStore


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


@dataclass(frozen=True, eq=False)
class CachedInputs:
    """Embeddings of a frozen encoder, computed before."""

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
