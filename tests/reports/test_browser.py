"""The report in a real browser: Chromium, without a network.

3Dmol.js comes from the package manager of web pages (npm), or from the file that
``MUTSCAN_TEST_3DMOL`` names; tests that need it, a browser or playwright skip without.
"""

import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from mutscan.fetch.viewer import SHA256, VERSION
from mutscan.reports.batch_page import MOST_SHOWN, render_many
from mutscan.reports.changes import largest_change
from mutscan.reports.compare_page import render_comparison
from mutscan.reports.coordinates import distances
from mutscan.reports.design import design_csv
from mutscan.reports.render import render_report
from mutscan.reports.scan import read_scan
from mutscan.residues import STANDARD
from mutscan.structures import read_structure
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch
from tests.fabricated_scan import cells_of, make_scan
from tests.made_up_comparison import make_comparison

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
WAIT = 60_000
"""ms; a slow machine draws slowly."""


@pytest.fixture(scope="session")
def viewer_script(tmp_path_factory):
    """3Dmol.js of the pinned version."""
    given = os.environ.get("MUTSCAN_TEST_3DMOL")
    if given:
        script = Path(given).read_bytes()
    else:
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no npm here to get 3Dmol.js with, and MUTSCAN_TEST_3DMOL names no file")
        folder = tmp_path_factory.mktemp("npm")
        command = [npm, "pack", "--silent", f"3dmol@{VERSION}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm cannot get 3Dmol.js here ({error})")
        with tarfile.open(folder / f"3dmol-{VERSION}.tgz") as package:
            member = package.extractfile("package/build/3Dmol-min.js")
            assert member is not None
            script = member.read()
    assert hashlib.sha256(script).hexdigest() == SHA256
    return script.decode("utf-8")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here")
    # WebGL in software; everything else is drawn without it, which is much faster there.
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    arguments += [
        "--disable-accelerated-2d-canvas",
        "--disable-gpu-compositing",
        "--disable-gpu-rasterization",
    ]
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=arguments, timeout=WAIT)
        yield running
        running.close()


@pytest.fixture(scope="module")
def globin(project):
    return read_structure(project / "examples" / "globin" / "wild_type.cif")


@pytest.fixture(scope="module")
def run(tmp_path_factory, globin):
    """A made-up run with hostile names in it."""
    bad = [{"input": HOSTILE, "status": "failed", "error_code": "bad_variant", "message": HOSTILE}]
    return make_run(
        tmp_path_factory.mktemp("run"),
        count=6,
        name=f"{HOSTILE}{'Q' * 10_000}",
        carried={"=SUM(A1)": "=SUM(A1)", HOSTILE: HOSTILE},
        bad=bad,
        protein=globin,
        calibrated=True,
    )


