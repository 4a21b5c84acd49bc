"""Make one clean protein chain of a file's atom records, with a note on each choice."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mutscan.errors import StructureError
from mutscan.residues import ONE_LETTER, UNKNOWN
from mutscan.structures.atoms import atom_rank, is_d_residue, is_standard_name, letter_of, standard_atom
from mutscan.structures.chain import Structure
from mutscan.structures.handedness import inverted_residues, mirror_image
from mutscan.structures.mapping import other_shifts, place_residues
from mutscan.structures.records import ATOMIC_PREDICTORS, predictor_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mutscan.structures.records import AtomRecord, AtomTable

MIN_RESIDUES = 3
"""A chain of fewer residues has neither a TM-score nor a fold."""

_WATER = frozenset({"HOH", "WAT", "DOD", "H2O", "SOL", "TIP", "TIP3", "TP3", "TIP4"})


@dataclass
class _Residue:
    """All records of one residue number, then (after `_choose`) those of one conformer."""

    records: list[AtomRecord]
    name: str = ""
    letter: str = ""
    atoms: dict[str, AtomRecord] = field(default_factory=dict)

    @property
    def het(self) -> bool:
        return self.records[0].het

    @property
    def key(self) -> tuple[int, str]:
        return self.records[0].number, self.records[0].ins_code

    @property
    def number(self) -> str:
        return f"{self.records[0].number}{self.records[0].ins_code}"

    def where(self, atom: str) -> tuple[float, float, float] | None:
        record = self.atoms.get(atom)
        return None if record is None else (record.x, record.y, record.z)


@dataclass
class _Chain:
    """One protein of the file and what was left out to get it."""

    name: str
    residues: list[_Residue]
    notes: list[str]

    @property
    def sequence(self) -> str:
        return "".join(one.letter for one in self.residues)


def assemble(table: AtomTable, name: str, chain: str | None = None, *, plddt: bool = False) -> Structure:
    """Make a `Structure` of a file's only protein chain, or of the requested one.

    With `plddt` its B factors are pLDDT, whatever the file says or does not say of itself.
    """
    proteins = _proteins(table)
    chosen, notes = _pick(proteins, table, name, chain)
    if table.n_models > 1:
        notes.insert(0, f"the file has {table.n_models} models, the first is read")
    residues = chosen.residues
    _require_finite(residues, name, chosen.name)
    notes += chosen.notes
    atoms = [(k, atom, one) for k, residue in enumerate(residues) for atom, one in residue.atoms.items()]
    structure_atoms = [record for _, _, record in atoms]
    coord = np.array([(one.x, one.y, one.z) for one in structure_atoms], dtype=np.float64)
    index = np.array([k for k, _, _ in atoms], dtype=np.int64)
    b_factor = np.array([one.b_factor for one in structure_atoms], dtype=np.float64)
    sequence = chosen.sequence
    res_id = np.array([one.key[0] for one in residues], dtype=np.int64)
    ca = np.array([one.where("CA") for one in residues], dtype=np.float64)
    backbone = np.array(
        [[one.where(atom) or _NOWHERE for atom in ("N", "CA", "C", "CB")] for one in residues], np.float64
    )
    _require_a_chain(residues, ca, backbone, name, chosen.name)
    _require_names_apart(residues, name)
    notes += _geometry_notes(residues, ca, backbone)
    full_sequence, full_index = _stated(table, chosen, res_id, ca, notes)
    told = plddt and not table.plddt
    confidence = (
        _stated_plddt(table, chosen, name) if told else _plddt(table, chosen, index, b_factor, name, notes)
    )
    return Structure(
        name=name,
        chain_id=chosen.name,
        sequence=sequence,
        res_id=res_id,
        ins_code=tuple(one.key[1] for one in residues),
        residue_index=index,
        atom_name=tuple(atom for _, atom, _ in atoms),
        element=tuple(_element(residues[k], atom, one) for k, atom, one in atoms),
        coord=coord,
        b_factor=b_factor,
        plddt=confidence,
        full_sequence=full_sequence,
        full_index=full_index,
        notes=tuple(notes),
        modified=tuple((k, one.name) for k, one in enumerate(residues) if not is_standard_name(one.name)),
    )


# Chains ----------------------------------------------------------------------------------------------


def _proteins(table: AtomTable) -> list[_Chain]:
    """Every protein of the first model, in file order."""
    by_chain: dict[str, list[AtomRecord]] = {}
    for record in table.atoms:
        by_chain.setdefault(record.chain, []).append(record)
    proteins = []
    for name, records in by_chain.items():
        dropped: Counter[str] = Counter()
        for segment in _segments(records, dropped):
            protein = _clean(name, segment, table, dropped)
            if protein is not None:
                proteins.append(protein)
    return proteins


def _segments(records: list[AtomRecord], dropped: Counter[str]) -> list[list[_Residue]]:
    """Amino-acid residues in file order; a new segment starts where a residue number comes back.

    A number comes back when a file uses one chain name for several copies, with or without TER between.
    """
    residues: list[_Residue] = []
    last: tuple[int, int, str] | None = None
    for record in records:
        here = (record.block, record.number, record.ins_code)
        if here != last:
            residues.append(_Residue([]))
            last = here
        residues[-1].records.append(record)
    segments: list[list[_Residue]] = [[]]
    seen: dict[tuple[int, str], _Residue] = {}
    for residue in residues:
        if not _looks_like_amino_acid(residue):
            for residue_name in {record.residue for record in residue.records}:
                dropped[residue_name] += 1
            continue
        known = seen.get(residue.key)
        if known is not None and all(record.altloc for record in residue.records):
            # Some programs list second conformers after the whole chain.
            known.records.extend(residue.records)
            continue
        if known is not None:
            if residue.het and residue.records[0].label_seq is None:
                # An amino acid as ligand, numbered without regard to the chain.
                dropped[residue.records[0].residue] += 1
                continue
            segments.append([])
            seen = {}
        segments[-1].append(residue)
        seen[residue.key] = residue
    return segments


def _looks_like_amino_acid(residue: _Residue) -> bool:
    if any(letter_of(record.residue) is not None for record in residue.records):
        return True
    names = {record.atom for record in residue.records}
    return {"N", "CA", "C"} <= names and not any(
        record.atom == "CA" and record.element == "CA" for record in residue.records
    )


def _clean(name: str, segment: list[_Residue], table: AtomTable, dropped: Counter[str]) -> _Chain | None:
    conformers = 0
    modified: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for residue in segment:
        conformers += _choose(residue)
        if residue.letter == UNKNOWN:
            unknown[residue.name] += 1
        elif residue.name not in ONE_LETTER and not is_standard_name(residue.name):
            modified[residue.name] += 1
    bonded = _in_polymer(segment, table)
    kept: list[_Residue] = []
    without_ca: list[str] = []
    for residue, is_in in zip(segment, bonded, strict=True):
        if not is_in:
            dropped[residue.name] += 1
            _forget(residue, modified, unknown)
        elif "CA" not in residue.atoms:
            without_ca.append(f"{residue.name} {residue.number}")
            _forget(residue, modified, unknown)
        else:
            kept.append(residue)
    if not kept and not without_ca:
        return None
    notes = []
    mirrored = [f"{one.name} {one.number}" for one in kept if is_d_residue(one.name)]
    if mirrored:
        plural = "s are D-amino acids" if len(mirrored) > 1 else " is a D-amino acid"
        notes.append(
            f"{len(mirrored)} residue{plural}, read and scored as the L form: {_some(mirrored)}; "
            "no score here knows the mirror image"
        )
    if conformers:
        notes.append(f"{conformers} residues have alternate locations, the one of highest occupancy is read")
    for three, count in sorted(modified.items()):
        if is_d_residue(three):
            continue
        one = letter_of(three)
        parent = next(full for full, letter in ONE_LETTER.items() if letter == one)
        notes.append(f"{count} {three} read as {parent}")
    for three, count in sorted(unknown.items()):
        notes.append(f"{count} {three} read as unknown residue X")
    if without_ca:
        notes.append(f"{len(without_ca)} residues without C-alpha left out: {_some(without_ca)}")
    waters = sum(count for three, count in dropped.items() if three in _WATER)
    others = [f"{count} {three}" for three, count in sorted(dropped.items()) if three not in _WATER]
    if others:
        notes.append(f"not part of the protein, left out: {_some(others)}")
    if waters:
        notes.append(f"{waters} waters left out")
    return _Chain(name, kept, notes)


def _forget(residue: _Residue, *counts: Counter[str]) -> None:
    for count in counts:
        if residue.name in count:
            count[residue.name] -= 1
            if not count[residue.name]:
                del count[residue.name]


def _some(words: list[str], most: int = 6) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _choose(residue: _Residue) -> bool:
    """Keep one residue name, one conformer and one record per heavy atom; True if there was a choice."""
    by_name: dict[str, list[AtomRecord]] = {}
    for record in residue.records:
        by_name.setdefault(record.residue, []).append(record)
    if len(by_name) > 1:
        # Two residue types at one place (microheterogeneity): a mean, for the larger has more atoms.
        amino = {k: v for k, v in by_name.items() if letter_of(k) is not None} or by_name
        residue.name = min(
            amino, key=lambda k: (-sum(r.occupancy for r in amino[k]) / len(amino[k]), amino[k][0].altloc)
        )
        residue.records = amino[residue.name]
    else:
        (residue.name,) = by_name
    residue.letter = letter_of(residue.name) or UNKNOWN
    weight: dict[str, float] = {}
    for record in residue.records:
        if record.altloc:
            weight[record.altloc] = weight.get(record.altloc, 0.0) + record.occupancy
    best = min(weight, key=lambda label: (-round(weight[label], 4), label)) if weight else ""
    found: dict[str, AtomRecord] = {}
    for record in residue.records:
        atom = _heavy_name(residue, record)
        if atom is None:
            continue
        other = found.get(atom)
        if other is None or _preferred(record, other, best):
            found[atom] = record
    residue.atoms = dict(sorted(found.items(), key=lambda item: atom_rank(residue.letter, item[0])))
    return len(by_name) > 1 or len(weight) > 1


def _preferred(record: AtomRecord, other: AtomRecord, best: str) -> bool:
    if (record.altloc == best) != (other.altloc == best):
        return record.altloc == best
    return record.altloc != other.altloc and record.occupancy > other.occupancy


def _heavy_name(residue: _Residue, record: AtomRecord) -> str | None:
    if residue.letter != UNKNOWN:
        return standard_atom(residue.letter, residue.name, record.atom)
    element = record.element or record.atom.lstrip("0123456789")[:1]
    return None if element in ("H", "D", "Q", "") else record.atom


def _element(residue: _Residue, atom: str, record: AtomRecord) -> str:
    # The element column is missing or wrong often enough; in the 20 residues the name decides.
    if residue.letter != UNKNOWN or atom in ("N", "CA", "C", "O", "OXT", "CB"):
        return atom[0]
    return (record.element or atom.lstrip("0123456789")[:1]).capitalize()


def _in_polymer(segment: list[_Residue], table: AtomTable) -> list[bool]:
    """Which residues belong to the chain: a free amino acid bound as a ligand does not.

    mmCIF says so by label_seq_id. In PDB, ATOM residues do, and HETATM residues that are bonded to a
    residue of the chain or lie between two of its ATOM residues in the file.
    """
    if table.is_mmcif and any(one.records[0].label_seq is not None for one in segment):
        return [one.records[0].label_seq is not None for one in segment]
    atom_places = [k for k, one in enumerate(segment) if not one.het]
    inside = [not one.het for one in segment]
    if atom_places:
        for k in range(atom_places[0], atom_places[-1]):
            inside[k] = True
    # Outwards from what is in the chain, along peptide bonds.
    for k in range(1, len(segment)):
        inside[k] = inside[k] or (inside[k - 1] and _bonded(segment[k - 1], segment[k]))
    for k in range(len(segment) - 2, -1, -1):
        inside[k] = inside[k] or (inside[k + 1] and _bonded(segment[k], segment[k + 1]))
    if not atom_places:
        # Nothing but HETATM: a peptide of modified residues is a chain, scattered amino acids are not.
        links = [_bonded(one, two) for one, two in pairwise(segment)]
        return [any(links[max(k - 1, 0) : k + 1]) for k in range(len(segment))]
    return inside


def _bonded(first: _Residue, second: _Residue) -> bool:
    carbon, nitrogen = first.where("C"), second.where("N")
    if carbon is not None and nitrogen is not None:
        return math.dist(carbon, nitrogen) < 2.0
    one, two = first.where("CA"), second.where("CA")
    return one is not None and two is not None and math.dist(one, two) < 4.5


def _pick(proteins: list[_Chain], table: AtomTable, name: str, chain: str | None) -> tuple[_Chain, list[str]]:
    everything = proteins
    long_enough = [one for one in proteins if len(one.residues) >= MIN_RESIDUES]
    if chain is not None:
        named = [one for one in proteins if one.name == chain.strip()]
        if not named:
            known = sorted({record.chain for record in table.atoms})
            what = "holds no protein" if chain.strip() in known else "is not in the file"
            raise StructureError(f"{name}: chain {chain!r} {what}; protein chains: {_list(proteins)}")
        long_enough = [one for one in named if len(one.residues) >= MIN_RESIDUES]
        proteins = named
    if not proteins:
        found = Counter(record.residue for record in table.atoms)
        raise StructureError(
            f"{name}: no protein chain found; its residues are {_some([k for k, _ in found.most_common()])}"
        )
    if not long_enough:
        most = max(len(one.residues) for one in proteins)
        raise StructureError(
            f"{name}: the protein chain has {most} residue{'s' * (most != 1)} with a C-alpha, "
            f"at least {MIN_RESIDUES} are needed"
        )
    first, notes = long_enough[0], list[str]()
    short = [one for one in everything if len(one.residues) < MIN_RESIDUES]
    if short:
        lost = [
            f"{residue.name} {residue.number} of chain {one.name or '(blank)'}"
            for one in short
            for residue in one.residues
        ]
        if lost:
            notes.append(f"left out, too short for a protein chain: {_some(lost)}")
        for one in short:
            if not one.residues:
                notes += [f"chain {one.name or '(blank)'}: {note}" for note in one.notes]
    if len(long_enough) > 1:
        if not all(_same_protein(first, other, table) for other in long_enough[1:]):
            if len({one.name for one in long_enough}) < len(long_enough):
                raise StructureError(
                    f"{name}: one chain name is used for different proteins ({_list(long_enough)}); "
                    "give each its own chain name, or keep one in the file"
                )
            raise StructureError(
                f"{name}: holds several proteins ({_list(long_enough)}); choose one with --chain "
                f"(chain={first.name!r} in Python)"
            )
        others = ", ".join(one.name or "(blank)" for one in long_enough[1:])
        notes.append(f"chain {first.name or '(blank)'} is read; {others} hold the same protein")
    return first, notes


def _list(chains: list[_Chain]) -> str:
    return _some([f"{one.name or '(blank)'}: {len(one.residues)} residues" for one in chains]) or "none"


def _same_protein(one: _Chain, two: _Chain, table: AtomTable) -> bool:
    if one.sequence == two.sequence:
        return True
    stated, other = table.stated.get(one.name), table.stated.get(two.name)
    if one.name != two.name and stated and other:
        return stated == other
    # Copies resolve different residues: compare by number.
    first = {residue.key: residue.letter for residue in one.residues}
    common = [(first[residue.key], residue.letter) for residue in two.residues if residue.key in first]
    return len(common) >= 0.9 * min(len(one.residues), len(two.residues)) and all(a == b for a, b in common)


# Checks and annotations ----------------------------------------------------------------------------


def _require_finite(residues: list[_Residue], name: str, chain: str) -> None:
    for residue in residues:
        for atom, one in residue.atoms.items():
            if not (math.isfinite(one.x) and math.isfinite(one.y) and math.isfinite(one.z)):
                raise StructureError(
                    f"{name}: atom {atom} of {residue.name} {residue.number}, chain {chain or '(blank)'}, "
                    f"has a coordinate that is no finite number (record {one.serial}); correct or remove it"
                )


_NOWHERE = (math.nan, math.nan, math.nan)

_SHORTEST, _LONGEST = 2.5, 10.0
"""Å; the median C-alpha step of a chain is 3.8, that of a cis peptide 2.9."""

_CLOSEST = 1.5
"""Å; radius of gyration of the densest packing of residues is 2.46 times their number's cube root."""

