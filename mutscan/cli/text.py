"""Text from outside, made safe to print."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: object, *, limit: int | None = None) -> str:
    r"""Return text from outside as one line that cannot steer a terminal.

    Runs of white space become one space. Other control characters (escape sequences, direction marks)
    are written as in Python source. Text longer than `limit` is cut, between words if possible.

    Examples
    --------
    >>> print(plain("R175H\x1b[31m \n"))
    R175H\x1b[31m
    """
    words = " ".join(str(text).split())
    words = _CONTROL.sub(lambda hit: hit.group().encode("unicode_escape").decode(), words)
    if limit is None or len(words) <= limit:
        return words
    cut = words[: limit - 1].rpartition(" ")[0]
    if words[limit - 1] == " " or len(cut) < limit // 2:
        return words[: limit - 1].rstrip() + "…"
    return cut.rstrip(",; ") + " …"
