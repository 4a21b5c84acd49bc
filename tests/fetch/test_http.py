"""One GET: what is tried again, what is not, how long, and what is never accepted."""

import email.utils
import gzip
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from mutscan.errors import FetchError
from mutscan.fetch.http import Patience, download, read_json, retry_after
from tests import fake_services as fake
from tests.fake_services import Reply, Service

OK = fake.json_reply({"answer": 42})
PATH = "/thing"


@pytest.fixture
def service() -> Iterator[Service]:
    with fake.running() as service:
        yield service


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def patience(waits: list[float]) -> Patience:
    return Patience(timeout=5.0, sleep=waits.append)


def get(service: Service, patience: Patience, **options: bool) -> object:
    return download(service.url + PATH, read_json, patience=patience, **options).value


def test_plain_answer(service: Service, patience: Patience, waits: list[float]) -> None:
    service.on(PATH, OK)
    assert get(service, patience) == {"answer": 42}
    assert waits == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_passing_trouble(service: Service, patience: Patience, waits: list[float], status: int) -> None:
    service.on(PATH, Reply(status, b"busy"), Reply(status, b"busy"), OK)
    assert get(service, patience) == {"answer": 42}
    assert len(service.requests) == 3
    first, second = waits
    assert 0.375 <= first <= 0.625
    assert 0.75 <= second <= 1.25


@pytest.mark.parametrize("status", [429, 503])
def test_trouble_without_end(service: Service, patience: Patience, waits: list[float], status: int) -> None:
    service.on(PATH, fake.json_reply({"messages": ["Too many", "requests"]}, status=status))
    with pytest.raises(FetchError) as caught:
        get(service, patience)
    assert caught.value.code == "fetch_failed"
    message = caught.value.message
    assert service.url + PATH in message
    assert f"answered {status}" in message
    assert "(Too many; requests)" in message
    assert "(tried 5 times)" in message
    assert "try again later" in message
    assert len(service.requests) == 5
    assert len(waits) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 451, 501])
def test_refused_is_refused(service: Service, patience: Patience, waits: list[float], status: int) -> None:
    service.on(PATH, fake.json_reply({"detail": "no such field"}, status=status))
    with pytest.raises(FetchError, match=rf"answered {status} .*\(no such field\)"):
        get(service, patience)
    assert len(service.requests) == 1
    assert waits == []


@pytest.mark.parametrize("status", [404, 410])
def test_absent(service: Service, patience: Patience, status: int) -> None:
    service.on(PATH, Reply(status, b"nothing here"))
    with pytest.raises(FetchError) as caught:
        get(service, patience)
    assert caught.value.code == "not_found"
    assert get(service, patience, absent_ok=True) is None
    assert len(service.requests) == 2


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_other_success_is_none(service: Service, patience: Patience, status: int) -> None:
    service.on(PATH, Reply(status, b"" if status == 204 else OK.body))
    with pytest.raises(FetchError, match=f"answered {status}"):
        get(service, patience)


# Retry-After


@pytest.mark.parametrize("asked", ["7", "7.0", " 7 "])
def test_waits_as_long_as_asked(service: Service, patience: Patience, waits: list[float], asked: str) -> None:
    service.on(PATH, Reply(429, b"", {"Retry-After": asked}), OK)
    assert get(service, patience) == {"answer": 42}
    assert waits == [7.0]


def test_waits_until_the_date_asked(service: Service, patience: Patience, waits: list[float]) -> None:
    until = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    service.on(PATH, Reply(503, b"", {"Retry-After": until}), OK)
    assert get(service, patience) == {"answer": 42}
    assert 27 <= waits[0] <= 31


def test_a_short_retry_after_does_not_shorten_the_back_off(
    service: Service, patience: Patience, waits: list[float]
) -> None:
    service.on(PATH, Reply(429, b"", {"Retry-After": "0"}), OK)
    assert get(service, patience) == {"answer": 42}
    assert waits[0] >= 0.375


