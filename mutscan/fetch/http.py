"""One polite, patient and distrustful GET.

Polite: a User-Agent that names us, back-off with jitter, Retry-After obeyed. Patient: what
may pass (429, 5xx, a broken connection) is tried again, within a fixed total time.
Distrustful: status, length, compression and content are checked before anyone sees the bytes.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import random
import re
import ssl
import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

import httpx

from mutscan.errors import FetchError, MutscanError
from mutscan.files import largest_file, too_large
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

log = logging.getLogger(__name__)

USER_AGENT: Final = f"mutscan/{__version__} (python-httpx/{httpx.__version__})"
RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
ABSENT: Final = frozenset({204, 404, 410})
CONNECT_RETRIES: Final = 2
CONTENT_RETRIES: Final = 1
HELP: Final = "try again later, or give the protein as a structure or FASTA file"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often to try.

    Parameters
    ----------
    timeout : float, s
        Longest silence of a server, connecting included.
    retries : int
        Tries after the first.
    total : float, s
        Bound on everything done for one file: tries, waits and transfer.
    first_delay, longest_delay : float, s
        The waits double from the one to the other, give or take a quarter.
    sleep : callable
        What waits; tests hand in their own.
    """

    timeout: float = 30.0
    retries: int = 4
    total: float = 180.0
    first_delay: float = 0.5
    longest_delay: float = 20.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def delay(self, attempt: int) -> float:
        """Seconds to wait after the `attempt`-th try (from 1)."""
        return float(
            min(self.first_delay * 2.0 ** (attempt - 1), self.longest_delay) * random.uniform(0.75, 1.25)
        )


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A checked answer.

    Parameters
    ----------
    data : bytes
        Decompressed body.
    value : T, optional
        What `parse` made of it; None for an answer that says "there is none".
    status : int
    headers : httpx.Headers
    url : str
        Where redirects led.
    """

    data: bytes
    value: T | None
    status: int
    headers: httpx.Headers
    url: str


@dataclass(frozen=True, slots=True)
class FirstRows:
    """How much of an alignment or FASTA file is downloaded.

    Parameters
    ----------
    path : Path
        Gets whole rows only.
    rows : int
        Reading stops after so many.
    size : int
        Bytes; reading stops before a row that ends later.
    """

    path: Path
    rows: int
    size: int


class _FailedError(Exception):
    """One try failed; `retries` bounds how often this kind of failure is worth another."""

    def __init__(
        self,
        message: str,
        *,
        retries: float = math.inf,
        retry_after: float | None = None,
        code: str = "fetch_failed",
        help_text: str = HELP,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retries = retries
        self.retry_after = retry_after
        self.code = code
        self.help_text = help_text


def download(
    url: str,
    parse: Callable[[bytes], T],
    *,
    patience: Patience,
    absent_ok: bool = False,
    into: FirstRows | None = None,
) -> Answer[T]:
    """Get `url`, as often as it makes sense to try.

    Parameters
    ----------
    url : str
    parse : callable
        Makes a value of the bytes; its `ValueError` or `MutscanError` says that they are
        not what was expected.
    patience : Patience
    absent_ok : bool
        Take 204, 404 and 410 for an answer (its `value` is None) instead of an error.
    into : FirstRows, optional
        Write the body to a file, as far as is wanted; `parse` is then given no bytes.

    Raises
    ------
    FetchError
        Code ``not_found`` for 204, 404 and 410, else ``fetch_failed``.
    """
    deadline = time.monotonic() + patience.total
    encoding = "gzip" if into is None else "identity"
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": encoding}
    attempt = 0
    with _client(headers) as client:
        while True:
            attempt += 1
            try:
                return _try(client, url, parse, patience, deadline, absent_ok, into)
            except _FailedError as failure:
                tries = "" if attempt == 1 else f" (tried {attempt} times)"
                if attempt > min(patience.retries, failure.retries):
                    raise FetchError(
                        f"{url}: {failure.message}{tries}; {failure.help_text}", code=failure.code
                    ) from failure
                wait = max(patience.delay(attempt), failure.retry_after or 0.0)
                if time.monotonic() + wait >= deadline:
                    asked = (
                        f", and it asks to wait {failure.retry_after:.0f} s" if failure.retry_after else ""
                    )
                    raise FetchError(
                        f"{url}: {failure.message}{tries}{asked}, longer than the {patience.total:.0f} s "
                        f"allowed for one file; {failure.help_text}"
                    ) from failure
                log.info("%s: %s; trying again in %.1f s", url, failure.message, wait)
                patience.sleep(wait)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Trusted certificates; read once, because reading them is slow."""
    return httpx.create_ssl_context()


