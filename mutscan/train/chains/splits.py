"""Splits of chains into training, validation and test, and the check that none is in two of them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from mutscan.errors import UsageError
from mutscan.files import write_text
from mutscan.hashes import text_sha256
from mutscan.train.chains.relatives import LINKED, shared_words
from mutscan.train.chains.tables import sequence_digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from mutscan.train.chains.tables import Chains, Pairs

SPLITS: Final = ("train", "validation", "test")
"""Names of the three splits."""

ACROSS: Final = "across"
"""Instead of a split: the two chains of a pair are in different splits."""

SPLIT_FILE: Final = "splits.csv"
"""Name of a split list, in the folder of a model or of a data set."""

_COLUMNS: Final = ("id", "sequence_sha256_16", "cluster25", "split")
_SEQUENCE: Final = "sequence"  # not in the lists of all models
_NAMED: Final = 5  # proteins or clusters named in a message, at most
_SHOWN: Final = 20  # residues of a sequence shown in a message


def assign_splits(
    clusters: NDArray[np.int64], *, seed: int = 0, fractions: tuple[float, float] = (0.8, 0.1)
) -> NDArray[np.str_]:
    """Assign each cluster to a split by a seeded hash; a cluster is never divided.

    Parameters
    ----------
    clusters : int array, shape (n,)
    seed : int
    fractions : two floats
        Shares of the clusters for train and validation; the rest is test.
    """
    names: dict[int, str] = {}
    for cluster in np.unique(clusters).tolist():
        place = int(text_sha256(f"{seed}:{cluster}")[:16], 16) / 2**64
        if place < fractions[0]:
            names[cluster] = "train"
        else:
            names[cluster] = "validation" if place < sum(fractions) else "test"
    return np.array([names[cluster] for cluster in clusters.tolist()], dtype=np.str_)


def complete_splits(
    clusters: NDArray[np.int64],
    given: NDArray[np.str_],
    *,
    seed: int = 0,
    unknown: NDArray[np.bool_] | None = None,
) -> NDArray[np.str_]:
    """Split of each chain: the one a data set gave it, else that of its cluster, else a seeded draw.

    Parameters
    ----------
    clusters : int array, shape (n,)
    given : str array, shape (n,)
        Splits that are decided already; ``""`` where none is.
    seed : int
        Of the draw, `assign_splits`.
    unknown : bool array, shape (n,), optional
        Chains without a known cluster. A cluster of such chains alone is in the training split.

    Returns
    -------
    str array, shape (n,)
        ``""`` for a chain without a given split whose cluster is in several: it fits in none of them.
    """
    drawn = assign_splits(clusters, seed=seed)
    if unknown is not None:
        drawn[unknown & ~np.isin(clusters, clusters[~unknown])] = "train"
    inside = np.array([np.isin(clusters, clusters[given == split]) for split in SPLITS])  # (3, n)
    count = inside.sum(axis=0)
    own = np.array(SPLITS)[inside.argmax(axis=0)]
    found: NDArray[np.str_] = np.select([given != "", count == 1, count == 0], [given, own, drawn], "")
    return found


def pairs_inside(pairs: Pairs, splits: NDArray[np.str_], split: str) -> NDArray[np.int64]:
    """Find the pairs of which both chains are in `split`."""
    return np.flatnonzero((splits[pairs.chain_1] == split) & (splits[pairs.chain_2] == split))


def splits_of_pairs(first: ArrayLike, second: ArrayLike) -> NDArray[np.str_]:
    """Split of each pair, from the splits of its chains; ``"across"`` where they differ."""
    one, other = np.asarray(first, dtype=np.str_), np.asarray(second, dtype=np.str_)
    return np.where(one == other, one, ACROSS)


@dataclass(frozen=True, slots=True)
class SplitEntry:
    """One chain of a split list: its protein, cluster and split.

    The sequence is None in lists without sequences.
    """

    digest: str
    cluster: int
    split: str
    sequence: str | None = None


@dataclass(frozen=True, slots=True)
class Disjoint:
    """Result of checking evaluated proteins against a model's training; false if clusters were not compared.

    Parameters
    ----------
    clusters : bool
        Whether clusters could be compared, in addition to sequences.
    copies : tuple of (id, id, share), or None
        Evaluated chains that share at least `LINKED` of their words of five residues (or of the other's,
        when it is shorter) with a chain of training or validation, that chain and the share: fragments and
        close homologues that neither comparison finds. None if the split list has no sequences.
    """

    clusters: bool
    copies: tuple[tuple[str, str, float], ...] | None

    def __bool__(self) -> bool:
        return self.clusters

    def describe(self) -> str:
        """Describe what was compared and what was found."""
        compared = "proteins by sequence" + (" and clusters by number" if self.clusters else "")
        without = (
            ""
            if self.clusters
            else "; clusters not compared (the tables and the model's split list share no chain and cluster)"
        )
        if self.copies is None:
            return f"{compared}: none shared{without}; shared parts not compared (the list has no sequences)"
        if not self.copies:
            return f"{compared}, and shared parts of sequences: none{without}"
        some = ", ".join(f"{one} ({share:.0%} of {other})" for one, other, share in self.copies[:_NAMED])
        return (
            f"{compared}: none shared{without}; but {len(self.copies)} chains are parts or close homologues "
            f"of training chains: {some}{' ...' if len(self.copies) > _NAMED else ''}"
        )


def write_splits(path: Path, chains: Chains, splits: NDArray[np.str_], *, sequences: bool = True) -> None:
    """Write the split list as text: id, sequence digest, cluster25, split; a row for each chain.

    Parameters
    ----------
    path : Path
    chains : Chains
    splits : str array, shape (n,)
    sequences : bool
        Whether to add the sequences, which are needed to find shared parts. A published model need not
        contain its training data.
    """
    clusters = chains.clusters if chains.clusters is not None else np.full(len(chains), -1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*_COLUMNS, _SEQUENCE) if sequences else _COLUMNS)
    columns = [chains.ids, chains.digests, clusters.tolist(), splits.tolist()]
    if sequences:
        columns.append(chains.sequences)
    # A chain that several tables hold is listed as in the first of them; one without a split is not listed.
    rows = {row[0]: row for row in reversed(list(zip(*columns, strict=True))) if row[3]}
    writer.writerows(sorted(rows.values()))
    write_text(path, text.getvalue())


def read_splits(path: Path) -> dict[str, SplitEntry]:
    """Read the split list of a model or a data set: id -> `SplitEntry`.

    Raises
    ------
    UsageError
        The file is missing or is no split list.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a split list")
    entries = {}
    with path.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            if set(row) - {_SEQUENCE} != set(_COLUMNS) or row["split"] not in SPLITS:
                raise UsageError(
                    f"{path}: line {reader.line_num} is no row of a split list "
                    f"({', '.join(_COLUMNS)}); make the data set or the model again"
                )
            entries[row["id"]] = SplitEntry(
                row["sequence_sha256_16"], int(row["cluster25"]), row["split"], row.get(_SEQUENCE) or None
            )
    return entries


