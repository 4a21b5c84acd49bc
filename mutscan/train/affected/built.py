"""Built mutants of the wild types that have all atoms, and what they drop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mutscan.builders.choose import choose_builders, describe_builders
from mutscan.builders.many import build_missing
from mutscan.builders.pool import BuildTask, exchanges_of, read_measured
from mutscan.files import file_name
from mutscan.hashes import text_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.structures import WildType
    from mutscan.train.affected.pairs import CrystalPair
    from mutscan.variants import Variant


@dataclass(frozen=True, eq=False)
class _Protein:
    wild_type: WildType
    folder: Path
    variants: tuple[Variant, ...]

    @property
    def tasks(self) -> list[BuildTask]:
        return [
            BuildTask(
                str(one), exchanges_of(self.wild_type, one), self.folder / f"{one}.npz",
                self.folder / f"{one}.cif",
            )
            for one in self.variants
        ]  # fmt: skip


def build_all(
    pairs: Sequence[CrystalPair], builder: str, work: Path, jobs: int, progress: Progress
) -> dict[int, NDArray[np.float64]]:
    """Build the mutants of pairs whose wild type has all atoms.

    Parameters
    ----------
    pairs : sequence of CrystalPair
    builder : str
        Backend, as ``--builder`` of ``mutscan score``.
    work : Path
        Keeps finished mutants, so that an interrupted run resumes.
    jobs : int
        Wild types that are built at a time.
    progress : Progress

    Returns
    -------
    dict of place in `pairs` -> float array, shape (L,)
        Measured lDDT. A pair whose mutant could not be built is not there; `progress` is told.
    """
    variants: dict[WildType, list[Variant]] = {}
    for pair in pairs:
        if pair.all_atoms:
            variants.setdefault(pair.wild_type, []).append(pair.variant)
    proteins = {}
    for wild_type, those in variants.items():
        described = json.dumps(describe_builders(choose_builders(builder, wild_type)), sort_keys=True)
        assert wild_type.structure is not None
        key = text_sha256(f"{described}\n{wild_type.sequence}\n{wild_type.structure.coord.tobytes().hex()}")
        folder = work / f"{file_name(wild_type.name)}-{key[:12]}"
        proteins[wild_type] = _Protein(wild_type, folder, tuple(dict.fromkeys(those)))
    for protein, task, reason in build_missing([*proteins.values()], builder, jobs, progress):
        progress.note(f"{protein.wild_type.name} {task.key} was not built: {reason}")
    found = {}
    for place, pair in enumerate(pairs):
        if pair.all_atoms:
            tasks = {task.key: task for task in proteins[pair.wild_type].tasks}
            measured = read_measured(tasks[str(pair.variant)], pair.wild_type)
            if measured is not None:
                found[place] = measured.lddt
    return found