_FLATTEST = 0.1
"""Å; root mean square distance of C-alpha atoms from the nearest straight line, or the nearest plane. Of 788
chains of public benchmark sets none is nearer to a line than 2.4 Å, or to a plane than 1.5 Å."""

_LEAST_LINE, _LEAST_PLANE = 5, 20
"""Residues: three atoms lie in a plane always, and a short strand nearly does."""


def _require_a_chain(
    residues: list[_Residue],
    ca: NDArray[np.float64],
    backbone: NDArray[np.float64],
    name: str,
    chain: str,
) -> None:
    """Refuse atoms that lie as in no protein: at one point, in other units, crushed, flat, or mirrored."""
    numbers = np.array([residue.key[0] for residue in residues])
    step = np.linalg.norm(np.diff(ca, axis=0), axis=1)[np.diff(numbers) <= 1]
    points, counts = np.unique(np.round(ca, 2), axis=0, return_counts=True)
    radius = float(np.sqrt(((ca - ca.mean(axis=0)) ** 2).sum(axis=1).mean()))
    wrong = ""
    if counts.max() >= MIN_RESIDUES:
        point = ", ".join(f"{value + 0.0:g}" for value in points[counts.argmax()])
        wrong = f"{counts.max()} of its {len(ca)} C-alpha atoms lie at one point ({point})"
    elif step.size >= 5 and not _SHORTEST <= np.median(step) <= _LONGEST:
        wrong = (
            f"C-alpha atoms of neighbouring residues are {np.median(step):.2g} Å apart (median), not 3.8 Å"
        )
    elif radius < _CLOSEST * len(ca) ** (1 / 3):
        wrong = f"its {len(ca)} residues fill a space of {radius:.2g} Å radius, too small for them"
    elif shape := _flat_shape(ca):
        wrong = f"its {len(ca)} C-alpha atoms lie {shape}"
    elif why := mirror_image(backbone):
        wrong = f"it is a mirror image ({why})"
    if wrong:
        raise StructureError(
            f"{name}: chain {chain or '(blank)'} is no protein structure: {wrong}; "
            "expected coordinates of L-amino acids in Å; make or download the file again"
        )


