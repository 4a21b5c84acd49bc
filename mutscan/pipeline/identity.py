"""Whether a name that stands before a variant, or in a column of its row, is that of the wild type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mutscan.fetch import is_accession
from mutscan.inputs.layout import plain
from mutscan.inputs.proteins import PROTEIN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mutscan.structures import WildType

_ENTRY: Final = re.compile(r"[A-Z0-9]{1,10}_[A-Z0-9]{3,5}", re.IGNORECASE | re.ASCII)
_DATABASE: Final = re.compile(
    r"([ANWXYZ][CGMPRTW]_|ENS[A-Z]*?[PTG]|LRG_|CCDS|UPI)([0-9A-F]+(?:[pt][0-9]+)?)(?:\.[0-9]+)?"
    r"(?:\(([^()]+)\))?",
    re.IGNORECASE | re.ASCII,
)
"""RefSeq with the gene that ClinVar adds, Ensembl and others: kind, number, gene."""
_PDB: Final = re.compile(r"[0-9][A-Za-z0-9]{3}", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9]{1,9}(?:-[A-Z0-9]{1,4})?", re.ASCII)
_VERSION: Final = re.compile(r"\.[0-9]+$")
_NAMES: Final = frozenset(header for group in PROTEIN_COLUMNS for header in group)
_SYMBOLS: Final = frozenset({"protein", "proteinname", *PROTEIN_COLUMNS[-1]})
"""Columns that hold symbols of genes."""


class Identity:
    """What is known of the names of a wild type.

    Parameters
    ----------
    wild_type : WildType
    """

    def __init__(self, wild_type: WildType) -> None:
        parts = [part for part in wild_type.name.split("|") if part]
        known = dict(wild_type.identifiers)
        for part in parts:
            if is_accession(part):  # an isoform stands only in the name
                known["accession"] = part
            elif _ENTRY.fullmatch(part) and not _DATABASE.fullmatch(part):
                known.setdefault("entry", part)
        self._names = {name.casefold() for name in (wild_type.name, *parts)}
        self._accession = _entry_accession(known.get("accession", ""))
        self._entry = known.get("entry", "").casefold()
        self._genes = {gene.casefold() for gene in known.get("gene", "").split()}
        self._chain = "" if wild_type.structure is None else wild_type.structure.chain_id
        others = known.get("others", "").split()
        self._names |= {name.casefold() for name in others}
        self._numbers: dict[str, set[str]] = {}
        for found in filter(None, map(_DATABASE.fullmatch, (*parts, *others))):
            self._numbers.setdefault(found[1].upper(), set()).add(found[2].upper())
        named = [known[key].split()[0] for key in ("accession", "entry", "gene") if known.get(key)]
        shown = ", ".join(name for name in named if name != wild_type.name)
        self.words = wild_type.name + (f" ({shown})" if shown else "")

    def contradicts(self, name: str) -> bool | None:
        """Whether a name is another protein's; None where that cannot be told."""
        folded = name.casefold()
        if folded in self._names:
            return False
        if is_accession(_VERSION.sub("", name)):
            return _entry_accession(name) != self._accession if self._accession else None
        if found := _DATABASE.fullmatch(name):
            of_gene = self._other_gene(found[3]) if found[3] else None
            own = self._numbers.get(found[1].upper())
            return of_gene if own is None or of_gene is not None else found[2].upper() not in own
        if _ENTRY.fullmatch(name):
            return folded != self._entry if self._entry else None
        if len(name) == 1:
            return folded != self._chain.casefold() if self._chain else None
        return None if _PDB.fullmatch(name) else self._other_gene(name)

    def _other_gene(self, gene: str) -> bool | None:
        folded = gene.casefold()
        if folded in self._names | self._genes or folded == self._entry.partition("_")[0]:
            return False
        return True if self._genes else None

    def named_by(self, cells: Mapping[str, str]) -> dict[str, list[str]]:
        """Names of proteins in a row's columns for them, by column; descriptions are none."""
        found = {}
        for column, cell in cells.items():
            header = plain(column)
            if header in _NAMES:
                names = [name.strip() for name in re.split(r"[;,|]", cell)]
                found[column] = [name for name in names if _is_name(name, symbols=header in _SYMBOLS)]
        return found


def _is_name(text: str, *, symbols: bool) -> bool:
    """Whether a cell is an identifier that can be compared; ``NA`` and a residue's letter are none."""
    if is_accession(_VERSION.sub("", text)) or _DATABASE.fullmatch(text):
        return True
    return bool(_ENTRY.fullmatch(text)) or (symbols and text != "NA" and bool(_SYMBOL.fullmatch(text)))


def _entry_accession(text: str) -> str:
    """Make one of the spellings of an entry's sequence: isoform 1 is the one shown."""
    return _VERSION.sub("", text).upper().removesuffix("-1")
