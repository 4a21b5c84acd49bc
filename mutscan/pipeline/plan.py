"""Before any network runs: which protein, which variants, and what will be done with each."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from mutscan.alignments.source import relatives_for
from mutscan.builders.choose import choose_builders
from mutscan.errors import FetchError, UsageError, VariantError
from mutscan.fetch import KNOWN, Fetcher, read_name
from mutscan.files import check_name, gunzip, read_file
from mutscan.hashes import bytes_sha256, file_sha256
from mutscan.inputs import InputTable, join_tables, read_arguments, read_variants
from mutscan.model.checkpoint import find_model
from mutscan.model.inverse_folding import installed_weights
from mutscan.pipeline.identity import Identity, NamedProteins, damaged_names, in_line
from mutscan.pipeline.numbering import FileNumbers, find_shift
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
from mutscan.structures.fasta import decode_fasta, parse_fasta
from mutscan.variants import parse_variant, split_reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from mutscan.alignments.source import Relatives
    from mutscan.fetch import Name
    from mutscan.inputs import InputRow
    from mutscan.pipeline.numbering import Shift
    from mutscan.variants import Variant

MAX_LENGTH: Final = 5000
"""Longest wild type scored, residues."""

SKIPPED_CODES: Final = frozenset({"synonymous", "unsupported_variant"})
"""Error codes of rows that are understood but deliberately not scored: status ``skipped``."""


def status_of(code: str) -> str:
    """``skipped`` or ``failed``: the status of a row with an error code."""
    return "skipped" if code in SKIPPED_CODES else "failed"


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """One input line: the variant it names, or the reason it will not be scored."""

    source: InputRow
    variant: Variant | None = None
    error: VariantError | None = None
    notes: tuple[str, ...] = ()
    """On how the line was read."""
    doubt: str = ""
    """Why the other lines say that another residue is meant."""

    @property
    def status(self) -> str:
        """``planned``, ``failed`` or ``skipped``."""
        return "planned" if self.error is None else status_of(self.error.code)


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

    def __repr__(self) -> str:
        """Name the protein and count the rows by status."""
        told = ", ".join(f"{n} {status}" for status, n in self.counts.items())
        return f"<Plan {self.wild_type.name}: {told or 'no rows'}>"

    def _repr_html_(self) -> str:
        """Show the rows in a notebook."""
        from mutscan.reports.notebook import plan_html

        rows = [
            (
                row.source.text,
                row.status,
                "" if row.variant is None else str(row.variant),
                "; ".join(row.notes) if row.error is None else row.error.message,
            )
            for row in self.rows
        ]
        return plan_html(repr(self), rows)

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The distinct variants to score, in order of first appearance."""
        return tuple(dict.fromkeys(row.variant for row in self.rows if row.variant is not None))


def resolve_wild_type(
    wild_type: str | os.PathLike[str],
    *,
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    offline: bool = False,
    organism: str = DEFAULTS.organism,
    fetcher: Fetcher | None = None,
    coordinates: bool = True,
    plddt: bool = False,
) -> WildType:
    """Find the wild type a user names.

    Parameters
    ----------
    wild_type : str or path
        A path to a structure or FASTA file, known by its contents where the ending does not tell; else a
        UniProt accession, isoform or entry name, a RefSeq or Ensembl protein, ``pdb:ID:CHAIN``, or a gene
        symbol.
    structure : path, optional
        Structure to use with an accession or FASTA.
    chain : str, optional
        Author chain name in the structure file.
    offline : bool
        Never touch the network.
    organism : str
        Of a gene symbol: name, UniProt's code or taxon; refused with anything else.
    fetcher : Fetcher, optional
        Services and cache; the default ones otherwise.
    coordinates : bool
        Also fetch AlphaFold DB's model of an entry of UniProt.
    plddt : bool
        B factors of the structure file are pLDDT.

    Raises
    ------
    UsageError
        Neither a file nor a name; a name of several proteins (code ``ambiguous_protein``); a FASTA of
        several proteins.
    StructureError, FetchError
        As they occur.
    """
    text = os.fspath(wild_type)
    check_name(text)
    path = Path(text).expanduser()
    looks_like_path = os.sep in text or is_structure_file(text) or is_fasta_file(text)
    if _is_readable(path):
        refuse_organism(organism, text)
        data = _read(path)
        # Pipes and stdin have no ending to go by.
        if not is_structure_file(path) and (is_fasta_file(path) or _looks_like_fasta(data)):
            return with_given_structure(_wild_type_from_fasta(path, data), structure, chain, plddt=plddt)
        if structure is not None:
            raise UsageError(
                f"{text} is already a structure; use --structure with an accession or a FASTA file"
            )
        resolved = wild_type_from_structure(read_bytes(data, path.name, chain=chain, plddt=plddt))
        return replace(resolved, records=(*resolved.records, file_record(path, data)))
    if looks_like_path:
        raise UsageError(f"no such file: {text}")
    name = read_name(text)
    if name is None:
        raise UsageError(f"{text!r} is neither a file nor a name that is known: expected {KNOWN}, or a file")
    if name.kind != "gene":
        refuse_organism(organism, text)
    if name.kind == "pdb" and structure is not None:
        raise UsageError(f"{text} is already a structure; use --structure with an accession or a FASTA file")
    try:
        entry = look_up(
            name,
            chain=chain,
            offline=offline,
            organism=organism,
            fetcher=fetcher,
            coordinates=coordinates and structure is None,
        )
    except FetchError as error:
        if name.kind != "gene":
            raise
        # A bare word may be the name of a file just as well.
        why = error.message.removeprefix(f"{text}: ")
        raise FetchError(f"{text}: no such file, and {why}", code=error.code) from error
    if name.kind == "pdb":
        chain = None
    if structure is None and chain is not None:
        raise UsageError(
            "--chain needs a structure file: AlphaFold DB models have one chain; add --structure FILE"
        )
    return with_given_structure(entry, structure, chain, plddt=plddt)


