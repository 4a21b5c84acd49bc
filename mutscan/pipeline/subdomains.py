"""Where a variant changes its protein: affected residues, subdomains, and functional residues nearby."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mutscan.calling import (
    FunctionalSites,
    Namer,
    affected_regions,
    affected_residues,
    drop_z,
    measured_drop,
)
from mutscan.structures import ca_by_position, plddt_by_position

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.builders.pool import Measured
    from mutscan.calling import Null, Region
    from mutscan.structures import WildType
    from mutscan.variants import Variant


@dataclass(frozen=True, eq=False, slots=True)
class Affected:
    """What a variant affects.

    Parameters
    ----------
    z : float array, shape (L,)
        Robust z of the predicted drop.
    residues : bool array, shape (L,)
        Affected by prediction or by measurement.
    regions : tuple of Region
        Predicted ones, then measured ones.
    notes : tuple of str
        Catalytic and binding residues that are changed, touched or lie in what is affected.
    """

    z: NDArray[np.float64]
    residues: NDArray[np.bool_]
    regions: tuple[Region, ...]
    notes: tuple[str, ...]


class SubdomainCaller:
    """Finds and names what variants of one wild type affect.

    Parameters
    ----------
    wild_type : WildType
    null : Null, optional
        Background of the predictions, where there are any.
    """

    def __init__(self, wild_type: WildType, null: Null | None) -> None:
        self.null = null
        self._plddt = plddt_by_position(wild_type)
        self._ca = ca_by_position(wild_type)
        self._wild_type = wild_type
        self.namer = Namer(len(wild_type.sequence), wild_type.features, ca=self._ca, plddt=self._plddt)

    @cached_property
    def _sites(self) -> FunctionalSites:
        return FunctionalSites(self._wild_type)

    def call(self, variant: Variant, lddt: NDArray[np.float64], measured: Measured | None) -> Affected:
        """Judge one variant's profiles, each shape (L,), against their backgrounds."""
        positions = variant.positions
        if self.null is None:
            none = np.zeros(len(lddt), dtype=np.bool_)
            return Affected(np.full(len(lddt), np.nan), none, (), self.site_notes(variant))
        z = drop_z(lddt, self.null, positions)
        drop = self.null.residue_median - lddt
        affected = affected_residues(z, drop, positions)
        regions = self._regions(affected, drop, "predicted")
        if measured is not None:
            drop, measured_z = measured_drop(measured.lddt, positions, self._ca)
            moved = affected_residues(measured_z, drop)
            regions += self._regions(moved, drop, "measured")
            affected = affected | moved
        return Affected(z, affected, regions, self._notes(variant, affected))

    def _regions(
        self, affected: NDArray[np.bool_], drop: NDArray[np.float64], evidence: str
    ) -> tuple[Region, ...]:
        if not affected.any():
            return ()
        return affected_regions(
            affected,
            drop,
            plddt=self._plddt,
            ca=self._ca,
            evidence=evidence,
            namer=self.namer,
            sites=self._sites,
        )

    def site_notes(self, variant: Variant) -> tuple[str, ...]:
        """Name the functional residues that substituted residues are, or lie near."""
        if variant.indel is not None:
            return ()
        return tuple(
            f"position {position} is or lies within 5 Å of {', '.join(near)}"
            for position in variant.positions
            if (near := self._sites.near([position - 1]))
        )

    def _notes(self, variant: Variant, affected: NDArray[np.bool_]) -> tuple[str, ...]:
        notes = self.site_notes(variant)
        near = self._sites.near(np.flatnonzero(affected)) if affected.any() else ()
        return (*notes, f"affected residues lie within 5 Å of {', '.join(near)}") if near else notes
