"""Vector geometry of molecules, Å and degrees: dihedrals, and an atom from a length and two angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale vectors, shape (..., 3), to length 1."""
    return np.asarray(vector / np.linalg.norm(vector, axis=-1, keepdims=True))


def angle(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> NDArray[np.float64]:
    """Angle at `b`, degrees, 0 to 180; arrays of shape (..., 3)."""
    b = np.asarray(b, float)
    u, v = unit(np.asarray(a, float) - b), unit(np.asarray(c, float) - b)
    return np.asarray(np.degrees(np.arccos(np.clip((u * v).sum(-1), -1.0, 1.0))))


def dihedral(a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> NDArray[np.float64]:
    """Dihedral a-b-c-d, degrees, -180 to 180, IUPAC sign; arrays of shape (..., 3)."""
    b, c = np.asarray(b, float), np.asarray(c, float)
    axis = unit(c - b)
    v = np.asarray(a, float) - b
    w = np.asarray(d, float) - c
    v = v - (v * axis).sum(-1, keepdims=True) * axis
    w = w - (w * axis).sum(-1, keepdims=True) * axis
    return np.asarray(np.degrees(np.arctan2((np.cross(axis, v) * w).sum(-1), (v * w).sum(-1))))


def wrap(degrees: ArrayLike) -> NDArray[np.float64]:
    """Bring angles into -180 (included) to 180 (excluded)."""
    return np.asarray((np.asarray(degrees, float) + 180.0) % 360.0 - 180.0)


def extend(
    first: ArrayLike,
    second: ArrayLike,
    third: ArrayLike,
    length: float,
    bond_angle: float,
    torsion: ArrayLike,
) -> NDArray[np.float64]:
    """Place the atom bonded to `third` at `length` Å, `bond_angle` to `second` and dihedral `torsion`.

    Parameters
    ----------
    first, second, third : float array, shape (..., 3), Å
    length, bond_angle : float
        Å and degrees.
    torsion : float array, shape (...)
        Degrees; broadcast against the positions.

    Returns
    -------
    float array, shape (..., 3), Å
    """
    second, third = np.asarray(second, float), np.asarray(third, float)
    axis = unit(third - second)
    normal = unit(np.cross(second - np.asarray(first, float), axis))
    binormal = np.cross(normal, axis)
    theta, phi = np.radians(bond_angle), np.radians(np.asarray(torsion, float))[..., None]
    along = -np.cos(theta) * axis
    across = np.sin(theta) * (np.cos(phi) * binormal + np.sin(phi) * normal)
    return np.asarray(third + length * (along + across))


def superposition(
    mobile: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least-squares rotation R and translation t with ``mobile @ R + t`` close to `target`; shapes (n, 3)."""
    centre, goal = mobile.mean(axis=0), target.mean(axis=0)
    U, _, Vt = np.linalg.svd((mobile - centre).T @ (target - goal))
    hand = np.diag([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    rotation = U @ hand @ Vt
    return rotation, goal - centre @ rotation
