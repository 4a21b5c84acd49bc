"""Bytes of a file or of stdin, and the text and lines in them."""

from __future__ import annotations

import gzip
import io
import os
import re
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mutscan.errors import UsageError
from mutscan.files import check_name, gunzip, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO, TextIO

# Not str.splitlines: that also breaks at form feeds and Unicode separators, which cells may hold.
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+\Z")
GZIP: Final = b"\x1f\x8b"
BOM: Final = b"\xef\xbb\xbf"
_FOREIGN: Final = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"PAR1": "a Parquet file",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"%PDF": "a PDF document",
}


def open_bytes(source: str | os.PathLike[str], stdin: TextIO | None) -> tuple[str, BinaryIO]:
    """Open a file, or stdin for ``"-"``: its name for messages, and its bytes as a stream with `seek`."""
    if os.fspath(source) == "-":
        stream = sys.stdin if stdin is None else stdin
        if stream is None:  # pythonw, daemons
            raise UsageError("stdin: is closed; give a file of variants")
        try:
            # Bytes if possible, so that gzip and encodings are recognised as in files.
            data = stream.buffer.read() if hasattr(stream, "buffer") else stream.read().encode()
        except UnicodeDecodeError as error:
            raise UsageError(f"stdin: is not {error.encoding} text; send it as UTF-8") from error
        return "stdin", io.BytesIO(data)
    check_name(source)
    path = Path(source).expanduser()
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; expected a file of variants")
    try:
        if not path.is_file():  # a pipe, which cannot be read twice
            return path.name, io.BytesIO(read_file(path))
        return path.name, path.open("rb")
    except FileNotFoundError:
        raise UsageError(f"no such file: {path}; give a file of variants, or - for stdin") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def read_text(stream: BinaryIO, name: str) -> str:
    """Read and decode what `open_bytes` opened: UTF-8, or UTF-16 with a byte order mark, plain or gzipped.

    Raises
    ------
    UsageError
        It is no text; `name` is that of the file.
    """
    with stream:
        text = _decode(stream.read(), name).removeprefix("\ufeff")
    if "\0" in text:
        raise UsageError(f"{name}: is not text (zero bytes); expected plain text, CSV, TSV or FASTA")
    return text


def decoded_lines(stream: BinaryIO, name: str) -> Iterator[str]:
    """Decode line by line what is too large to hold decoded: UTF-8, plain or gzipped.

    Raises
    ------
    UsageError
        It is no such text.
    """
    packed = stream.read(len(GZIP)) == GZIP
    stream.seek(0)
    try:
        raw = gzip.GzipFile(fileobj=stream) if packed else stream
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as lines:
            yield from lines
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name}: is not UTF-8 text (byte 0x{error.object[error.start]:02x}); save it as UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(name, error) from error


def lines_of(text: str, start: int = 0) -> Iterator[str]:
    """Split text from a character on into lines, each with its end."""
    return (match[0] for match in _LINE.finditer(text, start))


def is_blank(line: str) -> bool:
    """Whether a line has nothing but blanks or a comment."""
    return not line.strip() or line.lstrip().startswith("#")


def _decode(data: bytes, name: str) -> str:
    if data.startswith(GZIP):
        try:
            data = gunzip(data)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from error
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


def _damaged(name: str, error: Exception) -> UsageError:
    return UsageError(f"{name}: damaged gzip file ({error}); make or download it again")
