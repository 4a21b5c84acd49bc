"""The training loop of the Siamese net, on cached embeddings or together with its encoder.

Nothing in a step depends on earlier random draws: batch, channel dropout and
torch's generator are seeded by (seed, step). The saved state is therefore the
step, the weights and the optimiser, and a killed run, started again, ends with
the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mutscan.errors import CheckpointError
from mutscan.model.siamese import SiameseNet
from mutscan.train.geometry import N_TARGETS
from mutscan.train.loss import pair_loss
from mutscan.train.state import load_state, optimiser_tensors, restore_optimiser, save_state
from mutscan.train.validation import Validation, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.batches import ConnectedBatches, PairBatch, PairBatches
    from mutscan.train.config import TrainConfig
    from mutscan.train.inputs import ChainInputs

_LDDT_ROWS = 65_536  # of validation, compared at a time


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished training: the chosen weights and how they came about.

    The encoder, where it learned, holds the chosen weights too.
    """

    net: SiameseNet
    best_step: int
    validation: Validation
    steps: int
    seconds: float


class Trainer:
    """Trains a net; `run` continues a saved state if the folder holds one.

    Parameters
    ----------
    config : TrainConfig
    inputs : ChainInputs
        Embeddings of the chains; with an encoder in it, that learns too.
    batches : ConnectedBatches or PairBatches
        Draws the training batches.
    validation : PairBatch
        All validation pairs.
    geometry : mapping of chain -> float32 array, shape (L, N_TARGETS)
        Targets of the auxiliary loss; needed where ``config.geometry`` is not 0.
    folder : Path
        Holds ``state.safetensors`` and ``log.jsonl``.
    device : torch.device
    data : str
        Digest of data and encoder; a state made from others is refused.
    """

    def __init__(
        self,
        config: TrainConfig,
        inputs: ChainInputs,
        batches: ConnectedBatches | PairBatches,
        validation: PairBatch,
        geometry: Mapping[int, NDArray[np.float32]],
        folder: Path,
        device: torch.device,
        data: str,
    ) -> None:
        self.config = config
        self.inputs = inputs
        self.batches = batches
        self.validation = validation
        self.geometry = geometry
        self.folder = folder
        self.device = device
        self.identity = {"settings": config.digest, "data": data}
        torch.manual_seed(config.seed)
        self.net = SiameseNet(config.net).to(device)
        self.head = nn.Linear(config.net.d_model, N_TARGETS).to(device)
        learning = [[*self.net.parameters(), *self.head.parameters()]]
        self.rates = [config.learning_rate]
        self.encoder = inputs.encoder
        if self.encoder is not None:
            self.encoder.train_top(config.encoder_layers)
            learning.append([p for p in self.encoder.parameters() if p.requires_grad])
            self.rates.append(config.encoder_rate)
        self.parameters = [parameter for group in learning for parameter in group]
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
        self.optimiser = kind(
            [{"params": group} for group in learning],
            config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
        )
        n_chains = len(batches.lengths)
        self.memory = torch.zeros(n_chains, config.net.d_model, device=device)
        self.remembered = torch.zeros(n_chains, dtype=torch.bool)
        self.average = {name: value.clone() for name, value in self.weights().items()}
        self.best = {name: value.clone() for name, value in self.average.items()}
        self.best_step = 0
        self.best_validation: Validation | None = None
        self.step = 0
        self.seconds = 0.0

    def weights(self) -> dict[str, Tensor]:
        """Live weights of the model: the net's, and those of the encoder that learn."""
        found = {f"net.{name}": value.detach() for name, value in self.net.state_dict().items()}
        if self.encoder is not None:
            learning = {n: p for n, p in self.encoder.named_parameters() if p.requires_grad}
            found |= {f"encoder.{name}": value.detach() for name, value in learning.items()}
        return found

    def run(self, *, advance: Callable[[int], None] = lambda n: None) -> Fit:
        """Train to the last step and return the best weights; `advance` is told of steps done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._load()
        advance(self.step)
        began = time.monotonic() - self.seconds
        sums = np.zeros(3)
        counts = np.zeros(3)
        while self.step < self.config.steps and not self._lost_patience():
            values = self._train_step(self.batches(self.step))
            finite = np.isfinite(values)
            sums[finite] += values[finite]
            counts += finite
            self.step += 1
            advance(1)
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                self.seconds = time.monotonic() - began
                means = np.divide(sums, counts, out=np.full(3, np.nan), where=counts > 0)
                self._validate(means)
                sums[:], counts[:] = 0, 0
        if self.best_validation is None:
            raise CheckpointError(f"{self.folder}: no step was trained; ask for at least one")
        self._use(self.best)
        return Fit(self.net.eval(), self.best_step, self.best_validation, self.step, self.seconds)

    def _lost_patience(self) -> bool:
        waited = (self.step - self.best_step) // self.config.validate_every
        return self.best_validation is not None and 0 < self.config.patience <= waited

    def _train_step(self, batch: PairBatch) -> NDArray[np.float64]:
        config = self.config
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * config.factor(self.step)
        self._train_mode(True)
        residues, pooled = self._encode(batch, training=True)
        tm_predicted, lddt_predicted = self._predict(batch, residues, pooled)
        result = pair_loss(
            tm_predicted,
            batch.tm_score.to(self.device),
            lddt_predicted,
            batch.lddt.to(self.device),
            batch.pair_of.to(self.device),
            config.loss,
            batch.weight.to(self.device),
        )
        loss = result.loss
        if config.memory_from >= 0:
            if self.step >= config.memory_from:
                loss = loss + self._memory_loss(batch, pooled)
            self.memory[batch.chains] = pooled.detach()
            self.remembered[batch.chains] = True
        if config.geometry:
            targets = torch.from_numpy(np.concatenate([self.geometry[c] for c in batch.chains.tolist()]))
            targets = targets.to(self.device)
            error = torch.where(targets.isnan(), 0.0, self.head(residues) - targets.nan_to_num())
            loss = loss + config.geometry * error.square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, config.clip)
        self.optimiser.step()
        self._update_average()
        return np.array([result.loss.item(), result.tm_error.item(), result.lddt_error.item()])

    def _predict(self, batch: PairBatch, residues: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """TM-score of each pair (P,) and lDDT of each row of aligned residues (R,)."""
        lengths = batch.lengths.to(self.device)
        tm = self.net.tm_score(
            pooled[batch.first], pooled[batch.second], lengths[batch.first], lengths[batch.second]
        )
        if torch.is_grad_enabled():
            return tm, self.net.lddt(residues[batch.residue_1], residues[batch.residue_2])
        rows = pairwise([*range(0, len(batch.lddt), _LDDT_ROWS), len(batch.lddt)])
        parts = [
            self.net.lddt(residues[batch.residue_1[start:end]], residues[batch.residue_2[start:end]])
            for start, end in rows
        ]
        return tm, torch.cat([*parts, tm.new_empty(0)])

    def _memory_loss(self, batch: PairBatch, pooled: Tensor) -> Tensor:
        pairs = self.batches.with_memory(batch.chains, self.remembered.numpy())
        tm_predicted = self.net.tm_score(
            pooled[pairs.place],
            self.memory[pairs.partner],
            pairs.length_1.to(self.device),
            pairs.length_2.to(self.device),
        )
        none = torch.empty(0, device=self.device)  # residue vectors are not remembered
        return pair_loss(
            tm_predicted,
            pairs.tm_score.to(self.device),
            none,
            none,
            none.long(),
            self.config.loss,
            pairs.weight.to(self.device),
        ).loss

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows closely: it forgets all but the last tenth of the steps.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        for name, value in self.weights().items():
            self.average[name].lerp_(value, 1 - decay)

    # Encoding

    def _encode(self, batch: PairBatch, *, training: bool) -> tuple[Tensor, Tensor]:
        """Residue vectors of all chains end to end, (sum of L, d), and pooled vectors, (C, d)."""
        keep: Tensor | None = None
        if training and self.config.channel_dropout:
            # One mask for the whole batch: other channels on the two sides would make equal residues differ.
            p = self.config.channel_dropout
            keep = ((torch.rand(self.inputs.dim) >= p) / (1 - p)).to(self.device)
        residues, pooled = [], []
        for start, end in self._chunks(batch.lengths.tolist()):
            chunk = batch.chains[start:end].tolist(), batch.lengths[start:end], keep
            if training and self.config.recompute:
                y, z = checkpoint(self._encode_chunk, *chunk, use_reentrant=False)
            else:
                y, z = self._encode_chunk(*chunk)
            residues.append(y)
            pooled.append(z)
        return torch.cat(residues), torch.cat(pooled)

    def _chunks(self, lengths: list[int]) -> Iterator[tuple[int, int]]:
        """Half-open runs of chains, ascending in length, that are padded and encoded together."""
        start = 0
        while start < len(lengths):
            end = start + 1
            while end < len(lengths) and (end + 1 - start) * lengths[end] <= self.config.chunk_residues:
                end += 1
            yield start, end
            start = end

    def _encode_chunk(self, chains: list[int], lengths: Tensor, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        mask = torch.arange(int(lengths[-1])) < lengths[:, None]
        mask = mask.to(self.device)
        with self._autocast():
            x = self.inputs.padded(chains, self.device)
            if keep is not None:
                x = x * keep
            y, z = self.net(x, mask)
        return y.float()[mask], z.float()

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _train_mode(self, training: bool) -> None:
        self.net.train(training)
        if self.encoder is not None:
            self.encoder.train(training)

    # Validation

    @torch.no_grad()
    def validate(self) -> Validation:
        """Errors of the averaged weights on the validation pairs."""
        batch = self.validation
        current = {name: value.clone() for name, value in self.weights().items()}
        self._use(self.average)
        self._train_mode(False)
        residues, pooled = self._encode(batch, training=False)
        tm_predicted, lddt_predicted = self._predict(batch, residues, pooled)
        self._use(current)
        return measure(
            tm_predicted.cpu().numpy(),
            batch.tm_score.numpy(),
            lddt_predicted.cpu().numpy(),
            batch.lddt.numpy(),
        )

    @torch.no_grad()
    def _use(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in self.weights().items():
            value.copy_(weights[name])

    def _validate(self, train: NDArray[np.float64]) -> None:
        validation = self.validate()
        if self.best_validation is None or validation.score < self.best_validation.score:
            self.best_validation, self.best_step = validation, self.step
            self.best = {name: value.clone() for name, value in self.average.items()}
        line = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "rate": self.config.learning_rate * self.config.factor(self.step - 1),
            "train": dict(zip(("loss", "tm_mae", "lddt_mae"), np.round(train, 5).tolist(), strict=True)),
            "validation": {name: round(value, 5) for name, value in asdict(validation).items()},
            "best_step": self.best_step,
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._save()

    # State

    def _save(self) -> None:
        assert self.best_validation is not None
        parts = {
            "head": self.head.state_dict(),
            "memory": {"vectors": self.memory, "filled": self.remembered},
            "weights": self.weights(),
            "average": self.average,
            "best": self.best,
            "optimiser": optimiser_tensors(self.optimiser),
        }
        metadata = {
            "step": self.step,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_validation": asdict(self.best_validation),
            **self.identity,
        }
        save_state(self.folder, parts, metadata)

    def _load(self) -> None:
        log = self.folder / "log.jsonl"
        state = load_state(self.folder, self.identity)
        if state is None:
            log.unlink(missing_ok=True)
            return
        self._use(state.part("weights"))
        self.head.load_state_dict(state.part("head"))
        self.memory.copy_(state.part("memory")["vectors"])
        self.remembered = state.part("memory")["filled"]
        self.average = {name: value.to(self.device) for name, value in state.part("average").items()}
        self.best = {name: value.to(self.device) for name, value in state.part("best").items()}
        restore_optimiser(self.optimiser, state.part("optimiser"))
        self.step, self.best_step = state.metadata["step"], state.metadata["best_step"]
        self.seconds = state.metadata["seconds"]
        self.best_validation = Validation(**state.metadata["best_validation"])
        # Lines of steps that were trained but not saved belong to the killed run.
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
