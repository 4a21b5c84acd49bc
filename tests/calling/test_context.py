"""Site contexts: their text and back, and what they say of residues that are well known."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mutscan.calling import Namer, SiteContexts
from mutscan.calling.context import NearSite, SiteContext, read_context, read_contexts, write_contexts
from mutscan.structures import (
    Feature,
    WildType,
    backbone_by_position,
    ca_by_position,
    plddt_by_position,
    read_structure,
    wild_type_from_structure,
)
from mutscan.variants import parse_variant
from tests.places import GLOBIN

FULL = SiteContext(
    element="helix",
    number=2,
    first=24,
    last=41,
    turn="last turn",
    burial="buried",
    accessibility=0.04,
    domains=(("Globin domain", "UniProt"), ("Globin 1 of 2 [IPR000971]", "InterPro")),
    sites=(
        NearSite("motif 38-41 (EF)", "UniProt", 0.0),
        NearSite("binding site 93 (Fe(2+) / heme)", "UniProt", 6.0),
        NearSite("active site 12", "UniProt", 7.9),
        NearSite("disulfide bond 36", "UniProt", math.nan),
    ),
    touches=("helix 5 (82-95)", "domain 2"),
    end="3 residues from the N-terminus",
    plddt=62.0,
)


def test_text_is_the_documented_one() -> None:
    assert str(FULL) == (
        "helix 2 (24-41), last turn; buried (4 % accessible); in Globin domain (UniProt); "
        "in Globin 1 of 2 [IPR000971] (InterPro); at motif 38-41 (EF) (UniProt); "
        "6 Å from binding site 93 (Fe(2+) / heme) (UniProt); 7.9 Å from active site 12 (UniProt); "
        "next to disulfide bond 36 (UniProt); touches helix 5 (82-95), domain 2; "
        "3 residues from the N-terminus; pLDDT 62"
    )
    assert str(SiteContext()) == ""
    assert str(SiteContext("loop", first=7, last=7, burial="exposed")) == "loop (7); exposed"


@pytest.mark.parametrize(
    "context",
    [
        FULL,
        SiteContext(),
        SiteContext("loop", first=7, last=7, burial="half buried"),
        SiteContext("strand", 11, 3, 9, end="N-terminal residue"),
        SiteContext(element="strand", number=1),
        SiteContext(burial="exposed", accessibility=1.0, end="1 residue from the C-terminus"),
        SiteContext(sites=(NearSite("region 3-9", "InterPro", math.nan),)),
    ],
)
def test_every_part_is_read_back(context: SiteContext) -> None:
    assert repr(read_context(str(context))) == repr(context)  # NaN is equal to none but in print


def test_joint_mutants_name_their_positions() -> None:
    other = SiteContext("loop", first=50, last=61, burial="exposed")
    cell = write_contexts({38: FULL, 55: other})
    assert cell == f"38: {FULL} | 55: {other}"
    assert repr(read_contexts(cell, [38, 55])) == repr({38: FULL, 55: other})
    assert write_contexts({38: FULL}) == str(FULL)
    assert repr(read_contexts(str(FULL), [38])) == repr({38: FULL})
    assert read_contexts(write_contexts({38: SiteContext(), 55: SiteContext()}), [38, 55]) == {}
    assert list(read_contexts(write_contexts({38: SiteContext(), 55: other}), [38, 55])) == [55]
    assert write_contexts({38: SiteContext()}) == ""


def test_other_text_is_refused() -> None:
    with pytest.raises(ValueError, match="'on the moon' is in none of the documented forms"):
        read_context("exposed; on the moon")
    with pytest.raises(ValueError, match="'in Globin domain'"):
        read_context("in Globin domain")
    with pytest.raises(ValueError, match="one position expected for 'exposed'"):
        read_contexts("exposed", [3, 4])


# What is said of residues


def contexts(wild_type: WildType) -> SiteContexts:
    namer = Namer(
        len(wild_type.sequence),
        wild_type.features,
        ca=ca_by_position(wild_type),
        backbone=backbone_by_position(wild_type),
        plddt=plddt_by_position(wild_type),
    )
    return SiteContexts(wild_type, namer)


@pytest.fixture(scope="module")
def globin() -> WildType:
    return wild_type_from_structure(read_structure(GLOBIN / "wild_type.cif"))


def only(wild_type: WildType, keep: Iterable[bool]) -> WildType:
    """The wild type with some of its atoms."""
    structure, kept = wild_type.structure, np.array(list(keep))
    assert structure is not None
    structure = replace(
        structure,
        residue_index=structure.residue_index[kept],
        atom_name=tuple(np.array(structure.atom_name)[kept]),
        element=tuple(np.array(structure.element)[kept]),
        coord=structure.coord[kept],
        b_factor=structure.b_factor[kept],
    )
    return replace(wild_type, structure=structure)


def test_cell_of_a_variant(globin: WildType) -> None:
    of = contexts(globin)
    cell = of.of(parse_variant("L38D"))
    assert cell.startswith("helix 2 (24-41), last turn; buried (4 % accessible); touches helix 5 (")
    assert of.of(parse_variant("L38D;A114W")) == f"38: {cell} | 114: {of.at(114)}"
    assert of.of(parse_variant("L38del")) == ""
    for position in range(1, len(globin.sequence) + 1):
        context = of.at(position)
        assert repr(read_context(str(context))) == repr(context)
        assert context.element
        assert context.burial


def test_ends_and_confidence(globin: WildType) -> None:
    length = len(globin.sequence)
    of = contexts(globin)
    ends = [of.at(position).end for position in (1, 2, 6, 7, length - 6, length - 1, length)]
    assert ends == [
        "N-terminal residue", "1 residue from the N-terminus", "5 residues from the N-terminus", "", "",
        "1 residue from the C-terminus", "C-terminal residue",
    ]  # fmt: skip
    structure = globin.structure
    assert structure is not None
    plddt = np.full(length, 90.0)
    plddt[9:12] = 69.4, 69.6, 30.0
    model = replace(globin, structure=replace(structure, plddt=plddt))
    said = [contexts(model).at(position).plddt for position in (9, 10, 11, 12)]
    assert repr(said) == "[nan, 69.0, nan, 30.0]"


def test_surfaces_one_by_one_are_those_of_the_whole(globin: WildType) -> None:
    of = contexts(globin)
    at_once = [of.at(position).accessibility for position in range(1, 148)]
    for position in range(20, 148, 10):  # those before were worked out one by one
        assert contexts(globin).at(position).accessibility == at_once[position - 1]
    assert 0.0 <= min(at_once) < 0.02 < 0.7 < max(at_once) <= 1.0


def test_without_side_chains_packing_says_what_is_buried(globin: WildType) -> None:
    structure = globin.structure
    assert structure is not None
    whole, trace = contexts(globin), contexts(only(globin, (name == "CA" for name in structure.atom_name)))
    classes = ["buried", "half buried", "exposed"]
    steps = []
    for position in range(1, 148):
        found = trace.at(position)
        assert math.isnan(found.accessibility)
        steps.append(abs(classes.index(found.burial) - classes.index(whole.at(position).burial)))
    assert np.mean(np.array(steps) == 0) > 0.65
    assert max(steps) == 1


def test_what_has_no_coordinates_has_neighbours_in_sequence_only(globin: WildType) -> None:
    features = (
        Feature("Domain", "Globin", 2, 140, "UniProt"),
        Feature("Binding site", "Zn(2+); catalytic", 60, 60, "UniProt"),
    )
    plain = contexts(WildType("x", globin.sequence, features=features))
    where = (("Globin domain", "UniProt"),)
    zinc = "binding site 60 (Zn(2+) / catalytic)"
    for position, distance in ((60, 0.0), (58, math.nan), (62, math.nan)):
        expected = SiteContext(domains=where, sites=(NearSite(zinc, "UniProt", distance),))
        assert repr(plain.at(position)) == repr(expected)
    assert plain.at(57) == SiteContext(domains=where)
    assert plain.of(parse_variant("D1W")) == ""  # not even the end of a chain that nobody has seen
    structure = globin.structure
    assert structure is not None
    cut = only(globin, (not 59 <= residue < 62 for residue in structure.residue_index))
    of = contexts(replace(cut, features=features))
    assert str(of.at(60)) == f"in Globin domain (UniProt); at {zinc} (UniProt)"
    assert f"next to {zinc} (UniProt)" in str(of.at(59))  # the site itself is not resolved
    assert (of.at(59).last, of.at(63).first) == (59, 63)  # nothing passes the gap


def test_residues_of_one_site_are_told_once(globin: WildType) -> None:
    of = contexts(replace(globin, features=(Feature("Active site", "", 60, 60, "UniProt"),)))
    near = [p for p in range(1, 148) if of.at(p).sites]
    partner = max(near)
    bond = (
        Feature("Disulfide bond", f"to {partner}", 60, 60, "UniProt"),
        Feature("Disulfide bond", "to 60", partner, partner, "UniProt"),
    )
    of = contexts(replace(globin, features=bond))
    assert of.at(60).sites == (NearSite(f"disulfide bond 60 (to {partner})", "UniProt", 0.0),)
    both = tuple(Feature("Binding site", "heme", p, p, "UniProt") for p in (60, partner))
    of = contexts(replace(globin, features=both))
    assert of.at(60).sites == (NearSite("binding site 60 (heme)", "UniProt", 0.0),)
    (nearest,) = of.at(next(p for p in near if p not in (60, partner))).sites
    assert 0.0 < nearest.distance <= 5.0


# Sites that a structural biologist knows by heart


def features(*rows: tuple[str, str, str]) -> tuple[Feature, ...]:
    """UniProt's features, each for several places such as ``176 179 238-242``."""
    found = []
    for kind, description, places in rows:
        for place in places.split():
            first, _, last = place.partition("-")
            found.append(Feature(kind, description, int(first), int(last or first), "UniProt"))
    return tuple(found)


