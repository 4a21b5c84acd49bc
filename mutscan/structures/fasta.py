"""Reading FASTA: ids, descriptions and clean sequences."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mutscan.errors import UsageError
from mutscan.files import gunzip, read_file
from mutscan.residues import AMBIGUOUS, STANDARD
from mutscan.structures.files import without_gz

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FASTA_ENDINGS: Final = (".fasta", ".fa", ".faa", ".fas", ".seq")
"""Endings of FASTA files, in upper or lower case, each also with ``.gz``."""

_LETTERS = frozenset(STANDARD) | AMBIGUOUS
_PLAIN = re.compile(f"[{''.join(sorted(_LETTERS))}]+")


def is_fasta_file(name: str | Path) -> bool:
    """Whether a file is FASTA by its name.

    Examples
    --------
    >>> is_fasta_file("proteins.fa.gz"), is_fasta_file("proteins.csv")
    (True, False)
    """
    return without_gz(os.path.basename(name)).lower().endswith(FASTA_ENDINGS)


# https://www.uniprot.org/help/fasta-headers
_UNIPROT: Final = re.compile(
    r"(?:sp|tr)\|([A-Z0-9]{6,10}(?:-[0-9]+)?)\|([A-Z0-9]+_[A-Z0-9]+)", re.IGNORECASE | re.ASCII
)
_GENE: Final = re.compile(r"(?:^|\s)(?:GN=|gene_symbol:)(\S+)")  # UniProt's, Ensembl's


class FastaRecord(NamedTuple):
    """One entry: `id` is the first word of the header, `description` the rest."""

    id: str
    description: str
    sequence: str

    @property
    def identifiers(self) -> dict[str, str]:
        """What the header says of the protein, as `WildType.identifiers`.

        Examples
        --------
        >>> FastaRecord("sp|P04637|P53_HUMAN", "Tumor antigen OS=Homo sapiens GN=TP53", "MEEP").identifiers
        {'accession': 'P04637', 'entry': 'P53_HUMAN', 'gene': 'TP53'}
        """
        found = {}
        if match := _UNIPROT.fullmatch(self.id):
            found = {"accession": match[1].upper(), "entry": match[2].upper()}
        if match := _GENE.search(self.description):
            found["gene"] = match[1]
        return found

    @property
    def name(self) -> str:
        """Short name: the accession of a UniProt header, else `id`."""
        return self.identifiers.get("accession", self.id)


def read_fasta(path: str | Path) -> list[FastaRecord]:
    """Read the protein sequences of a FASTA file, plain or gzip.

    Lower case becomes upper case; blanks, alignment gaps (``-`` and ``.``) and a final ``*`` are taken out.

    Parameters
    ----------
    path : path

    Returns
    -------
    list of FastaRecord

    Raises
    ------
    UsageError
        The file cannot be read, holds no sequence, an empty one, a stop inside a sequence or a letter
        that is no residue; the message names the line.
    """
    return parse_fasta(_text_of(Path(path)), Path(path).name)


def read_each(path: Path) -> Iterator[tuple[str, FastaRecord | UsageError]]:
    """As `read_fasta`, but a bad record costs no other: yields its name and what is wrong with it.

    Raises
    ------
    UsageError
        The file cannot be read, or does not start with a header line.
    """
    lines = _text_of(path).splitlines()
    starts = [number for number, line in enumerate(lines) if line.lstrip().startswith(">")]
    before = lines[: starts[0]] if starts else lines
    if not starts or any(line.strip() and not line.lstrip().startswith(";") for line in before):
        parse_fasta("\n".join(lines), path.name)  # says what is wrong
    for place, (start, end) in enumerate(pairwise([*starts, len(lines)]), start=1):
        name = next(iter(lines[start].strip()[1:].split(maxsplit=1)), f"sequence{place}")
        try:
            ((_, record),) = iterate_fasta(lines[start:end], path.name, first=start + 1)
        except UsageError as error:
            yield name, UsageError(error.message, code="bad_sequence")
        else:
            yield name, record._replace(id=name)


def _text_of(path: Path) -> str:
    try:
        return decode_fasta(read_file(path), str(path))
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected FASTA") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def decode_fasta(data: bytes, name: str) -> str:
    """Text of a FASTA file, plain or gzip; `name` stands in messages.

    Raises
    ------
    UsageError
        It is damaged, too large, or no text.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            data = gunzip(data)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
    if data[257:262] == b"ustar":
        raise UsageError(f"{name}: is a tar archive of files; unpack it, and give one of its FASTA files")
    if b"\x00" in data[:4096]:
        raise UsageError(f"{name}: is a binary file; expected FASTA")
    return data.decode("utf-8-sig", errors="replace")


def parse_fasta(text: str, name: str) -> list[FastaRecord]:
    """As `read_fasta`, from text; `name` stands in messages."""
    return [record for _, record in iterate_fasta(text.splitlines(), name)]


def iterate_fasta(lines: Iterable[str], name: str, *, first: int = 1) -> Iterator[tuple[int, FastaRecord]]:
    """As `parse_fasta`, one record at a time, with the number of its header's line.

    Parameters
    ----------
    lines : iterable of str
    name : str
        Stands in messages.
    first : int
        Number of the first line.
    """
    header: tuple[int, str, str] | None = None
    parts: list[str] = []
    found = 0

    def finished() -> Iterator[tuple[int, FastaRecord]]:
        if header is None:
            return
        number, identifier, description = header
        sequence = "".join(parts).rstrip("*")
        if not sequence:
            raise UsageError(f"{name}, line {number}: {identifier} has no sequence")
        yield number, FastaRecord(identifier, description, sequence)

    for number, raw in enumerate(lines, start=first):
        line = raw.strip()
        if not line or line.startswith(";"):
            continue
        if line.startswith(">"):
            yield from finished()
            found += 1
            words = line[1:].split(maxsplit=1)
            identifier = words[0] if words else f"sequence{found}"
            header, parts = (number, identifier, words[1] if len(words) > 1 else ""), []
            continue
        if header is None:
            raise UsageError(
                f"{name}, line {number}: expected a header line starting with '>', read {line[:30]!r}"
            )
        if parts and parts[-1].endswith("*"):
            raise UsageError(f"{name}, line {number}: the sequence continues after a stop '*'")
        parts.append(_clean(line, name, number))
    yield from finished()
    if not found:
        raise UsageError(f"{name}: contains no sequence; expected FASTA")


def _clean(line: str, name: str, number: int) -> str:
    if _PLAIN.fullmatch(line):
        return line
    letters = "".join(line.split()).upper().replace("-", "").replace(".", "")
    for letter in letters.rstrip("*"):
        if letter == "*":
            raise UsageError(f"{name}, line {number}: a stop '*' inside the sequence")
        if letter not in _LETTERS:
            raise UsageError(f"{name}, line {number}: {letter!r} is not an amino-acid code")
    return letters