def _require_names_apart(residues: list[_Residue], name: str) -> None:
    """Refuse residue 10 with insertion code 1 beside residue 101: both are written 101."""
    seen: dict[str, tuple[int, str]] = {}
    for number, code in (residue.key for residue in residues):
        other = seen.setdefault(f"{number}{code}", (number, code))
        if other != (number, code):
            told = " and ".join(
                f"{n} (insertion code {c})" if c else str(n) for n, c in (other, (number, code))
            )
            raise StructureError(
                f"{name}: residues {told} of one chain are written alike; use letters as insertion codes"
            )


def _flat_shape(ca: NDArray[np.float64]) -> str:
    """Say whether atoms lie on a line or in a plane; empty where they do neither."""
    _, width, depth = np.linalg.svd(ca - ca.mean(axis=0), compute_uv=False) / np.sqrt(len(ca))
    if len(ca) >= _LEAST_LINE and np.hypot(width, depth) < _FLATTEST:
        return "on one straight line"
    return "in one plane" * bool(len(ca) >= _LEAST_PLANE and depth < _FLATTEST)


def _geometry_notes(
    residues: list[_Residue], ca: NDArray[np.float64], backbone: NDArray[np.float64]
) -> list[str]:
    notes = []
    inverted = [
        f"{one.name} {one.number}"
        for one, is_inverted in zip(residues, inverted_residues(backbone), strict=True)
        if is_inverted and not is_d_residue(one.name)
    ]
    if inverted:
        notes.append(f"named as L-amino acids, but with the C-beta of the D form: {_some(inverted)}")
    complete = sum({"N", "CA", "C"} <= residue.atoms.keys() for residue in residues)
    if complete == 0:
        notes.append("C-alpha atoms only: mutants cannot be built from it")
    elif complete < len(residues):
        missing = [f"{one.name} {one.number}" for one in residues if not {"N", "CA", "C"} <= one.atoms.keys()]
        notes.append(f"{len(missing)} residues lack backbone atoms: {_some(missing)}")
    step = np.linalg.norm(np.diff(ca, axis=0), axis=1)
    breaks = int((step > 4.5).sum())
    if breaks:
        notes.append(f"{breaks} chain break{'s' * (breaks != 1)} (unresolved residues)")
    close = np.flatnonzero(step < 2.0)
    if close.size:
        where = [f"{residues[k].number}/{residues[k + 1].number}" for k in close]
        notes.append(f"neighbours closer than 2 Å (overlapping residues): {_some(where)}")
    return notes


