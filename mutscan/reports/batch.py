"""A saved run of many proteins, read back in one pass: counts, the worst rows, the worst of each protein."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from mutscan.errors import UsageError
from mutscan.evidence.limits import FITTED
from mutscan.evidence.structural import DISTURBED, SINGLES_ONLY
from mutscan.files import read_json
from mutscan.reports.digest import NO_TEST, STANDS_OUT, job_facts
from mutscan.reports.saved import SCORED, reading
from mutscan.reports.sentences import NOT_ASSESSED, SUBSTITUTED, UNDISTURBED, VERDICTS, sentence
from mutscan.results import PROTEIN_COLUMNS, VARIANT_COLUMNS, RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PROTEIN_NUMBERS: Final = ("length", "rows", "scored", "deleterious", "uncertain", "tolerated", "seconds")

WORST: Final = 2000
"""Rows kept of all proteins, the worst."""

MARKS: Final = 40
"""Rows kept of each protein, the worst; of more than `FEW` proteins only `FEWER_MARKS`."""

FEW: Final = 1000
FEWER_MARKS: Final = 20

CARRIED: Final = 6
"""Carried columns that are read, the first ones."""

FINDINGS: Final = 5
"""Variants named as the worst."""

BLOCK_ROWS: Final = 500_000
"""Rows of variants.parquet in memory at a time."""

BLOCK_BYTES: Final = 1 << 24
"""Bytes of variants.csv in memory at a time; no row is longer."""

_LABELS: Final = ("status", "error_code", "wild_type", "flag", "flag_rule")
_VALUES: Final = (
    "p_deleterious", "z_score", "alphamissense", "lddt_predicted_mean", "lddt_percentile", "ddg_predicted",
)  # fmt: skip
_WORDS: Final = (
    "input", "message", "variant", "positions", "confidence", "notes", "evidence", "affected_regions",
    "site_context",
)  # fmt: skip
_MARKED: Final = ["variant", "positions", "flag", "p_deleterious", "z_score"]
_SHARED: Final = (
    "model", "calibration", "device", "precision", "builder", "inverse_folding", "alphamissense", "records",
)  # fmt: skip
_ORDER: Final = {"status": ("ok", "partial", "skipped", "failed"), "flag": tuple(VERDICTS)}

_SUBSTITUTED: Final = SUBSTITUTED.pattern.join("^$")

# What the rule says of one variant only: the drop of its lDDT.
_STRUCTURE: Final = re.compile(r"; structure (?:not )?disturbed: .*", re.DOTALL)
_DROP: Final = re.compile(r" -?\d+(?:\.\d+)?(?= (?:>=|<) )")
_RIGHT: Final = re.compile(r"(?:precision|negative predictive value) (\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule behind verdicts, and how many rows it gave them to.

    Parameters
    ----------
    flag, words : str
        `words` is what is common to all rows.
    rows : int
    """

    flag: str
    words: str
    rows: int

    @property
    def right(self) -> str:
        """How often it was right where it was calibrated, 0-1; empty where it does not say."""
        found = _RIGHT.search(self.words)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows without scores that share an error code, and the first of them."""

    code: str
    rows: int
    protein: str
    input: str
    message: str

    @property
    def first(self) -> str:
        """Protein, input and message of the first row; what the message repeats is said once."""
        said = self.message.removeprefix(f"{self.protein}: ").removeprefix(f"{self.input}: ")
        return f"{self.protein} {self.input}: {said}".strip()


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the worst variants of all proteins: its protein, its name, and its account."""

    protein: str
    variant: str
    flag: str
    sentence: str


