"""``mutscan train evaluate`` on variants: keys, refusals, structures, order, interruption; a tiny model."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mutscan.errors import UsageError
from mutscan.evidence import STRUCTURE_EVIDENCE
from mutscan.residue_properties import BLOSUM62, CODE
from mutscan.residues import STANDARD
from mutscan.train.evaluate.choice import VariantInput
from mutscan.train.evaluate.result import Settings
from mutscan.train.evaluate.variants import evaluate_variants

LABELLED_KEYS = (
    "auroc", "auprc", "ece", "auroc_per_protein_mean", "blosum62_auroc", "specificity", "sensitivity",
    "share_uncertain",
)  # fmt: skip
LENGTH = 50


def blosum62(variant: str) -> float:
    return float(BLOSUM62[CODE[ord(variant[0])], CODE[ord(variant[-1])]])


def make_tables(folder, n_proteins, seed, *, names="P", sequences=None):
    """Proteins of random residues, two to a group, and 24 labelled variants of each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if sequences is None:
        sequences = ["".join(rng.choice(list(STANDARD), LENGTH)) for _ in range(n_proteins)]
    known = pd.DataFrame({
        "protein": [f"{names}{i}" for i in range(n_proteins)], "sequence": sequences,
        "group": [f"{names}{i // 2}" if names != "P" else i // 2 for i in range(n_proteins)],
    })  # fmt: skip
    rows = []
    for name, sequence in zip(known["protein"], sequences, strict=True):
        for index in rng.choice(LENGTH, 24, replace=False).tolist():
            other = rng.choice([letter for letter in STANDARD if letter != sequence[index]])
            variant = f"{sequence[index]}{index + 1}{other}"
            harmful = rng.random() < 1 / (1 + np.exp(0.8 * blosum62(variant) + 0.8))
            rows.append((name, variant, "deleterious" if harmful else "neutral"))
    variants = pd.DataFrame(rows, columns=["protein", "variant", "label"])
    known.to_csv(folder / "proteins.csv.gz", index=False)
    variants.to_csv(folder / "variants.csv.gz", index=False)
    return known, variants


def table_of(folder, kind="variants", name="variants"):
    return VariantInput(kind, folder / "proteins.csv.gz", folder / f"{name}.csv.gz")


@pytest.fixture(scope="module")
def fitted(tiny_model, tmp_path_factory):
    """A tiny model with a calibration, and the tables that was fitted on."""
    from mutscan.train.calibrate.make import calibrate

    folder = tmp_path_factory.mktemp("fitted")
    make_tables(folder, 40, seed=0)
    model = folder / "tiny"
    shutil.copytree(tiny_model, model)
    document = calibrate(
        str(model), folder / "proteins.csv.gz", folder / "variants.csv.gz", device="cpu", work=folder / "work"
    )
    (model / "calibration.json").write_text(json.dumps(document))
    return model, folder, document


@pytest.fixture
def new(tmp_path):
    """Tables of proteins the calibration never met."""
    make_tables(tmp_path / "new", 8, seed=1, names="Q")
    return tmp_path / "new"


def evaluate(model, tables, folder, **more):
    settings = Settings(more.pop("split", None), device="cpu")
    return evaluate_variants(str(model), tables, settings, work=folder / "work", **{"siamese": 20, **more})


def auroc(score, positive):
    pairs = np.sign(score[positive][:, None] - score[~positive][None, :])
    return float((pairs + 1).mean() / 2)


def test_every_number_is_there_with_its_interval_and_follows_from_the_predictions(fitted, new, tmp_path):
    from mutscan.cli.app import app

    model, _, _ = fitted
    out = tmp_path / "out"
    command = ["train", "evaluate", "--model", model, "--proteins", new / "proteins.csv.gz", "--variants"]
    command += [new / "variants.csv.gz", "--out", out, "--work", tmp_path / "work", "--siamese", 40]
    command += ["--device", "cpu"]
    done = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "metrics.json").read_text())
    part = metrics["variants"]
    for key in LABELLED_KEYS:
        low, high = part[f"{key}_ci"]
        assert low - 1e-9 <= part[key] <= high + 1e-9, key
    assert (part["n"], part["n_proteins"], part["n_groups"]) == (192, 8, 4)
    rows = pd.read_parquet(out / "predictions.parquet")
    positive = (rows["label"] == "deleterious").to_numpy()
    assert auroc(rows["p_deleterious"].to_numpy(), positive) == pytest.approx(part["auroc"])
    assert auroc(-rows["evidence_blosum62"].to_numpy(), positive) == pytest.approx(part["blosum62_auroc"])
    assert part["auroc_capped"] == pytest.approx(part["auroc"])  # no protein has a hundred here
    flagged = (rows["flag"] == "deleterious").to_numpy()
    assert (~flagged[~positive]).mean() == pytest.approx(part["specificity"])
    assert flagged[positive].mean() == pytest.approx(part["sensitivity"])
    assert (rows["flag"] == "uncertain").mean() == pytest.approx(part["share_uncertain"])
    within = [
        auroc(own["p_deleterious"].to_numpy(), (own["label"] == "deleterious").to_numpy())
        for _, own in rows.groupby("protein")
        if 2 <= (own["label"] == "deleterious").sum() <= len(own) - 2
    ]
    assert np.mean(within) == pytest.approx(part["auroc_per_protein_mean"])
    drawn = rows["tm_predicted"].notna()
    assert part["siamese"]["n"] == drawn.sum() == 48
    assert part["siamese"]["low_tm_rule"]["n_flagged"] == (rows["tm_predicted"] < 0.5).sum()
    seen = part["evidence"]["siamese"]["scores"]
    here = rows[drawn]
    assert seen["lddt_z"]["auroc"] == pytest.approx(
        auroc(-here["z_score"].to_numpy(), (here["label"] == "deleterious").to_numpy())
    )
    assert {"p_deleterious", "tier_sequence", "blosum62", "low_tm", "p_and_siamese"} <= set(seen)
    assert "group_exchange" in part["evidence"]["all"]["scores"]
    page = (out / "report.html").read_text()
    assert "Contribution of the Siamese scores" in page
    assert "Labelled variants" in page
    assert "AUROC of BLOSUM62" in done.output


