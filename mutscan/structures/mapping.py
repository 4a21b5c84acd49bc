"""Which residue of a structure is which letter of a sequence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import gemmi
import numpy as np

from mutscan.errors import StructureError
from mutscan.residues import UNKNOWN
from mutscan.structures.atoms import BACKBONE, is_d_residue
from mutscan.structures.chain import WildType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from mutscan.structures.chain import Feature, Structure

MIN_IDENTITY = 0.95
"""A structure with a smaller share of equal letters is of another protein."""

MIN_PLACED = 0.5
"""At least this share of a structure's residues must have a place in the sequence (tags have none)."""

_BREAK = 4.5  # Å; a longer C-alpha step means unresolved residues in between


def map_sequence(structure: Structure, sequence: str) -> NDArray[np.int64]:
    """Find the residue of the structure for each letter of a sequence.

    The structure's own numbering is used where one constant shift makes all
    letters match, else an alignment that opens gaps at chain breaks.

    Parameters
    ----------
    structure : Structure
    sequence : str
        L one-letter codes. ``X`` on either side is neither match nor mismatch.

    Returns
    -------
    int array, shape (L,)
        0-based residue of `structure`; -1 where the structure has no residue or another letter.

    Raises
    ------
    StructureError
        Code ``structure_mismatch``: less than 95 % of the aligned letters are equal, less than half of
        the structure's residues have a place in the sequence, or the structure fits several identical
        copies in it and its residue numbers are those of none.
    """
    return _lay(structure, sequence.upper()).index


@dataclass(frozen=True, eq=False, slots=True)
class _Laid:
    """A structure on a sequence: `index` as of `map_sequence`, and what is to be said of it."""

    index: NDArray[np.int64]
    differences: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]


def _lay(structure: Structure, sequence: str) -> _Laid:
    places = place_residues(structure.sequence, structure.res_id, structure.ca, sequence)
    result = np.full(len(sequence), -1, dtype=np.int64)
    placed = np.flatnonzero(places >= 0)
    own = np.frombuffer(structure.sequence.encode(), dtype=np.uint8)[placed]
    given = np.frombuffer(sequence.encode(), dtype=np.uint8)[places[placed]]
    known = (own != ord(UNKNOWN)) & (given != ord(UNKNOWN))
    wrong = known & (own != given)
    identity = 1.0 - wrong.sum() / known.sum() if known.any() else 0.0
    if identity < MIN_IDENTITY or len(placed) < MIN_PLACED * len(structure) or len(placed) < 3:
        examples = ", ".join(
            f"position {places[k] + 1}: {sequence[places[k]]} in the sequence, {structure.sequence[k]} "
            f"(residue {structure.numbers[k]}) in the structure"
            for k in placed[wrong][:3]
        )
        raise StructureError(
            f"{structure.name}: chain {structure.chain_id or '(blank)'} is not this protein: "
            f"{len(placed)} of its {len(structure)} residues align, {identity:.0%} of them equal"
            + (f" ({examples})" if examples else "")
            + f"; at least {MIN_IDENTITY:.0%} expected. Give this sequence's structure, or another chain",
            code="structure_mismatch",
        )
    result[places[placed[~wrong]]] = placed[~wrong]
    differing = tuple((int(places[k]), int(k)) for k in placed[wrong])
    notes = _different(structure, sequence, differing) + _copies(structure, places, sequence)
    return _Laid(result, differing, notes)


def _different(
    structure: Structure, sequence: str, differing: tuple[tuple[int, int], ...]
) -> tuple[str, ...]:
    if not differing:
        return ()
    listed = [
        f"{sequence[place]}{place + 1} is {structure.sequence[k]} (residue {structure.numbers[k]})"
        for place, k in differing
    ]
    shown = "; ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
    positions = f"{len(listed)} position{'s' * (len(listed) > 1)}"
    return (f"the structure differs from the sequence at {positions}, where none is built: {shown}",)


