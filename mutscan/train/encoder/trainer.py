"""The loop of an encoder's masked-language pretraining.

Nothing in a step depends on earlier random draws: sequences, crops, masks and torch's own
generator are seeded by (seed, step). The saved state is therefore the step, the weights and the
optimiser, and a killed run, started again, ends with the weights of an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from mutscan.errors import CheckpointError, MutscanError
from mutscan.files import replacing
from mutscan.train.encoder.distances import DistanceHead, contact_precision, distance_loss
from mutscan.train.loop.ranks import Ranks
from mutscan.train.loop.state import load_state, optimiser_tensors, restore_optimiser, save_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.encoder.batches import MicroBatch, PackedBatches
    from mutscan.train.encoder.config import PretrainConfig
    from mutscan.train.encoder.distances import StructureBatch, StructureBatches
    from mutscan.train.encoder.network import MaskedLM

LOG_FILE: Final = "log.jsonl"
"""Its name in the work folder: one line for each validation."""

_DIVERGED: Final = 50.0  # nats; a guess among 20 residues costs 3
_SHARED: Final = "lm_head.decoder.weight"  # the embedding's matrix under its second name


@dataclass(frozen=True, slots=True)
class Held:
    """Losses on what is held out.

    Parameters
    ----------
    loss : float
        Mean negative log-likelihood of a masked residue, nats.
    structure_loss : float
        Mean cross-entropy of the distogram, nats; NaN without structures.
    contact_precision : float
        Of the L / 5 surest contacts at least 24 residues apart; NaN without structures.
    """

    loss: float
    structure_loss: float = math.nan
    contact_precision: float = math.nan

    @property
    def perplexity(self) -> float:
        """Residues the model hesitates between, on average."""
        return math.exp(self.loss)

    def to_dict(self) -> dict[str, float]:
        """For a log; without what was not measured."""
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
        Trained on, without padding.
    padding : float
        Share of padding among all tokens of the micro-batches.
    """

    weights: dict[str, Tensor]
    best_step: int
    validation: Held
    tokens: int
    padding: float


