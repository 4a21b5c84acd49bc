"""What relatives are worth: the model without any, with its library, and with a deep alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.train.evaluate.beside import compare

if TYPE_CHECKING:
    from mutscan.train.evaluate.scores import Scored
    from mutscan.train.labelled.tables import Kind

SOURCES: Final = {
    "none": "no relatives",
    "library": "the model's library",
    "deep": "the alignment and the library",
}
"""Sources of relatives and what they are."""


def sources_section(scored: Scored, kind: Kind, *, seed: int = 0) -> dict[str, Any]:
    """Part ``variants`` or ``dms`` of the section ``sources`` of metrics.json.

    All sources are measured on the same variants: those of proteins that have an alignment and, where the
    model has a library, relatives in it. Differences are ``deep`` minus the source. Empty where there are
    no such proteins.

    Parameters
    ----------
    scored : Scored
    kind : {"variants", "dms"}
    seed : int
    """
    found = {name: scored.evidence.sources[name] for name in SOURCES if name in scored.evidence.sources}
    known = [np.isfinite(p) for p in found.values()]
    if not known or not np.logical_and.reduce(known).any():
        return {}
    rows = np.flatnonzero(np.logical_and.reduce(known))
    return {
        "n": len(rows),
        "n_proteins": len(np.unique(scored.table.protein[rows])),
        "rows": {name: compare(scored, kind, p, rows, seed=seed) for name, p in found.items()},
    }
