"""Metrics of pairs against plain numpy, scipy and a plain bootstrap; metrics of mutants."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr, spearmanr

from mutscan.train.evaluate.mutant_metrics import DROPS, lddt_drops, mutant_metrics
from mutscan.train.evaluate.pair_metrics import BANDS, PairPredictions, binned, errors, one_hot, pair_metrics
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Ranks, Spearman

TM_KEYS = ("mae", "macro_mae", "pearson", "spearman", "auroc_0.5", "constant_mae", "identity_mae")
LDDT_KEYS = ("mae", "mae_per_protein", "pearson", "constant_mae")
ROWS = ("mae", "mse", "rmse", "sd_error", "sd_abs_error", "bias", "pearson", "r2")


def made_up_predictions(n: int = 200, seed: int = 0) -> PairPredictions:
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    sizes = np.where(truth >= 0.7, rng.integers(5, 30, n), 0)
    lddt = rng.random(int(sizes.sum()))
    protein = np.sort(rng.integers(0, 60, n))
    return PairPredictions(
        group=protein // 3,
        protein=protein,
        lengths=rng.integers(30, 400, (n, 2)),
        picked_as=rng.choice(["rand", "seq", ""], n),
        tm_score=truth,
        tm_predicted=np.clip(truth + rng.normal(scale=0.1, size=n), 0, 1),
        tm_score_2=np.clip(truth + rng.normal(scale=0.05, size=n), 0.01, 1),
        tm_predicted_2=np.clip(truth + rng.normal(scale=0.1, size=n), 0, 1),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        residue=np.concatenate([np.arange(size) for size in sizes]),
        lddt=lddt,
        lddt_predicted=0.5 * lddt + 0.2,
    )


@pytest.fixture(scope="module")
def predictions() -> PairPredictions:
    return made_up_predictions()


@pytest.fixture(scope="module")
def identity() -> np.ndarray:
    return np.random.default_rng(5).random(200)


@pytest.fixture(scope="module")
def metrics(predictions: PairPredictions, identity: np.ndarray) -> dict:
    return pair_metrics(predictions, tm_constant=0.4, lddt_constant=0.9, identity=identity)


def test_metrics_equal_plain_ones(predictions: PairPredictions, identity: np.ndarray, metrics: dict) -> None:
    p = predictions
    tm, lddt = metrics["tm"], metrics["lddt"]
    error = np.abs(p.tm_predicted - p.tm_score)
    assert tm["mae"] == pytest.approx(error.mean())
    bands = [(0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)]
    in_bands = [error[(p.tm_score >= low) & (p.tm_score < high)].mean() for low, high in bands]
    assert tm["macro_mae"] == pytest.approx(np.mean(in_bands))
    assert [band["mae"] for band in metrics["bands"]] == pytest.approx(in_bands)
    assert tm["pearson"] == pytest.approx(pearsonr(p.tm_predicted, p.tm_score)[0])
    assert tm["spearman"] == pytest.approx(spearmanr(p.tm_predicted, p.tm_score)[0])
    positive, negative = p.tm_predicted[p.tm_score >= 0.5], p.tm_predicted[p.tm_score < 0.5]
    higher = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert tm["auroc_0.5"] == pytest.approx(higher.mean())
    assert tm["constant_mae"] == pytest.approx(np.abs(0.4 - p.tm_score).mean())
    assert tm["identity_mae"] == pytest.approx(np.abs(identity - p.tm_score).mean())

    assert lddt["mae"] == pytest.approx(np.abs(p.lddt_predicted - p.lddt).mean())
    assert lddt["pearson"] == pytest.approx(1.0)
    assert lddt["constant_mae"] == pytest.approx(np.abs(0.9 - p.lddt).mean())
    frame = pd.DataFrame({"protein": p.protein[p.pair_of], "e": np.abs(p.lddt_predicted - p.lddt)})
    assert lddt["mae_per_protein"] == pytest.approx(frame.groupby("protein")["e"].mean().mean())
    assert (metrics["n"], metrics["n_lddt_residues"]) == (200, len(p.lddt))
    assert metrics["n_lddt_pairs"] == (p.tm_score >= 0.7).sum()


@pytest.mark.parametrize("what", ["tm", "tm_norm2", "tm_max", "lddt"])
def test_rows_of_the_table_equal_numpy(what: str, predictions: PairPredictions, metrics: dict) -> None:
    p = predictions
    truth, predicted = {
        "tm": (p.tm_score, p.tm_predicted),
        "tm_norm2": (p.tm_score_2, p.tm_predicted_2),
        "tm_max": (np.maximum(p.tm_score, p.tm_score_2), np.maximum(p.tm_predicted, p.tm_predicted_2)),
        "lddt": (p.lddt, p.lddt_predicted),
    }[what]
    row, error = metrics["table"][what], predicted - truth
    expected = {
        "n": len(error),
        "mae": np.abs(error).mean(),
        "mse": (error**2).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "sd_error": error.std(),
        "sd_abs_error": np.abs(error).std(),
        "bias": error.mean(),
        "pearson": np.corrcoef(truth, predicted)[0, 1],
        "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
        "sd_true": truth.std(),
        "sd_predicted": predicted.std(),
    }
    assert {key: row[key] for key in expected} == pytest.approx(expected)
    assert row["collapsed"] is False
    if what in ("tm", "lddt"):
        assert row["spearman"] == pytest.approx(spearmanr(truth, predicted)[0])


def test_every_metric_has_an_interval_around_it(
    predictions: PairPredictions, identity: np.ndarray, metrics: dict
) -> None:
    parts = [(metrics["tm"], TM_KEYS), (metrics["lddt"], LDDT_KEYS)]
    parts += [(row, ROWS) for row in metrics["table"].values()]
    parts += [(band, ("mae", "bias")) for band in metrics["bands"]]
    for part, keys in parts:
        for key in keys:
            low, high = part[f"{key}_ci"]
            assert low - 1e-12 <= part[key] <= high + 1e-12, key
    low, high = metrics["tm"]["mae_ci"]
    assert high - low > 0.005
    again = pair_metrics(predictions, tm_constant=0.4, lddt_constant=0.9, identity=identity)
    assert again == metrics, "seeded"
    other = pair_metrics(predictions, tm_constant=0.4, lddt_constant=0.9, identity=identity, seed=1)
    assert other["tm"]["mae_ci"] != metrics["tm"]["mae_ci"]


def test_intervals_are_those_of_a_plain_bootstrap(predictions: PairPredictions, metrics: dict) -> None:
    """Rows drawn one by one, statistics by numpy and scipy, from the same counts."""
    p = predictions
    bootstrap = ClusterBootstrap(p.group)
    drawn: dict[str, list[float]] = {name: [] for name in ("mae", "pearson", "spearman", "lddt", "protein")}
    for counts in bootstrap.counts:
        rows = np.repeat(np.arange(len(p)), counts.astype(int)[bootstrap.place])
        drawn["mae"].append(np.abs(p.tm_predicted - p.tm_score)[rows].mean())
        drawn["pearson"].append(np.corrcoef(p.tm_predicted[rows], p.tm_score[rows])[0, 1])
        drawn["spearman"].append(spearmanr(p.tm_predicted[rows], p.tm_score[rows])[0])
        residues = np.repeat(np.arange(len(p.lddt)), counts.astype(int)[bootstrap.place][p.pair_of])
        drawn["lddt"].append(np.abs(p.lddt_predicted - p.lddt)[residues].mean())
        # A protein drawn twice counts twice.
        error = np.abs(p.lddt_predicted - p.lddt)
        means = pd.Series(error).groupby(p.protein[p.pair_of]).mean()
        weights = counts[bootstrap.place][[np.flatnonzero(p.protein == k)[0] for k in means.index]]
        drawn["protein"].append(float((means.to_numpy() * weights).sum() / weights.sum()))
    for name, found in (
        ("mae", metrics["tm"]["mae_ci"]),
        ("pearson", metrics["tm"]["pearson_ci"]),
        ("spearman", metrics["tm"]["spearman_ci"]),
        ("lddt", metrics["lddt"]["mae_ci"]),
        ("protein", metrics["lddt"]["mae_per_protein_ci"]),
    ):
        assert found == pytest.approx(np.percentile(drawn[name], [2.5, 97.5])), name


def test_a_resample_draws_as_many_groups_as_there_are() -> None:
    bootstrap = ClusterBootstrap(np.array([7, 7, 3, 9, 9, 9]), n_resamples=50)
    assert bootstrap.counts.shape == (50, 3)
    assert (bootstrap.counts.sum(axis=1) == 3).all()
    assert bootstrap.counts.std() > 0.5


def test_ranks_under_weights_are_those_of_repeated_values() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, 40).astype(float), rng.integers(0, 5, 40).astype(float)  # many ties
    weights = rng.integers(0, 4, 40).astype(float)
    rows = np.repeat(np.arange(40), weights.astype(int))
    assert Spearman(x, y)(weights) == pytest.approx(spearmanr(x[rows], y[rows])[0])
    label = y[rows] > 2
    pairs = (x[rows][label][:, None] > x[rows][~label]) + 0.5 * (x[rows][label][:, None] == x[rows][~label])
    assert Auroc(x, y > 2)(weights) == pytest.approx(pairs.mean())
    assert Ranks(np.array([2.0, 1.0, 2.0])).of(np.ones(3)).tolist() == [2.0, 0.5, 2.0]
    assert np.isnan(Spearman(np.ones(4), np.arange(4.0))(np.ones(4)))


def test_intervals_resample_groups_not_pairs(
    predictions: PairPredictions, identity: np.ndarray, metrics: dict
) -> None:
    p, copies = predictions, 10
    rows = np.repeat(np.arange(len(p)), copies)
    sizes = p.n_residues[rows]
    residues = np.concatenate([np.arange(p.starts[k], p.starts[k + 1]) for k in rows])
    repeated = replace(
        p,
        **{
            name: getattr(p, name)[rows]
            for name in (
                "group", "protein", "lengths", "picked_as", "tm_score", "tm_predicted", "tm_score_2",
                "tm_predicted_2",
            )
        },
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        residue=p.residue[residues],
        lddt=p.lddt[residues],
        lddt_predicted=p.lddt_predicted[residues],
    )  # fmt: skip
    again = pair_metrics(repeated, tm_constant=0.4, lddt_constant=0.9, identity=identity[rows])
    for section in ("tm", "lddt"):
        assert again[section]["mae_ci"] == pytest.approx(metrics[section]["mae_ci"]), "no new evidence"


def test_what_cannot_be_known_is_null(predictions: PairPredictions) -> None:
    few = np.flatnonzero(predictions.tm_score < 0.4)[:6]
    low = replace(predictions.take(few), group=np.zeros(6, dtype=np.int64))
    result = pair_metrics(low, tm_constant=0.4, lddt_constant=0.9, identity=np.zeros(6))
    assert result["tm"]["auroc_0.5"] is None
    assert result["lddt"]["mae"] is None
    assert result["lddt"]["mae_per_protein"] is None
    assert result["tm"]["mae"] is not None
    assert result["tm"]["mae_ci"] is None, "one group cannot be resampled"
    assert result["bands"][4]["n"] == 0
    assert result["bands"][4]["mae"] is None
    json.dumps(result, allow_nan=False)


def test_a_collapsed_model_is_marked() -> None:
    truth = np.linspace(0, 1, 50)
    bootstrap = ClusterBootstrap(np.arange(50))
    assert errors(bootstrap, np.arange(50), truth, 0.5 + 0.09 * (truth - 0.5))["collapsed"] is True
    assert errors(bootstrap, np.arange(50), truth, 0.5 + 0.11 * (truth - 0.5))["collapsed"] is False
    constant = errors(bootstrap, np.arange(50), truth, np.full(50, 0.37))
    assert constant["collapsed"] is True
    assert constant["pearson"] is None
    assert constant["r2"] == pytest.approx(-((0.5 - 0.37) ** 2) / truth.var())


def test_small_differences_near_one_keep_their_digits() -> None:
    rng = np.random.default_rng(0)
    truth = 1 - 1e-5 * rng.random(400)
    predicted = truth + 1e-6 * rng.normal(size=400)
    row = errors(ClusterBootstrap(np.arange(400) // 4), np.arange(400), truth, predicted)
    assert row["pearson"] == pytest.approx(np.corrcoef(truth, predicted)[0, 1], abs=1e-6)
    assert row["sd_error"] == pytest.approx((predicted - truth).std(), rel=1e-6)


def test_bins_are_half_open_but_the_last() -> None:
    assert one_hot(np.array([0.0, 0.2, 0.79999, 0.8, 1.0]), BANDS).argmax(axis=0).tolist() == [0, 1, 3, 4, 4]
    bootstrap = ClusterBootstrap(np.arange(5))
    truth = np.array([0.0, 0.2, 0.7, 0.8, 1.0])
    result = binned(bootstrap, np.arange(5), truth, truth + 0.1, truth, BANDS)
    assert [entry["n"] for entry in result] == [1, 1, 0, 1, 2]
    assert result[4]["bias"] == pytest.approx(0.1)
    assert result[4]["mean_true"] == pytest.approx(0.9)


def test_length_bias_and_ways_of_picking(predictions: PairPredictions, metrics: dict) -> None:
    p = predictions
    ratio = p.lengths[:, 1] / p.lengths[:, 0]
    inside = (ratio >= 0.5) & (ratio < 0.7)
    error = p.tm_predicted - p.tm_score
    entry = metrics["length_ratio"][1]
    assert (entry["from"], entry["to"], entry["n"]) == (0.5, 0.7, inside.sum())
    assert entry["bias"] == pytest.approx(error[inside].mean())
    assert metrics["length_ratio"][-1]["to"] is None
    assert sum(entry["n"] for entry in metrics["length"]) == len(p)
    assert set(metrics["picked_as"]) == {"rand", "seq"}
    chosen = p.picked_as == "seq"
    part = metrics["picked_as"]["seq"]
    assert part["tm"]["mae"] == pytest.approx(np.abs(error[chosen]).mean())
    residues = chosen[p.pair_of]
    assert part["lddt"]["mae"] == pytest.approx(np.abs(p.lddt_predicted - p.lddt)[residues].mean())
    assert part["n_lddt_residues"] == residues.sum()


# Mutants


def made_up_mutants(skill: float, n_proteins: int = 20, each: int = 8) -> tuple[PairPredictions, tuple]:
    """Mutants whose measured drop is largest at the site; predictions follow it by `skill`."""
    rng = np.random.default_rng(1)
    length, n = 30, n_proteins * each
    site = rng.integers(2, length - 2, n)
    depth = 0.02 * rng.random(n)
    away = np.abs(np.arange(length) - site[:, None])
    lddt = 1 - depth[:, None] * np.exp(-away / 3)
    guess = skill * depth + (1 - skill) * 0.02 * rng.random(n)
    predicted = 1 - guess[:, None] * np.exp(-away / 3)
    zero = np.zeros(n, dtype=np.int64)
    p = PairPredictions(
        group=zero,
        protein=np.repeat(np.arange(n_proteins), each),
        lengths=np.full((n, 2), length),
        picked_as=np.full(n, "mutant"),
        tm_score=1 - depth / 10,
        tm_predicted=1 - guess / 10,
        tm_score_2=1 - depth / 10,
        tm_predicted_2=1 - guess / 10,
        starts=np.arange(n + 1) * length,
        residue=np.tile(np.arange(length), n),
        lddt=lddt.reshape(-1),
        lddt_predicted=predicted.reshape(-1),
    )
    return p, (np.arange(n), site)


def test_drops_are_those_of_a_plain_loop() -> None:
    p, sites = made_up_mutants(0.5, n_proteins=3)
    # A second substitution in the first mutant, and a residue of it without a label.
    keep = np.ones(len(p.lddt), dtype=bool)
    keep[29] = False
    sizes = p.n_residues - (np.arange(len(p)) == 0)
    p = replace(
        p,
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        residue=p.residue[keep],
        lddt=p.lddt[keep],
        lddt_predicted=p.lddt_predicted[keep],
    )
    sites = (np.append(sites[0], 0), np.append(sites[1], 15))
    drops = lddt_drops(p, sites)
    for k in range(len(p)):
        part = slice(p.starts[k], p.starts[k + 1])
        at = sites[1][sites[0] == k]
        for lddt, found in ((p.lddt[part], drops.measured), (p.lddt_predicted[part], drops.predicted)):
            on = np.isin(p.residue[part], at)
            near = np.abs(p.residue[part][:, None] - at).min(axis=1) <= 1
            assert found["chain"][k] == pytest.approx((1 - lddt).mean())
            assert found["site"][k] == pytest.approx((1 - lddt)[on].max())
            assert found["outside"][k] == pytest.approx((1 - lddt)[~near].mean())


def test_a_skilled_model_ranks_mutants_and_beats_the_constant() -> None:
    p, sites = made_up_mutants(0.9)
    result = mutant_metrics(p, lddt_drops(p, sites))
    assert (result["n"], result["n_wild_types"], result["n_residues"]) == (160, 20, 4800)
    assert set(result["drops"]) == set(DROPS)
    drops = lddt_drops(p, sites)
    for name, drop in result["drops"].items():
        assert drop["spearman"] == pytest.approx(spearmanr(drops.measured[name], drops.predicted[name])[0])
        within = [
            spearmanr(drops.measured[name][p.protein == k], drops.predicted[name][p.protein == k])[0]
            for k in range(20)
        ]
        assert drop["spearman_within"] == pytest.approx(np.mean(within))
        assert drop["n_ranked_wild_types"] == 20
        for key in ("spearman", "spearman_within"):
            low, high = drop[f"{key}_ci"]
            assert 0.5 < low <= drop[key] <= high
    assert result["lddt"]["constant_1"]["mae"] == pytest.approx((1 - p.lddt).mean())
    assert result["lddt"]["mae"] < result["lddt"]["constant_1"]["mae"]
    assert result["lddt"]["against_constant_1"]["verdict"].endswith("better")
    assert result["tm"]["constant_1"]["mae"] == pytest.approx((1 - p.tm_score).mean())
    json.dumps(result, allow_nan=False)


def test_a_model_without_skill_is_seen() -> None:
    p, sites = made_up_mutants(0.0)
    drop = mutant_metrics(p, lddt_drops(p, sites))["drops"]["chain"]
    assert abs(drop["spearman"]) < 0.3
    low, high = drop["spearman_ci"]
    assert low < 0 < high or abs(drop["spearman"]) < 0.2


def test_wild_types_with_few_mutants_are_not_ranked() -> None:
    p, sites = made_up_mutants(0.9, n_proteins=4, each=2)
    drop = mutant_metrics(p, lddt_drops(p, sites))["drops"]["chain"]
    assert drop["n_ranked_wild_types"] == 0
    assert drop["spearman_within"] is None
    assert drop["spearman"] is not None
