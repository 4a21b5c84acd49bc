"""Wild types from UniProt, AlphaFold DB and the PDB, downloaded once and kept with their provenance.

`Fetcher` joins the parts: `http` asks politely and checks what comes back, `cache` keeps it
with a record of where it came from, `uniprot`, `features` and `afdb` know
what the services say, `names` which entry a name means. `get_viewer` gets 3Dmol.js for the report.
"""

from mutscan.fetch.cache import Record, clear_cache, list_cache
from mutscan.fetch.fetcher import Fetcher
from mutscan.fetch.http import Patience
from mutscan.fetch.names import KNOWN, Name, read_name
from mutscan.fetch.uniprot import is_accession
from mutscan.fetch.viewer import Viewer, get_viewer

__all__ = [
    "KNOWN",
    "Fetcher",
    "Name",
    "Patience",
    "Record",
    "Viewer",
    "clear_cache",
    "get_viewer",
    "is_accession",
    "list_cache",
    "read_name",
]
