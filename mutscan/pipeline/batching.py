"""``batch``, and scans of many proteins: one worker, or many, and the tables over all proteins."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.builders import BUILDERS, NO_BUILDER
from mutscan.errors import UsageError
from mutscan.files import any_length, file_name, replacing, write_errors, write_json, write_text
from mutscan.hashes import json_sha256
from mutscan.inputs import read_protein_table
from mutscan.model.checkpoint import find_model
from mutscan.pipeline.job import logging_to
from mutscan.pipeline.options import DEFAULTS, Options
from mutscan.pipeline.parts import end_merge, is_merged, part_claim, write_part
from mutscan.pipeline.plan import status_of
from mutscan.pipeline.proteins import ProteinSources
from mutscan.pipeline.provenance import OF_ONE_PROTEIN, asked, heading, now, versions
from mutscan.pipeline.run import Run, exit_code_of
from mutscan.pipeline.tasks import Outcome, Places, Task, Unit, Worker, placed, planned_seconds, units_of
from mutscan.progress import Silent
from mutscan.reports.batch_page import render_many
from mutscan.results import (
    JOB_FILE,
    PROTEIN_COLUMNS,
    ROW_GROUP,
    TEXT_COLUMNS,
    VARIANT_COLUMNS,
    VARIANT_SCHEMA,
    BatchFolder,
    carried_names,
    escape_cell,
    format_cell,
    read_state,
    variant_blocks,
)
from mutscan.structures import is_fasta_file
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TextIO

    from mutscan.inputs import ProteinTable
    from mutscan.progress import Progress

_log = logging.getLogger("mutscan")

_ADVICE: Final = "to scan a sequence, give a FASTA file"

_OPEN: Final = 256
"""Tables of single proteins that are open at a time."""


@dataclass(frozen=True, eq=False)
class BatchRun:
    """A finished run over many proteins, read from its folder.

    Parameters
    ----------
    directory : Path
    """

    directory: Path

    def __repr__(self) -> str:
        """Name the folder and count its proteins and rows by status."""
        try:
            metadata = self.metadata
            if "shard" in metadata:
                told = f"part {metadata['shard']} of a job"
            else:
                proteins, rows = (
                    ", ".join(f"{n} {status}" for status, n in metadata[counted].items())
                    for counted in ("proteins", "counts")
                )
                told = f"proteins: {proteins}; rows: {rows}"
        except (OSError, ValueError, KeyError):
            told = "not finished"
        return f"<BatchRun {self.directory}: {told}>"

    def _repr_html_(self) -> str | None:
        """Show the run in a notebook; None, which shows `repr`, while it cannot be read."""
        from mutscan.reports.notebook import batch_html

        try:
            return batch_html(self.directory, self.proteins)
        except (UsageError, OSError, ValueError, KeyError):
            return None

    @property
    def variants(self) -> pd.DataFrame:
        """One row for each input line, or for each substitution of a scan."""
        self._whole()
        table = self.directory / "variants.csv"
        if table.is_file():
            return _read_csv(table, TEXT_COLUMNS)
        return pd.read_parquet(self.directory / "variants.parquet")

    @property
    def proteins(self) -> pd.DataFrame:
        """One row for each protein."""
        self._whole()
        texts = ("name", "status", "error_code", "message", "regions_hit_most", "folder")
        return _read_csv(self.directory / "proteins.csv", texts)

    @property
    def metadata(self) -> dict[str, Any]:
        """Contents of run.json."""
        stored: dict[str, Any] = json.loads((self.directory / "run.json").read_text(encoding="utf-8"))
        return stored

    @property
    def exit_code(self) -> int:
        """0 every row ok, 3 some not, 4 no row scored; 0 of a part of a job."""
        metadata = self.metadata
        return 0 if "shard" in metadata else exit_code_of(metadata["counts"])

    def _whole(self) -> None:
        if "shard" in self.metadata:
            raise UsageError(
                f"{self.directory}: is part {self.metadata['shard']} of a job, which has no tables; join the "
                "parts with mutscan.merge"
            )

    def run(self, name: str) -> Run:
        """Open the run folder of one protein.

        Raises
        ------
        UsageError
            There is none.
        """
        proteins = self.proteins
        places = proteins.loc[proteins["name"].isin((name, escape_cell(name))), "folder"].dropna()
        if places.empty:
            known = name in set(proteins["name"])
            raise UsageError(
                f"{self.directory}: "
                + (f"{name} has no run folder of its own" if known else f"has no protein {name}")
            )
        return Run(self.directory / str(places.iloc[0]))

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Draw the page over all proteins again, to `path`."""
        target = Path(path)
        with write_errors(target):
            write_text(target, render_many(self.directory))
        return target


