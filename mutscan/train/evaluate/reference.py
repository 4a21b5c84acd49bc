"""Published correlations of other models on deep mutational scans, in columns beside the model's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from mutscan.errors import UsageError
from mutscan.hashes import file_sha256
from mutscan.train.statistics.bootstrap import mean_of_groups

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mutscan.train.evaluate.scores import Scored

ASSAY: Final = "assay"
_COUNTS: Final = "Number of Mutants"

SHOWN: Final = (
    "Site-Independent",
    "GEMME",
    "ESM2 (650M)",
    "RSALOR",
    "ProSST (K=2048)",
    "AlphaMissense",
)
"""Models that tables show, where the file has them; metrics.json has all."""

CAVEAT: Final = (
    "Published numbers are zero-shot: those models saw no measured effect of a variant. p_deleterious is "
    "fitted to labelled variants and perhaps to scans, and is measured here on the single substitutions that "
    "the table lists."
)


@dataclass(frozen=True, eq=False)
class Published:
    """A file of published correlations.

    Parameters
    ----------
    path : Path
    spearman : DataFrame
        A row for each assay, a column for each model; NaN where unknown.
    """

    path: Path
    spearman: pd.DataFrame


def read_reference(path: Path) -> Published:
    """Read published correlations.

    Parameters
    ----------
    path : Path
        CSV in the layout of ProteinGym's summaries: ``assay``, then Spearman correlations that are positive
        where fitter variants score higher.

    Raises
    ------
    UsageError
        The file cannot be read, an assay comes twice, or a value is no correlation; the message names it.
    """
    try:
        table = pd.read_csv(path, skip_blank_lines=False).dropna(how="all")
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path}: cannot be read as CSV ({error})") from error
    if ASSAY not in table or table.shape[1] < 2:
        raise UsageError(f"{path}: expected a column {ASSAY} and a column of correlations for each model")
    models = table.drop(columns=[ASSAY, *({_COUNTS} & set(table.columns))])
    names = table[ASSAY].astype(str)
    if names.duplicated().any():
        raise UsageError(f"{path}: the assay {names[names.duplicated()].iloc[0]} is listed twice")
    numbers = models.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    wrong = models.notna() & ~(numbers.abs() <= 1)
    if wrong.to_numpy().any():
        row, column = np.argwhere(wrong.to_numpy())[0].tolist()
        raise UsageError(
            f"{path}, line {models.index[row] + 2}, column {models.columns[column]}: "
            f"{models.iloc[row, column]!r} is not a correlation; expected a number from -1 to 1"
        )
    return Published(path, numbers.set_axis(names))


def reference_section(
    published: Published, scored: Scored, dms: Mapping[str, Any], *, seed: int = 0
) -> dict[str, Any]:
    """Section ``reference`` of metrics.json; intervals resample related assays together.

    Parameters
    ----------
    published : Published
    scored : Scored
        The scans.
    dms : mapping
        Section ``dms``: of each assay the model's ``spearman``.
    seed : int

    Raises
    ------
    UsageError
        The file has none of the assays.
    """
    group = dict(zip(scored.table.names.tolist(), scored.group.tolist(), strict=True))
    assays = {
        name: dms[name]["spearman"]
        for name in group
        if name in published.spearman.index and dms[name]["spearman"] is not None
    }
    if not assays:
        raise UsageError(
            f"{published.path}: lists none of the assays of --dms (such as {next(iter(group))}); expected "
            f"their names in the column {ASSAY}"
        )
    own = pd.Series(assays)
    models: dict[str, Any] = {}
    for name, column in published.spearman.loc[list(assays)].items():
        known = column.dropna()
        here, groups = own[known.index], [group[assay] for assay in known.index]
        row: dict[str, Any] = {"n_assays": len(known)}
        for key, values in (
            ("mean_spearman", known),
            ("ours_mean_spearman", here),
            ("mean_spearman_difference", here - known),
        ):
            row |= mean_of_groups(key, values, groups, seed=seed)
        models[str(name)] = row | {"assays": known.to_dict()}
    return {
        "file_sha256": file_sha256(published.path),
        "caveat": CAVEAT,
        "shown": [name for name in SHOWN if name in models],
        "assays": assays,
        "models": models,
    }