def _stated(
    table: AtomTable, chosen: _Chain, res_id: NDArray[np.int64], ca: NDArray[np.float64], notes: list[str]
) -> tuple[str | None, NDArray[np.int64] | None]:
    """Find the sequence the file states for the chain and the place of each residue in it."""
    names = table.stated.get(chosen.name)
    if not names:
        return None, None
    full = "".join(letter_of(three) or UNKNOWN for three in names)
    sequence = chosen.sequence
    labels = [residue.records[0].label_seq for residue in chosen.residues]
    if all(label is not None and 1 <= label <= len(full) for label in labels):
        index = np.array([label - 1 for label in labels if label is not None], dtype=np.int64)
    else:
        index = place_residues(sequence, res_id, ca, full)
        if other_shifts(sequence, index, full) and not np.array_equal(index + 1, res_id):
            notes.append(
                "the residues with coordinates fit several stretches of the sequence the file states "
                f"({len(full)} residues), and their numbers do not decide: it is not used"
            )
            return None, None
    wrong = sum(
        k < 0 or (full[k] != letter and UNKNOWN not in (full[k], letter))
        for k, letter in zip(index.tolist(), sequence, strict=True)
    )
    if wrong or np.any(np.diff(index) <= 0):
        notes.append(
            f"the sequence the file states ({len(full)} residues) does not fit {wrong} of its "
            f"{len(sequence)} residues with coordinates and is not used"
        )
        return None, None
    return full, index


