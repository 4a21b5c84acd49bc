"""Named regions, which of them a variant disturbs, and working residues near them."""

from dataclasses import replace

import numpy as np
import pytest

from mutscan.calling import (
    FunctionalSites,
    Namer,
    Null,
    Region,
    RegionBackground,
    RegionHit,
    build_null,
    measured_drop,
    sample_null,
)
from mutscan.calling.regions import ALPHA, MIN_DROP
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.structures import Feature, WildType, ca_by_position, read_structure, wild_type_from_structure
from mutscan.variants import Variant, parse_variant
from tests.places import GLOBIN

EXAMPLE = GLOBIN / "wild_type.cif"


@pytest.fixture(scope="module")
def globin() -> WildType:
    return wild_type_from_structure(read_structure(EXAMPLE))


def with_features(wild_type: WildType, *features: Feature) -> WildType:
    return replace(wild_type, features=features)


def regions_of(wild_type: WildType) -> tuple[Region, ...]:
    namer = Namer(len(wild_type.sequence), wild_type.features, ca=ca_by_position(wild_type))
    return namer.regions(FunctionalSites(wild_type).shells)


def noise(sequence: str, m: int = 64) -> tuple[tuple[Variant, ...], np.ndarray]:
    """Random profiles in which each substitution lowers what is near it in sequence."""
    generator = np.random.default_rng(0)
    variants = sample_null(sequence, size=m)
    profiles = 0.98 + 0.004 * generator.standard_normal((m, len(sequence)))
    for row, variant in zip(profiles, variants, strict=True):
        apart = np.abs(np.arange(len(sequence)) - (variant.positions[0] - 1))
        row -= 0.05 * generator.random() * np.exp(-apart / 4)
    return variants, profiles


def null_of(sequence: str) -> Null:
    variants, profiles = noise(sequence)
    return build_null(variants, np.ones(len(variants)), profiles)


# Names


def test_regions_of_a_structure_are_its_helices_and_loops(globin: WildType) -> None:
    regions = regions_of(globin)
    kinds = {region.kind for region in regions}
    assert kinds == {"helix", "loop"}  # one compact body is no part of the protein
    helices = [region for region in regions if region.kind == "helix"]
    assert [region.name for region in helices] == [f"helix {n}" for n in range(1, len(helices) + 1)]
    assert {region.source for region in regions} == {"structure"}
    loop = next(region for region in regions if region.name == "loop from helix 2 to helix 3")
    (first, last), (before,), (after,) = loop.stretches[0], helices[1].stretches, helices[2].stretches
    assert before[1] < first <= last < after[0]


def test_regions_of_databases_carry_their_source() -> None:
    features = (
        Feature("Domain", "Globin", 2, 60, "UniProt"),
        Feature("Motif", "EF", 28, 36, "UniProt"),
        Feature("Region", "Disordered", 1, 5, "UniProt"),
        Feature("Region", "Disordered", 61, 70, "UniProt"),
        Feature("Modified residue", "Phosphoserine", 31, 31, "UniProt"),
        Feature("Chain", "Myoglobin", 1, 70, "UniProt"),
        Feature("Domain", "TED01 domain", 1, 20, "TED"),
        Feature("Domain", "TED01 domain", 40, 60, "TED"),
    )
    told = {
        (region.name, region.kind, region.source, region.positions)
        for region in Namer(70, features).regions()
        if region.kind != "segment"
    }
    assert told == {
        ("Globin domain", "domain", "UniProt", "2-60"),
        ("EF motif", "motif", "UniProt", "28-36"),
        ("Disordered", "region", "UniProt", "1-5"),
        ("Disordered", "region", "UniProt", "61-70"),
        ("TED01 domain", "domain", "TED", "1-20,40-60"),
    }


def test_without_a_structure_segments_cover_what_no_database_names() -> None:
    regions = Namer(100, [Feature("Domain", "SH3", 41, 80, "UniProt")]).regions()
    assert [(region.kind, region.positions) for region in regions] == [
        ("domain", "41-80"), ("segment", "1-20"), ("segment", "21-40"), ("segment", "81-100"),
    ]  # fmt: skip
    assert [region.positions for region in Namer(7).regions()] == ["1-7"]


