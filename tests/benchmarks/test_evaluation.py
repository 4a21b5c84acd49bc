"""Evaluation as it is, against encoding both chains of every pair in a loop: pytest -m benchmark -s."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.model.checkpoint import find_model
from mutscan.pipeline.network import LoadedModel, load_model
from mutscan.progress import Silent
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.splits import pairs_inside, read_splits, splits_of
from mutscan.train.chains.tables import SIMILAR, Chains, Pairs, read_tables
from mutscan.train.evaluate.pair_metrics import PairPredictions, pair_metrics
from mutscan.train.evaluate.pairs import evaluate_pairs
from mutscan.train.evaluate.predictions import (
    LabelledResidues,
    compare_by_model,
    encode_chains,
    label_residues,
)
from mutscan.train.evaluate.result import Settings
from mutscan.train.statistics.bootstrap import ClusterBootstrap

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SAMPLED = 60  # pairs the obvious way is timed on


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("mutscan-mini", device="cpu")


@pytest.fixture(scope="module")
def test_split(shared: Path, loaded: LoadedModel) -> tuple[Chains, Pairs]:
    chains, pairs = read_tables(shared / "data" / "structures.parquet", shared / "data" / "pairs.parquet")
    splits = splits_of(chains, read_splits(loaded.path / "splits.csv"))
    return chains, pairs.take(pairs_inside(pairs, splits, "test"))


def labels_of(loaded: LoadedModel, chains: Chains, pairs: Pairs) -> LabelledResidues:
    shape = loaded.config
    return label_residues(
        chains, pairs, pairs.tm_score >= SIMILAR, exponent=shape.lddt_exponent, radius=shape.lddt_radius
    )


def obvious_way(loaded: LoadedModel, chains: Chains, pairs: Pairs) -> list[float]:
    """Pair by pair: embed and encode both chains, compare, label."""
    scores = []
    for k in range(len(pairs)):
        pair = pairs.take(np.array([k]))
        first, second = (
            loaded.predictor.encode(loaded.encoder.embed_one(chains.sequences[c]), chains.sequences[c])
            for c in (int(pair.chain_1[0]), int(pair.chain_2[0]))
        )
        scores.append(loaded.predictor.compare(first, second, pairs=pair.aligned).tm_score)
        if pair.tm_score[0] >= SIMILAR:
            lddt_labels(chains, pair)
    return scores


def test_each_chain_once_against_both_chains_of_every_pair(
    loaded: LoadedModel, test_split: tuple[Chains, Pairs], capsys: pytest.CaptureFixture[str]
) -> None:
    chains, pairs = test_split
    sample = pairs.take(np.random.default_rng(0).choice(len(pairs), SAMPLED, replace=False))
    start = time.process_time()
    expected = obvious_way(loaded, chains, sample)
    plain = (time.process_time() - start) / SAMPLED

    start = time.process_time()
    used = np.unique(np.concatenate([pairs.chain_1, pairs.chain_2]))
    residues = labels_of(loaded, chains, pairs)
    encoded = encode_chains(loaded, chains, used, used, Silent())
    encoding = time.process_time() - start
    start = time.process_time()
    no_mutant = np.zeros(len(pairs), dtype=np.bool_)
    compared = compare_by_model(loaded, encoded, chains, pairs, residues, no_mutant, Silent())
    comparing = time.process_time() - start
    ours = (encoding + comparing) / len(pairs)

    place = {(int(a), int(b)): k for k, (a, b) in enumerate(zip(pairs.chain_1, pairs.chain_2, strict=True))}
    rows = [place[int(a), int(b)] for a, b in zip(sample.chain_1, sample.chain_2, strict=True)]
    np.testing.assert_allclose(compared.tm_score[rows], expected, atol=1e-5)
    with capsys.disabled():
        print(
            f"\n{len(pairs)} pairs of {len(used)} chains, CPU time of one thread: {encoding:.1f} s to encode "
            f"and label, {comparing:.2f} s to compare, {1e3 * ours:.1f} ms a pair; both of every pair, on "
            f"{SAMPLED} pairs: {1e3 * plain:.1f} ms a pair (ratio {plain / ours:.1f})"
        )
    assert plain / ours > 4


def test_comparing_many_pairs_against_one_after_the_other(
    loaded: LoadedModel, test_split: tuple[Chains, Pairs], capsys: pytest.CaptureFixture[str]
) -> None:
    chains, pairs = test_split
    few = pairs.take(np.argsort(pairs.chain_1, kind="stable")[:600])
    used = np.unique(np.concatenate([few.chain_1, few.chain_2]))
    residues = labels_of(loaded, chains, few)
    encoded = encode_chains(loaded, chains, used, used[:0], Silent())
    alone = {
        int(c): loaded.predictor.encode(loaded.encoder.embed_one(chains.sequences[c]), chains.sequences[c])
        for c in used
    }
    start = time.process_time()
    no_mutant = np.zeros(len(few), dtype=np.bool_)
    together = compare_by_model(loaded, encoded, chains, few, residues, no_mutant, Silent())
    ours = time.process_time() - start
    start = time.process_time()
    one_by_one = [
        loaded.predictor.compare(
            alone[int(few.chain_1[k])],
            alone[int(few.chain_2[k])],
            pairs=residues.aligned[residues.starts[k] : residues.starts[k + 1]],
        ).tm_score
        for k in range(len(few))
    ]
    plain = time.process_time() - start
    np.testing.assert_allclose(together.tm_score, one_by_one, atol=1e-5)
    with capsys.disabled():
        print(
            f"\n600 encoded pairs: together {ours:.2f} s, one by one {plain:.2f} s (ratio {plain / ours:.1f})"
        )
    assert plain / ours > 1


def test_bootstrap_by_sums_against_drawing_rows(
    test_split: tuple[Chains, Pairs], capsys: pytest.CaptureFixture[str]
) -> None:
    """The statistics of the ``pairs`` section, from made-up predictions for the test split's pairs."""
    chains, pairs = test_split
    rng = np.random.default_rng(0)
    n = len(pairs)
    sizes = np.where(pairs.tm_score >= SIMILAR, pairs.n_aligned, 0)
    lddt = 1 - 0.1 * rng.random(int(sizes.sum()))
    assert chains.clusters is not None
    p = PairPredictions(
        group=chains.clusters[pairs.chain_1],
        protein=pairs.chain_1,
        lengths=np.stack([chains.lengths[pairs.chain_1], chains.lengths[pairs.chain_2]], axis=1),
        picked_as=np.full(n, "", dtype=np.str_),
        tm_score=pairs.tm_score.astype(np.float64),
        tm_predicted=np.clip(pairs.tm_score + rng.normal(scale=0.1, size=n), 0, 1),
        tm_score_2=pairs.tm_score_2.astype(np.float64),
        tm_predicted_2=np.clip(pairs.tm_score_2 + rng.normal(scale=0.1, size=n), 0, 1),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        residue=np.zeros(len(lddt), dtype=np.int64),
        lddt=lddt,
        lddt_predicted=lddt + rng.normal(scale=0.02, size=len(lddt)),
    )
    start = time.process_time()
    metrics = pair_metrics(p, tm_constant=0.4, lddt_constant=0.97, identity=np.zeros(n))
    ours = time.process_time() - start

    start = time.process_time()
    some = 40
    drawn = []
    for counts in ClusterBootstrap(p.group).counts[:some]:
        frame = pd.DataFrame({"t": p.tm_score, "y": p.tm_predicted}).iloc[
            np.repeat(np.arange(n), counts.astype(int)[ClusterBootstrap(p.group).place])
        ]
        residues = np.repeat(
            np.arange(len(lddt)), counts.astype(int)[ClusterBootstrap(p.group).place][p.pair_of]
        )
        local = pd.DataFrame({"t": p.lddt[residues], "y": p.lddt_predicted[residues]})
        drawn.append((frame["y"] - frame["t"]).abs().mean())
        for table in (frame, local):
            table.corr()
            table.corr(method="spearman")
    plain = (time.process_time() - start) * 1000 / some
    low, high = metrics["tm"]["mae_ci"]
    assert low < np.mean(drawn) < high
    with capsys.disabled():
        print(
            f"\n1000 resamples of {n} pairs and {len(lddt)} residues, all statistics: {ours:.1f} s; two "
            f"correlations and an MAE by drawing rows: {plain:.0f} s (ratio {plain / ours:.0f})"
        )
    assert plain / ours > 3


def test_seconds_for_the_test_split(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start, start_cpu = time.perf_counter(), time.process_time()
    evaluation = evaluate_pairs(
        str(find_model("mutscan-mini")),
        shared / "data" / "structures.parquet",
        shared / "data" / "pairs.parquet",
        Settings("test", device="cpu"),
    )
    total, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    with capsys.disabled():
        parts = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in evaluation.seconds.items())
        print(f"\n{evaluation.metrics['pairs']['n']} pairs: {total:.1f} s wall ({parts}), {cpu:.1f} s CPU")
    assert cpu < 300