def _read_csv(path: Path, texts: Iterable[str]) -> pd.DataFrame:
    """Read a table of ours, where a protein may be called NA."""
    return pd.read_csv(path, dtype=dict.fromkeys(texts, str), keep_default_na=False, na_values=[""])


def batch(
    table: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    protein_column: str | None = None,
    variant_column: str | None = None,
    sequences: str | os.PathLike[str] | None = None,
    structures_dir: str | os.PathLike[str] | None = None,
    alignments_dir: str | os.PathLike[str] | None = None,
    reports: bool = False,
    plddt: bool = DEFAULTS.plddt,
    model: str = DEFAULTS.model,
    builder: str = "none",
    alignment: str | os.PathLike[str] = DEFAULTS.alignment,
    device: str = DEFAULTS.device,
    precision: str = DEFAULTS.precision,
    batch_residues: int | None = None,
    jobs: int | None = None,
    offline: bool = False,
    restart: bool = False,
    prior: str = DEFAULTS.prior,
    inverse_folding: str = DEFAULTS.inverse_folding,
    predict: str = DEFAULTS.predict,
    numbering: str = DEFAULTS.numbering,
    organism: str = DEFAULTS.organism,
    strict: bool = DEFAULTS.strict,
    shard: str | None = None,
    engine: str = DEFAULTS.engine,
    ray_address: str | None = None,
    ray_cores: int | None = None,
    seed: int = DEFAULTS.seed,
    progress: Progress | None = None,
    stdin: TextIO | None = None,
) -> BatchRun:
    """Score variants of many proteins.

    Parameters
    ----------
    table : path or ``"-"``
        CSV or TSV with a protein and a variant column, lines ``P04637:p.R175H``, a VCF file annotated by
        Ensembl VEP, or a ProteinGym or MaveDB table (`mutscan.inputs.read_protein_table`).
    out : path, optional
        Run folder; ``mutscan-<table>`` by default. An unfinished run there is continued.
    protein_column, variant_column : str, optional
        Columns of the table.
    sequences : path, optional
        FASTA file of the proteins, by name. The only protein of a file is that of a table without names.
    structures_dir, alignments_dir : path, optional
        Folders of structures and of alignments, named as the proteins.
    reports : bool
        Write the report of each protein, too.
    plddt : bool
        B factors of the files in `structures_dir` are pLDDT, although they may not say so.
    alignment : {"auto", "library"}
        For proteins without a file in `alignments_dir`.
    model, builder, device, precision, batch_residues, jobs, offline, restart, prior, inverse_folding, \
    predict, numbering, organism, strict, shard, engine, ray_address, ray_cores, seed, progress, stdin
        As `mutscan.score`; by default no structure is built.

    Returns
    -------
    BatchRun

    Raises
    ------
    mutscan.errors.MutscanError
        When the run as a whole cannot be done; what is wrong with one protein is told in its rows.
    """
    options = Options(
        out=out, model=model, builder=builder, plddt=plddt, alignment=alignment, device=device,
        precision=precision, batch_residues=batch_residues, jobs=jobs, offline=offline, restart=restart,
        prior=prior, inverse_folding=inverse_folding, predict=predict, numbering=numbering,
        organism=organism, strict=strict,
        shard=shard, engine=engine, ray_address=ray_address, ray_cores=ray_cores, seed=seed,
        progress=progress or Silent(),
    )  # fmt: skip
    if os.fspath(alignment) not in ("auto", "library"):
        raise UsageError(f"--alignment {alignment}: is for one protein; give --alignments-dir a folder")
    if builder not in (*BUILDERS, NO_BUILDER):
        what = (
            "is a folder of one protein's mutants; use mutscan score"
            if os.path.isdir(builder)
            else (f"expected one of {', '.join((*BUILDERS, NO_BUILDER))}")
        )
        raise UsageError(f"--builder {builder}: {what}")
    if shard is not None and os.fspath(table) in ("-", "/dev/stdin"):
        raise UsageError("--shard: the parts of a job read the same table; give a file")
    sources = _sources(sequences, structures_dir, alignments_dir, options)
    read = read_protein_table(
        table,
        protein_column=protein_column,
        variant_column=variant_column,
        target=sources.target,
        stdin=stdin,
    )
    options.progress.note(read.words)
    name = "stdin" if os.fspath(table) == "-" else Path(table).name
    arguments = {
        "protein_column": protein_column,
        "variant_column": variant_column,
        "sequences": sequences,
        "structures_dir": structures_dir,
        "alignments_dir": alignments_dir,
        "reports": reports,
    }
    return run_many(
        "batch", {"table": table, **arguments}, f"mutscan-{file_name(name.split('.')[0])}",
        _tasks_of(read), sources, options, reports=reports, table=read,
    )  # fmt: skip


