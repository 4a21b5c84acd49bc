"""A run folder with structures: a short helix and mutants of it, for tests of what opens or draws them."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from mutscan.results import RESIDUE_COLUMNS, write_variants
from mutscan.structures import Structure, write_structure
from tests.fabricated import write_regions, write_residues
from tests.peptides import helix

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLE"
FIRST = -3  # the structure's numbers start below zero, and jump over nothing


@cache
def wild_type_structure() -> Structure:
    return helix(SEQUENCE, first=FIRST, name="wt")


def made_up_run(folder: Path, region: str = "F helix, UniProt", count: int = 3) -> Path:
    """A run on a short helix whose mutants differ at one residue and are affected at three others."""
    wild_type = wild_type_structure()
    (folder / "structures").mkdir(parents=True)
    write_structure(wild_type, folder / "structures" / "wild_type.cif")
    rows, blocks, regions = [], [], []
    for number in range(count):
        site = 5 + number
        variant = f"{SEQUENCE[site - 1]}{site}W"
        letters = list(SEQUENCE)
        letters[site - 1] = "W"
        lddt = np.ones(len(SEQUENCE))
        lddt[site - 1], lddt[11:14], lddt[20] = 0.8, 0.9, np.nan
        write_structure(
            replace(wild_type, sequence="".join(letters), name=variant),
            folder / "structures" / f"{variant}.cif",
            b_factor=lddt,
        )
        affected = np.zeros(len(SEQUENCE), dtype=bool)
        affected[11:14] = True
        rows.append(
            {
                "input": variant,
                "status": "ok",
                "wild_type": "wt",
                "variant": variant,
                "positions": str(site),
                "z_score": -float(number),
                "lddt_measured_mean": 0.95,
                "affected_regions": f"12-14 ({region}; mean lDDT drop 0.1)",
            }
        )
        name, _, source = region.rpartition(", ")
        regions.append((variant, name, "helix", source, "12-14", 0.1, 5.0, 0.1, 3.8, True))
        blocks.append(
            {
                **dict.fromkeys(RESIDUE_COLUMNS, np.full(len(SEQUENCE), np.nan)),
                "variant": [variant] * len(SEQUENCE),
                "position": np.arange(1, len(SEQUENCE) + 1),
                "wild_type": list(SEQUENCE),
                "mutant": letters,
                "structure_number": list(wild_type.numbers),
                "lddt_measured": lddt,
                "affected": affected,
                "region": [region if hit else None for hit in affected],
                "p_affected": np.where(affected, 0.8, 0.1),
            }
        )
    write_variants(folder / "variants.csv", rows)
    write_residues(folder, blocks)
    write_regions(folder, regions)
    (folder / "run.json").write_text('{"wild_type": {"name": "wt", "chain": "A"}}')
    return folder
