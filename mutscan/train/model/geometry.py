"""Local geometry of a C-alpha trace: targets of an auxiliary loss on the residue vectors.

TM-score and lDDT label pairs; every residue of every chain also has its own
backbone course and burial. Predicting these from the residue vectors (by a linear
layer that is discarded after training) is dense supervision at almost no cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_TARGETS: Final = 5
"""Targets for each residue; see `local_geometry`."""

_BREAK: Final = 4.5  # Å between neighbours in sequence: beyond, residues are missing between them


def local_geometry(ca: NDArray[np.float32]) -> NDArray[np.float32]:
    """Backbone course and burial of each residue, about zero mean and unit spread.

    Parameters
    ----------
    ca : float32 array, shape (L, 3), Å

    Returns
    -------
    float32 array, shape (L, 5)
        Cosine and sine of the C-alpha torsion i-1, i, i+1, i+2; distance i-1 to i+1 and i-1 to i+2;
        number of C-alphas within 10 Å at least three residues away. NaN where a chain end or break
        leaves a value undefined.
    """
    n = len(ca)
    targets = np.full((n, N_TARGETS), np.nan, dtype=np.float32)
    neighbours = np.asarray(cKDTree(ca).query_ball_point(ca, 10.0, return_length=True))
    near = np.arange(n)[:, None] + np.array([-2, -1, 0, 1, 2])
    inside = (near >= 0) & (near < n)
    close = np.linalg.norm(ca[near.clip(0, n - 1)] - ca[:, None], axis=-1) <= 10.0
    targets[:, 4] = (neighbours - (inside & close).sum(axis=1) - 14.0) / 7.0
    if n < 4:
        return targets
    bonds = np.diff(ca.astype(np.float64), axis=0)  # (n - 1, 3)
    whole = np.linalg.norm(bonds, axis=1) <= _BREAK
    angle_ok = whole[:-1] & whole[1:]  # residues i-1, i, i+1
    targets[1:-1, 2] = np.where(angle_ok, (np.linalg.norm(ca[2:] - ca[:-2], axis=1) - 6.0) / 0.7, np.nan)

    torsion_ok = angle_ok[:-1] & whole[2:]  # residues i-1 ... i+2
    normal_1 = np.cross(bonds[:-2], bonds[1:-1])
    normal_2 = np.cross(bonds[1:-1], bonds[2:])
    axis = bonds[1:-1] / np.linalg.norm(bonds[1:-1], axis=1, keepdims=True)
    angle = np.arctan2(
        np.einsum("ij,ij->i", np.cross(normal_1, normal_2), axis), np.einsum("ij,ij->i", normal_1, normal_2)
    )
    reach = (np.linalg.norm(ca[3:] - ca[:-3], axis=1) - 7.8) / 2.4
    for column, values in ((0, np.cos(angle)), (1, np.sin(angle)), (3, reach)):
        targets[1:-2, column] = np.where(torsion_ok, values, np.nan)
    return targets
