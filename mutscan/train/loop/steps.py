"""The loop that both trainings share: steps, validations, the best weights, and a state that resumes.

Nothing in a step depends on earlier random draws: batches, dropout and torch's generator are seeded by
(seed, step). The saved state is therefore the step, the weights and the optimiser, and an interrupted run
ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from mutscan.train.loop.log import Speed, TrainingLog
from mutscan.train.loop.processes import Ranks
from mutscan.train.loop.settings import settings_digest
from mutscan.train.loop.state import load_state, optimiser_tensors, restore_optimiser, save_state

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from mutscan.train.loop.settings import LoopSettings
    from mutscan.train.loop.state import State


class Numbers(Protocol):
    """A dataclass of the numbers of one validation."""

    def to_dict(self) -> dict[str, float]:
        """Numbers by their names, for the log."""


Measured = TypeVar("Measured", bound=Numbers)


class Steps(ABC, Generic[Measured]):
    """Base of a trainer: its `run` trains to the last step and continues a saved state.

    A subclass calls `begin` at the end of its ``__init__`` and implements the abstract methods.

    Parameters
    ----------
    settings : LoopSettings
        Steps in all, steps between validations (the state is saved after each), precision of the
        forward pass.
    folder : Path
        Holds ``state.safetensors`` and ``log.jsonl``. All processes must see the same folder; the first
        one writes.
    device : torch.device
    data : str
        Digest of the data; a state made with other data or settings is refused.
    ranks : Ranks, optional
        The processes that train together; without it one process trains.
    peak_tflops : float, optional
        Peak performance of all devices, to log the share of it that is used.
    """

    def __init__(
        self,
        settings: LoopSettings,
        folder: Path,
        device: torch.device,
        data: str,
        ranks: Ranks | None,
        peak_tflops: float | None,
    ) -> None:
        self.folder = folder
        self.device = device
        self.ranks = ranks if ranks is not None else Ranks()
        self.settings = settings
        self.identity = {"settings": settings_digest(settings), "data": data}
        self.log = TrainingLog(folder)
        self.speed = Speed(device, peak_tflops)
        self.step = 0
        self.seconds = 0.0
        self.best_step = 0
        self.best_validation: Measured | None = None

    def begin(self, optimiser: torch.optim.Optimizer) -> None:
        """Take the optimiser and the first weights."""
        self.optimiser = optimiser
        self.best = self._copy_of_candidate()

    # What a training defines

    @abstractmethod
    def batches_from(self, step: int) -> Generator[Any]:
        """Batches of all steps from `step` on."""

    @abstractmethod
    def train_step(self, batch: Any) -> None:
        """Make one step of the optimiser; sum up what `train_means` reports."""

    @abstractmethod
    def train_means(self) -> dict[str, float]:
        """Mean losses since this was last called."""

    @abstractmethod
    def measure(self, train: Mapping[str, float]) -> Measured:
        """Validate; the same numbers in all processes."""

    @abstractmethod
    def score(self, validation: Measured) -> float:
        """Rate a validation, to choose the best weights by; lower is better."""

    @abstractmethod
    def candidate(self) -> Mapping[str, Tensor]:
        """Weights that a validation measures."""

    @abstractmethod
    def parts(self) -> dict[str, Mapping[str, Tensor]]:
        """Tensors of the state, apart from the optimiser's and the best weights."""

    @abstractmethod
    def restore(self, state: State) -> Measured:
        """Take the tensors of `parts` and the numbers of `counters` back; return the best validation."""

    def counters(self) -> dict[str, int]:
        """Further numbers of the state."""
        return {}

    def is_done(self) -> bool:
        """Whether no step is left to train."""
        return self.step >= self.settings.steps

    # The loop

    def run_steps(
        self, advance: Callable[[int], None], describe: Callable[[str], None] = lambda text: None
    ) -> None:
        """Train to the last step, from the saved state if there is one.

        Parameters
        ----------
        advance : callable
            Called with the number of steps done since the last call.
        describe : callable
            Called with a summary of the losses after each validation.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._load()
        self.ranks.wait()  # no process writes a state before all have read the old one
        if self.ranks.leads:
            self.log.resume(self.step)
        advance(self.step)
        began = time.monotonic() - self.seconds
        self.speed.report()
        with contextlib.closing(self.batches_from(self.step)) as batches:
            while not self.is_done():
                self.train_step(next(batches))
                self.step += 1
                advance(1)
                if self.step % self.settings.validate_every == 0 or self.step == self.settings.steps:
                    self.seconds = time.monotonic() - began
                    describe(self._validate())
        self.log.close()

    def _validate(self) -> str:
        train = self.train_means()
        speed = self.speed.report()
        validation = self.measure(train)
        if self.best_validation is None or self.score(validation) < self.score(self.best_validation):
            self.best_validation, self.best_step = validation, self.step
            self.best = self._copy_of_candidate()
        shown = validation.to_dict()
        if self.ranks.leads:
            rate = self.settings.rate(self.step - 1)
            self.log.write(self.step, self.seconds, rate, train, shown, self.best_step, speed)
            self._save()
        self.speed.report()
        numbers = ", ".join(f"{name} {value:.4f}" for name, value in shown.items())
        return f"loss {train['loss']:.4f}; validation: {numbers}"

    def _copy_of_candidate(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.candidate().items()}

    # State

    def _save(self) -> None:
        assert self.best_validation is not None
        parts = self.parts() | {"best": self.best, "optimiser": optimiser_tensors(self.optimiser)}
        metadata = {
            "step": self.step,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_validation": asdict(self.best_validation),  # type: ignore[call-overload]
            **self.counters(),
            **self.identity,
        }
        save_state(self.folder, parts, metadata)

    def _load(self) -> None:
        state = load_state(self.folder, self.identity)
        if state is None:
            return
        self.best_validation = self.restore(state)
        self.best = {name: value.to(self.device) for name, value in state.part("best").items()}
        restore_optimiser(self.optimiser, state.part("optimiser"))
        self.step, self.best_step = state.metadata["step"], state.metadata["best_step"]
        self.seconds = state.metadata["seconds"]


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Forward pass in bf16, or as it is for fp32."""
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
