"""Measure the rotamer library from crystal structures: ``python training/rotamers/derive.py``.

Crystal chains -> unrelated ones, unrelated to a test set as well -> well-ordered
residues -> ideal geometry, rotamers, and their dependence on the backbone, written as
the JSON that `mutscan.builders.rotamers` reads.

Chi angles about tetrahedral atoms are binned in thirds of the circle; the last chi
of Asp, Asn, Glu, Gln, His, Phe, Tyr and Trp in 30-degree bins. What looks the same
after half a turn (Phe, Tyr, Asp, Glu) is counted modulo 180 degrees; where density
cannot tell O from N or C from N (Asn, Gln, His) the shape is counted modulo 180
degrees and then divided between the two flips in the residue's overall ratio [1]_.
Frequencies of rare rotamers are shrunk towards a chain of chi-to-chi frequencies;
chi1 depends on phi and psi through von Mises kernels with pseudo-counts from the
average over all backbones [2]_ [3]_.

References
----------
.. [1] Lovell et al., Proteins 40, 389 (2000).
.. [2] Dunbrack & Cohen, Protein Sci. 6, 1661 (1997).
.. [3] Shapovalov & Dunbrack, Structure 19, 844 (2011).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices

from mutscan.builders.chemistry import ATOMS, CHI, FLIPPED_CHI, SYMMETRIC_CHI, TREE
from mutscan.builders.geometry import angle, dihedral, wrap
from mutscan.errors import UsageError
from mutscan.structures import read_structure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.structures import Structure

PLANAR_CHI: Final = {**SYMMETRIC_CHI, **FLIPPED_CHI, "W": 1}
"""0-based chi that ends in a plane: no three minima, so finer bins."""
PLANAR_BIN: Final = 30.0
MAX_B_FACTOR: Final = 40.0
"""Å²; atoms above it are not trusted [1]_."""
MIN_SAMPLES: Final = 100
"""Fewer residues of a kind make no library."""
UNRELATED_BITS: Final = 50.0
"""Two chains of the library are unrelated below this local alignment score."""
EXCLUDED_BITS: Final = 35.0
"""Nothing in the library may reach this score against a chain to be left out (E about 1e-6)."""
GRID: Final = 12
"""Points of phi and of psi."""
KERNEL: Final = 1.0 / np.radians(25.0) ** 2
"""Concentration of the von Mises kernels over phi and psi."""
PSEUDO_COUNT: Final = 15.0
"""Strength of the average over all backbones, and of the chain of chi-to-chi frequencies."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One well-ordered residue: its atoms and its backbone angles (NaN where there is none)."""

    residue: str
    atoms: Mapping[str, NDArray[np.float64]]
    phi: float
    psi: float


def is_crystal(structure: Structure) -> bool:
    """Whether the B factors vary as in a refined crystal structure (NMR and old entries: constant)."""
    return bool(np.std(structure.b_factor) >= 1.0 and np.mean(structure.b_factor) >= 3.0)


def _aligner() -> PairwiseAligner:
    aligner = PairwiseAligner(mode="local")
    aligner.substitution_matrix = substitution_matrices.load("BLOSUM62")
    aligner.open_gap_score, aligner.extend_gap_score = -11.0, -1.0
    return aligner


def alignment_bits(aligner: PairwiseAligner, first: str, second: str) -> float:
    """Bit score of the best local alignment (BLOSUM62, gaps 11/1, Karlin-Altschul lambda 0.267, K 0.041)."""
    return float((0.267 * aligner.score(first, second) - np.log(0.041)) / np.log(2.0))


def unrelated(structures: Sequence[Structure], excluded: Sequence[str]) -> tuple[list[Structure], int]:
    """Keep chains unrelated to `excluded` and each other, longest first; and count what `excluded` cost."""
    aligner = _aligner()
    kept: list[Structure] = []
    n_excluded = 0
    for structure in sorted(structures, key=lambda s: (-len(s), s.name)):
        sequence = structure.sequence
        if any(alignment_bits(aligner, sequence, other) >= EXCLUDED_BITS for other in excluded):
            n_excluded += 1
            continue
        if all(alignment_bits(aligner, sequence, other.sequence) < UNRELATED_BITS for other in kept):
            kept.append(structure)
    return sorted(kept, key=lambda s: s.name), n_excluded


