"""The page of a comparison and its summary: true to the comparison, harmless whatever names say."""

import base64
import hashlib
import io
import re
from html import unescape
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from mutscan.cli.console import make_console
from mutscan.cli.summary import print_comparison
from mutscan.reports.compare_page import render_comparison
from mutscan.reports.compared import compared_facts, compared_headline, compared_scores
from tests.made_up_comparison import PAIRS, A, B, make_comparison

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Tags, attributes and text of a page, and its alignment."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.units: list[str] = []
        self._deep = 0
        self._script = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._script = tag == "script"
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if self._deep or ("class", "unit") in attrs:
            if not self._deep:
                self.units.append("")
            self._deep += tag == "div"

    def handle_endtag(self, tag):
        self._script = False
        self._deep -= tag == "div" and self._deep > 0

    def handle_data(self, data):
        if self._script:
            return
        self.text += data
        if self._deep:
            self.units[-1] += data


def rows_of(page: Page) -> tuple[str, str, str]:
    """The three rows of the alignment, put together again."""
    lines = [unit.strip("0123456789").split("\n") for unit in page.units]
    return tuple("".join(line[place] for line in lines) for place in (0, 1, 2))


def test_the_page_loads_nothing_and_runs_no_script_but_its_own():
    html = render_comparison(make_comparison())
    page = Page(html)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashed = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{hashed}'; style-src" in unescape(html)
    assert (len(scripts), page.tags.count("script")) == (1, 3)  # and two that hold data
    loaded = [value for _, name, value in page.attributes if name in ("src", "href", "srcset", "data")]
    assert len(loaded) > 5
    assert all(value.startswith(("#", "data:")) for value in loaded)
    assert "@import" not in html
    assert "url(" not in html
    assert html == render_comparison(make_comparison())


def test_the_alignment_holds_every_residue_once_and_pairs_what_is_paired():
    first, marks, second = rows_of(Page(render_comparison(make_comparison())))
    assert first.replace("-", "") == A
    assert second.replace("-", "") == B
    assert len(first) == len(second) == len(marks)
    pairs, a, b = [], -1, -1
    for one, mark, other in zip(first, marks, second, strict=True):
        a, b = a + (one != "-"), b + (other != "-")
        if "-" not in (one, other):
            pairs.append((a, b))
            assert mark == ("|" if one == other else "·")
        else:
            assert mark == " "
    assert tuple(pairs) == PAIRS


def test_units_are_numbered_in_both_sequences():
    page = Page(render_comparison(make_comparison()))
    starts = [(re.match(r"\d*", unit)[0], re.search(r"\d*$", unit)[0]) for unit in page.units]
    assert starts[0] == ("1", "1")
    first, _, second = rows_of(page)
    assert starts[1] == (
        str(1 + len(first[:10].replace("-", ""))),
        str(1 + len(second[:10].replace("-", ""))),
    )


def test_matrices_show_the_distances():
    comparison = make_comparison()
    page = Page(render_comparison(comparison))
    images = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    shapes = []
    for image in images:
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(image.split(",")[1])))
        shapes.append(pixels.shape[:2])
    assert shapes == [(len(A),) * 2, (len(B),) * 2, (len(A),) * 2]
    # no coordinates: see-through grey, in row and column (the picture's first row is the last residue)
    first = matplotlib.image.imread(io.BytesIO(base64.b64decode(images[0].split(",")[1])))[::-1]
    assert np.all(first[2, :, 3] < 0.5)
    assert first[5, 6, 3] == 1


def test_a_long_protein_stays_a_small_page():
    length = 1201
    ca = np.cumsum(np.random.default_rng(0).normal(0, 2, (length, 3)), axis=0)
    comparison = make_comparison(
        sequence_a="A" * length, length_a=length, ca_a=ca, name_a="Q" * 10_000, name_b="W" * 10_000
    )
    html = render_comparison(comparison)
    assert len(html) < 2_500_000
    assert "Q" * 600 not in html


def test_without_structures_the_page_says_so():
    page = Page(render_comparison(make_comparison(structures=False)))
    assert "img" not in page.tags
    assert "not measured without two structures" in page.text
    assert "Coloured by predicted lDDT" in page.text
    assert page.text.count("—") >= 3
    assert "measured lDDT" not in page.text


def test_nothing_aligned_is_a_page_too():
    comparison = make_comparison()
    comparison.residues = comparison.residues.iloc[:0]
    page = Page(render_comparison(comparison))
    assert "No residue of the two is aligned" in page.text
    assert rows_of(page)[0].replace("-", "") == A


