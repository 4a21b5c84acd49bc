"""What `mutscan train dataset` adds to bare tm_align calls on the same core: a ratio, printed and asserted.

Both in one run, turn by turn. Processor time of all processes is compared, so that neither a second
core nor a machine that is busy with other things changes the ratio.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import tmtools

from mutscan.train.chains.clusters import ClusterColumn
from mutscan.train.dataset.make import make_dataset
from mutscan.train.dataset.plan import PairingSettings
from mutscan.train.dataset.sources import Tables

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.benchmark

N_PAIRS = 500
TURNS = 2


def used() -> float:
    """Processor time of this process and of its children that ended, seconds."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def bare(chains: pd.DataFrame, pairs: pd.DataFrame) -> float:
    """Processor time of nothing but tm_align, coordinates ready, seconds."""
    ready = {
        name: (np.frombuffer(ca, "<i2").reshape(-1, 3) / 100, sequence)
        for name, ca, sequence in chains[["id", "ca", "sequence"]].itertuples(index=False)
    }
    start = used()
    for first, second in pairs[["id1", "id2"]].itertuples(index=False):
        (ca_1, sequence_1), (ca_2, sequence_2) = ready[first], ready[second]
        tmtools.tm_align(ca_1, ca_2, sequence_1, sequence_2)
    return used() - start


def test_overhead_over_bare_tm_align(shared: Path, tmp_path: Path) -> None:
    pairs = pd.read_parquet(shared / "data" / "pairs.parquet", columns=["id1", "id2"])
    pairs = pairs.sample(N_PAIRS, random_state=0)
    chains = pd.read_parquet(shared / "data" / "structures.parquet")
    chains = chains[chains["id"].isin({*pairs["id1"], *pairs["id2"]})]
    chains.to_parquet(tmp_path / "structures.parquet")
    pairs.to_csv(tmp_path / "pairs.csv", index=False)
    source = Tables(tmp_path / "structures.parquet", tmp_path / "pairs.csv")
    alone, whole = [], []
    for turn in range(TURNS):
        alone.append(bare(chains, pairs))
        out = tmp_path / f"data{turn}"
        start = used()
        made = make_dataset(out, source, ClusterColumn("cluster25"), PairingSettings(shard_size=50), jobs=2)
        whole.append(used() - start)
        assert made.contents["counts"]["pairs"] == N_PAIRS
    ratio = min(whole) / min(alone)
    print(
        f"\n{N_PAIRS} pairs: bare tm_align {min(alone):.2f} s of processor time; read, planned, aligned by 2 "
        f"workers, labelled and written {min(whole):.2f} s, the workers' start included: {ratio:.3f} times"
    )
    assert ratio <= 1.10
