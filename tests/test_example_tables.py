"""examples/pten_scan and examples/panel: their commands give what is kept beside them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.example_pages import (
    EXAMPLES,
    assert_files,
    assert_pictures,
    blocks,
    copied,
    run_commands,
    run_words,
)

PTEN = EXAMPLES / "pten_scan" / "README.md"
PANEL = EXAMPLES / "panel" / "README.md"


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def assert_near(got: pd.DataFrame, want: pd.DataFrame, column: str, tolerance: float) -> None:
    one, other = got[column].to_numpy(dtype=float), want[column].to_numpy(dtype=float)
    np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("page", [PTEN, PANEL], ids=["pten_scan", "panel"])
def test_files_and_pictures_of_the_page_are_there(page: Path) -> None:
    assert_files(page)
    assert_pictures(page)
    assert "CC BY 4.0" in page.read_text(encoding="utf-8")


# A scan -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = copied("pten_scan", tmp_path_factory.mktemp("pten"))
    return folder, run_commands(PTEN, folder)


@pytest.mark.slow
def test_the_scan_gives_the_expected_design_table(scanned: tuple[Path, str]) -> None:
    folder, said = scanned
    got, want = table(folder / "pten-run" / "design.csv"), table(PTEN.parent / "expected" / "design.csv")
    assert [*got] == [*want]
    for column in ("position", "wild_type", "element", "burial", "accessibility", "plddt"):
        assert got[column].tolist() == want[column].tolist(), column
    # Rounding of other processors may exchange neighbours in a list of letters, or move one over a line.
    assert_near(got, want, "p_deleterious_mean", 5e-3)
    assert_near(got, want, "tolerance", 0.11)
    for column in ("tolerated", "uncertain", "best", "worst"):
        assert (got[column] == want[column]).mean() > 0.95, column
    assert blocks(PTEN)[0] in said


@pytest.mark.slow
def test_the_page_says_what_the_design_table_holds(scanned: tuple[Path, str]) -> None:
    folder, _ = scanned
    (code,) = blocks(PTEN, "python")
    positions = [line.split()[0] for line in run_words(["-c", code], folder).splitlines()]
    assert positions == [line.split()[0] for line in blocks(PTEN)[1].splitlines()]
    design = table(folder / "pten-run" / "design.csv").set_index("position")
    assert "A" in design.at["92", "uncertain"]
    assert "C" in design.at["103", "tolerated"]
    assert "C" in design.at["110", "tolerated"]
    refused = (design["tolerated"] == "") & (design["uncertain"] == "")
    assert refused.sum() == 30


# A panel ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_panel_gives_the_expected_tables(tmp_path: Path) -> None:
    folder = copied("panel", tmp_path)
    said = run_commands(PANEL, folder)
    summary, proteins = blocks(PANEL)
    assert summary in said
    expected = PANEL.parent / "expected"
    assert (folder / "panel-run" / "proteins.csv").read_text(encoding="utf-8") == proteins
    assert (expected / "proteins.csv").read_text(encoding="utf-8") == proteins
    got, want = table(folder / "panel-run" / "variants.csv"), table(expected / "variants.csv")
    assert len(got) == 40
    assert [*got] == [*want]
    for column in ("input", "status", "message", "wild_type", "variant", "hgvs", "flag", "gene", "label"):
        assert got[column].tolist() == want[column].tolist(), column
    assert_near(got, want, "p_deleterious", 5e-3)
    counted = pd.crosstab(got["label"], got["flag"])
    page = PANEL.read_text(encoding="utf-8")
    for label in counted.index:
        row = [str(counted.at[label, flag]) for flag in ("deleterious", "uncertain", "tolerated")]
        assert f"| {label} ({counted.loc[label].sum()}) | {' | '.join(row)} |" in page