def until(page, condition):
    """Wait for a condition; playwright's own way to wait calls eval, which the page forbids."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(50)


class Opened:
    """A page, and what it complained about or asked for."""

    def __init__(self, browser, path, **settings):
        settings = {"viewport": {"width": 1200, "height": 900}} | settings
        self.context = browser.new_context(offline=True, **settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.trouble: list[str] = []
        self.page.on("console", lambda m: m.type in ("error", "warning") and self.trouble.append(m.text))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"a dialog: {dialog.message}"))
        self.page.on("request", self._asked)
        self.page.goto(path.as_uri())
        until(self.page, "document.body.dataset.state === 'drawn'")

    def _asked(self, request):
        if not request.url.startswith(("file:", "data:", "blob:")) or request.resource_type == "xhr":
            self.trouble.append(f"a request: {request.url}")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.context.close()
        if kind is None:
            # Software drawing of WebGL is slow, and Chromium says so.
            assert [t for t in self.trouble if "GPU stall" not in t and "swiftshader" not in t.lower()] == []

    def data(self, selector, name):
        return self.page.eval_on_selector(selector, f"node => node.dataset.{name} ?? ''")


def written(folder, html):
    path = folder / "page.html"
    path.write_text(html, encoding="utf-8")
    return path


@pytest.fixture(params=["3Dmol.js", "canvas"])
def engine(request):
    return request.param, request.getfixturevalue("viewer_script") if request.param == "3Dmol.js" else ""


def test_every_variant_opens_and_a_picked_residue_moves_the_view(browser, run, engine, tmp_path):
    name, script = engine
    variants = list(pd.read_csv(run / "variants.csv").query("status == 'ok'")["variant"])
    html = render_report(run, viewer=script, viewer_note=f"3Dmol.js {VERSION}")
    with Opened(browser, written(tmp_path, html)) as opened:
        page = opened.page
        assert opened.data("#variant .stage", "engine") == name
        assert name.removesuffix(".js") in page.inner_text("[data-part=engine]") or name == "canvas"
        # Software drawing of WebGL takes its time: two variants there, all of them on the canvas.
        seen = []
        for _ in variants if name == "canvas" else variants[:2]:
            seen.append(opened.data("#variant", "variant"))
            assert page.text_content("#variant h2") == seen[-1]
            assert page.locator("[data-part=evidence] tbody tr").count() == 2
            page.dispatch_event("[data-part=next]", "click")
        if name == "canvas":
            assert sorted(seen) == sorted(variants)
        assert len(set(seen)) == len(seen)

        before = opened.data(".stage", "view")
        track = page.locator("[data-part=track]")
        track.focus()
        for key in ("Home", "PageDown", "ArrowRight", "Enter"):
            page.keyboard.press(key)
        assert opened.data("[data-part=track]", "selected") == "12"
        assert opened.data(".stage", "focus") == "12"
        assert opened.page.inner_text("[data-part=reading]").startswith(track.get_attribute("aria-valuetext"))
        until(page, f"document.querySelector('.stage').dataset.view !== {json.dumps(before)}")
        box = track.bounding_box()
        page.mouse.move(box["x"] + 200, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 300, box["y"] + 40)
        page.mouse.up()
        first, last = map(int, opened.data("[data-part=track]", "selected").split("–"))
        assert last - first > 5
        assert len(opened.data(".stage", "focus").split()) == last - first + 1

        # and back: a residue picked in the picture is selected in the track
        if name == "3Dmol.js":
            return
        page.dispatch_event("[data-part=reset]", "click")
        assert opened.data("[data-part=track]", "selected") == ""
        page.locator(".stage").scroll_into_view_if_needed()
        until(page, "document.querySelector('.stage').dataset.view.startsWith('[0,0,0,1,')")
        stage = page.locator(".stage").bounding_box()
        for step in range(40):
            x = stage["x"] + stage["width"] * (0.36 + 0.007 * step)
            page.mouse.click(x, stage["y"] + stage["height"] * 0.5)
            if opened.data("[data-part=track]", "selected"):
                break
        assert re.fullmatch(r"\d+", opened.data("[data-part=track]", "selected"))


def drawn_again(opened, act, least=1):
    """Do something, and wait until the 3-D view was drawn again: the page's policy forbids to poll within."""
    before = int(opened.data(".stage", "drawn"))
    act()
    end = time.monotonic() + WAIT / 1000
    while int(opened.data(".stage", "drawn")) < before + least:
        assert time.monotonic() < end, "the 3-D view was not drawn again"
        opened.page.wait_for_timeout(20)


def stage_pixels(page):
    """Colours of the canvas of the 3-D view, shape (height, width, 4)."""
    address = page.eval_on_selector(".stage canvas", "node => node.toDataURL()")
    picture = matplotlib.image.imread(io.BytesIO(base64.b64decode(address.split(",")[1])))
    return (255 * picture).round().astype(np.uint8)


def test_the_structure_is_a_shaded_ribbon_in_its_colours(browser, run, tmp_path):
    with Opened(browser, written(tmp_path, render_report(run))) as opened:
        page = opened.page
        drawn_again(opened, page.get_by_role("radio", name="Chain").click)
        drawn_again(opened, page.get_by_role("radio", name="Mutant", exact=True).click)
        pixels = stage_pixels(page)
        solid = pixels[pixels[..., 3] == 255][:, :3].astype(int)
        assert len(solid) > 0.05 * pixels.shape[0] * pixels.shape[1]
        assert set(np.unique(pixels[..., 3])) == {0, 255}
        # the mutant's orange (#e69f00): red over green over blue, in many shades
        orange = solid[(solid[:, 0] > solid[:, 1]) & (solid[:, 1] > solid[:, 2])]
        assert len(orange) > 0.8 * len(solid)
        assert len(np.unique(orange[:, 0])) > 60