def find_split_list(structures: Path, pairs: Path | None = None) -> Path | None:
    """Find the split list of the data set that tables belong to; None for tables of no data set.

    Parameters
    ----------
    structures : Path
        Table of chains.
    pairs : Path, optional
        Table of pairs, a folder of shards, or the folder of a data set.

    Raises
    ------
    UsageError
        The two tables are of two data sets.
    """
    folders = [structures.parent]
    if pairs is not None:
        folders += [pairs, pairs.parent, *([pairs.parent.parent] if pairs.parent.name == "pairs" else [])]
    found = {path.resolve(): path for folder in folders if (path := folder / SPLIT_FILE).is_file()}
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise UsageError(
            f"{structures} and {pairs} belong to two data sets, with the splits {one} and {other}; "
            "give the structures and the pairs of one data set"
        )
    return next(iter(found.values()), None)


def listed_splits(path: Path, sequences: Sequence[str]) -> NDArray[np.str_]:
    """Split of each chain of a data set, from its split list.

    Raises
    ------
    UsageError
        The list lacks a chain, or has one sequence in two splits.
    """
    splits: dict[str, str] = {}
    for name, entry in read_splits(path).items():
        if splits.setdefault(entry.digest, entry.split) != entry.split:
            raise UsageError(
                f"{path}: {name} is in {entry.split}, but the same sequence is also in "
                f"{splits[entry.digest]}; "
                "make the data set again with clusters that keep equal sequences together"
            )
    digests = [sequence_digest(sequence) for sequence in sequences]
    missing = [k for k, digest in enumerate(digests) if digest not in splits]
    if missing:
        raise UsageError(
            f"{path}: {len(missing)} chains of the data set are not in its split list, the first with the "
            f"sequence {sequences[missing[0]][:_SHOWN]}...; make it again with `mutscan train dataset`"
        )
    return np.array([splits[digest] for digest in digests], dtype=np.str_)


