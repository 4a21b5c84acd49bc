"""Which evaluated proteins a calibration was fitted on, or has relatives among what it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd

from mutscan.errors import CheckpointError, UsageError
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.evidence.sequence import sequence_hash
from mutscan.train.splits import SPLIT_FILE, read_splits
from mutscan.train.word_sketches import related

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mutscan.evidence import Calibration

_NAMED: Final = 5


@dataclass(frozen=True, eq=False)
class Overlap:
    """What a calibration knows of the proteins of a table.

    Parameters
    ----------
    fitted : dict of name -> str
        Proteins it was fitted on, or whose relatives it was fitted on, and how that is known.
    kept_out : frozenset of str
        Proteins it kept for testing.
    compared : str
        What was compared, in words.
    """

    fitted: Mapping[str, str]
    kept_out: frozenset[str]
    compared: str

    def describe(self) -> str:
        """Say what was compared and found."""
        if not self.fitted:
            return f"{self.compared}: none shared"
        return f"{self.compared}: {len(self.fitted)} shared ({named(self.fitted)})"


NOT_COMPARED: Final = Overlap({}, frozenset(), "not compared (the model has no calibration)")


def find_overlap(proteins: pd.DataFrame, calibration: Calibration | None, path: Path) -> Overlap:
    """Compare the proteins of a table with those of a calibration.

    The same protein is known by its sequence; a relative by its group, where both tables number groups
    alike (they share a protein and its group), and by shared words of five residues.

    Parameters
    ----------
    proteins : DataFrame
        ``protein``, ``sequence``, perhaps ``group``.
    calibration : Calibration, optional
    path : Path
        The model's folder.

    Raises
    ------
    CheckpointError
        The calibration's sketches are damaged.
    """
    if calibration is None:
        return NOT_COMPARED
    names = proteins["protein"].astype(str).tolist()
    sequences = proteins["sequence"].astype(str).tolist()
    entries = calibration.document["proteins"]
    split = {str(entry[0]): str(entry[2]) for entry in entries.values()}
    group = {str(entry[0]): str(entry[1]) for entry in entries.values()}
    called = {str(entry[0]): str(name) for name, entry in entries.items()}
    digests = [sequence_hash(sequence) for sequence in sequences]
    fitted: dict[str, str] = {}
    for name, digest in zip(names, digests, strict=True):
        if split.get(digest) == "fit":
            fitted[name] = "itself" if called[digest] == name else f"as {called[digest]}"
    own = proteins["group"].astype(str).tolist() if "group" in proteins else [""] * len(names)
    alike = any(group.get(digest) == number for digest, number in zip(digests, own, strict=True))
    if alike:
        seen = {str(entry[1]): str(name) for name, entry in entries.items() if str(entry[2]) == "fit"}
        for name, number in zip(names, own, strict=True):
            if number in seen:
                fitted.setdefault(name, f"group {number}, as {seen[number]}")
    sketches = calibration.document.get("words")
    if sketches:
        try:
            close = related(sequences, sketches)
        except ValueError as error:
            raise CheckpointError(f"{path / CALIBRATION_FILE}: {error}; copy it again") from error
        for row, (other, share) in close.items():
            fitted.setdefault(names[row], f"shares about {share:.0%} of its words with {other}")
    compared = "proteins by sequence" + (", groups" if alike else "")
    compared += ", shared words of five residues" if sketches else " (no relatives: an older calibration)"
    kept_out = {name for name, digest in zip(names, digests, strict=True) if split.get(digest) == "test"}
    return Overlap(fitted, frozenset(kept_out), compared)


def refuse_overlap(overlap: Overlap, n_proteins: int, table: Path) -> None:
    """Stop when labels of evaluated proteins, or of their relatives, were fitted.

    Raises
    ------
    UsageError
        Naming them.
    """
    if overlap.fitted:
        raise UsageError(
            f"{table}: the model's calibration was fitted on {len(overlap.fitted)} of these {n_proteins} "
            f"proteins or on relatives ({named(overlap.fitted)}); evaluate on those it kept out with "
            "--split test, or on other proteins (--split train to see how it does on what it knows)"
        )


def seen_in_training(proteins: pd.DataFrame, path: Path) -> str:
    """Say how many of the proteins had their structure, but no label, in the network's training."""
    if not (path / SPLIT_FILE).is_file():
        return "not compared (the model has no split list)"
    known = {entry.digest for entry in read_splits(path / SPLIT_FILE).values() if entry.split != "test"}
    names = [
        str(name)
        for name, sequence in zip(proteins["protein"], proteins["sequence"], strict=True)
        if sequence_hash(str(sequence)) in known
    ]
    some = f" ({', '.join(names[:_NAMED])}{' ...' if len(names) > _NAMED else ''})" if names else ""
    return (
        f"{len(names)} of {len(proteins)} proteins{some} were in the network's training with their "
        "structure; it saw no label of a variant"
    )


def named(fitted: Mapping[str, str]) -> str:
    """Name the first proteins and why they count as known."""
    some = [name if how == "itself" else f"{name}: {how}" for name, how in list(fitted.items())[:_NAMED]]
    return "; ".join(some) + (" ..." if len(fitted) > _NAMED else "")
