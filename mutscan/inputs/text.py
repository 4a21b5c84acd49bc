"""Bytes of a file or of stdin, and the text and lines in them."""

from __future__ import annotations

import gzip
import os
import re
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

# Not str.splitlines: that also breaks at form feeds and Unicode separators, which cells may hold.
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")
_FOREIGN: Final = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF document",
}


def read_bytes(source: str | os.PathLike[str], stdin: TextIO | None) -> tuple[str, bytes | str]:
    """Read a file, or stdin for ``"-"``: its name, and its bytes (text where stdin has no bytes)."""
    if os.fspath(source) == "-":
        stream = sys.stdin if stdin is None else stdin
        if stream is None:  # pythonw, daemons
            raise UsageError("stdin: is closed; give a file of variants")
        try:
            # Bytes if possible, so that gzip and encodings are recognised as in files.
            return "stdin", stream.buffer.read() if hasattr(stream, "buffer") else stream.read()
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin: is not {error.encoding} text; send it as UTF-8") from error
    path = Path(source).expanduser()
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file of variants")
    try:
        return path.name, path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}; give a file of variants, or - for stdin") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_text(data: bytes | str, name: str) -> str:
    """Decode what `read_bytes` read: UTF-8, or UTF-16 with a byte order mark, plain or gzipped.

    Raises
    ------
    UsageError
        It is no text; `name` is that of the file.
    """
    text = (data if isinstance(data, str) else _decode(data, name)).removeprefix("\ufeff")
    if "\0" in text:
        raise UsageError(f"{name}: is not text (zero bytes); expected plain text, CSV, TSV or FASTA")
    return text


def lines_of(text: str, start: int = 0) -> Iterator[str]:
    """Split text from a character on into lines, each with its end."""
    return (match[0] for match in _LINE.finditer(text, start))


def is_blank(line: str) -> bool:
    """Whether a line has nothing but blanks or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def _decode(data: bytes, name: str) -> str:
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise UsageError(f"{name}: damaged gzip file ({error}); make or download it again") from error
    for magic, kind in _FOREIGN.items():
        if data.startswith(magic):
            raise UsageError(f"{name}: is {kind}; expected text, save it as CSV, TSV or plain text")
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = len(_LINE.findall(data[: error.start].decode(encoding, "replace") + "."))
        raise UsageError(
            f"{name}: is not {encoding.upper()} text (byte 0x{data[error.start]:02x} in line {line}); "
            "save it as CSV or text with encoding UTF-8"
        ) from error
