"""All substitutions of a protein, with their evidence gathered once and weighed once by each tier."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mutscan.evidence.sequence import encoder_views
from mutscan.evidence.sources import covered_by, protein_evidence
from mutscan.evidence.wording import COUPLINGS
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.evidence.calibration import Tier
    from mutscan.evidence.sequence import ProteinView

_KINDS = len(STANDARD)


class WholeScan:
    """Every residue of a protein exchanged for each of the 20, L x 20 rows; the wild type's own among them.

    Single substitutions are judged against the mean of all, so all are gathered whatever is asked.

    Parameters
    ----------
    protein : ProteinView
    """

    def __init__(self, protein: ProteinView) -> None:
        self.protein = protein
        self._grouped: dict[str, dict[str, NDArray[np.float64]]] = {}
        self._typical: dict[str, dict[str, float]] = {}

    @staticmethod
    def rows(index: NDArray[np.int64], mutant: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of substitutions, shape (n,), from residues (0-based) and places in `STANDARD`."""
        return index * _KINDS + mutant

    @cached_property
    def _site(self) -> NDArray[np.int64]:
        return np.repeat(np.arange(len(self.protein.sequence)), _KINDS)

    @cached_property
    def evidence(self) -> Mapping[str, NDArray[np.float64]]:
        """`protein_evidence`, shape (L x 20,) each."""
        mutant = np.tile(np.arange(_KINDS), len(self.protein.sequence))
        return protein_evidence(self.protein, self._site, mutant)

    @cached_property
    def covered(self) -> Mapping[str, NDArray[np.bool_]]:
        """Rows that each source covers, shape (L x 20,)."""
        return covered_by(self.evidence)

    @cached_property
    def _views(self) -> Mapping[str, NDArray[np.float64]]:
        return encoder_views(self.protein)

    @cached_property
    def _real(self) -> NDArray[np.bool_]:
        """Rows that exchange one of the 20 for another."""
        codes = self.protein.codes[:, None]
        real: NDArray[np.bool_] = ((np.arange(_KINDS) != codes) & (codes >= 0)).reshape(-1)
        return real

    def grouped(self, tier: Tier) -> Mapping[str, NDArray[np.float64]]:
        """Give what each group of evidence adds to a tier's log-odds, shape (L x 20,) each."""
        if tier.name not in self._grouped:
            grouped = tier.grouped(self.evidence, self._views, self._site)
            if "alignment" in tier.sources and "deep_rank" in self.evidence:
                grouped[COUPLINGS] = self._reordered(sum(grouped.values(), np.zeros(len(self._site))))
            self._grouped[tier.name] = grouped
        return self._grouped[tier.name]

    def _reordered(self, log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give what a deep alignment adds to log-odds when it has its say in their order, shape (L x 20,).

        Tiers are fitted with shallow alignments and trust a deep one as little. So the ranks in log-odds and
        in the alignment count alike, and each place in the new order gets the log-odds that stood there: the
        substitutions keep theirs together, and the share above any threshold stays.
        """
        deep_rank = self.evidence["deep_rank"]
        deep = np.flatnonzero(self._real & np.isfinite(deep_rank))
        own = log_odds[deep]
        ascending = np.sort(own)
        place = np.searchsorted(ascending, own) / max(len(own), 1) + 1.0 - deep_rank[deep]
        added = np.zeros(len(log_odds))
        added[deep[np.argsort(place, kind="stable")]] = ascending
        added[deep] -= own
        return added

    def typical(self, tier: Tier) -> Mapping[str, float]:
        """Mean of `grouped` over all substitutions of the protein.

        Subtracted from the contributions of single substitutions, so that evidence that only says which
        protein it is (length, number of relatives, ...) cannot move the verdict on all of them together.
        """
        if tier.name not in self._typical:
            real = self._real
            self._typical[tier.name] = {
                group: float(x[real].mean()) if real.any() else 0.0 for group, x in self.grouped(tier).items()
            }
        return self._typical[tier.name]
