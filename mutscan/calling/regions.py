"""Which named regions a variant disturbs: all residues of a region against what substitutions do to it.

Predicted and measured drops are judged apart. The mean predicted drop of a region is compared with what the
null's substitutions at a like distance do to the same region. A measured drop needs no such sample: a
builder's model of the unchanged wild type has lDDT 1 once its control is taken off, so what counts is the
noise of the build itself, read where the exchange hardly reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.calling.naming import SEQUENCE
from mutscan.calling.null import MAD_TO_SD, away_from_site

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.calling.naming import Region
    from mutscan.calling.null import Null

ALPHA: Final = 0.1
"""Share of the null's substitutions that disturb any region at all, by the line that they set. Of labelled
variants of 49 proteins, 11 % of 456 deleterious and 4 % of 206 neutral ones then do; with 0.05 it is 4 % and
1 %."""

MIN_DROP: Final = 0.001
"""Smallest mean drop of a region's predicted lDDT that counts: loops that hardly ever move have high z at a
quarter of it."""

MEASURED_Z: Final = 3.0
"""Mean robust z of a region's measured drops from which it counts as disturbed."""

MEASURED_NOISE: Final = 0.005
"""Least standard deviation allowed for a measured drop. Of 36 mutants of 3 proteins built with OpenMM from
three starts 0.02 Å apart, the 18 conservative ones drop by exactly 0; in 4 of 18 exchanges for tryptophan the
starts differ in smoothed lDDT, by up to 0.015: three of these standard deviations."""

RESIDUE_STEP: Final = 3.8
"""Å between neighbouring C-alpha atoms: how far residues can be at most where coordinates are not known."""

FOLDS: Final = 16
"""Parts of the null that are held, in turn, against the rest."""

_BINS: Final = 8  # of distance, each with as many pairs of substitution and region


@dataclass(frozen=True, eq=False, slots=True)
class RegionHit:
    """What a variant does to one region.

    Parameters
    ----------
    region : Region
    drop : float
        Mean predicted lDDT drop below the null's median, site ± 1 left out; NaN where nothing is left.
    z : float
        The drop against the same region under the null's substitutions at a like distance.
    measured_drop : float
        Mean measured lDDT drop; NaN where no mutant was built.
    distance : float, Å
        Smallest C-alpha distance to a changed residue; NaN where coordinates are not known.
    disturbed : bool
        The predicted or the measured drop is beyond its background.
    """

    region: Region
    drop: float
    z: float
    measured_drop: float
    distance: float
    disturbed: bool

    def __str__(self) -> str:
        region = self.region
        named = "" if region.source == SEQUENCE else f"{region.name}, {region.source}"
        # A region that is disturbed by measurement alone may have no predicted drop to speak of.
        measured = self.measured_drop if self.disturbed else math.nan
        both = [(self.drop, ""), (measured, " measured")]
        drops = [f"{max(drop, 0.0):.2g}{how}" for drop, how in both if math.isfinite(drop)]
        words = (
            named,
            f"mean lDDT drop {' and '.join(drops)}" if drops else "",
            "low pLDDT" if region.low_confidence else "",
            "" if self.disturbed else "most affected, not beyond background",
        )
        return f"{region.positions} ({'; '.join(filter(None, words))})"


