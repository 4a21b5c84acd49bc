"""A package of inverse folding with made-up weights, for tests of what does not depend on the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from mutscan.hashes import file_sha256
from mutscan.model import inverse_folding as room
from mutscan.pipeline import verdict


def made_up_weights(width: int = 16, seed: int = 0) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint under their names, of another width than 128."""
    d, generator = width, torch.Generator().manual_seed(seed)
    shapes = {"features.embeddings.linear": (16, 66), "W_e": (d, d), "W_out": (21, d)}
    norms = ["features.norm_edges"]
    for stack, inner, known in (("encoder_layers", ("", "1"), 3), ("decoder_layers", ("",), 4)):
        for layer in (f"{stack}.{number}" for number in range(3)):
            for which in inner:
                shapes |= {f"{layer}.W{which}1": (d, known * d)}
                shapes |= {f"{layer}.W{which}{number}": (d, d) for number in (2, 3)}
            shapes |= {f"{layer}.dense.W_in": (4 * d, d), f"{layer}.dense.W_out": (d, 4 * d)}
            norms += [f"{layer}.norm{number}" for number in (1, 2)]
            norms += [f"{layer}.norm3"] if stack == "encoder_layers" else []
    made = {}
    for name, (out, into) in shapes.items():
        made[f"{name}.weight"] = torch.randn(out, into, generator=generator) / into**0.5
        made[f"{name}.bias"] = 0.1 * torch.randn(out, generator=generator)
    for name in norms:
        made |= {f"{name}.weight": torch.ones(d), f"{name}.bias": torch.zeros(d)}
    made["features.edge_embedding.weight"] = torch.randn(d, 416, generator=generator) / 416**0.5
    made["W_s.weight"] = torch.randn(21, d, generator=generator)
    return made


@contextmanager
def made_up_package(folder: Path) -> Iterator[None]:
    """Install such a package for a while, in place of a real one."""
    information = folder / f"{room.PACKAGE.replace('-', '_')}-9.9.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {room.PACKAGE}\nVersion: 9.9\n")
    path = folder / room.WEIGHTS
    path.parent.mkdir()
    torch.save({"model_state_dict": made_up_weights()}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for place in (room, verdict):
            patch.setattr(place, "WEIGHTS_SHA256", file_sha256(path))
        yield
