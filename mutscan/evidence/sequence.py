"""Evidence a sequence gives: the exchange, its neighbours, and how a protein language model takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.conservation import conservation_evidence
from mutscan.evidence.structure import residue_evidence
from mutscan.evidence.windows import window_mean, window_sum
from mutscan.hashes import text_sha256
from mutscan.residue_properties import (
    BLOSUM62,
    CHARGE,
    GRANTHAM,
    HELIX,
    HYDROPHOBICITY,
    VOLUME,
    codes_of,
    entropy_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mutscan.evidence.aligned import AlignedProfile
    from mutscan.evidence.conservation import FamilyProfile

WINDOW: Final = 7
"""Neighbours to each side that count as surroundings."""

EVIDENCE: Final[dict[str, str]] = {
    "wild_type_residue": "residue that is replaced",
    "mutant_residue": "residue that replaces it",
    "blosum62": "BLOSUM62 of the exchange, half-bits",
    "grantham": "Grantham's chemical distance",
    "hydrophobicity_change": "Kyte-Doolittle, mutant - wild type",
    "volume_change": "Å³, mutant - wild type",
    "charge_change": "charge at pH 7, mutant - wild type",
    "helix_change": "cost in a helix, kcal/mol, mutant - wild type",
    "hydrophobicity_near": f"mean Kyte-Doolittle of ± {WINDOW} neighbours",
    "charged_near": f"share of D, E, K, R among ± {WINDOW} neighbours",
    "loop_near": f"share of G, P, S, N among ± {WINDOW} neighbours",
    "aromatic_near": f"share of F, W, Y, H among ± {WINDOW} neighbours",
    "cysteine_near": f"share of C among ± {WINDOW} neighbours",
    "complexity_near": f"entropy of the composition of ± {WINDOW} neighbours, bits",
    "end_distance": "residues to the nearer end of the chain, at most 100",
    "length": "ln of the residues of the protein",
    "log_odds": "language model at the site, wild type read: ln p(mutant) - ln p(wild type)",
    "log_p_mutant": "ln p(mutant) there",
    "log_p_wild_type": "ln p(wild type) there",
    "entropy": "entropy of the language model's 20 probabilities at the site, nats",
    "entropy_near": f"mean of that entropy over ± {WINDOW} neighbours and the site",
    "entropy_protein": "mean of that entropy over the protein",
    "log_odds_rank": "share of all 19 × L substitutions of the protein with lower log-odds",
}
"""Evidence of a sequence and what it means; two residues (by their place in STANDARD), else numbers."""

LETTERS: Final = frozenset({"wild_type_residue", "mutant_residue"})
"""Evidence that is a residue's place in STANDARD, not a number."""


@dataclass(frozen=True, eq=False)
class ProteinView:
    """A wild type, with what the encoder and a structure say of it.

    Parameters
    ----------
    sequence : str
        L residues.
    log_probabilities : float array, shape (L, 20), optional
        Natural logarithms of the language model, in the order of `STANDARD`, renormalised to the 20;
        none for an encoder without such a head.
    embedding : float array, shape (L, d), optional
        The encoder's own.
    ca : float array, shape (L, 3), Å, optional
        C-alpha atoms of its structure laid out on `sequence`, NaN where unresolved.
    plddt : float array, shape (L,), optional
        Confidence of a structure model, 0-100, NaN where unresolved.
    family : FamilyProfile, optional
        What stands at each residue in its relatives, as the model's library knows them.
    aligned : AlignedProfile, optional
        The same, from an alignment.
    folded : float array, shape (L, 20), optional
        Natural logarithms of inverse folding, in the order of `STANDARD`, renormalised to the 20; NaN at
        residues without a backbone.
    """

    sequence: str
    log_probabilities: NDArray[np.floating] | None = None
    embedding: NDArray[np.floating] | None = None
    ca: NDArray[np.floating] | None = None
    plddt: NDArray[np.floating] | None = None
    family: FamilyProfile | None = None
    aligned: AlignedProfile | None = None
    folded: NDArray[np.floating] | None = None

    def with_structure(
        self,
        ca: NDArray[np.floating],
        plddt: NDArray[np.floating] | None = None,
        folded: NDArray[np.floating] | None = None,
    ) -> ProteinView:
        """Give the same protein a structure."""
        return replace(self, ca=ca, plddt=plddt, folded=folded)

    @property
    def codes(self) -> NDArray[np.int64]:
        """Place of each residue in `STANDARD`, -1 where it is none of them."""
        return codes_of(self.sequence)

    @cached_property
    def residues(self) -> dict[str, NDArray[np.float64]]:
        """What the structure says of each residue, shape (L,) each (`residue_evidence`); empty without one.

        Kept, because every call for some substitutions needs that of all residues.
        """
        return {} if self.ca is None else residue_evidence(self.ca, self.codes, self.plddt)