def _sources(
    sequences: str | os.PathLike[str] | None,
    structures_dir: str | os.PathLike[str] | None,
    alignments_dir: str | os.PathLike[str] | None,
    options: Options,
) -> ProteinSources:
    if options.plddt and structures_dir is None:
        raise UsageError("--plddt is about the B factors of structure files; add --structures-dir DIR")
    given = (sequences, structures_dir, alignments_dir)
    fasta, structures, alignments = (None if one is None else Path(one).expanduser() for one in given)
    sources = ProteinSources(
        fasta,
        structures,
        alignments,
        offline=options.offline,
        organism=options.organism,
        plddt=options.plddt,
    )
    sources.look()
    return sources


def _tasks_of(table: ProteinTable) -> list[Task]:
    """One task for each protein, in order of first appearance."""
    rows: dict[str, list[Any]] = {}
    for each in table.rows:
        rows.setdefault(each.protein, []).append(each.row)
    return [Task(name, tuple(its), table.carried_columns) for name, its in rows.items()]


def run_many(
    command: str,
    arguments: Mapping[str, object],
    default_out: str,
    tasks: Sequence[Task],
    sources: ProteinSources,
    options: Options,
    *,
    reports: bool = False,
    table: ProteinTable | None = None,
) -> BatchRun:
    """Do tasks, or a part of them, and write the tables over all proteins.

    Parameters
    ----------
    command : str
        ``batch`` or ``scan``.
    arguments : mapping
        Arguments of the command that are not in `options`.
    default_out : str
        Run folder when `options` names none.
    tasks : sequence of Task
    sources : ProteinSources
    options : Options
    reports : bool
        Whether each protein gets a report of its own.
    table : ProteinTable, optional
        Input lines of all tasks, in order; None for scans.
    """
    sources.check_organism([task.name for task in tasks])
    directory = Path(options.out if options.out is not None else default_out).expanduser()
    own = {name: value for name, value in arguments.items() if name in ("variant_column",)}
    worker = Worker(
        directory,
        options,
        sources,
        {"variants": [], "variants_file": arguments.get("table"), **own} if table is not None else {},
        reports=reports,
    )
    with (
        BatchFolder(directory, restart=options.restart) as folder,
        write_errors(directory),
        logging_to(folder.log_txt),
        ExitStack() as stack,
    ):
        _log.info("mutscan %s: %s of %d proteins", __version__, command, len(tasks))
        tasks = placed(tasks, sources, str(options.alignment))
        inputs = json_sha256([task.key for task in tasks])
        merged, workers = is_merged(folder, inputs, options), 1
        do_all: Callable[[Sequence[Unit]], Iterator[Task]] = worker.do_all
        if options.engine == "ray":
            from mutscan.pipeline.crew import batch_on, cluster_for

            cluster = stack.enter_context(cluster_for(options))
            workers = cluster.place.workers
            do_all = batch_on(cluster, worker, folder, None if merged else command)
        elif not merged:
            folder.claim(worker.claim(command) | part_claim(options, inputs))
        lengths = {task.name: length for task in tasks if (length := sources.length(task.name)) is not None}
        divide = options.shard is not None or options.engine == "ray"
        units, large = units_of(tasks, lengths, options, divide=divide, workers=workers)
        _do(do_all, worker.places, units, options, reports=reports, keep_failures=merged)
        if options.shard is not None:
            write_part(folder, command, options, arguments, len(tasks))
            return BatchRun(directory)
        _do(do_all, worker.places, large, options, reports=reports, keep_failures=merged)
        outcomes = _outcomes(worker.places, tasks)
        _write_proteins(folder, tasks, outcomes, options)
        if table is None:
            counts = _write_scans(folder, worker.places, tasks, outcomes)
        else:
            counts = _write_rows(folder, worker.places, table, tasks, outcomes)
        write_json(folder.run_json, _described(command, worker, arguments, outcomes, counts))
        BatchRun(directory).to_html(folder.report_html)
        end_merge(folder)
        _log.info("done: %s", dict(counts))
    return BatchRun(directory)


