"""All scores of a mutant structure against its wild type."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mutscan.scores.coordinates import checked_coordinates, has_coordinates
from mutscan.scores.local import EXPONENT, Neighbourhood
from mutscan.scores.superposition import squared_distances, tm_score

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class StructureScores:
    """Scores of a mutant structure against its wild type.

    Parameters
    ----------
    tm_score, tm_score_mutant : float
        Normalised by the length of the wild type, and of the mutant.
    lddt : float array, shape (L,)
        Custom lDDT (exponent 3) of each wild-type residue; NaN where it has no counterpart.
    lddt_plain : float array, shape (L,)
        The same with exponent 0.
    ca_shift : float array, shape (L,), Å
        C-alpha distance of each residue to its counterpart, in the superposition of `tm_score`.
    rmsd : float, Å
        Of all counterparts after their least-squares superposition.
    coverage : float
        Share of the wild type's residues that have a counterpart. lDDT sees only those.
    rotation : float array, shape (3, 3)
    translation : float array, shape (3,), Å
        ``mutant @ rotation.T + translation`` lies on the wild type, in the superposition of `tm_score`.
    """

    tm_score: float
    tm_score_mutant: float
    lddt: NDArray[np.float64] = field(repr=False)
    lddt_plain: NDArray[np.float64] = field(repr=False)
    ca_shift: NDArray[np.float64] = field(repr=False)
    rmsd: float
    coverage: float
    rotation: NDArray[np.float64] = field(repr=False)
    translation: NDArray[np.float64] = field(repr=False)


def score_structures(
    reference_ca: ArrayLike, model_ca: ArrayLike, pairs: ArrayLike | None = None
) -> StructureScores:
    """Measure a mutant structure against the wild type.

    Parameters
    ----------
    reference_ca : float array, shape (L, 3), Å
        C-alpha coordinates of the wild type; NaN where missing.
    model_ca : float array, shape (L2, 3), Å
        Those of the mutant.
    pairs : int array, shape (n, 2), optional
        Corresponding residues (0-based; wild type, mutant), each at most once. Without it the two have the
        same length and correspond one to one.

    Returns
    -------
    StructureScores

    Raises
    ------
    StructureError
        Fewer than 3 pairs have coordinates.
    """
    reference, model = (
        checked_coordinates(reference_ca, "reference_ca"),
        checked_coordinates(model_ca, "model_ca"),
    )
    length = len(reference)
    if pairs is None:
        if len(model) != length:
            raise ValueError(
                f"the wild type has {length} residues, the mutant {len(model)}: give their pairs"
            )
        counterpart = model
    else:
        index = np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
        if index.size and (index.min() < 0 or index[:, 0].max() >= length or index[:, 1].max() >= len(model)):
            raise ValueError(f"pairs go beyond the {length} and {len(model)} residues")
        if any(np.unique(column).size < column.size for column in index.T):
            raise ValueError("pairs use a residue twice")
        counterpart = np.full((length, 3), np.nan)
        counterpart[index[:, 0]] = model[index[:, 1]]
    tm = tm_score(reference, counterpart, normalise_by=length, model_length=len(model))
    both = has_coordinates(reference) & has_coordinates(counterpart)
    # Only aligned residues are each other's neighbours.
    custom, plain = Neighbourhood(np.where(both[:, None], reference, np.nan)).scores(
        counterpart, exponents=(EXPONENT, 0.0)
    )
    shift = np.sqrt(squared_distances(reference, counterpart, tm.rotation, tm.translation))
    return StructureScores(
        tm_score=tm.tm_score,
        tm_score_mutant=tm.tm_score_model,
        lddt=custom,
        lddt_plain=plain,
        ca_shift=shift,
        rmsd=tm.rmsd,
        coverage=float(both.mean()),
        rotation=tm.rotation,
        translation=tm.translation,
    )
