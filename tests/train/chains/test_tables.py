"""Tables, labels, splits, embeddings on disk and batches: what training reads."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.scores import lddt
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.splits import (
    SPLITS,
    assign_splits,
    check_disjoint,
    pairs_inside,
    read_splits,
    splits_of,
    write_splits,
)
from mutscan.train.chains.tables import Chains, Pairs, read_tables
from mutscan.train.model.batches import ConnectedBatches, all_pairs, pair_weights
from mutscan.train.model.embeddings import build_store
from mutscan.train.model.geometry import N_TARGETS, local_geometry
from tests.made_up_pairs import N_CHAINS, write_tables


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def data(tables: tuple[Path, Path]) -> tuple[Chains, Pairs]:
    return read_tables(*tables)


# Tables


def test_tables_are_read_as_written(tables: tuple[Path, Path], data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    structures, written = (pd.read_parquet(path) for path in tables)
    assert len(chains) == N_CHAINS
    assert len(pairs) == len(written)
    for k in (0, 7, len(pairs) - 1):
        assert chains.ids[pairs.chain_1[k]] == written["id1"][k]
        assert chains.ids[pairs.chain_2[k]] == written["id2"][k]
        assert pairs.tm_score[k] == pytest.approx(written["tm_norm1"][k])
        stored = np.frombuffer(written["alignment"][k], "<i2").reshape(-1, 2)
        assert (pairs.aligned[pairs.starts[k] : pairs.starts[k + 1]] == stored).all()
    row = structures.set_index("id").loc[chains.ids[5]]
    assert chains.sequences[5] == row["sequence"]
    assert chains.ca[5] == pytest.approx(np.frombuffer(row["ca"], "<i2").reshape(-1, 3) / 100)


def test_rows_of_chosen_pairs(data: tuple[Chains, Pairs]) -> None:
    _, pairs = data
    chosen = np.array([9, 2, 2, 30])
    expected = np.concatenate([np.arange(pairs.starts[k], pairs.starts[k + 1]) for k in chosen])
    assert (pairs.rows(chosen) == expected).all()
    part = pairs.take(chosen)
    assert (part.aligned == pairs.aligned[expected]).all()
    assert (part.n_aligned == pairs.n_aligned[chosen]).all()


def test_chains_without_a_pair_are_left_out(tables: tuple[Path, Path], tmp_path: Path) -> None:
    pd.read_parquet(tables[1]).head(1).to_parquet(tmp_path / "one.parquet")
    chains, pairs = read_tables(tables[0], tmp_path / "one.parquet")
    assert (len(chains), len(pairs)) == (2, 1)


def change(tables: tuple[Path, Path], tmp_path: Path, what: str) -> tuple[Path, Path]:
    structures, pairs = (pd.read_parquet(path) for path in tables)
    if what == "no such file":
        return tmp_path / "absent.parquet", tables[1]
    if what == "not parquet":
        (tmp_path / "text.parquet").write_text("id,sequence\n")
        return tmp_path / "text.parquet", tables[1]
    if what == "column":
        pairs = pairs.drop(columns="tm_norm2")
    elif what == "unknown chain":
        pairs.loc[3, "id2"] = "1XYZ_Q"
    elif what == "twice":
        structures = pd.concat([structures, structures.head(1)])
    elif what == "coordinates":
        structures.loc[2, "ca"] = structures.loc[2, "ca"][:-6]
    elif what == "alignment":
        pairs.loc[4, "alignment"] = np.array([[0, 900]], "<i2").tobytes()
    elif what == "tm":
        pairs.loc[5, "tm_norm1"] = 1.5
    structures.to_parquet(tmp_path / "s.parquet")
    pairs.to_parquet(tmp_path / "p.parquet")
    return tmp_path / "s.parquet", tmp_path / "p.parquet"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no such file", r"absent\.parquet: no such file"),
        ("not parquet", "cannot be read as a Parquet table"),
        ("column", "has no column tm_norm2; there are"),
        ("unknown chain", "names the chain 1XYZ_Q"),
        ("twice", "occurs more than once"),
        ("coordinates", "chain f1m0 has .* residues but"),
        ("alignment", "row 5 aligns a residue outside its chains"),
        ("tm", "row 6 has tm_norm1 = 1.5"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    what: str, message: str, tables: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read_tables(*change(tables, tmp_path, what))


# Shards


def write_shard(path: Path, *, exponent: float = 3.0, radius: float = 15.0, **changes: object) -> None:
    row = {
        "id1": "f0m0", "id2": "f0m1", "tm_norm1": 0.8, "tm_norm2": 0.7, "len1": 0, "len2": 0,
        "n_aligned": 3, "i1": [0, 2, 3], "i2": [1, 2, 5], "lddt": [0.5, float("nan"), 1.0],
        "lddt_exponent": exponent, "radius": radius,
    } | changes  # fmt: skip
    path.parent.mkdir(exist_ok=True)
    pd.DataFrame([row]).to_parquet(path)


@pytest.fixture
def ends(data: tuple[Chains, Pairs]) -> dict[str, int]:
    lengths = dict(zip(data[0].ids, data[0].lengths.tolist(), strict=True))
    return {"len1": lengths["f0m0"], "len2": lengths["f0m1"]}


def test_shards_are_read_in_the_order_of_their_names(
    tables: tuple[Path, Path], ends: dict[str, int], tmp_path: Path
) -> None:
    write_shard(tmp_path / "pairs" / "part-00001.parquet", **ends, tm_norm1=0.6)
    write_shard(tmp_path / "pairs" / "part-00000.parquet", **ends)
    for folder in (tmp_path, tmp_path / "pairs"):
        chains, pairs = read_tables(tables[0], folder)
        assert pairs.tm_score.tolist() == pytest.approx([0.8, 0.6])
        assert pairs.aligned.tolist() == [[0, 1], [2, 2], [3, 5]] * 2
        assert pairs.stored_labels(3.0, 15.0) == pytest.approx([0.5, np.nan, 1.0] * 2, nan_ok=True)
    assert len(chains) == 2


def test_a_table_without_labels_has_none(data: tuple[Chains, Pairs]) -> None:
    assert data[1].stored_labels(3.0, 15.0) is None
    assert data[1].take(np.array([0])).lddt is None


@pytest.mark.parametrize(("exponent", "radius"), [(5.0, 15.0), (3.0, 10.0)])
def test_labels_of_other_settings_are_refused(
    exponent: float, radius: float, tables: tuple[Path, Path], ends: dict[str, int], tmp_path: Path
) -> None:
    write_shard(tmp_path / "pairs" / "a.parquet", **ends)
    _, pairs = read_tables(tables[0], tmp_path)
    asked = f"exponent {exponent:g} and radius {radius:g}"
    with pytest.raises(UsageError, match=f"labels of exponent 3 and radius 15, asked for are {asked}"):
        pairs.take(np.array([0])).stored_labels(exponent, radius)
    write_shard(tmp_path / "pairs" / "b.parquet", **ends, exponent=exponent, radius=radius)
    name, one, other = ("lddt_exponent", 3.0, 5.0) if exponent != 3 else ("radius", 10.0, 15.0)
    with pytest.raises(UsageError, match=f"mixes lDDT labels of {name} {one} and {other}"):
        read_tables(tables[0], tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"len2": 7}, r"a\.parquet: row 1 has len2 = 7 but .* holds \d+ residues of f0m1"),
        ({"i2": [1, 2]}, r"a\.parquet: row 1 has 3 values of i1 but 2 of i2"),
        ({"lddt": [1.0]}, r"row 1 has 3 values of i1 but 1 of lddt"),
        ({"i1": [0, 2, 90]}, r"a\.parquet: row 1 aligns a residue outside its chains"),
        ({"tm_norm1": 0.0}, r"a\.parquet: row 1 has tm_norm1 = 0\.0"),
    ],
)
def test_a_shard_that_does_not_fit_is_refused(
    changes: dict[str, object],
    message: str,
    tables: tuple[Path, Path],
    ends: dict[str, int],
    tmp_path: Path,
) -> None:
    write_shard(tmp_path / "pairs" / "a.parquet", **(ends | changes))
    with pytest.raises(UsageError, match=message):
        read_tables(tables[0], tmp_path)


def test_a_folder_of_nothing_or_of_two_forms_is_refused(
    tables: tuple[Path, Path], ends: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="contains no Parquet file"):
        read_tables(tables[0], tmp_path)
    write_shard(tmp_path / "a.parquet", **ends)
    pd.read_parquet(tables[1]).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(UsageError, match=r"b\.parquet: has the columns .* must have the same columns"):
        read_tables(tables[0], tmp_path)


# Labels


@pytest.mark.parametrize("exponent", [0.0, 3.0])
@pytest.mark.parametrize("batch_elements", [1, 5_000, 4_000_000])
def test_labels_are_those_of_scores(exponent: float, batch_elements: int, data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    labels = lddt_labels(chains, pairs, exponent=exponent, batch_elements=batch_elements)
    for k in range(0, len(pairs), 5):
        part = pairs.aligned[pairs.starts[k] : pairs.starts[k + 1]]
        reference = chains.ca[pairs.chain_1[k]][part[:, 0]]
        model = chains.ca[pairs.chain_2[k]][part[:, 1]]
        expected = lddt(reference, model, exponent=exponent)
        np.testing.assert_allclose(labels[pairs.starts[k] : pairs.starts[k + 1]], expected, atol=1e-6)


def test_a_residue_without_neighbours_has_no_label() -> None:
    ca = np.array([[0, 0, 0], [3.8, 0, 0], [50, 0, 0]], np.float32)
    chains = Chains(("a", "b"), ("AAA", "AAA"), (ca, ca), None)
    aligned = np.repeat(np.arange(3, dtype=np.int32)[:, None], 2, axis=1)
    one = np.ones(1, np.float32)
    pairs = Pairs(np.array([0]), np.array([1]), one, one, aligned, np.array([0, 3]))
    assert lddt_labels(chains, pairs).tolist() == pytest.approx([1.0, 1.0, np.nan], nan_ok=True)


# Splits


def test_a_cluster_is_never_divided_and_shares_are_kept() -> None:
    clusters = np.repeat(np.arange(3000), 3)
    splits = assign_splits(clusters, seed=1)
    assert all(len(set(splits[3 * c : 3 * c + 3])) == 1 for c in range(3000))
    assert [np.mean(splits == name) for name in SPLITS] == pytest.approx([0.8, 0.1, 0.1], abs=0.02)
    assert (assign_splits(clusters[::-1], seed=1) == splits[::-1]).all(), "the order does not matter"
    assert (assign_splits(clusters, seed=2) != splits).any()


def test_pairs_across_splits_are_left_out(data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    assert chains.clusters is not None
    splits = assign_splits(chains.clusters)
    inside = {name: pairs_inside(pairs, splits, name) for name in SPLITS}
    for name, rows in inside.items():
        assert set(splits[pairs.chain_1[rows]]) | set(splits[pairs.chain_2[rows]]) == {name}
    assert 0 < sum(map(len, inside.values())) < len(pairs)


def test_split_list_as_text(data: tuple[Chains, Pairs], tmp_path: Path) -> None:
    chains, _ = data
    assert chains.clusters is not None
    splits = assign_splits(chains.clusters)
    write_splits(tmp_path / "splits.csv", chains, splits)
    entries = read_splits(tmp_path / "splits.csv")
    assert set(entries) == set(chains.ids)
    assert (splits_of(chains, entries) == splits).all()
    strangers = Chains(("x",), ("ACDEFG",), (np.zeros((6, 3), np.float32),), None)
    assert splits_of(strangers, entries).tolist() == [""]


def test_what_is_no_split_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_splits(tmp_path / "splits.csv")
    (tmp_path / "splits.csv").write_text("id,split\na,train\n")
    with pytest.raises(UsageError, match="line 2 is no row of a split list"):
        read_splits(tmp_path / "splits.csv")


def relabelled(chains: Chains, suffix: str, clusters: np.ndarray | None) -> Chains:
    """The same chains with other names, other sequences and these clusters."""
    return Chains(
        tuple(name + suffix for name in chains.ids),
        tuple(sequence[::-1] for sequence in chains.sequences),
        chains.ca,
        clusters,
    )


def test_a_protein_on_both_sides_is_refused_and_named(data: tuple[Chains, Pairs], tmp_path: Path) -> None:
    chains, _ = data
    assert chains.clusters is not None
    splits = assign_splits(chains.clusters)
    write_splits(tmp_path / "splits.csv", chains, splits)
    entries = read_splits(tmp_path / "splits.csv")
    assert check_disjoint(chains, np.flatnonzero(splits == "test"), entries)
    for name in ("train", "validation"):
        seen = int(np.flatnonzero(splits == name)[0])
        with pytest.raises(UsageError, match=rf"1 of the 1 chains .*\({chains.ids[seen]}\)"):
            check_disjoint(chains, np.array([seen]), entries)
        renamed = Chains(tuple(f"other{i}" for i in range(len(chains))), chains.sequences, chains.ca, None)
        with pytest.raises(UsageError, match=rf"other{seen}"):
            check_disjoint(renamed, np.array([seen]), entries)


def test_a_cluster_on_both_sides_is_refused_where_clusters_can_be_compared(
    data: tuple[Chains, Pairs], tmp_path: Path
) -> None:
    chains, _ = data
    assert chains.clusters is not None
    splits = assign_splits(chains.clusters)
    write_splits(tmp_path / "splits.csv", chains, splits)
    entries = read_splits(tmp_path / "splits.csv")
    test = int(np.flatnonzero(splits == "test")[0])
    seen = int(np.flatnonzero(splits == "train")[0])
    # A new protein of a training cluster, in a table that also holds a chain of the test split.
    both = chains.take(np.array([test, seen]))
    mixed = Chains(both.ids, (both.sequences[0], both.sequences[1][::-1]), both.ca, both.clusters)
    with pytest.raises(UsageError, match=rf"1 clusters .*\({chains.clusters[seen]}\)"):
        check_disjoint(mixed, np.array([1]), entries)
    check_disjoint(mixed, np.array([0]), entries)
    # Numbers of an unrelated clustering say nothing.
    assert not check_disjoint(relabelled(chains, "'", chains.clusters), np.arange(len(chains)), entries)


def test_what_was_compared_is_said(data: tuple[Chains, Pairs], tmp_path: Path) -> None:
    chains, _ = data
    assert chains.clusters is not None
    splits = assign_splits(chains.clusters)
    write_splits(tmp_path / "splits.csv", chains, splits)
    entries = read_splits(tmp_path / "splits.csv")
    seen = int(np.flatnonzero(splits == "train")[0])
    rng = np.random.default_rng(0)
    stranger = "".join(rng.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60))
    part = chains.sequences[seen][2:] + "W"
    foreign = Chains(("x", "y"), (stranger, part), (np.zeros((60, 3)), np.zeros((len(part), 3))), None)  # type: ignore[arg-type]
    found = check_disjoint(foreign, np.array([0, 1]), entries)
    assert not found.clusters
    assert found.copies is not None
    ((name, other, share),) = found.copies
    assert name == "y"
    assert entries[other].split != "test"
    assert share > 0.8
    assert "clusters not compared" in found.describe()
    assert "1 chains are parts or close homologues of training chains: y (" in found.describe()
    assert "and shared parts of sequences: none" in check_disjoint(foreign, np.array([0]), entries).describe()
    # Lists of earlier models name no sequences.
    lines = [line.rsplit(",", 1)[0] for line in (tmp_path / "splits.csv").read_text().splitlines()]
    (tmp_path / "old.csv").write_text("\n".join(lines) + "\n")
    old = check_disjoint(foreign, np.array([0, 1]), read_splits(tmp_path / "old.csv"))
    assert old.copies is None
    assert "shared parts not compared" in old.describe()
    same = Chains(("z",), (chains.sequences[seen],), (chains.ca[seen],), None)
    with pytest.raises(UsageError, match=rf"\(z \(there {chains.ids[seen]}\)\)"):
        check_disjoint(same, np.array([0]), entries)


# Embeddings on disk


class CountingEncoder:
    """Embeds a sequence by its letters; can be told to fail after some sequences."""

    key = "counting"
    dim = 3

    def __init__(self, fail_after: int | None = None) -> None:
        self.fail_after = fail_after
        self.embedded: list[str] = []

    def embed(self, sequences):  # type: ignore[no-untyped-def]
        for index, sequence in enumerate(sequences):
            if len(self.embedded) == self.fail_after:
                raise KeyboardInterrupt
            self.embedded.append(sequence)
            yield index, np.array([[ord(letter), len(sequence), 1.0] for letter in sequence], np.float32)


def test_embeddings_are_made_once_and_continued(data: tuple[Chains, Pairs], tmp_path: Path) -> None:
    chains, _ = data
    with pytest.raises(KeyboardInterrupt):
        build_store(tmp_path, chains, CountingEncoder(fail_after=20))  # type: ignore[arg-type]
    second = CountingEncoder()
    store = build_store(tmp_path, chains, second)  # type: ignore[arg-type]
    assert len(second.embedded) == N_CHAINS - 20
    for chain in (0, 19, 20, N_CHAINS - 1):
        assert store[chain][:, 0].tolist() == [ord(letter) for letter in chains.sequences[chain]]
    third = CountingEncoder()
    build_store(tmp_path, chains, third)  # type: ignore[arg-type]
    assert third.embedded == []
    other = SimpleNamespace(key="other", dim=3, embed=(fourth := CountingEncoder()).embed)
    build_store(tmp_path, chains, other)  # type: ignore[arg-type]
    assert len(fourth.embedded) == N_CHAINS


# Geometry


def test_geometry_of_a_helix() -> None:
    turn = np.deg2rad(100.0) * np.arange(30)
    helix = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(30)], axis=1).astype(np.float32)
    targets = local_geometry(helix)
    assert targets.shape == (30, N_TARGETS)
    torsion = np.rad2deg(np.arctan2(targets[1:-2, 1], targets[1:-2, 0]))
    assert torsion == pytest.approx(np.full(27, 50.0), abs=3.0)  # right-handed
    mirrored = local_geometry(helix * np.array([1, 1, -1], np.float32))
    assert mirrored[1:-2, 1] == pytest.approx(-targets[1:-2, 1], abs=1e-5)
    assert np.isnan(targets[0, :4]).all()
    assert np.isnan(targets[-2:, :2]).all()
    assert not np.isnan(targets[:, 4]).any()


def test_geometry_stops_at_a_break() -> None:
    line = np.stack([3.8 * np.arange(12), np.tile([0.0, 1.0], 6), np.zeros(12)], axis=1).astype(np.float32)
    line[6:] += 20.0
    targets = local_geometry(line)
    assert np.isnan(targets[[5, 6], 2]).all()
    assert not np.isnan(targets[[4, 7], 2]).any()
    assert np.isnan(targets[[4, 5, 6], 0]).all()
    assert np.isnan(local_geometry(line[:3])[:, :4]).all()


# Batches


def batches_of(data: tuple[Chains, Pairs], **settings: float) -> ConnectedBatches:
    chains, pairs = data
    labels = np.arange(len(pairs.aligned), dtype=np.float32)  # each row knows its place
    weights = np.linspace(0.5, 1.5, len(pairs), dtype=np.float32)
    given = {"residues": 400, "neighbours": 3, "lddt_from": 0.5, "seed": 0} | settings
    return ConnectedBatches(chains, pairs, labels, weights, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("step", range(5))
def test_a_batch_holds_all_pairs_among_its_chains(step: int, data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    batches = batches_of(data)
    batch = batches(step)
    inside = np.isin(pairs.chain_1, batch.chains) & np.isin(pairs.chain_2, batch.chains)
    found = {
        (int(batch.chains[a]), int(batch.chains[b])) for a, b in zip(batch.first, batch.second, strict=True)
    }
    expected = np.flatnonzero(inside)
    assert found == {(int(pairs.chain_1[k]), int(pairs.chain_2[k])) for k in expected}
    assert len(batch.first) == len(expected)
    assert (np.diff(batch.lengths.numpy()) >= 0).all()
    assert int(batch.lengths.sum()) >= 400
    # Aligned residues are found by their row, in chains laid end to end.
    letters = "".join(chains.sequences[c] for c in batch.chains)
    for r in range(0, len(batch.lddt), 7):
        row = int(batch.lddt[r])
        k = int(np.searchsorted(pairs.starts, row, side="right")) - 1
        p = int(batch.pair_of[r])
        assert batch.tm_score[p] == pairs.tm_score[k] >= 0.5
        assert batch.chains[batch.first[p]] == pairs.chain_1[k]
        i, j = pairs.aligned[row]
        assert letters[batch.residue_1[r]] == chains.sequences[pairs.chain_1[k]][i]
        assert letters[batch.residue_2[r]] == chains.sequences[pairs.chain_2[k]][j]


def test_batches_depend_on_seed_and_step_alone(data: tuple[Chains, Pairs]) -> None:
    forward = [batches_of(data)(step).chains.tolist() for step in range(4)]
    backward = [batches_of(data)(step).chains.tolist() for step in (3, 2, 1, 0)][::-1]
    assert forward == backward
    assert len({tuple(chains) for chains in forward}) > 1
    assert forward != [batches_of(data, seed=1)(step).chains.tolist() for step in range(4)]


def test_pairs_with_remembered_chains(data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    batches = batches_of(data)
    chosen = batches(0).chains
    remembered = np.zeros(len(chains), bool)
    remembered[::2] = True
    memory = batches.with_memory(chosen, remembered)
    expected = set()
    for a, b in zip(pairs.chain_1.tolist(), pairs.chain_2.tolist(), strict=True):
        for mine, other in ((a, b), (b, a)):
            if mine in chosen and other not in chosen and remembered[other]:
                expected.add((mine, other, len(chains.sequences[a]), len(chains.sequences[b])))
    found = {
        (int(chosen[p]), int(q), int(n), int(m))
        for p, q, n, m in zip(memory.place, memory.partner, memory.length_1, memory.length_2, strict=True)
    }
    assert found == expected
    assert len(memory.place) == len(expected) > 0


def test_weights_have_mean_one_and_favour_the_rare(data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    plain = pair_weights(chains, pairs, balance_bands=False, balance_clusters=False)
    assert (plain == 1).all()
    weights = pair_weights(chains, pairs, balance_bands=True, balance_clusters=False)
    assert weights.mean() == pytest.approx(1.0, abs=1e-5)
    band = np.clip((pairs.tm_score * 10).astype(int), 0, 9)
    counts = np.bincount(band, minlength=10)
    order = np.argsort(counts[band], kind="stable")
    assert (np.diff(weights[order]) <= 1e-6).all()


def test_all_pairs_in_one_batch(data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    batch = all_pairs(chains, pairs, np.zeros(len(pairs.aligned), np.float32), lddt_from=0.0)
    assert len(batch.first) == len(pairs)
    assert len(batch.lddt) == len(pairs.aligned)
    assert set(batch.weight.tolist()) == {1.0}
