"""Protein families: a library, a search in it, and the profile of a protein.

Use it as ``FamilySearch(load_library(folder of a model)).profiles(sequences)``.
"""

from mutscan.families.search import FamilySearch
from mutscan.families.store import FAMILIES_FILE, FamilyLibrary, load_library, write_library

__all__ = ["FAMILIES_FILE", "FamilyLibrary", "FamilySearch", "load_library", "write_library"]
