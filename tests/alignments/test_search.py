"""Searching the user's own sequences for relatives."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from mutscan.alignments import search
from mutscan.alignments.search import GAP, UNKNOWN_CODE, a3m_row, encoded, mmseqs_alignments
from mutscan.errors import MissingDependencyError
from mutscan.residues import STANDARD

needs_mmseqs = pytest.mark.skipif(shutil.which("mmseqs") is None, reason="MMseqs2 is not installed here")


def made_up(length: int, seed: int) -> str:
    generator = np.random.default_rng(seed)
    return "".join(generator.choice(list(STANDARD), length))


QUERY, ALONE = made_up(120, 1), made_up(90, 2)
CLOSE = QUERY[:40] + "W" + QUERY[41:]
LONGER = made_up(20, 3) + QUERY[10:60] + "AAAA" + QUERY[60:110] + made_up(20, 4)
SHORTER = QUERY[:50] + QUERY[56:]
DATABASE = {"sp|P1|CLOSE": CLOSE, "longer": LONGER, "shorter": SHORTER} | {
    f"other{seed}": made_up(150, seed) for seed in range(10, 40)
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "my sequences.fasta"
    path.write_text("".join(f">{name} a protein\tof mine\n{seq}\n" for name, seq in DATABASE.items()))
    return path


def letters(row: np.ndarray) -> str:
    return "".join((STANDARD + "X-")[code] for code in row)


def test_row_of_an_a3m_file() -> None:
    assert a3m_row("KT-AY", "RTG-Y", 2, 8) == "-RTg-Y---"
    assert a3m_row("MKT", "M.t", 1, 3) == "M-T"


def test_codes_leave_out_what_is_inserted() -> None:
    rows = encoded(["MKT", "mkM-xyB", "---"], 3)
    assert letters(rows.reshape(-1)) == "MKTM-X---"
    assert (rows[1, 2], rows[2, 0]) == (UNKNOWN_CODE, GAP)
    assert encoded([], 3).shape == (0, 3)


@needs_mmseqs
@pytest.mark.parametrize("packed", [False, True])
def test_many_queries_in_one_call(database: Path, packed: bool) -> None:
    if packed:
        data = gzip.compress(database.read_bytes())
        database = database.with_name("packed")  # no ending to go by
        database.write_bytes(data)
    queries = {"first": QUERY, "a name": ALONE, "last": LONGER}
    work = database.parent / "work"
    answers = dict(mmseqs_alignments(queries, database, work, 2))
    assert [*answers] == [*queries]
    assert letters(answers["a name"][0]) == ALONE
    assert answers["a name"].shape == (1, 90)
    found = [letters(row) for row in answers["first"]]
    assert found[0] == QUERY
    assert set(found[1:]) == {
        CLOSE,
        "-" * 10 + QUERY[10:110] + "-" * 10,
        QUERY[:50] + "-" * 6 + QUERY[56:],
    }
    assert len(answers["last"]) == 4  # itself twice, CLOSE and SHORTER
    assert not work.exists()


@needs_mmseqs
def test_a_failure_says_what_mmseqs_said(tmp_path: Path) -> None:
    (tmp_path / "empty.fasta").write_text("")
    with pytest.raises(MissingDependencyError, match=r"mmseqs createdb failed \(.*look at"):
        next(mmseqs_alignments({"a": QUERY}, tmp_path / "empty.fasta", tmp_path / "work", 1))


def test_without_mmseqs_it_says_what_to_install(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "mmseqs_program", lambda: None)
    with pytest.raises(MissingDependencyError, match="conda install -c bioconda mmseqs2"):
        next(mmseqs_alignments({"a": QUERY}, database, tmp_path / "work", 1))
