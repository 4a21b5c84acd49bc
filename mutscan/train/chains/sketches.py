"""Recognise relatives of proteins without their sequences, from sketches of their words.

A sketch keeps the words of five residues whose hash falls into one sixteenth of its range, the same words
for every sequence. Two sketches therefore share about the same fraction of words as their sequences (Brown
and Irber, Zenodo 58095 (2016), "scaled MinHash").
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.train.chains.relatives import LINKED, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

WORD: Final = 5
_FEWEST: Final = 2  # words that two sketches must share: one may be shared by chance


def word_sketch(sequence: str) -> str:
    """Sketch of a sequence as base64 text, three bytes per word."""
    numbers = _kept(sequence).astype("<u4").view(np.uint8).reshape(-1, 4)
    return base64.b64encode(numbers[:, :3].tobytes()).decode()


def related(
    sequences: Sequence[str], sketches: Mapping[str, str], *, share: float = LINKED
) -> dict[int, tuple[str, float]]:
    """Find the closest known protein of each sequence that has a close one.

    Parameters
    ----------
    sequences : sequence of str
    sketches : mapping of name -> sketch
    share : float
        Smallest share of the words of the shorter one.

    Returns
    -------
    dict
        Place in `sequences` -> name of the known protein and estimated share.
    """
    names = list(sketches)
    known = [_decoded(sketches[name]) for name in names]
    where: dict[int, list[int]] = {}
    for place, words in enumerate(known):
        for word in words.tolist():
            where.setdefault(word, []).append(place)
    found = {}
    for row, sequence in enumerate(sequences):
        own = _kept(sequence)
        shared = Counter(place for word in own.tolist() for place in where.get(word, ()))
        shares = {
            place: count / max(min(len(own), len(known[place])), 1)
            for place, count in shared.items()
            if count >= _FEWEST
        }
        best = max(shares, key=lambda place: (shares[place], -place), default=None)
        if best is not None and shares[best] >= share:
            found[row] = (names[best], shares[best])
    return found


def _kept(sequence: str) -> NDArray[np.int64]:
    words = np.unique(words_of(sequence, WORD))
    mixed = (words.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(60)  # wraps round
    kept: NDArray[np.int64] = words[mixed == 0]
    return kept


def _decoded(text: str) -> NDArray[np.int64]:
    try:
        data = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8).reshape(-1, 3)
    except binascii.Error as error:
        raise ValueError(f"not a sketch of words: {text[:20]!r}") from error
    words: NDArray[np.int64] = data.astype(np.int64) @ np.array([1, 1 << 8, 1 << 16])
    return words