def test_labels_that_were_fitted_are_refused_by_name(fitted, tmp_path):
    model, folder, document = fitted
    with pytest.raises(UsageError, match=r"fitted on \d+ of these 40 proteins.*--split test"):
        evaluate(model, [table_of(folder)], tmp_path)
    kept = [name for name, entry in document["proteins"].items() if entry[2] == "test"]
    judged = evaluate(model, [table_of(folder)], tmp_path, split="test", siamese=0)
    assert sorted(set(judged.predictions["protein"].to_pylist())) == sorted(kept)
    known = evaluate(model, [table_of(folder)], tmp_path, split="train", siamese=0)
    assert known.metrics["variants"]["n_proteins"] == 40 - len(kept)
    with pytest.raises(UsageError, match="no validation part"):
        evaluate(model, [table_of(folder)], tmp_path, split="validation")


def test_a_relative_of_a_fitted_protein_is_refused_and_in_a_scan_it_is_marked(fitted, new, tmp_path):
    model, folder, document = fitted
    name = next(name for name, entry in document["proteins"].items() if entry[2] == "fit")
    known = pd.read_csv(folder / "proteins.csv.gz").set_index("protein")["sequence"][name]
    # The fitted protein within a longer one: only its words give it away.
    proteins = pd.read_csv(new / "proteins.csv.gz")
    proteins.loc[3, "sequence"] = proteins.loc[3, "sequence"] + known
    proteins.to_csv(new / "proteins.csv.gz", index=False)
    with pytest.raises(UsageError, match=rf"fitted on 1 of these 8.*Q3: shares about \d+% .* with {name}"):
        evaluate(model, [table_of(new)], tmp_path)
    table = pd.read_csv(new / "variants.csv.gz")
    table.drop(columns="label").assign(score=table["variant"].map(blosum62)).to_csv(
        new / "dms.csv.gz", index=False
    )
    section = evaluate(model, [table_of(new, "dms", "dms")], tmp_path, siamese=0).metrics["dms"]
    assert [key for key, row in section.items() if isinstance(row, dict) and row["known_to_calibration"]] == [
        "Q3"
    ]
    assert (section["n_assays"], section["n_assays_unseen"]) == (8, 7)
    only = evaluate(model, [table_of(new, "dms", "dms")], tmp_path, siamese=0, split="test").metrics["dms"]
    assert "Q3" not in only
    assert only["mean_abs_spearman"] == pytest.approx(section["mean_abs_spearman_unseen"])
    # Once scans are fitted, too, a scan of the same protein is no test any more.
    document["proteins"]["dms:other"] = [*document["proteins"][name][:2], "fit"]
    shutil.copytree(model, tmp_path / "scanned")
    (tmp_path / "scanned" / "calibration.json").write_text(
        json.dumps({**document, "words": {**document["words"], "dms:other": document["words"][name]}})
    )
    del document["proteins"]["dms:other"]
    with pytest.raises(UsageError, match=r"fitted on 1 of these 8.*Q3: shares about \d+% .* with dms:other"):
        evaluate(tmp_path / "scanned", [table_of(new, "dms", "dms")], tmp_path)


