"""Published correlations of other models beside the model's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.train.evaluate.reference import read_reference, reference_section
from mutscan.train.evaluate.variant_metrics import dms_section
from tests.made_up_scores import made_up_scored

TABLE = pd.DataFrame({
    "assay": ["P0", "P2", "elsewhere"], "Mine": [0.1, 0.3, 0.5], "GEMME": [0.2, np.nan, 0.9],
    "Number of Mutants": [100, 200, 300],
})  # fmt: skip


def test_means_are_over_the_assays_that_both_have(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "r.csv", index=False)
    scored = made_up_scored("dms")
    dms, _ = dms_section(scored, {})
    found = reference_section(read_reference(tmp_path / "r.csv"), scored, dms)
    assert found["shown"] == ["GEMME"]
    assert found["assays"] == {name: dms[name]["spearman"] for name in ("P0", "P2")}
    mine, gemme = found["models"]["Mine"], found["models"]["GEMME"]
    assert set(found["models"]) == {"Mine", "GEMME"}
    assert (mine["n_assays"], gemme["n_assays"]) == (2, 1)
    assert mine["mean_spearman"] == pytest.approx(0.2)
    ours = np.array([dms["P0"]["spearman"], dms["P2"]["spearman"]])
    assert mine["ours_mean_spearman"] == pytest.approx(ours.mean())
    assert mine["mean_spearman_difference"] == pytest.approx(ours.mean() - 0.2)
    assert mine["mean_spearman_difference_ci"] == pytest.approx(sorted(ours - [0.1, 0.3]))
    assert gemme["ours_mean_spearman"] == pytest.approx(ours[0])
    assert "zero-shot" in found["caveat"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE.drop(columns="assay"), "expected a column assay and a column of correlations"),
        (TABLE.assign(Mine=[0.1, 1.3, 0.5]), r"line 3, column Mine: '1.3' is not a correlation"),
        (TABLE.assign(Mine=["0.1", "0.3", "good"]), r"line 4, column Mine: 'good' is not a correlation"),
        (TABLE.assign(assay="P0"), "the assay P0 is listed twice"),
        (TABLE.assign(assay=["x", "y", "z"]), r"lists none of the assays of --dms \(such as P0\)"),
    ],
)
def test_a_bad_file_is_refused(table: pd.DataFrame, message: str, tmp_path: Path) -> None:
    table.to_csv(tmp_path / "r.csv", index=False)
    scored = made_up_scored("dms")
    with pytest.raises(UsageError, match=message):
        reference_section(read_reference(tmp_path / "r.csv"), scored, dms_section(scored, {})[0])


def test_the_layout_of_proteingym_is_read(shared: Path) -> None:
    published = read_reference(shared / "data/variants/proteingym_reference.csv")
    assert {"Site-Independent", "GEMME", "ESM2 (650M)", "RSALOR"} <= set(published.spearman)
    assert "Number of Mutants" not in published.spearman
