"""The page of a scan, its ranks and regions, and the design table: from folders made up by hand."""

import base64
import csv
import gzip
import io
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.model.names import DEFAULT_MODEL
from mutscan.reports.design import DESIGN_COLUMNS, design_csv
from mutscan.reports.population import SHIPPED, is_human, population
from mutscan.reports.scan import read_cells, read_scan, render_scan
from mutscan.reports.views import read_run
from mutscan.residues import STANDARD
from mutscan.structures import read_structure
from tests.fabricated import make_run, write_residues
from tests.fabricated_scan import CLOSE_TO_ONE, make_scan


@pytest.fixture(scope="module")
def globin(project):
    return read_structure(project / "examples" / "globin" / "wild_type.cif")


@pytest.fixture(scope="module")
def folder(globin, tmp_path_factory):
    return make_scan(tmp_path_factory.mktemp("scan") / "run", globin)


def arrays(html):
    """Data of a page: the JSON, and a function that gives an array's bytes."""
    data = json.loads(re.search(r'id="data">(.*?)</script>', html)[1])
    block = gzip.decompress(base64.b64decode(re.search(r'id="block">(.*?)</script>', html)[1]))

    def stored(name):
        about = data["arrays"][name]
        size = {"u1": 1, "u2": 2, "i2": 2, "f4": 4}[about["type"]]
        return block[about["at"] : about["at"] + size * about["n"]]

    return data, stored


def write_cells(path, p, z):
    table = pd.DataFrame({"position": 1, "wild_type": "A", "mutant": list(STANDARD[: len(p)])})
    unknown = dict.fromkeys(("lddt_percentile", "lddt_predicted_mean"), np.nan)
    table.assign(p_deleterious=p, z_score=z, **unknown).to_parquet(path / "scan.parquet")
    return read_cells(path)["rank"].tolist()


def test_ranks_go_by_probability_and_then_by_z(tmp_path):
    nan = math.nan
    assert write_cells(tmp_path, [0.5, 0.9, 0.5, 0.1, nan], [0.0, 1.0, -3.0, -9.0, nan])[:4] == [3, 1, 2, 4]
    assert write_cells(tmp_path, [0.5, 0.5, 0.2], [nan, nan, nan]) == [1, 1, 3]
    assert write_cells(tmp_path, [nan, nan, nan], [0.0, -2.0, 1.0]) == [2, 1, 3]
    assert math.isnan(write_cells(tmp_path, [0.5, nan], [0.0, -9.0])[1])


def test_a_probability_below_one_is_not_stored_as_one(folder, tmp_path):
    write_cells(tmp_path, [0.99999, 1.0, 0.5], [0.0, 0.0, 0.0])
    assert read_cells(tmp_path)["p_deleterious"].tolist() == [0.9999, 1.0, 0.5]
    data, stored = arrays(render_scan(folder))
    about = data["arrays"]["scan_p_deleterious"]
    largest = np.frombuffer(stored("scan_p_deleterious"), "<u2")
    assert largest[largest != 65535].max() * about["step"] == pytest.approx(CLOSE_TO_ONE)


def test_the_page_holds_the_sentence_of_each_substitution(folder, monkeypatch):
    rows = read_run(folder).variants.set_index("variant")
    cells = read_cells(folder)
    names = cells["wild_type"] + cells["position"].astype(str) + cells["mutant"]

    def told():
        sentences = arrays(render_scan(folder))[1]("told").decode().split("\n")
        return dict(zip(names, sentences, strict=True))

    everything = told()
    for name, words in everything.items():
        assert bool(words) == (name in rows.index)
        if words:
            assert rows["flag"][name] in words
    monkeypatch.setattr("mutscan.reports.scan.MOST_TOLD", 30)
    worst = {*names[cells["rank"] <= 30]}
    assert {name for name, words in told().items() if words} == worst


def test_the_design_table_says_what_the_substitutions_say(folder):
    rows = list(csv.DictReader(io.StringIO(design_csv(read_scan(folder)))))
    assert tuple(rows[0]) == DESIGN_COLUMNS
    variants = read_run(folder).variants
    assert len(rows) == variants["positions"].nunique()
    for row in (rows[4], rows[39], rows[96]):
        own = variants[variants["positions"] == row["position"]].sort_values("p_deleterious")
        for flag in ("tolerated", "uncertain"):
            assert row[flag] == "".join(name[-1] for name in own["variant"][own["flag"] == flag])
        assert (row["best"], row["worst"]) == (own["variant"].iloc[0], own["variant"].iloc[-1])
        assert float(row["p_deleterious_mean"]) == pytest.approx(own["p_deleterious"].mean(), abs=1e-4)
        assert (row["element"], row["burial"], row["accessibility"]) != ("", "", "")
    assert rows[4]["element"] == "helix 1 (1-10)"
    assert (rows[4]["burial"], float(rows[4]["accessibility"])) == ("buried", 0.04)
    assert (rows[39]["nearest_site"], float(rows[39]["distance_to_site"])) == (
        "active site 40 (Proton acceptor)",
        0.0,
    )
    assert 3.7 < float(rows[38]["distance_to_site"]) < 3.9


def test_page_and_command_give_the_same_design_table(folder, tmp_path):
    text = design_csv(read_scan(folder))
    assert arrays(render_scan(folder))[1]("design").decode() == text
    done = CliRunner().invoke(app, ["report", str(folder), "--format", "design", "--offline"])
    assert done.exit_code == 0, done.output
    assert (folder / "design.csv").read_text(encoding="utf-8") == text


