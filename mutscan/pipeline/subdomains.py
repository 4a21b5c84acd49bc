"""Where a variant changes its protein: named regions, and residues."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mutscan.calling import Namer, RegionBackground, SiteContexts, drop_z, measured_drop
from mutscan.calling.residue_model import Surroundings
from mutscan.structures import backbone_by_position, ca_by_position, plddt_by_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.builders.pool import Measured
    from mutscan.calling import Null, Region, RegionHit
    from mutscan.calling.residue_model import AffectedModel
    from mutscan.structures import WildType
    from mutscan.variants import Variant


@dataclass(frozen=True, eq=False, slots=True)
class Affected:
    """What a variant affects.

    Parameters
    ----------
    z : float array, shape (L,)
        Robust z of the predicted drop.
    p : float array, shape (L,)
        Probability that a residue's surroundings change beyond crystal noise; NaN where there is none.
    residues : bool array, shape (L,), or None
        Affected: `p` at or above its threshold. None where the model has no such threshold.
    regions : tuple of RegionHit
        Every named region, the one hit most first; none where nothing was predicted, and none of an
        insertion or deletion, for which there is no background.
    """

    z: NDArray[np.float64]
    p: NDArray[np.float64]
    residues: NDArray[np.bool_] | None
    regions: tuple[RegionHit, ...] = ()

    @property
    def told(self) -> tuple[RegionHit, ...]:
        """The disturbed regions; where there is none, the one that is hit most."""
        return tuple(hit for hit in self.regions if hit.disturbed) or self.regions[:1]


class SubdomainCaller:
    """Finds what variants of one wild type affect.

    Parameters
    ----------
    wild_type : WildType
    null : Null, optional
        Background of the predictions, where there are any.
    model : AffectedModel, optional
        Says which residues are affected.

    Attributes
    ----------
    contexts : SiteContexts
        Where its residues sit.
    """

    def __init__(self, wild_type: WildType, null: Null | None, model: AffectedModel | None = None) -> None:
        self.null = null
        self._model = model
        self._wild_type = wild_type
        self._ca = ca_by_position(wild_type)
        self._namer = Namer(
            len(wild_type.sequence),
            wild_type.features,
            ca=self._ca,
            backbone=backbone_by_position(wild_type),
            plddt=plddt_by_position(wild_type),
        )
        self.contexts = SiteContexts(wild_type, self._namer)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Every named region of the wild type."""
        return self._namer.regions(self.contexts.sites.shells)

    @property
    def line(self) -> float | None:
        """Drop z above which a region is beyond background; None where none is compared, or any z is."""
        line = math.inf if self.null is None or not self.regions else self._background.line
        return round(line, 3) if math.isfinite(line) else None

    @cached_property
    def _background(self) -> RegionBackground:
        assert self.null is not None
        return RegionBackground(self.regions, self.null, self._ca)

    @cached_property
    def _surroundings(self) -> Surroundings:
        return Surroundings(self._wild_type)

    def call(self, variant: Variant, lddt: NDArray[np.float64], measured: Measured | None) -> Affected:
        """Judge one variant's profiles, each shape (L,), against their backgrounds."""
        positions = variant.positions
        unknown = np.full(len(lddt), np.nan)
        if self.null is None:
            return Affected(unknown, unknown, None)
        drop, z = self.null.residue_median - lddt, drop_z(lddt, self.null, positions)
        if variant.indel is not None:
            return Affected(z, unknown, None)
        built = None if measured is None else measured_drop(measured.lddt, positions, self._ca)
        if self._model is None:
            return Affected(z, unknown, None, self._background.hits(positions, drop, built))
        p = self._model.probabilities(self._surroundings, variant)
        affected = np.nan_to_num(p) >= self._model.threshold
        return Affected(z, p, affected, self._background.hits(positions, drop, built, p))
