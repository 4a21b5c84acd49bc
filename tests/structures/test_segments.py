"""Compact domains, and helices and strands, from C-alpha traces."""

import time
from pathlib import Path

import numpy as np
import pytest

from mutscan.structures import read_structure
from mutscan.structures.segments import (
    MIN_DOMAIN,
    compact_domains,
    describe_stretches,
    runs,
    secondary_structure,
)
from tests.places import GLOBIN

EXAMPLE = GLOBIN / "wild_type.cif"

# What every textbook says: how many bodies, and a cut that must lie between the first two.
KNOWN = {
    "1BVC_A": (1, None),  # myoglobin
    "1CAH_A": (1, None),  # carbonic anhydrase
    "1HTI_A": (1, None),  # triose phosphate isomerase, a barrel
    "P00698": (1, None),  # lysozyme
    "1FKJ_A": (1, None),  # FKBP12
    "P42212": (1, None),  # GFP
    "P01112": (1, None),  # Ras
    "1DIV_A": (2, (41, 74)),  # ribosomal protein L9: two domains on a long helix
    "P0DP23": (2, (74, 84)),  # calmodulin: two lobes
    "1G6N_A": (2, (107, 138)),  # CRP: cAMP-binding and DNA-binding domain
    "P62993": (3, (56, 68)),  # Grb2: SH3, SH2, SH3
    "P02925": (2, None),  # ribose-binding protein: two lobes, each of two stretches
    "P60484": (2, (185, 200)),  # PTEN: phosphatase and C2
}


def helix(length: int) -> np.ndarray:
    turn = np.radians(100.0 * np.arange(length))
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(length)], axis=1)


def strand(length: int) -> np.ndarray:
    index = np.arange(length)
    return np.stack([0.9 * (-1.0) ** index, np.zeros(length), 3.3 * index], axis=1)


def test_runs_and_their_text() -> None:
    assert runs(np.array([], dtype=bool)) == []
    assert runs(np.array([True, True, False, True])) == [(0, 1), (3, 3)]
    assert describe_stretches([(3, 3), (7, 12)]) == "3,7-12"


def test_ideal_helix_and_strand_are_found_end_to_end() -> None:
    (found,) = secondary_structure(helix(20))
    assert (found.kind, found.number) == ("helix", 1)
    assert found.first <= 1
    assert found.last >= 18
    (found,) = secondary_structure(strand(10))
    assert (found.kind, found.number) == ("strand", 1)
    assert found.last - found.first + 1 >= 7  # the last three have no distance to judge by


def test_no_element_passes_a_break_or_a_missing_residue() -> None:
    ca = helix(40)
    ca[20:] += [30.0, 0.0, 0.0]
    first, second = secondary_structure(ca)
    assert first.last == 19 or first.last == 18
    assert second.first in (20, 21)
    ca = helix(40)
    ca[20] = np.nan
    elements = secondary_structure(ca)
    assert len(elements) == 2
    assert not any(element.first <= 20 <= element.last for element in elements)
    assert secondary_structure(np.full((30, 3), np.nan)) == ()
    assert secondary_structure(helix(4)) == ()


def test_agrees_with_another_implementation_of_p_sea() -> None:
    import biotite.structure as struc

    structure = read_structure(EXAMPLE)
    atoms = struc.AtomArray(len(structure))
    atoms.coord = structure.ca
    atoms.chain_id[:] = "A"
    atoms.res_id[:] = np.arange(1, len(structure) + 1)
    atoms.res_name[:] = "ALA"
    atoms.atom_name[:] = "CA"
    atoms.element[:] = "C"
    theirs = struc.annotate_sse(atoms)
    ours = np.full(len(structure), "c")
    for element in secondary_structure(structure.ca):
        ours[element.first : element.last + 1] = "a" if element.kind == "helix" else "b"
    assert (ours == theirs).mean() >= 0.95
    assert (ours == "a").sum() > 80  # a globin is all helix


def test_a_globin_is_one_body_and_two_far_ones_are_two() -> None:
    ca = read_structure(EXAMPLE).ca
    (one,) = compact_domains(ca)
    assert one.number == 1
    assert one.stretches[0][0] == 0
    first, second = compact_domains(np.concatenate([ca, ca + np.array([60.0, 0.0, 0.0])]))
    assert first.stretches[-1][1] < len(ca) <= second.stretches[0][0]


def test_segmentation_does_not_depend_on_chance_or_frame() -> None:
    ca = read_structure(EXAMPLE).ca
    turned = ca @ np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0] + 7.0
    assert compact_domains(ca) == compact_domains(ca) == compact_domains(turned)


def test_what_is_not_compact_is_no_domain() -> None:
    ca = read_structure(EXAMPLE).ca
    assert compact_domains(ca[: MIN_DOMAIN - 1]) == ()
    assert compact_domains(np.full((60, 3), np.nan)) == ()
    assert compact_domains(ca, np.full(len(ca), 30.0)) == ()
    unsure = np.full(len(ca), 90.0)
    unsure[[40, 41]] = 30.0  # a hole in a loop does not cut a body in two
    (one,) = compact_domains(ca, unsure)
    assert len(one.stretches) == 1


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_domains_of_well_known_structures(name: str, shared: Path) -> None:
    count, cut = KNOWN[name]
    structure = read_structure(shared / "data" / "wild_types" / f"{name}.pdb.gz")
    domains = compact_domains(structure.ca, structure.plddt)
    assert len(domains) == count
    if cut is not None:
        assert cut[0] <= structure.res_id[domains[0].stretches[-1][1]] <= cut[1]


def test_four_hundred_residues_take_less_than_a_fifth_of_a_second(shared: Path) -> None:
    structure = read_structure(shared / "data" / "wild_types" / "1AMQ_A.pdb.gz")
    compact_domains(structure.ca)  # the library is loaded once

    def once() -> float:
        start = time.process_time()
        compact_domains(structure.ca)
        secondary_structure(structure.ca)
        return time.process_time() - start

    assert len(structure) == 396
    assert min(once() for _ in range(5)) < 0.2
