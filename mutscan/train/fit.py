"""The training loop of the Siamese net on cached embeddings.

Nothing in a step depends on earlier random draws: batch, channel dropout and
torch's generator are seeded by (seed, step). The saved state is therefore the
step, the weights and the optimiser, and a killed run, started again, ends with
the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mutscan.errors import CheckpointError
from mutscan.files import replacing
from mutscan.model.siamese import PRESETS, SiameseConfig, SiameseNet
from mutscan.train.geometry import N_TARGETS
from mutscan.train.loss import LossConfig, pair_loss

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.batches import ConnectedBatches, PairBatch
    from mutscan.train.store import EmbeddingStore


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides the weights, apart from data and encoder.

    Parameters
    ----------
    net : SiameseConfig
    loss : LossConfig
    seed : int
    steps, warmup : int
        Optimiser steps in all; the rate rises over the first `warmup`, then falls by a cosine.
    learning_rate, weight_decay, clip : float
        AdamW's rate and decay; largest norm of the gradient.
    batch_residues, neighbours : int
        Size of a batch and partners drawn for each hub (`ConnectedBatches`).
    chunk_residues : int
        Padded residues encoded at a time.
    channel_dropout : float
        Probability that an input channel is zeroed, for a whole batch.
    geometry : float
        Weight of the auxiliary loss on local geometry.
    memory_from : int
        Step from which on encoded chains are also compared with the remembered global vectors of
        all their other partners (cross-batch memory, doi 10.1109/CVPR42600.2020.00642); -1: never.
    average : float
        Decay of the moving average of the weights, which is what is validated and kept; 0 keeps the last.
    balance_bands, balance_clusters : bool
        See `pair_weights`.
    validate_every : int
        Steps between validations; the state is saved then.
    precision : {"fp32", "bf16"}
    """

    net: SiameseConfig = field(default_factory=SiameseConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 0
    steps: int = 2000
    warmup: int = 100
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    batch_residues: int = 4096
    neighbours: int = 6
    chunk_residues: int = 4096
    channel_dropout: float = 0.0
    geometry: float = 0.0
    memory_from: int = -1
    average: float = 0.0
    balance_bands: bool = False
    balance_clusters: bool = False
    validate_every: int = 250
    precision: str = "bf16"

    @property
    def digest(self) -> str:
        """Short sha256 of all settings: a state is continued under the settings it was made with only."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        through = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * through)))


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors on the validation pairs, with the averaged weights.

    Parameters
    ----------
    tm_mae, macro_mae : float
        Mean absolute error of the TM-score; mean over its five bands.
    tm_pearson : float
    lddt_mae : float
        Over aligned residues of the similar pairs; NaN when there is none.
    """

    tm_mae: float
    macro_mae: float
    tm_pearson: float
    lddt_mae: float

    @property
    def score(self) -> float:
        """What the best weights are chosen by; lower is better."""
        parts = np.array([self.tm_mae, self.macro_mae, self.lddt_mae])
        return float(np.nansum(parts * [0.5, 0.5, 1.0]))


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished training: the chosen weights and how they came about."""

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
    store : EmbeddingStore
    batches : ConnectedBatches
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
        store: EmbeddingStore,
        batches: ConnectedBatches,
        validation: PairBatch,
        geometry: Mapping[int, NDArray[np.float32]],
        folder: Path,
        device: torch.device,
        data: str,
    ) -> None:
        self.config = config
        self.store = store
        self.batches = batches
        self.validation = validation
        self.geometry = geometry
        self.folder = folder
        self.device = device
        self.identity = {"settings": config.digest, "data": data}
        torch.manual_seed(config.seed)
        self.net = SiameseNet(config.net).to(device)
        self.head = nn.Linear(config.net.d_model, N_TARGETS).to(device)
        self.parameters = [*self.net.parameters(), *self.head.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.parameters, config.learning_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay
        )
        n_chains = len(batches.lengths)
        self.memory = torch.zeros(n_chains, config.net.d_model, device=device)
        self.remembered = torch.zeros(n_chains, dtype=torch.bool)
        self.average = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.best = {name: value.clone() for name, value in self.average.items()}
        self.best_step = 0
        self.best_validation: Validation | None = None
        self.step = 0
        self.seconds = 0.0

    def run(self, *, advance: Callable[[int], None] = lambda n: None) -> Fit:
        """Train to the last step and return the best weights; `advance` is told of steps done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._load()
        advance(self.step)
        began = time.monotonic() - self.seconds
        sums = np.zeros(3)
        counts = np.zeros(3)
        while self.step < self.config.steps:
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
        self.net.load_state_dict(self.best)
        return Fit(self.net.eval(), self.best_step, self.best_validation, self.step, self.seconds)

    def _train_step(self, batch: PairBatch) -> NDArray[np.float64]:
        config = self.config
        torch.manual_seed(config.seed * 1_000_003 + self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        self.net.train()
        residues, pooled = self._encode(batch, training=True)
        tm_predicted = self._tm_score(batch, pooled)
        lddt_predicted = self.net.lddt(residues[batch.residue_1], residues[batch.residue_2])
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
        for name, value in self.net.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def _encode(self, batch: PairBatch, *, training: bool) -> tuple[Tensor, Tensor]:
        """Residue vectors of all chains end to end, (sum of L, d), and pooled vectors, (C, d)."""
        lengths = batch.lengths.tolist()
        keep: Tensor | None = None
        if training and self.config.channel_dropout:
            # One mask for the whole batch: other channels on the two sides would make equal residues differ.
            p = self.config.channel_dropout
            keep = ((torch.rand(self.store.dim) >= p) / (1 - p)).to(self.device)
        residues, pooled = [], []
        start = 0
        while start < len(lengths):
            end = start + 1
            while end < len(lengths) and (end + 1 - start) * lengths[end] <= self.config.chunk_residues:
                end += 1
            size = lengths[end - 1]  # ascending
            padded = np.zeros((end - start, size, self.store.dim), dtype=np.float32)
            for row, chain in enumerate(batch.chains[start:end].tolist()):
                padded[row, : lengths[start + row]] = self.store[chain]
            x = torch.from_numpy(padded).to(self.device)
            mask = torch.arange(size) < batch.lengths[start:end, None]
            if keep is not None:
                x = x * keep
            with self._autocast():
                y, z = self.net(x, mask.to(self.device))
            residues.append(y.float()[mask.to(self.device)])
            pooled.append(z.float())
            start = end
        return torch.cat(residues), torch.cat(pooled)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _tm_score(self, batch: PairBatch, pooled: Tensor) -> Tensor:
        lengths = batch.lengths.to(self.device)
        return self.net.tm_score(
            pooled[batch.first], pooled[batch.second], lengths[batch.first], lengths[batch.second]
        )

    @torch.no_grad()
    def validate(self) -> Validation:
        """Errors of the averaged weights on the validation pairs."""
        batch = self.validation
        current = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.net.load_state_dict(self.average)
        self.net.eval()
        residues, pooled = self._encode(batch, training=False)
        tm_predicted = self._tm_score(batch, pooled).cpu().clamp(0, 1).numpy()
        rows = [
            self.net.lddt(residues[batch.residue_1[start:end]], residues[batch.residue_2[start:end]]).cpu()
            for start, end in pairwise([*range(0, len(batch.lddt), 65_536), len(batch.lddt)])
        ]
        lddt_error = (torch.cat([*rows, torch.empty(0)]).clamp(0, 1) - batch.lddt).abs()
        self.net.load_state_dict(current)
        truth = batch.tm_score.numpy()
        error = np.abs(tm_predicted - truth)
        band = np.clip((truth * 5).astype(int), 0, 4)
        return Validation(
            float(error.mean()),
            float(np.mean([error[band == b].mean() for b in np.unique(band)])),
            float(np.corrcoef(tm_predicted, truth)[0, 1]),
            float(lddt_error.nanmean()),
        )

    def _validate(self, train: NDArray[np.float64]) -> None:
        validation = self.validate()
        if self.best_validation is None or validation.score < self.best_validation.score:
            self.best_validation, self.best_step = validation, self.step
            self.best = {name: value.clone() for name, value in self.average.items()}
        line = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "rate": self.config.rate(self.step - 1),
            "train": dict(zip(("loss", "tm_mae", "lddt_mae"), np.round(train, 5).tolist(), strict=True)),
            "validation": {name: round(value, 5) for name, value in asdict(validation).items()},
            "best_step": self.best_step,
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._save()

    # State

    def _save(self) -> None:
        tensors = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        tensors |= {"memory": self.memory, "remembered": self.remembered}
        for prefix, weights in (
            ("net", self.net.state_dict()),
            ("average", self.average),
            ("best", self.best),
        ):
            tensors |= {f"{prefix}.{name}": value for name, value in weights.items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
        assert self.best_validation is not None
        metadata = {
            "step": self.step,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_validation": asdict(self.best_validation),
            **self.identity,
        }
        path = self.folder / "state.safetensors"
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with replacing(path) as temporary:
            save_file(contiguous, temporary, {"state": json.dumps(metadata)})

    def _load(self) -> None:
        path, log = self.folder / "state.safetensors", self.folder / "log.jsonl"
        if not path.is_file():
            log.unlink(missing_ok=True)
            return
        with safe_open(path, "pt") as file:
            metadata = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        for what, digest in self.identity.items():
            if metadata[what] != digest:
                raise CheckpointError(
                    f"{path}: was made with other {what}; continue it with those, "
                    "or start again with --restart or in another --work folder"
                )

        def part(prefix: str) -> dict[str, Tensor]:
            n = len(prefix) + 1
            return {name[n:]: value for name, value in tensors.items() if name.startswith(prefix + ".")}

        self.net.load_state_dict(part("net"))
        self.head.load_state_dict(part("head"))
        self.memory, self.remembered = tensors["memory"].to(self.device), tensors["remembered"]
        self.average = {name: value.to(self.device) for name, value in part("average").items()}
        self.best = {name: value.to(self.device) for name, value in part("best").items()}
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in part("optimiser").items():
            number, _, key = name.partition(".")
            states.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": states})
        self.step, self.best_step = metadata["step"], metadata["best_step"]
        self.seconds = metadata["seconds"]
        self.best_validation = Validation(**metadata["best_validation"])
        # Lines of steps that were trained but not saved belong to the killed run.
        lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        log.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


MINI = TrainConfig(
    net=PRESETS["mini"],
    loss=LossConfig(alpha=1.0, beta=1.0, tm_min=0.0, tm_kind="squared"),
    steps=1200,
    warmup=60,
    learning_rate=4e-4,
    weight_decay=0.01,
    batch_residues=5000,
    neighbours=8,
    channel_dropout=0.1,
    geometry=0.03,
    memory_from=100,
    average=0.995,
    balance_bands=True,
    balance_clusters=True,
    validate_every=100,
)
"""Settings for few CPU cores: a narrow net, dropout on input channels only (it is the slow part there)."""
