"""Where a protein's relatives come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutscan.alignments.source import relatives_for, relatives_in
from mutscan.structures import WildType

PROTEIN = WildType("protein", "MKTAYIAKQRQISFVKSHFS")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "some.a3m"
    path.write_text(">protein/3-20\nTAYIAKQRQISFVKSHFS\n>other\nTAYIAKQRQITFVKTHFT\n")
    return path


@pytest.mark.parametrize("name", ["auto", "library"])
def test_the_library_alone_is_no_alignment(name: str) -> None:
    assert relatives_for(PROTEIN, name) is None


def test_a_file_is_told_by_its_name_or_another_and_the_part_it_covers(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = relatives_for(PROTEIN, part)
    assert found is not None
    assert str(found) == "some.a3m 3-20"
    assert found.profile.sequences.tolist() == [0.0] * 2 + [2.0] * 18
    assert found.describe()["effective"] == 1.0
    assert str(relatives_in(part, PROTEIN, source="AlphaFold DB")) == "AlphaFold DB 3-20"
    monkeypatch.setenv("HOME", str(part.parent))
    assert str(relatives_for(PROTEIN, "~/some.a3m")) == "some.a3m 3-20"
    whole = part.with_name("whole.fasta")
    whole.write_text(f">a\n{PROTEIN.sequence}\n>b\n{PROTEIN.sequence.replace('S', 'T')}\n")
    assert str(relatives_for(PROTEIN, whole)) == "whole.fasta"