def samples_of(structure: Structure) -> list[Sample]:
    """Complete, well-ordered residues of one chain."""
    atoms: list[dict[str, NDArray[np.float64]]] = [{} for _ in range(len(structure))]
    worst = np.zeros(len(structure))
    for k, i in enumerate(structure.residue_index):
        atoms[i][structure.atom_name[k]] = structure.coord[k]
        worst[i] = max(worst[i], structure.b_factor[k])
    found = []
    for i, residue in enumerate(structure.sequence):
        if residue not in TREE or worst[i] > MAX_B_FACTOR or any(a not in atoms[i] for a in ATOMS[residue]):
            continue
        here = atoms[i]
        before = atoms[i - 1].get("C") if i else None
        after = atoms[i + 1].get("N") if i + 1 < len(atoms) else None
        phi = psi = float("nan")
        if before is not None and np.linalg.norm(before - here["N"]) < 1.8:
            phi = float(dihedral(before, here["N"], here["CA"], here["C"]))
        if after is not None and np.linalg.norm(after - here["C"]) < 1.8:
            psi = float(dihedral(here["N"], here["CA"], here["C"], after))
        found.append(Sample(residue, here, phi, psi))
    return found


def circular_mean(degrees: NDArray[np.float64]) -> float:
    """Direction of the mean unit vector, -180 to 180 degrees."""
    radians = np.radians(degrees)
    return float(np.degrees(np.arctan2(np.sin(radians).mean(), np.cos(radians).mean())))


def _circular_median(degrees: NDArray[np.float64]) -> float:
    centre = circular_mean(degrees)
    return float(wrap(centre + np.median(wrap(degrees - centre))))


