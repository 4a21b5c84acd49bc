"""Reading, writing and mapping structures: clean files, nasty files, hopeless files."""

from __future__ import annotations

import gzip
import os
import pickle
import re
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tmtools.testing import get_pdb_path

from mutscan.builders.pool import exchanges_of
from mutscan.errors import BuildError, RunFolderError, StructureError, UsageError
from mutscan.inputs import read_variants
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.proteins import ProteinSources
from mutscan.residues import STANDARD, THREE_LETTER
from mutscan.structures import (
    HEAVY_ATOMS,
    Structure,
    WildType,
    map_sequence,
    read_bytes,
    read_fasta,
    read_structure,
    site_notes,
    structure_number,
    wild_type_from_structure,
    with_structure,
    write_structure,
)
from mutscan.structures.handedness import mirror_image
from mutscan.structures.segments import linked_residues, twist
from mutscan.variants import parse_variant

GLOBIN = Path(get_pdb_path("2gtl"))


def trace(n: int) -> np.ndarray:
    """C-alpha positions of an ideal helix, Å."""
    k = np.arange(n)
    return np.stack([2.3 * np.cos(k * 1.745), 2.3 * np.sin(k * 1.745), 1.5 * k], axis=1)


def line(
    atom: str, residue: str, number: int, xyz, *, chain="A", ins="", alt="", occ=1.0, b=20.0, het=False,
    element: str | None = None, serial=1,
) -> str:  # fmt: skip
    """One ATOM or HETATM line; `element=None` writes the column, ``""`` leaves it out."""
    shown = element if element is not None else atom[0]
    name = atom if len(atom) == 4 or (element and len(element) == 2) else f" {atom}"
    record = "HETATM" if het else "ATOM"
    x, y, z = (v if isinstance(v, str) else f"{v:8.3f}" for v in xyz)
    return (
        f"{record:<6}{serial:>5} {name:<4}{alt:1}{residue:>3} {chain:1}{number:>4}{ins:1}   {x}{y}{z}"
        f"{occ:6.2f}{b:6.2f}          {shown:>2}"
    )


PLACES = {
    "N": (-1.2, 0.3, -0.8), "CA": (0, 0, 0), "C": (0.6, 1.1, 0.8), "O": (0.4, 2.2, 0.5),
    "CB": (1.1, -0.8, -0.6),
}  # fmt: skip
"""Backbone and CB of an L-amino acid, roughly placed round its C-alpha, Å."""


def residue_lines(residue: str, number: int, ca, **options) -> list[str]:
    atoms = [atom for atom in PLACES if residue != "GLY" or atom != "CB"]
    return [line(atom, residue, number, np.add(ca, PLACES[atom]), **options) for atom in atoms]


def chain_lines(sequence: str, first: int = 1, offset=(0.0, 0.0, 0.0), **options) -> list[str]:
    lines = []
    for k, (letter, ca) in enumerate(zip(sequence, trace(len(sequence)), strict=True)):
        lines += residue_lines(THREE_LETTER[letter], first + k, ca + offset, **options)
    return lines


def read(lines: list[str], chain: str | None = None, name: str = "test.pdb") -> Structure:
    return read_bytes("\n".join([*lines, "END", ""]).encode(), name, chain=chain)


def said(structure: Structure, words: str) -> bool:
    return any(words in note for note in structure.notes)


class TestClean:
    def test_2gtl(self) -> None:
        globin = read_structure(GLOBIN, chain="A")
        assert len(globin) == 147
        assert globin.sequence.startswith("DCCSYEDRREIRHIWDDVWS")
        assert (globin.name, globin.chain_id, globin.numbers[0]) == ("2gtl", "A", "5")
        assert globin.full_sequence is not None
        assert len(globin.full_sequence) == 151
        assert globin.full_index is not None
        assert globin.full_index[0] == 4
        assert globin.plddt is None
        assert said(globin, "1 HEM")
        assert globin.ca.shape == (147, 3)
        assert globin.has_backbone.all()

    def test_pdb_and_mmcif_agree(self) -> None:
        one, two = read_structure(GLOBIN, chain="B"), read_structure(GLOBIN.with_suffix(".cif"), chain="B")
        assert (one.sequence, one.numbers, one.atom_name) == (two.sequence, two.numbers, two.atom_name)
        assert (one.element, one.full_sequence) == (two.element, two.full_sequence)
        np.testing.assert_array_equal(one.coord, two.coord)
        np.testing.assert_array_equal(one.b_factor, two.b_factor)

    def test_agrees_with_gemmi(self) -> None:
        ours = read_structure(GLOBIN, chain="C")
        reference = gemmi.read_structure(str(GLOBIN))
        reference.setup_entities()
        polymer = reference[0]["C"].get_polymer()
        theirs = np.array([residue["CA"][0].pos.tolist() for residue in polymer])
        np.testing.assert_allclose(ours.ca, theirs, atol=1e-9)
        assert ours.sequence == gemmi.one_letter_code([residue.name for residue in polymer])

    def test_atoms(self) -> None:
        globin = read_structure(GLOBIN, chain="A")
        for k in range(len(globin)):
            atoms = globin.atom_name[globin.atoms_of(k)]
            assert set(atoms) <= {*HEAVY_ATOMS[globin.sequence[k]], "OXT"}
            assert atoms[:3] == ("N", "CA", "C")
            assert (globin.residue_index[globin.atoms_of(k)] == k).all()
        with pytest.raises(IndexError, match="147"):
            globin.atoms_of(147)
        np.testing.assert_array_equal(globin.atom_coord("CA"), globin.ca)
        assert set(globin.element) <= {"C", "N", "O", "S"}

    def test_arrays_of_other_lengths_are_a_bug(self) -> None:
        globin = read_structure(GLOBIN, chain="A")
        with pytest.raises(ValueError, match="atom arrays"):
            replace(globin, coord=globin.coord[1:])
        with pytest.raises(ValueError, match="residue arrays"):
            replace(globin, ins_code=("",))
        with pytest.raises(ValueError, match="ascend"):
            replace(globin, residue_index=globin.residue_index[::-1].copy())

    def test_pickles(self) -> None:
        globin = read_structure(GLOBIN, chain="A")
        assert globin.ca is globin.ca
        copy = pickle.loads(pickle.dumps(globin))
        np.testing.assert_array_equal(copy.ca, globin.ca)

    @pytest.mark.parametrize("folder", ["data/wild_types", "data/variants/ssym"])
    def test_every_reference_file_reads(self, shared: Path, folder: str) -> None:
        files = sorted((shared / folder).glob("*.pdb.gz"))
        assert len(files) >= 150
        for path in files:
            structure = read_structure(path)
            text = gzip.decompress(path.read_bytes()).decode()
            alphas = [row for row in text.splitlines() if row[:4] == "ATOM" and row[12:16] == " CA "]
            assert len(structure) == len(alphas), path.name
            assert not said(structure, "overlapping"), path.name
            if "ESMFold model" in text[:200] or "AlphaFold" in text[:200]:
                assert structure.plddt is not None, path.name
                assert 50 < structure.plddt.mean() <= 100
            else:
                assert structure.plddt is None, path.name


