"""The state of a training on disk: tensors and metadata in one file, written atomically."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mutscan.errors import CheckpointError
from mutscan.files import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch
    from torch import Tensor

STATE_FILE: Final = "state.safetensors"
"""Name in the work folder."""


@dataclass(frozen=True, eq=False)
class State:
    """A saved state.

    Parameters
    ----------
    tensors : mapping of str -> Tensor
        Named ``part.name``.
    metadata : mapping
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors of one part, without its prefix."""
        n = len(prefix) + 1
        return {name[n:]: value for name, value in self.tensors.items() if name.startswith(prefix + ".")}


def save_state(folder: Path, parts: Mapping[str, Mapping[str, Tensor]], metadata: Mapping[str, Any]) -> None:
    """Write the state, replacing the previous one."""
    tensors = {
        f"{prefix}.{name}": value.detach().cpu().contiguous()
        for prefix, part in parts.items()
        for name, value in part.items()
    }
    with replacing(folder / STATE_FILE) as temporary:
        save_file(tensors, temporary, {"state": json.dumps(dict(metadata))})


def load_state(folder: Path, identity: Mapping[str, str]) -> State | None:
    """Read the state of an earlier run; None when there is none.

    Parameters
    ----------
    folder : Path
    identity : mapping
        Digests of settings and data that the state must have been made with.

    Raises
    ------
    CheckpointError
        The file is damaged, or was made with others.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as the state of a training ({error}); start again with --restart"
        ) from error
    for what, digest in identity.items():
        if metadata.get(what) != digest:
            raise CheckpointError(
                f"{path}: was made with other {what}; use those to continue, "
                "or start again with --restart or in another --work folder"
            )
    return State(tensors, metadata)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors of an optimiser's state, named by parameter number and key."""
    return {
        f"{number}.{name}": value
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore an optimiser from `optimiser_tensors`."""
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        states.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": states})
