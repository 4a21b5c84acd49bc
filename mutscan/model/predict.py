"""`Predictor`: the Siamese net at work on embeddings, one protein after the other."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mutscan.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from mutscan.model.siamese import SiameseNet


@dataclass(frozen=True, eq=False)
class Encoded:
    """A protein as the net sees it; made by `Predictor.encode`, compared any number of times.

    Parameters
    ----------
    residues : Tensor, shape (L, d_model)
        Residue vectors, on the predictor's device.
    pooled : Tensor, shape (d_model,)
        Global vector.
    """

    residues: Tensor
    pooled: Tensor

    def __len__(self) -> int:
        """Count residues."""
        return len(self.residues)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the net says of two proteins.

    Parameters
    ----------
    tm_score, tm_score_2 : float
        Predicted TM-score normalised by protein 1 and by protein 2, clipped to [0, 1].
    tm_raw : float
        `tm_score` as the net gave it, for ranking.
    lddt : float32 array, shape (L1,)
        Predicted lDDT of each residue of protein 1, clipped to [0, 1]; NaN where it has no
        partner in protein 2.
    """

    tm_score: float
    tm_score_2: float
    tm_raw: float
    lddt: NDArray[np.float32]


class Predictor:
    """The Siamese net on a device, in fp32 and evaluation mode.

    Each protein goes through alone, so a prediction depends on no other.

    Parameters
    ----------
    net : SiameseNet
        Put into evaluation mode and moved to `device`.
    device : torch.device or str
    """

    def __init__(self, net: SiameseNet, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._net = net.to(device=self.device, dtype=torch.float32).eval()

    @torch.inference_mode()
    def encode(self, embedding: NDArray[np.float32]) -> Encoded:
        """Run one protein through the net.

        Parameters
        ----------
        embedding : float array, shape (L, d)
            From the encoder the net was trained on.

        Raises
        ------
        CheckpointError
            If d is not the width the net was made for: encoder and net do not belong together.
        """
        wanted = self._net.config.d_input
        if embedding.ndim != 2 or not len(embedding):
            raise ValueError(f"embedding of shape {embedding.shape}, expected (L, {wanted}) with L > 0")
        if embedding.shape[1] != wanted:
            raise CheckpointError(
                f"the encoder gives {embedding.shape[1]} numbers per residue, this model was trained on "
                f"{wanted}; encoder and model do not belong together"
            )
        x = torch.from_numpy(np.array(embedding, dtype=np.float32))[None].to(self.device)  # (1, L, d)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=self.device)
        with _one_thread() if self.device.type == "cpu" else nullcontext():
            residues, pooled = self._net(x, mask)
        return Encoded(residues[0], pooled[0])

    @torch.inference_mode()
    def compare(
        self, encoded_1: Encoded, encoded_2: Encoded, pairs: NDArray[np.integer] | None = None
    ) -> Prediction:
        """Predict TM-score and lDDT of protein 2 (the mutant) against protein 1 (the wild type).

        Parameters
        ----------
        encoded_1, encoded_2 : Encoded
        pairs : int array, shape (n, 2), optional
            Corresponding residues, 0-based; residue by residue when not given, which needs
            equal lengths.
        """
        n_1, n_2 = len(encoded_1), len(encoded_2)
        if pairs is None:
            if n_1 != n_2:
                raise ValueError(f"proteins of {n_1} and {n_2} residues need `pairs` to say which correspond")
            first, second = encoded_1.residues, encoded_2.residues
        else:
            pairs = np.array(pairs, dtype=np.int64).reshape(-1, 2)  # a copy torch may have
            if len(pairs) and (pairs.min() < 0 or pairs[:, 0].max() >= n_1 or pairs[:, 1].max() >= n_2):
                raise ValueError(f"`pairs` holds a residue outside proteins of {n_1} and {n_2} residues")
            chosen = torch.from_numpy(pairs).to(self.device)
            first, second = encoded_1.residues[chosen[:, 0]], encoded_2.residues[chosen[:, 1]]
        similarity = self._net.lddt(first, second).clamp(0.0, 1.0).cpu().numpy()  # (n,)
        lddt = np.full(n_1, np.nan, dtype=np.float32)
        lddt[slice(None) if pairs is None else pairs[:, 0]] = similarity
        pooled_1, pooled_2 = encoded_1.pooled[None], encoded_2.pooled[None]
        length_1, length_2 = (torch.tensor([n], device=self.device) for n in (n_1, n_2))
        raw_1 = float(self._net.tm_score(pooled_1, pooled_2, length_1, length_2))
        raw_2 = float(self._net.tm_score(pooled_2, pooled_1, length_2, length_1))
        return Prediction(_clip(raw_1), _clip(raw_2), raw_1, lddt)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the net to one thread: it is small, and its numbers must not depend on the machine's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
