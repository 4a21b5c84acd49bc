"""An encoder that learns with the net: the numbers of `Encoder.embed`, weights that move, files that load."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.embed import TrainableEncoder, load_encoder, load_trainable
from mutscan.errors import CheckpointError, UsageError
from mutscan.model.config import SiameseConfig
from mutscan.residues import STANDARD
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.tables import Chains, Pairs, read_tables
from mutscan.train.model.batches import ConnectedBatches, all_pairs
from mutscan.train.model.config import TrainConfig
from mutscan.train.model.inputs import EncodedInputs
from mutscan.train.model.trainer import Trainer
from tests import tiny_encoders
from tests.made_up_pairs import write_tables

CPU = torch.device("cpu")
NET = SiameseConfig(d_input=16, d_model=16, n_heads=2, n_layers=1, d_feed_forward=32, d_pool=8, dropout=0.0)
CONFIG = TrainConfig(
    net=NET, steps=12, warmup=2, learning_rate=3e-3, encoder_rate=1e-3, batch_residues=300,
    chunk_residues=150,
    average=0.9, memory_from=4, validate_every=4, precision="fp32", channel_dropout=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    tiny_encoders.quiet_transformers()
    folder = tmp_path_factory.mktemp("encoders")
    return {
        "esm": tiny_encoders.write_esm(folder / "esm", max_positions=40),  # windows of 36 residues
        "esm with token dropout": tiny_encoders.write_esm(
            folder / "dropout", token_dropout=True, vocabulary=True, max_positions=130,
            hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.3,
        ),
        "esm with absolute positions": tiny_encoders.write_esm(
            folder / "absolute", position_embedding_type="absolute", max_positions=130
        ),
        "t5": tiny_encoders.write_t5(folder / "t5"),
    }  # fmt: skip


KINDS = ("esm", "esm with token dropout", "esm with absolute positions", "t5")


def sequences(n: int = 7) -> list[str]:
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list(STANDARD), length)) for length in rng.integers(5, 90, n)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [False, True])
def test_the_numbers_are_those_of_embed(kind: str, training: bool, folders: dict[str, Path]) -> None:
    texts = sequences()
    expected = dict(load_encoder(str(folders[kind]), device="cpu", precision="fp32").embed(texts))
    encoder = load_trainable(str(folders[kind]), device=CPU).train(training)
    together = encoder(texts)
    assert together.requires_grad
    for row, text in enumerate(texts):
        found = together[row].detach().numpy()
        np.testing.assert_allclose(found[: len(text)], expected[row], atol=1e-5)
        assert not found[len(text) :].any(), "padding is zero"


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = load_trainable(str(folders[kind]), device=CPU)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.full_like(parameter, 0.01))
    encoder.save(tmp_path, dtype="fp32")
    text = sequences(1)[0]
    again = load_encoder(str(tmp_path), device="cpu", precision="fp32")
    np.testing.assert_allclose(again.embed_one(text), encoder([text])[0].detach(), atol=1e-5)
    before = load_encoder(str(folders[kind]), device="cpu", precision="fp32").embed_one(text)
    assert np.abs(again.embed_one(text) - before).max() > 1e-3
    bytes_before = (tmp_path / "model.safetensors").read_bytes()
    encoder.save(tmp_path, dtype="fp32")
    assert (tmp_path / "model.safetensors").read_bytes() == bytes_before


def test_transformers_reads_what_is_saved(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import EsmModel, T5EncoderModel

    for kind, network in (("esm", EsmModel), ("t5", T5EncoderModel)):
        encoder = load_trainable(str(folders[kind]), device=CPU)
        encoder.save(tmp_path / kind)
        assert json.loads((tmp_path / kind / "config.json").read_text())["dtype"] == "float16"
        settings = {"add_pooling_layer": False} if kind == "esm" else {}
        plain = network.from_pretrained(str(tmp_path / kind), dtype=torch.float32, **settings).eval()
        text = sequences(1)[0][:30]
        ids = torch.from_numpy(encoder._tokens.encode(text))[None]
        first = len(encoder._tokens.before)
        with torch.no_grad():
            found = plain(input_ids=ids).last_hidden_state[0, first : first + len(text)]
        np.testing.assert_allclose(found, encoder([text])[0].detach(), atol=2e-3)  # stored as fp16


def test_weights_that_no_half_precision_holds_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    encoder = load_trainable(str(folders["esm"]), device=CPU)
    with torch.no_grad():
        next(encoder.parameters()).fill_(1e6)
    with pytest.raises(CheckpointError, match="is not finite in fp16; train it at a lower encoder_rate"):
        encoder.save(tmp_path)


@pytest.mark.parametrize("kind", ["esm", "t5"])
def test_only_the_top_layers_learn(kind: str, folders: dict[str, Path]) -> None:
    encoder = load_trainable(str(folders[kind]), device=CPU)
    encoder.train_top(1)
    encoder(sequences(2)).square().sum().backward()
    moved = {name for name, p in encoder.named_parameters() if p.grad is not None}
    stack = "block" if kind == "t5" else "layer"
    norm = "final_layer_norm" if kind == "t5" else "emb_layer_norm_after"
    assert moved
    assert all(f".{stack}.1." in name or norm in name for name in moved)
    with pytest.raises(UsageError, match=r"encoder_layers is 3, but encoder .* has 2 layers"):
        encoder.train_top(3)


# In the training loop

Make = Callable[..., Trainer]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Chains, Pairs]:
    return read_tables(*write_tables(tmp_path_factory.mktemp("tables"), families=12))


@pytest.fixture(scope="module")
def make(data: tuple[Chains, Pairs], folders: dict[str, Path]) -> Make:
    chains, pairs = data
    labels = lddt_labels(chains, pairs)

    def trainer(folder: Path, config: TrainConfig = CONFIG, kind: str = "esm") -> Trainer:
        batches = ConnectedBatches(
            chains, pairs, labels, np.ones(len(pairs), np.float32), residues=config.batch_residues,
            neighbours=config.neighbours, lddt_from=config.loss.tm_lddt, seed=config.seed,
        )  # fmt: skip
        encoder = load_trainable(str(folders[kind]), device=CPU)
        inputs = EncodedInputs(encoder, chains.sequences)
        validation = all_pairs(chains, pairs, labels, lddt_from=0.7)
        return Trainer(config, inputs, batches, validation, {}, folder, CPU, "data")

    return trainer


def weights_of(encoder: TrainableEncoder | None) -> dict[str, torch.Tensor]:
    assert encoder is not None
    return {name: value.detach().clone() for name, value in encoder.named_parameters()}


@pytest.mark.parametrize("kind", ["esm", "t5"])
def test_encoder_and_net_learn_together(kind: str, make: Make, tmp_path: Path) -> None:
    trainer = make(tmp_path, kind=kind)
    before = weights_of(trainer.encoder)
    fit = trainer.run()
    moved = [
        name for name, value in weights_of(trainer.encoder).items() if not torch.equal(value, before[name])
    ]
    assert len(moved) > len(before) // 2
    assert fit.best_step in (4, 8, 12)
    largest = max(
        float((value - before[name]).abs().max()) for name, value in weights_of(trainer.encoder).items()
    )
    # Adam's steps are about as large as the rate: 1e-3 for the encoder, not the net's 3e-3.
    assert 1e-4 < largest < CONFIG.steps * CONFIG.encoder_rate * 1.5


def test_a_killed_run_ends_with_the_same_encoder(make: Make, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole")
    whole.run()

    def kill(steps: int) -> None:
        if killed.step >= 7:
            raise KeyboardInterrupt

    killed = make(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        killed.run(advance=kill)
    continued = make(tmp_path / "killed")
    continued.run()
    for name, value in weights_of(whole.encoder).items():
        assert torch.equal(value, weights_of(continued.encoder)[name]), name


def test_activations_computed_again_give_the_same_weights(make: Make, tmp_path: Path) -> None:
    net = replace(NET, dropout=0.1)  # its masks must come out the same the second time
    fits = []
    for recompute in (False, True):
        trainer = make(tmp_path / str(recompute), replace(CONFIG, net=net, recompute=recompute, steps=4))
        trainer.run()
        fits.append(weights_of(trainer.encoder))
    for name, value in fits[0].items():
        torch.testing.assert_close(value, fits[1][name], atol=1e-6, rtol=0)


def test_averages_include_the_encoder(make: Make, tmp_path: Path) -> None:
    trainer = make(tmp_path, replace(CONFIG, steps=4))
    trainer.run()
    name = next(name for name in trainer.average if name.startswith("encoder.") and "dense.weight" in name)
    trainer._load()  # the state keeps the last weights, `run` ended with the best average
    assert not torch.equal(trainer.weights()[name], trainer.average[name])
