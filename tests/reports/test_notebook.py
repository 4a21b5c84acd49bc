"""A run in a notebook: the HTML it shows, and what py3Dmol is told of a mutant."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mutscan
from mutscan.errors import UsageError
from mutscan.pipeline import Comparison
from mutscan.reports.compared import compared_headline
from mutscan.reports.notebook import plan_html
from mutscan.structures import read_structure
from tests.built_run import made_up_run
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch
from tests.fabricated_scan import make_scan
from tests.made_up_comparison import make_comparison
from tests.places import ROOT

HOSTILE = "<script>alert('1')</script>"


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a piece of HTML whose tags all close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self.feed(text)
        opened = [tag for tag, _ in self.tags if tag != "img"]
        assert text.count("</") == len(opened)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1][0] in ("th", "td") and data.strip():
            self.rows[-1][-1] += data
        self.text += f"{data}\n"

    def asks_for(self) -> list[str]:
        """What the notebook would load from elsewhere."""
        named = [attrs.get("src") or attrs.get("href") or "data:" for _, attrs in self.tags]
        return [value for value in named if not value.startswith("data:")]

    def column(self, name: str) -> list[str]:
        """Cells of a column of the table."""
        (head, *rows) = self.rows
        return [row[head.index(name)] for row in rows]


def calls(run: mutscan.Run, variant: str | None = None) -> list[tuple[str, str]]:
    """Calls of the 3Dmol.js viewer, name and arguments, as the page would make them."""
    page = run.view(variant).write_html()
    return re.findall(r"viewer_?\w*\.(\w+)\((.*?)\);\n", page)


@pytest.fixture
def run(tmp_path: Path) -> mutscan.Run:
    made_up_run(tmp_path / "run")
    return mutscan.Run(tmp_path / "run")


def test_both_structures_and_the_site_are_shown(run: mutscan.Run) -> None:
    variants = run.variants
    chosen = variants.sort_values("p_deleterious", ascending=False)["variant"].iloc[-1]
    told = calls(run, chosen)
    assert [name for name, _ in told].count("addModel") == 2
    residues = run.residues.query("variant == @chosen")
    position = int(variants.set_index("variant").loc[chosen, "positions"])
    site = int(residues.set_index("position").loc[position, "structure_number"])
    sticks = [json.loads(f"[{words}]") for name, words in told if name == "addStyle"]
    assert [(where["model"], where["resi"]) for where, _ in sticks] == [(1, [site]), (0, [site])]
    coloured = [json.loads(f"[{words}]") for name, words in told if name == "setStyle"]
    affected = residues.query("affected")["structure_number"].astype(int).tolist()
    assert [where["resi"] for where, _ in coloured if "resi" in where] == ([affected] if affected else [])


def test_a_mutant_that_was_not_built_is_named(run: mutscan.Run) -> None:
    with pytest.raises(UsageError, match="no structure of W1A; built: "):
        run.view("W1A")


def test_a_run_shows_its_worst_variants_and_its_picture(tmp_path: Path) -> None:
    run = mutscan.Run(make_run(tmp_path / "run", count=14, calibrated=True))
    text = run._repr_html_()
    page = Page(text)
    assert page.asks_for() == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "style"}
    worst = run.variants.sort_values("p_deleterious", ascending=False)
    assert page.column("variant") == worst["variant"].head(10).tolist()
    assert set(page.column("structure")) <= {"disturbed", "not disturbed", "—"}
    assert page.column("verdict")[0] == "likely deleterious"
    told = [float(cell) for cell in page.column("P(deleterious)")]
    assert told == pytest.approx(worst["p_deleterious"].head(10).tolist(), abs=0.006)
    assert "10 of 14 scored variants are shown; all are in" in page.text
    assert "are likely deleterious" in page.text
    (source,) = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
        assert picture.format == "PNG"
        assert picture.width > 600
    assert run._repr_html_() == text, "the same each time"


def test_text_of_the_user_is_no_markup(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", name=HOSTILE, count=2)
    page = Page(mutscan.Run(run)._repr_html_())
    assert "script" not in {tag for tag, _ in page.tags}
    assert HOSTILE in page.text
    batch = make_batch(tmp_path / "batch", names=[HOSTILE])
    page = Page(mutscan.BatchRun(batch)._repr_html_())
    assert "script" not in {tag for tag, _ in page.tags}
    assert HOSTILE in page.text


def test_a_scan_shows_its_heat_map(tmp_path: Path) -> None:
    protein = read_structure(ROOT / "examples" / "globin" / "wild_type.cif")
    page = Page(mutscan.Run(make_scan(tmp_path / "scan", protein))._repr_html_())
    (alt,) = [attrs["alt"] for tag, attrs in page.tags if tag == "img"]
    assert alt.startswith("Every substitution of")


def test_many_proteins_show_their_table(tmp_path: Path) -> None:
    run = mutscan.BatchRun(make_batch(tmp_path / "batch", proteins=12, failed=2))
    text = run._repr_html_()
    page = Page(text)
    assert page.asks_for() == []
    assert "batch: 12 proteins (" in page.text
    assert "2 failed" in page.text
    assert "10 of 12 proteins are shown; all are in" in page.text
    counts = [int(cell) for cell in page.column("deleterious")]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]


def test_results_are_short_where_they_are_printed(project: Path) -> None:
    globin = project / "examples" / "globin" / "wild_type.cif"
    plan = mutscan.check(str(globin), ["H97A", "A1G", "<b>"], builder="none", offline=True)
    assert repr(plan) == "<Plan wild_type: 1 planned, 2 failed>"
    assert repr(plan.wild_type) == "<WildType wild_type: 147 residues, structure wild_type>"
    assert repr(plan.wild_type.structure) == "<Structure wild_type, chain A: 147 residues, 1209 atoms>"
    page = Page(plan._repr_html_())
    assert page.column("status") == ["planned", "failed", "failed"]
    assert page.column("variant")[0] == "H97A"
    assert page.asks_for() == []


def test_a_comparison_shows_its_scores() -> None:
    made = make_comparison()
    comparison = Comparison(**vars(made))
    assert repr(comparison) == f"<Comparison: {compared_headline(made)}>"
    page = Page(comparison._repr_html_())
    assert page.column("predicted") == ["0.610", "0.580", "0.750"]
    assert page.column("measured") == ["0.720", "0.700", "0.650"]


def test_scores_of_structures_print_no_arrays() -> None:
    ca = np.cumsum(np.ones((30, 3)), axis=0)
    for scores in (mutscan.scores.score_structures(ca, ca), mutscan.scores.tm_score(ca, ca)):
        assert "array" not in repr(scores)
        assert "tm_score=1.0" in repr(scores)


def test_a_run_without_scores_or_tables_shows_what_there_is(tmp_path: Path) -> None:
    run = mutscan.Run(make_run(tmp_path / "run", count=0))
    text = run._repr_html_()
    assert "No row could be scored." in text
    assert "<table" not in text
    (run.directory / "variants.csv").unlink()
    assert run._repr_html_() is None
    (tmp_path / "run.json").write_text('{"shard": "1/3"}')
    part = mutscan.BatchRun(tmp_path)
    assert part._repr_html_() is None
    assert repr(part) == f"<BatchRun {tmp_path}: part 1/3 of a job>"
    assert repr(mutscan.BatchRun(tmp_path / "none")).endswith(": not finished>")
    (tmp_path / "run.json").write_text('{"proteins": {"ok": 2, "failed": 1}, "counts": {"ok": 7}}')
    assert repr(part) == f"<BatchRun {tmp_path}: proteins: 2 ok, 1 failed; rows: 7 ok>"


def test_a_long_text_is_cut() -> None:
    text = plan_html("told", [("Q" * 99, "ok", "A1C", "predict")])
    assert max(map(len, Page(text).column("input"))) == 60
