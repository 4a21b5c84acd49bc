"""A protein's own background: what other substitutions do to it, percentiles, robust z.

A single substitution leaves every global score near 1 whatever it does, so
a score means something only against what other substitutions do to the same
protein: the null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.hashes import text_sha256
from mutscan.residues import STANDARD, is_standard
from mutscan.variants import Substitution, Variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NULL_SIZE: Final = 64
"""Substitutions in a protein's null."""

MAD_TO_SD: Final = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""

SITE_MARGIN: Final = 1
"""Residues to each side of a substitution left out of predicted profiles: the input changes there
by construction, so a dip proves nothing about the structure."""


@dataclass(frozen=True, eq=False)
class Null:
    """What seeded substitutions do to this protein, as the network sees them.

    Parameters
    ----------
    variants : tuple of str
        The m substitutions of the sample.
    tm : float array, shape (m,)
        Predicted TM-scores.
    lddt : float array, shape (m,)
        Mean predicted lDDT outside site ± 1.
    residue_median, residue_scale : float array, shape (L,)
        Median and robust standard deviation of each residue's predicted lDDT over the sample,
        each substitution's own site ± 1 left out. NaN where fewer than 8 substitutions remain.
    separation_median, separation_scale : float array, shape (L,)
        Median and robust standard deviation of the drop below `residue_median` at each sequence
        separation from the substitution: a residue near any substitution dips a little.
    sites : int array, shape (m,)
        Substituted residue of each, 0-based.
    drops : float array, shape (m, L)
        `residue_median` minus predicted lDDT of each; NaN at its own site ± 1.
    """

    variants: tuple[str, ...]
    tm: NDArray[np.float64]
    lddt: NDArray[np.float64]
    residue_median: NDArray[np.float64]
    residue_scale: NDArray[np.float64]
    separation_median: NDArray[np.float64]
    separation_scale: NDArray[np.float64]
    sites: NDArray[np.int64]
    drops: NDArray[np.float64]


def sample_null(sequence: str, *, size: int = NULL_SIZE, seed: int = 0) -> tuple[Variant, ...]:
    """Draw the null's substitutions, spread over the whole sequence.

    Positions are stratified (one random position in each of `size` equal
    stretches), residues uniform over the other 19. The draw depends on the
    sequence and the seed alone.

    Parameters
    ----------
    sequence : str
        Wild type; unknown residues are never drawn.
    size : int
        At most 19 substitutions a residue are available to very short proteins.
    seed : int

    Returns
    -------
    tuple of Variant
        Distinct single substitutions, sorted by position.
    """
    sites = [index for index, residue in enumerate(sequence) if is_standard(residue)]
    size = min(size, 19 * len(sites))
    digest = bytes.fromhex(text_sha256(sequence))
    generator = np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])
    drawn: set[Substitution] = set()
    while len(drawn) < size:
        edges = np.linspace(0, len(sites), size + 1)
        picks = (edges[:-1] + generator.random(size) * np.diff(edges)).astype(int)
        for pick in picks:
            index = sites[min(int(pick), len(sites) - 1)]
            others = STANDARD.replace(sequence[index], "")
            residue = others[int(generator.integers(len(others)))]
            if len(drawn) < size:
                drawn.add(Substitution(index + 1, sequence[index], residue))
    return tuple(Variant((substitution,)) for substitution in sorted(drawn))


def away_from_site(length: int, positions: Sequence[int], *, margin: int = SITE_MARGIN) -> NDArray[np.bool_]:
    """Mask, shape (length,): True where a residue is further than `margin` from all positions (1-based)."""
    mask = np.ones(length, dtype=bool)
    for position in positions:
        mask[max(position - 1 - margin, 0) : position + margin] = False
    return mask


def mean_away_from_site(lddt: NDArray[np.floating], positions: Sequence[int]) -> float:
    """Mean of a profile (L,) outside site ± 1, NaN ignored; NaN when nothing is left."""
    values = lddt[away_from_site(len(lddt), positions)].astype(np.float64)
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else math.nan


