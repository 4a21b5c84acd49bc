"""What a run leaves behind: the columns, the tables, and the folder that never loses finished work."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import re
import shutil
import socket
import unicodedata
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import filelock
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mutscan.errors import WrongFolderError
from mutscan.files import check_name, file_name, read_json, replacing, write_errors, write_json
from mutscan.rounding import rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from numpy.typing import NDArray

VARIANT_COLUMNS: Final = (
    "input", "status", "error_code", "message", "wild_type", "variant", "hgvs",
    "n_substitutions", "positions",
    "tm_predicted", "lddt_predicted_mean", "lddt_predicted_min", "lddt_predicted_site",
    "tm_measured", "lddt_measured_mean", "lddt_measured_min", "lddt_measured_site",
    "ca_shift_site", "ca_shift_max",
    "tm_percentile", "lddt_percentile", "z_score", "flag", "flag_rule", "p_deleterious",
    "n_residues_affected", "affected_regions", "plddt_site", "confidence", "notes", "evidence",
    "ddg_predicted", "site_context", "alignment", "alphamissense", "structure_number",
)  # fmt: skip
"""Columns of variants.csv, in order; carried input columns follow."""

ADDED_COLUMNS: Final = (
    "evidence", "ddg_predicted", "site_context", "alignment", "alphamissense", "structure_number",
)  # fmt: skip
"""Columns that runs of earlier versions lack."""

PROTEIN_COLUMNS: Final = (
    "name", "length", "status", "error_code", "message", "rows", "scored", "deleterious", "uncertain",
    "tolerated", "regions_hit_most", "seconds", "folder",
)  # fmt: skip
"""Columns of proteins.csv."""

TEXT_COLUMNS: Final = frozenset({
    "input", "status", "error_code", "message", "wild_type", "variant", "hgvs", "positions",
    "flag", "flag_rule", "affected_regions", "confidence", "notes", "evidence",
    "site_context", "alignment", "structure_number",
})  # fmt: skip
"""Columns of variants.csv that hold text, also where they look like numbers; the others hold numbers."""

_COUNTS: Final = frozenset({"n_substitutions", "n_residues_affected"})

_DISTINCT: Final = frozenset({"input", "variant", "hgvs", "evidence", "affected_regions"})


def _variant_type(column: str) -> pa.DataType:
    if column in TEXT_COLUMNS:
        return pa.string() if column in _DISTINCT else pa.dictionary(pa.int32(), pa.string())
    return pa.int32() if column in _COUNTS else pa.float64()


VARIANT_SCHEMA: Final = pa.schema([(column, _variant_type(column)) for column in VARIANT_COLUMNS])
"""Schema of variants.parquet: the columns of variants.csv, value for value. Numbers are rounded to the CSV's
decimals, empty cells are null, and text that many rows share is a dictionary."""

RESIDUE_SCHEMA: Final = pa.schema(
    [
        ("variant", pa.string()),
        ("position", pa.int32()),
        ("wild_type", pa.string()),
        ("mutant", pa.string()),
        ("structure_number", pa.string()),
        ("plddt", pa.float32()),
        ("lddt_predicted", pa.float32()),
        ("lddt_measured", pa.float32()),
        ("lddt_drop_z", pa.float32()),
        ("ca_shift", pa.float32()),
        ("affected", pa.bool_()),
        ("region", pa.string()),
        ("p_affected", pa.float32()),
    ]
)
"""Schema of residues.parquet; unknown values are null. `region` names the disturbed regions that hold the
residue."""

EVIDENCE_SCHEMA: Final = pa.schema(
    [
        ("variant", pa.string()),
        ("evidence", pa.string()),
        ("value", pa.string()),
        ("contribution", pa.float32()),
    ]
)
"""Schema of evidence.parquet: the baseline of each variant, then what each piece of evidence adds to the
log-odds that it is deleterious, the strongest first; together they are the log-odds of `p_deleterious`."""

_SHARED_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

REGION_SCHEMA: Final = pa.schema(
    [
        ("variant", _SHARED_TEXT),
        ("region", _SHARED_TEXT),
        ("kind", _SHARED_TEXT),
        ("source", _SHARED_TEXT),
        ("positions", _SHARED_TEXT),
        ("lddt_drop_predicted", pa.float32()),
        ("z", pa.float32()),
        ("lddt_drop_measured", pa.float32()),
        ("distance_to_site", pa.float32()),
        ("disturbed", pa.bool_()),
    ]
)
"""Schema of regions.parquet: every named region of the protein for each variant whose mutant was predicted;
the rows of a variant stand in order, the region that is hit most first. `positions` are 1-based and
inclusive (``3-60,141-220``); drops are means over the region's residues; `z` compares the predicted one with
what other substitutions at a like distance do to this region; `distance_to_site` is the smallest C-alpha
distance in Å; unknown values are null."""

NULL_SCHEMA: Final = pa.schema(
    [
        (name, pa.float32())
        for name in ("residue_median", "residue_scale", "separation_median", "separation_scale")
    ]
)
"""Schema of null.parquet, one row for each residue: what other substitutions do to its predicted lDDT
(`mutscan.calling.Null`), and how much lower lDDT lies that many residues from any substitution."""

ROW_GROUP: Final = 65_536
"""Rows of a row group where many variants share one."""

_BLOCK_BYTES: Final = 1 << 24
"""Bytes of a variants.csv that are read at a time."""

RESIDUE_COLUMNS: Final = tuple(RESIDUE_SCHEMA.names)

_DECIMALS: Final[dict[str, int]] = {
    **dict.fromkeys((c for c in VARIANT_COLUMNS if c.startswith(("tm_", "lddt_"))), 6),
    **dict.fromkeys(("ca_shift_site", "ca_shift_max"), 4),
    **dict.fromkeys(("tm_percentile", "lddt_percentile", "plddt_site"), 2),
    "z_score": 3,
    "p_deleterious": 4,
    "ddg_predicted": 2,
    "alphamissense": 4,
    "distance_to_site": 1,
    "accessibility": 2,
}

_OTHERWISE: Final = 6
"""Decimals of a number that has none of its own."""

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_FORMULA: Final = frozenset("=+-@\N{MINUS SIGN}")

_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def format_cell(column: str, value: object) -> str:
    """Text of one cell of variants.csv: fixed decimals, empty for unknown, safe in a spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, float | np.floating):
        if not math.isfinite(value):
            return ""
        text = f"{float(value):.{_DECIMALS.get(column, _OTHERWISE)}f}"
        return text.removeprefix("-") if float(text) == 0 else text
    if isinstance(value, int | np.integer):
        return str(value)
    if column == "structure_number":  # no formula: digits, semicolons, and a letter after a number
        return str(value)
    return escape_cell(str(value))


