"""The 20 standard residues, their names, and other letters of sequences."""

from __future__ import annotations

from typing import Final

STANDARD: Final = "ACDEFGHIKLMNPQRSTVWY"
"""One-letter codes of the 20 standard residues, alphabetical."""

THREE_LETTER: Final[dict[str, str]] = {
    "A": "ALA", "C": "CYS", "D": "ASP", "E": "GLU", "F": "PHE",
    "G": "GLY", "H": "HIS", "I": "ILE", "K": "LYS", "L": "LEU",
    "M": "MET", "N": "ASN", "P": "PRO", "Q": "GLN", "R": "ARG",
    "S": "SER", "T": "THR", "V": "VAL", "W": "TRP", "Y": "TYR",
}  # fmt: skip
"""One-letter to upper-case three-letter code (``"R"`` -> ``"ARG"``)."""

ONE_LETTER: Final[dict[str, str]] = {three: one for one, three in THREE_LETTER.items()}
"""Upper-case three-letter to one-letter code (``"ARG"`` -> ``"R"``)."""

UNKNOWN: Final = "X"
"""Any residue that is not one of the 20."""

AMBIGUOUS: Final = frozenset("UZOBJX")
"""Letters in sequence databases that are not standard residues."""


def is_standard(residue: str) -> bool:
    """Whether a one-letter code is one of the 20 standard residues."""
    return len(residue) == 1 and residue in THREE_LETTER
