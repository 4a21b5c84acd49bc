"""sha256 of bytes, text, files and JSON documents, in hexadecimal."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def bytes_sha256(data: bytes) -> str:
    """Hash bytes."""
    return hashlib.sha256(data).hexdigest()


def text_sha256(text: str) -> str:
    """Hash text, a sequence for example, as UTF-8.

    Examples
    --------
    >>> text_sha256("MKV")[:16]
    '06101e170c22fd1e'
    """
    return bytes_sha256(text.encode())


def file_sha256(path: str | Path) -> str:
    """Hash a file's contents without holding them in memory."""
    with Path(path).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def json_sha256(document: object) -> str:
    """Hash a JSON document; the order of its keys does not count."""
    return text_sha256(json.dumps(document, sort_keys=True))
