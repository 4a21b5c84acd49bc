"""Several processes that train one network, started by ``torchrun``: who one is, and sums over all."""

from __future__ import annotations

import contextlib
import datetime
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import distributed

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """One of the processes of a training.

    Parameters
    ----------
    rank, size : int
        Its number, from 0, and how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, in place, by their sums over all processes; all must call it alike."""
        if self.size == 1 or not tensors:
            return
        # In one piece: a message for each small tensor would cost more than what is in it.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


def started_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "WORLD_SIZE" in os.environ and "RANK" in os.environ


def is_follower() -> bool:
    """Whether another process of this training writes files and speaks."""
    return started_by_torchrun() and os.environ["RANK"] != "0"


def own_device(text: str) -> str:
    """Turn the device asked for into this process's: under torchrun, a GPU of its own.

    Raises
    ------
    UsageError
        One GPU is asked for by its number, for several processes.
    """
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        return text
    wanted = text.strip().lower()
    if wanted.startswith("cuda:"):
        raise UsageError(f"--device {text}: torchrun gives each process a GPU of its own; take --device cuda")
    if wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available()):
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return text


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes for as long as it lasts; alone where torchrun was not used."""
    if not started_by_torchrun() or int(os.environ["WORLD_SIZE"]) == 1:
        yield Ranks()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # The first process may embed for hours while the others wait; torchrun ends all when one dies.
    patience = datetime.timedelta(days=7)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=patience)
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
