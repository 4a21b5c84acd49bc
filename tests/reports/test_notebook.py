"""The view of a mutant in a notebook: what py3Dmol is told."""

import json
import re
from pathlib import Path

import pytest

import mutscan
from mutscan.errors import UsageError
from tests.built_run import made_up_run


def calls(run: mutscan.Run, variant: str | None = None) -> list[tuple[str, str]]:
    """Calls of the 3Dmol.js viewer, name and arguments, as the page would make them."""
    page = run.view(variant).write_html()
    return re.findall(r"viewer_?\w*\.(\w+)\((.*?)\);\n", page)


@pytest.fixture
def run(tmp_path: Path) -> mutscan.Run:
    made_up_run(tmp_path / "run")
    return mutscan.Run(tmp_path / "run")


def test_both_structures_and_the_site_are_shown(run: mutscan.Run) -> None:
    variants = run.variants
    chosen = variants.sort_values("p_deleterious", ascending=False)["variant"].iloc[-1]
    told = calls(run, chosen)
    assert [name for name, _ in told].count("addModel") == 2
    residues = run.residues.query("variant == @chosen")
    position = int(variants.set_index("variant").loc[chosen, "positions"])
    site = int(residues.set_index("position").loc[position, "structure_number"])
    sticks = [json.loads(f"[{words}]") for name, words in told if name == "addStyle"]
    assert [(where["model"], where["resi"]) for where, _ in sticks] == [(1, [site]), (0, [site])]
    coloured = [json.loads(f"[{words}]") for name, words in told if name == "setStyle"]
    affected = residues.query("affected")["structure_number"].astype(int).tolist()
    assert [where["resi"] for where, _ in coloured if "resi" in where] == ([affected] if affected else [])


def test_a_mutant_that_was_not_built_is_named(run: mutscan.Run) -> None:
    with pytest.raises(UsageError, match="no structure of W1A; built: "):
        run.view("W1A")
