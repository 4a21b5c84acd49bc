"""TM-Vec, with which the preprint compares, run from its public weights.

TM-Vec passes frozen ProtT5 embeddings through a few post-norm transformer
layers, averages over the residues and projects; the cosine of two such vectors
is its TM-score. Chains are run one by one, so that no padding is attended to
or averaged, and ``</s>`` is removed. The preprint's comparison did neither.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mutscan.embed import load_encoder
from mutscan.errors import CheckpointError
from mutscan.train.evaluate.predictions import VectorTable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.tables import Chains

PROTT5: Final = "Rostlab/prot_t5_xl_half_uniref50-enc"
"""The encoder TM-Vec was trained on."""

_HEADS: Final = 4
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.")


class TMVec(nn.Module):
    """The twin network: (L, d) embeddings to one vector (out,).

    Parameters
    ----------
    d_model, n_heads, n_layers, d_feed_forward, d_out : int
        Published: 1024, 4, 2 (base) or 4 (large), 2048, 512.
    """

    def __init__(self, d_model: int, n_heads: int, n_layers: int, d_feed_forward: int, d_out: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            d_model, n_heads, d_feed_forward, dropout=0.0, activation="relu", batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
        self.mlp = nn.Linear(d_model, d_out)

    def forward(self, embedding: Tensor) -> Tensor:
        """Vector of one chain without padding, (L, d) -> (out,)."""
        pooled: Tensor = self.mlp(self.encoder(embedding[None])[0].mean(dim=0))
        return pooled


def load_tmvec(folder: Path) -> TMVec:
    """Load TM-Vec from a folder with ``model.safetensors`` (or a ``.ckpt`` of Lightning) and a config.

    Layers and widths are read from the weights, the number of heads from ``config.json`` or
    ``params.json`` where there is one (4 where not).

    Raises
    ------
    CheckpointError
        There are no weights, more than one file of them, or the weights of another network.
    """
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.ckpt"))
    if len(weights) != 1:
        raise CheckpointError(
            f"{folder}: holds {len(weights)} weight files (*.safetensors, else *.ckpt); expected one, "
            "that of TM-Vec, as in scikit-bio/tmvec-swissmodel"
        )
    state = _read_state(weights[0])
    layers = {int(hit.group(1)) for key in state if (hit := _LAYER.match(key))}
    needed = ("encoder.layers.0.linear1.weight", "mlp.weight")
    if not layers or any(key not in state for key in needed):
        raise CheckpointError(
            f"{weights[0]}: is not TM-Vec; it needs encoder.layers.*, mlp.weight and mlp.bias, but holds "
            f"{', '.join(sorted(state)[:3])} ..."
        )
    d_feed_forward, d_model = state[needed[0]].shape
    net = TMVec(d_model, _heads(folder), len(layers), d_feed_forward, len(state["mlp.weight"]))
    try:
        net.load_state_dict(state, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{weights[0]}: does not fit TM-Vec ({reason})") from error
    return net.float().eval()


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Any] = load_file(path)
        else:
            document = torch.load(path, map_location="cpu", weights_only=True)
            state = document.get("state_dict", document)
    except (
        SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError, ValueError, TypeError,
        LookupError, AttributeError, AssertionError, struct.error,
    ) as error:  # fmt: skip
        raise CheckpointError(
            f"{path}: cannot be read as weights ({str(error).partition(chr(10))[0]})"
        ) from error
    return {key.removeprefix("model."): value for key, value in state.items()}


def _heads(folder: Path) -> int:
    for name in ("config.json", "params.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            value = json.loads(path.read_text(encoding="utf-8")).get("nhead", _HEADS)
        except (ValueError, AttributeError) as error:
            raise CheckpointError(f"{path}: cannot be read as TM-Vec's settings ({error})") from error
        return int(value)
    return _HEADS


@torch.inference_mode()
def tmvec_vectors(
    folder: Path,
    encoder: str,
    chains: Chains,
    used: NDArray[np.int64],
    *,
    device: str = "auto",
    precision: str = "auto",
    offline: bool = False,
    progress: Progress,
) -> VectorTable:
    """TM-Vec's vector of each chain at `used`.

    Parameters
    ----------
    folder : Path
        As `load_tmvec`.
    encoder : str
        ProtT5: folder or hub name.
    chains : Chains
    used : int array
    device, precision, offline
        As `mutscan.embed.load_encoder`.
    progress : Progress

    Raises
    ------
    CheckpointError
        The weights or the encoder cannot be used, or do not fit each other.
    """
    net = load_tmvec(folder)
    source = load_encoder(encoder, device=device, precision=precision, offline=offline)
    width = net.mlp.in_features
    if source.dim != width:
        raise CheckpointError(
            f"{folder}: takes embeddings of width {width}, the encoder {encoder} gives {source.dim}; "
            f"TM-Vec was trained on ProtT5 ({PROTT5})"
        )
    net.to(source.device)
    table = VectorTable(chains.lengths, used[:0])
    progress.start("encode chains for TM-Vec", len(used))
    for place, embedding in source.embed([chains.sequences[c] for c in used.tolist()]):
        vector = net(torch.from_numpy(embedding).to(source.device)).float().cpu().numpy()
        table.put(int(used[place]), vector, embedding)
        progress.advance()
    progress.finish()
    return table
