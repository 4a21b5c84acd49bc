"""Made-up chains and labelled pairs in the tables training reads: families of related random-walk chains."""

from pathlib import Path

import numpy as np
import pandas as pd

from mutscan.residues import STANDARD
from mutscan.scores import tm_score

N_CHAINS = 64


def write_tables(folder: Path, *, families: int = 32, members: int = 2, seed: int = 0) -> tuple[Path, Path]:
    """structures.parquet and pairs.parquet: every pair inside a family, and one with the next family."""
    rng = np.random.default_rng(seed)
    chains: list[dict[str, object]] = []
    coords: list[np.ndarray] = []
    for family in range(families):
        length = int(rng.integers(24, 40))
        steps = rng.normal(size=(length, 3))
        trace = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
        sequence = rng.choice(list(STANDARD), length)
        for member in range(members):
            changed = np.where(rng.random(length) < 0.2, rng.choice(list(STANDARD), length), sequence)
            stored = np.round((trace + rng.normal(scale=0.4 * member, size=trace.shape)) * 100).astype("<i2")
            coords.append(stored / 100)
            chains.append(
                {
                    "id": f"f{family}m{member}",
                    "sequence": "".join(changed),
                    "ca": stored.tobytes(),
                    "cluster25": family,
                }
            )
    order = [(a, a + d) for a in range(len(chains)) for d in range(1, members + 1) if a + d < len(chains)]
    pairs = []
    for first, second in order:
        n = min(len(coords[first]), len(coords[second]))
        score = tm_score(coords[first][:n], coords[second][:n], normalise_by=len(coords[first]))
        other = tm_score(coords[second][:n], coords[first][:n], normalise_by=len(coords[second]))
        alignment = np.repeat(np.arange(n, dtype="<i2")[:, None], 2, axis=1)
        pairs.append(
            {
                "id1": chains[first]["id"],
                "id2": chains[second]["id"],
                "tm_norm1": score.tm_score,
                "tm_norm2": other.tm_score,
                "alignment": alignment.tobytes(),
            }
        )
    pd.DataFrame(chains).to_parquet(folder / "structures.parquet")
    pd.DataFrame(pairs).to_parquet(folder / "pairs.parquet")
    return folder / "structures.parquet", folder / "pairs.parquet"
