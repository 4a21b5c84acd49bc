"""view.pml and view.cxc: PyMOL itself runs the first, what the second says is held against the run."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from mutscan.errors import UsageError
from mutscan.reports.views import LABEL, LOADED, label_text, view_script, write_views
from tests.built_run import FIRST, SEQUENCE, made_up_run

HOSTILE = 'α-loop; "quit", `reinitialize` <b>\n@evil.pml, UniProt'
PYMOL = shutil.which("pymol", path="/usr/local/bin:/usr/bin:/bin") or shutil.which("pymol")


def pymol(script: Path, question: str, elsewhere: Path) -> str:
    """Run a script in PyMOL without a window, from another folder; returns its log."""
    if PYMOL is None:
        pytest.skip("PyMOL is not installed here (Debian: apt-get install pymol)")
    # Debian's wrapper asks the first python3 on the path, which has to be Debian's own.
    environment = {**os.environ, "PATH": f"/usr/bin:/bin:{os.environ['PATH']}", "HOME": str(elsewhere)}
    done = subprocess.run(
        [PYMOL, "-cq", str(script), "-d", question],
        capture_output=True, text=True, cwd=elsewhere, env=environment, timeout=120,
    )  # fmt: skip
    log = done.stdout + done.stderr
    if "No module named 'pymol'" in log:
        pytest.skip("the pymol command found here has no Python module pymol")
    return log


def answers(log: str, word: str) -> list[list[str]]:
    return [line.split()[1:] for line in log.splitlines() if line.startswith(f"{word} ")]


COUNT = """python
for name in cmd.get_names("all"):
    print("COUNT", name, cmd.count_atoms("%" + name))
for name in cmd.get_object_list():
    seen = set()
    cmd.iterate(name, "seen.add((round(b, 3), color))", space={"seen": seen, "round": round})
    for b, colour in sorted(seen):
        print("COLOUR", name, b, *("%.2f" % part for part in cmd.get_color_tuple(colour)))
for what in ("rep sticks", "rep spheres", "rep cartoon"):
    print("SHOWN", what.split()[1], cmd.count_atoms(what))
cmd.iterate("name CA and label *", "print('LABEL', model, resi, label)")
for name in cmd.get_scene_list():
    print("SCENE", name)