@dataclass(frozen=True, eq=False)
class Shared:
    """A column of text that many rows share.

    Parameters
    ----------
    texts : sequence of str
    place : int array, shape (n,)
        Which of them each row has.
    """

    texts: Sequence[str]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str], repeats: int) -> Shared:
        """Repeat each value so many times."""
        texts = {text: place for place, text in enumerate(dict.fromkeys(values))}
        return cls([*texts], np.repeat([texts[value] for value in values], repeats).astype(np.int64))


def variant_table(columns: Mapping[str, Shared | Sequence[str] | NDArray[Any]], n: int) -> pa.Table:
    """Make a table of `VARIANT_SCHEMA`: what `write_variants` would write of the same values.

    Parameters
    ----------
    columns : mapping of column -> values
        `Shared` for a dictionary, a sequence for other text, an array of numbers, shape (n,), NaN where not
        known. A column that is not given is empty.
    n : int
        Rows.
    """
    arrays = []
    for field in VARIANT_SCHEMA:
        values = columns.get(field.name)
        if values is None:
            arrays.append(pa.nulls(n, field.type))
        elif isinstance(values, Shared):
            texts = [format_cell(field.name, text) for text in values.texts]
            empty = np.array([not text for text in texts])[values.place]
            place = pa.array(values.place, pa.int32(), mask=empty)
            arrays.append(pa.DictionaryArray.from_arrays(place, pa.array(texts, pa.string())))
        elif pa.types.is_floating(field.type):
            numbers = rounded(np.asarray(values, np.float64), _DECIMALS.get(field.name, _OTHERWISE))
            arrays.append(pa.array(numbers, mask=~np.isfinite(numbers)))
        elif pa.types.is_integer(field.type):
            arrays.append(pa.array(np.asarray(values, np.float64), from_pandas=True).cast(field.type))
        else:
            arrays.append(pa.array([text or None for text in values], field.type))
    return pa.Table.from_arrays(arrays, schema=VARIANT_SCHEMA)


