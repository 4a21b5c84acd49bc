"""``scan``: every substitution of a protein, ranked against all the others, summed up by position.

Two passes. The first predicts, batch by batch, and stores each batch as it is done. The second reads the
batches back, first for the null and then for the tables; one batch is in memory at a time.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from mutscan.calling import NULL_SIZE, build_null, mean_away_from_site
from mutscan.errors import UsageError
from mutscan.files import file_name
from mutscan.inputs import InputRow
from mutscan.pipeline.columns import OTHERS, substitutions
from mutscan.pipeline.job import Job, Request, read_part, run_job
from mutscan.pipeline.network import protein_null
from mutscan.pipeline.numbering import FileNumbers
from mutscan.pipeline.options import DEFAULTS, Options
from mutscan.pipeline.plan import MAX_LENGTH, PlannedRow, resolve_wild_type
from mutscan.pipeline.positions import PositionTable
from mutscan.progress import Silent
from mutscan.residues import STANDARD, is_standard
from mutscan.results import ROW_GROUP, write_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mutscan.alignments.source import Relatives
    from mutscan.builders import MutantBuilder
    from mutscan.calling import Null
    from mutscan.pipeline.batching import BatchRun
    from mutscan.pipeline.job import AddBlock, Prediction
    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.run import Run
    from mutscan.progress import Progress
    from mutscan.results import RunFolder
    from mutscan.structures import WildType
    from mutscan.variants import Variant

BATCH_RESIDUES: Final = 20_000
"""Residues of a stored batch on a CPU: a few seconds of work, which is all that an interruption costs."""

BATCHES_ON_GPU: Final = 4
"""A stored batch on a GPU holds this many of the encoder's batches."""

POSITIONS_JUDGED: Final = 64
"""Positions whose substitutions are judged together."""

RESIDUE_NULL_SIZE: Final = 1024
"""Substitutions of a whole scan from which the background of single residues is taken."""


def scan(
    wild_type: str | os.PathLike[str],
    *,
    positions: str | None = None,
    out: str | os.PathLike[str] | None = None,
    model: str = DEFAULTS.model,
    builder: str = "none",
    structure: str | os.PathLike[str] | None = None,
    chain: str | None = None,
    plddt: bool = DEFAULTS.plddt,
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
    shard: str | None = None,
    engine: str = DEFAULTS.engine,
    ray_address: str | None = None,
    ray_cores: int | None = None,
    seed: int = DEFAULTS.seed,
    progress: Progress | None = None,
) -> Run | BatchRun:
    """Score all 19 substitutions of every residue, of one protein or of many.

    The run folder is that of `score`, with positions.csv (a summary of each position) and
    scan.parquet (20 rows for each position: the data of a heat map) beside it.

    Parameters
    ----------
    wild_type : str or path
        As `score`. A FASTA file of many proteins, or ``@`` and
        a file of names, gives a run over many: variants.parquet in place of variants.csv.
    positions : str, optional
        Such as ``"94-292,305"``; all when not given.
    out : path, optional
        Run folder; ``mutscan-<wild type>`` by default. An unfinished scan there is continued.
    builder : str
        As `score`; by default no structure is built.
    model, structure, chain, plddt, alignment, device, precision, batch_residues, jobs, offline, restart, \
    prior, inverse_folding, predict, numbering, organism, shard, engine, ray_address, ray_cores, seed, \
    progress
        As `score`.

    Returns
    -------
    Run or BatchRun

    Raises
    ------
    mutscan.errors.MutscanError
        When the run as a whole cannot be done.
    """
    options = Options(
        out=out, model=model, builder=builder, structure=structure, chain=chain, plddt=plddt,
        alignment=alignment,
        device=device, precision=precision, batch_residues=batch_residues, jobs=jobs, offline=offline,
        restart=restart, prior=prior, inverse_folding=inverse_folding, predict=predict, numbering=numbering,
        organism=organism,
        shard=shard, engine=engine, ray_address=ray_address, ray_cores=ray_cores, seed=seed,
        progress=progress or Silent(),
    )  # fmt: skip
    wild_type = os.fspath(wild_type)
    arguments = {"wild_type": wild_type, "positions": positions}
    # `batch` scans, too.
    from mutscan.pipeline.batching import proteins_to_scan, scan_many

    many = proteins_to_scan(wild_type, offline=offline, organism=organism)
    if many is not None:
        stem = Path(wild_type.removeprefix("@")).name.split(".")[0]
        return scan_many(*many, options, arguments, f"mutscan-{file_name(stem)}")
    resolved = resolve_wild_type(
        wild_type, structure=structure, chain=chain, plddt=plddt, offline=offline, organism=organism
    )
    sites = scanned_positions(resolved, positions, numbering)
    return run_job(Request("scan", resolved, options, arguments, partial(ScanJob, resolved, sites)))