@dataclass(frozen=True, eq=False)
class SavedBatch:
    """Contents of the folder of a run of many proteins.

    Parameters
    ----------
    directory : Path
    proteins : DataFrame
        proteins.csv; text columns hold ``""``, number columns NaN where not known.
    provenance : mapping
        run.json.
    job : mapping
        The same, and what all proteins share where only their own run.json tells it: the model, its
        calibration, the builder ...
    statuses, flags : mapping of str -> int
        Rows by status, and scored rows by flag; rows without a flag are counted under ``""``.
    standing_out : int
        Scored rows with a z of at most `STANDS_OUT`.
    not_assessed : int
        Scored rows of which nothing calibrated speaks.
    assessed, disturbed : int
        Scored rows that were assessed for a disturbed structure, and those that have one.
    fitted : int
        Scored rows of proteins that were used in calibration.
    rules : tuple of Rule
        By flag, the most frequent first.
    problems : tuple of Problem
        The most frequent first.
    worst : DataFrame
        At most `WORST` scored rows of all proteins: the highest probability first, of equal ones the lowest
        z, of these the first of the input.
    marks : DataFrame
        In the same order the worst scored rows of each protein: protein (its name), variant, positions, flag,
        p_deleterious, z_score.
    carried : tuple of str
        Carried columns in `worst`.
    carried_left_out : int
        Carried columns that were not read.
    """

    directory: Path
    proteins: pd.DataFrame
    provenance: Mapping[str, Any]
    job: Mapping[str, Any]
    statuses: Mapping[str, int]
    flags: Mapping[str, int]
    standing_out: int
    not_assessed: int
    assessed: int
    disturbed: int
    fitted: int
    rules: tuple[Rule, ...]
    problems: tuple[Problem, ...]
    worst: pd.DataFrame
    marks: pd.DataFrame
    carried: tuple[str, ...]
    carried_left_out: int

    @property
    def rows(self) -> int:
        """Input rows."""
        return sum(self.statuses.values())

    @property
    def scored(self) -> int:
        """Rows with scores."""
        return sum(self.flags.values())

    @property
    def judged(self) -> bool:
        """Whether any row has a flag."""
        return any(self.flags.get(flag, 0) for flag in VERDICTS)

    @property
    def calibrated(self) -> bool:
        """Whether rows have verdicts, or would have if any was scored."""
        return self.judged or not self.scored or bool(self.job.get("calibration"))

    @property
    def table(self) -> str:
        """Name of the file with all rows."""
        return _table(self.directory).name

    @property
    def protein_statuses(self) -> dict[str, int]:
        """Proteins by status, in the order ok, partial, skipped, failed."""
        return _in_order(Counter(self.proteins["status"]), "status")

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """Name and value of what is known of the run as a whole."""
        return job_facts(self.job)

    @property
    def headline(self) -> str:
        """The main result in one sentence."""
        if not self.scored:
            return f"None of the {self.rows:,} rows could be scored."
        total = len(self.proteins)
        proteins = f"{total:,} proteins" if total != 1 else "1 protein"
        if not self.judged:
            return (
                f"{self._many(self.standing_out)} of {proteins} "
                f"{self._verb(self.standing_out, 'stands', 'stand', 'does not stand')} out from other "
                f"substitutions of the same protein{self._disturbing}."
            )
        bad = self.flags.get("deleterious", 0)
        verb = self._verb(bad, "is", "are", "is not")
        if not bad:
            return f"{self._many(bad)} of {proteins} {verb} likely deleterious{self._disturbing}."
        hit = int((self.proteins["deleterious"] > 0).sum())
        return f"{self._many(bad)} {verb} likely deleterious, in {hit:,} of {proteins}{self._disturbing}."

    @property
    def _disturbing(self) -> str:
        """Count the rows that disturb the structure; empty where none was assessed."""
        if not self.assessed:
            return ""
        many = f"{self.disturbed:,}" if self.disturbed else "none"
        verb = "is" if self.disturbed < 2 else "are"
        return f"; {many} {verb} predicted to disturb the structure beyond background"

    def _many(self, count: int) -> str:
        """``3 of 10 scored variants``, or none, or all of them, or the only one."""
        if self.scored == 1:
            return "The only scored variant"
        if count == self.scored:
            return f"All {count:,} scored variants"
        return f"{f'{count:,} of' if count else 'None of the'} {self.scored:,} scored variants"

    def _verb(self, count: int, one: str, several: str, negated: str) -> str:
        if not count and self.scored == 1:
            return negated
        return one if count < 2 else several

    @property
    def remainder(self) -> str:
        """Counts of what the headline leaves out."""
        said = [
            f"{self.flags[flag]:,} {VERDICTS[flag]}"
            for flag in ("uncertain", "tolerated")
            if self.flags.get(flag)
        ]
        if self.not_assessed:
            said.append(f"{self.not_assessed:,} {NOT_ASSESSED}")
        if self.judged and (bare := self.flags.get("", 0) - self.not_assessed):
            said.append(f"{bare:,} without a verdict")
        lost = self.rows - self.scored
        if lost and self.scored:
            said.append(f"{lost:,} {'row' if lost == 1 else 'rows'} not scored")
        failed = self.protein_statuses.get("failed", 0)
        if failed:
            said.append(f"{failed:,} {'protein' if failed == 1 else 'proteins'} failed")
        return f"{', '.join(said)}." if said else ""

    @property
    def caution(self) -> str:
        """How many rows are of proteins used in calibration, and what that means; empty for none."""
        if not self.fitted:
            return ""
        which = (
            "The only scored row is"
            if self.scored == 1
            else f"All {self.scored:,} scored rows are"
            if self.fitted == self.scored
            else f"{self.fitted:,} of {self.scored:,} scored rows {'is' if self.fitted == 1 else 'are'}"
        )
        return (
            f"{which} of proteins whose labelled variants were used to calibrate the probability: {NO_TEST}."
        )

    def findings(self) -> tuple[Worst, ...]:
        """Return the worst variants of all proteins, each with its sentence; at most `FINDINGS`."""
        rows = self.worst.drop_duplicates(["wild_type", "variant"])
        if self.judged:
            rows = rows[rows["flag"] == "deleterious"]
        else:
            rows = rows[rows["z_score"] <= STANDS_OUT]
        return tuple(
            Worst(row["wild_type"], row["variant"], row["flag"], sentence(row))
            for row in rows.head(FINDINGS).to_dict(orient="records")
        )


