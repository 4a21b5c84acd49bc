"""`Substitution`, `InFrameIndel` and `Variant`: what changes in the protein.

Positions are 1-based on the wild-type sequence, always.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True, slots=True)
class Substitution:
    """One residue exchanged: ``R175H`` in text, ``p.Arg175His`` in HGVS."""

    position: int
    wild_type: str
    mutant: str

    def __str__(self) -> str:
        return f"{self.wild_type}{self.position}{self.mutant}"


@dataclass(frozen=True, order=True, slots=True)
class InFrameIndel:
    """Residues `start`..`end` (1-based, inclusive) replaced by `inserted`.

    A pure insertion has ``end == start - 1``: it goes in before `start`.
    """

    start: int
    end: int
    deleted: str
    inserted: str


@dataclass(frozen=True, slots=True)
class Variant:
    """One mutant: one or more substitutions, sorted by position, or one in-frame indel."""

    substitutions: tuple[Substitution, ...] = ()
    indel: InFrameIndel | None = None
