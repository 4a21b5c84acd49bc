"""Several processes that train one network, started by ``torchrun``.

All processes draw the same batch. Each encodes its share of the chains, and all gather the vectors and
compute the same loss. A gradient below the gathering is then split over the processes, one above it is
whole in each; `gather_pieces` returns `size` times the gradient, so that the mean over the processes is
right for both. The steps are those of one process, up to the order in which numbers are added.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, distributed

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Ranks:
    """One of the processes of a training.

    Parameters
    ----------
    rank, size : int
        Number of this process, from 0, and number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors in place by their sums over all processes; each process must call it."""
        if self.size == 1 or not tensors:
            return
        # One message: many small ones cost more than their contents.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            distributed.barrier()


def started_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def is_follower() -> bool:
    """Whether another process of this training writes files and prints messages."""
    return started_by_torchrun() and os.environ["RANK"] != "0"


def own_device(text: str) -> str:
    """Device of this process: under torchrun each process gets a GPU of its own.

    Raises
    ------
    UsageError
        One GPU is given by its number for several processes.
    """
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        return text
    wanted = text.strip().lower()
    if wanted.startswith("cuda:"):
        raise UsageError(f"--device {text}: torchrun gives each process a GPU of its own; use --device cuda")
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return text


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes inside this context; without torchrun there is one process."""
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # The first process may embed for hours while the others wait; torchrun stops all when one fails.
    patience = datetime.timedelta(days=7)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def leader_first(ranks: Ranks) -> Iterator[None]:
    """Run a block in the leading process first, then in the others."""
    if not ranks.leads:
        ranks.wait()
    yield
    if ranks.leads:
        ranks.wait()


def agreed(ranks: Ranks, numbers: Sequence[float], device: torch.device) -> list[float]:
    """Numbers of the leading process: rounding may differ between GPUs, decisions must not."""
    if ranks.size == 1:
        return list(numbers)
    shared = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.broadcast(shared, src=0)
    taken: list[float] = shared.tolist()
    return taken


def shares(ranks: Ranks, costs: Sequence[float]) -> list[list[int]]:
    """Divide pieces of work evenly by their costs; return the pieces of each process, ascending."""
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
    """Gather all pieces end to end, in their order; differentiable.

    Parameters
    ----------
    ranks : Ranks
    mine : sequence of Tensor, shape (rows of the piece, ...)
        Pieces of this process, or one empty piece where it has no share.
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
    """Set each gradient to its mean over all processes; one that no process has stays None."""
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
