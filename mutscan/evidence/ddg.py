"""Predicted change of the folding free energy, ddG: curves of inverse folding, residue types and burial.

It is made for substitutions of the wild type. It is not antisymmetric: the prediction for the way back,
from a mutant's structure, is not the negative of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.additive import AdditiveModel
from mutscan.errors import CheckpointError
from mutscan.evidence.inverse_folding import INVERSE_FOLDING_EVIDENCE
from mutscan.evidence.whole import WholeScan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence.sequence import ProteinView

DDG_EVIDENCE: Final = ("wild_type_residue", "mutant_residue", *INVERSE_FOLDING_EVIDENCE, "burial_rank")
"""Pieces of evidence that ddG is read from."""


@dataclass(frozen=True, eq=False)
class DdgModel:
    """Predicts ddG of single substitutions.

    Parameters
    ----------
    model : AdditiveModel
        Its sum is in kcal/mol.
    weights : str
        sha256 of the weights of inverse folding that it was fitted with.
    """

    model: AdditiveModel
    weights: str

    def predict(
        self, protein: ProteinView | WholeScan, index: NDArray[np.int64], mutant: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Predict ddG of n substitutions.

        Parameters
        ----------
        protein : ProteinView or WholeScan
            With `ca` and `folded`.
        index : int array, shape (n,)
            Replaced residues, 0-based.
        mutant : int array, shape (n,)
            What replaces them, places in `STANDARD`.

        Returns
        -------
        float array, shape (n,), kcal/mol
            Positive = destabilising; NaN where the site has no backbone, or its residue is none of the 20.
        """
        whole = protein if isinstance(protein, WholeScan) else WholeScan(protein)
        at = whole.rows(index, mutant)
        return self.sum({name: whole.evidence[name][at] for name in DDG_EVIDENCE})

    def sum(self, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Predict ddG from `DDG_EVIDENCE`, shape (n,)."""
        odds = evidence["folding_log_odds"]
        pieces = self.model.pieces(evidence, {}, np.zeros(len(odds), np.int64))
        summed: NDArray[np.float64] = self.model.intercept + np.sum([*pieces.values()], axis=0)
        return np.where(np.isfinite(odds), summed, np.nan)


def read_ddg(document: Mapping[str, Any], path: Path) -> DdgModel | None:
    """Read the entry ``ddg`` of calibration.json; None where it has none.

    Raises
    ------
    CheckpointError
        The entry is damaged.
    """
    part = document.get("ddg")
    if part is None:
        return None
    try:
        return DdgModel(AdditiveModel.from_dict(part["model"]), str(part["weights_sha256"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: ddg is no model of mutscan ({type(error).__name__}: {error}); "
            "make one with `mutscan train calibrate`"
        ) from error
