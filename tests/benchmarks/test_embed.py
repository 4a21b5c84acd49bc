"""Embedding as the encoder does it, against one batch padded to the longest: pytest -m benchmark -s."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mutscan.embed import load_encoder, set_threads
from mutscan.residues import STANDARD
from tests.places import ROOT

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

# Lengths of a protein family's many domains and few giants: log-normal, as UniProt's, seeded.
LENGTHS = np.exp(np.random.default_rng(0).normal(5.2, 0.6, size=32)).astype(int).clip(30, 900)


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def test_unpadded_and_sorted_against_one_padded_batch(
    shared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder = load_encoder(str(shared / "models" / "esm8m-pretrained"), device="cpu")
    rng = np.random.default_rng(1)
    sequences = ["".join(rng.choice(list(STANDARD), length)) for length in LENGTHS]

    def as_it_is() -> dict[int, np.ndarray]:
        return dict(encoder.embed(sequences))

    def sorted_batches() -> dict[int, np.ndarray]:
        encoder._batched = True
        encoder.batch_residues = 2048
        try:
            return dict(encoder.embed(sequences))
        finally:
            encoder._batched = False

    def padded_to_the_longest() -> list[np.ndarray]:
        return encoder._forward(sequences)

    before = torch.get_num_threads()
    report = []
    try:
        for threads in sorted({1, min(4, os.cpu_count() or 1)}):
            set_threads(threads)
            padded, alone, batches = (seconds(f) for f in (padded_to_the_longest, as_it_is, sorted_batches))
            report.append((threads, padded, alone, batches))
        padded_rows = padded_to_the_longest()
        for index, embedding in as_it_is().items():
            np.testing.assert_allclose(embedding, padded_rows[index], atol=1e-4)
    finally:
        set_threads(before)
    residues = int(LENGTHS.sum())
    with capsys.disabled():
        print(f"\n{len(sequences)} sequences, {residues} residues, longest {LENGTHS.max()}")
        for threads, padded, alone, batches in report:
            print(
                f"{threads} thread(s): one padded batch {padded:.2f} s; alone, unpadded {alone:.2f} s "
                f"(ratio {padded / alone:.1f}, {residues / alone:.0f} residues/s); "
                f"sorted batches of 2,048 residues {batches:.2f} s (ratio {padded / batches:.1f})"
            )
    assert all(padded / alone > 1.5 for _, padded, alone, _ in report)


def test_mutants_of_a_long_protein_against_embedding_all_their_windows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = load_encoder(str(ROOT / "models" / "mutscan-mini" / "encoder"), device="cpu")
    long = "".join(np.random.default_rng(2).choice(list(STANDARD), 5000))
    mutants = [long[:site] + "W" + long[site + 1 :] for site in range(100, 5000, 500) if long[site] != "W"]
    found: dict[str, list[np.ndarray]] = {}

    def together() -> None:
        found["together"] = [embedding for _, embedding in encoder.embed(mutants)]

    def one_by_one() -> None:
        found["one by one"] = [encoder.embed_one(mutant) for mutant in mutants]

    before = torch.get_num_threads()
    try:
        set_threads(1)
        fast, slow = (seconds(work, 1) for work in (together, one_by_one))
    finally:
        set_threads(before)
    for one, other in zip(found["together"], found["one by one"], strict=True):
        np.testing.assert_array_equal(one, other)
    with capsys.disabled():
        print(
            f"\n{len(mutants)} mutants of 5,000 residues: all windows of each {slow:.1f} s; "
            f"each window once {fast:.1f} s (ratio {slow / fast:.1f})"
        )
    assert slow / fast > 2
