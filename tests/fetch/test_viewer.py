"""3Dmol.js: fetched once, the very bytes or none, and never a reason to fail."""

import hashlib

import pytest

from mutscan.fetch import Patience, clear_cache, get_viewer, list_cache
from mutscan.fetch.viewer import URL, VERSION
from tests import fake_services as fake

SCRIPT = b"globalThis.$3Dmol = {};"
QUICK = Patience(timeout=2.0, retries=1, total=4.0, sleep=lambda _: None)


@pytest.fixture
def service(monkeypatch):
    monkeypatch.setattr("mutscan.fetch.viewer.SHA256", hashlib.sha256(SCRIPT).hexdigest())
    with fake.running() as running:
        monkeypatch.setenv("MUTSCAN_3DMOL_URL", f"{running.url}/3Dmol-min.js")
        running.on("/3Dmol-min.js", fake.Reply(body=SCRIPT))
        yield running


def test_it_is_fetched_once_and_kept(service, tmp_path):
    first = get_viewer(tmp_path, patience=QUICK)
    again = get_viewer(tmp_path, offline=True)
    assert first.script == again.script == SCRIPT.decode()
    assert VERSION in first.note
    assert service.paths == ["/3Dmol-min.js"]
    (record,) = list_cache(tmp_path)
    assert (record.kind, record.version, record.url) == ("3dmol", VERSION, URL)
    assert record.sha256 == hashlib.sha256(SCRIPT).hexdigest()
    assert clear_cache(tmp_path, "3dmol") > 0
    assert get_viewer(tmp_path, offline=True).script == ""


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (fake.Reply(body=SCRIPT + b" "), "not 3Dmol.js"),
        (fake.Reply(status=404), "404"),
        (fake.Reply(body=SCRIPT, cut=5), "5 bytes"),
    ],
)
def test_anything_else_is_refused_and_said(service, tmp_path, reply, words):
    service.on("/3Dmol-min.js", reply)
    found = get_viewer(tmp_path, patience=QUICK)
    assert found.script == ""
    assert words in found.note
    assert list_cache(tmp_path) == []


def test_a_file_that_changed_in_the_cache_is_fetched_again(service, tmp_path):
    get_viewer(tmp_path, patience=QUICK)
    list_cache(tmp_path)[0].path.write_bytes(b"alert(1)")
    assert get_viewer(tmp_path, offline=True).script == ""
    assert get_viewer(tmp_path, patience=QUICK).script == SCRIPT.decode()


def test_off_and_offline_ask_for_nothing(service, tmp_path, monkeypatch):
    assert "--offline" in get_viewer(tmp_path, offline=True).note
    monkeypatch.setenv("MUTSCAN_3DMOL_URL", "off")
    assert "off" in get_viewer(tmp_path).note
    assert service.paths == []