def test_the_report_and_python_find_the_same_largest_change(browser, run, globin, tmp_path):
    with Opened(browser, written(tmp_path, render_report(run))) as opened:
        page = opened.page
        page.wait_for_selector("[data-part=figure] figure:nth-child(3)")
        variant = opened.data("#variant", "variant")
        mutant = read_structure(run / "structures" / f"{variant}.cif")
        said = page.inner_text("[data-part=figure] figure:nth-child(3) .reading")
        assert said == largest_change(distances(mutant.ca) - distances(globin.ca))


@pytest.fixture(scope="module")
def comparison(globin):
    """The globin against itself, its last 47 residues moved away and its first ten left out."""
    moved = globin.ca.copy()
    moved[100:] += [0.0, 0.0, 12.0]
    length, pairs = len(globin), np.arange(11, len(globin) + 1)
    residues = pd.DataFrame({"position_a": pairs, "position_b": pairs})
    residues["lddt_predicted"], residues["lddt_measured"] = 1.0, np.where(pairs > 100, 0.2, 1.0)
    both = {f"{name}_{side}": value for name, value in (("length", length), ("sequence", globin.sequence))
            for side in "ab"}  # fmt: skip
    return make_comparison(name_a=HOSTILE, ca_a=globin.ca, ca_b=moved, residues=residues, **both)


def test_a_comparison_turns_both_chains_on_each_other(browser, comparison, tmp_path):
    with Opened(browser, written(tmp_path, render_comparison(comparison))) as opened:
        page = opened.page
        assert opened.data(".stage", "engine") == "canvas"
        page.locator(".stage").scroll_into_view_if_needed()
        before = opened.data(".stage", "view")
        page.locator(".stage").focus()
        drawn_again(opened, lambda: page.keyboard.press("ArrowRight"), least=2)  # in motion, and at rest
        assert opened.data(".stage", "view") != before

        def drawn(key):
            drawn_again(opened, lambda: page.click(f"[data-part=show] [data-key={key}]"))
            return stage_pixels(page)

        both, first, second = (drawn(key)[..., 3] > 0 for key in ("both", "wild", "mutant"))
        assert first.sum() > 1000
        assert (first != second).sum() > 1000
        assert (both & ~first & ~second).mean() < 0.01
        assert ((first | second) & ~both).mean() < 0.01

        # a click reads the residue under it, with its partner
        drawn("both")
        box = page.locator(".stage").bounding_box()
        rows, columns = np.nonzero(both)
        at = len(rows) // 2
        x, y = columns[at] / both.shape[1] * box["width"], rows[at] / both.shape[0] * box["height"]
        page.mouse.click(box["x"] + x, box["y"] + y)
        said = page.inner_text("[data-part=reading]")
        assert re.search(r"[A-Z]\d+ · other [A-Z]\d+ · measured lDDT [\d.]+ · |[A-Z]\d+ · no partner", said)
        assert page.locator("img").count() == 3


def test_a_comparison_on_a_phone_dark_and_light(browser, comparison, tmp_path):
    path = written(tmp_path, render_comparison(comparison))
    with Opened(browser, path, viewport={"width": 400, "height": 800}, color_scheme="dark") as opened:
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 400

        def paper():
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(map(int, re.findall(r"\d+", colour)[:3]))

        assert paper() < 150
        drawn_again(opened, lambda: page.click("[data-theme-button]"))
        assert paper() > 600


def test_a_comparison_of_sequences_has_no_stage(browser, tmp_path):
    with Opened(browser, written(tmp_path, render_comparison(make_comparison(structures=False)))) as opened:
        assert opened.page.locator("#superposition").count() == 0
        assert opened.page.locator("[data-theme-button]").is_visible()