def test_proteins_the_model_knows_are_skipped_and_listed_and_the_rest_is_evaluated(fitted, new, tmp_path):
    from mutscan.cli.app import app

    model, folder, document = fitted
    known = sorted(name for name, entry in document["proteins"].items() if entry[2] == "fit")[:2]
    for name in ("proteins", "variants"):
        own, other = (pd.read_csv(where / f"{name}.csv.gz") for where in (folder, new))
        pd.concat([own[own["protein"].isin(known)], other]).to_csv(tmp_path / f"{name}.csv.gz", index=False)
    with pytest.raises(UsageError, match=r"fitted on 2 of these 10 proteins.*--skip-overlap"):
        evaluate(model, [table_of(tmp_path)], tmp_path)
    out = tmp_path / "out"
    command = ["train", "evaluate", "--model", model, "--proteins", tmp_path / "proteins.csv.gz"]
    command += ["--variants", tmp_path / "variants.csv.gz", "--out", out, "--work", tmp_path / "work"]
    command += ["--siamese", 0, "--device", "cpu", "--skip-overlap"]
    done = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "2 of 10 proteins are skipped" in done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["skipped"] == {
        "variants": {name: {"reason": "itself", "n_variants": 24} for name in known}
    }
    listed = pd.read_csv(out / "skipped.csv")
    assert listed["protein"].tolist() == known
    assert listed["n_variants"].tolist() == [24, 24]
    assert "2 proteins that the model knows were skipped" in (out / "report.html").read_text()
    alone = evaluate(model, [table_of(new)], tmp_path, siamese=0).metrics["variants"]
    assert json.dumps(metrics["variants"]) == json.dumps(alone)
    # Where nothing is left it is an error; where nothing is known it is as without the option.
    own = pd.read_csv(folder / "variants.csv.gz")
    own[own["protein"].isin(known)].to_csv(folder / "known.csv.gz", index=False)
    with pytest.raises(UsageError, match="--skip-overlap leaves nothing to evaluate"):
        evaluate(model, [table_of(folder, name="known")], tmp_path, skip_overlap=True)
    without = evaluate(model, [table_of(new)], tmp_path, siamese=0, skip_overlap=True)
    assert without.metrics["skipped"] == {"variants": {}}
    assert without.skipped().empty
    assert json.dumps(without.metrics["variants"]) == json.dumps(alone)
    with pytest.raises(UsageError, match="--skip-overlap and --split both choose"):
        evaluate(model, [table_of(new)], tmp_path, split="test", skip_overlap=True)