def test_hostile_names_are_text():
    html = render_comparison(
        make_comparison(name_a=HOSTILE, name_b="=SUM(A1)", notes=(HOSTILE,), model=HOSTILE)
    )
    assert "<script>alert" not in html
    page = Page(html)
    assert page.tags.count("script") == 3
    assert page.text.count(HOSTILE) >= 5
    assert "=SUM(A1)" in page.text


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            (0.72, 0.7, 147, 150),
            "one and other have the same fold: TM-score 0.72 by the length of one (147 residues), 0.70 by "
            "the length of other (150), measured; predicted 0.61 and 0.58.",
        ),
        (
            (0.72, 0.72, 147, 147),
            ": TM-score 0.72 by the length of either (147 residues), measured; predicted",
        ),
        (
            (0.35, 0.81, 147, 60),
            "one and other share a fold over the length of other only: TM-score 0.35 by the length of one "
            "(147 residues), 0.81 by the length of other (60), measured",
        ),
        ((0.81, 0.35, 60, 147), "share a fold over the length of one only"),
        ((0.2, 0.21, 147, 140), "are no more similar than random proteins"),
        ((0.2, 0.4, 147, 60), "are similar in parts at most"),
        ((0.496, 0.55, 147, 140), "have the same fold: TM-score 0.50 by the length of one (147 residues)"),
        ((0.494, 0.55, 147, 140), "only: TM-score 0.49 by the length of one (147 residues)"),
        (
            (0.0204, 0.9999, 147, 3),
            "No fold is judged for one and other, because other has only 3 residues: TM-score 0.02 by the "
            "length of one (147 residues), 1.00 by the length of other (3), measured",
        ),
        ((0.9, 0.9, 29, 29), "because other has only 29 residues"),
        ((0.9, 0.9, 30, 30), "have the same fold"),
    ],
)
def test_the_headline_names_the_scores_it_judges_by(scores, said):
    names = ("tm_measured", "tm_measured_b", "resolved_a", "resolved_b")
    assert said in compared_headline(make_comparison(**dict(zip(names, scores, strict=True))))


def test_the_headline_without_structures_is_of_the_predicted_scores():
    lengths = {"length_a": 140, "length_b": 150}
    assert compared_headline(make_comparison(structures=False, **lengths)) == (
        "one and other probably have the same fold: TM-score 0.61 by the length of one (140 residues), 0.58 "
        "by the length of other (150), predicted, not measured without two structures."
    )
    assert "because one has only 14 residues" in compared_headline(make_comparison(structures=False))


def test_a_length_in_a_label_is_the_one_that_was_divided_by():
    comparison = make_comparison(length_a=147, resolved_a=140)
    assert compared_scores(comparison)[:3] == (
        ("TM-score, by all 147 residues of one", "0.610", "—"),
        ("TM-score, by the 140 resolved residues of one", "—", "0.720"),
        ("TM-score, by all 15 residues of other", "0.580", "0.700"),
    )
    assert "(140 residues)" in compared_headline(comparison)
    facts = compared_facts(comparison)
    assert (
        facts[0]
        == "11 pairs of residues aligned, out of 140 of one and 15 of other (TM-align of the structures)"
    )
    assert facts[2:] == ("140 of 147 residues of one have coordinates",)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [(0, "0 pairs of residues aligned, out of"), (1, "1 pair of residues aligned, out of 14 of one and 15")],
)
def test_how_many_pairs_are_aligned_out_of_how_many(pairs, said):
    facts = compared_facts(make_comparison(n_aligned=pairs, identity=float(pairs)))
    assert facts[0].startswith(said)
    assert facts[1:] == (("1 of 1 aligned residues identical, RMSD 1.50 Å",) if pairs else ())


def test_matrices_say_where_to_look():
    ca = np.zeros((40, 3))
    ca[:, 0] = 3.8 * np.arange(40)
    moved = ca.copy()
    moved[30:] += [6.0, 0.0, 0.0]
    same = {"sequence_a": "A" * 40, "sequence_b": "A" * 40, "length_a": 40, "length_b": 40}
    residues = pd.DataFrame(
        {"position_a": range(1, 41), "position_b": range(1, 41), "lddt_predicted": 1.0, "lddt_measured": 1.0}
    )
    for other, said in (
        (moved, "Largest change: residues 1-30 against 31-40, 6.0 Å farther apart."),
        (2 * ca[::-1] - ca[::-1], "No distance changes by more than 0.5 Å."),
    ):
        page = Page(render_comparison(make_comparison(ca_a=ca, ca_b=other, residues=residues, **same)))
        assert said in page.text
    assert "−0.5 Å, closer0+0.5 Å, farther" in page.text.replace("\n", "")


def test_the_terminal_says_what_the_page_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    comparison = make_comparison(name_a="Hämoglobin α " * 9, name_b="二つ目のタンパク質" * 8)
    stream = io.StringIO()
    print_comparison(comparison, make_console(stream, width=80))
    text = stream.getvalue()
    assert "\x1b" not in text
    from rich.cells import cell_len

    assert max(map(cell_len, text.splitlines())) <= 80
    for words in ("0.720", "0.610", "11 pairs", "one thing worth knowing"):
        assert words in text
    short = make_comparison()
    stream = io.StringIO()
    print_comparison(short, make_console(stream, width=80))
    assert compared_headline(short) in " ".join(stream.getvalue().split())
    assert compared_headline(short) in Page(render_comparison(short)).text
