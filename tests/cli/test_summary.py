"""The terminal's account of a run: the report's own words, 80 columns, nothing cut within a word."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

from mutscan.cli.console import make_console
from mutscan.cli.summary import print_summary
from mutscan.reports.digest import digest
from mutscan.reports.saved import read_run
from tests.fabricated import make_run, write_regions

REGION = (
    "superlongregionname of the DNA-binding domäne 亜鉛結合ループ and its neighbourhood up to the C-terminal "
    "extension"
)
POSITIONS = "94-112,241-245,280-290"


def summary(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    print_summary(read_run(folder), make_console(stream, width=80))
    return stream.getvalue()


def changed(folder: Path, **columns: str) -> Path:
    """Set columns of the scored rows."""
    table = pd.read_csv(folder / "variants.csv", dtype=str, keep_default_na=False)
    for column, value in columns.items():
        table.loc[table["status"] == "ok", column] = value
    table.to_csv(folder / "variants.csv", index=False)
    return folder


def flat(text: str) -> str:
    return " ".join(text.split())


def test_the_top_is_the_report_s(tmp_path, monkeypatch):
    folder = changed(make_run(tmp_path), flag="deleterious", p_deleterious="0.93")
    text = summary(folder, monkeypatch)
    account = digest(read_run(folder))
    assert flat(text).startswith(f"{account.headline} {account.remainder}")
    assert account.findings
    for finding in account.findings:
        # a sentence wraps within its column
        assert finding.variant in text
        for word in finding.sentence.split():
            assert word in text


def test_flag_and_probability_stand_in_the_table(tmp_path, monkeypatch):
    folder = changed(make_run(tmp_path), flag="uncertain", p_deleterious="0.57")
    text = summary(folder, monkeypatch)
    line = next(line for line in text.splitlines() if "uncertain  0.57" in line)
    assert re.match(r"[A-Z]\d+[A-Z] ", line)
    assert re.search(r"variant +verdict +p +drop z ", text)
    assert "Not calibrated" not in text
    bare = summary(make_run(tmp_path / "bare"), monkeypatch)
    assert "verdict  " not in bare
    assert "percentile" in bare


def test_no_word_of_a_region_is_cut(tmp_path, monkeypatch):
    folder = changed(make_run(tmp_path, name="タンパク質 αβγ"), z_score="-3.0")
    variants = pd.read_csv(folder / "variants.csv")["variant"].dropna()
    write_regions(
        folder, [(v, REGION, "domain", "UniProt", POSITIONS, 0.08, 5.0, 0.0, 0.0, True) for v in variants]
    )
    text = summary(folder, monkeypatch)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "\x1b" not in text
    region = {*re.findall(r"[\w-]+", REGION), "residues", "and"}
    assert "superlongregionname" in text
    for word in re.findall(r"[\w-]+", text):
        if len(word) > 3 and "superlongregionname".startswith(word):
            assert word in region
    # the positions of every region, whole, in each row of the table
    assert text.count("94-112") >= 5
    assert text.count("280-290") >= 5


def test_a_joint_mutant_of_many_fits(tmp_path, monkeypatch):
    folder = changed(
        make_run(tmp_path, count=2), variant=";".join(f"A{n}W" for n in range(10, 90, 5)), flag="deleterious"
    )
    text = summary(folder, monkeypatch)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "A85W" in text.replace(" ", "").replace("\n", "")