def test_a_scan_of_a_protein_whose_labels_were_fitted_is_skipped_too(fitted, new, tmp_path):
    model, folder, document = fitted
    name = next(name for name, entry in document["proteins"].items() if entry[2] == "fit")
    proteins = pd.read_csv(new / "proteins.csv.gz")
    known = pd.read_csv(folder / "proteins.csv.gz").set_index("protein")["sequence"][name]
    proteins.loc[3, "sequence"] += known
    proteins.to_csv(new / "proteins.csv.gz", index=False)
    table = pd.read_csv(new / "variants.csv.gz")
    scan = table.assign(score=table["variant"].map(blosum62))
    scan.to_csv(new / "dms.csv.gz", index=False)
    found = evaluate(model, [table_of(new, "dms", "dms")], tmp_path, siamese=0, skip_overlap=True).metrics
    assert "Q3" not in found["dms"]
    assert found["dms"]["n_assays"] == found["dms"]["n_assays_unseen"] == 7
    assert "words" in found["skipped"]["dms"]["Q3"]["reason"]
    scan[scan["protein"] == "Q3"].to_csv(new / "dms.csv.gz", index=False)
    with pytest.raises(UsageError, match="--skip-overlap leaves nothing to evaluate"):
        evaluate(model, [table_of(new, "dms", "dms")], tmp_path, siamese=0, skip_overlap=True)


def test_other_methods_and_published_numbers_stand_beside_the_model(fitted, new, tmp_path):
    from mutscan.cli.app import app

    model, _, _ = fitted
    proteins = pd.read_csv(new / "proteins.csv.gz").assign(cutoff=0.0)
    proteins.to_csv(new / "proteins.csv.gz", index=False)
    table = pd.read_csv(new / "variants.csv.gz")
    value = table["variant"].map(blosum62)
    rng = np.random.default_rng(3)
    table.assign(score=value + rng.normal(size=len(table))).drop(columns="label").to_csv(
        new / "dms.csv", index=False
    )
    table.assign(score=value)[["protein", "variant", "score"]].to_csv(
        tmp_path / "rival<1>.tsv", sep="\t", index=False
    )
    pd.DataFrame({"assay": ["Q0", "Q1"], "GEMME": [0.4, 0.5], "Odd": [0.1, 0.2]}).to_csv(
        tmp_path / "published.csv", index=False
    )
    out = tmp_path / "out"
    command = ["train", "evaluate", "--model", model, "--proteins", new / "proteins.csv.gz", "--variants"]
    command += [new / "variants.csv.gz", "--dms", new / "dms.csv", "--out", out, "--work", tmp_path / "work"]
    command += ["--siamese", 0, "--device", "cpu", "--beside", tmp_path / "rival<1>.tsv"]
    command += ["--beside-higher", "tolerated", "--reference", tmp_path / "published.csv"]
    done = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "metrics.json").read_text())
    beside = metrics["beside"]["variants"]["rival<1>"]
    assert beside["n"] == 192
    assert beside["auroc"] == pytest.approx(metrics["variants"]["blosum62_auroc"])
    assert beside["ours_auroc"] == metrics["variants"]["auroc"]
    assert beside["ours_auroc_per_protein_mean"] == metrics["variants"]["auroc_per_protein_mean"]
    assert (
        metrics["beside"]["dms"]["rival<1>"]["ours_mean_abs_spearman"] == metrics["dms"]["mean_abs_spearman"]
    )
    assert metrics["dms"]["n_assays_with_cutoff"] == 8
    assert metrics["reference"]["models"]["GEMME"]["mean_spearman"] == pytest.approx(0.45)
    lines = [line.split("\t") for line in done.output.splitlines()]
    (head,) = (row for row in lines if row[0] == "on the same variants" and "AUROC" in row)
    (row,) = (row for row in lines if row[0] == "rival<1>" and len(row) == len(head) == 6)
    assert row[2] == f"{beside['auroc']:.3f}"
    assert row[4] == f"{beside['auroc_per_protein_mean']:.3f}"
    assert all(".." in cell for cell in row[3::2])
    assert any(
        row[:2] == ["AUROC inside proteins", f"{beside['ours_auroc_per_protein_mean']:.3f}"] for row in lines
    )
    assert "zero-shot" in done.output
    page = (out / "report.html").read_text()
    for words in (
        "rival&lt;1&gt;",
        "Published correlations of other models",
        "Harmful tolerated",
        "zero-shot",
    ):
        assert words in page
    assert "rival<1>" not in page
    assert "Flags in the 8 scans with a cut-off" in page


