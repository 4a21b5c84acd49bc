"""Reading sequence files of any size: what is refused, and that memory does not grow with them."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from mutscan.alignments import database as room
from mutscan.alignments.database import SequenceDatabase
from mutscan.errors import UsageError
from mutscan.progress import Silent
from tests.alignments.test_search import Heard


def read(path: Path) -> list[str]:
    return [record.id for record in SequenceDatabase(path).records(Silent(), "reading")]


@pytest.mark.parametrize("packed", [False, True])
def test_every_record_once(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "sequences"
    data = b"\xef\xbb\xbf>sp|A|A_HUMAN first\r\nMKT\r\nayi\r\n>b\nMK*\n"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = list(SequenceDatabase(path).records(Silent(), "reading"))
    assert [(one.id, one.sequence) for one in found] == [("sp|A|A_HUMAN", "MKTAYI"), ("b", "MK")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "x.fa: contains no sequence; expected FASTA"),
        (b"\n\n", "x.fa: contains no sequence"),
        (b"MKT\n", "x.fa, line 1: expected a header line starting with '>', read 'MKT'"),
        (b">a\nMKT\n\n>b\n>c\nMKT\n", "x.fa, line 4: b has no sequence"),
        (b">a\nMKT\n>b\nMK1\n", "x.fa, line 4: '1' is not an amino-acid code"),
        (b">a\nMKT\n>b\nMK*T\n", "x.fa, line 4: a stop"),
        (b"> chr1\nACGTNNACGT\n>b\nACGUU\n>c\nMKT\n", "x.fa, line 1: chr1 is a nucleotide sequence"),
        (b">a\nMKT\n>b\nMKV\n>c x\nMKW\n>b y\nMKY\n", "x.fa, line 7: b is also the name .* in line 3"),
        (b"\x00\x01\x02", "x.fa: is a binary file; expected FASTA"),
        (b"\x1f\x8b\x08not gzip", "x.fa: damaged gzip file"),
        (gzip.compress(b">a\nMKT\n" * 5, mtime=0)[:-9], "x.fa: damaged gzip file"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "x.fa"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=said):
        read(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file; expected FASTA"):
        SequenceDatabase(tmp_path / "x.fa")
    with pytest.raises(UsageError, match="cannot be read"):
        SequenceDatabase(tmp_path)


def test_a_protein_of_few_letters_is_none_of_dna(tmp_path: Path) -> None:
    path = tmp_path / "x.fa"
    path.write_text(">antifreeze\nAATAATAATAAT\n>b\nMKT\n>c\nMKV\n")
    assert read(path) == ["antifreeze", "b", "c"]


def test_names_are_compared_over_borders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fa"
    names = [f"n{number}" for number in range(20)]
    path.write_text("".join(f">{name}\nMKT\n" for name in names))
    monkeypatch.setattr(room, "_TOGETHER", 3)
    assert read(path) == names
    with path.open("a") as stream:
        stream.write(">n4\nMKT\n")
    with pytest.raises(UsageError, match="line 41: n4 is also the name of the sequence in line 9"):
        read(path)


def test_memory_does_not_grow_and_progress_does(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    text = "".join(generator.choice(list("ACDEFGHIKLMNPQRSTVWY"), 10_000))

    def peak(records: int) -> int:
        path = tmp_path / f"{records}.fa"
        with path.open("w") as stream:
            for number in range(records):
                stream.write(f">n{number}\n{text}\n")
        heard = Heard()
        tracemalloc.start()
        count = sum(1 for _ in SequenceDatabase(path).records(heard, "reading"))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == records
        assert heard.stages == [("reading", -(-path.stat().st_size // 1_000_000))]
        assert heard.steps in (heard.stages[0][1], heard.stages[0][1] - 1)
        return highest

    peak(200)
    assert peak(1500) < 1.2 * peak(200)
