"""Numbers for the 20 residues and their exchanges, in the order of `mutscan.residues.STANDARD`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

CODE: Final = np.full(256, -1, dtype=np.int64)
"""Place in `STANDARD` by character code; -1 for anything else."""
CODE[np.frombuffer(STANDARD.encode(), dtype=np.uint8)] = np.arange(len(STANDARD))


def codes_of(sequence: str) -> NDArray[np.int64]:
    """Place of each residue in `STANDARD`, -1 for anything else, shape (L,)."""
    return CODE[np.frombuffer(sequence.encode(), dtype=np.uint8)]


def entropy_of(log_p: NDArray[np.floating]) -> NDArray[np.float64]:
    """Entropy of each row of natural logarithms of probabilities (n, 20), nats, shape (n,)."""
    entropy: NDArray[np.float64] = -(np.exp(log_p) * log_p).sum(axis=1)
    return entropy


#                          A     C     D     E     F     G     H     I     K     L     M     N     P     Q
HYDROPHOBICITY: Final = np.array([
    1.8, 2.5, -3.5, -3.5, 2.8, -0.4, -3.2, 4.5, -3.9, 3.8, 1.9, -3.5, -1.6, -3.5, -4.5, -0.8, -0.7, 4.2,
    -0.9, -1.3,
])  # fmt: skip
"""Kyte and Doolittle, J. Mol. Biol. 157, 105 (1982)."""

VOLUME: Final = np.array([
    88.6, 108.5, 111.1, 138.4, 189.9, 60.1, 153.2, 166.7, 168.6, 166.7, 162.9, 114.1, 112.7, 143.8, 173.4,
    89.0, 116.1, 140.0, 227.8, 193.6,
])  # fmt: skip
"""Å³, Zamyatnin, Prog. Biophys. Mol. Biol. 24, 107 (1972)."""

CHARGE: Final = np.array([
    0.0, 0.0, -1.0, -1.0, 0.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0,
])  # fmt: skip
"""At pH 7, histidine a tenth."""

HELIX: Final = np.array([
    0.0, 0.68, 0.69, 0.40, 0.54, 1.0, 0.61, 0.41, 0.26, 0.21, 0.24, 0.65, 3.16, 0.39, 0.21, 0.50, 0.66,
    0.61, 0.49, 0.53,
])  # fmt: skip
"""Cost of a residue in a helix, kcal/mol; Pace and Scholtz, Biophys. J. 75, 422 (1998)."""

BLOSUM62: Final = np.array([
     4,  0, -2, -1, -2,  0, -2, -1, -1, -1, -1, -2, -1, -1, -1,  1,  0,  0, -3, -2,
     0,  9, -3, -4, -2, -3, -3, -1, -3, -1, -1, -3, -3, -3, -3, -1, -1, -1, -2, -2,
    -2, -3,  6,  2, -3, -1, -1, -3, -1, -4, -3,  1, -1,  0, -2,  0, -1, -3, -4, -3,
    -1, -4,  2,  5, -3, -2,  0, -3,  1, -3, -2,  0, -1,  2,  0,  0, -1, -2, -3, -2,
    -2, -2, -3, -3,  6, -3, -1,  0, -3,  0,  0, -3, -4, -3, -3, -2, -2, -1,  1,  3,
     0, -3, -1, -2, -3,  6, -2, -4, -2, -4, -3,  0, -2, -2, -2,  0, -2, -3, -2, -3,
    -2, -3, -1,  0, -1, -2,  8, -3, -1, -3, -2,  1, -2,  0,  0, -1, -2, -3, -2,  2,
    -1, -1, -3, -3,  0, -4, -3,  4, -3,  2,  1, -3, -3, -3, -3, -2, -1,  3, -3, -1,
    -1, -3, -1,  1, -3, -2, -1, -3,  5, -2, -1,  0, -1,  1,  2,  0, -1, -2, -3, -2,
    -1, -1, -4, -3,  0, -4, -3,  2, -2,  4,  2, -3, -3, -2, -2, -2, -1,  1, -2, -1,
    -1, -1, -3, -2,  0, -3, -2,  1, -1,  2,  5, -2, -2,  0, -1, -1, -1,  1, -1, -1,
    -2, -3,  1,  0, -3,  0,  1, -3,  0, -3, -2,  6, -2,  0,  0,  1,  0, -3, -4, -2,
    -1, -3, -1, -1, -4, -2, -2, -3, -1, -3, -2, -2,  7, -1, -2, -1, -1, -2, -4, -3,
    -1, -3,  0,  2, -3, -2,  0, -3,  1, -2,  0,  0, -1,  5,  1,  0, -1, -2, -2, -1,
    -1, -3, -2,  0, -3, -2,  0, -3,  2, -2, -1,  0, -2,  1,  5, -1, -1, -3, -3, -2,
     1, -1,  0,  0, -2,  0, -1, -2,  0, -2, -1,  1, -1,  0, -1,  4,  1, -2, -3, -2,
     0, -1, -1, -1, -2, -2, -2, -1, -1, -1, -1,  0, -1, -1, -1,  1,  5,  0, -2, -2,
     0, -1, -3, -2, -1, -3, -3,  3, -2,  1,  1, -3, -2, -2, -3, -2,  0,  4, -3, -1,
    -3, -2, -4, -3,  1, -2, -2, -3, -3, -2, -1, -4, -4, -2, -3, -3, -2, -3, 11,  2,
    -2, -2, -3, -2,  3, -3,  2, -1, -2, -1, -1, -2, -3, -1, -2, -2, -2, -1,  2,  7,
], dtype=np.float64).reshape(20, 20)  # fmt: skip
"""Half-bits; Henikoff and Henikoff, PNAS 89, 10915 (1992)."""

# Grantham, Science 185, 862 (1974), Table 1: composition and polarity of side chains. His distances
# come from these and the volumes there.
_COMPOSITION: Final = np.array([
    0, 2.75, 1.38, 0.92, 0, 0.74, 0.58, 0, 0.33, 0, 0, 1.33, 0.39, 0.89, 0.65, 1.42, 0.71, 0, 0.13, 0.20,
])  # fmt: skip
_POLARITY: Final = np.array([
    8.1, 5.5, 13.0, 12.3, 5.2, 9.0, 10.4, 5.2, 11.3, 4.9, 5.7, 11.6, 8.0, 10.5, 10.5, 9.2, 8.6, 5.9, 5.4, 6.2,
])  # fmt: skip
_SIDE_VOLUME: Final = np.array([
    31, 55, 54, 83, 132, 3, 96, 111, 119, 111, 105, 56, 32.5, 85, 124, 32, 61, 84, 170, 136,
])  # fmt: skip


def _grantham() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    squared = sum(
        weight * (values[:, None] - values[None, :]) ** 2
        for weight, values in ((1.833, _COMPOSITION), (0.1018, _POLARITY), (0.000399, _SIDE_VOLUME))
    )
    return 50.723 * np.sqrt(np.asarray(squared, dtype=np.float64))


GRANTHAM: Final = _grantham()
"""Chemical distance of two residues, 5 (Leu, Ile) to 215 (Cys, Trp)."""

_SWISS_PROT: Final = np.array([
    0.0825, 0.0138, 0.0546, 0.0672, 0.0386, 0.0707, 0.0227, 0.0591, 0.0580, 0.0965, 0.0241, 0.0406, 0.0474,
    0.0393, 0.0553, 0.0665, 0.0536, 0.0686, 0.0110, 0.0292,
])  # fmt: skip
BACKGROUND: Final = _SWISS_PROT / _SWISS_PROT.sum()
"""Shares of the residues in UniProtKB/Swiss-Prot (its release statistics), summing to 1."""
