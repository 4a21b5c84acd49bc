"""Pieces of evidence in groups a biologist knows, and in words: what was seen at this substitution."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.evidence.aligned import ALIGNED_EVIDENCE, DEEP_EVIDENCE
from mutscan.evidence.conservation import CONSERVATION_EVIDENCE
from mutscan.evidence.inverse_folding import INVERSE_FOLDING_EVIDENCE
from mutscan.residues import STANDARD
from mutscan.rounding import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

COUPLINGS: Final = "couplings"
"""Group of what a deep alignment changes in the order of the substitutions."""

GROUP_OF: Final[dict[str, str]] = {
    **dict.fromkeys(
        (
            "wild_type_residue", "mutant_residue", "blosum62", "grantham", "hydrophobicity_change",
            "volume_change", "charge_change", "helix_change",
        ),
        "exchange",
    ),
    **dict.fromkeys(
        (
            "hydrophobicity_near", "charged_near", "loop_near", "aromatic_near", "cysteine_near",
            "complexity_near",
        ),
        "neighbourhood",
    ),
    **dict.fromkeys(("end_distance", "length"), "place in chain"),
    **dict.fromkeys(
        (
            "log_odds", "log_p_mutant", "log_p_wild_type", "entropy", "entropy_near", "entropy_protein",
            "log_odds_rank",
        ),
        "language model",
    ),
    **dict.fromkeys(
        (
            "neighbours", "contact_number", "burial_rank", "contact_number_near", "side_chain_neighbours",
            "side_chain_rank", "back_neighbours", "packing", "depth",
        ),
        "burial",
    ),
    **dict.fromkeys(("far_contacts", "contact_span", "flexibility"), "rigidity"),
    **dict.fromkeys(
        ("hydrophobicity_around", "positive_around", "negative_around", "aromatic_around"),
        "residues around",
    ),
    **dict.fromkeys(("helix", "strand", "handedness"), "secondary structure"),
    "plddt": "confidence of the structure",
    **dict.fromkeys(CONSERVATION_EVIDENCE, "conservation"),
    **dict.fromkeys(ALIGNED_EVIDENCE, "alignment"),
    **dict.fromkeys(DEEP_EVIDENCE, COUPLINGS),
    **dict.fromkeys(INVERSE_FOLDING_EVIDENCE, "inverse folding"),
}  # fmt: skip
"""Group of each piece of evidence; what an embedding is read for is ``sequence context``."""

CONTEXT: Final = "sequence context"


def group_of(piece: str) -> str:
    """Group that a piece of evidence is shown in; ``a x b``, two weighed together, in that of the first."""
    first = piece.partition(" x ")[0]
    return GROUP_OF.get(first, CONTEXT)


BASELINE: Final = "baseline"
"""Name of the piece of evidence that all substitutions start from."""

OTHER: Final = "other evidence"
"""Name of the piece that sums what is not listed."""

_LISTS: Final = {
    "clinical": "variants that clinics report",
    "scan": "all possible substitutions",
}
"""What a probability speaks of, by prior."""


def baseline_words(log_odds: float, prior: str) -> str:
    """Say what the average substitution of a protein has for a probability.

    Examples
    --------
    >>> baseline_words(0.0, "scan")
    'the average substitution, among all possible substitutions: p 0.50'
    """
    return f"the average substitution, among {_LISTS[prior]}: p {1 / (1 + math.exp(-log_odds)):.2f}"


NAMED: Final = 6
"""Pieces of evidence named in a row, the strongest."""

NEAR_END: Final = 20
"""Residues from an end of the chain below which the site is close to it."""

LEAST_SAID: Final = 0.05
"""Log-odds below which a piece of evidence is not named."""


def strongest_words(
    groups: Sequence[str], contributions: NDArray[np.float64], order: NDArray[np.int64]
) -> list[str]:
    """Name the strongest evidence of each of n substitutions: ``burial +1.2; exchange -0.3``.

    Parameters
    ----------
    groups : sequence of str
    contributions : float array, shape (n, groups)
        To the log-odds; NaN where not weighed.
    order : int array, shape (n, groups)
        Groups of each substitution, the strongest first.
    """
    order = order[:, :NAMED]
    told = np.take_along_axis(contributions, order, axis=1)
    told = np.where(np.abs(told) >= LEAST_SAID, told, 0.0)  # nothing is said of NaN, too
    tenths = np.rint(10.0 * rounded(told, 1)).astype(np.int64)
    most = int(np.abs(tenths).max(initial=0))
    texts = np.array(
        [f"{group} {tenth / 10:+.1f}" for group in groups for tenth in range(-most, most + 1)], dtype=object
    )
    pieces = texts[order * (2 * most + 1) + tenths + most]
    # The weak ones are last.
    return [
        "; ".join(row[:count])
        for row, count in zip(pieces.tolist(), (told != 0.0).sum(axis=1).tolist(), strict=True)
    ]


def describe(group: str, seen: Mapping[str, float]) -> str:
    """Put into words what was seen of one group at one substitution.

    Parameters
    ----------
    group : str
    seen : mapping of evidence -> float
        All evidence of the substitution, NaN where not known.
    """
    words = _WORDS.get(group)
    text = words(seen) if words is not None else ""
    return text or "not known"


def _value(seen: Mapping[str, float], name: str) -> float:
    return seen.get(name, math.nan)


def _exchange(seen: Mapping[str, float]) -> str:
    letters = [_value(seen, name) for name in ("wild_type_residue", "mutant_residue")]
    if not all(math.isfinite(x) for x in letters):
        return ""
    wild_type, mutant = (STANDARD[int(x)] for x in letters)
    common = _value(seen, "blosum62")
    how = "common" if common > 0 else "neither common nor rare" if common > -2 else "rare"
    parts = [f"{wild_type} to {mutant}, an exchange that is {how} in nature"]
    charge = _value(seen, "charge_change")
    if abs(charge) >= 0.5:
        parts.append(f"charge {charge:+.0f}")
    if mutant == "P":
        parts.append("introduces proline")
    elif wild_type in "PG":
        parts.append(f"loses {'proline' if wild_type == 'P' else 'glycine'}")
    changed = _side_chain(seen)
    return ", ".join([*parts, changed] if changed else parts)


def _side_chain(seen: Mapping[str, float]) -> str:
    """Describe how size and polarity of the side chain change; empty where they hardly do."""
    volume, water = _value(seen, "volume_change"), _value(seen, "hydrophobicity_change")
    parts = []
    if abs(volume) >= 20:
        parts.append("larger" if volume > 0 else "smaller")
    if abs(water) >= 2:
        parts.append("more hydrophobic" if water > 0 else "more polar")
    return f"{' and '.join(parts)} side chain" if parts else ""


def _neighbourhood(seen: Mapping[str, float]) -> str:
    if not math.isfinite(_value(seen, "charged_near")):
        return ""
    told = [
        f"{_value(seen, name):.0%} {word}"
        for name, word in (
            ("charged_near", "charged"),
            ("loop_near", "turn formers (G, P, S, N)"),
            ("aromatic_near", "aromatic"),
            ("cysteine_near", "cysteine"),
        )
        if _value(seen, name) > 0
    ]
    mean = _value(seen, "hydrophobicity_near")
    kind = "hydrophobic" if mean > 0.5 else "polar" if mean < -0.5 else "mixed"
    return f"a {kind} stretch (7 residues on each side): {', '.join(told) or 'none charged or aromatic'}"


def _place(seen: Mapping[str, float]) -> str:
    distance = _value(seen, "end_distance")
    if not math.isfinite(distance):
        return ""
    return "close to an end of the chain" if distance < NEAR_END else "inside the chain, away from its ends"


def _language(seen: Mapping[str, float]) -> str:
    odds, rank = _value(seen, "log_odds"), _value(seen, "log_odds_rank")
    if not math.isfinite(odds):
        return ""
    return (
        f"by the sequence model {_times(odds, 'more likely', 'less likely')} here than the wild type; "
        f"{rank:.0%} of all substitutions fit worse"
    )


def _times(odds: float, more: str, less: str) -> str:
    """Put log-odds into words: ``4 times rarer``; about even are ``hardly rarer``."""
    times, word = math.exp(abs(odds)), more if odds > 0 else less
    return f"hardly {word}" if times < 1.3 else f"{times:.0f} times {word}" if times >= 2 else word


def _burial(seen: Mapping[str, float]) -> str:
    if not math.isfinite(_value(seen, "neighbours")):
        return ""
    rank = _value(seen, "burial_rank")
    text = f"more tightly packed than {rank:.0%} of the protein"
    changed = _side_chain(seen)
    return f"{text}; {changed}" if changed else text


def _rigidity(seen: Mapping[str, float]) -> str:
    flexible, far = _value(seen, "flexibility"), _value(seen, "far_contacts")
    if not math.isfinite(far):
        return ""
    text = f"near {far:.0f} residues from distant parts of the chain"
    if not math.isfinite(flexible):
        return text
    how = "rigid" if flexible < -0.3 else "flexible" if flexible > 0.3 else "of average flexibility"
    return f"{how} backbone, {text}"


def _around(seen: Mapping[str, float]) -> str:
    water = _value(seen, "hydrophobicity_around")
    if not math.isfinite(water):
        return ""
    positive, negative, aromatic = (
        _value(seen, f"{name}_around") for name in ("positive", "negative", "aromatic")
    )
    kind = "hydrophobic" if water > 0.5 else "polar" if water < -0.5 else "mixed"
    return (
        f"{kind} surroundings (10 Å): {positive:.0f} positive, {negative:.0f} negative, "
        f"{aromatic:.0f} aromatic residues"
    )


def _secondary(seen: Mapping[str, float]) -> str:
    helix, strand = _value(seen, "helix"), _value(seen, "strand")
    if not math.isfinite(helix):
        return ""
    where = "helix" if helix > 0 else "strand" if strand > 0 else "loop"
    proline = _value(seen, "mutant_residue")
    if where != "loop" and math.isfinite(proline) and STANDARD[int(proline)] == "P":
        return f"backbone as in a {where}, where proline seldom fits"
    return f"backbone as in a {where}"


def _confidence(seen: Mapping[str, float]) -> str:
    plddt = _value(seen, "plddt")
    if not math.isfinite(plddt):
        return "an experimental structure"
    return f"structure model {'confident' if plddt >= 70 else 'not confident'} here (pLDDT {plddt:.0f})"


def _conservation(seen: Mapping[str, float]) -> str:
    known, families = _value(seen, "family_sequences"), _value(seen, "families")
    if not math.isfinite(known):
        return ""
    count, groups = round(math.expm1(known)) - 1, round(math.expm1(families))
    if count < 1:
        return "no relatives in the library cover the site"
    text = f"{count:,} related sequences of {groups:,} {'family' if groups == 1 else 'families'}"
    odds, relative = _value(seen, "family_log_odds"), _value(seen, "family_entropy_relative")
    if math.isfinite(relative):
        how = "more" if relative < -0.1 else "less" if relative > 0.1 else "as"
        text += f"; site {how} conserved {'as' if how == 'as' else 'than'} its surroundings"
    if math.isfinite(odds):
        text += f", mutant residue {_times(odds, 'more common', 'rarer')} than the wild type"
    return text


def _alignment(seen: Mapping[str, float]) -> str:
    rank, entropy, nearest = (_value(seen, f"aligned_{name}") for name in ("rank", "entropy_rank", "nearest"))
    if not math.isfinite(rank):
        return ""
    carrier = f"carried by a relative of {nearest:.0%} identity" if nearest > 0 else "carried by no relative"
    return (
        f"mutant residue {carrier}; {rank:.0%} of all substitutions are rarer among relatives; "
        f"site more variable than {entropy:.0%} of the sites"
    )


def _couplings(seen: Mapping[str, float]) -> str:
    coupled, deep = _value(seen, "deep_couplings"), _value(seen, "deep_rank")
    if not math.isfinite(deep):
        return ""
    return (
        f"{coupled:.0%} of all substitutions suit the other residues worse in related sequences, "
        f"{deep:.0%} are rarer there in all"
    )


def _folding(seen: Mapping[str, float]) -> str:
    odds = _value(seen, "folding_log_odds")
    if not math.isfinite(odds):
        return ""
    return f"mutant residue suits the backbone {_times(odds, 'better', 'worse')} than the wild type"


def _context(seen: Mapping[str, float]) -> str:
    return "outcome of labelled variants in similar sequence context (the site and 7 residues on each side)"


_WORDS: Final[dict[str, Callable[[Mapping[str, float]], str]]] = {
    "exchange": _exchange,
    "neighbourhood": _neighbourhood,
    "place in chain": _place,
    "language model": _language,
    "conservation": _conservation,
    "alignment": _alignment,
    COUPLINGS: _couplings,
    "inverse folding": _folding,
    "burial": _burial,
    "rigidity": _rigidity,
    "residues around": _around,
    "secondary structure": _secondary,
    "confidence of the structure": _confidence,
    CONTEXT: _context,
}
