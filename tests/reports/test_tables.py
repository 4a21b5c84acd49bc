"""Tables and files of a saved run for ProteinGym, MaveDB, and other readers of structures and tables."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mavehgvs.variant import Variant as MaveVariant

import mutscan
from mutscan.errors import UsageError
from mutscan.inputs import read_variants
from mutscan.pipeline.reporting import write_report
from mutscan.reports.batch import is_batch
from mutscan.reports.tables import write_parquet
from mutscan.results import VARIANT_COLUMNS, VARIANT_SCHEMA
from mutscan.structures import read_structure
from tests.built_run import made_up_run
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch


def add_rows(run: Path, rows: list[dict[str, object]]) -> None:
    """Put rows at the end of variants.csv."""
    table = pd.read_csv(run / "variants.csv", dtype=str, keep_default_na=False)
    pd.concat([table, pd.DataFrame(rows, dtype=str)]).fillna("").to_csv(run / "variants.csv", index=False)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Eight scored substitutions, two bad rows, a joint mutant, a deletion and a selenocysteine."""
    run = make_run(tmp_path / "run", calibrated=True)
    described = json.loads((run / "run.json").read_text())
    sequence = described["wild_type"]["sequence"]
    described["wild_type"]["sequence"] = f"{sequence[:8]}U{sequence[9:]}"
    (run / "run.json").write_text(json.dumps(described))
    first, second, third = (f"{sequence[k]}{k + 1}" for k in (1, 4, 6))
    scored = {"status": "ok", "wild_type": "wild_type", "p_deleterious": "0.2500", "tm_predicted": "0.99"}
    add_rows(
        run,
        [
            {**scored, "variant": f"{first}W;{second}G"},
            {**scored, "variant": f"{third}del", "status": "partial"},
            {**scored, "variant": "U9C"},
        ],
    )
    return run


def test_proteingym_has_substitutions_and_a_score_that_is_higher_for_fitter_ones(run: Path) -> None:
    written = write_report(run, "proteingym", None, offline=True)
    assert written.path == run / "proteingym.csv"
    assert written.note.startswith("mutscan_score is 1 - p_deleterious: higher is fitter; 3 of 13 rows")
    table = pd.read_csv(written.path)
    assert [*table.columns] == ["mutant", "mutated_sequence", "mutscan_score"]
    variants = mutscan.Run(run).variants.set_index("variant")
    assert len(table) == 10
    for mutant, score in zip(table["mutant"], table["mutscan_score"], strict=True):
        assert score == pytest.approx(1 - variants.loc[mutant.replace(":", ";"), "p_deleterious"], abs=1e-9)
    sequence = mutscan.Run(run).metadata["wild_type"]["sequence"]
    joint = table[table["mutant"].str.contains(":")].iloc[0]
    assert [k + 1 for k in range(len(sequence)) if sequence[k] != joint["mutated_sequence"][k]] == [2, 5]
    # It can be given to mutscan again.
    assert [row.text for row in read_variants(written.path).rows] == table["mutant"].tolist()


