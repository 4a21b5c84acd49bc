"""Evidence of the variants of many proteins: one pass of the encoder for each, kept on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mutscan.embed.head import load_head
from mutscan.errors import StructureError
from mutscan.evidence import ProteinView, sequence_evidence, structure_evidence
from mutscan.evidence.sequence import encoder_views, sequence_hash
from mutscan.files import cache_dir
from mutscan.results import read_arrays, write_arrays
from mutscan.train.labelled.profiles import FamilyProfiles
from mutscan.train.labelled.tables import structure_on_sequence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.embed import Encoder
    from mutscan.embed.head import LanguageHead
    from mutscan.families import FamilyLibrary
    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.structures import StructureFinder
    from mutscan.train.labelled.structures import Shape
    from mutscan.train.labelled.tables import VariantTable


@dataclass(frozen=True, eq=False)
class Gathered:
    """Evidence of n variants.

    Parameters
    ----------
    evidence : dict of name -> float array, shape (n,)
    views : dict of name -> float32 array, shape (n, d)
        Embedding vectors for linear maps.
    structured : bool array, shape (n,)
        Sites with coordinates.
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    structured: NDArray[np.bool_]


def head_of(model: LoadedModel, *, offline: bool = False) -> LanguageHead | None:
    """Language-model head of a model's encoder, where it has one."""
    reference = model.config.encoder
    return load_head(reference.resolve(model.path), revision=reference.revision, offline=offline)


def gather(
    encoder: Encoder,
    head: LanguageHead | None,
    table: VariantTable,
    structures: StructureFinder,
    progress: Progress,
    *,
    library: FamilyLibrary | None = None,
    chains: Mapping[int, Sequence[Shape]] | None = None,
    work: Path | None = None,
) -> Gathered:
    """Compute the evidence of a table's variants.

    Each protein that has variants goes through the encoder once, and is looked up in the library once.
    What its variants need is stored in `work`, so that a broken run continues.

    Parameters
    ----------
    encoder : Encoder
    head : LanguageHead, optional
    table : VariantTable
    structures : StructureFinder
        Where structures named by the table's ``structure`` column lie.
    progress : Progress
    library : FamilyLibrary, optional
        The model's.
    chains : mapping of a protein's row -> sequence of (C-alpha, pLDDT), optional
        Further structures; each site takes the first that has coordinates there, the named one before.
    work : Path, optional
        Folder of finished proteins; the user's cache when not given.
    """
    work = work if work is not None else cache_dir() / "evidence"
    work.mkdir(parents=True, exist_ok=True)
    sequences = table.proteins["sequence"].astype(str).tolist()
    order = np.argsort(table.protein, kind="stable")
    used, starts = np.unique(table.protein[order], return_index=True)
    rows_of = dict(zip(used.tolist(), np.split(order, starts[1:]), strict=True))
    paths = {p: work / f"{_key(encoder, sequences[p], table.index[rows])}.npz" for p, rows in rows_of.items()}
    stored = {p: arrays for p, path in paths.items() if (arrays := read_arrays(path)) is not None}
    todo = [p for p in rows_of if p not in stored]
    progress.start("wild types through the encoder", len(todo))
    for place, embedding in encoder.embed([sequences[p] for p in todo]):
        p = todo[place]
        stored[p] = reduce_embedding(sequences[p], embedding, head, table.index[rows_of[p]])
        write_arrays(paths[p], **stored[p])
        progress.advance()
    progress.finish()
    profiles = FamilyProfiles(library, work)
    profiles.look_up([sequences[p] for p in rows_of], progress)
    parts: dict[str, NDArray[np.float64]] = {}
    views: dict[str, NDArray[np.float32]] = {}
    structured = np.zeros(len(table), dtype=np.bool_)
    for p, rows in rows_of.items():
        arrays = stored[p]
        view = ProteinView(sequences[p], arrays.get("log_probabilities"), family=profiles.of(sequences[p]))
        index, mutant = table.index[rows], table.mutant[rows]
        found = sequence_evidence(view, index, mutant)
        named = _structure(table, p, structures, sequences[p], progress)
        for ca, plddt in [*([named] if named is not None else []), *(chains or {}).get(p, [])]:
            sites = np.flatnonzero(~structured[rows] & np.isfinite(ca[index, 0]))
            if not sites.size:
                continue
            shape = structure_evidence(replace(view, ca=ca, plddt=plddt), index[sites], mutant[sites])
            for name, values in shape.items():
                found.setdefault(name, np.full(len(rows), np.nan))[sites] = values
            structured[rows[sites]] = True
        for name, values in found.items():
            parts.setdefault(name, np.full(len(table), np.nan))[rows] = values
        sites = np.unique(index)
        which = np.searchsorted(sites, index)
        for name in ("site", "near", "protein"):
            vectors = arrays[name].astype(np.float32)
            whole = views.setdefault(name, np.zeros((len(table), vectors.shape[1]), dtype=np.float32))
            whole[rows] = vectors[which] if name != "protein" else vectors
    return Gathered(parts, views, structured)


def reduce_embedding(
    sequence: str,
    embedding: NDArray[np.float32],
    head: LanguageHead | None,
    index: NDArray[np.int64],
) -> dict[str, NDArray[np.floating]]:
    """Keep of an embedding what evidence at some sites needs."""
    protein = ProteinView(sequence, None, embedding)
    kept: dict[str, NDArray[np.floating]] = {
        name: vectors.astype(np.float16) for name, vectors in encoder_views(protein, np.unique(index)).items()
    }
    kept["protein"] = kept["protein"][:1]
    if head is not None:
        kept["log_probabilities"] = head.log_probabilities(embedding)
    return kept


def _key(encoder: Encoder, sequence: str, index: NDArray[np.int64]) -> str:
    sites = ",".join(map(str, np.unique(index).tolist()))
    return hashlib.sha256(f"1\n{encoder.key}\n{sequence_hash(sequence)}\n{sites}".encode()).hexdigest()


def _structure(
    table: VariantTable, p: int, structures: StructureFinder, sequence: str, progress: Progress
) -> Shape | None:
    if "structure" not in table.proteins:
        return None
    path = structures.find(table.proteins["structure"].iloc[p])
    if path is None:
        return None
    try:
        return structure_on_sequence(path, sequence)
    except StructureError as error:
        progress.note(f"{table.proteins['protein'].iloc[p]}: scored without structure ({error.message})")
        return None
