"""Before any network runs: which protein, which variants, and what will be done with each."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutscan.alignments.source import relatives_for
from mutscan.builders.choose import choose_builders
from mutscan.errors import UsageError, VariantError
from mutscan.fetch import Fetcher, is_accession
from mutscan.files import gunzip, read_file
from mutscan.hashes import bytes_sha256, file_sha256
from mutscan.inputs import InputTable, join_tables, read_arguments, read_variants
from mutscan.model.checkpoint import find_model
from mutscan.model.inverse_folding import installed_weights
from mutscan.pipeline.options import DEFAULTS, Options
from mutscan.residues import is_standard
from mutscan.structures import (
    WildType,
    is_fasta_file,
    is_structure_file,
    read_bytes,
    wild_type_from_structure,
    with_structure,
)
from mutscan.structures.fasta import FASTA_ENDINGS, decode_fasta, parse_fasta
from mutscan.structures.files import STRUCTURE_ENDINGS
from mutscan.variants import parse_variant, split_reference, suggest_offset

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from mutscan.alignments.source import Relatives
    from mutscan.inputs import InputRow
    from mutscan.variants import Variant

MAX_LENGTH: Final = 5000
"""Longest wild type scored, residues."""

SKIPPED_CODES: Final = frozenset({"synonymous", "unsupported_variant"})
"""Error codes of rows that are understood but deliberately not scored: status ``skipped``."""


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One input line: the variant it names, or the reason it will not be scored."""

    source: InputRow
    variant: Variant | None = None
    error: VariantError | None = None

    @property
    def status(self) -> str:
        """``planned``, ``failed`` or ``skipped``."""
        if self.error is None:
            return "planned"
        return "skipped" if self.error.code in SKIPPED_CODES else "failed"