def test_the_table_sorts_filters_searches_and_saves(browser, run, tmp_path):
    table = pd.read_csv(run / "variants.csv")
    with Opened(browser, written(tmp_path, render_report(run))) as opened:
        page = opened.page

        def shown():
            return page.eval_on_selector_all(
                "#all tbody tr", "rows => rows.filter(r => !r.hidden).map(r => r.cells[0].dataset.value)"
            )

        heading = page.get_by_role("button", name="Probability")
        heading.click()
        scored = table[table["status"] == "ok"].sort_values("p_deleterious")["variant"].tolist()
        assert shown() == [*scored, HOSTILE]  # what is not known comes last
        heading.click()
        assert shown() == [*scored[::-1], HOSTILE]

        deleterious = table[table["flag"] == "deleterious"]["variant"].tolist()
        page.select_option("[data-filter=flag]", "deleterious")
        assert sorted(shown()) == sorted(deleterious)
        page.select_option("[data-filter=flag]", "")
        page.fill("[data-search]", table["variant"][2].lower())
        assert shown() == [table["variant"][2]]
        page.fill("[data-search]", "")

        with page.expect_download() as saved:
            page.click("[data-save]")
        text = Path(saved.value.path()).read_text(encoding="utf-8")
        assert text.startswith("\ufeff"), "without it Excel reads another encoding"
        assert "−" not in text
        rows = list(csv.reader(io.StringIO(text)))
        assert len(rows) == len(table) + 1
        assert "'=SUM(A1)" in rows[0]
        assert rows[1][rows[0].index("'=SUM(A1)")] == "'=SUM(A1)"
        assert all(not cell.startswith("=") for row in rows for cell in row)
        at = rows[0].index("Drop z")
        drops = dict(zip(table["variant"], -table["z_score"], strict=True))
        # minus signs that a spreadsheet reads; positive is worse
        assert [float(row[at]) for row in rows[1:-1]] == pytest.approx(
            [drops[row[0].lstrip("\ufeff")] for row in rows[1:-1]], abs=1e-4
        )
        assert min(drops.values()) < 0 < max(drops.values())
        at = rows[0].index("Probability")
        assert [float(row[at]) for row in rows[1:-1]] == pytest.approx(
            sorted(table["p_deleterious"].dropna(), reverse=True), abs=1e-4
        )

        # hostile names are text
        assert page.locator("img").count() == 0
        assert page.locator("#all tbody th", has_text=HOSTILE).count() == 1
        assert len(page.inner_text("body")) < 60_000


def overlaps(boxes):
    """Pairs of boxes (x, y, width, height) that share more than a hair."""
    return [
        (a, b)
        for k, a in enumerate(boxes)
        for b in boxes[k + 1 :]
        if a[0] + a[2] > b[0] + 0.5
        and b[0] + b[2] > a[0] + 0.5
        and a[1] + a[3] > b[1] + 0.5
        and b[1] + b[3] > a[1] + 0.5
    ]


BOXES = "nodes => nodes.map(n => n.getBBox()).map(b => [b.x, b.y, b.width, b.height])"


def with_indels(folder, *, same_site=4):
    """Give a made-up run two indels, and several variants with one probability at one position."""
    table = pd.read_csv(folder / "variants.csv", dtype=str, keep_default_na=False)
    letter, site = table["variant"][0][0], table["variant"][0][1:-1]
    for place, mutant in enumerate("CDEFG"[:same_site]):
        row = dict(table.iloc[0]) | {
            "input": f"p.{letter}{site}{mutant}",
            "variant": f"{letter}{site}{mutant}",
        }
        table.loc[len(table)] = row | {"p_deleterious": f"0.{50 + place}"}
    for name, positions in (("K50del", "50"), ("K62_A63insG", "62;63")):
        row = dict(table.iloc[0].where(~table.columns.str.match("tm_|lddt_|z_|p_del|site_c|affected"), ""))
        row |= {"input": name, "variant": name, "positions": positions, "status": "partial"}
        row |= {"n_substitutions": "0", "flag": "", "flag_rule": "not assessed: an indel"}
        table.loc[len(table)] = row
    table.to_csv(folder / "variants.csv", index=False)
    return folder