def look_up(
    name: Name,
    *,
    chain: str | None = None,
    offline: bool = False,
    organism: str = DEFAULTS.organism,
    fetcher: Fetcher | None = None,
    coordinates: bool = True,
) -> WildType:
    """Find the protein of a name, in the cache or at the service that knows it.

    Parameters as `resolve_wild_type`; `chain` is that of a PDB entry.

    Raises
    ------
    UsageError, StructureError, FetchError
        As `Fetcher.protein` and `Fetcher.pdb`.
    """
    service = fetcher or Fetcher(offline=offline)
    if name.kind != "pdb":
        return service.protein(name, organism=organism, structure=coordinates)
    if None not in (chain, name.chain) and chain != name.chain:
        raise UsageError(
            f"{name.typed} names chain {name.chain}, --chain {chain} another; leave one of them out"
        )
    return service.pdb(name.text, name.chain or chain)


def is_gene(text: str) -> bool:
    """Whether a wild type is given by a gene symbol, the only name that needs an organism."""
    if _is_readable(Path(text).expanduser()):
        return False
    name = read_name(text)
    return name is not None and name.kind == "gene"


def refuse_organism(organism: str, *proteins: str) -> None:
    """Refuse an organism beside proteins none of which is a gene symbol.

    Raises
    ------
    UsageError
        Another organism than the default was named.
    """
    if organism != DEFAULTS.organism:
        named = ", ".join(proteins[:3]) + (", ..." if len(proteins) > 3 else "")
        raise UsageError(
            f"--organism {organism}: belongs to a gene symbol such as TP53; read {named}, which needs no "
            "organism; leave the option out"
        )


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


def make_plan(
    wild_type: WildType,
    table: InputTable,
    *,
    numbering: str = DEFAULTS.numbering,
    strict: bool = DEFAULTS.strict,
) -> Plan:
    """Parse every line and check it against the wild type; one row for each line, whatever happens.

    Parameters
    ----------
    wild_type : WildType
    table : InputTable
    numbering : {"sequence", "author"}
        Whose positions the variants are written in; ``author``: the structure file's own.
    strict : bool
        Refuse rows that match as written although the others say that the numbering is shifted, or that
        another protein is meant.

    Raises
    ------
    UsageError
        The structure file's own numbers, without a structure.
    """
    numbers = FileNumbers.of(wild_type)
    author = numbering == "author"
    if author and wild_type.structure is None:
        raise UsageError(
            f"{wild_type.name}: --numbering author needs a structure, whose residue numbers are meant; give "
            "a structure file, or leave the option out to count on the sequence",
            code="structure_missing",
        )
    reader = _RowReader(wild_type, numbers, author=author)
    planned = [reader.read(row) for row in table.rows]
    shift = None
    if not author and len(wild_type.sequence) <= MAX_LENGTH:
        failing = [v for row, v in planned if v is not None and _misses(row)]
        fitting = [v for row, v in planned if v is not None and row.error is None]
        if failing:
            shift = find_shift(fitting, failing, wild_type.sequence, numbers)
    rows = [row if shift is None else _marked(row, v, shift, strict=strict) for row, v in planned]
    for place, doubt in reader.named.apart().items():
        rows[place] = _doubted(rows[place], doubt, "wrong_protein", strict=strict)
    if reader.named.note:
        wild_type = replace(wild_type, notes=(*wild_type.notes, reader.named.note))
    counts = Counter(row.status for row in rows)
    return Plan(wild_type, tuple(rows), table.carried_columns, counts)


def _misses(row: PlannedRow) -> bool:
    return row.error is not None and row.error.code in ("wild_type_mismatch", "position_out_of_range")


def _marked(row: PlannedRow, written: Variant | None, shift: Shift, *, strict: bool) -> PlannedRow:
    """Add to a row what all rows together say about the numbering."""
    if row.error is not None and written is not None and _misses(row):
        return replace(row, error=VariantError(row.error.message + shift.words, code=row.error.code))
    if row.error is not None or written not in shift.doubtful:
        return row
    return _doubted(replace(row, notes=()), shift.doubt, "wild_type_mismatch", strict=strict)


