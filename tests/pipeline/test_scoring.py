"""Score, check and compare end to end, on the example protein with a tiny untrained model."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
import pytest

import mutscan
from mutscan.cli.check import check_rows
from mutscan.errors import (
    FetchError,
    RunFolderError,
    StructureError,
    UsageError,
    VariantError,
    WrongFolderError,
)
from mutscan.pipeline import check
from mutscan.progress import Silent
from mutscan.results import RESIDUE_COLUMNS, VARIANT_COLUMNS
from mutscan.structures import read_structure
from tests import fake_services
from tests.places import GLOBIN

EXAMPLE = GLOBIN
WILD_TYPE = str(EXAMPLE / "wild_type.cif")


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> mutscan.Run:
    """One full run of good, odd and bad lines with the template builder."""
    folder = tmp_path_factory.mktemp("run")
    table = folder / "in.csv"
    table.write_text(
        "gene,mutation,status\n"
        "HBA,L38D,a\n"
        "HBA,p.(Glu113Lys),b\n"
        "=cmd(),E10K;K144E,c\n"
        "HBA,L38D,again\n"
        "HBA,p.Lys40del,d\n"
        "HBA,A33A,e\n"
        "HBA,R999G,f\n"
        "HBA,W38A,g\n"
        "HBA,what is this?,h\n"
    )
    return mutscan.score(
        WILD_TYPE,
        variants_file=table,
        variant_column="mutation",
        out=folder / "out",
        model=str(tiny_model),
        builder="template",
        jobs=1,
        offline=True,
    )


def test_one_row_for_each_line_in_order(run: mutscan.Run) -> None:
    rows = rows_of(run.directory)
    assert [*rows[0]] == [*VARIANT_COLUMNS, "gene", "status_input"]
    assert [row["input"] for row in rows] == [
        "L38D", "p.(Glu113Lys)", "E10K;K144E", "L38D", "p.Lys40del", "A33A", "R999G", "W38A", "what is this?",
    ]  # fmt: skip
    assert [(row["status"], row["error_code"]) for row in rows] == [
        ("ok", ""),
        ("ok", ""),
        ("ok", ""),
        ("ok", ""),
        ("partial", "indel_not_built"),
        ("skipped", "synonymous"),
        ("failed", "position_out_of_range"),
        ("failed", "wild_type_mismatch"),
        ("failed", "bad_variant"),
    ]
    assert [row["status_input"] for row in rows] == ["a", "b", "c", "again", "d", "e", "f", "g", "h"]
    assert rows[2]["gene"] == "'=cmd()"
    assert run.exit_code == 3
    assert run.counts == {"failed": 3, "ok": 4, "partial": 1, "skipped": 1}


def test_failed_rows_hold_words_and_no_numbers(run: mutscan.Run) -> None:
    scored = [c for c in VARIANT_COLUMNS if c.startswith(("tm_", "lddt_", "ca_", "z_"))]
    for row in rows_of(run.directory):
        if row["status"] in ("failed", "skipped"):
            assert row["message"]
            assert not any(row[column] for column in scored)
    mismatch = next(row for row in rows_of(run.directory) if row["input"] == "W38A")
    assert "W" in mismatch["message"]
    assert "L" in mismatch["message"]
    assert "38" in mismatch["message"]
    assert "line 9" in mismatch["message"]


def test_equal_variants_get_equal_rows(run: mutscan.Run) -> None:
    first, *_, again = (row for row in rows_of(run.directory) if row["input"] == "L38D")
    assert {**first, "status_input": ""} == {**again, "status_input": ""}


def test_scores_are_where_they_belong(run: mutscan.Run) -> None:
    rows = {row["variant"]: row for row in rows_of(run.directory) if row["variant"]}
    single = rows["L38D"]
    for column in ("tm_predicted", "tm_measured", "lddt_measured_mean", "lddt_predicted_site"):
        assert 0 < float(single[column]) <= 1
    for column in ("tm_percentile", "lddt_percentile"):
        assert 0 <= float(single[column]) <= 100
    assert float(single["ca_shift_max"]) >= float(single["ca_shift_site"]) >= 0
    assert single["flag"] == single["flag_rule"] == single["p_deleterious"] == ""
    assert "no calibrated rule (mutscan train calibrate makes it)" in single["notes"]
    assert single["hgvs"] == "p.Leu38Asp"
    indel = rows["K40del"]
    assert indel["tm_predicted"]
    assert not any(indel[c] for c in ("tm_measured", "lddt_predicted_site", "lddt_measured_site"))
    assert rows["E10K;K144E"]["positions"] == "10;144"
    assert rows["E10K;K144E"]["structure_number"] == "14;148"
    assert [rows[name]["structure_number"] for name in ("L38D", "K40del")] == ["42", "44"]
    assert rows["E10K;K144E"]["n_substitutions"] == "2"


def test_residues_cover_each_scored_variant_once(run: mutscan.Run) -> None:
    residues = run.residues
    assert tuple(residues.columns) == RESIDUE_COLUMNS
    assert residues.groupby("variant").size().to_dict() == dict.fromkeys(
        ("L38D", "E113K", "E10K;K144E", "K40del"), 147
    )
    one = residues[residues.variant == "L38D"]
    assert one.structure_number.iloc[0] == "5"
    assert one.loc[one.position == 38, ["wild_type", "mutant"]].to_numpy().tolist() == [["L", "D"]]
    assert one.lddt_measured.notna().all()
    gone = residues[(residues.variant == "K40del") & (residues.position == 40)].iloc[0]
    assert gone.mutant == "-"
    assert pd.isna(gone.lddt_predicted)


def test_structures_hold_the_measured_lddt(run: mutscan.Run) -> None:
    mutant = read_structure(run.directory / "structures" / "L38D.cif")
    assert mutant.sequence[37] == "D"
    residues = run.residues
    expected = residues[residues.variant == "L38D"].lddt_measured.to_numpy()
    by_residue = np.array([mutant.b_factor[mutant.atoms_of(i)][0] for i in range(len(mutant))])
    np.testing.assert_allclose(by_residue, expected, atol=0.006)
    for name in ("wild_type.cif", "E10K_K144E.cif", "view.pml", "view.cxc"):
        assert (run.directory / "structures" / name).is_file()


def test_run_json_traces_everything(run: mutscan.Run) -> None:
    stored = run.metadata
    assert stored["model"]["sha256"]
    assert stored["model"]["encoder_revision"]
    assert stored["wild_type"]["sequence_sha256"]
    assert stored["wild_type"]["structure_sha256"]
    assert stored["builder"][0]["name"] == "template"
    assert stored["records"][0]["sha256"]
    assert stored["counts"]["ok"] == 4
    assert len(stored["null"]) == 64
    assert (run.directory / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert "mutscan" in (run.directory / "log.txt").read_text()


def _same_results(one: Path, other: Path) -> None:
    names = [
        "variants.csv",
        "residues.parquet",
        *(f"structures/{p.name}" for p in (one / "structures").iterdir()),
    ]
    assert sorted(p.name for p in (one / "structures").iterdir()) == sorted(
        p.name for p in (other / "structures").iterdir()
    )
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


COMMAND_VARIANTS = ["I14V", "L38D", "A33P", "H97A", "K144R", "E10K;K144E", "A114W", "A143E"]


def _command(model: Path, out: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "mutscan", "score", WILD_TYPE, *COMMAND_VARIANTS, "--model", str(model),
        "--builder", "template", "--offline", "--jobs", "2", "--out", str(out), *more,
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_anywhere_and_repeated_gives_the_same(tiny_model: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    assert subprocess.run(_command(tiny_model, whole), check=False, capture_output=True).returncode == 0
    broken = tmp_path / "broken"
    kills = 0
    for stored in (1, 3, 6):  # killed when so many parts were on disk
        process = subprocess.Popen(
            _command(tiny_model, broken), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            done = len(list((broken / ".state").glob("measured/*.npz"))) if broken.exists() else 0
            if done >= stored:
                process.send_signal(signal.SIGKILL)
                kills += process.wait() == -signal.SIGKILL
                break
            time.sleep(0.01)
    assert kills >= 1
    finished = subprocess.run(_command(tiny_model, broken), check=False, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    _same_results(whole, broken)
    leftovers = [p for p in broken.rglob("*.tmp")]
    assert not leftovers


def test_scores_do_not_depend_on_the_other_variants(tiny_model: Path, tmp_path: Path) -> None:
    common = {"model": str(tiny_model), "builder": "none", "offline": True}
    alone = mutscan.score(WILD_TYPE, ["L38D"], out=tmp_path / "alone", **common)
    crowd = mutscan.score(WILD_TYPE, [*COMMAND_VARIANTS[::-1]], out=tmp_path / "crowd", **common)
    (one,) = rows_of(alone.directory)
    (same,) = (row for row in rows_of(crowd.directory) if row["variant"] == "L38D")
    assert one == same
    assert one["status"] == "ok"
    assert one["tm_measured"] == ""


def test_sequence_only(tiny_model: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "p.fasta"
    fasta.write_text(">prot some words\nMKTAYIAKQRQISFVKSHFSRQ\n")
    run = mutscan.score(str(fasta), ["K2R"], out=tmp_path / "out", model=str(tiny_model), offline=True)
    (row,) = rows_of(run.directory)
    assert row["status"] == "ok"
    assert row["tm_measured"] == ""
    assert "sequence only" in row["notes"]
    assert row["wild_type"] == "prot"
    assert run.exit_code == 0


def test_a_mismatched_numbering_is_hinted_at(tiny_model: Path, tmp_path: Path) -> None:
    # the numbers of the PDB file, 4 higher
    plan = check(WILD_TYPE, ["L42D", "H101A", "I18V"], model=str(tiny_model), builder="none")
    assert {row.status for row in plan.rows} == {"failed"}
    assert all(row.error is not None and "-4" in row.error.message for row in plan.rows)


def test_no_row_scored_is_exit_code_4(tiny_model: Path, tmp_path: Path) -> None:
    run = mutscan.score(
        WILD_TYPE, ["W1A"], out=tmp_path / "out", model=str(tiny_model), builder="none", offline=True
    )
    assert run.exit_code == 4
    assert len(run.variants) == 1
    assert len(run.residues) == 0


def test_folder_of_own_mutants(run: mutscan.Run, tiny_model: Path, tmp_path: Path) -> None:
    mutants = tmp_path / "mine"
    mutants.mkdir()
    (mutants / "L38D.cif").write_bytes((run.directory / "structures" / "L38D.cif").read_bytes())
    own = mutscan.score(
        WILD_TYPE, ["L38D", "H97A"], out=tmp_path / "out", model=str(tiny_model), builder=str(mutants), jobs=1
    )
    rows = {row["variant"]: row for row in rows_of(own.directory)}
    theirs = {row["variant"]: row for row in rows_of(run.directory)}
    assert float(rows["L38D"]["tm_measured"]) == pytest.approx(float(theirs["L38D"]["tm_measured"]), abs=1e-4)
    assert rows["H97A"]["status"] == "partial"
    assert rows["H97A"]["error_code"] == "structure_missing"


def test_reference_prefix_of_another_protein_fails(tiny_model: Path, tmp_path: Path) -> None:
    fasta = tmp_path / "p.fasta"
    fasta.write_text(">P04637\nMKTAYIAKQRQISFVKSHFSRQ\n")
    plan = check(str(fasta), ["P38398:K2R", "P04637:p.Lys2Arg"], model=str(tiny_model))
    assert [row.status for row in plan.rows] == ["failed", "planned"]


@pytest.mark.parametrize(
    ("wild_type", "variants", "error", "words"),
    [
        ("nowhere.pdb", ["A1G"], UsageError, "no such file"),
        ("no name", ["A1G"], UsageError, "is neither a file nor a name that is known"),
        (WILD_TYPE, [], UsageError, "no variants"),
    ],
)
def test_hopeless_calls(wild_type: str, variants: list[str], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        check(wild_type, variants)


def test_another_job_in_the_folder_is_refused(run: mutscan.Run, tiny_model: Path) -> None:
    with pytest.raises(RunFolderError, match="another job"):
        mutscan.score(
            WILD_TYPE, ["L38D"], out=run.directory, model=str(tiny_model), builder="none", offline=True
        )


class Notes(Silent):
    """Keep what a user would read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_another_list_does_not_take_the_place_of_the_first(tiny_model: Path, tmp_path: Path) -> None:
    common = {"out": tmp_path / "out", "model": str(tiny_model), "builder": "none", "offline": True}
    path = Path(WILD_TYPE)
    run, told = mutscan.score(path, ["L38D", "H97A"], **common), Notes()
    before = (run.directory / "variants.csv").read_bytes()
    assert repr(run) == f"<Run {run.directory}: 2 ok>"
    with pytest.raises(WrongFolderError) as caught:
        mutscan.score(path, ["E10K"], **common)
    assert caught.value.exit_code == 2
    assert "variants: L38D to H97A (2 rows, " in caught.value.message
    assert " there, E10K (1 row, " in caught.value.message
    assert "{" not in caught.value.message
    with pytest.raises(WrongFolderError, match=r"another job \(builder: none there, template now\)"):
        mutscan.score(path, ["L38D", "H97A"], **{**common, "builder": "template"})
    assert (run.directory / "variants.csv").read_bytes() == before
    mutscan.score(path, ["L38D", "H97A"], **common, progress=told)
    assert told.notes == [f"continuing the run in {run.directory}: what is finished there is kept"]
    assert (run.directory / "variants.csv").read_bytes() == before
    told = Notes()
    mutscan.score(path, ["E10K"], **common, restart=True, progress=told)
    assert told.notes == []
    assert [row["variant"] for row in rows_of(run.directory)] == ["E10K"]


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    assert repr(mutscan.Run(tmp_path)) == f"<Run {tmp_path}: not finished>"


