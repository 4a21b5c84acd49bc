"""The shipped example gives what is kept beside it, with the shipped model."""

import csv
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mutscan.results import VARIANT_COLUMNS
from tests.places import GLOBIN, ROOT

pytestmark = pytest.mark.slow

EXAMPLE = GLOBIN

# Predicted scores repeat to 1e-4 on any CPU. Built structures pass through a minimiser that
# amplifies rounding of other processors; their scores are compared more loosely.
TOLERANCE = {"_predicted": 1e-4, "_measured": 2e-2, "ca_shift": 0.3, "percentile": 4.0, "z_score": 0.1}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run folder and terminal output of the README's command, from another folder than the project's."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(
        [
            sys.executable, "-m", "mutscan", "score", str(EXAMPLE / "wild_type.cif"),
            "--variants", str(EXAMPLE / "variants.csv"), "--offline", "--out", "globin-run",
            "--inverse-folding", "off",  # as of a plain install, also where the extra is installed
        ],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1]), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr  # two rows are wrong on purpose
    return elsewhere / "globin-run", done.stderr + done.stdout


@pytest.fixture(scope="module")
def example_run(finished: tuple[Path, str]) -> Path:
    return finished[0]


def test_readme_shows_what_the_command_prints(finished: tuple[Path, str]) -> None:
    printed = [line.rstrip() for line in finished[1].splitlines()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme.split("<!-- output:begin -->\n```\n")[1].split("```\n<!-- output:end -->")[0].splitlines()
    assert len(shown) > 5
    start = printed.index(shown[0])
    assert printed[start : start + len(shown)] == shown


def test_rows_are_the_expected_ones(example_run: Path) -> None:
    got, expected = _rows(example_run / "variants.csv"), _rows(EXAMPLE / "expected" / "variants.csv")
    assert len(got) == len(expected) == 14
    exact = (
        "input", "status", "error_code", "message", "variant", "hgvs", "positions", "structure_number", "why",
    )  # fmt: skip
    for row, want in zip(got, expected, strict=True):
        assert {key: row[key] for key in exact} == {key: want[key] for key in exact}
        for column in VARIANT_COLUMNS:
            allowed = next((t for part, t in TOLERANCE.items() if part in column), None)
            if allowed is None:
                continue
            assert (row[column] == "") == (want[column] == ""), column
            if want[column]:
                assert math.isclose(float(row[column]), float(want[column]), rel_tol=0, abs_tol=allowed), (
                    row["input"],
                    column,
                )


def test_the_good_rows_are_built_and_the_mistakes_explained(example_run: Path) -> None:
    rows = {row["input"]: row for row in _rows(example_run / "variants.csv")}
    assert sum(row["status"] == "ok" for row in rows.values()) == 12
    assert "147" in rows["L200P"]["message"]
    assert rows["L200P"]["error_code"] == "position_out_of_range"
    assert rows["H101A"]["error_code"] == "wild_type_mismatch"
    for row in rows.values():
        if row["status"] == "ok":
            assert 0.9 < float(row["tm_measured"]) <= 1


def test_the_report_asks_for_nothing_from_the_network(example_run: Path) -> None:
    html = (example_run / "report.html").read_text(encoding="utf-8")
    for loading in ('src="http', "src='http", 'src="//', "@import", "url(http", "<script src"):
        assert loading not in html
    assert html.count("L38D") >= 1
