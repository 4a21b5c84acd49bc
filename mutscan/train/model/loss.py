"""The loss over a batch of pairs: TM-score of each, and lDDT of the aligned residues of the similar ones.

As in the preprint; T is the true TM-score of a pair:

    G = |predicted TM - T|               E = mean over aligned residues of |predicted lDDT - lDDT|
    T < tm_min                 skipped: neither loss nor count
    tm_min <= T < tm_lddt      G
    tm_lddt <= T               alpha * E + beta * G
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from mutscan.errors import UsageError


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Settings of the loss; the defaults are the paper's.

    Parameters
    ----------
    alpha, beta : float
        Weights of E and G for the similar pairs.
    tm_min : float
        Pairs below are skipped.
    tm_lddt : float
        Pairs from here on count as similar.
    tm_kind : {"absolute", "squared"}
        Whether G is the absolute or the squared error.
    lddt_square : float
        Weight of the squared error beside the absolute one in E: large errors of single residues
        then count for more. 0 is the paper's.
    response : float
        Weight of `response_loss`, which ranks mutants, and their residues, by how much they move. 0
        is the paper's.
    """

    alpha: float = 0.7
    beta: float = 0.3
    tm_min: float = 0.1
    tm_lddt: float = 0.7
    tm_kind: str = "absolute"
    lddt_square: float = 0.0
    response: float = 0.0

    def __post_init__(self) -> None:
        """Refuse an unknown kind."""
        if self.tm_kind not in ("absolute", "squared"):
            raise UsageError(f"loss.tm_kind is {self.tm_kind!r}; expected 'absolute' or 'squared'")


@dataclass(frozen=True, slots=True)
class BatchLoss:
    """The loss of a batch and what it is made of.

    Parameters
    ----------
    loss : Tensor, scalar
        Weighted mean over the kept pairs; a zero that has a gradient when none is kept.
    tm_error : Tensor, scalar
        Mean absolute TM error of the kept pairs, for the log; NaN when there is none.
    lddt_error : Tensor, scalar
        Mean absolute lDDT error of the similar pairs, for the log; NaN when there is none.
    """

    loss: Tensor
    tm_error: Tensor
    lddt_error: Tensor


def pair_loss(
    tm_predicted: Tensor,
    tm_score: Tensor,
    lddt_predicted: Tensor,
    lddt: Tensor,
    pair_of: Tensor,
    config: LossConfig,
    weight: Tensor | None = None,
) -> BatchLoss:
    """Loss of P pairs with R aligned residues in all.

    Parameters
    ----------
    tm_predicted, tm_score : Tensor, shape (P,)
    lddt_predicted, lddt : Tensor, shape (R,)
        Aligned residues of all pairs, in any order; a NaN label counts for nothing.
    pair_of : int64 Tensor, shape (R,)
        The pair each residue belongs to.
    config : LossConfig
    weight : Tensor, shape (P,), optional
        Weight of each pair in the mean.
    """
    difference = tm_predicted - tm_score
    distance = difference.abs()
    G = distance if config.tm_kind == "absolute" else difference.square()  # (P,)

    labelled = ~lddt.isnan()
    error = torch.where(labelled, lddt_predicted - lddt.nan_to_num(), 0.0).abs()  # (R,)
    counts = torch.zeros_like(tm_predicted).index_add(0, pair_of, labelled.to(error))

    def of_pairs(values: Tensor) -> Tensor:
        """Mean over the labelled residues of each pair, (P,); 0 for a pair without one."""
        return torch.zeros_like(tm_predicted).index_add(0, pair_of, values) / counts.clamp(min=1)

    E = of_pairs(error + config.lddt_square * error.square())

    similar = tm_score >= config.tm_lddt
    each = torch.where(similar, config.alpha * E + config.beta * G, G)
    kept = (tm_score >= config.tm_min).to(each)
    weighted = kept if weight is None else kept * weight
    loss = (each * weighted).sum() / weighted.sum().clamp(min=torch.finfo(each.dtype).tiny)
    with torch.no_grad():
        scored = similar & (counts > 0)
        return BatchLoss(
            loss,
            (distance * kept).sum() / kept.sum(),
            of_pairs(error)[scored].mean() if scored.any() else E.new_tensor(torch.nan),
        )


_SMALLEST_DROP: Final = 1e-6  # of a prediction; smaller ones count as this
_SMALLEST_RESPONSE: Final = 3e-4  # of a mutant's mean label: below, coordinates are rounding
_SMALLEST_MOVE: Final = 0.01  # of one residue's label, likewise
_OF_RESIDUES: Final = 0.3  # weight of the order of the residues beside that of the mutants


def response_loss(lddt_predicted: Tensor, response: Tensor, pair_of: Tensor, n_pairs: int) -> Tensor:
    """Disagreement of predicted and measured lDDT drops in their ranking, 0 to 2 (1 + weight of residues).

    1 - r between the logarithms of predicted and measured drops: over the mutants of a batch (each
    one's mean drop), and over the residues of each mutant. A correlation ignores scale:
    the size of the drops is learned from the lDDT labels themselves, which are nearly all 1.

    Parameters
    ----------
    lddt_predicted, response : Tensor, shape (R,)
        `response` is NaN for residues that are not of a mutant.
    pair_of : int64 Tensor, shape (R,)
    n_pairs : int

    Returns
    -------
    Tensor, scalar
        A zero that has a gradient where fewer than three mutants are known.
    """
    known = ~response.isnan()
    drop, moved, of = 1.0 - lddt_predicted[known], response[known], pair_of[known]
    counts = torch.bincount(of, minlength=n_pairs).to(drop)
    mutant = counts > 0

    def mean(values: Tensor) -> Tensor:
        return torch.zeros_like(counts).index_add(0, of, values) / counts.clamp(min=1)

    if int(mutant.sum()) < 3:
        return drop.sum() * 0.0
    one, two = (mean(drop)[mutant] + _SMALLEST_DROP).log(), (mean(moved)[mutant] + _SMALLEST_RESPONSE).log()
    one, two = one - one.mean(), two - two.mean()
    over_mutants = (one * two).sum() / (one.norm() * two.norm()).clamp(min=1e-6)

    one, two = (drop + _SMALLEST_DROP).log(), (moved + _SMALLEST_MOVE).log()
    one, two = one - mean(one)[of], two - mean(two)[of]
    spread = mean(two.square())
    varied = spread > 1e-6  # a mutant that moves nothing has no order
    over_residues = mean(one * two) / (mean(one.square()) * spread).clamp(min=1e-12).sqrt()
    inside = (over_residues * varied).sum() / varied.sum().clamp(min=1)
    loss: Tensor = (1.0 - over_mutants) + _OF_RESIDUES * (1.0 - inside)
    return loss
