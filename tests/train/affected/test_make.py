"""``mutscan train affected`` from made-up crystals to affected.json, on a tiny model."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.calling.residue_model import Surroundings, read_affected
from mutscan.errors import UsageError
from mutscan.hashes import file_sha256
from mutscan.structures import wild_type_from_structure
from mutscan.train.affected.fit import Rows, fit_tier, join_rows
from mutscan.train.affected.gather import gather_scores
from mutscan.train.affected.hits import chance_among, elements_of, region_hits
from mutscan.train.affected.measure import choose_threshold, inside_pairs
from mutscan.train.affected.pairs import MOST_OF_CLUSTER, CrystalPair, crystal_pairs, read_chains
from mutscan.train.affected.truth import COPY, Truth, find_changed
from mutscan.variants import parse_variant
from tests.made_up_crystals import LENGTH, write_chains, write_crystals
from tests.peptides import helix


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chains(tmp_path_factory.mktemp("chains") / "structures.parquet")


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_crystals(tmp_path_factory.mktemp("crystals"))


@pytest.fixture(scope="module")
def pairs(chains: Path) -> list[CrystalPair]:
    return crystal_pairs(read_chains(chains), None)


def evidence_of(pairs: list[CrystalPair]) -> list[dict[str, np.ndarray]]:
    return [Surroundings(pair.wild_type).evidence(pair.variant) for pair in pairs]


@pytest.fixture(scope="module")
def kept(pairs: list[CrystalPair]) -> tuple[list[CrystalPair], Truth, Rows]:
    evidence = evidence_of(pairs)
    truth = find_changed(pairs, evidence)
    some = [pairs[place] for place in truth.kept]
    return some, truth, join_rows(some, [evidence[place] for place in truth.kept], truth)


def test_pairs_are_those_of_real_chains_that_differ_in_one_residue(pairs: list[CrystalPair]) -> None:
    # A few sites are drawn twice, or lie where a chain is broken.
    assert 50 <= len(pairs) == len({pair.name for pair in pairs}) <= 60
    for pair in pairs:
        for name in pair.name.split():
            assert name.startswith((f"{pair.cluster}_wild", f"{pair.cluster}_mutant"))
    one = pairs[0]
    assert not one.all_atoms
    assert one.group == 100 + one.cluster
    assert one.name.split()[1].startswith(f"{one.cluster}_mutant")
    near = [p.drop[np.abs(np.arange(LENGTH) - p.index) < 4].mean() for p in pairs]
    far = [p.drop[np.abs(np.arange(LENGTH) - p.index) > 15].mean() for p in pairs]
    assert np.mean(near) > 10 * np.mean(far)


def test_a_cluster_gives_so_many_pairs_and_no_more(tmp_path: Path) -> None:
    table = write_chains(tmp_path / "s.parquet", clusters=1, mutants=MOST_OF_CLUSTER + 10)
    found = crystal_pairs(read_chains(table), None)
    assert len(found) == MOST_OF_CLUSTER
    assert len({(pair.wild_type.sequence, str(pair.variant)) for pair in found}) == MOST_OF_CLUSTER
    names = [pair.name for pair in found]
    assert names == [pair.name for pair in crystal_pairs(read_chains(table), None)]
    assert names != [pair.name for pair in crystal_pairs(read_chains(table), None, seed=1)]


def test_a_residue_beside_a_gap_is_no_exchange(tmp_path: Path) -> None:
    table = write_chains(tmp_path / "s.parquet", clusters=1, mutants=1)
    frame = pd.read_parquet(table)
    (pair,) = crystal_pairs(read_chains(table), None)
    row = frame.index[frame["id"] == "0_mutant0"][0]
    ca = np.frombuffer(frame.at[row, "ca"], "<i2").reshape(-1, 3).copy()
    ca[pair.index + 1 :] += 300  # 3 Å: the chain is broken behind the residue
    frame.at[row, "ca"] = ca.tobytes()
    frame.to_parquet(table)
    assert crystal_pairs(read_chains(table), None) == []


def test_crystals_with_all_atoms_come_first(chains: Path, crystals: Path) -> None:
    first = crystal_pairs(read_chains(chains), crystals)[0]
    assert first.all_atoms
    assert str(first.variant) == "K10V"
    # The mutant lacks the first residue; numbers tell which is which.
    assert np.flatnonzero(np.isnan(first.drop)).tolist() == [0]
    assert first.cluster == first.group == -1  # like no chain of the table
    assert first.rmsd > COPY


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("1ABCA", "9XYZA", "K10V", 1), "no structure file 9XYZA"),
        (("1ABCA", "2ABCA", "K10L", 1), "does not carry K10L"),
        (("1ABCA", "2ABCA", "G1L", 1), "does not carry G1L"),
    ],
)
def test_a_table_of_crystals_that_does_not_fit_is_refused(tmp_path, chains, row, message) -> None:
    table = write_crystals(tmp_path / "new")
    pd.DataFrame([row], columns=["wt", "mut", "variant", "n_diff"]).to_csv(table, index=False)
    with pytest.raises(UsageError, match=message):
        crystal_pairs(read_chains(chains), table)


def test_a_table_without_its_columns_is_refused(tmp_path, chains) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("wt,mut\nA,B\n")
    with pytest.raises(UsageError, match="has no column n_diff, variant"):
        crystal_pairs(read_chains(chains), table)


def test_copies_and_noisy_pairs_are_left_out(pairs: list[CrystalPair]) -> None:
    some = [*pairs[:40], replace(pairs[40], rmsd=COPY / 2), replace(pairs[41], drop=pairs[41].drop + 0.5)]
    truth = find_changed(some, evidence_of(some))
    assert truth.kept == [*range(40)]
    assert truth.facts["left_out_copies"]["n"] == truth.facts["left_out_noisy"]["n"] == 1
    assert truth.facts["share_changed_far"] <= 0.02 < truth.facts["share_changed_near"]
    assert truth.facts["n_changed"] == sum(int(one.sum()) for one in truth.changed)


def test_what_moves_around_the_exchange_is_learned(kept: tuple[list[CrystalPair], Truth, Rows]) -> None:
    _, _, rows = kept
    fitted, constant = fit_tier(rows, ("distance",)), fit_tier(rows, ())
    near, far = rows.evidence["distance"] < 4.0, rows.evidence["distance"] > 20.0
    assert fitted.p[near].mean() > 5 * fitted.p[far].mean()
    assert abs(float(rows.weight @ (fitted.p - rows.changed)) / rows.weight.sum()) < 0.01
    assert inside_pairs(fitted.p, rows)["auroc"] > 0.8
    assert inside_pairs(constant.p, rows)["auroc"] == 0.5
    threshold, reached = choose_threshold(fitted.p, rows, 0.2)
    assert reached
    hit = fitted.p >= threshold
    assert rows.weight[hit] @ rows.changed[hit] / rows.weight[hit].sum() >= 0.2
    assert not choose_threshold(fitted.p, rows, 1.1)[1]


def test_a_score_that_is_not_known_at_the_site_does_not_tell_where_it_is(tiny_model, pairs) -> None:
    from mutscan.pipeline.network import load_model
    from mutscan.progress import Silent

    model = load_model(str(tiny_model), device="cpu", offline=True)
    (found,) = gather_scores(model, pairs[:1], {}, seed=0, progress=Silent())
    site = pairs[0].index
    for name in ("z", "predicted_drop"):
        assert np.flatnonzero(np.isnan(found[name])).tolist() == [site - 1, site, site + 1]
    assert np.isnan(found["measured"]).all()


def test_a_ranking_that_knows_the_drops_is_always_right(
    kept: tuple[list[CrystalPair], Truth, Rows],
) -> None:
    some, truth, rows = kept
    drop = truth.joined([pair.drop for pair in some])
    thirds = truth.joined([np.arange(LENGTH) // 15 for _ in some])
    scores = {"drop": drop, "wrong": -drop, "flat": 0 * drop, "nearest": rows.evidence["distance"]}
    found = region_hits(rows, thirds, drop, scores)
    assert found["n_pairs"] > 40
    assert found["drop"]["hit_1"] == 1.0
    assert found["wrong"]["hit_1"] == 0.0
    # A score that says nothing is right by chance, not where the first region is.
    assert found["flat"]["hit_1"] == found["random"]["hit_1"] == pytest.approx(1 / 3, abs=1e-3)
    assert found["nearest"]["hit_1"] > 0.5
    assert chance_among(np.array([np.nan, 1.0, 1.0, 0.0]), 1, 1) == 0.5


def test_elements_are_helices_and_loops() -> None:
    ca = helix("GSMKTAYIAKQRQISFVKSH").ca
    straight = np.arange(8)[:, None] * np.array([0.0, 0.0, 3.8]) + ca[-1] + np.array([0.0, 0.0, 3.8])
    number = elements_of(np.concatenate([ca, straight]))
    assert len(set(number[3:16].tolist())) == 1
    assert number[-1] not in (number[5], -1)


def test_makes_an_affected_json_that_scoring_reads(tmp_path, chains, crystals, tiny_model) -> None:
    from mutscan.cli.app import app

    out = tmp_path / "new" / "affected.json"
    command = ["train", "affected", "--structures", str(chains), "--crystals", str(crystals), "--model"]
    command += [str(tiny_model), "--work", str(tmp_path / "work"), "--device", "cpu", "--offline"]
    command += ["--builder", "template", "--out"]
    result = CliRunner().invoke(app, [*command, str(out)])
    assert result.exit_code == 0, result.output
    assert "affected if p >= " in result.stderr
    document = json.loads(out.read_text())
    assert document["data"]["structures_sha256"] == file_sha256(chains)
    assert document["data"]["crystals_sha256"] == file_sha256(crystals)
    assert document["data"]["n_built"] == 1
    assert document["truth"]["n_pairs"] == len(crystal_pairs(read_chains(chains), crystals))
    assert document["tiers"]["structure"]["auroc"] > 0.7
    assert document["baselines"]["constant"]["auroc"] == 0.5
    assert {"p_affected", "z", "nearest", "random"} <= {*document["regions"]["all pairs"]}
    model = read_affected(out)
    assert model.threshold == document["threshold"]["p"]
    long = helix("GSMKTAYIAKQRQISFVKSHFSRQLEERLGLIGSMKTAYIAKQRQI")
    p = model.probabilities(Surroundings(wild_type_from_structure(long)), parse_variant("K4P"))
    assert p[:8].mean() > 3 * p[30:].mean() > 0
    again = tmp_path / "again.json"
    assert CliRunner().invoke(app, [*command, str(again)]).exit_code == 0
    assert again.read_bytes() == out.read_bytes()


def test_too_few_pairs_are_refused(tmp_path, tiny_model) -> None:
    from mutscan.train.affected.make import train_affected

    table = write_chains(tmp_path / "s.parquet", clusters=4)
    with pytest.raises(UsageError, match="pairs of 4 groups"):
        train_affected(str(tiny_model), table, work=tmp_path, device="cpu")


def test_real_crystals(shared: Path) -> None:
    data = shared / "data"
    found = crystal_pairs(read_chains(data / "structures.parquet"), data / "variants" / "ssym_pairs.csv")
    named = {pair.name: pair for pair in found}
    hub = named["1L63A 1L62A"]
    assert str(hub.variant) == "T109D"
    assert hub.all_atoms
    assert hub.cluster == 78
    assert hub.rmsd == pytest.approx(0.0707, abs=1e-3)
    assert named["2C35_A 2C35.chain_A_A101W_A"].rmsd < COPY  # the wild type's coordinates, edited
