"""Downloaded files and, beside each, the record of where it came from.

    <cache>/downloads/<kind>/<name>-<hash of the URL>.<ext>
    <cache>/downloads/<kind>/<name>-<hash of the URL>.<ext>.record.json

Both are written under a temporary name and renamed, the record last: whatever happens in
between, a record never vouches for bytes it does not describe. Files and records are kept
until `clear_cache`, so a run can be repeated on the very bytes it was first made with.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mutscan.files import replacing
from mutscan.hashes import bytes_sha256, text_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES: Final = {
    "uniprot": "UniProt",
    "afdb": "AlphaFold DB",
    "alignments": "AlphaFold DB",
    "interpro": "InterPro",
    "ted": "TED",
    "rcsb": "RCSB PDB",
    "refseq": "RefSeq",
    "ensembl": "Ensembl",
    "3dmol": "3Dmol.js",
}
"""Kind of a download (its folder in the cache) to the name people know the service by."""

ENDINGS: Final = {"alignments": ".npz"}
"""Ending of files that are kept in another form than they are served in."""

FOLDER: Final = "downloads"
SIDECAR: Final = ".record.json"
LEFTOVERS: Final = ".*.tmp"


class DamagedFileError(Exception):
    """A file in the cache is not the one that was downloaded."""


@dataclass(frozen=True, slots=True)
class Record:
    """Provenance of one downloaded file.

    Parameters
    ----------
    path : Path
        The file in the cache.
    url : str
        What was asked for.
    version : str, optional
        Release of the database, or version of the model.
    date : str
        When it was downloaded, ISO 8601, UTC.
    sha256 : str
        Of the file's bytes, hexadecimal.
    size : int
        Bytes.
    source : str
        The service, as people call it: ``"UniProt"``.
    kind : str
        Folder in the cache: ``"uniprot"``, ``"afdb"``.
    status : int
        The server's answer: 200, or 404 where "there is none" is what is remembered.
    etag : str, optional
        The server's own fingerprint of the file.
    final_url : str, optional
        Where redirects led, when they did.
    """

    path: Path
    url: str
    version: str | None
    date: str
    sha256: str
    size: int
    source: str
    kind: str
    status: int = 200
    etag: str | None = None
    final_url: str | None = None

    def to_dict(self) -> dict[str, object]:
        """All fields, JSON-able; `path` as text."""
        return {
            "source": self.source,
            "kind": self.kind,
            "url": self.url,
            "final_url": self.final_url,
            "version": self.version,
            "date": self.date,
            "sha256": self.sha256,
            "size": self.size,
            "status": self.status,
            "etag": self.etag,
            "path": str(self.path),
        }


class Cache:
    """The files of one cache directory, by the URL they came from.

    Parameters
    ----------
    directory : Path
        Created when the first file is stored.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, url: str, kind: str) -> Path:
        """Where the file of `url` lies or would lie; tells people what it is, and differs for each URL."""
        parts = [part for part in urlsplit(url).path.split("/") if part]
        name = re.sub(r"[^A-Za-z0-9._-]", "_", parts[-1] if parts else "index").lstrip(".")[:80] or "index"
        stem, dot, suffix = name.partition(".")
        ending = ENDINGS.get(kind, dot + suffix)
        return self.directory / FOLDER / kind / f"{stem}-{text_sha256(url)[:12]}{ending}"

    def load(self, url: str, kind: str) -> tuple[Record, bytes] | None:
        """Record and bytes of `url`, the sha256 verified; None when it was never stored.

        Raises
        ------
        DamagedFileError
            File and record do not fit together, or one of them cannot be read.
        """
        path = self.path(url, kind)
        record = read_record(path)
        if record is None:
            return None
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DamagedFileError(f"{path} cannot be read ({error.strerror or error})") from error
        found = bytes_sha256(data)
        if record.url != url or found != record.sha256:
            raise DamagedFileError(
                f"{path} has changed since it was downloaded on {record.date} "
                f"({len(data)} bytes, sha256 {found[:12]}…; recorded {record.size}, {record.sha256[:12]}…)"
            )
        return record, data

    def store(
        self,
        url: str,
        kind: str,
        data: bytes,
        *,
        version: str | None,
        date: str,
        status: int = 200,
        etag: str | None = None,
        final_url: str | None = None,
    ) -> Record:
        """Keep `data` and its record, atomically. Raises `OSError` when the directory cannot be written."""
        path = self.path(url, kind)
        record = Record(
            path=path,
            url=url,
            version=version,
            date=date,
            sha256=bytes_sha256(data),
            size=len(data),
            source=SOURCES.get(kind, kind),
            kind=kind,
            status=status,
            etag=etag,
            final_url=final_url,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, data)
        fields = {name: value for name, value in record.to_dict().items() if name != "path"}
        _write(_sidecar(path), (json.dumps(fields, indent=2) + "\n").encode())
        return record


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + SIDECAR)


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_record(path: Path) -> Record | None:
    """Record of the cached file `path`; None where there is none.

    Raises
    ------
    DamagedFileError
        The record is there but cannot be read.
    """
    sidecar = _sidecar(path)
    try:
        fields: Any = json.loads(sidecar.read_bytes())
        return Record(path=path, **fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"the record {sidecar} cannot be read ({error})") from error


def _sidecars(directory: Path, kind: str | None) -> Iterator[Path]:
    # Only files with a record of ours are ever listed or removed: the directory is the
    # user's choice and may hold other things.
    yield from sorted((directory / FOLDER).glob(f"{kind or '*'}/*{SIDECAR}"))


def list_cache(directory: Path) -> list[Record]:
    """List what was downloaded into `directory`, by kind and name; damaged records are left out."""
    records = []
    for sidecar in _sidecars(directory, None):
        path = sidecar.with_name(sidecar.name.removesuffix(SIDECAR))
        try:
            record = read_record(path)
        except DamagedFileError:
            continue
        if record is not None and path.is_file():
            records.append(record)
    return records


def clear_cache(directory: Path, kind: str | None = None) -> int:
    """Remove what was downloaded into `directory`; nothing else there is touched.

    Parameters
    ----------
    directory : Path
    kind : str, optional
        Only this kind (``"uniprot"``, ``"afdb"``); None for all.

    Returns
    -------
    int
        Number of downloads removed.
    """
    removed = 0
    for sidecar in _sidecars(directory, kind):
        sidecar.with_name(sidecar.name.removesuffix(SIDECAR)).unlink(missing_ok=True)
        sidecar.unlink(missing_ok=True)
        removed += 1
    for part in (directory / FOLDER).glob(f"{kind or '*'}/{LEFTOVERS}"):
        part.unlink(missing_ok=True)
    return removed
