"""`mutscan train model` and `evaluate` end to end on made-up chains and a tiny encoder in the real format."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.model.checkpoint import load_checkpoint
from mutscan.residues import STANDARD
from tests import tiny_encoders
from tests.made_up_pairs import write_tables

TM_KEYS = ("mae", "macro_mae", "pearson", "spearman", "auroc_0.5", "constant_mae", "identity_mae")
LDDT_KEYS = ("mae", "mae_per_protein", "pearson", "constant_mae")


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


def other_model(trained) -> Path:  # type: ignore[no-untyped-def]
    """The same model with other weights, named ``other``."""
    from safetensors.torch import load_file, save_file

    model = trained[0] / "models" / "tiny"
    other = trained[0] / "second" / "other"
    if not other.exists():
        shutil.copytree(model, other)
        config = json.loads((other / "config.json").read_text())
        (other / "config.json").write_text(json.dumps(config | {"name": "other"}))
        weights = load_file(other / "model.safetensors")
        save_file({name: value * 0.7 + 0.02 for name, value in weights.items()}, other / "model.safetensors")
    return other


def evaluation_of(trained, out: Path) -> list[object]:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    return [
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", tables[0], "--pairs",
        tables[1], "--split", "test", "--out", out, "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """The test split beside a second model: folder, metrics, what the command said."""
    out = tmp_path_factory.mktemp("evaluated")
    result = run(*evaluation_of(trained, out), "--against", other_model(trained))
    assert result.exit_code == 0, result.output
    return out, json.loads((out / "metrics.json").read_text()), result


def untrained(folder: Path, d_match: int) -> Path:
    import torch

    from mutscan.model.checkpoint import ModelConfig, save_checkpoint
    from mutscan.model.config import SiameseConfig
    from mutscan.model.siamese import SiameseNet

    tiny_encoders.quiet_transformers()
    encoder = tiny_encoders.write_esm(folder / "encoder", max_positions=130)
    torch.manual_seed(0)
    shape = SiameseConfig(
        d_input=16, d_model=16, n_heads=2, n_layers=1, d_feed_forward=32, d_pool=8, d_match=d_match,
        length_exponent=0.5,
    )  # fmt: skip
    save_checkpoint(
        folder / "net", SiameseNet(shape), ModelConfig(name="net", siamese=shape), encoder=encoder
    )
    return folder / "net"


def write_mutants(folder: Path, *, wild_type: str | None = None) -> tuple[Path, Path]:
    """Wild types and mutants with their labels, in the two shards `mutscan train dataset` would write."""
    rng = np.random.default_rng(4)
    chains, pairs = [], []
    for k in range(6):
        sequence = "".join(rng.choice(list(STANDARD), 32)) if wild_type is None or k else wild_type
        n = len(sequence)
        steps = rng.normal(size=(n, 3))
        trace = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        chains.append({"id": f"wt{k}", "sequence": sequence, "ca": (trace * 100).astype("<i2").tobytes()})
        for m in range(6):
            site = int(rng.integers(n))
            letter = rng.choice([x for x in STANDARD if x != sequence[site]])
            name = f"wt{k}~{sequence[site]}{site + 1}{letter}"
            changed = sequence[:site] + letter + sequence[site + 1 :]
            chains.append({"id": f"{name}.{m}", "sequence": changed, "ca": chains[-1 - m]["ca"]})
            drop = 0.05 * rng.random() * np.exp(-np.abs(np.arange(n) - site) / 2)
            pairs.append(
                {
                    "id1": f"wt{k}", "id2": f"{name}.{m}", "tm_norm1": 0.99, "tm_norm2": 0.99, "len1": n,
                    "len2": n, "i1": np.arange(n, dtype=np.int32), "i2": np.arange(n, dtype=np.int32),
                    "lddt": (1 - drop).astype(np.float32), "lddt_exponent": 3.0, "radius": 15.0,
                    "picked_as": "mutant",
                }
            )  # fmt: skip
    pd.DataFrame(chains).to_parquet(folder / "mutants.parquet")
    (folder / "shards").mkdir()
    for part, rows in enumerate((pairs[:20], pairs[20:])):
        pd.DataFrame(rows).to_parquet(folder / "shards" / f"part-{part:05d}.parquet")
    return folder / "mutants.parquet", folder / "shards"


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
    assert {"metrics.json", "predictions.parquet", "report.html", "figures"} == {
        path.name for path in tmp_path.iterdir()
    }
    rows = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(rows) == metrics["pairs"]["n"]
    error = (rows["tm_predicted"] - rows["tm_score"]).abs()
    assert error.mean() == pytest.approx(metrics["pairs"]["tm"]["mae"])
    lddt = np.concatenate(rows["lddt"].to_list())
    predicted = np.concatenate(rows["lddt_predicted"].to_list())
    assert np.abs(predicted - lddt).mean() == pytest.approx(metrics["pairs"]["lddt"]["mae"], abs=1e-6)
    assert (rows["lddt"].map(len) == rows["position_1"].map(len)).all()
    assert (rows.loc[rows["tm_score"] < 0.7, "lddt"].map(len) == 0).all()


def test_every_number_can_be_computed_again_from_the_rows(evaluated) -> None:  # type: ignore[no-untyped-def]
    folder, metrics, _ = evaluated
    rows, pairs = pd.read_parquet(folder / "predictions.parquet"), metrics["pairs"]
    truth, lddt = rows["tm_score"], np.concatenate(rows["lddt"].to_list())
    ran = {name: entry for name, entry in pairs["baselines"].items() if "not_run" not in entry}
    assert set(ran) == {
        "constant_1", "constant_median", "identity", "encoder_cosine", "encoder_cosine_calibrated", "against",
    }  # fmt: skip
    for name, entry in ran.items():
        assert (rows[f"tm_{name}"] - truth).abs().mean() == pytest.approx(entry["tm"]["mae"]), name
        other = np.concatenate(rows[f"lddt_{name}"].to_list())
        assert np.abs(other - lddt).mean() == pytest.approx(entry["lddt"]["mae"], abs=1e-6), name
    mine = (rows["tm_predicted"] - truth).abs()
    tests = pairs["significance"]["tm"]
    assert set(tests) == set(ran)
    for name, test in tests.items():
        difference = mine - (rows[f"tm_{name}"] - truth).abs()
        assert test["mean_difference"] == pytest.approx(difference.mean()), name
    about = pairs["baselines"]["constant_median"]["about"]
    assert (rows["tm_constant_median"] == about["tm"]).all()
    larger = rows[["tm_score", "tm_score_2"]].max(axis=1)
    predicted = rows[["tm_predicted", "tm_predicted_2"]].max(axis=1)
    assert pairs["table"]["tm_max"]["mae"] == pytest.approx((predicted - larger).abs().mean())


def test_what_was_not_run_says_so(evaluated) -> None:  # type: ignore[no-untyped-def]
    folder, metrics, result = evaluated
    assert "--tm-vec" in metrics["pairs"]["baselines"]["tm_vec"]["not_run"]
    line = next(line for line in result.stdout.splitlines() if line.startswith("TM\tTM-Vec"))
    assert "not run" in line
    assert "TM-Vec not run: no weights were given (--tm-vec DIR)" in result.stderr
    page = (folder / "report.html").read_text()
    assert "not run: no weights were given (--tm-vec DIR)" in page


def test_the_report_is_one_file_with_every_number_in_words(evaluated) -> None:  # type: ignore[no-untyped-def]
    folder, metrics, _ = evaluated
    page = (folder / "report.html").read_text()
    references = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert references
    assert all(r.startswith(("#", "data:")) for r in references), "nothing is loaded from outside"
    assert page.count("<svg") == len(list((folder / "figures").glob("*.svg"))) >= 10
    assert {p.stem for p in (folder / "figures").glob("*.png")} == {
        p.stem for p in (folder / "figures").glob("*.svg")
    }
    for word in ("TM-score", "lDDT", "MAE", "Spearman", "95 % interval", "prefers-color-scheme: dark"):
        assert word in page
    for digest in (
        metrics["model"]["sha256"],
        metrics["data"]["pairs_sha256"],
        metrics["data"]["structures_sha256"],
    ):
        assert digest in page
    assert f"{metrics['pairs']['tm']['mae']:.4f}" in page
    for baseline in metrics["pairs"]["baselines"].values():
        assert baseline["label"] in page


def test_the_same_evaluation_twice_gives_the_same_files(evaluated, trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, _, _ = evaluated
    again = run(*evaluation_of(trained, tmp_path), "--against", other_model(trained))
    assert again.exit_code == 0, again.output
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_a_second_model_is_compared_on_the_same_pairs(evaluated) -> None:  # type: ignore[no-untyped-def]
    folder, metrics, _ = evaluated
    assert metrics["against"]["name"] == "other"
    assert metrics["against"]["sha256"] != metrics["model"]["sha256"]
    assert metrics["pairs"]["significance"]["tm"]["against"]["n"] == metrics["pairs"]["n"]
    rows = pd.read_parquet(folder / "predictions.parquet")
    assert not np.allclose(rows["tm_against"], rows["tm_predicted"])


@pytest.mark.parametrize("head", [0, 8])
def test_pairs_compared_together_are_those_compared_alone(head: int, tmp_path: Path) -> None:
    from mutscan.pipeline.network import load_model
    from mutscan.progress import Silent
    from mutscan.train.chains.tables import read_tables
    from mutscan.train.evaluate.predictions import compare_by_model, encode_chains, label_residues

    model = untrained(tmp_path, head)
    loaded = load_model(str(model), device="cpu")
    chains, pairs = read_tables(*write_tables(tmp_path, families=10, members=3))
    residues = label_residues(chains, pairs, pairs.tm_score >= 0.3, exponent=3.0, radius=15.0)
    used = np.arange(len(chains))
    is_mutant = (chains.lengths[pairs.chain_1] == chains.lengths[pairs.chain_2]) & (
        np.arange(len(pairs)) % 2 == 0
    )
    assert is_mutant.any()
    encoded = encode_chains(loaded, chains, used, used[:0], Silent())
    together = compare_by_model(loaded, encoded, chains, pairs, residues, is_mutant, Silent())
    alone = {
        c: loaded.predictor.encode(loaded.encoder.embed_one(chains.sequences[c]), chains.sequences[c])
        for c in used
    }
    for k in range(len(pairs)):
        first, second = alone[pairs.chain_1[k]], alone[pairs.chain_2[k]]
        part = slice(residues.starts[k], residues.starts[k + 1])
        rows = residues.aligned[part]
        one = loaded.predictor.compare(first, second, pairs=None if is_mutant[k] else rows)
        assert together.tm_score[k] == pytest.approx(one.tm_score, abs=1e-6)
        assert together.tm_score_2[k] == pytest.approx(one.tm_score_2, abs=1e-6)
        assert together.lddt[part] == pytest.approx(one.lddt[rows[:, 0]], abs=1e-6)


# Refusals


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


def test_one_training_protein_under_another_name_is_named(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    seen = pd.read_parquet(tables[0]).set_index("id")
    split = pd.read_csv(folder / "models" / "tiny" / "splits.csv").set_index("id")["split"]
    (tmp_path / "new").mkdir()
    new = write_tables(tmp_path / "new", families=12, seed=9)
    chains = pd.read_parquet(new[0]).drop(columns="cluster25")
    length = len(chains.loc[0, "sequence"])
    fitting = [i for i in split.index[split == "train"] if len(seen.loc[i, "sequence"]) == length]
    assert fitting, "a training chain of the same length"
    chains.loc[0, ["id", "sequence"]] = ["innocent", seen.loc[fitting[0], "sequence"]]
    chains.to_parquet(new[0])
    pairs = pd.read_parquet(new[1]).replace({"id1": "f0m0", "id2": "f0m0"}, "innocent")
    pairs.to_parquet(new[1])
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", new[0], "--pairs", new[1],
        "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "innocent" in result.stderr


def test_a_relative_of_a_training_protein_is_refused_and_its_cluster_named(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A new sequence in a training cluster, beside a test chain that shows the numbering is the same."""
    folder, tables, _, _ = trained
    split = pd.read_csv(folder / "models" / "tiny" / "splits.csv").set_index("id")
    cluster = int(split.loc[split["split"] == "train", "cluster25"].iloc[0])
    chains, pairs = pd.read_parquet(tables[0]), pd.read_parquet(tables[1])
    test = set(split.index[split["split"] == "test"])
    pairs = pairs[pairs["id1"].isin(test) & pairs["id2"].isin(test)]
    chains = chains[chains["id"].isin(test)].reset_index(drop=True)
    first = pairs["id1"].iloc[0]
    row = chains.index[chains["id"] == first][0]
    sequence = chains.loc[row, "sequence"]
    chains.loc[row, "sequence"] = ("W" if sequence[0] != "W" else "C") + sequence[1:]
    chains.loc[row, "cluster25"] = cluster
    chains.to_parquet(tmp_path / "structures.parquet")
    pairs.to_parquet(tmp_path / "pairs.parquet")
    arguments = (
        "--structures", tmp_path / "structures.parquet", "--pairs", tmp_path / "pairs.parquet",
        "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    result = run("train", "evaluate", "--model", folder / "models" / "tiny", *arguments)
    assert result.exit_code == 2
    assert "cluster" in result.stderr
    assert str(cluster) in result.stderr


def test_what_a_second_model_has_seen_is_refused_too(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = shutil.copytree(other_model(trained), tmp_path / "seen-it")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"name": "seen-it"}))
    list_ = pd.read_csv(other / "splits.csv")
    list_["split"] = list_["split"].replace({"test": "train"})
    list_.to_csv(other / "splits.csv", index=False)
    result = run(*evaluation_of(trained, tmp_path / "out"), "--against", other)
    assert result.exit_code == 2
    assert "--against seen-it: " in result.stderr
    assert not (tmp_path / "out").exists()


