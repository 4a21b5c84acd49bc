"""Scans of many proteins: searched and embedded in groups while the proteins before them are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from mutscan.alignments.source import relatives_for
from mutscan.model.inverse_folding import load_inverse_folding
from mutscan.pipeline.alphamissense import alphamissense_of
from mutscan.pipeline.columns import scan_columns
from mutscan.pipeline.job import downloaded_relatives
from mutscan.pipeline.network import WildTypePredictor, ahead
from mutscan.pipeline.plan import MAX_LENGTH, uses_inverse_folding
from mutscan.pipeline.rows import Assembler
from mutscan.pipeline.scanning import scanned_positions
from mutscan.pipeline.subdomains import SubdomainCaller
from mutscan.pipeline.verdict import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa

    from mutscan.pipeline.network import LoadedModel
    from mutscan.pipeline.options import Options
    from mutscan.structures import WildType

_T = TypeVar("_T")

GROUP_RESIDUES: Final = 8_192
"""Residues that are searched and embedded together: a few seconds of work, some 10 MB."""


def scan_protein(model: LoadedModel, wild_type: WildType, options: Options) -> pa.Table:
    """Judge every substitution of one protein, without predictions of its mutants.

    Parameters
    ----------
    model : LoadedModel
    wild_type : WildType
    options : Options
        `alignment`, `prior`, `inverse_folding` and `offline` count.

    Returns
    -------
    pyarrow.Table
        `scan_columns` of all its standard residues.

    Raises
    ------
    UsageError
        The protein is too long, or has no standard residue.
    """
    relatives = relatives_for(wild_type, options.alignment)
    if relatives is None:
        relatives, _ = downloaded_relatives(model, wild_type, options)
    positions = scanned_positions(wild_type, None)
    folding = load_inverse_folding() if uses_inverse_folding(options.inverse_folding, wild_type) else None
    predictor = WildTypePredictor(model, wild_type.sequence)
    judge = Judge(model, predictor, wild_type, options.prior, folding, relatives)
    alphamissense = alphamissense_of(wild_type, offline=options.offline)
    contexts = SubdomainCaller(wild_type, None).contexts
    assembler = Assembler(wild_type, None, alphamissense, contexts)
    return scan_columns(judge, assembler, alphamissense, positions)


def prepared(
    model: LoadedModel, items: Iterable[_T], sequence: Callable[[_T], str], *, beside: bool = True
) -> Iterator[_T]:
    """Yield items in order, the protein of each searched and embedded by then (`LoadedModel.prepare`).

    Parameters
    ----------
    model : LoadedModel
    items : iterable
    sequence : callable
        Gives an item's protein; empty for none.
    beside : bool
        Whether a thread prepares the next proteins while the caller works on these.
    """

    def ready() -> Iterator[list[_T]]:
        for group in _groups(items, sequence):
            model.prepare(text for text in map(sequence, group) if 0 < len(text) <= MAX_LENGTH)
            yield group

    # One group waits, one is being made, one is judged.
    for group in ahead(ready(), 1) if beside else ready():
        yield from group
        model.forget(map(sequence, group))


def _groups(items: Iterable[_T], sequence: Callable[[_T], str]) -> Iterator[list[_T]]:
    group: list[_T] = []
    residues = 0
    for item in items:
        length = len(sequence(item))
        if group and residues + length > GROUP_RESIDUES:
            yield group
            group, residues = [], 0
        group.append(item)
        residues += length
    if group:
        yield group