@pytest.mark.parametrize("width", [1400, 400])
def test_the_map_keeps_dots_and_names_apart_and_draws_no_indel_as_0(browser, globin, tmp_path, width):
    folder = with_indels(make_run(tmp_path / "run", count=20, protein=globin, bad=[], calibrated=True))
    path = written(tmp_path, render_report(folder))
    with Opened(browser, path, viewport={"width": width, "height": 900}) as opened:
        page = opened.page
        dots = page.eval_on_selector_all("#map .stem circle", BOXES)
        names = page.eval_on_selector_all("#map .stem-name", BOXES)
        assert len(dots) == 24
        assert len(names) > 5
        apart = [np.hypot(a[0] - b[0], a[1] - b[1]) for k, a in enumerate(dots) for b in dots[k + 1 :]]
        assert min(apart) >= 10  # their diameter
        assert overlaps(names) == []
        assert [(a, b) for a, b in overlaps(dots + names) if (a in dots) != (b in dots)] == []
        assert page.locator("#map .not-assessed circle").count() == 0
        low = page.eval_on_selector_all("#map .unassessed", BOXES)
        assert len(low) == 2
        assert min(y for _, y, *_ in low) > max(y + 5 for _, y, *_ in dots)
        assert "not assessed" in page.inner_text("#map .keys")
        hit = pd.read_parquet(folder / "regions.parquet").query("disturbed")
        assert page.locator("#map .hit").count() == len(hit[["region", "positions"]].drop_duplicates())
        page.click("#all tbody tr:last-child a")
        assert page.inner_text("[data-part=flag]") == "verdict not assessed"
        assert page.inner_text("[data-part=structure]") == "structure not assessed"


def test_a_region_lights_up_in_the_track_and_in_space(browser, globin, tmp_path):
    folder = make_run(tmp_path / "run", count=3, protein=globin, calibrated=True)
    regions = pd.read_parquet(folder / "regions.parquet")
    variant = regions["variant"].iloc[0]
    many = pd.concat([regions] + [regions.assign(region=f"helix {k}") for k in range(2, 6)])
    many.sort_values("variant", kind="stable").to_parquet(folder / "regions.parquet")
    path = written(tmp_path, render_report(folder))
    with Opened(browser, Path(f"{path}")) as opened:
        page = opened.page
        page.click(f"#all a[data-open={variant}]")
        items = page.locator("[data-part=regions] li")
        assert items.count() == 15
        assert page.locator("[data-part=regions] li:not([hidden])").count() == 8
        page.get_by_role("button", name="Show all 15 regions").click()
        assert page.locator("[data-part=regions] li:not([hidden])").count() == 15
        first = many[many["variant"] == variant].iloc[0]
        button = items.first.locator("button")
        assert first["region"] in button.inner_text()
        assert f"z {first['z']:.1f}" in button.inner_text()
        assert ("beyond background" in button.inner_text()) is bool(first["disturbed"])
        start, end = map(int, first["positions"].split("-"))
        residues = pd.read_parquet(folder / "residues.parquet").query("variant == @variant")
        chance = residues["p_affected"].to_numpy()[start - 1 : end].mean()
        assert f"{100 * chance:.0f} %" in button.inner_text()
        before = opened.data(".stage", "view")
        button.focus()
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        assert opened.data("[data-part=track]", "selected") == first["positions"].replace("-", "–")
        assert len(opened.data(".stage", "focus").split()) == end - start + 1
        until(page, f"document.querySelector('.stage').dataset.view !== {json.dumps(before)}")
        page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        assert opened.data("[data-part=track]", "selected") == ""


