"""The main job: one wild type, many variants, end to end, never losing finished work."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
import platform
import re
import sys
import time
from collections import Counter
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mutscan.builders.choose import choose_builders, default_jobs, describe_builders
from mutscan.builders.pool import BuildTask, MutantFactory, exchanges_of, read_measured
from mutscan.errors import BuildError, RunFolderError, UsageError
from mutscan.evidence.built import built_evidence
from mutscan.files import write_errors, write_json
from mutscan.model.names import DEFAULT_MODEL
from mutscan.pipeline.network import WildTypePredictor, load_model, protein_null
from mutscan.pipeline.plan import make_plan, read_inputs, resolve_wild_type
from mutscan.pipeline.rows import Assembler, VariantResult, unscored_row
from mutscan.pipeline.run import Run
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge, evidence_block
from mutscan.progress import Silent
from mutscan.report.views import write_views
from mutscan.results import (
    EVIDENCE_SCHEMA,
    NULL_SCHEMA,
    RunFolder,
    block_writer,
    carried_names,
    read_arrays,
    write_arrays,
    write_residues,
    write_variants,
)
from mutscan.structures import read_structure, write_structure
from mutscan.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TextIO

    from numpy.typing import NDArray

    from mutscan.calling import Null
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.plan import Plan
    from mutscan.pipeline.verdict import Verdict
    from mutscan.progress import Progress
    from mutscan.structures import Structure, WildType
    from mutscan.variants import Variant

_log = logging.getLogger("mutscan")


def score(
    wild_type: str,
    variants: Sequence[str] = (),
    *,
    variants_file: str | os.PathLike[str] | None = None,
    variant_column: str | None = None,
    out: str | os.PathLike[str] | None = None,
    model: str = DEFAULT_MODEL,
    builder: str = "auto",
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_residues: int | None = None,
    jobs: int | None = None,
    offline: bool = False,
    restart: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
    stdin: TextIO | None = None,
) -> Run:
    """Score variants of one protein.

    Parameters
    ----------
    wild_type : str
        UniProt accession, or path to a structure or FASTA file.
    variants : sequence of str
        Such as ``"R175H"``, ``"p.Arg175His"``, ``"R175H;R248Q"``.
    variants_file : path, optional
        More variants: text, CSV/TSV, FASTA of mutants, ``-`` for stdin.
    variant_column : str, optional
        Column of a CSV/TSV that holds the variant.
    out : path, optional
        Run folder; ``mutscan-<wild type>`` by default. An unfinished run there is continued.
    model : str
        Model name or folder.
    builder : str
        ``auto``, ``modeller``, ``openmm``, ``template``, ``none``, or a folder of mutant structures.
    structure, chain : optional
        Structure file for an accession or FASTA; author chain name.
    device, precision, batch_residues
        Where and how the networks run.
    jobs : int, optional
        Builder processes; cores by default.
    offline : bool
        Never touch the network.
    restart : bool
        Throw the finished part of the run folder away.
    seed : int
    progress : Progress, optional
    stdin : text stream, optional
        Read for ``variants_file="-"``.

    Returns
    -------
    Run

    Raises
    ------
    mutscan.errors.MutscanError
        When the run as a whole cannot be done; single variants fail in their row.
    """
    started = time.monotonic()
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected 1 or more")
    reporter: Progress = progress or Silent()
    table = read_inputs(variants, variants_file, variant_column, stdin)
    resolved = resolve_wild_type(wild_type, structure=structure, chain=chain, offline=offline)
    plan = make_plan(resolved, table)
    builders = choose_builders(builder, resolved, seed=seed)
    loaded = load_model(
        model, device=device, precision=precision, batch_residues=batch_residues, offline=offline
    )
    directory = Path(out) if out is not None else Path(f"mutscan-{file_name(resolved.name)}")
    with (
        RunFolder(directory, restart=restart) as folder,
        write_errors(directory),
        logging_to(folder.log_txt),
    ):
        _log.info("mutscan %s: %s, %d input lines", __version__, resolved.name, len(plan.rows))
        settings = fingerprint(resolved, loaded, describe_builders(builders), seed)
        folder.claim(settings)
        job = Job(plan, loaded, folder, reporter, seed)
        job.predict()
        if builders:
            job.build(builders, jobs or default_jobs())
        job.write_tables()
        job.write_background()
        write_json(
            folder.run_json,
            provenance(job, settings, started)
            | {
                "arguments": {
                    "wild_type": wild_type,
                    "variants": list(variants),
                    "variants_file": None if variants_file is None else str(variants_file),
                    "variant_column": variant_column,
                    "model": model,
                    "builder": builder,
                    "structure": None if structure is None else str(structure),
                    "chain": chain,
                    "device": device,
                    "precision": precision,
                    "jobs": jobs,
                    "offline": offline,
                    "seed": seed,
                },
                "null": [] if job.null is None else list(job.null.variants),
            },
        )
        run = Run(directory)
        run.to_html(folder.report_html, offline=offline)
        write_views(directory)
        _log.info("done: %s", dict(job.counts))
    return run


def fingerprint(
    wild_type: WildType, model: LoadedModel, builders: list[dict[str, object]], seed: int
) -> dict[str, object]:
    """Everything that a run's numbers depend on, variants aside (`JobFolder.claim`)."""
    return {
        "mutscan": __version__,
        "sequence_sha256": hashlib.sha256(wild_type.sequence.encode()).hexdigest(),
        "structure_sha256": None if wild_type.structure is None else structure_sha256(wild_type.structure),
        "model_sha256": model.sha256,
        "encoder": model.encoder.key,
        "device": model.encoder.device.type,
        "builders": builders,
        "seed": seed,
    }


