"""The folder of a scan made up with pandas, as `mutscan scan` would leave it: for tests of what reads one."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from mutscan.pipeline.positions import SCORES, PositionTable
from mutscan.residues import STANDARD
from mutscan.results import RunFolder, write_variants
from mutscan.structures import Feature, Structure, wild_type_from_structure
from tests.fabricated import make_run, write_regions

FEATURES = (
    Feature("Active site", "Proton acceptor", 40, 40, "UniProt"),
    Feature("Binding site", "heme", 97, 97, "UniProt"),
)

_HIT = ("helix 1", "helix", "structure", "1-10", 0.1, 4.0, 0.0, 3.0, True)

CLOSE_TO_ONE = 0.9999
"""Probability of W at position 5: below 1, though two and three decimals say 1."""


def make_scan(folder: Path, protein: Structure, *, calibrated: bool = True) -> Path:
    """Write what a whole scan of a protein leaves; each position has its own contexts and regions."""
    make_run(folder, count=1, protein=protein, bad=[])
    rng = np.random.default_rng(3)
    table = PositionTable(wild_type_from_structure(protein, features=FEATURES))
    written, regions = [], []
    for position, own in enumerate(protein.sequence, start=1):
        rows = []
        for letter in STANDARD.replace(own, ""):
            values = rng.random(len(SCORES))
            scores: dict[str, object] = dict(zip(SCORES, values.tolist(), strict=True))
            z = -6 * values[0]
            p = round(0.99 * float(values[-1]), 4)
            if (position, letter) == (5, "W"):
                p = CLOSE_TO_ONE
            scores |= {
                "z_score": z,
                "lddt_percentile": 100 * values[1],
                "p_deleterious": p if calibrated else None,
            }
            flag = "deleterious" if p > 0.7 else "tolerated" if p < 0.3 else "uncertain"
            first = 10 * ((position - 1) // 10) + 1
            rows.append(
                {
                    "input": f"{own}{position}{letter}",
                    "status": "ok",
                    "wild_type": "wild_type",
                    "variant": f"{own}{position}{letter}",
                    "positions": str(position),
                    "n_substitutions": 1,
                    "flag": flag if calibrated else "",
                    "flag_rule": "made up",
                    "site_context": f"helix {first // 10 + 1} ({first}-{first + 9}); buried (4 % accessible)",
                    **scores,
                }
            )
        table.add(position, rows)
        written += rows
        regions.append(
            (rows[0]["variant"], "helix 1", "helix", "structure", "1-10", 0.1, 4.0, 0.0, 3.0, True)
        )
    table.write(RunFolder(folder))
    write_variants(folder / "variants.csv", written, [])
    write_regions(folder, regions)
    said = json.loads((folder / "run.json").read_text())
    length = len(protein)
    said["scan"] = {
        "positions": f"1-{length}",
        "n_positions": length,
        "n_substitutions": 19 * length,
        "null_note": "made up",
        "regions": [
            {"name": "helix 1", "kind": "helix", "source": "structure", "positions": "1-10"},
            {"name": "<b>two</b>", "kind": "domain", "source": "UniProt", "positions": "21-30,41-50"},
        ],
    }
    said["counts"] = {"ok": 19 * length}
    if calibrated:
        said["calibration"] = {"prior": "clinical", "share_deleterious": 0.56}
    (folder / "run.json").write_text(json.dumps(said))
    return folder


def cells_of(folder: Path) -> pd.DataFrame:
    """scan.parquet, by position and letter."""
    return pd.read_parquet(folder / "scan.parquet").set_index(["position", "mutant"])