def build_null(variants: Sequence[Variant], tm: Sequence[float], profiles: NDArray[np.floating]) -> Null:
    """Summarise the null's predictions.

    Parameters
    ----------
    variants : sequence of Variant, length m
        Single substitutions.
    tm : sequence of float, length m
    profiles : float array, shape (m, L)
        Predicted lDDT of each.
    """
    positions = [[substitution.position for substitution in v.substitutions] for v in variants]
    kept = np.array([away_from_site(profiles.shape[1], p) for p in positions])  # (m, L)
    masked = np.where(kept, profiles.astype(np.float64), np.nan)
    enough = kept.sum(axis=0) >= 8
    median = np.full(profiles.shape[1], np.nan)
    scale = np.full(profiles.shape[1], np.nan)
    if enough.any():
        median[enough] = np.nanmedian(masked[:, enough], axis=0)
        scale[enough] = MAD_TO_SD * np.nanmedian(np.abs(masked[:, enough] - median[enough]), axis=0)
        # A residue that almost never moves has a MAD near 0; a tenth of the protein's typical
        # scale keeps its z from exploding on float noise.
        scale[enough] = np.maximum(scale[enough], max(0.1 * float(np.median(scale[enough])), 1e-7))
    means = np.array([mean_away_from_site(row, p) for row, p in zip(profiles, positions, strict=True)])
    by_separation = _drop_by_separation(median - masked, positions)
    tm_scores = np.asarray(tm, dtype=np.float64)
    sites = np.array([first[0] - 1 for first in positions], dtype=np.int64)
    names = tuple(map(str, variants))
    return Null(names, tm_scores, means, median, scale, *by_separation, sites, median - masked)


_SEPARATION_EDGES: Final = (2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30, 45, 70, 120)


def _separation(length: int, positions: Sequence[int]) -> NDArray[np.int64]:
    """Residues between each residue and the nearest of `positions` (1-based), shape (length,)."""
    sites = np.asarray(positions)[:, None] - 1
    separation: NDArray[np.int64] = np.abs(np.arange(length)[None, :] - sites).min(axis=0)
    return separation


def _drop_by_separation(
    drop: NDArray[np.float64], positions: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median and robust standard deviation of drops (m, L) in bins of separation, spread to (L,)."""
    length = drop.shape[1]
    separation = np.array([_separation(length, p) for p in positions])
    bins = np.digitize(separation, _SEPARATION_EDGES)
    medians, scales = np.zeros(len(_SEPARATION_EDGES) + 1), np.zeros(len(_SEPARATION_EDGES) + 1)
    for which in range(len(medians)):
        values = drop[bins == which]
        values = values[np.isfinite(values)]
        if len(values) >= 8:
            medians[which] = np.median(values)
            scales[which] = MAD_TO_SD * np.median(np.abs(values - medians[which]))
    spread = np.digitize(np.arange(length), _SEPARATION_EDGES)
    return medians[spread], scales[spread]


def percentile(value: float, null: NDArray[np.float64]) -> float:
    """Share of the null below `value`, 0-100, ties counted half; 0 = the most disruptive.

    Examples
    --------
    >>> percentile(0.5, np.array([0.6, 0.7, 0.8]))
    0.0
    >>> percentile(0.7, np.array([0.6, 0.7, 0.8]))
    50.0
    """
    known = null[np.isfinite(null)]
    if not known.size or not math.isfinite(value):
        return math.nan
    below = np.count_nonzero(known < value) + 0.5 * np.count_nonzero(known == value)
    return float(100.0 * below / known.size)


def robust_z(value: float, null: NDArray[np.float64]) -> float:
    """(value - median) / (1.4826 MAD) against the null; NaN when the null has no spread.

    Examples
    --------
    >>> round(robust_z(0.7, np.array([0.8, 0.9, 1.0])), 3)
    -1.349
    """
    known = null[np.isfinite(null)]
    if not known.size or not math.isfinite(value):
        return math.nan
    median = float(np.median(known))
    scale = MAD_TO_SD * float(np.median(np.abs(known - median)))
    return (value - median) / scale if scale > 0 else math.nan


def drop_z(lddt: NDArray[np.floating], null: Null, positions: Sequence[int]) -> NDArray[np.float64]:
    """Robust z of each residue's drop of predicted lDDT, shape (L,).

    Positive = lower than other substitutions leave this residue, and lower than
    substitutions usually leave a residue so close to them. NaN where not known.

    Parameters
    ----------
    lddt : float array, shape (L,)
    null : Null
    positions : sequence of int
        The variant's positions, 1-based.
    """
    separation = _separation(len(lddt), positions)
    expected = np.maximum(null.separation_median[separation], 0.0)
    scale = np.maximum(null.residue_scale, null.separation_scale[separation])
    z: NDArray[np.float64] = (null.residue_median - lddt - expected) / scale
    return z
