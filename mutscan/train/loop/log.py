"""The log of a training: log.jsonl, and event files for TensorBoard."""

from __future__ import annotations

import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)

LOG_FILE: Final = "log.jsonl"
"""Name in the work folder; one line for each validation."""

_EVENTS: Final = "tensorboard"


class Speed:
    """Speed of the steps since the last report.

    Parameters
    ----------
    device : torch.device
    peak_tflops : float, optional
        Peak performance of all devices; the report then holds the share of it that the network used.
    """

    def __init__(self, device: torch.device, peak_tflops: float | None = None) -> None:
        self.device = device
        self.peak_tflops = peak_tflops
        self._restart()

    def _restart(self) -> None:
        self.began = time.perf_counter()
        self.steps = 0
        self.flops = 0.0
        self.counts: dict[str, int] = {}

    def count(self, *, flops: float, **counts: int) -> None:
        """Add one step: its floating-point operations, and how many things of each name it used."""
        self.steps += 1
        self.flops += flops
        for name, number in counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def report(self) -> dict[str, float]:
        """Report the speed since the last report, and start anew."""
        seconds = max(time.perf_counter() - self.began, 1e-9)
        report = {"seconds_per_step": round(seconds / max(1, self.steps), 4)}
        report |= {f"{name}_per_second": round(n / seconds, 1) for name, n in self.counts.items()}
        if self.peak_tflops is not None:
            report["flop_utilisation"] = round(self.flops / seconds / (self.peak_tflops * 1e12), 4)
        if self.device.type == "cuda":
            report["peak_memory_gb"] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 3)
            torch.cuda.reset_peak_memory_stats(self.device)
        self._restart()
        return report


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
        """Open the log at `step`, and remove the later lines of an interrupted run."""
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
        validation: Mapping[str, float],
        best_step: int,
        speed: Mapping[str, float],
    ) -> None:
        """Add a line."""
        line = {
            "step": step,
            "seconds": round(seconds, 1),
            "rate": rate,
            "train": {name: _number(value) for name, value in train.items()},
            "validation": {name: _number(value) for name, value in validation.items()},
            "best_step": best_step,
            "speed": dict(speed),
        }
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, allow_nan=False) + "\n")
        if self._writer is not None:
            groups = {"train": train, "validation": validation, "speed": speed, "": {"rate": rate}}
            for group, values in groups.items():
                for name, value in values.items():
                    self._writer.add_scalar(f"{group}/{name}".lstrip("/"), value, step)
            self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _number(value: float) -> float | None:
    return round(value, 5) if math.isfinite(value) else None


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # an incomplete line of an interrupted run


def _event_writer(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        _log.info(
            "TensorBoard is not installed, so no event files are written (pip install 'mutscan[train]'); "
            "log.jsonl holds the same numbers"
        )
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)
