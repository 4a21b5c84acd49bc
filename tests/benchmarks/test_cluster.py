"""A Ray cluster beside one process, as ratios in one run on two cores, or more."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("ray", reason="the extra 'ray' is not installed here", exc_type=ImportError)

from tests.ray_machines import Machines, machines, settings

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1200)]

N_PROTEINS = 16
"""About a minute and a half for one core."""

VARIANTS_EACH = 3


@pytest.fixture(scope="module")
def inputs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    data = shared / "data" / "variants"
    proteins = pd.read_csv(data / "labelled_proteins.csv.gz")
    proteins = proteins[proteins["length"].between(350, 450)].head(N_PROTEINS)
    variants = pd.read_csv(data / "labelled_variants.csv.gz", low_memory=False)[["protein", "variant"]]
    variants = variants[variants["protein"].isin(proteins["protein"])].groupby("protein").head(VARIANTS_EACH)
    variants.to_csv(folder / "table.csv", index=False)
    records = zip(proteins["protein"], proteins["sequence"], strict=True)
    (folder / "proteins.fasta").write_text("".join(f">{name}\n{text}\n" for name, text in records))
    return folder


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machines, Path]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUTSCAN_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        with machines() as running:
            yield running, Path(os.environ["MUTSCAN_CACHE_DIR"])


def seconds(inputs: Path, out: Path, cache: Path, *more: str) -> float:
    """Wall time of a run from the start of the command to its end, with an empty cache and one thread."""
    shutil.rmtree(cache)
    started = time.monotonic()
    subprocess.run(
        [
            sys.executable, "-m", "mutscan", "batch", str(inputs / "table.csv"), "--out", str(out),
            "--sequences", str(inputs / "proteins.fasta"), "--offline", "--quiet", *more,
        ],
        check=True,
        env={**settings(), "OMP_NUM_THREADS": "1", "MUTSCAN_CACHE_DIR": str(cache)},
    )  # fmt: skip
    return time.monotonic() - started


def test_a_second_worker_is_worth_it_and_ray_costs_little(
    inputs: Path, cluster: tuple[Machines, Path], tmp_path: Path
) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("two workers need two cores")
    nodes, cache = cluster
    on = ("--engine", "ray", "--ray-address", nodes.address, "--ray-cores", "1")
    two = seconds(inputs, tmp_path / "two", cache, *on)
    nodes.lose_second()
    one = seconds(inputs, tmp_path / "one", cache, *on)
    local = seconds(inputs, tmp_path / "local", cache)
    print(f"local {local:.1f} s, one worker {one:.1f} s, two workers {two:.1f} s")
    for run in ("one", "two"):
        for table in ("variants.csv", "proteins.csv"):
            assert (tmp_path / run / table).read_bytes() == (tmp_path / "local" / table).read_bytes()
    assert one / two >= 1.6
    # The start of a worker is most of it, and the same however long the run is.
    assert one - local <= 0.15 * max(local, 120.0)
