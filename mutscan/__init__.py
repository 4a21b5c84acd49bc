"""mutscan: which variants disturb a protein's structure, and where.

>>> import mutscan
>>> run = mutscan.score("P04637", ["R175H", "R248Q"], out="tp53")  # doctest: +SKIP
>>> run.variants  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mutscan.version import __version__

if TYPE_CHECKING:
    from mutscan import scores
    from mutscan.errors import MutscanError
    from mutscan.pipeline import (
        BatchRun,
        Comparison,
        Run,
        batch,
        check,
        compare,
        merge,
        open_run,
        report,
        scan,
        score,
    )
    from mutscan.reports.citing import cite

__all__ = [
    "BatchRun",
    "Comparison",
    "MutscanError",
    "Run",
    "__version__",
    "batch",
    "check",
    "cite",
    "compare",
    "merge",
    "open_run",
    "report",
    "scan",
    "score",
    "scores",
]

# Loaded on first use: `import mutscan` must not wait for torch or openmm.
_HOMES = {
    "BatchRun": "mutscan.pipeline",
    "batch": "mutscan.pipeline",
    "Comparison": "mutscan.pipeline",
    "MutscanError": "mutscan.errors",
    "Run": "mutscan.pipeline",
    "check": "mutscan.pipeline",
    "cite": "mutscan.reports.citing",
    "compare": "mutscan.pipeline",
    "merge": "mutscan.pipeline",
    "report": "mutscan.pipeline",
    "open_run": "mutscan.pipeline",
    "scan": "mutscan.pipeline",
    "score": "mutscan.pipeline",
}


def __getattr__(name: str) -> Any:
    if name == "scores":
        return importlib.import_module("mutscan.scores")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'mutscan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
