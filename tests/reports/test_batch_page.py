"""The page over all proteins and its summary: from saved files alone, every text escaped, nothing loaded."""

import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from mutscan.cli.summary import print_batch_summary
from mutscan.errors import UsageError
from mutscan.evidence.limits import FITTED
from mutscan.reports import batch, batch_page
from mutscan.reports.batch import is_batch, read_batch
from mutscan.reports.batch_page import MOST_BYTES, render_many
from mutscan.reports.sentences import probability
from mutscan.results import VARIANT_COLUMNS
from tests.fabricated import make_run
from tests.fabricated_batch import MISSING, RULES, make_batch
from tests.reports.test_render import Page

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def rows_of(html: str, section: str) -> list[list[str]]:
    """Text of the cells of each row of a section's first table; titles within drawings left out."""
    table = html[html.index(f'<section id="{section}"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    body = re.sub(r"<title>.*?</title>", "", body)
    return [
        [
            re.sub(r"<[^>]*>", "", cell).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]


def scored_of(folder):
    table = pd.read_csv(folder / "variants.csv")
    return table[table["status"] == "ok"]


def test_the_page_is_well_formed_and_loads_nothing(tmp_path):
    page = Page(render_many(make_batch(tmp_path / "run", reports=[0])))
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.attributes:
        if name in {"src", "href", "action", "data", "srcset"}:
            inside = value in page_anchors(page) or value.startswith("data:,")
            assert inside or value.startswith("proteins/"), (tag, name, value)
    policy = next(v for t, n, v in page.attributes if t == "meta" and "default-src" in v)
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]


def page_anchors(page: Page) -> set[str]:
    return {f"#{name}" for name in page.ids}


def test_it_counts_proteins_rows_and_flags(tmp_path):
    folder = make_batch(tmp_path, proteins=9, each=7, failed=2)
    scored = scored_of(folder)
    flags = scored["flag"].value_counts()
    run = read_batch(folder)
    # of seven proteins with scores every third lost a row
    assert run.protein_statuses == {"ok": 4, "partial": 3, "failed": 2}
    assert run.statuses == {"ok": 7 * 7 - 3, "failed": 2 * 7 + 3}
    assert run.flags == {flag: flags[flag] for flag in ("deleterious", "tolerated", "uncertain")}
    hit = scored[scored["flag"] == "deleterious"]["wild_type"].nunique()
    text = Page(render_many(folder)).text
    assert (
        f"{flags['deleterious']} of 46 scored variants are likely deleterious, in {hit} of 9 proteins; "
        in text
    )
    assert f"{run.disturbed} are predicted to disturb the structure beyond background." in text
    assert 1 < run.disturbed < run.assessed == 46
    assert "17 rows not scored, 2 proteins failed." in text
    assert "4 ok 3 partial 2 failed" in " ".join(text.split())


def test_variants_come_worst_first_with_their_rules_precision(tmp_path):
    folder = make_batch(tmp_path, proteins=6, each=9)
    scored = scored_of(folder).sort_values(
        ["p_deleterious", "z_score"], ascending=[False, True], kind="stable"
    )
    html = render_many(folder)
    rows = rows_of(html, "variants")
    assert [row[:2] for row in rows] == scored[["wild_type", "variant"]].to_numpy().tolist()
    right = {"deleterious": "0.82", "tolerated": "0.79", "uncertain": "rule"}
    assert [row[5] for row in rows] == [right[flag] for flag in scored["flag"]]
    # the drop of each variant is no part of the rule, so there are three in all
    assert [(rule.flag, rule.words) for rule in read_batch(folder).rules] == [
        (flag, RULES[flag]) for flag in ("deleterious", "tolerated", "uncertain")
    ]
    assert RULES["tolerated"].replace("<", "&lt;") in html
    first = scored.iloc[0]
    assert first["evidence"] in rows[0]
    assert f"{first['wild_type']} {first['variant']}" in html[: html.index("<nav")]


def test_proteins_have_their_counts_and_their_strip(tmp_path):
    folder = make_batch(tmp_path, proteins=6, each=9)
    table = pd.read_csv(folder / "proteins.csv").set_index("name")
    scored = scored_of(folder)
    html = render_many(folder)
    rows = rows_of(html, "proteins")
    best = scored.groupby("wild_type")["p_deleterious"].max().sort_values(ascending=False)
    assert [row[0] for row in rows] == [*best.index, *table.index[table["status"] == "failed"]]
    for name, strip, p, worst, status, *counts, remark in rows:
        about = table.loc[name]
        assert strip == ""
        assert [int(n) for n in counts[:4]] == about[
            ["rows", "deleterious", "tolerated", "uncertain"]
        ].tolist()
        assert status == about["status"]
        if status == "failed":
            assert (p, worst, counts[4], remark) == ("—", "—", "—", MISSING)
            continue
        own = scored[scored["wild_type"] == name]
        assert float(p) == pytest.approx(best[name], abs=5e-4)
        assert worst == own.loc[own["p_deleterious"].idxmax(), "variant"]
        assert int(counts[4]) == about["length"]
    strips = re.findall(r'<svg class="strip".*?</svg>', html, re.DOTALL)
    assert len(strips) == len(best)
    titles = re.findall(r"<title>(.*?)</title>", "".join(strips))
    expected = [
        f"{v}: {flag}, p {probability(p)}"
        for v, flag, p in scored[["variant", "flag", "p_deleterious"]].to_numpy()
    ]
    assert sorted(titles) == sorted(expected)
    # one mark for each scored row, its class the flag, and the same in words for those who do not see it
    assert strips[0].count('<path class="deleterious"') == table.loc[rows[0][0], "deleterious"]
    assert (
        f"{table.loc[rows[0][0], 'deleterious']} deleterious"
        in re.search(r'aria-label="(.*?)"', strips[0])[1]
    )


def test_marks_stand_where_their_variants_are():
    marks = [
        {"variant": "M1V", "positions": "1", "flag": "deleterious", "p_deleterious": 1.0},
        {"variant": "A101C", "positions": "101", "flag": "tolerated", "p_deleterious": 0.0},
    ]
    last, first = batch_page._strip({"length": 101, "scored": 2}, marks).marks
    left, right = batch_page.EDGE, batch_page.WIDTH - batch_page.EDGE
    assert first.path.startswith(f"M{left:g} {batch_page.EDGE - 4:g}l")  # the triangle's tip
    assert last.path.startswith(
        f"M{right - 3:g} {batch_page.HEIGHT - batch_page.EDGE:g}a"
    )  # the circle's left
    assert (first.title, last.title) == ("M1V: deleterious, p 1.00", "A101C: tolerated, p 0.00")


def test_links_lead_to_reports_that_exist(tmp_path):
    folder = make_batch(tmp_path / "run", proteins=5, failed=1, reports=[1, 3], names=["a", "b#?%", "c", "d"])
    table = pd.read_csv(folder / "proteins.csv", keep_default_na=False)
    odd = folder / "proteins" / "p #1?%"
    shutil.move(folder / "proteins" / "protein_1", odd)
    table.loc[1, "folder"] = "proteins/p #1?%"
    # links never leave the folder, whatever the table says
    (tmp_path / "report.html").write_text("outside")
    (folder / "report.html").write_text("the page itself")
    table.loc[0, "folder"] = "proteins/../.."
    table.loc[2, "folder"] = "proteins/.."
    table.to_csv(folder / "proteins.csv", index=False)
    page = Page(render_many(folder))
    links = {
        value for _, name, value in page.attributes if name == "href" and not value.startswith(("#", "data:"))
    }
    own = {link for link in links if "#v=" not in link}
    assert own == {"proteins/p%20%231%3F%25/report.html", "proteins/protein_3/report.html"}
    variants = scored_of(folder)
    assert links - own == {
        f"{link}#v={variant}"
        for name, link in (
            ("b#?%", "proteins/p%20%231%3F%25/report.html"),
            ("d", "proteins/protein_3/report.html"),
        )
        for variant in variants[variants["wild_type"] == name]["variant"]
    }


def test_reports_are_not_spoken_of_where_no_protein_can_have_one(tmp_path):
    folder = make_batch(tmp_path, parquet=True)
    told = "draws one."
    assert told in render_many(folder)
    table = pd.read_csv(folder / "proteins.csv").assign(folder="")
    table.to_csv(folder / "proteins.csv", index=False)
    assert told not in render_many(folder)


def test_text_from_outside_is_escaped(tmp_path):
    names = [f"{HOSTILE}{'Q' * 10_000}", "b"]
    folder = make_batch(
        tmp_path, names=names, carried={HOSTILE: HOSTILE, "=SUM(A1)": "=1+1"}, message=HOSTILE, failed=3
    )
    said = json.loads((folder / "run.json").read_text())
    said |= {"model": {"name": HOSTILE}, "device": HOSTILE, HOSTILE: HOSTILE}
    (folder / "run.json").write_text(json.dumps(said))
    html = render_many(folder)
    page = Page(html)
    assert page.open == []
    assert "img" not in page.tags
    assert page.tags.count("script") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    # carried heading and cells, messages of proteins and rows, model
    assert page.text.count(HOSTILE[:25]) > 20
    assert len(html) < 400_000


def test_failed_proteins_and_rows_are_listed_with_their_messages(tmp_path):
    html = render_many(make_batch(tmp_path, proteins=8, each=6, failed=2))
    lost = html[html.index('<section id="lost"') :]
    assert rows_of(html, "lost") == [[f"P0000{n}", MISSING, "protein_not_found", "6"] for n in (6, 7)]
    second = lost[lost.index("Rows by what went wrong") :]
    cells = re.findall(
        r"<t[hd][^>]*>(.*?)</t[hd]>", second[second.index("<tbody>") : second.index("</tbody>")]
    )
    assert (cells[0], cells[2]) == ("protein_not_found", "12")
    assert (cells[3], cells[5]) == ("wild_type_mismatch", "2")
    assert MISSING in cells[1]


def test_a_run_in_which_all_went_well_lists_nothing_as_lost(tmp_path):
    folder = make_batch(tmp_path, proteins=2, each=3, failed=0)
    table = pd.read_csv(folder / "variants.csv")
    table[table["status"] == "ok"].to_csv(folder / "variants.csv", index=False)
    assert 'id="lost"' not in render_many(folder)


def test_without_a_calibration_z_ranks_and_no_verdict_is_made_up(tmp_path):
    folder = make_batch(tmp_path, calibrated=False, proteins=5, each=8)
    scored = scored_of(folder).sort_values("z_score", kind="stable")
    html = render_many(folder)
    assert [row[1] for row in rows_of(html, "variants")] == scored["variant"].tolist()
    count = (scored["z_score"] <= -2).sum()
    assert f"{count} of {len(scored)} scored variants of 5 proteins" in html
    assert "Not calibrated" in html
    assert "▲" not in html.split("</style>")[1]
    assert '<path class="deleterious" d="M6' in html  # the legend only
    assert html.count('class="deleterious"') == 1


def test_nothing_scored(tmp_path):
    folder = make_batch(tmp_path, proteins=3, failed=3)
    html = render_many(folder)
    assert "None of the 18 rows could be scored." in html
    assert rows_of(html, "variants") == []
    assert len(rows_of(html, "proteins")) == 3
    assert "None of the 18 rows" in summary(folder)


def test_a_scan_in_parquet_gives_the_same_page_as_its_csv(tmp_path):
    options = {"proteins": 7, "each": 12, "carried": {"gene": "TP53"}}
    csv = render_many(make_batch(tmp_path / "csv", **options))
    parquet = render_many(make_batch(tmp_path / "parquet", **options, parquet=True))
    assert parquet == csv.replace("variants.csv</code>", "variants.parquet</code>")
    assert "TP53" in parquet


def test_the_order_of_blocks_changes_nothing(tmp_path, monkeypatch):
    folder = make_batch(tmp_path, proteins=12, each=40, parquet=True)
    whole = render_many(folder)
    # more rows than are kept, of each protein and of all
    monkeypatch.setattr(batch, "WORST", 50)
    monkeypatch.setattr(batch, "MARKS", 5)
    few = render_many(folder)
    monkeypatch.setattr(batch, "BLOCK_ROWS", 17)
    monkeypatch.setattr(batch._Tally, "_MARKS_TOGETHER", 60)
    assert render_many(folder) == few
    assert rows_of(few, "variants") == rows_of(whole, "variants")[:50]
    assert few.count('role="img"') == 10
    assert few.count("<title>") == 1 + 5 * 10
    scored = pd.read_parquet(folder / "variants.parquet").query("status == 'ok'")
    assert f"The worst 50 of {len(scored)} scored rows of all proteins" in few


def test_the_page_is_the_same_each_time_and_wherever_it_lies(tmp_path):
    first = make_batch(tmp_path / "a", reports=[2])
    second = make_batch(tmp_path / "elsewhere", reports=[2])
    assert render_many(first) == render_many(first) == render_many(second)


def big_scan(folder, proteins: int, each: int):
    """Make up a scan of very many proteins; its names and messages are long and hostile."""
    make_batch(folder, proteins=3, failed=0)
    rng = np.random.default_rng(0)
    n = proteins * each
    names = np.array([f"P{place:06d}<&\"'{'x' * 100}" for place in range(proteins)])
    p = rng.random(n)
    at = rng.integers(1, 400, n)
    flag = np.select([p > 0.78, p < 0.28], ["deleterious", "tolerated"], "uncertain")
    columns = {name: pa.nulls(n, pa.string()) for name in VARIANT_COLUMNS}
    columns |= {name: pa.nulls(n, pa.float64()) for name in ("z_score", "alphamissense")}
    columns |= {
        "status": pa.array(np.where(p < 0.01, "failed", "ok")),
        "error_code": pa.array(np.where(p < 0.01, "bad_variant", "")),
        "wild_type": pa.array(np.repeat(names, each)),
        "variant": pa.array([f"A{position}<" for position in at]),
        "positions": pa.array(at.astype(str)),
        "flag": pa.array(flag),
        "flag_rule": pa.array(np.array(list(RULES.values()))[[list(RULES).index(f) for f in flag]]),
        "p_deleterious": pa.array(p),
        "evidence": pa.array(["<" * 300] * n),
    }
    for name in ("status", "wild_type", "flag", "flag_rule"):
        columns[name] = columns[name].dictionary_encode()
    (folder / "variants.csv").unlink()
    pq.write_table(pa.table(columns), folder / "variants.parquet")
    table = pd.read_csv(folder / "proteins.csv", dtype=str, keep_default_na=False)
    table = table.loc[np.zeros(proteins, dtype=int)].assign(name=names, length="400", message="<" * 500)
    table["status"] = np.where(np.arange(proteins) % 4, "ok", "failed")
    table.to_csv(folder / "proteins.csv", index=False)
    said = json.loads((folder / "run.json").read_text())
    said["records"] = [{"source": "UniProt", "sha256": "b" * 64}] * proteins
    said["proteins"] = {name: {"sha256": "b" * 64} for name in names}
    (folder / "run.json").write_text(json.dumps(said))
    return folder


def test_a_page_over_very_many_proteins_stays_small_and_says_what_it_leaves_out(tmp_path):
    folder = big_scan(tmp_path / "run", 4000, 50)
    html = render_many(folder)
    assert 0.9 * MOST_BYTES < len(html.encode()) <= MOST_BYTES
    shown, proteins = len(rows_of(html, "variants")), len(rows_of(html, "proteins"))
    rows = pd.read_parquet(folder / "variants.parquet", columns=["status"])
    scored = (rows["status"] == "ok").sum()
    assert f"The worst {shown:,} of {scored:,} scored rows" in html
    assert f"leaves out {scored - shown:,}" in html
    assert f"The {proteins:,} proteins with the worst variants of 4,000" in html
    assert f"leaves out {4000 - proteins:,}" in html
    assert "800 more are in <code>proteins.csv</code>" in html
    assert "3,980 more in run.json" in html


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "run.json").unlink(), "holds no run.json"),
        (lambda f: (f / "proteins.csv").unlink(), "holds no proteins.csv"),
        (lambda f: (f / "variants.csv").unlink(), "holds no variants.csv"),
        (lambda f: (f / "run.json").write_text("{"), "run.json: cannot be read"),
        (lambda f: (f / "run.json").write_text("[]"), "run.json: expected a JSON object"),
        (lambda f: (f / "proteins.csv").write_text("name,length\n"), "columns are missing (status"),
        (lambda f: (f / "variants.csv").write_text("input,status\n"), "columns are missing (error_code"),
        (
            lambda f: (f / "variants.csv").rename(f / "variants.parquet"),
            "variants.parquet: cannot be read",
        ),
    ],
)
def test_a_spoilt_folder_is_named(tmp_path, spoil, words):
    folder = make_batch(tmp_path, proteins=3)
    spoil(folder)
    with pytest.raises(UsageError, match=re.escape(words)):
        render_many(folder)


