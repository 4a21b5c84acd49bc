"""``python -m mutscan`` and the ``mutscan`` command."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup has SIGHUP ignored, and it stays so.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Å must not make the command fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Warnings of libraries are for developers: they go to the log, and to stderr with --verbose.
    if not sys.warnoptions:
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").addHandler(logging.NullHandler())
    try:
        from mutscan.cli.app import app

        given = sys.argv[1:]
        # pyhmmer writes the command line into what it makes, and cannot where it is no text.
        sys.argv = [text.encode("utf-8", "backslashreplace").decode() for text in sys.argv]
        app(given, prog_name="mutscan")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _interrupt(number: int, frame: object) -> NoReturn:
    """End as after Ctrl-C: what is finished is kept, and the exit code says that it can go on."""
    raise KeyboardInterrupt


def _open_closed_streams() -> None:
    """Give closed standard streams (``>&-``) the null device; files would get their numbers otherwise."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


if __name__ == "__main__":
    main()
