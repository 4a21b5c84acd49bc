"""Join tables of chains and pairs to one training set: clusters, splits, labels, mutants."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from mutscan.errors import UsageError
from mutscan.results import read_arrays, write_arrays
from mutscan.train.chains.labels import lddt_labels
from mutscan.train.chains.relatives import adopt_clusters, link_clusters
from mutscan.train.chains.splits import complete_splits, find_split_list, listed_splits, pairs_inside
from mutscan.train.chains.tables import MUTANT, SIMILAR, Chains, Pairs, read_picked_as, read_tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress

_EXPONENT: Final = 3.0
_RADIUS: Final = 15.0


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Chains and pairs of training, validation and test.

    Parameters
    ----------
    chains : Chains
        With a cluster for each.
    pairs : Pairs
    mutant : bool array, shape (number of pairs,)
        Pairs of a wild type and its mutant.
    lddt : float32 array, shape (aligned residues,)
        Label of each row of ``pairs.aligned``; NaN where there is none.
    exponent, radius : float
        Settings of these labels; the radius in Å.
    splits : str array, shape (number of chains,)
        ``""`` for a chain that is in none.
    tables : int array, shape (number of tables + 1,)
        Pairs of table k: ``pairs[tables[k]:tables[k + 1]]``.
    paths : tuple of (Path, Path), length number of tables
        Structures and pairs of each table.
    sha256 : str
        Of sequences, coordinates, clusters, pairs, alignments and stored labels; with a data set among the
        tables also of the splits.
    """

    chains: Chains
    pairs: Pairs
    mutant: NDArray[np.bool_]
    lddt: NDArray[np.float32]
    exponent: float
    radius: float
    splits: NDArray[np.str_]
    tables: NDArray[np.int64]
    paths: tuple[tuple[Path, Path], ...]
    sha256: str

    def inside(self, split: str, *, longest: int = 0, mutants: bool = True) -> NDArray[np.int64]:
        """Pairs inside a split, of chains up to `longest` residues (0: any), with or without mutants.

        Raises
        ------
        UsageError
            There is none.
        """
        chosen = pairs_inside(self.pairs, self.splits, split)
        if longest:
            fits = self.chains.lengths <= longest
            chosen = chosen[fits[self.pairs.chain_1[chosen]] & fits[self.pairs.chain_2[chosen]]]
        if not mutants:
            chosen = chosen[~self.mutant[chosen]]
        if not len(chosen):
            raise UsageError(
                f"no pair{f' of chains up to {longest} residues' if longest else ''} lies inside the {split} "
                "split; give more pairs, of chains of more than a few clusters"
            )
        return chosen

    def test_tables(self) -> dict[int, tuple[Path, Path]]:
        """Structures and pairs of the first table and of those that hold test pairs, by number from 1."""
        test = pairs_inside(self.pairs, self.splits, "test")
        holding = {0, *(np.searchsorted(self.tables, test, side="right") - 1).tolist()}
        return {number + 1: self.paths[number] for number in sorted(holding)}

    def labels_of(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Labels of the aligned residues of the pairs `chosen`, in their order."""
        return self.lddt[self.pairs.rows(chosen)]


def read_training_set(
    structures: Sequence[Path],
    pairs: Sequence[Path],
    *,
    seed: int,
    lddt_from: float,
    work: Path,
    progress: Progress,
) -> TrainingSet:
    """Read tables, one after the other, and put them together.

    A chain without a cluster (a table without ``cluster25``, or a negative number in it) gets that of
    its wild type if it is a mutant's, else that of the known chain it is equal or related to
    (`adopt_clusters`), else a cluster of its own.

    The chains of a data set of ``mutscan train dataset`` are split as its splits.csv says. For other
    tables, clusters that hold parts of one protein are joined (`link_clusters`). A joined cluster that
    a data set holds chains of gets their split; where they are in several splits, its other chains are
    left out. A cluster of chains without a known one is trained on. The others are split 80 : 10 : 10 by
    a seeded hash.

    Parameters
    ----------
    structures, pairs : sequence of Path
        The n-th table of pairs is made of the n-th table of structures; one table of structures may
        serve all pairs.
    seed : int
        Of the splits of tables that are no data set.
    lddt_from : float
        Pairs with at least this TM-score get labels, as do all pairs with stored labels.
    work : Path
        Folder in which computed labels are stored.
    progress : Progress

    Raises
    ------
    UsageError
        The tables do not fit, no chain has a cluster, or two data sets put one cluster in two splits.
    """
    if len(structures) not in (1, len(pairs)):
        raise UsageError(
            f"{len(structures)} tables of structures for {len(pairs)} of pairs; give one for each, in the "
            "same order, or one for all"
        )
    tables = list(structures) * (len(pairs) // len(structures))
    paths = tuple(zip(tables, pairs, strict=True))
    parts = [read_tables(*one) for one in paths]
    mutant = np.concatenate([read_picked_as(path) == MUTANT for path in pairs])
    lists = [find_split_list(*one) for one in paths]
    chains = _join_chains([chains for chains, _ in parts], tables)
    joined = _join_pairs(parts)
    exponent, radius = _label_settings([part for _, part in parts], pairs)
    chains, loose = _complete_clusters(chains, joined, mutant, tables)
    splits = _splits(chains, loose, [part for part, _ in parts], lists, seed=seed, progress=progress)
    sha256 = _hash(chains, joined, splits if any(lists) else None)
    lddt = _labels(work, chains, joined, sha256, exponent, radius, lddt_from, progress)
    ends = np.cumsum([0, *(len(part) for _, part in parts)])
    return TrainingSet(chains, joined, mutant, lddt, exponent, radius, splits, ends, paths, sha256)


def _join_chains(parts: Sequence[Chains], tables: Sequence[Path]) -> Chains:
    known: dict[str, tuple[str, Path]] = {}
    for chains, table in zip(parts, tables, strict=True):
        for name, sequence in zip(chains.ids, chains.sequences, strict=True):
            earlier, where = known.setdefault(name, (sequence, table))
            if earlier != sequence:
                raise UsageError(
                    f"{table}: chain {name} has another sequence than in {where}; each name must be of one "
                    "protein"
                )
    clusters = [
        chains.clusters if chains.clusters is not None else np.full(len(chains), -1, dtype=np.int64)
        for chains in parts
    ]
    return Chains(
        tuple(name for chains in parts for name in chains.ids),
        tuple(sequence for chains in parts for sequence in chains.sequences),
        tuple(ca for chains in parts for ca in chains.ca),
        np.concatenate(clusters),
    )


def _join_pairs(parts: Sequence[tuple[Chains, Pairs]]) -> Pairs:
    """Lay the pairs end to end; rows without a stored label get NaN."""
    first = np.cumsum([0, *(len(chains) for chains, _ in parts)])
    rows = np.cumsum([0, *(len(pairs.aligned) for _, pairs in parts)])
    each = [pairs for _, pairs in parts]
    stored = [
        pairs.lddt if pairs.lddt is not None else np.full(len(pairs.aligned), np.nan, np.float32)
        for pairs in each
    ]
    return Pairs(
        np.concatenate([pairs.chain_1 + n for pairs, n in zip(each, first, strict=False)]),
        np.concatenate([pairs.chain_2 + n for pairs, n in zip(each, first, strict=False)]),
        np.concatenate([pairs.tm_score for pairs in each]),
        np.concatenate([pairs.tm_score_2 for pairs in each]),
        np.concatenate([pairs.aligned for pairs in each]),
        np.concatenate([[0], *(pairs.starts[1:] + n for pairs, n in zip(each, rows, strict=False))]),
        np.concatenate(stored),
    )


def _label_settings(parts: Sequence[Pairs], paths: Sequence[Path]) -> tuple[float, float]:
    """Exponent and radius of the stored labels; the paper's where none is stored."""
    found: dict[tuple[float, float], Path] = {}
    for pairs, path in zip(parts, paths, strict=True):
        if pairs.lddt_exponent is not None and pairs.lddt_radius is not None:
            found.setdefault((pairs.lddt_exponent, pairs.lddt_radius), path)
    if len(found) > 1:
        said = " and ".join(f"{e:g} and {r:g} ({path})" for (e, r), path in found.items())
        raise UsageError(
            f"the tables hold lDDT labels of exponent and radius {said}; "
            "make them again with the same settings (`mutscan train dataset --lddt-exponent`)"
        )
    return next(iter(found), (_EXPONENT, _RADIUS))


def _complete_clusters(
    chains: Chains, pairs: Pairs, mutant: NDArray[np.bool_], tables: Sequence[Path]
) -> tuple[Chains, NDArray[np.bool_]]:
    """Give every chain a cluster; also mark the chains of clusters without a known one."""
    assert chains.clusters is not None
    clusters = chains.clusters.copy()
    known = clusters >= 0
    if not known.any():
        raise UsageError(
            f"{', '.join(map(str, dict.fromkeys(tables)))}: no chain has a cluster (column cluster25); "
            "sequence clusters (25 % identity) are needed to separate training and test"
        )
    wild_type = np.arange(len(chains))
    wild_type[pairs.chain_2[mutant]] = pairs.chain_1[mutant]
    asking = np.unique(wild_type[~known])
    unknown = asking[~known[asking]]
    if len(unknown):
        clusters[unknown] = adopt_clusters(
            [chains.sequences[c] for c in unknown.tolist()],
            [chains.sequences[c] for c in np.flatnonzero(known).tolist()],
            clusters[known],
        )
    clusters[~known] = clusters[wild_type[~known]]
    loose = ~np.isin(clusters, clusters[known])
    return Chains(chains.ids, chains.sequences, chains.ca, clusters), loose


def _splits(
    chains: Chains,
    loose: NDArray[np.bool_],
    parts: Sequence[Chains],
    lists: Sequence[Path | None],
    *,
    seed: int,
    progress: Progress,
) -> NDArray[np.str_]:
    """Split of each chain: of data sets as their lists say, of others with their relatives or drawn."""
    assert chains.clusters is not None
    given = np.concatenate(
        [
            np.full(len(part), "", dtype="U10") if path is None else listed_splits(path, part.sequences)
            for part, path in zip(parts, lists, strict=True)
        ]
    )
    linked = link_clusters(chains.sequences, chains.clusters)
    _refuse_conflicts(
        chains, linked, given, np.repeat([str(path or "") for path in lists], [*map(len, parts)])
    )
    splits = complete_splits(linked, given, seed=seed, unknown=loose)
    left_out = int((splits == "").sum())
    if left_out:
        progress.note(
            f"{left_out} chains are left out: they are in no data set and related to chains of several splits"
        )
    return splits


def _refuse_conflicts(
    chains: Chains, linked: NDArray[np.int64], given: NDArray[np.str_], lists: NDArray[np.str_]
) -> None:
    """Refuse data sets that put related chains in different splits; one data set may (``--no-link``)."""
    listed = pd.DataFrame({"cluster": linked, "split": given, "list": lists, "id": chains.ids})[given != ""]
    counts = listed.groupby("cluster")[["split", "list"]].transform("nunique")
    divided = listed[(counts > 1).all(axis=1)]
    if len(divided):
        same = divided[divided["cluster"] == divided["cluster"].iloc[0]]
        one = same.iloc[0]
        other = same[same["split"] != one["split"]].iloc[0]
        raise UsageError(
            f"{' and '.join(dict.fromkeys(same['list']))} put related chains in different splits: "
            f"{one['id']} is in {one['split']}, {other['id']} in {other['split']} "
            f"({divided['cluster'].nunique()} clusters); "
            "make one data set of all pairs, or give both the same clusters and the same --seed"
        )


def _labels(
    work: Path,
    chains: Chains,
    pairs: Pairs,
    key: str,
    exponent: float,
    radius: float,
    lddt_from: float,
    progress: Progress,
) -> NDArray[np.float32]:
    """Labels of all pairs with stored labels or a high TM-score; computed ones are stored."""
    assert pairs.lddt is not None
    known = np.concatenate([[0], np.cumsum(~np.isnan(pairs.lddt))])
    unlabelled = known[pairs.starts[1:]] == known[pairs.starts[:-1]]
    missing = np.flatnonzero(unlabelled & (pairs.tm_score >= min(lddt_from, SIMILAR)))
    if not len(missing):
        return pairs.lddt
    path = work / "lddt.npz"
    key = f"{key}/{exponent:g}/{radius:g}/{min(lddt_from, SIMILAR):g}"
    kept = read_arrays(path)
    if kept is not None and str(kept["key"]) == key:
        return kept["labels"]
    progress.start("label residues", 1)
    labels = pairs.lddt.copy()
    labels[pairs.rows(missing)] = lddt_labels(chains, pairs.take(missing), exponent=exponent, radius=radius)
    progress.advance()
    progress.finish()
    write_arrays(path, key=np.array(key), labels=labels)
    return labels


def _hash(chains: Chains, pairs: Pairs, splits: NDArray[np.str_] | None) -> str:
    digest = hashlib.sha256("\n".join(chains.sequences).encode())
    for ca in chains.ca:
        digest.update(ca.tobytes())
    arrays = (chains.clusters, pairs.chain_1, pairs.chain_2, pairs.tm_score, pairs.aligned, pairs.starts)
    for array in (*arrays, pairs.lddt):
        if array is not None:
            digest.update(array.tobytes())
    if splits is not None:
        digest.update(",".join(splits.tolist()).encode())
    return digest.hexdigest()
