"""A saved run, read back from its folder: all that a report or a summary may use."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.files import read_json
from mutscan.reports.affected import AffectedRegion, read_stretches
from mutscan.reports.findings import display_name
from mutscan.reports.sentences import account
from mutscan.results import (
    ADDED_COLUMNS,
    EVIDENCE_SCHEMA,
    NULL_SCHEMA,
    REGION_SCHEMA,
    RESIDUE_COLUMNS,
    TEXT_COLUMNS,
    VARIANT_COLUMNS,
    RunFolder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

COUNT_COLUMNS: Final = frozenset({"n_substitutions", "n_residues_affected"})
"""Number columns that hold whole numbers."""

SCORED: Final = ("ok", "partial")
"""Status of the rows that hold scores."""


@contextmanager
def reading(path: Path, command: str = "score") -> Iterator[None]:
    """Turn the errors of a missing or damaged file into one that names it and the command to repeat."""
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} is missing; run mutscan {command} again to write it (finished work is kept)"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); run mutscan {command} again") from error


def refuse_part(directory: Path) -> None:
    """Raise a UsageError where a folder holds one part of a job, which has no tables yet."""
    said: object = None
    # Whoever reads the run next says what is wrong with the file.
    with suppress(OSError, ValueError):
        said = read_json(RunFolder(directory).run_json)
    if isinstance(said, dict) and said.get("shard"):
        raise UsageError(
            f"{directory}: is a part of a job ({said['shard']}); join the parts with mutscan merge"
        )


@dataclass(frozen=True, eq=False)
class SavedRun:
    """Contents of a run folder.

    Parameters
    ----------
    directory : Path
    variants : DataFrame
        One row for each input line; text columns hold ``""``, number columns NaN where not known.
        Carried columns are text.
    provenance : mapping
        run.json.
    """

    directory: Path
    variants: pd.DataFrame
    provenance: Mapping[str, Any]

    @property
    def carried(self) -> list[str]:
        """Names of the carried input columns."""
        return [str(column) for column in self.variants.columns if column not in VARIANT_COLUMNS]

    @property
    def scored(self) -> pd.DataFrame:
        """The rows with scores, one for each distinct variant."""
        rows = self.variants[self.variants["status"].isin(SCORED)]
        return rows.drop_duplicates("variant")

    @property
    def judged(self) -> bool:
        """Whether any row has a flag."""
        return bool((self.variants["flag"] != "").any())

    @property
    def name(self) -> str:
        """The wild type's name, for people (`display_name`)."""
        known = [name for name in self.variants["wild_type"] if name]
        if not known:
            return self.directory.name
        protein = self.provenance.get("wild_type")
        said = protein.get("identifiers") if isinstance(protein, dict) else None
        return display_name(known[0], said if isinstance(said, dict) else {})

    @property
    def counts(self) -> dict[str, int]:
        """Rows by status, in the order ok, partial, skipped, failed."""
        seen = self.variants["status"].value_counts()
        return {
            status: int(seen[status]) for status in ("ok", "partial", "skipped", "failed") if status in seen
        }

    def json_rows(self) -> list[dict[str, object]]:
        """Rows of variants.csv, each with its `account`; numbers are numbers, what is not known is None."""
        rows: list[dict[str, object]] = []
        for row in self.variants.to_dict(orient="records"):
            cells: dict[str, object] = {}
            for column, value in row.items():
                if isinstance(value, float):
                    known = math.isfinite(value)
                    cells[str(column)] = (int(value) if column in COUNT_COLUMNS else value) if known else None
                else:
                    cells[str(column)] = value if value != "" else None
            rows.append(cells | account(cells))
        return rows

    def regions_of(self, variant: str) -> tuple[AffectedRegion, ...]:
        """All named regions for one variant, the one hit most first; none where nothing was predicted.

        Raises
        ------
        UsageError
            regions.parquet is missing or damaged.
        """
        return self._regions.get(variant, ())

    def disturbed_by(self, variant: str) -> tuple[AffectedRegion, ...]:
        """Regions that a variant disturbs beyond their background; raises as `regions_of`."""
        return self._disturbed.get(variant, ())

    @cached_property
    def _regions(self) -> dict[str, tuple[AffectedRegion, ...]]:
        return self._read_regions()

    @cached_property
    def _disturbed(self) -> dict[str, tuple[AffectedRegion, ...]]:
        # Of a large scan these are few, and the whole table would not fit into memory.
        return self._read_regions([("disturbed", "=", True)])

    def _read_regions(
        self, only: list[tuple[str, str, object]] | None = None
    ) -> dict[str, tuple[AffectedRegion, ...]]:
        path = RunFolder(self.directory).regions_parquet
        table = _read_table(path, REGION_SCHEMA, only)
        if table is None:
            raise UsageError(
                f"{path} is missing: it was removed, or an older mutscan made this run; run the same command "
                "again to write it (finished work is kept)"
            )
        stretches = {positions: read_stretches(positions) for positions in table["positions"].unique()}
        regions: dict[str, list[AffectedRegion]] = {}
        for variant, name, kind, source, positions, *values in table.itertuples(index=False):
            region = AffectedRegion(name, kind, source, stretches[positions], *values)
            regions.setdefault(variant, []).append(region)
        return {variant: tuple(found) for variant, found in regions.items()}

    def residues(self) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield each variant's residues, one variant in memory at a time, in stored order.

        Raises
        ------
        UsageError
            residues.parquet is damaged or of another format.
        """
        path = RunFolder(self.directory).residues_parquet
        if not path.exists():
            return
        with reading(path), pq.ParquetFile(path) as table:
            missing = [name for name in RESIDUE_COLUMNS if name not in table.schema_arrow.names]
            if missing:
                raise UsageError(
                    f"{path}: columns are missing ({', '.join(missing)}); run mutscan score again"
                )
            for group in range(table.num_row_groups):
                frame = table.read_row_group(group).to_pandas()
                for variant, block in frame.groupby("variant", sort=False):
                    yield str(variant), block.reset_index(drop=True)

    def evidence(self) -> dict[str, list[tuple[str, str, float]]]:
        """Name, value and contribution of each variant's evidence: the baseline, then the strongest first.

        Empty where the model carries no calibration.

        Raises
        ------
        UsageError
            evidence.parquet is damaged.
        """
        table = _read_table(RunFolder(self.directory).evidence_parquet, EVIDENCE_SCHEMA)
        pieces: dict[str, list[tuple[str, str, float]]] = {}
        if table is not None:
            for variant, name, value, weight in table.itertuples(index=False):
                told = (str(name), str(value), float(weight))
                pieces.setdefault(str(variant), []).append(told)
        return pieces


def read_null(directory: Path) -> pd.DataFrame | None:
    """Background of each residue's predicted lDDT (`mutscan.calling.Null`); None where none was kept."""
    return _read_table(RunFolder(directory).null_parquet, NULL_SCHEMA)


