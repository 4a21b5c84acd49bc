"""Metrics of pairs; `mutscan train` end to end on made-up chains and a tiny encoder in the real format."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tiny_encoders
from made_up_pairs import write_tables
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.model.checkpoint import load_checkpoint
from mutscan.train.metrics import PairPredictions, pair_metrics

TM_KEYS = ("mae", "macro_mae", "pearson", "spearman", "auroc_0.5", "constant_mae", "identity_mae")
LDDT_KEYS = ("mae", "mae_per_protein", "pearson", "constant_mae")


# Metrics


def made_up_predictions(n: int = 200, seed: int = 0) -> PairPredictions:
    rng = np.random.default_rng(seed)
    truth = rng.random(n)
    predicted = np.clip(truth + rng.normal(scale=0.1, size=n), 0, 1)
    sizes = np.where(truth >= 0.7, rng.integers(5, 30, n), 0)
    lddt = tuple(rng.random(size) for size in sizes)
    return PairPredictions(
        group=np.sort(rng.integers(0, 20, n)),
        protein=np.sort(rng.integers(0, 60, n)),
        tm_score=truth,
        tm_predicted=predicted,
        identity=rng.random(n),
        lddt=lddt,
        lddt_predicted=tuple(0.5 * part + 0.2 for part in lddt),
    )


def test_metrics_equal_plain_ones() -> None:
    from scipy.stats import pearsonr, spearmanr

    p = made_up_predictions()
    result = pair_metrics(p, tm_constant=0.4, lddt_constant=0.9)
    tm, lddt = result["tm"], result["lddt"]
    error = np.abs(p.tm_predicted - p.tm_score)
    assert tm["mae"] == pytest.approx(error.mean())
    bands = [(0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.01)]
    in_bands = [error[(p.tm_score >= low) & (p.tm_score < high)].mean() for low, high in bands]
    assert tm["macro_mae"] == pytest.approx(np.mean(in_bands))
    assert tm["pearson"] == pytest.approx(pearsonr(p.tm_predicted, p.tm_score)[0])
    assert tm["spearman"] == pytest.approx(spearmanr(p.tm_predicted, p.tm_score)[0])
    positive, negative = p.tm_predicted[p.tm_score >= 0.5], p.tm_predicted[p.tm_score < 0.5]
    higher = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert tm["auroc_0.5"] == pytest.approx(higher.mean())
    assert tm["constant_mae"] == pytest.approx(np.abs(0.4 - p.tm_score).mean())
    assert tm["identity_mae"] == pytest.approx(np.abs(p.identity - p.tm_score).mean())

    truth, predicted = np.concatenate(p.lddt), np.concatenate(p.lddt_predicted)
    assert lddt["mae"] == pytest.approx(np.abs(predicted - truth).mean())
    assert lddt["pearson"] == pytest.approx(1.0)
    assert lddt["constant_mae"] == pytest.approx(np.abs(0.9 - truth).mean())
    frame = pd.DataFrame(
        {"protein": np.repeat(p.protein, [len(x) for x in p.lddt]), "e": np.abs(predicted - truth)}
    )
    assert lddt["mae_per_protein"] == pytest.approx(frame.groupby("protein")["e"].mean().mean())
    assert (result["n"], result["n_lddt_residues"]) == (200, len(truth))


def test_every_metric_has_an_interval_around_it() -> None:
    result = pair_metrics(made_up_predictions(), tm_constant=0.4, lddt_constant=0.9)
    for section, keys in (("tm", TM_KEYS), ("lddt", LDDT_KEYS)):
        for key in keys:
            low, high = result[section][f"{key}_ci"]
            assert low <= result[section][key] <= high
            assert low < high or key == "pearson"
    assert result == pair_metrics(made_up_predictions(), tm_constant=0.4, lddt_constant=0.9), "seeded"


def test_intervals_resample_groups_not_pairs() -> None:
    p = made_up_predictions()
    copies = 10
    repeated = PairPredictions(
        *(np.repeat(a, copies) for a in (p.group, p.protein, p.tm_score, p.tm_predicted, p.identity)),
        tuple(x for x in p.lddt for _ in range(copies)),
        tuple(x for x in p.lddt_predicted for _ in range(copies)),
    )
    widths = []
    for predictions in (p, repeated):
        low, high = pair_metrics(predictions, tm_constant=0.4, lddt_constant=0.9)["tm"]["mae_ci"]
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0], rel=1e-9), "copies of a pair are no new evidence"


def test_what_cannot_be_known_is_null() -> None:
    p = made_up_predictions()
    few = np.flatnonzero(p.tm_score < 0.4)[:6]
    low = PairPredictions(
        *(a[few] for a in (np.zeros_like(p.group), p.protein, p.tm_score, p.tm_predicted, p.identity)),
        tuple(p.lddt[k] for k in few),
        tuple(p.lddt_predicted[k] for k in few),
    )
    result = pair_metrics(low, tm_constant=0.4, lddt_constant=0.9)
    assert result["tm"]["auroc_0.5"] is None
    assert result["lddt"]["mae"] is None
    assert result["tm"]["mae_ci"] is None, "one group cannot be resampled"
    json.dumps(result, allow_nan=False)


# The command line


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


CONFIG = """
steps = 40
warmup = 5
learning_rate = 5e-3
batch_residues = 600
validate_every = 20
memory_from = 10
precision = "fp32"
[net]
d_model = 16
n_heads = 2
n_layers = 1
d_feed_forward = 32
d_pool = 8
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    tiny_encoders.quiet_transformers()
    folder = tmp_path_factory.mktemp("trained")
    tables = write_tables(folder, families=64)
    encoder = tiny_encoders.write_esm(folder / "encoder", max_positions=130)
    (folder / "config.toml").write_text(CONFIG)
    arguments = [
        "train", "model", "--structures", tables[0], "--pairs", tables[1], "--encoder", encoder,
        "--out", folder / "models" / "tiny", "--config", folder / "config.toml", "--device", "cpu", "--json",
    ]  # fmt: skip
    return folder, tables, arguments, run(*arguments)


