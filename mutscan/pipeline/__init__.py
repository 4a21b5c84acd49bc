"""The workflows: one wild type and many variants end to end, and two proteins side by side."""

from mutscan.pipeline.comparison import Comparison, compare
from mutscan.pipeline.plan import Plan, PlannedRow, check
from mutscan.pipeline.run import Run, open_run
from mutscan.pipeline.scanning import scan
from mutscan.pipeline.scoring import score
from mutscan.progress import Progress, Silent

__all__ = [
    "Comparison",
    "Plan",
    "PlannedRow",
    "Progress",
    "Run",
    "Silent",
    "check",
    "compare",
    "open_run",
    "scan",
    "score",
]
