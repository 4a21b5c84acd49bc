"""Sources of the pairs of a data set: tables, a folder of structure files, the SWISS-MODEL list.

A source describes itself by content (`describe`, so that a data set is never resumed with other
input) and reads chains and a list of pairs. Pairs that cannot be used are returned with the reason.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pandas as pd
from loky import ProcessPoolExecutor

from mutscan.errors import StructureError, UsageError
from mutscan.hashes import file_sha256
from mutscan.structures import read_structure, unique_structures_in
from mutscan.train.chains.pairlists import no_pairs, present, read_pair_list
from mutscan.train.chains.tables import pair_files, read_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mutscan.progress import Progress

SWISS_MODEL_URL: Final = "MUTSCAN_SWISS_MODEL_URL"
"""Environment variable: another address of models, with ``{accession}`` as placeholder."""

CHAIN_COLUMNS: Final = ("id", "sequence", "ca")
"""Columns of every table of chains; others are kept, too."""

_FARTHEST: Final = 327.0  # Å from the centre: int16 in 0.01 Å
_ALONE: Final = 200  # fewer files are read faster than worker processes start


@dataclass(frozen=True, eq=False)
class Listed:
    """Chains and pairs as a source lists them.

    Parameters
    ----------
    chains : DataFrame
        id, sequence, ca (bytes) and further columns of the source.
    pairs : DataFrame
        id1, id2, line, picked_as, source, and with known alignments tm_norm1, tm_norm2, i1, i2, aligner.
    failures : list of (id1, id2, reason)
        Pairs that cannot be used.
    """

    chains: pd.DataFrame
    pairs: pd.DataFrame
    failures: list[tuple[str, str, str]] = field(default_factory=list)


class Source(Protocol):
    """A source of pairs."""

    def describe(self) -> Mapping[str, Any]:
        """Describe the input by its content: equal descriptions mean equal data."""

    def columns(self) -> Sequence[str]:
        """Columns its chains will have besides id, sequence and ca."""

    def read(self, work: Path, *, jobs: int, progress: Progress) -> Listed:
        """Read chains and pairs; downloads are kept in the folder `work`."""


@dataclass(frozen=True, slots=True)
class Tables:
    """A Parquet table of chains and a list of pairs.

    Parameters
    ----------
    structures : Path
        Columns as `read_tables` takes them; others are kept, too.
    pairs : Path, optional
        Parquet (or a folder of shards), CSV or TSV with id1 and id2, or chain_1 and chain_2. None
        where all pairs are mined or built.
    keep_alignments : bool
        Take TM-scores and alignments from `pairs` instead of aligning again.
    """

    structures: Path
    pairs: Path | None = None
    keep_alignments: bool = False

    def describe(self) -> Mapping[str, Any]:
        """Give the sha256 of the files."""
        present(self.structures)
        pairs: dict[str, Any] | None = None
        if self.pairs is not None:
            digests = [file_sha256(present(path)) for path in pair_files(self.pairs)]
            pairs = {"name": self.pairs.name, "sha256": digests[0] if len(digests) == 1 else digests}
        return {
            "structures": {"name": self.structures.name, "sha256": file_sha256(self.structures)},
            "pairs": pairs,
            "keep_alignments": self.keep_alignments,
        }

    def columns(self) -> Sequence[str]:
        """Read the names from the file."""
        import pyarrow.parquet as pq

        read_columns(self.structures, ("id",))
        return [name for name in pq.read_schema(self.structures).names if name not in CHAIN_COLUMNS]

    def read(self, work: Path, *, jobs: int, progress: Progress) -> Listed:
        """Read both tables; UsageError for a pair of an unknown chain, naming its line."""
        chains = read_columns(self.structures, CHAIN_COLUMNS, self.columns()).to_pandas(ignore_metadata=True)
        if chains["id"].duplicated().any():
            repeated = chains["id"][chains["id"].duplicated()].iloc[0]
            raise UsageError(
                f"{self.structures}: the id {repeated} occurs more than once; ids must be unique"
            )
        wrong = np.flatnonzero(chains["ca"].str.len() != 6 * chains["sequence"].str.len())
        if len(wrong):
            row = chains.iloc[wrong[0]]
            raise UsageError(
                f"{self.structures}: chain {row['id']} has {len(row['sequence'])} residues but "
                f"{len(row['ca'])} bytes of coordinates; {6 * len(row['sequence'])} were expected "
                "(int16, L x 3)"
            )
        if self.pairs is None:
            return Listed(chains, no_pairs())
        pairs = read_pair_list(self.pairs, keep_alignments=self.keep_alignments)
        for name in ("id1", "id2"):
            unknown = np.flatnonzero(~pairs[name].isin(chains["id"]))
            if len(unknown):
                raise UsageError(
                    f"{self.pairs}: line {pairs['line'].iloc[unknown[0]]} names the chain "
                    f"{pairs[name].iloc[unknown[0]]}, which {self.structures} does not hold ({len(unknown)} "
                    "such lines); give the structures of all chains, or leave those lines out"
                )
        return Listed(chains, pairs)


@dataclass(frozen=True, slots=True)
class StructureFiles:
    """A folder of PDB and mmCIF files (each also .gz) and a list of pairs of their names.

    Parameters
    ----------
    folder : Path
        A chain's id is the name of its file without endings; folders inside are searched, too.
    pairs : Path
        As for `Tables`.
    """

    folder: Path
    pairs: Path

    def describe(self) -> Mapping[str, Any]:
        """Give the sha256 of the list, and the names and sizes of the structures, which can be many."""
        digest = hashlib.sha256()
        for name, path in unique_structures_in(self.folder).items():
            digest.update(f"{name}\0{path.stat().st_size}\n".encode())
        return {
            "folder": {"name": self.folder.name, "names_and_sizes_sha256": digest.hexdigest()},
            "pairs": {
                "name": self.pairs.name,
                "sha256": [file_sha256(present(p)) for p in pair_files(self.pairs)],
            },
        }

    def columns(self) -> Sequence[str]:
        """Columns that a structure file provides."""
        return ("plddt", "kind", "source")

    def read(self, work: Path, *, jobs: int, progress: Progress) -> Listed:
        """Read the files named by the pairs; a missing or unusable file makes its pairs fail."""
        pairs = read_pair_list(self.pairs)
        files = unique_structures_in(self.folder)
        names = sorted({*pairs["id1"], *pairs["id2"]})
        rows, reasons = read_chains([(name, files[name]) for name in names if name in files], jobs, progress)
        reasons |= {name: f"no structure file in {self.folder.name}" for name in names if name not in files}
        if not rows:
            example = f"{names[0]}: {reasons[names[0]]}" if names else f"{self.pairs} lists none"
            raise UsageError(
                f"{self.folder}: none of the {len(names)} chains of {self.pairs} can be read ({example}); "
                f"files named by chain were expected, such as {names[0] if names else 'P04637'}.pdb"
            )
        bad = pairs["id1"].isin(reasons.keys()) | pairs["id2"].isin(reasons.keys())
        failures = [
            (
                id1,
                id2,
                "; ".join(
                    f"{name}: {reasons[name]}" for name in dict.fromkeys((id1, id2)) if name in reasons
                ),
            )
            for id1, id2 in pairs.loc[bad, ["id1", "id2"]].itertuples(index=False)
        ]
        return Listed(pd.DataFrame(rows), pairs[~bad].reset_index(drop=True), failures)


@dataclass(frozen=True, slots=True)
class SwissModelList:
    """The public list of SWISS-MODEL pairs; the models are downloaded.

    Parameters
    ----------
    pairs : Path
        CSV with chain_1 and chain_2, UniProt accessions.
    limit : int, optional
        Number of pairs to draw from the list.
    max_length, seed : int
    """

    pairs: Path
    limit: int | None
    max_length: int
    seed: int

    def describe(self) -> Mapping[str, Any]:
        """Give the sha256 of the list; models change over time, so downloaded ones are kept."""
        return {
            "swiss_model": {"name": self.pairs.name, "sha256": file_sha256(present(self.pairs))},
            "limit": self.limit,
        }

    def columns(self) -> Sequence[str]:
        """Columns that a structure file provides."""
        return ("plddt", "kind", "source")

    def read(self, work: Path, *, jobs: int, progress: Progress) -> Listed:
        """Download the missing models, and read all."""
        from mutscan.train.dataset import swissmodel

        folder = work / "swiss-model"
        chosen = swissmodel.download_swiss_model(
            self.pairs,
            folder,
            limit=self.limit,
            max_length=self.max_length,
            seed=self.seed,
            url=os.environ.get(SWISS_MODEL_URL, "").strip() or swissmodel.URL,
            progress=progress,
        )
        listed = StructureFiles(folder, chosen).read(work, jobs=jobs, progress=progress)
        with (folder / swissmodel.FAILURES).open(encoding="utf-8", newline="") as lines:
            missing = [(row["id1"], row["id2"], row["reason"]) for row in csv.DictReader(lines)]
        return Listed(
            listed.chains.assign(source="SWISS-MODEL", kind="predicted"),
            listed.pairs.assign(source="SWISS-MODEL"),
            missing + listed.failures,
        )


# Structure files -----------------------------------------------------------------------------------


def read_chains(
    files: Sequence[tuple[str, Path]], jobs: int, progress: Progress
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Read structure files as rows of a table of chains.

    Returns
    -------
    rows : list of dict
        id, sequence, ca, plddt, kind, source; in the order of `files`.
    reasons : dict of str
        Why a chain could not be read, by its id.
    """
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    progress.start("read structures", len(files))
    for (name, _), found in zip(files, _read_all(files, jobs), strict=True):
        if isinstance(found, str):
            reasons[name] = found
        else:
            rows.append(found)
        progress.advance()
    progress.finish()
    return rows, reasons


