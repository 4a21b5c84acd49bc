"""The tier of built mutants: its fit, the mutants it is fitted on, and ``train calibrate --built``."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from typer.testing import CliRunner

from mutscan.builders import many as building
from mutscan.evidence import load_calibration
from mutscan.evidence.built import BUILT_EVIDENCE
from mutscan.evidence.residue_properties import BLOSUM62, CODE
from mutscan.progress import Silent
from mutscan.residues import STANDARD
from mutscan.structures import write_structure
from mutscan.train.calibrate import make as calibrate
from mutscan.train.calibrate.built import WEIGHED, fit_built
from mutscan.train.calibrate.mutants import evidence_of_mutants
from mutscan.train.labelled.structures import NamedStructures
from mutscan.train.labelled.tables import read_variants
from mutscan.train.statistics.bootstrap import Auroc
from tests.peptides import helix


def rows(n: int, effect: float, seed: int = 0) -> dict[str, np.ndarray]:
    """Labelled rows of 60 groups and as many of 10 scanned proteins, one piece of evidence telling."""
    rng = np.random.default_rng(seed)
    base, told, noise = rng.normal(0.3, 1.2, 2 * n), rng.normal(size=2 * n), rng.normal(size=2 * n)
    told[rng.random(2 * n) < 0.1] = np.nan
    harm = base + effect * np.nan_to_num(told)
    unit = np.concatenate([np.full(n, -1), 100 + np.arange(n) % 10])
    label = (rng.random(2 * n) < expit(harm)).astype(float)
    ranked = expit(0.7 * harm + 0.3 * (unit - 104))  # every protein on a level of its own
    return {
        "base": base, "told": told, "noise": noise, "target": np.where(unit < 0, label, ranked),
        "unit": unit, "group": np.where(unit < 0, np.arange(2 * n) % 60, unit),
    }  # fmt: skip


def fitted(table: dict[str, np.ndarray], *, of: slice = slice(None)):
    weight = np.where(table["unit"] < 0, 1.0, 0.4)
    pieces = {"told": table["told"][of], "noise": table["noise"][of]}
    return fit_built(
        table["base"][of], pieces, table["target"][of], weight[of], table["group"][of],
        unit=table["unit"][of], share=0.6,
    )  # fmt: skip


def test_what_a_mutant_tells_is_found_and_calibrated():
    table = rows(600, 1.0)
    found = fitted(table)
    here = table["unit"] < 0
    label = table["target"][here]
    before, after = Auroc(table["base"][here], label > 0), Auroc(found.p[here], label > 0)
    assert after(np.ones(600)) > before(np.ones(600)) + 0.03
    curve, noise = found.model.curves["told"], found.model.curves["noise"]
    assert curve.logits[-1] - curve.logits[0] > 1.5
    assert np.all(np.diff(curve.logits) > 0)
    assert np.ptp(noise.logits) < 0.6
    assert 0.7 < found.slope < 1.3
    # As many as said are harmful, where harm has the share that was asked for.
    weight = np.where(label > 0, 0.6 / label.mean(), 0.4 / (1 - label.mean()))
    assert np.average(found.p[here], weights=weight) == pytest.approx(0.6, abs=0.005)
    p = expit(found.logit(table["base"], {"told": table["told"], "noise": table["noise"]}))
    assert np.corrcoef(logit(p), logit(found.p))[0, 1] > 0.99
    assert fitted(table).model.to_dict() == found.model.to_dict()


def test_what_tells_nothing_changes_little():
    table = rows(300, 0.0, seed=3)
    found = fitted(table, of=slice(300))  # without any scan
    assert 0.8 < found.slope < 1.2
    assert max(np.ptp(curve.logits) for curve in found.model.curves.values()) < 0.6
    label = table["target"][:300] > 0
    one, other = Auroc(found.p, label)(np.ones(300)), Auroc(table["base"][:300], label)(np.ones(300))
    assert one > other - 0.02


def test_scans_alone_teach_what_is_worse():
    """Labelled rows that tell nothing: what is worse within scanned proteins is learned all the same."""
    table = rows(400, 1.5)
    table["told"] = np.where(table["unit"] < 0, np.nan, table["told"])
    curve = fitted(table).model.curves["told"]
    assert curve.logits[-1] - curve.logits[0] > 0.5


SEQUENCES = ("MKTAYIAKQRQISFVKSHFSRQLEDW", "GSHMLEDPVRALWKEAFNKLTEQYRA")


def write_tables(folder, sequences, *, sites=range(2, 24, 2), residues="AW"):
    structures = folder / "structures"
    structures.mkdir(exist_ok=True)
    variants = []
    for k, sequence in enumerate(sequences):
        with gzip.open(structures / f"S{k}.pdb.gz", "wt") as packed:
            write_structure(helix(sequence, first=1), folder / "one.pdb")
            packed.write((folder / "one.pdb").read_text())
        for site in sites:
            for residue in residues:
                if residue != sequence[site]:
                    label = "deleterious" if residue == "W" else "neutral"
                    variants.append((f"P{k}", f"{sequence[site]}{site + 1}{residue}", label))
    names = [f"P{k}" for k in range(len(sequences))]
    proteins = folder / "proteins.csv"
    pd.DataFrame(
        {"protein": names, "sequence": sequences, "group": names, "structure": [f"S{n[1:]}" for n in names]}
    ).to_csv(proteins, index=False)
    table = folder / "variants.csv"
    pd.DataFrame(variants, columns=["protein", "variant", "label"]).to_csv(table, index=False)
    return proteins, table


@pytest.mark.timeout(120)
def test_mutants_of_a_table_are_built_once_in_turns(tmp_path, monkeypatch):
    proteins, path = write_tables(tmp_path, SEQUENCES)
    table = read_variants(proteins, path, column="label")
    finders = {"variants": NamedStructures(proteins)}

    def made(work, count=8):
        return evidence_of_mutants(
            {"variants": table}, finders, count, Silent(), builder="template", work=work
        )["variants"]

    found = made(tmp_path / "work")
    assert found.keys() == BUILT_EVIDENCE.keys()
    known = np.isfinite(found["built_site_shift"])
    assert known.sum() == 8
    assert sorted(np.bincount(table.protein[known])) == [4, 4]
    assert table.value[known].sum() == 4
    large = known & (table.value > 0)
    assert np.nanmean(found["built_contacts_change"][large]) > np.nanmean(
        found["built_contacts_change"][known & ~large]
    )
    # What is there is not built again; what was cut short is.
    mutants = sorted((tmp_path / "work").rglob("*.cif"))
    assert len(mutants) == 8
    mutants[0].unlink()
    asked = []
    run = building.MutantFactory.run
    monkeypatch.setattr(
        building.MutantFactory, "run", lambda self, tasks: (asked.extend(tasks), run(self, tasks))[1]
    )
    again = made(tmp_path / "work")
    assert len(asked) == 1
    for name, values in found.items():
        np.testing.assert_array_equal(values, again[name])


def test_a_table_without_structures_gives_none(tmp_path):
    proteins, path = write_tables(tmp_path, SEQUENCES[:1])
    pd.read_csv(proteins).drop(columns="structure").to_csv(proteins, index=False)
    table = read_variants(proteins, path, column="label")
    found = evidence_of_mutants(
        {"variants": table},
        {"variants": NamedStructures(proteins)},
        5,
        Silent(),
        builder="template",
        work=tmp_path / "work",
    )
    assert not any(np.isfinite(values).any() for values in found["variants"].values())


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_calibrate_adds_the_tier_where_mutants_are_asked_for(tiny_model, tmp_path, monkeypatch):
    from mutscan.cli.app import app

    rng = np.random.default_rng(0)
    sequences = ["".join(rng.choice(list(STANDARD), 30)) for _ in range(30)]
    proteins, variants = write_tables(tmp_path, sequences, sites=range(1, 29), residues="AWDK")
    table = pd.read_csv(variants)
    told = rng.normal(size=len(table))
    pull = [-0.5 * BLOSUM62[CODE[ord(v[0])], CODE[ord(v[-1])]] - 0.5 for v in table["variant"]]
    harm = np.array(pull) + 1.5 * told
    table["label"] = np.where(rng.random(len(table)) < expit(harm), "deleterious", "neutral")
    table.to_csv(variants, index=False)
    asked = {}

    def planted(tables, finders, count, progress, **settings):
        asked.update(settings, count=count, finder=finders["variants"])
        values = {name: np.full(len(told), np.nan) for name in BUILT_EVIDENCE}
        values[WEIGHED[0]][:count] = told[:count]
        return {"variants": values}

    monkeypatch.setattr(calibrate, "evidence_of_mutants", planted)
    command = ["train", "calibrate", "--model", str(tiny_model), "--proteins", str(proteins), "--variants"]
    command += [str(variants), "--work", str(tmp_path / "work"), "--device", "cpu", "--quiet", "--out"]

    def written(name, *more):
        out = tmp_path / name / "calibration.json"
        done = CliRunner().invoke(app, [*command, str(out), *more], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(out.read_text())

    few = written("few", "--built", "100")
    assert set(few["tiers"]) == {"sequence", "structure"}
    assert "fewer than" in few["built_left_out"]
    document = written("built", "--built", "2500", "--builder", "template", "--jobs", "1")
    assert asked["builder"] == "template"
    assert asked["jobs"] == 1
    assert asked["finder"].find("S29", sequences[29])[0].path.name == "S29.pdb.gz"
    assert "built_left_out" not in document
    assert document["tiers"]["structure"] == few["tiers"]["structure"]
    tier = document["tiers"]["built"]
    assert tier["builder"] == "template"
    assert set(tier["model"]["curves"]) == set(WEIGHED)
    for part in (tier["cross_fitted"], tier["test"]):
        assert part["auroc"] > part["auroc_structure"] + 0.03
        assert part["auroc_gain_ci"][0] > 0
    assert tier["cross_fitted"]["ece"] < 0.06
    assert tier["thresholds"]["deleterious"]["specificity"] >= 0.9
    assert set(WEIGHED) < set(document["evidence"])
    calibration = load_calibration(tmp_path / "built")
    assert calibration is not None
    assert calibration.weighs_built == "template"
    built = calibration.tiers["built"]
    assert built.base is calibration.tiers["structure"]
    assert built.slope == tier["base"]["slope"]
