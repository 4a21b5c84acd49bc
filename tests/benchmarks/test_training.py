"""Training against the plain way, padded to 300 and looping over pairs: pytest -m benchmark -s."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.model.config import SiameseConfig
from mutscan.model.siamese import SiameseNet
from mutscan.model.vectors import ChainVectors, PairRows
from mutscan.train.chains.tables import Chains, Pairs, read_tables
from mutscan.train.model.batches import ConnectedBatches, PairBatch, PairBatches, all_pairs, pair_weights
from mutscan.train.model.config import MINI, TrainConfig
from mutscan.train.model.embeddings import EmbeddingStore
from mutscan.train.model.geometry import local_geometry
from mutscan.train.model.inputs import CachedInputs
from mutscan.train.model.trainer import Trainer

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]

LONGEST = 300
SECONDS = 8.0  # of processor time, of each way

# All ways see the same chains of up to 300 residues, net, loss, frozen embeddings and one thread.
# *Labelled pairs* are those of two chains encoded in the step, each with a gradient to both; *memory
# pairs* are labelled too, but one chain's vector is remembered from an earlier step and gets none.


@pytest.fixture(scope="module")
def data(shared: Path) -> tuple[Chains, Pairs]:
    chains, pairs = read_tables(shared / "data" / "structures.parquet", shared / "data" / "pairs.parquet")
    short = chains.lengths <= LONGEST
    return chains, pairs.take(np.flatnonzero(short[pairs.chain_1] & short[pairs.chain_2]))


class Plain:
    """The preprint's loop as it is usually written: 16 independent pairs, all padded, one after the other."""

    def __init__(self, config: TrainConfig, store: EmbeddingStore) -> None:
        torch.manual_seed(0)
        self.config = config
        self.store = store
        self.net = SiameseNet(config.net)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), config.learning_rate)

    def step(self, batch: PairBatch) -> int:
        config = self.config
        ends = torch.stack([batch.first, batch.second], dim=1).flatten().tolist()  # each end anew
        x = torch.zeros(len(ends), LONGEST, self.store.dim)
        mask = torch.zeros(len(ends), LONGEST, dtype=torch.bool)
        for row, place in enumerate(ends):
            embedding = torch.from_numpy(np.array(self.store[int(batch.chains[place])], np.float32))
            x[row, : len(embedding)] = embedding
            mask[row, : len(embedding)] = True
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            residues, pooled = self.net(x, mask)
            matching = self.net.matching(residues, mask)
        offsets = torch.cumsum(batch.lengths, 0) - batch.lengths
        starts = torch.cumsum(batch.lengths, 0) - batch.lengths
        losses = []
        for k in range(len(batch.first)):
            true = float(batch.tm_score[k])
            if true < config.loss.tm_min:
                continue
            rows = [2 * k, 2 * k + 1]
            places = [int(batch.first[k]), int(batch.second[k])]
            lengths = batch.lengths[places]
            real = [slice(offsets[p], offsets[p] + batch.lengths[p]) for p in places]
            mine = (batch.pair_of == k) & ~batch.lddt.isnan()
            chains = ChainVectors(
                residues=torch.cat([residues[r, :n].float() for r, n in zip(rows, lengths, strict=True)]),
                pooled=pooled[rows].float(),
                matching=None
                if matching is None
                else torch.cat([matching[r, :n] for r, n in zip(rows, lengths, strict=True)]),
                letters=torch.cat([batch.letters[part] for part in real]),
                lengths=lengths,
            )
            pair = PairRows(
                first=torch.tensor([0]),
                second=torch.tensor([1]),
                alignment=batch.alignment[k : k + 1],
                row_1=batch.residue_1[mine] - starts[places[0]],
                row_2=batch.residue_2[mine] - starts[places[1]] + lengths[0],
                pair_of=torch.zeros(int(mine.sum()), dtype=torch.int64),
                departures=batch.departures[mine],
            )
            tm, lddt = self.net.compare(chains, pair)
            error = (tm[0] - true).square() if config.loss.tm_kind == "squared" else (tm[0] - true).abs()
            if true >= config.loss.tm_lddt:
                local = (lddt - batch.lddt[mine]).abs().mean() if mine.any() else 0.0
                error = config.loss.alpha * local + config.loss.beta * error
            losses.append(error)
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), config.clip)
        self.optimiser.step()
        return len(batch.first)


@dataclass
class Way:
    """One way to train, and what it took and gave."""

    name: str
    step: Callable[[int], tuple[int, int]]
    seconds: float = 0.0
    pairs: int = 0
    memory: int = 0

    @property
    def rate(self) -> float:
        return self.pairs / self.seconds


