"""Cut a structure into compact domains and into helices and strands.

Used to name places for which no database has a name. Secondary structure
is DSSP's where the backbone is there, else it follows the distances and
angles of the C-alpha trace as P-SEA does [1]_; domains are communities of the
graph of C-alpha contacts (Louvain), joined again until what is left apart
touches too little to be one body.

References
----------
.. [1] Labesse et al., CABIOS 13, 291 (1997).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial import cKDTree

from mutscan.structures.dssp import helices_and_strands

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MIN_DOMAIN: Final = 30
"""Residues of the smallest domain."""

MIN_STRETCH: Final = 10
"""Residues of the shortest stretch that a domain has in the sequence."""

CONTACT: Final = 12.0
"""Å; C-alpha atoms further apart do not touch."""

HALF: Final = 8.0
"""Å; C-alpha distance at which a contact counts half."""

JOINED: Final = 0.3
"""Contacts between two parts, against those within the part that has fewer, from which they are one body.
Of 33 chains looked at, one-domain folds lie at 0.4 or more between any two halves, lobes joined by a
hinge (kinases, calmodulin, periplasmic binding proteins) at 0.25 or less."""

LEAST: Final = {"helix": 5, "strand": 3}
"""Residues of the shortest helix and strand."""

LOW_CONFIDENCE: Final = 50.0
"""pLDDT below which a stretch of a model is no body at all (AlphaFold DB's own boundary)."""


@dataclass(frozen=True, slots=True)
class Domain:
    """A compact body; `stretches` are (first, last) indices into the structure, 0-based, inclusive."""

    number: int
    stretches: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Element:
    """A helix or strand: its kind, its number among its kind, first and last index (0-based, inclusive)."""

    kind: str
    number: int
    first: int
    last: int


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last index of each stretch of True.

    Examples
    --------
    >>> runs(np.array([False, True, True, False, True]))
    [(1, 2), (4, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


# Secondary structure


def secondary_structure(
    ca: NDArray[np.float64], backbone: NDArray[np.float64] | None = None
) -> tuple[Element, ...]:
    """Helices and strands of a chain.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
        C-alpha coordinates; NaN where there is none. A distance of more than 4.3 Å between
        neighbours is a break, which no element passes.
    backbone : float array, shape (L, 4, 3), Å, optional
        N, CA, C and O. Where at least 90 % of the residues have all four, hydrogen bonds decide.

    Returns
    -------
    tuple of Element
        In the order of the sequence; helices and strands are numbered separately from 1.
    """
    length = len(ca)
    if length < 5:
        return ()
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(ca).all(axis=1))
    linked = linked_residues(ca)
    complete = backbone is not None and np.isfinite(backbone).all(axis=(1, 2)).sum() >= 0.9 * whole.sum()
    if backbone is not None and complete:
        helix, strand = helices_and_strands(backbone)
    else:
        helix, strand = _by_trace(ca, whole, linked)
    found = [("helix", *run) for run in _unbroken(helix, linked)]
    found += [("strand", *run) for run in _unbroken(strand, linked)]
    elements, count = [], {"helix": 0, "strand": 0}
    for kind, first, last in sorted(found, key=lambda one: one[1]):
        if last - first + 1 >= LEAST[kind]:
            count[kind] += 1
            elements.append(Element(kind, count[kind], first, last))
    return tuple(elements)


def _by_trace(
    ca: NDArray[np.float64], whole: NDArray[np.bool_], linked: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Residues of helices and of strands by C-alpha atoms alone."""
    length = len(ca)
    with np.errstate(invalid="ignore", divide="ignore"):
        d2, d3, d4 = (_apart(ca, linked, step) for step in (2, 3, 4))
        tau, alpha = _bend(ca, linked), twist(ca, linked)
        helical = (np.abs(d3 - 5.3) <= 0.5) & (np.abs(d4 - 6.4) <= 0.6)
        helical |= (np.abs(tau - 89.0) <= 12.0) & (np.abs(alpha - 50.0) <= 20.0)
        near_helical = (np.abs(d3 - 5.3) <= 0.5) | (np.abs(tau - 89.0) <= 12.0)
        extended = (np.abs(d2 - 6.7) <= 0.6) & (np.abs(d3 - 9.9) <= 0.9) & (np.abs(d4 - 12.4) <= 1.1)
        extended |= (np.abs(tau - 124.0) <= 14.0) & (np.abs((alpha + 170.0 + 180.0) % 360.0 - 180.0) <= 45.0)
        near_extended = np.abs(d3 - 9.9) <= 0.9
    helix = np.zeros(length, dtype=bool)
    for first, last in _unbroken(helical & whole, linked):
        if last - first + 1 >= 5:
            helix[first : last + 1] = True
    helix = _grow(helix, near_helical & whole, linked)
    strand = np.zeros(length, dtype=bool)
    partners = _lateral(ca)
    for first, last in _unbroken(extended & whole & ~helix, linked):
        size = last - first + 1
        if size >= 5 or (size >= 3 and partners[first : last + 1].sum() >= 5):
            strand[first : last + 1] = True
    strand = _grow(strand, near_extended & whole & ~helix, linked) & ~helix
    return helix, strand


def _apart(ca: NDArray[np.float64], linked: NDArray[np.bool_], step: int) -> NDArray[np.float64]:
    """Distance of i - 1 and i - 1 + step, at i; NaN over a break."""
    distance = np.full(len(ca), np.nan)
    if len(ca) <= step:
        return distance
    value = np.linalg.norm(ca[step:] - ca[:-step], axis=1)
    distance[1 : len(ca) - step + 1] = np.where(_all_linked(linked, step), value, np.nan)
    return distance


def _all_linked(linked: NDArray[np.bool_], steps: int) -> NDArray[np.bool_]:
    """Whether i, i + 1 ... i + steps are bonded, shape (L - steps,)."""
    windows = np.lib.stride_tricks.sliding_window_view(linked, steps)
    return np.asarray(windows[: len(linked) - steps].all(axis=1), dtype=np.bool_)


def _bend(ca: NDArray[np.float64], linked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Angle i - 1, i, i + 1 in degrees, shape (L,)."""
    angle = np.full(len(ca), np.nan)
    a, b = ca[:-2] - ca[1:-1], ca[2:] - ca[1:-1]
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    value = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    angle[1:-1] = np.where(_all_linked(linked, 2), value, np.nan)
    return angle


def linked_residues(ca: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether i and i + 1 are bonded, by the distance of their C-alpha atoms (L, 3), Å; shape (L,)."""
    bond = np.linalg.norm(np.diff(ca, axis=0), axis=1)
    return np.concatenate([np.nan_to_num(bond, nan=np.inf) < 4.3, [False]])


def twist(ca: NDArray[np.float64], linked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Dihedral of the C-alpha atoms i - 1, i, i + 1, i + 2 in degrees, shape (L,); NaN at ends and breaks.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
        L > 3.
    linked : bool array, shape (L,)
        `linked_residues`.
    """
    angle = np.full(len(ca), np.nan)
    step = np.diff(ca, axis=0)
    n1, n2 = np.cross(step[:-2], step[1:-1]), np.cross(step[1:-1], step[2:])
    middle = step[1:-1] / np.linalg.norm(step[1:-1], axis=1, keepdims=True)
    value = np.degrees(np.arctan2((np.cross(n1, n2) * middle).sum(axis=1), (n1 * n2).sum(axis=1)))
    angle[1:-2] = np.where(_all_linked(linked, 3), value, np.nan)
    return angle


def _unbroken(mask: NDArray[np.bool_], linked: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Find `runs`, ended at chain breaks."""
    found = []
    for first, last in runs(mask):
        cuts = [first - 1, *(first + np.flatnonzero(~linked[first:last])).tolist(), last]
        found += [(a + 1, b) for a, b in itertools.pairwise(cuts)]
    return found


def _grow(
    core: NDArray[np.bool_], allowed: NDArray[np.bool_], linked: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Lengthen each run by one residue at either end where it is allowed, as P-SEA does."""
    grown = core.copy()
    grown[1:] |= core[:-1] & allowed[1:] & linked[:-1]
    grown[:-1] |= core[1:] & allowed[:-1] & linked[:-1]
    return grown


def _lateral(ca: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count of C-alpha atoms 4.2 to 5.2 Å away that are no neighbours in sequence, shape (L,)."""
    count = np.zeros(len(ca), dtype=np.int64)
    known = np.flatnonzero(np.isfinite(ca).all(axis=1))
    if known.size:
        pairs = cKDTree(ca[known]).query_pairs(5.2, output_type="ndarray")
        i, j = known[pairs[:, 0]], known[pairs[:, 1]]
        far = (np.linalg.norm(ca[i] - ca[j], axis=1) >= 4.2) & (np.abs(i - j) > 2)
        np.add.at(count, i[far], 1)
        np.add.at(count, j[far], 1)
    return count


# Domains


def compact_domains(
    ca: NDArray[np.float64], plddt: NDArray[np.float64] | None = None, *, seed: int = 0
) -> tuple[Domain, ...]:
    """Cut a chain into compact domains.

    Contacts of C-alpha atoms are weighted by distance and grouped by Louvain; short stretches
    go to their surroundings; then the two parts with the most contacts for their size are
    joined, again and again, until no two parts touch as the halves of one body do. Residues of
    a model with pLDDT below 50 and small remainders belong to no domain.

    Parameters
    ----------
    ca : float array, shape (L, 3), Å
        NaN where there is none.
    plddt : float array, shape (L,), optional
    seed : int
        Of Louvain's order of visits.

    Returns
    -------
    tuple of Domain
        In the order of their first residues; empty where nothing is compact.
    """
    import networkx

    solid = np.isfinite(ca).all(axis=1)
    if plddt is not None:
        solid &= ~(plddt < LOW_CONFIDENCE)
    nodes = np.flatnonzero(solid)
    if len(nodes) < MIN_DOMAIN:
        return ()
    pairs = cKDTree(ca[nodes]).query_pairs(CONTACT, output_type="ndarray")
    pairs = nodes[np.sort(pairs, axis=1)]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    distance = np.linalg.norm(ca[pairs[:, 0]] - ca[pairs[:, 1]], axis=1)
    weight = 1.0 / (1.0 + np.exp((distance - HALF) / 1.0))
    graph = networkx.Graph()
    graph.add_nodes_from(nodes.tolist())
    graph.add_weighted_edges_from(
        zip(pairs[:, 0].tolist(), pairs[:, 1].tolist(), weight.tolist(), strict=True)
    )
    label = np.full(len(ca), -1)
    for number, community in enumerate(networkx.community.louvain_communities(graph, seed=seed)):
        label[sorted(community)] = number
    label = _without_short_stretches(label, pairs, weight)
    apart = pairs[:, 1] - pairs[:, 0] > 3  # neighbours in sequence touch in any body
    label = _joined(label, pairs[apart], weight[apart])
    found = [runs(label == number) for number in np.unique(label[label >= 0])]
    ordered = sorted(tuple(stretches) for stretches in found)
    return tuple(Domain(number, stretches) for number, stretches in enumerate(ordered, start=1))


def _without_short_stretches(
    label: NDArray[np.int64], pairs: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Give each stretch shorter than `MIN_STRETCH` to that part beside it which it touches most."""
    label = label.copy()
    while True:
        stretches = _stretches(label)
        short = [
            (last - first, place)
            for place, (first, last, which) in enumerate(stretches)
            if which >= 0 and last - first + 1 < MIN_STRETCH
        ]
        for _, place in sorted(short):
            first, last, _ = stretches[place]
            beside = [
                stretches[other]
                for other in (place - 1, place + 1)
                if 0 <= other < len(stretches) and stretches[other][2] >= 0
            ]
            if beside:
                here = (pairs >= first) & (pairs <= last)
                partner = label[np.where(here[:, 0], pairs[:, 1], pairs[:, 0])]
                touching = here.any(axis=1)
                label[first : last + 1] = max(
                    (which for _, _, which in beside),
                    key=lambda which: float(weight[touching & (partner == which)].sum()),
                )
                break
        else:
            return label


def _stretches(label: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """First and last index and label of each stretch of one label."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(label)) + 1, [len(label)]])
    return [(int(a), int(b) - 1, int(label[a])) for a, b in itertools.pairwise(edges)]


def _joined(
    label: NDArray[np.int64], pairs: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Join parts that touch as much as halves of one body; too small ones join their best neighbour."""
    label = label.copy()
    while True:
        present = np.unique(label[label >= 0])
        if len(present) < 2:
            break
        place = np.searchsorted(present, label)
        touch = np.zeros((len(present), len(present)))
        one, two = place[pairs[:, 0]], place[pairs[:, 1]]
        np.add.at(touch, (one, two), weight)
        touch += touch.T
        inside = 0.5 * np.diagonal(touch)
        touch = touch - np.diag(np.diagonal(touch))
        size = np.array([np.count_nonzero(label == number) for number in present], dtype=np.float64)
        bond = touch / np.maximum(np.minimum(inside[:, None], inside[None, :]), 1.0)
        small = size < MIN_DOMAIN
        if small.any():
            least = int(np.flatnonzero(small)[size[small].argmin()])
            if touch[least].max() == 0.0:
                label[label == present[least]] = -1
            else:
                label[label == present[least]] = present[int(bond[least].argmax())]
            continue
        first, second = np.unravel_index(int(bond.argmax()), bond.shape)
        if bond[first, second] < JOINED:
            break
        label[label == present[second]] = present[first]
    for number in np.unique(label[label >= 0]):
        if np.count_nonzero(label == number) < MIN_DOMAIN:
            label[label == number] = -1
    return _without_holes(label)


def _without_holes(label: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill short gaps within one domain: a residue of low confidence or none in a loop."""
    label = label.copy()
    stretches = _stretches(label)
    for before, gap, after in zip(stretches, stretches[1:], stretches[2:], strict=False):
        first, last, which = gap
        if which < 0 and last - first + 1 < MIN_STRETCH and before[2] == after[2]:
            label[first : last + 1] = before[2]
    return label


def describe_stretches(stretches: Sequence[tuple[int, int]]) -> str:
    """Text of stretches given as first and last position.

    Examples
    --------
    >>> describe_stretches([(3, 60), (141, 220)])
    '3-60,141-220'
    """
    return ",".join(f"{first}-{last}" if first != last else f"{first}" for first, last in stretches)
