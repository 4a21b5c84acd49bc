"""The words of a table for verdict, structure, confidence and place."""

import pytest

from mutscan.reports.affected import AffectedRegion
from mutscan.reports.findings import (
    confidence_reason,
    display_name,
    short_context,
    structure_finding,
    verdict,
)

NAN = float("nan")
ROW = {
    "status": "ok", "flag": "uncertain", "n_substitutions": 1.0, "flag_rule": "", "confidence": "high",
    "notes": "", "message": "",
}  # fmt: skip
RULE = "p >= 0.78 (specificity 0.83); structure {}disturbed: lDDT drop z {} (specificity 0.92)"


def region(name, disturbed):
    return AffectedRegion(name, "helix", "structure", ((3, 9),), 0.01, 2.0, NAN, 4.0, disturbed)


@pytest.mark.parametrize(
    ("rule", "regions", "state", "why"),
    [
        ("", [], "not assessed", "not predicted"),
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
    indel = ROW | {"n_substitutions": 0.0, "flag_rule": RULE.format("", "9 >= 1"), "status": "partial"}
    assert structure_finding(indel, [region("a", True)]).state == verdict(indel) == "not assessed"
    assert verdict(ROW | {"flag": ""}) == "not assessed"
    assert verdict(ROW) == "uncertain"
    assert structure_finding(ROW | {"status": "failed"}, []).state == ""


@pytest.mark.parametrize(
    ("confidence", "notes", "message", "reason"),
    [
        ("high", "position 3 is within 5 residues of an end", "", ""),
        ("low", "a clash remains: W1; opens a bridge", "", "a clash remains: W1"),
        ("low", "a clash remains: W1; pLDDT 40 at the site", "", "pLDDT 40 at the site"),
        ("medium", "outside what was calibrated", "A1C: no atoms", "A1C: no atoms"),
        ("medium", "sequence only: no structure was given or found", "", "sequence only: no structure was"),
        ("medium", "", "", "no structure of the mutant was built"),
    ],
)
def test_a_confidence_below_high_has_its_reason(confidence, notes, message, reason):
    said = confidence_reason(ROW | {"confidence": confidence, "notes": notes, "message": message})
    assert said.startswith(reason)
    assert bool(said) is bool(reason)


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
