"""Embeddings on disk: one safetensors file for each sequence and encoder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mutscan.embed.tokens import clean
from mutscan.files import replacing
from mutscan.hashes import bytes_sha256, text_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mutscan.embed.encoder import Encoder

_log = logging.getLogger(__name__)


class EmbeddingCache:
    """Embeddings by sequence and encoder.

    Safe for several processes at once: a file appears whole or not at all, and equal keys hold
    equal content. A damaged file counts as absent and is removed.

    Parameters
    ----------
    directory : Path
        Made on the first `put`.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self._writable = True

    def path(self, sequence: str, key: str) -> Path:
        """File of a sequence under an encoder's `Encoder.key`."""
        digest = text_sha256(f"{key}\n{_sequence_hash(sequence)}")
        return self.directory / digest[:2] / f"{digest}.safetensors"

    def get(self, sequence: str, key: str) -> NDArray[np.float32] | None:
        """Embedding of a sequence, float32 (L, d), or None if it is not stored or damaged."""
        path = self.path(sequence, key)
        try:
            with safe_open(path, framework="np") as file:
                about = file.metadata() or {}
                embedding: NDArray[np.float32] = file.get_tensor("embedding").astype(np.float32)
            fits = (
                about.get("sequence_sha256") == _sequence_hash(sequence)
                and about.get("encoder") == key
                and about.get("sha256") == _content_hash(embedding)
                and embedding.ndim == 2
                and len(embedding) == len(clean(sequence))
            )
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, TypeError) as error:
            _log.info("embedding cache: %s is damaged (%s), computed again", path, error)
            fits = False
        if not fits:
            path.unlink(missing_ok=True)
            return None
        return embedding

    def put(self, sequence: str, key: str, embedding: NDArray[np.float32]) -> None:
        """Store an embedding. If the folder cannot be written, warn once and continue without it."""
        if not self._writable:
            return
        embedding = np.ascontiguousarray(embedding, dtype=np.float32)
        # What came out of a half-precision network takes half the room, without loss.
        with np.errstate(over="ignore"):
            half = embedding.astype(np.float16)
        lossless = np.array_equal(half.astype(np.float32), embedding)
        data = save(
            {"embedding": half if lossless else embedding},
            metadata={
                "sequence_sha256": _sequence_hash(sequence),
                "encoder": key,
                "sha256": _content_hash(embedding),
            },
        )
        path = self.path(sequence, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            self._writable = False
            _log.warning(
                "embedding cache %s cannot be written (%s): continuing without it", self.directory, error
            )


def embed_cached(
    encoder: Encoder, sequences: Sequence[str], cache: EmbeddingCache | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """`Encoder.embed`, with a cache: cached embeddings come first, new ones are stored."""
    if cache is None:
        yield from encoder.embed(sequences)
        return
    rest = []
    for index, sequence in enumerate(sequences):
        known = cache.get(sequence, encoder.key)
        if known is not None:
            yield index, known
        else:
            rest.append(index)
    for place, embedding in encoder.embed([sequences[index] for index in rest]):
        sequence = sequences[rest[place]]
        if not encoder.fell_back(len(embedding)):
            cache.put(sequence, encoder.key, embedding)
        yield rest[place], embedding


def _sequence_hash(sequence: str) -> str:
    return text_sha256(clean(sequence))


def _content_hash(embedding: NDArray[np.float32]) -> str:
    return bytes_sha256(np.ascontiguousarray(embedding, dtype="<f4").tobytes())
