"""Where a protein's relatives come from: the alignment that a run names, or AlphaFold DB's."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.alignments import AUTO, LIBRARY
from mutscan.alignments.profile import LEAST_COVER, LEAST_IDENTITY, MOST_ROWS, profile_of
from mutscan.alignments.read import Alignment, read_alignment
from mutscan.errors import FetchError
from mutscan.structures.fasta import iterate_fasta

if TYPE_CHECKING:
    from pathlib import Path

    from mutscan.evidence import AlignedProfile
    from mutscan.structures import WildType

LICENCE: Final = "CC BY 4.0"
"""Of AlphaFold DB's files."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a profile was made of, as in run.json.

    Parameters
    ----------
    source : str
        Name of the file or service.
    sha256 : str
        Of the file.
    first, last : int
        Positions of the wild type that it covers, 1-based, both included.
    differing : tuple of int
        Positions where the file's wild type has another residue.
    rows_read : int
        Rows of the file, the wild type among them.
    rows_short, rows_distant : int
        Rows left out for their cover, and of the others for their identity.
    rows_kept : int
        Rows of the profile, the wild type among them.
    effective : float
        Their effective number, where those with at least 80 % identity count as one together.
    url, version, date, licence
        Of a download.
    """

    source: str
    sha256: str
    first: int
    last: int
    differing: tuple[int, ...]
    rows_read: int
    rows_short: int
    rows_distant: int
    rows_kept: int
    effective: float
    url: str = ""
    version: str | None = None
    date: str = ""
    licence: str = ""


@dataclass(frozen=True, eq=False)
class Relatives:
    """A protein's relatives in an alignment.

    Parameters
    ----------
    facts : Source
    profile : AlignedProfile
    """

    facts: Source
    profile: AlignedProfile

    def __str__(self) -> str:
        """Source, and positions where it covers a part: ``BLAT.a3m``, ``BLAT.a3m 24-286``."""
        facts = self.facts
        whole = (facts.first, facts.last) == (1, len(self.profile.sequences))
        return facts.source if whole else f"{facts.source} {facts.first}-{facts.last}"

    def describe(self) -> dict[str, object]:
        """Describe it for run.json."""
        return {name: value for name, value in asdict(self.facts).items() if value not in ("", None)}

    @property
    def words(self) -> str:
        """What was read and kept, for the log."""
        facts = self.facts
        deep = "" if self.profile.couplings is None else ", deep enough for couplings"
        other = f" (another residue at {', '.join(map(str, facts.differing))})" if facts.differing else ""
        return (
            f"alignment {facts.source}, positions {facts.first}-{facts.last}{other}: "
            f"{facts.rows_read:,} rows read, {facts.rows_short:,} too short, {facts.rows_distant:,} too "
            f"distant, {facts.rows_kept:,} kept without duplicates, effective number {facts.effective:,.1f}"
            f"{deep}"
        )


def fetched_relatives(wild_type: WildType, *, offline: bool) -> tuple[Relatives | None, str]:
    """Get a UniProt entry's relatives from the alignment that AlphaFold DB's model of it was made from.

    Parameters
    ----------
    wild_type : WildType
    offline : bool
        Look in the cache only.

    Returns
    -------
    Relatives or None
    str
        Why there are none; empty for a wild type that is no UniProt entry.
    """
    if not wild_type.is_entry:
        return None, ""
    # Names of this module are defaults of the command line, whose start would load httpx.
    from mutscan.fetch import Fetcher

    name, sequence = wild_type.name, wild_type.sequence

    def pack(path: Path) -> bytes:
        with path.open(encoding="utf-8", errors="replace") as lines:
            _, first = next(iterate_fasta(lines, path.name))
        if first.sequence != sequence:
            raise ValueError(f"the first row of {path.name}, {first.id}, is not the sequence of {name}")
        return _pack(read_alignment(path, sequence, name=name, alone_ok=True))

    try:
        found = Fetcher(offline=offline).alignment(name, sequence, pack, _unpack)
    except FetchError as error:
        return None, f"no alignment from AlphaFold DB, the library is used: {error.message}"
    if found is None:
        return None, f"AlphaFold DB has no alignment of {name}, the library is used"
    record, read = found
    if len(read.rows) == 1:
        return None, f"AlphaFold DB's alignment of {name} has no close relatives, the library is used"
    relatives = _relatives(read)
    facts = replace(
        relatives.facts,
        source=record.source,
        url=record.url,
        version=record.version,
        date=record.date,
        licence=LICENCE,
    )
    return replace(relatives, facts=facts), ""


_COUNTS: Final = ("n_read", "n_short", "n_distant", "first", "last")
_SETTINGS: Final = (MOST_ROWS, LEAST_COVER, LEAST_IDENTITY)


def _pack(read: Alignment) -> bytes:
    """Bytes of an .npz file; the same alignment gives the same bytes."""
    stream = io.BytesIO()
    counts = np.array([getattr(read, name) for name in _COUNTS], dtype=np.int64)
    text = np.array([read.name, read.sha256])
    np.savez_compressed(stream, rows=read.rows, counts=counts, text=text, settings=np.array(_SETTINGS))
    return stream.getvalue()


def _unpack(data: bytes) -> Alignment:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            if tuple(stored["settings"].tolist()) != _SETTINGS:
                raise ValueError("rows that another version of mutscan chose")
            counts = dict(zip(_COUNTS, stored["counts"].tolist(), strict=True))
            name, digest = stored["text"].tolist()
            return Alignment(name, digest, stored["rows"], **counts, differing=())
    except (KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"no packed alignment ({error})") from error


def relatives_for(wild_type: WildType, alignment: str | os.PathLike[str] = AUTO) -> Relatives | None:
    """Find the relatives of a protein outside the model's library.

    Parameters
    ----------
    wild_type : WildType
    alignment : path or {"auto", "library"}

    Returns
    -------
    Relatives or None
        None: the library is asked, for ``auto`` after `fetched_relatives`.

    Raises
    ------
    UsageError
        As `read_alignment`.
    """
    if alignment in (AUTO, LIBRARY):
        return None
    path = os.path.expanduser(alignment)
    return _relatives(read_alignment(path, wild_type.sequence, name=wild_type.name))


def _relatives(read: Alignment) -> Relatives:
    profile = profile_of(read.rows)
    facts = Source(
        source=read.name,
        sha256=read.sha256,
        first=read.first,
        last=read.last,
        differing=read.differing,
        rows_read=read.n_read,
        rows_short=read.n_short,
        rows_distant=read.n_distant,
        rows_kept=profile.n_rows,
        effective=round(profile.n_effective, 3),
    )
    return Relatives(facts, profile)