def _read_all(files: Sequence[tuple[str, Path]], jobs: int) -> Iterable[dict[str, Any] | str]:
    if jobs == 1 or len(files) < _ALONE:
        yield from (_read_chain(*one) for one in files)
        return
    clean = False
    pool = ProcessPoolExecutor(max_workers=jobs, env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})
    try:
        yield from pool.map(_read_chain, *zip(*files, strict=True), chunksize=32)
        clean = True
    finally:
        pool.shutdown(wait=clean, kill_workers=not clean)


def _read_chain(name: str, path: Path) -> dict[str, Any] | str:
    """Row of the table of chains, or why there is none."""
    try:
        structure = read_structure(path)
    except StructureError as error:
        return error.message
    there = np.isfinite(structure.ca).all(axis=1)
    if np.count_nonzero(there) < 3:
        return f"{np.count_nonzero(there)} residues have C-alpha coordinates; TM-align needs at least 3"
    ca = structure.ca[there] - structure.ca[there].mean(axis=0)
    if np.abs(ca).max() > _FARTHEST:
        return f"reaches {np.abs(ca).max():.0f} Å from its centre; up to {_FARTHEST:.0f} can be stored"
    plddt = structure.plddt
    return {
        "id": name,
        "sequence": "".join(np.array(list(structure.sequence))[there]),
        "ca": np.rint(ca * 100).astype("<i2").tobytes(),
        "plddt": None if plddt is None else np.rint(plddt[there]).clip(0, 100).astype(np.uint8).tobytes(),
        "kind": None if plddt is None else "predicted",
        "source": path.name,
    }
