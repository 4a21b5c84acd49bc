"""The training loop on made-up chains: it learns, it can be stopped anywhere, and it is repeatable."""

import json
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_pairs import write_tables

from mutscan.errors import CheckpointError, UsageError
from mutscan.model.siamese import PRESETS, SiameseConfig
from mutscan.train.batches import ConnectedBatches, all_pairs, pair_weights
from mutscan.train.config import TRAIN_PRESETS, TrainConfig, read_config
from mutscan.train.dataset import Chains, Pairs, read_tables
from mutscan.train.fit import Trainer
from mutscan.train.geometry import local_geometry
from mutscan.train.inputs import CachedInputs
from mutscan.train.labels import lddt_labels
from mutscan.train.loss import LossConfig
from mutscan.train.store import EmbeddingStore

NET = SiameseConfig(
    d_input=12, d_model=16, n_heads=2, n_layers=1, d_feed_forward=32, d_pool=8, dropout=0.0,
    relu_output=False, length_exponent=0.8,
)  # fmt: skip
CONFIG = TrainConfig(
    net=NET,
    loss=LossConfig(alpha=0.2, beta=1.0, tm_min=0.0, tm_kind="squared"),
    steps=90,
    warmup=5,
    learning_rate=1e-2,
    batch_residues=600,
    chunk_residues=300,
    channel_dropout=0.1,
    geometry=0.1,
    memory_from=10,
    average=0.9,
    balance_bands=True,
    validate_every=30,
    precision="fp32",
)
Make = Callable[..., Trainer]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chains, Pairs]:
    return read_tables(*write_tables(tmp_path_factory.mktemp("tables")))


