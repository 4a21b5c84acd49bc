"""Which residues really changed: those that differ more between the two crystals than crystals do anyway.

Two crystals of one protein differ without a mutation, too. How much they do is read where the mutation does
least, in the half of the residues that are farthest from it. Flexible residues differ more: the far
residues with a flexibility in the highest eighth exceed one line for the whole pair ten times as often as
those in the lowest eighth, and loops twice as often as helices and strands. The line is therefore one of
loops or one of helices and strands, and rises with flexibility. Otherwise the model would learn which
residues are flexible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.train.affected.pairs import CrystalPair

_T = TypeVar("_T", bound=np.generic)

QUANTILE: Final = 0.99
"""Share of the far residues, at any flexibility, that lie below the line."""

FLOOR: Final = 0.01
"""Smallest drop that counts as a change."""

NOISIEST: Final = 0.02
"""Mean drop of the far residues above which a pair is left out: the chains differ as wholes, by a hinge, as
models of NMR do, or by what is bound."""

COPY: Final = 0.05
"""Å; RMSD below which the mutant is no crystal of its own but the wild type's coordinates, edited. The most
alike of real crystals differ by 0.06 Å."""

_BINS: Final = 8  # of flexibility


@dataclass(frozen=True, eq=False)
class Truth:
    """What the crystals say.

    Parameters
    ----------
    kept : list of int
        Places of the pairs that are used.
    known : list of bool arrays, shape (L,)
        Residues of each kept pair that both crystals resolve.
    changed : list of bool arrays, shape (L,)
        Residues of each kept pair that changed beyond noise.
    far : list of bool arrays, shape (L,)
        Residues the noise was read from.
    facts : dict
        Settings and counts, for affected.json.
    """

    kept: list[int]
    known: list[NDArray[np.bool_]]
    changed: list[NDArray[np.bool_]]
    far: list[NDArray[np.bool_]]
    facts: dict[str, Any]

    def joined(self, parts: Sequence[NDArray[_T]]) -> NDArray[_T]:
        """Join values of the kept pairs, shape (L,) each, at the residues that both crystals resolve."""
        return np.concatenate([part[mask] for part, mask in zip(parts, self.known, strict=True)])


def find_changed(
    pairs: Sequence[CrystalPair], evidence: Sequence[Mapping[str, NDArray[np.float64]]]
) -> Truth:
    """Mark the residues of each pair that changed.

    Parameters
    ----------
    pairs : sequence of CrystalPair
    evidence : sequence of mapping
        Of each pair, with ``distance`` and ``flexibility`` (`mutscan.calling.residue_model.EVIDENCE`).
    """
    kept: list[int] = []
    known: list[NDArray[np.bool_]] = []
    far: list[NDArray[np.bool_]] = []
    level: list[float] = []
    left_out = {"copies": 0, "noisy": 0}
    for place, (pair, seen) in enumerate(zip(pairs, evidence, strict=True)):
        here = np.isfinite(pair.drop) & np.isfinite(seen["distance"])
        away: NDArray[np.bool_] = here & (seen["distance"] >= np.median(seen["distance"][here]))
        mean = float(pair.drop[away].mean())
        if pair.rmsd < COPY or mean > NOISIEST:
            left_out["copies" if pair.rmsd < COPY else "noisy"] += 1
            continue
        kept.append(place)
        known.append(here)
        far.append(away)
        level.append(mean)
    drops = [pairs[place].drop for place in kept]
    flexible = [np.nan_to_num(evidence[place]["flexibility"]) for place in kept]
    loops = [evidence[place]["loop"] > 0 for place in kept]
    changed = [np.zeros(len(drop), dtype=np.bool_) for drop in drops]
    lines = {}
    for name, masks in (("loop", loops), ("helix or strand", [~mask for mask in loops])):
        at, line = _noise(drops, flexible, [f & m for f, m in zip(far, masks, strict=True)], level)
        lines[name] = {"flexibility": _short(at), "line_over_mean_far_drop": _short(line)}
        for row, mask in enumerate(masks):
            limit = np.maximum(FLOOR, level[row] * np.interp(flexible[row], at, line))
            changed[row] |= known[row] & mask & (drops[row] > limit)
    sides = [
        [one[here & (away == side)] for one, here, away in zip(changed, known, far, strict=True)]
        for side in (True, False)
    ]
    groups = [pairs[place].group for place in kept]
    facts = {
        "what": "a residue changed where its C-alpha lDDT drop (exponent 3, 15 Å) between the two crystals "
        "exceeds the line of its flexibility, one for loops and one for helices and strands",
        "far": "the half of the residues farthest from the exchanged one",
        "quantile": QUANTILE,
        "floor": FLOOR,
        "lines": lines,
        "n_pairs": len(pairs),
        "left_out_copies": {"n": left_out["copies"], "rmsd_below": COPY},
        "left_out_noisy": {"n": left_out["noisy"], "mean_far_drop_above": NOISIEST},
        "n_pairs_used": len(kept),
        "n_all_atoms": sum(pairs[place].all_atoms for place in kept),
        "n_groups": len({*groups}),
        "n_residues": int(sum(one.sum() for one in known)),
        "n_changed": int(sum(one.sum() for one in changed)),
        "share_changed_far": round(float(np.concatenate(sides[0]).mean()), 4),
        "share_changed_near": round(float(np.concatenate(sides[1]).mean()), 4),
        "n_pairs_with_change": int(sum(one.any() for one in changed)),
    }
    return Truth(kept, known, changed, far, facts)


def _short(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 3) for value in values]


def _noise(
    drops: Sequence[NDArray[np.float64]],
    flexible: Sequence[NDArray[np.float64]],
    far: Sequence[NDArray[np.bool_]],
    level: Sequence[float],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Quantile of the far residues' drop over the pair's mean, at the median flexibility of each bin."""
    loose = np.concatenate([one[mask] for one, mask in zip(flexible, far, strict=True)])
    ratio = np.concatenate(
        [one[mask] / max(mean, 1e-9) for one, mask, mean in zip(drops, far, level, strict=True)]
    )
    edges = np.unique(np.quantile(loose, np.linspace(0.0, 1.0, _BINS + 1)))
    which = np.clip(np.digitize(loose, edges) - 1, 0, max(len(edges) - 2, 0))
    bins = np.unique(which)
    at = np.array([np.median(loose[which == one]) for one in bins])
    line = np.array([np.quantile(ratio[which == one], QUANTILE) for one in bins])
    # Noise only rises with flexibility.
    return at, np.maximum.accumulate(line)