def is_batch(directory: Path) -> bool:
    """Whether a run folder is that of many proteins."""
    return (directory / "proteins.csv").is_file()


def rule_words(rule: str) -> str:
    """Cut from a row's rule what concerns that row only.

    Examples
    --------
    >>> rule_words("p >= 0.78 (precision 0.82); structure not disturbed: lDDT drop z 0.70 < 1.34")
    'p >= 0.78 (precision 0.82)'
    >>> rule_words("judged by the structure alone: structure disturbed: lDDT drop z 2.31 >= 1.34")
    'judged by the structure alone: structure disturbed: lDDT drop z >= 1.34'
    """
    return _DROP.sub("", _STRUCTURE.sub("", rule))


def read_batch(directory: Path) -> SavedBatch:
    """Read proteins.csv, run.json and variants.csv (or variants.parquet) of a run of many proteins.

    The rows are read once, some at a time: memory grows with the number of proteins, not of rows.

    Raises
    ------
    UsageError
        It is no folder of a finished run of many proteins, or a damaged one.
    """
    folder = RunFolder(directory)
    path = directory / "proteins.csv"
    rows = _table(directory)
    for wanted in (path, rows, folder.run_json):
        if not wanted.is_file():
            raise UsageError(
                f"{directory} holds no {wanted.name}; expected the --out folder of a finished "
                "'mutscan batch' (run that command again to finish an interrupted run)"
            )
    with reading(path, "batch"):
        proteins = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    with reading(folder.run_json, "batch"):
        provenance = read_json(folder.run_json)
    missing = [column for column in PROTEIN_COLUMNS if column not in proteins.columns]
    if missing or not isinstance(provenance, dict):
        raise UsageError(
            f"{path}: columns are missing ({', '.join(missing)}); run mutscan batch again"
            if missing
            else f"{folder.run_json}: expected a JSON object"
        )
    for column in PROTEIN_NUMBERS:
        proteins[column] = pd.to_numeric(proteins[column], errors="coerce").astype(float)
    tally = _Tally(MARKS if len(proteins) <= FEW else FEWER_MARKS)
    with reading(rows, "batch"):
        columns = _columns(rows)
        absent = [name for name in (*_LABELS, *_WORDS, *_VALUES) if name not in columns]
        if absent:
            raise UsageError(f"{rows}: columns are missing ({', '.join(absent)}); run mutscan batch again")
        own = [name for name in columns if name not in VARIANT_COLUMNS]
        for block in _blocks(rows, own[:CARRIED]):
            tally.add(block)
    return SavedBatch(
        directory,
        proteins,
        provenance,
        _shared(directory, proteins) | provenance,
        _in_order(tally.statuses, "status"),
        _in_order(tally.flags, "flag"),
        tally.standing_out,
        tally.not_assessed,
        tally.assessed,
        tally.disturbed,
        tally.fitted,
        tally.listed_rules(),
        tally.listed_problems(),
        tally.worst(own[:CARRIED]),
        tally.marks(),
        tuple(own[:CARRIED]),
        len(own[CARRIED:]),
    )


def report_folder(folder: str) -> bool:
    """Whether a cell of proteins.csv names a folder of the run; a table may come from anywhere."""
    return bool(re.fullmatch(r"proteins/[^/\\]+", folder)) and folder not in ("proteins/.", "proteins/..")


def _shared(directory: Path, proteins: pd.DataFrame) -> dict[str, Any]:
    """Read what the proteins of a run share from the run.json of the first that has one."""
    for folder in filter(report_folder, proteins["folder"]):
        path = RunFolder(directory / folder).run_json
        if path.is_file():
            with reading(path, "batch"):
                said = read_json(path)
            return {name: said[name] for name in _SHARED if name in said}
    return {}


