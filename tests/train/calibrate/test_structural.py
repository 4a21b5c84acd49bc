"""The structural flag's threshold: planted drops whose right line is known, and who may decide on it."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mutscan.errors import CheckpointError
from mutscan.evidence import StructuralRule, load_calibration
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.evidence.structural import DROPS
from mutscan.model.checkpoint import WEIGHTS_FILE
from mutscan.progress import Silent
from mutscan.residues import STANDARD
from mutscan.train.calibrate import structural as structural_flag
from mutscan.train.calibrate.structural import Drawn, calibrate_structural, structural_facts, threshold_at
from mutscan.train.labelled.siamese import SIAMESE
from mutscan.train.labelled.tables import VariantTable, read_variants
from tests.made_up_calibration import calibrate_tiny_model, structural_entry

FACTS = {"specificity": 0.92, "precision": 0.71, "n": 3012, "n_groups": 110}


def drawn(n: int, drop: dict[str, np.ndarray], positive: np.ndarray, *, tm: float = 0.99) -> Drawn:
    """Planted drops, the other scores the same for all; ten variants a protein, two proteins a group."""
    scores = {name: np.zeros(n) for name in SIAMESE}
    scores |= {"tm": np.full(n, tm), "tm_percentile": np.full(n, 50.0), "lddt_percentile": np.full(n, 50.0)}
    scores |= {name: -values for name, values in drop.items()}
    protein = np.arange(n) // 10
    return Drawn(scores, positive, protein, protein // 2, np.full(n, 200))


def planted(score: str = "lddt_z", *, found: float = 0.7, n: int = 2000) -> Drawn:
    """Neutral drops 0.00 to 0.99, each as often; of the deleterious ones `found` at 2, the rest below 0."""
    positive = np.arange(n) % 2 == 1
    drop = np.full(n, -1.0)
    drop[~positive] = np.arange(n // 2) % 100 / 100
    drop[np.flatnonzero(positive)[: int(found * n / 2)]] = 2.0
    return drawn(n, {score: drop}, positive)


@pytest.mark.parametrize("score", ["lddt_z", "tm_z"])
def test_the_line_leaves_the_asked_share_of_neutral_variants_below_it(score: str) -> None:
    facts = structural_facts(planted(score), planted(score, found=0.5), 0.5, 0.92, seed=0)
    assert facts["score"] == score
    assert facts["threshold"] == 0.92
    assert facts["specificity"] == 0.92
    assert facts["sensitivity"] == 0.7
    assert facts["precision"] == pytest.approx(0.7 / 0.78, abs=1e-4)
    assert facts["n"] == 2000
    assert facts["n_flagged"] == 700 + 80
    assert facts["n_groups"] == 100
    for name in ("specificity", "sensitivity", "precision"):
        low, high = facts[f"{name}_ci"]
        assert low <= facts[name] <= high
        assert low < high
    assert facts["test"]["sensitivity"] == 0.5
    assert facts["test"]["specificity"] == 0.92
    assert "threshold" not in facts["test"], "no line is drawn on the test groups"


def test_precision_is_told_for_the_share_of_all_labelled_variants() -> None:
    facts = structural_facts(planted(), planted(), 0.8, 0.92, seed=0)
    assert facts["precision"] == pytest.approx(0.8 * 0.7 / (0.8 * 0.7 + 0.2 * 0.08), abs=1e-4)
    assert facts["specificity"] == 0.92
    assert facts["sensitivity"] == 0.7


def test_no_protein_counts_for_more_than_a_hundred_variants() -> None:
    n = 1200
    positive = np.arange(n) % 2 == 1
    drop = np.where(positive, 5.0, np.arange(n) % 200 / 200)
    drop[1000:] = np.where(positive[1000:], 5.0, 9.0)  # 100 neutral ones of one protein, far out
    part = drawn(n, {"lddt_z": drop}, positive)
    alone = Drawn(
        part.scores, positive, np.where(np.arange(n) < 1000, part.protein, 999), part.group, part.length
    )
    loose = structural_facts(part, part, 0.5, 0.92, seed=0)["candidates"]["lddt_z"]
    capped = structural_facts(alone, alone, 0.5, 0.92, seed=0)["candidates"]["lddt_z"]
    assert loose["threshold"] > 5.0, "a sixth of the neutral variants lies far out"
    assert capped["threshold"] == loose["threshold"], "an eleventh still is more than 8 %"
    more = structural_facts(alone, alone, 0.5, 0.90, seed=0)["candidates"]["lddt_z"]
    assert more["threshold"] < 1.01


def test_the_threshold_is_where_it_should_be_to_the_last_digit() -> None:
    ones = np.ones(100)
    assert threshold_at(np.arange(100) / 100, ones, 0.92) == 0.92
    assert threshold_at(np.full(100, 2.13), ones, 0.92) == 2.14, "ties lie below together"
    assert threshold_at(np.array([1.0, 2.0, 3.0]), np.array([8.0, 1.0, 1.0]), 0.8) == 1.01
    assert threshold_at(np.array([1.0, 2.0, 3.0]), np.array([8.0, 1.0, 1.0]), 0.81) == 2.01
    assert threshold_at(np.array([-1.234, 5.0]), np.ones(2), 0.5) == -1.23
    assert threshold_at(np.array([1.0]), np.ones(1), 1.0) == 1.01


def test_what_chance_could_have_made_is_no_rule() -> None:
    rng = np.random.default_rng(0)
    n = 2000
    noise = {name: rng.normal(size=n) for name in ("lddt_z", "tm_z")}
    facts = structural_facts(drawn(n, noise, rng.random(n) < 0.5), planted(), 0.5, 0.92, seed=0)
    assert facts["threshold"] is None
    assert "chance" in facts["why"]
    few = structural_facts(planted(n=100), planted(), 0.5, 0.92, seed=0)
    assert few["threshold"] is None
    assert few["why"].startswith("50 variants of one class")


def test_variants_without_a_score_are_left_out_and_the_low_tm_rule_is_told_as_it_is() -> None:
    part = planted()
    part.scores["tm"][:40] = 0.3
    part.scores["tm_z"][:100] = np.nan
    facts = structural_facts(part, planted(), 0.5, 0.92, seed=0)
    assert facts["n"] == 1900
    assert facts["low_tm_rule"]["fit"]["n_flagged"] == 0
    assert facts["low_tm_rule"]["fit"]["sensitivity"] == 0.0
    assert facts["low_tm_rule"]["fit"]["precision"] is None
    part = planted()
    part.scores["tm"][:40] = 0.3
    low = structural_facts(part, planted(), 0.5, 0.92, seed=0)["low_tm_rule"]
    assert low["tm_below"] == 0.5
    assert low["fit"]["n_flagged"] == 40
    assert low["fit"]["sensitivity"] == low["fit"]["share_flagged"] == 0.02
    assert low["fit"]["lowest_tm"] == 0.3
    assert low["test"]["n_flagged"] == 0


class Planted:
    """In place of the Siamese net: drops by variant, turned round for the proteins of `flipped`."""

    asked: list[str]
    flipped: frozenset[str] = frozenset()

    def __init__(self, *_: object, **__: object) -> None:
        type(self).asked = []

    def count(self, sequence: str, index: np.ndarray, mutant: np.ndarray) -> int:
        return len(index)

    def score(self, sequence: str, index: np.ndarray, mutant: np.ndarray, progress: Any) -> dict[str, Any]:
        self.asked.append(sequence)
        rng = [
            np.random.default_rng(int(hashlib.sha256(f"{sequence}{i}{m}".encode()).hexdigest()[:8], 16))
            for i, m in zip(index.tolist(), mutant.tolist(), strict=True)
        ]
        noise = np.array([one.random() for one in rng])
        z = -noise - np.where(mutant == STANDARD.index("P"), 2.0, 0.0)
        z = -z if sequence in self.flipped else z
        return {name: 50.0 + z for name in SIAMESE} | {"tm": 1.0 + z / 100, "lddt_z": z, "tm_z": 0.0 * z}


def labelled(folder: Path) -> VariantTable:
    """40 proteins; prolines are deleterious."""
    rng = np.random.default_rng(0)
    names = [f"P{i}" for i in range(40)]
    sequences = ["".join(rng.choice(list("ACDEFGHIKL"), 60)) for _ in names]
    pd.DataFrame({"protein": names, "sequence": sequences, "group": [i // 2 for i in range(40)]}).to_csv(
        folder / "p.csv", index=False
    )
    rows = [
        (name, f"{old}{i + 1}{new}", "deleterious" if new == "P" else "neutral")
        for name, sequence in zip(names, sequences, strict=True)
        for i, old in enumerate(sequence[:20])
        for new in "PY"
    ]
    pd.DataFrame(rows, columns=["protein", "variant", "label"]).to_csv(folder / "v.csv", index=False)
    return read_variants(folder / "p.csv", folder / "v.csv", column="label")


def entry_of(folder: Path, table: VariantTable, *, wanted: int = 400, seed: int = 0) -> dict[str, Any]:
    """Groups 0 and 1 are kept for testing, and group 2 is related to one of them."""
    loaded: Any = SimpleNamespace(path=folder, encoder=SimpleNamespace(precision="fp32"))
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    linked = table.protein // 2
    linked = np.where(linked == 2, 1, linked)
    test = np.isin(table.protein // 2, [0, 1])
    kept_out = np.isin(linked, [0, 1])
    return calibrate_structural(
        loaded, table, linked, test, kept_out, Silent(),
        wanted=wanted, specificity=0.92, work=folder, seed=seed,
    )  # fmt: skip


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> type[Planted]:
    class Net(Planted):
        pass

    monkeypatch.setattr(structural_flag, "SiameseScorer", Net)
    return Net


def test_the_test_groups_decide_nothing(net: type[Planted], tmp_path: Path) -> None:
    table = labelled(tmp_path)
    sequences = table.proteins["sequence"].tolist()
    first = entry_of(tmp_path, table)
    assert first["score"] == "lddt_z"
    assert first["sensitivity"] == 1.0
    assert first["threshold"] == pytest.approx(0.92, abs=0.06)
    assert first["test"]["sensitivity"] == 1.0
    assert first["net_sha256"] == hashlib.sha256(b"weights").hexdigest()
    assert first["encoder_precision"] == "fp32"
    assert first["n"] == 400
    assert first["n_groups"] == len({table.proteins["protein"].tolist().index(f"P{i}") // 2
                                     for i in range(40) if sequences[i] in net.asked and i > 5})  # fmt: skip
    assert not {sequences[4], sequences[5]} & set(net.asked), (
        "neither fitted nor tested: a relative of a test group"
    )
    assert 0 < len({*sequences[:4]} & set(net.asked))
    net.flipped = frozenset(sequences[:6])
    second = entry_of(tmp_path, table)
    assert second["test"]["sensitivity"] == 0.0
    first["low_tm_rule"].pop("test")
    second["low_tm_rule"].pop("test")
    for entry in (first, second):
        entry.pop("test")
    assert second == first


def test_same_tables_in_any_order_give_the_same_entry(net: type[Planted], tmp_path: Path) -> None:
    first = entry_of(tmp_path, labelled(tmp_path))
    assert entry_of(tmp_path, labelled(tmp_path)) == first
    rows = pd.read_csv(tmp_path / "v.csv").sample(frac=1.0, random_state=1)
    rows.to_csv(tmp_path / "v.csv", index=False)
    shuffled = read_variants(tmp_path / "p.csv", tmp_path / "v.csv", column="label")
    assert entry_of(tmp_path, shuffled) == first
    other = entry_of(tmp_path, shuffled, seed=1)
    assert other["seed"] == 1
    assert other != first


def test_no_variants_no_rule(net: type[Planted], tmp_path: Path) -> None:
    entry = entry_of(tmp_path, labelled(tmp_path), wanted=0)
    assert entry["threshold"] is None
    assert "--siamese 0" in entry["why"]
    assert not (tmp_path / "siamese").exists()


def test_a_rule_speaks_from_its_threshold_on() -> None:
    rule = StructuralRule("lddt_z", 2.13, "0" * 64, FACTS)
    said = "(specificity 0.92, precision 0.71; calibrated on 3,012 substitutions of 110 groups)"
    assert rule.words({"lddt_z": -2.13}) == f"structure disturbed: lDDT drop z 2.13 >= 2.13 {said}"
    assert rule.words({"lddt_z": -3.456}) == f"structure disturbed: lDDT drop z 3.45 >= 2.13 {said}"
    assert rule.words({"lddt_z": -2.12999}) == "structure not disturbed: lDDT drop z 2.12 < 2.13"
    assert rule.words({"lddt_z": 0.301}) == "structure not disturbed: lDDT drop z -0.31 < 2.13"
    assert rule.words({"lddt_z": math.nan}) == ""
    assert rule.disturbed({"lddt_z": math.nan}) is None
    ranks = StructuralRule("tm_percentile", 98.44, "0" * 64, FACTS)
    assert ranks.disturbed({"tm_percentile": 1.0}) is True
    assert (
        ranks.words({"tm_percentile": 1.5625}) == "structure not disturbed: TM drop percentile 98.43 < 98.44"
    )


def test_a_damaged_rule_is_refused_and_a_missing_one_is_none(tiny_model: Path, tmp_path: Path) -> None:
    model = calibrate_tiny_model(tiny_model, tmp_path / "m", structural=structural_entry(tiny_model, 2.0))
    found = load_calibration(model)
    assert found is not None
    assert found.structural is not None
    assert (found.structural.score, found.structural.threshold) == ("lddt_z", 2.0)
    document = json.loads((model / CALIBRATION_FILE).read_text())
    for damage in ({"score": "rmsd"}, {"threshold": "much"}, {"precision": None}, {"net_sha256": ...}):
        entry = dict(document["structural"])
        for key, value in damage.items():
            entry.pop(key) if value is ... else entry.update({key: value})
        (model / CALIBRATION_FILE).write_text(json.dumps(document | {"structural": entry}))
        with pytest.raises(CheckpointError, match="no calibration of mutscan"):
            load_calibration(model)
    document.pop("structural")
    (model / CALIBRATION_FILE).write_text(json.dumps(document))
    none = load_calibration(model)
    assert none is not None
    assert none.structural is None
    (model / CALIBRATION_FILE).write_text(json.dumps(document | {"tiers": {}}))
    with pytest.raises(CheckpointError, match="expected sequence"):
        load_calibration(model)


def test_all_candidates_are_scores_of_the_net() -> None:
    assert set(DROPS) <= set(SIAMESE)
