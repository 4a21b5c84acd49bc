"""The data set decides the splits; `mutscan train model` and `train encoder` follow it."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.progress import Silent
from mutscan.train.chains.clusters import ClusterColumn
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.chains.splits import SPLIT_FILE, assign_splits, complete_splits, read_splits, write_splits
from mutscan.train.dataset.make import make_dataset
from mutscan.train.dataset.plan import PairingSettings
from mutscan.train.dataset.sources import Tables
from mutscan.train.encoder.batches import Vocabulary
from mutscan.train.encoder.distances import read_structures
from mutscan.train.model.training_set import TrainingSet, read_training_set
from tests import tiny_encoders
from tests.made_up_pairs import write_tables

SEED = 3
PIECE = "piece"  # of chain f0m0, in a cluster of its own

SETTINGS = """
steps = 2
warmup = 1
batch_residues = 300
validate_every = 2
precision = "fp32"
[net]
d_model = 16
n_heads = 2
n_layers = 1
d_feed_forward = 32
d_pool = 8
"""


def cluster_apart(seed: int) -> int:
    """Cluster whose split is neither that of cluster 0 with this seed nor that of cluster 0 with seed 0."""
    taken = {*assign_splits(np.array([0]), seed=seed), *assign_splits(np.array([0]), seed=0)}
    return next(k for k in range(1000, 2000) if assign_splits(np.array([k]), seed=seed)[0] not in taken)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tables of no data set; the last chain is a piece of the first one."""
    folder = tmp_path_factory.mktemp("plain")
    structures, pairs = write_tables(folder, families=48)
    chains, listed = pd.read_parquet(structures), pd.read_parquet(pairs)
    whole = chains.iloc[0]
    piece = {
        "id": PIECE, "sequence": whole["sequence"][2:], "ca": whole["ca"][12:],
        "cluster25": cluster_apart(SEED),
    }  # fmt: skip
    pd.concat([chains, pd.DataFrame([piece])], ignore_index=True).to_parquet(structures)
    n = len(piece["sequence"])
    aligned = np.repeat(np.arange(n, dtype="<i2")[:, None], 2, axis=1)
    row = {
        "id1": PIECE, "id2": PIECE, "tm_norm1": 1.0, "tm_norm2": 1.0, "alignment": aligned.tobytes(),
    }  # fmt: skip
    pd.concat([listed, pd.DataFrame([row])], ignore_index=True).to_parquet(pairs)
    return structures, pairs


def make(out: Path, tables: tuple[Path, Path], *, seed: int = SEED, link: bool = False) -> Path:
    source = Tables(*tables, keep_alignments=True)
    make_dataset(out, source, ClusterColumn("cluster25"), PairingSettings(seed=seed, link_clusters=link))
    return out


