"""Which files of a folder are alignments, and of which proteins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError
from mutscan.structures.files import without_gz

if TYPE_CHECKING:
    from pathlib import Path

ENDINGS: Final = (
    ".a3m", ".a2m", ".sto", ".stk", ".stockholm", ".fasta", ".fas", ".fa", ".afa", ".aln", ".clustal", ".clw"
)  # fmt: skip
"""Endings of alignment files, in upper or lower case, each also with ``.gz``."""


def alignments_in(folder: Path) -> dict[str, Path]:
    """Find the alignments in a folder and in those below it, by stem; hidden files are left out.

    Raises
    ------
    UsageError
        There is no such folder, it holds no alignment, or two of its files have the same stem.
    """
    expected = f"{', '.join(ENDINGS)}, each also .gz"
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected one of alignments ({expected})")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name, dot, ending = without_gz(path.name).rpartition(".")
        if f"{dot}{ending}".lower() not in ENDINGS or path.name.startswith(".") or not path.is_file():
            continue
        if name in found:
            raise UsageError(f"{path} and {found[name]} are both named {name}; keep one of them")
        found[name] = path
    if not found:
        raise UsageError(f"{folder}: holds no alignment; expected files named as the proteins ({expected})")
    return found
