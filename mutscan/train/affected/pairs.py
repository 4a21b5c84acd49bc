"""Real mutants: pairs of crystals of one protein that differ in a single residue.

The wild type of a protein is the chain with the most such partners, so that few wild types need a
background of predictions. A cluster of related chains gives at most `MOST_OF_CLUSTER` pairs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.errors import StructureError, UsageError
from mutscan.hashes import text_sha256
from mutscan.scores.local import lddt
from mutscan.scores.superposition import superpose
from mutscan.structures import Structure, WildType, read_structure, wild_type_from_structure
from mutscan.structures.files import StructureFinder
from mutscan.train.chains.relatives import shared_words
from mutscan.train.chains.tables import coordinates, read_columns
from mutscan.variants import Substitution, Variant, parse_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MOST_OF_CLUSTER: Final = 30
"""Pairs of a cluster; without a limit T4 lysozyme and hen egg-white lysozyme would be half of the table."""

BROKEN: Final = 4.3
"""Å between neighbouring C-alpha atoms from which the chain is broken. Chains of the table hold resolved
residues only: where two crystals lack different residues of a loop, one seems to be exchanged."""

SAME_PROTEIN: Final = 0.3
"""Share of words of five residues from which a crystal belongs to a chain's cluster."""


@dataclass(frozen=True, eq=False)
class CrystalPair:
    """Two crystals of one protein, which differ in one residue.

    Parameters
    ----------
    name : str
        Both chains.
    wild_type : WildType
        With its structure, of C-alpha atoms alone where the table has no others.
    variant : Variant
        The single substitution.
    cluster, group : int
        Clusters of related chains, at 40 % and at 25 % identity. No group is fitted and judged at once.
    drop : float array, shape (L,)
        1 - lDDT of C-alpha atoms, the wild type being the reference; NaN where one of them is unresolved.
    rmsd : float, Å
        Of all C-alpha atoms, superposed.
    """

    name: str
    wild_type: WildType
    variant: Variant
    cluster: int
    group: int
    drop: NDArray[np.float64]
    rmsd: float

    @property
    def index(self) -> int:
        """The exchanged residue, 0-based."""
        return self.variant.positions[0] - 1

    @property
    def all_atoms(self) -> bool:
        """Whether the wild type has side chains, which a builder needs."""
        structure = self.wild_type.structure
        assert structure is not None
        return len(structure.atom_name) > len(structure)


@dataclass(frozen=True, eq=False)
class ChainTable:
    """Experimental chains of structures.parquet.

    Parameters
    ----------
    ids, sequences : list of str
    ca : list of float arrays, shape (L, 3), Å
    cluster, group : int array, shape (n,)
        Columns ``cluster`` and ``cluster25``.
    """

    ids: list[str]
    sequences: list[str]
    ca: list[NDArray[np.float64]]
    cluster: NDArray[np.int64]
    group: NDArray[np.int64]


def read_chains(path: Path) -> ChainTable:
    """Read the experimental chains of a table.

    Raises
    ------
    UsageError
        No such file, a column is missing, or a row does not fit its sequence.
    """
    needed = ("id", "sequence", "ca", "kind", "cluster", "cluster25")
    table: pd.DataFrame = read_columns(path, needed).to_pandas(ignore_metadata=True)
    table = table[table["kind"] == "experimental"]
    ids, sequences = (table[column].astype(str).tolist() for column in ("id", "sequence"))
    atoms = [
        coordinates(buffer, sequence, name, path).astype(np.float64)
        for buffer, sequence, name in zip(table["ca"], sequences, ids, strict=True)
    ]
    clusters = (table[column].to_numpy(np.int64) for column in ("cluster", "cluster25"))
    return ChainTable(ids, sequences, atoms, *clusters)


