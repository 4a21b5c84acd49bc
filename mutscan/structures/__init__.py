"""Proteins in three dimensions: `Structure` and `WildType`, reading and writing PDB and mmCIF."""

from __future__ import annotations

from mutscan.structures.atoms import BACKBONE, HEAVY_ATOMS
from mutscan.structures.chain import Feature, Structure, WildType
from mutscan.structures.fasta import FastaRecord, is_fasta_file, read_fasta
from mutscan.structures.files import StructureFinder, is_structure_file, structures_in, unique_structures_in
from mutscan.structures.mapping import (
    backbone_by_position,
    ca_by_position,
    map_sequence,
    other_residue,
    plddt_by_position,
    site_notes,
    structure_number,
    wild_type_from_structure,
    with_structure,
)
from mutscan.structures.read import read_bytes, read_structure
from mutscan.structures.write import write_structure

__all__ = [
    "BACKBONE",
    "HEAVY_ATOMS",
    "FastaRecord",
    "Feature",
    "Structure",
    "StructureFinder",
    "WildType",
    "backbone_by_position",
    "ca_by_position",
    "is_fasta_file",
    "is_structure_file",
    "map_sequence",
    "other_residue",
    "plddt_by_position",
    "read_bytes",
    "read_fasta",
    "read_structure",
    "site_notes",
    "structure_number",
    "structures_in",
    "unique_structures_in",
    "wild_type_from_structure",
    "with_structure",
    "write_structure",
]
