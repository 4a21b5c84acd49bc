"""Which residues a substitution affects: a small additive model, learned from pairs of real crystals.

`p_affected` is the probability that the surroundings of a residue differ between the crystals of wild type
and mutant by more than crystals of one protein differ anyway. `mutscan train affected` fits it; training
and scoring read the same evidence, from `Surroundings.evidence`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.additive import AdditiveModel
from mutscan.errors import CheckpointError
from mutscan.structures.mapping import ca_by_position
from mutscan.structures.packing import CONTACT, flexibility, network_parts
from mutscan.structures.segments import secondary_structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.structures import WildType
    from mutscan.variants import Variant

AFFECTED_FILE: Final = "affected.json"
"""In a model's folder."""

NO_AFFECTED: Final = (
    "no affected residues, and undisturbed regions in the order of their distance: the model has no "
    f"{AFFECTED_FILE} (mutscan train affected makes it)"
)

FORMAT: Final = 1
"""Version of affected.json's layout."""

FARTHEST: Final = 60
"""Residues of the sequence beyond which a separation counts no further."""

EVIDENCE: Final[dict[str, str]] = {
    "separation": f"residues in the sequence to the nearest exchanged one, at most {FARTHEST}",
    "distance": "Å between C-alpha atoms, to the nearest exchanged residue",
    "coupling": "correlation of their fluctuations in a Gaussian network (10 Å)",
    "flexibility": "ln of the residue's mean square fluctuation in that network, 0 = median",
    "loop": "1 in no helix or strand",
}
"""Evidence of one residue about one variant, and what it means."""

TIERS: Final = ("sequence", "structure")
"""Kinds of evidence: of the sequence alone, and of C-alpha atoms."""


class Surroundings:
    """How the residues of one wild type lie to each other; made once for all its variants.

    Parameters
    ----------
    wild_type : WildType
        L residues; without a structure only distances in sequence are known.
    """

    def __init__(self, wild_type: WildType) -> None:
        self.length = len(wild_type.sequence)
        ca = ca_by_position(wild_type)
        self._ca = np.full((self.length, 3), np.nan) if ca is None else ca
        self._there = np.flatnonzero(np.isfinite(self._ca).all(axis=1))

    @cached_property
    def _parts(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Resolved residues of each part of the Gaussian network, and their correlations."""
        ca = self._ca[self._there]
        near = np.zeros((len(ca), len(ca)), dtype=np.bool_)
        for row, atom in enumerate(ca):
            near[row] = ((ca - atom) ** 2).sum(axis=1) <= CONTACT**2
        np.fill_diagonal(near, False)
        return network_parts(near) if len(ca) else []

    @cached_property
    def _flexibility(self) -> NDArray[np.float64]:
        found = np.full(self.length, np.nan)
        found[self._there] = flexibility(self._parts, len(self._there))
        return found

    @cached_property
    def _loop(self) -> NDArray[np.float64]:
        found = np.where(np.isfinite(self._ca).all(axis=1), 1.0, np.nan)
        for element in secondary_structure(self._ca):
            found[element.first : element.last + 1] = 0.0
        return found

    def _coupling(self, site: int) -> NDArray[np.float64]:
        found = np.full(self.length, np.nan)
        for rows, covariance in self._parts:
            places = self._there[rows]
            at = int(np.searchsorted(places, site))
            if at < len(places) and places[at] == site:
                spread = np.sqrt(np.diag(covariance))
                found[places] = covariance[at] / (spread * spread[at])
        return found

    def evidence(self, variant: Variant) -> dict[str, NDArray[np.float64]]:
        """Evidence `EVIDENCE` of all residues about one variant, shape (L,) each, NaN where not known.

        Of several substitutions the one nearest in space counts, in sequence where there is no structure.

        Parameters
        ----------
        variant : Variant
            One or more substitutions.
        """
        sites = np.array([one.position - 1 for one in variant.substitutions])
        everyone = np.arange(self.length)
        apart = np.abs(everyone - sites[:, None])
        step = self._ca - self._ca[sites, None]
        distance = np.sqrt((step * step).sum(axis=2))
        which = np.where(np.isfinite(distance), distance, 1e6 + apart).argmin(axis=0)
        at = (which, everyone)

        return {
            "separation": np.minimum(apart[at], FARTHEST).astype(np.float64),
            "distance": distance[at],
            "coupling": np.stack([self._coupling(site) for site in sites.tolist()])[at],
            "flexibility": self._flexibility,
            "loop": self._loop,
        }


def tier_of(evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.str_]:
    """Best of `TIERS` that the evidence of each residue allows, shape (n,)."""
    return np.where(np.isfinite(evidence["distance"]), "structure", "sequence")


@dataclass(frozen=True, eq=False)
class AffectedModel:
    """Probability that a residue's surroundings change beyond crystal noise.

    Parameters
    ----------
    tiers : mapping of name -> AdditiveModel
        One for each of `TIERS`.
    threshold : float
        Probability from which a residue counts as affected.
    document : mapping
        affected.json as it is.
    """

    tiers: Mapping[str, AdditiveModel]
    threshold: float
    document: Mapping[str, Any]

    def probabilities(self, surroundings: Surroundings, variant: Variant) -> NDArray[np.float64]:
        """Probability of each residue, shape (L,); NaN for an indel.

        It depends on where the exchanged residues lie, not on what replaces them: neither the network's
        prediction, nor a built mutant, nor the kind of exchange adds anything that holds on other proteins.

        Parameters
        ----------
        surroundings : Surroundings
            Of the wild type.
        variant : Variant
        """
        if variant.indel is not None:
            return np.full(surroundings.length, np.nan)
        evidence = surroundings.evidence(variant)
        best = tier_of(evidence)
        p = np.empty(surroundings.length)
        for name in np.unique(best).tolist():
            rows = best == name
            p[rows] = predict(self.tiers[name], {key: values[rows] for key, values in evidence.items()})
        return p


def predict(model: AdditiveModel, evidence: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Probability of n residues under one tier, shape (n,)."""
    n = len(evidence["separation"])
    pieces = model.pieces(evidence, {}, np.zeros(n, dtype=np.int64))
    log_odds = model.intercept + sum(pieces.values(), np.zeros(n))
    p: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-log_odds))
    return p


def read_affected(path: Path) -> AffectedModel:
    """Read affected.json.

    Raises
    ------
    CheckpointError
        It is missing, damaged, or of another version of mutscan.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON ({error}); copy it again") from error
    try:
        if document["format"] != FORMAT:
            what = "update mutscan" if document["format"] > FORMAT else "run `mutscan train affected` again"
            raise CheckpointError(f"{path}: format {document['format']}, this mutscan reads {FORMAT}; {what}")
        tiers = {name: AdditiveModel.from_dict(part["model"]) for name, part in document["tiers"].items()}
        if set(tiers) != set(TIERS):
            raise ValueError(f"tiers are {sorted(tiers)}, expected {sorted(TIERS)}")
        unknown = {name for tier in tiers.values() for name in tier.curves} - set(EVIDENCE)
        if unknown:
            raise ValueError(f"weighs {', '.join(sorted(unknown))}, which is no evidence of this mutscan")
        threshold = float(document["threshold"]["p"])
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"the threshold is {threshold}, expected a probability")
        return AffectedModel(tiers, threshold, document)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: is no model of affected residues ({type(error).__name__}: {error}); "
            "make one with `mutscan train affected`"
        ) from error