def test_scans_and_stabilities_in_one_call_good_is_positive(fitted, new, tmp_path):
    from mutscan.cli.app import app

    model, _, _ = fitted
    proteins = pd.read_csv(new / "proteins.csv.gz")
    table = pd.read_csv(new / "variants.csv.gz")
    value = table["variant"].map(blosum62)
    assays = proteins.drop(columns="group").assign(assay=[f"scan_{i}" for i in range(8)], protein="SAME")
    assays.to_csv(tmp_path / "assays.csv", index=False)
    scan = table.assign(assay=table["protein"].str.replace("Q", "scan_"), score=value).drop(columns="label")
    scan.to_csv(tmp_path / "dms.csv", index=False)
    ddg = pd.concat(
        [table.assign(ddG=-value, source="A"), table[:50].assign(ddG=-value[:50] + 1.0, source="B")]
    )
    ddg.to_csv(tmp_path / "ddg.csv", index=False)
    out = tmp_path / "out"
    command = ["train", "evaluate", "--model", model, "--proteins", tmp_path / "assays.csv", "--proteins"]
    command += [new / "proteins.csv.gz", "--dms", tmp_path / "dms.csv", "--stability", tmp_path / "ddg.csv"]
    command += ["--out", out, "--work", tmp_path / "work", "--siamese", 0, "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "metrics.json").read_text())
    dms = metrics["dms"]
    for i in range(8):
        assert dms[f"scan_{i}"]["n"] == 24
        assert dms[f"scan_{i}"]["blosum62_spearman"] == pytest.approx(1.0)
        assert dms[f"scan_{i}"]["spearman"] > 0.3
    mean = np.mean([abs(dms[f"scan_{i}"]["spearman"]) for i in range(8)])
    assert dms["mean_abs_spearman"] == pytest.approx(mean)
    assert dms["mean_abs_spearman_ci"][0] <= mean <= dms["mean_abs_spearman_ci"][1]
    stability = metrics["stability"]
    assert (stability["n"], stability["n_distinct"]) == (242, 192)
    assert stability["sources"]["B"]["n"] == 50
    assert stability["evidence"]["all"]["scores"]["p_deleterious"]["n"] == 192
    assert stability["sources"]["A"]["blosum62_spearman"] == pytest.approx(1.0)
    assert stability["spearman"] > 0.3
    rows = pd.read_parquet(out / "predictions.parquet")
    assert rows.groupby("table").size().to_dict() == {"dms": 192, "stability": 242}
    assert rows["assay"].notna().sum() == 192


def test_the_order_of_rows_and_proteins_changes_nothing(fitted, new, tmp_path):
    model, _, _ = fitted
    first = evaluate(model, [table_of(new)], tmp_path)
    again = evaluate(model, [table_of(new)], tmp_path / "elsewhere")
    assert json.dumps(again.metrics) == json.dumps(first.metrics)
    assert again.predictions.equals(first.predictions)
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for name in ("proteins.csv.gz", "variants.csv.gz"):
        pd.read_csv(new / name).sample(frac=1, random_state=3).to_csv(shuffled / name, index=False)
    other = evaluate(model, [table_of(shuffled)], tmp_path)
    assert json.dumps(other.metrics["variants"]) == json.dumps(first.metrics["variants"])
    keys = ["protein", "variant"]
    frames = [
        found.predictions.to_pandas().drop(columns="line").sort_values(keys).reset_index(drop=True)
        for found in (first, other)
    ]
    pd.testing.assert_frame_equal(*frames)


def test_a_broken_run_continues_with_what_it_had(fitted, new, tmp_path, monkeypatch):
    from mutscan.embed.encoder import Encoder

    model, _, _ = fitted
    whole = evaluate(model, [table_of(new)], tmp_path / "whole")
    embed = Encoder.embed
    passed = []

    def dying(self, sequences):
        for item in embed(self, sequences):
            if len(passed) == 60:
                raise KeyboardInterrupt
            passed.append(item[0])
            yield item

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "embed", dying)
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, [table_of(new)], tmp_path)
    assert len(list((tmp_path / "work").glob("*.npz"))) >= 8  # every wild type is kept
    finished = evaluate(model, [table_of(new)], tmp_path)
    assert finished.predictions.equals(whole.predictions)

    def forbidden(self, sequences):
        assert not list(sequences), "all of it is on disk"
        return iter(())

    monkeypatch.setattr(Encoder, "embed", forbidden)
    third = evaluate(model, [table_of(new)], tmp_path)
    assert json.dumps(third.metrics) == json.dumps(whole.metrics)


