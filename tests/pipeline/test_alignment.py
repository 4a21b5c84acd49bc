"""A given alignment in the pipeline: evidence, column, run.json and log, in score, scan and check."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

import mutscan
from mutscan.errors import RunFolderError, UsageError
from mutscan.evidence.calibration import CALIBRATION_FILE
from mutscan.pipeline import check
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.verdict import UNUSED
from tests import fake_services
from tests.made_up_calibration import calibrate_tiny_model
from tests.places import GLOBIN

if TYPE_CHECKING:
    from pathlib import Path

WILD_TYPE = str(GLOBIN / "wild_type.cif")
VARIANTS = ("L38D", "L38V", "P147A", "L38D;K40E", "K40del", "D1D")
FIRST, LAST = 11, 140
HERE = "globin.a3m 11-140, 2.0 sequences"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def sequence() -> str:
    return resolve_wild_type(WILD_TYPE, offline=True).sequence


@pytest.fixture(scope="module")
def unaware(tiny_model: Path, sequence: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated model with a library and no evidence of alignments."""
    return calibrate_tiny_model(
        tiny_model, tmp_path_factory.mktemp("unaware") / "tiny", family=sequence[:140]
    )


@pytest.fixture(scope="module")
def aware(tiny_model: Path, sequence: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with tiers that weigh the rank in an alignment."""
    model = calibrate_tiny_model(tiny_model, tmp_path_factory.mktemp("aware") / "tiny", family=sequence[:140])
    path = model / CALIBRATION_FILE
    document = json.loads(path.read_text())
    tiers = document["tiers"]
    tiers |= {
        "aligned": copy.deepcopy(tiers["sequence"]),
        "aligned_structure": copy.deepcopy(tiers["structure"]),
    }
    for tier in tiers.values():
        tier["model"]["curves"]["aligned_rank"] = {"knots": [0.0, 1.0], "logits": [3.0, -3.0], "missing": 0.0}
    path.write_text(json.dumps(document))
    return model


@pytest.fixture(scope="module")
def alignment(sequence: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a part of the protein: two rows that are nearly the same, and one that has V at position 38."""
    own = sequence[FIRST - 1 : LAST]
    at = 38 - FIRST
    with_v = own[:at] + "V" + own[at + 1 :].replace("D", "E").replace("R", "K").replace("L", "I")
    rows = {"globin/11-140": own, "a": own[:60] + "W" + own[61:], "b": with_v, "junk": "W" * len(own)}
    path = tmp_path_factory.mktemp("alignment") / "globin.a3m"
    path.write_text("".join(f">{name}\n{row}\n" for name, row in rows.items()))
    return path


def score(model: Path, out: Path, alignment: str | Path = "auto") -> dict[str, dict[str, str]]:
    run = mutscan.score(
        WILD_TYPE, VARIANTS, out=out, model=str(model), builder="none", offline=True, alignment=alignment,
    )  # fmt: skip
    return rows_of(run)


def rows_of(run: mutscan.Run) -> dict[str, dict[str, str]]:
    with (run.directory / "variants.csv").open(newline="", encoding="utf-8") as stream:
        return {row["input"]: row for row in csv.DictReader(stream)}


def test_a_model_without_such_a_tier_says_that_it_did_not_use_the_alignment(
    unaware: Path, alignment: Path, tmp_path: Path
) -> None:
    given = score(unaware, tmp_path / "given", alignment)
    library = score(unaware, tmp_path / "library", "library")
    assert library == score(unaware, tmp_path / "auto")
    for name, row in given.items():
        assert (UNUSED in row["notes"]) == (row["status"] != "skipped"), name
        before = library[name]
        assert UNUSED not in before["notes"]
        assert {**row, "notes": ""} == {**before, "notes": ""}
    assert UNUSED in (tmp_path / "given" / "log.txt").read_text()
    assert library["L38D"]["alignment"] == "library, 100 sequences"
    assert library["P147A"]["alignment"] == "library, 1 sequence"
    assert library["K40del"]["alignment"] == library["D1D"]["alignment"] == ""


def test_a_model_that_weighs_it_takes_it_where_it_reaches(
    aware: Path, alignment: Path, tmp_path: Path
) -> None:
    given = score(aware, tmp_path / "given", alignment)
    library = score(aware, tmp_path / "library")
    # Two of the three rows are more than 80 % identical and weigh a half each.
    assert given["L38D"]["alignment"] == given["L38D;K40E"]["alignment"] == HERE
    assert given["P147A"]["alignment"] == "library, 1 sequence"
    assert given["K40del"]["alignment"] == ""
    p = {name: float(row["p_deleterious"] or "nan") for name, row in given.items()}
    before = {name: float(row["p_deleterious"] or "nan") for name, row in library.items()}
    assert p["L38V"] < before["L38V"], "a relative carries V"
    assert p["L38D"] > before["L38D"]
    assert not any(UNUSED in row["notes"] for row in given.values())
    told = mutscan.Run(tmp_path / "given").evidence.set_index(["variant", "evidence"])["value"]
    assert told["L38V", "alignment"].startswith("mutant residue carried by a relative of ")
    assert told["L38D", "alignment"].startswith("mutant residue carried by no relative; ")
    assert told["P147A", "alignment"] == "not known"


def test_run_json_and_the_log_tell_what_was_read(aware: Path, alignment: Path, tmp_path: Path) -> None:
    score(aware, tmp_path / "out", alignment)
    text = (tmp_path / "out" / "run.json").read_text()
    assert str(alignment.parent) not in text
    said = json.loads(text)
    assert said["arguments"]["alignment"] == "globin.a3m"
    assert said["alignment"] == {
        "source": "globin.a3m",
        "sha256": hashlib.sha256(alignment.read_bytes()).hexdigest(),
        "first": FIRST,
        "last": LAST,
        "rows_read": 4,
        "rows_short": 0,
        "rows_distant": 1,
        "differing": [],
        "rows_kept": 3,
        "effective": 2.0,
    }
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "alignment globin.a3m, positions 11-140: 4 rows read, 0 too short, 1 too distant, 3 kept" in log


def test_scan_and_score_say_the_same(aware: Path, alignment: Path, tmp_path: Path) -> None:
    run = mutscan.scan(
        WILD_TYPE, positions="38,147", out=tmp_path / "scan", model=str(aware), offline=True,
        alignment=alignment,
    )  # fmt: skip
    scanned, scored = rows_of(run), score(aware, tmp_path / "score", alignment)
    for variant in ("L38D", "L38V", "P147A"):
        for column in ("alignment", "p_deleterious", "flag", "evidence", "notes"):
            assert scanned[variant][column] == scored[variant][column], column


def test_a_run_is_not_continued_with_another_alignment(aware: Path, alignment: Path, tmp_path: Path) -> None:
    score(aware, tmp_path / "out", alignment)
    score(aware, tmp_path / "out", alignment)
    with pytest.raises(RunFolderError, match="alignment"):
        score(aware, tmp_path / "out", "library")


def test_a_dry_run_reads_the_alignment(aware: Path, alignment: Path, tmp_path: Path) -> None:
    plan = check(WILD_TYPE, VARIANTS, model=str(aware), builder="none", alignment=alignment, offline=True)
    assert plan.relatives is not None
    assert "effective number 2.0" in plan.relatives.words
    assert check(WILD_TYPE, VARIANTS, model=str(aware), builder="none", offline=True).relatives is None
    with pytest.raises(UsageError, match="no such file"):
        check(WILD_TYPE, VARIANTS, model=str(aware), alignment=tmp_path / "none.a3m", offline=True)


def test_auto_takes_the_alignment_of_alphafold_db_where_there_is_one(
    aware: Path, unaware: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fake_services.SEQUENCE
    file = f"/files/msa/AF-{fake_services.ACCESSION}-F1-msa_v6.a3m"

    def score_entry(out: str, model: Path = aware, **more: object) -> mutscan.Run:
        return mutscan.score(
            fake_services.ACCESSION, ["K2R"], out=tmp_path / out, model=str(model), builder="none", **more
        )  # fmt: skip

    with fake_services.running() as service:
        service.protein()
        monkeypatch.setenv("MUTSCAN_UNIPROT_URL", service.url)
        monkeypatch.setenv("MUTSCAN_AFDB_URL", service.url)
        page = fake_services.prediction(service.url, msaUrl=service.url + file)
        service.json(f"/api/prediction/{fake_services.ACCESSION}", [page])
        score_entry("unaware", unaware)
        score_entry("library", alignment="library")
        assert file not in service.paths, "nothing needs it"
        absent = score_entry("absent")
        note = f"AlphaFold DB has no alignment of {fake_services.ACCESSION}, the library is used"
        assert absent.metadata["alignment"] == {"note": note}
        assert (absent.directory / "log.txt").read_text().count(note) == 1
        assert rows_of(absent)["K2R"]["alignment"].startswith("library")
        monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
        rows = "".join(f">UniRef90_{x}\nM{x}{own[2:]}\n" for x in "RHQ")
        service.on(file, fake_services.Reply(200, f">{fake_services.ACCESSION}\n{own}\n{rows}".encode()))
        run = score_entry("fetched")
    assert rows_of(run)["K2R"]["alignment"] == "AlphaFold DB, 1.0 sequences"
    told = run.metadata["alignment"]
    assert (told["source"], told["version"], told["rows_kept"]) == ("AlphaFold DB", "6", 4)
    again = score_entry("again", offline=True)
    assert rows_of(again) == rows_of(run)
    before = rows_of(absent)
    continued = score_entry("absent", offline=True)
    assert rows_of(continued) == rows_of(run)
    p = [float(rows["K2R"]["p_deleterious"]) for rows in (before, rows_of(run))]
    assert p[1] < p[0]