def _stated_plddt(table: AtomTable, chosen: _Chain, name: str) -> NDArray[np.float64]:
    """PLDDT per residue (0-100) of a file whose user says that its B factors are that."""
    values = np.array([residue.atoms["CA"].b_factor for residue in chosen.residues])
    wrong = ""
    if table.measured_by is not None:
        wrong = f"the file states an experiment ({table.measured_by})"
    elif values.min() < 0 or values.max() > 100:
        wrong = f"they go from {values.min():g} to {values.max():g}, beyond 0 to 100"
    elif np.ptp(values) == 0:
        wrong = f"they are all {values[0]:g}"
    if wrong:
        raise StructureError(
            f"{name}: B factors of chain {chosen.name or '(blank)'} are no pLDDT: {wrong}; leave --plddt out"
        )
    return values * 100.0 if values.max() <= 1.0 else values


def _plddt(
    table: AtomTable,
    chosen: _Chain,
    index: NDArray[np.int64],
    b_factor: NDArray[np.float64],
    name: str,
    notes: list[str],
) -> NDArray[np.float64] | None:
    """PLDDT per residue (0-100) where the file says that it is a model which has one."""
    if table.plddt:
        values = np.array(
            [table.plddt.get((chosen.name, *residue.key), math.nan) for residue in chosen.residues]
        )
        if np.isfinite(values).any():
            return values
    per_residue = np.array([residue.atoms["CA"].b_factor for residue in chosen.residues])
    constant = bool(np.all(np.abs(b_factor - per_residue[index]) < 0.011))
    if per_residue.min() < 0 or per_residue.max() > 100 or np.ptp(per_residue) == 0:
        return None
    said = table.predicted_by or predictor_in(name) or ("AFDB" if name.startswith("AF-") else None)
    if said is None:
        if constant and len(b_factor) > 2 * len(per_residue) and np.unique(per_residue).size > 5:
            notes.append(
                "B factors are constant in each residue as in a predicted model, but the file does not say "
                "that it is one: they are not read as pLDDT (--plddt says that they are)"
            )
        return None
    if not constant and said != "ModelCIF" and said not in ATOMIC_PREDICTORS:
        return None
    if per_residue.max() <= 1.0:
        notes.append("pLDDT given as 0-1, read as 0-100")
        return per_residue * 100.0
    return per_residue
