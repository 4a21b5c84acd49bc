"""Which files are structures, and which of them a name in a table means: one rule for all of mutscan."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mutscan.errors import UsageError

PDB_ENDINGS: Final = (".pdb", ".ent")
MMCIF_ENDINGS: Final = (".cif", ".mmcif")
STRUCTURE_ENDINGS: Final = PDB_ENDINGS + MMCIF_ENDINGS
"""Endings of structure files, in upper or lower case, each also with ``.gz``."""

EXPECTED: Final = f"{', '.join(STRUCTURE_ENDINGS)}, each also .gz"
"""The endings as messages list them."""


def without_gz(name: str) -> str:
    """Return a file name without a final ``.gz``."""
    return name[:-3] if name.lower().endswith(".gz") else name


def is_structure_file(name: str | Path) -> bool:
    """Whether a file is a structure by its name.

    Examples
    --------
    >>> [is_structure_file(name) for name in ("1abc.cif.gz", "P04637.PDB", "notes.txt", "._1abc.pdb")]
    [True, True, False, False]
    """
    short = os.path.basename(name)
    return not short.startswith(".") and without_gz(short).lower().endswith(STRUCTURE_ENDINGS)


def stem(name: str) -> str:
    """Strip a file name of ``.gz`` and of a structure ending (other dots are kept)."""
    short = without_gz(name)
    for ending in STRUCTURE_ENDINGS:
        if short.lower().endswith(ending) and len(short) > len(ending):
            return short[: -len(ending)]
    return short


def structures_in(folder: Path) -> dict[str, list[Path]]:
    """Find the structure files in a folder and in those below it, by stem.

    Hidden files and folders are left out. The files of a stem are sorted by path.
    """
    found: dict[str, list[Path]] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in filter(is_structure_file, names):
            found.setdefault(stem(name), []).append(Path(parent, name))
    return {name: sorted(found[name]) for name in sorted(found)}


def unique_structures_in(folder: Path) -> dict[str, Path]:
    """As `structures_in`, where each stem must be that of one file.

    Raises
    ------
    UsageError
        There is no such folder, or two of its files have the same stem.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; expected one of structure files ({EXPECTED})")
    found = structures_in(folder)
    for name, paths in found.items():
        if len(paths) > 1:
            raise UsageError(f"{paths[1]} and {paths[0]} are both named {name}; keep one of them")
    return {name: paths[0] for name, paths in found.items()}


class StructureFinder:
    """Find the files that the ``structure`` cells of a table name.

    A cell matches files with its stem, whatever their ending. Of several such files, the one that
    lies where the cell says comes first.

    Parameters
    ----------
    folder : Path
        Searched with all folders below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = structures_in(folder)

    def candidates(self, cell: object) -> list[Path]:
        """Files a cell may mean, the likeliest first; none for an empty cell or one nothing matches."""
        if not isinstance(cell, str) or not cell.strip():
            return []
        named = cell.strip().replace("\\", "/")
        parent = (self._folder / named).parent
        paths = self._files.get(stem(named.rpartition("/")[2]), [])
        return sorted(paths, key=lambda path: path.parent != parent)
