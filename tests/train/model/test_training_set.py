"""Several tables as one training set: clusters, splits, labels, and what mutants weigh."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.progress import Silent
from mutscan.train.chains.splits import assign_splits
from mutscan.train.model.batches import pair_weights
from mutscan.train.model.training_set import TrainingSet, read_training_set
from tests.made_up_pairs import write_tables

LABEL = 0.875  # of every residue of the made-up mutants


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tables(tmp_path_factory.mktemp("natural"))


def write_mutants(folder: Path, natural: tuple[Path, Path], *, exponent: float = 3.0) -> tuple[Path, Path]:
    """Mutants of three wild types: one is a known chain, one a piece of another, one is related to none."""
    folder.mkdir(exist_ok=True)
    known = pd.read_parquet(natural[0])
    rng = np.random.default_rng(5)
    stranger = "".join(rng.choice(list("WCHM"), 30))
    wild_types = {
        "known": (known["sequence"][4], known["ca"][4]),
        "piece": (known["sequence"][6][2:], known["ca"][6][12:]),
        "stranger": (stranger, known["ca"][8][: 6 * 20] + known["ca"][9][: 6 * 10]),
    }
    chains, pairs = [], []
    for name, (sequence, ca) in wild_types.items():
        chains.append({"id": f"wt-{name}", "sequence": sequence, "ca": ca})
        for position in (3, 9):
            letter = "A" if sequence[position] != "A" else "G"
            changed = sequence[:position] + letter + sequence[position + 1 :]
            chains.append({"id": f"{name}:{position}", "sequence": changed, "ca": ca})
            n = len(sequence)
            every = np.arange(n, dtype=np.int32)
            pairs.append(
                {
                    "id1": f"wt-{name}", "id2": f"{name}:{position}", "tm_norm1": 0.99, "tm_norm2": 0.99,
                    "len1": n, "len2": n, "i1": every, "i2": every, "lddt": np.full(n, LABEL, np.float32),
                    "lddt_exponent": exponent, "radius": 15.0, "picked_as": "mutant",
                }
            )  # fmt: skip
    pd.DataFrame(chains).to_parquet(folder / "structures.parquet")
    (folder / "pairs").mkdir(exist_ok=True)
    pd.DataFrame(pairs[:3]).to_parquet(folder / "pairs" / "part-00000.parquet")
    pd.DataFrame(pairs[3:]).to_parquet(folder / "pairs" / "part-00001.parquet")
    return folder / "structures.parquet", folder / "pairs"


def read(*tables: tuple[Path, Path], work: Path, lddt_from: float = 0.7) -> TrainingSet:
    structures, pairs = zip(*tables, strict=True)
    return read_training_set(structures, pairs, seed=0, lddt_from=lddt_from, work=work, progress=Silent())


@pytest.fixture(scope="module")
def both(natural: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("both")
    return read(natural, write_mutants(folder, natural), work=folder)


def test_one_table_is_read_as_it_was(natural: tuple[Path, Path], tmp_path: Path) -> None:
    data = read(natural, work=tmp_path)
    assert data.chains.clusters is not None
    assert (data.splits == assign_splits(data.chains.clusters, seed=0)).all()
    assert not data.mutant.any()
    assert (data.exponent, data.radius) == (3.0, 15.0)
    similar = data.pairs.tm_score >= 0.7
    labelled = [~np.isnan(data.labels_of(np.array([k]))).all() for k in range(len(data.pairs))]
    assert labelled == similar.tolist()


def test_tables_are_laid_end_to_end(both: TrainingSet, natural: tuple[Path, Path], tmp_path: Path) -> None:
    alone = read(natural, work=tmp_path)
    n, m = len(alone.pairs), len(alone.chains)
    assert (len(both.pairs), int(both.mutant.sum())) == (n + 6, 6)
    assert both.tables.tolist() == [0, n, n + 6]
    first = both.pairs.take(np.arange(n))
    for name in ("chain_1", "chain_2", "tm_score", "tm_score_2", "aligned", "starts"):
        assert (getattr(first, name) == getattr(alone.pairs, name)).all()
    np.testing.assert_array_equal(both.lddt[: len(alone.lddt)], alone.lddt)
    for k in range(n, n + 6):
        one = both.pairs.take(np.array([k]))
        a, b = int(one.chain_1[0]), int(one.chain_2[0])
        assert both.chains.ids[a].startswith("wt-")
        assert both.chains.ids[b].split(":")[0] == both.chains.ids[a].removeprefix("wt-")
        assert a >= m
        assert (one.aligned[:, 0] == np.arange(len(both.chains.sequences[a]))).all()


def test_labels_that_are_brought_are_kept(both: TrainingSet) -> None:
    labels = both.labels_of(np.flatnonzero(both.mutant))
    assert (labels == np.float32(LABEL)).all()


def test_mutants_go_where_their_wild_types_relatives_are(both: TrainingSet) -> None:
    clusters = both.chains.clusters
    assert clusters is not None
    place = {name: k for k, name in enumerate(both.chains.ids)}
    for name, relative in (("known", 4), ("piece", 6)):
        for chain in (f"wt-{name}", f"{name}:3", f"{name}:9"):
            assert clusters[place[chain]] == clusters[relative]
            assert both.splits[place[chain]] == both.splits[relative]
    stranger = {clusters[place[chain]] for chain in ("wt-stranger", "stranger:3", "stranger:9")}
    assert len(stranger) == 1
    assert not stranger & set(clusters[:64].tolist())
    assert both.splits[place["stranger:9"]] == "train"


def test_validation_can_leave_mutants_out(both: TrainingSet) -> None:
    everything = both.inside("train")
    assert both.mutant[everything].any()
    assert not both.mutant[both.inside("train", mutants=False)].any()
    short = both.inside("train", longest=30)
    assert len(short) < len(everything)
    assert (both.chains.lengths[both.pairs.chain_1[short]] <= 30).all()
    with pytest.raises(UsageError, match="no pair of chains up to 3 residues lies inside the test split"):
        both.inside("test", longest=3)


def test_mutants_weigh_what_is_asked(both: TrainingSet) -> None:
    settings = {"balance_bands": True, "balance_clusters": True}
    plain = pair_weights(both.chains, both.pairs.take(np.flatnonzero(~both.mutant)), **settings)
    weights = pair_weights(both.chains, both.pairs, mutant=both.mutant, mutant_weight=0.25, **settings)
    assert (weights[both.mutant] == 0.25).all()
    np.testing.assert_array_equal(weights[~both.mutant], plain)


def test_less_similar_pairs_are_labelled_for_a_lower_cut(natural: tuple[Path, Path], tmp_path: Path) -> None:
    few, more = (read(natural, work=tmp_path, lddt_from=cut) for cut in (0.7, 0.2))
    assert np.isnan(few.lddt).sum() > np.isnan(more.lddt).sum()
    known = ~np.isnan(few.lddt)
    np.testing.assert_array_equal(few.lddt[known], more.lddt[known])


def test_labels_are_computed_once(
    natural: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(natural, work=tmp_path)
    monkeypatch.delattr("mutscan.train.model.training_set.lddt_labels")
    np.testing.assert_array_equal(read(natural, work=tmp_path).lddt, first.lddt)


def test_tables_that_do_not_go_together(natural: tuple[Path, Path], tmp_path: Path) -> None:
    three = write_mutants(tmp_path / "three", natural)
    five = write_mutants(tmp_path / "five", natural, exponent=5.0)
    with pytest.raises(UsageError, match=r"exponent and radius 3 and 15 .* and 5 and 15"):
        read(natural, three, five, work=tmp_path)
    with pytest.raises(UsageError, match="no chain has a cluster"):
        read(three, work=tmp_path)
    with pytest.raises(UsageError, match="2 tables of structures for 1 of pairs"):
        read_training_set(
            [natural[0], three[0]], [three[1]], seed=0, lddt_from=0.7, work=tmp_path, progress=Silent()
        )
    other = pd.read_parquet(natural[0])
    other.loc[0, "sequence"] = "G" * len(other["sequence"][0])
    other.to_parquet(tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="chain f0m0 has another sequence than in"):
        read(natural, (tmp_path / "other.parquet", natural[1]), work=tmp_path)
