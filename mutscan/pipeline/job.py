"""The work of a run on one wild type, which `score` and `scan` share: predict, build, judge, write."""

from __future__ import annotations

import contextlib
import logging
from abc import ABC, abstractmethod
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mutscan.alignments.source import AUTO, fetched_relatives, relatives_for
from mutscan.builders.choose import choose_builders, default_jobs, describe_builders
from mutscan.builders.pool import BuildTask, MutantFactory, exchanges_of, read_measured
from mutscan.errors import BuildError, RunFolderError
from mutscan.files import file_name, write_errors, write_json
from mutscan.model.inverse_folding import describe_inverse_folding, load_inverse_folding
from mutscan.pipeline.alphamissense import alphamissense_of
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.plan import uses_inverse_folding
from mutscan.pipeline.provenance import fingerprint, provenance
from mutscan.pipeline.rows import Assembler, VariantResult, unscored_row
from mutscan.pipeline.run import Run
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge, evidence_block
from mutscan.report.views import write_views
from mutscan.results import (
    AFFECTED_SCHEMA,
    EVIDENCE_SCHEMA,
    NULL_SCHEMA,
    RESIDUE_SCHEMA,
    RunFolder,
    block_writer,
    carried_names,
    read_arrays,
    write_variants,
)
from mutscan.structures import write_structure
from mutscan.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.alignments.source import Relatives
    from mutscan.builders import MutantBuilder
    from mutscan.builders.pool import Measured
    from mutscan.calling import Null
    from mutscan.model.inverse_folding import InverseFolding
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.options import Options
    from mutscan.pipeline.plan import PlannedRow
    from mutscan.pipeline.verdict import Verdict
    from mutscan.structures import WildType
    from mutscan.variants import Variant

    Prediction = tuple[float, float, NDArray[Any]]
    """TM-score, the same before it was limited to 0-1, and lDDT of each residue, shape (L,)."""

    AddBlock = Callable[[Mapping[str, Any]], None]

_log = logging.getLogger("mutscan")