def provenance(job: Job, settings: Mapping[str, object], started: float) -> dict[str, object]:
    """Tell what run.json says of every run; its arguments and its null are for the caller to add.

    Parameters
    ----------
    job : Job
        Finished.
    settings : mapping
        `fingerprint`.
    started : float
        ``time.monotonic()`` at the start.
    """
    protein = job.wild_type
    return {
        "schema": 1,
        "mutscan": __version__,
        "command": sys.argv,
        "arguments": {},
        "wild_type": {
            "name": protein.name,
            "sequence": protein.sequence,
            "length": len(protein.sequence),
            "sequence_sha256": settings["sequence_sha256"],
            "structure": None if protein.structure is None else protein.structure.name,
            "chain": None if protein.structure is None else protein.structure.chain_id,
            "residues_with_coordinates": 0 if protein.structure is None else len(protein.structure),
            "structure_sha256": settings["structure_sha256"],
            "features": [asdict(feature) for feature in protein.features],
            # Laid on a sequence, a protein takes its structure's notes over.
            "notes": list(
                dict.fromkeys([*protein.notes, *(protein.structure.notes if protein.structure else ())])
            ),
        },
        "records": [dict(record) for record in protein.records],
        "model": job.model.describe(),
        "device": str(job.model.encoder.device),
        "precision": job.model.encoder.precision,
        "calibration": job.judge.describe(),
        "builder": settings["builders"],
        "build_seconds": job.build_seconds,
        "region_names": job.region_names,
        "null": [],
        "seed": settings["seed"],
        "counts": dict(sorted(job.counts.items())),
        "versions": _versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - started, 2),
    }