def escape_cell(text: str) -> str:
    """Text that no spreadsheet runs as a formula: a quote goes before a leading ``= + - @`` or tab.

    Blanks, line breaks and invisible characters before the sign do not hide it, nor does its full width.
    Numbers stay as they are.

    Examples
    --------
    >>> escape_cell("=SUM(A1)"), escape_cell("-1.5")
    ("'=SUM(A1)", '-1.5')
    """
    # A bare carriage return ends a row for some readers; csv quotes only the line ends it writes.
    text = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
    sign = next((letter for letter in text if unicodedata.category(letter) not in _INVISIBLE), "")
    if text[:1] != "\t" and unicodedata.normalize("NFKC", sign) not in _FORMULA:
        return text
    return text if _NUMBER.fullmatch(text.strip(" ")) else "'" + text


def carried_names(columns: Sequence[str]) -> list[str]:
    """Names of carried input columns in the output: one that is taken gets ``_input`` appended.

    Examples
    --------
    >>> carried_names(["gene", "status"])
    ['gene', 'status_input']
    """
    taken = set(VARIANT_COLUMNS)
    names = []
    for column in columns:
        name = column
        while name in taken:
            name += "_input"
        taken.add(name)
        names.append(name)
    return names


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Write named arrays to one .npz file, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_arrays(path: Path, **shapes: tuple[int, ...]) -> dict[str, NDArray[Any]] | None:
    """Arrays written by `write_arrays`; None when the file is missing or damaged.

    A file that lacks one of the arrays named by `shapes`, or has it in another shape, counts as damaged.
    """
    try:
        # np.load leaves a file of its own open when it is damaged
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None
    fit = all(name in arrays and arrays[name].shape == shape for name, shape in shapes.items())
    return arrays if fit else None


def write_variants(path: Path, rows: Iterable[Mapping[str, object]], carried: Sequence[str] = ()) -> None:
    """Write variants.csv, atomically.

    Parameters
    ----------
    path : Path
    rows : iterable of mapping
        Column to value; carried columns under their output names.
    carried : sequence of str
        Output names of the carried columns.
    """
    columns = [*VARIANT_COLUMNS, *carried]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([escape_cell(column) for column in columns])
        for row in rows:
            writer.writerow([format_cell(column, row.get(column)) for column in columns])


def variant_blocks(path: Path) -> Iterator[pa.Table]:
    """Read a variants.csv some rows at a time: `VARIANT_SCHEMA`, then the carried columns as text.

    There is one block at least. Columns that an earlier version did not write are null.
    """
    with path.open(newline="", encoding="utf-8") as stream:
        header = next(csv.reader(stream))
    carried = [pa.field(name, pa.string()) for name in header if name not in VARIANT_COLUMNS]
    schema = pa.schema([*VARIANT_SCHEMA, *carried])
    kinds = {
        field.name: pa.string() if pa.types.is_dictionary(field.type) else field.type for field in schema
    }
    options = pa_csv.ConvertOptions(
        column_types=kinds, include_columns=[*kinds], include_missing_columns=True,
        strings_can_be_null=True, null_values=[""],
    )  # fmt: skip
    with pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=options,
    ) as reader:
        yield pa.Table.from_batches([], reader.schema).cast(schema)
        for batch in reader:
            yield pa.Table.from_batches([batch]).cast(schema)


