"""Structures for proteins that name none: chains of a table whose sequence is a part of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.errors import UsageError
from mutscan.structures.mapping import MIN_IDENTITY, MIN_PLACED, place_residues
from mutscan.train.chains.relatives import shared_words

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_CANDIDATE: Final = 0.6  # share of a chain's words of five: a few exchanges and gaps are allowed
_SHORTEST: Final = 30

Shape = tuple["NDArray[np.float64]", "NDArray[np.float64] | None"]
"""C-alpha atoms (L, 3) and pLDDT (L,) on a sequence of L, NaN where there is nothing."""


def chains_on_sequences(table: Path, sequences: Sequence[str]) -> dict[int, list[Shape]]:
    """Lay chains of a table (``sequence``, ``ca`` as in structures.parquet) out on sequences they belong to.

    Parameters
    ----------
    table : Path
        Parquet; a column ``kind`` may mark chains ``designed``, which are left out.
    sequences : sequence of str

    Returns
    -------
    dict of place in `sequences` -> list of (C-alpha, pLDDT)
        Those that cover most first.

    Raises
    ------
    UsageError
        It is no such table.
    """
    try:
        chains = pd.read_parquet(table)
        letters, atoms = chains["sequence"].astype(str).tolist(), chains["ca"].tolist()
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{table}: cannot be read as a table of chains ({error}); expected Parquet with sequence and ca"
        ) from error
    kinds = chains["kind"].tolist() if "kind" in chains else [""] * len(chains)
    confidence = chains["plddt"].tolist() if "plddt" in chains else [None] * len(chains)
    found: dict[int, list[Shape]] = {}
    for rows, others, share in shared_words(letters, list(sequences)):
        near = share >= _CANDIDATE
        for chain, place in zip(rows[near].tolist(), others[near].tolist(), strict=True):
            if kinds[chain] == "designed" or len(letters[chain]) < _SHORTEST:
                continue
            ca = np.frombuffer(atoms[chain], "<i2").reshape(-1, 3) / 100.0
            plddt = confidence[chain]
            values = None if plddt is None else np.frombuffer(plddt, np.uint8).astype(np.float64)
            shape = _laid_out(letters[chain], ca, values, sequences[place])
            if shape is not None:
                found.setdefault(place, []).append(shape)
    for shapes in found.values():
        shapes.sort(key=lambda shape: -int(np.isfinite(shape[0][:, 0]).sum()))
    return found


def _laid_out(
    observed: str, ca: NDArray[np.float64], plddt: NDArray[np.float64] | None, sequence: str
) -> Shape | None:
    places = place_residues(observed, np.zeros(len(observed), dtype=np.int64), ca, sequence)
    placed = np.flatnonzero(places >= 0)
    if len(placed) < max(_SHORTEST, MIN_PLACED * len(observed)):
        return None
    own = np.frombuffer(observed.encode(), np.uint8)[placed]
    given = np.frombuffer(sequence.encode(), np.uint8)[places[placed]]
    if (own == given).mean() < MIN_IDENTITY:
        return None
    placed = placed[own == given]
    atoms = np.full((len(sequence), 3), np.nan)
    atoms[places[placed]] = ca[placed]
    if plddt is None:
        return atoms, None
    confidence = np.full(len(sequence), np.nan)
    confidence[places[placed]] = plddt[placed]
    return atoms, confidence
