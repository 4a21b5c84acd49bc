"""The terminal's account of a run: the report's own words, 80 columns, nothing cut within a word."""

import io
import json
import re
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

from mutscan.cli.console import make_console
from mutscan.cli.summary import print_scan_summary, print_summary
from mutscan.evidence.limits import FITTED
from mutscan.reports.digest import digest
from mutscan.reports.render import render_report
from mutscan.reports.saved import read_run
from mutscan.reports.scan import read_scan
from mutscan.structures import read_structure
from tests.fabricated import make_run, write_regions
from tests.fabricated_scan import make_scan

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


def told_in_run_json(folder: Path, **said: object) -> Path:
    stored = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(stored | said))
    return folder


RULE = {"structural": {"score": "lddt_z", "threshold": 1.34}}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"calibration": RULE, "region_z": 3.417, "builder": []},
            "lDDT drop z of the whole protein at least 1.34; or a region's drop z above 3.42, which at most "
            "10 % of other substitutions pass, and mean drop at least 0.001",
        ),
        (
            {"region_z": 3.417},
            "a region's drop z above 3.42, which at most 10 % of other substitutions pass, and mean drop at "
            "least 0.001; or a region's measured drop z at least 3",
        ),
        (
            {"calibration": RULE, "builder": []},
            "lDDT drop z of the whole protein at least 1.34; or a region's drop z above the line of the "
            "protein, which",
        ),
        ({}, None),
        ({"calibration": RULE, "region_z": None, "arguments": {"predict": "probability"}}, None),
    ],
)
def test_the_line_of_the_background_is_said(tmp_path, monkeypatch, said, words):
    folder = told_in_run_json(make_run(tmp_path), **{"arguments": {"predict": "all"}, **said})
    text, html = flat(summary(folder, monkeypatch)), render_report(folder)
    if words is None:
        assert "Beyond background" not in text
        assert "Beyond background: " not in html
    else:
        assert "Beyond background" in text
        for word in words.split():
            assert word in text
        assert f"Beyond background: {words}" in unescape(html)


def test_a_run_says_that_its_protein_was_used_in_calibration(tmp_path, monkeypatch):
    plain = make_run(tmp_path / "plain")
    known = changed(make_run(tmp_path / "known"), notes=f"another note; {FITTED}")
    assert FITTED not in flat(summary(plain, monkeypatch))
    assert f"note: {FITTED}; verdicts may fit known labels better on it" in flat(summary(known, monkeypatch))
    assert f"<li>{FITTED}; " in render_report(known)


def test_a_column_without_a_value_is_left_out(tmp_path, monkeypatch):
    text = summary(changed(make_run(tmp_path), affected_regions="", flag_rule=""), monkeypatch)
    write_regions(tmp_path, [])
    without = summary(tmp_path, monkeypatch)
    assert "disturbed residues" in text
    assert "disturbed residues" not in without
    assert "—" not in without


@pytest.mark.parametrize("predicted", [True, False])
def test_a_scan_of_probabilities_has_no_column_of_drops(tmp_path, monkeypatch, project, predicted):
    globin = read_structure(project / "examples" / "globin" / "wild_type.cif")
    folder = make_scan(tmp_path / "scan", globin)
    if not predicted:
        table = pd.read_csv(folder / "positions.csv")
        table[["z_score_mean", "z_score_min"]] = None
        table.to_csv(folder / "positions.csv", index=False)
    stream = io.StringIO()
    print_scan_summary(read_scan(folder), make_console(stream, width=80))
    assert ("drop z mean" in stream.getvalue()) == predicted
    assert ("drop z worst" in stream.getvalue()) == predicted
    assert "p mean" in stream.getvalue()
    assert "note: 2 waters left out" in stream.getvalue()


@pytest.mark.parametrize("width", [60, 80])
def test_long_original_text_leaves_the_tables_readable(tmp_path, width):
    title = "NM_000546.6(TP53):c.524G>A (p.Arg175His) with_a_long_word_of_the_file_behind_it"
    folder = changed(make_run(tmp_path), input=title, flag="deleterious", p_deleterious="0.93")
    told_in_run_json(folder, arguments={"numbering": "author", "predict": "all"})
    stream = io.StringIO()
    print_summary(read_run(folder), make_console(stream, width=width))
    lines = stream.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    cut = [line.split()[0] for line in lines if "NM_" in line]
    assert cut == ["NM_000546.6(TP53):c.524…"] * 5
    # A variant of the table stands in one line with its numbers.
    told = digest(read_run(folder)).predicted
    assert told
    for one in told:
        assert any(line.startswith(f"{one.variant} ") and f" {one.values[0][1]} " in line for line in lines)
