"""Fit the additive model of affected residues: a penalised logistic regression on curves.

Cross-fitted predictions come from fits that saw no crystal of the residue's group. Platt scaling of these
predictions makes the fit on all groups calibrated: it shrinks what was overfitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.additive import AdditiveModel
from mutscan.train.statistics.fits import (
    Blocks,
    curve_of,
    curve_penalty,
    folds_of,
    knots_of,
    logistic,
    platt,
    put_curve,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.train.affected.pairs import CrystalPair
    from mutscan.train.affected.truth import Truth

GROUP_CAP: Final = 5.0
"""All pairs of one group together weigh at most as much as this many pairs."""

N_FOLDS: Final = 5

_KNOTS: Final = 5
_SIZE: Final = 1.0  # penalty on the values of a curve, in units of residues
_BEND: Final = 10.0  # penalty on their second differences

PIECES: Final[Mapping[str, tuple[str, ...]]] = {"sequence": ("separation",), "structure": ("distance",)}
"""Evidence that each tier weighs."""

CANDIDATE: Final = ("distance", "coupling", "flexibility", "loop")
"""The best of some 45 sets of evidence that were tried. Its AUROC is higher than that of distance, but little
more than the choice among so many explains: it is measured, not used."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Residues of all pairs, one after the other.

    Parameters
    ----------
    evidence : mapping of name -> float array, shape (n,)
        `mutscan.calling.residue_model.EVIDENCE`.
    changed : bool array, shape (n,)
    near : bool array, shape (n,)
        In the half of the residues nearer to the exchanged one.
    pair, group : int array, shape (n,)
        Number of the pair and of its group of related chains.
    weight : float array, shape (n,)
        So that no group weighs more than `GROUP_CAP` pairs.
    """

    evidence: Mapping[str, NDArray[np.float64]]
    changed: NDArray[np.bool_]
    near: NDArray[np.bool_]
    pair: NDArray[np.int64]
    group: NDArray[np.int64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        """Count residues."""
        return len(self.changed)

    def take(self, mask: NDArray[np.bool_]) -> Rows:
        """Choose residues by a mask."""
        evidence = {name: values[mask] for name, values in self.evidence.items()}
        return Rows(
            evidence,
            self.changed[mask],
            self.near[mask],
            self.pair[mask],
            self.group[mask],
            self.weight[mask],
        )


def join_rows(
    pairs: Sequence[CrystalPair], evidence: Sequence[Mapping[str, NDArray[np.float64]]], truth: Truth
) -> Rows:
    """Put the residues that both crystals resolve one after the other.

    Parameters
    ----------
    pairs : sequence of CrystalPair
        Those that `truth` keeps.
    evidence : sequence of mapping
        Of each of them.
    truth : Truth
    """
    groups = np.array([pair.group for pair in pairs])
    _, which, count = np.unique(groups, return_inverse=True, return_counts=True)
    size = [int(mask.sum()) for mask in truth.known]
    return Rows(
        {name: truth.joined([one[name] for one in evidence]) for name in evidence[0]},
        truth.joined(truth.changed),
        ~truth.joined(truth.far),
        np.repeat(np.arange(len(pairs)), size),
        np.repeat(groups, size),
        np.repeat(np.minimum(1.0, GROUP_CAP / count)[which], size),
    )


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted tier.

    Parameters
    ----------
    model : AdditiveModel
        Calibrated; of all groups.
    p : float array, shape (n,)
        Cross-fitted probabilities; their calibration, too, comes from other groups.
    """

    model: AdditiveModel
    p: NDArray[np.float64]


def fit_tier(rows: Rows, pieces: Sequence[str], *, seed: int = 0) -> Fitted:
    """Fit a curve of each piece of evidence.

    Parameters
    ----------
    rows : Rows
    pieces : sequence of str
        None for a constant.
    seed : int
        Random seed of the folds, which are whole groups.
    """
    design = _Design(rows.evidence, pieces)
    x = design.columns(rows.evidence)
    target = rows.changed.astype(np.float64)
    fold = folds_of(rows.group, N_FOLDS, seed)
    score = np.empty(len(rows))
    for one in range(N_FOLDS):
        out = fold == one
        score[out] = x[out] @ logistic(x[~out], target[~out], rows.weight[~out], design.penalty)
    p = np.empty(len(rows))
    for one in range(N_FOLDS):
        out = fold == one
        slope, shift = platt(score[~out], target[~out], rows.weight[~out])
        p[out] = 1.0 / (1.0 + np.exp(-(slope * score[out] + shift)))
    slope, shift = platt(score, target, rows.weight)
    beta = slope * logistic(x, target, rows.weight, design.penalty)
    beta[-1] += shift
    return Fitted(design.model(beta), p)


class _Design:
    """Columns: hat functions of each piece, and a constant."""

    def __init__(self, evidence: Mapping[str, NDArray[np.float64]], pieces: Sequence[str]) -> None:
        self._knots = {name: knots_of(evidence[name], _KNOTS) for name in pieces}
        self._blocks = Blocks()
        for name, knots in self._knots.items():
            self._blocks.add(name, curve_penalty(len(knots), _SIZE, _BEND))
        self.penalty = self._blocks.penalty(np.zeros(1))

    def columns(self, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        out = np.zeros((len(evidence["separation"]), self._blocks.width + 1))
        out[:, -1] = 1.0
        for name, knots in self._knots.items():
            put_curve(out[:, self._blocks.of[name]], evidence[name], knots)
        return out

    def model(self, beta: NDArray[np.float64]) -> AdditiveModel:
        of = self._blocks.of
        curves = {name: curve_of(knots, beta[of[name]]) for name, knots in self._knots.items()}
        return AdditiveModel(float(beta[-1]), curves, {})