def test_eight_columns_fit_and_the_switch_shows_all(browser, globin, tmp_path):
    folder = make_run(tmp_path / "run", count=60, protein=globin, calibrated=True, carried={"why": "because"})
    table = pd.read_csv(folder / "variants.csv", dtype=str, keep_default_na=False)
    table.loc[0, "input"] = "p.(Glu113Lys)"
    table.loc[table["tm_measured"] != "", "tm_measured"] = "1.000000"
    table.to_csv(folder / "variants.csv", index=False)
    with Opened(
        browser, written(tmp_path, render_report(folder)), viewport={"width": 1400, "height": 900}
    ) as opened:
        page = opened.page

        def headings():
            return page.locator("#all thead th:visible").all_inner_texts()

        clinic = "Variant,Verdict,Probability,Structure,Site,Region hit most,Confidence,Notes"
        assert headings() == clinic.split(",")
        scroll = "document.querySelector('#all .scroll').scrollWidth"
        assert page.evaluate(scroll) <= page.locator("#all .scroll").bounding_box()["width"]
        first = page.locator("#all tbody tr").first.locator("th")
        assert first.locator("a").inner_text() == table["variant"][0]
        assert "p.(Glu113Lys)" in first.inner_text()
        page.click("[data-columns]")
        assert {"Drop z", "lDDT measured", "why", "Input"} <= set(headings())
        assert "TM measured" not in headings()
        assert "TM measured: 1.0000 in every row" in page.inner_text("#all")
        page.evaluate("document.querySelector('#all .scroll').scrollTo(600, 600)")
        box = page.locator("#all .scroll").bounding_box()
        assert page.locator("#all thead th").first.bounding_box()["y"] == pytest.approx(box["y"], abs=2)
        assert page.locator("#all thead th").first.bounding_box()["x"] == pytest.approx(box["x"], abs=2)
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_evidence_adds_up_and_axes_fit(browser, globin, tmp_path):
    folder = make_run(tmp_path / "run", count=1, protein=globin, calibrated=True)
    pieces = pd.read_parquet(folder / "evidence.parquet")
    baseline = pd.DataFrame(
        [[pieces["variant"][0], "baseline", "average substitution", -0.4]], columns=pieces.columns
    )
    pd.concat([pieces, baseline]).to_parquet(folder / "evidence.parquet")
    total = float(pieces["contribution"].sum()) - 0.4
    with Opened(browser, written(tmp_path, render_report(folder))) as opened:
        rows = opened.page.locator("[data-part=evidence] tbody tr").all_inner_texts()
        assert [row.split("\t")[0].strip() for row in rows] == ["baseline", "burial", "exchange", "sum"]
        assert f"{total:+.2f}".replace("-", "−") in rows[-1]
        assert f"= {1 / (1 + np.exp(-total)):.2f}" in rows[-1]
        # the lanes of one picture end at 1 and start at a round number below their lowest value
        ticks = opened.page.locator("[data-part=track] .tick:not([text-anchor])").all_text_contents()
        residues = pd.read_parquet(folder / "residues.parquet")
        for place, column in enumerate(["lddt_predicted", "lddt_measured"]):
            top, _, low = map(float, ticks[3 * place : 3 * place + 3])
            assert top == 1
            assert 1 - low <= 5 * max(1 - residues[column].min(), 0.015)
            assert low <= residues[column].min()
        assert "Probability that the surroundings" in opened.page.text_content("[data-part=track]")


def test_narrow_dark_and_light(browser, run, tmp_path):
    path = written(tmp_path, render_report(run))
    with Opened(browser, path, viewport={"width": 400, "height": 800}, color_scheme="dark") as opened:
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 400

        def paper():
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            return sum(map(int, re.findall(r"\d+", colour)[:3]))

        assert paper() < 150
        page.click("[data-theme-button]")
        assert paper() > 600
        page.emulate_media(media="print")
        assert page.locator("nav").is_hidden()
        assert page.locator("#all table").is_visible()


def test_a_run_without_a_structure_says_so(browser, tmp_path):
    make_run(tmp_path / "run", count=2, structure=False)
    with Opened(browser, written(tmp_path, render_report(tmp_path / "run"))) as opened:
        assert "No structure of the wild type" in opened.page.inner_text(".stage")
        assert opened.page.locator("[data-part=figure-block]").is_hidden()
        assert opened.page.locator("[data-part=track] path.profile").count() == 1


