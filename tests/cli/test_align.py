"""`mutscan align`: what it writes, and what it refuses."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mutscan.alignments import search
from mutscan.cli.app import app
from tests import fake_services as fake
from tests.fake_services import ACCESSION, SEQUENCE

RELATIVE = SEQUENCE[:5] + "W" + SEQUENCE[6:]


@pytest.fixture(autouse=True)
def _hmmer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "mmseqs_program", lambda: None)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "database.fasta").write_text(f">relative of it\n{RELATIVE}\n>other\n{'MKV' * 20}\n")
    (tmp_path / "protein.fasta").write_text(f">mine\n{SEQUENCE}\n")
    return tmp_path


def align(*arguments: str):
    return CliRunner().invoke(app, ["align", *arguments])


def test_default_file_and_words(folder: Path) -> None:
    result = align("protein.fasta", "--database", "database.fasta")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert result.stderr == "1 relative of mine, aligned with it in mine.a3m\n"
    assert (folder / "mine.a3m").read_text() == f">mine\n{SEQUENCE}\n>relative/1-60\n{RELATIVE}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["database.fasta", "mine.a3m", "protein.fasta"]


def test_options(folder: Path) -> None:
    result = align(
        *("protein.fasta", "--database", "database.fasta", "--out", "x.a3m", "--iterations", "2"),
        *("--tool", "hmmer", "--evalue", "1e-90", "--jobs", "1", "--quiet"),
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert (folder / "x.a3m").read_text() == f">mine\n{SEQUENCE}\n"  # nothing is that close


def test_an_accession_needs_its_sequence_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake.running() as service:
        service.protein()
        monkeypatch.setenv("MUTSCAN_UNIPROT_URL", service.url)
        monkeypatch.setenv("MUTSCAN_AFDB_URL", service.url)
        assert align(ACCESSION, "--database", "database.fasta").exit_code == 0
        assert service.paths == [f"/uniprotkb/{ACCESSION}.json"]
    assert (folder / f"{ACCESSION}.a3m").read_text().startswith(f">{ACCESSION}\n{SEQUENCE}\n>relative/")
    assert align(ACCESSION, "--database", "database.fasta", "--offline").exit_code == 0  # from the cache
    result = align("P04637", "--database", "database.fasta", "--offline")
    assert result.exit_code == 5


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing option '--database'"),
        (["--database", "none.fasta"], 2, "none.fasta: no such file; expected FASTA"),
        (["--database", "dna.fasta"], 2, "dna.fasta, line 1: chr1 is a nucleotide sequence"),
        (["--database", "database.fasta", "--evalue", "0"], 2, "--evalue 0: expected more than 0"),
        (["--database", "database.fasta", "--tool", "blast"], 2, "--tool blast: expected"),
        (["--database", "database.fasta", "--tool", "mmseqs"], 6, "conda install -c bioconda mmseqs2"),
        (["--database", "database.fasta", "--out", "none/x.a3m"], 2, "expected a file name in an existing"),
        (["--database", "database.fasta", "--iterations", "0"], 2, "--iterations"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    folder: Path, arguments: list[str], code: int, said: str
) -> None:
    (folder / "dna.fasta").write_text(">chr1\nACGTNNACGT\n")
    before = sorted(folder.iterdir())
    result = align("protein.fasta", *arguments)
    assert result.exit_code == code, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert sorted(folder.iterdir()) == before
