"""`PretrainConfig`: the settings of a pretraining, their presets, and reading them from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import UsageError
from mutscan.train.encoder.network import SHAPES, EncoderShape
from mutscan.train.loop.settings import cosine_decay, read_preset, updated

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """All settings that decide an encoder's weights, apart from the data.

    Parameters
    ----------
    shape : EncoderShape
    seed : int
    steps, warmup : int
        Number of steps; the rate rises over the first `warmup`, then falls by a cosine to a fiftieth.
    learning_rate, weight_decay, clip : float
        Learning rate of AdamW; decay of matrices (not of biases and norms); largest norm of the gradient.
    max_length : int
        Longer sequences are cropped, residues.
    batch_tokens, chunk_tokens : int
        Tokens of a step and of a micro-batch, padding included.
    validation_share : float
        Share of the clusters to hold out.
    validation_clusters : int
        Largest number of clusters to hold out.
    validate_every : int
        Steps between validations; the state is saved then.
    precision : {"bf16", "fp32"}
        Of the forward pass; weights and optimiser are always fp32.
    structure_weight : float
        Weight of the distance loss; 0 for none.
    structure_chains, structure_crop : int
        Chains per step for the distance loss; longest crop of one, residues.
    """

    shape: EncoderShape = field(default_factory=EncoderShape)
    seed: int = 0
    steps: int = 8000
    warmup: int = 300
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    clip: float = 1.0
    max_length: int = 510
    batch_tokens: int = 196_608
    chunk_tokens: int = 32_768
    validation_share: float = 0.01
    validation_clusters: int = 2000
    validate_every: int = 500
    precision: str = "bf16"
    structure_weight: float = 0.0
    structure_chains: int = 16
    structure_crop: int = 128

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        for name in (
            "steps", "max_length", "batch_tokens", "chunk_tokens", "validation_clusters",
            "validate_every", "structure_chains", "structure_crop",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected a number above 0")
        for name in ("warmup", "weight_decay", "structure_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 < self.validation_share < 1:
            raise UsageError(f"validation_share is {self.validation_share}; expected between 0 and 1")
        if self.precision not in ("bf16", "fp32"):
            raise UsageError(f"precision is {self.precision!r}; expected 'bf16' or 'fp32' for training")

    @property
    def chunks(self) -> int:
        """Micro-batches of a step."""
        return -(-self.batch_tokens // self.chunk_tokens)

    @property
    def largest_chunk(self) -> int:
        """Largest number of tokens of a micro-batch: an equal share of a step."""
        return self.batch_tokens // self.chunks

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        return self.learning_rate * cosine_decay(step, self.warmup, self.steps)


PRETRAIN_PRESETS: Final[dict[str, PretrainConfig]] = {
    "8m": PretrainConfig(),
    "35m": PretrainConfig(shape=SHAPES["35m"], steps=20_000, warmup=1000, learning_rate=1e-3),
    "tiny": PretrainConfig(
        shape=SHAPES["tiny"],
        steps=40,
        warmup=5,
        learning_rate=5e-3,
        max_length=126,
        batch_tokens=2048,
        chunk_tokens=1024,
        validation_share=0.1,
        validation_clusters=100,
        validate_every=20,
        structure_chains=4,
        structure_crop=64,
    ),
}
"""Named settings: for the shipped encoder's size, for ESM-2 35M's, for a smoke test."""


def read_pretrain_config(
    path: Path | None, preset: str = "8m", *, shape: dict[str, Any] | None = None, **overrides: Any
) -> PretrainConfig:
    """Read the settings of a pretraining: a preset, changed by a TOML file and by `overrides`.

    The file may hold a ``preset``, any field of `PretrainConfig`, and a table ``shape`` with fields of
    `EncoderShape`.

    Parameters
    ----------
    path : Path, optional
    preset : str
    shape : dict, optional
        Fields of `EncoderShape`; None leaves a field as it is.
    **overrides
        Fields of `PretrainConfig`; None leaves a field as it is.

    Raises
    ------
    UsageError
        The preset, a field or its type is unknown, or a value makes no sense.
    """
    base, settings, where = read_preset(path, preset, PRETRAIN_PRESETS, "encoder")
    size = settings.pop("shape", {}) | {k: v for k, v in (shape or {}).items() if v is not None}
    given = settings | {key: value for key, value in overrides.items() if value is not None}
    return updated(base, given | {"shape": updated(base.shape, size, f"{where}, [shape]")}, where)
