"""Affected subdomains: residues below their background, merged into stretches and joined in space.

Predicted and measured drops are judged and reported apart. A predicted drop is
judged against what other substitutions do (`Null`), site ± 1 left out. A
measured drop needs no such sample: a builder's model of the unchanged wild
type has lDDT 1 once its control is taken off, so what counts is the noise of
the build itself, read where the exchange hardly reaches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mutscan.calling.naming import Namer
from mutscan.calling.null import MAD_TO_SD, away_from_site
from mutscan.structures.segments import describe_stretches, runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.calling.sites import FunctionalSites
    from mutscan.structures import Feature

DROP_Z: Final = 3.0
"""Robust z of the smoothed drop from which a residue counts as affected."""

MIN_DROP: Final = 0.001
"""Smallest smoothed drop of predicted lDDT that counts: in a quiet protein less can have a high z."""

MEASURED_NOISE: Final = 0.005
"""Least standard deviation allowed for a measured drop. Of 36 mutants of 3 proteins built with OpenMM from
three starts 0.02 Å apart, the 18 conservative ones drop by exactly 0; in 4 of 18 exchanges for tryptophan the
starts differ in smoothed lDDT, by up to 0.015: three of these standard deviations."""

MERGE_GAP: Final = 2
"""Affected runs separated by at most so many residues are one stretch."""

MIN_REGION: Final = 3
"""Shortest affected stretch, residues."""

JOIN_DISTANCE: Final = 8.0
"""Å; stretches with C-alpha atoms this near in the wild-type structure are one subdomain."""

LOW_PLDDT: Final = 70.0
"""Confidence below which a model's residues move arbitrarily (AlphaFold DB's own boundary)."""


@dataclass(frozen=True, slots=True)
class Region:
    """An affected subdomain.

    Parameters
    ----------
    stretches : tuple of (int, int)
        First and last position of each stretch, 1-based, inclusive, ascending.
    mean_drop : float
        Mean lDDT drop over its residues.
    name, source : str
        What it lies in and who says so; both empty where nobody does.
    low_confidence : bool
        Mean pLDDT below 70.
    evidence : str
        ``predicted`` or ``measured``; empty when not said.
    near : tuple of str
        Catalytic or binding residues within 5 Å.
    """

    stretches: tuple[tuple[int, int], ...]
    mean_drop: float
    name: str = ""
    source: str = ""
    low_confidence: bool = False
    evidence: str = ""
    near: tuple[str, ...] = ()

    @property
    def start(self) -> int:
        """First position."""
        return self.stretches[0][0]

    @property
    def end(self) -> int:
        """Last position."""
        return self.stretches[-1][1]

    @property
    def label(self) -> str:
        """What residues.parquet calls it: name and source, else the stretches."""
        return f"{self.name}, {self.source}" if self.name else describe_stretches(self.stretches)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What to know besides: low confidence, working residues nearby."""
        doubt = ("low pLDDT",) if self.low_confidence else ()
        near = (f"within 5 Å of {', '.join(self.near)}",) if self.near else ()
        return (*doubt, *near)

    def __str__(self) -> str:
        named = f"{self.name}, {self.source}" if self.name else ""
        words = filter(None, (named, f"mean lDDT drop {self.mean_drop:.2g}", self.evidence, *self.remarks))
        return f"{describe_stretches(self.stretches)} ({'; '.join(words)})"


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a window of 3, NaN ignored; NaN stays NaN."""
    padded = np.pad(values, 1, constant_values=np.nan)
    windows = np.stack([padded[:-2], padded[1:-1], padded[2:]])
    known = np.isfinite(windows)
    mean: NDArray[np.float64] = np.where(known, windows, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(np.isfinite(values), mean, np.nan)


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


def affected_residues(
    z: NDArray[np.float64],
    drop: NDArray[np.float64],
    positions: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Residues in an affected stretch, shape (L,).

    z and drop are smoothed over 3 residues; residues from a robust z of 3 and a drop of 0.001 on
    are kept, runs separated by at most 2 residues merged, and what is shorter than 3 residues is let
    go. Site ± 1 never counts, and parts runs.

    Parameters
    ----------
    z : float array, shape (L,)
        From `drop_z` or `measured_drop`.
    drop : float array, shape (L,)
        Background median minus lDDT.
    positions : sequence of int
        Positions whose surroundings in sequence are left out, 1-based: the variant's for a
        predicted profile, none for a measured one.
    """
    away = away_from_site(len(z), positions)
    hit = np.ones(len(z), dtype=bool)
    for values, least in ((z, DROP_Z), (drop, MIN_DROP)):
        hit &= np.nan_to_num(_smooth(np.where(away, values, np.nan)), nan=-np.inf) >= least
    affected = np.zeros(len(z), dtype=bool)
    merged: list[tuple[int, int]] = []
    for first, last in runs(hit):
        between = away[merged[-1][1] + 1 : first] if merged else None
        if between is not None and between.all() and len(between) <= MERGE_GAP:
            merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    for first, last in merged:
        if last - first + 1 >= MIN_REGION:
            affected[first : last + 1] = True
    return affected


