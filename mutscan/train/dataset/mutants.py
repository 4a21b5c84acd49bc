"""Mutant pairs: wild types and the mutants that our builders make of them, with their small differences.

Pairs of natural proteins teach a net what different folds look like, but nothing about the effect of
one substitution. There the TM-score is 0.997 or more, and the lDDT is 1 unless a distance changes by half
an ångström: of 900 random substitutions built by openmm in 150 proteins 91 % keep it at every residue,
and the mean over the protein falls by 0.0003 at the 95th percentile (by 0.02 in 293 pairs of crystals).
Here every wild type gets a seeded random draw of all its substitutions, each is built by the
backend that builds users' variants, and the pair is measured with the residues
corresponding one to one: no alignment is searched.

A mutant depends only on its wild type's file, the backend's settings and the draw. Each is written
when it is finished, so that an interrupted call resumes and ends with the same tables.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.builders import BUILDERS, Exchange
from mutscan.builders.choose import choose_builders, describe_builders
from mutscan.builders.many import build_missing
from mutscan.builders.pool import BuildTask, Measured, read_measured
from mutscan.errors import MutscanError, RunFolderError, UsageError
from mutscan.files import replacing
from mutscan.progress import Progress, Silent
from mutscan.residues import STANDARD
from mutscan.scores import EXPONENT, RADIUS
from mutscan.structures import read_structure, wild_type_from_structure
from mutscan.variants import Substitution

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Structure, WildType

FAILURES: Final = "failures.csv"
"""In the work folder: id1, id2, reason of every mutant (or wild type, without id2) that failed."""

CHAIN_COLUMNS: Final = ("id", "sequence", "ca", "plddt", "kind", "source")
"""Columns of the chains table, in order."""

PAIR_COLUMNS: Final = (
    "id1", "id2", "tm_norm1", "tm_norm2", "len1", "len2", "n_aligned", "i1", "i2", "lddt",
    "lddt_exponent", "radius", "picked_as", "split", "aligner", "source",
)  # fmt: skip
"""Columns of the pairs table, in order."""

_CA_SCALE: Final = 100.0  # coordinates are stored in 0.01 Å, as int16:
_FARTHEST: Final = 320.0  # Å


def mutant_dataset(
    wild_types: Sequence[Path],
    *,
    per_protein: int,
    builder: str,
    seed: int,
    jobs: int,
    work: Path,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build random single substitutions of proteins and measure them.

    Parameters
    ----------
    wild_types : sequence of Path
        Structure files of one protein chain each, full-atom (the backends need backbones). The file
        name without endings is the chain's id.
    per_protein : int
        Substitutions of each, drawn without repeats from all positions x the 19 other residues.
    builder : {"auto", "modeller", "openmm", "template"}
        As ``mutscan score --builder``.
    seed : int
        Of the draw. A protein's substitutions depend on it and on the protein's id and sequence, not on
        the other files.
    jobs : int
        Proteins processed at a time, each in a process of its own.
    work : Path
        Folder for finished mutants (created if necessary) and `FAILURES`. Mutants of another
        backend or of a changed file are kept apart in it.
    progress : Progress, optional

    Returns
    -------
    chains : DataFrame
        id, sequence, ca, plddt, kind, source: a row for each wild type (id is the file's name) and
        each mutant (``<wild type>~R17H``, position from 1 on the wild type's row). Coordinates are
        int16 in 0.01 Å; a mutant lies where its wild type lies.
    pairs : DataFrame
        Wild type (id1) and mutant (id2) of every mutant that was built, all residues aligned to
        themselves, with ``picked_as`` "mutant", ``split`` null and the custom lDDT of exponent 3. The
        labels are of the unrounded coordinates.

    Raises
    ------
    UsageError
        No file, two of one name, or a backend that does not build.
    MissingDependencyError
        The backend is not installed or not licensed.
    """
    if not wild_types:
        raise UsageError("no wild-type structures were given to build mutants of")
    if builder not in BUILDERS:
        raise UsageError(f"builder {builder!r}: expected one of {', '.join(BUILDERS)}")
    if per_protein < 1 or jobs < 1:
        raise UsageError(f"per_protein {per_protein} and jobs {jobs}: both must be at least 1")
    progress = progress or Silent()
    work.mkdir(parents=True, exist_ok=True)
    proteins, failures = _read(wild_types, per_protein, builder, seed, work)
    failures += [
        (protein.wild_type.name, protein.mutant_id(task.key), reason)
        for protein, task, reason in build_missing(proteins, builder, jobs, progress)
    ]
    with replacing(work / FAILURES) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id1", "id2", "reason"])
        writer.writerows(sorted(failures))
    return _tables(proteins, {id2 for _, id2, _ in failures})