def test_asked_to_wait_longer_than_anyone_would(
    service: Service, patience: Patience, waits: list[float]
) -> None:
    service.on(PATH, Reply(429, b"", {"Retry-After": "3600"}), OK)
    with pytest.raises(FetchError, match="asks to wait 3600 s, longer than the 180 s allowed"):
        get(service, patience)
    assert waits == []


def test_retry_after_is_read_against_the_servers_clock() -> None:
    headers = httpx.Headers(
        {"date": "Wed, 21 Oct 2015 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:12 GMT"}
    )
    assert retry_after(headers) == 12.0


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "Wed, 99 Oct 2015 07:28:12 GMT"])
def test_retry_after_that_says_nothing(text: str) -> None:
    assert retry_after(httpx.Headers({"retry-after": text})) is None


@pytest.mark.parametrize("text", ["-5", "Wed, 21 Oct 2015 07:28:12 GMT", "Wed, 21 Oct 2015 07:28:12 -0000"])
def test_retry_after_in_the_past(text: str) -> None:
    assert retry_after(httpx.Headers({"retry-after": text})) == 0.0


# Connections


def test_cut_off_body(service: Service, patience: Patience) -> None:
    service.on(PATH, Reply(200, OK.body, cut=5), OK)
    assert get(service, patience) == {"answer": 42}
    assert len(service.requests) == 2


def test_body_cut_off_every_time(service: Service, patience: Patience) -> None:
    service.on(PATH, Reply(200, OK.body, cut=5))
    with pytest.raises(FetchError, match=r"connection broke .*tried 5 times"):
        get(service, patience)


def test_cut_off_without_a_stated_length(service: Service, patience: Patience) -> None:
    """Nothing but the content can tell."""
    service.on(PATH, Reply(200, OK.body, cut=5, no_length=True), OK)
    assert get(service, patience) == {"answer": 42}


def test_compressed_answer(service: Service, patience: Patience) -> None:
    body = gzip.compress(OK.body[:4]) + gzip.compress(OK.body[4:])
    service.on(PATH, Reply(200, body, {"Content-Encoding": "gzip"}))
    assert get(service, patience) == {"answer": 42}
    assert service.requests[0][1]["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (gzip.compress(b"[1, 2]", mtime=0)[:-4], "ends early"),
        (b"no gzip at all", "is damaged"),
        (gzip.compress(b"[1, 2]", mtime=0) + b"more", "is damaged"),
    ],
)
def test_compressed_answer_that_is_damaged(
    service: Service, patience: Patience, body: bytes, said: str
) -> None:
    service.on(PATH, Reply(200, body, {"Content-Encoding": "gzip"}, no_length=True))
    with pytest.raises(FetchError, match=said):
        get(service, patience)
    assert len(service.requests) == 5


def test_compressed_in_a_way_nobody_asked_for(service: Service, patience: Patience) -> None:
    service.on(PATH, Reply(200, b"...", {"Content-Encoding": "br"}))
    with pytest.raises(FetchError, match="compressed as 'br'"):
        get(service, patience)


