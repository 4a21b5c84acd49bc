"""Superposition and the TM-score of a known correspondence."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mutscan.errors import StructureError
from mutscan.scores.coordinates import BLOCK, checked_coordinates, has_coordinates

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def superpose(
    mobile: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the rotation and translation that bring `mobile` closest to `target` (least squares) [1]_.

    Parameters
    ----------
    mobile, target : float array, shape (n, 3), Å
        Finite coordinates, the same points in the same order.
    weights : float array, shape (n,), optional
        How much each point counts; all alike by default.

    Returns
    -------
    rotation : float array, shape (3, 3)
        Proper, never a reflection.
    translation : float array, shape (3,), Å
        ``mobile @ rotation.T + translation`` lies on `target`.

    References
    ----------
    .. [1] Kabsch, Acta Cryst. A32, 922 (1976).
    """
    moving, fixed = checked_coordinates(mobile, "mobile"), checked_coordinates(target, "target")
    if moving.shape != fixed.shape or not len(moving):
        raise ValueError(f"mobile and target need the same shape (n, 3), not {moving.shape}, {fixed.shape}")
    if not (np.isfinite(moving).all() and np.isfinite(fixed).all()):
        raise ValueError("superpose needs finite coordinates")
    weight = np.ones(len(moving)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = weight.sum()
    # einsum, not a matrix product: its sums do not depend on the number of BLAS threads.
    moving_centre = np.einsum("n,ni->i", weight, moving) / total
    fixed_centre = np.einsum("n,ni->i", weight, fixed) / total
    covariance = np.einsum("n,ni,nj->ij", weight, moving - moving_centre, fixed - fixed_centre)
    rotation = _rotations(covariance[None])[0]
    return rotation, fixed_centre - np.einsum("ij,j->i", rotation, moving_centre)


def _rotations(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Proper rotations (k, 3, 3) that maximise trace(R C) for covariances (k, 3, 3), mobile by target."""
    u, _, vt = np.linalg.svd(covariance)
    # Of the two ways to make it proper, turn round the axis of least spread.
    u[:, :, 2] *= np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)[:, None]
    rotations: NDArray[np.float64] = np.swapaxes(u @ vt, 1, 2)
    return rotations


@dataclass(frozen=True, eq=False)
class TMScore:
    """TM-score of a known correspondence.

    Parameters
    ----------
    tm_score : float
        0-1, normalised by the length of the reference (the wild type).
    tm_score_model : float
        The same normalised by the length of the model.
    rmsd : float, Å
        After the least-squares superposition of all pairs, which is not the one of the TM-score.
    rotation : float array, shape (3, 3)
    translation : float array, shape (3,), Å
        ``model @ rotation.T + translation`` is the superposition of `tm_score`.
    """

    tm_score: float
    tm_score_model: float
    rmsd: float
    rotation: NDArray[np.float64] = field(repr=False)
    translation: NDArray[np.float64] = field(repr=False)


def tm_d0(length: int) -> float:
    """Distance scale of the TM-score, Å: 1.24 (L - 15)^(1/3) - 1.8, and 0.5 up to 21 residues."""
    return max(0.5, 1.24 * float(np.cbrt(length - 15)) - 1.8) if length > 21 else 0.5


def tm_score(
    reference: ArrayLike,
    model: ArrayLike,
    *,
    normalise_by: int | None = None,
    model_length: int | None = None,
    refine: bool = False,
) -> TMScore:
    """TM-score of two structures whose residues are known to correspond one to one [1]_.

    No alignment is searched, only the superposition, as the TM-score program does: from fragments of
    length n, n/2, ... 4, superpose, keep the pairs that are close, superpose those, until nothing
    changes. Up to 1,000 pairs every fragment is a start; above that every (n // 500)th.

    Parameters
    ----------
    reference, model : float array, shape (n, 3), Å
        C-alpha coordinates of the pairs. Pairs with a coordinate that is not finite count as far apart.
    normalise_by : int, optional
        Length of the whole reference, n by default.
    model_length : int, optional
        Length of the whole model, n by default.
    refine : bool
        Search more closely and climb on to the local maximum of the TM-score. Never lower. Without it the
        score is that of TM-align for the same pairs; with it, it is up to 0.001 higher for similar chains
        of 60 residues or more, and up to some hundredths for short or dissimilar ones.

    Returns
    -------
    TMScore

    Raises
    ------
    StructureError
        Fewer than 3 pairs have coordinates.

    References
    ----------
    .. [1] Zhang & Skolnick, Proteins 57, 702 (2004).
    """
    fixed, moving = checked_coordinates(reference, "reference"), checked_coordinates(model, "model")
    n = len(fixed)
    if len(moving) != n:
        raise ValueError(f"the reference has {n} residues, the model {len(moving)}: give matching pairs")
    length = n if normalise_by is None else normalise_by
    length_model = n if model_length is None else model_length
    present = has_coordinates(fixed) & has_coordinates(moving)
    if min(length, length_model) < int(present.sum()):
        raise ValueError(f"{int(present.sum())} pairs, more than the length {min(length, length_model)}")
    fixed, moving = fixed[present], moving[present]
    if len(fixed) < 3:
        raise StructureError(
            f"coordinates in both structures: {len(fixed)} of {n} residue pairs; a TM-score needs at least 3"
        )
    if np.array_equal(fixed, moving):
        # Unmoved: exact, without the rounding of a superposition.
        return TMScore(len(fixed) / length, len(fixed) / length_model, 0.0, np.eye(3), np.zeros(3))
    search = _SuperpositionSearch(fixed, moving)
    best = search.run(length, refine=refine)
    other = best if length_model == length else search.run(length_model, refine=refine)
    rotation, translation = superpose(moving, fixed)
    rmsd = float(np.sqrt(squared_distances(fixed, moving, rotation, translation).mean()))
    return TMScore(best.value, other.value, rmsd, best.rotation, best.translation)


def squared_distances(
    fixed: NDArray[np.float64],
    moving: NDArray[np.float64],
    rotation: NDArray[np.float64],
    translation: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Squared distances of the pairs after a superposition, Å²."""
    delta = np.einsum("ij,nj->ni", rotation, moving) + translation - fixed
    delta *= delta
    square: NDArray[np.float64] = delta[:, 0] + delta[:, 1] + delta[:, 2]
    return square


class _Superposition(NamedTuple):
    value: float
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]


class _SuperpositionSearch:
    """Many superpositions of the same pairs at once.

    With f_k = (1, m, r, m (x) r) for each pair (m mobile, r fixed), the sums that Kabsch needs for any
    set of pairs, and the squared distances under any superposition, are both linear in f: one matrix
    product each serves all candidates. Candidates are only ranked this way; the winner's numbers are
    computed plainly, so rounding in the products does not reach the result.
    """

    def __init__(self, fixed: NDArray[np.float64], moving: NDArray[np.float64]) -> None:
        self.fixed, self.moving = fixed, moving
        n = len(fixed)
        r, m = fixed - fixed.mean(axis=0), moving - moving.mean(axis=0)
        outer = (m[:, :, None] * r[:, None, :]).reshape(n, 9)
        self.features = np.concatenate([np.ones((n, 1)), m, r, outer], axis=1)
        self.norms = (m * m).sum(axis=1) + (r * r).sum(axis=1)
        lengths, length = [], n
        while length > 4:
            lengths.append(length)
            length //= 2
        lengths.append(min(n, 4))
        stride = max(1, n // 500)
        spans = []
        for length in lengths:
            starts = np.arange(0, n - length + 1, stride)
            if starts[-1] != n - length:
                starts = np.append(starts, n - length)
            spans.append(np.stack([starts, starts + length], axis=1))
        self.spans = np.concatenate(spans)
        running = np.concatenate([np.zeros((1, 16)), np.cumsum(self.features, axis=0)])
        self.seeds = self._superpositions(running[self.spans[:, 1]] - running[self.spans[:, 0]])

    def run(self, length: int, *, refine: bool) -> _Superposition:
        """Find the best superposition for the TM-score normalised by `length`."""
        d0 = tm_d0(length)
        close = min(8.0, max(4.5, d0))
        # The TM-score program takes the first pairs a little tighter and the later ones looser.
        schedules = [(close - 1.0, close + 1.0)]
        if refine:
            schedules += [(close, close), (close - 1.0, close - 1.0)]
        best_value, best_mask = -1.0, np.ones(len(self.fixed), dtype=np.bool_)
        for first_cut, later_cut in schedules:
            seen: set[bytes] = set()
            value, row, packed = self._round(self.seeds, d0, first_cut)
            if value > best_value + 1e-9:
                best_value = value
                best_mask = np.zeros(len(self.fixed), dtype=np.bool_)
                best_mask[slice(*self.spans[row])] = True
            for _ in range(20):
                packed = _unseen(packed, seen)
                if not len(packed):
                    break
                masks = packed
                value, row, packed = self._round(self._of_masks(masks), d0, later_cut)
                if value > best_value + 1e-9:
                    best_value = value
                    best_mask = np.unpackbits(masks[row], count=len(self.fixed)).astype(np.bool_)
        return self._plain(best_mask, d0, length, refine=refine)

    def _plain(self, mask: NDArray[np.bool_], d0: float, length: int, *, refine: bool) -> _Superposition:
        rotation, translation = superpose(self.moving[mask], self.fixed[mask])
        share = 1.0 / (1.0 + squared_distances(self.fixed, self.moving, rotation, translation) / d0**2)
        best = _Superposition(float(share.sum() / length), rotation, translation)
        if refine:
            # 1 / (1 + u) is convex in u = (d / d0)²: the superposition weighted by minus its slope can
            # only raise the sum (minorise-maximise).
            for _ in range(500):
                rotation, translation = superpose(self.moving, self.fixed, weights=share * share)
                share = 1.0 / (
                    1.0 + squared_distances(self.fixed, self.moving, rotation, translation) / d0**2
                )
                value = float(share.sum() / length)
                if value <= best.value + 1e-12:
                    break
                best = _Superposition(value, rotation, translation)
        return best

    def _superpositions(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """Kabsch for summed features (k, 16): coefficients (k, 16) of squared distances, less norms."""
        count = sums[:, :1]
        m, r = sums[:, 1:4] / count, sums[:, 4:7] / count
        covariance = (sums[:, 7:] / count).reshape(-1, 3, 3) - m[:, :, None] * r[:, None, :]
        rotation = _rotations(covariance)
        t = r - np.einsum("kij,kj->ki", rotation, m)
        # |R m + t - r|² = |m|² + |r|² + |t|² + 2 (Rᵀ t)·m - 2 t·r - 2 r·R m
        coefficients = np.empty((len(sums), 16))
        coefficients[:, 0] = (t * t).sum(axis=1)
        coefficients[:, 1:4] = 2.0 * np.einsum("kij,ki->kj", rotation, t)
        coefficients[:, 4:7] = -2.0 * t
        coefficients[:, 7:] = -2.0 * np.swapaxes(rotation, 1, 2).reshape(-1, 9)
        return coefficients

    def _of_masks(self, packed: NDArray[np.uint8]) -> NDArray[np.float64]:
        n = len(self.fixed)
        parts = []
        for some in _blocks(len(packed), n):
            masks = np.unpackbits(packed[some], axis=1, count=n).astype(np.float64)
            parts.append(self._superpositions(masks @ self.features))
        return np.concatenate(parts)

    def _round(
        self, coefficients: NDArray[np.float64], d0: float, cut: float
    ) -> tuple[float, int, NDArray[np.uint8]]:
        """Score superpositions: the best sum, its row, and for each the pairs it brings close (bits)."""
        best, best_row = -1.0, 0
        bits = []
        for some in _blocks(len(coefficients), len(self.fixed)):
            square = coefficients[some] @ self.features.T
            square += self.norms
            total = (1.0 / (1.0 + square / d0**2)).sum(axis=1)
            # The first of the best within rounding, so that ties do not hang on it.
            row = int(np.argmax(total >= total.max() - 1e-9))
            if total[row] > best + 1e-9:
                best, best_row = float(total[row]), some.start + row
            near = square < cut * cut
            # Three pairs fix a superposition; with only three in all, one may be the best there is.
            least = 3 if len(self.fixed) > 3 else 1
            few = np.flatnonzero(near.sum(axis=1) < least)
            limit = cut
            while few.size:
                limit += 0.5
                near[few] = square[few] < limit * limit
                few = few[near[few].sum(axis=1) < least]
            bits.append(np.packbits(near, axis=1))
        return best, best_row, np.concatenate(bits)


def _blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, BLOCK // columns)
    return [slice(start, min(rows, start + step)) for start in range(0, rows, step)]


def _unseen(packed: NDArray[np.uint8], seen: set[bytes]) -> NDArray[np.uint8]:
    """Rows that are neither repeated nor in `seen`, which is extended by them."""
    keep = []
    for row, key in enumerate(map(bytes, packed)):
        if key not in seen:
            seen.add(key)
            keep.append(row)
    return packed[keep]
