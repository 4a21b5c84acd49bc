"""Where distances change: found where they were changed, and in the colours that the report uses."""

import re

import numpy as np
import pytest

from mutscan.reports.changes import COLOURS, largest_change, reach_of


def changed(rows, columns, by, length=60):
    change = np.zeros((length, length))
    for first, second in ((rows, columns), (columns, rows)):
        change[first[0] - 1 : first[1], second[0] - 1 : second[1]] = by
    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed((12, 20), (41, 50), 1.4), "residues 12-20 against 41-50, 1.4 Å farther apart."),
        (changed((1, 1), (60, 60), -2.0), "residues 1 against 60, 2.0 Å closer together."),
        (changed((5, 30), (20, 40), 3.0), "residues 5-19 against 20-40, 3.0 Å farther apart."),
    ],
)
def test_the_largest_change_is_found(change, said):
    assert largest_change(change).endswith(said)


def test_neighbours_that_change_less_than_half_are_left_out():
    change = changed((10, 20), (40, 50), 1.0)
    change[9:12] *= 0.4
    change[:, 9:12] *= 0.4
    assert "residues 13-20 against 40-50, 1.0 Å" in largest_change(change)
    change[14, :] = change[:, 14] = np.nan
    assert "residues 13-14 against 40-50" in largest_change(change)


def test_what_stands_still_is_said_to():
    assert largest_change(np.full((9, 9), np.nan)) == "No distance changes by more than 0.5 Å."
    assert largest_change(changed((3, 3), (7, 7), 0.3)) == (
        "No distance changes by more than 0.5 Å; the largest change is 0.30 Å, between residues 3 and 7."
    )
    assert "No distance" in largest_change(changed((3, 3), (7, 7), 0.5))
    assert "0.6 Å" in largest_change(changed((3, 3), (7, 7), 0.55))


def test_the_scale_is_never_finer_than_half_an_angstrom():
    assert reach_of(np.full((5, 5), np.nan)) == reach_of(np.zeros((5, 5))) == 0.5
    assert reach_of(np.full((50, 50), -4.0)) == 4.0
    one = np.zeros((100, 100))
    one[0, 1] = one[1, 0] = 9.0
    assert reach_of(one) == 0.5  # two of 10,000


def test_the_report_uses_the_same_colours(project):
    script = (project / "mutscan/reports/templates/data.js").read_text(encoding="utf-8")
    stops = re.search(r"const gainLoss = ramp\(\[(.*?)\]\)", script)
    assert tuple(re.findall(r"#\w{6}", stops[1])) == COLOURS
