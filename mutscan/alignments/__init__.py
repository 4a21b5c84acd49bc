"""Alignments of a protein's relatives: reading them, choosing rows, and the profile of a protein."""

from mutscan.alignments.profile import (
    GAP,
    UNKNOWN_CODE,
    profile_of,
    select_rows,
    sequence_weights,
)

__all__ = ["GAP", "UNKNOWN_CODE", "profile_of", "select_rows", "sequence_weights"]
