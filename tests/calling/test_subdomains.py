"""Measured drops, subdomains joined in space, their names, and working residues near them."""

import numpy as np
import pytest

from mutscan.calling import (
    FunctionalSites,
    Namer,
    Region,
    affected_regions,
    affected_residues,
    build_null,
    measured_drop,
    sample_null,
)
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.structures import Feature, WildType, ca_by_position, read_structure, wild_type_from_structure
from mutscan.structures.segments import Element
from mutscan.variants import parse_variant
from tests.places import GLOBIN

EXAMPLE = GLOBIN / "wild_type.cif"


@pytest.fixture(scope="module")
def globin() -> WildType:
    return wild_type_from_structure(read_structure(EXAMPLE))


def test_text_of_a_region_is_the_documented_one() -> None:
    region = Region(((94, 112),), 0.08, "DNA-binding domain", "UniProt")
    assert str(region) == "94-112 (DNA-binding domain, UniProt; mean lDDT drop 0.08)"
    assert (region.start, region.end, region.label) == (94, 112, "DNA-binding domain, UniProt")
    wide = Region(((170, 178), (241, 245)), 0.081, "P53", "TED", evidence="measured", near=("active site 3",))
    assert (
        str(wide) == "170-178,241-245 (P53, TED; mean lDDT drop 0.081; measured; within 5 Å of active site 3)"
    )
    assert (wide.start, wide.end) == (170, 245)
    assert str(Region(((3, 9),), 0.1)) == "3-9 (mean lDDT drop 0.1)"
    assert Region(((3, 9), (12, 14)), 0.1).label == "3-9,12-14"


def test_stretches_near_in_space_are_one_subdomain() -> None:
    ca = np.stack([10.0 * np.arange(60), np.zeros(60), np.zeros(60)], axis=1)
    ca[50:56] = ca[10:16] + np.array([0.0, 7.9, 0.0])  # folds back beside 10-15
    affected = np.zeros(60, dtype=bool)
    affected[10:14] = affected[30:34] = affected[52:56] = True
    drop = np.where(affected, 0.05, 0.0)
    joined, lone = affected_regions(affected, drop, ca=ca)
    assert joined.stretches == ((11, 14), (53, 56))
    assert lone.stretches == ((31, 34),)
    ca[50:56, 1] = 8.1
    assert len(affected_regions(affected, drop, ca=ca)) == 3
    assert len(affected_regions(affected, drop)) == 3  # nothing is known of space
    unresolved = np.full((60, 3), np.nan)
    assert len(affected_regions(affected, drop, ca=unresolved)) == 3


def test_measured_drop_of_an_unmoved_protein_is_nothing() -> None:
    drop, z = measured_drop(np.ones(80), [40])
    assert not drop.any()
    assert not affected_residues(z, drop).any()


def test_measured_dip_at_the_site_counts_and_needs_no_sample() -> None:
    lddt = np.ones(80)
    lddt[38:43] = 0.95
    drop, z = measured_drop(lddt, [40])
    affected = affected_residues(z, drop)
    assert affected[38:43].all()  # site and neighbours: coordinates are no artefact of the input
    assert affected.sum() <= 7
    lddt[38:43] = 0.998  # what another start of the minimiser may give
    drop, z = measured_drop(lddt, [40])
    assert not affected_residues(z, drop).any()


def test_measured_drop_is_judged_by_the_builds_own_scatter() -> None:
    noise = np.abs(np.random.default_rng(1).normal(0.0, 0.03, 200))
    lddt = 0.9 - noise
    lddt[95:106] -= 0.02
    drop, z = measured_drop(lddt, [100])
    assert not affected_residues(z, drop).any()  # well within what the whole model scatters
    lddt[95:106] -= 0.3
    drop, z = measured_drop(lddt, [100])
    assert affected_residues(z, drop)[96:105].all()
    lddt[:] = np.nan
    assert np.isnan(measured_drop(lddt, [100])[1]).all()


def test_smallest_feature_then_working_residues_then_structure(globin: WildType) -> None:
    ca = ca_by_position(globin)
    length = len(globin.sequence)
    sites = (
        Feature("Binding site", "heme b; proximal", 92, 92, "UniProt"),
        Feature("Modified residue", "Phosphoserine", 31, 31, "UniProt"),
    )
    namer = Namer(length, sites, ca=ca)
    assert namer.name(np.arange(88, 94)) == ("around binding site 92 (heme b, proximal)", "UniProt")
    name, source = namer.name(np.arange(27, 34))
    assert source == "structure"
    assert name.startswith("helix 2 (")
    domain = Feature("Domain", "Globin", 2, length, "UniProt")
    motif = Feature("Motif", "EF", 28, 36, "UniProt")
    namer = Namer(length, (*sites, domain, motif), ca=ca)
    assert namer.name(np.arange(27, 34)) == ("EF motif", "UniProt")
    assert namer.name(np.arange(60, 70)) == ("Globin domain", "UniProt")
    assert namer.used == [
        {"name": "EF motif", "source": "UniProt", "positions": "28-36"},
        {"name": "Globin domain", "source": "UniProt", "positions": f"2-{length}"},
    ]
    assert Namer(length).name(np.arange(27, 34)) == ("", "")


