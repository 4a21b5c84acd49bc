"""Whose variants a probability was learned from, and what that means for the protein of a run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from mutscan.reports.digest import section

if TYPE_CHECKING:
    from collections.abc import Mapping

HUMAN: Final = "Homo sapiens"

CLINICAL: Final = "human variants labelled disease-causing or benign"
"""What the probability of the model `SHIPPED` was learned from."""

SHIPPED: Final = "mutscan-mini"

_ENTRY: Final = re.compile(r"(?:sp|tr)\|[^|]+\|[A-Z0-9]+_([A-Z0-9]{3,5})")
"""A UniProt FASTA name ends in the mnemonic of the organism."""


def organism(provenance: Mapping[str, Any]) -> str:
    """Organism of a run's protein, empty where run.json does not tell.

    UniProt's own name where the protein was fetched, else ``Homo sapiens`` for a name such as
    ``P53_HUMAN``, else UniProt's mnemonic (``ECOLI``) of a FASTA name such as ``sp|P00968|CARB_ECOLI``.

    Parameters
    ----------
    provenance : mapping
        run.json.

    Examples
    --------
    >>> organism({"wild_type": {"name": "sp|P04637|P53_HUMAN"}})
    'Homo sapiens'
    >>> organism({"wild_type": {"name": "mine"}})
    ''
    """
    records = [record for record in provenance.get("records") or [] if isinstance(record, dict)]
    for record in records:
        if isinstance(record.get("organism"), str) and record["organism"]:
            return str(record["organism"])
    protein = section(provenance, "wild_type")
    told = section(protein, "identifiers").get("entry"), protein.get("name")
    for name in map(str, (*told, section(provenance, "arguments").get("wild_type"))):
        if name.endswith("_HUMAN"):
            return HUMAN
        if found := _ENTRY.fullmatch(name):
            return found[1]
    return ""


def is_human(provenance: Mapping[str, Any]) -> bool | None:
    """Whether the protein of a run is human; None where run.json does not tell."""
    known = organism(provenance)
    return known == HUMAN if known else None


def population(provenance: Mapping[str, Any]) -> str:
    """Say in one or two sentences which population `p_deleterious` speaks of; empty without a calibration.

    Examples
    --------
    >>> run = {"wild_type": {"name": "mine"}, "model": {"name": "mutscan-mini"}}
    >>> population(run | {"calibration": {"prior": "clinical", "share_deleterious": 0.56}})
    'The probability was learned from human variants labelled disease-causing or benign, 56 % of them \
harmful; for another organism read it as a rank.'
    """
    calibration = section(provenance, "calibration")
    if not calibration:
        return ""
    share = calibration.get("share_deleterious")
    harmful = f"{100 * share:.0f} %" if isinstance(share, float) else ""
    # Only of the shipped model it is known here whose variants they were.
    shipped = section(provenance, "model").get("name") == SHIPPED
    said = (
        f"The probability was learned from {CLINICAL if shipped else 'variants labelled harmful or harmless'}"
    )
    if calibration.get("prior") == "scan":
        said += " and shifted to all substitutions of a protein"
        said += f", assuming that {harmful} are harmful" if harmful else ""
    elif harmful:
        said += f", {harmful} of them harmful"
    human = is_human(provenance)
    if human or not shipped:
        return f"{said}."
    if human is None:
        return f"{said}; for another organism read it as a rank."
    return f"{said}; this protein is not human ({organism(provenance)}): read it as a rank."
