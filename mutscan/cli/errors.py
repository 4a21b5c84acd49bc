"""Translate errors to one line on stderr and an exit code.

0 every row ok · 1 internal error · 2 usage · 3 some rows failed · 4 no row could be scored ·
5 data needed from the network is missing · 6 a backend or its licence is missing ·
130 interrupted. If the reader of stdout closes the pipe, mutscan ends quietly with 141, as SIGPIPE would.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Final

import typer
from typer.core import TyperGroup

from mutscan.cli.text import plain
from mutscan.errors import MutscanError

INTERNAL: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

VERBOSE: Final = "mutscan.verbose"
"""Key in a context's meta: whether ``--verbose`` was given."""

CONTINUABLE: Final = frozenset({"scan", "score"})
"""Commands that resume when they were interrupted."""

# Newer versions of typer carry a click of their own and export only the children of this class.
_ClickError: type[Any] = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)


def say_error(message: str) -> None:
    """Print one line ``error: ...`` on stderr."""
    print(f"error: {plain(message)}", file=sys.stderr)


def describe(error: OSError) -> str | None:
    """Describe an error of the user's disk; None for other errors."""
    from mutscan.files import REFUSALS

    reason = REFUSALS.get(error.errno or 0)
    if reason is None:
        return None
    return f"cannot use {error.filename}: {reason}" if error.filename else reason


def exit_code(error: BaseException, *, command: str | None, verbose: bool) -> int:
    """Print what `error` means, and return the exit code.

    Parameters
    ----------
    error : BaseException
    command : str or None
        The command that raised it; some resume after Ctrl-C.
    verbose : bool
        Print the traceback first.
    """
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return BROKEN_PIPE
    if isinstance(error, KeyboardInterrupt):
        words = "finished variants are saved; run the same command to continue"
        print(f"interrupted{': ' + words if command in CONTINUABLE else ''}", file=sys.stderr)
        return INTERRUPTED
    if verbose:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, MutscanError):
        say_error(error.message)
        return error.exit_code
    if isinstance(error, OSError) and (message := describe(error)) is not None:
        say_error(message)
        _silence_stdout()
        return INTERNAL
    if isinstance(error, MemoryError):
        say_error("out of memory; try --jobs 1 and a smaller --batch-residues, or a machine with more memory")
        return INTERNAL
    hint = "" if verbose else "; run it again with --verbose for the traceback, and report it"
    say_error(f"internal error, {type(error).__name__}: {plain(error) or 'no details'}{hint}")
    return INTERNAL


def _silence_stdout() -> None:
    """Discard what stdout still buffers, so that the interpreter does not try to write it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        # A stream in memory, as tests use, has no file descriptor and needs none of this.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage(error: Any) -> int:
    """Print a usage error in one line, or the help if there were no arguments."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return USAGE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "mutscan"
    say_error(f"{error.format_message().rstrip('.')} (try '{path} --help')")
    return int(error.exit_code)


class MutscanGroup(TyperGroup):
    """A root command that translates errors."""

    def main(self, args: Any = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run the command line and exit; if not standalone, return the exit code."""
        try:
            value = super().main(args, standalone_mode=False, **extra)
        except _ClickError as error:
            value = _usage(error)
        except typer.Abort:
            print("interrupted", file=sys.stderr)
            value = INTERRUPTED
        code = value if isinstance(value, int) else 0
        if standalone_mode:
            sys.exit(code)
        return code

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command and turn what it raises into an exit code."""
        try:
            super().invoke(ctx)
            # A full disk or a closed pipe behind stdout shows only now.
            sys.stdout.flush()
        except (_ClickError, typer.Exit, typer.Abort):
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error, command=ctx.invoked_subcommand, verbose=bool(ctx.meta.get(VERBOSE)))
            raise typer.Exit(code) from error
        finally:
            from mutscan.cli.console import stop_log

            stop_log()
        return 0