def draw_substitutions(sequence: str, count: int, *, seed: int, name: str) -> list[Substitution]:
    """Draw `count` different substitutions of a protein, uniformly from all 19 x L possible ones.

    Positions with a non-standard residue are skipped. Fewer are returned if there are not so many.
    """
    positions = [k for k, letter in enumerate(sequence) if letter in STANDARD]
    key = hashlib.sha256(f"{name}\0{sequence}".encode()).digest()
    rng = np.random.default_rng([seed, int.from_bytes(key[:8], "little")])
    possible = len(positions) * (len(STANDARD) - 1)
    drawn = rng.choice(possible, min(count, possible), replace=False)
    substitutions = []
    for number in drawn.tolist():
        position = positions[number // (len(STANDARD) - 1)]
        others = STANDARD.replace(sequence[position], "")
        mutant = others[number % (len(STANDARD) - 1)]
        substitutions.append(Substitution(position + 1, sequence[position], mutant))
    return substitutions


@dataclass(frozen=True, eq=False)
class _Protein:
    """A wild type, its substitutions in the order of its rows, and where their results go."""

    wild_type: WildType
    folder: Path
    substitutions: tuple[Substitution, ...]
    builders: str
    """Names of the backends, for the source column."""

    @property
    def structure(self) -> Structure:
        assert self.wild_type.structure is not None
        return self.wild_type.structure

    @property
    def tasks(self) -> list[BuildTask]:
        return [
            BuildTask(
                str(one),
                (Exchange(one.position - 1, one.mutant),),
                self.folder / f"{one}.npz",
                self.folder / f"{one}.cif",
            )
            for one in self.substitutions
        ]

    def mutant_id(self, name: str) -> str:
        return f"{self.wild_type.name}~{name}"


def _read(
    paths: Sequence[Path], per_protein: int, builder: str, seed: int, work: Path
) -> tuple[list[_Protein], list[tuple[str, str, str]]]:
    proteins: list[_Protein] = []
    failures: list[tuple[str, str, str]] = []
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            structure = read_structure(path)
        except MutscanError as error:
            failures.append((path.name, "", error.message))
            continue
        if np.abs(structure.ca - structure.ca.mean(axis=0)).max() > _FARTHEST:
            failures.append((path.name, "", f"reaches beyond {_FARTHEST:.0f} Å from its centre"))
            continue
        # The chain is what has coordinates: unresolved residues have no place in the tables.
        wild_type = wild_type_from_structure(replace(structure, full_sequence=None, full_index=None))
        if wild_type.name in seen:
            raise UsageError(
                f"{path} and {seen[wild_type.name]} would both be the chain {wild_type.name}; rename one"
            )
        seen[wild_type.name] = path
        builders = choose_builders(builder, wild_type)
        key = hashlib.sha256(json.dumps(describe_builders(builders), sort_keys=True).encode())
        key.update(path.read_bytes())
        folder = work / f"{wild_type.name}-{key.hexdigest()[:12]}"
        substitutions = draw_substitutions(wild_type.sequence, per_protein, seed=seed, name=wild_type.name)
        names = "+".join(one.name for one in builders)
        proteins.append(_Protein(wild_type, folder, tuple(substitutions), names))
    return proteins, failures


def _tables(proteins: Sequence[_Protein], failed: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    chains: list[dict[str, object]] = []
    pairs: list[dict[str, object]] = []
    for protein in proteins:
        wild_type, structure = protein.wild_type, protein.structure
        centre = structure.ca.mean(axis=0)
        chains.append(
            {
                "id": wild_type.name,
                "sequence": structure.sequence,
                "ca": _stored(structure.ca - centre),
                "plddt": None
                if structure.plddt is None
                else np.rint(structure.plddt).astype(np.uint8).tobytes(),
                "kind": "experimental" if structure.plddt is None else "predicted",
                "source": "wild type",
            }
        )
        for one, task in zip(protein.substitutions, protein.tasks, strict=True):
            name = protein.mutant_id(task.key)
            if name in failed:
                continue
            measured = read_measured(task, wild_type)
            if measured is None:
                raise RunFolderError(f"{task.part}: the finished mutant is missing; run the command again")
            sequence = (
                structure.sequence[: one.position - 1] + one.mutant + structure.sequence[one.position :]
            )
            built = read_structure(task.structure)
            if built.sequence != sequence:
                raise RunFolderError(
                    f"{task.structure}: holds another sequence than {wild_type.name} with {one}; "
                    "delete it and run the command again"
                )
            chains.append(
                {
                    "id": name,
                    "sequence": sequence,
                    "ca": _stored(built.ca - centre),
                    "plddt": None,
                    "kind": "built",
                    "source": f"{measured.builder}: {one} of {wild_type.name}",
                }
            )
            pairs.append(_pair(wild_type.name, name, measured, protein.builders))
    return pd.DataFrame(chains, columns=CHAIN_COLUMNS), pd.DataFrame(pairs, columns=PAIR_COLUMNS)


def _pair(id1: str, id2: str, measured: Measured, source: str) -> dict[str, object]:
    length = len(measured.lddt)
    every: NDArray[np.int32] = np.arange(length, dtype=np.int32)
    return {
        "id1": id1,
        "id2": id2,
        "tm_norm1": measured.tm_score,
        "tm_norm2": measured.tm_score,  # equal lengths
        "len1": length,
        "len2": length,
        "n_aligned": length,
        "i1": every,
        "i2": every,
        "lddt": measured.lddt.astype(np.float32),
        "lddt_exponent": EXPONENT,
        "radius": RADIUS,
        "picked_as": "mutant",
        "split": None,
        "aligner": "one to one",
        "source": source,
    }


def _stored(ca: NDArray[np.float64]) -> bytes:
    return np.rint(ca * _CA_SCALE).astype("<i2").tobytes()
