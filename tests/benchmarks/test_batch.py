"""Runs over many proteins against a run for each, and against the bare predictor: pytest -m benchmark -s."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import mutscan
from mutscan.calling import sample_null
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.residues import STANDARD
from mutscan.variants import Substitution, Variant

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

PROTEINS = 300
VARIANTS = 2_000
SINGLE_RUNS = 5

LEAST_RATIO = 20.0
"""CPU time of single runs against a batch of probabilities: the goal."""

MOST_MEMORY = 1.5
"""Peak of a batch of probabilities, GB: the goal."""

LEAST_SHARE = 0.8
"""Throughput of the bare predictor that a batch with predictions keeps: the goal."""


def write_inputs(folder: Path, n_proteins: int, n_variants: int) -> dict[str, tuple[str, list[Variant]]]:
    """Write table.csv and proteins.fasta of human-like lengths; returns sequence and variants by name."""
    rng = np.random.default_rng(0)
    proteins: dict[str, tuple[str, list[Variant]]] = {}
    for number, length in enumerate(rng.lognormal(np.log(400), 0.5, n_proteins).astype(int).clip(60, 1500)):
        proteins[f"p{number}"] = "".join(rng.choice(list(STANDARD), length)), []
    names = list(proteins)
    while n_variants:
        sequence, variants = proteins[names[n_variants % n_proteins]]
        site, new = int(rng.integers(len(sequence))), str(rng.choice(list(STANDARD)))
        if new == sequence[site]:
            continue
        variant = Variant((Substitution(site + 1, sequence[site], new),))
        if variant not in variants:
            variants.append(variant)
            n_variants -= 1
    lines = [f"{name},{variant}\n" for name, (_, variants) in proteins.items() for variant in variants]
    (folder / "table.csv").write_text("protein,variant\n" + "".join(lines))
    (folder / "proteins.fasta").write_text("".join(f">{n}\n{s}\n" for n, (s, _) in proteins.items()))
    return proteins


def cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "mutscan", *command], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


_BATCH = """
import resource, sys
import mutscan
mutscan.batch(sys.argv[1], sequences=sys.argv[2], out=sys.argv[3], predict="probability", offline=True,
              device="cpu")
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
"""


def test_one_run_against_one_for_each_protein(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
    proteins = write_inputs(tmp_path, PROTEINS, VARIANTS)
    inputs = [str(tmp_path / name) for name in ("table.csv", "proteins.fasta")]
    start = time.perf_counter()
    said = subprocess.check_output([sys.executable, "-c", _BATCH, *inputs, str(tmp_path / "out")])
    wall = time.perf_counter() - start
    memory, cpu = (float(word) for word in said.split())
    single = 0.0
    for name in list(proteins)[:: PROTEINS // SINGLE_RUNS]:
        sequence, variants = proteins[name]
        (tmp_path / f"{name}.fasta").write_text(f">{name}\n{sequence}\n")
        single += cpu_seconds(
            *("score", str(tmp_path / f"{name}.fasta"), *map(str, variants), "--builder", "none"),
            *("--offline", "--device", "cpu", "--out", str(tmp_path / name)),
        )
    many = single * PROTEINS / SINGLE_RUNS
    gigabytes = memory * 1024 / 1e9
    with capsys.disabled():
        print(
            f"\n{VARIANTS:,} variants of {PROTEINS} proteins: batch {wall:.0f} s, {cpu:.0f} CPU s, "
            f"{gigabytes:.2f} GB; one run for each {many:.0f} CPU s, ratio {many / cpu:.1f}"
        )
    assert many / cpu >= LEAST_RATIO
    assert gigabytes <= MOST_MEMORY


def test_predictions_against_the_bare_predictor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path / "cache"))
    proteins = write_inputs(tmp_path, 6, 40)
    model = load_model("mutscan-mini", device="cpu", offline=True)

    def bare() -> None:
        for sequence, variants in proteins.values():
            predictor = WildTypePredictor(model, sequence)
            list(predictor.predict([*sample_null(sequence, seed=0), *variants]))

    start = time.process_time()
    bare()
    middle = time.process_time()
    mutscan.batch(
        tmp_path / "table.csv", sequences=tmp_path / "proteins.fasta", out=tmp_path / "out", offline=True,
        device="cpu",
    )  # fmt: skip
    theirs, ours = middle - start, time.process_time() - middle
    with capsys.disabled():
        print(f"\nCPU: bare predictor {theirs:.1f} s, batch {ours:.1f} s, share {theirs / ours:.2f}")
    assert theirs / ours >= LEAST_SHARE
