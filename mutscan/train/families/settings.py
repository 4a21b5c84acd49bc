"""Settings of a library of protein families; light, because the command line reads its defaults."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FamilySettings:
    """Settings that decide a library.

    Parameters
    ----------
    identity : float
        Least sequence identity of a member with its family's representative.
    coverage : float
        Share of both sequences that their alignment covers at least.
    sensitivity : float
        MMseqs2's ``-s``.
    fewest : int
        Smallest family that is kept, counting its representative.
    most : int
        Most members whose residues are counted.
    codebook : int
        Entries of the codebook of columns, at most 65,535.
    seed : int
        Random seed of the codebook.
    """

    identity: float = 0.3
    coverage: float = 0.6
    sensitivity: float = 4.0
    fewest: int = 3
    most: int = 400
    codebook: int = 8192
    seed: int = 0
