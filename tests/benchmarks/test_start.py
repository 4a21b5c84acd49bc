"""What a person waits for at the terminal: pytest -m benchmark -s tests/benchmarks/test_start.py."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.places import GLOBIN

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]


def cpu_seconds(*arguments: str) -> float:
    """CPU time of the fastest of seven processes."""
    taken = []
    for _ in range(7):
        before = os.times()
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        taken.append(after.children_user + after.children_system - sum(before[2:4]))
    return min(taken)


def test_help_against_the_import_of_typer() -> None:
    typer, help_ = cpu_seconds("-c", "import typer"), cpu_seconds("-m", "mutscan", "--help")
    print(f"\nimport typer {typer:.3f} s, mutscan --help {help_:.3f} s: {help_ / typer:.2f} times")
    assert help_ <= 2 * typer


def test_first_number_against_the_summary(tmp_path: Path) -> None:
    """Time to the first probability on screen, against that to the summary, with a warm cache."""
    ratios = []
    for turn in range(4):
        started, seen = time.monotonic(), []
        command = [
            "score",
            str(GLOBIN / "wild_type.cif"),
            "H97A",
            "--out",
            str(tmp_path / str(turn)),
            "--offline",
        ]
        whole = [sys.executable, "-u", "-m", "mutscan", *command]
        with subprocess.Popen(whole, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr or ():
                if re.search(r"\(0\.\d\d\)", line):
                    seen.append(time.monotonic() - started)
        assert process.returncode == 0
        first, summary = seen[0], seen[-1]
        print(f"\nfirst number {first:.2f} s, summary {summary:.2f} s: ratio {first / summary:.2f}")
        ratios.append(first / summary)
    # The first turn fills the cache.
    assert sorted(ratios[1:])[1] < 0.75
