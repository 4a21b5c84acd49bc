"""What relatives are worth: none, the model's library, an alignment; on proteins that have both."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.residues import STANDARD
from mutscan.train.evaluate.choice import VariantInput
from mutscan.train.evaluate.result import Settings
from mutscan.train.evaluate.sources import sources_section
from mutscan.train.evaluate.variants import evaluate_variants
from tests.made_up_calibration import calibrate_tiny_model
from tests.made_up_scores import auroc, made_up_scored

LENGTH = 60


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four proteins, three with alignments whose rows carry what is neutral; P0 and P1 are related."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    first = "".join(rng.choice(list(STANDARD), LENGTH))
    sequences = [first, first[:50] + "".join(rng.choice(list(STANDARD), 10))]
    sequences += ["".join(rng.choice(list(STANDARD), LENGTH)) for _ in range(2)]
    rows = []
    (folder / "alignments").mkdir()
    for p, sequence in enumerate(sequences):
        relatives = [list(sequence) for _ in range(20)]
        for site in range(0, LENGTH, 2):
            others = [letter for letter in STANDARD if letter != sequence[site]]
            carried, other = rng.choice(others, 2, replace=False)
            rows.append((f"P{p}", f"{sequence[site]}{site + 1}{carried}", "neutral", 1.0))
            rows.append((f"P{p}", f"{sequence[site]}{site + 1}{other}", "deleterious", 0.0))
            for relative in relatives:
                relative[site] = rng.choice([carried, sequence[site]])
        if p != 1:
            lines = [f">P{p}", sequence, *(f">r{i}\n{''.join(r)}" for i, r in enumerate(relatives))]
            (folder / "alignments" / f"P{p}.a3m").write_text("\n".join(lines) + "\n")
        if p == 0:
            (folder / "family.txt").write_text("".join(relatives[0]))
    proteins = pd.DataFrame({"protein": [f"P{p}" for p in range(4)], "sequence": sequences})
    proteins.to_csv(folder / "proteins.csv", index=False)
    table = pd.DataFrame(rows, columns=["protein", "variant", "label", "score"])
    table.drop(columns="score").to_csv(folder / "variants.csv", index=False)
    table.drop(columns="label").to_csv(folder / "dms.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model: Path, tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that weighs alignments, with a library of one family, a relative of P0."""
    family = (tables / "family.txt").read_text()
    return calibrate_tiny_model(
        tiny_model, tmp_path_factory.mktemp("m") / "tiny", family=family, aligned=True
    )


def evaluate(model: Path, tables: Path, work: Path, alignments: Path | None):  # type: ignore[no-untyped-def]
    given = [VariantInput("variants", tables / "proteins.csv", tables / "variants.csv")]
    return evaluate_variants(
        str(model), given, Settings(device="cpu"), work=work, siamese=0, alignments_dir=alignments
    )


def test_each_source_is_measured_on_proteins_that_have_all(model: Path, tables: Path, tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    command = ["train", "evaluate", "--model", model, "--proteins", tables / "proteins.csv", "--variants"]
    command += [tables / "variants.csv", "--dms", tables / "dms.csv", "--out", out, "--siamese", 0]
    command += ["--work", work, "--alignments-dir", tables / "alignments", "--device", "cpu"]
    done = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "metrics.json").read_text())
    part = metrics["sources"]["variants"]
    # Of the proteins with an alignment (all but P1), the library knows P0 alone.
    assert (part["n"], part["n_proteins"]) == (60, 1)
    assert list(part["rows"]) == ["none", "library", "deep"]
    table = pd.read_parquet(out / "predictions.parquet")
    table = table[table["table"] == "variants"]
    known = (table["protein"] == "P0").to_numpy()
    positive = (table["label"] == "deleterious").to_numpy()
    deep, library, none = (part["rows"][name] for name in ("deep", "library", "none"))
    assert deep["auroc"] == pytest.approx(auroc(positive[known], table["p_deleterious"].to_numpy()[known]))
    assert deep["auroc_difference"] == 0.0
    assert none["auroc"] < library["auroc"] < deep["auroc"]
    assert none["auroc_difference"] == pytest.approx(deep["auroc"] - none["auroc"])
    assert set(table["tier"][table["protein"] != "P1"]) == {"aligned"}
    assert set(table["tier"][table["protein"] == "P1"]) == {"sequence"}
    assert metrics["sources"]["dms"]["rows"]["deep"]["mean_abs_spearman"] > 0.3
    assert "tier_aligned" in metrics["variants"]["evidence"]["all"]["scores"]
    assert any(line.startswith("no relatives\t") for line in done.output.splitlines())
    assert "Sources of relatives" in (out / "report.html").read_text()
    # Without the alignments, the model gives what the source "library" says.
    without = evaluate(model, tables, work, None)
    plain = without.predictions.to_pandas()["p_deleterious"].to_numpy()
    assert library["auroc"] == pytest.approx(auroc(positive[known], plain[known]))
    np.testing.assert_allclose(table["p_sequence_tier"], plain)
    assert "sources" not in without.metrics
    assert "without_alignment" not in without.metrics["data"]["variants"]


def test_alignments_that_cannot_be_used_are_listed(model: Path, tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alignments"
    folder.mkdir()
    for path in (tables / "alignments").iterdir():
        (folder / path.name).write_text(path.read_text())
    (folder / "P2.a3m").write_text(">P2\nMKV\n>r\nMKV\n")
    found = evaluate(model, tables, tmp_path / "work", folder)
    (words,) = found.metrics["data"]["variants"]["without_alignment"]
    assert words.startswith("P2 (P2.a3m, line 1")
    for name in ("P0.a3m", "P3.a3m"):
        (folder / name).unlink()
    assert evaluate(model, tables, tmp_path / "work", folder).metrics["sources"] == {"variants": {}}
    (folder / "P2.a3m").rename(folder / "X.a3m")
    with pytest.raises(UsageError, match=r"holds no alignment of a protein of the tables.* P0\.a3m"):
        evaluate(model, tables, tmp_path / "work", folder)


def test_another_alignment_is_not_answered_from_the_cache(model: Path, tables: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alignments"
    folder.mkdir()
    text = (tables / "alignments" / "P0.a3m").read_text()
    (folder / "P0.a3m").write_text(text)
    first, again = (evaluate(model, tables, tmp_path / "work", folder).predictions for _ in range(2))
    assert again.equals(first)
    (folder / "P0.a3m").write_text(text.rsplit(">r10", 1)[0])
    other = evaluate(model, tables, tmp_path / "work", folder).predictions
    assert other["p_deleterious"].to_pylist()[:60] != first["p_deleterious"].to_pylist()[:60]
    assert other["p_deleterious"].to_pylist()[60:] == first["p_deleterious"].to_pylist()[60:]


def test_a_model_that_weighs_no_alignment_is_refused(tiny_model: Path, tables: Path, tmp_path: Path) -> None:
    plain = calibrate_tiny_model(tiny_model, tmp_path / "tiny")
    with pytest.raises(UsageError, match=r"--alignments-dir: the calibration of tiny weighs no alignment"):
        evaluate(plain, tables, tmp_path, tables / "alignments")


def test_without_common_proteins_there_is_no_section() -> None:
    scored = made_up_scored("variants")
    assert sources_section(scored, "variants") == {}
    p = scored.evidence.p
    scored.evidence.sources.update({"none": p, "deep": p, "library": np.full(len(p), np.nan)})
    assert sources_section(scored, "variants") == {}
    del scored.evidence.sources["library"]
    assert list(sources_section(scored, "variants")["rows"]) == ["none", "deep"]
