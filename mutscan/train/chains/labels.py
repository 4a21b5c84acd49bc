"""Labels computed from coordinates and alignments: the custom lDDT, and how far mutants move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mutscan.train.chains.tables import Chains, Pairs


def lddt_labels(
    chains: Chains,
    pairs: Pairs,
    *,
    exponent: float = 3.0,
    radius: float = 15.0,
    thresholds: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0),
    batch_elements: int = 4_000_000,
) -> NDArray[np.float32]:
    """Score the preprint's lDDT (Algorithm 2) of every aligned residue of every pair, chain 1 as reference.

    The same numbers as `mutscan.scores.lddt` on the aligned residues, for many
    pairs at once: pairs of like size are padded together and masked.

    Returns
    -------
    float32 array, shape (m,)
        One value for each row of ``pairs.aligned``; NaN for a residue without neighbours.
    """
    labels = np.full(len(pairs.aligned), np.nan, dtype=np.float32)
    for batch in _batches_by_size(pairs.n_aligned, batch_elements):
        counts = pairs.n_aligned[batch]
        size = int(counts.max())
        reference = np.zeros((len(batch), size, 3))
        model = np.zeros((len(batch), size, 3))
        for row, k in enumerate(batch.tolist()):
            part = pairs.aligned[pairs.starts[k] : pairs.starts[k + 1]]
            reference[row, : len(part)] = chains.ca[pairs.chain_1[k]][part[:, 0]]
            model[row, : len(part)] = chains.ca[pairs.chain_2[k]][part[:, 1]]
        real = torch.arange(size) < torch.from_numpy(counts)[:, None]  # (B, n)
        d_reference, d_model = _distances(reference), _distances(model)  # (B, n, n)
        neighbours = real[:, :, None] & real[:, None, :] & (d_reference > 0) & (d_reference <= radius)
        weights = torch.where(neighbours, (d_reference + 1e-6).pow(-exponent), 0.0)
        change = (d_reference - d_model).abs_()
        kept = torch.zeros_like(change)
        for threshold in thresholds:
            kept += change <= threshold
        scores = (weights * kept).sum(-1) / (weights.sum(-1) * len(thresholds))  # 0 / 0 = NaN: no neighbour
        labels[pairs.rows(batch)] = scores[real].float().numpy()
    return labels


FINE: Final = (0.05, 0.1, 0.2, 0.4)
"""Thresholds (Å) of the drop that mutants are ranked by: a tenth of lDDT's own."""


def response_labels(
    chains: Chains, pairs: Pairs, mutant: NDArray[np.bool_], *, exponent: float = 3.0, radius: float = 15.0
) -> NDArray[np.float32]:
    """Measure how much each residue of each mutant moves: the drop 1 - lDDT with the thresholds `FINE`.

    A built substitution moves C-alphas by about 0.1 Å, below the smallest threshold of lDDT, so that nine
    in ten mutants have a drop of exactly 0. With thresholds a tenth as wide only one in ten has, and
    both drops rank the others alike.

    Returns
    -------
    float32 array, shape (m,)
        One value for each row of ``pairs.aligned``; NaN for natural pairs and residues without neighbours.
    """
    response = np.full(len(pairs.aligned), np.nan, dtype=np.float32)
    chosen = np.flatnonzero(mutant)
    if len(chosen):
        response[pairs.rows(chosen)] = 1.0 - lddt_labels(
            chains, pairs.take(chosen), exponent=exponent, radius=radius, thresholds=FINE
        )
    return response


def _distances(ca: NDArray[np.float64]) -> torch.Tensor:
    coord = torch.from_numpy(ca)
    # The default by matrix products loses digits at small distances.
    return torch.cdist(coord, coord, compute_mode="donot_use_mm_for_euclid_dist")


def _batches_by_size(sizes: NDArray[np.int64], batch_elements: int) -> Iterator[NDArray[np.int64]]:
    """Group indices of like size so that their padded (B, n, n) arrays stay below `batch_elements`."""
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * int(sizes[order[end]]) ** 2 <= batch_elements:
            end += 1
        yield order[start:end]
        start = end
