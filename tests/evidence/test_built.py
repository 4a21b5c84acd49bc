"""Evidence of built mutants: what moved and what was lost, and how the built tier weighs it."""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from Bio.PDB import PDBParser
from Bio.PDB.SASA import ShrakeRupley

import mutscan
from mutscan.builders import Exchange
from mutscan.builders.template import TemplateBuilder
from mutscan.evidence import load_calibration
from mutscan.evidence.built import BUILT_EVIDENCE, _Site, built_evidence
from mutscan.evidence.wording import describe, group_of
from mutscan.structures import Structure, read_structure, write_structure
from tests.made_up_calibration import calibrate_tiny_model
from tests.peptides import helix, without
from tests.places import GLOBIN

WILD_TYPE = GLOBIN / "wild_type.cif"
CHANGES = [name for name in BUILT_EVIDENCE if name not in ("built_accessibility", "built_contacts")]


@pytest.fixture(scope="module")
def globin() -> Structure:
    return read_structure(WILD_TYPE)


@pytest.fixture(scope="module")
def prepared(globin, tmp_path_factory):
    return TemplateBuilder().prepare(globin, tmp_path_factory.mktemp("template"))


def buried(structure: Structure, letter: str) -> int:
    """The residue of a kind with the most side-chain contacts, away from the ends."""
    sites = [i for i in range(10, len(structure) - 10) if structure.sequence[i] == letter]
    return max(sites, key=lambda i: _Site(structure, i).contacts()[0])


def test_a_mutant_like_its_wild_type_shows_no_change(globin):
    for index in (0, buried(globin, "L"), globin.sequence.index("G", 10), len(globin) - 1):
        found = built_evidence(globin, globin, index)
        assert found.keys() == BUILT_EVIDENCE.keys()
        moved = [found[name] for name in CHANGES if name != "built_phi_misfit"]
        assert moved == [0.0] * len(moved)


def test_what_moves_is_measured(globin):
    site = buried(globin, "L")
    coord = globin.coord.copy()
    coord[globin.atoms_of(site)] += (0.0, 0.0, 1.5)
    found = built_evidence(globin, dataclasses.replace(globin, coord=coord), site)
    assert found["built_site_shift"] == found["built_max_shift"] == pytest.approx(1.5)
    assert found["built_near_shift"] == 0.0
    assert 0.0 < found["built_tm_drop"] < 0.02
    assert found["built_lddt_drop_site"] > 0.05
    assert found["built_lddt_drop"] >= found["built_lddt_drop_site"]


def test_a_lost_side_chain_leaves_its_contacts(globin, prepared):
    site = buried(globin, "F")
    cut = built_evidence(globin, prepared.build([Exchange(site, "A")]).structure, site)
    assert cut["built_contacts"] > 40
    assert cut["built_contacts_change"] < -20
    assert cut["built_contacts_lost"] >= 1
    assert cut["built_buried_change"] < -60
    assert cut["built_accessibility"] < 0.3
    small = next(
        i for i in range(20, 120) if globin.sequence[i] == "A" and _Site(globin, i).contacts()[0] > 10
    )
    crammed = built_evidence(globin, prepared.build([Exchange(small, "W")]).structure, small)
    assert crammed["built_contacts_change"] > 20
    assert crammed["built_room"] > 2.0 > cut["built_room"]


def test_polar_contacts_and_salt_bridges_are_counted(globin):
    bridged = [
        i for i, letter in enumerate(globin.sequence) if letter in "KRDE" and _Site(globin, i).salt() > 0
    ]
    assert bridged
    site = bridged[0]
    names = {
        (site, n) for n in globin.atom_name[globin.atoms_of(site)] if n not in ("N", "CA", "C", "O", "CB")
    }
    alanine = without(globin, names)
    alanine = dataclasses.replace(alanine, sequence=f"{globin.sequence[:site]}A{globin.sequence[site + 1 :]}")
    found = built_evidence(globin, alanine, site)
    assert found["built_salt_change"] == -_Site(globin, site).salt()
    assert found["built_polar_change"] < 0


def test_surface_is_that_of_an_independent_program(globin, tmp_path):
    """Bio.PDB's Shrake-Rupley with the same radii and more points."""
    write_structure(globin, tmp_path / "g.pdb")
    theirs = PDBParser(QUIET=True).get_structure("g", str(tmp_path / "g.pdb"))
    ShrakeRupley(n_points=300, radii_dict={"C": 1.75, "N": 1.6, "O": 1.5, "S": 1.8}).compute(
        theirs, level="A"
    )
    residues = list(theirs.get_residues())
    for site in [i for i, one in enumerate(globin.sequence) if one in "LKW"]:
        expected = sum(a.sasa for a in residues[site] if a.get_name() not in ("N", "CA", "C", "O", "OXT"))
        reached, whole = _Site(globin, site).surface()
        assert reached == pytest.approx(expected, abs=0.04 * whole)


