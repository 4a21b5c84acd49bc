"""Read VCF files annotated by Ensembl VEP: the protein changes of each line.

VEP writes one annotation for each allele and transcript into the INFO key ``CSQ``, with its fields in the
order that the header gives. The format is documented at
https://www.ensembl.org/info/docs/tools/vep/vep_formats.html#vcfout.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from mutscan.errors import UsageError
from mutscan.inputs.layout import listed, named_column
from mutscan.inputs.rows import Cells, InputRow
from mutscan.inputs.text import BOM, GZIP, decoded_lines

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

UNIPROT_FIELDS: Final = ("UNIPROT_ISOFORM", "SWISSPROT", "TREMBL")
"""Fields with the protein, best first: only the isoform is sure to be numbered as the transcript is."""

_COLUMNS: Final = ("CHROM", "POS", "ID", "REF", "ALT")
_CARRIED: Final = ("Consequence", "SYMBOL", "Feature", "HGVSc", "HGVSp")
_STARTS: Final = (b"##fileformat=VCF", b"#CHROM\tPOS\tID\tREF\tALT\tQUAL")
_HEADER: Final = re.compile(r'##INFO=<ID=([^,]+),.*?Description="([^"]*)Format: ?([^"]+)"')
_VERSION: Final = re.compile(r"\.[0-9]+$")
_HOW: Final = "run VEP as: vep ... --vcf --hgvs --symbol --uniprot --protein"


@dataclass(frozen=True)
class Annotated:
    """Protein changes of a file in order, each with its protein."""

    rows: list[tuple[str, InputRow]]
    carried_columns: tuple[str, ...]
    words: str


def is_vcf(stream: BinaryIO) -> bool:
    """Whether a file, plain or gzipped, begins as a VCF file does; the stream stays at its start."""
    head = stream.read(1 << 16)
    stream.seek(0)
    if head.startswith(GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 64)
        except zlib.error:  # who reads it says so
            return False
    return head.removeprefix(BOM).startswith(_STARTS)


def read_vep(
    stream: BinaryIO, name: str, *, protein_field: str | None = None, variant_field: str | None = None
) -> Annotated:
    """Read each protein change of each line: one for each transcript, the same of one protein once.

    The text of a row is the line's place and alleles with the change, as in
    ``17:7675088 C>T ENSP00000269305.4:p.Arg175His``. The protein is that of the `UNIPROT_FIELDS`, without
    its version, else the one before the change, else that of the field ``ENSP``.

    Parameters
    ----------
    stream : binary stream, at its start
        The file, plain or gzipped; read line by line.
    name : str
        Of the file, for messages.
    protein_field, variant_field : str, optional
        Fields of the annotation to take instead of these and ``HGVSp``.

    Raises
    ------
    UsageError
        Not annotated, without protein changes, damaged, or no such field.
    """
    layout: _Layout | None = None
    rows: list[tuple[str, InputRow]] = []
    n_lines = n_annotations = n_without = 0
    for number, line in enumerate(decoded_lines(stream, name), start=1):
        if line.startswith("#"):
            match = _HEADER.match(line)
            if match and (match[1] == "CSQ" or "Ensembl VEP" in match[2]):
                fields = tuple(field.strip() for field in match[3].split("|"))
                layout = _Layout.find(match[1], fields, name, protein_field, variant_field)
            continue
        if layout is None:
            break
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 8:
            raise UsageError(
                f"{name}, line {number}: has {len(cells)} columns, expected at least 8 with tabs between them"
            )
        n_lines += 1
        changes: dict[tuple[str, str], list[str]] = {}
        for annotation in layout.annotations(cells[7]):
            n_annotations += 1
            values = annotation.split("|")
            if len(values) != len(layout.fields):
                raise UsageError(
                    f"{name}, line {number}: an annotation has {len(values)} fields, "
                    f"{len(layout.fields)} according to the header; annotate the file again"
                )
            if not values[layout.variant]:
                n_without += 1
            else:
                changes.setdefault(layout.change(values), values)
        for (protein, change), values in changes.items():
            carried = Cells(layout.columns, (*cells[:5], *(unquote(values[i]) for i in layout.carried)))
            text = f"{cells[0]}:{cells[1]} {cells[3]}>{cells[4]} {change}"
            rows.append((protein, InputRow(number, text, carried, source=name)))
    if layout is None:
        raise UsageError(f"{name}: is a VCF file without annotations of Ensembl VEP (CSQ); {_HOW}")
    counts = f"{n_lines} lines, {n_annotations} annotations"
    if not rows:
        raise UsageError(f"{name}: no annotation has a protein change ({counts}); {_HOW}")
    return Annotated(
        rows,
        layout.columns,
        f"proteins in {layout.protein_words}, variants in "
        f"{layout.fields[layout.variant]} ({counts}, {n_without} of them without a protein change)",
    )


@dataclass(frozen=True)
class _Layout:
    """Where the annotations of a line are, and where in an annotation the fields."""

    key: str  # of INFO
    fields: tuple[str, ...]
    proteins: tuple[int, ...]  # the first that is not empty counts
    variant: int
    carried: tuple[int, ...]
    columns: tuple[str, ...]
    protein_words: str

    @classmethod
    def find(
        cls, key: str, fields: tuple[str, ...], name: str, protein: str | None, variant: str | None
    ) -> _Layout:
        def place(asked: str) -> int:
            found = named_column(fields, asked)
            if found is None:
                raise UsageError(
                    f"{name}: VEP gave no field {asked!r}; its fields are {listed(fields)}; {_HOW}"
                )
            return found

        if protein is None:
            proteins = tuple(fields.index(field) for field in UNIPROT_FIELDS if field in fields)
        else:
            proteins = (place(protein),)
        carried = tuple(fields.index(field) for field in _CARRIED if field in fields)
        words = " or ".join(fields[i] for i in proteins) or "HGVSp"
        columns = (*_COLUMNS, *(fields[i] for i in carried))
        return cls(key, fields, proteins, place(variant or "HGVSp"), carried, columns, words)

    def annotations(self, info: str) -> list[str]:
        """Annotations in the INFO column of a line."""
        start = f"{self.key}="
        return next((one[len(start) :].split(",") for one in info.split(";") if one.startswith(start)), [])

    def change(self, values: Sequence[str]) -> tuple[str, str]:
        """Protein and change of an annotation."""
        text = unquote(values[self.variant])
        for i in self.proteins:
            protein = unquote(values[i]).partition("&")[0]
            if protein:
                return (_VERSION.sub("", protein) if self.fields[i] in UNIPROT_FIELDS else protein), text
        before = text.rpartition(":")[0]
        if not before and "ENSP" in self.fields:
            before = values[self.fields.index("ENSP")]
        return before, text
