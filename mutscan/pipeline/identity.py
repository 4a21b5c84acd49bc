"""Whether a name that stands before a variant, or in a column of its row, is that of the wild type."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from mutscan.fetch import is_accession
from mutscan.inputs.layout import plain
from mutscan.inputs.proteins import PROTEIN_COLUMNS
from mutscan.inputs.spreadsheet import damage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
        self._isoforms: dict[tuple[str, str], str] = {}
        for text in known.get("isoforms", "").split():
            identifier, _, isoform = text.partition("=")
            if match := _DATABASE.fullmatch(identifier):
                self._isoforms[match[1].upper(), match[2].upper()] = isoform
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
            if self.isoform_of(name):
                return True
            of_gene = self._other_gene(found[3]) if found[3] else None
            own = self._numbers.get(found[1].upper())
            return of_gene if own is None or of_gene is not None else found[2].upper() not in own
        if _ENTRY.fullmatch(name):
            return folded != self._entry if self._entry else None
        if len(name) == 1:
            return folded != self._chain.casefold() if self._chain else None
        return None if _PDB.fullmatch(name) else self._other_gene(name)

    def isoform_of(self, name: str) -> str:
        """Find the other isoform of this protein that a RefSeq or Ensembl identifier is of; else empty."""
        found = _DATABASE.fullmatch(name)
        if found is None or found[2].upper() in self._numbers.get(found[1].upper(), ()):
            return ""
        return self._isoforms.get((found[1].upper(), found[2].upper()), "")

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


class NamedProteins:
    """What the rows of a list name, each before its variant or in columns.

    Parameters
    ----------
    identity : Identity
        Of the wild type.
    """

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._unchecked: dict[str, None] = {}
        # Names by row, of each kind in each place; those that are the wild type's.
        self._named: defaultdict[tuple[str, str], dict[int, dict[str, str]]] = defaultdict(dict)
        self._own: set[tuple[str, str, str]] = set()

    def add(self, row: int, named: Mapping[str, Sequence[str]]) -> tuple[str, str]:
        """Take what a row names.

        Parameters
        ----------
        row : int
        named : mapping
            Names by place, such as ``in column 'gene'``; of several in one place any may be meant.

        Returns
        -------
        str
            What it names another protein by; empty if by nothing.
        str
            What is to be noted of the row; empty if nothing.
        """
        own, unchecked = "", ""
        for place, names in named.items():
            verdicts = [self._identity.contradicts(name) for name in names]
            if names and all(verdicts):
                return f"{', '.join(map(self._told, names))} {place}".strip(), ""
            for name, verdict in zip(names, verdicts, strict=True):
                kind, spelled = _kind(name)
                if verdict is None and False not in verdicts:
                    self._unchecked[in_line(name)] = None
                    unchecked = unchecked or f"{in_line(name)} {place}".strip()
                elif verdict is False and kind:
                    own = own or in_line(name)
                    self._own.add((place, kind, spelled))
                if verdict is not True and kind:
                    self._named[place, kind].setdefault(row, {})[spelled] = in_line(name)
        if own and unchecked:
            return "", f"names {own}, and {unchecked}: that they are one protein could not be checked"
        return "", ""

    def _told(self, name: str) -> str:
        isoform = self._identity.isoform_of(name)
        return in_line(name) + (f", which belongs to isoform {isoform}," if isoform else "")

    @property
    def note(self) -> str:
        """What could not be checked; empty if nothing."""
        names = [*self._unchecked]
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return (
            f"the variants name {shown}; that this is the protein scored, {self._identity.words}, could not "
            "be checked"
            if names
            else ""
        )

    def apart(self) -> dict[int, str]:
        """Say of each row that names another protein than most, or than others where most do not agree."""
        found: dict[int, str] = {}
        for (place, kind), rows in self._named.items():
            votes = Counter(spelled for names in rows.values() for spelled in names)
            if max(votes.values()) == len(rows):
                continue
            agreed = [spelled for spelled in votes if (place, kind, spelled) in self._own]
            agreed = agreed or [one for one, count in votes.items() if count > len(rows) / 2]
            shown = {spelled: name for names in rows.values() for spelled, name in names.items()}
            for row, names in rows.items():
                if names.keys() & {*agreed}:
                    continue
                others = [one for one, _ in votes.most_common() if one in (agreed or votes.keys() - names)]
                told = f"{votes[others[0]]} of {len(rows)}" if agreed else "other"
                named = f"{', '.join(names.values())} {place}".strip()
                elsewhere = ", ".join(shown[one] for one in others[:3])
                found[row] = f"names {named}, while {told} rows name {elsewhere}, and one protein is scored"
        return found


def _kind(name: str) -> tuple[str, str]:
    """Tell what a name is, and spell it to compare; no kind where a protein may have several."""
    if is_accession(_VERSION.sub("", name)):
        return "accession", _entry_accession(name)
    if found := _DATABASE.fullmatch(name):
        return ("gene", found[3].casefold()) if found[3] else ("", "")
    if len(name) == 1 or _PDB.fullmatch(name):
        return "", ""
    return "entry" if _ENTRY.fullmatch(name) else "gene", name.casefold()


def in_line(text: str) -> str:
    """Write a text from outside in one line of a message."""
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return text if text.isprintable() else repr(text)


def damaged_names(cells: Mapping[str, str]) -> str:
    """Note on a row's columns for proteins in which a spreadsheet destroyed the name; empty if none."""
    found = [
        f"{cell!r} in column {column!r} is {made}, which a spreadsheet made of a name: not checked"
        for column, cell in cells.items()
        if plain(column) in _NAMES and (made := damage(cell.strip()))
    ]
    return "; ".join(found)


def _is_name(text: str, *, symbols: bool) -> bool:
    """Whether a cell is an identifier that can be compared; ``NA`` and a residue's letter are none."""
    if is_accession(_VERSION.sub("", text)) or _DATABASE.fullmatch(text):
        return True
    return bool(_ENTRY.fullmatch(text)) or (symbols and text != "NA" and bool(_SYMBOL.fullmatch(text)))


def _entry_accession(text: str) -> str:
    """Make one of the spellings of an entry's sequence: isoform 1 is the one shown."""
    return _VERSION.sub("", text).upper().removesuffix("-1")