print("ENABLED", *cmd.get_names("objects", enabled_only=1))
python end
"""


def run_in_pymol(folder: Path, tmp_path: Path) -> str:
    script = tmp_path / "ask.pml"
    script.write_text(f"@{folder / 'structures' / 'view.pml'}\n{COUNT}")
    return pymol(script, "quit", tmp_path)


def test_pymol_opens_the_script_coloured_and_labelled(tmp_path):
    folder = made_up_run(tmp_path / "run")
    script, _ = write_views(folder)
    log = run_in_pymol(folder, tmp_path)
    assert not re.search(r"error|exception|invalid|unknown", log.replace("mutscan_unknown", ""), re.I), log
    counts = {name: int(number) for name, number in answers(log, "COUNT")}
    mutants = {"A7W", "I6W", "Y5W"}
    assert set(counts) == {
        "wild_type", *mutants, *(f"site_{m}" for m in mutants), *(f"affected_{m}_1" for m in mutants),
    }  # fmt: skip
    assert all(counts.values())
    selections = re.findall(r'Selector: selection "(\S+)" defined with (\d+) atoms', log)
    assert len(selections) == script.read_text().count("\nselect ")
    colours = {
        (name, float(b)): (float(red), float(green), float(blue))
        for name, b, red, green, blue in answers(log, "COLOUR")
        if name in mutants
    }
    for mutant in mutants:
        kept, lost, unknown = colours[mutant, 1.0], colours[mutant, 0.8], colours[mutant, 0.0]
        assert min(kept) > 0.9
        assert lost == pytest.approx((0.84, 0.37, 0.0), abs=0.015)
        assert max(unknown) == min(unknown) == pytest.approx(0.4, abs=0.015)
        assert lost[1] < colours[mutant, 0.9][1] < kept[1]
    shown = {what: int(number) for what, number in answers(log, "SHOWN")}
    assert shown["cartoon"] == sum(counts[name] for name in ("wild_type", *mutants))
    assert shown["spheres"] == 3 * len(mutants)
    assert shown["sticks"] > len(mutants)
    labels = [(model, int(resi), " ".join(words)) for model, resi, *words in answers(log, "LABEL")]
    # position 12-14, numbered from -3: the middle one is 9
    assert {(m, 9, "F helix, UniProt") for m in mutants} <= set(labels)
    assert ("A7W", 3, "A7W") in labels
    assert [name for (name,) in answers(log, "SCENE")] == ["A7W", "I6W", "Y5W"]
    assert answers(log, "ENABLED") == [["wild_type", "A7W"]]


def test_a_hostile_region_name_is_a_label_and_no_command(tmp_path):
    folder = made_up_run(tmp_path / "run", region=HOSTILE, count=1)
    (script, _) = write_views(folder)
    for line in script.read_text().splitlines():
        assert line.count('"') in (0, 2)
        assert not line.startswith("@")
    log = run_in_pymol(folder, tmp_path)
    labels = [" ".join(words) for _, _, *words in answers(log, "LABEL")]
    assert "alpha-loop quit , reinitialize b evil.pml, UniProt" in labels
    assert {name: int(n) for name, n in answers(log, "COUNT")}["wild_type"] > 0


def test_pymol_would_tell_of_a_broken_script(tmp_path):
    """The log is worth reading: a selection of nothing and a wrong command both show in it."""
    script = tmp_path / "broken.pml"
    script.write_text("select nothing, resi 999\nno_such_command 1\n")
    log = pymol(script, "quit", tmp_path)
    assert 'selection "nothing" defined with 0 atoms' in log
    assert re.search(r"error", log, re.I)


def test_chimerax_commands_name_models_and_residues_that_are_there(tmp_path):
    folder = made_up_run(tmp_path / "run", region=HOSTILE)
    _, script = write_views(folder)
    lines = script.read_text().splitlines()
    opened = [line.split() for line in lines if line.startswith("open ")]
    assert [words[1] for words in opened] == ["wild_type.cif", "A7W.cif", "I6W.cif", "Y5W.cif"]
    assert all((folder / "structures" / words[1]).is_file() for words in opened)
    numbers = {int(n) for line in lines for n in re.findall(r" #(\d{1,3})(?![\da-f])", line)}
    assert numbers == {1, 2, 3, 4}
    residues = {
        int(r) for line in lines for part in re.findall(r"#\d+:([-\d,]+)", line) for r in part.split(",")
    }
    assert residues <= set(range(FIRST, FIRST + len(SEQUENCE)))
    assert "name site_A7W #2:3" in lines
    assert "name affected_A7W_1 #2:8,9,10" in lines
    palettes = [line for line in lines if line.startswith("color byattribute bfactor ")]
    assert palettes == [
        f"color byattribute bfactor #{n} target abc palette 0.8,#d55e00:0.9,#e69f00:1,#f2f2f2"
        for n in (2, 3, 4)
    ]
    assert "hide #3-4 models" in lines
    assert all(line.count('"') in (0, 2) and ";" not in line for line in lines if not line.startswith("#"))


def test_only_the_mutants_that_matter_most_are_loaded(tmp_path, monkeypatch):
    folder = made_up_run(tmp_path / "run")
    monkeypatch.setattr("mutscan.reports.views.LOADED", 2)
    script = view_script(folder, "pymol")
    assert re.findall(r"^load (\S+),", script, re.M) == ["wild_type.cif", "A7W.cif", "I6W.cif"]
    assert "the 2 of 3 built that matter most" in script
    assert LOADED >= 20


def test_a_mutant_whose_file_is_gone_is_left_out(tmp_path):
    folder = made_up_run(tmp_path / "run")
    (folder / "structures" / "I6W.cif").unlink()
    assert "I6W" not in view_script(folder, "pymol")
    assert "I6W" not in view_script(folder, "chimerax")


def test_without_structures_nothing_is_written_and_asking_is_an_error(tmp_path):
    folder = made_up_run(tmp_path / "run")
    shutil.rmtree(folder / "structures")
    assert write_views(folder) == ()
    with pytest.raises(UsageError, match="built no mutants"):
        view_script(folder, "pymol")


def test_the_same_run_gives_the_same_bytes(tmp_path):
    folder = made_up_run(tmp_path / "run")
    first = [path.read_bytes() for path in write_views(folder)]
    assert [path.read_bytes() for path in write_views(folder)] == first
    table = pd.read_csv(folder / "variants.csv")
    assert list(table["variant"]) == ["Y5W", "I6W", "A7W"]


def test_labels_lose_accents_without_a_gap():
    assert label_text("Hélène's site, Ångström") == "Helene s site, Angstrom"
    assert label_text("ά-helix") == "alpha-helix"


def test_labels_are_cut_between_words():
    text = label_text("loop between helix 12 (124-141) and strand 3 (150-156) of domain 2, UniProt")
    assert len(text) <= LABEL
    assert text.endswith(" ...")
    assert text.removesuffix(" ...") in "loop between helix 12 (124-141) and strand 3 (150-156)"
