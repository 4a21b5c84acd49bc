"""The words of a table for verdict, structure, confidence and place."""

import pytest

from mutscan.reports.affected import AffectedRegion
from mutscan.reports.findings import (
    display_name,
    short_context,
    structure_finding,
    verdict,
)

NAN = float("nan")
ROW = {
    "status": "ok", "flag": "uncertain", "variant": "L38D", "flag_rule": "", "lddt_predicted_mean": 0.99,
}  # fmt: skip
RULE = "p >= 0.78 (specificity 0.83); structure {}disturbed: lDDT drop z {} (specificity 0.92)"


def region(name, disturbed):
    return AffectedRegion(name, "helix", "structure", ((3, 9),), 0.01, 2.0, NAN, 4.0, disturbed)


@pytest.mark.parametrize(
    ("rule", "regions", "state", "why"),
    [
        ("", [region("helix 1", False)], "not disturbed", "no region beyond background"),
        ("", [region("helix 1", True), region("helix 2", True)], "disturbed", "helix 1, helix 2"),
        (RULE.format("", "5.29 >= 1.34"), [], "disturbed", "lDDT drop z 5.29 >= 1.34;"),
        (RULE.format("not ", "0.2 < 1.34"), [region("a", False)], "not disturbed", "z 0.2 < 1.34; no region"),
        (RULE.format("not ", "0.2 < 1.34"), [region("a", True)], "disturbed", "beyond background: a"),
    ],
)
def test_the_structure_is_judged_by_rule_and_regions(rule, regions, state, why):
    found = structure_finding(ROW | {"flag_rule": rule}, regions)
    assert found.state == state
    assert why in found.why


def test_what_no_rule_covers_is_not_assessed():
    indel = ROW | {"variant": "K50del", "flag": "", "flag_rule": "not assessed: an insertion or a deletion"}
    assert structure_finding(indel, [region("a", True)]).state == "not assessed"
    assert verdict(indel, judged=True) == verdict(indel, judged=False) == "not assessed"
    unjudged = ROW | {"flag": ""}
    assert verdict(unjudged, judged=True) == "not assessed"
    assert verdict(unjudged, judged=False) == ""
    assert verdict(ROW, judged=True) == "uncertain"
    assert structure_finding(ROW | {"status": "failed"}, []).state == ""


@pytest.mark.parametrize(
    ("cell", "short"),
    [
        ("", ""),
        ("loop (42-49); exposed (61 % accessible)", "loop (42-49); exposed"),
        ("in Globin domain (UniProt); next to motif 12-15 (UniProt)", "next to motif 12-15"),
        ("helix 1 (5-19); buried; at active site 7 (UniProt); 3 Å from x (y) (UniProt)",
         "helix 1 (5-19); buried; at active site 7"),
        ("10: helix 1 (5-19); half buried (7 % accessible) | 144: loop (144-147); exposed (50 % accessible)",
         "10: helix 1 (5-19); half buried | 144: loop (144-147); exposed"),
        ("helix 1 (5-19); touches helix 6 (127-143)", "helix 1 (5-19)"),
    ],
)  # fmt: skip
def test_the_place_in_short(cell, short):
    assert short_context(cell) == short


@pytest.mark.parametrize(
    ("name", "shown"),
    [("sp|P60484|PTEN_HUMAN", "PTEN"), ("tr|Q8WXR4|Q8WXR4_MOUSE", "Q8WXR4"), ("P53_HUMAN", "P53_HUMAN"),
     ("sp|P60484", "sp|P60484"), ("wild_type", "wild_type"), ("ref|NP_000537.3|", "ref|NP_000537.3|")],
)  # fmt: skip
def test_names_for_people(name, shown):
    assert display_name(name) == shown
