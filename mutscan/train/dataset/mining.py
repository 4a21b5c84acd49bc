"""Find pairs with a TM-score of 0.5 to 0.8: chains of different clusters with one fold, without aligning.

Random pairs have a TM-score near 0.28 and pairs of one sequence cluster near 0.9; pairs
between 0.5 and 0.8, which share a fold but not its details, must be searched for. Every chain is
described by a bag of *contact words*: two residues within 10 Å, written as their distance, the
directions the chain runs in at both and towards each other, the handedness of the three, the local
course (helix, strand, other) at both, and how far apart they are in the sequence. Words are
weighted by their rarity, and chains of similar length with similar bags are candidates. Two
domains of one fold share many words even without any sequence identity; the sequence
separation in the words distinguishes topologies that have the same elements in another order.

Measured with TM-align on 300 pairs each, of 10,853 chains of at most 400 residues (seed 0, TM-score
normalised by chain 1; 25 % identity clusters):

==============================  ==========  ==========
pairs                           0.5 to 0.8  0.5 and up
==============================  ==========  ==========
300 mined                       0.62        0.84
3,000 mined                     0.62        0.76
20,000 mined                    0.61        0.68
of the older miner ("struct")   0.25        0.33
random, two clusters            0.02        0.02
==============================  ==========  ==========

Searching for 20,000 takes half a minute of one core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from mutscan.train.chains.tables import Chains

CONTACT: Final = 10.0
"""Å; C-alphas this near, at least `NEAREST` residues apart, make a word."""

NEAREST: Final = 4

SCORE_RANGE: Final = (0.36, 0.60)
"""Cosines of candidates: below, folds differ; above, the two are often near-copies (TM beyond 0.8)."""

LENGTH_RATIO: Final = 0.75
"""Smallest ratio of the shorter to the longer chain, so that the TM-score describes the whole fold."""

PER_CHAIN: Final = 8
"""Largest number of partners of a chain."""

PER_CLUSTER_PAIR: Final = 4
"""Largest number of pairs between the same two clusters, so that large families do not fill the list."""

# Edges of the bins of a word. Angles and distances are coarse, as relatives differ there; sequence
# separation is fine, as it is what topologies differ in.
_DISTANCE: Final = (7.0,)  # Å
_BETWEEN: Final = (-0.5, 0.5)  # cosine between the two directions of the chain
_TOWARDS: Final = (-0.4, 0.4)  # cosine between a direction and the line to the other residue
_HANDED: Final = (0.0,)  # triple product of the three
_SEPARATION: Final = (6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 180)  # residues
_COURSE: Final = (7.2, 11.0)  # Å from residue i - 2 to i + 2: helix below, strand above
_BREAK: Final = 4.5  # Å between neighbours in sequence: beyond, residues are missing between them
_SIZES: Final = tuple(
    len(edges) + 1
    for edges in (_DISTANCE, _BETWEEN, _TOWARDS, _TOWARDS, _HANDED, _SEPARATION, _COURSE, _COURSE)
)
N_WORDS: Final = int(np.prod(_SIZES))

_FOLDED: Final = 1024  # columns the words are hashed to for the search; candidates are scored with all
_SHORTLIST: Final = 32  # candidates scored for each chain
_BLOCK: Final = 512  # chains searched for at a time


def mine_pairs(
    chains: Chains,
    n: int,
    *,
    seed: int,
    exclude: Collection[tuple[str, str]] = (),
    clusters: NDArray[np.int64] | None = None,
) -> list[tuple[int, int]]:
    """Find candidates for pairs with a TM-score of 0.5 to 0.8, from different clusters.

    Clusters take turns in seeded order, so that each is searched once before any is searched twice.
    If there are too few pairs within `SCORE_RANGE`, further partners of the same chains follow, the
    best first, and then those above it: a longer list is a worse one.

    Parameters
    ----------
    chains : Chains
    n : int
        Pairs wanted.
    seed : int
    exclude : collection of (id, id)
        Existing pairs, in either order.
    clusters : int array, shape (number of chains,), optional
        Partners are of different clusters; ``chains.clusters`` by default. Without
        either, every chain is a cluster.

    Returns
    -------
    list of (int, int)
        Indices into `chains` of chain 1 and chain 2 (which of the two comes first is drawn), no pair twice;
        fewer than `n` when there are no more.
    """
    if n < 0:
        raise UsageError(f"{n} pairs to mine: expected at least 0")
    clusters = chains.clusters if clusters is None else clusters
    clusters = np.arange(len(chains)) if clusters is None else np.asarray(clusters, dtype=np.int64)
    if len(clusters) != len(chains):
        raise UsageError(f"{len(clusters)} clusters for {len(chains)} chains: expected one for each")
    rng = np.random.default_rng(seed)
    order = _in_turn(clusters, rng)
    index = {name: k for k, name in enumerate(chains.ids)}
    taken = {
        (min(one, two), max(one, two))
        for one, two in ((index.get(a, -1), index.get(b, -1)) for a, b in exclude)
        if min(one, two) >= 0
    }
    low, high = SCORE_RANGE
    found: list[tuple[int, int]] = []
    others: list[tuple[float, int, int]] = []
    families: dict[tuple[int, int], int] = {}

    def add(one: int, two: int) -> bool:
        pair = (min(one, two), max(one, two))
        family = (int(min(clusters[one], clusters[two])), int(max(clusters[one], clusters[two])))
        if pair in taken or families.get(family, 0) >= PER_CLUSTER_PAIR:
            return False
        taken.add(pair)
        families[family] = families.get(family, 0) + 1
        found.append((one, two) if rng.random() < 0.5 else (two, one))
        return True

    for chain, partners, scores in _neighbours(chains, clusters, order):
        if len(found) >= n:
            break
        count = 0
        for partner, score in zip(partners.tolist(), scores.tolist(), strict=True):
            if low <= score <= high and count < PER_CHAIN and len(found) < n:
                count += add(chain, partner)
            else:
                others.append((score if score <= high else -score, chain, partner))
    for _, one, two in sorted(others, reverse=True):
        if len(found) >= n:
            break
        add(one, two)
    return found


def contact_words(chains: Chains) -> sparse.csr_array:
    """Bags of contact words: how often each of `N_WORDS` occurs in each chain, shape (n, N_WORDS)."""
    rows, words = [], []
    for k, ca in enumerate(chains.ca):
        one = _words(ca.astype(np.float64))
        rows.append(np.full(len(one), k))
        words.append(one)
    row, word = np.concatenate([*rows, np.empty(0, int)]), np.concatenate([*words, np.empty(0, int)])
    bags = sparse.csr_array((np.ones(len(row), np.float32), (row, word)), shape=(len(chains), N_WORDS))
    bags.sum_duplicates()
    return bags


def _words(ca: NDArray[np.float64]) -> NDArray[np.int64]:
    """Contact words of one chain, with repeats."""
    if len(ca) < 2 * NEAREST:
        return np.empty(0, dtype=np.int64)
    direction = np.zeros_like(ca)
    direction[2:-2] = ca[4:] - ca[:-4]
    reach = np.linalg.norm(direction, axis=1)
    unbroken = np.linalg.norm(np.diff(ca, axis=0), axis=1) <= _BREAK
    whole = reach > 0
    whole[2:-2] &= unbroken[:-3] & unbroken[1:-2] & unbroken[2:-1] & unbroken[3:]
    direction[whole] /= reach[whole, None]
    close = cKDTree(ca).query_pairs(CONTACT, output_type="ndarray")
    close = close[np.lexsort((close[:, 1], close[:, 0]))]
    i, j = close.T
    kept = (j - i >= NEAREST) & whole[i] & whole[j]
    i, j = i[kept], j[kept]
    line = ca[j] - ca[i]
    distance = np.linalg.norm(line, axis=1)
    line /= distance[:, None]
    one, two = direction[i], direction[j]
    parts = (
        (distance, _DISTANCE),
        (np.einsum("ij,ij->i", one, two), _BETWEEN),
        (np.einsum("ij,ij->i", one, line), _TOWARDS),
        (np.einsum("ij,ij->i", two, line), _TOWARDS),
        (np.einsum("ij,ij->i", np.cross(one, two), line), _HANDED),
        (j - i, _SEPARATION),
        (reach[i], _COURSE),
        (reach[j], _COURSE),
    )
    words: NDArray[np.int64] = np.ravel_multi_index(
        tuple(np.digitize(value, edges) for value, edges in parts), _SIZES
    ).astype(np.int64)
    return words


def _weighted(bags: sparse.csr_array) -> sparse.csr_array:
    """Square roots of the counts times the words' rarity, every row of length 1 (or 0)."""
    used = np.bincount(bags.indices, minlength=N_WORDS)
    rarity = np.log((bags.shape[0] + 1) / (used + 1))
    values = np.sqrt(bags.data) * rarity[bags.indices]
    row = np.repeat(np.arange(bags.shape[0]), np.diff(bags.indptr))
    norm = np.sqrt(np.bincount(row, values**2, minlength=bags.shape[0]))
    values /= np.maximum(norm, 1e-9)[row]
    return sparse.csr_array((values.astype(np.float32), bags.indices, bags.indptr), shape=bags.shape)