def test_structures_are_matched_by_stem_and_missing_ones_mean_sequence_only(fitted, new, tmp_path):
    model, _, _ = fitted
    proteins = pd.read_csv(new / "proteins.csv.gz")
    proteins["structure"] = ["shapes/one.cif", "two.pdb.gz", "gone.pdb", "wrong.pdb", None, None, None, None]
    proteins.to_csv(new / "proteins.csv.gz", index=False)
    deep = new / "deep" / "er"
    deep.mkdir(parents=True)
    sequences = proteins["sequence"].tolist()
    (deep / "one.pdb.gz").write_bytes(gzip.compress(helix(sequences[0]).encode()))
    (new / "two.ent").write_text(helix(sequences[1]))
    (new / "wrong.pdb").write_text(helix("G" * LENGTH))
    found = evaluate(model, [table_of(new)], tmp_path, siamese=0)
    rows = found.predictions.to_pandas()
    assert set(rows["protein"][rows["with_structure"]]) == {"Q0", "Q1"}
    assert found.metrics["variants"]["n_with_structure"] == 48
    assert rows["p_deleterious"].notna().all()
    assert [words[:2] for words in found.metrics["data"]["variants"]["without_structure"]] == ["Q2", "Q3"]
    assert "no file of the name gone.pdb" in found.metrics["data"]["variants"]["without_structure"][0]
    assert rows[f"evidence_{next(iter(STRUCTURE_EVIDENCE))}"].notna().sum() == 48
    elsewhere = evaluate(model, [table_of(new)], tmp_path, siamese=0, structures_dir=deep)
    assert elsewhere.metrics["variants"]["n_with_structure"] == 24
    with pytest.raises(UsageError, match="no such folder"):
        evaluate(model, [table_of(new)], tmp_path, structures_dir=tmp_path / "nowhere")


def helix(sequence):
    """A chain of C-alpha atoms in one long helix, as a PDB file."""
    from mutscan.residues import THREE_LETTER

    lines = []
    for i, letter in enumerate(sequence):
        angle = np.deg2rad(100.0 * i)
        x, y, z = 2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * i
        lines.append(
            f"ATOM  {i + 1:5d}  CA  {THREE_LETTER[letter].upper()} A{i + 1:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
            "  1.00 90.00           C"
        )
    return "\n".join([*lines, "END", ""])


