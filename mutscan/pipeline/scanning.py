"""Every substitution of a protein: predicted, ranked against all the others, summed up by position.

Two passes. The first predicts, batch by batch, and stores each batch as it is
done. The second reads the batches back, first for the null and then for the
tables; only what belongs to one position is in memory at a time.
"""

from __future__ import annotations

import logging
import re
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.builders.choose import choose_builders, default_jobs, describe_builders
from mutscan.calling import NULL_SIZE, build_null, mean_away_from_site
from mutscan.errors import RunFolderError, UsageError
from mutscan.files import write_errors, write_json
from mutscan.inputs import InputRow
from mutscan.model.names import DEFAULT_MODEL
from mutscan.pipeline.network import load_model, protein_null
from mutscan.pipeline.plan import MAX_LENGTH, Plan, PlannedRow, resolve_wild_type
from mutscan.pipeline.positions import PositionTable
from mutscan.pipeline.rows import Assembler
from mutscan.pipeline.run import Run
from mutscan.pipeline.scoring import Job, file_name, fingerprint, logging_to, provenance
from mutscan.pipeline.verdict import evidence_block
from mutscan.progress import Silent
from mutscan.report.views import write_views
from mutscan.residues import STANDARD, is_standard
from mutscan.results import (
    EVIDENCE_SCHEMA,
    RESIDUE_SCHEMA,
    RunFolder,
    block_writer,
    read_arrays,
    write_arrays,
    write_variants,
)
from mutscan.variants import Substitution, Variant
from mutscan.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from mutscan.calling import Null
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.verdict import Verdict
    from mutscan.progress import Progress
    from mutscan.structures import WildType

    _AddBlock = Callable[[dict[str, Any]], None]

_log = logging.getLogger("mutscan")

BATCH_RESIDUES: Final = 20_000
"""Residues of a stored batch on a CPU: some seconds of work, which is all a kill can cost."""

BATCHES_ON_GPU: Final = 4
"""On a GPU a stored batch is so many of the encoder's."""

POSITIONS_JUDGED: Final = 64
"""Positions whose evidence is weighed together."""

PIECES_KEPT: Final = 5
"""Pieces of evidence of each substitution that a scan writes down, the strongest."""

RESIDUE_NULL_SIZE: Final = 1024
"""Substitutions of a whole scan from which the background of single residues is taken."""


def scan(
    wild_type: str,
    *,
    positions: str | None = None,
    out: str | os.PathLike[str] | None = None,
    model: str = DEFAULT_MODEL,
    builder: str = "none",
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
) -> Run:
    """Score all 19 substitutions of every residue.

    The run folder is that of `score`, with positions.csv (a summary of each position) and
    scan.parquet (20 rows for each position: the data of a heat map) beside it.

    Parameters
    ----------
    wild_type : str
        UniProt accession, or path to a structure or FASTA file.
    positions : str, optional
        Such as ``"94-292,305"``; all when not given.
    out : path, optional
        Run folder; ``mutscan-<wild type>`` by default. An unfinished scan there is continued.
    builder : str
        As `score`; by default no structure is built.
    model, structure, chain, device, precision, batch_residues, jobs, offline, restart, seed, progress
        As `score`.

    Returns
    -------
    Run

    Raises
    ------
    mutscan.errors.MutscanError
        When the run as a whole cannot be done.
    """
    started = time.monotonic()
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    if jobs is not None and jobs < 1:
        raise UsageError(f"--jobs {jobs}: expected 1 or more")
    resolved = resolve_wild_type(wild_type, structure=structure, chain=chain, offline=offline)
    sites = scanned_positions(resolved, positions)
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
        _log.info("mutscan %s: scan of %s, %d positions", __version__, resolved.name, len(sites))
        settings = fingerprint(resolved, loaded, describe_builders(builders), seed)
        folder.claim(settings | {"command": "scan", "positions": in_runs(sites)})
        job = ScanJob(resolved, sites, loaded, folder, progress or Silent(), seed, built=bool(builders))
        job.predict()
        job.find_null()
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
                    "positions": positions,
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
                "null": [] if job.whole or job.null is None else list(job.null.variants),
                "scan": job.describe(),
            },
        )
        run = Run(directory)
        run.to_html(folder.report_html, offline=offline)
        write_views(directory)
        _log.info("done: %s", dict(job.counts))
    return run


