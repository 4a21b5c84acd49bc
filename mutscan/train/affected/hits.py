"""Which helix, strand or loop changed most, and how often a ranking puts it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.structures.segments import runs, secondary_structure
from mutscan.train.affected.measure import over_groups
from mutscan.train.statistics.classifier import rows_of_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.train.affected.fit import Rows

SHORTEST: Final = 3
"""Residues of the shortest loop that is a region of its own."""


def elements_of(ca: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each residue the number of its helix, strand or loop, shape (L,); -1 in shorter loops.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
    """
    number = np.full(len(ca), -1)
    count = 0
    for element in secondary_structure(ca):
        number[element.first : element.last + 1] = count
        count += 1
    for first, last in runs(number < 0):
        if last - first + 1 >= SHORTEST:
            number[first : last + 1] = count
            count += 1
    return number


def region_hits(
    rows: Rows,
    element: NDArray[np.int64],
    drop: NDArray[np.float64],
    scores: Mapping[str, NDArray[np.float64]],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Share of pairs in which a ranking puts the region with the highest mean crystal drop first.

    Pairs count where that region holds a changed residue and every score is known of two regions or more.

    Parameters
    ----------
    rows : Rows
    element : int array, shape (n,)
        Region of each residue (`elements_of`), -1 for none.
    drop : float array, shape (n,)
        Between the crystals.
    scores : mapping of name -> float array, shape (n,)
        A region's score is the mean over its residues. One named ``nearest`` is a distance: the region
        with the smallest is first.
    seed : int
        Random seed of the bootstrap over groups.
    """
    hits: dict[str, dict[str, list[float]]] = {
        name: {"hit_1": [], "hit_3": []} for name in (*scores, "random")
    }
    group: list[int] = []
    for here in rows_of_each(rows.pair).values():
        regions = np.unique(element[here][element[here] >= 0])
        masks = [here[element[here] == one] for one in regions]
        if len(masks) < 2:
            continue
        truth = int(np.argmax([drop[mask].mean() for mask in masks]))
        of_regions = {name: _scores(name, values, masks) for name, values in scores.items()}
        if not rows.changed[masks[truth]].any():
            continue
        if any(np.isfinite(one).sum() < 2 for one in of_regions.values()):
            continue
        of_regions["random"] = np.zeros(len(masks))
        for name, score in of_regions.items():
            for key, first in (("hit_1", 1), ("hit_3", 3)):
                hits[name][key].append(chance_among(score, truth, first))
        group.append(int(rows.group[here[0]]))
    found: dict[str, Any] = {"n_pairs": len(group), "n_groups": len({*group})}
    for name, kinds in hits.items() if group else ():
        found[name] = {}
        for key, values in kinds.items():
            found[name] |= over_groups(key, values, group, seed=seed)
            found[name][f"{key}_pairs"] = round(float(np.mean(values)), 4)
    return found


def _scores(name: str, values: NDArray[np.float64], masks: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Score of each region, higher for one hit more; NaN where nothing is known of it."""
    found = []
    for mask in masks:
        known = values[mask][np.isfinite(values[mask])]
        found.append(np.nan if not known.size else -known.min() if name == "nearest" else known.mean())
    return np.array(found, dtype=np.float64)


def chance_among(score: NDArray[np.float64], truth: int, first: int) -> float:
    """Chance that a region is among the `first` ranked ones, ties in a random order; unknown ones are last.

    Examples
    --------
    >>> chance_among(np.array([3.0, 1.0, 2.0]), 2, 1)
    0.0
    >>> chance_among(np.array([0.0, 0.0, 0.0, 0.0]), 2, 1)
    0.25
    """
    score = np.nan_to_num(score, nan=-np.inf)
    above = int((score > score[truth]).sum())
    tied = int((score == score[truth]).sum())
    return min(max((first - above) / tied, 0.0), 1.0)