def _table(directory: Path) -> Path:
    """Return the file with all rows: variants.csv, of a scan variants.parquet."""
    rows, stored = RunFolder(directory).variants_csv, directory / "variants.parquet"
    # A run that is no scan may have its rows as Parquet as well (`mutscan report`), from an earlier time.
    return stored if stored.is_file() and not rows.is_file() else rows


def _columns(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return list(pq.read_schema(path).names)
    with path.open(encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream), [])


def _blocks(path: Path, carried: Sequence[str]) -> Iterator[pa.RecordBatch]:
    columns = [*_LABELS, *_WORDS, *_VALUES, *carried]
    if path.suffix == ".parquet":
        with pq.ParquetFile(path, read_dictionary=list(_LABELS)) as stored:
            yield from stored.iter_batches(batch_size=BLOCK_ROWS, columns=columns)
        return
    types: dict[str, pa.DataType] = dict.fromkeys((*_WORDS, *carried), pa.string())
    types |= dict.fromkeys(_LABELS, pa.dictionary(pa.int32(), pa.string()))
    types |= dict.fromkeys(_VALUES, pa.float64())
    with pa_csv.open_csv(
        path,
        read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=types, include_columns=columns),
    ) as blocks:
        yield from blocks


def _in_order(counts: Mapping[str, int], kind: str) -> dict[str, int]:
    known = [name for name in _ORDER[kind] if name in counts]
    return {name: counts[name] for name in (*known, *sorted(set(counts) - {*known}))}


@dataclass(frozen=True, eq=False)
class _Labels:
    """A column of few texts: `values[codes]`; the last value is that of unknown cells."""

    values: list[str]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, column: pa.Array) -> _Labels:
        coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = [value or "" for value in coded.dictionary.to_pylist()]
        return cls([*values, ""], coded.indices.fill_null(len(values)).to_numpy().astype(np.int64))

    def counted(self, among: NDArray[np.bool_] | None = None) -> Counter[str]:
        codes = self.codes if among is None else self.codes[among]
        counts: Counter[str] = Counter()
        for value, rows in zip(self.values, np.bincount(codes, minlength=len(self.values)), strict=True):
            if rows:
                counts[value] += int(rows)
        return counts


def _floats(column: pa.Array) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)