def _copies(structure: Structure, places: NDArray[np.int64], sequence: str) -> tuple[str, ...]:
    """Note where else the structure fits as well; an error where its numbers do not decide."""
    shifts = other_shifts(structure.sequence, places, sequence)
    if not shifts:
        return ()
    placed = np.flatnonzero(places >= 0)
    first, last = int(places[placed[0]]) + 1, int(places[placed[-1]]) + 1
    others = [f"{first + shift}-{last + shift}" for shift in shifts]
    listed = ", ".join(others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
    if np.array_equal(structure.res_id[placed], places[placed] + 1):
        return (
            f"the structure fits several identical stretches of the sequence: it is laid on {first}-{last}, "
            f"as its residue numbers say, and could also lie on {listed}",
        )
    raise StructureError(
        f"{structure.name}: chain {structure.chain_id or '(blank)'} fits several identical stretches of the "
        f"sequence equally well, {first}-{last} and {listed}, and its residue numbers "
        f"({structure.numbers[placed[0]]} to {structure.numbers[placed[-1]]}) are those of none; number its "
        "residues as the positions where it belongs, or give a structure of the whole protein",
        code="structure_mismatch",
    )


def other_shifts(observed: str, places: NDArray[np.int64], full: str) -> list[int]:
    """By how much all placed residues could be moved along `full` and match as many letters as now."""
    placed = np.flatnonzero(places >= 0)
    if not placed.size:
        return []
    here = places[placed]
    letters = np.frombuffer(full.encode(), dtype=np.uint8)
    own = np.frombuffer(observed.encode(), dtype=np.uint8)[placed]
    here, own = here[own != ord(UNKNOWN)], own[own != ord(UNKNOWN)]
    now = int((letters[here] == own).sum())
    shifts = range(-int(places[placed[0]]), len(full) - int(places[placed[-1]]))
    return [shift for shift in shifts if shift and (letters[here + shift] == own).sum() >= now]


def place_residues(
    observed: str, res_id: NDArray[np.int64], ca: NDArray[np.float64], full: str
) -> NDArray[np.int64]:
    """Find the 0-based place in `full` of each observed residue, ascending; -1 where it has none."""
    shifted = _by_number(observed, res_id, full)
    if shifted is not None:
        return shifted
    start = full.find(observed)
    if start >= 0 and full.find(observed, start + 1) < 0:
        return np.arange(start, start + len(observed), dtype=np.int64)
    places = _by_alignment(observed, ca, full)
    return _as_numbered(observed, res_id, places, full)


def _as_numbered(
    observed: str, res_id: NDArray[np.int64], places: NDArray[np.int64], full: str
) -> NDArray[np.int64]:
    """Move an alignment to the copy of a repeat that the residue numbers name, if it fits there as well."""
    placed = np.flatnonzero(places >= 0)
    shifts = np.unique(res_id[placed] - 1 - places[placed])
    if shifts.size == 1 and shifts[0] and int(shifts[0]) in other_shifts(observed, places, full):
        places = np.where(places >= 0, places + shifts[0], places)
    return places


def _by_number(observed: str, res_id: NDArray[np.int64], full: str) -> NDArray[np.int64] | None:
    """Places by residue number plus a constant, if all letters then match; number = position is preferred."""
    if len(res_id) == 0 or np.any(np.diff(res_id) <= 0) or res_id[-1] - res_id[0] >= len(full):
        return None
    letters = np.frombuffer(full.encode(), dtype=np.uint8)
    own = np.frombuffer(observed.encode(), dtype=np.uint8)
    relative = res_id - res_id[0]
    last = len(full) - 1 - int(relative[-1])
    natural = int(res_id[0]) - 1
    # The rarest test first: few shifts survive the first letters.
    starts = np.arange(last + 1)
    for offset, letter in zip(relative.tolist(), own.tolist(), strict=True):
        if letter != ord(UNKNOWN):
            there = letters[starts + offset]
            starts = starts[(there == letter) | (there == ord(UNKNOWN))]
            if not starts.size:
                return None
    start = natural if natural in starts else int(starts[0]) if starts.size == 1 else None
    return None if start is None else relative + start


def _by_alignment(observed: str, ca: NDArray[np.float64], full: str) -> NDArray[np.int64]:
    """Global alignment; gaps in the observed chain are cheap only where the chain is broken."""
    scoring = gemmi.AlignmentScoring()
    scoring.match, scoring.mismatch = 1, -2
    scoring.gapo, scoring.gape = -10, 0
    # Opening a gap before observed residue k: nothing at the ends and at a break, much elsewhere.
    step = np.linalg.norm(np.diff(ca, axis=0), axis=1)
    inner = np.where(np.nan_to_num(step, nan=np.inf) > _BREAK, -1, -10)
    opening = [0, *inner.tolist(), 0]
    result = gemmi.align_string_sequences(list(full), list(observed), opening, scoring)
    places = np.full(len(observed), -1, dtype=np.int64)
    in_full = in_observed = 0
    for count, kind in _cigar(result.cigar_str()):
        if kind == "M":
            places[in_observed : in_observed + count] = np.arange(in_full, in_full + count)
        if kind in "MI":
            in_full += count
        if kind in "MD":
            in_observed += count
    return places


def _cigar(text: str) -> Iterable[tuple[int, str]]:
    number = ""
    for letter in text:
        if letter.isdigit():
            number += letter
        else:
            yield int(number or "1"), letter
            number = ""


def wild_type_from_structure(
    structure: Structure,
    *,
    name: str | None = None,
    features: tuple[Feature, ...] = (),
    records: tuple[Mapping[str, object], ...] = (),
) -> WildType:
    """Make the wild type that a structure file describes.

    Its sequence is the one the file states (SEQRES, polymer entity), unresolved residues
    included; without one, the residues that have coordinates.
    """
    if structure.full_sequence is not None and structure.full_index is not None:
        sequence = structure.full_sequence
        index = np.full(len(sequence), -1, dtype=np.int64)
        index[structure.full_index] = np.arange(len(structure))
        # A residue that differs from the stated one (or is unknown there) has no place.
        differing = tuple(
            (place, k)
            for place, k in enumerate(index.tolist())
            if k >= 0 and structure.sequence[k] not in (sequence[place], UNKNOWN)
        )
        index[[place for place, _ in differing]] = -1
    else:
        sequence = structure.sequence
        index = np.arange(len(structure), dtype=np.int64)
        differing = ()
    return WildType(
        name=name or structure.name,
        sequence=sequence,
        structure=structure,
        structure_index=index,
        differences=differing,
        features=features,
        records=records,
        notes=structure.notes + _numbering_note(structure, index),
    )


def with_structure(
    wild_type: WildType, structure: Structure, *, records: tuple[Mapping[str, object], ...] = ()
) -> WildType:
    """Map a structure onto the sequence of a wild type and join the two.

    Raises
    ------
    StructureError
        Code ``structure_mismatch``, as `map_sequence`.
    """
    laid = _lay(structure, wild_type.sequence.upper())
    index = laid.index
    notes = structure.notes + laid.notes
    covered = int((index >= 0).sum()) + len(laid.differences)
    if covered < len(index):
        notes += (f"the structure covers {covered} of {len(index)} residues",)
    return replace(
        wild_type,
        structure=structure,
        structure_index=index,
        differences=laid.differences,
        records=wild_type.records + records,
        notes=wild_type.notes + notes + _numbering_note(structure, index),
    )


def site_notes(wild_type: WildType, positions: Iterable[int]) -> tuple[str, ...]:
    """Say where the structure holds something else at a site than the residue that is scored.

    Parameters
    ----------
    wild_type : WildType
    positions : iterable of int
        1-based.

    Returns
    -------
    tuple of str
        For the notes of a row: an exchanged residue, a D-amino acid, a modified residue.
    """
    structure, index = wild_type.structure, wild_type.structure_index
    if structure is None or index is None:
        return ()
    found, modified, differing = [], dict(structure.modified), dict(wild_type.differences)
    for position in positions:
        letter = wild_type.sequence[position - 1]
        if position - 1 in differing:
            found.append(other_residue(wild_type, position))
        k = int(index[position - 1])
        if k in modified:
            form = (
                f"a D-amino acid, scored as L-{letter}"
                if is_d_residue(modified[k])
                else f"scored as {letter}"
            )
            found.append(f"residue {structure.numbers[k]} of the structure is {modified[k]}, {form}")
    return tuple(found)


def other_residue(wild_type: WildType, position: int) -> str:
    """Say which residue of the structure stands at a position in place of the sequence's; empty for none."""
    k = dict(wild_type.differences).get(position - 1)
    if k is None or wild_type.structure is None:
        return ""
    structure = wild_type.structure
    return (
        f"{structure.name} has {structure.sequence[k]} (residue {structure.numbers[k]}) at position "
        f"{position}, where the sequence has {wild_type.sequence[position - 1]}"
    )


def _numbering_note(structure: Structure, index: NDArray[np.int64]) -> tuple[str, ...]:
    """Describe how the file's residue numbers differ from positions; None if they agree."""
    places = np.flatnonzero(index >= 0)
    if not places.size:
        return ()
    first, last = int(places[0]), int(places[-1])
    same = all(structure.numbers[index[place]] == str(place + 1) for place in places.tolist())
    if same:
        return ()
    return (
        f"positions count from 1 on the sequence: position {first + 1} is residue "
        f"{structure.numbers[index[first]]} of the file, position {last + 1} is residue "
        f"{structure.numbers[index[last]]}",
    )


def structure_number(wild_type: WildType, positions: Iterable[int]) -> str:
    """Join the numbers that the structure's file gives to positions (1-based), in their order, by semicolons.

    A question mark stands for a residue without coordinates; empty if none has any.
    """
    numbers = [wild_type.structure_numbers[position - 1] for position in positions]
    return ";".join(number or "?" for number in numbers) if any(numbers) else ""


def plddt_by_position(wild_type: WildType) -> NDArray[np.float64] | None:
    """PLDDT (L,) laid out on the wild-type sequence, NaN where unresolved; None where there is none."""
    structure, index = wild_type.structure, wild_type.structure_index
    if structure is None or structure.plddt is None or index is None:
        return None
    return np.where(index >= 0, structure.plddt[np.maximum(index, 0)], np.nan)


def ca_by_position(wild_type: WildType) -> NDArray[np.float64] | None:
    """C-alpha coordinates (L, 3) laid out on the sequence, NaN where unresolved; None without structure."""
    structure, index = wild_type.structure, wild_type.structure_index
    if structure is None or index is None:
        return None
    return np.where((index >= 0)[:, None], structure.ca[np.maximum(index, 0)], np.nan)


def backbone_by_position(wild_type: WildType) -> NDArray[np.float64] | None:
    """Atoms N, CA, C and O (L, 4, 3), Å, as `ca_by_position`; NaN where a residue lacks the atom."""
    structure, index = wild_type.structure, wild_type.structure_index
    if structure is None or index is None:
        return None
    atoms = np.stack([structure.atom_coord(name) for name in BACKBONE], axis=1)
    return np.where((index >= 0)[:, None, None], atoms[np.maximum(index, 0)], np.nan)
