"""Which files of a folder are alignments."""

from pathlib import Path

import pytest

from mutscan.alignments.files import alignments_in
from mutscan.errors import UsageError


def test_alignments_are_found_by_stem_whatever_their_ending(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("A.a3m", "deep/B.v2.STO.gz", "C.txt", ".D.a3m", "README"):
        (tmp_path / name).write_text("")
    assert alignments_in(tmp_path) == {"A": tmp_path / "A.a3m", "B.v2": tmp_path / "deep/B.v2.STO.gz"}


def test_a_folder_without_alignments_and_two_of_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder; expected one of alignments"):
        alignments_in(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no alignment; expected files named as the proteins"):
        alignments_in(tmp_path)
    for name in ("A.a3m", "A.fasta.gz"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="are both named A; keep one"):
        alignments_in(tmp_path)