class Job(ABC):
    """One run's work on one wild type: finished parts are found, the rest is done.

    Parameters
    ----------
    wild_type : WildType
    model : LoadedModel
    folder : RunFolder
    options : Options
    relatives : Relatives, optional
        Of the wild type, from an alignment.
    """

    ROWS_TOGETHER: ClassVar[int]
    """Rows of a row group of residues.parquet."""

    PIECES_KEPT: ClassVar[int | None] = None
    """Pieces of evidence of each variant that evidence.parquet holds, the strongest; None for all."""

    carried_columns: tuple[str, ...] = ()

    alignment_note: str = ""
    """Why AlphaFold DB's alignment was not used, where it was asked for."""

    def __init__(
        self,
        wild_type: WildType,
        model: LoadedModel,
        folder: RunFolder,
        options: Options,
        relatives: Relatives | None = None,
    ) -> None:
        self.wild_type = wild_type
        self.model = model
        self.folder = folder
        self.progress = options.progress
        self.seed = options.seed
        self.predictor = WildTypePredictor(model, wild_type.sequence)
        self.relatives = relatives
        self.folding: InverseFolding | None = None
        if uses_inverse_folding(options.inverse_folding, wild_type):
            self.folding = load_inverse_folding()
        self.judge = Judge(model, self.predictor, wild_type, options.prior, self.folding, relatives)
        self.alphamissense = alphamissense_of(wild_type, offline=options.offline)
        self.null: Null | None = None
        self.tasks: dict[Variant, BuildTask] = {}
        self.build_errors: dict[Variant, BuildError] = {}
        self.build_seconds: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    # What differs between commands

    @property
    @abstractmethod
    def variants(self) -> Iterable[Variant]:
        """The distinct variants, in order."""

    @abstractmethod
    def predict(self) -> None:
        """Predict every variant that is not stored yet, and find the null."""

    @abstractmethod
    def prediction(self, variant: Variant) -> Prediction:
        """Read the stored prediction of a variant."""

    @abstractmethod
    def chunks(self) -> Iterator[Sequence[PlannedRow]]:
        """Yield the rows in output order; the variants of a chunk are judged together."""

    @property
    def claim(self) -> dict[str, object]:
        """What the run's numbers depend on besides `fingerprint`."""
        return {}

    def describe(self) -> dict[str, object]:
        """Entries of run.json that depend on the command."""
        return {"null": [] if self.null is None else list(self.null.variants)}

    # Mutant structures

    def build(self, builders: Sequence[MutantBuilder], jobs: int) -> None:
        """Build and measure the mutants that are not stored yet; each is stored when it is built."""
        wild_type = self.wild_type
        assert wild_type.structure is not None
        write_structure(wild_type.structure, self.folder.structures / "wild_type.cif")
        for variant in self.variants:
            try:
                exchanges = exchanges_of(wild_type, variant)
            except BuildError as unresolved:
                self.build_errors[variant] = unresolved
                continue
            path = self.folder.structure_of(str(variant))
            self.tasks[variant] = BuildTask(
                path.stem, exchanges, self.folder.part("measured", path.stem), path
            )
        scratch = self.folder.state / "builders"
        self._factory = MutantFactory(wild_type, builders, scratch, jobs=jobs, log=_log.warning)
        self._build(
            {
                v: task
                for v, task in self.tasks.items()
                if not (task.part.exists() and task.structure.exists())
            }
        )

    def _build(self, tasks: Mapping[Variant, BuildTask]) -> None:
        by_key = {task.key: variant for variant, task in tasks.items()}
        self.progress.start("building mutants", len(tasks))
        for task, error in self._factory.run([*tasks.values()]):
            if error is not None:
                self.build_errors[by_key[task.key]] = error
            self.progress.advance()
        self.progress.finish()

    def _measured(self, variant: Variant) -> Measured | None:
        """Read what was measured on a variant's mutant; None where none was built."""
        task = self.tasks.get(variant)
        if task is None or variant in self.build_errors:
            return None
        measured = read_measured(task, self.wild_type)
        if measured is None:
            _log.warning("%s: the stored measurement cannot be read; the mutant is built again", variant)
            self._build({variant: task})
            measured = read_measured(task, self.wild_type)
        if measured is None and variant not in self.build_errors:
            raise _unreadable(task.part)
        return measured

    # Tables

    def write_tables(self) -> None:
        """Write variants.csv and the tables beside it from the stored parts."""
        names = carried_names(self.carried_columns)
        folder = self.folder
        with contextlib.ExitStack() as stack:
            add_residues = stack.enter_context(
                block_writer(folder.residues_parquet, RESIDUE_SCHEMA, row_group=self.ROWS_TOGETHER)
            )
            add_affected = stack.enter_context(block_writer(folder.affected_parquet, AFFECTED_SCHEMA))
            add_evidence: AddBlock = lambda block: None  # noqa: E731
            if self.judge.calibrated:
                add_evidence = stack.enter_context(block_writer(folder.evidence_parquet, EVIDENCE_SCHEMA))
            rows = self.rows(add_residues, add_affected, add_evidence)
            write_variants(folder.variants_csv, rows, names)

    def rows(
        self, add_residues: AddBlock, add_affected: AddBlock, add_evidence: AddBlock
    ) -> Iterator[dict[str, object]]:
        """Yield the rows of variants.csv, in output order; other tables get their blocks on the way."""
        assembler = None if self.null is None else Assembler(self.wild_type, self.null, self.alphamissense)
        for chunk in self.chunks():
            scored: dict[Variant, dict[str, object]] = {}
            variants = [*dict.fromkeys(row.variant for row in chunk if row.variant is not None)]
            for result in self._results(variants, add_evidence):
                assert assembler is not None
                add_residues(assembler.residues(result))
                add_affected(assembler.affected(result))
                scored[result.variant] = assembler.row(result, self.build_errors.get(result.variant))
            for planned in chunk:
                row = (
                    unscored_row(planned)
                    if planned.variant is None
                    else {"input": planned.source.text, **scored[planned.variant]}
                )
                row["wild_type"] = self.wild_type.name
                carried = (planned.source.carried.get(column, "") for column in self.carried_columns)
                row.update(zip(carried_names(self.carried_columns), carried, strict=True))
                self.counts[str(row["status"])] += 1
                yield row

    def _results(self, variants: Sequence[Variant], add_evidence: AddBlock) -> Iterator[VariantResult]:
        """Judge variants, and yield all that is known of each.

        This is the only place where a command judges.
        """
        measured = {variant: self._measured(variant) for variant in variants}
        verdicts = self.judge.judge(variants)
        add_evidence(evidence_block(variants, verdicts, most=self.PIECES_KEPT))
        for variant, verdict in zip(variants, verdicts, strict=True):
            yield self._result(variant, verdict, measured[variant])

    def _result(self, variant: Variant, verdict: Verdict, measured: Measured | None) -> VariantResult:
        tm, tm_raw, profile = self.prediction(variant)
        lddt = profile.astype("float64")
        if measured is not None:
            self.build_seconds[str(variant)] = round(measured.seconds, 3)
        affected = self._subdomains.call(variant, lddt, measured)
        return VariantResult(variant, tm, tm_raw, lddt, affected, measured, verdict)

    @cached_property
    def _subdomains(self) -> SubdomainCaller:
        assert self.null is not None
        return SubdomainCaller(self.wild_type, self.null)

    @property
    def region_names(self) -> list[dict[str, str]]:
        """Names given to affected regions: name, source, positions."""
        return [] if self.null is None else self._subdomains.namer.used

    def write_background(self) -> None:
        """Write what the variants are drawn against: the wild type's structure, and each residue's null."""
        if self.wild_type.structure is not None:
            write_structure(self.wild_type.structure, self.folder.structures / "wild_type.cif")
        if self.null is not None:
            with block_writer(self.folder.null_parquet, NULL_SCHEMA) as add:
                add({name: getattr(self.null, name) for name in NULL_SCHEMA.names})