def test_a_site_is_a_region_with_what_is_around_it(globin: WildType) -> None:
    zinc = [Feature("Binding site", "Zn(2+); structural", n, n, "UniProt") for n in (20, 24)]
    wild_type = with_features(globin, *zinc, Feature("Active site", "", 60, 60, "UniProt"))
    sites = [region for region in regions_of(wild_type) if region.kind == "site"]
    assert [region.name for region in sites] == [
        "binding site (Zn(2+)) at 20, 24 and 5 Å around", "active site 60 and 5 Å around",
    ]  # fmt: skip
    around = {i for i in range(len(globin.sequence)) if FunctionalSites(wild_type).around(i)}
    assert {*np.concatenate([region.indices for region in sites]).tolist()} == around


def test_low_confidence_is_said() -> None:
    plddt = np.r_[np.full(50, 40.0), np.full(50, 90.0)]
    low, high = Namer(
        100, [Feature("Domain", n, a, a + 49, "UniProt") for n, a in (("A", 1), ("B", 51))], plddt=plddt
    ).regions()
    assert (low.low_confidence, high.low_confidence) == (True, False)
    hit = RegionHit(low, 0.08, 5.0, np.nan, np.nan, True)
    assert str(hit) == "1-50 (A domain, UniProt; mean lDDT drop 0.08; low pLDDT)"


# Which are disturbed


def test_text_of_a_hit_is_the_documented_one() -> None:
    region = Region("DNA-binding domain", "domain", "UniProt", ((94, 112),))
    assert str(RegionHit(region, 0.08, 6.0, np.nan, 3.0, True)) == (
        "94-112 (DNA-binding domain, UniProt; mean lDDT drop 0.08)"
    )
    assert str(RegionHit(region, 0.004, 1.0, 0.0, 3.0, False)) == (
        "94-112 (DNA-binding domain, UniProt; mean lDDT drop 0.004; most affected, not beyond background)"
    )
    segment = Region("residues 1-20", "segment", "sequence", ((1, 20),))
    assert str(RegionHit(segment, 0.1, 6.0, 0.2, np.nan, True)) == (
        "1-20 (mean lDDT drop 0.1 and 0.2 measured)"
    )


def test_every_region_is_told_and_the_lowered_one_comes_first(globin: WildType) -> None:
    null = null_of(globin.sequence)
    background = RegionBackground(regions_of(globin), null, ca_by_position(globin))
    helix = next(region for region in background.regions if region.name == "helix 5")
    drop = np.zeros(len(globin.sequence))
    drop[helix.indices] = 0.03
    hits = background.hits([20], drop)
    assert {hit.region for hit in hits} == set(background.regions)
    assert hits[0].region is helix
    assert hits[0].disturbed
    assert hits[0].drop == pytest.approx(0.03)
    assert not any(hit.disturbed for hit in hits if not np.isin(hit.region.indices, helix.indices).any())
    ca = ca_by_position(globin)
    assert ca is not None
    by_hand = np.linalg.norm(ca[helix.indices] - ca[19], axis=1).min()
    assert hits[0].distance == pytest.approx(by_hand)
    assert all(hit.disturbed == (hit.z > background.line and hit.drop >= MIN_DROP) for hit in hits)
    nothing = background.hits([20], np.zeros(len(globin.sequence)))
    assert not any(hit.disturbed for hit in nothing)
    assert [hit.distance for hit in nothing] == sorted(hit.distance for hit in nothing)
    p = np.full(len(globin.sequence), 0.01)
    p[helix.indices] = 0.3
    assert background.hits([20], np.zeros(len(globin.sequence)), p=p)[0].region is helix


def test_a_drop_beside_the_site_is_less_news_than_the_same_far_away(globin: WildType) -> None:
    background = RegionBackground(regions_of(globin), null_of(globin.sequence), ca_by_position(globin))
    drop = np.full(len(globin.sequence), 0.01)
    near, far = (
        next(hit.z for hit in background.hits([site], drop) if hit.region.name == "helix 1")
        for site in (5, 120)
    )
    assert near < far


