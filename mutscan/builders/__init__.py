"""Builders of mutant structures: one protocol, several backends.

`Structure` + exchanged residues -> `BuiltMutant`. A backend imports its heavy
library only when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mutscan.structures import Structure


BUILDERS: Final = ("auto", "modeller", "openmm", "template")
"""Backends that ``--builder`` names; it also takes `NO_BUILDER`, or a folder of mutant structures."""

NO_BUILDER: Final = "none"


class Exchange(NamedTuple):
    """Residue `index` (0-based, of the structure) becomes `residue` (one letter)."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks an exchange for
    residue: str


@dataclass(frozen=True, eq=False)
class BuiltMutant:
    """A mutant structure and how it was made.

    Parameters
    ----------
    structure : Structure
        Same residues, in the same order and numbering, as the wild-type structure.
        Its difference to the wild type is the response to the exchange alone: the
        backend has already taken off what its wild-type control moved.
    seconds, control_seconds : float
        Time spent on the mutant, and on the control (0 when it came from the cache).
    energy : float, optional
        Mutant minus control, kJ/mol, the backend's own scale; no ddG.
    notes : tuple of str
        Plain words for the ``notes`` column.
    low_confidence : bool
        The build is known to be unreliable here (chain end, clash, ...); `notes` says why.
    """

    structure: Structure
    seconds: float
    control_seconds: float = 0.0
    energy: float | None = None
    notes: tuple[str, ...] = ()
    low_confidence: bool = False


class Prepared(Protocol):
    """A wild type prepared by a backend: made once, picklable, sent to worker processes."""

    def build(self, exchanges: Sequence[Exchange]) -> BuiltMutant:
        """Build one mutant; raises `mutscan.errors.BuildError` with the reason when it cannot."""
        ...


@runtime_checkable
class MutantBuilder(Protocol):
    """A backend."""

    name: str

    def settings(self) -> Mapping[str, object]:
        """All settings that change its output, as JSON: for run.json and the key of stored results."""
        ...

    def prepare(self, wild_type: Structure, scratch: Path) -> Prepared:
        """Check and prepare the wild type.

        `scratch` is a private folder for caches (wild-type controls by site, job folders);
        writes there must be atomic, as workers share it.
        """
        ...


__all__ = ["BUILDERS", "NO_BUILDER", "BuiltMutant", "Exchange", "MutantBuilder", "Prepared"]
