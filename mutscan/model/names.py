"""Names of models; imports nothing, so that the command line can use it for its help."""

from __future__ import annotations

from typing import Final

DEFAULT_MODEL: Final = "mutscan-mini"
"""The model that ships with mutscan."""
