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

from mutscan.embed.esm_forward import EsmForward
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.options import Options
from mutscan.pipeline.plan import resolve_wild_type
from mutscan.pipeline.scanning import ScanJob, scanned_positions
from mutscan.residues import STANDARD
from mutscan.results import RunFolder

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(900)]

LEAST = {"fp32": (0.7, 0.95), "bf16": (0.6, 0.9)}
"""Least share of the throughput of `Encoder.embed`, and of transformers' network, for an 8 M encoder on one
core. The goal of 0.9 is met against transformers' pass, on which a plain program would build, and not against
our own, which takes two thirds of its time: the net does a sixth of the encoder's arithmetic for each
residue, which alone allows no more than 0.86. Measured on a busy machine: 0.72 and 1.04 at 147 residues in
fp32, 0.86 and 0.97 at 400 in bf16."""


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize(
    ("length", "precision"), [(147, "fp32"), (400, "fp32"), (147, "bf16"), (400, "bf16")]
)
def test_scan_against_the_bare_encoder(
    length: int, precision: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(length)
    (tmp_path / "p.fasta").write_text(">p\n" + "".join(rng.choice(list(STANDARD), length)) + "\n")
    wild_type = resolve_wild_type(str(tmp_path / "p.fasta"), offline=True)
    model = load_model("mutscan-mini", device="cpu", precision=precision, offline=True)
    network = model.encoder._network
    assert isinstance(network, EsmForward)

    @torch.inference_mode()
    def transformers_own(mutants: list[str]) -> None:
        for mutant in mutants:
            network.network(input_ids=torch.from_numpy(model.encoder._tokens.encode(mutant))[None])

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plain, bare, loop, tables = [], [], [], []
    try:
        with RunFolder(tmp_path / "run") as folder:
            middle = length // 2
            sites = scanned_positions(wild_type, f"{middle}-{middle + 2}")
            job = ScanJob(wild_type, sites, model, folder, Options())
            mutants = [mutant for batch in job.batches for mutant in job._mutants(batch)]
            list(WildTypePredictor(model, wild_type.sequence).predict_batches([mutants[:2]]))
            for _ in range(3):
                plain.append(cpu_seconds(lambda: transformers_own(mutants)))
                bare.append(cpu_seconds(lambda: [None for _ in model.encoder.embed(mutants)]))
                loop.append(cpu_seconds(lambda: job._predict(job.batches)))
            job.work(job.items)
            job.null = job.background()
            tables.append(cpu_seconds(job.write_tables))
    finally:
        torch.set_num_threads(threads)
    theirs, one, two, three = (1e3 * min(values) / len(mutants) for values in (plain, bare, loop, tables))
    with capsys.disabled():
        print(
            f"\n{length} residues, {precision}, one thread, CPU time of a mutant: transformers' encoder "
            f"{theirs:.1f} ms, ours {one:.1f} ms ({1e3 / one:.1f} rows/s), scan {two:.1f} ms "
            f"({1e3 / two:.1f} rows/s, ratio {theirs / two:.2f} and {one / two:.2f}), null and tables "
            f"{three:.1f} ms (with them {theirs / (two + three):.2f} and {one / (two + three):.2f})"
        )
    least, least_of_theirs = LEAST[precision]
    assert one / two >= least
    assert theirs / two >= least_of_theirs