def parse_positions(text: str, length: int) -> tuple[int, ...]:
    """Read positions and ranges, 1-based, both ends included; ascending, each once.

    Raises
    ------
    UsageError
        No such notation, or outside the sequence.

    Examples
    --------
    >>> parse_positions("5, 2-4,3", 10)
    (2, 3, 4, 5)
    """
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part, re.ASCII)
        if match is None:
            raise UsageError(
                f"--positions: read {part.strip()!r}, expected numbers and ranges as in 94-292,305"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UsageError(f"--positions {part.strip()}: the range runs backwards; write {last}-{first}")
        if first < 1 or last > length:
            raise UsageError(f"--positions {part.strip()}: the protein has positions 1 to {length}")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def in_runs(positions: Sequence[int]) -> str:
    """Write ascending positions as `parse_positions` reads them.

    Examples
    --------
    >>> in_runs([2, 3, 4, 7])
    '2-4,7'
    """
    runs: list[list[int]] = []
    for position in positions:
        if runs and position == runs[-1][1] + 1:
            runs[-1][1] = position
        else:
            runs.append([position, position])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def scanned_positions(wild_type: WildType, text: str | None) -> tuple[int, ...]:
    """Choose the positions of a scan: those asked for (all by default) that hold a standard residue.

    Raises
    ------
    UsageError
        As `parse_positions`; none is left, or the protein is too long.
    """
    sequence = wild_type.sequence
    if len(sequence) > MAX_LENGTH:
        raise UsageError(
            f"{wild_type.name} has {len(sequence)} residues, at most {MAX_LENGTH} can be scanned; "
            "cut the protein to the domain concerned"
        )
    asked = range(1, len(sequence) + 1) if text is None else parse_positions(text, len(sequence))
    found = tuple(position for position in asked if is_standard(sequence[position - 1]))
    if not found:
        raise UsageError(f"{wild_type.name}: no standard residue at the positions to scan, nothing to do")
    return found


def substitutions(sequence: str, position: int) -> tuple[Variant, ...]:
    """Return the 19 substitutions of one position (1-based), by the new residue's letter."""
    own = sequence[position - 1]
    return tuple(Variant((Substitution(position, own, new),)) for new in STANDARD if new != own)


class ScanJob(Job):
    """One scan's work: finished batches are found, the rest is done."""

    def __init__(
        self,
        wild_type: WildType,
        positions: Sequence[int],
        model: LoadedModel,
        folder: RunFolder,
        progress: Progress,
        seed: int,
        *,
        built: bool = False,
    ) -> None:
        self.positions = positions
        # Variants are made when they are needed, unless each gets a structure.
        planned = _planned(wild_type.sequence, positions) if built else ()
        plan = Plan(wild_type, tuple(row for _, rows in planned for row in rows))
        super().__init__(plan, model, folder, progress, seed)
        self._seed = seed
        self.whole = False
        encoder = model.encoder
        wanted = BATCH_RESIDUES if encoder.device.type == "cpu" else BATCHES_ON_GPU * encoder.batch_residues
        size = max(1, wanted // (19 * len(wild_type.sequence)))
        self.batches = [positions[start : start + size] for start in range(0, len(positions), size)]

    def predict(self) -> None:
        """Predict every substitution; each batch is stored when it is done."""
        todo = [batch for batch in self.batches if read_arrays(self._stored(batch)) is None]
        self.progress.start("predicting", 19 * sum(map(len, todo)))
        for batch, (tm, lddt) in zip(
            todo, self.predictor.predict_batches(map(self._mutants, todo)), strict=True
        ):
            write_arrays(self._stored(batch), tm=tm, lddt=lddt)
            self.progress.advance(len(tm))
        self.progress.finish()

    def find_null(self) -> None:
        """Take the whole scan as the null when it is one, else the seeded sample."""
        sequence = self.wild_type.sequence
        self.whole = len(self.positions) == sum(map(is_standard, sequence))
        if not self.whole:
            self.null = protein_null(
                self.predictor, self.model, sequence, seed=self._seed, progress=self.progress
            )
            return
        self.null = self._whole_null()

    def _whole_null(self) -> Null:
        """Null of all substitutions; single residues' background from a seeded sample of them."""
        total = 19 * len(self.positions)
        generator = np.random.default_rng(self._seed)
        drawn = np.sort(generator.choice(total, min(total, RESIDUE_NULL_SIZE), replace=False))
        tm, means = np.empty(total), np.empty(total)
        variants, profiles = [], []
        done = 0
        for position, scores, block in self._predicted():
            rows = slice(done, done + 19)
            tm[rows] = scores
            means[rows] = [mean_away_from_site(profile, (position,)) for profile in block]
            choices = substitutions(self.wild_type.sequence, position)
            for row in (drawn[(drawn >= rows.start) & (drawn < rows.stop)] - done).tolist():
                variants.append(choices[row])
                profiles.append(block[row])
            done = rows.stop
        sample = build_null(variants, tm[drawn].tolist(), np.stack(profiles))
        return replace(sample, tm=tm, lddt=means)

    def write_tables(self) -> None:
        """Write variants.csv, residues.parquet, positions.csv and scan.parquet from the stored batches."""
        assert self.null is not None
        assembler = Assembler(self.wild_type, self.null)
        table = PositionTable(self.wild_type)
        self.progress.start("writing", 19 * len(self.positions))
        with (
            block_writer(self.folder.residues_parquet, RESIDUE_SCHEMA) as add_residues,
            self._evidence_writer() as add_evidence,
        ):
            rows = self._rows(assembler, table, add_residues, add_evidence)
            write_variants(self.folder.variants_csv, rows)
        table.write(self.folder)
        self.progress.finish()

    def _evidence_writer(self) -> AbstractContextManager[_AddBlock]:
        if not self.judge.calibrated:
            return nullcontext(lambda _: None)
        return block_writer(self.folder.evidence_parquet, EVIDENCE_SCHEMA)

    def _verdicts(self, add_evidence: _AddBlock) -> Iterator[list[Verdict]]:
        """Yield the decisions of each position, and write down what they rest on."""
        for first in range(0, len(self.positions), POSITIONS_JUDGED):
            chunk = self.positions[first : first + POSITIONS_JUDGED]
            variants = [v for position in chunk for v in substitutions(self.wild_type.sequence, position)]
            verdicts = self.judge.judge(variants)
            add_evidence(evidence_block(variants, verdicts, most=PIECES_KEPT))
            for place in range(len(chunk)):
                yield verdicts[19 * place : 19 * place + 19]

    def _rows(
        self, assembler: Assembler, table: PositionTable, add_residues: _AddBlock, add_evidence: _AddBlock
    ) -> Iterator[dict[str, object]]:
        planned = _planned(self.wild_type.sequence, self.positions)
        decided = self._verdicts(add_evidence)
        for (position, plans), (_, tm, profiles), verdicts in zip(
            planned, self._predicted(), decided, strict=True
        ):
            rows = []
            for plan, raw, profile, verdict in zip(plans, tm.tolist(), profiles, verdicts, strict=True):
                assert plan.variant is not None
                result = self.result_of(plan.variant, min(1.0, max(0.0, raw)), raw, profile, verdict)
                row = assembler.row(plan, result, self.build_errors.get(plan.variant))
                if result.measured is not None:
                    self.build_seconds[str(plan.variant)] = round(result.measured.seconds, 3)
                self.counts[str(row["status"])] += 1
                add_residues(assembler.residues(result))
                rows.append(row)
            table.add(position, rows)
            self.progress.advance(len(rows))
            yield from rows

    def describe(self) -> dict[str, Any]:
        """Say what was scanned and against what, for run.json."""
        assert self.null is not None
        return {
            "positions": in_runs(self.positions),
            "n_positions": len(self.positions),
            "n_substitutions": 19 * len(self.positions),
            "null": "whole scan" if self.whole else "sample",
            "null_size": len(self.null.tm),
            "null_note": (
                "percentiles and z are exact: against all substitutions of this protein"
                if self.whole
                else f"percentiles and z are against a seeded sample of {NULL_SIZE} substitutions"
            ),
        }

    def _mutants(self, batch: Sequence[int]) -> list[str]:
        sequence = self.wild_type.sequence
        return [v.apply(sequence) for position in batch for v in substitutions(sequence, position)]

    def _stored(self, batch: Sequence[int]) -> Path:
        return self.folder.part("scan", f"{batch[0]}-{batch[-1]}")

    def _predicted(self) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float32]]]:
        """Yield the stored predictions of each position: TM-scores (19,) and lDDT profiles (19, L)."""
        for batch in self.batches:
            arrays = read_arrays(self._stored(batch))
            if arrays is None:
                raise RunFolderError(
                    f"{self.folder.path}: the predictions of positions {batch[0]} to {batch[-1]} vanished; "
                    "run the command again"
                )
            for place, position in enumerate(batch):
                rows = slice(19 * place, 19 * place + 19)
                yield position, arrays["tm"][rows], arrays["lddt"][rows]


def _planned(sequence: str, positions: Sequence[int]) -> Iterator[tuple[int, list[PlannedRow]]]:
    """Yield the rows of each position, in output order."""
    number = 0
    for position in positions:
        rows = []
        for variant in substitutions(sequence, position):
            number += 1
            rows.append(PlannedRow(InputRow(number, str(variant), source="scan"), variant))
        yield position, rows