@contextmanager
def block_writer(
    path: Path, schema: pa.Schema, *, row_group: int = ROW_GROUP
) -> Iterator[Callable[[Mapping[str, Sequence[object] | NDArray[Any]]], None]]:
    """Open a Parquet table for writing block by block; it appears when all went well.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
    row_group : int
        Blocks are collected into row groups of at most so many rows, and never split: a block is
        the rows of one variant.

    Yields
    ------
    callable
        Takes one block: column to values, NaN for what is not known.
    """
    waiting: list[pa.Table] = []
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):

        def flush() -> None:
            if waiting:
                table = pa.concat_tables(waiting)
                writer.write_table(table, row_group_size=max(1, len(table)))
                waiting.clear()

        def add(block: Mapping[str, Sequence[object] | NDArray[Any]]) -> None:
            arrays = [pa.array(block[field.name], type=field.type, from_pandas=True) for field in schema]
            table = pa.Table.from_arrays(arrays, schema=schema)
            if sum(map(len, waiting)) + len(table) > row_group:
                flush()
            waiting.append(table)

        yield add
        flush()


CLAIM_WORDS: Final = {
    "mutscan": "version of mutscan",
    "model_sha256": "model",
    "inputs_sha256": "variants and proteins",
    "sequence_sha256": "sequence",
    "structure_sha256": "structure",
    "shard": "part of the job",
    "builders": "builder",
    "device": "processor",
    "inverse_folding": "inverse folding",
    "proteins": "command over many proteins",
    **{name: f"--{name}" for name in ("alignment", "predict", "prior", "numbering", "strict", "seed")},
}
"""What a folder is bound to, in words."""


JOB_FILE: Final = "job.json"
"""In a folder's state: the fingerprint that it is bound to."""


