"""The workflows: one wild type and many variants end to end, and two proteins side by side."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mutscan.progress import Progress, Silent

if TYPE_CHECKING:
    from mutscan.pipeline.batching import BatchRun, batch
    from mutscan.pipeline.comparison import Comparison, compare
    from mutscan.pipeline.parts import merge
    from mutscan.pipeline.plan import Plan, PlannedRow, check
    from mutscan.pipeline.reporting import report
    from mutscan.pipeline.run import Run, open_run
    from mutscan.pipeline.scanning import scan
    from mutscan.pipeline.scoring import score

__all__ = [
    "BatchRun",
    "Comparison",
    "Plan",
    "PlannedRow",
    "Progress",
    "Run",
    "Silent",
    "batch",
    "check",
    "compare",
    "merge",
    "open_run",
    "report",
    "scan",
    "score",
]

# Loaded on first use: the command line reads the defaults of `options`, and must not wait for torch.
_HOMES = {
    "BatchRun": "batching",
    "batch": "batching",
    "Comparison": "comparison",
    "Plan": "plan",
    "PlannedRow": "plan",
    "Run": "run",
    "check": "plan",
    "compare": "comparison",
    "merge": "parts",
    "report": "reporting",
    "open_run": "run",
    "scan": "scanning",
    "score": "scoring",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"mutscan.pipeline.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mutscan.pipeline' has no attribute {name!r}")
