"""The page of a comparison and its summary: true to the comparison, harmless whatever names say."""

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from mutscan.cli.console import make_console
from mutscan.cli.summary import print_comparison
from mutscan.reports.compare_page import render_comparison
from mutscan.reports.compared import compared_headline
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
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if self._deep or ("class", "unit") in attrs:
            if not self._deep:
                self.units.append("")
            self._deep += tag == "div"

    def handle_endtag(self, tag):
        self._deep -= tag == "div" and self._deep > 0

    def handle_data(self, data):
        self.text += data
        if self._deep:
            self.units[-1] += data


def rows_of(page: Page) -> tuple[str, str, str]:
    """The three rows of the alignment, put together again."""
    lines = [unit.strip("0123456789").split("\n") for unit in page.units]
    return tuple("".join(line[place] for line in lines) for place in (0, 1, 2))


def test_the_page_loads_nothing_and_runs_nothing():
    html = render_comparison(make_comparison())
    page = Page(html)
    assert "script" not in page.tags
    assert "default-src 'none'" in html
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
    assert "<script" not in html
    page = Page(html)
    assert page.text.count(HOSTILE) >= 5
    assert "=SUM(A1)" in page.text


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({"tm_measured": 0.72}, "have the same fold: TM-score 0.72 measured, 0.61 predicted"),
        ({"tm_measured": 0.2, "tm_measured_b": 0.21}, "no more similar than random"),
        ({"tm_measured": 0.2, "tm_measured_b": 0.4}, "similar in parts at most"),
        ({"tm_measured": None}, "probably have the same fold: TM-score 0.61 predicted"),
    ],
)
def test_the_headline_follows_the_measurement(scores, said):
    assert said in compared_headline(make_comparison(**scores))


def test_the_terminal_says_what_the_page_says(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    comparison = make_comparison(name_a="Hämoglobin α " * 9, name_b="二つ目のタンパク質" * 8)
    stream = io.StringIO()
    print_comparison(comparison, make_console(stream, width=80))
    text = stream.getvalue()
    assert "\x1b" not in text
    from rich.cells import cell_len

    assert max(map(cell_len, text.splitlines())) <= 80
    for words in ("0.720", "0.610", "11 aligned", "one thing worth knowing"):
        assert words in text
    short = make_comparison()
    stream = io.StringIO()
    print_comparison(short, make_console(stream, width=80))
    assert compared_headline(short) in stream.getvalue()
    assert compared_headline(short) in Page(render_comparison(short)).text
