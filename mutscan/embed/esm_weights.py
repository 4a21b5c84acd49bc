"""A plain ESM-2's weights without transformers, whose import takes longer than reading a small encoder.

Only checkpoints that are whole and plain are read here. All others go to transformers' loader, which also
says what is wrong with them.
"""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

_NEEDED: Final = {
    "model_type", "vocab_size", "mask_token_id", "pad_token_id", "hidden_size", "num_hidden_layers",
    "num_attention_heads", "intermediate_size", "max_position_embeddings", "layer_norm_eps",
    "position_embedding_type", "emb_layer_norm_before", "token_dropout",
}  # fmt: skip
"""Settings whose defaults are transformers' own affair."""

_MASKED: Final = 0.15 * 0.8
"""Share of masked tokens in the training of every ESM-2."""


def _block(**parts: nn.Module) -> nn.Module:
    """Make a named place in the tree of modules, as transformers has it."""
    block = nn.Module()
    for name, part in parts.items():
        block.add_module(name, part)
    return block


class _Matrix(nn.Module):
    """Room for weights that a file holds: (out, in), and biases (out,)."""

    def __init__(self, out: int, into: int, *, biased: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out, into))
        if biased:
            self.bias = nn.Parameter(torch.empty(out))


class _Embeddings(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.word_embeddings = _Matrix(config.vocab_size, config.hidden_size, biased=False)
        self.layer_norm = _norm(config) if config.emb_layer_norm_before else None
        self._config = config

    def forward(self, input_ids: Tensor) -> Tensor:
        """Vectors of tokens before the first layer, shape (B, T, d)."""
        embedded = functional.embedding(input_ids, self.word_embeddings.weight)
        if self._config.token_dropout:
            masked = input_ids == self._config.mask_token_id
            share = masked.sum(-1).float() / input_ids.shape[1]
            embedded = embedded.masked_fill(masked[..., None], 0.0)
            embedded = (embedded * (1 - _MASKED) / (1 - share)[:, None, None]).to(embedded.dtype)
        return embedded if self.layer_norm is None else self.layer_norm(embedded)


class EsmWeights(nn.Module):
    """Weights under transformers' names, as `EsmForward` reads them.

    Parameters
    ----------
    config : object
        Settings of config.json.
    load : callable
        Loads transformers' network, which embeds what `EsmForward` leaves to it: padded batches.
    """

    def __init__(self, config: Any, load: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.config = config
        self._load = load
        self._whole: list[nn.Module] = []  # no part of this module's own weights
        d, wide = config.hidden_size, config.intermediate_size
        self.embeddings = _Embeddings(config)
        layers = [
            _block(
                attention=_block(
                    self=_block(query=_Matrix(d, d), key=_Matrix(d, d), value=_Matrix(d, d)),
                    output=_block(dense=_Matrix(d, d)),
                    LayerNorm=_norm(config),
                ),
                intermediate=_block(dense=_Matrix(wide, d)),
                output=_block(dense=_Matrix(d, wide)),
                LayerNorm=_norm(config),
            )
            for _ in range(config.num_hidden_layers)
        ]
        self.encoder = _block(layer=nn.ModuleList(layers), emb_layer_norm_after=_norm(config))

    def forward(self, **inputs: Any) -> Any:
        """Embed as transformers' network does."""
        if not self._whole:
            self._whole.append(self._load())
        return self._whole[0](**inputs)


def _norm(config: Any) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


def plain_esm(
    folder: Path,
    state: Mapping[str, Tensor],
    frequencies: Tensor | None,
    dtype: torch.dtype,
    load: Callable[[], nn.Module],
) -> EsmWeights | None:
    """Read a plain ESM-2, in evaluation mode on the CPU.

    Parameters
    ----------
    folder : Path
        Holds config.json.
    state : mapping of name -> Tensor
        Weights of the bare encoder.
    frequencies : Tensor, optional
        Rotary frequencies as stored, shape (width / 2,).
    dtype : torch.dtype
    load : callable
        Loads transformers' network.

    Returns
    -------
    EsmWeights or None
        None for another kind of ESM, or where weights do not fit the settings.
    """
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not set(settings) >= _NEEDED or not all(
        isinstance(settings[name], int) for name in _NEEDED if name.endswith(("_size", "_layers", "_heads"))
    ):
        return None
    config = SimpleNamespace(
        **{"is_decoder": False, "add_cross_attention": False, "rope_theta": None} | settings
    )
    weights = EsmWeights(config, load)
    wanted = {name: tensor.shape for name, tensor in weights.state_dict().items()}
    if wanted != {name: tensor.shape for name, tensor in state.items()}:
        return None
    weights.load_state_dict({name: tensor.to(dtype) for name, tensor in state.items()}, assign=True)
    width = config.hidden_size // config.num_attention_heads
    weights.register_buffer("inv_freq", rotary_frequencies(width, config, frequencies), persistent=False)
    return weights.requires_grad_(False).eval()


def rotary_frequencies(width: int, config: Any, stored: Tensor | None) -> Tensor:
    """Rotary frequencies of heads of `width`, (width / 2,), fp32: stored, else what config.json implies."""
    if stored is not None and stored.shape == (width // 2,):
        return stored.float().clone()
    base = float(getattr(config, "rope_theta", None) or 10000.0)
    powers = torch.arange(0, width, 2, dtype=torch.float32) / width
    frequencies: Tensor = base**-powers
    return frequencies