def test_without_a_calibration_the_rest_is_still_measured(tiny_model, new, tmp_path):
    found = evaluate(tiny_model, [table_of(new)], tmp_path).metrics["variants"]
    assert found["auroc"] is None
    assert found["specificity_ci"] is None
    assert "mutscan train calibrate" in found["reason"]
    assert found["blosum62_auroc"] > 0.6
    assert found["evidence"]["siamese"]["scores"]["lddt_z"]["auroc"] is not None
    table = pd.read_csv(new / "variants.csv.gz")
    table.assign(score=table["variant"].map(blosum62)).to_csv(new / "dms.csv.gz", index=False)
    dms = evaluate(tiny_model, [table_of(new, "dms", "dms")], tmp_path, siamese=None).metrics["dms"]
    assert dms["scored_by"] == "z_score"
    assert dms["Q0"]["n_scored"] == 24
    with pytest.raises(UsageError, match="asks for a part of the model's calibration"):
        evaluate(tiny_model, [table_of(new)], tmp_path, split="test")


def test_rows_that_do_not_fit_are_counted_and_named_and_broken_tables_refused_by_line(fitted, new, tmp_path):
    model, _, _ = fitted
    table = pd.read_csv(new / "variants.csv.gz")
    own = table.loc[0, "variant"]
    table.loc[0, "variant"] = ("W" if own[0] != "W" else "Y") + own[1:-1] + ("A" if own[0] != "A" else "G")
    table.loc[5, "variant"] = "A999G"
    table.loc[7, "variant"] = f"{table.loc[8, 'variant']};{table.loc[9, 'variant']}"
    table.to_csv(new / "variants.csv.gz", index=False)
    found = evaluate(model, [table_of(new)], tmp_path, siamese=0)
    about = found.metrics["data"]["variants"]
    assert about["n_left_out"] == 3
    assert [words.split(":")[0] for words in about["left_out"]] == ["line 2", "line 7", "line 9"]
    assert found.metrics["variants"]["n"] == 189
    assert 2 not in found.predictions["line"].to_pylist()
    for column, value, words in (
        ("label", "maybe", r"line 13: 'maybe' is not a label"),
        ("protein", "nobody", r"line 13: 'nobody' is not in .*proteins"),
    ):
        broken = pd.read_csv(new / "variants.csv.gz")
        broken.loc[11, column] = value
        broken.to_csv(new / "broken.csv.gz", index=False)
        with pytest.raises(UsageError, match=words):
            evaluate(model, [table_of(new, name="broken")], tmp_path)
    table.assign(ddG="low").to_csv(new / "ddg.csv.gz", index=False)
    with pytest.raises(UsageError, match=r"line 2: 'low' is not a ddG; expected a number \(191 more"):
        evaluate(model, [table_of(new, "stability", "ddg")], tmp_path)


