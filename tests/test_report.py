"""The report and the summary: from saved files alone, every text escaped, nothing loaded."""

import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fabricated import make_run
from rich.console import Console

from mutscan.cli.summary import print_summary
from mutscan.errors import UsageError
from mutscan.report.digest import digest, number
from mutscan.report.render import render_report
from mutscan.report.saved import read_run, site_positions
from mutscan.report.tracks import MAX_POINTS, Scale, common_scale, draw_track

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in {"meta", "link", "path", "rect", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text += data


def test_the_page_is_well_formed_and_loads_nothing(tmp_path):
    html = render_report(make_run(tmp_path))
    page = Page(html)
    assert not page.open
    assert "script" not in page.tags
    assert "img" not in page.tags
    loading = {"src", "srcset", "action", "poster", "data", "xlink:href"}
    assert not [a for a in page.attributes if a[1] in loading]
    targets = [value for _, name, value in page.attributes if name == "href"]
    assert targets
    assert all(value.startswith(("#", "data:")) for value in targets)
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert {value[1:] for value in targets if value.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_every_row_is_in_the_table_and_every_scored_variant_has_one_section(tmp_path):
    run = read_run(make_run(tmp_path, count=6))
    page = Page(render_report(tmp_path))
    sections = [i for i in page.ids if re.fullmatch(r"v\d+", i)]
    assert len(sections) == 6
    for text in run.variants["input"]:
        assert text in page.text
    assert "expected K at position 43" in page.text
    assert page.tags.count("svg") == 12


def test_a_variant_given_twice_has_two_rows_and_one_section(tmp_path):
    make_run(tmp_path, count=3)
    csv = tmp_path / "variants.csv"
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([*lines, lines[1]]) + "\n")
    page = Page(render_report(tmp_path))
    assert len([i for i in page.ids if re.fullmatch(r"v\d+", i)]) == 3
    assert len([a for a in page.attributes if a[1] == "href" and a[2] == "#v1"]) >= 2


def test_text_from_outside_is_escaped(tmp_path):
    make_run(
        tmp_path,
        name=HOSTILE,
        note=HOSTILE,
        carried={HOSTILE: HOSTILE},
        bad=[{"input": HOSTILE, "status": "failed", "error_code": "bad_variant", "message": HOSTILE}],
    )
    html = render_report(tmp_path)
    assert "<script" not in html
    assert "alert(1)" in html
    page = Page(html)
    assert page.text.count(HOSTILE) >= 5


def test_a_spreadsheet_formula_stays_text(tmp_path):
    make_run(tmp_path, carried={"note": "=SUM(A1)"})
    assert "=SUM(A1)" in Page(render_report(tmp_path)).text


def test_a_name_of_ten_thousand_letters_does_not_fill_the_page(tmp_path):
    make_run(tmp_path, name="Q" * 10_000, count=2)
    html = render_report(tmp_path)
    assert len(html) < 100_000


@pytest.mark.parametrize("structure", [True, False])
def test_measured_columns_are_dashes_not_zeros_where_nothing_was_built(tmp_path, structure):
    make_run(tmp_path, count=2, structure=structure)
    page = Page(render_report(tmp_path))
    labels = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-label"]
    assert any(label.startswith("Measured") for label in labels) is structure
    assert ("By the built structure" in page.text) is structure
    assert "0.0000" not in page.text


def test_a_run_without_any_scored_row_still_has_a_report(tmp_path):
    make_run(tmp_path, count=0)
    page = Page(render_report(tmp_path))
    assert "No row could be scored" in page.text
    assert "wild_type_mismatch" in page.text


def test_five_hundred_variants_stay_a_reasonable_file(tmp_path):
    make_run(tmp_path, length=60, count=500)
    html = render_report(tmp_path)
    assert len(html.encode()) < 4e6
    page = Page(html)
    assert len([i for i in page.ids if re.fullmatch(r"v\d+", i)]) == 500
    # sections are folded when there are many
    assert ("details", "open", "") not in page.attributes


def test_limits_and_methods_are_said(tmp_path):
    text = Page(render_report(make_run(tmp_path, count=1))).text
    for words in (
        "no evidence that the variant is harmless",
        "insensitive to point mutations",
        "Not calibrated",
    ):
        assert words in text
    assert "exponent 3)" in text


def test_the_report_is_the_same_each_time(tmp_path):
    make_run(tmp_path)
    assert render_report(tmp_path) == render_report(tmp_path)


def test_the_report_needs_no_torch(tmp_path):
    make_run(tmp_path, count=1)
    code = (
        "import sys; from pathlib import Path; from mutscan.report.render import render_report; "
        f"render_report(Path({str(tmp_path)!r})); "
        "print(*[m for m in ('torch', 'transformers', 'openmm', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "variants.csv").unlink(), "holds no variants.csv"),
        (lambda f: (f / "run.json").write_text("{"), "damaged run folder"),
        (lambda f: (f / "run.json").write_text("[]"), "expected a JSON object"),
        (lambda f: (f / "variants.csv").write_text("a,b\n1,2\n"), "lacks the columns input"),
        (lambda f: (f / "residues.parquet").write_bytes(b"PAR1"), "residues.parquet: cannot be read"),
    ],
)
def test_a_spoilt_run_folder_is_named(tmp_path, spoil, words):
    make_run(tmp_path, count=1)
    spoil(tmp_path)
    with pytest.raises(UsageError, match=re.escape(words)):
        render_report(tmp_path)


def test_not_a_folder():
    with pytest.raises(UsageError, match="no such run folder"):
        read_run(Path("nowhere"))


# Saved runs ---------------------------------------------------------------------------------------