def chi_angles(residue: str, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Chi angles, shape (samples, chi), degrees, 0 to 360 (symmetric ones -15 to 165)."""
    quads = CHI[residue]
    columns = [
        dihedral(*(np.array([s.atoms[name] for s in samples]) for name in quad)) % 360.0 for quad in quads
    ]
    chi = np.stack(columns, axis=1) if columns else np.zeros((len(samples), 0))
    if residue in SYMMETRIC_CHI:
        k = SYMMETRIC_CHI[residue]
        chi[:, k] = (chi[:, k] + PLANAR_BIN / 2) % 180.0 - PLANAR_BIN / 2
    return chi


def measure_geometry(residue: str, samples: Sequence[Sample]) -> tuple[dict[str, float], list[list[float]]]:
    """Median backbone geometry, and median length, angle and dihedral of each side-chain atom."""
    xyz = {name: np.array([s.atoms[name] for s in samples]) for name in ATOMS[residue]}

    def length(a: str, b: str) -> float:
        return round(float(np.median(np.linalg.norm(xyz[a] - xyz[b], axis=1))), 3)

    backbone = {f"{a}-{b}": length(a, b) for a, b in (("N", "CA"), ("CA", "C"), ("C", "O"))}
    for a, b, c in (("N", "CA", "C"), ("CA", "C", "O")):
        backbone[f"{a}-{b}-{c}"] = round(float(np.median(angle(xyz[a], xyz[b], xyz[c]))), 2)
    quads = CHI[residue]
    rows = []
    for row in TREE[residue]:
        torsion = dihedral(xyz[row.first], xyz[row.second], xyz[row.third], xyz[row.atom])
        if row.chi >= 0:
            torsion = wrap(torsion - dihedral(*(xyz[name] for name in quads[row.chi])))
        rows.append(
            [
                length(row.third, row.atom),
                round(float(np.median(angle(xyz[row.second], xyz[row.third], xyz[row.atom]))), 2),
                round(_circular_median(torsion), 2),
            ]
        )
    return backbone, rows


def _bins(residue: str, chi: NDArray[np.float64]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Bin numbers, shape (samples, chi), and how many bins each chi has."""
    bins = np.floor(chi / 120.0).astype(np.int64).clip(0, 2)
    sizes = [3] * chi.shape[1]
    if residue in PLANAR_CHI:
        k = PLANAR_CHI[residue]
        period = 180.0 if residue in SYMMETRIC_CHI else 360.0
        sizes[k] = round(period / PLANAR_BIN)
        bins[:, k] = np.floor((chi[:, k] + PLANAR_BIN / 2) % 360.0 / PLANAR_BIN).astype(np.int64) % sizes[k]
    return bins, tuple(sizes)


def _frequencies(residue: str, bins: NDArray[np.int64], sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Shrunken frequency of every combination of bins, shape `sizes`, summing to 1."""
    counts = np.zeros(sizes)
    np.add.at(counts, tuple(bins.T), 1.0)
    if residue in FLIPPED_CHI:
        half = sizes[-1] // 2
        flipped = counts[..., half:]
        shape = counts[..., :half] + flipped
        per_bin = shape.reshape(-1, half).sum(axis=0)
        share = (flipped.reshape(-1, half).sum(axis=0) + 5.0) / (per_bin + 10.0)
        counts = np.concatenate([shape * (1.0 - share), shape * share], axis=-1)
    total = counts.sum()
    # Prior: chi1, then each chi given the one before, all with half a count per bin.
    prior = (counts.sum(axis=tuple(range(1, counts.ndim))) + 0.5) / (total + 0.5 * sizes[0])
    for k in range(1, counts.ndim):
        pair = counts.sum(axis=tuple(a for a in range(counts.ndim) if a not in (k - 1, k))) + 0.5
        prior = prior[..., None] * (pair / pair.sum(axis=1, keepdims=True))
    return np.asarray((counts + PSEUDO_COUNT * prior) / (total + PSEUDO_COUNT))


def measure_rotamers(residue: str, samples: Sequence[Sample]) -> list[list[float]]:
    """Rows: chi1 bin, weight within it, mean and spread of each chi; weights below 0.001 are left out."""
    chi = chi_angles(residue, samples)
    bins, sizes = _bins(residue, chi)
    frequency = _frequencies(residue, bins, sizes)
    centre_of = [
        [_centre(residue, k, chi[bins[:, k] == b, k], b) for b in range(sizes[k])] for k in range(len(sizes))
    ]
    chi1_total = frequency.reshape(sizes[0], -1).sum(axis=1)
    rows = []
    for combination in product(*(range(n) for n in sizes)):
        weight = frequency[combination] / chi1_total[combination[0]]
        if weight < (0.5 if residue == "P" else 1e-3):
            continue  # a ring closes in two puckers only: their mixtures are no rotamers
        inside = chi[(bins == np.array(combination)).all(axis=1)]
        means, spreads = [], []
        for k, b in enumerate(combination):
            prior_mean, prior_spread = centre_of[k][b]
            offset = wrap(inside[:, k] - prior_mean)
            shrink = len(inside) / (len(inside) + 5.0)
            shift = float(shrink * offset.mean()) if len(inside) else 0.0
            variance = float(((offset - shift) ** 2).sum() + 5.0 * prior_spread**2) / (len(inside) + 5.0)
            means.append(round(float(wrap(prior_mean + shift)), 1))
            spreads.append(round(float(np.sqrt(variance)), 1))
        rows.append([float(combination[0]), round(float(weight), 5), *means, *spreads])
    return rows


def _centre(residue: str, k: int, values: NDArray[np.float64], b: int) -> tuple[float, float]:
    """Mean and spread of one chi in one bin over all rotamers; of an empty bin its middle."""
    planar = PLANAR_CHI.get(residue) == k
    middle, width = (PLANAR_BIN * b, PLANAR_BIN / 3.5) if planar else (120.0 * b + 60.0, 15.0)
    if len(values) < 5:
        return middle, width
    mean = circular_mean(values) if not planar else float(middle + wrap(values - middle).mean() * 1.0)
    return mean, float(max(np.sqrt((wrap(values - mean) ** 2).mean()), 5.0))


def measure_chi1(residue: str, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Probability of each chi1 bin at each grid point of phi and psi, shape (GRID, GRID, 3)."""
    chi = chi_angles(residue, samples)
    bins, _ = _bins(residue, chi)
    average = np.bincount(bins[:, 0], minlength=3) + 0.5
    average = average / average.sum()
    phi, psi = (np.radians([getattr(s, name) for s in samples]) for name in ("phi", "psi"))
    usable = np.isfinite(phi) & np.isfinite(psi)
    grid = np.radians(np.arange(GRID) * (360.0 / GRID) - 180.0)
    near_phi = np.exp(KERNEL * (np.cos(grid[:, None] - phi[usable]) - 1.0))
    near_psi = np.exp(KERNEL * (np.cos(grid[:, None] - psi[usable]) - 1.0))
    indicator = np.eye(3)[bins[usable, 0]]
    weighted = np.einsum("as,bs,sk->abk", near_phi, near_psi, indicator)
    return np.asarray(
        (weighted + PSEUDO_COUNT * average) / (weighted.sum(axis=2, keepdims=True) + PSEUDO_COUNT)
    )


def derive(structures: Sequence[Structure], excluded: Sequence[str] = ()) -> dict[str, Any]:
    """Measure the whole library.

    Parameters
    ----------
    structures : sequence of Structure
        Chains of PDB entries; NMR models, relatives of each other and of `excluded` are dropped here.
    excluded : sequence of str
        Sequences (a test set's proteins) nothing in the library may resemble.

    Returns
    -------
    dict
        The JSON document `mutscan.builders.rotamers` reads.
    """
    crystals = [s for s in structures if is_crystal(s)]
    chains, n_excluded = unrelated(crystals, excluded)
    if not chains:
        raise UsageError("no crystal structure is left to measure rotamers from: give more chains")
    by_residue: dict[str, list[Sample]] = {residue: [] for residue in TREE}
    digest = hashlib.sha256()
    for chain in chains:
        digest.update(f"{chain.name} {chain.sequence}\n".encode())
        digest.update(np.round(chain.coord * 1000).astype("<i4").tobytes())
        for sample in samples_of(chain):
            by_residue[sample.residue].append(sample)
    residues: dict[str, Any] = {}
    for residue, samples in by_residue.items():
        if len(samples) < MIN_SAMPLES:
            raise UsageError(
                f"{len(samples)} samples of {residue} are too few for a library: give more chains"
            )
        backbone, rows = measure_geometry(residue, samples)
        entry: dict[str, Any] = {"count": len(samples), "backbone": backbone, "geometry": rows}
        if CHI[residue]:
            entry["rotamers"] = measure_rotamers(residue, samples)
            entry["chi1"] = np.round(measure_chi1(residue, samples) * 1000).astype(int).reshape(-1).tolist()
        residues[residue] = entry
    return {
        "about": {
            "what": "ideal geometry and rotamers of the 20 residues, chi1 dependent on phi and psi",
            "made_by": "python training/rotamers/derive.py",
            "method": "Lovell 2000 (rotamers, flips), Dunbrack & Cohen 1997 (shrinkage), "
            "Shapovalov & Dunbrack 2011 (kernels over phi and psi)",
            "source": "crystal structures of the Protein Data Bank, CC0 1.0",
            "left_out": f"{n_excluded} chains resembling the {len(excluded)} wild types of Ssym "
            f"(local alignment of {EXCLUDED_BITS:.0f} bits or more)",
            "chains": [chain.name for chain in chains],
            "residues": sum(entry["count"] for entry in residues.values()),
            "max_b_factor": MAX_B_FACTOR,
            "data_sha256": digest.hexdigest(),
        },
        "grid": GRID,
        "residues": residues,
    }


def to_text(document: Mapping[str, Any]) -> str:
    """Compact JSON, one residue per line, same bytes for the same document."""
    about = ",\n".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in document["about"].items())
    entries = ",\n".join(
        f"{json.dumps(residue)}:{json.dumps(entry, separators=(',', ':'))}"
        for residue, entry in document["residues"].items()
    )
    return f'{{"about":{{\n{about}}},\n"grid":{document["grid"]},\n"residues":{{\n{entries}}}}}\n'


def pdb_chains(folders: Iterable[Path]) -> list[Structure]:
    """Chains of PDB entries (file named by a PDB code and a chain), one per name."""
    pattern = re.compile(r"^(\d[A-Z0-9]{3})_?([A-Za-z0-9])\.pdb(\.gz)?$")
    found: dict[str, Structure] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            match = pattern.match(path.name)
            if match and match[1] + match[2] not in found:
                found[match[1] + match[2]] = read_structure(path)
    return list(found.values())


def main(argv: Sequence[str] | None = None) -> None:
    """Write the library from folders of PDB chains."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of PDB chains (1ABC_A.pdb.gz)")
    parser.add_argument(
        "--exclude", nargs="*", type=Path, default=[], help="structures the library may not resemble"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    excluded = sorted({read_structure(path).sequence for path in arguments.exclude})
    document = derive(pdb_chains(arguments.folders), excluded)
    arguments.out.write_text(to_text(document), encoding="utf-8")
    counts = Counter({r: e["count"] for r, e in document["residues"].items()})
    print(f"{len(document['about']['chains'])} chains, {counts.total()} residues -> {arguments.out}")


if __name__ == "__main__":
    main()
