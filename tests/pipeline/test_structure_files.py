"""What is read of a structure file reaches the rows: pLDDT on request, and what stands at a site."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mutscan
from mutscan.cli.app import app
from mutscan.errors import StructureError, UsageError
from mutscan.pipeline import check
from mutscan.structures import write_structure
from tests.peptides import helix

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQLE"


def rows_of(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return {row["input"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model without a header: B factors 60, 61 ... by residue."""
    path = tmp_path / "ranked_0.pdb"
    write_structure(helix(SEQUENCE), path, b_factor=[60.0 + k for k in range(len(SEQUENCE))])
    return path


def fasta(folder: Path, sequence: str) -> Path:
    path = folder / "protein.fa"
    path.write_text(f">sp|P12345|TEST_HUMAN Test protein GN=TEST\n{sequence}\n")
    return path


def test_plddt_of_a_file_that_does_not_say_so(tmp_path: Path, model_file: Path, tiny_model: Path) -> None:
    def score(name: str, **more: object) -> dict[str, str]:
        run = mutscan.score(
            str(model_file), ["K2W"], out=tmp_path / name, model=str(tiny_model), builder="none",
            offline=True, **more,
        )  # fmt: skip
        return rows_of(run.directory)["K2W"]

    assert score("without")["plddt_site"] == ""
    row = score("with", plddt=True)
    assert float(row["plddt_site"]) == 61
    assert row["confidence"] == "low"
    assert "pLDDT 61 at the site" in row["notes"]
    with pytest.raises(mutscan.errors.MutscanError):  # another job
        score("without", plddt=True)


def test_plddt_of_a_structure_for_a_sequence_and_of_a_batch(
    tmp_path: Path, model_file: Path, tiny_model: Path
) -> None:
    sequence = fasta(tmp_path, SEQUENCE)
    plan = check(
        str(sequence), ["K2W"], structure=model_file, plddt=True, model=str(tiny_model), offline=True
    )
    assert plan.wild_type.structure is not None
    assert plan.wild_type.structure.plddt is not None
    assert plan.wild_type.structure.plddt[1] == 61
    (tmp_path / "structures").mkdir()
    model_file.rename(tmp_path / "structures" / "one.pdb")
    table = tmp_path / "table.csv"
    table.write_text("protein,variant\none,K2W\n")
    run = mutscan.batch(
        table, structures_dir=tmp_path / "structures", plddt=True, out=tmp_path / "batch",
        model=str(tiny_model), offline=True,
    )  # fmt: skip
    assert float(rows_of(run.directory)["K2W"]["plddt_site"]) == 61


def test_plddt_needs_a_structure_file_that_can_hold_it(
    tmp_path: Path, model_file: Path, tiny_model: Path
) -> None:
    sequence = fasta(tmp_path, SEQUENCE)
    with pytest.raises(UsageError, match="--plddt is about the B factors of a structure file"):
        check(str(sequence), ["K2W"], plddt=True, model=str(tiny_model), offline=True)
    table = tmp_path / "table.csv"
    table.write_text("protein,variant\none,K2W\n")
    with pytest.raises(UsageError, match=r"--plddt .* add --structures-dir"):
        mutscan.batch(table, sequences=sequence, plddt=True, out=tmp_path / "b", model=str(tiny_model))
    crystal = tmp_path / "crystal.pdb"
    crystal.write_text("EXPDTA    X-RAY DIFFRACTION\n" + model_file.read_text())
    with pytest.raises(StructureError, match="states an experiment"):
        check(str(crystal), ["K2W"], plddt=True, model=str(tiny_model), offline=True)
    done = CliRunner().invoke(app, ["check", str(crystal), "K2W", "--plddt", "--offline"])
    assert done.exit_code == 2
    assert "are no pLDDT" in done.stderr


def test_rows_say_what_stands_at_their_site(tmp_path: Path, tiny_model: Path) -> None:
    structure = tmp_path / "x.pdb"
    write_structure(helix(SEQUENCE), structure)
    lines = structure.read_text().splitlines()
    renamed = {" 5 ": ("TYR", "DTY"), "13 ": ("SER", "SEP")}
    for place, (name, other) in renamed.items():
        lines = [
            line.replace(name, other) if line.startswith("ATOM") and line[24:27] == place else line
            for line in lines
        ]
    structure.write_text("\n".join(line for line in lines if not line.startswith("SEQRES")) + "\n")
    sequence = fasta(tmp_path, SEQUENCE[:7] + "E" + SEQUENCE[8:])
    run = mutscan.score(
        str(sequence), ["Y5W", "S13W", "E8W", "T3W"], structure=structure, out=tmp_path / "run",
        model=str(tiny_model), builder="template", jobs=1, offline=True,
    )  # fmt: skip
    rows = rows_of(run.directory)
    assert "residue 5 of the structure is DTY, a D-amino acid, scored as L-Y" in rows["Y5W"]["notes"]
    assert "residue 13 of the structure is SEP, scored as S" in rows["S13W"]["notes"]
    words = "x has K (residue 8) at position 8, where the sequence has E"
    assert words in rows["E8W"]["notes"]
    assert (rows["E8W"]["status"], rows["E8W"]["error_code"]) == ("partial", "structure_mismatch")
    assert words in rows["E8W"]["message"]
    assert "of the structure is" not in rows["T3W"]["notes"]
    assert rows["T3W"]["wild_type"] == "P12345"
    shown = CliRunner().invoke(
        app,
        [
            "check",
            str(sequence),
            "E8W",
            "--structure",
            str(structure),
            "--offline",
            "--model",
            str(tiny_model),
        ],
    )
    assert f"predict; {words}" in shown.stdout
    assert "1 residue is a D-amino acid, read and scored as the L form: DTY 5" in shown.stderr
