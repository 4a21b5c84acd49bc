"""Names that a spreadsheet turned into a date or a number, and from which none can be told any more."""

from __future__ import annotations

import re
from typing import Final

_MONTH: Final = (
    "(?:jan|feb|mar|mär|mrz|apr|may|mai|jun|jul|aug|sept?|oct|okt|nov|dec|dez)"
    "(?:uary|ruary|ch|il|e|y|ust|ember|ober)?"
)
_DATE: Final = re.compile(
    rf"""[0-9]{{1,2}}(?:[-/ ]|\.[ ]?){_MONTH}\.?(?:[-/ ][0-9]{{2,4}})?
    |    {_MONTH}\.?[-/ ][0-9]{{2}}(?:[0-9]{{2}})?
    |    [0-9]{{4}}[-/.][0-9]{{1,2}}[-/.][0-9]{{1,2}}(?:[ T][0-9:.]+)?
    |    [0-9]{{1,2}}[-/.][0-9]{{1,2}}[-/.](?:[0-9]{{2}}){{1,2}}(?:[ ][0-9:.]+)?""",
    re.VERBOSE | re.IGNORECASE,
)
_ROUNDED: Final = re.compile(r"[0-9][.,]?[0-9]*E\+[0-9]{1,3}", re.IGNORECASE)
_ERRORS: Final = frozenset({"#NAME?", "#N/A", "#REF!", "#VALUE!", "#NULL!", "#NUM!", "#DIV/0!"})
# Days since 1900, as Excel counts: 1982 to 2064.
_SERIAL: Final = re.compile(r"[3-5][0-9]{4}(?:\.0)?")


def damage(cell: str) -> str | None:
    """Say what a spreadsheet made of a name: a date, a rounded number, an error; None if nothing.

    Examples
    --------
    >>> damage("2-Mar"), damage("2.31E+13"), damage("SEPTIN2"), damage("M2R")
    ('a date', 'a rounded number', None, None)
    """
    if _DATE.fullmatch(cell):
        return "a date"
    if _ROUNDED.fullmatch(cell):
        return "a rounded number"
    if cell in _ERRORS:
        return "a spreadsheet's error"
    return None


def damaged_variant(text: str) -> str | None:
    """Say what a spreadsheet made of a variant or of the name before it; None if nothing.

    Examples
    --------
    >>> damaged_variant("12-Mar"), damaged_variant("2-Sep:p.R175H"), damaged_variant("SEPTIN2:p.R175H")
    ('a date', 'a date', None)
    """
    made = next(filter(None, map(damage, (text, *text.split(":")))), None)
    return "the number of a day" if is_serial(text) else made


def is_serial(cell: str) -> bool:
    """Whether a cell may be the number of a day; a name may look the same.

    Examples
    --------
    >>> is_serial("44256"), is_serial("7157")
    (True, False)
    """
    return _SERIAL.fullmatch(cell) is not None