def test_what_the_proteins_share_comes_from_their_run_json(tmp_path):
    folder = make_batch(tmp_path, proteins=4)
    assert dict(read_batch(folder).facts)["Model"] == "mutscan-mini, own encoder, sha256 cccccccccccc…"
    said = json.loads((folder / "run.json").read_text())
    for model, words in (
        ({"name": "mutscan-mini", "sha256": "d" * 64}, "mutscan-mini, sha256 dddddddddddd…"),
        ({"name": "mutscan-mini", "sha256": None}, "mutscan-mini"),
    ):
        (folder / "run.json").write_text(json.dumps(said | {"model": model}))
        assert dict(read_batch(folder).facts)["Model"] == words
        assert f"Model {words}" in " ".join(summary(folder).split())
    (folder / "run.json").write_text(json.dumps(said))
    html = render_many(folder)
    assert "assumes that 56 % of variants are deleterious" in html
    assert "The UniProt Consortium" in html
    for path in folder.glob("proteins/*/run.json"):
        path.unlink()
    assert dict(read_batch(folder).facts) == {"Made": "2026-11-20 12:00 UTC by mutscan 0.1.0"}


def test_scores_that_were_not_asked_for_are_said_to_be_empty(tmp_path):
    folder = make_batch(tmp_path, proteins=3)
    assert dict(read_batch(folder).facts)["Builder"] == "none; measured scores are empty"
    said = json.loads((folder / "run.json").read_text())
    said["arguments"]["predict"] = "probability"
    (folder / "run.json").write_text(json.dumps(said))
    words = "none; measured and predicted scores are empty"
    assert words in Page(render_many(folder)).text
    assert words in " ".join(summary(folder).split())


