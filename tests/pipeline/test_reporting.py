"""`mutscan.report`: what is drawn again, and where it lies."""

import json
from pathlib import Path

import pytest

import mutscan
from mutscan.errors import UsageError
from mutscan.pipeline.reporting import write_report
from mutscan.reports.saved import missing_note
from mutscan.structures import read_structure
from tests.fabricated import make_run
from tests.fabricated_scan import make_scan
from tests.places import GLOBIN


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("html", "report.html"),
        ("json", "report.json"),
        ("figures", "figures"),
        ("xlsx", "report.xlsx"),
    ],
)
def test_a_run_is_drawn_where_it_lies_or_elsewhere(format: str, name: str, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    make_run(directory)
    (directory / name).unlink(missing_ok=True)
    assert mutscan.report(directory, format=format, offline=True) == directory / name
    assert (directory / name).exists()
    other = tmp_path / "other"
    assert mutscan.report(str(directory), format=format, out=other, offline=True) == other
    assert other.exists()


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of html, pymol"):
        mutscan.report(tmp_path, format="pdf")


@pytest.mark.parametrize("format", ["html", "json", "xlsx"])
def test_a_part_of_a_job_is_named_as_such(format: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"shard": "1/3"}')
    with pytest.raises(UsageError, match=r"is a part of a job \(1/3\); join the parts with mutscan merge"):
        mutscan.report(tmp_path, format=format)


def test_all_public_names_are_there() -> None:
    for name in mutscan.__all__:
        assert getattr(mutscan, name) is not None
    for name in ("batch", "check", "cite", "compare", "merge", "report", "scan", "score"):
        assert callable(getattr(mutscan, name))


@pytest.mark.parametrize(
    "name", ["residues.parquet", "evidence.parquet", "null.parquet", "structures/wild_type.cif"]
)
def test_a_file_that_is_gone_is_named(name: str, tmp_path: Path) -> None:
    make_run(tmp_path, calibrated=True, protein=read_structure(GLOBIN / "wild_type.cif"))
    described = json.loads((tmp_path / "run.json").read_text())
    described |= {"calibration": {"tiers": {"sequence": {}}}, "null": ["A1C"]}
    (tmp_path / "run.json").write_text(json.dumps(described))
    assert "missing in" not in mutscan.report(tmp_path, offline=True).read_text()
    (tmp_path / name).unlink()
    words = f"missing in {tmp_path}: {name}; what they hold is not shown"
    assert words in mutscan.report(tmp_path, offline=True).read_text()
    for format in ("html", "json", "figures", "xlsx"):
        assert words in write_report(tmp_path, format, None, offline=True).note


@pytest.mark.parametrize("name", ["positions.csv", "scan.parquet"])
def test_a_table_of_a_scan_that_is_gone_is_named(name: str, tmp_path: Path) -> None:
    make_scan(tmp_path, read_structure(GLOBIN / "wild_type.cif"))
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=rf"{name} is missing; run mutscan scan again"):
        mutscan.report(tmp_path, offline=True)


def test_the_background_of_a_whole_scan_is_missed(tmp_path: Path) -> None:
    make_run(tmp_path, calibrated=True)
    (tmp_path / "null.parquet").unlink()
    assert "null.parquet" not in missing_note(tmp_path, {"null": [], "scan": {"null": "none"}})
    assert "null.parquet" in missing_note(tmp_path, {"null": [], "scan": {"null": "whole scan"}})
