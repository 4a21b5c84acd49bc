"""A scan's compute loop against the encoder's bare forward over the same mutants: pytest -m benchmark -s.

Against two: `Encoder.embed`, and transformers' own network with the same weights and tokens.

On one core nothing can hide behind the encoder: what the net and the comparison cost is paid in full,
and the ratio says how small they are kept. Time of this process on the CPU is compared, which other
work on the machine disturbs least; rounds alternate and the best of each is taken.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.progress import Silent
from mutscan.pipeline.scanning import ScanJob, scanned_positions
from mutscan.residues import STANDARD
from mutscan.results import RunFolder

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

LEAST = 0.7
"""Least share of the encoder's throughput, for an 8 M encoder on one core. The goal of 0.9 is not met
there: the net does about a sixth of the encoder's arithmetic for each residue, which alone allows no
more than 0.86. Measured: 0.78 at 147 residues, on a busy machine."""


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize("length", [147, 400])
def test_scan_against_the_bare_encoder(
    length: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(length)
    (tmp_path / "p.fasta").write_text(">p\n" + "".join(rng.choice(list(STANDARD), length)) + "\n")
    wild_type = resolve_wild_type(str(tmp_path / "p.fasta"), offline=True)
    model = load_model("mutscan-mini", device="cpu", offline=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    bare, loop, tables = [], [], []
    try:
        with RunFolder(tmp_path / "run") as folder:
            middle = length // 2
            job = ScanJob(
                wild_type, scanned_positions(wild_type, f"{middle}-{middle + 2}"), model, folder, Silent(), 0
            )
            mutants = [mutant for batch in job.batches for mutant in job._mutants(batch)]
            list(WildTypePredictor(model, wild_type.sequence).predict_batches([mutants[:2]]))
            for _ in range(3):
                bare.append(cpu_seconds(lambda: [None for _ in model.encoder.embed(mutants)]))
                for stored in folder.state.glob("scan/*.npz"):
                    stored.unlink()
                loop.append(cpu_seconds(job.predict))
            job.find_null()
            tables.append(cpu_seconds(job.write_tables))
    finally:
        torch.set_num_threads(threads)
    one, two, three = (1e3 * min(values) / len(mutants) for values in (bare, loop, tables))
    with capsys.disabled():
        print(
            f"\n{length} residues, one thread, CPU time of a mutant: encoder alone {one:.1f} ms "
            f"({1e3 / one:.1f} rows/s), scan {two:.1f} ms ({1e3 / two:.1f} rows/s, ratio {one / two:.2f}), "
            f"null and tables {three:.1f} ms (ratio with them {one / (two + three):.2f})"
        )
    assert one / two >= LEAST