def test_the_table_of_variants_has_one_name(tmp_path, monkeypatch):
    folder = make_batch(tmp_path, proteins=4)
    for most, name in ((2000, "All variants"), (5, "Worst variants")):
        monkeypatch.setattr(batch, "WORST", most)
        html = render_many(folder)
        assert f'<a href="#variants">{name}</a>' in html
        assert f"<h2>{name}</h2>" in html
        assert f'role="region" aria-label="{name}"' in html
        assert "Variants that matter most</h2>" not in html
    heading = re.search(r'<button type="button" title="([^"]*)">How often right<', html)[1]
    assert "precision for deleterious, negative predictive value for tolerated" in heading


@pytest.mark.parametrize(
    ("scored", "flags", "standing_out", "words"),
    [
        (1, {"deleterious": 1}, 0, "The only scored variant is likely deleterious, in 1 of 2 proteins; "),
        (1, {"tolerated": 1}, 0, "The only scored variant of 2 proteins is not likely deleterious; "),
        (3, {"deleterious": 3}, 0, "All 3 scored variants are likely deleterious, in 1 of 2 proteins; "),
        (3, {"tolerated": 3}, 0, "None of the 3 scored variants of 2 proteins is likely deleterious; "),
        (3, {"deleterious": 1, "tolerated": 2}, 0, "1 of 3 scored variants is likely deleterious, in 1"),
        (1, {"": 1}, 0, "The only scored variant of 2 proteins does not stand out from"),
        (1, {"": 1}, 1, "The only scored variant of 2 proteins stands out from"),
        (3, {"": 3}, 0, "None of the 3 scored variants of 2 proteins stands out from"),
        (3, {"": 3}, 3, "All 3 scored variants of 2 proteins stand out from"),
    ],
)
def test_one_all_and_none_have_words_of_their_own(tmp_path, scored, flags, standing_out, words):
    run = read_batch(make_batch(tmp_path, proteins=2, failed=0))
    hit = run.proteins.assign(deleterious=[float(flags.get("deleterious", 0)), 0.0])
    run = dataclasses.replace(run, proteins=hit, flags=flags, standing_out=standing_out)
    assert run.scored == scored
    assert run.headline.startswith(words)


