"""What UniProt says about a protein: accession, sequence, isoforms, features.

Formats as documented at https://www.uniprot.org/help/api_queries. Features are numbered
on the displayed (canonical) sequence whatever isoform is asked for, so an isoform gets them
through a residue map: the entry's own list of spliced segments where that reproduces the
isoform's sequence exactly, an alignment otherwise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.fetch.http import read_json
from mutscan.structures import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

SOURCE: Final = "UniProt"

# https://www.uniprot.org/help/accession_numbers
_ACCESSION: Final = re.compile(
    r"([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-([1-9][0-9]{0,3}))?"
)

STRETCHES: Final = frozenset(
    {
        "Domain",
        "Region",
        "Repeat",
        "Coiled coil",
        "Topological domain",
        "Signal",
        "Transit peptide",
        "Propeptide",
    }
)
"""Kinds that are still themselves when an isoform lacks a part of them."""

SITES: Final = frozenset(
    {
        "Zinc finger",
        "DNA binding",
        "Motif",
        "Transmembrane",
        "Intramembrane",
        "Active site",
        "Binding site",
        "Site",
        "Modified residue",
        "Lipidation",
        "Glycosylation",
    }
)
"""Kinds that an isoform has whole or not at all."""

BONDS: Final = frozenset({"Disulfide bond", "Cross-link"})
"""Kinds whose start and end are two residues joined, not the ends of a stretch."""

KINDS: Final = STRETCHES | SITES | BONDS

MAX_ALIGNED: Final = 10**8
"""Cells of the largest isoform alignment (10,000 x 10,000 residues)."""


def is_accession(text: str) -> bool:
    """Whether `text` is a UniProt accession (``P04637``) or isoform (``P04637-2``), in either case.

    Examples
    --------
    >>> [is_accession(text) for text in ("P04637", "p04637-2", "A0A024R161", "P53_HUMAN", "1TUP")]
    [True, True, True, False, False]
    """
    return _ACCESSION.fullmatch(text.strip().upper()) is not None


def split_accession(text: str) -> tuple[str, str | None]:
    """Entry accession and, for an isoform, its number: ``"P04637-2"`` -> ``("P04637", "2")``.

    Raises
    ------
    ValueError
        `text` is no accession; ask `is_accession` first.
    """
    match = _ACCESSION.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError(f"{text!r} is no UniProt accession")
    return match[1], match[2]


@dataclass(frozen=True, slots=True)
class Isoform:
    """One line of the entry's isoform list.

    Parameters
    ----------
    ids : tuple of str
        ``("P04637-2",)``; the first is the current one.
    status : str
        ``Displayed`` (the entry's own sequence), ``Described``, ``External`` or ``Not described``.
    segments : tuple of str
        Ids of the spliced segments that make it (``VSP_006535``).
    """

    ids: tuple[str, ...]
    status: str
    segments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A feature as the entry has it: `start` and `end` 1-based, on `on` (None: the displayed sequence)."""

    kind: str
    description: str
    start: int
    end: int
    on: str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A spliced segment: `start`..`end` of the displayed sequence becomes `replacement`."""

    start: int
    end: int
    original: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What mutscan uses of a UniProtKB entry.

    Parameters
    ----------
    accession : str
        The entry's primary accession, which is not always the one asked for.
    sequence : str
        The displayed sequence; empty for an inactive entry.
    version, sequence_version : int, optional
    annotations : tuple of Annotation
    unplaced : int
        Features of interest without a definite position.
    segments : mapping of str to Segment
    isoforms : tuple of Isoform
    fragment : bool
        UniProt knows only a part of the protein.
    inactive : str, optional
        Why the entry is no longer one: ``MERGED``, ``DEMERGED``, ``DELETED``; None when it is active.
    successors : tuple of str
        Accessions that took its place.
    deleted_reason : str
    """

    accession: str
    sequence: str
    version: int | None
    sequence_version: int | None
    annotations: tuple[Annotation, ...]
    unplaced: int
    segments: dict[str, Segment]
    isoforms: tuple[Isoform, ...]
    fragment: bool
    inactive: str | None
    successors: tuple[str, ...]
    deleted_reason: str

    def isoform(self, name: str) -> Isoform | None:
        """Find the isoform called `name` (``P04637-2``), if the entry lists it."""
        return next((isoform for isoform in self.isoforms if name in isoform.ids), None)


def read_entry(data: bytes) -> Entry:
    """Read ``/uniprotkb/ACCESSION.json``.

    Raises
    ------
    ValueError
        Not a UniProtKB entry; says what it is.
    """
    page = read_json(data)
    if not isinstance(page, dict) or not isinstance(page.get("primaryAccession"), str):
        raise ValueError("JSON that is no UniProtKB entry (it has no primaryAccession)")
    accession: str = page["primaryAccession"]
    inactive = page.get("entryType") == "Inactive" or "inactiveReason" in page
    why = _dict(page.get("inactiveReason"))
    sequence = "" if inactive else _sequence(accession, _dict(page.get("sequence")))
    audit = _dict(page.get("entryAudit"))
    annotations, unplaced = _annotations(_dicts(page.get("features")), accession, len(sequence))
    return Entry(
        accession=accession,
        sequence=sequence,
        version=_integer(audit.get("entryVersion")),
        sequence_version=_integer(audit.get("sequenceVersion")),
        annotations=annotations,
        unplaced=unplaced,
        segments=_segments(_dicts(page.get("features"))),
        isoforms=_isoforms(_dicts(page.get("comments"))),
        fragment=str(_dict(page.get("proteinDescription")).get("flag", "")).startswith("Fragment"),
        inactive=str(why.get("inactiveReasonType") or "INACTIVE") if inactive else None,
        successors=_strings(why.get("mergeDemergeTo")),
        deleted_reason=str(why.get("deletedReason") or ""),
    )


def read_isoform(data: bytes, name: str) -> str:
    """Sequence of isoform `name` from ``/uniprotkb/NAME.fasta``.

    Raises
    ------
    ValueError
        Not FASTA, more than one record, or another protein's.
    """
    text = data.decode("utf-8").strip()
    if text[:1] != ">":
        what = "a web page (HTML)" if text[:1] == "<" else "nothing" if not text else f"{text[:20]!r}"
        raise ValueError(f"{what} instead of FASTA")
    header, *lines = text.splitlines()
    names = re.split(r"[|\s]", header[1:].strip())
    if name not in names[:2]:
        raise ValueError(f"the FASTA record {header[:40]!r} instead of {name}")
    if any(line.startswith(">") for line in lines):
        raise ValueError(f"several FASTA records instead of the one of {name}")
    sequence = "".join("".join(lines).split())
    _check_letters(name, sequence)
    return sequence


def isoform_map(entry: Entry, name: str, sequence: str) -> tuple[NDArray[np.int64] | None, str]:
    """Where each residue of the displayed sequence lies in an isoform.

    Parameters
    ----------
    entry : Entry
    name : str
        ``P04637-2``
    sequence : str
        The isoform's.

    Returns
    -------
    int array, shape (L of the displayed sequence,), or None
        0-based index in the isoform, -1 where it has no such residue; None when too long to align.
    str
        How it was found, for a note.
    """
    isoform = entry.isoform(name)
    if isoform is not None and all(segment in entry.segments for segment in isoform.segments):
        spliced = splice(entry.sequence, [entry.segments[segment] for segment in isoform.segments])
        if spliced is not None and spliced[0] == sequence:
            return spliced[1], "UniProt's list of spliced segments"
    if len(entry.sequence) * len(sequence) > MAX_ALIGNED:
        return None, "too long to be aligned"
    return _align(entry.sequence, sequence), "an alignment"


def splice(sequence: str, segments: Iterable[Segment]) -> tuple[str, NDArray[np.int64]] | None:
    """Apply spliced segments; None when they overlap or do not fit the sequence.

    Returns
    -------
    str
        The isoform.
    int array, shape (L,)
        For each residue of `sequence` its 0-based index in the isoform, -1 where it is exchanged or missing.

    Examples
    --------
    >>> isoform, index = splice("MKTAYIA", [Segment(3, 5, "TAY", "G")])
    >>> isoform, index.tolist()
    ('MKGIA', [0, 1, -1, -1, -1, 3, 4])
    """
    index = np.full(len(sequence), -1, dtype=np.int64)
    parts: list[str] = []
    done = length = 0
    for segment in sorted(segments, key=lambda segment: segment.start):
        start, end = segment.start - 1, segment.end
        if start < done or end > len(sequence) or start >= end:
            return None
        if segment.original and segment.original != sequence[start:end]:
            return None
        index[done:start] = np.arange(length, length + start - done)
        parts += [sequence[done:start], segment.replacement]
        length += start - done + len(segment.replacement)
        done = end
    index[done:] = np.arange(length, length + len(sequence) - done)
    return "".join([*parts, sequence[done:]]), index


def _align(canonical: str, isoform: str) -> NDArray[np.int64]:
    from Bio.Align import PairwiseAligner

    # Isoforms are cut and pasted, not mutated: only identical residues correspond, gaps are
    # dear to open and nearly free to extend.
    aligner = PairwiseAligner(
        mode="global", match_score=2.0, mismatch_score=-4.0, open_gap_score=-10.0, extend_gap_score=-0.01
    )
    index = np.full(len(canonical), -1, dtype=np.int64)
    for (start, end), (other, _) in zip(*aligner.align(canonical, isoform)[0].aligned, strict=True):
        for offset in range(end - start):
            if canonical[start + offset] == isoform[other + offset]:
                index[start + offset] = other + offset
    return index


def place_features(
    entry: Entry, names: Sequence[str], index: NDArray[np.int64] | None
) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
    """Put the entry's features on the sequence that is scored.

    Parameters
    ----------
    entry : Entry
    names : sequence of str
        What UniProt calls the scored sequence: features it places on another isoform are not ours.
    index : int array, shape (L of the displayed sequence,), or None
        From `isoform_map`; None when the displayed sequence itself is scored.

    Returns
    -------
    tuple of Feature
        Sorted by position. A bond gives one feature for each of its two residues.
    tuple of str
        The features that have no counterpart there: ``Domain 5-40 (SH3)``.
    """
    placed: list[Feature] = []
    dropped: list[str] = []
    for annotation in entry.annotations:
        own = annotation.on in names
        if annotation.on is not None and not own:
            continue
        if own or index is None:
            found = _as_is(annotation)
        elif annotation.kind in STRETCHES:
            found = _stretch(annotation, index, entry.accession)
        else:
            found = _whole(annotation, index)
        placed += found
        if not found:
            told = f" ({annotation.description})" if annotation.description else ""
            dropped.append(f"{annotation.kind} {_span(annotation)}{told}")
    return tuple(sorted(placed, key=lambda f: (f.start, f.end, f.kind, f.description))), tuple(dropped)


def _span(annotation: Annotation) -> str:
    return (
        str(annotation.start)
        if annotation.start == annotation.end
        else f"{annotation.start}-{annotation.end}"
    )


def _as_is(annotation: Annotation) -> list[Feature]:
    return _features(annotation, annotation.start, annotation.end)


def _features(annotation: Annotation, start: int, end: int) -> list[Feature]:
    kind, text = annotation.kind, annotation.description
    if kind not in BONDS or start == end:
        return [Feature(kind, text, start, end, SOURCE)]
    return [
        Feature(kind, "; ".join(filter(None, [text, f"to {partner}"])), site, site, SOURCE)
        for site, partner in ((start, end), (end, start))
    ]


def _whole(annotation: Annotation, index: NDArray[np.int64]) -> list[Feature]:
    inside = index[annotation.start - 1 : annotation.end]
    ends = inside[[0, -1]]
    bond = annotation.kind in BONDS
    if (ends < 0).any() or not (bond or (np.diff(inside) == 1).all()):
        return []
    return _features(annotation, int(ends[0]) + 1, int(ends[1]) + 1)


def _stretch(annotation: Annotation, index: NDArray[np.int64], accession: str) -> list[Feature]:
    inside = index[annotation.start - 1 : annotation.end]
    kept = inside[inside >= 0]
    if 2 * kept.size < inside.size:
        return []
    text = annotation.description
    if kept.size < inside.size:
        text = f"{text}; part of {_span(annotation)} in {accession}".removeprefix("; ")
    return [Feature(annotation.kind, text, int(kept[0]) + 1, int(kept[-1]) + 1, SOURCE)]


def _sequence(accession: str, stated: dict[str, Any]) -> str:
    sequence = stated.get("value")
    if not isinstance(sequence, str) or not sequence:
        raise ValueError(f"the entry {accession} without a sequence")
    _check_letters(accession, sequence)
    length = _integer(stated.get("length"))
    if length is not None and length != len(sequence):
        raise ValueError(f"the entry {accession} with {len(sequence)} residues where it states {length}")
    return sequence


def _check_letters(name: str, sequence: str) -> None:
    odd = sorted(set(sequence) - set("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    if odd or not sequence:
        raise ValueError(
            f"no sequence for {name} ({'letters ' + repr(''.join(odd)) if odd else 'it is empty'})"
        )


def _annotations(
    features: list[dict[str, Any]], accession: str, length: int
) -> tuple[tuple[Annotation, ...], int]:
    annotations: list[Annotation] = []
    unplaced = 0
    for feature in features:
        kind = feature.get("type")
        if kind not in KINDS:
            continue
        location = _dict(feature.get("location"))
        start = _integer(_dict(location.get("start")).get("value"))
        end = _integer(_dict(location.get("end")).get("value"))
        on = location.get("sequence")
        on = on if isinstance(on, str) and on != accession else None
        if start is None or end is None or not 1 <= start <= end or (on is None and end > length):
            unplaced += 1
            continue
        annotations.append(Annotation(str(kind), _description(feature), start, end, on))
    return tuple(annotations), unplaced


def _description(feature: dict[str, Any]) -> str:
    ligand = _dict(feature.get("ligand")).get("name")
    text = feature.get("description")
    return "; ".join(str(part) for part in (ligand, text) if part)


def _segments(features: list[dict[str, Any]]) -> dict[str, Segment]:
    segments: dict[str, Segment] = {}
    for feature in features:
        if feature.get("type") != "Alternative sequence" or not isinstance(feature.get("featureId"), str):
            continue
        location = _dict(feature.get("location"))
        start = _integer(_dict(location.get("start")).get("value"))
        end = _integer(_dict(location.get("end")).get("value"))
        change = _dict(feature.get("alternativeSequence"))
        # "Missing" has neither an original nor an alternative.
        alternatives = _strings(change.get("alternativeSequences")) or ("",)
        if start is not None and end is not None:
            original = str(change.get("originalSequence") or "")
            segments[feature["featureId"]] = Segment(start, end, original, alternatives[0])
    return segments


def _isoforms(comments: list[dict[str, Any]]) -> tuple[Isoform, ...]:
    return tuple(
        Isoform(
            ids=_strings(isoform.get("isoformIds")),
            status=str(isoform.get("isoformSequenceStatus") or ""),
            segments=_strings(isoform.get("sequenceIds")),
        )
        for comment in comments
        if comment.get("commentType") == "ALTERNATIVE PRODUCTS"
        for isoform in _dicts(comment.get("isoforms"))
    )


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
