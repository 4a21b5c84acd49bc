"""The Dockerfile of examples/container: what can be known without a daemon."""

import json
import re
import shlex
import tomllib

import pytest

from tests.places import ROOT

FOLDER = ROOT / "examples" / "container"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Name and value of each instruction, with continued lines joined and comments left out."""
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    split = [line.split(None, 1) for line in lines.splitlines() if line.strip()]
    return [(name, value) for name, value in split]


def last_stage() -> list[tuple[str, str]]:
    told = instructions()
    return told[max(place for place, (name, _) in enumerate(told) if name == "FROM") :]


def test_bases_are_pinned_to_a_python_that_mutscan_takes():
    bases = [value.split()[0] for name, value in instructions() if name == "FROM"]
    assert len(bases) == 2
    for base in bases:
        found = re.fullmatch(r"python:(3)\.(\d+)\.\d+-slim-\w+", base)
        assert found, base
        assert (int(found[1]), int(found[2])) >= (3, 11)


def test_it_runs_mutscan_as_an_ordinary_user():
    told = last_stage()
    users = [value for name, value in told if name == "USER"]
    assert users == ["1000:1000"], "a number, which Kubernetes can tell from root"
    assert any("useradd" in value and "--uid 1000" in value for name, value in told if name == "RUN")
    after = [name for name, _ in told][[name for name, _ in told].index("USER") :]
    assert "ENTRYPOINT" in after
    assert json.loads(dict(told)["ENTRYPOINT"]) == ["mutscan"]
    assert json.loads(dict(told)["CMD"]) == ["--help"]
    assert ("RUN", '["mutscan", "doctor"]') in told, "the build fails where the doctor does"


def test_all_that_the_build_needs_is_copied_and_nothing_of_this_machine_is_named():
    copied = {
        word
        for name, value in instructions()
        if name == "COPY" and not value.startswith("--from")
        for word in value.split()[:-1]
    }
    for name in copied:
        assert (ROOT / name).exists(), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= {name.split("/")[0] for name in (*build["packages"], *build["force-include"])}
    assert needed <= copied
    text = (FOLDER / "Dockerfile").read_text() + PAGE
    assert not re.search(r"/root/|/home/\w|/Users/|file://|localhost|\d+\.\d+\.\d+\.\d+", text)


def test_torch_is_the_one_that_mutscan_asks_for():
    (asked,) = re.findall(r'pip install "(torch[^"]*)"', (FOLDER / "Dockerfile").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert asked in project["dependencies"]


def test_the_cache_is_where_any_user_can_write():
    (env,) = [value for name, value in last_stage() if name == "ENV"]
    told = dict(pair.split("=", 1) for pair in env.split())
    assert told["MUTSCAN_CACHE_DIR"].startswith("/tmp/")
    assert f"-v mutscan-cache:{told['MUTSCAN_CACHE_DIR']}" in PAGE


COMMANDS = [
    shlex.split(re.split(r" mutscan(?::cuda|\.sif)? ", line, maxsplit=1)[1])
    for line in PAGE.splitlines()
    if re.match(r"    (docker|apptainer) run ", line)
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_of_the_page_is_understood(words: list[str]):
    from typer.main import get_command

    from mutscan.cli.app import app

    root = get_command(app)
    with root.make_context("mutscan", list(words)) as context:
        name, command, rest = root.resolve_command(context, list(words))
        with command.make_context(name, rest, parent=context):
            pass
    for word in words:
        if word.startswith("examples/"):
            assert (ROOT / word).is_file(), word


def test_there_are_commands_to_test():
    assert [words[0] for words in COMMANDS] == ["doctor", "score", "score", "score"]
