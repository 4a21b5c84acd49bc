"""The work of a run on one wild type, which `score` and `scan` share: predict, build, judge, write.

A job has two stages. The first is cut into items, each of which leaves files in the run folder: processes
and machines may share them out. The second reads those files and writes the tables.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from mutscan.alignments import AUTO
from mutscan.alignments.source import fetched_relatives, relatives_for
from mutscan.builders.choose import choose_builders, default_jobs, describe_builders
from mutscan.builders.pool import BuildTask, MutantFactory, exchanges_of, is_whole, read_measured
from mutscan.errors import BuildError, RunFolderError
from mutscan.fetch import is_accession
from mutscan.files import file_name, write_errors, write_json
from mutscan.model.inverse_folding import describe_inverse_folding, load_inverse_folding
from mutscan.pipeline.alphamissense import alphamissense_of
from mutscan.pipeline.network import WildTypePredictor, load_model
from mutscan.pipeline.parts import end_merge, is_merged, part_claim, write_part
from mutscan.pipeline.plan import uses_inverse_folding
from mutscan.pipeline.provenance import fingerprint, provenance
from mutscan.pipeline.rows import Assembler, VariantResult, unscored_row
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge, evidence_block
from mutscan.reports.sentences import verdict_sentence
from mutscan.results import (
    EVIDENCE_SCHEMA,
    NULL_SCHEMA,
    REGION_SCHEMA,
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
    from mutscan.pipeline.alphamissense import AlphaMissense
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.options import Options
    from mutscan.pipeline.plan import PlannedRow
    from mutscan.pipeline.run import Run
    from mutscan.pipeline.verdict import Verdict
    from mutscan.structures import WildType
    from mutscan.variants import Variant

    Prediction = tuple[float, float, NDArray[Any]]
    """TM-score, the same before it was limited to 0-1, and lDDT of each residue, shape (L,)."""

    AddBlock = Callable[[Mapping[str, Any]], None]

_log = logging.getLogger("mutscan")

_FEW: Final = 8
"""Variants whose verdicts are said before the rest is done; more would bury the summary."""


class Job(ABC):
    """One run's work on one wild type: finished parts are found, the rest is done.

    Parameters
    ----------
    wild_type : WildType
    model : LoadedModel
    folder : RunFolder
    options : Options
    builders : sequence of MutantBuilder
        Tried in turn; none to build no mutant.
    relatives : Relatives, optional
        Of the wild type, from an alignment.
    """

    ROWS_TOGETHER: ClassVar[int]
    """Rows of a row group of residues.parquet."""

    PIECES_KEPT: ClassVar[int | None] = None
    """Pieces of evidence of each variant that evidence.parquet holds, the strongest; None for all."""

    carried_columns: tuple[str, ...] = ()

    settings: Mapping[str, object]
    """What the numbers depend on, except the variants."""

    alignment_note: str = ""
    """Why AlphaFold DB's alignment was not used, where it was asked for."""

    def __init__(
        self,
        wild_type: WildType,
        model: LoadedModel,
        folder: RunFolder,
        options: Options,
        builders: Sequence[MutantBuilder] = (),
        relatives: Relatives | None = None,
    ) -> None:
        self.wild_type = wild_type
        self.model = model
        self.folder = folder
        self.options = options
        self.builders = builders
        self.progress = options.progress
        self.predictor = WildTypePredictor(model, wild_type.sequence)
        self.relatives = relatives
        self.null: Null | None = None
        self.tasks: dict[Variant, BuildTask] = {}
        self.build_errors: dict[Variant, BuildError] = {}
        self.build_seconds: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    @cached_property
    def folding(self) -> InverseFolding | None:
        """The structure-conditioned model, where it is installed and the wild type has a structure."""
        used = uses_inverse_folding(self.options.inverse_folding, self.wild_type)
        return load_inverse_folding() if used else None

    @cached_property
    def judge(self) -> Judge:
        """Who decides on this wild type's variants."""
        prior = self.options.prior
        return Judge(self.model, self.predictor, self.wild_type, prior, self.folding, self.relatives)

    @cached_property
    def alphamissense(self) -> AlphaMissense:
        """AlphaMissense's values of this protein, where there are any."""
        return alphamissense_of(self.wild_type, offline=self.options.offline)

    # What differs between commands

    @property
    @abstractmethod
    def items(self) -> Sequence[Any]:
        """What the first stage is cut into; the same inputs give the same items in the same order."""

    @abstractmethod
    def variants_of(self, items: Sequence[Any]) -> Iterable[Variant]:
        """Distinct variants of some items, in order."""

    @abstractmethod
    def predict(self, items: Sequence[Any]) -> None:
        """Predict the variants of some items, where no prediction is stored yet."""

    @abstractmethod
    def background(self) -> Null | None:
        """Find or make the null, when everything is predicted; None where there is nothing to compare."""

    @abstractmethod
    def prediction(self, variant: Variant) -> Prediction:
        """Read the stored prediction of a variant."""

    @abstractmethod
    def chunks(self) -> Iterator[Sequence[PlannedRow]]:
        """Yield the rows in output order, some at a time; the variants of a chunk are judged together."""

    @property
    def claim(self) -> dict[str, object]:
        """What the run's numbers depend on besides `fingerprint`."""
        return {}

    @property
    def inputs_sha256(self) -> str:
        """Hash of what the rows are made of, which parts of one job have in common."""
        return ""

    def describe(self) -> dict[str, object]:
        """Entries of run.json that depend on the command."""
        return {
            "null": [] if self.null is None else list(self.null.variants),
            "region_z": self._subdomains.line,
        }

    # The two stages

    def work(self, items: Sequence[Any]) -> None:
        """Do some items of the first stage: predict and build what is not stored yet."""
        if self.options.predicts:
            self.predict(items)
        if self.builders:
            self._build_mutants(self.variants_of(items))

    def tell_verdicts(self) -> None:
        """Say the verdicts on a few variants at once: they are final, and need no mutant."""
        if len(self.items) > _FEW or not self.judge.calibrated:
            return
        variants = [*self.variants_of(self.items)]
        for variant, verdict in zip(variants, self.judge.judge(variants), strict=True):
            if verdict.flag:
                row = {"variant": str(variant), "flag": verdict.flag, "flag_rule": verdict.rule}
                said = verdict_sentence(row | {"p_deleterious": verdict.p})
                self.progress.note(f"{variant}: {said}; scores of its structure follow")

    def finish(self) -> None:
        """Do the second stage: write the tables from what is stored."""
        if self.options.predicts:
            self.null = self.background()
        self.write_tables()
        self.write_background()

    # Mutant structures

    def _build_mutants(self, variants: Iterable[Variant]) -> None:
        """Build and measure the mutants that are not stored yet; each is stored when it is built."""
        wild_type = self.wild_type
        assert wild_type.structure is not None
        write_structure(wild_type.structure, self.folder.structures / "wild_type.cif")
        for variant in variants:
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
        jobs = self.options.jobs or default_jobs()
        self._factory = MutantFactory(wild_type, self.builders, scratch, jobs=jobs, log=_log.warning)
        self._build(
            {
                v: task
                for v, task in self.tasks.items()
                if not (task.part.exists() and is_whole(task.structure))
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
            add_regions = stack.enter_context(block_writer(folder.regions_parquet, REGION_SCHEMA))
            add_evidence: AddBlock = lambda block: None  # noqa: E731
            if self.judge.calibrated:
                add_evidence = stack.enter_context(block_writer(folder.evidence_parquet, EVIDENCE_SCHEMA))
            rows = self.rows(add_residues, add_regions, add_evidence)
            write_variants(folder.variants_csv, rows, names)

    def rows(
        self, add_residues: AddBlock, add_regions: AddBlock, add_evidence: AddBlock
    ) -> Iterator[dict[str, object]]:
        """Yield the rows of variants.csv, in output order; other tables get their blocks on the way."""
        assembler: Assembler | None = None
        written: set[str] = set()  # names take little memory
        for chunk in self.chunks():
            scored: dict[Variant, dict[str, object]] = {}
            variants = [*dict.fromkeys(row.variant for row in chunk if row.variant is not None)]
            if variants and assembler is None:
                contexts = self._subdomains.contexts
                assembler = Assembler(self.wild_type, self.null, self.alphamissense, contexts)
            # A variant that is given again has its rows in the tables.
            new = {variant for variant in variants if str(variant) not in written}
            written.update(map(str, new))
            for result in self._results(variants, new, add_evidence):
                assert assembler is not None
                if self.null is not None and result.variant in new:
                    add_residues(assembler.residues(result))
                    add_regions(assembler.regions(result))
                scored[result.variant] = assembler.row(result, self.build_errors.get(result.variant))
            for planned in chunk:
                row = (
                    unscored_row(planned)
                    if planned.variant is None
                    else {"input": planned.source.text, **scored[planned.variant]}
                )
                if planned.notes or planned.doubt:
                    row |= _with_notes(planned, str(row["notes"]), str(row["confidence"]))
                row["wild_type"] = self.wild_type.name
                carried = (planned.source.carried.get(column, "") for column in self.carried_columns)
                row.update(zip(carried_names(self.carried_columns), carried, strict=True))
                self.counts[str(row["status"])] += 1
                yield row

    def _results(
        self, variants: Sequence[Variant], new: set[Variant], add_evidence: AddBlock
    ) -> Iterator[VariantResult]:
        """Judge variants, and yield all that is known of each; of `new` ones the evidence is added."""
        verdicts = self.judge.judge(variants)
        told = [place for place, variant in enumerate(variants) if variant in new]
        block = evidence_block(
            [variants[place] for place in told], [verdicts[place] for place in told], most=self.PIECES_KEPT
        )
        add_evidence(block)
        for variant, verdict in zip(variants, verdicts, strict=True):
            yield self._result(variant, verdict, self._measured(variant))

    def _result(self, variant: Variant, verdict: Verdict, measured: Measured | None) -> VariantResult:
        tm, tm_raw, lddt = math.nan, math.nan, np.full(len(self.wild_type.sequence), np.nan)
        if self.null is not None:
            tm, tm_raw, profile = self.prediction(variant)
            lddt = profile.astype("float64")
        if measured is not None:
            self.build_seconds[str(variant)] = round(measured.seconds, 3)
        affected = self._subdomains.call(variant, lddt, measured)
        return VariantResult(variant, tm, tm_raw, lddt, affected, measured, verdict)

    @cached_property
    def _subdomains(self) -> SubdomainCaller:
        return SubdomainCaller(self.wild_type, self.null, self.model.affected)

    def write_background(self) -> None:
        """Write what the variants are drawn against: the wild type's structure, and each residue's null."""
        if self.wild_type.structure is not None:
            write_structure(self.wild_type.structure, self.folder.structures / "wild_type.cif")
        if self.null is not None:
            with block_writer(self.folder.null_parquet, NULL_SCHEMA) as add:
                add({name: getattr(self.null, name) for name in NULL_SCHEMA.names})


def _with_notes(planned: PlannedRow, notes: str, confidence: str) -> dict[str, object]:
    """Put what was noted on how a line was read before what was noted on its variant."""
    # The notes begin with the reason of the confidence.
    reason, _, rest = notes.partition("; ") if notes.startswith("confidence ") else ("", "", notes)
    if planned.doubt:
        others = f", {reason.partition(': ')[2]}" if confidence == "low" and reason else ""
        reason, confidence = f"confidence low: {planned.doubt}{others}", "low"
    return {"confidence": confidence, "notes": "; ".join(filter(None, (reason, *planned.notes, rest)))}


def read_part(path: Path, make: Callable[[], None], **shapes: tuple[int, ...]) -> dict[str, NDArray[Any]]:
    """Read a stored part; one that is damaged is made again.

    Parameters
    ----------
    path : Path
    make : callable
        Makes and stores it.
    **shapes : tuple of int
        Of its arrays, by name.

    Raises
    ------
    RunFolderError
        It cannot be read back.
    """
    arrays = read_arrays(path, **shapes)
    if arrays is None:
        _log.warning("%s: cannot be read; it is computed again", path)
        make()
        arrays = read_arrays(path, **shapes)
    if arrays is None:
        raise _unreadable(path)
    return arrays


def _unreadable(path: Path) -> RunFolderError:
    return RunFolderError(f"{path}: cannot be read back; check the disk, then run the command again")


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked about one protein; it can be sent to another process.

    Parameters
    ----------
    command : str
        ``score`` or ``scan``.
    wild_type : WildType
    options : Options
    arguments : mapping
        Arguments of the command that are not in `options`.
    make_job : callable
        Makes the job from the loaded model, the open run folder, the options, the builders and the
        protein's relatives.
    bound : mapping
        What the folder is bound to besides: another list of variants would take the place of its table.
    """

    command: str
    wild_type: WildType
    options: Options
    arguments: Mapping[str, object]
    make_job: Callable[[LoadedModel, RunFolder, Options, Sequence[MutantBuilder], Relatives | None], Job]
    bound: Mapping[str, object] = field(default_factory=dict)
    relatives: Relatives | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "relatives", relatives_for(self.wild_type, self.options.alignment))

    @property
    def directory(self) -> Path:
        """The run folder."""
        if self.options.out is not None:
            return Path(self.options.out)
        name = self.wild_type.name
        typed = str(self.arguments.get("wild_type", "")).strip()
        if not is_accession(typed) and not os.path.exists(os.path.expanduser(typed)):
            name = typed or name
        return Path(f"mutscan-{file_name(name.replace(':', '_'))}")

    @cached_property
    def builders(self) -> tuple[MutantBuilder, ...]:
        """Who builds mutants, tried in turn; looked for once, since MODELLER is asked in a process."""
        return choose_builders(self.options.builders, self.wild_type, seed=self.options.seed)

    @contextlib.contextmanager
    def job(self, model: LoadedModel, folder: RunFolder, *, whole: bool = True) -> Iterator[Job]:
        """Make the job and bind the folder to it, or refuse where the folder holds another job.

        Parameters
        ----------
        model : LoadedModel
        folder : RunFolder
            Open.
        whole : bool
            Whether the job is finished here, which needs evidence that single items do not.
        """
        wild_type, options, builders = self.wild_type, self.options, self.builders
        with write_errors(folder.path), logging_to(folder.log_txt):
            _log.info("mutscan %s: %s of %s", __version__, self.command, wild_type.name)
            relatives, note = self.relatives, ""
            if whole and relatives is None:
                relatives, note = downloaded_relatives(model, wild_type, options)
            if relatives is not None or note:
                _log.info("%s", relatives.words if relatives is not None else note)
            job = self.make_job(model, folder, options, builders, relatives)
            job.alignment_note = note
            folds = uses_inverse_folding(options.inverse_folding, wild_type)
            folding = describe_inverse_folding() if folds else None
            described = describe_builders(builders)
            job.settings = fingerprint(wild_type, model, described, options, folding, relatives) | job.claim
            is_merged(folder, job.inputs_sha256, options)  # refuses inputs that the parts were not made of
            folder.claim(job.settings | dict(self.bound) | part_claim(options, job.inputs_sha256))
            yield job
            _log.info("done: %s", dict(job.counts))


def downloaded_relatives(
    model: LoadedModel, wild_type: WildType, options: Options
) -> tuple[Relatives | None, str]:
    """Get a protein's relatives from AlphaFold DB where the options and the model want them.

    Returns
    -------
    Relatives or None
    str
        Why there are none; empty where none are wanted.
    """
    # A model that does not weigh alignments needs no download.
    weighed = frozenset() if model.calibration is None else model.calibration.sources
    if options.alignment == AUTO and "alignment" in weighed:
        return fetched_relatives(wild_type, offline=options.offline)
    return None, ""


def loaded_model(options: Options) -> LoadedModel:
    """Load the model that a run asks for."""
    return load_model(
        options.model,
        device=options.device,
        precision=options.precision,
        batch_residues=options.batch_residues,
        offline=options.offline,
    )


def run_job(request: Request) -> Run:
    """Do a run from the model to the report, or a part of its first stage."""
    options = request.options
    if options.engine == "ray":
        from mutscan.pipeline.crew import job_on_ray

        return job_on_ray(request)
    # What is missing is said before anything is loaded.
    _ = request.builders
    model = loaded_model(options)
    with RunFolder(request.directory, restart=options.restart) as folder, contextlib.ExitStack() as stack:
        continued = folder.is_claimed
        job = stack.enter_context(request.job(model, folder))
        if continued:
            options.progress.note(f"continuing the run in {folder.path}: what is finished there is kept")
        if options.shard is None and options.predicts:
            job.tell_verdicts()
        job.work(options.part.pick(job.items))
        if options.shard is None:
            finish_job(request, job)
        else:
            write_part(folder, request.command, options, request.arguments, len(job.items))

    from mutscan.pipeline.run import Run

    return Run(request.directory)


def finish_job(request: Request, job: Job, *, report: bool = True) -> None:
    """Do the second stage of a job, and describe and draw the run."""
    # What draws takes a while to import; the first verdicts are out by now.
    from mutscan.pipeline.run import Run
    from mutscan.reports.views import write_views

    job.finish()
    directory, options = job.folder.path, request.options
    described = provenance(request.command, job, job.settings, options, request.arguments)
    write_json(job.folder.run_json, described)
    if report:
        Run(directory).to_html(job.folder.report_html, offline=options.offline)
    write_views(directory)
    end_merge(job.folder)


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append everything mutscan logs to the run's log.txt."""
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
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