def test_train_model_writes_a_whole_model(trained) -> None:  # type: ignore[no-untyped-def]
    folder, _, _, result = trained
    assert result.exit_code == 0, result.output
    model = folder / "models" / "tiny"
    assert {path.name for path in model.iterdir()} == {
        "config.json", "model.safetensors", "metrics.json", "splits.csv", "encoder",
    }  # fmt: skip
    _net, config = load_checkpoint(model)
    assert config.name == "tiny"
    assert config.siamese.d_input == 16
    assert config.siamese.length_exponent == 0.8
    assert config.training["settings"]["steps"] == 40
    assert config.training["best_step"] in (20, 40)
    assert config.data_sha256 is not None
    metrics = json.loads((model / "metrics.json").read_text())
    assert json.loads(result.stdout) == metrics
    for section, keys in (("tm", TM_KEYS), ("lddt", LDDT_KEYS)):
        assert {*keys, *(f"{key}_ci" for key in keys)} <= set(metrics["pairs"][section])
    assert metrics["pairs"]["n"] == config.training["pairs"]["test"] > 0
    assert metrics["data"]["disjoint_from_training"] == "proteins and clusters"


def test_train_model_again_changes_nothing(trained) -> None:  # type: ignore[no-untyped-def]
    folder, _, arguments, _ = trained
    files = sorted(path for path in (folder / "models" / "tiny").rglob("*") if path.is_file())
    before = [path.read_bytes() for path in files]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert [path.read_bytes() for path in files] == before


def test_train_model_with_other_settings_is_refused_until_restart(trained) -> None:  # type: ignore[no-untyped-def]
    folder, _, arguments, _ = trained
    changed = [
        folder / "models" / "other" if argument == folder / "models" / "tiny" else argument
        for argument in arguments
    ] + ["--steps", 2, "--work", folder / "models" / "tiny.work"]
    copy = folder / "state.safetensors"
    shutil.copy(folder / "models" / "tiny.work" / "state.safetensors", copy)
    result = run(*changed)
    assert result.exit_code == 6
    assert "was made with other settings" in result.stderr
    assert run(*changed, "--restart").exit_code == 0
    shutil.copy(copy, folder / "models" / "tiny.work" / "state.safetensors")


def test_evaluate_the_test_split(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    model = folder / "models" / "tiny"
    result = run(
        "train", "evaluate", "--model", model, "--structures", tables[0], "--pairs", tables[1],
        "--split", "test", "--out", tmp_path, "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == json.loads((model / "metrics.json").read_text())
    assert "tm macro_mae\t" in result.stdout
    rows = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(rows) == metrics["pairs"]["n"]
    error = (rows["tm_predicted"] - rows["tm_score"]).abs()
    assert error.mean() == pytest.approx(metrics["pairs"]["tm"]["mae"])
    lddt = np.concatenate(rows["lddt"].to_list())
    predicted = np.concatenate(rows["lddt_predicted"].to_list())
    assert np.abs(predicted - lddt).mean() == pytest.approx(metrics["pairs"]["lddt"]["mae"], abs=1e-6)
    assert (rows["lddt"].map(len) == rows["position_1"].map(len)).all()
    assert (rows.loc[rows["tm_score"] < 0.7, "lddt"].map(len) == 0).all()


def test_evaluation_on_the_training_pairs_is_refused(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", tables[0],
        "--pairs", tables[1], "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "were in the model's training or validation (f" in result.stderr
    assert "--split test" in result.stderr
    assert not (tmp_path / "out").exists()


def test_evaluation_on_new_proteins_needs_no_split(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, _, _, _ = trained
    (tmp_path / "new").mkdir()
    tables = write_tables(tmp_path / "new", families=12, members=3, seed=9)
    plain = pd.read_parquet(tables[0]).drop(columns="cluster25")  # a table without clusters is taken, too
    plain.to_parquet(tables[0])
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", tables[0],
        "--pairs", tables[1], "--out", tmp_path / "out", "--device", "cpu", "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert metrics["pairs"]["n"] == len(pd.read_parquet(tables[1]))
    assert metrics["data"]["disjoint_from_training"] == "proteins"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "dev"), "--split dev: expected one of train, validation, test"),
        (("--pairs", "absent.parquet"), "absent.parquet: no such file"),
    ],
)
def test_slips_of_the_pen(arguments, message: str, trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", tables[0],
        "--pairs", tables[1], "--out", tmp_path, "--device", "cpu", *arguments,
    )  # fmt: skip
    assert result.exit_code == 2
    assert message in result.stderr


def test_training_needs_clusters(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _folder, tables, arguments, _ = trained
    pd.read_parquet(tables[0]).drop(columns="cluster25").to_parquet(tmp_path / "plain.parquet")
    result = run(
        *(tmp_path / "plain.parquet" if a == tables[0] else a for a in arguments), "--work", tmp_path
    )
    assert result.exit_code == 2
    assert "has no column cluster25" in result.stderr


def test_a_model_that_does_not_know_its_training_labels_is_refused(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    model = shutil.copytree(folder / "models" / "tiny", tmp_path / "tiny")
    config = json.loads((model / "config.json").read_text())
    del config["training"]["medians"]
    (model / "config.json").write_text(json.dumps(config))
    result = run(
        "train", "evaluate", "--model", model, "--structures", tables[0], "--pairs", tables[1],
        "--split", "test", "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 6
    assert "training.medians" in result.stderr