def test_a_left_handed_site_takes_glycine_only():
    right = helix("A" * 12)
    left = dataclasses.replace(right, coord=right.coord * (1.0, 1.0, -1.0))  # the mirror image
    assert built_evidence(right, right, 5)["built_phi_misfit"] == 0.0
    assert built_evidence(left, left, 5)["built_phi_misfit"] == pytest.approx(98.0, abs=1.0)  # phi +63
    glycine = dataclasses.replace(left, sequence="AAAAAGAAAAAA")
    assert built_evidence(left, glycine, 5)["built_phi_misfit"] == 0.0
    assert math.isnan(built_evidence(right, right, 0)["built_phi_misfit"])


def test_what_is_not_there_is_not_known(globin):
    bare = without(globin, {(i, n) for i in range(len(globin)) for n in set(globin.atom_name) - {"CA"}})
    found = built_evidence(bare, bare, 50)
    assert found["built_site_shift"] == 0.0
    assert math.isnan(found["built_contacts"])
    assert math.isnan(found["built_phi_misfit"])
    gone = without(globin, {(50, "CA")})
    assert all(math.isnan(x) for x in built_evidence(globin, gone, 50).values())
    with pytest.raises(ValueError, match="12 in the mutant"):
        built_evidence(globin, helix("A" * 12), 5)


def test_every_piece_has_a_group_that_is_told_in_words(globin, prepared):
    site = buried(globin, "F")
    found = built_evidence(globin, prepared.build([Exchange(site, "A")]).structure, site)
    said = {group: describe(group, found) for group in map(group_of, BUILT_EVIDENCE)}
    assert set(said) == {"built: movement", "built: contacts", "built: fit"}
    assert "atom contacts within 5 Å, -" in said["built: contacts"]
    assert "moves" in said["built: movement"]
    assert said["built: fit"].startswith("the new side chain fits in")
    assert all(describe(group, {}) == "not known" for group in said)


VARIANTS = ("L38D", "L38V", "L38D;E10K", "E10K", "K40del")


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny", built="template")


def rows_of(model: Path, out: Path, builder: str) -> dict[str, dict[str, str]]:
    mutscan.score(str(WILD_TYPE), VARIANTS, out=out, model=str(model), builder=builder, offline=True, jobs=1)
    with (out / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return {row["variant"]: row for row in csv.DictReader(stream)}


@pytest.mark.timeout(120)
def test_built_mutants_are_judged_by_their_own_tier_and_others_as_before(model, tiny_model, tmp_path):
    built, plain = rows_of(model, tmp_path / "a", "template"), rows_of(model, tmp_path / "b", "none")
    for name in ("L38D", "L38V", "E10K"):
        assert "(built evidence" in built[name]["flag_rule"] or "; built evidence" in built[name]["flag_rule"]
        assert "structure evidence" in plain[name]["flag_rule"]
        assert built[name]["p_deleterious"] != plain[name]["p_deleterious"]
    # A joint mutant is judged by its worst substitution alone, and that was not what was built.
    joint = next(name for name in built if ";" in name)
    for column in ("p_deleterious", "flag", "flag_rule"):
        assert built[joint][column] == plain[joint][column]
    assert built["K40del"]["p_deleterious"] == plain["K40del"]["p_deleterious"] == ""
    # What is said adds up to the log-odds.
    calibration = load_calibration(model)
    assert calibration is not None
    table = pd.read_parquet(tmp_path / "a" / "evidence.parquet")
    for name in ("L38D", "E10K"):
        p = float(built[name]["p_deleterious"])
        total = calibration.tiers["built"].intercept + table[table["variant"] == name]["contribution"].sum()
        assert math.log(p / (1 - p)) == pytest.approx(total, abs=1e-3)
        assert "built: contacts" in set(table[table["variant"] == name]["evidence"])
    # Mutants of a backend that the tier does not know are measured, and judged without.
    other = calibrate_tiny_model(tiny_model, tmp_path / "openmm", built="openmm")
    assert "structure evidence" in rows_of(other, tmp_path / "c", "template")["L38D"]["flag_rule"]


def test_rows_without_a_mutant_fall_back(model):
    calibration = load_calibration(model)
    assert calibration is not None
    assert calibration.weighs_built == "template"
    from mutscan.evidence import ProteinView

    globin = read_structure(WILD_TYPE)
    width = len(calibration.tiers["structure"].model.maps["context_site"].weights)
    view = ProteinView(globin.sequence, None, np.zeros((len(globin), width), np.float32), globin.ca)
    index, mutant = np.array([30, 30, 40]), np.array([0, 0, 0])
    built = {name: np.array([0.0, np.nan, np.nan]) for name in BUILT_EVIDENCE}
    judged = calibration.assess(view, index, mutant, built)
    assert judged.tier_of.tolist() == ["built", "structure", "structure"]
    alone = calibration.assess(view, index, mutant)
    assert alone.tier_of.tolist() == ["structure"] * 3
    np.testing.assert_array_equal(judged.p_deleterious[1:], alone.p_deleterious[1:])
    base = np.log(alone.p_deleterious[0] / (1 - alone.p_deleterious[0]))
    assert judged.p_deleterious[0] == pytest.approx(1 / (1 + np.exp(-(0.5 * base + 0.1))))
