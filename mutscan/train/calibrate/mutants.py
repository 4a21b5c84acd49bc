"""Build mutants of variants of all tables, and read the evidence they give.

A builder needs all atoms, which only proteins whose table names a structure file have. A seeded draw, in
which proteins and both labels take turns, chooses the variants to build. Each finished mutant is kept on
disk, so that an interrupted run resumes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.builders import Exchange
from mutscan.builders.choose import choose_builders, describe_builders
from mutscan.builders.many import build_missing
from mutscan.builders.pool import BuildTask, read_measured
from mutscan.evidence.built import BUILT_EVIDENCE, built_evidence
from mutscan.hashes import bytes_sha256
from mutscan.residues import STANDARD
from mutscan.structures import WildType, read_structure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.labelled.structures import NamedStructures
    from mutscan.train.labelled.tables import Kind, VariantTable

LABELLED_SHARE: Final = 0.5
"""Share of the mutants that are of labelled variants; other tables, where there are any, share the rest."""


@dataclass(frozen=True, eq=False)
class _Protein:
    """A wild type, the rows of its table to build, and the folder of its mutants."""

    wild_type: WildType
    folder: Path
    rows: NDArray[np.int64]
    tasks: list[BuildTask]


def evidence_of_mutants(
    tables: Mapping[Kind, VariantTable],
    finders: Mapping[Kind, NamedStructures],
    count: int,
    progress: Progress,
    *,
    builder: str,
    work: Path,
    jobs: int = 1,
    seed: int = 0,
) -> dict[Kind, dict[str, NDArray[np.float64]]]:
    """Build about `count` mutants and read their evidence.

    Parameters
    ----------
    tables : mapping of kind -> VariantTable
        ``variants`` holds the labelled ones.
    finders : mapping of kind -> NamedStructures
        Find the structures that a table names.
    count : int
        Mutants to build; fewer where the tables have fewer.
    progress : Progress
    builder : {"openmm", "template", "modeller"}
    work : Path
        Folder of finished mutants, made if missing.
    jobs : int
        Proteins built at a time, each in a process of its own.
    seed : int
        Random seed of the draw.

    Returns
    -------
    dict of kind -> dict of name -> float array, shape (n,)
        `BUILT_EVIDENCE` of each row of each table, NaN where no mutant was built.
    """
    found = {
        kind: {name: np.full(len(table), np.nan) for name in BUILT_EVIDENCE} for kind, table in tables.items()
    }
    others = [kind for kind in tables if kind != "variants"]
    for kind, table in tables.items():
        share = 1.0 if not others else LABELLED_SHARE if kind == "variants" else 0.5 / len(others)
        proteins = _wild_types(table, finders[kind], builder, work)
        chosen = draw(table, proteins, int(count * share), labelled=kind == "variants", seed=seed)
        todo = [_with_tasks(proteins[p], table, rows) for p, rows in chosen.items()]
        failed = sorted(
            f"{protein.wild_type.name}: {reason}"
            for protein, _, reason in build_missing(todo, builder, jobs, progress)
        )
        if failed:
            progress.note(f"{kind}: {len(failed)} mutants could not be built, the first: {failed[0]}")
        for protein in todo:
            for row, seen in _read(protein):
                for name, value in seen.items():
                    found[kind][name][row] = value
    return found


def draw(
    table: VariantTable,
    proteins: Mapping[int, _Protein],
    count: int,
    *,
    labelled: bool,
    seed: int,
) -> dict[int, NDArray[np.int64]]:
    """Choose the rows to build, by protein, in rounds: each protein gives one row of each label per round.

    Only the first row of a variant counts. Sites without coordinates are left out.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(np.isin(table.protein, list(proteins)))
    resolved = np.zeros(len(rows), dtype=np.bool_)
    for p, protein in proteins.items():
        here = table.protein[rows] == p
        assert protein.wild_type.structure_index is not None
        resolved[here] = protein.wild_type.structure_index[table.index[rows[here]]] >= 0
    rows = rng.permutation(rows[resolved])
    frame = pd.DataFrame(
        {
            "row": rows,
            "protein": table.protein[rows],
            "index": table.index[rows],
            "mutant": table.mutant[rows],
            "label": table.value[rows] if labelled else 0.0,
        }
    ).drop_duplicates(["protein", "index", "mutant"])
    frame["turn"] = frame.groupby(["protein", "label"]).cumcount()
    chosen: list[NDArray[np.int64]] = []
    labels = sorted(frame["label"].unique())
    # Labels are drawn separately: a label with few rows does not limit the other.
    for k, label in enumerate(labels):
        part = frame[frame["label"] == label].sort_values("turn", kind="stable")
        most = count // len(labels) + (1 if k < count % len(labels) else 0)
        chosen.append(part["row"].to_numpy(dtype=np.int64)[:most])
    if not chosen:
        return {}
    taken = np.sort(np.concatenate(chosen))
    return {int(p): taken[table.protein[taken] == p] for p in np.unique(table.protein[taken])}


def _wild_types(
    table: VariantTable, finder: NamedStructures, builder: str, work: Path
) -> dict[int, _Protein]:
    """Wild types with a structure file; the reader of evidence reports the files that cannot be used."""
    found: dict[int, _Protein] = {}
    names, sequences = (table.proteins[c].astype(str).tolist() for c in ("protein", "sequence"))
    for p, named, _ in finder.find_all(table):
        if named is None:
            continue
        wild_type = WildType(names[p], sequences[p], named.structure, named.index)
        settings = json.dumps(describe_builders(choose_builders(builder, wild_type)), sort_keys=True)
        key = bytes_sha256(settings.encode() + named.path.read_bytes())
        folder = work / f"{named.path.name.partition('.')[0]}-{key[:16]}"
        found[p] = _Protein(wild_type, folder, np.zeros(0, dtype=np.int64), [])
    return found


def _with_tasks(protein: _Protein, table: VariantTable, rows: NDArray[np.int64]) -> _Protein:
    index = protein.wild_type.structure_index
    assert index is not None
    tasks = []
    for row in rows.tolist():
        site, residue = int(index[table.index[row]]), STANDARD[int(table.mutant[row])]
        key = f"{site}{residue}"  # two tables may share a file, not a numbering
        tasks.append(
            BuildTask(
                key, (Exchange(site, residue),), protein.folder / f"{key}.npz", protein.folder / f"{key}.cif"
            )
        )
    return _Protein(protein.wild_type, protein.folder, rows, tasks)


def _read(protein: _Protein) -> Iterator[tuple[int, dict[str, float]]]:
    """Evidence of each mutant that was built."""
    structure = protein.wild_type.structure
    assert structure is not None
    for row, task in zip(protein.rows.tolist(), protein.tasks, strict=True):
        if read_measured(task, protein.wild_type) is not None:
            yield row, built_evidence(structure, read_structure(task.structure), task.exchanges[0].index)
