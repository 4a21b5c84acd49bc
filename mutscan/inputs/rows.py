"""What was read: one `InputRow` for each line, and an `InputTable` of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from mutscan.errors import VariantError
from mutscan.variants import Variant, difference, normalise, parse_variant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BETWEEN_CELLS = "\0"
"""Joins the cells of a line; text with this character is refused before."""


class Cells(Mapping[str, str]):
    """Cells of one line by column, kept as one string: a table of a million lines fits in memory.

    Parameters
    ----------
    columns : tuple of str, n
        Shared by all lines of a table.
    cells : iterable of str, n
    """

    __slots__ = ("_columns", "_joined")

    def __init__(self, columns: tuple[str, ...], cells: Iterable[str]) -> None:
        self._columns = columns
        self._joined = BETWEEN_CELLS.join(cells)

    def __getitem__(self, column: str) -> str:
        return _by_column(self._columns, self._joined)[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return repr(dict(self))


@lru_cache(maxsize=8)  # a line's cells are asked for one after the other
def _by_column(columns: tuple[str, ...], joined: str) -> dict[str, str]:
    return dict(zip(columns, joined.split(BETWEEN_CELLS), strict=True))


@dataclass(frozen=True, slots=True)
class InputRow:
    """One input line.

    Parameters
    ----------
    number : int
        1-based: the line of its file where it begins (of a FASTA record its ``>`` line), or its place
        among the arguments.
    text : str
        The variant as read, without blanks around it; of a FASTA record its title.
    carried : mapping of str to str
        Cells of the other columns, untouched.
    sequence : str, optional
        A full mutant sequence, upper case, from FASTA; as read otherwise.
    source : str
        ``arguments``, a file's name, or ``stdin``.
    problem : str, optional
        Why the line cannot be trusted although it was read; `variant` then refuses it.
    code : str
        Error code of the problem.
    """

    number: int
    text: str
    carried: Mapping[str, str] = field(default_factory=dict)
    sequence: str | None = None
    source: str = "arguments"
    problem: str | None = None
    code: str = "bad_variant"

    def variant(self, wild_type: str, written: Variant | None = None) -> Variant:
        """Read the line as a variant of a wild type, checked and in canonical form.

        Parameters
        ----------
        wild_type : str
            Its sequence.
        written : Variant, optional
            `text` as `parse_variant` reads it, where that is known already.

        Raises
        ------
        VariantError
            When the line names no variant, or none that fits.
        """
        if self.problem is not None:
            raise VariantError(self.problem, code=self.code)
        if self.sequence is not None:
            return difference(wild_type, self.sequence)
        return normalise(written or parse_variant(self.text), wild_type)


@dataclass(frozen=True, slots=True)
class InputTable:
    """All input lines in order, and the columns to carry to the output."""

    rows: tuple[InputRow, ...]
    carried_columns: tuple[str, ...] = ()


def join_tables(*tables: InputTable) -> InputTable:
    """Concatenate tables; columns that a table lacks are empty in its rows."""
    columns = tuple(dict.fromkeys(name for table in tables for name in table.carried_columns))
    rows = tuple(
        replace(row, carried={name: row.carried.get(name, "") for name in columns})
        for table in tables
        for row in table.rows
    )
    return InputTable(rows, columns)
