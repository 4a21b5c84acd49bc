"""Shape of the Siamese network, as config.json holds it, and named presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class SiameseConfig:
    """Shape of the network. The defaults are the preset ``paper``: 5,125,633 parameters.

    Parameters
    ----------
    d_input : int
        Width of the encoder's embeddings (ProtT5: 1024).
    d_model, n_heads, n_layers, d_feed_forward, d_pool : int
        Width, attention heads, encoder layers, feed-forward width, width of the pooling's hidden layer.
    dropout : float
    input_norm : bool
        LayerNorm after the input projection.
    relu_output : bool
        ReLU on the residue vectors; all cosines are then in [0, 1].
    length_exponent : float
        Exponent g of the length term of the TM-score: cosine * min(1, L2 / L1)^g. The cosine is
        symmetric, the TM-score normalised by chain 1 is not; 0 (the paper) leaves the cosine as it is.
    d_match, d_pair : int
        Width of the vectors that a pair head matches, and of its hidden layers (`PairHead`); a
        `d_match` of 0 (the paper) is a net without one: both scores are cosines.
    """

    d_input: int = 1024
    d_model: int = 512
    n_heads: int = 4
    n_layers: int = 2
    d_feed_forward: int = 1024
    d_pool: int = 256
    dropout: float = 0.1
    input_norm: bool = True
    relu_output: bool = True
    length_exponent: float = 0.0
    d_match: int = 0
    d_pair: int = 48

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary, as written to config.json."""
        return asdict(self)


PRESETS: Final[dict[str, SiameseConfig]] = {
    "paper": SiameseConfig(),
    "repo2025": SiameseConfig(d_feed_forward=2048, input_norm=False, relu_output=False),
    "mini": SiameseConfig(
        d_input=320,
        d_model=256,
        n_heads=2,
        d_feed_forward=512,
        dropout=0.0,
        relu_output=False,
        length_exponent=0.8,
        d_match=64,
    ),
}
"""Named shapes: ``paper`` (5,125,633 parameters), ``repo2025`` (7,223,809), ``mini`` (ours, 1,268,737)."""
