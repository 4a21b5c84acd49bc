"""A saved run in the forms that other collections of variants use: ProteinGym, MaveDB, PDB, Parquet."""

from __future__ import annotations

import csv
import io
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.files import replacing, write_errors
from mutscan.reports.saved import read_run, reading
from mutscan.results import BatchFolder, RunFolder, format_cell, variant_blocks
from mutscan.structures import read_structure, write_structure
from mutscan.structures.write import MEASURED_LDDT
from mutscan.variants import parse_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd

    from mutscan.reports.saved import SavedRun
    from mutscan.variants import Variant

MAVEDB_COLUMNS: Final = ("p_deleterious", "z_score", "tm_predicted", "lddt_predicted_mean", "ddg_predicted")
"""Columns of variants.csv that a MaveDB score set has beside ``hgvs_pro`` and ``score``, where known."""

UNKNOWN: Final = "NA"
"""What MaveDB writes for a value that is not known."""


@dataclass(frozen=True, slots=True)
class Table:
    """Text of a file, and what its reader should know."""

    text: str
    note: str


def proteingym_table(directory: Path) -> Table:
    """Substitutions as ProteinGym lists them: ``mutant`` (``A1P:D2N``), ``mutated_sequence``, and a score.

    ``mutscan_score`` is higher for fitter variants: `fitness`. Insertions and deletions have no place here.

    Raises
    ------
    UsageError
        No run folder, or none of its substitutions has a score.
    """
    run = read_run(directory)
    score, meaning = fitness(run)
    with reading(RunFolder(directory).run_json):
        sequence = str(run.provenance["wild_type"]["sequence"])
    rows = [
        (":".join(map(str, variant.substitutions)), variant.apply(sequence), format_cell("", score[place]))
        for place, variant in _variants(run, score)
        if variant.indel is None
    ]
    return _table(run, ("mutant", "mutated_sequence", "mutscan_score"), rows, f"mutscan_score is {meaning}")


def mavedb_table(directory: Path) -> Table:
    """Score set of MaveDB: ``hgvs_pro`` in MAVE-HGVS, ``score`` (`fitness`), and `MAVEDB_COLUMNS`.

    Raises
    ------
    UsageError
        No run folder, or none of its variants has a score.
    """
    run = read_run(directory)
    score, meaning = fitness(run)
    known = [column for column in MAVEDB_COLUMNS if run.scored[column].notna().any()]
    rows = [
        (
            variant.hgvs,
            format_cell("", score[place]),
            *(format_cell(column, run.variants.at[place, column]) or UNKNOWN for column in known),
        )
        for place, variant in _variants(run, score)
        if _is_mave(variant)
    ]
    return _table(run, ("hgvs_pro", "score", *known), rows, f"score is {meaning}")


def mavehgvs_list(directory: Path) -> Table:
    """MAVE-HGVS text of each scored variant, one a line.

    Raises
    ------
    UsageError
        No run folder, or none of its variants has such a text.
    """
    run = read_run(directory)
    lines = [(v.hgvs,) for _, v in _variants(run, run.scored["n_substitutions"]) if _is_mave(v)]
    return _table(run, (), lines, "")


def fitness(run: SavedRun) -> tuple[pd.Series[float], str]:
    """One score for each scored row, higher for fitter variants, and what it is.

    ``1 - p_deleterious`` where the run has verdicts, otherwise `z_score`, which is lower for more disruptive
    variants. Rows without it are left out.

    Raises
    ------
    UsageError
        No row has one.
    """
    rows = run.scored
    judged = bool(rows["p_deleterious"].notna().any())
    score = (1 - rows["p_deleterious"] if judged else rows["z_score"]).dropna()
    if score.empty:
        raise UsageError(f"{run.directory}: no variant has p_deleterious or z_score to write as its score")
    return score, f"{'1 - p_deleterious' if judged else 'z_score'}: higher is fitter"


def _variants(run: SavedRun, kept: pd.Series[float]) -> Iterator[tuple[int, Variant]]:
    """Place and variant of the rows that `kept` has."""
    with reading(RunFolder(run.directory).variants_csv):
        for place, text in run.variants.loc[kept.index, "variant"].items():
            yield int(str(place)), parse_variant(text)


def _is_mave(variant: Variant) -> bool:
    """Whether MAVE-HGVS has words for it: it knows the 20 residues only."""
    return not any(name in variant.hgvs for name in ("Sec", "Pyl", "Xaa"))


def _table(run: SavedRun, header: tuple[str, ...], rows: Iterable[tuple[str, ...]], meaning: str) -> Table:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    rows = list(rows)
    if not rows:
        raise UsageError(f"{run.directory}: none of its variants can be written in this format")
    writer.writerows([header, *rows] if header else rows)
    left = len(run.variants) - len(rows)
    more = f"{left} of {len(run.variants)} rows are left out (not scored, repeated, or not in this format)"
    return Table(stream.getvalue(), "; ".join(filter(None, (meaning, more if left else ""))))


def write_pdb(directory: Path, folder: Path) -> int:
    """Write each structure of a run as PDB, measured lDDT in the B factors of mutants; return their number.

    Raises
    ------
    UsageError
        The run has no structures.
    StructureError
        A structure does not fit the PDB format.
    """
    read_run(directory, rows=0)
    files = sorted(RunFolder(directory).structures.glob("*.cif"))
    if not files:
        raise UsageError(f"{directory} holds no structures; run mutscan score with a builder")
    for path in files:
        structure = read_structure(path)
        target = folder / f"{path.stem}.pdb"
        if path.stem == "wild_type":
            write_structure(structure, target)
            continue
        values = np.full(len(structure), np.nan)
        values[structure.residue_index] = structure.b_factor
        write_structure(structure, target, b_factor=values, metric=MEASURED_LDDT)
    return len(files)


def write_parquet(directory: Path, target: Path) -> None:
    """Write variants.csv as Parquet: `VARIANT_SCHEMA`, then the carried columns as text.

    A scan of many proteins has its rows so already: they are copied.

    Raises
    ------
    UsageError
        variants.csv is missing or damaged.
    """
    source = RunFolder(directory).variants_csv
    stored = BatchFolder(directory).variants_parquet
    if not source.is_file() and stored.is_file():
        if target.resolve() != stored.resolve():
            with write_errors(target.parent), replacing(target) as temporary:
                shutil.copyfile(stored, temporary)
        return
    if not source.is_file():
        raise UsageError(f"{directory} holds no variants.csv; expected the folder of a finished run")
    with write_errors(target.parent), replacing(target) as temporary, reading(source):
        blocks = variant_blocks(source)
        first = next(blocks)
        with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            for block in blocks:
                writer.write_table(block)
