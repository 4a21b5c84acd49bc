"""The column of another method: AlphaMissense's values stand beside ours and are no part of them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mutscan.alignments.source import LICENCE
from mutscan.errors import FetchError
from mutscan.fetch import Fetcher
from mutscan.residues import STANDARD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.structures import WildType
    from mutscan.variants import Variant

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AlphaMissense:
    """Values for one wild type.

    Parameters
    ----------
    values : float array, shape (L, 20), optional
        In the order of `STANDARD`; NaN where not known.
    facts : mapping, optional
        Record of the download, or why there is none, for run.json; None for a wild type that is no
        UniProt entry.
    """

    values: NDArray[np.float64] | None = None
    facts: Mapping[str, object] | None = field(default=None)

    def of(self, variant: Variant) -> float:
        """Value of a single substitution; NaN for other variants and where not known."""
        if self.values is None or variant.indel is not None or variant.n_substitutions != 1:
            return math.nan
        (single,) = variant.substitutions
        return float(self.values[single.position - 1, STANDARD.index(single.mutant)])

    def at(self, index: NDArray[np.int64], mutant: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of n single substitutions, shape (n,), from residues (0-based) and places in `STANDARD`."""
        return np.full(len(index), np.nan) if self.values is None else self.values[index, mutant]


def alphamissense_of(wild_type: WildType, *, offline: bool) -> AlphaMissense:
    """Get the values of a UniProt entry's sequence; where they cannot be had the log says why.

    Parameters
    ----------
    wild_type : WildType
    offline : bool
        Look in the cache only.
    """
    if not wild_type.is_entry:
        return AlphaMissense()
    try:
        found = Fetcher(offline=offline).alphamissense(wild_type.name, wild_type.sequence)
    except FetchError as error:
        note = f"no values of AlphaMissense: {error.message}"
    else:
        if found is not None:
            record, values = found
            return AlphaMissense(values, {**record.to_dict(), "licence": LICENCE})
        note = f"AlphaFold DB has no values of AlphaMissense for {wild_type.name}"
    _log.info("%s", note)
    return AlphaMissense(facts={"note": note})
