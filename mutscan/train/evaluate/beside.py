"""Scores that other methods give the same variants, measured beside the model's on the same rows.

Differences are the model's number minus the other's. Both are taken from the same resamples.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from mutscan.errors import UsageError, VariantError
from mutscan.hashes import file_sha256
from mutscan.residues import STANDARD
from mutscan.train.evaluate.scan_flags import below_cutoff
from mutscan.train.evaluate.variant_metrics import interval_of_one
from mutscan.train.statistics.bootstrap import Auroc, ClusterBootstrap, Spearman, mean_of_groups
from mutscan.train.statistics.classifier import FEWEST_WITHIN, RESAMPLES, areas_within, rows_of_each
from mutscan.variants.notation import parse_variant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mutscan.train.evaluate.scores import Scored
    from mutscan.train.labelled.tables import Kind, VariantTable

COMPARED: Final[tuple[Kind, ...]] = ("variants", "dms")
"""Kinds of tables on which other methods are measured."""

HIGHER: Final = {"deleterious": 1.0, "tolerated": -1.0}
"""What a higher score of a method means, and the factor that turns it so that higher is more harmful."""

NAMES: Final = ("protein", "assay")
VARIANT: Final = "variant"
SCORE: Final = "score"


@dataclass(frozen=True, eq=False)
class OtherScores:
    """A file of scores of other methods.

    Parameters
    ----------
    path : Path
    rows : DataFrame
        ``protein``, ``assay`` or both; ``variant`` as `Variant` writes it; a column for each method, named as
        the column of the file; NaN where a method gives no score. The index is the line in the file.
    methods : dict of column -> name
        ``score`` is called as the file.
    sign : float
        Factor that turns the scores so that higher is more harmful.
    """

    path: Path
    rows: pd.DataFrame
    methods: dict[str, str]
    sign: float

    def name_column(self, kind: Kind) -> str:
        """Column that names the proteins of a table: for scans the assay, where there are both."""
        order = NAMES[::-1] if kind == "dms" else NAMES
        return next(column for column in order if column in self.rows)

    def on(self, table: VariantTable, kind: Kind) -> dict[str, NDArray[np.float64]]:
        """Scores of each method on the variants of a table, shape (n,) each, higher = more harmful.

        NaN where the method gives none.

        Raises
        ------
        UsageError
            The file has two scores of a method for a variant.
        """
        name = self.name_column(kind)
        keys, scores = [name, VARIANT], list(self.methods)
        distinct = self.rows[[*keys, *scores]].drop_duplicates()
        twice = distinct.duplicated(keys)
        if twice.any():
            line, row = distinct.index[twice][0], distinct[twice].iloc[0]
            raise UsageError(
                f"{self.path}, line {line}: {row[VARIANT]} of {row[name]} is listed before with another "
                "score; expected one row for each variant"
            )
        sequences = table.proteins["sequence"].astype(str).tolist()
        columns = (table.protein.tolist(), table.index.tolist(), table.mutant.tolist())
        variants = [f"{sequences[p][i]}{i + 1}{STANDARD[m]}" for p, i, m in zip(*columns, strict=True)]
        wanted = pd.MultiIndex.from_arrays([table.names, variants])
        found = distinct.set_index(keys)[scores].reindex(wanted)
        return {
            self.methods[column]: self.sign * found[column].to_numpy(dtype=np.float64) for column in scores
        }


@dataclass(frozen=True, eq=False)
class OtherScore:
    """Scores of one method on the variants of a table.

    Parameters
    ----------
    file : OtherScores
    values : float array, shape (n,)
        Higher is more harmful; NaN where there is none.
    """

    file: OtherScores
    values: NDArray[np.float64]


def read_others(paths: Sequence[Path], higher: Sequence[str]) -> list[OtherScores]:
    """Read files of other methods' scores.

    Parameters
    ----------
    paths : sequence of Path
        CSV or TSV, plain or gzip, or Parquet, with the columns ``protein`` or ``assay``, ``variant`` and
        ``score``. Each further column of numbers is another method.
    higher : sequence of {"deleterious", "tolerated"}
        What a higher score means: one for all files, or one for each. It is never read off the labels.

    Raises
    ------
    UsageError
        A file, or how many there are, is not as expected; the message names the line and the column.
    """
    if len(higher) not in (1, len(paths)):
        raise UsageError(
            f"--beside-higher is given {len(higher)} times for {len(paths)} files; expected one for all, or "
            "one for each --beside"
        )
    for word in higher:
        if word not in HIGHER:
            raise UsageError(f"--beside-higher {word}: expected {' or '.join(HIGHER)}")
    signs = [HIGHER[word] for word in higher] * (len(paths) if len(higher) == 1 else 1)
    files = [_read_file(path, sign) for path, sign in zip(paths, signs, strict=True)]
    seen: dict[str, Path] = {}
    for file in files:
        for name in file.methods.values():
            if name in seen:
                raise UsageError(
                    f"{file.path}: a method is called {name}, as in {seen[name]}; rename the column (or, for "
                    "the column score, the file)"
                )
            seen[name] = file.path
    return files


def _read_file(path: Path, sign: float) -> OtherScores:
    table = _table(path)
    names = [column for column in NAMES if column in table]
    if not names or VARIANT not in table:
        raise UsageError(
            f"{path}: no column {VARIANT if names else ' or '.join(NAMES)}; expected protein (or assay), "
            "variant and score"
        )
    table = table.dropna(how="all")
    for column in [*names, VARIANT]:
        if table[column].isna().any():
            raise UsageError(f"{path}, line {table.index[table[column].isna()][0]}: column {column} is empty")
    others = [str(column) for column in table if column not in (*names, VARIANT)]
    methods = {c: _stem(path) if c == SCORE else c for c in others if c == SCORE or _is_number(table[c])}
    if not methods:
        raise UsageError(f"{path}: no column of numbers; expected score, or a column for each method")
    for column in methods:
        numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        wrong = table[column].notna() & ~np.isfinite(numbers)
        if wrong.any():
            line, cell = table.index[wrong][0], str(table[column][wrong].iloc[0])
            raise UsageError(
                f"{path}, line {line}, column {column}: {cell!r} is not a score; expected a finite number, "
                "or nothing"
            )
        table[column] = numbers
    rows = table[[*names, VARIANT, *methods]].astype({column: str for column in names})
    rows[VARIANT] = _canonical(path, table[VARIANT].astype(str))
    return OtherScores(path, rows, methods, sign)


def _table(path: Path) -> pd.DataFrame:
    """Rows of a file, by their line; rows of Parquet are counted from 1."""
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            table.index = pd.RangeIndex(1, len(table) + 1)
            return table
        separator = "\t" if {".tsv", ".tab"} & set(path.suffixes[-2:]) else ","
        table = pd.read_csv(
            path, sep=separator, keep_default_na=False, na_values=["", "NA", "NaN", "nan"],
            skip_blank_lines=False, low_memory=False,
        )  # fmt: skip
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
        raise UsageError(f"{path}: cannot be read as CSV, TSV or Parquet ({error})") from error
    table.index = pd.RangeIndex(2, len(table) + 2)
    return table


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").rpartition(".")[0] or path.name


def _canonical(path: Path, texts: pd.Series) -> list[str]:
    """Write variants as the table's are; those of another kind (a stop, say) match none and stay."""
    found = []
    for line, text in texts.items():
        try:
            found.append(str(parse_variant(text)))
        except VariantError as error:
            if error.code == "bad_variant":
                raise UsageError(f"{path}, line {line}, column {VARIANT}: {error.message}") from error
            found.append(text)
    return found


