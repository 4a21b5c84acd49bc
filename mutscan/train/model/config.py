"""`TrainConfig`: the settings of a training, their presets, and reading them from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import UsageError
from mutscan.model.config import PRESETS, SiameseConfig
from mutscan.train.loop.settings import cosine_decay, read_preset, updated
from mutscan.train.model.loss import LossConfig

if TYPE_CHECKING:
    from pathlib import Path

_WORDS: Final = {
    "sampler": ("connected", "pairs"),
    "optimiser": ("adamw", "adam"),
    "schedule": ("cosine", "constant"),
    "precision": ("bf16", "fp32"),
}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """All settings that decide a model's weights, apart from data and encoder.

    Parameters
    ----------
    net : SiameseConfig
    loss : LossConfig
    seed : int
    steps, warmup : int
        Number of steps; the rate rises over the first `warmup`.
    epochs : float
        Passes over the training pairs, instead of `steps`; only for the sampler ``pairs``. 0: use `steps`.
    schedule : {"cosine", "constant"}
        Rate after the warm-up: it falls by a cosine to a fiftieth, or is constant.
    optimiser : {"adamw", "adam"}
        Weight decay decoupled from the gradient, or as part of it.
    learning_rate, weight_decay, clip : float
        Rate and decay; largest norm of the gradient.
    pair_rate : float
        Learning rate of the small networks of the pair head.
    encoder_rate : float
        Learning rate of the encoder. 0 freezes it; its embeddings are then computed once.
    encoder_layers : int
        Number of its last layers to train; 0 trains the whole encoder.
    recompute : bool
        Recompute the activations of each chunk for its gradient: this needs memory for one chunk
        instead of the batch, and a third more time.
    sampler : {"connected", "pairs"}
        Batches along the pair graph (`ConnectedBatches`), or of independent pairs (`PairBatches`).
    batch_residues, neighbours : int
        Size of a connected batch and partners drawn for each hub.
    mutants : int
        Mutants added to a connected batch, 4 of each wild type; 0 trains on none.
    batch_pairs : int
        Size of a batch of independent pairs.
    max_length : int
        Training and validation pairs with a longer chain are left out; 0 keeps all.
    chunk_residues : int
        Padded residues encoded at a time.
    channel_dropout : float
        Probability that an input channel is zeroed, for a whole batch.
    geometry : float
        Weight of the auxiliary loss on local geometry.
    cosine : float
        Weight of the loss of the TM-score from the global vectors alone, in addition to that of the
        pair head. A net without a pair head has only the former.
    memory_from : int
        Step from which encoded chains are also compared with the stored global vectors of
        all their other partners (cross-batch memory, doi 10.1109/CVPR42600.2020.00642); -1: never.
    average : float
        Decay of the moving average of the weights that is validated and kept; 0 keeps the last weights.
    balance_bands, balance_clusters : bool
        See `pair_weights`.
    mutant_weight : float
        Weight of a pair of a wild type and its mutant; natural pairs have a mean weight of 1.
    validate_family : int
        Largest number of validation pairs between the same two clusters, drawn with the seed, so that no
        family dominates the choice of the best weights. 0 keeps all.
    refit_steps : int
        Steps of fitting the weights of the lDDT's distances again at the end, on the validation pairs and
        mutants outside the test split (`refit_lddt`); 0 for none.
    validate_every : int
        Steps between validations; the state is saved then.
    patience : int
        Stop after this number of validations without improvement; 0 never stops early.
    precision : {"bf16", "fp32"}
        Of the forward pass; weights and optimiser are always fp32.
    """

    net: SiameseConfig = field(default_factory=SiameseConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    seed: int = 0
    steps: int = 2000
    warmup: int = 100
    epochs: float = 0.0
    schedule: str = "cosine"
    optimiser: str = "adamw"
    learning_rate: float = 1e-4
    weight_decay: float = 1e-5
    clip: float = 1.0
    pair_rate: float = 1e-3
    encoder_rate: float = 0.0
    encoder_layers: int = 0
    recompute: bool = False
    sampler: str = "connected"
    batch_residues: int = 4096
    neighbours: int = 6
    mutants: int = 0
    batch_pairs: int = 16
    max_length: int = 1000
    chunk_residues: int = 4096
    channel_dropout: float = 0.0
    geometry: float = 0.0
    cosine: float = 0.5
    memory_from: int = -1
    average: float = 0.0
    balance_bands: bool = False
    balance_clusters: bool = False
    mutant_weight: float = 1.0
    validate_family: int = 0
    refit_steps: int = 0
    validate_every: int = 250
    patience: int = 0
    precision: str = "bf16"

    def __post_init__(self) -> None:
        """Refuse unknown words and settings that contradict each other."""
        for name, words in _WORDS.items():
            if (value := getattr(self, name)) not in words:
                raise UsageError(f"{name} is {value!r}; expected {' or '.join(map(repr, words))}")
        for name in ("steps", "validate_every", "batch_pairs", "batch_residues", "neighbours"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.encoder_layers and not self.encoder_rate:
            raise UsageError(
                f"encoder_layers is {self.encoder_layers}, but encoder_rate is 0: the encoder is frozen; "
                "give it a rate, or leave encoder_layers out"
            )
        if self.epochs and self.sampler != "pairs":
            raise UsageError(
                "epochs are counted for the sampler 'pairs' only: connected batches do not visit every pair "
                "equally often; give steps, or sampler = 'pairs'"
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step, of the weights that have no rate of their own."""
        return self.learning_rate * self.factor(step)

    def factor(self, step: int) -> float:
        """Learning rates of a step, in units of their settings."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if self.schedule == "constant":
            return 1.0
        return cosine_decay(step, self.warmup, self.steps)


MINI: Final = TrainConfig(
    net=PRESETS["mini"],
    loss=LossConfig(alpha=1.0, beta=1.0, tm_min=0.0, tm_kind="squared", lddt_square=4.0, response=0.02),
    steps=1400,
    warmup=60,
    learning_rate=4e-4,
    pair_rate=3e-3,
    weight_decay=0.01,
    batch_residues=5000,
    neighbours=16,
    mutants=12,
    mutant_weight=0.2,
    validate_family=20,
    refit_steps=600,
    channel_dropout=0.1,
    geometry=0.03,
    memory_from=100,
    average=0.995,
    balance_bands=True,
    balance_clusters=True,
    validate_every=100,
)
"""Settings for few CPU cores: a narrow net, and dropout on input channels only, as it is slow elsewhere."""

PAPER: Final = TrainConfig(
    epochs=5.0,
    warmup=0,
    schedule="constant",
    sampler="pairs",
    batch_pairs=16,
    max_length=300,
    validate_every=1000,
)
"""The preprint's training: independent pairs in batches of 16, five epochs at one rate."""

TRAIN_PRESETS: Final[dict[str, TrainConfig]] = {
    "paper": PAPER,
    "repo2025": replace(PAPER, net=PRESETS["repo2025"]),
    "mini": MINI,
}
"""Named settings: ``paper`` (the preprint's), ``repo2025`` (its net of that year), ``mini`` (ours)."""


def read_config(path: Path | None, preset: str = "mini", **overrides: Any) -> TrainConfig:
    """Read the settings of a training: a preset, changed by a TOML file and by `overrides`.

    The file may hold a ``preset``, any field of `TrainConfig`, and the tables ``net`` and ``loss``.

    Raises
    ------
    UsageError
        The preset, a field or its type is unknown.
    """
    base, settings, where = read_preset(path, preset, TRAIN_PRESETS, "training")
    net = updated(base.net, settings.pop("net", {}), f"{where}, [net]")
    loss = updated(base.loss, settings.pop("loss", {}), f"{where}, [loss]")
    given = settings | {key: value for key, value in overrides.items() if value is not None}
    if "steps" in given and "epochs" not in given:
        given["epochs"] = 0.0  # given steps replace the epochs of the preset
    return updated(base, given | {"net": net, "loss": loss}, where)