def test_words_like_na_stay_words(tmp_path):
    run = read_run(make_run(tmp_path, count=1, carried={"gene": "NA", "empty": ""}))
    assert run.carried == ["gene", "empty"]
    assert list(run.variants["gene"][:1]) == ["NA"]
    assert run.json_rows()[0]["gene"] == "NA"


def test_json_rows_have_numbers_and_nulls(tmp_path):
    rows = read_run(make_run(tmp_path, count=1)).json_rows()
    json.dumps(rows, allow_nan=False)
    assert rows[0]["n_substitutions"] == 1
    assert isinstance(rows[0]["n_substitutions"], int)
    assert isinstance(rows[0]["tm_predicted"], float)
    assert rows[0]["p_deleterious"] is None
    assert rows[1]["tm_predicted"] is None
    assert rows[1]["variant"] is None


def test_site_positions():
    assert site_positions("") == []
    assert site_positions("12;248") == [12, 248]


# Digest -------------------------------------------------------------------------------------------


def test_the_digest_ranks_from_most_to_least_disruptive(tmp_path):
    run = read_run(make_run(tmp_path, count=12))
    account = digest(run)
    z = [float(dict(s.values)["z"]) for s in account.predicted]
    lddt = [float(dict(s.values)["lDDT"]) for s in account.measured]
    assert len(z) == len(lddt) == 5
    assert z == sorted(z)
    assert lddt == sorted(lddt)
    assert z[0] == round(run.variants["z_score"].min(), 2)
    assert run.variants["variant"][account.predicted[0].number - 1] == account.predicted[0].variant
    assert not account.calibrated
    assert account.counts == {"ok": 12, "skipped": 1, "failed": 1}


def test_number():
    assert number(None) == number(float("nan")) == number("") == "—"
    assert number(np.float64(0.25), 1) == "0.2"


# Tracks -------------------------------------------------------------------------------------------


def track(values, **changes):
    values = np.asarray(values, dtype=float)
    settings = {
        "positions": np.arange(1, len(values) + 1),
        "values": values,
        "affected": np.zeros(len(values), dtype=bool),
        "sites": [2],
        "scale": Scale(0.0),
    }
    return draw_track("Title", "predicted", **(settings | changes))


def test_a_profile_becomes_a_line():
    drawn = track([1.0, 0.5, 0.0])
    assert drawn.line == "M0.0 0.0h0L500.0 50.0L1000.0 100.0"
    assert drawn.sites == ("500.0",)
    assert "lowest 0.0000 at 3" in drawn.summary


def test_unknown_values_are_gaps():
    assert track([1.0, np.nan, 1.0, 1.0]).line.count("M") == 2
    assert track([np.nan, np.nan]) is None


def test_a_long_protein_shows_the_lowest_of_each_stretch():
    values = np.ones(5000)
    values[3333] = 0.2
    drawn = track(values)
    assert drawn.binned == 9
    assert drawn.line.count("L") <= MAX_POINTS
    assert " 80.0" in drawn.line


def test_affected_residues_become_bands():
    affected = np.zeros(11, dtype=bool)
    affected[[2, 3, 10]] = True
    assert track(np.ones(11), affected=affected).bands == (("150.0", "200.0"), ("950.0", "100.0"))


def test_ticks_are_round_inside_and_exact_at_the_ends():
    drawn = track(np.ones(147))
    assert [tick.label for tick in drawn.x_ticks] == ["1", "50", "100", "147"]
    assert [tick.label for tick in track([1.0]).x_ticks] == ["1"]
    assert [tick.label for tick in track([1.0], scale=Scale(0.95)).y_ticks] == ["1", "0.975", "0.95"]


@pytest.mark.parametrize("lowest", [0.0, 0.049, 0.3, 0.899, 0.9, 0.95, 0.999, 1.0])
def test_the_scale_holds_every_value(lowest):
    scale = common_scale(lowest)
    assert scale.low <= lowest
    assert scale.low < 1
    assert 0 <= scale.y(lowest) <= 100
    assert scale.y(1.0) == 0


# Terminal summary ---------------------------------------------------------------------------------


def summary(folder: Path) -> str:
    stream = io.StringIO()
    print_summary(read_run(folder), Console(file=stream, width=80, markup=False, highlight=False))
    return stream.getvalue()


def test_the_summary_fits_80_columns_and_needs_no_colour(tmp_path):
    text = summary(make_run(tmp_path, name="Q" * 300, note="long " * 60))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    for words in (
        "mutscan-mini",
        "openmm",
        "8 ok",
        "1 failed",
        "Most disruptive",
        "Not calibrated",
        "variants.csv",
    ):
        assert words in text
    run = read_run(tmp_path)
    first = run.variants.sort_values("z_score")["variant"].iloc[0]
    assert first in text


def test_the_summary_cannot_steer_the_terminal(tmp_path):
    bad = [
        {"input": "\x1b[2Jx\ry", "status": "failed", "error_code": "bad_variant", "message": "m\x07\n[red]n"}
    ]
    text = summary(make_run(tmp_path, bad=bad, count=1))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]n" in text


def test_the_summary_of_a_run_that_scored_nothing(tmp_path):
    text = summary(make_run(tmp_path, count=0))
    assert "wild type has F" in text
    assert "Most disruptive" not in text


def test_a_variant_that_moves_nothing_does_not_stand_out(tmp_path):
    make_run(tmp_path, count=3)
    csv = tmp_path / "variants.csv"
    table = pd.read_csv(csv, dtype=str, keep_default_na=False)
    table.loc[table["status"] == "ok", ["z_score", "lddt_measured_mean"]] = ["0.5", "0.999999"]
    table.to_csv(csv, index=False)
    account = digest(read_run(tmp_path))
    assert account.predicted == account.measured == ()
    assert "No variant stands out" in Page(render_report(tmp_path)).text
