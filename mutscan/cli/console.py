"""Output: results on stdout; messages, log and progress on stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mutscan.cli.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.progress import TaskID

MAX_WIDTH = 100
"""Columns of output at most, so that tables stay readable on a very wide terminal."""


def make_console(stream: TextIO, *, width: int | None = None) -> Console:
    """Make a console that uses colour on a terminal only, and not if ``NO_COLOR`` is set.

    By itself rich keeps bold text under NO_COLOR and takes FORCE_COLOR=0 for yes.
    """
    terminal = stream.isatty()
    forced = os.environ.get("FORCE_COLOR", "") not in ("", "0")
    bare = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not (terminal or forced)
    console = Console(
        file=stream,
        force_terminal=terminal and os.environ.get("TERM") != "dumb",
        color_system=None if bare else ("auto" if terminal else "standard"),
        markup=False,
        highlight=False,
        emoji=False,
        width=width,
    )
    if width is None and console.width > MAX_WIDTH:
        console.width = MAX_WIDTH
    return console


_LOGGERS: Final = ("mutscan", "py.warnings")


@dataclass
class Terminal:
    """Messages, log and progress of a command.

    Parameters
    ----------
    quiet : bool
        Print errors only.
    verbose : bool
        Print the log on stderr.
    """

    quiet: bool = False
    verbose: bool = False
    err: Console = field(default_factory=lambda: make_console(sys.stderr))

    def say(self, text: object) -> None:
        """Print a message in one line."""
        if not self.quiet:
            self.err.print(Text(plain(text)), soft_wrap=True)

    def start_log(self) -> None:
        """Send the library's log to stderr: warnings always, all of it with ``--verbose``."""
        level = logging.ERROR if self.quiet else logging.DEBUG if self.verbose else logging.WARNING
        stop_log()
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            # Python's own warnings are for developers and shown on request only.
            wanted = level if name == "mutscan" or self.verbose else logging.CRITICAL
            logger.addHandler(_ConsoleHandler(self.err, wanted))
        logger = logging.getLogger("mutscan")
        if self.verbose and logger.getEffectiveLevel() > logging.DEBUG:
            logger.setLevel(logging.DEBUG)

    def progress(self) -> TerminalProgress:
        """Return progress bars with time left, drawn on a terminal only."""
        return TerminalProgress(self)


def stop_log() -> None:
    """Undo `Terminal.start_log`: a caller may close its stderr after the command."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        for handler in [h for h in logger.handlers if isinstance(h, _ConsoleHandler)]:
            logger.removeHandler(handler)


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console, level: int) -> None:
        super().__init__(level)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.console.print(
                Text(f"{record.levelname.lower()}: {plain(self.format(record))}"), soft_wrap=True
            )
        except OSError:
            self.handleError(record)


class _SpeedColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        """Write it, when some steps are done."""
        return Text("" if task.speed is None else f"{task.speed:,.3g}/s")


class TerminalProgress:
    """`mutscan.progress.Progress` on stderr: one bar at a time, on a terminal only."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._visible = terminal.err.is_terminal and not terminal.quiet
        self._bars: Progress | None = None
        self._task: TaskID | None = None

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps, and end the one before."""
        self.finish()
        if not self._visible:
            if self._terminal.verbose:
                self._terminal.say(f"{stage} ({total})")
            return
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            _SpeedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._terminal.err,
            transient=True,
            expand=True,
        )
        self._bars.start()
        self._task = self._bars.add_task(plain(stage, limit=40), total=total)

    def advance(self, steps: int = 1) -> None:
        """Report finished steps."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, steps)

    def rename(self, stage: str) -> None:
        """Change what the stage is called."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, description=plain(stage, limit=40))

    def finish(self) -> None:
        """End the stage and remove its bar."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def note(self, text: str) -> None:
        """Print a message without disturbing the bar."""
        self._terminal.say(text)


def print_json(rows: Iterable[Mapping[str, object]]) -> None:
    """Print rows on stdout as one JSON array with a row per line; unknown values are null."""
    lines = [json.dumps({key: _json_value(value) for key, value in row.items()}) for row in rows]
    sys.stdout.write("[\n" + ",\n".join(lines) + "\n]\n" if lines else "[]\n")


def print_rows(directory: Path) -> None:
    """Print the rows on stdout as one JSON array, a row a line, some rows in memory at a time."""
    separator = "[\n"
    for block in _blocks(directory):
        for row in block:
            sys.stdout.write(separator + json.dumps(row))
            separator = ",\n"
    sys.stdout.write("\n]\n" if separator == ",\n" else "[]\n")


def _blocks(directory: Path) -> Iterator[Sequence[Mapping[str, object]]]:
    import pyarrow.parquet as pq

    from mutscan.reports.saved import row_blocks
    from mutscan.reports.sentences import account

    if not (directory / "variants.csv").is_file():
        with pq.ParquetFile(directory / "variants.parquet") as table:
            for batch in table.iter_batches():
                yield [row | account(row) for row in batch.to_pylist()]
    else:
        for block in row_blocks(directory):
            yield block.json_rows()


def print_json_object(data: Mapping[str, object]) -> None:
    """Print one JSON object on stdout; unknown values are null."""
    sys.stdout.write(json.dumps(_json_value(data), indent=2) + "\n")


def _json_value(value: object) -> object:
    """Convert numpy's scalars, and values that JSON lacks such as NaN."""
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if hasattr(value, "tolist"):
        value = value.tolist()
        return _json_value(value) if isinstance(value, list | float) else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    return str(value)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table on stdout: aligned on a terminal, tab-separated with a header in a pipe or a file."""
    cells = [[plain("" if cell is None else cell) for cell in row] for row in rows]
    header = list(columns)
    if not sys.stdout.isatty():
        sys.stdout.writelines("\t".join(row) + "\n" for row in [header, *cells])
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in header:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    make_console(sys.stdout).print(table)