def test_only_a_scan_has_a_design_table(tmp_path):
    run = make_run(tmp_path / "run", count=1)
    done = CliRunner().invoke(app, ["report", str(run), "--format", "design"])
    assert done.exit_code == 2
    assert "needs the folder of 'mutscan scan'" in done.stderr


def test_regions_are_ranked_by_their_mean(folder):
    scan = read_scan(folder)
    p = scan.positions.set_index("position")["p_deleterious_mean"]
    expected = {"helix 1": p.loc[1:10].mean(), "<b>two</b>": pd.concat([p.loc[21:30], p.loc[41:50]]).mean()}
    found = scan.regions()
    assert {region.name: region.harm for region in found} == pytest.approx(expected)
    assert [region.harm for region in found] == sorted((r.harm for r in found), reverse=True)
    page = render_scan(folder)
    assert "&lt;b&gt;two&lt;/b&gt;" in page
    assert "<b>two</b>" not in page
    assert (
        f"The most sensitive subdomain is {found[0].name}".replace("<", "&lt;").replace(">", "&gt;") in page
    )


def test_without_probabilities_regions_go_by_tolerance(globin, tmp_path):
    scan = read_scan(make_scan(tmp_path / "run", globin, calibrated=False))
    tolerance = scan.positions.set_index("position")["tolerance"]
    assert {region.name: region.harm for region in scan.regions()}["helix 1"] == pytest.approx(
        1 - tolerance.loc[1:10].mean()
    )
    assert not scan.positions["uncertain"].any()
    assert population(scan.provenance) == ""


@pytest.mark.parametrize("structure", [True, False])
def test_a_scan_of_probabilities_of_some_positions_shows_the_wild_type(globin, tmp_path, structure):
    """residues.parquet is empty then, and positions.csv leaves out what was not scanned."""
    folder = make_scan(tmp_path / "run", globin)
    write_residues(folder, [])
    positions, cells = pd.read_csv(folder / "positions.csv"), pd.read_parquet(folder / "scan.parquet")
    positions.iloc[4:].to_csv(folder / "positions.csv", index=False)
    cells.iloc[80:].to_parquet(folder / "scan.parquet")
    if not structure:
        (folder / "structures" / "wild_type.cif").unlink()
    data, stored = arrays(render_scan(folder))
    assert ("atoms" in data) == structure
    if structure:
        assert data["numbers"] == [*globin.numbers]
        residues = np.frombuffer(stored("wild_type_residue"), dtype="u2")
        assert [*np.unique(residues)] == [*range(len(globin))]


def test_a_damaged_context_is_named(folder, globin, tmp_path):
    broken = make_scan(tmp_path / "run", globin)
    table = pd.read_csv(broken / "positions.csv")
    table.assign(site_context="nonsense here").to_csv(broken / "positions.csv", index=False)
    with pytest.raises(UsageError, match=r"positions\.csv: cannot be read .*run mutscan scan again"):
        render_scan(broken)
    table.drop(columns="tolerated").to_csv(broken / "positions.csv", index=False)
    with pytest.raises(UsageError, match=r"columns are missing \(tolerated\); run mutscan scan again"):
        render_scan(broken)


CALIBRATED = {"model": {"name": SHIPPED}, "calibration": {"prior": "clinical", "share_deleterious": 0.56}}


@pytest.mark.parametrize(
    ("said", "human", "words"),
    [
        ({"wild_type": {"name": "mine"}}, None, "for another organism read it as a rank"),
        ({"wild_type": {"name": "sp|P60484|PTEN_HUMAN"}}, True, "56 % of them harmful."),
        ({"arguments": {"wild_type": "P53_HUMAN"}}, True, "56 % of them harmful."),
        ({"wild_type": {"name": "sp|P0ABQ4|DYR_ECOLI"}}, False, "is not human (ECOLI): read it as a rank"),
        ({"wild_type": {"name": "MY_TEST"}}, None, "for another organism"),
        (
            {"records": [{"source": "UniProt", "organism": "Escherichia coli"}]},
            False,
            "is not human (Escherichia coli): read it as a rank",
        ),
        ({"records": [{"source": "UniProt", "organism": "Homo sapiens"}]}, True, "56 % of them harmful."),
    ],
)
def test_the_probability_says_of_whom_it_speaks(said, human, words):
    provenance = CALIBRATED | said
    assert is_human(provenance) is human
    assert words in population(provenance)
    shifted = population(provenance | {"calibration": {"prior": "scan", "share_deleterious": 0.366}})
    assert "shifted to all substitutions of a protein, assuming that 37 % are harmful" in shifted


def test_of_another_model_it_is_not_known_whose_variants_they_were():
    assert SHIPPED == DEFAULT_MODEL
    said = population(CALIBRATED | {"model": {"name": "mine"}})
    words = "learned from variants labelled harmful or harmless, 56 % of them harmful."
    assert said == f"The probability was {words}"


def test_the_page_says_it_too_and_speaks_of_no_patients_where_there_are_none(folder, tmp_path):
    page = render_scan(folder)
    assert population(read_scan(folder).provenance) in page
    assert "decisions about patients" in page
    folder = shutil.copytree(folder, tmp_path / "copy")
    said = json.loads((folder / "run.json").read_text())
    said["records"] = [{"source": "UniProt", "organism": "Escherichia coli"}]
    (folder / "run.json").write_text(json.dumps(said))
    page = render_scan(folder)
    assert "this protein is not human (Escherichia coli): read it as a rank" in page
    assert "patient" not in page
