"""Load an encoder's weights into transformers' network, strictly and without its messages."""

from __future__ import annotations

import pickle
import re
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from mutscan.embed.esm_forward import EsmForward
from mutscan.embed.esm_weights import plain_esm, rotary_frequencies
from mutscan.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from mutscan.embed.source import EncoderFiles

# Parts of a checkpoint that an encoder does not need: language-model heads, T5's decoder,
# BERT-style poolers, and what the network computes for itself.
NOT_NEEDED: Final = re.compile(
    r"^(lm_head|decoder|pooler|contact_head|classifier)\.|^encoder\.embed_tokens\.weight$|position_ids$|inv_freq$"
)
"""Names of these parts."""


def load_network(
    files: EncoderFiles, dtype: torch.dtype, device: torch.device, *, plain_up_to: int = 0
) -> tuple[nn.Module, int]:
    """Build the encoder's network with its weights, in evaluation mode.

    Weights are cast from the precision they are stored in to `dtype`.

    Parameters
    ----------
    files : EncoderFiles
    dtype : torch.dtype
    device : torch.device
    plain_up_to : int
        A plain ESM of at most so many weights is read without transformers (`EsmWeights`), on the CPU.

    Returns
    -------
    network : nn.Module
        ``network(input_ids=..., attention_mask=...)`` gives ``last_hidden_state`` (B, T, d).
    dim : int
        Width d.

    Raises
    ------
    CheckpointError
        If weights are damaged, missing or of other shapes than config.json says.
    """
    state = read_weights(files.weights)
    frequencies = next((state[key] for key in sorted(state) if key.endswith("inv_freq")), None)
    state = {name: tensor for name, tensor in _renamed(state).items() if not NOT_NEEDED.search(name)}
    size = sum(tensor.numel() for tensor in state.values())
    if files.family == "esm" and device.type == "cpu" and size <= plain_up_to:
        weights = plain_esm(
            files.directory, state, frequencies, dtype, lambda: load_network(files, dtype, device)[0]
        )
        if weights is not None and EsmForward.suits(weights):
            return weights, int(weights.config.hidden_size)
    from transformers import EsmConfig, EsmModel, T5Config, T5EncoderModel

    # The state is handed over instead of the folder: transformers 5.0 to 5.23 differ in the
    # old names they still understand, and this way each gives the same network.
    try:
        with _quiet():
            if files.family == "t5":
                config = T5Config.from_pretrained(str(files.directory), local_files_only=True)
                model, report = T5EncoderModel.from_pretrained(
                    None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
                )
            else:
                config = EsmConfig.from_pretrained(str(files.directory), local_files_only=True)
                model, report = EsmModel.from_pretrained(
                    None,
                    config=config,
                    state_dict=state,
                    dtype=dtype,
                    output_loading_info=True,
                    add_pooling_layer=False,
                )
    except (RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        if out_of_memory(error):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"encoder {files.name}: its weights do not fit its config.json ({first_line}); "
            "fetch or copy it again"
        ) from error
    missing = sorted(name for name in report["missing_keys"] if not NOT_NEEDED.search(name))
    surplus = sorted(report["unexpected_keys"])
    wrong = sorted(str(entry) for entry in report["mismatched_keys"])
    if missing or surplus or wrong:
        found = "; ".join(
            f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for what, names in (("missing", missing), ("not expected", surplus), ("of another shape", wrong))
            if names
        )
        raise CheckpointError(f"encoder {files.name}: its weights do not fit its config.json ({found})")
    _set_rotary_frequencies(model, config, frequencies)
    model.requires_grad_(False)
    model.eval()
    dim = int(config.d_model if files.family == "t5" else config.hidden_size)
    return model.to(device), dim


def read_weights(paths: tuple[Path, ...]) -> dict[str, Tensor]:
    """Tensors of one weight file, or of all shards, under the names they are stored by."""
    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                state.update(load_file(path))
            else:
                state.update(torch.load(path, map_location="cpu", weights_only=True))
        except (
            SafetensorError, pickle.UnpicklingError, OSError, RuntimeError, EOFError,
            ValueError, TypeError, LookupError, AttributeError, AssertionError, struct.error,
        ) as error:  # fmt: skip
            first_line = str(error).strip().partition("\n")[0]
            raise CheckpointError(
                f"{path}: weights cannot be read ({first_line}); the file is damaged or holds more than "
                "weights, fetch it again"
            ) from error
    return state


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the bare encoder: no ``esm.`` in front, LayerNorms with weight and bias."""
    renamed = {}
    for name, tensor in state.items():
        bare = name.removeprefix("esm.")
        bare = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", bare)
        renamed[re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", bare)] = tensor
    return renamed


def _set_rotary_frequencies(model: nn.Module, config: Any, stored: Tensor | None) -> None:
    """Give rotary positions the stored frequencies, else the ones config.json implies, in fp32.

    Done here because transformers' versions keep them in different places, and halve them
    with the weights or not.
    """
    for module in model.modules():
        old = getattr(module, "inv_freq", None)
        if not isinstance(old, torch.Tensor):
            continue
        module.inv_freq = rotary_frequencies(2 * old.numel(), config, stored)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' progress bars and load reports; the report is checked here."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in str(error) or "can't allocate memory" in str(error))
    )