def test_rows_of_both_numberings_and_of_chance(tiny_model: Path, tmp_path: Path) -> None:
    """What the plan found stands in the rows: both numbers, and low confidence where a match is chance."""
    common = {"model": str(tiny_model), "builder": "none", "offline": True, "predict": "probability"}
    shifted = ["R16A", "D21A", "E10R", "L42D", "H101A", "I18V"]
    run = mutscan.score(WILD_TYPE, shifted, out=tmp_path / "sequence", **common)
    (good,) = (row for row in rows_of(run.directory) if row["status"] == "ok")
    assert good["confidence"] == "low"
    assert good["notes"].startswith("confidence low: matches as written, but perhaps by chance")
    assert "confidence medium" not in good["notes"]
    assert "residue 14 of the file is position 10" in good["notes"]
    strict = mutscan.score(WILD_TYPE, shifted, out=tmp_path / "strict", strict=True, **common)
    assert {row["error_code"] for row in rows_of(strict.directory)} == {"wild_type_mismatch"}
    assert strict.exit_code == 4
    author = mutscan.score(WILD_TYPE, shifted, out=tmp_path / "author", numbering="author", **common)
    assert [row["variant"] for row in rows_of(author.directory)] == [
        "R12A", "D17A", "E6R", "L38D", "H97A", "I14V",
    ]  # fmt: skip
    assert author.metadata["arguments"]["numbering"] == "author"
    assert all("of the file is position" in row["notes"] for row in rows_of(author.directory))
    numbers = [row["structure_number"] for row in rows_of(author.directory)]
    assert numbers == ["16", "21", "10", "42", "101", "18"]
    assert author.variants["structure_number"].tolist() == numbers  # text, as 82A is


