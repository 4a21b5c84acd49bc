"""What a training says while it runs: log.jsonl, TensorBoard's event files, a line for the progress bar."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mutscan.train.model.validation import Validation

_log = logging.getLogger(__name__)

LOG_FILE: Final = "log.jsonl"
"""Its name in the work folder: one line for each validation."""

_EVENTS: Final = "tensorboard"


class Speed:
    """Steps, pairs and residues since it was last asked.

    Parameters
    ----------
    device : torch.device
    peak_tflops : float, optional
        What the device can do at best; the share of it that the model's own arithmetic uses is then told.
    """

    def __init__(self, device: torch.device, peak_tflops: float | None = None) -> None:
        self.device = device
        self.peak_tflops = peak_tflops
        self._restart()

    def _restart(self) -> None:
        self.began = time.perf_counter()
        self.steps = self.pairs = self.memory_pairs = self.residues = 0
        self.flops = 0.0

    def count(self, *, pairs: int, memory_pairs: int, residues: int, flops: float) -> None:
        """Add one step."""
        self.steps += 1
        self.pairs += pairs
        self.memory_pairs += memory_pairs
        self.residues += residues
        self.flops += flops

    def report(self) -> dict[str, float]:
        """Tell the speed of the steps since the last report, and begin anew."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        told = {
            "seconds_per_step": round(seconds / max(1, self.steps), 4),
            "pairs_per_second": round(self.pairs / seconds, 1),
            "memory_pairs_per_second": round(self.memory_pairs / seconds, 1),
            "residues_per_second": round(self.residues / seconds, 1),
        }
        if self.peak_tflops is not None:
            told["flop_utilisation"] = round(self.flops / seconds / (self.peak_tflops * 1e12), 4)
        if self.device.type == "cuda":
            told["peak_memory_gb"] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 3)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._restart()
        return told


class TrainingLog:
    """One line for each validation, in log.jsonl and for TensorBoard where that is installed.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_FILE
        self._events = folder / _EVENTS
        self._writer: Any = None

    def resume(self, step: int) -> None:
        """Begin, or go on behind `step`: later lines belong to a killed run and are removed."""
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        kept = [line for line in lines if _step_of(line) <= step]
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        self._writer = _event_writer(self._events, step)

    def write(
        self,
        step: int,
        seconds: float,
        rate: float,
        train: Mapping[str, float],
        validation: Validation,
        best_step: int,
        speed: Mapping[str, float],
    ) -> None:
        """Add a line."""
        line = {
            "step": step,
            "seconds": round(seconds, 1),
            "rate": rate,
            "train": {name: _number(value) for name, value in train.items()},
            "validation": {name: _number(value) for name, value in asdict(validation).items()},
            "best_step": best_step,
            "speed": dict(speed),
        }
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, allow_nan=False) + "\n")
        if self._writer is not None:
            groups = {"train": train, "validation": asdict(validation), "speed": speed, "": {"rate": rate}}
            for group, values in groups.items():
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}".lstrip("/"), value, step)
            self._writer.flush()

    def close(self) -> None:
        """Finish the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def told(train: Mapping[str, float], validation: Validation | None) -> str:
    """Losses in a few words, for a progress bar."""
    words = f"loss {train['loss']:.4f}"
    if validation is None:
        return words
    return f"{words}, validation TM {validation.tm_mae:.4f}, lDDT {validation.lddt_mae:.4f}"


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # half a line of a killed run


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.info(
            "TensorBoard is not installed: no event files (pip install 'mutscan[train]'); see log.jsonl"
        )
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
