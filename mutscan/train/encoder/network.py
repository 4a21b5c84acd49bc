"""The network of pretraining, transformers' ESM with a language-model head: make, read and write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors.torch import load_file, save_file

from mutscan.embed.network import load_network
from mutscan.embed.source import find_encoder
from mutscan.embed.tokens import ESM_VOCABULARY, esm_tokens, write_tokenizer
from mutscan.embed.trainable import FusedIntermediate
from mutscan.errors import CheckpointError, UsageError
from mutscan.files import replacing
from mutscan.train.encoder.batches import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

_WINDOW: Final = 1022  # residues: ESM-2's; rotary positions would reach further
_HEADS: Final = ("lm_head.", "contact_head.")


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Size of an ESM encoder.

    Parameters
    ----------
    layers, width, heads, feed_forward : int
        Transformer layers; width of a residue vector; attention heads; width inside a layer.

    Raises
    ------
    UsageError
        A number is not positive, or the width is not an even multiple of the heads (rotary positions
        turn pairs of channels).
    """

    layers: int = 6
    width: int = 320
    heads: int = 5
    feed_forward: int = 1280

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("layers", "width", "heads", "feed_forward"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.width % (2 * self.heads):
            raise UsageError(
                f"a width of {self.width} cannot be shared by {self.heads} heads; expected a multiple of "
                f"{2 * self.heads}"
            )

    def flops(self, lengths: Tensor, n_targets: int) -> float:
        """Floating-point operations of one training pass (forward and backward).

        Multiply and add count as two; what is computed for padding is not counted.

        Parameters
        ----------
        lengths : Tensor
            Tokens of each sequence.
        n_targets : int
            Tokens predicted.
        """
        n = lengths.double()
        matrices = self.layers * (4 * self.width**2 + 2 * self.width * self.feed_forward)
        head = self.width**2 + self.width * len(ESM_VOCABULARY)
        attention = 12.0 * self.layers * self.width * float(n.square().sum())
        return 6.0 * matrices * float(n.sum()) + attention + 6.0 * head * n_targets


SHAPES: Final[dict[str, EncoderShape]] = {
    "tiny": EncoderShape(2, 32, 2, 64),
    "8m": EncoderShape(6, 320, 5, 1280),
    "35m": EncoderShape(12, 480, 20, 1920),
}
"""Named sizes: a smoke test's, the shipped encoder's (7.5 million weights), ESM-2 35M's."""


@dataclass(frozen=True, eq=False)
class MaskedLM:
    """A masked-language model and its properties.

    Parameters
    ----------
    network : nn.Module
        ``EsmForMaskedLM``, fp32: the encoder is its ``esm``, the head its ``lm_head``.
    shape : EncoderShape
    vocabulary : Vocabulary
    window : int
        Residues of the longest sequence it has positions for.
    origin : Path, optional
        Folder of the encoder it was read from; None for a new one.
    revision : str, optional
        Hash of the files in `origin`.
    new_head : bool
        Whether the language-model head is new.
    """

    network: nn.Module
    shape: EncoderShape
    vocabulary: Vocabulary
    window: int
    origin: Path | None = None
    revision: str | None = None
    new_head: bool = True


def new_network(shape: EncoderShape, *, seed: int, max_length: int = _WINDOW) -> MaskedLM:
    """Make an untrained network: rotary positions, ESM-2's vocabulary, no dropout.

    Parameters
    ----------
    shape : EncoderShape
    seed : int
        Of the initial weights.
    max_length : int
        Residues for which it needs positions; it has at least 1,022.
    """
    from transformers import EsmConfig

    window = max(_WINDOW, max_length)
    config = EsmConfig(
        vocab_size=len(ESM_VOCABULARY),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=window + 4,  # <cls>, <eos>, and positions begin behind the padding's
        position_embedding_type="rotary",
        pad_token_id=ESM_VOCABULARY.index("<pad>"),
        mask_token_id=ESM_VOCABULARY.index("<mask>"),
        eos_token_id=ESM_VOCABULARY.index("<eos>"),
        token_dropout=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        emb_layer_norm_before=False,
    )
    return MaskedLM(_network(config, seed), shape, Vocabulary.standard(), window)


def read_network(directory: Path, *, seed: int) -> MaskedLM:
    """Read an encoder to train it further.

    Parameters
    ----------
    directory : Path
        An ESM encoder in transformers' format, in any precision. If it has no language-model head, a
        new one is made.
    seed : int
        Of a new head.

    Raises
    ------
    CheckpointError
        The folder is no ESM encoder, or its weights do not fit its config.json.
    """
    if not directory.is_dir():
        raise CheckpointError(f"--init {directory}: no such folder; expected an ESM encoder")
    files = find_encoder(str(directory))
    if files.family != "esm":
        raise CheckpointError(
            f"--init {directory}: a {files.family} encoder; only ESM encoders are trained as masked-language "
            "models"
        )
    encoder, width = load_network(files, torch.float32, torch.device("cpu"))
    config: Any = encoder.config
    network: Any = _network(config, seed)
    network.esm.load_state_dict(encoder.state_dict())
    stored: dict[str, Tensor] = {}
    for path in files.weights:
        read = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
        for name, tensor in read.items():
            bare = name.removeprefix("esm.")
            if bare.startswith(_HEADS):
                stored[bare if bare.startswith("lm_head.") else f"esm.{bare}"] = tensor.float()
    # Tied to the embedding of tokens, which the strict loader has read.
    stored.pop("lm_head.decoder.weight", None)
    stored.pop("lm_head.decoder.bias", None)
    own = network.state_dict()
    for name, tensor in stored.items():
        if name not in own or own[name].shape != tensor.shape:
            raise CheckpointError(f"--init {directory}: its {name} does not fit its config.json")
    network.load_state_dict(stored, strict=False)
    shape = EncoderShape(
        config.num_hidden_layers, width, config.num_attention_heads, config.intermediate_size
    )
    return MaskedLM(
        network,
        shape,
        Vocabulary.of(esm_tokens(directory), config.mask_token_id),
        int(config.max_position_embeddings) - int(config.pad_token_id) - 3,
        directory,
        files.revision,
        "lm_head.dense.weight" not in stored,
    )


def _network(config: Any, seed: int) -> Any:
    from transformers import EsmForMaskedLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Any = EsmForMaskedLM(config)
    for layer in network.esm.encoder.layer:
        layer.intermediate = FusedIntermediate(layer.intermediate.dense)
    # The contact head reads attention maps; it is not trained here.
    network.esm.contact_head.requires_grad_(False)
    return network


def write_network(model: MaskedLM, weights: Mapping[str, Tensor], out: Path, *, dtype: str = "fp16") -> None:
    """Write an encoder's folder in transformers' format, each file whole or not at all.

    Parameters
    ----------
    model : MaskedLM
    weights : mapping of str -> Tensor
        State of its network.
    out : Path
        Made if need be; gets config.json, model.safetensors, vocab.txt and the tokenizer's settings.
    dtype : {"fp16", "fp32"}
        Precision of the stored weights.

    Raises
    ------
    CheckpointError
        A weight is not finite in `dtype`.
    """
    stored = {"fp16": torch.float16, "fp32": torch.float32}[dtype]
    network: Any = model.network
    tensors = {}
    for name, _ in network.named_parameters():  # the tied matrix once, by its first name
        tensors[name] = weights[name].detach().to("cpu", stored).contiguous()
        if not bool(torch.isfinite(tensors[name]).all()):
            raise CheckpointError(f"{out}: {name} is not finite in {dtype}; store the encoder in fp32")
    for name, _ in network.named_buffers():
        if name in weights:  # rotary frequencies, which half precision would spoil
            tensors[name] = weights[name].detach().cpu().contiguous()
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "model.safetensors") as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    write_tokenizer(out, window=model.window, origin=model.origin)
    config = network.config
    config.architectures = ["EsmForMaskedLM"]
    config.dtype = {"fp16": "float16", "fp32": "float32"}[dtype]
    with replacing(out / "config.json") as temporary:  # last: a folder with config.json counts as an encoder
        config.to_json_file(temporary, use_diff=False)
