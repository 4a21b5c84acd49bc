"""How a run is done: the options that `score` and `scan` share, with their defaults."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mutscan.alignments.source import AUTO
from mutscan.errors import UsageError
from mutscan.evidence.calibration import PRIORS
from mutscan.model.names import DEFAULT_MODEL
from mutscan.progress import Progress, Silent

if TYPE_CHECKING:
    import os

INVERSE_FOLDING: Final = ("auto", "off")
"""``auto``: where the extra mutscan[mpnn] is installed and the wild type has a structure."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one run; `mutscan.score` explains each.

    Raises
    ------
    UsageError
        `seed`, `jobs`, `prior` or `inverse_folding` is out of range.
    """

    out: str | os.PathLike[str] | None = None
    model: str = DEFAULT_MODEL
    builder: str = "auto"
    structure: str | os.PathLike[str] | None = None
    chain: str | None = None
    alignment: str | os.PathLike[str] = AUTO
    device: str = "auto"
    precision: str = "auto"
    batch_residues: int | None = None
    jobs: int | None = None
    offline: bool = False
    restart: bool = False
    prior: str = "clinical"
    inverse_folding: str = "auto"
    seed: int = 0
    progress: Progress = field(default_factory=Silent)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: expected 0 or more")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: expected 1 or more")
        if self.prior not in PRIORS:
            raise UsageError(f"--prior {self.prior}: expected {' or '.join(PRIORS)}")
        if self.inverse_folding not in INVERSE_FOLDING:
            expected = " or ".join(INVERSE_FOLDING)
            raise UsageError(f"--inverse-folding {self.inverse_folding}: expected {expected}")


DEFAULTS = Options()
"""Where the defaults are written, for functions and for the command line."""
