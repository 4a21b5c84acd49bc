"""RefSeq's and Ensembl's own sequence of a protein, to compare UniProt's with.

RefSeq: FASTA of NCBI's ``efetch`` (https://www.ncbi.nlm.nih.gov/books/NBK25499/), which has every version.
Ensembl: ``/sequence/id`` (https://rest.ensembl.org/documentation/info/sequence_id), which has the current one
and states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mutscan.fetch.http import read_json
from mutscan.structures.fasta import parse_fasta

NCBI_URL: Final = "https://eutils.ncbi.nlm.nih.gov"
ENSEMBL_URL: Final = "https://rest.ensembl.org"


@dataclass(frozen=True, slots=True)
class Stated:
    """A protein as its database has it: `name` with the version, and its residues."""

    name: str
    sequence: str


def refseq_url(base: str, identifier: str) -> str:
    """Address of a protein at RefSeq."""
    query = f"db=protein&id={identifier}&rettype=fasta&retmode=text&tool=mutscan"
    return f"{base}/entrez/eutils/efetch.fcgi?{query}"


def ensembl_url(base: str, identifier: str) -> str:
    """Address of a protein at Ensembl, which finds identifiers without their version."""
    stable = identifier.partition(".")[0]
    return f"{base}/sequence/id/{stable}?type=protein;content-type=application/json"


def read_refseq(data: bytes, identifier: str) -> Stated:
    """Read the FASTA of one protein.

    Raises
    ------
    ValueError, UsageError
        Something else, or another protein.
    """
    records = parse_fasta(data.decode("utf-8", "replace"), identifier)
    found = records[0].id
    if len(records) != 1 or identifier not in (found, found.partition(".")[0]):
        raise ValueError(f"{len(records)} FASTA records, the first {found[:40]!r}, instead of {identifier}")
    return Stated(found, records[0].sequence)


def read_ensembl(data: bytes, identifier: str) -> Stated:
    """Read the JSON of one protein.

    Raises
    ------
    ValueError
        Something else, or another protein.
    """
    page = read_json(data)
    if (
        not isinstance(page, dict)
        or not isinstance(page.get("seq"), str)
        or page.get("molecule") != "protein"
    ):
        raise ValueError("JSON without the sequence of a protein")
    if page.get("id") != identifier.partition(".")[0]:
        raise ValueError(f"the protein {str(page.get('id'))[:40]!r} instead of {identifier}")
    version = page.get("version")
    return Stated(page["id"] if version is None else f"{page['id']}.{version}", page["seq"].rstrip("*"))


def differences(stated: str, own: str) -> str:
    """Say where a database's sequence is not UniProt's `own`; empty where they are the same.

    Examples
    --------
    >>> differences("MKRLE", "MKLLE"), differences("MKLLE", "MKLLE")
    ('position 3 is R there and L at UniProt, 1 difference in all', '')
    >>> differences("MKLL", "MKLLE")
    'it has 4 residues there and 5 at UniProt, the first difference is at position 5'
    """
    if stated == own:
        return ""
    places = [i for i, (a, b) in enumerate(zip(stated, own, strict=False)) if a != b]
    if len(stated) == len(own):
        counted = "1 difference" if len(places) == 1 else f"{len(places)} differences"
        first = places[0]
        return f"position {first + 1} is {stated[first]} there and {own[first]} at UniProt, {counted} in all"
    first = min([*places[:1], len(stated), len(own)]) + 1
    return (
        f"it has {len(stated)} residues there and {len(own)} at UniProt, the first difference is at position "
        f"{first}"
    )
