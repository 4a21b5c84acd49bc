"""Figures and JSON of a saved run: all there, the same bytes each time, true to the files."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.reports.figures import draw_run
from mutscan.reports.scan import ROWS, render_scan
from mutscan.residues import STANDARD
from mutscan.structures import read_structure
from tests.built_run import SEQUENCE, made_up_run
from tests.fabricated_scan import make_scan

HOSTILE = "<script>$x^2$</script>"


def report(*arguments: object):
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def words(svg: bytes) -> str:
    """Text of a drawing; the test fails where it is no XML."""
    return " ".join(ElementTree.fromstring(svg).itertext())


def with_evidence_and_null(folder: Path) -> Path:
    variant = pd.read_csv(folder / "variants.csv")["variant"][0]
    pieces = [(variant, "burial", HOSTILE, 1.5), (variant, "exchange", "", -0.5)]
    pd.DataFrame(pieces, columns=["variant", "evidence", "value", "contribution"]).to_parquet(
        folder / "evidence.parquet"
    )
    names = ("residue_median", "residue_scale", "separation_median", "separation_scale")
    pd.DataFrame({name: np.full(len(SEQUENCE), 0.01) for name in names}).to_parquet(folder / "null.parquet")
    return folder


def test_every_figure_is_there_and_the_same_each_time(tmp_path):
    folder = with_evidence_and_null(made_up_run(tmp_path / "run", count=2))
    first, second = ({d.name: d for d in draw_run(folder)} for _ in range(2))
    mutants = ("I6W", "Y5W")
    assert set(first) == {
        "overview", "wild_type_distances", "Y5W_evidence",
        *(f"{m}_track" for m in mutants), *(f"{m}_difference" for m in mutants),
    }  # fmt: skip
    for name, figure in first.items():
        assert (figure.svg, figure.png) == (second[name].svg, second[name].png)
        assert figure.png.startswith(b"\x89PNG")
    assert all(mutant in words(first["overview"].svg) for mutant in mutants)
    assert HOSTILE in words(first["Y5W_evidence"].svg)
    assert "burial" in words(first["Y5W_evidence"].svg)
    assert "+1.50" in words(first["Y5W_evidence"].svg)
    assert "null, median ± 3 robust s.d." in words(first["I6W_track"].svg)


def test_what_is_not_there_is_not_drawn(tmp_path):
    folder = made_up_run(tmp_path / "run", count=1)
    (folder / "structures" / "Y5W.cif").write_text("damaged")
    figures = {d.name: d for d in draw_run(folder)}
    assert set(figures) == {"overview", "wild_type_distances", "Y5W_track"}
    assert "null" not in words(figures["Y5W_track"].svg)


def test_a_scan_has_its_heat_map(tmp_path):
    folder = made_up_run(tmp_path / "run", count=1)
    said = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(said | {"scan": {"null": "whole scan"}}))
    rows = [(p, "K", m, np.nan if m == "K" else -1.0) for p in (5, 6) for m in STANDARD]
    table = pd.DataFrame(rows, columns=["position", "wild_type", "mutant", "z_score"])
    unknown = dict.fromkeys(("p_deleterious", "lddt_percentile", "lddt_predicted_mean"), np.nan)
    table.assign(**unknown).to_parquet(folder / "scan.parquet")
    (heat_map,) = draw_run(folder)
    assert heat_map.name == "heat_map"
    assert {*STANDARD} <= {*words(heat_map.svg).split()}
    assert "rank by drop z (1: most harmful)" in words(heat_map.svg)
    assert "ranked among all 38" in heat_map.caption
    (folder / "scan.parquet").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="scan again"):
        list(draw_run(folder))


def test_a_heat_map_has_its_rows_in_the_order_of_the_page(tmp_path, project):
    globin = read_structure(project / "examples" / "globin" / "wild_type.cif")
    folder = make_scan(tmp_path / "run", globin)
    (figure,) = draw_run(folder)
    said = words(figure.svg).split()
    first = said.index(ROWS[0])
    assert "".join(said[first : first + 20]) == ROWS
    assert sorted(ROWS) == sorted(STANDARD)
    assert f'"rows":"{ROWS}"' in render_scan(folder)


@pytest.mark.parametrize(
    ("numbering", "inputs", "stems"),
    [
        ("sequence", ("Y9W", "I10W"), ("Y5W", "I6W")),
        ("author", ("Y9W", "I10W"), ("Y9W", "I10W")),
        # File systems that do not tell capitals from small letters would mix these up.
        ("author", ("Y9aW", "Y9AW"), ("Y9aW-Y5W", "Y9AW-I6W")),
    ],
)
def test_figures_are_named_as_their_rows(tmp_path, numbering, inputs, stems):
    folder = made_up_run(tmp_path / "run", count=2)
    table = pd.read_csv(folder / "variants.csv", keep_default_na=False, dtype=str)
    table.loc[table["variant"] == "Y5W", "input"] = inputs[0]
    table.loc[table["variant"] == "I6W", "input"] = inputs[1]
    table.to_csv(folder / "variants.csv", index=False)
    said = json.loads((folder / "run.json").read_text())
    said.setdefault("arguments", {})["numbering"] = numbering
    (folder / "run.json").write_text(json.dumps(said))
    figures = {figure.name: figure for figure in draw_run(folder)}
    assert {name.removesuffix("_track") for name in figures if name.endswith("_track")} == {*stems}
    called = f"{inputs[0]} (Y5W)" if numbering == "author" else "Y5W"
    assert figures[f"{stems[0]}_track"].title.startswith(f"{called} ")
    assert called in words(figures["overview"].svg)


def test_the_command_writes_figures_into_a_folder(tmp_path):
    folder = made_up_run(tmp_path / "run", count=1)
    done = report(folder, "--format", "figures")
    assert done.exit_code == 0, done.output
    assert "4 figures" in done.stderr
    assert {p.suffix for p in (folder / "figures").iterdir()} == {".svg", ".png"}
    done = report(folder, "--format", "figures", "--out", folder / "run.json")
    assert done.exit_code == 2
    assert "expected a folder" in done.stderr


@pytest.mark.parametrize(("format", "name"), [("pymol", "view.pml"), ("chimerax", "view.cxc")])
def test_the_command_writes_viewer_scripts(tmp_path, format, name):
    folder = made_up_run(tmp_path / "run", count=1)
    done = report(folder, "--format", format)
    assert done.exit_code == 0, done.output
    script = (folder / "structures" / name).read_text()
    assert "Y5W.cif" in script
    assert "note" not in done.stderr
    done = report(folder, "--format", format, "--out", tmp_path / name)
    assert (tmp_path / name).read_text() == script
    assert "note: the script opens the files beside it" in done.stderr


def test_json_holds_the_whole_run(tmp_path):
    folder = with_evidence_and_null(made_up_run(tmp_path / "run"))
    done = report(folder, "--format", "json", "--out", tmp_path / "run.json")
    assert done.exit_code == 0, done.output
    data = json.loads((tmp_path / "run.json").read_text())
    assert [row["variant"] for row in data["variants"]] == ["Y5W", "I6W", "A7W"]
    assert data["variants"][0]["regions"] == [
        {
            "region": "F helix", "kind": "helix", "source": "UniProt", "stretches": [[12, 14]],
            "lddt_drop_predicted": 0.1, "z": 5.0, "lddt_drop_measured": 0.1, "distance_to_site": 3.8,
            "disturbed": True,
        }
    ]  # fmt: skip
    assert data["variants"][0]["tm_predicted"] is None
    assert data["evidence"]["Y5W"][0] == {"evidence": "burial", "value": HOSTILE, "contribution": 1.5}
    stored = pd.read_parquet(folder / "residues.parquet")
    one = stored[stored["variant"] == "I6W"]
    assert data["residues"]["I6W"]["affected"] == one["affected"].tolist()
    np.testing.assert_allclose(
        np.array(data["residues"]["I6W"]["lddt_measured"], dtype=float), one["lddt_measured"], atol=1e-6
    )
    assert data["positions"]["structure_number"] == one["structure_number"].tolist()
    assert len(data["null"]["residue_median"]) == len(SEQUENCE)
    assert data["headline"].endswith(".")


def test_json_of_something_else_is_an_error_and_leaves_nothing(tmp_path):
    done = report(tmp_path, "--format", "json")
    assert done.exit_code == 2
    assert "holds no variants.csv" in done.stderr
    assert not list(tmp_path.iterdir())
