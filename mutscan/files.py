"""Where the cache is, files that are whole or not there, words for the operating system's refusals."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from mutscan.errors import RunFolderError
from mutscan.hashes import text_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def cache_dir() -> Path:
    """Where mutscan keeps what it can get again: ``MUTSCAN_CACHE_DIR``, else the user's cache directory."""
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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write to a temporary name beside `path`, and rename it over `path` when all went well."""
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


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write under `path` into words."""
    try:
        yield
    except OSError as error:
        again = "free some space and run the same command again, finished work is kept"
        reasons = {
            errno.ENOSPC: f"the disk is full; {again}",
            errno.EDQUOT: f"the disk quota is used up; {again}",
            errno.EACCES: "no permission to write there; give another --out",
            errno.EPERM: "no permission to write there; give another --out",
            errno.ENOENT: "there is no such folder",
            errno.ENOTDIR: "a part of the path is a file, not a folder",
            errno.EROFS: "the file system is read-only; give another --out",
            errno.ENAMETOOLONG: "the name is too long for the file system; give a shorter --out",
        }
        reason = reasons.get(error.errno or 0)
        if reason is None:
            raise
        raise RunFolderError(f"cannot write {error.filename or path}: {reason}") from error