class TestNasty:
    def test_altlocs_by_occupancy_then_name(self) -> None:
        lines = chain_lines("AAAAA")
        lines[11:12] = [
            line("CA", "ALA", 3, (9, 0, 0), alt="A", occ=0.4),
            line("CA", "ALA", 3, (8, 0, 0), alt="B", occ=0.6),
        ]
        structure = read(lines)
        assert structure.ca[2, 0] == 8
        assert said(structure, "1 residues have alternate locations")
        even = [row.replace("  0.40", "  0.50").replace("  0.60", "  0.50") for row in lines]
        assert read(even).ca[2, 0] == 9

    def test_one_conformer_for_the_whole_residue(self) -> None:
        lines = chain_lines("AAA")
        extra = [
            line("CB", "ALA", 2, (1, 0, 0), alt="A", occ=0.3),
            line("CB", "ALA", 2, (2, 0, 0), alt="B", occ=0.7),
            line("O", "ALA", 2, (3, 0, 0), alt="A", occ=0.55),
            line("O", "ALA", 2, (4, 0, 0), alt="B", occ=0.45),
        ]
        structure = read(lines[:8] + extra + lines[10:])
        atoms = dict(
            zip(
                structure.atom_name[structure.atoms_of(1)],
                structure.coord[structure.atoms_of(1)],
                strict=True,
            )
        )
        assert atoms["CB"][0] == 2
        assert atoms["O"][0] == 4

    def test_second_conformers_listed_at_the_end(self) -> None:
        lines = chain_lines("AAAA")
        lines[6] = lines[6][:16] + "A" + lines[6][17:54] + "  0.30" + lines[6][60:]
        structure = read([*lines, line("CA", "ALA", 2, (7, 7, 7), alt="B", occ=0.7)])
        assert len(structure) == 4
        assert structure.ca[1].tolist() == [7, 7, 7]

    def test_two_residue_types_at_one_place(self) -> None:
        ca = trace(4)
        lines = (
            residue_lines("ALA", 1, ca[0])
            + residue_lines("SER", 2, ca[1], alt="A", occ=0.4)
            + residue_lines("THR", 2, ca[1], alt="B", occ=0.6)
            + residue_lines("ALA", 3, ca[2])
            + residue_lines("ALA", 4, ca[3])
        )
        assert read(lines).sequence == "ATAA"

    def test_insertion_codes_negative_numbers_and_gaps(self) -> None:
        ca = trace(8)
        numbers = [(-2, ""), (-1, ""), (0, ""), (82, ""), (82, "A"), (82, "B"), (90, ""), (91, "")]
        lines = []
        for (number, ins), place, letter in zip(numbers, ca, "ACDEFGHI", strict=True):
            lines += residue_lines(THREE_LETTER[letter], number, place, ins=ins)
        structure = read(lines)
        assert structure.numbers == ("-2", "-1", "0", "82", "82A", "82B", "90", "91")
        assert structure.sequence == "ACDEFGHI"
        laid = with_structure(WildType("P1", "MMACDEFGHI"), structure)
        assert laid.structure_numbers == (None, None, *structure.numbers)
        told = [structure_number(laid, positions) for positions in ([3], [6, 7], [1, 8], [1], [1, 2])]
        assert told == ["-2", "82;82A", "?;82B", "", ""]
        assert structure_number(WildType("P1", "ACD"), [1]) == ""
        index = np.array([-1, -1, 0, 1, 2, -1, 4, 5, 6, 7])
        engineered = WildType("P1", "MMACDWFGHI", structure, index, differences=((5, 3),))
        assert structure_number(engineered, [1, 6]) == "?;82"

    def test_numbers_that_are_written_alike(self) -> None:
        numbers = [(9, ""), (10, ""), (10, "1"), (11, ""), (101, "")]
        rows = [residue_lines("ALA", n, ca, ins=ins) for (n, ins), ca in zip(numbers, trace(5), strict=True)]
        with pytest.raises(
            StructureError, match=r"residues 10 \(insertion code 1\) and 101 of one chain are"
        ):
            read([row for residue in rows for row in residue])
        apart = read([row for residue in rows[:-1] for row in residue])
        assert apart.numbers == ("9", "10", "101", "11")

    def test_selenomethionine_as_hetatm(self) -> None:
        ca = trace(5)
        lines = residue_lines("ALA", 1, ca[0])
        mse = [
            *residue_lines("MSE", 2, ca[1], het=True),
            line("CG", "MSE", 2, ca[1] + 2, het=True),
            line("SE", "MSE", 2, ca[1] + 3, het=True, element="SE"),
            line("CE", "MSE", 2, ca[1] + 4, het=True),
        ]
        structure = read(lines + mse + chain_lines("AAA", 3, (0, 0, 3.0)))
        assert structure.sequence == "AMAAA"
        where = structure.atoms_of(1)
        assert structure.atom_name[where] == HEAVY_ATOMS["M"]
        assert structure.element[where][6] == "S"
        assert said(structure, "1 MSE read as MET")

    @pytest.mark.parametrize("ends", ["first", "last"])
    def test_selenomethionine_at_a_chain_end(self, ends: str) -> None:
        rows = read_structure(GLOBIN, chain="A")
        lines = []
        for k in range(6):
            het = k == (0 if ends == "first" else 5)
            for atom, xyz in zip(rows.atom_name[rows.atoms_of(k)], rows.coord[rows.atoms_of(k)], strict=True):
                if atom in ("N", "CA", "C", "O", "CB"):
                    lines.append(line(atom, "MSE" if het else "ALA", k + 1, xyz, het=het))
        assert read(lines).sequence == ("MAAAAA" if ends == "first" else "AAAAAM")

    def test_phosphoserine_loses_its_phosphate(self) -> None:
        lines = chain_lines("AAAA")
        sep = [
            *(row.replace("ALA", "SEP").replace("ATOM  ", "HETATM") for row in lines[5:10]),
            line("OG", "SEP", 2, (0, 0, 0), het=True),
            line("P", "SEP", 2, (1, 0, 0), het=True),
            line("O1P", "SEP", 2, (2, 0, 0), het=True),
        ]
        structure = read(lines[:5] + sep + lines[10:])
        assert structure.sequence == "ASAA"
        assert set(structure.atom_name[structure.atoms_of(1)]) == set(HEAVY_ATOMS["S"])

    def test_unknown_residues_become_x(self) -> None:
        lines = chain_lines("AAAA")
        lines[5:10] = [row.replace("ALA", "UNK") for row in lines[5:10]]
        lines[10:15] = [row.replace("ALA", "ZZ9").replace("ATOM  ", "HETATM") for row in lines[10:15]]
        structure = read(lines)
        assert structure.sequence == "AXXA"
        assert said(structure, "1 UNK read as unknown residue X")
        assert said(structure, "1 ZZ9 read as unknown residue X")

    @pytest.mark.parametrize(
        ("name", "letter"),
        [("HID", "H"), ("HIE", "H"), ("HSD", "H"), ("CYX", "C"), ("ASH", "D"), ("GLH", "E"), ("LYN", "K")],
    )
    def test_force_field_names(self, name: str, letter: str) -> None:
        lines = chain_lines("AAAA")
        lines[5:10] = [row.replace("ALA", name) for row in lines[5:10]]
        structure = read(lines)
        assert structure.sequence == f"A{letter}AA"
        assert not said(structure, name)

    @pytest.mark.parametrize(
        ("name", "letter"),
        [
            ("CYS2", "C"), ("CYSH", "C"), ("HISA", "H"), ("HISB", "H"), ("HISH", "H"), ("HIS1", "H"),
            ("LYSH", "K"), ("ARGN", "R"), ("ASPH", "D"), ("GLUH", "E"), ("ASN1", "N"),
            ("ASPP", "D"), ("GLUP", "E"), ("NASP", "D"), ("CPRO", "P"), ("NHIE", "H"), ("CCYX", "C"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("chain", ["A", " "])
    @pytest.mark.parametrize("places", [[1], [0], [1, 3, 4]])
    def test_names_of_four_letters(self, name: str, letter: str, chain: str, places: list[int]) -> None:
        lines = chain_lines("AAAAAA", chain=chain)
        for k in places:
            rows = lines[5 * k : 5 * k + 5]
            lines[5 * k : 5 * k + 5] = [f"{row[:17]}{name}{row[21:]}" for row in rows]
        structure = read(lines)
        assert structure.sequence == "".join(letter if k in places else "A" for k in range(6))
        assert structure.chain_id == chain.strip()
        assert structure.numbers == ("1", "2", "3", "4", "5", "6")
        assert not structure.notes

    def test_a_two_letter_chain_is_no_fourth_letter(self) -> None:
        one, two = ([f"{row[:20]}{name}{row[22:]}" for row in chain_lines("ACDEC")] for name in ("2A", "2B"))
        structure = read([*one, "TER", *two], chain="2B")
        assert (structure.sequence, structure.chain_id) == ("ACDEC", "2B")

    def test_no_residue_is_lost_without_a_word(self) -> None:
        lines = chain_lines("AAAAAA")
        lines[5:10] = [f"{row[:17]}XYZ9{row[21:]}" for row in lines[5:10]]
        for chain in (None, "A"):
            structure = read(lines, chain)
            assert structure.sequence == "AAAAA"
            assert said(structure, "left out, too short for a protein chain: XYZ 2 of chain 9A")

    def test_a_chain_without_c_alpha_is_named(self) -> None:
        bare = [row for row in chain_lines("ACD", chain="B", offset=(30, 0, 0)) if row[12:16] != " CA "]
        structure = read([*chain_lines("ACDEF"), *bare])
        assert said(structure, "chain B: 3 residues without C-alpha left out: ALA 1, CYS 2, ASP 3")
        with pytest.raises(StructureError, match="has 0 residues with a C-alpha, at least 3"):
            read(bare)

    def test_d_residues_are_noted(self) -> None:
        lines = chain_lines("AAAAA")
        lines[5:10] = [row.replace("ALA", "DVA").replace("ATOM  ", "HETATM") for row in lines[5:10]]
        lines[15:20] = [row.replace("ALA", "SEP").replace("ATOM  ", "HETATM") for row in lines[15:20]]
        structure = read(lines)
        assert structure.sequence == "AVASA"
        assert structure.modified == ((1, "DVA"), (3, "SEP"))
        assert said(structure, "1 residue is a D-amino acid, read and scored as the L form: DVA 2")
        assert said(structure, "1 SEP read as SER")
        assert not said(structure, "DVA read as")

    def test_force_field_atom_names(self) -> None:
        lines = chain_lines("AAI")
        lines += [line("CD", "ILE", 3, (1, 1, 1)), line("OT2", "ILE", 3, (2, 2, 2))]
        lines[-4] = lines[-4].replace(" O  ", " OT1")
        assert read(lines).atom_name[-6:] == ("CA", "C", "O", "CB", "CD1", "OXT")

    def test_calcium_is_no_c_alpha(self) -> None:
        calcium = [
            line("CA", " CA", 200, (1, 1, 1), het=True, element="CA"),
            line("CA", "CA", 201, (2, 2, 2), het=True, element=""),
            line("CA", "ALA", 202, (3, 3, 3), element="CA"),
        ]
        structure = read(chain_lines("ACDE") + calcium[:2])
        assert structure.sequence == "ACDE"
        assert said(structure, "2 CA")
        # Written in the calcium column, but the C-alpha of an alanine all the same.
        assert read(chain_lines("ACDE") + calcium[2:]).element[-1] == "C"

    def test_ligand_water_ion_and_free_amino_acid_are_left_out(self) -> None:
        lines = chain_lines("ACDEF")
        far = (60.0, 60.0, 60.0)
        others = [
            line("O", "HOH", 301, (5, 5, 5), het=True),
            line("O", "HOH", 302, (6, 5, 5), het=True),
            line("ZN", "ZN", 303, (7, 5, 5), het=True, element="ZN"),
            line("C1", "GOL", 304, (8, 5, 5), het=True),
            *residue_lines("GLU", 305, np.array(far), het=True),
            *residue_lines("GLU", 3, np.array(far) + 9, het=True),
        ]
        for ter in ([], ["TER"]):
            structure = read([*lines, *ter, *others])
            assert structure.sequence == "ACDEF"
            assert said(structure, "2 waters left out")
            assert said(structure, "2 GLU")
            assert said(structure, "1 GOL")

    def test_nucleic_acid_beside_the_protein(self) -> None:
        dna = [line(a, "DA", n, (n, 9, 9), chain="D") for n in range(5) for a in ("P", "C1'", "N9")]
        assert read(chain_lines("ACDE") + dna).sequence == "ACDE"
        with pytest.raises(StructureError, match="no protein chain found; its residues are DA"):
            read(dna)
        with pytest.raises(StructureError, match="chain 'D' holds no protein; protein chains: A: 4 residues"):
            read(chain_lines("ACDE") + dna, chain="D")

    def test_hydrogens_and_deuteriums_go(self) -> None:
        lines = chain_lines("ASA")
        for name in ("H", "HA", "1HB", "HB2", "D", "HG"):
            lines.append(line(name, "ALA", 3, (0, 0, 0), element=""))
        structure = read(lines)
        assert not [atom for atom in structure.atom_name if atom[0] in "HD1"]

    def test_missing_atoms(self) -> None:
        lines = chain_lines("AAAAAA")
        kept = [row for row in lines if not (row[12:16] == " CB " and row[22:26] == "   2")]
        kept = [row for row in kept if not (row[12:16] == " N  " and row[22:26] == "   3")]
        kept = [row for row in kept if not (row[12:16] == " CA " and row[22:26] == "   5")]
        structure = read(kept)
        assert structure.numbers == ("1", "2", "3", "4", "6")
        assert structure.has_backbone.tolist() == [True, True, False, True, True]
        assert said(structure, "1 residues without C-alpha left out: ALA 5")
        assert said(structure, "1 residues lack backbone atoms: ALA 3")

    def test_ca_only(self) -> None:
        structure = read([row for row in chain_lines("ACDEF") if row[12:16] == " CA "])
        assert structure.sequence == "ACDEF"
        assert not structure.has_backbone.any()
        assert said(structure, "C-alpha atoms only")

    def test_several_proteins_need_a_choice(self) -> None:
        lines = [*chain_lines("ACDEF"), "TER", *chain_lines("GHIKLM", chain="B", offset=(30, 0, 0))]
        with pytest.raises(
            StructureError, match=r"several proteins \(A: 5 residues, B: 6 residues\).*--chain"
        ):
            read(lines)
        assert read(lines, chain="B").sequence == "GHIKLM"
        with pytest.raises(StructureError, match="chain 'C' is not in the file; protein chains: A: 5"):
            read(lines, chain="C")

    def test_copies_take_the_first(self) -> None:
        second = chain_lines("ACDEF", chain="B", offset=(30, 0, 0))[5:]  # residue 1 unresolved
        structure = read([*chain_lines("ACDEF"), *second])
        assert structure.chain_id == "A"
        assert said(structure, "chain A is read; B hold the same protein")

    def test_short_peptide_beside_a_protein(self) -> None:
        structure = read([*chain_lines("ACDEF"), *chain_lines("GG", chain="P", offset=(30, 0, 0))])
        assert structure.chain_id == "A"

    @pytest.mark.parametrize("ter", [["TER"], []])
    def test_one_chain_name_for_two_copies(self, ter: list[str]) -> None:
        lines = [*chain_lines("ACDEF"), *ter, *chain_lines("ACDEF", offset=(30, 0, 0))]
        structure = read(lines)
        assert structure.sequence == "ACDEF"
        assert structure.ca[0, 0] < 10
        different = [*chain_lines("ACDEF"), *ter, *chain_lines("GHIKL", offset=(30, 0, 0))]
        with pytest.raises(StructureError, match="one chain name is used for different proteins"):
            read(different)

    def test_ter_inside_a_chain_does_not_split_it(self) -> None:
        lines = [*chain_lines("ACD"), "TER", *chain_lines("EFG", 4, (0, 0, 9))]
        assert read(lines).sequence == "ACDEFG"

    def test_blank_chain_and_no_element_column(self) -> None:
        lines = [row[:66] for row in chain_lines("ACDEF", chain=" ")]
        structure = read(lines)
        assert structure.chain_id == ""
        assert structure.sequence == "ACDEF"
        assert structure.element[structure.atom_name.index("CA")] == "C"
        assert read(lines, chain="").sequence == "ACDEF"

    def test_first_model(self) -> None:
        lines = ["MODEL        1", *chain_lines("ACDE"), "ENDMDL", "MODEL        2"]
        lines += [*chain_lines("ACDE", offset=(50, 0, 0)), "ENDMDL"]
        structure = read(lines)
        assert structure.ca[0, 0] < 10
        assert said(structure, "2 models, the first is read")

    def test_chain_breaks_and_overlaps_are_noted(self) -> None:
        lines = [*chain_lines("ACDE"), *chain_lines("FGHI", 5, (0, 0, 40))]
        assert said(read(lines), "1 chain break")
        lines = [*chain_lines("ACDE"), *residue_lines("PHE", 5, trace(4)[3] + 0.5)]
        assert said(read(lines), "overlapping residues): 4/5")

    @pytest.mark.parametrize("value", ["     nan", "     inf", "********", "        ", " 30 0.00"])
    def test_coordinates_that_are_no_numbers(self, value: str) -> None:
        lines = chain_lines("ACDEF")
        lines[11] = line("CA", "ASP", 3, (1.0, value, 2.0))
        with pytest.raises(
            StructureError, match=r"atom CA of ASP 3, chain A, .* no finite number \(record 12\)"
        ):
            read(lines)
        # In a water it does not matter.
        water = line("O", "HOH", 90, (1.0, value, 2.0), het=True)
        assert len(read([*chain_lines("ACDEF"), water])) == 5

    def test_hybrid_36_numbers(self) -> None:
        words = ["9998", "9999", "A000", "A001"]
        lines = [row[:22] + words[int(row[22:26]) - 1] + row[26:] for row in chain_lines("ACDE")]
        assert read(lines).numbers == ("9998", "9999", "10000", "10001")

    def test_windows_and_old_mac_line_ends_and_bom(self) -> None:
        text = "\n".join(chain_lines("ACDE"))
        for data in (
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
            b"\xef\xbb\xbf" + text.encode(),
        ):
            assert read_bytes(data, "x.pdb").sequence == "ACDE"

    def test_seqres_with_unresolved_residues(self) -> None:
        stated = "MGACDEFGHIKLMNPQ"
        names = [THREE_LETTER[letter] for letter in stated]
        seqres = [f"SEQRES   1 A   16  {' '.join(names[:13])}", f"SEQRES   2 A   16  {' '.join(names[13:])}"]
        lines = [*chain_lines("ACDEF", 101), *chain_lines("KLMN", 109, (0, 0, 20))]
        structure = read(seqres + lines)
        assert structure.full_sequence == stated
        assert structure.full_index is not None
        assert structure.full_index.tolist() == [2, 3, 4, 5, 6, 10, 11, 12, 13]
        # Numbering without a jump at the gap: the break in space says where it is.
        lines = [*chain_lines("ACDEF", 1), *chain_lines("KLMN", 6, (0, 0, 20))]
        structure = read(seqres + lines)
        assert structure.full_index is not None
        assert structure.full_index.tolist() == [2, 3, 4, 5, 6, 10, 11, 12, 13]

    def test_seqres_cut_short(self) -> None:
        for row in ("SEQRES", "SEQRES   1 A", "SEQRES   1 A    5  ALA C"):
            assert read([row, *chain_lines("ACDEF")]).sequence == "ACDEF"

    def test_seqres_of_something_else_is_not_used(self) -> None:
        structure = read(["SEQRES   1 A    5  TRP TRP TRP TRP TRP", *chain_lines("ACDEF")])
        assert structure.full_sequence is None
        assert said(structure, "does not fit")


class TestHopeless:
    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "is empty"),
            (b"hello\nworld\n", "no atoms found"),
            (b"<!DOCTYPE html><html>404</html>", "a web page"),
            (b'{"error": "not found"}', "a web page or other text"),
            (b"\x00\x01\x02" * 50, "binary file"),
            (b"\x1f\x8b\x08 broken", "damaged gzip"),
            (b"data_x\nloop_\n_atom_site.Cartn_x\n_atom_site.id\n1 2 3\n", "not valid mmCIF"),
            (b"data_x\n_cell.length_a 5\n", "no _atom_site loop"),
            (b"data_x\nloop_\n_atom_site.Cartn_x\n1.0\n", "lacks one of"),
            (b"ATOM      1  N   ALA A   1      11.104", "ends before column 54"),
            (b"ATOM      1  N   ALA A  xx      11.104   6.134  -6.504  1.00", "columns 23-26"),
        ],
    )  # fmt: skip
    def test_files_that_are_no_structure(self, data: bytes, message: str) -> None:
        with pytest.raises(StructureError, match=message):
            read_bytes(data, "x.pdb")

    def test_cut_off_gzip(self, tmp_path: Path) -> None:
        whole = gzip.compress(GLOBIN.read_bytes())
        path = tmp_path / "cut.pdb.gz"
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StructureError, match=r"cut\.pdb\.gz: damaged gzip"):
            read_structure(path)

    def test_gzip_is_read_up_to_a_limit(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "\n".join([*chain_lines("ACDEF"), "REMARK " * 400_000]).encode()
        (tmp_path / "bomb.pdb.gz").write_bytes(gzip.compress(text, mtime=0))
        (tmp_path / "bomb.fa.gz").write_bytes(gzip.compress(b">a\n" + b"A" * 3_000_000, mtime=0))
        assert (tmp_path / "bomb.pdb.gz").stat().st_size < 20_000
        for limit in ("1", " 0.5 ", "2.5"):
            monkeypatch.setenv("MUTSCAN_MAX_FILE_MB", limit)
            words = (
                rf"decompresses to more than {limit.strip()} MB; if that is right, set MUTSCAN_MAX_FILE_MB"
            )
            with pytest.raises(StructureError, match=rf"bomb\.pdb\.gz: {words}"):
                read_structure(tmp_path / "bomb.pdb.gz")
            with pytest.raises(UsageError, match=rf"bomb\.fa\.gz: {words}"):
                read_fasta(tmp_path / "bomb.fa.gz")
            with pytest.raises(UsageError, match=rf"bomb\.fa\.gz: {words}"):
                read_variants(tmp_path / "bomb.fa.gz")
        for limit in ("3", "", "1000"):
            monkeypatch.setenv("MUTSCAN_MAX_FILE_MB", limit)
            assert read_structure(tmp_path / "bomb.pdb.gz").sequence == "ACDEF"
            assert len(read_fasta(tmp_path / "bomb.fa.gz")[0].sequence) == 3_000_000
        for limit in ("0", "-1", "many", "nan", "inf"):
            monkeypatch.setenv("MUTSCAN_MAX_FILE_MB", limit)
            with pytest.raises(UsageError, match=f"MUTSCAN_MAX_FILE_MB={limit}: expected a number of MB"):
                read_structure(tmp_path / "bomb.pdb.gz")

    def test_a_tar_archive_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.pdb").write_text("\n".join(chain_lines("ACDEF")))
        for name in ("x.pdb.gz", "x.fa.gz"):
            with tarfile.open(tmp_path / name, "w:gz") as archive:
                archive.add(tmp_path / "x.pdb", "x.pdb")
        with pytest.raises(StructureError, match=r"x\.pdb\.gz: is a tar archive of files; unpack it"):
            read_structure(tmp_path / "x.pdb.gz")
        with pytest.raises(UsageError, match=r"x\.fa\.gz: is a tar archive of files; unpack it"):
            read_fasta(tmp_path / "x.fa.gz")

    def test_cut_off_mmcif(self) -> None:
        data = GLOBIN.with_suffix(".cif").read_bytes()
        place = data.index(b"ATOM   500")
        with pytest.raises(StructureError, match="not valid mmCIF"):
            read_bytes(data[: place + 30], "2gtl.cif")

    @pytest.mark.parametrize("n", [1, 2])
    def test_too_short(self, n: int) -> None:
        with pytest.raises(StructureError, match=f"has {n} residue.* at least 3 are needed"):
            read(chain_lines("AC"[:n]))

    def test_missing_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StructureError, match="no such file") as caught:
            read_structure(tmp_path / "none.pdb")
        assert caught.value.code == "structure_missing"
        with pytest.raises(StructureError, match="cannot be read"):
            read_structure(tmp_path)


