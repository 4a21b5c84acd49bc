"""Flags of scans against a plain count; cut-offs that are missing or no numbers."""

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.train.evaluate.scan_flags import (
    FLAG_HEADS,
    FLAG_MEASURES,
    assay_flags,
    below_cutoff,
    with_cutoffs,
)
from mutscan.train.evaluate.variant_metrics import dms_section
from tests.made_up_scores import made_up_scored


def test_flags_of_an_assay_are_counted_against_its_own_cutoff() -> None:
    scored = made_up_scored("dms", cutoff=[0.2, -0.5, np.nan])
    table, flag = scored.table, scored.evidence.flag
    section, _ = dms_section(scored, {})
    for p, cutoff in ((0, 0.2), (1, -0.5)):
        mine = table.protein == p
        low, hit = table.value[mine] < cutoff, flag[mine] == "deleterious"
        row = section[f"P{p}"]
        assert row["cutoff"] == cutoff
        assert row["share_below_cutoff"] == pytest.approx(low.mean())
        assert row["share_flagged"] == pytest.approx(hit.mean())
        assert row["precision"] == pytest.approx(low[hit].mean())
        assert row["recall"] == pytest.approx(hit[low].mean())
        assert row["harmful_tolerated"] == pytest.approx((flag[mine] == "tolerated")[low].mean())
        for key in FLAG_MEASURES:
            low_end, high_end = row[f"{key}_ci"]
            assert low_end < row[key] < high_end
    assert "cutoff" not in section["P2"]
    assert section["n_assays_with_cutoff"] == 2
    for key in FLAG_MEASURES:
        assert section[f"mean_{key}"] == pytest.approx((section["P0"][key] + section["P1"][key]) / 2)
        ends = sorted((section["P0"][key], section["P1"][key]))
        assert section[f"mean_{key}_ci"] == pytest.approx(ends)  # two groups: their values are the ends
    assert list(FLAG_HEADS) == list(FLAG_MEASURES)


def test_the_mean_of_one_assay_has_the_interval_of_that_assay() -> None:
    section, _ = dms_section(made_up_scored("dms", cutoff=[0.0], n_proteins=1), {})
    for key in FLAG_MEASURES:
        assert section[f"mean_{key}_ci"] == section["P0"][f"{key}_ci"]


def test_variants_without_a_probability_are_not_counted_and_no_flag_means_no_precision() -> None:
    scored = made_up_scored("dms", cutoff=[0.2, -0.5, np.nan])
    rows = np.flatnonzero(scored.table.protein == 0)
    whole = assay_flags(scored, rows[:30])
    scored.evidence.p[rows[30:]] = np.nan
    assert assay_flags(scored, rows) == whole
    scored.evidence.flag[rows] = "uncertain"
    found = assay_flags(scored, rows)
    assert (found["precision"], found["precision_ci"], found["share_flagged"]) == (None, None, 0.0)


def test_a_table_without_cutoffs_has_no_flag_measures() -> None:
    section, _ = dms_section(made_up_scored("dms"), {})
    assert section["n_assays_with_cutoff"] == 0
    assert section["mean_precision"] is None
    assert "share_flagged" not in section["P0"]
    assert np.isnan(below_cutoff(made_up_scored("dms").table)).all()


def test_a_cutoff_that_is_no_number_is_named(tmp_path) -> None:  # type: ignore[no-untyped-def]
    proteins = pd.DataFrame({"protein": ["a", "b"], "cutoff": ["0.5", "low"]})
    with pytest.raises(UsageError, match=r"proteins.csv: the cutoff of b is 'low'; expected a number"):
        with_cutoffs(proteins, tmp_path / "proteins.csv")
    proteins.loc[1, "cutoff"] = np.nan
    assert with_cutoffs(proteins, tmp_path)["cutoff"].tolist()[0] == 0.5
