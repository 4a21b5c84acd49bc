"""A wild type or structure that comes through a pipe: read once, known by its content."""

import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mutscan.errors import MutscanError, StructureError, UsageError
from mutscan.hashes import bytes_sha256
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.structures import write_structure
from tests.peptides import helix

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY"
FASTA = f">one two\n{SEQUENCE}\n".encode()

pytestmark = pytest.mark.skipif(os.name == "nt", reason="named pipes of POSIX")


@pytest.fixture(scope="module")
def pdb(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pipe") / "x.pdb"
    write_structure(helix(SEQUENCE), path)
    return path.read_bytes()


def pipe(path: Path, data: bytes) -> str:
    os.mkfifo(path)

    def send() -> None:
        try:
            path.write_bytes(data)
        except BrokenPipeError:  # who refuses it does not read to the end
            return

    threading.Thread(target=send, daemon=True).start()
    return str(path)


@pytest.mark.parametrize("name", ["wild", "wild.pdb", "wild.fa"])
@pytest.mark.parametrize("packed", [False, True])
def test_structure_and_fasta(tmp_path: Path, pdb: bytes, name: str, packed: bool) -> None:
    for data in (pdb, FASTA):
        if (data is FASTA) == name.endswith(".pdb"):
            continue
        sent = gzip.compress(data, mtime=0) if packed else data
        (tmp_path / name).unlink(missing_ok=True)
        protein = resolve_wild_type(pipe(tmp_path / name, sent), offline=True)
        assert protein.sequence == SEQUENCE
        assert protein.name == ("one" if data is FASTA else "wild")
        assert (protein.structure is None) == (data is FASTA)
        assert protein.records[-1]["sha256"] == bytes_sha256(sent)


@pytest.mark.parametrize("name", ["wild", "wild.txt"])
def test_a_file_without_an_ending_is_known_by_its_content(tmp_path: Path, pdb: bytes, name: str) -> None:
    for data in (pdb, gzip.compress(FASTA, mtime=0)):
        (tmp_path / name).write_bytes(data)
        protein = resolve_wild_type(str(tmp_path / name), offline=True)
        assert protein.sequence == SEQUENCE
        assert (protein.structure is None) == (data is not pdb)
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(StructureError, match=f"{name}: no atoms found; expected PDB"):
        resolve_wild_type(str(tmp_path / name), offline=True)


def test_structure_of_an_option(tmp_path: Path, pdb: bytes) -> None:
    (tmp_path / "x.fa").write_bytes(FASTA)
    protein = resolve_wild_type(str(tmp_path / "x.fa"), structure=pipe(tmp_path / "pipe", pdb), offline=True)
    assert protein.structure is not None
    assert protein.records[-1]["sha256"] == bytes_sha256(pdb)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", StructureError, "pipe: is empty"),
        (b"\x1f\x8b\x08 broken", StructureError, "pipe: damaged gzip"),
        (b"hello", StructureError, "pipe: no atoms found"),
        (b">a\n" + b"A" * 2**21, UsageError, "pipe: sends more than 1 MB"),
    ],
)
def test_what_a_pipe_must_not_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, error: type[MutscanError], words: str
) -> None:
    monkeypatch.setenv("MUTSCAN_MAX_FILE_MB", "1")
    with pytest.raises(error, match=words):
        resolve_wild_type(pipe(tmp_path / "pipe", data), offline=True)


@pytest.mark.parametrize("from_file", [False, True])
def test_stdin_of_a_command(pdb: bytes, tmp_path: Path, from_file: bool) -> None:
    (tmp_path / "x.pdb").write_bytes(pdb)
    with (tmp_path / "x.pdb").open("rb") as stream:
        given = {"stdin": stream} if from_file else {"input": pdb}
        done = subprocess.run(
            [sys.executable, "-m", "mutscan", "check", "/dev/stdin", "A1W", "--offline", "--builder", "none"],
            **given, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"stdin: 20 residues" in done.stderr