def test_bytes_that_are_no_text_cost_one_row_or_nothing(tiny_model: Path, tmp_path: Path) -> None:
    common = {"model": str(tiny_model), "builder": "none", "offline": True, "predict": "probability"}
    run = mutscan.score(WILD_TYPE, ["L38D", "L38\udcff"], out=tmp_path / "out", **common)
    good, bad = rows_of(run.directory)
    assert good["status"] == "ok"
    assert (bad["input"], bad["error_code"]) == ("L38\\udcff", "bad_variant")
    assert "'L38\\udcff': read '\\udcff' after L38" in bad["message"]
    for arguments in ({"out": tmp_path / "o\udcff"}, {"variants_file": tmp_path / "v\udcff", "out": "o"}):
        with pytest.raises(UsageError, match=r"\\udcff: the name has bytes that are no UTF-8 text"):
            mutscan.score(WILD_TYPE, ["L38D"], **arguments, **common)
    with pytest.raises(UsageError, match="no UTF-8 text"):
        mutscan.score("w\udcff.pdb", ["L38D"], out=tmp_path / "p", **common)
    assert not (tmp_path / "p").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder(tiny_model: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(RunFolderError, match="permission"):
        mutscan.score(WILD_TYPE, ["L38D"], out=tmp_path / "x", model=str(tiny_model), builder="none")


def test_compare_with_itself_and_sequence_only(tiny_model: Path, tmp_path: Path) -> None:
    same = mutscan.compare(WILD_TYPE, WILD_TYPE, model=str(tiny_model), offline=True)
    assert same.tm_predicted == pytest.approx(1.0, abs=1e-6)
    assert same.tm_measured == pytest.approx(1.0, abs=1e-6)
    assert same.n_aligned == 147
    assert same.residues.lddt_measured.min() == pytest.approx(1.0)
    assert same.lddt_predicted_mean == pytest.approx(1.0, abs=1e-5)
    fasta = tmp_path / "p.fasta"
    fasta.write_text(">p\n" + "DCCSYEDRREIRHIWDDVWSSSFTDRRVAIVRAVFDDLFKHY\n")
    part = mutscan.compare(WILD_TYPE, str(fasta), model=str(tiny_model), offline=True)
    assert part.alignment == "sequence"
    assert part.tm_measured is None
    assert part.identity == 1.0
    assert part.n_aligned == 42
    json.dumps(part.to_dict(), allow_nan=False)


def test_errors_are_exported() -> None:
    assert issubclass(VariantError, mutscan.MutscanError)
    assert issubclass(StructureError, mutscan.MutscanError)


def test_an_accession_is_fetched_once_and_then_works_offline(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = {"model": str(tiny_model), "builder": "none"}
    with fake_services.running() as service:
        service.protein()
        monkeypatch.setenv("MUTSCAN_UNIPROT_URL", service.url)
        monkeypatch.setenv("MUTSCAN_AFDB_URL", service.url)
        with pytest.raises(FetchError):
            mutscan.score(fake_services.ACCESSION, ["K2R"], out=tmp_path / "none", offline=True, **common)
        run = mutscan.score(fake_services.ACCESSION, ["K2R", "p.Lys8Glu"], out=tmp_path / "online", **common)
    again = mutscan.score(
        fake_services.ACCESSION, ["K2R", "p.Lys8Glu"], out=tmp_path / "offline", offline=True, **common
    )
    assert run.exit_code == 0
    assert (run.directory / "variants.csv").read_bytes() == (again.directory / "variants.csv").read_bytes()
    rows = rows_of(run.directory)
    assert rows[0]["wild_type"] == fake_services.ACCESSION
    assert float(rows[0]["plddt_site"]) > 0
    assert {record["source"] for record in run.metadata["records"]} >= {"UniProt"}
    assert all(record["sha256"] for record in run.metadata["records"])


def test_what_the_structure_notes_is_told_once(tiny_model: Path, tmp_path: Path) -> None:
    model = gemmi.read_structure(str(WILD_TYPE))
    for residue in model[0][0]:
        for atom in residue:
            atom.b_iso = 10.0 + residue.seqid.num % 40  # as a predicted model has them
    model.write_pdb(str(tmp_path / "wild.pdb"))
    run = mutscan.score(
        str(tmp_path / "wild.pdb"), ["L38D"], out=tmp_path / "out", model=str(tiny_model), builder="none",
        offline=True,
    )  # fmt: skip
    notes = run.metadata["wild_type"]["notes"]
    assert sum("not read as pLDDT" in note for note in notes) == 1
    assert len(notes) == len(set(notes))


def test_verdicts_on_a_few_come_first_and_are_those_of_the_table(project: Path, tmp_path: Path) -> None:
    told = Notes()
    variants = ["H97A", "E10K;K144E", "K40del", "A33A"]
    done = mutscan.score(WILD_TYPE, variants, out=tmp_path, builder="none", offline=True, progress=told)
    single, joint, indel, _ = rows_of(done.directory)
    first, second = told.notes
    assert (
        first
        == f"H97A: likely deleterious ({float(single['p_deleterious']):.2f}); scores of its structure follow"
    )
    assert second.startswith(f"E10K;K144E: {joint['flag']} ({float(joint['p_deleterious']):.2f}), as ")
    assert indel["flag"] == ""


@pytest.mark.parametrize("structure", [True, False])
@pytest.mark.parametrize("builder", ["template", "none"])
def test_the_dry_run_foretells_the_status(
    structure: bool, builder: str, tiny_model: Path, tmp_path: Path
) -> None:
    wild_type = WILD_TYPE
    if not structure:
        wild_type = str(tmp_path / "g.fasta")
        Path(wild_type).write_text(f">g\n{read_structure(WILD_TYPE).sequence}\n")
    asked = {"model": str(tiny_model), "builder": builder, "offline": True}
    variants = ["L38D", "E10K;K144E", "K40del", "W38A", "A33A"]
    foretold = [row["status"] for row in check_rows(check(wild_type, variants, **asked))]
    run = mutscan.score(wild_type, variants, out=tmp_path / "out", **asked)
    assert foretold == [row["status"] for row in rows_of(run.directory)]