def test_no_probability_below_1_reads_as_1(tmp_path):
    folder = make_batch(tmp_path, proteins=2, failed=0)
    table = pd.read_csv(folder / "variants.csv")
    table.loc[0, ["p_deleterious", "flag"]] = [0.9996, "deleterious"]
    table.to_csv(folder / "variants.csv", index=False)
    assert "likely deleterious (0.9996)" in " ".join(summary(folder).split())
    html = render_many(folder)
    assert rows_of(html, "variants")[0][3] == "0.9996"
    assert "p 1.00" not in html


def test_the_inputs_own_column_of_proteins_is_not_repeated(tmp_path):
    folder = make_batch(tmp_path, proteins=4, carried={"gene": "TP53", "accession": ""})
    table = pd.read_csv(folder / "variants.csv")
    table["accession"] = table["wild_type"]
    table.to_csv(folder / "variants.csv", index=False)
    html = render_many(folder)
    assert ">gene</button>" in html
    assert "accession" not in html


def test_what_a_batch_is(tmp_path):
    assert is_batch(make_batch(tmp_path / "many", proteins=2))
    assert not is_batch(make_run(tmp_path / "one"))


def summary(folder) -> str:
    stream = io.StringIO()
    print_batch_summary(folder, Console(file=stream, width=80, color_system=None))
    return stream.getvalue()


