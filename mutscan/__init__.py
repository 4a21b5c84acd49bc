"""mutscan: which variants disturb a protein's structure, and where."""

__version__ = "0.1.0"
