"""Alignments of many proteins, searched together or read from files, and kept on disk as profiles."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.alignments.files import alignments_in
from mutscan.alignments.profile import profile_of, select_rows
from mutscan.alignments.read import read_alignment
from mutscan.alignments.search import encoded, mmseqs_relatives
from mutscan.errors import UsageError
from mutscan.evidence import AlignedProfile
from mutscan.evidence.sequence import sequence_hash
from mutscan.hashes import file_sha256, text_sha256
from mutscan.results import read_arrays, write_arrays
from mutscan.train.chains.corpus import read_corpus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress

SHARES: Final = (0.1, 0.25, 1.0)
"""Shares of the relatives that are kept at random, a share for each protein, so that a calibration holds for
alignments of any depth."""

_SENSITIVITY, _MOST = 6.0, 2000  # of the search; profiles keep relatives of 30 % identity

_FIELDS: Final = fields(AlignedProfile)


class AlignedProfiles:
    """Profiles by sequence.

    Parameters
    ----------
    sequences : sequence of Path
        FASTA or Parquet files of the sequences that MMseqs2 searches.
    work : Path
        Folder of finished profiles.
    threads : int
    """

    def __init__(self, sequences: Sequence[Path], work: Path, threads: int) -> None:
        self._corpus = read_corpus(sequences)
        self._work = work
        self._threads = threads
        self.digest = self._corpus.digest

    def look_up(self, sequences: Sequence[str], progress: Progress) -> None:
        """Search the profiles that are not on disk."""
        todo = {one: one for one in dict.fromkeys(sequences) if read_arrays(self._path(one)) is None}
        if not todo:
            return
        self._work.mkdir(parents=True, exist_ok=True)
        database = self._work / "sequences.fasta"
        self._corpus.write_fasta(database)
        progress.start("relatives of wild types", len(todo))
        found = mmseqs_relatives(
            todo, database, self._work / "mmseqs", self._threads, sensitivity=_SENSITIVITY, most=_MOST
        )
        for sequence, relatives in found:
            rows = encoded([sequence, *(relative.row for relative in relatives)], len(sequence))
            profile = profile_of(self._thinned(sequence, rows[select_rows(rows)]))
            _write_profile(self._path(sequence), profile)
            progress.advance()
        database.unlink()
        progress.finish()

    def of(self, sequence: str) -> AlignedProfile:
        """Profile of a sequence that was looked up."""
        return read_profile(self._path(sequence))

    def _thinned(self, sequence: str, rows: NDArray[np.uint8]) -> NDArray[np.uint8]:
        draws = np.random.default_rng(int(sequence_hash(sequence), 16))
        share = float(draws.choice(SHARES))
        kept = draws.random(len(rows)) < share
        kept[0] = True
        return rows[kept]

    def _path(self, sequence: str) -> Path:
        key = text_sha256(f"relatives 4\n{self.digest}\n{sequence}")
        return self._work / f"{key}.npz"


class AlignmentFiles:
    """Profiles of the alignments in a folder, a file for each protein, found by its name.

    Parameters
    ----------
    folder : Path
    work : Path
        Folder of finished profiles.

    Raises
    ------
    UsageError
        The folder holds no alignments, or two for a protein.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self._folder = folder
        self._files = alignments_in(folder)
        self._work = work

    def check(self, names: Iterable[str]) -> None:
        """Check that there is a file of any of the proteins.

        Raises
        ------
        UsageError
            There is none.
        """
        proteins = list(names)
        if not self._files.keys() & proteins:
            raise UsageError(
                f"{self._folder}: holds no alignment of a protein of the tables; expected files named as the "
                f"proteins, such as {proteins[0]}.a3m, read {next(iter(self._files.values())).name}"
            )

    def look_up(
        self, proteins: Mapping[int, tuple[str, str]], progress: Progress
    ) -> tuple[dict[int, Path], list[str]]:
        """Profiles of the proteins that have a file, and complaints about files that cannot be used.

        Parameters
        ----------
        proteins : mapping of number -> (name, sequence)
        progress : Progress

        Returns
        -------
        dict of number -> Path
            For `read_profile`; the path differs for other files and sequences.
        list of str
        """
        found: dict[int, Path] = {}
        complaints = []
        named = {p: one for p, one in proteins.items() if one[0] in self._files}
        progress.start("read alignments", len(named))
        for p, (name, sequence) in named.items():
            file = self._files[name]
            key = text_sha256(f"alignment 2\n{file_sha256(file)}\n{name}\n{sequence}")
            path = self._work / f"{key}.npz"
            try:
                if read_arrays(path) is None:
                    _write_profile(path, profile_of(read_alignment(file, sequence, name=name).rows))
                found[p] = path
            except UsageError as error:
                complaints.append(f"{name} ({error.message})")
            progress.advance()
        progress.finish()
        return found, complaints


def read_profile(path: Path) -> AlignedProfile:
    """Read a stored profile."""
    arrays = read_arrays(path)
    assert arrays is not None, "it was looked up"
    numbers: dict[str, Any] = {name: x if x.ndim else x.item() for name, x in arrays.items()}
    return AlignedProfile(**numbers)


def _write_profile(path: Path, profile: AlignedProfile) -> None:
    values = {one.name: getattr(profile, one.name) for one in _FIELDS}
    write_arrays(path, **{name: np.asarray(x) for name, x in values.items() if x is not None})
