"""What users hand in: variants of one protein, and tables of many proteins."""

from mutscan.inputs.proteins import ProteinRow, ProteinTable, read_protein_table
from mutscan.inputs.rows import InputRow, InputTable, join_tables
from mutscan.inputs.variants import read_arguments, read_variants

__all__ = [
    "InputRow",
    "InputTable",
    "ProteinRow",
    "ProteinTable",
    "join_tables",
    "read_arguments",
    "read_protein_table",
    "read_variants",
]
