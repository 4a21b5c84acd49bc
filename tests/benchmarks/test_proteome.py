"""Scans of many proteins by probability alone: pytest -m benchmark -s.

What a substitution costs by columns and one by one, what it costs in all, that memory does not grow with
the number of proteins, and how soon a short run has its first number.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mutscan
from mutscan.pipeline.alphamissense import AlphaMissense
from mutscan.pipeline.columns import scan_columns, substitutions
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.rows import Assembler
from mutscan.pipeline.scanning import scanned_positions
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge
from mutscan.residues import STANDARD
from mutscan.results import format_cell
from mutscan.structures import WildType

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

LEAST_RATIO = 4.0
"""Columns against judging one by one and writing rows. Measured: 7 on a busy machine."""

LEAST_RATE = 10_000
"""Substitutions a CPU second, search, encoder, evidence and Parquet: 20,000 a second on two free cores."""

MOST_GROWTH = 1.1
"""Peak memory of four times as many proteins."""

MOST_OF_TORCH = 4.0
"""A run with `--builder none` and warm caches against Python with torch imported, which nothing can undercut.
Measured: 2.4 to 2.6."""


def proteins(n: int, length: int = 400) -> list[WildType]:
    rng = np.random.default_rng(0)
    return [WildType(name=f"p{i}", sequence="".join(rng.choice(list(STANDARD), length))) for i in range(n)]


def test_columns_against_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    model = load_model("mutscan-mini", device="cpu", offline=True)
    (protein,) = proteins(1)
    sequence, nothing = protein.sequence, AlphaMissense()
    model.prepare([sequence])
    positions = scanned_positions(protein, None)
    assembler = Assembler(protein, None, nothing, SubdomainCaller(protein, None).contexts)
    variants = [v for position in positions for v in substitutions(sequence, position)]

    def judge() -> Judge:
        return Judge(model, WildTypePredictor(model, sequence), protein)

    def one_by_one() -> None:
        for variant, verdict in zip(variants, judge().judge(variants), strict=True):
            row = {"input": str(variant), **assembler.judged_row(variant, verdict)}
            [format_cell(column, value) for column, value in row.items()]

    seconds: dict[str, list[float]] = {"rows": [], "columns": []}
    for _ in range(4):
        start = time.process_time()
        one_by_one()
        middle = time.process_time()
        scan_columns(judge(), assembler, nothing, positions)
        seconds["rows"].append(middle - start)
        seconds["columns"].append(time.process_time() - middle)
    rows, columns = (min(values) for values in seconds.values())
    with capsys.disabled():
        print(
            f"\n{len(variants):,} substitutions: one by one {len(variants) / rows:,.0f} a CPU second, by "
            f"columns {len(variants) / columns:,.0f}, ratio {rows / columns:.1f}"
        )
    assert rows / columns >= LEAST_RATIO


def write_proteins(path: Path, n: int) -> Path:
    path.write_text("".join(f">{protein.name}\n{protein.sequence}\n" for protein in proteins(n)))
    return path


def test_rate_from_sequences_to_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"predict": "probability", "offline": True, "device": "cpu"}
    mutscan.scan(str(write_proteins(tmp_path / "few.fasta", 2)), out=tmp_path / "few", **options)
    given = write_proteins(tmp_path / "p.fasta", 40)
    start, cpu = time.perf_counter(), time.process_time()
    run = mutscan.scan(str(given), out=tmp_path / "out", **options)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    rows = pq.read_metadata(run.directory / "variants.parquet").num_rows
    with capsys.disabled():
        print(f"\n{rows:,} substitutions: {rows / wall:,.0f} a second, {rows / cpu:,.0f} a CPU second")
    assert rows == 40 * 400 * 19
    assert rows / cpu >= LEAST_RATE


_SCAN = """
import resource, sys
import mutscan
mutscan.scan(sys.argv[1], out=sys.argv[2], predict="probability", offline=True, device="cpu")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_proteins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def peak(n: int) -> int:
        given = write_proteins(tmp_path / f"{n}.fasta", n)
        return int(subprocess.check_output([sys.executable, "-c", _SCAN, str(given), str(tmp_path / str(n))]))

    few, many = peak(60), peak(240)
    with capsys.disabled():
        print(f"\npeak memory of 60 proteins {few >> 10} MB, of 240 {many >> 10} MB")
    assert many <= MOST_GROWTH * few


def test_a_short_run_starts_soon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (protein,) = proteins(1, 150)
    (tmp_path / "p.fasta").write_text(f">p\n{protein.sequence}\n")
    variant = f"{protein.sequence[37]}38{'D' if protein.sequence[37] != 'D' else 'A'}"
    arguments = ["-m", "mutscan", "score", str(tmp_path / "p.fasta"), variant, "--builder", "none"]

    def cpu_seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def run() -> float:
        return cpu_seconds(*arguments, "--offline", "--restart", "--out", str(tmp_path / "out"))

    run()  # fills the caches
    torch, ours = (min(f() for _ in range(3)) for f in (lambda: cpu_seconds("-c", "import torch"), run))
    with capsys.disabled():
        print(
            f"\nCPU: import torch {torch:.2f} s, a run of one variant {ours:.2f} s, ratio {ours / torch:.1f}"
        )
    assert ours / torch <= MOST_OF_TORCH
