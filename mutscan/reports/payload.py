"""The data of a page: what a run folder says, as JSON and one block of arrays, drawn by the page itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.reports.annotations import annotate
from mutscan.reports.block import Block
from mutscan.reports.coordinates import read_changes, read_frame
from mutscan.reports.digest import section
from mutscan.reports.findings import structure_finding, verdict
from mutscan.reports.saved import read_null, site_positions
from mutscan.reports.sentences import confidence_reason, sentence
from mutscan.results import RunFolder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from mutscan.reports.affected import AffectedRegion
    from mutscan.reports.coordinates import Atoms, Frame
    from mutscan.reports.saved import SavedRun

DETAILED: Final = 1000
"""Variants whose residues a page holds: more would make it slow to open; the files hold all."""

MOST_LETTERS: Final = 2000
"""Letters of one text of the data; longer ones are cut, the files hold them in full."""

NUMBERS: Final = (
    "tm_predicted", "lddt_predicted_mean", "lddt_predicted_min", "lddt_predicted_site",
    "tm_measured", "lddt_measured_mean", "lddt_measured_min", "lddt_measured_site",
    "ca_shift_site", "ca_shift_max", "tm_percentile", "lddt_percentile", "z_score", "p_deleterious",
    "n_residues_affected", "plddt_site", "ddg_predicted", "alphamissense",
)  # fmt: skip

LDDT_STEP: Final = 1 / 65534
COORDINATE_STEP: Final = 0.01
"""Å, unless the protein is larger than 650 Å."""


def score_payload(run: SavedRun) -> tuple[dict[str, Any], str]:
    """Everything that the page of a scored run draws.

    Returns
    -------
    dict
        JSON-able, NaN-free.
    str
        `Block.text`.
    """
    block = Block()
    rows = _detailed(run)
    residues = _residues(run, set(rows["variant"]), block)
    data: dict[str, Any] = {
        "kind": "score",
        "name": clip(run.name),
        "sequence": str(section(run.provenance, "wild_type").get("sequence", "")),
        "left_out": len(run.scored) - len(rows),
    }
    frame = None
    if residues.first is not None:
        data["sequence"] = "".join(residues.first["wild_type"])
        frame = add_wild_type(run.directory, run.provenance, residues.first, data, block)
    _add_null(run.directory, data, block)
    pieces = run.evidence()
    named = _Regions()
    atoms = _Mutants(block, data, frame, RunFolder(run.directory))
    data["variants"] = [
        _variant(
            index + 1,
            row,
            run.regions_of(row["variant"]),
            pieces.get(row["variant"], []),
            residues,
            atoms,
            named,
            judged=run.judged,
        )
        for index, (_, row) in zip(rows.index.tolist(), rows.iterrows(), strict=True)
    ]
    atoms.store()
    data["regions"] = named.told
    data["arrays"] = block.index
    return data, block.text()


def clip(text: object) -> str:
    """At most `MOST_LETTERS` of a text."""
    words = str(text)
    return words if len(words) <= MOST_LETTERS else words[: MOST_LETTERS - 1] + "…"


def known(value: object) -> float | None:
    """Return a number for JSON; None where it is not known."""
    return round(float(value), 6) if isinstance(value, int | float) and value == value else None


def _detailed(run: SavedRun) -> pd.DataFrame:
    """Scored rows, one for each variant; of very many those that matter most, in input order."""
    scored = run.scored
    if len(scored) <= DETAILED:
        return scored
    worst = scored.sort_values(["p_deleterious", "z_score"], ascending=[False, True], kind="stable")
    return scored.loc[sorted(worst.index[:DETAILED])]


class _Stored:
    """Which variants have arrays, and the first of them."""

    def __init__(self) -> None:
        self.place: dict[str, int] = {}
        self.first: pd.DataFrame | None = None
        self.mutant: dict[str, list[list[Any]]] = {}


def _residues(run: SavedRun, wanted: set[Any], block: Block) -> _Stored:
    stored = _Stored()
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("lddt_predicted", "lddt_measured", "lddt_drop_z", "ca_shift", "affected", "p_affected")
    }
    for variant, frame in run.residues():
        if variant not in wanted or variant in stored.place:
            continue
        if stored.first is None:
            stored.first = frame
        elif len(frame) != len(stored.first):
            continue
        stored.place[variant] = len(stored.place)
        differs = np.flatnonzero((frame["wild_type"] != frame["mutant"]).to_numpy())
        letters = frame["mutant"].to_numpy()
        stored.mutant[variant] = [[int(i), str(letters[i])] for i in differs[:200]]
        for name, collected in columns.items():
            values = frame[name].fillna(False) if name == "affected" else frame[name]
            collected.append(values.to_numpy(dtype=float))
    if stored.first is None:
        return stored
    for name, dtype, step in (
        ("lddt_predicted", "u2", LDDT_STEP),
        ("lddt_measured", "u2", LDDT_STEP),
        ("lddt_drop_z", "i1", 1 / 8),
        ("ca_shift", "u2", 0.01),
        ("affected", "u1", 1.0),
        ("p_affected", "u1", 1 / 250),
    ):
        block.add(name, np.stack(columns[name]), dtype, step=step)
    return stored


def add_wild_type(
    directory: Path, provenance: Mapping[str, Any], residues: pd.DataFrame, data: dict[str, Any], block: Block
) -> Frame | None:
    """Add confidence, numbering, annotations and coordinates of the wild type; returns its structure."""
    values = residues["plddt"].to_numpy(dtype=float)
    plddt: NDArray[np.float64] | None = values if np.isfinite(values).any() else None
    if plddt is not None:
        block.add("plddt", plddt, "u1", step=0.5)
    numbers = [n if isinstance(n, str) else None for n in residues["structure_number"]]
    if any(n is not None and n != str(place) for place, n in enumerate(numbers, start=1)):
        data["numbers"] = [n or "" for n in numbers]
    frame = read_frame(RunFolder(directory).structures, numbers)
    ca, backbone = (None, None) if frame is None else (frame.ca, frame.backbone)
    data["places"] = annotate(section(provenance, "wild_type"), ca, plddt, backbone)
    if frame is not None:
        atoms = frame.atoms
        centre = np.nanmean(frame.ca, axis=0)
        reach = float(np.abs(atoms.xyz - centre).max())
        data["atoms"] = {
            "names": sorted(set(atoms.name)),
            "step": max(COORDINATE_STEP, reach * 1.2 / 32000),
            "centre": [round(float(x), 3) for x in centre],
        }
        _add_atoms("wild_type", [atoms], data, block)
    return frame


def _add_atoms(name: str, parts: Sequence[Atoms], data: dict[str, Any], block: Block) -> None:
    about = data["atoms"]
    names: list[str] = about["names"]
    number = {atom: place for place, atom in enumerate(names)}
    for part in parts:
        for atom in sorted(set(part.name) - number.keys()):
            number[atom] = len(names)
            names.append(atom)
    block.add(f"{name}_residue", np.concatenate([part.residue for part in parts]), "u2")
    block.add(f"{name}_name", [number[atom] for part in parts for atom in part.name], "u1")
    xyz = np.concatenate([part.xyz for part in parts]) - np.array(about["centre"])
    block.add(f"{name}_xyz", xyz.ravel(), "i2", step=about["step"])


class _Mutants:
    """Reads built mutants one by one, and stores their atoms together."""

    def __init__(self, block: Block, data: dict[str, Any], frame: Frame | None, folder: RunFolder) -> None:
        self._block, self._data, self._frame, self._folder = block, data, frame, folder
        self._parts: list[Atoms] = []
        self._size = 0

    def read(self, variant: str, sites: Sequence[int]) -> list[int] | None:
        """Read one; returns where its atoms start, and how many there are."""
        if self._frame is None:
            return None
        atoms = read_changes(self._frame, self._folder.structure_of(variant), sites)
        if atoms is None:
            return None
        self._parts.append(atoms)
        self._size += len(atoms.name)
        return [self._size - len(atoms.name), len(atoms.name)]

    def store(self) -> None:
        """Add what was read to the block."""
        if self._parts:
            _add_atoms("mutant", self._parts, self._data, self._block)


class _Regions:
    """Names each region of the protein once; a variant points at it."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self._place: dict[tuple[Any, ...], int] = {}

    def add(self, regions: Sequence[AffectedRegion]) -> list[list[Any]]:
        """Place of each region, drop, z, measured drop, distance (Å), and 1 where it is disturbed."""
        rows = []
        for one in regions:
            key = (one.name, one.kind, one.source, one.stretches)
            if key not in self._place:
                self._place[key] = len(self.told)
                stretches = [list(stretch) for stretch in one.stretches]
                told = {"name": clip(one.name), "kind": one.kind, "source": one.source}
                self.told.append(told | {"stretches": stretches})
            numbers = [known(one.drop), _short(one.z), known(one.measured_drop), _short(one.distance)]
            rows.append([self._place[key], *numbers, int(one.disturbed)])
        return rows


