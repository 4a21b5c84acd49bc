"""The Protein Data Bank at RCSB: files of entries, and what became of entries that were removed.

Files: https://files.rcsb.org/download/1TUP.cif.gz. Removed entries: ``/rest/v1/holdings/removed/ID`` of
https://data.rcsb.org.
"""

from __future__ import annotations

from mutscan.errors import FetchError
from mutscan.fetch.http import read_json


def obsolete(entry: str, chain: str | None, data: bytes) -> FetchError:
    """Read an entry's page of removed holdings, and say what to give instead.

    Raises
    ------
    ValueError
        Not such a page; says what it is.
    """
    page = read_json(data)
    removed = page.get("rcsb_repository_holdings_removed") if isinstance(page, dict) else None
    if not isinstance(removed, dict):
        raise ValueError("JSON that is no page of a removed PDB entry")
    successors = removed.get("id_codes_replaced_by") or []
    if not isinstance(successors, list) or not all(isinstance(one, str) for one in successors):
        raise ValueError("a page of a removed PDB entry whose successors are no list of names")
    when = str(removed.get("remove_date") or "")[:10]
    happened = f"{entry}: this PDB entry was removed{f' on {when}' if when else ''}"
    if not successors:
        what = f"{happened} and has no successor; give the protein as a structure or FASTA file"
        return FetchError(what, code="inactive_entry")
    use = " or ".join(f"pdb:{one.upper()}:{chain or 'CHAIN'}" for one in successors)
    what = (
        f"{happened} and replaced by {', '.join(map(str.upper, successors))}; use {use}, and check the chain"
    )
    return FetchError(what, code="inactive_entry")