def _doubted(row: PlannedRow, doubt: str, code: str, *, strict: bool) -> PlannedRow:
    """Add to a row that can be scored why it may mean something else."""
    if row.error is not None:
        return row
    if strict:
        error = VariantError(f"{in_line(row.source.text)}: {doubt} (--strict)", code=code)
        return replace(row, variant=None, error=error, notes=())
    return replace(row, doubt=", ".join(filter(None, (row.doubt, doubt))))


class _RowReader:
    """Reads lines as variants of one wild type, and keeps the names that could not be checked."""

    def __init__(self, wild_type: WildType, numbers: FileNumbers, *, author: bool) -> None:
        self.wild_type = wild_type
        self.numbers = numbers
        self.positions = numbers.positions if author else None
        self.identity = Identity(wild_type)
        self.named = NamedProteins(self.identity)
        self.n_rows = 0

    def read(self, source: InputRow) -> tuple[PlannedRow, Variant | None]:
        """Check one line; returns its row, and its variant as written where the line can be read as one."""
        written: Variant | None = None
        noted = ""
        self.n_rows += 1
        try:
            if source.sequence is None and source.problem is None:
                noted = self.check_protein(source)
                with contextlib.suppress(VariantError):  # other reasons come first
                    written = parse_variant(source.text, self.positions)
            variant = self.variant(source, written)
        except VariantError as error:
            return PlannedRow(source, error=error), written
        other = (
            "" if self.positions is not None else self.numbers.other_reading(variant, self.wild_type.sequence)
        )
        return PlannedRow(source, variant=variant, notes=tuple(filter(None, (other, noted)))), written

    def check_protein(self, source: InputRow) -> str:
        """Refuse a line that names another protein, before its variant or in a column; returns a note."""
        named: dict[str, Sequence[str]] = {}
        with contextlib.suppress(VariantError):  # what cannot be read is told as such
            reference = split_reference(source.text, self.positions)[0]
            named = {} if reference is None else {"": [reference]}
        for column, names in self.identity.named_by(source.carried).items():
            named[f"in column {column!r}"] = names
        other, noted = self.named.add(self.n_rows - 1, named)
        if other:
            self.refuse(source, other)
        return "; ".join(filter(None, (noted, damaged_names(source.carried))))

    def refuse(self, source: InputRow, named: str) -> NoReturn:
        scored = self.identity.words
        if len(named) == 1 and self.wild_type.structure is not None:
            named, scored = f"chain {named}", f"chain {self.wild_type.structure.chain_id} of {scored}"
        raise VariantError(
            f"{in_line(source.text)}: names {named.rstrip(',')}, but this run scores {scored}",
            code="wrong_protein",
        )

    def variant(self, source: InputRow, written: Variant | None) -> Variant:
        wild_type = self.wild_type
        if len(wild_type.sequence) > MAX_LENGTH:
            raise VariantError(
                f"{wild_type.name} has {len(wild_type.sequence)} residues, "
                f"at most {MAX_LENGTH} can be scored; cut the protein to the domain concerned",
                code="too_long",
            )
        if not any(map(is_standard, wild_type.sequence)):
            raise VariantError(f"{wild_type.name} has no standard residue", code="bad_sequence")
        if written is None and source.sequence is None and source.problem is None:
            parse_variant(source.text, self.positions)  # says why not
        try:
            if written is not None and self.positions is not None:
                written.check(
                    wild_type.sequence, text=in_line(source.text), file_numbers=self.numbers.number_of
                )
            variant = source.variant(wild_type.sequence, written)
        except VariantError as error:
            told = "" if written is None or self.positions is None else self.numbers.told(written)
            raise VariantError(f"{error.message}; {told}", code=error.code) if told else error from None
        if variant.exchanges_start and self.numbers.starts_protein:
            raise VariantError(
                f"{in_line(source.text)}: the start codon is lost; the protein may not be made, or start "
                "further on, which scores of a structure do not tell",
                code="unsupported_variant",
            )
        return variant


def check(
    wild_type: str | os.PathLike[str],
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
    numbering: str = DEFAULTS.numbering,
    organism: str = DEFAULTS.organism,
    strict: bool = False,
    offline: bool = False,
    stdin: TextIO | None = None,
) -> Plan:
    """Dry run of `score`: resolve the protein, parse and check every variant, find model and builder.

    Nothing is predicted, built or written. Arguments as `mutscan.score`.
    """
    Options(inverse_folding=inverse_folding, numbering=numbering)  # refuses another word
    table = read_inputs(variants, variants_file, variant_column, stdin)
    resolved = resolve_wild_type(
        wild_type, structure=structure, chain=chain, plddt=plddt, offline=offline, organism=organism
    )
    builders = tuple(backend.name for backend in choose_builders(builder, resolved))
    relatives = relatives_for(resolved, alignment)
    plan = make_plan(resolved, table, numbering=numbering, strict=strict)
    folding = uses_inverse_folding(inverse_folding, resolved)
    return replace(
        plan, model=find_model(model), builders=builders, relatives=relatives, inverse_folding=folding
    )


def uses_inverse_folding(option: str, wild_type: WildType) -> bool:
    """Whether a run with ``--inverse-folding`` `option` reads the wild type's structure by it."""
    return option == "auto" and wild_type.structure is not None and installed_weights() is not None
