"""`TrainableEncoder`: a protein language model for training."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from mutscan.embed.device import even_width
from mutscan.embed.encoder import default_window, fades, tokens_of, windows
from mutscan.embed.network import NOT_NEEDED, load_network
from mutscan.embed.source import find_encoder
from mutscan.embed.tokens import write_tokenizer
from mutscan.errors import CheckpointError, UsageError
from mutscan.files import replacing, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutscan.embed.source import EncoderFiles
    from mutscan.embed.tokens import Tokens


class TrainableEncoder(nn.Module):
    """The network of an encoder, fp32, differentiable, without dropout.

    Made by `load_trainable`. Gives the numbers of `Encoder.embed`: the same tokens round a
    sequence, the same windows; padding is masked.

    Attributes
    ----------
    files : EncoderFiles
        Where the weights came from.
    dim : int
        Width d of an embedding.
    window : int
        Longest sequence that goes through in one go, residues.
    """

    def __init__(self, network: Any, tokens: Tokens, *, files: EncoderFiles, dim: int, window: int) -> None:
        super().__init__()
        self.network: Any = network  # transformers' class, of one family or the other
        self.files = files
        self.dim = dim
        self.window = window
        self._tokens = tokens
        if files.family == "esm":
            network.contact_head = nn.Identity()  # not part of the encoder: it would count as weights
            for layer in network.encoder.layer:
                layer.intermediate = FusedIntermediate(layer.intermediate.dense)
        for module in network.modules():
            for name in ("p", "dropout"):  # of nn.Dropout, and of attention, where it is a plain number
                if isinstance(getattr(module, name, None), float):
                    setattr(module, name, 0.0)
        network.requires_grad_(True)

    def forward(self, sequences: Sequence[str]) -> Tensor:
        """Embed sequences as they are (cleaned before), shape (B, longest, d), zero behind each.

        Longer than `window`, a sequence is embedded in overlapping windows joined by a cross-fade.
        """
        pieces = [(row, *piece) for row, s in enumerate(sequences) for piece in windows(len(s), self.window)]
        hidden = self._hidden([sequences[row][start:stop] for row, start, stop in pieces])
        width = max(len(sequence) for sequence in sequences)
        lengths = torch.tensor([len(s) for s in sequences], device=hidden.device)
        if len(pieces) == len(sequences):
            real = torch.arange(width, device=hidden.device) < lengths[:, None]
            return torch.where(real[..., None], hidden[:, :width], 0.0)
        whole = []
        for row, sequence in enumerate(sequences):
            mine = [(k, start, stop) for k, (r, start, stop) in enumerate(pieces) if r == row]
            weights = fades([(start, stop) for _, start, stop in mine], len(sequence))
            parts = [
                functional.pad(
                    hidden[k, : stop - start] * torch.from_numpy(weight).to(hidden)[:, None],
                    (0, 0, start, width - stop),
                )
                for (k, start, stop), weight in zip(mine, weights, strict=True)
            ]
            whole.append(torch.stack(parts).sum(dim=0))
        return torch.stack(whole)

    def _hidden(self, texts: Sequence[str]) -> Tensor:
        """Last hidden states of the residues, (B, longest, d); arbitrary values behind each sequence."""
        coded = [self._tokens.encode(text) for text in texts]
        longest = max(len(row) for row in coded)
        width = even_width(len(coded), longest) if len(coded) > 1 else longest
        ids = np.full((len(coded), width), self._tokens.pad, dtype=np.int64)
        for row, tokens in enumerate(coded):
            ids[row, : len(tokens)] = tokens
        lengths = np.array([len(tokens) for tokens in coded])
        device = next(self.network.parameters()).device
        # Without padding no mask is passed: attention has faster kernels for that.
        mask = None
        if (lengths < width).any():
            mask = torch.from_numpy(np.arange(width) < lengths[:, None]).long().to(device)  # (B, T)
        output = self.network(input_ids=torch.from_numpy(ids).to(device), attention_mask=mask)
        first, last = len(self._tokens.before), longest - len(self._tokens.behind)
        hidden: Tensor = output.last_hidden_state[:, first:last]
        return hidden.float()

    def flops(self, lengths: Sequence[int]) -> float:
        """Floating-point operations of one training pass over sequences of these lengths.

        Multiply and add count as two, a backward pass as two forward ones; padding does not count.
        """
        residues, squares = float(sum(lengths)), float(sum(n * n for n in lengths))
        total = 0.0
        below_learns = False
        for layer in self._layers():
            learns = any(p.requires_grad for p in layer.parameters())
            below_learns = below_learns or learns
            matrices = sum(p.numel() for p in layer.parameters() if p.dim() == 2)
            passes = 1 + below_learns + learns  # forward, gradient of the input, gradient of the weights
            total += 2.0 * matrices * residues * passes + 4.0 * self.dim * squares * (1 + 2 * below_learns)
        return total

    def train_top(self, layers: int) -> None:
        """Let only the last `layers` layers (and the norm behind them) learn; 0: everything learns."""
        stack = self._layers()
        if layers > len(stack):
            raise UsageError(
                f"encoder_layers is {layers}, but encoder {self.files.name} has {len(stack)} layers; "
                "use fewer, or 0 for the whole encoder"
            )
        self.network.requires_grad_(layers == 0)
        if layers:
            learning = [*stack[len(stack) - layers :], *self._norms()]
            for module in learning:
                module.requires_grad_(True)

    def _layers(self) -> nn.ModuleList:
        encoder = self.network.encoder
        stack: nn.ModuleList = encoder.block if self.files.family == "t5" else encoder.layer
        return stack

    def _norms(self) -> list[nn.Module]:
        name = "final_layer_norm" if self.files.family == "t5" else "emb_layer_norm_after"
        norm = getattr(self.network.encoder, name)
        return [norm] if isinstance(norm, nn.Module) else []

    def save(self, folder: Path, *, dtype: str = "fp16") -> None:
        """Write the encoder in transformers' own format: config.json, model.safetensors, vocabulary.

        Parameters
        ----------
        folder : Path
            Made if need be.
        dtype : {"fp32", "fp16"}
            Precision of the stored weights; rotary frequencies stay as they are.

        Raises
        ------
        CheckpointError
            A weight is not finite in `dtype`.
        """
        stored = {"fp32": torch.float32, "fp16": torch.float16}[dtype]
        family = self.files.family
        weights: dict[str, Tensor] = {}
        for name, tensor in self.network.named_parameters():  # a shared tensor once, by its first name
            if not NOT_NEEDED.search(name):
                weights[name] = tensor.detach().to("cpu", stored).contiguous()
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise CheckpointError(
                f"{folder}: {broken[0]} of the trained encoder is not finite in {dtype}; train it at a "
                "lower encoder_rate"
            )
        frequencies = [
            m.inv_freq for m in self.network.modules() if isinstance(getattr(m, "inv_freq", None), Tensor)
        ]
        if frequencies:
            # transformers' name for the table all layers share; our loader finds it under any name.
            weights["rotary_embeddings.inv_freq"] = (
                frequencies[0].detach().to("cpu", torch.float32).contiguous()
            )
        document = json.loads((self.files.directory / "config.json").read_text(encoding="utf-8"))
        document.pop("torch_dtype", None)  # the older spelling of the next
        document["dtype"] = {"fp32": "float32", "fp16": "float16"}[dtype]
        document["model_type"] = family
        document["architectures"] = ["T5EncoderModel" if family == "t5" else "EsmModel"]
        folder.mkdir(parents=True, exist_ok=True)
        write_tokenizer(folder, window=self.window if family == "esm" else None, origin=self.files.directory)
        write_json(folder / "config.json", document)
        with replacing(folder / "model.safetensors") as temporary:
            save_file(weights, temporary, {"format": "pt"})


class FusedIntermediate(nn.Module):
    """ESM's linear and GELU; torch's own GELU is the same function in one pass instead of five."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, hidden_states: Tensor) -> Tensor:
        return functional.gelu(self.dense(hidden_states))


def load_trainable(
    name_or_path: str,
    *,
    device: torch.device,
    revision: str | None = None,
    offline: bool = False,
    window: int | None = None,
) -> TrainableEncoder:
    """Load an encoder to be trained further; parameters as `load_encoder`.

    Raises
    ------
    CheckpointError, FetchError
        See `find_encoder`.
    """
    files = find_encoder(name_or_path, revision=revision, offline=offline)
    tokens = tokens_of(files)
    network, dim = load_network(files, torch.float32, device)
    window = window or default_window(files.family, network.config)
    return TrainableEncoder(network, tokens, files=files, dim=dim, window=window)