def take_turns(ways: list[Way]) -> None:
    """Step by step in turns, so that whatever else the machine does meets all of them."""
    step = 0
    while min(way.seconds for way in ways) < SECONDS:
        for way in ways:
            began = time.process_time()
            pairs, memory = way.step(step)
            if step:  # the first one warms up
                way.seconds += time.process_time() - began
                way.pairs += pairs
                way.memory += memory
        step += 1


def ways_of(net: SiameseConfig, data: tuple[Chains, Pairs], folder: Path) -> list[Way]:
    chains, pairs = data
    config = replace(MINI, net=net, memory_from=0)
    rng = np.random.default_rng(0)
    # What the numbers are makes no difference to the time: embeddings and labels are made up.
    starts = np.concatenate([[0], np.cumsum(chains.lengths)])
    some = rng.normal(size=(10_000, net.d_input)).astype(np.float16)
    store = EmbeddingStore(np.resize(some, (int(starts[-1]), net.d_input)), starts)
    labels = np.full(len(pairs.aligned), 0.9, np.float32)
    weights = pair_weights(chains, pairs, balance_bands=True, balance_clusters=True)
    independent = PairBatches(chains, pairs, labels, weights, size=16, lddt_from=0.7, seed=0)
    held_out = all_pairs(chains, pairs.take(np.arange(4)), labels[: int(pairs.starts[4])], lddt_from=0.7)
    geometry = {c: local_geometry(ca) for c, ca in enumerate(chains.ca)}

    def plain(precision: str) -> Way:
        loop = Plain(replace(config, precision=precision), store)
        return Way(f"plain way, {precision}", lambda step: (loop.step(independent(step)), 0))

    def ours(neighbours: int) -> Way:
        chosen = replace(config, neighbours=neighbours)
        connected = ConnectedBatches(
            chains, pairs, labels, weights, residues=config.batch_residues, neighbours=neighbours,
            lddt_from=0.7, seed=0,
        )  # fmt: skip
        trainer = Trainer(
            chosen,
            CachedInputs(store),
            connected,
            held_out,
            geometry,
            folder,
            torch.device("cpu"),
            "benchmark",
        )
        trainer.memory.normal_()
        trainer.remembered[:] = True  # as after every chain was seen once

        def step(number: int) -> tuple[int, int]:
            trainer.step = number
            batch = connected(number)
            before = trainer.speed.memory_pairs
            trainer._train_step(batch)
            return len(batch.first), trainer.speed.memory_pairs - before

        return Way(f"mutscan, {config.precision}, {neighbours} neighbours", step)

    return [plain("fp32"), plain("bf16"), ours(MINI.neighbours), ours(64)]


@pytest.mark.parametrize("kind", ["cosines", "pair head"])
def test_training_against_one_padded_pair_after_the_other(
    kind: str, data: tuple[Chains, Pairs], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = replace(MINI.net, d_match=0) if kind == "cosines" else MINI.net
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ways = ways_of(net, data, tmp_path)
        take_turns(ways)
    finally:
        torch.set_num_threads(threads)
    plain_fp32, plain_bf16, preset, dense = ways
    with capsys.disabled():
        print(f"\nnet with {kind}, 1 thread, frozen encoder, chains up to {LONGEST} residues")
        print(
            "                                labelled   ratio to plain    with memory pairs, ratio to plain"
        )
        print("                                 pairs/s    fp32    bf16      pairs/s    fp32    bf16")
        for way in ways:
            every = (way.pairs + way.memory) / way.seconds
            ratios = [rate / plain.rate for rate in (way.rate, every) for plain in (plain_fp32, plain_bf16)]
            print(
                f"{way.name:30} {way.rate:9.1f} {ratios[0]:7.1f} {ratios[1]:7.1f} "
                f"{every:12.1f} {ratios[2]:7.1f} {ratios[3]:7.1f}"
            )
    # Measured on two cores: preset 13.7 (fp32) and 6.5 (bf16), dense 19.8 and 9.4 with a pair
    # head; what is asserted leaves room for a machine that does something else meanwhile.
    every = (preset.pairs + preset.memory) / preset.seconds
    assert every >= 10 * plain_bf16.rate, "the preset, memory pairs counted, precision the same"
    assert dense.rate >= 10 * plain_fp32.rate, "memory pairs not counted, the plain way as it is written"
    assert dense.rate >= 6 * plain_bf16.rate, "memory pairs not counted, precision the same"
    assert preset.rate >= 10 * plain_fp32.rate, "the preset, memory pairs not counted"
    assert preset.rate >= 5 * plain_bf16.rate, "the preset, memory pairs not counted, precision the same"
