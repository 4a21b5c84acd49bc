"""``mutscan train calibrate`` from tables to calibration.json, on a tiny model and made-up labels."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.errors import UsageError
from mutscan.evidence import load_calibration
from mutscan.evidence.residue_properties import BLOSUM62, CODE
from mutscan.residues import STANDARD
from mutscan.train.variant_metrics import average_precision, calibration_error
from mutscan.train.variant_tables import read_variants


@pytest.fixture
def tables(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"P{i}" for i in range(40)]
    sequences = ["".join(rng.choice(list(STANDARD), 60)) for _ in names]
    proteins = tmp_path / "proteins.csv.gz"
    pd.DataFrame({"protein": names, "sequence": sequences, "group": [i // 2 for i in range(40)]}).to_csv(
        proteins, index=False
    )
    rows = []
    for name, sequence in zip(names, sequences, strict=True):
        for index in range(0, 60, 2):
            other = rng.choice([letter for letter in STANDARD if letter != sequence[index]])
            pull = -0.8 * BLOSUM62[CODE[ord(sequence[index])], CODE[ord(other)]] - 0.8
            label = "deleterious" if rng.random() < 1 / (1 + np.exp(-pull)) else "neutral"
            rows.append((name, f"{sequence[index]}{index + 1}{other}", label))
    variants = tmp_path / "variants.csv.gz"
    pd.DataFrame(rows, columns=["protein", "variant", "label"]).to_csv(variants, index=False)
    return proteins, variants


def test_makes_a_calibration_that_holds_on_groups_it_never_saw(tables, tiny_model, tmp_path):
    from mutscan.cli.app import app

    proteins, variants = tables
    out, work = tmp_path / "new" / "calibration.json", tmp_path / "work"
    command = ["train", "calibrate", "--model", str(tiny_model), "--proteins", str(proteins), "--variants"]
    command += [str(variants), "--out", str(out), "--work", str(work), "--device", "cpu", "--quiet"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first = out.read_bytes()
    document = json.loads(first)
    assert set(document["tiers"]) == {"sequence"}
    tier = document["tiers"]["sequence"]
    assert tier["cross_fitted"]["auroc"] > 0.7
    assert tier["test"]["auroc"] > 0.65
    assert tier["thresholds"]["deleterious"]["specificity"] >= 0.9
    assert tier["thresholds"]["tolerated"]["p"] <= tier["thresholds"]["deleterious"]["p"]
    split = {}
    for _, group, part in document["proteins"].values():
        assert split.setdefault(group, part) == part, "a group is on both sides"
    assert sorted(set(split.values())) == ["fit", "test"]
    assert load_calibration(out.parent) is not None
    # Again, from the finished proteins: the same bytes.
    assert len(list(work.glob("*.npz"))) == 40
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert out.read_bytes() == first


def test_tables_that_do_not_fit_are_refused(tables):
    proteins, variants = tables
    table = pd.read_csv(variants)
    table.loc[3, "variant"] = "W1A" if not table.loc[3, "variant"].startswith("W") else "Y1A"
    table.loc[3, "protein"] = "P1"
    table.to_csv(variants, index=False)
    with pytest.raises(UsageError, match="line 5"):
        read_variants(proteins, variants, column="label")
    table.loc[3, "protein"] = "nobody"
    table.to_csv(variants, index=False)
    with pytest.raises(UsageError, match="nobody is not in"):
        read_variants(proteins, variants, column="label")
    with pytest.raises(UsageError, match="no column ddG"):
        read_variants(proteins, variants, column="ddG")


def test_numbers_are_those_of_their_definitions():
    rng = np.random.default_rng(0)
    p = rng.random(4000)
    label = (rng.random(4000) < p).astype(float)
    assert calibration_error(p, label) < 0.04
    assert calibration_error(np.full(4000, 0.9), label) == pytest.approx(0.9 - label.mean(), abs=1e-9)
    score = np.array([0.9, 0.8, 0.8, 0.1])
    area = average_precision(score, np.array([True, False, True, False]))
    assert area(np.ones(4)) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
