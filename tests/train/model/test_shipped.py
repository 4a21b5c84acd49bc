"""The shipped model is the one that was trained: frozen predictions, hashes, metrics, splits."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from mutscan.embed import find_encoder
from mutscan.embed.tokens import esm_tokens
from mutscan.model.checkpoint import load_checkpoint, model_hash, verify_model
from mutscan.residues import STANDARD
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.relatives import link_clusters
from mutscan.train.chains.splits import SPLIT_FILE, SPLITS, assign_splits, read_splits
from mutscan.train.chains.tables import read_tables
from mutscan.train.model.config import read_config
from tests.places import ROOT

MODEL = ROOT / "models" / "mutscan-mini"
FROZEN = ROOT / "tests" / "data" / "mutscan_mini_predictions.json"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutscan_mini_predictions", FROZEN.with_suffix(".py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", json.loads(FROZEN.read_text()))
def test_frozen_predictions(name: str, script: ModuleType) -> None:
    expected = json.loads(FROZEN.read_text())[name]
    found = script.predict(*expected["sequences"])
    assert found["tm_raw"] == pytest.approx(expected["tm_raw"], abs=1e-4)
    assert found["tm_score_2"] == pytest.approx(expected["tm_score_2"], abs=1e-4)
    assert found["lddt"] == pytest.approx(expected["lddt"], abs=1e-4)


def test_a_protein_with_itself_is_perfect() -> None:
    frozen = json.loads(FROZEN.read_text())["ubiquitin with itself"]
    assert frozen["tm_raw"] == pytest.approx(1.0, abs=1e-5)
    assert frozen["lddt"] == pytest.approx([1.0] * 76, abs=1e-5)


def test_hashes_and_size() -> None:
    assert verify_model(MODEL) == []
    assert sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file()) <= 40_000_000
    assert (MODEL / "model.safetensors").stat().st_size <= 20_000_000


def test_what_identifies_it_is_unchanged() -> None:
    """Calibration, caches and finished runs are keyed by these; files about the model do not change them."""
    encoder = find_encoder(str(MODEL / "encoder"))
    assert model_hash(MODEL) == "a72fb237f153374ab1e33a6df30e88bbea7d077da91101b9670bd050fc73a68e"
    assert encoder.revision == "sha256:311931e70e066c28"
    assert (MODEL / "encoder" / "vocab.txt").is_file()


def test_transformers_loads_tokenizer_and_encoder() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(MODEL / "encoder", local_files_only=True)
    sequence = STANDARD + "X"
    assert tokenizer(sequence)["input_ids"] == esm_tokens(MODEL / "encoder").encode(sequence).tolist()
    assert tokenizer.mask_token_id == 32
    assert tokenizer.model_max_length == 1024


def test_settings_are_those_of_the_recipe() -> None:
    _, config = load_checkpoint(MODEL)
    recipe = read_config(ROOT / "training" / "mutscan-mini" / "config.toml")
    assert config.training["settings"] == json.loads(json.dumps(_plain(recipe)))
    assert config.lddt_exponent == 3.0


def _plain(config: object) -> dict:
    from dataclasses import asdict

    return asdict(config)  # type: ignore[call-overload]


def test_metrics_are_complete_and_beat_their_baselines() -> None:
    pairs = json.loads((MODEL / "metrics.json").read_text())["pairs"]
    for section in ("tm", "lddt"):
        low, high = pairs[section]["mae_ci"]
        assert low <= pairs[section]["mae"] <= high
        assert pairs[section]["mae"] < pairs[section]["constant_mae"]
    assert pairs["tm"]["mae_ci"][1] < pairs["tm"]["identity_mae_ci"][0]
    card = (MODEL / "README.md").read_text()
    assert f"{pairs['tm']['mae']:.3f}" in card
    assert f"{pairs['lddt']['mae']:.4f}" in card


def test_splits_share_no_protein_and_no_cluster() -> None:
    entries = read_splits(MODEL / SPLIT_FILE)
    for what in ("digest", "cluster"):
        sides = [{getattr(e, what) for e in entries.values() if e.split == name} for name in SPLITS]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    for name in SPLITS:
        listed = (ROOT / "training" / "mutscan-mini" / "splits" / f"{name}.txt").read_text().split()
        assert listed == sorted(chain for chain, entry in entries.items() if entry.split == name)


# Against the data itself, where it is


@pytest.mark.slow
def test_splits_are_those_of_the_data(shared: Path) -> None:
    chains, _ = read_tables(shared / "data" / "structures.parquet", shared / "data" / "pairs.parquet")
    assert chains.clusters is not None
    entries = read_splits(MODEL / SPLIT_FILE)
    # Mined pairs and mutants bring chains that are not in this table.
    assigned = assign_splits(link_clusters(chains.sequences, chains.clusters), seed=0)
    assert [entries[name].cluster for name in chains.ids] == chains.clusters.tolist()
    differing = [
        name
        for name, split in zip(chains.ids, assigned.tolist(), strict=True)
        if entries[name].split != split
    ]
    # What the mutants' wild types link together is not linked here: whole clusters, few of them.
    assert len(differing) <= 0.05 * len(chains)


@pytest.mark.slow
def test_labels_of_real_pairs_are_those_of_tm_align_and_scores(shared: Path) -> None:
    """A sample of pairs.parquet, aligned anew; lDDT by the plain function."""
    from mutscan.align import tm_align
    from mutscan.scores import lddt

    chains, pairs = read_tables(shared / "data" / "structures.parquet", shared / "data" / "pairs.parquet")
    chosen = np.random.default_rng(0).choice(len(pairs), 12, replace=False)
    sample = pairs.take(chosen)
    labels = lddt_labels(chains, sample)
    for k in range(len(sample)):
        first, second = int(sample.chain_1[k]), int(sample.chain_2[k])
        part = sample.aligned[sample.starts[k] : sample.starts[k + 1]]
        found = tm_align(
            (chains.ca[first].astype(np.float64), chains.sequences[first]),
            (chains.ca[second].astype(np.float64), chains.sequences[second]),
        )
        assert found.tm_score_1 == pytest.approx(sample.tm_score[k], abs=2e-3)
        expected = lddt(chains.ca[first][part[:, 0]], chains.ca[second][part[:, 1]], exponent=3)
        np.testing.assert_allclose(labels[sample.starts[k] : sample.starts[k + 1]], expected, atol=1e-6)


@pytest.mark.slow
def test_a_number_of_the_card_can_be_made_again(shared: Path, tmp_path: Path) -> None:
    """The first hundred test pairs through the command's own path."""
    from mutscan.train.evaluate.pairs import evaluate_pairs
    from mutscan.train.evaluate.result import Settings

    entries = read_splits(MODEL / SPLIT_FILE)
    pairs = pd.read_parquet(shared / "data" / "pairs.parquet")
    inside = [
        entries[a].split == "test" == entries[b].split
        for a, b in zip(pairs["id1"], pairs["id2"], strict=True)
    ]
    few = pairs[inside].head(100)
    few.to_parquet(tmp_path / "few.parquet")
    result = evaluate_pairs(
        "mutscan-mini",
        shared / "data" / "structures.parquet",
        tmp_path / "few.parquet",
        Settings(device="cpu"),
    )
    assert result.metrics["pairs"]["n"] == 100
    assert result.metrics["pairs"]["tm"]["mae"] < result.metrics["pairs"]["tm"]["constant_mae"]
