"""Make a data set for training: aligned and labelled pairs in shards, and their splits.

First everything is read and planned: which pairs, in which order (shuffled with the seed, so that any
shards are a random sample), and their splits. Then the pairs are aligned, shard by shard. The plan and
each shard are written when they are finished; an interrupted run resumes there and ends with the same bytes.
"""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.files import replacing, write_errors, write_json
from mutscan.hashes import file_sha256, json_sha256
from mutscan.progress import Silent
from mutscan.results import JobFolder
from mutscan.train.chains.splits import ACROSS, SPLIT_FILE, SPLITS
from mutscan.train.chains.tables import read_columns
from mutscan.train.dataset.aligners import CHUNK, AlignedPair, Aligners
from mutscan.train.dataset.plan import (
    STRUCTURES,
    Extras,
    PairingSettings,
    Plan,
    aligner_name,
    is_planned,
    make_plan,
)
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.progress import Progress
    from mutscan.train.chains.clusters import Clustering
    from mutscan.train.dataset.sources import Source

SHARD_SCHEMA: Final = pa.schema(
    [
        ("id1", pa.string()),
        ("id2", pa.string()),
        ("tm_norm1", pa.float64()),
        ("tm_norm2", pa.float64()),
        ("len1", pa.int32()),
        ("len2", pa.int32()),
        ("n_aligned", pa.int32()),
        ("i1", pa.list_(pa.int32())),
        ("i2", pa.list_(pa.int32())),
        ("lddt", pa.list_(pa.float32())),
        ("lddt_exponent", pa.float64()),
        ("radius", pa.float64()),
        ("picked_as", pa.string()),
        ("split", pa.string()),
        ("aligner", pa.string()),
        ("source", pa.string()),
    ]
)
"""Columns of a shard: a row for each pair, chain 1 is the reference."""

PAIRS: Final = "pairs"
FAILURES: Final = "failures.csv"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A finished data set.

    Parameters
    ----------
    path : Path
        Its folder.
    contents : dict
        Of dataset.json.
    aligned_now, seconds : int, float
        Pairs that this call aligned, and the time it took; earlier calls aligned the others.
    """

    path: Path
    contents: dict[str, Any]
    aligned_now: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 all pairs succeeded, 3 some failed, 4 there is no pair."""
        counts = self.contents["counts"]
        if not counts["pairs"]:
            return 4
        return 3 if counts["failed"] else 0


class DatasetFolder(JobFolder):
    """The folder of a data set."""

    PROOF: ClassVar[str] = "dataset.json"
    RESULTS: ClassVar[tuple[str, ...]] = (PAIRS, STRUCTURES, FAILURES, SPLIT_FILE, "dataset.json")
    FOLDERS: ClassVar[tuple[str, ...]] = (PAIRS,)

    def forget(self) -> None:
        """Drop the record of the settings, so that the folder can be claimed with others."""
        (self.state / "job.json").unlink(missing_ok=True)

    def shard(self, number: int) -> Path:
        """Path of a shard."""
        return self.path / PAIRS / f"part-{number:05d}.parquet"

    def shard_failures(self, number: int) -> Path:
        """Path of the list of pairs that failed in a shard."""
        return self.state / "failures" / f"part-{number:05d}.json"


