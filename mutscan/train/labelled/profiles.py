"""Profiles of many proteins' families, each looked up once and kept on disk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from mutscan.evidence import FamilyProfile
from mutscan.families import FamilySearch
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutscan.families import FamilyLibrary
    from mutscan.progress import Progress

_TOGETHER = 64  # proteins searched at a time: so many a kill can cost


class FamilyProfiles:
    """Profiles by sequence.

    Parameters
    ----------
    library : FamilyLibrary, optional
        Without one there are no profiles.
    work : Path
        Folder of finished ones.
    """

    def __init__(self, library: FamilyLibrary | None, work: Path) -> None:
        self._library = library
        self._work = work

    def look_up(self, sequences: Sequence[str], progress: Progress) -> None:
        """Search for all that are not on disk."""
        if self._library is None:
            return
        todo = [one for one in dict.fromkeys(sequences) if read_arrays(self._path(one)) is None]
        if not todo:
            return
        self._work.mkdir(parents=True, exist_ok=True)
        search = FamilySearch(self._library)
        progress.start("families of wild types", len(todo))
        for first in range(0, len(todo), _TOGETHER):
            some = todo[first : first + _TOGETHER]
            for sequence, profile in zip(some, search.profiles(some), strict=True):
                write_arrays(
                    self._path(sequence),
                    frequencies=profile.frequencies,
                    sequences=profile.sequences,
                    families=profile.families,
                    gaps=profile.gaps,
                )
                progress.advance()
        progress.finish()

    def of(self, sequence: str) -> FamilyProfile | None:
        """Profile of a sequence that was looked up; None without a library."""
        if self._library is None:
            return None
        arrays = read_arrays(self._path(sequence))
        if arrays is None:
            raise KeyError(f"{sequence[:20]}... was not looked up")
        return FamilyProfile(**arrays)

    def _path(self, sequence: str) -> Path:
        library = "" if self._library is None else self._library.sha256
        key = hashlib.sha256(f"families 1\n{library}\n{sequence}".encode()).hexdigest()
        return self._work / f"{key}.npz"
