"""A saved run as one JSON object, for programs: rows, regions, evidence, residues as arrays."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from mutscan.reports.digest import digest
from mutscan.reports.saved import read_null, read_run
from mutscan.results import RESIDUE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

SCHEMA: Final = 2
"""Version of the layout; it grows when a key is renamed or taken away."""

_DECIMALS: Final = 6
_SHARED: Final = ("position", "wild_type", "structure_number", "plddt")
"""Residue columns that are the same for every variant; they stand under ``positions`` once."""


def run_json(directory: Path) -> Iterator[str]:
    """Write a saved run as JSON, piece by piece: a scan's residues need not fit into memory.

    Keys: ``schema``, ``headline``, ``run`` (run.json), ``variants`` (rows of variants.csv with numbers as
    numbers, ``regions`` as objects), ``evidence`` and ``residues`` (variant to pieces, and to one array for
    each column), ``positions`` (arrays that all variants share), ``null``. Unknown values are null.

    Raises
    ------
    UsageError
        It is no run folder, or a damaged one.
    """
    run = read_run(directory)
    yield f'{{"schema": {SCHEMA},\n"headline": {_text(digest(run).headline)},\n'
    yield f'"run": {_text(run.provenance)},\n"variants": [\n'
    for place, row in enumerate(run.json_rows()):
        regions = [
            {
                "region": region.name,
                "kind": region.kind,
                "source": region.source,
                "stretches": region.stretches,
                "lddt_drop_predicted": region.drop,
                "z": region.z,
                "lddt_drop_measured": region.measured_drop,
                "distance_to_site": region.distance,
                "disturbed": region.disturbed,
            }
            for region in run.regions_of(str(row["variant"]))
        ]
        yield (",\n" if place else "") + _text({**row, "regions": regions})
    yield '\n],\n"evidence": {'
    for place, (variant, pieces) in enumerate(run.evidence().items()):
        told = [
            {"evidence": name, "value": value or None, "contribution": weight}
            for name, value, weight in pieces
        ]
        yield (",\n" if place else "\n") + f"{_text(variant)}: {_text(told)}"
    null = read_null(directory)
    yield f'\n}},\n"null": {_text(None if null is None else _columns(null, tuple(null.columns)))},\n'
    own = tuple(name for name in RESIDUE_COLUMNS if name not in {*_SHARED, "variant"})
    shared: dict[str, Any] | None = None
    yield '"residues": {'
    for variant, block in run.residues():
        yield ("\n" if shared is None else ",\n") + f"{_text(variant)}: {_text(_columns(block, own))}"
        shared = shared or _columns(block, _SHARED)
    yield f'\n}},\n"positions": {_text(shared)}\n}}\n'


def _columns(frame: pd.DataFrame, names: tuple[str, ...]) -> dict[str, list[object]]:
    return {name: frame[name].tolist() for name in names}


def _text(value: object) -> str:
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: object) -> object:
    """Turn what JSON has no word for into null, and numbers into ones of a readable length."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, _DECIMALS) if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool) else None
