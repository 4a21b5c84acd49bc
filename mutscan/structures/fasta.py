"""Reading FASTA: ids, descriptions and clean sequences."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from mutscan.errors import UsageError
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


class FastaRecord(NamedTuple):
    """One entry: `id` is the first word of the header, `description` the rest."""

    id: str
    description: str
    sequence: str


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
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; expected FASTA") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{path}: damaged gzip file ({error})") from error
    if b"\x00" in data[:4096]:
        raise UsageError(f"{path}: is a binary file; expected FASTA")
    return parse_fasta(data.decode("utf-8-sig", errors="replace"), path.name)


def parse_fasta(text: str, name: str) -> list[FastaRecord]:
    """As `read_fasta`, from text; `name` stands in messages."""
    return [record for _, record in iterate_fasta(text.splitlines(), name)]


def iterate_fasta(lines: Iterable[str], name: str) -> Iterator[tuple[int, FastaRecord]]:
    """As `parse_fasta`, one record at a time, with the line of its header (from 1)."""
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

    for number, raw in enumerate(lines, start=1):
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
