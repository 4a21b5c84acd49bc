"""3Dmol.js, the script that shows structures in the report: one pinned file, kept in the cache.

It is what py3Dmol itself puts into a page. Its wheel holds no script, so the file comes from
the address that py3Dmol names, once; what is not the very bytes of that release is refused.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from mutscan import files
from mutscan.errors import FetchError
from mutscan.fetch.cache import Cache, DamagedFileError
from mutscan.fetch.http import Patience, download
from mutscan.hashes import bytes_sha256

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

KIND: Final = "3dmol"
VERSION: Final = "2.5.5"
URL: Final = f"https://cdn.jsdelivr.net/npm/3dmol@{VERSION}/build/3Dmol-min.js"
SHA256: Final = "f7cc78921ae72e7623e89cdd111434f58c2efddd2ffda1cd212644b406fb8016"
"""Of ``build/3Dmol-min.js`` in the npm package 3dmol 2.5.5."""

VARIABLE: Final = "MUTSCAN_3DMOL_URL"
"""Environment variable: a mirror of the file, or ``off`` never to ask for it."""

BRIEFLY: Final = Patience(timeout=5.0, retries=1, total=12.0)
"""A report can do without; a run does not wait long for it."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """The script, or why there is none.

    Parameters
    ----------
    script : str
        Empty when it cannot be had.
    note : str
        Where it is from, or what keeps it away.
    """

    script: str
    note: str


def get_viewer(
    cache_dir: Path | None = None, *, offline: bool = False, patience: Patience = BRIEFLY
) -> Viewer:
    """Get 3Dmol.js from the cache, else from the network; never fails, but says what went wrong.

    Parameters
    ----------
    cache_dir : Path, optional
        Default: `mutscan.files.cache_dir`.
    offline : bool
        Look in the cache only.
    patience : Patience
    """
    cache = Cache(cache_dir if cache_dir is not None else files.cache_dir())
    try:
        kept = cache.load(URL, KIND)
        if kept is not None:
            return _viewer(kept[1])
    except (DamagedFileError, ValueError) as error:
        log.warning("%s; it is not used", error)
    source = os.environ.get(VARIABLE, "").strip() or URL
    if source == "off":
        return _without(f"{VARIABLE} is set to off")
    if offline:
        return _without("it is not in the cache, and --offline forbids the network")
    try:
        answer = download(source, _checked, patience=patience)
    except FetchError as error:
        return _without(error.message.split("; ")[0])
    date = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    final = None if answer.url == URL else answer.url
    try:
        cache.store(URL, KIND, answer.data, version=VERSION, date=date, final_url=final)
    except OSError as error:
        log.warning("%s: 3Dmol.js cannot be kept (%s)", cache.directory, error.strerror or error)
    return _viewer(answer.data)


def _checked(data: bytes) -> bytes:
    found = bytes_sha256(data)
    if found != SHA256:
        raise ValueError(f"not 3Dmol.js {VERSION} (sha256 {found[:12]}…, expected {SHA256[:12]}…)")
    return data


def _viewer(data: bytes) -> Viewer:
    return Viewer(_checked(data).decode("utf-8"), f"3Dmol.js {VERSION}")


def _without(reason: str) -> Viewer:
    log.info("the report is made without 3Dmol.js: %s", reason)
    return Viewer("", f"3Dmol.js was not available when this page was made: {reason}")