def match_others(
    files: Sequence[OtherScores], tables: Mapping[Kind, VariantTable]
) -> dict[Kind, dict[str, OtherScore]]:
    """Other methods' scores of the variants of each table, by kind and method.

    A file need not score variants of every table.

    Raises
    ------
    UsageError
        A file scores no variant of any table, or a method has two scores for a variant.
    """
    found: dict[Kind, dict[str, OtherScore]] = {kind: {} for kind in tables}
    for file in files:
        for kind, table in tables.items():
            scores = file.on(table, kind)
            if any(np.isfinite(values).any() for values in scores.values()):
                found[kind] |= {method: OtherScore(file, values) for method, values in scores.items()}
        if not any(one.file is file for methods in found.values() for one in methods.values()):
            kind, table = next(iter(tables.items()))
            first, variant = file.rows[[file.name_column(kind), VARIANT]].iloc[0]
            raise UsageError(
                f"{file.path}: scores no variant of --{' or --'.join(tables)}; its first is {variant} of "
                f"{first}, that of --{kind} {table.variant[0]} of {table.names[0]}"
            )
    return found


def beside_section(
    scored: Scored, kind: Kind, others: Mapping[str, OtherScore], *, seed: int = 0
) -> dict[str, Any]:
    """Part ``variants`` or ``dms`` of the section ``beside`` of metrics.json: ``{method: numbers}``.

    Parameters
    ----------
    scored : Scored
    kind : {"variants", "dms"}
    others : mapping of method -> OtherScore
    seed : int
    """
    section = {}
    for method, other in others.items():
        values = other.values
        rows = np.flatnonzero(np.isfinite(values) & np.isfinite(scored.main.values))
        numbers: dict[str, Any] = {
            "file_sha256": file_sha256(other.file.path),
            "higher": next(word for word, sign in HIGHER.items() if sign == other.file.sign),
            "n": len(rows),
            "n_of": len(scored.table),
            "n_proteins": len(np.unique(scored.table.protein[rows])),
            "scored_by": scored.main.key,
        }
        numbers |= compare(scored, kind, values, rows, seed=seed)
        section[method] = numbers | {"points_the_other_way": _turned(numbers)}
    return section