def _client(headers: dict[str, str]) -> httpx.Client:
    # This machine is never reached through a proxy, whatever the environment says.
    own = ("all://localhost", "all://127.0.0.1", "all://[::1]")
    direct: dict[str, httpx.BaseTransport | None] = dict.fromkeys(own)
    try:
        return httpx.Client(
            headers=headers, verify=_certificates(), follow_redirects=True, max_redirects=5, mounts=direct
        )
    except (ImportError, ValueError, OSError) as error:
        raise FetchError(
            f"the proxy or certificate settings of this environment cannot be used ({error}); "
            "look at HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE"
        ) from error


def _try(
    client: httpx.Client,
    url: str,
    parse: Callable[[bytes], T],
    patience: Patience,
    deadline: float,
    absent_ok: bool,
    into: FirstRows | None,
) -> Answer[T]:
    left = max(deadline - time.monotonic(), 0.001)
    try:
        with client.stream("GET", url, timeout=min(patience.timeout, left)) as response:
            final = str(response.url)
            if url.startswith("https:") and not final.startswith("https:"):
                raise _FailedError(f"redirected to {final}, which is not encrypted", retries=0)
            absent = response.status_code in ABSENT
            if response.status_code != 200:
                if not (absent and absent_ok):
                    raise _refused(response)
                # The reason is all a 404 holds; a page of any length will do.
                data = _text(response).encode()
                return Answer(data, None, response.status_code, response.headers, final)
            data = _body(response, deadline, patience) if into is None else b""
            if into is not None:
                _stream(response, deadline, patience, into)
            headers = response.headers
    except httpx.TimeoutException as error:
        raise _FailedError(f"no answer within {min(patience.timeout, left):.3g} s") from error
    except httpx.ConnectError as error:
        if "CERTIFICATE" in str(error).upper():
            raise _FailedError(
                f"the server's certificate is not trusted ({error})",
                retries=0,
                help_text="if your institution's proxy is in between, set SSL_CERT_FILE to its certificate",
            ) from error
        raise _FailedError(
            f"cannot connect ({error})",
            retries=CONNECT_RETRIES,
            help_text="check the network connection, or give the protein as a structure or FASTA file",
        ) from error
    except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise _FailedError(f"cannot be followed ({error})", retries=0) from error
    except httpx.HTTPError as error:
        raise _FailedError(f"the connection broke ({error or type(error).__name__})") from error
    try:
        return Answer(data, parse(data), 200, headers, final)
    except (ValueError, MutscanError) as error:
        raise _FailedError(f"not what was expected: {error}", retries=CONTENT_RETRIES) from error


def _refused(response: httpx.Response) -> _FailedError:
    status = response.status_code
    said = reason(_text(response))
    message = f"the server answered {status} {response.reason_phrase}".rstrip() + (
        f" ({said})" if said else ""
    )
    if status in ABSENT:
        return _FailedError(message, retries=0, code="not_found", help_text="check the name")
    if status in RETRIED:
        return _FailedError(message, retry_after=retry_after(response.headers))
    return _FailedError(message, retries=0)


