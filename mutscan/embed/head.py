"""The masked-language-model head of an ESM encoder: residue probabilities from an embedding.

An embedding is the network's last hidden state, which is all the head reads: its probabilities cost no
second pass. The wild-type residue is read, not masked ("wild-type marginals", Meier et al. 2021).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.special import erf

from mutscan.embed.network import read_weights
from mutscan.embed.source import find_encoder
from mutscan.embed.tokens import esm_tokens
from mutscan.errors import CheckpointError
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.embed.source import EncoderFiles

_NAMES: Final = ("dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias", "bias")


@dataclass(frozen=True, eq=False)
class LanguageHead:
    """Weights of the head, float32.

    Parameters
    ----------
    dense : array, shape (d, d)
    dense_bias, scale, shift : array, shape (d,)
    letters : array, shape (20, d)
        Token vectors of the standard residues.
    letters_bias : array, shape (20,)
    epsilon : float
        Of its LayerNorm.
    """

    dense: NDArray[np.float32]
    dense_bias: NDArray[np.float32]
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    letters: NDArray[np.float32]
    letters_bias: NDArray[np.float32]
    epsilon: float

    def log_probabilities(self, embedding: NDArray[np.floating]) -> NDArray[np.float32]:
        """Natural logarithms of the probabilities of the 20 residues, shape (L, 20), at each residue.

        In the order of `mutscan.residues.STANDARD`; the 20 sum to 1, other tokens are left out.

        Parameters
        ----------
        embedding : float array, shape (L, d)
            Of the encoder this head belongs to.
        """
        x = embedding.astype(np.float32) @ self.dense.T + self.dense_bias  # (L, d)
        x = 0.5 * x * (1.0 + erf(x / np.sqrt(np.float32(2.0))))  # gelu
        x = x - x.mean(axis=1, keepdims=True)
        x = x / np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float32(self.epsilon))
        logits = (x * self.scale + self.shift) @ self.letters.T + self.letters_bias  # (L, 20)
        logits = logits - logits.max(axis=1, keepdims=True)
        normalised: NDArray[np.float32] = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return normalised.astype(np.float32)


def load_head(
    name_or_path: str, *, revision: str | None = None, offline: bool = False
) -> LanguageHead | None:
    """Read the head beside an encoder; None where it has none (ProtT5's encoder, a bare ESM).

    Parameters
    ----------
    name_or_path, revision, offline
        As `mutscan.embed.load_encoder`.

    Raises
    ------
    CheckpointError
        There is a head, but not a whole one.
    """
    files = find_encoder(name_or_path, revision=revision, offline=offline)
    return None if files.family != "esm" else _read(files)


def _read(files: EncoderFiles) -> LanguageHead | None:
    state = read_weights(files.weights)
    head = {key.removeprefix("lm_head."): value for key, value in state.items() if key.startswith("lm_head.")}
    if not head:
        return None
    tokens = next(
        (state[key] for key in sorted(state) if key.endswith("embeddings.word_embeddings.weight")), None
    )
    # The decoder is tied to the token vectors in every ESM-2; a file that stores it has it twice.
    decoder = head.pop("decoder.weight", tokens)
    missing = [name for name in _NAMES if name not in head]
    if missing or decoder is None:
        raise CheckpointError(
            f"encoder {files.name}: its language-model head is not whole, there is no "
            f"lm_head.{missing[0] if missing else 'decoder.weight'}; fetch or copy it again"
        )
    arrays = {name: head[name].float().numpy() for name in _NAMES}
    ids = esm_tokens(files.directory).ids[np.frombuffer(STANDARD.encode(), dtype=np.uint8)]
    config = (files.directory / "config.json").read_text(encoding="utf-8")
    vectors = decoder.float().numpy()
    width = vectors.shape[1]
    shapes = {"dense.weight": (width, width), "bias": (len(vectors),)}
    for name, array in arrays.items():
        if array.shape != shapes.get(name, (width,)):
            raise CheckpointError(
                f"encoder {files.name}: lm_head.{name} is {array.shape}, expected "
                f"{shapes.get(name, (width,))}; fetch or copy it again"
            )
    return LanguageHead(
        dense=arrays["dense.weight"],
        dense_bias=arrays["dense.bias"],
        scale=arrays["layer_norm.weight"],
        shift=arrays["layer_norm.bias"],
        letters=vectors[ids],
        letters_bias=arrays["bias"][ids],
        epsilon=float(json.loads(config).get("layer_norm_eps", 1e-5)),
    )