# Mutants


def test_mutants_are_evaluated_on_their_own(trained, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    folder, _, _, _ = trained
    chains, shards = write_mutants(tmp_path)
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", chains, "--pairs", shards,
        "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    mutants = metrics["mutants"]
    assert (mutants["n"], mutants["n_wild_types"]) == (36, 6)
    assert metrics["pairs"]["n"] == 36, "where there is nothing else, mutants are the pairs"
    rows = pd.read_parquet(tmp_path / "out" / "predictions.parquet")
    assert (rows["picked_as"] == "mutant").all()
    lddt, predicted = (np.concatenate(rows[name].to_list()) for name in ("lddt", "lddt_predicted"))
    assert mutants["lddt"]["constant_1"]["mae"] == pytest.approx(1 - lddt.mean(), abs=1e-6)
    assert mutants["lddt"]["mae"] == pytest.approx(np.abs(predicted - lddt).mean(), abs=1e-6)
    drops = [(1 - rows[name].map(np.mean)).to_numpy() for name in ("lddt", "lddt_predicted")]
    rho = pd.Series(drops[0]).corr(pd.Series(drops[1]), method="spearman")
    assert mutants["drops"]["chain"]["spearman"] == pytest.approx(rho, abs=0.02)  # float32 makes ties
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"<strong>{mutants['lddt']['constant_1']['mae']:.4f}</strong>" in page
    assert any(line.startswith("chain ") for line in on_a_terminal(metrics, monkeypatch))
    assert "mutant lDDT\tconstant 1\t" in result.stdout
    assert not any(line.startswith("lDDT\t") for line in result.stdout.splitlines()), "not said twice"
    assert "chain\t36\t" in result.stdout


def test_mutants_of_a_training_protein_are_refused(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder, tables, _, _ = trained
    split = pd.read_csv(folder / "models" / "tiny" / "splits.csv").set_index("id")["split"]
    seen = pd.read_parquet(tables[0]).set_index("id").loc[split.index[split == "train"][0]]
    chains, shards = write_mutants(tmp_path, wild_type=seen["sequence"])
    result = run(
        "train", "evaluate", "--model", folder / "models" / "tiny", "--structures", chains, "--pairs", shards,
        "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "(wt0" in result.stderr


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
    assert "column cluster25" in result.stderr


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


# On the terminal


def on_a_terminal(metrics, monkeypatch: pytest.MonkeyPatch) -> list[str]:  # type: ignore[no-untyped-def]
    """What is printed on a terminal of 80 columns."""
    from mutscan.cli.train.metrics import print_metrics

    class TerminalScreen(io.StringIO):
        def isatty(self) -> bool:
            return True

    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        patch.setenv("NO_COLOR", "1")
        screen = TerminalScreen()
        patch.setattr("sys.stdout", screen)
        print_metrics(metrics, json=False)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for section in ("pairs", "mutants"):
        for baseline in metrics.get(section, {}).get("baselines", {}).values():
            assert any(baseline["label"] in line for line in lines), "no label is folded"
    return lines


def test_the_table_fits_80_columns(evaluated, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    _, metrics, _ = evaluated
    lines = on_a_terminal(metrics, monkeypatch)
    ours = next(k for k, line in enumerate(lines) if line.startswith("TM ") and " tiny " in line)
    assert f"{metrics['pairs']['tm']['mae']:.4f}" in lines[ours]
    assert "constant 1" in lines[ours + 1], "the baselines stand beneath the model"


def test_commands_load_neither_torch_nor_matplotlib() -> None:
    code = "import sys, mutscan.cli.train; assert not {'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