def make_dataset(
    out: Path,
    source: Source,
    clustering: Clustering,
    settings: PairingSettings | None = None,
    *,
    extras: Extras | None = None,
    jobs: int = 1,
    restart: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Align and label pairs; the same call again resumes an interrupted one.

    Parameters
    ----------
    out : Path
        The folder: structures.parquet, pairs/part-00000.parquet ..., failures.csv, splits.csv, dataset.json.
    source : Source
    clustering : Clustering
    settings : PairingSettings, optional
    extras : Extras, optional
        Additional pairs: mined ones and mutants.
    jobs : int
        Worker processes; the result does not depend on them.
    restart : bool
        Discard what an earlier call finished.
    progress : Progress, optional

    Raises
    ------
    UsageError
        The input does not fit together.
    RunFolderError
        The folder holds a data set of other input or settings, or is in use.
    """
    settings = settings or PairingSettings()
    extras = extras or Extras()
    if progress is None:
        progress = Silent()
    with write_errors(out), DatasetFolder(out, restart=restart) as folder:
        described = {
            **source.describe(),
            **clustering.describe(),
            **extras.describe(),
            **asdict(settings),
            "mutscan": __version__,
            "aligner": aligner_name(),
        }
        if not is_planned(folder):
            folder.forget()  # nothing is finished that other settings could be mixed with
        folder.claim(described)
        plan = make_plan(folder, source, clustering, settings, extras, jobs=jobs, progress=progress)
        started = time.monotonic()
        aligned = _align_shards(folder, plan, settings, jobs, progress)
        seconds = time.monotonic() - started
        contents = _finish(folder, plan, described)
    return Dataset(out, contents, aligned, seconds)


# Shards --------------------------------------------------------------------------------------------


def _align_shards(
    folder: DatasetFolder, plan: Plan, settings: PairingSettings, jobs: int, progress: Progress
) -> int:
    """Align the missing shards; return the number of pairs aligned."""
    (folder.state / "failures").mkdir(exist_ok=True)
    size = settings.shard_size
    n_shards = -(-len(plan.pairs) // size)
    bounds = [(k, k * size, min(len(plan.pairs), (k + 1) * size)) for k in range(n_shards)]
    missing = [bound for bound in bounds if not _is_finished(folder, bound[0])]
    chunks = [
        (number, range(begin, min(end, begin + CHUNK)))
        for number, start, end in missing
        for begin in range(start, end, CHUNK)
    ]
    todo = sum(end - start for _, start, end in missing)
    if todo:
        progress.start("align pairs", len(plan.pairs))
        progress.advance(len(plan.pairs) - todo)
        unfinished = {number: -(-(end - start) // CHUNK) for number, start, end in missing}
        outcomes: dict[int, dict[int, AlignedPair | str]] = {number: {} for number, _, _ in missing}
        aligners = Aligners(
            plan.chains,
            jobs=min(jobs, len(chunks)),
            time_limit=settings.time_limit,
            exponent=settings.lddt_exponent,
            radius=settings.lddt_radius,
        )
        tasks = ([plan.task(row) for row in rows] for _, rows in chunks)
        for place, found in aligners.run(tasks, advance=progress.advance):
            number, rows = chunks[place]
            outcomes[number].update(zip(rows, found, strict=True))
            unfinished[number] -= 1
            if not unfinished[number]:
                _write_shard(folder, number, plan, outcomes.pop(number), settings)
        progress.finish()
    for start in range(0, len(plan.extra), size):
        number = n_shards + start // size
        if not _is_finished(folder, number):
            _write_failures(folder, number, [])
            _write_table(
                folder, number, _shard_table(plan.extra.iloc[start : start + size].to_dict("series"))
            )
    return todo


def _is_finished(folder: DatasetFolder, number: int) -> bool:
    # The failures are written first.
    return folder.shard(number).is_file() and folder.shard_failures(number).is_file()


def _write_shard(
    folder: DatasetFolder,
    number: int,
    plan: Plan,
    outcomes: Mapping[int, AlignedPair | str],
    settings: PairingSettings,
) -> None:
    rows = sorted(outcomes)
    found = {row: outcome for row in rows if isinstance(outcome := outcomes[row], AlignedPair)}
    failures = [
        (*plan.pairs.loc[row, ["id1", "id2"]], outcome)
        for row in rows
        if isinstance(outcome := outcomes[row], str)
    ]
    kept = plan.pairs.loc[list(found), ["id1", "id2", "picked_as", "split", "source", "aligner"]]
    values = list(found.values())
    lengths = np.array([len(sequence) for _, sequence in plan.chains], dtype=np.int32)
    columns = kept.to_dict("series") | {
        "tm_norm1": [one.tm_score for one in values],
        "tm_norm2": [one.tm_score_2 for one in values],
        "len1": lengths[plan.first[list(found)]],
        "len2": lengths[plan.second[list(found)]],
        "n_aligned": [len(one.aligned) for one in values],
        "i1": [one.aligned[:, 0] for one in values],
        "i2": [one.aligned[:, 1] for one in values],
        "lddt": [one.lddt for one in values],
        "lddt_exponent": np.full(len(values), settings.lddt_exponent),
        "radius": np.full(len(values), settings.lddt_radius),
    }
    _write_failures(folder, number, failures)
    _write_table(folder, number, _shard_table(columns))


def _shard_table(columns: Mapping[Any, Any]) -> pa.Table:
    arrays = [
        _lists(columns[field.name], field.type)
        if pa.types.is_list(field.type)
        else pa.array(columns[field.name], type=field.type, from_pandas=True)
        for field in SHARD_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=SHARD_SCHEMA)


def _lists(column: Iterable[NDArray[Any]], kind: pa.DataType) -> pa.ListArray:
    # Not by pa.array: NaN in a list of labels is a value (no neighbour), not a missing one.
    counts = np.array([len(part) for part in column], dtype=np.int64)
    plain = kind.value_type.to_pandas_dtype()
    values = np.concatenate([np.empty(0, plain), *column]).astype(plain)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, type=kind.value_type))


def _write_table(folder: DatasetFolder, number: int, table: pa.Table) -> None:
    with replacing(folder.shard(number)) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _write_failures(folder: DatasetFolder, number: int, failures: Sequence[tuple[str, str, str]]) -> None:
    write_json(folder.shard_failures(number), {"failures": [list(one) for one in failures]})


# The rest of the folder ----------------------------------------------------------------------------


def _finish(folder: DatasetFolder, plan: Plan, described: Mapping[str, Any]) -> dict[str, Any]:
    """Write failures.csv and dataset.json."""
    shards = sorted((folder.path / PAIRS).glob("part-*.parquet"))
    failed = [*plan.failures]
    for number in range(len(shards)):
        stored = json.loads(folder.shard_failures(number).read_text(encoding="utf-8"))
        failed += [tuple(one) for one in stored["failures"]]
    with replacing(folder.path / FAILURES) as temporary, temporary.open(
        "w", encoding="utf-8", newline=""
    ) as file:  # fmt: skip
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("id1", "id2", "reason"))
        writer.writerows([*failed, *plan.left_out])
    tenths = np.zeros(10, dtype=np.int64)
    splits: Counter[str] = Counter(dict.fromkeys((*SPLITS, ACROSS), 0))
    picked: Counter[str] = Counter()
    for shard in shards:
        columns = read_columns(shard, ("tm_norm1", "split", "picked_as")).to_pydict()
        tenths += np.histogram(columns["tm_norm1"], bins=10, range=(0.0, 1.0))[0]
        splits.update(columns["split"])
        picked.update(columns["picked_as"])
    files = {
        str(path.relative_to(folder.path).as_posix()): file_sha256(path)
        for path in (folder.path / STRUCTURES, folder.path / SPLIT_FILE, *shards)
    }
    contents = {
        "counts": {
            "pairs": int(tenths.sum()),
            "failed": len(failed),
            "left_out": len(plan.left_out),
            "repeated": plan.repeated,
            "chains": len(plan.chains),
            "shards": len(shards),
        },
        "tm_tenths": tenths.tolist(),
        "splits": dict(splits),
        "picked_as": dict(sorted(picked.items())),
        "settings": dict(described),
        "versions": {"mutscan": __version__}
        | {name: version(name) for name in ("tmtools", "numpy", "pyarrow")},
        "files": files,
        "data_sha256": json_sha256(files),
    }
    write_json(folder.path / "dataset.json", contents)
    return contents
