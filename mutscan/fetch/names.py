"""Names of proteins: what kind a text is, and which of UniProt's entries it means.

Search answers as documented at https://www.uniprot.org/help/api_queries and
https://www.uniprot.org/help/query-fields: each entry with the fields in `FIELDS`, cross-references with the
isoform that has their sequence (``isoformId``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mutscan.errors import FetchError, UsageError
from mutscan.fetch.http import read_json
from mutscan.fetch.uniprot import is_accession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

KNOWN: Final = (
    "a UniProt accession (P04637, P04637-2) or entry name (P53_HUMAN), a RefSeq or Ensembl protein "
    "(NP_000537.3, ENSP00000269305.4), a chain of a PDB entry (pdb:1TUP:A) or a gene symbol (TP53)"
)
"""Names that are looked up, for messages."""

HUMAN: Final = "human"
"""Organism of gene symbols unless another is named."""

FIELDS: Final = "accession,id,protein_name,gene_names,organism_name,length,xref_refseq,xref_ensembl"
PAGE: Final = 500
"""Entries in one answer of UniProt's search, at most."""

LISTED: Final = 10
"""Candidates listed in an error; the rest are counted."""

_ENTRY: Final = re.compile(r"[A-Z0-9]{1,11}_[A-Z0-9]{3,5}")
_REFSEQ: Final = re.compile(r"(?:[ANWXY]P|[NX]M)_[0-9]{6,}(?:\.[0-9]+)?")
_ENSEMBL: Final = re.compile(r"ENS[A-Z]*?[PT][0-9]{11}(?:\.[0-9]+)?")
_ENSEMBL_GENE: Final = re.compile(r"ENS[A-Z]*?G[0-9]{11}(?:\.[0-9]+)?")
_PROTEIN: Final = re.compile(r"(?:[ANWXY]P_|ENS[A-Z]*?P)[0-9]+(?:\.[0-9]+)?")
_PDB: Final = re.compile(r"(?:PDB_0000)?([0-9][A-Z0-9]{3})(?::([^:\s]+))?", re.IGNORECASE)
_GENE: Final = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_'()-]{0,29}(?:\.[0-9]+[a-z]?)?")


@dataclass(frozen=True, slots=True)
class Name:
    """A name that can be looked up.

    Parameters
    ----------
    kind : str
        ``accession``, ``entry``, ``refseq``, ``ensembl``, ``pdb`` or ``gene``.
    text : str
        As its database spells it; a gene symbol as it was typed.
    typed : str
    chain : str, optional
        Of a PDB entry.
    """

    kind: str
    text: str
    typed: str
    chain: str | None = None

    @property
    def words(self) -> str:
        """The kind, for messages."""
        return {
            "accession": "a UniProt accession",
            "entry": "a UniProt entry name",
            "refseq": "a RefSeq identifier",
            "ensembl": "an Ensembl identifier",
            "pdb": "a PDB entry",
            "gene": "a gene symbol",
        }[self.kind]


def read_name(text: str) -> Name | None:
    """Tell what kind of name a text is; None for none.

    Raises
    ------
    UsageError
        A name of something else that is often given for a protein, such as a gene's Ensembl id.

    Examples
    --------
    >>> [read_name(text).kind for text in ("p04637", "P53_HUMAN", "NP_000537.3", "ENSP00000269305", "TP53")]
    ['accession', 'entry', 'refseq', 'ensembl', 'gene']
    >>> read_name("pdb:1tup:A")
    Name(kind='pdb', text='1TUP', typed='pdb:1tup:A', chain='A')
    """
    given = text.strip()
    upper = given.upper()
    if upper.startswith("PDB:"):
        found = _PDB.fullmatch(given[4:])
        if found is None:
            raise UsageError(f"{text}: expected pdb:ID:CHAIN, such as pdb:1TUP:A", code="unknown_protein")
        return Name("pdb", found[1].upper(), text, found[2])
    if is_accession(upper):
        return Name("accession", upper, text)
    for kind, pattern in (("refseq", _REFSEQ), ("ensembl", _ENSEMBL), ("entry", _ENTRY)):
        if pattern.fullmatch(upper):
            return Name(kind, upper, text)
    if _ENSEMBL_GENE.fullmatch(upper):
        raise UsageError(
            f"{text}: is a gene, which may have several proteins; give the gene's symbol with --organism, or "
            "one of its proteins (ENSP00000269305)",
            code="unknown_protein",
        )
    if found := _PDB.fullmatch(given):
        raise UsageError(
            f"{text}: no such file; a chain of a PDB entry is written pdb:{found[1].upper()}:A",
            code="unknown_protein",
        )
    return Name("gene", given, text) if _GENE.fullmatch(given) else None