def _do(
    do_all: Callable[[Sequence[Unit]], Iterator[Task]],
    places: Places,
    units: Sequence[Unit],
    options: Options,
    *,
    reports: bool,
    keep_failures: bool,
) -> None:
    """Do what is not done yet of some units."""

    def is_done(task: Task) -> bool:
        found = places.outcome_of(task)
        if found is None:
            return False
        if reports and found.folder and not (places.folder(task) / "report.html").is_file():
            return False
        # A protein that was not to be had may be by now.
        return keep_failures or found.status != "failed" or found.folder

    left = [
        Unit(wanted, unit.share, unit.seconds)
        for unit in units
        if (wanted := tuple(task for task in unit.tasks if not is_done(task)))
    ]
    proteins = sum(len(unit.tasks) for unit in left if unit.share is None)
    if not left:
        return
    progress = options.progress
    n_rows = sum(max(1, len(task)) for unit in left for task in unit.tasks if unit.share is None)
    progress.start(f"proteins 0/{proteins:,}", n_rows)
    finished = 0
    for task in do_all(left):
        finished += 1
        progress.rename(f"proteins {finished:,}/{proteins:,}")
        progress.advance(max(1, len(task)))
    progress.finish()


def _outcomes(places: Places, tasks: Sequence[Task]) -> list[Outcome]:
    found = [places.outcome_of(task) for task in tasks]
    return [
        Outcome(task.key, "failed", "internal", f"{places.outcome(task)}: cannot be read back")
        if outcome is None
        else outcome
        for task, outcome in zip(tasks, found, strict=True)
    ]


