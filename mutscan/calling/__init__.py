"""From scores to calls: a protein's own background, percentiles, robust z, affected subdomains."""

from __future__ import annotations

from mutscan.calling.context import (
    NearSite,
    SiteContext,
    SiteContexts,
    read_context,
    read_contexts,
    write_contexts,
)
from mutscan.calling.naming import LOW_PLDDT, Namer, Region
from mutscan.calling.null import (
    MAD_TO_SD,
    NULL_SIZE,
    SITE_MARGIN,
    Null,
    away_from_site,
    build_null,
    drop_z,
    mean_away_from_site,
    percentile,
    robust_z,
    sample_null,
)
from mutscan.calling.regions import MEASURED_NOISE, RegionBackground, RegionHit, measured_drop
from mutscan.calling.residue_model import AffectedModel, Surroundings, read_affected
from mutscan.calling.sites import FunctionalSites

__all__ = [
    "LOW_PLDDT",
    "MAD_TO_SD",
    "MEASURED_NOISE",
    "NULL_SIZE",
    "SITE_MARGIN",
    "AffectedModel",
    "FunctionalSites",
    "Namer",
    "NearSite",
    "Null",
    "Region",
    "RegionBackground",
    "RegionHit",
    "SiteContext",
    "SiteContexts",
    "Surroundings",
    "away_from_site",
    "build_null",
    "drop_z",
    "mean_away_from_site",
    "measured_drop",
    "percentile",
    "read_affected",
    "read_context",
    "read_contexts",
    "robust_z",
    "sample_null",
    "write_contexts",
]