class RegionBackground:
    """What a protein's null does to each of its named regions.

    Parameters
    ----------
    regions : sequence of Region
        R of them.
    null : Null
    ca : float array, shape (L, 3), Å, optional
        C-alpha coordinates of the wild type. Without, distance is counted along the sequence.

    Attributes
    ----------
    line : float
        z above which a region is beyond background: at most `ALPHA` of the null go above it in any region.
    """

    def __init__(self, regions: Sequence[Region], null: Null, ca: NDArray[np.float64] | None = None) -> None:
        self.regions = tuple(regions)
        self._null = null
        self._ca = ca
        self._length = null.drops.shape[1]
        self._member = np.zeros((len(regions), self._length))
        for row, region in zip(self._member, regions, strict=True):
            row[region.indices] = 1.0
        self._held = np.concatenate([region.indices for region in regions])
        sizes = [len(region.indices) for region in regions]
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self._near: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        drops = self._means(null.drops)  # (m, R)
        reach = np.stack([self._reach((site,))[0] for site in null.sites.tolist()])  # (m, R)
        self._usual = _Usual.of(drops, reach)
        # A substitution's own drops are not among those it is held against: the line would be too low.
        fold = np.arange(len(drops)) % FOLDS
        scores = np.full(drops.shape, np.nan)
        for one in np.unique(fold).tolist():
            left = fold == one
            scores[left] = _Usual.of(drops[~left], reach[~left]).scores(drops[left], reach[left])
        scores = np.where(drops >= MIN_DROP, np.nan_to_num(scores, nan=-np.inf), -np.inf)
        most = np.sort(scores.max(axis=1))
        # Adjusted for the number of regions: how often the null's highest z reaches this one (Westfall and
        # Young 1993).
        allowed = np.count_nonzero(np.arange(1, len(most) + 1) / (1 + len(most)) <= ALPHA)
        self.line = float(most[-allowed]) if allowed else math.inf

    def hits(
        self,
        positions: Sequence[int],
        drop: NDArray[np.float64],
        measured: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
        p: NDArray[np.float64] | None = None,
    ) -> tuple[RegionHit, ...]:
        """Judge every region for one variant, the one hit most first.

        Disturbed regions stand first, then by the mean probability of their residues to change, then by
        distance. z has no part in the order: in crystals of mutants the region with the highest z is the
        one that changes most no more often than any other is (`mutscan train affected`).

        Parameters
        ----------
        positions : sequence of int
            The variant's, 1-based.
        drop : float array, shape (L,)
            The null's median minus predicted lDDT.
        measured : (drop, z), optional
            From `measured_drop`.
        p : float array, shape (L,), optional
            Probability of each residue to change.
        """
        away = away_from_site(self._length, positions)
        means = self._means(np.where(away, drop, np.nan)[None])[0]
        reach, distance = self._reach([position - 1 for position in positions])
        z = self._usual.scores(means[None], reach[None])[0]
        built = np.full(len(means), np.nan)
        moved = np.zeros(len(means), dtype=bool)
        if measured is not None:
            built, built_z = (self._means(values[None])[0] for values in measured)
            moved = np.nan_to_num(built_z, nan=-np.inf) >= MEASURED_Z
        # The null is made of single substitutions, and most random pairs of them go beyond it.
        beyond = (np.nan_to_num(z, nan=-np.inf) > self.line) & (len(positions) == 1)
        disturbed = moved | (beyond & (np.nan_to_num(means) >= MIN_DROP))
        expected = np.full(len(z), np.nan) if p is None else self._means(p[None])[0]
        order = np.lexsort((np.arange(len(z)), reach, -np.nan_to_num(expected, nan=-1.0), ~disturbed))
        columns = (means, z, built, distance, disturbed)
        values = [column[order].tolist() for column in columns]
        return tuple(
            RegionHit(self.regions[place], *row) for place, *row in zip(order.tolist(), *values, strict=True)
        )

    def _means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean over each region's known residues of (n, L) values, shape (n, R); NaN where none is known."""
        known = np.isfinite(values)
        count = known.astype(np.float64) @ self._member.T
        total = np.where(known, values, 0.0) @ self._member.T
        means: NDArray[np.float64] = np.divide(
            total, count, out=np.full(total.shape, np.nan), where=count > 0
        )
        return means

    def _reach(self, sites: Sequence[int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance of each region to the nearest of some residues (0-based), shape (R,), in Å.

        First what the comparison goes by: never unknown. Then what is measured: NaN where it is not known.
        """
        found = [self._reach_of(site) for site in sites]
        return (
            np.min([reach for reach, _ in found], axis=0),
            np.fmin.reduce([distance for _, distance in found]),
        )

    def _reach_of(self, site: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if site not in self._near:
            along = RESIDUE_STEP * np.abs(np.arange(self._length) - site)
            apart = np.full(self._length, np.nan)
            if self._ca is not None:
                apart = np.linalg.norm(self._ca - self._ca[site], axis=1)
            self._near[site] = (
                np.minimum.reduceat(np.fmin(apart, along)[self._held], self._starts),
                np.fmin.reduceat(apart[self._held], self._starts),
            )
        return self._near[site]


@dataclass(frozen=True, eq=False, slots=True)
class _Usual:
    """What substitutions usually do: scale of each region (R,), median and spread at each distance."""

    scale: NDArray[np.float64]
    distances: NDArray[np.float64]
    medians: NDArray[np.float64]
    spreads: NDArray[np.float64]

    @classmethod
    def of(cls, drops: NDArray[np.float64], reach: NDArray[np.float64]) -> _Usual:
        """Sum up the null's mean drops and distances, both shape (m, R)."""
        scale = _spread(drops)
        return cls(scale, *_by_distance(drops / scale, reach))

    def scores(self, drops: NDArray[np.float64], reach: NDArray[np.float64]) -> NDArray[np.float64]:
        """Robust z of mean drops, both shape (n, R)."""
        middle = np.interp(reach, self.distances, self.medians)
        spread = np.interp(reach, self.distances, self.spreads)
        scores: NDArray[np.float64] = (drops / self.scale - middle) / spread
        return scores


def _spread(drops: NDArray[np.float64]) -> NDArray[np.float64]:
    """Robust standard deviation of each column of (m, R), never much less than that of all."""
    known = np.isfinite(drops)
    scale = np.full(drops.shape[1], np.nan)
    for column in np.flatnonzero(known.sum(axis=0) >= 8).tolist():
        values = drops[known[:, column], column]
        scale[column] = MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
    usual = float(np.nanmedian(scale)) if np.isfinite(scale).any() else 0.0
    # A region that almost never moves has a MAD near 0; a tenth of the protein's typical scale keeps its z
    # from exploding on float noise.
    floored: NDArray[np.float64] = np.maximum(scale, max(0.1 * usual, 1e-7))
    return floored


def _by_distance(
    scores: NDArray[np.float64], reach: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance, median and robust standard deviation of (m, R) scores in bins of distance."""
    known = np.isfinite(scores)
    if not known.any():
        return np.zeros(1), np.zeros(1), np.ones(1)
    values, apart = scores[known], reach[known]
    order = np.argsort(apart, kind="stable")
    parts = [part for part in np.array_split(order, _BINS) if part.size]
    middles = np.array([np.median(apart[part]) for part in parts])
    medians = np.array([np.median(values[part]) for part in parts])
    spreads = np.array(
        [MAD_TO_SD * np.median(np.abs(values[part] - np.median(values[part]))) for part in parts]
    )
    usual = float(np.median(spreads))
    return middles, medians, np.maximum(spreads, 0.1 * usual if usual > 0 else 1.0)


def measured_drop(
    lddt: NDArray[np.float64],
    positions: Sequence[int],
    ca: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Drop of measured lDDT below the build's own noise, and its robust z.

    Median and scale are those of the half of the residues that are farthest from the exchange,
    where it does least: exactly 1 and 0 for a builder that relaxes the surroundings only and takes
    off a wild-type control, what the whole model scatters for structures from elsewhere. The
    scale is at least `MEASURED_NOISE`.

    Parameters
    ----------
    lddt : float array, shape (L,)
        NaN where unresolved.
    positions : sequence of int
        The variant's positions, 1-based.
    ca : float array, shape (L, 3), Å, optional
        C-alpha coordinates of the wild type; distance is counted along the sequence without.

    Returns
    -------
    drop, z : float array, shape (L,)
        NaN where not known.
    """
    known = np.isfinite(lddt)
    sites = np.asarray(positions, dtype=int) - 1
    if ca is not None and np.isfinite(ca[sites]).all():
        distance = np.linalg.norm(ca[:, None] - ca[sites][None], axis=2).min(axis=1)
    else:
        distance = np.abs(np.arange(len(lddt))[:, None] - sites).min(axis=1).astype(np.float64)
    usable = known & np.isfinite(distance)
    if not usable.any():
        unknown = np.full(len(lddt), np.nan)
        return unknown, unknown
    far = lddt[usable & (distance >= np.median(distance[usable]))]
    median = float(np.median(far))
    scale = max(MAD_TO_SD * float(np.median(np.abs(far - median))), MEASURED_NOISE)
    drop: NDArray[np.float64] = median - lddt
    return drop, drop / scale