def test_a_scan_walks_from_the_heat_map_into_the_structure(browser, globin, tmp_path):
    folder = make_scan(tmp_path / "scan", globin, calibrated=False)
    cells = cells_of(folder)
    with Opened(browser, written(tmp_path, render_report(folder))) as opened:
        page = opened.page
        page.click("#all tbody tr:nth-child(5)")
        assert opened.data("#scan", "selected") == "5"
        before = opened.data(".stage", "view")
        page.locator("[data-part=scroller]").focus()
        page.keyboard.press("ArrowRight")
        assert opened.data("#scan", "selected") == "6"
        assert opened.data(".stage", "focus") == "6"
        until(page, f"document.querySelector('.stage').dataset.view !== {json.dumps(before)}")
        named = page.eval_on_selector_all(
            "[data-part=substitutions] tr", "rows => rows.map(r => r.dataset.variant)"
        )
        own = globin.sequence[5]
        assert sorted(named) == sorted(f"{own}6{letter}" for letter in STANDARD if letter != own)
        lowest = cells.loc[6]["z_score"].idxmin()
        assert named[0] == f"{own}6{lowest}"
        assert f"{-cells.loc[6]['z_score'].min():.2f}" in page.inner_text(
            "[data-part=substitutions] tr:first-child"
        )
        page.get_by_role("radio", name="lDDT percentile").click()
        assert "lDDT percentile" in page.inner_text("[data-part=scale]")


def test_a_cell_has_its_sentence_and_no_probability_below_one_reads_as_one(browser, globin, tmp_path):
    folder = make_scan(tmp_path / "scan", globin)
    rows = pd.read_csv(folder / "variants.csv").set_index("variant")
    own = globin.sequence[4]
    with Opened(browser, written(tmp_path, render_report(folder))) as opened:
        page = opened.page
        page.click("#all tbody tr:nth-child(5)")
        assert page.inner_text("[data-part=cell]") == f"{own}5W"  # the worst of its position
        assert page.inner_text("[data-part=told]").startswith("Likely deleterious (0.9999")
        assert page.inner_text("[data-part=context]") == "helix 1 (1-10); buried (4 % accessible)"
        reading = page.inner_text("[data-part=reading]")
        assert f"Rank 1 of {19 * len(globin)}" in reading
        assert "P(deleterious) 0.9999 " in reading
        # a cell by mouse, by keyboard, and by its row
        page.locator("[data-part=heat]").click(position={"x": 2, "y": 2})
        assert page.inner_text("[data-part=cell]") == f"{globin.sequence[0]}1G"
        page.keyboard.press("ArrowDown")
        variant = f"{globin.sequence[0]}1A"
        assert page.inner_text("[data-part=cell]") == variant
        flag = rows["flag"][variant]
        assert flag.lower() in page.inner_text("[data-part=told]").lower()
        page.click(f"[data-variant={globin.sequence[0]}1W]")
        assert page.inner_text("[data-part=cell]") == f"{globin.sequence[0]}1W"
        assert opened.data("#scan", "selected") == "1"