def _write_proteins(
    folder: BatchFolder, tasks: Sequence[Task], outcomes: Sequence[Outcome], options: Options
) -> None:
    with (
        replacing(folder.proteins_csv) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(PROTEIN_COLUMNS)
        for task, outcome in zip(tasks, outcomes, strict=True):
            if not task.name:
                continue  # its lines name no protein
            counts = outcome.counts
            row = {
                "name": task.name,
                "length": outcome.length,
                "status": outcome.status,
                "error_code": outcome.error_code,
                "message": outcome.message,
                "rows": len(task) if task.rows is not None else sum(counts.values()),
                "scored": counts.get("ok", 0) + counts.get("partial", 0),
                "regions_hit_most": "; ".join(outcome.regions),
                "seconds": (
                    round(planned_seconds(task, outcome.length, predicts=options.predicts), 1)
                    if outcome.status != "failed"
                    else None
                ),
                "folder": f"proteins/{task.stem}" if outcome.folder else "",
                **{flag: outcome.flags.get(flag, 0) for flag in ("deleterious", "uncertain", "tolerated")},
            }
            writer.writerow([_cell(column, row[column]) for column in PROTEIN_COLUMNS])


def _cell(column: str, value: object) -> str:
    return str(value) if isinstance(value, float) else format_cell(column, value)


def _write_rows(
    folder: BatchFolder,
    places: Places,
    table: ProteinTable,
    tasks: Sequence[Task],
    outcomes: Sequence[Outcome],
) -> Counter[str]:
    """Write variants.csv: the rows of the proteins' own tables, in the order of the input."""
    carried = carried_names(table.carried_columns)
    columns = [*VARIANT_COLUMNS, *carried]
    known = {task.name: (task, outcome) for task, outcome in zip(tasks, outcomes, strict=True)}
    counts: Counter[str] = Counter()
    status = columns.index("status")
    with (
        replacing(folder.variants_csv) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
        closing(_Tables(places)) as tables,
        any_length(),
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([escape_cell(column) for column in columns])
        for each in table.rows:
            task, outcome = known[each.protein]
            if outcome.folder:
                cells = tables.next_row(task)
            else:
                problem = each.row.problem
                code = outcome.error_code if problem is None else each.row.code
                row: dict[str, object] = {
                    "input": each.row.text,
                    "status": "failed" if problem is None else status_of(code),
                    "error_code": code,
                    # A problem of the line itself names it.
                    "message": problem or f"{each.row.source} line {each.row.number}: {outcome.message}",
                    "wild_type": each.protein,
                    **dict(zip(carried, each.row.carried.values(), strict=True)),
                }
                cells = [format_cell(column, row.get(column)) for column in columns]
            counts[cells[status]] += 1
            writer.writerow(cells)
    return counts


class _Tables:
    """Reads the tables of single proteins row by row, some open at a time."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._open: dict[str, tuple[TextIO, Iterator[list[str]]]] = {}
        self._left_at: dict[str, int] = {}

    def next_row(self, task: Task) -> list[str]:
        """Read the next row of a protein."""
        if task.name not in self._open:
            if len(self._open) == _OPEN:
                self._close(next(iter(self._open)))
            stream = (self._places.folder(task) / "variants.csv").open(newline="", encoding="utf-8")
            # `tell` works between calls of readline, not while a file is iterated.
            rows: Iterator[list[str]] = csv.reader(iter(stream.readline, ""))
            if task.name in self._left_at:
                stream.seek(self._left_at[task.name])
            else:
                next(rows)
            self._open[task.name] = stream, rows
        opened = self._open.pop(task.name)
        self._open[task.name] = opened  # the one that was used last is closed last
        return next(opened[1])

    def _close(self, name: str) -> None:
        stream, _ = self._open.pop(name)
        self._left_at[name] = stream.tell()
        stream.close()

    def close(self) -> None:
        """Close all."""
        for name in [*self._open]:
            self._close(name)


def _write_scans(
    folder: BatchFolder, places: Places, tasks: Sequence[Task], outcomes: Sequence[Outcome]
) -> Counter[str]:
    """Write variants.parquet: one protein after the other, some in a row group."""
    counts: Counter[str] = Counter()
    waiting: list[pa.Table] = []
    with (
        replacing(folder.variants_parquet) as temporary,
        pq.ParquetWriter(temporary, VARIANT_SCHEMA, compression="zstd") as writer,
    ):

        def flush() -> None:
            if waiting:
                table = pa.concat_tables(waiting).unify_dictionaries().combine_chunks()
                writer.write_table(table, row_group_size=max(1, len(table)))
                waiting.clear()

        for task, outcome in zip(tasks, outcomes, strict=True):
            if outcome.status == "failed":
                counts["failed"] += 1
                continue
            table = (
                pa.concat_tables(variant_blocks(places.folder(task) / "variants.csv"))
                if outcome.folder
                else pq.read_table(places.scan(task), schema=VARIANT_SCHEMA)
            )
            if sum(map(len, waiting)) + len(table) > ROW_GROUP:
                flush()
            waiting.append(table)
            counts.update(outcome.counts)
        flush()
    return counts


def _described(
    command: str,
    worker: Worker,
    arguments: Mapping[str, object],
    outcomes: Sequence[Outcome],
    counts: Mapping[str, int],
) -> dict[str, object]:
    options = worker.options
    # Whoever writes the tables may not have loaded the model.
    claim = read_state(worker.places.directory / ".state" / JOB_FILE)
    flags: Counter[str] = Counter()
    for outcome in outcomes:
        flags.update(outcome.flags)
    return {
        **heading(command, asked(options, arguments, without=OF_ONE_PROTEIN)),
        "model": {"name": find_model(options.model).name, "sha256": claim.get("model_sha256")},
        "device": claim.get("device"),
        "seed": options.seed,
        "proteins": dict(sorted(Counter(outcome.status for outcome in outcomes).items())),
        "counts": dict(sorted(counts.items())),
        "flags": dict(sorted(flags.items())),
        "versions": versions(),
        "finished": now(),
        "wall_seconds": round(time.monotonic() - options.started, 2),
    }


def scan_many(
    names: Sequence[str],
    sources: ProteinSources,
    options: Options,
    arguments: Mapping[str, object],
    default_out: str,
) -> BatchRun:
    """Scan all substitutions of many proteins.

    Parameters
    ----------
    names : sequence of str
    sources : ProteinSources
    options : Options
    arguments : mapping
        Arguments of `scan` that are not in `options`.
    default_out : str
        Run folder when `options` names none.
    """
    for name, given in (
        ("--structure", options.structure),
        ("--chain", options.chain),
        ("--plddt", options.plddt or None),
        ("--positions", arguments.get("positions")),
    ):
        if given is not None:
            raise UsageError(f"{name} is for one protein; scan the proteins apart")
    if os.fspath(options.alignment) not in ("auto", "library"):
        raise UsageError(f"--alignment {options.alignment}: is for one protein; scan the proteins apart")
    tasks = [Task(name) for name in dict.fromkeys(names)]
    return run_many("scan", arguments, default_out, tasks, sources, options)


def proteins_to_scan(
    text: str, *, offline: bool, organism: str = DEFAULTS.organism
) -> tuple[list[str], ProteinSources] | None:
    """Read a list of proteins to scan; None where `text` names one protein.

    Parameters
    ----------
    text : str
        A FASTA file, or ``@`` and a file with a name in each line.
    offline : bool
        Never touch the network.
    organism : str
        Of gene symbols.

    Raises
    ------
    UsageError
        The file cannot be read, or names no protein.
    """
    if text.startswith("@"):
        path = Path(text[1:]).expanduser()
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{text}: cannot be read as a list of proteins ({error})") from error
        names = [name for line in lines if (name := line.partition("#")[0].strip())]
        if not names:
            raise UsageError(f"{path}: names no protein; expected one in each line")
        return names, ProteinSources(offline=offline, organism=organism, advice=_ADVICE)
    path = Path(text).expanduser()
    if not (path.is_file() and is_fasta_file(path)):
        return None
    sources = ProteinSources(path, offline=offline, organism=organism)
    return ([*sources.names], sources) if len(sources.names) > 1 else None
