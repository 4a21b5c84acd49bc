"""The training loop on made-up chains: it learns, it can be stopped anywhere, and it is repeatable."""

import json
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.errors import CheckpointError, UsageError
from mutscan.model.config import PRESETS, SiameseConfig
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.tables import Chains, Pairs, read_tables
from mutscan.train.model.batches import ConnectedBatches, PairBatches, all_pairs, pair_weights
from mutscan.train.model.config import TRAIN_PRESETS, TrainConfig, read_config
from mutscan.train.model.embeddings import EmbeddingStore
from mutscan.train.model.encoding import chunks
from mutscan.train.model.geometry import local_geometry
from mutscan.train.model.inputs import CachedInputs
from mutscan.train.model.loss import LossConfig
from mutscan.train.model.trainer import Trainer
from tests.made_up_pairs import write_tables

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
        common = {"lddt_from": config.loss.tm_lddt, "seed": config.seed}
        batches: ConnectedBatches | PairBatches = ConnectedBatches(
            chains,
            pairs,
            labels,
            weights,
            residues=config.batch_residues,
            neighbours=config.neighbours,
            **common,
        )
        if config.sampler == "pairs":
            batches = PairBatches(chains, pairs, labels, weights, size=config.batch_pairs, **common)
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


def test_precision_hardly_changes_a_validation(whole, make: Make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, fit = whole
    found = []
    for precision in ("fp32", "bf16"):
        trainer = make(tmp_path, replace(CONFIG, precision=precision))
        trainer.average = {f"net.{name}": value for name, value in fit.net.state_dict().items()}
        found.append(astuple(trainer.validate()))
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], abs=0.01)


def test_the_papers_settings_train(make: Make, tmp_path: Path) -> None:
    paper = TRAIN_PRESETS["paper"]
    assert (paper.loss, paper.net, paper.learning_rate) == (LossConfig(), PRESETS["paper"], 1e-4)
    small = replace(NET, relu_output=True, length_exponent=0.0, dropout=0.1)
    config = replace(paper, net=small, steps=40, learning_rate=5e-3, validate_every=20)
    make(tmp_path, config).run()
    lines = log_of(tmp_path)
    assert lines[-1]["train"]["loss"] < lines[0]["train"]["loss"]


@pytest.mark.parametrize("what", ["settings", "data"])
def test_a_state_of_another_training_is_refused(what: str, make: Make, tmp_path: Path) -> None:
    make(tmp_path, replace(CONFIG, steps=2)).run()
    config = replace(CONFIG, steps=2, learning_rate=1.0) if what == "settings" else replace(CONFIG, steps=2)
    with pytest.raises(CheckpointError, match=f"other {what}; use those to continue"):
        make(tmp_path, config, data="other" if what == "data" else "data").run()


