"""Columns of whole proteins: the very cells of single rows, and proteins prepared together."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mutscan
from mutscan.alignments.source import relatives_for
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.evidence.sequence import sequence_hash
from mutscan.files import cache_dir
from mutscan.model import inverse_folding as room
from mutscan.model.inverse_folding import load_inverse_folding
from mutscan.pipeline import proteome
from mutscan.pipeline.alphamissense import AlphaMissense
from mutscan.pipeline.columns import scan_columns, substitutions
from mutscan.pipeline.network import LoadedModel, WildTypePredictor, load_model
from mutscan.pipeline.options import Options
from mutscan.pipeline.plan import MAX_LENGTH, resolve_wild_type
from mutscan.pipeline.proteome import scan_protein
from mutscan.pipeline.rows import Assembler
from mutscan.pipeline.scanning import scanned_positions
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge
from mutscan.results import VARIANT_COLUMNS, VARIANT_SCHEMA, format_cell, write_variants
from mutscan.structures import WildType
from tests.made_up_calibration import calibrate_tiny_model, ddg_entry
from tests.made_up_folding import made_up_package
from tests.places import GLOBIN

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def _package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with made_up_package(tmp_path_factory.mktemp("package")):
        yield


@pytest.fixture(scope="module")
def protein() -> WildType:
    return resolve_wild_type(str(GLOBIN / "wild_type.cif"), offline=True)


@pytest.fixture(scope="module")
def model(
    tiny_model: Path, protein: WildType, _package: None, tmp_path_factory: pytest.TempPathFactory
) -> LoadedModel:
    """One that weighs alignments where they are, knows the proteins, and was made on short ones."""
    target = calibrate_tiny_model(
        tiny_model,
        tmp_path_factory.mktemp("calibrated") / "tiny",
        longest=100,
        family=protein.sequence[:120],
        aligned=True,
        ddg=ddg_entry(room.WEIGHTS_SHA256),
    )
    path = target / CALIBRATION_FILE
    document = json.loads(path.read_text())
    document["proteins"]["P2"] = [sequence_hash(protein.sequence), 2, "fit"]
    path.write_text(json.dumps(document))
    return load_model(str(target), device="cpu", offline=True)


def check_columns(
    model: LoadedModel, protein: WildType, folder: Path, alignment: str = "library", folds: bool = False
) -> list[dict[str, str]]:
    """Hold the columns against `Judge.judge` and `Assembler`, written as variants.csv is; return its rows."""
    values = np.random.default_rng(0).random((len(protein.sequence), 20))
    alphamissense = AlphaMissense(np.where(values < 0.1, np.nan, values))
    judge = Judge(
        model,
        WildTypePredictor(model, protein.sequence),
        protein,
        "scan",
        load_inverse_folding() if folds else None,
        relatives_for(protein, alignment),
    )
    assembler = Assembler(protein, None, alphamissense, SubdomainCaller(protein, None).contexts)
    positions = scanned_positions(protein, None)
    variants = [v for position in positions for v in substitutions(protein.sequence, position)]
    rows = [
        {"input": str(v), "wild_type": protein.name, **assembler.judged_row(v, verdict)}
        for v, verdict in zip(variants, judge.judge(variants), strict=True)
    ]
    write_variants(folder / "variants.csv", rows)
    table = scan_columns(judge, assembler, alphamissense, positions)
    pq.write_table(table, folder / "variants.parquet")
    table = pq.read_table(folder / "variants.parquet")
    assert table.schema == VARIANT_SCHEMA
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        written = list(csv.DictReader(stream))
    assert len(table) == len(written) == 19 * len(positions)
    for column in VARIANT_COLUMNS:
        cells = [row[column] for row in written]
        read = table[column].to_pylist()
        assert [format_cell(column, value) for value in read] == cells, column
        if VARIANT_SCHEMA.field(column).type in ("double", "int32"):
            assert read == [float(cell) if cell else None for cell in cells], column
        else:
            assert read == [cell or None for cell in cells], column
    return written


def test_columns_of_a_sequence_are_its_rows(model: LoadedModel, protein: WildType, tmp_path: Path) -> None:
    sequence = "M" + protein.sequence[1:20] + "X" + protein.sequence[21:]
    own = sequence[30:130]
    relative = "".join("A" if place % 3 == 0 else letter for place, letter in enumerate(own))
    (tmp_path / "p.a3m").write_text(f">p\n{own}\n>q\n{relative}\n")
    rows = check_columns(model, WildType(name="=p", sequence=sequence), tmp_path, str(tmp_path / "p.a3m"))
    assert len({row["flag"] for row in rows}) == 3
    assert not any(row["positions"] == "21" for row in rows)
    assert all(row["wild_type"] == "'=p" for row in rows)
    assert {row["alignment"][:7] for row in rows} == {"p.a3m 3", "library"}
    assert {"alignment evidence" in row["flag_rule"] for row in rows} == {True, False}
    assert not any(row["ddg_predicted"] for row in rows)


def test_columns_of_a_structure_are_its_rows(model: LoadedModel, protein: WildType, tmp_path: Path) -> None:
    assert protein.structure is not None
    assert protein.structure_index is not None
    index = protein.structure_index.copy()
    index[49] = -1
    plddt = np.full(len(protein.structure), 90.0)
    plddt[37] = 40.25
    structure = dataclasses.replace(protein.structure, plddt=plddt, modified=((int(index[59]), "DTY"),))
    changed = dataclasses.replace(
        protein, structure=structure, structure_index=index, differences=((49, 49),)
    )
    rows = check_columns(model, changed, tmp_path, folds=True)
    at = {int(row["positions"]): row for row in rows}
    assert "pLDDT 40 at the site" in at[38]["notes"]
    assert at[38]["confidence"] == "low"
    assert at[38]["plddt_site"] == "40.25"
    assert "no coordinates" in at[50]["notes"]
    assert "at position 50, where the sequence has" in at[50]["notes"]
    assert "is DTY, a D-amino acid" in at[60]["notes"]
    assert not any("D-amino acid" in row["notes"] for row in rows if row["positions"] != "60")
    assert at[50]["ddg_predicted"] == ""
    assert at[38]["ddg_predicted"] != ""
    assert "calibration covers proteins of up to 100" in at[38]["notes"]
    assert "used to calibrate" in at[38]["notes"]
    assert {"structure evidence" in row["flag_rule"] for row in rows} == {True, False}


@pytest.mark.parametrize("tiers", [True, False])
def test_columns_without_probabilities(
    tiers: bool, tiny_model: Path, protein: WildType, tmp_path: Path
) -> None:
    folder = tiny_model
    if tiers:  # made for another encoder
        folder = calibrate_tiny_model(tiny_model, tmp_path / "m", revision="sha256:0123")
    rows = check_columns(load_model(str(folder), device="cpu", offline=True), protein, tmp_path)
    assert not any(row["p_deleterious"] or row["flag"] or row["evidence"] for row in rows)
    assert all("no flag" in row["notes"] for row in rows)


def test_a_scan_of_one_protein_writes_the_same_cells(
    model: LoadedModel, protein: WildType, tmp_path: Path
) -> None:
    text = "X" + protein.sequence[1:40]
    (tmp_path / "p.fasta").write_text(f">p\n{text}\n")
    scan = mutscan.scan(
        str(tmp_path / "p.fasta"), out=tmp_path / "scan", model=str(model.path), offline=True,
        predict="probability",
    )  # fmt: skip
    score = mutscan.score(
        str(tmp_path / "p.fasta"), [str(v) for v in substitutions(text, 9)],
        out=tmp_path / "score", model=str(model.path), offline=True, builder="none", predict="probability",
    )  # fmt: skip
    table = scan_protein(model, WildType(name="p", sequence=text), Options(offline=True)).to_pylist()
    cells = {row["variant"]: [format_cell(name, row[name]) for name in VARIANT_COLUMNS] for row in table}
    for run, n in ((scan, 19 * 39), (score, 19)):
        with (run.directory / "variants.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert len(rows) == n
        for row in rows:
            assert [row[name] for name in VARIANT_COLUMNS] == cells[row["variant"]]


def test_prepared_proteins_have_the_numbers_of_single_ones(model: LoadedModel, protein: WildType) -> None:
    sequences = [protein.sequence, protein.sequence[20:90], "MKTAYIAK", protein.sequence[::-1]]
    alone = [(model.embedding(s), model.family_profile(s)) for s in sequences]
    kept = sorted(cache_dir().rglob("*"))
    model.prepare([*sequences, sequences[1]])
    for sequence, (embedding, profile) in zip(sequences, alone, strict=True):
        held = model.family_profile(sequence)
        assert model.embedding(sequence).tobytes() == embedding.tobytes()
        assert held is model.family_profile(sequence)
        assert held is not None
        assert profile is not None
        for name in ("frequencies", "sequences", "families", "gaps"):
            assert getattr(held, name).tobytes() == getattr(profile, name).tobytes()
    model.prepare(sequences[:1])  # another group has it, too
    model.forget([*sequences, sequences[1]])
    assert model.embedding(sequences[0]) is model.embedding(sequences[0])
    model.forget(sequences[:1])
    assert not model._prepared
    assert not model._holds
    assert sorted(cache_dir().rglob("*")) == kept, "nothing is written to the user's cache"


def test_proteins_are_prepared_in_order_and_forgotten(
    model: LoadedModel, protein: WildType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proteome, "GROUP_RESIDUES", 100)
    texts = ["MKTAYIAKQR", "", protein.sequence[:60], "A" * (MAX_LENGTH + 1), protein.sequence, "MKTAYIAKQR"]
    for beside in (True, False):
        for place, text in enumerate(proteome.prepared(model, iter(texts), str, beside=beside)):
            assert text == texts[place]
            assert (text in model._prepared) == (0 < len(text) <= MAX_LENGTH)
            assert len(model._prepared) <= 4, "what was judged is forgotten"
        assert not model._prepared
