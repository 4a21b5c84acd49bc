"""`Substitution`, `InFrameIndel` and `Variant`: what changes in the protein; text to variant and back.

Positions are 1-based on the wild-type sequence, always.
"""

from mutscan.variants.compare import difference, normalise, suggest_offset
from mutscan.variants.notation import parse_variant, split_reference
from mutscan.variants.variant import InFrameIndel, Substitution, Variant

__all__ = [
    "InFrameIndel",
    "Substitution",
    "Variant",
    "difference",
    "normalise",
    "parse_variant",
    "split_reference",
    "suggest_offset",
]