def test_the_line_lets_a_tenth_of_the_null_pass(globin: WildType) -> None:
    """However many regions there are, few of the null's own substitutions disturb any of them."""
    variants, profiles = noise(globin.sequence)
    null = build_null(variants, np.ones(len(variants)), profiles)
    background = RegionBackground(regions_of(globin), null, ca_by_position(globin))
    found = [
        any(hit.disturbed for hit in background.hits(variant.positions, null.residue_median - profile))
        for variant, profile in zip(variants, profiles, strict=True)
    ]
    assert sum(found) / len(found) <= ALPHA
    _, others = noise(globin.sequence, m=600)
    fresh = np.mean([
        any(hit.disturbed for hit in background.hits(variant.positions, null.residue_median - profile))
        for variant, profile in zip(sample_null(globin.sequence, size=600), others, strict=True)
    ])  # fmt: skip
    assert fresh <= 2.5 * ALPHA


def test_a_measured_drop_disturbs_by_itself(globin: WildType) -> None:
    ca = ca_by_position(globin)
    background = RegionBackground(regions_of(globin), null_of(globin.sequence), ca)
    helix = next(region for region in background.regions if region.name == "helix 3")
    lddt = np.ones(len(globin.sequence))
    lddt[helix.indices] = 0.95
    site = helix.stretches[0][0]
    hits = background.hits([site], np.zeros(len(lddt)), measured_drop(lddt, [site], ca))
    assert [hit.region for hit in hits if hit.disturbed] == [helix]
    assert hits[0].measured_drop == pytest.approx(0.05)
    lddt[helix.indices] = 0.998  # what another start of the minimiser may give
    calm = background.hits([site], np.zeros(len(lddt)), measured_drop(lddt, [site], ca))
    assert not any(hit.disturbed for hit in calm)


def test_without_coordinates_distance_is_not_told() -> None:
    sequence = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSG"
    background = RegionBackground(Namer(len(sequence)).regions(), null_of(sequence))
    hits = background.hits([3], np.zeros(len(sequence)))
    assert len(hits) == len(background.regions) == 2
    assert all(np.isnan(hit.distance) for hit in hits)
    assert all(np.isfinite(hit.z) for hit in hits)


def test_measured_drop_is_judged_by_the_builds_own_scatter() -> None:
    drop, z = measured_drop(np.ones(80), [40])
    assert not drop.any()
    assert not z.any()
    lddt = 0.9 - np.abs(np.random.default_rng(1).normal(0.0, 0.03, 200))
    lddt[95:106] -= 0.3
    drop, z = measured_drop(lddt, [100])
    assert (z[95:106] > 5).all()
    assert np.abs(z[:90]).mean() < 1
    assert np.isnan(measured_drop(np.full(80, np.nan), [40])[1]).all()


def test_what_a_variant_tells_is_never_empty(globin: WildType) -> None:
    caller = SubdomainCaller(globin, null_of(globin.sequence))
    affected = caller.call(parse_variant(f"{globin.sequence[99]}100W"), np.full(147, 0.98), None)
    (told,) = affected.told
    assert not told.disturbed
    assert str(told).endswith("most affected, not beyond background)")
    assert SubdomainCaller(globin, None).call(
        parse_variant(f"{globin.sequence[99]}100W"), np.full(147, np.nan), None
    ).told == ()  # fmt: skip


# Working residues
def test_side_chains_say_what_is_near_a_working_residue(globin: WildType) -> None:
    site = Feature("Active site", "", 60, 60, "UniProt")
    wild_type = WildType(
        globin.name, globin.sequence, globin.structure, globin.structure_index, features=(site,)
    )
    sites = FunctionalSites(wild_type)
    near = [i for i in range(len(globin.sequence)) if sites.around(i)]
    assert near == sites.shells[0][1].tolist()
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
    assert [i for i in range(len(trace)) if sites.around(i)] == np.flatnonzero(distance <= 8.0).tolist()
    assert sites.around(58) == [(site, pytest.approx(distance[58]))]
    assert sites.around(59) == [(site, 0.0)]