class Pretrainer:
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
        Compile the encoder (``torch.compile``); pays on a GPU.
    peak_tflops : float, optional
        Of all devices together, for logging the share of it that is used.
    ranks : Ranks
        Processes that share the work: each takes some micro-batches of every step, and gradients are
        summed. The folder must be the same for all; the first process writes it.
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
        self.config = config
        self.ranks = ranks if ranks is not None else Ranks()
        self.shape = model.shape
        self.batches = batches
        self.validation = validation
        self.structures = structures
        self.folder = folder
        self.device = device
        self.peak_tflops = peak_tflops
        self.identity = {"settings": config.digest, "data": data}
        self.network: Any = model.network.to(device)
        encoder: Any = self.network.esm
        self.encoder: Any = torch.compile(encoder, dynamic=True) if compiled else encoder
        torch.manual_seed(config.seed)
        self.head = DistanceHead(model.shape.width).to(device) if structures is not None else None
        modules = [self.network, *([self.head] if self.head is not None else [])]
        self.parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in self.parameters if p.dim() > 1], "weight_decay": config.weight_decay},
                {"params": [p for p in self.parameters if p.dim() <= 1], "weight_decay": 0.0},
            ],
            config.learning_rate,
            betas=(0.9, 0.98),
            fused=device.type == "cuda",
        )
        self.best = self._weights()
        self.best_step = 0
        self.best_validation: Held | None = None
        self.step = 0
        self.tokens = 0  # without padding
        self.places = 0  # with padding
        self.seconds = 0.0

    def run(self, *, advance: Callable[[int], None] = lambda n: None) -> Pretrained:
        """Train to the last step and return the best weights; `advance` is told of steps done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._load()
        self.ranks.wait()  # nobody writes a state before all have read the one there is
        advance(self.step)
        window = Window(self.device)
        for items, structure in self._prepared():
            self._train_step(items, structure, window)
            self.step += 1
            advance(1)
            if self.step % self.config.validate_every == 0 or self.step == self.config.steps:
                self._validate(window)
                window = Window(self.device)
        assert self.best_validation is not None
        return Pretrained(
            self.best, self.best_step, self.best_validation, self.tokens, 1 - self.tokens / self.places
        )

    def _prepared(self) -> Iterator[tuple[list[MicroBatch], StructureBatch | None]]:
        """Batches of the steps to come; the next one is made while the network works on this one."""

        def prepare(step: int) -> tuple[list[MicroBatch], StructureBatch | None]:
            return self.batches(step), None if self.structures is None else self.structures(step)

        steps = range(self.step, self.config.steps)
        with ThreadPoolExecutor(1, "batches") as pool:
            coming = pool.submit(prepare, self.step) if steps else None
            for step in steps:
                assert coming is not None
                ready = coming.result()
                if step + 1 < steps.stop:
                    coming = pool.submit(prepare, step + 1)
                yield ready

    def _train_step(
        self, items: Sequence[MicroBatch], structure: StructureBatch | None, window: Window
    ) -> None:
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = config.rate(self.step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        n_targets = sum(len(item.places) for item in items)
        for item in items[self.ranks.rank :: self.ranks.size]:
            torch.manual_seed(config.seed * 1_000_003 + item.number)  # dropout, where an encoder has any
            loss = self._masked_loss(item)
            (loss / max(1, n_targets)).backward()  # type: ignore[no-untyped-call]
            window.loss += loss.detach()
        if structure is not None and self.ranks.rank == len(items) % self.ranks.size:
            distance = distance_loss(*self._distances(structure))
            (config.structure_weight * distance).backward()  # type: ignore[no-untyped-call]
        self._share_gradients()
        nn.utils.clip_grad_norm_(self.parameters, config.clip)
        self.optimiser.step()
        tokens = sum(item.n_tokens for item in items)
        places = sum(item.tokens.size for item in items)
        self.tokens += tokens
        self.places += places
        window.targets += n_targets
        window.tokens += tokens
        window.places += places
        window.flops += sum(
            self.shape.flops(torch.from_numpy(item.lengths), len(item.places)) for item in items
        )

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
        with self._autocast():
            hidden = self._encode(item.tokens, item.mask)
            # Only where something is asked for: the head over all tokens would cost six times more.
            logits = self.network.lm_head(hidden.flatten(0, 1)[places])
        targets = torch.from_numpy(item.targets).to(self.device)
        return nn.functional.cross_entropy(logits.float(), targets, reduction="sum")

    def _distances(self, batch: StructureBatch) -> tuple[Tensor, Tensor]:
        """Logits of the distogram and the true intervals."""
        assert self.head is not None
        mask = np.arange(batch.tokens.shape[1]) < batch.lengths[:, None]
        with self._autocast():
            hidden = self._encode(batch.tokens, mask)
            logits = self.head(hidden[:, 1:-1])
        return logits, torch.from_numpy(batch.intervals).to(self.device)

    def _encode(self, tokens: NDArray[np.int64], mask: NDArray[np.bool_] | None) -> Tensor:
        hidden: Tensor = self.encoder(
            input_ids=torch.from_numpy(tokens).to(self.device),
            attention_mask=None if mask is None else torch.from_numpy(mask).long().to(self.device),
        ).last_hidden_state
        return hidden

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

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

    def _validate(self, window: Window) -> None:
        self.ranks.add([window.loss])
        train_loss, seconds = window.end()
        self.seconds += seconds
        held = self.validate()
        if not (held.loss < _DIVERGED and train_loss < _DIVERGED):  # NaN is not less, either
            raise MutscanError(
                f"{self.folder}: the loss is {train_loss:g} by step {self.step} ({held.loss:g} on held-out "
                "clusters): the training diverged; start again with --restart and a learning rate below "
                f"{self.config.learning_rate:g}, or a longer warm-up",
                code="diverged",
            )
        if self.best_validation is None or self._score(held) < self._score(self.best_validation):
            self.best_validation, self.best_step = held, self.step
            self.best = self._weights()
        if not self.ranks.leads:
            return
        line: dict[str, Any] = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "rate": self.config.rate(self.step - 1),
            "train": {"loss": round(train_loss, 5), "perplexity": round(math.exp(train_loss), 4)},
            "validation": held.to_dict(),
            "best_step": self.best_step,
            "tokens_per_second": round(window.tokens / seconds),
            "padding": round(1 - window.tokens / window.places, 4),
        }
        if self.peak_tflops is not None:
            line["flop_utilisation"] = round(window.flops / seconds / (self.peak_tflops * 1e12), 4)
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        self._save()

    def _score(self, held: Held) -> float:
        """Tell what the best weights are chosen by; lower is better."""
        if self.structures is None:
            return held.loss
        return held.loss + self.config.structure_weight * held.structure_loss

    # State

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._state(self.network).items()}

    @staticmethod
    def _state(network: nn.Module) -> dict[str, Tensor]:
        return {name: value for name, value in network.state_dict().items() if name != _SHARED}

    def _save(self) -> None:
        assert self.best_validation is not None
        parts = {
            "network": self._state(self.network),
            "best": self.best,
            "optimiser": optimiser_tensors(self.optimiser),
        }
        if self.head is not None:
            parts["head"] = self.head.state_dict()
        metadata = {
            "step": self.step,
            "tokens": self.tokens,
            "places": self.places,
            "seconds": self.seconds,
            "best_step": self.best_step,
            "best_validation": asdict(self.best_validation),
            **self.identity,
        }
        save_state(self.folder, parts, metadata)

    def _load(self) -> None:
        log = self.folder / LOG_FILE
        state = load_state(self.folder, self.identity)
        if state is None:
            if self.ranks.leads:
                log.unlink(missing_ok=True)
            return
        fit = self.network.load_state_dict(state.part("network"), strict=False)
        if set(fit.missing_keys) - {_SHARED} or fit.unexpected_keys:
            raise CheckpointError(
                f"{self.folder}: the saved state is of another network, perhaps of another version of "
                "transformers; start again with --restart"
            )
        if self.head is not None:
            self.head.load_state_dict(state.part("head"))
        restore_optimiser(self.optimiser, state.part("optimiser"))
        self.best = {name: value.to(self.device) for name, value in state.part("best").items()}
        found = state.metadata
        self.step, self.best_step = found["step"], found["best_step"]
        self.tokens, self.places, self.seconds = found["tokens"], found["places"], found["seconds"]
        self.best_validation = Held(**found["best_validation"])
        if not self.ranks.leads:
            return
        kept = "".join(line for line in _lines(log) if json.loads(line)["step"] <= self.step)
        with replacing(log) as temporary:
            temporary.write_text(kept, encoding="utf-8")


def _lines(log: Path) -> list[str]:
    """Lines of a log without the one that a killed run left half written."""
    if not log.is_file():
        return []
    return [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


class Window:
    """Sums since the last line of the log."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), device=device)
        self.targets = 0
        self.tokens = 0
        self.places = 0
        self.flops = 0.0
        self._began = time.monotonic()

    def end(self) -> tuple[float, float]:
        """Mean loss and seconds; waits for a GPU to finish."""
        loss = float(self.loss) / max(1, self.targets)
        return loss, max(1e-9, time.monotonic() - self._began)