def test_loops_are_named_one_by_one(globin: WildType) -> None:
    namer = Namer(len(globin.sequence), ca=ca_by_position(globin))
    first, last = namer.elements[1], namer.elements[-1]
    after = np.r_[first.last + 1 : first.last + 4, last.last + 1 : last.last + 4]
    name, source = namer.name(after)
    assert source == "structure"
    assert name.startswith(f"loop from helix 2 ({first.first + 1}-{first.last + 1}) to helix 3 (")
    assert name.endswith(f") and loop after helix {last.number} ({last.first + 1}-{last.last + 1})")


def test_a_long_coil_is_named_by_its_nearer_end() -> None:
    namer = Namer(100, ca=np.zeros((100, 3)))
    namer.__dict__["elements"] = (Element("helix", 1, 5, 15), Element("strand", 2, 80, 90))
    namer.__dict__["domains"] = ()
    assert namer.name(np.arange(20, 24)) == ("coil after helix 1 (6-16)", "structure")
    assert namer.name(np.arange(60, 64)) == ("coil before strand 2 (81-91)", "structure")


def test_a_domain_of_two_stretches_is_one_name() -> None:
    parts = [Feature("Domain", "TED01 domain", a, b, "TED") for a, b in ((1, 20), (60, 80))]
    namer = Namer(100, parts)
    assert namer.name(np.r_[5:10, 65:70]) == ("TED01 domain", "TED")
    assert namer.used[0]["positions"] == "1-20,60-80"
    alike = [Feature("Region", "Disordered", a, b, "UniProt") for a, b in ((1, 20), (60, 80))]
    assert Namer(100, alike).name(np.r_[5:10, 65:70]) == ("Disordered", "UniProt")
    assert Namer(100, alike).name(np.r_[5:10, 30:36, 65:70]) == ("", "")  # two places, neither holds half


def test_side_chains_say_what_is_near_a_working_residue(globin: WildType) -> None:
    site = Feature("Active site", "", 60, 60, "UniProt")
    wild_type = WildType(
        globin.name, globin.sequence, globin.structure, globin.structure_index, features=(site,)
    )
    sites = FunctionalSites(wild_type)
    near = [i for i in range(len(globin.sequence)) if sites.near([i])]
    assert 59 in near
    structure, index = globin.structure, globin.structure_index
    assert structure is not None
    assert index is not None

    def atoms(i: int) -> np.ndarray:
        inside = structure.atoms_of(int(index[i]))
        names = structure.atom_name[inside]
        kept = [k for k, n in enumerate(names) if n not in ("N", "CA", "C", "O")] or [names.index("CA")]
        return structure.coord[inside][kept]

    own = atoms(59)
    by_hand = [
        i
        for i in range(len(globin.sequence))
        if np.linalg.norm(atoms(i)[:, None] - own[None], axis=2).min() <= 5.0
    ]
    assert near == by_hand
    assert 1 < len(near) < 25


def test_without_side_chains_c_alpha_atoms_do(globin: WildType) -> None:
    from dataclasses import replace

    structure = globin.structure
    assert structure is not None
    keep = np.array([name == "CA" for name in structure.atom_name])
    trace = replace(
        structure,
        residue_index=structure.residue_index[keep],
        atom_name=tuple(np.array(structure.atom_name)[keep]),
        element=tuple(np.array(structure.element)[keep]),
        coord=structure.coord[keep],
        b_factor=structure.b_factor[keep],
    )
    site = Feature("Binding site", "Zn(2+)", 60, 60, "UniProt")
    sites = FunctionalSites(WildType("x", globin.sequence, trace, globin.structure_index, features=(site,)))
    distance = np.linalg.norm(trace.ca - trace.ca[59], axis=1)
    assert [i for i in range(len(trace)) if sites.near([i])] == np.flatnonzero(distance <= 8.0).tolist()
    assert sites.near([58]) == ("binding site 60 (Zn(2+))",)


def test_predicted_and_measured_stay_apart(globin: WildType) -> None:
    from mutscan.builders.pool import Measured

    length = len(globin.sequence)
    sample = sample_null(globin.sequence)
    profiles = 0.98 + 0.002 * np.random.default_rng(0).standard_normal((len(sample), length))
    null = build_null(sample, np.ones(len(sample)), profiles)
    site = Feature("Active site", "Proton acceptor", 33, 33, "UniProt")
    wild_type = WildType(
        globin.name, globin.sequence, globin.structure, globin.structure_index, features=(site,)
    )
    variant = parse_variant(f"{globin.sequence[99]}100W")
    lddt = np.full(length, 0.98)
    lddt[26:34] -= 0.1
    built = np.ones(length)
    built[97:103] = 0.9
    measured = Measured(0.99, built, np.zeros(length), "openmm", 1.0, 1.0, (), False)
    affected = SubdomainCaller(wild_type, null).call(variant, lddt, measured)
    predicted, moved = affected.regions
    assert (predicted.evidence, moved.evidence) == ("predicted", "measured")
    assert predicted.near == ("active site 33 (Proton acceptor)",)
    assert affected.residues[27:33].all()
    assert affected.residues[97:103].all()
    assert affected.notes == ("affected residues lie within 5 Å of active site 33 (Proton acceptor)",)
    alone = SubdomainCaller(wild_type, null).call(variant, lddt, None)
    assert [region.evidence for region in alone.regions] == ["predicted"]
    at_site = SubdomainCaller(wild_type, null).call(
        parse_variant(f"{globin.sequence[32]}33W"), np.full(length, 0.98), None
    )
    assert at_site.regions == ()
    assert at_site.notes == ("position 33 is or lies within 5 Å of active site 33 (Proton acceptor)",)
