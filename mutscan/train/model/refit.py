"""Fit the last layer of the pair head again, on families that the net was not trained on.

Residue vectors of training families fit their labels better than those of new
families do, so a head trained on them relies too much on the vectors and too little on the
sequence alignment. The small network that weighs the distances of the lDDT is
therefore fitted again on the validation pairs, while everything below it stays
fixed (stacking: doi 10.1016/S0893-6080(05)80023-1). It has a few thousand weights for
a hundred thousand residues; the test split is not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from mutscan.train.model.loss import response_loss

if TYPE_CHECKING:
    from torch import Tensor

    from mutscan.model.siamese import SiameseNet
    from mutscan.model.vectors import ChainVectors, PairRows
    from mutscan.train.model.loss import LossConfig

_RATE: Final = 1e-3
_DECAY: Final = 0.01
_ROWS: Final = 2048  # residues of a step
_MUTANTS: Final = 16  # mutants of a step, all residues of each


@dataclass(frozen=True, eq=False)
class Evidence:
    """Inputs of the lDDT of residue pairs, and their labels.

    Parameters
    ----------
    distances, seen : Tensor, shape (R, 22), (R, 56)
        From `SiameseNet.lddt_evidence`.
    lddt, response : Tensor, shape (R,)
        Labels; NaN where there is none.
    starts : int64 array, shape (P + 1,)
        Rows of pair k: ``starts[k]:starts[k + 1]``.
    """

    distances: Tensor
    seen: Tensor
    lddt: Tensor
    response: Tensor
    starts: np.ndarray[tuple[int], np.dtype[np.int64]]


@torch.no_grad()
def gather_evidence(
    net: SiameseNet, vectors: ChainVectors, pairs: PairRows, lddt: Tensor, response: Tensor
) -> Evidence:
    """Take the evidence of pairs from a trained net; rows lie pair after pair."""
    distances, seen = net.lddt_evidence(vectors, pairs)
    counts = torch.bincount(pairs.pair_of, minlength=len(pairs.first)).cpu().numpy()
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Evidence(distances, seen, lddt.to(seen), response.to(seen), starts)


def refit_lddt(
    net: SiameseNet, natural: Evidence, mutants: Evidence | None, config: LossConfig, steps: int, *, seed: int
) -> None:
    """Fit the weights of the lDDT's distances again, in place.

    Parameters
    ----------
    net : SiameseNet
        With a pair head.
    natural : Evidence
        Of pairs of natural proteins from families that the net was not trained on.
    mutants : Evidence, optional
        Of mutants, to keep their order (`response_loss`, in the same proportion as in training).
    config : LossConfig
    steps : int
    seed : int
    """
    head = net.pair_head
    assert head is not None, "only a net with a pair head weighs distances"
    labelled = torch.nonzero(~natural.lddt.isnan()).flatten()
    if not steps or not len(labelled):
        return
    rng = np.random.default_rng([seed, 2])
    weights = head.lddt_weights.requires_grad_(True)
    optimiser = torch.optim.AdamW(weights.parameters(), _RATE, weight_decay=_DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = labelled[torch.from_numpy(rng.integers(len(labelled), size=_ROWS)).to(labelled.device)]
        error = head.lddt(natural.distances[rows], natural.seen[rows]) - natural.lddt[rows]
        loss = (error.abs() + config.lddt_square * error.square()).mean()
        if mutants is not None and config.response:
            loss = loss + config.response * _of_some_mutants(net, mutants, rng)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def _of_some_mutants(net: SiameseNet, mutants: Evidence, rng: np.random.Generator) -> Tensor:
    assert net.pair_head is not None
    count = len(mutants.starts) - 1
    chosen = rng.choice(count, min(_MUTANTS, count), replace=False)
    spans = [slice(int(mutants.starts[k]), int(mutants.starts[k + 1])) for k in chosen]
    distances, seen, response = (
        torch.cat([values[span] for span in spans])
        for values in (mutants.distances, mutants.seen, mutants.response)
    )
    sizes = torch.tensor([span.stop - span.start for span in spans], device=seen.device)
    pair_of = torch.repeat_interleave(torch.arange(len(spans), device=seen.device), sizes)
    return response_loss(net.pair_head.lddt(distances, seen), response, pair_of, len(spans))