def test_without_verdicts_the_score_is_z(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    written = write_report(run, "proteingym", tmp_path / "given.csv", offline=True)
    assert "mutscan_score is z_score: higher is fitter" in written.note
    scored = mutscan.Run(run).variants.dropna(subset="variant")
    assert pd.read_csv(written.path)["mutscan_score"].tolist() == scored["z_score"].tolist()


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", count=0)
    with pytest.raises(UsageError, match="no variant has p_deleterious or z_score"):
        mutscan.report(run, format="mavedb")
    with pytest.raises(UsageError, match="none of its variants can be written"):
        mutscan.report(run, format="mavehgvs")
    assert not [*run.glob("mave*")]


def test_mavedb_takes_the_score_set(run: Path) -> None:
    written = write_report(run, "mavedb", None, offline=True)
    assert "score is 1 - p_deleterious: higher is fitter; 3 of 13 rows are left out" in written.note
    table = pd.read_csv(written.path, keep_default_na=False)
    assert [*table.columns[:3]] == ["hgvs_pro", "score", "p_deleterious"]
    assert table["hgvs_pro"].is_unique
    assert "ddg_predicted" not in table, "a column without a value is not there"
    assert pd.read_csv(io.StringIO(written.path.read_text()))["score"].notna().all()
    assert (table["z_score"] == "NA").sum() == 2
    hgvs = table["hgvs_pro"].tolist()
    assert [str(MaveVariant(text)) for text in hgvs] == hgvs
    assert any(MaveVariant(text).is_multi_variant() for text in hgvs)
    assert any(text.endswith("del") for text in hgvs)


def test_mavehgvs_lists_one_variant_a_line(run: Path) -> None:
    lines = mutscan.report(run, format="mavehgvs").read_text().splitlines()
    assert len(lines) == 11 - 1
    assert [str(MaveVariant(line)) for line in lines] == lines


def test_structures_as_pdb_lie_beside_the_mmcif(tmp_path: Path) -> None:
    run = tmp_path / "run"
    made_up_run(run)
    names = {path.stem for path in (run / "structures").glob("*.cif")}
    assert len(names) > 1
    written = write_report(run, "pdb", None, offline=True)
    assert written.path == run / "structures"
    assert written.size == len(names)
    for name in names:
        cif, pdb = (read_structure(run / "structures" / f"{name}{ending}") for ending in (".cif", ".pdb"))
        assert pdb.sequence == cif.sequence
        np.testing.assert_allclose(pdb.coord, cif.coord, atol=1e-3)
        np.testing.assert_allclose(pdb.b_factor, cif.b_factor, atol=6e-5 if name != "wild_type" else 6e-3)
    elsewhere = tmp_path / "pdb"
    mutscan.report(run, format="pdb", out=elsewhere)
    assert {path.stem for path in elsewhere.glob("*.pdb")} == names


def test_no_structures_no_pdb(run: Path) -> None:
    with pytest.raises(UsageError, match="holds no structures; run mutscan score with a builder"):
        mutscan.report(run, format="pdb")


def test_parquet_holds_the_table_value_for_value(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", calibrated=True, carried={"gene": "007", "note": 'a,\n"b"'})
    path = mutscan.report(run, format="parquet")
    schema = pq.read_schema(path)
    assert schema.names == [*VARIANT_COLUMNS, "gene", "note"]
    assert [schema.field(name).type for name in VARIANT_COLUMNS] == VARIANT_SCHEMA.types
    assert schema.field("gene").type == pa.string()
    told, read = mutscan.Run(run).variants, pd.read_parquet(path)
    for column in VARIANT_COLUMNS:
        pd.testing.assert_series_equal(
            read[column].astype(object).where(read[column].notna(), None),
            told[column].astype(object).where(told[column].notna(), None),
            check_dtype=False,
        )
    assert set(read["gene"].dropna()) == {"007"}
    assert set(read["note"].dropna()) == {'a,\n"b"'}


def test_parquet_of_many_proteins_never_stands_in_for_the_table(tmp_path: Path) -> None:
    run = tmp_path / "batch"
    make_batch(run)
    assert is_batch(run)
    before = mutscan.report(run, format="html").read_text()
    path = mutscan.report(run, format="parquet")
    assert len(pd.read_parquet(path)) == len(mutscan.BatchRun(run).variants)
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    assert mutscan.report(run, format="html").read_text() == before
    with pytest.raises(UsageError, match="many proteins, drawn as html and parquet only; for mavedb give"):
        mutscan.report(run, format="mavedb")


def test_a_scan_of_many_has_its_parquet_already(tmp_path: Path) -> None:
    pq.write_table(pa.table({"variant": ["A1C"]}), tmp_path / "variants.parquet")
    write_parquet(tmp_path, tmp_path / "variants.parquet")
    write_parquet(tmp_path, tmp_path / "copy.parquet")
    assert (tmp_path / "copy.parquet").read_bytes() == (tmp_path / "variants.parquet").read_bytes()


def test_damaged_rows_are_named(run: Path) -> None:
    text = (run / "variants.csv").read_text()
    (run / "variants.csv").write_text(text.replace(",0.2500,", ",a quarter,"))
    with pytest.raises(UsageError, match=r"variants\.csv: cannot be read"):
        mutscan.report(run, format="parquet")
    assert not (run / "variants.parquet").exists()
