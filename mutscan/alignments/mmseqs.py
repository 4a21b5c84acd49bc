"""Finds and runs MMseqs2 (Steinegger and Söding, Nat. Biotechnol. 35, 1026 (2017)), which is optional."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from mutscan.errors import MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path


def mmseqs_program() -> str | None:
    """Path of MMseqs2; None where it is not installed."""
    return shutil.which("mmseqs")


def run_mmseqs(program: str, *arguments: str, advice: str, folder: Path | None = None) -> str:
    """Run a command of MMseqs2 and return its output.

    Parameters
    ----------
    program : str
    *arguments : str
        The command and its options.
    advice : str
        What to do if it fails; ends the message.
    folder : Path, optional
        Where to run it: MMseqs2's temporary files cannot have blanks in their paths.

    Raises
    ------
    MissingDependencyError
        It fails; the message has its last line.
    """
    try:
        done = subprocess.run(
            [program, *arguments], cwd=folder, check=True, capture_output=True, text=True, errors="replace"
        )
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or getattr(error, "stdout", "") or str(error)).strip()
        raise MissingDependencyError(
            f"{program} {arguments[0]} failed ({said.splitlines()[-1] if said else 'no message'}); {advice}"
        ) from error
    return done.stdout