@dataclass(frozen=True, eq=False)
class Plan:
    """The wild type and one `PlannedRow` for each input line, in input order.

    `model` (its folder), `builders` (names, tried in turn; empty = no structures are built), `relatives`
    (from an alignment) and `inverse_folding` (whether it is used) are filled by `check`.
    """

    wild_type: WildType
    rows: tuple[PlannedRow, ...]
    carried_columns: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    model: Path | None = None
    builders: tuple[str, ...] = ()
    relatives: Relatives | None = None
    inverse_folding: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The distinct variants to score, in order of first appearance."""
        return tuple(dict.fromkeys(row.variant for row in self.rows if row.variant is not None))


def resolve_wild_type(
    text: str,
    *,
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    offline: bool = False,
    fetcher: Fetcher | None = None,
    coordinates: bool = True,
    plddt: bool = False,
) -> WildType:
    """Find the wild type a user names.

    Parameters
    ----------
    text : str
        A path to a structure or FASTA file, or a UniProt accession or isoform.
    structure : path, optional
        Structure to use with an accession or FASTA.
    chain : str, optional
        Author chain name in the structure file.
    offline : bool
        Never touch the network.
    fetcher : Fetcher, optional
        Services and cache; the default ones otherwise.
    coordinates : bool
        Also fetch AlphaFold DB's model of an accession.
    plddt : bool
        B factors of the structure file are pLDDT.

    Raises
    ------
    UsageError
        Neither a file nor an accession; a FASTA of several proteins.
    StructureError, FetchError
        As they occur.
    """
    path = Path(text).expanduser()
    looks_like_path = os.sep in text or is_structure_file(text) or is_fasta_file(text)
    if _is_readable(path):
        data = _read(path)
        # A pipe has no ending to go by.
        if is_structure_file(path) or (not path.is_file() and not _looks_like_fasta(data)):
            if structure is not None:
                raise UsageError(
                    f"{text} is already a structure; use --structure with an accession or a FASTA file"
                )
            resolved = wild_type_from_structure(read_bytes(data, path.name, chain=chain, plddt=plddt))
            return replace(resolved, records=(*resolved.records, file_record(path, data)))
        if is_fasta_file(path) or not path.is_file():
            return with_given_structure(_wild_type_from_fasta(path, data), structure, chain, plddt=plddt)
        raise UsageError(
            f"{text}: expected a structure ({' '.join(STRUCTURE_ENDINGS)}, also .gz) "
            f"or a FASTA file ({' '.join(FASTA_ENDINGS)}, also .gz); give the file one of these endings"
        )
    if looks_like_path:
        raise UsageError(f"no such file: {text}")
    if not is_accession(text):
        raise UsageError(
            f"{text!r} is neither a file nor a UniProt accession (such as P04637, or P04637-2 for an isoform)"
        )
    service = fetcher or Fetcher(offline=offline)
    wild_type = service.wild_type(text, structure=coordinates and structure is None)
    if structure is None and chain is not None:
        raise UsageError(
            "--chain needs a structure file: AlphaFold DB models have one chain; add --structure FILE"
        )
    return with_given_structure(wild_type, structure, chain, plddt=plddt)


def _is_readable(path: Path) -> bool:
    """Whether there is a file or a pipe, such as ``/dev/stdin``."""
    return path.exists() and not path.is_dir()


def _read(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _looks_like_fasta(data: bytes) -> bool:
    try:
        head = gunzip(data) if data[:2] == b"\x1f\x8b" else data
    except ValueError:  # who reads it says so
        return False
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b">", b";")


def _wild_type_from_fasta(path: Path, data: bytes) -> WildType:
    records = parse_fasta(decode_fasta(data, str(path)), path.name)
    if len(records) != 1:
        names = ", ".join(name for name, _, _ in records[:5])
        raise UsageError(
            f"{path}: expected one protein, read {len(records)} ({names}); "
            "mutants in FASTA belong in --variants"
        )
    record = records[0]
    return WildType(
        name=record.name or path.stem,
        sequence=record.sequence,
        records=(file_record(path, data),),
        identifiers=record.identifiers,
    )


def with_given_structure(
    wild_type: WildType,
    structure: str | os.PathLike[str] | None,
    chain: str | None,
    *,
    plddt: bool = False,
) -> WildType:
    """Add the coordinates of a structure file to a protein, where one is given."""
    if structure is None:
        if chain is not None:
            raise UsageError("--chain needs a structure; add --structure FILE")
        if plddt:
            raise UsageError("--plddt is about the B factors of a structure file; add --structure FILE")
        return wild_type
    path = Path(structure).expanduser()
    if not _is_readable(path):
        raise UsageError(f"no such file: {structure} (--structure)")
    data = _read(path)
    resolved = with_structure(wild_type, read_bytes(data, path.name, chain=chain, plddt=plddt))
    return replace(resolved, records=(*resolved.records, file_record(path, data)))


def file_record(path: Path, data: bytes | None = None) -> dict[str, object]:
    """Describe a user's own file for run.json; `data` is what was read of a pipe."""
    sha256 = file_sha256(path) if data is None else bytes_sha256(data)
    return {"source": "file", "path": str(path), "sha256": sha256}


def read_inputs(
    variants: Sequence[str],
    variants_file: str | os.PathLike[str] | None,
    variant_column: str | None,
    stdin: TextIO | None,
) -> InputTable:
    """Read all variant lines: arguments first, then the file or stdin."""
    tables = []
    if variants:
        tables.append(read_arguments(variants))
    if variants_file is not None:
        tables.append(read_variants(variants_file, column=variant_column, stdin=stdin))
    elif variant_column is not None:
        raise UsageError("--variant-column needs --variants FILE")
    table = join_tables(*tables) if tables else None
    if table is None or not table.rows:
        raise UsageError(
            "no variants given; write them after the wild type, or in a file named with --variants FILE"
        )
    return table


