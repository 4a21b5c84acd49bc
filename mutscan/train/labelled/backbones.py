"""Backbone atoms of chains that are known by their C-alpha atoms only, learned from complete chains.

Where the peptide between two residues lies follows from the four C-alpha atoms around it (Purisima and
Scheraga, Biopolymers 23, 1207 (1984)): its C, O and N are a smooth function of two distances and a torsion,
fitted by least squares. Atoms are within about 0.2 Å (C, N) and 0.6 Å (O) of those of complete chains. It
serves training alone: `mutscan score` reads no probability from rebuilt atoms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.linalg import solve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_STEP: Final = 3.8  # Å between the C-alpha atoms of a trans peptide
_TOLERANCE: Final = 0.3
_WAVES: Final = 4  # multiples of the torsion
_N, _CA, _C, _O = range(4)


class BackboneRebuilder:
    """Places N, C and O by C-alpha atoms.

    Parameters
    ----------
    backbones : iterable of float array, shape (L, 4, 3), Å
        N, CA, C and O of complete chains to learn from, NaN where unknown.
    """

    def __init__(self, backbones: Iterable[NDArray[np.floating]]) -> None:
        features, places = [], []
        for backbone in backbones:
            axes, columns = _peptides(backbone[:, _CA])
            atoms = np.stack([backbone[:-1, _C], backbone[:-1, _O], backbone[1:, _N]], axis=1)
            local = (atoms - backbone[:-1, None, _CA]) @ axes.swapaxes(1, 2)  # (L - 1, 3, 3)
            known = np.isfinite(local).all(axis=(1, 2)) & np.isfinite(columns).all(axis=1)
            features.append(columns[known])
            places.append(local[known].reshape(-1, 9))
        x, y = np.concatenate(features), np.concatenate(places)
        self._map: NDArray[np.float64] = solve(x.T @ x + np.eye(x.shape[1]), x.T @ y, assume_a="pos")

    @property
    def identity(self) -> bytes:
        """What rebuilt atoms depend on, to the digits that do not depend on the machine."""
        return self._map.round(6).tobytes()

    def __call__(self, ca: NDArray[np.floating]) -> NDArray[np.float64]:
        """N, CA, C and O, shape (L, 4, 3); NaN where the chain ends, breaks or has a cis peptide.

        Parameters
        ----------
        ca : float array, shape (L, 3), Å
            NaN where unresolved.
        """
        axes, columns = _peptides(ca)
        local = (columns @ self._map).reshape(-1, 3, 3)
        atoms = ca[:-1, None] + local @ axes
        backbone = np.full((len(ca), 4, 3), np.nan)
        backbone[:, _CA] = ca
        backbone[:-1, _C], backbone[:-1, _O], backbone[1:, _N] = atoms.swapaxes(0, 1)
        return backbone


def _peptides(ca: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Axes (L - 1, 3, 3) of each peptide and features (L - 1, k) of the C-alphas around; NaN at ends."""
    around = np.full((len(ca) + 2, 3), np.nan)
    around[1:-1] = ca
    before, first, second, after = (around[k : k + len(ca) - 1] for k in range(4))
    step = second - first
    x = step / np.linalg.norm(step, axis=1, keepdims=True)
    left, right = _perpendicular(before - first, x), _perpendicular(after - second, x)
    z = np.cross(x, left)
    torsion = np.arctan2((right * z).sum(axis=1), (right * left).sum(axis=1))
    p, q = (np.linalg.norm(far, axis=1) - 6.0 for far in (second - before, after - first))
    waves = [np.ones(len(p))]
    waves += [wave(k * torsion) for k in range(1, _WAVES + 1) for wave in (np.cos, np.sin)]
    bends = [p**i * q**j for i in range(4) for j in range(4 - i)]
    columns = (np.stack(waves, axis=1)[:, :, None] * np.stack(bends, axis=1)[:, None]).reshape(len(p), -1)
    steps = np.linalg.norm(np.diff(around, axis=0), axis=1)
    whole = np.abs(steps - _STEP) <= _TOLERANCE  # not where a C-alpha is missing, either
    columns[~(whole[:-2] & whole[1:-1] & whole[2:])] = np.nan
    return np.stack([x, left, z], axis=1), columns


def _perpendicular(vectors: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    across = vectors - (vectors * x).sum(axis=1, keepdims=True) * x
    with np.errstate(invalid="ignore", divide="ignore"):
        unit: NDArray[np.float64] = across / np.linalg.norm(across, axis=1, keepdims=True)
    return unit
