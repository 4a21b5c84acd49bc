"""How processes share the work of a batch and still make the steps of one.

All draw the same batch; each encodes its share of the chains, and all gather the vectors and
compute the same loss. What is before the gathering has then a part of its gradient in each
process, what is behind it has all of it in each; `gather` hands back `size` times the gradient, so
that the mean over the processes is right for both. The steps are those of one process, up to the
order in which numbers are added.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, distributed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mutscan.train.loop.ranks import Ranks


@contextlib.contextmanager
def leader_first(ranks: Ranks) -> Iterator[None]:
    """Let the process that writes through; the others follow when it is done."""
    if not ranks.leads:
        ranks.wait()
    yield
    if ranks.leads:
        ranks.wait()


def agreed(ranks: Ranks, numbers: Sequence[float], device: torch.device) -> list[float]:
    """Take the leader's numbers: rounding may differ between GPUs, decisions must not."""
    if ranks.size == 1:
        return list(numbers)
    shared = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.broadcast(shared, src=0)
    taken: list[float] = shared.tolist()
    return taken


def shares(ranks: Ranks, costs: Sequence[float]) -> list[list[int]]:
    """Divide pieces of work evenly by their costs: the pieces of each process, ascending."""
    loads = np.zeros(ranks.size)
    divided: list[list[int]] = [[] for _ in range(ranks.size)]
    for piece in sorted(range(len(costs)), key=lambda k: -costs[k]):
        least = int(np.argmin(loads))
        loads[least] += costs[piece]
        divided[least].append(piece)
    return [sorted(share) for share in divided]


def gather_pieces(
    ranks: Ranks, mine: Sequence[Tensor], divided: Sequence[Sequence[int]], rows: Sequence[int]
) -> Tensor:
    """All pieces end to end, in their order, from the processes that made them; differentiable.

    Parameters
    ----------
    ranks : Ranks
    mine : sequence of Tensor, shape (rows of the piece, ...)
        The pieces of this process; one may be an empty one beyond its share.
    divided : sequence of sequences of int
        The pieces of each process, from `shares`.
    rows : sequence of int
        Rows of each piece.
    """
    local = torch.cat(list(mine))
    if ranks.size == 1:
        return local
    sizes = tuple(sum(rows[k] for k in part) for part in divided)
    gathered: Tensor = _Gather.apply(local, sizes, ranks.rank)  # type: ignore[no-untyped-call]  # torch's own
    order = [k for part in divided for k in part]
    pieces: dict[int, Tensor] = dict(zip(order, torch.split(gathered, [rows[k] for k in order]), strict=True))
    return torch.cat([pieces[k] for k in range(len(rows))])


@torch.no_grad()
def average_gradients(ranks: Ranks, parameters: Iterable[torch.nn.Parameter]) -> None:
    """Set each gradient to its mean over all processes; a parameter none has a gradient of keeps none."""
    if ranks.size == 1:
        return
    listed = list(parameters)
    there = torch.tensor([float(p.grad is not None) for p in listed], device=listed[0].device)
    ranks.add([there])
    learning = [p for p, has in zip(listed, there.tolist(), strict=True) if has]
    gradients = []
    for parameter in learning:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        gradients.append(parameter.grad)
    ranks.add(gradients)
    for gradient in gradients:
        gradient.div_(ranks.size)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, sizes: tuple[int, ...], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padded = local.new_zeros(max(sizes), *local.shape[1:])
        padded[: len(local)] = local
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        start = sum(ctx.sizes[: ctx.rank])
        return gradients[0][start : start + ctx.sizes[ctx.rank]] * len(ctx.sizes), None, None
