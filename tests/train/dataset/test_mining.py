"""Mining pairs of one fold across clusters: made-up folds, and TM-align on real ones where there are."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.train.chains.tables import Chains
from mutscan.train.dataset.mining import (
    LENGTH_RATIO,
    N_WORDS,
    PER_CLUSTER_PAIR,
    contact_words,
    mine_pairs,
)

FAMILIES, MEMBERS = 12, 5


def fold(rng: np.random.Generator, length: int) -> np.ndarray:
    """A compact trace: helices and strands of 8 to 14 residues that fold back into a ball."""
    points = [np.zeros(3)]
    while len(points) < length:
        count = int(rng.integers(8, 15))
        along = -points[-1] + rng.normal(scale=8.0, size=3)  # back to the middle, more or less
        along /= np.linalg.norm(along)
        across = np.cross(along, rng.normal(size=3))
        across /= np.linalg.norm(across)
        if rng.random() < 0.5:  # a helix: 1.5 Å rise, 100 degrees, radius 2.3 Å
            turn = np.radians(100.0) * np.arange(count)
            local = np.outer(1.5 * np.arange(count), along)
            local += 2.3 * (np.outer(np.cos(turn), across) + np.outer(np.sin(turn), np.cross(along, across)))
        else:  # a strand: 3.3 Å rise, zigzag
            local = np.outer(3.3 * np.arange(count), along)
            local += np.outer(0.9 * (-1.0) ** np.arange(count), across)
        start = points[-1] + 3.8 * across
        points.extend(start + local - local[0])
    return np.array(points[:length])


def relative(rng: np.random.Generator, trace: np.ndarray) -> np.ndarray:
    """The same fold bent smoothly, with a residue more or less, somewhere else in space."""
    bend = np.cumsum(rng.normal(scale=0.15, size=trace.shape), axis=0)
    bent = trace + bend + rng.normal(scale=0.2, size=trace.shape)
    kept = np.delete(bent, rng.integers(5, len(bent) - 5), axis=0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return kept @ rotation.T + rng.normal(scale=30.0, size=3)


def chains_of(traces: list[np.ndarray], clusters: list[int] | None = None) -> Chains:
    return Chains(
        tuple(f"c{k}" for k in range(len(traces))),
        tuple("A" * len(trace) for trace in traces),
        tuple(trace.astype(np.float32) for trace in traces),
        None if clusters is None else np.array(clusters, dtype=np.int64),
    )


@pytest.fixture(scope="module")
def families() -> Chains:
    """Chain k is of family k // MEMBERS; every chain has a cluster of its own."""
    rng = np.random.default_rng(0)
    traces = []
    for _ in range(FAMILIES):
        trace = fold(rng, int(rng.integers(70, 110)))
        traces += [relative(rng, trace) for _ in range(MEMBERS)]
    return chains_of(traces, list(range(FAMILIES * MEMBERS)))