@pytest.fixture(scope="module")
def make(data: tuple[Chains, Pairs]) -> Make:
    chains, pairs = data
    rng = np.random.default_rng(0)
    letters = {letter: rng.normal(size=NET.d_input) for letter in "ACDEFGHIKLMNPQRSTVWY"}
    values = np.array([letters[letter] for letter in "".join(chains.sequences)], np.float16)
    store = EmbeddingStore(values, np.concatenate([[0], np.cumsum(chains.lengths)]))
    labels = lddt_labels(chains, pairs)
    geometry = {c: local_geometry(ca) for c, ca in enumerate(chains.ca)}

    def trainer(folder: Path, config: TrainConfig = CONFIG, *, data: str = "data") -> Trainer:
        weights = pair_weights(
            chains, pairs, balance_bands=config.balance_bands, balance_clusters=config.balance_clusters
        )
        batches = ConnectedBatches(
            chains,
            pairs,
            labels,
            weights,
            residues=config.batch_residues,
            neighbours=config.neighbours,
            lddt_from=config.loss.tm_lddt,
            seed=config.seed,
        )
        validation = all_pairs(chains, pairs, labels, lddt_from=0.7)
        return Trainer(
            config, CachedInputs(store), batches, validation, geometry, folder, torch.device("cpu"), data
        )

    return trainer


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def log_of(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"], line["speed"]  # the clock's
    return lines


@pytest.fixture(scope="module")
def whole(make: Make, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("whole")
    return folder, make(folder).run()


def test_the_loss_falls(whole) -> None:  # type: ignore[no-untyped-def]
    folder, fit = whole
    lines = log_of(folder)
    assert [line["step"] for line in lines] == [30, 60, 90]
    assert lines[-1]["train"]["loss"] < 0.6 * lines[0]["train"]["loss"]
    assert lines[-1]["validation"]["tm_mae"] < lines[0]["validation"]["tm_mae"]
    assert fit.validation.tm_pearson > 0.5
    assert fit.best_step in (30, 60, 90)
    assert not fit.net.training


def test_the_best_weights_are_kept(whole, make: Make) -> None:  # type: ignore[no-untyped-def]
    folder, fit = whole
    scores = {
        line["step"]: 0.5 * (line["validation"]["tm_mae"] + line["validation"]["macro_mae"])
        + line["validation"]["lddt_mae"]
        for line in log_of(folder)
    }
    assert fit.best_step == min(scores, key=scores.__getitem__)
    trainer = make(folder / "again")
    trainer.average = {f"net.{name}": value for name, value in fit.net.state_dict().items()}
    assert trainer.validate() == fit.validation


@pytest.mark.parametrize("killed_at", [7, 30, 51])
def test_a_killed_run_ends_with_the_same_weights(
    killed_at: int,
    whole,
    make: Make,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    folder, fit = whole

    def kill(steps: int) -> None:
        if killed.step >= killed_at:
            raise KeyboardInterrupt

    killed = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        killed.run(advance=kill)
    continued = make(tmp_path)
    done: list[int] = []
    again = continued.run(advance=done.append)
    # Told of step 30, the run is stopped before it saved it.
    assert done[0] == (killed_at - 1) // 30 * 30, "it goes on from the last saved step"
    assert sum(done) == CONFIG.steps
    assert same(fit.net, again.net)
    assert log_of(tmp_path) == log_of(folder)


def test_a_finished_run_is_not_trained_again(whole, make: Make) -> None:  # type: ignore[no-untyped-def]
    folder, fit = whole
    before = log_of(folder)
    again = make(folder).run()
    assert same(fit.net, again.net)
    assert (again.validation, again.best_step) == (fit.validation, fit.best_step)
    assert log_of(folder) == before


def test_the_seed_decides(whole, make: Make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, fit = whole
    assert not same(fit.net, make(tmp_path, replace(CONFIG, seed=1)).run().net)


def test_the_size_of_the_chunks_changes_rounding_only(make: Make, tmp_path: Path) -> None:
    validations = []
    for size in (1, 300, 10_000):
        trainer = make(tmp_path, replace(CONFIG, chunk_residues=size))
        trainer.average = {name: value * 1.5 for name, value in trainer.average.items()}
        validations.append(astuple(trainer.validate()))
    assert validations[1] == pytest.approx(validations[0], abs=1e-6)
    assert validations[2] == pytest.approx(validations[0], abs=1e-6)


def test_bf16_learns_too(make: Make, tmp_path: Path) -> None:
    make(tmp_path, replace(CONFIG, precision="bf16", steps=40)).run()
    lines = log_of(tmp_path)
    assert lines[-1]["train"]["loss"] < lines[0]["train"]["loss"]


def test_the_papers_settings_train(make: Make, tmp_path: Path) -> None:
    paper = TRAIN_PRESETS["paper"]
    assert (paper.loss, paper.net, paper.learning_rate) == (LossConfig(), PRESETS["paper"], 1e-4)
    small = replace(NET, relu_output=True, length_exponent=0.0, dropout=0.1)
    config = replace(paper, net=small, steps=40, warmup=5, learning_rate=5e-3, batch_residues=600)
    make(tmp_path, replace(config, validate_every=20)).run()
    lines = log_of(tmp_path)
    assert lines[-1]["train"]["loss"] < lines[0]["train"]["loss"]


@pytest.mark.parametrize("what", ["settings", "data"])
def test_a_state_of_another_training_is_refused(what: str, make: Make, tmp_path: Path) -> None:
    make(tmp_path, replace(CONFIG, steps=2)).run()
    config = replace(CONFIG, steps=2, learning_rate=1.0) if what == "settings" else replace(CONFIG, steps=2)
    with pytest.raises(CheckpointError, match=f"other {what}; continue it with those"):
        make(tmp_path, config, data="other" if what == "data" else "data").run()


def test_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=1000, warmup=100, learning_rate=1.0)
    rates = [config.factor(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert np.argmax(rates) in (99, 100)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)


# Settings


def test_settings_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'preset = "paper"\nsteps = 7\nlearning_rate = 1\n[net]\nd_model = 64\n[loss]\nalpha = 0.5\n'
    )
    config = read_config(file, seed=3, steps=None)
    assert (config.steps, config.learning_rate, config.seed) == (7, 1.0, 3)
    assert config.net == replace(PRESETS["paper"], d_model=64)
    assert config.loss == LossConfig(alpha=0.5)
    assert read_config(None, "mini") == TRAIN_PRESETS["mini"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps =", "cannot be read as TOML"),
        ('preset = "huge"', "no training preset is called huge; there are paper, repo2025, mini"),
        ("step = 3", "unknown setting step; there are net, loss, seed, steps"),
        ('steps = "many"', "steps is 'many'; expected a int"),
        ("[loss]\ngamma = 1", r"\[loss\]: unknown setting gamma"),
        ("balance_bands = 1", "balance_bands is 1; expected a bool"),
    ],
)
def test_settings_that_are_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_config(tmp_path / "config.toml")
