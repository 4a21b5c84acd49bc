"""A run folder made up with pandas, as `mutscan score` would leave it: for tests of what reads one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from mutscan.results import (
    REGION_SCHEMA,
    RESIDUE_COLUMNS,
    RESIDUE_SCHEMA,
    VARIANT_COLUMNS,
    RunFolder,
    block_writer,
    write_variants,
)
from mutscan.structures import Structure, write_structure

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def substitutions(sequence: str, count: int) -> list[str]:
    """`count` distinct substitutions spread over a sequence."""
    names = []
    for number in range(count):
        index = (number * 37 + 11) % len(sequence)
        others = AMINO_ACIDS.replace(sequence[index], "")
        names.append(
            f"{sequence[index]}{index + 1}{others[(number // len(sequence) + number) % len(others)]}"
        )
    return names


Region = tuple[str, str, str, str, str, float, float, float, float, bool]
"""A row of regions.parquet."""


def write_residues(folder: Path, blocks: Sequence[dict[str, object]]) -> None:
    with block_writer(RunFolder(folder).residues_parquet, RESIDUE_SCHEMA, row_group=1) as add:
        for block in blocks:
            add(block)


def write_regions(folder: Path, regions: Sequence[Region]) -> None:
    columns = zip(*regions, strict=True) if regions else [[]] * len(REGION_SCHEMA.names)
    with block_writer(RunFolder(folder).regions_parquet, REGION_SCHEMA) as add:
        add({name: [*column] for name, column in zip(REGION_SCHEMA.names, columns, strict=True)})


def make_run(
    folder: Path,
    *,
    length: int = 147,
    count: int = 8,
    name: str = "wild_type",
    bad: Sequence[dict[str, object]] | None = None,
    carried: dict[str, str] | None = None,
    structure: bool = True,
    note: str = "2 waters left out",
    protein: Structure | None = None,
    calibrated: bool = False,
) -> Path:
    """Write variants.csv, residues.parquet and run.json into `folder`; returns it.

    With `protein`, that is the wild type, and its structure and made-up mutants are written as well;
    when `calibrated`, rows have flags, and evidence.parquet and null.parquet are there.
    """
    rng = np.random.default_rng(7)
    sequence = "".join(rng.choice(list(AMINO_ACIDS), length))
    if protein is not None:
        sequence, length = protein.sequence, len(protein)
    rows: list[dict[str, object]] = []
    blocks = []
    regions: list[Region] = []
    pieces: list[tuple[str, str, str, float]] = []
    positions = np.arange(1, length + 1)
    for variant in substitutions(sequence, count):
        site = int(variant[1:-1])
        strength = rng.uniform(0.1, 1.0)
        distance = np.abs(positions - site)
        predicted = 1 - strength * (0.25 * np.exp(-distance / 2) + 0.01 * rng.random(length))
        measured = 1 - strength * 0.12 * np.exp(-distance / 6) * rng.random(length)
        measured[:3] = np.nan
        affected = (distance > 1) & (distance < 6) & (strength > 0.6)
        shift = strength * 1.8 * np.exp(-distance / 5)
        start, end = max(site - 5, 1), min(site + 5, length)
        row: dict[str, object] = {
            "input": variant,
            "status": "ok" if structure else "partial",
            "error_code": None if structure else "structure_missing",
            "message": None if structure else f"{variant}: there is no structure to build on",
            "wild_type": name,
            "variant": variant,
            "hgvs": f"p.{variant}",
            "n_substitutions": 1,
            "positions": str(site),
            "tm_predicted": 1 - 0.02 * strength,
            "lddt_predicted_mean": predicted.mean(),
            "lddt_predicted_min": predicted.min(),
            "lddt_predicted_site": predicted[site - 1],
            "tm_percentile": 100 * (1 - strength),
            "lddt_percentile": 100 * (1 - strength),
            "z_score": 1.5 - 5 * strength,
            "n_residues_affected": int(affected.sum()),
            "affected_regions": f"{start}-{end} (F helix, UniProt; mean lDDT drop 0.08)"
            if affected.any()
            else "8-60 (Globin domain, UniProt; mean lDDT drop 0.004; most affected, not beyond background)",
            "site_context": f"helix 2 ({start}-{end}); buried (4 % accessible); in Globin domain (UniProt)",
            "plddt_site": 91.0,
            "confidence": "high",
            "notes": "no flag: the model has no calibrated rule (mutscan train calibrate makes it)",
        }
        if structure:
            row |= {
                "tm_measured": 1 - 0.004 * strength,
                "lddt_measured_mean": np.nanmean(measured),
                "lddt_measured_min": np.nanmin(measured),
                "lddt_measured_site": float(np.nan_to_num(measured[site - 1], nan=1.0)),
                "ca_shift_site": shift[site - 1],
                "ca_shift_max": shift.max(),
            }
        if calibrated:
            flag = "deleterious" if strength > 0.7 else "tolerated" if strength < 0.4 else "uncertain"
            row |= {"flag": flag, "flag_rule": "made up: strength", "p_deleterious": strength, "notes": None}
            pieces += [(variant, "burial", "side chain 87 % buried", 1.5 * strength)]
            pieces += [(variant, "exchange", f"{variant[0]} to {variant[-1]}", strength - 0.8)]
        rows.append(row | (carried or {}))
        hit = bool(affected.any())
        found = [
            (variant, "F helix", "motif", "UniProt", f"{start}-{end}", 0.08, 5 * strength, 0.02, 0.0, hit),
            (variant, "Globin domain", "domain", "UniProt", "8-60", 0.004, 0.8 * strength, 0.001, 0.0, False),
            (variant, "helix 1", "helix", "structure", "3-7", 0.001, -0.4, 0.0, 12.5, False),
        ]
        regions += found if hit else [found[1], found[0], found[2]]
        letters = list(sequence)
        letters[site - 1] = variant[-1]
        block = {
            "variant": [variant] * length,
            "position": positions,
            "wild_type": list(sequence),
            "mutant": letters,
            "structure_number": [str(p) for p in positions] if protein is None else list(protein.numbers),
            "plddt": np.full(length, 91.0),
            "lddt_predicted": predicted,
            "lddt_measured": measured if structure else np.full(length, np.nan),
            "lddt_drop_z": strength * 4 * np.exp(-distance / 4),
            "ca_shift": shift if structure else np.full(length, np.nan),
            "affected": affected,
            "region": ["F helix, UniProt" if one else None for one in affected],
            "p_affected": np.clip(strength * np.exp(-distance / 4), 0, 1),
        }
        assert tuple(block) == RESIDUE_COLUMNS
        blocks.append(block)
        if protein is not None:
            structures = folder / "structures"
            structures.mkdir(parents=True, exist_ok=True)
            write_structure(protein, structures / "wild_type.cif")
            moved = np.where((distance < 6)[protein.residue_index, None], 0.4 * strength, 0.0)
            write_structure(
                replace(protein, sequence="".join(letters), coord=protein.coord + moved),
                structures / f"{variant}.cif",
            )
    if bad is None:
        bad = [
            {
                "input": "K43P",
                "status": "failed",
                "error_code": "wild_type_mismatch",
                "message": "expected K at position 43 (as written), the wild type has F",
            },
            {
                "input": "W12*",
                "status": "skipped",
                "error_code": "unsupported_variant",
                "message": "W12*: a stop ends the protein here; it is not scored",
            },
        ]
    rows += [{"wild_type": name} | row for row in bad]
    folder.mkdir(parents=True, exist_ok=True)
    write_variants(folder / "variants.csv", rows, list(carried or {}))
    write_residues(folder, blocks)
    write_regions(folder, regions)
    if calibrated:
        columns = ("variant", "evidence", "value", "contribution")
        pd.DataFrame(pieces, columns=columns).to_parquet(folder / "evidence.parquet")
        flat = {
            "residue_median": np.full(length, 0.995),
            "residue_scale": np.full(length, 0.002),
            "separation_median": 0.01 * np.exp(-np.arange(length) / 3),
            "separation_scale": np.full(length, 0.001),
        }
        pd.DataFrame(flat).to_parquet(folder / "null.parquet")
    counts = pd.Series([row["status"] for row in rows]).value_counts().to_dict()
    provenance = {
        "schema": 1,
        "mutscan": "0.1.0",
        "command": ["mutscan", "score", "examples/globin/wild_type.cif"],
        "arguments": {"wild_type": "examples/globin/wild_type.cif", "variants": [], "seed": 0},
        "wild_type": {
            "name": name,
            "sequence": sequence,
            "length": length,
            "sequence_sha256": "a" * 64,
            "structure": name if structure else None,
            "chain": "A" if structure else None,
            "features": [
                {"kind": "Domain", "description": "Globin", "start": 8, "end": 60, "source": "UniProt"},
                {"kind": "Binding site", "description": "heme", "start": 40, "end": 40, "source": "UniProt"},
            ],
            "residues_with_coordinates": length - 3 if structure else 0,
            "notes": [note],
        },
        "records": [{"source": "file", "path": "examples/globin/wild_type.cif", "sha256": "b" * 64}],
        "model": {
            "name": "mutscan-mini",
            "sha256": "c" * 64,
            "encoder": "mutscan-mini/encoder",
            "encoder_revision": None,
            "lddt_exponent": 3.0,
        },
        "device": "cpu",
        "precision": "fp32",
        "builder": [{"name": "openmm", "seed": 0}, {"name": "template", "seed": 0}] if structure else [],
        "seed": 0,
        "counts": counts,
        "versions": {"python": "3.11.2", "torch": "2.13.0"},
        "finished": "2026-11-20T12:00:00+00:00",
        "wall_seconds": 21.5,
    }
    (folder / "run.json").write_text(json.dumps(provenance, indent=2))
    return folder


__all__ = ["RESIDUE_SCHEMA", "VARIANT_COLUMNS", "make_run", "substitutions"]