def splits_of(chains: Chains, entries: Mapping[str, SplitEntry]) -> NDArray[np.str_]:
    """Split of each chain by its sequence; ``""`` for a chain the list does not know."""
    by_digest = {entry.digest: entry.split for entry in entries.values()}
    return np.array([by_digest.get(digest, "") for digest in chains.digests], dtype=np.str_)


def check_disjoint(chains: Chains, used: NDArray[np.int64], entries: Mapping[str, SplitEntry]) -> Disjoint:
    """Refuse to evaluate on proteins that a model was trained on or selected by.

    Proteins are compared by their sequences. Clusters are compared only if the
    table and the split list share a chain and its cluster, which shows that both
    use the same numbers. Parts and close homologues of training chains, which clusters
    can miss, are found by shared words of five residues; they are reported but not refused.

    Parameters
    ----------
    chains : Chains
    used : int array
        Chains that are evaluated.
    entries : mapping of id -> SplitEntry
        The split list of the model.

    Returns
    -------
    Disjoint
        What was compared; true when clusters were.

    Raises
    ------
    UsageError
        A protein or cluster is on both sides; the message names it.
    """
    seen = {entry.digest: (name, entry) for name, entry in entries.items() if entry.split != "test"}
    digests = chains.digests
    shared = [
        f"{chains.ids[i]}{_known_as(chains.ids[i], seen[digests[i]][0])}"
        for i in used.tolist()
        if digests[i] in seen
    ]
    if shared:
        raise UsageError(
            f"{len(shared)} of the {len(used)} chains to evaluate were in the model's training or validation "
            f"({_some(shared)}); evaluate on the held-out ones with --split test, or on other proteins"
        )
    comparable = _same_numbering(chains, digests, entries)
    if comparable and chains.clusters is not None:
        clusters = chains.clusters.tolist()
        seen_clusters = {entry.cluster for _, entry in seen.values()}
        shared = sorted({str(clusters[i]) for i in used.tolist() if clusters[i] in seen_clusters})
        if shared:
            raise UsageError(
                f"{len(shared)} clusters (cluster25) of the chains to evaluate were in the model's training "
                f"or validation ({_some(shared)}); "
                "evaluate on the held-out ones with --split test, or on other clusters"
            )
    return Disjoint(comparable, _copies(chains, used, dict(seen.values())))


def _same_numbering(chains: Chains, digests: tuple[str, ...], entries: Mapping[str, SplitEntry]) -> bool:
    """Whether a chain of the table is in the list with the same cluster."""
    if chains.clusters is None:
        return False
    known = {entry.digest: entry.cluster for entry in entries.values()}
    return any(
        known.get(digest, -1) == cluster
        for digest, cluster in zip(digests, chains.clusters.tolist(), strict=True)
    )


def _copies(
    chains: Chains, used: NDArray[np.int64], seen: Mapping[str, SplitEntry]
) -> tuple[tuple[str, str, float], ...] | None:
    """Find the closest chain of training for each evaluated chain that has a close one."""
    names = list(seen)
    sequences = [sequence for entry in seen.values() if (sequence := entry.sequence)]
    if len(sequences) < len(names):
        return None
    best: dict[int, tuple[float, int]] = {}
    for rows, others, share in shared_words([chains.sequences[i] for i in used.tolist()], sequences):
        for k in np.flatnonzero(share >= LINKED).tolist():
            best[int(rows[k])] = max(best.get(int(rows[k]), (0.0, 0)), (float(share[k]), int(others[k])))
    return tuple(
        (chains.ids[used[row]], names[other], share)
        for row, (share, other) in sorted(best.items(), key=lambda item: (-item[1][0], item[0]))
    )


def _known_as(name: str, other: str) -> str:
    return "" if name == other else f" (there {other})"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
