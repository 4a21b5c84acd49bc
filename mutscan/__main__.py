"""``python -m mutscan`` and the ``mutscan`` command."""

from __future__ import annotations

import io
import logging
import sys


def main() -> None:
    """Run the command line."""
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


if __name__ == "__main__":
    main()