def parse_positions(text: str, length: int, numbers: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Read positions and ranges, 1-based, both ends included; ascending, each once.

    Parameters
    ----------
    text : str
    length : int
        Residues of the protein.
    numbers : mapping of str to int, optional
        Position of each residue number of a structure file, which the text is then written in.

    Raises
    ------
    UsageError
        No such notation, or outside the sequence.

    Examples
    --------
    >>> parse_positions("5, 2-4,3", 10)
    (2, 3, 4, 5)
    >>> parse_positions("-1-27A", 10, {"-1": 1, "1": 2, "27": 3, "27A": 4})
    (1, 2, 3, 4)
    """
    number = r"\d+" if numbers is None else r"-?\d+[A-Za-z]?"
    if numbers is None:
        numbers = {str(position): position for position in range(1, length + 1)}
        there = f"the protein has positions 1 to {length}"
    else:
        there = f"the structure file has residues {' to '.join([*numbers][:: max(1, len(numbers) - 1)])}"
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(rf"\s*({number})\s*(?:-\s*({number})\s*)?", part, re.ASCII)
        if match is None:
            raise UsageError(
                f"--positions: read {part.strip()!r}, expected numbers and ranges as in 94-292,305"
            )
        ends = [numbers.get(end.upper()) for end in (match[1], match[2] or match[1])]
        first, last = (end or 0 for end in ends)
        if not first or not last:
            raise UsageError(f"--positions {part.strip()}: {there}")
        if last < first:
            raise UsageError(
                f"--positions {part.strip()}: the range runs backwards; write {match[2]}-{match[1]}"
            )
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


def scanned_positions(
    wild_type: WildType, text: str | None, numbering: str = DEFAULTS.numbering
) -> tuple[int, ...]:
    """Choose the positions of a scan: those asked for (all by default) that hold a standard residue.

    The first methionine is left out: without it the protein may not be made.

    Parameters
    ----------
    wild_type : WildType
    text : str or None
        As `parse_positions` reads it.
    numbering : {"sequence", "author"}
        Whose positions these are.

    Raises
    ------
    UsageError
        As `parse_positions`; none is left, or the protein is too long.
    """
    sequence = wild_type.sequence
    if len(sequence) > MAX_LENGTH:
        raise UsageError(
            f"{wild_type.name} has {len(sequence)} residues, at most {MAX_LENGTH} can be scanned; "
            "cut the protein to the domain concerned",
            code="too_long",
        )
    numbers = FileNumbers.of(wild_type)
    named = numbers.positions if numbering == "author" else None
    asked = range(1, len(sequence) + 1) if text is None else parse_positions(text, len(sequence), named)
    start = 1 if numbers.starts_protein and sequence.startswith("M") else 0
    found = tuple(p for p in asked if is_standard(sequence[p - 1]) and p != start)
    if not found:
        raise UsageError(
            f"{wild_type.name}: no standard residue at the positions to scan, or the first methionine alone",
            code="bad_sequence",
        )
    return found


class ScanJob(Job):
    """The work of `scan`: predictions are stored in batches of positions."""

    ROWS_TOGETHER = ROW_GROUP
    PIECES_KEPT: ClassVar[int | None] = 5

    def __init__(
        self,
        wild_type: WildType,
        positions: Sequence[int],
        model: LoadedModel,
        folder: RunFolder,
        options: Options,
        builders: Sequence[MutantBuilder] = (),
        relatives: Relatives | None = None,
    ) -> None:
        super().__init__(wild_type, model, folder, options, builders, relatives)
        self.positions = positions
        self.whole = positions == scanned_positions(wild_type, None)
        encoder = model.encoder
        wanted = BATCH_RESIDUES if encoder.device.type == "cpu" else BATCHES_ON_GPU * encoder.batch_residues
        size = max(1, wanted // (OTHERS * len(wild_type.sequence)))
        self.batches = [positions[start : start + size] for start in range(0, len(positions), size)]
        self._batch_of = {position: batch for batch in self.batches for position in batch}
        self._held: tuple[Sequence[int], dict[str, NDArray[Any]]] = ((), {})

    @property
    def items(self) -> Sequence[Sequence[int]]:
        """Batches of positions."""
        return self.batches

    def variants_of(self, items: Sequence[Sequence[int]]) -> Iterator[Variant]:
        """All substitutions, made when they are needed."""
        sequence = self.wild_type.sequence
        return (v for batch in items for position in batch for v in substitutions(sequence, position))

    @property
    def claim(self) -> dict[str, object]:
        """The command and its positions."""
        return {"command": "scan", "positions": in_runs(self.positions)}

    def predict(self, items: Sequence[Sequence[int]]) -> None:
        """Predict all substitutions of some batches; each batch is stored when it is done."""
        missing = [batch for batch in items if not self._part(batch).exists()]
        if missing:
            self._predict(missing)

    def background(self) -> Null:
        """Null of the whole scan, or of a sample where only some positions are scanned."""
        if self.whole:
            return self._whole_null()
        options, sequence = self.options, self.wild_type.sequence
        return protein_null(
            self.predictor, self.model, sequence, seed=options.seed, progress=options.progress
        )

    def _predict(self, batches: Sequence[Sequence[int]]) -> None:
        self.progress.start("predicting", OTHERS * sum(map(len, batches)))
        predicted = self.predictor.predict_batches(map(self._mutants, batches))
        for batch, (tm, lddt) in zip(batches, predicted, strict=True):
            write_arrays(self._part(batch), tm=tm, lddt=lddt)
            self.progress.advance(len(tm))
        self.progress.finish()

    def _mutants(self, batch: Sequence[int]) -> list[str]:
        sequence = self.wild_type.sequence
        return [v.apply(sequence) for position in batch for v in substitutions(sequence, position)]

    def _part(self, batch: Sequence[int]) -> Path:
        return self.folder.part("scan", f"{batch[0]}-{batch[-1]}")

    def _position(self, position: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Read the stored predictions of a position: TM-scores (19,) and lDDT profiles (19, L)."""
        batch = self._batch_of[position]
        if self._held[0] is not batch:
            count = OTHERS * len(batch)
            stored = read_part(
                self._part(batch),
                lambda: self._predict([batch]),
                tm=(count,),
                lddt=(count, len(self.wild_type.sequence)),
            )
            self._held = batch, stored
        start = OTHERS * batch.index(position)
        rows = slice(start, start + OTHERS)
        return self._held[1]["tm"][rows], self._held[1]["lddt"][rows]

    def prediction(self, variant: Variant) -> Prediction:
        """Read the stored prediction of a substitution."""
        (one,) = variant.substitutions
        tm, lddt = self._position(one.position)
        row = STANDARD.replace(one.wild_type, "").index(one.mutant)
        raw = float(tm[row])
        return min(1.0, max(0.0, raw)), raw, lddt[row]

    def _whole_null(self) -> Null:
        """Null of all substitutions; single residues' background from a seeded sample of them."""
        total = OTHERS * len(self.positions)
        generator = np.random.default_rng(self.options.seed)
        drawn = np.sort(generator.choice(total, min(total, RESIDUE_NULL_SIZE), replace=False))
        tm, means = np.empty(total), np.empty(total)
        variants, profiles = [], []
        for place, position in enumerate(self.positions):
            start = OTHERS * place
            rows = slice(start, start + OTHERS)
            tm[rows], block = self._position(position)
            means[rows] = [mean_away_from_site(profile, (position,)) for profile in block]
            choices = substitutions(self.wild_type.sequence, position)
            for row in (drawn[(drawn >= rows.start) & (drawn < rows.stop)] - start).tolist():
                variants.append(choices[row])
                profiles.append(block[row])
        sample = build_null(variants, tm[drawn].tolist(), np.stack(profiles))
        return replace(sample, tm=tm, lddt=means)

    def chunks(self) -> Iterator[Sequence[PlannedRow]]:
        """Yield the rows of some positions at a time."""
        numbered = enumerate(self.variants_of(self.batches), start=1)
        while some := list(islice(numbered, OTHERS * POSITIONS_JUDGED)):
            yield [PlannedRow(InputRow(number, str(v), source="scan"), v) for number, v in some]

    def write_tables(self) -> None:
        """Write the tables of every run, and positions.csv and scan.parquet."""
        self._table = PositionTable(self.wild_type)
        self.progress.start("writing", OTHERS * len(self.positions))
        super().write_tables()
        self._table.write(self.folder)
        self.progress.finish()

    def rows(
        self, add_residues: AddBlock, add_regions: AddBlock, add_evidence: AddBlock
    ) -> Iterator[dict[str, object]]:
        """Yield the rows of variants.csv, and sum up those of each position."""
        rows = super().rows(add_residues, add_regions, add_evidence)
        for position in self.positions:
            own = list(islice(rows, OTHERS))
            self._table.add(position, own)
            self.progress.advance(len(own))
            yield from own

    def describe(self) -> dict[str, object]:
        """Entries of run.json: what was scanned, and against which null."""
        null = self.null
        total = OTHERS * len(self.positions)
        scanned = {
            "positions": in_runs(self.positions),
            "n_positions": len(self.positions),
            "n_substitutions": total,
            # Also where no mutant is predicted, and regions.parquet is empty.
            "regions": [
                {"name": r.name, "kind": r.kind, "source": r.source, "positions": r.positions}
                for r in self._subdomains.regions
            ],
        }
        if null is None:
            note = "no mutant was predicted: there are probabilities alone"
            return {"null": [], "scan": {**scanned, "null": "none", "null_size": 0, "null_note": note}}
        return {
            **super().describe(),
            "null": [] if self.whole else list(null.variants),
            "scan": {
                **scanned,
                "null": "whole scan" if self.whole else "sample",
                "null_size": len(null.tm),
                "null_note": (
                    "percentiles and z are exact: they compare with all substitutions of this protein"
                    if self.whole
                    else f"percentiles and z compare with a seeded sample of {NULL_SIZE} substitutions"
                ),
            },
        }