def _neighbours(
    chains: Chains, clusters: NDArray[np.int64], order: NDArray[np.int64]
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.float64]]]:
    """For each chain of `order`: its nearest chains of other clusters and like length, and their cosines."""
    n = len(chains)
    if n < 2:
        return
    weighted = _weighted(contact_words(chains))
    # The search is a dense product; hashing the words to fewer columns, with random signs, keeps
    # products right on average. What it finds is scored with the words themselves.
    hashing = np.random.default_rng(0)
    fold = sparse.csr_array(
        (
            hashing.choice(np.array([-1.0, 1.0], np.float32), N_WORDS),
            (np.arange(N_WORDS), hashing.integers(0, _FOLDED, N_WORDS)),
        ),
        shape=(N_WORDS, _FOLDED),
    )
    folded = np.ascontiguousarray((weighted @ fold).toarray())
    lengths = chains.lengths
    count = min(_SHORTLIST, n - 1)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        similar = folded[block] @ folded.T
        ratio = lengths[block, None] / lengths[None]
        alike = (ratio >= LENGTH_RATIO) & (ratio <= 1 / LENGTH_RATIO)
        allowed = alike & (clusters[block, None] != clusters[None])
        similar[~allowed] = -np.inf
        best = np.argpartition(-similar, count - 1, axis=1)[:, :count]
        best.sort(axis=1)
        exact = _cosines(weighted, block, best)
        exact[~np.take_along_axis(allowed, best, axis=1)] = -np.inf
        ranks = np.argsort(-exact, axis=1, kind="stable")
        for row, chain in enumerate(block.tolist()):
            ranked = ranks[row][np.isfinite(exact[row, ranks[row]])]
            yield chain, best[row, ranked], exact[row, ranked]


def _cosines(
    weighted: sparse.csr_array, rows: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosine of each of `rows`, shape (r,), with its own `others`, shape (r, k)."""
    cosines = np.empty(others.shape)
    for k, (row, partners) in enumerate(zip(rows.tolist(), others, strict=True)):
        query = np.zeros(weighted.shape[1], dtype=np.float32)
        part = slice(weighted.indptr[row], weighted.indptr[row + 1])
        query[weighted.indices[part]] = weighted.data[part]
        cosines[k] = weighted[partners] @ query
    return cosines


def _in_turn(clusters: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """All chains in random order, but the first of every cluster before the second of any."""
    order = rng.permutation(len(clusters))
    by_cluster = order[np.argsort(clusters[order], kind="stable")]
    sizes = np.unique(clusters, return_counts=True)[1]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    turns: NDArray[np.int64] = by_cluster[np.lexsort((place[by_cluster], rank))]
    return turns
