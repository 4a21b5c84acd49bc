"""Protein language models: sequences in, one vector per residue out.

Two families are known: ProtT5 (``T5EncoderModel``) and ESM-2 (``EsmModel``, also our own small
encoder). `load_encoder` takes a folder or a name on the Hugging Face hub; `Encoder.embed` gives
float32 arrays of shape (L, d), whatever precision the network runs in.
"""

from mutscan.embed.cache import EmbeddingCache, embed_cached
from mutscan.embed.device import resolve_device, resolve_precision, set_threads
from mutscan.embed.encoder import Encoder, load_encoder
from mutscan.embed.tokens import clean

__all__ = [
    "EmbeddingCache",
    "Encoder",
    "clean",
    "embed_cached",
    "load_encoder",
    "resolve_device",
    "resolve_precision",
    "set_threads",
]
