"""Masked-language pretraining of an encoder."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mutscan.errors import CheckpointError, MutscanError
from mutscan.train.encoder.distances import DistanceHead, contact_precision, distance_loss
from mutscan.train.loop.steps import Steps, autocast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.encoder.batches import MicroBatch, PackedBatches
    from mutscan.train.encoder.config import PretrainConfig
    from mutscan.train.encoder.distances import StructureBatch, StructureBatches
    from mutscan.train.encoder.network import MaskedLM
    from mutscan.train.loop.processes import Ranks
    from mutscan.train.loop.state import State

_DIVERGED: Final = 50.0  # nats; a uniform guess among 20 residues has 3
_SHARED: Final = "lm_head.decoder.weight"  # second name of the embedding's matrix


@dataclass(frozen=True, slots=True)
class Held:
    """Losses on the held-out clusters.

    Parameters
    ----------
    loss : float
        Mean negative log-likelihood of a masked residue, nats.
    structure_loss : float
        Mean cross-entropy of the distogram, nats; NaN without structures.
    contact_precision : float
        Of the L / 5 most probable contacts at least 24 residues apart; NaN without structures.
    """

    loss: float
    structure_loss: float = math.nan
    contact_precision: float = math.nan

    @property
    def perplexity(self) -> float:
        """Exponential of the loss."""
        return math.exp(self.loss)

    def to_dict(self) -> dict[str, float]:
        """Numbers by their names; without those that were not measured."""
        values = {"perplexity": self.perplexity, **asdict(self)}
        return {name: round(value, 5) for name, value in values.items() if not math.isnan(value)}


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A finished pretraining.

    Parameters
    ----------
    weights : mapping of str -> Tensor
        State of the network at the best validation.
    best_step : int
    validation : Held
    tokens : int
        Tokens trained on, without padding.
    padding : float
        Share of padding among all tokens of the micro-batches.
    """

    weights: dict[str, Tensor]
    best_step: int
    validation: Held
    tokens: int
    padding: float