PROTEINS = {
    "p53": ("variants/dms_structures/P53_HUMAN_Giacomelli_NULL_Nutlin_2018", features(
        ("DNA binding", "", "102-292"), ("Region", "Oligomerization", "325-356"),
        ("Site", "Interaction with DNA", "120"), ("Binding site", "Zn(2+)", "176 179 238 242"))),
    "T4 lysozyme": ("variants/ssym/2LZMA", features(
        ("Active site", "Proton donor/acceptor", "11 20"), ("Binding site", "substrate", "32 104"))),
    "carbonic anhydrase 2": ("variants/labelled_structures/1CAHA", features(  # position = number - 2
        ("Domain", "Alpha-carbonic anhydrase", "1-257"), ("Active site", "Proton donor/acceptor", "62"),
        ("Binding site", "Zn(2+); catalytic", "92 94 117"), ("Binding site", "substrate", "196-197"))),
    "barnase": ("variants/ssym/1BNIA", features(
        ("Active site", "Proton acceptor", "71"), ("Active site", "Proton donor", "100"))),
    "TEM-1": ("variants/dms_structures/BLAT_ECOLX_Stiffler_2015", features(
        ("Active site", "Acyl-ester intermediate", "68"), ("Binding site", "substrate", "232-234"),
        ("Disulfide bond", "to 121", "75"), ("Disulfide bond", "to 75", "121"))),
    "DHFR": ("variants/dms_structures/DYR_ECOLI_Thompson_plusLon_2019", features(
        ("Domain", "DHFR", "1-158"), ("Binding site", "substrate", "5 27 32 52 57 113"),
        ("Binding site", "NADP(+)", "6 13-19 45-46 63-64 76 95-102"))),
    "SUMO1": ("variants/dms_structures/SUMO1_HUMAN_Weile_2017", features(
        ("Domain", "Ubiquitin-like", "20-97"), ("Cross-link", "Glycyl lysine isopeptide (Gly-Lys)", "97"))),
    "calmodulin": ("variants/dms_structures/CALM1_HUMAN_Weile_2017", features(
        ("Domain", "EF-hand 1", "8-43"), ("Domain", "EF-hand 2", "44-79"),
        ("Domain", "EF-hand 3", "81-116"), ("Domain", "EF-hand 4", "117-149"),
        ("Binding site", "Ca(2+) 1", "21 23 25 27 32"), ("Binding site", "Ca(2+) 3", "94 96 98 100 105"))),
    "ERK2": ("variants/dms_structures/MK01_HUMAN_Brenan_2016", features(
        ("Domain", "Protein kinase", "25-313"), ("Active site", "Proton acceptor", "149"),
        ("Binding site", "ATP", "31-39 54"), ("Motif", "TXY", "185-187"),
        ("Modified residue", "Phosphothreonine; by MAP2K1 and MAP2K2", "185"))),
    "GFP": ("variants/dms_structures/GFP_AEQVI_Sarkisyan_2016", features(
        ("Modified residue", "(Z)-2,3-didehydrotyrosine", "66"))),
    "BPTI": ("variants/ssym/5PTIA", features(
        ("Domain", "BPTI/Kunitz inhibitor", "5-55"), ("Site", "Reactive bond for trypsin", "15-16"),
        ("Disulfide bond", "to 55", "5"), ("Disulfide bond", "to 5", "55"))),
    "HRAS": ("wild_types/P01112", features(
        ("Binding site", "GTP", "13-18 29-35 59-60 116-119 145-147"), ("Motif", "Effector region", "32-40"))),
    "PTEN": ("wild_types/P60484", features(
        ("Domain", "Phosphatase tensin-type", "14-185"), ("Domain", "C2 tensin-type", "190-350"),
        ("Active site", "Phosphocysteine intermediate", "124"))),
    "myoglobin": ("wild_types/1BVC_A", features(
        ("Domain", "Globin", "2-147"), ("Binding site", "heme b; proximal binding residue", "93"))),
    "human lysozyme": ("variants/ssym/1LZ1A", features(("Active site", "", "35 53"))),
}  # fmt: skip
"""File and features of each protein."""