def affected_regions(
    affected: NDArray[np.bool_],
    drop: NDArray[np.float64],
    features: Sequence[Feature] = (),
    plddt: NDArray[np.float64] | None = None,
    *,
    ca: NDArray[np.float64] | None = None,
    evidence: str = "",
    namer: Namer | None = None,
    sites: FunctionalSites | None = None,
) -> tuple[Region, ...]:
    """Join the stretches of affected residues into subdomains and name them.

    Parameters
    ----------
    affected : bool array, shape (L,)
    drop : float array, shape (L,)
        Background median minus lDDT.
    features : sequence of Feature
        Name the regions when no `namer` is given.
    plddt : float array, shape (L,), optional
    ca : float array, shape (L, 3), Å, optional
        C-alpha coordinates of the wild type; stretches within 8 Å are one subdomain. Without,
        each stretch is one of its own.
    evidence : str
        ``predicted`` or ``measured``.
    namer : Namer, optional
    sites : FunctionalSites, optional
        Catalytic and binding residues to look for.
    """
    stretches = runs(affected)
    chosen = namer if namer is not None else Namer(len(affected), features)
    regions = []
    for group in _joined_in_space(stretches, ca):
        indices = np.concatenate([np.arange(first, last + 1) for first, last in group])
        name, source = chosen.name(indices)
        doubt = False
        if plddt is not None and np.isfinite(plddt[indices]).any():
            doubt = bool(np.nanmean(plddt[indices]) < LOW_PLDDT)
        regions.append(
            Region(
                stretches=tuple((first + 1, last + 1) for first, last in group),
                mean_drop=float(np.nanmean(drop[indices])),
                name=name,
                source=source,
                low_confidence=doubt,
                evidence=evidence,
                near=() if sites is None else sites.near(indices),
            )
        )
    return tuple(regions)


def _joined_in_space(
    stretches: list[tuple[int, int]], ca: NDArray[np.float64] | None
) -> list[list[tuple[int, int]]]:
    """Group stretches linked by C-alpha atoms within `JOIN_DISTANCE`, in order of first residue."""
    if ca is None or len(stretches) < 2:
        return [[stretch] for stretch in stretches]
    owner = np.concatenate([np.full(last - first + 1, k) for k, (first, last) in enumerate(stretches)])
    coord = np.concatenate([ca[first : last + 1] for first, last in stretches])
    known = np.isfinite(coord).all(axis=1)
    owner, coord = owner[known], coord[known]
    links = np.zeros((0, 2), dtype=int)
    if len(coord):
        links = owner[cKDTree(coord).query_pairs(JOIN_DISTANCE, output_type="ndarray")]
    count = len(stretches)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    groups: dict[int, list[tuple[int, int]]] = {}
    for stretch, number in zip(stretches, label.tolist(), strict=True):
        groups.setdefault(number, []).append(stretch)
    return list(groups.values())
