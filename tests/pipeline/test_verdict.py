"""The decision in the pipeline: probability, flag, evidence and warnings, in score and in scan."""

import csv
import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mutscan
from mutscan.calling.residue_model import NO_AFFECTED
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.verdict import ALONE, INDEL, JOINT, NO_FLAG, OTHER_NET, Judge
from mutscan.reports.digest import digest
from mutscan.reports.saved import read_run
from mutscan.reports.scan import read_scan
from mutscan.reports.sentences import sentence
from mutscan.results import EVIDENCE_SCHEMA
from mutscan.variants import parse_variant
from tests.made_up_calibration import DELETERIOUS, TOLERATED, calibrate_tiny_model, structural_entry
from tests.places import GLOBIN

WILD_TYPE = GLOBIN / "wild_type.cif"
VARIANTS = ("L38D", "L38V", "E10K", "K144E", "E10K;K144E", "L38D;E10K", "K40del", "L38D", "W38A")

pytestmark = pytest.mark.timeout(120)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny")


@pytest.fixture(scope="module")
def run(model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    out = tmp_path_factory.mktemp("run") / "out"
    return mutscan.score(str(WILD_TYPE), VARIANTS, out=out, model=str(model), builder="none", offline=True)


def judge_of(model: Path, wild_type: str | Path, **changes: object) -> Judge:
    protein = dataclasses.replace(resolve_wild_type(str(wild_type), offline=True), **changes)  # type: ignore[arg-type]
    loaded = load_model(str(model), device="cpu", offline=True)
    return Judge(loaded, WildTypePredictor(loaded, protein.sequence), protein)


def test_every_single_substitution_is_decided_by_the_calibrated_thresholds(run: mutscan.Run) -> None:
    rows = [row for row in rows_of(run.directory) if row["n_substitutions"] == "1"]
    assert len(rows) == 5
    flags = set()
    for row in rows:
        p = float(row["p_deleterious"])
        expected = "deleterious" if p >= DELETERIOUS else "tolerated" if p <= TOLERATED else "uncertain"
        assert row["flag"] == expected
        assert "structure evidence; calibrated on 1,000 variants" in row["flag_rule"]
        assert ("assuming that 56 % are deleterious" in row["flag_rule"]) == (expected != "uncertain")
        assert "no flag" not in row["notes"]
        flags.add(row["flag"])
    assert len(flags) > 1
    one = {row["variant"]: float(row["p_deleterious"]) for row in rows}
    assert one["L38D"] > one["L38V"], "the made-up labels follow BLOSUM62"
    said = run.metadata["calibration"]
    assert said["share_deleterious"] == 0.56
    assert said["tiers"]["structure"] == {"deleterious": DELETERIOUS, "tolerated": TOLERATED, "n": 1000}


def test_evidence_adds_up_and_is_told_strongest_first(run: mutscan.Run, model: Path) -> None:
    table = run.evidence
    assert table.columns.tolist() == EVIDENCE_SCHEMA.names
    rows = {row["variant"]: row for row in rows_of(run.directory) if row["p_deleterious"]}
    assert set(table["variant"]) == set(rows)
    for variant, pieces in table.groupby("variant", sort=False):
        assert pieces.iloc[0]["evidence"] == "baseline"
        size = pieces["contribution"].abs().iloc[1:]
        assert size.is_monotonic_decreasing
        assert pieces["value"].str.len().min() > 0
        strongest = pieces.iloc[1]
        told = rows[variant]["evidence"].split("; ")
        assert told[0] == f"{strongest['evidence']} {strongest['contribution']:+.1f}"
        p = float(rows[variant]["p_deleterious"])
        assert pieces["contribution"].sum() == pytest.approx(math.log(p / (1 - p)), abs=1e-3 / (p * (1 - p)))


def test_a_joint_mutant_is_judged_by_its_worst_and_never_tolerated(run: mutscan.Run) -> None:
    rows = {row["variant"]: row for row in rows_of(run.directory)}
    for joint, parts in (("E10K;K144E", ("E10K", "K144E")), ("E10K;L38D", ("E10K", "L38D"))):
        worst = max(parts, key=lambda part: float(rows[part]["p_deleterious"]))
        assert rows[joint]["p_deleterious"] == rows[worst]["p_deleterious"]
        assert rows[joint]["flag_rule"].startswith(f"{worst} alone: ")
        assert rows[joint]["flag"] in ("deleterious", "uncertain")
        assert "joint mutant" in rows[joint]["notes"]
        assert rows[joint]["evidence"] == rows[worst]["evidence"]


def test_an_indel_gets_no_probability(run: mutscan.Run) -> None:
    row = next(row for row in rows_of(run.directory) if row["variant"] == "K40del")
    assert row["status"] == "partial"
    assert row["tm_predicted"]
    assert row["p_deleterious"] == row["flag"] == row["evidence"] == ""
    assert row["flag_rule"] == INDEL == "not assessed: nothing is calibrated for insertions and deletions"
    assert "deletions" in row["notes"]


def test_scan_says_the_same_and_sums_it_up(run: mutscan.Run, model: Path, tmp_path: Path) -> None:
    scan = mutscan.scan(
        str(WILD_TYPE), positions="10,38", out=tmp_path / "out", model=str(model), offline=True
    )
    scored = {row["variant"]: row for row in rows_of(run.directory)}
    rows = {row["variant"]: row for row in rows_of(scan.directory)}
    assert len(rows) == 38
    for variant in ("L38D", "L38V", "E10K"):
        for column in ("flag", "flag_rule", "p_deleterious", "evidence"):
            assert rows[variant][column] == scored[variant][column], column
        # How a line can be read is of no concern to a scan.
        notes = [n for n in scored[variant]["notes"].split("; ") if not n.startswith("read as position")]
        assert rows[variant]["notes"].split("; ") == notes
    heat = pd.read_parquet(scan.directory / "scan.parquet").set_index(["position", "mutant"])
    for variant, row in rows.items():
        place = (int(variant[1:-1]), variant[-1])
        assert heat.loc[place, "p_deleterious"] == pytest.approx(float(row["p_deleterious"]), abs=1e-4)
        assert heat.loc[place, "z_score"] == pytest.approx(float(row["z_score"]), abs=1e-3)
    positions = pd.read_csv(scan.directory / "positions.csv").set_index("position")
    for position in (10, 38):
        own = [row for row in rows.values() if row["positions"] == str(position)]
        p = {row["variant"]: float(row["p_deleterious"]) for row in own}
        assert positions.loc[position, "p_deleterious_mean"] == pytest.approx(
            np.mean([*p.values()]), abs=1e-4
        )
        assert p[positions.loc[position, "worst"]] == max(p.values())
        tolerated = np.mean([row["flag"] != "deleterious" for row in own])
        assert positions.loc[position, "tolerance"] == pytest.approx(tolerated, abs=1e-6)
    pieces = scan.evidence.groupby("variant", sort=False).size()
    assert pieces.index.tolist() == [*rows]
    assert pieces.max() <= 7, "the baseline, five pieces, and the rest"


def test_probabilities_do_not_depend_on_company(model: Path) -> None:
    judge = judge_of(model, WILD_TYPE)
    variants = [parse_variant(text) for text in ("L38D", "E10K", "K144E")]
    together = [verdict.p for verdict in judge.judge(variants)]
    alone = [judge_of(model, WILD_TYPE).judge([variant])[0].p for variant in variants]
    np.testing.assert_allclose(together, alone, atol=1e-9)
    assert judge.judge([parse_variant("K40del")])[0].p != judge.judge([parse_variant("K40del")])[0].p


def test_sequence_evidence_where_there_is_no_structure(model: Path, tmp_path: Path) -> None:
    sequence = resolve_wild_type(str(WILD_TYPE), offline=True).sequence
    (tmp_path / "p.fasta").write_text(f">p\n{sequence[:20]}X{sequence[21:]}\n")
    judge = judge_of(model, tmp_path / "p.fasta")
    known, unknown = judge.judge([parse_variant("L38D"), parse_variant("X21A")])
    assert "sequence evidence" in known.rule
    assert 0 < known.p < 1
    assert math.isnan(unknown.p)
    assert unknown.flag == ""
    assert "not one of the 20" in unknown.notes[0]


def test_an_unresolved_site_is_judged_on_sequence(model: Path) -> None:
    protein = resolve_wild_type(str(WILD_TYPE), offline=True)
    assert protein.structure_index is not None
    index = protein.structure_index.copy()
    index[37] = -1
    site, other = judge_of(model, WILD_TYPE, structure_index=index).judge(
        [parse_variant("L38D"), parse_variant("E10K")]
    )
    assert "sequence evidence" in site.rule
    assert "structure evidence" in other.rule
    assert any("no coordinates" in note for note in site.notes)


def test_a_calibration_of_another_encoder_decides_nothing(tiny_model: Path, tmp_path: Path) -> None:
    other = calibrate_tiny_model(tiny_model, tmp_path / "other", revision="sha256:0123")
    run = mutscan.score(
        str(WILD_TYPE), ["L38D"], out=tmp_path / "out", model=str(other), builder="none", offline=True
    )
    (row,) = rows_of(run.directory)
    assert row["p_deleterious"] == row["flag"] == ""
    assert "encoder revision sha256:0123" in row["notes"]
    assert run.metadata["calibration"] is None
    assert run.evidence.empty
    shutil.rmtree(other)


def test_without_calibration_all_stays_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    run = mutscan.score(
        str(WILD_TYPE), ["L38D"], out=tmp_path / "out", model=str(tiny_model), builder="none", offline=True
    )
    (row,) = rows_of(run.directory)
    assert row["p_deleterious"] == row["flag"] == row["flag_rule"] == row["evidence"] == ""
    assert NO_FLAG in row["notes"]
    assert not (run.directory / "evidence.parquet").exists()


def test_without_a_model_of_affected_residues_rows_and_run_say_so(tiny_model: Path, tmp_path: Path) -> None:
    asked = {"model": str(tiny_model), "builder": "none", "offline": True}
    run = mutscan.score(str(WILD_TYPE), ["L38D", "p.Lys11del"], out=tmp_path / "out", **asked)
    substituted, deleted = rows_of(run.directory)
    assert NO_AFFECTED in substituted["notes"]
    assert NO_AFFECTED not in deleted["notes"]  # of an insertion or deletion no model says it
    assert run.metadata["model"]["affected_residues"] is False
    assert digest(read_run(run.directory)).warnings[0] == NO_AFFECTED
    scan = mutscan.scan(str(WILD_TYPE), positions="38", out=tmp_path / "scan", **asked)
    assert read_scan(scan.directory).notes[0] == NO_AFFECTED
    bare = mutscan.scan(str(WILD_TYPE), positions="38", out=tmp_path / "p", predict="probability", **asked)
    assert NO_AFFECTED not in read_scan(bare.directory).notes


def test_the_shipped_model_says_nothing_of_the_kind(tmp_path: Path) -> None:
    run = mutscan.score(str(WILD_TYPE), ["L38D"], out=tmp_path / "out", builder="none", offline=True)
    (row,) = rows_of(run.directory)
    assert NO_AFFECTED not in row["notes"]
    assert run.metadata["model"]["affected_residues"] is True
    assert NO_AFFECTED not in digest(read_run(run.directory)).warnings


def test_relatives_speak_where_the_model_has_a_library(tiny_model: Path, tmp_path: Path) -> None:
    sequence = resolve_wild_type(str(WILD_TYPE), offline=True).sequence
    with_families = calibrate_tiny_model(tiny_model, tmp_path / "families", family=sequence)
    run = mutscan.score(
        str(WILD_TYPE), ["L38D"], out=tmp_path / "out", model=str(with_families), builder="none", offline=True
    )
    told = run.evidence.set_index("evidence")["value"]
    assert told["conservation"].startswith("99 related sequences of 1 family")
    assert run.metadata["calibration"]["families_sha256"]


def test_a_calibration_of_another_library_decides_nothing(tiny_model: Path, tmp_path: Path) -> None:
    sequence = resolve_wild_type(str(WILD_TYPE), offline=True).sequence
    changed = calibrate_tiny_model(tiny_model, tmp_path / "changed", family=sequence)
    (changed / "families.npz").unlink()
    run = mutscan.score(
        str(WILD_TYPE), ["L38D"], out=tmp_path / "out", model=str(changed), builder="none", offline=True
    )
    (row,) = rows_of(run.directory)
    assert row["p_deleterious"] == row["flag"] == ""
    assert "this one is none" in row["notes"]


STRUCTURE = ("L38D", "L38V", "E10K", "K144E", "E10K;K144E", "K40del", "K40_H41insGA")


def structural_model(tiny_model: Path, target: Path, threshold: float, **more: object) -> Path:
    return calibrate_tiny_model(tiny_model, target, structural=structural_entry(tiny_model, threshold) | more)


def drops_of(run: mutscan.Run) -> list[float]:
    return sorted(-float(row["z_score"]) for row in rows_of(run.directory) if row["z_score"])


def test_the_structural_rule_is_said_beside_the_probability_and_changes_no_flag(
    run: mutscan.Run, tiny_model: Path, tmp_path: Path
) -> None:
    drops = drops_of(run)
    line = round((drops[2] + drops[3]) / 2, 2)
    model = structural_model(tiny_model, tmp_path / "m", line)
    again = mutscan.score(
        str(WILD_TYPE), VARIANTS, out=tmp_path / "out", model=str(model), builder="none", offline=True
    )
    before = {row["variant"]: row for row in rows_of(run.directory)}
    seen = set()
    for row in rows_of(again.directory):
        old = before[row["variant"]]
        if row["status"] == "failed" or not row["z_score"]:
            continue
        disturbed = -float(row["z_score"]) >= line
        said = f"structure {'disturbed' if disturbed else 'not disturbed'}: lDDT drop z "
        where = "(specificity 0.92, precision 0.66; calibrated on 3,000 substitutions of 110 groups)"
        end = f" >= {line:.2f} {where}" if disturbed else f" < {line:.2f}"
        if ";" in row["variant"]:
            end = f"{line:.2f} (the threshold is calibrated for single substitutions only)"
        assert row["notes"] == old["notes"]
        assert row["flag"] == old["flag"]
        assert row["p_deleterious"] == old["p_deleterious"]
        if row["p_deleterious"]:
            assert row["flag_rule"].endswith(end)
            assert row["flag_rule"].startswith(f"{old['flag_rule']}; {said}")
            seen.add(disturbed)
        else:
            assert row["variant"] == "K40del"
            assert row["flag_rule"] == INDEL
    assert seen == {True, False}
    assert again.metadata["calibration"]["structural"] == {"score": "lddt_z", "threshold": line}
    assert run.metadata["calibration"]["structural"] is None
    scan = mutscan.scan(
        str(WILD_TYPE), positions="10,38", out=tmp_path / "scan", model=str(model), offline=True
    )
    scanned = {row["variant"]: row["flag_rule"] for row in rows_of(scan.directory)}
    for row in rows_of(again.directory):
        if row["variant"] in scanned:
            assert scanned[row["variant"]] == row["flag_rule"]


@pytest.mark.parametrize("score", ["lddt_z", "tm_z", "lddt_percentile", "tm_percentile"])
def test_a_structural_rule_alone_decides_and_never_tolerates(
    tiny_model: Path, tmp_path: Path, score: str
) -> None:
    line = 0.1 if score.endswith("z") else 50.5
    entry = structural_entry(tiny_model, line, score=score)
    model = calibrate_tiny_model(tiny_model, tmp_path / "m", structural=entry, tiers=False)
    run = mutscan.score(
        str(WILD_TYPE), STRUCTURE, out=tmp_path / "out", model=str(model), builder="none", offline=True
    )
    rows = rows_of(run.directory)
    assert len(rows) == len(STRUCTURE)
    for row in rows:
        assert row["p_deleterious"] == row["evidence"] == ""
        if not row["variant"][1:-1].isdigit():
            assert row["flag"] == "", "next to all indels pass: that says nothing of one"
            assert row["flag_rule"] == (JOINT if ";" in row["variant"] else INDEL)
            continue
        assert row["flag_rule"].startswith(f"{ALONE}: structure ")
        assert row["flag"] == ("uncertain" if "not disturbed" in row["flag_rule"] else "deleterious")
        if score == "lddt_z":
            drop = -float(row["z_score"])
        elif score == "tm_z":
            continue
        else:
            drop = 100 - float(row[score])
        assert row["flag"] == ("deleterious" if drop >= line else "uncertain")
    assert {row["flag"] for row in rows} == {"", "deleterious", "uncertain"}
    assert not (run.directory / "evidence.parquet").exists()
    for row in rows:
        said = "by the predicted structure alone. " if row["flag"] else "not assessed: "
        assert said in sentence(row)


def test_an_unknown_residue_is_judged_by_the_structure_alone(tiny_model: Path, tmp_path: Path) -> None:
    sequence = resolve_wild_type(str(WILD_TYPE), offline=True).sequence
    (tmp_path / "p.fasta").write_text(f">p\n{sequence[:20]}X{sequence[21:]}\n")
    model = structural_model(tiny_model, tmp_path / "m", 2.0)
    (verdict,) = judge_of(model, tmp_path / "p.fasta").judge([parse_variant("X21A")])
    assert verdict.flag == verdict.rule == ""
    assert verdict.with_structure({"lddt_z": -2.0}).flag == "deleterious"
    below = verdict.with_structure({"lddt_z": -1.9999})
    assert below.flag == "uncertain"
    assert below.rule == f"{ALONE}: structure not disturbed: lDDT drop z 1.99 < 2.00"
    assert verdict.with_structure({"lddt_z": math.nan}) == verdict


def test_a_rule_made_with_other_weights_says_nothing(
    tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = structural_model(tiny_model, tmp_path / "m", -9.0, net_sha256="0" * 64)
    with caplog.at_level("WARNING"):
        judge = judge_of(model, WILD_TYPE)
    assert OTHER_NET in caplog.text
    single, indel = judge.judge([parse_variant("L38D"), parse_variant("K40del")])
    assert single.with_structure({"lddt_z": -9.0}) == single
    assert indel.with_structure({"lddt_z": -9.0}).flag == ""
    entry = structural_entry(tiny_model, -9.0) | {"net_sha256": "0" * 64}
    alone = calibrate_tiny_model(tiny_model, tmp_path / "alone", structural=entry, tiers=False)
    (verdict,) = judge_of(alone, WILD_TYPE).judge([parse_variant("L38D")])
    assert verdict.notes == (OTHER_NET,)
    assert judge_of(alone, WILD_TYPE).describe() is None
