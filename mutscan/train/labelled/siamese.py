"""What the Siamese net says of many proteins' variants: windows round the sites, a sampled null, all on disk.

A mutant costs a pass of the encoder over all residues of its window, so a seeded sample of the variants
is scored: whole proteins are drawn, because each brings its null of 64 substitutions along.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.calling import MAD_TO_SD, mean_away_from_site, percentile, sample_null
from mutscan.pipeline.network import WildTypePredictor
from mutscan.residues import STANDARD
from mutscan.results import read_arrays, write_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable

WINDOW: Final = 512
"""Longest stretch of a protein that is compared at once. Shorter proteins are compared in full, as
`mutscan score` does it."""

FEWEST_A_PROTEIN: Final = 50
"""At most so many variants of a protein are drawn, more only where there are too few proteins."""

SIAMESE: Final = ("tm", "lddt_mean", "lddt_site", "tm_z", "lddt_z", "tm_percentile", "lddt_percentile")
"""Predicted TM-score; mean lDDT outside site ± 1; lDDT at the site; robust z and percentiles of the first
two."""

_STORED_AFTER: Final = 256  # mutants: so many passes a kill can cost


def window_of(index: int, length: int) -> tuple[int, int]:
    """Stretch of a protein, half open, in which a site is looked at.

    All of it up to `WINDOW` residues; else the one of the windows every half `WINDOW` whose middle is
    nearest: at least a quarter of a window lies to each side, as far as the protein goes.

    Examples
    --------
    >>> window_of(3, 300), window_of(3, 900), window_of(600, 900)
    ((0, 300), (0, 512), (388, 900))
    """
    if length <= WINDOW:
        return 0, length
    starts = [*range(0, length - WINDOW, WINDOW // 2), length - WINDOW]
    start = min(starts, key=lambda s: (abs(2 * (index - s) - WINDOW + 1), s))
    return start, start + WINDOW


def draw_variants(table: VariantTable, wanted: int, *, seed: int = 0) -> NDArray[np.bool_]:
    """Draw about `wanted` variants in whole proteins, shape (n,).

    Proteins are taken in a seeded order until there are enough variants; of each as many as `wanted`
    divided by the number of proteins, at least `FEWEST_A_PROTEIN`. The draw depends on names and
    variants alone, not on their order in the file.
    """
    chosen = np.zeros(len(table), dtype=np.bool_)
    proteins = np.unique(table.protein)
    most = max(FEWEST_A_PROTEIN, -(-wanted // max(len(proteins), 1)))
    names = table.proteins["protein"].astype(str).tolist()
    order = sorted(proteins.tolist(), key=lambda p: hashlib.sha256(f"{seed}\n{names[p]}".encode()).digest())
    total = 0
    for protein in order:
        if total >= wanted:
            break
        rows = np.flatnonzero(table.protein == protein)
        some = min(len(rows), most)
        digest = hashlib.sha256(f"{seed}\n{names[protein]}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        chosen[generator.choice(rows, some, replace=False)] = True
        total += some
    return chosen


class SiameseScorer:
    """Siamese scores of variants, protein by protein.

    Parameters
    ----------
    model : LoadedModel
    work : Path
        Keeps what is finished; a broken run continues.
    identity : str
        Hash of the net's weights.
    seed : int
        Of the null.
    """

    def __init__(self, model: LoadedModel, work: Path, identity: str, *, seed: int = 0) -> None:
        self._model = model
        self._work = work
        self._identity = "\n".join(("2", identity, model.encoder.key, str(model.encoder.device)))
        self._seed = seed

    def count(self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> int:
        """Mutants that `score` will look at, null included."""
        return len(self._mutants(sequence, index, mutant)[0])

    def score(
        self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64], progress: Progress
    ) -> dict[str, NDArray[np.float64]]:
        """Score n substitutions of one protein, `SIAMESE`, shape (n,) each.

        Parameters
        ----------
        sequence : str
        index, mutant : int array, shape (n,)
            Replaced residue, 0-based, and what replaces it, its place in `STANDARD`.
        progress : Progress
            Advanced by each mutant.
        """
        wanted, null = self._mutants(sequence, index, mutant)
        scores = {one: np.empty(3) for one in wanted}
        by_window: dict[tuple[int, int], list[tuple[int, str]]] = {}
        for one in wanted:
            by_window.setdefault(window_of(one[0], len(sequence)), []).append(one)
        for window, ones in sorted(by_window.items()):
            for first in range(0, len(ones), _STORED_AFTER):
                some = ones[first : first + _STORED_AFTER]
                for one, row in zip(some, self._stored(sequence, window, some), strict=True):
                    scores[one] = row
                progress.advance(len(some))
        asked = np.array([scores[one] for one in _keys(index, mutant)]).reshape(-1, 3)
        background = np.array([scores[one] for one in null]).reshape(-1, 3)
        z = [_robust_z(asked[:, column], background[:, column]) for column in (0, 1)]
        ranks = [_percentiles(asked[:, column], background[:, column]) for column in (0, 1)]
        return dict(zip(SIAMESE, (*asked.T, *z, *ranks), strict=True))

    def _mutants(
        self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]
    ) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Substitutions (0-based site, letter) to look at, sorted, each once; and those of the null."""
        drawn = [variant.substitutions[0] for variant in sample_null(sequence, seed=self._seed)]
        null = [(one.position - 1, one.mutant) for one in drawn]
        return sorted({*null, *_keys(index, mutant)}), null

    def _stored(
        self, sequence: str, window: tuple[int, int], ones: list[tuple[int, str]]
    ) -> NDArray[np.float64]:
        """TM-score, mean lDDT and lDDT at the site, shape (m, 3), of mutants of one window."""
        start, stop = window
        text = "\n".join((self._identity, sequence[start:stop], *(f"{i - start}{m}" for i, m in ones)))
        path = self._work / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        stored = read_arrays(path)
        if stored is None:
            stored = {"scores": self._compute(sequence[start:stop], [(i - start, m) for i, m in ones])}
            write_arrays(path, **stored)
        scores: NDArray[np.float64] = stored["scores"]
        return scores

    def _compute(self, sequence: str, ones: list[tuple[int, str]]) -> NDArray[np.float64]:
        mutants = [sequence[:i] + letter + sequence[i + 1 :] for i, letter in ones]
        parts = []
        for tm, lddt in _WindowPredictor(self._model, sequence).predict_batches([mutants]):
            for score, profile, (i, _) in zip(tm.tolist(), lddt, ones, strict=True):
                parts.append((score, mean_away_from_site(profile, (i + 1,)), float(profile[i])))
        return np.array(parts, dtype=np.float64).reshape(-1, 3)


class _WindowPredictor(WildTypePredictor):
    """One of a window, whose embedding nobody will ask for again: it is not put into the user's cache."""

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        return self._model.encoder.embed_one(self._sequence)


def _keys(index: NDArray[np.int64], mutant: NDArray[np.int64]) -> list[tuple[int, str]]:
    return [(i, STANDARD[m]) for i, m in zip(index.tolist(), mutant.tolist(), strict=True)]


def _robust_z(values: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """`mutscan.calling.robust_z` of many values; NaN when the null has no spread."""
    known = null[np.isfinite(null)]
    if not len(known):
        return np.full(len(values), np.nan)
    median = np.median(known)
    scale = MAD_TO_SD * np.median(np.abs(known - median))
    z: NDArray[np.float64] = (values - median) / scale if scale > 0 else np.full(len(values), np.nan)
    return z


def _percentiles(values: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """`mutscan.calling.percentile` of many values."""
    return np.array([percentile(value, null) for value in values.tolist()], dtype=np.float64)