class Pretrainer(Steps[Held]):
    """Trains an encoder; `run` continues a saved state if the folder holds one.

    Parameters
    ----------
    config : PretrainConfig
    model : MaskedLM
        Its network is trained in place.
    batches : PackedBatches
    validation : sequence of MicroBatch
    folder : Path
        Holds ``state.safetensors`` and ``log.jsonl``.
    device : torch.device
    data : str
        Digest of the data and of the first weights; a state made from others is refused.
    structures : StructureBatches, optional
        Needed where ``config.structure_weight`` is not 0.
    compiled : bool
        Compile the encoder (``torch.compile``); worthwhile on a GPU.
    peak_tflops : float, optional
        Peak performance of all devices, to log the share of it that is used.
    ranks : Ranks
        Processes that share the work: each takes some micro-batches of every step, and gradients are
        summed.
    """

    def __init__(
        self,
        config: PretrainConfig,
        model: MaskedLM,
        batches: PackedBatches,
        validation: Sequence[MicroBatch],
        folder: Path,
        device: torch.device,
        data: str,
        *,
        structures: StructureBatches | None = None,
        compiled: bool = False,
        peak_tflops: float | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        super().__init__(config, folder, device, data, ranks, peak_tflops)
        self.config = config
        self.shape = model.shape
        self.batches = batches
        self.validation = validation
        self.structures = structures
        self.network: Any = model.network.to(device)
        encoder: Any = self.network.esm
        self.encoder: Any = torch.compile(encoder, dynamic=True) if compiled else encoder
        torch.manual_seed(config.seed)
        self.head = DistanceHead(model.shape.width).to(device) if structures is not None else None
        modules = [self.network, *([self.head] if self.head is not None else [])]
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0},
            ],
            config.learning_rate,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
        )
        self.tokens = 0  # without padding
        self.places = 0  # with padding
        self._restart_sums()
        self.begin(optimiser)

    def run(self, *, advance: Callable[[int], None] = lambda n: None) -> Pretrained:
        """Train to the last step and return the best weights; see `Steps.run_steps`."""
        self.run_steps(advance)
        assert self.best_validation is not None
        return Pretrained(
            self.best, self.best_step, self.best_validation, self.tokens, 1 - self.tokens / self.places
        )

    def batches_from(self, step: int) -> Generator[tuple[list[MicroBatch], StructureBatch | None]]:
        """Batches of the steps to come; each is made while the network works on the one before."""

        def prepare(step: int) -> tuple[list[MicroBatch], StructureBatch | None]:
            return self.batches(step), None if self.structures is None else self.structures(step)

        with ThreadPoolExecutor(1, "batches") as pool:
            coming = pool.submit(prepare, step)
            for following in range(step + 1, self.config.steps + 1):
                ready = coming.result()
                if following < self.config.steps:
                    coming = pool.submit(prepare, following)
                yield ready

    def train_step(self, batch: tuple[Sequence[MicroBatch], StructureBatch | None]) -> None:
        config = self.config
        items, structure = batch
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        n_targets = sum(len(item.places) for item in items)
        for item in items[self.ranks.rank :: self.ranks.size]:
            torch.manual_seed(config.seed * 1_000_003 + item.number)  # dropout, where an encoder has any
            loss = self._masked_loss(item)
            (loss / max(1, n_targets)).backward()  # type: ignore[no-untyped-call]
            self.loss += loss.detach()
        if structure is not None and self.ranks.rank == len(items) % self.ranks.size:
            distance = distance_loss(*self._distances(structure))
            (config.structure_weight * distance).backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.parameters, config.clip)
        self.optimiser.step()
        self.targets += n_targets
        tokens = sum(item.n_tokens for item in items)
        self.tokens += tokens
        self.places += sum(item.tokens.size for item in items)
        flops = sum(self.shape.flops(torch.from_numpy(item.lengths), len(item.places)) for item in items)
        self.speed.count(tokens=tokens, flops=flops)

    def _share_gradients(self) -> None:
        if self.ranks.size == 1:
            return
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is None:  # not part of what this process computed
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        self.ranks.add(gradients)

    def _masked_loss(self, item: MicroBatch) -> Tensor:
        """Negative log-likelihood of all masked residues of a micro-batch, summed."""
        places = torch.from_numpy(item.places).to(self.device)
        with autocast(self.device, self.config.precision):
            hidden = self._encode(item.tokens, item.mask)
            # At masked residues only: the head over all tokens would cost six times more.
            logits = self.network.lm_head(hidden.flatten(0, 1)[places])
        targets = torch.from_numpy(item.targets).to(self.device)
        return nn.functional.cross_entropy(logits.float(), targets, reduction="sum")

    def _distances(self, batch: StructureBatch) -> tuple[Tensor, Tensor]:
        """Logits of the distogram and the true intervals."""
        assert self.head is not None
        mask = np.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
        with autocast(self.device, self.config.precision):
            hidden = self._encode(batch.tokens, mask)
            logits = self.head(hidden[:, 1:-1])
        return logits, torch.from_numpy(batch.intervals).to(self.device)

    def _encode(self, tokens: NDArray[np.int64], mask: NDArray[np.bool_] | None) -> Tensor:
        hidden: Tensor = self.encoder(
            input_ids=torch.from_numpy(tokens).to(self.device),
            attention_mask=None if mask is None else torch.from_numpy(mask).long().to(self.device),
        ).last_hidden_state
        return hidden

    # Validation

    @torch.no_grad()
    def validate(self) -> Held:
        """Losses of the current weights on the held-out clusters."""
        self.network.eval()
        mine = slice(self.ranks.rank, None, self.ranks.size)
        # Sums of losses and their numbers: residues, distograms, chains.
        sums = torch.zeros(3, 2, dtype=torch.float64)
        for item in self.validation[mine]:
            sums[0] += torch.tensor([float(self._masked_loss(item)), len(item.places)])
        if self.structures is not None:
            for batch in self.structures.check()[mine]:
                logits, intervals = self._distances(batch)
                precisions = contact_precision(logits, intervals, torch.from_numpy(batch.lengths - 2))
                sums[1] += torch.tensor([float(distance_loss(logits, intervals)), 1])
                sums[2] += torch.tensor([sum(precisions), len(precisions)])
        on_device = sums.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64)
        self.ranks.add([on_device])
        return Held(*((total / n if n else math.nan) for total, n in on_device.tolist()))

    def _restart_sums(self) -> None:
        self.loss = torch.zeros((), device=self.device)
        self.targets = 0

    def train_means(self) -> dict[str, float]:
        self.ranks.add([self.loss])
        loss = float(self.loss) / max(1, self.targets)
        self._restart_sums()
        perplexity = math.exp(loss) if loss < _DIVERGED else math.inf
        return {"loss": loss, "perplexity": perplexity, "padding": 1 - self.tokens / self.places}

    def measure(self, train: Mapping[str, float]) -> Held:
        held = self.validate()
        if not (held.loss < _DIVERGED and train["loss"] < _DIVERGED):  # NaN is not less, either
            raise MutscanError(
                f"{self.folder}: the training diverged; by step {self.step} the loss is {train['loss']:g} "
                f"({held.loss:g} on held-out clusters). Start again with --restart and a learning rate below "
                f"{self.config.learning_rate:g}, or a longer warm-up",
                code="diverged",
            )
        return held

    def score(self, validation: Held) -> float:
        if self.structures is None:
            return validation.loss
        return validation.loss + self.config.structure_weight * validation.structure_loss

    # State

    def candidate(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.network.state_dict().items() if name != _SHARED}

    def parts(self) -> dict[str, Mapping[str, Tensor]]:
        head = {} if self.head is None else {"head": self.head.state_dict()}
        return {"network": self.candidate(), **head}

    def counters(self) -> dict[str, int]:
        return {"tokens": self.tokens, "places": self.places}

    def restore(self, state: State) -> Held:
        fit = self.network.load_state_dict(state.part("network"), strict=False)
        if set(fit.missing_keys) - {_SHARED} or fit.unexpected_keys:
            raise CheckpointError(
                f"{self.folder}: the saved state is of another network, perhaps of another version of "
                "transformers; start again with --restart"
            )
        if self.head is not None:
            self.head.load_state_dict(state.part("head"))
        self.tokens, self.places = state.metadata["tokens"], state.metadata["places"]
        return Held(**state.metadata["best_validation"])
