"""Profiles of many proteins' families, each searched once and kept on disk."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mutscan.evidence import FamilyProfile
from mutscan.families import FamilySearch
from mutscan.families.search import profile_of
from mutscan.hashes import text_sha256
from mutscan.progress import Silent
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mutscan.families import FamilyLibrary
    from mutscan.progress import Progress

_TOGETHER = 64  # proteins searched at a time: a kill can lose this many


class FamilyProfiles:
    """Profiles by sequence.

    Parameters
    ----------
    library : FamilyLibrary, optional
        Without one there are no profiles.
    work : Path
        Folder of finished profiles.
    """

    def __init__(self, library: FamilyLibrary | None, work: Path) -> None:
        self._library = library
        self._work = work

    @cached_property
    def _search(self) -> FamilySearch:
        assert self._library is not None, "only a library is searched"
        return FamilySearch(self._library)

    def look_up(self, sequences: Sequence[str], progress: Progress) -> None:
        """Search the profiles that are not on disk."""
        if self._library is not None:
            self._find([one for one in dict.fromkeys(sequences) if not self._path(one).is_file()], progress)

    def of(self, sequence: str) -> FamilyProfile | None:
        """Profile of a sequence, searched again if its file is damaged; None without a library."""
        if self._library is None:
            return None
        arrays = read_arrays(self._path(sequence))
        if arrays is None:
            self._find([sequence], Silent())
            arrays = read_arrays(self._path(sequence))
            assert arrays is not None, "it was written a moment ago"
        return FamilyProfile(**arrays)

    def without_relatives(self, sequence: str) -> FamilyProfile | None:
        """Profile that a sequence has where the library knows no relative; None without a library."""
        return None if self._library is None else profile_of(self._library, sequence, [])

    def _find(self, todo: list[str], progress: Progress) -> None:
        if not todo:
            return
        self._work.mkdir(parents=True, exist_ok=True)
        progress.start("families of wild types", len(todo))
        for first in range(0, len(todo), _TOGETHER):
            some = todo[first : first + _TOGETHER]
            for sequence, profile in zip(some, self._search.profiles(some), strict=True):
                write_arrays(
                    self._path(sequence),
                    frequencies=profile.frequencies,
                    sequences=profile.sequences,
                    families=profile.families,
                    gaps=profile.gaps,
                )
                progress.advance()
        progress.finish()

    def _path(self, sequence: str) -> Path:
        assert self._library is not None, "there are no profiles without a library"
        key = text_sha256(f"families 1\n{self._library.sha256}\n{sequence}")
        return self._work / f"{key}.npz"
