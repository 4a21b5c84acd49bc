"""Wild types from UniProt and AlphaFold DB, downloaded once and kept with their provenance.

`Fetcher` joins the parts: `http` asks politely and checks what comes back, `cache` keeps it
with a record of where it came from, `uniprot`, `features` and `afdb` know
what the two services say.
"""

from mutscan.fetch.cache import Record, clear_cache, list_cache
from mutscan.fetch.fetcher import Fetcher
from mutscan.fetch.http import Patience
from mutscan.fetch.uniprot import is_accession

__all__ = ["Fetcher", "Patience", "Record", "clear_cache", "is_accession", "list_cache"]
