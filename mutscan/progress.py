"""How a workflow says where it is; the command line draws it, a library caller hears nothing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress: stages one after the other, each with a known number of steps."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps."""

    def advance(self, steps: int = 1) -> None:
        """Report finished steps of the current stage."""

    def rename(self, stage: str) -> None:
        """Change what the current stage is called."""

    def finish(self) -> None:
        """End the current stage."""

    def note(self, text: str) -> None:
        """Tell the user something worth knowing now."""


class Silent:
    """Progress nobody looks at."""

    def start(self, stage: str, total: int) -> None:
        """Ignore it."""

    def advance(self, steps: int = 1) -> None:
        """Ignore it."""

    def rename(self, stage: str) -> None:
        """Ignore it."""

    def finish(self) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""