def structure_sha256(structure: Structure) -> str:
    """sha256 over residues, atoms and coordinates of a structure."""
    digest = hashlib.sha256()
    digest.update("\n".join((structure.chain_id, structure.sequence, *structure.atom_name)).encode())
    digest.update(np.ascontiguousarray(structure.coord, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(structure.residue_index, dtype="<i8").tobytes())
    return digest.hexdigest()


class Job:
    """One run's work on one wild type: finished parts are found, the rest is done."""

    def __init__(
        self, plan: Plan, model: LoadedModel, folder: RunFolder, progress: Progress, seed: int
    ) -> None:
        self.plan = plan
        self.wild_type: WildType = plan.wild_type
        self.model = model
        self.folder = folder
        self.progress = progress
        self.variants = plan.variants
        self.keys = {variant: file_name(variant.file_stem) for variant in self.variants}
        self.tasks: dict[Variant, BuildTask] = {}
        self.build_errors: dict[Variant, BuildError] = {}
        self.counts: Counter[str] = Counter()
        self.predictor = WildTypePredictor(model, self.wild_type.sequence)
        self._seed = seed
        self._subdomains: SubdomainCaller | None = None
        self.build_seconds: dict[str, float] = {}
        self.null: Null | None = None
        self.judge = Judge(model, self.predictor, self.wild_type)

    def predict(self) -> None:
        """Predict the null and every variant; each prediction is stored when it is made."""
        if not self.variants:
            return
        self.null = protein_null(
            self.predictor, self.model, self.wild_type.sequence, seed=self._seed, progress=self.progress
        )
        todo = [v for v in self.variants if read_arrays(self.folder.part("predicted", self.keys[v])) is None]
        self.progress.start("predicting", len(todo))
        for index, prediction in self.predictor.predict(todo):
            write_arrays(
                self.folder.part("predicted", self.keys[todo[index]]),
                tm=np.array([prediction.tm_score, prediction.tm_raw]),
                lddt=prediction.lddt,
            )
            self.progress.advance()
        self.progress.finish()

    def build(self, builders: Sequence[Any], jobs: int) -> None:
        """Build and measure the mutants not yet there; each is stored when it is built."""
        wild_type = self.wild_type
        assert wild_type.structure is not None
        write_structure(wild_type.structure, self.folder.structures / "wild_type.cif")
        for variant in self.variants:
            key = self.keys[variant]
            try:
                exchanges = exchanges_of(wild_type, variant)
            except BuildError as unresolved:
                self.build_errors[variant] = unresolved
                continue
            self.tasks[variant] = BuildTask(
                key, exchanges, self.folder.part("measured", key), self.folder.structures / f"{key}.cif"
            )
        by_key = {task.key: variant for variant, task in self.tasks.items()}
        todo = [task for task in self.tasks.values() if read_measured(task, wild_type) is None]
        scratch = self.folder.state / "builders"
        factory = MutantFactory(wild_type, builders, scratch, jobs=jobs, log=_log.warning)
        self.progress.start("building mutants", len(todo))
        for task, error in factory.run(todo):
            if error is not None:
                self.build_errors[by_key[task.key]] = error
            self.progress.advance()
        self.progress.finish()

    def write_tables(self) -> None:
        """Assemble variants.csv and residues.parquet from the finished parts."""
        names = carried_names(self.plan.carried_columns)
        assembler = None if self.null is None else Assembler(self.wild_type, self.null)
        verdicts = self.judge.judge(self.variants, self._built_evidence())
        results = {
            variant: self._result(variant, verdict)
            for variant, verdict in zip(self.variants, verdicts, strict=True)
        }
        self.build_seconds = {
            str(variant): round(result.measured.seconds, 3)
            for variant, result in results.items()
            if result.measured is not None
        }
        rows = []
        for planned in self.plan.rows:
            if planned.variant is None or assembler is None:
                row = unscored_row(planned, self.wild_type)
            else:
                variant = planned.variant
                row = assembler.row(planned, results[variant], self.build_errors.get(variant))
            row.update(
                zip(
                    names, (planned.source.carried.get(c, "") for c in self.plan.carried_columns), strict=True
                )
            )
            self.counts[str(row["status"])] += 1
            rows.append(row)
        write_variants(self.folder.variants_csv, rows, names)
        blocks = (assembler.residues(results[v]) for v in self.variants) if assembler is not None else ()
        write_residues(self.folder.residues_parquet, blocks)
        if self.judge.calibrated:
            with block_writer(self.folder.evidence_parquet, EVIDENCE_SCHEMA) as add:
                add(evidence_block(self.variants, verdicts))

    def _built_evidence(self) -> dict[Variant, dict[str, float]]:
        """Read what built single substitutions tell, where the calibration weighs their backend's."""
        backend, wild_type = self.judge.weighs_built, self.wild_type
        found: dict[Variant, dict[str, float]] = {}
        if not backend or wild_type.structure is None:
            return found
        for variant, task in self.tasks.items():
            if len(task.exchanges) != 1:
                continue
            measured = read_measured(task, wild_type)
            if measured is not None and measured.builder == backend:
                mutant = read_structure(task.structure)
                found[variant] = built_evidence(wild_type.structure, mutant, task.exchanges[0].index)
        return found

    def write_background(self) -> None:
        """Write what the variants are drawn against: the wild type's structure, and each residue's null."""
        if self.wild_type.structure is not None:
            write_structure(self.wild_type.structure, self.folder.structures / "wild_type.cif")
        if self.null is not None:
            with block_writer(self.folder.null_parquet, NULL_SCHEMA) as add:
                add({name: getattr(self.null, name) for name in NULL_SCHEMA.names})

    @property
    def region_names(self) -> list[dict[str, str]]:
        """Names given to affected regions: name, source, positions."""
        return [] if self._subdomains is None else self._subdomains.namer.used

    def _result(self, variant: Variant, verdict: Verdict) -> VariantResult:
        arrays = read_arrays(self.folder.part("predicted", self.keys[variant]))
        if arrays is None:
            raise RunFolderError(
                f"{self.folder.path}: the prediction of {variant} vanished; run the command again"
            )
        tm, tm_raw = arrays["tm"].tolist()
        return self.result_of(variant, tm, tm_raw, arrays["lddt"], verdict)

    def result_of(
        self, variant: Variant, tm: float, tm_raw: float, profile: NDArray[np.float32], verdict: Verdict
    ) -> VariantResult:
        """Join a prediction, what the null makes of it, the decision, and the measurement if there is one."""
        assert self.null is not None
        task = self.tasks.get(variant)
        measured = read_measured(task, self.wild_type) if task is not None else None
        lddt = profile.astype(np.float64)
        if self._subdomains is None or self._subdomains.null is not self.null:
            self._subdomains = SubdomainCaller(self.wild_type, self.null)
        affected = self._subdomains.call(variant, lddt, measured)
        return VariantResult(
            variant=variant,
            tm=tm,
            tm_raw=tm_raw,
            lddt=lddt,
            z=affected.z,
            affected=affected.residues,
            regions=affected.regions,
            measured=measured,
            notes=affected.notes,
            verdict=verdict,
        )


def file_name(text: str) -> str:
    """`text` as a file name: safe characters, and a hash in place of what does not fit."""
    safe = re.sub(r"[^A-Za-z0-9_.+-]+", "_", text).strip(".") or "protein"
    if safe == text and len(safe) <= 80:
        return safe
    return f"{safe[:60]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _versions() -> dict[str, str]:
    names = ("torch", "transformers", "openmm", "gemmi", "numpy", "tmtools", "biopython")
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


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
