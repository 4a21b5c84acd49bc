"""Evidence of the variants of many proteins: one pass of the encoder for each protein, kept on disk.

`EvidenceReader.gather` gives what a calibration is fitted to, `EvidenceReader.assess` what a calibrated
model says. Both read the evidence of a protein's variants with `evidence_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.embed.head import load_head
from mutscan.evidence import STRUCTURE_EVIDENCE, ProteinView, sequence_evidence, structure_evidence
from mutscan.evidence.sequence import encoder_views, sequence_hash
from mutscan.files import write_errors
from mutscan.hashes import bytes_sha256, text_sha256
from mutscan.results import read_arrays, write_arrays
from mutscan.train.labelled.profiles import FamilyProfiles
from mutscan.train.labelled.tables import first_lines
from mutscan.train.statistics.classifier import rows_of_each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence import Calibration
    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.structures import NamedStructures, Shape
    from mutscan.train.labelled.tables import VariantTable

    Arrays = dict[str, NDArray[Any]]

_VIEW: Final = "evidence:"
_GROUP: Final = "group:"


@dataclass(frozen=True, eq=False)
class Gathered:
    """Evidence of n variants, to fit a calibration to.

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


@dataclass(frozen=True, eq=False)
class Assessed:
    """Evidence and probability of n variants.

    Parameters
    ----------
    pieces : dict of name -> float array, shape (n,)
        Each piece of evidence, NaN where unknown.
    p : float array, shape (n,)
        ``p_deleterious`` as `mutscan score` gives it; NaN without a calibration.
    p_sequence : float array, shape (n,)
        ``p_deleterious`` without any structure.
    flag, tier : str array, shape (n,)
    groups : dict of name -> float array, shape (n,)
        Contribution of each group of evidence to the log-odds, NaN where the tier does not weigh it.
    structured : bool array, shape (n,)
        Sites with coordinates.
    without_structure : tuple of str
        Proteins whose named structure cannot be used, with the reason.
    """

    pieces: dict[str, NDArray[np.float64]]
    p: NDArray[np.float64]
    p_sequence: NDArray[np.float64]
    flag: NDArray[np.str_]
    tier: NDArray[np.str_]
    groups: dict[str, NDArray[np.float64]]
    structured: NDArray[np.bool_]
    without_structure: tuple[str, ...]