def test_a_short_protein_has_the_z_that_score_gives_and_a_long_one_is_looked_at_in_windows(
    tiny_model, tmp_path, monkeypatch
):
    from mutscan.calling import mean_away_from_site, percentile, robust_z
    from mutscan.pipeline.network import WildTypePredictor, load_model, protein_null
    from mutscan.progress import Silent
    from mutscan.train.labelled import siamese
    from mutscan.variants import parse_variant

    loaded = load_model(str(tiny_model), device="cpu")
    sequence = "".join(np.random.default_rng(5).choice(list(STANDARD), 90))
    sites = np.array([0, 44, 71])
    mutant = np.array([(CODE[ord(sequence[i])] + 3) % 20 for i in sites])
    variants = [
        parse_variant(f"{sequence[i]}{i + 1}{STANDARD[m]}") for i, m in zip(sites, mutant, strict=True)
    ]
    scorer = siamese.SiameseScorer(loaded, tmp_path, "net")
    found = scorer.score(sequence, sites, mutant, Silent())
    predictor = WildTypePredictor(loaded, sequence)
    null = protein_null(predictor, loaded, sequence, seed=0, progress=Silent())
    for row, prediction in predictor.predict(variants):
        away = mean_away_from_site(prediction.lddt, [int(sites[row]) + 1])
        assert found["lddt_mean"][row] == pytest.approx(away, abs=2e-6)
        assert found["tm"][row] == pytest.approx(prediction.tm_raw, abs=2e-6)
        assert found["lddt_z"][row] == pytest.approx(robust_z(away, null.lddt), rel=0.02, abs=0.02)
        # A value that ties with one of the null here may lie beside it there.
        assert found["lddt_percentile"][row] == pytest.approx(percentile(away, null.lddt), abs=1.6)
        assert found["tm_percentile"][row] == pytest.approx(percentile(prediction.tm_raw, null.tm), abs=1.6)
    monkeypatch.setattr(siamese, "WINDOW", 40)
    assert [siamese.window_of(i, 90) for i in sites.tolist()] == [(0, 40), (20, 60), (50, 90)]
    cut = siamese.SiameseScorer(loaded, tmp_path, "net").score(sequence, sites, mutant, Silent())
    window = WildTypePredictor(loaded, sequence[20:60])
    ((_, alone),) = window.predict([parse_variant(f"{sequence[44]}25{STANDARD[mutant[1]]}")])
    assert cut["tm"][1] == pytest.approx(alone.tm_raw, abs=2e-6)
    assert cut["lddt_site"][1] == pytest.approx(float(alone.lddt[24]), abs=2e-6)


def test_the_command_line_says_what_belongs_together(tmp_path):
    from mutscan.cli.app import app

    file = str(tmp_path / "x.csv")
    for arguments, words in (
        ([], "nothing to evaluate"),
        (["--structures", file], "go together"),
        (["--proteins", file], "expected a table of their variants"),
        (["--variants", file], "--proteins is given 0 times"),
        (["--variants", file, "--proteins", file, "--siamese", "some"], "--siamese some"),
        (["--stability", file, "--proteins", file, "--beside", file], "--beside: its scores are compared on"),
        (["--variants", file, "--proteins", file, "--reference", file], "--reference: its numbers are those"),
        (["--structures", file, "--pairs", file, "--skip-overlap"], "--skip-overlap is for proteins of"),
    ):
        done = CliRunner().invoke(app, ["train", "evaluate", "--out", str(tmp_path), *arguments])
        assert done.exit_code == 2
        assert words in " ".join(done.output.split()), done.output


def test_pairs_and_variants_evaluated_together_share_one_file_each(tiny_model, new, tmp_path):
    from types import SimpleNamespace

    import pyarrow as pa

    from mutscan.train.evaluate.make import Evaluation

    found = evaluate(tiny_model, [table_of(new)], tmp_path, siamese=0)
    pairs = SimpleNamespace(
        metrics={
            "pairs": {"n": 2},
            "model": {"name": "tiny"},
            "data": {"split": "test"},
            "definitions": {"tm": "x"},
        },
        table=lambda: pa.table({"id1": ["a", "b"], "group": [1, 2], "tm_predicted": [0.5, 0.6]}),
    )
    metrics, rows = Evaluation(pairs, found).joined()
    assert {"pairs", "variants"} <= set(metrics)
    assert {"tm", "ece"} <= set(metrics["definitions"])
    assert metrics["data"]["split"] == "test"
    assert metrics["data"]["variants"]["n_left_out"] == 0
    table = rows.to_pandas()
    assert table.groupby("table").size().to_dict() == {"pairs": 2, "variants": 192}
    assert table["protein_group"].notna().sum() == 192
    assert table["group"].notna().sum() == 2