def crystal_pairs(chains: ChainTable, crystals: Path | None, *, seed: int = 0) -> list[CrystalPair]:
    """Make the pair table: pairs of crystals with all atoms first, then those of the chains.

    Parameters
    ----------
    chains : ChainTable
    crystals : Path, optional
        ssym_pairs.csv; its files lie in the folder ``ssym`` beside it.
    seed : int
        Random seed of the draw where a cluster has more than `MOST_OF_CLUSTER` pairs.
    """
    room = Counter[int]()
    known: set[tuple[int, str, str]] = set()
    chosen: list[CrystalPair] = []
    found = [] if crystals is None else [*_drawn(_with_atoms(crystals, chains), seed)]
    for pair in (*found, *_of_chains(chains, seed)):
        # A mutant that was crystallised several times counts once for each wild-type sequence.
        what = (pair.cluster, pair.wild_type.sequence, str(pair.variant))
        if what not in known and room[pair.cluster] < MOST_OF_CLUSTER:
            known.add(what)
            room[pair.cluster] += 1
            chosen.append(pair)
    return chosen


def _drawn(pairs: Iterable[CrystalPair], seed: int) -> list[CrystalPair]:
    """Order pairs: wild types with the most pairs first, the pairs of each by a seeded draw."""
    listed = list(pairs)
    count = Counter(pair.wild_type.name for pair in listed)
    return sorted(
        listed,
        key=lambda p: (
            -count[p.wild_type.name],
            p.wild_type.name,
            text_sha256(f"{seed}\n{p.name}\n{p.variant}"),
        ),
    )


def _with_atoms(table: Path, chains: ChainTable) -> Iterator[CrystalPair]:
    """Pairs of ssym_pairs.csv that differ in their one residue only."""
    needed = {"wt", "mut", "variant", "n_diff"}
    try:
        rows = pd.read_csv(table)
    except (OSError, ValueError) as error:
        raise UsageError(f"{table}: cannot be read as CSV ({error})") from error
    if missing := needed - {*rows.columns}:
        raise UsageError(f"{table}: has no column {', '.join(sorted(missing))}; expected ssym_pairs.csv")
    finder = StructureFinder(table.resolve().parent / "ssym")
    crystals: dict[str, Structure] = {}
    for name in dict.fromkeys([*rows["wt"].astype(str), *rows["mut"].astype(str)]):
        paths = finder.candidates(name)
        if not paths:
            raise UsageError(f"{table}: no structure file {name} in its folder or those below")
        try:
            crystals[name] = read_structure(paths[0])
        except StructureError as error:
            raise UsageError(f"{table}: {error.message}") from error
    names = list(dict.fromkeys(rows["wt"].astype(str)))
    wild_types = {
        # The chain is what has coordinates: unresolved residues have no place in the pairs.
        name: wild_type_from_structure(replace(crystals[name], full_sequence=None, full_index=None))
        for name in names
    }
    homes = _clusters_of([wild_types[name].sequence for name in names], chains)
    cluster_of = dict(zip(names, homes, strict=True))
    for row in rows[rows["n_diff"] == 1].itertuples():
        wild_type, mutant = wild_types[str(row.wt)], crystals[str(row.mut)]
        assert wild_type.structure is not None
        place = {number: k for k, number in enumerate(mutant.numbers)}
        partner = np.array([place.get(number, -1) for number in wild_type.structure.numbers])
        ca = np.where((partner >= 0)[:, None], mutant.ca[np.maximum(partner, 0)], np.nan)
        (substitution,) = parse_variant(str(row.variant)).substitutions
        at = partner[substitution.position - 1]
        if at < 0 or mutant.sequence[at] != substitution.mutant:
            raise UsageError(f"{table}: {row.mut} does not carry {row.variant} of {row.wt}")
        pair = CrystalPair(
            f"{row.wt} {row.mut}",
            wild_type,
            Variant((substitution,)),
            *cluster_of[str(row.wt)],
            *_difference(wild_type.structure.ca, ca),
        )
        if _unbroken(wild_type.structure.ca, pair.index) and _unbroken(ca, pair.index):
            yield pair


