"""Inverse folding of the proteins of a table, from the structures it names or from chains; kept on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mutscan.files import write_errors
from mutscan.hashes import bytes_sha256
from mutscan.model.inverse_folding import WEIGHTS_SHA256, load_inverse_folding
from mutscan.results import read_arrays, write_arrays
from mutscan.structures import WildType, backbone_by_position
from mutscan.train.labelled.backbones import BackboneRebuilder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.labelled.structures import NamedStructures, Shape
    from mutscan.train.labelled.tables import VariantTable


class Folded(NamedTuple):
    """C-alpha atoms (L, 3) of a protein and log-probabilities (L, 20) of inverse folding there."""

    ca: NDArray[np.float64]
    log_probabilities: NDArray[np.float64]


def named_backbones(table: VariantTable, finder: NamedStructures) -> dict[int, NDArray[np.float64]]:
    """N, CA, C and O (L, 4, 3) of each protein with variants whose named structure has them."""
    found = {}
    for p, named, _ in finder.find_all(table):
        if named is not None:
            sequence = str(table.proteins["sequence"].iloc[p])
            backbone = backbone_by_position(WildType("", sequence, named.structure, named.index))
            assert backbone is not None
            if np.isfinite(backbone[:, :3]).all(axis=(1, 2)).any():
                found[p] = backbone
    return found


def folded_proteins(
    table: VariantTable,
    named: Mapping[int, NDArray[np.float64]],
    work: Path,
    progress: Progress,
    *,
    chains: Mapping[int, Sequence[Shape]] | None = None,
    rebuild: BackboneRebuilder | None = None,
) -> dict[int, Folded]:
    """Inverse folding of the proteins with variants, by their row in the table.

    Parameters
    ----------
    table : VariantTable
    named : mapping of a protein's row -> float array, shape (L, 4, 3)
        `named_backbones` of the table.
    work : Path
        Folder of finished proteins, made if missing.
    progress : Progress
    chains : mapping of a protein's row -> sequence of (C-alpha, pLDDT), optional
        For proteins without a named structure; the first is taken.
    rebuild : BackboneRebuilder, optional
        Completes `chains`; by default learned from `named`.

    Raises
    ------
    MissingDependencyError, CheckpointError
        As `load_inverse_folding`.
    """
    net = load_inverse_folding()
    backbones = dict(named)
    missing = {p: c for p, c in (chains or {}).items() if p not in named and c}
    if missing and (rebuild is not None or named):
        rebuild = rebuild if rebuild is not None else BackboneRebuilder(named.values())
        backbones |= {p: rebuild(shapes[0][0]) for p, shapes in missing.items()}
    with_variants = [p for p in np.unique(table.protein).tolist() if p in backbones]
    sequences = table.proteins["sequence"].astype(str).tolist()
    found = {}
    progress.start("inverse folding", len(with_variants))
    with write_errors(work):
        work.mkdir(parents=True, exist_ok=True)
    for p in with_variants:
        identity = f"{WEIGHTS_SHA256}\n{sequences[p]}\n".encode() + backbones[p].round(3).tobytes()
        path = work / f"folded-{bytes_sha256(identity)[:32]}.npz"
        arrays = read_arrays(path)
        if arrays is None:
            arrays = {"folded": net.log_probabilities(sequences[p], backbones[p])}
            write_arrays(path, **arrays)
        found[p] = Folded(backbones[p][:, 1], arrays["folded"])
        progress.advance()
    progress.finish()
    return found