def read_state(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run folder's state holds.

    Raises
    ------
    OSError
    WrongFolderError
        It is damaged.
    """
    stored: object = None
    with contextlib.suppress(IsADirectoryError, ValueError):
        stored = read_json(path)
    if not isinstance(stored, dict):
        raise WrongFolderError(f"{path}: is damaged; discard the results of this folder with --restart")
    return stored


class JobFolder:
    """A folder that one command fills: its lock, and the finished part of its work.

    Finished work lives in ``.state`` under a fingerprint of everything that
    determines the numbers. A folder with another fingerprint is refused, not mixed.

    Parameters
    ----------
    path : Path
        Created when missing.
    restart : bool
        Throw away the finished part and earlier results first.
    shared : bool
        Another process holds the folder, and this one adds parts to it.
    patience : float
        Seconds to wait for another process that holds the folder.

    Raises
    ------
    RunFolderError
        Not a folder, not writable, full, or in use by another run.
    """

    PROOF: ClassVar[str]
    """The file that a finished folder holds."""

    RESULTS: ClassVar[tuple[str, ...]]
    """What a restart throws away, beside the state: names of files and folders."""

    FOLDERS: ClassVar[tuple[str, ...]] = ()
    """Folders that are made at the start."""

    KEEPERS: ClassVar[Mapping[str, Callable[[Path], bool]]] = {}
    """Folders among the results, and which of the files and folders in them a run has written."""

    def __init__(
        self, path: Path, *, restart: bool = False, shared: bool = False, patience: float = 0.0
    ) -> None:
        self.path = path
        self.state = path / ".state"
        self._restart = restart
        self._shared = shared
        self._patience = patience
        self._lock: filelock.BaseFileLock | None = None

    def __enter__(self) -> Self:
        check_name(self.path.absolute())
        with write_errors(self.path):
            if self._shared:
                for folder in (self.state, *(self.path / name for name in self.FOLDERS)):
                    folder.mkdir(parents=True, exist_ok=True)
                return self
            if self.path.is_symlink() and not self.path.exists():
                raise WrongFolderError(f"{self.path} is a link to nothing; expected a folder for --out")
            if self.path.exists() and not self.path.is_dir():
                raise WrongFolderError(f"{self.path} is a file; expected a folder for --out (it may be new)")
            if self.path.is_dir() and any(self.path.iterdir()) and not self._is_ours():
                raise WrongFolderError(
                    f"{self.path} exists and was not made by mutscan; give --out a new or empty folder"
                )
            self.state.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.state / "lock", timeout=self._patience)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise WrongFolderError(self._in_use()) from None
            self._lock = lock
            write_json(self.state / "owner.json", {"pid": os.getpid(), "host": socket.gethostname()})
            if self._restart:
                self._clear()
            self._sweep()
            for name in self.FOLDERS:
                (self.path / name).mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            if kind is None:
                self._sweep()
            self._lock.release()
            self._lock = None

    def _sweep(self) -> None:
        """Delete what a process that was killed had begun to write."""
        for leftover in (
            *self.path.glob(".*.tmp"),
            *self.state.rglob(".*.tmp"),
            *self.path.glob("*/.*.tmp"),
        ):
            leftover.unlink(missing_ok=True)

    @property
    def is_claimed(self) -> bool:
        """Whether the folder holds some of a job's work."""
        return (self.state / JOB_FILE).exists()

    def claim(self, fingerprint: Mapping[str, object], *, partly: bool = False) -> None:
        """Bind the folder to what determines its numbers, or refuse when it holds those of another job.

        Parameters
        ----------
        fingerprint : mapping
        partly : bool
            There is more to say, which whoever does the work will: only refuse.
        """
        path = self.state / JOB_FILE
        wanted = json.loads(json.dumps(fingerprint))
        if path.exists():
            stored = read_state(path)
            named = wanted if partly else {*stored, *wanted}
            keys = [key for key in sorted(named) if stored.get(key) != wanted.get(key)]
            if keys:
                changes = "; ".join(_difference(key, stored.get(key), wanted.get(key)) for key in keys[:3])
                raise WrongFolderError(
                    f"{self.path} holds results of another job ({changes}); "
                    "choose another --out, or discard them with --restart"
                )
        elif not partly:
            write_json(path, wanted)

    def _is_ours(self) -> bool:
        """Whether an earlier run made the folder: its state or its last file says so."""
        if any((self.state / name).is_file() for name in ("lock", JOB_FILE)):
            return True
        if [*self.path.iterdir()] == [self.state] and not any(self.state.iterdir()):
            return True  # killed before it had its lock
        try:
            said = json.loads((self.path / self.PROOF).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(said, dict) and "mutscan" in said

    def _clear(self) -> None:
        """Delete what runs leave, and nothing else that lies in the folder."""
        for path in self.state.iterdir():
            if path.name not in {"lock", "owner.json"}:
                _delete(path)
        for name in self.RESULTS:
            path = self.path / name
            if name in self.KEEPERS and path.is_dir() and not path.is_symlink():
                for inner in path.iterdir():
                    if self.KEEPERS[name](inner):
                        _delete(inner)
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.is_symlink() or not path.is_dir():
                path.unlink(missing_ok=True)

    def _in_use(self) -> str:
        try:
            owner = read_json(self.state / "owner.json")
            who = f"process {owner['pid']} on {owner['host']}"
        except (OSError, ValueError, KeyError):
            who = "another process"
        return f"{self.path} is in use by {who}; wait for it to end, or give another --out"


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_RUN_RESULTS: Final = (
    "variants.csv", "residues.parquet", "run.json", "report.html", "log.txt", "structures",
    "positions.csv", "scan.parquet", "evidence.parquet", "null.parquet", "affected.parquet",
    "regions.parquet", "variants.parquet", "proteins.csv", "proteins",
)  # fmt: skip
"""What runs on one protein or on many leave: a restart with another command throws all of it away."""


_OWN_STRUCTURE: Final = re.compile(r"view\.(pml|cxc)|(wild_type|[A-Z]\d+.*)\.(cif|pdb)")
"""What runs write into structures/: mutants are named by their variants."""


class _ResultFolder(JobFolder):
    """What the folders of all runs have."""

    PROOF: ClassVar[str] = "run.json"
    RESULTS: ClassVar[tuple[str, ...]] = _RUN_RESULTS
    KEEPERS: ClassVar[Mapping[str, Callable[[Path], bool]]] = {
        "structures": lambda path: bool(_OWN_STRUCTURE.fullmatch(path.name)),
        "proteins": lambda path: (path / ".state").is_dir(),
    }

    def __init__(
        self, path: Path, *, restart: bool = False, shared: bool = False, patience: float = 0.0
    ) -> None:
        super().__init__(path, restart=restart, shared=shared, patience=patience)
        self.variants_csv = path / "variants.csv"
        self.run_json = path / "run.json"
        self.report_html = path / "report.html"
        self.log_txt = path / "log.txt"


class RunFolder(_ResultFolder):
    """The folder of a run of ``mutscan score`` or ``mutscan scan``."""

    FOLDERS: ClassVar[tuple[str, ...]] = ("structures",)

    def __init__(
        self, path: Path, *, restart: bool = False, shared: bool = False, patience: float = 0.0
    ) -> None:
        super().__init__(path, restart=restart, shared=shared, patience=patience)
        self.structures = path / "structures"
        self.residues_parquet = path / "residues.parquet"
        self.regions_parquet = path / "regions.parquet"
        self.evidence_parquet = path / "evidence.parquet"
        self.null_parquet = path / "null.parquet"
        self.positions_csv = path / "positions.csv"
        self.scan_parquet = path / "scan.parquet"

    def structure_of(self, variant: str) -> Path:
        """Path of a mutant's structure; the stem of its name is the key of the mutant's parts, too.

        Examples
        --------
        >>> RunFolder(Path("run")).structure_of("R175H;R248Q").name
        'R175H_R248Q.cif'
        """
        return self.structures / f"{file_name(variant.replace(';', '_'))}.cif"

    def part(self, kind: str, key: str) -> Path:
        """Path of the finished part `kind` of one variant."""
        folder = self.state / kind
        folder.mkdir(exist_ok=True)
        return folder / f"{key}.npz"


class BatchFolder(_ResultFolder):
    """The folder of a run of ``mutscan batch``, or of ``mutscan scan`` over many proteins."""

    FOLDERS: ClassVar[tuple[str, ...]] = ("proteins",)

    def __init__(self, path: Path, *, restart: bool = False, shared: bool = False) -> None:
        super().__init__(path, restart=restart, shared=shared)
        self.variants_parquet = path / "variants.parquet"
        self.proteins_csv = path / "proteins.csv"


def _difference(key: str, there: object, now: object) -> str:
    name, before, after = CLAIM_WORDS.get(key, key), shortened(there), shortened(now)
    if before == after:
        return f"{name}: {before} there, but with other settings or files"
    return f"{name}: {before} there, {after} now"


def shortened(value: object, most: int = 60) -> str:
    """Write a value of a claim in words, in at most so many characters."""
    if isinstance(value, list):
        text = ", ".join(shortened(one, most) for one in value) or "none"
    elif isinstance(value, dict):
        text = str(value.get("name", "other settings"))
    elif value is None or isinstance(value, bool):
        text = {None: "none", True: "yes", False: "no"}[value]
    else:
        text = str(value)
    return text if len(text) <= most else text[: most - 3] + "..."