def sequence_evidence(
    protein: ProteinView, index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Evidence `EVIDENCE` and `CONSERVATION_EVIDENCE` of n substitutions of one protein.

    Parameters
    ----------
    protein : ProteinView
    index : int array, shape (n,)
        Replaced residues, 0-based.
    mutant : int array, shape (n,)
        What replaces them, places in `STANDARD`.

    Returns
    -------
    dict of name -> float array, shape (n,)
        NaN where not known: a wild-type residue that is none of the 20, no language model, no relatives
        looked for.
    """
    codes = protein.codes
    wild_type = codes[index]
    known = wild_type >= 0
    found = _exchange(np.maximum(wild_type, 0), mutant)
    for values in found.values():
        values[~known] = np.nan
    found["mutant_residue"] = mutant.astype(np.float64)
    found |= {name: values[index] for name, values in _surroundings(codes).items()}
    language = _language(protein.log_probabilities, codes, index, mutant)
    ordered = {name: {**found, **language}[name] for name in EVIDENCE}
    return ordered | conservation_evidence(protein.family, protein.sequence, index, mutant)


def _exchange(wild_type: NDArray[np.int64], mutant: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    change = {
        f"{name}_change": scale[mutant] - scale[wild_type]
        for name, scale in (
            ("hydrophobicity", HYDROPHOBICITY),
            ("volume", VOLUME),
            ("charge", CHARGE),
            ("helix", HELIX),
        )
    }
    return {
        "wild_type_residue": wild_type.astype(np.float64),
        "blosum62": BLOSUM62[wild_type, mutant],
        "grantham": GRANTHAM[wild_type, mutant],
        **change,
    }


def _surroundings(codes: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Of every residue, from its neighbours without itself, shape (L,) each."""
    length = len(codes)
    one_hot = np.zeros((length, 20))
    there = np.flatnonzero(codes >= 0)
    one_hot[there, codes[there]] = 1.0
    counts = window_sum(one_hot, WINDOW) - one_hot  # (L, 20)
    total = np.maximum(counts.sum(axis=1), 1.0)
    share = counts / total[:, None]

    def among(letters: str) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = share[:, codes_of(letters)].sum(axis=1)
        return summed

    place = np.arange(length)
    return {
        "hydrophobicity_near": share @ HYDROPHOBICITY,
        "charged_near": among("DEKR"),
        "loop_near": among("GPSN"),
        "aromatic_near": among("FWYH"),
        "cysteine_near": among("C"),
        "complexity_near": -(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=1),
        "end_distance": np.minimum(np.minimum(place, length - 1 - place), 100).astype(np.float64),
        "length": np.full(length, np.log(length)),
    }


def _language(
    log_p: NDArray[np.floating] | None,
    codes: NDArray[np.int64],
    index: NDArray[np.int64],
    mutant: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    names = [name for name in EVIDENCE if name.startswith(("log_", "entropy"))]
    if log_p is None:
        return {name: np.full(len(index), np.nan) for name in names}
    log_p = log_p.astype(np.float64)
    there = codes >= 0
    own = np.where(there, log_p[np.arange(len(codes)), np.maximum(codes, 0)], np.nan)  # (L,)
    odds = log_p - own[:, None]  # (L, 20)
    entropy = entropy_of(log_p)
    near = window_mean(entropy[:, None], WINDOW)[:, 0]
    wild_type = np.zeros(odds.shape, dtype=np.bool_)
    wild_type[there, codes[there]] = True
    everything = np.sort(odds[~wild_type & there[:, None]])
    asked = odds[index, mutant]
    rank = np.searchsorted(everything, asked) / max(len(everything), 1)
    return {
        "log_odds": asked,
        "log_p_mutant": log_p[index, mutant],
        "log_p_wild_type": own[index],
        "entropy": entropy[index],
        "entropy_near": near[index],
        "entropy_protein": np.full(len(index), entropy.mean()),
        "log_odds_rank": np.where(np.isfinite(asked), rank, np.nan),
    }


def encoder_views(protein: ProteinView) -> Mapping[str, NDArray[np.float64]]:
    """Embedding vectors of all residues that fixed linear maps read, shape (L, d) each.

    ``site``: of the residue; ``near``: mean over ± `WINDOW` around it.
    """
    if protein.embedding is None:
        return {}
    embedding = protein.embedding.astype(np.float64)
    return {"site": embedding, "near": window_mean(embedding, WINDOW)}


def sequence_hash(sequence: str) -> str:
    """First 16 digits of the sha256 of a sequence."""
    return text_sha256(sequence)[:16]
