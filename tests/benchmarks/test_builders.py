"""Builders: seconds per mutant, and how near they come to crystal structures of real mutants.

``python -m pytest tests/benchmarks/test_builders.py -m benchmark -s`` prints the tables. Seconds
are CPU seconds of one thread, so that a busy machine does not change the verdict; wall
seconds stand beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mutscan.builders import Exchange, MutantBuilder, Prepared
from mutscan.builders.openmm import OpenMMBuilder
from mutscan.builders.rotamers import ideal_side_chain, place_side_chain
from mutscan.builders.template import TemplateBuilder
from mutscan.residues import STANDARD, THREE_LETTER
from mutscan.structures import Structure, read_structure, write_structure
from tests.benchmarks.crystal_pairs import Pair, atoms_of, measure, print_table, read_pairs

pytestmark = [pytest.mark.benchmark, pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def wild_types(shared: Path) -> list[Structure]:
    """Two proteins of each length class, 63 to 419 residues."""
    paths = sorted((shared / "data" / "wild_types").glob("*.pdb.gz"))
    structures = sorted((read_structure(path) for path in paths), key=lambda s: (len(s), s.name))
    wanted = [80, 110, 150, 180, 220, 260, 300, 330, 370, 400]
    return [min(structures, key=lambda s: abs(len(s) - n)) for n in wanted]


def buried_sites(structure: Structure, n: int) -> list[int]:
    """The n residues with the most neighbours: the dearest ones, and alike in proteins of any length."""
    distance = np.linalg.norm(structure.ca[:, None] - structure.ca[None], axis=2)
    return [int(i) for i in np.argsort(-(distance < 14.0).sum(axis=1), kind="stable")[:n]]


def random_exchanges(structure: Structure, n: int, seed: int) -> list[Exchange]:
    rng = np.random.default_rng(seed)
    sites = rng.choice(np.arange(2, len(structure) - 2), n, replace=False)
    return [
        Exchange(int(i), str(rng.choice([r for r in STANDARD if r != structure.sequence[int(i)]])))
        for i in sites
    ]


def test_seconds_per_mutant(wild_types: list[Structure], tmp_path: Path) -> None:
    rows = []
    for structure in wild_types:
        start = time.perf_counter()
        prepared = OpenMMBuilder().prepare(structure, tmp_path / structure.name)
        preparing = time.perf_counter() - start
        exchanges = random_exchanges(structure, 4, seed=len(structure))
        exchanges += [
            Exchange(i, "A" if structure.sequence[i] != "A" else "V") for i in buried_sites(structure, 1)
        ]
        for exchange in exchanges:
            prepared.build([exchange])  # the control: counted apart
            cpu = time.process_time()
            built = prepared.build([exchange])
            rows.append(
                {
                    "name": structure.name,
                    "length": len(structure),
                    "prepare": preparing,
                    "wall": built.seconds,
                    "cpu": time.process_time() - cpu,
                    "dearest": exchange is exchanges[-1],
                }
            )
    table = pd.DataFrame(rows)
    print("\nopenmm, seconds per mutant and core (control apart)")
    print(
        f"{'protein':>24} {'L':>5} {'prepare':>8} {'median cpu':>10} {'median wall':>11} {'buried cpu':>13}"
    )
    for (name, length), group in table.groupby(["name", "length"], sort=False):
        dearest = group[group.dearest].cpu.iloc[0]
        print(
            f"{name:>24} {length:5d} {group.prepare.iloc[0]:8.3f} {group.cpu.median():10.2f} "
            f"{group.wall.median():11.2f} {dearest:13.2f}"
        )
    within = table[table.length.between(100, 420)]
    print(
        f"all, 100-420 residues: cpu median {within.cpu.median():.2f}, 90 % {within.cpu.quantile(0.9):.2f}; "
        f"wall median {within.wall.median():.2f}, 90 % {within.wall.quantile(0.9):.2f}"
    )
    assert within.cpu.median() <= 2.5
    # Flat: what a buried site costs does not grow with the protein around it.
    short, long = (
        table[table.dearest & table.length.between(*span)].cpu.median() for span in ((100, 240), (240, 420))
    )
    print(f"buried sites: {short:.2f} s below 240 residues, {long:.2f} s above")
    assert long < 2.0 * short


def whole_protein(path: Path, chain_id: str, change: str) -> float:
    """CPU seconds for what one would write down first: PDBFixer, all hydrogens, minimise everything."""
    import openmm
    from openmm import app, unit
    from pdbfixer import PDBFixer

    start = time.process_time()
    fixer = PDBFixer(str(path))
    fixer.applyMutations([change], chain_id)
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=1)
    fixer.addMissingHydrogens(7.0)
    field = app.ForceField("amber14-all.xml", "implicit/obc2.xml")
    system = field.createSystem(
        fixer.topology, nonbondedMethod=app.CutoffNonPeriodic, nonbondedCutoff=1.2 * unit.nanometer
    )
    context = openmm.Context(
        system,
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("CPU"),
        {"Threads": "1"},
    )
    context.setPositions(fixer.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 20.0, 200)
    return time.process_time() - start


@pytest.mark.filterwarnings("ignore")  # PDBFixer's own
def test_ratio_to_the_whole_protein(wild_types: list[Structure], tmp_path: Path) -> None:
    print("\nwhole protein with PDBFixer and 200 steps, against openmm here (CPU seconds, one thread)")
    ratios = []
    for structure in (wild_types[2], wild_types[4]):
        site = buried_sites(structure, 1)[0]
        residue = "A" if structure.sequence[site] != "A" else "V"
        prepared = OpenMMBuilder().prepare(structure, tmp_path / structure.name)
        prepared.build([Exchange(site, residue)])
        cpu = time.process_time()
        prepared.build([Exchange(site, residue)])
        here = time.process_time() - cpu
        path = tmp_path / f"{structure.name}.pdb"
        write_structure(structure, path)
        change = f"{THREE_LETTER[structure.sequence[site]]}-{structure.numbers[site]}-{THREE_LETTER[residue]}"
        whole = whole_protein(path, structure.chain_id, change)
        ratios.append(whole / here)
        times = f"{whole:.1f} s against {here:.2f} s: {whole / here:.0f} times"
        print(f"{structure.name:>12} L={len(structure)}: {times}")
    assert min(ratios) >= 8.0


def rotamer_alone(pair: Pair) -> tuple[dict[str, np.ndarray], float]:
    wild_type = pair.wild_type
    others = wild_type.residue_index != pair.site
    elements = [e for e, keep in zip(wild_type.element, others, strict=True) if keep]
    return place_side_chain(
        pair.residue, atoms_of(wild_type, pair.site), wild_type.coord[others], elements
    ), 0.0


def copy_wild_type(pair: Pair) -> tuple[dict[str, np.ndarray], float]:
    """The unchanged wild type, the new side chain in its commonest conformation."""
    return ideal_side_chain(pair.residue, atoms_of(pair.wild_type, pair.site)), 0.0


def built_by(builder: MutantBuilder, folder: Path) -> Callable[[Pair], tuple[dict[str, np.ndarray], float]]:
    prepared: dict[str, Prepared] = {}

    def build(pair: Pair) -> tuple[dict[str, np.ndarray], float]:
        name = pair.wild_type.name
        if name not in prepared:
            prepared[name] = builder.prepare(pair.wild_type, folder / name)
        mutant = prepared[name].build([Exchange(pair.site, pair.residue)]).structure
        shift = float(np.linalg.norm(mutant.ca[pair.site] - pair.wild_type.ca[pair.site]))
        return atoms_of(mutant, pair.site), shift

    return build


def test_builder_against_reality(shared: Path, tmp_path: Path) -> None:
    pairs = read_pairs(shared / "data" / "variants")
    rng = np.random.default_rng(7)
    subset = [pairs[k] for k in sorted(rng.choice(len(pairs), 100, replace=False))]
    tables = {
        "all: copy the wild type": measure(pairs, copy_wild_type),
        "all: rotamer alone": measure(pairs, rotamer_alone),
        "subset: copy the wild type": measure(subset, copy_wild_type),
        "subset: rotamer alone": measure(subset, rotamer_alone),
        "subset: template": measure(subset, built_by(TemplateBuilder(), tmp_path / "template")),
        "subset: openmm": measure(subset, built_by(OpenMMBuilder(), tmp_path / "openmm")),
    }
    print("\nCrystal pairs of Ssym, 95 % intervals over wild types")
    print_table(tables)
    copied, placed = tables["all: copy the wild type"], tables["all: rotamer alone"]
    assert (placed.chi1.dropna() < 40).mean() > (copied.chi1.dropna() < 40).mean() + 0.05
    assert placed.rmsd.median() < copied.rmsd.median()
    assert tables["subset: openmm"].rmsd.mean() <= tables["subset: rotamer alone"].rmsd.mean() + 0.02
    assert tables["subset: openmm"]["shift"].corr(tables["subset: openmm"].crystal_shift, "spearman") > 0.0
