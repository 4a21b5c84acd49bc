"""`mutscan mcp` in a process of its own, asked by the SDK's own client over stdin and stdout."""

import builtins
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import mutscan
from mutscan.cli.assistant import MOST_VARIANTS, Assistant, make_server
from mutscan.errors import MissingDependencyError, UsageError
from tests.fabricated import make_run
from tests.fabricated_batch import make_batch
from tests.places import ROOT

GLOBIN = ROOT / "examples" / "globin" / "wild_type.cif"


def ask(folder: Path, questions: Callable[[Client], Awaitable[None]]) -> None:
    """Start a server on a folder and ask it."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mutscan", "mcp", "--folder", str(folder), "--offline"],
        env={name: os.environ[name] for name in ("PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ},
        cwd=ROOT,
    )

    async def main() -> None:
        async with Client(stdio_client(server)) as client:
            await questions(client)

    anyio.run(main)


async def answer(client: Client, tool: str, **given: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, given)
    assert not result.is_error, result.content[0].text
    assert json.loads(result.content[0].text) == result.structured_content
    return result.structured_content


async def refusal(client: Client, tool: str, **given: Any) -> str:
    result = await client.call_tool(tool, given)
    assert result.is_error
    return result.content[0].text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a run and a structure, beside it things that must stay out of reach."""
    folder = tmp_path / "served"
    make_run(folder / "old", calibrated=True)
    shutil.copy(GLOBIN, folder / "globin.cif")
    make_run(tmp_path / "secret", calibrated=True)
    shutil.copy(GLOBIN, tmp_path / "secret.cif")
    (folder / "way_out").symlink_to(tmp_path / "secret")
    (folder / "link.cif").symlink_to(tmp_path / "secret.cif")
    make_run(folder / "leaky", calibrated=True)
    (folder / "leaky" / "run.json").unlink()
    (folder / "leaky" / "run.json").symlink_to(tmp_path / "secret" / "run.json")
    return folder


@pytest.mark.slow
def test_check_score_and_explain(folder: Path) -> None:
    async def questions(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"list_runs", "check", "score", "explain"}
        assert set(tools["score"].input_schema["required"]) == {"wild_type", "variants"}
        assert all(tool.description for tool in tools.values())

        checked = await answer(client, "check", wild_type="globin.cif", variants=["p.His97Ala", "L29P"])
        assert checked["length"] == 147
        assert [row["status"] for row in checked["variants"]] == ["ok", "failed"]
        assert checked["variants"][1]["error_code"] == "wild_type_mismatch"
        assert not (folder / "new").exists()

        scored = await answer(
            client, "score", wild_type="globin.cif", variants=["H97A"], run="new", builder="none"
        )
        assert scored["run"] == "new"
        assert scored["headline"].startswith("The variant of ")
        run = mutscan.Run(folder / "new")
        assert scored["variants"][0]["p_deleterious"] == run.variants["p_deleterious"][0]

        explained = await answer(client, "explain", run="new", variant="p.His97Ala")
        assert explained["row"] == scored["variants"][0]
        assert explained["row"]["sentence"].startswith("H97A: ")
        assert len(explained["evidence"]) == len(run.evidence)
        assert explained["regions"][0]["where"].startswith("residue")

        listed = await answer(client, "list_runs")
        assert [one["run"] for one in listed["runs"]] == ["new", "old"]
        assert listed["runs"][0]["counts"] == run.counts

    ask(folder, questions)


def test_errors_come_back_as_errors_of_the_tool_and_the_server_goes_on(folder: Path) -> None:
    async def questions(client: Client) -> None:
        assert "outside of the folder" in await refusal(client, "explain", run="../secret", variant="A1C")
        assert "no such run folder" in await refusal(client, "explain", run="none", variant="A1C")
        told = await refusal(client, "explain", run="old", variant="A1C")
        assert "has no variant A1C; scored there: " in told
        assert told.endswith("(usage)")
        assert "(bad_variant)" in await refusal(client, "explain", run="old", variant="nonsense")
        assert "1 validation error" in await refusal(client, "explain", run="old")
        assert "expected 1 to" in await refusal(client, "check", wild_type="globin.cif", variants=[])
        told = await refusal(client, "score", wild_type="globin.cif", variants=["H97A"], builder="/tmp")
        assert "builder" in told
        assert (await answer(client, "list_runs"))["runs"][0]["run"] == "old"

    ask(folder, questions)


@pytest.mark.parametrize(
    "path",
    ["../secret.cif", "link.cif", "way_out/structures/x.cif", "/etc/passwd", "~/x.cif", "a\0.cif", "."],
)
def test_no_file_outside_of_the_folder_is_read(path: str, folder: Path) -> None:
    assistant = Assistant(folder, offline=True)
    words = "no such file in the folder" if path in ("~/x.cif", ".") else "outside of the folder"
    with pytest.raises(UsageError, match=words):
        assistant.check(path, ["H97A"])
    with pytest.raises(UsageError, match=words):
        assistant.check("P04637", ["R175H"], structure=path)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ("../new", "outside of the folder"),
        ("way_out", "outside of the folder"),
        ("way_out/new", "outside of the folder"),
        ("old/../../secret", "outside of the folder"),
        ("leaky", "holds a link out of the folder of this server \\(run.json\\)"),
        (".", "expected the name of a run folder"),
    ],
)
def test_no_run_outside_of_the_folder_is_read_or_written(run: str, words: str, folder: Path) -> None:
    before = sorted(folder.parent.rglob("*"))
    assistant = Assistant(folder, offline=True)
    with pytest.raises(UsageError, match=words):
        assistant.explain(run, "A1C")
    with pytest.raises(UsageError, match=words):
        assistant.score("globin.cif", ["H97A"], run=run)
    assert sorted(folder.parent.rglob("*")) == before


def test_one_protein_of_many_is_explained_and_listed_with_its_run(tmp_path: Path) -> None:
    make_batch(tmp_path / "batch")
    make_run(tmp_path / "batch" / "proteins" / "mine", calibrated=True)
    assistant = Assistant(tmp_path)
    assert [run["run"] for run in assistant.list_runs()["runs"]] == ["batch"]
    variant = mutscan.Run(tmp_path / "batch" / "proteins" / "mine").variants["variant"][0]
    explained = assistant.explain("batch/proteins/mine", variant)
    assert explained["row"]["variant"] == variant
    assert {piece["evidence"] for piece in explained["evidence"]} == {"burial", "exchange"}
    assert {region["region"] for region in explained["regions"]} == {"F helix", "Globin domain", "helix 1"}


def test_bounds_are_told(folder: Path) -> None:
    assistant = Assistant(folder, offline=True)
    with pytest.raises(UsageError, match=f"expected 1 to {MOST_VARIANTS} in one call"):
        assistant.check("globin.cif", ["H97A"] * (MOST_VARIANTS + 1))
    with pytest.raises(UsageError, match="no such folder"):
        make_server(folder / "none")


def test_without_the_sdk_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "mcp":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mutscan\[mcp\]'"):
        make_server(folder)
