"""Protein language models: sequences in, one vector per residue out.

Two families are known: ProtT5 (``T5EncoderModel``) and ESM-2 (``EsmModel``, also our own small
encoder). `load_encoder` takes a folder or a name on the Hugging Face hub; `Encoder.embed` gives
float32 arrays of shape (L, d), whatever precision the network runs in. `load_trainable` gives
the same network for further training.
"""

from mutscan.embed.cache import EmbeddingCache, embed_cached
from mutscan.embed.device import resolve_device, resolve_precision, set_threads
from mutscan.embed.encoder import Encoder, load_encoder
from mutscan.embed.source import find_encoder
from mutscan.embed.tokens import clean
from mutscan.embed.trainable import TrainableEncoder, load_trainable

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "TrainableEncoder",
    "clean",
    "embed_cached",
    "find_encoder",
    "load_encoder",
    "load_trainable",
    "resolve_device",
    "resolve_precision",
    "set_threads",
]
