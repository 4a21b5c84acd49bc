"""Siamese scores of the variants of many proteins, kept on disk: windows around sites, a sampled null.

A mutant needs a pass of the encoder over all residues of its window, so only a seeded sample of the
variants is scored. Whole proteins are drawn, because each protein needs its null of 64 substitutions.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.calling import mean_away_from_site, percentile, robust_z, sample_null
from mutscan.hashes import text_sha256
from mutscan.pipeline.network import WildTypePredictor
from mutscan.residues import STANDARD
from mutscan.results import read_arrays, write_arrays
from mutscan.train.statistics.classifier import rows_of_each

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.tables import VariantTable

WINDOW: Final = 512
"""Longest part of a protein that is compared at once. Shorter proteins are compared in full, as in
`mutscan score`."""

FEWEST_A_PROTEIN: Final = 50
"""Most variants drawn of a protein, unless there are too few proteins."""

SIAMESE: Final = ("tm", "lddt_mean", "lddt_site", "tm_z", "lddt_z", "tm_percentile", "lddt_percentile")
"""Predicted TM-score; mean lDDT outside site ± 1; lDDT at the site; robust z and percentiles of the first
two."""

LOW_TM: Final = 0.5
"""TM-score below which two folds differ. As a rule for single variants it flags nearly nothing."""

_STORED_AFTER: Final = 256  # mutants: the passes that a kill can lose


def window_of(index: int, length: int) -> tuple[int, int]:
    """Part of a protein (start, stop) in which a site is scored.

    Proteins of up to `WINDOW` residues are taken in full. Longer ones are cut into windows that start every
    half `WINDOW`, and the window whose middle is nearest to the site is taken.

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

    Proteins are taken in a seeded order until there are enough variants. Each gives as many as `wanted`
    divided by the number of proteins, or `FEWEST_A_PROTEIN` where that is more. The draw depends only on
    names and variants, not on their order in the file.
    """
    chosen = np.zeros(len(table), dtype=np.bool_)
    proteins = np.unique(table.protein)
    most = max(FEWEST_A_PROTEIN, -(-wanted // max(len(proteins), 1)))
    names = table.proteins["protein"].astype(str).tolist()
    digests = {p: text_sha256(f"{seed}\n{names[p]}") for p in proteins.tolist()}
    total = 0
    for protein in sorted(digests, key=lambda p: digests[p]):
        if total >= wanted:
            break
        rows = np.flatnonzero(table.protein == protein)
        some = min(len(rows), most)
        generator = np.random.default_rng(int.from_bytes(bytes.fromhex(digests[protein][:16]), "little"))
        chosen[generator.choice(rows, some, replace=False)] = True
        total += some
    return chosen


class SiameseScorer:
    """Siamese scores of variants, protein by protein.

    Parameters
    ----------
    model : LoadedModel
    work : Path
        Folder of finished scores; an interrupted run resumes from them.
    identity : str
        Hash of the net's weights.
    seed : int
        Random seed of the null.
    """

    def __init__(self, model: LoadedModel, work: Path, identity: str, *, seed: int = 0) -> None:
        self._model = model
        self._work = work
        self._identity = "\n".join(("2", identity, model.encoder.key, str(model.encoder.device)))
        self._seed = seed

    def count(self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> int:
        """Count the mutants that `score` will compare, the null included."""
        return len(self._mutants(sequence, index, mutant)[0])

    def score(
        self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64], progress: Progress
    ) -> dict[str, NDArray[np.float64]]:
        """Score n substitutions of one protein, `SIAMESE`, shape (n,) each.

        Parameters
        ----------
        sequence : str
        index, mutant : int array, shape (n,)
            Replaced residue, 0-based, and the new residue as its place in `STANDARD`.
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
        ranked = [
            np.array([place(value, background[:, column]) for value in asked[:, column].tolist()])
            for place in (robust_z, percentile)
            for column in (0, 1)
        ]
        return dict(zip(SIAMESE, (*asked.T, *ranked), strict=True))

    def _mutants(
        self, sequence: str, index: NDArray[np.int64], mutant: NDArray[np.int64]
    ) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
        """Substitutions (0-based site, letter) to compare, sorted, each once; and those of the null."""
        drawn = [variant.substitutions[0] for variant in sample_null(sequence, seed=self._seed)]
        null = [(one.position - 1, one.mutant) for one in drawn]
        return sorted({*null, *_keys(index, mutant)}), null

    def _stored(
        self, sequence: str, window: tuple[int, int], ones: list[tuple[int, str]]
    ) -> NDArray[np.float64]:
        """TM-score, mean lDDT and lDDT at the site, shape (m, 3), of mutants of one window."""
        start, stop = window
        text = "\n".join((self._identity, sequence[start:stop], *(f"{i - start}{m}" for i, m in ones)))
        path = self._work / f"{text_sha256(text)[:32]}.npz"
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


def score_drawn(
    scorer: SiameseScorer, table: VariantTable, drawn: NDArray[np.bool_], progress: Progress
) -> dict[str, NDArray[np.float64]]:
    """Score the drawn variants of a table, protein by protein: `SIAMESE`, shape (n,) each, NaN elsewhere."""
    scores = {name: np.full(len(table), np.nan) for name in SIAMESE}
    sequences = table.proteins["sequence"].astype(str).tolist()
    chosen = np.flatnonzero(drawn)
    todo = [
        (chosen[rows], (sequences[p], table.index[chosen[rows]], table.mutant[chosen[rows]]))
        for p, rows in rows_of_each(table.protein[chosen]).items()
    ]
    progress.start("mutants through the Siamese net", sum(scorer.count(*one) for _, one in todo))
    for rows, one in todo:
        for name, values in scorer.score(*one, progress).items():
            scores[name][rows] = values
    progress.finish()
    return scores


class _WindowPredictor(WildTypePredictor):
    """Predictor of a window; the embedding is not reused, so it is not put into the user's cache."""

    @cached_property
    def embedding(self) -> NDArray[np.float32]:
        return self._model.encoder.embed_one(self._sequence)


def _keys(index: NDArray[np.int64], mutant: NDArray[np.int64]) -> list[tuple[int, str]]:
    return [(i, STANDARD[m]) for i, m in zip(index.tolist(), mutant.tolist(), strict=True)]