def key(pairs: list[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs}


def test_pairs_of_one_fold_are_found(families: Chains) -> None:
    pairs = mine_pairs(families, 60, seed=0)
    assert len(pairs) == len(key(pairs)) == 60
    same = [one // MEMBERS == two // MEMBERS for one, two in pairs]
    assert np.mean(same) > 0.9  # 4 of 59 partners are of the family: 0.07 by chance
    assert len({one // MEMBERS for one, _ in pairs}) >= FAMILIES - 2
    first = np.mean([one < two for one, two in pairs])
    assert 0.25 < first < 0.75  # which of the two is chain 1 is drawn


def test_same_seed_same_pairs(families: Chains) -> None:
    pairs = mine_pairs(families, 40, seed=1)
    assert mine_pairs(families, 40, seed=1) == pairs
    assert mine_pairs(families, 40, seed=2) != pairs
    assert mine_pairs(families, 15, seed=1) == pairs[:15]


def test_known_pairs_are_left_out(families: Chains) -> None:
    pairs = mine_pairs(families, 40, seed=0)
    known = {(families.ids[two], families.ids[one]) for one, two in pairs}  # in the other order
    others = mine_pairs(families, 40, seed=0, exclude=known | {("c0", "never heard of")})
    assert len(others) == 40
    assert not key(pairs) & key(others)


def test_partners_are_of_other_clusters_and_like_length(families: Chains) -> None:
    clusters = np.arange(len(families)) // MEMBERS  # now a family is a cluster
    pairs = mine_pairs(families, 30, seed=0, clusters=clusters)
    assert pairs
    assert all(clusters[one] != clusters[two] for one, two in pairs)
    lengths = families.lengths
    ratios = [min(lengths[p], lengths[q]) / max(lengths[p], lengths[q]) for p, q in pairs]
    assert min(ratios) >= LENGTH_RATIO
    per_family: dict[tuple[int, int], int] = {}
    for one, two in pairs:
        family = (min(clusters[one], clusters[two]), max(clusters[one], clusters[two]))
        per_family[family] = per_family.get(family, 0) + 1
    assert max(per_family.values()) <= PER_CLUSTER_PAIR
    assert mine_pairs(families, 30, seed=0, clusters=np.zeros(len(families), int)) == []
    two = mine_pairs(families.take(np.arange(5)), 30, seed=0, clusters=np.array([0, 0, 0, 1, 1]))
    assert len(two) == PER_CLUSTER_PAIR
    assert not key(two) & {(0, 1), (0, 2), (1, 2), (3, 4)}


def test_without_clusters_every_chain_stands_for_itself(families: Chains) -> None:
    bare = Chains(families.ids, families.sequences, families.ca, None)
    assert mine_pairs(bare, 20, seed=0) == mine_pairs(families, 20, seed=0)


def test_no_more_than_there_are(families: Chains) -> None:
    few = families.take(np.arange(4))
    assert key(mine_pairs(few, 100, seed=0)) == {(i, j) for i in range(4) for j in range(i + 1, 4)}
    assert mine_pairs(few, 0, seed=0) == []
    assert mine_pairs(families.take(np.arange(1)), 5, seed=0) == []
    assert mine_pairs(families.take(np.arange(0)), 5, seed=0) == []
    with pytest.raises(UsageError, match="3 clusters for 4 chains"):
        mine_pairs(few, 5, seed=0, clusters=np.arange(3))
    with pytest.raises(UsageError, match="at least 0"):
        mine_pairs(few, -1, seed=0)


def test_words_do_not_see_place_but_hand() -> None:
    rng = np.random.default_rng(3)
    trace = fold(rng, 90)
    turned = trace @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).T + 50.0
    mirrored = trace * np.array([1.0, 1.0, -1.0])
    words = contact_words(chains_of([trace, turned, mirrored])).toarray()
    assert words.shape == (3, N_WORDS)
    assert words[0].sum() > 100
    assert np.abs(words[0] - words[1]).sum() <= 0.02 * words[0].sum()  # a value on the edge of its bin
    assert np.abs(words[0] - words[2]).sum() > 0.5 * words[0].sum()


def test_words_count_contacts() -> None:
    # A hairpin of two straight strands 5 Å apart; the loop is a break, so that nothing else is near.
    up = np.stack([np.zeros(9), np.zeros(9), 3.4 * np.arange(9)], axis=1)
    down = np.stack([np.full(9, 5.0), np.zeros(9), 3.4 * np.arange(8, -1, -1)], axis=1)
    hairpin = np.concatenate([up, [[40.0, 0.0, 30.0]], down])
    # Residues whose direction is known lie two from the ends and from the break: 5 on each strand.
    inner_up, inner_down = range(2, 7), range(12, 17)
    expected = sum(np.linalg.norm(hairpin[i] - hairpin[j]) <= 10.0 for i in inner_up for j in inner_down)
    counts = contact_words(chains_of([hairpin, hairpin[:7], hairpin[:2]])).toarray()
    assert counts[0].sum() == expected > 15
    assert counts[1].sum() == counts[2].sum() == 0


@pytest.mark.slow
def test_real_folds(shared: Path) -> None:
    from tmtools import tm_align

    table = pd.read_parquet(
        shared / "data" / "structures.parquet", columns=["id", "sequence", "ca", "cluster25"]
    )
    table = table[table["sequence"].str.len().between(60, 160)].sample(2500, random_state=0)
    chains = Chains(
        tuple(table["id"]),
        tuple(table["sequence"]),
        tuple(np.frombuffer(ca, "<i2").reshape(-1, 3).astype(np.float32) / 100 for ca in table["ca"]),
        table["cluster25"].to_numpy(np.int64),
    )

    def scores(pairs: list[tuple[int, int]]) -> np.ndarray:
        return np.array(
            [
                tm_align(
                    chains.ca[i].astype(float), chains.ca[j].astype(float),
                    chains.sequences[i], chains.sequences[j],
                ).tm_norm_chain1
                for i, j in pairs
            ]
        )  # fmt: skip

    rng = np.random.default_rng(0)
    mined = mine_pairs(chains, 200, seed=0)
    there = scores([mined[k] for k in rng.choice(200, 60, replace=False)])
    drawn = [(int(i), int(j)) for i, j in rng.integers(0, len(chains), (80, 2))]
    random = scores([(i, j) for i, j in drawn if chains.clusters[i] != chains.clusters[j]][:60])
    assert np.mean((there >= 0.5) & (there < 0.8)) > 0.4
    assert np.mean(there >= 0.5) > 0.5
    assert np.mean(random >= 0.5) < 0.1