def _clusters_of(sequences: Sequence[str], chains: ChainTable) -> list[tuple[int, int]]:
    """Clusters of the chain most alike to each sequence; a number of its own where none is alike."""
    best = np.full(len(sequences), SAME_PROTEIN)
    found = [(-1 - k, -1 - k) for k in range(len(sequences))]
    for rows, others, share in shared_words(chains.sequences, sequences):
        for chain, which, alike in zip(rows.tolist(), others.tolist(), share.tolist(), strict=True):
            if alike > best[which]:
                best[which] = alike
                found[which] = int(chains.cluster[chain]), int(chains.group[chain])
    return found


def _of_chains(chains: ChainTable, seed: int) -> Iterator[CrystalPair]:
    """Pairs of chains of one cluster; the chain with the most partners left is the next wild type."""
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, (cluster, sequence) in enumerate(zip(chains.cluster.tolist(), chains.sequences, strict=True)):
        members[cluster, len(sequence)].append(row)
    partners: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for (cluster, _), rows in members.items():
        letters = np.array([np.frombuffer(chains.sequences[row].encode(), np.uint8) for row in rows])
        for one, row in enumerate(rows):
            differ = (letters[one + 1 :] != letters[one]).sum(axis=1)
            for other in (np.flatnonzero(differ == 1) + one + 1).tolist():
                if _real(chains, row, rows[other]):
                    partners[cluster][row].append(rows[other])
                    partners[cluster][rows[other]].append(row)
    for cluster in sorted(partners):
        left = partners[cluster]
        while True:
            hub = min(left, key=lambda row: (-len(left[row]), chains.ids[row]))
            if not left[hub]:
                break
            wild_type = _ca_only(chains.ids[hub], chains.sequences[hub], chains.ca[hub])
            yield from _drawn((_chain_pair(chains, wild_type, hub, row) for row in left[hub]), seed)
            for row in left.pop(hub):
                left[row].remove(hub)


def _chain_pair(chains: ChainTable, wild_type: WildType, hub: int, row: int) -> CrystalPair:
    one, other = chains.sequences[hub], chains.sequences[row]
    (index,) = (k for k in range(len(one)) if one[k] != other[k])
    return CrystalPair(
        f"{chains.ids[hub]} {chains.ids[row]}",
        wild_type,
        Variant((Substitution(index + 1, one[index], other[index]),)),
        int(chains.cluster[hub]),
        int(chains.group[hub]),
        *_difference(chains.ca[hub], chains.ca[row]),
    )


def _difference(
    reference: NDArray[np.float64], mutant: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Drop of each residue, shape (L,), and C-alpha RMSD in Å."""
    both = np.isfinite(reference).all(axis=1) & np.isfinite(mutant).all(axis=1)
    rotation, translation = superpose(mutant[both], reference[both])
    moved = mutant[both] @ rotation.T + translation
    rmsd = float(np.sqrt(((moved - reference[both]) ** 2).sum(axis=1).mean()))
    return 1.0 - lddt(reference, mutant), rmsd


def _real(chains: ChainTable, one: int, other: int) -> bool:
    """Whether the differing residue is bonded to both neighbours in both crystals."""
    first, second = chains.sequences[one], chains.sequences[other]
    index = next(k for k in range(len(first)) if first[k] != second[k])
    return _unbroken(chains.ca[one], index) and _unbroken(chains.ca[other], index)


def _unbroken(ca: NDArray[np.float64], index: int) -> bool:
    if not 0 < index < len(ca) - 1:
        return False
    return bool((np.linalg.norm(np.diff(ca[index - 1 : index + 2], axis=0), axis=1) < BROKEN).all())


def _ca_only(name: str, sequence: str, ca: NDArray[np.float64]) -> WildType:
    length = len(sequence)
    every = np.arange(length, dtype=np.int64)
    structure = Structure(
        name, "A", sequence, every + 1, ("",) * length, every, ("CA",) * length, ("C",) * length, ca,
        np.zeros(length),
    )  # fmt: skip
    return WildType(name, sequence, structure, every)