def test_answer_without_end(service: Service, patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTSCAN_MAX_FILE_MB", "1")
    service.on(PATH, Reply(200, b" " * 2**21))
    with pytest.raises(FetchError, match="more than 1 MB"):
        get(service, patience)
    service.on(PATH, Reply(200, gzip.compress(b" " * 2**21), {"Content-Encoding": "gzip"}))
    with pytest.raises(FetchError, match="more than 1 MB"):
        get(service, patience)
    assert len(service.requests) == 2


def test_connection_refused(patience: Patience, waits: list[float]) -> None:
    with socket.socket() as taken:  # bound but not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/thing"
        with pytest.raises(FetchError, match=r"cannot connect .*check the network connection") as caught:
            download(url, read_json, patience=patience)
    assert url in caught.value.message
    assert len(waits) == 2


def test_silent_server(service: Service, waits: list[float]) -> None:
    service.on(PATH, Reply(200, OK.body, wait=0.6))
    with pytest.raises(FetchError, match=r"no answer within 0\.1 s \(tried 2 times\)"):
        get(service, Patience(timeout=0.1, retries=1, sleep=waits.append))


def test_slow_once(service: Service, waits: list[float]) -> None:
    service.on(PATH, Reply(200, OK.body, wait=0.8), OK)
    assert get(service, Patience(timeout=0.3, sleep=waits.append)) == {"answer": 42}


def test_the_whole_is_bounded_however_busy_the_server_looks(service: Service) -> None:
    """Each byte comes in time, but they would take 20 s together."""
    service.on(PATH, Reply(200, b" " * 400, drip=0.05))
    start = time.monotonic()
    with pytest.raises(FetchError, match=r"not finished after 0\.5 s"):
        get(service, Patience(timeout=5.0, total=0.5))
    assert time.monotonic() - start < 3.0


def test_waits_count_as_well(service: Service, waits: list[float]) -> None:
    service.on(PATH, Reply(500))
    with pytest.raises(FetchError, match="longer than the 1 s allowed"):
        get(
            service,
            Patience(
                total=1.0, first_delay=0.1, retries=50, sleep=lambda s: (waits.append(s), time.sleep(s))
            ),
        )
    assert sum(waits) < 1.0


def test_untrusted_certificate(
    service: Service, patience: Patience, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", refuse)
    with pytest.raises(FetchError, match=r"certificate is not trusted .* SSL_CERT_FILE"):
        get(service, patience)
    assert waits == []


# Redirects


def test_redirect(service: Service, patience: Patience) -> None:
    service.on(PATH, Reply(302, b"", {"Location": "/elsewhere"}))
    service.on("/elsewhere", OK)
    answer = download(service.url + PATH, read_json, patience=patience)
    assert answer.value == {"answer": 42}
    assert answer.url == service.url + "/elsewhere"


def test_redirect_in_a_circle(service: Service, patience: Patience, waits: list[float]) -> None:
    service.on(PATH, Reply(302, b"", {"Location": PATH}))
    with pytest.raises(FetchError, match="cannot be followed"):
        get(service, patience)
    assert waits == []


def test_redirect_to_nowhere(service: Service, patience: Patience) -> None:
    service.on(PATH, Reply(302, b"", {"Location": "ftp://127.0.0.1/thing"}))
    with pytest.raises(FetchError, match="cannot be followed"):
        get(service, patience)


def test_redirect_out_of_encryption(patience: Patience, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: object, request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https":
            return httpx.Response(302, headers={"Location": "http://localhost/thing"})
        return httpx.Response(200, content=OK.body)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    with pytest.raises(FetchError, match="not encrypted"):
        download("https://localhost/thing", read_json, patience=patience)


# Content


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (fake.HTML.body, "a web page"),
        (b"", "an empty answer"),
        (b"  \n", "an empty answer"),
        (OK.body[:-2], "no valid JSON"),
        (b"\xff\xfe\x00", "no valid JSON"),
        (b"[" * 100_000, "no valid JSON"),
    ],
)
def test_something_else_than_json(service: Service, patience: Patience, body: bytes, said: str) -> None:
    service.on(PATH, Reply(200, body))
    with pytest.raises(FetchError, match=f"not what was expected: .*{said}"):
        get(service, patience)
    assert len(service.requests) == 2  # a second look is enough


def test_maintenance_page_that_passes(service: Service, patience: Patience) -> None:
    service.on(PATH, fake.HTML, OK)
    assert get(service, patience) == {"answer": 42}


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http://[::1", "no address"])
def test_address_that_is_none(patience: Patience, url: str) -> None:
    with pytest.raises(FetchError, match="cannot be followed"):
        download(url, read_json, patience=patience)


def test_certificates_are_checked() -> None:
    from mutscan.fetch.http import _certificates

    assert _certificates().verify_mode == ssl.CERT_REQUIRED


def test_delays_double_up_to_a_limit() -> None:
    patience = Patience(first_delay=1.0, longest_delay=8.0)
    for attempt, expected in enumerate([1, 2, 4, 8, 8, 8], start=1):
        assert 0.75 * expected <= patience.delay(attempt) <= 1.25 * expected
