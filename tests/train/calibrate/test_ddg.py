"""The fit of ddG, on made-up evidence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.evidence import DDG_EVIDENCE
from mutscan.evidence.ddg import read_ddg
from mutscan.model import inverse_folding as room
from mutscan.progress import Silent
from mutscan.residue_properties import BLOSUM62
from mutscan.residues import STANDARD
from mutscan.train.calibrate.ddg import fit_ddg
from mutscan.train.labelled.tables import VariantTable
from tests.made_up_folding import made_up_package

PROTEINS, EACH = 12, 60


@pytest.fixture(autouse=True)
def _package(tmp_path):
    with made_up_package(tmp_path / "package"):
        yield


@pytest.fixture
def data() -> tuple[VariantTable, dict[str, np.ndarray]]:
    """ddG = 1 - log-odds / 2 + noise. Protein 0 is S669's, and protein 1 almost the same."""
    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list(STANDARD), 80)) for _ in range(PROTEINS)]
    sequences[1] = sequences[0][:70] + sequences[1][70:]
    n = PROTEINS * EACH
    protein, index = np.repeat(np.arange(PROTEINS), EACH), np.tile(np.arange(EACH), PROTEINS)
    wild_type = np.array([STANDARD.index(sequences[p][i]) for p, i in zip(protein, index, strict=True)])
    mutant = (wild_type + rng.integers(1, 20, n)) % 20
    odds = rng.normal(-2.0, 2.0, n)
    evidence = {name: rng.normal(size=n) for name in DDG_EVIDENCE}
    evidence |= {"wild_type_residue": wild_type.astype(float), "mutant_residue": mutant.astype(float)}
    evidence |= {
        "folding_log_odds": odds,
        "burial_rank": rng.random(n),
        "blosum62": BLOSUM62[wild_type, mutant],
    }
    table = VariantTable(
        pd.DataFrame({"protein": [f"P{p}" for p in range(PROTEINS)], "sequence": sequences}),
        protein, np.full(n, ""), index, mutant, 1 - odds / 2 + rng.normal(scale=0.3, size=n),
        np.where(protein == 0, "S669", "OTHER"), np.arange(n),
    )  # fmt: skip
    return table, evidence


def test_the_rule_is_found_and_tested_without_relatives(data):
    table, evidence = data
    entry = fit_ddg(table, evidence, seed=0, progress=Silent())
    assert entry is not None
    assert entry["cross_fitted"]["n"] == (PROTEINS - 2) * EACH  # neither S669 nor its relative
    assert entry["cross_fitted"]["pearson"] > 0.8
    low, high = entry["cross_fitted"]["rmse_ci"]
    assert low <= entry["cross_fitted"]["rmse"] <= high
    assert set(entry["test"]) == {"S669"}
    test = entry["test"]["S669"]
    assert test["n"] == EACH
    assert test["pearson"] > 0.8 > abs(test["blosum62_pearson"])
    assert test["rmse"] < test["types_and_burial_rmse"]
    assert "constant_pearson" not in test
    assert entry["sources"] == ["OTHER"]
    assert entry["weights_sha256"] == room.WEIGHTS_SHA256
    assert entry["version"] == "9.9"
    again = fit_ddg(table, evidence, seed=0, progress=Silent())
    assert json.dumps(again) == json.dumps(entry)
    model = read_ddg({"ddg": json.loads(json.dumps(entry))}, Path("calibration.json"))
    predicted = model.sum({name: evidence[name] for name in DDG_EVIDENCE})
    assert np.corrcoef(predicted, table.value)[0, 1] > 0.8


def test_repeats_are_averaged_and_rows_without_a_backbone_take_no_part(data):
    table, evidence = data
    twice = table.take(np.repeat(np.arange(len(table)), 2))
    doubled = {name: np.repeat(values, 2) for name, values in evidence.items()}
    doubled["folding_log_odds"][twice.protein == 5] = np.nan
    entry = fit_ddg(twice, doubled, seed=0, progress=Silent())
    assert entry["cross_fitted"]["n"] == (PROTEINS - 3) * EACH


def test_too_few_rows_give_none(data):
    table, evidence = data
    said: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            said.append(text)

    few = table.take(table.protein < 3)
    part = {name: values[table.protein < 3] for name, values in evidence.items()}
    assert fit_ddg(few, part, seed=0, progress=Notes()) is None
    assert said == ["ddG left out: 60 substitutions in structures with a backbone, 100 are needed"]
    assert fit_ddg(few, {"blosum62": part["blosum62"]}, seed=0, progress=Notes()) is None