def _short(value: float) -> float | None:
    """Return a z or a distance to the two decimals that a page can show."""
    return None if value != value else round(float(value), 2)


def _add_null(directory: Path, data: dict[str, Any], block: Block) -> None:
    null = read_null(directory)
    if null is not None and len(null) == len(data["sequence"]):
        for name in null.columns:
            block.add(f"null_{name}", null[name].to_numpy(dtype=float), "f4")


def _variant(
    number: int,
    row: pd.Series[Any],
    regions: Sequence[AffectedRegion],
    pieces: list[tuple[str, str, float]],
    residues: _Stored,
    atoms: _Mutants,
    named: _Regions,
    *,
    judged: bool,
) -> dict[str, Any]:
    variant = str(row["variant"])
    sites = [p for p in site_positions(str(row["positions"])) if p > 0]
    cells = row.to_dict()
    structure = structure_finding(cells, regions)
    disturbed = [region for region in regions if region.disturbed]
    return {
        "row": number,
        "name": variant,
        "hgvs": str(row["hgvs"]),
        "status": str(row["status"]),
        "message": clip(row["message"]),
        "sites": sites,
        "sentence": clip(sentence(cells, disturbed)),
        "flag": verdict(cells, judged=judged),
        "structure": [structure.state, clip(structure.why)],
        "input": clip(row["input"]),
        "context": clip(row["site_context"]),
        "rule": clip(row["flag_rule"]),
        "confidence": str(row["confidence"]),
        "reason": clip(confidence_reason(cells)),
        "notes": clip(row["notes"]),
        "numbers": {name: known(row[name]) for name in NUMBERS},
        "regions": named.add(regions),
        "evidence": [[clip(name), clip(value), known(weight)] for name, value, weight in pieces],
        "place": residues.place.get(variant),
        "mutant": residues.mutant.get(variant, []),
        "atoms": atoms.read(variant, sites),
    }
