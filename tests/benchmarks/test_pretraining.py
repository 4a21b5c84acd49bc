"""Pretraining packed by length beside padding every sequence to the crop's length; bf16 beside fp32."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from mutscan.embed import set_threads
from mutscan.train.chains.corpus import Corpus, read_corpus
from mutscan.train.encoder.batches import MicroBatch, PackedBatches, Vocabulary
from mutscan.train.encoder.config import PRETRAIN_PRESETS
from mutscan.train.encoder.network import new_network
from mutscan.train.encoder.trainer import Pretrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.benchmark

CHUNK = 4096
CONFIG = replace(PRETRAIN_PRESETS["8m"], batch_tokens=CHUNK, chunk_tokens=CHUNK)


@pytest.fixture(scope="module")
def corpus(shared: Path) -> Corpus:
    return read_corpus([shared / "data" / "sequences.parquet"])


@pytest.fixture(scope="module")
def packed(corpus: Corpus) -> list[MicroBatch]:
    """Micro-batches of a step each, of a whole pool."""
    draw = PackedBatches(
        corpus,
        np.arange(corpus.n_clusters),
        Vocabulary.standard(),
        max_length=CONFIG.max_length,
        chunk_tokens=CHUNK,
        chunks=1,
        seed=0,
    )
    return [draw(step)[0] for step in range(draw.pool_steps)]


def padded(batches: Sequence[MicroBatch], width: int) -> list[MicroBatch]:
    """Put the same sequences, masked alike, in random order and padded to `width` columns each."""
    pad = Vocabulary.standard().pad
    rows = []
    for item in batches:
        chosen = np.full(item.tokens.size, -1)
        chosen[item.places] = item.targets
        for tokens, targets, n in zip(
            item.tokens, chosen.reshape(item.tokens.shape), item.lengths.tolist(), strict=True
        ):
            rows.append((tokens[:n], targets[:n]))
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    size = CHUNK // width
    made = []
    for start in range(0, len(rows) - size + 1, size):
        some = [rows[k] for k in order[start : start + size]]
        tokens = np.full((size, width), pad)
        targets = np.full((size, width), -1)
        for row, (given, asked) in enumerate(some):
            tokens[row, : len(given)], targets[row, : len(asked)] = given, asked
        places = np.flatnonzero(targets.ravel() >= 0)
        lengths = np.array([len(given) for given, _ in some])
        made.append(MicroBatch(tokens, lengths, places, targets.ravel()[places], start))
    return made


class Rate:
    """Tokens without padding for each second of the processor, step by step."""

    def __init__(self, precision: str, folder: Path) -> None:
        config = replace(CONFIG, precision=precision)
        model = new_network(config.shape, seed=0)
        self.trainer = Pretrainer(config, model, None, [], folder, torch.device("cpu"), "")  # type: ignore[arg-type]
        self.tokens, self.seconds = 0, 0.0

    def step(self, item: MicroBatch, *, count: bool = True) -> None:
        began = time.process_time()
        self.trainer.train_step(([item], None))
        if count:
            self.seconds += time.process_time() - began
            self.tokens += item.n_tokens

    @property
    def value(self) -> float:
        return self.tokens / self.seconds


def padding_share(batches: Sequence[MicroBatch]) -> float:
    """Share of tokens that are padding."""
    return 1 - sum(batch.n_tokens for batch in batches) / sum(batch.tokens.size for batch in batches)


def test_packing_beats_padding(packed: list[MicroBatch], tmp_path: Path) -> None:
    set_threads(1)
    plain = padded(packed, 512)
    shares = padding_share(packed), padding_share(plain)
    ways = {name: Rate("bf16", tmp_path) for name in ("packed", "padded")}
    for name, items in (("packed", packed), ("padded", plain)):
        ways[name].step(items[0], count=False)
    # Turn by turn, so that a busy machine is busy for both; spread over all lengths.
    for k in np.linspace(1, min(len(packed), len(plain)) - 1, 8).astype(int).tolist():
        ways["packed"].step(packed[k])
        ways["padded"].step(plain[k])
    ratio = ways["packed"].value / ways["padded"].value
    print(
        f"\npacked {ways['packed'].value:.0f} tokens/s ({shares[0]:.1%} padding), padded to 512 "
        f"{ways['padded'].value:.0f} tokens/s ({shares[1]:.1%} padding): {ratio:.2f} times"
    )
    assert shares[0] < 0.03
    assert ratio > 1.4


def test_bf16_on_the_cpu(packed: list[MicroBatch], tmp_path: Path) -> None:
    if not torch.cpu.get_capabilities().get("amx_bf16"):
        pytest.skip("this processor has no AMX; bf16 is emulated")
    set_threads(1)
    ways = {precision: Rate(precision, tmp_path) for precision in ("fp32", "bf16")}
    for rate in ways.values():
        rate.step(packed[0], count=False)
        for item in packed[1:4]:
            rate.step(item)
    ratio = ways["bf16"].value / ways["fp32"].value
    print(
        f"\nbf16 {ways['bf16'].value:.0f} tokens/s, fp32 {ways['fp32'].value:.0f} tokens/s: {ratio:.2f} times"
    )
    assert ratio > 1.3
