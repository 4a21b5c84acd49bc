"""`Predictor`: apply the Siamese net to embeddings, one protein at a time."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mutscan.errors import CheckpointError
from mutscan.model.sequence_alignment import (
    N_ALIGNMENT,
    REACHES,
    AlignmentPaths,
    align_scores,
    letter_places,
)
from mutscan.model.vectors import ChainVectors, PairRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from mutscan.model.siamese import SiameseNet


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded protein, made by `Predictor.encode`; it can be compared any number of times.

    Parameters
    ----------
    residues : Tensor, shape (L, d_model)
        Residue vectors, on the predictor's device.
    pooled : Tensor, shape (d_model,)
        Global vector.
    matching : Tensor, shape (L, 2, d_match), optional
        Vectors for best matches, of a net with a pair head.
    sequence : str
    """

    residues: Tensor
    pooled: Tensor
    matching: Tensor | None
    sequence: str

    def __len__(self) -> int:
        """Count residues."""
        return len(self.residues)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted scores of two proteins.

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

    @property
    def net(self) -> SiameseNet:
        """The net itself, in evaluation mode: to compare many encoded proteins at once."""
        return self._net

    @torch.inference_mode()
    def encode(self, embedding: NDArray[np.float32], sequence: str) -> Encoded:
        """Run one protein through the net.

        Parameters
        ----------
        embedding : float array, shape (L, d)
            From the encoder the net was trained on.
        sequence : str, length L
            What was embedded.

        Raises
        ------
        CheckpointError
            If d is not the width the net was made for: encoder and net do not belong together.
        """
        wanted = self._net.config.d_input
        if embedding.ndim != 2 or not len(embedding):
            raise ValueError(f"embedding of shape {embedding.shape}, expected (L, {wanted}) with L > 0")
        if len(embedding) != len(sequence):
            raise ValueError(f"embedding of {len(embedding)} residues for a sequence of {len(sequence)}")
        if embedding.shape[1] != wanted:
            raise CheckpointError(
                f"the encoder gives {embedding.shape[1]} numbers per residue, this model was trained on "
                f"{wanted}; use the encoder of this model"
            )
        x = torch.from_numpy(np.array(embedding, dtype=np.float32))[None].to(self.device)  # (1, L, d)
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=self.device)
        with one_thread_on_cpu(self.device):
            residues, pooled = self._net(x, mask)
            matching = self._net.matching(residues, mask)
        return Encoded(residues[0], pooled[0], None if matching is None else matching[0], sequence)

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

        Raises
        ------
        CheckpointError
            The net gives numbers that are not finite.
        """
        n_1, n_2 = len(encoded_1), len(encoded_2)
        if pairs is None:
            if n_1 != n_2:
                raise ValueError(f"proteins of {n_1} and {n_2} residues need `pairs` to say which correspond")
            rows = np.tile(np.arange(n_1)[:, None], 2)
        else:
            rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)  # a copy torch may have
            if len(rows) and (rows.min() < 0 or rows[:, 0].max() >= n_1 or rows[:, 1].max() >= n_2):
                raise ValueError(f"`pairs` holds a residue outside proteins of {n_1} and {n_2} residues")
        with one_thread_on_cpu(self.device):
            tm_score, similarity = self._net.compare(
                _together(encoded_1, encoded_2),
                self._both_ways(encoded_1, encoded_2, rows, ungapped=pairs is None),
            )
        lddt = np.full(n_1, np.nan, dtype=np.float32)
        lddt[rows[:, 0]] = similarity.clamp(0.0, 1.0).cpu().numpy()
        check_finite(tm_score.cpu().numpy(), lddt[rows[:, 0]])
        raw_1, raw_2 = tm_score.tolist()
        return Prediction(_clip(raw_1), _clip(raw_2), raw_1, lddt)

    def _both_ways(
        self, encoded_1: Encoded, encoded_2: Encoded, rows: NDArray[np.int64], *, ungapped: bool
    ) -> PairRows:
        """Protein 1 against protein 2 with its residues, and protein 2 against protein 1 without."""
        distances = np.zeros((2, N_ALIGNMENT), dtype=np.float32)
        departures = np.zeros((len(rows), len(REACHES)), dtype=np.float32)
        pair_of = np.zeros(len(rows), dtype=np.int64)
        if self._net.pair_head is not None:
            scores = align_scores(encoded_1.sequence, encoded_2.sequence, ungapped=ungapped)
            distances = np.stack([scores.distances(), scores.swapped().distances()])
            lengths = tuple(np.full(len(rows), len(one)) for one in (encoded_1, encoded_2))
            departures = AlignmentPaths.of([scores]).departures(
                (rows[:, 0], rows[:, 1]), pair_of, (lengths[0], lengths[1])
            )
        chosen = torch.from_numpy(rows).to(self.device)
        ends = torch.tensor([0, 1], device=self.device)
        return PairRows(
            first=ends,
            second=1 - ends,
            alignment=torch.from_numpy(distances).to(self.device),
            row_1=chosen[:, 0],
            row_2=chosen[:, 1] + len(encoded_1),
            pair_of=torch.from_numpy(pair_of).to(self.device),
            departures=torch.from_numpy(departures).to(self.device),
        )


def check_finite(*values: NDArray[np.floating]) -> None:
    """Refuse a net whose predictions are not finite: CheckpointError."""
    if not all(np.isfinite(some).all() for some in values):
        raise CheckpointError("the network predicts numbers that are not finite; its weights are damaged")


def _together(encoded_1: Encoded, encoded_2: Encoded) -> ChainVectors:
    both = (encoded_1, encoded_2)
    device = encoded_1.residues.device
    matching = [e.matching for e in both if e.matching is not None]
    return ChainVectors(
        residues=torch.cat([e.residues for e in both]),
        pooled=torch.stack([e.pooled for e in both]),
        matching=torch.cat(matching) if matching else None,
        letters=torch.from_numpy(np.concatenate([letter_places(e.sequence) for e in both])).to(device),
        lengths=torch.tensor([len(e) for e in both], device=device),
    )


@contextmanager
def one_thread_on_cpu(device: torch.device) -> Iterator[None]:
    """Run the net on one thread: it is small, and its numbers must not depend on the number of cores."""
    if device.type != "cpu":
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))