def test_rate_warms_up_and_falls() -> None:
    config = TrainConfig(steps=1000, warmup=100, learning_rate=1.0)
    rates = [config.factor(step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert np.argmax(rates) in (99, 100)
    assert rates[-1] == pytest.approx(0.02, abs=1e-3)


def test_rate_may_stay() -> None:
    config = TrainConfig(steps=1000, warmup=10, schedule="constant")
    assert [config.factor(step) for step in (4, 9, 10, 500, 999)] == pytest.approx([0.5, 1, 1, 1, 1])
    assert TrainConfig(steps=10, warmup=0, schedule="constant").factor(0) == 1.0


def test_training_stops_when_validation_gets_no_better(make: Make, tmp_path: Path) -> None:
    # Steps so large that the first validation stays the best.
    config = replace(CONFIG, patience=2, learning_rate=3.0, average=0.0, validate_every=5)
    fit = make(tmp_path, config).run()
    scores = [line["validation"] for line in log_of(tmp_path)]
    assert fit.steps == fit.best_step + 10 < CONFIG.steps
    assert len(scores) == fit.steps // 5
    again: list[int] = []
    stopped = make(tmp_path, config).run(advance=again.append)
    assert (stopped.steps, again) == (fit.steps, [fit.steps]), "what has stopped does not go on"
    assert same(stopped.net, fit.net)


def test_independent_pairs_train_too(make: Make, tmp_path: Path) -> None:
    config = replace(
        CONFIG, sampler="pairs", batch_pairs=16, optimiser="adam", schedule="constant", channel_dropout=0.0
    )
    fit = make(tmp_path, config).run()
    lines = log_of(tmp_path)
    assert lines[-1]["train"]["loss"] < 0.8 * lines[0]["train"]["loss"]
    assert fit.best_step in (30, 60, 90)


def test_optimisers_differ_in_the_decay(make: Make, tmp_path: Path) -> None:
    nets = [
        make(tmp_path / kind, replace(CONFIG, optimiser=kind, weight_decay=0.1, steps=3)).run().net
        for kind in ("adam", "adamw")
    ]
    assert not same(*nets)


# The log


def test_log_tells_the_speed(whole) -> None:  # type: ignore[no-untyped-def]
    folder, _ = whole
    for line in (folder / "log.jsonl").read_text().splitlines():
        speed = json.loads(line)["speed"]
        assert {"seconds_per_step", "pairs_per_second", "residues_per_second"} <= set(speed)
        assert min(speed.values()) >= 0 < speed["pairs_per_second"]
        assert "flop_utilisation" not in speed


def test_share_of_the_peak_is_logged_where_that_is_known(make: Make, tmp_path: Path) -> None:
    trainer = make(tmp_path, replace(CONFIG, steps=2))
    trainer.speed.peak_tflops = 1e-3
    trainer.run()
    told = json.loads((tmp_path / "log.jsonl").read_text())["speed"]["flop_utilisation"]
    assert 0 < told < 1000


def test_operations_are_counted_as_torch_counts_them(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("_SLOT", "_TOTAL"):  # no empty rows but the few between chains
        monkeypatch.setattr(f"mutscan.model.packing.{name}", 1)
    trainer = make(tmp_path, replace(CONFIG, channel_dropout=0.0))
    batch = trainer.batches(0)
    # Attention as plain products: the counter does not know the fused kind of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        trainer.encode(batch)
    # A training step is the forward pass and twice as much backward.
    assert trainer.encode.flops(batch) == pytest.approx(3 * counter.get_total_flops(), rel=0.15)


def test_events_for_tensorboard(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'train' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    make(tmp_path, replace(CONFIG, steps=60)).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/loss", "validation/tm_mae", "speed/pairs_per_second", "rate"} <= set(
        events.Tags()["scalars"]
    )
    losses = [(event.step, round(event.value, 5)) for event in events.Scalars("train/loss")]
    assert losses == [
        (line["step"], pytest.approx(line["train"]["loss"], abs=1e-5)) for line in log_of(tmp_path)
    ]


def test_without_tensorboard_it_is_said_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level("INFO", logger="mutscan"):
        make(tmp_path, replace(CONFIG, steps=60)).run()
    said = [record.message for record in caplog.records if "TensorBoard is not installed" in record.message]
    assert len(said) == 1
    assert not (tmp_path / "tensorboard").exists()
    assert len(log_of(tmp_path)) == 2


def test_a_torn_last_line_of_the_log_is_forgotten(make: Make, tmp_path: Path) -> None:
    make(tmp_path, replace(CONFIG, steps=30)).run()
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 60, "loss": 0.')
    make(tmp_path, replace(CONFIG, steps=30)).run()
    assert [line["step"] for line in log_of(tmp_path)] == [30]


def test_a_damaged_state_is_told(make: Make, tmp_path: Path) -> None:
    make(tmp_path, replace(CONFIG, steps=2)).run()
    state = tmp_path / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read as the state of a training"):
        make(tmp_path, replace(CONFIG, steps=2)).run()


# Settings


def test_steps_that_are_asked_for_overrule_a_presets_epochs() -> None:
    assert read_config(None, "paper").epochs == 5.0
    config = read_config(None, "paper", steps=20)
    assert (config.epochs, config.steps) == (0.0, 20)
    assert read_config(None, "paper", epochs=2).epochs == 2.0


def test_paper_preset_is_the_papers() -> None:
    paper = TRAIN_PRESETS["paper"]
    assert (paper.sampler, paper.batch_pairs, paper.epochs, paper.max_length) == ("pairs", 16, 5.0, 300)
    assert (paper.optimiser, paper.learning_rate, paper.weight_decay) == ("adamw", 1e-4, 1e-5)
    assert (paper.clip, paper.schedule, paper.warmup, paper.encoder_rate) == (1.0, "constant", 0, 0.0)
    assert (paper.balance_bands, paper.balance_clusters, paper.geometry, paper.memory_from) == (
        False, False, 0.0, -1,
    )  # fmt: skip
    loss = paper.loss
    assert (loss.alpha, loss.beta, loss.tm_min, loss.tm_lddt, loss.tm_kind) == (
        0.7,
        0.3,
        0.1,
        0.7,
        "absolute",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "random"}, "sampler is 'random'; expected 'connected' or 'pairs'"),
        ({"optimiser": "sgd"}, "optimiser is 'sgd'; expected 'adamw' or 'adam'"),
        ({"schedule": "linear"}, "schedule is 'linear'"),
        ({"precision": "fp16"}, "precision is 'fp16'"),
        ({"encoder_layers": 2}, "encoder_layers is 2, but encoder_rate is 0"),
        ({"epochs": 5.0}, "epochs are counted for the sampler 'pairs' only"),
        ({"validate_every": 0}, "validate_every is 0; expected at least 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**settings)


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


# Batches


@pytest.mark.parametrize("lengths", [[30], [20, 20, 20], [24, 25, 31, 80, 81, 300], list(range(30, 400, 7))])
@pytest.mark.parametrize(("limit", "cost"), [(1, 0), (600, 50), (4096, 200), (100_000, 4000)])
def test_chunks_cover_all_chains_and_stay_within_the_limit(lengths: list[int], limit: int, cost: int) -> None:
    cuts = chunks(lengths, limit, cost)
    assert [cuts[0][0], *(end for _, end in cuts)] == [0, *(start for start, _ in cuts[1:]), len(lengths)]
    assert all((end - start) * lengths[end - 1] <= limit or end - start == 1 for start, end in cuts)
    computed = sum(cost + (end - start) * lengths[end - 1] for start, end in cuts)
    assert computed <= len(lengths) * cost + sum(lengths), "no worse than each alone"


def test_every_pair_once_an_epoch(data: tuple[Chains, Pairs]) -> None:
    chains, pairs = data
    order = np.arange(len(pairs.aligned), dtype=np.float32)
    ones = np.ones(len(pairs), np.float32)
    batches = PairBatches(chains, pairs, order, ones, size=9, lddt_from=0.0, seed=3)
    n = len(pairs)
    seen: list[tuple[int, int]] = []
    for step in range(2 * n // 9 + 1):
        batch = batches(step)
        assert len(batch.first) == 9
        ends = (batch.chains[batch.first.numpy()], batch.chains[batch.second.numpy()])
        seen += list(zip(*(end.tolist() for end in ends), strict=True))
    every = sorted(zip(pairs.chain_1.tolist(), pairs.chain_2.tolist(), strict=True))
    assert sorted(seen[:n]) == sorted(seen[n : 2 * n]) == every
    assert seen[:n] != seen[n : 2 * n], "in another order"
    again = PairBatches(chains, pairs, order, ones, size=9, lddt_from=0.0, seed=3)(7)
    assert (again.chains == batches(7).chains).all(), "a batch depends on seed and step alone"
