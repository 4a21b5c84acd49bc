"""Plan a data set before anything is aligned: its chains, pairs, their order and splits."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.files import replacing, write_json
from mutscan.scores import EXPONENT, RADIUS
from mutscan.structures import unique_structures_in
from mutscan.structures.files import EXPECTED
from mutscan.train.chains.clusters import DEFAULT_COLUMN, MMseqs
from mutscan.train.chains.relatives import adopt_clusters, link_clusters
from mutscan.train.chains.splits import SPLIT_FILE, SPLITS, assign_splits, splits_of_pairs, write_splits
from mutscan.train.chains.tables import Chains, coordinates
from mutscan.train.dataset.aligners import PairTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.results import JobFolder
    from mutscan.train.chains.clusters import Clustering
    from mutscan.train.dataset.sources import Source

STRUCTURES: Final = "structures.parquet"
"""Name of the table of chains in a data set."""

PLAN: Final = "plan.json"
"""In the state of a data set; written when the plan is complete."""

_KEPT: Final = ("tm_norm1", "tm_norm2", "i1", "i2")


@dataclass(frozen=True, slots=True)
class PairingSettings:
    """Settings that decide the contents of a data set, apart from its input.

    Parameters
    ----------
    seed : int
        Of the order of the pairs, the splits, and the mined and mutant pairs.
    shard_size : int
        Pairs per shard.
    time_limit : float, s
        CPU time TM-align may take for a pair.
    min_length, max_length : int
        Pairs of chains outside these limits are left out and listed.
    lddt_exponent, lddt_radius : float
        Of the labels.
    link_clusters : bool
        Merge clusters that hold parts of one protein, as `relatives.link_clusters` does.
    """

    seed: int = 0
    shard_size: int = 2000
    time_limit: float = 60.0
    min_length: int = 3
    max_length: int = 1000
    lddt_exponent: float = EXPONENT
    lddt_radius: float = RADIUS
    link_clusters: bool = True

    def __post_init__(self) -> None:
        if self.shard_size < 1 or not self.time_limit > 0:
            raise UsageError(
                f"shard size {self.shard_size} and time limit {self.time_limit:g}: both must be positive"
            )
        if not 3 <= self.min_length <= self.max_length:
            raise UsageError(
                f"lengths of {self.min_length} to {self.max_length} residues: expected at least 3, which "
                "TM-align needs, and a minimum no greater than the maximum"
            )
        if not self.lddt_exponent >= 0 or not self.lddt_radius > 0:
            raise UsageError(
                f"lDDT exponent {self.lddt_exponent:g} and radius {self.lddt_radius:g}: expected an "
                "exponent of at least 0 and a radius above 0"
            )


@dataclass(frozen=True, slots=True)
class Extras:
    """Pairs made in addition to those of the source.

    Parameters
    ----------
    mine : int
        Pairs with a TM-score of 0.5 to 0.8 to find among the chains.
    mutants : int
        Mutants to build of each wild type.
    wild_types : Path, optional
        Folder of their structures.
    builder : str
        Their builder.
    """

    mine: int = 0
    mutants: int = 0
    wild_types: Path | None = None
    builder: str = "auto"

    def __post_init__(self) -> None:
        if bool(self.mutants) != (self.wild_types is not None):
            raise UsageError(
                "mutant pairs need both --mutants (number per wild type) and --wild-types (folder)"
            )

    def files(self) -> list[Path]:
        """Structures of the wild types."""
        if self.wild_types is None:
            return []
        files = unique_structures_in(self.wild_types)
        if not files:
            raise UsageError(f"{self.wild_types}: contains no structure ({EXPECTED})")
        return sorted(files.values())

    def describe(self) -> Mapping[str, Any]:
        """Describe the settings and the input."""
        digest = hashlib.sha256()
        for path in self.files():
            digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return {
            "mine": self.mine,
            "mutants": self.mutants,
            **({"builder": self.builder, "wild_types_sha256": digest.hexdigest()} if self.mutants else {}),
        }


@dataclass(frozen=True, eq=False)
class Plan:
    """Pairs to align.

    Parameters
    ----------
    pairs : DataFrame
        id1, id2, picked_as, split, source, aligner in the order of the shards; with kept alignments
        also tm_norm1, tm_norm2, i1, i2.
    first, second : int array, shape (n,)
        The chains of each pair, as places in `chains`.
    chains : list of (bytes, str)
        Stored coordinates and sequence.
    extra : DataFrame
        Pairs that need no alignment, as rows of shards.
    failures, left_out : list of (id1, id2, reason)
        Pairs that cannot be used, and those excluded by the length limits.
    repeated : int
        Pairs that are listed more than once.
    """

    pairs: pd.DataFrame
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    chains: list[tuple[bytes, str]]
    extra: pd.DataFrame
    failures: list[tuple[str, str, str]]
    left_out: list[tuple[str, str, str]]
    repeated: int

    def task(self, row: int) -> PairTask:
        """Task for a worker, for one pair."""
        given = None
        if "i1" in self.pairs:
            values: list[Any] = [self.pairs[name].iat[row] for name in _KEPT]
            tm_score, tm_score_2, i1, i2 = values
            given = (float(tm_score), float(tm_score_2), np.stack([i1, i2], axis=1).astype(np.int32))
        return PairTask(int(self.first[row]), int(self.second[row]), given)


def aligner_name() -> str:
    """Name and version of the aligner."""
    return f"tmtools {version('tmtools')}"


def is_planned(folder: JobFolder) -> bool:
    """Whether the plan is complete."""
    return (folder.state / PLAN).is_file()


def make_plan(
    folder: JobFolder,
    source: Source,
    clustering: Clustering,
    settings: PairingSettings,
    extras: Extras,
    *,
    jobs: int,
    progress: Progress,
) -> Plan:
    """Plan a data set and write its structures.parquet and splits.csv, or read the existing plan.

    Raises
    ------
    UsageError
        The input does not fit together, or no pair is left.
    """
    if not is_planned(folder):
        _make(folder, source, clustering, settings, extras, jobs, progress)
    known = json.loads((folder.state / PLAN).read_text(encoding="utf-8"))
    pairs = pd.read_parquet(folder.state / "plan.parquet")
    chains = pd.read_parquet(folder.path / STRUCTURES, columns=["id", "sequence", "ca"])
    index = pd.Series(np.arange(len(chains)), index=chains["id"])
    return Plan(
        pairs,
        index[pairs["id1"]].to_numpy(np.int64),
        index[pairs["id2"]].to_numpy(np.int64),
        list(zip(chains["ca"], chains["sequence"], strict=True)),
        pd.read_parquet(folder.state / "extra.parquet"),
        [tuple(one) for one in known["failures"]],
        [tuple(one) for one in known["left_out"]],
        known["repeated"],
    )


def _make(
    folder: JobFolder,
    source: Source,
    clustering: Clustering,
    settings: PairingSettings,
    extras: Extras,
    jobs: int,
    progress: Progress,
) -> None:
    listed = source.read(folder.path, jobs=jobs, progress=progress)
    failures = listed.failures
    chains, pairs, left_out = _within(listed.chains, listed.pairs, settings)
    n_before = len(pairs)
    pairs = pairs.drop_duplicates(["id1", "id2"], ignore_index=True)
    repeated = n_before - len(pairs)
    if "i1" in pairs:
        _check_kept(pairs, chains)
    else:
        pairs["aligner"] = aligner_name()

    built, mutants, unbuilt = _build_mutants(folder, extras, settings, set(chains["id"]), jobs, progress)
    failures = failures + unbuilt
    if not extras.mine:
        chains = chains[chains["id"].isin({*pairs["id1"], *pairs["id2"]})].reset_index(drop=True)
    progress.start("cluster chains", 1)
    clusters = _cluster(clustering, chains, built, mutants, folder, jobs)
    if settings.link_clusters:
        clusters = link_clusters([*chains["sequence"], *built["sequence"]], clusters)
    progress.advance()
    progress.finish()
    if extras.mine:
        pairs = _mine(pairs, chains, clusters[: len(chains)], extras.mine, settings.seed, progress)
    if not len(pairs) + len(mutants):
        reasons = [*failures, *left_out]
        example = f", such as {reasons[0][0]} and {reasons[0][1]}: {reasons[0][2]}" if reasons else ""
        raise UsageError(f"no pair is left to align ({len(reasons)} cannot be used{example})")

    everyone = _stack(chains, built)
    used = everyone["id"].isin({*pairs["id1"], *pairs["id2"], *mutants["id1"], *mutants["id2"]}).to_numpy()
    everyone, clusters = everyone[used].reset_index(drop=True), clusters[used]
    splits = assign_splits(clusters, seed=settings.seed)
    split_of = pd.Series(splits, index=everyone["id"])
    # Shuffled, so that any shards are a random sample of the pairs.
    pairs = pairs.iloc[np.random.default_rng(settings.seed).permutation(len(pairs))].reset_index(drop=True)
    for table in (pairs, mutants):
        table["split"] = splits_of_pairs(split_of[table["id1"]], split_of[table["id2"]])

    _write_chains(folder.path / STRUCTURES, everyone, clusters)
    write_splits(folder.path / SPLIT_FILE, _as_chains(everyone, clusters, folder.path), splits)
    for name, table in (("plan", pairs.drop(columns="line")), ("extra", mutants)):
        with replacing(folder.state / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False)
    write_json(folder.state / "plan.json", {"failures": failures, "left_out": left_out, "repeated": repeated})


def _within(
    chains: pd.DataFrame, pairs: pd.DataFrame, settings: PairingSettings
) -> tuple[pd.DataFrame, pd.DataFrame, list[tuple[str, str, str]]]:
    """Chains within the length limits and the pairs among them; the other pairs with the reason."""
    lengths = chains["sequence"].str.len()
    fits = lengths.between(settings.min_length, settings.max_length)
    limits = f"expected {settings.min_length} to {settings.max_length}"
    reasons = {
        name: f"{name} has {length} residues, {limits}"
        for name, length in zip(chains["id"][~fits], lengths[~fits], strict=True)
    }
    outside = pairs["id1"].isin(reasons.keys()) | pairs["id2"].isin(reasons.keys())
    left_out = [
        (id1, id2, "; ".join(reasons[name] for name in dict.fromkeys((id1, id2)) if name in reasons))
        for id1, id2 in pairs.loc[outside, ["id1", "id2"]].itertuples(index=False)
    ]
    return chains[fits].reset_index(drop=True), pairs[~outside].reset_index(drop=True), left_out


def _check_kept(pairs: pd.DataFrame, chains: pd.DataFrame) -> None:
    """Refuse alignments of residues that the chains do not have."""
    lengths = pd.Series(chains["sequence"].str.len().to_numpy(), index=chains["id"])
    for name, index in (("i1", "id1"), ("i2", "id2")):
        counts = pairs[name].map(len).to_numpy(np.int64)
        flat = np.concatenate([np.empty(0, np.int64), *pairs[name]])
        limits = np.repeat(lengths[pairs[index]].to_numpy(np.int64), counts)
        wrong = np.flatnonzero((flat < 0) | (flat >= limits))
        if len(wrong):
            row = int(np.searchsorted(np.cumsum(counts), wrong[0], side="right"))
            raise UsageError(
                f"line {pairs['line'].iat[row]} of the pairs aligns residue {flat[wrong[0]]} (from 0) of "
                f"{pairs[index].iat[row]}, which has {limits[wrong[0]]} residues"
            )
    uneven = np.flatnonzero(pairs["i1"].map(len) != pairs["i2"].map(len))
    if len(uneven):
        raise UsageError(f"line {pairs['line'].iat[uneven[0]]} of the pairs has i1 and i2 of unequal length")


# Extras --------------------------------------------------------------------------------------------


def _build_mutants(
    folder: JobFolder,
    extras: Extras,
    settings: PairingSettings,
    taken: set[str],
    jobs: int,
    progress: Progress,
) -> tuple[pd.DataFrame, pd.DataFrame, list[tuple[str, str, str]]]:
    """Chains and pairs of mutants, and what could not be built."""
    if not extras.mutants:
        nothing = pd.DataFrame(columns=["id", "id1", "id2", "sequence"], dtype=object)
        return nothing[["id", "sequence"]], nothing[["id1", "id2"]].copy(), []
    if (settings.lddt_exponent, settings.lddt_radius) != (EXPONENT, RADIUS):
        raise UsageError(
            f"mutant pairs are labelled with lDDT exponent {EXPONENT:g} and radius {RADIUS:g}, but the "
            f"settings are {settings.lddt_exponent:g} and {settings.lddt_radius:g}; use the former, or leave "
            "mutants out"
        )
    from mutscan.train.dataset.mutants import FAILURES, mutant_dataset

    work = folder.state / "mutants"
    built, pairs = mutant_dataset(
        extras.files(),
        per_protein=extras.mutants,
        builder=extras.builder,
        seed=settings.seed,
        jobs=jobs,
        work=work,
        progress=progress,
    )
    with (work / FAILURES).open(encoding="utf-8", newline="") as lines:
        failures = [(row["id1"], row["id2"], row["reason"]) for row in csv.DictReader(lines)]
    # A wild type may have the name of another chain.
    names = {name: f"{name}~wild" for name in built["id"] if name in taken}
    built["id"] = built["id"].replace(names)
    pairs["id1"] = pairs["id1"].replace(names)
    return built, pairs, failures


def _mine(
    pairs: pd.DataFrame,
    chains: pd.DataFrame,
    clusters: NDArray[np.int64],
    n: int,
    seed: int,
    progress: Progress,
) -> pd.DataFrame:
    """Add mined pairs inside each split; a pair across splits could not be used."""
    from mutscan.train.dataset.mining import mine_pairs

    if "i1" in pairs:
        raise UsageError("--mine cannot be combined with --keep-alignments: mined pairs must be aligned")
    known = _as_chains(chains, clusters, "the chains")
    splits = assign_splits(clusters, seed=seed)
    exclude = set(zip(pairs["id1"], pairs["id2"], strict=True))
    rows: list[tuple[str, str]] = []
    progress.start("mine pairs", len(SPLITS))
    for split in SPLITS:
        inside = np.flatnonzero(splits == split)
        share = round(n * len(inside) / len(chains))
        part = known.take(inside)
        found = mine_pairs(part, share, seed=seed, exclude=exclude, clusters=clusters[inside])
        rows += [(part.ids[first], part.ids[second]) for first, second in found]
        progress.advance()
    progress.finish()
    if len(rows) < n:
        progress.note(f"only {len(rows)} of {n} pairs were mined: there are no more candidates")
    mined = pd.DataFrame(rows, columns=["id1", "id2"]).assign(
        line=0, picked_as="mined", source="mined", aligner=aligner_name()
    )
    return pd.concat([pairs, mined], ignore_index=True)


# Clusters and tables -------------------------------------------------------------------------------


def _cluster(
    clustering: Clustering,
    chains: pd.DataFrame,
    built: pd.DataFrame,
    mutants: pd.DataFrame,
    folder: JobFolder,
    jobs: int,
) -> NDArray[np.int64]:
    """Cluster of each chain, then of each wild type and mutant."""
    if isinstance(clustering, MMseqs):
        return clustering.clusters(_stack(chains, built), folder.state, jobs=jobs)
    clusters = clustering.clusters(chains, folder.state, jobs=jobs)
    unknown = np.flatnonzero(clusters < 0)
    if len(unknown):
        raise UsageError(
            f"{len(unknown)} of {len(chains)} chains have no cluster, such as "
            f"{chains['id'].iat[unknown[0]]}; give clusters for all of them, or install MMseqs2 and give "
            "neither --cluster-column nor --clusters"
        )
    # Wild types have no given cluster: each gets that of its closest relative, and its mutants the same.
    wild = ~built["id"].isin(mutants["id2"]).to_numpy()
    adopted = pd.Series(
        adopt_clusters(built["sequence"][wild].tolist(), chains["sequence"].tolist(), clusters),
        index=built["id"][wild],
    )
    wild_type = pd.Series(mutants["id1"].to_numpy(), index=mutants["id2"])
    owner = [wild_type.get(name, name) for name in built["id"]]
    return np.concatenate([clusters, adopted.reindex(owner).to_numpy(np.int64)])


def _stack(chains: pd.DataFrame, built: pd.DataFrame) -> pd.DataFrame:
    """Both tables, one below the other."""
    if not len(built):
        return chains
    # Through Arrow, which keeps integers where rows are missing.
    tables = [pa.Table.from_pandas(table, preserve_index=False) for table in (chains, built)]
    stacked: pd.DataFrame = pa.concat_tables(tables, promote_options="permissive").to_pandas(
        types_mapper={pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}.get
    )
    return stacked


def _write_chains(path: Path, chains: pd.DataFrame, clusters: NDArray[np.int64]) -> None:
    table = pa.Table.from_pandas(chains.assign(**{DEFAULT_COLUMN: clusters}), preserve_index=False)
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(), temporary, compression="zstd")


def _as_chains(table: pd.DataFrame, clusters: NDArray[np.int64], where: Path | str) -> Chains:
    ca = tuple(
        coordinates(buffer, sequence, name, where)
        for name, sequence, buffer in zip(table["id"], table["sequence"], table["ca"], strict=True)
    )
    return Chains(tuple(table["id"]), tuple(table["sequence"]), ca, clusters)
