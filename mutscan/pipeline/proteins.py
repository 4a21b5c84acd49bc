"""Where the proteins of a table are found: a sequence by name, a structure by its file's stem, a database."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from mutscan.alignments.files import alignments_in
from mutscan.errors import FetchError, UsageError
from mutscan.fetch import KNOWN, is_accession, read_name
from mutscan.hashes import file_sha256, json_sha256
from mutscan.pipeline.options import DEFAULTS
from mutscan.pipeline.plan import (
    file_record,
    look_up,
    refuse_organism,
    resolve_wild_type,
    with_given_structure,
)
from mutscan.structures import WildType
from mutscan.structures.fasta import FastaRecord, read_each
from mutscan.structures.files import unique_structures_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_VERSIONED: Final = re.compile(r"((?:[ANXYZ]P_\d+|ENS[A-Z]*P\d+))\.\d+")
"""RefSeq and Ensembl identifiers with a version."""


@dataclass(frozen=True, eq=False)
class ProteinSources:
    """Finds proteins by the names that a table gives them.

    Parameters
    ----------
    sequences : Path, optional
        FASTA file. A record of UniProt's (``sp|P04637|P53_HUMAN``) is also found by its accession and name.
    structures_dir, alignments_dir : Path, optional
        Folders of files named as the proteins.
    offline : bool
        Never touch the network.
    organism : str
        Of gene symbols: name, UniProt's code or taxon.
    plddt : bool
        B factors of the structures are pLDDT.
    advice : str
        What to do where a protein is not found.
    """

    sequences: Path | None = None
    structures_dir: Path | None = None
    alignments_dir: Path | None = None
    offline: bool = False
    organism: str = DEFAULTS.organism
    plddt: bool = False
    advice: str = "give its sequence with --sequences, or its structure in --structures-dir"

    @property
    def target(self) -> str | None:
        """Name of the only sequence; None where there is not exactly one."""
        return self.names[0] if len(self.names) == 1 else None

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the sequences, in the file's order."""
        return tuple(dict.fromkeys(name for name, _ in self._records))

    @cached_property
    def _records(self) -> tuple[tuple[str, FastaRecord | UsageError], ...]:
        return () if self.sequences is None else tuple(read_each(self.sequences))

    @cached_property
    def _by_name(self) -> dict[str, list[FastaRecord | UsageError]]:
        found: dict[str, list[FastaRecord | UsageError]] = {}
        for name, record in self._records:
            found.setdefault(name, []).append(record)
        # A part of a longer identifier stands back behind an identifier of its own.
        others: dict[str, list[FastaRecord | UsageError]] = {}
        for name, record in self._records:
            for other in name.split("|")[1:]:
                if other and other not in found:
                    others.setdefault(other, []).append(record)
        return found | others

    def _named(self, name: str) -> list[FastaRecord | UsageError]:
        """Sequences of a name; isoform 1 is an entry's sequence, and a version may be left out."""
        if name in self._by_name:
            return self._by_name[name]
        versioned = _VERSIONED.fullmatch(name)
        short = name.removesuffix("-1") if is_accession(name) else versioned[1] if versioned else name
        return self._by_name.get(short, [])

    @cached_property
    def _structures(self) -> Mapping[str, Path]:
        return {} if self.structures_dir is None else unique_structures_in(self.structures_dir)

    @cached_property
    def _alignments(self) -> Mapping[str, Path]:
        return {} if self.alignments_dir is None else alignments_in(self.alignments_dir)

    @cached_property
    def _record(self) -> dict[str, object]:
        assert self.sequences is not None
        return file_record(self.sequences)

    def from_anywhere(self) -> ProteinSources:
        """Give the same with absolute paths, and nothing read yet, for other processes."""
        given = (self.sequences, self.structures_dir, self.alignments_dir)
        fasta, structures, alignments = (None if path is None else path.absolute() for path in given)
        return replace(self, sequences=fasta, structures_dir=structures, alignments_dir=alignments)

    def look(self) -> None:
        """Read the folders and the sequences' file.

        Raises
        ------
        UsageError
            One of them is not there, or cannot be used at all.
        """
        _ = self._by_name, self._structures, self._alignments

    def check_organism(self, names: Sequence[str]) -> None:
        """Refuse an organism where none of some names is looked up as a gene symbol.

        Raises
        ------
        UsageError
        """
        if not any(map(self._is_gene, names)):
            refuse_organism(self.organism, *names)

    def _is_gene(self, name: str) -> bool:
        if self._named(name) or name in self._structures:
            return False
        with suppress(UsageError):  # told where the protein is looked up
            known = read_name(name)
            return known is not None and known.kind == "gene"
        return False

    def identity(self, name: str, alignment: str) -> str:
        """Hash of the files that a protein is read from; the network's records are not among them."""
        sequences = [r.sequence if isinstance(r, FastaRecord) else r.message for r in self._named(name)]
        structure, relatives = self._structures.get(name), self._alignments.get(name)
        files = [None if path is None else file_sha256(path) for path in (structure, relatives)]
        other = ["plddt"] if self.plddt else []
        if self.organism != DEFAULTS.organism:
            other.append(f"organism {self.organism}")
        return json_sha256([sequences, *files, alignment, *other])

    def length(self, name: str) -> int | None:
        """Residues of a protein, where a sequence gives them."""
        for record in self._named(name):
            if isinstance(record, FastaRecord):
                return len(record.sequence)
        return None

    def alignment(self, name: str, otherwise: str) -> str:
        """Path of a protein's alignment, `otherwise` where there is none."""
        return str(self._alignments.get(name, otherwise))

    def wild_type(self, name: str) -> WildType:
        """Find a protein.

        Raises
        ------
        UsageError
            No such protein, or several of this name (`code` tells which).
        StructureError, FetchError
            As they occur.
        """
        structure = self._structures.get(name)
        records = self._named(name)
        for record in records:
            if isinstance(record, UsageError):
                raise record
        sequences = {record.sequence for record in records if isinstance(record, FastaRecord)}
        if len(sequences) > 1:
            assert self.sequences is not None
            raise UsageError(
                f"{self.sequences.name}: has {len(sequences)} different sequences called {name}; rename or "
                "remove all but one",
                code="ambiguous_protein",
            )
        if sequences:
            names = next(record.identifiers for record in records if isinstance(record, FastaRecord))
            wild_type = WildType(
                name=name, sequence=sequences.pop(), records=(self._record,), identifiers=names
            )
            plddt = self.plddt and structure is not None
            return with_given_structure(wild_type, structure, None, plddt=plddt)
        if structure is not None:
            return replace(resolve_wild_type(str(structure), plddt=self.plddt), name=name)
        places = [
            text
            for text, given in (
                ("--sequences", self.sequences),
                ("--structures-dir", self.structures_dir),
            )
            if given is not None
        ]
        missing = f"{name}: is not in {' or '.join(places)} and " if places else f"{name}: "
        known = read_name(name)
        if known is None:
            raise UsageError(
                f"{missing}is no name that can be looked up, such as {KNOWN}; {self.advice}",
                code="unknown_protein",
            )
        try:
            return look_up(known, offline=self.offline, organism=self.organism)
        except FetchError as error:
            # A bare word may be a name of the user's own just as well.
            if known.kind != "gene" or error.code not in ("offline", "not_found"):
                raise
            why = error.message.removeprefix(f"{name}: ")
            if error.code == "offline":
                why = f"--offline forbids looking it up as a gene; {self.advice}"
            raise UsageError(missing + why, code="unknown_protein") from error
