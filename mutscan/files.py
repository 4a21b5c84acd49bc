"""The cache folder, reading within limits, atomic writes, and messages for errors of the file system."""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import io
import json
import math
import os
import re
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import platformdirs

from mutscan.errors import RunFolderError, UsageError, WrongFolderError
from mutscan.hashes import text_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_SPACE: Final = "free some space and run the same command again; finished work is kept"
_PLACE: Final = "choose another place with --out or MUTSCAN_CACHE_DIR"

REFUSALS: Final = {
    errno.ENOSPC: f"the disk is full; {_SPACE}",
    errno.EDQUOT: f"the disk quota is used up; {_SPACE}",
    errno.EACCES: f"no permission; {_PLACE}",
    errno.EPERM: f"no permission; {_PLACE}",
    errno.EROFS: f"the file system is read-only; {_PLACE}",
}
"""What the operating system refused on the user's disk, and what to do."""

_BAD_PATHS: Final = {
    errno.ENOENT: "there is no such folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "there is a folder where a file should be; remove it",
    errno.EEXIST: "there is a file where a folder should be; remove it",
    errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter --out",
}


def cache_dir() -> Path:
    """Folder for data that can be fetched or computed again: ``MUTSCAN_CACHE_DIR``, else the user's cache."""
    chosen = os.environ.get("MUTSCAN_CACHE_DIR", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_cache_dir("mutscan", appauthor=False))


def file_name(text: str) -> str:
    """Turn a text into a file name: safe characters only, and a hash in place of what does not fit.

    Examples
    --------
    >>> file_name("R175H_R248Q"), file_name("sp|P04637")
    ('R175H_R248Q', 'sp_P04637-e974cb4e')
    """
    safe = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip(".") or "protein"
    if safe == text and len(safe) <= 80:
        return safe
    return f"{safe[:60]}-{text_sha256(text)[:8]}"


def largest_file() -> int:
    """Most bytes read of what may grow without end, such as a compressed file, a pipe or a download.

    ``MUTSCAN_MAX_FILE_MB`` in MB (2^20 bytes), else 256.

    Raises
    ------
    UsageError
        The variable is no positive number.
    """
    text = os.environ.get("MUTSCAN_MAX_FILE_MB", "").strip() or "256"
    try:
        size = float(text)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise UsageError(f"MUTSCAN_MAX_FILE_MB={text}: expected a number of MB, such as 512")
    return int(size * 2**20)


def too_large(limit: int) -> str:
    """Say that something has more bytes than `largest_file` allows, and what to do."""
    return f"more than {limit / 2**20:g} MB; if that is right, set MUTSCAN_MAX_FILE_MB to more"


def gunzip(data: bytes) -> bytes:
    """Decompress the bytes of a gzip file, up to `largest_file`.

    Raises
    ------
    ValueError
        They are damaged, or grow to more; the message goes behind the name of the file.
    """
    limit = largest_file()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"damaged gzip file ({error}); make or download it again") from error
    if len(plain) > limit:
        raise ValueError(f"decompresses to {too_large(limit)}")
    return plain


def read_file(path: Path) -> bytes:
    """Read a file whole; of a pipe, which may have no end, up to `largest_file`.

    Raises
    ------
    OSError
    ValueError
        A pipe sends more; the message goes behind its name.
    """
    if path.is_file():
        return path.read_bytes()
    limit = largest_file()
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"sends {too_large(limit)}")
    return data


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    OSError
    ValueError
        It is no JSON, or lists in lists without end.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error


@contextlib.contextmanager
def any_length() -> Iterator[None]:
    """Let cells that the csv module reads be of any length: escaping makes them longer."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary file beside `path`, and rename it to `path` if nothing failed."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp is private by default; results are as readable as any other new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name that is no text.

    Raises
    ------
    UsageError
        It has bytes that are not those of the system's encoding, mostly UTF-8.
    """
    name = os.fspath(path)
    shown = name.encode("utf-8", "backslashreplace").decode()
    if shown != name:
        raise UsageError(f"{shown}: the name has bytes that are no UTF-8 text; rename the file or folder")


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with replacing(path) as temporary:
        # Half letters, as paths may have them, are valid in JSON when they are escaped.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn errors of writing under `path` into a `RunFolderError` that says what to do."""
    try:
        yield
    except OSError as error:
        reason = (REFUSALS | _BAD_PATHS).get(error.errno or 0)
        if reason is None:
            raise
        kind = WrongFolderError if error.errno in _BAD_PATHS else RunFolderError
        # Of a rename the first name is that of a temporary file.
        raise kind(f"cannot write {error.filename2 or error.filename or path}: {reason}") from error