@dataclass(frozen=True, slots=True)
class Reference:
    """A cross-reference: names of the protein and its transcript, and the isoform or ``""``."""

    names: tuple[str, ...]
    isoform: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that a search found; `genes` are their names, `others` the synonyms and locus names."""

    accession: str
    entry: str
    protein: str
    organism: str
    common: str
    taxon: int | None
    length: int | None
    reviewed: bool
    genes: tuple[str, ...]
    others: tuple[str, ...]
    references: tuple[Reference, ...]

    def __str__(self) -> str:
        """Describe it in a list of candidates."""
        size = f", {self.length} residues" if self.length is not None else ""
        kind = "" if self.reviewed else ", unreviewed"
        return f"{self.accession} ({self.entry}, {self.protein or 'no name'}{size}{kind})"

    def is_of(self, organism: str) -> bool:
        """Whether this is the organism's: by taxon, name without the strain, or code (``MOUSE``)."""
        if organism.isdecimal():
            return self.taxon == int(organism)
        names = (self.organism, self.organism.partition(" (")[0], self.common, self.entry.partition("_")[2])
        return organism.casefold() in map(str.casefold, names)


def read_hits(data: bytes) -> tuple[Hit, ...]:
    """Read ``/uniprotkb/search``.

    Raises
    ------
    ValueError
        Not a list of entries; says what it is.
    """
    page = read_json(data)
    entries = page.get("results") if isinstance(page, dict) else None
    if not isinstance(entries, list):
        raise ValueError("JSON that is not an answer of UniProt's search (it has no results)")
    return tuple(map(_hit, entries))


def _hit(entry: Any) -> Hit:
    try:
        described = entry.get("proteinDescription", {})
        named = [described.get("recommendedName", {}), *described.get("submissionNames", [])]
        organism = entry.get("organism", {})
        genes = entry.get("genes", [])
        return Hit(
            accession=entry["primaryAccession"],
            entry=entry["uniProtkbId"],
            protein=next((name["fullName"]["value"] for name in named if name), ""),
            organism=organism.get("scientificName", ""),
            common=organism.get("commonName", ""),
            taxon=organism.get("taxonId"),
            length=entry.get("sequence", {}).get("length"),
            reviewed=entry["entryType"].startswith("UniProtKB reviewed"),
            genes=tuple(gene["geneName"]["value"] for gene in genes if "geneName" in gene),
            others=tuple(
                name["value"]
                for gene in genes
                for kind in ("synonyms", "orderedLocusNames", "orfNames")
                for name in gene.get(kind, [])
            ),
            references=tuple(
                Reference(
                    (one["id"], *(value["value"] for value in one.get("properties", []))),
                    one.get("isoformId", ""),
                )
                for one in entry.get("uniProtKBCrossReferences", [])
                if one["database"] in ("RefSeq", "Ensembl")
            ),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"an entry of another shape ({type(error).__name__}: {error})") from error


def gene_query(symbol: str, organism: str, *, reviewed: bool) -> str:
    """Query for the entries of a gene; of the organism's name, entries of like-named ones come, too."""
    quoted = symbol if symbol.isalnum() else f'"{symbol}"'
    if organism.casefold() == HUMAN:
        organism = "9606"
    where = f"organism_id:{organism}" if organism.isdecimal() else f'organism_name:"{organism}"'
    return f"(gene_exact:{quoted}) AND ({where}) AND (reviewed:{str(reviewed).lower()})"


def reference_query(name: Name) -> str:
    """Query for the entries that refer to a RefSeq or Ensembl identifier, of any version."""
    asked = dict.fromkeys((name.text, _base(name.text)))
    return " OR ".join(f"(xref:{name.kind}-{text})" for text in asked)


