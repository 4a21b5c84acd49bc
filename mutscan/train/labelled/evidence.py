"""Evidence of the variants of many proteins: one pass of the encoder for each protein, kept on disk.

`EvidenceReader.gather` gives what a calibration is fitted to, `EvidenceReader.assess` what a calibrated
model says. Both read the evidence of a protein's variants with `evidence_of`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.embed.head import load_head
from mutscan.evidence import ProteinView, inverse_folding_evidence, protein_evidence, structure_evidence
from mutscan.evidence.sequence import encoder_views, sequence_hash
from mutscan.files import write_errors
from mutscan.hashes import bytes_sha256, file_sha256, text_sha256
from mutscan.model.inverse_folding import (
    WEIGHTS_SHA256,
    folded_log_probabilities,
    installed_weights,
    load_inverse_folding,
)
from mutscan.results import read_arrays, write_arrays
from mutscan.train.labelled.profiles import FamilyProfiles
from mutscan.train.labelled.relatives import read_profile
from mutscan.train.labelled.tables import first_lines
from mutscan.train.statistics.classifier import rows_of_each

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.evidence import Calibration
    from mutscan.pipeline.network import LoadedModel
    from mutscan.progress import Progress
    from mutscan.train.labelled.relatives import AlignedProfiles, AlignmentFiles
    from mutscan.train.labelled.structures import NamedStructure, NamedStructures, Shape
    from mutscan.train.labelled.tables import VariantTable

    Arrays = dict[str, NDArray[Any]]

SAMPLED_SITES: Final = 128
SAMPLED_AT_SITE: Final = 6
"""Sites and substitutions that stand for all 19 x L of a protein when a calibration is fitted."""

_VIEW: Final = "evidence:"
_GROUP: Final = "group:"
_SOURCE: Final = "source:"


@dataclass(frozen=True, eq=False)
class Background:
    """A sample of all substitutions of one protein.

    Parameters
    ----------
    evidence : dict of name -> float array, shape (m,)
    views : dict of name -> float32 array, shape (sites, d)
        Embedding vectors of the sampled sites.
    site : int array, shape (m,)
        Row of `views` of each substitution.
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    site: NDArray[np.int64]


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
    background : dict of a protein's row -> Background
    """

    evidence: dict[str, NDArray[np.float64]]
    views: dict[str, NDArray[np.float32]]
    structured: NDArray[np.bool_]
    background: dict[int, Background]


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
        ``p_deleterious`` without any structure or alignment.
    flag, tier : str array, shape (n,)
    groups : dict of name -> float array, shape (n,)
        Contribution of each group of evidence to the log-odds, NaN where the tier does not weigh it.
    structured : bool array, shape (n,)
        Sites with coordinates.
    without_structure : tuple of str
        Proteins whose named structure cannot be used, with the reason.
    without_alignment : tuple of str
        Proteins whose alignment cannot be used, with the reason.
    sources : dict of name -> float array, shape (n,)
        ``p_deleterious`` of variants of proteins with an alignment by source of relatives: ``none``,
        ``library`` (the model's, where it knows some), ``deep`` (the alignment beside the library).
    """

    pieces: dict[str, NDArray[np.float64]]
    p: NDArray[np.float64]
    p_sequence: NDArray[np.float64]
    flag: NDArray[np.str_]
    tier: NDArray[np.str_]
    groups: dict[str, NDArray[np.float64]]
    structured: NDArray[np.bool_]
    without_structure: tuple[str, ...]
    without_alignment: tuple[str, ...] = ()
    sources: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def evidence_of(
    view: ProteinView, shapes: Sequence[Shape], index: NDArray[np.int64], mutant: NDArray[np.int64]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Evidence of n substitutions of one protein, and which of their sites have coordinates.

    Parameters
    ----------
    view : ProteinView
        Without structure.
    shapes : sequence of Shape
        Structures on the sequence; each site takes the first that has coordinates there.
    index, mutant : int array, shape (n,)
        Replaced residue, 0-based, and the new residue as its place in `STANDARD`.
    """
    found = protein_evidence(view, index, mutant)
    structured = np.zeros(len(index), dtype=np.bool_)
    for shape in shapes:
        sites = np.flatnonzero(~structured & np.isfinite(shape.ca[index]).all(axis=1))
        if sites.size:
            part = structure_evidence(view.with_structure(*shape), index[sites], mutant[sites])
            part |= inverse_folding_evidence(shape.folded, view.sequence, index[sites], mutant[sites])
            for name, values in part.items():
                found.setdefault(name, np.full(len(index), np.nan))[sites] = values
            structured[sites] = True
    return found, structured


def sampled_substitutions(sequence: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw substitutions of a protein, the same ones each time: replaced residues and what replaces them.

    At most `SAMPLED_SITES` sites with `SAMPLED_AT_SITE` substitutions each, for the mean over all of them.
    """
    codes = ProteinView(sequence).codes
    residues = np.flatnonzero(codes >= 0)
    generator = np.random.default_rng(int(sequence_hash(sequence), 16))
    sites = np.sort(generator.choice(residues, min(SAMPLED_SITES, len(residues)), replace=False))
    steps = np.argsort(generator.random((len(sites), 19)), axis=1)[:, :SAMPLED_AT_SITE]
    mutant = (codes[sites][:, None] + 1 + steps) % 20
    return np.repeat(sites, SAMPLED_AT_SITE), mutant.reshape(-1)


class EvidenceReader:
    """Reads the evidence of the variants of a table, protein by protein.

    Parameters
    ----------
    model : LoadedModel
    work : Path
        Folder of finished proteins, made if missing; an interrupted run resumes from it.
    offline : bool
        As `mutscan score`.
    relatives : AlignedProfiles, optional
        Alignments that `gather` reads.
    alignments : AlignmentFiles, optional
        Alignments that `assess` reads.
    """

    def __init__(
        self,
        model: LoadedModel,
        work: Path,
        *,
        offline: bool = False,
        relatives: AlignedProfiles | None = None,
        alignments: AlignmentFiles | None = None,
    ) -> None:
        with write_errors(work):
            work.mkdir(parents=True, exist_ok=True)
        reference = model.config.encoder
        self._encoder = model.encoder
        self._head = load_head(reference.resolve(model.path), revision=reference.revision, offline=offline)
        self._library = model.families
        self._profiles = FamilyProfiles(model.families, work)
        self._work = work
        self._relatives = relatives
        self._alignments = alignments
        self._folding = None if installed_weights() is None else load_inverse_folding()

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
        further : mapping of a protein's row -> sequence of Shape, optional
            More structures, used at sites where the named one has no coordinates.
        """
        sequences, rows_of = _proteins(table)
        paths = {p: self._work / f"{self._key(sequences[p], table.index[r])}.npz" for p, r in rows_of.items()}

        def reduced(p: int, embedding: NDArray[np.float32]) -> Arrays:
            return self._reduce(sequences[p], embedding, table.index[rows_of[p]])

        stored = self._stored(sequences, paths, reduced, progress)
        self._profiles.look_up([sequences[p] for p in rows_of], progress)
        if self._relatives is not None:
            self._relatives.look_up([sequences[p] for p in rows_of], progress)
        named, _ = self._named_shapes(table, finder, progress)
        parts: dict[str, NDArray[np.float64]] = {}
        views: dict[str, NDArray[np.float32]] = {}
        structured = np.zeros(len(table), dtype=np.bool_)
        background: dict[int, Background] = {}
        for p, rows in rows_of.items():
            arrays, index = stored[p], table.index[rows]
            family = self._profiles.of(sequences[p])
            aligned = None if self._relatives is None else self._relatives.of(sequences[p])
            view = ProteinView(sequences[p], arrays.get("log_probabilities"), family=family, aligned=aligned)
            shapes = [*([named[p][1]] if p in named else []), *(further or {}).get(p, [])]
            found, structured[rows] = evidence_of(view, shapes, index, table.mutant[rows])
            for name, values in found.items():
                parts.setdefault(name, np.full(len(table), np.nan))[rows] = values
            sampled, drawn = sampled_substitutions(sequences[p])
            kept = np.union1d(index, sampled)  # sites whose vectors are stored
            for name in ("site", "near"):
                vectors = arrays[name].astype(np.float32)
                whole = views.setdefault(name, np.zeros((len(table), vectors.shape[1]), dtype=np.float32))
                whole[rows] = vectors[np.searchsorted(kept, index)]
            sites, which = np.unique(sampled, return_inverse=True)
            background[p] = Background(
                evidence_of(view, shapes, sampled, drawn)[0],
                {n: arrays[n][np.searchsorted(kept, sites)].astype(np.float32) for n in ("site", "near")},
                which,
            )
        return Gathered(parts, views, structured, background)

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
        shapes, complaints = self._named_shapes(table, finder, progress)
        aligned, without = self._named_alignments(table, progress)
        document = "" if calibration is None else repr(calibration.document)
        families = "" if self._library is None else self._library.sha256
        identity = text_sha256(
            "\n".join(
                (
                    "5",
                    self._encoder.key,
                    str(self._encoder.device),
                    families,
                    document,
                    "" if self._folding is None else WEIGHTS_SHA256,
                )
            )
        )

        def path_of(p: int, rows: NDArray[np.int64]) -> Path:
            parts = [f"{identity}\n{sequences[p]}\n".encode(), table.index[rows].tobytes()]
            parts += [table.mutant[rows].tobytes(), shapes[p][0].read_bytes() if p in shapes else b""]
            parts += [aligned[p].name.encode()] if p in aligned else []
            return self._work / f"{bytes_sha256(b''.join(parts))[:32]}.npz"

        def judge(p: int, embedding: NDArray[np.float32]) -> Arrays:
            shape, sequence = shapes[p][1] if p in shapes else None, sequences[p]
            log_probabilities, family = self._log_probabilities(embedding), self._profiles.of(sequence)
            profile = read_profile(aligned[p]) if p in aligned else None
            view = ProteinView(sequence, log_probabilities, embedding, family=family, aligned=profile)
            index, mutant = table.index[rows_of[p]], table.mutant[rows_of[p]]
            kept = _judged(view, shape, index, mutant, calibration)
            if calibration is None or profile is None:
                return kept
            whole = replace(_with(shape, view, calibration), aligned=None)
            alone = replace(whole, family=self._profiles.without_relatives(sequence))
            seen = {"none": alone}
            if family is not None and family.families.any():
                seen["library"] = whole
            others = {
                _SOURCE + name: calibration.assess(v, index, mutant).p_deleterious for name, v in seen.items()
            }
            return kept | others | {f"{_SOURCE}deep": kept["p"]}

        paths = {p: path_of(p, rows) for p, rows in rows_of.items()}
        found = self._stored(sequences, paths, judge, progress)
        joined = _join(rows_of, found, len(table))
        return replace(joined, without_structure=tuple(complaints), without_alignment=tuple(without))

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

    def _named_shapes(
        self, table: VariantTable, finder: NamedStructures, progress: Progress
    ) -> tuple[dict[int, tuple[Path, Shape]], list[str]]:
        """File and shape of each named structure that can be used, and a note on the others."""
        shapes, complaints = {}, []
        names, sequences = (table.proteins[c].astype(str).tolist() for c in ("protein", "sequence"))
        for p, found, reason in finder.find_all(table):
            if found is None:
                complaints.append(f"{names[p]} ({reason})")
            else:
                folded = self._folded(found, sequences[p])
                shapes[p] = (found.path, found.shape._replace(folded=folded))
        if complaints:
            progress.note(f"{len(complaints)} proteins are scored on sequence: {first_lines(complaints)}")
        return shapes, complaints

    def _named_alignments(self, table: VariantTable, progress: Progress) -> tuple[dict[int, Path], list[str]]:
        """File of each alignment's profile, and a note on alignments that cannot be used."""
        if self._alignments is None:
            return {}, []
        names, sequences = (table.proteins[c].astype(str).tolist() for c in ("protein", "sequence"))
        proteins = dict(enumerate(zip(names, sequences, strict=True)))
        found, complaints = self._alignments.look_up(proteins, progress)
        if complaints:
            progress.note(f"{len(complaints)} alignments cannot be used: {first_lines(complaints)}")
        return found, complaints

    def _folded(self, found: NamedStructure, sequence: str) -> NDArray[np.float64] | None:
        """Log-probabilities of inverse folding (L, 20), kept on disk; None without the package."""
        if self._folding is None:
            return None
        key = text_sha256(f"folded 1\n{WEIGHTS_SHA256}\n{file_sha256(found.path)}\n{sequence}")
        path = self._work / f"{key}.npz"
        stored = read_arrays(path)
        if stored is None:
            folded = folded_log_probabilities(found.wild_type(sequence), self._folding)
            assert folded is not None, "a named structure has atoms"
            stored = {"folded": folded.astype(np.float32)}
            write_arrays(path, **stored)
        return stored["folded"].astype(np.float64)

    def _log_probabilities(self, embedding: NDArray[np.float32]) -> NDArray[np.floating] | None:
        return None if self._head is None else self._head.log_probabilities(embedding)

    def _key(self, sequence: str, index: NDArray[np.int64]) -> str:
        sites = ",".join(map(str, np.unique(index).tolist()))
        return text_sha256(f"2\n{self._encoder.key}\n{sequence_hash(sequence)}\n{sites}")

    def _reduce(self, sequence: str, embedding: NDArray[np.float32], index: NDArray[np.int64]) -> Arrays:
        """Keep the part of an embedding that evidence at these sites, and at the sampled ones, needs."""
        sites = np.union1d(index, sampled_substitutions(sequence)[0])
        views = encoder_views(ProteinView(sequence, None, embedding))
        kept: Arrays = {name: vectors[sites].astype(np.float16) for name, vectors in views.items()}
        log_probabilities = self._log_probabilities(embedding)
        return kept if log_probabilities is None else kept | {"log_probabilities": log_probabilities}


def _proteins(table: VariantTable) -> tuple[list[str], dict[int, NDArray[np.int64]]]:
    return table.proteins["sequence"].astype(str).tolist(), rows_of_each(table.protein)


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
        judged = calibration.assess(_with(shape, view, calibration), index, mutant)
        plain = judged
        if shape is not None or view.aligned is not None:
            plain = calibration.assess(replace(view, aligned=None), index, mutant)
        kept |= {"p": judged.p_deleterious, "p_sequence": plain.p_deleterious}
        kept |= {"flag": judged.flags(), "tier": judged.tier_of}
        kept |= {_GROUP + name: judged.contributions[:, k] for k, name in enumerate(judged.groups)}
    return kept | {_VIEW + name: values for name, values in pieces.items()}


def _with(shape: Shape | None, view: ProteinView, calibration: Calibration) -> ProteinView:
    """Protein with its structure, and inverse folding by the weights that it was calibrated with only."""
    if shape is None:
        return view
    folded = shape.folded if calibration.folding == WEIGHTS_SHA256 else None
    return view.with_structure(shape.ca, shape.plddt, folded)


def _join(rows_of: Mapping[int, NDArray[np.int64]], found: Mapping[int, Arrays], n: int) -> Assessed:
    numbers: dict[str, NDArray[np.float64]] = {"p": np.full(n, np.nan), "p_sequence": np.full(n, np.nan)}
    words = {name: np.full(n, "", dtype="<U24") for name in ("flag", "tier")}
    structured = np.zeros(n, dtype=np.bool_)
    for p, rows in rows_of.items():
        for name, values in found[p].items():
            if name in words:
                words[name][rows] = values
            elif name == "structured":
                structured[rows] = values
            else:
                numbers.setdefault(name, np.full(n, np.nan))[rows] = values
    pieces, groups, sources = (
        {name.removeprefix(prefix): v for name, v in numbers.items() if name.startswith(prefix)}
        for prefix in (_VIEW, _GROUP, _SOURCE)
    )
    probabilities = numbers["p"], numbers["p_sequence"]
    return Assessed(
        pieces, *probabilities, words["flag"], words["tier"], groups, structured, (), sources=sources
    )
