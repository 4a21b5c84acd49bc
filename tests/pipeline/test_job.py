"""What score and scan share: the same verdicts, damaged parts made again, run.json without paths, regions."""

import csv
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mutscan
from mutscan.errors import RunFolderError, UsageError
from mutscan.reports.saved import read_run
from mutscan.results import VARIANT_COLUMNS, RunFolder
from mutscan.structures import read_structure, write_structure
from tests.made_up_calibration import calibrate_tiny_model
from tests.places import GLOBIN

WILD_TYPE = str(GLOBIN / "wild_type.cif")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a calibration."""
    return calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("calibrated") / "tiny")


@pytest.fixture(scope="module")
def scanned(model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    out = tmp_path_factory.mktemp("scan") / "out"
    return mutscan.scan(
        WILD_TYPE, positions="38", out=out, model=str(model), builder="template", offline=True, jobs=2
    )


@pytest.fixture(scope="module")
def scored(model: Path, scanned: mutscan.Run, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    out = tmp_path_factory.mktemp("score") / "out"
    variants = [row["variant"] for row in rows_of(scanned.directory)][2::4]
    return mutscan.score(
        WILD_TYPE, variants, out=out, model=str(model), builder="template", offline=True, jobs=2
    )


def test_score_and_scan_say_the_same_of_built_variants(scored: mutscan.Run, scanned: mutscan.Run) -> None:
    ours, theirs = rows_of(scored.directory), rows_of(scanned.directory)
    assert {row["variant"] for row in ours} == {"L38D", "L38H", "L38N", "L38S", "L38Y"}
    by_variant = {row["variant"]: row for row in theirs}
    for one in ours:
        other = by_variant[one["variant"]]
        assert "structure evidence" in one["flag_rule"]
        for column in VARIANT_COLUMNS:
            # Scan's own way through the network rounds differently; the untrained one spreads the null by
            # little more than that.
            if column in ("z_score", "tm_percentile", "lddt_percentile"):
                assert float(one[column]) == pytest.approx(float(other[column]), abs=0.02), column
            elif column.startswith(("tm_predicted", "lddt_predicted")):
                assert float(one[column]) == pytest.approx(float(other[column]), abs=2e-6), column
            else:
                assert one[column] == other[column], column
    shared = scanned.evidence.groupby("variant", sort=False)
    for variant, pieces in scored.evidence.groupby("variant", sort=False):
        kept = shared.get_group(variant)
        pd.testing.assert_frame_equal(
            pieces.head(len(kept)).reset_index(drop=True), kept.reset_index(drop=True), atol=1e-5
        )


@pytest.mark.parametrize("kind", ["predicted", "measured"])
def test_a_damaged_part_of_score_is_made_again(
    kind: str, scored: mutscan.Run, model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = {p.name: p.read_bytes() for p in scored.directory.iterdir() if p.suffix in (".csv", ".parquet")}
    part = RunFolder(scored.directory).part(kind, "L38D")
    part.write_bytes(part.read_bytes()[:100])
    mutscan.score(
        WILD_TYPE,
        [row["variant"] for row in rows_of(scored.directory)],
        out=scored.directory,
        model=str(model),
        builder="template",
        offline=True,
        jobs=2,
    )
    assert "cannot be read" in caplog.text
    assert before == {name: (scored.directory / name).read_bytes() for name in before}


def texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, str):
        yield value


def test_run_json_names_no_path_of_this_machine(model: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "wild.cif").write_bytes(Path(WILD_TYPE).read_bytes())
    sequence = mutscan.pipeline.check(WILD_TYPE, ["L38D"]).wild_type.sequence
    (tmp_path / "wild.fasta").write_text(f">wild\n{sequence}\n")
    (tmp_path / "variants.txt").write_text("L38D\n")
    run = mutscan.score(
        str(tmp_path / "wild.fasta"),
        variants_file=tmp_path / "variants.txt",
        structure=tmp_path / "wild.cif",
        out=tmp_path / "out",
        model=str(model),
        builder=str(mine),
        offline=True,
        batch_residues=500,
    )
    said = run.metadata
    for text in texts(said):
        assert str(tmp_path) not in text
        assert str(model.parent) not in text
        assert str(Path.home()) not in text
    assert said["command"] == "score"
    assert said["arguments"]["wild_type"] == "wild.fasta"
    assert said["arguments"]["structure"] == "wild.cif"
    assert said["arguments"]["variants_file"] == "variants.txt"
    assert said["arguments"]["batch_residues"] == said["batch_residues"] == 500
    assert [record["path"] for record in said["records"]] == ["wild.fasta", "wild.cif"]
    assert said["model"]["encoder"] == "encoder"


def test_run_json_holds_the_batch_size_that_was_chosen(scored: mutscan.Run, scanned: mutscan.Run) -> None:
    for run in (scored, scanned):
        assert run.metadata["arguments"]["batch_residues"] is None
        assert run.metadata["batch_residues"] > 0


def test_replaced_mutants_of_ones_own_are_another_job(
    scored: mutscan.Run, model: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    built = scored.directory / "structures"
    (mine / "L38D.cif").write_bytes((built / "L38D.cif").read_bytes())
    settings = {
        "out": tmp_path / "out",
        "model": str(model),
        "builder": str(mine),
        "offline": True,
        "jobs": 1,
    }
    first = rows_of(mutscan.score(WILD_TYPE, ["L38D"], **settings).directory)
    (mine / "notes.txt").write_text("no structure")
    assert rows_of(mutscan.score(WILD_TYPE, ["L38D"], **settings).directory) == first
    text = (mine / "L38D.cif").read_text()
    (mine / "L38D.cif").write_text(text.replace("data_", "data_other", 1))
    with pytest.raises(RunFolderError, match="another job"):
        mutscan.score(WILD_TYPE, ["L38D"], **settings)


def test_affected_regions_are_data(tiny_model: Path, tmp_path: Path) -> None:
    """What the run stores is what the CSV says in words."""
    mine = tmp_path / "mine"
    mine.mkdir()
    wild_type = read_structure(WILD_TYPE)
    coord = wild_type.coord.copy()
    moved = np.isin(wild_type.residue_index, range(99, 108))
    coord[moved] += np.array([3.0, -2.0, 2.0])
    letters = f"{wild_type.sequence[:37]}D{wild_type.sequence[38:]}"
    write_structure(dataclasses.replace(wild_type, coord=coord, sequence=letters), mine / "L38D.cif")
    run = mutscan.score(
        WILD_TYPE, ["L38D", "E10K"], out=tmp_path / "out", model=str(tiny_model), builder=str(mine), jobs=1,
        offline=True,
    )  # fmt: skip
    saved = read_run(run.directory)
    cells = {row["variant"]: row["affected_regions"] for row in rows_of(run.directory)}
    for variant, cell in cells.items():
        regions = saved.regions_of(variant)
        assert len({(r.name, r.source, r.stretches) for r in regions}) == len(regions) > 5
        told = saved.disturbed_by(variant) or regions[:1]
        assert [told] == [regions[: len(told)]]  # the one that is hit most stands first
        where = [",".join(str(a) if a == b else f"{a}-{b}" for a, b in r.stretches) for r in told]
        assert [part.partition(" (")[0] for part in cell.split("); ")] == where
    moved_most = {r.name for r in saved.disturbed_by("L38D") if r.measured_drop > 0.02}
    assert moved_most
    assert "most affected, not beyond background" not in cells["L38D"]
    assert cells["E10K"].endswith("most affected, not beyond background)")


def test_an_older_run_without_regions_is_told_what_to_do(scored: mutscan.Run, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    for name in ("variants.csv", "residues.parquet", "run.json"):
        (folder / name).write_bytes((scored.directory / name).read_bytes())
    with pytest.raises(UsageError, match=r"regions\.parquet is missing: .* run the same command again"):
        mutscan.Run(folder).to_html(tmp_path / "page.html")


def test_nothing_scored_is_not_blamed_on_the_model(model: Path, tiny_model: Path, tmp_path: Path) -> None:
    for number, one in enumerate((model, tiny_model)):
        run = mutscan.score(
            WILD_TYPE,
            ["W1A", "H999A"],
            out=tmp_path / str(number),
            model=str(one),
            builder="none",
            offline=True,
        )
        assert run.exit_code == 4
        page = (run.directory / "report.html").read_text(encoding="utf-8")
        assert "No row could be scored" in page
        assert "ot calibrated" not in page
        assert "no calibration" not in page
    indel = mutscan.score(
        WILD_TYPE, ["K40del"], out=tmp_path / "indel", model=str(model), builder="none", offline=True
    )
    assert "Not calibrated" not in (indel.directory / "report.html").read_text(encoding="utf-8")
    bare = mutscan.score(
        WILD_TYPE, ["L38D"], out=tmp_path / "bare", model=str(tiny_model), builder="none", offline=True
    )
    assert "Not calibrated" in (bare.directory / "report.html").read_text(encoding="utf-8")


def test_rows_judged_in_parts_give_the_same_bytes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = ["L38D", "E10K", "L38D", "K144R", "W1A", "E10K", "A33P"]
    for name, size in (("whole", 512), ("parts", 2)):
        monkeypatch.setattr("mutscan.pipeline.scoring.ROWS_JUDGED", size)
        mutscan.score(WILD_TYPE, listed, out=tmp_path / name, model=str(model), builder="none", offline=True)
    for table in ("variants.csv", "residues.parquet", "regions.parquet", "evidence.parquet"):
        whole, parts = ((tmp_path / name / table).read_bytes() for name in ("whole", "parts"))
        assert whole == parts, table
    assert [row["variant"] for row in rows_of(tmp_path / "parts")].count("L38D") == 2
