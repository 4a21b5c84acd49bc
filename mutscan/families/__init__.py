"""Families a protein belongs to: a library of them, a search in it, and the profile it gives.

One way in: ``FamilySearch(load_library(folder of a model)).profiles(sequences)``.
"""

from mutscan.families.search import FamilySearch
from mutscan.families.store import FAMILIES_FILE, FamilyLibrary, load_library, write_library

__all__ = ["FAMILIES_FILE", "FamilyLibrary", "FamilySearch", "load_library", "write_library"]
