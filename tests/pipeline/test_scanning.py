"""Scan: every substitution, against the whole scan, resumable; and what it must share with score."""

import csv
import gc
import json
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

import mutscan
from mutscan.calling import percentile, robust_z
from mutscan.cli.summary import print_scan_summary
from mutscan.errors import RunFolderError, UsageError
from mutscan.model.config import SiameseConfig
from mutscan.model.predict import Predictor
from mutscan.model.siamese import SiameseNet
from mutscan.model.substitutions import SubstitutionPredictor
from mutscan.pipeline import scanning
from mutscan.pipeline.network import ahead, load_model
from mutscan.pipeline.positions import POSITION_COLUMNS, SCORES, PositionTable
from mutscan.pipeline.scanning import in_runs, parse_positions, substitutions
from mutscan.reports.scan import read_scan
from mutscan.residues import STANDARD
from mutscan.results import RESIDUE_COLUMNS, VARIANT_COLUMNS, RunFolder
from mutscan.structures import Feature, read_structure, wild_type_from_structure
from tests.places import GLOBIN

WILD_TYPE = GLOBIN / "wild_type.cif"
SHORT = "MKTAYIAKQRXQISFVKSHFSRQ"
"""One residue of it, at position 11, is unknown."""

FILES = ("variants.csv", "residues.parquet", "positions.csv", "scan.parquet")

HEADED = SiameseConfig(
    d_input=12, d_model=16, n_heads=2, n_layers=1, d_feed_forward=24, d_pool=8, dropout=0.0,
    relu_output=False, length_exponent=0.8, d_match=8, d_pair=10,
)  # fmt: skip
HEADLESS = SiameseConfig(d_input=12, d_model=16, n_heads=2, n_layers=1, d_feed_forward=24, d_pool=8)

pytestmark = pytest.mark.timeout(120)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def fasta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fasta") / "short.fasta"
    path.write_text(f">short\n{SHORT}\n")
    return path


