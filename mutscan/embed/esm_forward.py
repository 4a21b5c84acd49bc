"""The forward pass of a small ESM encoder on a CPU, without what transformers spends beside the arithmetic.

Same weights, same function; numbers differ by rounding alone. Queries, keys and values are one product,
rotary positions are one complex product, sums go into what is there already, GELU is one pass, and
what the first layer multiplies depends on the residue alone, so it is looked up: for some hundred
residues that saves a quarter to a third of the time. In half precision the sum of all
layers' contributions is kept in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


class _Norm:
    """LayerNorm of float32 vectors, in the precision in which they are used."""

    def __init__(self, norm: nn.LayerNorm, dtype: torch.dtype) -> None:
        self._shape = norm.normalized_shape
        self._weight, self._bias = norm.weight.float(), norm.bias.float()
        self._epsilon = norm.eps
        self._dtype = dtype

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self._shape, self._weight, self._bias, self._epsilon).to(self._dtype)


@dataclass(frozen=True, eq=False)
class _Layer:
    """Weights of a layer, (in, out) each; queries carry the scale of attention."""

    attention_norm: _Norm
    query_key_value: Tensor
    query_key_value_bias: Tensor
    attention_output: Tensor
    attention_output_bias: Tensor
    feed_forward_norm: _Norm
    widen: Tensor
    widen_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor


@dataclass(frozen=True, eq=False)
class Output:
    """What `EsmForward` gives.

    Parameters
    ----------
    last_hidden_state : float32 Tensor, shape (1, T, d)
    """

    last_hidden_state: Tensor


class EsmForward(nn.Module):
    """Embeds one sequence at a time; holds nothing that changes, so threads may share it.

    Parameters
    ----------
    network : nn.Module
        transformers' ``EsmModel``, for which `suits` is true, in evaluation mode on the CPU.
    longest : int
        Tokens of the longest sequence that will come.
    """

    def __init__(self, network: nn.Module, longest: int) -> None:
        super().__init__()
        model: Any = network
        self.network = model
        self._last_norm = _Norm(model.encoder.emb_layer_norm_after, torch.float32)
        self._heads = int(model.config.num_attention_heads)
        self._width = int(model.config.hidden_size) // self._heads
        with torch.no_grad():
            self._layers = [self._read(layer) for layer in model.encoder.layer]
            angles = torch.arange(longest)[:, None] * _frequencies(network)
            self._turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # (longest, 1, width / 2)
            # One by one: a row of all tokens, <mask> among them, would be scaled by the share of masks.
            every = torch.arange(int(model.config.vocab_size))[:, None]
            words = torch.cat([model.embeddings(input_ids=one[None])[0] for one in every])
            self._words = words.float()  # (V, d)
            self._first = self._project(self._layers[0], self._words)  # (V, 3 d)
        self.eval()

    @staticmethod
    def suits(network: nn.Module) -> bool:
        """Whether this is a plain ESM-2: rotary positions, no decoder."""
        config: Any = network.config
        return (
            config.model_type == "esm"
            and getattr(config, "position_embedding_type", None) == "rotary"
            and not config.is_decoder
            and not config.add_cross_attention
            and (config.hidden_size // config.num_attention_heads) % 2 == 0
        )

    def _read(self, layer: Any) -> _Layer:
        own = layer.attention.self
        query, key = (self._pairs_together(part) for part in (own.query, own.key))
        scale = self._width**-0.5
        inward = [query[0] * scale, key[0], own.value.weight]
        biases = [query[1] * scale, key[1], own.value.bias]
        out, widen, narrow = layer.attention.output.dense, layer.intermediate.dense, layer.output.dense
        return _Layer(
            _Norm(layer.attention.LayerNorm, own.value.weight.dtype),
            torch.cat(inward).T.contiguous(),
            torch.cat(biases),
            out.weight.T.contiguous(),
            out.bias,
            _Norm(layer.LayerNorm, own.value.weight.dtype),
            widen.weight.T.contiguous(),
            widen.bias,
            narrow.weight.T.contiguous(),
            narrow.bias,
        )

    def _pairs_together(self, linear: Any) -> tuple[Tensor, Tensor]:
        """Weight and bias with the two numbers that a rotary position turns side by side.

        They lie half a head apart. Queries and keys are reordered alike, so their products stay.
        """
        width = self._width
        order = torch.arange(width).view(2, width // 2).T.flatten()
        order = (torch.arange(self._heads)[:, None] * width + order).flatten()
        return linear.weight[order], linear.bias[order]

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        """Embed as the network does; several sequences, or padded ones, are left to itself.

        Parameters
        ----------
        input_ids : int64 Tensor, shape (B, T)
        attention_mask : Tensor, shape (B, T), optional

        Returns
        -------
        object
            Its ``last_hidden_state`` is a Tensor of shape (B, T, d).
        """
        if attention_mask is not None or len(input_ids) > 1:
            return self.network(input_ids=input_ids, attention_mask=attention_mask)
        return Output(self._embed(input_ids[0])[None])

    def _embed(self, ids: Tensor) -> Tensor:
        """Embed one sequence: token ids (T,) -> float32 (T, d)."""
        x = self._words[ids]  # (T, d)
        tokens, d = x.shape
        turns = self._turns[:tokens]
        projected = self._first[ids]
        wide = projected.new_empty(tokens, self._layers[0].widen.shape[1])
        for number, layer in enumerate(self._layers):
            if number:
                self._project(layer, x, out=projected)
            self._turn(projected[:, : 2 * d], turns)
            query, key, value = projected.view(1, tokens, 3, self._heads, self._width).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)  # (1, H, T, d / H)
            mixed = mixed[0].transpose(0, 1).reshape(tokens, d)
            _add_product(x, mixed, layer.attention_output, layer.attention_output_bias)
            torch.addmm(layer.widen_bias, layer.feed_forward_norm(x), layer.widen, out=wide)
            _add_product(x, torch.ops.aten.gelu_(wide), layer.narrow, layer.narrow_bias)
        return self._last_norm(x)

    @staticmethod
    def _project(layer: _Layer, x: Tensor, out: Tensor | None = None) -> Tensor:
        """Make queries, keys and values, before their positions: (T, d) -> (T, 3 d)."""
        inputs = layer.attention_norm(x)
        return torch.addmm(layer.query_key_value_bias, inputs, layer.query_key_value, out=out)

    def _turn(self, vectors: Tensor, turns: Tensor) -> None:
        """Apply rotary positions to queries and keys (T, 2 d), in place; in float32."""
        pairs = vectors.view(len(vectors), 2 * self._heads, self._width // 2, 2)
        if vectors.dtype == torch.float32:
            torch.view_as_complex(pairs).mul_(turns)
        else:
            pairs.copy_(torch.view_as_real(torch.view_as_complex(pairs.float()).mul_(turns)))


def _add_product(x: Tensor, vectors: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Add a linear layer's output to float32 `x`, in place."""
    if vectors.dtype == torch.float32:
        x.addmm_(vectors, weight)
        x += bias
    else:
        x += torch.addmm(bias, vectors, weight)


def _frequencies(network: nn.Module) -> Tensor:
    """Rotary frequencies, (width / 2,): transformers' versions keep them in different places."""
    for module in network.modules():
        found = getattr(module, "inv_freq", None)
        if isinstance(found, torch.Tensor):
            return found.float()
    raise AssertionError("an ESM encoder with rotary positions has their frequencies")
