"""examples/notebook runs from top to bottom without a network, and shows the whole Python API."""

import shutil
from pathlib import Path

import pytest

import mutscan
from tests.example_pages import EXAMPLES, assert_files, assert_pictures
from tests.places import ROOT

nbformat = pytest.importorskip("nbformat", reason="nbclient and ipykernel are in the extra 'test'")
NotebookClient = pytest.importorskip("nbclient").NotebookClient

PAGE = EXAMPLES / "notebook" / "README.md"
NOTEBOOK = PAGE.with_name("mutscan.ipynb")


def test_the_page_and_the_notebook_are_in_order():
    assert_files(PAGE)
    assert_pictures(PAGE)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)


def test_the_notebook_names_every_function():
    text = NOTEBOOK.read_text(encoding="utf-8")
    functions = [name for name in mutscan.__all__ if callable(getattr(mutscan, name)) and name.islower()]
    assert {"score", "scan", "batch", "merge", "report"} <= {*functions}
    for name in functions:
        assert f"mutscan.{name}" in text, name


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("globin", "panel", "notebook"):
        shutil.copytree(EXAMPLES / name, tmp_path / name)
    folder = tmp_path / "notebook"
    (folder / "picture.png").unlink()
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):  # a request would be noticed
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    notebook = nbformat.read(folder / NOTEBOOK.name, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    shown = [*(kind for output in outputs for kind in output.get("data", {}))]
    assert shown.count("image/png") == 2
    assert "application/3dmoljs_load.v0" in shown
    assert (folder / "picture.png").stat().st_size > 10_000
    assert mutscan.open_run(folder / "globin-run").counts == {"ok": 4}
    printed = "".join(output.get("text", "") for output in outputs)
    assert "expected H at position 101" in printed
