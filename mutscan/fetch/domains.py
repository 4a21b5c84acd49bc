"""Names of domains from InterPro and TED, which are optional.

InterPro lists the entries that match a protein with the stretches they match
(https://interpro-documentation.readthedocs.io); TED lists the compact domains of
AlphaFold DB's model of it, cut by three programs, with CATH's number where it has one
(https://ted.cathdb.info).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mutscan.fetch.http import read_json
from mutscan.fetch.uniprot import Annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERPRO: Final = "InterPro"
TED: Final = "TED"

INTERPRO_KINDS: Final = {
    "domain": "Domain",
    "repeat": "Repeat",
    "homologous_superfamily": "Superfamily",
    "active_site": "Active site signature",
    "binding_site": "Binding site signature",
    "conserved_site": "Conserved site",
}
"""InterPro's types that say where in a protein something is; a family is all of it."""

_STRETCH: Final = re.compile(r"(\d+)-(\d+)")


def read_interpro(data: bytes, accession: str, length: int) -> tuple[tuple[Annotation, ...], str]:
    """Read a page of ``/api/entry/interpro/protein/uniprot/ACCESSION``.

    Parameters
    ----------
    data : bytes
    accession : str
        Of the entry; matches in other proteins are not ours.
    length : int
        Residues of the displayed sequence, which is what matches are numbered on.

    Returns
    -------
    tuple of Annotation
        The stretches of a match that is not contiguous share a description; matches of one entry
        at several places are numbered.
    str
        Query of the next page; empty after the last.

    Raises
    ------
    ValueError
        Another form than documented, or matches in a sequence of another length.
    """
    page = read_json(data)
    if not isinstance(page, dict) or not isinstance(page.get("results"), list):
        raise ValueError("JSON that is not a list of InterPro entries (it has no results)")
    found: list[Annotation] = []
    for result in page["results"]:
        about = result.get("metadata") if isinstance(result, dict) else None
        if not isinstance(about, dict):
            raise ValueError("an InterPro entry without metadata")
        kind = INTERPRO_KINDS.get(str(about.get("type")))
        if kind is None:
            continue
        name = about.get("name")
        said = str(name.get("name") or name.get("short") or "") if isinstance(name, dict) else str(name or "")
        try:
            places = list(_interpro_places(result, accession, length))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"an InterPro entry of another form than documented ({error!r})") from error
        for number, stretches in enumerate(places, start=1):
            which = f" {number} of {len(places)}" if len(places) > 1 else ""
            text = f"{said}{which} [{about.get('accession')}]"
            found += [Annotation(kind, text, start, end, source=INTERPRO) for start, end in stretches]
    after = page.get("next")
    return tuple(found), urlsplit(after).query if isinstance(after, str) else ""


def _interpro_places(result: dict[str, Any], accession: str, length: int) -> Iterator[list[tuple[int, int]]]:
    for protein in result.get("proteins") or []:
        if str(protein.get("accession", "")).upper() != accession:
            continue
        theirs = protein.get("protein_length")
        if isinstance(theirs, int) and theirs != length:
            raise ValueError(f"matches in a sequence of {theirs} residues; UniProt's has {length}")
        for location in protein.get("entry_protein_locations") or []:
            stretches = [
                (int(fragment["start"]), int(fragment["end"])) for fragment in location.get("fragments") or []
            ]
            _check(stretches, length)
            if stretches:
                yield stretches


def read_ted(data: bytes, length: int) -> tuple[Annotation, ...]:
    """Read ``/api/v1/uniprot/summary/ACCESSION``; the stretches of one domain share a description.

    Raises
    ------
    ValueError
        Another form than documented, or domains that lie outside a sequence of `length` residues.
    """
    page = read_json(data)
    if not isinstance(page, dict) or not isinstance(page.get("data"), list):
        raise ValueError("JSON that is not a list of TED domains (it has no data)")
    found: list[Annotation] = []
    for domain in page["data"]:
        if not isinstance(domain, dict):
            raise ValueError("a TED domain that is not an object")
        stretches = [(int(a), int(b)) for a, b in _STRETCH.findall(str(domain.get("chopping") or ""))]
        _check(stretches, length)
        name = str(domain.get("ted_id") or "").rpartition("_")[2] or "domain"
        label = str(domain.get("cath_label") or "").strip()
        cath = f" [CATH {label}]" if label not in ("", "-") else ""
        found += [Annotation("Domain", f"{name} domain{cath}", a, b, source=TED) for a, b in stretches]
    return tuple(found)


def _check(stretches: list[tuple[int, int]], length: int) -> None:
    for start, end in stretches:
        if not 1 <= start <= end <= length:
            raise ValueError(f"a stretch {start}-{end} in a sequence of {length} residues")