def test_the_summary_fits_80_columns(tmp_path):
    folder = make_batch(tmp_path, proteins=9, each=7, failed=2)
    flags = scored_of(folder)["flag"].value_counts()
    text = summary(folder)
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "Proteins 9: 4 ok, 3 partial, 2 failed" in words
    assert "Rows 63: 46 ok, 17 failed" in words
    assert f"Verdicts 46: {flags['deleterious']} deleterious, {flags['tolerated']} tolerated" in words
    worst = scored_of(folder).sort_values(["p_deleterious", "z_score"], ascending=[False, True]).head(5)
    lines = text.splitlines()[3:]
    named = [line.split("  ")[0] for line in lines if re.match(r"P\d{5} ", line)]
    assert named == [f"{name} {variant}" for name, variant in worst[["wild_type", "variant"]].to_numpy()]
    assert f"failed P00007: {MISSING[:30]}" in text
    assert "variants.csv, proteins.csv, proteins/, run.json, log.txt" in words


def test_the_summary_cannot_steer_the_terminal(tmp_path):
    bad = "\x1b[31mred\x1b]0;title\x07\n[bold]"
    folder = make_batch(tmp_path, names=[bad], message=bad, carried={"a": bad})
    text = summary(folder)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]" in text


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (0, ""),
        (1, "1 of 11 scored rows is of proteins whose labelled variants were used to calibrate"),
        (5, "5 of 11 scored rows are of proteins whose labelled variants were used to calibrate"),
        (11, "All 11 scored rows are of proteins whose labelled variants were used to calibrate"),
    ],
)
@pytest.mark.parametrize("parquet", [False, True])
def test_rows_of_proteins_used_in_calibration_are_counted(tmp_path, known, words, parquet):
    folder = make_batch(tmp_path, proteins=3, each=6, failed=1, parquet=parquet)
    path = folder / ("variants.parquet" if parquet else "variants.csv")
    table = pd.read_parquet(path) if parquet else pd.read_csv(path, dtype=str, keep_default_na=False)
    scored = table.index[table["status"] == "ok"]
    table["notes"] = table["notes"].astype(object)
    table.loc[scored[:known], "notes"] = f"another note; {FITTED}"
    table.to_parquet(path) if parquet else table.to_csv(path, index=False)
    assert read_batch(folder).caution.startswith(words)
    assert bool(read_batch(folder).caution) == bool(known)
    for shown in (summary(folder), render_many(folder)):
        assert (read_batch(folder).caution in " ".join(shown.split())) or not known
