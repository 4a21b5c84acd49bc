"""Builders against reality: crystal structures of wild type and mutant (Ssym, Pucci et al. 2018)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mutscan.builders.chemistry import ATOMS, BACKBONE, CHI, SIDE_CHAIN
from mutscan.builders.geometry import dihedral, superposition, wrap
from mutscan.structures import Structure, read_structure

Atoms = Mapping[str, NDArray[np.float64]]

LOCAL = 15.0
"""Å; CA atoms this near to the site lay the two crystals over each other."""

_TWINS = {
    "F": (("CD1", "CD2"), ("CE1", "CE2")),
    "Y": (("CD1", "CD2"), ("CE1", "CE2")),
    "D": (("OD1", "OD2"),),
    "E": (("OE1", "OE2"),),
    "R": (("NH1", "NH2"),),
}


@dataclass(frozen=True)
class Pair:
    """One wild type and its mutant; `site` and `mutant_site` are 0-based."""

    name: str
    wild_type: Structure
    mutant: Structure
    site: int
    mutant_site: int
    residue: str
    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    def crystal_atoms(self) -> dict[str, NDArray[np.float64]]:
        """The mutant residue in the crystal, in the wild type's frame."""
        atoms = atoms_of(self.mutant, self.mutant_site)
        return {name: xyz @ self.rotation + self.translation for name, xyz in atoms.items()}

    def crystal_shift(self) -> float:
        """How far the site's CA moved in the crystal, Å."""
        moved = self.mutant.ca[self.mutant_site] @ self.rotation + self.translation
        return float(np.linalg.norm(moved - self.wild_type.ca[self.site]))


def atoms_of(structure: Structure, index: int) -> dict[str, NDArray[np.float64]]:
    rows = structure.atoms_of(index)
    return dict(zip(structure.atom_name[rows], structure.coord[rows], strict=True))


def read_pairs(folder: Path) -> list[Pair]:
    """All pairs whose site is complete in both crystals."""
    read = cache(lambda name: read_structure(folder / "ssym" / f"{name}.pdb.gz"))
    pairs = []
    for row in pd.read_csv(folder / "ssym_pairs.csv").itertuples():
        wild_type, mutant = read(row.wt), read(row.mut)
        site, mutant_site, residue = int(row.variant[1:-1]) - 1, int(row.mut_index) - 1, row.variant[-1]
        assert wild_type.sequence[site] == row.variant[0]
        assert mutant.sequence[mutant_site] == residue
        here, there = atoms_of(wild_type, site), atoms_of(mutant, mutant_site)
        if any(a not in here for a in BACKBONE) or any(a not in there for a in ATOMS[residue]):
            continue
        number = {n: k for k, n in enumerate(mutant.numbers)}
        near = np.linalg.norm(wild_type.ca - wild_type.ca[site], axis=1) < LOCAL
        common = [(k, number[n]) for k, n in enumerate(wild_type.numbers) if near[k] and n in number]
        rotation, translation = superposition(
            mutant.ca[[b for _, b in common]], wild_type.ca[[a for a, _ in common]]
        )
        pairs.append(Pair(row.pair_id, wild_type, mutant, site, mutant_site, residue, rotation, translation))
    return pairs


def chi1_error(pair: Pair, built: Atoms) -> float:
    """Degrees; NaN for Ala, Gly, and Pro (no free chi1)."""
    if pair.residue in "AGP":
        return math.nan
    quad, crystal = CHI[pair.residue][0], pair.crystal_atoms()
    difference = wrap(dihedral(*(built[a] for a in quad)) - dihedral(*(crystal[a] for a in quad)))
    return float(np.abs(difference))


def side_chain_rmsd(pair: Pair, built: Atoms) -> float:
    """Å, equal atoms exchanged where that is better; NaN for Gly."""
    names = SIDE_CHAIN[pair.residue]
    if not names:
        return math.nan
    crystal = pair.crystal_atoms()
    twins = dict(x for a, b in _TWINS.get(pair.residue, ()) for x in ((a, b), (b, a)))
    target = np.array([crystal[a] for a in names])
    return min(
        float(np.sqrt(((np.array([built[f(a)] for a in names]) - target) ** 2).sum(axis=1).mean()))
        for f in (lambda a: a, lambda a: twins.get(a, a))
    )


def measure(pairs: Sequence[Pair], build: Callable[[Pair], tuple[Atoms, float]]) -> pd.DataFrame:
    """One row per pair; `build` gives the site's atoms and how far its CA moved."""
    rows = []
    for pair in pairs:
        atoms, shift = build(pair)
        rows.append(
            {
                "pair": pair.name,
                "wild_type": pair.wild_type.name,
                "residue": pair.residue,
                "chi1": chi1_error(pair, atoms),
                "rmsd": side_chain_rmsd(pair, atoms),
                "shift": shift,
                "crystal_shift": pair.crystal_shift(),
            }
        )
    return pd.DataFrame(rows)


STATISTICS: dict[str, Callable[[pd.DataFrame], float]] = {
    "chi1 within 40": lambda t: float((t.chi1.dropna() < 40).mean()),
    "RMSD median": lambda t: float(t.rmsd.median()),
    "RMSD mean": lambda t: float(t.rmsd.mean()),
    "rho_site": lambda t: (
        float(spearmanr(t["shift"], t.crystal_shift).statistic) if t["shift"].nunique() > 1 else math.nan
    ),
}


def intervals(
    table: pd.DataFrame, *, draws: int = 500, seed: int = 0
) -> dict[str, tuple[float, float, float]]:
    """Each statistic with its 95 % interval over wild types (few, and unequal: the honest one is wide)."""
    rng = np.random.default_rng(seed)
    groups = [group for _, group in table.groupby("wild_type")]
    samples = [
        pd.concat([groups[k] for k in rng.integers(len(groups), size=len(groups))]) for _ in range(draws)
    ]
    result = {}
    for name, statistic in STATISTICS.items():
        values = np.array([statistic(sample) for sample in samples])
        values = values[np.isfinite(values)]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (math.nan, math.nan)
        result[name] = (statistic(table), float(low), float(high))
    return result


def print_table(tables: Mapping[str, pd.DataFrame]) -> None:
    print()
    for method, table in tables.items():
        figures = ", ".join(
            f"{name} {value:.2f} [{low:.2f} to {high:.2f}]"
            for name, (value, low, high) in intervals(table).items()
        )
        print(f"{method:34s} n={len(table)} ({table.chi1.notna().sum()} with chi1): {figures}")
