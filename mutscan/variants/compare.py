"""Variants and sequences: the difference of two proteins, the canonical form, shifted numbering."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import VariantError
from mutscan.residues import AMBIGUOUS, STANDARD
from mutscan.variants.variant import InFrameIndel, Substitution, Variant

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT_SHARE: Final = 0.5
"""A protein that keeps less of the wild type than this is another protein, not a variant."""

_WORD: Final = 5  # residues; two unrelated loops of 50 share such a word once in a thousand pairs
_LETTERS: Final = frozenset(STANDARD) | AMBIGUOUS


def difference(wild_type: str, mutant: str) -> Variant:
    """Name the change from the wild type to a full mutant sequence.

    Parameters
    ----------
    wild_type, mutant : str
        One-letter codes, whole proteins.

    Returns
    -------
    Variant
        Substitutions if both are equally long, otherwise the one in-frame indel between them, at its
        most C-terminal place, as HGVS wants it.

    Raises
    ------
    VariantError
        ``synonymous`` when nothing differs; ``unsupported_variant`` for stops and residues that are none
        of the 20, for residues added at an end, and for several changes of which one is an indel;
        ``bad_variant`` when the two are not the same protein.

    Examples
    --------
    >>> str(difference("MKLLE", "MKPLE")), str(difference("MKLLE", "MKLE"))
    ('L3P', 'L4del')
    """
    foreign = next((letter for letter in mutant if letter not in _LETTERS and letter != "*"), None)
    if not mutant or foreign is not None:
        read = f"the character {foreign!r}" if foreign else "no residue"
        raise VariantError(
            f"mutant sequence: read {read}, expected the one-letter codes of the whole mutant protein"
        )
    if "*" in mutant:
        raise VariantError(
            f"mutant sequence: stops at position {mutant.index('*') + 1}; truncated proteins are not scored",
            code="unsupported_variant",
        )
    if mutant == wild_type:
        raise VariantError(
            "mutant sequence: equal to the wild type; there is nothing to score", code="synonymous"
        )
    if len(mutant) == len(wild_type):
        return _substitutions(wild_type, mutant)
    prefix, suffix = _common_ends(wild_type, mutant)
    if prefix + suffix < KEPT_SHARE * len(wild_type):
        raise VariantError(
            f"mutant sequence: {len(mutant)} residues, of which only {prefix + suffix} at its ends are those "
            f"of the wild type ({len(wild_type)} residues); expected one change in the same protein"
        )
    if prefix + suffix == len(wild_type) and not _is_duplication(wild_type, mutant, prefix):
        # Tags at the front start with M as the protein does: not an insertion behind that M.
        if mutant.startswith(wild_type) or mutant.endswith(wild_type):
            end = f"after position {prefix}" if mutant.startswith(wild_type) else "before position 1"
            raise VariantError(
                f"mutant sequence: {len(mutant) - len(wild_type)} residues more than the wild type, added "
                f"{end}; extensions are not scored, give the mutant without them",
                code="unsupported_variant",
            )
    elif _share_a_word(wild_type[prefix : len(wild_type) - suffix], mutant[prefix : len(mutant) - suffix]):
        raise VariantError(
            f"mutant sequence: {len(mutant)} residues, {len(wild_type)} in the wild type, and it differs in "
            "several places; expected substitutions alone or one in-frame indel alone",
            code="unsupported_variant",
        )
    return Variant(indel=_indel(wild_type, mutant, prefix, suffix))


def normalise(variant: Variant, sequence: str) -> Variant:
    """Convert a variant to its canonical form, which depends on the wild type's sequence.

    Indels move to their most C-terminal place (``K120del`` in a run of two lysines is ``K121del``), an
    insertion that repeats its neighbours becomes a duplication, and a delins that keeps the length becomes
    substitutions. Two variants that make the same mutant become equal.

    Parameters
    ----------
    variant : Variant
    sequence : str
        The wild type.

    Raises
    ------
    VariantError
        When the variant does not fit, see `Variant.check`.
    """
    mutant = variant.apply(sequence)
    if not variant.indel:
        return variant
    if len(mutant) == len(sequence):
        changed = [(i, a, b) for i, (a, b) in enumerate(zip(sequence, mutant, strict=True), 1) if a != b]
        return Variant(tuple(Substitution(*one) for one in changed))
    prefix, suffix = _common_ends(sequence, mutant)
    if prefix + suffix == len(sequence) and not _is_duplication(sequence, mutant, prefix):
        # Something is inserted, and at an end there are no two neighbours to name.
        if prefix == len(sequence):
            shift_left = prefix > 1 and mutant[-1] == sequence[-1]
            prefix, suffix = prefix - 1, int(shift_left)
        elif prefix == 0:
            suffix -= 1
    return Variant(indel=_indel(sequence, mutant, prefix, suffix))


def suggest_offset(variants: Iterable[Variant], sequence: str, *, share: float = 1.0) -> int | None:
    """Find the shift in numbering that would make variants fit the wild type.

    Parameters
    ----------
    variants : iterable of Variant
        As written.
    sequence : str
        The wild type.
    share : float
        The shift explains at least this share of the distinct sites, from 0 (however few) to 1.

    Returns
    -------
    int or None
        To be added to each written position; the shift that fits most sites, of several the smallest.
        None when most fit as they are, when no shift fits enough, or with fewer than two distinct sites,
        which say nothing.

    Examples
    --------
    >>> suggest_offset([Variant((Substitution(1, "K", "A"),)), Variant((Substitution(3, "E", "A"),))], "MKLE")
    1
    """
    sites = {site for variant in variants for site in variant.sites}
    if len(sites) < 2:
        return None
    residues = np.frombuffer(sequence.encode("ascii"), dtype=np.uint8)
    places = {letter: np.flatnonzero(residues == ord(letter)) + 1 for _, letter in sites}
    last = max(position for position, _ in sites)
    votes = np.zeros(last + len(sequence) + 1, dtype=np.int64)  # of the offsets from -last on
    for position, letter in sites:
        votes[places[letter] - position + last] += 1
    most = int(votes.max())
    enough = np.flatnonzero(votes >= max(share * len(sites), most, 1)) - last
    best = min(enough.tolist(), key=lambda offset: (abs(offset), -offset), default=0)
    return int(best) or None


def _substitutions(wild_type: str, mutant: str) -> Variant:
    changed = [(i, a, b) for i, (a, b) in enumerate(zip(wild_type, mutant, strict=True), 1) if a != b]
    if len(changed) > (1 - KEPT_SHARE) * len(wild_type):
        raise VariantError(
            f"mutant sequence: differs from the wild type at {len(changed)} of {len(wild_type)} positions; "
            "expected a variant of the same protein"
        )
    for position, _, residue in changed:
        _refuse_ambiguous(residue, position)
    return Variant(tuple(Substitution(*one) for one in changed))


def _indel(wild_type: str, mutant: str, prefix: int, suffix: int) -> InFrameIndel:
    """Name the edit between two sequences of different length that share `prefix` and `suffix` residues."""
    deleted = wild_type[prefix : len(wild_type) - suffix]
    inserted = mutant[prefix : len(mutant) - suffix]
    start, end = prefix + 1, prefix + len(deleted)
    if not deleted and _is_duplication(wild_type, mutant, prefix):
        return InFrameIndel(start, end, "", inserted, duplication=True)
    for place, residue in enumerate(inserted, start):
        _refuse_ambiguous(residue, place)
    # An insertion at an end has no two neighbours; the callers have seen to it.
    ends = "" if deleted else wild_type[prefix - 1] + wild_type[prefix]
    return InFrameIndel(start, end, deleted, inserted, ends)


def _is_duplication(wild_type: str, mutant: str, prefix: int) -> bool:
    more = len(mutant) - len(wild_type)
    return 0 < more <= prefix and mutant[prefix : prefix + more] == wild_type[prefix - more : prefix]


def _common_ends(first: str, second: str) -> tuple[int, int]:
    """Length of the common start, and of the common end of what the start leaves."""
    prefix = _common_start(first, second)
    return prefix, _common_start(first[prefix:][::-1], second[prefix:][::-1])


def _common_start(first: str, second: str) -> int:
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(first), len(second)))


def _share_a_word(first: str, second: str) -> bool:
    words = {first[i : i + _WORD] for i in range(len(first) - _WORD + 1)}
    return any(second[i : i + _WORD] in words for i in range(len(second) - _WORD + 1))


def _refuse_ambiguous(residue: str, position: int) -> None:
    if residue in AMBIGUOUS:
        raise VariantError(
            f"mutant sequence: {residue} at position {position} is none of the 20 standard residues; "
            "only these are scored",
            code="unsupported_variant",
        )
