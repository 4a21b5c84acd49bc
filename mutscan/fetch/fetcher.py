"""`Fetcher`: from a name of a protein to a `WildType`, through the cache."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, urljoin, urlsplit

import numpy as np

from mutscan import files
from mutscan.errors import FetchError, MutscanError, UsageError
from mutscan.fetch import afdb, cache, domains, names, rcsb, references, uniprot
from mutscan.fetch.alphamissense import read_alphamissense
from mutscan.fetch.features import isoform_map, place_features
from mutscan.fetch.http import Answer, FirstRows, Patience, download
from mutscan.hashes import text_sha256
from mutscan.structures import (
    Feature,
    Structure,
    WildType,
    read_bytes,
    wild_type_from_structure,
    with_structure,
)
from mutscan.structures.assemble import assemble
from mutscan.structures.read import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.fetch.cache import Record

T = TypeVar("T")

log = logging.getLogger(__name__)

UNIPROT_URL: Final = "https://rest.uniprot.org"
AFDB_URL: Final = "https://alphafold.ebi.ac.uk"
INTERPRO_URL: Final = "https://www.ebi.ac.uk/interpro"
TED_URL: Final = "https://ted.cathdb.info"
RCSB_URL: Final = "https://files.rcsb.org"
RCSB_DATA_URL: Final = "https://data.rcsb.org"
BRIEFLY: Final = {"timeout": 10.0, "retries": 1.0, "total": 25.0}
"""Bounds on the patience with services that give names only."""

ALIGNED_ROWS: Final = 20_000
ALIGNED_SIZE: Final = 64_000_000
ALIGNED_PATIENCE: Final = {"timeout": 10.0, "retries": 1.0, "total": 90.0}
"""Rows and bytes of an alignment that are downloaded, and bounds on the patience with it."""

MAX_PAGES: Final = 10
"""Pages of InterPro entries read (200 each)."""

NAMED: Final = 5
"""Dropped features named in a note; the rest are counted."""


class Fetcher:
    """Gets wild types from UniProt, AlphaFold DB and the PDB; each file is fetched once.

    Parameters
    ----------
    cache_dir : Path, optional
        Default: `mutscan.files.cache_dir`.
    offline : bool
        Never touch the network: a file that is not in the cache is an error that names it.
    uniprot_url, afdb_url : str, optional
        The services, or mirrors of them. Default: ``MUTSCAN_UNIPROT_URL`` and ``MUTSCAN_AFDB_URL``,
        else the public ones. Model files that AlphaFold DB's answer places on its own public
        address are then fetched from the mirror as well.
    interpro_url, ted_url : str, optional
        Where names of domains come from; default ``MUTSCAN_INTERPRO_URL`` and ``MUTSCAN_TED_URL``,
        else the public ones, and none where UniProt itself comes from a mirror. They are asked
        briefly, and done without where they do not answer.
    rcsb_url, rcsb_data_url : str, optional
        Files of PDB entries, and what became of removed ones. Default: ``MUTSCAN_RCSB_URL`` and
        ``MUTSCAN_RCSB_DATA_URL``, else the public ones; nobody is asked about removed entries where the
        files come from a mirror.
    ncbi_url, ensembl_url : str, optional
        Sequences of RefSeq and Ensembl, to compare UniProt's with. Default: ``MUTSCAN_NCBI_URL`` and
        ``MUTSCAN_ENSEMBL_URL``, else the public ones, and none where UniProt comes from a mirror.
    timeout : float, s
        Longest silence of a server.
    retries : int
        Tries after the first, for what may pass.
    patience : Patience, optional
        All of that and more; `timeout` and `retries` are then not looked at.
    """

    def __init__(
        self,
        cache_dir: Path | None = None,
        *,
        offline: bool = False,
        uniprot_url: str | None = None,
        afdb_url: str | None = None,
        interpro_url: str | None = None,
        ted_url: str | None = None,
        rcsb_url: str | None = None,
        rcsb_data_url: str | None = None,
        ncbi_url: str | None = None,
        ensembl_url: str | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        patience: Patience | None = None,
    ) -> None:
        self.cache = cache.Cache(cache_dir if cache_dir is not None else files.cache_dir())
        self.offline = offline
        self.uniprot_url = _address(uniprot_url, "MUTSCAN_UNIPROT_URL", UNIPROT_URL)
        self.afdb_url = _address(afdb_url, "MUTSCAN_AFDB_URL", AFDB_URL)
        # Who points us at a mirror of UniProt may have no way to the public services.
        public = self.uniprot_url == UNIPROT_URL
        self.interpro_url = _address(interpro_url, "MUTSCAN_INTERPRO_URL", INTERPRO_URL if public else "")
        self.ted_url = _address(ted_url, "MUTSCAN_TED_URL", TED_URL if public else "")
        self.rcsb_url = _address(rcsb_url, "MUTSCAN_RCSB_URL", RCSB_URL)
        of_removed = RCSB_DATA_URL if self.rcsb_url == RCSB_URL else ""
        self.rcsb_data_url = _address(rcsb_data_url, "MUTSCAN_RCSB_DATA_URL", of_removed)
        self.ncbi_url = _address(ncbi_url, "MUTSCAN_NCBI_URL", references.NCBI_URL if public else "")
        self.ensembl_url = _address(
            ensembl_url, "MUTSCAN_ENSEMBL_URL", references.ENSEMBL_URL if public else ""
        )
        self.patience = patience if patience is not None else Patience(timeout=timeout, retries=retries)
        self._fresh: set[str] = set()

    def wild_type(self, accession: str, *, structure: bool = True) -> WildType:
        """Get the protein of a UniProt accession or isoform, with AlphaFold DB's model of it.

        Parameters
        ----------
        accession : str
            ``P04637``, or an isoform: ``P04637-2``.
        structure : bool
            False: sequence and features only.

        Returns
        -------
        WildType
            Without a structure, and with a note, where AlphaFold DB has none.

        Raises
        ------
        UsageError
            Not an accession.
        FetchError
            A file cannot be had: ``not_found``, ``inactive_entry``, ``offline``, ``fetch_failed``; or
            ``structure_mismatch``: the model was made from another sequence than UniProt's.
        """
        if not uniprot.is_accession(accession):
            raise UsageError(f"{accession}: not a UniProt accession; expected one like P04637 or P04637-2")
        base, number = uniprot.split_accession(accession)
        name = base if number is None else f"{base}-{number}"
        entry, record = self._entry(base)
        records = [self._told(record, entry.sequence, entry)]
        notes: list[str] = []
        if entry.accession != base:
            if number is not None:
                raise FetchError(
                    f"{name}: {base} is now a secondary accession of {entry.accession}, whose isoforms may "
                    f"be numbered otherwise; use {_listed_isoforms(entry)}",
                    code="inactive_entry",
                )
            notes.append(
                f"{base} is now a secondary accession of {entry.accession}, which is used; check that the "
                "positions of the variants still fit"
            )
            base = name = entry.accession
        if entry.fragment:
            notes.append(f"UniProt marks {base} as a fragment: its sequence is not the whole protein")

        named, named_records, named_notes = self._domains(entry)
        entry = replace(entry, annotations=entry.annotations + named)
        records += named_records
        notes += named_notes

        if number is None or self._is_displayed(entry, name):
            sequence, names = entry.sequence, [base, *_displayed(entry)]
            features, _ = place_features(entry, names, None)
        else:
            names = [name]
            sequence, isoform_record = self._isoform(entry, name)
            records.append(self._told(isoform_record, sequence))
            features, told = self._isoform_features(entry, name, sequence)
            notes += told
        if entry.unplaced:
            counted = "1 UniProt feature" if entry.unplaced == 1 else f"{entry.unplaced} UniProt features"
            notes.append(f"{counted} without a definite position left out")

        wild_type = WildType(
            name,
            sequence,
            features=features,
            records=tuple(records),
            notes=tuple(notes),
            identifiers=entry.identifiers_of(names),
        )
        return self._with_model(wild_type, names) if structure else wild_type

    def protein(self, name: names.Name, *, organism: str = names.HUMAN, structure: bool = True) -> WildType:
        """Get the protein that a name of UniProt, RefSeq, Ensembl or of a gene means.

        Parameters
        ----------
        name : Name
            Not of a PDB entry.
        organism : str
            Of a gene symbol: name, UniProt's code (``MOUSE``) or taxon.
        structure : bool
            As `wild_type`.

        Raises
        ------
        UsageError
            Several proteins have the name; code ``ambiguous_protein``.
        FetchError
            As `wild_type`.
        """
        notes: list[str] = []
        records: list[Record] = []
        if name.kind == "accession":
            accession = name.text
            if name.typed.strip() != name.text:
                notes.append(f"{name.typed.strip()} was read as {name.text}")
        else:
            try:
                accession, records, notes = self._accession_of(name, organism)
            except FetchError as error:
                if error.code in ("not_found", "inactive_entry", "cache_not_writable"):
                    raise
                raise FetchError(
                    f"{name.typed}: cannot be looked up as {name.words}: {error.message}",
                    code=error.code,
                ) from error
        found = self.wild_type(accession, structure=structure)
        told = tuple(record.to_dict() for record in records)
        return replace(found, records=(*found.records, *told), notes=(*notes, *found.notes))

    def _accession_of(self, name: names.Name, organism: str) -> tuple[str, list[Record], list[str]]:
        """Find the accession or isoform that a name means; also the records of the answers, and notes."""
        if name.kind == "entry":
            return self._renamed(name)
        records: list[Record] = []

        def search(query: str) -> tuple[names.Hit, ...]:
            hits, record = self._search(query)
            records.append(record)
            return hits

        if name.kind == "gene":
            hit, notes = names.choose_gene(name, organism, search)
            return hit.accession, records, [f"{name.typed}: UniProt {hit}, {hit.organism}", *notes]
        chosen = names.choose_reference(name, search(names.reference_query(name)))
        hit, isoform = chosen.hit, chosen.isoform
        entry, _ = self._entry(hit.accession)
        if not isoform and len(entry.isoforms) > 1:
            raise UsageError(
                f"{name.typed}: UniProt does not say which isoform of {hit} has this sequence; give one of "
                f"{_listed_isoforms(entry)}, or the sequence as a FASTA file",
                code="ambiguous_protein",
            )
        named = f", isoform {isoform}" if isoform else ""
        notes = [f"{name.typed}: UniProt {hit}{named}, by UniProt's cross-reference", *chosen.notes]
        shown = not isoform or self._is_displayed(entry, isoform)
        accession = hit.accession if shown else isoform
        sequence = entry.sequence if shown else self._isoform(entry, isoform)[0]
        compared, note = self._compared(name, chosen.protein, accession, sequence)
        return accession, [*records, *compared], [*notes, note]

    def _compared(
        self, name: names.Name, protein: str, accession: str, sequence: str
    ) -> tuple[list[Record], str]:
        """Compare UniProt's sequence with that of the identifier's own database; gives a note."""
        database = cache.SOURCES[name.kind]
        base, address, read = {
            "refseq": (self.ncbi_url, references.refseq_url, references.read_refseq),
            "ensembl": (self.ensembl_url, references.ensembl_url, references.read_ensembl),
        }[name.kind]
        undone = f"the sequence of {protein} was not compared with {database}'s own"
        if not base:
            variable = {"refseq": "MUTSCAN_NCBI_URL", "ensembl": "MUTSCAN_ENSEMBL_URL"}[name.kind]
            return [], f"{undone}, which a mirror of UniProt does not have; {variable} names its address"
        try:
            record, stated = self._get(
                address(base, protein), name.kind, lambda data: read(data, protein), bounds=BRIEFLY
            )
        except FetchError as error:
            if error.code == "cache_not_writable":
                raise
            return [], f"{undone}: {error.message}"
        assert stated is not None
        told = references.differences(stated.sequence, sequence)
        if not told:
            return [record], f"{database}'s own sequence of {stated.name} is the same, letter by letter"
        if "." in protein and stated.name != protein:
            return [record], f"{undone}, which is now that of {stated.name} and differs: {told}"
        raise UsageError(
            f"{name.typed}: the sequence of {stated.name} at {database} is not that of {accession}, by which "
            f"UniProt refers to it: {told}; give the sequence that the variants are numbered on as FASTA",
            code="unknown_protein",
        )

    def _renamed(self, name: names.Name) -> tuple[str, list[Record], list[str]]:
        url = f"{self.uniprot_url}/uniprotkb/{name.text}.json"
        try:
            record, entry = self._get(url, "uniprot", uniprot.read_entry)
        except FetchError as error:
            if error.code != "not_found":
                raise
            raise FetchError(
                f"{name.typed}: UniProt has no such entry (404 from {url}); give {names.KNOWN}, or a file",
                code="not_found",
            ) from error
        assert entry is not None
        if entry.inactive is not None:
            raise self._inactive(name.text, entry)
        called = entry.identifiers.get("entry", "")
        notes = [f"{name.typed}: UniProt {entry.accession} ({called}), {entry.organism}"]
        if called != name.text:
            notes.append(f"UniProt now calls the entry {name.text} {called}")
        return entry.accession, [record], notes

    def _search(self, query: str) -> tuple[tuple[names.Hit, ...], Record]:
        url = (
            f"{self.uniprot_url}/uniprotkb/search?query={quote(query, safe='():')}"
            f"&fields={names.FIELDS}&size={names.PAGE}&format=json"
        )
        record, hits = self._get(url, "uniprot", names.read_hits)
        if not hits and not self.offline and url not in self._fresh:
            # "None" may have become "one" since: only an answer with entries is kept for good.
            record, hits = self._get(url, "uniprot", names.read_hits, refresh=True)
        assert hits is not None
        return hits, record

    def pdb(self, entry: str, chain: str | None) -> WildType:
        """Get a chain of a PDB entry; its sequence is the one the file states, unresolved residues included.

        Parameters
        ----------
        entry : str
            ``1TUP``.
        chain : str, optional
            Author name; not needed where the entry has one protein.

        Raises
        ------
        StructureError
            No such chain, or several to choose from.
        FetchError
            ``not_found``; ``inactive_entry``: removed from the PDB; ``offline``, ``fetch_failed``.
        """
        file = f"{entry}.cif.gz"
        url = f"{self.rcsb_url}/download/{file}"
        try:
            record, table = self._get(url, "rcsb", lambda data: read_table(data, file))
        except FetchError as error:
            if error.code != "not_found":
                raise
            raise self._removed(entry, chain, url) from error
        assert table is not None
        structure = assemble(table, entry, chain)
        told = record.to_dict() | {"chain": structure.chain_id}
        name = f"pdb:{entry}:{structure.chain_id}"
        return wild_type_from_structure(structure, name=name, records=(told,))

    def _removed(self, entry: str, chain: str | None, url: str) -> FetchError:
        """Why there is no file of a PDB entry."""
        if self.rcsb_data_url:
            try:
                _, why = self._get(
                    f"{self.rcsb_data_url}/rest/v1/holdings/removed/{entry}",
                    "rcsb",
                    lambda data: rcsb.obsolete(entry, chain, data),
                    absent_ok=True,
                    bounds=BRIEFLY,
                )
            except FetchError as error:
                log.info("%s", error.message)
            else:
                if why is not None:
                    return why
        return FetchError(
            f"{entry}: the PDB has no file of this entry (404 from {url}); check the name", code="not_found"
        )

    def get(self, url: str, *, kind: str, check: Callable[[bytes], object], refresh: bool = False) -> Record:
        """Download `url`, or find it in the cache.

        Parameters
        ----------
        url : str
        kind : str
            Folder in the cache.
        check : callable
            Takes the bytes; its `ValueError` or `MutscanError` says that they are not what
            was expected.
        refresh : bool
            Download even what the cache holds.

        Raises
        ------
        FetchError
        """
        return self._get(url, kind, check, refresh=refresh)[0]

    # UniProt

    def _entry(self, accession: str) -> tuple[uniprot.Entry, Record]:
        url = f"{self.uniprot_url}/uniprotkb/{accession}.json"
        try:
            record, entry = self._get(url, "uniprot", uniprot.read_entry)
        except FetchError as error:
            if error.code == "not_found":
                raise FetchError(
                    f"{accession}: UniProt has no such entry (404 from {url}); check the accession",
                    code="not_found",
                ) from error
            raise
        assert entry is not None
        if entry.inactive is not None:
            raise self._inactive(accession, entry)
        if entry.accession != accession and accession not in entry.identifiers.get("others", "").split():
            raise FetchError(
                f"{accession}: UniProt answers with the entry {entry.accession}, which does not have this "
                f"accession; use {entry.accession} if it is meant",
                code="inactive_entry",
            )
        return entry, record

    def _inactive(self, accession: str, entry: uniprot.Entry) -> FetchError:
        if entry.successors:
            happened = {"MERGED": "merged into", "DEMERGED": "split into"}.get(
                entry.inactive or "", "replaced by"
            )
            try:
                known, _ = self._search(" OR ".join(f"(accession:{one})" for one in entry.successors))
            except FetchError as error:  # the accessions are known without
                log.info("%s", error.message)
                known = ()
            told = {hit.accession: str(hit) for hit in known}
            into = ", ".join(told.get(one, one) for one in entry.successors)
            use = " or ".join(entry.successors)
            return FetchError(
                f"{accession}: this UniProt entry was {happened} {into}; use {use}, "
                "and check that the positions of the variants still fit",
                code="inactive_entry",
            )
        because = f" ({entry.deleted_reason})" if entry.deleted_reason else ""
        return FetchError(
            f"{accession}: this UniProt entry was deleted{because} and has no successor; "
            "give the protein as a structure or FASTA file",
            code="inactive_entry",
        )

    def _domains(
        self, entry: uniprot.Entry
    ) -> tuple[tuple[uniprot.Annotation, ...], list[dict[str, object]], list[str]]:
        """Names from InterPro and TED, the records of their files, and notes where they cannot be had."""
        named: tuple[uniprot.Annotation, ...] = ()
        records: list[dict[str, object]] = []
        notes: list[str] = []
        for source, base, ask in (
            (domains.INTERPRO, self.interpro_url, self._interpro),
            (domains.TED, self.ted_url, self._ted),
        ):
            if not base:
                continue
            try:
                annotations, found = ask(entry)
            except FetchError as error:
                if error.code == "cache_not_writable":
                    raise
                notes.append(f"no names of domains from {source}: {error.message}")
            else:
                named += annotations
                records += [record.to_dict() for record in found]
        return named, records, notes

    def _interpro(self, entry: uniprot.Entry) -> tuple[tuple[uniprot.Annotation, ...], list[Record]]:
        base = f"{self.interpro_url}/api/entry/interpro/protein/uniprot/{entry.accession}"
        named: tuple[uniprot.Annotation, ...] = ()
        records: list[Record] = []
        query = "page_size=200"
        while query and len(records) < MAX_PAGES:
            record, page = self._get(
                f"{base}?{query}",
                "interpro",
                lambda data: domains.read_interpro(data, entry.accession, len(entry.sequence)),
                absent_ok=True,
                bounds=BRIEFLY,
            )
            records.append(record)
            annotations, query = page if page is not None else ((), "")
            named += annotations
        return named, records

    def _ted(self, entry: uniprot.Entry) -> tuple[tuple[uniprot.Annotation, ...], list[Record]]:
        record, named = self._get(
            f"{self.ted_url}/api/v1/uniprot/summary/{entry.accession}?skip=0&limit=100",
            "ted",
            lambda data: domains.read_ted(data, len(entry.sequence)),
            absent_ok=True,
            bounds=BRIEFLY,
        )
        return named or (), [record]

    @staticmethod
    def _is_displayed(entry: uniprot.Entry, name: str) -> bool:
        isoform = entry.isoform(name)
        if isoform is not None:
            return isoform.status == "Displayed"
        # An entry without a list has one isoform, number 1.
        return not entry.isoforms and name.endswith("-1")

    def _isoform(self, entry: uniprot.Entry, name: str) -> tuple[str, Record]:
        url = f"{self.uniprot_url}/uniprotkb/{name}.fasta"
        try:
            record, sequence = self._get(url, "uniprot", lambda data: uniprot.read_isoform(data, name))
        except FetchError as error:
            if error.code != "not_found":
                raise
            listed = ", ".join(isoform.ids[0] for isoform in entry.isoforms if isoform.ids)
            known = f"UniProt lists {listed}" if listed else f"UniProt lists no isoforms of {entry.accession}"
            raise FetchError(
                f"{name}: UniProt has no sequence of this isoform (404 from {url}); {known}", code="not_found"
            ) from error
        assert sequence is not None
        return sequence, record

    @staticmethod
    def _isoform_features(
        entry: uniprot.Entry, name: str, sequence: str
    ) -> tuple[tuple[Feature, ...], tuple[str, ...]]:
        """Features on an isoform, and notes on how they came there."""
        index, way = isoform_map(entry, name, sequence)
        if index is None:
            note = f"{name} is too long to be aligned with {entry.accession}: UniProt's features are left out"
            return (), (note,)
        features, dropped = place_features(entry, [name], index)
        note = f"UniProt numbers features on {entry.accession}; they were mapped onto {name} by {way}"
        return features, (note, *_dropped(dropped, name))

    @staticmethod
    def _told(record: Record, sequence: str, entry: uniprot.Entry | None = None) -> dict[str, object]:
        versions: dict[str, object] = (
            {
                "organism": entry.organism,
                "entry_version": entry.version,
                "sequence_version": entry.sequence_version,
            }
            if entry
            else {}
        )
        digest = text_sha256(sequence)
        return {**record.to_dict(), **versions, "sequence_sha256": digest}

    # AlphaFold DB

    def _with_model(self, wild_type: WildType, names: Sequence[str]) -> WildType:
        found = self._model(names, wild_type.sequence)
        if found is None:
            note = (
                f"AlphaFold DB has no model of {wild_type.name}: predicted scores only; "
                "give a structure with --structure for measured ones"
            )
            return replace(wild_type, notes=(*wild_type.notes, note))
        model, listing = found
        listing, record, structure, model = self._model_file(model, listing, names, wild_type.sequence)
        afdb.verify(structure, model, names, wild_type.sequence)
        notes = wild_type.notes
        if model.accession not in names:
            notes += (f"the structure is AlphaFold DB's {model.name}, a model of this sequence",)
        part = afdb.part_of(model, wild_type.sequence)
        if part is not None:
            notes += (
                f"AlphaFold DB has this protein in fragments: {model.name} is used, a model of residues "
                f"{part[0]}-{part[1]} of {len(wild_type.sequence)}; the rest is scored without a structure",
            )
        about = {
            **record.to_dict(),
            "model": model.name,
            "model_created": model.created or None,
            "sequence_sha256": text_sha256(structure.sequence),
        }
        return with_structure(
            replace(wild_type, notes=notes), _with_plddt(structure), records=(listing.to_dict(), about)
        )

    def _model(
        self, names: Sequence[str], sequence: str, *, refresh: bool = False
    ) -> tuple[afdb.Model, Record] | None:
        """Entry for this sequence: in the list of the entry, else in that of the isoform."""
        base = names[0].partition("-")[0]
        for asked in dict.fromkeys((base, names[0])):
            url = f"{self.afdb_url}/api/prediction/{asked}"
            record, models = self._get(url, "afdb", afdb.read_models, absent_ok=True, refresh=refresh)
            if not models and not self.offline and url not in self._fresh:
                # "None" may have become "one" since: only an answer with models is kept for good.
                record, models = self._get(url, "afdb", afdb.read_models, absent_ok=True, refresh=True)
            model = afdb.choose(models or (), names, sequence)
            if model is not None:
                return model, record
        return None

    def _model_file(
        self, model: afdb.Model, listing: Record, names: Sequence[str], sequence: str
    ) -> tuple[Record, Record, Structure, afdb.Model]:
        try:
            record, structure = self._coordinates(model)
        except FetchError as error:
            # A list from the cache may name a version that AlphaFold DB has replaced since.
            if error.code != "not_found" or listing.url in self._fresh:
                raise
            found = self._model(names, sequence, refresh=True)
            if found is None or found[0].url == model.url:
                raise
            model, listing = found
            record, structure = self._coordinates(model)
        return listing, record, structure, model

    def _coordinates(self, model: afdb.Model) -> tuple[Record, Structure]:
        url = self._file_url(model.url)
        file_name = PurePosixPath(urlsplit(url).path).name

        def read(data: bytes) -> Structure:
            structure = read_bytes(data, file_name)
            afdb.complete(structure, model)
            return structure

        record, structure = self._get(url, "afdb", read, version=model.version)
        assert structure is not None
        return record, structure

    def _file_url(self, url: str) -> str:
        """Absolute, and on the mirror where there is one."""
        if self.afdb_url != AFDB_URL and url.startswith(f"{AFDB_URL}/"):
            return self.afdb_url + url.removeprefix(AFDB_URL)
        return urljoin(f"{self.afdb_url}/", url)

    def alphamissense(self, name: str, sequence: str) -> tuple[Record, NDArray[np.float64]] | None:
        """Get AlphaMissense's values from AlphaFold DB, which has them for human proteins.

        Parameters
        ----------
        name : str
            Accession or isoform: ``P04637``, ``P04637-2``.
        sequence : str
            Its L residues; values for another sequence do not count.

        Returns
        -------
        Record
            Of the file.
        float array, shape (L, 20)
            As `read_alphamissense`.

        Raises
        ------
        FetchError
            A file cannot be had.
        """

        def get(url: str, version: str | None) -> tuple[Record, NDArray[np.float64] | None]:
            return self._get(
                url,
                "afdb",
                lambda data: read_alphamissense(data, sequence),
                version=version,
                absent_ok=True,
                bounds=BRIEFLY,
            )

        return self._beside_model(name, sequence, lambda model: model.alphamissense_url, get)

    def alignment(
        self, name: str, sequence: str, pack: Callable[[Path], bytes], unpack: Callable[[bytes], T]
    ) -> tuple[Record, T] | None:
        """Get the alignment that AlphaFold DB's model was made from, its first rows.

        What `pack` makes of the file is kept, not the file.

        Parameters
        ----------
        name : str
            Accession or isoform: ``P04637``, ``P04637-2``.
        sequence : str
            Its residues; an alignment of another sequence does not count.
        pack : callable
            Takes a file of up to `ALIGNED_ROWS` rows and `ALIGNED_SIZE` bytes; its `ValueError` or
            `MutscanError` says that it is not what was expected.
        unpack : callable
            Reads what `pack` made.

        Raises
        ------
        FetchError
            A file cannot be had.
        """

        def fetch(url: str, patience: Patience) -> Answer[T]:
            with tempfile.TemporaryDirectory(prefix="mutscan-") as folder:
                path = Path(folder, PurePosixPath(urlsplit(url).path).name or "alignment")
                rows = FirstRows(path, ALIGNED_ROWS, ALIGNED_SIZE)
                answer = download(url, lambda _: pack(path), patience=patience, absent_ok=True, into=rows)
            packed = answer.value
            value = None if packed is None else unpack(packed)
            return Answer(packed or answer.data, value, answer.status, answer.headers, answer.url)

        def get(url: str, version: str | None) -> tuple[Record, T | None]:
            return self._get(
                url,
                "alignments",
                unpack,
                version=version,
                absent_ok=True,
                bounds=ALIGNED_PATIENCE,
                fetch=fetch,
            )

        return self._beside_model(name, sequence, lambda model: model.alignment_url, get)

    def _beside_model(
        self,
        name: str,
        sequence: str,
        url_of: Callable[[afdb.Model], str | None],
        get: Callable[[str, str | None], tuple[Record, T | None]],
    ) -> tuple[Record, T] | None:
        """Get a file that the list of models names beside the model of this very sequence."""
        for asked in dict.fromkeys((name.partition("-")[0], name)):
            listed = f"{self.afdb_url}/api/prediction/{asked}"
            # A list from the cache may name a version that AlphaFold DB has replaced since.
            for refresh in (False, True):
                _, models = self._get(
                    listed, "afdb", afdb.read_models, absent_ok=True, refresh=refresh, bounds=BRIEFLY
                )
                model = afdb.same(models or (), name, sequence)
                url = None if model is None else url_of(model)
                if model is None or url is None:
                    break
                record, value = get(self._file_url(url), model.version)
                if value is not None:
                    return record, value
                if self.offline or listed in self._fresh:
                    return None
        return None

    # Cache and network

    def _get(
        self,
        url: str,
        kind: str,
        parse: Callable[[bytes], T],
        *,
        version: str | None = None,
        absent_ok: bool = False,
        refresh: bool = False,
        bounds: Mapping[str, float] | None = None,
        fetch: Callable[[str, Patience], Answer[T]] | None = None,
    ) -> tuple[Record, T | None]:
        """Record and what `parse` makes of the bytes; None for a remembered or fresh "there is none"."""
        damage = ""
        if not refresh or self.offline:
            try:
                kept = self.cache.load(url, kind)
                if kept is not None and kept[0].status == 200:
                    return kept[0], parse(kept[1])
                if kept is not None and absent_ok:
                    return kept[0], None
            except (cache.DamagedFileError, ValueError, MutscanError) as error:
                damage = str(error)
        if self.offline:
            raise self._missing(url, kind, damage)
        if damage:
            log.warning("%s; downloading it again", damage)
        patience = self.patience
        if bounds is not None:
            patience = replace(
                patience,
                timeout=min(patience.timeout, bounds["timeout"]),
                retries=min(patience.retries, int(bounds["retries"])),
                total=min(patience.total, bounds["total"]),
            )
        if fetch is not None:
            answer = fetch(url, patience)
        else:
            answer = download(url, parse, patience=patience, absent_ok=absent_ok)
        record = self._store(url, kind, answer, version)
        self._fresh.add(url)
        log.info("%s: %d bytes, kept as %s", url, record.size, record.path)
        return record, answer.value

    def _missing(self, url: str, kind: str, damage: str) -> FetchError:
        what = (
            f"damaged in the cache ({damage})"
            if damage
            else f"not in the cache ({self.cache.path(url, kind)})"
        )
        return FetchError(
            f"{url}: {what}, and --offline forbids the network; run once without --offline, "
            "or give the protein as a structure or FASTA file",
            code="offline",
        )

    def _store(self, url: str, kind: str, answer: Answer[T], version: str | None) -> Record:
        try:
            return self.cache.store(
                url,
                kind,
                answer.data,
                version=answer.headers.get("x-uniprot-release") or version,
                date=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                status=answer.status,
                etag=answer.headers.get("etag"),
                final_url=answer.url if answer.url != url else None,
            )
        except OSError as error:
            raise FetchError(
                f"{self.cache.directory}: the cache cannot be written ({error.strerror or error}); "
                "free some space or set MUTSCAN_CACHE_DIR to a writable folder",
                code="cache_not_writable",
            ) from error


def _address(given: str | None, variable: str, default: str) -> str:
    return (given or os.environ.get(variable, "").strip() or default).rstrip("/")


def _displayed(entry: uniprot.Entry) -> list[str]:
    return [name for isoform in entry.isoforms if isoform.status == "Displayed" for name in isoform.ids]


def _listed_isoforms(entry: uniprot.Entry) -> str:
    return ", ".join(isoform.ids[0] for isoform in entry.isoforms if isoform.ids) or entry.accession


def _dropped(dropped: Sequence[str], name: str) -> list[str]:
    if not dropped:
        return []
    more = f" and {len(dropped) - NAMED} more" if len(dropped) > NAMED else ""
    return [f"UniProt features that {name} does not have, left out: {', '.join(dropped[:NAMED])}{more}"]


def _with_plddt(structure: Structure) -> Structure:
    """AlphaFold DB's files hold pLDDT in the B-factor column, whether or not they say so."""
    if structure.plddt is not None:
        return structure
    last = np.searchsorted(structure.residue_index, np.arange(len(structure)), side="right") - 1
    return replace(structure, plddt=structure.b_factor[last])
