"""Wild types from UniProt and AlphaFold DB, downloaded once and kept with their provenance.

`Fetcher` joins the parts: `http` asks politely and checks what comes back, `cache` keeps it
with a record of where it came from, `uniprot`, `features` and `afdb` know
what the two services say. `get_viewer` gets 3Dmol.js for the report.
"""

from mutscan.fetch.cache import Record, clear_cache, list_cache
from mutscan.fetch.fetcher import Fetcher
from mutscan.fetch.http import Patience
from mutscan.fetch.uniprot import is_accession
from mutscan.fetch.viewer import Viewer, get_viewer

__all__ = [
    "Fetcher",
    "Patience",
    "Record",
    "Viewer",
    "clear_cache",
    "get_viewer",
    "is_accession",
    "list_cache",
]