def test_a_region_is_marked_and_the_design_table_saved(browser, globin, tmp_path):
    folder = make_scan(tmp_path / "scan", globin)
    with Opened(browser, written(tmp_path, render_report(folder))) as opened:
        page = opened.page
        page.click("[data-region]:has-text('<b>two</b>')")
        assert page.locator("[data-part=marks] div").count() == 2
        assert page.locator("[data-region][aria-pressed=true]").count() == 1
        page.click("[data-region][aria-pressed=true]")
        assert page.locator("[data-part=marks] div").count() == 0
        with page.expect_download() as saved:
            page.click("[data-design]")
        assert saved.value.suggested_filename == "mutscan-wild_type-design.csv"
        text = Path(saved.value.path()).read_bytes().decode("utf-8")
        assert text == "\ufeff" + design_csv(read_scan(folder))
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_the_tables_of_many_proteins_sort_filter_and_search(browser, tmp_path):
    folder = make_batch(
        tmp_path / "run", proteins=9, each=7, names=[HOSTILE], carried={HOSTILE: HOSTILE}, reports=[1]
    )
    table = pd.read_csv(folder / "proteins.csv")
    (folder / "report.html").write_text(render_many(folder), encoding="utf-8")
    with Opened(browser, folder / "report.html") as opened:
        page = opened.page

        def shown():
            rows = "rows => rows.filter(r => !r.hidden).map(r => r.cells[0].textContent)"
            return page.eval_on_selector_all("#proteins tbody tr", rows)

        # by keyboard, and said to those who do not see the arrow
        assert page.locator("#proteins th[aria-sort=descending]").inner_text().startswith("P(deleterious)")
        page.get_by_role("button", name="Length").focus()
        page.keyboard.press("Enter")
        known = table.dropna(subset=["length"]).sort_values("length")["name"].tolist()
        assert shown()[: len(known)] == known
        assert page.locator("#proteins th[aria-sort=ascending]").inner_text().startswith("Length")
        assert page.locator("#proteins th[aria-sort]").count() == 1
        page.keyboard.press("Enter")
        assert shown()[: len(known)] == known[::-1]

        page.select_option("#proteins [data-filter=status]", "failed")
        assert sorted(shown()) == sorted(table[table["status"] == "failed"]["name"])
        page.select_option("#proteins [data-filter=status]", "")
        page.select_option("#proteins [data-filter=flag]", "tolerated")
        assert sorted(shown()) == sorted(table[table["tolerated"] > 0]["name"])
        page.select_option("#proteins [data-filter=flag]", "")
        page.fill("#proteins [data-search]", "p00003")
        assert shown() == ["P00003"]
        page.fill("#proteins [data-search]", "")

        # the drawing is no column of the saved table
        with page.expect_download() as saved:
            page.click("#proteins [data-save]")
        rows = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
        assert rows[0][:3] == ["\ufeffProtein", "P(deleterious)", "Worst variant"]
        assert {len(row) for row in rows} == {len(rows[0])}
        assert sorted(row[0] for row in rows[1:]) == sorted(table["name"])

        page.fill("#variants [data-search]", "P00001 ")
        assert page.locator("#variants tbody tr:not([hidden])").count() == table["scored"][1]
        assert page.locator("img").count() == 0
        page.click("#proteins tbody a")
        assert page.url == (folder / "proteins" / "protein_1" / "report.html").as_uri()


def test_many_proteins_open_at_once_and_on_a_phone(browser, tmp_path):
    folder = make_batch(tmp_path / "run", proteins=300, each=7, failed=12)
    html = render_many(folder)
    assert len(html.encode()) < 5_000_000
    path, seconds = written(tmp_path, html), []
    for _ in range(3):
        start = time.perf_counter()
        with Opened(browser, path) as opened:
            opened.page.evaluate(
                "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2.0, seconds
    with Opened(browser, path, viewport={"width": 400, "height": 800}) as opened:
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        rows = page.locator("#variants tbody tr:not([hidden])")
        assert rows.count() == MOST_SHOWN
        more = page.locator("#variants [data-more]")
        total = page.locator("#variants tbody tr").count()
        assert more.inner_text() == f"Show all {total} rows"
        # what is not laid out is found and sorted all the same
        last = page.locator("#variants tbody tr").last.locator("th").text_content()
        page.fill("#variants [data-search]", last)
        assert more.is_hidden()
        assert last in rows.locator("th").all_text_contents()
        page.fill("#variants [data-search]", "")
        more.click()
        assert rows.count() == total
        page.emulate_media(media="print")
        assert page.locator("nav").is_hidden()
        assert page.locator("#proteins table").is_visible()


def test_without_scripts_every_row_is_there(browser, tmp_path):
    path = written(tmp_path, render_many(make_batch(tmp_path / "run", proteins=60, each=7, failed=1)))
    context = browser.new_context(offline=True, java_script_enabled=False)
    try:
        page = context.new_page()
        page.goto(path.as_uri())
        rows = page.locator("#variants tbody tr")
        assert rows.count() > MOST_SHOWN
        assert rows.last.is_visible()
        assert page.locator("#proteins .strip").first.is_visible()
    finally:
        context.close()