def read_part(path: Path, make: Callable[[], None]) -> dict[str, NDArray[Any]]:
    """Read a stored part; one that is damaged is made again.

    Parameters
    ----------
    path : Path
    make : callable
        Makes and stores it.

    Raises
    ------
    RunFolderError
        It cannot be read back.
    """
    arrays = read_arrays(path)
    if arrays is None:
        _log.warning("%s: cannot be read; it is computed again", path)
        make()
        arrays = read_arrays(path)
    if arrays is None:
        raise _unreadable(path)
    return arrays


def _unreadable(path: Path) -> RunFolderError:
    return RunFolderError(f"{path}: cannot be read back; check the disk, then run the command again")


def run_job(
    command: str,
    wild_type: WildType,
    options: Options,
    arguments: Mapping[str, object],
    make_job: Callable[[LoadedModel, RunFolder, Relatives | None], Job],
) -> Run:
    """Do a run from the model to the report.

    Parameters
    ----------
    command : str
        ``score`` or ``scan``.
    wild_type : WildType
    options : Options
    arguments : mapping
        Arguments of the command that are not in `options`, for run.json.
    make_job : callable
        Makes the job from the loaded model, the open run folder and the protein's relatives.
    """
    relatives = relatives_for(wild_type, options.alignment)
    builders = choose_builders(options.builder, wild_type, seed=options.seed)
    model = load_model(
        options.model,
        device=options.device,
        precision=options.precision,
        batch_residues=options.batch_residues,
        offline=options.offline,
    )
    directory = Path(options.out if options.out is not None else f"mutscan-{file_name(wild_type.name)}")
    with (
        RunFolder(directory, restart=options.restart) as folder,
        write_errors(directory),
        logging_to(folder.log_txt),
    ):
        _log.info("mutscan %s: %s of %s", __version__, command, wild_type.name)
        note = ""
        # A model that does not weigh alignments needs no download.
        weighed = frozenset() if model.calibration is None else model.calibration.sources
        if options.alignment == AUTO and "alignment" in weighed:
            relatives, note = fetched_relatives(wild_type, offline=options.offline)
        if relatives is not None or note:
            _log.info("%s", relatives.words if relatives is not None else note)
        job = make_job(model, folder, relatives)
        job.alignment_note = note
        folding = None if job.folding is None else describe_inverse_folding()
        settings = fingerprint(wild_type, model, describe_builders(builders), options, folding, relatives)
        folder.claim(settings | job.claim)
        job.predict()
        if builders:
            job.build(builders, options.jobs or default_jobs())
        job.write_tables()
        job.write_background()
        write_json(folder.run_json, provenance(command, job, settings, options, arguments))
        run = Run(directory)
        run.to_html(folder.report_html, offline=options.offline)
        write_views(directory)
        _log.info("done: %s", dict(job.counts))
    return run


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append everything mutscan logs to the run's log.txt."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    level = _log.level
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    try:
        yield
    finally:
        _log.removeHandler(handler)
        _log.setLevel(level)
        handler.close()
