"""Training of the Siamese net, on cached embeddings or together with its encoder."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mutscan.errors import CheckpointError
from mutscan.model.siamese import SiameseNet
from mutscan.train.loop.processes import agreed, average_gradients
from mutscan.train.loop.steps import Steps
from mutscan.train.model.encoding import ChainEncoder
from mutscan.train.model.geometry import N_TARGETS
from mutscan.train.model.loss import pair_loss, response_loss
from mutscan.train.model.validation import Validation, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.model.vectors import ChainVectors
    from mutscan.train.loop.processes import Ranks
    from mutscan.train.loop.state import State
    from mutscan.train.model.batches import ConnectedBatches, PairBatch, PairBatches
    from mutscan.train.model.config import TrainConfig
    from mutscan.train.model.inputs import ChainInputs


@dataclass(frozen=True, eq=False)
class Fit:
    """A finished training: the net with the best weights, and how it was trained.

    An encoder that learned holds its best weights, too.
    """

    net: SiameseNet
    best_step: int
    validation: Validation
    steps: int
    seconds: float


class Trainer(Steps[Validation]):
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
    ranks : Ranks, optional
        Processes that train together; this one alone when not given.
    peak_tflops : float, optional
        Of the device; its utilisation is then logged.
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
        *,
        ranks: Ranks | None = None,
        peak_tflops: float | None = None,
    ) -> None:
        super().__init__(config, folder, device, data, ranks, peak_tflops)
        self.config = config
        self.inputs = inputs
        self.batches = batches
        self.validation = validation
        self.geometry = geometry
        torch.manual_seed(config.seed)
        self.net = SiameseNet(config.net).to(device)
        self.head = nn.Linear(config.net.d_model, N_TARGETS).to(device)
        quick = list(self.net.pair_head.quick_parameters()) if self.net.pair_head is not None else []
        known = {id(parameter) for parameter in quick}
        slow = [p for p in (*self.net.parameters(), *self.head.parameters()) if id(p) not in known]
        learning = [slow, quick] if quick else [slow]
        self.rates = [config.learning_rate, config.pair_rate][: len(learning)]
        self.encoder = inputs.encoder
        if self.encoder is not None:
            self.encoder.train_top(config.encoder_layers)
            learning.append([p for p in self.encoder.parameters() if p.requires_grad])
            self.rates.append(config.encoder_rate)
        self.parameters = [parameter for group in learning for parameter in group]
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[config.optimiser]
        optimiser = kind(
            [{"params": group} for group in learning],
            config.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
            fused=device.type in ("cpu", "cuda"),
        )
        self.encode = ChainEncoder(self.net, inputs, config, device, self.ranks)
        n_chains = len(batches.lengths)
        self.memory = torch.zeros(n_chains, config.net.d_model, device=device)
        self.remembered = torch.zeros(n_chains, dtype=torch.bool)
        self.average = {name: value.clone() for name, value in self.weights().items()}
        self.sums, self.counts = np.zeros(3), np.zeros(3)
        self.begin(optimiser)

    def weights(self) -> dict[str, Tensor]:
        """Give the current weights: the net's, and those of the encoder that learn."""
        found = {f"net.{name}": value.detach() for name, value in self.net.state_dict().items()}
        if self.encoder is not None:
            learning = {n: p for n, p in self.encoder.named_parameters() if p.requires_grad}
            found |= {f"encoder.{name}": value.detach() for name, value in learning.items()}
        return found

    def run(
        self,
        *,
        advance: Callable[[int], None] = lambda n: None,
        describe: Callable[[str], None] = lambda text: None,
    ) -> Fit:
        """Train to the last step and return the best weights; see `Steps.run_steps`."""
        self.run_steps(advance, describe)
        if self.best_validation is None:
            raise CheckpointError(f"{self.folder}: no step was trained; expected at least one")
        self._use(self.best)
        return Fit(self.net.eval(), self.best_step, self.best_validation, self.step, self.seconds)

    def batches_from(self, step: int) -> Generator[PairBatch]:
        for k in range(step, self.config.steps):
            yield self.batches(k)

    def is_done(self) -> bool:
        waited = (self.step - self.best_step) // self.config.validate_every
        lost_patience = self.best_validation is not None and 0 < self.config.patience <= waited
        return super().is_done() or lost_patience

    def train_step(self, batch: PairBatch) -> None:
        values = self._train_step(batch)
        finite = np.isfinite(values)
        self.sums[finite] += values[finite]
        self.counts += finite

    def train_means(self) -> dict[str, float]:
        means = np.divide(self.sums, self.counts, out=np.full(3, np.nan), where=self.counts > 0)
        self.sums[:], self.counts[:] = 0, 0
        return dict(zip(("loss", "tm_mae", "lddt_mae"), means.tolist(), strict=True))

    def _train_step(self, batch: PairBatch) -> NDArray[np.float64]:
        config = self.config
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * config.factor(self.step)
        self._train_mode(True)
        vectors = self.encode(batch, seed=config.seed * 1_000_003 + self.step)
        tm_predicted, lddt_predicted = self._predict(batch, vectors)
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
        if config.loss.response:
            loss = loss + config.loss.response * response_loss(
                lddt_predicted,
                batch.response.to(self.device),
                batch.pair_of.to(self.device),
                len(batch.first),
            )
        if self.net.pair_head is not None and config.cosine:
            loss = loss + config.cosine * self._cosine_loss(
                vectors.pooled[batch.first.to(self.device)],
                vectors.pooled[batch.second.to(self.device)],
                batch.lengths[batch.first],
                batch.lengths[batch.second],
                batch.tm_score,
                batch.weight,
            )
        n_memory = 0
        if config.memory_from >= 0:
            if self.step >= config.memory_from:
                remembered = self.batches.with_memory(batch.chains, self.remembered.numpy())
                n_memory = len(remembered.place)
                loss = loss + self._cosine_loss(
                    vectors.pooled[remembered.place],
                    self.memory[remembered.partner],
                    remembered.length_1,
                    remembered.length_2,
                    remembered.tm_score,
                    remembered.weight,
                )
            self.memory[batch.chains] = vectors.pooled.detach()
            self.remembered[batch.chains] = True
        if config.geometry:
            targets = torch.from_numpy(np.concatenate([self.geometry[c] for c in batch.chains.tolist()]))
            targets = targets.to(self.device)
            error = torch.where(targets.isnan(), 0.0, self.head(vectors.residues) - targets.nan_to_num())
            loss = loss + config.geometry * error.square().mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.ranks, self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, config.clip)
        self.optimiser.step()
        self._update_average()
        self.speed.count(
            pairs=len(batch.first),
            memory_pairs=n_memory,
            residues=int(batch.lengths.sum()),
            flops=self.encode.flops(batch),
        )
        return np.array([result.loss.item(), result.tm_error.item(), result.lddt_error.item()])

    def _predict(self, batch: PairBatch, vectors: ChainVectors) -> tuple[Tensor, Tensor]:
        """TM-score of each pair (P,) and lDDT of each row of aligned residues (R,)."""
        return self.net.compare(vectors, batch.rows(self.device))

    def _cosine_loss(
        self,
        pooled_1: Tensor,
        pooled_2: Tensor,
        length_1: Tensor,
        length_2: Tensor,
        tm_score: Tensor,
        weight: Tensor,
    ) -> Tensor:
        """Loss of the TM-scores from global vectors alone, without lDDT."""
        predicted = self.net.tm_score(pooled_1, pooled_2, length_1.to(self.device), length_2.to(self.device))
        none = torch.empty(0, device=self.device)
        return pair_loss(
            predicted,
            tm_score.to(self.device),
            none,
            none,
            none.long(),
            self.config.loss,
            weight.to(self.device),
        ).loss

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows the weights closely, over the last tenth of the steps.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        weights = self.weights()
        torch._foreach_lerp_([self.average[name] for name in weights], list(weights.values()), 1 - decay)

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
        tm_predicted, lddt_predicted = self._predict(batch, self.encode(batch))
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

    def measure(self, train: Mapping[str, float]) -> Validation:
        return Validation(*agreed(self.ranks, astuple(self.validate()), self.device))

    def score(self, validation: Validation) -> float:
        return validation.score

    # State

    def candidate(self) -> Mapping[str, Tensor]:
        return self.average

    def parts(self) -> dict[str, Mapping[str, Tensor]]:
        return {
            "head": self.head.state_dict(),
            "memory": {"vectors": self.memory, "filled": self.remembered},
            "weights": self.weights(),
            "average": self.average,
        }

    def restore(self, state: State) -> Validation:
        self._use(state.part("weights"))
        self.head.load_state_dict(state.part("head"))
        self.memory.copy_(state.part("memory")["vectors"])
        self.remembered = state.part("memory")["filled"]
        self.average = {name: value.to(self.device) for name, value in state.part("average").items()}
        return Validation(**state.metadata["best_validation"])
