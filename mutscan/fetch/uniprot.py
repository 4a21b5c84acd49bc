"""What UniProt says about a protein: accession, sequence, isoforms, features.

Formats as documented at https://www.uniprot.org/help/api_queries. Only what mutscan uses is
read; all but the accession and the sequence may be missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mutscan.fetch.http import read_json

if TYPE_CHECKING:
    from collections.abc import Sequence

# https://www.uniprot.org/help/accession_numbers
_ACCESSION: Final = re.compile(
    r"([OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2})(?:-([1-9][0-9]{0,3}))?"
)

STRETCHES: Final = frozenset(
    {
        "Domain",
        "DNA binding",
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
        raise ValueError(f"{text!r} is not a UniProt accession")
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
    source: str = "UniProt"


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
    organism : str
        Such as ``Homo sapiens``; empty where not said.
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
    identifiers : mapping of str to str
        As those of `mutscan.structures.WildType`, without the cross-references.
    references : mapping of str to set of str
        Identifiers of RefSeq and Ensembl, with the isoforms that they are of; none where UniProt names none.
    """

    accession: str
    sequence: str
    organism: str
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
    identifiers: dict[str, str]
    references: dict[str, set[str]]

    def identifiers_of(self, names: Sequence[str]) -> dict[str, str]:
        """Give the identifiers of the isoform that is called `names`."""
        others, isoforms = self.identifiers.get("others", "").split(), []
        for identifier, of in self.references.items():
            if not of or not of.isdisjoint(names):
                others.append(identifier)
            else:
                isoforms.append(f"{identifier}={min(of)}")
        found = {**self.identifiers, "others": " ".join(others), "isoforms": " ".join(isoforms)}
        return {name: value for name, value in found.items() if value}

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
        raise ValueError("JSON that is not a UniProtKB entry (it has no primaryAccession)")
    accession: str = page["primaryAccession"]
    inactive = page.get("entryType") == "Inactive" or "inactiveReason" in page
    why = _dict(page.get("inactiveReason"))
    sequence = "" if inactive else _sequence(accession, _dict(page.get("sequence")))
    audit = _dict(page.get("entryAudit"))
    annotations, unplaced = _annotations(_dicts(page.get("features")), accession, len(sequence))
    return Entry(
        accession=accession,
        sequence=sequence,
        organism=str(_dict(page.get("organism")).get("scientificName") or ""),
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
        identifiers=_identifiers(page, accession),
        references=_references(page),
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


def _identifiers(page: dict[str, Any], accession: str) -> dict[str, str]:
    """Names of the entry: its own, and those of its gene."""
    genes = _dicts(page.get("genes"))
    stated = [_dict(gene.get("geneName")) for gene in genes]
    stated += [synonym for gene in genes for synonym in _dicts(gene.get("synonyms"))]
    found = {
        "accession": accession,
        "entry": str(page.get("uniProtkbId") or ""),
        "gene": " ".join("".join(str(name.get("value") or "").split()) for name in stated),
        "others": " ".join(_strings(page.get("secondaryAccessions"))),
    }
    return {name: value for name, value in found.items() if value}


def _references(page: dict[str, Any]) -> dict[str, set[str]]:
    """Isoforms of each identifier of RefSeq and Ensembl."""
    found: dict[str, set[str]] = {}
    for reference in _dicts(page.get("uniProtKBCrossReferences")):
        if reference.get("database") in ("RefSeq", "Ensembl"):
            of = {str(reference["isoformId"])} if reference.get("isoformId") else set()
            properties = _dicts(reference.get("properties"))
            found.setdefault(str(reference.get("id")), set()).update(of)
            for one in properties:  # all isoforms are of one gene
                found.setdefault(str(one.get("value")), set()).update(
                    of if one.get("key") != "GeneId" else ()
                )
    return found


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
