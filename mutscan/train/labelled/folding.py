"""Inverse folding of chains that are C-alpha atoms alone, with backbones learned from named structures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mutscan.hashes import bytes_sha256
from mutscan.model.inverse_folding import WEIGHTS_SHA256, load_inverse_folding
from mutscan.results import read_arrays, write_arrays
from mutscan.structures import backbone_by_position
from mutscan.train.labelled.backbones import BackboneRebuilder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mutscan.progress import Progress
    from mutscan.train.labelled.structures import NamedStructures, Shape
    from mutscan.train.labelled.tables import VariantTable


def learn_backbones(tables: Iterable[tuple[VariantTable, NamedStructures]]) -> BackboneRebuilder | None:
    """Learn from all structures that tables name; None where they name none."""
    found = [
        backbone_by_position(named.wild_type(table.proteins["sequence"].iloc[p]))
        for table, finder in tables
        for p, named, _ in finder.find_all(table)
        if named is not None
    ]
    whole = [backbone for backbone in found if backbone is not None]
    return BackboneRebuilder(whole) if whole else None


def fold_chains(
    chains: Mapping[int, Sequence[Shape]],
    sequences: Sequence[str],
    rebuild: BackboneRebuilder,
    work: Path,
    progress: Progress,
) -> dict[int, list[Shape]]:
    """Add inverse folding to the first chain of each protein, the one that covers the most residues.

    Parameters
    ----------
    chains : mapping of place in `sequences` -> sequence of Shape
    sequences : sequence of str
    rebuild : BackboneRebuilder
    work : Path
        Folder of finished proteins.
    progress : Progress
    """
    net = load_inverse_folding()
    found = {}
    progress.start("inverse folding of chains", len(chains))
    for place, (first, *others) in chains.items():
        identity = f"chain 1\n{WEIGHTS_SHA256}\n{sequences[place]}\n".encode()
        path = work / f"{bytes_sha256(identity + rebuild.identity + first.ca.tobytes())}.npz"
        stored = read_arrays(path)
        if stored is None:
            folded = net.log_probabilities(sequences[place], rebuild(first.ca))
            stored = {"folded": folded.astype(np.float32)}
            write_arrays(path, **stored)
        found[place] = [first._replace(folded=stored["folded"].astype(np.float64)), *others]
        progress.advance()
    progress.finish()
    return found
