"""Pages of examples/: what they show, and their commands run as a reader would run them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.places import ROOT

EXAMPLES = ROOT / "examples"


def blocks(page: Path, language: str = "") -> list[str]:
    """Fenced blocks of a page in one language, or those without any."""
    found = re.findall(
        r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return [text for name, text in found if name == language]


def copied(name: str, folder: Path) -> Path:
    """Copy an example, without its expected output, to run it there."""
    return shutil.copytree(EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns("expected"))


def run_words(words: list[str], folder: Path) -> str:
    """Run Python with some words in a folder; the output is as a narrow terminal shows it."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(line.rstrip() for line in (done.stderr + done.stdout).splitlines())


def run_commands(page: Path, folder: Path) -> str:
    """Run the mutscan commands of a page's first shell block in a folder; give what they print.

    Inverse folding is left out, as in a plain install.
    """
    said = ""
    for line in blocks(page, "sh")[0].splitlines():
        program, command, *rest = shlex.split(line)
        assert program == "mutscan"
        plain = ["--inverse-folding", "off"] if command in ("scan", "batch", "score") else []
        said += run_words(["-m", "mutscan", command, *rest, *plain], folder) + "\n"
    return said


def assert_pictures(page: Path, most: int = 200_000) -> None:
    """A page shows at least one picture; all of them are there, are described, and are small."""
    shown = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert shown
    for words, name in shown:
        path = page.parent / name
        assert len(words) > 20, name
        assert path.stat().st_size < most, name
        with Image.open(path) as picture:
            assert picture.width >= 500, name


def assert_files(page: Path) -> None:
    """The table of files at the top of a page names what is there."""
    table = page.read_text(encoding="utf-8").split("| file | contents |\n")[1].split("\n\n")[0]
    names = [name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert names
    for name in names:
        assert (page.parent / name).exists(), name