def compare(
    scored: Scored, kind: Kind, values: NDArray[np.float64], rows: NDArray[np.int64], *, seed: int = 0
) -> dict[str, Any]:
    """Measure a score and the model on the same rows, and the difference.

    Parameters
    ----------
    scored : Scored
    kind : {"variants", "dms"}
    values : float array, shape (n,)
        Higher is more harmful.
    rows : int array, shape (m,)
        Rows that both know.
    seed : int
    """
    numbers = _ranked(scored, values, rows, seed) if kind == "dms" else {}
    harmful = below_cutoff(scored.table) if kind == "dms" else scored.table.value
    known = rows[np.isfinite(harmful[rows])]
    if len(known):
        numbers |= _classified(scored, values, known, harmful[known] > 0, seed)
    return numbers


def _classified(
    scored: Scored,
    values: NDArray[np.float64],
    rows: NDArray[np.int64],
    positive: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    """AUROC over all rows and inside proteins (or assays): the other's, the model's, the difference."""
    group, protein = scored.group[rows], scored.table.protein[rows]
    bootstrap = ClusterBootstrap(group, seed=seed, n_resamples=RESAMPLES)
    scores = scored.main.values[rows], values[rows]
    mine, other = (Auroc(score, positive) for score in scores)
    inside, theirs = (areas_within(score, positive, protein, group) for score in scores)
    found: dict[str, Any] = {
        **bootstrap.measure("auroc", other),
        **bootstrap.measure("ours_auroc", mine),
        **bootstrap.measure("auroc_difference", lambda w: mine(w) - other(w)),
    }
    for name, areas in (
        ("auroc_per_protein_mean", theirs[0]),
        ("ours_auroc_per_protein_mean", inside[0]),
        ("auroc_per_protein_mean_difference", inside[0] - theirs[0]),
    ):
        found |= mean_of_groups(name, areas, inside[1], seed=seed)
    return found | {"n_within": len(inside[0])}


def _ranked(
    scored: Scored, values: NDArray[np.float64], rows: NDArray[np.int64], seed: int
) -> dict[str, Any]:
    """Rank correlation with the loss of fitness: in each assay of 10 variants or more, and their means."""
    table = scored.table
    names = table.proteins["protein"].astype(str).tolist()
    assays: dict[str, Any] = {}
    found, groups = [], []
    for protein, part in rows_of_each(table.protein[rows]).items():
        at = rows[part]
        if len(at) < FEWEST_WITHIN:
            continue
        bootstrap = ClusterBootstrap(table.index[at], seed=seed, n_resamples=RESAMPLES)
        mine, other = (Spearman(score[at], -table.value[at]) for score in (scored.main.values, values))
        row = {
            "n": len(at),
            **bootstrap.measure("spearman", other),
            **bootstrap.measure("ours_spearman", mine),
            **bootstrap.measure(
                "abs_spearman_difference",
                lambda w, mine=mine, other=other: abs(mine(w)) - abs(other(w)),  # type: ignore[misc]  # bound here
            ),
        }
        assays[names[protein]] = row
        found.append([np.nan if row[k] is None else row[k] for k in ("spearman", "ours_spearman")])
        groups.append(int(scored.group[at[0]]))
    theirs, own = np.array(found, dtype=np.float64).reshape(-1, 2).T
    means: dict[str, Any] = {"n_assays": len(assays)}
    for name, each in (
        ("mean_spearman", theirs),
        ("ours_mean_spearman", own),
        ("mean_abs_spearman", np.abs(theirs)),
        ("ours_mean_abs_spearman", np.abs(own)),
        ("mean_abs_spearman_difference", np.abs(own) - np.abs(theirs)),
    ):
        means |= mean_of_groups(name, each, groups, seed=seed)
    if len(assays) == 1:
        (only,) = assays.values()
        for who in ("", "ours_"):
            means |= interval_of_one(only, f"{who}spearman", f"{who}mean_spearman", f"{who}mean_abs_spearman")
        means["mean_abs_spearman_difference_ci"] = only["abs_spearman_difference_ci"]
    return means | {"assays": assays}


def _turned(numbers: dict[str, Any]) -> bool:
    """Whether a method surely ranks harmful variants low, as if `HIGHER` were the other."""
    ends = ((numbers.get("auroc_ci"), 0.5), (numbers.get("mean_spearman_ci"), 0.0))
    return any(interval is not None and interval[1] < chance for interval, chance in ends)
