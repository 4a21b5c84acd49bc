"""Made-up pairs of crystals: helices in which the residues around an exchange move, and noise."""

from pathlib import Path

import numpy as np
import pandas as pd

from mutscan.residues import STANDARD
from mutscan.structures import write_structure
from tests.peptides import helix, helix_backbone, part

LENGTH = 44


def crystal(ca: np.ndarray, rng: np.random.Generator, site: int | None = None) -> np.ndarray:
    """The chain with scatter; around `site` most residues are displaced further."""
    moved = ca + rng.normal(0.0, 0.06, ca.shape)
    if site is not None:
        away = np.linalg.norm(ca - ca[site], axis=1)
        hit = (away < 8.0) & (rng.random(len(ca)) < 0.7)
        moved[hit] += 0.3 * (-1.0) ** np.flatnonzero(hit)[:, None] * np.array([1.0, 0.0, 0.0])
    return moved


def write_chains(path: Path, *, clusters: int = 30, mutants: int = 2) -> Path:
    """A structures.parquet: of each cluster a wild type, its single mutants, and a chain that is none."""
    rng = np.random.default_rng(0)
    ca = np.array([residue["CA"] for residue in helix_backbone(LENGTH)])
    rows = []

    def add(name: str, sequence: str, cluster: int, coord: np.ndarray, kind: str = "experimental") -> None:
        stored = np.rint(100 * (coord - coord.mean(axis=0))).astype("<i2").tobytes()
        rows.append((name, sequence, stored, kind, cluster, 100 + cluster))

    for cluster in range(clusters):
        letters = rng.choice(list(STANDARD), LENGTH)
        add(f"{cluster}_wild", "".join(letters), cluster, crystal(ca, rng))
        for number in range(mutants):
            site = int(rng.integers(4, LENGTH - 4))
            other = letters.copy()
            other[site] = rng.choice([letter for letter in STANDARD if letter != letters[site]])
            add(f"{cluster}_mutant{number}", "".join(other), cluster, crystal(ca, rng, site))
        add(f"{cluster}_model", "".join(other), cluster, crystal(ca, rng, 5), "predicted")
        other[:3] = "GSH"
        add(f"{cluster}_other", "".join(other), cluster, crystal(ca, rng))
    columns = ["id", "sequence", "ca", "kind", "cluster", "cluster25"]
    pd.DataFrame(rows, columns=columns).to_parquet(path)
    return path


def write_crystals(folder: Path) -> Path:
    """An ssym_pairs.csv with one pair that has all atoms; the mutant lacks its first residue."""
    (folder / "ssym").mkdir(parents=True)
    sequence = "GSMKTAYIAKQRQISFVKSHFSRQLEERLGLI"
    wild = helix(sequence, first=3, name="1ABCA")
    mutant = helix(sequence[:9] + "V" + sequence[10:], first=3, name="2ABCA")
    rng = np.random.default_rng(3)
    object.__setattr__(mutant, "coord", mutant.coord + rng.normal(0.0, 0.06, mutant.coord.shape))
    write_structure(wild, folder / "ssym" / "1ABCA.cif")
    write_structure(part(mutant, [*range(1, len(sequence))]), folder / "ssym" / "2ABCA.cif")
    table = folder / "ssym_pairs.csv"
    rows = [("1ABCA", "2ABCA", "K10V", 1), ("1ABCA", "2ABCA", "K10V", 2)]
    pd.DataFrame(rows, columns=["wt", "mut", "variant", "n_diff"]).to_csv(table, index=False)
    return table