def _truths(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(column.fill_null(fill_value=False).to_numpy(zero_copy_only=False), dtype=np.bool_)


class _Tally:
    """What is kept of the rows while they pass by."""

    _MARKS_TOGETHER: Final = 1_000_000
    """Marks that wait before the worst of each protein are chosen again."""

    def __init__(self, marks: int) -> None:
        self._most = marks
        self.statuses: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.standing_out = self.not_assessed = self.assessed = self.disturbed = self.fitted = 0
        self._rules: Counter[tuple[str, str]] = Counter()
        self._problems: dict[str, Problem] = {}
        self._codes: dict[str, int] = {}
        self._worst: list[pd.DataFrame] = []
        self._marks: list[pd.DataFrame] = []

    def add(self, block: pa.RecordBatch) -> None:
        """Count the rows of a block, and keep the worst of them."""
        status, flag, protein = (_Labels.of(block[name]) for name in ("status", "flag", "wild_type"))
        self.statuses += status.counted()
        scored = np.isin(status.codes, [i for i, value in enumerate(status.values) if value in SCORED])
        self.flags += flag.counted(scored)
        rule = _Labels.of(block["flag_rule"])
        self._add_rules(flag, rule, scored)
        self._add_structure(block, rule, scored)
        known = _truths(pc.match_substring(block["notes"].cast(pa.string()), FITTED))
        self.fitted += int((known & scored).sum())
        self._add_problems(block, np.flatnonzero(~scored))
        rows = np.flatnonzero(scored)
        p, z = (_floats(block[name])[rows] for name in ("p_deleterious", "z_score"))
        self.standing_out += int((z <= STANDS_OUT).sum())
        # Rows without a number are last, equal ones stay in input order.
        order = np.lexsort((np.where(np.isnan(z), np.inf, z), np.where(np.isnan(p), np.inf, -p)))
        worst = block.take(pa.array(rows[order[:WORST]])).to_pandas()
        self._worst = [_severe(pd.concat([*self._worst, worst], ignore_index=True)).head(WORST)]
        codes = np.array([self._codes.setdefault(name, len(self._codes)) for name in protein.values])
        owner = codes[protein.codes[rows]][order]
        chosen = pd.Series(owner).groupby(owner).cumcount().to_numpy() < self._most
        marks = block.select(_MARKED).take(pa.array(rows[order][chosen])).to_pandas()
        self._marks.append(marks.assign(protein=owner[chosen], flag=marks["flag"].astype(object)))
        if sum(map(len, self._marks)) > self._MARKS_TOGETHER:
            self._marks = [self._chosen()]

    def _chosen(self) -> pd.DataFrame:
        """Choose the worst rows of each protein from all that were kept."""
        joined = _severe(pd.concat(self._marks, ignore_index=True))
        return joined.groupby("protein", sort=False).head(self._most)

    def _add_structure(self, block: pa.RecordBatch, rule: _Labels, scored: NDArray[np.bool_]) -> None:
        """Count what `structure_disturbed` says of each row."""
        skipped, ruled = (
            np.array([test(words) for words in rule.values], dtype=bool)[rule.codes]
            for test in (
                lambda words: words.startswith(NOT_ASSESSED),
                lambda words: DISTURBED in words and SINGLES_ONLY not in words,
            )
        )
        regions = block["affected_regions"].cast(pa.string()).fill_null("")
        empty = pc.or_(pc.equal(regions, ""), pc.match_substring(regions, UNDISTURBED))
        substituted = _truths(pc.match_substring_regex(block["variant"].cast(pa.string()), _SUBSTITUTED))
        assessed = scored & substituted
        hit = assessed & (ruled | ~_truths(empty))
        self.not_assessed += int((scored & skipped).sum())
        self.disturbed += int(hit.sum())
        known = np.isfinite(_floats(block["lddt_predicted_mean"]))
        known &= ~_truths(pc.match_substring(block["variant"].cast(pa.string()), ";"))
        self.assessed += int((hit | (assessed & known)).sum())

    def _add_rules(self, flag: _Labels, rule: _Labels, scored: NDArray[np.bool_]) -> None:
        pairs, rows = np.unique(
            flag.codes[scored] * len(rule.values) + rule.codes[scored], return_counts=True
        )
        for pair, count in zip(pairs.tolist(), rows.tolist(), strict=True):
            which, words = divmod(pair, len(rule.values))
            if rule.values[words]:
                self._rules[flag.values[which], rule_words(rule.values[words])] += count

    def _add_problems(self, block: pa.RecordBatch, lost: NDArray[np.int64]) -> None:
        code = _Labels.of(block["error_code"])
        kinds, first, rows = np.unique(code.codes[lost], return_index=True, return_counts=True)
        for kind, place, count in zip(kinds.tolist(), lost[first].tolist(), rows.tolist(), strict=True):
            name = code.values[kind]
            told = [str(block[column][place].as_py() or "") for column in ("wild_type", "input", "message")]
            old = self._problems.get(name, Problem(name, 0, *told))
            self._problems[name] = Problem(name, old.rows + count, old.protein, old.input, old.message)

    def listed_rules(self) -> tuple[Rule, ...]:
        """List the rules by flag, the most frequent first."""
        found = (Rule(flag, words, rows) for (flag, words), rows in self._rules.items())
        return tuple(
            sorted(found, key=lambda rule: ([*VERDICTS, ""].index(rule.flag), -rule.rows, rule.words))
        )

    def listed_problems(self) -> tuple[Problem, ...]:
        """List the problems, the most frequent first."""
        return tuple(sorted(self._problems.values(), key=lambda problem: (-problem.rows, problem.code)))

    def worst(self, carried: Sequence[str]) -> pd.DataFrame:
        """Return the worst rows of all proteins; unknown texts are empty."""
        columns = [*_LABELS, *_WORDS, *_VALUES, *carried]
        frame = self._worst[0] if self._worst else pd.DataFrame(columns=columns)
        texts = [name for name in columns if name not in _VALUES]
        return frame.assign(**{name: frame[name].astype(object).fillna("").astype(str) for name in texts})

    def marks(self) -> pd.DataFrame:
        """Return the worst rows of each protein."""
        chosen = self._chosen() if self._marks else pd.DataFrame(columns=["protein", *_MARKED])
        names = list(self._codes)
        texts = {name: chosen[name].astype(object).fillna("") for name in ("variant", "positions", "flag")}
        return chosen.assign(**texts, protein=[names[code] for code in chosen["protein"]])


def _severe(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort rows, the worst first; equal ones stay in their order."""
    return frame.sort_values(
        ["p_deleterious", "z_score"], ascending=[False, True], kind="stable", ignore_index=True
    )
