"""Searching the user's own sequences for relatives."""

import gzip
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mutscan.alignments import search
from mutscan.alignments.database import SequenceDatabase
from mutscan.alignments.profile import GAP, UNKNOWN_CODE
from mutscan.alignments.search import (
    Relative,
    a3m_row,
    encoded,
    mmseqs_relatives,
    search_relatives,
    write_a3m,
)
from mutscan.errors import MissingDependencyError, UsageError
from mutscan.progress import Silent
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
@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_many_queries_in_one_call(database: Path, packed: bool) -> None:
    if packed:
        data = gzip.compress(database.read_bytes())
        database = database.with_name("packed")  # no ending to go by
        database.write_bytes(data)
    queries = {"first": QUERY, "a name": ALONE, "last": LONGER}
    work = database.parent / "work"
    answers = {
        name: encoded([queries[name], *(each.row for each in relatives)], len(queries[name]))
        for name, relatives in mmseqs_relatives(queries, database, work, 2)
    }
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
        next(mmseqs_relatives({"a": QUERY}, tmp_path / "empty.fasta", tmp_path / "work", 1))


def test_without_mmseqs_it_says_what_to_install(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "mmseqs_program", lambda: None)
    with pytest.raises(MissingDependencyError, match="conda install -c bioconda mmseqs2"):
        next(mmseqs_relatives({"a": QUERY}, database, tmp_path / "work", 1))


# One protein ---------------------------------------------------------------------------------------


class Heard(Silent):
    """Progress that is written down."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps = 0

    def start(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


def hmmer(database: Path, work: Path, query: str = QUERY, **changed: Any) -> list[Relative]:
    settings: dict[str, Any] = {"tool": "hmmer", "iterations": 1, "e_value": 1e-3, "threads": 2}
    settings |= {"progress": Silent()} | changed
    return search_relatives(query, SequenceDatabase(database), work, **settings)


def test_hmmer_aligns_with_the_query(database: Path, tmp_path: Path) -> None:
    found = {relative.name: relative for relative in hmmer(database, tmp_path / "work")}
    assert [*found] == ["sp|P1|CLOSE", "shorter", "longer"]
    assert found["sp|P1|CLOSE"].row == CLOSE
    longer = found["longer"]
    assert QUERY[10:60] + "aaaa" + QUERY[60:110] in longer.row  # ends may reach a little further
    assert LONGER[longer.first - 1 : longer.last] == longer.row.replace("-", "").upper()
    assert len(encoded([longer.row], 120)[0]) == 120
    assert hmmer(database, tmp_path / "work", ALONE) == []


def test_blocks_and_threads_change_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hmmer(database, tmp_path / "work", threads=1)
    monkeypatch.setattr(search, "_BLOCK", 300)
    assert hmmer(database, tmp_path / "work", threads=3) == whole


def test_e_values_are_for_the_whole_database(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distant = "".join(
        letter if place % 5 < 2 else made_up(1, 100 + place) for place, letter in enumerate(QUERY)
    )
    with database.open("a") as stream:
        stream.write(f">distant\n{distant}\n")

    def names(e_value: float) -> set[str]:
        return {one.name for one in hmmer(database, tmp_path / "work", e_value=e_value)}

    limit = next(10.0**power for power in range(-30, 3) if "distant" in names(10.0**power))
    with database.open("a") as stream:
        for number in range(2000):
            stream.write(f">more{number}\n{made_up(40, 1000 + number)}\n")
    monkeypatch.setattr(search, "_BLOCK", 3000)
    assert "distant" not in names(limit)


def test_a_second_iteration_searches_with_a_profile(tmp_path: Path) -> None:
    # A chain of relatives: the query recognises the next ones, their profile those after them.
    generator = np.random.default_rng(7)
    family, step = [], list(QUERY)
    for _ in range(14):
        for place in generator.choice(len(step), 20, replace=False):
            step[place] = generator.choice(list(STANDARD))
        family.append("".join(step))
    database = tmp_path / "family.fasta"
    database.write_text("".join(f">f{number}\n{one}\n" for number, one in enumerate(family)))
    heard = Heard()
    once = {one.name for one in hmmer(database, tmp_path / "work")}
    more = hmmer(database, tmp_path / "work", iterations=6, progress=heard)
    assert once < {one.name for one in more}
    assert len(heard.stages) < 6  # it ends when nothing new is found
    assert {len(encoded([one.row], len(QUERY))[0]) for one in more} == {len(QUERY)}


@needs_mmseqs
@pytest.mark.slow
def test_auto_is_mmseqs_where_it_is_installed(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = hmmer(database, tmp_path / "work", tool="auto")
    monkeypatch.setattr(search, "_search", None)  # HMMER's
    found = {one.name: one for one in hmmer(database, tmp_path / "work", tool="auto")}
    assert {*found} == {"sp|P1|CLOSE", "shorter", "longer"}
    assert found["longer"].row == "-" * 10 + QUERY[10:60] + "aaaa" + QUERY[60:110] + "-" * 10
    assert (found["longer"].first, found["longer"].last) == (21, 124)
    assert not (tmp_path / "work").exists()


def test_without_mmseqs_auto_is_hmmer(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "mmseqs_program", lambda: None)
    assert hmmer(database, tmp_path / "work", tool="auto") == hmmer(database, tmp_path / "work")
    with pytest.raises(MissingDependencyError, match="MMseqs2 is not installed"):
        hmmer(database, tmp_path / "work", tool="mmseqs")
    with pytest.raises(UsageError, match="--tool blast: expected auto, hmmer, mmseqs"):
        hmmer(database, tmp_path / "work", tool="blast")


def test_the_file_has_the_protein_first(database: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.a3m"
    write_a3m(out, "me", QUERY, hmmer(database, tmp_path / "work"))
    lines = out.read_text().splitlines()
    assert lines[:4] == [">me", QUERY, ">sp|P1|CLOSE/1-120", CLOSE]
    assert len(lines) == 8