KNOWN = [
    (
        "p53",
        "R175",
        "half buried",
        "loop (164-176); in DNA-binding region; 2.9 Å from binding site 179 (Zn(2+)",
    ),
    ("p53", "C176", "buried", "loop (164-176); at binding site 176 (Zn(2+))"),
    ("p53", "Y220", "half buried", "loop (220-229); in DNA-binding region; touches strand"),
    ("p53", "R248", "exposed", "loop (237-250); in DNA-binding region"),
    ("p53", "R273", "exposed", "strand 11 (264-274); in DNA-binding region"),
    ("p53", "R337", "exposed", "helix; first turn; in Oligomerization"),
    ("T4 lysozyme", "E11", "half buried", "helix 1 (3-11), last turn; at active site 11; compact domain 2"),
    ("T4 lysozyme", "D20", "exposed", "loop; at active site 20; binding site 32 (substrate)"),
    ("T4 lysozyme", "L99", "buried", "helix 5; touches helix 3; helix 6"),
    ("T4 lysozyme", "I3", "half buried", "helix 1; first turn; 2 residues from the N-terminus"),
    ("carbonic anhydrase 2", "H92", "half buried", "strand; at binding site 92 (Zn(2+) / catalytic)"),
    ("carbonic anhydrase 2", "T197", "half buried", "at binding site 196-197 (substrate); Å from binding"),
    ("barnase", "E71", "half buried", "strand; at active site 71 (Proton acceptor)"),
    ("barnase", "I94", "buried", "strand; touches helix 1"),
    ("TEM-1", "S68", "half buried", "at active site 68 (Acyl-ester intermediate); from binding site 232-234"),
    ("TEM-1", "C75", "buried", "helix; at disulfide bond 75 (to 121); touches helix 3"),
    ("DHFR", "D27", "half buried", "helix 1; first turn; in DHFR domain; at binding site 27 (substrate)"),
    ("SUMO1", "G97", "exposed", "loop; at cross-link 97; 4 residues from the C-terminus"),
    ("SUMO1", "F36", "half buried", "strand 2; in Ubiquitin-like domain; touches strand 1; helix 1"),
    (
        "calmodulin",
        "E32",
        "half buried",
        "helix; first turn; in EF-hand 1 domain; at binding site 32 (Ca(2+)",
    ),
    ("ERK2", "D149", "half buried", "loop; in Protein kinase domain; at active site 149"),
    ("ERK2", "T185", "exposed", "at motif 185-187 (TXY); at modified residue 185 (Phosphothreonine / by"),
    ("GFP", "E222", "buried", "strand; Å from modified residue 66 ((Z)-2/3-didehydrotyrosine)"),
    ("BPTI", "K15", "exposed", "loop; at site 15-16 (Reactive bond for trypsin)"),
    ("BPTI", "C5", "buried", "at disulfide bond 5 (to 55); 4 residues from the N-terminus"),
    ("HRAS", "G12", "exposed", "loop (11-15); 3.8 Å from binding site 59-60 (GTP); touches helix 1"),
    ("HRAS", "K16", "half buried", "helix 1; first turn; at binding site 13-18 (GTP); touches strand 1"),
    ("HRAS", "Q61", "exposed", "loop (58-67); from binding site 29-35 (GTP); pLDDT 64"),
    ("PTEN", "C124", "buried", "in Phosphatase tensin-type domain; at active site 124"),
    ("PTEN", "R130", "buried", "helix; first turn; 3.6 Å from active site 124 (Phosphocysteine"),
    ("myoglobin", "H93", "half buried", "helix; last turn; at binding site 93 (heme b / proximal"),
    ("human lysozyme", "I56", "buried", "touches helix 1; helix 2; helix 3"),
]
"""Protein, residue, burial, and what its context says besides."""


@pytest.fixture(scope="module")
def known(shared: Path) -> dict[str, tuple[str, SiteContexts]]:
    """Sequence and contexts of each protein."""
    found = {}
    for protein, (file, places) in PROTEINS.items():
        path = shared / "data" / f"{file}.pdb.gz"
        wild_type = wild_type_from_structure(read_structure(path), features=places)
        found[protein] = wild_type.sequence, contexts(wild_type)
    return found


@pytest.mark.parametrize(("protein", "residue", "burial", "said"), KNOWN)
def test_well_known_sites(
    known: dict[str, tuple[str, SiteContexts]], protein: str, residue: str, burial: str, said: str
) -> None:
    sequence, of = known[protein]
    position = int(residue[1:])
    assert sequence[position - 1] == residue[0]
    context = of.at(position)
    assert context.burial == burial
    for fact in said.split("; "):
        assert fact in str(context)