def make_plan(wild_type: WildType, table: InputTable) -> Plan:
    """Parse every line and check it against the wild type; one row for each line, whatever happens."""
    planned = [_planned(wild_type, row) for row in table.rows]
    rows = [row for row, _ in planned]
    mismatched = [row for row in rows if row.error is not None and row.error.code == "wild_type_mismatch"]
    if mismatched and len(wild_type.sequence) <= MAX_LENGTH:
        offset = suggest_offset([v for _, v in planned if v is not None], wild_type.sequence)
        if offset:
            hint = (
                f"; all variants would match with their positions shifted by {offset:+d}: "
                "are they numbered on another isoform, a precursor or a structure file?"
            )
            rows = [
                replace(row, error=VariantError(row.error.message + hint, code=row.error.code))
                if row.error is not None and row.error.code == "wild_type_mismatch"
                else row
                for row in rows
            ]
    counts = Counter(row.status for row in rows)
    return Plan(wild_type, tuple(rows), table.carried_columns, counts)


def _planned(wild_type: WildType, source: InputRow) -> tuple[PlannedRow, Variant | None]:
    """Check one line; returns its row, and its variant as written where the line can be read as one."""
    written: Variant | None = None
    unreadable: VariantError | None = None
    if source.sequence is None:
        try:
            written = parse_variant(source.text)
        except VariantError as error:
            unreadable = error
    try:
        reference = None if source.sequence is not None else split_reference(source.text)[0]
        if reference is not None and _contradicts(reference, wild_type.name):
            raise VariantError(
                f"{source.text}: names {reference}, but this run scores {wild_type.name}",
                code="wild_type_mismatch",
            )
        if len(wild_type.sequence) > MAX_LENGTH:
            raise VariantError(
                f"{wild_type.name} has {len(wild_type.sequence)} residues, "
                f"at most {MAX_LENGTH} can be scored; cut the protein to the domain concerned",
                code="too_long",
            )
        if not any(map(is_standard, wild_type.sequence)):
            raise VariantError(f"{wild_type.name} has no standard residue", code="bad_sequence")
        if unreadable is not None and source.problem is None:
            raise unreadable
        variant = source.variant(wild_type.sequence, written)
    except VariantError as error:
        return PlannedRow(source, error=error), written
    return PlannedRow(source, variant=variant), written


def _contradicts(reference: str, name: str) -> bool:
    """Whether a variant's reference prefix names another protein than the run's.

    Only two UniProt accessions can be compared; a gene symbol or RefSeq id is
    left to the wild-type letter check. `P04637` and `P04637-1` are one entry's
    canonical sequence by convention, other isoforms differ.
    """
    if not (is_accession(reference) and is_accession(name)):
        return False
    return reference.upper().removesuffix("-1") != name.upper().removesuffix("-1")


def check(
    wild_type: str,
    variants: Sequence[str] = (),
    *,
    variants_file: str | os.PathLike[str] | None = None,
    variant_column: str | None = None,
    model: str = DEFAULTS.model,
    builder: str = DEFAULTS.builder,
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    plddt: bool = DEFAULTS.plddt,
    alignment: str | os.PathLike[str] = DEFAULTS.alignment,
    inverse_folding: str = DEFAULTS.inverse_folding,
    offline: bool = False,
    stdin: TextIO | None = None,
) -> Plan:
    """Dry run of `score`: resolve the protein, parse and check every variant, find model and builder.

    Nothing is predicted, built or written. Arguments as `mutscan.score`.
    """
    Options(inverse_folding=inverse_folding)  # refuses another word
    table = read_inputs(variants, variants_file, variant_column, stdin)
    resolved = resolve_wild_type(wild_type, structure=structure, chain=chain, plddt=plddt, offline=offline)
    builders = tuple(backend.name for backend in choose_builders(builder, resolved))
    relatives = relatives_for(resolved, alignment)
    plan = make_plan(resolved, table)
    folding = uses_inverse_folding(inverse_folding, resolved)
    return replace(
        plan, model=find_model(model), builders=builders, relatives=relatives, inverse_folding=folding
    )


def uses_inverse_folding(option: str, wild_type: WildType) -> bool:
    """Whether a run with ``--inverse-folding`` `option` reads the wild type's structure by it."""
    return option == "auto" and wild_type.structure is not None and installed_weights() is not None
