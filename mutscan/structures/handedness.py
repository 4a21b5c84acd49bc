"""Whether coordinates are those of L-amino acids, or their mirror image.

The thresholds come from 788 chains of public benchmark sets: none of their 123,399 residues with a C-beta has
the hand of a D-amino acid, and the mean of sin of twice the C-alpha dihedral is +0.12 or more in each chain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.structures.segments import linked_residues, twist

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST: Final = 0.5
"""Share of D-amino acids above which a chain counts as a mirror image; natural peptides that alternate, as
gramicidin does, stay below."""

_MIRRORED_TRACE: Final = -0.1
"""Mean of sin of twice the C-alpha dihedral below which a trace is a mirror image."""

_LEAST_TWISTS: Final = 40
"""C-alpha dihedrals that decide on a trace; short stretches of proteins can turn either way."""


def inverted_residues(backbone: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Residues whose C-alpha atom has the hand of a D-amino acid, shape (L,).

    Parameters
    ----------
    backbone : float array, shape (L, 4, 3), Å
        N, CA, C and CB; NaN where there is none, and such a residue is not inverted.
    """
    n, ca, c, cb = np.moveaxis(backbone, 1, 0)
    volume = (np.cross(n - ca, c - ca) * (cb - ca)).sum(axis=1)  # positive for L
    return np.asarray(volume < 0)


def mirror_image(backbone: NDArray[np.float64]) -> str:
    """Say why a chain is a mirror image; empty where it is none, or where too little is there to tell.

    C-beta atoms decide. Without them the C-alpha trace does: its dihedrals are near 50° in right-handed
    helices and -170° in strands, so that sin of twice the dihedral is positive in both.

    Parameters
    ----------
    backbone : float array, shape (L, 4, 3), Å
        As `inverted_residues`; CA is everywhere.
    """
    known = int(np.isfinite(backbone).all(axis=(1, 2)).sum())
    if known >= 3:
        inverted = int(inverted_residues(backbone).sum())
        return f"{inverted} of its {known} C-beta atoms are those of D-amino acids" * (
            inverted > _MOST * known
        )
    ca = backbone[:, 1]
    angle = twist(ca, linked_residues(ca))
    angle = angle[np.isfinite(angle)]
    mirrored = len(angle) >= _LEAST_TWISTS and np.sin(np.radians(2 * angle)).mean() < _MIRRORED_TRACE
    return "its C-alpha trace turns left where proteins turn right" * bool(mirrored)