@pytest.fixture(scope="module")
def whole(tiny_model: Path, fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    """A whole scan of a short protein."""
    return mutscan.scan(
        str(fasta), out=tmp_path_factory.mktemp("whole") / "out", model=str(tiny_model), offline=True
    )


@pytest.fixture(scope="module")
def part(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    """A few positions of the example protein, with its structure."""
    return mutscan.scan(
        str(WILD_TYPE),
        positions="38-40,97",
        out=tmp_path_factory.mktemp("part") / "out",
        model=str(tiny_model),
        offline=True,
    )


def test_all_substitutions_position_by_position(whole: mutscan.Run) -> None:
    rows = rows_of(whole.directory)
    assert [*rows[0]] == list(VARIANT_COLUMNS)
    expected = [
        f"{own}{place}{new}"
        for place, own in enumerate(SHORT, start=1)
        if own != "X" and place > 1  # the first methionine is not scanned
        for new in STANDARD
        if new != own
    ]
    assert [row["input"] for row in rows] == [row["variant"] for row in rows] == expected
    assert {row["status"] for row in rows} == {"ok"}
    assert not any(row["tm_measured"] for row in rows)
    assert whole.exit_code == 0
    residues = whole.residues
    assert tuple(residues.columns) == RESIDUE_COLUMNS
    assert residues.groupby("variant", sort=False).size().to_dict() == dict.fromkeys(expected, len(SHORT))
    one = residues[(residues.variant == "K2R") & (residues.position == 2)].iloc[0]
    assert (one.wild_type, one.mutant) == ("K", "R")


def test_a_whole_scan_is_its_own_null(whole: mutscan.Run) -> None:
    rows = whole.variants
    said = whole.metadata["scan"]
    assert (said["null"], said["null_size"]) == ("whole scan", len(rows))
    assert "exact" in said["null_note"]
    for column in ("tm_percentile", "lddt_percentile"):
        assert rows[column].mean() == pytest.approx(50, abs=0.01)
    # The mean away from the site, computed anew from the residues.
    residues = whole.residues
    site = residues["variant"].str.extract(r"(\d+)", expand=False).astype(int)
    away = residues[(residues["position"] - site).abs() > 1].groupby("variant", sort=False)["lddt_predicted"]
    means = away.apply(lambda values: values.to_numpy(dtype=np.float64).mean())[rows["variant"]].to_numpy()
    for index in (0, 100, 300):
        assert rows["lddt_percentile"][index] == pytest.approx(percentile(means[index], means), abs=0.2)
        assert rows["z_score"][index] == pytest.approx(robust_z(means[index], means), abs=2e-3)


def test_some_positions_are_ranked_against_the_sampled_null(part: mutscan.Run) -> None:
    said = part.metadata
    assert said["scan"]["null"] == "sample"
    assert (said["scan"]["positions"], said["scan"]["n_substitutions"]) == ("38-40,97", 76)
    assert "sample of 64" in said["scan"]["null_note"]
    assert len(said["null"]) == 64


def test_score_says_the_same_of_a_substitution(part: mutscan.Run, tiny_model: Path, tmp_path: Path) -> None:
    rows = {row["variant"]: row for row in rows_of(part.directory)}
    scored = mutscan.score(
        str(WILD_TYPE), ["L38D", "H97A"], out=tmp_path / "out", model=str(tiny_model), builder="none"
    )
    residues = part.residues.set_index("variant")
    for row in rows_of(scored.directory):
        for column, value in row.items():
            if column.startswith(("tm_pred", "lddt_pred")):
                assert float(rows[row["variant"]][column]) == pytest.approx(float(value), abs=2e-6)
            elif column == "notes":  # of the numbers that the list is written in
                assert value.endswith(rows[row["variant"]][column])
            elif column not in ("tm_percentile", "lddt_percentile", "z_score"):
                assert rows[row["variant"]][column] == value
        theirs = scored.residues[scored.residues.variant == row["variant"]]
        np.testing.assert_allclose(
            residues.loc[row["variant"], "lddt_predicted"], theirs["lddt_predicted"], atol=1e-6
        )


def test_positions_sum_up_their_substitutions(part: mutscan.Run) -> None:
    table = pd.read_csv(part.directory / "positions.csv")
    assert tuple(table.columns) == POSITION_COLUMNS
    assert table["position"].tolist() == [38, 39, 40, 97]
    assert table["structure_number"].tolist() == [42, 43, 44, 101]
    rows = part.variants
    rows["position"] = rows["positions"].astype(int)
    for _, summary in table.iterrows():
        own = rows[rows["position"] == summary["position"]]
        assert summary["n_substitutions"] == 19
        assert summary["tolerance"] == pytest.approx((own["lddt_percentile"] >= 10).mean(), abs=1e-6)
        assert summary["z_score_mean"] == pytest.approx(own["z_score"].mean(), abs=1e-3)
        assert summary["z_score_min"] == pytest.approx(own["z_score"].min(), abs=1e-3)
        assert own.set_index("variant")["z_score"][summary["worst"]] == own["z_score"].min()
        assert summary["lddt_predicted_min"] == pytest.approx(own["lddt_predicted_mean"].min(), abs=1e-6)
        assert np.isnan(summary["p_deleterious_mean"])
        # Without a calibration z decides, and there is nothing between tolerated and not.
        mild = own[own["lddt_percentile"] >= 10].sort_values("z_score", ascending=False)["variant"]
        assert summary["tolerated"] == "".join(mild.str[-1])
        assert own.set_index("variant")["z_score"][summary["best"]] == own["z_score"].max()
        assert np.isnan(summary["uncertain"])
        assert {summary["site_context"]} == {*own["site_context"]} != {""}


def test_a_scan_names_the_regions_of_its_protein(part: mutscan.Run) -> None:
    told = part.metadata["scan"]["regions"]
    stored = pd.read_parquet(part.directory / "regions.parquet")
    keys = ["region", "kind", "source", "positions"]
    assert {tuple(region.values()) for region in told} == {*stored[keys].itertuples(index=False, name=None)}


def test_positions_have_flags_and_sites(tmp_path: Path) -> None:
    protein = wild_type_from_structure(
        read_structure(WILD_TYPE),
        features=(
            Feature("Active site", "", 8, 8, "UniProt"),
            Feature("Binding site", "heme", 97, 97, "UniProt"),
            Feature("Domain", "Globin", 1, 9, "UniProt"),
        ),
    )
    table = PositionTable(protein)
    scored = [
        ("uncertain", 0.5, 0.0),
        ("deleterious", 0.9, 0.0),
        ("deleterious", 0.9, -1.0),
        ("tolerated", 0.1, 0.0),
        ("tolerated", 0.1, 1.0),
    ]
    for position in (8, 9, 96):
        rows = [
            {"variant": str(v), "flag": flag, "p_deleterious": p, "z_score": z}
            for v, (flag, p, z) in zip(
                substitutions(protein.sequence, position),
                scored,
                strict=False,
            )
        ]
        table.add(position, rows)
    folder = RunFolder(tmp_path)
    table.write(folder)
    found = pd.read_csv(folder.positions_csv).set_index("position")
    own = protein.sequence[95]
    letters = [str(v)[-1] for v in substitutions(protein.sequence, 96)]
    assert found["uncertain"][96] == letters[0]
    assert found["tolerated"][96] == letters[4] + letters[3]
    assert (found["best"][96], found["worst"][96]) == (f"{own}96{letters[4]}", f"{own}96{letters[2]}")
    assert found["tolerance"].tolist() == pytest.approx([0.6] * 3)
    assert found["nearest_site"].tolist() == ["active site 8", "active site 8", "binding site 97 (heme)"]
    assert found["distance_to_site"].tolist() == pytest.approx([0.0, 3.8, 3.8], abs=0.1)


def test_the_heat_map_holds_the_rows(part: mutscan.Run) -> None:
    table = pd.read_parquet(part.directory / "scan.parquet")
    assert table.columns.tolist() == ["position", "wild_type", "mutant", *SCORES]
    assert table["mutant"].tolist() == list(STANDARD) * 4
    matrix = table["z_score"].to_numpy().reshape(4, 20)
    rows = part.variants.set_index("variant")
    for place, position in enumerate((38, 39, 40, 97)):
        letter = example_sequence()[position - 1]
        assert set(table["wild_type"][20 * place : 20 * place + 20]) == {letter}
        for column, new in enumerate(STANDARD):
            if new == letter:
                assert np.isnan(matrix[place, column])
            else:
                assert matrix[place, column] == pytest.approx(
                    rows["z_score"][f"{letter}{position}{new}"], abs=1e-3
                )


def example_sequence() -> str:
    return read_structure(WILD_TYPE).sequence


def test_measured_scores_where_a_structure_is_given(tiny_model: Path, tmp_path: Path) -> None:
    mutants = tmp_path / "mine"
    mutants.mkdir()
    built = mutscan.score(
        str(WILD_TYPE), ["L38D"], out=tmp_path / "built", model=str(tiny_model), builder="template", jobs=1
    )
    (mutants / "L38D.cif").write_bytes((built.directory / "structures" / "L38D.cif").read_bytes())
    run = mutscan.scan(
        str(WILD_TYPE),
        positions="38",
        out=tmp_path / "out",
        model=str(tiny_model),
        builder=str(mutants),
        jobs=1,
    )
    rows = {row["variant"]: row for row in rows_of(run.directory)}
    assert len(rows) == 19
    assert rows["L38D"]["status"] == "ok"
    assert float(rows["L38D"]["tm_measured"]) == pytest.approx(
        float(rows_of(built.directory)[0]["tm_measured"]), abs=1e-4
    )
    assert {row["error_code"] for row in rows.values() if row["variant"] != "L38D"} == {"structure_missing"}
    assert run.exit_code == 3
    assert [*run.metadata["build_seconds"]] == ["L38D"]


# The net on mutants of one wild type


@pytest.mark.parametrize("config", [HEADED, HEADLESS])
@pytest.mark.parametrize("length", [1, 4, 30])
def test_many_mutants_as_one_by_one(config: SiameseConfig, length: int) -> None:
    torch.manual_seed(3)
    predictor = Predictor(SiameseNet(config))
    rng = np.random.default_rng(length)
    sequence = "".join(rng.choice(list(STANDARD + "X"), length))
    wild_type = rng.normal(size=(length, 12)).astype(np.float32)
    mutants = [sequence[:at] + "W" + sequence[at + 1 :] for at in (0, length // 2, length - 1)]
    embeddings = [
        (wild_type + scale * rng.normal(size=wild_type.shape)).astype(np.float32) for scale in (0.01, 0.1, 1)
    ]
    reference = predictor.encode(wild_type, sequence)
    fast = SubstitutionPredictor(predictor, wild_type, sequence)
    tm, lddt = fast.predict(embeddings, mutants)
    for index, (embedding, mutant) in enumerate(zip(embeddings, mutants, strict=True)):
        expected = predictor.compare(reference, predictor.encode(embedding, mutant))
        assert tm[index] == pytest.approx(expected.tm_raw, abs=1e-6)
        np.testing.assert_allclose(lddt[index], expected.lddt, atol=1e-6)
        alone = fast.predict([embedding], [mutant])
        np.testing.assert_array_equal(alone[0], tm[index])
        np.testing.assert_array_equal(alone[1][0], lddt[index])


@pytest.mark.parametrize("config", [HEADED, HEADLESS])
def test_together_as_on_a_gpu_the_numbers_are_the_same(config: SiameseConfig) -> None:
    """What a GPU runs, on this CPU: all mutants at once."""
    torch.manual_seed(3)
    predictor = Predictor(SiameseNet(config))
    rng = np.random.default_rng(5)
    sequence = "".join(rng.choice(list(STANDARD), 25))
    wild_type = rng.normal(size=(25, 12)).astype(np.float32)
    mutants = [sequence[:at] + "W" + sequence[at + 1 :] for at in (0, 9, 24)]
    embeddings = [(wild_type + 0.1 * rng.normal(size=(25, 12))).astype(np.float32) for _ in mutants]
    alone = SubstitutionPredictor(predictor, wild_type, sequence).predict(embeddings, mutants)
    as_on_gpu = SubstitutionPredictor(predictor, wild_type, sequence)
    as_on_gpu._one_by_one = False
    together = as_on_gpu.predict(embeddings, mutants)
    np.testing.assert_allclose(together[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(together[1], alone[1], atol=1e-6)


def test_mutants_of_another_length_are_refused() -> None:
    predictor = Predictor(SiameseNet(HEADLESS))
    fast = SubstitutionPredictor(predictor, np.zeros((3, 12), np.float32), "MKV")
    with pytest.raises(ValueError, match="3 residues"):
        fast.predict([np.zeros((2, 12), np.float32)], ["MK"])


def test_running_ahead_keeps_order_errors_and_ends_early() -> None:
    assert [*ahead(iter(range(50)), 3)] == list(range(50))

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("the disk is gone")

    items = ahead(failing(), 3)
    assert next(items) == 1
    with pytest.raises(OSError, match="disk is gone"):
        next(items)
    made: list[int] = []
    endless = ahead((made.append(n) or n for n in iter(int, 1)), 3)
    assert next(endless) == 0
    endless.close()
    assert len(made) <= 6


# Interrupted, repeated, long


def _command(model: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "mutscan", "scan", str(WILD_TYPE), "--model", str(model), "--offline",
        "--positions", "1-50,90", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_anywhere_and_repeated_gives_the_same(tiny_model: Path, tmp_path: Path) -> None:
    common = {"positions": "1-50,90", "model": str(tiny_model), "offline": True}
    straight = mutscan.scan(str(WILD_TYPE), out=tmp_path / "straight", **common).directory
    broken = tmp_path / "broken"
    ends = []
    for stored, how in ((1, signal.SIGKILL), (4, signal.SIGINT)):
        with subprocess.Popen(
            _command(tiny_model, broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                if len(list(broken.glob(".state/scan/*.npz"))) >= stored:
                    process.send_signal(how)
                    break
                time.sleep(0.002)
        ends.append(process.returncode)
    assert ends[0] == -signal.SIGKILL
    assert ends[1] in (130, 0), "interrupted, or done before the signal was looked at"
    kept = len(list(broken.glob(".state/scan/*.npz")))
    assert 4 <= kept <= 8
    assert mutscan.scan(str(WILD_TYPE), out=broken, **common).exit_code == 0
    for name in FILES:
        assert (straight / name).read_bytes() == (broken / name).read_bytes(), name
    assert not [*broken.rglob("*.tmp")]


def test_a_damaged_batch_is_made_again(
    tiny_model: Path, fasta: Path, whole: mutscan.Run, tmp_path: Path
) -> None:
    before = {name: (whole.directory / name).read_bytes() for name in FILES}
    (stored,) = whole.directory.glob(".state/scan/*.npz")
    stored.write_bytes(stored.read_bytes()[:100])
    mutscan.scan(str(fasta), out=whole.directory, model=str(tiny_model), offline=True)
    assert before == {name: (whole.directory / name).read_bytes() for name in FILES}


def test_other_positions_need_another_folder(whole: mutscan.Run, fasta: Path, tiny_model: Path) -> None:
    with pytest.raises(RunFolderError, match="positions"):
        mutscan.scan(str(fasta), positions="1-5", out=whole.directory, model=str(tiny_model), offline=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_number_of_variants(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = []
    sizes: list[int] = []

    class Watched(scanning.ScanJob):
        def write_tables(self) -> None:
            # Rings of dead objects, as graphs are, are no growth: they are collected often.
            usual = gc.get_threshold()
            gc.collect()
            gc.set_threshold(500, 2, 2)
            tracemalloc.start()
            super().write_tables()
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            gc.set_threshold(*usual)

    monkeypatch.setattr(scanning, "ScanJob", Watched)
    for number, positions in enumerate(("1-4", "1-64", "1-128")):
        run = mutscan.scan(
            str(WILD_TYPE),
            positions=positions,
            out=tmp_path / str(number),
            model=str(tiny_model),
            offline=True,
        )
        with pq.ParquetFile(run.directory / "residues.parquet") as table:
            sizes.extend(table.metadata.row_group(i).num_rows for i in range(table.num_row_groups))
            assert table.metadata.num_rows == 147 * 19 * (4, 64, 128)[number]
    # One row more costs a summary line and its share of the heat map: kilobytes, not profiles.
    # The first scan only imports what all need.
    assert peaks[2] - peaks[1] < 64 * 19 * 147 * 4, "less than one float for each residue of each variant"
    assert max(sizes) <= 65_536


# What a user types and sees


def test_positions_are_read_and_written_back() -> None:
    assert parse_positions(" 94-96, 305 ,95", 400) == (94, 95, 96, 305)
    assert in_runs((94, 95, 96, 305)) == "94-96,305"
    assert parse_positions("1", 1) == (1,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0", "1 to 22"),
        ("20-23", "1 to 22"),
        ("9-3", "3-9"),
        ("a", "expected numbers"),
        ("", "expected numbers"),
        ("3,,4", "expected numbers"),
        ("-3", "expected numbers"),
    ],
)
def test_positions_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_positions(text, 22)


def test_hopeless_calls(fasta: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no standard residue"):
        mutscan.scan(str(fasta), positions="11", model=str(tiny_model), out=tmp_path / "x")
    (tmp_path / "long.fasta").write_text(">long\n" + "M" * 5001 + "\n")
    with pytest.raises(UsageError, match="at most 5000"):
        mutscan.scan(str(tmp_path / "long.fasta"), model=str(tiny_model), out=tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_command_line(tiny_model: Path, fasta: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mutscan", "scan", str(fasta), "--model", str(tiny_model), "--offline"]
    done = subprocess.run(
        [*command, "--positions", "2-4", "--out", str(tmp_path / "out"), "--json"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert len(rows) == 57
    assert rows[0]["variant"] == "K2A"
    assert isinstance(rows[0]["tm_predicted"], float)
    assert rows[0]["tm_measured"] is None
    assert "Least tolerant" in done.stderr
    assert not any(bar in done.stderr for bar in ("━", "\r"))
    wrong = subprocess.run([*command, "--positions", "99"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: --positions 99")
    assert len(wrong.stderr.splitlines()) == 1


def test_summary_and_report_fit(part: mutscan.Run, whole: mutscan.Run, tmp_path: Path) -> None:
    for run in (part, whole):
        console = Console(width=80, record=True, file=None, force_terminal=False, quiet=False, stderr=True)
        print_scan_summary(read_scan(run.directory), console)
        lines = console.export_text().splitlines()
        assert max(map(len, lines)) <= 80
        assert any("Most tolerant" in line for line in lines)
        regions = read_scan(run.directory).regions()
        assert any(line.split("  ")[0] == regions[0].name for line in lines)
        page = (run.directory / "report.html").read_text(encoding="utf-8")
        assert page == run.to_html(tmp_path / "again.html").read_text(encoding="utf-8")
        n_positions = run.metadata["scan"]["n_positions"]
        assert page.count("<tr data-open=") == n_positions
        assert "://" not in page
        assert run.metadata["scan"]["null_note"] in page


def test_a_double_mutant_is_predicted_jointly(tiny_model: Path, tmp_path: Path) -> None:
    """`score` never adds up what single substitutions do."""
    run = mutscan.score(
        str(WILD_TYPE),
        ["L38D", "H97A", "L38D;H97A"],
        out=tmp_path / "out",
        model=str(tiny_model),
        builder="none",
    )
    residues = run.residues
    drops = {
        variant: 1.0 - block["lddt_predicted"].to_numpy(dtype=np.float64)
        for variant, block in residues.groupby("variant")
    }
    summed = drops["L38D"] + drops["H97A"]
    assert np.abs(drops["L38D;H97A"] - summed).max() > 1e-4
    # It is the prediction of the double's own sequence.
    model = load_model(str(tiny_model), device="cpu", offline=True)
    sequence = example_sequence()
    double = f"{sequence[:37]}D{sequence[38:96]}A{sequence[97:]}"
    expected = model.predictor.compare(
        model.predictor.encode(model.encoder.embed_one(sequence), sequence),
        model.predictor.encode(model.encoder.embed_one(double), double),
    )
    np.testing.assert_allclose(1.0 - drops["L38D;H97A"], expected.lddt, atol=1e-6)


def test_nineteen_of_each() -> None:
    variants = substitutions("MKV", 2)
    assert [str(variant) for variant in variants] == [f"K2{new}" for new in STANDARD if new != "K"]
