"""``python -m mutscan`` and the ``mutscan`` command."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main() -> None:
    """Run the command line."""
    _open_closed_streams()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # nohup has SIGHUP ignored, and it stays so.
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    import io
    import logging

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


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """End as after Ctrl-C: what is finished is kept, and the exit code says that it can go on."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:  # a terminal that was closed, or a pipe
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            # An exception in an import aborts in native code, or the import turns it into another one.
            os.write(2, b"interrupted\n")
            os._exit(130)
        frame = frame.f_back
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
