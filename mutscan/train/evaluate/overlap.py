"""Which evaluated proteins a calibration was fitted on, or has relatives among what it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pandas as pd

from mutscan.errors import CheckpointError, UsageError
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.evidence.sequence import sequence_hash
from mutscan.train.chains.sketches import related
from mutscan.train.chains.splits import SPLIT_FILE, read_splits

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
    same_labels : frozenset of str
        Those of them of which it was fitted on labels of the kind that is evaluated.
    kept_out : frozenset of str
        Proteins whose labels of this kind it kept for testing.
    compared : str
        What was compared, in words.
    """

    fitted: Mapping[str, str]
    same_labels: frozenset[str]
    kept_out: frozenset[str]
    compared: str

    def describe(self) -> str:
        """Say what was compared and found."""
        if not self.fitted:
            return self.compared if self is NOT_COMPARED else f"{self.compared}: none shared"
        return f"{self.compared}: {len(self.fitted)} shared ({named(self.fitted)})"


NOT_COMPARED: Final = Overlap({}, frozenset(), frozenset(), "not compared (the model has no calibration)")

_RANKED: Final = ("dms", "stability")
"""Kinds of labels that a calibration's entries name before a colon; the others are labelled variants."""

_ALIKE: Final = 0.9  # share of common proteins with the same group from which both number groups alike


def find_overlap(proteins: pd.DataFrame, calibration: Calibration | None, path: Path, kind: str) -> Overlap:
    """Compare the proteins of a table with those of a calibration.

    The same protein is known by its sequence; a relative by its group, where both tables number groups
    alike, and by shared words of five residues.

    Parameters
    ----------
    proteins : DataFrame
        ``protein``, ``sequence``, perhaps ``group``.
    calibration : Calibration, optional
    path : Path
        The model's folder.
    kind : {"variants", "dms", "stability"}
        What is evaluated.

    Raises
    ------
    CheckpointError
        The calibration's sketches are damaged.
    """
    if calibration is None:
        return NOT_COMPARED
    names = proteins["protein"].astype(str).tolist()
    sequences = proteins["sequence"].astype(str).tolist()
    digests = [sequence_hash(sequence) for sequence in sequences]
    own = proteins["group"].astype(str).tolist() if "group" in proteins else []
    fitted: dict[str, str] = {}
    same_labels: set[str] = set()
    kept_out: frozenset[str] = frozenset()
    by_group = False
    sketches = calibration.document.get("words")
    entries = {str(name): [str(x) for x in entry] for name, entry in calibration.document["proteins"].items()}
    for same in (True, False):
        known = {name: entry for name, entry in entries.items() if (_kind_of(name) == kind) is same}
        found = {}
        fit = {digest: name for name, (digest, _, part) in known.items() if part == "fit"}
        for name, digest in zip(names, digests, strict=True):
            if digest in fit:
                found[name] = "itself" if fit[digest] == name else f"as {fit[digest]}"
        group = {digest: number for digest, number, _ in known.values()}
        agree = [group[d] == number for d, number in zip(digests, own, strict=False) if d in group]
        if agree and sum(agree) >= _ALIKE * len(agree):
            by_group = True
            seen = {number: name for name, (_, number, part) in known.items() if part == "fit"}
            for name, number in zip(names, own, strict=True):
                if number in seen:
                    found.setdefault(name, f"group {number}, as {seen[number]}")
        if sketches:
            try:
                close = related(sequences, {name: sketches[name] for name in known if name in sketches})
            except ValueError as error:
                raise CheckpointError(f"{path / CALIBRATION_FILE}: {error}; copy it again") from error
            for row, (other, share) in close.items():
                found.setdefault(names[row], f"shares about {share:.0%} of its words with {other}")
        fitted = {**found, **fitted}
        if same:
            same_labels = set(found)
            tested = {digest for digest, _, part in known.values() if part == "test"}
            kept_out = frozenset(name for name, d in zip(names, digests, strict=True) if d in tested)
    compared = "proteins by sequence" + (", groups" if by_group else "")
    compared += ", shared words of five residues" if sketches else " (no relatives: an older calibration)"
    ordered = {name: fitted[name] for name in names if name in fitted}
    return Overlap(ordered, frozenset(same_labels), kept_out, compared)


def _kind_of(entry: str) -> str:
    """Kind of labels that an entry of calibration.json was fitted on."""
    prefix = entry.partition(":")[0]
    return prefix if prefix in _RANKED and prefix != entry else "variants"


def refuse_overlap(overlap: Overlap, n_proteins: int, table: Path) -> None:
    """Stop when labels of this kind, of evaluated proteins or of their relatives, were fitted.

    Raises
    ------
    UsageError
        Naming them.
    """
    if overlap.same_labels:
        shared = {name: how for name, how in overlap.fitted.items() if name in overlap.same_labels}
        raise UsageError(
            f"{table}: the model's calibration was fitted on {len(shared)} of these {n_proteins} "
            f"proteins or on relatives ({named(shared)}); evaluate on those it kept out with "
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
