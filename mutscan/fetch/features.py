"""Features of UniProt and other databases on the sequence that is scored.

They are numbered on the displayed (canonical) sequence whatever isoform is asked for, so an
isoform gets them through a residue map: the entry's own list of spliced segments where that
reproduces the isoform's sequence exactly, an alignment otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.fetch.uniprot import BONDS, STRETCHES, Annotation, Entry, Segment
from mutscan.structures import Feature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

SOURCE: Final = "UniProt"

MAX_ALIGNED: Final = 10**8
"""Cells of the largest isoform alignment (10,000 x 10,000 residues)."""


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
        if not found and annotation.source == SOURCE:
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
        return [Feature(kind, text, start, end, annotation.source)]
    return [
        Feature(kind, "; ".join(filter(None, [text, f"to {partner}"])), site, site, annotation.source)
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
    return [Feature(annotation.kind, text, int(kept[0]) + 1, int(kept[-1]) + 1, annotation.source)]
