"""Every substitution of a protein judged at once: columns in place of rows.

A row of ``--predict probability`` holds what depends on the site alone (notes, confidence, relatives) and
what depends on the substitution. The first comes from the row of one substitution of each site, as `score`
writes it; the second from arrays over all substitutions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mutscan.residues import STANDARD
from mutscan.results import VARIANT_COLUMNS, VARIANT_SCHEMA, Shared, variant_table
from mutscan.variants import Substitution, Variant
from mutscan.variants.variant import THREE_LETTER_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from mutscan.pipeline.alphamissense import AlphaMissense
    from mutscan.pipeline.rows import Assembler
    from mutscan.pipeline.verdict import Judge

OTHERS: Final = len(STANDARD) - 1
"""Substitutions of a position."""


def substitutions(sequence: str, position: int) -> tuple[Variant, ...]:
    """Return the 19 substitutions of one position (1-based), by the new residue's letter."""
    own = sequence[position - 1]
    return tuple(Variant((Substitution(position, own, new),)) for new in STANDARD if new != own)


def scan_columns(
    judge: Judge,
    assembler: Assembler,
    alphamissense: AlphaMissense,
    positions: Sequence[int],
) -> pa.Table:
    """Judge all substitutions of some positions of a wild type.

    Parameters
    ----------
    judge : Judge
    assembler : Assembler
    alphamissense : AlphaMissense
    positions : sequence of int
        1-based, of standard residues.

    Returns
    -------
    pyarrow.Table
        `mutscan.results.VARIANT_SCHEMA`, 19 rows for each position in the order of `substitutions`: the rows
        that `score` with ``--predict probability`` gives.
    """
    wild_type = assembler.wild_type
    firsts = [_first(wild_type.sequence, position) for position in positions]
    sites = [
        assembler.judged_row(first, verdict)
        for first, verdict in zip(firsts, judge.judge(firsts), strict=True)
    ]
    index = np.repeat(np.array(positions, dtype=np.int64) - 1, OTHERS)
    others = [[code for code, new in enumerate(STANDARD) if new != own] for own in STANDARD]
    mutant = np.array([others[STANDARD.index(wild_type.sequence[p - 1])] for p in positions])  # (sites, 19)
    columns: dict[str, Shared | Sequence[str] | NDArray[Any]] = {
        column: _repeated(column, [row.get(column) for row in sites]) for column in VARIANT_COLUMNS
    }
    columns |= _names(firsts, mutant)
    columns["wild_type"] = Shared([wild_type.name], np.zeros(len(index), dtype=np.int64))
    singles = judge.judge_singles(index, mutant.reshape(-1))
    columns["ddg_predicted"] = singles.ddg
    columns["alphamissense"] = alphamissense.at(index, mutant.reshape(-1))
    found = singles.assessment
    if found is not None:
        columns["p_deleterious"] = found.p_deleterious
        columns["flag"] = Shared([outcome.flag for outcome in found.outcomes], found.outcome_of)
        columns["flag_rule"] = Shared([outcome.rule for outcome in found.outcomes], found.outcome_of)
        columns["evidence"] = found.words
    return variant_table(columns, len(index))


def _first(sequence: str, position: int) -> Variant:
    own = sequence[position - 1]
    return Variant((Substitution(position, own, STANDARD[own == STANDARD[0]]),))


def _repeated(column: str, values: Sequence[Any]) -> Shared | Sequence[str] | NDArray[Any]:
    """Give the cells of each site to its substitutions."""
    kind = VARIANT_SCHEMA.field(column).type
    if kind in ("double", "int32"):
        return np.repeat([np.nan if value is None else float(value) for value in values], OTHERS)
    texts = ["" if value is None else str(value) for value in values]
    if kind == "string":
        return [text for text in texts for _ in range(OTHERS)]
    return Shared.of(texts, OTHERS)


def _names(firsts: Sequence[Variant], mutant: NDArray[np.int64]) -> dict[str, Sequence[str]]:
    """Input, name and HGVS of each substitution; they differ in the new residue."""
    three = [THREE_LETTER_NAMES[letter] for letter in STANDARD]
    names, hgvs = [], []
    for first, codes in zip(firsts, mutant.tolist(), strict=True):
        start, long = str(first)[:-1], first.hgvs[:-3]
        names += [start + STANDARD[code] for code in codes]
        hgvs += [long + three[code] for code in codes]
    return {"input": names, "variant": names, "hgvs": hgvs}
