"""Per-residue lDDT of C-alpha atoms, plain and distance-weighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mutscan.scores.coordinates import BLOCK, checked_coordinates, has_coordinates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

RADIUS = 15.0
"""Å; reference distances up to this length are tested by lDDT."""

THRESHOLDS = (0.5, 1.0, 2.0, 4.0)
"""Å; the four tolerances of lDDT."""

EXPONENT = 3.0
"""Distance exponent of the custom lDDT; 0 is the plain one."""

_ROWS = 64  # residues looked up at a time: enough for the product, few enough for the cache
_SOFT = 1e-6  # Å, keeps the weight finite at tiny distances


class Neighbourhood:
    """The reference side of lDDT, computed once for many models.

    Parameters
    ----------
    reference : float array, shape (L, 3), Å
        C-alpha coordinates; a residue with a coordinate that is not finite has no score and is no neighbour.
    radius : float, Å
    min_separation : int
        Residues fewer than this many places apart in the array are no neighbours.
    """

    def __init__(self, reference: ArrayLike, *, radius: float = RADIUS, min_separation: int = 1) -> None:
        if not radius > 0:
            raise ValueError(f"radius must be positive, not {radius}")
        if min_separation < 1:
            raise ValueError(f"min_separation must be at least 1, not {min_separation}")
        coord = checked_coordinates(reference, "reference")
        self.length = len(coord)
        self.first, self.second, self.distance = _close_pairs(coord, radius, min_separation)

    def score(
        self,
        model: ArrayLike,
        *,
        exponent: float = EXPONENT,
        thresholds: Sequence[float] = THRESHOLDS,
        missing: str = "ignore",
    ) -> NDArray[np.float64]:
        """LDDT of one model, shape (L,); see `lddt`."""
        every = self.scores(model, exponents=(exponent,), thresholds=thresholds, missing=missing)
        return every.reshape(self.length)

    def scores(
        self,
        model: ArrayLike,
        *,
        exponents: Sequence[float],
        thresholds: Sequence[float] = THRESHOLDS,
        missing: str = "ignore",
    ) -> NDArray[np.float64]:
        """LDDT of one model with several exponents, shape (len(exponents), L), for little more than one."""
        coord = checked_coordinates(model, "model")
        if len(coord) != self.length:
            raise ValueError(f"the reference has {self.length} residues, the model {len(coord)}")
        if not len(thresholds) or min(thresholds) < 0:
            raise ValueError(f"thresholds must be one or more distances, not {tuple(thresholds)}")
        if missing not in ("ignore", "lost"):
            raise ValueError(f"missing must be 'ignore' or 'lost', not {missing!r}")
        first, second, distance = self.first, self.second, self.distance
        present = has_coordinates(coord)
        if not present.all():
            both = present[first] & present[second]
            if missing == "ignore":
                first, second, distance = first[both], second[both], distance[both]
        off = np.abs(distance - _pair_distances(coord, first, second))
        # Counting thresholds passed, then one division, keeps a fully kept distance at exactly 1.
        passed = np.zeros(len(off), dtype=np.int16)
        for threshold in thresholds:
            passed += off <= threshold  # a NaN distance passes none
        kept = passed / len(thresholds)
        result = np.empty((len(exponents), self.length))
        for row, exponent in zip(result, exponents, strict=True):
            weight = _weights(distance, exponent)
            won = weight * kept
            total = _sum_over_pairs(first, second, weight, self.length)
            gained = _sum_over_pairs(first, second, won, self.length)
            row[:] = np.divide(gained, total, out=np.full(self.length, np.nan), where=total > 0)
        return result


def lddt(
    reference: ArrayLike,
    model: ArrayLike,
    *,
    exponent: float = EXPONENT,
    radius: float = RADIUS,
    thresholds: Sequence[float] = THRESHOLDS,
    min_separation: int = 1,
    missing: str = "ignore",
) -> NDArray[np.float64]:
    r"""Local distance difference test, one value per residue.

    No superposition is involved: each C-alpha distance of the reference up to `radius` is looked up in
    the model and counted as kept at four tolerances [1]_. Neighbours weigh by their distance in the
    reference, :math:`w_{ij} \propto (d_{ij} + 10^{-6})^{-p}`; exponent 0 is plain lDDT.

    Parameters
    ----------
    reference, model : float array, shape (L, 3), Å
        C-alpha coordinates of wild type and mutant, same residues, same order. The two are not
        exchangeable: neighbours and weights come from the reference.
    exponent : float
        p; 3 by default, 0 gives every neighbour the same weight.
    radius : float, Å
        Reference distances up to this length, inclusive, are tested. Distances of exactly 0 are not.
    thresholds : sequence of float, Å
        A distance is kept at a threshold when it differs from the reference by no more than that.
    min_separation : int
        Neighbours are at least this many places apart in the array.
    missing : {"ignore", "lost"}
        What a residue with NaN coordinates in the model is to its neighbours: no neighbour, or one whose
        distances count as lost. The latter penalises models that leave residues out.

    Returns
    -------
    float array, shape (L,)
        0 (all lost) to 1 (all kept); NaN for a residue without neighbours or (with ``"ignore"``) without
        coordinates in either structure. Not to be confused with pLDDT, a 0-100 confidence.

    References
    ----------
    .. [1] Mariani et al., Bioinformatics 29, 2722 (2013).

    Examples
    --------
    >>> import numpy as np
    >>> ca = np.array([[0.0, 0.0, 0.0], [3.8, 0.0, 0.0], [7.6, 0.0, 0.0]])
    >>> lddt(ca, ca + 10.0)
    array([1., 1., 1.])
    """
    neighbourhood = Neighbourhood(reference, radius=radius, min_separation=min_separation)
    return neighbourhood.score(model, exponent=exponent, thresholds=thresholds, missing=missing)


def _close_pairs(
    coord: NDArray[np.float64], radius: float, min_separation: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All i < j with 0 < distance <= radius, and that distance; block by block, in order of i, then j."""
    n = len(coord)
    firsts, seconds = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    there = has_coordinates(coord)
    centred = coord - coord[there].mean(axis=0) if there.any() else coord
    norm = (centred * centred).sum(axis=1)
    # |a - b|² = a·(-2 b) + |a|² + |b|² in one product. Its rounding is less than the slack, and the exact
    # test is made below on the few pairs that are left.
    left = np.concatenate([centred, norm[:, None], np.ones((n, 1))], axis=1)
    right = np.concatenate([-2.0 * centred, np.ones((n, 1)), norm[:, None]], axis=1).T
    limit = radius * radius * (1.0 + 1e-9) + 1e-12 * float(norm[there].max(initial=0.0)) + 1e-9
    rows = max(1, min(_ROWS, BLOCK // max(n, 1)))
    for start in range(0, n - min_separation, rows):
        stop = min(start + rows, n - min_separation)
        later = start + min_separation
        i, j = np.nonzero(left[start:stop] @ right[:, later:] <= limit)  # NaN is close to nothing
        upper = j >= i
        firsts.append(i[upper] + start)
        seconds.append(j[upper] + later)
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    distance = _pair_distances(coord, first, second)
    near = (distance > 0) & (distance <= radius)
    return first[near], second[near], distance[near]


def _pair_distances(
    coord: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    # take: several times faster than indexing with an array.
    delta = coord.take(first, axis=0)
    delta -= coord.take(second, axis=0)
    delta *= delta
    distance: NDArray[np.float64] = np.sqrt(delta[:, 0] + delta[:, 1] + delta[:, 2])
    return distance


def _weights(distance: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    if exponent == 0:
        return np.ones_like(distance)
    soft = distance + _SOFT
    if exponent == 3:
        # Three products are five times faster than the general power.
        cube: NDArray[np.float64] = 1.0 / (soft * soft * soft)
        return cube
    power: NDArray[np.float64] = soft**-exponent
    return power


def _sum_over_pairs(
    first: NDArray[np.int64], second: NDArray[np.int64], value: NDArray[np.float64], length: int
) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.bincount(first, value, minlength=length).astype(np.float64)
    total += np.bincount(second, value, minlength=length)
    return total
