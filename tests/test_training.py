"""The recipes in training/: what they name exists, and their --smoke paths run end to end."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.main import get_command

import mutscan
from mutscan.cli.train import app
from mutscan.model.config import PRESETS
from mutscan.train.chains.splits import SPLITS
from mutscan.train.model.config import TRAIN_PRESETS, TrainConfig, read_config
from tests.example_pages import assert_files, assert_pictures, blocks
from tests.places import ROOT

TRAINING = ROOT / "training"
SCRIPTS = sorted([*TRAINING.rglob("*.sh"), *TRAINING.rglob("*.sbatch")])
SETTINGS = sorted(TRAINING.rglob("*.toml"))
PROTT5 = TRAINING / "prott5"
LESSON = ROOT / "examples" / "train_your_own"
VARIABLES = ("STEPS", "SEED", "MINE", "WILD_TYPES", "TM_VEC", "JOBS", "NODES", "NODE")  # that recipes read


def named(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(TRAINING)) for path in paths]


# What they name ------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS, ids=named(SCRIPTS))
def test_scripts_are_valid_shell(script: Path) -> None:
    checked = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def commands(script: Path) -> list[list[str]]:
    """Words of each ``mutscan train`` command, with all options that its arrays may bring."""
    text = script.read_text(encoding="utf-8").replace("\\\n", " ")
    arrays: dict[str, str] = {}
    for name, words in re.findall(r"^\s*(\w+)=\((.*)\)$", text, flags=re.MULTILINE):
        arrays[name] = f"{arrays.get(name, '')} {words}"
    found = []
    for line in text.splitlines():
        if re.match(r"\s*(mutscan|torchrun\b.* -m mutscan) train ", line):
            for name, words in [*arrays.items()] * 2:  # an array may hold another
                line = line.replace(f'"${{{name}[@]}}"', words)
            line = re.sub(r"\$\{\w+:\+(.*?)\}(?= )", r"\1", line)  # options that are there when a variable is
            found.append(shlex.split(line.split("||")[0]))
    return found


def options_of(command: str) -> set[str]:
    group = get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


def split_torchrun(words: list[str]) -> tuple[list[str], list[str]]:
    start = words.index("train")
    return words[:start], words[start + 1 :]


@pytest.mark.parametrize("script", SCRIPTS, ids=named(SCRIPTS))
def test_commands_know_their_options(script: Path) -> None:
    for line in commands(script):
        launcher, (command, *words) = split_torchrun(line)
        given = {word for word in words if word.startswith("--")}
        assert given <= options_of(command), f"{command}: {given - options_of(command)}"
        needed = {
            parameter.opts[0] for parameter in get_command(app).commands[command].params if parameter.required
        }  # type: ignore[attr-defined]
        assert needed <= given
        if launcher[0] == "torchrun":
            from torch.distributed.run import get_args_parser

            known = get_args_parser()._option_string_actions
            assert {word for word in launcher if word.startswith("--")} <= set(known)


def test_the_recipes_hold_the_commands_they_are_made_of() -> None:
    assert [split_torchrun(line)[1][0] for line in commands(TRAINING / "mutscan-mini" / "run.sh")] == [
        "encoder", "dataset", "model", "families", "calibrate", "affected", "evaluate",
    ]  # fmt: skip
    first, second = (commands(PROTT5 / name) for name in ("run.sh", "torchrun.sh"))
    assert [split_torchrun(line)[1][0] for line in first] == ["dataset", "model", "evaluate"]
    assert [split_torchrun(line)[1][0] for line in second] == ["model", "evaluate"]
    # Both train and evaluate with the same words, but for the device.
    for one, other in zip(first[1:], second, strict=True):
        assert _without_device(split_torchrun(one)[1]) == _without_device(split_torchrun(other)[1])


def _without_device(words: list[str]) -> list[str]:
    return [w for w in words if w not in ("--device", "--offline", "cpu", "cuda", "${DEVICE:-auto}")]


def test_files_that_are_named_are_there() -> None:
    files = [*SCRIPTS, *TRAINING.rglob("README.md"), TRAINING / "smoke_data.py"]
    for file in files:
        for name in re.findall(
            r"\btraining/[\w./-]+\.(?:sh|sbatch|py|toml)\b", file.read_text(encoding="utf-8")
        ):
            assert (ROOT / name).is_file(), f"{file}: {name}"


@pytest.mark.parametrize("settings", SETTINGS, ids=named(SETTINGS))
def test_settings_are_accepted(settings: Path) -> None:
    assert isinstance(read_config(settings), TrainConfig)


def differences(first: TrainConfig, second: TrainConfig) -> set[str]:
    one, other = asdict(first), asdict(second)
    return {name for name in one if one[name] != other[name]}


def test_the_replica_is_the_paper() -> None:
    config = read_config(PROTT5 / "paper.toml")
    assert config.net == PRESETS["paper"]
    assert differences(config, TRAIN_PRESETS["paper"]) <= {"chunk_residues", "validate_every", "precision"}


def test_fine_tuning_changes_the_encoder_and_sizes_only() -> None:
    improved, finetune = (read_config(PROTT5 / f"{name}.toml") for name in ("improved", "finetune"))
    assert differences(improved, finetune) == {
        "batch_residues", "chunk_residues", "steps", "warmup", "memory_from",
        "encoder_rate", "encoder_layers", "recompute",
    }  # fmt: skip
    # As many chunks as a node has GPUs: each has one to encode.
    assert improved.batch_residues // improved.chunk_residues >= 8
    assert finetune.batch_residues // finetune.chunk_residues >= 8


# That they run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A PATH with this interpreter's `mutscan`, `python3` and `torchrun`, as in a user's environment."""
    folder = tmp_path_factory.mktemp("bin")
    for name, words in (
        ("python3", ""),
        ("mutscan", "-m mutscan"),
        ("torchrun", "-m torch.distributed.run"),
    ):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    scratch = tmp_path_factory.mktemp("scratch")
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name not in ("STEPS", "SEED", "MINE", "TM_VEC")
        },
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(scratch),
        "MUTSCAN_CACHE_DIR": str(scratch / "cache"),
        "OMP_NUM_THREADS": "1",
        # A network would be noticed: every address is behind a proxy that is not there.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of its own, in which nothing else happens meanwhile."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(TRAINING, root / "training", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def smoke(clone: Path, script: str, elsewhere: Path, environment: dict[str, str], *words: str) -> str:
    """Run a recipe from another folder: nothing appears there, and nothing in the checkout."""
    before = contents(clone)
    finished = subprocess.run(
        ["bash", str(clone / "training" / script), "--smoke", *words],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1500,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert contents(clone) == before
    assert not list(elsewhere.iterdir())
    return finished.stdout


def check_model(model: Path, report: Path) -> dict:
    for name in ("config.json", "model.safetensors", "metrics.json", "splits.csv", "encoder/config.json"):
        assert (model / name).stat().st_size, name
    evaluation = report.parent
    assert report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html")
    assert len(pd.read_parquet(evaluation / "predictions.parquet"))
    metrics = json.loads((evaluation / "metrics.json").read_text(encoding="utf-8"))
    for section in ("tm", "lddt"):
        low, high = metrics["pairs"][section]["mae_ci"]
        assert low <= metrics["pairs"][section]["mae"] <= high
    assert metrics["data"]["split"] == "test"
    assert metrics["data"]["disjoint_from_training"] == "proteins and clusters"
    return metrics


@pytest.mark.slow
def test_mini_smoke(clone: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    said = smoke(clone, "mutscan-mini/run.sh", tmp_path, environment)
    model, report = (Path(path) for path in re.findall(r"^model: (.*); report: (.*)$", said, re.MULTILINE)[0])
    assert str(model).startswith(environment["TMPDIR"])
    metrics = check_model(model, report)
    assert metrics["pairs"]["n"] > 20
    work = model.parent
    assert json.loads((work / "encoder" / "config.json").read_text())["model_type"] == "esm"
    assert json.loads((work / "more" / "dataset.json").read_text())["picked_as"]["mutant"] == 4
    settings = json.loads((model / "config.json").read_text())["training"]["settings"]
    recipe = read_config(TRAINING / "mutscan-mini" / "config.toml")
    assert settings["sampler"] == recipe.sampler
    assert settings["net"]["length_exponent"] == recipe.net.length_exponent
    check_lesson(work, model)


def check_lesson(work: Path, model: Path) -> None:
    """What examples/train_your_own says of this run is true."""
    families = shutil.which("mmseqs") is not None
    expected = (LESSON / "expected" / "model_files.txt").read_text(encoding="utf-8").split()
    got = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert got == {name for name in expected if families or name != "families.npz"}
    for table in (LESSON / "tables").glob("*.csv"):
        made = work / "input" / ("pairs.csv" if table.stem == "pairs" else f"variants/{table.name}.gz")
        assert [*pd.read_csv(made)] == [*pd.read_csv(table)], table.name
    calibration = json.loads((model / "calibration.json").read_text(encoding="utf-8"))
    assert 0.7 < calibration["tiers"]["sequence"]["test"]["auroc"] < 0.9
    wild_type, *variants = shlex.split(blocks(LESSON / "README.md", "sh")[1])[2:5]
    options = {"builder": "none", "device": "cpu", "offline": True}
    protein = str(work / Path(wild_type).relative_to("my-training"))
    judged = mutscan.score(protein, variants, model=str(model), out=work / "judged", **options).variants
    assert judged["p_deleterious"].between(0, 1).all()
    assert judged["flag"].isin(["deleterious", "uncertain", "tolerated"]).all()
    assert judged["n_residues_affected"].notna().all()
    for name in ("calibration.json", "affected.json"):
        (model / name).unlink()
    bare = mutscan.score(protein, variants, model=str(model), out=work / "bare", **options)
    assert bare.variants[["flag", "p_deleterious", "n_residues_affected"]].isna().all(axis=None)
    (note,) = blocks(LESSON / "README.md")
    assert bare.variants["notes"].str.contains(note.strip(), regex=False).all()
    page = (bare.directory / "report.html").read_text(encoding="utf-8")
    for command in ("mutscan train calibrate", "mutscan train affected"):
        assert command in page


def test_the_lesson_shows_what_it_names() -> None:
    assert_files(LESSON / "README.md")
    assert_pictures(LESSON / "README.md")
    text = (LESSON / "README.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(tables/[^`]+|training/[^`]+)`", text):
        assert (LESSON / name).exists() or (ROOT / name).exists(), name
    assert {f"tables/{path.name}" for path in (LESSON / "tables").iterdir()} <= {
        *re.findall(r"`(tables/[^`]+)`", text)
    }


@pytest.mark.slow
def test_prott5_smoke(clone: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    work, elsewhere = tmp_path / "work", tmp_path / "elsewhere"
    elsewhere.mkdir()
    smoke(clone, "prott5/run.sh", elsewhere, environment, str(work))
    model = work / "prott5-paper-seed0"
    metrics = check_model(model, work / "evaluation-paper-seed0" / "report.html")
    assert metrics["model"]["encoder"].startswith("t5/")
    made = json.loads((work / "dataset" / "dataset.json").read_text())
    assert made["counts"]["failed"] == 0
    assert made["settings"]["lddt_exponent"] == 3.0
    assert min(made["splits"][split] for split in SPLITS) > 20
    settings = json.loads((model / "config.json").read_text())["training"]["settings"]
    assert settings["sampler"] == "pairs"
    assert settings["loss"]["alpha"] == 0.7

    # Two processes, on the data set that is there.
    shards = (work / "dataset" / "dataset.json").stat().st_mtime_ns
    smoke(clone, "prott5/torchrun.sh", elsewhere, environment, str(work))
    assert (work / "dataset" / "dataset.json").stat().st_mtime_ns == shards
    model = work / "prott5-improved-seed0"
    metrics = check_model(model, work / "evaluation-improved-seed0" / "report.html")
    settings = json.loads((model / "config.json").read_text())["training"]["settings"]
    assert settings["sampler"] == "connected"
    assert settings["net"]["d_match"] > 0
