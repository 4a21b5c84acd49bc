"""Figures and report of an evaluation: what they show, the same bytes twice, nothing from outside."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from mutscan.train.evaluate.example import ExamplePair, draw_example
from mutscan.train.evaluate.figures import (
    Drawing,
    Series,
    box_plots,
    drop_scatter,
    error_histogram,
    nice_limit,
    scatter,
    trend,
)
from mutscan.train.evaluate.report import inline_svg, interval, p_value, score

RNG = np.random.default_rng(0)
TRUTH = np.append(RNG.random(99), 1.0)
MODEL = Series("ours", RNG.normal(scale=0.05, size=100))
OTHER = Series("theirs <b>", RNG.normal(scale=0.1, size=100))


def bins(n: int = 3) -> list[dict]:
    return [
        {
            "from": k / n, "to": (k + 1) / n if k < n - 1 else None, "n": 5 * k,
            "bias": 0.1 * k, "bias_ci": [0.1 * k - 0.02, 0.1 * k + 0.03],
            "mean_true": k / n, "mean_true_ci": None, "mean_predicted": k / n,
        }
        for k in range(n)
    ]  # fmt: skip


def example(tilted: bool = True) -> ExamplePair:
    walk = np.random.default_rng(1).normal(size=(40, 3))
    ca = np.cumsum(3.8 * walk / np.linalg.norm(walk, axis=1, keepdims=True), axis=0)
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    moved = (ca - 5.0) @ turn  # ca = moved @ turn.T + 5
    aligned = np.repeat(np.arange(5, 38)[:, None], 2, axis=1)
    return ExamplePair("one", "two$x$", ca, moved, aligned, turn, np.full(3, 5.0))


def all_drawings() -> list[Drawing]:
    return [
        error_histogram("errors", "TM-score", "pairs", MODEL, OTHER, bins=30),
        error_histogram("alone", "lDDT", "residues", MODEL, None, bins=30),
        box_plots("boxes", TRUTH, MODEL, OTHER),
        scatter("few", "TM-score", TRUTH, TRUTH + MODEL.values, points="pairs"),
        scatter("many", "lDDT", RNG.random(2000), RNG.random(2000), points="residues"),
        trend("calibration", "Calibration", bins(), "mean_true", ("x", "y"), "c"),
        trend("bias", "Bias", bins(), "bias", ("x", "y"), "c"),
        drop_scatter("drops", np.array([0.1, np.nan, 0.2]), np.array([0.0, 0.1, 0.2]), "mean"),
        *draw_example(example()),
    ]


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    global RNG
    RNG = np.random.default_rng(7)
    return all_drawings()


def test_every_figure_is_svg_and_png(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        root = ElementTree.fromstring(drawing.svg)
        assert root.tag.endswith("svg"), drawing.name
        assert drawing.png.startswith(b"\x89PNG"), drawing.name
        assert drawing.caption
        assert b"<dc:date>" not in drawing.svg
        assert b"matplotlib.org" not in drawing.png


def test_the_same_bytes_twice(drawings: list[Drawing]) -> None:
    global RNG
    RNG = np.random.default_rng(7)
    for first, second in zip(drawings, all_drawings(), strict=True):
        assert first.svg == second.svg, first.name
        assert first.png == second.png, first.name


def test_histogram_says_what_it_leaves_out() -> None:
    errors = np.append(np.linspace(-0.015, 0.015, 997), [0.9, -0.9, 0.021])
    drawing = error_histogram("h", "lDDT", "residues", Series("ours", errors), None, bins=100)
    assert nice_limit(errors) == 0.02
    assert "Outside the range shown: ours 3." in drawing.caption
    assert "1,000 residues" in drawing.caption


@pytest.mark.parametrize(
    ("errors", "limit"),
    [([0.0], 0.01), ([], 0.01), ([3e-5, -2e-5], 1e-4), ([0.3, -0.31], 0.5), ([1.0], 1.0), ([-0.005], 0.005)],
)
def test_ranges_come_from_the_data(errors: list[float], limit: float) -> None:
    assert nice_limit(np.array(errors)) == limit


def test_boxes_are_quartiles_and_the_last_interval_is_closed() -> None:
    from matplotlib.cbook import boxplot_stats

    values = np.append(np.arange(9.0), 100.0)
    (box,) = boxplot_stats(values)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    assert (box["q1"], box["med"], box["q3"]) == (low, middle, high)
    assert (box["whislo"], box["whishi"]) == (0.0, 8.0)
    truth = np.array([0.1, 0.8, 1.0, 1.0])
    svg = box_plots("b", truth, Series("ours", np.zeros(4)), None).svg.decode()
    assert "0.8-1" in svg
    assert "n = 3" in svg, "1.0 itself is in the last interval"
    assert "n = 0" in svg


def test_chain_2_is_laid_on_chain_1() -> None:
    pair = example()
    np.testing.assert_allclose(pair.moved, pair.ca_1, atol=1e-9)


def test_difference_matrix_is_zero_for_equal_structures_and_blank_where_unaligned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mutscan.train.evaluate import example as structure_figures

    seen = {}
    monkeypatch.setattr(
        structure_figures,
        "matrix",
        lambda name, values, *rest, **more: seen.__setitem__(name, values) or Drawing(name, "", "", b"", b""),
    )
    draw_example(example())
    change, distance = seen["difference_matrix"], seen["distance_matrix"]
    assert change.shape == distance.shape == (40, 40)
    assert np.nanmax(change) < 1e-9
    assert np.isnan(change[:5]).all()
    assert np.isnan(change[:, 38:]).all()
    ca = example().ca_1
    assert distance[3, 30] == pytest.approx(np.linalg.norm(ca[3] - ca[30]))


# In the page


def test_inlined_figures_take_the_pages_colours_and_share_no_id(drawings: list[Drawing]) -> None:
    page = "".join(inline_svg(drawing) for drawing in drawings)
    assert "#0072b2" not in page
    assert "var(--predicted)" in page
    assert "currentColor" in page
    assert "<metadata" not in page
    assert "<?xml" not in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0
    references = re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', page)
    assert references
    assert set(references) <= set(ids)
    assert "theirs <b>" not in page
    assert "theirs &lt;b&gt;" in page
    assert "two$x$" in page, "no formula is made of an id"


def test_inlined_figures_are_well_formed(drawings: list[Drawing]) -> None:
    for drawing in drawings:
        root = ElementTree.fromstring(
            str(inline_svg(drawing)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        )
        assert root.get("role") == "img"
        assert drawing.caption in (root.get("aria-label") or "")
        assert root.get("width") is None


class Loaded(HTMLParser):
    """What a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "data", "srcset")]


def test_numbers_of_the_page() -> None:
    assert score(None) == "—"
    assert score(-0.12345) == "−0.1235"
    assert interval([-0.1, 0.2], 1) == "−0.1 to 0.2"
    assert p_value(0.00001) == "< 0.0001"
    assert p_value(1.0) == "1"