class TestNoProtein:
    """Coordinates that are numbers, but of no protein: refused with words, and no warning of numpy's."""

    def with_ca(self, change) -> list[str]:
        moved = change(trace(40))
        return [row for k, ca in enumerate(moved) for row in residue_lines("ALA", k + 1, ca)]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda ca: 0 * ca, r"40 of its 40 C-alpha atoms lie at one point \(0, 0, 0\)"),
            (lambda ca: 0 * ca + 7.5, r"lie at one point \(7\.5, 7\.5, 7\.5\)"),
            (lambda ca: ca * (np.arange(40) < 30)[:, None], "10 of its 40 C-alpha atoms lie at one point"),
            (lambda ca: ca / 10, r"neighbouring residues are 0\.38 Å apart \(median\), not 3\.8 Å"),
            (lambda ca: ca * 10, r"neighbouring residues are 38 Å apart"),
            (lambda ca: np.random.default_rng(0).permutation(ca), "Å apart"),
            (lambda ca: ca * [1, 1, 0.01] * (1 + 1e-3 * np.arange(40))[:, None], "too small for them"),
        ],
    )  # fmt: skip
    def test_is_refused(self, change, words: str) -> None:
        with pytest.raises(
            StructureError, match=f"test: chain A is no protein structure: .*{words}"
        ) as caught:
            read(self.with_ca(change))
        assert caught.value.code == "bad_structure"

    @pytest.mark.parametrize(
        ("axes", "words"),
        [((1, 0, 0), "on one straight line"), ((1, 0, 1), "in one plane"), ((0, 1, 1), "in one plane")],
    )
    def test_a_chain_without_depth(self, axes: tuple[int, int, int], words: str) -> None:
        """Every step is that of a protein, 3.8 Å; only the shape is not."""
        steps = np.diff(trace(60), axis=0) * axes
        steps *= 3.8 / np.linalg.norm(steps, axis=1, keepdims=True)
        flat = np.cumsum(np.abs(steps) if sum(axes) == 1 else steps, axis=0)
        tilted = flat @ Rotation.from_euler("xyz", (0.3, 1.1, 2.0)).as_matrix() + 20
        rows = [residue_lines("ALA", k + 1, ca) for k, ca in enumerate(tilted)]
        with pytest.raises(StructureError, match=f"its 59 C-alpha atoms lie {words}; expected"):
            read([row for residue in rows for row in residue])
        few = read([row for residue in rows[:4] for row in residue])  # four residues may lie so
        assert len(few) == 4

    @pytest.mark.parametrize(("rise", "turn", "radius"), [(1.5, 100, 2.3), (3.3, 190, 0.95)])
    def test_a_lone_helix_and_a_lone_strand_have_depth(self, rise: float, turn: float, radius: float) -> None:
        angle = np.radians(turn) * np.arange(20)
        spiral = np.stack([radius * np.cos(angle), radius * np.sin(angle), rise * np.arange(20)], axis=1)
        assert (
            len(read([row for k, ca in enumerate(spiral) for row in residue_lines("ALA", k + 1, ca)])) == 20
        )

    def test_all_atoms_at_zero(self) -> None:
        rows = [row[:30] + "   0.000   0.000   0.000" + row[54:] for row in chain_lines("ACD")]
        with pytest.raises(StructureError, match="3 of its 3 C-alpha atoms lie at one point"):
            read(rows)

    def mirrored(self, rows: list[str], *numbers: int) -> list[str]:
        """Invert single residues round their C-alpha."""
        found = []
        for row in rows:
            x, number = float(row[30:38]), int(row[22:26])
            ca = float(next(one[30:38] for one in rows if one[12:26] == " CA " + row[16:26]))
            found.append(f"{row[:30]}{2 * ca - x if number in numbers else x:8.3f}{row[38:]}")
        return found

    def flipped(self, rows: list[str]) -> list[str]:
        return [f"{row[:30]}{-float(row[30:38]):8.3f}{row[38:]}" for row in rows]

    def test_a_mirror_image(self) -> None:
        globin = [row for row in GLOBIN.read_text().splitlines() if row[:4] == "ATOM" and row[21] == "A"]
        for rows, words in (
            (globin, "141 of its 141 C-beta atoms are those of D-amino acids"),
            ([row for row in globin if row[12:16] == " CA "], "its C-alpha trace turns left where proteins"),
            (chain_lines("AGCD"), "3 of its 3 C-beta atoms are those of D-amino acids"),
        ):
            assert not said(read(rows), "D form")
            with pytest.raises(
                StructureError, match=rf"no protein structure: it is a mirror image \({words}"
            ):
                read(self.flipped(rows))

    def test_single_inverted_residues_are_noted(self) -> None:
        rows = self.mirrored(chain_lines("ACDEFG", 5), 6, 8)
        assert said(read(rows), "named as L-amino acids, but with the C-beta of the D form: CYS 6, GLU 8")
        with pytest.raises(StructureError, match=r"mirror image \(3 of its 5"):
            read(self.mirrored(chain_lines("ACDEFG", 5), 6, 8, 9))

    def test_short_traces_are_not_judged(self) -> None:
        left = [row for row in self.flipped(chain_lines("A" * 42)) if row[12:16] == " CA "]
        assert len(read(left)) == 42  # 39 dihedrals

    @pytest.mark.slow
    def test_no_measured_structure_is_a_mirror_image(self, shared: Path) -> None:
        files = [
            path for path in (shared / "data").rglob("*.gz") if path.name.endswith((".pdb.gz", ".cif.gz"))
        ]
        assert len(files) > 700
        for path in files:
            structure = read_structure(path)
            atoms = np.stack([structure.atom_coord(name) for name in ("N", "CA", "C", "CB")], axis=1)
            trace_only = np.where(np.array([False, True, False, False])[:, None], atoms, np.nan)
            assert not mirror_image(trace_only), path
            assert mirror_image(-atoms), path
            dihedrals = twist(structure.ca, linked_residues(structure.ca))
            assert np.isfinite(dihedrals).sum() < 40 or mirror_image(-trace_only), path

    def test_unusual_chains_are_read(self) -> None:
        assert len(read(self.with_ca(lambda ca: ca * [1, 1, 2.2]))) == 40  # extended
        gaps = [row for row in chain_lines("A" * 40) if int(row[22:26]) % 3 == 0]
        assert len(read(gaps)) == 13


