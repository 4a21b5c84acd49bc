"""``mutscan train calibrate`` from tables to calibration.json, on a tiny model and made-up labels."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.errors import UsageError
from mutscan.evidence import load_calibration
from mutscan.residue_properties import BLOSUM62, CODE
from mutscan.residues import STANDARD
from mutscan.train.labelled.structures import chains_on_sequences
from mutscan.train.labelled.tables import read_variants
from mutscan.train.statistics.classifier import average_precision, calibration_error


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


@pytest.fixture
def ranked(tmp_path):
    """A scan of one protein and stabilities of another, by the same rule."""
    rng = np.random.default_rng(1)
    paths = []
    for kind, key, column, sign in (("dms", "assay", "score", -1.0), ("stability", "protein", "ddG", 1.0)):
        sequence = "".join(rng.choice(list(STANDARD), 60))
        rows = [
            (kind, f"{old}{index + 1}{new}", sign * (-0.8 * BLOSUM62[CODE[ord(old)], CODE[ord(new)]]))
            for index, old in enumerate(sequence)
            for new in rng.choice([letter for letter in STANDARD if letter != old], 2, replace=False)
        ]
        table, of = tmp_path / f"{kind}.csv", tmp_path / f"{kind}_proteins.csv"
        pd.DataFrame(rows, columns=[key, "variant", column]).to_csv(table, index=False)
        pd.DataFrame({key: [kind], "sequence": [sequence]}).to_csv(of, index=False)
        paths.append((of, table))
    return paths


def test_makes_a_calibration_that_holds_on_groups_it_never_saw(tables, ranked, tiny_model, tmp_path):
    from mutscan.cli.app import app

    proteins, variants = tables
    out, work = tmp_path / "new" / "calibration.json", tmp_path / "work"
    command = ["train", "calibrate", "--model", str(tiny_model), "--proteins", str(proteins), "--variants"]
    command += [str(variants), "--out", str(out), "--work", str(work), "--device", "cpu", "--quiet"]
    (dms_proteins, dms), (stability_proteins, stability) = ranked
    command += ["--dms", str(dms), "--dms-proteins", str(dms_proteins), "--stability", str(stability)]
    command += ["--stability-proteins", str(stability_proteins), "--siamese", "300"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    first = out.read_bytes()
    document = json.loads(first)
    assert set(document["tiers"]) == {"sequence"}
    tier = document["tiers"]["sequence"]
    assert tier["cross_fitted"]["auroc"] > 0.7
    assert tier["test"]["auroc"] > 0.65
    assert tier["cross_fitted"]["dms_mean_abs_spearman"] > 0.5
    assert tier["cross_fitted"]["dms_spearman"]["dms"] < -0.5
    assert tier["cross_fitted"]["stability_spearman"] > 0.5
    low, high = tier["thresholds"]["deleterious"]["specificity_ci"]
    assert low <= tier["thresholds"]["deleterious"]["specificity"] <= high
    assert tier["thresholds"]["deleterious"]["specificity"] >= 0.9
    assert tier["thresholds"]["tolerated"]["p"] <= tier["thresholds"]["deleterious"]["p"]
    split = {}
    for _, group, part in document["proteins"].values():
        assert split.setdefault(group, part) == part, "a group is on both sides"
    assert sorted(set(split.values())) == ["fit", "test"]
    loaded = load_calibration(out.parent)
    assert loaded is not None
    entry = document["structural"]
    assert entry["n"] >= 300
    assert entry["test"]["n"] >= 150
    assert len(entry["candidates"]) == 4
    if entry["threshold"] is None:
        assert entry["youden_ci"][0] <= 0, "an untrained net may know nothing, and then makes no rule"
        assert loaded.structural is None
    else:
        assert loaded.structural is not None
        assert loaded.structural.threshold == entry["threshold"]
    # Again, from the finished proteins: the same bytes.
    assert len(list(work.glob("*.npz"))) == 42
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert out.read_bytes() == first


def test_a_test_protein_keeps_its_relatives_out_of_the_fit(tables, ranked, tiny_model, tmp_path):
    from mutscan.train.calibrate.make import calibrate

    proteins, variants = tables
    (of, table), _ = ranked
    first = calibrate(str(tiny_model), proteins, variants, work=tmp_path / "w", device="cpu", siamese=0)
    known = pd.read_csv(proteins).set_index("protein")["sequence"]
    tested = next(name for name, entry in first["proteins"].items() if entry[2] == "test")
    scanned = pd.read_csv(of).assign(sequence=known[tested])
    scanned.to_csv(of, index=False)
    rows = [
        ("dms", f"{old}{i + 1}{'A' if old != 'A' else 'C'}", 0.1 * i) for i, old in enumerate(known[tested])
    ]
    pd.DataFrame(rows, columns=["assay", "variant", "score"]).to_csv(table, index=False)
    again = calibrate(
        str(tiny_model), proteins, variants, dms=(of, table), work=tmp_path / "w", device="cpu", siamese=0
    )
    assert again["proteins"]["dms:dms"][2] == "left out"
    assert "dms:dms" not in again["words"]
    assert again["tiers"] == first["tiers"]


def test_chains_of_a_table_are_laid_out_on_the_proteins_they_belong_to(tmp_path):
    rng = np.random.default_rng(2)
    sequence = "".join(rng.choice(list(STANDARD), 200))
    ca = np.cumsum(rng.integers(-200, 200, (200, 3)), axis=0).astype("<i2")
    rows = [
        (sequence[20:120], ca[20:120].tobytes(), None, "experimental"),
        (sequence[50:], ca[50:].tobytes(), np.full(150, 88, np.uint8).tobytes(), "predicted"),
        (sequence, ca.tobytes(), None, "designed"),
        ("".join(rng.choice(list(STANDARD), 80)), ca[:80].tobytes(), None, "experimental"),
    ]
    table = tmp_path / "chains.parquet"
    pd.DataFrame(rows, columns=["sequence", "ca", "plddt", "kind"]).to_parquet(table)
    other = "".join(rng.choice(list(STANDARD), 200))
    found = chains_on_sequences(table, [other, sequence])
    assert list(found) == [1]
    (wide, plddt, _), (narrow, none, _) = found[1]
    np.testing.assert_allclose(wide[50:], ca[50:] / 100.0)
    assert np.isnan(wide[:50]).all()
    assert np.nanmin(plddt) == 88
    assert none is None
    assert np.isfinite(narrow[:, 0]).sum() == 100
    with pytest.raises(UsageError, match="table of chains"):
        chains_on_sequences(tmp_path / "none.parquet", [sequence])


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
    with pytest.raises(UsageError, match="'nobody' is not in"):
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