def _text(response: httpx.Response, limit: int = 4096) -> str:
    """Beginning of an error page, as far as it comes."""
    data = b""
    try:
        for chunk in response.iter_bytes():
            data += chunk
            if len(data) >= limit:
                break
    except httpx.HTTPError as error:
        log.debug("%s: the error page broke off (%s)", response.url, error)
    return data[:limit].decode("utf-8", "replace")


def reason(text: str) -> str:
    """Extract what a service's JSON error page says, one line; empty when it is none."""
    try:
        page: Any = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(page, dict):
        return ""
    said = next((page[key] for key in ("messages", "message", "error", "detail") if page.get(key)), "")
    return " ".join(("; ".join(map(str, said)) if isinstance(said, list) else str(said)).split())[:200]


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that Retry-After asks for, given as a number or as a date; None when it does not."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        when = _date(text)
        if when is None:
            return None
        # Against the server's own clock where it tells it: ours may be wrong.
        now = _date(headers.get("date", "")) or datetime.now(UTC)
        seconds = (when - now).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _body(response: httpx.Response, deadline: float, patience: Patience) -> bytes:
    """Read the whole body, decompressed, or fail; never part of it."""
    raw = bytearray()
    limit = largest_file()
    for chunk in response.iter_raw():
        raw += chunk
        if len(raw) > limit:
            raise _FailedError(f"sends {too_large(limit)}", retries=0)
        if time.monotonic() > deadline:
            raise _FailedError(f"not finished after {patience.total:.3g} s ({len(raw)} bytes)", retries=0)
    stated = response.headers.get("content-length")
    if stated is not None and stated.isdigit() and int(stated) != len(raw):
        raise _FailedError(f"cut off: {len(raw)} of {stated} bytes received")
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("identity", ""):
        return bytes(raw)
    if encoding in ("gzip", "x-gzip"):
        return _gunzip(bytes(raw))
    raise _FailedError(f"compressed as {encoding!r}, which was not asked for", retries=0)


def _stream(response: httpx.Response, deadline: float, patience: Patience, into: FirstRows) -> None:
    """Write the first rows of the body to a file; all of it where it is no longer than wanted."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise _FailedError(f"compressed as {encoding!r}, which was not asked for", retries=0)
    received = rows = 0
    held = b""  # a row that may go on
    with into.path.open("wb") as file:
        for chunk in response.iter_raw():
            received += len(chunk)
            if time.monotonic() > deadline:
                raise _FailedError(f"not finished after {patience.total:.3g} s ({received} bytes)", retries=0)
            *whole, held = re.split(rb"(?<=\n)(?=>)", held + chunk)
            for row in whole:
                if rows == into.rows or file.tell() + len(row) > into.size:
                    return
                file.write(row)
                rows += 1
            if file.tell() + len(held) > into.size:
                return
        stated = response.headers.get("content-length")
        if stated is not None and stated.isdigit() and int(stated) != received:
            raise _FailedError(f"cut off: {received} of {stated} bytes received")
        if rows < into.rows:
            file.write(held)


def _gunzip(raw: bytes) -> bytes:
    """Decompress by hand: httpx would pass a stream that ends early without a word."""
    parts: list[bytes] = []
    room = limit = largest_file()
    while raw:
        member = zlib.decompressobj(wbits=31)
        try:
            part = member.decompress(raw, room + 1)
        except zlib.error as error:
            raise _FailedError(f"the compressed answer is damaged ({error})") from error
        room -= len(part)
        if room < 0:
            raise _FailedError(f"sends {too_large(limit)}", retries=0)
        if not member.eof:
            raise _FailedError("cut off: the compressed answer ends early")
        parts.append(part)
        raw = member.unused_data
    return b"".join(parts)


def read_json(data: bytes) -> Any:
    """Read JSON; the `ValueError` says what `data` is instead."""
    start = data.lstrip()[:200]
    if not start:
        raise ValueError("an empty answer instead of JSON")
    if start.startswith(b"<"):
        raise ValueError("a web page (HTML) instead of JSON; a proxy or login page may be in between")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no valid JSON ({error})") from error