def missing_note(directory: Path, provenance: Mapping[str, Any]) -> str:
    """Name the files that a run wrote by its run.json and that are gone; empty where none is."""
    folder = RunFolder(directory)
    protein = provenance.get("wild_type")
    built = isinstance(protein, dict) and protein.get("structure")
    scan = provenance.get("scan")
    background = scan.get("null") != "none" if isinstance(scan, dict) else provenance.get("null")
    written = (
        (folder.residues_parquet, True),
        (folder.evidence_parquet, (provenance.get("calibration") or {}).get("tiers")),
        (folder.null_parquet, background),
        (folder.structures / "wild_type.cif", built),
    )
    gone = [str(path.relative_to(directory)) for path, known in written if known and not path.is_file()]
    if not gone:
        return ""
    return (
        f"missing in {directory}: {', '.join(gone)}; what they hold is not shown. Run the same command again "
        "to write them (finished work is kept)"
    )


def _read_table(
    path: Path, schema: pa.Schema, only: list[tuple[str, str, object]] | None = None
) -> pd.DataFrame | None:
    """Columns of a schema, of the rows that pass `only`; unknown texts are empty. None without a file."""
    if not path.is_file():
        return None
    with reading(path):
        table = pq.read_table(path, columns=schema.names, filters=only)
        frame: pd.DataFrame = table.to_pandas()[schema.names]
    # pandas gives an unknown text as NaN or None, whichever the rest of the column asks for.
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_dictionary(f.type)]
    return frame.assign(**{name: frame[name].astype(object).fillna("") for name in texts})


BLOCK_ROWS: Final = 5000
"""Rows of variants.csv in memory at a time, where all of them are not needed."""


def row_blocks(directory: Path) -> Iterator[SavedRun]:
    """Read a finished run some rows at a time; raises as `read_run`."""
    head = read_run(directory, rows=0)
    with pd.read_csv(
        RunFolder(directory).variants_csv,
        dtype=str,
        keep_default_na=False,
        encoding="utf-8",
        chunksize=BLOCK_ROWS,
    ) as blocks:
        for block in blocks:
            yield SavedRun(directory, _with_numbers(block), head.provenance)


def read_run(directory: Path, *, rows: int | None = None) -> SavedRun:
    """Read variants.csv and run.json of a run folder.

    Parameters
    ----------
    directory : Path
    rows : int, optional
        The first rows only; all when not given.

    Raises
    ------
    UsageError
        It is no run folder, or its run did not finish.
    """
    folder = RunFolder(directory)
    if not directory.is_dir():
        raise UsageError(f"no such run folder: {directory}")
    for path in (folder.variants_csv, folder.run_json):
        if not path.is_file():
            raise UsageError(
                f"{directory} holds no {path.name}; expected the --out folder of a finished 'mutscan score'"
                " (run that command again to finish an interrupted run)"
            )
    try:
        table = pd.read_csv(
            folder.variants_csv, dtype=str, keep_default_na=False, encoding="utf-8", nrows=rows
        )
        provenance = read_json(folder.run_json)
    except (ValueError, OSError) as error:
        raise UsageError(f"{directory}: damaged run folder ({error}); run mutscan score again") from error
    for column in ADDED_COLUMNS:
        before = VARIANT_COLUMNS[VARIANT_COLUMNS.index(column) - 1]
        if column not in table.columns and before in table.columns:
            table.insert([*table.columns].index(before) + 1, column, "")
    missing = [column for column in VARIANT_COLUMNS if column not in table.columns]
    if missing or not isinstance(provenance, dict):
        raise UsageError(
            f"{folder.variants_csv}: columns are missing ({', '.join(missing)}); run mutscan score again"
            if missing
            else f"{folder.run_json}: expected a JSON object"
        )
    return SavedRun(directory, _with_numbers(table), provenance)


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    for column in VARIANT_COLUMNS:
        if column not in TEXT_COLUMNS:
            table[column] = pd.to_numeric(table[column], errors="coerce").astype(float)
    return table


def site_positions(positions: str) -> list[int]:
    """Read the positions cell of a row (1-based).

    Examples
    --------
    >>> site_positions("175;248")
    [175, 248]
    """
    return [int(number) for number in re.findall(r"\d+", positions)]