def choose_gene(name: Name, organism: str, search: Callable[[str], tuple[Hit, ...]]) -> tuple[Hit, list[str]]:
    """Choose the one reviewed entry of a gene; the notes say how the symbol was read.

    Parameters
    ----------
    name : Name
    organism : str
        Name, code or taxon.
    search : callable
        Answers a query.

    Raises
    ------
    UsageError
        Several entries, or unreviewed ones only: code ``ambiguous_protein``.
    FetchError
        None: code ``not_found``.
    """
    symbol = name.text
    found = search(gene_query(symbol, organism, reviewed=True))
    ours = [hit for hit in found if hit.is_of(organism)]
    whole = len(found) < PAGE
    own = [hit for hit in ours if _spelled(symbol, hit.genes)]
    chosen = own or [hit for hit in ours if _spelled(symbol, hit.others)]
    if len(chosen) == 1 and whole:
        hit = chosen[0]
        spelled = _spelled(symbol, hit.genes) or _spelled(symbol, hit.others)
        notes = [] if spelled == symbol else [f"{symbol} was read as the gene {spelled}"]
        if not own:
            gene = " ".join(hit.genes) or "a gene without a name"
            notes.append(f"{spelled} is another name of {gene}")
        elif len(ours) > 1:
            rest = ", ".join(" ".join(one.genes) or one.accession for one in ours if one is not hit)
            notes.append(f"{spelled} is also another name of {rest}, which is not meant")
        return hit, notes
    if chosen:
        several = len(chosen) if whole else f"{PAGE} or more"
        kind = "gene" if own else "synonym"
        raise _ambiguous(name, f"UniProt has {several} reviewed entries of this {kind}", chosen)
    if found:
        organisms = _some(dict.fromkeys(f"{hit.organism} ({hit.taxon})" for hit in found))
        raise FetchError(
            f"{name.typed}: UniProt has this gene in no organism called {organism!r}, but in {organisms}; "
            "give one of them with --organism",
            code="not_found",
        )
    unreviewed = [hit for hit in search(gene_query(symbol, organism, reviewed=False)) if hit.is_of(organism)]
    if unreviewed:
        raise _ambiguous(name, "UniProt has no reviewed entry of this gene, but", unreviewed)
    raise FetchError(
        f"{name.typed}: UniProt knows no gene {symbol} of {organism}; "
        f"give {KNOWN}, a file, or another organism with --organism",
        code="not_found",
    )


@dataclass(frozen=True, slots=True)
class Referred:
    """The entry that an identifier of RefSeq or Ensembl leads to.

    Parameters
    ----------
    hit : Hit
    isoform : str
        The isoform that has its sequence; empty where UniProt names none.
    protein : str
        The identifier of the protein, also where that of a transcript was given.
    notes : list of str
    """

    hit: Hit
    isoform: str
    protein: str
    notes: list[str]


def choose_reference(name: Name, hits: Sequence[Hit]) -> Referred:
    """Choose the entry and isoform that have the sequence of an identifier.

    Raises
    ------
    UsageError
        Several entries or isoforms: code ``ambiguous_protein``; or another version of the sequence.
    FetchError
        None: code ``not_found``.
    """
    base = _base(name.text)
    found = [
        (hit, reference, own)
        for hit in hits
        for reference in hit.references
        for own in reference.names
        if _base(own).upper() == base
    ]
    if not found:
        raise FetchError(
            f"{name.typed}: no UniProt entry refers to this identifier; give the protein as a UniProt "
            "accession, or its sequence as a FASTA file",
            code="not_found",
        )
    notes = []
    if name.text != base:
        same = [one for one in found if one[2].upper() == name.text]
        unstated = [one for one in found if _base(one[2]) == one[2]]
        if not same and not unstated:
            versions = _some(dict.fromkeys(own for *_, own in found))
            raise UsageError(
                f"{name.typed}: UniProt refers to {versions}, a version with another sequence; give that one "
                "if the variants are numbered on it, or the sequence as a FASTA file",
                code="unknown_protein",
            )
        if not same:
            notes.append(f"UniProt does not say which version of {base} it refers to")
        found = same or unstated
    else:
        versions = _some(dict.fromkeys(own for *_, own in found))
        if versions != base:
            notes.append(f"{base} was given without a version: {versions} is used")
    found = [one for one in found if one[0].reviewed] or found
    meant = {(hit.accession, reference.isoform): hit for hit, reference, _ in found}
    if len(meant) > 1:
        if len({hit.accession for hit in meant.values()}) > 1:
            raise _ambiguous(name, f"{len(meant)} UniProt entries refer to it", list(meant.values()))
        isoforms = _some(isoform or accession for accession, isoform in meant)
        raise UsageError(
            f"{name.typed}: UniProt refers to it from several isoforms: {isoforms}; give one of them",
            code="ambiguous_protein",
        )
    ((_, isoform), hit) = next(iter(meant.items()))
    _, reference, own = found[0]
    protein = next((one for one in reference.names if _PROTEIN.fullmatch(one.upper())), own)
    # Of a version that UniProt does not state, the one asked for is compared.
    return Referred(hit, isoform, name.text if protein == base else protein, notes)


def _ambiguous(name: Name, what: str, hits: Sequence[Hit]) -> UsageError:
    return UsageError(
        f"{name.typed}: {what}: {_some(map(str, hits), '; ')}; give the accession of the one that is meant",
        code="ambiguous_protein",
    )


def _some(items: Iterable[str], joint: str = ", ") -> str:
    named = list(items)
    more = f" and {len(named) - LISTED} more" if len(named) > LISTED else ""
    return joint.join(named[:LISTED]) + more


def _base(text: str) -> str:
    return text.partition(".")[0]


def _spelled(symbol: str, names: Iterable[str]) -> str:
    return next((name for name in names if name.casefold() == symbol.casefold()), "")
