"""A run folder of many proteins made up as `mutscan batch` would leave it: for tests of what reads one."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mutscan.results import PROTEIN_COLUMNS, TEXT_COLUMNS, VARIANT_COLUMNS, escape_cell, write_variants
from tests.fabricated import AMINO_ACIDS, substitutions

CALIBRATED = "calibrated on 5,657 variants of 164 protein groups"
RULES = {
    "deleterious": f"p >= 0.779 (specificity 0.83, precision 0.82 in lists of labelled human variants, "
    f"assuming that 56 % are deleterious; sequence evidence; {CALIBRATED})",
    "tolerated": f"p <= 0.275 (sensitivity 0.95, negative predictive value 0.79 in lists of labelled human "
    f"variants, assuming that 56 % are deleterious; sequence evidence; {CALIBRATED})",
    "uncertain": f"0.275 < p < 0.779 (sequence evidence; {CALIBRATED})",
}
MISSING = "no sequence of this protein: not in the given files, and UniProt has no entry of this name"


def make_batch(
    folder: Path,
    *,
    proteins: int = 8,
    each: int = 6,
    failed: int = 2,
    names: Sequence[str] = (),
    carried: Mapping[str, str] | None = None,
    message: str = MISSING,
    reports: Sequence[int] = (),
    calibrated: bool = True,
    parquet: bool = False,
) -> Path:
    """Write variants.csv, proteins.csv and run.json into `folder`; returns it.

    Parameters
    ----------
    folder : Path
    proteins, each : int
        Proteins, and rows of each.
    failed : int
        The last proteins of these failed, with `message`; of every third other one the last row failed.
    names : sequence of str
        Of the first proteins.
    carried : mapping, optional
        Carried columns and the text in each of their cells.
    reports : sequence of int
        Proteins with a report.html of their own.
    calibrated : bool
        Rows have probabilities and flags.
    parquet : bool
        Write variants.parquet, as of a scan, in place of variants.csv.
    """
    rng = np.random.default_rng(3)
    rows: list[dict[str, object]] = []
    table: list[dict[str, object]] = []
    (folder / "proteins").mkdir(parents=True)
    for place in range(proteins):
        name = names[place] if place < len(names) else f"P{place:05d}"
        length = int(rng.integers(60, 1200))
        sequence = "".join(rng.choice(list(AMINO_ACIDS), length))
        bad = place >= proteins - failed
        own = [
            _row(name, variant, rng, calibrated=calibrated) | dict(carried or {})
            for variant in substitutions(sequence, each)
        ]
        partial = place % 3 == 0
        for row in own if bad else own[-1:] * partial:
            row |= dict.fromkeys([c for c in row if c not in ("input", "wild_type", *(carried or {}))])
            row |= {
                "status": "failed",
                "error_code": "protein_not_found" if bad else "wild_type_mismatch",
                "message": message if bad else f"{row['input']}: the wild type has another residue there",
            }
        rows += own
        stem = f"protein_{place}"
        flags = [row["flag"] for row in own]
        table.append(
            {
                "name": name,
                "length": None if bad else length,
                "status": "failed" if bad else "partial" if partial else "ok",
                "error_code": "protein_not_found" if bad else None,
                "message": message if bad else None,
                "rows": each,
                "scored": 0 if bad else each - partial,
                **{flag: flags.count(flag) for flag in RULES},
                "regions_hit_most": None if bad else "10-40 (Kinase domain, UniProt); 52-60",
                "seconds": 0.25 * each,
                "folder": None if bad else f"proteins/{stem}",
            }
        )
        if not bad:
            (folder / "proteins" / stem).mkdir()
            said = {
                "wild_type": {"name": name},
                "records": [{"source": "UniProt", "sha256": "b" * 64}],
                "model": {
                    "name": "mutscan-mini",
                    "sha256": "c" * 64,
                    "encoder": "x/encoder",
                    "lddt_exponent": 3.0,
                },
                "calibration": {"share_deleterious": 0.56} if calibrated else None,
                "device": "cpu",
                "precision": "fp32",
                "builder": [],
            }
            (folder / "proteins" / stem / "run.json").write_text(json.dumps(said), encoding="utf-8")
        if place in reports and not bad:
            (folder / "proteins" / stem / "report.html").write_text("<!DOCTYPE html><title>one</title>")
    columns = [*VARIANT_COLUMNS, *(carried or {})]
    if parquet:
        stored = pd.DataFrame(rows).reindex(columns=columns)
        for column in columns:
            text = column in TEXT_COLUMNS or column in (carried or {})
            stored[column] = stored[column].astype("string" if text else float)
        stored.astype({"flag": "category", "flag_rule": "category"}).to_parquet(folder / "variants.parquet")
    else:
        write_variants(folder / "variants.csv", rows, list(carried or {}))
    with (folder / "proteins.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(PROTEIN_COLUMNS)
        writer.writerows(
            ["" if row[c] is None else escape_cell(str(row[c])) for c in PROTEIN_COLUMNS] for row in table
        )
    said = {
        "schema": 1,
        "mutscan": "0.1.0",
        "command": "batch",
        "arguments": {"table": "variants.csv", "predict": "all", "seed": 0},
        "seed": 0,
        "versions": {"python": "3.11.2"},
        "finished": "2026-11-20T12:00:00+00:00",
        "wall_seconds": 21.5,
    }
    (folder / "run.json").write_text(json.dumps(said, indent=2), encoding="utf-8")
    (folder / "log.txt").write_text("", encoding="utf-8")
    return folder


def _row(name: str, variant: str, rng: np.random.Generator, *, calibrated: bool) -> dict[str, object]:
    p = round(float(rng.beta(0.8, 0.7)), 4)
    flag = "deleterious" if p >= 0.779 else "tolerated" if p <= 0.275 else "uncertain"
    drop = f"structure not disturbed: lDDT drop z {rng.normal():.2f} < 1.34"
    row: dict[str, object] = {
        "input": variant,
        "status": "ok",
        "wild_type": name,
        "variant": variant,
        "hgvs": f"p.{variant}",
        "n_substitutions": 1,
        "positions": variant[1:-1],
        "lddt_predicted_mean": 0.998,
        "z_score": round(float(rng.normal(-0.5, 1.5)), 3),
        "affected_regions": "10-40 (Kinase domain, UniProt; mean lDDT drop 0.05)" if p > 0.9 else None,
        "confidence": "medium",
        "flag": None,
    }
    if calibrated:
        row |= {"flag": flag, "flag_rule": f"{RULES[flag]}; {drop}", "p_deleterious": p}
        row["evidence"] = f"conservation {3 * p - 1:+.1f}; exchange +0.4; language model -0.2"
    return row