class TestPlddt:
    def lines(self, values: list[float]) -> list[str]:
        rows = []
        for k, (b, ca) in enumerate(zip(values, trace(len(values)), strict=True)):
            rows += residue_lines("ALA", k + 1, ca, b=b)
        return rows

    def test_header_and_constant_values(self) -> None:
        title = "TITLE     ALPHAFOLD MONOMER V2.0 PREDICTION FOR SOMETHING"
        structure = read([title, *self.lines([90.5, 80.25, 40, 70, 33, 22])])
        assert structure.plddt is not None
        assert structure.plddt.tolist() == [90.5, 80.25, 40, 70, 33, 22]

    def test_file_name_of_the_database(self) -> None:
        rows = self.lines([90, 80, 40, 70, 33, 22])
        assert read(rows, name="AF-P04637-F1-model_v6.pdb").plddt is not None
        anonymous = read(rows)
        assert anonymous.plddt is None
        assert said(anonymous, "not read as pLDDT")

    def test_b_factors_that_the_user_calls_plddt(self) -> None:
        for values, factor in (([90, 80, 40, 70], 1), ([0.9, 0.8, 0.4, 0.7], 100)):
            data = "\n".join(self.lines(values)).encode()
            structure = read_bytes(data, "ranked_0.pdb", plddt=True)
            assert structure.plddt == pytest.approx(np.array(values) * factor)
            assert not structure.notes
            assert read_bytes(data, "ranked_0.pdb").plddt is None

    @pytest.mark.parametrize(
        ("head", "values", "words"),
        [
            ("", [90, 101.5, 40, 70], "they go from 40 to 101.5, beyond 0 to 100"),
            ("", [90, -1, 40, 70], "they go from -1 to 90"),
            ("", [20, 20, 20, 20], "they are all 20"),
            ("EXPDTA    X-RAY DIFFRACTION", [90, 80, 40, 70], r"states an experiment \(X-RAY DIFFRACTION\)"),
        ],
    )
    def test_b_factors_that_are_no_plddt(self, head: str, values: list[float], words: str) -> None:
        data = "\n".join([head, *self.lines(values)]).encode()
        with pytest.raises(StructureError, match=f"chain A are no pLDDT: .*{words}.*leave --plddt out"):
            read_bytes(data, "x.pdb", plddt=True)

    def test_an_experiment_in_mmcif(self) -> None:
        data = GLOBIN.with_suffix(".cif").read_bytes()
        with pytest.raises(StructureError, match=r"the file states an experiment \(X-RAY DIFFRACTION\)"):
            read_bytes(data, "2gtl.cif", chain="A", plddt=True)

    def test_fractions_become_percent(self) -> None:
        structure = read(["REMARK   1 ESMFOLD V1", *self.lines([0.9, 0.8, 0.4, 0.7])])
        assert structure.plddt is not None
        assert structure.plddt == pytest.approx([90, 80, 40, 70])

    def test_b_factors_of_a_crystal_are_none(self) -> None:
        rows = chain_lines("ACDE")
        rows[3] = rows[3].replace(" 20.00", " 31.00")
        assert read(["TITLE     COMPARED WITH ALPHAFOLD", *rows]).plddt is None
        rows = self.lines([90, 80, 40, 70])
        assert read(["EXPDTA    X-RAY DIFFRACTION", "TITLE     AN ALPHAFOLD STORY", *rows]).plddt is None
        assert read(["TITLE     ALPHAFOLD", *self.lines([90, 180, 40, 70])]).plddt is None

    def test_confidence_per_atom_is_read_at_the_c_alpha(self) -> None:
        rows = self.lines([90, 80, 40, 70])
        rows[3] = rows[3].replace(" 90.00", " 61.00")
        structure = read(["TITLE     ESMFOLD V1 PREDICTION", *rows])
        assert structure.plddt is not None
        assert structure.plddt.tolist() == [90, 80, 40, 70]

    def test_modelcif(self) -> None:
        rows = []
        for k, ca in enumerate(trace(4)):
            for atom, shift in (("N", -1.0), ("CA", 0.0), ("C", 1.0)):
                x, y, z = ca + shift
                rows.append(
                    f"ATOM {atom[0]} {atom} . ALA A 1 {k + 1} {x:.3f} {y:.3f} {z:.3f} 1 {10 * k + len(rows)}"
                )
        text = (
            "data_AF\n_ma_qa_metric.id 2\n_ma_qa_metric.mode local\n_ma_qa_metric.name pLDDT\n"
            "_ma_qa_metric.type pLDDT\n"
            "loop_\n_ma_qa_metric_local.label_asym_id\n_ma_qa_metric_local.label_seq_id\n"
            "_ma_qa_metric_local.metric_id\n_ma_qa_metric_local.metric_value\n"
            "A 1 2 91.5\nA 2 2 82.5\nA 3 2 73.5\nA 4 2 64.5\n"
            "loop_\n" + "".join(f"_atom_site.{tag}\n" for tag in (
                "group_PDB", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
                "label_entity_id", "label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
                "B_iso_or_equiv",
            )) + "\n".join(rows) + "\n"
        )  # fmt: skip
        structure = read_bytes(text.encode(), "model.cif")
        assert structure.plddt is not None
        assert structure.plddt.tolist() == [91.5, 82.5, 73.5, 64.5]


