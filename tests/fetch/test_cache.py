"""Files and their records: kept whole, found again, and nothing else ever touched."""

import hashlib
import json
import threading
from pathlib import Path

import pytest

from mutscan.fetch import Record, clear_cache, list_cache
from mutscan.fetch.cache import Cache, DamagedFileError
from mutscan.files import cache_dir

URL = "https://rest.uniprot.org/uniprotkb/P04637.json"
DATE = "2026-11-20T12:00:00Z"


def store(directory: Path, url: str = URL, kind: str = "uniprot", data: bytes = b"data") -> Record:
    return Cache(directory).store(url, kind, data, version="2026_04", date=DATE, etag='"x"')


def test_round_trip(tmp_path: Path) -> None:
    record = store(tmp_path)
    assert Cache(tmp_path).load(URL, "uniprot") == (record, b"data")
    assert record.source == "UniProt"
    assert record.sha256 == hashlib.sha256(b"data").hexdigest()
    assert record.to_dict()["path"] == str(record.path)
    assert json.loads(json.dumps(record.to_dict()))["version"] == "2026_04"


def test_never_stored(tmp_path: Path) -> None:
    assert Cache(tmp_path).load(URL, "uniprot") is None
    assert list_cache(tmp_path) == []
    assert clear_cache(tmp_path) == 0


def test_later_copy_replaces(tmp_path: Path) -> None:
    store(tmp_path)
    record = store(tmp_path, data=b"newer")
    assert Cache(tmp_path).load(URL, "uniprot") == (record, b"newer")
    assert len(list_cache(tmp_path)) == 1


def test_same_file_name_on_two_servers(tmp_path: Path) -> None:
    first = store(tmp_path)
    second = store(tmp_path, url="https://mirror.example/P04637.json", data=b"other")
    assert first.path != second.path
    loaded = Cache(tmp_path).load(URL, "uniprot")
    assert loaded is not None
    assert loaded[1] == b"data"


@pytest.mark.parametrize(
    "url",
    [
        "https://x/",
        "https://x/../../etc/passwd",
        "https://x/..",
        "https://x/a%2F..%2Fb",
        "https://x/" + "y" * 500,
    ],
)
def test_no_address_leads_out_of_the_cache(tmp_path: Path, url: str) -> None:
    record = store(tmp_path, url=url)
    assert record.path.parent == tmp_path / "downloads" / "uniprot"
    assert Cache(tmp_path).load(url, "uniprot") == (record, b"data")


def test_names_tell_what_they_are(tmp_path: Path) -> None:
    path = store(tmp_path, url="https://x/files/AF-P04637-F1-model_v6.cif.gz", kind="afdb").path
    assert path.name.startswith("AF-P04637-F1-model_v6-")
    assert path.name.endswith(".cif.gz")


def test_changed_file(tmp_path: Path) -> None:
    path = store(tmp_path).path
    path.write_bytes(b"dat")
    with pytest.raises(DamagedFileError, match=f"downloaded on {DATE}"):
        Cache(tmp_path).load(URL, "uniprot")


def test_record_of_another_file(tmp_path: Path) -> None:
    first = store(tmp_path).path
    second = store(tmp_path, url=URL + "?x").path
    second.with_name(second.name + ".record.json").replace(first.with_name(first.name + ".record.json"))
    with pytest.raises(DamagedFileError):
        Cache(tmp_path).load(URL, "uniprot")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1, "colour": "red"}', "\x00"])
def test_record_that_is_none(tmp_path: Path, text: str) -> None:
    path = store(tmp_path).path
    path.with_name(path.name + ".record.json").write_text(text)
    with pytest.raises(DamagedFileError, match="record"):
        Cache(tmp_path).load(URL, "uniprot")
    assert list_cache(tmp_path) == []
    assert clear_cache(tmp_path) == 1
    assert not path.exists()


def test_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = store(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store(tmp_path, data=b"newer")
    assert Cache(tmp_path).load(URL, "uniprot") == (record, b"data")
    assert list(record.path.parent.glob(".part-*")) == []


def test_many_at_once(tmp_path: Path) -> None:
    """Writers of one file never leave half of it, nor a record that vouches for another's bytes for long."""
    contents = [bytes([65 + i]) * 50_000 for i in range(6)]
    threads = [threading.Thread(target=store, args=(tmp_path,), kwargs={"data": data}) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    path = Cache(tmp_path).path(URL, "uniprot")
    assert path.read_bytes() in contents
    assert list(path.parent.glob(".part-*")) == []


def test_list_and_clear_by_kind(tmp_path: Path) -> None:
    store(tmp_path)
    store(tmp_path, url="https://x/a.cif", kind="afdb")
    store(tmp_path, url="https://x/b.cif", kind="afdb")
    assert [record.kind for record in list_cache(tmp_path)] == ["afdb", "afdb", "uniprot"]
    assert clear_cache(tmp_path, "afdb") == 2
    assert [record.kind for record in list_cache(tmp_path)] == ["uniprot"]
    assert clear_cache(tmp_path) == 1
    assert list_cache(tmp_path) == []


def test_clear_touches_nothing_else(tmp_path: Path) -> None:
    store(tmp_path)
    own = [
        tmp_path / "thesis.txt",
        tmp_path / "downloads" / "photo.jpg",
        tmp_path / "downloads/uniprot/mine.json",
    ]
    for path in own:
        path.write_text("mine")
    left_over = tmp_path / "downloads" / "uniprot" / ".x.1-abc.tmp"
    left_over.write_text("half")
    assert clear_cache(tmp_path) == 1
    assert all(path.is_file() for path in own)
    assert not left_over.exists()


def test_file_gone_but_record_there(tmp_path: Path) -> None:
    store(tmp_path).path.unlink()
    assert list_cache(tmp_path) == []
    with pytest.raises(DamagedFileError, match="cannot be read"):
        Cache(tmp_path).load(URL, "uniprot")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", "~/here")
    assert cache_dir() == tmp_path / "here"


@pytest.mark.parametrize("unset", [None, "", "  "])
def test_where_the_cache_is_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unset: str | None
) -> None:
    if unset is None:
        monkeypatch.delenv("MUTSCAN_CACHE_DIR")
    else:
        monkeypatch.setenv("MUTSCAN_CACHE_DIR", unset)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, appauthor: str(tmp_path / name))
    assert cache_dir() == tmp_path / "mutscan"
    assert not cache_dir().exists()
