"""What the network and the builder say of the pairs, for the baselines; from the functions that runs use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.calling import away_from_site, drop_z, measured_drop
from mutscan.pipeline.network import WildTypePredictor, protein_null
from mutscan.progress import Silent
from mutscan.structures import ca_by_position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.structures import WildType
    from mutscan.train.affected.pairs import CrystalPair


SCORES: Final = ("z", "predicted_drop", "measured")
"""Robust z of the predicted lDDT drop; that drop, below the null's median; drop of the built mutant. The
first two are not known at site ± 1."""


def gather_scores(
    model: LoadedModel,
    pairs: Sequence[CrystalPair],
    built: Mapping[int, NDArray[np.float64]],
    *,
    seed: int,
    progress: Progress,
) -> list[dict[str, NDArray[np.float64]]]:
    """Compute `SCORES` of each pair, shape (L,) each; NaN where no mutant was built.

    Parameters
    ----------
    model : LoadedModel
    pairs : sequence of CrystalPair
    built : mapping of place in `pairs` -> float array, shape (L,)
        Measured lDDT of built mutants.
    seed : int
        Random seed of the nulls.
    progress : Progress
    """
    of_wild_type: dict[WildType, list[int]] = {}
    for place, pair in enumerate(pairs):
        of_wild_type.setdefault(pair.wild_type, []).append(place)
    found: list[dict[str, NDArray[np.float64]]] = [{} for _ in pairs]
    progress.start("wild types and their background", len(of_wild_type))
    for wild_type, places in of_wild_type.items():
        predictor = WildTypePredictor(model, wild_type.sequence)
        null = protein_null(predictor, model, wild_type.sequence, seed=seed, progress=Silent())
        ca = ca_by_position(wild_type)
        for which, prediction in predictor.predict([pairs[place].variant for place in places]):
            place = places[which]
            positions, lddt = pairs[place].variant.positions, prediction.lddt.astype(np.float64)
            measured = np.full(len(lddt), np.nan)
            if place in built:
                measured, _ = measured_drop(built[place], positions, ca)
            # The input changes at site ± 1, so a drop there is no finding: it would tell where the site is.
            away = away_from_site(len(lddt), positions)
            predicted = drop_z(lddt, null, positions), null.residue_median - lddt
            values = (*(np.where(away, one, np.nan) for one in predicted), measured)
            found[place] = dict(zip(SCORES, values, strict=True))
        progress.advance()
    progress.finish()
    return found