def structures_equal(one: Structure, two: Structure) -> None:
    assert (one.sequence, one.numbers, one.atom_name, one.element) == (
        two.sequence, two.numbers, two.atom_name, two.element
    )  # fmt: skip
    np.testing.assert_allclose(one.coord, two.coord, atol=5.1e-4)


class TestWrite:
    @pytest.mark.parametrize("ending", [".pdb", ".cif", ".ent", ".pdb.gz", ".cif.gz"])
    def test_round_trip(self, tmp_path: Path, ending: str) -> None:
        globin = read_structure(GLOBIN, chain="A")
        path = tmp_path / f"globin{ending}"
        write_structure(globin, path)
        again = read_structure(path)
        structures_equal(globin, again)
        assert again.chain_id == "A"
        np.testing.assert_array_equal(again.coord, globin.coord)
        np.testing.assert_allclose(again.b_factor, globin.b_factor, atol=1e-3)
        assert again.full_sequence == globin.sequence
        first = path.read_bytes()
        write_structure(again, path)
        assert path.name.endswith(".gz") or path.read_bytes().split(b"ATOM")[1:] == first.split(b"ATOM")[1:]

    @settings(max_examples=20, deadline=None)
    @given(data=st.data())
    def test_anything_round_trips(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        sequence = data.draw(st.text(STANDARD + "X", min_size=3, max_size=12))
        n = len(sequence)
        numbers = np.cumsum(
            [data.draw(st.integers(-300, 900)), *(data.draw(st.integers(1, 9)) for _ in sequence[1:])]
        )
        chain_id = data.draw(st.sampled_from(["A", "b", "7", "", "'", "#"]))
        names = [HEAVY_ATOMS.get(letter, ("N", "CA", "C", "O", "CB")) for letter in sequence]
        flat = [(k, atom) for k, atoms in enumerate(names) for atom in atoms]
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        structure = Structure(
            name=data.draw(st.sampled_from(["x", "a b", "it's", 'q"q', "_", "data_", "Å"])),
            chain_id=chain_id,
            sequence=sequence,
            res_id=numbers,
            ins_code=tuple(data.draw(st.sampled_from(["", "", "A", "Z"])) for _ in range(n)),
            residue_index=np.array([k for k, _ in flat]),
            atom_name=tuple(atom for _, atom in flat),
            element=tuple(atom[0] for _, atom in flat),
            coord=rng.normal(scale=0.05, size=(len(flat), 3))
            + [trace(n)[k] + PLACES.get(atom, 0.0) for k, atom in flat],
            b_factor=np.zeros(len(flat)),
        )
        folder = tmp_path_factory.mktemp("write")
        for ending in (".cif", ".pdb"):
            write_structure(structure, folder / f"s{ending}")
            again = read_structure(folder / f"s{ending}")
            structures_equal(structure, again)
            assert again.chain_id == (chain_id if chain_id or ending == ".pdb" else "A")

    @pytest.mark.parametrize("ending", [".pdb", ".cif"])
    def test_b_factor_column(self, tmp_path: Path, ending: str) -> None:
        globin = read_structure(GLOBIN, chain="A")
        values = np.linspace(0, 1, 147)
        values[10] = np.nan
        path = tmp_path / f"globin{ending}"
        write_structure(globin, path, b_factor=values)
        again = read_structure(path)
        expected = np.nan_to_num(values)[again.residue_index]
        np.testing.assert_allclose(again.b_factor, expected, atol=6e-3 if ending == ".pdb" else 6e-5)
        assert "marks residues without a value" in path.read_text()
        assert again.plddt is None
        with pytest.raises(ValueError, match=r"b_factor has shape \(3,\)"):
            write_structure(globin, path, b_factor=[1, 2, 3])

    @pytest.mark.parametrize("ending", [".pdb", ".cif"])
    def test_plddt_survives(self, tmp_path: Path, ending: str) -> None:
        model = read(["TITLE     ALPHAFOLD", *TestPlddt().lines([90.5, 80.25, 40, 70, 33, 22])])
        write_structure(model, tmp_path / f"x{ending}")
        again = read_structure(tmp_path / f"x{ending}")
        assert again.plddt is not None
        assert again.plddt.tolist() == [90.5, 80.25, 40, 70, 33, 22]

    def test_gemmi_reads_it_and_sees_one_polymer(self, tmp_path: Path) -> None:
        globin = read_structure(GLOBIN, chain="A")
        for ending in (".cif", ".pdb"):
            write_structure(globin, tmp_path / f"x{ending}")
            theirs = gemmi.read_structure(str(tmp_path / f"x{ending}"))
            theirs.setup_entities()
            assert len(theirs) == 1
            assert len(theirs[0]["A"].get_polymer()) == 147
            assert theirs.entities[0].full_sequence == [THREE_LETTER[one] for one in globin.sequence]
            assert str(theirs[0]["A"][0].seqid) == "5"

    def test_same_bytes_each_time(self, tmp_path: Path) -> None:
        globin = read_structure(GLOBIN, chain="A")
        for ending in (".cif", ".pdb", ".cif.gz"):
            for name in ("one", "two"):
                write_structure(globin, tmp_path / f"{name}{ending}")
            assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()

    def test_minus_zero(self, tmp_path: Path) -> None:
        structure = read(chain_lines("ACDE"))
        coord = structure.coord.copy()
        coord[0] = -1e-9
        write_structure(replace(structure, coord=coord), tmp_path / "x.cif")
        assert "-0.000" not in (tmp_path / "x.cif").read_text()

    def test_what_does_not_fit_pdb(self, tmp_path: Path) -> None:
        structure = read(chain_lines("ACDE"))
        for change, reason in (
            ({"chain_id": "AA"}, "chain name 'AA'"),
            ({"res_id": np.arange(9998, 10002)}, "residue numbers"),
            ({"coord": structure.coord + 20000.0}, "coordinates go beyond"),
        ):
            large = replace(structure, **change)
            with pytest.raises(StructureError, match=rf"x\.pdb: .*{reason}.*write \.cif"):
                write_structure(large, tmp_path / "x.pdb")
            write_structure(large, tmp_path / "x.cif")
            structures_equal(read_structure(tmp_path / "x.cif"), large)
        with pytest.raises(StructureError, match=r"names no structure format; expected \.pdb, "):
            write_structure(structure, tmp_path / "x.txt")

    def test_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        structure = read(chain_lines("ACDE"))
        path = tmp_path / "x.cif"
        path.write_text("old")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(RunFolderError, match=r"cannot write .*x\.cif: the disk is full"):
            write_structure(structure, path)
        assert path.read_text() == "old"
        assert [one.name for one in tmp_path.iterdir()] == ["x.cif"]
        with pytest.raises(RunFolderError, match="no such folder"):
            write_structure(structure, tmp_path / "none" / "x.cif")

    @pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
    def test_permissions_are_ordinary(self, tmp_path: Path) -> None:
        write_structure(read(chain_lines("ACDE")), tmp_path / "x.cif")
        (tmp_path / "y").write_text("")
        assert stat.S_IMODE((tmp_path / "x.cif").stat().st_mode) == stat.S_IMODE(
            (tmp_path / "y").stat().st_mode
        )


class TestMapping:
    def test_number_is_position_with_a_gap(self) -> None:
        lines = [*chain_lines("ACDEF", 3), *chain_lines("KLMN", 11, (0, 0, 20))]
        index = map_sequence(read(lines), "MGACDEFGHIKLMNPQ")
        assert index.tolist() == [-1, -1, 0, 1, 2, 3, 4, -1, -1, -1, 5, 6, 7, 8, -1, -1]

    def test_repeats_are_placed_by_number(self) -> None:
        sequence = "GSGSGSGSGSGS"
        index = map_sequence(read(chain_lines("GSGS", 5)), sequence)
        assert np.flatnonzero(index >= 0).tolist() == [4, 5, 6, 7]

    def test_gap_goes_where_the_chain_is_broken(self) -> None:
        # ...AAAA|AAAA...: letters alone cannot tell; only the break in space does.
        lines = [*chain_lines("CDEAA", 1), *chain_lines("AAFGH", 6, (0, 0, 20))]
        index = map_sequence(read(lines), "CDEAAAAAAFGH")
        assert np.flatnonzero(index < 0).tolist() == [5, 6]

    def test_shifted_numbers_and_substring(self) -> None:
        assert map_sequence(read(chain_lines("DEFGH", 501)), "ACDEFGHIK").tolist() == [
            -1,
            -1,
            0,
            1,
            2,
            3,
            4,
            -1,
            -1,
        ]

    def test_tags_have_no_place(self) -> None:
        sequence = "ACDEFGHIKLMNPQRSTVWY"
        structure = read(chain_lines("GSHM" + sequence, -3))
        assert map_sequence(structure, sequence).tolist() == list(range(4, 24))

    def test_unknown_residues_fit_anything(self) -> None:
        lines = chain_lines("ACDEFGHIKL")
        lines[10:15] = [row.replace("ASP", "UNK") for row in lines[10:15]]
        assert map_sequence(read(lines), "ACDEFGHIKL").tolist() == list(range(10))
        assert map_sequence(read(chain_lines("ACDEFGHIKL")), "ACXEFGHIKL").tolist() == list(range(10))

    def test_few_mismatches_have_no_place(self) -> None:
        sequence = "ACDEFGHIKLMNPQRSTVWY" * 2
        seen = sequence[:19] + "W" + sequence[20:]
        index = map_sequence(read(chain_lines(seen)), sequence)
        assert index[19] == -1
        assert (np.delete(index, 19) == np.delete(np.arange(40), 19)).all()

    def test_another_protein_is_refused(self) -> None:
        structure = read(chain_lines("ACDEFGHIKLMNPQRSTVWY"))
        with pytest.raises(StructureError, match="is not this protein") as caught:
            map_sequence(structure, "WWYYVVTTSSRRQQPPNNMM")
        assert caught.value.code == "structure_mismatch"
        with pytest.raises(StructureError, match=r"position 3: W in the sequence, D \(residue 3\)"):
            map_sequence(structure, "ACWEFGWIKLMNPQRSTVWY")

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_any_resolved_subset_is_found_again(self, data: st.DataObject) -> None:
        full = data.draw(st.text(STANDARD, min_size=30, max_size=60))
        start = data.draw(st.integers(0, 10))
        gap = data.draw(st.integers(0, 8))
        middle = data.draw(st.integers(start + 5, len(full) - 15))
        kept = [k for k in range(start, len(full)) if not middle <= k < middle + gap]
        ca = trace(len(full))
        lines = []
        for k in kept:
            lines += residue_lines(THREE_LETTER[full[k]], k + 1, ca[k])
        index = map_sequence(read(lines), full)
        assert np.flatnonzero(index >= 0).tolist() == kept

    def test_wild_type_from_structure(self) -> None:
        globin = read_structure(GLOBIN, chain="A")
        wild_type = wild_type_from_structure(globin)
        assert wild_type.name == "2gtl"
        assert len(wild_type.sequence) == 151
        assert wild_type.structure_index is not None
        assert (wild_type.structure_index >= 0).sum() == 147
        assert wild_type.structure_index[4] == 0
        for place, k in enumerate(wild_type.structure_index):
            assert k < 0 or globin.sequence[k] == wild_type.sequence[place]
        plain = wild_type_from_structure(replace(globin, full_sequence=None, full_index=None))
        assert plain.sequence == globin.sequence
        assert any("position 1 is residue 5 of the file" in note for note in plain.notes)

    def test_with_structure(self) -> None:
        sequence = "ACDEFGHIKLMNPQRSTVWY" * 2
        wild_type = WildType("P1", sequence, notes=("first",), records=({"source": "UniProt"},))
        structure = read(chain_lines(sequence[:19] + "W" + sequence[20:35]))
        joined = with_structure(wild_type, structure, records=({"source": "file"},))
        assert joined.structure is structure
        assert joined.structure_index is not None
        assert joined.structure_index[19] == -1
        assert [record["source"] for record in joined.records] == ["UniProt", "file"]
        assert any(
            "differs from the sequence at 1 position, where none is built: Y20 is W (residue 20)" in n
            for n in joined.notes
        )
        assert any("covers 35 of 40 residues" in note for note in joined.notes)
        assert joined.differences == ((19, 19),)
        assert site_notes(joined, [19, 20]) == (
            "test has W (residue 20) at position 20, where the sequence has Y",
        )
        assert joined.notes[0] == "first"


REPEAT = "MQIFVKTLTGKTITLEVEPSDTIENVKAK"
OTHER = "GSPAWHDYRNCELMVT"
TWICE = REPEAT + OTHER + REPEAT


class TestCopies:
    """A structure of one repeat or domain where the sequence has several: which one, or an error."""

    def test_residue_numbers_name_the_copy(self) -> None:
        start = len(REPEAT + OTHER)
        for first, other in ((start + 1, "1-29"), (1, "46-74")):
            structure = read(chain_lines(REPEAT, first))
            joined = with_structure(WildType("P1", TWICE), structure)
            assert joined.structure_index is not None
            assert np.flatnonzero(joined.structure_index >= 0)[0] == first - 1
            words = f"laid on {first}-{first + 28}, as its residue numbers say, and could also lie on {other}"
            assert [note for note in joined.notes if words in note]

    def test_numbers_of_no_copy_are_refused(self) -> None:
        for first in (2, 501, -5):
            structure = read(chain_lines(REPEAT, first))
            with pytest.raises(
                StructureError,
                match=rf"fits several identical stretches .*, 1-29 and 46-74, .* \({first} to {first + 28}\) "
                "are those of none; number its residues",
            ) as caught:
                map_sequence(structure, TWICE)
            assert caught.value.code == "structure_mismatch"

    def test_many_copies_are_counted(self) -> None:
        with pytest.raises(StructureError, match="30-58, 59-87, 88-116, 117-145, 146-174 and 2 more"):
            map_sequence(read(chain_lines(REPEAT, 901)), REPEAT * 8)

    def test_an_engineered_residue_and_a_gap_do_not_hide_the_copies(self) -> None:
        mutated = REPEAT[:9] + "A" + REPEAT[10:]
        for first in (1, 46):
            lines = chain_lines(mutated, first)
            lines = lines[: 15 * 5] + lines[19 * 5 :]
            index = map_sequence(read(lines), TWICE)
            assert np.flatnonzero(index >= 0)[0] == first - 1
            assert index[first + 8] == -1
        with pytest.raises(StructureError, match="several identical stretches"):
            map_sequence(read(chain_lines(mutated, 301)), TWICE)

    def test_what_fits_once_needs_no_numbers(self) -> None:
        joined = with_structure(WildType("P1", TWICE), read(chain_lines(REPEAT + OTHER[:3], 701)))
        assert not [note for note in joined.notes if "identical" in note]
        # Copies that differ in one letter are told apart.
        index = map_sequence(read(chain_lines(REPEAT, 701)), REPEAT[:-1] + "A" + OTHER + REPEAT)
        assert np.flatnonzero(index >= 0)[0] == 45

    def test_a_stated_sequence_of_repeats(self) -> None:
        names = [THREE_LETTER[letter] for letter in TWICE]
        seqres = [
            f"SEQRES{k // 13 + 1:>4} A   74  {' '.join(names[k : k + 13])}" for k in range(0, len(names), 13)
        ]
        structure = read([*seqres, *chain_lines(REPEAT, 46)])
        assert structure.full_index is not None
        assert structure.full_index[0] == 45
        structure = read([*seqres, *chain_lines(REPEAT, 501)])
        assert structure.full_sequence is None
        assert said(structure, "fit several stretches of the sequence the file states (74 residues)")


class TestSites:
    def test_what_stands_at_a_site(self) -> None:
        lines = chain_lines("ACDEFGHIKLMNPQRSTVWY" * 2)
        for number, name, other in ((3, "ASP", "DAS"), (16, "SER", "SEP")):
            lines = [
                row.replace(name, other).replace("ATOM  ", "HETATM") if int(row[22:26]) == number else row
                for row in lines
            ]
        wild_type = wild_type_from_structure(read(lines))
        assert site_notes(wild_type, [1, 2]) == ()
        assert site_notes(wild_type, [3, 16]) == (
            "residue 3 of the structure is DAS, a D-amino acid, scored as L-D",
            "residue 16 of the structure is SEP, scored as S",
        )
        assert site_notes(WildType("P1", "ACD"), [1]) == ()

    def test_selenocysteine_against_cysteine(self) -> None:
        sequence = "ACDEFGHIKLMNPQRSTVWY" * 2
        wild_type = with_structure(
            WildType("P1", sequence[:21] + "U" + sequence[22:]), read(chain_lines(sequence))
        )
        words = "test has C (residue 22) at position 22, where the sequence has U"
        assert site_notes(wild_type, [22]) == (words,)
        assert not [note for note in wild_type.notes if "covers" in note]
        with pytest.raises(BuildError, match=re.escape(words)) as caught:
            exchanges_of(wild_type, parse_variant("U22A"))
        assert caught.value.code == "structure_mismatch"


class TestFasta:
    def test_reads_and_cleans(self, tmp_path: Path) -> None:
        path = tmp_path / "x.fasta"
        path.write_text(">sp|P1|X_HUMAN Some protein\nacde fg-h.\nIKL*\n\n;comment\n>two\nMXU\n")
        records = read_fasta(path)
        assert records[0].identifiers == {}
        assert records == [("sp|P1|X_HUMAN", "Some protein", "ACDEFGHIKL"), ("two", "", "MXU")]
        zipped = tmp_path / "x.fa.gz"
        zipped.write_bytes(gzip.compress(path.read_bytes()))
        assert read_fasta(zipped) == records
        path.write_bytes(b"\xef\xbb\xbf>a\r\nACD\r\n>\r\nEF\r\n")
        assert read_fasta(path) == [("a", "", "ACD"), ("sequence2", "", "EF")]

    @pytest.mark.parametrize(
        ("header", "name", "known"),
        [
            (
                "sp|P04637|P53_HUMAN Cellular tumor antigen p53 OS=Homo sapiens OX=9606 GN=TP53 PE=1 SV=4",
                "P04637",
                {"accession": "P04637", "entry": "P53_HUMAN", "gene": "TP53"},
            ),
            (
                "sp|P04637-2|P53_HUMAN Isoform 2 of Cellular tumor antigen p53 OS=Homo sapiens GN=TP53",
                "P04637-2",
                {"accession": "P04637-2", "entry": "P53_HUMAN", "gene": "TP53"},
            ),
            (
                "tr|A0A024R161|A0A024R161_HUMAN Guanine nucleotide-binding protein OS=Homo sapiens PE=3",
                "A0A024R161",
                {"accession": "A0A024R161", "entry": "A0A024R161_HUMAN"},
            ),
            (
                "ENSP00000269305.4 pep gene:ENSG00000141510 gene_symbol:TP53 description:tumor protein",
                "ENSP00000269305.4",
                {"gene": "TP53"},
            ),
            ("NP_000537.3 cellular tumor antigen p53 isoform a [Homo sapiens]", "NP_000537.3", {}),
            ("sp|P04637 half a header", "sp|P04637", {}),
            ("TP53", "TP53", {}),
        ],
    )
    def test_headers(self, tmp_path: Path, header: str, name: str, known: dict[str, str]) -> None:
        path = tmp_path / "x.fasta"
        path.write_text(f">{header}\nACDEFGHIKL\n")
        (record,) = read_fasta(path)
        assert (record.name, record.identifiers) == (name, known)
        protein = resolve_wild_type(str(path), offline=True)
        assert (protein.name, protein.identifiers) == (name, known)
        assert not protein.is_entry
        sources = ProteinSources(path, offline=True)
        assert sources.wild_type(record.id).identifiers == known

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "contains no sequence"),
            ("ACD\n", "line 1: expected a header line"),
            (">a\n>b\nAC\n", "line 1: a has no sequence"),
            (">a\nAC*DE\n", r"line 2: a stop '\*' inside"),
            (">a\nAC*\nDE\n", r"line 3: the sequence continues after a stop"),
            (">a\nAC1\n", "line 2: '1' is not an amino-acid code"),
            (">a\nACD\n>b\n*\n", "line 3: b has no sequence"),
        ],
    )
    def test_refuses(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "x.fasta"
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_fasta(path)

    def test_unreadable(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no such file"):
            read_fasta(tmp_path / "none.fasta")
        (tmp_path / "b.fasta").write_bytes(b"\x00\x01")
        with pytest.raises(UsageError, match="binary"):
            read_fasta(tmp_path / "b.fasta")
        (tmp_path / "c.fasta.gz").write_bytes(b"\x1f\x8bxx")
        with pytest.raises(UsageError, match="gzip"):
            read_fasta(tmp_path / "c.fasta.gz")
