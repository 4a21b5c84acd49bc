"""Find the evaluated proteins that a calibration was fitted on, and their relatives."""

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
    """Proteins of a table that a calibration was fitted on.

    Parameters
    ----------
    fitted : dict of name -> str
        Proteins that it was fitted on, or on whose relatives, and how that was found.
    same_labels : frozenset of str
        Those for which it was fitted on labels of the evaluated kind.
    kept_out : frozenset of str
        Proteins whose labels of this kind were kept for testing.
    compared : str
        Description of what was compared.
    """

    fitted: Mapping[str, str]
    same_labels: frozenset[str]
    kept_out: frozenset[str]
    compared: str

    def describe(self) -> str:
        """Describe what was compared and found."""
        if not self.fitted:
            return self.compared if self is NOT_COMPARED else f"{self.compared}: none shared"
        return f"{self.compared}: {len(self.fitted)} shared ({named(self.fitted)})"


NOT_COMPARED: Final = Overlap({}, frozenset(), frozenset(), "not compared (the model has no calibration)")

_RANKED: Final = ("dms", "stability")
"""Kinds of labels that entries of a calibration name before a colon; other entries are labelled variants."""

_ALIKE: Final = 0.9  # share of common proteins in the same group, from which group numbers are the same


def find_overlap(proteins: pd.DataFrame, calibration: Calibration | None, path: Path, kind: str) -> Overlap:
    """Compare the proteins of a table with those of a calibration.

    A protein is recognised by its sequence; a relative by its group, where both tables use the same group
    numbers, and by shared words of five residues.

    Parameters
    ----------
    proteins : DataFrame
        ``protein``, ``sequence``, optionally ``group``.
    calibration : Calibration, optional
    path : Path
        The model's folder.
    kind : {"variants", "dms", "stability"}
        Kind of the evaluated labels.

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
    """Refuse a table with proteins, or relatives, whose labels of this kind were fitted.

    Raises
    ------
    UsageError
        There are such proteins; the message names some.
    """
    if overlap.same_labels:
        shared = {name: how for name, how in overlap.fitted.items() if name in overlap.same_labels}
        raise UsageError(
            f"{table}: the model's calibration was fitted on {len(shared)} of these {n_proteins} "
            f"proteins or on relatives ({named(shared)}); evaluate the proteins it was tested on with "
            "--split test, those it does not know with --skip-overlap, or other proteins (--split train "
            "evaluates the fitted ones)"
        )


def seen_in_training(proteins: pd.DataFrame, path: Path) -> str:
    """Count the proteins whose structure, but no label, was in the training of the network."""
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
    """Name the first proteins and how they were found."""
    some = [name if how == "itself" else f"{name}: {how}" for name, how in list(fitted.items())[:_NAMED]]
    return "; ".join(some) + (" ..." if len(fitted) > _NAMED else "")