def evidence_of(
    view: ProteinView, shapes: Sequence[Shape], index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Evidence of n substitutions of one protein, and which of their sites have coordinates.

    Parameters
    ----------
    view : ProteinView
        Without structure.
    shapes : sequence of (C-alpha, pLDDT)
        Structures on the sequence; each site takes the first that has coordinates there.
    index, mutant : int array, shape (n,)
        Replaced residue, 0-based, and the new residue as its place in `STANDARD`.
    """
    found = sequence_evidence(view, index, mutant)
    structured = np.zeros(len(index), dtype=np.bool_)
    if shapes:
        found |= {name: np.full(len(index), np.nan) for name in STRUCTURE_EVIDENCE}
    for ca, plddt in shapes:
        sites = np.flatnonzero(~structured & np.isfinite(ca[index]).all(axis=1))
        if sites.size:
            part = structure_evidence(replace(view, ca=ca, plddt=plddt), index[sites], mutant[sites])
            for name, values in part.items():
                found[name][sites] = values
            structured[sites] = True
    return found, structured


class EvidenceReader:
    """Reads the evidence of the variants of a table, protein by protein.

    Parameters
    ----------
    model : LoadedModel
    work : Path
        Folder of finished proteins, made if missing; an interrupted run resumes from it.
    offline : bool
        As `mutscan score`.
    """

    def __init__(self, model: LoadedModel, work: Path, *, offline: bool = False) -> None:
        with write_errors(work):
            work.mkdir(parents=True, exist_ok=True)
        reference = model.config.encoder
        self._encoder = model.encoder
        self._head = load_head(reference.resolve(model.path), revision=reference.revision, offline=offline)
        self._library = model.families
        self._profiles = FamilyProfiles(model.families, work)
        self._work = work

    def gather(
        self,
        table: VariantTable,
        finder: NamedStructures,
        progress: Progress,
        further: Mapping[int, Sequence[Shape]] | None = None,
    ) -> Gathered:
        """Evidence and embedding vectors of all variants of a table.

        Parameters
        ----------
        table : VariantTable
        finder : NamedStructures
            Finds the structures that the table names.
        progress : Progress
        further : mapping of a protein's row -> sequence of (C-alpha, pLDDT), optional
            More structures, used at sites where the named one has no coordinates.
        """
        sequences, rows_of = _proteins(table)
        paths = {p: self._work / f"{self._key(sequences[p], table.index[r])}.npz" for p, r in rows_of.items()}

        def reduced(p: int, embedding: NDArray[np.float32]) -> Arrays:
            return self._reduce(sequences[p], embedding, table.index[rows_of[p]])

        stored = self._stored(sequences, paths, reduced, progress)
        self._profiles.look_up([sequences[p] for p in rows_of], progress)
        named, _ = _named_shapes(table, finder, progress)
        parts: dict[str, NDArray[np.float64]] = {}
        views: dict[str, NDArray[np.float32]] = {}
        structured = np.zeros(len(table), dtype=np.bool_)
        for p, rows in rows_of.items():
            arrays, index = stored[p], table.index[rows]
            family = self._profiles.of(sequences[p])
            view = ProteinView(sequences[p], arrays.get("log_probabilities"), family=family)
            shapes = [*([named[p][1]] if p in named else []), *(further or {}).get(p, [])]
            found, structured[rows] = evidence_of(view, shapes, index, table.mutant[rows])
            for name, values in found.items():
                parts.setdefault(name, np.full(len(table), np.nan))[rows] = values
            which = np.searchsorted(np.unique(index), index)
            for name in ("site", "near", "protein"):
                vectors = arrays[name].astype(np.float32)
                whole = views.setdefault(name, np.zeros((len(table), vectors.shape[1]), dtype=np.float32))
                whole[rows] = vectors[which] if name != "protein" else vectors
        return Gathered(parts, views, structured)

    def assess(
        self,
        table: VariantTable,
        finder: NamedStructures,
        calibration: Calibration | None,
        progress: Progress,
    ) -> Assessed:
        """Evidence and probability of all variants of a table.

        Memory grows with the number of variants and of residues, not with the size of the embeddings.
        """
        sequences, rows_of = _proteins(table)
        shapes, complaints = _named_shapes(table, finder, progress)
        document = "" if calibration is None else repr(calibration.document)
        families = "" if self._library is None else self._library.sha256
        identity = text_sha256(
            "\n".join(("2", self._encoder.key, str(self._encoder.device), families, document))
        )

        def path_of(p: int, rows: NDArray[np.int64]) -> Path:
            parts = [f"{identity}\n{sequences[p]}\n".encode(), table.index[rows].tobytes()]
            parts += [table.mutant[rows].tobytes(), shapes[p][0].read_bytes() if p in shapes else b""]
            return self._work / f"{bytes_sha256(b''.join(parts))[:32]}.npz"

        def judge(p: int, embedding: NDArray[np.float32]) -> Arrays:
            shape = shapes[p][1] if p in shapes else None
            log_probabilities, family = self._log_probabilities(embedding), self._profiles.of(sequences[p])
            view = ProteinView(sequences[p], log_probabilities, embedding, family=family)
            return _judged(view, shape, table.index[rows_of[p]], table.mutant[rows_of[p]], calibration)

        paths = {p: path_of(p, rows) for p, rows in rows_of.items()}
        found = self._stored(sequences, paths, judge, progress)
        return _join(rows_of, found, len(table), tuple(complaints))

    def _stored(
        self,
        sequences: Sequence[str],
        paths: Mapping[int, Path],
        keep: Callable[[int, NDArray[np.float32]], Arrays],
        progress: Progress,
    ) -> dict[int, Arrays]:
        """Arrays of each protein: from its path, else what `keep` makes of its embedding, stored there."""
        found = {p: arrays for p, path in paths.items() if (arrays := read_arrays(path)) is not None}
        todo = [p for p in paths if p not in found]
        self._profiles.look_up([sequences[p] for p in todo], progress)
        progress.start("wild types through the encoder", len(todo))
        for place, embedding in self._encoder.embed([sequences[p] for p in todo]):
            p = todo[place]
            found[p] = keep(p, embedding)
            write_arrays(paths[p], **found[p])
            progress.advance()
        progress.finish()
        return found

    def _log_probabilities(self, embedding: NDArray[np.float32]) -> NDArray[np.floating] | None:
        return None if self._head is None else self._head.log_probabilities(embedding)

    def _key(self, sequence: str, index: NDArray[np.int64]) -> str:
        sites = ",".join(map(str, np.unique(index).tolist()))
        return text_sha256(f"1\n{self._encoder.key}\n{sequence_hash(sequence)}\n{sites}")

    def _reduce(self, sequence: str, embedding: NDArray[np.float32], index: NDArray[np.int64]) -> Arrays:
        """Keep the part of an embedding that evidence at these sites needs."""
        views = encoder_views(ProteinView(sequence, None, embedding), np.unique(index))
        kept: Arrays = {name: vectors.astype(np.float16) for name, vectors in views.items()}
        kept["protein"] = kept["protein"][:1]
        log_probabilities = self._log_probabilities(embedding)
        return kept if log_probabilities is None else kept | {"log_probabilities": log_probabilities}


def _proteins(table: VariantTable) -> tuple[list[str], dict[int, NDArray[np.int64]]]:
    return table.proteins["sequence"].astype(str).tolist(), rows_of_each(table.protein)


def _named_shapes(
    table: VariantTable, finder: NamedStructures, progress: Progress
) -> tuple[dict[int, tuple[Path, Shape]], list[str]]:
    """File and shape of each named structure that can be used, and a note on the others."""
    shapes, complaints = {}, []
    names = table.proteins["protein"].astype(str).tolist()
    for p, found, reason in finder.find_all(table):
        if found is None:
            complaints.append(f"{names[p]} ({reason})")
        else:
            shapes[p] = (found.path, found.shape)
    if complaints:
        progress.note(f"{len(complaints)} proteins are scored on sequence: {first_lines(complaints)}")
    return shapes, complaints


def _judged(
    view: ProteinView,
    shape: Shape | None,
    index: NDArray[np.int64],
    mutant: NDArray[np.int64],
    calibration: Calibration | None,
) -> Arrays:
    """Evidence and probability of one protein's variants, as they are stored."""
    n = len(index)
    unknown, empty = np.full(n, np.nan), np.full(n, "")
    kept: Arrays = {"p": unknown, "p_sequence": unknown, "flag": empty, "tier": empty}
    pieces, kept["structured"] = evidence_of(view, [] if shape is None else [shape], index, mutant)
    if calibration is not None:
        plain = judged = calibration.assess(view, index, mutant)
        if shape is not None:
            judged = calibration.assess(replace(view, ca=shape[0], plddt=shape[1]), index, mutant)
        kept |= {"p": judged.p_deleterious, "p_sequence": plain.p_deleterious}
        kept |= {"flag": judged.flags(), "tier": judged.tier_of}
        kept |= {_GROUP + name: judged.contributions[:, k] for k, name in enumerate(judged.groups)}
    return kept | {_VIEW + name: values for name, values in pieces.items()}


def _join(
    rows_of: Mapping[int, NDArray[np.int64]], found: Mapping[int, Arrays], n: int, complaints: tuple[str, ...]
) -> Assessed:
    numbers: dict[str, NDArray[np.float64]] = {"p": np.full(n, np.nan), "p_sequence": np.full(n, np.nan)}
    words = {name: np.full(n, "", dtype="<U16") for name in ("flag", "tier")}
    structured = np.zeros(n, dtype=np.bool_)
    for p, rows in rows_of.items():
        for name, values in found[p].items():
            if name in words:
                words[name][rows] = values
            elif name == "structured":
                structured[rows] = values
            else:
                numbers.setdefault(name, np.full(n, np.nan))[rows] = values
    pieces, groups = (
        {name.removeprefix(prefix): v for name, v in numbers.items() if name.startswith(prefix)}
        for prefix in (_VIEW, _GROUP)
    )
    probabilities = numbers["p"], numbers["p_sequence"]
    return Assessed(pieces, *probabilities, words["flag"], words["tier"], groups, structured, complaints)