@pytest.fixture(scope="module")
def dataset(plain: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with another seed than training's, and without linked clusters."""
    return make(tmp_path_factory.mktemp("made") / "data", plain)


def tables_of(folder: Path) -> tuple[Path, Path]:
    return folder / "structures.parquet", folder / "pairs"


def read(*tables: tuple[Path, Path], work: Path, progress: Silent | None = None) -> TrainingSet:
    structures, pairs = zip(*tables, strict=True)
    return read_training_set(
        structures, pairs, seed=0, lddt_from=0.7, work=work, progress=progress or Silent()
    )


def splits_in(data: TrainingSet) -> dict[str, str]:
    return dict(zip(data.chains.ids, data.splits.tolist(), strict=True))


def splits_in_list(path: Path) -> dict[str, str]:
    return {name: entry.split for name, entry in read_splits(path).items()}


def test_a_model_is_trained_with_the_splits_of_its_data_set(dataset: Path, tmp_path: Path) -> None:
    tiny_encoders.quiet_transformers()
    encoder = tiny_encoders.write_esm(tmp_path / "encoder", max_positions=130)
    (tmp_path / "config.toml").write_text(SETTINGS)
    structures, pairs = tables_of(dataset)
    result = CliRunner().invoke(
        app,
        [
            "train", "model", "--structures", str(structures), "--pairs", str(pairs), "--encoder",
            str(encoder), "--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "model"),
            "--device", "cpu", "--threads", "1", "--offline", "--seed", "0",
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output

    def rows(path: Path) -> list[tuple[str, ...]]:
        with path.open(newline="") as lines:
            names = ("id", "sequence_sha256_16", "cluster25", "split")
            return [tuple(row[name] for name in names) for row in csv.DictReader(lines)]

    assert rows(tmp_path / "model" / SPLIT_FILE) == rows(dataset / SPLIT_FILE)
    # The shards name the same splits.
    made = pd.read_parquet(pairs)
    splits = splits_in_list(tmp_path / "model" / SPLIT_FILE)
    inside = made[made["split"] != "across"]
    assert (inside["id1"].map(splits) == inside["split"]).all()
    assert (inside["id2"].map(splits) == inside["split"]).all()


def test_another_seed_and_unlinked_clusters_are_kept(
    dataset: Path, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    splits = splits_in(read(tables_of(dataset), work=tmp_path))
    assert splits == splits_in_list(dataset / SPLIT_FILE)
    assert splits[PIECE] != splits["f0m0"], "the data set was made with --no-link"
    drawn = splits_in(read(plain, work=tmp_path))
    assert drawn[PIECE] == drawn["f0m0"], "plain tables are linked"
    assert sum(drawn[name] != splits[name] for name in drawn) > 10, "of another seed"


def test_a_shard_and_a_whole_data_set_have_its_splits(dataset: Path, tmp_path: Path) -> None:
    expected = splits_in_list(dataset / SPLIT_FILE)
    for pairs in (dataset, next((dataset / "pairs").iterdir())):
        assert splits_in(read((dataset / "structures.parquet", pairs), work=tmp_path)) == expected


def test_structures_from_elsewhere_change_no_split(
    dataset: Path, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    found = splits_in(read((plain[0], dataset / "pairs"), work=tmp_path))
    assert found == splits_in_list(dataset / SPLIT_FILE)


def test_the_splits_are_part_of_what_a_state_was_made_with(
    dataset: Path, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    one = read(tables_of(dataset), work=tmp_path).sha256
    changed = tmp_path / "changed"
    changed.mkdir()
    for name in ("structures.parquet", "pairs"):
        (changed / name).symlink_to(dataset / name)
    text = (dataset / SPLIT_FILE).read_text()
    (changed / SPLIT_FILE).write_text(text.replace(",test,", ",train,"))
    assert read(tables_of(changed), work=tmp_path).sha256 != one


def test_plain_tables_follow_the_data_set_they_are_joined_with(
    plain: tuple[Path, Path], tmp_path: Path
) -> None:
    few = tmp_path / "few.parquet"
    listed = pd.read_parquet(plain[1])
    listed.iloc[: len(listed) // 2].to_parquet(few)
    made = make(tmp_path / "made", (plain[0], few), link=True)
    joined = read(plain, tables_of(made), work=tmp_path)
    known = splits_in_list(made / SPLIT_FILE)
    splits = splits_in(joined)
    assert {name: splits[name] for name in known} == known
    assert len(splits) > len(known)
    linked = link_clusters(joined.chains.sequences, joined.chains.clusters)
    for cluster in np.unique(linked):
        assert len(set(joined.splits[linked == cluster])) == 1
    others = np.flatnonzero(~np.isin(linked, [linked[joined.chains.ids.index(name)] for name in known]))
    assert len(others) > 10
    assert (joined.splits[others] == assign_splits(linked, seed=0)[others]).all()


def test_chains_between_two_splits_are_left_out(
    dataset: Path, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    """f0m0 and its piece are in two splits of the data set: a relative of both belongs in neither."""
    chains = pd.read_parquet(plain[0])
    both = chains.iloc[[0]].assign(id="both", sequence=chains["sequence"][0][:-1], cluster25=5000)
    both["ca"] = [chains["ca"][0][:-6]]
    both.to_parquet(tmp_path / "s.parquet")
    aligned = np.repeat(np.arange(len(both["sequence"].iloc[0]), dtype="<i2")[:, None], 2, axis=1)
    row = {"id1": "both", "id2": "both", "tm_norm1": 1.0, "tm_norm2": 1.0, "alignment": aligned.tobytes()}
    pd.DataFrame([row]).to_parquet(tmp_path / "p.parquet")
    notes: list[str] = []

    class Noted(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    data = read(
        tables_of(dataset), (tmp_path / "s.parquet", tmp_path / "p.parquet"), work=tmp_path, progress=Noted()
    )
    assert splits_in(data)["both"] == ""
    assert any(note.startswith("1 chains are left out") for note in notes)
    assert not any(len(data.pairs) - 1 in data.inside(split) for split in ("train", "validation", "test"))
    write_splits(tmp_path / SPLIT_FILE, data.chains, data.splits)
    assert splits_in_list(tmp_path / SPLIT_FILE) == splits_in_list(dataset / SPLIT_FILE)


def test_two_data_sets_that_divide_a_cluster_are_refused(plain: tuple[Path, Path], tmp_path: Path) -> None:
    one, other = (make(tmp_path / f"seed{seed}", plain, seed=seed, link=True) for seed in (0, 1))
    with pytest.raises(UsageError, match=r"seed0/splits\.csv and .*seed1/splits\.csv put related chains in"):
        read(tables_of(one), tables_of(other), work=tmp_path)
    again = make(tmp_path / "again", plain, seed=0, link=True)
    assert splits_in(read(tables_of(one), tables_of(again), work=tmp_path)) == splits_in_list(
        one / SPLIT_FILE
    )
    with pytest.raises(UsageError, match="belong to two data sets"):
        read((one / "structures.parquet", other / "pairs"), work=tmp_path)


def test_a_list_that_does_not_fit_is_refused(dataset: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("structures.parquet", "pairs"):
        (broken / name).symlink_to(dataset / name)
    lines = (dataset / SPLIT_FILE).read_text().splitlines(keepends=True)
    (broken / SPLIT_FILE).write_text("".join(lines[:-1]))
    with pytest.raises(UsageError, match="1 chains of the data set are not in its split list"):
        read(tables_of(broken), work=tmp_path)
    name, digest, cluster, split, sequence = lines[1].rstrip("\n").split(",")
    moved = "train" if split != "train" else "test"
    (broken / SPLIT_FILE).write_text("".join([*lines, f"twin,{digest},{cluster},{moved},{sequence}\n"]))
    with pytest.raises(UsageError, match=f"twin is in {moved}, but the same sequence is also in {split}"):
        read(tables_of(broken), work=tmp_path)
    assert name


def test_clusters_without_a_known_one_are_trained_on() -> None:
    clusters = np.array([1, 1, 2, 3, 3])
    given = np.array(["", "test", "", "", ""])
    unknown = np.array([True, False, True, True, False])
    drawn = assign_splits(clusters, seed=7)
    assert complete_splits(clusters, given, seed=7, unknown=unknown).tolist() == [
        "test", "test", "train", drawn[3], drawn[4],
    ]  # fmt: skip


def test_an_encoder_learns_distances_from_the_train_split_of_the_data_set(
    dataset: Path, plain: tuple[Path, Path]
) -> None:
    settings = {"chains": 2, "crop": 20, "seed": 0}
    found = read_structures(dataset / "structures.parquet", Vocabulary.standard(), **settings)
    names = pd.read_parquet(dataset / "structures.parquet")["id"]
    assert dict(zip(names, found.splits.tolist(), strict=True)) == splits_in_list(dataset / SPLIT_FILE)
    drawn = read_structures(plain[0], Vocabulary.standard(), **settings)
    chains = pd.read_parquet(plain[0])
    linked = link_clusters(chains["sequence"].tolist(), chains["cluster25"].to_numpy())
    assert (drawn.splits == assign_splits(linked, seed=0)).all(), "as `train model` draws them"
    assert drawn.digest != replace_splits(drawn).digest


def replace_splits(batches):  # type: ignore[no-untyped-def]
    """The same chains in other splits."""
    from copy import copy

    other = copy(batches)
    other.splits = np.roll(batches.splits, 1)
    return other
