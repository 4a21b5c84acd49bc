"""Alignments of a protein's relatives: reading them, choosing rows, and the profile of a protein."""

from __future__ import annotations

from typing import Final

AUTO: Final = "auto"
LIBRARY: Final = "library"
"""Values of ``--alignment`` that are no file."""
