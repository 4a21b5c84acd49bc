"""The Excel workbook of a run: read back by another library, every cell as it was."""

import sys

import pandas as pd
import pytest

from mutscan.errors import MissingDependencyError, UsageError
from mutscan.reports.saved import read_run
from mutscan.reports.workbook import write_workbook
from tests.fabricated import make_run

openpyxl = pytest.importorskip("openpyxl", reason="openpyxl is not installed here")
pytest.importorskip("xlsxwriter", reason="XlsxWriter is not installed here")


def read_back(path):
    book = openpyxl.load_workbook(path)
    return {sheet.title: [[cell.value for cell in row] for row in sheet.rows] for sheet in book}, book


def test_every_sheet_reads_back_as_the_tables_of_the_run(tmp_path):
    folder = make_run(tmp_path / "run", carried={"gene": "=SUM(A1)", "note": "0012"}, calibrated=True)
    run = read_run(folder)
    write_workbook(run, tmp_path / "r.xlsx")
    sheets, book = read_back(tmp_path / "r.xlsx")
    assert list(sheets) == ["variants", "regions", "evidence", "run"]
    table = pd.DataFrame(sheets["variants"][1:], columns=sheets["variants"][0])
    assert list(table.columns) == [*run.variants.columns, "structure_disturbed", "sentence"]
    assert table["variant"].dropna().tolist() == [v for v in run.variants["variant"] if v]
    pd.testing.assert_series_equal(
        table["z_score"].astype(float), run.variants["z_score"], check_dtype=False, rtol=1e-12
    )
    # text that looks like a formula or a number is text
    at = sheets["variants"][0].index("gene") + 1
    assert book["variants"].cell(2, at).data_type == "s"
    assert set(table["gene"].dropna()) == {"=SUM(A1)"}
    assert set(table["note"].dropna()) == {"0012"}
    assert not [c for sheet in book for row in sheet.rows for c in row if c.data_type == "f"]
    stored = pd.read_parquet(folder / "regions.parquet")
    regions = pd.DataFrame(sheets["regions"][1:], columns=sheets["regions"][0])
    assert list(regions["region"]) == list(stored["region"])
    assert regions["z"].astype(float).tolist() == pytest.approx(stored["z"].tolist())
    assert regions["disturbed"].tolist() == stored["disturbed"].tolist()
    assert len(sheets["evidence"]) == len(pd.read_parquet(folder / "evidence.parquet")) + 1
    assert book["variants"].freeze_panes == "B2"


def test_the_same_run_gives_the_same_bytes(tmp_path):
    run = read_run(make_run(tmp_path / "run", count=2))
    for name in ("a", "b"):
        write_workbook(run, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_of_too_many_regions_the_telling_ones_stay(tmp_path, monkeypatch):
    run = read_run(make_run(tmp_path / "run", count=5))
    monkeypatch.setattr("mutscan.reports.workbook.MOST_ROWS", 10)
    write_workbook(run, tmp_path / "r.xlsx")
    sheets, _ = read_back(tmp_path / "r.xlsx")
    assert [row[0] for row in sheets["regions"][1:]] == list(run.scored["variant"])
    monkeypatch.setattr("mutscan.reports.workbook.MOST_ROWS", 3)
    with pytest.raises(UsageError, match="7 rows do not fit an Excel sheet"):
        write_workbook(run, tmp_path / "r.xlsx")


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    run = read_run(make_run(tmp_path / "run", count=1))
    with pytest.raises(MissingDependencyError, match=r"pip install 'mutscan\[xlsx\]'"):
        write_workbook(run, tmp_path / "r.xlsx")
