"""Where a protein's relatives come from: the alignment that a run names."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from mutscan.alignments.profile import profile_of
from mutscan.alignments.read import read_alignment

if TYPE_CHECKING:
    from mutscan.evidence import AlignedProfile
    from mutscan.structures import WildType

AUTO: Final = "auto"
LIBRARY: Final = "library"
"""Values of ``--alignment`` that are no file."""


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
    rows_read : int
        Rows of the file, the wild type among them.
    rows_short, rows_distant : int
        Rows left out for their cover, and of the others for their identity.
    rows_kept : int
        Rows of the profile, the wild type among them.
    effective : float
        Their effective number, where those with at least 80 % identity count as one together.
    """

    source: str
    sha256: str
    first: int
    last: int
    rows_read: int
    rows_short: int
    rows_distant: int
    rows_kept: int
    effective: float


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
        return asdict(self.facts)

    @property
    def words(self) -> str:
        """What was read and kept, for the log."""
        facts = self.facts
        return (
            f"alignment {facts.source}, positions {facts.first}-{facts.last}: {facts.rows_read:,} rows read, "
            f"{facts.rows_short:,} too short, {facts.rows_distant:,} too distant, {facts.rows_kept:,} kept "
            f"without duplicates, effective number {facts.effective:,.1f}"
        )


def relatives_for(wild_type: WildType, alignment: str | os.PathLike[str] = AUTO) -> Relatives | None:
    """Find the relatives of a protein outside the model's library.

    Parameters
    ----------
    wild_type : WildType
    alignment : path or {"auto", "library"}

    Returns
    -------
    Relatives or None
        None: the library alone is asked.

    Raises
    ------
    UsageError
        As `read_alignment`.
    """
    if alignment in (AUTO, LIBRARY):
        return None
    path = os.path.expanduser(alignment)
    read = read_alignment(path, wild_type.sequence, name=wild_type.name)
    profile = profile_of(read.rows)
    facts = Source(
        source=read.name,
        sha256=read.sha256,
        first=read.first,
        last=read.last,
        rows_read=read.n_read,
        rows_short=read.n_short,
        rows_distant=read.n_distant,
        rows_kept=profile.n_rows,
        effective=round(profile.n_effective, 3),
    )
    return Relatives(facts, profile)
